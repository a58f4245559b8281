//! Which batches of a fetch answer read_committed may show.

use std::collections::BTreeSet;

use crate::kafka::msg::AbortedTransaction;
use crate::kafka::record::{Batch, ControlType};
use crate::wire::DecodeError;

/// Steps over the batches of aborted transactions in one answer. Pure.
///
/// A transaction in the answer's list is open from its first offset to that producer's next *abort* marker; a commit marker
/// does not end it. A producer may have several in one answer, and brokers send the list in any order.
///
/// Inputs: every batch of the answer, in order, through `admits`, whose result is the output.
#[derive(Clone, Debug)]
pub struct AbortedFilter {
    /// By first offset, the smallest last.
    upcoming: Vec<AbortedTransaction>,
    open: BTreeSet<i64>,
}

impl AbortedFilter {
    /// For the aborted transactions of one partition in one answer.
    pub fn new(mut aborted: Vec<AbortedTransaction>) -> Self {
        crate::sorting::by_key(&mut aborted, |transaction| std::cmp::Reverse(transaction.first_offset));
        Self { upcoming: aborted, open: BTreeSet::new() }
    }

    /// Whether the records of `batch` may be shown. Control batches never are.
    ///
    /// # Errors
    /// [`DecodeError`] when a marker is damaged.
    pub fn admits(&mut self, batch: &Batch) -> Result<bool, DecodeError> {
        while let Some(transaction) = self.upcoming.pop_if(|next| next.first_offset <= batch.last_offset()) {
            self.open.insert(transaction.producer_id);
        }
        if batch.is_control() {
            if batch.control_type()? == Some(ControlType::Abort) {
                self.open.remove(&batch.producer_id());
            }
            return Ok(false);
        }
        Ok(!batch.is_transactional() || !self.open.contains(&batch.producer_id()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::kafka::record::{BatchBuilder, BatchOptions, RecordSet, end_marker};

    const ABORT: bool = false;

    fn data(producer_id: i64, base_offset: i64, transactional: bool) -> Vec<u8> {
        let options =
            BatchOptions { producer_id, producer_epoch: 0, base_sequence: 0, transactional, ..BatchOptions::default() };
        let mut builder = BatchBuilder::new(options);
        builder.push(0, None, Some(b"v"), &[]);
        builder.finish(base_offset).unwrap()
    }

    fn marker(producer_id: i64, base_offset: i64, commit: bool) -> Vec<u8> {
        let kind = if commit { ControlType::Commit } else { ControlType::Abort };
        end_marker(kind, producer_id, 0, 0, 0, base_offset).unwrap()
    }

    fn shown(parts: &[Vec<u8>], aborted: &[(i64, i64)]) -> Vec<i64> {
        let list = aborted.iter().map(|(producer_id, first_offset)| AbortedTransaction {
            producer_id: *producer_id,
            first_offset: *first_offset,
        });
        let mut filter = AbortedFilter::new(list.collect());
        let set = RecordSet::new(parts.concat().into());
        let admitted = set.batches().map(Result::unwrap).filter(|batch| filter.admits(batch).unwrap());
        admitted.map(|batch| batch.base_offset()).collect()
    }

    #[test]
    fn an_aborted_transaction_ends_at_its_own_abort_marker() {
        let log = [
            data(1, 0, true),
            data(2, 1, true),
            marker(2, 2, true),
            data(1, 3, true),
            marker(1, 4, ABORT),
            data(1, 5, true),
        ];
        assert_eq!(shown(&log, &[(1, 0)]), [1, 5]);
    }

    #[test]
    fn several_transactions_of_one_producer_in_any_order() {
        let log = [
            data(1, 0, true),
            marker(1, 1, ABORT),
            data(1, 2, true),
            marker(1, 3, true),
            data(1, 4, true),
            marker(1, 5, ABORT),
        ];
        assert_eq!(shown(&log, &[(1, 4), (1, 0)]), [2]);
        assert_eq!(shown(&log, &[(1, 0), (1, 4)]), [2]);
    }

    #[test]
    fn a_transaction_that_began_before_the_answer_is_open_from_its_start() {
        let log = [data(1, 10, true), marker(1, 11, ABORT), data(1, 12, false)];
        assert_eq!(shown(&log, &[(1, 3)]), [12]);
    }

    #[test]
    fn without_a_list_only_markers_are_hidden() {
        let log = [data(1, 0, true), marker(1, 1, true), data(2, 2, false)];
        assert_eq!(shown(&log, &[]), [0, 2]);
        // A record outside any transaction is shown, whoever wrote it.
        assert_eq!(shown(&[data(1, 0, false)], &[(1, 0)]), [0]);
    }
}
