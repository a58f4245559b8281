//! Limits on records and bytes per second for a whole job.

use std::time::{Duration, Instant};

/// A limit that is charged after the fact: what was taken is owed, and the debt says how long to wait.
///
/// Inputs: `handle_taken` with the amounts and the time. Output: how long to pause before taking more. Pure.
#[derive(Clone, Debug)]
pub struct RateLimit {
    bytes: Bucket,
    records: Bucket,
}

#[derive(Clone, Debug)]
struct Bucket {
    per_second: Option<u64>,
    /// The moment at which everything taken so far has been paid for.
    paid_until: Option<Instant>,
}

impl RateLimit {
    /// No limit where `None` or zero stands.
    pub fn new(bytes_per_second: Option<u64>, records_per_second: Option<u64>) -> Self {
        let bucket = |limit: Option<u64>| Bucket { per_second: limit.filter(|n| *n > 0), paid_until: None };
        Self { bytes: bucket(bytes_per_second), records: bucket(records_per_second) }
    }

    /// Charges `bytes` and `records` taken at `now` and gives the pause that is due; zero without a limit.
    pub fn handle_taken(&mut self, bytes: u64, records: u64, now: Instant) -> Duration {
        self.bytes.charge(bytes, now).max(self.records.charge(records, now))
    }
}

impl Bucket {
    fn charge(&mut self, amount: u64, now: Instant) -> Duration {
        let Some(per_second) = self.per_second else { return Duration::ZERO };
        let nanos = u128::from(amount) * 1_000_000_000 / u128::from(per_second);
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let from = self.paid_until.map_or(now, |paid| paid.max(now));
        let until = from.checked_add(cost).unwrap_or(from);
        self.paid_until = Some(until);
        until.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_debt_is_waited_for() {
        let now = Instant::now();
        let mut limit = RateLimit::new(Some(1000), Some(10));
        assert_eq!(limit.handle_taken(500, 1, now), Duration::from_millis(500));
        assert_eq!(limit.handle_taken(500, 1, now), Duration::from_secs(1));
        assert_eq!(limit.handle_taken(0, 20, now), Duration::from_millis(2200));
        assert_eq!(limit.handle_taken(0, 0, now + Duration::from_secs(9)), Duration::ZERO);
        assert_eq!(RateLimit::new(None, Some(0)).handle_taken(u64::MAX, 9, now), Duration::ZERO);
    }
}
