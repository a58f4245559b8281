//! A run, shown as a continuous job is: its ranges are its partitions.

use std::collections::BTreeMap;

use super::{JobStatus, Life, UnixMillis};
use crate::sync::plan::{PartitionRange, Target};
use crate::sync::step::Range;

impl JobStatus {
    /// The ranges are fixed, and reading begins.
    pub(in crate::sync) fn ranges(&self, ranges: &[PartitionRange], now: UnixMillis) {
        let owned: Vec<i32> = ranges.iter().map(|range| range.partition).collect();
        self.assign(&owned, now);
        self.live(Life::Running, now);
        let mut state = self.state();
        let end_of = |range: &PartitionRange| match range.target {
            Target::Offset(end) if end < i64::MAX => Some(end),
            _ => None,
        };
        (state.ready, state.is_run) = (true, true);
        state.ends_are_fixed = ranges.iter().all(|range| end_of(range).is_some());
        for range in ranges {
            let known = state.partitions.entry(range.partition).or_default();
            known.committed = Some(range.begin);
            known.end = end_of(range).or(Some(range.log_end));
        }
    }

    /// All is read and sent, and is about to be committed.
    pub(in crate::sync) fn committing(&self, now: UnixMillis) {
        let mut state = self.state();
        (state.committing_since, state.progress_at) = (Some(now), now);
    }

    /// Rows are in the table, up to these offsets.
    pub(in crate::sync) fn reached(&self, rows: u64, ends: impl IntoIterator<Item = (i32, i64)>, now: UnixMillis) {
        let ranges: BTreeMap<i32, Range> =
            ends.into_iter().map(|(partition, end)| (partition, Range { begin: end, end })).collect();
        self.advanced(rows, &ranges, now);
    }
}
