//! Why a command ends with another code than 0.

/// An error on its way to the user: the exit code, what happened, and what to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Exit code, one of those documented in `README.md`.
    pub(crate) code: u8,
    /// What, where and why; one line or several.
    pub(crate) message: String,
    /// The next step, if there is one to name.
    pub(crate) advice: Option<String>,
}

/// Exit codes beyond 0 and 1 (sysexits, and two of our own).
pub(crate) mod code {
    /// The job or the command failed for another reason.
    pub(crate) const FAILED: u8 = 1;
    /// Wrong command line.
    pub(crate) const USAGE: u8 = 2;
    /// The dirty-row limit was passed; nothing was committed.
    pub(crate) const DIRTY_LIMIT: u8 = 65;
    /// Kafka or MaxCompute unavailable after retries.
    pub(crate) const UNAVAILABLE: u8 = 69;
    /// A bug in forebay.
    pub(crate) const BUG: u8 = 70;
    /// An output file cannot be created.
    pub(crate) const CANNOT_CREATE: u8 = 73;
    /// A person must decide: offsets lost or out of range, topic re-created, offsets not committed.
    pub(crate) const SAFETY_STOP: u8 = 76;
    /// Authentication or permission.
    pub(crate) const NO_PERMISSION: u8 = 77;
    /// A configuration or job file that cannot be used.
    pub(crate) const CONFIG: u8 = 78;
    /// Stopped by SIGINT before the end.
    pub(crate) const INTERRUPTED: u8 = 130;
    /// Stopped by SIGTERM before the end.
    pub(crate) const TERMINATED: u8 = 143;
}

impl Failure {
    /// A failure without advice.
    pub(crate) fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), advice: None }
    }

    /// The same, with the next step.
    pub(crate) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}
