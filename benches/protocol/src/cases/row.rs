//! A record on its way into a block: members of its value, its row, the block's packing.

use std::hint::black_box;

use crate::job::{DataPath, PathStep, SourceColumn};
use crate::kafka::record::{Codec, Decompressor, RecordSet};
use crate::sync::convert::Converter;
use crate::sync::json::{Found, Members, leaf};
use crate::sync::stats::Delta;
use crate::tunnel::encode::{Compression, Packer};
use crate::tunnel::{Column, ColumnType, RowEncoder, TableSchema};
use bytes::Bytes;
use jiff::tz::TimeZone;

use super::data::{JSON_BYTES, batch, json, records};
use super::specs;
use super::{Case, Run};

const DOCUMENTS: u64 = 200;
const ROWS: u64 = 1000;
/// Largest field of a row, in bytes, as a session says it.
const FIELD_BYTES_MAX: usize = 8 << 20;

pub(super) fn cases() -> Vec<Case> {
    let bytes = |items: u64| items * JSON_BYTES as u64;
    vec![
        Case { name: "json/two-paths", items: DOCUMENTS, bytes: bytes(DOCUMENTS), prepare: two_paths },
        Case { name: "rows/strings", items: ROWS, bytes: bytes(ROWS), prepare: strings },
        Case { name: "rows/numbers", items: ROWS, bytes: ROWS * 8 * 8, prepare: numbers },
        Case { name: "convert/seed", items: records(JSON_BYTES), bytes: bytes(records(JSON_BYTES)), prepare: convert },
        Case { name: "pack/deflate", items: 1, bytes: PACKED_BYTES, prepare: || pack(Compression::Deflate) },
        Case { name: "pack/snappy", items: 1, bytes: PACKED_BYTES, prepare: || pack(Compression::Snappy) },
        Case { name: "pack/lz4", items: 1, bytes: PACKED_BYTES, prepare: || pack(Compression::Lz4) },
    ]
}

fn documents() -> Vec<String> {
    (0..DOCUMENTS).map(|number| json(number, JSON_BYTES)).collect()
}

/// The two members that the reference job takes from a value, as the texts of columns.
fn two_paths() -> Run {
    let step = |name: &str| PathStep::Member(name.to_owned());
    let (id, tag) = ([step("event_id")], [step("tag"), step("desc")]);
    let members = Members::new([("event_id", &id[..]), ("tag.desc", &tag[..])]);
    let documents = documents();
    Box::new(move || {
        let mut found_bytes = 0;
        for document in &documents {
            let mut found = Found::default();
            members.find_into(black_box(document), &mut found).expect("a JSON object");
            for column in 0..2 {
                let raw = found.raw(column).expect("both are there");
                black_box(leaf(raw));
                found_bytes += raw.len() as u64;
            }
        }
        // `"e0000000000"` and `"dev-0000"`, with their quotes.
        assert_eq!(found_bytes, DOCUMENTS * (13 + 10));
    })
}

/// Rows of eight texts, one of them a whole record. Each row is taken by itself, into a buffer that is there: callgrind counts each byte
/// that a large buffer is cleared or copied by as an instruction.
fn strings() -> Run {
    let document = json(0, JSON_BYTES);
    let (mut rows, mut piece) = (RowEncoder::new(), Vec::new());
    Box::new(move || {
        let mut encoded = 0;
        for _ in 0..ROWS {
            for column in 0..8 {
                let text = if column == 1 { document.as_bytes() } else { b"1700000000000" };
                rows.string(column, black_box(text));
            }
            rows.end_row();
            rows.take_into(&mut piece);
            encoded += piece.len() as u64;
        }
        assert!(encoded > ROWS * 300);
    })
}

fn numbers() -> Run {
    let (mut rows, mut piece) = (RowEncoder::new(), Vec::new());
    Box::new(move || {
        let mut encoded = 0;
        for row in 0..ROWS as i64 {
            for column in 0..4 {
                rows.bigint(column, black_box(row * 1_000_003));
            }
            for column in 4..8 {
                rows.double(column, black_box(row as f64));
            }
            rows.end_row();
            rows.take_into(&mut piece);
            encoded += piece.len() as u64;
        }
        assert!(encoded > ROWS * 50);
    })
}

/// The reference job: a batch's records into rows.
fn convert() -> Run {
    let columns = specs::REFERENCE_TABLE.map(|name| Column::new(name, ColumnType::String)).to_vec();
    let schema = TableSchema { columns, partition_keys: Vec::new() };
    let (reader, writer) = (specs::reader(specs::reference_columns()), specs::writer(&specs::REFERENCE_TABLE));
    let converter = Converter::new(&reader, &writer, &TimeZone::UTC, &schema, FIELD_BYTES_MAX);
    let converter = converter.expect("columns that fit");
    let set = RecordSet::new(Bytes::from(batch(Codec::None, JSON_BYTES)));
    let batch = set.batches().next().and_then(Result::ok).expect("a batch");
    let decoded = batch.decode(&mut Decompressor::default()).expect("a whole batch");
    let (mut rows, mut piece) = (RowEncoder::new(), Vec::new());
    Box::new(move || {
        let (mut delta, before, mut encoded) = (Delta::default(), rows.rows(), 0);
        for record in &decoded {
            converter.convert(3, &record.expect("a whole record"), &mut rows, &mut delta).expect("a clean row");
            rows.take_into(&mut piece);
            encoded += piece.len() as u64;
        }
        assert_eq!((rows.rows() - before, delta), (records(JSON_BYTES), Delta::default()));
        assert!(encoded > records(JSON_BYTES) * 250);
    })
}

/// zstd is not here: it packs in a thread of its own, where instructions of a case are not counted.
const PACKED_BYTES: u64 = 128 * 1024;

fn pack(compression: Compression) -> Run {
    let body: Vec<u8> = (0..PACKED_BYTES)
        .flat_map(|number| json(number, JSON_BYTES).into_bytes())
        .take(PACKED_BYTES as usize)
        .collect();
    let body = Bytes::from(body);
    Box::new(move || {
        let mut packer = Packer::new(compression).expect("a packer");
        let mut packed = 0;
        for at in (0..body.len()).step_by(16 * 1024) {
            packed += packer.push(body.slice(at..(at + 16 * 1024).min(body.len()))).expect("packed").len();
        }
        packed += packer.finish().expect("packed").len();
        assert!(packed * 10 < body.len() * 9, "{packed} bytes");
    })
}
