//! InitProducerId: an id for an idempotent producer.

use crate::sandbox::broker::cluster::Cluster;
use crate::sandbox::broker::codes;
use crate::sandbox::broker::messages::{InitProducerIdRequest, InitProducerIdResponse};

/// A transactional producer is refused: there are no transactions here.
pub(super) fn answer(cluster: &mut Cluster, request: &InitProducerIdRequest) -> InitProducerIdResponse {
    let refused = |code: i16| {
        InitProducerIdResponse::default().with_error_code(code).with_producer_id((-1).into()).with_producer_epoch(-1)
    };
    if request.transactional_id.is_some() {
        return refused(codes::INVALID_REQUEST);
    }
    match cluster.new_producer_id() {
        Ok(id) => InitProducerIdResponse::default().with_producer_id(id.into()).with_producer_epoch(0),
        Err(error) => {
            log::error!("sandbox broker: the next producer id is not on disk: {error}");
            refused(codes::UNKNOWN_SERVER_ERROR)
        }
    }
}
