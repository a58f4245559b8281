//! Places at which a test makes this process die, stop or dawdle: `FOREBAY_CRASH_AT=POINT[:HIT[:ACTION]]`, where HIT counts from 1 and
//! ACTION is `kill` (SIGKILL, the default), `stop` (SIGSTOP) or a number of milliseconds to wait.
//!
//! Only in builds with debug assertions; what ships does not look at the variable.

/// Says that the process has come to `point`.
#[cfg(debug_assertions)]
pub(super) fn crash_point(point: &str) {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    static ORDER: LazyLock<Option<Order>> = LazyLock::new(|| Order::parse(&std::env::var("FOREBAY_CRASH_AT").ok()?));
    static HITS: AtomicU32 = AtomicU32::new(0);

    let Some(order) = ORDER.as_ref().filter(|order| order.point == point) else { return };
    if HITS.fetch_add(1, Ordering::SeqCst).wrapping_add(1) == order.hit {
        log::warn!("crash point {point}: {:?}", order.action);
        order.action.carry_out();
    }
}

/// Says that the process has come to `point`: nothing in what ships.
#[cfg(not(debug_assertions))]
pub(super) const fn crash_point(_point: &str) {}

#[cfg(debug_assertions)]
#[derive(Debug, PartialEq, Eq)]
struct Order {
    point: String,
    hit: u32,
    action: Action,
}

#[cfg(debug_assertions)]
#[derive(Debug, PartialEq, Eq)]
enum Action {
    Kill,
    Stop,
    Wait(std::time::Duration),
}

#[cfg(debug_assertions)]
impl Order {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let point = parts.next()?.to_owned();
        let hit = parts.next().map_or(Some(1), |hit| hit.parse().ok())?;
        let action = match parts.next() {
            None | Some("kill") => Action::Kill,
            Some("stop") => Action::Stop,
            Some(millis) => Action::Wait(std::time::Duration::from_millis(millis.parse().ok()?)),
        };
        Some(Self { point, hit, action })
    }
}

#[cfg(debug_assertions)]
impl Action {
    /// Blocks this thread: whoever has come to the point goes no further before it is over.
    #[expect(clippy::disallowed_methods, reason = "nothing of this ships, and a stopped worker is what is wanted")]
    fn carry_out(&self) {
        let pause = std::time::Duration::from_millis(100);
        match self {
            Self::Wait(time) => std::thread::sleep(*time),
            Self::Kill => {
                signal("KILL");
                loop {
                    std::thread::sleep(pause);
                }
            }
            Self::Stop => {
                signal("STOP");
                // The signal stops all threads, this one perhaps a moment after the shell has ended.
                std::thread::sleep(pause);
            }
        }
    }
}

/// Sends a signal to this process, through the shell, which needs no unsafe code.
#[cfg(debug_assertions)]
fn signal(name: &str) {
    let sent = std::process::Command::new("sh").args(["-c", &format!("kill -{name} $PPID")]).status();
    if let Err(error) = sent {
        log::error!("crash point: no shell to send SIG{name}: {error}");
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read() {
        let order = |hit, action| Some(Order { point: "seal".to_owned(), hit, action });
        assert_eq!(Order::parse("seal"), order(1, Action::Kill));
        assert_eq!(Order::parse("seal:3:stop"), order(3, Action::Stop));
        assert_eq!(Order::parse("seal:2:250"), order(2, Action::Wait(std::time::Duration::from_millis(250))));
        assert_eq!(Order::parse("seal:x"), None);
    }
}
