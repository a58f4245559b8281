//! What the cases work on: the same in every run, on every machine.

use std::fmt::Write as _;

use crate::kafka::record::{BatchBuilder, BatchOptions, Codec, LegacyBuilder, LegacyOptions};
use crate::wire::crc32c;

/// The time of the first record, in ms since 1970.
pub(super) const TIME: i64 = 1_700_000_000_000;

/// Bytes of keys and values in one batch.
pub(super) const BATCH_BYTES: usize = 64 * 1024;

/// Bytes of a record of the reference job.
pub(super) const JSON_BYTES: usize = 226;

/// JSON objects of exactly `size` bytes each: what `produce_json` writes, filled up. The filler is half zeros, so a compressor can do
/// something with it, but not everything.
pub(super) fn json(number: u64, size: usize) -> String {
    let noise = mixed(number);
    let kind = ["read", "write", "open", "close"][(noise >> 62) as usize];
    let mut text = format!(
        "{{\"event_id\":\"e{number:010}\",\"amount\":{},\"tag\":{{\"desc\":\"dev-{:04}\",\"kind\":\"{kind}\"}},\"data\":\"",
        mixed(noise) % 1_000_000,
        noise % 10_000
    );
    let mut word = 0;
    while text.len() + 2 < size {
        // Writing to a string cannot fail.
        let _ = write!(text, "{:016x}", mixed(noise ^ word) & 0xffff_ffff);
        word += 1;
    }
    text.truncate(size - 2);
    text.push_str("\"}");
    assert_eq!(text.len(), size, "a record of this size cannot be made");
    text
}

/// A key of 8 digits.
pub(super) fn key(number: u64) -> [u8; 8] {
    let digit = |place: u32| b'0' + (number / 10_u64.pow(place) % 10) as u8;
    [7, 6, 5, 4, 3, 2, 1, 0].map(digit)
}

/// SplitMix64's finalizer (Steele, Lea and Flood, 2014).
fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Records of one batch whose values have `size` bytes.
pub(super) const fn records(size: usize) -> u64 {
    (BATCH_BYTES / size) as u64
}

/// One batch of [`records`] records with keys of 8 bytes.
pub(super) fn batch(codec: Codec, size: usize) -> Vec<u8> {
    if codec == Codec::Zstd {
        return zstd_batch(size);
    }
    plain_batch(BatchOptions { codec, ..BatchOptions::default() }, size)
}

fn plain_batch(options: BatchOptions, size: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(options);
    for number in 0..records(size) {
        let value = json(number, size);
        builder.push(TIME + number as i64, Some(&key(number)), Some(value.as_bytes()), &[]);
    }
    builder.finish(1000).expect("a batch can be written")
}

/// The same batch as a producer with the C library writes it at its default level, which Kafka's is: our own encoder makes
/// frames that are easier to read.
fn zstd_batch(size: usize) -> Vec<u8> {
    let packed: &[u8] = match size {
        100 => include_bytes!("../../data/records-100.zst"),
        _ => include_bytes!("../../data/records-1024.zst"),
    };
    let mut batch = plain_batch(BatchOptions::default(), size);
    batch.truncate(61);
    batch[22] = Codec::Zstd.id();
    batch.extend_from_slice(packed);
    let length = u32::try_from(batch.len() - 12).expect("a short batch");
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch
}

/// The same records as messages of magic 0 or 1.
pub(super) fn messages(options: LegacyOptions, size: usize) -> Vec<u8> {
    let mut builder = LegacyBuilder::new(options);
    for number in 0..records(size) {
        let value = json(number, size);
        builder.push(TIME + number as i64, Some(&key(number)), Some(value.as_bytes()));
    }
    builder.finish(1000).expect("messages can be written")
}

/// What a batch's records are before they are compressed: the input of the files beside this one.
pub(super) fn plain_records(size: usize) -> Vec<u8> {
    plain_batch(BatchOptions::default(), size).split_off(61)
}
