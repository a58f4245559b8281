//! Reading partitions: what to ask of which broker, what to do with the answer, when to give up.

mod answer;
mod budget;
mod cursor;
mod epoch;
mod request;
mod session;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::kafka::msg::{AbortedTransaction, ErrorCode, FetchCall, Isolation};
use crate::kafka::record::RecordSet;

pub use self::budget::{Budget, Hold};
pub use self::epoch::EpochOrder;

use self::cursor::{Cursor, TopicState};
use self::request::{Ask, Asked, Source};

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

/// What to do when records at the position are gone: deleted by retention, or cut off by an unclean election.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLost {
    /// Fail, naming the range that is lost.
    #[default]
    Fail,
    /// Go on at the first offset that exists, or where a truncated log parts from what was read.
    Earliest,
    /// Go on at the end, or where a truncated log parts from what was read.
    Latest,
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
    /// Bytes that may be held over all brokers: asked for, waiting, at the caller's, and decompressed.
    pub buffer_bytes_max: usize,
    /// Our rack, for brokers that name a closer replica; empty for none.
    pub rack: Arc<str>,
    /// What to do about a position whose records are gone.
    pub on_lost: OnLost,
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
/// Inputs: `handle_answer`, `handle_metadata`, `handle_range`, `handle_epochs`. Commands: `assign`, `seek`, `pause`, `resume`,
/// `remove`. Outputs, to be drained in this order after any input or command, when `poll_timeout` is due, and when bytes were
/// given back to the `budget`: `poll_metadata`, `poll_range`, `poll_epochs`, `poll_request`, `poll_ready`.
/// Invariants: at most one request is in flight per broker, and goes out while no more than one answer of the broker is still
/// held, so that one is fetched ahead; no request goes out that the budget has no room for; the entries of one partition
/// come out in offset order and without gaps but those that `Ready::Moved` tells, each beginning where the one before it
/// ended; a partition's position moves by batch headers only.
#[derive(Debug)]
pub struct FetchState<E> {
    options: FetchOptions,
    topics: BTreeMap<Arc<str>, TopicState>,
    cursors: BTreeMap<TopicPartition, Cursor<E>>,
    sources: BTreeMap<i32, Source>,
    ready: VecDeque<Entry<E>>,
    budget: Budget,
    /// Brokers that any of the partitions is read from, as of the last `poll_request`.
    brokers: Vec<i32>,
    brokers_changed: bool,
    /// Which of them is looked at first.
    first_broker: usize,
    /// Whether a request waits for room in the budget.
    wants_room: bool,
    /// Whether no partition wants its range, as of the last look at all of them.
    no_range: bool,
    /// Until when no partition wants a check, as of the last look at all of them.
    no_check: Option<Until>,
    turn: u64,
    random: u64,
}

/// How long something holds that only time can change.
#[derive(Clone, Copy, Debug)]
enum Until {
    Changed,
    Moment(Instant),
}

#[derive(Debug)]
struct Entry<E> {
    source: i32,
    ready: Ready<E>,
}

/// What comes out for the caller.
#[derive(Debug)]
pub enum Ready<E> {
    /// An answer about one partition.
    Data(FetchedData),
    /// A partition that will give nothing more.
    Failed(Failure<E>),
    /// A partition that goes on somewhere else, since records are lost and [`OnLost`] says so.
    Moved(Moved<E>),
}

/// A partition that has lost records and goes on.
#[derive(Clone, Debug)]
pub struct Moved<E> {
    /// Which one.
    pub partition: TopicPartition,
    /// Where it goes on.
    pub to: Position,
    /// What was lost.
    pub cause: Cause<E>,
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
    /// The bytes of the answer on the account; none without records.
    pub hold: Option<Arc<Hold>>,
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
    /// The leader's log is not the one that was read: an unclean election has cut it.
    Truncated {
        /// The offset after what has been handed out.
        position: i64,
        /// From where on the records that were read are no more part of the log; none when the leader cannot tell.
        from: Option<i64>,
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

/// What a partition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetRange {
    /// The first offset that exists.
    pub log_start: i64,
    /// The offset after the last record.
    pub end: i64,
    /// The offset after the last record that may be shown: `end`, or the last stable offset under read_committed.
    pub visible_end: i64,
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

impl<E: Clone> FetchState<E> {
    /// No partitions yet.
    pub fn new(options: FetchOptions) -> Self {
        let random = options.seed;
        Self {
            options,
            topics: BTreeMap::new(),
            cursors: BTreeMap::new(),
            sources: BTreeMap::new(),
            ready: VecDeque::new(),
            budget: Budget::default(),
            brokers: Vec::new(),
            brokers_changed: false,
            first_broker: 0,
            wants_room: false,
            no_range: false,
            no_check: None,
            turn: 0,
            random,
        }
    }

    /// Reads `partition` from `position` on. One that is assigned already is moved there.
    pub fn assign(&mut self, now: Instant, partition: TopicPartition, position: impl Into<Position>) {
        let position = position.into();
        self.changed();
        self.discard(&partition);
        let topic = self.topics.entry(partition.topic.clone()).or_insert_with(|| TopicState::new(now));
        let leader = topic.leader(partition.partition);
        if leader.is_none() {
            topic.want(now);
        }
        let mut cursor = Cursor::new(self.next_turn(), position, self.options.partition_bytes_max);
        if let Some(leader) = leader {
            cursor.set_leader(leader);
        }
        if let Some(old) = self.cursors.get(&partition) {
            cursor.inherit(old);
        }
        self.cursors.insert(partition, cursor);
        self.brokers_changed = true;
    }

    /// Moves a partition, also one that has failed. What was fetched for it is dropped, and an answer on its way will be.
    pub fn seek(&mut self, now: Instant, partition: &TopicPartition, position: impl Into<Position>) {
        if self.cursors.contains_key(partition) {
            self.assign(now, partition.clone(), position);
        }
    }

    /// Stops asking for a partition and handing it out. What was fetched is kept while it is no more than a broker's share.
    pub fn pause(&mut self, partition: &TopicPartition) {
        self.changed();
        let Some(cursor) = self.cursors.get_mut(partition) else { return };
        if std::mem::replace(&mut cursor.paused, true) {
            return;
        }
        // An answer is kept whole by any of its parts: a copy of this part lets the rest go.
        for entry in self.ready.iter_mut().filter(|entry| entry.partition() == partition) {
            let Ready::Data(data) = &mut entry.ready else { continue };
            if data.records.is_empty() {
                continue;
            }
            let source = self.sources.entry(entry.source).or_default();
            data.records = RecordSet::new(Bytes::copy_from_slice(data.records.as_bytes()));
            data.hold = Some(Arc::new(self.budget.hold(&source.aside, data.records.len_bytes())));
        }
        let share = self.share();
        if self.sources.values().any(|source| source.aside_bytes() > share) {
            self.discard(partition);
        }
    }

    /// Goes on with a paused partition.
    pub fn resume(&mut self, partition: &TopicPartition) {
        self.changed();
        if let Some(cursor) = self.cursors.get_mut(partition) {
            cursor.paused = false;
        }
    }

    /// Forgets a partition and what was fetched for it.
    pub fn remove(&mut self, partition: &TopicPartition) {
        self.discard(partition);
        self.cursors.remove(partition);
        self.leave_brokers(partition);
        let first = TopicPartition { topic: partition.topic.clone(), partition: i32::MIN };
        let next = self.cursors.range(first..).next();
        if next.is_none_or(|(other, _)| other.topic != partition.topic) {
            self.topics.remove(&partition.topic);
        }
    }

    /// Drops what waits for the caller and goes back to the position up to which it has been given.
    fn discard(&mut self, partition: &TopicPartition) {
        let Some(cursor) = self.cursors.get_mut(partition) else { return };
        let queued = cursor.queued;
        cursor.rewind();
        if queued == 0 {
            return;
        }
        self.ready.retain(|entry| entry.partition() != partition);
    }

    /// The next topic whose metadata is wanted. Answer with [`FetchState::handle_metadata`].
    pub fn poll_metadata(&mut self, now: Instant) -> Option<Arc<str>> {
        let (name, topic) = self.topics.iter_mut().find(|(_, topic)| topic.is_due(now))?;
        topic.asked();
        Some(name.clone())
    }

    /// The next thing for the caller.
    pub fn poll_ready(&mut self) -> Option<Ready<E>> {
        let cursors = &self.cursors;
        let is_paused = |entry: &Entry<E>| cursors.get(entry.partition()).is_some_and(|cursor| cursor.paused);
        let at = self.ready.iter().position(|entry| !is_paused(entry))?;
        let entry = self.ready.remove(at)?;
        if let Some(cursor) = self.cursors.get_mut(entry.partition()) {
            cursor.queued = cursor.queued.saturating_sub(1);
            match &entry.ready {
                Ready::Data(data) => {
                    cursor.delivered = Position { offset: data.next, leader_epoch: data.next_epoch };
                }
                Ready::Moved(moved) => cursor.delivered = moved.to,
                Ready::Failed(_) => {}
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

    /// The account of all bytes that are held.
    pub const fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Whether a request waits for room in the budget: poll again when bytes have been given back.
    pub const fn wants_room(&self) -> bool {
        self.wants_room
    }

    /// Some partition may want something by now. Every input and command says so: outputs are polled for each entry that is
    /// handed out, and are not to look at thousands of partitions each time.
    const fn changed(&mut self) {
        self.no_range = false;
        self.no_check = None;
    }

    fn next_turn(&mut self) -> u64 {
        self.turn = self.turn.wrapping_add(1);
        self.turn
    }
}

impl<E> Entry<E> {
    const fn partition(&self) -> &TopicPartition {
        match &self.ready {
            Ready::Data(data) => &data.partition,
            Ready::Failed(failure) => &failure.partition,
            Ready::Moved(moved) => &moved.partition,
        }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "topic \"{}\" partition {}", self.topic, self.partition)
    }
}
