//! One value into one cell: the table of "Job semantics", section 5.1.

use std::borrow::Cow;

use super::decimal::Decimal;
use super::time::{Moment, epoch_days, seconds_and_nanos};
use super::{ValueRules, charset, nested};
use crate::job::{Charset, OverLength};
use crate::sync::stats::Delta;
use crate::tunnel::{ColumnType, RowEncoder, Value};

/// A value on its way into a cell, before the table's type is known to fit.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar<'a> {
    /// Nothing.
    Null,
    /// Text.
    Text(Cow<'a, str>),
    /// A whole number.
    Long(i64),
    /// A 32-bit floating-point number; its text is that of 32 bits.
    Float(f32),
    /// A 64-bit floating-point number.
    Double(f64),
    /// Bytes that are text only if the column asks for it.
    Bytes(&'a [u8]),
}

/// Why a value does not fit, for the log.
pub(super) type Reason = String;

/// Writes `scalar` into column `target` of the row being encoded, or says why it does not fit.
pub(super) fn write(
    rules: &ValueRules,
    target: usize,
    target_type: &ColumnType,
    scalar: Scalar<'_>,
    encoding: Charset,
    rows: &mut RowEncoder,
    delta: &mut Delta,
) -> Result<(), Reason> {
    let scalar = match scalar {
        Scalar::Null => return Ok(()),
        Scalar::Text(text) if text.is_empty() && rules.empty_as_null => return Ok(()),
        scalar => scalar,
    };
    match target_type {
        ColumnType::String => {
            // Most rows have numbers of their record; their text needs no memory of its own.
            let mut digits = itoa::Buffer::new();
            let decoded;
            let text = match &scalar {
                Scalar::Text(text) => text,
                Scalar::Long(number) => digits.format(*number),
                _ => {
                    decoded = text(scalar, encoding, delta);
                    &*decoded
                }
            };
            if let Some(bytes) = within_length(rules, text.as_bytes(), true, delta)? {
                rows.string(target, bytes);
            }
        }
        ColumnType::Binary => {
            let bytes: Cow<'_, [u8]> = match scalar {
                Scalar::Text(text) => match text {
                    Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
                    Cow::Owned(text) => Cow::Owned(text.into_bytes()),
                },
                Scalar::Bytes(bytes) => Cow::Borrowed(bytes),
                other => return Err(no_way(&other, target_type)),
            };
            if let Some(bytes) = within_length(rules, &bytes, false, delta)? {
                rows.string(target, bytes);
            }
        }
        ColumnType::BigInt => rows.bigint(target, whole_number(&scalar, target_type)?),
        other => {
            let value = value(rules, other, scalar, encoding, delta)?;
            rows.value(target, other, &value).map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

/// Whether a record's values can become values of this type at all: intervals have no text.
pub(super) fn is_writable(type_: &ColumnType) -> bool {
    match type_ {
        ColumnType::IntervalYearMonth | ColumnType::IntervalDayTime => false,
        ColumnType::Array(element) => is_writable(element),
        ColumnType::Map(key, value) => is_writable(key) && is_writable(value),
        ColumnType::Struct(fields) => fields.iter().all(|field| is_writable(&field.type_)),
        _ => true,
    }
}

/// Makes the value of a type that is not written directly.
pub(super) fn value(
    rules: &ValueRules,
    target: &ColumnType,
    scalar: Scalar<'_>,
    encoding: Charset,
    delta: &mut Delta,
) -> Result<Value, Reason> {
    let wrong = |scalar: &Scalar<'_>| Err(no_way(scalar, target));
    Ok(match target {
        ColumnType::TinyInt | ColumnType::SmallInt | ColumnType::Int | ColumnType::BigInt => {
            Value::BigInt(whole_number(&scalar, target)?)
        }
        ColumnType::Float => Value::Float(float(&scalar, target)?),
        ColumnType::Double => Value::Double(double(&scalar, target)?),
        ColumnType::Boolean => match &scalar {
            Scalar::Text(text) if text.eq_ignore_ascii_case("true") => Value::Boolean(true),
            Scalar::Text(text) if text.eq_ignore_ascii_case("false") => Value::Boolean(false),
            Scalar::Long(number) => Value::Boolean(*number != 0),
            other => return wrong(other),
        },
        ColumnType::Decimal(shape) => {
            let (precision, scale) = shape.map_or((54, 18), |s| (usize::from(s.precision), usize::from(s.scale)));
            let whole = precision.saturating_sub(scale).min(36);
            let plain = match &scalar {
                Scalar::Text(text) => Decimal::parse(text),
                Scalar::Long(number) => Decimal::parse(&number.to_string()),
                Scalar::Float(number) => Decimal::parse(&number.to_string()),
                Scalar::Double(number) => Decimal::parse(&number.to_string()),
                other => return wrong(other),
            };
            let Some(plain) = plain else { return wrong(&scalar) };
            let fits = plain.to_plain(whole, scale);
            Value::Decimal(fits.ok_or_else(|| format!("{} is too large for {target}", shown(&scalar)))?)
        }
        ColumnType::Datetime => {
            let instant = moment(&scalar, target)?.instant(&rules.time_zone);
            let Some(instant) = instant else { return wrong(&scalar) };
            Value::Datetime(instant.as_millisecond())
        }
        ColumnType::Timestamp => {
            let instant = moment(&scalar, target)?.instant(&rules.time_zone);
            let Some(instant) = instant else { return wrong(&scalar) };
            let (seconds, nanos) = seconds_and_nanos(instant);
            Value::Timestamp { seconds, nanos }
        }
        ColumnType::TimestampNtz => {
            let civil = moment(&scalar, target)?.civil(&rules.time_zone);
            let instant = Moment::Civil(civil).instant(&jiff::tz::TimeZone::UTC);
            let Some(instant) = instant else { return wrong(&scalar) };
            let (seconds, nanos) = seconds_and_nanos(instant);
            Value::Timestamp { seconds, nanos }
        }
        ColumnType::Date => Value::Date(epoch_days(moment(&scalar, target)?.civil(&rules.date_zone).date())),
        ColumnType::String | ColumnType::Char(_) | ColumnType::Varchar(_) => {
            let text = text(scalar, encoding, delta);
            if let ColumnType::Char(length) | ColumnType::Varchar(length) = target {
                let characters = text.chars().count();
                if u32::try_from(characters).map_or(true, |n| n > *length) {
                    return Err(format!("{} has {characters} characters", quoted(&text)));
                }
            }
            match within_length(rules, text.as_bytes(), true, delta)? {
                Some(bytes) => Value::Bytes(bytes.to_vec()),
                None => Value::Null,
            }
        }
        ColumnType::Binary => match scalar {
            Scalar::Text(text) => Value::Bytes(text.into_owned().into_bytes()),
            Scalar::Bytes(bytes) => Value::Bytes(bytes.to_vec()),
            other => return wrong(&other),
        },
        ColumnType::Json => {
            let text = text(scalar, encoding, delta);
            if serde_json::from_str::<serde::de::IgnoredAny>(&text).is_err() {
                return Err(format!("{} is not valid JSON", quoted(&text)));
            }
            match within_length(rules, text.as_bytes(), false, delta)? {
                Some(bytes) => Value::Bytes(bytes.to_vec()),
                None => Value::Null,
            }
        }
        ColumnType::Array(_) | ColumnType::Map(..) | ColumnType::Struct(_) => match &scalar {
            Scalar::Text(text) => nested::value(rules, target, text, encoding, delta)?,
            other => return wrong(other),
        },
        other => return Err(format!("type {other} cannot be written")),
    })
}

/// The text of a value in a text column.
pub(super) fn text<'a>(scalar: Scalar<'a>, encoding: Charset, delta: &mut Delta) -> Cow<'a, str> {
    match scalar {
        Scalar::Text(text) => text,
        Scalar::Long(number) => Cow::Owned(number.to_string()),
        Scalar::Float(number) => Cow::Owned(float_text(number, f64::from(number))),
        Scalar::Double(number) => Cow::Owned(float_text(number, number)),
        Scalar::Null => Cow::Borrowed(""),
        Scalar::Bytes(bytes) => {
            let (text, malformed) = charset::decode(encoding, bytes);
            if malformed {
                delta.malformed_text_values = delta.malformed_text_values.saturating_add(1);
            }
            text
        }
    }
}

/// The shortest plain text of a number, and Java's names for those that are none.
fn float_text(number: impl std::fmt::Display, wide: f64) -> String {
    if wide.is_nan() {
        "NaN".to_owned()
    } else if wide.is_infinite() {
        if wide > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
    } else {
        number.to_string()
    }
}

fn whole_number(scalar: &Scalar<'_>, target: &ColumnType) -> Result<i64, Reason> {
    let number = match scalar {
        Scalar::Long(number) => Some(*number),
        Scalar::Text(text) => match few_digits(text) {
            Some(number) => Some(number),
            None => Decimal::parse(text).ok_or_else(|| no_way(scalar, target))?.to_i64(),
        },
        Scalar::Float(number) => Decimal::parse(&number.to_string()).and_then(|d| d.to_i64()),
        Scalar::Double(number) => Decimal::parse(&number.to_string()).and_then(|d| d.to_i64()),
        Scalar::Null | Scalar::Bytes(_) => return Err(no_way(scalar, target)),
    };
    let range = match target {
        ColumnType::TinyInt => (i64::from(i8::MIN), i64::from(i8::MAX)),
        ColumnType::SmallInt => (i64::from(i16::MIN), i64::from(i16::MAX)),
        ColumnType::Int => (i64::from(i32::MIN), i64::from(i32::MAX)),
        // The smallest 64-bit number is MaxCompute's old mark for NULL.
        _ => (-i64::MAX, i64::MAX),
    };
    number.filter(|n| (range.0..=range.1).contains(n)).ok_or_else(|| out_of_range(scalar, target))
}

/// The number that a sign, if any, and at most 18 digits are, as almost all whole numbers; none of any other text.
fn few_digits(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text).as_bytes();
    if !(1..=18).contains(&digits.len()) {
        return None;
    }
    let mut number = 0_i64;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number.wrapping_mul(10).wrapping_add(i64::from(digit));
    }
    Some(if digits.len() < text.len() { number.wrapping_neg() } else { number })
}

fn out_of_range(scalar: &Scalar<'_>, target: &ColumnType) -> Reason {
    format!("{} is out of the range of {target}", shown(scalar))
}

fn double(scalar: &Scalar<'_>, target: &ColumnType) -> Result<f64, Reason> {
    match scalar {
        Scalar::Double(number) => Ok(*number),
        Scalar::Float(number) => Ok(f64::from(*number)),
        // Nearest double, as Java's widening does.
        Scalar::Long(number) => Ok(*number as f64),
        Scalar::Text(text) => {
            let number: f64 = parse_float(text).ok_or_else(|| no_way(scalar, target))?;
            if number.is_infinite() && !text.ends_with("Infinity") {
                Err(out_of_range(scalar, target))
            } else {
                Ok(number)
            }
        }
        Scalar::Null | Scalar::Bytes(_) => Err(no_way(scalar, target)),
    }
}

fn float(scalar: &Scalar<'_>, target: &ColumnType) -> Result<f32, Reason> {
    match scalar {
        Scalar::Float(number) => Ok(*number),
        Scalar::Long(number) => Ok(*number as f32),
        Scalar::Double(number) => {
            let narrow = *number as f32;
            if narrow.is_infinite() && number.is_finite() { Err(out_of_range(scalar, target)) } else { Ok(narrow) }
        }
        Scalar::Text(text) => {
            let number: f32 = parse_float(text).ok_or_else(|| no_way(scalar, target))?;
            if number.is_infinite() && !text.ends_with("Infinity") {
                Err(out_of_range(scalar, target))
            } else {
                Ok(number)
            }
        }
        Scalar::Null | Scalar::Bytes(_) => Err(no_way(scalar, target)),
    }
}

/// Numbers, and `NaN`, `Infinity`, `-Infinity`; not the other spellings that Rust accepts.
fn parse_float<F: std::str::FromStr>(text: &str) -> Option<F> {
    let named = matches!(text, "NaN" | "Infinity" | "-Infinity");
    let digits = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+' | b'e' | b'E'));
    if named || digits { text.parse().ok() } else { None }
}

fn moment(scalar: &Scalar<'_>, target: &ColumnType) -> Result<Moment, Reason> {
    let moment = match scalar {
        Scalar::Long(millis) => Moment::from_millis(*millis),
        Scalar::Text(text) => Moment::parse(text),
        _ => None,
    };
    moment.ok_or_else(|| no_way(scalar, target))
}

/// Applies the over-length rule; `None` means NULL.
#[inline(always)]
fn within_length<'b>(
    rules: &ValueRules,
    bytes: &'b [u8],
    is_text: bool,
    delta: &mut Delta,
) -> Result<Option<&'b [u8]>, Reason> {
    if bytes.len() <= rules.field_bytes_limit { Ok(Some(bytes)) } else { over_length(rules, bytes, is_text, delta) }
}

#[cold]
fn over_length<'b>(
    rules: &ValueRules,
    bytes: &'b [u8],
    is_text: bool,
    delta: &mut Delta,
) -> Result<Option<&'b [u8]>, Reason> {
    match rules.over_length {
        OverLength::KeepOn if bytes.len() <= rules.field_bytes_refused => Ok(Some(bytes)),
        OverLength::KeepOn => Err(format!(
            "value of {} bytes is over the field limit of {} bytes (starts {})",
            bytes.len(),
            rules.field_bytes_refused,
            quoted(&String::from_utf8_lossy(bytes.get(..64).unwrap_or(bytes)))
        )),
        OverLength::SetNull => {
            delta.over_length_values = delta.over_length_values.saturating_add(1);
            Ok(None)
        }
        OverLength::Truncate => {
            delta.over_length_values = delta.over_length_values.saturating_add(1);
            Ok(Some(cut(bytes, rules.field_bytes_kept, is_text)))
        }
    }
}

/// The first bytes of a value: text keeps six bytes fewer than the limit and ends at a character, as odpswriter does.
fn cut(bytes: &[u8], bytes_max: usize, is_text: bool) -> &[u8] {
    let mut end = if is_text { bytes_max.saturating_sub(6) } else { bytes_max }.min(bytes.len());
    while is_text && end > 0 && bytes.get(end).is_some_and(|byte| byte & 0xc0 == 0x80) {
        end = end.saturating_sub(1);
    }
    bytes.get(..end).unwrap_or(bytes)
}

fn no_way(scalar: &Scalar<'_>, target: &ColumnType) -> Reason {
    format!("{} is no {target}", shown(scalar))
}

/// A value's start, for messages.
pub(super) fn shown(scalar: &Scalar<'_>) -> String {
    match scalar {
        Scalar::Null => "NULL".to_owned(),
        Scalar::Text(text) => quoted(text),
        Scalar::Long(number) => number.to_string(),
        Scalar::Float(number) => number.to_string(),
        Scalar::Double(number) => number.to_string(),
        Scalar::Bytes(bytes) => {
            use std::fmt::Write as _;
            let mut text = String::from("bytes 0x");
            for byte in bytes.iter().take(16) {
                let _ = write!(text, "{byte:02x}");
            }
            if bytes.len() > 16 {
                text.push('…');
            }
            text
        }
    }
}

/// The first 64 characters of a text in quotes, control characters escaped.
pub(super) fn quoted(text: &str) -> String {
    let mut start: String = text.chars().take(64).collect();
    if start.len() < text.len() {
        start.push('…');
    }
    format!("{start:?}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use jiff::tz::TimeZone;

    use super::*;
    use crate::tunnel::{Column, RowDecoder, TableSchema};

    fn rules() -> ValueRules {
        let zone = TimeZone::fixed(jiff::tz::offset(8));
        ValueRules {
            empty_as_null: false,
            over_length: OverLength::KeepOn,
            field_bytes_limit: 64,
            field_bytes_refused: 64,
            field_bytes_kept: 16,
            time_zone: zone.clone(),
            date_zone: zone,
        }
    }

    #[test]
    fn few_digits_are_the_number_that_a_decimal_is() {
        let nines = ["9".repeat(18), format!("-{}", "9".repeat(18)), "9".repeat(19), "0".repeat(40)];
        let others = ["0", "7", "-7", "007", "-0", "", "-", "--1", "+5", "1-", "1.0", "1e2", " 1", "1/", "1:", "１"];
        for text in nines.iter().map(String::as_str).chain(others) {
            if let Some(number) = few_digits(text) {
                assert_eq!(Decimal::parse(text).and_then(|decimal| decimal.to_i64()), Some(number), "{text}");
            }
        }
        let taken: Vec<&str> = others.into_iter().filter(|text| few_digits(text).is_some()).collect();
        assert_eq!(taken, ["0", "7", "-7", "007", "-0"]);
    }

    /// Writes one cell and reads it back through the independent decoder.
    fn cell_with(rules: &ValueRules, type_text: &str, scalar: Scalar<'_>) -> Result<Value, Reason> {
        let type_ = ColumnType::parse(type_text).unwrap();
        let mut rows = RowEncoder::new();
        write(rules, 0, &type_, scalar, Charset::Utf8, &mut rows, &mut Delta::default())?;
        rows.end_row();
        let schema = TableSchema { columns: vec![Column::new("c", type_)], partition_keys: Vec::new() };
        let mut decoder = RowDecoder::new(&schema);
        decoder.push(&rows.finish());
        Ok(decoder.next_row().unwrap().unwrap().remove(0))
    }

    fn cell(type_text: &str, scalar: Scalar<'_>) -> Result<Value, Reason> {
        cell_with(&rules(), type_text, scalar)
    }

    fn text(text: &str) -> Scalar<'_> {
        Scalar::Text(Cow::Borrowed(text))
    }

    #[test]
    fn text_columns_take_everything() {
        assert_eq!(cell("string", text("a")), Ok(Value::text("a")));
        assert_eq!(cell("string", text("")), Ok(Value::text("")));
        assert_eq!(cell("string", Scalar::Null), Ok(Value::Null));
        for number in [-7, 0, 9, 10, 12_345_678_901, i64::MAX, i64::MIN] {
            assert_eq!(cell("string", Scalar::Long(number)), Ok(Value::text(number.to_string())));
        }
        assert_eq!(cell("string", Scalar::Double(1e21)), Ok(Value::text("1000000000000000000000")));
        assert_eq!(cell("string", Scalar::Float(0.1)), Ok(Value::text("0.1")));
        assert_eq!(cell("string", Scalar::Double(f64::NEG_INFINITY)), Ok(Value::text("-Infinity")));
        assert_eq!(cell("string", Scalar::Bytes(b"\xff1")), Ok(Value::text("\u{fffd}1")));
        assert_eq!(cell("varchar(2)", text("é1")), Ok(Value::text("é1")));
        assert!(cell("varchar(2)", text("abc")).unwrap_err().contains("3 characters"));
        assert_eq!(cell("binary", Scalar::Bytes(b"\xff")), Ok(Value::Bytes(vec![0xff])));
        assert!(cell("binary", Scalar::Long(1)).is_err());
        let null = ValueRules { empty_as_null: true, ..rules() };
        assert_eq!(cell_with(&null, "string", text("")), Ok(Value::Null));
        assert_eq!(cell_with(&null, "string", Scalar::Bytes(b"")), Ok(Value::text("")));
    }

    #[test]
    fn whole_numbers_never_wrap() {
        assert_eq!(cell("bigint", text("1.9")), Ok(Value::BigInt(1)));
        assert_eq!(cell("bigint", text("1e3")), Ok(Value::BigInt(1000)));
        assert_eq!(cell("bigint", text("-9223372036854775807")), Ok(Value::BigInt(-i64::MAX)));
        assert!(cell("bigint", text("-9223372036854775808")).is_err());
        assert!(cell("bigint", text("9223372036854775808")).is_err());
        assert!(cell("bigint", text("")).unwrap_err().contains("\"\" is no bigint"));
        assert!(cell("bigint", Scalar::Bytes(b"1")).is_err());
        assert_eq!(cell("int", Scalar::Long(2_147_483_647)), Ok(Value::BigInt(2_147_483_647)));
        assert!(cell("int", Scalar::Long(2_147_483_648)).is_err());
        assert!(cell("tinyint", Scalar::Long(128)).is_err());
        assert_eq!(cell("smallint", Scalar::Double(-1.9)), Ok(Value::BigInt(-1)));
        assert!(cell("bigint", Scalar::Double(f64::NAN)).is_err());
    }

    #[test]
    fn decimals_and_floats() {
        assert_eq!(cell("decimal(10,2)", text("1.005")), Ok(Value::Decimal("1.01".into())));
        assert!(cell("decimal(3,2)", text("10")).unwrap_err().contains("too large"));
        assert_eq!(cell("decimal(10,2)", Scalar::Double(0.1)), Ok(Value::Decimal("0.1".into())));
        assert_eq!(cell("double", text("1e3")), Ok(Value::Double(1000.0)));
        assert!(cell("double", text("inf")).is_err());
        assert_eq!(cell("double", text("Infinity")), Ok(Value::Double(f64::INFINITY)));
        assert!(cell("double", text("-1e309")).unwrap_err().contains("out of the range of double"));
        assert!(cell("float", text("1e39")).unwrap_err().contains("out of the range of float"));
        assert!(cell("float", Scalar::Double(1e39)).is_err());
        assert_eq!(cell("float", Scalar::Double(f64::NEG_INFINITY)), Ok(Value::Float(f32::NEG_INFINITY)));
        assert_eq!(cell("boolean", text("TRUE")), Ok(Value::Boolean(true)));
        assert_eq!(cell("boolean", Scalar::Long(2)), Ok(Value::Boolean(true)));
        assert!(cell("boolean", text("1")).is_err());
    }

    #[test]
    fn times_use_the_zone_of_the_job() {
        assert_eq!(cell("datetime", text("1970-01-01 08:00:00")), Ok(Value::Datetime(0)));
        assert_eq!(cell("datetime", Scalar::Long(1_700_000_000_123)), Ok(Value::Datetime(1_700_000_000_123)));
        assert_eq!(cell("date", Scalar::Long(0)), Ok(Value::Date(0)));
        assert_eq!(cell("date", Scalar::Long(16 * 3_600_000)), Ok(Value::Date(1)), "midnight of the job's zone");
        assert_eq!(cell("timestamp", Scalar::Long(-500)), Ok(Value::Timestamp { seconds: -1, nanos: 500_000_000 }));
        assert_eq!(cell("timestamp_ntz", text("1970-01-01 00:00:01")), Ok(Value::Timestamp { seconds: 1, nanos: 0 }));
        assert!(cell("datetime", text("08:00:00")).is_err());
        assert!(cell("datetime", Scalar::Double(0.0)).is_err());
    }

    #[test]
    fn nested_types_come_from_json_text() {
        let array = Value::Array(vec![Value::BigInt(1), Value::Null]);
        assert_eq!(cell("array<bigint>", text("[1, null]")), Ok(array));
        let map = Value::Map(vec![(Value::text("k"), Value::text("1.10"))]);
        assert_eq!(cell("map<string,string>", text("{\"k\":1.10}")), Ok(map));
        let inner = Value::Array(vec![Value::text("x")]);
        let both = Value::Struct(vec![Value::Null, inner]);
        assert_eq!(cell("struct<a:int,b:array<string>>", text("{\"B\":[\"x\"]}")), Ok(both));
        assert!(cell("array<bigint>", text("{}")).is_err());
        assert!(cell("array<bigint>", text("[\"x\"]")).is_err());
        assert_eq!(cell("json", text("{\"a\": 1}")), Ok(Value::text("{\"a\": 1}")));
        assert!(cell("json", text("{")).is_err());
    }

    #[test]
    fn the_length_rules() {
        let long = "é".repeat(40);
        assert!(cell("string", text(&long)).unwrap_err().contains("80 bytes is over the field limit of 64"));
        let cut = ValueRules { over_length: OverLength::Truncate, field_bytes_kept: 17, ..rules() };
        assert_eq!(cell_with(&cut, "string", text(&long)), Ok(Value::text("é".repeat(5))));
        let null = ValueRules { over_length: OverLength::SetNull, ..rules() };
        assert_eq!(cell_with(&null, "string", text(&long)), Ok(Value::Null));
    }
}
