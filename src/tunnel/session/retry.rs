//! When to repeat a call, and when to give up.

use std::time::Duration;

/// Bounds on repeating one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Pause before the first repetition; it doubles from there.
    pub pause_first: Duration,
    /// Longest pause.
    pub pause_max: Duration,
    /// Repetitions after errors of the server or the network. Throttling does not count.
    pub retries_max: u32,
    /// Time a call may take with all its repetitions, throttling included.
    pub deadline: Duration,
}

impl Default for RetryPolicy {
    /// 1 s doubling to 64 s and 7 repetitions, as `TunnelRetryHandler` of the Java SDK; a deadline of 24 h, the life of a
    /// session.
    fn default() -> Self {
        Self {
            pause_first: Duration::from_secs(1),
            pause_max: Duration::from_secs(64),
            retries_max: 7,
            deadline: Duration::from_secs(24 * 60 * 60),
        }
    }
}

/// How a failed attempt is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultClass {
    /// The service wants fewer requests: repeat until the deadline.
    Throttled,
    /// A 5xx, or no answer at all: repeat a bounded number of times.
    Server,
    /// Repeating would not help.
    Final,
}

/// One failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// How it is to be taken.
    pub class: FaultClass,
    /// The pause the service asked for, if it did.
    pub retry_after: Option<Duration>,
}

/// What to do after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Repeat at this time.
    At(Duration),
    /// Give up; the failure stands.
    GiveUp,
}

/// Decides about the repetitions of one call.
///
/// Input: [`Retry::after`] with every failed attempt. Output: what to do next. Times are durations since any fixed moment, the
/// same for all calls of one `Retry`. A throttled attempt never uses up a repetition, and the pause after it grows on its
/// own count. Pauses are shortened by up to a quarter, by a sequence that `seed` fixes, so that many clients do not come
/// back at the same moment; a pause the service asked for is never shortened.
///
/// Invariant: the time given back is before the deadline, and not before `now`.
#[derive(Clone, Debug)]
pub struct Retry {
    policy: RetryPolicy,
    deadline: Duration,
    attempts: u32,
    failures: u32,
    throttles: u32,
    random: u64,
}

impl Retry {
    /// A call that starts at `now`.
    pub fn new(policy: RetryPolicy, now: Duration, seed: u64) -> Self {
        Self {
            deadline: now.saturating_add(policy.deadline),
            policy,
            attempts: 0,
            failures: 0,
            throttles: 0,
            random: seed,
        }
    }

    /// Attempts that failed so far.
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// When the call's time is up.
    pub const fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Takes a failed attempt and decides.
    pub fn after(&mut self, now: Duration, fault: Fault) -> Next {
        self.attempts = self.attempts.saturating_add(1);
        let round = match fault.class {
            FaultClass::Final => return Next::GiveUp,
            FaultClass::Throttled => {
                self.throttles = self.throttles.saturating_add(1);
                self.throttles
            }
            FaultClass::Server => {
                if self.failures >= self.policy.retries_max {
                    return Next::GiveUp;
                }
                self.failures = self.failures.saturating_add(1);
                self.failures
            }
        };
        let pause = fault.retry_after.unwrap_or_else(|| self.pause(round));
        let at = now.saturating_add(pause);
        if at >= self.deadline { Next::GiveUp } else { Next::At(at) }
    }

    /// The pause before repetition `round`, counted from 1.
    fn pause(&mut self, round: u32) -> Duration {
        let doublings = round.saturating_sub(1).min(31);
        let whole = self.policy.pause_first.saturating_mul(1 << doublings).min(self.policy.pause_max);
        // splitmix64: enough to spread clients, and the same sequence for the same seed.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let shortened = (mixed % 251) as u32;
        whole.saturating_sub(whole.saturating_mul(shortened) / 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn fault(class: FaultClass) -> Fault {
        Fault { class, retry_after: None }
    }

    /// The pause that was decided, and the clock moved past it.
    fn step(retry: &mut Retry, now: &mut Duration, class: FaultClass) -> Option<Duration> {
        match retry.after(*now, fault(class)) {
            Next::At(at) => {
                let pause = at - *now;
                *now = at;
                Some(pause)
            }
            Next::GiveUp => None,
        }
    }

    #[test]
    fn server_errors_are_bounded_and_double() {
        let mut now = 5 * SECOND;
        let mut retry = Retry::new(RetryPolicy::default(), now, 1);
        for wanted in [1, 2, 4, 8, 16, 32, 64_u32] {
            let pause = step(&mut retry, &mut now, FaultClass::Server).unwrap_or_default();
            assert!(pause <= wanted * SECOND && pause >= wanted * SECOND * 3 / 4, "{pause:?} {wanted}");
        }
        assert_eq!(step(&mut retry, &mut now, FaultClass::Server), None);
        assert_eq!(retry.attempts(), 8);
    }

    #[test]
    fn throttling_ends_at_the_deadline_only_and_costs_no_repetition() {
        let policy = RetryPolicy { deadline: 3600 * SECOND, ..RetryPolicy::default() };
        let mut now = Duration::ZERO;
        let mut retry = Retry::new(policy, now, 2);
        let mut rounds = 0;
        while step(&mut retry, &mut now, FaultClass::Throttled).is_some() {
            rounds += 1;
        }
        assert!(rounds > 50 && now < 3600 * SECOND && now > 3500 * SECOND, "{rounds} {now:?}");
        let mut now = Duration::ZERO;
        let mut retry = Retry::new(policy, now, 3);
        for _ in 0..20 {
            assert!(step(&mut retry, &mut now, FaultClass::Throttled).is_some());
        }
        // The first failure of the server still waits for about a second.
        assert!(step(&mut retry, &mut now, FaultClass::Server).is_some_and(|pause| pause <= SECOND));
    }

    #[test]
    fn the_services_own_pause_is_kept() {
        let mut retry = Retry::new(RetryPolicy::default(), Duration::ZERO, 4);
        let fault = Fault { class: FaultClass::Throttled, retry_after: Some(300 * SECOND) };
        assert_eq!(retry.after(SECOND, fault), Next::At(301 * SECOND));
        // Longer than there is time for: no reason to wait at all.
        let fault = Fault { class: FaultClass::Throttled, retry_after: Some(Duration::MAX) };
        assert_eq!(retry.after(SECOND, fault), Next::GiveUp);
    }

    #[test]
    fn final_faults_are_final() {
        let mut retry = Retry::new(RetryPolicy::default(), Duration::ZERO, 5);
        assert_eq!(retry.after(SECOND, fault(FaultClass::Final)), Next::GiveUp);
    }

    #[test]
    fn a_seed_replays() {
        let run = |seed| {
            let mut retry = Retry::new(RetryPolicy::default(), Duration::ZERO, seed);
            (0..7).map(|_| retry.after(Duration::ZERO, fault(FaultClass::Server))).collect::<Vec<_>>()
        };
        assert_eq!(run(9), run(9));
        assert_ne!(run(9), run(10));
    }
}
