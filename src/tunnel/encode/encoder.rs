//! Rows to bytes.

use bytes::Bytes;

use super::{END_RECORD, META_CHECKSUM, META_COUNT, NANOS_PER_SECOND};
use super::{WIRE_DELIMITED, WIRE_FIXED32, WIRE_FIXED64, WIRE_VARINT};
use crate::tunnel::column_type::ColumnType;
use crate::tunnel::value::{Value, ValueError, integer_range};
use crate::wire::{GatheredCrc32c, Pieces, zigzag32, zigzag64};

/// Encodes the rows of one block.
///
/// For each row, set the columns that are not NULL in ascending order of their place (0-based, partition keys left out),
/// then call [`RowEncoder::end_row`]; a row that turns out bad half-way is dropped by [`RowEncoder::abandon_row`].
/// [`RowEncoder::take`] hands out finished rows while the block goes on, so memory stays at what the caller lets pile up.
/// [`RowEncoder::finish`] adds the trailer, without which the service refuses the block.
///
/// Invariant: the bytes handed out, in order, are a prefix of a valid stream at every moment.
///
/// Columns set out of order are a mistake of the caller that no service could repair; they panic.
#[derive(Clone, Debug, Default)]
pub struct RowEncoder {
    buf: Pieces,
    /// Where the unfinished row starts in `buf`.
    row_start: usize,
    /// The first column that may still be set in the unfinished row.
    column_next: u32,
    row_crc: GatheredCrc32c,
    stream_crc: GatheredCrc32c,
    rows: u64,
}

impl RowEncoder {
    /// An encoder at the start of a block.
    pub fn new() -> Self {
        Self::default()
    }

    /// Rows ended since the start of the block.
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// Bytes held: finished rows that were not taken, and the unfinished row.
    pub const fn pending_bytes(&self) -> usize {
        self.buf.len()
    }

    /// Bytes of the unfinished row so far.
    pub const fn row_bytes(&self) -> usize {
        self.buf.len().saturating_sub(self.row_start)
    }

    /// TINYINT, SMALLINT, INT or BIGINT.
    #[inline]
    pub fn bigint(&mut self, column: usize, value: i64) {
        let field = self.field(column);
        put_tag(&mut self.buf, field, WIRE_VARINT);
        self.buf.put_uvarint(zigzag64(value));
        self.row_crc.update_headed(field.to_le_bytes(), &value.to_le_bytes());
    }

    /// BOOLEAN.
    #[inline]
    pub fn boolean(&mut self, column: usize, value: bool) {
        self.fixed(column, WIRE_VARINT, [u8::from(value)]);
    }

    /// DATETIME, in milliseconds since 1970-01-01T00:00:00Z.
    #[inline]
    pub fn datetime_ms(&mut self, column: usize, millis: i64) {
        self.bigint(column, millis);
    }

    /// DATE, in days since 1970-01-01.
    #[inline]
    pub fn date_days(&mut self, column: usize, days: i64) {
        self.bigint(column, days);
    }

    /// FLOAT.
    #[inline]
    pub fn float(&mut self, column: usize, value: f32) {
        self.fixed(column, WIRE_FIXED32, value.to_le_bytes());
    }

    /// DOUBLE.
    #[inline]
    pub fn double(&mut self, column: usize, value: f64) {
        self.fixed(column, WIRE_FIXED64, value.to_le_bytes());
    }

    /// STRING, BINARY, CHAR, VARCHAR, JSON, or the plain text of a DECIMAL.
    #[inline]
    pub fn string(&mut self, column: usize, value: &[u8]) {
        let field = self.field(column);
        self.buf.put_delimited(tag_of(field, WIRE_DELIMITED), value);
        self.row_crc.update_headed(field.to_le_bytes(), value);
    }

    /// TIMESTAMP or TIMESTAMP_NTZ: seconds rounded down, and 0 to 999,999,999 nanoseconds.
    #[inline]
    pub fn timestamp(&mut self, column: usize, seconds: i64, nanos: i32) {
        self.tag(column, WIRE_DELIMITED);
        put_timestamp(&mut self.buf, &mut self.row_crc, seconds, nanos);
    }

    /// A value of any type; NULL leaves the column out.
    ///
    /// # Errors
    /// [`ValueError`] when the type cannot hold the value; the row is then as it was before the call.
    pub fn value(&mut self, column: usize, type_: &ColumnType, value: &Value) -> Result<(), ValueError> {
        if value.is_null() {
            return Ok(());
        }
        let before = (self.buf.len(), self.row_crc.mark(), self.column_next);
        self.tag(column, super::wire_type(type_));
        put_value(&mut self.buf, &mut self.row_crc, type_, value).inspect_err(|_| {
            self.buf.truncate(before.0);
            self.row_crc.go_back(before.1);
            self.column_next = before.2;
        })
    }

    /// Ends the row: columns that were not set are NULL.
    pub fn end_row(&mut self) {
        let crc = self.row_crc.value();
        put_tag(&mut self.buf, END_RECORD, WIRE_VARINT);
        self.buf.put_uvarint(u64::from(crc));
        self.stream_crc.update_number(crc.to_le_bytes());
        self.rows = self.rows.saturating_add(1);
        self.start_row();
    }

    /// Drops what was set since the last row ended.
    pub fn abandon_row(&mut self) {
        self.buf.truncate(self.row_start);
        self.start_row();
    }

    /// Hands out every finished row that was not handed out before; the unfinished row stays.
    pub fn take(&mut self) -> Bytes {
        Bytes::from(self.buf.take_front(std::mem::take(&mut self.row_start)))
    }

    /// As [`RowEncoder::take`], into a buffer of the caller's that is cleared first, so that no memory is asked for.
    pub fn take_into(&mut self, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(self.buf.as_slice().get(..self.row_start).unwrap_or_default());
        self.buf.drop_front(std::mem::take(&mut self.row_start));
    }

    /// Ends the block: the rows not handed out yet and the trailer. An unfinished row is dropped.
    pub fn finish(mut self) -> Bytes {
        self.abandon_row();
        put_tag(&mut self.buf, META_COUNT, WIRE_VARINT);
        self.buf.put_uvarint(zigzag64(self.rows.cast_signed()));
        put_tag(&mut self.buf, META_CHECKSUM, WIRE_VARINT);
        self.buf.put_uvarint(u64::from(self.stream_crc.value()));
        Bytes::from(self.buf.into_vec())
    }

    fn start_row(&mut self) {
        self.row_start = self.buf.len();
        self.column_next = 0;
        self.row_crc.reset();
    }

    #[inline(always)]
    fn fixed<const N: usize>(&mut self, column: usize, wire_type: u32, value: [u8; N]) {
        let field = self.field(column);
        put_tag(&mut self.buf, field, wire_type);
        self.buf.put_array(value);
        self.row_crc.update_headed(field.to_le_bytes(), &value);
    }

    /// Writes the tag of `column` and hashes its field number.
    fn tag(&mut self, column: usize, wire_type: u32) {
        let field = self.field(column);
        put_tag(&mut self.buf, field, wire_type);
        self.row_crc.update_number(field.to_le_bytes());
    }

    /// The field number of `column`, which must come after the one before it.
    #[inline(always)]
    fn field(&mut self, column: usize) -> u32 {
        // Field numbers below the reserved ones; MaxCompute tables end at 1,200 columns.
        let field = u32::try_from(column).ok().and_then(|column| column.checked_add(1)).unwrap_or(u32::MAX);
        assert!(
            field > self.column_next && field < END_RECORD,
            "column {column} set after column {}",
            self.column_next
        );
        self.column_next = field;
        field
    }
}

#[inline(always)]
const fn tag_of(field: u32, wire_type: u32) -> u32 {
    field << 3 | wire_type
}

#[inline(always)]
fn put_tag(buf: &mut Pieces, field: u32, wire_type: u32) {
    buf.put_uvarint(tag_of(field, wire_type).into());
}

#[inline(always)]
fn put_hashed(buf: &mut Pieces, crc: &mut GatheredCrc32c, bytes: &[u8]) {
    buf.put(bytes);
    crc.update(bytes);
}

fn put_timestamp(buf: &mut Pieces, crc: &mut GatheredCrc32c, seconds: i64, nanos: i32) {
    buf.put_uvarint(zigzag64(seconds));
    buf.put_uvarint(u64::from(zigzag32(nanos)));
    crc.update_number(seconds.to_le_bytes());
    crc.update_number(nanos.to_le_bytes());
}

fn put_i64(buf: &mut Pieces, crc: &mut GatheredCrc32c, value: i64) {
    buf.put_uvarint(zigzag64(value));
    crc.update_number(value.to_le_bytes());
}

/// Writes a value that is not NULL, without its tag. Recursion is as deep as the type, which is bounded where it is parsed.
fn put_value(buf: &mut Pieces, crc: &mut GatheredCrc32c, type_: &ColumnType, value: &Value) -> Result<(), ValueError> {
    use ColumnType as T;
    let wrong = |reason| Err(ValueError { type_: type_.clone(), found: value.kind(), reason });
    match (type_, value) {
        (T::TinyInt | T::SmallInt | T::Int | T::BigInt, Value::BigInt(n)) => match integer_range(type_) {
            Some((min, max)) if (min..=max).contains(n) => put_i64(buf, crc, *n),
            _ => return wrong("out of range"),
        },
        (T::Boolean, Value::Boolean(b)) => put_hashed(buf, crc, &[u8::from(*b)]),
        (T::Float, Value::Float(x)) => put_hashed(buf, crc, &x.to_le_bytes()),
        (T::Double, Value::Double(x)) => put_hashed(buf, crc, &x.to_le_bytes()),
        (T::Date, Value::Date(n))
        | (T::Datetime, Value::Datetime(n))
        | (T::IntervalYearMonth, Value::IntervalYearMonth(n)) => put_i64(buf, crc, *n),
        (T::String | T::Binary | T::Char(_) | T::Varchar(_) | T::Json, Value::Bytes(bytes)) => {
            buf.put_uvarint(bytes.len() as u64);
            put_hashed(buf, crc, bytes);
        }
        (T::Decimal(_), Value::Decimal(text)) => {
            buf.put_uvarint(text.len() as u64);
            put_hashed(buf, crc, text.as_bytes());
        }
        (T::Timestamp | T::TimestampNtz, Value::Timestamp { seconds, nanos }) => {
            if !(0..NANOS_PER_SECOND).contains(nanos) {
                return wrong("nanoseconds out of range");
            }
            put_timestamp(buf, crc, *seconds, *nanos);
        }
        (T::IntervalDayTime, Value::IntervalDayTime { seconds, nanos }) => {
            if nanos.unsigned_abs() >= NANOS_PER_SECOND.unsigned_abs() {
                return wrong("nanoseconds out of range");
            }
            put_timestamp(buf, crc, *seconds, *nanos);
        }
        (T::Array(element), Value::Array(items)) => {
            buf.put_uvarint(items.len() as u64);
            for item in items {
                put_nullable(buf, crc, element, item)?;
            }
        }
        (T::Map(key_type, value_type), Value::Map(pairs)) => {
            buf.put_uvarint(pairs.len() as u64);
            for (key, _) in pairs {
                put_nullable(buf, crc, key_type, key)?;
            }
            buf.put_uvarint(pairs.len() as u64);
            for (_, value) in pairs {
                put_nullable(buf, crc, value_type, value)?;
            }
        }
        (T::Struct(fields), Value::Struct(values)) => {
            if fields.len() != values.len() {
                return wrong("another number of fields");
            }
            for (field, value) in fields.iter().zip(values) {
                put_nullable(buf, crc, &field.type_, value)?;
            }
        }
        _ => return wrong("another type"),
    }
    Ok(())
}

/// Writes the flag of an element, and the element unless it is NULL.
fn put_nullable(
    buf: &mut Pieces,
    crc: &mut GatheredCrc32c,
    type_: &ColumnType,
    value: &Value,
) -> Result<(), ValueError> {
    buf.put_array([u8::from(value.is_null())]);
    if value.is_null() { Ok(()) } else { put_value(buf, crc, type_, value) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn an_empty_block_is_its_trailer() {
        assert_eq!(hex(&RowEncoder::new().finish()), "f0ffff7f00f8ffff7f00");
    }

    #[test]
    fn the_documented_example() {
        let mut rows = RowEncoder::new();
        for (column, text) in ["hello", "world", "!"].iter().enumerate() {
            rows.string(column, text.as_bytes());
        }
        rows.end_row();
        let wanted = "0a0568656c6c6f1205776f726c641a012180c0ff7fb1abbfcf0ff0ffff7f02f8ffff7fb9a099ca0e";
        assert_eq!(hex(&rows.finish()), wanted);
    }

    #[test]
    fn an_abandoned_row_leaves_no_trace() {
        let mut rows = RowEncoder::new();
        rows.bigint(0, 1);
        rows.end_row();
        rows.bigint(0, 2);
        rows.string(1, b"half");
        rows.abandon_row();
        rows.bigint(0, 3);
        rows.end_row();
        let mut clean = RowEncoder::new();
        for n in [1, 3] {
            clean.bigint(0, n);
            clean.end_row();
        }
        assert_eq!(rows.rows(), 2);
        assert_eq!(rows.finish(), clean.finish());
    }

    #[test]
    fn rows_may_be_taken_at_any_moment() {
        let mut whole = RowEncoder::new();
        let mut pieces = RowEncoder::new();
        let mut taken = Vec::new();
        let mut spare = Vec::new();
        for n in 0..50_i64 {
            whole.bigint(0, n);
            whole.string(3, b"x");
            whole.end_row();
            pieces.bigint(0, n);
            if n % 7 == 0 {
                taken.extend_from_slice(&pieces.take());
            }
            if n % 11 == 0 {
                pieces.take_into(&mut spare);
                taken.extend_from_slice(&spare);
            }
            pieces.string(3, b"x");
            pieces.end_row();
        }
        // An unfinished row does not count.
        pieces.bigint(0, 99);
        assert!(pieces.row_bytes() > 0);
        taken.extend_from_slice(&pieces.finish());
        assert_eq!(taken, whole.finish());
    }

    #[test]
    fn a_refused_value_changes_nothing() {
        let type_ = ColumnType::parse("array<tinyint>").unwrap();
        let mut rows = RowEncoder::new();
        rows.bigint(0, 1);
        let bad = Value::Array(vec![Value::BigInt(1), Value::BigInt(128)]);
        assert!(rows.value(1, &type_, &bad).is_err());
        rows.value(1, &type_, &Value::Null).unwrap();
        rows.value(1, &type_, &Value::Array(vec![Value::BigInt(-128)])).unwrap();
        rows.end_row();
        let mut clean = RowEncoder::new();
        clean.bigint(0, 1);
        clean.value(1, &type_, &Value::Array(vec![Value::BigInt(-128)])).unwrap();
        clean.end_row();
        assert_eq!(rows.finish(), clean.finish());
    }

    #[test]
    fn values_are_checked_against_their_type() {
        let mut rows = RowEncoder::new();
        for (type_, value) in [
            ("bigint", Value::text("1")),
            ("smallint", Value::BigInt(40_000)),
            ("timestamp", Value::Timestamp { seconds: 0, nanos: 1_000_000_000 }),
            ("timestamp", Value::Timestamp { seconds: 0, nanos: -1 }),
            ("interval_day_time", Value::IntervalDayTime { seconds: 0, nanos: i32::MIN }),
            ("struct<a:int,b:int>", Value::Struct(vec![Value::Null])),
            ("string", Value::BigInt(1)),
        ] {
            assert!(rows.value(0, &ColumnType::parse(type_).unwrap(), &value).is_err(), "{type_} {value:?}");
        }
    }

    #[test]
    #[should_panic(expected = "set after column")]
    fn columns_out_of_order_are_our_own_mistake() {
        let mut rows = RowEncoder::new();
        rows.bigint(1, 1);
        rows.bigint(1, 1);
    }
}
