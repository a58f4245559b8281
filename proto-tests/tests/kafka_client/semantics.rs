//! The 21 statements of how a Kafka client must read, each by its number: `s01` to `s21`.
//!
//! Where a real broker can be made to do it, the test is in `semantics_real.rs`; some statements have further tests in
//! `main.rs` under the same number. Elsewhere: 4, 10 to 13 against Kafka's own clients in `records.rs` and `brokers`, 17 against
//! brokers that end a login in `security`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use forebay::kafka::msg::CodeClass;
use forebay::kafka::record::{
    BatchBuilder, BatchOptions, Codec, ControlType, Decompressor, Header, LegacyBuilder, LegacyMagic, LegacyOptions,
    SnappyForm, TimestampType, end_marker,
};
use forebay::kafka::{
    Client, ClientConfig, Consumer, ConsumerConfig, Error, ErrorCode, ErrorKind, Isolation, OffsetAt, OnLost, Position,
};

use crate::peer::{
    Asked, Bytes, FETCH, FIND_COORDINATOR, LIST_OFFSETS, METADATA, MIDDLE, OFFSET_COMMIT, OFFSET_FETCH,
    OFFSET_FOR_LEADER_EPOCH, Part, Peer, Reply, fetch_asked, fetch_offset, fetched, fetched_v11, metadata, metadata_v7,
    offset,
};
use crate::{assert_names, batch, config, connect, consumer, read, to_commit};

/// A peer of the oldest versions that leads partition 0 of `t` and answers the fetch of each offset by `records`.
fn old(records: impl Fn(i64) -> Vec<u8> + Send + Sync + 'static) -> Peer {
    Peer::start(move |request, port| match request.api {
        METADATA => metadata(&[(1, "127.0.0.1", port)], &[1]),
        FETCH => Reply::Answer(fetched(0, 0, 1000, &records(fetch_offset(&request.body)))),
        _ => Reply::Close,
    })
}

/// A peer with sessions that leads `partitions` partitions and keeps what it was asked.
fn middle(
    partitions: usize,
    answer: impl Fn(usize, &Asked) -> Reply + Send + Sync + 'static,
) -> (Peer, Arc<Mutex<Vec<Asked>>>) {
    let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
    let log = asked.clone();
    let peer = Peer::speaking(&MIDDLE, move |request, port| match request.api {
        METADATA => metadata_v7(&[(1, port)], &vec![(1, 0); partitions]),
        FETCH => {
            let asked = fetch_asked(&request.body);
            let mut log = log.lock().expect("no panic");
            log.push(asked.clone());
            let count = log.len();
            drop(log);
            answer(count, &asked)
        }
        _ => Reply::Close,
    });
    (peer, asked)
}

fn quick() -> ConsumerConfig {
    ConsumerConfig { wait_ms_max: 50, ..ConsumerConfig::default() }
}

/// Everything about one record that a reader sees.
type Seen = (i64, i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(String, Option<Vec<u8>>)>);

/// All records up to `end`, whole.
async fn see(consumer: &mut Consumer, end: i64) -> Result<Vec<Seen>, Error> {
    let mut decompressor = Decompressor::new(1 << 20);
    let mut seen = Vec::new();
    loop {
        let mut fetched = consumer.next().await?;
        while let Some(records) = fetched.next_records(&mut decompressor)? {
            for record in &records {
                let record = record.expect("a good record");
                let header = |header: Header<'_>| {
                    (String::from_utf8_lossy(header.key).into_owned(), header.value.map(<[u8]>::to_vec))
                };
                let headers = record.headers.iter().map(|one| header(one.expect("a good header"))).collect();
                let (key, value) = (record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec));
                seen.push((record.offset, record.timestamp, key, value, headers));
            }
        }
        if fetched.position() >= end {
            return Ok(seen);
        }
    }
}

#[tokio::test]
async fn s01_progress_is_the_next_offset() {
    // Compaction has left offset 0 of a batch that reached to 41, and then an empty batch that reaches to 99.
    let peer = old(|offset| match offset {
        0 => {
            let mut holey = BatchBuilder::new(BatchOptions::default());
            holey.push(0, None, Some(b"v0"), &[]);
            holey.set_last_offset_delta(41);
            holey.finish(0).expect("a batch")
        }
        42 => {
            let mut empty = BatchBuilder::new(BatchOptions::default());
            empty.set_last_offset_delta(57);
            empty.finish(42).expect("a batch")
        }
        100 => batch(100..101),
        other => panic!("offset {other} is nowhere the end of a batch"),
    });
    let client = connect(&peer).await;
    let mut consumer = consumer(&client, 0);
    assert_eq!(read(&mut consumer, 101).await.expect("it is read"), ["v0", "v100"]);
    assert_eq!(consumer.position("t", 0).map(|position| position.offset), Some(101));
}

#[tokio::test]
async fn s02_the_end_is_a_position_and_not_an_empty_answer() {
    // Partition 1 is empty, and within the session the broker never mentions it again; the last offset of partition 0 is
    // a marker.
    let (peer, _) = middle(2, |count, _| match count {
        1 => fetched_v11(0, 0, 7, &[Part::good(0, 4, batch(0..3)), Part::good(1, 0, vec![])]),
        2 => {
            let marker = end_marker(ControlType::Commit, 9, 0, 0, 0, 3).expect("a marker");
            fetched_v11(0, 0, 7, &[Part::good(0, 4, marker)])
        }
        _ => {
            std::thread::sleep(Duration::from_millis(50));
            fetched_v11(0, 0, 7, &[])
        }
    });
    let client = connect(&peer).await;
    let mut consumer = Consumer::of_topic(&client, quick(), "t", &[(0, 0), (1, 0)]);
    let (mut position, mut empty, mut records) = (0, 0, 0);
    let mut decompressor = Decompressor::new(1 << 20);
    while position < 4 || empty == 0 {
        let mut fetched = consumer.next().await.expect("an answer");
        while let Some(found) = fetched.next_records(&mut decompressor).expect("good batches") {
            records += found.record_count();
        }
        if fetched.partition == 0 {
            position = fetched.position();
        } else {
            empty += 1;
        }
    }
    assert_eq!((position, records, empty), (4, 3, 1));
    let more = tokio::time::timeout(Duration::from_millis(300), consumer.next()).await;
    assert!(more.is_err(), "what has not changed is not told again: {more:?}");
    assert!(consumer.progress().iter().all(|partition| partition.waiting_on.is_none()));
}

#[tokio::test]
async fn s05_records_below_the_position_are_dropped() {
    for codec in Codec::ALL {
        let peer = old(move |_| {
            let mut builder = BatchBuilder::new(BatchOptions { codec, ..BatchOptions::default() });
            for n in 0..5 {
                builder.push(0, None, Some(format!("v{n}").as_bytes()), &[]);
            }
            builder.finish(0).expect("a batch")
        });
        let client = connect(&peer).await;
        assert_eq!(read(&mut consumer(&client, 3), 5).await.expect("it is read"), ["v3", "v4"], "{codec}");
    }
}

#[tokio::test]
async fn s06_a_cut_off_batch_is_fetched_again_with_more_room() {
    let limits: Arc<Mutex<Vec<i32>>> = Arc::default();
    let log = limits.clone();
    let large = batch(2..400);
    let peer = Peer::start(move |request, port| match request.api {
        METADATA => metadata(&[(1, "127.0.0.1", port)], &[1]),
        _ => {
            let body = &request.body;
            let limit = i32::from_be_bytes(body[body.len() - 4..].try_into().expect("four bytes"));
            log.lock().expect("no panic").push(limit);
            // A broker before KIP-74: it cuts at the limit of the partition, whatever is there.
            let records = if fetch_offset(body) == 0 { [batch(0..2), large.clone()].concat() } else { large.clone() };
            let kept = records.len().min(usize::try_from(limit).expect("a limit"));
            Reply::Answer(fetched(0, 0, 400, &records[..kept]))
        }
    });
    let client = connect(&peer).await;
    let config = ConsumerConfig { partition_bytes_max: 200, ..quick() };
    let mut consumer = Consumer::of_topic(&client, config, "t", &[(0, 0)]);
    assert_eq!(read(&mut consumer, 400).await.expect("it is read").len(), 400);
    let limits = limits.lock().expect("no panic").clone();
    assert_eq!(limits[..2], [200, 200]);
    assert!(limits[2] > 1000, "{limits:?}");
}

#[tokio::test]
async fn s07_a_time_without_a_record_is_no_offset_and_no_error() {
    let peer = Peer::start(|request, port| match request.api {
        METADATA => metadata(&[(1, "127.0.0.1", port)], &[1]),
        LIST_OFFSETS => Reply::Answer(offset(0, -1)),
        _ => Reply::Close,
    });
    let found = connect(&peer).await.list_offsets("t", &[(0, OffsetAt::Time(5))], Isolation::ReadUncommitted).await;
    assert_eq!(found.expect("an answer")[&0].offset, None);
}

#[tokio::test]
async fn s08_nothing_committed_is_none_and_null_metadata_is_not_empty() {
    let peer = Peer::start(|request, port| match request.api {
        METADATA => metadata(&[(1, "127.0.0.1", port)], &[1]),
        FIND_COORDINATOR => {
            Reply::Answer(Bytes::new().int(0).short(0).short(-1).int(1).text("127.0.0.1").int(i32::from(port)).0)
        }
        OFFSET_FETCH => {
            let out = Bytes::new().int(1).text("t").int(3);
            let out = out.int(0).long(-1).short(-1).short(0);
            let out = out.int(1).long(5).short(-1).short(0);
            Reply::Answer(out.int(2).long(6).text("").short(0).short(0).0)
        }
        _ => Reply::Close,
    });
    let client = connect(&peer).await;
    let found = client.committed_offsets("g", &[("t".to_owned(), vec![0, 1, 2])]).await.expect("an answer");
    let found: Vec<_> = found.into_iter().map(|one| (one.partition, one.offset, one.metadata)).collect();
    assert_eq!(found, [(0, None, None), (1, Some(5), None), (2, Some(6), Some(String::new()))]);
}

/// Two brokers; broker 1 leads and sends readers to broker 2, which says that it does not have the offset. A reader that comes
/// back is given what `leader` says.
fn two_brokers(leader: impl Fn() -> Part + Send + Sync + 'static) -> (Peer, Peer, Arc<AtomicUsize>) {
    let lookups = Arc::new(AtomicUsize::new(0));
    let second = Peer::speaking(&MIDDLE, |request, _| match request.api {
        FETCH => fetched_v11(0, 0, 0, &[Part::bad(0, 1)]),
        _ => Reply::Close,
    });
    let port_of_second: u16 = second.address().rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    let (redirects, count) = (AtomicUsize::new(0), lookups.clone());
    let first = Peer::speaking(&MIDDLE, move |request, port| match request.api {
        METADATA => metadata_v7(&[(1, port), (2, port_of_second)], &[(1, 0)]),
        FETCH if redirects.fetch_add(1, Ordering::SeqCst) == 0 => {
            fetched_v11(0, 0, 0, &[Part { replica: 2, ..Part::good(0, 20, vec![]) }])
        }
        FETCH => fetched_v11(0, 0, 0, &[leader()]),
        LIST_OFFSETS => {
            count.fetch_add(1, Ordering::SeqCst);
            Reply::Answer(offset(0, if request.body.ends_with(&(-2_i64).to_be_bytes()) { 10 } else { 20 }))
        }
        _ => Reply::Close,
    });
    (first, second, lookups)
}

#[tokio::test]
async fn s09_a_follower_out_of_range_is_no_loss_until_the_leader_says_so() {
    let (first, _second, lookups) = two_brokers(|| Part::good(0, 20, batch(4..5)));
    let client = connect(&first).await;
    let config = ConsumerConfig { rack: "r2".to_owned(), ..quick() };
    let mut consumer = Consumer::of_topic(&client, config, "t", &[(0, 4)]);
    assert_eq!(read(&mut consumer, 5).await.expect("the leader has it"), ["v4"]);
    assert_eq!(lookups.load(Ordering::SeqCst), 0, "nobody was asked for the range");

    let (first, _second, _) = two_brokers(|| Part::bad(0, 1));
    let client = connect(&first).await;
    let mut consumer = Consumer::of_topic(&client, quick(), "t", &[(0, 4)]);
    let error = read(&mut consumer, 5).await.expect_err("the leader does not have it either");
    assert_eq!(error.kind(), ErrorKind::OffsetOutOfRange { position: 4, log_start: 10, end: 20 });
    assert_names(&error, &["topic \"t\" partition 0", "offsets 4 to 9 have been deleted"]);
}

#[tokio::test]
async fn s09_out_of_range_follows_the_policy() {
    for (on_lost, first) in [(OnLost::Earliest, 10), (OnLost::Latest, 20)] {
        let peer = Peer::start(|request, port| match request.api {
            METADATA => metadata(&[(1, "127.0.0.1", port)], &[1]),
            FETCH => match fetch_offset(&request.body) {
                4 => Reply::Answer(fetched(0, 1, -1, &[])),
                at => Reply::Answer(fetched(0, 0, 30, &batch(at..30))),
            },
            _ => Reply::Answer(offset(0, if request.body.ends_with(&(-2_i64).to_be_bytes()) { 10 } else { 20 })),
        });
        let client = connect(&peer).await;
        let mut consumer = Consumer::of_topic(&client, ConsumerConfig { on_lost, ..quick() }, "t", &[(0, 4)]);
        let values = read(&mut consumer, 30).await.expect("it goes on");
        assert_eq!(values.first(), Some(&format!("v{first}")));
    }
}

#[tokio::test]
async fn s09_a_log_that_was_cut_is_told_with_the_range() {
    // Epoch 3 of the committed position ends at 40 in the leader's log.
    let peer = Peer::speaking(&MIDDLE, |request, port| match request.api {
        METADATA => metadata_v7(&[(1, port)], &[(1, 5)]),
        OFFSET_FOR_LEADER_EPOCH => {
            Reply::Answer(Bytes::new().int(0).int(1).text("t").int(1).short(0).int(0).int(3).long(40).0)
        }
        FETCH => {
            let at = fetch_asked(&request.body).partitions[0].2;
            fetched_v11(0, 0, 0, &[Part::good(0, 60, batch(at..60))])
        }
        _ => Reply::Close,
    });
    let client = connect(&peer).await;
    let start = Position { offset: 50, leader_epoch: Some(3) };
    let mut consumer = Consumer::of_topic(&client, quick(), "t", &[(0, start)]);
    let error = read(&mut consumer, 60).await.expect_err("40 to 49 are gone");
    assert!(matches!(error.kind(), ErrorKind::OffsetOutOfRange { position: 50, end: 40, .. }), "{error:?}");
    assert_names(&error, &["topic \"t\" partition 0", "truncated", "offsets 40 to 49"]);

    let config = ConsumerConfig { on_lost: OnLost::Earliest, ..quick() };
    let mut consumer = Consumer::of_topic(&client, config, "t", &[(0, start)]);
    assert_eq!(read(&mut consumer, 60).await.expect("it goes on").len(), 20);
    // In the log as it was.
    let start = Position { offset: 40, leader_epoch: Some(3) };
    let mut consumer = Consumer::of_topic(&client, quick(), "t", &[(0, start)]);
    assert_eq!(read(&mut consumer, 60).await.expect("nothing is lost").len(), 20);
}

#[tokio::test]
async fn s10_append_time_counts_for_every_record() {
    let peer = old(|_| {
        let options = BatchOptions { append_time: Some(1_700_000_000_123), ..BatchOptions::default() };
        let mut appended = BatchBuilder::new(options);
        appended.push(5, None, Some(b"a"), &[]);
        appended.push(3, None, Some(b"b"), &[]);
        let mut created = BatchBuilder::new(BatchOptions::default());
        created.push(1_000, None, Some(b"c"), &[]);
        created.push(-1, None, Some(b"d"), &[]);
        let mut old = LegacyBuilder::new(LegacyOptions { magic: LegacyMagic::V0, ..LegacyOptions::default() });
        old.push(77, None, Some(b"e"));
        let parts = [appended.finish(0), created.finish(2), old.finish(4)];
        parts.map(|part| part.expect("a batch")).concat()
    });
    let client = connect(&peer).await;
    let seen = see(&mut consumer(&client, 0), 5).await.expect("it is read");
    let times: Vec<i64> = seen.iter().map(|seen| seen.1).collect();
    assert_eq!(times, [1_700_000_000_123, 1_700_000_000_123, 1_000, -1, -1]);
    let mut fetched = consumer(&client, 0).next().await.expect("an answer");
    let mut decompressor = Decompressor::new(1 << 20);
    let mut kinds = Vec::new();
    while let Some(records) = fetched.next_records(&mut decompressor).expect("good batches") {
        kinds.extend(records.iter().map(|record| record.expect("a good record").timestamp_type));
    }
    use TimestampType::{CreateTime, LogAppendTime, NoTimestamp};
    assert_eq!(kinds, [LogAppendTime, LogAppendTime, CreateTime, CreateTime, NoTimestamp]);
}

#[tokio::test]
async fn s11_null_is_not_empty_and_headers_repeat_in_order() {
    let headers: [(&[u8], Option<&[u8]>); 4] =
        [(b"x-tag", Some(b"1")), (b"x-tag", None), (b"\xff\xfe", Some(b"")), (b"x-tag", Some(b"2"))];
    let headers = headers.map(|(key, value)| Header { key, value });
    let peer = old(move |_| {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder.push(0, None, None, &headers);
        builder.push(0, Some(b""), Some(b""), &[]);
        builder.finish(0).expect("a batch")
    });
    let client = connect(&peer).await;
    let seen = see(&mut consumer(&client, 0), 2).await.expect("it is read");
    assert_eq!((&seen[0].2, &seen[0].3), (&None, &None));
    assert_eq!((&seen[1].2, &seen[1].3), (&Some(vec![]), &Some(vec![])));
    let text = |text: &str| text.to_owned();
    let expected = [
        (text("x-tag"), Some(b"1".to_vec())),
        (text("x-tag"), None),
        (text("\u{fffd}\u{fffd}"), Some(vec![])),
        (text("x-tag"), Some(b"2".to_vec())),
    ];
    assert_eq!(seen[0].4, expected);
}

#[tokio::test]
async fn s12_every_codec_in_every_form_and_a_bound_on_what_comes_out() {
    for snappy in [SnappyForm::Xerial, SnappyForm::Raw] {
        for codec in Codec::ALL {
            let peer = old(move |_| {
                let mut new = BatchBuilder::new(BatchOptions { codec, snappy, ..BatchOptions::default() });
                new.push(0, None, Some(&vec![b'v'; 100_000]), &[]);
                let mut parts = new.finish(0).expect("a batch");
                // Messages know no zstd.
                if codec != Codec::Zstd {
                    let options = LegacyOptions { magic: LegacyMagic::V1, codec, snappy, append_time: None };
                    let mut old = LegacyBuilder::new(options);
                    old.push(0, None, Some(b"w"));
                    old.push(0, None, Some(b"x"));
                    parts.extend(old.finish(1).expect("messages"));
                }
                parts
            });
            let end = if codec == Codec::Zstd { 1 } else { 3 };
            let client = connect(&peer).await;
            let seen = see(&mut consumer(&client, 0), end).await.expect("it is read");
            let offsets: Vec<i64> = seen.iter().map(|seen| seen.0).collect();
            assert_eq!(offsets, (0..end).collect::<Vec<_>>(), "{codec}");
            let mut fetched = consumer(&client, 0).next().await.expect("an answer");
            let bounded = fetched.next_records(&mut Decompressor::new(50_000));
            assert_eq!(bounded.is_err(), codec != Codec::None, "{codec}");
        }
    }
}

#[tokio::test]
async fn s13_one_answer_holds_all_three_formats() {
    let peer = old(|_| {
        let message = |magic, offset, value: &[u8]| {
            let mut builder = LegacyBuilder::new(LegacyOptions { magic, ..LegacyOptions::default() });
            builder.push(0, None, Some(value));
            builder.finish(offset).expect("a message")
        };
        let parts = [message(LegacyMagic::V0, 0, b"v0"), message(LegacyMagic::V1, 1, b"v1"), batch(2..4)];
        [parts.concat(), message(LegacyMagic::V1, 4, b"v4")].concat()
    });
    let client = connect(&peer).await;
    let values = read(&mut consumer(&client, 0), 5).await.expect("it is read");
    assert_eq!(values, ["v0", "v1", "v2", "v3", "v4"]);
}

#[tokio::test]
async fn s14_a_leader_that_moves_is_followed_whatever_the_code() {
    // NOT_LEADER_OR_FOLLOWER, FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH, KAFKA_STORAGE_ERROR, REPLICA_NOT_AVAILABLE,
    // OFFSET_NOT_AVAILABLE, LEADER_NOT_AVAILABLE
    for code in [6, 74, 75, 56, 9, 78, 5] {
        let second = Peer::speaking(&MIDDLE, |request, _| match request.api {
            FETCH => {
                let (_, epoch, at) = fetch_asked(&request.body).partitions[0];
                assert_eq!(epoch, 2, "the leader that we believe in is named");
                fetched_v11(0, 0, 0, &[Part::good(0, 6, if at < 6 { batch(at..6) } else { vec![] })])
            }
            OFFSET_FOR_LEADER_EPOCH => Reply::Close,
            _ => Reply::Silence,
        });
        let new_port: u16 = second.address().rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
        let asked = Arc::new(AtomicUsize::new(0));
        let fetches = asked.clone();
        let first = Peer::speaking(&MIDDLE, move |request, port| match request.api {
            METADATA => match fetches.load(Ordering::SeqCst) {
                0 | 1 => metadata_v7(&[(1, port), (2, new_port)], &[(1, 1)]),
                // For a while nobody leads; then a broker that lags behind answers, and at last the truth.
                2 => {
                    fetches.fetch_add(1, Ordering::SeqCst);
                    metadata_v7(&[(1, port), (2, new_port)], &[(-1, 2)])
                }
                3 => {
                    fetches.fetch_add(1, Ordering::SeqCst);
                    metadata_v7(&[(1, port), (2, new_port)], &[(1, 1)])
                }
                _ => metadata_v7(&[(1, port), (2, new_port)], &[(2, 2)]),
            },
            FETCH if fetches.fetch_add(1, Ordering::SeqCst) == 0 => {
                fetched_v11(0, 0, 0, &[Part::good(0, 6, batch(0..3))])
            }
            FETCH => fetched_v11(0, 0, 0, &[Part::bad(0, code)]),
            _ => Reply::Close,
        });
        let mut patient = config(&[&first.address()]);
        patient.retries_deadline = Duration::from_secs(30);
        let client = Client::connect(patient).await.expect("the peer answers");
        let mut consumer = Consumer::of_topic(&client, quick(), "t", &[(0, 0)]);
        let values = read(&mut consumer, 6).await.expect("the new leader has the rest");
        assert_eq!(values, ["v0", "v1", "v2", "v3", "v4", "v5"], "code {code}");
    }
}

#[test]
fn s15_every_code_of_a_group_has_its_consequence() {
    let class = |code: ErrorCode| code.class();
    for code in [ErrorCode::NOT_COORDINATOR, ErrorCode::COORDINATOR_NOT_AVAILABLE] {
        assert_eq!(class(code), CodeClass::Coordinator);
    }
    assert_eq!(class(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS), CodeClass::Retry);
    for code in [
        ErrorCode::UNKNOWN_MEMBER_ID,
        ErrorCode::ILLEGAL_GENERATION,
        ErrorCode::MEMBER_ID_REQUIRED,
        ErrorCode::REBALANCE_IN_PROGRESS,
        ErrorCode::FENCED_MEMBER_EPOCH,
        ErrorCode::STALE_MEMBER_EPOCH,
    ] {
        assert_eq!(class(code), CodeClass::Rejoin, "{code}");
    }
    assert_eq!(class(ErrorCode::FENCED_INSTANCE_ID), CodeClass::Fatal);
}

/// The answer of a coordinator to a commit of partition 0 of `t`.
fn committed() -> Reply {
    Reply::Answer(Bytes::new().int(0).int(1).text("t").int(1).int(0).short(0).0)
}

fn coordinator(port: u16) -> Reply {
    Reply::Answer(Bytes::new().int(0).short(0).short(-1).int(1).text("127.0.0.1").int(i32::from(port)).0)
}

#[tokio::test]
async fn s16_a_throttled_connection_is_quiet_and_others_are_not() {
    let fetches: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let log = fetches.clone();
    let peer = Peer::speaking(&MIDDLE, move |request, port| match request.api {
        METADATA => metadata_v7(&[(1, port)], &[(1, 0)]),
        FETCH => {
            let mut log = log.lock().expect("no panic");
            log.push(Instant::now());
            let throttle_ms = if log.len() == 1 { 1500 } else { 0 };
            let at = fetch_asked(&request.body).partitions[0].2;
            fetched_v11(throttle_ms, 0, 0, &[Part::good(0, 9, batch(at..at + 1))])
        }
        FIND_COORDINATOR => coordinator(port),
        OFFSET_COMMIT => committed(),
        _ => Reply::Close,
    });
    let client = connect(&peer).await;
    let mut consumer = Consumer::of_topic(&client, quick(), "t", &[(0, 0)]);
    assert_eq!(read(&mut consumer, 1).await.expect("the first answer"), ["v0"]);
    // What keeps a group alive does not wait for the quota of a fetch.
    client.commit_offsets("g", &to_commit()).await.expect("it is stored");
    assert_eq!(fetches.lock().expect("no panic").len(), 1, "the commit came before the next fetch");
    assert_eq!(read(&mut consumer, 2).await.expect("the second answer"), ["v1"]);
    let fetches = fetches.lock().expect("no panic").clone();
    let quiet = fetches[1].duration_since(fetches[0]);
    assert!(quiet >= Duration::from_millis(1500), "the broker asked for 1500 ms, it got {quiet:?}");
}

#[tokio::test]
async fn s17_a_broker_that_refuses_our_apiversions_in_v0_is_asked_in_v0() {
    // Every scripted peer refuses v3 with an empty list in the layout of v0, as brokers before 2.4 do.
    let peer = old(|offset| batch(offset..offset + 1));
    let client = connect(&peer).await;
    assert_eq!(read(&mut consumer(&client, 0), 1).await.expect("it is read"), ["v0"]);
}

#[tokio::test]
async fn s18_sessions_name_changes_forget_and_are_opened_anew() {
    // FETCH_SESSION_ID_NOT_FOUND, INVALID_FETCH_SESSION_EPOCH
    for code in [70, 71] {
        let (peer, log) = middle(3, move |count, asked| match count {
            1 => fetched_v11(0, 0, 7, &(0..3).map(|n| Part::good(n, 9, vec![])).collect::<Vec<_>>()),
            2 => fetched_v11(0, 0, 7, &[Part::good(1, 9, batch(0..2))]),
            3 => fetched_v11(0, code, 0, &[]),
            4 => fetched_v11(
                0,
                0,
                8,
                &[Part::good(0, 9, batch(0..1)), Part::good(1, 9, vec![]), Part::good(2, 9, vec![])],
            ),
            _ if asked.forgotten.is_empty() => {
                std::thread::sleep(Duration::from_millis(20));
                fetched_v11(0, 0, 8, &[])
            }
            // A broker that is late in forgetting.
            _ => fetched_v11(0, 0, 8, &[Part::good(2, 9, batch(0..2)), Part::good(1, 9, batch(2..4))]),
        });
        let client = connect(&peer).await;
        let mut consumer = Consumer::of_topic(&client, quick(), "t", &[(0, 0), (1, 0), (2, 0)]);
        assert_eq!(read_of(&mut consumer, 1, 2).await, ["v0", "v1"]);
        assert_eq!(read_of(&mut consumer, 0, 1).await, ["v0"]);
        consumer.remove("t", &[2]);
        assert_eq!(read_of(&mut consumer, 1, 4).await, ["v2", "v3"]);
        let log = log.lock().expect("no panic").clone();
        let sessions: Vec<(i32, i32)> = log.iter().take(4).map(|asked| asked.session).collect();
        let anew = if code == 70 { (0, 0) } else { (7, 0) };
        assert_eq!(sessions, [(0, 0), (7, 1), (7, 2), anew]);
        assert_eq!(log[0].partitions.len(), 3);
        assert_eq!(log[1].partitions, []);
        assert_eq!(log[2].partitions, [(1, 0, 2)]);
        assert_eq!(log[3].partitions.len(), 3, "a session that is gone is opened in full");
        let forgotten: Vec<i32> = log.iter().flat_map(|asked| asked.forgotten.clone()).collect();
        assert_eq!(forgotten, [2]);
    }
}

/// Values of one partition until its position is `end`; what comes of others must be empty.
async fn read_of(consumer: &mut Consumer, partition: i32, end: i64) -> Vec<String> {
    let mut decompressor = Decompressor::new(1 << 20);
    let mut values = Vec::new();
    loop {
        let mut fetched = consumer.next().await.expect("an answer");
        while let Some(records) = fetched.next_records(&mut decompressor).expect("good batches") {
            assert_eq!(fetched.partition, partition);
            let value = |value: Option<&[u8]>| String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
            values.extend(records.iter().map(|record| value(record.expect("a good record").value)));
        }
        if fetched.partition == partition && fetched.position() >= end {
            return values;
        }
    }
}

#[tokio::test]
async fn s19_a_fetch_that_waits_does_not_hold_up_the_group() {
    let peer = Peer::start(|request, port| match request.api {
        METADATA => metadata(&[(1, "127.0.0.1", port)], &[1]),
        FIND_COORDINATOR => coordinator(port),
        OFFSET_COMMIT => committed(),
        _ => Reply::Silence,
    });
    let mut patient = config(&[&peer.address()]);
    patient.request_timeout = Duration::from_secs(60);
    let client = Client::connect(patient).await.expect("the peer answers");
    let mut consumer = consumer(&client, 0);
    tokio::select! {
        fetched = consumer.next() => panic!("the broker never answers a fetch: {fetched:?}"),
        stored = async {
            for _ in 0..20 {
                client.commit_offsets("g", &to_commit()).await?;
            }
            Ok::<(), Error>(())
        } => stored.expect("the coordinator has a connection of its own"),
    }
}

#[tokio::test]
async fn s20_counts_of_two_billion_are_refused() {
    for at in 1..=3 {
        let peer = Peer::start(move |request, port| match request.api {
            METADATA => metadata(&[(1, "127.0.0.1", port)], &[1]),
            _ => {
                let count = |n| if n == at { i32::MAX } else { 1 };
                let out = Bytes::new().int(0).int(count(1)).text("t").int(count(2)).int(0).short(0);
                Reply::Answer(out.long(9).long(9).int(count(3)).0)
            }
        });
        let client = connect(&peer).await;
        let error = read(&mut consumer(&client, 0), 1).await.expect_err("no answer is that large");
        assert_eq!(error.kind(), ErrorKind::Decode);
        assert_names(&error, &["Fetch of topic \"t\" partition 0 at broker 1", "cannot read the answer"]);
    }
}

#[tokio::test]
async fn s21_ipv6_literals_have_brackets() {
    let mut impatient = ClientConfig::new(["[::1]:1"]);
    impatient.bootstrap_deadline = Duration::from_millis(200);
    impatient.connect_timeout = Duration::from_secs(1);
    let error = Client::connect(impatient).await.expect_err("nobody listens there");
    assert_names(&error, &["[::1]:1"]);
    let error = Client::connect(ClientConfig::new(["::1:9092"])).await.expect_err("no brackets");
    assert_eq!(error.kind(), ErrorKind::Config);
}
