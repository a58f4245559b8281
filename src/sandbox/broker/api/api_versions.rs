//! ApiVersions: what this broker can do.

use bytes::Bytes;

use crate::sandbox::broker::cluster::Cluster;
use crate::sandbox::broker::codes;
use crate::sandbox::broker::messages::api_versions_response::ApiVersion;
use crate::sandbox::broker::messages::{ApiVersionsRequest, ApiVersionsResponse, BadRequest, Request};
use crate::sandbox::broker::versions::{APIS, KafkaVersion, key};

/// A version that is too new is answered in the oldest layout with UNSUPPORTED_VERSION; since KIP-511 the range of this one
/// API stands in it, so that the client need not guess.
pub(super) fn answer(cluster: &Cluster, request: &Request) -> Result<Bytes, BadRequest> {
    let kafka = cluster.settings.version;
    let own = request.api;
    let (_, max) = kafka.range(own).unwrap_or((own.min, own.max));
    if request.version > max {
        let listed = if kafka.names_api_versions_range() { vec![entry(own.key, own.min, max)] } else { Vec::new() };
        let refused = ApiVersionsResponse::default().with_error_code(codes::UNSUPPORTED_VERSION).with_api_keys(listed);
        return request.answer_in(&refused, 0);
    }
    request.decode::<ApiVersionsRequest>()?;
    request.answer(&ApiVersionsResponse::default().with_api_keys(table(kafka)))
}

fn table(kafka: KafkaVersion) -> Vec<ApiVersion> {
    let ranges = APIS.iter().filter_map(|api| kafka.range(api).map(|(min, max)| (api.key, min, max)));
    ranges.map(|(key, min, max)| entry(key, announced_min(key, min), max)).collect()
}

/// Produce is announced from version 0 although the old ones are gone: librdkafka takes the low versions as the sign that a
/// broker understands compression. Kafka 4 does the same (KAFKA-18659).
fn announced_min(key: i16, min: i16) -> i16 {
    if key == key::PRODUCE { 0 } else { min }
}

fn entry(key: i16, min: i16, max: i16) -> ApiVersion {
    ApiVersion::default().with_api_key(key).with_min_version(min).with_max_version(max)
}
