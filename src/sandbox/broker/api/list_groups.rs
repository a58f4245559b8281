//! ListGroups: the groups this broker looks after.

use super::find_coordinator::check;
use crate::sandbox::broker::cluster::Cluster;
use crate::sandbox::broker::group::GroupState;
use crate::sandbox::broker::messages::list_groups_response::ListedGroup;
use crate::sandbox::broker::messages::{GroupId, ListGroupsRequest, ListGroupsResponse, StrBytes, text};
use crate::sandbox::broker::server::Peer;

/// The type of every group here (KIP-848 calls the old protocol so).
const TYPE: &str = "classic";

pub(super) fn answer(cluster: &Cluster, peer: &Peer, request: &ListGroupsRequest, version: i16) -> ListGroupsResponse {
    let named = |wanted: &[StrBytes], name: &str| {
        wanted.is_empty() || wanted.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
    };
    let mut groups = Vec::new();
    for name in cluster.group_names() {
        let group = cluster.groups.get(&name);
        let state = group.map_or(GroupState::Empty, |group| group.state()).name();
        let here = check(cluster, peer.node, &name).is_ok();
        if !here || !named(&request.states_filter, state) || !named(&request.types_filter, TYPE) {
            continue;
        }
        let protocol_type = group.map(|group| group.protocol_type().to_owned()).unwrap_or_default();
        let mut listed =
            ListedGroup::default().with_group_id(GroupId(text(name))).with_protocol_type(text(protocol_type));
        if version >= 4 {
            listed = listed.with_group_state(text(state));
        }
        if version >= 5 {
            listed = listed.with_group_type(text(TYPE));
        }
        groups.push(listed);
    }
    ListGroupsResponse::default().with_groups(groups)
}
