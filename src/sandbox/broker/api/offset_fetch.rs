//! OffsetFetch: what groups have committed.

use super::find_coordinator::check;
use crate::sandbox::broker::cluster::Cluster;
use crate::sandbox::broker::codes;
use crate::sandbox::broker::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use crate::sandbox::broker::messages::{GroupId, OffsetFetchRequest, OffsetFetchResponse, text, topic_name};
use crate::sandbox::broker::offsets::Committed;
use crate::sandbox::broker::server::Peer;

/// First version that asks about several groups (KIP-709).
const GROUPS_FROM: i16 = 8;

/// Topics and partitions asked for; `None` asks for everything the group has committed.
type Asked = Option<Vec<(String, Vec<i32>)>>;

pub(super) fn answer(
    cluster: &Cluster,
    peer: &Peer,
    request: &OffsetFetchRequest,
    version: i16,
) -> OffsetFetchResponse {
    if version >= GROUPS_FROM {
        let groups = request.groups.iter().map(|group| {
            let asked = group.topics.as_ref().map(|topics| {
                topics.iter().map(|topic| (topic.name.to_string(), topic.partition_indexes.clone())).collect()
            });
            group_answer(cluster, peer, &group.group_id, asked)
        });
        return OffsetFetchResponse::default().with_groups(groups.collect());
    }
    let asked = request
        .topics
        .as_ref()
        .map(|topics| topics.iter().map(|topic| (topic.name.to_string(), topic.partition_indexes.clone())).collect());
    old_answer(cluster, peer, &request.group_id, asked, version)
}

fn group_answer(cluster: &Cluster, peer: &Peer, group: &str, asked: Asked) -> OffsetFetchResponseGroup {
    let answer = OffsetFetchResponseGroup::default().with_group_id(GroupId(text(group)));
    if let Err(code) = check(cluster, peer.node, group) {
        return answer.with_error_code(code);
    }
    let topics = wanted(cluster, group, asked).into_iter().map(|(topic, partitions)| {
        let partitions = partitions.into_iter().map(|index| {
            let committed = found(cluster, group, &topic, index);
            OffsetFetchResponsePartitions::default()
                .with_partition_index(index)
                .with_committed_offset(committed.offset)
                .with_committed_leader_epoch(committed.leader_epoch)
                .with_metadata(committed.metadata.map(text))
        });
        let partitions = partitions.collect();
        OffsetFetchResponseTopics::default().with_name(topic_name(&topic)).with_partitions(partitions)
    });
    answer.with_topics(topics.collect())
}

fn old_answer(cluster: &Cluster, peer: &Peer, group: &str, asked: Asked, version: i16) -> OffsetFetchResponse {
    let code = check(cluster, peer.node, group).map_or_else(|code| code, |()| codes::NONE);
    let refused_whole = code != codes::NONE && version >= 2;
    let wanted = if refused_whole { Vec::new() } else { wanted(cluster, group, asked) };
    let topics = wanted.into_iter().map(|(topic, partitions)| {
        let partitions = partitions.into_iter().map(|index| {
            let committed = found(cluster, group, &topic, index);
            let answer = OffsetFetchResponsePartition::default().with_partition_index(index).with_error_code(code);
            let answer = answer.with_committed_offset(committed.offset).with_metadata(committed.metadata.map(text));
            if version >= 5 { answer.with_committed_leader_epoch(committed.leader_epoch) } else { answer }
        });
        let partitions = partitions.collect();
        OffsetFetchResponseTopic::default().with_name(topic_name(&topic)).with_partitions(partitions)
    });
    let answer = OffsetFetchResponse::default().with_topics(topics.collect());
    if version >= 2 { answer.with_error_code(code) } else { answer }
}

fn wanted(cluster: &Cluster, group: &str, asked: Asked) -> Vec<(String, Vec<i32>)> {
    asked.unwrap_or_else(|| cluster.offsets.of_group(group))
}

/// What was committed, or Kafka's way of saying that nothing was: offset -1 and empty metadata.
fn found(cluster: &Cluster, group: &str, topic: &str, index: i32) -> Committed {
    let nothing = || Committed { offset: -1, leader_epoch: -1, metadata: Some(String::new()) };
    cluster.offsets.find(group, topic, index).cloned().unwrap_or_else(nothing)
}
