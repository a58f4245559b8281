//! The way into and out of the `kafka-protocol` crate: our errors, our bounds.

use bytes::Bytes;
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

use crate::wire::{DecodeError, DecodeFault, Writer};

use super::EncodeError;
use super::shape::{self, Shape};

/// Appends a message of the crate.
pub(super) fn encode<M: Encodable>(
    message: &M,
    version: i16,
    name: &'static str,
    out: &mut Writer,
) -> Result<(), EncodeError> {
    message.encode(out.buffer_mut(), version).map_err(|e| EncodeError { field: name, reason: e.to_string() })
}

/// Checks `body` against the shape of the message, then lets the crate decode it.
pub(super) fn decode<M: Decodable>(
    shape: &Shape,
    version: i16,
    name: &'static str,
    mut body: Bytes,
) -> Result<M, DecodeError> {
    shape::check(shape, version, &body)?;
    let total = body.len();
    // What the shape lets through, the crate reads; should the two ever disagree, the error says where the crate stopped.
    M::decode(&mut body, version)
        .map_err(|_| DecodeError::new(DecodeFault::Corrupt, name, total.saturating_sub(body.len())))
}

/// A string of ours as the crate wants it.
pub(super) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}
