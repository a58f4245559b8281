//! Bytes to rows, strictly.

use super::decimal::without_exponent;
use super::{END_RECORD, META_CHECKSUM, META_COUNT, METRICS_END, NANOS_PER_SECOND, WIRE_DELIMITED, WIRE_VARINT};
use crate::limits::FIELD_BYTES_MAX;
use crate::tunnel::column_type::ColumnType;
use crate::tunnel::schema::TableSchema;
use crate::tunnel::value::{Value, integer_range};
use crate::wire::{Crc32c, DecodeError, DecodeFault, Reader, uvarint_len};

/// Decodes one row stream that arrives in pieces.
///
/// Push bytes as they come, call [`RowDecoder::next_row`] until it gives `None`, push more; at the end of the input
/// [`RowDecoder::finish`] says whether the stream was whole. Strict: ascending columns, matching wire types, tags in their
/// shortest form, flags of 0 or 1, integers within their type, both levels of CRC, the count, and nothing after the
/// trailer. A CRC may have up to ten bytes, of which the low 32 bits count, since one official SDK sign-extends it.
///
/// A field is decoded when all of it is there, so at most one field (at most [`FIELD_BYTES_MAX`] bytes unless
/// [`RowDecoder::with_field_bytes_max`] said otherwise) and one pushed piece are held.
#[derive(Clone, Debug)]
pub struct RowDecoder {
    types: Vec<ColumnType>,
    field_bytes_max: usize,
    takes_metrics: bool,
    buf: Vec<u8>,
    /// Bytes of `buf` that have been decoded.
    used: usize,
    /// Bytes of the stream before `buf`, for the places in errors.
    dropped: usize,
    row: Vec<Value>,
    /// The field number last seen in this row.
    field_last: u32,
    row_crc: Crc32c,
    stream_crc: Crc32c,
    rows: u64,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Rows,
    Checksum,
    End,
}

enum Step {
    Column,
    Row,
    Trailer,
}

impl RowDecoder {
    /// A decoder for blocks of a table with the columns of `schema`; partition keys play no part.
    pub fn new(schema: &TableSchema) -> Self {
        let types: Vec<ColumnType> = schema.columns.iter().map(|column| column.type_.clone()).collect();
        Self {
            row: vec![Value::Null; types.len()],
            types,
            field_bytes_max: FIELD_BYTES_MAX,
            takes_metrics: false,
            buf: Vec::new(),
            used: 0,
            dropped: 0,
            field_last: 0,
            row_crc: Crc32c::new(),
            stream_crc: Crc32c::new(),
            rows: 0,
            stage: Stage::Rows,
        }
    }

    /// The same with another bound on the bytes of one field; for ARRAY, MAP and STRUCT it bounds the whole value.
    #[must_use]
    pub const fn with_field_bytes_max(mut self, field_bytes_max: usize) -> Self {
        self.field_bytes_max = field_bytes_max;
        self
    }

    /// The same for a download, whose trailer may hold the service's metrics between count and checksum; they are stepped
    /// over.
    #[must_use]
    pub const fn with_metrics(mut self) -> Self {
        self.takes_metrics = true;
        self
    }

    /// Whether the trailer has been read: the stream is whole.
    pub fn is_whole(&self) -> bool {
        self.stage == Stage::End
    }

    /// Rows decoded so far.
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// Takes the next piece of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.used > 0 {
            self.buf.drain(..self.used);
            self.dropped = self.dropped.saturating_add(self.used);
            self.used = 0;
        }
        self.buf.extend_from_slice(bytes);
    }

    /// The next row, one value a column, or `None` when more bytes are needed or the trailer has been read.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes cannot be the stream's; the decoder is of no use afterwards.
    pub fn next_row(&mut self) -> Result<Option<Vec<Value>>, DecodeError> {
        loop {
            if self.stage == Stage::End {
                let left = self.buf.len().saturating_sub(self.used);
                return if left == 0 { Ok(None) } else { Err(self.fault(DecodeFault::TrailingBytes(left), "stream")) };
            }
            match self.step() {
                Ok(Step::Column | Step::Trailer) => {}
                Ok(Step::Row) => {
                    let empty = vec![Value::Null; self.types.len()];
                    return Ok(Some(std::mem::replace(&mut self.row, empty)));
                }
                Err(DecodeError { fault: DecodeFault::Truncated { .. }, .. }) => return self.wait().map(|()| None),
                Err(mut error) => {
                    error.at = error.at.saturating_add(self.dropped).saturating_add(self.used);
                    return Err(error);
                }
            }
        }
    }

    /// The number of rows of a whole stream. Rows that were not asked for yet are decoded and dropped.
    ///
    /// # Errors
    /// [`DecodeFault::Truncated`] when the trailer is missing; otherwise as [`RowDecoder::next_row`].
    pub fn finish(mut self) -> Result<u64, DecodeError> {
        while self.next_row()?.is_some() {}
        if self.stage == Stage::End {
            return Ok(self.rows);
        }
        let left = self.buf.len().saturating_sub(self.used);
        Err(self.fault(DecodeFault::Truncated { wanted: left.saturating_add(1), left }, "trailer"))
    }

    fn fault(&self, fault: DecodeFault, field: &'static str) -> DecodeError {
        DecodeError::new(fault, field, self.dropped.saturating_add(self.used))
    }

    /// Whether it makes sense to wait for more bytes: not when the field at hand is over the bound already.
    fn wait(&self) -> Result<(), DecodeError> {
        let held = self.buf.len().saturating_sub(self.used);
        // Tag and length before the value.
        let max = self.field_bytes_max.saturating_add(16);
        if held > max { Err(self.fault(DecodeFault::TooLarge { size: held, max }, "field")) } else { Ok(()) }
    }

    /// Decodes one tag and what it announces; on success moves `used` behind it, on an error changes nothing.
    fn step(&mut self) -> Result<Step, DecodeError> {
        let mut reader = Reader::new(self.buf.get(self.used..).unwrap_or_default());
        let (field, wire_type) = tag(&mut reader)?;
        let step = match (self.stage, field) {
            (Stage::Rows, END_RECORD) => {
                expect_wire_type(&reader, wire_type, WIRE_VARINT)?;
                checked_crc(&mut reader, self.row_crc.value(), "record_crc")?;
                self.stream_crc.update(&self.row_crc.value().to_le_bytes());
                self.row_crc.reset();
                self.field_last = 0;
                self.rows = self.rows.saturating_add(1);
                Step::Row
            }
            // The trailer stands between rows, never inside one.
            (Stage::Rows, META_COUNT) if self.field_last == 0 => {
                expect_wire_type(&reader, wire_type, WIRE_VARINT)?;
                let count = reader.varint64("count")?;
                if u64::try_from(count) != Ok(self.rows) {
                    return Err(reader.error(DecodeFault::BadValue(count), "count"));
                }
                self.stage = Stage::Checksum;
                Step::Trailer
            }
            // Text in field 1, then its end and a checksum of which the SDKs do not agree what it covers.
            (Stage::Checksum, 1) if self.takes_metrics => {
                expect_wire_type(&reader, wire_type, WIRE_DELIMITED)?;
                hashed_bytes(&mut reader, &mut Crc32c::new(), METRICS_BYTES_MAX, "metrics")?;
                Step::Trailer
            }
            (Stage::Checksum, METRICS_END) if self.takes_metrics => {
                expect_wire_type(&reader, wire_type, WIRE_VARINT)?;
                reader.uvarint64("metrics_crc")?;
                Step::Trailer
            }
            (Stage::Checksum, META_CHECKSUM) => {
                expect_wire_type(&reader, wire_type, WIRE_VARINT)?;
                checked_crc(&mut reader, self.stream_crc.value(), "crc_of_crcs")?;
                self.stage = Stage::End;
                Step::Trailer
            }
            (Stage::Rows, _) if field > self.field_last => {
                let place = usize::try_from(field).ok().and_then(|field| field.checked_sub(1));
                let column = place.and_then(|place| self.types.get(place).zip(self.row.get_mut(place)));
                let Some((type_, slot)) = column else {
                    return Err(reader.error(DecodeFault::BadValue(i64::from(field)), "field"));
                };
                expect_wire_type(&reader, wire_type, super::wire_type(type_))?;
                let mut crc = self.row_crc;
                crc.update(&field.to_le_bytes());
                *slot = value(&mut reader, &mut crc, type_, self.field_bytes_max)?;
                self.row_crc = crc;
                self.field_last = field;
                Step::Column
            }
            _ => return Err(reader.error(DecodeFault::BadValue(i64::from(field)), "field")),
        };
        self.used = self.used.saturating_add(reader.position());
        Ok(step)
    }
}

/// Largest text of metrics in a trailer, in bytes.
const METRICS_BYTES_MAX: usize = 64 * 1024;

/// A field number and a wire type, in their shortest form.
fn tag(reader: &mut Reader<'_>) -> Result<(u32, u32), DecodeError> {
    let start = reader.position();
    let tag = reader.uvarint32("tag")?;
    if reader.position().saturating_sub(start) != uvarint_len(u64::from(tag)) {
        return Err(reader.error(DecodeFault::BadValue(i64::from(tag)), "tag"));
    }
    Ok((tag >> 3, tag & 7))
}

fn expect_wire_type(reader: &Reader<'_>, found: u32, wanted: u32) -> Result<(), DecodeError> {
    if found == wanted { Ok(()) } else { Err(reader.error(DecodeFault::BadValue(i64::from(found)), "wire_type")) }
}

/// A CRC of up to ten bytes, of which the low 32 bits count.
fn checked_crc(reader: &mut Reader<'_>, computed: u32, field: &'static str) -> Result<(), DecodeError> {
    let stored = (reader.uvarint64(field)? & u64::from(u32::MAX)) as u32;
    if stored == computed { Ok(()) } else { Err(reader.error(DecodeFault::Checksum { stored, computed }, field)) }
}

fn hashed_i64(reader: &mut Reader<'_>, crc: &mut Crc32c, field: &'static str) -> Result<i64, DecodeError> {
    let value = reader.varint64(field)?;
    crc.update(&value.to_le_bytes());
    Ok(value)
}

fn hashed_bytes<'a>(
    reader: &mut Reader<'a>,
    crc: &mut Crc32c,
    bytes_max: usize,
    field: &'static str,
) -> Result<&'a [u8], DecodeError> {
    let length = usize::try_from(reader.uvarint32(field)?).unwrap_or(usize::MAX);
    if length > bytes_max {
        return Err(reader.error(DecodeFault::TooLarge { size: length, max: bytes_max }, field));
    }
    let bytes = reader.bytes(length, field)?;
    crc.update(bytes);
    Ok(bytes)
}

fn hashed_timestamp(reader: &mut Reader<'_>, crc: &mut Crc32c) -> Result<(i64, i32), DecodeError> {
    let seconds = hashed_i64(reader, crc, "seconds")?;
    let nanos = reader.varint32("nanos")?;
    crc.update(&nanos.to_le_bytes());
    Ok((seconds, nanos))
}

/// A flag byte of 0 or 1.
fn flag(reader: &mut Reader<'_>, field: &'static str) -> Result<bool, DecodeError> {
    match reader.u8(field)? {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(reader.error(DecodeFault::BadValue(i64::from(other)), field)),
    }
}

/// A value without its tag. Recursion is as deep as the type, which is bounded where it is parsed.
fn value(
    reader: &mut Reader<'_>,
    crc: &mut Crc32c,
    type_: &ColumnType,
    bytes_max: usize,
) -> Result<Value, DecodeError> {
    use ColumnType as T;
    Ok(match type_ {
        T::TinyInt | T::SmallInt | T::Int | T::BigInt => {
            let number = hashed_i64(reader, crc, "integer")?;
            match integer_range(type_) {
                Some((min, max)) if (min..=max).contains(&number) => Value::BigInt(number),
                _ => return Err(reader.error(DecodeFault::BadValue(number), "integer")),
            }
        }
        T::Boolean => {
            let set = flag(reader, "boolean")?;
            crc.update(&[u8::from(set)]);
            Value::Boolean(set)
        }
        T::Date => Value::Date(hashed_i64(reader, crc, "date")?),
        T::Datetime => Value::Datetime(hashed_i64(reader, crc, "datetime")?),
        T::IntervalYearMonth => Value::IntervalYearMonth(hashed_i64(reader, crc, "months")?),
        T::Float => {
            let bytes = reader.array::<4>("float")?;
            crc.update(&bytes);
            Value::Float(f32::from_le_bytes(bytes))
        }
        T::Double => {
            let bytes = reader.array::<8>("double")?;
            crc.update(&bytes);
            Value::Double(f64::from_le_bytes(bytes))
        }
        T::String | T::Binary | T::Char(_) | T::Varchar(_) | T::Json => {
            Value::Bytes(hashed_bytes(reader, crc, bytes_max, "bytes")?.to_vec())
        }
        T::Decimal(_) => {
            let text = str::from_utf8(hashed_bytes(reader, crc, bytes_max, "decimal")?);
            let text = text.map_err(|_| reader.error(DecodeFault::NotUtf8, "decimal"))?;
            // Values are plain digits from here on, whoever wrote them.
            let plain = if text.contains(['e', 'E']) { without_exponent(text) } else { None };
            Value::Decimal(plain.unwrap_or_else(|| text.to_owned()))
        }
        T::Timestamp | T::TimestampNtz => match hashed_timestamp(reader, crc)? {
            (seconds, nanos @ 0..NANOS_PER_SECOND) => Value::Timestamp { seconds, nanos },
            (_, nanos) => return Err(reader.error(DecodeFault::BadValue(i64::from(nanos)), "nanos")),
        },
        T::IntervalDayTime => match hashed_timestamp(reader, crc)? {
            (seconds, nanos) if nanos.unsigned_abs() < NANOS_PER_SECOND.unsigned_abs() => {
                Value::IntervalDayTime { seconds, nanos }
            }
            (_, nanos) => return Err(reader.error(DecodeFault::BadValue(i64::from(nanos)), "nanos")),
        },
        T::Array(element) => Value::Array(list(reader, crc, element, bytes_max)?),
        T::Map(key, value) => {
            let keys = list(reader, crc, key, bytes_max)?;
            let values = list(reader, crc, value, bytes_max)?;
            if keys.len() != values.len() {
                return Err(reader.error(DecodeFault::BadLength(values.len().try_into().unwrap_or(i64::MAX)), "values"));
            }
            Value::Map(keys.into_iter().zip(values).collect())
        }
        T::Struct(fields) => {
            let values = fields.iter().map(|field| nullable(reader, crc, &field.type_, bytes_max));
            Value::Struct(values.collect::<Result<_, _>>()?)
        }
    })
}

/// A count and that many elements.
fn list(
    reader: &mut Reader<'_>,
    crc: &mut Crc32c,
    element: &ColumnType,
    bytes_max: usize,
) -> Result<Vec<Value>, DecodeError> {
    let count = usize::try_from(reader.uvarint32("elements_count")?).unwrap_or(usize::MAX);
    // An element is at least its flag.
    if count > bytes_max {
        return Err(reader.error(DecodeFault::TooLarge { size: count, max: bytes_max }, "elements_count"));
    }
    if count > reader.remaining() {
        let truncated = DecodeFault::Truncated { wanted: count, left: reader.remaining() };
        return Err(reader.error(truncated, "elements"));
    }
    (0..count).map(|_| nullable(reader, crc, element, bytes_max)).collect()
}

/// A flag and, unless it says NULL, the value.
fn nullable(
    reader: &mut Reader<'_>,
    crc: &mut Crc32c,
    type_: &ColumnType,
    bytes_max: usize,
) -> Result<Value, DecodeError> {
    if flag(reader, "null_flag")? { Ok(Value::Null) } else { value(reader, crc, type_, bytes_max) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]
    use super::*;
    use crate::tunnel::{Column, RowEncoder};

    fn schema(types: &[&str]) -> TableSchema {
        let columns = types.iter().enumerate();
        let columns = columns.map(|(i, text)| Column::new(format!("c{i}"), ColumnType::parse(text).unwrap()));
        TableSchema { columns: columns.collect(), partition_keys: Vec::new() }
    }

    fn rows_of(schema: &TableSchema, body: &[u8]) -> Result<Vec<Vec<Value>>, DecodeError> {
        let mut decoder = RowDecoder::new(schema);
        decoder.push(body);
        let mut rows = Vec::new();
        while let Some(row) = decoder.next_row()? {
            rows.push(row);
        }
        assert_eq!(decoder.clone().finish()?, rows.len() as u64);
        Ok(rows)
    }

    /// A stream of rows with columns of every kind, some of them NULL.
    fn sample() -> (TableSchema, Vec<Vec<Value>>, Vec<u8>) {
        let schema = schema(&[
            "bigint",
            "string",
            "double",
            "timestamp",
            "array<map<string,bigint>>",
            "struct<a:boolean,b:decimal(10,2)>",
            "interval_day_time",
        ]);
        let map = Value::Map(vec![(Value::text("k"), Value::BigInt(i64::MIN)), (Value::text("n"), Value::Null)]);
        let rows = vec![
            vec![
                Value::BigInt(i64::MAX),
                Value::text("x".repeat(300)),
                Value::Double(-0.5),
                Value::Timestamp { seconds: -1, nanos: 999_999_999 },
                Value::Array(vec![map, Value::Null, Value::Map(vec![])]),
                Value::Struct(vec![Value::Boolean(true), Value::Decimal("12.30".into())]),
                Value::IntervalDayTime { seconds: -3, nanos: -5 },
            ],
            vec![Value::Null; 7],
            vec![Value::BigInt(0), Value::Null, Value::Null, Value::Null, Value::Null, Value::Null, Value::Null],
        ];
        let mut encoder = RowEncoder::new();
        for row in &rows {
            for (i, (column, value)) in schema.columns.iter().zip(row).enumerate() {
                encoder.value(i, &column.type_, value).unwrap();
            }
            encoder.end_row();
        }
        (schema, rows, encoder.finish().to_vec())
    }

    #[test]
    fn what_was_encoded_comes_back() {
        let (schema, rows, body) = sample();
        assert_eq!(rows_of(&schema, &body).unwrap(), rows);
    }

    #[test]
    fn pieces_of_any_size_give_the_same_rows() {
        let (schema, rows, body) = sample();
        for size in [1, 2, 3, 7, 64, 1000] {
            let mut decoder = RowDecoder::new(&schema);
            let mut found = Vec::new();
            for piece in body.chunks(size) {
                decoder.push(piece);
                while let Some(row) = decoder.next_row().unwrap() {
                    found.push(row);
                }
            }
            assert_eq!(found, rows);
            assert_eq!(decoder.finish().unwrap(), 3);
        }
    }

    #[test]
    fn every_proper_prefix_is_refused() {
        let (schema, _, body) = sample();
        for end in 0..body.len() {
            let mut decoder = RowDecoder::new(&schema);
            decoder.push(&body[..end]);
            assert!(decoder.finish().is_err(), "{end} of {}", body.len());
        }
    }

    #[test]
    fn trailing_bytes_are_refused_at_once() {
        let (schema, _, mut body) = sample();
        body.push(0);
        assert!(matches!(rows_of(&schema, &body).unwrap_err().fault, DecodeFault::TrailingBytes(1)));
    }

    #[test]
    fn fields_beyond_the_bound_are_refused_before_they_arrive() {
        let schema = schema(&["string", "array<bigint>"]);
        let fault = |bytes: &[u8]| {
            let mut decoder = RowDecoder::new(&schema).with_field_bytes_max(100);
            decoder.push(bytes);
            decoder.next_row().unwrap_err().fault
        };
        assert_eq!(fault(&[0x0a, 0x65]), DecodeFault::TooLarge { size: 101, max: 100 });
        assert_eq!(fault(&[0x12, 0xff, 0xff, 0xff, 0x7f]), DecodeFault::TooLarge { size: 268_435_455, max: 100 });
        // An array whose elements outgrow the bound together, without ever announcing so.
        let mut slow = vec![0x12, 100];
        slow.extend([0x00, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01].repeat(15));
        assert!(matches!(fault(&slow), DecodeFault::TooLarge { .. }));
    }

    #[test]
    fn hostile_shapes_are_refused() {
        let schema = schema(&["tinyint", "boolean", "map<bigint,bigint>", "timestamp"]);
        for (what, bytes) in [
            ("field 0", &[0x00, 0x00][..]),
            ("field beyond the schema", &[0x28, 0x00]),
            ("wrong wire type", &[0x0a, 0x00]),
            ("the same column twice", &[0x08, 0x00, 0x08, 0x00]),
            ("a long tag", &[0x88, 0x00, 0x00]),
            ("tinyint 128", &[0x08, 0x80, 0x02]),
            ("boolean 2", &[0x10, 0x02]),
            ("flag 2", &[0x1a, 0x01, 0x02]),
            ("more keys than values", &[0x1a, 0x01, 0x00, 0x02, 0x00]),
            ("nanos of a second", &[0x22, 0x00, 0x80, 0xa8, 0xd6, 0xb9, 0x07]),
            ("nanos below zero", &[0x22, 0x00, 0x01]),
            ("a varint of eleven bytes", &[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1]),
            ("checksum without count", &[0xf8, 0xff, 0xff, 0x7f, 0x00]),
            ("count of rows that never came", &[0xf0, 0xff, 0xff, 0x7f, 0x02]),
            ("trailer inside a row", &[0x08, 0x00, 0xf0, 0xff, 0xff, 0x7f, 0x00]),
        ] {
            let mut decoder = RowDecoder::new(&schema);
            decoder.push(bytes);
            assert!(decoder.next_row().is_err(), "{what}");
        }
    }

    #[test]
    fn an_error_names_its_place_in_the_stream() {
        let (schema, _, mut body) = sample();
        let at = body.len() - 1;
        body[at] ^= 1;
        let mut decoder = RowDecoder::new(&schema);
        let mut error = None;
        for piece in body.chunks(10) {
            decoder.push(piece);
            loop {
                match decoder.next_row() {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(found) => {
                        error = Some(found);
                        break;
                    }
                }
            }
        }
        let error = error.unwrap();
        assert_eq!((error.field, error.at), ("crc_of_crcs", body.len()));
    }

    #[test]
    fn metrics_in_a_trailer_are_stepped_over_only_where_they_are_expected() {
        let (schema, rows, body) = sample();
        // The checksum is the last field: a tag of four bytes and its varint.
        let tag = [0xf8, 0xff, 0xff, 0x7f];
        let at = body.windows(4).rposition(|window| window == tag).unwrap();
        let mut with_metrics = body[..at].to_vec();
        with_metrics.extend([0x0a, 2, b'{', b'}', 0x80, 0xf0, 0xff, 0x7f, 5]);
        with_metrics.extend_from_slice(&body[at..]);
        let mut decoder = RowDecoder::new(&schema).with_metrics();
        for piece in with_metrics.chunks(3) {
            decoder.push(piece);
            while decoder.next_row().unwrap().is_some() {}
        }
        assert!(decoder.is_whole());
        assert_eq!(decoder.finish().unwrap(), rows.len() as u64);
        assert!(rows_of(&schema, &with_metrics).is_err());
    }
}
