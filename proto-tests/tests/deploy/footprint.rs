//! Memory and time of the program that ships, beside real brokers.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use forebay_proto_tests::kafka::{KafkaCluster, Tool, Version};
use forebay_proto_tests::maxcompute::LocalMaxCompute;
use forebay_proto_tests::process::{Running, Server, command, run};
use forebay_proto_tests::scratch::{Scratch, repository_folder};

use super::{JOB_TABLE, LIMIT, job, shipped};

/// A line of /proc/PID/status in KiB; `None` when the process is gone.
fn memory(process: u32, line: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    status.lines().find_map(|text| text.strip_prefix(line)?.split_whitespace().next()?.parse().ok())
}

/// Whether the process has become the program: what starts it is another one at first.
fn is_forebay(process: u32) -> bool {
    fs::read_link(format!("/proc/{process}/exe")).is_ok_and(|path| path.ends_with("forebay"))
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures are the point")]
fn a_seed_job_and_an_idle_agent_stay_small() {
    let cluster = KafkaCluster::shared(Version::V1_0_1);
    let service = LocalMaxCompute::start();
    let scratch = Scratch::new("footprint");
    let program = shipped("x86_64");
    let sources = scratch.write("sources.toml", service.account().datasources());
    let sources = sources.to_str().expect("a readable path");
    let sql = |statement: &str| {
        let mut forebay = command(&program);
        forebay.args(["sql", "--datasources", sources, "-e", statement]);
        let _output = run(forebay, b"", LIMIT).expect_success();
    };

    let topic = "footprint_seed";
    cluster.create_topic(topic, 10, 3);
    cluster.produce(topic, &"{\"event_id\":\"e\",\"tag\":{\"desc\":\"d\"}}\n".repeat(200), &[]);
    let ddl = fs::read_to_string(repository_folder().join("deploy/examples/testkafka/table.sql")).expect("in the tree");
    sql(&ddl);
    let mut forebay = command(&program);
    forebay.arg("run").arg(repository_folder().join("deploy/examples/testkafka/job.json")).args([
        "--set",
        &format!("Reader.server={}", cluster.server()),
        "--set",
        &format!("Reader.topic={topic}"),
        "--datasources",
        sources,
    ]);
    let mut running = Running::start(forebay, b"");
    let mut peak = 0;
    while !running.has_ended() {
        if is_forebay(running.id()) {
            peak = memory(running.id(), "VmHWM:").unwrap_or(0).max(peak);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let _output = running.finish(LIMIT).expect_success();
    println!("seed job: peak {peak} KiB");
    assert!(peak > 0 && peak <= 16 * 1024, "the seed job took {peak} KiB");

    let topic = "footprint_idle";
    cluster.create_topic(topic, 4, 3);
    cluster.produce(topic, &"one\n".repeat(100), &[]);
    sql(&format!("create table {topic} {JOB_TABLE}"));
    let job = scratch.write("job.toml", job(&cluster.server(), topic));
    let mut forebay = command(&program);
    forebay.arg("agent").arg(&job).args(["--datasources", sources]);
    let mut agent = Server::start("agent", forebay, &scratch.path().join("agent.log"));
    let group = format!("group-{topic}");
    agent.wait_until("the topic's end", LIMIT, |_| {
        cluster.group(&group).iter().filter_map(|row| row.committed).sum::<i64>() == 100
    });
    let idle = memory(agent.id(), "VmRSS:").expect("it runs");
    println!("idle agent: {idle} KiB resident");
    assert!(idle <= 8 * 1024, "an idle agent holds {idle} KiB");
}

/// ConsoleProducer writes 20 MB a second; an agent that is told nothing about memory follows.
#[test]
#[expect(clippy::print_stdout, reason = "the figures are the point")]
fn a_steady_sync_stays_small() {
    const SECONDS: usize = 15;
    const LINES_A_TICK: usize = 2_000;
    const TICKS_A_SECOND: usize = 10;
    let cluster = KafkaCluster::shared(Version::V4_4_0);
    let service = LocalMaxCompute::start();
    let scratch = Scratch::new("footprint-steady");
    let sources = scratch.write("sources.toml", service.account().datasources());
    let sources = sources.to_str().expect("a readable path");
    let topic = "footprint_steady";
    cluster.create_topic(topic, 4, 1);
    let mut forebay = command(shipped("x86_64"));
    forebay.args(["sql", "--datasources", sources, "-e", &format!("create table {topic} {JOB_TABLE}")]);
    let _made = run(forebay, b"", LIMIT).expect_success();
    // Commits as often as an agent makes them by itself.
    let job = job(&cluster.server(), topic);
    let job = scratch.write("job.toml", job.split("[limits]").next().expect("the beginning"));
    let mut forebay = command(shipped("x86_64"));
    forebay.arg("agent").arg(&job).args(["--datasources", sources]);
    let mut agent = Server::start("agent", forebay, &scratch.path().join("agent.log"));

    let mut producer = cluster.tool(Tool::Producer);
    producer.args(["--topic", topic, "--batch-size", "65536"]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut producer = producer.spawn().expect("Java is there");
    let mut lines = producer.stdin.take().expect("a pipe");
    let tick = format!("{}\n", "0123456789".repeat(100).split_at(999).0).repeat(LINES_A_TICK);
    let begin = Instant::now();
    for number in 1..=SECONDS * TICKS_A_SECOND {
        lines.write_all(tick.as_bytes()).expect("the producer reads");
        let due = Duration::from_secs(number as u64) / TICKS_A_SECOND as u32;
        std::thread::sleep(due.saturating_sub(begin.elapsed()));
    }
    drop(lines);
    assert!(producer.wait().expect("it ends").success());
    let took = begin.elapsed();
    let wanted = (SECONDS * TICKS_A_SECOND * LINES_A_TICK) as i64;
    let group = format!("group-{topic}");
    agent.wait_until("the topic's end", LIMIT, |_| {
        cluster.group(&group).iter().filter_map(|row| row.committed).sum::<i64>() == wanted
    });
    let peak = memory(agent.id(), "VmHWM:").expect("it runs");
    let written = wanted as f64 / 1000.0 / took.as_secs_f64();
    println!("steady sync: {written:.1} MB/s written, caught up after {:.1?}, peak {peak} KiB", begin.elapsed() - took);
    assert!(peak <= 32 * 1024, "a steady sync took {peak} KiB");
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures are the point")]
fn the_first_record_is_there_at_once() {
    let cluster = KafkaCluster::shared(Version::V1_0_1);
    let topic = "footprint_start";
    cluster.create_topic(topic, 1, 1);
    cluster.produce(topic, "first\n", &[]);
    let server = cluster.server();
    // The whole of it, from the start of the process to its end; the best of several, since other tests run beside.
    let best = (0..15).map(|_| {
        let mut forebay = command(shipped("x86_64"));
        forebay.args(["cat", "-C", "-q", "-b", &server, "-t", topic, "-o", "beginning", "-c", "1"]);
        let begin = Instant::now();
        // Not by the harness, which looks every now and then whether a program has ended.
        let output = forebay.output().expect("it can be started");
        let took = begin.elapsed();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "first\n", "{output:?}");
        took
    });
    let best = best.min().expect("several");
    println!("start to first record, and end: {best:?}");
    assert!(best < Duration::from_millis(50), "{best:?}");
}
