//! Whether the log that is read on is the log that was read: leader epochs (KIP-320), and what to do about what is lost.
//!
//! Inputs: `handle_epochs`, `handle_range`. Outputs: `poll_epochs`, `poll_range`.

use std::time::Instant;

use crate::kafka::msg::{CodeClass, EpochEnd, EpochEndAnswer, EpochEndCall, EpochEndPartition};

use super::cursor::Cursor;
use super::{
    Cause, Entry, Fault, FetchState, Moved, OffsetRange, OnLost, Position, RangeOrder, Ready, TopicPartition, Until,
};

/// Partitions of one leader whose position is to be compared with its log. Hand it back with the answer.
#[derive(Clone, Debug)]
pub struct EpochOrder {
    /// The leader.
    pub broker: i32,
    /// The request.
    pub call: EpochEndCall,
    asked: Vec<(TopicPartition, u64, Option<i32>)>,
}

impl<E: Clone> FetchState<E> {
    /// The next leader whose log is to be compared with positions. Answer with [`FetchState::handle_epochs`].
    pub fn poll_epochs(&mut self, now: Instant) -> Option<EpochOrder> {
        let holds = match self.no_check {
            Some(Until::Changed) => true,
            Some(Until::Moment(moment)) => now < moment,
            None => false,
        };
        if holds {
            debug_assert!(!self.cursors.values().any(|cursor| cursor.wants_check(now).is_some()), "a check was missed");
            return None;
        }
        let Some(leader) = self.cursors.values().find_map(|cursor| cursor.wants_check(now)) else {
            let later = self.cursors.values().filter_map(Cursor::retry_at).filter(|at| *at > now).min();
            self.no_check = Some(later.map_or(Until::Changed, Until::Moment));
            return None;
        };
        let mut order = EpochOrder { broker: leader, call: EpochEndCall { topics: Vec::new() }, asked: Vec::new() };
        for (partition, cursor) in &mut self.cursors {
            if cursor.wants_check(now) != Some(leader) {
                continue;
            }
            let (Some((_, current_epoch)), Some(epoch)) = (cursor.leader, cursor.next_epoch) else { continue };
            order.asked.push((partition.clone(), cursor.ask_check(), current_epoch));
            let part = EpochEndPartition { partition: partition.partition, current_epoch, epoch };
            match order.call.topics.last_mut().filter(|(name, _)| *name == partition.topic) {
                Some((_, parts)) => parts.push(part),
                None => order.call.topics.push((partition.topic.clone(), vec![part])),
            }
        }
        Some(order)
    }

    /// Takes where epochs end in a leader's log.
    pub fn handle_epochs(&mut self, now: Instant, order: &EpochOrder, outcome: Result<EpochEndAnswer, Fault<E>>) {
        self.changed();
        let broker = order.broker;
        for (partition, generation, current_epoch) in &order.asked {
            let cursor = self.cursors.get_mut(partition).filter(|cursor| cursor.generation == *generation);
            // It may have been moved since.
            let Some(cursor) = cursor else { continue };
            let found = outcome.as_ref().map(|answer| {
                let mut parts = answer.partitions.iter();
                parts
                    .find(|(topic, p, _)| *topic == partition.topic && *p == partition.partition)
                    .map(|(_, _, end)| *end)
            });
            match found {
                Ok(Some(Ok(end))) => {
                    cursor.checked(*current_epoch);
                    self.compare(now, partition, end);
                }
                // A broker that is too old to be asked (before 2.3) cannot tell.
                Err(fault) if fault.is_final => cursor.checked(*current_epoch),
                Err(fault) => {
                    cursor.want_check();
                    self.trouble(now, partition, Cause::Fault(fault.error.clone()), true);
                }
                Ok(Some(Err(code))) => {
                    cursor.want_check();
                    let cause = Cause::Code { broker, code };
                    match code.class() {
                        CodeClass::Refresh | CodeClass::Retry | CodeClass::Coordinator => {
                            self.trouble(now, partition, cause, true);
                        }
                        _ => self.fail(now, partition, cause),
                    }
                }
                Ok(None) => {
                    cursor.want_check();
                    let text = "the broker left the partition out of its answer".to_owned();
                    self.trouble(now, partition, Cause::BadAnswer { broker, text }, true);
                }
            }
        }
    }

    /// Compares where the leader's log parts from ours with what has been read.
    pub(super) fn compare(&mut self, now: Instant, partition: &TopicPartition, end: EpochEnd) {
        let Some(cursor) = self.cursors.get(partition) else { return };
        let Some(epoch) = cursor.next_epoch else { return };
        if end.end_offset >= cursor.next && end.epoch >= epoch {
            return;
        }
        // What has been fetched and not been handed out is no loss.
        self.discard(partition);
        let Some(cursor) = self.cursors.get(partition) else { return };
        let (known, position) = (end.epoch >= 0 && end.end_offset >= 0, cursor.delivered.offset);
        let same_epoch = cursor.delivered.leader_epoch.is_none_or(|epoch| epoch <= end.epoch);
        if known && same_epoch && position <= end.end_offset {
            return;
        }
        let from = known.then_some(end.end_offset.min(position));
        let cause = Cause::Truncated { position, from };
        match (self.options.on_lost, from) {
            (OnLost::Fail, _) => self.fail(now, partition, cause),
            (_, Some(offset)) => {
                // Below the end of that epoch the log is the one that was read.
                let leader_epoch = Some(end.epoch);
                self.go_on_at(partition, Position { offset, leader_epoch }, cause);
            }
            (_, None) => {
                if let Some(cursor) = self.cursors.get_mut(partition) {
                    cursor.want_range(true);
                }
            }
        }
    }

    /// The next partition whose first and last offset are wanted. Answer with [`FetchState::handle_range`].
    pub fn poll_range(&mut self) -> Option<RangeOrder> {
        if self.no_range {
            debug_assert!(!self.cursors.values().any(Cursor::wants_range), "a range was missed");
            return None;
        }
        let Some((partition, cursor)) = self.cursors.iter_mut().find(|(_, cursor)| cursor.wants_range()) else {
            self.no_range = true;
            return None;
        };
        let generation = cursor.ask_range();
        Some(RangeOrder { partition: partition.clone(), generation })
    }

    /// Takes what a partition holds.
    pub fn handle_range(
        &mut self,
        now: Instant,
        partition: &TopicPartition,
        generation: u64,
        outcome: Result<OffsetRange, Fault<E>>,
    ) {
        self.changed();
        let cursor = self.cursors.get_mut(partition).filter(|cursor| cursor.generation == generation);
        // It may have been moved since.
        let Some(cursor) = cursor else { return };
        let is_lost = cursor.range_answered();
        let position = cursor.next;
        let range = match outcome {
            Ok(range) => range,
            Err(fault) => return self.fail(now, partition, Cause::Fault(fault.error)),
        };
        if !is_lost && (range.log_start..=range.end).contains(&position) {
            // In range after all: the broker that said otherwise was behind, or could not find the epoch that we named.
            // `trouble` has set the pause already.
            cursor.next_epoch = None;
            return;
        }
        let OffsetRange { log_start, end, visible_end } = range;
        let cause = if is_lost {
            Cause::Truncated { position, from: None }
        } else {
            Cause::OutOfRange { position, log_start, end }
        };
        let to = match self.options.on_lost {
            OnLost::Fail => return self.fail(now, partition, cause),
            OnLost::Earliest => log_start,
            OnLost::Latest => visible_end,
        };
        self.go_on_at(partition, to.into(), cause);
    }

    /// Goes on somewhere else, and says so.
    fn go_on_at(&mut self, partition: &TopicPartition, to: Position, cause: Cause<E>) {
        let turn = self.next_turn();
        let Some(cursor) = self.cursors.get_mut(partition) else { return };
        cursor.move_to(turn, to);
        let source = cursor.leader.map_or(-1, |(node, _)| node);
        let ready = Ready::Moved(Moved { partition: partition.clone(), to, cause });
        self.ready.push_back(Entry { source, ready });
    }
}
