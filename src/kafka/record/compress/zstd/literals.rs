//! The literals of a block (RFC 8878, section 3.1.1.3.1).

use super::BLOCK_BYTES_MAX;
use super::copy::SLACK_BYTES;
use super::huffman::Huffman;

/// Fewest literals that are spread over four streams.
const FOUR_STREAMS_MIN: usize = 6;
/// Bytes of the sizes of three streams; the fourth takes the rest.
const STREAM_SIZES_BYTES: usize = 6;

/// Decodes literals, into a buffer that is used again.
pub(super) struct Decoder {
    huffman: Huffman,
    buffer: Vec<u8>,
}

/// The literals of one block.
#[derive(Clone, Copy)]
pub(super) struct Literals<'a> {
    /// They, and up to [`SLACK_BYTES`] of whatever follows.
    pub(super) bytes: &'a [u8],
    pub(super) len: usize,
}

/// How the literals are stored.
enum Stored {
    Raw,
    Run,
    Packed { bytes: usize, new_table: bool, four_streams: bool },
}

struct Section {
    stored: Stored,
    len: usize,
    header_bytes: usize,
}

impl Section {
    fn read(content: &[u8]) -> Option<Self> {
        let first = *content.first()?;
        let format = first >> 2 & 3;
        let is_packed = first & 3 >= 2;
        let (header_bytes, bits) = match (is_packed, format) {
            (false, 0 | 2) => (1, 5),
            (false, 1) => (2, 12),
            (false, _) => (3, 20),
            (true, 0 | 1) => (3, 10),
            (true, 2) => (4, 14),
            (true, _) => (5, 18),
        };
        let number =
            content.get(..header_bytes)?.iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        let number = if header_bytes == 1 { number >> 3 } else { number >> 4 };
        let size = |number: u64| usize::try_from(number & (1_u64 << bits).wrapping_sub(1)).unwrap_or(usize::MAX);
        let stored = match first & 3 {
            0 => Stored::Raw,
            1 => Stored::Run,
            kind => Stored::Packed { bytes: size(number >> bits), new_table: kind == 2, four_streams: format != 0 },
        };
        Some(Self { stored, len: size(number), header_bytes })
    }
}

impl Decoder {
    pub(super) fn new() -> Self {
        Self { huffman: Huffman::new(), buffer: Vec::new() }
    }

    /// A new frame begins.
    pub(super) const fn reset(&mut self) {
        self.huffman.reset();
    }

    /// Decodes the literals of the block in `input` from `start` to `end`; where they end, and they.
    pub(super) fn decode<'a>(&'a mut self, input: &'a [u8], start: usize, end: usize) -> Option<(usize, Literals<'a>)> {
        let Section { stored, len, header_bytes } = Section::read(input.get(start..end)?)?;
        if len > BLOCK_BYTES_MAX {
            return None;
        }
        let start = start.wrapping_add(header_bytes);
        match stored {
            Stored::Raw => {
                let after = start.wrapping_add(len);
                input.get(start..end)?.get(..len)?;
                let slack = input.len().min(after.wrapping_add(SLACK_BYTES));
                Some((after, Literals { bytes: input.get(start..slack)?, len }))
            }
            Stored::Run => {
                let byte = *input.get(start..end)?.first()?;
                self.room(len)?.fill(byte);
                Some((start.wrapping_add(1), self.literals(len)?))
            }
            Stored::Packed { bytes, new_table, four_streams } => {
                let after = start.wrapping_add(bytes);
                input.get(start..end)?.get(..bytes)?;
                let streams = if new_table { self.huffman.read(input, start, after)? } else { start };
                self.room(len)?;
                let (huffman, out) = (&self.huffman, self.buffer.get_mut(..len)?);
                if !huffman.is_set() {
                    return None;
                }
                if four_streams {
                    if len < FOUR_STREAMS_MIN {
                        return None;
                    }
                    huffman.four(input, stream_bounds(input, streams, after)?, out)?;
                } else {
                    huffman.one(input, streams, after, out)?;
                }
                Some((after, self.literals(len)?))
            }
        }
    }

    /// Room for `len` literals, behind which there is slack.
    fn room(&mut self, len: usize) -> Option<&mut [u8]> {
        let needed = len.wrapping_add(SLACK_BYTES);
        if self.buffer.len() < needed {
            self.buffer.resize(needed, 0);
        }
        self.buffer.get_mut(..len)
    }

    fn literals(&self, len: usize) -> Option<Literals<'_>> {
        Some(Literals { bytes: self.buffer.get(..len.wrapping_add(SLACK_BYTES))?, len })
    }
}

/// Where each of four streams begins and the last one ends.
fn stream_bounds(input: &[u8], start: usize, end: usize) -> Option<[usize; 5]> {
    let [a, b, c, d, e, f] = *input.get(start..end)?.first_chunk::<STREAM_SIZES_BYTES>()?;
    let first = start.wrapping_add(STREAM_SIZES_BYTES);
    let second = first.wrapping_add(u16::from_le_bytes([a, b]).into());
    let third = second.wrapping_add(u16::from_le_bytes([c, d]).into());
    let fourth = third.wrapping_add(u16::from_le_bytes([e, f]).into());
    (fourth < end).then_some([first, second, third, fourth, end])
}
