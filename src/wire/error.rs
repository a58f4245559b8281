//! What was wrong with bytes from a peer.

use std::fmt;

/// Bytes that do not mean what they should. Small and `Copy`; compares for equality in tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// What was wrong.
    pub fault: DecodeFault,
    /// The field being read, by its name in the protocol, such as `records_count`.
    pub field: &'static str,
    /// Where: bytes from the start of the buffer being decoded.
    pub at: usize,
}

/// The kinds of damage a decoder tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeFault {
    /// The buffer ends before the field does.
    Truncated {
        /// Bytes the field needs.
        wanted: usize,
        /// Bytes that are left.
        left: usize,
    },
    /// A length or count below zero, or one that cannot fit in what is left.
    BadLength(i64),
    /// A varint with more bytes than its type allows, or bits beyond it.
    VarintOverflow,
    /// Bytes that should be UTF-8 and are not.
    NotUtf8,
    /// A null where the protocol has none.
    UnexpectedNull,
    /// A value outside the set the protocol knows.
    BadValue(i64),
    /// A checksum that does not match: what the bytes say and what they come to.
    Checksum {
        /// The checksum that was sent.
        stored: u32,
        /// The checksum of what arrived.
        computed: u32,
    },
    /// Bytes left over after the last field.
    TrailingBytes(usize),
    /// More than a bound of [`crate::limits`] allows.
    TooLarge {
        /// The size that was announced or reached.
        size: usize,
        /// The bound.
        max: usize,
    },
    /// Compressed bytes that the codec refuses.
    Corrupt,
    /// A codec this build does not have.
    CodecMissing,
}

impl DecodeError {
    /// An error about `field` at byte `at`.
    pub const fn new(fault: DecodeFault, field: &'static str, at: usize) -> Self {
        Self { fault, field, at }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fault, field, at } = self;
        write!(f, "{field} at byte {at}: ")?;
        match fault {
            DecodeFault::Truncated { wanted, left } => write!(f, "needs {wanted} bytes, {left} left"),
            DecodeFault::BadLength(n) => write!(f, "impossible length {n}"),
            DecodeFault::VarintOverflow => write!(f, "varint too long"),
            DecodeFault::NotUtf8 => write!(f, "not UTF-8"),
            DecodeFault::UnexpectedNull => write!(f, "null where a value is required"),
            DecodeFault::BadValue(n) => write!(f, "unknown value {n}"),
            DecodeFault::Checksum { stored, computed } => {
                write!(f, "checksum mismatch, sent {stored:#010x}, computed {computed:#010x}")
            }
            DecodeFault::TrailingBytes(n) => write!(f, "{n} bytes left over"),
            DecodeFault::TooLarge { size, max } => write!(f, "{size} is more than the limit of {max}"),
            DecodeFault::Corrupt => write!(f, "corrupt compressed data"),
            DecodeFault::CodecMissing => write!(f, "compressed with a codec this build does not have"),
        }
    }
}

impl std::error::Error for DecodeError {}
