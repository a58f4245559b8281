//! The small enums of a batch's attributes.

use std::fmt;

/// How the records of a batch are compressed: attribute bits 0 to 2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Codec {
    /// Not compressed.
    #[default]
    None,
    /// gzip, possibly of several members.
    Gzip,
    /// Snappy, a raw block or xerial's framing.
    Snappy,
    /// LZ4 frames.
    Lz4,
    /// Zstandard frames (KIP-110; record batches only).
    Zstd,
}

impl Codec {
    /// Every codec, in order of its number.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The codec of number `id`; `None` for 5 and above, which Kafka does not use.
    pub const fn from_id(id: u8) -> Option<Self> {
        match id {
            0 => Some(Self::None),
            1 => Some(Self::Gzip),
            2 => Some(Self::Snappy),
            3 => Some(Self::Lz4),
            4 => Some(Self::Zstd),
            _ => None,
        }
    }

    /// Kafka's number of this codec, 0 to 4.
    pub const fn id(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// Kafka's name for it, as in `compression.type`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// Whether this build can read and write it.
    pub const fn is_available(self) -> bool {
        match self {
            Self::None => true,
            Self::Gzip => cfg!(feature = "gzip"),
            Self::Snappy => cfg!(feature = "snappy"),
            Self::Lz4 => cfg!(feature = "lz4"),
            Self::Zstd => cfg!(feature = "zstd"),
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl TryFrom<u8> for Codec {
    type Error = u8;

    /// As [`Codec::from_id`]; the unknown number comes back as the error.
    fn try_from(id: u8) -> Result<Self, u8> {
        Self::from_id(id).ok_or(id)
    }
}

impl From<Codec> for u8 {
    fn from(codec: Codec) -> Self {
        codec.id()
    }
}

/// How Snappy blocks are laid out; readers take both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SnappyForm {
    /// xerial's framing, chunks of 32 KiB: what Java clients write.
    #[default]
    Xerial,
    /// One raw block: what librdkafka writes.
    Raw,
}

/// What a record's timestamp means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimestampType {
    /// Magic 0 has no timestamps; the value is -1.
    NoTimestamp,
    /// Set by the producer.
    CreateTime,
    /// Set by the broker, the same for every record of a batch.
    LogAppendTime,
}

impl fmt::Display for TimestampType {
    /// Kafka's names: `NoTimestampType`, `CreateTime`, `LogAppendTime`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoTimestamp => "NoTimestampType",
            Self::CreateTime => "CreateTime",
            Self::LogAppendTime => "LogAppendTime",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_codecs_agree() {
        for codec in Codec::ALL {
            assert_eq!(Codec::try_from(u8::from(codec)), Ok(codec));
        }
        assert_eq!(Codec::try_from(5), Err(5));
    }
}
