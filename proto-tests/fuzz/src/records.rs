//! Record batches, message sets and codecs. Checksums are put right first, or nothing behind them would be reached.

use bytes::Bytes;
use forebay::kafka::record::{Batch, BatchBuilder, BatchOptions, Codec, Decompressor, RecordSet, Records};
use forebay::wire::{crc32, crc32c, put_uvarint};

use super::choose;

/// Bound on the output of one batch, small so that the fuzzer gets beyond it.
const OUTPUT_BYTES_MAX: usize = 1024 * 1024;

/// Walks everything in `bytes` to its end or to the first error.
fn walk(bytes: Bytes) {
    let total = bytes.len();
    let mut decompressor = Decompressor::new(OUTPUT_BYTES_MAX);
    let mut walked = 0;
    let mut batches = RecordSet::new(bytes).batches();
    for batch in &mut batches {
        let Ok(batch) = batch else { return };
        walked += batch.size_bytes();
        assert!(walked <= total, "more batches than bytes");
        let _control = batch.control_type().is_ok();
        let Ok(records) = batch.decode(&mut decompressor) else { continue };
        read(&batch, &records);
    }
    assert!(
        batches.cut_off().is_none_or(|wanted| wanted > total.saturating_sub(walked)),
        "cut off although it is there"
    );
}

fn read(batch: &Batch, records: &Records) {
    assert!(records.size_bytes() <= OUTPUT_BYTES_MAX.max(batch.size_bytes()), "output beyond the bound");
    for record in records {
        let Ok(record) = record else { return };
        assert!(record.offset < batch.next_offset(), "an offset behind the batch");
        let bytes = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len);
        assert!(bytes(record.key) + bytes(record.value) <= records.size_bytes(), "a record larger than its batch");
        for header in record.headers.iter() {
            if header.is_err() {
                return;
            }
        }
    }
}

/// Entries of any magic; one of magic 2 gets its length and checksum put right.
pub fn batches(data: &[u8]) {
    walk(Bytes::copy_from_slice(data));
    let mut sealed = data.to_vec();
    if sealed.len() >= 61 {
        if let Some(magic) = sealed.get_mut(16) {
            *magic = 2;
        }
        seal_batch(&mut sealed);
        walk(sealed.into());
    }
}

/// Puts length and checksum of a batch right that is all of `bytes`.
fn seal_batch(bytes: &mut [u8]) {
    let length = i32::try_from(bytes.len().saturating_sub(12)).unwrap_or(0);
    put(bytes, 8, &length.to_be_bytes());
    let crc = crc32c(bytes.get(21..).unwrap_or_default());
    put(bytes, 17, &crc.to_be_bytes());
}

/// Message sets of magic 0 and 1: as they are, with checksums put right, and inside a wrapper.
pub fn message_sets(data: &[u8]) {
    let Some((magic, data)) = choose(data, &[0_u8, 1]) else { return };
    walk(Bytes::copy_from_slice(data));
    let mut set = data.to_vec();
    seal_messages(&mut set, *magic);
    walk(set.clone().into());
    // As the value of a Snappy message: one literal, so that any bytes can stand inside.
    walk(message(*magic, Codec::Snappy, &snappy_literal(&set)).into());
    for codec in [Codec::Gzip, Codec::Lz4] {
        walk(message(*magic, codec, data).into());
    }
}

/// Puts the checksums of a message set right, and the sizes that do not fit.
fn seal_messages(set: &mut [u8], magic: u8) {
    let mut at = 0;
    while let Some(rest) = set.get_mut(at..).filter(|rest| rest.len() >= 26) {
        let announced =
            rest.get(8..12).and_then(|bytes| bytes.first_chunk()).map_or(0, |bytes| i32::from_be_bytes(*bytes));
        let left = rest.len() - 12;
        let size = usize::try_from(announced).ok().filter(|size| (14..=left).contains(size)).unwrap_or(left);
        put(rest, 8, &i32::try_from(size).unwrap_or(0).to_be_bytes());
        put(rest, 16, &[magic]);
        let crc = crc32(rest.get(16..12 + size).unwrap_or_default());
        put(rest, 12, &crc.to_be_bytes());
        at += 12 + size;
    }
}

fn message(magic: u8, codec: Codec, value: &[u8]) -> Vec<u8> {
    let mut message = vec![0; 12 + 4];
    put(&mut message, 7, &[9]);
    message.extend([magic, codec.id()]);
    if magic == 1 {
        message.extend(5_i64.to_be_bytes());
    }
    message.extend((-1_i32).to_be_bytes());
    message.extend(i32::try_from(value.len()).unwrap_or(0).to_be_bytes());
    message.extend(value);
    seal_messages(&mut message, magic);
    message
}

fn snappy_literal(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_uvarint(&mut out, bytes.len() as u64);
    for chunk in bytes.chunks(60) {
        out.push(u8::try_from((chunk.len() - 1) << 2).unwrap_or(0));
        out.extend(chunk);
    }
    out
}

/// A codec, then what it unpacks; the batch around it is right.
pub fn codecs(data: &[u8]) {
    let Some((codec, payload)) = choose(data, &[Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd]) else { return };
    let mut batch = BatchBuilder::new(BatchOptions::default()).finish(0).expect("an empty batch");
    batch.extend_from_slice(payload);
    put(&mut batch, 22, &[codec.id()]);
    put(&mut batch, 57, &1_i32.to_be_bytes());
    seal_batch(&mut batch);
    let batch = RecordSet::new(batch.into()).batches().next().expect("a batch").expect("a good header");
    let mut decompressor = Decompressor::new(OUTPUT_BYTES_MAX);
    if let Ok(records) = batch.decode(&mut decompressor) {
        assert!(records.size_bytes() <= OUTPUT_BYTES_MAX, "output beyond the bound");
    }
    // What is kept of a batch that failed must not spoil the next.
    if let Ok(records) = batch.decode(&mut decompressor) {
        assert!(records.size_bytes() <= OUTPUT_BYTES_MAX, "output beyond the bound");
    }
}

fn put(bytes: &mut [u8], at: usize, what: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at.saturating_add(what.len())) {
        place.copy_from_slice(what);
    }
}
