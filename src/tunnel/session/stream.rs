//! A stream session's decisions: which slot takes a pack, when a pack is full, and what follows a failed attempt.

use std::time::Duration;

use super::retry::{Fault, Next, Retry, RetryPolicy};

/// One of the places that packs of a session go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The slot's id, as the service spells it.
    pub id: String,
    /// `host:port` behind the slot; a routing hint that travels as a header.
    pub server: String,
}

/// The slots of a session, used in turn.
///
/// Invariant: [`Slots::take`] gives every slot once before any again, as long as the list stays.
#[derive(Clone, Debug)]
pub struct Slots {
    slots: Vec<Slot>,
    next: usize,
}

/// What the answer to a pack says about the routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// They are as they were.
    Same,
    /// This slot has moved; its address has been replaced.
    Moved,
    /// There is another number of slots: the list must be read again.
    Reload,
}

impl Slots {
    /// The slots of a new session; `seed` chooses where the turn begins, so that many writers do not all begin with the
    /// first.
    pub fn new(slots: Vec<Slot>, seed: u64) -> Self {
        let count = slots.len().max(1) as u64;
        Self { next: usize::try_from(seed % count).unwrap_or(0), slots }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.slots.len()
    }

    /// The slot for the next attempt; `None` when the service gave none.
    pub fn take(&mut self) -> Option<Slot> {
        let slot = self.slots.get(self.next % self.slots.len().max(1))?.clone();
        self.next = self.next.wrapping_add(1);
        Some(slot)
    }

    /// Takes the list of a reload; the turn goes on where it was.
    pub fn replace(&mut self, slots: Vec<Slot>) {
        self.slots = slots;
    }

    /// Takes the routing headers of an answer to a pack that went to `slot`: the number of slots and the address of this one,
    /// as far as the answer has them. An empty address says nothing.
    pub fn answered(&mut self, slot: &Slot, count: Option<usize>, server: Option<&str>) -> Route {
        if count.is_some_and(|count| count != self.slots.len()) {
            return Route::Reload;
        }
        let Some(server) = server.map(str::trim).filter(|server| !server.is_empty()) else { return Route::Same };
        match self.slots.iter_mut().find(|known| known.id == slot.id) {
            Some(known) if known.server != server => {
                server.clone_into(&mut known.server);
                Route::Moved
            }
            _ => Route::Same,
        }
    }
}

/// When a pack is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackLimits {
    /// Bytes of encoded rows, before compression.
    pub bytes: usize,
    /// Time since the pack's first row.
    pub age: Duration,
}

impl PackLimits {
    /// Whether a pack with so many bytes, whose first row came at `opened`, is to be sent at `now`.
    pub fn is_due(&self, bytes: usize, opened: Option<Duration>, now: Duration) -> bool {
        opened.is_some_and(|opened| bytes >= self.bytes || now.saturating_sub(opened) >= self.age)
    }
}

/// How an attempt at a pack failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackFault {
    /// A status of a gateway (502, 504): the route may be stale.
    Gateway(Fault),
    /// The session is over or unknown to the service.
    SessionGone,
    /// Anything else.
    Other(Fault),
}

/// What follows a failed attempt at a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackNext {
    /// Send the same bytes again at this time, to the next slot.
    SendAt(Duration),
    /// Read the slots again, then as [`PackNext::SendAt`].
    ReloadAndSendAt(Duration),
    /// Create a new session, then send the same bytes at once.
    Recreate,
    /// Give up; the failure stands, and the pack may or may not have been stored by an earlier attempt.
    GiveUp,
}

/// Decides about the repetitions of one pack: [`Retry`]'s rules, gateways that need other routes, and sessions that ended.
///
/// A session is created anew a bounded number of times for one pack: a service that forgets every session at once would
/// keep us busy for ever.
#[derive(Clone, Debug)]
pub struct PackRetry {
    retry: Retry,
    recreations: u32,
}

/// New sessions for one pack.
const RECREATIONS_MAX: u32 = 3;

impl PackRetry {
    /// A pack whose first attempt begins at `now`.
    pub fn new(policy: RetryPolicy, now: Duration, seed: u64) -> Self {
        Self { retry: Retry::new(policy, now, seed), recreations: 0 }
    }

    /// Attempts that failed so far: the index of the next one.
    pub const fn attempts(&self) -> u32 {
        self.retry.attempts().saturating_add(self.recreations)
    }

    /// Takes a failed attempt and decides.
    pub fn after(&mut self, now: Duration, fault: PackFault) -> PackNext {
        match fault {
            PackFault::SessionGone if self.recreations < RECREATIONS_MAX => {
                self.recreations = self.recreations.saturating_add(1);
                PackNext::Recreate
            }
            PackFault::SessionGone => PackNext::GiveUp,
            PackFault::Gateway(fault) => match self.retry.after(now, fault) {
                Next::At(at) => PackNext::ReloadAndSendAt(at),
                Next::GiveUp => PackNext::GiveUp,
            },
            PackFault::Other(fault) => match self.retry.after(now, fault) {
                Next::At(at) => PackNext::SendAt(at),
                Next::GiveUp => PackNext::GiveUp,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::retry::FaultClass;
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn slots(servers: &[&str]) -> Vec<Slot> {
        let slot = |(id, server): (usize, &&str)| Slot { id: id.to_string(), server: (*server).to_owned() };
        servers.iter().enumerate().map(slot).collect()
    }

    fn ids(slots: &mut Slots, count: usize) -> Vec<String> {
        (0..count).filter_map(|_| slots.take()).map(|slot| slot.id).collect()
    }

    #[test]
    fn slots_take_turns_from_anywhere() {
        let mut three = Slots::new(slots(&["a:1", "b:1", "c:1"]), 2);
        assert_eq!(ids(&mut three, 5), ["2", "0", "1", "2", "0"]);
        three.replace(slots(&["a:1", "b:1"]));
        assert_eq!(ids(&mut three, 4), ["1", "0", "1", "0"]);
        let mut none = Slots::new(Vec::new(), 7);
        assert_eq!(none.take(), None);
    }

    #[test]
    fn answers_move_routes() {
        let mut two = Slots::new(slots(&["a:1", "b:1"]), 0);
        let first = two.take().unwrap_or_else(|| unreachable!("two slots"));
        assert_eq!(two.answered(&first, Some(2), Some("a:1")), Route::Same);
        assert_eq!(two.answered(&first, Some(2), Some(" ")), Route::Same);
        assert_eq!(two.answered(&first, None, None), Route::Same);
        assert_eq!(two.answered(&first, Some(3), Some("a:1")), Route::Reload);
        assert_eq!(two.answered(&first, Some(2), Some("z:9")), Route::Moved);
        let _second = two.take();
        assert_eq!(two.take().map(|slot| slot.server), Some("z:9".to_owned()));
    }

    #[test]
    fn a_pack_is_due_by_size_or_age_but_never_empty() {
        let limits = PackLimits { bytes: 100, age: 2 * SECOND };
        for (bytes, opened, now, due) in [
            (0, None, 99, false),
            (99, Some(10), 11, false),
            (100, Some(10), 10, true),
            (1, Some(10), 12, true),
            (1, Some(10), 9, false),
        ] {
            assert_eq!(
                limits.is_due(bytes, opened.map(|at| at * SECOND), now * SECOND),
                due,
                "{bytes} {opened:?} {now}"
            );
        }
    }

    #[test]
    fn what_follows_each_failure() {
        let server = Fault { class: FaultClass::Server, retry_after: Some(SECOND) };
        let throttled = Fault { class: FaultClass::Throttled, retry_after: Some(SECOND) };
        let fatal = Fault { class: FaultClass::Final, retry_after: None };
        let mut retry = PackRetry::new(RetryPolicy::default(), SECOND, 1);
        assert_eq!(retry.after(SECOND, PackFault::Gateway(server)), PackNext::ReloadAndSendAt(2 * SECOND));
        assert_eq!(retry.after(SECOND, PackFault::Other(server)), PackNext::SendAt(2 * SECOND));
        for _ in 0..50 {
            assert_eq!(retry.after(SECOND, PackFault::Other(throttled)), PackNext::SendAt(2 * SECOND));
        }
        for _ in 0..3 {
            assert_eq!(retry.after(SECOND, PackFault::SessionGone), PackNext::Recreate);
        }
        assert_eq!(retry.after(SECOND, PackFault::SessionGone), PackNext::GiveUp);
        assert_eq!(retry.attempts(), 55);
        for _ in 0..5 {
            assert_eq!(retry.after(SECOND, PackFault::Other(server)), PackNext::SendAt(2 * SECOND));
        }
        // Seven repetitions after errors of the server are used up.
        assert_eq!(retry.after(SECOND, PackFault::Gateway(server)), PackNext::GiveUp);
        assert_eq!(retry.after(SECOND, PackFault::Other(fatal)), PackNext::GiveUp);
    }
}
