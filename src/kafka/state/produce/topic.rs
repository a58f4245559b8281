//! What is known about a topic, and the choice among its partitions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use crate::kafka::msg::{CodeClass, TopicId};
use crate::kafka::state::cluster::Topic;

use super::partitioner::Choice;
use super::{Cause, Fault, Partitioner, ProduceState};

#[derive(Debug, Default)]
pub(super) struct TopicState {
    pub(super) id: Option<TopicId>,
    pub(super) partitions: BTreeMap<i32, Leader>,
    /// The cluster must be asked about it.
    pub(super) wanted: bool,
    asking: bool,
    not_before: Option<Instant>,
    answered: Option<Instant>,
    failures: u32,
    /// The partition that records without a key stay with, and the bytes it has had.
    sticky: Option<(i32, usize)>,
    next: usize,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Leader {
    pub(super) node: Option<i32>,
    pub(super) epoch: Option<i32>,
}

/// A pseudo-random number (SplitMix64, Steele, Lea and Flood 2014).
pub(super) const fn draw(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl TopicState {
    /// The partition of a record without one of its own. There are partitions.
    pub(super) fn choose(
        &mut self,
        partitioner: Partitioner,
        key: Option<&[u8]>,
        bytes: usize,
        batch_bytes: usize,
        random: &mut u64,
    ) -> i32 {
        let count = self.partitions.len();
        match partitioner.choose(key) {
            Choice::Hash(hash) => {
                let at = usize::try_from(hash).unwrap_or(0).checked_rem(count).unwrap_or(0);
                self.partitions.keys().nth(at).copied().unwrap_or(0)
            }
            Choice::Next => {
                let at = self.next.checked_rem(count).unwrap_or(0);
                self.next = at.saturating_add(1);
                self.partitions.keys().nth(at).copied().unwrap_or(0)
            }
            Choice::Any => self.any(random, None),
            Choice::Stick => {
                let (partition, had) = match self.sticky {
                    Some((partition, had)) if had < batch_bytes && self.partitions.contains_key(&partition) => {
                        (partition, had)
                    }
                    other => (self.any(random, other.map(|(partition, _)| partition)), 0),
                };
                self.sticky = Some((partition, had.saturating_add(bytes)));
                partition
            }
        }
    }

    /// Any partition that has a leader, or any at all when none has; not `but` if there is another.
    fn any(&self, random: &mut u64, but: Option<i32>) -> i32 {
        let pick = |with_leader: bool, random: &mut u64| {
            let fits = |(number, leader): &(&i32, &Leader)| {
                (!with_leader || leader.node.is_some()) && (self.partitions.len() == 1 || Some(**number) != but)
            };
            let count = self.partitions.iter().filter(fits).count();
            let at = draw(random).checked_rem(u64::try_from(count).unwrap_or(0))?;
            self.partitions.iter().filter(fits).nth(usize::try_from(at).ok()?).map(|(number, _)| *number)
        };
        pick(true, random).or_else(|| pick(false, random)).or(but).unwrap_or(0)
    }
}

impl<T, E: Clone> ProduceState<T, E> {
    /// Marks topics whose leaders have to be looked up, and gives one to ask about.
    pub fn poll_metadata(&mut self, now: Instant) -> Option<Arc<str>> {
        for (at, queue) in self.queues.iter().filter(|(_, queue)| !queue.batches.is_empty()) {
            if let Some(topic) = self.topics.get_mut(&at.topic) {
                let leader = topic.partitions.get(&at.partition).and_then(|leader| leader.node);
                let is_old = topic
                    .answered
                    .is_none_or(|answered| now.saturating_duration_since(answered) >= self.options.metadata_age_max);
                let all_with_brokers = queue.batches.iter().all(super::batch::Batch::is_sent);
                topic.wanted |= (leader.is_none() && !all_with_brokers) || is_old;
            }
        }
        let due = |topic: &TopicState| {
            topic.wanted && !topic.asking && topic.not_before.is_none_or(|not_before| not_before <= now)
        };
        let (name, topic) = self.topics.iter_mut().find(|(_, topic)| due(topic))?;
        topic.asking = true;
        Some(name.clone())
    }

    /// When the next question about a topic is due.
    pub(super) fn metadata_timeout(&self) -> Option<Instant> {
        self.topics.values().filter(|topic| topic.wanted && !topic.asking).filter_map(|topic| topic.not_before).min()
    }

    /// Takes what the cluster says about a topic, or why it said nothing.
    pub fn handle_metadata(&mut self, now: Instant, name: &Arc<str>, outcome: Result<&Topic, Fault<E>>) {
        let first = self.options.retry_backoff;
        let longest = self.options.retry_backoff_max;
        let topic = self.topics.entry(name.clone()).or_default();
        topic.asking = false;
        let failed = match outcome {
            Ok(found) if found.error.is_ok() => {
                topic.wanted = false;
                topic.answered = Some(now);
                topic.id = found.id;
                topic.partitions = (found.partitions.iter())
                    .map(|(number, p)| (*number, Leader { node: p.leader, epoch: p.leader_epoch }))
                    .collect();
                // Leaders that are still missing, or leaders that go on refusing, are not asked for at once.
                let pause = super::send::pause(first, longest, topic.failures, &mut self.random);
                topic.not_before = now.checked_add(pause);
                let missing = topic.partitions.values().any(|leader| leader.node.is_none());
                topic.failures = if missing { topic.failures.saturating_add(1) } else { 0 };
                return;
            }
            Ok(found) => {
                let is_final = !matches!(found.error.class(), CodeClass::Retry | CodeClass::Refresh);
                (Cause::Metadata(found.error), is_final)
            }
            Err(fault) => (Cause::Fault(fault.error), fault.is_final),
        };
        let pause = super::send::pause(first, longest, topic.failures, &mut self.random);
        topic.failures = topic.failures.saturating_add(1);
        topic.not_before = now.checked_add(pause);
        topic.wanted = true;
        let (cause, is_final) = failed;
        let waiting: Vec<_> = (self.queues.iter())
            .filter(|(at, _)| at.topic == *name)
            .flat_map(|(at, queue)| queue.batches.iter().filter(|b| !b.is_sent()).map(|b| (at.clone(), b.id)))
            .collect();
        for (at, id) in waiting {
            if is_final {
                self.give_up(now, &at, id, cause.clone());
            } else if let Some(batch) = self.queues.get_mut(&at).and_then(|queue| queue.find(id)) {
                batch.cause = Some(cause.clone());
            }
        }
        // Only as long as somebody needs it.
        if !self.queues.iter().any(|(at, queue)| at.topic == *name && !queue.batches.is_empty())
            && let Some(topic) = self.topics.get_mut(name)
        {
            topic.wanted = false;
        }
    }
}
