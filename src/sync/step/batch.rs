//! One batch: some ranges, the sessions that hold their rows, and how far they are.

use std::collections::BTreeMap;

use super::order::{
    BatchId, Event, Evidence, EvidenceOrder, Millis, Order, Range, Rebuild, SessionOrder, SessionState, WriteOrder,
};
use super::{DeliveryOptions, Pause};
use crate::sync::intent::{Intent, IntentError, SealedSession};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Batch {
    pub(super) ranges: BTreeMap<i32, Range>,
    pub(super) sessions: Vec<Session>,
    pub(super) phase: Phase,
    /// Of the rules under which the sealed rows were made.
    pub(super) hash: u64,
    /// The targets to write again; none for a first writing.
    pub(super) rebuild: Option<Vec<String>>,
    pub(super) pause: Pause,
    /// Whether its intent was found rather than written.
    pub(super) recovered: bool,
}

/// Each `-ing` waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    Write,
    Writing,
    Seal,
    Sealing,
    /// The intent is acknowledged: the sessions are rolled forward, each by itself.
    Settle,
    Advance,
    Advancing,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Session {
    pub(super) sealed: SealedSession,
    pub(super) fate: Fate,
    pause: Pause,
    /// Whether it was told that the session is only waited for.
    told: bool,
}

/// Each `-ing` waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Fate {
    Post,
    Posting,
    Ask,
    Asking,
    Look,
    Looking,
    /// Its rows are in the table.
    Committed,
    /// Its rows are not in the table, and never will be by it.
    Dead,
    /// Nobody can say.
    Forgotten,
}

impl Session {
    pub(super) fn new(sealed: SealedSession) -> Self {
        // An id that a person has taken out: it was never committed.
        let fate = if sealed.upload_id.is_empty() { Fate::Dead } else { Fate::Ask };
        Self { sealed, fate, pause: Pause::default(), told: false }
    }

    fn again(&mut self, now: Millis, fate: Fate, options: &DeliveryOptions) {
        self.fate = fate;
        self.pause.after_failure(now, options);
    }
}

impl Batch {
    pub(super) const fn new(ranges: BTreeMap<i32, Range>) -> Self {
        Self {
            ranges,
            sessions: Vec::new(),
            phase: Phase::Write,
            hash: 0,
            rebuild: None,
            pause: Pause { failures: 0, until: 0 },
            recovered: false,
        }
    }

    /// A batch whose intent stood in the group: its sessions are asked before anything else.
    pub(super) fn recovered(ranges: BTreeMap<i32, Range>, sessions: Vec<SealedSession>, hash: u64) -> Self {
        let sessions = sessions.into_iter().map(Session::new).collect();
        Self { sessions, hash, phase: Phase::Settle, recovered: true, ..Self::new(ranges) }
    }

    pub(super) fn rows(&self) -> u64 {
        self.sessions.iter().fold(0, |rows, session| rows.saturating_add(session.sealed.rows))
    }

    pub(super) const fn is_committing(&self) -> bool {
        matches!(self.phase, Phase::Seal | Phase::Sealing | Phase::Advance | Phase::Advancing)
    }

    pub(super) fn write_order(&self, batch: BatchId) -> WriteOrder {
        let rebuild = self.rebuild.as_ref().map(|targets| Rebuild {
            until: self.ranges.iter().map(|(partition, range)| (*partition, range.end)).collect(),
            targets: targets.clone(),
        });
        let from = self.ranges.iter().map(|(partition, range)| (*partition, range.begin)).collect();
        WriteOrder { batch, from, rebuild }
    }

    /// What is committed to seal it: each partition's begin, and its intent. The error is the length of an intent that is
    /// too long.
    pub(super) fn intents(&self, options: &DeliveryOptions) -> Result<Vec<(i32, i64, String)>, usize> {
        let sessions: Vec<SealedSession> = self.sessions.iter().map(|session| session.sealed.clone()).collect();
        let end_digits = self.ranges.values().map(|range| range.end.to_string().len()).max().unwrap_or(1);
        let mut entries = Vec::new();
        for (partition, range) in &self.ranges {
            let intent = Intent {
                cluster: options.cluster.clone(),
                topic_id: options.topic_id.clone(),
                end: range.end,
                sessions: sessions.clone(),
                hash: options.hash,
            };
            let metadata = intent.to_metadata_of(end_digits).map_err(|error| match error {
                IntentError::TooLong(bytes) => bytes,
                IntentError::Foreign(_) | IntentError::Damaged(_) => 0,
            })?;
            entries.push((*partition, range.begin, metadata));
        }
        Ok(entries)
    }

    /// The intent is acknowledged.
    pub(super) fn post_all(&mut self) {
        for session in &mut self.sessions {
            session.fate = Fate::Post;
        }
    }

    pub(super) fn poll_session(&mut self, now: Millis, batch: BatchId) -> Option<Order> {
        let ranges = &self.ranges;
        self.sessions.iter_mut().filter(|session| session.pause.until <= now).find_map(|session| {
            let order = SessionOrder { batch, session: session.sealed.clone() };
            let (fate, order) = match session.fate {
                Fate::Post => (Fate::Posting, Order::Post(order)),
                Fate::Ask => (Fate::Asking, Order::Ask(order)),
                Fate::Look => {
                    let order = EvidenceOrder { batch, session: order.session, ranges: ranges.clone() };
                    (Fate::Looking, Order::LookForRows(order))
                }
                _ => return None,
            };
            session.fate = fate;
            Some(order)
        })
    }

    pub(super) fn poll_timeout(&self) -> Option<Millis> {
        match self.phase {
            Phase::Writing | Phase::Sealing | Phase::Advancing => None,
            Phase::Settle => {
                let waiting = |session: &&Session| matches!(session.fate, Fate::Post | Fate::Ask | Fate::Look);
                self.sessions.iter().filter(waiting).map(|session| session.pause.until).min()
            }
            Phase::Write | Phase::Seal | Phase::Advance => Some(self.pause.until),
        }
    }

    fn session(&mut self, upload_id: &str, fate: Fate) -> Option<&mut Session> {
        self.sessions.iter_mut().find(|session| session.sealed.upload_id == upload_id && session.fate == fate)
    }

    pub(super) fn handle_posted(&mut self, upload_id: &str) {
        if let Some(session) = self.session(upload_id, Fate::Posting) {
            session.fate = Fate::Ask;
        }
    }

    pub(super) fn handle_session(
        &mut self,
        now: Millis,
        batch: BatchId,
        upload_id: &str,
        state: &SessionState,
        options: &DeliveryOptions,
    ) -> Option<Event> {
        let session = self.session(upload_id, Fate::Asking)?;
        match state {
            SessionState::Open { age_ms, intact } => {
                let too_old = age_ms.is_some_and(|age| age >= options.post_age_ms_max);
                if *intact && !too_old {
                    session.again(now, Fate::Post, options);
                    return None;
                }
                // Never abandoned: a POST of an earlier owner may still be on its way.
                session.again(now, Fate::Ask, options);
                let why = if too_old {
                    format!("upload session {upload_id} is too old to be committed; waiting until it has expired")
                } else {
                    format!("upload session {upload_id} does not hold what was sealed; waiting until it has expired")
                };
                return (!std::mem::replace(&mut session.told, true)).then_some(Event::Waiting { batch, why });
            }
            SessionState::Committing | SessionState::Unavailable => session.again(now, Fate::Ask, options),
            SessionState::Committed => session.fate = Fate::Committed,
            SessionState::NeverCommitted => session.fate = Fate::Dead,
            SessionState::Forgotten if options.evidence && session.sealed.rows > 0 => {
                session.again(now, Fate::Look, options)
            }
            SessionState::Forgotten => session.fate = Fate::Forgotten,
        }
        None
    }

    pub(super) fn handle_evidence(
        &mut self,
        now: Millis,
        upload_id: &str,
        evidence: Evidence,
        options: &DeliveryOptions,
    ) {
        if let Some(session) = self.session(upload_id, Fate::Looking) {
            match evidence {
                Evidence::Found => session.fate = Fate::Committed,
                Evidence::Absent => session.fate = Fate::Dead,
                Evidence::Silent => session.fate = Fate::Forgotten,
                Evidence::Unavailable => session.again(now, Fate::Look, options),
            }
        }
    }

    pub(super) fn forgotten(&self) -> Option<&SealedSession> {
        self.sessions.iter().find(|session| session.fate == Fate::Forgotten).map(|session| &session.sealed)
    }

    /// The targets of sessions that can never be committed, once every session is certain.
    pub(super) fn dead_targets(&self) -> Option<Vec<String>> {
        let certain = self.sessions.iter().all(|session| matches!(session.fate, Fate::Committed | Fate::Dead));
        let dead = self.sessions.iter().filter(|session| session.fate == Fate::Dead);
        certain.then(|| dead.map(|session| session.sealed.target.clone()).collect())
    }
}
