//! ListOffsets: earliest, latest, by time.

use crate::sandbox::broker::cluster::Cluster;
use crate::sandbox::broker::log::{Log, Refusal, TimedOffset};
use crate::sandbox::broker::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use crate::sandbox::broker::messages::{ListOffsetsRequest, ListOffsetsResponse, topic_name};
use crate::sandbox::broker::server::Peer;

/// Times that are none ("ListOffsetsRequest" of the protocol guide): the end of the log, its start, the record with the
/// greatest timestamp, the start of what is kept locally, the end of what was moved to remote storage.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;

pub(super) fn answer(
    cluster: &Cluster,
    peer: &Peer,
    request: &ListOffsetsRequest,
    version: i16,
) -> ListOffsetsResponse {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            let led = cluster.led(peer.node, &topic.name, asked.partition_index);
            let found = led.and_then(|partition| {
                partition.check_epoch(asked.current_leader_epoch)?;
                Ok((look_up(&partition.log, asked.timestamp)?, partition.leader_epoch))
            });
            let answer = ListOffsetsPartitionResponse::default().with_partition_index(asked.partition_index);
            match found {
                Ok((Some(found), epoch)) => {
                    let answer = answer.with_offset(found.offset).with_timestamp(found.timestamp);
                    if version >= 4 { answer.with_leader_epoch(epoch) } else { answer }
                }
                // No record matches: offset and timestamp are -1, and that is no error.
                Ok((None, _)) => answer.with_offset(-1).with_timestamp(-1),
                Err(refusal) => answer.with_error_code(refusal.code).with_offset(-1).with_timestamp(-1),
            }
        });
        let partitions = partitions.collect();
        ListOffsetsTopicResponse::default().with_name(topic_name(&topic.name)).with_partitions(partitions)
    });
    ListOffsetsResponse::default().with_topics(topics.collect())
}

fn look_up(log: &Log, time: i64) -> Result<Option<TimedOffset>, Refusal> {
    let at = |offset: i64| Ok(Some(TimedOffset { offset, timestamp: -1 }));
    match time {
        LATEST => at(log.end_offset()),
        EARLIEST | EARLIEST_LOCAL => at(log.start_offset()),
        MAX_TIMESTAMP => log.offset_of_max_time(),
        LATEST_TIERED => Ok(None),
        time => log.offset_at(time),
    }
}
