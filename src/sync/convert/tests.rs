//! Whole rows: a record in, the cells of a row out, read back by the strict decoder.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use bytes::Bytes;
use jiff::tz::TimeZone;

use super::specs::{REFERENCE_TABLE, data, reader, reference_columns, writer};
use super::*;
use crate::job::DateFormat;
use crate::kafka::record::{BatchBuilder, BatchOptions, Decompressor, Header, RecordSet};
use crate::tunnel::{Column, RowDecoder, Value};

fn schema(columns: &[(&str, &str)]) -> TableSchema {
    let column = |(name, type_): &(&str, &str)| Column::new(*name, ColumnType::parse(type_).unwrap());
    TableSchema { columns: columns.iter().map(column).collect(), partition_keys: Vec::new() }
}

type Message<'a> = (i64, Option<&'a [u8]>, Option<&'a [u8]>, &'a [Header<'a>]);

/// Converts the messages as offsets 7, 8 … of partition 3.
fn convert(
    converter: &Converter,
    schema: &TableSchema,
    messages: &[Message<'_>],
) -> (Vec<Vec<Value>>, Vec<Dirty>, Delta) {
    let mut batch = BatchBuilder::new(BatchOptions::default());
    for (timestamp, key, value, headers) in messages {
        batch.push(*timestamp, *key, *value, headers);
    }
    let set = RecordSet::new(Bytes::from(batch.finish(7).unwrap()));
    let batch = set.batches().next().unwrap().unwrap();
    let records = batch.decode(&mut Decompressor::new(1 << 20)).unwrap();
    let (mut rows, mut delta, mut dirty) = (RowEncoder::new(), Delta::default(), Vec::new());
    for record in records.iter() {
        if let Err(reason) = converter.convert(3, &record.unwrap(), &mut rows, &mut delta) {
            dirty.push(*reason);
        }
    }
    let mut decoder = RowDecoder::new(schema);
    decoder.push(&rows.finish());
    let mut out = Vec::new();
    while let Some(row) = decoder.next_row().unwrap() {
        out.push(row);
    }
    (out, dirty, delta)
}

fn seed() -> (Converter, TableSchema) {
    let schema = schema(&REFERENCE_TABLE.map(|name| (name, "string")));
    let (reader, writer) = (reader(reference_columns()), writer(&REFERENCE_TABLE));
    let converter = Converter::new(&reader, &writer, &TimeZone::UTC, &schema, 1 << 23).unwrap();
    (converter, schema)
}

#[test]
fn the_seed_job_row_by_row() {
    let (converter, schema) = seed();
    let json = br#"{"event_id":"e1","tag":{"desc":"d"}}"#;
    let messages: [Message<'_>; 4] = [
        (1_700_000_000_123, None, Some(b"123"), &[]),
        (-1, Some(b"k"), Some(json), &[]),
        (5, Some(b""), Some(b""), &[]),
        (5, None, None, &[]),
    ];
    let (rows, dirty, delta) = convert(&converter, &schema, &messages);
    let text = |text: &str| Value::text(text);
    let expected = [
        vec![
            Value::Null,
            text("123"),
            text("3"),
            text("1700000000123"),
            text("7"),
            text("123"),
            Value::Null,
            Value::Null,
        ],
        vec![
            text("k"),
            text(std::str::from_utf8(json).unwrap()),
            text("3"),
            Value::Null,
            text("8"),
            text("123"),
            text("e1"),
            text("d"),
        ],
        vec![text(""), text(""), text("3"), text("5"), text("9"), text("123"), Value::Null, Value::Null],
        vec![Value::Null, Value::Null, text("3"), text("5"), text("10"), text("123"), Value::Null, Value::Null],
    ];
    assert_eq!(rows, expected);
    assert!(dirty.is_empty());
    assert_eq!(delta.non_json_values, 3, "123, the empty value and the tombstone");
}

#[test]
fn columns_may_be_a_subset_in_another_order() {
    let schema = schema(&[("a", "bigint"), ("b", "string"), ("c", "bigint")]);
    let reader = reader(vec![SourceColumn::Offset, SourceColumn::Value]);
    let converter = Converter::new(&reader, &writer(&["C", "b"]), &TimeZone::UTC, &schema, 1 << 23).unwrap();
    let (rows, ..) = convert(&converter, &schema, &[(0, None, Some(b"v"), &[])]);
    assert_eq!(rows, [vec![Value::Null, Value::text("v"), Value::BigInt(7)]]);
}

#[test]
fn columns_that_do_not_fit_are_named() {
    let schema = schema(&[("a", "bigint"), ("i", "array<interval_day_time>")]);
    let new = |columns: Vec<SourceColumn>, names: &[&str]| {
        Converter::new(&reader(columns), &writer(names), &TimeZone::UTC, &schema, 1 << 23).map(|_| ()).unwrap_err()
    };
    let unknown = new(vec![SourceColumn::Key], &["b"]);
    assert_eq!(unknown.to_string(), "the table has no column \"b\"; it has a, i");
    let interval = new(vec![SourceColumn::Key], &["i"]);
    assert_eq!(
        interval.to_string(),
        "column \"i\" is of type array<interval_day_time>, which no value of a record can become"
    );
    let many = new(vec![SourceColumn::Key, SourceColumn::Value], &["a"]);
    assert_eq!(many, ColumnError::TooMany { reader: 2, writer: 1 });
}

#[test]
fn headers_keep_order_duplicates_and_nulls() {
    let schema = schema(&[("h", "string")]);
    let converter =
        Converter::new(&reader(vec![SourceColumn::Headers]), &writer(&["h"]), &TimeZone::UTC, &schema, 1 << 23)
            .unwrap();
    let headers = [
        Header { key: b"x", value: Some(b"1\"") },
        Header { key: b"x", value: None },
        Header { key: b"\xff", value: Some(b"") },
    ];
    let (rows, ..) = convert(&converter, &schema, &[(0, None, None, &headers), (0, None, None, &[])]);
    let expected = r#"[{"key":"x","value":"1\""},{"key":"x","value":null},{"key":"�","value":""}]"#;
    assert_eq!(rows, [vec![Value::text(expected)], vec![Value::text("[]")]]);
}

#[test]
fn typed_keys_and_dirty_rows() {
    let schema = schema(&[("k", "bigint"), ("v", "string")]);
    let reader = ReaderSpec { key_type: FieldType::Integer, ..reader(vec![SourceColumn::Key, SourceColumn::Value]) };
    let converter = Converter::new(&reader, &writer(&["k", "v"]), &TimeZone::UTC, &schema, 1 << 23).unwrap();
    let messages: [Message<'_>; 3] = [
        (0, Some(&[0xff, 0xff, 0xff, 0xfe]), Some(b"a"), &[]),
        (0, Some(b"abc"), Some(b"b"), &[]),
        (0, None, Some(b"c"), &[]),
    ];
    let (rows, dirty, _) = convert(&converter, &schema, &messages);
    assert_eq!(rows, [vec![Value::BigInt(-2), Value::text("a")], vec![Value::Null, Value::text("c")]]);
    assert_eq!(dirty.len(), 1);
    assert_eq!(dirty[0].to_string(), "source column 0 __key__ into k bigint: 3 bytes where INTEGER takes 4");
}

#[test]
fn delimited_values_by_position() {
    let schema = schema(&[("a", "string"), ("b", "bigint")]);
    let reader = ReaderSpec {
        data_format: DataFormat::Text { delimiter: "||".into() },
        ..reader(vec![SourceColumn::Field(0), SourceColumn::Field(2)])
    };
    let converter = Converter::new(&reader, &writer(&["a", "b"]), &TimeZone::UTC, &schema, 1 << 23).unwrap();
    let (rows, ..) = convert(&converter, &schema, &[(0, None, Some(b"x||y||7"), &[]), (0, None, Some(b"x"), &[])]);
    assert_eq!(rows, [vec![Value::text("x"), Value::BigInt(7)], vec![Value::text("x"), Value::Null]]);
}

#[test]
fn text_in_other_charsets() {
    let schema = schema(&[("v", "string"), ("n", "string")]);
    let reader = ReaderSpec { encoding: Charset::Gbk, ..reader(vec![SourceColumn::Value, data("n")]) };
    let converter = Converter::new(&reader, &writer(&["v", "n"]), &TimeZone::UTC, &schema, 1 << 23).unwrap();
    let (rows, _, delta) = convert(&converter, &schema, &[(0, None, Some(b"{\"n\":\"\xc4\xe3\"}"), &[])]);
    assert_eq!(rows, [vec![Value::text("{\"n\":\"你\"}"), Value::text("你")]]);
    assert_eq!(delta.malformed_text_values, 0);
}

fn routed(keys: &[(&str, &str)], schema: TableSchema) -> TableSchema {
    let column = |(name, type_): &(&str, &str)| Column::new(*name, ColumnType::parse(type_).unwrap());
    TableSchema { partition_keys: keys.iter().map(column).collect(), ..schema }
}

/// The partition of one record of offset 7, or why it is dirty.
fn target(converter: &Converter, timestamp: i64, value: &str) -> Result<String, Dirty> {
    let mut batch = BatchBuilder::new(BatchOptions::default());
    batch.push(timestamp, None, Some(value.as_bytes()), &[]);
    let set = RecordSet::new(Bytes::from(batch.finish(7).unwrap()));
    let records = set.batches().next().unwrap().unwrap().decode(&mut Decompressor::new(1 << 20)).unwrap();
    let record = records.iter().next().unwrap().unwrap();
    let (mut rows, mut picked) = (RowEncoder::new(), String::new());
    let encoder = &mut rows;
    let appended = converter.convert_into(3, &record, &mut Delta::default(), |key| {
        picked = key.to_owned();
        Some(encoder)
    });
    let appended = appended.map_err(|dirty| *dirty)?;
    assert!(appended && rows.rows() == 1);
    Ok(picked)
}

#[test]
fn columns_that_name_partitions_route() {
    let schema = routed(&[("pt", "string"), ("hh", "bigint")], schema(&[("v", "string")]));
    let read = reader(vec![data("day"), SourceColumn::Value, SourceColumn::Partition]);
    let format = crate::job::PartitionFormat {
        name: "PT".into(),
        source_format: None,
        format: DateFormat::parse("yyyyMMdd").unwrap(),
    };
    let mut write = writer(&["pt", "v", "hh"]);
    write.routing.mapping.push(format);
    let zone = TimeZone::fixed(jiff::tz::offset(8));
    let converter = Converter::new(&read, &write, &zone, &schema, 64).unwrap();
    assert!(converter.is_routed());
    for (value, wanted) in [
        (r#"{"day":"2024-01-31 23:59:59"}"#, "pt=20240131,hh=3"),
        (r#"{"day":"2024-01-31T23:59:59Z"}"#, "pt=20240201,hh=3"),
        (r#"{"day":1706745599000}"#, "pt=20240201,hh=3"),
    ] {
        assert_eq!(target(&converter, 0, value).as_deref(), Ok(wanted), "{value}");
    }
    for (value, reason) in [
        (r#"{"day":"soon"}"#, "\"soon\" is no date"),
        (r#"{"day":null}"#, "NULL cannot be a partition"),
        ("no json", "NULL cannot be a partition"),
    ] {
        let dirty = target(&converter, 0, value).unwrap_err();
        assert_eq!((dirty.source_index, dirty.source_name.as_str()), (0, "day"));
        assert_eq!(dirty.target_name, "partition column pt");
        assert!(dirty.reason.contains(reason), "{dirty}");
    }
}

#[test]
fn a_pattern_routes_by_record_time_and_value() {
    let schema = routed(&[("ds", "string"), ("region", "string")], schema(&[("v", "string")]));
    let value = |source, format: Option<&str>| PartitionPiece::Value {
        source,
        format: format.map(|format| DateFormat::parse(format).unwrap()),
        source_format: None,
    };
    let level = |key: &str, pieces| crate::job::RoutedLevel { key: key.into(), pieces };
    let mut write = writer(&["v"]);
    write.routing.levels = vec![
        level("REGION", vec![PartitionPiece::Text("r-".into()), value(data("region"), None)]),
        level("ds", vec![value(SourceColumn::Timestamp, Some("%Y%m%d%H"))]),
    ];
    let zone = TimeZone::fixed(jiff::tz::offset(8));
    let converter = Converter::new(&reader(vec![SourceColumn::Value]), &write, &zone, &schema, 64).unwrap();
    let at = 1_706_716_800_000; // 2024-02-01 00:00 in GMT+8
    assert_eq!(target(&converter, at, r#"{"region":"cn"}"#).as_deref(), Ok("ds=2024020100,region=r-cn"));
    assert_eq!(target(&converter, at - 1, r#"{"region":7}"#).as_deref(), Ok("ds=2024013123,region=r-7"));
    let long = format!(r#"{{"region":"{}"}}"#, "x".repeat(300));
    for (time, value, reason) in [
        (-1, r#"{"region":"cn"}"#, "NULL cannot be a partition"),
        (at, r#"{"region":"a/b"}"#, "\"r-a/b\" holds a character"),
        (at, r#"{"region":"a=b"}"#, "holds a character"),
        (at, r#"{"region":"a "}"#, "holds a character"),
        (at, &long, "has 302 bytes"),
    ] {
        let dirty = target(&converter, time, value).unwrap_err();
        assert!(dirty.reason.contains(reason), "{dirty}");
    }
}

#[test]
fn routing_that_does_not_fit_the_table_is_refused() {
    let partitioned = || routed(&[("pt", "string"), ("hh", "string")], schema(&[("v", "string")]));
    let three = || reader(vec![SourceColumn::Value, SourceColumn::Key, SourceColumn::Offset]);
    let refused = |read: &ReaderSpec, write: &WriterSpec, schema: &TableSchema| {
        Converter::new(read, write, &TimeZone::UTC, schema, 64).unwrap_err().to_string()
    };
    assert!(refused(&three(), &writer(&["v", "pt"]), &partitioned()).contains("same number of columns: 3 and 2"));
    let two = reader(vec![SourceColumn::Value, SourceColumn::Key]);
    assert!(refused(&two, &writer(&["v", "pt"]), &partitioned()).contains("partition column hh is not named"));
    let mut off = writer(&["v", "pt", "hh"]);
    off.routing.wanted = Some(false);
    assert!(refused(&three(), &off, &partitioned()).contains("supportDynamicPartition is false"));
    let both = WriterSpec { partition: "pt=1,hh=2".into(), ..writer(&["v", "pt", "hh"]) };
    assert!(refused(&three(), &both, &partitioned()).contains("leave it blank"));
    let mut asked = writer(&["v"]);
    asked.routing.wanted = Some(true);
    let one = reader(vec![SourceColumn::Value]);
    assert!(refused(&one, &asked, &partitioned()).contains("names none of the table's partition columns"));
    assert!(refused(&one, &asked, &schema(&[("v", "string")])).contains("the table has no partitions"));
}
