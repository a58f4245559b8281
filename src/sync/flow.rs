//! How many blocks may be on their way at once: fewer when the service runs out of slots, more again when it does not.

use std::time::{Duration, Instant};

/// Cuts nearer together than this count as one: blocks on their way at the same moment are refused for the same reason.
const CUT_PAUSE: Duration = Duration::from_secs(1);

/// The number of open block requests of a job, over all its lanes.
///
/// Inputs: `try_take` and `handle_released` around every request; `handle_throttled` with an answer that asks for fewer (429,
/// 503, 308); `handle_success` with every block that arrived. Output: whether another may start, and the new limit whenever
/// it changed. Halves on a refusal and rises by one after as many successes as the limit has; never below one, never above
/// what the job asks for. A falling limit does not end what is on its way. Pure.
#[derive(Clone, Debug)]
pub struct Flow {
    most: u32,
    limit: u32,
    held: u32,
    successes: u32,
    cut_at: Option<Instant>,
}

impl Flow {
    /// Starts at `most`, at least one.
    pub fn new(most: u32) -> Self {
        let most = most.max(1);
        Self { most, limit: most, held: 0, successes: 0, cut_at: None }
    }

    /// Takes a slot if one is free.
    pub const fn try_take(&mut self) -> bool {
        let free = self.held < self.limit;
        if free {
            self.held += 1;
        }
        free
    }

    /// A slot is free again.
    pub const fn handle_released(&mut self) {
        self.held = self.held.saturating_sub(1);
    }

    /// The service asked for fewer requests. Gives the new limit if it fell.
    pub fn handle_throttled(&mut self, now: Instant) -> Option<u32> {
        self.successes = 0;
        let again = self.cut_at.is_some_and(|at| now.saturating_duration_since(at) < CUT_PAUSE);
        if again || self.limit == 1 {
            return None;
        }
        self.cut_at = Some(now);
        self.limit = (self.limit / 2).max(1);
        Some(self.limit)
    }

    /// A block arrived. Gives the new limit if it rose.
    pub const fn handle_success(&mut self) -> Option<u32> {
        self.successes = self.successes.saturating_add(1);
        if self.limit >= self.most || self.successes < self.limit {
            return None;
        }
        self.successes = 0;
        self.limit += 1;
        Some(self.limit)
    }

    /// The limit in force.
    pub const fn limit(&self) -> u32 {
        self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn falls_by_halves_and_rises_by_ones() {
        let now = Instant::now();
        let mut flow = Flow::new(8);
        assert_eq!(flow.handle_throttled(now), Some(4));
        assert_eq!(flow.handle_throttled(now), None, "the same moment counts once");
        assert_eq!(flow.handle_throttled(now + CUT_PAUSE), Some(2));
        assert_eq!(flow.handle_throttled(now + 2 * CUT_PAUSE), Some(1));
        assert_eq!(flow.handle_throttled(now + 3 * CUT_PAUSE), None, "never below one");
        let rises: Vec<Option<u32>> = (0..6).map(|_| flow.handle_success()).collect();
        assert_eq!(rises, [Some(2), None, Some(3), None, None, Some(4)]);
        assert_eq!(flow.handle_success(), None);
        flow.handle_throttled(now + 9 * CUT_PAUSE);
        assert_eq!((flow.limit(), flow.handle_success()), (2, None), "a refusal starts the count anew");
        for _ in 0..100 {
            flow.handle_success();
        }
        assert_eq!(flow.limit(), 8, "never above what was asked for");
    }

    #[test]
    fn slots_are_counted() {
        let mut flow = Flow::new(2);
        assert!(flow.try_take() && flow.try_take() && !flow.try_take());
        flow.handle_throttled(Instant::now());
        flow.handle_released();
        assert!(!flow.try_take(), "one is still on its way, and the limit is one");
        flow.handle_released();
        assert!(flow.try_take());
        assert!(Flow::new(0).try_take());
    }
}
