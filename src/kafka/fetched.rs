//! What a consumer hands out: the records of one partition from one answer.

use std::fmt;
use std::sync::Arc;

use super::error::{Error, ErrorKind};
use super::msg::{ApiKey, Isolation};
use super::record::{Batch, Batches, Decompressor, Records};
use super::state::aborted::AbortedFilter;
use super::state::fetch::FetchedData;
use crate::wire::DecodeError;

/// Records of one partition, in offset order, still as the broker sent them: each batch is decompressed when
/// [`Fetched::next_records`] comes to it, in the caller's own task.
///
/// May hold no records at all: then it tells that the broker had nothing new, and where the partition ends. It keeps the
/// answer it came in alive, so drop it when done.
pub struct Fetched {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The next offset that all in-sync replicas will have.
    pub high_watermark: i64,
    /// The first offset of an open transaction, or the high watermark; where read_committed ends. -1 when unknown.
    pub last_stable_offset: i64,
    /// The first offset that still exists; -1 when the broker does not say (before Kafka 1.0).
    pub log_start_offset: i64,
    position: i64,
    leader_epoch: Option<i32>,
    bytes: usize,
    batches: Batches,
    filter: Option<AbortedFilter>,
    failed: Option<Error>,
}

impl Fetched {
    pub(super) fn new(data: FetchedData, isolation: Isolation) -> Self {
        let filter = match isolation {
            Isolation::ReadCommitted => Some(AbortedFilter::new(data.aborted)),
            Isolation::ReadUncommitted => None,
        };
        Self {
            topic: data.partition.topic,
            partition: data.partition.partition,
            high_watermark: data.high_watermark,
            last_stable_offset: data.last_stable_offset,
            log_start_offset: data.log_start_offset,
            position: data.position,
            leader_epoch: data.position_epoch,
            bytes: data.records.len_bytes(),
            batches: data.records.batches(),
            filter,
            failed: None,
        }
    }

    /// The records of the next batch that has any to show; none when there are no more. Steps over control batches, under
    /// read_committed over aborted transactions, and over records below the position that was asked for.
    ///
    /// `decompressor` lends its buffers: keep one per task, and drop the records before the next call to have them reused.
    ///
    /// # Errors
    /// [`Decode`](ErrorKind::Decode) for a damaged batch (checksum, compression, layout), naming its offset; the position
    /// stays before it, and further calls give the same error.
    pub fn next_records(&mut self, decompressor: &mut Decompressor) -> Result<Option<Records>, Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let outcome = self.advance(decompressor);
        outcome.map_err(|(offset, e)| {
            let text = format!("cannot read the batch at offset {offset}: {e}");
            let error =
                Error::new(ErrorKind::Decode, text).api(ApiKey::Fetch).topic(&self.topic).partition(self.partition);
            self.failed = Some(error.clone());
            error
        })
    }

    fn advance(&mut self, decompressor: &mut Decompressor) -> Result<Option<Records>, (i64, DecodeError)> {
        while let Some(batch) = self.batches.next() {
            let batch = batch.map_err(|e| (self.position, e))?;
            let at = |e| (batch.base_offset(), e);
            let is_shown = self.shows(&batch).map_err(at)?;
            // An answer begins with the whole batch that holds the position, and a log may repeat nothing after it.
            if is_shown && batch.next_offset() > self.position {
                let records = batch.decode(decompressor).map_err(at)?.starting_at(self.position);
                self.position = batch.next_offset();
                self.leader_epoch = batch.leader_epoch();
                return Ok(Some(records));
            }
            if batch.next_offset() > self.position {
                self.position = batch.next_offset();
                self.leader_epoch = batch.leader_epoch();
            }
        }
        Ok(None)
    }

    fn shows(&mut self, batch: &Batch) -> Result<bool, DecodeError> {
        let is_admitted = match &mut self.filter {
            Some(filter) => filter.admits(batch)?,
            None => !batch.is_control(),
        };
        Ok(is_admitted && batch.record_count() != Some(0))
    }

    /// The offset after everything that [`Fetched::next_records`] has returned or stepped over: where reading goes on,
    /// and what is committed once the records are safe. Comes from batch headers, so it also moves over
    /// what compaction removed.
    pub const fn position(&self) -> i64 {
        self.position
    }

    /// The leader epoch of the last batch below [`Fetched::position`], which is committed with it; none when unknown.
    pub const fn leader_epoch(&self) -> Option<i32> {
        self.leader_epoch
    }

    /// Bytes of the records as the broker sent them.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }
}

impl fmt::Debug for Fetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetched")
            .field("topic", &self.topic)
            .field("partition", &self.partition)
            .field("position", &self.position)
            .field("bytes", &self.bytes)
            .field("high_watermark", &self.high_watermark)
            .finish_non_exhaustive()
    }
}
