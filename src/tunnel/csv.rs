//! The CSV that a SELECT's result comes as.

/// NULL in a result, whether quoted or not (`CsvRecordReader.NULL_TOKEN` of the official Python client).
const NULL: &str = "\\N";

/// A result: the header, and rows of as many values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Csv {
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<Vec<Option<String>>>,
}

/// Reads a result with a header line: commas, double quotes around values with doubled quotes inside, lines ended by LF or
/// CRLF, which quoted values may hold too. An empty text is a result without columns.
///
/// # Errors
/// The line and what is wrong: an open quote, text after a closing quote, a row with another number of values.
pub(super) fn parse(text: &str) -> Result<Csv, String> {
    let mut records = Records { rest: text, line: 1 };
    let Some(columns) = records.next_record()? else { return Ok(Csv::default()) };
    let mut rows = Vec::new();
    loop {
        let line = records.line;
        let Some(record) = records.next_record()? else { return Ok(Csv { columns, rows }) };
        // An empty line is a row only where one empty value can be one.
        if columns.len() > 1 && record.len() == 1 && record.first().is_some_and(String::is_empty) {
            continue;
        }
        if record.len() != columns.len() {
            return Err(format!("line {line}: {} values for {} columns", record.len(), columns.len()));
        }
        rows.push(record.into_iter().map(|value| (value != NULL).then_some(value)).collect());
    }
}

struct Records<'a> {
    rest: &'a str,
    line: usize,
}

impl Records<'_> {
    fn next_record(&mut self) -> Result<Option<Vec<String>>, String> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let mut record = Vec::new();
        loop {
            let value = if let Some(rest) = self.rest.strip_prefix('"') {
                self.rest = rest;
                self.quoted()?
            } else {
                let end = self.rest.find([',', '\n', '\r']).unwrap_or(self.rest.len());
                self.take(end)
            };
            record.push(value);
            let (rest, goes_on) = if let Some(rest) = self.rest.strip_prefix(',') {
                (rest, true)
            } else if let Some(rest) = self.rest.strip_prefix("\r\n").or_else(|| self.rest.strip_prefix(['\n', '\r'])) {
                self.line = self.line.saturating_add(1);
                (rest, false)
            } else if self.rest.is_empty() {
                ("", false)
            } else {
                return Err(format!("line {}: text after a closing quote", self.line));
            };
            self.rest = rest;
            if !goes_on {
                return Ok(Some(record));
            }
        }
    }

    /// The value up to its closing quote; the opening one is behind us.
    fn quoted(&mut self) -> Result<String, String> {
        let start = self.line;
        let mut value = String::new();
        loop {
            let end = self.rest.find('"').ok_or_else(|| format!("line {start}: no closing quote"))?;
            let piece = self.take(end);
            self.line = self.line.saturating_add(piece.matches('\n').count());
            value.push_str(&piece);
            self.take(1);
            match self.rest.strip_prefix('"') {
                Some(rest) => {
                    value.push('"');
                    self.rest = rest;
                }
                None => return Ok(value),
            }
        }
    }

    fn take(&mut self, bytes: usize) -> String {
        let (taken, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken.to_owned()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn rows(text: &str) -> Vec<Vec<Option<String>>> {
        parse(text).unwrap().rows
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn values_and_nulls() {
        let csv = parse("\"a\",\"b\"\n1,\"x,\"\"y\"\"\nz\"\n\\N,\"\\N\"\n,\"\"\n").unwrap();
        assert_eq!(csv.columns, ["a", "b"]);
        assert_eq!(csv.rows, [vec![some("1"), some("x,\"y\"\nz")], vec![None, None], vec![some(""), some("")]]);
    }

    #[test]
    fn line_ends_and_empty_lines() {
        assert_eq!(rows("a\r\n1\r\n2"), [[some("1")], [some("2")]]);
        assert_eq!(rows("a\n\n\"\"\n"), [[some("")], [some("")]]);
        assert_eq!(rows("a,b\n\n1,2\n"), [[some("1"), some("2")]]);
        assert_eq!(parse("").unwrap(), Csv::default());
        assert_eq!(rows("a,b\n"), Vec::<Vec<Option<String>>>::new());
    }

    #[test]
    fn damage_is_named_with_its_line() {
        assert_eq!(parse("a,b\n1\n").unwrap_err(), "line 2: 1 values for 2 columns");
        assert_eq!(parse("a\n\"x\n\ny").unwrap_err(), "line 2: no closing quote");
        assert_eq!(parse("a\n\"x\"y\n").unwrap_err(), "line 2: text after a closing quote");
        assert_eq!(parse("a,b\n\"1\n\",2\n3").unwrap_err(), "line 4: 1 values for 2 columns");
    }
}
