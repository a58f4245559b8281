//! Metadata: brokers, topics, leaders.

use uuid::Uuid;

use crate::sandbox::broker::cluster::{Cluster, NewTopic};
use crate::sandbox::broker::codes;
use crate::sandbox::broker::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use crate::sandbox::broker::messages::{
    BrokerId, MetadataRequest, MetadataRequestTopic, MetadataResponse, text, topic_name,
};
use crate::sandbox::broker::topic::{Partition, Topic, check_name};

pub(super) fn answer(cluster: &mut Cluster, request: &MetadataRequest, version: i16) -> MetadataResponse {
    let topics = match &request.topics {
        // Version 0 has no null: an empty list asks for everything there, and for nothing later.
        None => all(cluster),
        Some(asked) if asked.is_empty() && version == 0 => all(cluster),
        Some(asked) => {
            let creates = version < 4 || request.allow_auto_topic_creation;
            let one = |topic: &MetadataRequestTopic| match &topic.name {
                Some(name) => by_name(cluster, name.as_str(), creates),
                None => by_id(cluster, topic.topic_id),
            };
            asked.iter().map(one).collect()
        }
    };
    let brokers = cluster.nodes.iter().map(|node| {
        MetadataResponseBroker::default()
            .with_node_id(BrokerId(node.id))
            .with_host(text(node.address.ip().to_string()))
            .with_port(node.address.port().into())
    });
    MetadataResponse::default()
        .with_brokers(brokers.collect())
        .with_cluster_id(Some(text(cluster.id.clone())))
        .with_controller_id(BrokerId(cluster.controller()))
        .with_topics(topics)
}

fn all(cluster: &Cluster) -> Vec<MetadataResponseTopic> {
    cluster.topics.iter().map(|(name, topic)| known(name, topic)).collect()
}

fn by_name(cluster: &mut Cluster, name: &str, creates: bool) -> MetadataResponseTopic {
    if let Some(topic) = cluster.topics.get(name) {
        return known(name, topic);
    }
    let mut code = check_name(name).map_or_else(|refusal| refusal.code, |()| codes::UNKNOWN_TOPIC_OR_PARTITION);
    if creates && cluster.settings.auto_create && code == codes::UNKNOWN_TOPIC_OR_PARTITION {
        let new = NewTopic { name: name.to_owned(), partitions: -1, replication_factor: -1, ..NewTopic::default() };
        match cluster.create_topic(&new, false) {
            Ok(()) => {}
            Err(refusal) => code = refusal.code,
        }
        if let Some(topic) = cluster.topics.get(name) {
            return known(name, topic);
        }
    }
    MetadataResponseTopic::default().with_name(Some(topic_name(name))).with_error_code(code)
}

fn by_id(cluster: &Cluster, id: Uuid) -> MetadataResponseTopic {
    let found = cluster.topic_named(id).and_then(|name| cluster.topics.get_key_value(name));
    match found {
        Some((name, topic)) => known(name, topic),
        None => {
            MetadataResponseTopic::default().with_topic_id(id).with_name(None).with_error_code(codes::UNKNOWN_TOPIC_ID)
        }
    }
}

fn known(name: &str, topic: &Topic) -> MetadataResponseTopic {
    let partitions = (0_i32..).zip(&topic.partitions).map(|(index, partition)| described(index, partition));
    MetadataResponseTopic::default()
        .with_name(Some(topic_name(name)))
        .with_topic_id(topic.id)
        .with_partitions(partitions.collect())
}

fn described(index: i32, partition: &Partition) -> MetadataResponsePartition {
    let replicas = partition.replicas.iter().copied().map(BrokerId).collect::<Vec<_>>();
    MetadataResponsePartition::default()
        .with_partition_index(index)
        .with_leader_id(BrokerId(partition.leader))
        .with_leader_epoch(partition.leader_epoch)
        .with_isr_nodes(replicas.clone())
        .with_replica_nodes(replicas)
}
