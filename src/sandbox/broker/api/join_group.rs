//! JoinGroup: waits until the group's next generation is complete.

use std::time::Duration;

use uuid::Uuid;

use super::find_coordinator::check;
use crate::sandbox::broker::clock;
use crate::sandbox::broker::group::{Join, Joined, Step};
use crate::sandbox::broker::messages::join_group_response::JoinGroupResponseMember;
use crate::sandbox::broker::messages::{BadRequest, JoinGroupRequest, JoinGroupResponse, Request, text};
use crate::sandbox::broker::server::{Peer, Shared};

/// First version in which a new member is given its id before it joins (KIP-394).
const ID_REQUIRED_FROM: i16 = 4;
/// First version whose answer may leave out the protocol.
const NULL_PROTOCOL_FROM: i16 = 7;

pub(super) async fn answer(shared: &Shared, peer: &Peer, request: &Request) -> Result<JoinGroupResponse, BadRequest> {
    let asked = request.decode::<JoinGroupRequest>()?;
    let group = asked.group_id.to_string();
    let member_id = asked.member_id.to_string();
    let mut changes = shared.watch_groups();
    let step = {
        let mut cluster = shared.lock();
        match check(&cluster, peer.node, &group).and_then(|()| cluster.group_mut(&group).map_err(|no| no.code)) {
            Ok(state) => state.join(join(asked, peer, request), clock::now()),
            Err(code) => Step::Answer(Joined::refused(code, member_id)),
        }
    };
    shared.groups_changed();
    let joined = match step {
        Step::Answer(joined) => joined,
        Step::Wait(id) => loop {
            changes.mark_unchanged();
            let joined = shared.lock().groups.get(&group).map_or_else(
                || Some(Joined::refused(crate::sandbox::broker::codes::UNKNOWN_MEMBER_ID, id.clone())),
                |state| state.joined(&id),
            );
            if let Some(joined) = joined {
                break joined;
            }
            // Ends at the latest when the rebalance does, which has a deadline.
            drop(changes.changed().await);
        },
    };
    Ok(response(joined, request.version))
}

fn join(asked: JoinGroupRequest, peer: &Peer, request: &Request) -> Join {
    let time = |ms: i32| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    let session_timeout = time(asked.session_timeout_ms);
    // Version 0 has one time for both.
    let rebalance_timeout = if request.version >= 1 { time(asked.rebalance_timeout_ms) } else { session_timeout };
    let protocols = asked.protocols.into_iter().map(|protocol| (protocol.name.to_string(), protocol.metadata));
    Join {
        member_id: asked.member_id.to_string(),
        instance_id: asked.group_instance_id.map(|id| id.to_string()),
        client_id: request.client_id.clone(),
        client_host: format!("/{}", peer.address.ip()),
        session_timeout,
        rebalance_timeout,
        protocol_type: asked.protocol_type.to_string(),
        protocols: protocols.collect(),
        id_required: request.version >= ID_REQUIRED_FROM,
        new_id: format!("{}-{}", request.client_id, Uuid::new_v4()),
    }
}

fn response(joined: Joined, version: i16) -> JoinGroupResponse {
    let members = joined.members.into_iter().map(|(id, instance_id, metadata)| {
        let member = JoinGroupResponseMember::default().with_member_id(text(id)).with_metadata(metadata);
        if version >= 5 { member.with_group_instance_id(instance_id.map(text)) } else { member }
    });
    let nullable =
        |value: String| if value.is_empty() && version >= NULL_PROTOCOL_FROM { None } else { Some(text(value)) };
    let response = JoinGroupResponse::default()
        .with_error_code(joined.code)
        .with_generation_id(joined.generation)
        .with_protocol_name(nullable(joined.protocol))
        .with_leader(text(joined.leader))
        .with_member_id(text(joined.member_id))
        .with_members(members.collect());
    if version >= 7 { response.with_protocol_type(nullable(joined.protocol_type)) } else { response }
}
