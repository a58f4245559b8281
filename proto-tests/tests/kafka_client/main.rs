//! The Kafka client against peers that misbehave: what a user is told, how soon, and that no record is lost or repeated.

mod examples;
mod peer;
mod semantics;
mod semantics_real;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use forebay::kafka::record::{BatchBuilder, BatchOptions, Decompressor};
use forebay::kafka::{
    Client, ClientConfig, Consumer, ConsumerConfig, Error, ErrorKind, Isolation, OffsetAt, OffsetToCommit,
};

use forebay_proto_tests::cli::run_forebay;
use forebay_proto_tests::scratch::Scratch;

use peer::{
    Bytes, FETCH, FIND_COORDINATOR, LIST_OFFSETS, METADATA, OFFSET_COMMIT, Peer, Reply, fetch_offset, fetched,
    metadata, metadata_error, offset,
};

/// Patient for two seconds where a user's client is for a minute.
fn config(addresses: &[&str]) -> ClientConfig {
    let mut config = ClientConfig::new(addresses);
    config.retry_backoff = Duration::from_millis(10);
    config.retry_backoff_max = Duration::from_millis(100);
    config.retries_deadline = Duration::from_secs(2);
    config.bootstrap_deadline = Duration::from_secs(1);
    config.unknown_topic_deadline = Duration::from_secs(1);
    config.request_timeout = Duration::from_millis(700);
    config
}

async fn connect(peer: &Peer) -> Client {
    Client::connect(config(&[&peer.address()])).await.expect("the peer answers")
}

fn consumer(client: &Client, position: i64) -> Consumer {
    let config = ConsumerConfig { wait_ms_max: 50, ..ConsumerConfig::default() };
    Consumer::of_topic(client, config, "t", &[(0, position)])
}

/// Records `v<offset>` of these offsets.
fn batch(offsets: std::ops::Range<i64>) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for offset in offsets.clone() {
        builder.push(0, None, Some(format!("v{offset}").as_bytes()), &[]);
    }
    builder.finish(offsets.start).expect("a small batch")
}

/// Reads values until the position is `end`.
async fn read(consumer: &mut Consumer, end: i64) -> Result<Vec<String>, Error> {
    let mut decompressor = Decompressor::new(1 << 20);
    let mut values = Vec::new();
    loop {
        let mut fetched = consumer.next().await?;
        while let Some(records) = fetched.next_records(&mut decompressor)? {
            for record in &records {
                let record = record.expect("a good record");
                values.push(String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned());
            }
        }
        if fetched.position() >= end {
            return Ok(values);
        }
    }
}

/// The error of `outcome`, and that it came within `limit`.
#[track_caller]
fn error_within<T: std::fmt::Debug>(started: Instant, limit: Duration, outcome: Result<T, Error>) -> Error {
    let took = started.elapsed();
    assert!(took < limit, "{took:?} is more than {limit:?}: {outcome:?}");
    outcome.expect_err("an error")
}

#[track_caller]
fn assert_names(error: &Error, parts: &[&str]) {
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in: {text}");
    }
}

#[tokio::test]
async fn no_broker_reachable_names_every_address_and_why() {
    let closed = || {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.local_addr().expect("it is bound").to_string()
    };
    let (first, second) = (closed(), closed());
    let started = Instant::now();
    let outcome = Client::connect(config(&[&first, &second, "no-such-host.invalid:9092"])).await;
    let error = error_within(started, Duration::from_secs(8), outcome);
    assert_eq!(error.kind(), ErrorKind::Connect);
    assert_names(&error, &[&first, &second, "connection refused", "no-such-host.invalid:9092", "gave up after"]);
}

#[tokio::test]
async fn a_peer_that_closes_at_once_is_asked_about_tls() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound").to_string();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let outcome = Client::connect(config(&[&address])).await;
    let error = error_within(Instant::now(), Duration::from_secs(3), outcome);
    assert_eq!(error.kind(), ErrorKind::Connect);
    assert_names(&error, &[&address, "TLS"]);
}

#[tokio::test]
async fn a_broker_that_never_answers_is_a_timeout_that_names_the_request() {
    let peer = Peer::start(|_, _| Reply::Silence);
    let started = Instant::now();
    let outcome = Client::connect(config(&[&peer.address()])).await;
    let error = error_within(started, Duration::from_secs(4), outcome);
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_names(&error, &["Metadata", &peer.address(), "no answer to Metadata within 700 ms"]);
}

#[tokio::test]
async fn s20_a_frame_of_two_gigabytes_is_refused() {
    let peer = Peer::start(|_, _| Reply::Raw(vec![0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]));
    let error = Client::connect(config(&[&peer.address()])).await.expect_err("no frame is that large");
    assert_names(&error, &["announced a frame of 2147483647 bytes"]);
}

#[tokio::test]
async fn an_answer_that_is_not_one_is_an_error_and_not_a_panic() {
    let peer = Peer::start(|_, _| Reply::Answer(vec![0xff; 40]));
    let started = Instant::now();
    let outcome = Client::connect(config(&[&peer.address()])).await;
    let error = error_within(started, Duration::from_secs(3), outcome);
    assert_eq!(error.kind(), ErrorKind::Decode);
    assert_names(&error, &["Metadata", "cannot read the answer"]);
}

#[tokio::test]
async fn a_broker_that_always_closes_inside_a_frame_is_told_as_that() {
    let peer = Peer::start(|request, port| match request.api {
        METADATA => metadata(&[(1, "127.0.0.1", port)], &[1]),
        _ => Reply::Cut(fetched(0, 0, 3, &batch(0..3)), 60),
    });
    let client = connect(&peer).await;
    let started = Instant::now();
    let outcome = read(&mut consumer(&client, 0), 3).await;
    let error = error_within(started, Duration::from_secs(5), outcome);
    assert_eq!(error.kind(), ErrorKind::Connect);
    assert_names(
        &error,
        &[
            "Fetch of topic \"t\" partition 0 at broker 1",
            &peer.address(),
            "closed the connection inside a frame, after 60 of",
            "gave up after",
        ],
    );
}

#[tokio::test]
async fn a_fetch_cut_at_any_byte_is_read_again_and_no_record_is_lost_or_repeated() {
    let whole = fetched(0, 0, 6, &[batch(0..3), batch(3..6)].concat());
    let frame_bytes = whole.len() + 8;
    let cuts = Arc::new(AtomicUsize::new(0));
    let count = cuts.clone();
    // Each fetch from the start is cut one byte later than the one before, until one is whole.
    let peer = Peer::start(move |request, port| match request.api {
        METADATA => metadata(&[(1, "127.0.0.1", port)], &[1]),
        FETCH if fetch_offset(&request.body) == 0 => match count.fetch_add(1, Ordering::SeqCst) {
            cut if cut < frame_bytes => Reply::Cut(whole.clone(), cut),
            _ => Reply::Answer(whole.clone()),
        },
        _ => Reply::Answer(fetched(0, 0, 6, &[])),
    });
    let mut patient = config(&[&peer.address()]);
    patient.retries_deadline = Duration::from_secs(60);
    patient.retry_backoff = Duration::from_millis(1);
    patient.retry_backoff_max = Duration::from_millis(2);
    let client = Client::connect(patient).await.expect("the peer answers");
    let values = read(&mut consumer(&client, 0), 6).await.expect("the last answer is whole");
    assert_eq!(values, ["v0", "v1", "v2", "v3", "v4", "v5"]);
    assert_eq!(cuts.load(Ordering::SeqCst), frame_bytes + 1);
}

#[tokio::test]
async fn s21_an_advertised_listener_that_cannot_be_reached_is_named() {
    let peer = Peer::start(|_, _| metadata(&[(7, "127.0.0.1", 1)], &[7]));
    let client = connect(&peer).await;
    let started = Instant::now();
    let outcome = client.list_offsets("t", &[(0, OffsetAt::Earliest)], Isolation::ReadUncommitted).await;
    let error = error_within(started, Duration::from_secs(4), outcome);
    assert_eq!(error.kind(), ErrorKind::Connect);
    assert_names(
        &error,
        &[
            "ListOffsets of topic \"t\" partition 0 at broker 7 (127.0.0.1:1)",
            "connection refused",
            "the address that the broker advertises",
        ],
    );
    let outcome = read(&mut consumer(&client, 0), 1).await;
    assert_names(&outcome.expect_err("nobody listens there"), &["broker 7 (127.0.0.1:1)", "advertises"]);
}

/// `forebay check` names the broker, the address that it advertises, and what to do, before anything is run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s21_check_names_a_broker_that_cannot_be_reached() {
    let peer = Peer::start(|request, port| match request.api {
        METADATA => metadata(&[(7, "127.0.0.1", 1), (8, "127.0.0.1", port)], &[8]),
        LIST_OFFSETS => Reply::Answer(offset(0, 42)),
        _ => Reply::Close,
    });
    let job = format!(
        "[source]\nbrokers = [\"{}\"]\ntopic = \"t\"\nstart = \"earliest\"\nstop = \"latest\"\n[target]\nproject = \"p\"\n\
         endpoint = \"http://127.0.0.1:1/api\"\ntable = \"t\"\nsecret = {{ access_id = \"i\", access_key = \"k\" }}\n\
         [[columns]]\nto = \"v\"\nfrom = \"value\"\n",
        peer.address()
    );
    let checked = tokio::task::spawn_blocking(move || {
        let scratch = Scratch::new("check");
        scratch.write("job.toml", job);
        run_forebay(&scratch, &["check", "job.toml"])
    });
    let output = checked.await.expect("no panic");
    assert_ne!(output.code, 0, "{}", output.describe());
    let said = output.stderr_text();
    for wanted in
        ["error: kafka: broker 7 at 127.0.0.1:1 cannot be used: ", "connection refused", "advertised.listeners"]
    {
        assert!(said.contains(wanted), "no {wanted:?} in {}", output.describe());
    }
}

#[tokio::test]
async fn s21_brokers_that_share_an_address_are_two_brokers() {
    let peer = Peer::start(|request, port| match request.api {
        METADATA => metadata(&[(1, "127.0.0.1", port), (2, "127.0.0.1", port)], &[2]),
        LIST_OFFSETS => Reply::Answer(offset(0, 42)),
        _ => Reply::Close,
    });
    let client = connect(&peer).await;
    let found = client.list_offsets("t", &[(0, OffsetAt::Latest)], Isolation::ReadUncommitted).await;
    assert_eq!(found.expect("broker 2 is there")[&0].offset, Some(42));
    assert_eq!(client.cluster().await.expect("it answers").brokers.len(), 2);
}

#[tokio::test]
async fn s21_when_every_known_broker_is_gone_the_configured_addresses_are_asked_again() {
    let moved = Arc::new(Mutex::new(None::<u16>));
    let place = moved.clone();
    // The address that is configured only knows where the broker is.
    let directory = Peer::start(move |_, port| {
        let at = place.lock().expect("no panic").unwrap_or(port);
        metadata(&[(1, "127.0.0.1", at)], &[1])
    });
    let serve = |request: &peer::Request, port: u16| match request.api {
        METADATA => metadata(&[(1, "127.0.0.1", port)], &[1]),
        FETCH if fetch_offset(&request.body) == 0 => Reply::Answer(fetched(0, 0, 1, &batch(0..1))),
        FETCH if fetch_offset(&request.body) == 1 => Reply::Answer(fetched(0, 0, 2, &batch(1..2))),
        _ => Reply::Answer(offset(0, 5)),
    };
    let port_of = |peer: &Peer| peer.address().rsplit(':').next().and_then(|port| port.parse().ok());
    let first = Peer::start(serve);
    *moved.lock().expect("no panic") = port_of(&first);
    let client = connect(&directory).await;
    let mut consumer = consumer(&client, 0);
    assert_eq!(read(&mut consumer, 1).await.expect("the first broker"), ["v0"]);
    // The broker comes back under another address; nothing that the client has learnt is true any more.
    let second = Peer::start(serve);
    *moved.lock().expect("no panic") = port_of(&second);
    drop(first);
    let rest = read(&mut consumer, 2).await.expect("the second broker");
    assert!(rest == ["v1"] || rest.is_empty(), "{rest:?}");
    let found = client.list_offsets("t", &[(0, OffsetAt::Latest)], Isolation::ReadUncommitted).await;
    assert_eq!(found.expect("the second broker")[&0].offset, Some(5));
}

#[tokio::test]
async fn an_unknown_topic_is_told_after_its_deadline_and_a_new_one_waited_for() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let peer = Peer::start(move |request, port| match (request.api, request.body.len()) {
        // Without a topic: what `connect` asks.
        (METADATA, 5) => metadata(&[(1, "127.0.0.1", port)], &[1]),
        (METADATA, _) if count.fetch_add(1, Ordering::SeqCst) < 3 => metadata_error(port, 3),
        (METADATA, _) => metadata(&[(1, "127.0.0.1", port)], &[1]),
        _ => Reply::Close,
    });
    let client = connect(&peer).await;
    assert_eq!(client.topic("t").await.expect("it comes").partitions.len(), 1);
    assert_eq!(asked.load(Ordering::SeqCst), 4);

    let peer = Peer::start(|_, port| metadata_error(port, 3));
    let client = connect(&peer).await;
    let started = Instant::now();
    let error = error_within(started, Duration::from_secs(3), client.topic("t").await);
    assert_eq!(error.kind(), ErrorKind::UnknownTopic);
    assert_names(&error, &["topic \"t\"", "the cluster has no such topic"]);
    let started = Instant::now();
    let error = error_within(started, Duration::from_secs(4), read(&mut consumer(&client, 0), 1).await);
    assert_eq!(error.kind(), ErrorKind::UnknownTopic);
}

#[tokio::test]
async fn a_topic_deleted_while_it_is_read_ends_in_time() {
    let gone = Arc::new(AtomicUsize::new(0));
    let fetches = gone.clone();
    let peer = Peer::start(move |request, port| match request.api {
        METADATA if fetches.load(Ordering::SeqCst) > 2 => metadata_error(port, 3),
        METADATA => metadata(&[(1, "127.0.0.1", port)], &[1]),
        _ if fetches.fetch_add(1, Ordering::SeqCst) < 2 => Reply::Answer(fetched(0, 0, 9, &[])),
        _ => Reply::Answer(fetched(0, 3, -1, &[])),
    });
    let client = connect(&peer).await;
    let started = Instant::now();
    let error = error_within(started, Duration::from_secs(4), read(&mut consumer(&client, 0), 1).await);
    assert_eq!(error.kind(), ErrorKind::TopicDeleted);
    assert_names(&error, &["topic \"t\" partition 0", "deleted while it was read"]);
}

#[tokio::test]
async fn s09_an_offset_out_of_range_names_the_range_that_is_lost() {
    let peer = Peer::start(|request, port| match request.api {
        METADATA => metadata(&[(1, "127.0.0.1", port)], &[1]),
        FETCH => Reply::Answer(fetched(0, 1, -1, &[])),
        // -2 asks for the start.
        _ => Reply::Answer(offset(0, if request.body.ends_with(&(-2_i64).to_be_bytes()) { 10 } else { 20 })),
    });
    let client = connect(&peer).await;
    let error = read(&mut consumer(&client, 4), 5).await.expect_err("4 is gone");
    assert_eq!(error.kind(), ErrorKind::OffsetOutOfRange { position: 4, log_start: 10, end: 20 });
    assert_names(&error, &["topic \"t\" partition 0", "offsets 4 to 9 have been deleted"]);
    let error = read(&mut consumer(&client, 33), 34).await.expect_err("33 is not there yet");
    assert_names(&error, &["offset 33 is out of range", "holds 10 to 20"]);
}

#[tokio::test]
async fn s06_damage_in_a_batch_names_its_offset() {
    let mut records = [batch(0..2), batch(2..4)].concat();
    let last = records.len() - 1;
    records[last] ^= 1;
    let peer = Peer::start(move |request, port| match request.api {
        METADATA => metadata(&[(1, "127.0.0.1", port)], &[1]),
        _ => Reply::Answer(fetched(0, 0, 4, &records)),
    });
    let client = connect(&peer).await;
    let mut decompressor = Decompressor::new(1 << 20);
    let mut fetched = consumer(&client, 0).next().await.expect("an answer");
    assert_eq!(fetched.next_records(&mut decompressor).expect("a good batch").expect("records").record_count(), 2);
    for _ in 0..2 {
        let error = fetched.next_records(&mut decompressor).expect_err("a damaged batch");
        assert_eq!(error.kind(), ErrorKind::Decode);
        assert_names(&error, &["topic \"t\" partition 0", "batch at offset 2", "checksum mismatch"]);
        assert_eq!(fetched.position(), 2, "the position stays before what cannot be read");
    }
}

#[tokio::test]
async fn s07_lookups_are_asked_again_while_a_new_leader_does_not_know_its_end() {
    let asked = AtomicUsize::new(0);
    let peer = Peer::start(move |request, port| match request.api {
        METADATA => metadata(&[(1, "127.0.0.1", port)], &[1]),
        // OFFSET_NOT_AVAILABLE, NOT_LEADER_OR_FOLLOWER, LEADER_NOT_AVAILABLE
        _ => Reply::Answer(match asked.fetch_add(1, Ordering::SeqCst) {
            0 => offset(78, -1),
            1 => offset(6, -1),
            2 => offset(5, -1),
            _ => offset(0, 11),
        }),
    });
    let client = connect(&peer).await;
    let found = client.list_offsets("t", &[(0, OffsetAt::Latest)], Isolation::ReadUncommitted).await;
    assert_eq!(found.expect("the fourth answer")[&0].offset, Some(11));
}

#[tokio::test]
async fn a_time_after_the_last_record_is_no_offset_and_no_error() {
    let peer = Peer::start(|request, port| match request.api {
        METADATA => metadata(&[(1, "127.0.0.1", port)], &[1]),
        _ => Reply::Answer(offset(0, -1)),
    });
    let client = connect(&peer).await;
    let found = client.list_offsets("t", &[(0, OffsetAt::Time(5))], Isolation::ReadUncommitted).await;
    assert_eq!(found.expect("an answer")[&0].offset, None);
    let error = client.list_offsets("t", &[(3, OffsetAt::Latest)], Isolation::ReadUncommitted).await;
    let error = error.expect_err("there is one partition");
    assert_eq!((error.kind(), error.partition_index()), (ErrorKind::UnknownPartition, Some(3)));
}

/// A peer that answers commits of partition 0 with these codes, one after the other, the last for ever.
fn committing(codes: &'static [i16]) -> Peer {
    let asked = AtomicUsize::new(0);
    Peer::start(move |request, port| match request.api {
        METADATA => metadata(&[(1, "127.0.0.1", port)], &[1]),
        FIND_COORDINATOR => {
            Reply::Answer(Bytes::new().int(0).short(0).short(-1).int(1).text("127.0.0.1").int(i32::from(port)).0)
        }
        OFFSET_COMMIT => {
            let at = asked.fetch_add(1, Ordering::SeqCst).min(codes.len() - 1);
            Reply::Answer(Bytes::new().int(0).int(1).text("t").int(1).int(0).short(codes[at]).0)
        }
        _ => Reply::Close,
    })
}

fn to_commit() -> Vec<OffsetToCommit> {
    vec![OffsetToCommit { topic: "t".into(), partition: 0, offset: 7, leader_epoch: None, metadata: String::new() }]
}

#[tokio::test]
async fn s15_commits_follow_a_coordinator_that_moves_or_loads() {
    // COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR
    let peer = committing(&[14, 15, 16, 0]);
    connect(&peer).await.commit_offsets("g", &to_commit()).await.expect("the fourth answer");
}

#[tokio::test]
async fn a_commit_that_is_refused_says_which_partition_and_why() {
    let peer = committing(&[25]); // UNKNOWN_MEMBER_ID: the group has members
    let started = Instant::now();
    let outcome = connect(&peer).await.commit_offsets("g", &to_commit()).await;
    let error = error_within(started, Duration::from_secs(1), outcome);
    assert_names(&error, &["OffsetCommit", "topic \"t\" partition 0", "UNKNOWN_MEMBER_ID (25)"]);
    let refused = error.partition_errors();
    assert_eq!((refused.len(), refused[0].partition, refused[0].code.0), (1, 0, 25));

    let peer = committing(&[30]); // GROUP_AUTHORIZATION_FAILED
    let error = connect(&peer).await.commit_offsets("g", &to_commit()).await.expect_err("refused");
    assert!(error.is_auth(), "{error}");

    let peer = committing(&[14]);
    let started = Instant::now();
    let outcome = connect(&peer).await.commit_offsets("g", &to_commit()).await;
    let error = error_within(started, Duration::from_secs(4), outcome);
    assert_names(&error, &["COORDINATOR_LOAD_IN_PROGRESS (14)", "gave up after"]);
    assert!(error.is_retriable());
}

#[tokio::test]
async fn a_consumer_survives_that_its_next_is_dropped() {
    let peer = Peer::start(|request, port| match request.api {
        METADATA => metadata(&[(1, "127.0.0.1", port)], &[1]),
        _ => {
            std::thread::sleep(Duration::from_millis(20));
            let at = fetch_offset(&request.body);
            Reply::Answer(fetched(0, 0, 50, &if at < 50 { batch(at..at + 1) } else { vec![] }))
        }
    });
    let client = connect(&peer).await;
    let mut consumer = consumer(&client, 0);
    let mut decompressor = Decompressor::new(1 << 20);
    let mut values = Vec::new();
    while values.len() < 50 {
        // Most of these are dropped while an answer is on its way.
        let Ok(fetched) = tokio::time::timeout(Duration::from_millis(3), consumer.next()).await else { continue };
        let mut fetched = fetched.expect("an answer");
        while let Some(records) = fetched.next_records(&mut decompressor).expect("a good batch") {
            values.extend(records.iter().map(|record| record.expect("a good record").offset));
        }
    }
    assert_eq!(values, (0..50).collect::<Vec<_>>());
}
