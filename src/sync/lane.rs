//! One lane of a bounded job: fetches some of the partitions, converts their records, and fills one block after another, or
//! one for each partition that rows are routed to.
//!
//! A block that fails is read from Kafka again, range by range in the order in which it was encoded, and sent again under the
//! same id: the same bytes, without a copy in memory. While it is, no other block of the lane is half-sent, so that none idles.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::block::{OpenBlock, SendError, Sent};
use super::blocks::Blocks;
use super::budget::Budget;
use super::commit_bytes::CommitBytes;
use super::convert::{Converter, Dirty};
use super::dead_letters::DeadLetterBox;
use super::dirty;
use super::end::EndRule;
use super::error::{RunError, RunErrorKind};
use super::ledger::{BlockContent, Ledger, NotContiguous};
use super::plan::{PartitionRange, Target};
use super::rate::RateLimit;
use super::sessions::Sessions;
use super::stall::{Stage, StageBoard};
use super::stats::{Delta, Stats};
use super::status::{JobStatus, Read, UnixMillis};
use crate::job::DirtyLimit;
use crate::kafka::record::{Decompressor, Record};
use crate::kafka::{self, Client, Consumer, ConsumerConfig, Fetched};
use crate::tunnel::session::{Next, Retry, RetryPolicy};

/// A request with nothing to send is ended before the server cuts it at 120 s.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(60);

/// How long a lane waits for one thing before it looks at the others.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Ranges that one block may consist of; beyond it the block is closed, so that the account stays small.
const SEGMENTS_MAX: usize = 10_000;

/// The same where a lane fills many blocks at once.
const ROUTED_SEGMENTS_MAX: usize = 500;

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
    /// Where dirty records go beside the log.
    pub(super) dead_letters: Option<Arc<DeadLetterBox>>,
    pub(super) stages: Arc<StageBoard>,
    /// Where a continuous job tells how it is.
    pub(super) status: Option<Arc<JobStatus>>,
}

impl Shared {
    pub(super) fn end(&self) -> MutexGuard<'_, EndRule> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the counters and writes dead letters. Gives the moment until which the job's own speed limit wants the lane to
    /// pause, if it does: the lane knows what must not wait that long.
    pub(super) async fn account(&self, lane: usize, delta: &Delta) -> Result<Option<Instant>, RunError> {
        if let Some(letters) = &self.dead_letters {
            letters.write().await?;
        }
        self.stats.add(delta);
        let now = Instant::now();
        if delta.records_read > 0 {
            self.end().handle_record(now);
        }
        let pause = {
            let mut rate = self.rate.lock().unwrap_or_else(PoisonError::into_inner);
            rate.handle_taken(delta.bytes_read, delta.records_read, now)
        };
        if pause.is_zero() {
            return Ok(None);
        }
        self.stages.enter(lane, Stage::SpeedLimit, now, "the job's own");
        Ok(now.checked_add(pause))
    }

    /// Tells the job's status what was read since the last time: once a batch, or a slice of it. `end` is the one that the
    /// isolation level can reach.
    pub(super) fn tell(&self, fetched: &Fetched, end: i64, delta: &Delta, position: i64, newest_ms: i64) {
        let Some(status) = &self.status else { return };
        let read = Read {
            records: delta.records_read,
            bytes: delta.bytes_read,
            position,
            high_watermark: fetched.high_watermark,
            log_start: fetched.log_start_offset,
            end,
            newest_ms,
        };
        status.read(fetched.partition, &read, wall_clock());
    }

    /// Counts a dirty record, shows the first ones, and checks the limit.
    pub(super) fn dirty(
        &self,
        partition: i32,
        record: &Record<'_>,
        bytes: u64,
        delta: &mut Delta,
        reason: &Dirty,
    ) -> Result<(), RunError> {
        let before = self.stats.dirty_records().saturating_add(delta.dirty_records);
        delta.dirty_records = delta.dirty_records.saturating_add(1);
        delta.dirty_bytes = delta.dirty_bytes.saturating_add(bytes);
        if before < dirty::SHOWN_MAX {
            log::error!("{}", dirty::log_text(&self.topic, partition, record, reason));
        }
        if let Some(letters) = &self.dead_letters {
            letters.put(partition, record, reason);
        }
        if let Some(status) = &self.status {
            status.dirty(&format!("{} {}", reason.target_name, reason.target_type));
        }
        let read = self.stats.snapshot().records_read.saturating_add(delta.records_read);
        dirty::check_count(self.dirty_limit, before.saturating_add(1), read)
            .map_err(|passed| RunError::new(RunErrorKind::DirtyLimit, passed.to_string()))
    }
}

/// One lane and what it works with.
#[derive(Debug)]
pub(super) struct Lane {
    /// Its number, from 0.
    pub(super) number: usize,
    pub(super) client: Client,
    pub(super) consumer_config: ConsumerConfig,
    /// What it may hold.
    pub(super) budget: Budget,
    /// All lanes end where they are once it is full.
    pub(super) commit_bytes: Option<Arc<CommitBytes>>,
    pub(super) converter: Converter,
    /// Time allowed for one piece to be taken, and for the answer after the last.
    pub(super) write_timeout: Duration,
    /// How long an open request may have nothing to send.
    pub(super) idle_max: Duration,
    pub(super) shared: Arc<Shared>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) block_bytes: u64,
    /// How a failing block is repeated.
    pub(super) retry: RetryPolicy,
    /// Requests that this lane may have open at once.
    pub(super) requests_max: usize,
    /// Bytes that may wait in all of its blocks.
    pub(super) pending_max: usize,
    /// Records and bytes after which a speed limit is charged, so that no single pause is long.
    pub(super) slice_records: u64,
    /// See `slice_records`.
    pub(super) slice_bytes: u64,
    /// Only rows of these targets are written; of all where none is given.
    pub(super) only: Option<Arc<BTreeSet<String>>>,
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
        let mut decompressor = Decompressor::new(self.budget.batch_bytes);
        let mut blocks = Blocks::default();
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
            if self.commit_bytes.as_ref().is_some_and(|commit| commit.is_full()) {
                for partition in &open {
                    let position = consumer.position(&self.shared.topic, *partition).map(|position| position.offset);
                    let begin = ranges.iter().find(|range| range.partition == *partition).map(|range| range.begin);
                    if let Some(position) = position.or(begin) {
                        self.shared.end().handle_target(*partition, position);
                        self.shared.end().handle_position(*partition, position, i64::MAX);
                    }
                }
                continue;
            }
            let changed = self.shared.end_changed.notified();
            let idle = blocks.idle_at(self.idle_max);
            let waited = Instant::now();
            let look = Some(waited + LOOK_EVERY);
            let wake = [wake.filter(|at| *at > waited), idle, look].into_iter().flatten().min();
            self.enter(Stage::Source, self.whom(&consumer, &open));
            tokio::select! {
                fetched = consumer.next() => {
                    self.shared.stats.add_reader_wait(waited.elapsed());
                    let fetched = fetched.map_err(|error| kafka_error(&error))?;
                    if fetched.bytes() > 0 {
                        self.shared.stages.moved(self.number, Instant::now());
                    }
                    self.shared.stages.hold(self.number, consumer.held_bytes(), blocks.pending());
                    self.take(fetched, &mut decompressor, &mut blocks, &mut ledger).await?;
                }
                () = changed => {}
                () = sleep_until(wake) => {
                    for key in blocks.idle(self.idle_max, None) {
                        self.close(&mut blocks, &key, &mut ledger).await?;
                    }
                }
            }
        }
        for key in blocks.keys() {
            self.close(&mut blocks, &key, &mut ledger).await?;
        }
        self.shared.stages.leave(self.number, Instant::now());
        Ok(ledger)
    }

    fn enter(&self, stage: Stage, on: String) {
        self.shared.stages.enter(self.number, stage, Instant::now(), on);
    }

    /// Which partitions a lane waits for, and why, where that is known.
    fn whom(&self, consumer: &Consumer, open: &[i32]) -> String {
        let troubled = consumer.progress().into_iter().find_map(|progress| {
            progress
                .waiting_on
                .map(|why| format!("partition {} of topic {}: {why}", progress.partition, self.shared.topic))
        });
        troubled.unwrap_or_else(|| {
            let shown: Vec<String> = open.iter().take(5).map(i32::to_string).collect();
            let more = if open.len() > shown.len() { ", …" } else { "" };
            format!("topic {} partitions {}{more} give no records", self.shared.topic, shown.join(", "))
        })
    }

    /// Converts what one fetch brought for one partition.
    async fn take(
        &self,
        mut fetched: Fetched,
        decompressor: &mut Decompressor,
        blocks: &mut Blocks,
        ledger: &mut Ledger,
    ) -> Result<(), RunError> {
        let partition = fetched.partition;
        let routed = self.converter.is_routed();
        let mut position = fetched.position();
        let first = position;
        let mut over = false;
        let mut newest_ms = -1;
        self.enter(Stage::Convert, String::new());
        while !over {
            let records = fetched.next_records(decompressor).map_err(|error| kafka_error(&error))?;
            let Some(records) = records else { break };
            let mut delta = Delta::default();
            let target = self.shared.end().target(partition);
            self.enter(Stage::Convert, String::new());
            for record in records.iter() {
                let record = record.map_err(|error| self.damaged(partition, &error))?;
                if self.past_target(target, partition, &record) {
                    over = true;
                    break;
                }
                if self.is_full(&record) {
                    self.shared.end().handle_target(partition, record.offset);
                    over = true;
                    break;
                }
                self.row(partition, &record, blocks, &mut delta)?;
                newest_ms = record.timestamp.max(newest_ms);
                if delta.records_read >= self.slice_records || delta.bytes_read >= self.slice_bytes {
                    if !routed {
                        // What is encoded so far belongs to its block, which the pause may end.
                        let next = record.offset.saturating_add(1);
                        blocks.pick("", &self.sessions)?.content.extend(partition, position, next);
                        position = next;
                    }
                    self.tell(&fetched, &delta, record.offset.saturating_add(1), newest_ms);
                    self.account(&std::mem::take(&mut delta), blocks, ledger).await?;
                }
                let waiting = blocks.count_last();
                if waiting >= self.budget.chunk_bytes {
                    if !routed {
                        let next = record.offset.saturating_add(1);
                        if let Some(block) = blocks.last() {
                            block.content.extend(partition, position, next);
                        }
                        position = next;
                    }
                    let key = blocks.current();
                    self.deliver(blocks, &key, ledger).await?;
                } else if blocks.pending() > self.pending_max
                    && let Some(key) = blocks.largest()
                {
                    self.deliver(blocks, &key, ledger).await?;
                }
            }
            let reached = self.cut_at_target(partition, fetched.position());
            if !over {
                if !routed {
                    blocks.pick("", &self.sessions)?.content.extend(partition, position, reached);
                }
                position = position.max(reached);
            }
            self.tell(&fetched, &delta, position, newest_ms);
            self.account(&delta, blocks, ledger).await?;
        }
        if over {
            // Everything from here to the target is past it or holds no record.
            let target = self.cut_at_target(partition, i64::MAX);
            if !routed {
                blocks.pick("", &self.sessions)?.content.extend(partition, position, target);
            }
            position = position.max(target);
        }
        if routed {
            let mut passed = BlockContent::default();
            passed.extend(partition, first, position);
            ledger.handle_skipped(&passed).map_err(not_contiguous)?;
        }
        self.tell(&fetched, &Delta::default(), position, newest_ms);
        self.shared.end().handle_position(partition, position, self.end_of(&fetched));
        self.shared.end_changed.notify_waiters();
        Ok(())
    }

    /// The end that the isolation level can reach.
    const fn end_of(&self, fetched: &Fetched) -> i64 {
        match self.consumer_config.isolation {
            kafka::Isolation::ReadCommitted => fetched.last_stable_offset,
            kafka::Isolation::ReadUncommitted => fetched.high_watermark,
        }
    }

    fn tell(&self, fetched: &Fetched, delta: &Delta, position: i64, newest_ms: i64) {
        self.shared.tell(fetched, self.end_of(fetched), delta, position, newest_ms);
    }

    /// Tells the counters, and pauses where the job has a speed limit. However long that is, no request is left open with
    /// nothing to send: the server would cut it.
    async fn account(&self, delta: &Delta, blocks: &mut Blocks, ledger: &mut Ledger) -> Result<(), RunError> {
        let until = self.shared.account(self.number, delta).await?;
        loop {
            for key in blocks.idle(self.idle_max, None) {
                self.close(blocks, &key, ledger).await?;
            }
            let Some(until) = until.filter(|until| *until > Instant::now()) else { return Ok(()) };
            let idle = blocks.idle_at(self.idle_max);
            tokio::time::sleep_until(idle.map_or(until, |at| at.min(until)).into()).await;
        }
    }

    /// Whether `record` is one too many for the commit; if not, it is part of it.
    fn is_full(&self, record: &Record<'_>) -> bool {
        self.commit_bytes.as_ref().is_some_and(|commit| !commit.take(bytes_of(record)))
    }

    fn row(&self, partition: i32, record: &Record<'_>, blocks: &mut Blocks, delta: &mut Delta) -> Result<(), RunError> {
        let bytes = bytes_of(record);
        delta.records_read = delta.records_read.saturating_add(1);
        delta.bytes_read = delta.bytes_read.saturating_add(bytes);
        let mut refused = None;
        let sessions = &self.sessions;
        let converted = self.converter.convert_into(partition, record, delta, |key| {
            if self.only.as_ref().is_some_and(|only| !only.contains(key)) {
                return None;
            }
            match blocks.pick(key, sessions) {
                Ok(block) => Some(&mut block.rows),
                Err(error) => {
                    refused = Some(error);
                    None
                }
            }
        });
        if let Some(error) = refused {
            return Err(error);
        }
        match converted {
            Ok(false) => Ok(()),
            Ok(true) => {
                delta.rows_encoded = delta.rows_encoded.saturating_add(1);
                if let Some(block) = blocks.last() {
                    block.content.rows = block.content.rows.saturating_add(1);
                    if self.converter.is_routed() {
                        block.content.extend_sparse(partition, record.offset);
                    }
                }
                Ok(())
            }
            Err(reason) => self.shared.dirty(partition, record, bytes, delta, &reason),
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

    /// Sends the complete rows of a block, and ends it when it is large enough.
    async fn deliver(&self, blocks: &mut Blocks, key: &str, ledger: &mut Ledger) -> Result<(), RunError> {
        let ready = match blocks.get(key) {
            Some(block) if block.idle_since().is_some() => true,
            Some(_) => self.open(blocks, key, ledger).await?,
            None => false,
        };
        if ready {
            if let Some(block) = blocks.get(key) {
                block.take_piece();
            }
            self.push(blocks, key, ledger).await?;
            blocks.count(key);
        }
        self.repair(blocks, ledger).await?;
        let segments_max = if self.converter.is_routed() { ROUTED_SEGMENTS_MAX } else { SEGMENTS_MAX };
        let full = blocks
            .get(key)
            .is_some_and(|block| block.bytes >= self.block_bytes || block.content.segments().len() >= segments_max);
        if full { self.close(blocks, key, ledger).await } else { Ok(()) }
    }

    /// Opens the request of a block, which may end another's. Says whether it is open.
    async fn open(&self, blocks: &mut Blocks, key: &str, ledger: &mut Ledger) -> Result<bool, RunError> {
        let sessions = &self.sessions;
        let Some(target) = blocks.get(key).map(|block| Arc::clone(&block.target)) else { return Ok(false) };
        self.enter(Stage::Upload, format!("a session for {}", if key.is_empty() { "the table" } else { key }));
        let upload = sessions.upload(&target).await?;
        let permit = loop {
            if blocks.requests() < self.requests_max
                && let Some(permit) = sessions.try_permit()
            {
                break permit;
            }
            match blocks.least_recent(key) {
                Some(other) => self.end(blocks, &other, ledger).await?,
                None => {
                    self.enter(Stage::Upload, "a free slot: the service asked for fewer blocks at once".to_owned());
                    break sessions.permit().await;
                }
            }
        };
        let Some(block) = blocks.get(key) else { return Ok(false) };
        let id = match block.id {
            Some(id) => id,
            None => target.block_id()?,
        };
        block.open(upload, id, permit);
        Ok(true)
    }

    /// Hands over the piece that was taken from a block; meanwhile other blocks of the lane are not left idle.
    async fn push(&self, blocks: &mut Blocks, key: &str, ledger: &mut Ledger) -> Result<(), RunError> {
        let begin = Instant::now();
        loop {
            let Some(block) = blocks.get(key) else { return Ok(()) };
            self.enter(Stage::Upload, format!("{}: the tunnel server takes nothing", block.name()));
            match block.push(&self.shared.stats, LOOK_EVERY.min(self.write_timeout)).await {
                Ok(Sent::All) => break,
                Ok(Sent::Waiting) if begin.elapsed() >= self.write_timeout => {
                    block.failed = Some(SendError::TimedOut(self.write_timeout));
                    return Ok(());
                }
                Ok(Sent::Waiting) => {
                    for idle in blocks.idle(self.idle_max, Some(key)) {
                        self.end(blocks, &idle, ledger).await?;
                    }
                }
                Err(error) => {
                    block.failed = Some(error);
                    return Ok(());
                }
            }
        }
        self.shared.stages.moved(self.number, Instant::now());
        self.enter(Stage::Convert, String::new());
        Ok(())
    }

    /// Ends a block whose request is open, once: where that fails, the block is marked and stays.
    async fn end(&self, blocks: &mut Blocks, key: &str, ledger: &mut Ledger) -> Result<(), RunError> {
        let Some(block) = blocks.get(key) else { return Ok(()) };
        self.enter(Stage::Upload, format!("{}: its end and the answer", block.name()));
        match block.finish(&self.shared.stats, self.write_timeout).await {
            Ok(()) => {
                self.shared.stages.moved(self.number, Instant::now());
                self.sessions.handle_success();
                if let Some(status) = &self.shared.status {
                    status.progress(wall_clock());
                }
                match blocks.remove(key) {
                    Some(block) => self.enter_uploaded(&block, ledger),
                    None => Ok(()),
                }
            }
            Err(error) => {
                block.failed = Some(error);
                Ok(())
            }
        }
    }

    fn enter_uploaded(&self, block: &OpenBlock, ledger: &mut Ledger) -> Result<(), RunError> {
        let id = block.id.unwrap_or_default();
        log::debug!("{}: {} rows, {} bytes", block.name(), block.content.rows, block.bytes);
        if self.converter.is_routed() {
            ledger.handle_block(&block.target.key, id, block.content.rows);
            return Ok(());
        }
        ledger.handle_uploaded(id, &block.content).map_err(not_contiguous)
    }

    /// Ends a block and enters it into the account.
    async fn close(&self, blocks: &mut Blocks, key: &str, ledger: &mut Ledger) -> Result<(), RunError> {
        let Some(block) = blocks.get(key) else { return Ok(()) };
        if block.content.rows == 0 && block.id.is_none() {
            if let Some(block) = blocks.remove(key)
                && !self.converter.is_routed()
            {
                ledger.handle_skipped(&block.content).map_err(not_contiguous)?;
            }
            return Ok(());
        }
        let is_open = block.idle_since().is_some();
        if is_open || self.open(blocks, key, ledger).await? {
            self.end(blocks, key, ledger).await?;
        }
        self.repair(blocks, ledger).await
    }

    /// Sends every block again that failed, one after the other; the others are ended before, so that none idles meanwhile.
    async fn repair(&self, blocks: &mut Blocks, ledger: &mut Ledger) -> Result<(), RunError> {
        while let Some(failed) = blocks.failed() {
            while let Some(open) = blocks.least_recent(&failed) {
                self.end(blocks, &open, ledger).await?;
            }
            if let Some(mut block) = blocks.remove(&failed) {
                self.resend(&mut block).await?;
                self.enter_uploaded(&block, ledger)?;
            }
        }
        Ok(())
    }

    /// Reads a failed block again and sends it, as often as its failures allow.
    async fn resend(&self, block: &mut OpenBlock) -> Result<(), RunError> {
        let start = Instant::now();
        let id = block.id.unwrap_or_default();
        let seed = u64::from(id).wrapping_mul(31).wrapping_add(self.number as u64);
        let mut retry = Retry::new(self.retry, Duration::ZERO, seed);
        while let Some(error) = block.failed.take() {
            block.restart();
            if error.wants_fewer() {
                self.sessions.handle_throttled();
            }
            let now = start.elapsed();
            let Next::At(at) = retry.after(now, error.fault()) else {
                return Err(upload_error(block, retry.attempts(), &error));
            };
            let pause = at.saturating_sub(now);
            let name = block.name();
            log::warn!("{name}: {error}; sending it again from its first offset in {:.1} s", pause.as_secs_f64());
            self.enter(Stage::Upload, format!("{name}, which failed {} times: {error}", retry.attempts()));
            if let Some(status) = &self.shared.status {
                status.retry(Stage::Upload.label(), &error.code());
            }
            tokio::time::sleep(pause).await;
            self.shared.stats.add_resent_block();
            let upload = self.sessions.upload(&block.target).await?;
            let permit = self.sessions.permit().await;
            block.open(upload, id, permit);
            block.failed = self.replay(block).await?.err();
        }
        self.sessions.handle_success();
        self.shared.stages.moved(self.number, Instant::now());
        Ok(())
    }

    /// Reads the block's ranges from Kafka again and encodes them in the same order. The outer error is final, the inner
    /// one the block's.
    async fn replay(&self, block: &mut OpenBlock) -> Result<Result<(), SendError>, RunError> {
        let content = block.content.clone();
        let rows = match self.replay_ranges(block, &content).await? {
            Ok(rows) => rows,
            Err(error) => return Ok(Err(error)),
        };
        if rows != content.rows {
            let message = format!(
                "{} gave {rows} rows when it was read from Kafka again, and {} before: records are gone",
                block.name(),
                content.rows
            );
            return Err(RunError::new(RunErrorKind::SafetyStop, message)
                .advise("records were deleted or compacted while the job ran; run it again"));
        }
        Ok(block.finish(&self.shared.stats, self.write_timeout).await)
    }

    async fn replay_ranges(
        &self,
        block: &mut OpenBlock,
        content: &BlockContent,
    ) -> Result<Result<u64, SendError>, RunError> {
        let mut decompressor = Decompressor::new(self.budget.batch_bytes);
        let mut ignored = Delta::default();
        let mut rows = 0_u64;
        let key = block.target.key.clone();
        for segment in content.segments() {
            let start = [(segment.partition, segment.begin)];
            let mut consumer =
                Consumer::of_topic(&self.client, self.consumer_config.clone(), &self.shared.topic, &start);
            let mut position = segment.begin;
            while position < segment.end {
                // A half-sent block must not wait for Kafka until the server cuts it.
                let Ok(fetched) = tokio::time::timeout(self.idle_max, consumer.next()).await else {
                    return Ok(Err(SendError::SourceStalled(self.idle_max)));
                };
                let mut fetched = fetched.map_err(|error| kafka_error(&error))?;
                while let Some(records) = fetched.next_records(&mut decompressor).map_err(|e| kafka_error(&e))? {
                    for record in records.iter() {
                        let record = record.map_err(|error| self.damaged(segment.partition, &error))?;
                        if record.offset >= segment.end {
                            break;
                        }
                        let encoder = &mut block.rows;
                        let pick = |target: &str| (target == key).then_some(encoder);
                        if let Ok(true) = self.converter.convert_into(segment.partition, &record, &mut ignored, pick) {
                            rows = rows.saturating_add(1);
                        }
                        if block.rows.pending_bytes() >= self.budget.chunk_bytes {
                            block.take_piece();
                            match block.push(&self.shared.stats, self.write_timeout).await {
                                Ok(Sent::All) => {}
                                Ok(Sent::Waiting) => return Ok(Err(SendError::TimedOut(self.write_timeout))),
                                Err(error) => return Ok(Err(error)),
                            }
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
            .of_partition(Some(partition))
            .advise("the broker's log is damaged there; skip it by beginOffset")
    }
}

/// Now, in milliseconds since 1970.
pub(super) fn wall_clock() -> UnixMillis {
    jiff::Timestamp::now().as_millisecond()
}

/// Bytes of its key and value.
fn bytes_of(record: &Record<'_>) -> u64 {
    let len = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len) as u64;
    len(record.key).saturating_add(len(record.value))
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

fn upload_error(block: &OpenBlock, attempts: u32, error: &SendError) -> RunError {
    let message = format!("{} could not be uploaded after {attempts} attempts: {error}", block.name());
    match error {
        SendError::Tunnel(error) => super::run::session_failure(message, error),
        SendError::TimedOut(_) | SendError::SourceStalled(_) | SendError::Lost(_) => {
            RunError::new(RunErrorKind::Unavailable, message)
        }
    }
}

/// A Kafka failure in terms of a run.
pub(super) fn kafka_error(error: &kafka::Error) -> RunError {
    super::run::kafka_failure(error)
}
