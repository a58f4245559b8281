//! PyODPS and odps-sdk-java against the local MaxCompute, unmodified: what either writes, both read, value for value.
//!
//! The programs in `python/` and `java/MaxComputeTables.java` print rows as JSON lines in one notation, so writers and
//! readers can be paired freely. TIMESTAMP columns need pandas in PyODPS and are left to odps-sdk-java alone.

mod program;
mod signatures;
mod sql;

use std::process::Command;
use std::time::Duration;

use forebay::sandbox::maxcompute::{Action, Fault};
use forebay_proto_tests::java::{self, ODPS_SDK};
use forebay_proto_tests::maxcompute::{Account, LocalMaxCompute};
use forebay_proto_tests::process::{Output, command, run};
use forebay_proto_tests::scratch::{cached, package_folder};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(180);

/// Columns both clients write and read, without moments finer than milliseconds.
const COLUMNS: &str = "ti tinyint, si smallint, i int, b bigint, f float, d double, bo boolean, s string, bi binary, \
     c char(5), v varchar(10), de decimal(10,3), da date, dt datetime, j json, a array<string>, m map<string,bigint>, \
     st struct<x:bigint,y:string>, aa array<array<bigint>>";

/// Ordinary values, the edges of the types, NULL everywhere.
const ROWS: &str = concat!(
    r#"[1,2,3,4,{"bits":"3fc00000"},{"bits":"40091eb851eb851f"},true,"h\u00e9llo\n\"q\", \\N",{"bytes_hex":"00ff10"},"ab","xyz","#,
    r#"{"decimal":"12.340"},{"epoch_days":19724},{"epoch_millis":1704164645678},{"json_text":"[1]"},["a",null,"c"],"#,
    r#"{"map":[["k",5]]},{"struct":[["x",7],["y",null]]},[[1],[],[2,3]]]"#,
    "\n",
    r#"[-128,-32768,-2147483648,9223372036854775807,{"bits":"80000000"},{"bits":"8000000000000000"},false,"",{"bytes_hex":""},"","","#,
    r#"{"decimal":"-0.500"},{"epoch_days":-25567},{"epoch_millis":-1},{"json_text":"[]"},[],{"map":[]},"#,
    r#"{"struct":[["x",null],["y","z"]]},[]]"#,
    "\n",
    "[null,null,null,null,null,null,null,null,null,null,null,null,null,null,null,null,null,null,null]\n",
);

/// The two official clients.
#[derive(Clone, Copy, Debug)]
enum Sdk {
    Python,
    Java,
}

impl Sdk {
    /// A program of this client: `dump`, `load`, `stream` or `sql`.
    fn program(self, account: &Account, what: &str) -> Command {
        let mut program = match self {
            Self::Python => {
                let file = match what {
                    "dump" => "dump_table.py",
                    "load" => "load_table.py",
                    "stream" => "stream_table.py",
                    _ => "run_sql.py",
                };
                let mut python = command(cached("venv").join("bin/python"));
                python.arg(package_folder().join("python").join(file));
                python
            }
            Self::Java => {
                let mut java = java::program(ODPS_SDK, "MaxComputeTables");
                java.arg(what);
                java
            }
        };
        // No tunnel endpoint: the client has to discover it.
        program.args(["--endpoint", &account.endpoint, "--project", &account.project]);
        program.args(["--access-id", &account.access_id, "--access-key", &account.access_key]);
        program
    }

    fn sql(self, account: &Account, sql: &str) -> Output {
        let mut program = self.program(account, "sql");
        if matches!(self, Self::Java) {
            program.arg("--sql");
        }
        program.arg(sql);
        run(program, b"", LIMIT)
    }

    fn load(self, account: &Account, table: &str, packing: &str, more: &[&str], rows: &str) {
        let mut program = self.program(account, "load");
        program.args(["--table", table]).args(more).args(packed(packing));
        let _ = run(program, rows.as_bytes(), LIMIT).expect_success();
    }

    /// The first line, then the rows in an order of their own.
    fn dump(self, account: &Account, packing: &str, more: &[&str]) -> (Value, Vec<Value>) {
        let mut program = self.program(account, "dump");
        program.args(more).args(packed(packing));
        let text = run(program, b"", LIMIT).expect_success().stdout_text();
        let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("a JSON line"));
        let head = lines.next().expect("a first line");
        (head, sorted(lines))
    }

    fn flag(self, name: &'static str, set: bool) -> Vec<&'static str> {
        match (self, set) {
            (_, false) => Vec::new(),
            (Self::Python, true) => vec![name],
            (Self::Java, true) => vec![name, "true"],
        }
    }
}

fn packed(packing: &str) -> Vec<&str> {
    if packing.is_empty() { Vec::new() } else { vec!["--compress", packing] }
}

fn sorted(rows: impl Iterator<Item = Value>) -> Vec<Value> {
    let mut rows: Vec<Value> = rows.collect();
    rows.sort_by_key(ToString::to_string);
    rows
}

/// The names of both SDKs' compressions.
const PACKINGS: [&str; 4] = ["zlib", "snappy", "lz4", "zstd"];

/// The rows, each so many times.
fn times(times: usize) -> Vec<Value> {
    expected().into_iter().flat_map(|row| std::iter::repeat_n(row, times)).collect()
}

fn expected() -> Vec<Value> {
    sorted(ROWS.lines().map(|line| serde_json::from_str(line).expect("a row")))
}

#[test]
fn what_one_sdk_writes_both_read() {
    let local = LocalMaxCompute::start();
    let account = local.account();
    let _ = Sdk::Python.sql(account, &format!("create table types ({COLUMNS});")).expect_success();
    // Downloads are packed by the code that packs forebay's own uploads, so each SDK judges those bytes here, and forebay's
    // unpackers are judged by what the SDKs pack.
    let mut loads = 0;
    for writer in [Sdk::Python, Sdk::Java] {
        for packing in PACKINGS {
            let overwrite = writer.flag("--overwrite", loads == 0);
            let more: Vec<&str> = overwrite.into_iter().chain(["--blocks", "2"]).collect();
            writer.load(account, "types", packing, &more, ROWS);
            loads += 1;
        }
    }
    for reader in [Sdk::Python, Sdk::Java] {
        for packing in PACKINGS {
            let (head, rows) = reader.dump(account, packing, &["--table", "types"]);
            assert_eq!(head["count"], 3 * loads, "{reader:?}");
            assert_eq!(rows, times(loads), "{reader:?}, {packing}");
        }
    }
    Sdk::Java.load(account, "types", "", &Sdk::Java.flag("--overwrite", true), ROWS);
    // A query passes every value on, and the instance tunnel knows every type.
    for reader in [Sdk::Python, Sdk::Java] {
        let (head, rows) = reader.dump(account, "", &["--sql", "select * from types;"]);
        let (table_head, _) = reader.dump(account, "", &["--table", "types"]);
        assert_eq!((head, rows), (table_head, expected()), "{reader:?}");
        let (_, rows) = reader.dump(account, "zlib", &["--table", "types", "--columns", "s,b"]);
        assert_eq!(rows.len(), 3);
        assert!(rows.contains(&json!(["", 9_223_372_036_854_775_807_i64])), "{reader:?}: {rows:?}");
    }
    assert!(local.requests("discovery") > 0);
}

#[test]
fn moments_to_the_nanosecond_by_java() {
    let local = LocalMaxCompute::start();
    let account = local.account();
    let _ = Sdk::Java.sql(account, "create table moments (ts timestamp, tn timestamp_ntz);").expect_success();
    let rows = concat!(
        r#"[{"seconds":1704164645,"nanos":123456789},{"seconds":-2,"nanos":1}]"#,
        "\n",
        r#"[{"seconds":-1,"nanos":500000000},null]"#,
        "\n"
    );
    Sdk::Java.load(account, "moments", "", &[], rows);
    let expected = sorted(rows.lines().map(|line| serde_json::from_str(line).expect("a row")));
    assert_eq!(Sdk::Java.dump(account, "", &["--table", "moments"]).1, expected);
    assert_eq!(Sdk::Java.dump(account, "", &["--sql", "select * from moments;"]).1, expected);
}

#[test]
fn partitions_and_results_as_text() {
    let local = LocalMaxCompute::start();
    let account = local.account();
    for (sdk, day) in [(Sdk::Python, "20240101"), (Sdk::Java, "20240102")] {
        let ddl = "create table if not exists days (`key` string, `offset` bigint) partitioned by (pt string);";
        let _ = sdk.sql(account, ddl).expect_success();
        let _ = sdk.sql(account, &format!("alter table days add partition (pt='{day}');")).expect_success();
        sdk.load(account, "days", "", &["--partition", &format!("pt={day}")], "[null,1]\n[\"a,\\\"b\\\"\",2]\n");
    }
    for sdk in [Sdk::Python, Sdk::Java] {
        let (_, rows) = sdk.dump(account, "", &["--table", "days", "--partition", "pt='20240102'"]);
        assert_eq!(rows, [json!(["a,\"b\"", 2]), json!([null, 1])], "{sdk:?}");
        let (_, rows) = sdk.dump(account, "", &["--sql", "select pt, sum(offset) from days group by pt;"]);
        assert_eq!(rows, [json!(["20240101", 3]), json!(["20240102", 3])], "{sdk:?}");
    }
    let query = "select * from days where pt = '20240102' order by offset";
    let mut csv = Sdk::Python.program(account, "sql");
    csv.args(["--no-tunnel", query]);
    let text = run(csv, b"", LIMIT).expect_success().stdout_text();
    assert_eq!(text, "[null,\"1\",\"20240102\"]\n[\"a,\\\"b\\\"\",\"2\",\"20240102\"]\n");
    let result = Sdk::Java.sql(account, &format!("{query};")).expect_success().stdout_text();
    let result: Value = serde_json::from_str(&result).expect("a JSON line");
    let expected = "\"key\",\"offset\",\"pt\"\n\\N,\"1\",\"20240102\"\n\"a,\"\"b\"\"\",\"2\",\"20240102\"\n";
    assert_eq!((result["status"].as_str(), result["result"].as_str()), (Some("SUCCESS"), Some(expected)));
}

#[test]
fn failures_reach_the_sdks_as_the_services_own() {
    let local = LocalMaxCompute::start();
    let account = local.account();
    for sdk in [Sdk::Python, Sdk::Java] {
        let failed = sdk.sql(account, "select * from nope;");
        assert!(failed.code != 0, "{sdk:?}: {}", failed.describe());
        let text = failed.stdout_text();
        assert!(text.contains("ODPS-0130131:[1,15] Table not found"), "{sdk:?}: {text}");
        let stranger = Account { access_key: "another".to_owned(), ..account.clone() };
        // Java throws the answer to a refused POST away, so this asks with a GET first: discovery.
        let mut dump = sdk.program(&stranger, "dump");
        dump.args(["--table", "nope"]);
        let refused = run(dump, b"", LIMIT);
        assert!(refused.code != 0, "{sdk:?}");
        assert!(refused.describe().contains("ODPS-0410042"), "{sdk:?}: {}", refused.describe());
    }
}

/// Both clients' stream sessions: every type, every packing, partitions, slots that move, a changed schema.
#[test]
fn streams_of_the_sdks() {
    let local = LocalMaxCompute::start();
    let account = local.account();
    let stream = |sdk: Sdk, more: &[&str], rows: &str| -> Value {
        let mut program = sdk.program(account, "stream");
        program.args(more);
        let text = run(program, rows.as_bytes(), LIMIT).expect_success().stdout_text();
        serde_json::from_str(&text).expect("a JSON line")
    };
    // PyODPS's own stream writer cannot pack with lz4: it ends the frame twice.
    for (sdk, packings) in [(Sdk::Python, ["", "zlib", "snappy", "zstd"]), (Sdk::Java, ["", "snappy", "lz4", "zstd"])] {
        let table = format!("s_{sdk:?}").to_lowercase();
        let _ = Sdk::Python.sql(account, &format!("create table {table} ({COLUMNS});")).expect_success();
        for packing in packings {
            let more: Vec<&str> = ["--table", &table, "--pack-rows", "2"].into_iter().chain(packed(packing)).collect();
            let done = stream(sdk, &more, ROWS);
            assert_eq!(
                (&done["rows"], &done["packs"], done["schema_version"].as_str()),
                (&json!(3), &json!(2), Some("1"))
            );
        }
        assert_eq!(Sdk::Java.dump(account, "", &["--table", &table]).1, times(packings.len()), "{sdk:?}");
    }
    // Partitions on demand, several slots, and slots that are other ones after each pack.
    let ddl = "create table sp (n bigint) partitioned by (pt string);";
    let _ = Sdk::Java.sql(account, ddl).expect_success();
    let numbers: String = (0..20).map(|n| format!("[{n}]\n")).collect();
    for sdk in [Sdk::Python, Sdk::Java] {
        let partition = format!("pt={sdk:?}");
        let mut more = vec!["--table", "sp", "--partition", &partition, "--slots", "3"];
        more.extend(sdk.flag("--create-partition", true));
        let before = local.requests("stream_reload");
        local.service().faults().push(Fault::before("stream_write", Action::MoveSlots { slots: 5 }).skip(3));
        local.service().faults().push(Fault::before("stream_write", Action::MoveSlots { slots: 2 }).skip(5));
        let done = stream(sdk, &more, &numbers);
        assert_eq!(done["packs"], 20, "{sdk:?}");
        assert!(local.requests("stream_reload") > before, "{sdk:?} follows the slots");
        let (head, _) = Sdk::Java.dump(account, "", &["--table", "sp", "--partition", &partition]);
        assert_eq!(head["count"], 20, "{sdk:?}");
    }
    // The table's present schema, which the tunnel may learn of late.
    let _ = Sdk::Java.sql(account, "create table sv (n bigint);").expect_success();
    let _ = Sdk::Java.sql(account, "alter table sv add columns (s string);").expect_success();
    for sdk in [Sdk::Python, Sdk::Java] {
        let mut more = vec!["--table", "sv"];
        more.extend(sdk.flag("--latest-schema", true));
        let done = stream(sdk, &more, "[1,\"a\"]\n");
        assert_eq!(done["schema_version"], "2", "{sdk:?}");
    }
    assert_eq!(Sdk::Java.dump(account, "", &["--table", "sv"]).1, [json!([1, "a"]), json!([1, "a"])]);
}
