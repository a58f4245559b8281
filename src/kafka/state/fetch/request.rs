//! Which broker is asked for what, and when: shares of the budget, turns of partitions, sessions.
//!
//! Outputs: `poll_request`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use crate::kafka::msg::{FetchCall, FetchPartition, FetchTopic, TopicId};

use super::budget::Hold;
use super::cursor::Cursor;
use super::session::Session;
use super::{FetchOrder, FetchState, TopicPartition};

/// One broker.
#[derive(Debug, Default)]
pub(super) struct Source {
    /// What the request that is out asked for.
    pub(super) in_flight: Option<Asked>,
    pub(super) session: Session,
    /// Partitions that may be read from here, as of the last look at all of them.
    members: BTreeSet<TopicPartition>,
    /// Answers that somebody still holds.
    answers: Vec<Weak<Hold>>,
    /// Bytes of answers that are held, on the way to the caller or at the caller's.
    pub(super) held: Arc<AtomicUsize>,
    /// Bytes that are kept of paused partitions.
    pub(super) aside: Arc<AtomicUsize>,
}

/// What a request asked for.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) partitions: BTreeMap<TopicPartition, Ask>,
    pub(super) names: BTreeMap<TopicId, Arc<str>>,
    /// Bytes of records it may bring.
    bytes_max: usize,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    pub(super) generation: u64,
    pub(super) offset: i64,
    /// Whether the request began with it.
    pub(super) is_first: bool,
}

/// The smallest share of the budget that is asked for at a time, in bytes.
const SHARE_BYTES_MIN: usize = 64 * 1024;

impl Source {
    pub(super) fn aside_bytes(&self) -> usize {
        self.aside.load(Ordering::SeqCst)
    }

    /// Notes an answer with records.
    pub(super) fn keep(&mut self, hold: &Arc<Hold>) {
        self.answers.push(Arc::downgrade(hold));
    }

    /// Whether as much is fetched ahead as shall be: one whole answer beside the one at the caller's.
    fn is_full(&mut self, share: usize) -> bool {
        self.answers.retain(|answer| answer.strong_count() > 0);
        self.answers.len() > 1 && self.held.load(Ordering::SeqCst) > share / 4
    }
}

impl<E: Clone> FetchState<E> {
    /// The next request to make. Answer with [`FetchState::handle_answer`].
    pub fn poll_request(&mut self, now: Instant) -> Option<FetchOrder> {
        self.find_brokers();
        self.wants_room = false;
        let share = self.share();
        let count = self.brokers.len();
        for step in 0..count {
            let at = self.first_broker.wrapping_add(step).checked_rem(count).unwrap_or(0);
            let Some(broker) = self.brokers.get(at).copied() else { continue };
            let source = self.sources.entry(broker).or_default();
            if source.in_flight.is_some() || source.is_full(share) {
                continue;
            }
            // Without room for the least there is none for a larger one; which partitions are due can wait.
            if !self.has_room(share) {
                self.wants_room = true;
                continue;
            }
            let Some(source) = self.sources.get(&broker) else { continue };
            let members = source.members.iter();
            let found = members.filter_map(|partition| Some((partition.clone(), self.cursors.get(partition)?)));
            let mut due: Vec<(TopicPartition, &Cursor<E>)> =
                found.filter(|(_, cursor)| cursor.is_due(now, broker)).collect();
            crate::sorting::by_key(&mut due, |(_, cursor)| cursor.turn);
            // A partition whose limit had to grow has its turn first, and the first batch comes whole.
            let Some(grown) = due.first().map(|(_, cursor)| cursor.bytes_max) else { continue };
            let bytes_max = if grown > self.options.partition_bytes_max { share.max(grown) } else { share };
            if !self.has_room(bytes_max) {
                self.wants_room = true;
                continue;
            }
            let parts = due.iter().map(|(partition, cursor)| {
                let id = self.topics.get(&partition.topic).and_then(|topic| topic.id);
                (partition, id, *cursor)
            });
            let parts: Vec<(&TopicPartition, Option<TopicId>, &Cursor<E>)> = parts.collect();
            let mut session = std::mem::take(&mut self.sources.entry(broker).or_default().session);
            let (call, asked) = self.order(&mut session, bytes_max, &parts);
            let source = self.sources.entry(broker).or_default();
            source.session = session;
            source.in_flight = Some(asked);
            self.first_broker = at.wrapping_add(1);
            return Some(FetchOrder { broker, call });
        }
        None
    }

    /// Sorts partitions by the broker that they are read from, when that has changed.
    fn find_brokers(&mut self) {
        if !std::mem::take(&mut self.brokers_changed) {
            return;
        }
        for source in self.sources.values_mut() {
            source.members.clear();
        }
        for (partition, cursor) in &self.cursors {
            for node in cursor.nodes() {
                self.sources.entry(node).or_default().members.insert(partition.clone());
            }
        }
        self.find_used();
    }

    /// Forgets a partition alone: whoever reads many to their ends removes them one by one.
    pub(super) fn leave_brokers(&mut self, partition: &TopicPartition) {
        let mut emptied = false;
        for source in self.sources.values_mut() {
            emptied |= source.members.remove(partition) && source.members.is_empty();
        }
        if emptied {
            self.find_used();
        }
    }

    fn find_used(&mut self) {
        let used = self.sources.iter().filter(|(_, source)| !source.members.is_empty());
        self.brokers = used.map(|(node, _)| *node).collect();
    }

    /// Bytes to ask one broker for. Each has two answers at a time, one at the caller's and one ahead; a quarter of the
    /// budget is left for what is decompressed.
    pub(super) fn share(&self) -> usize {
        let both = self.options.buffer_bytes_max / 8 * 3;
        let equal = both.checked_div(self.brokers.len().max(1)).unwrap_or(0);
        equal.max(SHARE_BYTES_MIN).min(self.options.fetch_bytes_max.max(1))
    }

    /// Whether the budget has room for another answer. One may be on its way in any case.
    fn has_room(&self, bytes: usize) -> bool {
        let asked = self.sources.values().filter_map(|source| source.in_flight.as_ref());
        let taken = asked.fold(self.budget.used(), |sum, asked| sum.saturating_add(asked.bytes_max));
        taken == 0 || taken.saturating_add(bytes) <= self.options.buffer_bytes_max
    }

    fn order(
        &self,
        session: &mut Session,
        bytes_max: usize,
        due: &[(&TopicPartition, Option<TopicId>, &Cursor<E>)],
    ) -> (FetchCall, Asked) {
        let mut asked = Asked { bytes_max, ..Asked::default() };
        let wanted = due.iter().map(|(partition, id, cursor)| {
            let part = FetchPartition {
                partition: partition.partition,
                offset: cursor.next,
                leader_epoch: cursor.leader.and_then(|(_, epoch)| epoch),
                last_epoch: cursor.next_epoch,
                bytes_max: clamp(cursor.bytes_max),
            };
            (*partition, *id, part)
        });
        let wanted: Vec<(&TopicPartition, Option<TopicId>, FetchPartition)> = wanted.collect();
        let by_id = wanted.iter().all(|(_, id, _)| id.is_some());
        let difference = session.ask(&wanted, by_id);
        // Topics stay in the order of their first partition, so that the order of turns holds as far as it can.
        let mut topics: Vec<FetchTopic> = Vec::new();
        let mut places: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        for (((partition, id, part), (_, _, cursor)), is_named) in wanted.into_iter().zip(due).zip(difference.named) {
            let is_first = asked.partitions.is_empty();
            let ask = Ask { generation: cursor.generation, offset: cursor.next, is_first };
            asked.partitions.insert(partition.clone(), ask);
            if let Some(id) = id {
                asked.names.insert(id, partition.topic.clone());
            }
            if !is_named {
                continue;
            }
            let place = *places.entry(partition.topic.clone()).or_insert_with(|| {
                topics.push(FetchTopic { name: partition.topic.clone(), id, partitions: Vec::new() });
                topics.len().saturating_sub(1)
            });
            if let Some(topic) = topics.get_mut(place) {
                topic.partitions.push(part);
            }
        }
        let call = FetchCall {
            session: difference.session,
            wait_ms_max: i32::try_from(self.options.wait_ms_max).unwrap_or(i32::MAX),
            bytes_min: clamp(self.options.bytes_min),
            bytes_max: clamp(bytes_max),
            isolation: self.options.isolation,
            topics,
            forgotten: difference.forgotten,
            rack: self.options.rack.clone(),
            by_id,
        };
        (call, asked)
    }
}

fn clamp(bytes: usize) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}
