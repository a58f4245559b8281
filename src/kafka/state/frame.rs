//! From a stream of bytes to frames.

use bytes::{BufMut, Bytes, BytesMut};

use crate::limits::{FRAME_BYTES_EAGER, FRAME_BYTES_MAX};

use super::link::LinkFault;

/// Cuts a stream of bytes into frames: a size field of four bytes, then that many.
///
/// Each frame gets a buffer of its own, so that what is kept of one answer does not keep the next alive. Memory is
/// reserved for at most [`FRAME_BYTES_EAGER`] bytes on the word of the size field, and then grows as bytes arrive.
///
/// Inputs: read at most [`FrameBuffer::room`] bytes into it. Outputs: `take_frame`, `cut_off`.
#[derive(Debug, Default)]
pub struct FrameBuffer {
    size: Option<usize>,
    bytes: BytesMut,
}

impl FrameBuffer {
    /// No bytes yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Where the next bytes go: room for at least one and never beyond the end of the present size field or frame.
    pub fn room(&mut self) -> bytes::buf::Limit<&mut BytesMut> {
        let missing = self.size.unwrap_or(SIZE_BYTES).saturating_sub(self.bytes.len());
        if self.bytes.capacity() == self.bytes.len() {
            // Doubling, so that a large frame costs a constant number of copies per byte.
            self.bytes.reserve(missing.min(self.bytes.len().max(FRAME_BYTES_EAGER)));
        }
        (&mut self.bytes).limit(missing)
    }

    /// A whole frame without its size field, when one has come. Call it after every read.
    ///
    /// # Errors
    /// [`LinkFault::FrameSize`] for a size below zero or above [`FRAME_BYTES_MAX`], before memory is taken for it.
    pub fn take_frame(&mut self) -> Result<Option<Bytes>, LinkFault> {
        if self.size.is_none() {
            let Some(head) = self.bytes.first_chunk::<SIZE_BYTES>() else { return Ok(None) };
            let announced = i32::from_be_bytes(*head);
            let size = usize::try_from(announced).ok().filter(|size| *size <= FRAME_BYTES_MAX);
            let size = size.ok_or(LinkFault::FrameSize(announced))?;
            self.size = Some(size);
            self.bytes = BytesMut::with_capacity(size.min(FRAME_BYTES_EAGER));
        }
        if self.size != Some(self.bytes.len()) {
            return Ok(None);
        }
        self.size = None;
        Ok(Some(std::mem::take(&mut self.bytes).freeze()))
    }

    /// What the end of the stream means here.
    pub fn end(&self) -> LinkFault {
        match (self.size, self.bytes.len()) {
            (None, 0) => LinkFault::Closed,
            (None, received) => LinkFault::ClosedMidFrame { received, announced: None },
            (Some(size), received) => LinkFault::ClosedMidFrame {
                received: received.saturating_add(SIZE_BYTES),
                announced: Some(size.saturating_add(SIZE_BYTES)),
            },
        }
    }
}

/// Bytes of the size field in front of a frame.
const SIZE_BYTES: usize = 4;
