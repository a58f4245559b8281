//! The only place of the broker that asks for the time; everything else is told it.

use std::time::{Instant, SystemTime};

/// The time that deadlines are measured with.
pub(super) fn now() -> Instant {
    Instant::now()
}

/// Milliseconds since 1970, for LogAppendTime.
pub(super) fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
