//! What systemd hears of an agent (`sd_notify(3)`): `Type=notify`, `WatchdogSec=`. Without `NOTIFY_SOCKET` nothing is said.

use std::time::Duration;

use sd_notify::NotifyState;

/// A change in the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Every job has been started.
    Ready,
    /// The jobs are read again.
    Reloading,
    /// What is under way comes to its end.
    Stopping,
    /// It still runs.
    Alive,
}

/// Tells systemd, with a line for `systemctl status`.
pub fn tell(what: Told, status: &str) {
    let told = match what {
        Told::Ready => sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(status)]),
        // Type=notify-reload wants the moment too.
        Told::Reloading => match NotifyState::monotonic_usec_now() {
            Ok(now) => sd_notify::notify(&[NotifyState::Reloading, now, NotifyState::Status(status)]),
            Err(_) => sd_notify::notify(&[NotifyState::Reloading, NotifyState::Status(status)]),
        },
        Told::Stopping => sd_notify::notify(&[NotifyState::Stopping, NotifyState::Status(status)]),
        Told::Alive => sd_notify::notify(&[NotifyState::Watchdog]),
    };
    if let Err(error) = told {
        log::warn!("systemd cannot be told: {error}");
    }
}

/// How often [`Told::Alive`] is due: half of `WatchdogSec=`; none where no watchdog is on.
pub fn alive_every() -> Option<Duration> {
    sd_notify::watchdog_enabled().and_then(|limit| limit.checked_div(2)).filter(|every| !every.is_zero())
}
