//! OffsetForLeaderEpoch: where an epoch ended, for clients that look for truncation (KIP-320).

use crate::sandbox::broker::cluster::Cluster;
use crate::sandbox::broker::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use crate::sandbox::broker::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, topic_name};
use crate::sandbox::broker::server::Peer;

/// Nothing is ever truncated here: every epoch up to the present one ends where the log ends.
pub(super) fn answer(
    cluster: &Cluster,
    peer: &Peer,
    request: &OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            let led = cluster.led(peer.node, &topic.topic, asked.partition);
            let found = led.and_then(|found| found.check_epoch(asked.current_leader_epoch).map(|()| found));
            let answer = EpochEndOffset::default().with_partition(asked.partition);
            match found {
                Ok(partition) if (0..=partition.leader_epoch).contains(&asked.leader_epoch) => {
                    answer.with_leader_epoch(asked.leader_epoch).with_end_offset(partition.log.end_offset())
                }
                Ok(_) => answer.with_leader_epoch(-1).with_end_offset(-1),
                Err(refusal) => answer.with_error_code(refusal.code).with_leader_epoch(-1).with_end_offset(-1),
            }
        });
        let partitions = partitions.collect();
        OffsetForLeaderTopicResult::default().with_topic(topic_name(&topic.topic)).with_partitions(partitions)
    });
    OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
}
