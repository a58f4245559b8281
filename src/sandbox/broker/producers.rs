//! Idempotent producers of one partition: which batches are already there (KIP-98).

use std::collections::{BTreeMap, VecDeque};

use super::batch::Header;
use super::codes;
use super::log::Refusal;

/// Batches remembered for each producer; clients keep at most five in flight.
const BATCHES_KEPT: usize = 5;
/// Producers remembered for each partition; the one with the smallest id is forgotten beyond that.
const PRODUCERS_MAX: usize = 1_000;

/// What a batch's sequence number says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sequence {
    /// The next one, or not from an idempotent producer: append it.
    Next,
    /// Already appended, at this base offset.
    Duplicate(i64),
}

#[derive(Debug)]
struct Known {
    first_sequence: i32,
    last_sequence: i32,
    base_offset: i64,
}

#[derive(Debug)]
struct Producer {
    epoch: i16,
    batches: VecDeque<Known>,
}

/// The producers that wrote to one partition.
#[derive(Debug, Default)]
pub(super) struct Producers(BTreeMap<i64, Producer>);

impl Producers {
    /// Judges a batch before it is appended.
    ///
    /// # Errors
    /// `INVALID_PRODUCER_EPOCH` for an older epoch, `OUT_OF_ORDER_SEQUENCE_NUMBER` for a gap.
    pub(super) fn check(&self, header: &Header) -> Result<Sequence, Refusal> {
        let Some(producer) = self.0.get(&header.producer_id).filter(|_| header.has_producer()) else {
            return Ok(Sequence::Next);
        };
        if header.producer_epoch < producer.epoch {
            let why = format!("epoch {} of producer {} is over", header.producer_epoch, header.producer_id);
            return Err(Refusal::new(codes::INVALID_PRODUCER_EPOCH, why));
        }
        if header.producer_epoch > producer.epoch {
            return if header.base_sequence == 0 { Ok(Sequence::Next) } else { Err(gap(header, -1)) };
        }
        let last_sequence = last_sequence(header);
        let same =
            |known: &&Known| known.first_sequence == header.base_sequence && known.last_sequence == last_sequence;
        if let Some(known) = producer.batches.iter().find(same) {
            return Ok(Sequence::Duplicate(known.base_offset));
        }
        match producer.batches.back() {
            Some(known) if following(known.last_sequence) != header.base_sequence => {
                Err(gap(header, known.last_sequence))
            }
            _ => Ok(Sequence::Next),
        }
    }

    /// Remembers a batch that was appended at `base_offset`.
    pub(super) fn record(&mut self, header: &Header, base_offset: i64) {
        if !header.has_producer() {
            return;
        }
        if self.0.len() >= PRODUCERS_MAX && !self.0.contains_key(&header.producer_id) {
            self.0.pop_first();
        }
        let fresh = || Producer { epoch: header.producer_epoch, batches: VecDeque::new() };
        let producer = self.0.entry(header.producer_id).or_insert_with(fresh);
        if producer.epoch != header.producer_epoch {
            *producer = fresh();
        }
        if producer.batches.len() >= BATCHES_KEPT {
            producer.batches.pop_front();
        }
        producer.batches.push_back(Known {
            first_sequence: header.base_sequence,
            last_sequence: last_sequence(header),
            base_offset,
        });
    }
}

fn gap(header: &Header, last: i32) -> Refusal {
    let why = format!("sequence {} of producer {} after {last}", header.base_sequence, header.producer_id);
    Refusal::new(codes::OUT_OF_ORDER_SEQUENCE_NUMBER, why)
}

/// Sequence numbers start again at 0 after the greatest one.
const fn following(sequence: i32) -> i32 {
    if sequence == i32::MAX { 0 } else { sequence + 1 }
}

const fn last_sequence(header: &Header) -> i32 {
    let last = header.base_sequence as i64 + header.last_offset_delta as i64;
    if last > i32::MAX as i64 { (last - i32::MAX as i64 - 1) as i32 } else { last as i32 }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::log::tests::batch;
    use super::*;

    fn header(epoch: i16, sequence: i32) -> Header {
        let mut header = Header::read(&batch(&[(1, "a"), (2, "b")])).unwrap();
        header.producer_id = 7;
        header.producer_epoch = epoch;
        header.base_sequence = sequence;
        header
    }

    #[test]
    fn a_batch_sent_again_keeps_its_offset_and_a_gap_is_refused() {
        let mut producers = Producers::default();
        producers.record(&header(0, 0), 100);
        producers.record(&header(0, 2), 102);
        assert_eq!(producers.check(&header(0, 0)), Ok(Sequence::Duplicate(100)));
        assert_eq!(producers.check(&header(0, 4)), Ok(Sequence::Next));
        assert_eq!(producers.check(&header(0, 6)).unwrap_err().code, codes::OUT_OF_ORDER_SEQUENCE_NUMBER);
        assert_eq!(producers.check(&header(1, 0)), Ok(Sequence::Next));
        assert_eq!(producers.check(&header(1, 2)).unwrap_err().code, codes::OUT_OF_ORDER_SEQUENCE_NUMBER);
        producers.record(&header(1, 0), 104);
        assert_eq!(producers.check(&header(0, 4)).unwrap_err().code, codes::INVALID_PRODUCER_EPOCH);
    }

    #[test]
    fn sequences_start_again_after_the_greatest() {
        let mut producers = Producers::default();
        producers.record(&header(0, i32::MAX), 5);
        assert_eq!(producers.check(&header(0, 1)), Ok(Sequence::Next));
    }
}
