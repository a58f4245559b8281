//! When a bounded job ends: every partition at its target, or nothing more to read for a while.
//!
//! Rules of "Job semantics", section 3. A position counts, not a record: control records, aborted transactions and
//! compaction gaps move it too, so nothing waits for a record that cannot come. A partition that cannot be fetched is
//! never "empty".

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use super::plan::{PartitionRange, Target};

/// The rule that ended a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Every partition reached the target the job names.
    AllAtTarget,
    /// Every partition reached its target or the end its log had when the job started.
    Snapshot,
    /// No record for this long, and every partition fetched to its end.
    PollEmpty(Duration),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AllAtTarget => f.write_str("all partitions at target"),
            Self::Snapshot => f.write_str("snapshot reached"),
            Self::PollEmpty(wait) => write!(f, "poll empty for {}s", wait.as_secs()),
        }
    }
}

/// Decides when a bounded job has read its range. Pure: time is an argument.
///
/// Inputs: `handle_position` after every answer of a fetch, `handle_record` when records came, `handle_target` when a
/// target in the future became known. Outputs, at any time: `ended`, `target`, `poll_timeout`, `lagging`.
/// Invariant: once `ended` has given a rule it gives one for ever.
#[derive(Debug)]
pub struct EndRule {
    partitions: BTreeMap<i32, PartitionState>,
    wait: Duration,
    empty_poll_ends: bool,
    snapshot: bool,
    last_record: Instant,
}

#[derive(Clone, Copy, Debug)]
struct PartitionState {
    position: i64,
    target: Target,
    /// The fetch after the last record reached the end of the log.
    at_log_end: bool,
}

impl PartitionState {
    fn reached(&self) -> bool {
        matches!(self.target, Target::Offset(end) if self.position >= end)
    }
}

impl EndRule {
    /// Starts at the begin of every range. `snapshot` says that targets were cut to the log ends of the start;
    /// `empty_poll_ends` that `wait` without a record ends the job.
    pub fn new(ranges: &[PartitionRange], wait: Duration, empty_poll_ends: bool, snapshot: bool, now: Instant) -> Self {
        let state =
            |range: &PartitionRange| PartitionState { position: range.begin, target: range.target, at_log_end: false };
        let partitions = ranges.iter().map(|range| (range.partition, state(range))).collect();
        Self { partitions, wait, empty_poll_ends, snapshot, last_record: now }
    }

    /// A fetch of `partition` succeeded; everything below `position` has been dealt with, and the log ends at `log_end`.
    pub fn handle_position(&mut self, partition: i32, position: i64, log_end: i64) {
        if let Some(state) = self.partitions.get_mut(&partition) {
            state.position = state.position.max(position);
            state.at_log_end = position >= log_end;
        }
    }

    /// A record came at `now`.
    pub fn handle_record(&mut self, now: Instant) {
        self.last_record = self.last_record.max(now);
    }

    /// A partition's fetch failed: it is not known to be at its end.
    pub fn handle_failure(&mut self, partition: i32) {
        if let Some(state) = self.partitions.get_mut(&partition) {
            state.at_log_end = false;
        }
    }

    /// A target in the future became an offset. A smaller one found in the log itself stays.
    pub fn handle_target(&mut self, partition: i32, offset: i64) {
        if let Some(state) = self.partitions.get_mut(&partition) {
            state.target = match state.target {
                Target::Offset(known) => Target::Offset(known.min(offset)),
                Target::Time(_) => Target::Offset(offset),
            };
        }
    }

    /// Where `partition` ends; `None` for one that is not read.
    pub fn target(&self, partition: i32) -> Option<Target> {
        self.partitions.get(&partition).map(|state| state.target)
    }

    /// Whether `partition` has nothing left to read.
    pub fn reached(&self, partition: i32) -> bool {
        self.partitions.get(&partition).is_none_or(PartitionState::reached)
    }

    /// The rule that has ended the job, if one has.
    pub fn ended(&self, now: Instant) -> Option<Ended> {
        if self.partitions.values().all(PartitionState::reached) {
            return Some(if self.snapshot { Ended::Snapshot } else { Ended::AllAtTarget });
        }
        let quiet = now.saturating_duration_since(self.last_record) >= self.wait;
        let at_end = self.partitions.values().all(|state| state.reached() || state.at_log_end);
        (self.empty_poll_ends && quiet && at_end).then_some(Ended::PollEmpty(self.wait))
    }

    /// When `ended` should be asked again even if nothing happens.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.empty_poll_ends.then(|| self.last_record + self.wait)
    }

    /// Partitions that have not reached their target, with their positions.
    pub fn lagging(&self) -> impl Iterator<Item = (i32, i64, Target)> + '_ {
        self.partitions.iter().filter(|(_, s)| !s.reached()).map(|(p, s)| (*p, s.position, s.target))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const WAIT: Duration = Duration::from_secs(10);

    fn range(partition: i32, begin: i64, end: i64) -> PartitionRange {
        PartitionRange { partition, begin, target: Target::Offset(end), log_end: end, commits: true }
    }

    #[test]
    fn empty_partitions_end_at_once() {
        let now = Instant::now();
        let rule = EndRule::new(&[range(0, 0, 0), range(1, 5, 5)], WAIT, true, true, now);
        assert_eq!(rule.ended(now), Some(Ended::Snapshot));
    }

    #[test]
    fn positions_count_not_records() {
        let now = Instant::now();
        let mut rule = EndRule::new(&[range(0, 0, 4)], WAIT, false, false, now);
        rule.handle_position(0, 3, 4);
        assert_eq!(rule.ended(now), None);
        rule.handle_position(0, 4, 4);
        assert_eq!(rule.ended(now), Some(Ended::AllAtTarget));
    }

    #[test]
    fn an_empty_poll_needs_every_partition_at_its_end() {
        let start = Instant::now();
        let mut rule = EndRule::new(&[range(0, 0, 9), range(1, 0, 9)], WAIT, true, false, start);
        let later = start + WAIT;
        rule.handle_position(0, 2, 2);
        assert_eq!(rule.ended(later), None, "partition 1 has not answered");
        rule.handle_position(1, 0, 0);
        assert_eq!(rule.ended(later - Duration::from_millis(1)), None);
        assert_eq!(rule.ended(later), Some(Ended::PollEmpty(WAIT)));
        rule.handle_record(start + Duration::from_secs(1));
        assert_eq!(rule.ended(later), None, "the wait starts at the last record");
        rule.handle_failure(1);
        assert_eq!(rule.ended(later + WAIT), None, "a failing partition is never empty");
    }

    #[test]
    fn without_the_empty_poll_rule_it_waits() {
        let start = Instant::now();
        let mut rule = EndRule::new(&[range(0, 0, 9)], WAIT, false, false, start);
        rule.handle_position(0, 2, 2);
        assert_eq!(rule.ended(start + WAIT * 100), None);
        assert_eq!(rule.lagging().collect::<Vec<_>>(), [(0, 2, Target::Offset(9))]);
    }

    #[test]
    fn a_target_in_the_future_becomes_an_offset() {
        let start = Instant::now();
        let future = PartitionRange { target: Target::Time(99), ..range(0, 0, 0) };
        let mut rule = EndRule::new(&[future], WAIT, false, false, start);
        assert!(!rule.reached(0));
        rule.handle_position(0, 3, 3);
        rule.handle_target(0, 3);
        assert_eq!(rule.ended(start), Some(Ended::AllAtTarget));
        rule.handle_target(0, 7);
        assert_eq!(rule.target(0), Some(Target::Offset(3)));
    }
}
