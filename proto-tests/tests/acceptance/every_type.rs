//! JSON members into columns of every type, by batch and by stream jobs with every packing of what goes to MaxCompute, from a
//! real broker. PyODPS and odps-sdk-java say what is in the table.

use std::time::Duration;

use forebay_proto_tests::cli::run_forebay;
use forebay_proto_tests::java::{self, ODPS_SDK};
use forebay_proto_tests::kafka::{KafkaCluster, Version};
use forebay_proto_tests::maxcompute::{Account, LocalMaxCompute};
use forebay_proto_tests::process::{command, run};
use forebay_proto_tests::scratch::{Scratch, cached, package_folder};
use serde_json::{Value, json};

const PACKINGS: [&str; 5] = ["none", "deflate", "snappy", "lz4", "zstd"];
const MODES: [&str; 2] = ["batch", "stream"];

/// A column, and the members that three records have for it with what both clients must read: see `python/maxcompute.py`.
struct Case {
    name: &'static str,
    type_: &'static str,
    values: [(&'static str, Value); 3],
}

fn case(
    name: &'static str,
    type_: &'static str,
    first: (&'static str, Value),
    second: (&'static str, Value),
    third: (&'static str, Value),
) -> Case {
    Case { name, type_, values: [first, second, third] }
}

fn cases() -> Vec<Case> {
    let bits = |x: f64| json!({ "bits": format!("{:016x}", x.to_bits()) });
    let bits_32 = |x: f32| json!({ "bits": format!("{:08x}", x.to_bits()) });
    let at = |seconds: i64, nanos: i64| json!({ "seconds": seconds, "nanos": nanos });
    let nothing = || ("null", Value::Null);
    vec![
        case("ti", "tinyint", ("-128", json!(-128)), ("\"127\"", json!(127)), nothing()),
        case("si", "smallint", ("-32768", json!(-32768)), ("32767", json!(32767)), nothing()),
        case("i", "int", ("-2147483648", json!(i32::MIN)), ("2147483647.9", json!(i32::MAX)), nothing()),
        case(
            "b",
            "bigint",
            ("-9223372036854775807", json!(-i64::MAX)),
            ("\"9223372036854775807\"", json!(i64::MAX)),
            nothing(),
        ),
        case("f", "float", ("0.1", bits_32(0.1)), ("-3.4028234663852886e38", bits_32(f32::MIN)), nothing()),
        case("d", "double", ("5e-324", bits(5e-324)), ("\"-Infinity\"", bits(f64::NEG_INFINITY)), nothing()),
        case("bo", "boolean", ("true", json!(true)), ("\"FALSE\"", json!(false)), nothing()),
        case("s", "string", ("\"\"", json!("")), ("\"名 \\u00e9\\n\\\\N\"", json!("名 é\n\\N")), nothing()),
        case(
            "bi",
            "binary",
            ("\"é\"", json!({ "bytes_hex": "c3a9" })),
            ("\"\"", json!({ "bytes_hex": "" })),
            nothing(),
        ),
        case("c", "char(3)", ("\"abc\"", json!("abc")), ("\"名前字\"", json!("名前字")), nothing()),
        case("v", "varchar(5)", ("12.50", json!("12.50")), ("\"\"", json!("")), nothing()),
        case(
            "de",
            "decimal(10,3)",
            ("9999999.999", json!({ "decimal": "9999999.999" })),
            ("\"-0.0005\"", json!({ "decimal": "-0.001" })),
            nothing(),
        ),
        case(
            "da",
            "date",
            ("\"1900-01-01\"", json!({ "epoch_days": -25567 })),
            ("\"20240102\"", json!({ "epoch_days": 19724 })),
            nothing(),
        ),
        case(
            "dt",
            "datetime",
            // The job's zone is GMT+8.
            ("\"2024-01-02 11:04:05.678\"", json!({ "epoch_millis": 1_704_164_645_678_i64 })),
            ("\"1969-12-31T23:59:59.999Z\"", json!({ "epoch_millis": -1 })),
            nothing(),
        ),
        case(
            "ts",
            "timestamp",
            ("\"1969-12-31T23:59:59.5Z\"", at(-1, 500_000_000)),
            ("\"2024-01-02 11:04:05.000000001\"", at(1_704_164_645, 1)),
            nothing(),
        ),
        case(
            "tn",
            "timestamp_ntz",
            ("\"1969-12-31 23:59:58\"", at(-2, 0)),
            ("\"2024-01-02 03:04:05.123456789\"", at(1_704_164_645, 123_456_789)),
            nothing(),
        ),
        case(
            "j",
            "json",
            ("{\"z\":[1,null]}", json!({ "json_text": "{\"z\":[1,null]}" })),
            ("\"[]\"", json!({ "json_text": "[]" })),
            nothing(),
        ),
        case("a", "array<string>", ("[\"a\",null,\"\"]", json!(["a", null, ""])), ("[]", json!([])), nothing()),
        case(
            "m",
            "map<string,bigint>",
            ("{\"k\":5}", json!({ "map": [["k", 5]] })),
            ("\"{}\"", json!({ "map": [] })),
            nothing(),
        ),
        case(
            "st",
            "struct<x:bigint,y:array<map<string,date>>>",
            ("{\"x\":7,\"y\":[{\"d\":\"1970-01-02\"},null]}", {
                json!({ "struct": [["x", 7], ["y", [{ "map": [["d", { "epoch_days": 1 }]] }, null]]] })
            }),
            ("{\"y\":[]}", json!({ "struct": [["x", null], ["y", []]] })),
            nothing(),
        ),
    ]
}

/// Values that no column of their type holds: each makes its record dirty. Never the first or last number that wraps round.
const DIRTY: [(&str, &str); 9] = [
    ("ti", "128"),
    ("si", "-32769"),
    ("i", "2147483648"),
    ("b", "9223372036854775808"),
    ("f", "1e39"),
    ("d", "1e309"),
    ("c", "\"abcd\""),
    ("de", "10000000"),
    ("dt", "\"yesterday\""),
];

fn job(server: &str, cases: &[Case], mode: &str, packing: &str) -> String {
    let names: Vec<&str> = cases.iter().map(|case| case.name).collect();
    let columns = json!([["n"].as_slice(), &names].concat());
    json!({
        "type": "job", "version": "2.0",
        "steps": [
            { "stepType": "kafka", "category": "reader", "name": "Reader", "parameter": {
                "server": server, "topic": "typed", "column": columns, "beginOffset": "seekToBeginning", "endType": "latest",
                "kafkaConfig": { "group.id": "typed" } } },
            { "stepType": "odps", "category": "writer", "name": "Writer", "parameter": {
                "datasource": "odps_first", "table": "typed", "partition": format!("run={mode}_{packing}"), "mode": mode,
                "column": columns, "truncate": mode == "batch", "uploadCompression": packing } }
        ],
        "setting": { "errorLimit": { "record": DIRTY.len() } }
    })
    .to_string()
}

/// The rows of a query, in the notation of `python/maxcompute.py`.
fn rows_of(account: &Account, query: &str, by_java: bool) -> Vec<Value> {
    let mut program = if by_java {
        let mut java = java::program(ODPS_SDK, "MaxComputeTables");
        java.arg("dump");
        java
    } else {
        let mut python = command(cached("venv").join("bin/python"));
        python.arg(package_folder().join("python/dump_table.py"));
        python
    };
    program.args(account.sdk_options()).args(["--sql", query]);
    let text = run(program, b"", Duration::from_secs(180)).expect_success().stdout_text();
    text.lines().skip(1).map(|line| serde_json::from_str(line).expect("a JSON line")).collect()
}

#[test]
fn every_type_in_every_mode_and_packing() {
    let cluster = KafkaCluster::shared(Version::V4_4_0);
    let service = LocalMaxCompute::start();
    let scratch = Scratch::new("typed");
    let cases = cases();
    cluster.create_topic("typed", 2, 1);
    let mut lines = String::new();
    for row in 0..3 {
        let members: Vec<String> =
            cases.iter().map(|case| format!("\"{}\":{}", case.name, case.values[row].0)).collect();
        lines.push_str(&format!("{{\"n\":{row},{}}}\n", members.join(",")));
    }
    // Not JSON: a row of NULLs. A value that does not fit: no row.
    lines.push_str("not JSON\n");
    for (number, (name, value)) in DIRTY.iter().enumerate() {
        lines.push_str(&format!("{{\"n\":{},\"{name}\":{value}}}\n", 100 + number));
    }
    cluster.produce("typed", &lines, &[]);
    let sources = scratch.write("sources.toml", service.account().datasources()).display().to_string();
    let columns: Vec<String> = cases.iter().map(|case| format!("{} {}", case.name, case.type_)).collect();
    let ddl = format!("create table typed (n bigint, {}) partitioned by (run string)", columns.join(", "));
    let _created = run_forebay(&scratch, &["sql", "--datasources", &sources, "-e", &ddl]).expect_success();

    let row = |run: &str, n: usize| {
        let values = cases.iter().map(|case| case.values[n].1.clone());
        Value::Array([json!(n)].into_iter().chain(values).chain([json!(run)]).collect())
    };
    let mut expected = Vec::new();
    for mode in MODES {
        for packing in PACKINGS {
            let job = scratch.write("job.json", job(&cluster.server(), &cases, mode, packing)).display().to_string();
            let output =
                run_forebay(&scratch, &["run", &job, "--datasources", &sources, "-o", "json"]).expect_success();
            let summary: Value = serde_json::from_str(&output.stdout_text()).expect("a summary");
            assert_eq!(summary["errorRecords"], json!(DIRTY.len()), "{mode} {packing}: {summary}");
            // Value and reason of each are told.
            let log = output.stderr_text();
            for words in
                ["1e309", "1e39", "is out of the range of tinyint", "has 4 characters", "is too large for decimal"]
            {
                assert!(log.contains(words), "{words}: {}", output.describe());
            }
            let run = format!("{mode}_{packing}");
            expected.extend((0..3).map(|n| row(&run, n)));
            let blank = std::iter::repeat_n(Value::Null, cases.len() + 1).chain([json!(run)]);
            expected.push(Value::Array(blank.collect()));
        }
    }
    let group = cluster.group("typed");
    let committed: i64 = group.iter().filter_map(|row| row.committed).sum();
    assert_eq!(committed, 4 + i64::try_from(DIRTY.len()).expect("few"), "{group:?}");
    // What went over the wire was packed as the job says.
    let requests = service.service().requests();
    for operation in ["upload_block", "stream_write"] {
        let mut packed: Vec<&str> = requests
            .iter()
            .filter(|request| request.operation == operation)
            .filter_map(|request| request.headers.iter().find(|(name, _)| name == "content-encoding"))
            .map(|(_, value)| value.as_str())
            .collect();
        packed.sort_unstable();
        packed.dedup();
        assert_eq!(packed, ["deflate", "x-lz4-frame", "x-snappy-framed", "zstd"], "{operation}");
    }
    let key = |row: &Value| row.to_string();
    expected.sort_by_key(key);
    for by_java in [false, true] {
        let mut found = rows_of(service.account(), "select * from typed;", by_java);
        found.sort_by_key(key);
        for (expected, found) in expected.iter().zip(&found) {
            assert_eq!(expected, found, "by Java: {by_java}");
        }
        assert_eq!(found.len(), expected.len(), "by Java: {by_java}");
    }
}
