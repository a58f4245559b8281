//! Who waits for whom: what each lane is doing, since when, and on what, so that a job that stands still says why.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A part of the way from a topic into a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Kafka gives no records.
    Source,
    /// The job's own speed limit holds it back.
    SpeedLimit,
    /// Records are made into rows.
    Convert,
    /// Rows go to Tunnel.
    Upload,
    /// The session is committed.
    Commit,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source => "source",
            Self::SpeedLimit => "speed limit",
            Self::Convert => "convert",
            Self::Upload => "upload",
            Self::Commit => "commit",
        })
    }
}

#[derive(Clone, Debug)]
struct Waiting {
    stage: Stage,
    since: Instant,
    on: String,
}

/// What every lane of a job is doing.
#[derive(Debug, Default)]
pub struct StageBoard(Mutex<Vec<Option<Waiting>>>);

impl StageBoard {
    /// A board for `lanes` lanes.
    pub fn new(lanes: usize) -> Self {
        Self(Mutex::new(vec![None; lanes]))
    }

    /// Lane `lane` is now in `stage`. The same stage again keeps its beginning, and takes the newer word on whom.
    pub fn enter(&self, lane: usize, stage: Stage, now: Instant, on: impl Into<String>) {
        let mut lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(slot) = lanes.get_mut(lane) else { return };
        let since = slot.as_ref().filter(|waiting| waiting.stage == stage).map_or(now, |waiting| waiting.since);
        *slot = Some(Waiting { stage, since, on: on.into() });
    }

    /// Lane `lane` got on: whatever it does next begins now.
    pub fn moved(&self, lane: usize) {
        self.leave(lane);
    }

    /// Lane `lane` is done.
    pub fn leave(&self, lane: usize) {
        if let Some(slot) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get_mut(lane) {
            *slot = None;
        }
    }

    /// A line for each lane that has been in one stage for `least` or longer.
    pub fn stalled(&self, now: Instant, least: Duration) -> Vec<String> {
        let lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let line = |(lane, waiting): (usize, &Option<Waiting>)| {
            let Waiting { stage, since, on } = waiting.as_ref()?;
            let waited = now.saturating_duration_since(*since);
            let on = if on.is_empty() { String::new() } else { format!(": {on}") };
            (waited >= least).then(|| format!("lane {lane} has waited in {stage} for {} s{on}", waited.as_secs()))
        };
        lanes.iter().enumerate().filter_map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_told_with_stage_time_and_reason() {
        let start = Instant::now();
        let board = StageBoard::new(2);
        let second = Duration::from_secs(1);
        board.enter(0, Stage::Source, start, "partition 3");
        board.enter(1, Stage::Upload, start + 8 * second, "block 2");
        board.enter(0, Stage::Source, start + 9 * second, "partition 3 has no leader");
        board.enter(9, Stage::Commit, start, "no such lane");
        assert_eq!(
            board.stalled(start + 12 * second, 10 * second),
            ["lane 0 has waited in source for 12 s: partition 3 has no leader"]
        );
        board.moved(0);
        board.enter(0, Stage::Source, start + 20 * second, "");
        assert_eq!(
            board.stalled(start + 31 * second, 11 * second),
            ["lane 0 has waited in source for 11 s", "lane 1 has waited in upload for 23 s: block 2"]
        );
        board.leave(1);
        assert_eq!(board.stalled(start + 31 * second, 12 * second), Vec::<String>::new());
    }
}
