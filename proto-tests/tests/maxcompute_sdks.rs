//! PyODPS and odps-sdk-java against the local MaxCompute, unmodified: what either writes, both read, value for value.
//!
//! The programs in `python/` and `java/MaxComputeTables.java` print rows as JSON lines in one notation, so writers and
//! readers can be paired freely. TIMESTAMP columns need pandas in PyODPS and are left to odps-sdk-java alone.

use std::process::Command;
use std::time::Duration;

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
    /// A program of this client: `dump`, `load` or `sql`.
    fn program(self, account: &Account, what: &str) -> Command {
        let mut program = match self {
            Self::Python => {
                let file = match what {
                    "dump" => "dump_table.py",
                    "load" => "load_table.py",
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

    fn load(self, account: &Account, table: &str, compress: bool, more: &[&str], rows: &str) {
        let mut program = self.program(account, "load");
        program.args(["--table", table]).args(more).args(self.flag("--compress", compress));
        let _ = run(program, rows.as_bytes(), LIMIT).expect_success();
    }

    /// The first line, then the rows in an order of their own.
    fn dump(self, account: &Account, compress: bool, more: &[&str]) -> (Value, Vec<Value>) {
        let mut program = self.program(account, "dump");
        program.args(more).args(self.flag("--compress", compress));
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

fn sorted(rows: impl Iterator<Item = Value>) -> Vec<Value> {
    let mut rows: Vec<Value> = rows.collect();
    rows.sort_by_key(ToString::to_string);
    rows
}

fn expected() -> Vec<Value> {
    sorted(ROWS.lines().map(|line| serde_json::from_str(line).expect("a row")))
}

#[test]
fn what_one_sdk_writes_both_read() {
    let local = LocalMaxCompute::start();
    let account = local.account();
    let _ = Sdk::Python.sql(account, &format!("create table types ({COLUMNS});")).expect_success();
    for (writer, compress) in [(Sdk::Python, false), (Sdk::Java, true), (Sdk::Python, true), (Sdk::Java, false)] {
        let overwrite = writer.flag("--overwrite", true);
        let more: Vec<&str> = overwrite.into_iter().chain(["--blocks", "2"]).collect();
        writer.load(account, "types", compress, &more, ROWS);
        for reader in [Sdk::Python, Sdk::Java] {
            let (head, rows) = reader.dump(account, !compress, &["--table", "types"]);
            assert_eq!(head["count"], 3, "{writer:?} to {reader:?}");
            assert_eq!(rows, expected(), "{writer:?} to {reader:?}, compressed {compress}");
        }
    }
    // A query passes every value on, and the instance tunnel knows every type.
    for reader in [Sdk::Python, Sdk::Java] {
        let (head, rows) = reader.dump(account, false, &["--sql", "select * from types;"]);
        let (table_head, _) = reader.dump(account, false, &["--table", "types"]);
        assert_eq!((head, rows), (table_head, expected()), "{reader:?}");
        let (_, rows) = reader.dump(account, true, &["--table", "types", "--columns", "s,b"]);
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
    Sdk::Java.load(account, "moments", false, &[], rows);
    let expected = sorted(rows.lines().map(|line| serde_json::from_str(line).expect("a row")));
    assert_eq!(Sdk::Java.dump(account, false, &["--table", "moments"]).1, expected);
    assert_eq!(Sdk::Java.dump(account, false, &["--sql", "select * from moments;"]).1, expected);
}

#[test]
fn partitions_and_results_as_text() {
    let local = LocalMaxCompute::start();
    let account = local.account();
    for (sdk, day) in [(Sdk::Python, "20240101"), (Sdk::Java, "20240102")] {
        let ddl = "create table if not exists days (`key` string, `offset` bigint) partitioned by (pt string);";
        let _ = sdk.sql(account, ddl).expect_success();
        let _ = sdk.sql(account, &format!("alter table days add partition (pt='{day}');")).expect_success();
        sdk.load(account, "days", false, &["--partition", &format!("pt={day}")], "[null,1]\n[\"a,\\\"b\\\"\",2]\n");
    }
    for sdk in [Sdk::Python, Sdk::Java] {
        let (_, rows) = sdk.dump(account, false, &["--table", "days", "--partition", "pt='20240102'"]);
        assert_eq!(rows, [json!(["a,\"b\"", 2]), json!([null, 1])], "{sdk:?}");
        let (_, rows) = sdk.dump(account, false, &["--sql", "select pt, sum(offset) from days group by pt;"]);
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
