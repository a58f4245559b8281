//! `forebay kafka`: what it writes is read by kcat and Kafka's own tools, what it prints is compared with theirs.

mod flags;
mod pipes;

use std::env;
use std::time::Duration;

use forebay::sandbox::broker::{self, Broker, BrokerConfig, KafkaVersion};
use forebay_proto_tests::cli::forebay;
use forebay_proto_tests::java::{self, KAFKA_1_0_1};
use forebay_proto_tests::port;
use forebay_proto_tests::process::{Output, Running, command, run};
use forebay_proto_tests::scratch::Scratch;
use rustix::process::{Pid, Signal, kill_process};
use tokio::runtime::{Builder, Runtime};

const LIMIT: Duration = Duration::from_secs(120);

/// Three embedded brokers that look like Kafka 1.0.1, with topic `t` of `partitions` partitions.
struct Cluster {
    broker: Broker,
    scratch: Scratch,
    // After the broker, which stops on it.
    runtime: Runtime,
}

impl Cluster {
    fn start(partitions: i32) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        let config = BrokerConfig {
            brokers: 3,
            topics: vec![("t".to_owned(), partitions)],
            auto_create: false,
            version: KafkaVersion::V1_0_1,
            ..BrokerConfig::default()
        };
        let broker = runtime.block_on(broker::start(config)).expect("the brokers start");
        Self { broker, scratch: Scratch::new("kafka-cli"), runtime }
    }

    fn start_forebay(&self, input: &str, arguments: &[&str]) -> Running {
        let mut forebay = forebay(&self.scratch);
        let (tool, rest) = arguments.split_first().expect("a tool");
        forebay.args(["kafka", tool, "--bootstrap-server", &self.broker.address()]).args(rest);
        Running::start(forebay, input.as_bytes())
    }

    fn forebay(&self, input: &str, arguments: &[&str]) -> Output {
        self.start_forebay(input, arguments).finish(LIMIT)
    }

    fn kcat(&self, input: &str, arguments: &[&str]) -> String {
        let path = env::var_os("PATH").unwrap_or_default();
        let found = env::split_paths(&path).any(|folder| folder.join("kcat").is_file());
        assert!(found, "kcat is missing: run `./proto-tests/run setup` first");
        let mut kcat = command("kcat");
        kcat.args(["-b", &self.broker.address(), "-q"]).args(arguments);
        run(kcat, input.as_bytes(), LIMIT).expect_success().stdout_text()
    }

    fn stop(self) {
        self.runtime.block_on(self.broker.shutdown());
    }
}

/// `forebay kafka` without a cluster of ours.
fn alone(arguments: &[&str]) -> Output {
    let scratch = Scratch::new("kafka-cli");
    let mut forebay = forebay(&scratch);
    forebay.arg("kafka").args(arguments);
    run(forebay, b"", LIMIT)
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn each_line_is_a_record_without_a_key() {
    let cluster = Cluster::start(3);
    for (codec, first) in [("none", 0), ("gzip", 1), ("snappy", 2), ("lz4", 3), ("zstd", 4)] {
        let arguments = ["produce", "--topic", "t", "--compression-codec", codec];
        // zstd is younger than the release that is played here: its refusal must be told.
        let output = cluster.forebay("123\nabc\n\n", &arguments);
        if codec == "zstd" {
            assert_eq!(output.code, 78, "{}", output.describe());
            assert!(output.stderr_text().contains("zstd needs Kafka 2.1"), "{}", output.describe());
            continue;
        }
        output.expect_success();
        // Lengths of key and value, -1 for null: one record went to each partition.
        let read = cluster.kcat("", &["-t", "t", "-C", "-o", &first.to_string(), "-e", "-f", "%p %o %K %S %s\n"]);
        let wanted = [format!("0 {first} -1 3 123"), format!("1 {first} -1 3 abc"), format!("2 {first} -1 0 ")];
        assert_eq!(sorted(&read), wanted);
    }
    cluster.stop();
}

#[test]
fn order_holds_within_a_partition_whatever_the_size() {
    let cluster = Cluster::start(2);
    let lines: String = (0..50_000).map(|number| format!("{number:0>60}\n")).collect();
    cluster.forebay(&lines, &["produce", "--topic", "t", "--partition", "1"]).expect_success();
    let read = cluster.kcat("", &["-t", "t", "-p", "1", "-C", "-o", "beginning", "-e"]);
    assert!(read == lines, "kcat read {} lines", read.lines().count());
    let consumed = cluster.forebay("", &["consume", "--topic", "t", "--from-beginning", "--max-messages", "50000"]);
    assert!(consumed.expect_success().stdout_text() == lines, "forebay read other lines");
    cluster.stop();
}

#[test]
fn consuming_in_a_group_goes_on_where_it_was() {
    let cluster = Cluster::start(1);
    cluster.kcat("a\nb\nc\nd\n", &["-t", "t", "-P", "-z", "lz4"]);
    let consume = |count: &str| {
        let arguments = ["consume", "--topic", "t", "--from-beginning", "--group", "g", "--max-messages", count];
        cluster.forebay("", &arguments).expect_success()
    };
    // All four are in one batch: what was not printed is not committed.
    let first = consume("3");
    assert_eq!(first.stdout_text(), "a\nb\nc\n");
    assert_eq!(first.stderr_text(), "Processed a total of 3 messages\n");
    assert_eq!(consume("1").stdout_text(), "d\n");
    let silent = ["consume", "--topic", "t", "--from-beginning", "--group", "g", "--timeout-ms", "300"];
    assert_eq!(cluster.forebay("", &silent).expect_success().stdout_text(), "");
    cluster.stop();
}

#[test]
fn without_from_beginning_only_what_comes_is_printed() {
    let cluster = Cluster::start(1);
    cluster.kcat("old\n", &["-t", "t", "-P"]);
    let mut reader = cluster.start_forebay("", &["consume", "--topic", "t", "--max-messages", "1"]);
    // Until it has found the end, new records are old ones to it.
    while !reader.has_ended() {
        cluster.kcat("new\n", &["-t", "t", "-P"]);
    }
    assert_eq!(reader.finish(LIMIT).expect_success().stdout_text(), "new\n");
    cluster.stop();
}

#[test]
fn ctrl_c_ends_consuming_and_commits() {
    let cluster = Cluster::start(1);
    cluster.kcat("a\nb\n", &["-t", "t", "-P"]);
    let reader = cluster.start_forebay("", &["consume", "--topic", "t", "--from-beginning", "--group", "g"]);
    // It commits by itself after five seconds; seeing that is seeing that it runs.
    let described = loop {
        let output = cluster.forebay("", &["groups", "--describe", "--group", "g"]);
        if output.code == 0 {
            break output.stdout_text();
        }
    };
    assert!(described.lines().last().is_some_and(|row| row.starts_with("g  ")), "{described}");
    kill_process(Pid::from_raw(i32::try_from(reader.id()).expect("a process id")).expect("not 0"), Signal::INT)
        .expect("it runs");
    let output = reader.finish(LIMIT).expect_success();
    assert_eq!(output.stdout_text(), "a\nb\n");
    assert_eq!(output.stderr_text(), "Processed a total of 2 messages\n");
    cluster.stop();
}

/// Groups of two clients, described by the real tool of 1.0.1 and by ours: the same lines, in another order at most.
#[test]
fn groups_are_described_as_1_0_1_does() {
    let cluster = Cluster::start(4);
    cluster.kcat("a\nb\nc\n", &["-t", "t", "-P", "-p", "2"]);
    cluster.kcat("", &["-G", "done", "-c", "2", "-X", "auto.offset.reset=earliest", "t"]);
    cluster
        .forebay("", &["consume", "--topic", "t", "--from-beginning", "--group", "simple", "--max-messages", "1"])
        .expect_success();
    let real = |arguments: &[&str]| {
        let mut tool = java::tool(KAFKA_1_0_1, "kafka.admin.ConsumerGroupCommand");
        tool.args(["--bootstrap-server", &cluster.broker.address()]).args(arguments);
        run(tool, b"", LIMIT).expect_success()
    };
    for group in ["done", "simple"] {
        let describe = ["--describe", "--group", group];
        let (theirs, ours) = (
            real(&describe),
            cluster.forebay("", &[&["groups", "--compat", "1.0.1"][..], &describe].concat()).expect_success(),
        );
        assert_eq!(ours.stdout_text(), theirs.stdout_text());
        assert_eq!(ours.stderr_text().trim_end(), theirs.stderr_text().trim_end());
    }
    let listed = cluster.forebay("", &["groups", "--list", "--compat", "1.0.1"]).expect_success();
    assert_eq!(listed.stdout_text(), "done\nsimple\n");
    let theirs = real(&["--list"]);
    assert_eq!(sorted(&theirs.stdout_text()), sorted(&listed.stdout_text()));
    assert_eq!(listed.stderr_text().trim_end(), theirs.stderr_text().trim_end());
    cluster.stop();
}

#[test]
fn topics_come_and_go() {
    let cluster = Cluster::start(1);
    let create = ["topics", "--create", "--topic", "new", "--partitions", "4", "--replication-factor", "2"];
    let created = cluster.forebay("", &[&create[..], &["--config", "message.timestamp.type=LogAppendTime"]].concat());
    assert_eq!(created.expect_success().stdout_text(), "Created topic new.\n");
    let again = cluster.forebay("", &create);
    assert_eq!(again.code, 1, "{}", again.describe());
    assert!(again.stderr_text().contains("TOPIC_ALREADY_EXISTS"), "{}", again.describe());
    let quiet = cluster.forebay("", &[&create[..], &["--if-not-exists"]].concat());
    assert_eq!(quiet.expect_success().stdout_text(), "");
    assert_eq!(cluster.forebay("", &["topics", "--list"]).expect_success().stdout_text(), "new\nt\n");
    let described = cluster.forebay("", &["topics", "--describe", "--topic", "new"]).expect_success().stdout_text();
    assert!(described.starts_with("Topic: new\tPartitionCount: 4\tReplicationFactor: 2"), "{described}");
    assert_eq!(described.lines().count(), 5, "{described}");
    cluster.forebay("", &["topics", "--delete", "--topic", "new"]).expect_success();
    assert_eq!(cluster.forebay("", &["topics", "--list"]).expect_success().stdout_text(), "t\n");
    cluster.stop();
}

#[test]
fn what_cannot_be_done_is_said() {
    let cluster = Cluster::start(1);
    for (arguments, code, said) in [
        (&["consume", "--topic", "none", "--from-beginning"][..], 1, "\"none\""),
        (&["produce", "--topic", "none"], 1, "\"none\""),
        (&["produce", "--topic", "t", "--partition", "7"], 2, "no partition 7"),
        (&["topics", "--create", "--topic", "a/b"], 1, "INVALID_TOPIC_EXCEPTION"),
        (&["topics", "--create", "--topic", "wide", "--replication-factor", "9"], 1, "INVALID_REPLICATION_FACTOR"),
        (&["topics", "--delete", "--topic", "none"], 1, "\"none\""),
        (&["topics", "--describe", "--topic", "none"], 1, "\"none\""),
        (&["groups", "--describe", "--group", "none"], 1, "Consumer group 'none' does not exist."),
        (&["topics"], 2, "--create"),
        (&["groups", "--describe"], 2, "--group"),
        (&["groups", "--reset-offsets", "--group", "g", "--topic", "t"], 2, "--to-earliest"),
        (&["groups", "--reset-offsets", "--group", "g", "--to-earliest"], 2, "--all-topics"),
        (&["offsets", "--topic", "none"], 1, "\"none\""),
        (&["consume", "--topic", "t", "--formatter", "a.b.Other"], 2, "NoOpMessageFormatter"),
    ] {
        let output = cluster.forebay("x\n", arguments);
        assert_eq!(output.code, code, "{}", output.describe());
        assert!(output.stderr_text().contains(said), "{said:?} in {}", output.describe());
    }
    cluster.stop();

    let nobody = format!("127.0.0.1:{}/kafka", port::free());
    let output = alone(&["topics", "--list", "--zookeeper", &nobody, "--timeout", "1"]);
    assert_eq!((output.code, output.stderr_text().contains(&nobody)), (69, true), "{}", output.describe());
    assert!(output.stderr_text().contains("--bootstrap-server HOST:9092"), "{}", output.describe());
    let output = alone(&["topics", "--list"]);
    assert_eq!((output.code, output.stderr_text().contains("--bootstrap-server")), (2, true), "{}", output.describe());
    let nobody = format!("127.0.0.1:{}", port::free());
    let output = alone(&["topics", "--list", "--bootstrap-server", &nobody, "--timeout", "1"]);
    assert_eq!((output.code, output.stderr_text().contains(&nobody)), (69, true), "{}", output.describe());
}

/// Offsets are looked up, and a group's are moved: the plan first, and only --execute does it.
#[test]
fn offsets_are_looked_up_and_reset() {
    let cluster = Cluster::start(2);
    cluster.kcat("a\nb\nc\nd\n", &["-t", "t", "-P", "-p", "1"]);
    let text = |arguments: &[&str]| cluster.forebay("", arguments).expect_success().stdout_text();
    assert_eq!(text(&["offsets", "--topic", "t"]), "t:0:0\nt:1:4\n");
    assert_eq!(text(&["offsets", "--topic-partitions", "t:1-", "--time", "-2"]), "t:1:0\n");
    let group = ["--group", "g", "--topic", "t:1"];
    let reset = |rest: &[&str]| text(&[&["groups", "--reset-offsets"][..], &group, rest].concat());
    assert_eq!(reset(&["--to-offset", "9", "--export"]), "t,1,4\n\n");
    assert!(cluster.forebay("", &["groups", "--describe", "--group", "g"]).code == 1, "nothing was to be set");
    let planned = reset(&["--to-latest", "--execute"]);
    assert_eq!(
        planned,
        "\nGROUP           TOPIC           PARTITION  NEW-OFFSET\ng               t               1          4\n"
    );
    let shifted = text(&[
        "groups",
        "--reset-offsets",
        "--group",
        "g",
        "--all-topics",
        "--shift-by",
        "-1",
        "--execute",
        "-o",
        "json",
    ]);
    assert_eq!(
        shifted,
        "{\"executed\":true,\"offsets\":[{\"group\":\"g\",\"topic\":\"t\",\"partition\":1,\"newOffset\":3}]}\n"
    );
    let described = text(&["groups", "--describe", "--group", "g"]);
    let row: Vec<&str> = described.lines().last().unwrap_or_default().split_whitespace().collect();
    assert!(row.starts_with(&["g", "t", "1", "3", "4", "1"]), "{described}");
    cluster.stop();
}

/// The fields of a record as the console consumer prints them, and as JSON.
#[test]
fn records_are_printed_with_what_was_asked_for() {
    let cluster = Cluster::start(1);
    cluster.kcat("k=v\n", &["-t", "t", "-P", "-K", "=", "-H", "h=1"]);
    let consume = ["consume", "--topic", "t", "--partition", "0", "--offset", "0", "--max-messages", "1"];
    let properties = ["print.key", "print.offset", "print.partition", "print.headers"];
    let properties: Vec<String> = properties.iter().map(|name| format!("{name}=true")).collect();
    let mut arguments = consume.to_vec();
    for property in &properties {
        arguments.extend(["--property", property]);
    }
    let printed = cluster.forebay("", &arguments).expect_success().stdout_text();
    assert_eq!(printed, "Partition:0\tOffset:0\th:1\tk\tv\n");
    let printed = cluster.forebay("", &[&consume[..], &["-o", "json"]].concat()).expect_success().stdout_text();
    assert!(printed.starts_with("{\"topic\":\"t\",\"partition\":0,\"offset\":0,\"timestamp\":"), "{printed}");
    assert!(
        printed.ends_with("\"headers\":[{\"key\":\"h\",\"value\":\"1\"}],\"key\":\"k\",\"value\":\"v\"}\n"),
        "{printed}"
    );
    cluster.stop();
}

/// `forebay cat` and the real kcat on the same records: the same bytes, the same exit code, the same talk.
#[test]
fn cat_prints_what_kcat_prints() {
    let cluster = Cluster::start(2);
    let server = cluster.broker.address();
    let both = |input: &[u8], arguments: &[&str]| {
        let mut kcat = command("kcat");
        kcat.args(["-b", &server]).args(arguments);
        let mut cat = forebay(&cluster.scratch);
        cat.args(["cat", "-b", &server]).args(arguments);
        (run(kcat, input, LIMIT), run(cat, input, LIMIT))
    };
    // Written by forebay, read by both; keys, nulls, headers, and bytes that are no text.
    let write = |arguments: &[&str], input: &[u8]| {
        let mut cat = forebay(&cluster.scratch);
        cat.args(["cat", "-b", &server, "-P", "-t", "t", "-p", "0"]).args(arguments);
        let _output = run(cat, input, LIMIT).expect_success();
    };
    write(&["-K", ":", "-H", "a=1", "-H", "b"], b"k:v\nk2:\"q\"\\\t\x01\xc3\xa4\n");
    write(&["-K", ":", "-Z", "-z", "gzip"], b"k3:\n:v4\n");
    write(&["-k", "fixed", "-D", ";;"], b"one;;two\n;;;;three");
    let consume = ["-C", "-t", "t", "-p", "0", "-e"];
    for rest in [
        &[][..],
        &["-K", "="],
        &["-Z", "-K", "\\t", "-D", "\\x7c\\n"],
        &["-J"],
        &["-f", "%t[%p]@%o %T %k/%K %s/%S %h %%\\x41\\t\\n"],
        &["-f", "%R%s\\n", "-o", "2"],
        &["-o", "-2"],
        &["-o", "end"],
        &["-o", "3", "-c", "2"],
        &["-q", "-o", "beginning", "-c", "1"],
        &["-s", "value=c$", "-o", "1"],
        &["-s", "key=c", "-f", "%k|"],
        &["-o", "s@1", "-q"],
        &["-o", "e@1"],
    ] {
        let (theirs, ours) = both(b"", &[&consume[..], rest].concat());
        assert_eq!(
            (ours.stdout_text(), ours.code),
            (theirs.stdout_text(), theirs.code),
            "{rest:?}\n{}",
            theirs.describe()
        );
        assert_eq!(ours.stderr_text(), theirs.stderr_text(), "{rest:?}");
    }
    for arguments in [
        &["-Q", "-t", "t:0:-1"][..],
        &["-Q", "-t", "t:0:-2"],
        &["-Q", "-t", "t:0:1"],
        &["-Q", "-t", "t:0:99999999999999"],
        &["-Q", "-J", "-t", "t:0:-1"],
    ] {
        let (theirs, ours) = both(b"", arguments);
        assert_eq!((ours.stdout_text(), ours.code), (theirs.stdout_text(), theirs.code), "{arguments:?}");
    }
    // Which broker answered is a matter of chance; the rest of the listing is not.
    let (theirs, ours) = both(b"", &["-L"]);
    let listing = |output: &Output| output.stdout_text().lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(listing(&ours), listing(&theirs));
    for arguments in
        [&["-C"][..], &["-C", "-P", "-t", "t"], &["-C", "-t", "t", "-f", "%y"], &["-C", "-t", "t", "-p", "9"]]
    {
        let (theirs, ours) = both(b"", arguments);
        assert_eq!((ours.code, ours.stdout_text()), (theirs.code, theirs.stdout_text()), "{}", ours.describe());
    }
    // Keys go to the partitions that librdkafka sends them to.
    let keyed: String = (0..100).map(|number| format!("key-{number}:x\n")).collect();
    let places = |program: &str| {
        let topic = format!("keys-{program}");
        let create = ["topics", "--create", "--topic", &topic, "--partitions", "7", "--replication-factor", "1"];
        cluster.forebay("", &create).expect_success();
        let mut writer = if program == "kcat" { command("kcat") } else { forebay(&cluster.scratch) };
        if program != "kcat" {
            writer.arg("cat");
        }
        writer.args(["-b", &server, "-P", "-t", &topic, "-K", ":"]);
        let _output = run(writer, keyed.as_bytes(), LIMIT).expect_success();
        let read = cluster.kcat("", &["-C", "-t", &topic, "-e", "-f", "%k %p\n"]);
        let mut lines: Vec<String> = read.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(places("forebay"), places("kcat"));
    cluster.stop();
}

/// Keys, headers and nulls of typed lines; one key goes to one partition.
#[test]
fn typed_lines_have_keys_and_headers() {
    let cluster = Cluster::start(3);
    let properties = ["parse.key=true", "parse.headers=true", "key.separator==", "null.marker=NIL"];
    let mut arguments = vec!["produce", "--topic", "t", "--request-required-acks", "1", "--compression-codec"];
    for property in properties {
        arguments.extend(["--property", property]);
    }
    cluster.forebay("h:1,i:2\tkey=value\nNIL\tkey=NIL\nNIL\tNIL=free\n", &arguments).expect_success();
    let read = cluster.kcat("", &["-C", "-t", "t", "-e", "-f", "%p %h %k/%K %s/%S\n"]);
    let keyed = read.lines().filter(|line| line.contains("key/3")).collect::<Vec<_>>();
    assert_eq!(keyed.len(), 2, "{read}");
    assert_eq!(keyed[0].split(' ').next(), keyed[1].split(' ').next(), "{read}");
    assert!(keyed[0].ends_with("h=1,i=2 key/3 value/5") && keyed[1].ends_with("  key/3 /-1"), "{read}");
    assert!(read.lines().any(|line| line.ends_with("  /-1 free/4")), "{read}");
    let refused = cluster.forebay("no separator\n", &["produce", "--topic", "t", "--property", "parse.key=true"]);
    assert!(refused.code == 1 && refused.stderr_text().contains("line 1"), "{}", refused.describe());
    cluster.stop();
}
