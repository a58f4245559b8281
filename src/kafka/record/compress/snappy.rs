//! Snappy: one raw block (librdkafka, and most clients outside Java), or xerial's framing of several (Java).
//!
//! xerial's framing: 8 bytes of magic, a version and the least compatible version (32 bits each, big-endian), then chunks of a
//! 32-bit big-endian length and a raw block. A stream that was appended to may hold the header again between chunks.

use snap::raw::{Decoder, Encoder, decompress_len, max_compress_len};

use super::corrupt;
use super::output::Output;
use crate::kafka::record::codec::{Codec, SnappyForm};
use crate::wire::{DecodeError, Reader};

const XERIAL_MAGIC: [u8; 8] = *b"\x82SNAPPY\0";
/// The magic's first four bytes read as a chunk length: negative, so no chunk has it.
const XERIAL_MAGIC_AS_LEN: [u8; 4] = *b"\x82SNA";
/// Bytes of a header after its first four.
const XERIAL_HEADER_REST: usize = 12;
/// snappy-java's default block size.
const XERIAL_CHUNK_BYTES: usize = 32 * 1024;

/// A copy of 64 bytes takes 3, so a block never grows more than this; a promise beyond is a lie.
const GROWTH_MAX: usize = 22;

/// Decompresses `input` in either form.
pub(super) fn decompress(input: &[u8], output: &mut Output) -> Result<(), DecodeError> {
    if !input.starts_with(&XERIAL_MAGIC) {
        return block(input, 0, output);
    }
    let mut reader = Reader::new(input);
    while !reader.is_empty() {
        let at = reader.position();
        let len: [u8; 4] = reader.array("snappy chunk")?;
        if len == XERIAL_MAGIC_AS_LEN {
            let rest = reader.bytes(XERIAL_HEADER_REST, "snappy header")?;
            if !rest.starts_with(b"PPY\0") {
                return Err(corrupt(Codec::Snappy, at));
            }
            continue;
        }
        let len = usize::try_from(i32::from_be_bytes(len)).map_err(|_| corrupt(Codec::Snappy, at))?;
        let at = reader.position();
        block(reader.bytes(len, "snappy chunk")?, at, output)?;
    }
    Ok(())
}

/// One raw block, found at byte `at`.
fn block(input: &[u8], at: usize, output: &mut Output) -> Result<(), DecodeError> {
    let promised = decompress_len(input).map_err(|_| corrupt(Codec::Snappy, at))?;
    if input.is_empty() || promised > input.len().saturating_mul(GROWTH_MAX) {
        return Err(corrupt(Codec::Snappy, at));
    }
    let total = output.filled().saturating_add(promised);
    if total > output.bytes_max() {
        return Err(output.too_large(total));
    }
    let written = Decoder::new().decompress(input, output.free(promised)).map_err(|_| corrupt(Codec::Snappy, at))?;
    output.advance(written)
}

/// Appends `input` in `form`.
pub(super) fn compress(form: SnappyForm, input: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut encoder = Encoder::new();
    if form == SnappyForm::Raw {
        return append_block(&mut encoder, input, out).map(|_| ());
    }
    out.extend_from_slice(&XERIAL_MAGIC);
    out.extend_from_slice(&1_i32.to_be_bytes());
    out.extend_from_slice(&1_i32.to_be_bytes());
    for chunk in input.chunks(XERIAL_CHUNK_BYTES) {
        let len_at = out.len();
        out.extend_from_slice(&[0; 4]);
        let len = append_block(&mut encoder, chunk, out)?;
        let len = i32::try_from(len).ok()?;
        out.get_mut(len_at..len_at.checked_add(4)?)?.copy_from_slice(&len.to_be_bytes());
    }
    Some(())
}

/// Appends one raw block; its length.
fn append_block(encoder: &mut Encoder, input: &[u8], out: &mut Vec<u8>) -> Option<usize> {
    let start = out.len();
    out.resize(start.checked_add(max_compress_len(input.len()))?, 0);
    let len = encoder.compress(input, out.get_mut(start..)?).ok()?;
    out.truncate(start.checked_add(len)?);
    Some(len)
}
