//! The broker's door to the `kafka-protocol` crate: requests in, responses out.
//!
//! The client has a door of its own; nothing is shared with it but the crate itself, whose messages are generated from
//! Apache Kafka's own definitions.

use std::fmt;

use bytes::{BufMut as _, Bytes, BytesMut};

pub(super) use kafka_protocol::messages::create_topics_request::CreatableTopic;
pub(super) use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
pub(super) use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
pub(super) use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
pub(super) use kafka_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, BrokerId, CreateTopicsRequest, CreateTopicsResponse, DeleteRecordsRequest,
    DeleteRecordsResponse, DeleteTopicsRequest, DeleteTopicsResponse, DescribeClusterRequest, DescribeClusterResponse,
    DescribeConfigsRequest, DescribeConfigsResponse, DescribeGroupsRequest, DescribeGroupsResponse, FetchRequest,
    FetchResponse, FindCoordinatorRequest, FindCoordinatorResponse, GroupId, HeartbeatRequest, HeartbeatResponse,
    InitProducerIdRequest, InitProducerIdResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    LeaveGroupResponse, ListGroupsRequest, ListGroupsResponse, ListOffsetsRequest, ListOffsetsResponse,
    MetadataRequest, MetadataResponse, OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest,
    OffsetFetchResponse, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, ProduceRequest, ProduceResponse,
    SyncGroupRequest, SyncGroupResponse, TopicName, api_versions_response, create_topics_response,
    delete_records_response, delete_topics_response, describe_cluster_response, describe_configs_response,
    describe_groups_response, fetch_response, find_coordinator_response, join_group_response, leave_group_response,
    list_groups_response, list_offsets_response, metadata_response, offset_commit_response, offset_fetch_response,
    offset_for_leader_epoch_response, produce_response,
};
pub(super) use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

use super::shape::skip_tags;
use super::versions::{self, Api};
use crate::wire::{DecodeError, DecodeFault, Reader};

/// One request: its header, and its body not yet decoded.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) api: &'static Api,
    pub(super) version: i16,
    pub(super) correlation_id: i32,
    /// Empty where the client gave none.
    pub(super) client_id: String,
    pub(super) body: Bytes,
}

/// Why a connection ends: bytes that are no request this broker can answer. Kafka closes the connection in these cases too.
#[derive(Debug)]
pub(super) enum BadRequest {
    /// Bytes that do not fit the protocol.
    Malformed(DecodeError),
    /// An API that is not served.
    UnknownApi(i16),
    /// A version of an API that is not served.
    UnknownVersion { key: i16, version: i16 },
    /// A request that passed the check of its outline and was refused by the decoder all the same.
    Refused { key: i16, why: String },
    /// An answer of ours that the encoder refused: our own mistake.
    Unanswerable { key: i16, why: String },
}

impl From<DecodeError> for BadRequest {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error)
    }
}

impl fmt::Display for BadRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => write!(f, "malformed request: {error}"),
            Self::UnknownApi(key) => write!(f, "unknown API key {key}"),
            Self::UnknownVersion { key, version } => write!(f, "API key {key} has no version {version} here"),
            Self::Refused { key, why } => write!(f, "request with API key {key} refused: {why}"),
            Self::Unanswerable { key, why } => write!(f, "cannot encode the answer to API key {key}: {why}"),
        }
    }
}

impl Request {
    /// Reads the header in front of `frame` and checks the outline of the rest. A version of ApiVersions that is too high
    /// is let through unchecked: its answer does not depend on the body.
    ///
    /// # Errors
    /// [`BadRequest`]; the connection cannot go on.
    pub(super) fn read(frame: &Bytes) -> Result<Self, BadRequest> {
        let mut reader = Reader::new(frame);
        let key = reader.i16_be("api_key")?;
        let version = reader.i16_be("api_version")?;
        let correlation_id = reader.i32_be("correlation_id")?;
        let api = versions::find(key).ok_or(BadRequest::UnknownApi(key))?;
        let known = (api.min..=api.max).contains(&version);
        let asks_too_much = key == versions::key::API_VERSIONS && version > api.max;
        if !known && !asks_too_much {
            return Err(BadRequest::UnknownVersion { key, version });
        }
        let client_id = match reader.i16_be("client_id length")? {
            -1 => String::new(),
            len => {
                let len = reader.checked_count(len.into(), 1, "client_id length")?;
                let text = reader.bytes(len, "client_id")?;
                let text = std::str::from_utf8(text).map_err(|_| reader.error(DecodeFault::NotUtf8, "client_id"))?;
                text.to_owned()
            }
        };
        if known && api.is_flexible(version) {
            reader = skip_tags(reader)?;
        }
        let body = frame.slice(reader.position()..);
        if known {
            api.shape.check(version, &body)?;
        }
        Ok(Self { api, version, correlation_id, client_id, body })
    }

    /// The decoded body.
    ///
    /// # Errors
    /// [`BadRequest::Refused`], such as for a null where the protocol has none.
    pub(super) fn decode<Q: Decodable>(&self) -> Result<Q, BadRequest> {
        let mut body = self.body.clone();
        Q::decode(&mut body, self.version)
            .map_err(|error| BadRequest::Refused { key: self.api.key, why: error.to_string() })
    }

    /// `body` as a whole frame, for the old layouts that the message crate does not write.
    pub(super) fn answer_bytes(&self, body: &[u8]) -> Result<Bytes, BadRequest> {
        let size = i32::try_from(body.len().saturating_add(4));
        let size = size.map_err(|error| BadRequest::Unanswerable { key: self.api.key, why: error.to_string() })?;
        let mut frame = BytesMut::with_capacity(8 + body.len());
        frame.put_i32(size);
        frame.put_i32(self.correlation_id);
        frame.put_slice(body);
        Ok(frame.freeze())
    }

    /// `response` as a whole frame, the four bytes of its size included.
    ///
    /// # Errors
    /// [`BadRequest::Unanswerable`].
    pub(super) fn answer<R: Encodable>(&self, response: &R) -> Result<Bytes, BadRequest> {
        self.answer_in(response, self.version)
    }

    /// The same in another version than the one asked for; only ApiVersions has a use for it.
    pub(super) fn answer_in<R: Encodable>(&self, response: &R, version: i16) -> Result<Bytes, BadRequest> {
        let refused = |why: String| BadRequest::Unanswerable { key: self.api.key, why };
        // ApiVersions answers with the oldest header in every version, or clients could not read it (KIP-511).
        let tagged_header = self.api.is_flexible(version) && self.api.key != versions::key::API_VERSIONS;
        let header_bytes = if tagged_header { 5 } else { 4 };
        let body_bytes = response.compute_size(version).map_err(|error| refused(error.to_string()))?;
        let size = i32::try_from(header_bytes + body_bytes).map_err(|error| refused(error.to_string()))?;
        let mut frame = BytesMut::with_capacity(4 + header_bytes + body_bytes);
        frame.put_i32(size);
        frame.put_i32(self.correlation_id);
        if tagged_header {
            frame.put_u8(0);
        }
        response.encode(&mut frame, version).map_err(|error| refused(error.to_string()))?;
        Ok(frame.freeze())
    }
}

/// A string on its way into a message.
pub(super) fn text(value: impl Into<String>) -> StrBytes {
    StrBytes::from_string(value.into())
}

/// A topic name on its way into a message.
pub(super) fn topic_name(value: &str) -> TopicName {
    TopicName(text(value))
}
