//! Leaders that move and a broker that is killed while records are written: each record once, and in order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use forebay::kafka::record::Codec;
use forebay::kafka::{Client, ClientConfig, Producer, ProducerConfig, ProducerRecord};
use forebay_proto_tests::kafka::{KafkaCluster, Version};

use super::judge::read_short;

const TOPIC: &str = "moved";
const PARTITIONS: u16 = 6;
const KEYS: usize = 200;

/// What the environment asks for: records, and how often leaders move before the broker is killed. A plain run takes few;
/// `./proto-tests/run producer` takes 500,000 and three.
fn size() -> (usize, usize) {
    let number = |name: &str, default: usize| {
        std::env::var(name).map_or(default, |text| text.parse().expect("a number in the environment"))
    };
    (number("FOREBAY_PRODUCER_RECORDS", 20_000), number("FOREBAY_PRODUCER_MOVES", 1))
}

/// Writes `count` records, each key numbering its own, and holds at certain counts until the cluster has gone on.
async fn write(
    producer: Producer,
    count: usize,
    gate: Arc<AtomicUsize>,
    sent: Arc<AtomicUsize>,
) -> Vec<(String, i32, i64)> {
    let mut deliveries = Vec::with_capacity(count);
    for number in 0..count {
        // The cluster decides how far the writer may go, so that something is always on its way when a broker leaves.
        while number >= gate.load(Ordering::Acquire) {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        let key = format!("key-{}", number % KEYS);
        let value = format!("{}", number / KEYS);
        let record = ProducerRecord::new(TOPIC).key(key.clone()).value(value);
        let delivery = producer.send(record).await.expect("the record is taken");
        deliveries.push((key, delivery));
        sent.store(number + 1, Ordering::Release);
    }
    producer.flush().await;
    let mut written = Vec::with_capacity(count);
    for (key, delivery) in deliveries {
        let metadata = delivery.await.expect("the record is written");
        written.push((key, metadata.partition, metadata.offset.unwrap_or(-1)));
    }
    written
}

async fn each_once_and_in_order(version: Version) {
    let (count, moves) = size();
    let mut cluster = KafkaCluster::start(version, 3, &[]);
    cluster.create_topic_with(TOPIC, PARTITIONS, 3, &["--config", "min.insync.replicas=2"]);
    let client = Client::connect(ClientConfig::new([cluster.servers()])).await.expect("the cluster answers");
    let config = ProducerConfig {
        codec: Codec::Lz4,
        delivery_timeout: std::time::Duration::from_secs(600),
        max_block: std::time::Duration::from_secs(600),
        // Small batches: many of them are on their way at any time.
        batch_bytes: 2048,
        ..ProducerConfig::default()
    };
    let producer = Producer::new(&client, config).expect("a good configuration");
    let (gate, sent) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let writer = tokio::spawn(write(producer, count, gate.clone(), sent.clone()));

    let share = count / (moves + 2);
    let wait_until = async |wanted: usize| {
        while sent.load(Ordering::Acquire) < wanted {
            assert!(!writer.is_finished(), "the writer has failed");
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    };
    // Each time the writer is in the middle of its share when a broker goes, and still writes while it is away.
    for round in 0..=moves {
        let (begin, end) = (share * round, share * (round + 1));
        gate.store(end, Ordering::Release);
        wait_until(begin + share / 4).await;
        let index = 1 + round % 2;
        cluster = tokio::task::spawn_blocking(move || {
            if round == moves {
                cluster.kill_broker(index);
            } else {
                cluster.stop_broker(index);
                cluster.start_broker(index, 3);
                cluster.wait_for_replicas();
            }
            cluster
        })
        .await
        .expect("the brokers obey");
    }
    gate.store(usize::MAX, Ordering::Release);
    let written = writer.await.expect("every record is written");
    assert_eq!(written.len(), count);

    let mut seen: BTreeMap<String, (u32, Vec<usize>)> = BTreeMap::new();
    let mut total = 0;
    for (partition, key, value) in read_short(&cluster, TOPIC) {
        let (place, values) = seen.entry(key).or_insert_with(|| (partition, Vec::new()));
        assert_eq!(*place, partition, "a key keeps to its partition");
        values.push(value.parse().expect("a number"));
        total += 1;
    }
    assert_eq!((total, seen.len()), (count, KEYS.min(count)), "{version:?}: each record once");
    for (key, (_, values)) in &seen {
        assert!(values.iter().copied().eq(0..values.len()), "{version:?} {key}: {values:?}");
    }
    // The offsets that were told rise within a partition, without a hole.
    let mut offsets: BTreeMap<i32, i64> = BTreeMap::new();
    for (key, partition, offset) in written {
        let next = offsets.entry(partition).or_insert(0);
        assert!(offset == *next || offset == -1, "{version:?} {key}: {offset} where {next} was due");
        *next += 1;
    }
    say(&format!("{version}: {count} records, {moves} moves of leaders and the kill of a broker: each once, in order"));
}

#[expect(clippy::print_stdout, reason = "the figures of `./proto-tests/run producer`")]
fn say(line: &str) {
    println!("{line}");
}

/// Under the versions of `FOREBAY_PRODUCER_BROKERS`, or 4.4.0.
#[tokio::test(flavor = "multi_thread")]
async fn leaders_move_and_a_broker_is_killed() {
    let wanted = std::env::var("FOREBAY_PRODUCER_BROKERS").unwrap_or_else(|_| "4.4.0".to_owned());
    for name in wanted.split_whitespace() {
        each_once_and_in_order(Version::named(name).expect("a version of the harness")).await;
    }
}
