//! The thin shell under the client: sockets, TLS, tasks and clocks. The only folder of `kafka` that may name `tokio::net`.

pub(crate) mod dial;
pub(crate) mod link_task;
pub(crate) mod login;
#[cfg(feature = "oidc")]
pub(crate) mod oidc;
pub(crate) mod pool;
pub(crate) mod tls;

use std::time::{Instant, SystemTime};

/// The time, from the runtime's clock, which tests can stop.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The wall clock, in ms since 1970.
pub(crate) fn wall_clock_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Waits until `at`; for ever when there is no such time.
pub(crate) async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
