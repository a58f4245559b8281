//! `ListOffsets` (2), versions 1 to 9: the offset at the start, the end or a time of a partition. Our own codec.
//!
//! v2 adds the isolation level, v4 leader epochs, v6 the compact layout; v7 to v9 only add special timestamps.

use std::sync::Arc;

use bytes::Bytes;

use crate::wire::{DecodeError, Reader, Writer};

use super::layout::{Layout, reserve};
use super::{ApiKey, Call, EncodeError, ErrorCode, Isolation};

/// Asks the leader of some partitions of one topic for offsets.
#[derive(Clone, Debug)]
pub struct ListOffsetsCall {
    /// The topic.
    pub topic: Arc<str>,
    /// Under `ReadCommitted` the latest offset is the last stable one. Brokers before v2 ignore it.
    pub isolation: Isolation,
    /// What is asked of each partition.
    pub partitions: Vec<ListOffsetsPartition>,
}

/// One partition of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListOffsetsPartition {
    /// The partition.
    pub partition: i32,
    /// The leader epoch we believe in, if known.
    pub leader_epoch: Option<i32>,
    /// Milliseconds since 1970; -1 the end, -2 the start.
    pub timestamp: i64,
}

impl ListOffsetsPartition {
    /// The timestamp that means "the end".
    pub const LATEST: i64 = -1;
    /// The timestamp that means "the start".
    pub const EARLIEST: i64 = -2;
}

/// The answer to a [`ListOffsetsCall`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListOffsetsAnswer {
    /// How long the broker asks us to stay quiet, in milliseconds.
    pub throttle_ms: i32,
    /// Partitions with the name of their topic.
    pub partitions: Vec<(Arc<str>, ListOffsetsPartitionAnswer)>,
}

/// One partition of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListOffsetsPartitionAnswer {
    /// The partition.
    pub partition: i32,
    /// What went wrong with it.
    pub error: ErrorCode,
    /// The timestamp of the record found; -1 for the start, the end, or nothing found.
    pub timestamp: i64,
    /// The offset; -1 without an error means that no record has such a timestamp.
    pub offset: i64,
    /// The leader epoch of that record; none before v4 or when unknown.
    pub leader_epoch: Option<i32>,
}

impl Call for ListOffsetsCall {
    const API: ApiKey = ApiKey::ListOffsets;
    type Answer = ListOffsetsAnswer;

    fn encode(&self, version: i16, out: &mut Writer) -> Result<(), EncodeError> {
        let layout = Layout::of(Self::API, version);
        out.i32_be(-1); // replica id: a consumer
        if version >= 2 {
            out.i8(self.isolation.level());
        }
        layout.put_count(out, 1, "topics")?;
        layout.put_string(out, &self.topic, "topic")?;
        layout.put_count(out, self.partitions.len(), "partitions")?;
        for partition in &self.partitions {
            out.i32_be(partition.partition);
            if version >= 4 {
                out.i32_be(partition.leader_epoch.unwrap_or(-1));
            }
            out.i64_be(partition.timestamp);
            layout.put_no_tags(out);
        }
        layout.put_no_tags(out);
        layout.put_no_tags(out);
        Ok(())
    }

    fn quiet_ms(version: i16, answer: &ListOffsetsAnswer) -> i32 {
        if version >= 3 { answer.throttle_ms } else { 0 }
    }

    fn decode(version: i16, body: Bytes) -> Result<ListOffsetsAnswer, DecodeError> {
        let layout = Layout::of(Self::API, version);
        let reader = &mut Reader::new(&body);
        let throttle_ms = if version >= 2 { reader.i32_be("throttle_time_ms")? } else { 0 };
        let topics = layout.count(reader, 2, "topics")?.unwrap_or(0);
        let mut partitions = Vec::new();
        for _ in 0..topics {
            let name: Arc<str> = layout.string(reader, "topic")?.into();
            let count = layout.count(reader, 22, "partitions")?.unwrap_or(0);
            reserve(&mut partitions, count, reader, "partitions")?;
            for _ in 0..count {
                partitions.push((name.clone(), decode_partition(version, layout, reader)?));
            }
            layout.skip_tags(reader)?;
        }
        layout.skip_tags(reader)?;
        Ok(ListOffsetsAnswer { throttle_ms, partitions })
    }
}

fn decode_partition(
    version: i16,
    layout: Layout,
    reader: &mut Reader<'_>,
) -> Result<ListOffsetsPartitionAnswer, DecodeError> {
    let partition = reader.i32_be("partition_index")?;
    let error = ErrorCode(reader.i16_be("error_code")?);
    let timestamp = reader.i64_be("timestamp")?;
    let offset = reader.i64_be("offset")?;
    let leader_epoch = if version >= 4 { reader.i32_be("leader_epoch")? } else { -1 };
    layout.skip_tags(reader)?;
    let leader_epoch = (leader_epoch >= 0).then_some(leader_epoch);
    Ok(ListOffsetsPartitionAnswer { partition, error, timestamp, offset, leader_epoch })
}
