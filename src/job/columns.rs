//! The two column lists of a job: what is read, and what it is written to.

use super::report::Report;
use super::section::{Found, Section};
use super::spec::{DataFormat, DataPath, PathStep, SourceColumn, WriterColumns};

/// Reads the reader's `column`; `None` when it cannot be used, which is reported.
pub(super) fn source_columns(
    section: &Section<'_>,
    format: &DataFormat,
    report: &Report,
) -> Option<Found<Vec<SourceColumn>>> {
    let advice =
        "list what each table column is made of, such as [\"__key__\", \"__value__\", \"event_id\", \"'constant'\"]";
    let names = required_list(section, advice)?;
    let mut columns = Vec::with_capacity(names.value.len());
    for (index, name) in names.value.iter().enumerate() {
        let key = format!("column[{index}]");
        match source_column(&name.value, format) {
            Ok((column, warning)) => {
                columns.push(column);
                if let Some(warning) = warning {
                    report.warn(&name.place, format!("{} {:?} {warning}", section.full(&key), name.value));
                }
            }
            Err(message) => section.error_with(&key, &name.place, message, advice),
        }
    }
    (columns.len() == names.value.len()).then_some(Found { value: columns, place: names.place })
}

/// One entry, and what is odd about it.
pub(super) fn source_column(name: &str, format: &DataFormat) -> Result<(SourceColumn, Option<&'static str>), String> {
    if let Some(constant) = constant(name) {
        return Ok((SourceColumn::Constant(constant.to_owned()), None));
    }
    let attribute = match name {
        "__key__" => Some(SourceColumn::Key),
        "__value__" => Some(SourceColumn::Value),
        "__partition__" => Some(SourceColumn::Partition),
        "__offset__" => Some(SourceColumn::Offset),
        "__timestamp__" => Some(SourceColumn::Timestamp),
        "__headers__" => Some(SourceColumn::Headers),
        "*" => return Err("\"*\" cannot be used for Kafka: a topic has no column list".to_owned()),
        "" => return Err("is empty".to_owned()),
        _ => None,
    };
    if let Some(attribute) = attribute {
        return Ok((attribute, None));
    }
    let warning = if name.starts_with('\'') || name.ends_with('\'') {
        Some("has a quote on one side only, so it is read as a member of the value and not as a constant")
    } else if name.len() > 4 && name.starts_with("__") && name.ends_with("__") {
        Some(
            "is not one of __key__, __value__, __partition__, __offset__, __timestamp__, __headers__; it is read as a member \
             of the value",
        )
    } else {
        None
    };
    match format {
        DataFormat::Json => Ok((SourceColumn::Data(data_path(name)), warning)),
        DataFormat::Text { .. } => match name.trim().parse() {
            Ok(index) => Ok((SourceColumn::Field(index), None)),
            Err(_) => Err(format!(
                "{name:?} is not a position: with dataFormat text a data column is a number counted from 0"
            )),
        },
    }
}

/// What stands between the first and the last quote.
fn constant(name: &str) -> Option<&str> {
    name.strip_prefix('\'')?.strip_suffix('\'')
}

/// Splits a name at dots and indexes: `tag.desc`, `a[0].b`, `[0].b`. Brackets that hold no index belong to the name.
pub(super) fn data_path(name: &str) -> DataPath {
    let mut steps = Vec::new();
    for piece in name.split('.') {
        let (member, indexes) = split_indexes(piece);
        // `[0]` alone has no member before it; an empty piece without an index is a member called "".
        if !member.is_empty() || indexes.is_empty() {
            steps.push(PathStep::Member(member.to_owned()));
        }
        steps.extend(indexes.into_iter().map(PathStep::Index));
    }
    DataPath { whole: name.to_owned(), steps }
}

/// `a[0][1]` as `a` and its indexes; without any when a bracket holds something else.
fn split_indexes(piece: &str) -> (&str, Vec<usize>) {
    let Some((member, rest)) = piece.split_once('[') else { return (piece, Vec::new()) };
    let Some(rest) = rest.strip_suffix(']') else { return (piece, Vec::new()) };
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse().ok()).flatten()
    };
    match rest.split("][").map(number).collect::<Option<Vec<usize>>>() {
        Some(indexes) => (member, indexes),
        None => (piece, Vec::new()),
    }
}

/// Reads the writer's `column`; `None` when it cannot be used, which is reported.
pub(super) fn writer_columns(section: &Section<'_>) -> Option<Found<WriterColumns>> {
    let advice = "list the table's columns in the order of the reader's, or write [\"*\"] for all of them";
    let names = required_list(section, advice)?;
    let place = names.place;
    if let [only] = names.value.as_slice()
        && only.value.trim() == "*"
    {
        return Some(Found { value: WriterColumns::All, place });
    }
    let mut fits = true;
    let mut columns: Vec<String> = Vec::with_capacity(names.value.len());
    for (index, name) in names.value.iter().enumerate() {
        let text = name.value.trim();
        let problem = match text {
            "" => Some("is empty".to_owned()),
            "*" => Some("\"*\" must stand alone".to_owned()),
            _ if columns.iter().any(|earlier| earlier.eq_ignore_ascii_case(text)) => {
                Some(format!("{text:?} is named twice; names compare without regard to case"))
            }
            _ => None,
        };
        if let Some(problem) = problem {
            fits = false;
            section.error_with(&format!("column[{index}]"), &name.place, problem, advice);
        }
        columns.push(text.to_owned());
    }
    fits.then_some(Found { value: WriterColumns::Named(columns), place })
}

/// `column` as a list that is there and not empty.
fn required_list(section: &Section<'_>, advice: &str) -> Option<Found<Vec<Found<String>>>> {
    if !section.has("column") {
        section.error_with("column", section.place(), "is missing", advice);
        return None;
    }
    let names = section.texts("column")?;
    if names.value.is_empty() {
        section.error_with("column", &names.place, "is empty", advice);
        return None;
    }
    Some(names)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::json;
    use super::*;

    fn member(name: &str) -> PathStep {
        PathStep::Member(name.to_owned())
    }

    fn source(text: &str, format: &DataFormat) -> (Option<Vec<SourceColumn>>, Vec<String>) {
        let report = Report::default();
        let node = json::parse(text, &report).unwrap();
        let columns = source_columns(&Section::new("R", &node, &report), format, &report).map(|found| found.value);
        let said = match report.finish("j") {
            Ok(notes) => notes.into_iter().map(|note| note.text).collect(),
            Err(errors) => errors.errors.iter().map(|error| format!("{}: {}", error.key, error.message)).collect(),
        };
        (columns, said)
    }

    #[test]
    fn the_three_kinds_of_source_columns() {
        let text = r#"{"column":["__key__","__value__","__partition__","__offset__","__timestamp__","__headers__",
            "'123'","''","'it's'","'''","event_id","tag.desc",5]}"#;
        let (columns, said) = source(text, &DataFormat::Json);
        let constant = |text: &str| SourceColumn::Constant(text.to_owned());
        assert_eq!(
            columns.unwrap(),
            [
                SourceColumn::Key,
                SourceColumn::Value,
                SourceColumn::Partition,
                SourceColumn::Offset,
                SourceColumn::Timestamp,
                SourceColumn::Headers,
                constant("123"),
                constant(""),
                constant("it's"),
                constant("'"),
                SourceColumn::Data(data_path("event_id")),
                SourceColumn::Data(data_path("tag.desc")),
                SourceColumn::Data(data_path("5")),
            ]
        );
        assert_eq!(said, Vec::<String>::new());
    }

    #[test]
    fn odd_names_are_members_with_a_warning() {
        let (columns, said) = source(r#"{"column":["__topic__","'a","__","__KEY__"]}"#, &DataFormat::Json);
        assert_eq!(columns.unwrap().len(), 4);
        assert_eq!(said.len(), 3);
        assert!(
            said.iter().all(|text| text.contains("is read as a member") || text.contains("it is read as a member"))
        );
    }

    #[test]
    fn column_lists_that_cannot_be_used() {
        for (text, wanted) in [
            ("{}", "R.column: is missing"),
            (r#"{"column":[]}"#, "R.column: is empty"),
            (r#"{"column":"a,b"}"#, "R.column: must be a list, but is a text"),
            (r#"{"column":["*"]}"#, "R.column[0]: \"*\" cannot be used for Kafka: a topic has no column list"),
            (r#"{"column":[""]}"#, "R.column[0]: is empty"),
            (r#"{"column":[{"name":"a"}]}"#, "R.column[0]: must be a text, but is an object"),
        ] {
            let (columns, said) = source(text, &DataFormat::Json);
            assert_eq!((columns, said), (None, vec![wanted.to_owned()]), "{text}");
        }
    }

    #[test]
    fn text_columns_are_positions() {
        let format = DataFormat::Text { delimiter: ",".into() };
        let (columns, _) = source(r#"{"column":["0",12,"__offset__","'x'"]}"#, &format);
        let wanted =
            [SourceColumn::Field(0), SourceColumn::Field(12), SourceColumn::Offset, SourceColumn::Constant("x".into())];
        assert_eq!(columns.unwrap(), wanted);
        let (columns, said) = source(r#"{"column":["a","-1"]}"#, &format);
        assert_eq!((columns, said.len()), (None, 2));
    }

    #[test]
    fn paths_split_at_dots_and_indexes() {
        for (name, steps) in [
            ("a", vec![member("a")]),
            ("tag.desc", vec![member("tag"), member("desc")]),
            ("a[0].b", vec![member("a"), PathStep::Index(0), member("b")]),
            ("[0].b", vec![PathStep::Index(0), member("b")]),
            ("a[1][22]", vec![member("a"), PathStep::Index(1), PathStep::Index(22)]),
            ("a[x]", vec![member("a[x]")]),
            ("a[]", vec![member("a[]")]),
            ("a[0", vec![member("a[0")]),
            ("a[0]b", vec![member("a[0]b")]),
            ("a..b", vec![member("a"), member(""), member("b")]),
            ("a[99999999999999999999999]", vec![member("a[99999999999999999999999]")]),
        ] {
            assert_eq!(data_path(name), DataPath { whole: name.into(), steps }, "{name}");
        }
    }

    #[test]
    fn writer_columns_are_all_or_named_once() {
        let read = |text: &str| {
            let report = Report::default();
            let node = json::parse(text, &report).unwrap();
            let columns = writer_columns(&Section::new("W", &node, &report)).map(|found| found.value);
            (columns, report.finish("j").err().map(|errors| errors.errors.len()).unwrap_or_default())
        };
        assert_eq!(read(r#"{"column":["*"]}"#), (Some(WriterColumns::All), 0));
        assert_eq!(read(r#"{"column":["a"," B "]}"#), (Some(WriterColumns::Named(vec!["a".into(), "B".into()])), 0));
        assert_eq!(read(r#"{"column":["a","A","*",""]}"#), (None, 3));
        assert_eq!(read("{}"), (None, 1));
    }
}
