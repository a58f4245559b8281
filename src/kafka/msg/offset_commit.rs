//! `OffsetCommit` (8), versions 2 to 9: stores offsets of a group. Our own codec.
//!
//! v2 to v4 carry a retention time (-1: the broker's own), v3 answers with a throttle time, v6 adds leader epochs,
//! v7 the static member id, v8 the compact layout, v9 the new group protocol's epochs in the generation's place (KIP-848).

use std::sync::Arc;

use bytes::Bytes;

use crate::wire::{DecodeError, Reader, Writer};

use super::layout::{Layout, reserve};
use super::{ApiKey, Call, EncodeError, ErrorCode};

/// Stores offsets of a group, as one of its members or, with generation -1 and an empty member id, from outside.
#[derive(Clone, Debug)]
pub struct OffsetCommitCall {
    /// The group.
    pub group: Arc<str>,
    /// The generation of the member, or its epoch (KIP-848); -1 for a commit from outside.
    pub generation: i32,
    /// The member's id; empty for a commit from outside.
    pub member_id: Arc<str>,
    /// The static member's id (KIP-345); dropped before v7.
    pub group_instance_id: Option<Arc<str>>,
    /// Topics and their partitions.
    pub topics: Vec<(Arc<str>, Vec<OffsetCommitPartition>)>,
}

/// One offset to store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetCommitPartition {
    /// The partition.
    pub partition: i32,
    /// The next offset to read.
    pub offset: i64,
    /// The leader epoch of the last record read; dropped before v6.
    pub leader_epoch: Option<i32>,
    /// Text kept next to the offset; null differs from empty.
    pub metadata: Option<String>,
}

/// The answer to an [`OffsetCommitCall`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetCommitAnswer {
    /// How long the broker asks us to stay quiet, in milliseconds.
    pub throttle_ms: i32,
    /// Topic, partition and how it went.
    pub partitions: Vec<(Arc<str>, i32, ErrorCode)>,
}

impl Call for OffsetCommitCall {
    const API: ApiKey = ApiKey::OffsetCommit;
    type Answer = OffsetCommitAnswer;

    fn encode(&self, version: i16, out: &mut Writer) -> Result<(), EncodeError> {
        let layout = Layout::of(Self::API, version);
        layout.put_string(out, &self.group, "group_id")?;
        out.i32_be(self.generation);
        layout.put_string(out, &self.member_id, "member_id")?;
        if version >= 7 {
            layout.put_nullable_string(out, self.group_instance_id.as_deref(), "group_instance_id")?;
        }
        if version <= 4 {
            out.i64_be(-1); // retention time: as the broker is configured
        }
        layout.put_count(out, self.topics.len(), "topics")?;
        for (topic, partitions) in &self.topics {
            layout.put_string(out, topic, "topic")?;
            layout.put_count(out, partitions.len(), "partitions")?;
            for partition in partitions {
                out.i32_be(partition.partition);
                out.i64_be(partition.offset);
                if version >= 6 {
                    out.i32_be(partition.leader_epoch.unwrap_or(-1));
                }
                layout.put_nullable_string(out, partition.metadata.as_deref(), "committed_metadata")?;
                layout.put_no_tags(out);
            }
            layout.put_no_tags(out);
        }
        layout.put_no_tags(out);
        Ok(())
    }

    fn decode(version: i16, body: Bytes) -> Result<OffsetCommitAnswer, DecodeError> {
        let layout = Layout::of(Self::API, version);
        let reader = &mut Reader::new(&body);
        let throttle_ms = if version >= 3 { reader.i32_be("throttle_time_ms")? } else { 0 };
        let topics = layout.count(reader, 2, "topics")?.unwrap_or(0);
        let mut partitions = Vec::new();
        for _ in 0..topics {
            let name: Arc<str> = layout.string(reader, "topic")?.into();
            let count = layout.count(reader, 6, "partitions")?.unwrap_or(0);
            reserve(&mut partitions, count, reader, "partitions")?;
            for _ in 0..count {
                let partition = reader.i32_be("partition_index")?;
                let error = ErrorCode(reader.i16_be("error_code")?);
                layout.skip_tags(reader)?;
                partitions.push((name.clone(), partition, error));
            }
            layout.skip_tags(reader)?;
        }
        layout.skip_tags(reader)?;
        Ok(OffsetCommitAnswer { throttle_ms, partitions })
    }
}
