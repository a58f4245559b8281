//! `DescribeTopicPartitions` (75, version 0): eligible leaders of partitions (KIP-966). Our own codec.

use bytes::Bytes;

use crate::wire::{DecodeError, Writer};

use super::fields::Fields;
use super::layout::Layout;
use super::{ApiKey, Call, EncodeError, ErrorCode};

/// Asks about topics, by name; an answer may hold a part of them.
#[derive(Clone, Debug)]
pub struct DescribeTopicPartitionsCall {
    /// The topics, sorted.
    pub topics: Vec<String>,
    /// Where to go on: topic and partition.
    pub cursor: Option<(String, i32)>,
}

/// The answer to a [`DescribeTopicPartitionsCall`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribeTopicPartitionsAnswer {
    /// Topics and how each went.
    pub topics: Vec<(String, ErrorCode, Vec<EligibleLeaders>)>,
    /// Where to go on, when this is not all.
    pub cursor: Option<(String, i32)>,
}

/// Who may lead a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EligibleLeaders {
    /// The partition.
    pub partition: i32,
    /// Nodes that may lead although they are not in sync.
    pub eligible: Vec<i32>,
    /// Nodes that were the last ones to be eligible.
    pub last_known: Vec<i32>,
}

impl Call for DescribeTopicPartitionsCall {
    const API: ApiKey = ApiKey::DescribeTopicPartitions;
    type Answer = DescribeTopicPartitionsAnswer;

    fn encode(&self, version: i16, out: &mut Writer) -> Result<(), EncodeError> {
        let layout = Layout::of(Self::API, version);
        layout.put_count(out, self.topics.len(), "topics")?;
        for topic in &self.topics {
            layout.put_string(out, topic, "name")?;
            layout.put_no_tags(out);
        }
        out.i32_be(2000); // partitions an answer, as Kafka's own default
        match &self.cursor {
            None => out.i8(-1),
            Some((topic, partition)) => {
                out.i8(1);
                layout.put_string(out, topic, "topic_name")?;
                out.i32_be(*partition);
                layout.put_no_tags(out);
            }
        }
        layout.put_no_tags(out);
        Ok(())
    }

    fn decode(version: i16, body: Bytes) -> Result<Self::Answer, DecodeError> {
        let fields = &mut Fields::new(Self::API, version, &body);
        fields.skip(4, "throttle_time_ms")?;
        let topics = fields.list(26, "topics", |fields| {
            let (error, name) = (fields.code()?, fields.text_or_null("name")?.unwrap_or_default());
            fields.skip(16, "topic_id")?;
            fields.flag("is_internal")?;
            let partitions = fields.list(20, "partitions", |fields| {
                fields.code()?;
                let partition = fields.i32("partition_index")?;
                fields.skip(8, "leader_id")?;
                let mut nodes = |field| fields.list(4, field, |fields| fields.i32(field));
                let (_replicas, _isr) = (nodes("replica_nodes")?, nodes("isr_nodes")?);
                let (eligible, last_known) = (nodes("eligible_leader_replicas")?, nodes("last_known_elr")?);
                let _offline = nodes("offline_replicas")?;
                fields.end()?;
                Ok(EligibleLeaders { partition, eligible, last_known })
            })?;
            fields.skip(4, "topic_authorized_operations")?;
            fields.end()?;
            Ok((name, error, partitions))
        })?;
        let mut cursor = None;
        if fields.i8("next_cursor")? >= 0 {
            cursor = Some((fields.text("topic_name")?, fields.i32("partition_index")?));
            fields.end()?;
        }
        fields.end()?;
        Ok(DescribeTopicPartitionsAnswer { topics, cursor })
    }
}
