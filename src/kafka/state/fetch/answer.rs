//! What answers do to the machine: its inputs.
//!
//! Inputs: `handle_answer`, `handle_metadata`. Outputs: see [`FetchState`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::kafka::msg::{AbortedTransaction, CodeClass, ErrorCode, FetchAnswer, FetchPartitionAnswer, TopicRef};
use crate::kafka::record::RecordSet;
use crate::kafka::state::backoff::Backoff;
use crate::kafka::state::cluster::Topic;
use crate::limits::FRAME_BYTES_MAX;

use super::budget::Hold;
use super::cursor::Trouble;
use super::session::Marks;
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
        self.changed();
        self.random = self.random.wrapping_add(1);
        let Some(source) = self.sources.get_mut(&broker) else { return };
        let Some(asked) = source.in_flight.take() else { return };
        match outcome {
            Ok(answer) if answer.error.is_ok() => {
                source.session.answered(answer.session_id);
                self.accept(now, broker, asked, answer);
            }
            // The broker has dropped the session: the next request is whole, and goes out at once.
            Ok(answer) if source.session.refused(answer.error) => {}
            Ok(answer) => {
                let cause = Cause::Code { broker, code: answer.error };
                self.all_in_trouble(now, &asked, &cause, answer.error.is_retriable());
            }
            Err(fault) => {
                source.session.broken();
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
        // One account for the whole answer: any part of it keeps all of it.
        let mut hold = None;
        if answer.partitions.iter().any(|part| !part.records.is_empty()) {
            let source = self.sources.entry(broker).or_default();
            let whole = Arc::new(self.budget.hold(&source.held, answer.bytes));
            source.keep(&whole);
            hold = Some(whole);
        }
        for part in answer.partitions {
            let topic = match &part.topic {
                TopicRef::Name(name) => Some(name.clone()),
                TopicRef::Id(id) => id.and_then(|id| asked.names.get(&id).cloned()),
            };
            // What was not asked for, or is there twice, is not taken.
            let Some(topic) = topic else { continue };
            let partition = TopicPartition { topic, partition: part.partition };
            let Some(ask) = asked.partitions.remove(&partition) else { continue };
            if part.error.is_ok() {
                self.sources.entry(broker).or_default().session.mark(&partition, Marks::of(&part));
            }
            if self.is_current(&partition, ask) {
                self.accept_partition(now, broker, partition, ask, part, hold.as_ref());
            }
        }
        self.accept_unchanged(now, broker, asked);
    }

    /// Partitions that are not in the answer: within a session nothing is new about them.
    fn accept_unchanged(&mut self, now: Instant, broker: i32, mut asked: Asked) {
        let session = &self.sources.entry(broker).or_default().session;
        let mut unchanged = Vec::new();
        asked.partitions.retain(|partition, ask| match session.unchanged(partition) {
            Some(marks) => {
                unchanged.push((partition.clone(), *ask, marks));
                false
            }
            None => true,
        });
        for (partition, ask, marks) in unchanged {
            if self.is_current(&partition, ask) {
                self.note(now, &partition, marks);
                // Only who has just been assigned, moved or in trouble has to be told that there is nothing.
                if self.cursors.get(&partition).is_some_and(|cursor| cursor.untold) {
                    self.hand_out(broker, partition, marks, Vec::new(), RecordSet::new(Bytes::new()), None);
                }
            }
        }
        if !asked.partitions.is_empty() {
            self.sources.entry(broker).or_default().session.broken();
            let text = "the broker left the partition out of its answer";
            let cause = Cause::BadAnswer { broker, text: text.to_owned() };
            self.all_in_trouble(now, &asked, &cause, true);
        }
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
        hold: Option<&Arc<Hold>>,
    ) {
        match part.error {
            ErrorCode::NONE => match part.diverging {
                Some(end) => self.compare(now, &partition, end),
                None if self.go_to_replica(now, broker, &partition, &part) => {}
                None => self.accept_records(now, broker, partition, ask, part, hold),
            },
            ErrorCode::OFFSET_OUT_OF_RANGE => {
                self.trouble(now, &partition, Cause::Code { broker, code: part.error }, false);
                if let Some(cursor) = self.cursors.get_mut(&partition) {
                    // A follower may be behind or hold less: only the leader's word counts.
                    if cursor.leave_replica() {
                        self.brokers_changed = true;
                    } else {
                        cursor.want_range(false);
                    }
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

    /// Follows the leader to a replica that is closer to us (KIP-392), and whether that is all that the answer says.
    fn go_to_replica(
        &mut self,
        now: Instant,
        broker: i32,
        partition: &TopicPartition,
        part: &FetchPartitionAnswer,
    ) -> bool {
        let node = part.preferred_read_replica;
        let Some(cursor) = self.cursors.get_mut(partition).filter(|_| node >= 0 && node != broker) else {
            return false;
        };
        cursor.prefer(node, now.checked_add(REPLICA_AGE_MAX).unwrap_or(now));
        self.brokers_changed = true;
        part.records.is_empty()
    }

    /// Goes to the leader that the answer names (KIP-951), when it is newer than the one we know.
    fn follow_hint(&mut self, now: Instant, partition: &TopicPartition, part: &FetchPartitionAnswer) {
        let known = self.topics.get(&partition.topic).and_then(|topic| topic.leader(partition.partition));
        let known_epoch = known.and_then(|(_, epoch)| epoch);
        let (Some(hint), Some(cursor)) = (part.leader, self.cursors.get_mut(partition)) else { return };
        if Some(hint.epoch) > known_epoch && cursor.failure.is_none() {
            cursor.set_leader((hint.node, Some(hint.epoch)));
            self.brokers_changed = true;
            if let Some(trouble) = &mut cursor.trouble {
                trouble.not_before = now;
            }
        }
    }

    /// Notes what a good answer says beside records.
    fn note(&mut self, now: Instant, partition: &TopicPartition, marks: Marks) {
        let Some(cursor) = self.cursors.get_mut(partition) else { return };
        cursor.high_watermark = marks.high_watermark;
        cursor.last_stable_offset = marks.last_stable_offset;
        cursor.log_start_offset = marks.log_start_offset;
        cursor.last_answer = Some(now);
        cursor.trouble = None;
    }

    fn accept_records(
        &mut self,
        now: Instant,
        broker: i32,
        partition: TopicPartition,
        ask: Ask,
        part: FetchPartitionAnswer,
        hold: Option<&Arc<Hold>>,
    ) {
        let turn = self.next_turn();
        let Some(cursor) = self.cursors.get_mut(&partition) else { return };
        let marks = Marks::of(&part);
        let records = RecordSet::new(part.records);
        let scan = scan(&records, cursor.next);
        if scan.next == cursor.next && scan.damage.is_none() && !records.is_empty() {
            let trouble = cursor.trouble.take();
            self.note(now, &partition, marks);
            if let Some(cursor) = self.cursors.get_mut(&partition) {
                cursor.trouble = trouble;
            }
            self.no_progress(now, broker, &partition, ask, scan.cut_off);
            return;
        }
        cursor.bytes_max = self.options.partition_bytes_max;
        if !records.is_empty() {
            // The partition that was served goes to the end of the line.
            cursor.turn = turn;
        }
        self.note(now, &partition, marks);
        let damage = scan.damage.clone();
        let hold = hold.filter(|_| !records.is_empty()).cloned();
        self.hand_out(broker, partition.clone(), marks, part.aborted, records, hold.map(|hold| (hold, scan)));
        if let Some(text) = damage {
            // The good batches before it come out first.
            self.fail(now, &partition, Cause::BadAnswer { broker, text });
        }
    }

    /// Queues an answer for the caller: records with their account and what they come to, or that there are none.
    fn hand_out(
        &mut self,
        broker: i32,
        partition: TopicPartition,
        marks: Marks,
        aborted: Vec<AbortedTransaction>,
        records: RecordSet,
        found: Option<(Arc<Hold>, Scan)>,
    ) {
        let Some(cursor) = self.cursors.get_mut(&partition) else { return };
        cursor.untold = false;
        let (position, position_epoch) = (cursor.next, cursor.next_epoch);
        let hold = match found {
            Some((hold, scan)) => {
                if position != scan.next {
                    (cursor.next, cursor.next_epoch) = (scan.next, scan.epoch);
                }
                Some(hold)
            }
            // Nothing new, and the caller has not seen what came before: no need to say so.
            None if cursor.queued > 0 => return,
            None => None,
        };
        cursor.queued = cursor.queued.saturating_add(1);
        let data = FetchedData {
            partition,
            broker,
            position,
            position_epoch,
            next: cursor.next,
            next_epoch: cursor.next_epoch,
            high_watermark: marks.high_watermark,
            last_stable_offset: marks.last_stable_offset,
            log_start_offset: marks.log_start_offset,
            aborted,
            records,
            hold,
        };
        self.ready.push_back(Entry { source: broker, ready: Ready::Data(data) });
    }

    /// Bytes came, and no whole batch at or after the position is among them.
    fn no_progress(&mut self, now: Instant, broker: i32, partition: &TopicPartition, ask: Ask, cut_off: Option<usize>) {
        // In a session the broker chooses the order; a whole request begins with the partition in need.
        self.sources.entry(broker).or_default().session.broken();
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
        self.changed();
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
                        cursor.set_leader(leader);
                        self.brokers_changed = true;
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

    /// Notes one more failure in a row, and sets the pause; gives up when the deadline has passed.
    pub(super) fn trouble(&mut self, now: Instant, partition: &TopicPartition, cause: Cause<E>, refresh: bool) {
        let Some(cursor) = self.cursors.get_mut(partition) else { return };
        let old = cursor.trouble.take();
        let since = old.as_ref().map_or(now, |old| old.since);
        let failures = old.as_ref().map_or(0, |old| old.attempts);
        let unknown_since = old.and_then(|old| old.unknown_since);
        // Being unknown has its own deadline, which anything else ends.
        let unknown_since = unknown_since.filter(|_| matches!(cause, Cause::UnknownPartition));
        cursor.untold = true;
        if refresh {
            cursor.forget_leader();
            self.brokers_changed = true;
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

    pub(super) fn fail(&mut self, now: Instant, partition: &TopicPartition, cause: Cause<E>) {
        let Some(cursor) = self.cursors.get_mut(partition).filter(|cursor| cursor.failure.is_none()) else { return };
        let (after, attempts) = match &cursor.trouble {
            Some(trouble) => (now.saturating_duration_since(trouble.since), trouble.attempts),
            None => (Duration::ZERO, 1),
        };
        let failure = Failure { partition: partition.clone(), cause, after, attempts };
        cursor.failure = Some(failure.clone());
        cursor.queued = cursor.queued.saturating_add(1);
        let source = cursor.leader.map_or(-1, |(node, _)| node);
        self.ready.push_back(Entry { source, ready: Ready::Failed(failure) });
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

/// How long a leader's word for a closer replica holds: as long as Java's client keeps metadata.
const REPLICA_AGE_MAX: Duration = Duration::from_secs(300);

/// The largest batch that is asked for whole: what fits in a frame with room for the rest of an answer.
const BATCH_BYTES_MAX: usize = FRAME_BYTES_MAX / 2;
