//! Offsets: where a partition starts and ends, where a time lies, what a group has committed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinSet;

use super::ask::{Again, Attempt, Core};
use super::client::Client;
use super::error::{Error, ErrorKind, PartitionError};
use super::msg::{
    ApiKey, ErrorCode, Isolation, ListOffsetsAnswer, ListOffsetsCall, ListOffsetsPartition, ListOffsetsPartitionAnswer,
    OffsetCommitAnswer, OffsetCommitCall, OffsetCommitPartition, OffsetFetchCall,
};
use super::net::now;
use super::net::pool::Lane;
use super::state::cluster::{Place, Topic};

/// A point of a partition to look up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetAt {
    /// The first offset that exists.
    Earliest,
    /// The offset after the last record: the high watermark, or under read_committed the last stable offset.
    Latest,
    /// The first record, in log order, whose timestamp is not before this many milliseconds since 1970. Later records may
    /// be older when producers set the time. Times before 1970 mean 1970.
    Time(i64),
    /// The record with the largest timestamp (KIP-734); from Kafka 3.0 on.
    MaxTimestamp,
    /// The first offset that is still on the leader's own disk (KIP-405); from Kafka 3.5 on.
    EarliestLocal,
    /// The last offset that has been moved to remote storage (KIP-1005); from Kafka 3.9 on.
    LatestTiered,
}

impl OffsetAt {
    /// The version of `ListOffsets` that first knows it; older brokers would take its number for a time.
    const fn since_version(self) -> i16 {
        match self {
            Self::Earliest | Self::Latest | Self::Time(_) => 1,
            Self::MaxTimestamp => 7,
            Self::EarliestLocal => 8,
            Self::LatestTiered => 9,
        }
    }

    const fn timestamp(self) -> i64 {
        match self {
            Self::Earliest => ListOffsetsPartition::EARLIEST,
            Self::Latest => ListOffsetsPartition::LATEST,
            Self::MaxTimestamp => -3,
            Self::EarliestLocal => -4,
            Self::LatestTiered => -5,
            // Negative times have meanings of their own on the wire.
            Self::Time(ms) => {
                if ms < 0 {
                    0
                } else {
                    ms
                }
            }
        }
    }
}

/// What a lookup found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedOffset {
    /// The offset; none when no record has such a time or a later one. That is not an error, and no offset to read at.
    pub offset: Option<i64>,
    /// The timestamp of that record in milliseconds; -1 for the start and the end, or when nothing was found.
    pub timestamp: i64,
    /// The leader epoch of that record; none before Kafka 2.1.
    pub leader_epoch: Option<i32>,
}

/// What a group has committed for one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The next offset to read; none when nothing is committed.
    pub offset: Option<i64>,
    /// The leader epoch stored with it.
    pub leader_epoch: Option<i32>,
    /// The text stored with it; null differs from empty.
    pub metadata: Option<String>,
}

/// An offset to commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetToCommit {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The next offset to read, not the last one read.
    pub offset: i64,
    /// The leader epoch of the last record read, if known.
    pub leader_epoch: Option<i32>,
    /// Text to keep next to it; at most 4096 bytes by the brokers' default.
    pub metadata: String,
}

impl Client {
    /// Looks up offsets of partitions of one topic at their leaders, in parallel. Asks again while leaders move or a
    /// new leader does not know its end yet. A partition named twice is looked up as the last entry says.
    ///
    /// # Errors
    /// [`UnknownTopic`](ErrorKind::UnknownTopic), [`UnknownPartition`](ErrorKind::UnknownPartition),
    /// [`Auth`](ErrorKind::Auth), [`Unsupported`](ErrorKind::Unsupported) for a point that the brokers do not know, or the last
    /// cause when the deadline for retries passes. Nothing is returned unless every partition has an answer.
    pub async fn list_offsets(
        &self,
        topic: &str,
        wanted: &[(i32, OffsetAt)],
        isolation: Isolation,
    ) -> Result<BTreeMap<i32, ListedOffset>, Error> {
        let topic: Arc<str> = topic.into();
        let mut pending: BTreeMap<i32, OffsetAt> = wanted.iter().copied().collect();
        let needed = wanted.iter().map(|(_, at)| at.since_version()).max().unwrap_or(1);
        if needed > 6 {
            let range = self.api_versions().await?.range(ApiKey::ListOffsets);
            if range.is_none_or(|range| range.max < needed) {
                let text = format!("this point needs version {needed} of the request, which the broker does not have");
                return Err(Error::new(ErrorKind::Unsupported, text).api(ApiKey::ListOffsets).topic(&topic));
            }
        }
        let mut found = BTreeMap::new();
        let mut patience = self.core.patience();
        let mut since = None;
        while !pending.is_empty() {
            let round = Round { core: &self.core, topic: &topic, isolation };
            if let Err(attempt) = round.run(&mut pending, &mut found, since).await {
                patience.after(attempt).await?;
                since = Some(now());
            }
        }
        Ok(found)
    }

    /// What a group has committed for some partitions; partitions without a commit come with no offset.
    ///
    /// # Errors
    /// [`Auth`](ErrorKind::Auth), a broker's code, or the last cause when the deadline for retries passes.
    pub async fn committed_offsets(
        &self,
        group: &str,
        topic_partitions: &[(String, Vec<i32>)],
    ) -> Result<Vec<CommittedOffset>, Error> {
        let topics = topic_partitions.iter().map(|(topic, partitions)| (topic.as_str().into(), partitions.clone()));
        self.fetch_offsets(group, Some(topics.collect())).await
    }

    /// Everything a group has committed.
    ///
    /// # Errors
    /// As [`Client::committed_offsets`].
    pub async fn all_committed_offsets(&self, group: &str) -> Result<Vec<CommittedOffset>, Error> {
        self.fetch_offsets(group, None).await
    }

    /// What a group has committed for some partitions, when no commit is on its way any more: what a member that takes
    /// partitions over must begin with.
    ///
    /// Brokers from 2.5 on hold the answer back while a commit is pending (KIP-447). Older ones are asked until two answers,
    /// a request timeout apart, are equal.
    ///
    /// # Errors
    /// As [`Client::committed_offsets`].
    pub async fn stable_committed_offsets(
        &self,
        group: &str,
        topic_partitions: &[(String, Vec<i32>)],
    ) -> Result<Vec<CommittedOffset>, Error> {
        let topics: Vec<(Arc<str>, Vec<i32>)> =
            topic_partitions.iter().map(|(topic, partitions)| (topic.as_str().into(), partitions.clone())).collect();
        let call = OffsetFetchCall { group: group.into(), topics: Some(topics), member: None };
        self.fetch_stable(&call).await
    }

    pub(super) async fn fetch_stable(&self, call: &OffsetFetchCall) -> Result<Vec<CommittedOffset>, Error> {
        let (mut offsets, is_stable) = self.fetch_retrying(call).await?;
        if is_stable {
            return Ok(offsets);
        }
        loop {
            tokio::time::sleep(self.core.config.request_timeout).await;
            let (again, _) = self.fetch_retrying(call).await?;
            if again == offsets {
                return Ok(offsets);
            }
            offsets = again;
        }
    }

    async fn fetch_offsets(
        &self,
        group: &str,
        topics: Option<Vec<(Arc<str>, Vec<i32>)>>,
    ) -> Result<Vec<CommittedOffset>, Error> {
        let call = OffsetFetchCall { group: group.into(), topics, member: None };
        self.fetch_retrying(&call).await.map(|(offsets, _)| offsets)
    }

    /// What is committed, and whether the broker made sure that nothing is pending.
    pub(super) async fn fetch_retrying(&self, call: &OffsetFetchCall) -> Result<(Vec<CommittedOffset>, bool), Error> {
        let mut patience = self.core.patience();
        loop {
            match self.fetch_offsets_once(call).await {
                Ok(found) => return Ok(found),
                Err(attempt) => patience.after(attempt).await?,
            }
        }
    }

    async fn fetch_offsets_once(&self, call: &OffsetFetchCall) -> Result<(Vec<CommittedOffset>, bool), Attempt> {
        let group = &call.group;
        let (place, answer) = self.core.ask_coordinator(group, call).await?;
        let failed = |code| self.core.coordinator_code(group, &place, ApiKey::OffsetFetch, code);
        if !answer.error.is_ok() {
            return Err(failed(answer.error));
        }
        let mut offsets = Vec::with_capacity(answer.partitions.len());
        for (topic, p) in answer.partitions {
            if !p.error.is_ok() {
                return Err(failed(p.error).map(|e| e.topic(&topic).partition(p.partition)));
            }
            let (partition, offset) = (p.partition, p.offset);
            let (leader_epoch, metadata) = (p.leader_epoch, p.metadata);
            offsets.push(CommittedOffset { topic, partition, offset, leader_epoch, metadata });
        }
        Ok((offsets, answer.is_stable))
    }

    /// Stores offsets of a group from outside of it (generation -1): for a group that no consumer is a member of.
    /// Doing it twice does no harm, so it is retried also when an answer was lost.
    ///
    /// # Errors
    /// [`Broker`](ErrorKind::Broker) with [`Error::partition_errors`] listing each partition that was refused, such as
    /// `UNKNOWN_MEMBER_ID` when the group has members; the other partitions are stored. [`Auth`](ErrorKind::Auth), or the
    /// last cause when the deadline for retries passes.
    pub async fn commit_offsets(&self, group: &str, offsets: &[OffsetToCommit]) -> Result<(), Error> {
        if offsets.is_empty() {
            return Ok(());
        }
        let call = OffsetCommitCall {
            group: group.into(),
            generation: -1,
            member_id: "".into(),
            group_instance_id: None,
            topics: by_topic(offsets),
        };
        self.commit_retrying(&call).await
    }

    pub(super) async fn commit_retrying(&self, call: &OffsetCommitCall) -> Result<(), Error> {
        let mut patience = self.core.patience();
        while let Err(attempt) = self.commit_once(&call.group, call).await {
            patience.after(attempt).await?;
        }
        Ok(())
    }

    /// One try, which is not repeated where its answer is lost.
    pub(super) async fn commit_unrepeated(&self, call: &OffsetCommitCall) -> Result<(), Error> {
        let once = async {
            let place = self.core.coordinator(&call.group).await?;
            let answer = self.core.ask_once(Lane::Group, &place, call, self.core.config.request_timeout).await;
            let answer = answer.inspect_err(|_| self.core.cluster().forget_coordinator(&call.group))?;
            self.commit_answer(&call.group, &place, answer)
        };
        once.await.map_err(|attempt| attempt.error)
    }

    async fn commit_once(&self, group: &Arc<str>, call: &OffsetCommitCall) -> Result<(), Attempt> {
        let (place, answer) = self.core.ask_coordinator(group, call).await?;
        self.commit_answer(group, &place, answer)
    }

    fn commit_answer(&self, group: &Arc<str>, place: &Place, answer: OffsetCommitAnswer) -> Result<(), Attempt> {
        let refused = answer.partitions.into_iter().filter(|(_, _, code)| !code.is_ok());
        let refused: Vec<_> =
            refused.map(|(topic, partition, code)| PartitionError { topic, partition, code }).collect();
        // One that cannot be helped decides over those that may be.
        let worst = refused.iter().find(|e| !e.code.is_retriable()).or_else(|| refused.first()).cloned();
        let Some(worst) = worst else { return Ok(()) };
        let attempt = self.core.coordinator_code(group, place, ApiKey::OffsetCommit, worst.code);
        Err(attempt.map(|e| e.topic(&worst.topic).partition(worst.partition).partitions(refused)))
    }
}

pub(super) fn by_topic(offsets: &[OffsetToCommit]) -> Vec<(Arc<str>, Vec<OffsetCommitPartition>)> {
    let mut topics: BTreeMap<Arc<str>, Vec<OffsetCommitPartition>> = BTreeMap::new();
    for offset in offsets {
        topics.entry(offset.topic.clone()).or_default().push(OffsetCommitPartition {
            partition: offset.partition,
            offset: offset.offset,
            leader_epoch: offset.leader_epoch,
            metadata: Some(offset.metadata.clone()),
        });
    }
    topics.into_iter().collect()
}

/// One round of lookups.
struct Round<'a> {
    core: &'a Arc<Core>,
    topic: &'a Arc<str>,
    isolation: Isolation,
}

type LeaderAnswer = (Place, Vec<i32>, Result<ListOffsetsAnswer, Attempt>);

impl Round<'_> {
    /// Asks the leader of every pending partition once, and moves what was found. With `since`, leaders are looked up anew.
    async fn run(
        &self,
        pending: &mut BTreeMap<i32, OffsetAt>,
        found: &mut BTreeMap<i32, ListedOffset>,
        since: Option<Instant>,
    ) -> Result<(), Attempt> {
        let topic = self.core.topic(self.topic, since).await?;
        let mut failed = None;
        let mut asks: JoinSet<LeaderAnswer> = JoinSet::new();
        for (leader, partitions) in self.by_leader(pending, &topic, &mut failed) {
            let (core, topic, isolation) = (self.core.clone(), self.topic.clone(), self.isolation);
            asks.spawn(async move {
                let asked = partitions.iter().map(|p| p.partition).collect();
                let call = ListOffsetsCall { topic, isolation, partitions };
                let place = Place::Node(leader);
                let answer = core.ask(Lane::Control, &place, &call, core.config.request_timeout).await;
                (place, asked, answer)
            });
        }
        while let Some(joined) = asks.join_next().await {
            let Ok((place, asked, answer)) = joined else {
                return Err(Attempt::last(Error::new(ErrorKind::Closed, "the runtime is shutting down")));
            };
            match answer {
                Ok(answer) => self.accept(&place, &asked, &answer, pending, found, &mut failed),
                Err(attempt) => note(&mut failed, attempt.map(|e| self.about(e, asked.first().copied()))),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    fn by_leader(
        &self,
        pending: &BTreeMap<i32, OffsetAt>,
        topic: &Topic,
        failed: &mut Option<Attempt>,
    ) -> BTreeMap<i32, Vec<ListOffsetsPartition>> {
        let mut leaders: BTreeMap<i32, Vec<ListOffsetsPartition>> = BTreeMap::new();
        for (partition, at) in pending {
            let known = topic.partitions.get(partition);
            match known.map(|known| (known.leader, known.leader_epoch, known.error)) {
                Some((Some(leader), leader_epoch, _)) => {
                    let ask = ListOffsetsPartition { partition: *partition, leader_epoch, timestamp: at.timestamp() };
                    leaders.entry(leader).or_default().push(ask);
                }
                Some((None, _, code)) => {
                    let code = if code.is_ok() { ErrorCode::LEADER_NOT_AVAILABLE } else { code };
                    note(failed, Attempt::code(code, None).map(|e| self.about(e, Some(*partition))));
                }
                None => {
                    let text = format!("the topic has {} partitions", topic.partitions.len());
                    let error = self.about(Error::new(ErrorKind::UnknownPartition, text), Some(*partition));
                    note(failed, Attempt { error, again: Again::Unknown });
                }
            }
        }
        leaders
    }

    fn accept(
        &self,
        place: &Place,
        asked: &[i32],
        answer: &ListOffsetsAnswer,
        pending: &mut BTreeMap<i32, OffsetAt>,
        found: &mut BTreeMap<i32, ListedOffset>,
        failed: &mut Option<Attempt>,
    ) {
        for (topic, p) in &answer.partitions {
            if topic != self.topic || !pending.contains_key(&p.partition) {
                continue;
            }
            if p.error.is_ok() {
                pending.remove(&p.partition);
                found.insert(p.partition, listed(p));
            } else {
                let name = self.core.place_name(place);
                note(failed, Attempt::code(p.error, None).map(|e| self.about(e, Some(p.partition)).at_broker(name)));
            }
        }
        let left_out = asked.iter().find(|partition| pending.contains_key(partition));
        if let (Some(partition), None) = (left_out, &failed) {
            let error = Error::new(ErrorKind::Decode, "the broker left the partition out of its answer");
            note(failed, Attempt::retry(self.about(error, Some(*partition)).at_broker(self.core.place_name(place))));
        }
    }

    fn about(&self, error: Error, partition: Option<i32>) -> Error {
        let error = error.api(ApiKey::ListOffsets).topic(self.topic);
        match partition {
            Some(partition) => error.partition(partition),
            None => error,
        }
    }
}

/// Keeps the attempt that matters most: one that is final, else the first.
fn note(failed: &mut Option<Attempt>, attempt: Attempt) {
    match failed {
        Some(known) if known.again == Again::No || attempt.again != Again::No => {}
        _ => *failed = Some(attempt),
    }
}

fn listed(p: &ListOffsetsPartitionAnswer) -> ListedOffset {
    let offset = (p.offset >= 0).then_some(p.offset);
    ListedOffset { offset, timestamp: p.timestamp, leader_epoch: p.leader_epoch }
}
