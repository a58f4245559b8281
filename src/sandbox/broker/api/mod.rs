//! One file an API: a request in, a response out.

mod api_versions;
mod create_topics;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod fetch;
mod find_coordinator;
mod heartbeat;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_groups;
mod list_offsets;
mod list_offsets_v0;
mod metadata;
mod offset_commit;
mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
mod sync_group;
#[cfg(test)]
mod tests;

use bytes::Bytes;

use super::messages::{BadRequest, Request};
use super::server::{Peer, Shared};
use super::versions::key;

/// The whole frame that answers `request`; `None` when it wants no answer (Produce with acks 0).
///
/// # Errors
/// A request that ends the connection.
pub(super) async fn answer(shared: &Shared, peer: &Peer, request: &Request) -> Result<Option<Bytes>, BadRequest> {
    let version = request.version;
    let range = shared.lock().settings.version.range(request.api);
    let known = range.is_some_and(|(min, max)| (min..=max).contains(&version));
    // ApiVersions has an answer for versions it does not know.
    if !known && request.api.key != key::API_VERSIONS {
        return Err(BadRequest::UnknownVersion { key: request.api.key, version });
    }
    let answer = match request.api.key {
        key::PRODUCE => return produce::answer(shared, peer, request),
        key::API_VERSIONS => api_versions::answer(&shared.lock(), request),
        key::FETCH => request.answer(&fetch::answer(shared, peer, request.decode()?, version).await),
        key::JOIN_GROUP => request.answer(&join_group::answer(shared, peer, request).await?),
        key::SYNC_GROUP => request.answer(&sync_group::answer(shared, peer, request.decode()?).await),
        key::LIST_OFFSETS if version == 0 => list_offsets_v0::answer(&shared.lock(), peer, request),
        key::LIST_OFFSETS => request.answer(&list_offsets::answer(&shared.lock(), peer, &request.decode()?, version)),
        key::METADATA => request.answer(&metadata::answer(&mut shared.lock(), &request.decode()?, version)),
        key::OFFSET_COMMIT => request.answer(&offset_commit::answer(&mut shared.lock(), peer, &request.decode()?)),
        key::OFFSET_FETCH => request.answer(&offset_fetch::answer(&shared.lock(), peer, &request.decode()?, version)),
        key::FIND_COORDINATOR => request.answer(&find_coordinator::answer(&shared.lock(), &request.decode()?, version)),
        key::HEARTBEAT => request.answer(&heartbeat::answer(&mut shared.lock(), peer, &request.decode()?)),
        key::LEAVE_GROUP => request.answer(&leave_group::answer(shared, peer, &request.decode()?, version)),
        key::DESCRIBE_GROUPS => {
            request.answer(&describe_groups::answer(&shared.lock(), peer, request.decode()?, version))
        }
        key::LIST_GROUPS => request.answer(&list_groups::answer(&shared.lock(), peer, &request.decode()?, version)),
        key::CREATE_TOPICS => request.answer(&create_topics::answer(shared, peer, request.decode()?, version)),
        key::DELETE_TOPICS => request.answer(&delete_topics::answer(shared, peer, request.decode()?, version)),
        key::DELETE_RECORDS => request.answer(&delete_records::answer(shared, peer, &request.decode()?)),
        key::INIT_PRODUCER_ID => request.answer(&init_producer_id::answer(&mut shared.lock(), &request.decode()?)),
        key::OFFSET_FOR_LEADER_EPOCH => {
            request.answer(&offset_for_leader_epoch::answer(&shared.lock(), peer, &request.decode()?))
        }
        key::DESCRIBE_CONFIGS => request.answer(&describe_configs::answer(&shared.lock(), &request.decode()?, version)),
        key::DESCRIBE_CLUSTER => request.answer(&describe_cluster::answer(&shared.lock(), &request.decode()?)),
        other => return Err(BadRequest::UnknownApi(other)),
    };
    answer.map(Some)
}
