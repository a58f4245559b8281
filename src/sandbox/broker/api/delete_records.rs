//! DeleteRecords: the log starts later from now on.

use crate::sandbox::broker::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use crate::sandbox::broker::messages::{DeleteRecordsRequest, DeleteRecordsResponse, topic_name};
use crate::sandbox::broker::server::{Peer, Shared};

pub(super) fn answer(shared: &Shared, peer: &Peer, request: &DeleteRecordsRequest) -> DeleteRecordsResponse {
    let mut cluster = shared.lock();
    let mut topics = Vec::new();
    for topic in &request.topics {
        let mut partitions = Vec::new();
        for asked in &topic.partitions {
            let deleted = cluster.delete_records(peer.node, &topic.name, asked.partition_index, asked.offset);
            let answer = DeleteRecordsPartitionResult::default().with_partition_index(asked.partition_index);
            partitions.push(match deleted {
                Ok(start) => answer.with_low_watermark(start),
                Err(refusal) => answer.with_low_watermark(-1).with_error_code(refusal.code),
            });
        }
        topics.push(DeleteRecordsTopicResult::default().with_name(topic_name(&topic.name)).with_partitions(partitions));
    }
    drop(cluster);
    shared.records_changed();
    DeleteRecordsResponse::default().with_topics(topics)
}
