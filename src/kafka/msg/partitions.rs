//! `CreatePartitions` (37, versions 0 to 3) and `DeleteRecords` (21, versions 0 to 2). Our own codecs.

use std::sync::Arc;

use bytes::Bytes;

use crate::wire::{DecodeError, Writer};

use super::fields::Fields;
use super::layout::Layout;
use super::{ApiKey, Call, EncodeError, ErrorCode};

/// Gives one topic more partitions.
#[derive(Clone, Debug)]
pub struct CreatePartitionsCall {
    /// The topic.
    pub topic: String,
    /// How many partitions it is to have, the old ones included.
    pub total: i32,
    /// The nodes that are to hold each new partition; empty lets the controller decide.
    pub assignments: Vec<Vec<i32>>,
    /// How long the controller may wait until they are there, in milliseconds.
    pub timeout_ms: i32,
}

/// How one topic, configuration or group of an administrative request fared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedResult {
    /// Its name.
    pub name: String,
    /// How it went.
    pub error: ErrorCode,
    /// What the broker says about the error.
    pub error_message: Option<String>,
}

/// Deletes what stands before an offset, at the leader of some partitions of one topic.
#[derive(Clone, Debug)]
pub struct DeleteRecordsCall {
    /// The topic.
    pub topic: Arc<str>,
    /// Partition and the first offset that is to stay; -1 deletes up to the high watermark.
    pub partitions: Vec<(i32, i64)>,
    /// How long the leader may wait for the replicas, in milliseconds.
    pub timeout_ms: i32,
}

/// How the deletion went in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeletedRecords {
    /// The partition.
    pub partition: i32,
    /// The first offset that exists now.
    pub low_watermark: i64,
    /// How it went.
    pub error: ErrorCode,
}

impl Call for CreatePartitionsCall {
    const API: ApiKey = ApiKey::CreatePartitions;
    type Answer = Vec<NamedResult>;

    fn encode(&self, version: i16, out: &mut Writer) -> Result<(), EncodeError> {
        let layout = Layout::of(Self::API, version);
        layout.put_count(out, 1, "topics")?;
        layout.put_string(out, &self.topic, "topic")?;
        out.i32_be(self.total);
        if self.assignments.is_empty() {
            layout.put_null_list(out);
        } else {
            layout.put_count(out, self.assignments.len(), "assignments")?;
            for nodes in &self.assignments {
                layout.put_count(out, nodes.len(), "broker_ids")?;
                nodes.iter().for_each(|node| out.i32_be(*node));
                layout.put_no_tags(out);
            }
        }
        layout.put_no_tags(out);
        out.i32_be(self.timeout_ms);
        out.i8(0); // not only a check
        layout.put_no_tags(out);
        Ok(())
    }

    fn decode(version: i16, body: Bytes) -> Result<Self::Answer, DecodeError> {
        let fields = &mut Fields::new(Self::API, version, &body);
        fields.skip(4, "throttle_time_ms")?;
        let results = fields.list(4, "results", |fields| {
            let (name, error, error_message) =
                (fields.text("name")?, fields.code()?, fields.text_or_null("error_message")?);
            fields.end()?;
            Ok(NamedResult { name, error, error_message })
        })?;
        fields.end()?;
        Ok(results)
    }
}

impl Call for DeleteRecordsCall {
    const API: ApiKey = ApiKey::DeleteRecords;
    type Answer = Vec<DeletedRecords>;

    fn encode(&self, version: i16, out: &mut Writer) -> Result<(), EncodeError> {
        let layout = Layout::of(Self::API, version);
        layout.put_count(out, 1, "topics")?;
        layout.put_string(out, &self.topic, "topic")?;
        layout.put_count(out, self.partitions.len(), "partitions")?;
        for (partition, offset) in &self.partitions {
            out.i32_be(*partition);
            out.i64_be(*offset);
            layout.put_no_tags(out);
        }
        layout.put_no_tags(out);
        out.i32_be(self.timeout_ms);
        layout.put_no_tags(out);
        Ok(())
    }

    fn decode(version: i16, body: Bytes) -> Result<Self::Answer, DecodeError> {
        let fields = &mut Fields::new(Self::API, version, &body);
        fields.skip(4, "throttle_time_ms")?;
        let topics = fields.list(2, "topics", |fields| {
            fields.text("name")?;
            let partitions = fields.list(14, "partitions", |fields| {
                let (partition, low_watermark) = (fields.i32("partition_index")?, fields.i64("low_watermark")?);
                let error = fields.code()?;
                fields.end()?;
                Ok(DeletedRecords { partition, low_watermark, error })
            })?;
            fields.end()?;
            Ok(partitions)
        })?;
        fields.end()?;
        Ok(topics.into_iter().flatten().collect())
    }
}
