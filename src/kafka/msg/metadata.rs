//! `Metadata` (3), versions 4 to 12: brokers, topics, partitions and their leaders. Through the crate.

use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{MetadataRequest, MetadataResponse, TopicName};

use crate::wire::{DecodeError, Writer};

use super::shape::{Field, Kind, Shape};
use super::{ApiKey, Call, EncodeError, ErrorCode, TopicId, foreign};

/// Asks for brokers and topics.
#[derive(Clone, Debug)]
pub struct MetadataCall {
    /// The topics; none for all of them. An empty list asks for brokers only.
    pub topics: Option<Vec<Arc<str>>>,
}

/// The cluster as one broker knows it.
#[derive(Clone, Debug)]
pub struct MetadataAnswer {
    /// How long the broker asks us to stay quiet, in milliseconds.
    pub throttle_ms: i32,
    /// All live brokers.
    pub brokers: Vec<BrokerAnswer>,
    /// The cluster's id; none when the broker does not say.
    pub cluster_id: Option<String>,
    /// The broker that takes controller requests; none while there is no controller.
    pub controller: Option<i32>,
    /// The topics asked for.
    pub topics: Vec<TopicAnswer>,
}

/// One broker and the address it advertises on the listener that was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerAnswer {
    /// Node id.
    pub node: i32,
    /// Host name or address, as advertised.
    pub host: String,
    /// Port, as advertised.
    pub port: i32,
    /// Rack, if configured.
    pub rack: Option<String>,
}

/// One topic.
#[derive(Clone, Debug)]
pub struct TopicAnswer {
    /// What went wrong with the topic, such as `UNKNOWN_TOPIC_OR_PARTITION`.
    pub error: ErrorCode,
    /// Its name.
    pub name: String,
    /// Its id; none before v10.
    pub id: Option<TopicId>,
    /// Whether the cluster keeps it for itself, such as `__consumer_offsets`.
    pub internal: bool,
    /// Its partitions, in the broker's order.
    pub partitions: Vec<PartitionAnswer>,
}

/// One partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionAnswer {
    /// What went wrong with the partition, such as `LEADER_NOT_AVAILABLE`.
    pub error: ErrorCode,
    /// The partition.
    pub partition: i32,
    /// The node that leads it; none during an election.
    pub leader: Option<i32>,
    /// How many leaders there have been; none before v7.
    pub leader_epoch: Option<i32>,
    /// Nodes that hold it.
    pub replicas: Vec<i32>,
    /// Nodes that have all of it.
    pub in_sync: Vec<i32>,
    /// Nodes that should hold it and are down.
    pub offline: Vec<i32>,
}

pub(super) const SHAPE: Shape = Shape {
    flexible_from: ApiKey::Metadata.flexible_from(),
    fields: &[
        Field::since(3, "throttle_time_ms", Kind::Fixed(4)),
        Field::new("brokers", Kind::Array(BROKER)),
        Field::since(2, "cluster_id", Kind::Text),
        Field::since(1, "controller_id", Kind::Fixed(4)),
        Field::new("topics", Kind::Array(TOPIC)),
        Field::between(8, 10, "cluster_authorized_operations", Kind::Fixed(4)),
        Field::since(13, "error_code", Kind::Fixed(2)),
    ],
};
const BROKER: &[Field] = &[
    Field::new("node_id", Kind::Fixed(4)),
    Field::new("host", Kind::Text),
    Field::new("port", Kind::Fixed(4)),
    Field::since(1, "rack", Kind::Text),
];
const TOPIC: &[Field] = &[
    Field::new("error_code", Kind::Fixed(2)),
    Field::new("name", Kind::Text),
    Field::since(10, "topic_id", Kind::Fixed(16)),
    Field::since(1, "is_internal", Kind::Fixed(1)),
    Field::new("partitions", Kind::Array(PARTITION)),
    Field::since(8, "topic_authorized_operations", Kind::Fixed(4)),
];
const PARTITION: &[Field] = &[
    Field::new("error_code", Kind::Fixed(2)),
    Field::new("partition_index", Kind::Fixed(4)),
    Field::new("leader_id", Kind::Fixed(4)),
    Field::since(7, "leader_epoch", Kind::Fixed(4)),
    Field::new("replica_nodes", Kind::FixedArray(4)),
    Field::new("isr_nodes", Kind::FixedArray(4)),
    Field::since(5, "offline_replicas", Kind::FixedArray(4)),
];

impl Call for MetadataCall {
    const API: ApiKey = ApiKey::Metadata;
    type Answer = MetadataAnswer;

    fn encode(&self, version: i16, out: &mut Writer) -> Result<(), EncodeError> {
        let topics = self.topics.as_ref().map(|names| {
            names
                .iter()
                .map(|name| MetadataRequestTopic::default().with_name(Some(TopicName(foreign::text(name)))))
                .collect()
        });
        // A read must not bring a topic into being by misspelling it.
        let message = MetadataRequest::default().with_topics(topics).with_allow_auto_topic_creation(false);
        foreign::encode(&message, version, "MetadataRequest", out)
    }

    fn quiet_ms(version: i16, answer: &MetadataAnswer) -> i32 {
        if version >= 6 { answer.throttle_ms } else { 0 }
    }

    fn decode(version: i16, body: Bytes) -> Result<MetadataAnswer, DecodeError> {
        let message: MetadataResponse = foreign::decode(&SHAPE, version, "MetadataResponse", body)?;
        let brokers = message.brokers.into_iter().map(|b| BrokerAnswer {
            node: b.node_id.0,
            host: b.host.to_string(),
            port: b.port,
            rack: b.rack.map(|rack| rack.to_string()),
        });
        let topics = message.topics.into_iter().map(|t| TopicAnswer {
            error: ErrorCode(t.error_code),
            name: t.name.map(|name| name.0.to_string()).unwrap_or_default(),
            id: TopicId::new(*t.topic_id.as_bytes()),
            internal: t.is_internal,
            partitions: t.partitions.into_iter().map(partition).collect(),
        });
        Ok(MetadataAnswer {
            throttle_ms: message.throttle_time_ms,
            brokers: brokers.collect(),
            cluster_id: message.cluster_id.map(|id| id.to_string()),
            controller: (message.controller_id.0 >= 0).then_some(message.controller_id.0),
            topics: topics.collect(),
        })
    }
}

fn partition(p: kafka_protocol::messages::metadata_response::MetadataResponsePartition) -> PartitionAnswer {
    let nodes = |list: Vec<kafka_protocol::messages::BrokerId>| list.into_iter().map(|node| node.0).collect();
    PartitionAnswer {
        error: ErrorCode(p.error_code),
        partition: p.partition_index,
        leader: (p.leader_id.0 >= 0).then_some(p.leader_id.0),
        leader_epoch: (p.leader_epoch >= 0).then_some(p.leader_epoch),
        replicas: nodes(p.replica_nodes),
        in_sync: nodes(p.isr_nodes),
        offline: nodes(p.offline_replicas),
    }
}
