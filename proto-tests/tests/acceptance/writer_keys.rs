//! What the writer's less common keys do, from a real broker into a schema of a three-level project; PyODPS says what is there.

use std::time::Duration;

use forebay_proto_tests::cli::run_forebay;
use forebay_proto_tests::kafka::{KafkaCluster, Version};
use forebay_proto_tests::maxcompute::{Account, LocalMaxCompute};
use forebay_proto_tests::process::{Output, command, run};
use forebay_proto_tests::scratch::{Scratch, cached, package_folder};
use serde_json::{Value, json};

const SCHEMA: &str = "landing";
const QUOTA: &str = "nightly";

fn job(server: &str, keys: &Value) -> String {
    let mut writer = json!({
        "datasource": "odps_first", "table": "keyed", "partition": "", "column": ["n", "v"], "truncate": true,
        "schema": SCHEMA, "tunnelQuota": QUOTA,
    });
    let members = writer.as_object_mut().expect("an object");
    members.extend(keys.as_object().expect("an object").clone());
    json!({
        "type": "job", "version": "2.0",
        "steps": [
            { "stepType": "kafka", "category": "reader", "name": "Reader", "parameter": {
                "server": server, "topic": "keyed", "column": ["n", "v"], "beginOffset": "seekToBeginning", "endType": "latest",
                "kafkaConfig": { "group.id": "keyed" } } },
            { "stepType": "odps", "category": "writer", "name": "Writer", "parameter": writer }
        ],
        "setting": { "errorLimit": { "record": "0" } }
    })
    .to_string()
}

/// The rows of a table in the schema, by PyODPS.
fn rows_of(account: &Account, table: &str) -> Value {
    let mut python = command(cached("venv").join("bin/python"));
    // No tunnel endpoint: it is looked up for the quota.
    python.arg(package_folder().join("python/dump_table.py")).args(["--table", table, "--schema", SCHEMA]);
    python.args(["--quota", QUOTA, "--endpoint", &account.endpoint, "--project", &account.project]);
    python.args(["--access-id", &account.access_id, "--access-key", &account.access_key]);
    let text = run(python, b"", Duration::from_secs(180)).expect_success().stdout_text();
    text.lines().skip(1).map(|line| serde_json::from_str::<Value>(line).expect("a JSON line")).collect()
}

#[test]
fn the_writers_other_keys() {
    let cluster = KafkaCluster::shared(Version::V4_4_0);
    let service = LocalMaxCompute::start();
    let scratch = Scratch::new("keyed");
    cluster.create_topic("keyed", 1, 1);
    let long = "名".repeat(9);
    let lines = [("1", "short"), ("2", ""), ("3", &long)];
    let lines: String = lines.iter().map(|(n, v)| format!("{}\n", json!({ "n": n, "v": v }))).collect();
    cluster.produce("keyed", &lines, &[]);
    let Account { endpoint, project, access_id, access_key, .. } = service.account();
    // Without a tunnel endpoint, so that it is discovered for the quota.
    let sources = format!(
        "[odps_first]\ntype = \"odps\"\nproject = \"{project}\"\nendpoint = \"{endpoint}\"\naccess_id = \"{access_id}\"\n\
         access_key = \"{access_key}\"\nschema = \"{SCHEMA}\"\n"
    );
    let sources = scratch.write("sources.toml", sources).display().to_string();
    let ddl = format!(
        "create schema {SCHEMA}; create table keyed (n bigint, v string); create table audit (at string, n bigint); \
         insert into keyed values (0, 'old')"
    );
    let _created = run_forebay(&scratch, &["sql", "--datasources", &sources, "-e", &ddl]).expect_success();
    let run_job = |keys: Value| -> Output {
        let job = scratch.write("job.json", job(&cluster.server(), &keys)).display().to_string();
        run_forebay(&scratch, &["run", &job, "--datasources", &sources, "-o", "json"])
    };
    let audit = |when: &str| format!("insert into audit select '{when}', count(*) from keyed");

    // A preSql that fails: nothing else happens.
    let failed = run_job(json!({ "preSql": ["select * from nowhere"] }));
    assert!(failed.code != 0 && failed.stderr_text().contains("Table not found"), "{}", failed.describe());
    assert_eq!(rows_of(service.account(), "keyed"), json!([[0, "old"]]));

    // Both lists, in order: before the rows come, and after.
    let before = service.service().requests().len();
    let done = run_job(json!({
        "preSql": [audit("first"), audit("second")], "postSql": audit("after"), "consistencyCommit": false,
        "emptyAsNull": true, "overLengthRule": "truncate", "maxOdpsFieldLength": 20, "maxFieldLength": 16,
    }))
    .expect_success();
    let requests = service.service().requests().split_off(before);
    // 16 bytes less six, cut at a character.
    assert_eq!(rows_of(service.account(), "keyed"), json!([[1, "short"], [2, null], [3, "名名名"]]));
    assert_eq!(rows_of(service.account(), "audit"), json!([["first", 1], ["second", 1], ["after", 3]]));
    let summary: Value = serde_json::from_str(&done.stdout_text()).expect("a summary");
    assert_eq!(summary["over_length_values"], json!(1), "{summary}");
    let to_tunnel: Vec<_> = requests
        .iter()
        .filter(|request| request.operation.starts_with("upload_") || request.operation == "discovery")
        .collect();
    assert!(to_tunnel.len() >= 5, "{requests:?}");
    for request in to_tunnel {
        assert!(request.target.contains(&format!("quotaName={QUOTA}")), "{request:?}");
        let at = if request.operation == "discovery" {
            "/tunnel?".to_owned()
        } else {
            format!("/schemas/{SCHEMA}/tables/keyed")
        };
        assert!(request.target.contains(&at), "{request:?}");
    }
    // One commit, whatever consistencyCommit says.
    assert_eq!(requests.iter().filter(|request| request.operation == "upload_commit").count(), 1);

    let _done = run_job(json!({ "overLengthRule": "setNull", "maxOdpsFieldLength": 20 })).expect_success();
    assert_eq!(rows_of(service.account(), "keyed"), json!([[1, "short"], [2, ""], [3, null]]));
    let _done = run_job(json!({ "overLengthRule": "keepOn", "maxOdpsFieldLength": 20 })).expect_success();
    assert_eq!(rows_of(service.account(), "keyed"), json!([[1, "short"], [2, ""], [3, long]]));

    // A postSql that fails: the rows and the offsets are there, and the failure is told.
    let failed = run_job(
        json!({ "postSql": ["insert into audit values ('kept', 0)", "drop table nowhere"], "truncate": false }),
    );
    assert!(failed.code != 0, "{}", failed.describe());
    assert!(failed.stderr_text().contains("postSql failed, the data stays"), "{}", failed.describe());
    assert_eq!(rows_of(service.account(), "keyed").as_array().map(Vec::len), Some(6));
    assert_eq!(rows_of(service.account(), "audit").as_array().map(Vec::len), Some(4));
    assert_eq!(cluster.group("keyed").iter().filter_map(|row| row.committed).sum::<i64>(), 3);
}
