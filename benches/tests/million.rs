//! A million records from a real broker into the local MaxCompute: nothing lost, nothing doubled, in bounded memory.
//!
//! `./proto-tests/run million` runs it on the release build and shows the figures. The program that is measured runs in a
//! process of its own; broker, fake service and judge do not count.

use std::fs;
use std::time::{Duration, Instant};

use forebay_benches::JsonRecords;
use forebay_benches::produce::produce;
use forebay_proto_tests::cli::{forebay, run_forebay};
use forebay_proto_tests::java::{self, ODPS_SDK};
use forebay_proto_tests::kafka::{KafkaCluster, Version};
use forebay_proto_tests::maxcompute::LocalMaxCompute;
use forebay_proto_tests::process::{Server, run};
use forebay_proto_tests::scratch::Scratch;

const WORKLOAD: JsonRecords = JsonRecords::small(1_000_000);
const PARTITIONS: u16 = 6;

/// What the agent may take at its peak.
const MEMORY_BYTES_MAX: u64 = 64 << 20;

const TABLE: &str = "CREATE TABLE events (event_id string, amount bigint, tag string, partition1 string, `offset` string, \
                     timestamp1 string, value string)";

const JOB: &str = r#"{
  "type": "job", "version": "2.0",
  "steps": [
    { "stepType": "kafka", "name": "Reader", "category": "reader", "parameter": {
      "server": "SERVER", "topic": "events", "kafkaConfig": { "group.id": "million" }, "keyType": "ByteArray", "valueType": "ByteArray",
      "column": ["event_id", "amount", "tag.desc", "__partition__", "__offset__", "__timestamp__", "__value__"],
      "beginOffset": "0", "endOffset": "1000000", "waitTime": "10" } },
    { "stepType": "odps", "name": "Writer", "category": "writer", "parameter": {
      "datasource": "odps_first", "table": "events", "partition": "", "truncate": true,
      "column": ["event_id", "amount", "tag", "partition1", "offset", "timestamp1", "value"] } }
  ],
  "setting": { "errorLimit": { "record": "0" }, "speed": { "throttle": false, "concurrent": 1 } }
}"#;

/// The most memory a process has had resident so far, in bytes, from the kernel's account; `None` once it has ended.
fn peak_memory(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures are what this run is for")]
fn a_million_records_arrive_once_in_bounded_memory() {
    let cluster = KafkaCluster::shared(Version::V4_4_0);
    let scratch = Scratch::new("million");
    let service = LocalMaxCompute::start_in(&scratch.folder("maxcompute"));
    let sources = scratch.write("sources.toml", service.account().datasources()).display().to_string();
    cluster.create_topic("events", PARTITIONS, 1);
    let report = produce(&cluster.server(), "events", "lz4", WORKLOAD);
    let _created = run_forebay(&scratch, &["sql", "--datasources", &sources, "-e", TABLE]).expect_success();

    let job = scratch.write("job.json", JOB.replace("SERVER", &cluster.server()));
    let mut command = forebay(&scratch);
    command.arg("run").arg(job).args(["--datasources", &sources]);
    let begin = Instant::now();
    let mut agent = Server::start("forebay run", command, &scratch.path().join("run.log"));
    let mut peak = 0;
    let status = loop {
        peak = peak.max(peak_memory(agent.id()).unwrap_or(0));
        if let Some(status) = agent.ended_within(Duration::from_millis(20)) {
            break status;
        }
        assert!(begin.elapsed() < Duration::from_secs(900), "{}", agent.log_tail());
    };
    let seconds = begin.elapsed().as_secs_f64();
    assert!(status.success(), "{status}\n{}", agent.log_tail());

    let account = service.account();
    let mut judge = java::program(ODPS_SDK, "SumTable");
    judge.args([&account.endpoint, &account.tunnel_endpoint, &account.project]);
    judge.args([&account.access_id, &account.access_key, "events"]);
    let found = run(judge, b"", Duration::from_secs(600)).expect_success().stdout_text();
    let (records, sum) = (WORKLOAD.records, WORKLOAD.amount_sum());
    println!("produced: {}", report.trim());
    println!("forebay run: {seconds:.1} s, {:.0} records/s, peak memory {:.1} MiB", 1e6 / seconds, mib(peak));
    println!(
        "odps-sdk-java reads rows, sum of amount, different offsets: {}; expected {records} {sum} {records}",
        found.trim()
    );
    assert_eq!(found.trim(), format!("{records} {sum} {records}"));
    assert!(peak > 0 && peak < MEMORY_BYTES_MAX, "peak memory {:.1} MiB", mib(peak));
    let committed: i64 = cluster.group("million").iter().filter_map(|row| row.committed).sum();
    assert_eq!(u64::try_from(committed), Ok(records));
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
