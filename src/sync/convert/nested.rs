//! ARRAY, MAP and STRUCT cells from JSON text.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::scalar::{Reason, Scalar, value as scalar_value};
use super::{ValueRules, json};
use crate::job::Charset;
use crate::sync::json::Leaf;
use crate::sync::stats::Delta;
use crate::tunnel::{ColumnType, Value};

/// Reads `text` as the JSON of a value of type `target`. The depth is that of the type, so recursion is bounded.
pub(super) fn value(
    rules: &ValueRules,
    target: &ColumnType,
    text: &str,
    encoding: Charset,
    delta: &mut Delta,
) -> Result<Value, Reason> {
    let wrong = |_| format!("not the JSON of {target}");
    match target {
        ColumnType::Array(element) => {
            let items: Vec<&RawValue> = serde_json::from_str(text).map_err(wrong)?;
            let items = items.iter().map(|raw| item(rules, element, raw.get(), encoding, delta));
            items.collect::<Result<_, _>>().map(Value::Array)
        }
        ColumnType::Map(key, value) => {
            let members = members(text).map_err(wrong)?;
            let mut entries: Vec<(Value, Value)> = Vec::with_capacity(members.len());
            for (name, raw) in members {
                let name = scalar_value(rules, key, Scalar::Text(name), encoding, delta)?;
                let item = item(rules, value, raw.get(), encoding, delta)?;
                match entries.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, known)) => *known = item,
                    None => entries.push((name, item)),
                }
            }
            Ok(Value::Map(entries))
        }
        ColumnType::Struct(fields) => {
            let members = members(text).map_err(wrong)?;
            let mut values = Vec::with_capacity(fields.len());
            for field in fields {
                let member = members.iter().rev().find(|(name, _)| name.eq_ignore_ascii_case(&field.name));
                values.push(match member {
                    Some((_, raw)) => item(rules, &field.type_, raw.get(), encoding, delta)?,
                    None => Value::Null,
                });
            }
            Ok(Value::Struct(values))
        }
        other => item(rules, other, text, encoding, delta),
    }
}

fn item(
    rules: &ValueRules,
    target: &ColumnType,
    raw: &str,
    encoding: Charset,
    delta: &mut Delta,
) -> Result<Value, Reason> {
    match json::leaf(raw) {
        Leaf::Null => Ok(Value::Null),
        Leaf::Text { .. } if target.is_nested() => value(rules, target, raw, encoding, delta),
        // A JSON element keeps its quotes: it is a document of its own.
        Leaf::Text { .. } if *target == ColumnType::Json => {
            scalar_value(rules, target, Scalar::Text(Cow::Borrowed(raw)), encoding, delta)
        }
        Leaf::Text { text, .. } => scalar_value(rules, target, Scalar::Text(text), encoding, delta),
    }
}

/// The members of a JSON object in document order, names unescaped.
fn members(text: &str) -> serde_json::Result<Vec<(Cow<'_, str>, &RawValue)>> {
    struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);
    struct Visitor;
    impl<'de> serde::de::Visitor<'de> for Visitor {
        type Value = Members<'de>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a JSON object")
        }
        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
            let mut members = Vec::new();
            while let Some((name, raw)) = map.next_entry::<String, &'de RawValue>()? {
                members.push((Cow::Owned(name), raw));
            }
            Ok(Members(members))
        }
    }
    impl<'de> serde::Deserialize<'de> for Members<'de> {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_map(Visitor)
        }
    }
    serde_json::from_str::<Members<'_>>(text).map(|members| members.0)
}
