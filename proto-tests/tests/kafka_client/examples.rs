//! The programs of `examples/` against a broker of 4.4.0: what they write, Kafka's tools read, and the other way round.

use std::collections::BTreeMap;
use std::time::Duration;

use forebay_proto_tests::cli::example;
use forebay_proto_tests::kafka::{GroupRow, KafkaCluster, Version};
use forebay_proto_tests::process::{Output, Server, command, run};
use rustix::process::Signal;

const LIMIT: Duration = Duration::from_secs(120);

fn run_example(name: &'static str, cluster: &KafkaCluster, arguments: &[&str], input: &str) -> Output {
    let mut program = command(example(name));
    program.arg(cluster.servers()).args(arguments);
    run(program, input.as_bytes(), LIMIT).expect_success()
}

/// Rows of numbers, each in its line.
fn numbers(text: &str) -> Vec<Vec<i64>> {
    text.lines().map(|line| line.split_whitespace().filter_map(|word| word.parse().ok()).collect()).collect()
}

#[test]
fn what_produce_writes_the_console_consumer_reads() {
    let cluster = KafkaCluster::shared(Version::V4_4_0);
    cluster.create_topic("example-produce", 3, 1);
    let lines: String = (0..50).map(|n| format!("key-{n}\tvalue-{n}\n")).collect();
    let output = run_example("produce", &cluster, &["example-produce", "compression.type=zstd"], &lines);
    let told = cluster.consume("example-produce");
    let mut read: Vec<(String, String)> = (told.iter())
        .map(|told| {
            let text =
                |bytes: &Option<Vec<u8>>| String::from_utf8_lossy(bytes.as_deref().unwrap_or(b"null")).into_owned();
            (text(&told.key), text(&told.value))
        })
        .collect();
    read.sort();
    let mut written: Vec<(String, String)> = (0..50).map(|n| (format!("key-{n}"), format!("value-{n}"))).collect();
    written.sort();
    assert_eq!(read, written);
    // Where each record went is what it printed: partition, offset, timestamp.
    let mut places = numbers(&output.stdout_text());
    places.sort();
    let told: Vec<Vec<i64>> =
        told.iter().map(|told| vec![i64::from(told.partition), told.offset, told.timestamp]).collect();
    assert_eq!(places, told);
}

#[test]
fn what_produce_writes_in_a_transaction_is_committed() {
    let cluster = KafkaCluster::shared(Version::V4_4_0);
    cluster.create_topic("example-transaction", 1, 1);
    let words = ["example-transaction", "transactional.id=example-transaction"];
    run_example("produce", &cluster, &words, "a\nb\n");
    let committed = run_example("consume", &cluster, &["example-transaction", "read_committed"], "").stdout_text();
    let values: Vec<&str> = committed.lines().filter_map(|line| line.split('\t').nth(4)).collect();
    assert_eq!(values, ["a", "b"]);
    // The marker of the commit counts for the end, and not for the records.
    assert_eq!(cluster.offsets("example-transaction", -1), [(0, 3)]);
}

#[test]
fn consume_prints_what_the_console_producer_wrote() {
    let cluster = KafkaCluster::shared(Version::V4_4_0);
    cluster.create_topic("example-consume", 3, 1);
    let lines: String = (0..30).map(|n| format!("h:{n}|key-{n}|value-{n}\n")).collect();
    let properties = ["parse.headers=true", "parse.key=true", "key.separator=|", "headers.delimiter=|"];
    let arguments: Vec<&str> = properties.iter().flat_map(|property| ["--reader-property", property]).collect();
    cluster.produce("example-consume", &lines, &arguments);
    let printed = run_example("consume", &cluster, &["example-consume"], "").stdout_text();
    let mut printed: Vec<String> = printed.lines().map(str::to_owned).collect();
    printed.sort();
    let mut wanted: Vec<String> = (cluster.consume("example-consume").iter())
        .map(|told| {
            let text =
                |bytes: &Option<Vec<u8>>| String::from_utf8_lossy(bytes.as_deref().unwrap_or(b"null")).into_owned();
            let (key, value) = (text(&told.key), text(&told.value));
            let n = key.trim_start_matches("key-").to_owned();
            format!("{}\t{}\t{}\t{key}\t{value}\th={n}", told.partition, told.offset, told.timestamp)
        })
        .collect();
    wanted.sort();
    assert_eq!(wanted.len(), 30);
    assert_eq!(printed, wanted);
}

#[test]
fn offsets_says_and_commits_what_kafkas_tools_say() {
    let cluster = KafkaCluster::shared(Version::V4_4_0);
    cluster.create_topic("example-offsets", 2, 1);
    cluster.produce("example-offsets", "a\nb\nc\n", &[]);
    let (starts, ends) = (cluster.offsets("example-offsets", -2), cluster.offsets("example-offsets", -1));
    let words = ["example-offsets", "example-offsets-group"];
    let before = run_example("offsets", &cluster, &words, "").stdout_text();
    let after = run_example("offsets", &cluster, &[&words[..], &["--commit"]].concat(), "").stdout_text();
    // PARTITION LEADER START END COMMITTED
    let row = |(partition, start): &(i32, i64), end: i64| vec![i64::from(*partition), 1, *start, end];
    let rows: Vec<Vec<i64>> = starts.iter().zip(&ends).map(|(start, (_, end))| row(start, *end)).collect();
    assert_eq!(numbers(&before)[1..], rows, "{before}");
    let committed: Vec<Vec<i64>> = rows.iter().map(|row| [&row[..], &row[3..]].concat()).collect();
    assert_eq!(numbers(&after)[1..], committed, "{after}");
    let wanted: Vec<GroupRow> = (ends.iter())
        .map(|(partition, end)| GroupRow {
            topic: "example-offsets".to_owned(),
            partition: *partition,
            committed: Some(*end),
            end: Some(*end),
        })
        .collect();
    assert_eq!(cluster.group("example-offsets-group"), wanted);
}

#[test]
fn group_reads_commits_and_leaves() {
    let cluster = KafkaCluster::shared(Version::V4_4_0);
    cluster.create_topic("example-group", 2, 1);
    let lines: String = (0..40).map(|n| format!("v{n}\n")).collect();
    cluster.produce("example-group", &lines, &[]);
    let mut program = command(example("group"));
    program.arg(cluster.servers()).args(["example-group-members", "example-group"]);
    let log = cluster.scratch().path().join("example-group.log");
    let mut member = Server::start("example group", program, &log);
    // The last offset that it says it has committed, by partition.
    let committed = |text: &str| -> BTreeMap<i32, i64> {
        (text.lines())
            .filter_map(|line| {
                let [_, "committed", "example-group", partition, offset] = line.split(' ').collect::<Vec<_>>()[..]
                else {
                    return None;
                };
                Some((partition.parse().ok()?, offset.parse().ok()?))
            })
            .collect()
    };
    member.wait_until("all is committed", LIMIT, |member| committed(&member.log_text()).values().sum::<i64>() == 40);
    member.signal(Signal::TERM);
    assert!(member.wait(LIMIT).success(), "{}", member.log_tail());
    let said = member.log_text();
    assert!(said.lines().any(|line| line.ends_with(" left")), "{said}");
    let wanted: BTreeMap<i32, i64> =
        cluster.offsets("example-group", -1).into_iter().filter(|(_, end)| *end > 0).collect();
    assert_eq!(committed(&said), wanted);
    let rows = cluster.group("example-group-members");
    let told: BTreeMap<i32, i64> = rows.iter().filter_map(|row| Some((row.partition, row.committed?))).collect();
    assert_eq!(told, wanted);
}
