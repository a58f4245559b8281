//! One consumer group of the classic protocol: members, generations, assignments.
//!
//! A pure machine after Apache Kafka's `GroupCoordinator`: the time comes in as an argument, nobody waits here. A caller
//! whose JoinGroup or SyncGroup cannot be answered yet asks again with [`Group::joined`] or [`Group::synced`] after every
//! change; [`Group::expire`] is to be called at [`Group::next_deadline`].

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::codes;
use crate::limits::SANDBOX_MEMBERS_MAX;

/// Longest session timeout a member may ask for (Kafka's `group.max.session.timeout.ms`).
const SESSION_TIMEOUT_MAX: Duration = Duration::from_secs(30 * 60);
/// Longest wait of a rebalance for members that do not join again; they may ask for more in vain.
const REBALANCE_TIMEOUT_MAX: Duration = Duration::from_secs(60 * 60);

/// The states of a group, by Kafka's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GroupState {
    Empty,
    PreparingRebalance,
    CompletingRebalance,
    Stable,
}

impl GroupState {
    /// The name ListGroups and DescribeGroups give it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

/// One member.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) instance_id: Option<String>,
    pub(super) client_id: String,
    /// As Kafka shows it, with a slash in front.
    pub(super) client_host: String,
    session_timeout: Duration,
    rebalance_timeout: Duration,
    /// Name and metadata, the member's favourite first.
    protocols: Vec<(String, Bytes)>,
    pub(super) assignment: Bytes,
    /// Waits for the answer to its JoinGroup.
    joining: bool,
    /// When it is taken for dead unless it is heard of.
    deadline: Instant,
}

/// What JoinGroup carries.
#[derive(Clone, Debug)]
pub(super) struct Join {
    /// Empty for a new member.
    pub(super) member_id: String,
    pub(super) instance_id: Option<String>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    pub(super) session_timeout: Duration,
    pub(super) rebalance_timeout: Duration,
    pub(super) protocol_type: String,
    pub(super) protocols: Vec<(String, Bytes)>,
    /// Whether a new member is first given its id and has to join again with it (KIP-394).
    pub(super) id_required: bool,
    /// The id a new member would get.
    pub(super) new_id: String,
}

/// What JoinGroup answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Joined {
    pub(super) code: i16,
    pub(super) generation: i32,
    pub(super) protocol_type: String,
    pub(super) protocol: String,
    pub(super) leader: String,
    pub(super) member_id: String,
    /// Id, instance id and metadata of everyone; empty for all but the leader.
    pub(super) members: Vec<(String, Option<String>, Bytes)>,
}

impl Joined {
    /// An answer that only says no.
    pub(super) const fn refused(code: i16, member_id: String) -> Self {
        Self {
            code,
            generation: -1,
            protocol_type: String::new(),
            protocol: String::new(),
            leader: String::new(),
            member_id,
            members: Vec::new(),
        }
    }
}

/// An answer, or the id under which to ask again after the next change.
#[derive(Debug)]
pub(super) enum Step<A> {
    Answer(A),
    Wait(String),
}

/// One group.
#[derive(Debug)]
pub(super) struct Group {
    state: GroupState,
    generation: i32,
    protocol_type: String,
    protocol: String,
    leader: String,
    members: BTreeMap<String, Member>,
    /// Members that were given an id and have not joined with it yet.
    pending: BTreeMap<String, Instant>,
    /// When a rebalance goes on without those who have not joined again.
    join_deadline: Option<Instant>,
}

impl Group {
    /// A group nobody has joined.
    pub(super) const fn new() -> Self {
        Self {
            state: GroupState::Empty,
            generation: 0,
            protocol_type: String::new(),
            protocol: String::new(),
            leader: String::new(),
            members: BTreeMap::new(),
            pending: BTreeMap::new(),
            join_deadline: None,
        }
    }

    pub(super) const fn state(&self) -> GroupState {
        self.state
    }

    /// `consumer` for consumers; empty as long as only offsets were committed.
    pub(super) fn protocol_type(&self) -> &str {
        &self.protocol_type
    }

    /// The assignor in force; empty while there is none.
    pub(super) fn protocol(&self) -> &str {
        &self.protocol
    }

    pub(super) const fn members(&self) -> &BTreeMap<String, Member> {
        &self.members
    }

    /// What `member` told about itself under the protocol in force.
    pub(super) fn metadata_of(&self, member: &Member) -> Bytes {
        member
            .protocols
            .iter()
            .find(|(name, _)| *name == self.protocol)
            .map(|(_, bytes)| bytes.clone())
            .unwrap_or_default()
    }

    /// Whether nobody is in it or about to be.
    pub(super) fn is_idle(&self) -> bool {
        self.members.is_empty() && self.pending.is_empty()
    }

    // ---- commands ----

    /// A JoinGroup request arrives.
    pub(super) fn join(&mut self, join: Join, now: Instant) -> Step<Joined> {
        let refuse = |code: i16, id: &str| Step::Answer(Joined::refused(code, id.to_owned()));
        if join.session_timeout.is_zero() || join.session_timeout > SESSION_TIMEOUT_MAX {
            return refuse(codes::INVALID_SESSION_TIMEOUT, &join.member_id);
        }
        if join.protocols.is_empty() || join.protocol_type.is_empty() || !self.agrees(&join) {
            return refuse(codes::INCONSISTENT_GROUP_PROTOCOL, &join.member_id);
        }
        if let Err(code) = self.check_instance(&join.member_id, join.instance_id.as_deref()) {
            return refuse(code, &join.member_id);
        }
        if join.member_id.is_empty() {
            return self.join_new(join, now);
        }
        if self.members.contains_key(&join.member_id) {
            return self.join_again(join, now);
        }
        if self.pending.remove(&join.member_id).is_some() {
            let id = join.member_id.clone();
            return self.add(id, join, now);
        }
        refuse(codes::UNKNOWN_MEMBER_ID, &join.member_id)
    }

    /// Asks again for the answer to a JoinGroup that had to wait.
    pub(super) fn joined(&self, member_id: &str) -> Option<Joined> {
        match self.members.get(member_id) {
            None => Some(Joined::refused(codes::UNKNOWN_MEMBER_ID, member_id.to_owned())),
            Some(member) if member.joining => None,
            Some(_) => Some(self.joined_answer(member_id)),
        }
    }

    /// A SyncGroup request arrives, from the leader with everyone's assignment.
    pub(super) fn sync(
        &mut self,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
        assignments: Vec<(String, Bytes)>,
        now: Instant,
    ) -> Step<Result<Bytes, i16>> {
        if let Err(code) = self.check_member(member_id, instance_id, generation) {
            return Step::Answer(Err(code));
        }
        self.touch(member_id, now);
        if self.state == GroupState::CompletingRebalance && member_id == self.leader {
            for member in self.members.values_mut() {
                member.assignment = Bytes::new();
            }
            for (id, assignment) in assignments {
                if let Some(member) = self.members.get_mut(&id) {
                    member.assignment = assignment;
                }
            }
            self.state = GroupState::Stable;
        }
        match self.synced(member_id, generation) {
            Some(answer) => Step::Answer(answer),
            None => Step::Wait(member_id.to_owned()),
        }
    }

    /// Asks again for the answer to a SyncGroup that had to wait.
    pub(super) fn synced(&self, member_id: &str, generation: i32) -> Option<Result<Bytes, i16>> {
        let Some(member) = self.members.get(member_id) else { return Some(Err(codes::UNKNOWN_MEMBER_ID)) };
        match self.state {
            _ if generation != self.generation => Some(Err(codes::REBALANCE_IN_PROGRESS)),
            GroupState::Stable => Some(Ok(member.assignment.clone())),
            GroupState::PreparingRebalance => Some(Err(codes::REBALANCE_IN_PROGRESS)),
            GroupState::CompletingRebalance => None,
            GroupState::Empty => Some(Err(codes::UNKNOWN_MEMBER_ID)),
        }
    }

    /// A Heartbeat request arrives; gives the code of its answer.
    pub(super) fn heartbeat(&mut self, member_id: &str, instance: Option<&str>, generation: i32, now: Instant) -> i16 {
        if let Err(code) = self.check_member(member_id, instance, generation) {
            return code;
        }
        self.touch(member_id, now);
        if self.state == GroupState::PreparingRebalance { codes::REBALANCE_IN_PROGRESS } else { codes::NONE }
    }

    /// A member leaves; gives the code of its answer.
    pub(super) fn leave(&mut self, member_id: &str, instance_id: Option<&str>, now: Instant) -> i16 {
        let by_instance = instance_id.filter(|_| member_id.is_empty()).and_then(|instance| self.member_of(instance));
        let id = by_instance.unwrap_or_else(|| member_id.to_owned());
        if let Err(code) = self.check_instance(&id, instance_id) {
            return code;
        }
        if self.pending.remove(&id).is_none() && self.members.remove(&id).is_none() {
            return codes::UNKNOWN_MEMBER_ID;
        }
        self.after_removal(now);
        codes::NONE
    }

    /// Whether an OffsetCommit may go through: the code to refuse it with, or none.
    pub(super) fn check_commit(
        &mut self,
        member_id: &str,
        instance: Option<&str>,
        generation: i32,
        now: Instant,
    ) -> i16 {
        if generation < 0 && self.members.is_empty() {
            return codes::NONE;
        }
        if let Err(code) = self.check_member(member_id, instance, generation) {
            return code;
        }
        if self.state == GroupState::CompletingRebalance {
            return codes::REBALANCE_IN_PROGRESS;
        }
        self.touch(member_id, now);
        codes::NONE
    }

    // ---- time ----

    /// When [`Group::expire`] has something to do, if nothing happens before.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let members = self.members.values().filter(|member| !member.joining).map(|member| member.deadline);
        members.chain(self.pending.values().copied()).chain(self.join_deadline).min()
    }

    /// Removes who was not heard of, and ends a rebalance that took too long. Says whether anything changed.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        let before = self.members.len() + self.pending.len();
        self.members.retain(|_, member| member.joining || member.deadline > now);
        self.pending.retain(|_, deadline| *deadline > now);
        let removed = self.members.len() + self.pending.len() != before;
        if self.join_deadline.is_some_and(|deadline| deadline <= now) {
            self.pending.clear();
            self.members.retain(|_, member| member.joining);
            self.complete_join(now);
            return true;
        }
        if removed {
            self.after_removal(now);
        }
        removed
    }

    // ---- inside ----

    fn join_new(&mut self, join: Join, now: Instant) -> Step<Joined> {
        if self.members.len() + self.pending.len() >= SANDBOX_MEMBERS_MAX {
            return Step::Answer(Joined::refused(codes::GROUP_MAX_SIZE_REACHED, String::new()));
        }
        let id = join.new_id.clone();
        if let Some(old) = join.instance_id.as_deref().and_then(|instance| self.member_of(instance)) {
            // A static member that comes back takes its old place under a new id (KIP-345).
            self.members.remove(&old);
            if self.leader == old {
                self.leader.clear();
            }
        } else if join.id_required && join.instance_id.is_none() {
            self.pending.insert(id.clone(), now + join.session_timeout);
            return Step::Answer(Joined::refused(codes::MEMBER_ID_REQUIRED, id));
        }
        self.add(id, join, now)
    }

    fn add(&mut self, id: String, join: Join, now: Instant) -> Step<Joined> {
        if self.members.is_empty() {
            self.protocol_type = join.protocol_type;
        }
        let member = Member {
            instance_id: join.instance_id,
            client_id: join.client_id,
            client_host: join.client_host,
            session_timeout: join.session_timeout,
            rebalance_timeout: join.rebalance_timeout,
            protocols: join.protocols,
            assignment: Bytes::new(),
            joining: true,
            deadline: now + join.session_timeout,
        };
        self.members.insert(id.clone(), member);
        self.rebalance(now);
        self.settle(id, now)
    }

    fn join_again(&mut self, join: Join, now: Instant) -> Step<Joined> {
        let id = join.member_id;
        let leads = id == self.leader;
        let state = self.state;
        let Some(member) = self.members.get_mut(&id) else {
            return Step::Answer(Joined::refused(codes::UNKNOWN_MEMBER_ID, id));
        };
        let unchanged = member.protocols == join.protocols;
        let repeats = match state {
            GroupState::CompletingRebalance => unchanged,
            // The leader joins again when it wants a new assignment, whatever it says about itself.
            GroupState::Stable => unchanged && !leads,
            GroupState::Empty | GroupState::PreparingRebalance => false,
        };
        member.deadline = now + join.session_timeout;
        if repeats {
            return Step::Answer(self.joined_answer(&id));
        }
        member.protocols = join.protocols;
        member.session_timeout = join.session_timeout;
        member.rebalance_timeout = join.rebalance_timeout;
        member.joining = true;
        self.rebalance(now);
        self.settle(id, now)
    }

    fn settle(&mut self, id: String, now: Instant) -> Step<Joined> {
        self.complete_when_all_joined(now);
        match self.joined(&id) {
            Some(answer) => Step::Answer(answer),
            None => Step::Wait(id),
        }
    }

    /// Starts a rebalance unless one is under way.
    fn rebalance(&mut self, now: Instant) {
        if self.state != GroupState::PreparingRebalance {
            self.state = GroupState::PreparingRebalance;
            let longest = self.members.values().map(|member| member.rebalance_timeout).max();
            self.join_deadline = Some(now + longest.unwrap_or_default().min(REBALANCE_TIMEOUT_MAX));
        }
    }

    fn after_removal(&mut self, now: Instant) {
        match self.state {
            GroupState::Stable | GroupState::CompletingRebalance => self.rebalance(now),
            GroupState::Empty | GroupState::PreparingRebalance => {}
        }
        self.complete_when_all_joined(now);
    }

    fn complete_when_all_joined(&mut self, now: Instant) {
        let all = self.pending.is_empty() && self.members.values().all(|member| member.joining);
        if self.state == GroupState::PreparingRebalance && all {
            self.complete_join(now);
        }
    }

    /// Ends the joining: everyone who is in now is a member of the next generation.
    fn complete_join(&mut self, now: Instant) {
        self.join_deadline = None;
        self.generation = self.generation.saturating_add(1);
        if self.members.is_empty() {
            self.state = GroupState::Empty;
            self.leader.clear();
            self.protocol.clear();
            return;
        }
        self.state = GroupState::CompletingRebalance;
        self.protocol = self.favourite();
        if !self.members.contains_key(&self.leader) {
            self.leader = self.members.keys().next().cloned().unwrap_or_default();
        }
        for member in self.members.values_mut() {
            member.joining = false;
            member.deadline = now + member.session_timeout;
        }
    }

    /// The protocol most members like best among those that all of them have.
    fn favourite(&self) -> String {
        let common =
            |name: &String| self.members.values().all(|member| member.protocols.iter().any(|(n, _)| n == name));
        let mut votes = BTreeMap::<&String, usize>::new();
        for member in self.members.values() {
            if let Some((name, _)) = member.protocols.iter().find(|(name, _)| common(name)) {
                *votes.entry(name).or_default() += 1;
            }
        }
        votes.into_iter().max_by_key(|(_, count)| *count).map(|(name, _)| name.clone()).unwrap_or_default()
    }

    /// Whether a newcomer shares the group's type and a protocol with everyone else.
    fn agrees(&self, join: &Join) -> bool {
        let mut others = self.members.iter().filter(|(id, _)| **id != join.member_id).peekable();
        if others.peek().is_none() {
            return true;
        }
        let others = others.collect::<Vec<_>>();
        let common = |name: &String| others.iter().all(|(_, m)| m.protocols.iter().any(|(n, _)| n == name));
        self.protocol_type == join.protocol_type && join.protocols.iter().any(|(name, _)| common(name))
    }

    fn joined_answer(&self, member_id: &str) -> Joined {
        let everyone = || {
            let about =
                |(id, member): (&String, &Member)| (id.clone(), member.instance_id.clone(), self.metadata_of(member));
            self.members.iter().map(about).collect()
        };
        Joined {
            code: codes::NONE,
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            member_id: member_id.to_owned(),
            members: if member_id == self.leader { everyone() } else { Vec::new() },
        }
    }

    fn touch(&mut self, member_id: &str, now: Instant) {
        if let Some(member) = self.members.get_mut(member_id) {
            member.deadline = now + member.session_timeout;
        }
    }

    fn check_member(&self, member_id: &str, instance_id: Option<&str>, generation: i32) -> Result<(), i16> {
        self.check_instance(member_id, instance_id)?;
        if !self.members.contains_key(member_id) {
            return Err(codes::UNKNOWN_MEMBER_ID);
        }
        if generation == self.generation { Ok(()) } else { Err(codes::ILLEGAL_GENERATION) }
    }

    /// A known instance id must come with the member id that has it now.
    fn check_instance(&self, member_id: &str, instance_id: Option<&str>) -> Result<(), i16> {
        match instance_id.and_then(|instance| self.member_of(instance)) {
            Some(current) if !member_id.is_empty() && current != member_id => Err(codes::FENCED_INSTANCE_ID),
            _ => Ok(()),
        }
    }

    fn member_of(&self, instance_id: &str) -> Option<String> {
        let has = |member: &Member| member.instance_id.as_deref() == Some(instance_id);
        self.members.iter().find(|(_, member)| has(member)).map(|(id, _)| id.clone())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    const SESSION: Duration = Duration::from_secs(10);
    const REBALANCE: Duration = Duration::from_secs(60);

    fn join(id: &str, new_id: &str) -> Join {
        Join {
            member_id: id.to_owned(),
            instance_id: None,
            client_id: "c".to_owned(),
            client_host: "/127.0.0.1".to_owned(),
            session_timeout: SESSION,
            rebalance_timeout: REBALANCE,
            protocol_type: "consumer".to_owned(),
            protocols: vec![("range".to_owned(), Bytes::from_static(b"m"))],
            id_required: false,
            new_id: new_id.to_owned(),
        }
    }

    fn answer<A>(step: Step<A>) -> A {
        match step {
            Step::Answer(answer) => answer,
            Step::Wait(id) => panic!("{id} has to wait"),
        }
    }

    fn stable_pair(now: Instant) -> Group {
        let mut group = Group::new();
        assert_eq!(answer(group.join(join("", "a"), now)).generation, 1);
        assert!(matches!(group.join(join("", "b"), now), Step::Wait(_)));
        assert_eq!(answer(group.join(join("a", ""), now)).members.len(), 2);
        let plan = vec![("a".to_owned(), Bytes::from_static(b"A")), ("b".to_owned(), Bytes::from_static(b"B"))];
        assert!(matches!(group.sync("b", None, 2, Vec::new(), now), Step::Wait(_)));
        assert_eq!(answer(group.sync("a", None, 2, plan, now)).unwrap(), "A");
        assert_eq!(group.synced("b", 2).unwrap().unwrap(), "B");
        assert_eq!(group.state(), GroupState::Stable);
        group
    }

    #[test]
    fn two_members_share() {
        let now = Instant::now();
        let mut group = stable_pair(now);
        assert_eq!(group.heartbeat("a", None, 2, now), codes::NONE);
        assert_eq!(group.heartbeat("a", None, 1, now), codes::ILLEGAL_GENERATION);
        assert_eq!(group.heartbeat("x", None, 2, now), codes::UNKNOWN_MEMBER_ID);
        assert_eq!(group.check_commit("b", None, 2, now), codes::NONE);
        assert_eq!(group.check_commit("", None, -1, now), codes::UNKNOWN_MEMBER_ID);
    }

    #[test]
    fn leaving_makes_the_others_join_again() {
        let now = Instant::now();
        let mut group = stable_pair(now);
        assert_eq!(group.leave("a", None, now), codes::NONE);
        assert_eq!(group.heartbeat("b", None, 2, now), codes::REBALANCE_IN_PROGRESS);
        let joined = answer(group.join(join("b", ""), now));
        assert_eq!((joined.generation, joined.leader.as_str()), (3, "b"));
        assert_eq!(group.leave("b", None, now), codes::NONE);
        assert_eq!(group.state(), GroupState::Empty);
        assert_eq!(group.check_commit("", None, -1, now), codes::NONE);
        assert_eq!(group.next_deadline(), None);
    }

    #[test]
    fn the_silent_are_removed_in_time() {
        let now = Instant::now();
        let mut group = stable_pair(now);
        let later = now + SESSION / 2;
        assert_eq!(group.heartbeat("b", None, 2, later), codes::NONE);
        assert_eq!(group.next_deadline(), Some(now + SESSION));
        assert!(group.expire(now + SESSION));
        assert_eq!(group.members().keys().collect::<Vec<_>>(), ["b"]);
        assert_eq!(group.heartbeat("b", None, 2, now + SESSION), codes::REBALANCE_IN_PROGRESS);
    }

    #[test]
    fn a_rebalance_goes_on_without_those_who_stay_away() {
        let now = Instant::now();
        let mut group = stable_pair(now);
        assert!(matches!(group.join(join("a", ""), now), Step::Wait(_)));
        // b keeps heartbeating and never joins.
        let mut at = now;
        while at < now + REBALANCE {
            group.heartbeat("b", None, 2, at);
            at += SESSION / 2;
            group.expire(at);
        }
        assert_eq!(group.joined("a").unwrap().members.len(), 1);
        assert_eq!(group.heartbeat("b", None, 2, at), codes::UNKNOWN_MEMBER_ID);
    }

    #[test]
    fn a_new_member_is_given_its_id_first() {
        let now = Instant::now();
        let mut group = Group::new();
        let first = answer(group.join(Join { id_required: true, ..join("", "a") }, now));
        assert_eq!((first.code, first.member_id.as_str()), (codes::MEMBER_ID_REQUIRED, "a"));
        assert_eq!(answer(group.join(join("x", ""), now)).code, codes::UNKNOWN_MEMBER_ID);
        assert_eq!(answer(group.join(join("a", ""), now)).code, codes::NONE);
        group.join(Join { id_required: true, ..join("", "b") }, now);
        assert!(group.expire(now + SESSION));
        assert!(group.is_idle());
    }

    #[test]
    fn strangers_are_refused() {
        let now = Instant::now();
        let mut group = stable_pair(now);
        let other = Join { protocol_type: "connect".to_owned(), ..join("", "c") };
        assert_eq!(answer(group.join(other, now)).code, codes::INCONSISTENT_GROUP_PROTOCOL);
        let other = Join { protocols: vec![("sticky".to_owned(), Bytes::new())], ..join("", "c") };
        assert_eq!(answer(group.join(other, now)).code, codes::INCONSISTENT_GROUP_PROTOCOL);
        let other = Join { session_timeout: Duration::ZERO, ..join("", "c") };
        assert_eq!(answer(group.join(other, now)).code, codes::INVALID_SESSION_TIMEOUT);
    }

    #[test]
    fn an_instance_that_comes_back_fences_its_old_self() {
        let now = Instant::now();
        let mut group = Group::new();
        let instance = |id: &str, new: &str| Join { instance_id: Some("i".to_owned()), ..join(id, new) };
        assert_eq!(answer(group.join(instance("", "a"), now)).member_id, "a");
        assert_eq!(answer(group.join(instance("", "b"), now)).member_id, "b");
        assert_eq!(group.heartbeat("a", Some("i"), 2, now), codes::FENCED_INSTANCE_ID);
        assert_eq!(group.members().len(), 1);
    }
}
