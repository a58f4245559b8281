//! kcat's consumer modes: `-C`, and `-G` as reading from where a group has committed.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::Arc;

use regex_lite::Regex;
use tokio::signal::unix::{SignalKind, signal};

use super::Setting;
use super::format::{Format, Message};
use super::options::{Start, delimiter};
use crate::cli::out;
use crate::kafka::record::Decompressor;
use crate::kafka::{Client, Consumer, Error, Fetched, OffsetAt, OffsetToCommit};
use crate::limits::DECOMPRESSED_BATCH_BYTES_MAX;

type Key = (Arc<str>, i32);

pub(super) async fn run(client: &Client, setting: &Setting, in_group: bool) -> Result<ExitCode, String> {
    let format = format(setting)?;
    let topics = topics(client, setting, in_group).await?;
    let mut reading = Reading {
        format,
        leaders: BTreeMap::new(),
        positions: BTreeMap::new(),
        at_end: BTreeMap::new(),
        stopped: BTreeSet::new(),
        left: setting.options.count.unwrap_or(u64::MAX),
        decompressor: Decompressor::new(DECOMPRESSED_BATCH_BYTES_MAX),
    };
    let mut consumer = Consumer::new(client, setting.consumer.clone());
    for topic in &topics {
        let start = start(client, setting, topic, in_group, &mut reading).await?;
        reading.positions.extend(start.iter().map(|(partition, offset)| ((topic.clone(), *partition), *offset)));
        consumer.assign(topic, &start);
    }
    let watch = |kind| signal(kind).map_err(|error| format!("cannot watch signals: {error}"));
    let (mut interrupt, mut terminate) = (watch(SignalKind::interrupt())?, watch(SignalKind::terminate())?);
    let mut failed = None;
    while reading.left > 0 && reading.stopped.len() < reading.positions.len() {
        let fetched = tokio::select! {
            fetched = consumer.next() => fetched,
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
        };
        match fetched {
            Ok(fetched) => {
                if !reading.print(setting, fetched, &mut consumer)? {
                    return Ok(ExitCode::SUCCESS);
                }
            }
            Err(error) => {
                failed = Some(described(&error));
                break;
            }
        }
    }
    if in_group && setting.property("enable.auto.commit") != Some("false") {
        let offset = |((topic, partition), offset): (&Key, &i64)| OffsetToCommit {
            topic: topic.clone(),
            partition: *partition,
            offset: *offset,
            leader_epoch: None,
            metadata: String::new(),
        };
        let offsets: Vec<OffsetToCommit> = reading.positions.iter().map(offset).collect();
        client.commit_offsets(&setting.options.group, &offsets).await.map_err(|error| error.to_string())?;
    }
    failed.map_or(Ok(ExitCode::SUCCESS), Err)
}

fn described(error: &Error) -> String {
    match (error.topic_name(), error.partition_index()) {
        (Some(topic), Some(partition)) => format!("Topic {topic} [{partition}] error: {error}"),
        _ => format!("Consumer error: {error}"),
    }
}

fn format(setting: &Setting) -> Result<Format, String> {
    let options = &setting.options;
    let end = delimiter(options.delimiter.as_deref().unwrap_or(b"\\n"))?;
    let format = match (&options.format, &options.key_delimiter) {
        (Some(format), _) => format.clone(),
        (None, _) if options.json => end,
        (None, Some(between)) => [b"%k", &delimiter(between)?[..], b"%s", &end].concat(),
        (None, None) => [b"%s", &end[..]].concat(),
    };
    Format::parse(&format, options.json, options.nulls, (options.key_pack.clone(), options.value_pack.clone()))
}

async fn topics(client: &Client, setting: &Setting, in_group: bool) -> Result<Vec<Arc<str>>, String> {
    if !in_group {
        return Ok(setting.options.topic.iter().map(|topic| topic.as_str().into()).collect());
    }
    let mut wanted: Vec<Arc<str>> = Vec::new();
    for name in &setting.options.operands {
        if !name.starts_with('^') {
            wanted.push(name.as_str().into());
            continue;
        }
        let regex = Regex::new(name).map_err(|error| format!("Failed to subscribe to {name}: {error}"))?;
        let topics = client.topics().await.map_err(|error| error.to_string())?;
        wanted.extend(topics.iter().filter(|topic| regex.is_match(&topic.name)).map(|topic| topic.name.clone()));
    }
    match wanted.is_empty() {
        true => Err("-G requires a topic list".to_owned()),
        false => Ok(wanted),
    }
}

/// The first offset of each partition that is wanted.
async fn start(
    client: &Client,
    setting: &Setting,
    topic: &Arc<str>,
    in_group: bool,
    reading: &mut Reading,
) -> Result<Vec<(i32, i64)>, String> {
    let options = &setting.options;
    let failed = |error: Error| format!("Failed to query metadata for topic {topic}: {error}");
    let found = client.topic(topic).await.map_err(failed)?;
    let mut partitions: Vec<i32> = found.partitions.iter().map(|partition| partition.partition).collect();
    if let Some(one) = options.partition.filter(|_| !in_group) {
        if !partitions.contains(&one) {
            let last = partitions.len().saturating_sub(1);
            return Err(format!("Topic {topic} (with partitions 0..{last}): partition {one} does not exist"));
        }
        partitions = vec![one];
    }
    let leaders = found.partitions.iter().map(|partition| ((topic.clone(), partition.partition), partition.leader));
    reading.leaders.extend(leaders.filter_map(|(key, leader)| Some((key, leader?))));
    let list = async |at: OffsetAt, partitions: &[i32]| -> Result<BTreeMap<i32, Option<i64>>, String> {
        let wanted: Vec<(i32, OffsetAt)> = partitions.iter().map(|partition| (*partition, at)).collect();
        let listed = client.list_offsets(topic, &wanted, setting.consumer.isolation).await.map_err(failed)?;
        Ok(listed.into_iter().map(|(partition, found)| (partition, found.offset)).collect())
    };
    let reset = match setting.property("auto.offset.reset") {
        Some("earliest" | "smallest" | "beginning") => OffsetAt::Earliest,
        _ => OffsetAt::Latest,
    };
    if let Some(ms) = options.start_time {
        let mut found = list(OffsetAt::Time(ms), &partitions).await?;
        let missing: Vec<i32> =
            partitions.iter().copied().filter(|p| found.get(p).copied().flatten().is_none()).collect();
        if !missing.is_empty() {
            found.extend(list(OffsetAt::Latest, &missing).await?);
        }
        return Ok(found.into_iter().map(|(partition, offset)| (partition, offset.unwrap_or(0))).collect());
    }
    let chosen = match (options.start, in_group) {
        (Some(start), _) => start,
        (None, true) => Start::Stored,
        (None, false) => Start::Beginning,
    };
    let plain = |found: BTreeMap<i32, Option<i64>>| {
        found.into_iter().map(|(partition, offset)| (partition, offset.unwrap_or(0))).collect::<Vec<_>>()
    };
    Ok(match chosen {
        Start::Beginning => plain(list(OffsetAt::Earliest, &partitions).await?),
        Start::End => plain(list(OffsetAt::Latest, &partitions).await?),
        Start::At(offset) => partitions.into_iter().map(|partition| (partition, offset)).collect(),
        Start::Tail(count) => {
            let first = list(OffsetAt::Earliest, &partitions).await?;
            let last = plain(list(OffsetAt::Latest, &partitions).await?);
            let back = |(partition, end): (i32, i64)| {
                let first = first.get(&partition).copied().flatten().unwrap_or(0);
                (partition, end.saturating_sub(count).max(first))
            };
            last.into_iter().map(back).collect()
        }
        Start::Stored => {
            let group = if in_group { Some(options.group.as_str()) } else { setting.property("group.id") };
            let mut start: BTreeMap<i32, i64> = plain(list(reset, &partitions).await?).into_iter().collect();
            if let Some(group) = group {
                let asked = [(topic.to_string(), partitions)];
                let committed = client.committed_offsets(group, &asked).await.map_err(failed)?;
                start.extend(committed.iter().filter_map(|one| Some((one.partition, one.offset?))));
            }
            start.into_iter().collect()
        }
    })
}

struct Reading {
    format: Format,
    leaders: BTreeMap<Key, i32>,
    positions: BTreeMap<Key, i64>,
    /// The end that has been told of, so that it is told once.
    at_end: BTreeMap<Key, i64>,
    stopped: BTreeSet<Key>,
    left: u64,
    decompressor: Decompressor,
}

impl Reading {
    /// Prints what came; says whether anybody reads it.
    fn print(&mut self, setting: &Setting, mut fetched: Fetched, consumer: &mut Consumer) -> Result<bool, String> {
        let key = (fetched.topic.clone(), fetched.partition);
        if self.stopped.contains(&key) {
            return Ok(true);
        }
        let broker = self.leaders.get(&key).copied().unwrap_or(-1);
        let mut text = Vec::new();
        let mut reached = None;
        'all: while let Some(records) =
            fetched.next_records(&mut self.decompressor).map_err(|error| described(&error))?
        {
            for record in records.iter() {
                if self.left == 0 {
                    break 'all;
                }
                let record = record.map_err(|error| format!("Topic {} [{}] error: {error}", key.0, key.1))?;
                if setting.options.stop_time.is_some_and(|stop| record.timestamp >= stop) {
                    reached = Some(record.offset);
                    break 'all;
                }
                let message = Message { topic: &key.0, partition: key.1, broker, record: &record };
                if let Err(why) = self.format.write(&mut text, &message) {
                    let end = if setting.options.goes_on { "" } else { ": terminating" };
                    let line = format!(
                        "Failed to format message in {} [{}] at offset {}: {why}{end}",
                        key.0, key.1, record.offset
                    );
                    if !setting.options.goes_on {
                        out::bytes(&text);
                        return Err(line);
                    }
                    out::talk(&format!("% ERROR: {line}"));
                }
                self.left = self.left.saturating_sub(1);
                self.positions.insert(key.clone(), record.offset.saturating_add(1));
            }
        }
        if !out::bytes(&text) {
            return Ok(false);
        }
        if self.left == 0 {
            return Ok(true);
        }
        let exiting = |stopped: &BTreeSet<Key>, all: usize| if stopped.len() >= all { ": exiting" } else { "" };
        if let Some(offset) = reached {
            self.stopped.insert(key.clone());
            consumer.remove(&key.0, &[key.1]);
            let end = exiting(&self.stopped, self.positions.len());
            setting.info(1, &format!("Reached stop timestamp for topic {} [{}] at offset {offset}{end}", key.0, key.1));
            return Ok(true);
        }
        let position = fetched.position();
        self.positions.insert(key.clone(), position);
        let end = match setting.consumer.isolation {
            crate::kafka::Isolation::ReadCommitted if fetched.last_stable_offset >= 0 => fetched.last_stable_offset,
            _ => fetched.high_watermark,
        };
        if position >= end && self.at_end.get(&key) != Some(&position) {
            self.at_end.insert(key.clone(), position);
            if setting.options.exit_at_end {
                self.stopped.insert(key.clone());
                consumer.remove(&key.0, &[key.1]);
            }
            let end = exiting(&self.stopped, self.positions.len());
            setting.info(1, &format!("Reached end of topic {} [{}] at offset {position}{end}", key.0, key.1));
        }
        Ok(true)
    }
}
