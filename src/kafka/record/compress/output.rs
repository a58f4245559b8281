//! The buffer that decompression writes into: capped, grown by what comes out, used again.

use bytes::{Bytes, BytesMut};

use crate::wire::{DecodeError, DecodeFault};

/// First size of a fresh buffer, in bytes, unless the bound is lower.
const FIRST_BYTES_MIN: usize = 4 * 1024;
const FIRST_BYTES_MAX: usize = 1024 * 1024;

/// Output of one decompression. Every byte of `buffer` is initialised; the first `filled` are output.
///
/// One byte more than the bound may be written, so that a codec that just fills the bound is told from one that goes on.
pub(super) struct Output {
    buffer: BytesMut,
    filled: usize,
    bytes_max: usize,
}

impl Output {
    /// Takes the buffer in `kept` if nobody else holds it, or a fresh one guessed from `input_bytes`.
    pub(super) fn new(kept: &mut Bytes, input_bytes: usize, bytes_max: usize) -> Self {
        let first = input_bytes.saturating_mul(4).clamp(FIRST_BYTES_MIN, FIRST_BYTES_MAX);
        // Not as a `Vec`: to become one, `Bytes` move all that they hold, were it onto itself.
        let buffer = match std::mem::take(kept).try_into_mut() {
            Ok(kept) if kept.len() >= first.min(bytes_max) => kept,
            _ => BytesMut::zeroed(first.min(bytes_max.saturating_add(1))),
        };
        Self { buffer, filled: 0, bytes_max }
    }

    /// Bytes of output so far.
    pub(super) const fn filled(&self) -> usize {
        self.filled
    }

    /// Output so far.
    pub(super) fn written(&self) -> &[u8] {
        self.buffer.get(..self.filled).unwrap_or_default()
    }

    /// The output so far, and free space after it: at least `wanted` bytes, or all that the bound leaves if that is less.
    /// Never empty as long as every advance succeeded.
    pub(super) fn split(&mut self, wanted: usize) -> (&[u8], &mut [u8]) {
        let most = self.bytes_max.saturating_add(1);
        let needed = self.filled.saturating_add(wanted.max(1)).min(most);
        if needed > self.buffer.len() {
            let grown = self.buffer.len().saturating_mul(2).max(needed).min(most);
            let mut buffer = Vec::from(std::mem::take(&mut self.buffer));
            // Exactly: amortised growth would take up to twice the bound.
            buffer.reserve_exact(grown.saturating_sub(buffer.len()));
            buffer.resize(grown, 0);
            self.buffer = BytesMut::from(Bytes::from(buffer));
        }
        let free_end = self.buffer.len().min(most);
        let (written, free) = self.buffer.split_at_mut(self.filled.min(free_end));
        let free_bytes = free_end.saturating_sub(written.len());
        (written, free.get_mut(..free_bytes).unwrap_or_default())
    }

    /// Free space as in [`Output::split`].
    pub(super) fn free(&mut self, wanted: usize) -> &mut [u8] {
        self.split(wanted).1
    }

    /// Counts `written` bytes of the free space as output.
    ///
    /// # Errors
    /// [`DecodeFault::TooLarge`] when the output is beyond the bound.
    pub(super) const fn advance(&mut self, written: usize) -> Result<(), DecodeError> {
        self.filled = self.filled.saturating_add(written);
        if self.filled > self.bytes_max { Err(self.too_large(self.filled)) } else { Ok(()) }
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    /// [`DecodeFault::TooLarge`], and nothing is written then.
    pub(super) fn extend(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        self.append(bytes.len(), |free| free.copy_from_slice(bytes))
    }

    /// Appends `len` times `byte`.
    ///
    /// # Errors
    /// As [`Output::extend`].
    pub(super) fn repeat(&mut self, byte: u8, len: usize) -> Result<(), DecodeError> {
        self.append(len, |free| free.fill(byte))
    }

    /// Appends `len` bytes that `write` fills in.
    fn append(&mut self, len: usize, write: impl FnOnce(&mut [u8])) -> Result<(), DecodeError> {
        let total = self.filled.saturating_add(len);
        if total > self.bytes_max {
            return Err(self.too_large(total));
        }
        if let Some(free) = self.free(len).get_mut(..len) {
            write(free);
        }
        self.advance(len)
    }

    /// The output from byte `start` on, and free space behind it: up to byte `end` at least, or as much as the bound leaves.
    pub(super) fn between(&mut self, start: usize, end: usize) -> &mut [u8] {
        self.split(end.saturating_sub(self.filled));
        let end = self.buffer.len().min(self.bytes_max.saturating_add(1));
        self.buffer.get_mut(start..end).unwrap_or_default()
    }

    /// The error for `size` bytes of output, announced or reached.
    pub(super) const fn too_large(&self, size: usize) -> DecodeError {
        DecodeError::new(DecodeFault::TooLarge { size, max: self.bytes_max }, "decompressed records", 0)
    }

    /// The bound.
    pub(super) const fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// The whole buffer, to be kept, and the output in it.
    pub(super) fn into_bytes(self) -> (Bytes, Bytes) {
        let filled = self.filled.min(self.buffer.len());
        let whole = self.buffer.freeze();
        let output = whole.slice(..filled);
        (whole, output)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;

    #[test]
    fn bound_is_inclusive() {
        let mut kept = Bytes::new();
        let mut output = Output::new(&mut kept, 0, 10);
        assert_eq!(output.extend(&[1; 10]), Ok(()));
        assert_eq!(output.free(5).len(), 1);
        assert!(output.advance(1).is_err());

        let mut output = Output::new(&mut kept, 0, 10);
        assert!(output.extend(&[1; 11]).is_err());
        assert_eq!(output.filled(), 0);
    }

    #[test]
    fn buffer_is_used_again_once_nobody_reads_it() {
        let mut kept = Bytes::new();
        let mut output = Output::new(&mut kept, 0, 1 << 20);
        output.extend(&[7; 100_000]).unwrap();
        let (whole, plain) = output.into_bytes();
        let at = plain.as_ptr();
        kept = whole;

        let other = Output::new(&mut kept.clone(), 0, 1 << 20);
        assert_ne!(other.buffer.as_ptr(), at, "still read by `plain`");

        drop(plain);
        let again = Output::new(&mut kept, 0, 1 << 20);
        assert_eq!(again.buffer.as_ptr(), at);
        assert!(again.buffer.len() >= 100_000);
        assert_eq!(again.written(), b"");
    }

    #[test]
    fn growth_never_passes_the_bound() {
        let mut kept = Bytes::new();
        let mut output = Output::new(&mut kept, 0, 100_000);
        while output.advance(1000).is_ok() {
            output.free(1000);
            assert!(output.buffer.capacity() <= 100_001);
        }
    }
}
