//! `forebay kafka` on real clusters: what it does is seen by Kafka's own tools, and it sees what they do.

mod administration;
mod cat;

use std::time::{Duration, Instant};

use forebay_proto_tests::cli::{forebay, program};
use forebay_proto_tests::kafka::{KafkaCluster, Tool, Version};
use forebay_proto_tests::process::{Output, Running, command, run};
use forebay_proto_tests::schema::Documents;
use forebay_proto_tests::scratch::Scratch;

const LIMIT: Duration = Duration::from_secs(120);

fn call(scratch: &Scratch, cluster: &KafkaCluster, input: &str, arguments: &[&str]) -> Output {
    let (tool, rest) = arguments.split_first().expect("a tool");
    let mut forebay = forebay(scratch);
    forebay.args(["kafka", tool, "--bootstrap-server", &cluster.server()]).args(rest);
    run(forebay, input.as_bytes(), LIMIT).expect_success()
}

fn walk(version: Version, replication_factor: &str) {
    let cluster = KafkaCluster::shared(version);
    let scratch = Scratch::new("kafka-cli");
    let call = |input: &str, arguments: &[&str]| call(&scratch, &cluster, input, arguments);
    let topic = "forebay-kafka-cli";
    let create = ["topics", "--create", "--topic", topic, "--partitions", "10", "--replication-factor"];
    let created = call("", &[&create[..], &[replication_factor]].concat());
    assert_eq!(created.stdout_text(), format!("Created topic {topic}.\n"));
    // Brokers of 1.0.1 hear of a new topic one after the other.
    let deadline = Instant::now() + LIMIT;
    while !call("", &["topics", "--list"]).stdout_text().lines().any(|line| line == topic) {
        assert!(Instant::now() < deadline, "{topic} is not listed");
    }

    call("123\nabc\n{\"event_id\":\"e1\"}\n", &["produce", "--topic", topic]);
    let told = cluster.consume(topic);
    let mut values: Vec<_> = told.iter().map(|record| (record.key.clone(), record.value.clone())).collect();
    values.sort();
    let wanted = ["123", "abc", "{\"event_id\":\"e1\"}"].map(|value| (None, Some(value.as_bytes().to_vec())));
    assert_eq!(values, wanted);

    let consume = ["consume", "--topic", topic, "--from-beginning", "--max-messages", "3", "--group", topic];
    let consumed = call("", &consume).stdout_text();
    let mut lines: Vec<&str> = consumed.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["123", "abc", "{\"event_id\":\"e1\"}"]);

    let theirs = cluster.group(topic);
    assert_eq!(theirs.iter().filter_map(|row| row.committed).sum::<i64>(), 3);
    let groups = call("", &["groups", "--list"]).stdout_text();
    assert!(groups.lines().any(|line| line == topic), "{groups}");
    let described = call("", &["groups", "--compat", "1.0.1", "--describe", "--group", topic]).stdout_text();
    let mut ours: Vec<(i32, Option<i64>, Option<i64>)> = Vec::new();
    for row in described.lines().filter(|line| line.starts_with(topic)) {
        let cells: Vec<&str> = row.split_whitespace().collect();
        let number = |cell: &str| cell.parse::<i64>().ok();
        ours.push((cells[1].parse().expect("a partition"), number(cells[2]), number(cells[3])));
    }
    ours.sort_unstable();
    let theirs: Vec<_> = theirs.iter().map(|row| (row.partition, row.committed, row.end)).collect();
    assert_eq!(ours, theirs, "{described}");
    call("", &["topics", "--delete", "--topic", topic]);
}

#[test]
fn on_kafka_1_0_1() {
    walk(Version::V1_0_1, "3");
}

#[test]
fn on_kafka_4_4_0() {
    walk(Version::V4_4_0, "1");
}

/// The program under a script's name.
fn script(scratch: &Scratch, name: &str, input: &str, arguments: &[&str]) -> Output {
    let link = scratch.path().join(name);
    if !link.exists() {
        std::os::unix::fs::symlink(program(), &link).expect("a link can be made");
    }
    let mut command = command(&link);
    command.current_dir(scratch.path()).args(arguments);
    run(command, input.as_bytes(), LIMIT).expect_success()
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

/// Asks both until they agree. Other tests' topics and groups come and go on the same cluster, and a broker hears of a change
/// after its neighbour did, so that two answers a second apart may rightly differ.
fn agree<T: PartialEq + std::fmt::Debug>(ours: impl Fn() -> T, theirs: impl Fn() -> T) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        let (ours, theirs) = (ours(), theirs());
        if ours == theirs {
            return ours;
        }
        assert!(Instant::now() < deadline, "--- ours\n{ours:#?}\n--- theirs\n{theirs:#?}");
    }
}

/// What a program printed on either output, the lines of the first one sorted.
fn lines_and_errors(output: &Output) -> (Vec<String>, String) {
    let mut lines: Vec<String> = output.stdout_text().lines().map(ToOwned::to_owned).collect();
    lines.sort_unstable();
    (lines, output.stderr_text())
}

/// The reference walkthrough as it is typed, with forebay under the names of Kafka's scripts.
#[test]
fn the_walkthrough_runs_as_it_is_typed() {
    let cluster = KafkaCluster::shared(Version::V1_0_1);
    let scratch = Scratch::new("walkthrough");
    let zookeeper = cluster.zookeeper_address().expect("1.0.1 has one");
    let script = |name: &str, input: &str, arguments: &[&str]| script(&scratch, name, input, arguments);
    let real = |tool: Tool, arguments: &[&str]| {
        let mut command = cluster.tool(tool);
        command.args(arguments);
        run(command, b"", LIMIT).expect_success()
    };

    // 1. The topic, by ZooKeeper's address.
    let create = ["--partitions", "10", "--replication-factor", "3", "--topic", "testkafka", "--create"];
    let created = script("kafka-topics.sh", "", &[&["--zookeeper", &zookeeper][..], &create].concat());
    assert_eq!(created.stdout_text(), "Created topic \"testkafka\".\n");
    let twin = create.map(|word| if word == "testkafka" { "testkafka-twin" } else { word });
    let theirs = real(Tool::Topics, &twin);
    assert_eq!(created.stdout_text(), theirs.stdout_text().replace("-twin", ""));
    let listed = agree(
        || script("kafka-topics.sh", "", &["--list", "--zookeeper", &zookeeper]).stdout_text(),
        || real(Tool::Topics, &["--list"]).stdout_text(),
    );
    assert!(listed.lines().any(|line| line == "testkafka"), "{listed}");

    // 2 and 3. Records in and out.
    let servers = cluster.servers();
    let groups = || script("kafka-consumer-groups.sh", "", &["--bootstrap-server", &servers, "--list"]);
    let earlier = groups().stdout_text();
    script("kafka-console-producer.sh", "123\nabc\n", &["--broker-list", &servers, "--topic", "testkafka"]);
    let consume = ["--bootstrap-server", &servers, "--topic", "testkafka", "--from-beginning", "--max-messages", "2"];
    let consumed = script("kafka-console-consumer.sh", "", &consume);
    assert_eq!(sorted(&consumed.stdout_text()), ["123", "abc"]);

    // 6. The group with the random number, and its offsets.
    let (listed, _) = agree(|| lines_and_errors(&groups()), || lines_and_errors(&real(Tool::Groups, &["--list"])));
    let is_new = |line: &&String| line.starts_with("console-consumer-") && earlier.lines().all(|old| old != **line);
    // Other tests have such groups on this cluster too, and theirs may be gone a moment later.
    let has_read = |group: &&String| {
        let mut describe = cluster.tool(Tool::Groups);
        describe.args(["--describe", "--group", group]);
        run(describe, b"", LIMIT).stdout_text().lines().any(|line| line.starts_with("testkafka "))
    };
    let group = listed.iter().filter(is_new).find(has_read).expect("the consumer's group");
    let describe = ["--describe", "--group", group];
    let both = |output: Output| (output.stdout_text(), output.stderr_text());
    let (described, _) = agree(
        || both(script("kafka-consumer-groups.sh", "", &[&["--bootstrap-server", &servers][..], &describe].concat())),
        || both(real(Tool::Groups, &describe)),
    );
    assert_eq!(described.lines().filter(|line| line.starts_with("testkafka ")).count(), 10, "{described}");

    // What the real consumer prints, and says at its end.
    let theirs = lines_and_errors(&real(Tool::Consumer, &consume[2..]));
    assert_eq!(lines_and_errors(&consumed), theirs);

    // Beside the walkthrough: what one looks at next.
    for arguments in [&["--describe", "--topic", "testkafka"][..], &["--describe"]] {
        agree(
            || script("kafka-topics", "", &[&["--zookeeper", &zookeeper][..], arguments].concat()).stdout_text(),
            || real(Tool::Topics, arguments).stdout_text(),
        );
    }
    let offsets = ["--topic", "testkafka", "--time", "-1"];
    let lines = |output: Output| lines_and_errors(&output).0;
    agree(
        || lines(script("kafka-get-offsets.sh", "", &[&["--broker-list", &servers][..], &offsets].concat())),
        || lines(real(Tool::Offsets, &offsets)),
    );
    let deleted =
        |topic: &str| script("kafka-topics.sh", "", &["--zookeeper", &zookeeper, "--delete", "--topic", topic]);
    let theirs = real(Tool::Topics, &["--delete", "--topic", "testkafka-twin"]).stdout_text();
    assert_eq!(deleted("testkafka").stdout_text(), theirs.replace("-twin", ""));
}

/// What the tools of a release print, side by side with theirs. 1.0.1 to the byte, order included; later ones line by line.
fn side_by_side(version: Version) {
    let cluster = KafkaCluster::shared(version);
    let scratch = Scratch::new("side-by-side");
    let servers = cluster.servers();
    let topic = "side.by.side";
    let factor = if version == Version::V1_0_1 { "3" } else { "1" };
    let ours = |name: &str, arguments: &[&str]| {
        script(&scratch, name, "", &[&["--bootstrap-server", &servers][..], arguments].concat())
    };
    let create = ["--create", "--topic", topic, "--partitions", "6", "--replication-factor", factor];
    let created = ours(
        "kafka-topics",
        &[&create[..], &["--config", "cleanup.policy=compact", "--config", "retention.ms=1000"]].concat(),
    );
    assert!(created.stdout_text().starts_with("WARNING: Due to limitations in metric names"), "{}", created.describe());
    // A member that reads, and offsets that it has committed.
    let mut kcat = command("kcat");
    kcat.args([
        "-b",
        &servers,
        "-G",
        "side",
        "-X",
        "auto.offset.reset=earliest",
        "-X",
        "auto.commit.interval.ms=100",
        topic,
    ]);
    let member = Running::start(kcat, b"");
    cluster.produce(topic, &"k\tv\n".repeat(20), &["--property", "parse.key=true"]);
    let deadline = Instant::now() + LIMIT;
    let describe = ["--describe", "--group", "side"];
    loop {
        let output = {
            let mut forebay = forebay(&scratch);
            forebay.args(["kafka", "groups", "--bootstrap-server", &servers, "-o", "json"]).args(describe);
            run(forebay, b"", LIMIT)
        };
        let groups: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let offsets = groups[0]["offsets"].as_array().cloned().unwrap_or_default();
        let committed: i64 = offsets.iter().filter_map(|row| row["currentOffset"].as_i64()).sum();
        if groups[0]["state"] == "Stable" && offsets.len() == 6 && committed == 20 {
            // With a member and its partitions.
            let documents = Documents::default();
            documents.add(&scratch, &[&["groups"][..], &describe].concat(), &output.stdout_text());
            documents.judge();
            break;
        }
        assert!(Instant::now() < deadline, "{}", output.describe());
    }
    let mut cases: Vec<(&str, Tool, Vec<&str>)> = vec![
        ("kafka-consumer-groups", Tool::Groups, describe.to_vec()),
        ("kafka-consumer-groups", Tool::Groups, vec!["--list"]),
        ("kafka-get-offsets", Tool::Offsets, vec!["--topic", topic, "--time", "-2"]),
        ("kafka-topics", Tool::Topics, vec!["--describe", "--topic", topic]),
        ("kafka-topics", Tool::Topics, vec!["--list"]),
    ];
    if version != Version::V1_0_1 {
        for rest in [&["--members"][..], &["--members", "--verbose"], &["--state"], &["--offsets"]] {
            cases.push(("kafka-consumer-groups", Tool::Groups, [&describe[..], rest].concat()));
        }
        cases.push(("kafka-consumer-groups", Tool::Groups, vec!["--list", "--state"]));
    }
    for (name, tool, arguments) in &cases {
        let is_exact = version == Version::V1_0_1 && !arguments.contains(&"--list") && *tool != Tool::Offsets;
        let told = |output: Output| {
            let mut lines: Vec<String> = output.stdout_text().lines().map(ToOwned::to_owned).collect();
            if !is_exact {
                lines.sort_unstable();
            }
            (*name, arguments.clone(), lines)
        };
        agree(
            || told(ours(name, arguments)),
            || {
                let mut command = cluster.tool(*tool);
                command.args(arguments);
                told(run(command, b"", LIMIT).expect_success())
            },
        );
    }
    drop(member);
    ours("kafka-topics", &["--delete", "--topic", topic]);
}

#[test]
fn tools_of_1_0_1_side_by_side() {
    side_by_side(Version::V1_0_1);
}

#[test]
fn tools_of_2_8_2_side_by_side() {
    side_by_side(Version::V2_8_2);
}

#[test]
fn tools_of_4_side_by_side() {
    side_by_side(Version::V4_4_0);
}
