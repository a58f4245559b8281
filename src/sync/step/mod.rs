//! The delivery protocol of a continuous job: exactly once from Kafka into an append table.
//!
//! "Exactly-once from Kafka into MaxCompute" has the argument; this is its sans-io core, the same code in the exhaustive model,
//! the seeded simulator and production. What it decides is the order of four effects: upload, *seal* (the intent into the
//! group's metadata), commit of the upload session, *advance* (the offset). What it never decides by is the text of an error.

mod batch;
mod order;
mod state;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use batch::{Batch, Phase};

use super::intent::Intent;

pub use order::{
    BatchId, CommitId, CommitOrder, CommitOutcome, Event, Evidence, EvidenceOrder, HaltCause, Millis, Order, Range,
    Rebuild, SessionOrder, SessionState, Step, Stored, WriteFailure, WriteOrder, Written,
};
pub use state::{BatchState, SealedState};

/// What a delivery is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DeliveryOptions {
    /// The cluster's id; empty where the broker does not say.
    pub cluster: String,
    /// The topic's id; empty before Kafka 2.8.
    pub topic_id: String,
    /// Of all that makes rows a function of offsets.
    pub hash: u64,
    /// Columns are mapped to partition and offset, so that the table can settle what the service has forgotten.
    pub evidence: bool,
    /// First pause after a failure; it doubles up to `pause_ms_max`.
    pub pause_ms_first: Millis,
    /// Longest pause.
    pub pause_ms_max: Millis,
    /// Offsets older than this are written again, since brokers before 2.1 forget those of idle groups. 0 = never.
    pub refresh_ms: Millis,
    /// A session older than this is not posted any more but waited for: a commit that races the end of a session's life could
    /// be executed after the service has called it expired.
    pub post_age_ms_max: Millis,
}

impl Default for DeliveryOptions {
    fn default() -> Self {
        let hour = 60 * 60 * 1000;
        Self {
            cluster: String::new(),
            topic_id: String::new(),
            hash: 0,
            evidence: false,
            pause_ms_first: 500,
            pause_ms_max: 30_000,
            refresh_ms: 3 * hour,
            post_age_ms_max: 23 * hour,
        }
    }
}

/// Why a delivery has ended; the member joins again and begins a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Over {
    /// The group has moved on: this generation may write no more.
    Fenced,
    /// A write of offsets got no answer. It could take effect after a later one and undo it, so this generation writes no
    /// more: what is late then carries a generation that the coordinator refuses.
    Ambiguous,
}

/// The delivery of some Kafka partitions by one member in one generation of its group.
///
/// It is made when the partitions are assigned and thrown away when the generation ends, with whatever was unsealed; what
/// was sealed is found again by the next one, here or on another host.
///
/// Getters: [`Delivery::over`], [`Delivery::halted`], [`Delivery::is_quiet`]. Inputs, one for each order: [`Delivery::handle_offsets`],
/// [`Delivery::handle_written`] and [`Delivery::handle_write_failed`], [`Delivery::handle_committed`], [`Delivery::handle_posted`],
/// [`Delivery::handle_session`], [`Delivery::handle_evidence`]; and [`Delivery::handle_drain`] when no new batch is to begin. Outputs, to be drained
/// after any input and at [`Delivery::poll_timeout`]: [`Delivery::poll_order`], [`Delivery::poll_event`].
///
/// Invariants (numbers of the design): a session is posted only after its intent is acknowledged (I3); nothing is sealed over
/// a range while an intent over it stands, except in place of sessions that can never be committed (I4); every
/// write carries the generation in which its range or intent was read (I5), since a machine has but one. At most one batch is
/// being written at a time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Delivery {
    options: DeliveryOptions,
    generation: i32,
    partitions: BTreeMap<i32, Partition>,
    batches: BTreeMap<BatchId, Batch>,
    commits: BTreeMap<CommitId, Purpose>,
    fetch: Fetch,
    draining: bool,
    pause: Pause,
    over: Option<Over>,
    events: VecDeque<Event>,
    #[cfg(test)]
    shortcut: Option<tests::Shortcut>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Partition {
    /// What stands in the group, as far as we know.
    offset: i64,
    metadata: String,
    /// When it was last written; none for a position that the configuration gave and the group does not have yet.
    written_at: Option<Millis>,
    place: Place,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Place {
    /// The offsets are not fetched yet.
    Unknown,
    /// Between batches.
    Idle,
    /// In a batch.
    In(BatchId),
    /// Stands still until a person has looked.
    Halted(HaltCause),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Fetch {
    Due,
    Out,
    Done,
}

/// What a write of offsets is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Purpose {
    Seal(BatchId),
    Advance(BatchId),
    Refresh(Vec<i32>),
}

/// A pause that grows with every failure in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Pause {
    failures: u32,
    until: Millis,
}

impl Pause {
    fn after_failure(&mut self, now: Millis, options: &DeliveryOptions) {
        let pause = options.pause_ms_first.saturating_mul(1 << self.failures.min(16)).min(options.pause_ms_max);
        // Without pauses nothing is to be counted.
        if pause > 0 {
            self.failures = self.failures.saturating_add(1);
        }
        self.until = now.saturating_add(pause);
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Delivery {
    /// The delivery of `partitions`, as assigned in `generation`.
    pub fn new(options: DeliveryOptions, generation: i32, partitions: impl IntoIterator<Item = i32>) -> Self {
        let unknown = || Partition { offset: -1, metadata: String::new(), written_at: None, place: Place::Unknown };
        Self {
            options,
            generation,
            partitions: partitions.into_iter().map(|partition| (partition, unknown())).collect(),
            batches: BTreeMap::new(),
            commits: BTreeMap::new(),
            fetch: Fetch::Due,
            draining: false,
            pause: Pause::default(),
            over: None,
            events: VecDeque::new(),
            #[cfg(test)]
            shortcut: None,
        }
    }

    /// Why it has ended, if it has. No order comes any more; what is out needs no answer.
    pub const fn over(&self) -> Option<Over> {
        self.over
    }

    /// The partitions that stand still until a person has looked.
    pub fn halted(&self) -> impl Iterator<Item = (i32, &HaltCause)> {
        self.partitions.iter().filter_map(|(partition, state)| match &state.place {
            Place::Halted(cause) => Some((*partition, cause)),
            _ => None,
        })
    }

    /// Whether nothing is under way: with [`Delivery::handle_drain`] called, the moment to leave the group.
    pub fn is_quiet(&self) -> bool {
        self.over.is_some() || (self.batches.is_empty() && self.commits.is_empty() && self.fetch == Fetch::Done)
    }

    /// Whether a first writing that has found nothing to read yet is to come back as it is ([`Written`] without ends): nothing new is to
    /// begin, or something waits for it, partitions that have become idle since or sessions to be written again. The next one then
    /// takes all: what this one waits for may never come, while others have records.
    pub fn is_held_up(&self) -> bool {
        let phases = |wanted: Phase| self.batches.values().filter(move |batch| batch.phase == wanted);
        let is_idle = |state: &Partition| state.place == Place::Idle && state.written_at.is_some();
        phases(Phase::Writing).any(|batch| batch.rebuild.is_none())
            && (self.draining || phases(Phase::Write).next().is_some() || self.partitions.values().any(is_idle))
    }

    /// Whether writes of offsets are out.
    pub fn is_committing(&self) -> bool {
        !self.commits.is_empty()
    }

    /// What a write of offsets that is out does.
    pub fn step_of(&self, id: CommitId) -> Option<Step> {
        Some(match self.commits.get(&id)? {
            Purpose::Seal(_) => Step::Seal,
            Purpose::Advance(_) => Step::Advance,
            Purpose::Refresh(_) => Step::Refresh,
        })
    }

    /// Its partitions.
    pub fn partitions(&self) -> impl Iterator<Item = i32> {
        self.partitions.keys().copied()
    }

    /// What the group's offset of each partition is, as far as acknowledged; a partition whose offsets are not fetched yet is left
    /// out.
    pub fn committed(&self) -> impl Iterator<Item = (i32, i64)> {
        let known = self.partitions.iter().filter(|(_, state)| state.place != Place::Unknown && state.offset >= 0);
        known.map(|(partition, state)| (*partition, state.offset))
    }

    /// No new batch is to begin; sealed ones are brought to their end.
    pub const fn handle_drain(&mut self) {
        self.draining = true;
    }

    /// What the group has stored. None where it could not be asked: it is asked again.
    pub fn handle_offsets(&mut self, now: Millis, stored: Option<BTreeMap<i32, Stored>>) {
        let Some(stored) = stored else {
            self.fetch = Fetch::Due;
            self.pause.after_failure(now, &self.options);
            return;
        };
        self.fetch = Fetch::Done;
        self.pause.clear();
        let mut found: BTreeMap<_, BTreeMap<i32, Range>> = BTreeMap::new();
        let partitions: Vec<i32> = self.partitions.keys().copied().collect();
        for partition in partitions {
            let Stored { offset, metadata, initial } = stored.get(&partition).cloned().unwrap_or_default();
            let intent = self.admit(&metadata, offset);
            let Some(state) = self.partitions.get_mut(&partition) else { continue };
            state.metadata = metadata;
            state.written_at = offset.map(|_| now);
            match (intent, offset.or(initial)) {
                (Err(cause), _) => self.halt(partition, cause),
                (Ok(None), None) => self.halt(partition, HaltCause::NoOffset),
                (Ok(intent), Some(begin)) => {
                    state.offset = begin;
                    state.place = Place::Idle;
                    if let Some(intent) = intent {
                        let range = Range { begin, end: intent.end };
                        found.entry((intent.sessions, intent.hash)).or_default().insert(partition, range);
                    }
                }
                (Ok(Some(_)), None) => self.halt(partition, HaltCause::NoOffset),
            }
        }
        for ((sessions, hash), ranges) in found {
            let id = self.batch_id();
            self.place(ranges.keys().copied(), &Place::In(id));
            self.events.push_back(Event::Recovered { batch: id, ranges: ranges.clone() });
            self.batches.insert(id, Batch::recovered(ranges, sessions, hash));
            self.settled(id);
        }
    }

    /// The intent in a metadata text, if it is ours and of this source.
    fn admit(&self, metadata: &str, offset: Option<i64>) -> Result<Option<Intent>, HaltCause> {
        let intent = Intent::parse(metadata).map_err(|error| HaltCause::Metadata(error.to_string()))?;
        let Some(intent) = intent else { return Ok(None) };
        for (what, theirs, ours) in
            [("cluster", &intent.cluster, &self.options.cluster), ("topic", &intent.topic_id, &self.options.topic_id)]
        {
            if theirs != ours {
                return Err(HaltCause::OtherSource(format!(
                    "the group's offsets are of {what} \"{theirs}\", and this is \"{ours}\": they mean other records"
                )));
            }
        }
        let damaged =
            || HaltCause::Metadata("the intent in the group's offset metadata ends before its offset".to_owned());
        if offset.is_none_or(|begin| begin > intent.end) { Err(damaged()) } else { Ok(Some(intent)) }
    }

    /// The batch is uploaded whole, every block acknowledged and the session's list compared.
    pub fn handle_written(&mut self, id: BatchId, written: Written) {
        let Some(batch) = self.batches.get_mut(&id).filter(|batch| batch.phase == Phase::Writing) else { return };
        let Written { ends, mut sessions } = written;
        sessions.sort();
        let fits = if let Some(targets) = &batch.rebuild {
            batch.ranges.iter().all(|(partition, range)| ends.get(partition) == Some(&range.end))
                && sessions.iter().all(|session| targets.contains(&session.target))
        } else {
            ends.iter().all(|(partition, end)| batch.ranges.get(partition).is_some_and(|range| range.begin <= *end))
        };
        if !fits || sessions.iter().any(|session| session.upload_id.is_empty() || session.rows == 0) {
            self.halt_batch(id, &HaltCause::Bug("a batch came back with other ranges than it was given"));
            return;
        }
        let mut unmoved = Vec::new();
        for (partition, range) in &mut batch.ranges {
            range.end = ends.get(partition).copied().unwrap_or(range.begin);
            if range.end == range.begin {
                unmoved.push(*partition);
            }
        }
        batch.ranges.retain(|_, range| range.end > range.begin);
        batch.sessions = sessions.into_iter().map(batch::Session::new).collect();
        batch.hash = self.options.hash;
        batch.phase = if batch.sessions.is_empty() { Phase::Advance } else { Phase::Seal };
        batch.pause.clear();
        if batch.ranges.is_empty() {
            self.batches.remove(&id);
        }
        self.place(unmoved.into_iter(), &Place::Idle);
        self.pause.clear();
        #[cfg(test)]
        self.take_shortcut(id);
    }

    /// The batch could not be uploaded; what there is of it is dropped.
    pub fn handle_write_failed(&mut self, now: Millis, id: BatchId, failure: WriteFailure) {
        let Some(batch) = self.batches.get_mut(&id).filter(|batch| batch.phase == Phase::Writing) else { return };
        match failure {
            WriteFailure::Passing(_) => {
                if batch.rebuild.is_some() {
                    batch.phase = Phase::Write;
                    batch.pause.after_failure(now, &self.options);
                } else {
                    // Begun anew, with whatever partitions are idle then.
                    self.dissolve(id);
                    self.pause.after_failure(now, &self.options);
                }
            }
            WriteFailure::Partition { partition, cause } => {
                if batch.rebuild.is_some() {
                    // The rows of the others in the same sessions are not in the table either: each is rebuilt alone.
                    batch.ranges.remove(&partition);
                    batch.phase = Phase::Write;
                    if batch.ranges.is_empty() {
                        self.batches.remove(&id);
                    }
                } else {
                    self.dissolve(id);
                }
                self.halt(partition, cause);
            }
        }
    }

    /// The answer to a write of offsets, or that there was none.
    pub fn handle_committed(&mut self, now: Millis, id: CommitId, outcome: CommitOutcome) {
        let Some(purpose) = self.commits.remove(&id) else { return };
        match outcome {
            CommitOutcome::Acknowledged => self.acknowledged(now, purpose),
            CommitOutcome::TryAgain => {
                if let Purpose::Seal(batch) | Purpose::Advance(batch) = purpose
                    && let Some(batch) = self.batches.get_mut(&batch)
                {
                    batch.phase = if matches!(purpose, Purpose::Seal(_)) { Phase::Seal } else { Phase::Advance };
                    batch.pause.after_failure(now, &self.options);
                } else {
                    self.pause.after_failure(now, &self.options);
                }
            }
            CommitOutcome::Fenced => self.over = Some(Over::Fenced),
            CommitOutcome::Ambiguous => {
                #[cfg(test)]
                if self.repeats_in_doubt(&purpose) {
                    return;
                }
                self.over = Some(Over::Ambiguous);
            }
            CommitOutcome::Refused(text) => match purpose {
                Purpose::Seal(batch) | Purpose::Advance(batch) => {
                    self.halt_batch(batch, &HaltCause::CommitRefused(text))
                }
                Purpose::Refresh(partitions) => {
                    for partition in partitions {
                        self.halt(partition, HaltCause::CommitRefused(text.clone()));
                    }
                }
            },
        }
    }

    fn acknowledged(&mut self, now: Millis, purpose: Purpose) {
        match purpose {
            Purpose::Seal(id) => {
                let Some(batch) = self.batches.get_mut(&id).filter(|batch| batch.phase == Phase::Sealing) else {
                    return;
                };
                let Ok(entries) = batch.intents(&self.options) else { return };
                batch.phase = Phase::Settle;
                batch.pause.clear();
                batch.post_all();
                for (partition, offset, metadata) in entries {
                    self.stored(now, partition, offset, metadata);
                }
                self.events.push_back(Event::Sealed { batch: id });
            }
            Purpose::Advance(id) => {
                let Some(batch) = self.batches.remove(&id) else { return };
                #[cfg(test)]
                let Some(batch) = self.post_late(now, id, batch) else { return };
                for (partition, range) in &batch.ranges {
                    self.stored(now, *partition, range.end, String::new());
                }
                self.place(batch.ranges.keys().copied(), &Place::Idle);
                self.events.push_back(Event::Advanced { batch: id, rows: batch.rows(), ranges: batch.ranges });
            }
            Purpose::Refresh(partitions) => {
                for partition in partitions {
                    if let Some(state) = self.partitions.get_mut(&partition) {
                        state.written_at = Some(now);
                    }
                }
            }
        }
    }

    fn stored(&mut self, now: Millis, partition: i32, offset: i64, metadata: String) {
        if let Some(state) = self.partitions.get_mut(&partition) {
            (state.offset, state.metadata, state.written_at) = (offset, metadata, Some(now));
        }
    }

    /// A POST was sent; whatever it answered, the session is asked now.
    pub fn handle_posted(&mut self, id: BatchId, upload_id: &str) {
        if let Some(batch) = self.batches.get_mut(&id) {
            batch.handle_posted(upload_id);
        }
    }

    /// What the service says about a session.
    pub fn handle_session(&mut self, now: Millis, id: BatchId, upload_id: &str, state: SessionState) {
        let Some(batch) = self.batches.get_mut(&id) else { return };
        #[cfg(test)]
        let state = tests::shortened(self.shortcut, batch.recovered, state);
        if let Some(event) = batch.handle_session(now, id, upload_id, &state, &self.options) {
            self.events.push_back(event);
        }
        self.settled(id);
    }

    /// What the table says about the rows of a session that the service has forgotten.
    pub fn handle_evidence(&mut self, now: Millis, id: BatchId, upload_id: &str, evidence: Evidence) {
        let Some(batch) = self.batches.get_mut(&id) else { return };
        batch.handle_evidence(now, upload_id, evidence, &self.options);
        self.settled(id);
    }

    /// Goes on with a batch all of whose sessions are certain.
    fn settled(&mut self, id: BatchId) {
        let Some(batch) = self.batches.get_mut(&id).filter(|batch| batch.phase == Phase::Settle) else { return };
        if let Some(session) = batch.forgotten() {
            let cause = HaltCause::SessionForgotten(session.clone());
            self.halt_batch(id, &cause);
        } else if let Some(dead) = batch.dead_targets() {
            if dead.is_empty() {
                batch.phase = Phase::Advance;
            } else if batch.hash == self.options.hash {
                self.events.push_back(Event::Rebuilding { batch: id, targets: dead.clone() });
                batch.rebuild = Some(dead);
                batch.phase = Phase::Write;
            } else {
                self.halt_batch(id, &HaltCause::RulesChanged);
            }
        }
    }

    /// The next thing to do, if there is one now.
    pub fn poll_order(&mut self, now: Millis) -> Option<Order> {
        if self.over.is_some() {
            return None;
        }
        if self.fetch == Fetch::Due && self.pause.until <= now {
            self.fetch = Fetch::Out;
            return Some(Order::FetchOffsets);
        }
        if self.fetch != Fetch::Done {
            return None;
        }
        let ids: Vec<BatchId> = self.batches.keys().copied().collect();
        for id in ids {
            if let Some(order) = self.order_for(now, id) {
                return Some(order);
            }
        }
        self.refresh(now).or_else(|| self.begin(now))
    }

    fn order_for(&mut self, now: Millis, id: BatchId) -> Option<Order> {
        let writing = self.batches.values().any(|batch| batch.phase == Phase::Writing);
        let refreshing = self.is_refreshing();
        let batch = self.batches.get_mut(&id)?;
        if let Phase::Settle = batch.phase {
            return batch.poll_session(now, id);
        }
        // A refresh under way carries what stood before; nothing overtakes it.
        if batch.pause.until > now || (refreshing && batch.is_committing()) {
            return None;
        }
        match batch.phase {
            Phase::Write if !writing => {
                batch.phase = Phase::Writing;
                Some(Order::Write(batch.write_order(id)))
            }
            Phase::Seal => match batch.intents(&self.options) {
                Ok(entries) => {
                    batch.phase = Phase::Sealing;
                    let order = self.commit(Purpose::Seal(id), entries);
                    #[cfg(test)]
                    self.post_early(id);
                    Some(order)
                }
                Err(bytes) => {
                    self.halt_batch(id, &HaltCause::IntentTooLong(bytes));
                    None
                }
            },
            Phase::Advance => {
                batch.phase = Phase::Advancing;
                let entries = batch.ranges.iter().map(|(partition, range)| (*partition, range.end, String::new()));
                let entries = entries.collect();
                Some(self.commit(Purpose::Advance(id), entries))
            }
            _ => None,
        }
    }

    fn commit(&mut self, purpose: Purpose, entries: Vec<(i32, i64, String)>) -> Order {
        let id = (0..).map(CommitId).find(|id| !self.commits.contains_key(id)).unwrap_or(CommitId(u32::MAX));
        self.commits.insert(id, purpose);
        Order::Commit(CommitOrder { id, generation: self.generation, entries })
    }

    /// Writes what the group does not have yet, and again what is old. Only where nothing else is being written: a machine
    /// never has two writes out for one partition.
    ///
    /// An initial position is written before the first batch: where a job begins is then fixed, and a coordinator that does
    /// not know a new partition yet refuses it here instead of storing half a seal.
    fn refresh(&mut self, now: Millis) -> Option<Order> {
        if self.is_refreshing() || self.pause.until > now {
            return None;
        }
        let busy = |state: &Partition| match &state.place {
            Place::Unknown => true,
            Place::In(id) => self.batches.get(id).is_none_or(|batch| batch.is_committing()),
            Place::Idle | Place::Halted(_) => false,
        };
        let is_old = |at: Millis| self.options.refresh_ms > 0 && now.saturating_sub(at) >= self.options.refresh_ms;
        let old = self
            .partitions
            .iter()
            .filter(|(_, state)| state.offset >= 0 && state.written_at.is_none_or(is_old) && !busy(state));
        let entries: Vec<_> =
            old.map(|(partition, state)| (*partition, state.offset, state.metadata.clone())).collect();
        if entries.is_empty() {
            return None;
        }
        let partitions = entries.iter().map(|(partition, ..)| *partition).collect();
        Some(self.commit(Purpose::Refresh(partitions), entries))
    }

    /// Begins a batch with every idle partition.
    fn begin(&mut self, now: Millis) -> Option<Order> {
        let waiting = self.batches.values().any(|batch| matches!(batch.phase, Phase::Write | Phase::Writing));
        if self.draining || waiting || self.pause.until > now {
            return None;
        }
        let idle: BTreeMap<i32, Range> = self
            .partitions
            .iter()
            .filter(|(_, state)| state.place == Place::Idle && state.written_at.is_some())
            .map(|(partition, state)| (*partition, Range { begin: state.offset, end: state.offset }))
            .collect();
        if idle.is_empty() {
            return None;
        }
        let id = self.batch_id();
        self.place(idle.keys().copied(), &Place::In(id));
        let batch = self.batches.entry(id).or_insert_with(|| Batch::new(idle));
        batch.phase = Phase::Writing;
        Some(Order::Write(batch.write_order(id)))
    }

    fn is_refreshing(&self) -> bool {
        self.commits.values().any(|purpose| matches!(purpose, Purpose::Refresh(_)))
    }

    /// When to call [`Delivery::poll_order`] again though nothing has come in: always later than `now`, since what is due and
    /// was not given out waits for an answer.
    pub fn poll_timeout(&self, now: Millis) -> Option<Millis> {
        if self.over.is_some() || self.fetch == Fetch::Out {
            return None;
        }
        let refresh = (self.options.refresh_ms > 0).then(|| {
            let oldest = self.partitions.values().filter_map(|state| state.written_at).min();
            oldest.map(|at| at.saturating_add(self.options.refresh_ms))
        });
        let batches = self.batches.values().filter_map(Batch::poll_timeout);
        batches.chain([self.pause.until]).chain(refresh.flatten()).filter(|at| *at > now).min()
    }

    /// The next thing worth telling.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The smallest number that is free: a machine that runs for years never comes to the end of them.
    fn batch_id(&self) -> BatchId {
        (0..).map(BatchId).find(|id| !self.batches.contains_key(id)).unwrap_or(BatchId(u32::MAX))
    }

    fn place(&mut self, partitions: impl Iterator<Item = i32>, place: &Place) {
        for partition in partitions {
            if let Some(state) = self.partitions.get_mut(&partition) {
                state.place = place.clone();
            }
        }
    }

    /// Its partitions are idle again, where they stood.
    fn dissolve(&mut self, id: BatchId) {
        if let Some(batch) = self.batches.remove(&id) {
            self.place(batch.ranges.keys().copied(), &Place::Idle);
        }
    }

    fn halt(&mut self, partition: i32, cause: HaltCause) {
        self.place(std::iter::once(partition), &Place::Halted(cause.clone()));
        self.events.push_back(Event::Halted { partition, cause });
    }

    fn halt_batch(&mut self, id: BatchId, cause: &HaltCause) {
        if let Some(batch) = self.batches.remove(&id) {
            for partition in batch.ranges.into_keys() {
                self.halt(partition, cause.clone());
            }
        }
    }
}
