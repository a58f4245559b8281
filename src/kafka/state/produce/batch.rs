//! One batch on its way, and the queue of one partition.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use crate::kafka::record::{BatchBuilder, stamp_producer};

use super::Cause;
use super::identity::{Sequences, Stamp};

/// One record that waits for its batch.
#[derive(Debug)]
pub(super) struct Slot<T> {
    pub(super) handle: T,
    /// In ms since 1970.
    pub(super) timestamp: i64,
}

#[derive(Debug)]
pub(super) enum Stage {
    /// Takes records.
    Open(Box<BatchBuilder>),
    /// Is being compressed.
    Sealing,
    /// Waits to be sent, for the first time or again.
    Ready(Bytes),
    /// Is with this broker.
    Sent { bytes: Bytes, broker: i32 },
}

#[derive(Debug)]
pub(super) struct Batch<T, E> {
    pub(super) id: u64,
    /// The id of the batch it was a part of when the records came; batches of one partition never overtake in it.
    pub(super) order: u64,
    pub(super) slots: Vec<Slot<T>>,
    pub(super) stage: Stage,
    /// Bytes that count against the buffer.
    pub(super) memory: usize,
    pub(super) created: Instant,
    /// Its place among the records of this producer in this partition, from the first sending on.
    pub(super) stamp: Option<Stamp>,
    /// What stands in its bytes.
    pub(super) stamped: Option<Stamp>,
    /// Set when a batch before it was given up, which moved its sequence number.
    pub(super) was_moved: bool,
    pub(super) attempts: u32,
    pub(super) retry_at: Option<Instant>,
    /// Whether an attempt ended without a word about what became of it.
    pub(super) maybe_written: bool,
    pub(super) cause: Option<Cause<E>>,
}

impl<T, E> Batch<T, E> {
    pub(super) const fn is_sent(&self) -> bool {
        matches!(self.stage, Stage::Sent { .. })
    }

    pub(super) const fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open(_))
    }

    /// Number of records; a batch has fewer than 2^31.
    pub(super) fn count(&self) -> i32 {
        i32::try_from(self.slots.len()).unwrap_or(i32::MAX)
    }

    /// Whether it can be sent now, as bytes.
    pub(super) const fn is_ready(&self) -> bool {
        matches!(self.stage, Stage::Ready(_))
    }

    pub(super) const fn ready_bytes(&self) -> usize {
        match &self.stage {
            Stage::Ready(bytes) => bytes.len(),
            _ => 0,
        }
    }

    /// The bytes to send to `broker`, with the stamp in them.
    pub(super) fn send(&mut self, broker: i32) -> Bytes {
        let Stage::Ready(bytes) = &mut self.stage else { return Bytes::new() };
        let mut bytes = std::mem::take(bytes);
        if self.stamped != self.stamp {
            let (id, epoch, sequence) =
                self.stamp.map_or((-1, -1, -1), |stamp| (stamp.owner.id, stamp.owner.epoch, stamp.sequence));
            // Nobody else holds it by now, as a rule; else it is copied.
            let mut own = bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
            // A builder's batch has a whole header.
            stamp_producer(&mut own, id, epoch, sequence).ok();
            self.stamped = self.stamp;
            bytes = own.freeze();
        }
        self.attempts = self.attempts.saturating_add(1);
        self.retry_at = None;
        self.stage = Stage::Sent { bytes: bytes.clone(), broker };
        bytes
    }

    /// Back from a broker, to be sent again.
    pub(super) fn take_back(&mut self) {
        if let Stage::Sent { bytes, .. } = &mut self.stage {
            self.stage = Stage::Ready(std::mem::take(bytes));
        }
    }
}

/// The batches of one partition, in the order of their records: those that are with a broker, then the others, the open one
/// last. A batch that has to be sent again stays in its place.
#[derive(Debug)]
pub(super) struct Queue<T, E> {
    pub(super) batches: VecDeque<Batch<T, E>>,
    pub(super) sequences: Sequences,
}

impl<T, E> Queue<T, E> {
    pub(super) const fn new() -> Self {
        Self { batches: VecDeque::new(), sequences: Sequences::new() }
    }

    pub(super) fn find(&mut self, id: u64) -> Option<&mut Batch<T, E>> {
        self.batches.iter_mut().find(|batch| batch.id == id)
    }

    pub(super) fn has_sent(&self) -> bool {
        self.batches.iter().any(Batch::is_sent)
    }

    /// Removes a batch that is done or given up.
    pub(super) fn remove(&mut self, id: u64) -> Option<Batch<T, E>> {
        let at = self.batches.iter().position(|batch| batch.id == id)?;
        self.batches.remove(at)
    }
}
