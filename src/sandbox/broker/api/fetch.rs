//! Fetch: records out, waiting for them if need be.

use std::time::Duration;

use crate::limits::SANDBOX_FETCH_BYTES_MAX;
use crate::sandbox::broker::clock;
use crate::sandbox::broker::cluster::Cluster;
use crate::sandbox::broker::codes;
use crate::sandbox::broker::log::Refusal;
use crate::sandbox::broker::messages::fetch_response::{FetchableTopicResponse, LeaderIdAndEpoch, PartitionData};
use crate::sandbox::broker::messages::{BrokerId, FetchPartition, FetchRequest, FetchResponse, FetchTopic, topic_name};
use crate::sandbox::broker::server::{Peer, Shared};

/// First version that may carry zstd (KIP-110).
const ZSTD_FROM: i16 = 10;
/// First version that names topics by id (KIP-516).
const TOPIC_IDS_FROM: i16 = 13;
/// Longest wait granted.
const WAIT_MAX: Duration = Duration::from_secs(300);

/// Answers as soon as `min_bytes` are there, an error is, or the time is over.
///
/// Fetch sessions (KIP-227) are not kept: a request to open one is answered in full with session id 0, which says so, and
/// a request in a session we never gave is refused.
pub(super) async fn answer(shared: &Shared, peer: &Peer, request: FetchRequest, version: i16) -> FetchResponse {
    if request.session_id != 0 {
        return FetchResponse::default().with_error_code(codes::FETCH_SESSION_ID_NOT_FOUND);
    }
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)).min(WAIT_MAX);
    let deadline = clock::now() + wait;
    let mut changes = shared.watch_records();
    loop {
        changes.mark_unchanged();
        let ready = is_ready(&shared.lock(), peer, &request, version);
        if ready || clock::now() >= deadline {
            return read_all(&shared.lock(), peer, &request, version);
        }
        drop(tokio::time::timeout_at(deadline.into(), changes.changed()).await);
    }
}

/// Whether there is something to answer: enough bytes, or an error the client should know of.
fn is_ready(cluster: &Cluster, peer: &Peer, request: &FetchRequest, version: i16) -> bool {
    let mut available = 0_u64;
    for topic in &request.topics {
        let Ok(name) = name_of(cluster, topic, version) else { return true };
        for partition in &topic.partitions {
            let Ok(found) = cluster.led(peer.node, &name, partition.partition) else { return true };
            if found.check_epoch(partition.current_leader_epoch).is_err() {
                return true;
            }
            let Some(bytes) = found.log.bytes_after(partition.fetch_offset) else { return true };
            available += bytes.min(u64::try_from(partition.partition_max_bytes).unwrap_or(0).max(1));
        }
    }
    available >= u64::try_from(request.min_bytes).unwrap_or(0)
}

fn name_of(cluster: &Cluster, topic: &FetchTopic, version: i16) -> Result<String, Refusal> {
    if version < TOPIC_IDS_FROM {
        return Ok(topic.topic.to_string());
    }
    let found = cluster.topic_named(topic.topic_id).map(str::to_owned);
    found.ok_or_else(|| Refusal::new(codes::UNKNOWN_TOPIC_ID, "unknown topic id"))
}

fn read_all(cluster: &Cluster, peer: &Peer, request: &FetchRequest, version: i16) -> FetchResponse {
    let mut bytes_left = usize::try_from(request.max_bytes).unwrap_or(0).min(SANDBOX_FETCH_BYTES_MAX);
    let mut nothing_yet = true;
    let mut topics = Vec::new();
    for topic in &request.topics {
        let name = name_of(cluster, topic, version);
        let mut partitions = Vec::new();
        for asked in &topic.partitions {
            let limit = usize::try_from(asked.partition_max_bytes).unwrap_or(0).min(bytes_left);
            let read = name.clone().and_then(|name| {
                read_one(cluster, peer, &name, asked, Limits { bytes_max: limit, whole_first: nothing_yet, version })
            });
            let data = read.unwrap_or_else(|refusal| refused(cluster, &name, asked.partition, &refusal, version));
            let bytes = data.records.as_ref().map_or(0, bytes::Bytes::len);
            nothing_yet &= bytes == 0;
            bytes_left = bytes_left.saturating_sub(bytes);
            partitions.push(data);
        }
        let answer = FetchableTopicResponse::default().with_partitions(partitions);
        topics.push(if version >= TOPIC_IDS_FROM {
            answer.with_topic_id(topic.topic_id)
        } else {
            answer.with_topic(topic_name(&topic.topic))
        });
    }
    FetchResponse::default().with_responses(topics)
}

#[derive(Clone, Copy)]
struct Limits {
    bytes_max: usize,
    /// Whether the first batch comes whole whatever its size: so no reader is stuck at a large one (KIP-74).
    whole_first: bool,
    version: i16,
}

fn read_one(
    cluster: &Cluster,
    peer: &Peer,
    name: &str,
    asked: &FetchPartition,
    limits: Limits,
) -> Result<PartitionData, Refusal> {
    let partition = cluster.led(peer.node, name, asked.partition)?;
    partition.check_epoch(asked.current_leader_epoch)?;
    let zstd = limits.version >= ZSTD_FROM;
    let records = partition.log.read(asked.fetch_offset, limits.bytes_max, limits.whole_first, zstd)?;
    // No transactions: everything appended is stable, and nothing was aborted.
    let end = partition.log.end_offset();
    Ok(PartitionData::default()
        .with_partition_index(asked.partition)
        .with_high_watermark(end)
        .with_last_stable_offset(end)
        .with_log_start_offset(partition.log.start_offset())
        .with_aborted_transactions(None)
        .with_records(Some(records)))
}

fn refused(
    cluster: &Cluster,
    name: &Result<String, Refusal>,
    index: i32,
    refusal: &Refusal,
    version: i16,
) -> PartitionData {
    let found = name.as_ref().ok().and_then(|name| cluster.topics.get(name)).and_then(|topic| topic.partition(index));
    let data = PartitionData::default()
        .with_partition_index(index)
        .with_error_code(refusal.code)
        .with_high_watermark(-1)
        .with_last_stable_offset(-1)
        .with_log_start_offset(-1)
        .with_aborted_transactions(None)
        .with_records(Some(bytes::Bytes::new()));
    // Who has been told of another leader need not ask again for it (KIP-951).
    match found {
        Some(partition) if refusal.code == codes::NOT_LEADER_OR_FOLLOWER && version >= 12 => data.with_current_leader(
            LeaderIdAndEpoch::default()
                .with_leader_id(BrokerId(partition.leader))
                .with_leader_epoch(partition.leader_epoch),
        ),
        _ => data,
    }
}
