//! DeleteTopics.

use super::create_topics::check_controller;
use crate::sandbox::broker::codes;
use crate::sandbox::broker::log::Refusal;
use crate::sandbox::broker::messages::delete_topics_response::DeletableTopicResult;
use crate::sandbox::broker::messages::{DeleteTopicsRequest, DeleteTopicsResponse, text, topic_name};
use crate::sandbox::broker::server::{Peer, Shared};

/// First version that may name topics by id.
const IDS_FROM: i16 = 6;

pub(super) fn answer(shared: &Shared, peer: &Peer, request: DeleteTopicsRequest, version: i16) -> DeleteTopicsResponse {
    let mut cluster = shared.lock();
    let mut results = Vec::new();
    let by_name = request.topic_names.into_iter().map(|name| (Some(name.to_string()), None));
    let by_either =
        request.topics.into_iter().map(|topic| (topic.name.map(|name| name.to_string()), Some(topic.topic_id)));
    for (name, id) in by_name.chain(by_either) {
        let unknown_id = || Refusal::new(codes::UNKNOWN_TOPIC_ID, "unknown topic id");
        let found = match (&name, id) {
            (Some(name), _) => Ok(name.clone()),
            (None, id) => id.and_then(|id| cluster.topic_named(id)).map(str::to_owned).ok_or_else(unknown_id),
        };
        let found_id = found.as_ref().ok().and_then(|name| cluster.topics.get(name)).map(|topic| topic.id);
        let name = found.as_ref().ok().cloned().or(name);
        let deleted = check_controller(&cluster, peer).and(found).and_then(|name| cluster.delete_topic(&name));
        let mut result = DeletableTopicResult::default().with_name(name.as_deref().map(topic_name));
        if version >= IDS_FROM {
            result = result.with_topic_id(found_id.or(id).unwrap_or_default());
        }
        if let Err(refusal) = deleted {
            result = result.with_error_code(refusal.code);
            if version >= 5 {
                result = result.with_error_message(Some(text(refusal.why)));
            }
        }
        results.push(result);
    }
    drop(cluster);
    shared.records_changed();
    DeleteTopicsResponse::default().with_responses(results)
}
