//! What the machine wants done, and what came of it.

use std::collections::BTreeMap;
use std::fmt;

use crate::sync::intent::SealedSession;

/// Milliseconds since any fixed moment; the same one for every call.
pub type Millis = u64;

/// A batch, as long as the machine lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(pub u32);

/// One write of offsets, as long as the machine lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitId(pub u32);

/// The offsets of one Kafka partition from `begin` up to but not including `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Range {
    /// The first offset.
    pub begin: i64,
    /// The offset after the last one; control records and compaction gaps count.
    pub end: i64,
}

/// Something to be done outside the machine. Each is done once for each time it is given out, and answered by the method that
/// its documentation names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// Fetch the offsets and metadata of all partitions, stable: answered by `handle_offsets`.
    FetchOffsets,
    /// Read records and upload them: answered by `handle_written` or `handle_write_failed`.
    Write(WriteOrder),
    /// Write offsets under the machine's generation: answered by `handle_committed`.
    Commit(CommitOrder),
    /// POST the commit of an upload session: answered by `handle_posted`, whatever came of it.
    Post(SessionOrder),
    /// GET the state of an upload session: answered by `handle_session`.
    Ask(SessionOrder),
    /// Look in the table for rows of these ranges: answered by `handle_evidence`.
    LookForRows(EvidenceOrder),
}

/// Read from these offsets on, convert, upload; nothing is committed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WriteOrder {
    /// The batch.
    pub batch: BatchId,
    /// Where each partition begins.
    pub from: BTreeMap<i32, i64>,
    /// Set when rows of an earlier session are written again: exactly up to these ends, and only rows of these targets.
    pub rebuild: Option<Rebuild>,
}

/// The part of a range that has to be written again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rebuild {
    /// The end of each partition's range.
    pub until: BTreeMap<i32, i64>,
    /// The table partitions whose session can never be committed; the rows of the others are in the table.
    pub targets: Vec<String>,
}

/// Offsets and metadata to write in one request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CommitOrder {
    /// Which write it is.
    pub id: CommitId,
    /// The generation it is stamped with: the one in which the ranges were read.
    pub generation: i32,
    /// Partition, offset, metadata.
    pub entries: Vec<(i32, i64, String)>,
}

/// What a write of offsets does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// It stores the intent of a batch.
    Seal,
    /// It moves the offsets past a batch.
    Advance,
    /// It writes again what stands there, or what the configuration says.
    Refresh,
}

/// One upload session.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SessionOrder {
    /// Its batch.
    pub batch: BatchId,
    /// The session.
    pub session: SealedSession,
}

/// Rows to look for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EvidenceOrder {
    /// The batch.
    pub batch: BatchId,
    /// The session that the service has forgotten; its target is where to look.
    pub session: SealedSession,
    /// Offsets of which any row proves that all of them are there.
    pub ranges: BTreeMap<i32, Range>,
}

/// What stands in the group for one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stored {
    /// The committed offset; none if there is none.
    pub offset: Option<i64>,
    /// The metadata beside it.
    pub metadata: String,
    /// Where to begin when nothing is committed, if the configuration says so.
    pub initial: Option<i64>,
}

/// A batch that is uploaded whole: every block is acknowledged, and the session's own list was compared with ours.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Written {
    /// How far each partition was dealt with. One that did not move may be left out.
    pub ends: BTreeMap<i32, i64>,
    /// The sessions, one for each target that got a row.
    pub sessions: Vec<SealedSession>,
}

/// Why a batch could not be written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum WriteFailure {
    /// Something passing: begin again after a pause.
    Passing(String),
    /// One partition cannot go on; the others can.
    Partition {
        /// The partition.
        partition: i32,
        /// Why.
        cause: HaltCause,
    },
}

/// What came of writing offsets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CommitOutcome {
    /// The coordinator has stored them.
    Acknowledged,
    /// The coordinator has answered that it did not take them and that another try may succeed.
    TryAgain,
    /// The generation is over.
    Fenced,
    /// No answer came: the write may take effect now, later or never.
    Ambiguous,
    /// The coordinator will never take them.
    Refused(String),
}

/// The state of an upload session, in terms of what may be concluded from it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SessionState {
    /// NORMAL: it can be committed.
    Open {
        /// Its age, where the service says it.
        age_ms: Option<Millis>,
        /// Whether it holds the blocks and rows of the intent.
        intact: bool,
    },
    /// CLOSING or COMMITTING.
    Committing,
    /// CLOSED.
    Committed,
    /// EXPIRED or CANCELED: it can never be committed.
    NeverCommitted,
    /// CRITICAL, or the service does not know it: nothing can be concluded.
    Forgotten,
    /// The service did not answer, or not in time.
    Unavailable,
}

/// What the table says about rows of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Evidence {
    /// There is at least one.
    Found,
    /// There is none.
    Absent,
    /// The table cannot say: the partition that would hold the rows does not exist.
    Silent,
    /// The table could not be read.
    Unavailable,
}

/// Why a partition stands still until a person has looked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HaltCause {
    /// Nothing is committed and no initial position is configured.
    NoOffset,
    /// The group's metadata is another program's, or damaged.
    Metadata(String),
    /// The intent is of another cluster or another topic of this name.
    OtherSource(String),
    /// The service has forgotten the session, and nothing says whether it was committed.
    SessionForgotten(SealedSession),
    /// The session is over and must be written again, but schema, columns or rules have changed since.
    RulesChanged,
    /// The intent of the batch is longer than metadata may be.
    IntentTooLong(usize),
    /// The broker will not store the offsets.
    CommitRefused(String),
    /// Records of the range are gone from the log, or the position is out of range.
    RangeLost(String),
    /// A record that must not be skipped: damaged, or not convertible under the policy "stop".
    Record(String),
    /// Something that the order of steps excludes: a bug of ours, found before it could harm.
    Bug(&'static str),
}

impl fmt::Display for HaltCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoOffset => {
                f.write_str("the group has no committed offset here, and no initial position is configured")
            }
            Self::Metadata(text) | Self::OtherSource(text) | Self::RangeLost(text) | Self::Record(text) => {
                f.write_str(text)
            }
            Self::SessionForgotten(session) => write!(
                f,
                "MaxCompute no longer knows upload session {} ({} rows), so nobody can say whether it was committed",
                session.upload_id, session.rows
            ),
            Self::RulesChanged => f.write_str(
                "a sealed batch must be written again, but the table's schema or the job's columns have changed since",
            ),
            Self::IntentTooLong(bytes) => {
                write!(f, "the batch's intent of {bytes} bytes does not fit into offset metadata")
            }
            Self::CommitRefused(text) => write!(f, "the broker refuses the offset commit: {text}"),
            Self::Bug(what) => write!(f, "a bug in forebay: {what}"),
        }
    }
}

/// Something worth telling; nothing depends on it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Event {
    /// A partition stands still until a person has looked.
    Halted {
        /// The partition.
        partition: i32,
        /// Why.
        cause: HaltCause,
    },
    /// An intent of an earlier generation was found and is carried on.
    Recovered {
        /// The batch.
        batch: BatchId,
        /// Its ranges.
        ranges: BTreeMap<i32, Range>,
    },
    /// The batch's intent is stored: from here on it is only rolled forward.
    Sealed {
        /// The batch.
        batch: BatchId,
    },
    /// The rows are in the table and the offsets have moved.
    Advanced {
        /// The batch.
        batch: BatchId,
        /// Rows committed; 0 where the range had none.
        rows: u64,
        /// The ranges.
        ranges: BTreeMap<i32, Range>,
    },
    /// A sealed session can never be committed; its rows are written again.
    Rebuilding {
        /// The batch.
        batch: BatchId,
        /// The sessions' targets.
        targets: Vec<String>,
    },
    /// A sealed session does not hold what was sealed, or is too old to be posted: it is waited for until the service says
    /// that it is over.
    Waiting {
        /// The batch.
        batch: BatchId,
        /// Which session, and why.
        why: String,
    },
}
