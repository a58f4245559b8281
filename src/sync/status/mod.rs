//! What a continuous job tells about itself while it runs: written by its lanes once a batch of records, and by its delivery
//! at every step; read by whoever shows it.
//!
//! Times are milliseconds since 1970, given by the writer. Nothing here decides anything.

mod bounded;
mod cluster;
mod group;
mod health;
mod history;
#[cfg(test)]
mod tests;
mod view;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use history::{History, Sample};

use super::stall::{Stage, StageBoard, StageTimes};
use super::stats::{Snapshot, Stats};
use super::step::{BatchState, Range};
use crate::job::JobSpec;

pub use cluster::{ClusterView, GroupLagView, TopicLagView, TopicView};
pub use group::{BrokerView, GroupView, MemberView, RebalanceView};
pub use health::{Health, HealthWord, Now};
pub use history::{BusiestView, RateView, RatesView, SAMPLE_MS};
pub use view::{
    BatchView, DirtyView, FaultView, JobView, LagView, MemoryView, PartitionView, ReasonView, SessionView, StageView,
    ToldView, TotalsView,
};

/// Milliseconds since 1970.
pub type UnixMillis = i64;

/// Dirty records are counted by reason; beyond so many reasons they are counted together.
const REASONS_MAX: usize = 50;

/// How far the life of a job is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Life {
    /// One end, or both, is not there yet; the text says why, once a try has failed.
    Connecting(Option<String>),
    /// Joins its group.
    Joining,
    /// Has partitions, or knows that the others have them all.
    Running,
    /// Brings what is under way to its end.
    Draining,
    /// Is over; with the error, if there was one.
    Ended(Option<String>),
}

/// What the next batch is waiting for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// No batch is being written.
    Nothing,
    /// There is nothing to read.
    CaughtUp,
    /// There are records, and more are waited for until the commit is due.
    Gathering {
        /// When it is due at the latest.
        until: UnixMillis,
    },
    /// Records are read and sent.
    Writing,
}

/// What stays as it is while the job runs.
#[derive(Clone, Debug, PartialEq)]
pub struct JobFacts {
    /// The job's name.
    pub name: String,
    /// Bootstrap addresses.
    pub bootstrap: Vec<String>,
    /// The topic.
    pub topic: String,
    /// The group.
    pub group: String,
    /// The project.
    pub project: String,
    /// The table.
    pub table: String,
    /// The table's partition as the job writes it; empty for none.
    pub partition: String,
    /// Bytes that the job may hold; none where it has no limit of its own.
    pub memory_max: Option<u64>,
    /// Dirty records that a commit may have.
    pub dirty_max: Option<u64>,
    /// The same as a share of the records read.
    pub dirty_share_max: Option<f64>,
}

impl JobFacts {
    fn of(spec: &JobSpec) -> Self {
        let (reader, writer) = (&spec.reader, &spec.writer);
        Self {
            name: spec.name.clone(),
            bootstrap: reader.servers.clone(),
            topic: reader.topic.clone(),
            group: reader.group.clone().unwrap_or_else(|| format!("forebay-{}", spec.name)),
            project: writer.connection.project.clone(),
            table: writer.table.clone(),
            partition: writer.partition.clone(),
            memory_max: spec.memory_max,
            dirty_max: spec.settings.dirty_limit.records,
            dirty_share_max: spec.settings.dirty_limit.percentage,
        }
    }
}

/// One job's word on itself. Shared by all that write it.
#[derive(Debug)]
pub struct JobStatus {
    facts: JobFacts,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    life: Life,
    since: UnixMillis,
    /// Whether a person has paused it.
    is_paused: bool,
    /// Whether it has had partitions and their offsets, or no partition, at least once in this life.
    ready: bool,
    reading: Reading,
    /// When a record was read, a piece was taken by the service or an offset moved last.
    progress_at: UnixMillis,
    owned: Vec<i32>,
    partitions: BTreeMap<i32, Partition>,
    /// Whether it is a run and no agent's job: without batches, and members of a group.
    is_run: bool,
    /// Whether the job ends at ends that are known, however far the logs go on.
    ends_are_fixed: bool,
    /// Of batches that are over.
    counted: Snapshot,
    times: StageTimes,
    batch: Option<Batch>,
    batches: Vec<BatchState>,
    committing_since: Option<UnixMillis>,
    commit_times: StageTimes,
    rows_committed: u64,
    commits: u64,
    last_commit_at: Option<UnixMillis>,
    sessions_opened: BTreeMap<String, (String, UnixMillis)>,
    faults: BTreeMap<(FaultKind, &'static str, String), u64>,
    dirty_reasons: BTreeMap<String, u64>,
    last_error: Option<(UnixMillis, String)>,
    /// When the first failure since the last commit was, and in which stage the last one was.
    failing: Option<(UnixMillis, &'static str)>,
    group: GroupView,
    brokers: Vec<BrokerView>,
    history: History,
    cluster: cluster::Cluster,
}

/// Whether something failed, or was tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// An error.
    Error,
    /// A repetition.
    Retry,
}

/// A batch that is being written.
#[derive(Debug)]
struct Batch {
    since: UnixMillis,
    stats: Arc<Stats>,
    stages: Arc<StageBoard>,
}

/// What is known of a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Partition {
    leader: Option<i32>,
    replicas: Vec<i32>,
    in_sync: Vec<i32>,
    log_start: Option<i64>,
    /// The end that the job's isolation level can reach.
    end: Option<i64>,
    high_watermark: Option<i64>,
    position: Option<i64>,
    sealed: Option<i64>,
    committed: Option<i64>,
    committed_at: Option<UnixMillis>,
    /// Timestamps of the newest record that was read, and that is committed.
    read_ms: Option<i64>,
    committed_ms: Option<i64>,
    records: u64,
    bytes: u64,
    halted: Option<String>,
    error: Option<(UnixMillis, String)>,
}

/// What a lane has read of one partition since it told last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// Records.
    pub records: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
    /// The next offset.
    pub position: i64,
    /// As the broker said in its answer; negative for not said.
    pub high_watermark: i64,
    /// Likewise.
    pub log_start: i64,
    /// The end that can be reached, likewise.
    pub end: i64,
    /// The largest timestamp of a record; negative for none.
    pub newest_ms: i64,
}

/// What the cluster says of a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placed {
    /// The leading node.
    pub leader: Option<i32>,
    /// Nodes that hold it.
    pub replicas: Vec<i32>,
    /// Those that have all of it.
    pub in_sync: Vec<i32>,
    /// Why it cannot be read at present.
    pub error: Option<String>,
}

impl JobStatus {
    /// The status of a job that has just been started.
    pub fn new(spec: &JobSpec, now: UnixMillis) -> Self {
        Self::of_facts(JobFacts::of(spec), now)
    }

    fn of_facts(facts: JobFacts, now: UnixMillis) -> Self {
        let state = State {
            life: Life::Connecting(None),
            since: now,
            is_paused: false,
            ready: false,
            reading: Reading::Nothing,
            progress_at: now,
            owned: Vec::new(),
            partitions: BTreeMap::new(),
            is_run: false,
            ends_are_fixed: false,
            counted: Snapshot::default(),
            times: StageTimes::default(),
            batch: None,
            batches: Vec::new(),
            committing_since: None,
            commit_times: StageTimes::default(),
            rows_committed: 0,
            commits: 0,
            last_commit_at: None,
            sessions_opened: BTreeMap::new(),
            faults: BTreeMap::new(),
            dirty_reasons: BTreeMap::new(),
            last_error: None,
            failing: None,
            group: GroupView::default(),
            brokers: Vec::new(),
            history: History::default(),
            cluster: cluster::Cluster::default(),
        };
        Self { facts, state: Mutex::new(state) }
    }

    /// What stays as it is.
    pub const fn facts(&self) -> &JobFacts {
        &self.facts
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is whole by itself; a panic elsewhere does not damage it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its life has got so far.
    pub fn live(&self, life: Life, now: UnixMillis) {
        let mut state = self.state();
        if std::mem::discriminant(&state.life) != std::mem::discriminant(&life) {
            (state.since, state.progress_at) = (now, now);
        }
        if let Life::Connecting(Some(why)) | Life::Ended(Some(why)) = &life {
            state.last_error = Some((now, why.clone()));
        }
        if let Life::Ended(_) = life {
            state.ready = false;
            state.reading = Reading::Nothing;
            state.batches.clear();
        }
        state.life = life;
    }

    /// A person has paused it.
    pub fn pause(&self) {
        self.state().is_paused = true;
    }

    /// Something went wrong that the job goes on after.
    pub fn fail(&self, stage: &'static str, code: &str, text: &str, now: UnixMillis) {
        let mut state = self.state();
        state.last_error = Some((now, text.to_owned()));
        let since = state.failing.map_or(now, |(since, _)| since);
        state.failing = Some((since, stage));
        let count = state.faults.entry((FaultKind::Error, stage, code.to_owned())).or_default();
        *count = count.saturating_add(1);
    }

    /// Something is tried again.
    pub fn retry(&self, stage: &'static str, code: &str) {
        let mut state = self.state();
        let count = state.faults.entry((FaultKind::Retry, stage, code.to_owned())).or_default();
        *count = count.saturating_add(1);
    }

    /// A record could not become a row, for a reason of which there are few.
    pub fn dirty(&self, reason: &str) {
        let mut state = self.state();
        let known = state.dirty_reasons.contains_key(reason) || state.dirty_reasons.len() < REASONS_MAX;
        let count = state.dirty_reasons.entry(if known { reason } else { "other" }.to_owned()).or_default();
        *count = count.saturating_add(1);
    }

    /// The partitions of this generation. What is known of others is forgotten.
    pub fn assign(&self, owned: &[i32], now: UnixMillis) {
        let mut state = self.state();
        state.owned = owned.to_vec();
        state.partitions.retain(|partition, _| owned.contains(partition));
        for partition in owned {
            let known = state.partitions.entry(*partition).or_default();
            (known.position, known.sealed, known.halted) = (None, None, None);
        }
        state.progress_at = now;
        // Nothing is to be fetched where the others have it all.
        state.ready |= owned.is_empty();
        state.batches.clear();
    }

    /// The partitions of this generation.
    pub fn owned(&self) -> Vec<i32> {
        self.state().owned.clone()
    }

    /// What the next batch waits for.
    pub fn reading(&self, reading: Reading, now: UnixMillis) {
        let mut state = self.state();
        if state.reading != reading && (reading == Reading::Writing || state.reading != Reading::Writing) {
            state.progress_at = now;
        }
        if reading == Reading::CaughtUp {
            state.failing = None;
        }
        state.reading = reading;
    }

    /// A batch is being written: its counters from here on. They are folded into the job's by [`JobStatus::batch_over`].
    pub fn batch_begun(&self, stats: &Arc<Stats>, stages: &Arc<StageBoard>, now: UnixMillis) {
        self.reading(Reading::Writing, now);
        self.state().batch = Some(Batch { since: now, stats: Arc::clone(stats), stages: Arc::clone(stages) });
    }

    /// The batch's writing is over, however it ended; only sessions of these ids are of use any more.
    pub fn batch_over(&self, times: &StageTimes, sealed: &[String]) {
        let mut state = self.state();
        if let Some(batch) = state.batch.take() {
            state.counted = state.counted.plus(&batch.stats.snapshot());
            state.times.merge(times);
        }
        let still = |id: &String| {
            sealed.contains(id) || state.batches.iter().any(|b| b.sessions.iter().any(|s| s.upload_id == *id))
        };
        let gone: Vec<String> = state.sessions_opened.keys().filter(|id| !still(id)).cloned().collect();
        for id in gone {
            state.sessions_opened.remove(&id);
        }
        state.reading = Reading::Nothing;
    }

    /// A lane has read a batch of records.
    pub fn read(&self, partition: i32, read: &Read, now: UnixMillis) {
        let mut state = self.state();
        // What is read once more is no progress.
        if state.partitions.get(&partition).is_none_or(|known| known.position < Some(read.position)) {
            state.progress_at = now;
        }
        let ends_are_fixed = state.ends_are_fixed;
        let known = state.partitions.entry(partition).or_default();
        known.records = known.records.saturating_add(read.records);
        known.bytes = known.bytes.saturating_add(read.bytes);
        known.position = known.position.max(Some(read.position));
        let said = |offset: i64| (offset >= 0).then_some(offset);
        known.high_watermark = known.high_watermark.max(said(read.high_watermark));
        if !ends_are_fixed {
            known.end = known.end.max(said(read.end));
        }
        known.log_start = known.log_start.max(said(read.log_start));
        known.read_ms = known.read_ms.max(said(read.newest_ms));
    }

    /// The service has taken something.
    pub fn progress(&self, now: UnixMillis) {
        self.state().progress_at = now;
    }

    /// What the cluster says of partitions.
    pub fn placed(&self, placed: impl IntoIterator<Item = (i32, Placed)>, now: UnixMillis) {
        let mut state = self.state();
        for (partition, placed) in placed {
            let Some(known) = state.partitions.get_mut(&partition) else { continue };
            (known.leader, known.replicas, known.in_sync) = (placed.leader, placed.replicas, placed.in_sync);
            if let Some(error) = placed.error {
                known.error = Some((now, error));
            }
        }
    }

    /// Where the logs begin and end, as far as this job can reach.
    pub fn ends(&self, ends: impl IntoIterator<Item = (i32, Option<i64>, Option<i64>)>) {
        let mut state = self.state();
        for (partition, start, end) in ends {
            let Some(known) = state.partitions.get_mut(&partition) else { continue };
            known.log_start = start.or(known.log_start);
            known.end = end.or(known.end);
            known.high_watermark = known.high_watermark.max(end);
        }
    }

    /// How the delivery stands: what is committed, and its batches.
    pub fn delivery(&self, committed: Vec<(i32, i64)>, batches: Vec<BatchState>, now: UnixMillis) {
        let mut state = self.state();
        state.ready |= !committed.is_empty();
        for (partition, offset) in committed {
            state.partitions.entry(partition).or_default().committed = Some(offset);
        }
        let is_committing = batches.iter().any(|batch| batch.is_committing);
        match (is_committing, state.committing_since) {
            (true, None) => state.committing_since = Some(now),
            (false, Some(since)) => {
                state.commit_times.add(Stage::Commit, millis(now.saturating_sub(since)));
                state.committing_since = None;
            }
            _ => {}
        }
        for partition in state.partitions.values_mut() {
            partition.sealed = None;
        }
        for batch in batches.iter().filter(|batch| batch.is_committing) {
            for (partition, range) in &batch.ranges {
                state.partitions.entry(*partition).or_default().sealed = Some(range.end);
            }
        }
        // A batch that is over has no use for its sessions.
        let ids = |batches: &[BatchState]| -> Vec<String> {
            batches.iter().flat_map(|batch| &batch.sessions).map(|session| session.upload_id.clone()).collect()
        };
        let now_known = ids(&batches);
        for gone in ids(&state.batches).iter().filter(|id| !now_known.contains(id)) {
            state.sessions_opened.remove(gone);
        }
        state.batches = batches;
    }

    /// A batch is in the table, and the group's offsets have moved past it.
    pub fn advanced(&self, rows: u64, ranges: &BTreeMap<i32, Range>, now: UnixMillis) {
        let mut state = self.state();
        state.rows_committed = state.rows_committed.saturating_add(rows);
        state.commits = state.commits.saturating_add(1);
        (state.last_commit_at, state.progress_at) = (Some(now), now);
        state.failing = None;
        for (partition, range) in ranges {
            let known = state.partitions.entry(*partition).or_default();
            known.committed = Some(range.end);
            known.committed_at = Some(now);
            known.committed_ms = known.read_ms.or(known.committed_ms);
        }
    }

    /// A partition stands still until a person has looked.
    pub fn halted(&self, partition: i32, cause: String, now: UnixMillis) {
        let mut state = self.state();
        state.last_error = Some((now, format!("partition {partition}: {cause}")));
        let known = state.partitions.entry(partition).or_default();
        known.error = Some((now, cause.clone()));
        known.halted = Some(cause);
    }

    /// An upload session exists, since `at`.
    pub fn session(&self, id: &str, target: &str, at: UnixMillis) {
        let mut state = self.state();
        state.sessions_opened.entry(id.to_owned()).or_insert_with(|| (target.to_owned(), at));
    }

    /// Takes a sample for the rates: to be called every [`SAMPLE_MS`].
    pub fn sample(&self, now: Now) {
        let mut state = self.state();
        let (counters, times, lag) = (state.counters(), state.stage_times(now), state.lag());
        let stage_ms = Stage::ALL.map(|stage| u64::try_from(times.of(stage).as_millis()).unwrap_or(u64::MAX));
        let (records, bytes, committed) = (counters.records_read, counters.bytes_read, state.rows_committed);
        state.history.push(Sample { at: now.wall, records, bytes, committed, lag, stage_ms });
    }

    /// A rebalance has ended.
    pub fn rebalanced(&self, rebalance: RebalanceView) {
        self.state().group.rebalanced(rebalance);
    }

    /// What the coordinator says of the group.
    pub fn group(&self, state: &str, assignor: &str, coordinator: i32, members: Vec<MemberView>) {
        self.state().group.described(state, assignor, coordinator, members);
    }

    /// The brokers and what they answered.
    pub fn brokers(&self, brokers: Vec<BrokerView>) {
        self.state().brokers = brokers;
    }
}

fn millis(ms: i64) -> std::time::Duration {
    std::time::Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}
