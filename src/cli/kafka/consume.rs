//! `forebay kafka consume`: what kafka-console-consumer.sh does.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use super::compat::Release;
use super::format::{self, Format};
use super::{Cluster, ClusterArgs, failure, properties, topic_pattern};
use crate::cli::failure::code;
use crate::cli::{Failure, out};
use crate::kafka::record::Decompressor;
use crate::kafka::{
    Client, Consumer, ConsumerConfig, Error, Fetched, GroupCommitter, GroupConfig, GroupConsumer, GroupEvent,
    Isolation, OffsetAt, OffsetReset, OffsetToCommit, TopicPartition,
};
use crate::limits::DECOMPRESSED_BATCH_BYTES_MAX;

/// How often a group's offsets are committed while records come, as Java's consumer does by default.
const COMMIT_EVERY: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["topic", "include", "blacklist"]))]
#[command(after_help = "\
Examples:
  forebay kafka consume --bootstrap-server h:9092 --topic t --from-beginning
  forebay kafka consume --bootstrap-server h:9092 --topic t --partition 3 --offset 1000 --max-messages 10
  forebay kafka consume --bootstrap-server h:9092 --include 'orders.*' --property print.key=true --timeout-ms 5000")]
pub(super) struct ConsumeArgs {
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
    /// The topic
    #[arg(long, value_name = "NAME")]
    topic: Option<String>,
    /// All topics whose names meet this pattern
    #[arg(long, alias = "whitelist", value_name = "PATTERN")]
    include: Option<String>,
    /// Begin with the oldest record; without it, with those written from now on
    #[arg(long)]
    from_beginning: bool,
    /// Read this partition only
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// With --partition: begin here
    #[arg(long, value_name = "earliest|latest|N", requires = "partition", conflicts_with = "from_beginning")]
    offset: Option<String>,
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
    /// What is printed: print.timestamp, print.key, print.offset, print.partition, print.headers, print.value, key.separator,
    /// line.separator, headers.separator, null.literal, key.deserializer, value.deserializer; may be repeated
    #[arg(long, alias = "formatter-property", value_name = "NAME=VALUE", value_parser = properties::pair, help_heading = super::OUTPUT)]
    property: Vec<(String, String)>,
    /// Kafka's class of keys, such as org.apache.kafka.common.serialization.LongDeserializer
    #[arg(long, value_name = "CLASS", help_heading = super::OUTPUT)]
    key_deserializer: Option<String>,
    /// Kafka's class of values
    #[arg(long, value_name = "CLASS", help_heading = super::OUTPUT)]
    value_deserializer: Option<String>,
    /// Kafka's class of formatters: DefaultMessageFormatter or NoOpMessageFormatter
    #[arg(long, value_name = "CLASS", help_heading = super::OUTPUT)]
    formatter: Option<String>,
    /// A record that cannot be printed is stepped over
    #[arg(long)]
    skip_message_on_error: bool,
    /// Properties of the formatter from a file; --property goes over them
    #[arg(long, value_name = "FILE", help_heading = super::OUTPUT)]
    formatter_config: Option<PathBuf>,
    /// All topics but those whose names meet this pattern
    #[arg(long, value_name = "PATTERN", hide = true)]
    blacklist: Option<String>,
    /// The client's properties, once the file has been read.
    #[arg(skip)]
    properties: Vec<(String, String)>,
    /// No effect: there is nothing of a group in ZooKeeper
    #[arg(long, hide = true)]
    delete_consumer_offsets: bool,
    /// No effect
    #[arg(long, hide = true)]
    csv_reporter_enabled: bool,
    /// No effect
    #[arg(long, hide = true)]
    metrics_dir: Option<String>,
    /// No effect: groups are always on the brokers
    #[arg(long, hide = true)]
    new_consumer: bool,
    /// No effect
    #[arg(long, hide = true)]
    enable_systest_events: bool,
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

/// How records are printed.
enum Printer {
    Text(Format),
    Json,
    Nothing,
}

impl ConsumeArgs {
    pub(super) async fn run(mut self) -> Result<ExitCode, Failure> {
        self.properties = self.cluster.properties()?;
        if let Some(file) = &self.formatter_config {
            self.property.splice(0..0, properties::of_file(file)?);
        }
        let cluster = self.cluster.connect().await?;
        let printer = self.printer(&cluster)?;
        let group = self.committing_group(&cluster);
        let topics = self.topics(&cluster.client).await?;
        let mut reading = Reading {
            positions: BTreeMap::new(),
            left: self.max_messages.unwrap_or(u64::MAX),
            printed: 0,
            decompressor: Decompressor::new(DECOMPRESSED_BATCH_BYTES_MAX),
            printer,
            skip_errors: self.skip_message_on_error,
            membership: None,
            outside: None,
        };
        let mut source = self.source(&cluster.client, &topics, group, &mut reading).await?;
        let read = self.read(&mut source, &mut reading).await;
        // What was printed is committed even if reading ended badly.
        let committed = commit(&reading).await;
        if let Source::Member(member) = source {
            member.close().await.map_err(|error| failure(&error))?;
        }
        // Who has left does not want to hear more.
        if !matches!(read, Ok(End::NoReader)) {
            out::talk(&format!("Processed a total of {} messages", reading.printed));
        }
        let end = read?;
        committed?;
        Ok(match end {
            End::Done | End::NoReader => ExitCode::SUCCESS,
            End::Terminated => ExitCode::from(code::TERMINATED),
        })
    }

    fn printer(&self, cluster: &Cluster) -> Result<Printer, Failure> {
        let class = self.formatter.as_deref().unwrap_or("DefaultMessageFormatter");
        let usage = |why: String| Failure::new(code::USAGE, why);
        match class.rsplit(['.', '$']).next() {
            Some("NoOpMessageFormatter") => return Ok(Printer::Nothing),
            Some("DefaultMessageFormatter") => {}
            _ => return Err(usage(format!("--formatter {class}: not one of Default- and NoOpMessageFormatter"))),
        }
        if cluster.json {
            return Ok(Printer::Json);
        }
        let mut format = Format::new(cluster.release);
        for (name, value) in &self.property {
            format.set(name, value).map_err(|why| usage(format!("--property {name}: {why}")))?;
        }
        for (name, class) in
            [("key.deserializer", &self.key_deserializer), ("value.deserializer", &self.value_deserializer)]
        {
            if let Some(class) = class {
                format.set(name, class).map_err(usage)?;
            }
        }
        Ok(Printer::Text(format))
    }

    /// Where offsets are committed. The console consumer up to 1.0 commits to a group with a random number even when none was
    /// asked for, and people look it up afterwards; later ones do not.
    fn committing_group(&self, cluster: &Cluster) -> Option<String> {
        let given = self.cluster_group();
        if given.is_some() || self.partition.is_some() || cluster.release > Release::V1_1 {
            return given;
        }
        let mut seed = [0; 4];
        getrandom::fill(&mut seed).ok()?;
        Some(format!("console-consumer-{}", u32::from_be_bytes(seed) % 100_000))
    }

    /// Without a group, or with one partition given, reading is by assignment; else as a member of the group.
    async fn source(
        &self,
        client: &Client,
        topics: &[String],
        group: Option<String>,
        reading: &mut Reading,
    ) -> Result<Source, Failure> {
        let fetch = ConsumerConfig { isolation: self.isolation_level, ..ConsumerConfig::default() };
        match group {
            group if group.is_none() || self.partition.is_some() => {
                let mut consumer = Consumer::new(client, fetch);
                for topic in topics {
                    let start = self.start(client, topic).await?;
                    consumer.assign(topic, &start);
                    let topic: Arc<str> = topic.as_str().into();
                    reading.positions.extend(start.into_iter().map(|(p, offset)| ((topic.clone(), p), offset)));
                }
                reading.outside = group.map(|group| (client.clone(), group));
                Ok(Source::Assigned(Box::new(consumer)))
            }
            group => {
                let group = group.unwrap_or_default();
                // A topic that does not exist would be waited for.
                for topic in topics {
                    client.topic(topic).await.map_err(|error| failure(&error))?;
                }
                let mut config = GroupConfig::new(group);
                for (name, value) in &self.properties {
                    let set = config.set_property(name, value);
                    set.map_err(|error| Failure::new(code::CONFIG, error.to_string()))?;
                }
                if self.from_beginning {
                    config.reset = OffsetReset::Earliest;
                }
                let commits = config.auto_commit.is_some();
                // What is committed is what was printed, which only we know.
                config.auto_commit = None;
                config.fetch.isolation = fetch.isolation;
                let mut member = GroupConsumer::new(client, config).map_err(|error| failure(&error))?;
                member.subscribe(topics);
                if commits {
                    reading.membership = Some(member.committer());
                }
                Ok(Source::Member(Box::new(member)))
            }
        }
    }

    /// The group of the command line or of a property.
    fn cluster_group(&self) -> Option<String> {
        let property = self.properties.iter().rev().find(|(name, _)| name == "group.id");
        self.group.clone().or_else(|| property.map(|(_, value)| value.clone()))
    }

    async fn topics(&self, client: &Client) -> Result<Vec<String>, Failure> {
        let (pattern, wanted) = match (&self.include, &self.blacklist) {
            (Some(pattern), _) => (pattern, true),
            (None, Some(pattern)) => (pattern, false),
            (None, None) => return Ok(self.topic.iter().cloned().collect()),
        };
        let regex = topic_pattern(pattern)?;
        let topics = client.topics().await.map_err(|error| failure(&error))?;
        let names: Vec<String> = (topics.iter().filter(|topic| !topic.internal))
            .filter(|topic| regex.is_match(&topic.name) == wanted)
            .map(|topic| topic.name.to_string())
            .collect();
        match names.is_empty() {
            true if !wanted => Err(Failure::new(code::FAILED, format!("every topic meets {pattern:?}"))),
            true => Err(Failure::new(code::FAILED, format!("no topic meets {pattern:?}"))),
            false => Ok(names),
        }
    }

    /// The first offset of each partition.
    async fn start(&self, client: &Client, topic: &str) -> Result<Vec<(i32, i64)>, Failure> {
        let found = client.topic(topic).await.map_err(|error| failure(&error))?;
        let mut partitions = found.partitions.iter().map(|partition| partition.partition).collect::<Vec<_>>();
        if let Some(one) = self.partition {
            partitions.retain(|partition| *partition == one);
            if partitions.is_empty() {
                let why = format!("topic {topic:?} has no partition {one}");
                return Err(Failure::new(code::USAGE, why));
            }
        }
        let reset = self.properties.iter().rev().find(|(name, _)| name == "auto.offset.reset");
        let at = match (self.offset.as_deref(), reset) {
            (Some("earliest"), _) => OffsetAt::Earliest,
            (Some("latest"), _) => OffsetAt::Latest,
            (Some(number), _) => {
                let offset = number.parse::<i64>().ok().filter(|offset| *offset >= 0);
                let wrong = || Failure::new(code::USAGE, format!("--offset {number}: earliest, latest or a number"));
                let offset = offset.ok_or_else(wrong)?;
                return Ok(partitions.into_iter().map(|partition| (partition, offset)).collect());
            }
            (None, Some((_, value))) if value == "earliest" => OffsetAt::Earliest,
            (None, _) if self.from_beginning => OffsetAt::Earliest,
            (None, _) => OffsetAt::Latest,
        };
        let wanted = partitions.iter().map(|partition| (*partition, at)).collect::<Vec<_>>();
        let listed = client.list_offsets(topic, &wanted, self.isolation_level).await;
        let listed = listed.map_err(|error| failure(&error))?;
        let mut start =
            listed.iter().map(|(partition, found)| (*partition, found.offset.unwrap_or(0))).collect::<BTreeMap<_, _>>();
        if let (Some(group), None) = (self.cluster_group(), &self.offset) {
            let asked = [(topic.to_owned(), partitions)];
            let committed = client.committed_offsets(&group, &asked).await.map_err(|error| failure(&error))?;
            start.extend(committed.iter().filter_map(|one| Some((one.partition, one.offset?))));
        }
        Ok(start.into_iter().collect())
    }

    async fn read(&self, source: &mut Source, reading: &mut Reading) -> Result<End, Failure> {
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
            let came = tokio::select! {
                came = source.next() => came.map_err(|error| failure(&error))?,
                () = patience => return Ok(End::Done),
                _ = interrupt.recv() => return Ok(End::Done),
                _ = terminate.recv() => return Ok(End::Terminated),
            };
            let before = reading.printed;
            if let Some(fetched) = reading.take(came).await?
                && !reading.print(fetched)?
            {
                return Ok(End::NoReader);
            }
            if reading.printed > before {
                silent_since = Instant::now();
            }
            if commit_at <= Instant::now() {
                if let Err(failure) = commit(reading).await {
                    // A rebalance is on its way, or the coordinator is: what is owned is committed again.
                    log::warn!("{}", failure.message);
                }
                commit_at = Instant::now() + COMMIT_EVERY;
            }
        }
        Ok(End::Done)
    }
}

/// Where records come from.
enum Source {
    Assigned(Box<Consumer>),
    Member(Box<GroupConsumer>),
}

/// What came.
enum Came {
    Records(Fetched),
    Group(GroupEvent),
}

impl Source {
    async fn next(&mut self) -> Result<Came, Error> {
        match self {
            Self::Assigned(consumer) => consumer.next().await.map(Came::Records),
            Self::Member(member) => member.next().await.map(Came::Group),
        }
    }
}

/// Commits what was printed, if there is a group to commit to.
async fn commit(reading: &Reading) -> Result<(), Failure> {
    let offset = |((topic, partition), offset): (&(Arc<str>, i32), &i64)| OffsetToCommit {
        topic: Arc::clone(topic),
        partition: *partition,
        offset: *offset,
        leader_epoch: None,
        metadata: String::new(),
    };
    let offsets = reading.positions.iter().map(offset).collect::<Vec<_>>();
    if offsets.is_empty() {
        return Ok(());
    }
    let committed = match (&reading.membership, &reading.outside) {
        // In the new protocol epochs move on without an event, so the event's may be over.
        (Some(committer), _) => match committer.generation() {
            Some(generation) => committer.commit(&generation, &offsets).await,
            None => Ok(()),
        },
        (_, Some((client, group))) => client.commit_offsets(group, &offsets).await,
        _ => Ok(()),
    };
    committed.map_err(|error| failure(&error))
}

/// How far printing is.
struct Reading {
    /// Partition and the next offset to print.
    positions: BTreeMap<(Arc<str>, i32), i64>,
    /// Records that may still be printed.
    left: u64,
    printed: u64,
    decompressor: Decompressor,
    printer: Printer,
    skip_errors: bool,
    /// Commits as the member that is reading.
    membership: Option<GroupCommitter>,
    /// The group to commit to without being a member.
    outside: Option<(Client, String)>,
}

impl Reading {
    /// Follows the membership; gives back the records, if any came.
    async fn take(&mut self, came: Came) -> Result<Option<Fetched>, Failure> {
        let event = match came {
            Came::Records(fetched) => return Ok(Some(fetched)),
            Came::Group(event) => event,
        };
        match event {
            GroupEvent::Records { fetched, .. } => return Ok(Some(fetched)),
            GroupEvent::Assigned { partitions, .. } => {
                for one in partitions {
                    if let Some(position) = one.position {
                        self.positions.insert((one.topic, one.partition), position.offset);
                    }
                }
            }
            GroupEvent::Revoked { partitions, .. } => {
                commit(self).await?;
                self.forget(partitions);
            }
            GroupEvent::Lost { partitions } => self.forget(partitions),
        }
        Ok(None)
    }

    fn forget(&mut self, partitions: Vec<TopicPartition>) {
        for gone in partitions {
            self.positions.remove(&(gone.topic, gone.partition));
        }
    }

    /// Prints the records; says whether anybody reads them.
    fn print(&mut self, mut fetched: Fetched) -> Result<bool, Failure> {
        let mut text = Vec::new();
        let key = (fetched.topic.clone(), fetched.partition);
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
                    let printed = match &self.printer {
                        Printer::Nothing => Ok(()),
                        Printer::Text(format) => format.write(&mut text, key.1, &record),
                        Printer::Json => format::as_json(&key.0, key.1, &record)
                            .map(|value| text.extend_from_slice(format!("{value}\n").as_bytes())),
                    };
                    match printed {
                        Ok(()) => {}
                        Err(why) if self.skip_errors => log::warn!("topic {:?} partition {}: {why}", key.0, key.1),
                        Err(why) => {
                            let why = format!("topic {:?} partition {}: {why}", key.0, key.1);
                            return Err(Failure::new(code::FAILED, why).advise("--skip-message-on-error steps over it"));
                        }
                    }
                    self.left -= 1;
                    self.printed += 1;
                    self.positions.insert(key.clone(), record.offset + 1);
                }
                self.positions.insert(key.clone(), fetched.position());
            }
            if self.left > 0 {
                self.positions.insert(key.clone(), fetched.position());
            }
            Ok(())
        };
        let read = read_all();
        let is_read = out::bytes(&text);
        read.map(|()| is_read)
    }
}
