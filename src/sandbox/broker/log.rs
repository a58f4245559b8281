//! The log of one partition: offsets given out, batches found again by offset and by time.
//!
//! Keeps an index of all batches in memory and the bytes in a [`Store`]. Never reads the clock and never waits; who waits
//! for records to arrive is the Fetch handler.

use std::io;
use std::path::Path;

use bytes::Bytes;

use super::batch::{self, BadBatch, Header, PREFIX_BYTES};
use super::codes;
use super::producers::{Producers, Sequence};
use super::store::Store;
use crate::kafka::record::{Decompressor, RecordSet};
use crate::limits::DECOMPRESSED_BATCH_BYTES_MAX;
use crate::wire::DecodeError;

/// How a topic wants its batches appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AppendRules {
    /// Whether every record gets the time of its append (`message.timestamp.type=LogAppendTime`).
    pub(super) append_time: bool,
    /// Largest batch in bytes (`max.message.bytes`).
    pub(super) batch_bytes_max: usize,
    /// Written into each batch.
    pub(super) leader_epoch: i32,
    /// Whether a zstd batch may come in (Produce v7 on).
    pub(super) zstd: bool,
}

/// What became of a batch that was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Appended {
    /// Offset of its first record.
    pub(super) base_offset: i64,
    /// The time every record got, in milliseconds; -1 when they kept their own.
    pub(super) log_append_time: i64,
}

/// A refusal, as Kafka's error code and a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: i16,
    pub(super) why: String,
}

impl Refusal {
    pub(super) fn new(code: i16, why: impl Into<String>) -> Self {
        Self { code, why: why.into() }
    }
}

impl From<BadBatch> for Refusal {
    fn from(bad: BadBatch) -> Self {
        match bad {
            BadBatch::Corrupt(error) => Self::new(codes::CORRUPT_MESSAGE, error.to_string()),
            BadBatch::OldFormat(magic) => Self::new(
                codes::UNSUPPORTED_FOR_MESSAGE_FORMAT,
                format!("message format {magic} came with a request that carries record batches v2 only"),
            ),
            BadBatch::Invalid(why) => Self::new(codes::INVALID_RECORD, why),
        }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::new(codes::KAFKA_STORAGE_ERROR, error.to_string())
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    last_offset: i64,
    max_timestamp: i64,
    position: u64,
    size_bytes: usize,
}

/// One partition's records.
#[derive(Debug)]
pub(super) struct Log {
    entries: Vec<Entry>,
    store: Store,
    start_offset: i64,
    end_offset: i64,
    producers: Producers,
}

/// A record found by its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimedOffset {
    pub(super) offset: i64,
    pub(super) timestamp: i64,
}

impl Log {
    /// An empty log in memory.
    pub(super) fn in_memory() -> Self {
        Self::over(Store::memory())
    }

    /// The log in the file at `path`; a damaged or cut-off tail is cut away, as a broker does after a crash.
    ///
    /// # Errors
    /// Those of the file.
    pub(super) fn open(path: &Path, start_offset: i64) -> io::Result<Self> {
        let mut log = Self::over(Store::file(path)?);
        log.load()?;
        log.start_offset = start_offset.clamp(0, log.end_offset);
        Ok(log)
    }

    fn over(store: Store) -> Self {
        Self { entries: Vec::new(), store, start_offset: 0, end_offset: 0, producers: Producers::default() }
    }

    /// Appends one batch as a producer sent it.
    ///
    /// # Errors
    /// A [`Refusal`]: damaged or unwelcome bytes, a sequence number out of turn, a store that is full. Nothing is
    /// appended then.
    pub(super) fn append(&mut self, bytes: &[u8], rules: &AppendRules, now_ms: i64) -> Result<Appended, Refusal> {
        let header = Header::read(bytes)?;
        header.verify(bytes)?;
        header.check_produced()?;
        if bytes.len() != header.size_bytes {
            return Err(Refusal::new(codes::INVALID_RECORD, "a partition's records must be exactly one batch"));
        }
        if bytes.len() > rules.batch_bytes_max {
            let why = format!("a batch of {} bytes, {} allowed", bytes.len(), rules.batch_bytes_max);
            return Err(Refusal::new(codes::MESSAGE_TOO_LARGE, why));
        }
        if header.is_zstd() && !rules.zstd {
            return Err(Refusal::new(codes::UNSUPPORTED_COMPRESSION_TYPE, "zstd needs Produce version 7"));
        }
        if header.is_transactional() {
            return Err(Refusal::new(codes::INVALID_TXN_STATE, "this broker has no transactions"));
        }
        if let Sequence::Duplicate(base_offset) = self.producers.check(&header)? {
            return Ok(Appended { base_offset, log_append_time: -1 });
        }
        let base_offset = self.end_offset;
        let mut stamped = bytes.to_vec();
        batch::stamp_offset(&mut stamped, base_offset, rules.leader_epoch);
        let mut log_append_time = -1;
        if rules.append_time {
            batch::stamp_append_time(&mut stamped, &header, now_ms);
            log_append_time = now_ms;
        }
        let position = self.store.append(&stamped)?;
        let max_timestamp = if rules.append_time { now_ms } else { header.max_timestamp };
        self.index(base_offset, &header, max_timestamp, position);
        self.producers.record(&header, base_offset);
        Ok(Appended { base_offset, log_append_time })
    }

    fn index(&mut self, base_offset: i64, header: &Header, max_timestamp: i64, position: u64) {
        let last_offset = base_offset.saturating_add(header.last_offset_delta.into());
        self.entries.push(Entry { last_offset, max_timestamp, position, size_bytes: header.size_bytes });
        self.end_offset = last_offset.saturating_add(1);
    }

    /// Offset of the first record that is kept.
    pub(super) const fn start_offset(&self) -> i64 {
        self.start_offset
    }

    /// The offset the next record will get; also the high watermark and the last stable offset here.
    pub(super) const fn end_offset(&self) -> i64 {
        self.end_offset
    }

    /// Bytes a fetch from `offset` on could get; `None` when the offset is out of range.
    pub(super) fn bytes_after(&self, offset: i64) -> Option<u64> {
        if !(self.start_offset..=self.end_offset).contains(&offset) {
            return None;
        }
        let from = self.entries.get(self.entry_of(offset)).map_or_else(|| self.store.end(), |entry| entry.position);
        Some(self.store.end().saturating_sub(from))
    }

    /// The bytes from the batch that holds `offset` on, at most `bytes_max` of them; the last batch may be cut off, as
    /// brokers do. With `whole_first` the first batch comes whole whatever its size (KIP-74). `zstd` says whether the
    /// reader's version may see that codec.
    ///
    /// # Errors
    /// `OFFSET_OUT_OF_RANGE`, `UNSUPPORTED_COMPRESSION_TYPE`, `KAFKA_STORAGE_ERROR`.
    pub(super) fn read(&self, offset: i64, bytes_max: usize, whole_first: bool, zstd: bool) -> Result<Bytes, Refusal> {
        let Some(available) = self.bytes_after(offset) else {
            let why = format!("offset {offset}, the log has {} to {}", self.start_offset, self.end_offset);
            return Err(Refusal::new(codes::OFFSET_OUT_OF_RANGE, why));
        };
        let Some(first) = self.entries.get(self.entry_of(offset)) else { return Ok(Bytes::new()) };
        let bytes_min = if whole_first { first.size_bytes } else { 0 };
        let len = usize::try_from(available).unwrap_or(usize::MAX).min(bytes_max.max(bytes_min));
        let bytes = self.store.read(first.position, len)?;
        if !zstd && holds_zstd(&bytes) {
            return Err(Refusal::new(codes::UNSUPPORTED_COMPRESSION_TYPE, "zstd needs Fetch version 10"));
        }
        Ok(bytes)
    }

    /// The first record, in the order of offsets, with a timestamp of at least `time_ms`.
    ///
    /// # Errors
    /// A store that cannot be read, or a compressed batch whose inside is damaged.
    pub(super) fn offset_at(&self, time_ms: i64) -> Result<Option<TimedOffset>, Refusal> {
        let mut candidates = self
            .entries
            .iter()
            .filter(|entry| entry.max_timestamp >= time_ms && entry.last_offset >= self.start_offset);
        // The maximum says that some record qualifies, unless that record lies before the start of the log.
        candidates.find_map(|entry| self.scan(entry, |found| found.timestamp >= time_ms).transpose()).transpose()
    }

    /// The record with the greatest timestamp, the first of them if several share it; `None` in an empty log.
    ///
    /// # Errors
    /// As [`Log::offset_at`].
    pub(super) fn offset_of_max_time(&self) -> Result<Option<TimedOffset>, Refusal> {
        let kept = self.entries.iter().filter(|entry| entry.last_offset >= self.start_offset);
        match kept.map(|entry| entry.max_timestamp).max() {
            Some(time_ms) => self.offset_at(time_ms),
            None => Ok(None),
        }
    }

    /// The first record of one batch, at or after the start of the log, that `wanted` takes.
    fn scan(&self, entry: &Entry, wanted: impl Fn(TimedOffset) -> bool) -> Result<Option<TimedOffset>, Refusal> {
        let damaged = |error: DecodeError| Refusal::new(codes::CORRUPT_MESSAGE, error.to_string());
        let bytes = self.store.read(entry.position, entry.size_bytes)?;
        let mut decompressor = Decompressor::new(DECOMPRESSED_BATCH_BYTES_MAX);
        for batch in RecordSet::new(bytes).batches() {
            let records = batch.map_err(damaged)?.decode(&mut decompressor).map_err(damaged)?;
            for record in records.iter() {
                let record = record.map_err(damaged)?;
                let found = TimedOffset { offset: record.offset, timestamp: record.timestamp };
                if found.offset >= self.start_offset && wanted(found) {
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }

    /// Deletes the records before `offset`; -1 stands for the end. Gives the new start of the log.
    ///
    /// # Errors
    /// `OFFSET_OUT_OF_RANGE` beyond the end.
    pub(super) fn delete_before(&mut self, offset: i64) -> Result<i64, Refusal> {
        let offset = if offset == -1 { self.end_offset } else { offset };
        if offset < 0 || offset > self.end_offset {
            let why = format!("offset {offset}, the log ends at {}", self.end_offset);
            return Err(Refusal::new(codes::OFFSET_OUT_OF_RANGE, why));
        }
        self.start_offset = self.start_offset.max(offset);
        let gone = self.entries.partition_point(|entry| entry.last_offset < self.start_offset);
        self.entries.drain(..gone);
        let kept_from = self.entries.first().map_or_else(|| self.store.end(), |entry| entry.position);
        self.store.forget_before(kept_from);
        Ok(self.start_offset)
    }

    /// Bytes of records held in memory.
    pub(super) fn memory_bytes(&self) -> u64 {
        self.store.memory_bytes()
    }

    /// Index of the batch that holds `offset`, or the first one after it.
    fn entry_of(&self, offset: i64) -> usize {
        self.entries.partition_point(|entry| entry.last_offset < offset)
    }

    fn load(&mut self) -> io::Result<()> {
        let mut position = 0;
        while let Some(header) = self.load_batch(position)? {
            self.index(header.base_offset, &header, header.max_timestamp, position);
            self.producers.record(&header, header.base_offset);
            position += header.size_bytes as u64;
        }
        self.store.truncate(position)
    }

    /// The header of the batch at `position`; `None` at the end and where the file does not go on well.
    fn load_batch(&self, position: u64) -> io::Result<Option<Header>> {
        let left = self.store.end().saturating_sub(position);
        if left < PREFIX_BYTES as u64 {
            return Ok(None);
        }
        let prefix = self.store.read(position, PREFIX_BYTES)?;
        let length = prefix.last_chunk::<4>().map_or(0, |length| u32::from_be_bytes(*length));
        let size = u64::from(length) + PREFIX_BYTES as u64;
        if size > left {
            return Ok(None);
        }
        let bytes = self.store.read(position, usize::try_from(size).unwrap_or(usize::MAX))?;
        let Ok(header) = Header::read(&bytes) else { return Ok(None) };
        let good = header.verify(&bytes).is_ok() && header.base_offset >= self.end_offset;
        Ok(good.then_some(header))
    }
}

/// Whether a whole or cut-off batch in `bytes` is compressed with zstd, as far as their headers are there.
fn holds_zstd(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    // Ends because every header read is at least as long as its own bytes.
    while let Ok(header) = Header::read(rest) {
        if header.is_zstd() {
            return true;
        }
        rest = rest.get(header.size_bytes..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;
    use crate::wire::{Writer, crc32c};

    const RULES: AppendRules =
        AppendRules { append_time: false, batch_bytes_max: 1_000_000, leader_epoch: 0, zstd: true };

    /// An uncompressed batch v2 of (timestamp, value) records with null keys, as a producer without idempotence sends it.
    pub(in super::super) fn batch(records: &[(i64, &str)]) -> Vec<u8> {
        let base_timestamp = records.first().map_or(-1, |record| record.0);
        let mut body = Writer::new();
        body.i16_be(0);
        body.i32_be(records.len() as i32 - 1);
        body.i64_be(base_timestamp);
        body.i64_be(records.iter().map(|record| record.0).max().unwrap_or(-1));
        body.i64_be(-1);
        body.i16_be(-1);
        body.i32_be(-1);
        body.i32_be(records.len() as i32);
        for (delta, (timestamp, value)) in records.iter().enumerate() {
            let mut record = Writer::new();
            record.i8(0);
            record.varint64(timestamp - base_timestamp);
            record.varint32(delta as i32);
            record.varint32(-1);
            record.varint32(value.len() as i32);
            record.bytes(value.as_bytes());
            record.varint32(0);
            body.varint32(record.len() as i32);
            body.bytes(record.as_slice());
        }
        let mut whole = Writer::new();
        whole.i64_be(0);
        whole.i32_be(body.len() as i32 + 9);
        whole.i32_be(-1);
        whole.i8(2);
        whole.u32_be(crc32c(body.as_slice()));
        whole.bytes(body.as_slice());
        whole.into_vec()
    }

    fn offsets(bytes: &[u8]) -> Vec<i64> {
        let mut found = Vec::new();
        let mut rest = bytes;
        while let Ok(header) = Header::read(rest) {
            header.verify(rest).unwrap();
            found.push(header.base_offset);
            rest = &rest[header.size_bytes..];
        }
        found
    }

    fn three_batches(mut log: Log) -> Log {
        assert_eq!(log.append(&batch(&[(10, "a"), (30, "b")]), &RULES, 99).unwrap().base_offset, 0);
        assert_eq!(log.append(&batch(&[(20, "c")]), &RULES, 99).unwrap().base_offset, 2);
        assert_eq!(log.append(&batch(&[(50, "d"), (40, "e"), (60, "f")]), &RULES, 99).unwrap().base_offset, 3);
        log
    }

    #[test]
    fn offsets_follow_each_other() {
        let log = three_batches(Log::in_memory());
        assert_eq!((log.start_offset(), log.end_offset()), (0, 6));
        assert_eq!(offsets(&log.read(0, usize::MAX, true, true).unwrap()), [0, 2, 3]);
        assert_eq!(offsets(&log.read(1, usize::MAX, true, true).unwrap()), [0, 2, 3]);
        assert_eq!(offsets(&log.read(5, usize::MAX, true, true).unwrap()), [3]);
        assert_eq!(log.read(6, usize::MAX, true, true).unwrap(), "");
        assert_eq!(log.bytes_after(6), Some(0));
        assert_eq!(log.read(7, usize::MAX, true, true).unwrap_err().code, codes::OFFSET_OUT_OF_RANGE);
        assert_eq!(log.read(-1, usize::MAX, true, true).unwrap_err().code, codes::OFFSET_OUT_OF_RANGE);
    }

    #[test]
    fn the_first_batch_comes_whole_and_the_last_may_be_cut() {
        let log = three_batches(Log::in_memory());
        let first = batch(&[(10, "a"), (30, "b")]).len();
        assert_eq!(log.read(0, 1, true, true).unwrap().len(), first);
        assert_eq!(log.read(0, 1, false, true).unwrap().len(), 1);
        assert_eq!(log.read(0, first + 5, true, true).unwrap().len(), first + 5);
    }

    #[test]
    fn a_time_is_found_in_the_order_of_offsets() {
        let log = three_batches(Log::in_memory());
        let at = |time| log.offset_at(time).unwrap().map(|found| (found.offset, found.timestamp));
        assert_eq!(at(i64::MIN), Some((0, 10)));
        assert_eq!(at(11), Some((1, 30)));
        assert_eq!(at(31), Some((3, 50)));
        assert_eq!(at(51), Some((5, 60)));
        assert_eq!(at(61), None);
        assert_eq!(log.offset_of_max_time().unwrap(), Some(TimedOffset { offset: 5, timestamp: 60 }));
        assert_eq!(Log::in_memory().offset_of_max_time().unwrap(), None);
    }

    #[test]
    fn append_time_is_the_brokers() {
        let mut log = Log::in_memory();
        let rules = AppendRules { append_time: true, ..RULES };
        let appended = log.append(&batch(&[(10, "a"), (30, "b")]), &rules, 7_000).unwrap();
        assert_eq!(appended, Appended { base_offset: 0, log_append_time: 7_000 });
        let bytes = log.read(0, usize::MAX, true, true).unwrap();
        let header = Header::read(&bytes).unwrap();
        header.verify(&bytes).unwrap();
        assert_eq!((header.max_timestamp, header.is_append_time()), (7_000, true));
        assert_eq!(log.offset_at(6_999).unwrap(), Some(TimedOffset { offset: 0, timestamp: 7_000 }));
    }

    #[test]
    fn what_a_broker_refuses_is_not_appended() {
        let mut log = Log::in_memory();
        let mut refused = |bytes: &[u8]| log.append(bytes, &RULES, 0).unwrap_err().code;
        let good = batch(&[(1, "a")]);
        let mut damaged = good.clone();
        *damaged.last_mut().unwrap() ^= 1;
        assert_eq!(refused(&damaged), codes::CORRUPT_MESSAGE);
        assert_eq!(refused(&good[..good.len() - 1]), codes::CORRUPT_MESSAGE);
        assert_eq!(refused(b""), codes::CORRUPT_MESSAGE);
        let mut two = good.clone();
        two.extend_from_slice(&good);
        assert_eq!(refused(&two), codes::INVALID_RECORD);
        assert_eq!(refused(&batch(&[])), codes::INVALID_RECORD);
        let mut old = good.clone();
        old[16] = 1;
        assert_eq!(refused(&old), codes::UNSUPPORTED_FOR_MESSAGE_FORMAT);
        let small = AppendRules { batch_bytes_max: good.len() - 1, ..RULES };
        assert_eq!(log.append(&good, &small, 0).unwrap_err().code, codes::MESSAGE_TOO_LARGE);
        assert_eq!(log.end_offset(), 0);
    }

    #[test]
    fn deleted_records_are_out_of_range() {
        let mut log = three_batches(Log::in_memory());
        assert_eq!(log.delete_before(4), Ok(4));
        assert_eq!(log.read(3, 100, true, true).unwrap_err().code, codes::OFFSET_OUT_OF_RANGE);
        assert_eq!(offsets(&log.read(4, usize::MAX, true, true).unwrap()), [3]);
        assert_eq!(log.offset_at(0).unwrap(), Some(TimedOffset { offset: 4, timestamp: 40 }));
        assert_eq!(log.delete_before(2), Ok(4));
        assert_eq!(log.delete_before(7).unwrap_err().code, codes::OFFSET_OUT_OF_RANGE);
        assert_eq!(log.delete_before(-1), Ok(6));
        assert_eq!(log.offset_at(0).unwrap(), None);
        assert_eq!(log.append(&batch(&[(1, "g")]), &RULES, 0).unwrap().base_offset, 6);
    }

    #[test]
    fn a_file_comes_back_without_its_damaged_tail() {
        let path = std::env::temp_dir().join(format!("forebay-log-{}", std::process::id()));
        drop(std::fs::remove_file(&path));
        let whole = three_batches(Log::open(&path, 0).unwrap()).read(0, usize::MAX, true, true).unwrap();
        let mut cut = whole.to_vec();
        cut.truncate(whole.len() - 1);
        std::fs::write(&path, &cut).unwrap();
        let mut log = Log::open(&path, 1).unwrap();
        assert_eq!((log.start_offset(), log.end_offset()), (1, 3));
        assert_eq!(log.append(&batch(&[(70, "g")]), &RULES, 0).unwrap().base_offset, 3);
        assert_eq!(Log::open(&path, 0).unwrap().end_offset(), 4);
        std::fs::remove_file(&path).unwrap();
    }
}
