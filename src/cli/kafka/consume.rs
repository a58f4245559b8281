//! `forebay kafka consume`.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use super::{ClusterArgs, failure};
use crate::cli::failure::code;
use crate::cli::{Failure, out};
use crate::kafka::record::Decompressor;
use crate::kafka::{Client, Consumer, ConsumerConfig, Fetched, Isolation, OffsetAt, OffsetToCommit};
use crate::limits::DECOMPRESSED_BATCH_BYTES_MAX;

/// How often a group's offsets are committed while records come, as Java's consumer does by default.
const COMMIT_EVERY: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub(super) struct ConsumeArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// The topic
    #[arg(long, value_name = "NAME")]
    topic: String,
    /// Begin with the oldest record; without it, with those written from now on
    #[arg(long)]
    from_beginning: bool,
    /// Read this partition only
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// End after so many records
    #[arg(long, value_name = "N")]
    max_messages: Option<u64>,
    /// End when no record has come for so many milliseconds
    #[arg(long, value_name = "MS")]
    timeout_ms: Option<u64>,
    /// Begin where this group has committed offsets, and commit what was printed
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// Show records of open and aborted transactions, too, or only those committed
    #[arg(long, value_name = "LEVEL", default_value = "read_uncommitted", value_parser = parse_isolation)]
    isolation_level: Isolation,
}

fn parse_isolation(name: &str) -> Result<Isolation, String> {
    match name {
        "read_uncommitted" => Ok(Isolation::ReadUncommitted),
        "read_committed" => Ok(Isolation::ReadCommitted),
        _ => Err("read_uncommitted or read_committed".to_owned()),
    }
}

/// Why reading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// As many as were asked for, silence for long enough, or Ctrl-C: all of them are a good end.
    Done,
    /// Nobody reads what is printed.
    NoReader,
    /// SIGTERM.
    Terminated,
}

impl ConsumeArgs {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let client = self.cluster.connect().await?;
        let start = self.start(&client).await?;
        let mut reading = Reading {
            positions: start.iter().copied().collect(),
            left: self.max_messages.unwrap_or(u64::MAX),
            printed: 0,
            decompressor: Decompressor::new(DECOMPRESSED_BATCH_BYTES_MAX),
        };
        let config = ConsumerConfig { isolation: self.isolation_level, ..ConsumerConfig::default() };
        let mut consumer = Consumer::of_topic(&client, config, &self.topic, &start);
        let read = self.read(&client, &mut consumer, &mut reading).await;
        // What was printed is committed even if reading ended badly.
        let committed = self.commit(&client, &reading).await;
        out::talk(&format!("Processed a total of {} messages", reading.printed));
        let end = read?;
        committed?;
        Ok(match end {
            End::Done | End::NoReader => ExitCode::SUCCESS,
            End::Terminated => ExitCode::from(code::TERMINATED),
        })
    }

    /// The first offset of each partition.
    async fn start(&self, client: &Client) -> Result<Vec<(i32, i64)>, Failure> {
        let topic = client.topic(&self.topic).await.map_err(|error| failure(&error))?;
        let mut partitions = topic.partitions.iter().map(|partition| partition.partition).collect::<Vec<_>>();
        if let Some(one) = self.partition {
            partitions.retain(|partition| *partition == one);
            if partitions.is_empty() {
                let why = format!("topic {:?} has no partition {one}", self.topic);
                return Err(Failure::new(code::USAGE, why));
            }
        }
        let at = if self.from_beginning { OffsetAt::Earliest } else { OffsetAt::Latest };
        let wanted = partitions.iter().map(|partition| (*partition, at)).collect::<Vec<_>>();
        let listed = client.list_offsets(&self.topic, &wanted, self.isolation_level).await;
        let listed = listed.map_err(|error| failure(&error))?;
        let mut start =
            listed.iter().map(|(partition, found)| (*partition, found.offset.unwrap_or(0))).collect::<BTreeMap<_, _>>();
        if let Some(group) = &self.group {
            let asked = [(self.topic.clone(), partitions)];
            let committed = client.committed_offsets(group, &asked).await.map_err(|error| failure(&error))?;
            start.extend(committed.iter().filter_map(|one| Some((one.partition, one.offset?))));
        }
        Ok(start.into_iter().collect())
    }

    async fn read(&self, client: &Client, consumer: &mut Consumer, reading: &mut Reading) -> Result<End, Failure> {
        let on =
            |kind| signal(kind).map_err(|error| Failure::new(code::FAILED, format!("cannot watch signals: {error}")));
        let (mut interrupt, mut terminate): (Signal, Signal) =
            (on(SignalKind::interrupt())?, on(SignalKind::terminate())?);
        let silence = self.timeout_ms.map(Duration::from_millis);
        let mut silent_since = Instant::now();
        let mut commit_at = Instant::now() + COMMIT_EVERY;
        while reading.left > 0 {
            let patience = async {
                match silence {
                    Some(silence) => tokio::time::sleep_until(silent_since + silence).await,
                    None => std::future::pending().await,
                }
            };
            let fetched = tokio::select! {
                fetched = consumer.next() => fetched.map_err(|error| failure(&error))?,
                () = patience => return Ok(End::Done),
                _ = interrupt.recv() => return Ok(End::Done),
                _ = terminate.recv() => return Ok(End::Terminated),
            };
            let before = reading.printed;
            if !reading.print(fetched)? {
                return Ok(End::NoReader);
            }
            if reading.printed > before {
                silent_since = Instant::now();
            }
            if commit_at <= Instant::now() {
                self.commit(client, reading).await?;
                commit_at = Instant::now() + COMMIT_EVERY;
            }
        }
        Ok(End::Done)
    }

    async fn commit(&self, client: &Client, reading: &Reading) -> Result<(), Failure> {
        let Some(group) = &self.group else { return Ok(()) };
        let topic: Arc<str> = self.topic.as_str().into();
        let offset = |(partition, offset): (&i32, &i64)| OffsetToCommit {
            topic: Arc::clone(&topic),
            partition: *partition,
            offset: *offset,
            leader_epoch: None,
            metadata: String::new(),
        };
        let offsets = reading.positions.iter().map(offset).collect::<Vec<_>>();
        client.commit_offsets(group, &offsets).await.map_err(|error| failure(&error))
    }
}

/// How far printing is.
struct Reading {
    /// Partition and the next offset to print.
    positions: BTreeMap<i32, i64>,
    /// Records that may still be printed.
    left: u64,
    printed: u64,
    decompressor: Decompressor,
}

impl Reading {
    /// Prints the values, a line each; says whether anybody reads them.
    fn print(&mut self, mut fetched: Fetched) -> Result<bool, Failure> {
        let mut text = Vec::new();
        let mut read_all = || -> Result<(), Failure> {
            while self.left > 0 {
                let records = fetched.next_records(&mut self.decompressor).map_err(|error| failure(&error))?;
                let Some(records) = records else { break };
                for record in records.iter() {
                    if self.left == 0 {
                        // The rest of this batch has not been printed: the position stays before it.
                        return Ok(());
                    }
                    let record = record.map_err(|error| Failure::new(code::FAILED, error.to_string()))?;
                    // A missing value is printed as Java prints it.
                    text.extend_from_slice(record.value.unwrap_or(b"null"));
                    text.push(b'\n');
                    self.left -= 1;
                    self.printed += 1;
                    self.positions.insert(fetched.partition, record.offset + 1);
                }
                self.positions.insert(fetched.partition, fetched.position());
            }
            if self.left > 0 {
                self.positions.insert(fetched.partition, fetched.position());
            }
            Ok(())
        };
        let read = read_all();
        let is_read = out::bytes(&text);
        read.map(|()| is_read)
    }
}
