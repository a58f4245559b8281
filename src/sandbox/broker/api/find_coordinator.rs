//! FindCoordinator: who looks after a group.

use crate::sandbox::broker::cluster::{Cluster, Node};
use crate::sandbox::broker::codes;
use crate::sandbox::broker::messages::find_coordinator_response::Coordinator;
use crate::sandbox::broker::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse, StrBytes, text};

/// The key is a group's id; other kinds are transactions and share groups.
const GROUP: i8 = 0;

pub(super) fn answer(cluster: &Cluster, request: &FindCoordinatorRequest, version: i16) -> FindCoordinatorResponse {
    let known_kind = version < 1 || request.key_type == GROUP;
    let look_up = |key: &str| cluster.coordinator(key).filter(|_| known_kind);
    let host = |node: Node| text(node.address.ip().to_string());
    let refused = || Some(text("this broker coordinates groups only"));
    if version >= 4 {
        let one = |key: &StrBytes| {
            let answer = Coordinator::default().with_key(key.clone());
            match look_up(key) {
                Some(node) => {
                    answer.with_node_id(BrokerId(node.id)).with_host(host(node)).with_port(node.address.port().into())
                }
                None => answer
                    .with_node_id(BrokerId(-1))
                    .with_port(-1)
                    .with_error_code(codes::INVALID_REQUEST)
                    .with_error_message(refused()),
            }
        };
        return FindCoordinatorResponse::default()
            .with_coordinators(request.coordinator_keys.iter().map(one).collect());
    }
    let answer = FindCoordinatorResponse::default();
    match look_up(&request.key) {
        Some(node) => {
            answer.with_node_id(BrokerId(node.id)).with_host(host(node)).with_port(node.address.port().into())
        }
        None => {
            let answer = answer.with_node_id(BrokerId(-1)).with_port(-1).with_error_code(codes::INVALID_REQUEST);
            if version >= 1 { answer.with_error_message(refused()) } else { answer }
        }
    }
}

/// Says whether `peer`'s broker looks after `group`.
///
/// # Errors
/// The code `NOT_COORDINATOR`.
pub(super) fn check(cluster: &Cluster, node: i32, group: &str) -> Result<(), i16> {
    let coordinates = cluster.coordinator(group).is_some_and(|coordinator| coordinator.id == node);
    if coordinates { Ok(()) } else { Err(codes::NOT_COORDINATOR) }
}
