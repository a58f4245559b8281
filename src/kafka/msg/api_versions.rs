//! `ApiVersions` (18): what a broker speaks. Ours, since its answer may come in a layout other than the one asked for.

use bytes::Bytes;

use crate::wire::{DecodeError, Reader, Writer};

use super::layout::{Layout, reserve};
use super::{ApiKey, Call, EncodeError, ErrorCode, VersionRange};

/// Asks a broker what it speaks. v3 also says who is asking (KIP-511).
#[derive(Clone, Copy, Debug)]
pub struct ApiVersionsCall;

/// What a broker speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiVersionsAnswer {
    /// `UNSUPPORTED_VERSION` when the broker does not have the version that was asked.
    pub error: ErrorCode,
    /// (API number, versions), as sent. Empty, or only `ApiVersions` itself, when `error` is set.
    pub apis: Vec<(i16, VersionRange)>,
}

impl Call for ApiVersionsCall {
    const API: ApiKey = ApiKey::ApiVersions;
    type Answer = ApiVersionsAnswer;

    fn encode(&self, version: i16, out: &mut Writer) -> Result<(), EncodeError> {
        let layout = Layout::of(Self::API, version);
        if version >= 3 {
            layout.put_string(out, env!("CARGO_PKG_NAME"), "client_software_name")?;
            layout.put_string(out, env!("CARGO_PKG_VERSION"), "client_software_version")?;
        }
        layout.put_no_tags(out);
        Ok(())
    }

    fn decode(version: i16, body: Bytes) -> Result<ApiVersionsAnswer, DecodeError> {
        let mut reader = Reader::new(&body);
        let error = ErrorCode(reader.i16_be("error_code")?);
        // A broker that does not know the version answers in the layout of v0 (KIP-511; older brokers do the same).
        let layout = Layout::of(Self::API, if error == ErrorCode::UNSUPPORTED_VERSION { 0 } else { version });
        let count = layout.count(&mut reader, 6, "api_keys")?.unwrap_or(0);
        let mut apis = Vec::new();
        reserve(&mut apis, count, &reader, "api_keys")?;
        for _ in 0..count {
            let key = reader.i16_be("api_key")?;
            let min = reader.i16_be("min_version")?;
            let max = reader.i16_be("max_version")?;
            layout.skip_tags(&mut reader)?;
            apis.push((key, VersionRange { min, max }));
        }
        // What follows (throttle time, features) does not matter here, and v0 does not have it.
        Ok(ApiVersionsAnswer { error, apis })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_to_a_version_too_new_is_read_in_the_first_layout() {
        // 1.0.1 to ApiVersions v3: error 35, no entries.
        let answer = ApiVersionsCall::decode(3, Bytes::from_static(&[0, 35, 0, 0, 0, 0]));
        assert_eq!(answer, Ok(ApiVersionsAnswer { error: ErrorCode::UNSUPPORTED_VERSION, apis: Vec::new() }));
        // With the range of ApiVersions itself, as KIP-511 asks.
        let answer = ApiVersionsCall::decode(3, Bytes::from_static(&[0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 2]));
        assert_eq!(answer.map(|a| a.apis), Ok(vec![(18, VersionRange { min: 0, max: 2 })]));
    }

    #[test]
    fn a_count_beyond_the_bytes_is_refused() {
        assert!(ApiVersionsCall::decode(0, Bytes::from_static(&[0, 0, 0x7f, 0xff, 0xff, 0xff])).is_err());
        assert!(ApiVersionsCall::decode(3, Bytes::from_static(&[0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f])).is_err());
    }
}
