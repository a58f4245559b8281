//! `CreateTopics` (19, versions 2 to 4) and `DeleteTopics` (20, versions 1 to 3). Through the crate.

use bytes::Bytes;
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::{
    BrokerId, CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse, TopicName,
};

use crate::wire::{DecodeError, DecodeFault, Writer};

use super::shape::{Field, Kind, Shape};
use super::{ApiKey, Call, EncodeError, ErrorCode, foreign};

/// Creates one topic.
#[derive(Clone, Debug)]
pub struct CreateTopicCall {
    /// Its name.
    pub name: String,
    /// How many partitions; -1 lets brokers from 2.4 on decide.
    pub partitions: i32,
    /// How many replicas of each; -1 lets brokers from 2.4 on decide.
    pub replication_factor: i16,
    /// The nodes that are to hold each partition, in place of both numbers; empty lets the controller decide.
    pub assignments: Vec<Vec<i32>>,
    /// Topic configuration, such as `cleanup.policy`.
    pub configs: Vec<(String, String)>,
    /// How long the controller may wait until the topic is there, in milliseconds.
    pub timeout_ms: i32,
}

/// How the creation went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateTopicAnswer {
    /// `TOPIC_ALREADY_EXISTS` and the like.
    pub error: ErrorCode,
    /// What the broker says about the error.
    pub error_message: Option<String>,
}

/// Deletes one topic.
#[derive(Clone, Debug)]
pub struct DeleteTopicCall {
    /// Its name.
    pub name: String,
    /// How long the controller may wait until the topic is gone, in milliseconds.
    pub timeout_ms: i32,
}

/// How the deletion went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeleteTopicAnswer {
    /// `UNKNOWN_TOPIC_OR_PARTITION`, `TOPIC_DELETION_DISABLED` and the like.
    pub error: ErrorCode,
}

pub(super) const CREATE_SHAPE: Shape = Shape {
    flexible_from: ApiKey::CreateTopics.flexible_from(),
    fields: &[
        Field::since(2, "throttle_time_ms", Kind::Fixed(4)),
        Field::new(
            "topics",
            Kind::Array(&[
                Field::new("name", Kind::Text),
                Field::new("error_code", Kind::Fixed(2)),
                Field::since(1, "error_message", Kind::Text),
            ]),
        ),
    ],
};

pub(super) const DELETE_SHAPE: Shape = Shape {
    flexible_from: ApiKey::DeleteTopics.flexible_from(),
    fields: &[
        Field::since(1, "throttle_time_ms", Kind::Fixed(4)),
        Field::new(
            "responses",
            Kind::Array(&[Field::new("name", Kind::Text), Field::new("error_code", Kind::Fixed(2))]),
        ),
    ],
};

impl Call for CreateTopicCall {
    const API: ApiKey = ApiKey::CreateTopics;
    type Answer = CreateTopicAnswer;

    fn encode(&self, version: i16, out: &mut Writer) -> Result<(), EncodeError> {
        let configs = self.configs.iter().map(|(name, value)| {
            CreatableTopicConfig::default().with_name(foreign::text(name)).with_value(Some(foreign::text(value)))
        });
        let assignments = self.assignments.iter().zip(0..).map(|(nodes, partition)| {
            let nodes = nodes.iter().copied().map(BrokerId).collect();
            CreatableReplicaAssignment::default().with_partition_index(partition).with_broker_ids(nodes)
        });
        // A broker refuses numbers beside an assignment.
        let is_assigned = !self.assignments.is_empty();
        let topic = CreatableTopic::default()
            .with_name(TopicName(foreign::text(&self.name)))
            .with_num_partitions(if is_assigned { -1 } else { self.partitions })
            .with_replication_factor(if is_assigned { -1 } else { self.replication_factor })
            .with_assignments(assignments.collect())
            .with_configs(configs.collect());
        let message = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(self.timeout_ms);
        foreign::encode(&message, version, "CreateTopicsRequest", out)
    }

    fn decode(version: i16, body: Bytes) -> Result<CreateTopicAnswer, DecodeError> {
        let message: CreateTopicsResponse = foreign::decode(&CREATE_SHAPE, version, "CreateTopicsResponse", body)?;
        let topic = message.topics.into_iter().next().ok_or_else(|| missing("topics"))?;
        Ok(CreateTopicAnswer {
            error: ErrorCode(topic.error_code),
            error_message: topic.error_message.map(|text| text.to_string()),
        })
    }
}

impl Call for DeleteTopicCall {
    const API: ApiKey = ApiKey::DeleteTopics;
    type Answer = DeleteTopicAnswer;

    fn encode(&self, version: i16, out: &mut Writer) -> Result<(), EncodeError> {
        let message = DeleteTopicsRequest::default()
            .with_topic_names(vec![TopicName(foreign::text(&self.name))])
            .with_timeout_ms(self.timeout_ms);
        foreign::encode(&message, version, "DeleteTopicsRequest", out)
    }

    fn decode(version: i16, body: Bytes) -> Result<DeleteTopicAnswer, DecodeError> {
        let message: DeleteTopicsResponse = foreign::decode(&DELETE_SHAPE, version, "DeleteTopicsResponse", body)?;
        let topic = message.responses.into_iter().next().ok_or_else(|| missing("responses"))?;
        Ok(DeleteTopicAnswer { error: ErrorCode(topic.error_code) })
    }
}

/// The broker left out the one topic that was asked about.
const fn missing(field: &'static str) -> DecodeError {
    DecodeError::new(DecodeFault::BadLength(0), field, 0)
}
