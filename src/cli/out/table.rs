//! Result tables: for people, for spreadsheets, for programs.

use std::borrow::Cow;

use comfy_table::{ContentArrangement, ContentLineStyle, LineStyle, Table, TableStyle};

/// The look of odpscmd's and mysql's tables.
const STYLE: TableStyle = TableStyle::new()
    .top_border(RULE)
    .header_lines(ContentLineStyle::new('|', '|', '|'))
    .header_separator(RULE)
    .content_lines(ContentLineStyle::new('|', '|', '|'))
    .bottom_border(RULE);
const RULE: LineStyle = LineStyle::new('+', '-', '+', '+');

/// A table with borders. NULL shows as `NULL`; characters that would steer a terminal show as escapes.
pub(crate) fn bordered(columns: &[String], rows: &[Vec<Option<String>>]) -> String {
    let mut table = Table::new();
    table.load_style(STYLE).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(columns.iter().map(|name| visible(name)));
    for row in rows {
        table.add_row(row.iter().map(|value| value.as_deref().map_or_else(|| "NULL".to_owned(), visible)));
    }
    format!("{table}\n")
}

/// CSV with a header line. NULL is `\N`, as in MaxCompute's own results; an empty text is quoted.
pub(crate) fn csv(columns: &[String], rows: &[Vec<Option<String>>]) -> String {
    let mut out = Vec::new();
    csv_row(&mut out, columns.iter().map(|name| Some(name.as_bytes().into())));
    for row in rows {
        csv_row(&mut out, row.iter().map(|value| value.as_deref().map(|text| text.as_bytes().into())));
    }
    // Texts go in whole, so what comes out is text.
    String::from_utf8(out).unwrap_or_default()
}

/// Appends one line of CSV; values are any bytes.
pub(crate) fn csv_row<'a>(out: &mut Vec<u8>, values: impl Iterator<Item = Option<Cow<'a, [u8]>>>) {
    for (place, value) in values.enumerate() {
        if place > 0 {
            out.push(b',');
        }
        match value {
            None => out.extend_from_slice(b"\\N"),
            Some(value) => quoted(out, &value),
        }
    }
    out.push(b'\n');
}

/// A JSON array with one object a line. Values are texts or null; of columns with the same name the last one counts.
pub(crate) fn json(columns: &[String], rows: &[Vec<Option<String>>]) -> String {
    let objects = rows.iter().map(|row| {
        let members =
            columns.iter().zip(row).map(|(name, value)| (name.clone(), serde_json::Value::from(value.clone())));
        serde_json::Value::Object(members.collect()).to_string()
    });
    let objects: Vec<String> = objects.collect();
    if objects.is_empty() { "[]\n".to_owned() } else { format!("[\n{}\n]\n", objects.join(",\n")) }
}

fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

fn quoted(out: &mut Vec<u8>, value: &[u8]) {
    let special = |byte: &u8| matches!(byte, b'"' | b',' | b'\n' | b'\r');
    let plain = !value.is_empty() && value != b"\\N" && !value.iter().any(special) && value.trim_ascii() == value;
    if plain {
        return out.extend_from_slice(value);
    }
    out.push(b'"');
    for byte in value {
        if *byte == b'"' {
            out.push(b'"');
        }
        out.push(*byte);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (Vec<String>, Vec<Vec<Option<String>>>) {
        let rows = [[Some("1"), None], [Some("a\u{1b}[31m,\"\n"), Some("")]];
        let rows = rows.iter().map(|row| row.iter().map(|value| value.map(str::to_owned)).collect());
        (vec!["id".into(), "v".into()], rows.collect())
    }

    #[test]
    fn tables_are_one_line_a_row() {
        let (columns, rows) = sample();
        let wanted = "\
+-----------------+------+
| id              | v    |
+-----------------+------+
| 1               | NULL |
| a\\u{1b}[31m,\"\\n |      |
+-----------------+------+
";
        assert_eq!(bordered(&columns, &rows), wanted);
    }

    #[test]
    fn wide_and_long_values_keep_the_borders() {
        let rows = vec![vec![Some("名前".to_owned())], vec![Some("x".repeat(100_000))]];
        let table = bordered(&["c".to_owned()], &rows);
        assert!(table.contains("| 名前 "), "{}", table.len());
        assert!(table.matches('x').count() == 100_000);
    }

    #[test]
    fn csv_tells_null_from_empty() {
        let (columns, rows) = sample();
        assert_eq!(csv(&columns, &rows), "id,v\n1,\\N\n\"a\u{1b}[31m,\"\"\n\",\"\"\n");
    }

    #[test]
    fn json_keeps_order_and_null() {
        let (columns, rows) = sample();
        assert_eq!(
            json(&columns, &rows),
            "[\n{\"id\":\"1\",\"v\":null},\n{\"id\":\"a\\u001b[31m,\\\"\\n\",\"v\":\"\"}\n]\n"
        );
        assert_eq!(json(&columns, &[]), "[]\n");
    }
}
