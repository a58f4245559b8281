//! The embedded broker, judged by clients that are not ours: kcat, librdkafka by way of Python, and Kafka's own tools.

use std::env;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use forebay::kafka::record::{BatchBuilder, BatchOptions};
use forebay::kafka::{Acks, Client, ClientConfig};
use forebay::sandbox::broker::{self, Broker, BrokerConfig, KafkaVersion};
use forebay_proto_tests::cli;
use forebay_proto_tests::java::{self, KAFKA_1_0_1, KAFKA_TOOLS};
use forebay_proto_tests::process::{Output, Running, Server, command, run};
use forebay_proto_tests::scratch::{Scratch, cached, package_folder};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

const LIMIT: Duration = Duration::from_secs(120);

/// Embedded brokers in the test's own process.
struct Sandbox {
    broker: Broker,
    // After the broker, which stops on it.
    runtime: Runtime,
}

impl Sandbox {
    fn start(config: BrokerConfig) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        let broker = runtime.block_on(broker::start(config)).expect("the brokers start");
        Self { broker, runtime }
    }

    fn server(&self) -> String {
        self.broker.address()
    }

    fn stop(self) {
        self.runtime.block_on(self.broker.shutdown());
    }
}

fn one_topic(partitions: i32) -> BrokerConfig {
    BrokerConfig { brokers: 3, topics: vec![("t".to_owned(), partitions)], ..BrokerConfig::default() }
}

/// kcat with these arguments. Fails here, and says so, when it is not installed: no test passes without its judge.
fn kcat(arguments: &[&str]) -> Command {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).any(|folder| folder.join("kcat").is_file());
    assert!(found, "kcat is missing: run `./proto-tests/run setup` first");
    let mut kcat = command("kcat");
    kcat.args(arguments);
    kcat
}

fn run_kcat(input: &str, arguments: &[&str]) -> Output {
    run(kcat(arguments), input.as_bytes(), LIMIT).expect_success()
}

fn sorted_lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn kcat_sees_the_cluster_as_it_is() {
    let sandbox = Sandbox::start(one_topic(4));
    let listing = run_kcat("", &["-b", &sandbox.server(), "-L", "-J"]).stdout_text();
    let listing: Value = serde_json::from_str(&listing).expect("kcat prints JSON");
    let nodes: Vec<_> = sandbox.broker.addresses().iter().map(ToString::to_string).collect();
    let shown: Vec<_> = listing["brokers"].as_array().into_iter().flatten().map(|node| node["name"].clone()).collect();
    assert_eq!(shown, nodes, "{listing}");
    assert_eq!(listing["topics"][0]["topic"], "t");
    let partitions = listing["topics"][0]["partitions"].as_array().expect("partitions");
    assert_eq!(partitions.len(), 4);
    for partition in partitions {
        assert_eq!(partition["replicas"].as_array().map(Vec::len), Some(3), "{partition}");
        assert_eq!(partition["leader"], partition["replicas"][0]["id"]);
    }
    sandbox.stop();
}

#[test]
fn kcat_reads_what_it_wrote_with_every_codec() {
    let sandbox = Sandbox::start(one_topic(1));
    let server = sandbox.server();
    let mut expected = Vec::new();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let _output = run_kcat(
            &format!("k1:{codec}-a\nk2:{codec}-b\n:\n"),
            &["-b", &server, "-t", "t", "-P", "-K:", "-Z", "-z", codec, "-H", "h=1", "-H", "h=2"],
        );
        for (key, value) in [("k1", format!("{codec}-a")), ("k2", format!("{codec}-b")), ("", String::new())] {
            // kcat prints a null as a length of -1.
            let lengths = if value.is_empty() { "-1 -1".to_owned() } else { format!("2 {}", value.len()) };
            expected.push(format!("0 {} {lengths} {key} {value} h=1,h=2", expected.len()));
        }
    }
    let format = "%p %o %K %S %k %s %h\n";
    let all = ["-b", &server, "-t", "t", "-C", "-o", "beginning", "-e", "-q", "-X", "check.crcs=true", "-f", format];
    let read = run_kcat("", &all).stdout_text();
    assert_eq!(read.lines().collect::<Vec<_>>(), expected);

    let tail = ["-b", &server, "-t", "t", "-C", "-o", "7", "-c", "2", "-q", "-f", "%o\n"];
    assert_eq!(run_kcat("", &tail).stdout_text(), "7\n8\n");
    let ends = run_kcat("", &["-b", &server, "-Q", "-t", "t:0:-1"]).stdout_text();
    assert_eq!(ends.trim(), "t [0] offset 15");
    sandbox.stop();
}

/// A consumer that waits gets a record when it is written, also after the leader has moved.
#[test]
fn a_waiting_kcat_follows_the_leader() {
    let sandbox = Sandbox::start(one_topic(1));
    let server = sandbox.server();
    let follow = ["-b", &server, "-t", "t", "-C", "-o", "beginning", "-c", "3", "-q", "-u"];
    let reader = Running::start(kcat(&follow), b"");
    for (number, leader) in [(0, None), (1, Some(2)), (2, Some(3))] {
        if let Some(leader) = leader {
            sandbox.broker.move_leader("t", 0, leader).expect("it is a replica");
        }
        let _output = run_kcat(&format!("{number}\n"), &["-b", &server, "-t", "t", "-P"]);
    }
    assert_eq!(reader.finish(LIMIT).expect_success().stdout_text(), "0\n1\n2\n");
    sandbox.stop();
}

/// Two members share the partitions; when one leaves, the other goes on from what it committed.
#[test]
fn kcat_members_share_a_group() {
    let sandbox = Sandbox::start(one_topic(6));
    let server = sandbox.server();
    let member = |count: &str| {
        let settings = ["-X", "auto.offset.reset=earliest", "-X", "session.timeout.ms=6000"];
        let arguments = [&["-b", &server, "-G", "pair", "-c", count, "-u"][..], &settings, &["t"]].concat();
        Running::start(kcat(&arguments), b"")
    };
    let lines = |from: usize, to: usize| (from..to).map(|n| format!("{n}\n")).collect::<String>();
    let _output = run_kcat(&lines(0, 300), &["-b", &server, "-t", "t", "-P", "-X", "sticky.partitioning.linger.ms=0"]);
    let (first, second) = (member("150"), member("150"));
    let mut texts = String::new();
    for member in [first, second] {
        texts += &member.finish(LIMIT).expect_success().stdout_text();
    }
    // Each commits what it has read when it gives a partition up, so every record came once.
    assert_eq!(sorted_lines(&texts), sorted_lines(&lines(0, 300)));
    let third = member("1");
    let _output = run_kcat("new\n", &["-b", &server, "-t", "t", "-P"]);
    assert_eq!(third.finish(LIMIT).expect_success().stdout_text(), "new\n");
    sandbox.stop();
}

#[test]
fn topics_are_made_on_demand_only_where_that_is_wanted() {
    let willing = Sandbox::start(BrokerConfig { default_partitions: 2, ..BrokerConfig::default() });
    let _output = run_kcat("x\n", &["-b", &willing.server(), "-t", "fresh", "-P"]);
    let read = run_kcat("", &["-b", &willing.server(), "-t", "fresh", "-C", "-o", "beginning", "-e", "-q"]);
    assert_eq!(read.stdout_text(), "x\n");
    willing.stop();

    let strict = Sandbox::start(BrokerConfig { auto_create: false, ..BrokerConfig::default() });
    let output = run(kcat(&["-b", &strict.server(), "-t", "fresh", "-C", "-e"]), b"", LIMIT);
    assert_ne!(output.code, 0, "{}", output.describe());
    assert!(output.stderr_text().contains("Unknown topic"), "{}", output.describe());
    strict.stop();
}

fn librdkafka_judges(version: KafkaVersion) {
    let sandbox = Sandbox::start(BrokerConfig { brokers: 3, auto_create: false, version, ..BrokerConfig::default() });
    let mut python = command(cached("venv").join("bin/python"));
    python.arg(package_folder().join("python/sandbox_broker.py")).arg(sandbox.server());
    python.args((version == KafkaVersion::V1_0_1).then_some("old"));
    let output = run(python, b"", LIMIT).expect_success();
    let seen: Value = serde_json::from_str(&output.stdout_text()).expect("it prints JSON");
    assert_eq!(seen, json!({ "records": 5_000, "nodes": 3 }));
    sandbox.stop();
}

#[test]
fn librdkafka_is_content() {
    librdkafka_judges(KafkaVersion::Latest);
}

#[test]
fn librdkafka_is_content_with_the_old_release() {
    librdkafka_judges(KafkaVersion::V1_0_1);
}

/// One of Kafka's tools, run to its end.
fn tool(jars: &str, main_class: &str, input: &str, arguments: &[&str]) -> Output {
    let mut tool = java::tool(jars, main_class);
    tool.args(arguments);
    let output = run(tool, input.as_bytes(), LIMIT).expect_success();
    // These tools report what they could not do and end with 0 all the same.
    assert!(!output.stderr_text().contains("ERROR"), "{}", output.describe());
    output
}

#[test]
fn the_newest_java_tools_are_content() {
    let sandbox = Sandbox::start(BrokerConfig { brokers: 3, auto_create: false, ..BrokerConfig::default() });
    let server = sandbox.server();
    let at = ["--bootstrap-server", &server];
    let tool = |class: &str, input: &str, arguments: &[&str]| {
        let arguments = [&at[..], arguments].concat();
        tool(KAFKA_TOOLS, &format!("org.apache.kafka.tools.{class}"), input, &arguments).stdout_text()
    };
    let topic = ["--topic", "testkafka"];
    let create = [&["--create", "--partitions", "10", "--replication-factor", "3"][..], &topic].concat();
    let created =
        tool("TopicCommand", "", &[&create[..], &["--config", "message.timestamp.type=LogAppendTime"]].concat());
    assert_eq!(created.trim(), "Created topic testkafka.");
    assert_eq!(tool("TopicCommand", "", &["--list"]).trim(), "testkafka");
    let described = tool("TopicCommand", "", &[&["--describe"][..], &topic].concat());
    assert!(described.contains("PartitionCount: 10\tReplicationFactor: 3"), "{described}");
    assert!(described.contains("Configs: message.timestamp.type=LogAppendTime"), "{described}");

    // Idempotent, which is this producer's default.
    tool("ConsoleProducer", "123\nabc\n\n{\"a\":1}\n", &topic);
    tool("ConsoleProducer", "zipped\n", &[&topic[..], &["--compression-codec", "zstd"]].concat());
    let consume = ["--from-beginning", "--max-messages", "5", "--group", "judge", "--timeout-ms", "60000"];
    let consumed = tool("consumer.ConsoleConsumer", "", &[&topic[..], &consume].concat());
    assert_eq!(sorted_lines(&consumed), ["", "123", "abc", "zipped", "{\"a\":1}"]);

    let groups = tool("consumer.group.ConsumerGroupCommand", "", &["--list"]);
    assert_eq!(groups.trim(), "judge");
    let rows = tool("consumer.group.ConsumerGroupCommand", "", &["--describe", "--group", "judge"]);
    assert_eq!(sum_of_column(&rows, "CURRENT-OFFSET"), 5, "{rows}");
    assert_eq!(sum_of_column(&rows, "LAG"), 0, "{rows}");
    let ends = tool("GetOffsetShell", "", &topic);
    assert_eq!(ends.lines().filter_map(|line| line.rsplit(':').next()?.parse::<i64>().ok()).sum::<i64>(), 5, "{ends}");

    tool("TopicCommand", "", &[&["--delete"][..], &topic].concat());
    assert_eq!(tool("TopicCommand", "", &["--list"]).trim(), "");
    sandbox.stop();
}

#[test]
fn the_java_tools_of_1_0_1_are_content() {
    let sandbox = Sandbox::start(BrokerConfig { version: KafkaVersion::V1_0_1, ..one_topic(10) });
    let server = sandbox.server();
    let servers = sandbox.broker.addresses().iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let tool = |class: &str, input: &str, arguments: &[&str]| tool(KAFKA_1_0_1, class, input, arguments).stdout_text();
    tool("kafka.tools.ConsoleProducer", "123\nabc\n\n{\"a\":1}\n", &["--broker-list", &server, "--topic", "t"]);
    let consume =
        ["--from-beginning", "--max-messages", "4", "--timeout-ms", "60000", "--consumer-property", "group.id=judge"];
    let at = ["--bootstrap-server", &server];
    let consumed = tool("kafka.tools.ConsoleConsumer", "", &[&at[..], &["--topic", "t"], &consume].concat());
    assert_eq!(sorted_lines(&consumed), ["", "123", "abc", "{\"a\":1}"]);
    let groups = tool("kafka.admin.ConsumerGroupCommand", "", &[&at[..], &["--list"]].concat());
    assert_eq!(groups.trim(), "judge");
    let describe = ["--describe", "--group", "judge"];
    let rows = tool("kafka.admin.ConsumerGroupCommand", "", &[&at[..], &describe].concat());
    assert_eq!(sum_of_column(&rows, "CURRENT-OFFSET"), 4, "{rows}");
    assert_eq!(sum_of_column(&rows, "LAG"), 0, "{rows}");
    // ListOffsets version 0.
    let ends = tool("kafka.tools.GetOffsetShell", "", &["--broker-list", &servers, "--topic", "t", "--time", "-1"]);
    assert_eq!(ends.lines().filter_map(|line| line.rsplit(':').next()?.parse::<i64>().ok()).sum::<i64>(), 4, "{ends}");
    sandbox.stop();
}

/// Adds up a column of one of Kafka's tables.
fn sum_of_column(table: &str, name: &str) -> i64 {
    let mut lines = table.lines().filter(|line| !line.trim().is_empty());
    let heading = lines.next().unwrap_or_default();
    let column =
        heading.split_whitespace().position(|word| word == name).unwrap_or_else(|| panic!("no {name}: {table}"));
    lines
        .map(|line| line.split_whitespace().nth(column).and_then(|cell| cell.parse::<i64>().ok()))
        .map(|n| n.expect("a number"))
        .sum()
}

fn kept_in(folder: &Path) -> BrokerConfig {
    BrokerConfig { data_dir: Some(folder.to_owned()), ..one_topic(2) }
}

/// Topics, records and offsets are there again after a restart, and offsets go on where they were.
#[test]
fn a_data_folder_outlives_the_broker() {
    let scratch = Scratch::new("sandbox-broker");
    let folder = scratch.path().join("data");
    let first = Sandbox::start(kept_in(&folder));
    let write = |server: &str, lines: &str| run_kcat(lines, &["-b", server, "-t", "t", "-p", "1", "-P", "-z", "lz4"]);
    let read = |server: &str| {
        run_kcat("", &["-b", server, "-t", "t", "-p", "1", "-C", "-o", "beginning", "-e", "-q", "-f", "%o %s\n"])
            .stdout_text()
    };
    let member = |server: &str, count: &str| {
        let settings = ["-X", "auto.offset.reset=earliest"];
        run_kcat("", &[&["-b", server, "-G", "kept", "-c", count, "-q"][..], &settings, &["t"]].concat()).stdout_text()
    };
    let _output = write(&first.server(), "a\nb\n");
    assert_eq!(member(&first.server(), "2"), "a\nb\n");
    first.stop();

    let second = Sandbox::start(kept_in(&folder));
    let _output = write(&second.server(), "c\n");
    assert_eq!(read(&second.server()), "0 a\n1 b\n2 c\n");
    assert_eq!(member(&second.server(), "1"), "c\n");
    second.stop();
}

#[test]
fn a_data_folder_belongs_to_one_process() {
    let scratch = Scratch::new("sandbox-broker");
    let first = Sandbox::start(kept_in(scratch.path()));
    let second = first.runtime.block_on(broker::start(kept_in(scratch.path())));
    let error = second.expect_err("the folder is taken").to_string();
    assert!(error.contains("in use by another sandbox"), "{error}");
    first.stop();
    Sandbox::start(kept_in(scratch.path())).stop();
}

/// What strangers may send: each is answered with the end of the connection, and the others are served on.
#[test]
fn nonsense_ends_its_own_connection_only() {
    let sandbox = Sandbox::start(one_topic(1));
    let server = sandbox.server();
    let nonsense: [&[u8]; 6] = [
        // Frames of -1 bytes, of 2 GiB, and of a size that is allowed but never comes.
        &[0xff, 0xff, 0xff, 0xff],
        &[0x7f, 0xff, 0xff, 0xff],
        &[0x06, 0x00, 0x00, 0x00, 1, 2, 3],
        // An empty frame, an unknown API, and another protocol.
        &[0, 0, 0, 0],
        &[0, 0, 0, 10, 0x03, 0xe7, 0, 0, 0, 0, 0, 1, 0xff, 0xff],
        b"GET / HTTP/1.1\r\nHost: broker\r\n\r\n",
    ];
    for bytes in nonsense {
        let mut stream = TcpStream::connect(&server).expect("the broker listens");
        stream.set_read_timeout(Some(LIMIT)).expect("a timeout can be set");
        stream.write_all(bytes).expect("the broker reads");
        // A frame that never comes is waited for; its sender has to give up.
        stream.shutdown(std::net::Shutdown::Write).expect("half of a connection can be closed");
        let mut answer = Vec::new();
        // The end, or a reset because the broker did not care for the rest.
        let _ended = stream.read_to_end(&mut answer);
        assert!(answer.is_empty(), "{bytes:?} was answered with {answer:?}");
    }
    let _output = run_kcat("x\n", &["-b", &server, "-t", "t", "-P"]);
    sandbox.stop();
}

/// Records in memory have a bound; beyond it a producer is refused, and what is there stays readable.
#[test]
fn memory_has_an_end() {
    let sandbox = Sandbox::start(BrokerConfig { memory_bytes_max: 1_000, ..one_topic(1) });
    let server = sandbox.server();
    let _output = run_kcat("kept\n", &["-b", &server, "-t", "t", "-P"]);
    let large = format!("{}\n", "x".repeat(2_000));
    let arguments = ["-b", &server, "-t", "t", "-P", "-X", "message.timeout.ms=3000", "-X", "retries=2"];
    let refused = run(kcat(&arguments), large.as_bytes(), LIMIT);
    assert_ne!(refused.code, 0, "{}", refused.describe());
    let read = run_kcat("", &["-b", &server, "-t", "t", "-C", "-o", "beginning", "-e", "-q"]);
    assert_eq!(read.stdout_text(), "kept\n");
    sandbox.stop();
}

/// A line of `/proc/PID/status`, in KiB.
fn memory_kib(process: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("the process is alive");
    let line = status.lines().find(|line| line.starts_with(field)).expect("the field is there");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}

/// 60 MB in 5,000 partitions, read by a process whose consumer may hold 16 MiB: its peak is what an idle one takes, the budget,
/// and for each partition some kilobytes of metadata and state.
#[test]
fn five_thousand_partitions_are_read_within_the_budget() {
    const LINES: usize = 12;
    const LINE_BYTES: usize = 1024;
    let topics = vec![("few".to_owned(), 1), ("many".to_owned(), 5_000)];
    let sandbox = Sandbox::start(BrokerConfig { brokers: 3, topics, ..BrokerConfig::default() });
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for _ in 0..LINES {
        builder.push(0, None, Some(&[b'v'; LINE_BYTES - 1]), &[]);
    }
    let batch = Bytes::from(builder.finish(0).expect("a batch"));
    sandbox.runtime.block_on(async {
        let client = Client::connect(ClientConfig::new([sandbox.server()])).await.expect("the broker is up");
        for (topic, partitions) in [("few", 1), ("many", 5_000)] {
            for partition in 0..partitions {
                client.produce(topic, partition, batch.clone(), Acks::Leader).await.expect("it is stored");
            }
        }
    });
    let scratch = Scratch::new("many-partitions");
    let read = |topic: &str, partitions: usize| {
        let mut reader = cli::forebay(&scratch);
        reader.args([
            "kafka",
            "consume",
            "--bootstrap-server",
            &sandbox.server(),
            "--topic",
            topic,
            "--from-beginning",
        ]);
        let log = scratch.path().join(topic);
        let mut reader = Server::start("the reader", reader, &log);
        let bytes = u64::try_from(partitions * LINES * LINE_BYTES).expect("small");
        // It goes on waiting for more when it has printed all that there is.
        reader.wait_until("every line", LIMIT, |_| std::fs::metadata(&log).is_ok_and(|log| log.len() >= bytes));
        memory_kib(reader.id(), "VmHWM")
    };
    let (few, many) = (read("few", 1), read("many", 5_000));
    let more = many.saturating_sub(few);
    assert!(more < (16 + 16) * 1024, "{more} KiB above the {few} KiB of a reader of one partition");
    sandbox.stop();
}
