//! Tables read back by the official SDKs, and the comparison that judges them.

use std::time::Duration;

use serde_json::Value;

use crate::java::{self, ODPS_SDK};
use crate::maxcompute::Account;
use crate::process::{Output, command, run};
use crate::scratch::{cached, package_folder};

const LIMIT: Duration = Duration::from_secs(180);

/// One row: a cell a column, `None` for NULL. An empty string is not NULL.
pub type Row = Vec<Option<Vec<u8>>>;

/// What a reader found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Column names in table order.
    pub columns: Vec<String>,
    /// Rows in no particular order.
    pub rows: Vec<Row>,
}

/// Reads a table with PyODPS's `TableTunnel`.
#[must_use]
pub fn read_with_pyodps(account: &Account, table: &str) -> Table {
    read_partition_with_pyodps(account, table, None)
}

/// The same, of one partition, such as `pt=1,hh=2`.
#[must_use]
pub fn read_partition_with_pyodps(account: &Account, table: &str, partition: Option<&str>) -> Table {
    let mut python = command(cached("venv").join("bin/python"));
    python.arg(package_folder().join("python/dump_table.py")).args(account.sdk_options()).args(["--table", table]);
    python.args(partition.into_iter().flat_map(|partition| ["--partition", partition]));
    parse(&run(python, b"", LIMIT).expect_success())
}

/// Reads a table with odps-sdk-java's `TableTunnel`.
#[must_use]
pub fn read_with_java(account: &Account, table: &str) -> Table {
    read_partition_with_java(account, table, None)
}

/// The same, of one partition, such as `pt=1,hh=2`.
#[must_use]
pub fn read_partition_with_java(account: &Account, table: &str, partition: Option<&str>) -> Table {
    let mut java = java::program(ODPS_SDK, "MaxComputeTables");
    java.arg("dump").args(account.sdk_options()).args(["--table", table]);
    java.args(partition.into_iter().flat_map(|partition| ["--partition", partition]));
    parse(&run(java, b"", LIMIT).expect_success())
}

/// Both readers print JSON lines: first an object whose member `columns` names the columns, then an array a row.
fn parse(output: &Output) -> Table {
    let text = output.stdout_text();
    let mut lines = text.lines().map(|line| {
        let value = serde_json::from_str::<Value>(line);
        value.unwrap_or_else(|error| panic!("not JSON: {error}: {line}\n{}", output.describe()))
    });
    let head = lines.next().unwrap_or_else(|| panic!("nothing from {}", output.describe()));
    let names = head.get("columns").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let columns: Vec<String> = names.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    let row = |line: Value| -> Row {
        let cells = line.as_array().filter(|cells| cells.len() == columns.len());
        let cells = cells.unwrap_or_else(|| panic!("not a row of {} cells: {line}", columns.len()));
        cells.iter().map(cell).collect()
    };
    Table { rows: lines.map(row).collect(), columns }
}

/// A cell as `python/maxcompute.py` describes it: a text, a number, or the bytes of what is no text.
fn cell(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.as_bytes().to_vec()),
        Value::Number(number) => Some(number.to_string().into_bytes()),
        other => {
            let hex = other.get("bytes_hex").and_then(Value::as_str);
            Some(from_hex(hex.unwrap_or_else(|| panic!("a cell of a type that no test here reads: {other}"))))
        }
    }
}

fn from_hex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "half a byte: {text}");
    let digit = |index: usize| text.get(index..index + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    (0..text.len()).step_by(2).map(|index| digit(index).unwrap_or_else(|| panic!("not hexadecimal: {text}"))).collect()
}

/// What is wrong with `actual`, if it is not exactly the rows `expected` in some order: every row that is missing and
/// every row too many, each as often as that is so.
#[must_use]
pub fn difference(expected: &[Row], actual: &[Row]) -> Option<String> {
    let (mut expected, mut actual) = (expected.to_vec(), actual.to_vec());
    expected.sort();
    actual.sort();
    let (mut missing, mut surplus) = (Vec::new(), Vec::new());
    let (mut wanted, mut found) = (expected.iter().peekable(), actual.iter().peekable());
    loop {
        match (wanted.peek(), found.peek()) {
            (Some(want), Some(have)) if want == have => {
                wanted.next();
                found.next();
            }
            (Some(want), Some(have)) if want < have => missing.extend(wanted.next()),
            (Some(_), None) => missing.extend(wanted.next()),
            (_, Some(_)) => surplus.extend(found.next()),
            (None, None) => break,
        }
    }
    if missing.is_empty() && surplus.is_empty() {
        return None;
    }
    let lines =
        |mark: &str, rows: Vec<&Row>| -> String { rows.iter().map(|row| format!("{mark} {}\n", show(row))).collect() };
    Some(format!(
        "{} row(s) missing (-), {} too many (+)\n{}{}",
        missing.len(),
        surplus.len(),
        lines("-", missing),
        lines("+", surplus)
    ))
}

fn show(row: &Row) -> String {
    let cells = row.iter().map(|cell| match cell {
        Some(bytes) => format!("\"{}\"", bytes.escape_ascii()),
        None => "NULL".to_owned(),
    });
    cells.collect::<Vec<_>>().join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[Option<&str>]) -> Row {
        cells.iter().map(|cell| cell.map(|text| text.as_bytes().to_vec())).collect()
    }

    /// key, value, partition, timestamp, offset.
    fn rows() -> Vec<Row> {
        vec![
            row(&[None, Some("123"), Some("1"), Some("1500000000001"), Some("0")]),
            row(&[None, Some("abc"), Some("1"), Some("1500000000002"), Some("1")]),
            row(&[Some("k"), Some(""), Some("7"), Some("1500000000003"), Some("0")]),
        ]
    }

    #[test]
    fn what_the_readers_print_is_read() {
        let stdout = br#"{"columns": ["a", "b"], "types": ["string", "bigint"], "count": 2}
[null, 12]
["", {"bytes_hex": "00ff"}]
"#;
        let output = Output { command: String::new(), code: 0, stdout: stdout.to_vec(), stderr: Vec::new() };
        let rows = vec![vec![None, Some(b"12".to_vec())], vec![Some(Vec::new()), Some(vec![0, 255])]];
        assert_eq!(parse(&output), Table { columns: vec!["a".to_owned(), "b".to_owned()], rows });
    }

    #[test]
    fn the_same_rows_in_another_order_are_equal() {
        let mut other = rows();
        other.reverse();
        assert_eq!(difference(&rows(), &other), None);
    }

    #[test]
    fn one_wrong_byte_offset_or_timestamp_is_a_difference() {
        let changes: [(&str, usize, usize, Option<&str>); 8] = [
            ("one byte of a value", 1, 1, Some("abd")),
            ("a byte more", 1, 1, Some("abc ")),
            ("an offset", 1, 4, Some("2")),
            ("a timestamp", 0, 3, Some("1500000000000")),
            ("a partition", 2, 2, Some("8")),
            ("NULL for an empty value", 2, 1, None),
            ("an empty key for none", 0, 0, Some("")),
            ("another key", 2, 0, Some("K")),
        ];
        for (what, row, column, cell) in changes {
            let mut other = rows();
            other[row][column] = cell.map(|text| text.as_bytes().to_vec());
            let found = difference(&rows(), &other).unwrap_or_else(|| panic!("{what} goes unseen"));
            assert!(found.starts_with("1 row(s) missing (-), 1 too many (+)\n"), "{what}: {found}");
            assert!(difference(&other, &rows()).is_some(), "{what}, the other way round");
        }
    }

    #[test]
    fn a_row_lost_or_doubled_is_a_difference() {
        let mut more = rows();
        more.push(more[1].clone());
        let found = difference(&rows(), &more).expect("one too many");
        assert!(found.starts_with("0 row(s) missing (-), 1 too many (+)\n+ NULL | \"abc\""), "{found}");
        assert!(difference(&more, &rows()).expect("one missing").starts_with("1 row(s) missing (-), 0 too many (+)\n"));
        assert!(difference(&rows(), &[]).expect("all missing").starts_with("3 row(s) missing"));
    }

    #[test]
    fn columns_exchanged_are_a_difference() {
        let mut other = rows();
        for row in &mut other {
            row.swap(2, 4);
        }
        assert!(difference(&rows(), &other).is_some());
    }
}
