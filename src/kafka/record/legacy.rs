//! Messages and message sets, magic 0 (before 0.10) and magic 1 (0.10, KIP-31 and KIP-32).
//!
//! A message, big-endian: `offset i64 | size i32 | crc u32 | magic i8 | attributes i8 | timestamp i64 (magic 1 only) | key |
//! value`, key and value as a length of 32 bits (-1 for null) and bytes. The CRC-32 covers everything from the magic on. A
//! compressed message is a wrapper: its value is a message set, its offset that of the *last* message inside. Offsets inside
//! are absolute in magic 0 and relative in magic 1.

use bytes::Bytes;

use super::batch::{Head, check};
use super::codec::{Codec, TimestampType};
use super::compress::Decompressor;
use super::set::LOG_OVERHEAD_BYTES;
use super::view::{Layout, Records};
use crate::limits;
use crate::wire::{DecodeError, DecodeFault, Reader, crc32};

/// Least value of a message's size field: checksum, magic, attributes and two lengths.
pub(super) const MESSAGE_BYTES_MIN: usize = 14;

const ATTRIBUTES_AT: usize = 17;
const CODEC_MASK: u8 = 0x07;
pub(super) const LOG_APPEND_TIME: u8 = 0x08;

const _: () = assert!(limits::MESSAGE_SET_DEPTH_MAX == 1, "a wrapper inside a wrapper is refused below");

/// One message, its content still in place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    pub(super) offset: i64,
    pub(super) magic: u8,
    pub(super) attributes: u8,
    /// ms since 1970; -1 for none and in magic 0.
    pub(super) timestamp: i64,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
}

impl Message<'_> {
    pub(super) const fn timestamp_type(&self) -> TimestampType {
        timestamp_type(self.magic, self.attributes)
    }
}

/// Reads the message at the front of `reader`, all of it; the checksum only if asked.
///
/// # Errors
/// [`DecodeFault::Truncated`], [`DecodeFault::BadLength`], [`DecodeFault::TrailingBytes`], [`DecodeFault::BadValue`] for a
/// magic other than 0 and 1, [`DecodeFault::Checksum`].
pub(super) fn read_message<'a>(reader: &mut Reader<'a>, verify: bool) -> Result<Message<'a>, DecodeError> {
    let start = reader.position();
    let offset = reader.i64_be("offset")?;
    let size = reader.i32_be("message_size")?;
    let len = usize::try_from(size)
        .ok()
        .filter(|len| *len >= MESSAGE_BYTES_MIN)
        .ok_or_else(|| reader.error(DecodeFault::BadLength(size.into()), "message_size"))?;
    let content_at = start.saturating_add(LOG_OVERHEAD_BYTES);
    let content = reader.bytes(len, "message")?;
    read_content(offset, content, verify)
        .map_err(|error| DecodeError { at: content_at.saturating_add(error.at), ..error })
}

fn read_content(offset: i64, content: &[u8], verify: bool) -> Result<Message<'_>, DecodeError> {
    let mut reader = Reader::new(content);
    let stored = reader.u32_be("crc")?;
    if verify {
        check(stored, crc32(reader.rest()), 0)?;
    }
    let magic = reader.u8("magic")?;
    if magic > 1 {
        return Err(reader.error(DecodeFault::BadValue(magic.into()), "magic"));
    }
    let attributes = reader.u8("attributes")?;
    let timestamp = if magic == 0 { -1 } else { reader.i64_be("timestamp")? };
    let key = nullable(&mut reader, "key")?;
    let value = nullable(&mut reader, "value")?;
    reader.finish("message")?;
    Ok(Message { offset, magic, attributes, timestamp, key, value })
}

fn nullable<'a>(reader: &mut Reader<'a>, field: &'static str) -> Result<Option<&'a [u8]>, DecodeError> {
    let len = reader.i32_be(field)?;
    match usize::try_from(len) {
        Ok(len) => reader.bytes(len, field).map(Some),
        Err(_) if len == -1 => Ok(None),
        Err(_) => Err(reader.error(DecodeFault::BadLength(len.into()), field)),
    }
}

const fn timestamp_type(magic: u8, attributes: u8) -> TimestampType {
    match magic {
        0 => TimestampType::NoTimestamp,
        _ if attributes & LOG_APPEND_TIME == 0 => TimestampType::CreateTime,
        _ => TimestampType::LogAppendTime,
    }
}

/// Reads what a message's header says about it as an entry of the log.
pub(super) fn parse_head(entry: &[u8]) -> Result<Head, DecodeError> {
    let mut reader = Reader::new(entry);
    let offset = reader.i64_be("offset")?;
    let next_offset = offset
        .checked_add(1)
        .filter(|_| offset >= 0)
        .ok_or_else(|| DecodeError::new(DecodeFault::BadValue(offset), "offset", 0))?;
    reader.skip(8, "message_size")?;
    let magic = reader.u8("magic")?;
    let attributes = reader.u8("attributes")?;
    let timestamp = if magic == 0 { -1 } else { reader.i64_be("timestamp")? };
    let id = attributes & CODEC_MASK;
    // zstd came with KIP-110, after record batches: no broker and no client has put it into a message.
    let codec = Codec::from_id(id)
        .filter(|codec| *codec != Codec::Zstd)
        .ok_or_else(|| DecodeError::new(DecodeFault::BadValue(id.into()), "attributes", ATTRIBUTES_AT))?;
    Ok(Head {
        magic,
        codec,
        timestamp_type: timestamp_type(magic, attributes),
        // Magic 0 and 1 know neither transactions nor markers, whatever those bits hold.
        attributes: 0,
        base_offset: offset,
        last_offset: offset,
        next_offset,
        leader_epoch: -1,
        base_timestamp: timestamp,
        max_timestamp: timestamp,
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        record_count: (codec == Codec::None).then_some(1),
    })
}

/// Compares the CRC-32 of the message that `entry` is.
pub(super) fn verify_crc(entry: &[u8]) -> Result<(), DecodeError> {
    let mut reader = Reader::new(entry);
    reader.skip(LOG_OVERHEAD_BYTES, "message header")?;
    let at = reader.position();
    let stored = reader.u32_be("crc")?;
    check(stored, crc32(reader.rest()), at)
}

/// The records of a message: itself, or what its compressed value holds. The entry's own checksum has been compared.
pub(super) fn decode(entry: &Bytes, head: &Head, decompressor: &mut Decompressor) -> Result<Records, DecodeError> {
    let mut reader = Reader::new(entry);
    let wrapper = read_message(&mut reader, false)?;
    reader.finish("message")?;
    if head.codec == Codec::None {
        let layout = Layout::Messages { base_offset: 0, append_time: None };
        return Ok(Records::new(entry.clone(), layout, 1, head.last_offset));
    }
    let compressed = wrapper.value.ok_or_else(|| DecodeError::new(DecodeFault::UnexpectedNull, "value", 0))?;
    let inner = decompressor.decompress(head.codec, compressed, false)?;
    let content = survey(&inner)?;
    // A produce request of some librdkafka versions has 0 as the wrapper's offset: it then says nothing.
    let unset = wrapper.offset == 0;
    let base_offset = if wrapper.magic == 0 || unset { 0 } else { relative_base(wrapper.offset, content.last_offset)? };
    let last_offset = if unset { i64::MAX } else { wrapper.offset };
    let append_time = (wrapper.timestamp_type() == TimestampType::LogAppendTime).then_some(wrapper.timestamp);
    Ok(Records::new(inner, Layout::Messages { base_offset, append_time }, content.count, last_offset))
}

/// What relative offsets are counted from, given that the last one stands for the wrapper's.
fn relative_base(wrapper_offset: i64, last_relative: i64) -> Result<i64, DecodeError> {
    wrapper_offset
        .checked_sub(last_relative)
        .filter(|base| *base >= 0 && last_relative >= 0)
        .ok_or_else(|| DecodeError::new(DecodeFault::BadValue(last_relative), "offset", 0))
}

struct Content {
    count: u32,
    last_offset: i64,
}

/// Walks a decompressed message set once: whole messages, checksums, no wrapper in a wrapper, and at least one message.
fn survey(inner: &[u8]) -> Result<Content, DecodeError> {
    let mut reader = Reader::new(inner);
    let mut content = Content { count: 0, last_offset: -1 };
    while !reader.is_empty() {
        let at = reader.position();
        let message = read_message(&mut reader, true)?;
        if message.attributes & CODEC_MASK != 0 {
            let fault = DecodeFault::TooLarge {
                size: limits::MESSAGE_SET_DEPTH_MAX.saturating_add(1),
                max: limits::MESSAGE_SET_DEPTH_MAX,
            };
            return Err(DecodeError::new(fault, "message set depth", at));
        }
        content.count = content.count.saturating_add(1);
        content.last_offset = message.offset;
    }
    if content.count == 0 {
        return Err(reader.error(DecodeFault::Truncated { wanted: MESSAGE_BYTES_MIN, left: 0 }, "message"));
    }
    Ok(content)
}
