//! What is due: batches to close and to send, and for how long nothing is.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::kafka::msg::{ProduceCall, ProduceTopic};
use crate::kafka::state::backoff::Backoff;
use crate::kafka::state::fetch::TopicPartition;

use super::batch::{Batch, Queue, Stage};
use super::topic::draw;
use super::{Cause, Fault, Identity, Owner, ProduceOrder, ProduceState, SealOrder, Sealed, Sent, seal};

/// The pause after so many failures.
pub(super) fn pause(first: Duration, longest: Duration, failures: u32, random: &mut u64) -> Duration {
    Backoff::after(failures, first, longest, draw(random)).next_pause()
}

/// Kafka's brokers remember so many batches of a producer and partition.
const IDEMPOTENT_IN_FLIGHT_MAX: usize = 5;

impl<T, E: Clone> ProduceState<T, E> {
    /// Gives up what has waited too long. Call first.
    pub fn poll_expired(&mut self, now: Instant) {
        let limit = self.options.delivery_timeout;
        let is_late = |batch: &Batch<T, E>| {
            // What is with a broker, or being compressed, comes back by itself.
            let waits = matches!(batch.stage, Stage::Open(_) | Stage::Ready(_));
            waits && now.saturating_duration_since(batch.created) >= limit
        };
        let late: Vec<(TopicPartition, u64)> = (self.queues.iter())
            .flat_map(|(at, queue)| queue.batches.iter().filter(|b| is_late(b)).map(|b| (at.clone(), b.id)))
            .collect();
        for (at, id) in late {
            let known = self.queues.get_mut(&at).and_then(|queue| queue.find(id)).and_then(|batch| batch.cause.clone());
            let leaderless = self.topics.get(&at.topic).and_then(|topic| topic.partitions.get(&at.partition));
            let fallback =
                if leaderless.is_some_and(|leader| leader.node.is_none()) { Cause::NoLeader } else { Cause::NotSent };
            self.give_up(now, &at, id, known.unwrap_or(fallback));
        }
    }

    /// Whether a producer id has to be asked for, at any broker. Hand the answer to `handle_identity`.
    pub fn poll_identity(&mut self, now: Instant) -> bool {
        // A transactional id is made known by `init_transactions`.
        if self.options.transactional_id.is_some() || self.queues.values().all(|queue| queue.batches.is_empty()) {
            return false;
        }
        match &mut self.identity {
            Identity::Unknown { asking, not_before } if !*asking && not_before.is_none_or(|at| at <= now) => {
                *asking = true;
                true
            }
            _ => false,
        }
    }

    /// Takes a producer id and epoch, or why there is none.
    pub fn handle_identity(&mut self, now: Instant, outcome: Result<Owner, Fault<E>>) {
        match outcome {
            Ok(owner) => self.identity = Identity::Known(owner),
            Err(fault) => {
                let not_before = now.checked_add(self.options.retry_backoff_max);
                self.identity = Identity::Unknown { asking: false, not_before };
                if fault.is_final {
                    self.fail_all(now, &Cause::Fault(fault.error));
                }
            }
        }
    }

    /// The producer id and epoch in force.
    pub const fn identity(&self) -> Option<Owner> {
        match self.identity {
            Identity::Known(owner) => Some(owner),
            _ => None,
        }
    }

    /// A batch to compress.
    pub fn poll_seal(&mut self, now: Instant) -> Option<SealOrder> {
        if self.seals.is_empty() {
            let due: Vec<TopicPartition> = (self.queues.iter())
                .filter(|(at, queue)| {
                    self.candidate(at, queue, now)
                        .is_some_and(|batch| batch.is_open() && self.lingered(batch) <= Some(now))
                })
                .map(|(at, _)| at.clone())
                .collect();
            for at in due {
                if let Some(batch) = self.queues.get_mut(&at).and_then(|queue| queue.batches.back_mut()) {
                    self.seals.extend(seal(&at, batch, self.options.codec));
                }
            }
        }
        self.seals.pop_front()
    }

    /// When an open batch is due; none for at once.
    fn lingered(&self, batch: &Batch<T, E>) -> Option<Instant> {
        if batch.order < self.urgent_below || self.waiting_for_room > 0 {
            return None;
        }
        batch.created.checked_add(self.options.linger)
    }

    /// Takes a compressed batch.
    pub fn handle_sealed(&mut self, now: Instant, sealed: Sealed) {
        let Sealed { partition, id, outcome } = sealed;
        let Some(batch) = self.queues.get_mut(&partition).and_then(|queue| queue.find(id)) else { return };
        match outcome {
            Ok(bytes) => batch.stage = Stage::Ready(bytes),
            Err(error) => self.give_up(now, &partition, id, Cause::Build(error)),
        }
    }

    /// The first batch that is not with a broker, if it is one that may go now.
    fn candidate<'a>(&self, at: &TopicPartition, queue: &'a Queue<T, E>, now: Instant) -> Option<&'a Batch<T, E>> {
        let first = queue.batches.iter().position(|batch| !batch.is_sent())?;
        let batch = queue.batches.get(first)?;
        if batch.retry_at.is_some_and(|retry_at| retry_at > now) || !self.transaction.admits(at) {
            return None;
        }
        let leader = self.topics.get(&at.topic)?.partitions.get(&at.partition)?.node?;
        let sent = || queue.batches.iter().filter(|batch| batch.is_sent());
        let limit = match (&self.identity, self.options.acks) {
            (Identity::NotWanted, 0) => self.options.in_flight_max,
            // Without sequence numbers, a batch that fails must not be overtaken.
            (Identity::NotWanted, _) => 1,
            _ if !queue.sequences.is_known => 1,
            _ => self.options.in_flight_max.min(IDEMPOTENT_IN_FLIGHT_MAX),
        };
        // Towards a new leader, only when the old one has said its last word.
        let elsewhere = sent().any(|b| matches!(b.stage, Stage::Sent { broker, .. } if broker != leader));
        if sent().count() >= limit || elsewhere {
            return None;
        }
        if let Identity::NotWanted = self.identity {
            return Some(batch);
        }
        let Identity::Known(owner) = self.identity else { return None };
        let sequences = &queue.sequences;
        let may = match batch.stamp {
            // Again: alone, as the next one the broker waits for.
            Some(_) => first == 0 && !sequences.bump_wanted,
            None => {
                let others = queue.batches.iter().filter_map(|b| b.stamp).any(|stamp| stamp.owner != owner);
                !others && !sequences.unresolved && !sequences.bump_wanted && (batch.attempts == 0 || first == 0)
            }
        };
        may.then_some(batch)
    }

    /// A request to send now. Requests to one broker must reach it in the order in which they come out.
    pub fn poll_request(&mut self, now: Instant) -> Option<ProduceOrder> {
        self.renew_epochs();
        let mut by_broker: BTreeMap<i32, Vec<&TopicPartition>> = BTreeMap::new();
        for (at, queue) in self.queues.iter().filter(|(_, queue)| !queue.batches.is_empty()) {
            let leader = self.topics.get(&at.topic).and_then(|topic| topic.partitions.get(&at.partition)?.node);
            if let (Some(leader), Some(batch)) = (leader, self.candidate(at, queue, now))
                && batch.is_ready()
            {
                by_broker.entry(leader).or_default().push(at);
            }
        }
        let free = |broker: &i32| {
            self.brokers.get(broker).is_none_or(|state| {
                state.in_flight < self.options.in_flight_max && state.muted_until.is_none_or(|until| until <= now)
            })
        };
        let (broker, places) = by_broker.into_iter().find(|(broker, _)| free(broker))?;
        let turn = self.turn.checked_rem(places.len()).unwrap_or(0);
        let places: Vec<TopicPartition> =
            places.iter().cycle().skip(turn).take(places.len()).map(|at| (*at).clone()).collect();
        self.turn = self.turn.wrapping_add(1);
        Some(self.fill(broker, places))
    }

    /// Batches are given to the request as long as they fit; the first one always does.
    fn fill(&mut self, broker: i32, places: Vec<TopicPartition>) -> ProduceOrder {
        let owner = self.identity();
        let mut sent = Sent { broker, batches: Vec::new() };
        let mut topics: BTreeMap<std::sync::Arc<str>, ProduceTopic> = BTreeMap::new();
        let mut bytes = 0_usize;
        for at in places {
            let Some(queue) = self.queues.get_mut(&at) else { continue };
            let Some(batch) = queue.batches.iter_mut().find(|batch| !batch.is_sent()) else { continue };
            let size = batch.ready_bytes();
            if bytes > 0 && bytes.saturating_add(size) > self.options.request_bytes_max {
                continue;
            }
            bytes = bytes.saturating_add(size);
            if let (Some(owner), None) = (owner, batch.stamp) {
                let count = batch.count();
                batch.stamp = Some(queue.sequences.stamp(owner, count));
            }
            let batch_bytes = batch.send(broker);
            sent.batches.push((at.clone(), batch.id));
            let id = self.topics.get(&at.topic).and_then(|topic| topic.id);
            let name = at.topic.clone();
            let topic = topics.entry(at.topic).or_insert_with(|| ProduceTopic { name, id, partitions: Vec::new() });
            topic.partitions.push((at.partition, batch_bytes));
        }
        let id = self.next_id;
        self.next_id = id.saturating_add(1);
        self.requests.insert(id, sent);
        let state = self.brokers.entry(broker).or_default();
        state.in_flight = state.in_flight.saturating_add(1);
        let call = ProduceCall {
            transactional_id: self.options.transactional_id.clone(),
            joins_transaction: self.transaction.is_implicit(),
            acks: self.options.acks,
            timeout_ms: self.options.request_timeout_ms,
            topics: topics.into_values().collect(),
        };
        ProduceOrder { id, broker, call }
    }

    /// Partitions in which the broker has lost our track are numbered anew under the next epoch (KIP-360).
    fn renew_epochs(&mut self) {
        for queue in self.queues.values_mut() {
            if !queue.wants_new_start() {
                continue;
            }
            let Identity::Known(owner) = self.identity else { continue };
            if self.options.transactional_id.is_some() {
                // The transaction has failed by then; its abort brings the new epoch.
                continue;
            }
            if queue.sequences.owner == Some(owner) {
                self.identity =
                    owner.next_epoch().map_or(Identity::Unknown { asking: false, not_before: None }, Identity::Known);
            }
            queue.start_anew();
        }
    }

    /// When to look again, even if nothing comes in.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let mut next = self.metadata_timeout();
        let mut at_most = |at: Option<Instant>| {
            if let Some(at) = at {
                next = Some(next.map_or(at, |known: Instant| known.min(at)));
            }
        };
        let mut has_batches = false;
        for queue in self.queues.values() {
            let waiting = || queue.batches.iter().filter(|batch| !batch.is_sent());
            has_batches |= !queue.batches.is_empty();
            at_most(waiting().next().and_then(|batch| batch.created.checked_add(self.options.delivery_timeout)));
            if let Some(batch) = waiting().next() {
                at_most(batch.retry_at.filter(|at| *at > now));
                at_most(self.lingered(batch).filter(|at| batch.is_open() && *at > now));
            }
        }
        for broker in self.brokers.values() {
            at_most(broker.muted_until.filter(|until| *until > now));
        }
        if let Identity::Unknown { asking: false, not_before } = self.identity
            && has_batches
        {
            at_most(not_before.filter(|at| *at > now));
        }
        next
    }
}
