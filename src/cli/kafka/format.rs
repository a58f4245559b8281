//! How the console consumer prints a record (`DefaultMessageFormatter`, and `DefaultMessageFormatter` of `ConsoleConsumer.scala`).

use serde_json::{Map, Value, json};

use super::compat::Release;
use crate::kafka::record::{Record, TimestampType};

/// What is printed of a record, and how.
#[derive(Clone, Debug)]
pub(super) struct Format {
    timestamp: bool,
    partition: bool,
    offset: bool,
    delivery: bool,
    epoch: bool,
    headers: bool,
    key: bool,
    value: bool,
    key_separator: Vec<u8>,
    line_separator: Vec<u8>,
    headers_separator: Vec<u8>,
    null: Vec<u8>,
    key_type: Type,
    value_type: Type,
    headers_type: Type,
    /// Before 2.7 a separator follows each field but the value, whatever comes after it.
    old: bool,
}

/// What bytes are taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Text,
    Short,
    Integer,
    Long,
    Float,
    Double,
    Uuid,
}

impl Type {
    fn of(class: &str) -> Result<Self, String> {
        let name = class.rsplit('.').next().unwrap_or_default();
        Ok(match name.strip_suffix("Deserializer").unwrap_or(name) {
            "String" | "ByteArray" | "Bytes" | "ByteBuffer" => Self::Text,
            "Short" => Self::Short,
            "Integer" => Self::Integer,
            "Long" => Self::Long,
            "Float" => Self::Float,
            "Double" => Self::Double,
            "UUID" => Self::Uuid,
            _ => {
                return Err(format!(
                    "{class}: forebay knows String, ByteArray, Short, Integer, Long, Float, Double and UUID"
                ));
            }
        })
    }

    /// As Java prints the value; `None` for bytes of another length than the type has.
    fn show(self, bytes: &[u8]) -> Option<Vec<u8>> {
        Some(match self {
            Self::Text => bytes.to_vec(),
            Self::Short => i16::from_be_bytes(bytes.try_into().ok()?).to_string().into_bytes(),
            Self::Integer => i32::from_be_bytes(bytes.try_into().ok()?).to_string().into_bytes(),
            Self::Long => i64::from_be_bytes(bytes.try_into().ok()?).to_string().into_bytes(),
            Self::Float => format!("{:?}", f32::from_be_bytes(bytes.try_into().ok()?)).into_bytes(),
            Self::Double => format!("{:?}", f64::from_be_bytes(bytes.try_into().ok()?)).into_bytes(),
            Self::Uuid => bytes.to_vec(),
        })
    }
}

impl Format {
    pub(super) fn new(release: Release) -> Self {
        Self {
            timestamp: false,
            partition: false,
            offset: false,
            delivery: false,
            epoch: false,
            headers: false,
            key: false,
            value: true,
            key_separator: b"\t".to_vec(),
            line_separator: b"\n".to_vec(),
            headers_separator: b",".to_vec(),
            null: b"null".to_vec(),
            key_type: Type::Text,
            value_type: Type::Text,
            headers_type: Type::Text,
            old: release < Release::V2_7,
        }
    }

    /// Sets a property of the formatter; one that is not known has no effect, as in the original.
    pub(super) fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let flag = value.trim().eq_ignore_ascii_case("true");
        match name {
            "print.timestamp" => self.timestamp = flag,
            "print.partition" => self.partition = flag,
            "print.offset" => self.offset = flag,
            "print.delivery" => self.delivery = flag,
            "print.epoch" => self.epoch = flag,
            "print.headers" => self.headers = flag,
            "print.key" => self.key = flag,
            "print.value" => self.value = flag,
            "key.separator" => self.key_separator = value.as_bytes().to_vec(),
            "line.separator" => self.line_separator = value.as_bytes().to_vec(),
            "headers.separator" => self.headers_separator = value.as_bytes().to_vec(),
            "null.literal" => self.null = value.as_bytes().to_vec(),
            "key.deserializer" => self.key_type = Type::of(value)?,
            "value.deserializer" => self.value_type = Type::of(value)?,
            "headers.deserializer" => self.headers_type = Type::of(value)?,
            _ => log::warn!("--property {name}: not known, and has no effect"),
        }
        Ok(())
    }

    /// Appends a record.
    ///
    /// # Errors
    /// A key or value that is not what its deserializer expects.
    pub(super) fn write(&self, out: &mut Vec<u8>, partition: i32, record: &Record<'_>) -> Result<(), String> {
        let mut fields: Vec<Vec<u8>> = Vec::new();
        if self.timestamp {
            fields.push(timestamp(record).into_bytes());
        }
        if self.partition {
            fields.push(format!("Partition:{partition}").into_bytes());
        }
        if self.offset {
            fields.push(format!("Offset:{}", record.offset).into_bytes());
        }
        if self.delivery {
            fields.push(b"Delivery:NOT_PRESENT".to_vec());
        }
        if self.epoch {
            fields.push(b"Epoch:NOT_PRESENT".to_vec());
        }
        if self.headers {
            fields.push(self.headers(record)?);
        }
        if self.key {
            fields.push(self.show(self.key_type, record.key, "key", record.offset)?);
        }
        for (at, field) in fields.iter().enumerate() {
            out.extend_from_slice(field);
            let is_last = at.saturating_add(1) == fields.len() && !self.value;
            out.extend_from_slice(if is_last && !self.old { &self.line_separator } else { &self.key_separator });
        }
        if self.value {
            out.extend_from_slice(&self.show(self.value_type, record.value, "value", record.offset)?);
            out.extend_from_slice(&self.line_separator);
        }
        Ok(())
    }

    fn headers(&self, record: &Record<'_>) -> Result<Vec<u8>, String> {
        let mut text = Vec::new();
        for (at, header) in record.headers.iter().enumerate() {
            let header = header.map_err(|error| error.to_string())?;
            if at > 0 {
                text.extend_from_slice(&self.headers_separator);
            }
            text.extend_from_slice(header.key);
            text.push(b':');
            text.extend_from_slice(&self.show(self.headers_type, header.value, "header", record.offset)?);
        }
        Ok(if text.is_empty() { b"NO_HEADERS".to_vec() } else { text })
    }

    fn show(&self, kind: Type, bytes: Option<&[u8]>, what: &str, offset: i64) -> Result<Vec<u8>, String> {
        let Some(bytes) = bytes else { return Ok(self.null.clone()) };
        kind.show(bytes)
            .ok_or_else(|| format!("the {what} at offset {offset} has {} bytes, which no {kind:?} has", bytes.len()))
    }
}

fn timestamp(record: &Record<'_>) -> String {
    match record.timestamp_type {
        TimestampType::NoTimestamp => "NO_TIMESTAMP".to_owned(),
        kind => format!("{kind}:{}", record.timestamp),
    }
}

/// A record as `-o json` prints it: `deploy/kafka-json.md`. Bytes that are no text come as an object with `base64`.
pub(super) fn as_json(topic: &str, partition: i32, record: &Record<'_>) -> Result<Value, String> {
    let mut headers = Vec::new();
    for header in record.headers.iter() {
        let header = header.map_err(|error| error.to_string())?;
        headers.push(json!({"key": String::from_utf8_lossy(header.key), "value": bytes(header.value)}));
    }
    let kind = match record.timestamp_type {
        TimestampType::LogAppendTime => "logAppend",
        _ => "create",
    };
    let mut object = Map::new();
    object.insert("topic".to_owned(), json!(topic));
    object.insert("partition".to_owned(), json!(partition));
    object.insert("offset".to_owned(), json!(record.offset));
    object.insert("timestamp".to_owned(), json!((record.timestamp >= 0).then_some(record.timestamp)));
    object.insert("timestampType".to_owned(), json!(kind));
    object.insert("headers".to_owned(), json!(headers));
    object.insert("key".to_owned(), bytes(record.key));
    object.insert("value".to_owned(), bytes(record.value));
    Ok(Value::Object(object))
}

fn bytes(bytes: Option<&[u8]>) -> Value {
    use base64::Engine as _;
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => Value::Null,
        Some((_, Ok(text))) => json!(text),
        Some((bytes, Err(_))) => json!({"base64": base64::engine::general_purpose::STANDARD.encode(bytes)}),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn shown(release: Release, properties: &[(&str, &str)]) -> String {
        let mut format = Format::new(release);
        for (name, value) in properties {
            format.set(name, value).unwrap();
        }
        let record = Record {
            offset: 7,
            timestamp: 1_500_000_000_000,
            timestamp_type: TimestampType::CreateTime,
            key: None,
            value: Some(&[0, 0, 0, 0, 0, 0, 0, 42]),
            headers: crate::kafka::record::Headers::default(),
        };
        let mut out = Vec::new();
        format.write(&mut out, 3, &record).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn fields_come_in_java_s_order() {
        let long = ("value.deserializer", "org.apache.kafka.common.serialization.LongDeserializer");
        let all = [
            ("print.key", "true"),
            ("print.headers", "TRUE"),
            ("print.offset", "true"),
            ("print.partition", "true"),
            ("print.timestamp", "true"),
            ("key.separator", "|"),
            long,
        ];
        assert_eq!(shown(Release::NEWEST, &all), "CreateTime:1500000000000|Partition:3|Offset:7|NO_HEADERS|null|42\n");
        let key = [("print.key", "true"), ("print.value", "false"), ("null.literal", "-")];
        assert_eq!((shown(Release::NEWEST, &key), shown(Release::V1_0, &key)), ("-\n".to_owned(), "-\t".to_owned()));
    }
}
