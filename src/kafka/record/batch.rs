//! One entry of the log: the header of a record batch (magic 2) or of a message (magic 0 and 1), and the way to its records.

use bytes::Bytes;

use super::codec::{Codec, TimestampType};
use super::compress::Decompressor;
use super::legacy;
use super::set::LOG_OVERHEAD_BYTES;
use super::view::{Layout, Records};
use crate::limits;
use crate::wire::{DecodeError, DecodeFault, Reader, crc32c};

// The header of a record batch (KIP-98), 61 bytes, big-endian:
//
//   0 base_offset i64 |  8 batch_length i32, counted from 12 | 12 partition_leader_epoch i32 | 16 magic i8 | 17 crc u32
//  21 attributes i16  | 23 last_offset_delta i32 | 27 base_timestamp i64 | 35 max_timestamp i64
//  43 producer_id i64 | 51 producer_epoch i16 | 53 base_sequence i32 | 57 records_count i32 | 61 records
//
// The checksum covers everything from the attributes on, so a broker sets offset and epoch without touching it.
pub(super) const HEADER_BYTES: usize = 61;
pub(super) const MAGIC_AT: usize = 16;
pub(super) const CRC_AT: usize = 17;
pub(super) const ATTRIBUTES_AT: usize = 21;
pub(super) const MAX_TIMESTAMP_AT: usize = 35;

pub(super) const CODEC_MASK: i16 = 0x07;
pub(super) const LOG_APPEND_TIME: i16 = 0x08;
pub(super) const TRANSACTIONAL: i16 = 0x10;
pub(super) const CONTROL: i16 = 0x20;
pub(super) const DELETE_HORIZON: i16 = 0x40;

/// Shortest record of a batch: seven fields of a byte each.
const RECORD_BYTES_MIN: usize = 7;

/// One entry of a [`RecordSet`](super::RecordSet), known by its header; the records are still encoded.
///
/// Owns a slice of the answer it came in. Header values have been checked for sense (offsets not negative, a known codec),
/// the checksum has not been computed yet.
#[derive(Clone, Debug)]
pub struct Batch {
    bytes: Bytes,
    head: Head,
}

/// The header's fields; a message has few of them, the others hold their "none" value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) magic: u8,
    pub(super) codec: Codec,
    pub(super) timestamp_type: TimestampType,
    pub(super) attributes: i16,
    pub(super) base_offset: i64,
    pub(super) last_offset: i64,
    pub(super) next_offset: i64,
    pub(super) leader_epoch: i32,
    pub(super) base_timestamp: i64,
    pub(super) max_timestamp: i64,
    pub(super) producer_id: i64,
    pub(super) producer_epoch: i16,
    pub(super) base_sequence: i32,
    pub(super) record_count: Option<u32>,
}

/// What the marker in a control batch says (KIP-98).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlType {
    /// The producer's transaction was aborted: its records up to here do not count.
    Abort,
    /// The producer's transaction was committed.
    Commit,
    /// Another marker, by its number; to be stepped over.
    Unknown(i16),
}

impl ControlType {
    /// The marker of number `id`.
    pub const fn from_id(id: i16) -> Self {
        match id {
            0 => Self::Abort,
            1 => Self::Commit,
            other => Self::Unknown(other),
        }
    }

    /// Kafka's number of this marker.
    pub const fn id(self) -> i16 {
        match self {
            Self::Abort => 0,
            Self::Commit => 1,
            Self::Unknown(other) => other,
        }
    }
}

impl Batch {
    /// Reads the header of the entry that `entry` holds from its first to its last byte.
    pub(super) fn parse(entry: Bytes) -> Result<Self, DecodeError> {
        let head = match entry.get(MAGIC_AT) {
            Some(0 | 1) => legacy::parse_head(&entry)?,
            Some(2) => parse_head(&entry)?,
            Some(&other) => {
                return Err(DecodeError::new(DecodeFault::BadValue(other.cast_signed().into()), "magic", MAGIC_AT));
            }
            None => {
                let fault = DecodeFault::Truncated { wanted: MAGIC_AT.saturating_add(1), left: entry.len() };
                return Err(DecodeError::new(fault, "magic", 0));
            }
        };
        Ok(Self { bytes: entry, head })
    }

    /// The format: 2 for a record batch, 0 or 1 for a message.
    pub const fn magic(&self) -> u8 {
        self.head.magic
    }

    /// Offset of the first record, or of what was the first before compaction.
    ///
    /// The header of a compressed message (a wrapper) has only its last offset; this is that offset then.
    pub const fn base_offset(&self) -> i64 {
        self.head.base_offset
    }

    /// Offset of the last record, or of what was the last before compaction.
    pub const fn last_offset(&self) -> i64 {
        self.head.last_offset
    }

    /// Where reading goes on after this entry: the last offset plus one, whatever records are left in it.
    pub const fn next_offset(&self) -> i64 {
        self.head.next_offset
    }

    /// Records as announced by the header: 1 for a plain message, `None` for a compressed one, which does not say.
    ///
    /// It is the peer's word until the records have been walked.
    pub const fn record_count(&self) -> Option<u32> {
        self.head.record_count
    }

    /// Epoch of the leader that wrote the batch; `None` for messages and where the broker left -1.
    pub const fn leader_epoch(&self) -> Option<i32> {
        if self.head.leader_epoch < 0 { None } else { Some(self.head.leader_epoch) }
    }

    /// How the records are compressed.
    pub const fn codec(&self) -> Codec {
        self.head.codec
    }

    /// What the timestamps mean.
    pub const fn timestamp_type(&self) -> TimestampType {
        self.head.timestamp_type
    }

    /// The largest timestamp, in ms since 1970; under [`TimestampType::LogAppendTime`] that of every record. -1 for none.
    pub const fn max_timestamp(&self) -> i64 {
        self.head.max_timestamp
    }

    /// What the records' timestamps are counted from, in ms since 1970: the first record's timestamp, -1 for none.
    ///
    /// When [`Batch::delete_horizon`] is given, it is that horizon instead; records are counted from it all the same.
    pub const fn base_timestamp(&self) -> i64 {
        self.head.base_timestamp
    }

    /// When compaction may drop the batch's tombstones and markers, in ms since 1970 (KIP-534, attribute bit 6).
    pub const fn delete_horizon(&self) -> Option<i64> {
        if self.head.attributes & DELETE_HORIZON == 0 { None } else { Some(self.head.base_timestamp) }
    }

    /// Id of an idempotent or transactional producer, -1 for none.
    pub const fn producer_id(&self) -> i64 {
        self.head.producer_id
    }

    /// Epoch of that producer, -1 for none.
    pub const fn producer_epoch(&self) -> i16 {
        self.head.producer_epoch
    }

    /// That producer's sequence number of the first record, -1 for none.
    pub const fn base_sequence(&self) -> i32 {
        self.head.base_sequence
    }

    /// Whether the records belong to a transaction.
    pub const fn is_transactional(&self) -> bool {
        self.head.attributes & TRANSACTIONAL != 0
    }

    /// Whether the batch holds markers instead of records; such a batch is never handed to users.
    pub const fn is_control(&self) -> bool {
        self.head.attributes & CONTROL != 0
    }

    /// Bytes of the entry as it came, header included.
    pub const fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The entry as it came, header included.
    pub const fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Compares the checksum: CRC-32C for record batches, CRC-32 for messages.
    ///
    /// # Errors
    /// [`DecodeFault::Checksum`].
    pub fn verify_crc(&self) -> Result<(), DecodeError> {
        match self.head.magic {
            0 | 1 => legacy::verify_crc(&self.bytes),
            _ => {
                let mut reader = Reader::new(&self.bytes);
                reader.skip(CRC_AT, "batch header")?;
                let stored = reader.u32_be("crc")?;
                let computed = crc32c(reader.rest());
                check(stored, computed, CRC_AT)
            }
        }
    }

    /// Checks the checksum, decompresses, and gives the records.
    ///
    /// Uncompressed records stay where they are: the result shares this batch's buffer. Decompressed ones are in a buffer
    /// that goes back to `decompressor` when the result and all its clones are gone.
    ///
    /// # Errors
    /// [`DecodeFault::Checksum`]; [`DecodeFault::CodecMissing`] in a build without the codec; [`DecodeFault::Corrupt`] and
    /// [`DecodeFault::TooLarge`] from decompressing; [`DecodeFault::BadLength`] for a count that cannot fit. Of messages inside
    /// a compressed message, everything but the fields of each record is checked here too.
    pub fn decode(&self, decompressor: &mut Decompressor) -> Result<Records, DecodeError> {
        self.verify_crc()?;
        if self.head.magic < 2 {
            return legacy::decode(&self.bytes, &self.head, decompressor);
        }
        let payload = self.bytes.slice(HEADER_BYTES.min(self.bytes.len())..);
        let count = self.head.record_count.unwrap_or(0);
        // An emptied batch keeps its codec bits but has nothing to decompress.
        let records = if self.head.codec == Codec::None || (payload.is_empty() && count == 0) {
            payload
        } else {
            decompressor.decompress(self.head.codec, &payload, true)?
        };
        Reader::new(&records).checked_count(count.into(), RECORD_BYTES_MIN, "records_count")?;
        let append_time = (self.head.timestamp_type == TimestampType::LogAppendTime).then_some(self.head.max_timestamp);
        let layout =
            Layout::Batch { base_offset: self.head.base_offset, base_timestamp: self.head.base_timestamp, append_time };
        Ok(Records::new(records, layout, count, self.head.last_offset))
    }

    /// What the marker of a control batch says; `None` for a batch of records, and for a control batch that compaction has
    /// emptied. The type is in bytes 2 and 3 of the first record's key, after a version.
    ///
    /// # Errors
    /// As [`Batch::decode`], and [`DecodeFault::UnexpectedNull`], [`DecodeFault::Truncated`] or [`DecodeFault::BadValue`] for
    /// a key that is no marker's.
    pub fn control_type(&self) -> Result<Option<ControlType>, DecodeError> {
        if !self.is_control() {
            return Ok(None);
        }
        // Brokers write markers uncompressed, so this decompressor rarely comes to hold anything.
        let mut decompressor = Decompressor::new(limits::CONTROL_BATCH_BYTES_MAX);
        let records = self.decode(&mut decompressor)?;
        let Some(first) = records.iter().next().transpose()? else {
            return Ok(None);
        };
        let key =
            first.key.ok_or_else(|| DecodeError::new(DecodeFault::UnexpectedNull, "control key", HEADER_BYTES))?;
        let mut reader = Reader::new(key);
        let version = reader.i16_be("control key version")?;
        if version < 0 {
            return Err(reader.error(DecodeFault::BadValue(version.into()), "control key version"));
        }
        reader.i16_be("control type").map(|id| Some(ControlType::from_id(id)))
    }
}

/// Reads and checks the header of a record batch.
fn parse_head(entry: &[u8]) -> Result<Head, DecodeError> {
    let mut reader = Reader::new(entry);
    let base_offset = reader.i64_be("base_offset")?;
    if base_offset < 0 {
        return Err(DecodeError::new(DecodeFault::BadValue(base_offset), "base_offset", 0));
    }
    reader.skip(4, "batch_length")?;
    let leader_epoch = reader.i32_be("partition_leader_epoch")?;
    let magic = reader.u8("magic")?;
    reader.skip(4, "crc")?;
    let attributes = reader.i16_be("attributes")?;
    let [_, id] = (attributes & CODEC_MASK).to_be_bytes();
    let codec = Codec::from_id(id)
        .ok_or_else(|| DecodeError::new(DecodeFault::BadValue(id.into()), "attributes", ATTRIBUTES_AT))?;
    let delta = reader.i32_be("last_offset_delta")?;
    let last_offset = base_offset.checked_add(delta.into()).filter(|_| delta >= 0);
    let next_offset = last_offset.and_then(|last| last.checked_add(1));
    let (Some(last_offset), Some(next_offset)) = (last_offset, next_offset) else {
        return Err(reader.error(DecodeFault::BadValue(delta.into()), "last_offset_delta"));
    };
    let base_timestamp = reader.i64_be("base_timestamp")?;
    let max_timestamp = reader.i64_be("max_timestamp")?;
    let producer_id = reader.i64_be("producer_id")?;
    let producer_epoch = reader.i16_be("producer_epoch")?;
    let base_sequence = reader.i32_be("base_sequence")?;
    let count = reader.i32_be("records_count")?;
    let record_count =
        u32::try_from(count).map_err(|_| reader.error(DecodeFault::BadLength(count.into()), "records_count"))?;
    let timestamp_type =
        if attributes & LOG_APPEND_TIME == 0 { TimestampType::CreateTime } else { TimestampType::LogAppendTime };
    Ok(Head {
        magic,
        codec,
        timestamp_type,
        attributes,
        base_offset,
        last_offset,
        next_offset,
        leader_epoch,
        base_timestamp,
        max_timestamp,
        producer_id,
        producer_epoch,
        base_sequence,
        record_count: Some(record_count),
    })
}

/// Compares a stored checksum with a computed one.
pub(super) const fn check(stored: u32, computed: u32, at: usize) -> Result<(), DecodeError> {
    if stored == computed {
        Ok(())
    } else {
        Err(DecodeError::new(DecodeFault::Checksum { stored, computed }, "crc", at))
    }
}

const _: () = assert!(LOG_OVERHEAD_BYTES < MAGIC_AT);
