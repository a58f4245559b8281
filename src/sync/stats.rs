//! Counters of a running job: written by the lanes, read by whoever shows progress.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// What a job has done so far. Each counter only grows.
#[derive(Debug, Default)]
pub struct Stats {
    records_read: AtomicU64,
    bytes_read: AtomicU64,
    rows_encoded: AtomicU64,
    bytes_sent: AtomicU64,
    dirty_records: AtomicU64,
    dirty_bytes: AtomicU64,
    non_json_values: AtomicU64,
    malformed_text_values: AtomicU64,
    over_length_values: AtomicU64,
    blocks_resent: AtomicU64,
    reader_wait_us: AtomicU64,
    writer_wait_us: AtomicU64,
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Records taken from Kafka that lie in the range, dirty ones included.
    pub records_read: u64,
    /// Bytes of their keys and values.
    pub bytes_read: u64,
    /// Rows encoded into blocks; repeats of a failed block are not counted again.
    pub rows_encoded: u64,
    /// Bytes of block bodies sent, repeats included.
    pub bytes_sent: u64,
    /// Records that could not become rows.
    pub dirty_records: u64,
    /// Bytes of their keys and values.
    pub dirty_bytes: u64,
    /// Records whose value is not a JSON object or array although the job names members.
    pub non_json_values: u64,
    /// Values with bytes that their charset cannot decode.
    pub malformed_text_values: u64,
    /// Values over the field limit that were cut or set to NULL.
    pub over_length_values: u64,
    /// Blocks that were sent again.
    pub blocks_resent: u64,
    /// Time that lanes waited for Kafka, summed over lanes.
    pub reader_wait: Duration,
    /// Time that lanes waited for Tunnel, summed over lanes.
    pub writer_wait: Duration,
}

/// What one lane counted since it last told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// See [`Snapshot::records_read`].
    pub records_read: u64,
    /// See [`Snapshot::bytes_read`].
    pub bytes_read: u64,
    /// See [`Snapshot::rows_encoded`].
    pub rows_encoded: u64,
    /// See [`Snapshot::dirty_records`].
    pub dirty_records: u64,
    /// See [`Snapshot::dirty_bytes`].
    pub dirty_bytes: u64,
    /// See [`Snapshot::non_json_values`].
    pub non_json_values: u64,
    /// See [`Snapshot::malformed_text_values`].
    pub malformed_text_values: u64,
    /// See [`Snapshot::over_length_values`].
    pub over_length_values: u64,
}

impl Snapshot {
    /// The counters of both.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        let add = u64::saturating_add;
        Self {
            records_read: add(self.records_read, other.records_read),
            bytes_read: add(self.bytes_read, other.bytes_read),
            rows_encoded: add(self.rows_encoded, other.rows_encoded),
            bytes_sent: add(self.bytes_sent, other.bytes_sent),
            dirty_records: add(self.dirty_records, other.dirty_records),
            dirty_bytes: add(self.dirty_bytes, other.dirty_bytes),
            non_json_values: add(self.non_json_values, other.non_json_values),
            malformed_text_values: add(self.malformed_text_values, other.malformed_text_values),
            over_length_values: add(self.over_length_values, other.over_length_values),
            blocks_resent: add(self.blocks_resent, other.blocks_resent),
            reader_wait: self.reader_wait.saturating_add(other.reader_wait),
            writer_wait: self.writer_wait.saturating_add(other.writer_wait),
        }
    }
}

impl Stats {
    /// Adds what a lane counted.
    pub fn add(&self, delta: &Delta) {
        self.records_read.fetch_add(delta.records_read, Relaxed);
        self.bytes_read.fetch_add(delta.bytes_read, Relaxed);
        self.rows_encoded.fetch_add(delta.rows_encoded, Relaxed);
        self.dirty_records.fetch_add(delta.dirty_records, Relaxed);
        self.dirty_bytes.fetch_add(delta.dirty_bytes, Relaxed);
        self.non_json_values.fetch_add(delta.non_json_values, Relaxed);
        self.malformed_text_values.fetch_add(delta.malformed_text_values, Relaxed);
        self.over_length_values.fetch_add(delta.over_length_values, Relaxed);
    }

    /// Body bytes went to the server.
    pub fn add_sent(&self, bytes: usize) {
        self.bytes_sent.fetch_add(bytes as u64, Relaxed);
    }

    /// A block is sent again.
    pub fn add_resent_block(&self) {
        self.blocks_resent.fetch_add(1, Relaxed);
    }

    /// A lane waited for Kafka.
    pub fn add_reader_wait(&self, wait: Duration) {
        self.reader_wait_us.fetch_add(micros(wait), Relaxed);
    }

    /// A lane waited for Tunnel.
    pub fn add_writer_wait(&self, wait: Duration) {
        self.writer_wait_us.fetch_add(micros(wait), Relaxed);
    }

    /// Dirty records so far.
    pub fn dirty_records(&self) -> u64 {
        self.dirty_records.load(Relaxed)
    }

    /// Reads all counters; each is exact, together they may be a moment apart.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            records_read: self.records_read.load(Relaxed),
            bytes_read: self.bytes_read.load(Relaxed),
            rows_encoded: self.rows_encoded.load(Relaxed),
            bytes_sent: self.bytes_sent.load(Relaxed),
            dirty_records: self.dirty_records.load(Relaxed),
            dirty_bytes: self.dirty_bytes.load(Relaxed),
            non_json_values: self.non_json_values.load(Relaxed),
            malformed_text_values: self.malformed_text_values.load(Relaxed),
            over_length_values: self.over_length_values.load(Relaxed),
            blocks_resent: self.blocks_resent.load(Relaxed),
            reader_wait: Duration::from_micros(self.reader_wait_us.load(Relaxed)),
            writer_wait: Duration::from_micros(self.writer_wait_us.load(Relaxed)),
        }
    }
}

fn micros(wait: Duration) -> u64 {
    u64::try_from(wait.as_micros()).unwrap_or(u64::MAX)
}
