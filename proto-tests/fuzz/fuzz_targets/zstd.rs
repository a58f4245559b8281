//! Our zstd decoder beside that of the C library.
//!
//! What C accepts, ours gives the same bytes of; what C refuses, ours refuses. Where ours alone refuses, C in one call or
//! `ruzstd` has to refuse as well: C takes Huffman codes of 12 bits, where the standard ends at 11, and its stream decoder does not
//! compare the content's size behind an empty last block. C is built without its fast loop for Huffman
//! codes, which does not look whether streams end where they should (`proto-tests/run`).
//!
//! The input chooses: frames as they are; plain bytes that C packs at some level; such a frame with some of its bytes changed.

#![no_main]
#![allow(dead_code, unused_imports, unreachable_pub, reason = "of the library's files only what is needed is called")]

use forebay::{limits, wire};
use zstd_safe::{CCtx, CParameter, DCtx, InBuffer, OutBuffer};

use crate::kafka::record::{Decompressor, unzstd};

#[path = "../src/library/kafka.rs"]
mod kafka;

#[global_allocator]
static MEMORY: cap::Cap<std::alloc::System> = cap::Cap::new(std::alloc::System, usize::MAX);

const OUTPUT_BYTES_MAX: usize = 1024 * 1024;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((mode, rest)) = data.split_first() else { return };
    match (mode % 4, rest) {
        (0, frames) => compare(frames),
        (1, [level, flags, plain @ ..]) => {
            let packed = pack(*level, *flags, plain);
            let mut decompressor = Decompressor::new(OUTPUT_BYTES_MAX);
            for _ in 0..2 {
                let unpacked = unzstd(&mut decompressor, &packed).expect("a frame of C");
                assert!(unpacked == plain, "other bytes than were packed");
            }
        }
        (_, [level, flags, changes, rest @ ..]) => {
            let count = usize::from(changes % 8) * 3;
            let Some((changes, plain)) = rest.split_at_checked(count) else { return };
            let mut packed = pack(*level, *flags, plain);
            let len = packed.len();
            for change in changes.chunks_exact(3) {
                let at = usize::from(u16::from_le_bytes([change[0], change[1]]));
                packed[at % len] ^= change[2];
            }
            compare(&packed);
        }
        _ => {}
    }
});

/// Packs bytes, repeated so that there are matches of every length, by C.
fn pack(level: u8, flags: u8, plain: &[u8]) -> Vec<u8> {
    let mut packer = CCtx::create();
    let level = i32::from(level % 30) - 7;
    packer.set_parameter(CParameter::CompressionLevel(level)).expect("a level");
    packer.set_parameter(CParameter::ChecksumFlag(flags & 1 != 0)).expect("a flag");
    packer.set_parameter(CParameter::ContentSizeFlag(flags & 2 != 0)).expect("a flag");
    let mut packed = vec![0; zstd_safe::compress_bound(plain.len())];
    let len = packer.compress2(&mut packed[..], plain).expect("bytes that fit");
    packed.truncate(len);
    packed
}

fn compare(input: &[u8]) {
    let mut decompressor = Decompressor::new(OUTPUT_BYTES_MAX);
    let ours = unzstd(&mut decompressor, input);
    let stream = by_c(input);
    match (ours, stream) {
        (Ok(ours), Some(theirs)) => assert!(ours == theirs, "other bytes than C's"),
        (Ok(ours), None) => panic!("C refuses what ours takes, {} bytes", ours.len()),
        (Err(error), Some(theirs)) => {
            let others_take_it = by_c_at_once(input).is_some() && by_ruzstd(input).is_some();
            assert!(input.is_empty() || !others_take_it, "ours alone refuses: {error}, {} bytes", theirs.len());
        }
        (Err(_), None) => {}
    }
}

/// What C's stream decoder, which Kafka's clients use, makes of all frames.
fn by_c(input: &[u8]) -> Option<Vec<u8>> {
    let mut decoder = DCtx::create();
    let mut source = InBuffer::around(input);
    let mut out = vec![0; OUTPUT_BYTES_MAX + 1];
    let mut filled = 0;
    let wanted = loop {
        let before = source.pos;
        let mut target = OutBuffer::around_pos(&mut out[..], filled);
        let wanted = match decoder.decompress_stream(&mut target, &mut source) {
            Ok(wanted) => wanted,
            Err(_) => return None,
        };
        let written = target.pos();
        if written > OUTPUT_BYTES_MAX {
            return None;
        }
        let still = written == filled && source.pos == before;
        filled = written;
        if source.pos == input.len() && (wanted == 0 || still) {
            break wanted;
        }
    };
    out.truncate(filled);
    (wanted == 0).then_some(out)
}

/// What C makes of all frames in one call.
fn by_c_at_once(input: &[u8]) -> Option<Vec<u8>> {
    let mut out = vec![0; OUTPUT_BYTES_MAX];
    let len = zstd_safe::decompress(&mut out[..], input).ok()?;
    out.truncate(len);
    Some(out)
}

fn by_ruzstd(input: &[u8]) -> Option<Vec<u8>> {
    let mut decoder = ruzstd::decoding::FrameDecoder::new();
    let mut out = Vec::with_capacity(4 * OUTPUT_BYTES_MAX);
    decoder.decode_all_to_vec(input, &mut out).ok()?;
    Some(out)
}
