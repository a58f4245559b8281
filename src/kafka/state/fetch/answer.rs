//! What answers do to the machine: its inputs.
//!
//! Inputs: `handle_answer`, `handle_metadata`, `handle_range`. Outputs: see [`FetchState`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::kafka::msg::{CodeClass, ErrorCode, FetchAnswer, FetchPartitionAnswer, TopicRef};
use crate::kafka::record::RecordSet;
use crate::kafka::state::backoff::Backoff;
use crate::kafka::state::cluster::Topic;
use crate::limits::FRAME_BYTES_MAX;

use super::cursor::Trouble;
use super::{Ask, Asked, Cause, Entry, Failure, Fault, FetchState, FetchedData, Ready, TopicPartition};

/// What the entries of an answer come to.
struct Scan {
    next: i64,
    /// Of the last whole batch.
    epoch: Option<i32>,
    cut_off: Option<usize>,
    damage: Option<String>,
}

impl<E: Clone> FetchState<E> {
    /// Takes the outcome of the request that is in flight to `broker`.
    pub fn handle_answer(&mut self, now: Instant, broker: i32, outcome: Result<FetchAnswer, Fault<E>>) {
        self.random = self.random.wrapping_add(1);
        let Some(asked) = self.sources.get_mut(&broker).and_then(|source| source.in_flight.take()) else { return };
        match outcome {
            Ok(answer) if answer.error.is_ok() => self.accept(now, broker, asked, answer),
            Ok(answer) => {
                let cause = Cause::Code { broker, code: answer.error };
                self.all_in_trouble(now, &asked, &cause, answer.error.is_retriable());
            }
            Err(fault) => {
                let cause = Cause::Fault(fault.error);
                self.all_in_trouble(now, &asked, &cause, !fault.is_final);
            }
        }
    }

    /// The whole request failed: its leader may be gone, so all its partitions ask for metadata.
    fn all_in_trouble(&mut self, now: Instant, asked: &Asked, cause: &Cause<E>, retriable: bool) {
        for (partition, ask) in &asked.partitions {
            if self.is_current(partition, *ask) {
                if retriable {
                    self.trouble(now, partition, cause.clone(), true);
                } else {
                    self.fail(now, partition, cause.clone());
                }
            }
        }
    }

    fn accept(&mut self, now: Instant, broker: i32, mut asked: Asked, answer: FetchAnswer) {
        for part in answer.partitions {
            let topic = match &part.topic {
                TopicRef::Name(name) => Some(name.clone()),
                TopicRef::Id(id) => id.and_then(|id| asked.names.get(&id).cloned()),
            };
            // What was not asked for, or is there twice, is not taken.
            let Some(topic) = topic else { continue };
            let partition = TopicPartition { topic, partition: part.partition };
            let Some(ask) = asked.partitions.remove(&partition) else { continue };
            if self.is_current(&partition, ask) {
                self.accept_partition(now, broker, partition, ask, part);
            }
        }
        let text = "the broker left the partition out of its answer";
        let cause = Cause::BadAnswer { broker, text: text.to_owned() };
        self.all_in_trouble(now, &asked, &cause, true);
    }

    /// Whether an answer to `ask` is still wanted: the position may have moved, another broker may have answered.
    fn is_current(&self, partition: &TopicPartition, ask: Ask) -> bool {
        let cursor = self.cursors.get(partition);
        cursor
            .is_some_and(|c| c.generation == ask.generation && c.next == ask.offset && !c.paused && c.failure.is_none())
    }

    fn accept_partition(
        &mut self,
        now: Instant,
        broker: i32,
        partition: TopicPartition,
        ask: Ask,
        part: FetchPartitionAnswer,
    ) {
        match part.error {
            ErrorCode::NONE => self.accept_records(now, broker, partition, ask, part),
            ErrorCode::OFFSET_OUT_OF_RANGE => {
                self.trouble(now, &partition, Cause::Code { broker, code: part.error }, false);
                if let Some(cursor) = self.cursors.get_mut(&partition) {
                    cursor.want_range();
                }
            }
            code => {
                let cause = Cause::Code { broker, code };
                match code.class() {
                    CodeClass::Refresh => {
                        self.trouble(now, &partition, cause, true);
                        self.follow_hint(now, &partition, &part);
                    }
                    CodeClass::Retry | CodeClass::Coordinator => self.trouble(now, &partition, cause, false),
                    _ => self.fail(now, &partition, cause),
                }
            }
        }
    }

    /// Goes to the leader that the answer names (KIP-951), when it is newer than the one we know.
    fn follow_hint(&mut self, now: Instant, partition: &TopicPartition, part: &FetchPartitionAnswer) {
        let known = self.topics.get(&partition.topic).and_then(|topic| topic.leader(partition.partition));
        let known_epoch = known.and_then(|(_, epoch)| epoch);
        let (Some(hint), Some(cursor)) = (part.leader, self.cursors.get_mut(partition)) else { return };
        if Some(hint.epoch) > known_epoch && cursor.failure.is_none() {
            cursor.leader = Some((hint.node, Some(hint.epoch)));
            self.leaders_changed = true;
            if let Some(trouble) = &mut cursor.trouble {
                trouble.not_before = now;
            }
        }
    }

    fn accept_records(
        &mut self,
        now: Instant,
        broker: i32,
        partition: TopicPartition,
        ask: Ask,
        part: FetchPartitionAnswer,
    ) {
        let turn = self.next_turn();
        let Some(cursor) = self.cursors.get_mut(&partition) else { return };
        cursor.high_watermark = part.high_watermark;
        cursor.last_stable_offset = part.last_stable_offset;
        cursor.log_start_offset = part.log_start_offset;
        cursor.last_answer = Some(now);
        let records = RecordSet::new(part.records);
        let scan = scan(&records, cursor.next);
        if scan.next == cursor.next && scan.damage.is_none() && !records.is_empty() {
            self.no_progress(now, broker, &partition, ask, scan.cut_off);
            return;
        }
        cursor.trouble = None;
        cursor.bytes_max = self.options.partition_bytes_max;
        if !records.is_empty() {
            // The partition that was served goes to the end of the line.
            cursor.turn = turn;
        } else if cursor.queued > 0 {
            // Nothing new, and the caller has not seen what came before: no need to say so.
            return;
        }
        let position = std::mem::replace(&mut cursor.next, scan.next);
        let position_epoch = cursor.next_epoch;
        if position != scan.next {
            cursor.next_epoch = scan.epoch;
        }
        let next_epoch = cursor.next_epoch;
        cursor.queued = cursor.queued.saturating_add(1);
        let bytes = records.len_bytes();
        let source = self.sources.entry(broker).or_default();
        source.waiting_bytes = source.waiting_bytes.saturating_add(bytes);
        let data = FetchedData {
            partition: partition.clone(),
            broker,
            position,
            position_epoch,
            next: scan.next,
            next_epoch,
            high_watermark: part.high_watermark,
            last_stable_offset: part.last_stable_offset,
            log_start_offset: part.log_start_offset,
            aborted: part.aborted,
            records,
        };
        self.ready.push_back(Entry { source: broker, bytes, ready: Ready::Data(data) });
        if let Some(text) = scan.damage {
            // The good batches before it come out first.
            self.fail(now, &partition, Cause::BadAnswer { broker, text });
        }
    }

    /// Bytes came, and no whole batch at or after the position is among them.
    fn no_progress(&mut self, now: Instant, broker: i32, partition: &TopicPartition, ask: Ask, cut_off: Option<usize>) {
        let Some(cursor) = self.cursors.get_mut(partition) else { return };
        let Some(size) = cut_off else {
            let text = format!("only records below offset {} came", cursor.next);
            self.trouble(now, partition, Cause::BadAnswer { broker, text }, false);
            return;
        };
        // Since KIP-74 the first partition with records gets its first batch whole; here the others had used the room up,
        // or the broker is older. The next request begins with this partition and leaves room for the batch.
        cursor.turn = 0;
        if size > BATCH_BYTES_MAX {
            let next = cursor.next;
            let text =
                format!("the batch at offset {next} announces {size} bytes, at most {BATCH_BYTES_MAX} are accepted");
            self.fail(now, partition, Cause::BadAnswer { broker, text });
        } else if size > cursor.bytes_max {
            cursor.bytes_max = size;
        } else if ask.is_first {
            let text = format!("a batch of {size} bytes was cut off below the limit of {}", cursor.bytes_max);
            self.trouble(now, partition, Cause::BadAnswer { broker, text }, false);
        }
    }

    /// Takes what the cluster says about a topic, or why it says nothing.
    pub fn handle_metadata(&mut self, now: Instant, name: &Arc<str>, outcome: Result<&Topic, Fault<E>>) {
        self.random = self.random.wrapping_add(1);
        let Some(topic) = self.topics.get_mut(name) else { return };
        topic.asks = topic.asks.saturating_add(1);
        let asks = topic.asks;
        let pause = self.pause_after(asks.saturating_sub(1));
        if let Some(topic) = self.topics.get_mut(name) {
            topic.answered(now, pause);
        }
        let partitions: Vec<TopicPartition> = self.live(name);
        match outcome {
            Ok(view) if view.error.is_ok() => self.accept_topic(now, name, view, &partitions),
            Ok(view) if view.error == ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => {
                self.topic_unknown(now, name, &partitions);
            }
            Ok(view) => {
                let retriable = view.error.is_retriable();
                self.no_metadata(now, &partitions, &Cause::Metadata(view.error), retriable);
            }
            Err(fault) => self.no_metadata(now, &partitions, &Cause::Fault(fault.error), !fault.is_final),
        }
    }

    /// Partitions that wait for metadata have failed once more; those that are well go on.
    fn no_metadata(&mut self, now: Instant, partitions: &[TopicPartition], cause: &Cause<E>, retriable: bool) {
        for partition in partitions {
            let waits = self.cursors.get(partition).is_some_and(|c| c.leader.is_none() || c.trouble.is_some());
            match (waits, retriable) {
                (true, true) => self.trouble(now, partition, cause.clone(), true),
                (true, false) => self.fail(now, partition, cause.clone()),
                (false, _) => {}
            }
        }
    }

    fn topic_unknown(&mut self, now: Instant, name: &Arc<str>, partitions: &[TopicPartition]) {
        let Some(topic) = self.topics.get_mut(name) else { return };
        let since = *topic.unknown_since.get_or_insert(now);
        let cause = if topic.seen { Cause::TopicDeleted { recreated: false } } else { Cause::UnknownTopic };
        let is_over = now.saturating_duration_since(since) >= self.options.unknown_deadline;
        for partition in partitions {
            if is_over {
                self.fail(now, partition, cause.clone());
            } else {
                self.trouble(now, partition, Cause::UnknownTopic, true);
            }
        }
    }

    fn accept_topic(&mut self, now: Instant, name: &Arc<str>, view: &Topic, partitions: &[TopicPartition]) {
        let Some(topic) = self.topics.get_mut(name) else { return };
        let is_other = topic.id.is_some() && view.id.is_some() && topic.id != view.id;
        topic.id = view.id;
        topic.seen = true;
        topic.unknown_since = None;
        let leaders = view.partitions.iter();
        let leaders = leaders.filter_map(|(n, p)| p.leader.map(|leader| (*n, (leader, p.leader_epoch))));
        topic.set_leaders(leaders.collect::<BTreeMap<_, _>>());
        let mut is_settled = true;
        for partition in partitions {
            if is_other {
                self.fail(now, partition, Cause::TopicDeleted { recreated: true });
                continue;
            }
            let known = view.partitions.get(&partition.partition);
            match known.map(|known| known.leader.map(|leader| (leader, known.leader_epoch))) {
                Some(Some(leader)) => {
                    if let Some(cursor) = self.cursors.get_mut(partition) {
                        cursor.leader = Some(leader);
                        self.leaders_changed = true;
                    }
                }
                Some(None) => {
                    is_settled = false;
                    self.trouble(now, partition, Cause::NoLeader, true);
                }
                None => {
                    is_settled = false;
                    self.partition_unknown(now, partition);
                }
            }
        }
        if let (true, Some(topic)) = (is_settled, self.topics.get_mut(name)) {
            topic.asks = 0;
        }
    }

    fn partition_unknown(&mut self, now: Instant, partition: &TopicPartition) {
        self.trouble(now, partition, Cause::UnknownPartition, true);
        let trouble = self.cursors.get_mut(partition).and_then(|cursor| cursor.trouble.as_mut());
        let Some(trouble) = trouble else { return };
        let since = *trouble.unknown_since.get_or_insert(now);
        if now.saturating_duration_since(since) >= self.options.unknown_deadline {
            self.fail(now, partition, Cause::UnknownPartition);
        }
    }

    /// Takes the first offset and the offset after the last record of a partition.
    pub fn handle_range(
        &mut self,
        now: Instant,
        partition: &TopicPartition,
        generation: u64,
        outcome: Result<(i64, i64), Fault<E>>,
    ) {
        let cursor = self.cursors.get_mut(partition).filter(|cursor| cursor.generation == generation);
        // It may have been moved since.
        let Some(cursor) = cursor else { return };
        cursor.range_answered();
        let position = cursor.next;
        match outcome {
            Ok((log_start, end)) if position < log_start || position > end => {
                self.fail(now, partition, Cause::OutOfRange { position, log_start, end });
            }
            // In range after all: the broker that said otherwise was behind. `trouble` has set the pause already.
            Ok(_) => {}
            Err(fault) => self.fail(now, partition, Cause::Fault(fault.error)),
        }
    }

    /// Notes one more failure in a row, and sets the pause; gives up when the deadline has passed.
    fn trouble(&mut self, now: Instant, partition: &TopicPartition, cause: Cause<E>, refresh: bool) {
        let Some(cursor) = self.cursors.get_mut(partition) else { return };
        let old = cursor.trouble.take();
        let since = old.as_ref().map_or(now, |old| old.since);
        let failures = old.as_ref().map_or(0, |old| old.attempts);
        let unknown_since = old.and_then(|old| old.unknown_since);
        // Being unknown has its own deadline, which anything else ends.
        let unknown_since = unknown_since.filter(|_| matches!(cause, Cause::UnknownPartition));
        if refresh {
            cursor.leader = None;
            self.leaders_changed = true;
        }
        let attempts = failures.saturating_add(1);
        let pause = self.pause_after(failures);
        let not_before = now.checked_add(pause).unwrap_or(now);
        let is_over = now.saturating_duration_since(since) >= self.options.retries_deadline;
        if let Some(cursor) = self.cursors.get_mut(partition) {
            cursor.trouble = Some(Trouble { since, attempts, not_before, cause: cause.clone(), unknown_since });
        }
        if is_over {
            self.fail(now, partition, cause);
        } else if refresh && let Some(topic) = self.topics.get_mut(&partition.topic) {
            topic.want(now);
        }
    }

    fn fail(&mut self, now: Instant, partition: &TopicPartition, cause: Cause<E>) {
        let Some(cursor) = self.cursors.get_mut(partition).filter(|cursor| cursor.failure.is_none()) else { return };
        let (after, attempts) = match &cursor.trouble {
            Some(trouble) => (now.saturating_duration_since(trouble.since), trouble.attempts),
            None => (Duration::ZERO, 1),
        };
        let failure = Failure { partition: partition.clone(), cause, after, attempts };
        cursor.failure = Some(failure.clone());
        cursor.queued = cursor.queued.saturating_add(1);
        let source = cursor.leader.map_or(-1, |(node, _)| node);
        self.ready.push_back(Entry { source, bytes: 0, ready: Ready::Failed(failure) });
    }

    /// Partitions of a topic that have not failed.
    fn live(&self, name: &Arc<str>) -> Vec<TopicPartition> {
        let of_topic = self.cursors.iter().filter(|(partition, _)| partition.topic == *name);
        of_topic.filter(|(_, cursor)| cursor.failure.is_none()).map(|(partition, _)| partition.clone()).collect()
    }

    /// The pause after so many failures and one more. Partitions that fail in the same event pause alike, so that they
    /// come back in one request.
    fn pause_after(&self, failures: u32) -> Duration {
        let (first, max) = (self.options.retry_backoff, self.options.retry_backoff_max);
        Backoff::after(failures, first, max, self.random).next_pause()
    }
}

/// Walks the headers: where does reading go on?
fn scan(records: &RecordSet, position: i64) -> Scan {
    let mut scan = Scan { next: position, epoch: None, cut_off: None, damage: None };
    let mut batches = records.batches();
    for batch in batches.by_ref() {
        match batch {
            Ok(batch) => {
                scan.next = scan.next.max(batch.next_offset());
                scan.epoch = batch.leader_epoch();
            }
            Err(e) => scan.damage = Some(format!("damaged batch at or after offset {}: {e}", scan.next)),
        }
    }
    scan.cut_off = batches.cut_off();
    scan
}

/// The largest batch that is asked for whole: what fits in a frame with room for the rest of an answer.
const BATCH_BYTES_MAX: usize = FRAME_BYTES_MAX / 2;
