//! `Fetch` (1), versions 4 to 16: records of partitions from one broker. Our own codec; records stay slices of the answer.
//!
//! What versions add: v5 log start offset, v7 sessions (always declined here: session 0, epoch -1), v9 leader epoch,
//! v11 rack and preferred replica, v12 compact layout and diverging epoch, v13 topic ids in place of names, v15 the replica
//! id moves into a tag, v16 addresses of new leaders (KIP-951).

use std::sync::Arc;

use bytes::Bytes;

use crate::wire::{DecodeError, DecodeFault, Reader, Writer};

use super::layout::{Layout, reserve};
use super::{ApiKey, Call, EncodeError, ErrorCode, Isolation, TopicId};

/// A fetch without a session.
#[derive(Clone, Debug)]
pub struct FetchCall {
    /// How long the broker may wait for `bytes_min`, in milliseconds.
    pub wait_ms_max: i32,
    /// The broker answers as soon as it has this many bytes of records.
    pub bytes_min: i32,
    /// Bytes of records in the whole answer. The first batch of the first partition that has any comes even when it is
    /// larger (KIP-74).
    pub bytes_max: i32,
    /// Whether records of open and aborted transactions are wanted.
    pub isolation: Isolation,
    /// Topics in the order in which the broker shall fill the answer.
    pub topics: Vec<FetchTopic>,
}

/// One topic of a fetch.
#[derive(Clone, Debug)]
pub struct FetchTopic {
    /// Its name.
    pub name: Arc<str>,
    /// Its id; without one the request goes out in a version that uses names.
    pub id: Option<TopicId>,
    /// Its partitions, in order.
    pub partitions: Vec<FetchPartition>,
}

/// One partition of a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchPartition {
    /// The partition.
    pub partition: i32,
    /// The first offset wanted.
    pub offset: i64,
    /// The leader epoch we believe in, which a broker fences when it knows better; none before v9 or when unknown.
    pub leader_epoch: Option<i32>,
    /// Bytes of records of this partition.
    pub bytes_max: i32,
}

/// The answer to a fetch.
#[derive(Clone, Debug)]
pub struct FetchAnswer {
    /// How long the broker asks us to stay quiet, in milliseconds.
    pub throttle_ms: i32,
    /// An error of the whole request.
    pub error: ErrorCode,
    /// Partitions in the broker's order.
    pub partitions: Vec<FetchPartitionAnswer>,
    /// Addresses of the leaders that partitions name (v16).
    pub endpoints: Vec<NodeEndpoint>,
}

/// How an answer names a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicRef {
    /// By name, before v13.
    Name(Arc<str>),
    /// By id, from v13; none for the zero id.
    Id(Option<TopicId>),
}

/// One partition of a fetch answer.
#[derive(Clone, Debug)]
pub struct FetchPartitionAnswer {
    /// The topic.
    pub topic: TopicRef,
    /// The partition.
    pub partition: i32,
    /// What went wrong with this partition.
    pub error: ErrorCode,
    /// The next offset that all in-sync replicas will have; -1 with an error.
    pub high_watermark: i64,
    /// The first offset of an open transaction, or the high watermark; -1 when unknown.
    pub last_stable_offset: i64,
    /// The first offset that still exists; -1 when unknown (before v5).
    pub log_start_offset: i64,
    /// The leader the broker knows (KIP-951); none before v12 and mostly none after.
    pub leader: Option<LeaderHint>,
    /// Aborted transactions that overlap the records, in no particular order; empty under read_uncommitted.
    pub aborted: Vec<AbortedTransaction>,
    /// A replica closer to our rack (KIP-392); -1 for none.
    pub preferred_read_replica: i32,
    /// Record batches and message sets, the last perhaps cut off; a slice of the answer's frame.
    pub records: Bytes,
}

/// The leader of a partition as an answer hints at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaderHint {
    /// Node id.
    pub node: i32,
    /// Its epoch.
    pub epoch: i32,
}

/// A transaction whose records read_committed must not show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Who wrote it.
    pub producer_id: i64,
    /// Its first offset in this partition; it ends at that producer's next abort marker.
    pub first_offset: i64,
}

/// The address of a broker in an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeEndpoint {
    /// Node id.
    pub node: i32,
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: i32,
}

/// The last version that names topics by name.
const BY_NAME_VERSION_MAX: i16 = 12;

impl Call for FetchCall {
    const API: ApiKey = ApiKey::Fetch;
    type Answer = FetchAnswer;

    fn version_max(&self) -> i16 {
        let all_have_ids = self.topics.iter().all(|topic| topic.id.is_some());
        if all_have_ids { Self::API.versions().max } else { BY_NAME_VERSION_MAX }
    }

    fn encode(&self, version: i16, out: &mut Writer) -> Result<(), EncodeError> {
        let layout = Layout::of(Self::API, version);
        if version <= 14 {
            out.i32_be(-1); // replica id: a consumer
        }
        out.i32_be(self.wait_ms_max);
        out.i32_be(self.bytes_min);
        out.i32_be(self.bytes_max);
        out.i8(self.isolation.level());
        if version >= 7 {
            out.i32_be(0); // session id
            out.i32_be(-1); // session epoch: no session wanted
        }
        layout.put_count(out, self.topics.len(), "topics")?;
        for topic in &self.topics {
            encode_topic(topic, version, layout, out)?;
        }
        if version >= 7 {
            layout.put_count(out, 0, "forgotten_topics_data")?;
        }
        if version >= 11 {
            layout.put_string(out, "", "rack_id")?;
        }
        layout.put_no_tags(out);
        Ok(())
    }

    fn decode(version: i16, body: Bytes) -> Result<FetchAnswer, DecodeError> {
        decode_answer(version, &body)
    }
}

fn encode_topic(topic: &FetchTopic, version: i16, layout: Layout, out: &mut Writer) -> Result<(), EncodeError> {
    if version > BY_NAME_VERSION_MAX {
        let Some(id) = &topic.id else {
            return Err(EncodeError { field: "topic_id", reason: format!("topic \"{}\" has none", topic.name) });
        };
        out.bytes(id.bytes());
    } else {
        layout.put_string(out, &topic.name, "topic")?;
    }
    layout.put_count(out, topic.partitions.len(), "partitions")?;
    for partition in &topic.partitions {
        out.i32_be(partition.partition);
        if version >= 9 {
            out.i32_be(partition.leader_epoch.unwrap_or(-1));
        }
        out.i64_be(partition.offset);
        if version >= 12 {
            out.i32_be(-1); // last fetched epoch: only followers say
        }
        if version >= 5 {
            out.i64_be(-1); // log start offset: only followers say
        }
        out.i32_be(partition.bytes_max);
        layout.put_no_tags(out);
    }
    layout.put_no_tags(out);
    Ok(())
}

fn decode_answer(version: i16, body: &Bytes) -> Result<FetchAnswer, DecodeError> {
    let layout = Layout::of(ApiKey::Fetch, version);
    let reader = &mut Reader::new(body);
    let throttle_ms = reader.i32_be("throttle_time_ms")?;
    let mut error = ErrorCode::NONE;
    if version >= 7 {
        error = ErrorCode(reader.i16_be("error_code")?);
        reader.skip(4, "session_id")?;
    }
    let topic_bytes_min = if version > BY_NAME_VERSION_MAX { 17 } else { 2 };
    let topics = layout.count(reader, topic_bytes_min, "responses")?.unwrap_or(0);
    let mut partitions = Vec::new();
    for _ in 0..topics {
        let topic = if version > BY_NAME_VERSION_MAX {
            TopicRef::Id(TopicId::new(reader.array("topic_id")?))
        } else {
            TopicRef::Name(layout.string(reader, "topic")?.into())
        };
        // The smallest partition: index, error, two offsets and two empty lists.
        let count = layout.count(reader, 24, "partitions")?.unwrap_or(0);
        reserve(&mut partitions, count, reader, "partitions")?;
        for _ in 0..count {
            partitions.push(decode_partition(version, layout, body, reader, topic.clone())?);
        }
        layout.skip_tags(reader)?;
    }
    let mut endpoints = Vec::new();
    layout.tags(reader, |tag, content| {
        if tag == 0 && version >= 16 {
            endpoints = decode_endpoints(layout, content)?;
        }
        Ok(())
    })?;
    Ok(FetchAnswer { throttle_ms, error, partitions, endpoints })
}

fn decode_partition(
    version: i16,
    layout: Layout,
    body: &Bytes,
    reader: &mut Reader<'_>,
    topic: TopicRef,
) -> Result<FetchPartitionAnswer, DecodeError> {
    let partition = reader.i32_be("partition_index")?;
    let error = ErrorCode(reader.i16_be("error_code")?);
    let high_watermark = reader.i64_be("high_watermark")?;
    let last_stable_offset = reader.i64_be("last_stable_offset")?;
    let log_start_offset = if version >= 5 { reader.i64_be("log_start_offset")? } else { -1 };
    let count = layout.count(reader, 16, "aborted_transactions")?.unwrap_or(0);
    let mut aborted = Vec::new();
    reserve(&mut aborted, count, reader, "aborted_transactions")?;
    for _ in 0..count {
        let producer_id = reader.i64_be("producer_id")?;
        let first_offset = reader.i64_be("first_offset")?;
        layout.skip_tags(reader)?;
        aborted.push(AbortedTransaction { producer_id, first_offset });
    }
    let preferred_read_replica = if version >= 11 { reader.i32_be("preferred_read_replica")? } else { -1 };
    let range = layout.nullable_bytes(reader, "records")?.unwrap_or_default();
    let records = body
        .get(range.clone())
        .map(|slice| body.slice_ref(slice))
        .ok_or_else(|| reader.error(DecodeFault::Truncated { wanted: range.len(), left: 0 }, "records"))?;
    let mut leader = None;
    layout.tags(reader, |tag, content| {
        if tag == 1 {
            let hint = LeaderHint { node: content.i32_be("leader_id")?, epoch: content.i32_be("leader_epoch")? };
            leader = (hint.node >= 0).then_some(hint);
        }
        Ok(())
    })?;
    Ok(FetchPartitionAnswer {
        topic,
        partition,
        error,
        high_watermark,
        last_stable_offset,
        log_start_offset,
        leader,
        aborted,
        preferred_read_replica,
        records,
    })
}

pub(super) fn decode_endpoints(layout: Layout, reader: &mut Reader<'_>) -> Result<Vec<NodeEndpoint>, DecodeError> {
    let count = layout.count(reader, 11, "node_endpoints")?.unwrap_or(0);
    let mut endpoints = Vec::new();
    reserve(&mut endpoints, count, reader, "node_endpoints")?;
    for _ in 0..count {
        let node = reader.i32_be("node_id")?;
        let host = layout.string(reader, "host")?.to_owned();
        let port = reader.i32_be("port")?;
        layout.nullable_string(reader, "rack")?;
        layout.skip_tags(reader)?;
        endpoints.push(NodeEndpoint { node, host, port });
    }
    Ok(endpoints)
}
