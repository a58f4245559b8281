//! `SaslHandshake` (17) versions 0 and 1 and `SaslAuthenticate` (36) versions 0 to 2: what carries a login. Ours. After a handshake
//! of version 0, for brokers before 1.0, the mechanism's messages are sent bare.

use bytes::Bytes;

use crate::wire::{DecodeError, DecodeFault, Reader, Writer};

use super::layout::{Layout, reserve};
use super::{ApiKey, Call, EncodeError, ErrorCode};

/// Says which mechanism is about to be used.
#[derive(Clone, Debug)]
pub struct SaslHandshakeCall {
    /// Its name.
    pub mechanism: &'static str,
}

/// Whether the mechanism may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaslHandshakeAnswer {
    /// `UNSUPPORTED_SASL_MECHANISM` when it may not, `ILLEGAL_SASL_STATE` on a listener without SASL.
    pub error: ErrorCode,
    /// The mechanisms the listener has.
    pub mechanisms: Vec<String>,
}

impl Call for SaslHandshakeCall {
    const API: ApiKey = ApiKey::SaslHandshake;
    type Answer = SaslHandshakeAnswer;

    fn encode(&self, version: i16, out: &mut Writer) -> Result<(), EncodeError> {
        Layout::of(Self::API, version).put_string(out, self.mechanism, "mechanism")
    }

    fn decode(version: i16, body: Bytes) -> Result<SaslHandshakeAnswer, DecodeError> {
        let layout = Layout::of(Self::API, version);
        let mut reader = Reader::new(&body);
        let error = ErrorCode(reader.i16_be("error_code")?);
        let count = layout.count(&mut reader, 2, "mechanisms")?.unwrap_or(0);
        let mut mechanisms = Vec::new();
        reserve(&mut mechanisms, count, &reader, "mechanisms")?;
        for _ in 0..count {
            mechanisms.push(layout.string(&mut reader, "mechanism")?.to_owned());
        }
        Ok(SaslHandshakeAnswer { error, mechanisms })
    }
}

/// Carries one message of a mechanism. Its `Debug` does not show the message.
#[derive(Clone)]
pub struct SaslAuthenticateCall {
    /// The message.
    pub message: Vec<u8>,
}

impl SaslAuthenticateCall {
    /// The message as it follows a handshake of version 0: its size in four bytes, then itself.
    ///
    /// # Errors
    /// [`EncodeError`] for a message beyond 2 GiB.
    pub fn encode_bare(&self) -> Result<Vec<u8>, EncodeError> {
        let mut out = Writer::new();
        Layout::of(Self::API, 0).put_count(&mut out, self.message.len(), "auth_bytes")?;
        out.bytes(&self.message);
        Ok(out.into_vec())
    }
}

impl SaslAuthenticateAnswer {
    /// What a bare message means: the broker goes on, since it says no in no other way than by closing the connection.
    pub fn bare(message: Bytes) -> Self {
        Self { error: ErrorCode::NONE, error_message: None, message, session_lifetime_ms: 0 }
    }
}

impl std::fmt::Debug for SaslAuthenticateCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SaslAuthenticateCall").finish_non_exhaustive()
    }
}

/// What the broker says to it.
#[derive(Clone, PartialEq, Eq)]
pub struct SaslAuthenticateAnswer {
    /// `SASL_AUTHENTICATION_FAILED` when the credentials are wrong.
    pub error: ErrorCode,
    /// What the broker says about the error.
    pub error_message: Option<String>,
    /// The broker's message; empty when it has nothing to say.
    pub message: Bytes,
    /// How long the login holds, in milliseconds; 0 or less = as long as the connection. From v1 on (KIP-368).
    pub session_lifetime_ms: i64,
}

impl std::fmt::Debug for SaslAuthenticateAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { error, session_lifetime_ms, .. } = self;
        let mut shown = f.debug_struct("SaslAuthenticateAnswer");
        shown.field("error", error).field("session_lifetime_ms", session_lifetime_ms).finish_non_exhaustive()
    }
}

impl Call for SaslAuthenticateCall {
    const API: ApiKey = ApiKey::SaslAuthenticate;
    type Answer = SaslAuthenticateAnswer;

    fn encode(&self, version: i16, out: &mut Writer) -> Result<(), EncodeError> {
        let layout = Layout::of(Self::API, version);
        layout.put_count(out, self.message.len(), "auth_bytes")?;
        out.bytes(&self.message);
        layout.put_no_tags(out);
        Ok(())
    }

    fn decode(version: i16, body: Bytes) -> Result<SaslAuthenticateAnswer, DecodeError> {
        let layout = Layout::of(Self::API, version);
        let mut reader = Reader::new(&body);
        let error = ErrorCode(reader.i16_be("error_code")?);
        let error_message = layout.nullable_string(&mut reader, "error_message")?.map(str::to_owned);
        let at = reader.position();
        let message = layout.nullable_bytes(&mut reader, "auth_bytes")?;
        let message = message.ok_or_else(|| DecodeError::new(DecodeFault::UnexpectedNull, "auth_bytes", at))?;
        let session_lifetime_ms = if version >= 1 { reader.i64_be("session_lifetime_ms")? } else { 0 };
        layout.skip_tags(&mut reader)?;
        Ok(SaslAuthenticateAnswer { error, error_message, message: body.slice(message), session_lifetime_ms })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_mechanisms_of_a_refusal_are_read() {
        let body = [&[0, 33, 0, 0, 0, 2, 0, 5][..], b"PLAIN", &[0, 13], b"SCRAM-SHA-256"].concat();
        let answer = SaslHandshakeCall::decode(1, body.into()).unwrap();
        assert_eq!(answer.error, ErrorCode::UNSUPPORTED_SASL_MECHANISM);
        assert_eq!(answer.mechanisms, ["PLAIN", "SCRAM-SHA-256"]);
    }

    #[test]
    fn an_answer_of_each_version_is_read() {
        let old = [&[0, 0, 0xff, 0xff, 0, 0, 0, 3][..], b"abc"].concat();
        let answer = SaslAuthenticateCall::decode(0, old.clone().into()).unwrap();
        assert_eq!((&answer.message[..], answer.session_lifetime_ms), (&b"abc"[..], 0));
        let middle = [&old[..], &[0, 0, 0, 0, 0, 0, 0x27, 0x10]].concat();
        assert_eq!(SaslAuthenticateCall::decode(1, middle.into()).unwrap().session_lifetime_ms, 10_000);
        let new = [&[0, 58, 4][..], b"bad", &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0]].concat();
        let answer = SaslAuthenticateCall::decode(2, new.into()).unwrap();
        assert_eq!((answer.error, answer.error_message.as_deref()), (ErrorCode(58), Some("bad")));
        assert!(answer.message.is_empty());
    }

    #[test]
    fn counts_beyond_the_bytes_and_cut_answers_are_refused() {
        assert!(SaslHandshakeCall::decode(1, Bytes::from_static(&[0, 0, 0x7f, 0xff, 0xff, 0xff])).is_err());
        let good = [&[0, 0, 0, 4, b'a', 0, 0, 0, 0, 0, 0, 0, 0, 0][..]].concat();
        for end in 0..good.len() {
            assert!(
                SaslAuthenticateCall::decode(2, Bytes::copy_from_slice(good.get(..end).unwrap())).is_err(),
                "{end}"
            );
        }
    }

    #[test]
    fn neither_side_of_a_login_is_printed() {
        let call = SaslAuthenticateCall { message: b"\0alice\0canary".to_vec() };
        let answer = SaslAuthenticateAnswer {
            error: ErrorCode::NONE,
            error_message: None,
            message: Bytes::from_static(b"canary"),
            session_lifetime_ms: 0,
        };
        let shown = format!("{call:?} {answer:?}");
        assert!(!shown.contains("canary") && !shown.contains("99, 97"), "{shown}");
    }
}
