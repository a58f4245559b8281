//! A job in words, for `forebay check` and `forebay plan`.

use std::fmt::Write as _;

use crate::job::{Charset, DataFormat, DirtyLimit, FieldType, JobSpec, Mode, Shape, WriterColumns};

/// The job in words, a line for each thing it decides.
pub(super) fn meaning(spec: &JobSpec) -> String {
    let (reader, writer, settings) = (&spec.reader, &spec.writer, &spec.settings);
    let mut text = String::new();
    let mut line = |label: &str, value: String| {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{label:<10} {value}");
    };
    line("job", format!("{} ({})", spec.name, shape(spec)));
    let partitions = match &reader.partitions {
        Some(list) => format!("partitions {}", list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
        None => "all partitions".to_owned(),
    };
    line("from", format!("topic {} at {}, {partitions}", reader.topic, reader.servers.join(", ")));
    line(
        "group",
        match (&reader.group, reader.commit_offsets) {
            (Some(group), true) => format!("{group}; offsets are committed after the rows"),
            (Some(group), false) => format!("{group}; offsets are not committed"),
            (None, _) if spec.unbounded && writer.mode == Mode::Batch => {
                format!("forebay-{}; offsets are committed after the rows", spec.name)
            }
            (None, _) => "none; offsets are not committed".to_owned(),
        },
    );
    line(
        "range",
        match (spec.unbounded, spec.writer.mode) {
            (true, Mode::Batch) => {
                format!("from the group's offset, or where it has none {}, without an end", reader.begin)
            }
            (true, Mode::Stream) => format!("from {} (inclusive), without an end", reader.begin),
            (false, _) => format!("from {} (inclusive) to {} (exclusive)", reader.begin, reader.end),
        },
    );
    line("ends", end_rule(spec));
    line(
        "values",
        format!(
            "key {}, value {}, {}, {}",
            type_name(reader.key_type),
            type_name(reader.value_type),
            charset_text(reader.encoding, reader.header_encoding),
            match &reader.data_format {
                DataFormat::Json => "JSON members".to_owned(),
                DataFormat::Text { delimiter } => format!("fields between {delimiter:?}"),
            }
        ),
    );
    let project = match writer.connection.project.as_str() {
        "" => format!("data source {}", writer.connection.source),
        project => format!("project {project} at {}", writer.connection.endpoint),
    };
    let partition =
        if writer.partition.is_empty() { String::new() } else { format!(", partition {}", writer.partition) };
    line("into", format!("table {}{partition}, {project}", writer.table));
    line("effect", effect(spec).to_owned());
    line("dirty rows", dirty_text(&settings.dirty_limit));
    let limit = |limit: Option<u64>, unit: &str| limit.map(|limit| format!(", at most {limit} {unit} a second"));
    line(
        "speed",
        format!(
            "{} at once{}{}",
            settings.concurrent,
            limit(settings.bytes_per_second, "bytes").unwrap_or_default(),
            limit(settings.records_per_second, "records").unwrap_or_default()
        ),
    );
    for (index, column) in reader.columns.iter().enumerate() {
        let target = match &writer.columns {
            WriterColumns::All => format!("column {} of the table", index.saturating_add(1)),
            WriterColumns::Named(names) => names.get(index).cloned().unwrap_or_default(),
        };
        line(if index == 0 { "columns" } else { "" }, format!("{target} <- {column}"));
    }
    text
}

pub(super) const fn shape(spec: &JobSpec) -> &'static str {
    match spec.shape {
        Shape::DataWorks => "DataWorks script mode",
        Shape::DataX => "DataX",
        Shape::Forebay => "forebay TOML",
    }
}

pub(super) fn effect(spec: &JobSpec) -> &'static str {
    match spec.writer.truncate {
        _ if spec.writer.mode == Mode::Stream => "adds rows within seconds, at least once",
        _ if spec.unbounded => "adds rows by one commit after the other, exactly once",
        true => "replaces the rows that are there, at the commit",
        false => "adds to the rows that are there, at the commit",
    }
}

pub(super) fn end_rule(spec: &JobSpec) -> String {
    let reader = &spec.reader;
    if spec.unbounded {
        return "when it is stopped".to_owned();
    }
    let wait = format!("when {} s bring no record", reader.wait_time.as_secs());
    match (reader.old_form, reader.stop_when_poll_empty) {
        (true, _) => format!("when every partition is at its end or at its last record, or {wait}"),
        (false, true) => format!("when every partition is at its end, or {wait}"),
        (false, false) => "when every partition is at its end".to_owned(),
    }
}

pub(super) fn dirty_text(limit: &DirtyLimit) -> String {
    match (limit.records, limit.percentage) {
        (Some(0), _) => "the first one fails the job".to_owned(),
        (Some(records), _) => format!("more than {records} fail the job"),
        (None, Some(share)) => format!("a share above {share} fails the job"),
        (None, None) => "skipped and counted, without limit".to_owned(),
    }
}

fn charset_text(values: Charset, headers: Charset) -> String {
    if values == headers { values.to_string() } else { format!("{values}, headers {headers}") }
}

const fn type_name(field_type: FieldType) -> &'static str {
    match field_type {
        FieldType::ByteArray => "BYTEARRAY",
        FieldType::Double => "DOUBLE",
        FieldType::Float => "FLOAT",
        FieldType::Integer => "INTEGER",
        FieldType::Long => "LONG",
        FieldType::Short => "SHORT",
        FieldType::String => "STRING",
    }
}
