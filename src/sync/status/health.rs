//! Whether a job is well, in a word and in a sentence.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::{JobStatus, Life, Reading, State, UnixMillis};
use crate::sync::stall::Stage;

/// How a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthWord {
    /// It has ended in order.
    Stopped,
    /// All that there is to read is in the table.
    CaughtUp,
    /// It gets on.
    Running,
    /// A person has paused it.
    Paused,
    /// It is not at work yet.
    Starting,
    /// It brings what is under way to its end.
    Draining,
    /// Some partitions stand still until a person has looked.
    Degraded,
    /// It should get on and does not.
    Stalled,
    /// It has ended by an error.
    Failed,
}

/// How a job is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Health {
    /// In a word.
    pub word: HealthWord,
    /// In a sentence.
    pub text: String,
    /// Since when.
    pub since_ms: UnixMillis,
    /// The stage that does not get on.
    pub stage: Option<&'static str>,
}

/// Now, by both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Milliseconds since 1970.
    pub wall: UnixMillis,
    /// The clock of durations.
    pub instant: Instant,
}

impl JobStatus {
    /// How the job is; it stalls after `patience` without getting on.
    pub fn health(&self, now: Now, patience: Duration) -> Health {
        self.health_of(&self.state(), now, patience)
    }

    /// Why the job is not at work yet, or no more; none once it is.
    pub fn unready(&self) -> Option<String> {
        let state = self.state();
        match &state.life {
            Life::Connecting(None) => Some("connects to Kafka and MaxCompute".to_owned()),
            Life::Connecting(Some(why)) => Some(format!("waits for Kafka and MaxCompute: {why}")),
            Life::Joining => Some(format!("joins group {}", self.facts.group)),
            Life::Running if !state.ready => Some(format!("asks for the offsets of group {}", self.facts.group)),
            Life::Running => None,
            Life::Draining => Some("drains".to_owned()),
            // As somebody wants it.
            Life::Ended(None) if state.is_paused => None,
            Life::Ended(None) => Some("has ended".to_owned()),
            Life::Ended(Some(error)) => Some(format!("has failed: {error}")),
        }
    }

    pub(super) fn health_of(&self, state: &State, now: Now, patience: Duration) -> Health {
        let told = |word, text: String| Health { word, text, since_ms: state.since, stage: None };
        let is_late = |since: UnixMillis| super::millis(now.wall.saturating_sub(since)) >= patience;
        match &state.life {
            Life::Ended(None) if state.is_paused => told(HealthWord::Paused, "a person has paused it".to_owned()),
            Life::Ended(None) => told(HealthWord::Stopped, "has ended".to_owned()),
            Life::Ended(Some(error)) => told(HealthWord::Failed, error.clone()),
            Life::Draining => told(HealthWord::Draining, "brings what is under way to its end".to_owned()),
            Life::Connecting(why) => {
                let word = if is_late(state.since) { HealthWord::Stalled } else { HealthWord::Starting };
                let why = why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
                Health { stage: Some("connect"), ..told(word, format!("waits for Kafka and MaxCompute{why}")) }
            }
            Life::Joining => {
                let word = if is_late(state.since) { HealthWord::Stalled } else { HealthWord::Starting };
                Health { stage: Some("group"), ..told(word, format!("joins group {}", self.facts.group)) }
            }
            Life::Running => self.health_at_work(state, now, patience),
        }
    }

    fn health_at_work(&self, state: &State, now: Now, patience: Duration) -> Health {
        let is_late = |since: UnixMillis| super::millis(now.wall.saturating_sub(since)) >= patience;
        let halted: Vec<_> =
            state.partitions.iter().filter_map(|(n, known)| known.halted.as_ref().map(|cause| (n, cause))).collect();
        if let Some((partition, cause)) = halted.first() {
            let (count, of) = (halted.len(), state.owned.len());
            let text = format!(
                "{count} of {of} partitions stand still until a person has looked; partition {partition}: {cause}"
            );
            return Health { word: HealthWord::Degraded, text, since_ms: state.since, stage: None };
        }
        if let Some((since, stage)) = state.failing.filter(|(since, _)| is_late(*since)) {
            let why = state.last_error.as_ref().map(|(_, text)| format!(": {text}")).unwrap_or_default();
            let text = format!("nothing was committed since then, {stage} fails again and again{why}");
            return Health { word: HealthWord::Stalled, text, since_ms: since, stage: Some(stage) };
        }
        let is_committing = state.committing_since.is_some();
        // A stream without an end waits for records then.
        let has_all = state.is_run && state.lag() == Some(0);
        let is_busy = match state.reading {
            Reading::CaughtUp => is_committing,
            Reading::Gathering { until } => is_committing || is_late(until),
            Reading::Nothing => is_committing || !state.owned.is_empty(),
            Reading::Writing => !has_all,
        };
        if is_busy && is_late(state.progress_at) {
            let (stage, on) = who_waits(state, is_committing);
            let on = if on.is_empty() { String::new() } else { format!(": {on}") };
            let text = match stage {
                Some(stage) => format!("waits in {stage}{on}"),
                None => "no batch is begun".to_owned(),
            };
            let stage = stage.map(Stage::label);
            return Health { word: HealthWord::Stalled, text, since_ms: state.progress_at, stage };
        }
        let told = |word, text: String| Health { word, text, since_ms: state.since, stage: None };
        if state.owned.is_empty() {
            return told(HealthWord::Running, "has no partitions: other members of the group have them".to_owned());
        }
        let lag = state.lag().unwrap_or(0);
        match state.reading {
            Reading::CaughtUp if !is_committing && lag == 0 => {
                told(HealthWord::CaughtUp, "all records are in the table".to_owned())
            }
            Reading::Gathering { .. } if !is_committing => {
                told(HealthWord::Running, "gathers records for the next commit".to_owned())
            }
            _ if has_all => told(HealthWord::CaughtUp, "all records are in the table".to_owned()),
            _ if is_committing => told(HealthWord::Running, "commits a batch".to_owned()),
            Reading::Writing => told(HealthWord::Running, "reads records and sends rows".to_owned()),
            _ => told(HealthWord::Running, "looks for records".to_owned()),
        }
    }
}

fn who_waits(state: &State, is_committing: bool) -> (Option<Stage>, String) {
    let waiting = state.batch.as_ref().and_then(|batch| batch.stages.longest());
    match waiting {
        Some(waiting) => (Some(waiting.stage), waiting.on),
        None if is_committing => {
            let in_batches = (state.batches.iter())
                .flat_map(|batch| &batch.sessions)
                .filter(|session| session.fate != "committed")
                .map(|session| format!("upload session {}, which is {}", session.upload_id, session.fate));
            // A run has no batches, and one commit.
            let of_run = state.sessions_opened.keys().filter(|_| state.batches.is_empty());
            let sessions: Vec<String> = in_batches.chain(of_run.map(|id| format!("upload session {id}"))).collect();
            let on = if sessions.is_empty() { "the group's coordinator".to_owned() } else { sessions.join(", ") };
            (Some(Stage::Commit), on)
        }
        None => (None, String::new()),
    }
}
