//! Result tables: for people, for spreadsheets, for programs.

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
    let mut out = columns.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(",");
    out.push('\n');
    for row in rows {
        let values = row.iter().map(|value| value.as_deref().map_or_else(|| "\\N".to_owned(), quoted));
        out.push_str(&values.collect::<Vec<_>>().join(","));
        out.push('\n');
    }
    out
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

fn quoted(text: &str) -> String {
    let plain = !text.is_empty() && text != "\\N" && !text.contains(['"', ',', '\n', '\r']) && text.trim() == text;
    if plain { text.to_owned() } else { format!("\"{}\"", text.replace('"', "\"\"")) }
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
