//! Record batches and message sets that Kafka's own clients wrote, read by forebay: every field of every batch and record is
//! what the same clients read in them. Then the same bytes cut off and damaged everywhere: a value or an error, never a panic.
//!
//! The vectors and how they came about: `vectors/records/*.hex`, written by `vectors/records/make`.

use std::collections::BTreeMap;
use std::fs;

use bytes::Bytes;
use forebay::kafka::record::{Batch, Codec, ControlType, Decompressor, RecordSet};
use forebay::wire::{DecodeError, DecodeFault, crc32, crc32c};
use forebay_proto_tests::scratch::package_folder;
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
            let mut batch = batch.clone();
            if read.magic() < 2 {
                // Kafka leaves open how many records a message is, and decompresses a wrapper to find its first offset.
                let plain = read.codec() == Codec::None;
                batch["count"] = if plain { 1.into() } else { Value::Null };
                batch["base_offset"] = batch["last_offset"].clone();
            }
            assert_eq!(shown_batch(&read), batch, "{name}");
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
            let read = walk.by_ref().map(|batch| batch.expect("no error for a cut-off entry")).count();
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
                let result = shown_records(&batches(&entry)[0], &mut decompressor);
                assert!(result.is_err(), "{name}: records cut at {cut} of {}", batch.size_bytes());
            }
        }
    }
}

/// Reads everything there is; the walk and each batch may end in an error.
fn read_all(bytes: Vec<u8>, decompressor: &mut Decompressor) -> Vec<Result<Vec<Value>, DecodeError>> {
    RecordSet::new(bytes.into())
        .batches()
        .map(|batch| {
            let batch = batch?;
            let marker = batch.control_type();
            let records = shown_records(&batch, decompressor)?;
            marker.map(|_| records)
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
            let good = shown_records(&batch, &mut decompressor).expect("good records");
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
                } else if let [Ok(records)] = results.as_slice() {
                    assert_eq!(records.len(), good.len(), "{name}: bit {bit}");
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
