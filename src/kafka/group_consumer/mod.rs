//! Reading as a member of a consumer group.

mod committer;
mod config;
mod task;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::client::Client;
use super::consumer::Consumer;
use super::error::{Error, ErrorKind};
use super::fetched::Fetched;
use super::msg::{ErrorCode, OffsetFetchCall};
use super::net::pool::Lane;
use super::net::{now, sleep_until};
use super::offsets::{CommittedOffset, OffsetAt, OffsetToCommit};
use super::state::fetch::{Position, TopicPartition};
use super::state::group::{
    Change, EndCause, Ended, Generation, GroupProtocol, Member, MemberOptions, Pattern, Standing, Wanted,
};

use self::task::Shared;

pub use self::committer::GroupCommitter;
pub use self::config::{GroupConfig, OffsetReset};

/// A member of a consumer group: it reads the partitions that the group gives it.
///
/// [`GroupConsumer::next`] hands out records and, in order with them, what happens to the membership. Calling it again says
/// that the last event has been dealt with: partitions that are being revoked are given up only then. Heartbeats go out from a
/// task of their own, however long the caller works on a batch, until [`GroupConfig::poll_interval_max`] has passed.
///
/// Dropping it leaves the group without committing; [`GroupConsumer::close`] commits, waits, and is the better way.
#[derive(Debug)]
pub struct GroupConsumer {
    client: Client,
    config: GroupConfig,
    group: Arc<str>,
    shared: Arc<Shared>,
    consumer: Consumer,
    /// A change that is being worked on before the caller hears of it.
    pending: Option<Change>,
    /// What the caller holds.
    delivered: Option<Delivered>,
    /// Up to where the caller has dealt with what it got.
    done: BTreeMap<TopicPartition, Position>,
    /// What is committed as far as we know.
    committed: BTreeMap<TopicPartition, Position>,
    commit_at: Option<Instant>,
    commits: JoinSet<Result<Vec<(TopicPartition, Position)>, Error>>,
}

#[derive(Debug)]
enum Delivered {
    Records(TopicPartition),
    Change(Change),
}

/// What [`GroupConsumer::next`] gives.
#[derive(Debug)]
pub enum GroupEvent {
    /// Records of a partition, perhaps none, read in this generation.
    Records {
        /// The records.
        fetched: Fetched,
        /// The generation in which they were read, to commit them with.
        generation: Generation,
    },
    /// These partitions are read from now on. Comes at the end of every rebalance, also without partitions.
    Assigned {
        /// The generation that begins.
        generation: Generation,
        /// Each with what was committed for it, and where reading begins.
        partitions: Vec<AssignedPartition>,
    },
    /// These partitions are given up at the next call of [`GroupConsumer::next`]; until then they may be committed.
    Revoked {
        /// As whom to commit.
        generation: Generation,
        /// In order.
        partitions: Vec<TopicPartition>,
    },
    /// These partitions are gone, and commits for them will be refused: the coordinator had given this member up, or the
    /// caller was away for too long.
    Lost {
        /// In order.
        partitions: Vec<TopicPartition>,
    },
}

/// A partition that was assigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssignedPartition {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// What the group had committed, with its metadata; none when nothing.
    pub committed: Option<CommittedOffset>,
    /// Where reading begins; none when nothing is committed and the configuration says not to guess: then
    /// [`GroupConsumer::seek`] begins it.
    pub position: Option<Position>,
}

/// How long [`GroupConsumer::close`] waits for the coordinator.
const CLOSE_PATIENCE: Duration = Duration::from_secs(10);
/// How long a commit of what is owned waits for the next epoch after the broker has called this one stale.
const EPOCH_PATIENCE: Duration = Duration::from_secs(10);

impl GroupConsumer {
    /// A consumer that is not a member yet: [`GroupConsumer::subscribe`] makes it one. Must be called within a runtime.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config).
    pub fn new(client: &Client, config: GroupConfig) -> Result<Self, Error> {
        config.check()?;
        let core = &client.core;
        let group: Arc<str> = config.group.as_str().into();
        let serial = core.next_serial();
        let options = MemberOptions {
            group: group.clone(),
            group_instance_id: config.group_instance_id.as_deref().map(Arc::from),
            rack: config.rack.as_deref().map(Arc::from),
            protocol: config.protocol.clone(),
            session_timeout: config.session_timeout,
            heartbeat_interval: config.heartbeat_interval,
            poll_interval_max: config.poll_interval_max,
            metadata_age_max: config.metadata_age_max,
            retry_backoff: core.config.retry_backoff,
            retry_backoff_max: core.config.retry_backoff_max,
            member_id: random_id().into(),
            seed: serial,
        };
        let shared = Arc::new(Shared::new(Member::new(now(), options)));
        tokio::spawn(task::run(shared.clone(), core.clone(), group.clone(), Lane::Member(serial)));
        Ok(Self {
            client: client.clone(),
            consumer: Consumer::new(client, config.fetch.clone()),
            commit_at: config.auto_commit.map(|interval| now() + interval),
            config,
            group,
            shared,
            pending: None,
            delivered: None,
            done: BTreeMap::new(),
            committed: BTreeMap::new(),
            commits: JoinSet::new(),
        })
    }

    /// Wants these topics from now on, in place of what was wanted before; joins the group if need be. A topic that does not
    /// exist yet is read once it does.
    pub fn subscribe<S: AsRef<str>>(&mut self, topics: impl IntoIterator<Item = S>) {
        let names: BTreeSet<Arc<str>> = topics.into_iter().map(|topic| topic.as_ref().into()).collect();
        self.want(Wanted { names, pattern: None });
    }

    /// Wants all topics whose whole name matches a regular expression, those that come later included. The classic protocol
    /// matches here, and leaves internal topics out; in the new one the broker does (RE2J).
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) for an expression that cannot be read.
    pub fn subscribe_pattern(&mut self, expression: &str) -> Result<(), Error> {
        let whole = regex_lite::Regex::new(&format!("^(?:{expression})$"));
        let whole = whole.map_err(|e| Error::new(ErrorKind::Config, format!("topic pattern \"{expression}\": {e}")))?;
        let pattern = Pattern { text: expression.into(), matches: Arc::new(move |name| whole.is_match(name)) };
        self.want(Wanted { names: BTreeSet::new(), pattern: Some(pattern) });
        Ok(())
    }

    fn want(&self, wanted: Wanted) {
        self.shared.member().subscribe(now(), wanted);
        self.shared.for_task.notify_one();
    }

    /// The next event. Waits until there is one. Safe to drop half-way: nothing is lost.
    ///
    /// # Errors
    /// What ends the membership, again and again: `FENCED_INSTANCE_ID` when another process has taken this one's static id,
    /// [`Auth`](ErrorKind::Auth), [`Unsupported`](ErrorKind::Unsupported), an assignor or a time that the group does not take.
    /// One of a partition, as [`Consumer::next`]; an offset out of range is one only with [`OffsetReset::Never`]. The
    /// membership and the other partitions go on. When offsets of an assignment cannot be had, the call may be repeated.
    pub async fn next(&mut self) -> Result<GroupEvent, Error> {
        let _waiting = Waiting::new(&self.shared);
        self.settle();
        loop {
            self.auto_commit();
            if self.pending.is_none() {
                self.pending = self.shared.member().poll_change();
            }
            if let Some(change) = self.pending.clone() {
                let event = self.prepare(&change).await?;
                self.pending = None;
                self.delivered = Some(Delivered::Change(change));
                return Ok(event);
            }
            if let Some(ended) = self.shared.member().ended() {
                return Err(self.error(ended));
            }
            tokio::select! {
                biased;
                () = self.shared.for_consumer.notified() => {}
                outcome = self.consumer.next() => match outcome {
                    Ok(fetched) => {
                        // Between two members nothing is handed out: the loss comes first.
                        let Some(generation) = self.shared.member().generation() else { continue };
                        let (topic, partition) = (fetched.topic.clone(), fetched.partition);
                        self.delivered = Some(Delivered::Records(TopicPartition { topic, partition }));
                        return Ok(GroupEvent::Records { fetched, generation });
                    }
                    Err(error) if self.begin_anew(&error) => {}
                    Err(error) => return Err(error),
                },
                () = sleep_until(self.commit_at) => {}
            }
        }
    }

    /// The caller has dealt with what it got last.
    fn settle(&mut self) {
        match self.delivered.take() {
            Some(Delivered::Records(partition)) => {
                if let Some(position) = self.position(&partition.topic, partition.partition) {
                    self.done.insert(partition, position);
                }
            }
            Some(Delivered::Change(change)) => {
                if let Change::Revoked { partitions, .. } = &change {
                    self.forget(partitions);
                }
                self.shared.member().acknowledge();
                self.shared.for_task.notify_one();
            }
            None => {}
        }
    }

    fn forget(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions {
            self.consumer.remove(&partition.topic, &[partition.partition]);
            self.done.remove(partition);
            self.committed.remove(partition);
        }
    }

    /// Does what a change needs before the caller hears of it.
    async fn prepare(&mut self, change: &Change) -> Result<GroupEvent, Error> {
        match change {
            Change::Assigned { generation, partitions } => {
                let assigned = self.begin(generation, partitions).await?;
                for found in &assigned {
                    if let Some(position) = found.position {
                        self.consumer.assign(&found.topic, &[(found.partition, position)]);
                    }
                    if let Some(committed) = &found.committed
                        && let Some(offset) = committed.offset
                    {
                        let key = TopicPartition { topic: found.topic.clone(), partition: found.partition };
                        self.committed.insert(key, Position { offset, leader_epoch: committed.leader_epoch });
                    }
                }
                Ok(GroupEvent::Assigned { generation: generation.clone(), partitions: assigned })
            }
            Change::Revoked { generation, partitions } => {
                for partition in partitions {
                    self.consumer.pause(&partition.topic, &[partition.partition]);
                }
                if self.config.auto_commit.is_some() {
                    let due = self.due(|partition| partitions.contains(partition));
                    // What cannot be committed is read again by the next owner.
                    if let Err(error) = self.committer().commit(generation, &offsets(&due)).await {
                        log::warn!("cannot commit before giving partitions up: {error}");
                    }
                }
                Ok(GroupEvent::Revoked { generation: generation.clone(), partitions: partitions.clone() })
            }
            Change::Lost { partitions } => {
                self.forget(partitions);
                Ok(GroupEvent::Lost { partitions: partitions.clone() })
            }
        }
    }

    /// Where to begin with new partitions.
    async fn begin(
        &self,
        generation: &Generation,
        partitions: &[TopicPartition],
    ) -> Result<Vec<AssignedPartition>, Error> {
        let mut found: Vec<AssignedPartition> = (partitions.iter())
            .map(|p| AssignedPartition {
                topic: p.topic.clone(),
                partition: p.partition,
                committed: None,
                position: None,
            })
            .collect();
        if partitions.is_empty() {
            return Ok(found);
        }
        let Some(committed) = self.committed_for(generation, partitions).await? else {
            // The membership is over already; the loss is on its way.
            return Ok(found);
        };
        for assigned in &mut found {
            let stored = committed.iter().find(|c| c.topic == assigned.topic && c.partition == assigned.partition);
            assigned.committed = stored.filter(|stored| stored.offset.is_some()).cloned();
            assigned.position = assigned
                .committed
                .as_ref()
                .and_then(|stored| Some(Position { offset: stored.offset?, leader_epoch: stored.leader_epoch }));
        }
        let at = match self.config.reset {
            OffsetReset::Earliest => OffsetAt::Earliest,
            OffsetReset::Latest => OffsetAt::Latest,
            OffsetReset::Never => return Ok(found),
        };
        let mut missing: BTreeMap<Arc<str>, Vec<(i32, OffsetAt)>> = BTreeMap::new();
        for assigned in found.iter().filter(|assigned| assigned.position.is_none()) {
            missing.entry(assigned.topic.clone()).or_default().push((assigned.partition, at));
        }
        for (topic, wanted) in missing {
            let listed = match self.client.list_offsets(&topic, &wanted, self.config.fetch.isolation).await {
                Ok(listed) => listed,
                // A topic that has just been deleted: the next rebalance takes it away.
                Err(e) if matches!(e.kind(), ErrorKind::UnknownTopic | ErrorKind::UnknownPartition) => {
                    log::warn!("{e}");
                    continue;
                }
                Err(e) => return Err(e),
            };
            for assigned in found.iter_mut().filter(|a| a.topic == topic && a.position.is_none()) {
                assigned.position = listed.get(&assigned.partition).and_then(|l| l.offset).map(Position::from);
            }
        }
        Ok(found)
    }

    /// What is committed; none when the membership ends meanwhile.
    async fn committed_for(
        &self,
        generation: &Generation,
        partitions: &[TopicPartition],
    ) -> Result<Option<Vec<CommittedOffset>>, Error> {
        let mut topics: BTreeMap<Arc<str>, Vec<i32>> = BTreeMap::new();
        for partition in partitions {
            topics.entry(partition.topic.clone()).or_default().push(partition.partition);
        }
        let mut generation = generation.clone();
        loop {
            let is_new = matches!(self.config.protocol, GroupProtocol::Consumer { .. });
            let call = OffsetFetchCall {
                group: self.group.clone(),
                topics: Some(topics.clone().into_iter().collect()),
                member: is_new.then(|| (generation.member_id.clone(), generation.number)),
            };
            let outcome = match self.config.stable_offsets {
                true => self.client.fetch_stable(&call).await,
                false => self.client.fetch_retrying(&call).await.map(|(offsets, _)| offsets),
            };
            match outcome {
                Ok(offsets) => return Ok(Some(offsets)),
                Err(e) if e.is_fenced() => match self.next_epoch(&generation).await {
                    Some(next) => generation = next,
                    None => return Ok(None),
                },
                Err(_) if self.shared.member().generation().is_none() => return Ok(None),
                Err(e) => return Err(e),
            }
        }
    }

    /// Waits for the epoch after a stale one; none when the membership is over or nothing changes.
    async fn next_epoch(&self, stale: &Generation) -> Option<Generation> {
        let changed = async {
            loop {
                let generation = self.shared.member().generation();
                if generation.as_ref() != Some(stale) {
                    return generation;
                }
                self.shared.for_consumer.notified().await;
            }
        };
        tokio::time::timeout(EPOCH_PATIENCE, changed).await.ok().flatten()
    }

    /// Goes on elsewhere when a position does not exist any more, if the configuration says where.
    fn begin_anew(&mut self, error: &Error) -> bool {
        let ErrorKind::OffsetOutOfRange { log_start, end, .. } = error.kind() else { return false };
        let (Some(topic), Some(partition)) = (error.topic_name(), error.partition_index()) else { return false };
        let offset = match self.config.reset {
            OffsetReset::Earliest => log_start,
            OffsetReset::Latest => end,
            OffsetReset::Never => return false,
        };
        log::warn!("{error}; going on at {offset}, as auto.offset.reset says");
        let topic: Arc<str> = topic.into();
        self.consumer.seek(&topic, partition, offset);
        true
    }

    /// Starts a commit of what is done, when one is due.
    fn auto_commit(&mut self) {
        while let Some(joined) = self.commits.try_join_next() {
            match joined {
                Ok(Ok(stored)) => self.committed.extend(stored),
                // The next one carries the same and more.
                Ok(Err(error)) => log::warn!("automatic commit: {error}"),
                Err(_) => {}
            }
        }
        let (Some(interval), Some(at)) = (self.config.auto_commit, self.commit_at) else { return };
        if now() < at {
            return;
        }
        self.commit_at = Some(now() + interval);
        let (Some(generation), true) = (self.generation(), self.commits.is_empty()) else { return };
        let owned = self.owned();
        let due = self.due(|partition| owned.contains(partition));
        if due.is_empty() {
            return;
        }
        let committer = self.committer();
        self.commits.spawn(async move { committer.commit(&generation, &offsets(&due)).await.map(|()| due) });
    }

    /// What is done and not committed yet.
    fn due(&self, of: impl Fn(&TopicPartition) -> bool) -> Vec<(TopicPartition, Position)> {
        let fresh = |(partition, position): &(&TopicPartition, &Position)| {
            of(partition) && self.committed.get(*partition).map(|known| known.offset) != Some(position.offset)
        };
        self.done.iter().filter(fresh).map(|(partition, position)| (partition.clone(), *position)).collect()
    }

    /// Commits everything that has been handed out so far for the partitions that are owned, and waits for it: call it when all
    /// of it has been dealt with.
    ///
    /// # Errors
    /// As [`GroupCommitter::commit`]. Nothing to commit is well.
    pub async fn commit(&mut self) -> Result<(), Error> {
        for partition in self.owned() {
            if let Some(position) = self.position(&partition.topic, partition.partition) {
                self.done.insert(partition, position);
            }
        }
        loop {
            let owned = self.owned();
            let due = self.due(|partition| owned.contains(partition));
            if due.is_empty() {
                return Ok(());
            }
            let generation = self.generation().ok_or_else(|| {
                Error::new(ErrorKind::Broker(ErrorCode::UNKNOWN_MEMBER_ID), "not a member at present")
                    .group(&self.group)
            })?;
            match self.committer().commit(&generation, &offsets(&due)).await {
                Ok(()) => {
                    self.committed.extend(due);
                    return Ok(());
                }
                // In the new protocol epochs move on while partitions stay.
                Err(error) if error.kind() == ErrorKind::Broker(ErrorCode::STALE_MEMBER_EPOCH) => {
                    if self.next_epoch(&generation).await.is_none() {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Commits from other tasks, with a generation, leader epochs and metadata of the caller's.
    pub fn committer(&self) -> GroupCommitter {
        GroupCommitter {
            client: self.client.clone(),
            group: self.group.clone(),
            group_instance_id: self.config.group_instance_id.as_deref().map(Arc::from),
            shared: self.shared.clone(),
        }
    }

    /// The generation at present; none while not a member. In the new protocol the epoch, which also moves on without an event.
    pub fn generation(&self) -> Option<Generation> {
        self.shared.member().generation()
    }

    /// The partitions that are owned, as far as events have told; those being revoked are among them.
    pub fn owned(&self) -> Vec<TopicPartition> {
        self.shared.member().owned()
    }

    /// Where the membership stands.
    pub fn standing(&self) -> Standing {
        self.shared.member().standing()
    }

    /// The assignor that the group has agreed on; none in the new protocol, and while not a member.
    pub fn assignor(&self) -> Option<super::state::assign::Assignor> {
        self.shared.member().assignor()
    }

    /// Whether this member divides the partitions of its group; never in the new protocol.
    pub fn is_leader(&self) -> bool {
        self.shared.member().is_leader()
    }

    /// The position after everything that has been handed out for a partition; none when it is not read.
    pub fn position(&self, topic: &str, partition: i32) -> Option<Position> {
        self.consumer.position(topic, partition)
    }

    /// Reads an owned partition from `position` on.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) when the partition is not owned.
    pub fn seek(&mut self, topic: &str, partition: i32, position: impl Into<Position>) -> Result<(), Error> {
        let key = TopicPartition { topic: topic.into(), partition };
        if !self.owned().contains(&key) {
            let error = Error::new(ErrorKind::Config, "the partition is not assigned to this member");
            return Err(error.topic(&key.topic).partition(partition));
        }
        self.done.remove(&key);
        self.consumer.seek(topic, partition, position);
        Ok(())
    }

    /// Stops fetching partitions and handing them out. A partition that is revoked and assigned again is not paused.
    pub fn pause(&mut self, topic: &str, partitions: &[i32]) {
        self.consumer.pause(topic, partitions);
    }

    /// Goes on with paused partitions.
    pub fn resume(&mut self, topic: &str, partitions: &[i32]) {
        let revoking: Vec<i32> = match &self.delivered {
            Some(Delivered::Change(Change::Revoked { partitions, .. })) => {
                partitions.iter().filter(|p| *p.topic == *topic).map(|p| p.partition).collect()
            }
            _ => Vec::new(),
        };
        let wanted: Vec<i32> = partitions.iter().copied().filter(|p| !revoking.contains(p)).collect();
        self.consumer.resume(topic, &wanted);
    }

    /// Commits what has been handed out if commits are automatic, and leaves the group: others take over at once. A static
    /// member does not leave; its partitions wait for it for the session timeout.
    ///
    /// # Errors
    /// Of the commit; the group is left all the same. That the coordinator cannot be reached is no error: the session timeout
    /// does the rest.
    pub async fn close(mut self) -> Result<(), Error> {
        let outcome = match self.config.auto_commit {
            Some(_) if self.generation().is_some() => {
                let outcome = tokio::time::timeout(CLOSE_PATIENCE, self.commit()).await;
                let late =
                    |_| Err(Error::new(ErrorKind::Timeout, "the last commit was not answered").group(&self.group));
                outcome.unwrap_or_else(late)
            }
            _ => Ok(()),
        };
        self.shared.member().leave();
        self.shared.for_task.notify_one();
        let left = async {
            while !matches!(self.standing(), Standing::Left | Standing::Failed) {
                self.shared.for_consumer.notified().await;
            }
        };
        if tokio::time::timeout(CLOSE_PATIENCE, left).await.is_err() {
            log::warn!("group \"{}\": the coordinator did not answer the goodbye", self.group);
        }
        outcome
    }

    fn error(&self, ended: &Ended<Error>) -> Error {
        let error = match &ended.cause {
            EndCause::Fault(error) => error.clone(),
            EndCause::Code(code, text) => Error::broker(*code, text.as_deref()).api(ended.api),
            EndCause::Text(text) => Error::new(ErrorKind::Decode, text.clone()).api(ended.api),
        };
        error.group(&self.group)
    }
}

impl Drop for GroupConsumer {
    fn drop(&mut self) {
        self.shared.member().leave();
        self.shared.for_task.notify_one();
    }
}

/// While it lives the caller waits; afterwards it is busy, and its time counts.
struct Waiting(Arc<Shared>);

impl Waiting {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.member().set_waiting();
        shared.for_task.notify_one();
        Self(shared.clone())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.member().set_busy(now());
        self.0.for_task.notify_one();
    }
}

fn offsets(due: &[(TopicPartition, Position)]) -> Vec<OffsetToCommit> {
    let offset = |(partition, position): &(TopicPartition, Position)| OffsetToCommit {
        topic: partition.topic.clone(),
        partition: partition.partition,
        offset: position.offset,
        leader_epoch: position.leader_epoch,
        metadata: String::new(),
    };
    due.iter().map(offset).collect()
}

/// An id that no other member has: 128 bits from the keys of the standard library's hash maps, which come from the system.
fn random_id() -> String {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let half = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", half(), half() ^ u64::from(std::process::id()).rotate_left(40))
}
