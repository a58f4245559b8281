//! Writing records: into which batch, to which broker, when, what an answer means, when to give up.

mod answer;
mod batch;
mod identity;
mod partitioner;
mod send;
#[cfg(test)]
mod tests;
mod topic;
mod transaction;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::kafka::msg::{ErrorCode, ProduceCall};
use crate::kafka::record::{BatchBuilder, BatchOptions, BuildError, Codec, Header};

use self::batch::{Batch, Queue, Slot, Stage};
use self::topic::TopicState;
use self::transaction::Transaction;
use super::fetch::TopicPartition;

pub use self::answer::SendFault;
pub use self::identity::Owner;
pub use self::partitioner::{Partitioner, partition_for_key};
pub use self::transaction::Ending;
pub use super::fetch::Fault;

/// How to write, and how patient to be.
#[derive(Clone, Debug)]
pub struct ProduceOptions {
    /// 0, 1 or -1 (all in-sync replicas).
    pub acks: i16,
    /// Whether batches carry sequence numbers, so that none is written twice or out of order.
    pub idempotent: bool,
    /// The transactional id, if records are written in transactions.
    pub transactional_id: Option<Arc<str>>,
    /// How records are compressed.
    pub codec: Codec,
    /// Bytes of records, before compression, at which a batch is full.
    pub batch_bytes: usize,
    /// How long a batch waits to become full.
    pub linger: Duration,
    /// Bytes of records that may wait or be on their way.
    pub buffer_bytes_max: usize,
    /// Bytes of one request, and of one record.
    pub request_bytes_max: usize,
    /// How long a record may take from [`ProduceState::append`] on.
    pub delivery_timeout: Duration,
    /// How long a leader may wait for its replicas, in milliseconds.
    pub request_timeout_ms: i32,
    /// Requests without an answer, per broker.
    pub in_flight_max: usize,
    /// How often a batch is sent again.
    pub retries_max: u32,
    /// Where records without a partition go.
    pub partitioner: Partitioner,
    /// The pause after a first failure; it doubles from there.
    pub retry_backoff: Duration,
    /// The longest pause.
    pub retry_backoff_max: Duration,
    /// After so long the cluster is asked about a topic again, whose partitions may have become more.
    pub metadata_age_max: Duration,
    /// Seeds partitioners and pauses.
    pub seed: u64,
}

/// Writes records to any number of partitions. Pure: never reads the clock, never touches a socket, never compresses.
/// `T` stands for whoever waits for a record, `E` is the shell's own error; both are carried through unseen.
///
/// Inputs: `append`, `handle_metadata`, `handle_identity`, `handle_sealed`, `handle_answer`, `handle_partitions_added`.
/// Commands: `flush`, `wait_for_room`, `fail_all`, and the transactional ones.
/// Outputs, to be drained in this order after any input or command, and when `poll_timeout` is due: `poll_expired`,
/// `poll_metadata`, `poll_identity`, `poll_partitions_to_add`, `poll_seal` and `poll_request` in turns until neither gives
/// anything, `poll_done`.
///
/// Invariants: the records of a partition are sent in the order of `append`, and a batch that must be sent again goes before
/// all that came after it; without sequence numbers, therefore, one batch of a partition is out at a time. With them, a
/// batch whose fate is unknown keeps its number until it is known or given up. Every record that `append` took comes out of
/// `poll_done` exactly once.
#[derive(Debug)]
pub struct ProduceState<T, E> {
    options: ProduceOptions,
    identity: Identity,
    topics: BTreeMap<Arc<str>, TopicState>,
    queues: BTreeMap<TopicPartition, Queue<T, E>>,
    brokers: BTreeMap<i32, BrokerState>,
    requests: BTreeMap<u64, Sent>,
    seals: VecDeque<SealOrder>,
    done: VecDeque<Done<T, E>>,
    transaction: Transaction<E>,
    buffered_bytes: usize,
    waiting_for_room: usize,
    next_id: u64,
    /// Batches before this one do not linger.
    urgent_below: u64,
    /// Which partition of a broker is served first.
    turn: usize,
    random: u64,
}

#[derive(Debug)]
enum Identity {
    NotWanted,
    Unknown { asking: bool, not_before: Option<Instant> },
    Known(Owner),
}

#[derive(Debug, Default)]
struct BrokerState {
    in_flight: usize,
    /// The broker asked us to stay quiet until then (KIP-219).
    muted_until: Option<Instant>,
}

/// What a request carries.
#[derive(Debug)]
struct Sent {
    broker: i32,
    batches: Vec<(TopicPartition, u64)>,
}

/// One record as it comes in.
#[derive(Clone, Copy, Debug)]
pub struct NewRecord<'a> {
    /// Where to; without it the partitioner says.
    pub partition: Option<i32>,
    /// In ms since 1970.
    pub timestamp: i64,
    /// The key; null is none.
    pub key: Option<&'a [u8]>,
    /// The value; null is none.
    pub value: Option<&'a [u8]>,
    /// The headers.
    pub headers: &'a [Header<'a>],
}

impl NewRecord<'_> {
    /// An upper bound of what it takes in a batch.
    fn bytes(&self) -> usize {
        // Lengths, deltas and attributes: at most 5, 10, 5 and 1 bytes, then 5 for each length.
        let fixed = 36_usize;
        let len = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
        let headers =
            self.headers.iter().map(|header| header.key.len().saturating_add(len(header.value)).saturating_add(10));
        let whole = fixed.saturating_add(len(self.key)).saturating_add(len(self.value));
        headers.fold(whole, usize::saturating_add)
    }
}

/// Why a record was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal<E> {
    /// Nothing is known about the topic's partitions; ask and hand the answer to `handle_metadata`.
    TopicNotKnown,
    /// The topic has no such partition, but so many.
    NoSuchPartition(usize),
    /// There is no room until something is done.
    Full,
    /// The record takes so many bytes, more than one request may have.
    TooLarge(usize),
    /// No transaction is open.
    NoTransaction,
    /// The transaction has failed and must be aborted, or the producer is of no more use.
    Failed {
        /// Why.
        cause: Cause<E>,
        /// Whether an abort does not help either.
        is_fatal: bool,
    },
}

/// Why a record was not written, or not yet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause<E> {
    /// The broker answered with a code.
    Code {
        /// The broker.
        broker: i32,
        /// The code.
        code: ErrorCode,
        /// What it says about it.
        text: Option<String>,
    },
    /// The broker refused the record's batch because of another record in it (KIP-467).
    Companion {
        /// The broker.
        broker: i32,
        /// The code.
        code: ErrorCode,
    },
    /// The request itself failed, in the shell's words.
    Fault(E),
    /// Metadata answered with a code for the topic.
    Metadata(ErrorCode),
    /// The partition has no leader.
    NoLeader,
    /// The partition is not there any more.
    UnknownPartition,
    /// Time was up before anything was sent.
    NotSent,
    /// An answer that makes no sense.
    BadAnswer {
        /// The broker.
        broker: i32,
    },
    /// The batch could not be made.
    Build(BuildError),
    /// The transaction was aborted.
    Aborted,
}

/// What became of one record.
#[derive(Debug)]
pub struct Done<T, E> {
    /// What came with the record.
    pub handle: T,
    /// Where it went.
    pub partition: TopicPartition,
    /// Whether it is written.
    pub outcome: Result<Written, Failed<E>>,
}

/// Where a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its offset; none when nobody says: with acks=0, or when the broker only knows that it has it already.
    pub offset: Option<i64>,
    /// Its timestamp, in ms since 1970: the broker's on a topic of append-time.
    pub timestamp: i64,
}

/// Why a record was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed<E> {
    /// The last cause.
    pub cause: Cause<E>,
    /// Whether it may be in the log all the same: it was sent, and nobody knows what became of that.
    pub maybe_written: bool,
    /// How long it had been waiting.
    pub after: Duration,
    /// How often it was sent.
    pub attempts: u32,
}

/// A batch to be compressed, which may take a while: [`SealOrder::seal`], then [`ProduceState::handle_sealed`].
#[derive(Debug)]
pub struct SealOrder {
    partition: TopicPartition,
    id: u64,
    builder: Box<BatchBuilder>,
    codec: Codec,
}

/// A batch as it will be sent.
#[derive(Debug)]
pub struct Sealed {
    partition: TopicPartition,
    id: u64,
    outcome: Result<Bytes, BuildError>,
}

impl SealOrder {
    /// Whether there is nothing to compress.
    pub fn is_cheap(&self) -> bool {
        self.codec == Codec::None
    }

    /// Compresses.
    pub fn seal(self) -> Sealed {
        let Self { partition, id, builder, .. } = self;
        Sealed { partition, id, outcome: builder.finish(0).map(Bytes::from) }
    }
}

/// A request to make of a broker.
#[derive(Clone, Debug)]
pub struct ProduceOrder {
    /// To be handed back with the answer.
    pub id: u64,
    /// The broker.
    pub broker: i32,
    /// The request.
    pub call: ProduceCall,
}

impl<T, E: Clone> ProduceState<T, E> {
    /// Nothing to write yet.
    pub fn new(options: ProduceOptions) -> Self {
        let identity = if options.idempotent {
            Identity::Unknown { asking: false, not_before: None }
        } else {
            Identity::NotWanted
        };
        let random = options.seed;
        Self {
            options,
            identity,
            topics: BTreeMap::new(),
            queues: BTreeMap::new(),
            brokers: BTreeMap::new(),
            requests: BTreeMap::new(),
            seals: VecDeque::new(),
            done: VecDeque::new(),
            transaction: Transaction::new(),
            buffered_bytes: 0,
            waiting_for_room: 0,
            next_id: 0,
            urgent_below: 0,
            turn: 0,
            random,
        }
    }

    /// Takes a record for `topic`. Returns whether something may be due because of it: a batch began, or is full.
    ///
    /// # Errors
    /// [`Refusal`], with the handle: the record was not taken.
    pub fn append(
        &mut self,
        now: Instant,
        topic: &Arc<str>,
        record: &NewRecord<'_>,
        handle: T,
    ) -> Result<bool, (T, Refusal<E>)> {
        match self.place(topic, record) {
            Ok((partition, bytes)) => {
                let partition = TopicPartition { topic: topic.clone(), partition };
                Ok(self.put(now, partition, record, bytes, handle))
            }
            Err(refusal) => Err((handle, refusal)),
        }
    }

    fn place(&mut self, topic: &Arc<str>, record: &NewRecord<'_>) -> Result<(i32, usize), Refusal<E>> {
        self.transaction_admits()?;
        let bytes = record.bytes();
        if bytes.saturating_add(HEADER_BYTES) > self.options.request_bytes_max {
            return Err(Refusal::TooLarge(bytes));
        }
        let Some(known) = self.topics.get_mut(topic).filter(|known| !known.partitions.is_empty()) else {
            return Err(Refusal::TopicNotKnown);
        };
        if let Some(wanted) = record.partition.filter(|wanted| !known.partitions.contains_key(wanted)) {
            log::debug!("topic {topic} has no partition {wanted}");
            return Err(Refusal::NoSuchPartition(known.partitions.len()));
        }
        let charge = bytes.saturating_add(size_of::<Slot<T>>());
        if self.buffered_bytes > 0 && self.buffered_bytes.saturating_add(charge) > self.options.buffer_bytes_max {
            return Err(Refusal::Full);
        }
        let partition = match record.partition {
            Some(partition) => partition,
            None => {
                known.choose(self.options.partitioner, record.key, bytes, self.options.batch_bytes, &mut self.random)
            }
        };
        Ok((partition, bytes))
    }

    fn put(&mut self, now: Instant, at: TopicPartition, record: &NewRecord<'_>, bytes: usize, handle: T) -> bool {
        let charge = bytes.saturating_add(size_of::<Slot<T>>());
        self.buffered_bytes = self.buffered_bytes.saturating_add(charge);
        self.transaction.wants(&at);
        let queue = self.queues.entry(at.clone()).or_insert_with(Queue::new);
        let mut is_news = false;
        if let Some(last) = queue.batches.back_mut()
            && let Stage::Open(builder) = &last.stage
            && !builder.is_empty()
            && builder.size_bytes().saturating_add(bytes) > self.options.batch_bytes
        {
            is_news = true;
            self.seals.extend(seal(&at, last, self.options.codec));
        }
        if !queue.batches.back().is_some_and(Batch::is_open) {
            is_news = true;
            let id = self.next_id;
            self.next_id = id.saturating_add(1);
            let transactional = self.options.transactional_id.is_some();
            queue.batches.push_back(new_batch(id, id, now, self.options.codec, transactional));
        }
        let mut is_full = false;
        if let Some(Batch { stage: Stage::Open(builder), slots, memory, .. }) = queue.batches.back_mut() {
            builder.push(record.timestamp, record.key, record.value, record.headers);
            is_full = builder.size_bytes() >= self.options.batch_bytes;
            slots.push(Slot { handle, timestamp: record.timestamp });
            *memory = memory.saturating_add(charge);
        }
        if let (true, Some(last)) = (is_full, queue.batches.back_mut()) {
            is_news = true;
            self.seals.extend(seal(&at, last, self.options.codec));
        }
        is_news
    }

    /// Lets nothing linger that has been appended so far. Returns a mark for [`ProduceState::is_flushed`].
    pub const fn flush(&mut self) -> u64 {
        self.urgent_below = self.next_id;
        self.next_id
    }

    /// Whether everything before the mark is done, and has been taken from `poll_done`.
    pub fn is_flushed(&self, mark: u64) -> bool {
        self.done.is_empty()
            && self.queues.values().all(|queue| queue.batches.front().is_none_or(|batch| batch.order >= mark))
    }

    /// Somebody waits for room (`true`), or does no longer. As long as anybody does, nothing lingers.
    pub const fn wait_for_room(&mut self, waits: bool) {
        self.waiting_for_room =
            if waits { self.waiting_for_room.saturating_add(1) } else { self.waiting_for_room.saturating_sub(1) };
    }

    /// Bytes that count against the buffer.
    pub const fn buffered_bytes(&self) -> usize {
        self.buffered_bytes
    }

    /// Gives up everything that is not with a broker at present, and lets nothing be sent again.
    pub fn fail_all(&mut self, now: Instant, cause: &Cause<E>) {
        let waiting: Vec<(TopicPartition, u64)> = (self.queues.iter())
            .flat_map(|(at, queue)| queue.batches.iter().filter(|b| !b.is_sent()).map(|b| (at.clone(), b.id)))
            .collect();
        for (at, id) in waiting {
            self.give_up(now, &at, id, cause.clone());
        }
    }

    /// What has become of records, in no particular order between partitions.
    pub fn poll_done(&mut self) -> Option<Done<T, E>> {
        self.done.pop_front()
    }
}

/// Bytes of a batch besides its records.
const HEADER_BYTES: usize = 61;

fn new_batch<T, E>(id: u64, order: u64, created: Instant, codec: Codec, transactional: bool) -> Batch<T, E> {
    let builder = BatchBuilder::new(BatchOptions { codec, transactional, ..BatchOptions::default() });
    Batch {
        id,
        order,
        slots: Vec::new(),
        stage: Stage::Open(Box::new(builder)),
        memory: 0,
        created,
        stamp: None,
        stamped: None,
        was_moved: false,
        attempts: 0,
        retry_at: None,
        maybe_written: false,
        cause: None,
    }
}

/// Closes an open batch.
fn seal<T, E>(at: &TopicPartition, batch: &mut Batch<T, E>, codec: Codec) -> Option<SealOrder> {
    if !batch.is_open() {
        return None;
    }
    match std::mem::replace(&mut batch.stage, Stage::Sealing) {
        Stage::Open(builder) => Some(SealOrder { partition: at.clone(), id: batch.id, builder, codec }),
        _ => None,
    }
}
