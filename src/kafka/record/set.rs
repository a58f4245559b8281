//! The records field of one partition of a fetch answer, walked entry by entry.

use bytes::{Buf, Bytes};

use super::batch::Batch;
use super::legacy::MESSAGE_BYTES_MIN;
use crate::wire::{DecodeError, DecodeFault, Reader};

/// Offset and size, before the part that the size counts.
pub(super) const LOG_OVERHEAD_BYTES: usize = 12;

/// The bytes a broker answered for one partition: entries of any magic, one after the other, the last one possibly cut off.
#[derive(Clone, Debug, Default)]
pub struct RecordSet {
    bytes: Bytes,
}

impl RecordSet {
    /// Wraps `bytes`; nothing is read yet. A null records field is an empty one.
    pub const fn new(bytes: Bytes) -> Self {
        Self { bytes }
    }

    /// Whether there are no bytes at all. Bytes that hold only a cut-off entry are not empty.
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes as they came, compressed.
    pub const fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The bytes themselves.
    pub const fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Walks the entries in order. Only headers are read.
    pub fn batches(&self) -> Batches {
        Batches { rest: self.bytes.clone(), at: 0, cut_off: None }
    }
}

impl From<Bytes> for RecordSet {
    fn from(bytes: Bytes) -> Self {
        Self::new(bytes)
    }
}

/// The entries of a [`RecordSet`]: record batches, and each message of a message set (a wrapper with its content is one).
///
/// An entry whose bytes do not all follow ends the walk without an error: brokers cut the last one at the byte limit of the
/// request. After an error the walk has ended too, since nothing tells where the next entry starts.
#[derive(Clone, Debug)]
pub struct Batches {
    rest: Bytes,
    at: usize,
    cut_off: Option<usize>,
}

impl Batches {
    /// Size in bytes that the cut-off last entry announced for itself, once the walk has come to it.
    ///
    /// When even its size field is cut off, this is the least size that any entry has. The number is the peer's word: compare
    /// it with a limit before asking for as much.
    pub const fn cut_off(&self) -> Option<usize> {
        self.cut_off
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let batch = entry_bytes(&self.rest).and_then(|len| {
            if len > self.rest.len() {
                self.cut_off = Some(len);
                return Ok(None);
            }
            Batch::parse(self.rest.split_to(len)).map(|batch| Some((batch, len)))
        });
        match batch {
            Ok(Some((batch, len))) => {
                self.at = self.at.saturating_add(len);
                Some(Ok(batch))
            }
            Ok(None) => {
                self.rest.advance(self.rest.len());
                None
            }
            Err(error) => {
                self.rest.advance(self.rest.len());
                Some(Err(DecodeError { at: self.at.saturating_add(error.at), ..error }))
            }
        }
    }
}

/// Bytes that the entry at the front of `rest` takes, by its own word.
fn entry_bytes(rest: &[u8]) -> Result<usize, DecodeError> {
    if rest.len() < LOG_OVERHEAD_BYTES {
        return Ok(LOG_OVERHEAD_BYTES.saturating_add(MESSAGE_BYTES_MIN));
    }
    let mut reader = Reader::new(rest);
    reader.skip(8, "base_offset")?;
    let size = reader.i32_be("batch_length")?;
    match usize::try_from(size) {
        Ok(size) if size >= MESSAGE_BYTES_MIN => Ok(size.saturating_add(LOG_OVERHEAD_BYTES)),
        _ => Err(reader.error(DecodeFault::BadLength(size.into()), "batch_length")),
    }
}
