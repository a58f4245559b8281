//! `mode = "stream"`: rows are visible seconds after their records, through a stream session instead of a batch session.
//!
//! At least once: a pack whose answer was lost is sent again, and records whose offsets were not committed yet are read again
//! by the next run. Offsets are committed after the packs with their rows were acknowledged, never before. There is no commit
//! at the end and no way back: rows that were sent stay when the run fails later.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Zoned;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::connect::{budget, compression, config, consumer_config, kafka_failure, tunnel_failure};
use super::convert::Converter;
use super::dead_letters::DeadLetterBox;
use super::dirty;
use super::end::{EndRule, Ended};
use super::error::{RunError, RunErrorKind, StopCause, TargetState};
use super::lane::{Shared, wall_clock};
use super::ledger::{BlockContent, Ledger};
use super::plan::{PartitionRange, Target};
use super::prepare::Prepared;
use super::rate::RateLimit;
use super::run::{self, RunOptions};
use super::stall::{Stage, StageBoard};
use super::stats::{Delta, Stats};
use super::summary::{OffsetsOutcome, PartitionSummary, Summary};
use crate::job::JobSpec;
use crate::kafka::record::{Decompressor, Record};
use crate::kafka::{self, Client, Consumer, ConsumerConfig, Fetched, OffsetToCommit};
use crate::limits::FIELD_BYTES_MAX;
use crate::tunnel::session::PackLimits;
use crate::tunnel::{Pack, PartitionSpec, StreamOptions, StreamUpload, TableSchema};

/// A pack is sent when it has this many bytes; the sum of all packs of a lane is bounded by it.
pub(super) const PACK_BYTES: usize = 4 * 1024 * 1024;

/// A pack is sent when its first row is this old.
pub(super) const PACK_AGE: Duration = Duration::from_secs(1);

/// Least time between two commits of a lane's offsets.
const COMMIT_EVERY: Duration = Duration::from_secs(1);

/// One lane of a stream job: its partitions, and a pack for each target that its rows go to.
#[derive(Debug)]
pub(super) struct StreamLane {
    pub(super) number: usize,
    pub(super) client: Client,
    pub(super) consumer_config: ConsumerConfig,
    /// Largest decompressed batch.
    pub(super) batch_bytes: usize,
    pub(super) converter: Converter,
    pub(super) stream: StreamUpload,
    pub(super) shared: Arc<Shared>,
    pub(super) targets_max: usize,
    /// The group that offsets are committed to; none when the job has none or does not want it.
    pub(super) group: Option<String>,
    pub(super) pack_bytes: usize,
    /// Records after which a speed limit is charged, so that no single pause is long.
    pub(super) slice_records: u64,
    /// The same in bytes.
    pub(super) slice_bytes: u64,
    /// Turns true when the lane is to send what it has and end.
    pub(super) drain: watch::Receiver<bool>,
}

/// What waits in a lane.
#[derive(Debug, Default)]
struct Waiting {
    packs: BTreeMap<String, Pack>,
    bytes: usize,
    since: Option<Instant>,
    /// What the packs, and those sent before, hold of each partition.
    passed: BlockContent,
    committed_at: Option<Instant>,
    uncommitted: BTreeMap<i32, i64>,
}

impl StreamLane {
    /// Reads `ranges` to their ends, or until it is drained, and gives the account of what was acknowledged.
    pub(super) async fn run(self, ranges: Vec<PartitionRange>) -> Result<Ledger, RunError> {
        let mut ledger = Ledger::new(ranges.iter().map(|range| (range.partition, range.begin)));
        let starts: Vec<(i32, i64)> = ranges
            .iter()
            .filter(|range| !self.shared.end().reached(range.partition))
            .map(|range| (range.partition, range.begin))
            .collect();
        let mut consumer = Consumer::of_topic(&self.client, self.consumer_config.clone(), &self.shared.topic, &starts);
        let mut open: Vec<i32> = starts.iter().map(|(partition, _)| *partition).collect();
        let mut decompressor = Decompressor::new(self.batch_bytes);
        let mut waiting = Waiting::default();
        loop {
            let (ended, wake) = {
                let end = self.shared.end();
                open.retain(|partition| {
                    let reached = end.reached(*partition);
                    if reached {
                        consumer.remove(&self.shared.topic, &[*partition]);
                    }
                    !reached
                });
                (end.ended(Instant::now()).is_some(), end.poll_timeout())
            };
            if ended || open.is_empty() || self.is_drained() {
                break;
            }
            let changed = self.shared.end_changed.notified();
            let now = Instant::now();
            let due = waiting.since.map(|since| since + PACK_AGE);
            let commit =
                (!waiting.uncommitted.is_empty()).then(|| waiting.committed_at.map_or(now, |at| at + COMMIT_EVERY));
            let soonest = [wake.filter(|at| *at > now), due, commit, Some(now + Duration::from_secs(10))];
            let soonest = soonest.into_iter().flatten().min().unwrap_or(now);
            self.shared.stages.enter(self.number, Stage::Source, now, format!("topic {}", self.shared.topic));
            let mut drain = self.drain.clone();
            tokio::select! {
                fetched = consumer.next() => {
                    self.shared.stats.add_reader_wait(now.elapsed());
                    let fetched = fetched.map_err(|error| kafka_failure(&error))?;
                    self.take(fetched, &mut decompressor, &mut waiting, &mut ledger).await?;
                }
                () = changed => {}
                () = drained(&mut drain) => {}
                () = tokio::time::sleep_until(soonest.into()) => {}
            }
            if waiting.since.is_some_and(|since| since.elapsed() >= PACK_AGE) {
                self.send(&mut waiting, &mut ledger).await?;
            }
            if waiting.committed_at.is_none_or(|at| at.elapsed() >= COMMIT_EVERY) {
                self.commit(&mut waiting).await?;
            }
        }
        self.send(&mut waiting, &mut ledger).await?;
        self.commit(&mut waiting).await?;
        self.shared.stages.leave(self.number, Instant::now());
        Ok(ledger)
    }

    fn is_drained(&self) -> bool {
        *self.drain.borrow()
    }

    async fn take(
        &self,
        mut fetched: Fetched,
        decompressor: &mut Decompressor,
        waiting: &mut Waiting,
        ledger: &mut Ledger,
    ) -> Result<(), RunError> {
        let partition = fetched.partition;
        let mut position = fetched.position();
        let log_end = match self.consumer_config.isolation {
            kafka::Isolation::ReadCommitted => fetched.last_stable_offset,
            kafka::Isolation::ReadUncommitted => fetched.high_watermark,
        };
        let mut over = false;
        while !over {
            let Some(records) = fetched.next_records(decompressor).map_err(|error| kafka_failure(&error))? else {
                break;
            };
            let mut delta = Delta::default();
            let target = self.shared.end().target(partition);
            let mut newest_ms = -1;
            for record in records.iter() {
                let record = record.map_err(|error| {
                    let topic = &self.shared.topic;
                    let message = format!("topic \"{topic}\" partition {partition}: damaged record: {error}");
                    RunError::new(RunErrorKind::SafetyStop, message)
                })?;
                if self.past_target(target, partition, &record) {
                    over = true;
                    break;
                }
                self.row(partition, &record, waiting, &mut delta)?;
                newest_ms = record.timestamp.max(newest_ms);
                if waiting.bytes >= self.pack_bytes {
                    let next = record.offset.saturating_add(1);
                    waiting.passed.extend(partition, position, next);
                    position = next;
                    self.send(waiting, ledger).await?;
                }
                if delta.records_read >= self.slice_records || delta.bytes_read >= self.slice_bytes {
                    let next = record.offset.saturating_add(1);
                    waiting.passed.extend(partition, position, next);
                    position = next;
                    self.shared.tell(&fetched, log_end, &delta, position, record.timestamp);
                    self.account(&std::mem::take(&mut delta), waiting, ledger).await?;
                }
            }
            let reached = match self.shared.end().target(partition) {
                Some(Target::Offset(offset)) => fetched.position().min(offset),
                _ => fetched.position(),
            };
            if !over {
                waiting.passed.extend(partition, position, reached);
                position = position.max(reached);
            }
            self.shared.tell(&fetched, log_end, &delta, position, newest_ms);
            self.account(&delta, waiting, ledger).await?;
        }
        if over && let Some(Target::Offset(end)) = self.shared.end().target(partition) {
            waiting.passed.extend(partition, position, end);
            position = position.max(end);
        }
        if waiting.packs.is_empty() {
            // Nothing to wait for: what was passed over may be committed.
            self.send(waiting, ledger).await?;
        }
        self.shared.end().handle_position(partition, position, log_end);
        self.shared.end_changed.notify_waiters();
        Ok(())
    }

    /// Tells the counters, and pauses where the job has a speed limit. Rows that are due do not wait for its end, nor do
    /// their offsets.
    async fn account(&self, delta: &Delta, waiting: &mut Waiting, ledger: &mut Ledger) -> Result<(), RunError> {
        let until = self.shared.account(self.number, delta).await?;
        while let Some(until) = until.filter(|until| *until > Instant::now()) {
            if self.is_drained() {
                break;
            }
            let due = waiting.since.map(|since| since + PACK_AGE);
            let soonest = due.map_or(until, |due| due.min(until));
            let mut drain = self.drain.clone();
            tokio::select! {
                () = drained(&mut drain) => {}
                () = tokio::time::sleep_until(soonest.into()) => {}
            }
            if waiting.since.is_some_and(|since| since.elapsed() >= PACK_AGE) {
                self.send(waiting, ledger).await?;
                self.commit(waiting).await?;
            }
        }
        Ok(())
    }

    fn past_target(&self, target: Option<Target>, partition: i32, record: &Record<'_>) -> bool {
        match target {
            Some(Target::Offset(offset)) => record.offset >= offset,
            Some(Target::Time(time)) if record.timestamp >= time => {
                self.shared.end().handle_target(partition, record.offset);
                true
            }
            Some(Target::Time(_)) => false,
            None => true,
        }
    }

    fn row(
        &self,
        partition: i32,
        record: &Record<'_>,
        waiting: &mut Waiting,
        delta: &mut Delta,
    ) -> Result<(), RunError> {
        let size = record.key.map_or(0, <[u8]>::len).saturating_add(record.value.map_or(0, <[u8]>::len)) as u64;
        delta.records_read = delta.records_read.saturating_add(1);
        delta.bytes_read = delta.bytes_read.saturating_add(size);
        let mut refused = None;
        let mut picked = String::new();
        let (packs, stream, targets_max) = (&mut waiting.packs, &self.stream, self.targets_max);
        let before = waiting.bytes;
        let converted = self.converter.convert_into(partition, record, delta, |key| {
            key.clone_into(&mut picked);
            if !packs.contains_key(key) {
                if packs.len() >= targets_max {
                    refused = Some(format!("the rows of a second belong to more than {targets_max} partitions"));
                    return None;
                }
                let partition = match key {
                    "" => None,
                    key => match PartitionSpec::parse(key) {
                        Ok(partition) => Some(partition),
                        Err(error) => {
                            refused = Some(error.to_string());
                            return None;
                        }
                    },
                };
                packs.insert(key.to_owned(), stream.pack(partition.as_ref()));
            }
            packs.get_mut(key).map(Pack::row)
        });
        if let Some(why) = refused {
            return Err(RunError::new(RunErrorKind::Failed, why).advise("raise dynamicPartitionsMax"));
        }
        match converted {
            Ok(_) => {
                let all: usize = match waiting.packs.len() {
                    1 => waiting.packs.values().map(Pack::bytes).sum(),
                    _ => before.saturating_add(usize::try_from(size).unwrap_or(0)).saturating_add(64),
                };
                waiting.bytes = all;
                waiting.since.get_or_insert_with(Instant::now);
                delta.rows_encoded = delta.rows_encoded.saturating_add(1);
                Ok(())
            }
            Err(reason) => self.shared.dirty(partition, record, size, delta, &reason),
        }
    }

    /// Sends all packs; what they hold is then visible, and its offsets may be committed.
    async fn send(&self, waiting: &mut Waiting, ledger: &mut Ledger) -> Result<(), RunError> {
        let mut all_rows = 0_u64;
        for (key, pack) in std::mem::take(&mut waiting.packs) {
            let (rows, bytes) = (pack.rows(), pack.bytes());
            let name = if key.is_empty() { String::new() } else { format!(" for partition {key}") };
            let on = format!("a pack of {rows} rows{name}, stream session {}", self.stream.id());
            self.shared.stages.enter(self.number, Stage::Upload, Instant::now(), on);
            let begin = Instant::now();
            let receipt = self
                .stream
                .send(pack)
                .await
                .map_err(|error| tunnel_failure(&error).with_target(TargetState::Streamed))?;
            self.shared.stats.add_writer_wait(begin.elapsed());
            self.shared.stats.add_sent(bytes);
            for _ in 1..receipt.attempts {
                self.shared.stats.add_resent_block();
            }
            all_rows = all_rows.saturating_add(rows);
            if rows > 0 {
                ledger.handle_block(&key, 0, rows);
            }
            self.shared.stages.moved(self.number, Instant::now());
        }
        (waiting.bytes, waiting.since) = (0, None);
        let passed = std::mem::take(&mut waiting.passed);
        ledger.handle_skipped(&passed).map_err(|hole| {
            let message = format!("partition {}: {} comes after {}", hole.partition, hole.found, hole.expected);
            RunError::new(RunErrorKind::Bug, message)
        })?;
        if let Some(status) = &self.shared.status {
            let ends = passed.segments().iter().map(|segment| (segment.partition, segment.end));
            status.reached(all_rows, ends, wall_clock());
        }
        for segment in passed.segments() {
            waiting.uncommitted.insert(segment.partition, segment.end);
        }
        Ok(())
    }

    /// Commits what was acknowledged. A group that refuses does not stop the rows: the next commit tries again, the last one
    /// is told.
    async fn commit(&self, waiting: &mut Waiting) -> Result<(), RunError> {
        let Some(group) = self.group.as_ref().filter(|_| !waiting.uncommitted.is_empty()) else { return Ok(()) };
        let offset = |(partition, offset): (&i32, &i64)| OffsetToCommit {
            topic: self.shared.topic.as_str().into(),
            partition: *partition,
            offset: *offset,
            leader_epoch: None,
            metadata: String::new(),
        };
        let offsets: Vec<OffsetToCommit> = waiting.uncommitted.iter().map(offset).collect();
        self.shared.stages.enter(self.number, Stage::Commit, Instant::now(), format!("offsets of group {group}"));
        waiting.committed_at = Some(Instant::now());
        match self.client.commit_offsets(group, &offsets).await {
            Ok(()) => waiting.uncommitted.clear(),
            Err(error) => {
                let failure = kafka_failure(&error).with_target(TargetState::Streamed);
                let message = format!(
                    "rows are in the table, offsets of group \"{group}\" are not committed: {}",
                    failure.message
                );
                return Err(RunError { message, ..failure });
            }
        }
        Ok(())
    }
}

/// Waits until the lane is to be drained; for ever when nobody can say so any more.
async fn drained(drain: &mut watch::Receiver<bool>) {
    // The guard that comes back must not outlive this line.
    let told = drain.wait_for(|drain| *drain).await.is_ok();
    if !told {
        std::future::pending::<()>().await;
    }
}

/// What a stream job says of itself.
pub(super) fn announce(spec: &JobSpec) {
    log::info!(
        "mode stream: rows are visible about {} s after their records, at least once; offsets follow after their rows were \
         acknowledged, and rows that were sent stay whatever happens later",
        PACK_AGE.as_secs()
    );
    if spec.reader.group.is_none() || !spec.reader.commit_offsets {
        log::warn!("no offsets are committed: a second run sends the same rows again");
    }
}

/// Streams the records of all ranges, and ends when they are read, or, without an end, when it is stopped.
pub(super) async fn run(
    spec: &JobSpec,
    options: &RunOptions,
    prepared: Prepared,
    started: Zoned,
    deadline: Option<Instant>,
    mut stop: watch::Receiver<Option<StopCause>>,
) -> Result<Summary, RunError> {
    announce(spec);
    let (reader, writer, settings) = (&spec.reader, &spec.writer, &spec.settings);
    let budget = budget(spec, prepared.plan.ranges.len());
    let lanes = budget.lanes;
    let packs = spec
        .memory_max
        .map_or(PACK_BYTES, |bytes| usize::try_from(bytes / 8).map_or(PACK_BYTES, |b| b.min(PACK_BYTES)));
    let pack_bytes = (packs / lanes).max(256 * 1024);
    let stream = run::until_stopped(&mut stop, deadline, open(spec, &prepared, pack_bytes)).await?;
    let mut schema = TableSchema::clone(&stream.schema());
    if schema.partition_keys.is_empty() {
        schema.partition_keys.clone_from(&prepared.table.schema.partition_keys);
    }
    let converter = Converter::new(reader, writer, &settings.time_zone, &schema, FIELD_BYTES_MAX)
        .map_err(|error| config(format!("table {}: {error}", writer.table)))?;
    let ranges = &prepared.plan.ranges;
    let transfer = Instant::now();
    let stats = Arc::new(Stats::default());
    let ends_when_empty = reader.stop_when_poll_empty && !spec.unbounded;
    let shared = Arc::new(Shared {
        topic: reader.topic.clone(),
        stats: Arc::clone(&stats),
        end: Mutex::new(EndRule::new(ranges, reader.wait_time, ends_when_empty, reader.old_form, transfer)),
        end_changed: Notify::new(),
        rate: Mutex::new(RateLimit::new(settings.bytes_per_second, settings.records_per_second)),
        dirty_limit: settings.dirty_limit,
        dead_letters: DeadLetterBox::of(spec, &prepared.client)?,
        stages: Arc::new(StageBoard::new(lanes)),
        status: options.status.clone(),
    });
    run::show_reading(options, ranges, &shared);
    let group = reader.group.clone().filter(|_| reader.commit_offsets);
    let (drain, draining) = watch::channel(false);
    let mut running = JoinSet::new();
    for number in 0..lanes {
        let lane = StreamLane {
            number,
            client: prepared.client.clone(),
            consumer_config: consumer_config(spec, &budget),
            batch_bytes: budget.batch_bytes,
            converter: converter.clone(),
            stream: stream.clone(),
            shared: Arc::clone(&shared),
            targets_max: writer.routing.partitions_max as usize,
            group: group.clone(),
            pack_bytes,
            slice_records: run::slice(settings.records_per_second),
            slice_bytes: run::slice(settings.bytes_per_second),
            drain: draining.clone(),
        };
        let own: Vec<PartitionRange> = ranges.iter().skip(number).step_by(lanes).copied().collect();
        running.spawn(lane.run(own));
    }
    let all = async {
        let mut ledger = Ledger::default();
        while let Some(lane) = running.join_next().await {
            let lane = lane.map_err(|lost| RunError::new(RunErrorKind::Bug, format!("a lane was lost: {lost}")))??;
            ledger.merge(lane);
        }
        Ok::<Ledger, RunError>(ledger)
    };
    tokio::pin!(all);
    let stopped = run::until_stopped(&mut stop, deadline, std::future::pending::<Result<(), RunError>>());
    let outcome = tokio::select! {
        ledger = &mut all => Ok(ledger?),
        never = run::progress(&shared, options, None) => match never {},
        error = run::resolve_end_time(spec, &prepared, &shared) => Err(error),
        stopped = stopped => Err(stopped.err().unwrap_or_else(|| RunError::new(RunErrorKind::Failed, "stopped"))),
    };
    let ledger = match outcome {
        Ok(ledger) => ledger,
        Err(error) => {
            // What was read is sent and its offsets are committed before the end.
            drain.send_replace(true);
            log::info!("draining");
            let ledger = all.await?;
            if !(spec.unbounded && matches!(error.kind, RunErrorKind::Stopped(_))) {
                return Err(error.with_target(TargetState::Streamed));
            }
            ledger
        }
    };
    let counted = stats.snapshot();
    dirty::check_at_end(settings.dirty_limit, counted.dirty_records, counted.records_read).map_err(|passed| {
        RunError::new(RunErrorKind::DirtyLimit, passed.to_string()).with_target(TargetState::Streamed)
    })?;
    for statement in &writer.post_sql {
        log::info!("postSql: {statement}");
        prepared.maxcompute.sql(statement, &[]).await.map_err(|error| {
            let failure = tunnel_failure(&error).with_target(TargetState::Streamed);
            RunError { message: format!("postSql failed, the data stays: {}", failure.message), ..failure }
        })?;
    }
    let position = |range: &PartitionRange| PartitionSummary {
        range: *range,
        position: ledger.positions().get(&range.partition).copied().unwrap_or(range.begin),
    };
    let ended = shared.end().ended(Instant::now()).unwrap_or(Ended::AllAtTarget);
    Ok(Summary {
        job: spec.name.clone(),
        topic: reader.topic.clone(),
        target: prepared.target_name.clone(),
        finished: Zoned::now().with_time_zone(started.time_zone().clone()),
        started,
        transfer: transfer.elapsed(),
        ended: Some(ended),
        partitions: ranges.iter().map(position).collect(),
        stats: counted,
        session: Some(stream.id()),
        blocks: u32::try_from(ledger.block_count()).unwrap_or(u32::MAX),
        rows: ledger.rows(),
        targets: Vec::new(),
        offsets: match group {
            Some(group) => OffsetsOutcome::Committed { group },
            None => OffsetsOutcome::NotCommitted("the job names no group, or says enable.auto.commit false".to_owned()),
        },
    })
}

/// Runs preSql and creates the stream session.
async fn open(spec: &JobSpec, prepared: &Prepared, pack_bytes: usize) -> Result<StreamUpload, RunError> {
    for statement in &spec.writer.pre_sql {
        log::info!("preSql: {statement}");
        prepared.maxcompute.sql(statement, &[]).await.map_err(|error| tunnel_failure(&error))?;
    }
    let options = StreamOptions {
        partition: prepared.partition.clone(),
        create_partition: prepared.partition.is_some(),
        dynamic_partition: prepared.routed,
        compression: compression(spec),
        limits: PackLimits { bytes: pack_bytes, age: PACK_AGE },
        ..StreamOptions::default()
    };
    let stream = prepared.maxcompute.create_stream(&spec.writer.table, options).await;
    let stream = stream.map_err(|error| tunnel_failure(&error))?;
    log::info!("stream session {} created, {} slots", stream.id(), stream.slots());
    Ok(stream)
}
