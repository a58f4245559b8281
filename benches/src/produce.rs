//! A workload on its way into a topic.

use std::io::{BufWriter, Read as _, Write as _};
use std::process::Stdio;

use forebay_proto_tests::java::{self, KAFKA_4_4_0};

use crate::JsonRecords;

/// Sends the workload through Kafka's own producer (client 4.4.0), one record a line, and returns what the program says of
/// itself: records acknowledged and bytes.
///
/// Panics when the program fails, since a measurement over half a topic is worth nothing.
#[must_use]
pub fn produce(server: &str, topic: &str, codec: &str, workload: JsonRecords) -> String {
    let mut command = java::program(KAFKA_4_4_0, "ProduceLines");
    command.args([server, topic, codec]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("Java starts");
    let mut lines = BufWriter::with_capacity(1 << 20, child.stdin.take().expect("its input is a pipe"));
    for number in 0..workload.records {
        let written = writeln!(lines, "{}", workload.record(number));
        if written.is_err() {
            break;
        }
    }
    let flushed = lines.flush();
    drop(lines);
    let mut report = String::new();
    let read = child.stdout.take().expect("its output is a pipe").read_to_string(&mut report);
    let status = child.wait().expect("it can be waited for");
    assert!(status.success() && flushed.is_ok() && read.is_ok(), "the producer failed: {status} {report}");
    report
}
