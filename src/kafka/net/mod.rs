//! The thin shell under the client: sockets, TLS, tasks and clocks. The only folder of `kafka` that may name `tokio::net`.

pub(crate) mod dial;
pub(crate) mod link_task;
pub(crate) mod login;
pub(crate) mod pool;
pub(crate) mod tls;

use std::time::Instant;

/// The time, from the runtime's clock, which tests can stop.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Waits until `at`; for ever when there is no such time.
pub(crate) async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
