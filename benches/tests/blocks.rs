//! 2 GB from a real broker in blocks of 64 MiB, of which every tenth breaks off half-way: every record arrives once, and the
//! program stays below 32 MiB.
//!
//! `./proto-tests/run blocks` runs it with the program that ships and shows the figures. The program that is measured runs in
//! a process of its own; broker, fake service and judge do not count.

use std::fs;
use std::time::{Duration, Instant};

use forebay::sandbox::maxcompute::{Action, Fault};
use forebay_benches::JsonRecords;
use forebay_benches::produce::produce;
use forebay_proto_tests::cli::{forebay, run_forebay};
use forebay_proto_tests::java::{self, ODPS_SDK};
use forebay_proto_tests::kafka::{KafkaCluster, Version};
use forebay_proto_tests::maxcompute::LocalMaxCompute;
use forebay_proto_tests::process::{Server, run};
use forebay_proto_tests::scratch::Scratch;

/// A little more than 2 GiB of values.
const WORKLOAD: JsonRecords = JsonRecords { records: 1 << 20, filler_words: 121 };
const PARTITIONS: u16 = 6;
const BLOCK_BYTES: u64 = 64 << 20;

/// What the agent may take at its peak.
const MEMORY_BYTES_MAX: u64 = 32 << 20;

const TABLE: &str = "CREATE TABLE events (event_id string, amount bigint, tag string, partition1 string, `offset` string, \
                     timestamp1 string, value string)";

const JOB: &str = r#"{
  "type": "job", "version": "2.0",
  "steps": [
    { "stepType": "kafka", "name": "Reader", "category": "reader", "parameter": {
      "server": "SERVER", "topic": "events", "kafkaConfig": { "group.id": "blocks" }, "keyType": "ByteArray", "valueType": "ByteArray",
      "column": ["event_id", "amount", "tag.desc", "__partition__", "__offset__", "__timestamp__", "__value__"],
      "beginOffset": "0", "endOffset": "100000000", "waitTime": "10" } },
    { "stepType": "odps", "name": "Writer", "category": "writer", "parameter": {
      "datasource": "odps_first", "table": "events", "partition": "", "truncate": true, "blockSizeInMB": 64,
      "column": ["event_id", "amount", "tag", "partition1", "offset", "timestamp1", "value"] } }
  ],
  "setting": { "errorLimit": { "record": "0" }, "speed": { "throttle": false, "concurrent": CONCURRENT } }
}"#;

/// The most memory a process has had resident so far, in bytes, from the kernel's account; `None` once it has ended.
fn peak_memory(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures are what this run is for")]
fn two_gigabytes_arrive_once_although_blocks_break() {
    let cluster = KafkaCluster::shared(Version::V4_4_0);
    let scratch = Scratch::new("blocks");
    let service = LocalMaxCompute::start_in(&scratch.folder("maxcompute"));
    let sources = scratch.write("sources.toml", service.account().datasources()).display().to_string();
    cluster.create_topic("events", PARTITIONS, 1);
    let report = produce(&cluster.server(), "events", "lz4", WORKLOAD);
    println!("produced: {}", report.trim());
    let _created = run_forebay(&scratch, &["sql", "--datasources", &sources, "-e", TABLE]).expect_success();
    // More than there are tens of blocks: those that wait at the end met nobody.
    const ORDERED: usize = 100;
    for _ in 0..ORDERED {
        let cut = Action::CutRequest { after_bytes: BLOCK_BYTES / 2 };
        service.service().faults().push(Fault::before("upload_block", cut).skip(9));
    }

    let concurrent = std::env::var("FOREBAY_BENCH_CONCURRENT").unwrap_or_else(|_| "3".to_owned());
    let text = JOB.replace("SERVER", &cluster.server()).replace("CONCURRENT", &concurrent);
    let job = scratch.write("job.json", text);
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
    let puts = service.requests("upload_block");
    let broken = ORDERED - service.service().faults().waiting().len();

    let account = service.account();
    let mut judge = java::program(ODPS_SDK, "SumTable");
    judge.args([&account.endpoint, &account.tunnel_endpoint, &account.project]);
    judge.args([&account.access_id, &account.access_key, "events"]);
    let found = run(judge, b"", Duration::from_secs(900)).expect_success().stdout_text();
    let (records, sum) = (WORKLOAD.records, WORKLOAD.amount_sum());
    println!(
        "forebay run: {seconds:.1} s, {concurrent} lanes, {puts} block requests, {broken} of them broken off half-way, peak memory \
         {:.1} MiB",
        mib(peak)
    );
    println!(
        "odps-sdk-java reads rows, sum of amount, different offsets: {}; expected {records} {sum} {records}",
        found.trim()
    );
    assert_eq!(found.trim(), format!("{records} {sum} {records}"));
    assert!(broken >= puts / 11 && broken >= 3, "{broken} of {puts} broken");
    assert!(peak > 0 && peak < MEMORY_BYTES_MAX, "peak memory {:.1} MiB", mib(peak));
    let committed: i64 = cluster.group("blocks").iter().filter_map(|row| row.committed).sum();
    assert_eq!(u64::try_from(committed), Ok(records));
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
