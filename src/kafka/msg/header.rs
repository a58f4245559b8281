//! Request and response headers, and whole frames.

use crate::wire::{DecodeError, Reader, Writer};

use super::layout::Layout;
use super::{ApiKey, Call, EncodeError};

/// What stands before the body of every request.
#[derive(Clone, Copy, Debug)]
pub struct RequestHeader<'a> {
    /// The API.
    pub api: ApiKey,
    /// Its version, for header and body alike.
    pub version: i16,
    /// Comes back in the answer.
    pub correlation_id: i32,
    /// Shows up in the broker's logs, quotas and group listings.
    pub client_id: &'a str,
}

/// Writes a whole frame: size, header (v1, or v2 in flexible versions) and the body.
///
/// # Errors
/// [`EncodeError`] from the body, or a client id or frame that is too long.
pub fn encode_request<C: Call>(header: RequestHeader<'_>, call: &C) -> Result<Vec<u8>, EncodeError> {
    let mut out = Writer::new();
    out.i32_be(0);
    out.i16_be(header.api.code());
    out.i16_be(header.version);
    out.i32_be(header.correlation_id);
    // The client id keeps its fixed length in header v2 too (KIP-482).
    Layout::new(false).put_string(&mut out, header.client_id, "client_id")?;
    Layout::of(header.api, header.version).put_no_tags(&mut out);
    call.encode(header.version, &mut out)?;
    let size = out.len().saturating_sub(4);
    let Ok(size) = i32::try_from(size) else {
        return Err(EncodeError { field: "request", reason: format!("{size} bytes do not fit in a frame") });
    };
    out.patch_i32_be(0, size);
    Ok(out.into_vec())
}

/// Reads a response header and leaves `reader` at the body. Returns the correlation id.
///
/// # Errors
/// [`DecodeError`] when the frame ends early or its tags are damaged.
pub fn decode_response_header(reader: &mut Reader<'_>, api: ApiKey, version: i16) -> Result<i32, DecodeError> {
    let correlation_id = reader.i32_be("correlation_id")?;
    // ApiVersions always has header v0, so that a client can read it before it knows what the broker speaks (KIP-511).
    if api != ApiKey::ApiVersions {
        Layout::of(api, version).skip_tags(reader)?;
    }
    Ok(correlation_id)
}
