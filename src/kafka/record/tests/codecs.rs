//! What each codec's stream may look like beyond what our own builders write, and what is refused.

use std::io::Write;

use super::super::compress::{CompressOptions, compress};
use super::*;
use crate::wire::{DecodeError, DecodeFault};

fn compressed(codec: Codec, plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    compress(codec, CompressOptions::default(), plain, &mut out).unwrap();
    out
}

fn decompress(codec: Codec, input: &[u8]) -> Result<Bytes, DecodeError> {
    Decompressor::default().decompress(codec, input, true)
}

#[track_caller]
fn assert_plain(codec: Codec, input: &[u8], plain: &[u8]) {
    let output = decompress(codec, input).unwrap();
    assert_eq!(output.len(), plain.len());
    assert!(output == plain, "{codec} gives other bytes");
}

#[track_caller]
fn assert_corrupt(codec: Codec, input: &[u8]) {
    let error = decompress(codec, input).unwrap_err();
    assert!(matches!(error.fault, DecodeFault::Corrupt | DecodeFault::Truncated { .. }), "{error}");
}

#[test]
fn every_prefix_is_refused() {
    let plain = text(1, 5000);
    for codec in Codec::ALL.into_iter().filter(|codec| *codec != Codec::None) {
        let whole = compressed(codec, &plain);
        assert_plain(codec, &whole, &plain);
        for cut in 0..whole.len() {
            // The header of xerial's framing is a stream of no chunks.
            if codec == Codec::Snappy && cut == 16 {
                continue;
            }
            let result = decompress(codec, &whole[..cut]);
            assert!(result.is_err(), "{codec} cut at {cut} of {}", whole.len());
        }
    }
}

#[test]
fn empty_output() {
    for codec in Codec::ALL {
        assert_plain(codec, &compressed(codec, b""), b"");
    }
}

#[test]
fn the_bound_is_exact() {
    for codec in Codec::ALL {
        for len in [100, 70_000, 300_000] {
            let plain = text(3, len);
            let input = compressed(codec, &plain);
            assert_eq!(Decompressor::new(len).decompress(codec, &input, true).unwrap(), plain, "{codec} {len}");
            let error = Decompressor::new(len - 1).decompress(codec, &input, true).unwrap_err();
            assert!(
                matches!(error.fault, DecodeFault::TooLarge { max, .. } if max == len - 1),
                "{codec} {len}: {error}"
            );
        }
    }
}

/// One decompressor goes from codec to codec and from error to success.
#[test]
fn state_does_not_leak_from_batch_to_batch() {
    let mut decompressor = Decompressor::default();
    for round in 0..4 {
        for codec in Codec::ALL {
            let plain = text(round, 1000 + round * 40_000);
            let input = compressed(codec, &plain);
            let kept = decompressor.decompress(codec, &input, true).unwrap();
            if codec != Codec::None {
                assert!(decompressor.decompress(codec, &input[..input.len() - 3], true).is_err());
            }
            assert_eq!(decompressor.decompress(codec, &input, true).unwrap(), plain);
            assert_eq!(kept, plain, "output in use was written over");
        }
    }
}

#[test]
fn gzip_of_several_members() {
    let (one, two) = (text(1, 40_000), text(2, 300));
    let mut input = compressed(Codec::Gzip, &one);
    input.extend(compressed(Codec::Gzip, b""));
    input.extend(compressed(Codec::Gzip, &two));
    let plain = [one, two].concat();
    assert_plain(Codec::Gzip, &input, &plain);
    assert_plain(Codec::Gzip, &[input.as_slice(), &[0; 5]].concat(), &plain);
    assert_corrupt(Codec::Gzip, &[input.as_slice(), b"rubbish"].concat());
}

#[test]
fn gzip_headers_with_every_field() {
    let mut encoder = flate2::GzBuilder::new()
        .extra(*b"extra")
        .filename("name")
        .comment("comment")
        .mtime(7)
        .write(Vec::new(), flate2::Compression::best());
    encoder.write_all(b"plain").unwrap();
    let mut input = encoder.finish().unwrap();
    assert_plain(Codec::Gzip, &input, b"plain");
    // Reserved flags make a header of unknown length.
    input[3] |= 0x20;
    assert_corrupt(Codec::Gzip, &input);
}

#[test]
fn gzip_trailer_is_compared() {
    let input = compressed(Codec::Gzip, b"plain");
    for at in input.len() - 8..input.len() {
        let mut bad = input.clone();
        bad[at] ^= 1;
        assert_corrupt(Codec::Gzip, &bad);
    }
}

#[test]
fn snappy_in_both_forms() {
    let plain = text(5, 100_000);
    let xerial = compressed(Codec::Snappy, &plain);
    let chunk = i32::from_be_bytes(xerial[16..20].try_into().unwrap());
    assert!(xerial.starts_with(b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01") && (chunk as usize) < 32 * 1024);
    assert_plain(Codec::Snappy, &xerial, &plain);
    // A stream that was appended to has its header again.
    assert_plain(Codec::Snappy, &[xerial.clone(), xerial.clone()].concat(), &[plain.clone(), plain.clone()].concat());

    let mut raw = Vec::new();
    let options = CompressOptions { snappy: SnappyForm::Raw, ..CompressOptions::default() };
    compress(Codec::Snappy, options, &plain, &mut raw).unwrap();
    assert_plain(Codec::Snappy, &raw, &plain);
}

#[test]
fn snappy_lengths_that_lie() {
    assert_corrupt(Codec::Snappy, b"");
    // A raw block that promises 2^32 - 1 bytes, and one that promises 1,000 from nothing.
    assert_corrupt(Codec::Snappy, &[0xff, 0xff, 0xff, 0xff, 0x0f, 0x00]);
    assert_corrupt(Codec::Snappy, &[0xe8, 0x07]);
    let header = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";
    for chunk in [&[0xff, 0xff, 0xff, 0xff][..], &[0x7f, 0xff, 0xff, 0xff, 0], &[0, 0, 0, 2, 1], &[0, 0, 0, 0], &[1]] {
        assert_corrupt(Codec::Snappy, &[&header[..], chunk].concat());
    }
    assert_corrupt(Codec::Snappy, &[&header[..], b"\x82SNATCH\0\0\0\0\x01\0\0\0\x01"].concat());
}

fn lz4_frame(plain: &[u8], info: lz4_flex::frame::FrameInfo) -> Vec<u8> {
    let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn lz4_frames_of_every_kind() {
    use lz4_flex::frame::{BlockMode, BlockSize, FrameInfo};
    let plain = text(9, 600_000);
    let sizes = [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max1MB, BlockSize::Max4MB];
    for size in sizes {
        for mode in [BlockMode::Independent, BlockMode::Linked] {
            for checksums in [false, true] {
                for content_size in [None, Some(plain.len() as u64)] {
                    let info = FrameInfo::new()
                        .block_size(size)
                        .block_mode(mode)
                        .block_checksums(checksums)
                        .content_checksum(checksums)
                        .content_size(content_size);
                    let frame = lz4_frame(&plain, info);
                    assert_plain(Codec::Lz4, &frame, &plain);
                    // A second frame begins with an empty window, and a skippable one counts for nothing.
                    let skippable = [&0x184d_2a53_u32.to_le_bytes()[..], &3_u32.to_le_bytes(), b"abc"].concat();
                    let all = [skippable.clone(), frame.clone(), skippable, frame].concat();
                    assert_plain(Codec::Lz4, &all, &[plain.clone(), plain.clone()].concat());
                }
            }
        }
    }
}

#[test]
fn lz4_of_incompressible_bytes() {
    let mut state = 1_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    })
    .take(200_000)
    .collect();
    for codec in Codec::ALL {
        assert_plain(codec, &compressed(codec, &noise), &noise);
    }
}

#[test]
fn lz4_checksums_and_sizes_are_compared() {
    let plain = text(9, 1000);
    let all = lz4_flex::frame::FrameInfo::new().block_checksums(true).content_checksum(true).content_size(Some(1000));
    let frame = lz4_frame(&plain, all);
    for at in 0..frame.len() {
        let mut bad = frame.clone();
        bad[at] ^= 0x04;
        assert!(decompress(Codec::Lz4, &bad).is_err(), "byte {at}");
    }
    let mut lying = lz4_frame(&plain, lz4_flex::frame::FrameInfo::new().content_size(Some(1000)));
    lying[6] ^= 1; // the content size, under a right header checksum
    lying[14] = twox_hash::XxHash32::oneshot(0, &lying[4..14]).to_le_bytes()[1];
    assert_corrupt(Codec::Lz4, &lying);
}

/// An LZ4 block that begins with a match reaches before the frame: refused, whatever lies there.
#[test]
fn lz4_match_before_the_frame() {
    let good = compressed(Codec::Lz4, &text(1, 100));
    let mut bad = good.clone();
    // magic, flags (linked blocks), sizes, checksum; a block: no literals, a match of 4 at distance 8, then 5 literals
    bad.extend([0x04, 0x22, 0x4d, 0x18, 0x40, 0x40]);
    bad.push(twox_hash::XxHash32::oneshot(0, &[0x40, 0x40]).to_le_bytes()[1]);
    let block = [0x00, 8, 0, 0x50, b'a', b'b', b'c', b'd', b'e'];
    bad.extend((block.len() as u32).to_le_bytes());
    bad.extend(block);
    bad.extend([0; 4]);
    assert_corrupt(Codec::Lz4, &bad);
}

const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// A frame with the window of `descriptor` around one block of `len` times `byte` (RFC 8878, RLE_Block).
fn zstd_run(descriptor: u8, byte: u8, len: u32) -> Vec<u8> {
    let block = (len << 3) | (1 << 1) | 1;
    [&ZSTD_MAGIC[..], &[0, descriptor], &block.to_le_bytes()[..3], &[byte]].concat()
}

#[test]
fn zstd_of_several_frames() {
    let plain = text(4, 200_000);
    let frame = compressed(Codec::Zstd, &plain);
    let skippable = [&0x184d_2a50_u32.to_le_bytes()[..], &4_u32.to_le_bytes(), b"skip"].concat();
    let all = [frame.clone(), skippable, zstd_run(0, b'r', 1000), frame].concat();
    assert_plain(Codec::Zstd, &all, &[plain.clone(), vec![b'r'; 1000], plain].concat());
}

/// Windows up to 128 MiB are taken, as the C library does, and cost nothing before there is output.
#[test]
fn zstd_windows() {
    for log in 10..=27 {
        // A block is no larger than the window.
        let len = (1 << log).min(90_000);
        assert_plain(Codec::Zstd, &zstd_run((log - 10) << 3, b'w', len), &vec![b'w'; len as usize]);
    }
    assert_corrupt(Codec::Zstd, &zstd_run((28 - 10) << 3, b'w', 10));
    assert_corrupt(Codec::Zstd, &zstd_run(((27 - 10) << 3) | 1, b'w', 10));
    assert_corrupt(Codec::Zstd, &zstd_run(0xff, b'w', 10));
}

#[test]
fn zstd_sizes_checksums_and_dictionaries() {
    // Single segment, content size in one byte.
    let sized = |size: u8| [&ZSTD_MAGIC[..], &[0x20, size], &[(5 << 3) | 3, 0, 0, b's']].concat();
    assert_plain(Codec::Zstd, &sized(5), b"sssss");
    assert_corrupt(Codec::Zstd, &sized(6));
    assert_corrupt(Codec::Zstd, &sized(4));
    let error = Decompressor::new(100).decompress(Codec::Zstd, &sized(200), true).unwrap_err();
    assert_eq!(error.fault, DecodeFault::TooLarge { size: 200, max: 100 });
    // A content size of 2^64 - 1.
    let huge = [&ZSTD_MAGIC[..], &[0xe0], &[0xff; 8], &[(5 << 3) | 3, 0, 0, b's']].concat();
    assert!(matches!(decompress(Codec::Zstd, &huge).unwrap_err().fault, DecodeFault::TooLarge { .. }));

    let mut bad = compressed(Codec::Zstd, &text(4, 300));
    assert_ne!(bad[4] & 0x04, 0, "the encoder writes checksums");
    let last = bad.len() - 1;
    bad[last] ^= 1;
    assert_corrupt(Codec::Zstd, &bad);

    assert_corrupt(Codec::Zstd, &[&ZSTD_MAGIC[..], &[0x01, 0, 7], &[(5 << 3) | 3, 0, 0, b's']].concat());
    assert_corrupt(Codec::Zstd, &[&ZSTD_MAGIC[..], &[0x08, 0], &[(5 << 3) | 3, 0, 0, b's']].concat());
    assert_corrupt(Codec::Zstd, b"");
    assert_corrupt(Codec::Zstd, b"\x28\xb5\x2f\xfe....");
}

/// Streams of bytes that no compressor wrote, behind the right first bytes.
#[test]
fn noise_in_every_codec() {
    let mut state = 7_u64;
    let mut decompressor = Decompressor::new(1 << 20);
    let starts: [(Codec, &[u8]); 6] = [
        (Codec::Gzip, &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0]),
        (Codec::Snappy, b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\0\0\0\x40"),
        (Codec::Snappy, &[0x80, 0x02]),
        (Codec::Lz4, &[0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82, 0x40, 0, 0, 0]),
        (Codec::Zstd, &[0x28, 0xb5, 0x2f, 0xfd, 0, 0x58, 0x05, 0x02, 0]),
        (Codec::Zstd, &[0x28, 0xb5, 0x2f, 0xfd]),
    ];
    let mut refused = 0;
    for round in 0..3000 {
        for (codec, start) in starts {
            let mut input = start.to_vec();
            for _ in 0..(round % 200) {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                input.push((state >> 56) as u8);
            }
            refused += usize::from(decompressor.decompress(codec, &input, false).is_err());
        }
    }
    assert!(refused > 17_000, "only {refused} of 18,000 refused");
}
