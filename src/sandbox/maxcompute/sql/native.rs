//! Scalar expressions over one row that the sandbox evaluates itself, where MaxCompute and the engine differ: casts give
//! NULL for what they cannot read, and `get_json_object` does not exist in the engine.
//!
//! The lowering turns such an expression into an extra column of the scan, so the engine only sees a finished value.

use jiff::tz::TimeZone;

use super::text::show;
use crate::tunnel::{ColumnType, Value};

/// An expression over the columns of one table.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Native {
    /// A column by its place: data columns, then partition keys.
    Column(usize, ColumnType),
    Cast(Box<Self>, ColumnType),
    /// `get_json_object(text, path)`.
    JsonObject(Box<Self>, Vec<JsonStep>),
}

/// One step of a JSON path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum JsonStep {
    Member(String),
    Index(usize),
}

impl Native {
    /// The type of the result.
    pub(super) fn type_(&self) -> ColumnType {
        match self {
            Self::Column(_, type_) | Self::Cast(_, type_) => type_.clone(),
            Self::JsonObject(..) => ColumnType::String,
        }
    }

    /// Whether there is nothing to evaluate.
    pub(super) const fn is_plain(&self) -> bool {
        matches!(self, Self::Column(..))
    }

    /// Calls `mark` with every column that takes part.
    pub(super) fn columns(&self, mark: &mut dyn FnMut(usize)) {
        match self {
            Self::Column(index, _) => mark(*index),
            Self::Cast(inner, _) | Self::JsonObject(inner, _) => inner.columns(mark),
        }
    }

    /// The value for a row.
    pub(super) fn evaluate(&self, row: &[Value], zone: &TimeZone) -> Value {
        match self {
            Self::Column(index, _) => row.get(*index).cloned().unwrap_or(Value::Null),
            Self::Cast(inner, type_) => {
                // A column is looked at in place: casting a large text must not copy it first.
                let held;
                let value = match &**inner {
                    Self::Column(index, _) => row.get(*index).unwrap_or(&Value::Null),
                    other => {
                        held = other.evaluate(row, zone);
                        &held
                    }
                };
                cast(&inner.type_(), value, type_, zone).unwrap_or(Value::Null)
            }
            Self::JsonObject(inner, path) => {
                let held;
                let value = match &**inner {
                    Self::Column(index, _) => row.get(*index).unwrap_or(&Value::Null),
                    other => {
                        held = other.evaluate(row, zone);
                        &held
                    }
                };
                match value {
                    Value::Bytes(bytes) => json_object(bytes, path),
                    _ => Value::Null,
                }
            }
        }
    }
}

/// Reads `$.a.b[0]` or `$['a'].b`; `None` for a path of another form.
pub(super) fn parse_path(text: &str) -> Option<Vec<JsonStep>> {
    let mut rest = text.trim().strip_prefix('$')?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            let (name, tail) = after.split_at(end);
            if name.is_empty() {
                return None;
            }
            steps.push(JsonStep::Member(name.to_owned()));
            rest = tail;
        } else {
            let (inside, tail) = rest.strip_prefix('[')?.split_once(']')?;
            let inside = inside.trim();
            let quoted = ['\'', '"'].into_iter().find_map(|quote| inside.strip_prefix(quote)?.strip_suffix(quote));
            steps.push(match quoted {
                Some(name) => JsonStep::Member(name.to_owned()),
                None => JsonStep::Index(inside.parse().ok()?),
            });
            rest = tail;
        }
    }
    Some(steps)
}

/// The part of a JSON text at a path: texts without quotes, everything else as compact JSON; NULL when it is not there.
fn json_object(bytes: &[u8], path: &[JsonStep]) -> Value {
    let Ok(mut now) = serde_json::from_slice::<&serde_json::value::RawValue>(bytes) else { return Value::Null };
    for step in path {
        let next = match step {
            JsonStep::Member(name) => {
                let members = serde_json::from_str::<Members<'_>>(now.get());
                members.ok().and_then(|mut members| members.0.remove(name.as_str()))
            }
            JsonStep::Index(index) => serde_json::from_str::<Vec<&serde_json::value::RawValue>>(now.get())
                .ok()
                .and_then(|elements| elements.get(*index).copied()),
        };
        match next {
            Some(next) => now = next,
            None => return Value::Null,
        }
    }
    match serde_json::from_str::<serde_json::Value>(now.get()) {
        Ok(serde_json::Value::Null) | Err(_) => Value::Null,
        Ok(serde_json::Value::String(text)) => Value::text(text),
        // Numbers keep the digits they were written with.
        Ok(serde_json::Value::Number(_)) => Value::text(now.get()),
        Ok(other) => Value::text(other.to_string()),
    }
}

/// The members of a JSON object, their values not parsed yet.
#[derive(serde::Deserialize)]
struct Members<'a>(
    #[serde(borrow)] std::collections::HashMap<std::borrow::Cow<'a, str>, &'a serde_json::value::RawValue>,
);

/// A value as another type, by MaxCompute's rules; `None` where those give NULL or refuse.
pub(super) fn cast(from: &ColumnType, value: &Value, to: &ColumnType, zone: &TimeZone) -> Option<Value> {
    if from == to || value.is_null() {
        return Some(value.clone());
    }
    match to {
        ColumnType::String | ColumnType::Json => Some(Value::text(show(from, value, zone))),
        ColumnType::Varchar(length) | ColumnType::Char(length) => {
            let text = show(from, value, zone);
            Some(Value::text(text.chars().take(*length as usize).collect::<String>()))
        }
        ColumnType::Binary => match value {
            Value::Bytes(bytes) => Some(Value::Bytes(bytes.clone())),
            other => Some(Value::text(show(from, other, zone))),
        },
        ColumnType::TinyInt => integer(value, i8::MIN.into(), i8::MAX.into()),
        ColumnType::SmallInt => integer(value, i16::MIN.into(), i16::MAX.into()),
        ColumnType::Int => integer(value, i32::MIN.into(), i32::MAX.into()),
        ColumnType::BigInt => integer(value, i64::MIN, i64::MAX),
        ColumnType::Double => double(value).map(Value::Double),
        #[allow(clippy::cast_possible_truncation, reason = "that is what the cast means")]
        ColumnType::Float => double(value).map(|number| Value::Float(number as f32)),
        ColumnType::Boolean => match value {
            Value::Boolean(flag) => Some(Value::Boolean(*flag)),
            Value::BigInt(number) => Some(Value::Boolean(*number != 0)),
            Value::Double(number) => Some(Value::Boolean(*number != 0.0)),
            Value::Bytes(bytes) => match text_of(bytes)?.to_ascii_lowercase().as_str() {
                "true" | "1" => Some(Value::Boolean(true)),
                "false" | "0" => Some(Value::Boolean(false)),
                _ => None,
            },
            _ => None,
        },
        ColumnType::Decimal(shape) => {
            let text = match value {
                Value::Decimal(text) => text.clone(),
                Value::BigInt(number) => number.to_string(),
                Value::Double(number) if number.is_finite() => format!("{number}"),
                Value::Float(number) if number.is_finite() => format!("{number}"),
                Value::Bytes(bytes) => text_of(bytes)?.to_owned(),
                _ => return None,
            };
            decimal(&text, shape.as_ref().map_or(18, |shape| usize::from(shape.scale)))
        }
        ColumnType::Date => match value {
            Value::Datetime(_) | Value::Timestamp { .. } => {
                let (seconds, nanos) = moment(value)?;
                let day = jiff::Timestamp::new(seconds, nanos).ok()?.to_zoned(zone.clone()).date();
                days_of(day)
            }
            Value::Bytes(bytes) => {
                let text = text_of(bytes)?;
                days_of(text.get(..10).unwrap_or(text).parse().ok()?)
            }
            _ => None,
        },
        ColumnType::Datetime => {
            let (seconds, nanos) = instant_of(value, zone)?;
            Some(Value::Datetime(seconds.checked_mul(1000)?.checked_add(i64::from(nanos / 1_000_000))?))
        }
        ColumnType::Timestamp => instant_of(value, zone).map(|(seconds, nanos)| Value::Timestamp { seconds, nanos }),
        ColumnType::TimestampNtz => {
            instant_of(value, &TimeZone::UTC).map(|(seconds, nanos)| Value::Timestamp { seconds, nanos })
        }
        _ => None,
    }
}

fn text_of(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().map(str::trim)
}

fn integer(value: &Value, lowest: i64, highest: i64) -> Option<Value> {
    let number = match value {
        Value::BigInt(number) => *number,
        Value::Boolean(flag) => i64::from(*flag),
        Value::Double(number) => whole(*number)?,
        Value::Float(number) => whole(f64::from(*number))?,
        Value::Decimal(text) => text.split('.').next()?.parse().ok()?,
        Value::Bytes(bytes) => {
            let text = text_of(bytes)?;
            match text.parse() {
                Ok(number) => number,
                // `12.7` is cut, as the service does.
                Err(_) => whole(text.parse::<f64>().ok()?)?,
            }
        }
        Value::Datetime(_) | Value::Timestamp { .. } => moment(value)?.0,
        _ => return None,
    };
    (lowest..=highest).contains(&number).then_some(Value::BigInt(number))
}

/// The whole part of a number that a 64-bit integer holds.
#[allow(clippy::cast_possible_truncation, reason = "the range is checked first")]
fn whole(number: f64) -> Option<i64> {
    (number.is_finite() && (-9.223_372_036_854_776e18..9.223_372_036_854_776e18).contains(&number))
        .then_some(number as i64)
}

#[allow(clippy::cast_precision_loss, reason = "DOUBLE is what was asked for")]
fn double(value: &Value) -> Option<f64> {
    match value {
        Value::BigInt(number) => Some(*number as f64),
        Value::Boolean(flag) => Some(f64::from(u8::from(*flag))),
        Value::Double(number) => Some(*number),
        Value::Float(number) => Some(f64::from(*number)),
        Value::Decimal(text) => text.parse().ok(),
        Value::Bytes(bytes) => text_of(bytes)?.parse().ok(),
        _ => None,
    }
}

/// Decimal text with at most `scale` digits behind the point, the rest rounded half up.
fn decimal(text: &str, scale: usize) -> Option<Value> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let whole = if whole.is_empty() { "0" } else { whole };
    if fraction.len() <= scale {
        let point = if fraction.is_empty() { "" } else { "." };
        return Some(Value::Decimal(format!("{sign}{whole}{point}{fraction}")));
    }
    let (kept, dropped) = fraction.split_at(scale);
    let mut digits: Vec<u8> = whole.bytes().chain(kept.bytes()).collect();
    if dropped.starts_with(['5', '6', '7', '8', '9']) {
        let mut carry = true;
        for digit in digits.iter_mut().rev() {
            if !carry {
                break;
            }
            carry = *digit == b'9';
            *digit = if carry { b'0' } else { *digit + 1 };
        }
        if carry {
            digits.insert(0, b'1');
        }
    }
    let point = digits.len() - scale;
    let mut out = String::from(sign);
    for (index, digit) in digits.iter().enumerate() {
        if index == point {
            out.push('.');
        }
        out.push(char::from(*digit));
    }
    Some(Value::Decimal(out))
}

fn moment(value: &Value) -> Option<(i64, i32)> {
    match value {
        Value::Datetime(millis) => {
            Some((millis.div_euclid(1000), i32::try_from(millis.rem_euclid(1000)).ok()? * 1_000_000))
        }
        Value::Timestamp { seconds, nanos } => Some((*seconds, *nanos)),
        _ => None,
    }
}

/// A moment from another moment, a day, or a text such as `2024-01-02 03:04:05.678` in `zone`.
pub(super) fn instant_of(value: &Value, zone: &TimeZone) -> Option<(i64, i32)> {
    let civil = match value {
        Value::Bytes(bytes) => {
            let text = text_of(bytes)?;
            match text.parse::<jiff::civil::DateTime>() {
                Ok(civil) => civil,
                Err(_) => text.parse::<jiff::civil::Date>().ok()?.to_datetime(jiff::civil::Time::midnight()),
            }
        }
        Value::Date(days) => {
            let span = jiff::Span::new().try_days(*days).ok()?;
            jiff::civil::date(1970, 1, 1).checked_add(span).ok()?.to_datetime(jiff::civil::Time::midnight())
        }
        other => return moment(other),
    };
    let at = civil.to_zoned(zone.clone()).ok()?.timestamp();
    let nanos = at.as_nanosecond();
    let seconds = i64::try_from(nanos.div_euclid(1_000_000_000)).ok()?;
    Some((seconds, i32::try_from(nanos.rem_euclid(1_000_000_000)).ok()?))
}

fn days_of(day: jiff::civil::Date) -> Option<Value> {
    let span = jiff::civil::date(1970, 1, 1).until(day).ok()?;
    Some(Value::Date(span.get_days().into()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn casted(from: &str, value: &Value, to: &str) -> Option<Value> {
        cast(&ColumnType::parse(from).unwrap(), value, &ColumnType::parse(to).unwrap(), &TimeZone::UTC)
    }

    #[test]
    fn texts_become_numbers_or_null() {
        assert_eq!(casted("string", &Value::text(" 42 "), "bigint"), Some(Value::BigInt(42)));
        assert_eq!(casted("string", &Value::text("12.7"), "bigint"), Some(Value::BigInt(12)));
        for text in ["abc", "", "99999999999999999999", "NaN"] {
            assert_eq!(casted("string", &Value::text(text), "bigint"), None, "{text}");
        }
        assert_eq!(casted("string", &Value::text("9223372036854775807"), "bigint"), Some(Value::BigInt(i64::MAX)));
        assert_eq!(casted("bigint", &Value::BigInt(300), "tinyint"), None);
        assert_eq!(casted("string", &Value::text("1.5"), "double"), Some(Value::Double(1.5)));
        assert_eq!(casted("string", &Value::text("-9.995"), "decimal(5,2)"), Some(Value::Decimal("-10.00".into())));
        assert_eq!(casted("double", &Value::Double(0.1), "decimal(5,2)"), Some(Value::Decimal("0.1".into())));
    }

    #[test]
    fn moments() {
        let text = Value::text("2024-01-02 03:04:05.678");
        assert_eq!(casted("string", &text, "datetime"), Some(Value::Datetime(1_704_164_645_678)));
        assert_eq!(casted("string", &Value::text("1969-12-31"), "date"), Some(Value::Date(-1)));
        assert_eq!(casted("datetime", &Value::Datetime(-1), "date"), Some(Value::Date(-1)));
        assert_eq!(
            casted("string", &Value::text("1969-12-31 23:59:59.5"), "timestamp"),
            Some(Value::Timestamp { seconds: -1, nanos: 500_000_000 })
        );
        assert_eq!(casted("datetime", &Value::Datetime(0), "string"), Some(Value::text("1970-01-01 00:00:00")));
        assert_eq!(casted("string", &Value::text("yesterday"), "datetime"), None);
    }

    #[test]
    fn json_paths() {
        let text = br#"{"a":{"b":[1,{"c":"x\n"}]},"n":1.50,"t":true,"e\"s":"q","z":null}"#;
        let get = |path: &str| json_object(text, &parse_path(path).unwrap());
        assert_eq!(get("$.a.b[1].c"), Value::text("x\n"));
        assert_eq!(get("$.n"), Value::text("1.50"));
        assert_eq!(get("$.t"), Value::text("true"));
        assert_eq!(get("$['a']['b'][0]"), Value::text("1"));
        assert_eq!(get("$.a.b"), Value::text(r#"[1,{"c":"x\n"}]"#));
        for missing in ["$.z", "$.q", "$.a.b[7]", "$.n.x"] {
            assert_eq!(get(missing), Value::Null, "{missing}");
        }
        assert_eq!(json_object(b"not json", &[]), Value::Null);
        assert_eq!(parse_path("a.b"), None);
    }
}
