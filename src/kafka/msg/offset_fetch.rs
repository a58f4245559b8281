//! `OffsetFetch` (9), versions 2 to 9: what a group has committed. Through the crate.
//!
//! v7 can ask for offsets that no open transaction or pending commit may still change (KIP-447), v8 asks for several groups, v9
//! says which member asks (KIP-848).

use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::{GroupId, OffsetFetchRequest, OffsetFetchResponse, TopicName};

use crate::wire::{DecodeError, Writer};

use super::shape::{Field, Kind, Shape};
use super::{ApiKey, Call, EncodeError, ErrorCode, foreign};

/// Asks the coordinator for a group's offsets.
#[derive(Clone, Debug)]
pub struct OffsetFetchCall {
    /// The group.
    pub group: Arc<str>,
    /// Topics and partitions; none for everything the group has committed.
    pub topics: Option<Vec<(Arc<str>, Vec<i32>)>>,
    /// The member of a group of the new protocol that asks, and its epoch; dropped before v9.
    pub member: Option<(Arc<str>, i32)>,
}

/// What the group has committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetFetchAnswer {
    /// How long the broker asks us to stay quiet, in milliseconds.
    pub throttle_ms: i32,
    /// An error of the whole group.
    pub error: ErrorCode,
    /// Whether the broker was asked to hold back offsets that may still change (v7, KIP-447).
    pub is_stable: bool,
    /// Partitions with the name of their topic.
    pub partitions: Vec<(Arc<str>, OffsetFetchPartition)>,
}

/// One partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetFetchPartition {
    /// The partition.
    pub partition: i32,
    /// What went wrong with it.
    pub error: ErrorCode,
    /// The next offset to read; none when nothing is committed (-1 on the wire).
    pub offset: Option<i64>,
    /// The leader epoch stored with it; none before v5 or when not stored.
    pub leader_epoch: Option<i32>,
    /// The text stored with it; null differs from empty.
    pub metadata: Option<String>,
}

pub(super) const SHAPE: Shape = Shape {
    flexible_from: ApiKey::OffsetFetch.flexible_from(),
    fields: &[
        Field::since(3, "throttle_time_ms", Kind::Fixed(4)),
        Field::between(0, 7, "topics", Kind::Array(TOPIC)),
        Field::between(2, 7, "error_code", Kind::Fixed(2)),
        Field::since(8, "groups", Kind::Array(GROUP)),
    ],
};
const GROUP: &[Field] = &[
    Field::new("group_id", Kind::Text),
    Field::new("topics", Kind::Array(TOPIC)),
    Field::new("error_code", Kind::Fixed(2)),
];
const TOPIC: &[Field] = &[Field::new("name", Kind::Text), Field::new("partitions", Kind::Array(PARTITION))];
const PARTITION: &[Field] = &[
    Field::new("partition_index", Kind::Fixed(4)),
    Field::new("committed_offset", Kind::Fixed(8)),
    Field::since(5, "committed_leader_epoch", Kind::Fixed(4)),
    Field::new("metadata", Kind::Text),
    Field::new("error_code", Kind::Fixed(2)),
];

impl Call for OffsetFetchCall {
    const API: ApiKey = ApiKey::OffsetFetch;
    type Answer = OffsetFetchAnswer;

    fn encode(&self, version: i16, out: &mut Writer) -> Result<(), EncodeError> {
        let message = OffsetFetchRequest::default()
            // Offsets of a transaction that is not decided yet must not be read as committed (KIP-447).
            .with_require_stable(version >= 7);
        let group = GroupId(foreign::text(&self.group));
        let named = self.topics.as_ref().map(|topics| topics.iter());
        let message = if version >= 8 {
            let topics = named.map(|topics| {
                let topic = |(name, partitions): &(Arc<str>, Vec<i32>)| {
                    OffsetFetchRequestTopics::default()
                        .with_name(TopicName(foreign::text(name)))
                        .with_partition_indexes(partitions.clone())
                };
                topics.map(topic).collect()
            });
            let mut asked = OffsetFetchRequestGroup::default().with_group_id(group).with_topics(topics);
            if let (9.., Some((member_id, epoch))) = (version, &self.member) {
                asked = asked.with_member_id(Some(foreign::text(member_id))).with_member_epoch(*epoch);
            }
            message.with_groups(vec![asked])
        } else {
            let topics = named.map(|topics| {
                let topic = |(name, partitions): &(Arc<str>, Vec<i32>)| {
                    OffsetFetchRequestTopic::default()
                        .with_name(TopicName(foreign::text(name)))
                        .with_partition_indexes(partitions.clone())
                };
                topics.map(topic).collect()
            });
            message.with_group_id(group).with_topics(topics)
        };
        foreign::encode(&message, version, "OffsetFetchRequest", out)
    }

    fn decode(version: i16, body: Bytes) -> Result<OffsetFetchAnswer, DecodeError> {
        let message: OffsetFetchResponse = foreign::decode(&SHAPE, version, "OffsetFetchResponse", body)?;
        let mut partitions = Vec::new();
        let mut error = message.error_code;
        let mut take = |topic: &TopicName, p: OffsetFetchPartition| {
            partitions.push((Arc::from(topic.0.as_str()), p));
        };
        for topic in message.topics {
            for p in topic.partitions {
                let (offset, epoch) = (p.committed_offset, p.committed_leader_epoch);
                take(&topic.name, stored(p.partition_index, p.error_code, offset, epoch, p.metadata));
            }
        }
        // One group was asked for.
        for group in message.groups {
            error = group.error_code;
            for topic in group.topics {
                for p in topic.partitions {
                    let (offset, epoch) = (p.committed_offset, p.committed_leader_epoch);
                    take(&topic.name, stored(p.partition_index, p.error_code, offset, epoch, p.metadata));
                }
            }
        }
        Ok(OffsetFetchAnswer {
            throttle_ms: message.throttle_time_ms,
            error: ErrorCode(error),
            is_stable: version >= 7,
            partitions,
        })
    }
}

fn stored(
    partition: i32,
    error: i16,
    offset: i64,
    leader_epoch: i32,
    metadata: Option<kafka_protocol::protocol::StrBytes>,
) -> OffsetFetchPartition {
    OffsetFetchPartition {
        partition,
        error: ErrorCode(error),
        offset: (offset >= 0).then_some(offset),
        leader_epoch: (leader_epoch >= 0).then_some(leader_epoch),
        metadata: metadata.map(|text| text.to_string()),
    }
}
