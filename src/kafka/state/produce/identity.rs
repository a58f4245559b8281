//! Who a producer is, and the numbers of its records in one partition (KIP-98, KIP-360).

use super::batch::Queue;

/// A producer's id and epoch, as a broker gave them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The id.
    pub id: i64,
    /// The epoch: of two producers with the same id the one with the higher epoch counts.
    pub epoch: i16,
}

impl Owner {
    /// The same with the next epoch; none when there is no next.
    pub(super) fn next_epoch(self) -> Option<Self> {
        Some(Self { epoch: self.epoch.checked_add(1)?, ..self })
    }
}

/// A batch's place among what its producer wrote to the partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) owner: Owner,
    /// The number of the batch's first record.
    pub(super) sequence: i32,
}

/// Sequence numbers run from 0 to 2^31 - 1 and then from 0 again.
pub(super) const fn after(sequence: i32, count: i32) -> i32 {
    sequence.wrapping_add(count) & i32::MAX
}

/// The numbers of one partition.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sequences {
    /// Under whom they are counted; none before the first batch, and after a new start.
    pub(super) owner: Option<Owner>,
    /// The next new record's.
    pub(super) next: i32,
    /// The number after the last record that a broker has confirmed.
    pub(super) confirmed: i32,
    /// A broker has confirmed a batch of this owner. Before that it takes any first number for the first one
    /// (`ProducerAppendInfo.java` in apache/kafka), so that a second batch could overtake a first that a new leader refuses.
    pub(super) is_known: bool,
    /// A batch was given up of which nobody knows whether it is in the log.
    pub(super) unresolved: bool,
    /// The broker does not know what we wrote before; everything goes under a new epoch once nothing is with a broker.
    pub(super) bump_wanted: bool,
}

impl Sequences {
    pub(super) const fn new() -> Self {
        Self { owner: None, next: 0, confirmed: 0, is_known: false, unresolved: false, bump_wanted: false }
    }

    /// Gives `count` new records their number.
    pub(super) fn stamp(&mut self, owner: Owner, count: i32) -> Stamp {
        if self.owner != Some(owner) {
            *self = Self { owner: Some(owner), ..Self::new() };
        }
        let sequence = self.next;
        self.next = after(sequence, count);
        Stamp { owner, sequence }
    }

    /// Whether a batch with this stamp is what the broker must be waiting for.
    pub(super) fn is_due(&self, stamp: Stamp) -> bool {
        self.owner == Some(stamp.owner) && stamp.sequence == self.confirmed
    }

    pub(super) fn confirm(&mut self, stamp: Stamp, count: i32) {
        if self.owner == Some(stamp.owner) {
            self.is_known = true;
            let end = after(stamp.sequence, count);
            // Numbers wrap: "later" is what lies less than half the circle ahead.
            if end.wrapping_sub(self.confirmed) & i32::MAX < 1 << 30 {
                self.confirmed = end;
            }
        }
    }
}

impl<T, E> Queue<T, E> {
    /// A batch that is certainly not in the log was given up: the records after it move up, or the broker would wait for it
    /// for ever.
    pub(super) fn close_gap(&mut self, gone: Stamp, count: i32) {
        if self.sequences.owner != Some(gone.owner) {
            return;
        }
        self.sequences.next = after(self.sequences.next, count.wrapping_neg());
        for batch in &mut self.batches {
            if let Some(stamp) = &mut batch.stamp
                && stamp.owner == gone.owner
                && stamp.sequence.wrapping_sub(gone.sequence) & i32::MAX < 1 << 30
            {
                stamp.sequence = after(stamp.sequence, count.wrapping_neg());
                batch.was_moved = true;
            }
        }
    }

    /// Whether numbering has to start again under a new epoch, and nothing stands in the way.
    pub(super) fn wants_new_start(&mut self) -> bool {
        if self.sequences.unresolved && self.batches.iter().all(|batch| batch.stamp.is_none()) {
            self.sequences.unresolved = false;
            // What came after the lost batch was confirmed, so that one was too; else nobody knows.
            if self.sequences.confirmed != self.sequences.next {
                self.sequences.bump_wanted = true;
            }
        }
        self.sequences.bump_wanted && !self.has_sent()
    }

    /// Starts again from 0.
    pub(super) fn start_anew(&mut self) {
        self.sequences = Sequences::new();
        for batch in &mut self.batches {
            batch.stamp = None;
            batch.was_moved = false;
        }
    }
}
