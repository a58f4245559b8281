//! The producer against real brokers: what it wrote, Kafka's own consumer of the same version reads.

mod judge;
mod moves;
mod transactions;

use forebay::kafka::record::Codec;
use forebay::kafka::{
    Acks, Client, ClientConfig, ErrorKind, Partitioner, Producer, ProducerConfig, ProducerRecord, partition_for_key,
};
use forebay_proto_tests::kafka::{KafkaCluster, Version};
use forebay_proto_tests::process::{command, run};
use forebay_proto_tests::{java, scratch};

use judge::{LIMIT, Seen, hex, read};

async fn connect(cluster: &KafkaCluster) -> Client {
    Client::connect(ClientConfig::new([cluster.servers()])).await.expect("the cluster answers")
}

fn producer(client: &Client, change: impl FnOnce(&mut ProducerConfig)) -> Producer {
    let mut config = ProducerConfig::default();
    change(&mut config);
    Producer::new(client, config).expect("a good configuration")
}

/// What a record can hold: null, empty and large keys and values, headers that repeat, with null and empty values, and
/// timestamps of every kind.
fn records(topic: &str) -> Vec<ProducerRecord> {
    let new = || ProducerRecord::new(topic).partition(1);
    vec![
        new(),
        new().key("").value("").timestamp(0),
        new().key("k").timestamp(1_700_000_000_123),
        new().value("v").timestamp(1),
        new().key("h").value("v").header("a", "1").header("a", "2").null_header("n").header("", "").timestamp(5),
        new().key(vec![0xff, 0, 0x80]).value(vec![0x55; 70_000]).timestamp(6),
        new().key("\u{e4}\u{4e2d}").value("x".repeat(300)).header("\u{e4}", "\u{4e2d}").timestamp(7),
    ]
}

async fn every_codec(version: Version) {
    let cluster = KafkaCluster::shared(version);
    let client = connect(&cluster).await;
    let codecs = Codec::ALL.into_iter().filter(|codec| *codec != Codec::Zstd || version.has_zstd());
    for codec in codecs {
        let topic = format!("codec-{codec}");
        cluster.create_topic(&topic, 3, 1);
        let producer = producer(&client, |config| config.codec = codec);
        let mut deliveries = Vec::new();
        let sent = records(&topic);
        for record in sent.clone() {
            deliveries.push(producer.send(record).await.expect("there is room"));
        }
        producer.flush().await;
        let mut expected = Vec::new();
        for (offset, (record, delivery)) in (0..).zip(sent.into_iter().zip(deliveries)) {
            let written = delivery.await.expect("it is written");
            assert_eq!((written.partition, written.offset), (1, Some(offset)), "{version:?} {codec}");
            if let Some(timestamp) = record.timestamp {
                assert_eq!(written.timestamp, timestamp);
            }
            expected.push(Seen {
                partition: 1,
                offset,
                timestamp: written.timestamp,
                key: record.key.map(|bytes| bytes.to_vec()),
                value: record.value.map(|bytes| bytes.to_vec()),
                headers: (record.headers.into_iter())
                    .map(|header| (header.key.into_bytes(), header.value.map(|bytes| bytes.to_vec())))
                    .collect(),
            });
        }
        assert_eq!(read(&cluster, &topic, "read_uncommitted"), expected, "{version:?} {codec}");
        producer.close().await.expect("nothing is left");
    }
}

/// Where the broker is too old for zstd, it is said before anything is sent.
async fn zstd_is_refused_by_name(version: Version) {
    let cluster = KafkaCluster::shared(version);
    let client = connect(&cluster).await;
    cluster.create_topic("no-zstd", 1, 1);
    let producer = producer(&client, |config| config.codec = Codec::Zstd);
    let error = producer.send_and_wait(ProducerRecord::new("no-zstd").value("v")).await.expect_err("no zstd");
    assert!(error.to_string().contains("zstd needs Kafka 2.1"), "{error}");
    assert_eq!(read(&cluster, "no-zstd", "read_uncommitted"), []);
}

async fn every_acks(version: Version) {
    let cluster = KafkaCluster::shared(version);
    let client = connect(&cluster).await;
    for (acks, name) in [(Acks::None, "acks-0"), (Acks::Leader, "acks-1"), (Acks::All, "acks-all")] {
        cluster.create_topic(name, 1, 1);
        // A broker that has not heard yet that it leads a new partition loses what nobody asks it to confirm.
        let first = producer(&client, |_| {}).send_and_wait(ProducerRecord::new(name).value("0")).await;
        assert_eq!(first.expect("it is written").offset, Some(0));
        let producer = producer(&client, |config| {
            config.acks = acks;
            config.idempotence = Some(false);
            config.batch_bytes = 200;
        });
        let mut deliveries = Vec::new();
        for number in 1..500 {
            let record = ProducerRecord::new(name).value(number.to_string());
            deliveries.push(producer.send(record).await.expect("there is room"));
        }
        producer.flush().await;
        for (offset, delivery) in (1..).zip(deliveries) {
            let written = delivery.await.expect("it is written");
            assert_eq!(written.offset, (acks != Acks::None).then_some(offset));
        }
        // Nobody says when the last one without an answer has arrived.
        let started = std::time::Instant::now();
        while acks == Acks::None && cluster.offsets(name, -1) != [(0, 500)] {
            assert!(started.elapsed() < LIMIT, "{:?}", cluster.offsets(name, -1));
        }
        let values: Vec<_> = read(&cluster, name, "read_uncommitted").into_iter().map(|seen| seen.value).collect();
        let expected: Vec<_> = (0..500).map(|number| Some(number.to_string().into_bytes())).collect();
        assert_eq!(values, expected);
    }
}

/// A batch that the broker finds too large is parted until it fits; a record that does not fit alone is refused, and the
/// others are written.
async fn large_batches_are_parted(version: Version) {
    let cluster = KafkaCluster::shared(version);
    let client = connect(&cluster).await;
    cluster.create_topic_with("small", 1, 1, &["--config", "max.message.bytes=2000"]);
    let producer = producer(&client, |config| config.linger = std::time::Duration::from_millis(200));
    let mut deliveries = Vec::new();
    for number in 0..40 {
        let size = if number == 20 { 5000 } else { 300 };
        let record = ProducerRecord::new("small").value(format!("{number:0size$}"));
        deliveries.push(producer.send(record).await.expect("there is room"));
    }
    let mut written = Vec::new();
    for (number, delivery) in (0..).zip(deliveries) {
        match delivery.await {
            Ok(metadata) => written.push((number, metadata.offset)),
            Err(error) => {
                assert_eq!(number, 20, "{error}");
                assert!(error.to_string().contains("MESSAGE_TOO_LARGE"), "{error}");
            }
        }
    }
    let expected: Vec<(i64, Option<i64>)> =
        (0..40).filter(|n| *n != 20).zip(0..).map(|(n, at)| (n, Some(at))).collect();
    assert_eq!(written, expected);
    let seen: Vec<i64> = (read(&cluster, "small", "read_uncommitted").iter())
        .map(|seen| String::from_utf8_lossy(seen.value.as_deref().unwrap_or_default()).parse().expect("a number"))
        .collect();
    assert_eq!(seen, (0..40).filter(|number| *number != 20).collect::<Vec<i64>>());
}

/// A topic of append-time: the broker's time is told.
async fn append_time_is_told(version: Version) {
    let cluster = KafkaCluster::shared(version);
    let client = connect(&cluster).await;
    cluster.create_topic_with("append-time", 1, 1, &["--config", "message.timestamp.type=LogAppendTime"]);
    let producer = producer(&client, |_| {});
    let written = producer.send_and_wait(ProducerRecord::new("append-time").value("v").timestamp(77)).await;
    let written = written.expect("it is written");
    let seen = read(&cluster, "append-time", "read_uncommitted");
    assert_eq!(seen.first().map(|seen| seen.timestamp), Some(written.timestamp));
    assert!(written.timestamp > 1_700_000_000_000);
}

async fn mistakes_are_told(version: Version) {
    let cluster = KafkaCluster::shared(version);
    let mut config = ClientConfig::new([cluster.servers()]);
    config.unknown_topic_deadline = std::time::Duration::from_millis(500);
    let client = Client::connect(config).await.expect("the cluster answers");
    cluster.create_topic("mistakes", 2, 1);
    let producer = producer(&client, |config| config.request_bytes_max = 1000);
    let kind = async |record| producer.send(record).await.expect_err("a mistake").kind();
    assert_eq!(kind(ProducerRecord::new("no-such-topic")).await, ErrorKind::UnknownTopic);
    assert_eq!(kind(ProducerRecord::new("mistakes").partition(2)).await, ErrorKind::UnknownPartition);
    assert_eq!(kind(ProducerRecord::new("mistakes").value(vec![0; 1000])).await, ErrorKind::Config);
    producer.close().await.expect("nothing is left");
    assert_eq!(kind(ProducerRecord::new("mistakes")).await, ErrorKind::Closed);
}

/// All of it under one version, on one cluster.
async fn all(version: Version) {
    let _cluster = KafkaCluster::shared(version);
    every_codec(version).await;
    every_acks(version).await;
    large_batches_are_parted(version).await;
    append_time_is_told(version).await;
    mistakes_are_told(version).await;
    transactions::all(version).await;
    if !version.has_zstd() {
        zstd_is_refused_by_name(version).await;
    }
}

// Each version blocks a thread while a JVM reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn what_is_written_is_what_java_reads() {
    let versions: Vec<_> = Version::wanted().into_iter().map(|version| (version, tokio::spawn(all(version)))).collect();
    for (version, run) in versions {
        run.await.unwrap_or_else(|error| panic!("{version}: {error}"));
    }
}

#[test]
fn keys_go_where_java_s_partitioner_puts_them() {
    // Keys of every length from 0 to 99, of bytes that a multiplicative generator gives.
    let mut state = 1_u64;
    let mut byte = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    let keys: Vec<Vec<u8>> = (0..10_000).map(|number| (0..number % 100).map(|_| byte()).collect()).collect();
    let counts = [1_u32, 2, 3, 10, 17, 1000];
    let mut input = String::new();
    let mut expected = String::new();
    for key in &keys {
        let digits = hex(key);
        input += &format!("{digits}\n");
        expected += &digits;
        for count in counts {
            expected += &format!(" {}", partition_for_key(key, count).expect("there are partitions"));
        }
        expected.push('\n');
    }
    for jars in [java::KAFKA_1_0_1, java::KAFKA_4_4_0] {
        let mut program = java::program(jars, "PartitionOfKey");
        program.args(counts.map(|count| count.to_string()));
        let told = run(program, input.as_bytes(), LIMIT).expect_success().stdout_text();
        assert_eq!(told.lines().count(), 10_000);
        assert!(told == expected, "{jars}: {:?}", told.lines().zip(expected.lines()).find(|(java, ours)| java != ours));
    }
}

/// librdkafka's hashes, judged by confluent-kafka: the partitions that its deliveries tell.
#[tokio::test(flavor = "multi_thread")]
async fn keys_go_where_librdkafka_puts_them() {
    let cluster = KafkaCluster::shared(Version::V4_4_0);
    let client = connect(&cluster).await;
    for name in ["consistent", "murmur2", "fnv1a"] {
        let topic = format!("by-{name}");
        cluster.create_topic(&topic, 17, 1);
        let script = scratch::package_folder().join("python/produce_keys.py");
        let mut program = command(scratch::cached("venv").join("bin/python"));
        program.arg(script).args([&cluster.servers(), &topic, name, "500"]);
        let told = run(program, b"", LIMIT).expect_success().stdout_text();
        let partitioner = Partitioner::parse(name).expect("it is known");
        let producer = producer(&client, |config| config.partitioner = partitioner);
        let mut ours = String::new();
        for number in 0..500 {
            let record = ProducerRecord::new(topic.as_str()).key(format!("key-{number}"));
            let written = producer.send(record).await.expect("there is room");
            ours += &format!("{}\n", written.await.expect("it is written").partition);
        }
        assert_eq!(told, ours, "{name}");
    }
}
