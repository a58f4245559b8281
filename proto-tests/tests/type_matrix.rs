//! Every column type with its edges, written by one client and read by another, over the local MaxCompute: forebay to PyODPS
//! and to odps-sdk-java, and back. Prints the matrix; `./proto-tests/run maxcompute` shows it.
//!
//! Values are compared in the notation of the official clients' programs (`python/maxcompute.py`): bits of floats, bytes of
//! texts, seconds and nanoseconds. The real MaxCompute has INTERVAL values only in queries; the local one takes columns of
//! them, so that the clients can judge their form on the wire, too.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use forebay::tunnel::{
    ColumnType, Credentials, MaxCompute, MaxComputeConfig, ReadOptions, RowEncoder, UploadOptions, Value,
};
use forebay_proto_tests::java::{self, ODPS_SDK};
use forebay_proto_tests::maxcompute::LocalMaxCompute;
use forebay_proto_tests::process::{command, run};
use forebay_proto_tests::scratch::{cached, package_folder};
use serde_json::{Value as Json, json};
use tokio::runtime::Runtime;

const LIMIT: Duration = Duration::from_secs(180);
/// `MaxFieldSize` of a session.
const FIELD_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Who can carry an edge, where an official client of its own accord cannot.
#[derive(Clone, Copy, PartialEq)]
enum By {
    All,
    /// pandas' moments reach from 1677 to 2262.
    NotPyOdps,
}

type Edges = Vec<(Value, By)>;

fn all(values: impl IntoIterator<Item = Value>) -> Edges {
    values.into_iter().map(|value| (value, By::All)).collect()
}

fn integers(values: &[i64]) -> Edges {
    all(values.iter().map(|value| Value::BigInt(*value)))
}

fn texts(values: &[&str]) -> Edges {
    all(values.iter().map(|text| Value::text(*text)))
}

fn decimals(values: &[&str]) -> Edges {
    all(values.iter().map(|text| Value::Decimal((*text).to_owned())))
}

fn stamp(seconds: i64, nanos: i32) -> Value {
    Value::Timestamp { seconds, nanos }
}

/// The first and the last second of the calendar.
const YEAR_1: i64 = -62_135_596_800;
const YEAR_9999: i64 = 253_402_300_799;

fn moments() -> Edges {
    let mut edges = all([
        stamp(0, 0),
        stamp(0, 1),
        stamp(-1, 500_000_000),
        stamp(-1, 999_999_999),
        stamp(1_704_164_645, 678_901_234),
        stamp(-9_223_372_036, 0),
        stamp(9_223_372_035, 999_999_999),
    ]);
    edges.extend([(stamp(YEAR_1, 0), By::NotPyOdps), (stamp(YEAR_9999, 999_999_999), By::NotPyOdps)]);
    edges
}

/// Types with the values at their edges; NULL is added to each.
fn matrix() -> Vec<(&'static str, Edges)> {
    let deep = |n: i64| {
        let inner = Value::Struct(vec![
            Value::Array(vec![Value::BigInt(n), Value::Null, Value::BigInt(-n)]),
            Value::Decimal("-12.34".to_owned()),
            stamp(-1, 1000),
            Value::Map(vec![(Value::BigInt(n), Value::Boolean(true)), (Value::BigInt(n + 1), Value::Null)]),
        ]);
        Value::Array(vec![
            Value::Map(vec![(Value::text("k"), inner), (Value::text(""), Value::Null)]),
            Value::Null,
            Value::Map(vec![]),
        ])
    };
    vec![
        ("tinyint", integers(&[-128, -1, 0, 1, 127])),
        ("smallint", integers(&[-32_768, -1, 0, 32_767])),
        ("int", integers(&[i32::MIN.into(), -1, 0, i32::MAX.into()])),
        // The Java client takes the least BIGINT for NULL, so MaxCompute's begins one above it.
        ("bigint", integers(&[i64::MIN + 1, -64, -1, 0, 63, 64, i64::MAX])),
        (
            "float",
            all([0.0, -0.0, 0.1, -1.5, f32::MIN, f32::MAX, f32::MIN_POSITIVE, 1e-45, f32::INFINITY, f32::NEG_INFINITY]
                .map(Value::Float)),
        ),
        (
            "double",
            all([0.0, -0.0, 0.1, -1.5, f64::MIN, f64::MAX, f64::MIN_POSITIVE, 5e-324, f64::INFINITY, f64::NAN]
                .map(Value::Double)),
        ),
        ("boolean", all([Value::Boolean(true), Value::Boolean(false)])),
        ("string", {
            let mut edges = texts(&["", " ", "名前 \u{1F600}", "a\0b", "\\N", "NULL", "\"quoted\",\r\n\t"]);
            edges.extend(all([Value::Bytes(vec![0xff, 0xfe, b'a']), Value::text("x".repeat(FIELD_BYTES_MAX))]));
            edges
        }),
        ("binary", all([vec![], vec![0], (0..=255).collect(), vec![0xab; 70_000]].map(Value::Bytes))),
        ("char(3)", texts(&["abc", "名前字", "a"])),
        ("varchar(5)", texts(&["", "vchar", "名前名前名"])),
        ("decimal(5,2)", decimals(&["0", "999.99", "-999.99", "0.01", "12.30"])),
        ("decimal(38,18)", decimals(&["99999999999999999999.999999999999999999", "-0.000000000000000001", "7"])),
        ("decimal(38,0)", decimals(&["99999999999999999999999999999999999999", "-1"])),
        ("date", all([-719_162, -25_567, -1, 0, 19_724, 2_932_896].map(Value::Date))),
        (
            "datetime",
            all([YEAR_1 * 1000, -2_208_988_800_000, -1, 0, 1, 1_704_164_645_678, YEAR_9999 * 1000 + 999]
                .map(Value::Datetime)),
        ),
        ("timestamp", moments()),
        ("timestamp_ntz", moments()),
        ("interval_year_month", all([0, 1, -1, 12 * 9_999 + 11, -(12 * 9_999 + 11)].map(Value::IntervalYearMonth))),
        (
            "interval_day_time",
            // pandas' intervals reach as far as its moments; a negative one has both parts below zero, or floored seconds.
            {
                let edges = [(0, 0), (0, 1), (86_400, 999_999_999), (-1, 0), (-86_401, -1), (106_000 * 86_400, 1)];
                let mut edges = all(edges.map(|(seconds, nanos)| Value::IntervalDayTime { seconds, nanos }));
                edges.push((Value::IntervalDayTime { seconds: 3_650_000 * 86_400, nanos: 0 }, By::NotPyOdps));
                edges
            },
        ),
        ("json", texts(&["{\"a\":[1,null,\"x\"],\"b\":{}}", "[]", "\"text\"", "1", "true"])),
        (
            "array<string>",
            all([
                Value::Array(vec![]),
                Value::Array(vec![Value::Null]),
                Value::Array(vec![Value::text(""), Value::text("名"), Value::Null]),
            ]),
        ),
        ("array<double>", all([Value::Array(vec![Value::Double(f64::MIN), Value::Double(-0.0)])])),
        (
            "map<string,bigint>",
            all([
                Value::Map(vec![]),
                Value::Map(vec![(Value::text(""), Value::BigInt(i64::MAX)), (Value::text("k"), Value::Null)]),
            ]),
        ),
        ("map<int,array<date>>", all([Value::Map(vec![(Value::BigInt(-1), Value::Array(vec![Value::Date(-1)]))])])),
        (
            "struct<a:bigint,b:string,c:datetime>",
            all([
                Value::Struct(vec![Value::BigInt(1), Value::text("x"), Value::Datetime(-1)]),
                Value::Struct(vec![Value::Null, Value::Null, Value::Null]),
            ]),
        ),
        (
            "array<map<string,struct<l:array<bigint>,d:decimal(10,2),t:timestamp,m:map<bigint,boolean>>>>",
            all([deep(1), deep(1 << 40)]),
        ),
    ]
}

/// A value in the notation of the official clients' programs.
fn noted(type_: &ColumnType, value: &Value) -> Json {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    match (type_, value) {
        (_, Value::Null) => Json::Null,
        (_, Value::BigInt(n)) => json!(n),
        (_, Value::Boolean(b)) => json!(b),
        (_, Value::Float(x)) => json!({ "bits": format!("{:08x}", x.to_bits()) }),
        (_, Value::Double(x)) => json!({ "bits": format!("{:016x}", x.to_bits()) }),
        (ColumnType::Json, Value::Bytes(bytes)) => json!({ "json_text": str::from_utf8(bytes).unwrap() }),
        (ColumnType::Binary, Value::Bytes(bytes)) => json!({ "bytes_hex": hex(bytes) }),
        (_, Value::Bytes(bytes)) => match str::from_utf8(bytes) {
            Ok(text) => json!(text),
            Err(_) => json!({ "bytes_hex": hex(bytes) }),
        },
        (_, Value::Decimal(text)) => json!({ "decimal": text }),
        (_, Value::Date(days)) => json!({ "epoch_days": days }),
        (_, Value::Datetime(millis)) => json!({ "epoch_millis": millis }),
        (_, Value::Timestamp { seconds, nanos } | Value::IntervalDayTime { seconds, nanos }) => {
            json!({ "seconds": seconds, "nanos": nanos })
        }
        (_, Value::IntervalYearMonth(months)) => json!({ "months": months }),
        (ColumnType::Array(element), Value::Array(items)) => {
            Json::Array(items.iter().map(|item| noted(element, item)).collect())
        }
        (ColumnType::Map(key, inner), Value::Map(pairs)) => {
            let pairs = pairs.iter().map(|(k, v)| json!([noted(key, k), noted(inner, v)]));
            json!({ "map": pairs.collect::<Vec<_>>() })
        }
        (ColumnType::Struct(fields), Value::Struct(values)) => {
            let pairs = fields.iter().zip(values).map(|(field, v)| json!([field.name, noted(&field.type_, v)]));
            json!({ "struct": pairs.collect::<Vec<_>>() })
        }
        (type_, other) => panic!("{other:?} as {type_}"),
    }
}

/// Without what says nothing about the value: the order in a map, spaces in JSON, zeros at the end of a decimal, how the
/// sign of an interval is divided over seconds and nanoseconds.
fn plain(value: &Json) -> Json {
    match value {
        Json::Array(items) => Json::Array(items.iter().map(plain).collect()),
        Json::Object(members) => {
            if let Some(Json::Array(pairs)) = members.get("map") {
                let pairs: BTreeMap<String, Json> =
                    pairs.iter().map(|pair| (plain(&pair[0]).to_string(), plain(&pair[1]))).collect();
                return json!({ "map": pairs });
            }
            if let (Some(seconds), Some(nanos)) = (members.get("seconds"), members.get("nanos")) {
                let whole = |part: &Json| i128::from(part.as_i64().unwrap());
                return json!({ "nanoseconds": (whole(seconds) * 1_000_000_000 + whole(nanos)).to_string() });
            }
            if let Some(Json::String(text)) = members.get("json_text") {
                return json!({ "json": serde_json::from_str::<Json>(text).unwrap() });
            }
            if let Some(Json::String(text)) = members.get("decimal") {
                let text =
                    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text.as_str() };
                return json!({ "decimal": text });
            }
            Json::Object(members.iter().map(|(name, value)| (name.clone(), plain(value))).collect())
        }
        other => other.clone(),
    }
}

fn shown(value: &Json) -> String {
    let text = value.to_string();
    if text.len() > 120 {
        format!("{}… ({} bytes)", text.chars().take(100).collect::<String>(), text.len())
    } else {
        text
    }
}

struct Bench {
    service: LocalMaxCompute,
    runtime: Runtime,
    client: MaxCompute,
}

/// An official client.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Judge {
    PyOdps,
    Java,
}

impl Judge {
    fn can(self, by: By) -> bool {
        by == By::All || self != Self::PyOdps
    }
}

impl Bench {
    fn start() -> Self {
        let service = LocalMaxCompute::start();
        let account = service.account();
        let credentials = Credentials::new(&account.access_id, &account.access_key);
        let mut config = MaxComputeConfig::new(&account.endpoint, &account.project, credentials);
        config.tunnel_endpoint = Some(account.tunnel_endpoint.clone());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self { client: MaxCompute::new(config).unwrap(), service, runtime }
    }

    fn sql(&self, statement: &str) {
        let hints = [("odps.sql.type.system.odps2", "true")];
        self.runtime.block_on(self.client.sql(statement, &hints)).unwrap();
    }

    fn program(&self, judge: Judge, python: &str, java: &str, table: &str) -> Command {
        let mut command = match judge {
            Judge::PyOdps => {
                let mut command = command(cached("venv").join("bin/python"));
                command.arg(package_folder().join("python").join(python));
                command
            }
            Judge::Java => {
                let mut command = java::program(ODPS_SDK, "MaxComputeTables");
                command.arg(java);
                command
            }
        };
        command.args(self.service.account().sdk_options()).args(["--table", table]);
        command
    }

    fn write(&self, table: &str, rows: &[Vec<Value>]) {
        let write = async {
            let upload = self.client.create_upload(table, None, UploadOptions::default()).await.unwrap();
            let mut encoder = RowEncoder::new();
            for row in rows {
                for (place, (column, value)) in upload.schema().columns.iter().zip(row).enumerate() {
                    encoder.value(place, &column.type_, value).unwrap();
                }
                encoder.end_row();
            }
            upload.put_block_bytes(0, encoder.finish()).await.unwrap();
            upload.commit(&[0]).await.unwrap();
        };
        self.runtime.block_on(write);
    }

    fn read(&self, table: &str) -> Vec<Vec<Json>> {
        let read = async {
            let download = self.client.create_download(table, None).await.unwrap();
            let mut reader = download.read(&ReadOptions::default()).unwrap();
            let mut rows = Vec::new();
            while let Some(row) = reader.next_row().await.unwrap() {
                let cells = reader.schema().columns.iter().zip(&row);
                rows.push(cells.map(|(column, value)| noted(&column.type_, value)).collect());
            }
            rows
        };
        self.runtime.block_on(read)
    }

    fn dump(&self, judge: Judge, table: &str) -> Vec<Vec<Json>> {
        let output = run(self.program(judge, "dump_table.py", "dump", table), b"", LIMIT).expect_success();
        let text = output.stdout_text();
        // The first line names the columns.
        text.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn load(&self, judge: Judge, table: &str, rows: &[Vec<Json>]) {
        let lines: String = rows.iter().map(|row| format!("{}\n", Json::Array(row.clone()))).collect();
        let input = Bytes::from(lines);
        let _output = run(self.program(judge, "load_table.py", "load", table), &input, LIMIT).expect_success();
    }
}

/// One direction: what came of each column's values.
fn compare(types: &[ColumnType], wanted: &[Vec<Json>], found: &[Vec<Json>]) -> Vec<Result<usize, String>> {
    assert_eq!(wanted.len(), found.len(), "rows");
    let column = |place: usize| {
        for (wanted, found) in wanted.iter().zip(found) {
            let (wanted, found) = (plain(&wanted[place]), plain(&found[place]));
            if wanted != found {
                return Err(format!("{} came as {}", shown(&wanted), shown(&found)));
            }
        }
        Ok(wanted.iter().filter(|row| !row[place].is_null()).count())
    };
    (0..types.len()).map(column).collect()
}

#[test]
fn every_type_means_the_same_to_every_client() {
    let bench = Bench::start();
    let matrix = matrix();
    let types: Vec<ColumnType> = matrix.iter().map(|(text, _)| ColumnType::parse(text).unwrap()).collect();
    let columns: Vec<String> = types.iter().enumerate().map(|(place, type_)| format!("c{place} {type_}")).collect();
    // One row for every edge of the longest list, and one of NULLs only.
    let row_count = matrix.iter().map(|(_, edges)| edges.len()).max().unwrap() + 1;
    let rows = |judge: Judge| -> Vec<Vec<Value>> {
        let cell = |edges: &Edges, row: usize| match edges.get(row) {
            Some((value, by)) if judge.can(*by) => value.clone(),
            _ => Value::Null,
        };
        (0..row_count).map(|row| matrix.iter().map(|(_, edges)| cell(edges, row)).collect()).collect()
    };
    let notes = |rows: &[Vec<Value>]| -> Vec<Vec<Json>> {
        let note = |row: &Vec<Value>| types.iter().zip(row).map(|(type_, value)| noted(type_, value)).collect();
        rows.iter().map(note).collect()
    };
    let mut directions = Vec::new();
    for judge in [Judge::PyOdps, Judge::Java] {
        let (rows, noted) = (rows(judge), notes(&rows(judge)));
        let table = format!("to_{judge:?}").to_lowercase();
        bench.sql(&format!("create table {table} ({})", columns.join(", ")));
        bench.write(&table, &rows);
        directions.push((format!("forebay -> {judge:?}"), compare(&types, &noted, &bench.dump(judge, &table))));
        let table = format!("from_{judge:?}").to_lowercase();
        bench.sql(&format!("create table {table} ({})", columns.join(", ")));
        bench.load(judge, &table, &noted);
        directions.push((format!("{judge:?} -> forebay"), compare(&types, &noted, &bench.read(&table))));
    }
    let mut faults = Vec::new();
    let head: String = directions.iter().map(|(name, _)| format!(" | {name:<17}")).collect();
    println!("\n{:<36}{head}", "values that came as they were");
    for (place, type_) in types.iter().enumerate() {
        let mut line = format!("{:<36}", type_.to_string().chars().take(36).collect::<String>());
        for (name, results) in &directions {
            let cell = match &results[place] {
                Ok(count) => count.to_string(),
                Err(why) => {
                    faults.push(format!("{name}, {type_}: {why}"));
                    "DIFFERENT".to_owned()
                }
            };
            line.push_str(&format!(" | {cell:<17}"));
        }
        println!("{line}");
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn the_comparison_sees_what_matters() {
    let same = |a: Json, b: Json| plain(&a) == plain(&b);
    assert!(same(json!({"map": [["a", 1], ["b", 2]]}), json!({"map": [["b", 2], ["a", 1]]})));
    assert!(same(json!({"decimal": "12.30"}), json!({"decimal": "12.3"})));
    assert!(same(json!({"json_text": "{\"a\": 1}"}), json!({"json_text": "{\"a\":1}"})));
    assert!(!same(json!({"map": [["a", 1]]}), json!({"map": [["a", 2]]})));
    assert!(!same(json!({"decimal": "10"}), json!({"decimal": "1"})));
    assert!(!same(json!([1, null]), json!([1])));
    assert!(!same(json!(null), json!("")));
    assert!(!same(json!({"bits": "8000000000000000"}), json!({"bits": "0000000000000000"})));
}
