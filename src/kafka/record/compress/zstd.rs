//! Zstandard frames (RFC 8878) through `ruzstd`, block by block.
//!
//! `ruzstd` keeps a window of its own, as large as the frame's header says, up to 128 MiB (window log 27, what the C library
//! accepts). The header is therefore read here first: a window larger than the output may become is cut down to that, and a
//! decoder that had a large one is given up instead of kept. Each block is looked at before it is decoded ([`super::zstd_block`]). Memory in use is thus at most twice the output, where the other
//! codecs need the output alone.

use std::io::Read;

use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use ruzstd::encoding::{CompressionLevel, compress as compress_frame};

use super::corrupt;
use super::output::Output;
use super::zstd_block::Blocks;
use crate::kafka::record::codec::Codec;
use crate::wire::{DecodeError, Reader};

const MAGIC: u32 = 0xfd2f_b528;
const SKIPPABLE_MASK: u32 = 0xffff_fff0;
const SKIPPABLE: u32 = 0x184d_2a50;

const DESCRIPTOR_SINGLE_SEGMENT: u8 = 0x20;
const DESCRIPTOR_RESERVED: u8 = 0x08;
const DESCRIPTOR_CHECKSUM: u8 = 0x04;
const DESCRIPTOR_DICTIONARY_MASK: u8 = 0x03;

/// Largest window taken, in bytes: window log 27, zstd's own limit for a decoder that was not told otherwise.
const WINDOW_BYTES_MAX: u64 = 1 << 27;
/// Largest window for which the decoder is kept for the next batch, in bytes. Levels up to 12 stay below it.
const WINDOW_BYTES_KEPT: u64 = 4 * 1024 * 1024;

/// Largest output of one block, in bytes (RFC 8878, 3.1.1.2.4).
pub(super) const BLOCK_BYTES_MAX: u64 = 128 * 1024;

/// The decoder, made at the first zstd batch.
pub(super) struct Unzstd {
    decoder: Option<FrameDecoder>,
}

impl Unzstd {
    pub(super) const fn new() -> Self {
        Self { decoder: None }
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
                self.frame(&mut reader, output)?;
            } else {
                return Err(corrupt(Codec::Zstd, at));
            }
            if reader.is_empty() {
                return Ok(());
            }
        }
    }

    /// One frame, its magic already read.
    fn frame(&mut self, reader: &mut Reader<'_>, output: &mut Output) -> Result<(), DecodeError> {
        let header = Header::read(reader)?;
        if let Some(size) = header.content_bytes {
            let total = usize::try_from(size).unwrap_or(usize::MAX).saturating_add(output.filled());
            if total > output.bytes_max() {
                return Err(output.too_large(total));
            }
        }
        let (mut decoder, fresh) = match self.decoder.take() {
            Some(decoder) if header.window_bytes <= WINDOW_BYTES_KEPT => (decoder, false),
            _ => (FrameDecoder::new(), true),
        };
        decoder.set_max_window_size(WINDOW_BYTES_MAX);
        decode(&mut decoder, fresh, &header, reader, output)?;
        if header.window_bytes <= WINDOW_BYTES_KEPT {
            self.decoder = Some(decoder);
        }
        Ok(())
    }
}

/// What a frame's header says.
struct Header {
    window_bytes: u64,
    content_bytes: Option<u64>,
    checksum: bool,
}

impl Header {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let at = reader.position();
        let descriptor = reader.u8("zstd header")?;
        let single_segment = descriptor & DESCRIPTOR_SINGLE_SEGMENT != 0;
        // Kafka's batches use no dictionaries.
        if descriptor & (DESCRIPTOR_RESERVED | DESCRIPTOR_DICTIONARY_MASK) != 0 {
            return Err(corrupt(Codec::Zstd, at));
        }
        let window = if single_segment { None } else { Some(reader.u8("zstd header")?) };
        let content_bytes = match descriptor >> 6 {
            0 if single_segment => Some(u64::from(reader.u8("zstd header")?)),
            0 => None,
            1 => Some(u64::from(u16::from_le_bytes(reader.array("zstd header")?)).saturating_add(256)),
            2 => Some(u64::from(u32::from_le_bytes(reader.array("zstd header")?))),
            _ => Some(u64::from_le_bytes(reader.array("zstd header")?)),
        };
        let window_bytes = window.map_or_else(|| content_bytes.unwrap_or(0), window_bytes);
        if window.is_some() && window_bytes > WINDOW_BYTES_MAX {
            return Err(corrupt(Codec::Zstd, at));
        }
        Ok(Self { window_bytes, content_bytes, checksum: descriptor & DESCRIPTOR_CHECKSUM != 0 })
    }

    /// The descriptor of the window to decode with: the least one that holds what the frame may still write.
    fn window_descriptor(&self, room: usize) -> u8 {
        // A block may be as large as the window, up to 128 KiB; a smaller window would make it corrupt instead of too large.
        let room = u64::try_from(room).unwrap_or(u64::MAX).max(BLOCK_BYTES_MAX);
        let needed = self.window_bytes.min(self.content_bytes.unwrap_or(u64::MAX)).min(room);
        (0_u8..=u8::MAX).find(|descriptor| window_bytes(*descriptor) >= needed).unwrap_or(u8::MAX)
    }
}

/// The window of a window descriptor: an exponent of 5 bits and eighths in 3 (RFC 8878, 3.1.1.1.2).
fn window_bytes(descriptor: u8) -> u64 {
    let base = 1_u64.checked_shl(u32::from(descriptor >> 3).saturating_add(10)).unwrap_or(u64::MAX);
    base.saturating_add((base / 8).saturating_mul(u64::from(descriptor & 0x07)))
}

fn decode(
    decoder: &mut FrameDecoder,
    fresh: bool,
    header: &Header,
    reader: &mut Reader<'_>,
    output: &mut Output,
) -> Result<(), DecodeError> {
    let at = reader.position();
    let failed = |_| corrupt(Codec::Zstd, at);
    let start = output.filled();
    // Not one byte more: the decoder takes the next power of two, which would be twice the bound.
    let room = output.bytes_max().saturating_sub(start);
    let descriptor = header.window_descriptor(room);
    let window = usize::try_from(window_bytes(descriptor)).unwrap_or(usize::MAX);
    let [a, b, c, d] = MAGIC.to_le_bytes();
    let rewritten = [a, b, c, d, if header.checksum { DESCRIPTOR_CHECKSUM } else { 0 }, descriptor];
    decoder.reset(&rewritten[..]).map_err(failed)?;
    if fresh {
        // The second time it reserves its window at once. Grown bit by bit it would be copied, and be there twice; memory that
        // is only reserved is not used.
        decoder.reset(&rewritten[..]).map_err(failed)?;
    }
    let mut source = reader.rest();
    let mut blocks = Blocks::default();
    while !decoder.is_finished() {
        blocks.check(source).ok_or_else(|| corrupt(Codec::Zstd, at))?;
        decoder.decode_blocks(&mut source, BlockDecodingStrategy::UptoBlocks(1)).map_err(failed)?;
        // Until the end the decoder holds a window back, which is output all the same.
        let held = if decoder.is_finished() { 0 } else { window };
        let total = output.filled().saturating_add(decoder.can_collect()).saturating_add(held);
        if decoder.can_collect() > 0 && total > output.bytes_max() {
            return Err(output.too_large(total));
        }
        while decoder.can_collect() > 0 {
            let read = decoder.read(output.free(decoder.can_collect())).map_err(|_| corrupt(Codec::Zstd, at))?;
            output.advance(read)?;
            if read == 0 {
                return Err(corrupt(Codec::Zstd, at));
            }
        }
    }
    reader.skip(reader.remaining().saturating_sub(source.len()), "zstd frame")?;
    let written = output.filled().saturating_sub(start);
    let size_differs = header.content_bytes.is_some_and(|size| usize::try_from(size) != Ok(written));
    let checksum_differs = header.checksum && decoder.get_checksum_from_data() != decoder.get_calculated_checksum();
    if size_differs || checksum_differs {
        return Err(corrupt(Codec::Zstd, at));
    }
    Ok(())
}

/// Appends one frame at the encoder's fastest level, the only one it has.
pub(super) fn compress(input: &[u8], out: &mut Vec<u8>) -> Option<()> {
    compress_frame(input, out, CompressionLevel::Fastest);
    Some(())
}
