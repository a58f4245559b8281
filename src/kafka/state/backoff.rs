//! How long to wait before asking again.

use std::time::Duration;

/// Exponential back-off with jitter: each pause is drawn from the upper half of a span that doubles up to a maximum.
///
/// Inputs: `succeeded`. Outputs: `next_pause`. Pure: the jitter comes from the seed, so a run can be replayed.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    failures: u32,
    random: u64,
}

impl Backoff {
    /// Pauses start at about `first` and grow to at most `max`.
    pub const fn new(first: Duration, max: Duration, seed: u64) -> Self {
        Self { first, max, failures: 0, random: seed }
    }

    /// As after `failures` pauses.
    pub const fn after(failures: u32, first: Duration, max: Duration, seed: u64) -> Self {
        Self { first, max, failures: if failures > 31 { 31 } else { failures }, random: seed }
    }

    /// The pause after one more failure.
    pub fn next_pause(&mut self) -> Duration {
        let span = self.first.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX)).min(self.max);
        // Beyond 31 doublings the maximum has long been reached.
        self.failures = self.failures.saturating_add(1).min(31);
        let half = span / 2;
        half.saturating_add(half.mul_f64(self.draw()))
    }

    /// Starts over after a success.
    pub const fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// Failures since the last success, up to 31.
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// A number from 0 to below 1 (SplitMix64, Steele, Lea and Flood 2014).
    fn draw(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        // The upper 53 bits fill a double's mantissa.
        (z >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_maximum_and_start_over() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1), 7);
        for expected in [100, 200, 400, 800, 1000, 1000] {
            let pause = backoff.next_pause();
            let span = Duration::from_millis(expected);
            assert!(pause >= span / 2 && pause <= span, "{pause:?} is not in the upper half of {span:?}");
        }
        for _ in 0..100 {
            assert!(backoff.next_pause() <= Duration::from_secs(1));
        }
        backoff.succeeded();
        assert!(backoff.next_pause() <= Duration::from_millis(100));
    }

    #[test]
    fn the_same_seed_gives_the_same_pauses() {
        let run = |seed| {
            let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1), seed);
            [backoff.next_pause(), backoff.next_pause(), backoff.next_pause()]
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }
}
