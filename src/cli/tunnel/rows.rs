//! Rows of a file: CSV records and JSON lines, one at a time.

use std::collections::BTreeMap;
use std::io::{BufRead, Read as _};

use jiff::tz::TimeZone;
use serde_json::value::RawValue;

use super::Format;
use super::values::{from_cell, from_json};
use crate::tunnel::{TableSchema, Value};

/// Largest line or CSV record that is read, in bytes: a row of the largest size there is.
const RECORD_BYTES_MAX: usize = 200 * 1024 * 1024;

/// The rows of a file for a table.
pub(super) struct Rows<R> {
    input: R,
    format: Format,
    schema: TableSchema,
    zone: TimeZone,
    /// For each CSV value its column.
    places: Vec<usize>,
    /// The line that the record at hand begins on.
    line: usize,
    lines: usize,
}

impl<R: BufRead> Rows<R> {
    /// Begins; reads the header line of a CSV file, unless the values come in the table's order without one.
    ///
    /// # Errors
    /// What to tell a person: the header names what is no column.
    pub(super) fn new(
        input: R,
        format: Format,
        schema: &TableSchema,
        zone: TimeZone,
        has_header: bool,
    ) -> Result<Self, String> {
        let places = (0..schema.columns.len()).collect();
        let mut rows = Self { input, format, schema: schema.clone(), zone, places, line: 0, lines: 0 };
        if format == Format::Csv && has_header {
            let header = rows.record()?.ok_or("the file is empty: a CSV file begins with the names of the columns")?;
            let name = |cell: Option<Vec<u8>>| String::from_utf8_lossy(&cell.unwrap_or_default()).into_owned();
            let names: Vec<String> = header.into_iter().map(name).collect();
            rows.places = schema.places(&names).map_err(|why| format!("line 1: {why}"))?;
        }
        Ok(rows)
    }

    /// The line that the last row began on, counted from 1.
    pub(super) const fn line(&self) -> usize {
        self.line
    }

    /// The next row with one value a column of the table, or `None` at the end.
    ///
    /// # Errors
    /// What to tell a person: the line, the column, and what is wrong.
    pub(super) fn next_row(&mut self) -> Result<Option<Vec<Value>>, String> {
        match self.format {
            Format::Csv => self.next_csv(),
            Format::Json => self.next_json(),
        }
    }

    fn next_csv(&mut self) -> Result<Option<Vec<Value>>, String> {
        loop {
            let Some(record) = self.record()? else { return Ok(None) };
            // An empty line is a row only where one empty value can be one.
            if self.places.len() != 1 && matches!(record.as_slice(), [Some(only)] if only.is_empty()) {
                continue;
            }
            if record.len() != self.places.len() {
                let message = format!("line {}: {} values for {} columns", self.line, record.len(), self.places.len());
                return Err(message);
            }
            let mut row = vec![Value::Null; self.schema.columns.len()];
            for (cell, place) in record.into_iter().zip(&self.places) {
                let (Some(column), Some(slot)) = (self.schema.columns.get(*place), row.get_mut(*place)) else {
                    continue;
                };
                let Some(cell) = cell else { continue };
                *slot = from_cell(&column.type_, &cell, &self.zone)
                    .map_err(|why| complaint(self.line, &column.name, &column.type_, &cell, &why))?;
            }
            return Ok(Some(row));
        }
    }

    fn next_json(&mut self) -> Result<Option<Vec<Value>>, String> {
        loop {
            let Some(line) = self.next_line()? else { return Ok(None) };
            let text = std::str::from_utf8(&line).map_err(|_| format!("line {}: not UTF-8", self.line))?;
            // A list with one object a line, as `forebay sql -o json` prints it, is taken too.
            let text = text.trim().trim_end_matches(',');
            if matches!(text, "" | "[" | "]" | "[]") {
                continue;
            }
            let members: BTreeMap<String, &RawValue> = serde_json::from_str(text)
                .map_err(|error| format!("line {}: not a JSON object: {error}", self.line))?;
            let mut row = vec![Value::Null; self.schema.columns.len()];
            for (name, raw) in members {
                let place = self.schema.places(&[&name]).map_err(|why| format!("line {}: {why}", self.line))?;
                let place = place.first().copied().unwrap_or_default();
                let (Some(column), Some(slot)) = (self.schema.columns.get(place), row.get_mut(place)) else { continue };
                *slot = from_json(&column.type_, raw, &self.zone)
                    .map_err(|why| complaint(self.line, &column.name, &column.type_, raw.get().as_bytes(), &why))?;
            }
            return Ok(Some(row));
        }
    }

    /// The next line without its end.
    fn next_line(&mut self) -> Result<Option<Vec<u8>>, String> {
        let mut line = Vec::new();
        let bound = RECORD_BYTES_MAX as u64;
        self.line = self.lines.saturating_add(1);
        self.input.by_ref().take(bound).read_until(b'\n', &mut line).map_err(|error| error.to_string())?;
        if line.is_empty() {
            return Ok(None);
        }
        self.lines = self.line;
        if line.len() >= RECORD_BYTES_MAX {
            return Err(format!("line {}: longer than {RECORD_BYTES_MAX} bytes", self.line));
        }
        Ok(Some(line))
    }

    /// The next CSV record: quoted values may hold commas, quotes (doubled) and line ends; a bare `\N` is NULL.
    fn record(&mut self) -> Result<Option<Vec<Option<Vec<u8>>>>, String> {
        let Some(mut text) = self.next_line()? else { return Ok(None) };
        let begin = self.line;
        // A value with a line end in it goes on in the next line: an open quote is an odd number of quotes.
        let mut quotes = count_quotes(&text);
        while quotes % 2 == 1 {
            let more = self.next_line()?.ok_or_else(|| format!("line {begin}: no closing quote"))?;
            quotes = quotes.saturating_add(count_quotes(&more));
            text.extend_from_slice(&more);
            if text.len() > RECORD_BYTES_MAX {
                return Err(format!("line {begin}: longer than {RECORD_BYTES_MAX} bytes"));
            }
        }
        self.line = begin;
        if text.last() == Some(&b'\n') {
            text.pop();
            if text.last() == Some(&b'\r') {
                text.pop();
            }
        }
        let text = if begin == 1 { text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text) } else { &text };
        parse_record(text).map(Some).map_err(|why| format!("line {begin}: {why}"))
    }
}

fn count_quotes(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte == b'"').count()
}

fn parse_record(mut rest: &[u8]) -> Result<Vec<Option<Vec<u8>>>, String> {
    let mut record = Vec::new();
    loop {
        if let Some(mut inside) = rest.strip_prefix(b"\"") {
            let mut value = Vec::new();
            loop {
                let end = inside.iter().position(|byte| *byte == b'"').ok_or("no closing quote")?;
                let (piece, after) = inside.split_at_checked(end).unwrap_or((inside, b""));
                value.extend_from_slice(piece);
                let after = after.strip_prefix(b"\"").unwrap_or(after);
                match after.strip_prefix(b"\"") {
                    Some(more) => {
                        value.push(b'"');
                        inside = more;
                    }
                    None => {
                        rest = after;
                        break;
                    }
                }
            }
            record.push(Some(value));
        } else {
            let end = rest.iter().position(|byte| *byte == b',').unwrap_or(rest.len());
            let (value, after) = rest.split_at_checked(end).unwrap_or((rest, b""));
            if value.contains(&b'"') {
                return Err("a quote inside a value that does not begin with one".to_owned());
            }
            record.push((value != b"\\N").then(|| value.to_vec()));
            rest = after;
        }
        match rest.strip_prefix(b",") {
            Some(more) => rest = more,
            None if rest.is_empty() => return Ok(record),
            None => return Err("text after a closing quote".to_owned()),
        }
    }
}

fn complaint(line: usize, column: &str, type_: &crate::tunnel::ColumnType, value: &[u8], why: &str) -> String {
    let start: String = String::from_utf8_lossy(value).chars().take(40).collect();
    let more = if value.len() > start.len() { "…" } else { "" };
    format!("line {line}, column \"{column}\" ({type_}): \"{}{more}\": {why}", start.escape_debug())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::tunnel::{Column, ColumnType};

    fn schema() -> TableSchema {
        let columns = vec![Column::new("id", ColumnType::BigInt), Column::new("v", ColumnType::String)];
        TableSchema { columns, partition_keys: Vec::new() }
    }

    fn read(text: &str, format: Format, has_header: bool) -> Result<Vec<Vec<Value>>, String> {
        let mut rows = Rows::new(text.as_bytes(), format, &schema(), TimeZone::UTC, has_header)?;
        let mut all = Vec::new();
        while let Some(row) = rows.next_row()? {
            all.push(row);
        }
        Ok(all)
    }

    fn row(id: i64, v: &str) -> Vec<Value> {
        vec![Value::BigInt(id), Value::text(v)]
    }

    #[test]
    fn csv_by_its_header() {
        let text = "\u{feff}V,ID\r\n\"a,\"\"b\"\"\r\nc\",1\r\n\n\"\",2\n\"\\N\",3\n\\N,4";
        let wanted = vec![row(1, "a,\"b\"\r\nc"), row(2, ""), row(3, "\\N"), vec![Value::BigInt(4), Value::Null]];
        assert_eq!(read(text, Format::Csv, true), Ok(wanted));
        assert_eq!(read("1,x\n", Format::Csv, false), Ok(vec![row(1, "x")]));
        assert_eq!(read("v\nx\n", Format::Csv, true), Ok(vec![vec![Value::Null, Value::text("x")]]));
    }

    #[test]
    fn json_lines_and_a_list_of_lines() {
        let text = "[\n{\"id\":1,\"v\":\"x\"},\n{\"V\":{\"a\":1},\"id\":\"2\"}\n]\n\n{}\n";
        let wanted = vec![row(1, "x"), row(2, "{\"a\":1}"), vec![Value::Null, Value::Null]];
        assert_eq!(read(text, Format::Json, true), Ok(wanted));
    }

    #[test]
    fn mistakes_name_line_and_column() {
        let wrong = |text, format| read(text, format, true).unwrap_err();
        assert_eq!(
            wrong("id,v\n1,\"x\ny\"\nabc,z\n", Format::Csv),
            "line 4, column \"id\" (bigint): \"abc\": invalid digit found in string"
        );
        assert_eq!(wrong("id,v\n1\n", Format::Csv), "line 2: 1 values for 2 columns");
        assert_eq!(wrong("id,v\n1,\"x", Format::Csv), "line 2: no closing quote");
        assert_eq!(wrong("id,v\n1,\"x\"y\n", Format::Csv), "line 2: text after a closing quote");
        assert!(wrong("id,w\n", Format::Csv).contains("line 1: no column \"w\""));
        assert!(wrong("", Format::Csv).contains("empty"));
        assert!(wrong("{\"id\":1}\n{\"x\":1}\n", Format::Json).starts_with("line 2: no column \"x\""));
        assert!(wrong("{\"id\":true}\n", Format::Json).contains("line 1, column \"id\" (bigint): \"true\""));
    }
}
