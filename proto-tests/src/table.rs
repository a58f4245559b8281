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
    let mut python = command(cached("venv").join("bin/python"));
    python.arg(package_folder().join("python/read_table.py")).args(account.sdk_arguments()).arg(table);
    parse(&run(python, b"", LIMIT).expect_success())
}

/// Reads a table with odps-sdk-java's `TableTunnel`.
#[must_use]
pub fn read_with_java(account: &Account, table: &str) -> Table {
    let mut java = java::program(ODPS_SDK, "ReadTable");
    java.args(account.sdk_arguments()).arg(table);
    parse(&run(java, b"", LIMIT).expect_success())
}

/// Both readers print one JSON array a line: first the column names, then a row a line, each cell `null` or the bytes of a
/// STRING in hexadecimal.
fn parse(output: &Output) -> Table {
    let text = output.stdout_text();
    let mut lines = text.lines().map(|line| {
        let cells: Vec<Option<String>> = serde_json::from_str::<Vec<Value>>(line)
            .map_err(|error| error.to_string())
            .and_then(cells)
            .unwrap_or_else(|error| panic!("not a row: {error}: {line}\n{}", output.describe()));
        cells
    });
    let columns = lines.next().unwrap_or_else(|| panic!("no column names in {}", output.describe()));
    let columns: Vec<String> = columns.into_iter().flatten().collect();
    let rows: Vec<Row> =
        lines.map(|cells| cells.into_iter().map(|cell| cell.map(|hex| from_hex(&hex))).collect()).collect();
    assert!(rows.iter().all(|row| row.len() == columns.len()), "rows of other lengths in {}", output.describe());
    Table { columns, rows }
}

fn cells(values: Vec<Value>) -> Result<Vec<Option<String>>, String> {
    let cell = |value| match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        other => Err(format!("neither null nor a string: {other}")),
    };
    values.into_iter().map(cell).collect()
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
