//! Tests of the record formats against bytes of our own making; bytes of other clients are in `proto-tests`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic)]

#[cfg(all(feature = "gzip", feature = "snappy", feature = "lz4", feature = "zstd"))]
mod codecs;
mod hostile;
#[cfg(not(all(feature = "gzip", feature = "snappy", feature = "lz4", feature = "zstd")))]
mod missing;
mod semantics;

use bytes::Bytes;

use super::{
    Batch, BatchBuilder, BatchOptions, Batches, Codec, Decompressor, Header, LegacyBuilder, LegacyMagic, LegacyOptions,
    RecordSet, Records, SnappyForm, TimestampType,
};

/// A record with everything in it owned, for comparing.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Owned {
    offset: i64,
    timestamp: i64,
    timestamp_type: TimestampType,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

fn owned(records: &Records) -> Vec<Owned> {
    records
        .iter()
        .map(|record| {
            let record = record.unwrap();
            let headers = record.headers.iter().map(Result::unwrap);
            Owned {
                offset: record.offset,
                timestamp: record.timestamp,
                timestamp_type: record.timestamp_type,
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.map(<[u8]>::to_vec),
                headers: headers.map(|h| (h.key.to_vec(), h.value.map(<[u8]>::to_vec))).collect(),
            }
        })
        .collect()
}

fn walk(bytes: impl Into<Vec<u8>>) -> Batches {
    RecordSet::new(Bytes::from(bytes.into())).batches()
}

/// The only batch in `bytes`.
fn only(bytes: impl Into<Vec<u8>>) -> Batch {
    let mut batches = walk(bytes);
    let batch = batches.next().unwrap().unwrap();
    assert!(batches.next().is_none());
    assert_eq!(batches.cut_off(), None);
    batch
}

fn decoded(batch: &Batch) -> Vec<Owned> {
    owned(&batch.decode(&mut Decompressor::default()).unwrap())
}

fn offsets(records: &[Owned]) -> Vec<i64> {
    records.iter().map(|record| record.offset).collect()
}

/// Every way of compressing a batch of magic 2 in this build.
fn forms() -> Vec<(Codec, SnappyForm)> {
    let mut forms: Vec<_> = Codec::ALL.into_iter().map(|codec| (codec, SnappyForm::Xerial)).collect();
    forms.push((Codec::Snappy, SnappyForm::Raw));
    forms.retain(|(codec, _)| codec.is_available());
    forms
}

/// As [`forms`], for messages, which know no zstd.
fn legacy_forms() -> Vec<(Codec, SnappyForm)> {
    let mut forms = forms();
    forms.retain(|(codec, _)| *codec != Codec::Zstd);
    forms
}

fn header<'a>(key: &'a str, value: Option<&'a [u8]>) -> Header<'a> {
    Header { key: key.as_bytes(), value }
}

/// Text that compresses, `len` bytes long and different for each `seed`.
fn text(seed: usize, len: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(len + 16);
    let mut n = seed;
    while text.len() < len {
        text.extend_from_slice(format!("{{\"n\":{n},\"name\":\"x\"}}").as_bytes());
        n = n.wrapping_mul(31).wrapping_add(7) % 100_003;
    }
    text.truncate(len);
    text
}
