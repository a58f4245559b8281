//! What an answer means for the batches that were sent.

use std::time::Instant;

use bytes::Bytes;

use crate::kafka::msg::{CodeClass, ErrorCode, ProduceAnswer, ProducePartitionAnswer, TopicRef};
use crate::kafka::record::{Decompressor, Header, RecordSet};
use crate::kafka::state::fetch::TopicPartition;

use super::batch::{Batch, Stage};
use super::topic::Leader;
use super::{Cause, Done, Failed, ProduceState, Written, new_batch, seal};

/// A request that has no answer.
#[derive(Clone, Debug)]
pub struct SendFault<E> {
    /// The error.
    pub error: E,
    /// Whether asking again makes no sense.
    pub is_final: bool,
    /// Whether the broker may have seen the request.
    pub was_sent: bool,
}

impl<T, E: Clone> ProduceState<T, E> {
    /// Takes what became of a request: the answer, none with acks=0, or why there is none.
    pub fn handle_answer(&mut self, now: Instant, id: u64, outcome: Result<Option<ProduceAnswer>, SendFault<E>>) {
        let Some(sent) = self.requests.remove(&id) else { return };
        let broker = sent.broker;
        let state = self.brokers.entry(broker).or_default();
        state.in_flight = state.in_flight.saturating_sub(1);
        match outcome {
            Ok(Some(answer)) => {
                if let Ok(throttle @ 1..) = u64::try_from(answer.throttle_ms) {
                    state.muted_until = now.checked_add(std::time::Duration::from_millis(throttle));
                }
                for (at, batch) in sent.batches {
                    let topic_id = self.topics.get(&at.topic).and_then(|topic| topic.id);
                    let is_it = |p: &&ProducePartitionAnswer| {
                        p.partition == at.partition
                            && match &p.topic {
                                TopicRef::Name(name) => *name == at.topic,
                                TopicRef::Id(id) => *id == topic_id || sole_topic(&answer),
                            }
                    };
                    match answer.partitions.iter().find(is_it) {
                        Some(partition) => self.settle(now, broker, &at, batch, partition),
                        None => self.retry(now, &at, batch, Cause::BadAnswer { broker }, true),
                    }
                }
            }
            Ok(None) => {
                for (at, batch) in sent.batches {
                    self.complete(&at, batch, None, -1);
                }
            }
            Err(fault) => {
                for (at, batch) in sent.batches {
                    self.want_metadata(&at);
                    let cause = Cause::Fault(fault.error.clone());
                    if fault.is_final {
                        self.note_fate(&at, batch, fault.was_sent);
                        self.give_up(now, &at, batch, cause);
                    } else {
                        self.retry(now, &at, batch, cause, fault.was_sent);
                    }
                }
            }
        }
    }

    /// One batch's own answer.
    fn settle(&mut self, now: Instant, broker: i32, at: &TopicPartition, id: u64, answer: &ProducePartitionAnswer) {
        let code = answer.error;
        let cause = Cause::Code { broker, code, text: answer.error_message.clone() };
        match code {
            ErrorCode::NONE => self.complete(at, id, Some(answer.base_offset), answer.log_append_time_ms),
            // The log has it, from an attempt whose answer was lost; where is not remembered.
            ErrorCode::DUPLICATE_SEQUENCE_NUMBER => self.complete(at, id, None, -1),
            ErrorCode::MESSAGE_TOO_LARGE | ErrorCode::RECORD_LIST_TOO_LARGE if self.can_split(at, id) => {
                if self.split(at, id).is_none() {
                    self.give_up(now, at, id, cause);
                }
            }
            ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER
            | ErrorCode::UNKNOWN_PRODUCER_ID
            | ErrorCode::INVALID_PRODUCER_EPOCH
            | ErrorCode::PRODUCER_FENCED => self.lost_track(now, at, id, cause, answer),
            // The leader has it, the replicas may or may not.
            ErrorCode::REQUEST_TIMED_OUT | ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND => {
                self.retry(now, at, id, cause, true);
            }
            _ if matches!(code.class(), CodeClass::Retry | CodeClass::Refresh) => {
                let mut is_hinted = false;
                if code.class() == CodeClass::Refresh {
                    is_hinted = self.take_hint(at, answer);
                    self.want_metadata(at);
                }
                self.retry(now, at, id, cause, false);
                if let (true, Some(batch)) = (is_hinted, self.queues.get_mut(at).and_then(|queue| queue.find(id))) {
                    batch.retry_at = None;
                }
            }
            _ => self.refuse(now, at, id, broker, answer),
        }
    }

    /// The broker does not agree with our epoch or our numbers (KIP-360).
    fn lost_track(
        &mut self,
        now: Instant,
        at: &TopicPartition,
        id: u64,
        cause: Cause<E>,
        answer: &ProducePartitionAnswer,
    ) {
        let code = answer.error;
        let transactional = self.options.transactional_id.is_some();
        let Some(queue) = self.queues.get_mut(at) else { return };
        let (unresolved, bump_wanted) = (queue.sequences.unresolved, queue.sequences.bump_wanted);
        let sequences = queue.sequences;
        let is_first = queue.batches.front().is_some_and(|batch| batch.id == id);
        let Some(batch) = queue.find(id) else { return };
        let Some(stamp) = batch.stamp.filter(|_| self.options.idempotent) else {
            return self.give_up(now, at, id, cause);
        };
        let passing = match code {
            // It waits for a batch before this one, which is on its way again; or this one had another number by then.
            ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER => {
                bump_wanted || !unresolved && (batch.was_moved || !is_first && !sequences.is_due(stamp))
            }
            // Its log is not loaded yet, or the numbers have changed meanwhile.
            ErrorCode::UNKNOWN_PRODUCER_ID => bump_wanted || batch.was_moved || answer.log_start_offset == -1,
            _ => bump_wanted,
        };
        if !passing && transactional {
            let is_fenced = matches!(code, ErrorCode::INVALID_PRODUCER_EPOCH | ErrorCode::PRODUCER_FENCED);
            self.transaction.fail(cause.clone(), is_fenced);
            return self.give_up(now, at, id, cause);
        }
        if !passing && code == ErrorCode::PRODUCER_FENCED {
            return self.give_up(now, at, id, cause);
        }
        batch.was_moved = false;
        if !passing {
            // Whatever was tried before, the broker has none of it.
            batch.maybe_written = false;
            queue.sequences.unresolved = false;
            queue.sequences.bump_wanted = true;
        }
        self.retry(now, at, id, cause, false);
    }

    /// A batch that will not be taken: each of its records is told why (KIP-467).
    fn refuse(&mut self, now: Instant, at: &TopicPartition, id: u64, broker: i32, answer: &ProducePartitionAnswer) {
        let code = answer.error;
        let cause = Cause::Code { broker, code, text: answer.error_message.clone() };
        let Some(batch) = self.take_out(at, id) else { return };
        let (after, attempts, maybe_written) =
            (now.saturating_duration_since(batch.created), batch.attempts, batch.maybe_written);
        self.transaction.fail(cause.clone(), false);
        for (index, slot) in batch.slots.into_iter().enumerate() {
            let own = answer.record_errors.iter().find(|(at, _)| usize::try_from(*at) == Ok(index));
            let cause = match own {
                _ if answer.record_errors.is_empty() => cause.clone(),
                Some((_, text)) => {
                    Cause::Code { broker, code, text: text.clone().or_else(|| answer.error_message.clone()) }
                }
                None => Cause::Companion { broker, code },
            };
            let outcome = Err(Failed { cause, maybe_written, after, attempts });
            self.done.push_back(Done { handle: slot.handle, partition: at.clone(), outcome });
        }
    }

    /// A batch is written.
    fn complete(&mut self, at: &TopicPartition, id: u64, base_offset: Option<i64>, append_time: i64) {
        let Some(queue) = self.queues.get_mut(at) else { return };
        let Some(batch) = queue.remove(id) else { return };
        if let Some(stamp) = batch.stamped {
            queue.sequences.confirm(stamp, batch.count());
        }
        self.buffered_bytes = self.buffered_bytes.saturating_sub(batch.memory);
        for (index, slot) in (0_i64..).zip(batch.slots) {
            let offset = base_offset.filter(|base| *base >= 0).map(|base| base.saturating_add(index));
            let timestamp = if append_time >= 0 { append_time } else { slot.timestamp };
            let outcome = Ok(Written { offset, timestamp });
            self.done.push_back(Done { handle: slot.handle, partition: at.clone(), outcome });
        }
    }

    fn note_fate(&mut self, at: &TopicPartition, id: u64, maybe_written: bool) {
        if let Some(batch) = self.queues.get_mut(at).and_then(|queue| queue.find(id)) {
            batch.maybe_written |= maybe_written;
        }
    }

    /// A batch that has to be sent again, if there is any patience left.
    fn retry(&mut self, now: Instant, at: &TopicPartition, id: u64, cause: Cause<E>, maybe_written: bool) {
        let limit = self.options.delivery_timeout;
        let Some(batch) = self.queues.get_mut(at).and_then(|queue| queue.find(id)) else { return };
        batch.maybe_written |= maybe_written;
        batch.take_back();
        let failures = batch.attempts.saturating_sub(1);
        let is_over = now.saturating_duration_since(batch.created) >= limit
            || batch.attempts > self.options.retries_max
            || self.transaction.is_aborting();
        if is_over {
            return self.give_up(now, at, id, cause);
        }
        batch.cause = Some(cause);
        let pause =
            super::send::pause(self.options.retry_backoff, self.options.retry_backoff_max, failures, &mut self.random);
        batch.retry_at = now.checked_add(pause);
    }

    /// Tells everybody who waits for a batch that it is not written, or perhaps not.
    pub(super) fn give_up(&mut self, now: Instant, at: &TopicPartition, id: u64, cause: Cause<E>) {
        let Some(batch) = self.take_out(at, id) else { return };
        self.transaction.fail(cause.clone(), false);
        let after = now.saturating_duration_since(batch.created);
        for slot in batch.slots {
            let (attempts, maybe_written) = (batch.attempts, batch.maybe_written);
            let outcome = Err(Failed { cause: cause.clone(), maybe_written, after, attempts });
            self.done.push_back(Done { handle: slot.handle, partition: at.clone(), outcome });
        }
    }

    /// Removes a batch that is given up, and sees to the numbers of those after it.
    fn take_out(&mut self, at: &TopicPartition, id: u64) -> Option<Batch<T, E>> {
        let queue = self.queues.get_mut(at)?;
        let batch = queue.remove(id)?;
        self.buffered_bytes = self.buffered_bytes.saturating_sub(batch.memory);
        if let Some(stamp) = batch.stamp {
            if self.options.transactional_id.is_some() {
                self.transaction.wants_new_epoch();
            } else if batch.maybe_written {
                queue.sequences.unresolved = true;
            } else {
                queue.close_gap(stamp, batch.count());
            }
        }
        Some(batch)
    }

    fn want_metadata(&mut self, at: &TopicPartition) {
        if let Some(topic) = self.topics.get_mut(&at.topic) {
            topic.wanted = true;
        }
    }

    /// Takes over the leader that an answer names (KIP-951); whether there was a newer one.
    fn take_hint(&mut self, at: &TopicPartition, answer: &ProducePartitionAnswer) -> bool {
        let (Some(hint), Some(topic)) = (answer.leader, self.topics.get_mut(&at.topic)) else { return false };
        let Some(known) = topic.partitions.get_mut(&at.partition) else { return false };
        if known.epoch >= Some(hint.epoch) {
            return false;
        }
        *known = Leader { node: Some(hint.node), epoch: Some(hint.epoch) };
        true
    }

    fn can_split(&mut self, at: &TopicPartition, id: u64) -> bool {
        self.queues.get_mut(at).and_then(|queue| queue.find(id)).is_some_and(|batch| batch.slots.len() > 1)
    }

    /// Makes two batches of one that the broker finds too large. They share its numbers.
    fn split(&mut self, at: &TopicPartition, id: u64) -> Option<()> {
        let queue = self.queues.get_mut(at)?;
        let place = queue.batches.iter().position(|batch| batch.id == id)?;
        let whole = queue.batches.get(place)?;
        let Stage::Sent { bytes, .. } = &whole.stage else { return None };
        let half = whole.slots.len() / 2;
        let transactional = self.options.transactional_id.is_some();
        let first_id = self.next_id;
        self.next_id = first_id.saturating_add(2);
        let make = |id| new_batch::<T, E>(id, whole.order, whole.created, self.options.codec, transactional);
        let (mut first, mut second) = (make(first_id), make(first_id.saturating_add(1)));
        copy_records(bytes, half, &mut first, &mut second)?;
        let mut whole = queue.batches.remove(place)?;
        second.slots = whole.slots.split_off(half);
        first.slots = std::mem::take(&mut whole.slots);
        first.memory = whole.memory / 2;
        second.memory = whole.memory.saturating_sub(first.memory);
        first.stamp = whole.stamp;
        second.stamp = whole.stamp.map(|stamp| super::identity::Stamp {
            sequence: super::identity::after(stamp.sequence, first.count()),
            ..stamp
        });
        for half in [&mut first, &mut second] {
            half.attempts = whole.attempts;
            half.maybe_written = whole.maybe_written;
        }
        self.seals.extend(seal(at, &mut first, self.options.codec));
        self.seals.extend(seal(at, &mut second, self.options.codec));
        queue.batches.insert(place, second);
        queue.batches.insert(place, first);
        Some(())
    }
}

/// Reads our own batch back, for its records to go into two others.
fn copy_records<T, E>(bytes: &Bytes, half: usize, first: &mut Batch<T, E>, second: &mut Batch<T, E>) -> Option<()> {
    let mut decompressor = Decompressor::new(usize::MAX);
    let batch = RecordSet::new(bytes.clone()).batches().next()?.ok()?;
    let records = batch.decode(&mut decompressor).ok()?;
    for (index, record) in records.iter().enumerate() {
        let record = record.ok()?;
        let headers: Vec<Header<'_>> = record.headers.iter().collect::<Result<_, _>>().ok()?;
        let target = if index < half { &mut *first } else { &mut *second };
        let Stage::Open(builder) = &mut target.stage else { return None };
        builder.push(record.timestamp, record.key, record.value, &headers);
    }
    Some(())
}

/// An answer about one topic only speaks of the topic that was asked about.
fn sole_topic(answer: &ProduceAnswer) -> bool {
    answer.partitions.windows(2).all(|pair| matches!(pair, [a, b] if a.topic == b.topic))
}
