//! Batches and bodies that decompress to a gigabyte from next to nothing: refused, and the memory of this process shows it.
//!
//! Alone in its file, since the kernel counts the peak of the whole process.

use std::{fs, io};

use bytes::Bytes;
use forebay::kafka::record::{BatchBuilder, BatchOptions, Codec, Decompressor, RecordSet, SnappyForm};
use forebay::limits::{BODY_WINDOW_BYTES_MAX, DECOMPRESSED_BATCH_BYTES_MAX};
use forebay::tunnel::encode::{Compression, unpacked};
use forebay::wire::{DecodeFault, crc32c};

const MIB: usize = 1024 * 1024;
/// What the allocator, the bombs themselves and the decoders' tables may take beside the output.
const SLACK_BYTES: usize = 12 * MIB;

/// A line of `/proc/self/status` in bytes.
fn status(field: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux tells a process's memory");
    let line = status.lines().find(|line| line.starts_with(field)).expect("the field is there");
    let kib: usize = line.split_whitespace().nth(1).expect("a number").parse().expect("a number");
    kib * 1024
}

/// A batch header around `payload`, right in everything.
fn batch(codec: Codec, payload: &[u8]) -> Bytes {
    let mut batch = BatchBuilder::new(BatchOptions::default()).finish(0).expect("an empty batch");
    batch.extend_from_slice(payload);
    let length = i32::try_from(batch.len() - 12).expect("a small batch");
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    batch[22] = codec.id();
    batch[57..61].copy_from_slice(&1_i32.to_be_bytes());
    let crc = crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch.into()
}

/// The compressed records of a batch that holds a mebibyte of zeros.
fn mebibyte(codec: Codec, snappy: SnappyForm) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions { codec, snappy, ..BatchOptions::default() });
    builder.push(0, None, Some(&vec![0; MIB]), &[]);
    builder.finish(0).expect("a batch")[61..].to_vec()
}

/// One zstd frame with a window of `1 << window_log` bytes and `blocks` runs of 128 KiB.
fn zstd_runs(window_log: u8, blocks: u32) -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, (window_log - 10) << 3];
    let run: u32 = 128 * 1024;
    for block in 1..=blocks {
        let header = (run << 3) | (1 << 1) | u32::from(block == blocks);
        frame.extend_from_slice(&header.to_le_bytes()[..3]);
        frame.push(0);
    }
    frame
}

/// One block of zstd whose 2,000 sequences each copy 64 KiB: 131 MB where 128 KiB are allowed.
fn zstd_copies() -> Vec<u8> {
    let (literals, sequences) = (2000_u32, 2000_u32);
    let mut block = Vec::new();
    // Raw literals with a size of 12 bits.
    block.extend_from_slice(&((literals << 4) | (1 << 2)).to_le_bytes()[..2]);
    block.extend(vec![b'x'; 2000]);
    let [_, _, high, low] = sequences.to_be_bytes();
    // One code each: a literal, the offset 1, and a match of 65,539 bytes and 16 bits more.
    block.extend_from_slice(&[high | 0x80, low, 0b0101_0100, 1, 2, 52]);
    // 18 bits a sequence, all of them 0, then the mark of the end.
    block.extend(vec![0; 2000 * 18 / 8]);
    block.push(1);
    let header = u32::try_from(block.len()).expect("a small block") << 3 | 2 << 1 | 1;
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 10 << 3];
    frame.extend_from_slice(&header.to_le_bytes()[..3]);
    frame.extend(block);
    frame
}

fn refuse(what: &str, batch: Bytes, decompressor: &mut Decompressor) {
    let compressed = batch.len();
    let batch = RecordSet::new(batch).batches().next().expect("a batch").expect("a good header");
    let error = batch.decode(decompressor).expect_err(what);
    assert!(
        matches!(error.fault, DecodeFault::TooLarge { max: DECOMPRESSED_BATCH_BYTES_MAX, .. }),
        "{what}, {compressed} bytes: {error}"
    );
}

/// A zstd body of Tunnel: how many bytes come out of it, which nobody keeps.
fn read_body(body: Vec<u8>) -> io::Result<u64> {
    io::copy(&mut unpacked(Compression::Zstd, io::Cursor::new(body)), &mut io::sink())
}

fn bodies_of_tunnel_are_unpacked_within_the_bound(before: usize) {
    // One segment: its window is its content, here a gigabyte.
    let one_segment = [&[0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0, 0x40][..], &[0; 100]].concat();
    for (what, body) in
        [("a large window", zstd_runs(27, 8192)), ("one large segment", one_segment), ("copies", zstd_copies())]
    {
        let error = read_body(body).expect_err(what);
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{what}: {error}");
    }
    // As much as one likes may come out, a piece at a time.
    assert_eq!(read_body(zstd_runs(23, 2048)).expect("a good body"), 2048 * 128 * 1024);
    let bound = 2 * usize::try_from(BODY_WINDOW_BYTES_MAX).expect("it fits") + SLACK_BYTES;
    let grown = status("VmHWM") - before;
    assert!(grown < bound, "{} MiB", grown / MIB);
}

#[test]
fn a_gigabyte_from_nothing_is_refused_within_the_bound() {
    let repeated = |codec, form, times| batch(codec, &mebibyte(codec, form).repeat(times));
    let bombs = [
        ("gzip members", repeated(Codec::Gzip, SnappyForm::Xerial, 1024)),
        ("snappy chunks", repeated(Codec::Snappy, SnappyForm::Xerial, 100)),
        ("lz4 frames", repeated(Codec::Lz4, SnappyForm::Xerial, 1024)),
        ("zstd frames", repeated(Codec::Zstd, SnappyForm::Xerial, 1024)),
        ("zstd runs", batch(Codec::Zstd, &zstd_runs(27, 8192))),
    ];
    let mut decompressor = Decompressor::default();
    let before = status("VmRSS");
    // First, since the peak of the others is higher.
    bodies_of_tunnel_are_unpacked_within_the_bound(before);
    for (what, bomb) in bombs {
        refuse(what, bomb, &mut decompressor);
        let grown = status("VmHWM") - before;
        assert!(grown < DECOMPRESSED_BATCH_BYTES_MAX + SLACK_BYTES, "{what}: {} MiB", grown / MIB);
    }

    // A block that is larger than blocks are: told by its lengths, before they are written.
    let copies = RecordSet::new(batch(Codec::Zstd, &zstd_copies())).batches().next();
    let error = copies.expect("a batch").expect("a good header").decode(&mut decompressor).expect_err("zstd copies");
    assert_eq!(error.fault, DecodeFault::Corrupt, "{error}");
    let grown = status("VmHWM") - before;
    assert!(grown < DECOMPRESSED_BATCH_BYTES_MAX + SLACK_BYTES, "zstd copies: {} MiB", grown / MIB);

    // What just fits. The zstd decoder has a window of its own beside the output, here as large as that.
    let most = batch(Codec::Zstd, &zstd_runs(27, 512));
    let most = RecordSet::new(most).batches().next().expect("a batch").expect("a good header");
    let records = most.decode(&mut decompressor).expect("output within the bound");
    assert_eq!(records.size_bytes(), DECOMPRESSED_BATCH_BYTES_MAX);
    let grown = status("VmHWM") - before;
    assert!(grown < 2 * DECOMPRESSED_BATCH_BYTES_MAX + SLACK_BYTES, "{} MiB", grown / MIB);
    drop(records);

    // Nothing of it stays.
    let kept = status("VmRSS").saturating_sub(before);
    assert!(kept < SLACK_BYTES, "{} MiB stay", kept / MIB);
    drop(decompressor);
}
