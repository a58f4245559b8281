//! What only real brokers can be made to do, each by its number of `semantics.rs`: transactions and topics on one broker of 4.4.0,
//! racks and moving leaders on three.

use std::collections::BTreeMap;
use std::time::Duration;

use forebay::kafka::record::Decompressor;
use forebay::kafka::{
    Client, ClientConfig, Consumer, ConsumerConfig, ErrorKind, Isolation, OffsetAt, Producer, ProducerConfig,
    ProducerRecord,
};
use forebay_proto_tests::kafka::{KafkaCluster, Version};

async fn connect(cluster: &KafkaCluster) -> Client {
    Client::connect(ClientConfig::new([cluster.servers()])).await.expect("the cluster is up")
}

async fn transactional(client: &Client, id: &str) -> Producer {
    let config = ProducerConfig { transactional_id: Some(id.to_owned()), ..ProducerConfig::default() };
    let producer = Producer::new(client, config).expect("a good configuration");
    producer.init_transactions().await.expect("a coordinator");
    producer
}

async fn write(producer: &Producer, topic: &str, value: &'static str) {
    // Whether it is written is told by the commit.
    drop(producer.send(ProducerRecord::new(topic).partition(0).value(value)).await.expect("there is room"));
    producer.flush().await;
}

async fn end(client: &Client, topic: &str, isolation: Isolation) -> i64 {
    let found = client.list_offsets(topic, &[(0, OffsetAt::Latest)], isolation).await.expect("an answer");
    found[&0].offset.expect("an end")
}

fn reader(client: &Client, topic: &str, isolation: Isolation) -> Consumer {
    let config = ConsumerConfig { isolation, wait_ms_max: 100, ..ConsumerConfig::default() };
    Consumer::of_topic(client, config, topic, &[(0, 0)])
}

/// Values of partition 0 until the position is `end`.
async fn read(consumer: &mut Consumer, end: i64) -> Vec<String> {
    let mut decompressor = Decompressor::default();
    let mut values = Vec::new();
    loop {
        let mut fetched = consumer.next().await.expect("an answer");
        while let Some(records) = fetched.next_records(&mut decompressor).expect("good batches") {
            let value = |value: Option<&[u8]>| String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
            values.extend(records.iter().map(|record| value(record.expect("a good record").value)));
        }
        if fetched.position() >= end {
            assert_eq!(fetched.position(), end);
            return values;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s03_read_committed_ends_at_the_last_stable_offset() {
    let cluster = KafkaCluster::shared(Version::V4_4_0);
    cluster.create_topic("s03", 1, 1);
    let client = connect(&cluster).await;
    let producer = transactional(&client, "s03").await;
    producer.begin_transaction().expect("none is open");
    write(&producer, "s03", "open").await;
    assert_eq!(end(&client, "s03", Isolation::ReadUncommitted).await, 1);
    assert_eq!(end(&client, "s03", Isolation::ReadCommitted).await, 0, "an open transaction pins the end");
    let mut committed = reader(&client, "s03", Isolation::ReadCommitted);
    let fetched = committed.next().await.expect("an answer");
    assert_eq!((fetched.position(), fetched.last_stable_offset, fetched.high_watermark), (0, 0, 1));
    drop(fetched);
    assert_eq!(read(&mut reader(&client, "s03", Isolation::ReadUncommitted), 1).await, ["open"]);
    producer.commit_transaction().await.expect("it is committed");
    assert_eq!(read(&mut committed, 2).await, ["open"]);
    assert_eq!(end(&client, "s03", Isolation::ReadCommitted).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn s04_aborted_records_and_markers_are_hidden_and_move_the_position() {
    let cluster = KafkaCluster::shared(Version::V4_4_0);
    cluster.create_topic("s04", 1, 1);
    let client = connect(&cluster).await;
    let producer = transactional(&client, "s04").await;
    // One producer, several transactions of both kinds; the last offset of the log is the marker of an abort.
    for value in ["yes-1", "no-1", "no-2", "yes-2", "no-3"] {
        producer.begin_transaction().expect("none is open");
        write(&producer, "s04", value).await;
        if value.starts_with("yes") {
            producer.commit_transaction().await.expect("it is committed");
        } else {
            producer.abort_transaction().await.expect("it is aborted");
        }
    }
    // A transaction is over when its coordinator says so; the marker in the log follows.
    let last = 10;
    let written = async {
        while end(&client, "s04", Isolation::ReadCommitted).await < last {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), written).await.expect("the last marker is written");
    assert_eq!(read(&mut reader(&client, "s04", Isolation::ReadCommitted), last).await, ["yes-1", "yes-2"]);
    let all = read(&mut reader(&client, "s04", Isolation::ReadUncommitted), last).await;
    assert_eq!(all, ["yes-1", "no-1", "no-2", "yes-2", "no-3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn s14_a_topic_made_anew_is_told_by_its_id() {
    let cluster = KafkaCluster::shared(Version::V4_4_0);
    cluster.create_topic("again", 1, 1);
    cluster.produce("again", "a\nb\n", &[]);
    let client = connect(&cluster).await;
    let mut consumer = reader(&client, "again", Isolation::ReadUncommitted);
    assert_eq!(read(&mut consumer, 2).await, ["a", "b"]);
    cluster.delete_topic("again");
    cluster.create_topic("again", 1, 1);
    cluster.produce("again", "c\nd\ne\n", &[]);
    let error = loop {
        match consumer.next().await {
            Ok(fetched) => assert_eq!(fetched.position(), 2, "nothing of the new topic is taken for the old one"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::TopicDeleted, "{error}");
    // The new one is read from wherever its reader says.
    assert_eq!(read(&mut reader(&client, "again", Isolation::ReadUncommitted), 3).await, ["c", "d", "e"]);
}

/// Reads until there are `count` records in all, each once; and from which brokers they came.
async fn count(consumer: &mut Consumer, seen: &mut BTreeMap<(i32, i64), Vec<u8>>, count: usize) -> Vec<i32> {
    let mut decompressor = Decompressor::default();
    let mut brokers = Vec::new();
    while seen.len() < count {
        let mut fetched = consumer.next().await.expect("an answer");
        while let Some(records) = fetched.next_records(&mut decompressor).expect("good batches") {
            brokers.push(fetched.broker());
            for record in &records {
                let record = record.expect("a good record");
                let again = seen.insert((fetched.partition, record.offset), record.value.unwrap_or_default().to_vec());
                assert!(again.is_none(), "offset {} of partition {} came twice", record.offset, fetched.partition);
            }
        }
    }
    brokers.sort_unstable();
    brokers.dedup();
    brokers
}

#[tokio::test(flavor = "multi_thread")]
async fn s14_leaders_move_and_s09_a_close_replica_is_read_from() {
    let selector = "org.apache.kafka.common.replica.RackAwareReplicaSelector";
    let settings = [("broker.rack", "r{id}"), ("replica.selector.class", selector)];
    let mut cluster = KafkaCluster::start(Version::V4_4_0, 3, &settings);
    cluster.create_topic("moves", 6, 3);
    // Keys, so that every partition gets some.
    let keyed = ["--property", "parse.key=true", "--property", "key.separator=|"];
    let lines = |from: u32| (from..from + 300).map(|n| format!("{n}|{n}\n")).collect::<String>();
    cluster.produce("moves", &lines(0), &keyed);
    let client = connect(&cluster).await;
    let start: Vec<(i32, i64)> = (0..6).map(|partition| (partition, 0)).collect();
    let at = |rack: &str| ConsumerConfig { rack: rack.to_owned(), wait_ms_max: 100, ..ConsumerConfig::default() };
    let mut near = Consumer::of_topic(&client, at("r3"), "moves", &start);
    let mut leaders = Consumer::of_topic(&client, at(""), "moves", &start);
    let (mut seen_near, mut seen_leaders) = (BTreeMap::new(), BTreeMap::new());
    assert_eq!(count(&mut near, &mut seen_near, 300).await, [3], "only the replica of our rack is read from");
    let led = count(&mut leaders, &mut seen_leaders, 300).await;
    assert!(led.len() > 1, "without a rack, leaders are read from: {led:?}");
    // The replica of our rack goes, and every partition that it led moves.
    cluster.stop_broker(2);
    cluster.produce("moves", &lines(300), &keyed);
    assert!(!count(&mut near, &mut seen_near, 600).await.contains(&3));
    count(&mut leaders, &mut seen_leaders, 600).await;
    assert_eq!(seen_near, seen_leaders);
    let values: std::collections::BTreeSet<&Vec<u8>> = seen_near.values().collect();
    assert_eq!(values.len(), 600, "every line once");
}
