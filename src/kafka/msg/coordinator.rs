//! `FindCoordinator` (10), versions 1 to 3: the broker that owns a group. Through the crate.

use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::{FindCoordinatorRequest, FindCoordinatorResponse};

use crate::wire::{DecodeError, Writer};

use super::shape::{Field, Kind, Shape};
use super::{ApiKey, Call, EncodeError, ErrorCode, foreign};

/// Asks any broker for the coordinator of a group.
#[derive(Clone, Debug)]
pub struct FindCoordinatorCall {
    /// The group.
    pub group: Arc<str>,
}

/// Where the coordinator is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FindCoordinatorAnswer {
    /// How long the broker asks us to stay quiet, in milliseconds.
    pub throttle_ms: i32,
    /// `COORDINATOR_NOT_AVAILABLE` while the offsets topic is being made or moved.
    pub error: ErrorCode,
    /// What the broker says about the error.
    pub error_message: Option<String>,
    /// Node id; -1 with an error.
    pub node: i32,
    /// Host name or address, as advertised.
    pub host: String,
    /// Port, as advertised.
    pub port: i32,
}

pub(super) const SHAPE: Shape = Shape {
    flexible_from: ApiKey::FindCoordinator.flexible_from(),
    fields: &[
        Field::since(1, "throttle_time_ms", Kind::Fixed(4)),
        Field::new("error_code", Kind::Fixed(2)),
        Field::since(1, "error_message", Kind::Text),
        Field::new("node_id", Kind::Fixed(4)),
        Field::new("host", Kind::Text),
        Field::new("port", Kind::Fixed(4)),
    ],
};

impl Call for FindCoordinatorCall {
    const API: ApiKey = ApiKey::FindCoordinator;
    type Answer = FindCoordinatorAnswer;

    fn encode(&self, version: i16, out: &mut Writer) -> Result<(), EncodeError> {
        // Key type 0: a group.
        encode_coordinator(&self.group, 0, version, out)
    }

    fn decode(version: i16, body: Bytes) -> Result<FindCoordinatorAnswer, DecodeError> {
        decode_coordinator(version, body)
    }
}

/// The question for one key; `key_type` 0 is a group, 1 a transactional id.
pub(super) fn encode_coordinator(key: &str, key_type: i8, version: i16, out: &mut Writer) -> Result<(), EncodeError> {
    let message = FindCoordinatorRequest::default().with_key(foreign::text(key)).with_key_type(key_type);
    foreign::encode(&message, version, "FindCoordinatorRequest", out)
}

pub(super) fn decode_coordinator(version: i16, body: Bytes) -> Result<FindCoordinatorAnswer, DecodeError> {
    let message: FindCoordinatorResponse = foreign::decode(&SHAPE, version, "FindCoordinatorResponse", body)?;
    Ok(FindCoordinatorAnswer {
        throttle_ms: message.throttle_time_ms,
        error: ErrorCode(message.error_code),
        error_message: message.error_message.map(|text| text.to_string()),
        node: message.node_id.0,
        host: message.host.to_string(),
        port: message.port,
    })
}
