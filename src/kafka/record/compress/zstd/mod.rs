//! Zstandard frames (RFC 8878), decompressed straight into the output, which is the window.
//!
//! | File | What it reads |
//! |---|---|
//! | `frame.rs` | the header of a frame |
//! | `literals.rs` | the literals of a block; their codes are in `huffman.rs` |
//! | `sequences.rs` | the sequences of a block, and executes them; their codes are in `codes.rs` |
//! | `fse.rs` | tables of both |
//! | `bits.rs` | streams of bits from their end |
//! | `target.rs`, `copy.rs` | where a block writes, and how |
//!
//! A block writes no more than a block may, and no more than the output may become; nothing is allocated by a size that a header tells.
//! What is kept for the next batch are tables, some 20 KiB, and the literals of one block, 128 KiB at most.

mod bits;
mod codes;
mod copy;
mod frame;
mod fse;
mod huffman;
mod literals;
mod sequences;
mod target;
#[cfg(test)]
mod tests;

use ruzstd::encoding::{CompressionLevel, compress as compress_frame};
use twox_hash::XxHash64;

use self::frame::Header;
use self::target::Target;
use super::corrupt;
use super::output::Output;
use crate::kafka::record::codec::Codec;
use crate::wire::{DecodeError, Reader};

const MAGIC: u32 = 0xfd2f_b528;
const SKIPPABLE_MASK: u32 = 0xffff_fff0;
const SKIPPABLE: u32 = 0x184d_2a50;

/// Largest output of one block, in bytes (RFC 8878, 3.1.1.2.4).
const BLOCK_BYTES_MAX: usize = 128 * 1024;

/// Why a block cannot be decoded.
#[derive(Debug, PartialEq, Eq)]
enum Stop {
    Corrupt,
    /// The output would become so large.
    TooLarge(usize),
}

/// The decoder, made at the first zstd batch.
pub(super) struct Unzstd {
    state: Option<State>,
}

/// What blocks take over from those before.
struct State {
    literals: literals::Decoder,
    sequences: sequences::Sequences,
}

impl Unzstd {
    pub(super) const fn new() -> Self {
        Self { state: None }
    }

    /// Decompresses every frame of `input`.
    pub(super) fn run(&mut self, input: &[u8], output: &mut Output) -> Result<(), DecodeError> {
        let mut reader = Reader::new(input);
        loop {
            let at = reader.position();
            let magic = u32::from_le_bytes(reader.array("zstd frame")?);
            if magic & SKIPPABLE_MASK == SKIPPABLE {
                let len = u32::from_le_bytes(reader.array("zstd skippable frame")?);
                reader.skip(usize::try_from(len).unwrap_or(usize::MAX), "zstd skippable frame")?;
            } else if magic == MAGIC {
                let state = self.state.get_or_insert_with(State::new);
                state.frame(input, &mut reader, output)?;
            } else {
                return Err(corrupt(Codec::Zstd, at));
            }
            if reader.is_empty() {
                return Ok(());
            }
        }
    }
}

impl State {
    fn new() -> Self {
        Self { literals: literals::Decoder::new(), sequences: sequences::Sequences::new() }
    }

    /// One frame, its magic already read.
    fn frame(&mut self, input: &[u8], reader: &mut Reader<'_>, output: &mut Output) -> Result<(), DecodeError> {
        let header = Header::read(reader)?;
        let start = output.filled();
        if let Some(size) = header.content_bytes {
            let total = usize::try_from(size).unwrap_or(usize::MAX).saturating_add(start);
            if total > output.bytes_max() {
                return Err(output.too_large(total));
            }
        }
        self.literals.reset();
        self.sequences.reset();
        while !self.block(input, reader, &header, start, output)? {}
        let at = reader.position();
        let content = output.written().get(start..).unwrap_or_default();
        let size_differs = header.content_bytes.is_some_and(|size| usize::try_from(size) != Ok(content.len()));
        if size_differs || (header.checksum && u32::from_le_bytes(reader.array("zstd checksum")?) != checksum(content))
        {
            return Err(corrupt(Codec::Zstd, at));
        }
        Ok(())
    }

    /// One block (RFC 8878, section 3.1.1.2); whether it is the last.
    fn block(
        &mut self,
        input: &[u8],
        reader: &mut Reader<'_>,
        header: &Header,
        frame_start: usize,
        output: &mut Output,
    ) -> Result<bool, DecodeError> {
        let at = reader.position();
        let [a, b, c] = reader.array("zstd block")?;
        let head = u32::from_le_bytes([a, b, c, 0]);
        let size = usize::try_from(head >> 3).unwrap_or(usize::MAX);
        if size > header.block_bytes_max {
            return Err(corrupt(Codec::Zstd, at));
        }
        match head >> 1 & 3 {
            0 => output.extend(reader.bytes(size, "zstd block")?)?,
            1 => {
                let byte = reader.u8("zstd block")?;
                output.repeat(byte, size)?;
            }
            2 => {
                let start = reader.position();
                reader.skip(size, "zstd block")?;
                let mut target = Target::new(output, frame_start, header.block_bytes_max);
                let result = self.compressed(input, start, start.saturating_add(size), &mut target);
                let filled = target.filled();
                match result {
                    Ok(()) => output.advance(filled.saturating_sub(output.filled()))?,
                    Err(Stop::Corrupt) => return Err(corrupt(Codec::Zstd, at)),
                    Err(Stop::TooLarge(size)) => return Err(output.too_large(size)),
                }
            }
            _ => return Err(corrupt(Codec::Zstd, at)),
        }
        Ok(head & 1 != 0)
    }

    fn compressed(&mut self, input: &[u8], start: usize, end: usize, target: &mut Target<'_>) -> Result<(), Stop> {
        let (after, literals) = self.literals.decode(input, start, end).ok_or(Stop::Corrupt)?;
        self.sequences.run(input, after, end, literals, target)
    }
}

/// The lower half of a frame's hash (RFC 8878, section 3.1.1).
fn checksum(content: &[u8]) -> u32 {
    let [a, b, c, d, ..] = XxHash64::oneshot(0, content).to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// Appends one frame at the encoder's fastest level, the only one it has.
pub(super) fn compress(input: &[u8], out: &mut Vec<u8>) -> Option<()> {
    compress_frame(input, out, CompressionLevel::Fastest);
    Some(())
}
