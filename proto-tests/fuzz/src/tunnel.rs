//! The row stream, packed bodies and the answers of MaxCompute.

use bytes::Bytes;
use forebay::tunnel::encode::{Compression, Unpacker, unpacked};
use forebay::tunnel::{AnswerKind, Column, ColumnType, RowDecoder, RowEncoder, TableSchema, Value, read_answer};
use forebay::wire::{DecodeFault, Reader, put_uvarint};

use super::choose;

/// Columns by which a stream is read.
const SCHEMAS: &[&[&str]] = &[
    &["bigint", "string", "double", "boolean", "datetime", "decimal(38,18)", "binary"],
    &["tinyint", "smallint", "int", "float", "date", "timestamp", "timestamp_ntz", "char(3)", "varchar(9)", "json"],
    &["interval_day_time", "interval_year_month", "array<bigint>", "map<string,double>"],
    &["struct<a:bigint,b:array<struct<c:string,d:map<int,array<boolean>>>>>", "array<array<array<string>>>"],
    &[],
];
const COMPRESSIONS: &[Compression] =
    &[Compression::None, Compression::Deflate, Compression::Snappy, Compression::Lz4, Compression::Zstd];
const UNPACKED_BYTES_MAX: usize = 1024 * 1024;

/// Schema, where the stream is cut in two, then the stream; checksums are put right as they are met.
pub fn tunnel_rows(data: &[u8]) {
    let Some((compression, rest)) = choose(data, COMPRESSIONS) else { return };
    unpack(*compression, rest);
    let Some((columns, rest)) = choose(rest, SCHEMAS) else { return };
    let Some((cut, stream)) = rest.split_first() else { return };
    let column = |(n, text): (usize, &&str)| Column::new(format!("c{n}"), ColumnType::parse(text).expect("a type"));
    let schema = TableSchema { columns: columns.iter().enumerate().map(column).collect(), ..TableSchema::default() };
    let mut stream = stream.to_vec();
    for _ in 0..8 {
        match rows(&schema, &stream, usize::from(*cut)) {
            Err((DecodeFault::Checksum { stored, computed }, at)) if mend(&mut stream, at, stored, computed) => {}
            Ok(rows) => return again(&schema, &rows),
            Err(_) => return,
        }
    }
}

type Rows = Vec<Vec<Value>>;

fn rows(schema: &TableSchema, stream: &[u8], cut: usize) -> Result<Rows, (DecodeFault, usize)> {
    let mut decoder = RowDecoder::new(schema);
    let (first, second) = stream.split_at(cut.min(stream.len()));
    let mut rows = Vec::new();
    for piece in [first, second] {
        decoder.push(piece);
        while let Some(row) = decoder.next_row().map_err(|error| (error.fault, error.at))? {
            assert_eq!(row.len(), schema.columns.len());
            rows.push(row);
        }
    }
    let count = rows.len() as u64;
    let told = decoder.finish().map_err(|error| (error.fault, error.at))?;
    assert_eq!(told, count, "the trailer's count is not that of the rows");
    Ok(rows)
}

/// Rows that were read are written and read again as the same.
fn again(schema: &TableSchema, rows: &Rows) {
    let mut encoder = RowEncoder::new();
    for row in rows {
        for ((place, value), column) in (0..).zip(row).zip(&schema.columns) {
            if !value.is_null() && encoder.value(place, &column.type_, value).is_err() {
                // Such as a date that the service would refuse.
                return;
            }
        }
        encoder.end_row();
    }
    let stream = encoder.finish();
    let back = self::rows(schema, &stream, stream.len() / 2);
    // As texts, since NaN is not equal to itself.
    assert_eq!(back.map(|back| format!("{back:?}")), Ok(format!("{rows:?}")));
}

/// Replaces the checksum that stands at `at` or ends there.
fn mend(stream: &mut Vec<u8>, at: usize, stored: u32, computed: u32) -> bool {
    for start in (at.saturating_sub(10)..=at).rev() {
        let mut reader = Reader::new(stream.get(start..).unwrap_or_default());
        if reader.uvarint64("crc").is_ok_and(|crc| crc as u32 == stored) {
            let mut right = Vec::new();
            put_uvarint(&mut right, u64::from(computed));
            stream.splice(start..start + reader.position(), right);
            return true;
        }
    }
    false
}

fn unpack(compression: Compression, body: &[u8]) {
    if let Some(mut unpacker) = Unpacker::new(compression) {
        let mut total = 0;
        for piece in body.chunks(7) {
            unpacker.push(Bytes::copy_from_slice(piece));
            while let Ok(Some(out)) = unpacker.next_piece() {
                assert!(!out.is_empty(), "an empty piece");
                total += out.len();
                if total > UNPACKED_BYTES_MAX {
                    return;
                }
            }
        }
    } else {
        let mut source = std::io::Read::take(unpacked(compression, std::io::Cursor::new(body.to_vec())), 1024 * 1024);
        let _bytes = std::io::copy(&mut source, &mut std::io::sink()).is_ok();
    }
}

/// Kind, then the body of an answer.
pub fn tunnel_answers(data: &[u8]) {
    if let Some((kind, body)) = choose(data, AnswerKind::ALL) {
        let body = Bytes::copy_from_slice(body);
        assert_eq!(read_answer(*kind, body.clone()), read_answer(*kind, body));
    }
}
