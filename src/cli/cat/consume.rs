//! kcat's consumer mode: partitions that are chosen on the command line, and what becomes of their records.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::Arc;

use super::format::{Format, Message};
use super::options::{Start, delimiter};
use super::{Setting, Stop};
use crate::cli::out;
use crate::kafka::record::Decompressor;
use crate::kafka::{Client, Consumer, Error, Fetched, Isolation, OffsetAt, OffsetReset};
use crate::limits::DECOMPRESSED_BATCH_BYTES_MAX;

pub(super) type Key = (Arc<str>, i32);

pub(super) async fn run(client: &Client, setting: &Setting) -> Result<ExitCode, String> {
    let mut reading = Reading::new(setting)?;
    let mut consumer = Consumer::new(client, setting.group.fetch.clone());
    let topic: Arc<str> = setting.options.topic.as_deref().unwrap_or_default().into();
    let partitions = partitions(client, setting, &topic, &mut reading).await?;
    let start = start(client, setting, &topic, &partitions).await?;
    reading.wanted.extend(start.iter().map(|(partition, _)| (topic.clone(), *partition)));
    consumer.assign(&topic, &start);
    let mut stop = Stop::watch()?;
    while reading.left > 0 && reading.stopped.len() < reading.wanted.len() {
        let fetched = tokio::select! {
            fetched = consumer.next() => fetched.map_err(|error| described(&error))?,
            () = stop.asked() => break,
        };
        let key = (fetched.topic.clone(), fetched.partition);
        if !reading.print(setting, fetched)? {
            break;
        }
        if setting.options.exit_at_end && reading.at_end.contains_key(&key) {
            reading.stopped.insert(key.clone());
        }
        if reading.stopped.contains(&key) {
            consumer.remove(&key.0, &[key.1]);
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn described(error: &Error) -> String {
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

/// The partitions that are wanted, and their leaders.
async fn partitions(
    client: &Client,
    setting: &Setting,
    topic: &Arc<str>,
    reading: &mut Reading,
) -> Result<Vec<i32>, String> {
    let found = client.topic(topic).await;
    let found = found.map_err(|error| format!("Failed to query metadata for topic {topic}: {error}"))?;
    let partitions: Vec<i32> = found.partitions.iter().map(|partition| partition.partition).collect();
    let leaders = found.partitions.iter().map(|partition| ((topic.clone(), partition.partition), partition.leader));
    reading.leaders.extend(leaders.filter_map(|(key, leader)| Some((key, leader?))));
    match setting.options.partition {
        None => Ok(partitions),
        Some(one) if partitions.contains(&one) => Ok(vec![one]),
        Some(one) => {
            let last = partitions.len().saturating_sub(1);
            Err(format!("Topic {topic} (with partitions 0..{last}): partition {one} does not exist"))
        }
    }
}

/// The first offset of each of these partitions, as `-o` says.
async fn start(
    client: &Client,
    setting: &Setting,
    topic: &Arc<str>,
    partitions: &[i32],
) -> Result<Vec<(i32, i64)>, String> {
    let options = &setting.options;
    if let Some(ms) = options.start_time {
        let found = listed(client, setting, topic, partitions, OffsetAt::Time(ms)).await?;
        let missing: Vec<i32> =
            partitions.iter().copied().filter(|p| found.get(p).copied().flatten().is_none()).collect();
        let mut found = plain(found);
        if !missing.is_empty() {
            found.extend(plain(listed(client, setting, topic, &missing, OffsetAt::Latest).await?));
        }
        return Ok(found.into_iter().collect());
    }
    let chosen = options.start.unwrap_or(Start::Beginning);
    Ok(begin(client, setting, topic, partitions, chosen).await?.into_iter().collect())
}

/// Where `chosen` is in each of these partitions.
pub(super) async fn begin(
    client: &Client,
    setting: &Setting,
    topic: &Arc<str>,
    partitions: &[i32],
    chosen: Start,
) -> Result<BTreeMap<i32, i64>, String> {
    let list = async |at: OffsetAt| listed(client, setting, topic, partitions, at).await.map(plain);
    Ok(match chosen {
        Start::Beginning => list(OffsetAt::Earliest).await?,
        Start::End => list(OffsetAt::Latest).await?,
        Start::At(offset) => partitions.iter().map(|partition| (*partition, offset)).collect(),
        Start::Tail(count) => {
            let first = list(OffsetAt::Earliest).await?;
            let back = |(partition, end): (i32, i64)| {
                let first = first.get(&partition).copied().unwrap_or(0);
                (partition, end.saturating_sub(count).max(first))
            };
            list(OffsetAt::Latest).await?.into_iter().map(back).collect()
        }
        Start::Stored => {
            let reset = match setting.group.reset {
                OffsetReset::Earliest => OffsetAt::Earliest,
                OffsetReset::Latest | OffsetReset::Never => OffsetAt::Latest,
            };
            let mut start = list(reset).await?;
            let group = setting.group.group.as_str();
            if !group.is_empty() {
                let committed = client.committed_offsets(group, &[(topic.to_string(), partitions.to_vec())]).await;
                let committed =
                    committed.map_err(|error| format!("Failed to fetch offsets of group {group}: {error}"))?;
                start.extend(committed.iter().filter_map(|one| Some((one.partition, one.offset?))));
            }
            start
        }
    })
}

async fn listed(
    client: &Client,
    setting: &Setting,
    topic: &Arc<str>,
    partitions: &[i32],
    at: OffsetAt,
) -> Result<BTreeMap<i32, Option<i64>>, String> {
    let wanted: Vec<(i32, OffsetAt)> = partitions.iter().map(|partition| (*partition, at)).collect();
    let listed = client.list_offsets(topic, &wanted, setting.group.fetch.isolation).await;
    let listed = listed.map_err(|error| format!("Failed to query metadata for topic {topic}: {error}"))?;
    Ok(listed.into_iter().map(|(partition, found)| (partition, found.offset)).collect())
}

fn plain(found: BTreeMap<i32, Option<i64>>) -> BTreeMap<i32, i64> {
    found.into_iter().filter_map(|(partition, offset)| Some((partition, offset?))).collect()
}

/// How far printing is.
pub(super) struct Reading {
    format: Format,
    pub(super) leaders: BTreeMap<Key, i32>,
    /// What is read.
    pub(super) wanted: BTreeSet<Key>,
    /// Behind the last message that was printed.
    pub(super) positions: BTreeMap<Key, i64>,
    /// The end that has been told of and at which a partition still is, so that it is told once.
    pub(super) at_end: BTreeMap<Key, i64>,
    /// Where no more is printed.
    pub(super) stopped: BTreeSet<Key>,
    /// Messages that may still be printed.
    pub(super) left: u64,
    decompressor: Decompressor,
}

impl Reading {
    /// # Errors
    /// A format that cannot be read.
    pub(super) fn new(setting: &Setting) -> Result<Self, String> {
        Ok(Self {
            format: format(setting)?,
            leaders: BTreeMap::new(),
            wanted: BTreeSet::new(),
            positions: BTreeMap::new(),
            at_end: BTreeMap::new(),
            stopped: BTreeSet::new(),
            left: setting.options.count.unwrap_or(u64::MAX),
            decompressor: Decompressor::new(DECOMPRESSED_BATCH_BYTES_MAX),
        })
    }

    /// Whether there is nothing to be read any more: every partition was stopped or, where the end is one, is at its end.
    pub(super) fn is_over(&self, setting: &Setting) -> bool {
        let is_over =
            |key: &Key| self.stopped.contains(key) || (setting.options.exit_at_end && self.at_end.contains_key(key));
        !self.wanted.is_empty() && self.wanted.iter().all(is_over)
    }

    const fn exiting(is_over: bool) -> &'static str {
        if is_over { ": exiting" } else { "" }
    }

    /// Prints what came; says whether anybody reads it.
    ///
    /// # Errors
    /// Damaged records, and those that do not fit the format.
    pub(super) fn print(&mut self, setting: &Setting, mut fetched: Fetched) -> Result<bool, String> {
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
                self.at_end.remove(&key);
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
        if let Some(offset) = reached {
            self.stopped.insert(key.clone());
            let end = Self::exiting(self.is_over(setting));
            setting.info(1, &format!("Reached stop timestamp for topic {} [{}] at offset {offset}{end}", key.0, key.1));
            return Ok(true);
        }
        let position = fetched.position();
        let end = match setting.group.fetch.isolation {
            Isolation::ReadCommitted if fetched.last_stable_offset >= 0 => fetched.last_stable_offset,
            _ => fetched.high_watermark,
        };
        if position >= end && self.at_end.get(&key) != Some(&position) {
            self.at_end.insert(key.clone(), position);
            let end = Self::exiting(self.is_over(setting));
            setting.info(1, &format!("Reached end of topic {} [{}] at offset {position}{end}", key.0, key.1));
        }
        Ok(true)
    }
}
