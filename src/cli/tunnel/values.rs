//! Values of table columns as text and JSON, and back.
//!
//! What is written is read back as the same value: exact decimals, nanoseconds, bytes. Only texts that are not UTF-8 cannot
//! go through JSON; the caller is told.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::civil::{Date, DateTime, Time, date};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value as Json;
use serde_json::value::RawValue;

use crate::tunnel::{ColumnType, DecimalShape, Value};

/// A value as a CSV cell, without quotes; `None` is NULL. Texts keep their bytes, BINARY is hexadecimal, moments are
/// `yyyy-MM-dd HH:mm:ss[.fraction]` in `zone`, ARRAY, MAP and STRUCT are JSON.
pub(in crate::cli) fn cell<'a>(type_: &ColumnType, value: &'a Value, zone: &TimeZone) -> Option<Cow<'a, [u8]>> {
    match value {
        Value::Null => None,
        Value::Bytes(bytes) if *type_ != ColumnType::Binary => Some(Cow::Borrowed(bytes)),
        value => Some(Cow::Owned(text(type_, value, zone).into_bytes())),
    }
}

fn text(type_: &ColumnType, value: &Value, zone: &TimeZone) -> String {
    match value {
        Value::Null => String::new(),
        Value::BigInt(number) => number.to_string(),
        Value::Boolean(flag) => flag.to_string(),
        Value::Float(number) => float_text(format!("{number:?}")),
        Value::Double(number) => float_text(format!("{number:?}")),
        Value::Bytes(bytes) if *type_ == ColumnType::Binary => hex(bytes),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Decimal(text) => text.clone(),
        Value::Date(days) => show_date(*days),
        Value::Datetime(millis) => {
            let nanos = millis.rem_euclid(1000).saturating_mul(1_000_000);
            show_moment(millis.div_euclid(1000), i32::try_from(nanos).unwrap_or_default(), zone)
        }
        Value::Timestamp { seconds, nanos } => {
            let zone = if *type_ == ColumnType::TimestampNtz { &TimeZone::UTC } else { zone };
            show_moment(*seconds, *nanos, zone)
        }
        Value::IntervalYearMonth(months) => {
            let sign = if *months < 0 { "-" } else { "" };
            format!("{sign}{}-{}", months.unsigned_abs() / 12, months.unsigned_abs() % 12)
        }
        Value::IntervalDayTime { seconds, nanos } => {
            let total = i128::from(*seconds).saturating_mul(NANOS).saturating_add(i128::from(*nanos));
            let sign = if total < 0 { "-" } else { "" };
            let (whole, fraction) =
                (total.unsigned_abs() / NANOS.unsigned_abs(), total.unsigned_abs() % NANOS.unsigned_abs());
            let (days, rest) = (whole / 86_400, whole % 86_400);
            format!("{sign}{days} {:02}:{:02}:{:02}.{fraction:09}", rest / 3600, rest / 60 % 60, rest % 60)
        }
        Value::Array(_) | Value::Map(_) | Value::Struct(_) => json(type_, value, zone, &mut false).to_string(),
    }
}

/// A value as JSON: numbers and booleans as such, unless JSON has no such number; everything else as the text of [`cell`].
/// `is_lossy` is set when a text was not UTF-8.
pub(in crate::cli) fn json(type_: &ColumnType, value: &Value, zone: &TimeZone, is_lossy: &mut bool) -> Json {
    match (type_, value) {
        (_, Value::Null) => Json::Null,
        (_, Value::BigInt(number)) => Json::from(*number),
        (_, Value::Boolean(flag)) => Json::from(*flag),
        (_, Value::Double(number)) if number.is_finite() => Json::from(*number),
        // By way of its shortest text: 0.1 as a float is not 0.10000000149.
        (_, Value::Float(number)) if number.is_finite() => {
            serde_json::from_str(&format!("{number:?}")).unwrap_or(Json::Null)
        }
        (ColumnType::Array(element), Value::Array(values)) => {
            Json::Array(values.iter().map(|value| json(element, value, zone, is_lossy)).collect())
        }
        (ColumnType::Map(key, inner), Value::Map(pairs)) => {
            let pairs = pairs.iter().map(|(name, value)| (text(key, name, zone), json(inner, value, zone, is_lossy)));
            Json::Object(pairs.collect())
        }
        (ColumnType::Struct(fields), Value::Struct(values)) => {
            let pairs = fields.iter().zip(values);
            let pairs = pairs.map(|(field, value)| (field.name.clone(), json(&field.type_, value, zone, is_lossy)));
            Json::Object(pairs.collect())
        }
        (type_, Value::Bytes(bytes)) if *type_ != ColumnType::Binary => {
            let text = String::from_utf8_lossy(bytes);
            *is_lossy |= matches!(text, Cow::Owned(_));
            Json::String(text.into_owned())
        }
        (type_, value) => Json::String(text(type_, value, zone)),
    }
}

/// Reads what [`cell`] writes. Never rounds, cuts or wraps.
///
/// # Errors
/// Why the text is no value of the type.
pub(in crate::cli) fn from_cell(type_: &ColumnType, cell: &[u8], zone: &TimeZone) -> Result<Value, String> {
    if *type_ == ColumnType::String {
        return Ok(Value::Bytes(cell.to_vec()));
    }
    let text = std::str::from_utf8(cell).map_err(|_| "not UTF-8".to_owned())?;
    if type_.is_nested() {
        let raw: &RawValue = serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
        return from_json(type_, raw, zone);
    }
    from_text(type_, text, zone)
}

/// Reads what [`json`] writes: also numbers and booleans as text, and anything at all as the text of a STRING.
///
/// # Errors
/// Why the JSON is no value of the type; for a nested one also where.
pub(in crate::cli) fn from_json(type_: &ColumnType, raw: &RawValue, zone: &TimeZone) -> Result<Value, String> {
    let text = raw.get();
    if text == "null" {
        return Ok(Value::Null);
    }
    match type_ {
        ColumnType::Array(element) => {
            let items: Vec<&RawValue> = serde_json::from_str(text).map_err(|_| "not a list".to_owned())?;
            let value = |(place, item): (usize, &&RawValue)| {
                from_json(element, item, zone).map_err(|why| format!("element {place}: {why}"))
            };
            Ok(Value::Array(items.iter().enumerate().map(value).collect::<Result<_, _>>()?))
        }
        ColumnType::Map(key, inner) => {
            let pairs = members(text)?;
            let pair = |(name, value): (String, &RawValue)| {
                let at = |why: String| format!("key \"{}\": {why}", name.escape_debug());
                Ok((from_text(key, &name, zone).map_err(at)?, from_json(inner, value, zone).map_err(at)?))
            };
            Ok(Value::Map(pairs.into_iter().map(pair).collect::<Result<_, String>>()?))
        }
        ColumnType::Struct(fields) => {
            let mut given = members(text)?;
            let value = |field: &crate::tunnel::StructField| match given.remove(&field.name) {
                Some(raw) => {
                    from_json(&field.type_, raw, zone).map_err(|why| format!("field \"{}\": {why}", field.name))
                }
                None => Ok(Value::Null),
            };
            let values = fields.iter().map(value).collect::<Result<_, String>>()?;
            match given.keys().next() {
                Some(name) => Err(format!("there is no field \"{}\"", name.escape_debug())),
                None => Ok(Value::Struct(values)),
            }
        }
        type_ => match serde_json::from_str::<String>(text) {
            Ok(text) => from_text(type_, &text, zone),
            Err(_) => from_text(type_, text, zone),
        },
    }
}

fn members(text: &str) -> Result<BTreeMap<String, &RawValue>, String> {
    serde_json::from_str(text).map_err(|_| "not an object".to_owned())
}

fn from_text(type_: &ColumnType, text: &str, zone: &TimeZone) -> Result<Value, String> {
    use ColumnType as T;
    let not = |what: &str| Err(format!("not {what}"));
    Ok(match type_ {
        T::TinyInt => Value::BigInt(text.parse::<i8>().map_err(|error| error.to_string())?.into()),
        T::SmallInt => Value::BigInt(text.parse::<i16>().map_err(|error| error.to_string())?.into()),
        T::Int => Value::BigInt(text.parse::<i32>().map_err(|error| error.to_string())?.into()),
        T::BigInt => match text.parse().map_err(|error: std::num::ParseIntError| error.to_string())? {
            // The official Java client takes it for NULL.
            i64::MIN => return Err("the least BIGINT that MaxCompute has is -9223372036854775807".to_owned()),
            number => Value::BigInt(number),
        },
        T::Float => Value::Float(parse_float(text).ok_or("not a number")?),
        T::Double => Value::Double(parse_float(text).ok_or("not a number")?),
        T::Boolean => match text.to_ascii_lowercase().as_str() {
            "true" | "1" => Value::Boolean(true),
            "false" | "0" => Value::Boolean(false),
            _ => return not("true or false"),
        },
        T::String => Value::text(text),
        T::Char(max) | T::Varchar(max) => {
            let length = text.chars().count();
            if length > usize::try_from(*max).unwrap_or(usize::MAX) {
                return Err(format!("{length} characters are longer than {type_}"));
            }
            Value::text(text)
        }
        T::Json => match serde_json::from_str::<serde::de::IgnoredAny>(text) {
            Ok(_) => Value::text(text),
            Err(error) => return Err(format!("not JSON: {error}")),
        },
        T::Binary => match unhex(text) {
            Some(bytes) => Value::Bytes(bytes),
            None => return not("bytes in hexadecimal"),
        },
        T::Decimal(shape) => Value::Decimal(decimal(text, *shape)?),
        T::Date => match parse_date(text) {
            Some(days) => Value::Date(days),
            None => return not("a day such as 2024-01-31"),
        },
        T::Datetime => {
            let (seconds, nanos) = moment(text, zone)?;
            if nanos % 1_000_000 != 0 {
                return Err("DATETIME has milliseconds, not more".to_owned());
            }
            Value::Datetime(seconds.saturating_mul(1000).saturating_add(i64::from(nanos / 1_000_000)))
        }
        T::Timestamp => {
            let (seconds, nanos) = moment(text, zone)?;
            Value::Timestamp { seconds, nanos }
        }
        T::TimestampNtz => {
            let (seconds, nanos) = moment(text, &TimeZone::UTC)?;
            Value::Timestamp { seconds, nanos }
        }
        T::IntervalYearMonth => match year_month(text) {
            Some(months) => Value::IntervalYearMonth(months),
            None => return not("an interval such as 1-2 (years-months)"),
        },
        T::IntervalDayTime => match day_time(text) {
            Some((seconds, nanos)) => Value::IntervalDayTime { seconds, nanos },
            None => return not("an interval such as 1 02:03:04.5"),
        },
        T::Array(_) | T::Map(..) | T::Struct(_) => return Err(format!("a {type_} cannot stand here")),
    })
}

const NANOS: i128 = 1_000_000_000;

fn float_text(text: String) -> String {
    match text.as_str() {
        "inf" => "Infinity".to_owned(),
        "-inf" => "-Infinity".to_owned(),
        _ => text,
    }
}

/// A number, but not one that turns infinite because it is too large.
fn parse_float<T: std::str::FromStr + Into<f64> + Copy>(text: &str) -> Option<T> {
    let number: T = text.parse().ok()?;
    let has_digit = text.bytes().any(|byte| byte.is_ascii_digit());
    (!has_digit || number.into().is_finite()).then_some(number)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits?;
    let pairs = digits.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    Some(pairs.filter_map(|pair| Some(pair.first()? << 4 | pair.get(1)?)).collect())
}

/// Digits with an optional sign and point; no exponent, and no more digits than fit.
fn decimal(text: &str, shape: Option<DecimalShape>) -> Result<String, String> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !all(whole) || !all(fraction) || (digits.contains('.') && fraction.is_empty()) {
        return Err("not a plain decimal number".to_owned());
    }
    let (whole_max, scale_max) = match shape {
        Some(shape) => (usize::from(shape.precision.saturating_sub(shape.scale)), usize::from(shape.scale)),
        None => (36, 18),
    };
    let (wholes, fractions) = (whole.trim_start_matches('0').len(), fraction.trim_end_matches('0').len());
    if wholes > whole_max || fractions > scale_max {
        return Err(format!("more than {whole_max} digits before the point, or than {scale_max} after it"));
    }
    // Zeros at the end that do not fit say nothing.
    let fraction = fraction.get(..fraction.len().min(scale_max.max(fractions))).unwrap_or(fraction);
    let sign = if text.starts_with('-') { "-" } else { "" };
    let point = if fraction.is_empty() { "" } else { "." };
    Ok(format!("{sign}{whole}{point}{fraction}"))
}

/// Days far from the calendar that we can write out show as a number of days.
fn show_date(days: i64) -> String {
    let day = jiff::Span::new().try_days(days).ok().and_then(|span| EPOCH.checked_add(span).ok());
    day.map_or_else(|| format!("{days}d"), |day| day.to_string())
}

fn parse_date(text: &str) -> Option<i64> {
    if let Some(days) = text.strip_suffix('d') {
        return days.parse().ok();
    }
    let day: Date = text.parse().ok().filter(|_| text.len() == 10)?;
    let span = day.since((jiff::Unit::Day, EPOCH)).ok()?;
    Some(i64::from(span.get_days()))
}

/// Moments that no calendar here reaches show as seconds and nanoseconds.
fn show_moment(seconds: i64, nanos: i32, zone: &TimeZone) -> String {
    let offset = zone.to_offset(nearest(seconds)).seconds();
    let since = SignedDuration::new(seconds.saturating_add(i64::from(offset)), nanos);
    let Ok(local) = EPOCH.to_datetime(Time::midnight()).checked_add(since) else {
        return format!("{seconds}s{nanos:09}");
    };
    let mut out = format!("{} {:02}:{:02}:{:02}", local.date(), local.hour(), local.minute(), local.second());
    if nanos != 0 {
        let fraction = format!("{nanos:09}");
        let shown = if nanos % 1_000_000 == 0 { fraction.get(..3) } else { Some(fraction.trim_end_matches('0')) };
        let _ = write!(out, ".{}", shown.unwrap_or_default());
    }
    out
}

/// The instant, or the last or first one there is: the library's instants end a day before its calendar does.
fn nearest(seconds: i64) -> Timestamp {
    let limit = if seconds < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_second(seconds).unwrap_or(limit)
}

/// Seconds rounded down, and nanoseconds: of a wall-clock time in `zone`, or of an instant with its offset.
fn moment(text: &str, zone: &TimeZone) -> Result<(i64, i32), String> {
    let wrong = || "not a moment such as 2024-01-31 23:59:59.5".to_owned();
    if let Some((seconds, nanos)) = text.split_once('s') {
        let nanos = nanos.parse().ok().filter(|nanos| (0..1_000_000_000).contains(nanos)).ok_or_else(wrong)?;
        return Ok((seconds.parse().map_err(|_| wrong())?, nanos));
    }
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Ok(floored(instant.as_duration()));
    }
    // A zone that was not understood must not be dropped silently.
    if text.get(10..).unwrap_or_default().contains(['Z', 'z', '+', '-', '[']) {
        return Err(wrong());
    }
    let local: DateTime = text.parse().map_err(|_| wrong())?;
    let since = local.duration_since(EPOCH.to_datetime(Time::midnight()));
    match zone.to_ambiguous_zoned(local).compatible() {
        Ok(zoned) => Ok(floored(zoned.timestamp().as_duration())),
        Err(_) => {
            let offset = zone.to_offset(nearest(since.as_secs())).seconds();
            Ok(floored(since.saturating_sub(SignedDuration::from_secs(offset.into()))))
        }
    }
}

fn floored(since: SignedDuration) -> (i64, i32) {
    match (since.as_secs(), since.subsec_nanos()) {
        (seconds, nanos) if nanos < 0 => (seconds.saturating_sub(1), nanos.saturating_add(1_000_000_000)),
        whole => whole,
    }
}

fn year_month(text: &str) -> Option<i64> {
    let (sign, rest) = text.strip_prefix('-').map_or((1_i64, text), |rest| (-1, rest));
    let (years, months) = rest.split_once('-')?;
    let (years, months): (u32, u32) = (years.parse().ok()?, months.parse().ok().filter(|months| *months < 12)?);
    Some(sign.saturating_mul(i64::from(years).saturating_mul(12).saturating_add(i64::from(months))))
}

fn day_time(text: &str) -> Option<(i64, i32)> {
    let (sign, rest) = text.strip_prefix('-').map_or((1_i128, text), |rest| (-1, rest));
    let (days, clock) = rest.split_once(' ')?;
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let mut parts = clock.split(':').map(|part| part.parse::<u32>().ok());
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
    if parts.next().is_some() || fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let days: u32 = days.parse().ok()?;
    let whole = u64::from(days) * 86_400 + u64::from(hours) * 3600 + u64::from(minutes) * 60 + u64::from(seconds);
    let nanos: u32 = format!("{fraction:0<9}").parse().ok()?;
    let total = sign.saturating_mul(i128::from(whole).saturating_mul(NANOS).saturating_add(i128::from(nanos)));
    Some((i64::try_from(total / NANOS).ok()?, i32::try_from(total % NANOS).ok()?))
}

const EPOCH: Date = date(1970, 1, 1);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn type_of(text: &str) -> ColumnType {
        ColumnType::parse(text).unwrap()
    }

    #[test]
    fn what_is_shown_reads_back_as_the_same_value() {
        let stamp = |seconds, nanos| Value::Timestamp { seconds, nanos };
        let days = |seconds, nanos| Value::IntervalDayTime { seconds, nanos };
        let map =
            Value::Map(vec![(Value::text("a\"b"), Value::Null), (Value::text("k"), Value::Decimal("1.50".into()))]);
        for (type_, value, shown) in [
            ("tinyint", Value::BigInt(-128), "-128"),
            ("bigint", Value::BigInt(i64::MAX), "9223372036854775807"),
            ("float", Value::Float(0.1), "0.1"),
            ("double", Value::Double(-0.0), "-0.0"),
            ("double", Value::Double(1e300), "1e300"),
            ("double", Value::Double(f64::NEG_INFINITY), "-Infinity"),
            ("boolean", Value::Boolean(true), "true"),
            ("string", Value::text(""), ""),
            ("binary", Value::Bytes(vec![0, 255]), "00ff"),
            (
                "decimal(38,18)",
                Value::Decimal("-99999999999999999999.999999999999999999".into()),
                "-99999999999999999999.999999999999999999",
            ),
            ("date", Value::Date(-719_162), "0001-01-01"),
            ("date", Value::Date(-1), "1969-12-31"),
            ("datetime", Value::Datetime(-1), "1969-12-31 23:59:59.999"),
            ("datetime", Value::Datetime(253_402_300_799_999), "9999-12-31 23:59:59.999"),
            ("datetime", Value::Datetime(1000), "1970-01-01 00:00:01"),
            ("timestamp", stamp(-1, 1), "1969-12-31 23:59:59.000000001"),
            ("timestamp_ntz", stamp(0, 500_000_000), "1970-01-01 00:00:00.500"),
            ("json", Value::text("{\"a\": [1, null]}"), "{\"a\": [1, null]}"),
            ("interval_year_month", Value::IntervalYearMonth(-14), "-1-2"),
            ("interval_day_time", days(-90_061, -5), "-1 01:01:01.000000005"),
            ("interval_day_time", days(0, -1), "-0 00:00:00.000000001"),
            ("array<timestamp>", Value::Array(vec![stamp(0, 0), Value::Null]), "[\"1970-01-01 00:00:00\",null]"),
            ("map<string,decimal(10,2)>", map, "{\"a\\\"b\":null,\"k\":\"1.50\"}"),
            (
                "struct<a:bigint,b:binary>",
                Value::Struct(vec![Value::BigInt(1), Value::Bytes(vec![16])]),
                "{\"a\":1,\"b\":\"10\"}",
            ),
        ] {
            let type_ = type_of(type_);
            let written = cell(&type_, &value, &TimeZone::UTC).unwrap();
            assert_eq!(String::from_utf8(written.to_vec()).unwrap(), shown, "{type_}");
            let back = from_cell(&type_, &written, &TimeZone::UTC).unwrap();
            assert_eq!(format!("{back:?}"), format!("{value:?}"), "{type_}");
            let json = json(&type_, &value, &TimeZone::UTC, &mut false).to_string();
            let raw: &RawValue = serde_json::from_str(&json).unwrap();
            let back = from_json(&type_, raw, &TimeZone::UTC).unwrap();
            assert_eq!(format!("{back:?}"), format!("{value:?}"), "{type_} {json}");
        }
    }

    #[test]
    fn moments_are_in_the_zone() {
        let zone = TimeZone::get("Asia/Shanghai").unwrap();
        let shown = cell(&ColumnType::Datetime, &Value::Datetime(0), &zone).unwrap().into_owned();
        assert_eq!(shown, b"1970-01-01 08:00:00");
        assert_eq!(from_cell(&ColumnType::Datetime, &shown, &zone), Ok(Value::Datetime(0)));
        assert_eq!(from_cell(&ColumnType::Datetime, b"1970-01-01T00:00:00Z", &zone), Ok(Value::Datetime(0)));
        assert!(from_cell(&ColumnType::Datetime, b"1970-01-01 00:00:00 +0x", &zone).is_err());
        let last = Value::Datetime(253_402_300_799_000 - 8 * 3_600_000);
        let shown = cell(&ColumnType::Datetime, &last, &zone).unwrap().into_owned();
        assert_eq!(shown, b"9999-12-31 23:59:59");
        assert_eq!(from_cell(&ColumnType::Datetime, &shown, &zone), Ok(last));
    }

    #[test]
    fn what_does_not_fit_is_refused_and_never_bent() {
        for (type_, text) in [
            ("tinyint", "128"),
            ("bigint", "-9223372036854775808"),
            ("bigint", "1.0"),
            ("float", "1e39"),
            ("double", "1e400"),
            ("double", ""),
            ("boolean", "yes"),
            ("char(2)", "abc"),
            ("binary", "0"),
            ("binary", "+f"),
            ("decimal(4,2)", "123.4"),
            ("decimal(4,2)", "1.234"),
            ("decimal(4,2)", "1e2"),
            ("decimal(4,2)", "."),
            ("date", "2024-02-30"),
            ("datetime", "1970-01-01 00:00:00.0001"),
            ("datetime", "tomorrow"),
            ("timestamp", "1970-01-01 25:00:00"),
            ("json", "{"),
            ("interval_year_month", "1-12"),
            ("interval_day_time", "1"),
            ("array<bigint>", "[1,\"x\"]"),
            ("array<bigint>", "1"),
            ("struct<a:bigint>", "{\"b\":1}"),
        ] {
            assert!(from_cell(&type_of(type_), text.as_bytes(), &TimeZone::UTC).is_err(), "{type_} {text}");
        }
        assert_eq!(
            from_cell(&type_of("decimal(4,2)"), b"+12.3400", &TimeZone::UTC),
            Ok(Value::Decimal("12.34".to_owned()))
        );
    }

    #[test]
    fn a_text_that_is_not_utf_8_is_told() {
        let mut is_lossy = false;
        let value = Value::Bytes(vec![b'a', 0xff]);
        assert_eq!(json(&ColumnType::String, &value, &TimeZone::UTC, &mut is_lossy), Json::from("a\u{fffd}"));
        assert!(is_lossy);
        assert_eq!(cell(&ColumnType::String, &value, &TimeZone::UTC).unwrap(), &b"a\xff"[..]);
    }
}
