//! Heartbeat: a member is alive.

use super::find_coordinator::check;
use crate::sandbox::broker::clock;
use crate::sandbox::broker::cluster::Cluster;
use crate::sandbox::broker::codes;
use crate::sandbox::broker::messages::{HeartbeatRequest, HeartbeatResponse};
use crate::sandbox::broker::server::Peer;

pub(super) fn answer(cluster: &mut Cluster, peer: &Peer, request: &HeartbeatRequest) -> HeartbeatResponse {
    let instance = request.group_instance_id.as_ref().map(|id| id.as_str());
    let code = match check(cluster, peer.node, &request.group_id) {
        Ok(()) => match cluster.groups.get_mut(request.group_id.as_str()) {
            Some(group) => group.heartbeat(&request.member_id, instance, request.generation_id, clock::now()),
            None => codes::UNKNOWN_MEMBER_ID,
        },
        Err(code) => code,
    };
    HeartbeatResponse::default().with_error_code(code)
}
