//! What Kafka's own consumer reads.

use std::time::Duration;

use forebay_proto_tests::java;
use forebay_proto_tests::kafka::KafkaCluster;
use forebay_proto_tests::process::run;

/// How long one program may take on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(240);

/// One record as Kafka's consumer handed it out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Seen {
    pub(crate) partition: i64,
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// A topic's records, sorted by partition and offset, as the consumer of the cluster's own version reads them.
pub(crate) fn read(cluster: &KafkaCluster, topic: &str, isolation: &str) -> Vec<Seen> {
    let mut program = java::program(cluster.version().jars(), "ReadTopic");
    program.args([&cluster.servers(), topic, isolation, "full"]);
    let told = run(program, b"", LIMIT).expect_success().stdout_text();
    let mut seen: Vec<Seen> = told.lines().map(line).collect();
    seen.sort();
    seen
}

/// The same in short, in the consumer's order: partition, key and value.
pub(crate) fn read_short(cluster: &KafkaCluster, topic: &str) -> Vec<(u32, String, String)> {
    let mut program = java::program(cluster.version().jars(), "ReadTopic");
    program.args([&cluster.servers(), topic, "read_committed", "short"]);
    let told = run(program, b"", LIMIT).expect_success().stdout_text();
    let part = |line: &str| {
        let mut parts = line.split('\t');
        let mut next = || parts.next().unwrap_or_default().to_owned();
        (next().parse().expect("a partition"), next(), next())
    };
    told.lines().map(part).collect()
}

fn line(text: &str) -> Seen {
    let row: serde_json::Value = serde_json::from_str(text).expect("a JSON line");
    let number = |at: usize| row[at].as_i64().expect("a number");
    let headers = row[5].as_array().expect("headers");
    Seen {
        partition: number(0),
        offset: number(1),
        timestamp: number(2),
        key: bytes(&row[3]),
        value: bytes(&row[4]),
        headers: headers.iter().map(|header| (bytes(&header[0]).unwrap_or_default(), bytes(&header[1]))).collect(),
    }
}

fn bytes(digits: &serde_json::Value) -> Option<Vec<u8>> {
    let digits = digits.as_str()?;
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal digits");
    Some((0..digits.len()).step_by(2).map(byte).collect())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
