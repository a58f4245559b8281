//! The semantics of records, numbered as in the checklist of the Kafka client's protocol notes where a line says so.

use super::super::{BuildError, ControlType, end_marker, stamp_batch};
use super::*;
use crate::wire::{DecodeFault, Writer};

/// Sets the checksum of a batch of magic 2 after its bytes were edited.
fn reseal(batch: &mut [u8]) {
    let crc = crate::wire::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
}

#[test]
fn what_is_built_is_read_back_in_every_codec() {
    for (codec, snappy) in forms() {
        for count in [1, 2, 1000] {
            let mut builder = BatchBuilder::new(BatchOptions { codec, snappy, ..BatchOptions::default() });
            let values: Vec<_> = (0..count).map(|n| text(n, 37 + n * 3)).collect();
            for (n, value) in values.iter().enumerate() {
                let key = (n % 3 != 0).then(|| n.to_string());
                let headers = [header("a", Some(b"1")), header("a", None), header("", Some(b""))];
                let time = 1_700_000_000_000 + i64::try_from(n).unwrap();
                builder.push(time, key.as_deref().map(str::as_bytes), Some(value), &headers[..n % 4]);
            }
            assert_eq!(builder.record_count() as usize, count);
            let batch = only(builder.finish(5_000_000_000).unwrap());
            assert_eq!((batch.magic(), batch.codec(), batch.record_count()), (2, codec, Some(count as u32)));
            let records = decoded(&batch);
            assert_eq!(records.len(), count, "{codec}");
            for (n, record) in records.iter().enumerate() {
                assert_eq!(record.offset, 5_000_000_000 + n as i64);
                assert_eq!(record.timestamp, 1_700_000_000_000 + n as i64);
                assert_eq!(record.timestamp_type, TimestampType::CreateTime);
                assert_eq!(record.key, (n % 3 != 0).then(|| n.to_string().into_bytes()));
                assert_eq!(record.value.as_deref(), Some(values[n].as_slice()));
                let all = [("a", Some(b"1".to_vec())), ("a", None), ("", Some(vec![]))];
                let all = all.map(|(key, value)| (key.as_bytes().to_vec(), value));
                assert_eq!(record.headers, all[..n % 4]);
            }
        }
    }
}

#[test]
fn messages_are_read_back_in_every_codec() {
    for magic in [LegacyMagic::V0, LegacyMagic::V1] {
        for (codec, snappy) in legacy_forms() {
            let mut builder = LegacyBuilder::new(LegacyOptions { magic, codec, snappy, append_time: None });
            let values: Vec<_> = (0..300).map(|n| text(n, 200)).collect();
            for (n, value) in values.iter().enumerate() {
                builder.push(1000 - n as i64, (n % 2 == 0).then_some(b"k".as_slice()), Some(value));
            }
            let mut records = Vec::new();
            let mut next = None;
            for batch in walk(builder.finish(70).unwrap()) {
                let batch = batch.unwrap();
                assert_eq!(batch.magic(), u8::from(magic == LegacyMagic::V1));
                assert_eq!(batch.codec(), codec);
                records.extend(decoded(&batch));
                next = Some(batch.next_offset());
            }
            assert_eq!(next, Some(370));
            assert_eq!(records.len(), 300, "{magic:?} {codec}");
            for (n, record) in records.iter().enumerate() {
                assert_eq!(record.offset, 70 + n as i64, "{magic:?} {codec}");
                let (time, kind) = match magic {
                    LegacyMagic::V0 => (-1, TimestampType::NoTimestamp),
                    LegacyMagic::V1 => (1000 - n as i64, TimestampType::CreateTime),
                };
                assert_eq!((record.timestamp, record.timestamp_type), (time, kind));
                assert_eq!(record.key.as_deref(), (n % 2 == 0).then_some(b"k".as_slice()));
                assert_eq!(record.value.as_deref(), Some(values[n].as_slice()));
                assert!(record.headers.is_empty());
            }
        }
    }
}

/// Line 1: compaction removes records and keeps the last offset.
#[test]
fn progress_is_the_headers_next_offset() {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.push_at(2, 10, None, Some(b"a"), &[]);
    builder.push_at(5, 10, None, Some(b"b"), &[]);
    builder.set_last_offset_delta(9);
    let batch = only(builder.finish(100).unwrap());
    assert_eq!((batch.base_offset(), batch.last_offset(), batch.next_offset()), (100, 109, 110));
    assert_eq!(offsets(&decoded(&batch)), [102, 105]);

    let mut empty = BatchBuilder::new(BatchOptions::default());
    assert!(empty.is_empty());
    empty.set_last_offset_delta(3);
    let mut bytes = empty.finish(7).unwrap();
    assert_eq!(only(bytes.clone()).next_offset(), 11);
    assert_eq!(decoded(&only(bytes.clone())), []);
    // An emptied batch may keep the codec it had, with nothing after its header.
    bytes[22] |= Codec::Gzip.id();
    reseal(&mut bytes);
    let batch = only(bytes);
    assert_eq!(batch.codec(), Codec::Gzip);
    assert_eq!(decoded(&batch), []);
}

/// Line 5: a fetch answers with the whole batch that holds the position.
#[test]
fn records_below_the_position_are_stepped_over() {
    for (codec, snappy) in forms() {
        let mut builder = BatchBuilder::new(BatchOptions { codec, snappy, ..BatchOptions::default() });
        for n in 0..10 {
            builder.push(n, None, Some(b"v"), &[]);
        }
        let batch = only(builder.finish(40).unwrap());
        let records = batch.decode(&mut Decompressor::default()).unwrap();
        assert_eq!(offsets(&owned(&records.clone().starting_at(47))), [47, 48, 49]);
        assert_eq!(offsets(&owned(&records.starting_at(50))), [] as [i64; 0]);
    }
    for (codec, snappy) in legacy_forms() {
        let mut builder = LegacyBuilder::new(LegacyOptions { codec, snappy, ..LegacyOptions::default() });
        for n in 0..10 {
            builder.push(n, None, Some(b"v"));
        }
        let mut seen = Vec::new();
        for batch in walk(builder.finish(40).unwrap()) {
            let records = batch.unwrap().decode(&mut Decompressor::default()).unwrap();
            seen.extend(offsets(&owned(&records.starting_at(47))));
        }
        assert_eq!(seen, [47, 48, 49], "{codec}");
    }
}

/// Line 6: a cut-off last entry is no error; a wrong checksum is one.
#[test]
fn cut_off_entry_ends_the_walk() {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.push(1, None, Some(b"v"), &[]);
    let good = builder.finish(0).unwrap();
    let mut second = LegacyBuilder::new(LegacyOptions::default());
    second.push(1, None, Some(b"w"));
    let second = second.finish(1).unwrap();
    for kept in 0..second.len() {
        let bytes = [good.as_slice(), &second[..kept]].concat();
        let mut batches = walk(bytes);
        assert_eq!(batches.next().unwrap().unwrap().next_offset(), 1);
        assert!(batches.next().is_none());
        assert!(batches.next().is_none());
        let announced = match kept {
            0 => None,
            1..12 => Some(26),
            _ => Some(second.len()),
        };
        assert_eq!(batches.cut_off(), announced, "{kept} bytes kept");
    }

    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    let batch = only(bad);
    let error = batch.verify_crc().unwrap_err();
    assert!(matches!(error.fault, DecodeFault::Checksum { .. }), "{error}");
    assert_eq!(batch.decode(&mut Decompressor::default()).unwrap_err(), error);
}

/// Line 10: append time counts for every record, whatever the producer wrote.
#[test]
fn append_time_is_the_time_of_every_record() {
    for (codec, snappy) in forms() {
        let options = BatchOptions { codec, snappy, append_time: Some(1_800_000_000_000), ..BatchOptions::default() };
        let mut builder = BatchBuilder::new(options);
        builder.push(5, None, Some(b"a"), &[]);
        builder.push(-1, None, Some(b"b"), &[]);
        let batch = only(builder.finish(0).unwrap());
        assert_eq!(batch.timestamp_type(), TimestampType::LogAppendTime);
        assert_eq!(batch.max_timestamp(), 1_800_000_000_000);
        for record in decoded(&batch) {
            assert_eq!((record.timestamp, record.timestamp_type), (1_800_000_000_000, TimestampType::LogAppendTime));
        }
    }
    for (codec, snappy) in legacy_forms() {
        let append_time = Some(1_800_000_000_000);
        let mut builder = LegacyBuilder::new(LegacyOptions { magic: LegacyMagic::V1, codec, snappy, append_time });
        builder.push(5, None, Some(b"a"));
        builder.push(6, None, Some(b"b"));
        for batch in walk(builder.finish(0).unwrap()) {
            for record in decoded(&batch.unwrap()) {
                assert_eq!(record.timestamp_type, TimestampType::LogAppendTime, "{codec}");
                assert_eq!(record.timestamp, 1_800_000_000_000, "{codec}");
            }
        }
    }
}

/// Line 10: deltas are 64 bits and may be negative; a base of -1 is a time like any other.
#[test]
fn timestamps_of_all_sizes() {
    for times in [
        vec![-1, -1],
        vec![-1, 5, 1_700_000_000_000],
        vec![1_700_000_000_000, 0, 1_600_000_000_000],
        vec![i64::MAX, i64::MIN, 0, -1],
    ] {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        for time in &times {
            builder.push(*time, None, None, &[]);
        }
        let batch = only(builder.finish(0).unwrap());
        assert_eq!(batch.base_timestamp(), times[0]);
        let read: Vec<_> = decoded(&batch).iter().map(|record| record.timestamp).collect();
        assert_eq!(read, times);
    }
}

/// Line 10: under KIP-534 the header's first timestamp is a delete horizon, and deltas are counted from it.
#[test]
fn delete_horizon_is_no_records_time() {
    let options = BatchOptions { delete_horizon: Some(2_000_000), ..BatchOptions::default() };
    let mut builder = BatchBuilder::new(options);
    builder.push(1_000_000, Some(b"k"), None, &[]);
    builder.push(3_000_000, Some(b"k"), None, &[]);
    let batch = only(builder.finish(0).unwrap());
    assert_eq!(batch.delete_horizon(), Some(2_000_000));
    assert_eq!(batch.max_timestamp(), 3_000_000);
    let read: Vec<_> = decoded(&batch).iter().map(|record| record.timestamp).collect();
    assert_eq!(read, [1_000_000, 3_000_000]);
}

/// Line 11: null is not empty; header keys repeat, keep their order and need not be UTF-8.
#[test]
fn nulls_and_headers_are_kept() {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    let headers = [
        Header { key: b"x-tag", value: Some(b"1") },
        Header { key: b"x-tag", value: Some(b"2") },
        Header { key: b"o", value: Some(b"3") },
        Header { key: b"n", value: None },
        Header { key: b"e", value: Some(b"") },
        Header { key: b"", value: Some(b"v") },
        Header { key: &[0xff, 0xfe], value: Some(&[0]) },
    ];
    builder.push(0, None, Some(b""), &headers);
    builder.push(0, Some(b""), None, &[]);
    let batch = only(builder.finish(0).unwrap());
    let records = batch.decode(&mut Decompressor::default()).unwrap();
    let read: Vec<_> = records.iter().map(Result::unwrap).collect();
    assert_eq!((read[0].key, read[0].value), (None, Some(b"".as_slice())));
    assert_eq!((read[1].key, read[1].value), (Some(b"".as_slice()), None));
    assert_eq!(read[0].headers.len(), 7);
    assert_eq!(read[0].headers.iter().collect::<Result<Vec<_>, _>>().unwrap(), headers);
}

/// Lines 12 and 13: one answer with entries of every magic.
#[test]
fn magics_may_be_mixed() {
    let mut bytes = Vec::new();
    let mut base = 0;
    for magic in [LegacyMagic::V0, LegacyMagic::V1] {
        for (codec, snappy) in legacy_forms() {
            let mut builder = LegacyBuilder::new(LegacyOptions { magic, codec, snappy, append_time: None });
            builder.push(1, None, Some(b"a"));
            builder.push(2, None, Some(b"b"));
            bytes.extend(builder.finish(base).unwrap());
            base += 2;
        }
    }
    for (codec, snappy) in forms() {
        let mut builder = BatchBuilder::new(BatchOptions { codec, snappy, ..BatchOptions::default() });
        builder.push(1, None, Some(b"a"), &[]);
        builder.push(2, None, Some(b"b"), &[]);
        bytes.extend(builder.finish(base).unwrap());
        base += 2;
    }
    let mut decompressor = Decompressor::default();
    let mut seen = Vec::new();
    for batch in walk(bytes) {
        let batch = batch.unwrap();
        let records = owned(&batch.decode(&mut decompressor).unwrap());
        assert_eq!(records.last().unwrap().offset + 1, batch.next_offset());
        seen.extend(offsets(&records));
    }
    assert_eq!(seen, (0..base).collect::<Vec<_>>());
}

/// Line 12: relative offsets count back from the wrapper's own, which is the last one's; compaction leaves gaps.
#[test]
#[cfg(feature = "gzip")]
fn compacted_wrapper_keeps_its_offsets() {
    let gzip = LegacyOptions { codec: Codec::Gzip, ..LegacyOptions::default() };
    let mut builder = LegacyBuilder::new(gzip);
    builder.push_at(3, 1, None, Some(b"a"));
    builder.push_at(7, 2, None, Some(b"b"));
    let batch = only(builder.finish(1000).unwrap());
    assert_eq!((batch.last_offset(), batch.next_offset(), batch.record_count()), (1007, 1008, None));
    assert_eq!(offsets(&decoded(&batch)), [1003, 1007]);

    // Absolute offsets of magic 0 say it all themselves.
    let mut builder = LegacyBuilder::new(LegacyOptions { magic: LegacyMagic::V0, ..gzip });
    builder.push_at(3, 1, None, Some(b"a"));
    builder.push_at(7, 2, None, Some(b"b"));
    let batch = only(builder.finish(1000).unwrap());
    assert_eq!(offsets(&decoded(&batch)), [1003, 1007]);
}

/// Some producers leave the wrapper's offset at 0; the offsets inside are then counted from 0.
#[test]
#[cfg(feature = "gzip")]
fn produced_wrapper_at_offset_zero() {
    let mut builder = LegacyBuilder::new(LegacyOptions { codec: Codec::Gzip, ..LegacyOptions::default() });
    for _ in 0..3 {
        builder.push(1, None, Some(b"a"));
    }
    let mut bytes = builder.finish(0).unwrap();
    bytes[..8].fill(0);
    assert_eq!(offsets(&decoded(&only(bytes))), [0, 1, 2]);
}

/// Line 12: the header checksum of LZ4 from before KIP-57 is taken in messages, and refused in batches.
#[test]
#[cfg(feature = "lz4")]
fn broken_lz4_header_checksum() {
    let options = LegacyOptions { magic: LegacyMagic::V0, codec: Codec::Lz4, ..LegacyOptions::default() };
    let mut builder = LegacyBuilder::new(options);
    builder.push(1, None, Some(b"a"));
    let wrapper = builder.finish(0).unwrap();
    // offset, size, crc, magic, attributes, null key, value length; then the frame, whose 7th byte is the checksum.
    let frame = &wrapper[26..];
    assert_eq!(frame[..4], 0x184d_2204_u32.to_le_bytes());
    let (descriptor, checksum) = (&frame[4..6], frame[6]);
    let second = |bytes: &[u8]| twox_hash::XxHash32::oneshot(0, bytes).to_le_bytes()[1];
    assert_eq!(checksum, second(&frame[..6]), "over magic and descriptor");
    assert_ne!(checksum, second(descriptor));
    assert_eq!(decoded(&only(wrapper)).len(), 1);

    let mut builder = BatchBuilder::new(BatchOptions { codec: Codec::Lz4, ..BatchOptions::default() });
    builder.push(1, None, Some(b"a"), &[]);
    let mut batch = builder.finish(0).unwrap();
    assert_eq!(batch[67], second(&batch[65..67]));
    batch[67] ^= 1;
    reseal(&mut batch);
    let error = only(batch).decode(&mut Decompressor::default()).unwrap_err();
    assert_eq!(error.fault, DecodeFault::Corrupt);
}

/// Line 4: only bytes 2 and 3 of a marker's key give its type.
#[test]
fn markers() {
    for marker in [ControlType::Abort, ControlType::Commit, ControlType::Unknown(5)] {
        let batch = only(end_marker(marker, 77, 3, 12, 1_700_000_000_000, 9).unwrap());
        assert!(batch.is_control() && batch.is_transactional());
        assert_eq!((batch.producer_id(), batch.producer_epoch(), batch.base_sequence()), (77, 3, -1));
        assert_eq!(batch.control_type(), Ok(Some(marker)));
        assert_eq!(batch.next_offset(), 10);
    }
    let control = BatchOptions { control: true, ..BatchOptions::default() };
    let marker_with = |key: Option<&[u8]>| {
        let mut builder = BatchBuilder::new(control);
        builder.push(0, key, None, &[]);
        only(builder.finish(0).unwrap()).control_type()
    };
    assert_eq!(marker_with(Some(&[0, 9, 0, 1, 0xff])), Ok(Some(ControlType::Commit)), "a later version, a longer key");
    assert_eq!(marker_with(None).unwrap_err().fault, DecodeFault::UnexpectedNull);
    assert!(marker_with(Some(&[0, 0, 0])).is_err());
    assert!(marker_with(Some(&[0xff, 0xff, 0, 0])).is_err());
    assert_eq!(only(BatchBuilder::new(control).finish(0).unwrap()).control_type(), Ok(None));
    assert_eq!(only(BatchBuilder::new(BatchOptions::default()).finish(0).unwrap()).control_type(), Ok(None));
}

#[test]
fn header_fields_come_through() {
    let options = BatchOptions {
        leader_epoch: 4,
        producer_id: 1 << 40,
        producer_epoch: 7,
        base_sequence: 99,
        transactional: true,
        ..BatchOptions::default()
    };
    let mut builder = BatchBuilder::new(options);
    builder.push(10, None, None, &[]);
    builder.push(8, None, None, &[]);
    let bytes = builder.finish(3).unwrap();
    let batch = only(bytes.clone());
    assert_eq!(batch.size_bytes(), bytes.len());
    assert_eq!(batch.leader_epoch(), Some(4));
    assert_eq!((batch.producer_id(), batch.producer_epoch(), batch.base_sequence()), (1 << 40, 7, 99));
    assert!(batch.is_transactional() && !batch.is_control());
    assert_eq!((batch.base_timestamp(), batch.max_timestamp(), batch.delete_horizon()), (10, 10, None));
    assert_eq!(only(BatchBuilder::new(BatchOptions::default()).finish(0).unwrap()).leader_epoch(), None);
}

#[test]
fn stamping_is_what_a_broker_does() {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.push(10, None, Some(b"v"), &[]);
    let mut bytes = builder.finish(0).unwrap();
    stamp_batch(&mut bytes, 500, 6, None).unwrap();
    let batch = only(bytes.clone());
    assert_eq!((batch.base_offset(), batch.leader_epoch()), (500, Some(6)));
    assert_eq!(decoded(&batch)[0].timestamp, 10);

    stamp_batch(&mut bytes, 501, 7, Some(1234)).unwrap();
    let record = &decoded(&only(bytes.clone()))[0];
    assert_eq!((record.offset, record.timestamp, record.timestamp_type), (501, 1234, TimestampType::LogAppendTime));

    bytes[16] = 1;
    assert!(stamp_batch(&mut bytes, 0, 0, None).is_err());
    assert!(stamp_batch(&mut [0; 60], 0, 0, None).is_err());
}

#[test]
fn builder_refuses_what_the_format_cannot_say() {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.push_at(i32::MAX, 0, None, None, &[]);
    assert_eq!(builder.finish(0), Err(BuildError::TooLarge));
    let mut builder = LegacyBuilder::new(LegacyOptions { codec: Codec::Zstd, ..LegacyOptions::default() });
    builder.push(0, None, None);
    assert_eq!(builder.finish(0), Err(BuildError::CodecMissing(Codec::Zstd)));
    assert_eq!(LegacyBuilder::new(LegacyOptions::default()).finish(0), Ok(Vec::new()));
}

/// Uncompressed records are slices of the answer itself.
#[test]
fn plain_records_are_not_copied() {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.push(0, None, Some(b"value"), &[]);
    let bytes = Bytes::from(builder.finish(0).unwrap());
    let batch = RecordSet::new(bytes.clone()).batches().next().unwrap().unwrap();
    let records = batch.decode(&mut Decompressor::default()).unwrap();
    let value = records.iter().next().unwrap().unwrap().value.unwrap().as_ptr();
    assert!(bytes.as_ptr_range().contains(&value));
}

/// A batch with `Writer` by hand, so that the builder is not its own judge: KIP-98's layout.
#[test]
fn layout_by_hand() {
    let mut record = Writer::new();
    record.bytes(&[0, 0x02, 0x04]); // attributes, timestamp delta 1, offset delta 2
    record.bytes(&[0x01, 0x06]); // null key, value of 3 bytes
    record.bytes(b"abc");
    record.bytes(&[0x02, 0x02, b'h', 0x01]); // one header: key of one byte, null value
    let mut covered = Writer::new();
    covered.i16_be(0);
    covered.i32_be(2);
    covered.i64_be(1000);
    covered.i64_be(1001);
    covered.i64_be(-1);
    covered.i16_be(-1);
    covered.i32_be(-1);
    covered.i32_be(1);
    covered.u8(u8::try_from(record.len()).unwrap() * 2);
    covered.bytes(record.as_slice());
    let mut batch = Writer::new();
    batch.i64_be(40);
    batch.i32_be(i32::try_from(covered.len()).unwrap() + 9);
    batch.i32_be(0);
    batch.u8(2);
    batch.u32_be(crc32c::crc32c(covered.as_slice()));
    batch.bytes(covered.as_slice());
    let read = decoded(&only(batch.into_vec()));
    assert_eq!(
        read,
        [Owned {
            offset: 42,
            timestamp: 1001,
            timestamp_type: TimestampType::CreateTime,
            key: None,
            value: Some(b"abc".to_vec()),
            headers: vec![(b"h".to_vec(), None)],
        }]
    );
}
