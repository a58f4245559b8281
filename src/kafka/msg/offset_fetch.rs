//! `OffsetFetch` (9), versions 2 to 7: what a group has committed. Through the crate.

use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
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
}

/// What the group has committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetFetchAnswer {
    /// How long the broker asks us to stay quiet, in milliseconds.
    pub throttle_ms: i32,
    /// An error of the whole group.
    pub error: ErrorCode,
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
        Field::new("topics", Kind::Array(TOPIC)),
        Field::since(2, "error_code", Kind::Fixed(2)),
    ],
};
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
        let topics = self.topics.as_ref().map(|topics| {
            let topic = |(name, partitions): &(Arc<str>, Vec<i32>)| {
                OffsetFetchRequestTopic::default()
                    .with_name(TopicName(foreign::text(name)))
                    .with_partition_indexes(partitions.clone())
            };
            topics.iter().map(topic).collect()
        });
        let message = OffsetFetchRequest::default()
            .with_group_id(GroupId(foreign::text(&self.group)))
            .with_topics(topics)
            // Offsets of a transaction that is not decided yet must not be read as committed (KIP-447).
            .with_require_stable(version >= 7);
        foreign::encode(&message, version, "OffsetFetchRequest", out)
    }

    fn decode(version: i16, body: Bytes) -> Result<OffsetFetchAnswer, DecodeError> {
        let message: OffsetFetchResponse = foreign::decode(&SHAPE, version, "OffsetFetchResponse", body)?;
        let mut partitions = Vec::new();
        for topic in message.topics {
            let name: Arc<str> = topic.name.0.as_str().into();
            for p in topic.partitions {
                let partition = OffsetFetchPartition {
                    partition: p.partition_index,
                    error: ErrorCode(p.error_code),
                    offset: (p.committed_offset >= 0).then_some(p.committed_offset),
                    leader_epoch: (p.committed_leader_epoch >= 0).then_some(p.committed_leader_epoch),
                    metadata: p.metadata.map(|text| text.to_string()),
                };
                partitions.push((name.clone(), partition));
            }
        }
        Ok(OffsetFetchAnswer {
            throttle_ms: message.throttle_time_ms,
            error: ErrorCode(message.error_code),
            partitions,
        })
    }
}
