//! The requests of a transaction (KIP-98): `AddPartitionsToTxn` (24), `AddOffsetsToTxn` (25), `EndTxn` (26) and
//! `TxnOffsetCommit` (28). Our own codecs. They go to the coordinator of the transactional id; the last one to the group's.

use std::sync::Arc;

use bytes::Bytes;

use crate::wire::{DecodeError, Reader, Writer};

use super::coordinator::{FindCoordinatorAnswer, decode_coordinator, encode_coordinator};
use super::layout::{Layout, reserve};
use super::{ApiKey, Call, EncodeError, ErrorCode};

/// Who writes a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionOwner {
    /// The transactional id.
    pub transactional_id: Arc<str>,
    /// The producer's id.
    pub producer_id: i64,
    /// The producer's epoch.
    pub producer_epoch: i16,
}

impl TransactionOwner {
    fn put_ids(&self, out: &mut Writer) {
        out.i64_be(self.producer_id);
        out.i16_be(self.producer_epoch);
    }
}

/// Asks any broker for the coordinator of a transactional id.
#[derive(Clone, Debug)]
pub struct FindTransactionCoordinatorCall {
    /// The transactional id.
    pub transactional_id: Arc<str>,
}

impl Call for FindTransactionCoordinatorCall {
    const API: ApiKey = ApiKey::FindCoordinator;
    type Answer = FindCoordinatorAnswer;

    fn version_max(&self) -> i16 {
        // One key; from v4 on there are lists.
        3
    }

    fn encode(&self, version: i16, out: &mut Writer) -> Result<(), EncodeError> {
        encode_coordinator(&self.transactional_id, 1, version, out)
    }

    fn decode(version: i16, body: Bytes) -> Result<FindCoordinatorAnswer, DecodeError> {
        decode_coordinator(version, body)
    }
}

/// Adds partitions to the open transaction, before the first batch is written to them. Versions 0 to 3: later ones are for
/// brokers.
#[derive(Clone, Debug)]
pub struct AddPartitionsToTxnCall {
    /// Whose.
    pub owner: TransactionOwner,
    /// Topics and partitions.
    pub topics: Vec<(Arc<str>, Vec<i32>)>,
}

/// How an answer speaks of partitions: topic, partition and code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionPartitionsAnswer {
    /// How long the broker asks us to stay quiet, in milliseconds.
    pub throttle_ms: i32,
    /// Topic, partition and how it went.
    pub partitions: Vec<(Arc<str>, i32, ErrorCode)>,
}

impl Call for AddPartitionsToTxnCall {
    const API: ApiKey = ApiKey::AddPartitionsToTxn;
    type Answer = TransactionPartitionsAnswer;

    fn encode(&self, version: i16, out: &mut Writer) -> Result<(), EncodeError> {
        let layout = Layout::of(Self::API, version);
        layout.put_string(out, &self.owner.transactional_id, "transactional_id")?;
        self.owner.put_ids(out);
        layout.put_count(out, self.topics.len(), "topics")?;
        for (topic, partitions) in &self.topics {
            layout.put_string(out, topic, "name")?;
            layout.put_count(out, partitions.len(), "partitions")?;
            for partition in partitions {
                out.i32_be(*partition);
            }
            layout.put_no_tags(out);
        }
        layout.put_no_tags(out);
        Ok(())
    }

    fn decode(version: i16, body: Bytes) -> Result<TransactionPartitionsAnswer, DecodeError> {
        decode_partitions(Layout::of(Self::API, version), &body)
    }
}

/// Makes a group's offsets a part of the open transaction.
#[derive(Clone, Debug)]
pub struct AddOffsetsToTxnCall {
    /// Whose.
    pub owner: TransactionOwner,
    /// The group.
    pub group: Arc<str>,
}

/// An answer that is a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionAnswer {
    /// How long the broker asks us to stay quiet, in milliseconds.
    pub throttle_ms: i32,
    /// What went wrong.
    pub error: ErrorCode,
    /// The producer's id and epoch from now on (`EndTxn` v5, KIP-890).
    pub next: Option<(i64, i16)>,
}

impl Call for AddOffsetsToTxnCall {
    const API: ApiKey = ApiKey::AddOffsetsToTxn;
    type Answer = TransactionAnswer;

    fn encode(&self, version: i16, out: &mut Writer) -> Result<(), EncodeError> {
        let layout = Layout::of(Self::API, version);
        layout.put_string(out, &self.owner.transactional_id, "transactional_id")?;
        self.owner.put_ids(out);
        layout.put_string(out, &self.group, "group_id")?;
        layout.put_no_tags(out);
        Ok(())
    }

    fn decode(version: i16, body: Bytes) -> Result<TransactionAnswer, DecodeError> {
        decode_code(Layout::of(Self::API, version), false, &body)
    }
}

/// Ends the open transaction. v5 gives the producer its next epoch.
#[derive(Clone, Debug)]
pub struct EndTxnCall {
    /// Whose.
    pub owner: TransactionOwner,
    /// Commit, or abort.
    pub commit: bool,
    /// Whether the cluster's `transaction.version` is 2 or higher, which v5 takes (KIP-890).
    pub bumps_epoch: bool,
}

impl Call for EndTxnCall {
    const API: ApiKey = ApiKey::EndTxn;
    type Answer = TransactionAnswer;

    fn version_max(&self) -> i16 {
        if self.bumps_epoch { Self::API.versions().max } else { 4 }
    }

    fn encode(&self, version: i16, out: &mut Writer) -> Result<(), EncodeError> {
        let layout = Layout::of(Self::API, version);
        layout.put_string(out, &self.owner.transactional_id, "transactional_id")?;
        self.owner.put_ids(out);
        out.i8(i8::from(self.commit));
        layout.put_no_tags(out);
        Ok(())
    }

    fn decode(version: i16, body: Bytes) -> Result<TransactionAnswer, DecodeError> {
        decode_code(Layout::of(Self::API, version), version >= 5, &body)
    }
}

/// Stores offsets of a group that count once the transaction is committed.
#[derive(Clone, Debug)]
pub struct TxnOffsetCommitCall {
    /// Whose transaction.
    pub owner: TransactionOwner,
    /// The group.
    pub group: Arc<str>,
    /// The generation of the member that has read the records; -1 for none. Dropped before v3, like the next two.
    pub generation: i32,
    /// The member's id; empty for none.
    pub member_id: Arc<str>,
    /// The static member's id.
    pub group_instance_id: Option<Arc<str>>,
    /// Topics and their partitions.
    pub topics: Vec<(Arc<str>, Vec<super::OffsetCommitPartition>)>,
    /// Whether the group joins the transaction by this very request, which takes `transaction.version` 2 (v5, KIP-890).
    pub joins_transaction: bool,
}

impl Call for TxnOffsetCommitCall {
    const API: ApiKey = ApiKey::TxnOffsetCommit;
    type Answer = TransactionPartitionsAnswer;

    fn version_max(&self) -> i16 {
        if self.joins_transaction { Self::API.versions().max } else { 4 }
    }

    fn encode(&self, version: i16, out: &mut Writer) -> Result<(), EncodeError> {
        let layout = Layout::of(Self::API, version);
        layout.put_string(out, &self.owner.transactional_id, "transactional_id")?;
        layout.put_string(out, &self.group, "group_id")?;
        self.owner.put_ids(out);
        if version >= 3 {
            out.i32_be(self.generation);
            layout.put_string(out, &self.member_id, "member_id")?;
            layout.put_nullable_string(out, self.group_instance_id.as_deref(), "group_instance_id")?;
        }
        layout.put_count(out, self.topics.len(), "topics")?;
        for (topic, partitions) in &self.topics {
            layout.put_string(out, topic, "name")?;
            layout.put_count(out, partitions.len(), "partitions")?;
            for partition in partitions {
                out.i32_be(partition.partition);
                out.i64_be(partition.offset);
                if version >= 2 {
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

    fn decode(version: i16, body: Bytes) -> Result<TransactionPartitionsAnswer, DecodeError> {
        decode_partitions(Layout::of(Self::API, version), &body)
    }
}

fn decode_partitions(layout: Layout, body: &Bytes) -> Result<TransactionPartitionsAnswer, DecodeError> {
    let reader = &mut Reader::new(body);
    let throttle_ms = reader.i32_be("throttle_time_ms")?;
    let topics = layout.count(reader, 2, "topics")?.unwrap_or(0);
    let mut partitions = Vec::new();
    for _ in 0..topics {
        let topic: Arc<str> = layout.string(reader, "name")?.into();
        let count = layout.count(reader, 6, "partitions")?.unwrap_or(0);
        reserve(&mut partitions, count, reader, "partitions")?;
        for _ in 0..count {
            let partition = reader.i32_be("partition_index")?;
            let error = ErrorCode(reader.i16_be("error_code")?);
            layout.skip_tags(reader)?;
            partitions.push((topic.clone(), partition, error));
        }
        layout.skip_tags(reader)?;
    }
    layout.skip_tags(reader)?;
    Ok(TransactionPartitionsAnswer { throttle_ms, partitions })
}

fn decode_code(layout: Layout, has_next: bool, body: &Bytes) -> Result<TransactionAnswer, DecodeError> {
    let reader = &mut Reader::new(body);
    let throttle_ms = reader.i32_be("throttle_time_ms")?;
    let error = ErrorCode(reader.i16_be("error_code")?);
    let mut next = None;
    if has_next {
        let (id, epoch) = (reader.i64_be("producer_id")?, reader.i16_be("producer_epoch")?);
        next = (id >= 0 && epoch >= 0).then_some((id, epoch));
    }
    layout.skip_tags(reader)?;
    Ok(TransactionAnswer { throttle_ms, error, next })
}
