//! One lane of a bounded job: fetches some of the partitions, converts their records, and fills one block after another.
//!
//! A lane has an own consumer and sends one block at a time. A block that fails is read from Kafka again, range by range
//! in the order in which it was encoded, and sent again under the same id: the same bytes, without a copy in memory.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::block::{CHUNK_BYTES, Destination, OpenBlock, SendError};
use super::convert::Converter;
use super::dirty;
use super::end::EndRule;
use super::error::{RunError, RunErrorKind};
use super::ledger::{BlockContent, Ledger, NotContiguous};
use super::plan::{PartitionRange, Target};
use super::rate::RateLimit;
use super::stats::{Delta, Stats};
use crate::job::DirtyLimit;
use crate::kafka::record::{Decompressor, Record};
use crate::kafka::{self, Client, Consumer, ConsumerConfig, Fetched};
use crate::limits::{BLOCKS_PER_SESSION_MAX, DECOMPRESSED_BATCH_BYTES_MAX};

/// A request with nothing to send is ended before the server cuts it at 120 s.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// First and longest pause before a failed block is sent again.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(64));

/// Ranges that one block may consist of; beyond it the block is closed, so that the account stays small.
const SEGMENTS_MAX: usize = 10_000;

/// What all lanes of a job have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) topic: String,
    pub(super) stats: Arc<Stats>,
    pub(super) end: Mutex<EndRule>,
    /// Wakes lanes when the end rule has changed.
    pub(super) end_changed: Notify,
    pub(super) rate: Mutex<RateLimit>,
    pub(super) dirty_limit: DirtyLimit,
    pub(super) next_block: AtomicU32,
}

impl Shared {
    pub(super) fn end(&self) -> MutexGuard<'_, EndRule> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn block_id(&self) -> Result<u32, RunError> {
        let id = self.next_block.fetch_add(1, Ordering::Relaxed);
        if id < BLOCKS_PER_SESSION_MAX {
            return Ok(id);
        }
        let message =
            format!("the job needs more than {BLOCKS_PER_SESSION_MAX} blocks, the most one upload session has");
        Err(RunError::new(RunErrorKind::Failed, message).advise("raise blockSizeInMB, or split the range"))
    }
}

/// One lane and what it works with.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) client: Client,
    pub(super) consumer_config: ConsumerConfig,
    pub(super) converter: Converter,
    pub(super) destination: Destination,
    pub(super) shared: Arc<Shared>,
    pub(super) block_bytes: u64,
    pub(super) attempts_max: u32,
    /// Records and bytes after which a speed limit is charged, so that no single pause is long.
    pub(super) slice_records: u64,
    /// See `slice_records`.
    pub(super) slice_bytes: u64,
}

/// How far a lane has come with the block at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Delivery {
    Piece,
    Finish,
}

impl Lane {
    /// Reads `ranges` to their ends and gives the account of what is uploaded.
    pub(super) async fn run(self, ranges: Vec<PartitionRange>) -> Result<Ledger, RunError> {
        let mut ledger = Ledger::new(ranges.iter().map(|range| (range.partition, range.begin)));
        let starts: Vec<(i32, i64)> = ranges
            .iter()
            .filter(|range| !self.shared.end().reached(range.partition))
            .map(|range| (range.partition, range.begin))
            .collect();
        let mut consumer = Consumer::of_topic(&self.client, self.consumer_config.clone(), &self.shared.topic, &starts);
        let mut open: Vec<i32> = starts.iter().map(|(partition, _)| *partition).collect();
        let mut decompressor = Decompressor::new(DECOMPRESSED_BATCH_BYTES_MAX);
        let mut block = OpenBlock::default();
        loop {
            let (ended, wake) = {
                let mut end = self.shared.end();
                if end.poll_timeout().is_some_and(|at| at <= Instant::now()) {
                    // A partition that cannot be fetched at this moment is not empty, whatever it said before.
                    for progress in consumer.progress() {
                        if progress.waiting_on.is_some() {
                            end.handle_failure(progress.partition);
                        }
                    }
                }
                open.retain(|partition| {
                    let reached = end.reached(*partition);
                    if reached {
                        consumer.remove(&self.shared.topic, &[*partition]);
                    }
                    !reached
                });
                (end.ended(Instant::now()).is_some(), end.poll_timeout())
            };
            if ended || open.is_empty() {
                break;
            }
            let changed = self.shared.end_changed.notified();
            let idle = block.idle_since().map(|since| since + IDLE_MAX);
            let wake = [wake.filter(|at| *at > Instant::now()), idle].into_iter().flatten().min();
            let waited = Instant::now();
            tokio::select! {
                fetched = consumer.next() => {
                    self.shared.stats.add_reader_wait(waited.elapsed());
                    let fetched = fetched.map_err(|error| kafka_error(&error))?;
                    self.take(fetched, &mut decompressor, &mut block, &mut ledger).await?;
                }
                () = changed => {}
                () = sleep_until(wake) => {
                    if block.idle_since().is_some_and(|since| since.elapsed() >= IDLE_MAX) {
                        self.close(&mut block, &mut ledger).await?;
                    }
                }
            }
        }
        self.close(&mut block, &mut ledger).await?;
        Ok(ledger)
    }

    /// Converts what one fetch brought for one partition.
    async fn take(
        &self,
        mut fetched: Fetched,
        decompressor: &mut Decompressor,
        block: &mut OpenBlock,
        ledger: &mut Ledger,
    ) -> Result<(), RunError> {
        let partition = fetched.partition;
        let mut position = fetched.position();
        let mut over = false;
        while !over {
            let records = fetched.next_records(decompressor).map_err(|error| kafka_error(&error))?;
            let Some(records) = records else { break };
            let mut delta = Delta::default();
            let target = self.shared.end().target(partition);
            for record in records.iter() {
                let record = record.map_err(|error| self.damaged(partition, &error))?;
                if self.past_target(target, partition, &record) {
                    over = true;
                    break;
                }
                self.row(partition, &record, block, &mut delta)?;
                if delta.records_read >= self.slice_records || delta.bytes_read >= self.slice_bytes {
                    self.account(&std::mem::take(&mut delta)).await;
                }
                if block.rows.pending_bytes() >= CHUNK_BYTES {
                    block.content.extend(partition, position, record.offset.saturating_add(1));
                    position = record.offset.saturating_add(1);
                    self.deliver(block, Delivery::Piece).await?;
                    if block.bytes >= self.block_bytes || block.content.segments().len() >= SEGMENTS_MAX {
                        self.close(block, ledger).await?;
                    }
                }
            }
            let reached = self.cut_at_target(partition, fetched.position());
            if !over {
                block.content.extend(partition, position, reached);
                position = position.max(reached);
            }
            self.account(&delta).await;
            if block.idle_since().is_some_and(|since| since.elapsed() >= IDLE_MAX) {
                self.close(block, ledger).await?;
            }
        }
        if over {
            // Everything from here to the target is past it or holds no record.
            let target = self.cut_at_target(partition, i64::MAX);
            block.content.extend(partition, position, target);
            position = position.max(target);
        }
        let log_end = match self.consumer_config.isolation {
            kafka::Isolation::ReadCommitted => fetched.last_stable_offset,
            kafka::Isolation::ReadUncommitted => fetched.high_watermark,
        };
        self.shared.end().handle_position(partition, position, log_end);
        self.shared.end_changed.notify_waiters();
        Ok(())
    }

    fn row(
        &self,
        partition: i32,
        record: &Record<'_>,
        block: &mut OpenBlock,
        delta: &mut Delta,
    ) -> Result<(), RunError> {
        let bytes =
            (record.key.map_or(0, <[u8]>::len) as u64).saturating_add(record.value.map_or(0, <[u8]>::len) as u64);
        delta.records_read = delta.records_read.saturating_add(1);
        delta.bytes_read = delta.bytes_read.saturating_add(bytes);
        match self.converter.convert(partition, record, &mut block.rows, delta) {
            Ok(()) => {
                delta.rows_encoded = delta.rows_encoded.saturating_add(1);
                block.content.rows = block.content.rows.saturating_add(1);
                Ok(())
            }
            Err(reason) => {
                let before = self.shared.stats.dirty_records().saturating_add(delta.dirty_records);
                delta.dirty_records = delta.dirty_records.saturating_add(1);
                delta.dirty_bytes = delta.dirty_bytes.saturating_add(bytes);
                if before < dirty::SHOWN_MAX {
                    log::error!("{}", dirty::log_text(&self.shared.topic, partition, record, &reason));
                }
                let read = self.shared.stats.snapshot().records_read.saturating_add(delta.records_read);
                dirty::check_count(self.shared.dirty_limit, before.saturating_add(1), read)
                    .map_err(|passed| RunError::new(RunErrorKind::DirtyLimit, passed.to_string()))
            }
        }
    }

    /// Whether a record lies at or past the end of its partition's range. The first record at or after an end time that
    /// lies in the future is the end, by the meaning of an offset for a time.
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

    fn cut_at_target(&self, partition: i32, position: i64) -> i64 {
        match self.shared.end().target(partition) {
            Some(Target::Offset(offset)) => position.min(offset),
            _ => position,
        }
    }

    /// Tells the counters, and pauses where the job has a speed limit.
    async fn account(&self, delta: &Delta) {
        self.shared.stats.add(delta);
        let now = Instant::now();
        if delta.records_read > 0 {
            self.shared.end().handle_record(now);
        }
        let pause = {
            let mut rate = self.shared.rate.lock().unwrap_or_else(PoisonError::into_inner);
            rate.handle_taken(delta.bytes_read, delta.records_read, now)
        };
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }

    /// Ends the block at hand and enters it into the account.
    async fn close(&self, block: &mut OpenBlock, ledger: &mut Ledger) -> Result<(), RunError> {
        if block.content.rows == 0 && block.id.is_none() {
            ledger.handle_skipped(&block.content).map_err(not_contiguous)?;
        } else {
            self.deliver(block, Delivery::Finish).await?;
            let id = block.id.unwrap_or_default();
            ledger.handle_uploaded(id, &block.content).map_err(not_contiguous)?;
            log::debug!("block {id}: {} rows, {} bytes", block.content.rows, block.bytes);
        }
        *block = OpenBlock::default();
        Ok(())
    }

    /// Sends a piece or the end of a block; where that fails, sends the whole block again until the attempts are used up.
    async fn deliver(&self, block: &mut OpenBlock, delivery: Delivery) -> Result<(), RunError> {
        let id = match block.id {
            Some(id) => id,
            None => *block.id.insert(self.shared.block_id()?),
        };
        let mut result = self.send(block, id, delivery).await;
        let mut attempt = 1_u32;
        let mut backoff = BACKOFF.0;
        loop {
            let error = match result {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if !error.is_retriable() || attempt >= self.attempts_max {
                return Err(upload_error(id, attempt, &error));
            }
            if !error.is_throttled() {
                attempt = attempt.saturating_add(1);
            }
            let pause = backoff.max(error.retry_after());
            log::warn!("block {id}: {error}; sending it again from its first offset in {} s", pause.as_secs());
            tokio::time::sleep(pause).await;
            backoff = backoff.saturating_mul(2).min(BACKOFF.1);
            self.shared.stats.add_resent_block();
            block.restart();
            result = self.replay(block, id, delivery).await?;
        }
    }

    async fn send(&self, block: &mut OpenBlock, id: u32, delivery: Delivery) -> Result<(), SendError> {
        match delivery {
            Delivery::Piece => block.send(&self.destination, id).await,
            Delivery::Finish => block.finish(&self.destination, id).await,
        }
    }

    /// Reads the block's ranges from Kafka again and encodes them in the same order. The outer error is final, the inner
    /// one the block's.
    async fn replay(
        &self,
        block: &mut OpenBlock,
        id: u32,
        delivery: Delivery,
    ) -> Result<Result<(), SendError>, RunError> {
        let content = block.content.clone();
        let rows = match self.replay_ranges(block, id, &content).await? {
            Ok(rows) => rows,
            Err(error) => return Ok(Err(error)),
        };
        if rows != content.rows {
            let message = format!(
                "block {id} gave {rows} rows when it was read from Kafka again, and {} before: records are gone",
                content.rows
            );
            return Err(RunError::new(RunErrorKind::SafetyStop, message)
                .advise("records were deleted or compacted while the job ran; run it again"));
        }
        Ok(self.send(block, id, delivery).await)
    }

    async fn replay_ranges(
        &self,
        block: &mut OpenBlock,
        id: u32,
        content: &BlockContent,
    ) -> Result<Result<u64, SendError>, RunError> {
        let mut decompressor = Decompressor::new(DECOMPRESSED_BATCH_BYTES_MAX);
        let mut ignored = Delta::default();
        let mut rows = 0_u64;
        for segment in content.segments() {
            let start = [(segment.partition, segment.begin)];
            let mut consumer =
                Consumer::of_topic(&self.client, self.consumer_config.clone(), &self.shared.topic, &start);
            let mut position = segment.begin;
            while position < segment.end {
                let mut fetched = consumer.next().await.map_err(|error| kafka_error(&error))?;
                while let Some(records) = fetched.next_records(&mut decompressor).map_err(|e| kafka_error(&e))? {
                    for record in records.iter() {
                        let record = record.map_err(|error| self.damaged(segment.partition, &error))?;
                        if record.offset >= segment.end {
                            break;
                        }
                        if self.converter.convert(segment.partition, &record, &mut block.rows, &mut ignored).is_ok() {
                            rows = rows.saturating_add(1);
                        }
                        if block.rows.pending_bytes() >= CHUNK_BYTES
                            && let Err(error) = block.send(&self.destination, id).await
                        {
                            return Ok(Err(error));
                        }
                    }
                }
                position = fetched.position();
            }
        }
        Ok(Ok(rows))
    }

    fn damaged(&self, partition: i32, error: &crate::wire::DecodeError) -> RunError {
        let message = format!("topic \"{}\" partition {partition}: damaged record: {error}", self.shared.topic);
        RunError::new(RunErrorKind::SafetyStop, message)
            .advise("the broker's log is damaged there; skip it by beginOffset")
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

fn not_contiguous(hole: NotContiguous) -> RunError {
    let NotContiguous { partition, expected, found } = hole;
    let message = format!("partition {partition}: a block begins at {found}, the account stands at {expected}");
    RunError::new(RunErrorKind::Bug, message)
}

fn upload_error(id: u32, attempts: u32, error: &SendError) -> RunError {
    let message = format!("block {id} could not be uploaded after {attempts} attempts: {error}");
    let kind = match error {
        SendError::Tunnel(error) => super::run::tunnel_error_kind(error),
        SendError::TimedOut(_) | SendError::Lost(_) => RunErrorKind::Unavailable,
    };
    RunError::new(kind, message)
}

/// A Kafka failure in terms of a run.
pub(super) fn kafka_error(error: &kafka::Error) -> RunError {
    super::run::kafka_failure(error)
}
