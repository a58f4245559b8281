//! Reading partitions: what to ask of which broker, what to do with the answer, when to give up.

mod answer;
mod cursor;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::kafka::msg::{AbortedTransaction, ErrorCode, FetchCall, FetchPartition, FetchTopic, Isolation, TopicId};
use crate::kafka::record::RecordSet;

use self::cursor::{Cursor, TopicState};

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
}

/// Where reading a partition stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The next offset to read.
    pub offset: i64,
    /// The leader epoch of the batch before it, by which a log that was cut and written anew is noticed (KIP-320); none when
    /// unknown, as before Kafka 0.11.
    pub leader_epoch: Option<i32>,
}

impl From<i64> for Position {
    fn from(offset: i64) -> Self {
        Self { offset, leader_epoch: None }
    }
}

/// How to fetch, and how patient to be.
#[derive(Clone, Debug)]
pub struct FetchOptions {
    /// Whether records of open and aborted transactions are wanted.
    pub isolation: Isolation,
    /// Bytes of records in one answer of one broker.
    pub fetch_bytes_max: usize,
    /// Bytes of records of one partition in one answer.
    pub partition_bytes_max: usize,
    /// How long a broker may wait for `bytes_min`, in milliseconds.
    pub wait_ms_max: u32,
    /// A broker answers as soon as it has this many bytes.
    pub bytes_min: usize,
    /// Bytes that may be held for the caller over all brokers.
    pub buffer_bytes_max: usize,
    /// The pause after a first failure; it doubles from there.
    pub retry_backoff: Duration,
    /// The longest pause.
    pub retry_backoff_max: Duration,
    /// How long a partition may go without a good answer while there are failures.
    pub retries_deadline: Duration,
    /// How long a topic or partition may be unknown.
    pub unknown_deadline: Duration,
    /// Seeds the jitter of pauses.
    pub seed: u64,
}

/// Reads partitions of any number of brokers. Pure: never reads the clock, never touches a socket. `E` is the shell's own
/// error, carried through unseen.
///
/// Inputs: `handle_answer`, `handle_metadata`, `handle_range`. Commands: `assign`, `seek`, `pause`, `resume`, `remove`.
/// Outputs, to be drained in this order after any input or command, and when `poll_timeout` is due: `poll_metadata`,
/// `poll_range`, `poll_request`, `poll_ready`.
/// Invariants: at most one request is in flight per broker; the next one goes out when at most a quarter of the broker's
/// share of the budget waits for the caller; the entries of one partition come out in offset order and without
/// gaps, each beginning where the one before it ended; a partition's position moves by batch headers only.
#[derive(Debug)]
pub struct FetchState<E> {
    options: FetchOptions,
    topics: BTreeMap<Arc<str>, TopicState>,
    cursors: BTreeMap<TopicPartition, Cursor<E>>,
    sources: BTreeMap<i32, Source>,
    ready: VecDeque<Entry<E>>,
    /// Brokers that lead any of the partitions, as of the last `poll_request`.
    leaders: Vec<i32>,
    leaders_changed: bool,
    turn: u64,
    random: u64,
}

/// One broker.
#[derive(Debug, Default)]
struct Source {
    /// What the request that is out asked for.
    in_flight: Option<Asked>,
    /// Bytes in `ready` that came from this broker, of partitions that are not paused.
    waiting_bytes: usize,
    /// The same of paused partitions.
    aside_bytes: usize,
}

/// What a request asked for.
#[derive(Debug, Default)]
struct Asked {
    partitions: BTreeMap<TopicPartition, Ask>,
    names: BTreeMap<TopicId, Arc<str>>,
}

#[derive(Clone, Copy, Debug)]
struct Ask {
    generation: u64,
    offset: i64,
    /// Whether the request began with it.
    is_first: bool,
}

#[derive(Debug)]
struct Entry<E> {
    source: i32,
    bytes: usize,
    ready: Ready<E>,
}

/// What comes out for the caller.
#[derive(Debug)]
pub enum Ready<E> {
    /// An answer about one partition.
    Data(FetchedData),
    /// A partition that will give nothing more.
    Failed(Failure<E>),
}

/// An answer about one partition.
#[derive(Clone, Debug)]
pub struct FetchedData {
    /// Which one.
    pub partition: TopicPartition,
    /// The broker that answered.
    pub broker: i32,
    /// The offset that was asked for: records below it are not wanted.
    pub position: i64,
    /// The leader epoch of the batch before it, if known.
    pub position_epoch: Option<i32>,
    /// The offset after the last whole batch, from its header; `position` when there is none.
    pub next: i64,
    /// The leader epoch of the batch before `next`, if known.
    pub next_epoch: Option<i32>,
    /// The next offset all in-sync replicas will have.
    pub high_watermark: i64,
    /// The first offset of an open transaction, or the high watermark; -1 when unknown.
    pub last_stable_offset: i64,
    /// The first offset that exists; -1 when unknown.
    pub log_start_offset: i64,
    /// Aborted transactions that overlap the records.
    pub aborted: Vec<AbortedTransaction>,
    /// The records; empty when there are none.
    pub records: RecordSet,
}

/// A partition that failed for good.
#[derive(Clone, Debug)]
pub struct Failure<E> {
    /// Which one.
    pub partition: TopicPartition,
    /// The last cause.
    pub cause: Cause<E>,
    /// How long it had been failing.
    pub after: Duration,
    /// How many times.
    pub attempts: u32,
}

/// Why a partition does not advance.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause<E> {
    /// The broker answered with a code.
    Code {
        /// The broker.
        broker: i32,
        /// The code.
        code: ErrorCode,
    },
    /// The request itself failed, in the shell's words.
    Fault(E),
    /// Metadata answered with a code for the topic or partition.
    Metadata(ErrorCode),
    /// The partition has no leader.
    NoLeader,
    /// The cluster has no such topic.
    UnknownTopic,
    /// The topic has no such partition.
    UnknownPartition,
    /// The topic is gone since.
    TopicDeleted {
        /// Whether there is a new one of the same name.
        recreated: bool,
    },
    /// The position lies outside of what the leader holds.
    OutOfRange {
        /// Where we wanted to read.
        position: i64,
        /// The first offset that exists.
        log_start: i64,
        /// The offset after the last record.
        end: i64,
    },
    /// An answer that makes no sense.
    BadAnswer {
        /// The broker.
        broker: i32,
        /// What is wrong with it.
        text: String,
    },
}

/// A failed request, in the shell's words.
#[derive(Clone, Debug)]
pub struct Fault<E> {
    /// The error.
    pub error: E,
    /// Whether asking again makes no sense.
    pub is_final: bool,
}

/// A request to make of a broker.
#[derive(Clone, Debug)]
pub struct FetchOrder {
    /// The broker.
    pub broker: i32,
    /// The request.
    pub call: FetchCall,
}

/// A partition whose range has to be looked up because the leader says that our position is outside.
#[derive(Clone, Debug)]
pub struct RangeOrder {
    /// Which one.
    pub partition: TopicPartition,
    /// To be handed back with the answer.
    pub generation: u64,
}

/// How far one partition is.
#[derive(Clone, Debug)]
pub struct Progress<E> {
    /// Which one.
    pub partition: TopicPartition,
    /// After what has been handed out.
    pub position: Position,
    /// As in the last good answer; -1 before the first.
    pub high_watermark: i64,
    /// As in the last good answer; -1 before the first.
    pub last_stable_offset: i64,
    /// As in the last good answer; -1 before the first or when the broker does not say.
    pub log_start_offset: i64,
    /// When the last good answer came.
    pub last_answer: Option<Instant>,
    /// Why it does not advance.
    pub trouble: Option<Cause<E>>,
    /// Whether it has failed for good.
    pub failed: bool,
    /// Whether it is paused.
    pub paused: bool,
}

/// The smallest share of the budget that a broker gets, in bytes.
const SHARE_BYTES_MIN: usize = 64 * 1024;

impl<E: Clone> FetchState<E> {
    /// No partitions yet.
    pub const fn new(options: FetchOptions) -> Self {
        let random = options.seed;
        Self {
            options,
            topics: BTreeMap::new(),
            cursors: BTreeMap::new(),
            sources: BTreeMap::new(),
            ready: VecDeque::new(),
            leaders: Vec::new(),
            leaders_changed: false,
            turn: 0,
            random,
        }
    }

    /// Reads `partition` from `position` on. One that is assigned already is moved there.
    pub fn assign(&mut self, now: Instant, partition: TopicPartition, position: impl Into<Position>) {
        let position = position.into();
        self.discard(&partition);
        let topic = self.topics.entry(partition.topic.clone()).or_insert_with(|| TopicState::new(now));
        let leader = topic.leader(partition.partition);
        if leader.is_none() {
            topic.want(now);
        }
        let mut cursor = Cursor::new(self.next_turn(), position, leader, self.options.partition_bytes_max);
        if let Some(old) = self.cursors.get(&partition) {
            cursor.inherit(old);
        }
        self.cursors.insert(partition, cursor);
        self.leaders_changed = true;
    }

    /// Moves a partition, also one that has failed. What was fetched for it is dropped, and an answer on its way will be.
    pub fn seek(&mut self, now: Instant, partition: &TopicPartition, position: impl Into<Position>) {
        if self.cursors.contains_key(partition) {
            self.assign(now, partition.clone(), position);
        }
    }

    /// Stops asking for a partition and handing it out. What was fetched is kept while it is no more than a broker's share.
    pub fn pause(&mut self, partition: &TopicPartition) {
        let Some(cursor) = self.cursors.get_mut(partition) else { return };
        if std::mem::replace(&mut cursor.paused, true) {
            return;
        }
        let share = self.share();
        let mut over = false;
        for entry in self.ready.iter().filter(|entry| entry.partition() == partition) {
            let source = self.sources.entry(entry.source).or_default();
            source.waiting_bytes = source.waiting_bytes.saturating_sub(entry.bytes);
            source.aside_bytes = source.aside_bytes.saturating_add(entry.bytes);
            over |= source.aside_bytes > share;
        }
        if over {
            self.discard(partition);
        }
    }

    /// Goes on with a paused partition.
    pub fn resume(&mut self, partition: &TopicPartition) {
        let Some(cursor) = self.cursors.get_mut(partition) else { return };
        if !std::mem::replace(&mut cursor.paused, false) {
            return;
        }
        for entry in self.ready.iter().filter(|entry| entry.partition() == partition) {
            let source = self.sources.entry(entry.source).or_default();
            source.aside_bytes = source.aside_bytes.saturating_sub(entry.bytes);
            source.waiting_bytes = source.waiting_bytes.saturating_add(entry.bytes);
        }
    }

    /// Forgets a partition and what was fetched for it.
    pub fn remove(&mut self, partition: &TopicPartition) {
        self.discard(partition);
        self.cursors.remove(partition);
        self.leaders_changed = true;
        let topic = &partition.topic;
        if !self.cursors.keys().any(|other| other.topic == *topic) {
            self.topics.remove(topic);
        }
    }

    /// Drops what waits for the caller and goes back to the position up to which it has been given.
    fn discard(&mut self, partition: &TopicPartition) {
        let Some(cursor) = self.cursors.get_mut(partition) else { return };
        cursor.rewind();
        let paused = cursor.paused;
        let sources = &mut self.sources;
        self.ready.retain(|entry| {
            let keep = entry.partition() != partition;
            if !keep {
                sources.entry(entry.source).or_default().give_back(entry.bytes, paused);
            }
            keep
        });
    }

    /// The next topic whose metadata is wanted. Answer with [`FetchState::handle_metadata`].
    pub fn poll_metadata(&mut self, now: Instant) -> Option<Arc<str>> {
        let (name, topic) = self.topics.iter_mut().find(|(_, topic)| topic.is_due(now))?;
        topic.asked();
        Some(name.clone())
    }

    /// The next partition whose first and last offset are wanted. Answer with [`FetchState::handle_range`].
    pub fn poll_range(&mut self) -> Option<RangeOrder> {
        let (partition, cursor) = self.cursors.iter_mut().find(|(_, cursor)| cursor.wants_range())?;
        let generation = cursor.ask_range();
        Some(RangeOrder { partition: partition.clone(), generation })
    }

    /// The next request to make. Answer with [`FetchState::handle_answer`].
    pub fn poll_request(&mut self, now: Instant) -> Option<FetchOrder> {
        if std::mem::take(&mut self.leaders_changed) {
            let leaders = self.cursors.values().filter_map(|cursor| cursor.leader.map(|(node, _)| node));
            self.leaders = leaders.collect::<BTreeSet<i32>>().into_iter().collect();
        }
        let share = self.share();
        for broker in self.leaders.iter().copied() {
            let source = self.sources.entry(broker).or_default();
            // With a quarter left to hand out, the next answer comes while the caller works on that.
            if source.in_flight.is_some() || source.waiting_bytes > share / 4 {
                continue;
            }
            let mut due: Vec<(&TopicPartition, &Cursor<E>)> =
                self.cursors.iter().filter(|(_, cursor)| cursor.is_due(now, broker)).collect();
            if due.is_empty() {
                continue;
            }
            due.sort_by_key(|(_, cursor)| cursor.turn);
            let (call, asked) = order(&self.options, &self.topics, share, &due);
            self.sources.entry(broker).or_default().in_flight = Some(asked);
            return Some(FetchOrder { broker, call });
        }
        None
    }

    /// The next thing for the caller.
    pub fn poll_ready(&mut self) -> Option<Ready<E>> {
        let cursors = &self.cursors;
        let is_paused = |entry: &Entry<E>| cursors.get(entry.partition()).is_some_and(|cursor| cursor.paused);
        let at = self.ready.iter().position(|entry| !is_paused(entry))?;
        let entry = self.ready.remove(at)?;
        self.sources.entry(entry.source).or_default().give_back(entry.bytes, false);
        if let Some(cursor) = self.cursors.get_mut(entry.partition()) {
            cursor.queued = cursor.queued.saturating_sub(1);
            if let Ready::Data(data) = &entry.ready {
                cursor.delivered = Position { offset: data.next, leader_epoch: data.next_epoch };
            }
        }
        Some(entry.ready)
    }

    /// When to poll again unless something happens before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let topics = self.topics.values().filter_map(TopicState::due);
        let cursors = self.cursors.values().filter_map(Cursor::retry_at);
        topics.chain(cursors).min()
    }

    /// How far each partition is, in order.
    pub fn progress(&self) -> impl Iterator<Item = Progress<E>> {
        self.cursors.iter().map(|(partition, cursor)| cursor.progress(partition))
    }

    /// The position after what has been handed out; none for a partition that is not read.
    pub fn position(&self, partition: &TopicPartition) -> Option<Position> {
        self.cursors.get(partition).map(|cursor| cursor.delivered)
    }

    /// The partitions, in order.
    pub fn assignment(&self) -> impl Iterator<Item = &TopicPartition> {
        self.cursors.keys()
    }

    /// A failure of some partition when there are partitions and all of them have failed: nothing will ever come out.
    pub fn all_failed(&self) -> Option<&Failure<E>> {
        if !self.ready.is_empty() || !self.cursors.values().all(|cursor| cursor.failure.is_some()) {
            return None;
        }
        self.cursors.values().find_map(|cursor| cursor.failure.as_ref())
    }

    /// Bytes of records that wait for the caller.
    pub fn held_bytes(&self) -> usize {
        self.ready.iter().map(|entry| entry.bytes).sum()
    }

    /// Each broker's part of the budget.
    fn share(&self) -> usize {
        let equal = self.options.buffer_bytes_max.checked_div(self.leaders.len().max(1)).unwrap_or(0);
        equal.max(SHARE_BYTES_MIN).min(self.options.fetch_bytes_max.max(1))
    }

    fn next_turn(&mut self) -> u64 {
        self.turn = self.turn.wrapping_add(1);
        self.turn
    }
}

impl Source {
    fn give_back(&mut self, bytes: usize, paused: bool) {
        let held = if paused { &mut self.aside_bytes } else { &mut self.waiting_bytes };
        *held = held.saturating_sub(bytes);
    }
}

impl<E> Entry<E> {
    const fn partition(&self) -> &TopicPartition {
        match &self.ready {
            Ready::Data(data) => &data.partition,
            Ready::Failed(failure) => &failure.partition,
        }
    }
}

/// The request for the partitions that are due, those first that have waited longest.
fn order<E>(
    options: &FetchOptions,
    topics: &BTreeMap<Arc<str>, TopicState>,
    share: usize,
    due: &[(&TopicPartition, &Cursor<E>)],
) -> (FetchCall, Asked) {
    let mut asked = Asked::default();
    let mut fetch: Vec<FetchTopic> = Vec::new();
    // The first batch comes whole in any case; a partition whose limit had to grow has its turn first.
    let grown = due.first().map(|(_, cursor)| cursor.bytes_max).filter(|bytes| *bytes > options.partition_bytes_max);
    let bytes_max = share.max(grown.unwrap_or(0));
    for (partition, cursor) in due {
        let part = FetchPartition {
            partition: partition.partition,
            offset: cursor.next,
            leader_epoch: cursor.leader.and_then(|(_, epoch)| epoch),
            bytes_max: clamp(cursor.bytes_max),
        };
        let is_first = asked.partitions.is_empty();
        let ask = Ask { generation: cursor.generation, offset: cursor.next, is_first };
        asked.partitions.insert((*partition).clone(), ask);
        // Topics stay in the order of their first partition, so that the order of turns holds as far as it can.
        match fetch.iter_mut().find(|topic| topic.name == partition.topic) {
            Some(topic) => topic.partitions.push(part),
            None => {
                let id = topics.get(&partition.topic).and_then(|topic| topic.id);
                if let Some(id) = id {
                    asked.names.insert(id, partition.topic.clone());
                }
                fetch.push(FetchTopic { name: partition.topic.clone(), id, partitions: vec![part] });
            }
        }
    }
    let call = FetchCall {
        wait_ms_max: i32::try_from(options.wait_ms_max).unwrap_or(i32::MAX),
        bytes_min: clamp(options.bytes_min),
        bytes_max: clamp(bytes_max),
        isolation: options.isolation,
        topics: fetch,
    };
    (call, asked)
}

fn clamp(bytes: usize) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "topic \"{}\" partition {}", self.topic, self.partition)
    }
}
