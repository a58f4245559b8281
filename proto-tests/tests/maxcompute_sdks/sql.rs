//! What SQL the local MaxCompute runs for the official clients: tables and partitions made, changed and dropped, rows inserted,
//! and queries with filters, joins, aggregates, order and limit. PyODPS reads results through the instance tunnel and from
//! their text, odps-sdk-java by its SQLTask.

use forebay_proto_tests::java::{self, ODPS_SDK};
use forebay_proto_tests::maxcompute::LocalMaxCompute;
use forebay_proto_tests::process::{command, run};
use forebay_proto_tests::scratch::{cached, package_folder};
use serde_json::{Value, json};

use super::LIMIT;

/// Statements in order, each with its rows, or with words of the failure.
fn script() -> Vec<(&'static str, Result<Value, &'static str>)> {
    let nothing = || Ok(json!([]));
    vec![
        ("drop table if exists sales", nothing()),
        ("drop table if exists regions", nothing()),
        (
            "create table sales (id bigint, shop string, amount decimal(10,2), d double, at datetime) \
             partitioned by (pt string, hh bigint) lifecycle 30",
            nothing(),
        ),
        ("create table sales (id bigint)", Err("already exists")),
        ("create table if not exists sales (id bigint)", nothing()),
        ("create table regions (shop string, region string)", nothing()),
        // Partitions.
        ("alter table sales add partition (pt='1', hh=10)", nothing()),
        ("alter table sales add partition (pt='1', hh=10)", Err("already exists")),
        ("alter table sales add if not exists partition (pt='1', hh=10) partition (pt='2', hh=11)", nothing()),
        ("alter table sales add if not exists partition (pt='3', hh=12)", nothing()),
        ("alter table sales drop partition (pt='3', hh=12)", nothing()),
        ("alter table sales drop if exists partition (pt='3', hh=12)", nothing()),
        // Rows.
        (
            "insert into sales partition (pt='1', hh=10) values (1, 'a', 1.50, 0.5, '2024-01-02 03:04:05'), \
             (2, 'b', 20, -1.25, null), (3, null, null, null, null)",
            nothing(),
        ),
        (
            "insert into table sales partition (pt='2', hh=11) values (4, 'a', 100.25, 3, null), (5, 'c', 7, 1e3, null)",
            nothing(),
        ),
        ("insert overwrite table regions values ('x', 'gone')", nothing()),
        ("insert overwrite table regions values ('a', 'north'), ('b', 'south'), ('d', 'nowhere')", nothing()),
        // Filters, order, limit.
        (
            "select id, shop from sales where pt = '1' and amount >= 1.5 order by id",
            Ok(json!([["1", "a"], ["2", "b"]])),
        ),
        ("select id from sales where shop is null or shop in ('c') order by id desc", Ok(json!([["5"], ["3"]]))),
        (
            "select id from sales where shop like 'a%' and not (id between 2 and 3) order by id",
            Ok(json!([["1"], ["4"]])),
        ),
        ("select id, pt, hh from sales order by id desc limit 2", Ok(json!([["5", "2", "11"], ["4", "2", "11"]]))),
        ("select distinct pt from sales order by pt", Ok(json!([["1"], ["2"]]))),
        (
            "select case when id > 3 then 'late' else 'early' end w, id * 2 + 1 from sales where id in (3, 4) order by id",
            Ok(json!([["early", "7"], ["late", "9"]])),
        ),
        // Joins.
        (
            "select s.id, r.region from sales s join regions r on s.shop = r.shop order by s.id",
            Ok(json!([["1", "north"], ["2", "south"], ["4", "north"]])),
        ),
        (
            "select s.id, r.region from sales s left outer join regions r on s.shop = r.shop order by s.id",
            Ok(json!([["1", "north"], ["2", "south"], ["3", null], ["4", "north"], ["5", null]])),
        ),
        // Aggregates.
        (
            "select count(*), count(shop), count(distinct shop), sum(id), min(id), max(id) from sales",
            Ok(json!([["5", "4", "3", "15", "1", "5"]])),
        ),
        (
            "select r.region, sum(s.amount) total, count(*) from sales s join regions r on s.shop = r.shop \
             group by r.region having count(*) > 0 order by r.region",
            Ok(json!([["north", "101.75", "2"], ["south", "20", "1"]])),
        ),
        (
            "select pt, avg(d) from sales where d is not null group by pt order by pt",
            Ok(json!([["1", "-0.375"], ["2", "501.5"]])),
        ),
        ("select t.n from (select count(*) n from sales group by pt) t order by t.n", Ok(json!([["2"], ["3"]]))),
        // A changed table, and one filled from a query.
        ("alter table regions add columns (note string)", nothing()),
        ("insert into regions select shop, concat('of ', pt), 'late' from sales where id = 5", nothing()),
        (
            "select * from regions where note is not null or shop = 'a' order by shop",
            Ok(json!([["a", "north", null], ["c", "of 2", "late"]])),
        ),
        ("create table copies as select id, shop from sales where pt = '2'", nothing()),
        ("select * from copies order by id", Ok(json!([["4", "a"], ["5", "c"]]))),
        ("truncate table copies", nothing()),
        ("select count(*) from copies", Ok(json!([["0"]]))),
        ("drop table copies", nothing()),
        ("select * from copies", Err("Table not found")),
        ("drop table copies", Err("Table not found")),
        ("select nope from sales", Err("nope")),
        ("selekt 1", Err("ODPS-0130161")),
    ]
}

/// Numbers as numbers: 20, 20.0 and 20.00 are the same amount.
fn same(wanted: &Value, found: &Value) -> bool {
    match (wanted, found) {
        (Value::Array(wanted), Value::Array(found)) => {
            wanted.len() == found.len() && wanted.iter().zip(found).all(|(wanted, found)| same(wanted, found))
        }
        (Value::String(wanted), Value::String(found)) => {
            let number = |text: &str| text.parse::<f64>().ok();
            wanted == found || number(wanted).is_some_and(|wanted| number(found) == Some(wanted))
        }
        _ => wanted == found,
    }
}

#[test]
fn statements_and_queries_of_both_clients() {
    let local = LocalMaxCompute::start();
    let account = local.account();
    let options = [
        ["--endpoint", &account.endpoint],
        ["--project", &account.project],
        ["--access-id", &account.access_id],
        ["--access-key", &account.access_key],
    ]
    .concat();
    let python = |more: &[&str]| {
        let mut python = command(cached("venv").join("bin/python"));
        python.arg(package_folder().join("python/sql_lines.py")).args(&options).args(more);
        python
    };
    let mut java = java::program(ODPS_SDK, "SqlLines");
    java.args(&options);
    let script = script();
    let lines: String = script.iter().map(|(sql, _)| format!("{}\n", json!(sql))).collect();
    let clients =
        [("PyODPS, tunnel", python(&[])), ("PyODPS, text", python(&["--no-tunnel"])), ("odps-sdk-java", java)];
    let mut faults = Vec::new();
    for (client, program) in clients {
        let output = run(program, lines.as_bytes(), LIMIT).expect_success();
        let answers: Vec<Value> =
            output.stdout_text().lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect();
        assert_eq!(answers.len(), script.len(), "{client}: {}", output.describe());
        for ((sql, wanted), answer) in script.iter().zip(&answers) {
            let right = match wanted {
                Ok(rows) => same(rows, &answer["rows"]),
                Err(words) => answer["error"].as_str().is_some_and(|text| text.contains(words)),
            };
            if !right {
                faults.push(format!("{client}: {sql}\n  wanted {wanted:?}\n  found  {answer}"));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}
