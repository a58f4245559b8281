//! `Produce` (0), versions 3 to 13: appends record batches to partitions of one broker. Our own codec.
//!
//! What versions add: v5 log start offset, v7 zstd (KIP-110), v8 errors of single records (KIP-467), v9 compact layout,
//! v10 leader hints (KIP-951), v12 partitions join a transaction by being written to (KIP-890), v13 topic ids (KIP-516).

use std::sync::Arc;

use bytes::Bytes;

use crate::wire::{DecodeError, Reader, Writer};

use super::fetch::{LeaderHint, NodeEndpoint, TopicRef, decode_endpoints};
use super::layout::{Layout, reserve};
use super::{ApiKey, Call, EncodeError, ErrorCode, TopicId};

/// Appends record batches (magic 2) to partitions that one broker leads.
#[derive(Clone, Debug)]
pub struct ProduceCall {
    /// The transactional id, of batches that belong to a transaction.
    pub transactional_id: Option<Arc<str>>,
    /// Whether partitions may join the transaction by this very request, which takes `transaction.version` 2 of the cluster
    /// (KIP-890). Of no meaning outside of a transaction.
    pub joins_transaction: bool,
    /// 0: nobody answers; 1: the leader has it; -1: all in-sync replicas have it.
    pub acks: i16,
    /// How long the leader may wait for the replicas, in milliseconds.
    pub timeout_ms: i32,
    /// Topics and their partitions.
    pub topics: Vec<ProduceTopic>,
}

/// One topic of a [`ProduceCall`].
#[derive(Clone, Debug)]
pub struct ProduceTopic {
    /// Its name.
    pub name: Arc<str>,
    /// Its id; without one the request goes out in a version that uses names.
    pub id: Option<TopicId>,
    /// Partitions, each with one batch, CRC included; the broker assigns the offsets.
    pub partitions: Vec<(i32, Bytes)>,
}

/// The answer to a [`ProduceCall`] with `acks` other than 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProduceAnswer {
    /// How long the broker asks us to stay quiet, in milliseconds.
    pub throttle_ms: i32,
    /// Partitions in the broker's order.
    pub partitions: Vec<ProducePartitionAnswer>,
    /// Addresses of the leaders that partitions name (v10).
    pub endpoints: Vec<NodeEndpoint>,
}

/// How the append to one partition went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducePartitionAnswer {
    /// The topic.
    pub topic: TopicRef,
    /// The partition.
    pub partition: i32,
    /// What went wrong.
    pub error: ErrorCode,
    /// What the broker says about the error (v8).
    pub error_message: Option<String>,
    /// The offset of the batch's first record; -1 with an error.
    pub base_offset: i64,
    /// The time that counts for every record on a topic of append-time, in ms since 1970; -1 on others.
    pub log_append_time_ms: i64,
    /// The first offset that exists; -1 when unknown (before v5).
    pub log_start_offset: i64,
    /// The records that made the broker refuse the batch: index in the batch, and why (v8).
    pub record_errors: Vec<(i32, Option<String>)>,
    /// The leader the broker knows (v10); mostly none.
    pub leader: Option<LeaderHint>,
}

/// The last version that names topics by name.
const BY_NAME_VERSION_MAX: i16 = 12;
/// The last version in which partitions are added to a transaction by a request of their own.
const EXPLICIT_VERSION_MAX: i16 = 11;
/// The first version that may carry zstd.
const ZSTD_VERSION_MIN: i16 = 7;
/// Where the lower byte of a batch's attributes stands, and zstd in it.
const ATTRIBUTES_AT: usize = 22;
const ZSTD: u8 = 4;

impl Call for ProduceCall {
    const API: ApiKey = ApiKey::Produce;
    type Answer = ProduceAnswer;

    fn version_max(&self) -> i16 {
        if self.transactional_id.is_some() && !self.joins_transaction {
            return EXPLICIT_VERSION_MAX;
        }
        let all_have_ids = self.topics.iter().all(|topic| topic.id.is_some());
        if all_have_ids { Self::API.versions().max } else { BY_NAME_VERSION_MAX }
    }

    fn encode(&self, version: i16, out: &mut Writer) -> Result<(), EncodeError> {
        let layout = Layout::of(Self::API, version);
        layout.put_nullable_string(out, self.transactional_id.as_deref(), "transactional_id")?;
        out.i16_be(self.acks);
        out.i32_be(self.timeout_ms);
        layout.put_count(out, self.topics.len(), "topic_data")?;
        for topic in &self.topics {
            if version > BY_NAME_VERSION_MAX {
                let Some(id) = &topic.id else {
                    return Err(EncodeError {
                        field: "topic_id",
                        reason: format!("topic \"{}\" has none", topic.name),
                    });
                };
                out.bytes(id.bytes());
            } else {
                layout.put_string(out, &topic.name, "name")?;
            }
            layout.put_count(out, topic.partitions.len(), "partition_data")?;
            for (partition, batch) in &topic.partitions {
                let is_zstd = batch.get(ATTRIBUTES_AT).is_some_and(|attributes| attributes & 7 == ZSTD);
                if is_zstd && version < ZSTD_VERSION_MIN {
                    let reason = "zstd needs Kafka 2.1 or later, and the broker is older; use another compression.type";
                    return Err(EncodeError { field: "records", reason: reason.to_owned() });
                }
                out.i32_be(*partition);
                layout.put_count(out, batch.len(), "records")?;
                out.bytes(batch);
                layout.put_no_tags(out);
            }
            layout.put_no_tags(out);
        }
        layout.put_no_tags(out);
        Ok(())
    }

    fn decode(version: i16, body: Bytes) -> Result<ProduceAnswer, DecodeError> {
        let layout = Layout::of(Self::API, version);
        let reader = &mut Reader::new(&body);
        let topic_bytes_min = if version > BY_NAME_VERSION_MAX { 17 } else { 2 };
        let topics = layout.count(reader, topic_bytes_min, "responses")?.unwrap_or(0);
        let mut partitions = Vec::new();
        for _ in 0..topics {
            let topic = if version > BY_NAME_VERSION_MAX {
                TopicRef::Id(TopicId::new(reader.array("topic_id")?))
            } else {
                TopicRef::Name(layout.string(reader, "name")?.into())
            };
            // The smallest partition: index, error, offset and time.
            let count = layout.count(reader, 22, "partition_responses")?.unwrap_or(0);
            reserve(&mut partitions, count, reader, "partition_responses")?;
            for _ in 0..count {
                partitions.push(decode_partition(version, layout, reader, topic.clone())?);
            }
            layout.skip_tags(reader)?;
        }
        let throttle_ms = reader.i32_be("throttle_time_ms")?;
        let mut endpoints = Vec::new();
        layout.tags(reader, |tag, content| {
            if tag == 0 && version >= 10 {
                endpoints = decode_endpoints(layout, content)?;
            }
            Ok(())
        })?;
        Ok(ProduceAnswer { throttle_ms, partitions, endpoints })
    }
}

fn decode_partition(
    version: i16,
    layout: Layout,
    reader: &mut Reader<'_>,
    topic: TopicRef,
) -> Result<ProducePartitionAnswer, DecodeError> {
    let partition = reader.i32_be("index")?;
    let error = ErrorCode(reader.i16_be("error_code")?);
    let base_offset = reader.i64_be("base_offset")?;
    let log_append_time_ms = reader.i64_be("log_append_time_ms")?;
    let log_start_offset = if version >= 5 { reader.i64_be("log_start_offset")? } else { -1 };
    let mut record_errors = Vec::new();
    let mut error_message = None;
    if version >= 8 {
        let count = layout.count(reader, 5, "record_errors")?.unwrap_or(0);
        reserve(&mut record_errors, count, reader, "record_errors")?;
        for _ in 0..count {
            let index = reader.i32_be("batch_index")?;
            let text = layout.nullable_string(reader, "batch_index_error_message")?.map(str::to_owned);
            layout.skip_tags(reader)?;
            record_errors.push((index, text));
        }
        error_message = layout.nullable_string(reader, "error_message")?.map(str::to_owned);
    }
    let mut leader = None;
    layout.tags(reader, |tag, content| {
        if tag == 0 && version >= 10 {
            let hint = LeaderHint { node: content.i32_be("leader_id")?, epoch: content.i32_be("leader_epoch")? };
            leader = (hint.node >= 0).then_some(hint);
        }
        Ok(())
    })?;
    Ok(ProducePartitionAnswer {
        topic,
        partition,
        error,
        error_message,
        base_offset,
        log_append_time_ms,
        log_start_offset,
        record_errors,
        leader,
    })
}
