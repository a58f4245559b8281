//! The library's administration on real clusters, through the command line, and what it prints as JSON.

use std::collections::BTreeSet;
use std::time::Instant;

use forebay_proto_tests::cli::forebay;
use forebay_proto_tests::kafka::{KafkaCluster, Version};
use forebay_proto_tests::process::run;
use forebay_proto_tests::schema::Documents;
use forebay_proto_tests::scratch::Scratch;

use crate::LIMIT;

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
    let documents = Documents::default();
    let json = |arguments: &[&str]| -> serde_json::Value {
        let output = try_it(arguments).expect_success();
        documents.add(&scratch, arguments, &output.stdout_text());
        serde_json::from_slice(&output.stdout).expect("JSON")
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
    json(&["topics", "--list"]);
    json(&["groups", "--list"]);
    if version == Version::V1_0_1 {
        json(&["groups", "--describe", "--group", topic]);
    }
    json(&["configs", "--describe", "--topic", topic, "--all"]);
    cluster.produce(topic, "k\tv\n", &["--property", "parse.key=true"]);
    json(&["consume", "--topic", topic, "--from-beginning", "--max-messages", "1"]);
    // These clusters have no authoriser: the question arrives, and the answer says so.
    let refused = try_it(&["acls", "--list"]);
    assert!(refused.code == 1 && refused.stderr_text().contains("SECURITY_DISABLED"), "{}", refused.describe());
    json(&["topics", "--delete", "--topic", topic]);
    // Every definition but that of entries of an authoriser, which the tests of `security` look at.
    let mut schema = forebay(&scratch);
    schema.args(["kafka", "offsets", "-o", "schema"]);
    let schema = run(schema, b"", LIMIT).expect_success();
    let all: serde_json::Value = serde_json::from_slice(&schema.stdout).expect("a schema");
    let mut wanted: BTreeSet<String> = all["$defs"].as_object().expect("definitions").keys().cloned().collect();
    let mut left_out = vec!["acls", "bytes"];
    if version == Version::V1_0_1 {
        // Its brokers have no request for them.
        left_out.extend(["groups-delete", "groups-delete-offsets"]);
    }
    wanted.retain(|name| !left_out.contains(&name.as_str()));
    assert_eq!(documents.judge(), wanted);
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
