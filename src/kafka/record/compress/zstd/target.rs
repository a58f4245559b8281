//! Where a block writes: the output of its frame so far, which is its window, and room behind.

use super::Stop;
use super::copy::SLACK_BYTES;
use crate::kafka::record::compress::output::Output;

/// How far back a match reaches at most, in bytes; less than the largest offset of the format. Positions within it are 32 bits.
const REACH_BYTES_MAX: usize = 1 << 31;

/// The output from the start of a frame on, and what a block may write. Positions count from the frame's start, or from what can be
/// reached from the block's start if that is less.
pub(super) struct Target<'a> {
    output: &'a mut Output,
    start: usize,
    /// How much of the output there is.
    filled: usize,
    /// How much there may be when the block ends.
    end_max: usize,
}

impl<'a> Target<'a> {
    pub(super) fn new(output: &'a mut Output, frame_start: usize, block_bytes_max: usize) -> Self {
        let filled = output.filled();
        let start = frame_start.max(filled.saturating_sub(REACH_BYTES_MAX));
        Self { output, start, filled, end_max: filled.saturating_add(block_bytes_max) }
    }

    /// The frame so far, where it ends, and room behind for `wanted` bytes at least.
    pub(super) fn room(&mut self, wanted: usize) -> Result<(&mut [u8], u32), Stop> {
        let end = self.filled.saturating_add(wanted);
        if end > self.end_max {
            return Err(Stop::Corrupt);
        }
        let bytes = self.output.between(self.start, end.saturating_add(SLACK_BYTES));
        // A block that writes too much is not to be taken for one that needs more room.
        let most = self.end_max.saturating_add(SLACK_BYTES).saturating_sub(self.start);
        let len = bytes.len().min(most);
        let bytes = bytes.get_mut(..len).unwrap_or_default();
        if self.start.saturating_add(len) < end {
            return Err(Stop::TooLarge(end));
        }
        let at = u32::try_from(self.filled.saturating_sub(self.start)).map_err(|_| Stop::Corrupt)?;
        Ok((bytes, at))
    }

    /// The output now goes up to position `at`.
    pub(super) const fn written(&mut self, at: u32) {
        self.filled = self.start.saturating_add(at as usize);
    }

    /// Whether the block has not written more than it may.
    pub(super) const fn is_within(&self) -> bool {
        self.filled <= self.end_max
    }

    /// The output is now `len` bytes more.
    pub(super) const fn advance(&mut self, len: usize) {
        self.filled = self.filled.saturating_add(len);
    }

    /// How much of the output there is.
    pub(super) const fn filled(&self) -> usize {
        self.filled
    }
}
