//! OffsetCommit: a group's progress is kept, with its metadata.

use super::find_coordinator::check;
use crate::sandbox::broker::clock;
use crate::sandbox::broker::cluster::Cluster;
use crate::sandbox::broker::codes;
use crate::sandbox::broker::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use crate::sandbox::broker::messages::{OffsetCommitRequest, OffsetCommitResponse, topic_name};
use crate::sandbox::broker::offsets::{Committed, METADATA_BYTES_MAX};
use crate::sandbox::broker::server::Peer;

pub(super) fn answer(cluster: &mut Cluster, peer: &Peer, request: &OffsetCommitRequest) -> OffsetCommitResponse {
    let refused = check_request(cluster, peer, request);
    let mut topics = Vec::new();
    for topic in &request.topics {
        let mut partitions = Vec::new();
        for asked in &topic.partitions {
            let index = asked.partition_index;
            let committed = Committed {
                offset: asked.committed_offset,
                leader_epoch: asked.committed_leader_epoch,
                metadata: asked.committed_metadata.as_ref().map(ToString::to_string),
            };
            let code = match refused {
                codes::NONE => commit(cluster, &request.group_id, &topic.name, index, committed),
                code => code,
            };
            partitions.push(OffsetCommitResponsePartition::default().with_partition_index(index).with_error_code(code));
        }
        topics
            .push(OffsetCommitResponseTopic::default().with_name(topic_name(&topic.name)).with_partitions(partitions));
    }
    if let Err(error) = cluster.save_offsets() {
        log::error!("sandbox broker: committed offsets are not on disk: {error}");
        for partition in topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
            partition.error_code = codes::UNKNOWN_SERVER_ERROR;
        }
    }
    OffsetCommitResponse::default().with_topics(topics)
}

fn check_request(cluster: &mut Cluster, peer: &Peer, request: &OffsetCommitRequest) -> i16 {
    if let Err(code) = check(cluster, peer.node, &request.group_id) {
        return code;
    }
    let generation = request.generation_id_or_member_epoch;
    let instance = request.group_instance_id.as_ref().map(|id| id.as_str());
    match cluster.group_mut(&request.group_id) {
        Ok(group) => group.check_commit(&request.member_id, instance, generation, clock::now()),
        Err(refusal) => refusal.code,
    }
}

fn commit(cluster: &mut Cluster, group: &str, topic: &str, index: i32, committed: Committed) -> i16 {
    if cluster.topics.get(topic).and_then(|topic| topic.partition(index)).is_none() {
        return codes::UNKNOWN_TOPIC_OR_PARTITION;
    }
    if committed.metadata.as_ref().is_some_and(|metadata| metadata.len() > METADATA_BYTES_MAX) {
        return codes::OFFSET_METADATA_TOO_LARGE;
    }
    cluster.offsets.commit(group, topic, index, committed);
    codes::NONE
}
