//! What a bounded job reads: one half-open range of offsets a partition, fixed once at the start.
//!
//! Pure: the facts about the log come in, ranges come out. Rules of "Job semantics", sections 2.3 and 3. The end is
//! exclusive; a number applies to every partition; lost records are an error unless the job says how to go on.

use std::collections::BTreeMap;
use std::fmt;

use crate::job::{Begin, End, Reset};

/// What is known about one partition when the job starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartitionFacts {
    /// The first offset that still exists.
    pub log_start: i64,
    /// The end of what can be read: the last stable offset under read_committed, else the high watermark.
    pub log_end: i64,
    /// The group's committed offset, where the job begins at it.
    pub committed: Option<i64>,
    /// The first offset at or after the begin time, where the job begins at a time.
    pub begin_time_offset: Option<i64>,
    /// The first offset at or after the end time, where the job ends at a time that has passed.
    pub end_time_offset: Option<i64>,
}

/// Where one partition's range ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// At this offset, exclusive.
    Offset(i64),
    /// At the first record whose timestamp is at or after this time (ms), which is still to come when the job starts.
    Time(i64),
}

/// The range of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionRange {
    /// The partition.
    pub partition: i32,
    /// The first offset to read.
    pub begin: i64,
    /// Where to stop.
    pub target: Target,
    /// The end of the log when the job started.
    pub log_end: i64,
    /// Whether the group's offset is to be committed for this partition: false where the wanted begin lay past the log.
    pub commits: bool,
}

impl PartitionRange {
    /// How many offsets the range holds, where that is known. Compacted and control records count.
    pub fn offsets(&self) -> Option<u64> {
        match self.target {
            Target::Offset(end) => u64::try_from(end.saturating_sub(self.begin)).ok().or(Some(0)),
            Target::Time(_) => None,
        }
    }
}

/// Why a range begins where it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeginReason {
    /// The job names the offset.
    Given,
    /// The first record that still exists.
    LogStart,
    /// The end of the log when the job starts.
    LogEnd,
    /// The first record at or after the job's time.
    Time,
    /// No record is at or after the job's time.
    NoLaterRecord,
    /// The group has committed it.
    Group,
    /// The group has committed nothing, and the job says what then.
    GroupHasNone(Reset),
    /// The wanted offset no longer exists, and the job says what then.
    Lost(i64, Reset),
    /// The wanted offset does not exist yet.
    PastEnd(i64),
}

impl BeginReason {
    /// One word for it, for programs.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Given => "given",
            Self::LogStart => "log_start",
            Self::LogEnd => "log_end",
            Self::Time | Self::NoLaterRecord => "time",
            Self::Group => "group",
            Self::GroupHasNone(_) | Self::Lost(..) => "reset",
            Self::PastEnd(_) => "past_end",
        }
    }
}

impl fmt::Display for BeginReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chosen = |reset: Reset| match reset {
            Reset::Latest => "the end of the log",
            Reset::Earliest | Reset::None => "the first record that exists",
        };
        match self {
            Self::Given => f.write_str("named by the job"),
            Self::LogStart => f.write_str("the first record that exists"),
            Self::LogEnd => f.write_str("the end of the log"),
            Self::Time => f.write_str("the first record at or after the job's time"),
            Self::NoLaterRecord => f.write_str("no record at or after the job's time: the end of the log"),
            Self::Group => f.write_str("committed by the group"),
            Self::GroupHasNone(reset) => write!(f, "the group has committed nothing: {}", chosen(*reset)),
            Self::Lost(wanted, reset) => write!(f, "offset {wanted} is gone: {}", chosen(*reset)),
            Self::PastEnd(wanted) => write!(f, "offset {wanted} lies past the end of the log"),
        }
    }
}

/// The ranges of a job, by partition in ascending order, and what is worth saying about them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// One range a partition.
    pub ranges: Vec<PartitionRange>,
    /// Why each of them begins where it does, in the same order.
    pub reasons: Vec<BeginReason>,
    /// Lines for the run log.
    pub notes: Vec<String>,
}

/// Why a range cannot be fixed. A person must decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlanError {
    /// The first wanted record is gone.
    BelowLogStart {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The offset the job asks for.
        wanted: i64,
        /// The first offset that still exists.
        log_start: i64,
    },
    /// The job begins at the group's offset and the group has none.
    NothingCommitted {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The group.
        group: String,
    },
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BelowLogStart { topic, partition, wanted, log_start } => write!(
                f,
                "topic \"{topic}\" partition {partition}: offset {wanted} is out of range, the log starts at {log_start}; \
                 the records {wanted} to {} are gone",
                log_start.saturating_sub(1)
            ),
            Self::NothingCommitted { topic, partition, group } => {
                write!(
                    f,
                    "topic \"{topic}\" partition {partition}: group \"{group}\" has no committed offset to begin at"
                )
            }
        }
    }
}

impl std::error::Error for PlanError {}

/// What of a job decides its ranges.
#[derive(Clone, Copy, Debug)]
pub struct RangeRules<'a> {
    /// The topic, for messages.
    pub topic: &'a str,
    /// The group, for messages.
    pub group: Option<&'a str>,
    /// Where to begin.
    pub begin: Begin,
    /// Where to end.
    pub end: End,
    /// What to do where the begin does not exist.
    pub reset: Reset,
    /// The form without `beginType` and `endType`, which never reads past the log end of its start.
    pub old_form: bool,
    /// What the group has committed goes before `begin`, and lost records are an error whatever `reset` says: a job without an
    /// end.
    pub group_first: bool,
}

/// Fixes the ranges.
///
/// # Errors
/// [`PlanError`] for the first partition whose begin does not exist and whose job does not say what to do instead.
pub fn plan(rules: &RangeRules<'_>, facts: &BTreeMap<i32, PartitionFacts>) -> Result<Plan, PlanError> {
    let mut plan = Plan::default();
    for (&partition, facts) in facts {
        let (begin, reason) = begin(rules, partition, facts, &mut plan.notes)?;
        let past_end = begin > facts.log_end;
        let begin = begin.min(facts.log_end);
        let target = match target(rules, facts) {
            Target::Offset(end) if past_end => Target::Offset(end.min(begin)),
            Target::Offset(end) if rules.old_form => Target::Offset(end.min(facts.log_end)),
            target => target,
        };
        let target = match target {
            Target::Offset(end) => Target::Offset(end.max(begin)),
            time => time,
        };
        plan.ranges.push(PartitionRange { partition, begin, target, log_end: facts.log_end, commits: !past_end });
        plan.reasons.push(reason);
    }
    Ok(plan)
}

fn begin(
    rules: &RangeRules<'_>,
    partition: i32,
    facts: &PartitionFacts,
    notes: &mut Vec<String>,
) -> Result<(i64, BeginReason), PlanError> {
    let topic = rules.topic;
    let (log_start, log_end) = (facts.log_start, facts.log_end);
    let committed = facts.committed.filter(|_| rules.group_first || rules.begin == Begin::Group);
    let reset = if rules.group_first && committed.is_some() { Reset::None } else { rules.reset };
    let (wanted, reason) = match (committed, rules.begin) {
        (Some(offset), _) => (offset, BeginReason::Group),
        (None, Begin::LogStart) => return Ok((log_start, BeginReason::LogStart)),
        (None, Begin::LogEnd) => return Ok((log_end, BeginReason::LogEnd)),
        (None, Begin::Time(_)) => {
            let found = facts.begin_time_offset.map(|offset| (offset, BeginReason::Time));
            return Ok(found.unwrap_or((log_end, BeginReason::NoLaterRecord)));
        }
        (None, Begin::Offset(offset)) => (offset, BeginReason::Given),
        (None, Begin::Group) => match reset {
            Reset::Earliest => return Ok((log_start, BeginReason::GroupHasNone(reset))),
            Reset::Latest => return Ok((log_end, BeginReason::GroupHasNone(reset))),
            Reset::None => {
                let group = rules.group.unwrap_or_default().to_owned();
                return Err(PlanError::NothingCommitted { topic: topic.to_owned(), partition, group });
            }
        },
    };
    if wanted > log_end {
        notes.push(format!(
            "topic \"{topic}\" partition {partition}: begin offset {wanted} is past the log end {log_end}, nothing to read"
        ));
        return Ok((wanted, BeginReason::PastEnd(wanted)));
    }
    if wanted >= log_start {
        return Ok((wanted, reason));
    }
    let found = match reset {
        Reset::Earliest => log_start,
        Reset::Latest => log_end,
        Reset::None => {
            return Err(PlanError::BelowLogStart { topic: topic.to_owned(), partition, wanted, log_start });
        }
    };
    notes.push(format!(
        "topic \"{topic}\" partition {partition}: begin offset {wanted} is below the log start {log_start}, \
         auto.offset.reset takes {found}"
    ));
    Ok((found, BeginReason::Lost(wanted, reset)))
}

fn target(rules: &RangeRules<'_>, facts: &PartitionFacts) -> Target {
    match (rules.end, facts.end_time_offset) {
        (End::Offset(end), _) => Target::Offset(end),
        (End::Latest, _) => Target::Offset(facts.log_end),
        (End::Time(_), Some(offset)) => Target::Offset(offset),
        (End::Time(time), None) => Target::Time(time),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    const RULES: RangeRules<'static> = RangeRules {
        topic: "t",
        group: Some("g"),
        begin: Begin::Offset(0),
        end: End::Offset(3),
        reset: Reset::None,
        old_form: true,
        group_first: false,
    };

    fn one(rules: RangeRules<'_>, facts: PartitionFacts) -> Result<PartitionRange, PlanError> {
        plan(&rules, &BTreeMap::from([(0, facts)])).map(|plan| plan.ranges[0])
    }

    fn log(log_start: i64, log_end: i64) -> PartitionFacts {
        PartitionFacts { log_start, log_end, ..PartitionFacts::default() }
    }

    #[test]
    fn the_old_form_never_waits_past_the_log_end() {
        let range = one(RULES, log(0, 1)).unwrap();
        assert_eq!((range.begin, range.target, range.commits), (0, Target::Offset(1), true));
        assert_eq!(one(RULES, log(0, 9)).unwrap().target, Target::Offset(3));
        assert_eq!(one(RULES, log(0, 0)).unwrap().target, Target::Offset(0));
        let wizard = RangeRules { old_form: false, ..RULES };
        assert_eq!(one(wizard, log(0, 1)).unwrap().target, Target::Offset(3));
    }

    #[test]
    fn lost_records_fail_unless_the_job_says_otherwise() {
        let error = one(RULES, log(2, 9)).unwrap_err();
        assert_eq!(error, PlanError::BelowLogStart { topic: "t".into(), partition: 0, wanted: 0, log_start: 2 });
        assert_eq!(
            error.to_string(),
            "topic \"t\" partition 0: offset 0 is out of range, the log starts at 2; the records 0 to 1 are gone"
        );
        assert_eq!(one(RangeRules { reset: Reset::Earliest, ..RULES }, log(2, 9)).unwrap().begin, 2);
        let latest = one(RangeRules { reset: Reset::Latest, ..RULES }, log(2, 9)).unwrap();
        assert_eq!((latest.begin, latest.target), (9, Target::Offset(9)));
    }

    #[test]
    fn a_begin_past_the_log_reads_and_commits_nothing() {
        let rules = RangeRules { begin: Begin::Offset(7), end: End::Offset(9), old_form: false, ..RULES };
        let range = one(rules, log(0, 5)).unwrap();
        assert_eq!((range.begin, range.target, range.commits, range.offsets()), (5, Target::Offset(5), false, Some(0)));
    }

    #[test]
    fn the_group_offset_or_the_reset_chain() {
        let rules = RangeRules { begin: Begin::Group, end: End::Latest, ..RULES };
        let committed = PartitionFacts { committed: Some(4), ..log(0, 6) };
        assert_eq!(one(rules, committed).unwrap().begin, 4);
        assert!(matches!(one(rules, log(0, 6)), Err(PlanError::NothingCommitted { .. })));
        assert_eq!(one(RangeRules { reset: Reset::Earliest, ..rules }, log(1, 6)).unwrap().begin, 1);
        let lost = PartitionFacts { committed: Some(0), ..log(3, 6) };
        assert!(matches!(one(rules, lost), Err(PlanError::BelowLogStart { wanted: 0, log_start: 3, .. })));
    }

    #[test]
    fn each_begin_says_where_it_comes_from() {
        let reason =
            |rules: RangeRules<'_>, facts| plan(&rules, &BTreeMap::from([(0, facts)])).map(|plan| plan.reasons[0]);
        assert_eq!(reason(RULES, log(0, 9)), Ok(BeginReason::Given));
        assert_eq!(reason(RangeRules { begin: Begin::LogStart, ..RULES }, log(2, 9)), Ok(BeginReason::LogStart));
        assert_eq!(reason(RangeRules { begin: Begin::Time(5), ..RULES }, log(2, 9)), Ok(BeginReason::NoLaterRecord));
        let reset = RangeRules { begin: Begin::Group, reset: Reset::Latest, ..RULES };
        assert_eq!(reason(reset, log(2, 9)), Ok(BeginReason::GroupHasNone(Reset::Latest)));
        let lost = RangeRules { reset: Reset::Earliest, ..RULES };
        assert_eq!(reason(lost, log(2, 9)), Ok(BeginReason::Lost(0, Reset::Earliest)));
        assert_eq!(BeginReason::Lost(0, Reset::Earliest).to_string(), "offset 0 is gone: the first record that exists");
    }

    #[test]
    fn a_job_without_an_end_goes_on_at_its_groups_offset_and_never_skips() {
        let rules = RangeRules { begin: Begin::LogStart, reset: Reset::Earliest, group_first: true, ..RULES };
        let committed = PartitionFacts { committed: Some(4), ..log(0, 6) };
        assert_eq!(one(rules, committed).unwrap().begin, 4);
        assert_eq!(one(rules, log(1, 6)).unwrap().begin, 1);
        let lost = PartitionFacts { committed: Some(0), ..log(3, 6) };
        assert!(matches!(one(rules, lost), Err(PlanError::BelowLogStart { wanted: 0, log_start: 3, .. })));
    }

    #[test]
    fn times_become_offsets_and_no_match_means_the_end() {
        let rules = RangeRules { begin: Begin::Time(5), end: End::Time(9), old_form: false, ..RULES };
        let facts = PartitionFacts { begin_time_offset: Some(2), end_time_offset: Some(4), ..log(0, 6) };
        let range = one(rules, facts).unwrap();
        assert_eq!((range.begin, range.target), (2, Target::Offset(4)));
        let range = one(rules, log(0, 6)).unwrap();
        assert_eq!((range.begin, range.target), (6, Target::Time(9)));
    }
}
