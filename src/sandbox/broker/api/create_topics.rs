//! CreateTopics.

use std::collections::{BTreeMap, BTreeSet};

use crate::sandbox::broker::cluster::{Cluster, NewTopic};
use crate::sandbox::broker::codes;
use crate::sandbox::broker::log::Refusal;
use crate::sandbox::broker::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use crate::sandbox::broker::messages::{CreatableTopic, CreateTopicsRequest, CreateTopicsResponse, text};
use crate::sandbox::broker::server::{Peer, Shared};
use crate::sandbox::broker::topic::CONFIGS;

/// First version whose answer describes the topic that was made (KIP-525).
const DESCRIBED_FROM: i16 = 5;
/// First version whose answer has the topic's id.
const IDS_FROM: i16 = 7;

pub(super) fn answer(shared: &Shared, peer: &Peer, request: CreateTopicsRequest, version: i16) -> CreateTopicsResponse {
    let mut cluster = shared.lock();
    let mut seen = BTreeSet::new();
    let mut results = Vec::new();
    for topic in request.topics {
        let twice = !seen.insert(topic.name.to_string());
        let created = check_controller(&cluster, peer)
            .and_then(|()| if twice { Err(Refusal::new(codes::INVALID_REQUEST, "named twice")) } else { Ok(()) })
            .and_then(|()| cluster.create_topic(&new_topic(&topic), request.validate_only));
        let result = CreatableTopicResult::default().with_name(topic.name.clone());
        results.push(match created {
            Ok(()) => described(&cluster, &topic, result, version),
            Err(refusal) => result.with_error_code(refusal.code).with_error_message(Some(text(refusal.why))),
        });
    }
    drop(cluster);
    shared.records_changed();
    CreateTopicsResponse::default().with_topics(results)
}

/// Old brokers leave admin requests to the controller.
///
/// # Errors
/// `NOT_CONTROLLER`.
pub(super) fn check_controller(cluster: &Cluster, peer: &Peer) -> Result<(), Refusal> {
    if cluster.settings.version.admin_needs_controller() && cluster.controller() != peer.node {
        return Err(Refusal::new(codes::NOT_CONTROLLER, "this is not the correct controller for this cluster"));
    }
    Ok(())
}

fn new_topic(topic: &CreatableTopic) -> NewTopic {
    let assigned = topic
        .assignments
        .iter()
        .map(|one| (one.partition_index, one.broker_ids.iter().map(|id| id.0).collect::<Vec<_>>()));
    // A setting without a value is one left at its default.
    let configs = topic.configs.iter().filter_map(|one| Some((one.name.to_string(), one.value.as_ref()?.to_string())));
    NewTopic {
        name: topic.name.to_string(),
        partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: assigned.collect::<BTreeMap<_, _>>(),
        configs: configs.collect(),
    }
}

fn described(
    cluster: &Cluster,
    asked: &CreatableTopic,
    result: CreatableTopicResult,
    version: i16,
) -> CreatableTopicResult {
    let Some(topic) = cluster.topics.get(asked.name.as_str()).filter(|_| version >= DESCRIBED_FROM) else {
        return result;
    };
    let configs = CONFIGS.iter().map(|known| {
        let own = topic.configs.get(known.name);
        // Where a value comes from: 1 the topic, 5 the default.
        CreatableTopicConfigs::default()
            .with_name(text(known.name))
            .with_value(Some(text(own.cloned().unwrap_or_else(|| known.default.to_owned()))))
            .with_config_source(if own.is_some() { 1 } else { 5 })
    });
    let factor = topic.partitions.first().map_or(0, |partition| partition.replicas.len());
    let result = result
        .with_num_partitions(i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX))
        .with_replication_factor(i16::try_from(factor).unwrap_or(i16::MAX))
        .with_configs(Some(configs.collect()));
    if version >= IDS_FROM { result.with_topic_id(topic.id) } else { result }
}
