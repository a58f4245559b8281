//! The harness itself, against the real thing: clusters of every wanted version start, and Kafka's own tools write, read and describe.

use forebay_proto_tests::kafka::{KafkaCluster, Version};

fn kafka_s_own_tools_work(version: Version, replication_factor: u16) {
    let cluster = KafkaCluster::shared(version);
    cluster.create_topic("harness", 4, replication_factor);
    let listed = cluster.topics(&["--list"]).expect_success().stdout_text();
    assert!(listed.lines().any(|line| line == "harness"), "{listed}");

    cluster.produce("harness", "123\nabc\n\n", &[]);
    cluster.produce("harness", "k|v\n", &["--property", "parse.key=true", "--property", "key.separator=|"]);
    let told = cluster.consume("harness");
    assert!(told.iter().all(|record| record.timestamp > 1_700_000_000_000), "{told:?}");
    let mut contents: Vec<_> = told.into_iter().map(|record| (record.key, record.value)).collect();
    contents.sort_unstable();
    let bytes = |text: &str| Some(text.as_bytes().to_vec());
    let expected = [(None, bytes("")), (None, bytes("123")), (None, bytes("abc")), (bytes("k"), bytes("v"))];
    assert_eq!(contents, expected);

    let ends: i64 = cluster.offsets("harness", -1).iter().map(|(_, end)| end).sum();
    assert_eq!(ends, 4);
    assert_eq!(cluster.group("nobody"), []);

    cluster.create_topic_with("trimmed", 1, replication_factor, &["--config", "max.message.bytes=2000000"]);
    cluster.produce("trimmed", "a\nb\nc\n", &[]);
    cluster.delete_records("trimmed", 0, 2);
    let values: Vec<_> = cluster.consume("trimmed").into_iter().map(|record| (record.offset, record.value)).collect();
    assert_eq!(values, [(2, Some(b"c".to_vec()))]);
    cluster.delete_topic("trimmed");
}

/// Three brokers of 1.0.1, one of every other version that is wanted. Three versions at a time: most of it is waiting for
/// JVMs to start.
#[test]
fn every_wanted_version() {
    for versions in Version::wanted().chunks(3) {
        std::thread::scope(|scope| {
            for &version in versions {
                scope.spawn(move || kafka_s_own_tools_work(version, if version == Version::V1_0_1 { 3 } else { 1 }));
            }
        });
    }
}
