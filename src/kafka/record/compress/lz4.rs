//! LZ4 frames, blocks decompressed straight into the output.
//!
//! The frame's parts are read here, the blocks by `lz4_flex`: its own frame reader would copy the output once more and
//! refuses the header checksum that Kafka's clients wrote before KIP-57 (computed over the magic too). Messages of magic 0 and
//! 1 therefore come with `header_checked` false; their CRC-32 covers the header anyway.

use std::io::Write;

use lz4_flex::block::{decompress_into, decompress_into_with_dict};
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
use twox_hash::XxHash32;

use super::corrupt;
use super::output::Output;
use crate::kafka::record::codec::Codec;
use crate::wire::{DecodeError, Reader};

const MAGIC: u32 = 0x184d_2204;
const SKIPPABLE_MASK: u32 = 0xffff_fff0;
const SKIPPABLE: u32 = 0x184d_2a50;

const FLAG_VERSION_MASK: u8 = 0xc0;
const FLAG_VERSION: u8 = 0x40;
const FLAG_INDEPENDENT: u8 = 0x20;
const FLAG_BLOCK_CHECKSUM: u8 = 0x10;
const FLAG_CONTENT_SIZE: u8 = 0x08;
const FLAG_CONTENT_CHECKSUM: u8 = 0x04;
const FLAG_RESERVED: u8 = 0x02;
const FLAG_DICTIONARY: u8 = 0x01;

const UNCOMPRESSED_BIT: u32 = 0x8000_0000;
/// How far back a match reaches.
const WINDOW_BYTES: usize = 64 * 1024;
/// A match of 255 bytes takes one, so a block never grows more than this.
const GROWTH_MAX: usize = 255;

/// Decompresses every frame of `input`.
pub(super) fn decompress(input: &[u8], header_checked: bool, output: &mut Output) -> Result<(), DecodeError> {
    let mut reader = Reader::new(input);
    loop {
        let at = reader.position();
        let magic = u32_le(&mut reader)?;
        if magic & SKIPPABLE_MASK == SKIPPABLE {
            let len = u32_le(&mut reader)?;
            reader.skip(usize::try_from(len).unwrap_or(usize::MAX), "lz4 skippable frame")?;
        } else if magic == MAGIC {
            let header = read_header(&mut reader, header_checked)?;
            frame(&mut reader, &header, output)?;
        } else {
            return Err(corrupt(Codec::Lz4, at));
        }
        if reader.is_empty() {
            return Ok(());
        }
    }
}

struct Header {
    independent: bool,
    block_checksum: bool,
    content_checksum: bool,
    content_size: Option<u64>,
    block_bytes_max: usize,
}

fn read_header(reader: &mut Reader<'_>, checked: bool) -> Result<Header, DecodeError> {
    let at = reader.position();
    let mut descriptor = reader.clone();
    let [flags, sizes] = reader.array::<2>("lz4 header")?;
    if flags & FLAG_VERSION_MASK != FLAG_VERSION || flags & (FLAG_RESERVED | FLAG_DICTIONARY) != 0 {
        return Err(corrupt(Codec::Lz4, at));
    }
    let block_bytes_max: usize = match sizes {
        0x40 => 64 * 1024,
        0x50 => 256 * 1024,
        0x60 => 1024 * 1024,
        0x70 => 4 * 1024 * 1024,
        _ => return Err(corrupt(Codec::Lz4, at)),
    };
    let content_size =
        if flags & FLAG_CONTENT_SIZE == 0 { None } else { Some(u64::from_le_bytes(reader.array("lz4 header")?)) };
    let hashed = descriptor.bytes(reader.position().saturating_sub(at), "lz4 header")?;
    let stored = reader.u8("lz4 header")?;
    if checked && stored != header_checksum(hashed) {
        return Err(corrupt(Codec::Lz4, at));
    }
    Ok(Header {
        independent: flags & FLAG_INDEPENDENT != 0,
        block_checksum: flags & FLAG_BLOCK_CHECKSUM != 0,
        content_checksum: flags & FLAG_CONTENT_CHECKSUM != 0,
        content_size,
        block_bytes_max,
    })
}

/// The blocks of one frame, its end mark and its checksum.
fn frame(reader: &mut Reader<'_>, header: &Header, output: &mut Output) -> Result<(), DecodeError> {
    let start = output.filled();
    loop {
        let at = reader.position();
        let word = u32_le(reader)?;
        if word == 0 {
            break;
        }
        let len = usize::try_from(word & !UNCOMPRESSED_BIT).unwrap_or(usize::MAX);
        if len > header.block_bytes_max {
            return Err(corrupt(Codec::Lz4, at));
        }
        let block = reader.bytes(len, "lz4 block")?;
        if header.block_checksum && u32_le(reader)? != XxHash32::oneshot(0, block) {
            return Err(corrupt(Codec::Lz4, at));
        }
        if word & UNCOMPRESSED_BIT != 0 {
            output.extend(block)?;
        } else {
            decompress_block(block, at, start, header, output)?;
        }
    }
    let at = reader.position();
    let content = output.written().get(start..).unwrap_or_default();
    let size_differs = header.content_size.is_some_and(|size| usize::try_from(size) != Ok(content.len()));
    if size_differs || (header.content_checksum && u32_le(reader)? != XxHash32::oneshot(0, content)) {
        return Err(corrupt(Codec::Lz4, at));
    }
    Ok(())
}

fn decompress_block(
    block: &[u8],
    at: usize,
    frame_start: usize,
    header: &Header,
    output: &mut Output,
) -> Result<(), DecodeError> {
    let most = header.block_bytes_max.min(block.len().saturating_mul(GROWTH_MAX));
    let filled = output.filled();
    let (written, free) = output.split(most);
    let given = most.min(free.len());
    let free = free.get_mut(..given).unwrap_or_default();
    // Linked blocks refer to the output before them, within the same frame.
    let window = written.get(frame_start.max(filled.saturating_sub(WINDOW_BYTES))..).unwrap_or_default();
    let result = if header.independent || window.is_empty() {
        decompress_into(block, free)
    } else {
        decompress_into_with_dict(block, free, window)
    };
    match result {
        Ok(len) => output.advance(len),
        // The block did not fit because the bound left it less than a block may hold.
        Err(_) if given < most => Err(output.too_large(filled.saturating_add(most))),
        Err(_) => Err(corrupt(Codec::Lz4, at)),
    }
}

fn u32_le(reader: &mut Reader<'_>) -> Result<u32, DecodeError> {
    reader.array("lz4 frame").map(u32::from_le_bytes)
}

/// The second byte of the hash, of the descriptor by the standard, of magic and descriptor before KIP-57.
fn header_checksum(bytes: &[u8]) -> u8 {
    let [_, second, _, _] = XxHash32::oneshot(0, bytes).to_le_bytes();
    second
}

/// Appends one frame as Java's client writes it: independent blocks of 64 KiB, no checksums, no content size.
pub(super) fn compress(before_kip57: bool, input: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let start = out.len();
    let info = FrameInfo::new().block_size(BlockSize::Max64KB).block_mode(BlockMode::Independent);
    let mut encoder = FrameEncoder::with_frame_info(info, &mut *out);
    encoder.write_all(input).ok()?;
    encoder.finish().ok()?;
    if before_kip57 {
        let frame = out.get_mut(start..)?;
        let checksum = header_checksum(frame.get(..6)?);
        *frame.get_mut(6)? = checksum;
    }
    Some(())
}
