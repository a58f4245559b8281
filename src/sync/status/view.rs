//! A job's status as it is shown: plain values, written as JSON.
//!
//! Only facts with their times, and nothing that changes because time goes by: so a reader that has seen it can be told that
//! it is still the same.

use std::time::Duration;

use serde::Serialize;

use super::health::{Health, Now};
use super::history::RatesView;
use super::{BrokerView, FaultKind, GroupView, JobStatus, Life, Partition, Reading, State, UnixMillis};
use crate::sync::budget::Budget;
use crate::sync::stall::{Stage, StageTimes};
use crate::sync::stats::Snapshot;

/// One job.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JobView {
    /// Its name.
    pub name: String,
    /// How it is.
    pub health: Health,
    /// Whether it is at work: both ends are there, and the group's offsets.
    pub ready: bool,
    /// Bootstrap addresses.
    pub bootstrap: Vec<String>,
    /// The topic.
    pub topic: String,
    /// The group.
    pub group_id: String,
    /// The project.
    pub project: String,
    /// The table.
    pub table: String,
    /// The table's partition as the job writes it; empty for none.
    pub partition: String,
    /// What it has done since it started.
    pub totals: TotalsView,
    /// How fast it is.
    pub rates: RatesView,
    /// Dirty records.
    pub dirty: DirtyView,
    /// What is not in the table yet.
    pub lag: LagView,
    /// Where its time goes.
    pub stages: Vec<StageView>,
    /// The batch that is being written, and those on their way into the table.
    pub batches: Vec<BatchView>,
    /// Open upload sessions.
    pub sessions: Vec<SessionView>,
    /// The consumer group.
    pub group: GroupView,
    /// The brokers.
    pub brokers: Vec<BrokerView>,
    /// What it may hold and what it holds.
    pub memory: MemoryView,
    /// Failures and repetitions, by stage and code.
    pub faults: Vec<FaultView>,
    /// The last failure.
    pub last_error: Option<ToldView>,
    /// How many partitions it has.
    pub partitions: usize,
    /// How many of them stand still until a person has looked.
    pub halted: usize,
}

/// Counters since the start; each only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TotalsView {
    /// Records read, those read again included.
    pub records_read: u64,
    /// Bytes of their keys and values.
    pub bytes_read: u64,
    /// Rows encoded.
    pub rows_sent: u64,
    /// Bytes of blocks sent.
    pub bytes_sent: u64,
    /// Rows in the table.
    pub rows_committed: u64,
    /// Commits.
    pub commits: u64,
    /// When the last one was.
    pub last_commit_ms: Option<UnixMillis>,
    /// Blocks that were sent again.
    pub blocks_resent: u64,
    /// Values that are no JSON although the job names members.
    pub non_json_values: u64,
    /// Values whose bytes their charset does not have.
    pub malformed_text_values: u64,
    /// Values that were cut or left out for their length.
    pub over_length_values: u64,
}

/// Dirty records.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DirtyView {
    /// Since the start.
    pub records: u64,
    /// In the batch that is being written, to which the limit applies.
    pub in_batch: u64,
    /// More than so many in a batch end the job; none for no such limit.
    pub limit: Option<u64>,
    /// More than this share of a batch ends the job.
    pub share_limit: Option<f64>,
    /// By reason: the column that the value does not fit.
    pub reasons: Vec<ReasonView>,
}

/// One reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReasonView {
    /// The reason.
    pub reason: String,
    /// How many.
    pub count: u64,
}

/// What is not in the table yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LagView {
    /// Records between the group's offsets and the ends of the log; none before both are known.
    pub records: Option<u64>,
    /// Records that were read and are not in the table.
    pub in_flight: u64,
    /// The timestamp of the newest record in the table, of the partition that is furthest behind.
    pub newest_committed_ms: Option<i64>,
}

/// Time in a stage, summed over lanes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct StageView {
    /// The stage.
    pub stage: &'static str,
    /// Whether the time is work of this process; else somebody is waited for.
    pub is_work: bool,
    /// Milliseconds since the start.
    pub ms: u64,
}

/// A batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BatchView {
    /// What is done with it.
    pub phase: String,
    /// Since when it is being written.
    pub since_ms: Option<UnixMillis>,
    /// Records read so far.
    pub records: u64,
    /// Partitions in it.
    pub partitions: usize,
    /// Whether an earlier generation has begun it.
    pub recovered: bool,
}

/// An upload session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SessionView {
    /// Its id.
    pub id: String,
    /// The table partition; empty for none.
    pub target: String,
    /// When it was made, as far as known.
    pub opened_ms: Option<UnixMillis>,
    /// What is done with it.
    pub state: &'static str,
    /// Its blocks, once it is sealed.
    pub blocks: Option<u32>,
    /// Its rows, likewise.
    pub rows: Option<u64>,
    /// Whether the group's metadata holds the intent to commit it.
    pub sealed: bool,
}

/// Memory of a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MemoryView {
    /// What it may hold.
    pub limit_bytes: u64,
    /// Whether the job says so; else it is what a job without a limit takes.
    pub is_set: bool,
    /// Answers of brokers and what was decompressed from them.
    pub fetch_bytes: u64,
    /// Rows on their way.
    pub rows_bytes: u64,
}

/// Failures or repetitions of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FaultView {
    /// `error` or `retry`.
    pub kind: &'static str,
    /// The stage.
    pub stage: &'static str,
    /// The code.
    pub code: String,
    /// How many.
    pub count: u64,
}

/// Something that was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ToldView {
    /// When.
    pub at_ms: UnixMillis,
    /// What.
    pub text: String,
}

/// One partition of the topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartitionView {
    /// Its number.
    pub partition: i32,
    /// What is done with it.
    pub state: &'static str,
    /// The leading node.
    pub leader: Option<i32>,
    /// Nodes that hold it.
    pub replicas: Vec<i32>,
    /// Those that have all of it.
    pub in_sync: Vec<i32>,
    /// Where the log begins.
    pub log_start: Option<i64>,
    /// The group's offset.
    pub committed: Option<i64>,
    /// Up to where rows are sealed, on their way into the table.
    pub sealed: Option<i64>,
    /// Up to where records were read.
    pub position: Option<i64>,
    /// The end that can be read.
    pub end: Option<i64>,
    /// The end of the log.
    pub high_watermark: Option<i64>,
    /// Records that are not in the table.
    pub lag: Option<u64>,
    /// Records that were read and are not in the table.
    pub in_flight: u64,
    /// Records read since the start.
    pub records: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// When the offset moved last.
    pub committed_at_ms: Option<UnixMillis>,
    /// The timestamp of the newest record in the table.
    pub newest_committed_ms: Option<i64>,
    /// Its last failure.
    pub last_error: Option<ToldView>,
}

impl State {
    /// Records between the group's offsets and the ends.
    pub(super) fn lag(&self) -> Option<u64> {
        let lags = self.owned.iter().map(|partition| self.partitions.get(partition).and_then(Partition::lag));
        lags.sum()
    }

    pub(super) fn counters(&self) -> Snapshot {
        match &self.batch {
            Some(batch) => self.counted.plus(&batch.stats.snapshot()),
            None => self.counted,
        }
    }

    pub(super) fn stage_times(&self, now: Now) -> StageTimes {
        let mut times = self.times;
        if let Some(batch) = &self.batch {
            times.merge(&batch.stages.times(now.instant));
        }
        times.merge(&self.commit_times);
        if let Some(since) = self.committing_since {
            times.add(Stage::Commit, super::millis(now.wall.saturating_sub(since)));
        }
        times
    }

    fn batch_views(&self) -> Vec<BatchView> {
        let read = self.batch.as_ref().map(|batch| (batch.since, batch.stats.snapshot().records_read));
        let view = |batch: &crate::sync::step::BatchState| {
            let writing = read.filter(|_| !batch.is_committing);
            let phase = match self.reading {
                Reading::CaughtUp if !batch.is_committing => "waiting for records",
                Reading::Gathering { .. } if !batch.is_committing => "gathering records",
                _ => batch.phase,
            };
            BatchView {
                phase: phase.to_owned(),
                since_ms: writing.map(|(since, _)| since),
                records: writing.map_or_else(|| batch.sessions.iter().map(|s| s.rows).sum(), |(_, records)| records),
                partitions: batch.ranges.len(),
                recovered: batch.recovered,
            }
        };
        self.batches.iter().map(view).collect()
    }

    fn session_views(&self) -> Vec<SessionView> {
        let mut views: Vec<SessionView> = Vec::new();
        for sealed in self.batches.iter().flat_map(|batch| &batch.sessions) {
            views.push(SessionView {
                id: sealed.upload_id.clone(),
                target: sealed.target.clone(),
                opened_ms: self.sessions_opened.get(&sealed.upload_id).map(|(_, at)| *at),
                state: sealed.fate,
                blocks: Some(sealed.blocks),
                rows: Some(sealed.rows),
                sealed: true,
            });
        }
        for (id, (target, at)) in &self.sessions_opened {
            if views.iter().all(|view| view.id != *id) {
                views.push(SessionView {
                    id: id.clone(),
                    target: target.clone(),
                    opened_ms: Some(*at),
                    state: "open",
                    blocks: None,
                    rows: None,
                    sealed: false,
                });
            }
        }
        views
    }
}

impl Partition {
    fn lag(&self) -> Option<u64> {
        Some(u64::try_from(self.end?.saturating_sub(self.committed?)).unwrap_or(0))
    }

    fn in_flight(&self) -> u64 {
        let ahead = self
            .position
            .max(self.sealed)
            .zip(self.committed)
            .map(|(ahead, committed)| ahead.saturating_sub(committed));
        ahead.and_then(|records| u64::try_from(records).ok()).unwrap_or(0)
    }

    fn state(&self, number: i32, state: &State) -> &'static str {
        if self.halted.is_some() {
            return "halted";
        }
        let batch = state.batches.iter().find(|batch| batch.ranges.contains_key(&number));
        match (batch, &state.reading) {
            (Some(batch), _) if batch.is_committing => batch.phase,
            (Some(_), Reading::CaughtUp) => "caught up",
            (Some(_), Reading::Gathering { .. }) => "gathering",
            (Some(batch), _) => batch.phase,
            (None, _) if self.committed.is_none() => "unknown",
            (None, _) => "idle",
        }
    }

    fn view(&self, number: i32, state: &State) -> PartitionView {
        PartitionView {
            partition: number,
            state: self.state(number, state),
            leader: self.leader,
            replicas: self.replicas.clone(),
            in_sync: self.in_sync.clone(),
            log_start: self.log_start,
            committed: self.committed,
            sealed: self.sealed,
            position: self.position.max(self.committed),
            end: self.end,
            high_watermark: self.high_watermark,
            lag: self.lag(),
            in_flight: self.in_flight(),
            records: self.records,
            bytes: self.bytes,
            committed_at_ms: self.committed_at,
            newest_committed_ms: self.committed_ms,
            last_error: self.error.clone().map(|(at_ms, text)| ToldView { at_ms, text }),
        }
    }
}

impl JobStatus {
    /// The job as it is now; it stalls after `patience` without getting on.
    pub fn view(&self, now: Now, patience: Duration) -> JobView {
        let state = self.state();
        let facts = &self.facts;
        let counters = state.counters();
        let times = state.stage_times(now);
        let owned: Vec<&Partition> =
            state.owned.iter().filter_map(|partition| state.partitions.get(partition)).collect();
        let behind = owned.iter().filter(|partition| partition.lag() != Some(0));
        let (fetch, rows) = state.batch.as_ref().map_or((0, 0), |batch| batch.stages.held());
        let stage = |stage: &Stage| StageView {
            stage: stage.label(),
            is_work: stage.is_work(),
            ms: u64::try_from(times.of(*stage).as_millis()).unwrap_or(u64::MAX),
        };
        JobView {
            name: facts.name.clone(),
            health: self.health_of(&state, now, patience),
            ready: state.ready && state.life == Life::Running,
            bootstrap: facts.bootstrap.clone(),
            topic: facts.topic.clone(),
            group_id: facts.group.clone(),
            project: facts.project.clone(),
            table: facts.table.clone(),
            partition: facts.partition.clone(),
            totals: TotalsView {
                records_read: counters.records_read,
                bytes_read: counters.bytes_read,
                rows_sent: counters.rows_encoded,
                bytes_sent: counters.bytes_sent,
                rows_committed: state.rows_committed,
                commits: state.commits,
                last_commit_ms: state.last_commit_at,
                blocks_resent: counters.blocks_resent,
                non_json_values: counters.non_json_values,
                malformed_text_values: counters.malformed_text_values,
                over_length_values: counters.over_length_values,
            },
            rates: state.history.view(),
            dirty: DirtyView {
                records: counters.dirty_records,
                in_batch: state.batch.as_ref().map_or(0, |batch| batch.stats.dirty_records()),
                limit: facts.dirty_max,
                share_limit: facts.dirty_share_max,
                reasons: (state.dirty_reasons.iter())
                    .map(|(reason, count)| ReasonView { reason: reason.clone(), count: *count })
                    .collect(),
            },
            lag: LagView {
                records: state.lag(),
                in_flight: owned.iter().map(|partition| partition.in_flight()).sum(),
                newest_committed_ms: behind.filter_map(|partition| partition.committed_ms).min(),
            },
            stages: Stage::ALL.iter().map(stage).collect(),
            batches: state.batch_views(),
            sessions: state.session_views(),
            group: state.group.clone(),
            brokers: state.brokers.clone(),
            memory: MemoryView {
                limit_bytes: facts.memory_max.unwrap_or(Budget::UNLIMITED_TAKES),
                is_set: facts.memory_max.is_some(),
                fetch_bytes: u64::try_from(fetch).unwrap_or(u64::MAX),
                rows_bytes: u64::try_from(rows).unwrap_or(u64::MAX),
            },
            faults: (state.faults.iter())
                .map(|((kind, stage, code), count)| FaultView {
                    kind: match kind {
                        FaultKind::Error => "error",
                        FaultKind::Retry => "retry",
                    },
                    stage,
                    code: code.clone(),
                    count: *count,
                })
                .collect(),
            last_error: state.last_error.clone().map(|(at_ms, text)| ToldView { at_ms, text }),
            partitions: state.owned.len(),
            halted: owned.iter().filter(|partition| partition.halted.is_some()).count(),
        }
    }

    /// Its partitions, in order.
    pub fn partitions(&self) -> Vec<PartitionView> {
        let state = self.state();
        let owned = state.owned.iter().filter_map(|number| Some((*number, state.partitions.get(number)?)));
        owned.map(|(number, partition)| partition.view(number, &state)).collect()
    }
}
