//! Reads topics as a member of a consumer group, and prints what happens, one line an event:
//!
//! ```text
//! 1764039155123 assigned 7 orders-0,orders-1 leader range
//! 1764039155170 read orders 0 0 500
//! 1764039155200 committed orders 0 500
//! ```
//!
//! A line is a time in milliseconds, the event, and for `read` the offsets from the first to behind the last. Work is committed
//! twice a second, and before partitions are given up. SIGTERM or Ctrl-C leaves the group.
//!
//! `cargo run --example group -- HOST:PORT GROUP TOPIC[,TOPIC...] [PROPERTY=VALUE...]`; a topic that begins with `^` is a pattern.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use forebay::kafka::record::Decompressor;
use forebay::kafka::{
    Client, ClientConfig, Generation, GroupConfig, GroupConsumer, GroupEvent, OffsetReset, OffsetToCommit,
    TopicPartition,
};
use forebay::limits::DECOMPRESSED_BATCH_BYTES_MAX;

const COMMIT_INTERVAL: Duration = Duration::from_millis(500);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(servers), Some(group), Some(topics)) = (arguments.next(), arguments.next(), arguments.next()) else {
        return Err("usage: group HOST:PORT GROUP TOPIC[,TOPIC...] [PROPERTY=VALUE...]".into());
    };
    let mut client = ClientConfig::new([servers]);
    let mut config = GroupConfig { reset: OffsetReset::Earliest, auto_commit: None, ..GroupConfig::new(group) };
    let mut pause = Duration::ZERO;
    for argument in arguments {
        let (name, value) = argument.split_once('=').ok_or_else(|| format!("{argument}: PROPERTY=VALUE expected"))?;
        if name == "pause.ms" {
            // Not a property of Kafka: how long a batch takes to be worked on.
            pause = Duration::from_millis(value.parse()?);
        } else if !config.set_property(name, value)? && !client.set_property(name, value)? {
            return Err(format!("{name}: unknown property").into());
        }
    }

    let client = Client::connect(client).await?;
    let mut consumer = GroupConsumer::new(&client, config)?;
    match topics.strip_prefix('^') {
        Some(pattern) => consumer.subscribe_pattern(pattern)?,
        None => consumer.subscribe(topics.split(',')),
    }

    let mut decompressor = Decompressor::new(DECOMPRESSED_BATCH_BYTES_MAX);
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    // A timer of its own: one that begins anew with every event never ends while several brokers answer with nothing.
    let mut due = tokio::time::interval(COMMIT_INTERVAL);
    due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut work = Work { committed_at: Instant::now(), offsets: BTreeMap::new() };
    loop {
        let event = tokio::select! {
            event = consumer.next() => event?,
            _ = due.tick() => {
                work.commit_if_due(&consumer).await;
                continue;
            }
            _ = terminate.recv() => break,
            _ = tokio::signal::ctrl_c() => break,
        };
        match event {
            GroupEvent::Records { mut fetched, .. } => {
                let (mut first, mut count) = (None, 0_u64);
                while let Some(records) = fetched.next_records(&mut decompressor)? {
                    for record in &records {
                        first.get_or_insert(record?.offset);
                        count += 1;
                    }
                }
                let Some(first) = first else {
                    // Answers without records may come faster than the timer.
                    work.commit_if_due(&consumer).await;
                    continue;
                };
                say(&format!("read {} {} {first} {} {count}", fetched.topic, fetched.partition, fetched.position()));
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
                let partition = TopicPartition { topic: fetched.topic.clone(), partition: fetched.partition };
                work.offsets.insert(partition, fetched.position());
                work.commit_if_due(&consumer).await;
            }
            GroupEvent::Assigned { generation, partitions } => {
                let names: Vec<String> = partitions.iter().map(|p| format!("{}-{}", p.topic, p.partition)).collect();
                let role = if consumer.is_leader() { "leader" } else { "member" };
                let assignor = consumer.assignor().map_or("broker", |assignor| assignor.name());
                say(&format!("assigned {} {} {role} {assignor}", generation.number, list(&names)));
            }
            GroupEvent::Revoked { generation, partitions } => {
                // The last chance: the next owner begins where this commit ends.
                work.commit(&consumer, &generation, |partition| partitions.contains(partition)).await;
                say(&format!("revoked {} {}", generation.number, list(&names(&partitions))));
            }
            GroupEvent::Lost { partitions } => {
                work.offsets.retain(|partition, _| !partitions.contains(partition));
                say(&format!("lost - {}", list(&names(&partitions))));
            }
        }
    }
    if let Some(generation) = consumer.generation() {
        work.commit(&consumer, &generation, |_| true).await;
    }
    consumer.close().await?;
    say("left");
    Ok(())
}

/// What has been worked on and not committed yet.
struct Work {
    committed_at: Instant,
    offsets: BTreeMap<TopicPartition, i64>,
}

impl Work {
    async fn commit_if_due(&mut self, consumer: &GroupConsumer) {
        if self.committed_at.elapsed() < COMMIT_INTERVAL {
            return;
        }
        if let Some(generation) = consumer.generation() {
            self.commit(consumer, &generation, |_| true).await;
        }
    }

    async fn commit(
        &mut self,
        consumer: &GroupConsumer,
        generation: &Generation,
        of: impl Fn(&TopicPartition) -> bool,
    ) {
        self.committed_at = Instant::now();
        let offset = |(partition, offset): (&TopicPartition, &i64)| OffsetToCommit {
            topic: partition.topic.clone(),
            partition: partition.partition,
            offset: *offset,
            leader_epoch: None,
            metadata: String::new(),
        };
        let due: Vec<OffsetToCommit> = self.offsets.iter().filter(|(partition, _)| of(partition)).map(offset).collect();
        match consumer.committer().commit(generation, &due).await {
            Ok(()) => {
                for offset in &due {
                    say(&format!("committed {} {} {}", offset.topic, offset.partition, offset.offset));
                }
                self.offsets.retain(|partition, _| !of(partition));
            }
            // Somebody else has the partitions, or will have: what was not committed is read again.
            Err(error) if error.is_fenced() => {
                say(&format!("fenced {error}"));
            }
            // The group is between two generations: what is still ours afterwards is committed then.
            Err(error) if error.is_rebalancing() => say(&format!("rebalancing {error}")),
            Err(error) => say(&format!("failed {error}")),
        }
    }
}

fn names(partitions: &[TopicPartition]) -> Vec<String> {
    partitions.iter().map(|p| format!("{}-{}", p.topic, p.partition)).collect()
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "-".to_owned() } else { names.join(",") }
}

fn say(line: &str) {
    let millis = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let mut out = std::io::stdout().lock();
    // Nobody listens any more: then nobody misses it.
    writeln!(out, "{millis} {line}").and_then(|()| out.flush()).ok();
}
