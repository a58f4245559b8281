//! Where a block writes: the output of its frame so far, which is its window, and room behind.

use super::Stop;
use super::copy::SLACK_BYTES;
use crate::kafka::record::compress::output::Output;

/// The output from the start of a frame on, and what a block may write. Positions count from the frame's start.
pub(super) struct Target<'a> {
    output: &'a mut Output,
    frame_start: usize,
    /// How much of the frame there is.
    filled: usize,
    /// How much there may be when the block ends.
    end_max: usize,
}

impl<'a> Target<'a> {
    pub(super) fn new(output: &'a mut Output, frame_start: usize, block_bytes_max: usize) -> Self {
        let filled = output.filled().saturating_sub(frame_start);
        Self { output, frame_start, filled, end_max: filled.saturating_add(block_bytes_max) }
    }

    /// The frame so far, how much that is, and room behind for `wanted` bytes at least.
    pub(super) fn room(&mut self, wanted: usize) -> Result<(&mut [u8], usize), Stop> {
        let end = self.filled.saturating_add(wanted);
        if end > self.end_max {
            return Err(Stop::Corrupt);
        }
        let slack_end = self.end_max.saturating_add(SLACK_BYTES);
        let bytes = self.output.from(self.frame_start, end.saturating_add(SLACK_BYTES));
        let bytes = match bytes.len() {
            len if len > slack_end => bytes.get_mut(..slack_end).unwrap_or_default(),
            _ => bytes,
        };
        if bytes.len() < end {
            Err(Stop::TooLarge(self.frame_start.saturating_add(end)))
        } else {
            Ok((bytes, self.filled))
        }
    }

    /// The frame is now `end` bytes.
    pub(super) const fn written(&mut self, end: usize) {
        self.filled = end;
    }

    /// How much of the frame there is.
    pub(super) const fn filled(&self) -> usize {
        self.filled
    }
}
