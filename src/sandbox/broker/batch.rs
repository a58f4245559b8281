//! The header of a record batch as a producer sends it: read, checked, and completed by the broker.
//!
//! Own code and not the client's record reader: what a broker stamps into a batch must be right by Kafka's definition,
//! not merely agree with our reader.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic)]

use crate::wire::{DecodeError, DecodeFault, Reader, crc32c};

/// Bytes of the header of a batch v2, which the records follow (Kafka documentation, "Record Batch").
pub(super) const HEADER_BYTES: usize = 61;
/// Bytes in front of the part that the batch's length counts: base offset and length.
pub(super) const PREFIX_BYTES: usize = 12;

const MAGIC_AT: usize = 16;
const CRC_AT: usize = 17;
const ATTRIBUTES_AT: usize = 21;
const MAX_TIMESTAMP_AT: usize = 35;

const CODEC_MASK: i16 = 0x07;
const APPEND_TIME_BIT: i16 = 0x08;
const TRANSACTIONAL_BIT: i16 = 0x10;
const CONTROL_BIT: i16 = 0x20;

/// zstd's number in the attributes.
const ZSTD: i16 = 4;
/// The highest codec number there is.
const CODEC_MAX: i16 = ZSTD;

/// What the header of one batch v2 says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) base_offset: i64,
    /// Bytes of the whole batch, the twelve in front of its length's count included.
    pub(super) size_bytes: usize,
    crc: u32,
    pub(super) attributes: i16,
    pub(super) last_offset_delta: i32,
    pub(super) base_timestamp: i64,
    pub(super) max_timestamp: i64,
    pub(super) producer_id: i64,
    pub(super) producer_epoch: i16,
    pub(super) base_sequence: i32,
    pub(super) records_count: i32,
}

/// Why bytes are not one good batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadBatch {
    /// Damaged, cut off, or not what its checksum says.
    Corrupt(DecodeError),
    /// A message set of magic 0 or 1.
    OldFormat(i8),
    /// Whole, and against the rules of producing.
    Invalid(&'static str),
}

impl From<DecodeError> for BadBatch {
    fn from(error: DecodeError) -> Self {
        Self::Corrupt(error)
    }
}

impl Header {
    /// Reads the header in front of `bytes`, which may go on after the batch.
    ///
    /// # Errors
    /// [`BadBatch::Corrupt`] for fewer bytes than the header says, [`BadBatch::OldFormat`] for magic 0 and 1.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, BadBatch> {
        let mut reader = Reader::new(bytes);
        let base_offset = reader.i64_be("base_offset")?;
        let length = reader.i32_be("batch_length")?;
        let length = reader.checked_count(length.into(), 1, "batch_length")?;
        reader.skip(4, "partition_leader_epoch")?;
        let magic = reader.i8("magic")?;
        match magic {
            2 => {}
            0 | 1 => return Err(BadBatch::OldFormat(magic)),
            other => return Err(reader.error(DecodeFault::BadValue(other.into()), "magic").into()),
        }
        let header = Self {
            base_offset,
            size_bytes: length.saturating_add(PREFIX_BYTES),
            crc: reader.u32_be("crc")?,
            attributes: reader.i16_be("attributes")?,
            last_offset_delta: reader.i32_be("last_offset_delta")?,
            base_timestamp: reader.i64_be("base_timestamp")?,
            max_timestamp: reader.i64_be("max_timestamp")?,
            producer_id: reader.i64_be("producer_id")?,
            producer_epoch: reader.i16_be("producer_epoch")?,
            base_sequence: reader.i32_be("base_sequence")?,
            records_count: reader.i32_be("records_count")?,
        };
        if header.size_bytes < HEADER_BYTES {
            return Err(reader.error(DecodeFault::BadLength(header.size_bytes as i64), "batch_length").into());
        }
        Ok(header)
    }

    /// Compares the checksum with the bytes of the batch.
    ///
    /// # Errors
    /// [`BadBatch::Corrupt`].
    pub(super) fn verify(&self, bytes: &[u8]) -> Result<(), BadBatch> {
        let covered = bytes.get(ATTRIBUTES_AT..self.size_bytes).unwrap_or_default();
        let computed = crc32c(covered);
        if computed == self.crc {
            return Ok(());
        }
        let fault = DecodeFault::Checksum { stored: self.crc, computed };
        Err(DecodeError::new(fault, "crc", CRC_AT).into())
    }

    /// Checks what Kafka checks of a batch from a producer (`LogValidator` of Apache Kafka).
    ///
    /// # Errors
    /// [`BadBatch::Invalid`].
    pub(super) fn check_produced(&self) -> Result<(), BadBatch> {
        if self.is_control() {
            return Err(BadBatch::Invalid("control batches come from brokers only"));
        }
        if self.is_append_time() {
            return Err(BadBatch::Invalid("only brokers set the append time"));
        }
        if self.records_count < 1 {
            return Err(BadBatch::Invalid("a batch without records"));
        }
        if self.last_offset_delta.checked_add(1) != Some(self.records_count) {
            return Err(BadBatch::Invalid("last offset and record count do not agree"));
        }
        if self.codec() > CODEC_MAX {
            return Err(BadBatch::Invalid("unknown compression"));
        }
        if self.has_producer() && (self.base_sequence < 0 || self.producer_epoch < 0) {
            return Err(BadBatch::Invalid("a producer id without sequence or epoch"));
        }
        Ok(())
    }

    /// The number of the compression codec; 0 is none.
    pub(super) const fn codec(&self) -> i16 {
        self.attributes & CODEC_MASK
    }

    /// Whether the batch is compressed with zstd, which old versions of Produce and Fetch cannot carry (KIP-110).
    pub(super) const fn is_zstd(&self) -> bool {
        self.codec() == ZSTD
    }

    /// Whether `max_timestamp` stands for every record's time.
    pub(super) const fn is_append_time(&self) -> bool {
        self.attributes & APPEND_TIME_BIT != 0
    }

    pub(super) const fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL_BIT != 0
    }

    pub(super) const fn is_control(&self) -> bool {
        self.attributes & CONTROL_BIT != 0
    }

    /// Whether an idempotent producer wrote it.
    pub(super) const fn has_producer(&self) -> bool {
        self.producer_id >= 0
    }
}

/// Writes the offset of the first record and the leader epoch; the checksum does not cover them.
pub(super) fn stamp_offset(batch: &mut [u8], base_offset: i64, leader_epoch: i32) {
    if let Some(slot) = batch.first_chunk_mut::<8>() {
        *slot = base_offset.to_be_bytes();
    }
    if let Some(slot) = batch.get_mut(PREFIX_BYTES..MAGIC_AT) {
        slot.copy_from_slice(&leader_epoch.to_be_bytes());
    }
}

/// Makes the batch say that all its records were appended at `now_ms`, and corrects its checksum.
pub(super) fn stamp_append_time(batch: &mut [u8], header: &Header, now_ms: i64) {
    let attributes = header.attributes | APPEND_TIME_BIT;
    if let Some(slot) = batch.get_mut(ATTRIBUTES_AT..).and_then(|rest| rest.first_chunk_mut::<2>()) {
        *slot = attributes.to_be_bytes();
    }
    if let Some(slot) = batch.get_mut(MAX_TIMESTAMP_AT..).and_then(|rest| rest.first_chunk_mut::<8>()) {
        *slot = now_ms.to_be_bytes();
    }
    let crc = crc32c(batch.get(ATTRIBUTES_AT..header.size_bytes).unwrap_or_default());
    if let Some(slot) = batch.get_mut(CRC_AT..).and_then(|rest| rest.first_chunk_mut::<4>()) {
        *slot = crc.to_be_bytes();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::super::log::tests::batch;
    use super::*;

    #[test]
    fn a_flipped_bit_anywhere_under_the_checksum_is_found() {
        let good = batch(&[(100, "a"), (101, "b")]);
        let header = Header::read(&good).unwrap();
        header.verify(&good).unwrap();
        header.check_produced().unwrap();
        for at in ATTRIBUTES_AT..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            let verdict = Header::read(&bad).and_then(|header| header.verify(&bad));
            assert!(matches!(verdict, Err(BadBatch::Corrupt(_))), "byte {at}");
        }
    }

    #[test]
    fn stamping_keeps_the_checksum_right() {
        let mut stamped = batch(&[(100, "a"), (101, "b")]);
        let header = Header::read(&stamped).unwrap();
        stamp_offset(&mut stamped, 77, 3);
        stamp_append_time(&mut stamped, &header, 5_000);
        let after = Header::read(&stamped).unwrap();
        after.verify(&stamped).unwrap();
        assert_eq!((after.base_offset, after.max_timestamp, after.is_append_time()), (77, 5_000, true));
        assert_eq!(stamped[12..16], 3_i32.to_be_bytes());
    }

    #[test]
    fn every_prefix_is_corrupt_and_never_a_panic() {
        let good = batch(&[(100, "a")]);
        for end in 0..good.len() {
            assert!(matches!(Header::read(&good[..end]), Err(BadBatch::Corrupt(_))), "{end}");
        }
    }
}
