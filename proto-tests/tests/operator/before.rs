//! `forebay check`, `plan` and `preview`.

use std::collections::BTreeMap;

use forebay::kafka::{Client, ClientConfig, OffsetToCommit};
use forebay::sync::intent::Intent;
use forebay_proto_tests::process::Output;
use serde_json::Value;

use super::World;

fn json(output: &Output) -> Value {
    serde_json::from_str(output.stdout_text().trim()).unwrap_or_else(|error| panic!("{error}: {}", output.describe()))
}

fn assert_has(text: &str, wanted: &[&str]) {
    for wanted in wanted {
        assert!(text.contains(wanted), "no {wanted:?} in\n{text}");
    }
}

#[test]
fn a_job_that_can_run_is_told_so_and_nothing_is_touched() {
    let world = World::start();
    world.produce("1", "123\nabc\n");
    let output = world.forebay(&["check", "job.json", "--deny-warnings"]).expect_success();
    assert_has(
        &output.stdout_text(),
        &[
            "ok         kafka: broker 1 at 127.0.0.1:",
            "ok         kafka: broker 2 at 127.0.0.1:",
            "speaks as Kafka 1.0, answers in ",
            "kafka: topic testkafka: 3 partitions, each with a leader",
            "kafka: group console-consumer-83505: offsets of 0 of 3 partitions are committed",
            "kafka: 2 offsets in range",
            "kafka: topic testkafka: this user may read it",
            "maxcompute: table bigdata_doc.testkafka: 8 columns, not partitioned",
            "maxcompute: 8 columns of the job fit the table's types",
            "maxcompute: tunnel at http://127.0.0.1:",
            "ok         this job can run",
        ],
    );
    assert!(!output.stderr_text().contains("warning: "), "{}", output.describe());
    assert_eq!(world.service.requests("upload_create"), 0, "no session is opened");
    let session = world.forebay(&["check", "job.json", "--session"]).expect_success();
    assert_has(&session.stdout_text(), &["this key may write bigdata_doc.testkafka: upload session "]);
    assert_eq!(world.service.requests("upload_create"), 1);
}

#[test]
fn what_would_fail_is_found_at_both_ends_at_once() {
    let world = World::start();
    let wrong = ["--set", "reader.topic=testkafak", "--set", "writer.table=nowhere"];
    let output = world.forebay(&[&["check", "job.json"][..], &wrong].concat());
    assert_eq!(output.code, 78, "{}", output.describe());
    assert_has(
        &output.stderr_text(),
        &[
            "error: kafka: ",
            "testkafak",
            "  next: did you mean testkafka?",
            "error: maxcompute: ",
            "  next: create the table first",
            "error: job.json: a run would fail: 2 errors, 0 warnings",
        ],
    );
    let near = world.forebay(&["check", "job.json", "--set", "writer.table=testkafak"]);
    assert_eq!(near.code, 78, "{}", near.describe());
    assert_has(&near.stderr_text(), &["error: maxcompute: ", "  next: did you mean testkafka?"]);
    let columns = r#"writer.column=["key","value","partion1","timestamp1","offset","t123","event_id","tag"]"#;
    let output = world.forebay(&["check", "job.json", "--set", columns]);
    assert_eq!(output.code, 78, "{}", output.describe());
    assert_has(&output.stderr_text(), &["the table has no column \"partion1\"", "  next: did you mean partition1?"]);

    // Key bytes never become a number; a time may be one.
    world.sql("create table narrow (k bigint, v string, p bigint, ts bigint, o bigint, c bigint, e bigint, t string)");
    let narrow = r#"writer.column=["k","v","p","ts","o","c","e","t"]"#;
    let output =
        world.forebay(&["check", "job.json", "--set", "writer.table=narrow", "--set", narrow]).expect_success();
    let text = output.stderr_text();
    assert_has(&text, &["warning: maxcompute: column k bigint: no value of __key__ fits it"]);
    assert_eq!(text.matches("warning: ").count(), 1, "{text}");
}

#[test]
fn a_group_that_has_nothing_and_is_forgotten_after_a_day_is_told() {
    let world = World::start();
    let output = world.forebay(&["check", "job.json", "-o", "json", "--set", "reader.beginOffset=seekToLast"]);
    assert_eq!(output.code, 76, "{}", output.describe());
    let found = json(&output);
    assert_eq!((found["ok"].as_bool(), found["exit_code"].as_i64()), (Some(false), Some(76)), "{found}");
    let of = |level: &str| {
        let all = found["findings"].as_array().expect("a list").iter();
        all.filter(|finding| finding["level"] == level).map(|f| f["text"].to_string()).collect::<Vec<_>>().join("\n")
    };
    assert_has(&of("warning"), &["offsets of group console-consumer-83505 after 24 hours"]);
    assert_has(&of("error"), &["has no committed offset to begin at"]);
    assert_has(&of("ok"), &["this key", "tunnel at"][1..]);
}

#[test]
fn several_jobs_and_broken_ones() {
    let world = World::start();
    let folder = world.scratch.folder("jobs");
    std::fs::copy(world.scratch.path().join("job.json"), folder.join("a.json")).expect("a copy");
    std::fs::write(folder.join("b.json"), "{").expect("a file");
    let output = world.forebay(&["check", "jobs", "--offline"]);
    assert_eq!(output.code, 78, "{}", output.describe());
    assert_has(&output.stdout_text(), &["job        a (DataWorks script mode)"]);
    assert_has(&output.stderr_text(), &["error: jobs/b.json:1:2: not valid JSON", "error: 1 of 2 jobs would fail"]);
    let output = world.forebay(&["check", "jobs/b.json", "--offline", "-o", "json"]);
    let found = json(&output);
    assert_eq!((output.code, found["errors"][0]["place"].as_str()), (78, Some("jobs/b.json:1:2")), "{found}");
}

#[test]
fn the_plan_is_what_the_run_then_does() {
    let world = World::start();
    world.produce("0", "{\"event_id\":\"e1\",\"tag\":{\"desc\":\"d\"}}\n");
    world.produce("1", "1\n2\n3\n4\n5\n");
    let text = world.forebay(&["plan", "job.json"]).expect_success().stdout_text();
    assert_has(
        &text,
        &[
            "partition  leader",
            "named by the job",
            "types      key string <- __key__",
            "tag string <- tag.desc",
            "memory     1 lane;",
        ],
    );
    let plan = json(&world.forebay(&["plan", "job.json", "-o", "json"]).expect_success());
    let ranges = plan["ranges"].as_array().expect("ranges");
    let of = |partition: usize| {
        let range = &ranges[partition];
        (range["begin"].as_i64(), range["end"].as_i64(), range["offsets"].as_u64(), range["begin_from"].as_str())
    };
    assert_eq!(of(0), (Some(0), Some(1), Some(1), Some("given")));
    assert_eq!(of(1), (Some(0), Some(3), Some(3), Some("given")), "the end is exclusive");
    assert_eq!(of(2), (Some(0), Some(0), Some(0), Some("given")));
    assert_eq!(plan["columns"][6], serde_json::json!({"to": "event_id", "type": "string", "from": "event_id"}));
    assert_eq!(world.sql("select count(*) from testkafka").lines().last(), Some("0"), "nothing was written");

    let summary = json(&world.forebay(&["run", "job.json", "-o", "json"]).expect_success());
    assert_eq!(summary["rows_written"].as_u64(), Some(4), "{summary}");
    let reached: Vec<(Option<i64>, Option<i64>)> = (summary["offsets"].as_array().expect("offsets").iter())
        .map(|offset| (offset["begin"].as_i64(), offset["position"].as_i64()))
        .collect();
    let planned: Vec<(Option<i64>, Option<i64>)> =
        ranges.iter().map(|range| (range["begin"].as_i64(), range["end"].as_i64())).collect();
    assert_eq!(reached, planned);

    // Now the group has offsets, and a job that begins at them goes on there.
    let set = ["--set", "reader.beginOffset=seekToLast", "--set", "reader.endOffset=9"];
    let plan = json(&world.forebay(&[&["plan", "job.json", "-o", "json"][..], &set].concat()).expect_success());
    let range = &plan["ranges"][1];
    assert_eq!(
        (range["begin"].as_i64(), range["begin_from"].as_str(), range["end"].as_i64()),
        (Some(3), Some("group"), Some(5))
    );
}

#[test]
fn a_job_without_an_end_is_planned_from_its_group() {
    let world = World::start();
    world.produce("0", "a\nb\n");
    world.scratch.write("endless.toml", world.endless_job(""));
    let plan = json(&world.forebay(&["plan", "endless.toml", "-o", "json"]).expect_success());
    assert_eq!(plan["source"]["group"], "forebay-endless");
    assert_eq!(plan["source"]["end"], "none");
    assert_eq!(plan["ranges"][0]["begin_from"], "log_start");
    assert_eq!((plan["ranges"][0]["end"].as_i64(), plan["ranges"][0]["offsets"].as_i64()), (None, Some(2)));
    assert_eq!(plan["null_columns"].as_array().map(Vec::len), Some(7), "{plan}");
    let output = world.forebay(&["check", "endless.toml"]).expect_success();
    assert_has(&output.stdout_text(), &["2 offsets are waiting to be read", "ok         an agent can run this job"]);
    assert_has(&output.stderr_text(), &["offsets of group forebay-endless after 24 hours"]);
    assert_eq!(world.sql("select count(*) from testkafka").lines().last(), Some("0"));

    // What an agent has under way stands beside the group's offset.
    let intent = Intent { cluster: String::new(), topic_id: String::new(), end: 2, sessions: Vec::new(), hash: 7 };
    let offset = OffsetToCommit {
        topic: "testkafka".into(),
        partition: 0,
        offset: 1,
        leader_epoch: None,
        metadata: intent.to_metadata().expect("a short one"),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let client = Client::connect(ClientConfig::new([world.broker.address()])).await.expect("the broker answers");
        client.commit_offsets("forebay-endless", &[offset]).await.expect("a group without members takes it");
    });
    let plan = json(&world.forebay(&["plan", "endless.toml", "-o", "json"]).expect_success());
    let range = &plan["ranges"][0];
    assert_eq!((range["begin"].as_i64(), range["begin_from"].as_str()), (Some(1), Some("intent")), "{range}");
    assert_eq!(range["sealed_to"].as_i64(), Some(2));
    let output = world.forebay(&["check", "endless.toml"]).expect_success();
    assert_has(&output.stdout_text(), &["partition 0: a batch up to offset 2 is sealed"]);
}

#[test]
fn a_preview_is_what_is_then_in_the_table() {
    let world = World::start();
    world.produce("0", "{\"event_id\":\"e1\",\"tag\":{\"desc\":\"d\"}}\nnot json\n");
    world.produce("2", "123\n");
    let rows = |text: &str| -> BTreeMap<(String, String), Value> {
        let row = |line: &str| {
            let row: Value = serde_json::from_str(line).expect("a JSON line");
            ((row["partition1"].to_string(), row["offset"].to_string()), row)
        };
        text.lines().map(row).collect()
    };
    let output = world.forebay(&["preview", "job.json", "-n", "10", "-o", "json"]).expect_success();
    let shown: String = (output.stdout_text().lines())
        .map(|line| format!("{}\n", serde_json::from_str::<Value>(line).expect("a JSON line")["row"]))
        .collect();
    let shown = rows(&shown);
    assert_eq!(shown.len(), 3, "{}", output.describe());
    assert_has(&output.stderr_text(), &["3 rows, 0 dirty records; nothing was written, nothing was committed"]);
    assert_eq!(world.service.requests("upload_create"), 0);
    let server = world.broker.address();
    let groups = ["kafka", "groups", "--bootstrap-server", &server, "--describe", "--group", "console-consumer-83505"];
    let group = forebay_proto_tests::cli::run_forebay(&world.scratch, &groups);
    assert!(!group.stdout_text().contains("testkafka"), "{}", group.describe());

    world.forebay(&["run", "job.json"]).expect_success();
    let written = world.forebay(&["tunnel", "download", "testkafka", "-o", "json"]).expect_success().stdout_text();
    assert_eq!(shown, rows(&written));

    let table = world.forebay(&["preview", "job.json", "-n", "1"]).expect_success().stdout_text();
    assert_eq!(table.lines().filter(|line| line.starts_with("| NULL")).count(), 1, "{table}");
    // A value that does not fit is told with its place.
    world.sql("create table numbers (n bigint)");
    let sets = [
        "--set",
        "writer.table=numbers",
        "--set",
        r#"writer.column=["n"]"#,
        "--set",
        r#"reader.column=["__value__"]"#,
        "--set",
        "reader.valueType=string",
    ];
    let output = world.forebay(&[&["preview", "job.json", "-o", "json"][..], &sets].concat()).expect_success();
    assert_has(
        &output.stderr_text(),
        &["dirty: partition 0 offset 1: source column 0 __value__ into n bigint", "1 rows, 2 dirty"],
    );
}
