//! What every request has, and the values that several of them name.

use bytes::Bytes;

use crate::wire::{DecodeError, Writer};

use super::ApiKey;

/// One request: what it asks, how it is written and how its answer is read.
///
/// `version` is always one that [`VersionTable::pick`](super::VersionTable::pick) chose for this connection.
pub trait Call: Send + Sync {
    /// Which API this is.
    const API: ApiKey;
    /// What the broker answers.
    type Answer: Send;

    /// The highest version in which this very request can be written; the API's own maximum unless the request lacks
    /// something that newer versions need, such as topic ids.
    fn version_max(&self) -> i16 {
        Self::API.versions().max
    }

    /// Appends the body, without any header.
    ///
    /// # Errors
    /// [`EncodeError`] when a value cannot be written, such as a name of more than 32,767 bytes.
    fn encode(&self, version: i16, out: &mut Writer) -> Result<(), EncodeError>;

    /// How long the answer asks us to stay quiet on this connection, in milliseconds; 0 where the broker has waited itself, as
    /// all did before Kafka 2.0 (KIP-219).
    fn quiet_ms(_version: i16, _answer: &Self::Answer) -> i32 {
        0
    }

    /// Reads the body of the answer, without its header. Byte fields are slices of `body`.
    ///
    /// # Errors
    /// [`DecodeError`] with the field and its place in `body`.
    fn decode(version: i16, body: Bytes) -> Result<Self::Answer, DecodeError>;
}

/// A request that cannot be written: a value that the protocol has no room for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot write {field}: {reason}")]
pub struct EncodeError {
    /// The field, or the message when the field is not known.
    pub field: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

/// A 16-byte topic id (KIP-516); never all zeros, which on the wire means "none".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId([u8; 16]);

impl TopicId {
    /// The id with these bytes; none for sixteen zeros.
    pub fn new(bytes: [u8; 16]) -> Option<Self> {
        (bytes != [0; 16]).then_some(Self(bytes))
    }

    /// The bytes as they stand on the wire.
    pub const fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl std::fmt::Debug for TopicId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// The isolation level of a read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// Everything up to the high watermark, records of open and aborted transactions included.
    #[default]
    ReadUncommitted,
    /// Only what is outside transactions or in committed ones, up to the last stable offset.
    ReadCommitted,
}

impl Isolation {
    /// The protocol's number.
    pub const fn level(self) -> i8 {
        match self {
            Self::ReadUncommitted => 0,
            Self::ReadCommitted => 1,
        }
    }
}
