//! LeaveGroup: members go, the others join again.

use super::find_coordinator::check;
use crate::sandbox::broker::clock;
use crate::sandbox::broker::codes;
use crate::sandbox::broker::messages::leave_group_response::MemberResponse;
use crate::sandbox::broker::messages::{LeaveGroupRequest, LeaveGroupResponse};
use crate::sandbox::broker::server::{Peer, Shared};

/// First version in which several members leave at once (KIP-345).
const MEMBERS_FROM: i16 = 3;

pub(super) fn answer(shared: &Shared, peer: &Peer, request: &LeaveGroupRequest, version: i16) -> LeaveGroupResponse {
    let response = leave(shared, peer, request, version);
    shared.groups_changed();
    response
}

fn leave(shared: &Shared, peer: &Peer, request: &LeaveGroupRequest, version: i16) -> LeaveGroupResponse {
    let mut cluster = shared.lock();
    if let Err(code) = check(&cluster, peer.node, &request.group_id) {
        return LeaveGroupResponse::default().with_error_code(code);
    }
    let now = clock::now();
    let mut group = cluster.groups.get_mut(request.group_id.as_str());
    let mut one = |member: &str, instance: Option<&str>| match group.as_mut() {
        Some(group) => group.leave(member, instance, now),
        None => codes::UNKNOWN_MEMBER_ID,
    };
    if version < MEMBERS_FROM {
        return LeaveGroupResponse::default().with_error_code(one(&request.member_id, None));
    }
    let mut members = Vec::new();
    for member in &request.members {
        let instance = member.group_instance_id.as_ref().map(|id| id.as_str());
        let code = one(&member.member_id, instance);
        members.push(
            MemberResponse::default()
                .with_member_id(member.member_id.clone())
                .with_group_instance_id(member.group_instance_id.clone())
                .with_error_code(code),
        );
    }
    LeaveGroupResponse::default().with_members(members)
}
