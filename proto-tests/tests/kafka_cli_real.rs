//! `forebay kafka` on real clusters: what it does is seen by Kafka's own tools, and it sees what they do.

use std::time::{Duration, Instant};

use forebay_proto_tests::cli::{forebay, program};
use forebay_proto_tests::kafka::{KafkaCluster, Tool, Version};
use forebay_proto_tests::process::{Output, Running, command, run};
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
    let list = script("kafka-topics.sh", "", &["--list", "--zookeeper", &zookeeper]);
    assert_eq!(list.stdout_text(), real(Tool::Topics, &["--list"]).stdout_text());
    assert!(list.stdout_text().lines().any(|line| line == "testkafka"));

    // 2 and 3. Records in and out.
    let servers = cluster.servers();
    script("kafka-console-producer.sh", "123\nabc\n", &["--broker-list", &servers, "--topic", "testkafka"]);
    let consume = ["--bootstrap-server", &servers, "--topic", "testkafka", "--from-beginning", "--max-messages", "2"];
    let consumed = script("kafka-console-consumer.sh", "", &consume);
    assert_eq!(sorted(&consumed.stdout_text()), ["123", "abc"]);

    // 6. The group with the random number, and its offsets.
    let list = script("kafka-consumer-groups.sh", "", &["--bootstrap-server", &servers, "--list"]);
    let theirs = real(Tool::Groups, &["--list"]);
    assert_eq!(sorted(&list.stdout_text()), sorted(&theirs.stdout_text()));
    assert_eq!(list.stderr_text(), theirs.stderr_text());
    let listed = list.stdout_text();
    let group = listed.lines().find(|line| line.starts_with("console-consumer-")).expect("the consumer's group");
    let describe = ["--describe", "--group", group];
    let ours = script("kafka-consumer-groups.sh", "", &[&["--bootstrap-server", &servers][..], &describe].concat());
    let theirs = real(Tool::Groups, &describe);
    assert_eq!(ours.stdout_text(), theirs.stdout_text());
    assert_eq!(ours.stderr_text(), theirs.stderr_text());
    assert_eq!(ours.stdout_text().lines().filter(|line| line.starts_with("testkafka ")).count(), 10);

    // Beside the walkthrough: what one looks at next.
    for arguments in [&["--describe", "--topic", "testkafka"][..], &["--describe"]] {
        let ours = script("kafka-topics", "", &[&["--zookeeper", &zookeeper][..], arguments].concat());
        assert_eq!(ours.stdout_text(), real(Tool::Topics, arguments).stdout_text());
    }
    let offsets = ["--topic", "testkafka", "--time", "-1"];
    let ours = script("kafka-get-offsets.sh", "", &[&["--broker-list", &servers][..], &offsets].concat());
    assert_eq!(sorted(&ours.stdout_text()), sorted(&real(Tool::Offsets, &offsets).stdout_text()));
    script("kafka-topics.sh", "", &["--zookeeper", &zookeeper, "--delete", "--topic", "testkafka"]);
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
    let mut differing = Vec::new();
    for (name, tool, arguments) in &cases {
        let mut command = cluster.tool(*tool);
        command.args(arguments);
        let theirs = run(command, b"", LIMIT).expect_success();
        let ours = ours(name, arguments);
        let is_exact = version == Version::V1_0_1 && !arguments.contains(&"--list") && *tool != Tool::Offsets;
        let (theirs, ours) = (theirs.stdout_text(), ours.stdout_text());
        let same = if is_exact { ours == theirs } else { sorted(&ours) == sorted(&theirs) };
        if !same {
            differing.push(format!("{name} {arguments:?}\n--- theirs\n{theirs}\n--- ours\n{ours}"));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n\n"));
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

/// The library's administration on a real cluster, through the command line: partitions, settings, records, folders, users,
/// groups and offsets, with what the release has.
fn administration(version: Version) {
    let cluster = KafkaCluster::shared(version);
    let scratch = Scratch::new("administration");
    let servers = cluster.servers();
    let try_it = |arguments: &[&str]| {
        let (tool, rest) = arguments.split_first().expect("a tool");
        let mut forebay = forebay(&scratch);
        forebay.args(["kafka", tool, "--bootstrap-server", &servers, "-o", "json"]).args(rest);
        run(forebay, b"", LIMIT)
    };
    let json = |arguments: &[&str]| -> serde_json::Value {
        serde_json::from_slice(&try_it(arguments).expect_success().stdout).expect("JSON")
    };
    let topic = "administration";
    let factor = if version == Version::V1_0_1 { "3" } else { "1" };
    json(&["topics", "--create", "--topic", topic, "--partitions", "2", "--replication-factor", factor]);
    json(&["topics", "--alter", "--topic", topic, "--partitions", "5"]);
    json(&[
        "configs",
        "--alter",
        "--topic",
        topic,
        "--add-config",
        "retention.ms=3600000,cleanup.policy=[compact,delete]",
    ]);
    json(&["configs", "--alter", "--topic", topic, "--delete-config", "cleanup.policy"]);
    let deadline = Instant::now() + LIMIT;
    loop {
        let described = json(&["topics", "--describe", "--topic", topic]);
        let own = &described[0]["configs"];
        if described[0]["partitionCount"] == 5
            && own["retention.ms"] == "3600000"
            && own.get("cleanup.policy").is_none()
        {
            break;
        }
        assert!(Instant::now() < deadline, "{described}");
    }
    cluster.produce(topic, &"x\n".repeat(50), &[]);
    let ends = json(&["offsets", "--topic", topic]);
    let first =
        ends.as_array().expect("a list").iter().find(|row| row["offset"].as_i64() > Some(0)).expect("a record").clone();
    let file = scratch.write(
        "offsets.json",
        serde_json::json!({"version": 1, "partitions": [{"topic": topic, "partition": first["partition"], "offset": -1}]}).to_string(),
    );
    let cut = json(&["delete-records", "--offset-json-file", &file.display().to_string()]);
    assert_eq!(cut[0]["lowWatermark"], first["offset"], "{cut}");
    let dirs = json(&["log-dirs", "--topic-list", topic]);
    let held = dirs["brokers"]
        .as_array()
        .expect("brokers")
        .iter()
        .flat_map(|broker| broker["logDirs"].as_array().cloned().unwrap_or_default());
    assert_eq!(
        held.map(|dir| dir["partitions"].as_array().map_or(0, Vec::len)).sum::<usize>(),
        5 * factor.parse::<usize>().expect("a number")
    );
    json(&["groups", "--reset-offsets", "--group", topic, "--topic", topic, "--to-earliest", "--execute"]);
    if version != Version::V1_0_1 {
        let gone = json(&["groups", "--delete-offsets", "--group", topic, "--topic", &format!("{topic}:0")]);
        assert!(gone[0]["error"].is_null(), "{gone}");
        assert_eq!(json(&["groups", "--describe", "--group", topic])[0]["offsets"].as_array().map(Vec::len), Some(4));
        assert_eq!(json(&["groups", "--delete", "--group", topic])["deleted"], serde_json::json!([topic]));
        json(&[
            "configs",
            "--alter",
            "--user",
            "alice",
            "--add-config",
            "SCRAM-SHA-256=[iterations=4096,password=a,b]",
        ]);
        let deadline = Instant::now() + LIMIT;
        while json(&["configs", "--describe", "--user", "alice"])[0]["credentials"][0]["iterations"] != 4096 {
            assert!(Instant::now() < deadline, "alice is not there");
        }
        json(&["configs", "--alter", "--user", "alice", "--delete-config", "SCRAM-SHA-256"]);
    }
    // These clusters have no authoriser: the question arrives, and the answer says so.
    let refused = try_it(&["acls", "--list"]);
    assert!(refused.code == 1 && refused.stderr_text().contains("SECURITY_DISABLED"), "{}", refused.describe());
    json(&["topics", "--delete", "--topic", topic]);
}

#[test]
fn administration_of_1_0_1() {
    administration(Version::V1_0_1);
}

#[test]
fn administration_of_2_8_2() {
    administration(Version::V2_8_2);
}

#[test]
fn administration_of_4_4_0() {
    administration(Version::V4_4_0);
}
