//! Frames of the C library, frames made by hand, and frames that were damaged, beside what `ruzstd` makes of them.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic)]

use bytes::Bytes;

use super::super::output::Output;
use super::{MAGIC, Unzstd};
use crate::wire::{DecodeError, DecodeFault};

fn unpack_up_to(bytes_max: usize, input: &[u8]) -> Result<Bytes, DecodeError> {
    let mut output = Output::new(&mut Bytes::new(), input.len(), bytes_max);
    Unzstd::new().run(input, &mut output).map(|()| output.into_bytes().1)
}

fn unpack(input: &[u8]) -> Result<Bytes, DecodeError> {
    unpack_up_to(8 << 20, input)
}

#[track_caller]
fn assert_corrupt(input: &[u8]) {
    let error = unpack(input).unwrap_err();
    assert!(matches!(error.fault, DecodeFault::Corrupt | DecodeFault::Truncated { .. }), "{error}");
}

/// The numbers of `vectors/zstd/make`.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn below(&mut self, bound: usize) -> usize {
        self.next() as usize % bound
    }
}

fn noise(seed: u64, count: usize) -> Vec<u8> {
    let mut source = Noise(seed);
    (0..count).map(|_| source.next() as u8).collect()
}

fn lines(count: usize) -> Vec<u8> {
    let mut source = Noise(5);
    let line = |n| {
        let key = source.next() % 97;
        let state = ["new", "paid", "sent"][source.below(3)];
        format!("record {n}, key={key}, state={state};")
    };
    (0..count).map(line).collect::<String>().into_bytes()
}

fn skewed(count: usize) -> Vec<u8> {
    let mut source = Noise(9);
    (0..count).map(|_| b'a' + (source.next() | 1 << 20).trailing_zeros() as u8).collect()
}

fn far() -> Vec<u8> {
    [noise(3, 1000), lines(6000), noise(3, 1000), lines(50)].concat()
}

macro_rules! vectors {
    ($($name:literal: $plain:expr;)*) => {
        [$(($name, &include_bytes!(concat!("../../../../../proto-tests/vectors/zstd/", $name, ".zst"))[..], $plain)),*]
    };
}

fn vectors() -> impl IntoIterator<Item = (&'static str, &'static [u8], Vec<u8>)> {
    vectors! {
        "empty-3": Vec::new();
        "one-3": vec![b'x'];
        "noise-3": noise(1, 2000);
        "run-3": vec![b'r'; 300_000];
        "lines-fast": lines(700);
        "lines-1": lines(700);
        "lines-3": lines(700);
        "lines-19": lines(700);
        "lines-plain-literals": lines(700);
        "lines-sized": lines(700);
        "blocks-3": lines(6000);
        "blocks-ultra": lines(6000);
        "skewed-3": skewed(9000);
        "skewed-19": skewed(9000);
        "far-long": far();
    }
}

#[test]
fn frames_of_the_c_library() {
    let mut decoder = Unzstd::new();
    let mut kept = Bytes::new();
    for (name, frame, plain) in vectors() {
        let unpacked = unpack_up_to(plain.len(), frame).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(unpacked == plain, "{name} gives other bytes");
        if let Some(less) = plain.len().checked_sub(1) {
            let error = unpack_up_to(less, frame).unwrap_err();
            assert!(matches!(error.fault, DecodeFault::TooLarge { max, .. } if max == less), "{name}: {error}");
        }
        // The same by a decoder that has read the others, twice into one output.
        let mut output = Output::new(&mut kept, frame.len(), 8 << 20);
        decoder.run(&[frame, frame].concat(), &mut output).unwrap();
        let (whole, both) = output.into_bytes();
        assert!(both == [&plain[..], &plain[..]].concat(), "{name} twice gives other bytes");
        kept = whole;
    }
}

#[test]
fn no_prefix_is_a_frame() {
    for (name, frame, _) in vectors() {
        for cut in (0..frame.len()).step_by(1 + frame.len() / 300) {
            assert!(unpack(&frame[..cut]).is_err(), "{name} cut at {cut}");
        }
    }
}

fn by_ruzstd(input: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(4 << 20);
    ruzstd::decoding::FrameDecoder::new().decode_all_to_vec(input, &mut out).ok()?;
    Some(out)
}

/// Damaged frames without a checksum: what both decoders take is the same.
#[test]
fn damaged_frames_beside_another_decoder() {
    let mut source = Noise(11);
    let (mut both, mut none, mut alone) = (0, 0, 0);
    for (name, frame, _) in vectors().into_iter().filter(|(_, frame, _)| frame.len() < 7000) {
        let mut frame = frame.to_vec();
        if frame[4] & 0x04 != 0 {
            frame[4] &= !0x04;
            frame.truncate(frame.len() - 4);
        }
        for _ in 0..40_000 / frame.len().max(100) {
            let mut bad = frame.clone();
            for _ in 0..1 + source.below(2) {
                let at = source.below(bad.len());
                bad[at] ^= 1 << source.below(8);
            }
            match (unpack(&bad), by_ruzstd(&bad)) {
                (Ok(ours), Some(theirs)) => {
                    assert!(ours == theirs, "{name}: {bad:02x?}");
                    both += 1;
                }
                (Err(_), None) => none += 1,
                // It looks neither at a content's size nor whether a block is larger than the window or streams of codes end where they should.
                (Err(_), Some(_)) => alone += 1,
                (Ok(_), None) => panic!("{name}: ours alone takes {bad:02x?}"),
            }
        }
    }
    assert!(both > 100 && none > 100 && alone < none, "{both} taken, {none} refused, {alone} by ours alone");
}

/// Bits that are written in the order in which they are read.
#[derive(Default)]
struct BitWriter(Vec<bool>);

impl BitWriter {
    fn put(&mut self, value: u32, bits: u32) {
        self.0.extend((0..bits).rev().map(|bit| value >> bit & 1 != 0));
    }

    fn bytes(self) -> Vec<u8> {
        // The first bit stands below the end mark, at the end.
        let bits: Vec<bool> = self.0.into_iter().rev().chain([true]).collect();
        bits.chunks(8).map(|byte| (0..8).zip(byte).map(|(n, bit)| u8::from(*bit) << n).sum()).collect()
    }
}

fn frame(blocks: &[Vec<u8>]) -> Vec<u8> {
    let mut frame = MAGIC.to_le_bytes().to_vec();
    // A window of 1 MiB, nothing else.
    frame.extend([0, 10 << 3]);
    for (n, block) in blocks.iter().enumerate() {
        let head = (block.len() as u32) << 3 | 2 << 1 | u32::from(n + 1 == blocks.len());
        frame.extend(&head.to_le_bytes()[..3]);
        frame.extend(block);
    }
    frame
}

/// A block of raw literals and of sequences that all have the same three codes: literals, offset, match.
fn block(literals: &[u8], codes: [u8; 3], count: u8, bits: Vec<u8>) -> Vec<u8> {
    let header = (literals.len() as u32) << 4 | 3 << 2;
    [&header.to_le_bytes()[..3], literals, &[count, 0b0101_0100], &codes, &bits].concat()
}

/// Every distance from 1 to 40 with matches of many lengths, at the end of the output and within.
#[test]
fn matches_at_every_distance() {
    for distance in 1_u32..=40 {
        for (code, extra, len) in
            [(0, 0, 3), (13, 0, 16), (14, 0, 17), (29, 0, 32), (30, 0, 33), (43, 69, 200), (52, 7, 65546)]
        {
            let literals = noise(u64::from(distance), distance as usize);
            let mut bits = BitWriter::default();
            // Offset code 5: values from 32 to 63; the smaller ones have codes of their own.
            let value = distance + 3;
            let offset_code = value.ilog2();
            bits.put(value - (1 << offset_code), offset_code);
            bits.put(
                extra,
                match code {
                    43 => 7,
                    52 => 16,
                    _ => 0,
                },
            );
            let literals_code = literal_code(distance);
            bits.put(distance - literals_code.1, literals_code.2);
            let good = frame(&[block(&literals, [literals_code.0, offset_code as u8, code], 1, bits.bytes())]);
            let plain: Vec<u8> = literals.iter().copied().cycle().take(literals.len() + len).collect();
            assert!(unpack(&good).unwrap() == plain, "distance {distance}, length {len}");
            assert!(
                unpack_up_to(plain.len(), &good).unwrap() == plain,
                "distance {distance}, length {len}, at the bound"
            );
            assert!(unpack_up_to(plain.len() - 1, &good).is_err());
        }
    }
}

/// The code of a number of literals up to 40, its least number and its extra bits.
fn literal_code(len: u32) -> (u8, u32, u32) {
    match len {
        0..=15 => (len as u8, len, 0),
        16..=23 => (16 + ((len - 16) / 2) as u8, len & !1, 1),
        24..=31 => (20 + ((len - 24) / 4) as u8, len & !3, 2),
        32..=47 => (22 + ((len - 32) / 8) as u8, len & !7, 3),
        _ => unreachable!(),
    }
}

/// Offsets named again, with and without literals, beside a plain model of the rule.
#[test]
fn repeated_offsets() {
    let start = noise(2, 12);
    let mut source = Noise(4);
    for round in 0..200 {
        // First 12 literals and a match by a repeated offset, which sets nothing but their order.
        let mut plain = start.clone();
        let mut repeats = [1_usize, 4, 8];
        let mut literals = start.clone();
        let mut blocks = Vec::new();
        for n in 0..6 {
            let literals_len = if n == 0 { 12 } else { [0, 2][source.below(2)] };
            let new: Vec<u8> = if n == 0 { Vec::new() } else { noise(round + n, literals_len) };
            plain.extend(&new);
            if n > 0 {
                literals = new;
            }
            // Value 1 has code 0; 2 and 3 have code 1 and a bit.
            let value = 1 + source.below(3);
            let index = value - 1 + usize::from(literals_len == 0);
            let mut distance = if index == 3 { repeats[0] - 1 } else { repeats[index] };
            if distance == 0 {
                // Refused: no match is zero back.
                distance = usize::MAX;
            }
            let mut bits = BitWriter::default();
            if value > 1 {
                bits.put(value as u32 - 2, 1);
            }
            blocks.push(block(&literals, [literals_len as u8, u8::from(value > 1), 2], 1, bits.bytes()));
            if distance == usize::MAX {
                assert_corrupt(&frame(&blocks));
                blocks.clear();
                break;
            }
            match index {
                0 => {}
                1 => repeats.swap(0, 1),
                _ => repeats = [distance, repeats[0], repeats[1]],
            }
            for _ in 0..5 {
                plain.push(plain[plain.len() - distance]);
            }
        }
        if !blocks.is_empty() {
            assert_eq!(unpack(&frame(&blocks)).unwrap(), plain, "round {round}");
        }
    }
}

#[test]
fn blocks_that_lie() {
    let bits = || {
        let mut bits = BitWriter::default();
        bits.put(1, 1);
        bits.bytes()
    };
    // Four literals, then three bytes from one back: value 3 without more.
    let good = block(b"abcd", [4, 1, 0], 1, bits());
    // Value 3 is the third offset, 8: before the frame.
    assert_corrupt(&frame(&[good]));
    let mut zero = BitWriter::default();
    zero.put(0, 1);
    let good = block(b"abcd", [4, 1, 0], 1, zero.bytes());
    assert_eq!(unpack(&frame(std::slice::from_ref(&good))).unwrap(), b"abcdabc"[..]);
    // A second frame does not reach into the first.
    let second = block(b"abcd", [4, 1, 0], 1, bits());
    assert_corrupt(&[frame(std::slice::from_ref(&good)), frame(&[second])].concat());
    // More literals than there are; reserved bits of the modes; a bit left; a bit too few; a code that is none.
    assert_corrupt(&frame(&[block(b"abc", [4, 1, 0], 1, bits())]));
    let mut reserved = good.clone();
    reserved[8] |= 1;
    assert_corrupt(&frame(&[reserved]));
    let mut more = BitWriter::default();
    more.put(0, 2);
    assert_corrupt(&frame(&[block(b"abcd", [4, 1, 0], 1, more.bytes())]));
    assert_corrupt(&frame(&[block(b"abcd", [4, 1, 0], 1, BitWriter::default().bytes())]));
    for codes in [[36, 1, 0], [4, 32, 0], [4, 1, 53]] {
        assert_corrupt(&frame(&[block(b"abcd", codes, 1, bits())]));
    }
    // Tables or a Huffman code of the block before, where there is none, also in a second frame.
    let mut repeated = good.clone();
    repeated[8] = 0b1101_0100;
    repeated.remove(9);
    // The offset of 4 has become the first, that of 1 the second.
    assert_eq!(unpack(&frame(&[good.clone(), repeated.clone()])).unwrap(), b"abcdabcabcdddd"[..]);
    assert_corrupt(&frame(std::slice::from_ref(&repeated)));
    assert_corrupt(&[frame(&[good]), frame(&[repeated])].concat());
    assert_corrupt(&frame(&[vec![0b0011, 0b0100_0000, 0, b'x', 0]]));
}

/// A block may write 128 KiB; one that asks for more is refused, however few its bytes.
#[test]
fn a_block_writes_no_more_than_a_block_may() {
    let mut bits = BitWriter::default();
    for _ in 0..2 {
        bits.put(0, 0);
        bits.put(0xfffc, 16);
    }
    // Two literals each and matches of 65,539 + 65,532 bytes from one back.
    assert_corrupt(&frame(&[block(b"abcd", [2, 0, 52], 2, bits.bytes())]));
    let mut bits = BitWriter::default();
    bits.put(0xfffb, 16);
    let plain = unpack(&frame(&[block(b"ab", [2, 0, 52], 1, bits.bytes())])).unwrap();
    assert_eq!(plain.len(), 2 + 65_539 + 0xfffb);
    let mut bits = BitWriter::default();
    bits.put(0xffff, 16);
    assert_corrupt(&frame(&[block(b"ab", [2, 0, 52], 1, bits.bytes())]));
}
