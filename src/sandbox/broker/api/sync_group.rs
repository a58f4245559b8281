//! SyncGroup: waits until the leader has said who gets what.

use super::find_coordinator::check;
use crate::sandbox::broker::clock;
use crate::sandbox::broker::codes;
use crate::sandbox::broker::group::Step;
use crate::sandbox::broker::messages::{SyncGroupRequest, SyncGroupResponse, text};
use crate::sandbox::broker::server::{Peer, Shared};

pub(super) async fn answer(shared: &Shared, peer: &Peer, request: SyncGroupRequest) -> SyncGroupResponse {
    let group = request.group_id.to_string();
    let generation = request.generation_id;
    let instance = request.group_instance_id.as_ref().map(|id| id.as_str());
    let assignments =
        request.assignments.iter().map(|one| (one.member_id.to_string(), one.assignment.clone())).collect();
    let mut changes = shared.watch_groups();
    let step = {
        let mut cluster = shared.lock();
        match check(&cluster, peer.node, &group) {
            Ok(()) => match cluster.groups.get_mut(&group) {
                Some(state) => state.sync(&request.member_id, instance, generation, assignments, clock::now()),
                None => Step::Answer(Err(codes::UNKNOWN_MEMBER_ID)),
            },
            Err(code) => Step::Answer(Err(code)),
        }
    };
    shared.groups_changed();
    let synced = match step {
        Step::Answer(synced) => synced,
        Step::Wait(id) => loop {
            changes.mark_unchanged();
            let gone = || Some(Err(codes::UNKNOWN_MEMBER_ID));
            let synced = shared.lock().groups.get(&group).map_or_else(gone, |state| state.synced(&id, generation));
            if let Some(synced) = synced {
                break synced;
            }
            // Ends at the latest when the leader is removed for its silence.
            drop(changes.changed().await);
        },
    };
    let protocol =
        shared.lock().groups.get(&group).map(|state| (state.protocol_type().to_owned(), state.protocol().to_owned()));
    match synced {
        Ok(assignment) => {
            let (protocol_type, name) = protocol.unwrap_or_default();
            SyncGroupResponse::default()
                .with_assignment(assignment)
                .with_protocol_type(Some(text(protocol_type)))
                .with_protocol_name(Some(text(name)))
        }
        Err(code) => SyncGroupResponse::default().with_error_code(code),
    }
}
