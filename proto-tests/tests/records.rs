//! Record batches and message sets that Kafka's own clients wrote, read by forebay: every field of every batch and record is
//! what the same clients read in them. Then the same bytes cut off and damaged everywhere: a value or an error, never a panic.
//! And the other way round: what forebay builds, read by Kafka's own classes.
//!
//! The vectors and how they came about: `vectors/records/*.hex`, written by `vectors/records/make`.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use bytes::Bytes;
use forebay::kafka::record::{
    Batch, BatchBuilder, BatchOptions, Codec, ControlType, Decompressor, Header, LegacyBuilder, LegacyMagic,
    LegacyOptions, RecordSet, SnappyForm, end_marker, stamp_batch,
};
use forebay::wire::{DecodeError, DecodeFault, crc32, crc32c};
use forebay_proto_tests::java::{self, KAFKA_1_0_1, KAFKA_4_4_0};
use forebay_proto_tests::process::run;
use forebay_proto_tests::scratch::{Scratch, package_folder};
use serde_json::{Value, json};

/// One file of `vectors/records`.
struct Vector {
    name: String,
    bytes: Bytes,
    /// What Kafka's client read: each batch with its records.
    expected: Vec<(Value, Vec<Value>)>,
}

fn vectors() -> Vec<Vector> {
    let folder = package_folder().join("vectors/records");
    let mut vectors: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", folder.display()))
        .map(|entry| entry.expect("an entry of the folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "hex"))
        .map(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {name}: {error}"));
            parse(name, &text)
        })
        .collect();
    vectors.sort_by(|one, other| one.name.cmp(&other.name));
    assert!(vectors.len() >= 50, "only {} vectors in {}", vectors.len(), folder.display());
    vectors
}

fn parse(name: String, text: &str) -> Vector {
    let mut bytes = Vec::new();
    let mut expected: Vec<(Value, Vec<Value>)> = Vec::new();
    for line in text.lines() {
        let json = |text| serde_json::from_str(text).unwrap_or_else(|error| panic!("{name}: {error} in {line}"));
        if let Some(batch) = line.strip_prefix("#batch ") {
            expected.push((json(batch), Vec::new()));
        } else if let Some(record) = line.strip_prefix("#record ") {
            expected.last_mut().expect("a batch before its records").1.push(json(record));
        } else if !line.starts_with('#') {
            bytes.extend(unhex(line));
        }
    }
    Vector { name, bytes: bytes.into(), expected }
}

fn unhex(text: &str) -> Vec<u8> {
    let pairs = (0..text.len()).step_by(2);
    pairs.map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal digits")).collect()
}

/// The form in which the vectors hold keys and values.
fn shown(bytes: Option<&[u8]>) -> Value {
    match bytes {
        None => Value::Null,
        Some(long) if long.len() > 512 => json!({"bytes": long.len(), "crc32c": crc32c(long)}),
        Some(short) => short.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into(),
    }
}

fn shown_batch(batch: &Batch) -> Value {
    let marker = batch.control_type().expect("a marker or none").map(|marker| match marker {
        ControlType::Abort => "ABORT".to_owned(),
        ControlType::Commit => "COMMIT".to_owned(),
        ControlType::Unknown(id) => id.to_string(),
    });
    json!({
        "magic": batch.magic(),
        "codec": batch.codec().name(),
        "base_offset": batch.base_offset(),
        "last_offset": batch.last_offset(),
        "next_offset": batch.next_offset(),
        "count": batch.record_count(),
        "leader_epoch": batch.leader_epoch().unwrap_or(-1),
        "timestamp_type": batch.timestamp_type().to_string(),
        "max_timestamp": batch.max_timestamp(),
        "producer_id": batch.producer_id(),
        "producer_epoch": batch.producer_epoch(),
        "base_sequence": batch.base_sequence(),
        "transactional": batch.is_transactional(),
        "control": batch.is_control(),
        "marker": marker,
        "size": batch.size_bytes(),
    })
}

/// What Kafka tells of a batch, as far as it differs from what forebay tells by design: Kafka leaves open how many records a
/// plain message is (one), and decompresses a wrapper to find its first offset, which is not in the header.
fn as_ours(batch: &Value) -> Value {
    let mut batch = batch.clone();
    if batch["magic"] != 2 {
        let plain = batch["codec"] == "none";
        batch["count"] = if plain { 1.into() } else { Value::Null };
        batch["base_offset"] = batch["last_offset"].clone();
    }
    batch
}

fn shown_records(batch: &Batch, decompressor: &mut Decompressor) -> Result<Vec<Value>, DecodeError> {
    let records = batch.decode(decompressor)?;
    let mut shown_records = Vec::new();
    for record in &records {
        let record = record?;
        let mut headers = Vec::new();
        for header in record.headers {
            let header = header?;
            headers.push(json!([shown(Some(header.key)), shown(header.value)]));
        }
        shown_records.push(json!({
            "offset": record.offset,
            "timestamp": record.timestamp,
            "key": shown(record.key),
            "value": shown(record.value),
            "headers": headers,
        }));
    }
    Ok(shown_records)
}

fn batches(bytes: &[u8]) -> Vec<Batch> {
    RecordSet::new(Bytes::copy_from_slice(bytes)).batches().map(|batch| batch.expect("a good batch")).collect()
}

#[test]
fn forebay_reads_what_kafka_reads() {
    let mut decompressor = Decompressor::default();
    let mut seen: BTreeMap<(u8, Codec), usize> = BTreeMap::new();
    for Vector { name, bytes, expected } in vectors() {
        let mut walk = RecordSet::new(bytes.clone()).batches();
        for (batch, records) in &expected {
            let read = walk.next().unwrap_or_else(|| panic!("{name}: ends before {batch}"));
            let read = read.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(shown_batch(&read), as_ours(batch), "{name}");
            assert_eq!(&shown_records(&read, &mut decompressor).expect("good records"), records, "{name}");
            *seen.entry((read.magic(), read.codec())).or_default() += 1;
        }
        assert!(walk.next().is_none(), "{name}: goes on where Kafka ends");
        let cut_off = name.starts_with("mixed-cut-off");
        assert_eq!(walk.cut_off().is_some(), cut_off, "{name}");
    }
    // Every format with every codec it knows.
    let known = |magic| Codec::ALL.into_iter().filter(move |codec| magic == 2 || *codec != Codec::Zstd);
    let all: Vec<_> = (0..=2).flat_map(|magic| known(magic).map(move |codec| (magic, codec))).collect();
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), all);
}

#[test]
fn delete_horizon_of_the_log_cleaner() {
    let vectors = vectors();
    let compacted: Vec<_> = vectors.iter().filter(|vector| vector.name.contains("compacted")).collect();
    assert_eq!(compacted.len(), 2);
    for Vector { bytes, .. } in compacted {
        let batch = &batches(bytes)[0];
        // The cleaner's clock at 1,000 s after the records, plus a day of delete.retention.ms.
        assert_eq!(batch.delete_horizon(), Some(1_700_000_000_000 + 1_000_000 + 86_400_000));
    }
}

/// A set cut anywhere gives the whole entries before the cut, and no error.
#[test]
fn every_prefix_of_a_set() {
    for Vector { name, bytes, .. } in vectors() {
        let whole: Vec<usize> = RecordSet::new(bytes.clone())
            .batches()
            .scan(0, |end, batch| {
                *end += batch.expect("a good batch").size_bytes();
                Some(*end)
            })
            .collect();
        for cut in 0..bytes.len() {
            let mut walk = RecordSet::new(bytes.slice(..cut)).batches();
            let read = walk
                .by_ref()
                .filter(|batch| batch.as_ref().expect("no error for a cut-off entry").magic() <= 2)
                .count();
            let complete = whole.iter().filter(|end| **end <= cut).count();
            assert_eq!(read, complete, "{name} cut at {cut}");
            let at_boundary = cut == 0 || whole.contains(&cut);
            assert_eq!(walk.cut_off().is_none(), at_boundary, "{name} cut at {cut}");
        }
    }
}

/// Stores the length and the checksum that belong to the bytes of one entry.
fn reseal(entry: &mut [u8]) {
    let size = i32::try_from(entry.len() - 12).expect("a short entry");
    entry[8..12].copy_from_slice(&size.to_be_bytes());
    if entry[16] == 2 {
        let crc = crc32c(&entry[21..]);
        entry[17..21].copy_from_slice(&crc.to_be_bytes());
    } else {
        let crc = crc32(&entry[16..]);
        entry[12..16].copy_from_slice(&crc.to_be_bytes());
    }
}

/// Records cut anywhere inside a batch whose checksum is right again: an error, since the header counts them.
#[test]
fn every_prefix_of_the_records() {
    let mut decompressor = Decompressor::default();
    for Vector { name, bytes, .. } in vectors() {
        for batch in batches(&bytes).into_iter().filter(|batch| batch.magic() == 2 && batch.size_bytes() > 61) {
            // A large batch at every 7th byte: this is a quadratic test.
            let step = if batch.size_bytes() > 2000 { 7 } else { 1 };
            for cut in (61..batch.size_bytes()).step_by(step) {
                let mut entry = batch.as_bytes()[..cut].to_vec();
                reseal(&mut entry);
                let result = count_records(&batches(&entry)[0], &mut decompressor);
                assert!(result.is_err(), "{name}: records cut at {cut} of {}", batch.size_bytes());
            }
        }
    }
}

/// Reads every record and header of a batch; how many records there are.
fn count_records(batch: &Batch, decompressor: &mut Decompressor) -> Result<usize, DecodeError> {
    let mut count = 0;
    for record in &batch.decode(decompressor)? {
        for header in record?.headers {
            let _header = header?;
        }
        count += 1;
    }
    Ok(count)
}

/// Reads everything there is; the walk and each batch may end in an error.
fn read_all(bytes: Vec<u8>, decompressor: &mut Decompressor) -> Vec<Result<usize, DecodeError>> {
    RecordSet::new(bytes.into())
        .batches()
        .map(|batch| {
            let batch = batch?;
            let marker = batch.control_type();
            let count = count_records(&batch, decompressor)?;
            marker.map(|_| count)
        })
        .collect()
}

/// One bit turned in one entry. The checksum covers all but the offset, the length, and a batch's leader epoch, magic
/// (whose change is a change of the checksum's place) and checksum.
#[test]
fn every_single_bit_of_an_entry() {
    let mut decompressor = Decompressor::default();
    for Vector { name, bytes, .. } in vectors() {
        for batch in batches(&bytes) {
            let good = count_records(&batch, &mut decompressor).expect("good records");
            let covered = if batch.magic() == 2 { 21 } else { 16 };
            for bit in bits(batch.size_bytes()) {
                let mut entry = batch.as_bytes().to_vec();
                entry[bit / 8] ^= 1 << (bit % 8);
                let results = read_all(entry, &mut decompressor);
                if bit / 8 >= covered {
                    let checksum = |result: &Result<_, DecodeError>| {
                        matches!(result, Err(DecodeError { fault: DecodeFault::Checksum { .. }, .. }))
                    };
                    // The header's own checks may come first.
                    let refused = results.iter().any(|result| result.is_err());
                    assert!(refused, "{name}: bit {bit} passes");
                    assert!(bit / 8 < 61 || results.iter().any(checksum), "{name}: bit {bit} is no checksum error");
                } else if let [Ok(count)] = results.as_slice() {
                    assert_eq!(*count, good, "{name}: bit {bit}");
                }
            }
        }
    }
}

/// One bit turned under a checksum that is right again: what the codecs and the record reader make of it.
#[test]
fn every_single_bit_under_a_right_checksum() {
    let mut decompressor = Decompressor::default();
    let mut refused = 0_usize;
    for Vector { bytes, .. } in vectors() {
        for batch in batches(&bytes) {
            for bit in bits(batch.size_bytes()) {
                let mut entry = batch.as_bytes().to_vec();
                entry[bit / 8] ^= 1 << (bit % 8);
                reseal(&mut entry);
                refused += read_all(entry, &mut decompressor).iter().filter(|result| result.is_err()).count();
            }
        }
    }
    assert!(refused > 10_000, "only {refused} damages were noticed");
}

/// All bits of `len` bytes; of a large entry every 101st, so that the test stays in seconds.
fn bits(len: usize) -> impl Iterator<Item = usize> {
    (0..len * 8).step_by(if len > 2000 { 101 } else { 1 })
}

/// Text that compresses, `len` bytes long.
fn text(seed: usize, len: usize) -> String {
    let lines = (0..).map(|n| format!("line {} of {seed}; ", n * n % 977));
    let mut text: String = lines.take(len / 10 + 1).collect();
    text.truncate(len);
    text
}

/// Record sets by our builders: their names say what is in them.
fn built() -> Vec<(String, Vec<u8>)> {
    let mut sets = Vec::new();
    let mut forms: Vec<_> = Codec::ALL.into_iter().map(|codec| (codec, SnappyForm::Xerial)).collect();
    forms.push((Codec::Snappy, SnappyForm::Raw));
    for (codec, snappy) in forms {
        let name = |what: &str| format!("{what}-{codec}-{snappy:?}");
        let plain = BatchOptions { codec, snappy, leader_epoch: 4, ..BatchOptions::default() };
        sets.push((name("v2"), batch_of(plain, &[1, 70, 1, 0, 300])));
        sets.push((name("v2-large"), batch_of(plain, &[9000; 40])));
        sets.push((
            name("v2-append-time"),
            batch_of(BatchOptions { append_time: Some(1_800_000_000_123), ..plain }, &[5, 6]),
        ));
        let horizon = Some(1_700_000_999_000);
        sets.push((name("v2-horizon"), batch_of(BatchOptions { delete_horizon: horizon, ..plain }, &[5, 6])));
        for magic in [LegacyMagic::V0, LegacyMagic::V1].into_iter().filter(|_| codec != Codec::Zstd) {
            let plain = LegacyOptions { magic, codec, snappy, append_time: None };
            sets.push((name(&format!("{magic:?}")), messages_of(plain, &[1, 70, 1, 0, 300])));
            sets.push((name(&format!("{magic:?}-large")), messages_of(plain, &[9000; 40])));
            if magic == LegacyMagic::V1 {
                let append = LegacyOptions { append_time: Some(1_800_000_000_123), ..plain };
                sets.push((name("V1-append-time"), messages_of(append, &[5, 6])));
            }
        }
    }
    let mut transaction = BatchOptions {
        producer_id: 9,
        producer_epoch: 2,
        base_sequence: 5,
        transactional: true,
        ..BatchOptions::default()
    };
    transaction.codec = Codec::Lz4;
    let mut set = batch_of(transaction, &[10, 20]);
    stamp_batch(&mut set, 77, 6, Some(1_900_000_000_000)).expect("a batch");
    set.extend(end_marker(ControlType::Abort, 9, 2, 1, 1_700_000_000_000, 79).expect("a marker"));
    set.extend(batch_of(BatchOptions { base_sequence: 7, ..transaction }, &[30]));
    set.extend(end_marker(ControlType::Commit, 9, 2, 1, 1_700_000_000_000, 81).expect("a marker"));
    sets.push(("transactions".to_owned(), set));

    let mut gaps = BatchBuilder::new(BatchOptions::default());
    gaps.push_at(3, 50, None, Some(b"a"), &[]);
    gaps.push_at(700, -1, None, Some(b"b"), &[]);
    gaps.set_last_offset_delta(1000);
    sets.push(("gaps".to_owned(), gaps.finish(1 << 40).expect("a batch")));
    sets.push(("empty".to_owned(), BatchBuilder::new(BatchOptions::default()).finish(5).expect("a batch")));
    sets
}

fn batch_of(options: BatchOptions, value_bytes: &[usize]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(options);
    for (n, len) in value_bytes.iter().enumerate() {
        let (key, value) = (text(n, n % 4), text(n, *len));
        let headers = [
            Header { key: b"x-tag", value: Some(b"1") },
            Header { key: b"x-tag", value: None },
            Header { key: "\u{6c34}".as_bytes(), value: Some(b"") },
        ];
        let time = [1_700_000_000_000, 1_699_999_000_000, -1][n % 3];
        builder.push(
            time,
            (n % 5 != 2).then_some(key.as_bytes()),
            (n != 2).then_some(value.as_bytes()),
            &headers[..n % 4],
        );
    }
    builder.finish(1000).expect("a batch")
}

fn messages_of(options: LegacyOptions, value_bytes: &[usize]) -> Vec<u8> {
    let mut builder = LegacyBuilder::new(options);
    for (n, len) in value_bytes.iter().enumerate() {
        let (key, value) = (text(n, n % 4), text(n, *len));
        let time = [1_700_000_000_000, 1_699_999_000_000, -1][n % 3];
        builder.push(time, (n % 5 != 2).then_some(key.as_bytes()), (n != 2).then_some(value.as_bytes()));
    }
    builder.finish(1000).expect("messages")
}

/// Of both ends of the range of brokers: the client that came with 1.0.1 and the newest.
#[test]
fn kafka_reads_what_forebay_builds() {
    let sets = built();
    let scratch = Scratch::new("built-records");
    let files: Vec<_> = sets.iter().map(|(name, bytes)| scratch.write(name, bytes)).collect();
    let mut decompressor = Decompressor::default();
    for (jars, knows_zstd) in [(KAFKA_1_0_1, false), (KAFKA_4_4_0, true)] {
        let known = |name: &str| knows_zstd || !name.contains("zstd");
        let mut expected = Vec::new();
        for (name, bytes) in sets.iter().filter(|(name, _)| known(name)) {
            expected.push((format!("file {name}"), Value::Null));
            for batch in batches(bytes) {
                expected.push((format!("{name} batch"), shown_batch(&batch)));
                let records = shown_records(&batch, &mut decompressor).expect("good records");
                assert!(!records.is_empty() || name == "empty", "{name}");
                expected.extend(records.into_iter().map(|record| (format!("{name} record"), record)));
            }
        }
        let mut reader = java::program(jars, "RecordReader");
        reader.args(files.iter().filter(|file| known(&file.to_string_lossy())));
        let output = run(reader, b"", Duration::from_secs(60)).expect_success().stdout_text();
        let mut lines = output.lines();
        for (what, value) in &expected {
            let line = lines.next().unwrap_or_else(|| panic!("{jars} ends before {what}"));
            let read = match line.split_once(' ') {
                Some(("batch", json)) => as_ours(&serde_json::from_str(json).expect("JSON")),
                Some(("record", json)) => serde_json::from_str(json).expect("JSON"),
                _ => {
                    assert_eq!(line, what, "{jars}");
                    Value::Null
                }
            };
            assert_eq!(&read, value, "{jars}: {what}");
        }
        assert_eq!(lines.next(), None, "{jars}");
    }
}
