//! DescribeGroups: members and what they were given.

use super::find_coordinator::check;
use crate::sandbox::broker::cluster::Cluster;
use crate::sandbox::broker::codes;
use crate::sandbox::broker::group::{Group, GroupState};
use crate::sandbox::broker::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use crate::sandbox::broker::messages::{DescribeGroupsRequest, DescribeGroupsResponse, GroupId, text};
use crate::sandbox::broker::server::Peer;

pub(super) fn answer(
    cluster: &Cluster,
    peer: &Peer,
    request: DescribeGroupsRequest,
    version: i16,
) -> DescribeGroupsResponse {
    let groups = request.groups.into_iter().map(|id| described(cluster, peer, id, version));
    DescribeGroupsResponse::default().with_groups(groups.collect())
}

fn described(cluster: &Cluster, peer: &Peer, id: GroupId, version: i16) -> DescribedGroup {
    let answer = DescribedGroup::default().with_group_id(id.clone());
    if let Err(code) = check(cluster, peer.node, &id) {
        return answer.with_error_code(code);
    }
    match cluster.groups.get(id.as_str()).filter(|group| !group.is_idle()) {
        Some(group) => with_members(answer, group, version),
        None if cluster.offsets.has_group(&id) => answer.with_group_state(text(GroupState::Empty.name())),
        // A group that does not exist is dead; since version 6 it is an error as well (KIP-1043).
        None if version >= 6 => answer
            .with_group_state(text("Dead"))
            .with_error_code(codes::GROUP_ID_NOT_FOUND)
            .with_error_message(Some(text(format!("Group {} not found.", id.as_str())))),
        None => answer.with_group_state(text("Dead")),
    }
}

fn with_members(answer: DescribedGroup, group: &Group, version: i16) -> DescribedGroup {
    let members = group.members().iter().map(|(id, member)| {
        let described = DescribedGroupMember::default()
            .with_member_id(text(id.clone()))
            .with_client_id(text(member.client_id.clone()))
            .with_client_host(text(member.client_host.clone()))
            .with_member_metadata(group.metadata_of(member))
            .with_member_assignment(member.assignment.clone());
        if version >= 4 { described.with_group_instance_id(member.instance_id.clone().map(text)) } else { described }
    });
    answer
        .with_group_state(text(group.state().name()))
        .with_protocol_type(text(group.protocol_type()))
        .with_protocol_data(text(group.protocol()))
        .with_members(members.collect())
}
