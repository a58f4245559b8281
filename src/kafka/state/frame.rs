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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    /// Feeds bytes as a socket would: never more than there is room for.
    fn feed(buffer: &mut FrameBuffer, mut bytes: &[u8], piece: usize) -> Result<Vec<Bytes>, LinkFault> {
        let mut frames = Vec::new();
        while !bytes.is_empty() {
            let mut room = buffer.room();
            let len = bytes.len().min(piece).min(room.remaining_mut());
            assert!(len > 0);
            room.put_slice(&bytes[..len]);
            bytes = &bytes[len..];
            while let Some(frame) = buffer.take_frame()? {
                frames.push(frame);
            }
        }
        Ok(frames)
    }

    #[test]
    fn frames_come_out_whole_however_they_arrive() {
        let stream = [&[0, 0, 0, 3][..], b"abc", &[0, 0, 0, 0], &[0, 0, 0, 1], b"d"].concat();
        for piece in 1..=stream.len() {
            let mut buffer = FrameBuffer::new();
            let frames = feed(&mut buffer, &stream, piece).unwrap();
            assert_eq!(frames, [&b"abc"[..], b"", b"d"]);
            assert!(matches!(buffer.end(), LinkFault::Closed));
        }
    }

    #[test]
    fn a_size_beyond_the_limit_is_refused_before_memory_is_taken() {
        for size in [-1, i32::MIN, i32::MAX, i32::try_from(FRAME_BYTES_MAX).unwrap() + 1] {
            let mut buffer = FrameBuffer::new();
            let fault = feed(&mut buffer, &size.to_be_bytes(), 4).unwrap_err();
            assert!(matches!(fault, LinkFault::FrameSize(n) if n == size), "{fault:?}");
            assert!(buffer.bytes.capacity() < 1024);
        }
    }

    #[test]
    fn an_announced_frame_takes_memory_only_as_it_arrives() {
        let mut buffer = FrameBuffer::new();
        feed(&mut buffer, &i32::try_from(FRAME_BYTES_MAX).unwrap().to_be_bytes(), 4).unwrap();
        assert!(buffer.bytes.capacity() <= FRAME_BYTES_EAGER);
        feed(&mut buffer, &vec![7; FRAME_BYTES_EAGER + 1], 1 << 20).unwrap();
        assert!(buffer.bytes.capacity() <= 3 * FRAME_BYTES_EAGER, "{}", buffer.bytes.capacity());
    }

    #[test]
    fn a_frame_larger_than_the_first_reservation_is_whole() {
        let size = 3 * FRAME_BYTES_EAGER + 17;
        let body: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
        let stream = [&i32::try_from(size).unwrap().to_be_bytes()[..], &body].concat();
        let frames = feed(&mut FrameBuffer::new(), &stream, 100_000).unwrap();
        assert!(frames.len() == 1 && frames[0] == body);
    }

    #[test]
    fn the_end_of_the_stream_inside_a_frame_is_told_apart() {
        let mut buffer = FrameBuffer::new();
        feed(&mut buffer, &[0, 0], 4).unwrap();
        assert!(matches!(buffer.end(), LinkFault::ClosedMidFrame { received: 2, announced: None }));
        feed(&mut buffer, &[0, 9, 1, 2, 3], 4).unwrap();
        assert!(matches!(buffer.end(), LinkFault::ClosedMidFrame { received: 7, announced: Some(13) }));
        let text = "the broker closed the connection inside a frame, after 7 of 13 bytes";
        assert_eq!(buffer.end().to_string(), text);
    }
}
