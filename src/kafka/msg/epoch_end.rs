//! `OffsetForLeaderEpoch` (23), versions 3 to 4: where the log of a leader has an epoch end (KIP-320). Our own codec.
//!
//! Before v3 (Kafka 2.3) a consumer would need rights on the whole cluster for it.

use std::sync::Arc;

use bytes::Bytes;

use crate::wire::{DecodeError, Reader, Writer};

use super::layout::{Layout, reserve};
use super::{ApiKey, Call, EncodeError, EpochEnd, ErrorCode};

/// Asks a leader where epochs end in its log.
#[derive(Clone, Debug)]
pub struct EpochEndCall {
    /// Topics and what is asked of their partitions.
    pub topics: Vec<(Arc<str>, Vec<EpochEndPartition>)>,
}

/// One partition of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEndPartition {
    /// The partition.
    pub partition: i32,
    /// The leader epoch we believe in, which a broker fences when it knows better.
    pub current_epoch: Option<i32>,
    /// The epoch whose end is wanted.
    pub epoch: i32,
}

/// The answer to an [`EpochEndCall`].
#[derive(Clone, Debug)]
pub struct EpochEndAnswer {
    /// How long the broker asks us to stay quiet, in milliseconds.
    pub throttle_ms: i32,
    /// Partitions with their topic, and where the epoch ends.
    pub partitions: Vec<(Arc<str>, i32, Result<EpochEnd, ErrorCode>)>,
}

impl Call for EpochEndCall {
    const API: ApiKey = ApiKey::OffsetForLeaderEpoch;
    type Answer = EpochEndAnswer;

    fn encode(&self, version: i16, out: &mut Writer) -> Result<(), EncodeError> {
        let layout = Layout::of(Self::API, version);
        out.i32_be(-1); // replica id: a consumer
        layout.put_count(out, self.topics.len(), "topics")?;
        for (name, partitions) in &self.topics {
            layout.put_string(out, name, "topic")?;
            layout.put_count(out, partitions.len(), "partitions")?;
            for partition in partitions {
                out.i32_be(partition.partition);
                out.i32_be(partition.current_epoch.unwrap_or(-1));
                out.i32_be(partition.epoch);
                layout.put_no_tags(out);
            }
            layout.put_no_tags(out);
        }
        layout.put_no_tags(out);
        Ok(())
    }

    fn quiet_ms(_version: i16, answer: &EpochEndAnswer) -> i32 {
        answer.throttle_ms
    }

    fn decode(version: i16, body: Bytes) -> Result<EpochEndAnswer, DecodeError> {
        let layout = Layout::of(Self::API, version);
        let reader = &mut Reader::new(&body);
        let throttle_ms = reader.i32_be("throttle_time_ms")?;
        let topics = layout.count(reader, 2, "topics")?.unwrap_or(0);
        let mut partitions = Vec::new();
        for _ in 0..topics {
            let name: Arc<str> = layout.string(reader, "topic")?.into();
            let count = layout.count(reader, 18, "partitions")?.unwrap_or(0);
            reserve(&mut partitions, count, reader, "partitions")?;
            for _ in 0..count {
                let error = ErrorCode(reader.i16_be("error_code")?);
                let partition = reader.i32_be("partition")?;
                let end = EpochEnd { epoch: reader.i32_be("leader_epoch")?, end_offset: reader.i64_be("end_offset")? };
                layout.skip_tags(reader)?;
                partitions.push((name.clone(), partition, if error.is_ok() { Ok(end) } else { Err(error) }));
            }
            layout.skip_tags(reader)?;
        }
        layout.skip_tags(reader)?;
        Ok(EpochEndAnswer { throttle_ms, partitions })
    }
}
