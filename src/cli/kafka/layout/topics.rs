//! `--describe` of topics.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::joined;
use crate::cli::kafka::compat::Release;
use crate::kafka::{PartitionMetadata, TopicId, TopicMetadata};

/// An id as Java prints it.
pub(in crate::cli::kafka) fn topic_id(id: &TopicId) -> String {
    URL_SAFE_NO_PAD.encode(id.bytes())
}

/// The line of a topic. `configs` are those set on the topic itself.
pub(in crate::cli::kafka) fn topic(topic: &TopicMetadata, configs: &[(String, String)], release: Release) -> String {
    let factor = topic.partitions.first().map_or(0, |partition| partition.replicas.len());
    let configs = configs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",");
    let space = if release < Release::V2_4 { "" } else { " " };
    let id = match topic.id {
        Some(id) if release >= Release::V2_8 => format!("\tTopicId: {}", topic_id(&id)),
        _ => String::new(),
    };
    format!(
        "Topic:{space}{}{id}\tPartitionCount:{space}{}\tReplicationFactor:{space}{factor}\tConfigs:{space}{configs}\n",
        topic.name,
        topic.partitions.len(),
    )
}

/// The line of a partition. `elr` are its eligible leaders and those last known (KIP-966), where the cluster has them.
pub(in crate::cli::kafka) fn partition(
    topic: &str,
    partition: &PartitionMetadata,
    elr: Option<&(Vec<i32>, Vec<i32>)>,
    release: Release,
) -> String {
    let leader = partition.leader.map_or_else(|| "none".to_owned(), |leader| leader.to_string());
    let mut line = format!(
        "\tTopic: {topic}\tPartition: {}\tLeader: {leader}\tReplicas: {}\tIsr: {}",
        partition.partition,
        joined(&partition.replicas),
        joined(&partition.in_sync),
    );
    if release >= Release::V3_8 {
        let list = |ids: Option<&Vec<i32>>| ids.map_or_else(|| "N/A".to_owned(), |ids| joined(ids));
        line += &format!(
            "\tElr: {}\tLastKnownElr: {}",
            list(elr.map(|(eligible, _)| eligible)),
            list(elr.map(|(_, known)| known))
        );
    }
    line + "\n"
}
