//! How kcat prints a record: format strings, packed fields, and the JSON envelope (`format.c`, `json.c`).

use crate::kafka::record::{Record, TimestampType};

/// One piece of a format string.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Vec<u8>),
    Offset,
    Key,
    KeyLength,
    Value,
    ValueLength,
    ValueLengthBinary,
    Topic,
    Partition,
    Timestamp,
    Headers,
}

/// How records are printed.
#[derive(Clone, Debug)]
pub(super) struct Format {
    pieces: Vec<Piece>,
    json: bool,
    nulls: bool,
    key_pack: Option<Vec<u8>>,
    value_pack: Option<Vec<u8>>,
}

/// A record and where it comes from.
pub(super) struct Message<'a> {
    pub(super) topic: &'a str,
    pub(super) partition: i32,
    pub(super) broker: i32,
    pub(super) record: &'a Record<'a>,
}

const NULL: &[u8] = b"NULL";

impl Format {
    /// # Errors
    /// What kcat says of a format string that it does not understand.
    pub(super) fn parse(
        format: &[u8],
        json: bool,
        nulls: bool,
        packs: (Option<Vec<u8>>, Option<Vec<u8>>),
    ) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = format;
        while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
            let (text, token) = rest.split_at(at);
            if !text.is_empty() {
                pieces.push(Piece::Text(unescaped(text)));
            }
            let Some(letter) = token.get(1) else { return Err("Empty formatter".to_owned()) };
            pieces.push(match letter {
                b'o' => Piece::Offset,
                b'k' => Piece::Key,
                b'K' => Piece::KeyLength,
                b's' => Piece::Value,
                b'S' => Piece::ValueLength,
                b'R' => Piece::ValueLengthBinary,
                b't' => Piece::Topic,
                b'p' => Piece::Partition,
                b'T' => Piece::Timestamp,
                b'h' => Piece::Headers,
                b'%' => Piece::Text(b"%".to_vec()),
                other => return Err(format!("Unsupported formatter: %{}", char::from(*other))),
            });
            rest = token.get(2..).unwrap_or_default();
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(unescaped(rest)));
        }
        let (key_pack, value_pack) = packs;
        Ok(Self { pieces, json, nulls, key_pack, value_pack })
    }

    /// Appends a record.
    ///
    /// # Errors
    /// A field that its pack-format does not fit; what was printed of the record by then stays, as with kcat.
    pub(super) fn write(&self, out: &mut Vec<u8>, message: &Message<'_>) -> Result<(), String> {
        if self.json {
            return self.write_json(out, message);
        }
        let record = message.record;
        let length = |bytes: Option<&[u8]>| bytes.map_or_else(|| "-1".to_owned(), |bytes| bytes.len().to_string());
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text),
                Piece::Offset => out.extend_from_slice(record.offset.to_string().as_bytes()),
                Piece::Key => self.field(out, "key", record.key, self.key_pack.as_deref())?,
                Piece::KeyLength => out.extend_from_slice(length(record.key).as_bytes()),
                Piece::Value => self.field(out, "value", record.value, self.value_pack.as_deref())?,
                Piece::ValueLength => out.extend_from_slice(length(record.value).as_bytes()),
                Piece::ValueLengthBinary => {
                    let length = record.value.map_or(-1, |value| i32::try_from(value.len()).unwrap_or(i32::MAX));
                    out.extend_from_slice(&length.to_be_bytes());
                }
                Piece::Topic => out.extend_from_slice(message.topic.as_bytes()),
                Piece::Partition => out.extend_from_slice(message.partition.to_string().as_bytes()),
                Piece::Timestamp => out.extend_from_slice(record.timestamp.to_string().as_bytes()),
                Piece::Headers => {
                    for (at, header) in record.headers.iter().enumerate() {
                        let header = header.map_err(|error| error.to_string())?;
                        if at > 0 {
                            out.push(b',');
                        }
                        out.extend_from_slice(header.key);
                        out.push(b'=');
                        out.extend_from_slice(header.value.unwrap_or(NULL));
                    }
                }
            }
        }
        Ok(())
    }

    /// An empty field is printed like a missing one.
    fn field(&self, out: &mut Vec<u8>, what: &str, bytes: Option<&[u8]>, pack: Option<&[u8]>) -> Result<(), String> {
        match (bytes.filter(|bytes| !bytes.is_empty()), pack) {
            (Some(bytes), Some(pack)) => unpack(out, what, pack, bytes)?,
            (Some(bytes), None) => out.extend_from_slice(bytes),
            (None, _) if self.nulls => out.extend_from_slice(NULL),
            (None, _) => {}
        }
        Ok(())
    }

    fn write_json(&self, out: &mut Vec<u8>, message: &Message<'_>) -> Result<(), String> {
        let record = message.record;
        out.extend_from_slice(b"{\"topic\":");
        quoted(out, message.topic.as_bytes());
        out.extend_from_slice(format!(",\"partition\":{},\"offset\":{}", message.partition, record.offset).as_bytes());
        let kind = match record.timestamp_type {
            TimestampType::NoTimestamp => None,
            TimestampType::CreateTime => Some("create"),
            TimestampType::LogAppendTime => Some("logappend"),
        };
        if let Some(kind) = kind {
            out.extend_from_slice(format!(",\"tstype\":\"{kind}\",\"ts\":{}", record.timestamp).as_bytes());
        }
        out.extend_from_slice(format!(",\"broker\":{}", message.broker).as_bytes());
        let mut first = true;
        for header in record.headers.iter() {
            let header = header.map_err(|error| error.to_string())?;
            out.extend_from_slice(if first { b",\"headers\":[" } else { b"," });
            first = false;
            quoted(out, header.key);
            out.push(b',');
            quoted_or_null(out, header.value);
        }
        if !first {
            out.push(b']');
        }
        out.extend_from_slice(b",\"key\":");
        quoted_or_null(out, record.key);
        out.extend_from_slice(b",\"payload\":");
        quoted_or_null(out, record.value);
        out.push(b'}');
        // For JSON the format is the delimiter.
        if let Some(Piece::Text(delimiter)) = self.pieces.first() {
            out.extend_from_slice(delimiter);
        }
        Ok(())
    }
}

/// Text of a format: `\n`, `\t`, `\r`, `\xNN`, and numbers as C reads them; it ends at a zero byte.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'\\' || after.is_empty() {
            out.push(*first);
            continue;
        }
        let Some((kind, after)) = after.split_first() else { break };
        rest = after;
        match kind {
            b't' => out.push(b'\t'),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b'x' => match after.split_first() {
                // Only a number that begins with a digit is one.
                Some((digit, _)) if digit.is_ascii_digit() => {
                    let count = after.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
                    out.push(number(after.get(..count).unwrap_or_default(), 16));
                    rest = after.get(count..).unwrap_or_default();
                }
                Some((other, after)) => {
                    out.push(*other);
                    rest = after;
                }
                None => {}
            },
            digit if digit.is_ascii_digit() => {
                let base: u8 = if *digit == b'0' { 8 } else { 10 };
                let more =
                    after.iter().take_while(|byte| byte.is_ascii_digit() && byte.wrapping_sub(b'0') < base).count();
                let mut digits = vec![*digit];
                digits.extend_from_slice(after.get(..more).unwrap_or_default());
                out.push(number(&digits, base));
                rest = after.get(more..).unwrap_or_default();
            }
            other => out.push(*other),
        }
    }
    let end = out.iter().position(|byte| *byte == 0).unwrap_or(out.len());
    out.truncate(end);
    out
}

fn number(digits: &[u8], base: u8) -> u8 {
    digits.iter().fold(0_u8, |number, digit| {
        let digit =
            char::from(*digit).to_digit(u32::from(base)).and_then(|digit| u8::try_from(digit).ok()).unwrap_or(0);
        number.wrapping_mul(base).wrapping_add(digit)
    })
}

fn quoted_or_null(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => quoted(out, bytes),
        None => out.extend_from_slice(b"null"),
    }
}

/// A string as yajl writes it: bytes beyond ASCII pass through, valid or not.
fn quoted(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    for byte in bytes {
        match byte {
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'"' => out.extend_from_slice(b"\\\""),
            0x0c => out.extend_from_slice(b"\\f"),
            0x08 => out.extend_from_slice(b"\\b"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..0x20 => out.extend_from_slice(format!("\\u00{byte:02X}").as_bytes()),
            other => out.push(*other),
        }
    }
    out.push(b'"');
}

/// Prints `bytes` by a pack-format, after Python's `struct`. Two-byte numbers are big-endian whatever is asked for, as in kcat.
fn unpack(out: &mut Vec<u8>, what: &str, pack: &[u8], bytes: &[u8]) -> Result<(), String> {
    let mut rest = bytes;
    let mut little = false;
    for token in pack {
        let mut take = |size: usize| -> Result<[u8; 8], String> {
            let (taken, after) = rest.split_at_checked(size).ok_or_else(|| {
                format!(
                    "{what} truncated, expected {size} bytes to unpack {} but only {} bytes remaining",
                    char::from(*token),
                    rest.len()
                )
            })?;
            rest = after;
            let mut wide = [0; 8];
            let start = 8_usize.saturating_sub(size);
            for (slot, byte) in wide.iter_mut().skip(start).zip(taken) {
                *slot = *byte;
            }
            if little && size > 2 {
                wide.get_mut(start..).unwrap_or_default().reverse();
            }
            Ok(wide)
        };
        let text = match token {
            b' ' => " ".to_owned(),
            b'<' => {
                little = true;
                continue;
            }
            b'>' => {
                little = false;
                continue;
            }
            b'b' => (take(1)?[7].cast_signed()).to_string(),
            b'B' => take(1)?[7].to_string(),
            b'h' => (i64::from_be_bytes(take(2)?) as i16).to_string(),
            b'H' => u64::from_be_bytes(take(2)?).to_string(),
            b'i' => (i64::from_be_bytes(take(4)?) as i32).to_string(),
            b'I' => u64::from_be_bytes(take(4)?).to_string(),
            b'q' => i64::from_be_bytes(take(8)?).to_string(),
            b'Q' => u64::from_be_bytes(take(8)?).to_string(),
            b'c' => {
                out.push(take(1)?[7]);
                continue;
            }
            b's' => {
                out.extend_from_slice(rest);
                rest = &[];
                continue;
            }
            b'$' if !rest.is_empty() => {
                return Err(format!("expected {what} end-of-input, but {} bytes remaining", rest.len()));
            }
            _ => continue,
        };
        out.extend_from_slice(text.as_bytes());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::kafka::record::Headers;

    fn shown(format: &str, key: Option<&[u8]>, value: Option<&[u8]>, packs: (Option<&str>, Option<&str>)) -> Vec<u8> {
        let packs = (packs.0.map(|pack| pack.as_bytes().to_vec()), packs.1.map(|pack| pack.as_bytes().to_vec()));
        let format = Format::parse(format.as_bytes(), false, true, packs).unwrap();
        let record = Record {
            offset: 5,
            timestamp: 9,
            timestamp_type: TimestampType::CreateTime,
            key,
            value,
            headers: Headers::default(),
        };
        let mut out = Vec::new();
        format.write(&mut out, &Message { topic: "t", partition: 2, broker: 1, record: &record }).unwrap();
        out
    }

    #[test]
    fn tokens_and_escapes() {
        let line = shown("%t[%p]@%o %T %k/%K %s/%S 100%%\\x41\\t\\101\\n", None, Some(b"v"), (None, None));
        assert_eq!(line, b"t[2]@5 9 NULL/-1 v/1 100%A\te\n");
        assert_eq!(shown("%R", None, None, (None, None)), [255, 255, 255, 255]);
        assert!(Format::parse(b"%y", false, false, (None, None)).unwrap_err().contains("%y"));
        assert!(Format::parse(b"x%", false, false, (None, None)).is_err());
    }

    #[test]
    fn packed_fields() {
        let line =
            shown("%k %s", Some(&[0, 0, 0, 7]), Some(&[1, 0, 0, 0, 255, b'x', b'y']), (Some("i$"), Some("<Ibs")));
        assert_eq!(line, b"7 1-1xy");
    }

    #[test]
    fn strings_are_quoted_as_yajl_does() {
        let mut out = Vec::new();
        quoted(&mut out, b"a\"\\/\n\x1f\xff");
        assert_eq!(out, b"\"a\\\"\\\\/\\n\\u001F\xff\"");
    }
}
