//! Writes record batches, magic 2.

use std::fmt;

use super::batch::{
    ATTRIBUTES_AT, CODEC_MASK, CONTROL, CRC_AT, ControlType, DELETE_HORIZON, HEADER_BYTES, LOG_APPEND_TIME, MAGIC_AT,
    MAX_TIMESTAMP_AT, TRANSACTIONAL,
};
use super::codec::{Codec, SnappyForm};
use super::compress::{CompressOptions, compress};
use super::set::LOG_OVERHEAD_BYTES;
use super::view::Header;
use crate::wire::{DecodeError, DecodeFault, Reader, Writer, crc32c};

/// What a batch's header says beside its records. The default is a plain batch of a producer without an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchOptions {
    /// How to compress the records.
    pub codec: Codec,
    /// The form of Snappy, if that is the codec.
    pub snappy: SnappyForm,
    /// `Some` writes a batch of append-time, as a broker does: this time, in ms since 1970, counts for every record.
    pub append_time: Option<i64>,
    /// `Some` writes the header as compaction does for tombstones and markers (KIP-534), in ms since 1970.
    pub delete_horizon: Option<i64>,
    /// Epoch of the partition's leader, -1 for none; brokers set it.
    pub leader_epoch: i32,
    /// Id of an idempotent or transactional producer, -1 for none.
    pub producer_id: i64,
    /// That producer's epoch, -1 for none.
    pub producer_epoch: i16,
    /// Sequence number of the first record, -1 for none.
    pub base_sequence: i32,
    /// Whether the records belong to a transaction.
    pub transactional: bool,
    /// Whether the records are markers.
    pub control: bool,
}

impl Default for BatchOptions {
    fn default() -> Self {
        Self {
            codec: Codec::None,
            snappy: SnappyForm::default(),
            append_time: None,
            delete_horizon: None,
            leader_epoch: -1,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            transactional: false,
            control: false,
        }
    }
}

/// Why a batch cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildError {
    /// This build was made without the codec.
    CodecMissing(Codec),
    /// Beyond what the format's 32-bit fields hold: bytes of a batch or a record, or offsets of a batch.
    TooLarge,
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CodecMissing(codec) => write!(f, "this build cannot write {codec}"),
            Self::TooLarge => f.write_str("record batch beyond 2 GiB or 2^31 offsets"),
        }
    }
}

impl std::error::Error for BuildError {}

/// Collects records and writes them as one batch.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    options: BatchOptions,
    /// The header's bytes, written at the end, and the records after them.
    out: Writer,
    /// One record, before its length is known.
    record: Writer,
    count: i32,
    next_delta: i32,
    last_offset_delta: Option<i32>,
    base_timestamp: i64,
    max_timestamp: i64,
    too_large: bool,
}

impl BatchBuilder {
    /// An empty batch.
    pub fn new(options: BatchOptions) -> Self {
        let mut out = Writer::new();
        out.bytes(&[0; HEADER_BYTES]);
        Self {
            options,
            out,
            record: Writer::new(),
            count: 0,
            next_delta: 0,
            last_offset_delta: None,
            base_timestamp: options.delete_horizon.unwrap_or(-1),
            max_timestamp: -1,
            too_large: false,
        }
    }

    /// Adds a record at the next offset. `timestamp` is in ms since 1970, -1 for none. A null key or value is `None`.
    pub fn push(&mut self, timestamp: i64, key: Option<&[u8]>, value: Option<&[u8]>, headers: &[Header<'_>]) {
        self.push_at(self.next_delta, timestamp, key, value, headers);
    }

    /// Adds a record at `offset_delta` from the batch's base offset, as compaction leaves them. Deltas should increase.
    pub fn push_at(
        &mut self,
        offset_delta: i32,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) {
        if self.count == 0 && self.options.delete_horizon.is_none() {
            self.base_timestamp = timestamp;
        }
        self.max_timestamp = self.max_timestamp.max(timestamp);
        self.record.buffer_mut().clear();
        self.record.i8(0);
        self.record.varint64(timestamp.wrapping_sub(self.base_timestamp));
        self.record.varint32(offset_delta);
        let mut fits = put_nullable(&mut self.record, key) & put_nullable(&mut self.record, value);
        fits &= put_len(&mut self.record, headers.len());
        for header in headers {
            fits &= put_nullable(&mut self.record, Some(header.key));
            fits &= put_nullable(&mut self.record, header.value);
        }
        fits &= put_len(&mut self.out, self.record.len());
        self.out.bytes(self.record.as_slice());
        let (count, next) = (self.count.checked_add(1), offset_delta.checked_add(1));
        self.too_large |= !fits || offset_delta < 0 || count.is_none() || next.is_none();
        self.count = count.unwrap_or(self.count);
        self.next_delta = self.next_delta.max(next.unwrap_or(self.next_delta));
    }

    /// Makes the batch end at `delta` from its base offset whatever records are in it, as compaction leaves it.
    pub const fn set_last_offset_delta(&mut self, delta: i32) {
        self.last_offset_delta = Some(delta);
    }

    /// Records added.
    pub const fn record_count(&self) -> u32 {
        self.count.unsigned_abs()
    }

    /// Whether no record has been added.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of the batch so far, before compression.
    pub const fn size_bytes(&self) -> usize {
        self.out.len()
    }

    /// The batch, its first offset being `base_offset`. Producers write 0; the broker sets the real one.
    ///
    /// # Errors
    /// [`BuildError::CodecMissing`]; [`BuildError::TooLarge`].
    pub fn finish(self, base_offset: i64) -> Result<Vec<u8>, BuildError> {
        let mut batch = self.out.into_vec();
        let options = self.options;
        if options.codec != Codec::None {
            let form = CompressOptions { snappy: options.snappy, lz4_before_kip57: false };
            let records = batch.split_off(HEADER_BYTES);
            compress(options.codec, form, &records, &mut batch).ok_or(BuildError::CodecMissing(options.codec))?;
        }
        let length = i32::try_from(batch.len().saturating_sub(LOG_OVERHEAD_BYTES)).map_err(|_| BuildError::TooLarge)?;
        if self.too_large {
            return Err(BuildError::TooLarge);
        }
        let mut attributes = i16::from(options.codec.id()) & CODEC_MASK;
        for (set, bit) in [
            (options.append_time.is_some(), LOG_APPEND_TIME),
            (options.transactional, TRANSACTIONAL),
            (options.control, CONTROL),
            (options.delete_horizon.is_some(), DELETE_HORIZON),
        ] {
            attributes |= if set { bit } else { 0 };
        }
        let mut header = Writer::new();
        header.i64_be(base_offset);
        header.i32_be(length);
        header.i32_be(options.leader_epoch);
        header.u8(2);
        header.u32_be(0);
        header.i16_be(attributes);
        header.i32_be(self.last_offset_delta.unwrap_or_else(|| self.next_delta.saturating_sub(1).max(0)));
        header.i64_be(self.base_timestamp);
        header.i64_be(options.append_time.unwrap_or(self.max_timestamp));
        header.i64_be(options.producer_id);
        header.i16_be(options.producer_epoch);
        header.i32_be(options.base_sequence);
        header.i32_be(self.count);
        put(&mut batch, 0, header.as_slice());
        seal(&mut batch);
        Ok(batch)
    }
}

/// A control batch that ends a transaction: one marker, as a transaction coordinator has it written (KIP-98).
///
/// `coordinator_epoch` goes into the marker's value; `timestamp` is in ms since 1970.
///
/// # Errors
/// As [`BatchBuilder::finish`]; none with these contents.
pub fn end_marker(
    marker: ControlType,
    producer_id: i64,
    producer_epoch: i16,
    coordinator_epoch: i32,
    timestamp: i64,
    base_offset: i64,
) -> Result<Vec<u8>, BuildError> {
    let options =
        BatchOptions { producer_id, producer_epoch, transactional: true, control: true, ..BatchOptions::default() };
    let mut batch = BatchBuilder::new(options);
    let mut key = Writer::new();
    key.i16_be(0);
    key.i16_be(marker.id());
    let mut value = Writer::new();
    value.i16_be(0);
    value.i32_be(coordinator_epoch);
    batch.push(timestamp, Some(key.as_slice()), Some(value.as_slice()), &[]);
    batch.finish(base_offset)
}

/// Sets in a produced batch what a broker sets when it appends it: its offset, the leader's epoch and, on a topic of
/// append-time, the time for every record (in ms since 1970).
///
/// `batch` is one whole entry of magic 2 and stays as it is on an error. Its records are not read.
///
/// # Errors
/// [`DecodeFault::Truncated`] for fewer bytes than a header, [`DecodeFault::BadValue`] for another magic.
pub fn stamp_batch(
    batch: &mut [u8],
    base_offset: i64,
    leader_epoch: i32,
    append_time: Option<i64>,
) -> Result<(), DecodeError> {
    let mut reader = Reader::new(batch);
    reader.bytes(HEADER_BYTES, "batch header")?;
    let mut reader = Reader::new(batch);
    reader.skip(MAGIC_AT, "batch header")?;
    let magic = reader.u8("magic")?;
    if magic != 2 {
        return Err(DecodeError::new(DecodeFault::BadValue(magic.into()), "magic", MAGIC_AT));
    }
    reader.skip(4, "crc")?;
    let attributes = reader.i16_be("attributes")?;
    put(batch, 0, &base_offset.to_be_bytes());
    put(batch, LOG_OVERHEAD_BYTES, &leader_epoch.to_be_bytes());
    if let Some(time) = append_time {
        put(batch, ATTRIBUTES_AT, &(attributes | LOG_APPEND_TIME).to_be_bytes());
        put(batch, MAX_TIMESTAMP_AT, &time.to_be_bytes());
        seal(batch);
    }
    Ok(())
}

/// Sets in a produced batch who wrote it, and the sequence number of its first record (KIP-98). -1 is none of each.
///
/// `batch` is one whole entry of magic 2 and stays as it is on an error. Its records are not read.
///
/// # Errors
/// [`DecodeFault::Truncated`] for fewer bytes than a header.
pub fn stamp_producer(
    batch: &mut [u8],
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
) -> Result<(), DecodeError> {
    let mut reader = Reader::new(batch);
    reader.bytes(HEADER_BYTES, "batch header")?;
    put(batch, PRODUCER_ID_AT, &producer_id.to_be_bytes());
    put(batch, PRODUCER_ID_AT.saturating_add(8), &producer_epoch.to_be_bytes());
    put(batch, PRODUCER_ID_AT.saturating_add(10), &base_sequence.to_be_bytes());
    seal(batch);
    Ok(())
}

/// Where the producer's id stands; its epoch and the sequence number follow.
const PRODUCER_ID_AT: usize = 43;

/// Computes the checksum of a batch and stores it.
fn seal(batch: &mut [u8]) {
    let crc = crc32c(batch.get(ATTRIBUTES_AT..).unwrap_or_default());
    put(batch, CRC_AT, &crc.to_be_bytes());
}

/// Overwrites bytes at `at`; the header is known to be there.
pub(super) fn put(buffer: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(slot) = at.checked_add(bytes.len()).and_then(|end| buffer.get_mut(at..end)) {
        slot.copy_from_slice(bytes);
    }
}

/// Writes a length; whether it fits.
fn put_len(out: &mut Writer, len: usize) -> bool {
    let fitting = i32::try_from(len);
    out.varint32(fitting.unwrap_or(0));
    fitting.is_ok()
}

/// Writes a length, -1 for null, and the bytes; whether they fit.
fn put_nullable(out: &mut Writer, bytes: Option<&[u8]>) -> bool {
    let Some(bytes) = bytes else {
        out.varint32(-1);
        return true;
    };
    let fits = put_len(out, bytes.len());
    out.bytes(bytes);
    fits
}
