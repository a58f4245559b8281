//! Writes a workload of JSON records to a topic through Kafka's own Java producer, and prints count and sum.

use std::env;
use std::process::ExitCode;

use forebay_benches::JsonRecords;
use forebay_benches::produce::produce;

const USAGE: &str =
    "usage: produce_json --bootstrap-server HOST:PORT --topic TOPIC [--records N] [--codec none|gzip|snappy|lz4|zstd]

The topic must exist. N is 1000000 unless told, the codec lz4. Needs what `./proto-tests/run setup` fetches.";

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for a person at a terminal")]
fn main() -> ExitCode {
    let (mut server, mut topic) = (String::new(), String::new());
    let (mut records, mut codec) = (Some(1_000_000), "lz4".to_owned());
    let mut words = env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().unwrap_or_default();
        match word.as_str() {
            "--bootstrap-server" => server = value,
            "--topic" => topic = value,
            "--records" => records = value.parse().ok(),
            "--codec" => codec = value,
            _ => server.clear(),
        }
    }
    let (false, false, Some(records)) = (server.is_empty(), topic.is_empty(), records) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let workload = JsonRecords::small(records);
    let report = produce(&server, &topic, &codec, workload);
    println!("records {records}, sum of amount {}; the producer says: {}", workload.amount_sum(), report.trim());
    ExitCode::SUCCESS
}
