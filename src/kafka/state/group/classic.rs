//! The classic protocol: JoinGroup, SyncGroup, Heartbeat, LeaveGroup.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::kafka::msg::{
    ApiKey, AssignmentData, ErrorCode, HeartbeatCall, JoinGroupAnswer, JoinGroupCall, LeaveGroupCall, NamedPartitions,
    SubscriptionData, SyncGroupCall,
};
use crate::kafka::state::assign::{Assignor, GroupMember, RebalanceProtocol, TopicShapes};
use crate::kafka::state::backoff::Backoff;
use crate::kafka::state::fetch::{Fault, TopicPartition};

use super::ownership::Ownership;
use super::{Answer, Coordinator, EndCause, Ended, Generation, MemberOptions, Order, Standing, TopicsSeen, Wanted};

/// How often to look for a topic that is wanted and does not exist, at least.
const MISSING_TOPIC_PAUSE: Duration = Duration::from_secs(10);

/// A member of a classic group.
#[derive(Debug)]
pub struct Classic<E> {
    options: MemberOptions,
    assignors: Vec<Assignor>,
    wanted: Wanted,
    /// The names to subscribe to: those wanted, and those that match the pattern.
    topics: BTreeSet<Arc<str>>,
    coordinator: Coordinator,
    step: Step,
    member_id: Arc<str>,
    /// -1 while not a member.
    generation: i32,
    assignor: Option<Assignor>,
    /// What the last join asked for.
    joined_for: BTreeSet<Arc<str>>,
    leads: Option<Leads>,
    /// Why to join again, once the present step allows it.
    rejoin: Option<&'static str>,
    /// What we had last, and when, for sticky assignors.
    previous: Option<(NamedPartitions, i32)>,
    is_asking: bool,
    is_looking: bool,
    retry_at: Option<Instant>,
    backoff: Backoff,
    heartbeat_at: Instant,
    heard_at: Instant,
    look_at: Instant,
    pub(super) owned: Ownership,
    pub(super) busy_since: Option<Instant>,
    pub(super) ended: Option<Ended<E>>,
}

/// What the leader remembers of its last assignment.
#[derive(Debug)]
struct Leads {
    /// Every topic that any member wants.
    topics: BTreeSet<Arc<str>>,
    /// How they looked when they were divided.
    seen: TopicShapes,
}

#[derive(Debug)]
enum Step {
    /// Nothing is wanted.
    Out,
    /// The pattern has to be matched before the first join.
    Look,
    /// The caller gives partitions up, then we join.
    GiveUp,
    Join,
    /// The leader looks at the topics that members want.
    Plan(JoinGroupAnswer),
    Sync(Vec<(String, bytes::Bytes)>),
    Stable,
    /// The caller was busy for too long: we say goodbye, and join again when it is back.
    Away {
        told: bool,
    },
    Leave,
    Left,
}

impl<E: Clone> Classic<E> {
    pub(super) fn new(now: Instant, options: MemberOptions, assignors: Vec<Assignor>) -> Self {
        let backoff = Backoff::new(options.retry_backoff, options.retry_backoff_max, options.seed);
        Self {
            options,
            assignors,
            wanted: Wanted::default(),
            topics: BTreeSet::new(),
            coordinator: Coordinator::Unknown,
            step: Step::Out,
            member_id: "".into(),
            generation: -1,
            assignor: None,
            joined_for: BTreeSet::new(),
            leads: None,
            rejoin: None,
            previous: None,
            is_asking: false,
            is_looking: false,
            retry_at: None,
            backoff,
            heartbeat_at: now,
            heard_at: now,
            look_at: now,
            owned: Ownership::default(),
            busy_since: None,
            ended: None,
        }
    }

    pub(super) fn subscribe(&mut self, now: Instant, wanted: Wanted) {
        if matches!(self.step, Step::Leave | Step::Left) {
            return;
        }
        let had_pattern = self.wanted.pattern.is_some();
        self.wanted = wanted;
        if self.wanted.pattern.is_none() {
            self.set_topics(self.wanted.names.clone());
        }
        match self.step {
            Step::Out if self.wanted.pattern.is_some() => self.step = Step::Look,
            Step::Out => self.step = Step::Join,
            // A new pattern is matched at once.
            _ if self.wanted.pattern.is_some() || had_pattern => self.look_at = now,
            _ => {}
        }
    }

    fn set_topics(&mut self, topics: BTreeSet<Arc<str>>) {
        if self.topics != topics {
            self.topics = topics;
            self.rejoin.get_or_insert("the subscription has changed");
        }
    }

    pub(super) const fn assignor(&self) -> Option<Assignor> {
        self.assignor
    }

    pub(super) const fn is_leader(&self) -> bool {
        self.leads.is_some()
    }

    pub(super) fn generation(&self) -> Option<Generation> {
        (self.generation >= 0).then(|| self.as_now())
    }

    fn as_now(&self) -> Generation {
        Generation { member_id: self.member_id.clone(), number: self.generation }
    }

    pub(super) fn standing(&self) -> Standing {
        match self.step {
            _ if self.ended.is_some() => Standing::Failed,
            Step::Out | Step::Away { .. } => Standing::Out,
            Step::Stable if self.rejoin.is_none() => Standing::Stable,
            Step::Left => Standing::Left,
            _ => Standing::Joining,
        }
    }

    fn is_cooperative(&self) -> bool {
        Assignor::rebalance_protocol(&self.assignors) == RebalanceProtocol::Cooperative
    }

    pub(super) fn leave(&mut self) {
        if !matches!(self.step, Step::Left) {
            self.step = Step::Leave;
            self.retry_at = None;
            // A join may wait for others for minutes; the goodbye does not wait for it.
            self.is_asking = false;
        }
    }

    /// Ends for good.
    fn end(&mut self, api: ApiKey, cause: EndCause<E>) {
        self.owned.lose();
        self.generation = -1;
        self.ended.get_or_insert(Ended { api, cause });
    }

    /// The membership is gone: what we had is lost, and we join again.
    fn lose(&mut self, forget_id: bool) {
        self.remember();
        self.owned.lose();
        self.generation = -1;
        self.assignor = None;
        self.leads = None;
        self.rejoin = None;
        if forget_id {
            self.member_id = "".into();
        }
        if !matches!(self.step, Step::Leave | Step::Left | Step::Out | Step::Away { .. }) {
            self.step = Step::GiveUp;
        }
    }

    fn remember(&mut self) {
        if self.generation >= 0 && !self.owned.told().is_empty() {
            self.previous = Some((by_topic(self.owned.told().iter()), self.generation));
        }
    }

    /// Gives up what has to be given up before joining again.
    fn prepare(&mut self) {
        self.remember();
        let generation = self.as_now();
        let gone: Vec<TopicPartition> = (self.owned.told().iter())
            .filter(|partition| !self.is_cooperative() || !self.topics.contains(&partition.topic))
            .cloned()
            .collect();
        self.owned.revoke(&generation, gone);
        self.step = Step::GiveUp;
    }

    fn is_member(&self) -> bool {
        self.generation >= 0
    }

    /// Time alone: a coordinator that has been silent for a session, a caller that has been away for too long.
    fn tick(&mut self, now: Instant) {
        let active = matches!(self.step, Step::Stable | Step::GiveUp);
        if active && self.is_member() && now >= self.heard_at + self.options.session_timeout {
            // The coordinator has given us up by now. The id is kept: it says so itself if it does not know it any more.
            self.heard_at = now;
            self.lose(false);
            self.coordinator = Coordinator::Unknown;
        }
        let is_away = self.busy_since.is_some_and(|since| now >= since + self.options.poll_interval_max);
        if is_away && !matches!(self.step, Step::Out | Step::Look | Step::Leave | Step::Left | Step::Away { .. }) {
            self.lose(false);
            // A static member falls silent: the session timeout will find it, as in Java.
            let told = self.options.group_instance_id.is_some() || self.member_id.is_empty();
            self.step = Step::Away { told };
            self.retry_at = None;
        }
        if matches!(self.step, Step::Away { told: true }) && self.busy_since.is_none() && !self.is_asking {
            self.step = Step::GiveUp;
        }
    }

    pub(super) fn poll_order(&mut self, now: Instant) -> Option<Order> {
        if self.ended.is_some() {
            return None;
        }
        self.tick(now);
        self.retry_at = self.retry_at.filter(|at| *at > now);
        if let Some(order) = self.poll_look(now) {
            return Some(order);
        }
        if self.is_asking || self.retry_at.is_some() {
            return None;
        }
        if matches!(self.step, Step::Leave) && (self.member_id.is_empty() || self.options.group_instance_id.is_some()) {
            self.go(Step::Left);
        }
        if matches!(self.step, Step::Out | Step::Look | Step::Left | Step::Away { told: true }) {
            return None;
        }
        if matches!(self.step, Step::Stable) && self.rejoin.is_some() && self.owned.is_quiet() {
            self.prepare();
        }
        if matches!(self.step, Step::GiveUp) && self.owned.is_quiet() {
            self.step = Step::Join;
        }
        if self.coordinator == Coordinator::Unknown {
            self.is_asking = true;
            return Some(Order::Coordinator);
        }
        let order = self.request(now)?;
        if matches!(order, Order::Join(_)) {
            self.joined_for.clone_from(&self.topics);
        }
        self.is_asking = true;
        Some(order)
    }

    fn go(&mut self, step: Step) {
        if matches!(step, Step::Left) {
            self.owned = Ownership::default();
            self.generation = -1;
        }
        self.step = step;
    }

    /// A look at topics: before the first join by pattern, for the leader's plan, and from time to time.
    fn poll_look(&mut self, now: Instant) -> Option<Order> {
        if self.is_looking {
            return None;
        }
        let pattern = self.wanted.pattern.is_some();
        let names = match &self.step {
            Step::Look if self.retry_at.is_none() => None,
            Step::Plan(_) if self.retry_at.is_none() => {
                let wanted = self.leads.as_ref().map(|leads| leads.topics.clone()).unwrap_or_default();
                Some(wanted.into_iter().collect())
            }
            Step::Stable if now >= self.look_at && self.rejoin.is_none() => match &self.leads {
                _ if pattern => None,
                Some(leads) => Some(leads.topics.iter().cloned().collect()),
                None => return None,
            },
            _ => return None,
        };
        self.is_looking = true;
        self.look_at = now + self.options.metadata_age_max;
        Some(Order::Topics(names))
    }

    fn request(&mut self, now: Instant) -> Option<Order> {
        let (group, group_instance_id) = (self.options.group.clone(), self.options.group_instance_id.clone());
        let (member_id, generation) = (self.member_id.clone(), self.generation);
        match &self.step {
            Step::Join => match self.protocols() {
                Ok(protocols) => Some(Order::Join(JoinGroupCall {
                    group,
                    session_timeout_ms: millis(self.options.session_timeout),
                    rebalance_timeout_ms: millis(self.options.poll_interval_max),
                    member_id,
                    group_instance_id,
                    protocol_type: "consumer",
                    protocols,
                    reason: self.rejoin.map(str::to_owned),
                })),
                Err(text) => {
                    self.end(ApiKey::JoinGroup, EndCause::Text(text));
                    None
                }
            },
            Step::Sync(assignments) => Some(Order::Sync(SyncGroupCall {
                group,
                generation,
                member_id,
                group_instance_id,
                protocol_type: "consumer",
                protocol: self.assignor.map_or("", Assignor::name).into(),
                assignments: assignments.clone(),
            })),
            Step::Leave | Step::Away { told: false } => {
                let reason = match self.step {
                    Step::Leave => "the consumer is being closed",
                    _ => "the consumer has not asked for records for longer than max.poll.interval.ms",
                };
                let reason = Some(reason.to_owned());
                Some(Order::Leave(LeaveGroupCall { group, member_id, group_instance_id, reason }))
            }
            Step::Stable | Step::GiveUp if self.is_member() && now >= self.heartbeat_at => {
                self.heartbeat_at = now + self.options.heartbeat_interval;
                Some(Order::Heartbeat(HeartbeatCall { group, generation, member_id, group_instance_id }))
            }
            _ => None,
        }
    }

    fn protocols(&self) -> Result<Vec<(Arc<str>, bytes::Bytes)>, String> {
        let owned = if self.is_cooperative() { by_topic(self.owned.told().iter()) } else { NamedPartitions::new() };
        let (previous, at) = match &self.previous {
            Some((previous, at)) => (Some(previous), *at),
            None => (None, -1),
        };
        let protocol = |assignor: &Assignor| {
            let generation = if *assignor == Assignor::Sticky { at } else { self.generation };
            let subscription = SubscriptionData {
                topics: self.topics.iter().cloned().collect(),
                user_data: assignor.user_data(previous, generation).map_err(|e| e.to_string())?,
                owned: owned.clone(),
                generation: Some(self.generation).filter(|generation| *generation >= 0),
                rack: self.options.rack.clone(),
            };
            Ok((Arc::from(assignor.name()), subscription.encode().map_err(|e| e.to_string())?))
        };
        self.assignors.iter().map(protocol).collect()
    }

    pub(super) fn handle(&mut self, now: Instant, answer: Answer<E>) {
        match answer {
            Answer::Topics(outcome) => {
                self.is_looking = false;
                match outcome {
                    Ok(seen) => {
                        self.handle_topics(&seen);
                        let missing = |leads: &Leads| leads.topics.iter().any(|name| !leads.seen.contains_key(name));
                        if self.leads.as_ref().is_some_and(missing) {
                            // A topic that somebody wants is expected to come.
                            self.look_at = self.look_at.min(now + MISSING_TOPIC_PAUSE);
                        }
                    }
                    Err(fault) if matches!(self.step, Step::Look | Step::Plan(_)) => {
                        self.failed(now, ApiKey::Metadata, fault);
                    }
                    // The next look may be luckier.
                    Err(_) => {}
                }
                return;
            }
            _ => self.is_asking = false,
        }
        match answer {
            Answer::Coordinator(Ok(_)) => self.coordinator = Coordinator::Known,
            Answer::Coordinator(Err(fault)) => self.failed(now, ApiKey::FindCoordinator, fault),
            Answer::Join(Ok(joined)) => self.handle_join(now, joined),
            Answer::Join(Err(fault)) => self.failed(now, ApiKey::JoinGroup, fault),
            Answer::Sync(Ok(synced)) if synced.error.is_ok() => self.handle_assignment(now, &synced.assignment),
            Answer::Sync(Ok(synced)) => self.handle_code(now, ApiKey::SyncGroup, synced.error),
            Answer::Sync(Err(fault)) => {
                // Whether the coordinator took it is unknown; a new round finds out.
                self.failed(now, ApiKey::SyncGroup, fault);
                self.join_again();
            }
            Answer::Heartbeat(Ok(beat)) if beat.error.is_ok() => {
                self.heard_at = now;
                self.backoff.succeeded();
            }
            Answer::Heartbeat(Ok(beat)) => self.handle_code(now, ApiKey::Heartbeat, beat.error),
            Answer::Heartbeat(Err(fault)) => self.failed(now, ApiKey::Heartbeat, fault),
            // Whatever it says: the session timeout does the rest.
            Answer::Leave(_) => match self.step {
                Step::Leave => self.go(Step::Left),
                Step::Away { .. } => {
                    self.member_id = "".into();
                    self.step = Step::Away { told: true };
                }
                _ => {}
            },
            Answer::ConsumerHeartbeat(_) | Answer::Topics(_) => {}
        }
    }

    /// Goes back to joining in the middle of a round.
    fn join_again(&mut self) {
        if matches!(self.step, Step::Plan(_) | Step::Sync(_) | Step::Join) {
            self.step = Step::GiveUp;
        }
    }

    fn pause(&mut self, now: Instant) {
        self.retry_at = Some(now + self.backoff.next_pause());
    }

    /// A request that did not get through.
    fn failed(&mut self, now: Instant, api: ApiKey, fault: Fault<E>) {
        if matches!(self.step, Step::Leave) {
            self.go(Step::Left);
        } else if matches!(self.step, Step::Away { .. }) {
            self.step = Step::Away { told: true };
            self.member_id = "".into();
        } else if fault.is_final {
            self.end(api, EndCause::Fault(fault.error));
        } else {
            if api != ApiKey::Metadata {
                self.coordinator = Coordinator::Unknown;
                self.heartbeat_at = now;
            }
            self.pause(now);
        }
    }

    fn handle_join(&mut self, now: Instant, joined: JoinGroupAnswer) {
        if joined.error == ErrorCode::MEMBER_ID_REQUIRED {
            self.member_id = joined.member_id.into();
            return;
        }
        if !joined.error.is_ok() {
            self.handle_code(now, ApiKey::JoinGroup, joined.error);
            return;
        }
        if !matches!(self.step, Step::Join) {
            // Left, or sent away, while the answer was on its way: remember the id, to leave with it.
            self.member_id = joined.member_id.into();
            return;
        }
        self.backoff.succeeded();
        self.retry_at = None;
        self.heard_at = now;
        self.rejoin = None;
        self.generation = joined.generation;
        self.assignor = self.assignors.iter().copied().find(|assignor| assignor.name() == joined.protocol);
        self.leads = None;
        if self.assignor.is_none() {
            let text = format!("the group chose the assignor \"{}\", which was not offered", joined.protocol);
            self.end(ApiKey::JoinGroup, EndCause::Text(text));
            return;
        }
        let is_leader = joined.leader == joined.member_id;
        self.member_id = joined.member_id.as_str().into();
        if !is_leader {
            self.step = Step::Sync(Vec::new());
            return;
        }
        match members(&joined) {
            Ok(members) => {
                let topics = members.iter().flat_map(|member| member.subscription.topics.iter().cloned()).collect();
                self.leads = Some(Leads { topics, seen: TopicShapes::new() });
                self.step = Step::Plan(joined);
            }
            Err(text) => self.end(ApiKey::JoinGroup, EndCause::Text(text)),
        }
    }

    fn handle_topics(&mut self, seen: &TopicsSeen) {
        if let Some(pattern) = &self.wanted.pattern
            && !matches!(self.step, Step::Plan(_))
        {
            let matching = seen.shapes.keys().filter(|name| (pattern.matches)(name)).cloned();
            let topics = self.wanted.names.iter().cloned().chain(matching).collect();
            self.set_topics(topics);
        }
        match std::mem::replace(&mut self.step, Step::Out) {
            Step::Look => {
                self.rejoin = None;
                self.step = Step::Join;
            }
            Step::Plan(joined) => self.plan(&joined, seen),
            step => {
                self.step = step;
                let with_racks = self.options.rack.is_some();
                let changed = self.leads.as_ref().is_some_and(|leads| {
                    leads.topics.iter().any(|name| differs(leads.seen.get(name), seen.shapes.get(name), with_racks))
                });
                if changed {
                    self.rejoin.get_or_insert("the subscribed topics have changed");
                }
            }
        }
    }

    fn plan(&mut self, joined: &JoinGroupAnswer, seen: &TopicsSeen) {
        let Some(assignor) = self.assignor else { return };
        if let Some(leads) = &mut self.leads {
            leads.seen.clone_from(&seen.shapes);
        }
        self.retry_at = None;
        if joined.skip_assignment {
            self.step = Step::Sync(Vec::new());
            return;
        }
        let encoded = members(joined).and_then(|members| {
            let plan = assignor.assign(&seen.shapes, &members);
            let assignment = |(member_id, partitions): (Arc<str>, NamedPartitions)| {
                let data = AssignmentData { partitions, user_data: None };
                Ok((member_id.to_string(), data.encode().map_err(|e| e.to_string())?))
            };
            plan.into_iter().map(assignment).collect::<Result<Vec<_>, String>>()
        });
        match encoded {
            Ok(assignments) => self.step = Step::Sync(assignments),
            Err(text) => self.end(ApiKey::SyncGroup, EndCause::Text(text)),
        }
    }

    fn handle_assignment(&mut self, now: Instant, bytes: &bytes::Bytes) {
        if !matches!(self.step, Step::Sync(_)) {
            return;
        }
        let data = match AssignmentData::decode(bytes) {
            Ok(data) => data,
            Err(e) => {
                self.end(ApiKey::SyncGroup, EndCause::Text(format!("cannot read the assignment: {e}")));
                return;
            }
        };
        let new: BTreeSet<TopicPartition> = (data.partitions.iter())
            .flat_map(|(topic, partitions)| {
                partitions.iter().map(|partition| TopicPartition { topic: topic.clone(), partition: *partition })
            })
            .collect();
        self.backoff.succeeded();
        self.heard_at = now;
        self.heartbeat_at = now + self.options.heartbeat_interval;
        self.step = Step::Stable;
        let generation = self.as_now();
        let told = self.owned.told();
        let revoked: Vec<TopicPartition> = told.difference(&new).cloned().collect();
        let added: Vec<TopicPartition> = new.difference(told).cloned().collect();
        if !revoked.is_empty() {
            // Those who wait for them get them in the next round (KIP-429).
            self.rejoin = Some("partitions have been given up for others");
        }
        if self.topics != self.joined_for {
            self.rejoin.get_or_insert("the subscription has changed");
        }
        self.owned.revoke(&generation, revoked);
        self.owned.assign(&generation, added);
        self.previous = Some((data.partitions, self.generation));
    }

    /// What a coordinator's code means for the membership (Kafka's ConsumerCoordinator; kafka-clients).
    fn handle_code(&mut self, now: Instant, api: ApiKey, code: ErrorCode) {
        if matches!(self.step, Step::Leave | Step::Away { .. }) {
            return;
        }
        match code {
            ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::ILLEGAL_GENERATION => {
                if api == ApiKey::JoinGroup {
                    self.pause(now);
                }
                self.lose(code == ErrorCode::UNKNOWN_MEMBER_ID);
            }
            ErrorCode::REBALANCE_IN_PROGRESS => {
                self.heard_at = now;
                match self.step {
                    Step::Stable => {
                        self.rejoin.get_or_insert("the group rebalances");
                    }
                    Step::GiveUp => {}
                    _ => {
                        self.join_again();
                        self.pause(now);
                    }
                }
            }
            ErrorCode::NOT_COORDINATOR | ErrorCode::COORDINATOR_NOT_AVAILABLE => {
                self.coordinator = Coordinator::Unknown;
                self.heartbeat_at = now;
                self.pause(now);
                self.join_again();
            }
            ErrorCode::COORDINATOR_LOAD_IN_PROGRESS
            | ErrorCode::REQUEST_TIMED_OUT
            | ErrorCode::UNKNOWN_SERVER_ERROR => {
                self.pause(now);
                self.join_again();
            }
            _ => self.end(api, EndCause::Code(code, None)),
        }
    }

    pub(super) fn refused(&mut self, now: Instant, generation: &Generation, code: ErrorCode) {
        if self.generation().as_ref() != Some(generation) {
            return;
        }
        match code {
            ErrorCode::UNKNOWN_MEMBER_ID
            | ErrorCode::ILLEGAL_GENERATION
            | ErrorCode::FENCED_INSTANCE_ID
            | ErrorCode::REBALANCE_IN_PROGRESS => self.handle_code(now, ApiKey::OffsetCommit, code),
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
        let away = away.filter(|_| !matches!(self.step, Step::Away { .. }));
        let is_alive = self.is_member() && matches!(self.step, Step::Stable | Step::GiveUp);
        let beat = Some(self.heartbeat_at).filter(|_| is_alive && !self.is_asking);
        let beat = beat.map(|at| self.retry_at.map_or(at, |retry| retry.max(at)));
        let session = Some(self.heard_at + self.options.session_timeout).filter(|_| is_alive);
        let is_watching = matches!(self.step, Step::Stable) && (self.leads.is_some() || self.wanted.pattern.is_some());
        let look = Some(self.look_at).filter(|_| is_watching && !self.is_looking && self.rejoin.is_none());
        let retry = self.retry_at.filter(|_| !self.is_asking);
        [away, beat, session, look, retry].into_iter().flatten().min()
    }
}

/// The members of an answer to the leader.
fn members(joined: &JoinGroupAnswer) -> Result<Vec<GroupMember>, String> {
    let member = |member: &crate::kafka::msg::JoinedMember| {
        let subscription = SubscriptionData::decode(&member.metadata)
            .map_err(|e| format!("cannot read the subscription of member {}: {e}", member.member_id))?;
        Ok(GroupMember {
            member_id: member.member_id.as_str().into(),
            group_instance_id: member.group_instance_id.as_deref().map(Into::into),
            subscription,
        })
    };
    joined.members.iter().map(member).collect()
}

fn differs(
    a: Option<&crate::kafka::state::assign::TopicShape>,
    b: Option<&crate::kafka::state::assign::TopicShape>,
    with_racks: bool,
) -> bool {
    match (a, b) {
        (Some(a), Some(b)) if with_racks => a != b,
        (Some(a), Some(b)) => a.racks.len() != b.racks.len(),
        (None, None) => false,
        _ => true,
    }
}

fn by_topic<'a>(partitions: impl Iterator<Item = &'a TopicPartition>) -> NamedPartitions {
    let mut topics: BTreeMap<Arc<str>, Vec<i32>> = BTreeMap::new();
    for partition in partitions {
        topics.entry(partition.topic.clone()).or_default().push(partition.partition);
    }
    topics
}

fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
