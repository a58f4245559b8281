//! The new protocol (KIP-848): one request, and the broker divides.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::kafka::msg::{ApiKey, ConsumerHeartbeatAnswer, ConsumerHeartbeatCall, ErrorCode, IdPartitions, TopicId};
use crate::kafka::state::backoff::Backoff;
use crate::kafka::state::fetch::{Fault, TopicPartition};

use super::ownership::Ownership;
use super::{Answer, Coordinator, EndCause, Ended, Generation, MemberOptions, Order, Standing, TopicsSeen, Wanted};

/// The epoch that joins.
const JOIN: i32 = 0;
/// The epoch that leaves.
const LEAVE: i32 = -1;
/// The epoch with which a static member leaves for a while.
const LEAVE_STATIC: i32 = -2;

/// A member of a group of the new protocol.
#[derive(Debug)]
pub struct Consumer<E> {
    options: MemberOptions,
    server_assignor: Option<Arc<str>>,
    wanted: Wanted,
    coordinator: Coordinator,
    step: Step,
    member_id: Arc<str>,
    /// 0 while not a member.
    epoch: i32,
    interval: Duration,
    heartbeat_at: Instant,
    /// What the broker has not been told yet, or may not have heard.
    news: News,
    names: BTreeMap<TopicId, Arc<str>>,
    ids: BTreeMap<Arc<str>, TopicId>,
    /// What the broker wants us to have; none when we have told it that we do.
    target: Option<IdPartitions>,
    /// What we shall have once the caller has dealt with the changes, and whether the last of them is on its way.
    becoming: Option<(BTreeSet<TopicPartition>, bool)>,
    is_asking: bool,
    is_looking: bool,
    look_at: Option<Instant>,
    retry_at: Option<Instant>,
    backoff: Backoff,
    pub(super) owned: Ownership,
    pub(super) busy_since: Option<Instant>,
    pub(super) ended: Option<Ended<E>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct News {
    everything: bool,
    topics: bool,
    owned: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Out,
    Member,
    Away { told: bool },
    Leave,
    Left,
}

impl<E: Clone> Consumer<E> {
    pub(super) fn new(now: Instant, options: MemberOptions, server_assignor: Option<Arc<str>>) -> Self {
        Self {
            member_id: options.member_id.clone(),
            backoff: Backoff::new(options.retry_backoff, options.retry_backoff_max, options.seed),
            interval: options.heartbeat_interval,
            options,
            server_assignor,
            wanted: Wanted::default(),
            coordinator: Coordinator::Unknown,
            step: Step::Out,
            epoch: JOIN,
            heartbeat_at: now,
            news: News { everything: true, topics: true, owned: true },
            names: BTreeMap::new(),
            ids: BTreeMap::new(),
            target: None,
            becoming: None,
            is_asking: false,
            is_looking: false,
            look_at: None,
            retry_at: None,
            owned: Ownership::default(),
            busy_since: None,
            ended: None,
        }
    }

    pub(super) fn subscribe(&mut self, now: Instant, wanted: Wanted) {
        if matches!(self.step, Step::Leave | Step::Left) {
            return;
        }
        self.wanted = wanted;
        self.news.topics = true;
        self.heartbeat_at = now;
        if self.step == Step::Out {
            self.step = Step::Member;
        }
    }

    pub(super) fn generation(&self) -> Option<Generation> {
        (self.epoch > 0).then(|| Generation { member_id: self.member_id.clone(), number: self.epoch })
    }

    pub(super) fn standing(&self) -> Standing {
        match self.step {
            _ if self.ended.is_some() => Standing::Failed,
            Step::Out | Step::Away { .. } => Standing::Out,
            Step::Left => Standing::Left,
            Step::Member if self.epoch > 0 && self.target.is_none() && self.becoming.is_none() => Standing::Stable,
            Step::Member | Step::Leave => Standing::Joining,
        }
    }

    pub(super) fn leave(&mut self) {
        if self.step != Step::Left {
            self.step = Step::Leave;
            self.retry_at = None;
            self.is_asking = false;
        }
    }

    fn end(&mut self, api: ApiKey, cause: EndCause<E>) {
        self.owned.lose();
        self.epoch = JOIN;
        self.ended.get_or_insert(Ended { api, cause });
    }

    /// The membership is gone: what we had is lost, and we join again with the same id.
    fn lose(&mut self, now: Instant) {
        self.owned.lose();
        self.epoch = JOIN;
        self.news = News { everything: true, topics: true, owned: true };
        self.target = None;
        self.becoming = None;
        self.heartbeat_at = now;
    }

    fn tick(&mut self, now: Instant) {
        let is_away = self.busy_since.is_some_and(|since| now >= since + self.options.poll_interval_max);
        if is_away && self.step == Step::Member {
            let told = self.epoch == JOIN && !self.is_asking;
            self.lose(now);
            self.step = Step::Away { told };
            self.retry_at = None;
        }
        if self.step == (Step::Away { told: true }) && self.busy_since.is_none() && !self.is_asking {
            self.step = Step::Member;
            self.heartbeat_at = now;
        }
        self.reconcile(now);
    }

    /// Takes over the target as far as its topics have names, step by step: first the caller gives up, then it gets.
    fn reconcile(&mut self, now: Instant) {
        if !self.owned.is_quiet() || self.step != Step::Member {
            return;
        }
        if let Some((new, is_last)) = self.becoming.take() {
            if !is_last {
                // The part to give up was first.
                let added = new.difference(self.owned.told()).cloned().collect();
                if let Some(generation) = self.generation() {
                    self.owned.assign(&generation, added);
                }
                self.becoming = Some((new, true));
                return;
            }
            self.news.owned = true;
            self.heartbeat_at = now;
        }
        let (Some(target), Some(generation)) = (&self.target, self.generation()) else { return };
        let mut new = BTreeSet::new();
        let mut unnamed = false;
        for (id, partitions) in target {
            match self.names.get(id) {
                Some(topic) => new.extend(
                    partitions.iter().map(|partition| TopicPartition { topic: topic.clone(), partition: *partition }),
                ),
                None => unnamed = true,
            }
        }
        if unnamed {
            // The topic may be newer than what we know.
            self.look_at.get_or_insert(now);
        } else {
            self.target = None;
        }
        let told = self.owned.told();
        let revoked: Vec<TopicPartition> = told.difference(&new).cloned().collect();
        let is_last = revoked.is_empty();
        if is_last {
            if unnamed && *told == new {
                return;
            }
            let added = new.difference(told).cloned().collect();
            self.owned.assign(&generation, added);
        } else {
            self.owned.revoke(&generation, revoked);
        }
        self.becoming = Some((new, is_last));
    }

    pub(super) fn poll_order(&mut self, now: Instant) -> Option<Order> {
        if self.ended.is_some() {
            return None;
        }
        self.tick(now);
        self.retry_at = self.retry_at.filter(|at| *at > now);
        if !self.is_looking && self.look_at.is_some_and(|at| at <= now) && self.step == Step::Member {
            self.is_looking = true;
            let names = self.wanted.pattern.is_none().then(|| self.wanted.names.iter().cloned().collect());
            return Some(Order::Topics(names));
        }
        if self.is_asking || self.retry_at.is_some() {
            return None;
        }
        let due = match self.step {
            Step::Out | Step::Left | Step::Away { told: true } => false,
            Step::Leave if self.epoch == JOIN => {
                self.step = Step::Left;
                false
            }
            Step::Leave | Step::Away { told: false } => true,
            // Joining waits until the caller knows that it has nothing left.
            Step::Member => now >= self.heartbeat_at && (self.epoch != JOIN || self.owned.is_quiet()),
        };
        if !due {
            return None;
        }
        self.is_asking = true;
        if self.coordinator == Coordinator::Unknown {
            return Some(Order::Coordinator);
        }
        Some(Order::ConsumerHeartbeat(self.heartbeat(now)))
    }

    fn heartbeat(&mut self, now: Instant) -> ConsumerHeartbeatCall {
        self.heartbeat_at = now + self.interval;
        let leave = if self.options.group_instance_id.is_some() { LEAVE_STATIC } else { LEAVE };
        let is_leaving = matches!(self.step, Step::Leave | Step::Away { .. });
        let news = if is_leaving { News::default() } else { std::mem::take(&mut self.news) };
        let everything = news.everything;
        let topics = everything || news.topics;
        let owned = (everything || news.owned).then(|| self.by_id());
        ConsumerHeartbeatCall {
            group: self.options.group.clone(),
            member_id: self.member_id.clone(),
            member_epoch: if is_leaving { leave } else { self.epoch },
            instance_id: self.options.group_instance_id.clone(),
            rack: self.options.rack.clone().filter(|_| everything),
            rebalance_timeout_ms: match everything {
                true => i32::try_from(self.options.poll_interval_max.as_millis()).unwrap_or(i32::MAX),
                false => -1,
            },
            topic_names: topics.then(|| self.wanted.names.iter().cloned().collect()),
            topic_regex: match &self.wanted.pattern {
                Some(pattern) if topics => Some(pattern.text.clone()),
                // Takes an earlier one back; a first heartbeat has none to take back.
                None if topics && !everything => Some("".into()),
                _ => None,
            },
            server_assignor: self.server_assignor.clone().filter(|_| everything),
            owned,
        }
    }

    fn by_id(&self) -> IdPartitions {
        let mut found = IdPartitions::new();
        if self.epoch == JOIN {
            return found;
        }
        for partition in self.owned.told() {
            if let Some(id) = self.ids.get(&partition.topic) {
                found.entry(*id).or_default().push(partition.partition);
            }
        }
        found
    }

    pub(super) fn handle(&mut self, now: Instant, answer: Answer<E>) {
        match answer {
            Answer::Topics(outcome) => {
                self.is_looking = false;
                self.look_at = None;
                if let Ok(seen) = outcome {
                    self.handle_topics(&seen);
                }
                self.reconcile(now);
                // Still unnamed: the broker that was asked may be behind.
                self.look_at = self.look_at.map(|_| now + self.backoff.next_pause());
            }
            Answer::Coordinator(Ok(_)) => {
                self.is_asking = false;
                self.coordinator = Coordinator::Known;
            }
            Answer::Coordinator(Err(fault)) => self.failed(now, ApiKey::FindCoordinator, fault),
            Answer::ConsumerHeartbeat(Ok(answer)) => {
                self.is_asking = false;
                self.handle_heartbeat(now, answer);
            }
            Answer::ConsumerHeartbeat(Err(fault)) => self.failed(now, ApiKey::ConsumerGroupHeartbeat, fault),
            Answer::Join(_) | Answer::Sync(_) | Answer::Heartbeat(_) | Answer::Leave(_) => {}
        }
    }

    fn handle_topics(&mut self, seen: &TopicsSeen) {
        for (id, name) in &seen.names {
            self.names.insert(*id, name.clone());
            self.ids.insert(name.clone(), *id);
        }
    }

    fn failed(&mut self, now: Instant, api: ApiKey, fault: Fault<E>) {
        self.is_asking = false;
        match self.step {
            Step::Leave => self.step = Step::Left,
            Step::Away { .. } => self.step = Step::Away { told: true },
            _ if fault.is_final => self.end(api, EndCause::Fault(fault.error)),
            _ => {
                self.coordinator = Coordinator::Unknown;
                self.retry(now);
            }
        }
    }

    /// Sends everything again after a pause: nobody knows what of the last heartbeat was heard.
    fn retry(&mut self, now: Instant) {
        self.news = News { everything: true, topics: true, owned: true };
        self.heartbeat_at = now;
        self.retry_at = Some(now + self.backoff.next_pause());
    }

    fn handle_heartbeat(&mut self, now: Instant, answer: ConsumerHeartbeatAnswer) {
        match self.step {
            Step::Leave => {
                // An answer to a heartbeat from before is not the one to the goodbye; an epoch below 0 is.
                if answer.member_epoch < 0 || !answer.error.is_ok() {
                    self.step = Step::Left;
                }
                return;
            }
            Step::Away { .. } => {
                if answer.member_epoch < 0 || !answer.error.is_ok() {
                    self.step = Step::Away { told: true };
                }
                return;
            }
            _ => {}
        }
        if !answer.error.is_ok() {
            self.handle_code(now, answer.error, answer.error_message);
            return;
        }
        self.backoff.succeeded();
        if let Some(id) = answer.member_id.filter(|id| !id.is_empty()) {
            self.member_id = id.into();
        }
        self.epoch = answer.member_epoch;
        if let Ok(interval) = u64::try_from(answer.heartbeat_interval_ms)
            && interval > 0
        {
            self.interval = Duration::from_millis(interval);
            self.heartbeat_at = now + self.interval;
        }
        if let Some(assignment) = answer.assignment {
            self.target = Some(assignment);
        }
        self.reconcile(now);
    }

    fn handle_code(&mut self, now: Instant, code: ErrorCode, text: Option<String>) {
        match code {
            ErrorCode::FENCED_MEMBER_EPOCH | ErrorCode::UNKNOWN_MEMBER_ID => {
                self.lose(now);
                self.retry_at = Some(now + self.backoff.next_pause());
            }
            ErrorCode::NOT_COORDINATOR | ErrorCode::COORDINATOR_NOT_AVAILABLE => {
                self.coordinator = Coordinator::Unknown;
                self.retry(now);
            }
            ErrorCode::COORDINATOR_LOAD_IN_PROGRESS
            | ErrorCode::REQUEST_TIMED_OUT
            | ErrorCode::UNKNOWN_SERVER_ERROR
            | ErrorCode::UNKNOWN_TOPIC_ID => self.retry(now),
            // UNRELEASED_INSTANCE_ID among them: somebody else holds the static id, as in Java.
            _ => self.end(ApiKey::ConsumerGroupHeartbeat, EndCause::Code(code, text)),
        }
    }

    pub(super) fn refused(&mut self, now: Instant, generation: &Generation, code: ErrorCode) {
        if self.generation().as_ref() != Some(generation) {
            return;
        }
        match code {
            ErrorCode::UNKNOWN_MEMBER_ID => self.lose(now),
            // The next heartbeat tells where we stand.
            ErrorCode::STALE_MEMBER_EPOCH | ErrorCode::FENCED_MEMBER_EPOCH => self.heartbeat_at = now,
            ErrorCode::NOT_COORDINATOR | ErrorCode::COORDINATOR_NOT_AVAILABLE => {
                self.coordinator = Coordinator::Unknown;
            }
            _ => {}
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        if self.ended.is_some() || matches!(self.step, Step::Out | Step::Left) {
            return None;
        }
        let away = self.busy_since.map(|since| since + self.options.poll_interval_max);
        let away = away.filter(|_| self.step == Step::Member);
        let may_join = self.epoch != JOIN || self.owned.is_quiet();
        let beat = Some(self.heartbeat_at).filter(|_| self.step == Step::Member && !self.is_asking && may_join);
        let beat = beat.map(|at| self.retry_at.map_or(at, |retry| retry.max(at)));
        let retry = self.retry_at.filter(|_| !self.is_asking);
        let look = self.look_at.filter(|_| !self.is_looking && self.step == Step::Member);
        [away, beat, retry, look].into_iter().flatten().min()
    }
}
