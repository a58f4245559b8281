//! `forebay kafka` on real clusters: what it does is seen by Kafka's own tools, and it sees what they do.

use std::time::{Duration, Instant};

use forebay_proto_tests::cli::forebay;
use forebay_proto_tests::kafka::{KafkaCluster, Version};
use forebay_proto_tests::process::{Output, run};
use forebay_proto_tests::scratch::Scratch;

const LIMIT: Duration = Duration::from_secs(120);

fn call(scratch: &Scratch, cluster: &KafkaCluster, input: &str, arguments: &[&str]) -> Output {
    let (tool, rest) = arguments.split_first().expect("a tool");
    let mut forebay = forebay(scratch);
    forebay.args(["kafka", tool, "--bootstrap-server", &cluster.server()]).args(rest);
    run(forebay, input.as_bytes(), LIMIT).expect_success()
}

fn walk(version: Version, replication_factor: &str) {
    let cluster = KafkaCluster::shared(version);
    let scratch = Scratch::new("kafka-cli");
    let call = |input: &str, arguments: &[&str]| call(&scratch, &cluster, input, arguments);
    let topic = "forebay-kafka-cli";
    let create = ["topics", "--create", "--topic", topic, "--partitions", "10", "--replication-factor"];
    let created = call("", &[&create[..], &[replication_factor]].concat());
    assert_eq!(created.stdout_text(), format!("Created topic \"{topic}\".\n"));
    // Brokers of 1.0.1 hear of a new topic one after the other.
    let deadline = Instant::now() + LIMIT;
    while !call("", &["topics", "--list"]).stdout_text().lines().any(|line| line == topic) {
        assert!(Instant::now() < deadline, "{topic} is not listed");
    }

    call("123\nabc\n{\"event_id\":\"e1\"}\n", &["produce", "--topic", topic]);
    let told = cluster.consume(topic);
    let mut values: Vec<_> = told.iter().map(|record| (record.key.clone(), record.value.clone())).collect();
    values.sort();
    let wanted = ["123", "abc", "{\"event_id\":\"e1\"}"].map(|value| (None, Some(value.as_bytes().to_vec())));
    assert_eq!(values, wanted);

    let consume = ["consume", "--topic", topic, "--from-beginning", "--max-messages", "3", "--group", topic];
    let consumed = call("", &consume).stdout_text();
    let mut lines: Vec<&str> = consumed.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["123", "abc", "{\"event_id\":\"e1\"}"]);

    let theirs = cluster.group(topic);
    assert_eq!(theirs.iter().filter_map(|row| row.committed).sum::<i64>(), 3);
    let groups = call("", &["groups", "--list"]).stdout_text();
    assert!(groups.lines().any(|line| line == topic), "{groups}");
    let described = call("", &["groups", "--describe", "--group", topic]).stdout_text();
    let mut ours: Vec<(i32, Option<i64>, Option<i64>)> = Vec::new();
    for row in described.lines().filter(|line| line.starts_with(topic)) {
        let cells: Vec<&str> = row.split_whitespace().collect();
        let number = |cell: &str| cell.parse::<i64>().ok();
        ours.push((cells[1].parse().expect("a partition"), number(cells[2]), number(cells[3])));
    }
    let theirs: Vec<_> = theirs.iter().map(|row| (row.partition, row.committed, row.end)).collect();
    assert_eq!(ours, theirs, "{described}");
    call("", &["topics", "--delete", "--topic", topic]);
}

#[test]
fn on_kafka_1_0_1() {
    walk(Version::V1_0_1, "3");
}

#[test]
fn on_kafka_4_4_0() {
    walk(Version::V4_4_0, "1");
}
