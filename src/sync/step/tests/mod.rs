//! The delivery protocol against a hostile world: every order of events in a small one, a seeded choice of them in a large
//! one, and the shortcuts that must not survive either.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod exhaustive;
mod simulation;
mod table;

use super::batch::{Batch, Phase, Session};
use super::{BatchId, Delivery, Millis, Purpose, SessionState};

/// Ways to make the protocol simpler, each of them wrong. The first ten are those of the design's model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Shortcut {
    /// Commit the session, then the offset; no intent.
    NoIntent,
    /// Commit the offset, then the session.
    OffsetsFirst,
    /// The intent is on the agent's own disk; another host takes over.
    LocalJournal,
    /// The successor drops an open session that has an intent.
    TakeoverAbandons,
    /// Offset writes carry generation -1, so that the group never fences them.
    Unfenced,
    /// The successor reads offsets while an old write is still pending.
    UnstableFetch,
    /// An old batch is stamped with the member's current generation.
    CurrentGeneration,
    /// The session is posted before the intent is acknowledged.
    NoWaitForAck,
    /// A forgotten session is taken as "was not committed".
    GoneMeansLost,
    /// A forgotten session is taken as "was committed".
    GoneMeansDone,
    /// After an offset write without an answer the generation goes on writing.
    WritesOnInDoubt,
}

impl Shortcut {
    pub(super) const ALL: [Self; 11] = [
        Self::NoIntent,
        Self::OffsetsFirst,
        Self::LocalJournal,
        Self::TakeoverAbandons,
        Self::Unfenced,
        Self::UnstableFetch,
        Self::CurrentGeneration,
        Self::NoWaitForAck,
        Self::GoneMeansLost,
        Self::GoneMeansDone,
        Self::WritesOnInDoubt,
    ];
}

/// What a session's state is taken for under a shortcut.
pub(super) fn shortened(shortcut: Option<Shortcut>, recovered: bool, state: SessionState) -> SessionState {
    match (shortcut, &state) {
        (Some(Shortcut::TakeoverAbandons), SessionState::Open { .. }) if recovered => SessionState::NeverCommitted,
        (Some(Shortcut::GoneMeansLost), SessionState::Forgotten) => SessionState::NeverCommitted,
        (Some(Shortcut::GoneMeansDone), SessionState::Forgotten) => SessionState::Committed,
        _ => state,
    }
}

impl Delivery {
    fn with_shortcut(mut self, shortcut: Option<Shortcut>) -> Self {
        self.shortcut = shortcut;
        self
    }

    /// The generation under which an old batch would be written.
    fn restamp(&mut self, generation: i32) {
        self.generation = generation;
    }

    /// After the upload: what the shortcut does instead of sealing.
    pub(super) fn take_shortcut(&mut self, id: BatchId) {
        let shortcut = self.shortcut;
        let Some(batch) = self.batches.get_mut(&id).filter(|batch| batch.phase == Phase::Seal) else { return };
        match shortcut {
            Some(Shortcut::NoIntent | Shortcut::LocalJournal) => {
                batch.phase = Phase::Settle;
                batch.post_all();
            }
            Some(Shortcut::OffsetsFirst) => batch.phase = Phase::Advance,
            _ => {}
        }
    }

    /// With the seal on its way: what the shortcut does not wait for.
    pub(super) fn post_early(&mut self, id: BatchId) {
        if self.shortcut == Some(Shortcut::NoWaitForAck)
            && let Some(batch) = self.batches.get_mut(&id)
        {
            batch.phase = Phase::Settle;
            batch.post_all();
        }
    }

    /// After the offset has moved: the session that the shortcut commits only now.
    pub(super) fn post_late(&mut self, now: Millis, id: BatchId, mut batch: Batch) -> Option<Batch> {
        let is_open = |session: &Session| !matches!(session.fate, super::batch::Fate::Committed);
        if self.shortcut != Some(Shortcut::OffsetsFirst) || !batch.sessions.iter().any(is_open) {
            return Some(batch);
        }
        for (partition, range) in &batch.ranges {
            self.stored(now, *partition, range.end, String::new());
        }
        batch.phase = Phase::Settle;
        batch.post_all();
        self.batches.insert(id, batch);
        None
    }

    /// Whether a write without an answer is simply repeated.
    pub(super) fn repeats_in_doubt(&mut self, purpose: &Purpose) -> bool {
        if self.shortcut != Some(Shortcut::WritesOnInDoubt) {
            return false;
        }
        if let Purpose::Seal(id) | Purpose::Advance(id) = purpose
            && let Some(batch) = self.batches.get_mut(id)
        {
            batch.phase = if matches!(purpose, Purpose::Seal(_)) { Phase::Seal } else { Phase::Advance };
        }
        true
    }
}
