//! Transactions, at both isolation levels of Kafka's own consumer.

use forebay::kafka::{
    Client, ConsumerGroupMetadata, ErrorKind, OffsetToCommit, Producer, ProducerConfig, ProducerRecord,
};
use forebay_proto_tests::kafka::{KafkaCluster, Version};

use super::connect;
use super::judge::read;

fn producer(client: &Client, id: &str) -> Producer {
    let config = ProducerConfig { transactional_id: Some(id.to_owned()), ..ProducerConfig::default() };
    Producer::new(client, config).expect("a good configuration")
}

fn record(topic: &str, value: &str) -> ProducerRecord {
    ProducerRecord::new(topic).key(value.to_owned()).value(value.to_owned())
}

fn values(cluster: &KafkaCluster, topic: &str, isolation: &str) -> Vec<String> {
    let seen = read(cluster, topic, isolation);
    let mut values: Vec<String> = (seen.iter())
        .map(|seen| String::from_utf8_lossy(seen.value.as_deref().unwrap_or_default()).into_owned())
        .collect();
    values.sort();
    values
}

pub(crate) async fn all(version: Version) {
    let cluster = KafkaCluster::shared(version);
    let client = connect(&cluster).await;
    committed_and_aborted(&cluster, &client).await;
    offsets_count_when_committed(&cluster, &client).await;
    an_older_producer_is_fenced(&cluster, &client).await;
    a_failed_transaction_is_aborted(&cluster, &client).await;
}

async fn committed_and_aborted(cluster: &KafkaCluster, client: &Client) {
    cluster.create_topic("tx", 3, 1);
    let producer = producer(client, "tx-1");
    let early = producer.begin_transaction().expect_err("before init_transactions");
    assert_eq!(early.kind(), ErrorKind::Config);
    producer.init_transactions().await.expect("a coordinator");
    let outside = producer.send(record("tx", "outside")).await.expect_err("outside of a transaction");
    assert_eq!(outside.kind(), ErrorKind::Config);
    for round in 0..6 {
        producer.begin_transaction().expect("none is open");
        let commits = round % 2 == 0;
        for number in 0..20 {
            let word = if commits { "yes" } else { "no" };
            // Whether it is written is told by the commit.
            drop(producer.send(record("tx", &format!("{word}-{round}-{number:02}"))).await.expect("there is room"));
        }
        if commits {
            producer.commit_transaction().await.expect("it is committed");
        } else {
            producer.flush().await;
            producer.abort_transaction().await.expect("it is aborted");
        }
    }
    // An empty one needs nobody.
    producer.begin_transaction().expect("none is open");
    producer.commit_transaction().await.expect("nothing to commit");
    let committed = values(cluster, "tx", "read_committed");
    let expected: Vec<String> =
        [0, 2, 4].iter().flat_map(|round| (0..20).map(move |number| format!("yes-{round}-{number:02}"))).collect();
    assert_eq!(committed, expected);
    let all = values(cluster, "tx", "read_uncommitted");
    assert_eq!((all.len(), all.iter().filter(|value| value.starts_with("no")).count()), (120, 60));
}

async fn offsets_count_when_committed(cluster: &KafkaCluster, client: &Client) {
    cluster.create_topic("tx-source", 1, 1);
    let producer = producer(client, "tx-2");
    producer.init_transactions().await.expect("a coordinator");
    let offset = |offset| OffsetToCommit {
        topic: "tx-source".into(),
        partition: 0,
        offset,
        leader_epoch: None,
        metadata: String::new(),
    };
    let group = ConsumerGroupMetadata::without_member("tx-group");
    for (at, commits) in [(5, true), (9, false)] {
        producer.begin_transaction().expect("none is open");
        producer.send_offsets(&[offset(at)], &group).await.expect("they are taken");
        if commits {
            producer.commit_transaction().await.expect("it is committed");
        } else {
            producer.abort_transaction().await.expect("it is aborted");
        }
    }
    // The marker reaches the group's coordinator a little after the answer.
    let started = std::time::Instant::now();
    loop {
        let committed: Vec<_> = cluster.group("tx-group").into_iter().map(|row| row.committed).collect();
        if committed == [Some(5)] {
            break;
        }
        assert!(started.elapsed() < super::LIMIT, "{committed:?}");
    }
}

async fn an_older_producer_is_fenced(cluster: &KafkaCluster, client: &Client) {
    cluster.create_topic("tx-fence", 1, 1);
    let old = producer(client, "tx-3");
    old.init_transactions().await.expect("a coordinator");
    old.begin_transaction().expect("none is open");
    old.send_and_wait(record("tx-fence", "old")).await.expect("it is written");
    let new = producer(client, "tx-3");
    new.init_transactions().await.expect("the old one's transaction is aborted");
    let error = old.commit_transaction().await.expect_err("it is fenced");
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
    for error in [
        old.send(record("tx-fence", "again")).await.err(),
        old.abort_transaction().await.err(),
        old.begin_transaction().err(),
    ] {
        assert_eq!(error.map(|error| error.kind()), Some(ErrorKind::Fenced));
    }
    // One that learns it from the partition's leader.
    let late = producer(client, "tx-3");
    late.init_transactions().await.expect("a coordinator");
    new.begin_transaction().expect_or_fenced();
    if let Ok(delivery) = new.send(record("tx-fence", "zombie")).await {
        let error = delivery.await.expect_err("it is fenced");
        assert!(matches!(error.kind(), ErrorKind::Fenced | ErrorKind::AbortTransaction), "{error:?}");
    }
    late.begin_transaction().expect("none is open");
    late.send_and_wait(record("tx-fence", "late")).await.expect("it is written");
    late.commit_transaction().await.expect("it is committed");
    assert_eq!(values(cluster, "tx-fence", "read_committed"), ["late"]);
}

/// A record that the broker refuses makes the whole transaction one to abort; the next one is a good one.
async fn a_failed_transaction_is_aborted(cluster: &KafkaCluster, client: &Client) {
    cluster.create_topic_with("tx-fail", 1, 1, &["--config", "max.message.bytes=1000"]);
    let producer = producer(client, "tx-4");
    producer.init_transactions().await.expect("a coordinator");
    producer.begin_transaction().expect("none is open");
    producer.send_and_wait(record("tx-fail", "first")).await.expect("it is written");
    producer.send_and_wait(record("tx-fail", &"x".repeat(5000))).await.expect_err("it is too large");
    let error = producer.commit_transaction().await.expect_err("a record is missing");
    assert_eq!(error.kind(), ErrorKind::AbortTransaction, "{error}");
    let error = producer.send(record("tx-fail", "more")).await.expect_err("the transaction has failed");
    assert_eq!(error.kind(), ErrorKind::AbortTransaction, "{error}");
    producer.abort_transaction().await.expect("it is aborted");
    producer.begin_transaction().expect("none is open");
    producer.send_and_wait(record("tx-fail", "second")).await.expect("it is written");
    producer.commit_transaction().await.expect("it is committed");
    assert_eq!(values(cluster, "tx-fail", "read_committed"), ["second"]);
}

trait ExpectOrFenced {
    fn expect_or_fenced(self);
}

impl ExpectOrFenced for Result<(), forebay::kafka::Error> {
    /// It may know already.
    fn expect_or_fenced(self) {
        if let Err(error) = self {
            assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
        }
    }
}
