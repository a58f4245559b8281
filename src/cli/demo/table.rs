//! The table that ends the demo, read back from what was printed.

/// The columns of the example's table, in order.
const COLUMNS: [&str; 8] = ["key", "value", "partition1", "timestamp1", "offset", "t123", "event_id", "tag"];
/// How NULL is shown.
const NULL: &str = "NULL";

/// A row as it is shown: all cells but the timestamp, of which only the form is known beforehand.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Row {
    key: String,
    value: String,
    partition: String,
    offset: String,
    constant: String,
    event_id: String,
    tag: String,
}

impl Row {
    /// What the job is to make of a record without a key.
    pub(super) fn expected(partition: usize, offset: usize, value: &str) -> Self {
        let json = serde_json::from_str::<serde_json::Value>(value).unwrap_or_default();
        Self {
            key: NULL.to_owned(),
            value: value.to_owned(),
            partition: partition.to_string(),
            offset: offset.to_string(),
            constant: "123".to_owned(),
            event_id: cell(json.get("event_id")),
            tag: cell(json.get("tag").and_then(|tag| tag.get("desc"))),
        }
    }
}

/// A member of a JSON value as the job writes it: texts without quotes, what is missing or null as NULL.
fn cell(member: Option<&serde_json::Value>) -> String {
    match member {
        None | Some(serde_json::Value::Null) => NULL.to_owned(),
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// The rows of a table with borders of `|`, whose first line of cells is the heading.
///
/// # Errors
/// Another heading, a line with more or fewer cells, a timestamp that is not one of 13 digits.
pub(super) fn rows(shown: &str) -> Result<Vec<Row>, String> {
    let mut lines = shown.lines().filter(|line| line.starts_with('|')).map(cells);
    match lines.next() {
        Some(heading) if heading == COLUMNS => {}
        Some(heading) => return Err(format!("its columns are {}", heading.join(", "))),
        None => return Err("there is none".to_owned()),
    }
    lines.map(row).collect()
}

fn cells(line: &str) -> Vec<String> {
    let inside = line.trim_end().trim_start_matches('|').trim_end_matches('|');
    inside.split('|').map(|cell| cell.trim().to_owned()).collect()
}

fn row(cells: Vec<String>) -> Result<Row, String> {
    let count = cells.len();
    let Ok([key, value, partition, timestamp, offset, constant, event_id, tag]) = <[String; 8]>::try_from(cells) else {
        return Err(format!("a row has {count} cells"));
    };
    if timestamp.len() != 13 || !timestamp.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("{timestamp:?} is not a timestamp of 13 digits"));
    }
    Ok(Row { key, value, partition, offset, constant, event_id, tag })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// `rows` as a table, all at the same time.
    pub(in super::super) fn shown(rows: &[Row]) -> String {
        let mut text = format!("+--+\n| {} |\n+--+\n", COLUMNS.join(" | "));
        for row in rows {
            let Row { key, value, partition, offset, constant, event_id, tag } = row.clone();
            let cells = [key, value, partition, "1795436790368".to_owned(), offset, constant, event_id, tag];
            text += &format!("| {} |\n", cells.join(" | "));
        }
        text + "+--+\n"
    }

    #[test]
    fn rows_are_read_as_they_are_shown() {
        let row = Row::expected(3, 0, r#"{"event_id":3,"tag":{"desc":"d"}}"#);
        assert_eq!((row.event_id.as_str(), row.tag.as_str()), ("3", "d"));
        assert_eq!(rows(&shown(std::slice::from_ref(&row))), Ok(vec![row]));
        assert_eq!(Row::expected(0, 0, "123").event_id, NULL);
    }

    #[test]
    fn other_tables_are_refused() {
        let good = shown(&[Row::expected(0, 0, "abc")]);
        assert!(rows(&good.replace("t123", "t124")).is_err());
        assert!(rows(&good.replace("1795436790368", "1795436790")).is_err());
        assert!(rows(&good.replace("| abc ", "")).is_err());
        assert!(rows("no table\n").is_err());
    }
}
