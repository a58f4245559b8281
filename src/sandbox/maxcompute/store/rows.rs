//! Row streams as they are kept: the sandbox's own reader of the Tunnel record format.
//!
//! Two uses, one parser. *Verifying* checks a block on its way in: ascending fields, wire types that fit the schema, the
//! checksum of every row, then the trailer's count and checksum of checksums, and nothing behind it. *Scanning* reads rows
//! back from kept blocks and builds only the columns that are wanted.
//!
//! It does not share the encoder's code on purpose: a mistake there should be found here. Source: `tunnel.md` section 5.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic)]

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

use crate::tunnel::{ColumnType, Value};
use crate::wire::{Crc32c, DecodeError, DecodeFault, Reader, unzigzag32};

/// Why a row stream was refused.
#[derive(Debug)]
pub(crate) enum RowFault {
    /// The stream ends before its trailer, or inside a row.
    Truncated,
    /// Bytes that are no row of this schema.
    Malformed(String),
    /// A checksum or count that does not match.
    Corrupt(String),
    /// A field or row over the limit.
    TooLarge(String),
    /// Reading failed: a body that was cut, or bytes its compression refuses.
    Read(io::Error),
}

impl fmt::Display for RowFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the row stream ends before its trailer"),
            Self::Malformed(text) | Self::Corrupt(text) | Self::TooLarge(text) => f.write_str(text),
            Self::Read(error) => write!(f, "the row stream cannot be read: {error}"),
        }
    }
}

impl From<io::Error> for RowFault {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

/// The types of a table's columns in stream order.
pub(crate) type Types = Arc<[ColumnType]>;

/// Checks a whole row stream and hands its rows, as they were sent and without the trailer, to `keep` piece by piece.
/// Returns the number of rows.
///
/// # Errors
/// [`RowFault`]; whatever `keep` has taken by then is void. An error of `keep` itself comes back as `Err(Ok(error))`.
pub(crate) fn verify(
    source: &mut dyn Read,
    types: &Types,
    field_bytes_max: usize,
    keep: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> Result<u64, VerifyError> {
    let mut window = Window::new(READ_BYTES);
    let mut rows = 0_u64;
    let mut checksums = Crc32c::new();
    loop {
        let item = {
            let mut parser =
                Parser { reader: Reader::new(window.bytes()), types, field_bytes_max, crc: Some(Crc32c::new()) };
            parser.item(None)
        };
        match item {
            Ok(Item::Row { bytes, crc, stored }) => {
                if crc != stored {
                    return Err(RowFault::Corrupt(format!(
                        "row {rows}: checksum {stored:#010x} was sent, the row comes to {crc:#010x}"
                    ))
                    .into());
                }
                checksums.update(&crc.to_le_bytes());
                keep(window.bytes().get(..bytes).unwrap_or_default()).map_err(VerifyError::Keep)?;
                window.consume(bytes);
                rows = rows.saturating_add(1);
            }
            Ok(Item::Trailer { bytes, count, checksum }) => {
                window.consume(bytes);
                if count != i64::try_from(rows).unwrap_or(i64::MAX) {
                    return Err(RowFault::Corrupt(format!("the trailer counts {count} rows, {rows} were sent")).into());
                }
                if checksum != checksums.value() {
                    return Err(RowFault::Corrupt(format!(
                        "the trailer's checksum is {checksum:#010x}, the rows come to {:#010x}",
                        checksums.value()
                    ))
                    .into());
                }
                if !window.bytes().is_empty() || window.fill(source)? {
                    return Err(RowFault::Malformed("bytes behind the trailer".to_owned()).into());
                }
                return Ok(rows);
            }
            Err(error) => refill(&mut window, source, error, rows)?,
        }
    }
}

/// Why [`verify`] stopped.
#[derive(Debug)]
pub(crate) enum VerifyError {
    /// The stream is at fault.
    Row(RowFault),
    /// The rows could not be kept.
    Keep(io::Error),
}

impl From<RowFault> for VerifyError {
    fn from(fault: RowFault) -> Self {
        Self::Row(fault)
    }
}

impl From<io::Error> for VerifyError {
    fn from(error: io::Error) -> Self {
        Self::Row(RowFault::Read(error))
    }
}

/// Reads kept rows back, one after the other.
pub(crate) struct RowScan<R> {
    source: R,
    types: Types,
    window: Window,
    rows: u64,
}

impl<R: Read> RowScan<R> {
    /// Reads rows of `types` from `source`, which holds rows without a trailer.
    pub(crate) fn new(source: R, types: Types) -> Self {
        Self { source, types, window: Window::new(READ_BYTES), rows: 0 }
    }

    /// Puts the next row into `row`, one value a column; columns that `wanted` does not name are NULL without being built.
    /// Returns false at the end.
    ///
    /// # Errors
    /// [`RowFault`] for a kept block that was damaged.
    pub(crate) fn next_row(&mut self, wanted: &[bool], row: &mut Vec<Value>) -> Result<bool, RowFault> {
        loop {
            if self.window.bytes().is_empty() && !self.window.fill(&mut self.source)? {
                return Ok(false);
            }
            row.clear();
            row.resize(self.types.len(), Value::Null);
            let mut parser = Parser {
                reader: Reader::new(self.window.bytes()),
                types: &self.types,
                field_bytes_max: usize::MAX,
                crc: None,
            };
            match parser.item(Some((wanted, row))) {
                Ok(Item::Row { bytes, .. }) => {
                    self.window.consume(bytes);
                    self.rows = self.rows.saturating_add(1);
                    return Ok(true);
                }
                Ok(Item::Trailer { .. }) => return Err(RowFault::Malformed("a trailer inside kept rows".to_owned())),
                Err(error) => refill(&mut self.window, &mut self.source, error, self.rows)?,
            }
        }
    }
}

/// More bytes after a cut-off row; anything else is a fault of the stream.
fn refill(window: &mut Window, source: &mut dyn Read, error: DecodeError, row: u64) -> Result<(), RowFault> {
    match error.fault {
        DecodeFault::Truncated { .. } => {
            if window.bytes().len() > ROW_BYTES_MAX {
                return Err(RowFault::TooLarge(format!("row {row} has more than {ROW_BYTES_MAX} bytes")));
            }
            if window.fill(source)? { Ok(()) } else { Err(RowFault::Truncated) }
        }
        DecodeFault::TooLarge { size, max } => {
            Err(RowFault::TooLarge(format!("row {row}: a field of {size} bytes, the limit is {max}")))
        }
        _ => Err(RowFault::Malformed(format!("row {row}: {error}"))),
    }
}

/// Bytes read from a source and not consumed yet.
struct Window {
    buffer: Vec<u8>,
    start: usize,
    step: usize,
    /// An error behind bytes that are still to be looked at.
    failed: Option<io::Error>,
}

impl Window {
    const fn new(step: usize) -> Self {
        Self { buffer: Vec::new(), start: 0, step, failed: None }
    }

    fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    const fn consume(&mut self, bytes: usize) {
        self.start = self.start.saturating_add(bytes);
    }

    /// Reads more; false at the end of the source. Grows with what is held, so a long row is not parsed again and again.
    fn fill(&mut self, source: &mut dyn Read) -> io::Result<bool> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        self.buffer.drain(..self.start.min(self.buffer.len()));
        self.start = 0;
        let held = self.buffer.len();
        let wanted = held.max(self.step);
        self.buffer.resize(held.saturating_add(wanted), 0);
        let mut filled = held;
        while let Some(free) = self.buffer.get_mut(filled..).filter(|free| !free.is_empty()) {
            match source.read(free) {
                Ok(0) => break,
                Ok(read) => filled = filled.saturating_add(read),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if filled > held => {
                    self.failed = Some(error);
                    break;
                }
                Err(error) => {
                    self.buffer.truncate(filled);
                    return Err(error);
                }
            }
        }
        self.buffer.truncate(filled);
        Ok(filled > held)
    }
}

enum Item {
    Row { bytes: usize, crc: u32, stored: u32 },
    Trailer { bytes: usize, count: i64, checksum: u32 },
}

struct Parser<'a> {
    reader: Reader<'a>,
    types: &'a [ColumnType],
    field_bytes_max: usize,
    crc: Option<Crc32c>,
}

impl<'a> Parser<'a> {
    fn item(&mut self, mut build: Option<(&[bool], &mut Vec<Value>)>) -> Result<Item, DecodeError> {
        let mut last = 0_u32;
        loop {
            let tag = self.reader.uvarint32("tag")?;
            let (field, wire_type) = (tag >> 3, tag & 7);
            match field {
                END_RECORD if wire_type == 0 => {
                    let stored = self.checksum("row checksum")?;
                    let crc = self.crc.map_or(stored, Crc32c::value);
                    return Ok(Item::Row { bytes: self.reader.position(), crc, stored });
                }
                META_COUNT if wire_type == 0 && last == 0 => {
                    let count = self.reader.varint64("row count")?;
                    let tag = self.reader.uvarint32("checksum tag")?;
                    if tag != META_CHECKSUM << 3 {
                        return Err(self.reader.error(DecodeFault::BadValue(i64::from(tag)), "checksum tag"));
                    }
                    let checksum = self.checksum("checksum of checksums")?;
                    return Ok(Item::Trailer { bytes: self.reader.position(), count, checksum });
                }
                _ => {}
            }
            let index = usize::try_from(field).unwrap_or(usize::MAX).wrapping_sub(1);
            let Some(type_) = self.types.get(index).filter(|_| field > last) else {
                return Err(self.reader.error(DecodeFault::BadValue(i64::from(field)), "field number"));
            };
            if wire_type != wire_type_of(type_) {
                return Err(self.reader.error(DecodeFault::BadValue(i64::from(wire_type)), "wire type"));
            }
            last = field;
            self.hash(&field.to_le_bytes());
            let wanted = build.as_ref().is_some_and(|(wanted, _)| wanted.get(index).copied().unwrap_or(false));
            let value = self.value(type_, wanted)?;
            if let Some(slot) = build.as_mut().filter(|_| wanted).and_then(|(_, row)| row.get_mut(index)) {
                *slot = value;
            }
        }
    }

    /// A checksum: an unsigned varint of 32 bits that some writers sign-extend to ten bytes.
    fn checksum(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        let wide = self.reader.uvarint64(field)?;
        let [a, b, c, d, ..] = wide.to_le_bytes();
        Ok(u32::from_le_bytes([a, b, c, d]))
    }

    fn hash(&mut self, bytes: &[u8]) {
        if let Some(crc) = &mut self.crc {
            crc.update(bytes);
        }
    }

    fn long(&mut self, field: &'static str) -> Result<i64, DecodeError> {
        let value = self.reader.varint64(field)?;
        self.hash(&value.to_le_bytes());
        Ok(value)
    }

    fn flag(&mut self, field: &'static str) -> Result<bool, DecodeError> {
        match self.reader.u8(field)? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(self.reader.error(DecodeFault::BadValue(i64::from(other)), field)),
        }
    }

    /// A value of `type_`, without its tag. NULL instead of the value unless it is to be built.
    fn value(&mut self, type_: &ColumnType, build: bool) -> Result<Value, DecodeError> {
        Ok(match type_ {
            ColumnType::TinyInt | ColumnType::SmallInt | ColumnType::Int | ColumnType::BigInt => {
                let value = self.long("integer")?;
                let fits = match type_ {
                    ColumnType::TinyInt => i8::try_from(value).is_ok(),
                    ColumnType::SmallInt => i16::try_from(value).is_ok(),
                    ColumnType::Int => i32::try_from(value).is_ok(),
                    _ => true,
                };
                if !fits {
                    return Err(self.reader.error(DecodeFault::BadValue(value), type_.simple_name()));
                }
                Value::BigInt(value)
            }
            ColumnType::Boolean => {
                let value = self.flag("boolean")?;
                self.hash(&[u8::from(value)]);
                Value::Boolean(value)
            }
            ColumnType::Datetime => Value::Datetime(self.long("datetime")?),
            ColumnType::Date => Value::Date(self.long("date")?),
            ColumnType::IntervalYearMonth => Value::IntervalYearMonth(self.long("interval")?),
            ColumnType::Float => {
                let bytes = self.reader.array::<4>("float")?;
                self.hash(&bytes);
                Value::Float(f32::from_le_bytes(bytes))
            }
            ColumnType::Double => {
                let bytes = self.reader.array::<8>("double")?;
                self.hash(&bytes);
                Value::Double(f64::from_le_bytes(bytes))
            }
            ColumnType::Timestamp | ColumnType::TimestampNtz | ColumnType::IntervalDayTime => self.instant(type_)?,
            ColumnType::Decimal(_) => {
                let bytes = self.bytes()?;
                let text = std::str::from_utf8(bytes).ok().filter(|text| is_decimal(text));
                let Some(text) = text else { return Err(self.reader.error(DecodeFault::Corrupt, "decimal")) };
                Value::Decimal(if build { text.to_owned() } else { String::new() })
            }
            ColumnType::Array(element) => Value::Array(self.elements(element, build)?.1),
            ColumnType::Map(key, value) => {
                let (key_count, keys) = self.elements(key, build)?;
                let (value_count, values) = self.elements(value, build)?;
                if key_count != value_count {
                    return Err(self.reader.error(DecodeFault::BadLength(i64::from(value_count)), "map values"));
                }
                Value::Map(keys.into_iter().zip(values).collect())
            }
            ColumnType::Struct(fields) => {
                let mut values = Vec::new();
                for field in fields {
                    let value = if self.flag("null flag")? { Value::Null } else { self.value(&field.type_, build)? };
                    if build {
                        values.push(value);
                    }
                }
                Value::Struct(values)
            }
            _ => {
                let bytes = self.bytes()?;
                if build { Value::Bytes(bytes.to_vec()) } else { Value::Null }
            }
        })
    }
}

impl<'a> Parser<'a> {
    /// The bytes of a text or binary value.
    fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.reader.uvarint32("value length")?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > self.field_bytes_max {
            return Err(self.reader.error(DecodeFault::TooLarge { size: length, max: self.field_bytes_max }, "value"));
        }
        let bytes = self.reader.bytes(length, "value")?;
        self.hash(bytes);
        Ok(bytes)
    }

    /// Seconds and nanoseconds.
    fn instant(&mut self, type_: &ColumnType) -> Result<Value, DecodeError> {
        let seconds = self.long("seconds")?;
        let nanos = self.reader.uvarint32("nanoseconds").map(unzigzag32)?;
        self.hash(&nanos.to_le_bytes());
        let lowest = if *type_ == ColumnType::IntervalDayTime { -NANOS_MAX } else { 0 };
        if !(lowest..=NANOS_MAX).contains(&nanos) {
            return Err(self.reader.error(DecodeFault::BadValue(i64::from(nanos)), "nanoseconds"));
        }
        Ok(match type_ {
            ColumnType::IntervalDayTime => Value::IntervalDayTime { seconds, nanos },
            _ => Value::Timestamp { seconds, nanos },
        })
    }

    /// The elements of an array, and how many there were; the list stays empty unless it is to be built.
    fn elements(&mut self, type_: &ColumnType, build: bool) -> Result<(u32, Vec<Value>), DecodeError> {
        let count = self.reader.uvarint32("element count")?;
        let mut values = Vec::new();
        for _ in 0..count {
            // Each element takes a byte at least, so a count beyond the input ends as truncation, with nothing reserved.
            let value = if self.flag("null flag")? { Value::Null } else { self.value(type_, build)? };
            if build {
                values.push(value);
            }
        }
        Ok((count, values))
    }
}

/// The wire type that a value of `type_` has in its tag.
const fn wire_type_of(type_: &ColumnType) -> u32 {
    match type_ {
        ColumnType::TinyInt
        | ColumnType::SmallInt
        | ColumnType::Int
        | ColumnType::BigInt
        | ColumnType::Boolean
        | ColumnType::Datetime
        | ColumnType::Date
        | ColumnType::IntervalYearMonth => 0,
        ColumnType::Double => 1,
        ColumnType::Float => 5,
        _ => 2,
    }
}

/// Plain or scientific decimal text: PyODPS may send `1E+3`.
fn is_decimal(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (digits, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((digits, exponent)) => (digits, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    all_digits(whole)
        && all_digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent.is_none_or(|exponent| !exponent.is_empty() && all_digits(exponent))
}

const END_RECORD: u32 = 33_553_408;
const META_COUNT: u32 = 33_554_430;
const META_CHECKSUM: u32 = 33_554_431;
const NANOS_MAX: i32 = 999_999_999;

/// Bytes asked from a source at a time.
const READ_BYTES: usize = 256 * 1024;

/// Largest row ("Limits", `tunnel.md` section 3).
const ROW_BYTES_MAX: usize = 200 * 1024 * 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic)]

    use serde_json::Value as Json;

    use super::*;

    const CANONICAL: &str = include_str!("../../../../proto-tests/vectors/tunnel/tunnel_records.json");
    const BY_PYODPS: &str = include_str!("../../../../proto-tests/vectors/tunnel/tunnel_records_pyodps.json");

    /// Types and body of every case of a vector file.
    fn cases(text: &str) -> Vec<(String, Types, Vec<u8>, u64)> {
        let file: Json = serde_json::from_str(text).unwrap();
        let types = |case: &Json| -> Types {
            let columns = case["schema"].as_array().unwrap().iter();
            columns.map(|column| ColumnType::parse(column["type"].as_str().unwrap()).unwrap()).collect()
        };
        let hex = |text: &str| -> Vec<u8> {
            (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
        };
        file["cases"]
            .as_array()
            .unwrap()
            .iter()
            .map(|case| {
                let body = hex(case["body_hex"].as_str().unwrap());
                (case["name"].to_string(), types(case), body, case["record_count"].as_u64().unwrap())
            })
            .collect()
    }

    fn check(types: &Types, body: &[u8]) -> Result<(u64, Vec<u8>), VerifyError> {
        let mut kept = Vec::new();
        let rows = verify(&mut &*body, types, usize::MAX, &mut |rows| {
            kept.extend_from_slice(rows);
            Ok(())
        })?;
        Ok((rows, kept))
    }

    #[test]
    fn every_vector_is_taken_and_no_prefix_of_it() {
        let mut seen = 0;
        for text in [CANONICAL, BY_PYODPS] {
            for (name, types, body, count) in cases(text) {
                let (rows, kept) = check(&types, &body).unwrap_or_else(|error| panic!("{name}: {error:?}"));
                assert_eq!(rows, count, "{name}");
                for end in 0..body.len() {
                    assert!(check(&types, &body[..end]).is_err(), "{name} cut at {end}");
                }
                let mut scan = RowScan::new(kept.as_slice(), Arc::clone(&types));
                let mut row = Vec::new();
                let wanted = vec![true; types.len()];
                let mut scanned = 0;
                while scan.next_row(&wanted, &mut row).unwrap() {
                    assert_eq!(row.len(), types.len());
                    scanned += 1;
                }
                assert_eq!(scanned, count, "{name}");
                seen += 1;
            }
        }
        assert_eq!(seen, 18);
    }

    #[test]
    fn both_files_hold_the_same_rows() {
        let rows = |text: &str| -> Vec<Vec<Vec<Value>>> {
            cases(text)
                .into_iter()
                .map(|(_, types, body, _)| {
                    let kept = check(&types, &body).unwrap().1;
                    let mut scan = RowScan::new(kept.as_slice(), Arc::clone(&types));
                    let (mut rows, mut row) = (Vec::new(), Vec::new());
                    while scan.next_row(&vec![true; types.len()], &mut row).unwrap() {
                        rows.push(row.clone());
                    }
                    rows
                })
                .collect()
        };
        // NaN is not equal to itself, so the texts are compared.
        assert_eq!(format!("{:?}", rows(CANONICAL)), format!("{:?}", rows(BY_PYODPS)));
    }

    #[test]
    fn counts_from_the_wire_reserve_nothing() {
        let types: Types = Arc::from(vec![ColumnType::parse("array<array<bigint>>").unwrap()]);
        // Four thousand million elements are promised, none comes.
        let body = [0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f];
        assert!(matches!(check(&types, &body), Err(VerifyError::Row(RowFault::Truncated))));
    }
}
