//! Produce: batches in, offsets out.

use bytes::Bytes;

use crate::sandbox::broker::clock;
use crate::sandbox::broker::cluster::Cluster;
use crate::sandbox::broker::codes;
use crate::sandbox::broker::log::{Appended, Refusal};
use crate::sandbox::broker::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use crate::sandbox::broker::messages::{BadRequest, ProduceRequest, ProduceResponse, Request, text, topic_name};
use crate::sandbox::broker::server::{Peer, Shared};

/// First version that may carry zstd (KIP-110).
const ZSTD_FROM: i16 = 7;
/// First version that names topics by id.
const TOPIC_IDS_FROM: i16 = 13;

/// `None` when the producer wants no answer. It is told of a failure all the same, by the end of the connection (as Kafka
/// does it with `acks=0`).
pub(super) fn answer(shared: &Shared, peer: &Peer, request: &Request) -> Result<Option<Bytes>, BadRequest> {
    let produce = request.decode::<ProduceRequest>()?;
    let silent = produce.acks == 0;
    let (response, failed) = append_all(&mut shared.lock(), peer, &produce, request.version);
    shared.records_changed();
    match (silent, failed) {
        (false, _) => request.answer(&response).map(Some),
        (true, None) => Ok(None),
        (true, Some(why)) => Err(BadRequest::Refused { key: request.api.key, why }),
    }
}

fn append_all(
    cluster: &mut Cluster,
    peer: &Peer,
    produce: &ProduceRequest,
    version: i16,
) -> (ProduceResponse, Option<String>) {
    let now_ms = clock::wall_ms();
    let mut failed = None;
    let mut topics = Vec::new();
    for topic in &produce.topic_data {
        let named = if version >= TOPIC_IDS_FROM {
            let found = cluster.topic_named(topic.topic_id).map(str::to_owned);
            found.ok_or_else(|| Refusal::new(codes::UNKNOWN_TOPIC_ID, "unknown topic id"))
        } else {
            Ok(topic.name.to_string())
        };
        let mut partitions = Vec::new();
        for data in &topic.partition_data {
            let batch = data.records.clone().unwrap_or_default();
            let appended = check_request(produce)
                .and_then(|()| named.clone())
                .and_then(|name| cluster.append(peer.node, &name, data.index, &batch, version >= ZSTD_FROM, now_ms));
            if let Err(refusal) = &appended {
                failed = Some(refusal.why.clone());
            }
            partitions.push(partition_answer(data.index, appended, version));
        }
        let answer = TopicProduceResponse::default().with_partition_responses(partitions);
        topics.push(if version >= TOPIC_IDS_FROM {
            answer.with_topic_id(topic.topic_id)
        } else {
            answer.with_name(topic_name(&topic.name))
        });
    }
    (ProduceResponse::default().with_responses(topics), failed)
}

fn check_request(produce: &ProduceRequest) -> Result<(), Refusal> {
    if !(-1..=1).contains(&produce.acks) {
        return Err(Refusal::new(codes::INVALID_REQUIRED_ACKS, "acks is -1, 0 or 1"));
    }
    if produce.transactional_id.is_some() {
        return Err(Refusal::new(codes::INVALID_TXN_STATE, "this broker has no transactions"));
    }
    Ok(())
}

fn partition_answer(index: i32, appended: Result<Appended, Refusal>, version: i16) -> PartitionProduceResponse {
    let answer = PartitionProduceResponse::default().with_index(index).with_log_start_offset(-1);
    match appended {
        Ok(appended) => answer
            .with_base_offset(appended.base_offset)
            .with_log_append_time_ms(appended.log_append_time)
            .with_log_start_offset(0),
        Err(refusal) => {
            let answer = answer.with_error_code(refusal.code).with_base_offset(-1);
            if version >= 8 { answer.with_error_message(Some(text(refusal.why))) } else { answer }
        }
    }
}
