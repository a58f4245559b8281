//! Writes messages and message sets, magic 0 and 1: for tests and for brokers that present themselves as old.

use super::build::{BuildError, put};
use super::codec::{Codec, SnappyForm};
use super::compress::{CompressOptions, compress};
use super::legacy::LOG_APPEND_TIME;
use crate::wire::{Writer, crc32};

/// Where a message's checksum is, and where what it covers begins.
const CRC_AT: usize = 12;
const MAGIC_AT: usize = 16;

/// The format of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LegacyMagic {
    /// Magic 0: no timestamps.
    V0,
    /// Magic 1: timestamps, relative offsets inside wrappers.
    #[default]
    V1,
}

/// How [`LegacyBuilder`] writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LegacyOptions {
    /// The format.
    pub magic: LegacyMagic,
    /// [`Codec::None`] writes one message per record, any other one wrapper for all. zstd is not allowed.
    pub codec: Codec,
    /// The form of Snappy, if that is the codec.
    pub snappy: SnappyForm,
    /// `Some` writes what a broker stores on a topic of append-time (magic 1): this time, in ms since 1970, on each plain
    /// message or on the wrapper.
    pub append_time: Option<i64>,
}

/// Collects records and writes them as messages. They have no headers.
#[derive(Clone, Debug)]
pub struct LegacyBuilder {
    options: LegacyOptions,
    /// Messages whose offset field holds the distance from the base offset.
    messages: Vec<(i64, Vec<u8>)>,
    next_delta: i64,
    max_timestamp: i64,
    too_large: bool,
}

impl LegacyBuilder {
    /// No messages yet.
    pub const fn new(options: LegacyOptions) -> Self {
        Self { options, messages: Vec::new(), next_delta: 0, max_timestamp: -1, too_large: false }
    }

    /// Adds a message at the next offset. `timestamp` is in ms since 1970, -1 for none; magic 0 drops it.
    pub fn push(&mut self, timestamp: i64, key: Option<&[u8]>, value: Option<&[u8]>) {
        self.push_at(self.next_delta, timestamp, key, value);
    }

    /// Adds a message at `offset_delta` from the base offset, as compaction leaves them. Deltas should increase.
    pub fn push_at(&mut self, offset_delta: i64, timestamp: i64, key: Option<&[u8]>, value: Option<&[u8]>) {
        let plain = self.options.codec == Codec::None;
        let append_time = if plain { self.options.append_time } else { None };
        match self.message(0, append_time, timestamp, key, value) {
            Some(message) => self.messages.push((offset_delta, message)),
            None => self.too_large = true,
        }
        self.max_timestamp = self.max_timestamp.max(timestamp);
        self.next_delta = self.next_delta.max(offset_delta.saturating_add(1));
    }

    /// The messages, the first offset being `base_offset`; nothing for no messages.
    ///
    /// # Errors
    /// [`BuildError::CodecMissing`], also for zstd; [`BuildError::TooLarge`].
    pub fn finish(self, base_offset: i64) -> Result<Vec<u8>, BuildError> {
        let options = self.options;
        let relative = options.codec != Codec::None && options.magic == LegacyMagic::V1;
        let inner_base = if relative { 0 } else { base_offset };
        let mut set = Vec::new();
        let mut last_delta = 0;
        for (delta, message) in &self.messages {
            let at = set.len();
            set.extend_from_slice(message);
            put(&mut set, at, &inner_base.saturating_add(*delta).to_be_bytes());
            last_delta = *delta;
        }
        if self.too_large {
            return Err(BuildError::TooLarge);
        }
        if options.codec == Codec::None || set.is_empty() {
            return Ok(set);
        }
        let form = CompressOptions { snappy: options.snappy, lz4_before_kip57: options.magic == LegacyMagic::V0 };
        let mut value = Vec::new();
        let missing = BuildError::CodecMissing(options.codec);
        if options.codec == Codec::Zstd {
            return Err(missing);
        }
        compress(options.codec, form, &set, &mut value).ok_or(missing)?;
        let codec = options.codec.id();
        let mut wrapper = self
            .message(codec, options.append_time, self.max_timestamp, None, Some(&value))
            .ok_or(BuildError::TooLarge)?;
        put(&mut wrapper, 0, &base_offset.saturating_add(last_delta).to_be_bytes());
        Ok(wrapper)
    }

    /// One message at offset 0; `None` when a length does not fit its field.
    fn message(
        &self,
        codec: u8,
        append_time: Option<i64>,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Option<Vec<u8>> {
        let mut out = Writer::new();
        out.bytes(&[0; MAGIC_AT]);
        match self.options.magic {
            LegacyMagic::V0 => {
                out.u8(0);
                out.u8(codec);
            }
            LegacyMagic::V1 => {
                out.u8(1);
                out.u8(codec | if append_time.is_some() { LOG_APPEND_TIME } else { 0 });
                out.i64_be(append_time.unwrap_or(timestamp));
            }
        }
        for bytes in [key, value] {
            match bytes {
                None => out.i32_be(-1),
                Some(bytes) => {
                    out.i32_be(i32::try_from(bytes.len()).ok()?);
                    out.bytes(bytes);
                }
            }
        }
        let mut message = out.into_vec();
        let size = i32::try_from(message.len().checked_sub(CRC_AT)?).ok()?;
        let crc = crc32(message.get(MAGIC_AT..)?);
        put(&mut message, 8, &size.to_be_bytes());
        put(&mut message, CRC_AT, &crc.to_be_bytes());
        Some(message)
    }
}
