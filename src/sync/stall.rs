//! Who waits for whom: what each lane is doing, since when, and on what, so that a job that stands still says why; and how
//! much time each stage has taken.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
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

impl Stage {
    /// All of them, in the order in which a record passes.
    pub const ALL: [Self; 5] = [Self::Source, Self::SpeedLimit, Self::Convert, Self::Upload, Self::Commit];

    /// Its name where names are looked up: in metrics and JSON.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::SpeedLimit => "speed_limit",
            Self::Convert => "convert",
            Self::Upload => "upload",
            Self::Commit => "commit",
        }
    }

    /// Whether time in it is work of this process; in the others it waits for somebody.
    pub const fn is_work(self) -> bool {
        matches!(self, Self::Convert)
    }
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

/// Time spent in each stage, summed over lanes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StageTimes([Duration; 5]);

impl StageTimes {
    /// Time in one stage.
    pub const fn of(&self, stage: Stage) -> Duration {
        self.0[stage as usize]
    }

    /// Adds time to one stage.
    pub fn add(&mut self, stage: Stage, time: Duration) {
        let sum = &mut self.0[stage as usize];
        *sum = sum.saturating_add(time);
    }

    /// Adds all of another account.
    pub fn merge(&mut self, other: &Self) {
        for stage in Stage::ALL {
            self.add(stage, other.of(stage));
        }
    }
}

/// What a lane is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The stage.
    pub stage: Stage,
    /// Since when, without having got on.
    pub since: Instant,
    /// On whom; may be empty.
    pub on: String,
    /// Up to when its time is in the account.
    counted: Instant,
}

#[derive(Debug, Default)]
struct Board {
    lanes: Vec<Option<Waiting>>,
    /// Bytes of answers and of rows that each lane holds.
    held: Vec<(usize, usize)>,
    times: StageTimes,
}

impl Board {
    /// Puts the time up to `now` into the account.
    fn count(&mut self, lane: usize, now: Instant) {
        if let Some(Some(waiting)) = self.lanes.get_mut(lane) {
            self.times.add(waiting.stage, now.saturating_duration_since(waiting.counted));
            waiting.counted = now;
        }
    }
}

/// What every lane of a job is doing.
#[derive(Debug, Default)]
pub struct StageBoard(Mutex<Board>);

impl StageBoard {
    /// A board for `lanes` lanes.
    pub fn new(lanes: usize) -> Self {
        let board = Board { lanes: vec![None; lanes], held: vec![(0, 0); lanes], times: StageTimes::default() };
        Self(Mutex::new(board))
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lane `lane` is now in `stage`. The same stage again keeps its beginning, and takes the newer word on whom.
    pub fn enter(&self, lane: usize, stage: Stage, now: Instant, on: impl Into<String>) {
        let mut board = self.board();
        board.count(lane, now);
        let Some(slot) = board.lanes.get_mut(lane) else { return };
        let since = slot.as_ref().filter(|waiting| waiting.stage == stage).map_or(now, |waiting| waiting.since);
        *slot = Some(Waiting { stage, since, on: on.into(), counted: now });
    }

    /// Lane `lane` got on: whatever it does next begins now.
    pub fn moved(&self, lane: usize, now: Instant) {
        self.leave(lane, now);
    }

    /// Lane `lane` is done.
    pub fn leave(&self, lane: usize, now: Instant) {
        let mut board = self.board();
        board.count(lane, now);
        if let Some(slot) = board.lanes.get_mut(lane) {
            *slot = None;
        }
    }

    /// What lane `lane` holds at this moment: bytes of answers, and of rows on their way.
    pub fn hold(&self, lane: usize, fetched: usize, rows: usize) {
        if let Some(slot) = self.board().held.get_mut(lane) {
            *slot = (fetched, rows);
        }
    }

    /// What all lanes hold: bytes of answers, and of rows on their way.
    pub fn held(&self) -> (usize, usize) {
        let add = |(fetched, rows): (usize, usize), lane: &(usize, usize)| {
            (fetched.saturating_add(lane.0), rows.saturating_add(lane.1))
        };
        self.board().held.iter().fold((0, 0), add)
    }

    /// The time that each stage has taken up to `now`.
    pub fn times(&self, now: Instant) -> StageTimes {
        let mut board = self.board();
        for lane in 0..board.lanes.len() {
            board.count(lane, now);
        }
        board.times
    }

    /// The lane that has been in one stage for longest.
    pub fn longest(&self) -> Option<Waiting> {
        self.board().lanes.iter().flatten().min_by_key(|waiting| waiting.since).cloned()
    }

    /// A line for each lane that has been in one stage for `least` or longer.
    pub fn stalled(&self, now: Instant, least: Duration) -> Vec<String> {
        let board = self.board();
        let line = |(lane, waiting): (usize, &Option<Waiting>)| {
            let Waiting { stage, since, on, .. } = waiting.as_ref()?;
            let waited = now.saturating_duration_since(*since);
            let on = if on.is_empty() { String::new() } else { format!(": {on}") };
            (waited >= least).then(|| format!("lane {lane} has waited in {stage} for {} s{on}", waited.as_secs()))
        };
        board.lanes.iter().enumerate().filter_map(line).collect()
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
        board.moved(0, start + 12 * second);
        board.enter(0, Stage::Source, start + 20 * second, "");
        assert_eq!(
            board.stalled(start + 31 * second, 11 * second),
            ["lane 0 has waited in source for 11 s", "lane 1 has waited in upload for 23 s: block 2"]
        );
        board.leave(1, start + 31 * second);
        assert_eq!(board.stalled(start + 31 * second, 12 * second), Vec::<String>::new());
    }
    #[test]
    fn time_is_counted_once_and_up_to_now() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let board = StageBoard::new(2);
        board.enter(0, Stage::Source, start, "");
        board.enter(0, Stage::Source, start + 2 * second, "partition 1");
        board.enter(1, Stage::Upload, start + second, "block 0");
        assert_eq!(board.times(start + 3 * second).of(Stage::Source), 3 * second);
        board.enter(0, Stage::Convert, start + 4 * second, "");
        board.leave(0, start + 5 * second);
        let times = board.times(start + 9 * second);
        let told: Vec<u64> = Stage::ALL.iter().map(|stage| times.of(*stage).as_secs()).collect();
        assert_eq!(told, [4, 0, 1, 8, 0]);
        let longest = board.longest().map(|waiting| (waiting.stage, waiting.on));
        assert_eq!(longest, Some((Stage::Upload, "block 0".to_owned())));
    }

    #[test]
    fn what_lanes_hold_is_summed() {
        let board = StageBoard::new(2);
        board.hold(0, 10, 1);
        board.hold(1, 20, 2);
        board.hold(1, 5, 0);
        board.hold(7, 1000, 1000);
        assert_eq!(board.held(), (15, 1));
    }
}
