//! How a run failed, and in what state it left both ends.

use std::fmt;

/// Why a signal ended a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopCause {
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

/// The kinds of failure a caller treats differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunErrorKind {
    /// The job does not fit the topic or the table.
    Config,
    /// Kafka or MaxCompute could not be reached or did not answer in time.
    Unavailable,
    /// Too many dirty records.
    DirtyLimit,
    /// Offsets are lost, or were not committed: a person must decide.
    SafetyStop,
    /// Credentials or permissions.
    Auth,
    /// A signal.
    Stopped(StopCause),
    /// The command-line deadline passed.
    Deadline,
    /// An account that does not add up: a mistake of ours, stopped before it could do harm.
    Bug,
    /// Anything else.
    Failed,
}

/// What the target table holds after the failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetState {
    /// What it held before.
    Unchanged,
    /// This run's rows.
    Committed,
    /// Rows are routed to partitions, each is committed by itself, and one could not be.
    Partly {
        /// The partitions that hold this run's rows.
        committed: Vec<String>,
        /// How many partitions the run has.
        of: usize,
        /// The partition of which it is not known.
        unknown: Option<String>,
    },
    /// This run's rows as far as they were sent: mode stream has no commit.
    Streamed,
    /// Not known: the session's status could not be read after the commit was sent.
    Unknown {
        /// The upload session.
        session: String,
    },
}

impl fmt::Display for TargetState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unchanged => f.write_str("unchanged"),
            Self::Committed => f.write_str("committed"),
            Self::Partly { committed, of, unknown } => {
                write!(f, "{} of {of} partitions committed: {}", committed.len(), committed.join(" "))?;
                match unknown {
                    Some(partition) => write!(f, "; not known: {partition}"),
                    None => Ok(()),
                }
            }
            Self::Streamed => f.write_str("holds the rows that were sent"),
            Self::Unknown { session } => write!(f, "unknown, session {session}"),
        }
    }
}

/// A run that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunError {
    /// What kind of failure.
    pub kind: RunErrorKind,
    /// What happened, where and why.
    pub message: String,
    /// The next step, where there is one to name.
    pub advice: Option<String>,
    /// The table afterwards. The group's offsets are unchanged unless the table is [`TargetState::Committed`].
    pub target: TargetState,
    /// The Kafka partition that cannot go on, where it is one alone.
    pub partition: Option<i32>,
}

impl RunError {
    /// A failure before the commit: table and group are as they were.
    pub fn new(kind: RunErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), advice: None, target: TargetState::Unchanged, partition: None }
    }

    /// The same, with the next step.
    #[must_use]
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// The same, of one Kafka partition.
    #[must_use]
    pub fn of_partition(mut self, partition: Option<i32>) -> Self {
        self.partition = partition;
        self
    }

    /// The same, with the state of the table.
    #[must_use]
    pub fn with_target(mut self, target: TargetState) -> Self {
        self.target = target;
        self
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for RunError {}
