//! Whole answers recorded from real brokers: each is read to what Kafka's own tools showed, and every prefix and every
//! single-bit flip of it gives a value or an error, in bounded memory. Beside them: counts that lie, and the fuzzer's seeds.
//!
//! Topic `golden`, written by Kafka's Java producer of the broker's version: partition 0 holds three plain records (headers
//! that repeat, a null header, a null key, a null value); partition 1 three records in each codec; partition 2 a committed, an
//! aborted and another committed transaction of one record each, in two segments, so that reading it takes two
//! fetches. Group `g` has committed all three ends from outside. `examples/record_answers.rs` records answers.

mod counts;
mod seeds;

use std::alloc::System;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use forebay::kafka::msg::{
    ApiKey, ApiVersionsCall, Call, DescribeGroupsCall, EndTxnCall, EpochEndCall, FetchAnswer, FetchCall,
    FindCoordinatorCall, InitProducerIdCall, JoinGroupCall, ListGroupsCall, ListOffsetsAnswer, ListOffsetsCall,
    MetadataCall, OffsetCommitCall, OffsetFetchCall, SaslAuthenticateCall, SaslHandshakeCall, SyncGroupCall,
    decode_answer, decode_response_header,
};
use forebay::kafka::record::{Batch, Decompressor, RecordSet};
use forebay::kafka::state::aborted::AbortedFilter;
use forebay::kafka::{ErrorCode, Isolation};
use forebay::limits::DECOMPRESSED_BATCH_BYTES_MAX;
use forebay::wire::Reader;

/// No more than this for all that this process holds: beyond it, an allocation fails and the process with it.
#[global_allocator]
static MEMORY: cap::Cap<System> = cap::Cap::new(System, 64 * 1024 * 1024);

/// One recorded answer.
struct Golden {
    api: String,
    version: i16,
    case: String,
    /// Without the size field.
    frame: Bytes,
}

fn golden() -> Vec<Golden> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/answers");
    let entries = |path: &Path| -> Vec<PathBuf> {
        let read = fs::read_dir(path).unwrap_or_else(|e| panic!("cannot list {}: {e}", path.display()));
        let mut paths: Vec<PathBuf> = read.map(|entry| entry.expect("a readable folder").path()).collect();
        paths.sort();
        paths
    };
    let files = entries(&folder).into_iter().filter(|path| path.is_dir()).flat_map(|path| entries(&path));
    let golden: Vec<Golden> = files.map(|path| load(&path)).collect();
    assert!(golden.len() >= 60, "only {} vectors", golden.len());
    golden
}

fn load(path: &Path) -> Golden {
    let text = fs::read_to_string(path).expect("a readable file");
    let digits: String = text.lines().filter(|line| !line.starts_with('#')).collect();
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal digits");
    let bytes: Vec<u8> = (0..digits.len()).step_by(2).map(byte).collect();
    let size = u32::from_be_bytes(bytes[..4].try_into().expect("a size field")) as usize;
    assert_eq!(size, bytes.len() - 4, "{}", path.display());
    let stem = path.file_stem().and_then(|stem| stem.to_str()).expect("a name");
    let (version, case) = stem.strip_prefix('v').and_then(|rest| rest.split_once('-')).expect("v<version>-<case>.hex");
    let api = path.parent().and_then(Path::file_name).and_then(|name| name.to_str()).expect("a folder").to_owned();
    let version = version.parse().expect("a version");
    Golden { api, version, case: case.to_owned(), frame: Bytes::from(bytes).slice(4..) }
}

fn decode<C: Call>(version: i16, frame: &Bytes) -> Option<C::Answer> {
    let mut reader = Reader::new(frame);
    decode_response_header(&mut reader, C::API, version).ok()?;
    C::decode(version, frame.slice(reader.position()..)).ok()
}

impl Golden {
    /// The API that the folder is called after.
    fn api_key(&self) -> ApiKey {
        let name: String = self.api.split('_').map(|word| word[..1].to_uppercase() + &word[1..]).collect();
        let known = ApiKey::ALL.iter().find(|api| api.name() == name);
        *known.unwrap_or_else(|| panic!("vectors/answers/{}: no API of this name", self.api))
    }
}

/// Reads a frame of any of the APIs, the records of a fetch included; whether it could be read.
fn read(api: ApiKey, version: i16, frame: &Bytes) -> bool {
    if api == ApiKey::Fetch {
        return decode::<FetchCall>(version, frame).is_some_and(|answer| {
            answer.partitions.iter().for_each(|part| drop(records(&part.records, &mut |_| true)));
            true
        });
    }
    let mut reader = Reader::new(frame);
    decode_response_header(&mut reader, api, version).is_ok()
        && decode_answer(api, version, frame.slice(reader.position()..)).is_ok()
}

/// `offset key value headers` of each record of the batches that are admitted, up to the first damage.
fn records(bytes: &Bytes, admits: &mut dyn FnMut(&Batch) -> bool) -> Result<Vec<String>, String> {
    let mut decompressor = Decompressor::new(DECOMPRESSED_BATCH_BYTES_MAX);
    let mut lines = Vec::new();
    for batch in RecordSet::new(bytes.clone()).batches() {
        let batch = batch.map_err(|e| e.to_string())?;
        if !admits(&batch) {
            continue;
        }
        let records = batch.decode(&mut decompressor).map_err(|e| e.to_string())?;
        for record in &records {
            let record = record.map_err(|e| e.to_string())?;
            let text = |bytes: Option<&[u8]>| bytes.map_or_else(|| "null".into(), String::from_utf8_lossy).into_owned();
            let mut line = format!("{} {} {}", record.offset, text(record.key), text(record.value));
            for header in record.headers.iter() {
                let header = header.map_err(|e| e.to_string())?;
                line += &format!(" {}={}", String::from_utf8_lossy(header.key), text(header.value));
            }
            lines.push(line);
        }
    }
    Ok(lines)
}

#[test]
fn every_prefix_and_bit_flip_is_a_value_or_an_error_in_bounded_memory() {
    for golden in golden() {
        let api = golden.api_key();
        let Golden { version, case, frame, .. } = golden;
        assert!(read(api, version, &frame), "{api} v{version} {case}");
        for end in 0..frame.len() {
            read(api, version, &frame.slice(..end));
        }
        for bit in 0..frame.len() * 8 {
            let mut bytes = frame.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            read(api, version, &bytes.into());
        }
    }
}

fn expected_records(partition: i32, version: &str, isolation: Isolation) -> Vec<String> {
    let in_codecs = |codecs: &[&str]| -> Vec<String> {
        let value = |n: usize| format!("value {n} value value value value value");
        let line =
            |(at, codec): (usize, &&str)| (0..3).map(|n| format!("{} {codec} {}", 3 * at + n, value(n))).collect();
        codecs.iter().enumerate().flat_map::<Vec<String>, _>(line).collect()
    };
    let lines = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect();
    match (partition, isolation) {
        (0, _) => lines(&["0 k0 123 x-tag=1 x-tag=2 o=null", "1 null abc", "2 k2 null"]),
        (1, _) if version == "1.0.1" => in_codecs(&["gzip", "snappy", "lz4"]),
        (1, _) => in_codecs(&["gzip", "snappy", "lz4", "zstd"]),
        (_, Isolation::ReadUncommitted) => lines(&["0 c committed", "2 a aborted", "4 d committed too"]),
        (_, Isolation::ReadCommitted) => lines(&["0 c committed", "4 d committed too"]),
    }
}

fn fetch_of(case: &str, version: i16) -> FetchAnswer {
    let found = golden().into_iter().find(|golden| golden.api == "fetch" && golden.case == case);
    let found = found.unwrap_or_else(|| panic!("no vector fetch {case}"));
    assert_eq!(found.version, version);
    decode::<FetchCall>(version, &found.frame).expect("a good answer")
}

#[test]
fn records_are_what_kafka_s_own_producer_wrote() {
    for (broker, version) in [("1.0.1", 6), ("2.8.2", 12), ("4.4.0", 16)] {
        for isolation in [Isolation::ReadUncommitted, Isolation::ReadCommitted] {
            let name = if isolation == Isolation::ReadCommitted { "read-committed" } else { "read-uncommitted" };
            let answers = [name.to_owned(), format!("{name}-rest")];
            let answers = answers.map(|case| fetch_of(&format!("kafka-{broker}-{case}"), version));
            for partition in 0..3 {
                let mut lines = Vec::new();
                let mut position = 0;
                for answer in &answers {
                    // In a fetch session the rest names only what there is news of.
                    let part = answer.partitions.iter().find(|part| part.partition == partition);
                    let Some(part) = part else { continue };
                    let mut filter = AbortedFilter::new(part.aborted.clone());
                    let mut admits = |batch: &Batch| match isolation {
                        Isolation::ReadCommitted => filter.admits(batch).expect("a good marker"),
                        Isolation::ReadUncommitted => !batch.is_control(),
                    };
                    lines.extend(records(&part.records, &mut admits).expect("good records"));
                    for batch in RecordSet::new(part.records.clone()).batches() {
                        position = batch.expect("a good header").next_offset();
                    }
                    // 1.0.1 does not tell the last stable offset to those who did not ask for it.
                    let told = isolation == Isolation::ReadCommitted || broker != "1.0.1";
                    let stable = if told { part.high_watermark } else { -1 };
                    assert_eq!((part.error, part.last_stable_offset), (ErrorCode::NONE, stable));
                }
                assert_eq!(lines, expected_records(partition, broker, isolation), "{broker} {isolation:?} {partition}");
                // The end of partition 2 is a transaction's marker and not its last record.
                assert_eq!(
                    position,
                    [3, if broker == "1.0.1" { 9 } else { 12 }, 6][usize::try_from(partition).unwrap_or(0)]
                );
            }
        }
        let answer = fetch_of(&format!("kafka-{broker}-out-of-range"), version);
        assert!(answer.partitions.iter().all(|part| part.error == ErrorCode::OFFSET_OUT_OF_RANGE));
    }
}

/// Decodes the vector of this name.
fn answer<C: Call>(api: &str, name: &str) -> C::Answer {
    let found = golden().into_iter().find(|golden| golden.api == api && golden.case == name);
    let found = found.unwrap_or_else(|| panic!("no vector {api} {name}"));
    decode::<C>(found.version, &found.frame).unwrap_or_else(|| panic!("cannot read {api} {name}"))
}

#[test]
fn offsets_of_all_brokers() {
    for (broker, end) in [("1.0.1", 9), ("2.8.2", 12), ("4.4.0", 12)] {
        let offsets = |case: &str| {
            let answer: ListOffsetsAnswer =
                answer::<ListOffsetsCall>("list_offsets", &format!("kafka-{broker}-{case}"));
            let mut found: Vec<(i32, i64)> = answer.partitions.iter().map(|(_, p)| (p.partition, p.offset)).collect();
            found.sort_unstable();
            found
        };
        assert_eq!(offsets("earliest"), [(0, 0), (1, 0), (2, 0)]);
        assert_eq!(offsets("latest"), [(0, 3), (1, end), (2, 6)]);
        // 1700000000001; in partition 2 the first that late is a transaction's marker.
        assert_eq!(offsets("by-time"), [(0, 1), (1, 1), (2, 1)]);

        let committed = answer::<OffsetFetchCall>("offset_fetch", &format!("kafka-{broker}-committed"));
        let mut found: Vec<_> = committed.partitions.iter().map(|(_, p)| (p.partition, p.offset)).collect();
        found.sort_unstable();
        assert_eq!(found, [(0, Some(3)), (1, Some(end)), (2, Some(6))]);
        let stored = answer::<OffsetCommitCall>("offset_commit", &format!("kafka-{broker}-stored"));
        assert_eq!(stored.partitions.len(), 3);
        assert!(stored.partitions.iter().all(|(topic, _, code)| &**topic == "golden" && code.is_ok()));
    }
}

#[test]
fn clusters_and_groups_of_all_brokers() {
    for (broker, node) in [("1.0.1", 7), ("2.8.2", 1), ("4.4.0", 1)] {
        let metadata = answer::<MetadataCall>("metadata", &format!("kafka-{broker}-one-topic"));
        assert_eq!((metadata.brokers.len(), metadata.brokers[0].node, metadata.controller), (1, node, Some(node)));
        let topic = &metadata.topics[0];
        assert_eq!((topic.name.as_str(), topic.partitions.len(), topic.id.is_some()), ("golden", 3, broker != "1.0.1"));
        assert!(topic.partitions.iter().all(|p| p.leader == Some(node) && p.in_sync == [node]));
        let coordinator = answer::<FindCoordinatorCall>("find_coordinator", &format!("kafka-{broker}-found"));
        assert_eq!((coordinator.error, coordinator.node), (ErrorCode::NONE, node));
        let groups = answer::<ListGroupsCall>("list_groups", &format!("kafka-{broker}-one-group")).groups;
        assert_eq!((groups.len(), groups[0].group.as_str()), (1, "g"));
        let described = answer::<DescribeGroupsCall>("describe_groups", &format!("kafka-{broker}-empty-group"));
        assert_eq!((described[0].state.as_str(), described[0].members.len()), ("Empty", 0));
    }
    // 1.0.1 refuses ApiVersions v3 in the layout of v0, and without a list.
    let refused = answer::<ApiVersionsCall>("api_versions", "kafka-1.0.1-refused");
    assert_eq!((refused.error, refused.apis.len()), (ErrorCode::UNSUPPORTED_VERSION, 0));
    let ranges = answer::<ApiVersionsCall>("api_versions", "kafka-4.4.0-ranges");
    assert!(ranges.error.is_ok() && ranges.apis.len() > 40);
}

#[test]
fn members_producers_and_logins_of_2_8_2() {
    let member = "kafka-2.8.2-one-member";
    let joined = answer::<JoinGroupCall>("join_group", member);
    assert!(joined.error.is_ok() && joined.leader == joined.member_id && joined.members.len() == 1, "{joined:?}");
    assert!(answer::<SyncGroupCall>("sync_group", member).error.is_ok());
    let described = answer::<DescribeGroupsCall>("describe_groups", member);
    assert_eq!((described[0].state.as_str(), described[0].members.len()), ("Stable", 1));
    let epochs = answer::<EpochEndCall>("offset_for_leader_epoch", "kafka-2.8.2-same-epoch");
    let mut ends: Vec<_> = (epochs.partitions.iter())
        .map(|(_, partition, end)| (*partition, end.as_ref().map(|end| (end.epoch, end.end_offset)).expect("an end")))
        .collect();
    ends.sort_unstable();
    assert_eq!(ends, [(0, (0, 3)), (1, (0, 12)), (2, (0, 6))]);
    let (idempotent, transaction) = ("kafka-2.8.2-idempotent", "kafka-2.8.2-transaction");
    let ids = [idempotent, transaction].map(|case| answer::<InitProducerIdCall>("init_producer_id", case));
    assert!(
        ids.iter().all(|id| id.error.is_ok() && id.producer_epoch == 0) && ids[0].producer_id != ids[1].producer_id
    );
    assert!(answer::<EndTxnCall>("end_txn", transaction).error.is_ok());
    let offered = answer::<SaslHandshakeCall>("sasl_handshake", "kafka-2.8.2-offered");
    assert_eq!((offered.error, offered.mechanisms), (ErrorCode::NONE, vec!["SCRAM-SHA-256".to_owned()]));
    let said = |case: &str| answer::<SaslAuthenticateCall>("sasl_authenticate", &format!("kafka-2.8.2-{case}"));
    assert!(said("challenge").message.starts_with(b"r=") && said("proof").message.starts_with(b"v="));
    assert_eq!(said("refused").error, ErrorCode::SASL_AUTHENTICATION_FAILED);
}
