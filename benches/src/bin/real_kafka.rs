//! A real Kafka 4.4.0 for `benches/compare`: started and filled by what its standard input says, ended when that ends.
//!
//! One broker has a second listener that advertises another port: a relay that counts is put there, and what comes through it
//! stays on it. `real_kafka [BROKERS [FOLDER]]`: one broker, and data in a scratch folder, unless told. Commands, one a line, each
//! answered by one line of JSON:
//!
//! `topic NAME PARTITIONS`, `fill NAME CODEC RECORDS FILLER_WORDS`, `delete NAME`

use std::env;
use std::io::{self, BufRead as _, Write as _};
use std::process::ExitCode;

use forebay_benches::JsonRecords;
use forebay_benches::produce::produce;
use forebay_proto_tests::kafka::{Access, KafkaCluster, Listener, Version};
use forebay_proto_tests::port;

fn main() -> ExitCode {
    let brokers = env::args().nth(1).and_then(|word| word.parse().ok()).unwrap_or(1);
    let folder = env::args().nth(2).map(|folder| format!("{folder}/{{id}}"));
    let properties: Vec<_> = folder.iter().map(|folder| ("log.dirs", folder.as_str())).collect();
    let (behind, relay) = (port::free(), port::free());
    let listener = Listener {
        name: "RELAYED",
        protocol: "PLAINTEXT",
        port: behind,
        advertised_host: "127.0.0.1",
        advertised_port: relay,
    };
    let cluster = match brokers {
        1 => {
            let access = Access { listeners: &[listener], ..Access::default() };
            KafkaCluster::start_with_access(Version::V4_4_0, &properties, &access)
        }
        _ => KafkaCluster::start(Version::V4_4_0, brokers, &properties),
    };
    answer(&format!("{{\"server\": \"{}\", \"relay\": {relay}, \"behind\": {behind}}}", cluster.servers()));
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match *words {
            ["topic", name, partitions] => {
                cluster.create_topic(name, number(partitions).try_into().unwrap_or(1), 1);
                answer("{}");
            }
            ["delete", name] => {
                cluster.delete_topic(name);
                answer("{}");
            }
            ["fill", name, codec, records, filler_words] => {
                let workload = JsonRecords { records: number(records), filler_words: number(filler_words) };
                let _report = produce(&cluster.servers(), name, codec, workload);
                let bytes: usize = (0..workload.records).map(|record| workload.record(record).len()).sum();
                answer(&format!("{{\"bytes\": {bytes}}}"));
            }
            _ => return ExitCode::from(2),
        }
    }
    ExitCode::SUCCESS
}

fn number(word: &str) -> u64 {
    word.parse().unwrap_or_default()
}

/// One line to the driver, at once.
fn answer(line: &str) {
    let mut out = io::stdout().lock();
    // A driver that is gone has closed the input too.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
