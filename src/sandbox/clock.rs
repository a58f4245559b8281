//! A clock that tests can move forward.
//!
//! Sessions expire after 24 hours and signatures after 15 minutes; nobody waits that long. The clock is the machine's own
//! plus an offset that only grows. Cloning shares the offset.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// The sandbox's time: the machine's clock plus what it was moved by.
#[derive(Clone, Debug, Default)]
pub struct SandboxClock {
    offset_ms: Arc<AtomicI64>,
}

impl SandboxClock {
    /// A clock that shows the machine's time.
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves the clock forward. Saturates in the far future.
    pub fn advance(&self, by: Duration) {
        let by_ms = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        // The closure always returns a value, so the update cannot fail.
        let _ = self.offset_ms.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |now| Some(now.saturating_add(by_ms)));
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub fn now_ms(&self) -> i64 {
        jiff::Timestamp::now().as_millisecond().saturating_add(self.offset_ms.load(Ordering::SeqCst))
    }

    /// The same moment as a timestamp; the last one that can be shown when the clock was moved beyond it.
    pub fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(self.now_ms()).unwrap_or(jiff::Timestamp::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_forward_for_every_clone() {
        let clock = SandboxClock::new();
        let other = clock.clone();
        let before = other.now_ms();
        clock.advance(Duration::from_secs(86_400));
        assert!(other.now_ms() >= before + 86_400_000);
    }
}
