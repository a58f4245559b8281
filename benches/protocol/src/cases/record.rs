//! A fetched batch: checksum, decompression, and a walk over every record.

use crate::kafka::record::{BatchBuilder, BatchOptions, Codec, Decompressor, LegacyMagic, LegacyOptions, RecordSet};
use crate::wire::{crc32, crc32c};
use bytes::Bytes;

use super::data::{BATCH_BYTES, TIME, batch, json, key, messages, records};
use super::{Case, Run};

/// A case over one set of records with values of `$size` bytes.
macro_rules! walk {
    ($name:literal, $size:literal, $set:expr) => {
        Case {
            name: $name,
            items: records($size),
            bytes: records($size) * ($size + 8),
            prepare: || walk($set, records($size), records($size) * ($size + 8)),
        }
    };
}

/// The cases of a codec.
macro_rules! codec {
    ($codec:ident, $small:literal, $large:literal) => {
        [walk!($small, 100, batch(Codec::$codec, 100)), walk!($large, 1024, batch(Codec::$codec, 1024))]
    };
}

pub(super) fn cases() -> Vec<Case> {
    let codecs = [
        codec!(None, "records/none/100", "records/none/1024"),
        codec!(Lz4, "records/lz4/100", "records/lz4/1024"),
        codec!(Snappy, "records/snappy/100", "records/snappy/1024"),
        codec!(Gzip, "records/gzip/100", "records/gzip/1024"),
        codec!(Zstd, "records/zstd/100", "records/zstd/1024"),
    ];
    let mut cases: Vec<Case> = codecs.into_iter().flatten().collect();
    cases.extend([
        walk!("records/v0/100", 100, messages(plain(LegacyMagic::V0, Codec::None), 100)),
        walk!("records/v1/100", 100, messages(plain(LegacyMagic::V1, Codec::None), 100)),
        walk!("records/v1-lz4/100", 100, messages(plain(LegacyMagic::V1, Codec::Lz4), 100)),
        Case { name: "records/build/100", items: records(100), bytes: records(100) * 108, prepare: build },
        Case { name: "crc32c/64KiB", items: 1, bytes: BATCH_BYTES as u64, prepare: || crc(crc32c) },
        Case { name: "crc32/64KiB", items: 1, bytes: BATCH_BYTES as u64, prepare: || crc(crc32) },
    ]);
    cases
}

fn plain(magic: LegacyMagic, codec: Codec) -> LegacyOptions {
    LegacyOptions { magic, codec, ..LegacyOptions::default() }
}

fn walk(set: Vec<u8>, records: u64, bytes: u64) -> Run {
    let set = Bytes::from(set);
    let mut decompressor = Decompressor::default();
    Box::new(move || {
        let mut found = (0, 0);
        for batch in RecordSet::new(set.clone()).batches() {
            let records = batch.and_then(|batch| batch.decode(&mut decompressor)).expect("a whole batch");
            for record in &records {
                let record = record.expect("a whole record");
                found.0 += 1;
                found.1 += (record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len)) as u64;
            }
        }
        assert_eq!(found, (records, bytes));
    })
}

fn build() -> Run {
    let values: Vec<String> = (0..records(100)).map(|number| json(number, 100)).collect();
    let wanted = batch(Codec::None, 100).len();
    Box::new(move || {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        for (number, value) in (0_u64..).zip(&values) {
            builder.push(TIME + number as i64, Some(&key(number)), Some(value.as_bytes()), &[]);
        }
        assert_eq!(builder.finish(1000).map(|batch| batch.len()), Ok(wanted));
    })
}

fn crc(hash: fn(&[u8]) -> u32) -> Run {
    let bytes: Vec<u8> = (0..BATCH_BYTES).map(|at| (at * 7) as u8).collect();
    let wanted = hash(&bytes);
    Box::new(move || assert_eq!(hash(std::hint::black_box(&bytes)), wanted))
}
