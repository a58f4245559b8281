//! Between the values of rows and the values of the SQL engine.
//!
//! The engine must not change what it only passes on. What it has no faithful form for (nested types, intervals, texts that
//! are not UTF-8, decimals beyond its 28 digits) travels through it as opaque bytes or text and comes out as it went in.

use std::io::Cursor;
use std::sync::Arc;

use gluesql_core::chrono::{DateTime, NaiveDate, TimeDelta};
use gluesql_core::prelude::{DataType, Value as EngineValue};

use super::super::store::rows::RowScan;
use crate::tunnel::{ColumnType, RowEncoder, Value};

/// A row's value for the engine.
pub(super) fn to_engine(type_: &ColumnType, value: Value) -> EngineValue {
    match value {
        Value::Null => EngineValue::Null,
        Value::BigInt(number) => EngineValue::I64(number),
        Value::Boolean(flag) => EngineValue::Bool(flag),
        Value::Float(number) => EngineValue::F64(f64::from(number)),
        Value::Double(number) => EngineValue::F64(number),
        Value::Bytes(bytes) if *type_ == ColumnType::Binary => EngineValue::Bytea(bytes),
        Value::Bytes(bytes) => match String::from_utf8(bytes) {
            Ok(text) => EngineValue::Str(text),
            Err(error) => EngineValue::Bytea(error.into_bytes()),
        },
        Value::Decimal(text) => {
            let digits = text.bytes().filter(u8::is_ascii_digit).count();
            let text = EngineValue::Str(text);
            let number = if digits <= ENGINE_DECIMAL_DIGITS { text.cast(&DataType::Decimal).ok() } else { None };
            number.unwrap_or(text)
        }
        Value::Date(days) => {
            let day = TimeDelta::try_days(days).and_then(|delta| NaiveDate::default().checked_add_signed(delta));
            day.map_or(EngineValue::Null, EngineValue::Date)
        }
        Value::Datetime(millis) => instant(millis.div_euclid(1000), millis.rem_euclid(1000) * 1_000_000),
        Value::Timestamp { seconds, nanos } => instant(seconds, i64::from(nanos)),
        nested => EngineValue::Bytea(pack(type_, &nested)),
    }
}

fn instant(seconds: i64, nanos: i64) -> EngineValue {
    let nanos = u32::try_from(nanos).unwrap_or(0);
    DateTime::from_timestamp(seconds, nanos).map_or(EngineValue::Null, |at| EngineValue::Timestamp(at.naive_utc()))
}

/// A value of the engine in its natural kind: integers as BIGINT, moments as TIMESTAMP.
pub(super) fn from_engine(value: EngineValue) -> Value {
    match value {
        EngineValue::Null => Value::Null,
        EngineValue::Bool(flag) => Value::Boolean(flag),
        EngineValue::I8(number) => Value::BigInt(number.into()),
        EngineValue::I16(number) => Value::BigInt(number.into()),
        EngineValue::I32(number) => Value::BigInt(number.into()),
        EngineValue::I64(number) => Value::BigInt(number),
        EngineValue::U8(number) => Value::BigInt(number.into()),
        EngineValue::U16(number) => Value::BigInt(number.into()),
        EngineValue::U32(number) => Value::BigInt(number.into()),
        EngineValue::F32(number) => Value::Double(number.into()),
        EngineValue::F64(number) => Value::Double(number),
        EngineValue::Decimal(number) => Value::Decimal(number.to_string()),
        EngineValue::Str(text) => Value::text(text),
        EngineValue::Bytea(bytes) => Value::Bytes(bytes),
        EngineValue::Date(day) => Value::Date((day - NaiveDate::default()).num_days()),
        EngineValue::Timestamp(at) => {
            let at = at.and_utc();
            Value::Timestamp { seconds: at.timestamp(), nanos: at.timestamp_subsec_nanos().try_into().unwrap_or(0) }
        }
        other => Value::text(String::from(other)),
    }
}

/// A natural value as exactly the type its column is known to have; `None` when it is of another kind.
pub(super) fn settle(type_: &ColumnType, value: Value) -> Option<Value> {
    Some(match (type_, value) {
        (_, Value::Null) => Value::Null,
        (ColumnType::TinyInt, Value::BigInt(number)) => Value::BigInt(i8::try_from(number).ok()?.into()),
        (ColumnType::SmallInt, Value::BigInt(number)) => Value::BigInt(i16::try_from(number).ok()?.into()),
        (ColumnType::Int, Value::BigInt(number)) => Value::BigInt(i32::try_from(number).ok()?.into()),
        (ColumnType::BigInt, Value::BigInt(number)) => Value::BigInt(number),
        (ColumnType::Boolean, Value::Boolean(flag)) => Value::Boolean(flag),
        (ColumnType::Double, Value::Double(number)) => Value::Double(number),
        #[allow(clippy::cast_possible_truncation, reason = "it was widened from a float")]
        (ColumnType::Float, Value::Double(number)) => Value::Float(number as f32),
        (ColumnType::Decimal(_), Value::Decimal(text)) => Value::Decimal(text),
        (ColumnType::Decimal(_), Value::Bytes(bytes)) => Value::Decimal(String::from_utf8(bytes).ok()?),
        (ColumnType::Date, Value::Date(days)) => Value::Date(days),
        (ColumnType::Datetime, Value::Timestamp { seconds, nanos }) => {
            Value::Datetime(seconds.checked_mul(1000)?.checked_add(i64::from(nanos / 1_000_000))?)
        }
        (ColumnType::Timestamp | ColumnType::TimestampNtz, at @ Value::Timestamp { .. }) => at,
        (
            ColumnType::Array(_)
            | ColumnType::Map(..)
            | ColumnType::Struct(_)
            | ColumnType::IntervalDayTime
            | ColumnType::IntervalYearMonth,
            Value::Bytes(bytes),
        ) => unpack(type_, bytes)?,
        (ColumnType::Binary | ColumnType::String | ColumnType::Json, Value::Bytes(bytes)) => Value::Bytes(bytes),
        (ColumnType::Char(length) | ColumnType::Varchar(length), Value::Bytes(bytes)) => {
            let fits = std::str::from_utf8(&bytes).is_ok_and(|text| text.chars().count() <= *length as usize);
            return fits.then_some(Value::Bytes(bytes));
        }
        _ => return None,
    })
}

/// A value as bytes that only [`unpack`] reads: one row of one column.
fn pack(type_: &ColumnType, value: &Value) -> Vec<u8> {
    let mut encoder = RowEncoder::new();
    // The value came out of a row of this type, so it fits.
    let _ = encoder.value(0, type_, value);
    encoder.end_row();
    encoder.take().to_vec()
}

fn unpack(type_: &ColumnType, bytes: Vec<u8>) -> Option<Value> {
    let mut scan = RowScan::new(Cursor::new(bytes), Arc::from(vec![type_.clone()]));
    let mut row = Vec::new();
    scan.next_row(&[true], &mut row).ok()?;
    row.pop()
}

/// Decimal digits that the engine holds without rounding.
const ENGINE_DECIMAL_DIGITS: usize = 28;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_passes_through_the_engine_comes_out_as_it_went_in() {
        let nested = Value::Map(vec![(Value::text("k"), Value::Array(vec![Value::BigInt(1), Value::Null]))]);
        for (type_, value) in [
            ("bigint", Value::BigInt(i64::MIN)),
            ("tinyint", Value::BigInt(-128)),
            ("float", Value::Float(0.1)),
            ("double", Value::Double(-0.0)),
            ("string", Value::Bytes(vec![0xff, 0xfe])),
            ("string", Value::text("")),
            ("binary", Value::Bytes(b"plain".to_vec())),
            ("decimal(38,18)", Value::Decimal("12345678901234567890.123456789012345678".to_owned())),
            ("decimal(10,3)", Value::Decimal("12.340".to_owned())),
            ("date", Value::Date(-25_567)),
            ("datetime", Value::Datetime(-1)),
            ("timestamp", Value::Timestamp { seconds: -1, nanos: 500_000_000 }),
            ("map<string,array<bigint>>", nested),
            ("interval_day_time", Value::IntervalDayTime { seconds: -1, nanos: -5 }),
            ("boolean", Value::Boolean(false)),
            ("json", Value::text("{}")),
            ("bigint", Value::Null),
        ] {
            let type_ = ColumnType::parse(type_).unwrap();
            let through = settle(&type_, from_engine(to_engine(&type_, value.clone())));
            assert_eq!(through, Some(value), "{type_}");
        }
        assert_eq!(settle(&ColumnType::TinyInt, Value::BigInt(128)), None);
        assert_eq!(settle(&ColumnType::BigInt, Value::text("1")), None);
    }
}
