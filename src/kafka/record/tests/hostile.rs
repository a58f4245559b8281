//! Headers, lengths and counts that lie, under right checksums: a value or an error, never a panic.

use super::*;
use crate::wire::{DecodeError, DecodeFault, Writer, crc32, crc32c};

/// A batch of magic 2 around `records`, its header as `edit` leaves it.
fn sealed(records: &[u8], count: i32, edit: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut batch = BatchBuilder::new(BatchOptions::default()).finish(0).unwrap();
    batch.extend_from_slice(records);
    let length = i32::try_from(batch.len() - 12).unwrap();
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    batch[57..61].copy_from_slice(&count.to_be_bytes());
    edit(&mut batch);
    let crc = crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch
}

/// A record of magic 2 with its right length in front.
fn record(body: &[u8]) -> Vec<u8> {
    let mut out = Writer::new();
    out.varint32(i32::try_from(body.len()).unwrap());
    out.bytes(body);
    out.into_vec()
}

/// A message of magic 1 with right size and checksum.
fn message(offset: i64, attributes: u8, value: Option<&[u8]>) -> Vec<u8> {
    let mut content = Writer::new();
    content.u8(1);
    content.u8(attributes);
    content.i64_be(5);
    content.i32_be(-1);
    content.i32_be(value.map_or(-1, |value| i32::try_from(value.len()).unwrap()));
    content.bytes(value.unwrap_or_default());
    let mut out = Writer::new();
    out.i64_be(offset);
    out.i32_be(i32::try_from(content.len()).unwrap() + 4);
    out.u32_be(crc32(content.as_slice()));
    out.bytes(content.as_slice());
    out.into_vec()
}

#[cfg(feature = "gzip")]
fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    super::super::compress::compress(Codec::Gzip, Default::default(), plain, &mut out).unwrap();
    out
}

/// The error of walking and decoding everything in `bytes`.
#[track_caller]
fn error_of(bytes: Vec<u8>) -> DecodeError {
    let mut decompressor = Decompressor::default();
    let read = |batch: Result<Batch, DecodeError>| -> Result<(), DecodeError> {
        for record in &batch?.decode(&mut decompressor)? {
            record?.headers.iter().try_for_each(|header| header.map(|_| ()))?;
        }
        Ok(())
    };
    walk(bytes).map(read).find_map(Result::err).expect("an error")
}

#[track_caller]
fn assert_fault(bytes: Vec<u8>, field: &str, fault: DecodeFault) {
    let error = error_of(bytes);
    assert_eq!((error.field, error.fault), (field, fault), "{error}");
}

/// A record that is right: attributes, deltas 0, null key, null value, no headers.
const GOOD: [u8; 6] = [0, 0, 0, 1, 1, 0];

#[test]
fn counts_are_not_believed() {
    assert_eq!(decoded(&only(sealed(&record(&GOOD), 1, |_| {}))).len(), 1);
    for count in [2, 1000, i32::MAX] {
        assert_fault(sealed(&record(&GOOD), count, |_| {}), "records_count", DecodeFault::BadLength(count.into()));
    }
    assert_fault(sealed(&record(&GOOD), -1, |_| {}), "records_count", DecodeFault::BadLength(-1));
    // Announced too few, and too few there where the bytes would do.
    assert_fault(sealed(&record(&GOOD), 0, |_| {}), "records", DecodeFault::TrailingBytes(7));
    let long = record(&[&GOOD[..4], &[40], &[b'v'; 20], &[0]].concat());
    assert!(matches!(error_of(sealed(&long, 2, |_| {})).fault, DecodeFault::Truncated { .. }));
}

#[test]
fn lengths_inside_a_record() {
    let mut bad = record(&GOOD);
    bad[0] = 0x01;
    assert_fault(sealed(&bad, 1, |_| {}), "record_length", DecodeFault::BadLength(-1));
    bad[0] = 0x7e;
    assert_fault(sealed(&bad, 1, |_| {}), "record", DecodeFault::Truncated { wanted: 63, left: 6 });
    let huge = [0xfe, 0xff, 0xff, 0xff, 0x0f, 0, 0];
    let fault = DecodeFault::Truncated { wanted: i32::MAX as usize, left: 2 };
    assert_fault(sealed(&huge, 1, |_| {}), "record", fault);
    let endless = [0xff; 7];
    assert_fault(sealed(&endless, 1, |_| {}), "record_length", DecodeFault::VarintOverflow);

    let body = |bytes: &[u8]| sealed(&record(bytes), 1, |_| {});
    assert_fault(body(&[0, 0, 0, 3, 1, 0]), "key", DecodeFault::BadLength(-2));
    assert_fault(body(&[0, 0, 0, 4, 1, 0]), "value", DecodeFault::Truncated { wanted: 1, left: 0 });
    assert_fault(body(&[0, 0, 0, 1, 100, 0]), "value", DecodeFault::Truncated { wanted: 50, left: 1 });
    assert_fault(body(&[0, 0, 0, 1, 1, 0, 9]), "record", DecodeFault::TrailingBytes(1));
    assert_fault(body(&[0, 0, 0, 1, 1, 1]), "headers_count", DecodeFault::BadLength(-1));
    assert_fault(body(&[0, 0, 0, 1, 1, 4, 0, 1]), "headers_count", DecodeFault::BadLength(2));
    let counts = [0, 0, 0, 1, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f];
    assert_fault(body(&counts), "headers_count", DecodeFault::BadLength(i32::MAX.into()));
    assert_fault(body(&[0, 0, 0, 1, 1, 2, 1, 1]), "header_key", DecodeFault::UnexpectedNull);
    assert_fault(body(&[0, 0, 0, 1, 1, 2, 0, 3]), "header_value", DecodeFault::BadLength(-2));
    assert_fault(body(&[0, 0, 0, 1, 1, 2, 0, 1, 7]), "headers", DecodeFault::TrailingBytes(1));
}

#[test]
fn too_many_headers() {
    let most = crate::limits::RECORD_HEADERS_MAX;
    let with = |count: usize| {
        let mut body = Writer::new();
        body.bytes(&GOOD[..5]);
        body.varint32(i32::try_from(count).unwrap());
        body.bytes(&[0, 1].repeat(count));
        sealed(&record(body.as_slice()), 1, |_| {})
    };
    assert_eq!(decoded(&only(with(most)))[0].headers.len(), most);
    assert_fault(with(most + 1), "headers_count", DecodeFault::TooLarge { size: most + 1, max: most });
}

#[test]
fn offsets_stay_in_their_batch() {
    let delta = |delta: u8| sealed(&record(&[0, 0, delta, 1, 1, 0]), 1, |_| {});
    assert_fault(delta(1), "offset_delta", DecodeFault::BadValue(-1));
    assert_fault(delta(2), "offset_delta", DecodeFault::BadValue(1));

    let header = |at: usize, bytes: &'static [u8]| {
        sealed(&record(&GOOD), 1, |batch| batch[at..at + bytes.len()].copy_from_slice(bytes))
    };
    assert_fault(header(0, &[0xff; 8]), "base_offset", DecodeFault::BadValue(-1));
    assert_fault(header(23, &[0xff; 4]), "last_offset_delta", DecodeFault::BadValue(-1));
    let last = &[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    assert_fault(header(0, last), "last_offset_delta", DecodeFault::BadValue(0));
    assert_fault(header(21, &[0, 7]), "attributes", DecodeFault::BadValue(7));
    // Attribute bits of the future change nothing.
    assert_eq!(decoded(&only(header(21, &[0xff, 0x80]))).len(), 1);
}

#[test]
fn entry_sizes() {
    let good = sealed(&record(&GOOD), 1, |_| {});
    for size in [-1, 0, 13, i32::MIN] {
        let mut bad = good.clone();
        bad[8..12].copy_from_slice(&size.to_be_bytes());
        assert_fault([good.clone(), bad].concat(), "batch_length", DecodeFault::BadLength(size.into()));
    }
    let mut short = good.clone();
    short[8..12].copy_from_slice(&14_i32.to_be_bytes());
    assert!(matches!(error_of(short[..26].to_vec()).fault, DecodeFault::Truncated { .. }));
    let mut long = good.clone();
    long[8..12].copy_from_slice(&i32::MAX.to_be_bytes());
    let mut batches = walk(long);
    assert!(batches.next().is_none());
    assert_eq!(batches.cut_off(), Some(i32::MAX as usize + 12));
    for magic in [3, 0x7f, 0xff] {
        let mut bad = good.clone();
        bad[16] = magic;
        assert_fault(bad, "magic", DecodeFault::BadValue(magic.cast_signed().into()));
    }
}

/// Errors say where in the answer they are, not where in their entry.
#[test]
fn errors_are_placed_in_the_set() {
    let good = sealed(&record(&GOOD), 1, |_| {});
    let mut bad = good.clone();
    bad[16] = 9;
    let error = walk([good.clone(), good.clone(), bad].concat()).find_map(Result::err).unwrap();
    assert_eq!(error.at, good.len() * 2 + 16);
}

#[test]
fn messages_that_lie() {
    assert_eq!(decoded(&only(message(0, 0, Some(b"v")))).len(), 1);
    assert_fault(message(-1, 0, None), "offset", DecodeFault::BadValue(-1));
    assert_fault(message(i64::MAX, 0, None), "offset", DecodeFault::BadValue(i64::MAX));
    // Codecs a message cannot have.
    for codec in 4..=7 {
        assert_fault(message(0, codec, Some(b"v")), "attributes", DecodeFault::BadValue(codec.into()));
    }
    // A key's length that leaves nothing for the value, and one that is negative.
    let mut long = message(0, 0, Some(b"value"));
    for (len, fault) in [
        (6_i32, DecodeFault::Truncated { wanted: 4, left: 3 }),
        (i32::MAX, DecodeFault::Truncated { wanted: i32::MAX as usize, left: 9 }),
        (-2, DecodeFault::BadLength(-2)),
    ] {
        long[26..30].copy_from_slice(&len.to_be_bytes());
        let crc = crc32(&long[16..]);
        long[12..16].copy_from_slice(&crc.to_be_bytes());
        assert_eq!(error_of(long.clone()).fault, fault);
    }
    // A magic 1 message too short for its timestamp.
    let mut short = message(0, 0, None)[..26].to_vec();
    short[8..12].copy_from_slice(&14_i32.to_be_bytes());
    let fault = DecodeFault::Truncated { wanted: 4, left: 0 };
    let crc = crc32(&short[16..]);
    short[12..16].copy_from_slice(&crc.to_be_bytes());
    assert_fault(short, "key", fault);
}

#[test]
#[cfg(feature = "gzip")]
fn wrappers_that_lie() {
    let wrapper = |offset, inner: &[u8]| message(offset, 1, Some(&gzip(inner)));
    let inner = |offset| message(offset, 0, Some(b"v"));
    assert_eq!(offsets(&decoded(&only(wrapper(9, &[inner(0), inner(4)].concat())))), [5, 9]);

    assert_fault(message(5, 1, None), "value", DecodeFault::UnexpectedNull);
    assert_eq!(error_of(message(5, 1, Some(b"no gzip"))).fault, DecodeFault::Corrupt);
    assert_fault(wrapper(5, b""), "message", DecodeFault::Truncated { wanted: 14, left: 0 });
    assert_fault(wrapper(5, &wrapper(5, &inner(0))), "message set depth", DecodeFault::TooLarge { size: 2, max: 1 });
    let cut = inner(0);
    assert!(matches!(error_of(wrapper(5, &cut[..cut.len() - 1])).fault, DecodeFault::Truncated { .. }));
    assert!(matches!(
        error_of(wrapper(5, &[inner(0).as_slice(), &[0; 5]].concat())).fault,
        DecodeFault::Truncated { .. }
    ));
    let mut damaged = inner(0);
    *damaged.last_mut().unwrap() ^= 1;
    assert!(matches!(error_of(wrapper(5, &damaged)).fault, DecodeFault::Checksum { .. }));
    let mut newer = inner(0);
    newer[16] = 2;
    let crc = crc32(&newer[16..]);
    newer[12..16].copy_from_slice(&crc.to_be_bytes());
    assert_fault(wrapper(5, &newer), "magic", DecodeFault::BadValue(2));

    // Relative offsets: the last one beyond the wrapper's, below zero, and an earlier one beyond the last.
    assert_fault(wrapper(5, &inner(6)), "offset", DecodeFault::BadValue(6));
    assert_fault(wrapper(5, &inner(-1)), "offset", DecodeFault::BadValue(-1));
    assert_fault(wrapper(5, &[inner(3), inner(2)].concat()), "offset_delta", DecodeFault::BadValue(3));
    assert_fault(wrapper(5, &[inner(i64::MIN), inner(2)].concat()), "offset_delta", DecodeFault::BadValue(i64::MIN));
}

#[test]
fn noise() {
    let mut state = 99_u64;
    let mut decompressor = Decompressor::new(1 << 20);
    for round in 0..20_000_usize {
        let mut bytes: Vec<u8> = (0..round % 150)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            })
            .collect();
        // Without a believable size and magic nothing further would be reached.
        let len = bytes.len();
        if len > 26 {
            bytes[0] &= 0x7f;
            bytes[8..12].copy_from_slice(&i32::try_from(len - 12).unwrap().to_be_bytes());
            bytes[16] %= 3;
            if bytes[16] == 2 && len > 61 {
                bytes[23] &= 0x7f;
                bytes[57..61].copy_from_slice(&[0, 0, 0, 3]);
                let crc = crc32c(&bytes[21..]);
                bytes[17..21].copy_from_slice(&crc.to_be_bytes());
            } else {
                let crc = crc32(&bytes[16..]);
                bytes[12..16].copy_from_slice(&crc.to_be_bytes());
            }
        }
        for batch in walk(bytes).flatten() {
            assert!(batch.next_offset() > batch.base_offset());
            let _ = batch.control_type();
            if let Ok(records) = batch.decode(&mut decompressor) {
                for record in records.iter().flatten() {
                    assert!(record.offset >= batch.base_offset() || batch.magic() < 2);
                    assert!(record.headers.iter().count() <= record.headers.len() + 1);
                }
            }
        }
    }
}
