//! Values as text: in CSV results, and where a value is cast to STRING.

use std::fmt::Write as _;

use jiff::tz::TimeZone;

use crate::tunnel::{ColumnType, Value};

/// A cell of the result CSV: `\N` for NULL, everything else in quotes.
pub(super) fn csv_cell(type_: &ColumnType, value: &Value, zone: &TimeZone) -> String {
    match value {
        Value::Null => "\\N".to_owned(),
        value => quote(&show(type_, value, zone)),
    }
}

/// Text in double quotes, quotes inside doubled.
pub(super) fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// A value as the service shows it; NULL is `NULL`.
pub(super) fn show(type_: &ColumnType, value: &Value, zone: &TimeZone) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Bytes(bytes) => show_bytes(bytes),
        Value::Array(_) | Value::Map(_) | Value::Struct(_) => json(type_, value, zone).to_string(),
        Value::BigInt(number) => number.to_string(),
        Value::Boolean(flag) => flag.to_string(),
        Value::Float(number) => show_double(format!("{number:?}")),
        Value::Double(number) => show_double(format!("{number:?}")),
        Value::Decimal(text) => text.clone(),
        Value::Date(days) => show_date(*days),
        Value::Datetime(millis) => {
            let nanos = i32::try_from(millis.rem_euclid(1000)).unwrap_or(0) * 1_000_000;
            show_instant(millis.div_euclid(1000), nanos, zone, false)
        }
        Value::Timestamp { seconds, nanos } => {
            let zone = if *type_ == ColumnType::TimestampNtz { &TimeZone::UTC } else { zone };
            show_instant(*seconds, *nanos, zone, true)
        }
        Value::IntervalYearMonth(months) => {
            let sign = if *months < 0 { "-" } else { "" };
            format!("{sign}{}-{}", months.unsigned_abs() / 12, months.unsigned_abs() % 12)
        }
        Value::IntervalDayTime { seconds, nanos } => {
            let negative = *seconds < 0 || *nanos < 0;
            let total = i128::from(*seconds) * 1_000_000_000 + i128::from(*nanos);
            let total = total.unsigned_abs();
            let (whole, fraction) = (total / 1_000_000_000, total % 1_000_000_000);
            let (days, rest) = (whole / 86_400, whole % 86_400);
            let sign = if negative { "-" } else { "" };
            format!("{sign}{days} {:02}:{:02}:{:02}.{fraction:09}", rest / 3600, rest / 60 % 60, rest % 60)
        }
    }
}

/// Text when the bytes are text, hexadecimal when they are not.
fn show_bytes(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
            // Writing to a String cannot fail.
            let _ = write!(out, "{byte:02X}");
            out
        }),
    }
}

fn show_double(text: String) -> String {
    match text.as_str() {
        "inf" => "Infinity".to_owned(),
        "-inf" => "-Infinity".to_owned(),
        _ => text,
    }
}

fn show_date(days: i64) -> String {
    let day = i32::try_from(days).ok().and_then(|days| {
        let epoch = jiff::civil::date(1970, 1, 1);
        epoch.checked_add(jiff::Span::new().try_days(days).ok()?).ok()
    });
    day.map_or_else(|| format!("{days}d"), |day| day.to_string())
}

fn show_instant(seconds: i64, nanos: i32, zone: &TimeZone, whole_fraction: bool) -> String {
    let Ok(instant) = jiff::Timestamp::new(seconds, nanos) else { return format!("{seconds}s") };
    let local = instant.to_zoned(zone.clone());
    let base = local.strftime("%Y-%m-%d %H:%M:%S").to_string();
    match nanos {
        0 => base,
        nanos if whole_fraction && nanos % 1_000_000 != 0 => {
            let fraction = format!("{nanos:09}");
            format!("{base}.{}", fraction.trim_end_matches('0'))
        }
        nanos => format!("{base}.{:03}", nanos / 1_000_000),
    }
}

fn json(type_: &ColumnType, value: &Value, zone: &TimeZone) -> serde_json::Value {
    use serde_json::Value as Json;
    match (type_, value) {
        (_, Value::Null) => Json::Null,
        (ColumnType::Array(element), Value::Array(values)) => {
            Json::Array(values.iter().map(|value| json(element, value, zone)).collect())
        }
        (ColumnType::Map(key, inner), Value::Map(pairs)) => {
            let pairs = pairs.iter().map(|(name, value)| (show(key, name, zone), json(inner, value, zone)));
            Json::Object(pairs.collect())
        }
        (ColumnType::Struct(fields), Value::Struct(values)) => {
            let pairs = fields.iter().zip(values);
            Json::Object(pairs.map(|(field, value)| (field.name.clone(), json(&field.type_, value, zone))).collect())
        }
        (_, Value::BigInt(number)) => Json::from(*number),
        (_, Value::Boolean(flag)) => Json::from(*flag),
        (_, Value::Double(number)) => Json::from(*number),
        (_, Value::Float(number)) => Json::from(*number),
        (type_, value) => Json::String(show(type_, value, zone)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn shown(type_: &str, value: &Value) -> String {
        show(&ColumnType::parse(type_).unwrap(), value, &TimeZone::UTC)
    }

    #[test]
    fn values_of_every_kind() {
        assert_eq!(shown("datetime", &Value::Datetime(1_704_164_645_678)), "2024-01-02 03:04:05.678");
        assert_eq!(shown("datetime", &Value::Datetime(-1)), "1969-12-31 23:59:59.999");
        assert_eq!(
            shown("timestamp", &Value::Timestamp { seconds: -1, nanos: 500_000_001 }),
            "1969-12-31 23:59:59.500000001"
        );
        assert_eq!(shown("date", &Value::Date(-1)), "1969-12-31");
        assert_eq!(shown("double", &Value::Double(1.0)), "1.0");
        assert_eq!(shown("double", &Value::Double(f64::NEG_INFINITY)), "-Infinity");
        assert_eq!(
            shown("interval_day_time", &Value::IntervalDayTime { seconds: -90_000, nanos: 0 }),
            "-1 01:00:00.000000000"
        );
        let list = Value::Array(vec![Value::text("a\"b"), Value::Null]);
        assert_eq!(shown("array<string>", &list), r#"["a\"b",null]"#);
        let pair = Value::Struct(vec![Value::BigInt(1), Value::text("x")]);
        assert_eq!(shown("struct<a:bigint,b:string>", &pair), r#"{"a":1,"b":"x"}"#);
    }

    #[test]
    fn csv_tells_null_from_empty() {
        let type_ = ColumnType::String;
        assert_eq!(csv_cell(&type_, &Value::Null, &TimeZone::UTC), "\\N");
        assert_eq!(csv_cell(&type_, &Value::text(""), &TimeZone::UTC), "\"\"");
        assert_eq!(csv_cell(&type_, &Value::text("a,\"b\"\n"), &TimeZone::UTC), "\"a,\"\"b\"\"\n\"");
    }
}
