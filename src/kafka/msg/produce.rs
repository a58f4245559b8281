//! `Produce` (0), versions 3 to 9: appends one record batch to one partition. Through the crate.

use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse, TopicName};

use crate::wire::{DecodeError, DecodeFault, Writer};

use super::shape::{Field, Kind, Shape};
use super::{ApiKey, Call, EncodeError, ErrorCode, foreign};

/// Appends a record batch (magic 2) to a partition.
#[derive(Clone, Debug)]
pub struct ProduceCall {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The batch, CRC included; the broker assigns the offsets.
    pub batch: Bytes,
    /// 1: the leader has it; -1: all in-sync replicas have it. 0 is not used: it has no answer.
    pub acks: i16,
    /// How long the leader may wait for the replicas, in milliseconds.
    pub timeout_ms: i32,
}

/// How the append went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProduceAnswer {
    /// How long the broker asks us to stay quiet, in milliseconds.
    pub throttle_ms: i32,
    /// What went wrong.
    pub error: ErrorCode,
    /// What the broker says about the error (v8).
    pub error_message: Option<String>,
    /// The offset of the batch's first record; -1 with an error.
    pub base_offset: i64,
}

pub(super) const SHAPE: Shape = Shape {
    flexible_from: ApiKey::Produce.flexible_from(),
    fields: &[
        Field::new(
            "responses",
            Kind::Array(&[Field::new("name", Kind::Text), Field::new("partition_responses", Kind::Array(PARTITION))]),
        ),
        Field::since(1, "throttle_time_ms", Kind::Fixed(4)),
    ],
};
const PARTITION: &[Field] = &[
    Field::new("index", Kind::Fixed(4)),
    Field::new("error_code", Kind::Fixed(2)),
    Field::new("base_offset", Kind::Fixed(8)),
    Field::since(2, "log_append_time_ms", Kind::Fixed(8)),
    Field::since(5, "log_start_offset", Kind::Fixed(8)),
    Field::since(
        8,
        "record_errors",
        Kind::Array(&[Field::new("batch_index", Kind::Fixed(4)), Field::new("batch_index_error_message", Kind::Text)]),
    ),
    Field::since(8, "error_message", Kind::Text),
];

impl Call for ProduceCall {
    const API: ApiKey = ApiKey::Produce;
    type Answer = ProduceAnswer;

    fn encode(&self, version: i16, out: &mut Writer) -> Result<(), EncodeError> {
        let partition =
            PartitionProduceData::default().with_index(self.partition).with_records(Some(self.batch.clone()));
        let topic = TopicProduceData::default()
            .with_name(TopicName(foreign::text(&self.topic)))
            .with_partition_data(vec![partition]);
        let message = ProduceRequest::default()
            .with_acks(self.acks)
            .with_timeout_ms(self.timeout_ms)
            .with_topic_data(vec![topic]);
        foreign::encode(&message, version, "ProduceRequest", out)
    }

    fn decode(version: i16, body: Bytes) -> Result<ProduceAnswer, DecodeError> {
        let message: ProduceResponse = foreign::decode(&SHAPE, version, "ProduceResponse", body)?;
        let throttle_ms = message.throttle_time_ms;
        let mut partitions = message.responses.into_iter().flat_map(|topic| topic.partition_responses);
        // One batch was sent, so one partition answers.
        let Some(partition) = partitions.next() else {
            return Err(DecodeError::new(DecodeFault::BadLength(0), "partition_responses", 0));
        };
        Ok(ProduceAnswer {
            throttle_ms,
            error: ErrorCode(partition.error_code),
            error_message: partition.error_message.map(|text| text.to_string()),
            base_offset: partition.base_offset,
        })
    }
}
