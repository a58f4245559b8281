//! A look at both ends before a run: what is there, what would stop a run, what may surprise. Writes nothing anywhere.
//!
//! Unlike a run it does not end at the first thing that is wrong: each question whose answer does not depend on a failed one is
//! still asked.

mod kafka;
mod table;

use super::error::{RunError, RunErrorKind};
use crate::job::JobSpec;

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Good,
    /// A run goes on, but perhaps not as was meant.
    Warning,
    /// A run would fail.
    Error,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How much it weighs.
    pub level: Level,
    /// Which end it is about: `kafka` or `maxcompute`.
    pub end: &'static str,
    /// What was found, with its place.
    pub text: String,
    /// The next step, where there is one to name.
    pub advice: Option<String>,
    /// What kind of failure a run would end with.
    pub kind: Option<RunErrorKind>,
}

/// What of a look is not free of traces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LookOptions {
    /// Open an upload session, as a run does, and leave it without rows: the one proof of the right to write.
    pub open_session: bool,
}

/// Looks at both ends at the same time; what was found of Kafka comes first.
pub async fn look(spec: &JobSpec, options: LookOptions) -> Vec<Finding> {
    let (mut found, table) = tokio::join!(kafka::look(spec), table::look(spec, options));
    found.extend(table);
    found
}

/// The findings about one end.
#[derive(Debug)]
struct Findings {
    end: &'static str,
    found: Vec<Finding>,
}

impl Findings {
    const fn of(end: &'static str) -> Self {
        Self { end, found: Vec::new() }
    }

    fn push(&mut self, level: Level, text: String, advice: Option<String>, kind: Option<RunErrorKind>) {
        self.found.push(Finding { level, end: self.end, text, advice, kind });
    }

    fn good(&mut self, text: impl Into<String>) {
        self.push(Level::Good, text.into(), None, None);
    }

    fn warn(&mut self, text: impl Into<String>, advice: &str) {
        self.push(Level::Warning, text.into(), Some(advice.to_owned()), None);
    }

    fn error(&mut self, error: RunError) {
        self.push(Level::Error, error.message, error.advice, Some(error.kind));
    }
}
