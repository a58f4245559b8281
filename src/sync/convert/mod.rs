//! A record becomes a row: which source feeds which table column, and what a value must be to fit.
//!
//! Pure. Rules of "Job semantics", sections 2.2, 2.6 and 5. A value that does not fit makes the whole row dirty, with the
//! column and the reason; nothing wraps, nothing is cut silently.

mod charset;
mod decimal;
mod nested;
mod route;
mod scalar;
#[cfg(test)]
pub(crate) mod specs;
#[cfg(test)]
mod tests;
mod time;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use jiff::tz::TimeZone;

use super::json::{self, Leaf, Members};
use super::stats::Delta;
use crate::job::{
    Charset, DataFormat, FieldType, OverLength, PartitionPiece, ReaderSpec, SourceColumn, WriterColumns, WriterSpec,
};
use crate::kafka::record::Record;
use crate::tunnel::{ColumnType, RowEncoder, TableSchema};

pub use route::RouteError;
pub use scalar::Scalar;

/// Turns records into rows of one table. Built once a job; cheap to clone for a second reader of the same ranges.
#[derive(Clone, Debug)]
pub struct Converter {
    cells: Vec<Cell>,
    /// What the record's partition is made of; none when all rows go to one place.
    route: Option<Vec<route::Level>>,
    members: Members,
    rules: ValueRules,
    key_type: FieldType,
    value_type: FieldType,
    encoding: Charset,
    header_encoding: Charset,
    delimiter: Option<String>,
}

/// What every value is subject to.
#[derive(Clone, Debug)]
struct ValueRules {
    empty_as_null: bool,
    over_length: OverLength,
    /// Length from which `over_length` acts, in bytes.
    field_bytes_limit: usize,
    /// Length that the service refuses in any case, in bytes.
    field_bytes_refused: usize,
    /// Length that a cut value keeps, in bytes.
    field_bytes_kept: usize,
    time_zone: TimeZone,
    date_zone: TimeZone,
}

#[derive(Clone, Debug)]
struct Cell {
    source: Source,
    source_index: usize,
    source_name: String,
    target: usize,
    target_name: String,
    target_type: ColumnType,
}

#[derive(Clone, Debug)]
enum Source {
    Constant(String),
    Key,
    Value,
    Partition,
    Offset,
    Timestamp,
    Headers,
    Member(usize),
    Field(usize),
}

/// The columns of a job and of its table do not fit together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ColumnError {
    /// The job names a column that the table does not have.
    Unknown {
        /// The name in the job.
        column: String,
        /// The table's columns.
        known: Vec<String>,
    },
    /// The rows' partitions cannot be told from the records.
    Route(RouteError),
    /// No value of a record can become one of this column's type.
    Unwritable {
        /// The table's column.
        column: String,
        /// Its type.
        type_: String,
    },
    /// More reader columns than writer columns.
    TooMany {
        /// Reader columns.
        reader: usize,
        /// Writer columns.
        writer: usize,
    },
}

impl fmt::Display for ColumnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { column, known } => {
                write!(f, "the table has no column \"{column}\"; it has {}", known.join(", "))
            }
            Self::Route(error) => error.fmt(f),
            Self::Unwritable { column, type_ } => {
                write!(f, "column \"{column}\" is of type {type_}, which no value of a record can become")
            }
            Self::TooMany { reader, writer } => {
                write!(
                    f,
                    "the reader has {reader} columns and the writer {writer}: every reader column needs a writer column"
                )
            }
        }
    }
}

impl std::error::Error for ColumnError {}

/// A record that cannot become a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dirty {
    /// Position of the source column in the job, counted from 0.
    pub source_index: usize,
    /// The source column as the job writes it.
    pub source_name: String,
    /// The table column.
    pub target_name: String,
    /// The table column's type.
    pub target_type: String,
    /// Why the value does not fit; holds the value's start.
    pub reason: String,
}

impl fmt::Display for Dirty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source_index, source_name, target_name, target_type, reason } = self;
        write!(f, "source column {source_index} {source_name} into {target_name} {target_type}: {reason}")
    }
}

impl Converter {
    /// Matches the columns of a job with those of its table. `field_bytes_max` is the session's `MaxFieldSize`.
    ///
    /// # Errors
    /// [`ColumnError`] when they do not fit together.
    pub fn new(
        reader: &ReaderSpec,
        writer: &WriterSpec,
        time_zone: &TimeZone,
        schema: &TableSchema,
        field_bytes_max: usize,
    ) -> Result<Self, ColumnError> {
        let routed = route::levels(reader, writer, schema).map_err(ColumnError::Route)?;
        let targets = targets(&writer.columns, schema)?;
        if reader.columns.len() > targets.len() {
            return Err(ColumnError::TooMany { reader: reader.columns.len(), writer: targets.len() });
        }
        let routed_sources = routed.iter().flat_map(|levels| route::sources(levels));
        let mut paths = Vec::new();
        for column in reader.columns.iter().chain(routed_sources) {
            if let SourceColumn::Data(path) = column
                && !paths.iter().any(|(whole, _)| *whole == path.whole)
            {
                paths.push((path.whole.as_str(), path.steps.as_slice()));
            }
        }
        let source_of = |column: &SourceColumn| match column {
            SourceColumn::Constant(text) => Source::Constant(text.clone()),
            SourceColumn::Key => Source::Key,
            SourceColumn::Value => Source::Value,
            SourceColumn::Partition => Source::Partition,
            SourceColumn::Offset => Source::Offset,
            SourceColumn::Timestamp => Source::Timestamp,
            SourceColumn::Headers => Source::Headers,
            SourceColumn::Field(index) => Source::Field(*index),
            SourceColumn::Data(path) => {
                Source::Member(paths.iter().position(|(whole, _)| *whole == path.whole).unwrap_or_default())
            }
        };
        let mut cells = BTreeMap::new();
        for (source_index, (column, target)) in reader.columns.iter().zip(targets).enumerate() {
            // A partition column has no cell.
            let Some(target) = target else { continue };
            let source = source_of(column);
            let Some(to) = schema.columns.get(target) else { continue };
            if !scalar::is_writable(&to.type_) {
                return Err(ColumnError::Unwritable { column: to.name.clone(), type_: to.type_.to_string() });
            }
            let cell = Cell {
                source,
                source_index,
                source_name: column.to_string(),
                target,
                target_name: to.name.clone(),
                target_type: to.type_.clone(),
            };
            cells.insert(target, cell);
        }
        let route = routed.clone().map(|levels| {
            let level = |(level, index): (crate::job::RoutedLevel, Option<usize>)| {
                let piece = |piece| match piece {
                    PartitionPiece::Text(text) => route::Piece::Text(text),
                    PartitionPiece::Value { source, format, source_format } => route::Piece::Value {
                        source_index: index
                            .or_else(|| reader.columns.iter().position(|column| *column == source))
                            .unwrap_or(reader.columns.len()),
                        source_name: source.to_string(),
                        source: source_of(&source),
                        format,
                        source_format,
                    },
                };
                let key = schema.partition_keys.iter().find(|key| key.name == level.key);
                route::Level {
                    key_type: key.map_or(ColumnType::String, |key| key.type_.clone()),
                    key: level.key,
                    pieces: level.pieces.into_iter().map(piece).collect(),
                }
            };
            levels.into_iter().map(level).collect()
        });
        let refused = field_bytes_max.max(1);
        let rules = ValueRules {
            empty_as_null: writer.empty_as_null,
            over_length: writer.over_length,
            field_bytes_limit: writer.odps_field_bytes_max.min(refused),
            field_bytes_refused: refused,
            field_bytes_kept: writer.field_bytes_max.min(refused),
            time_zone: time_zone.clone(),
            date_zone: writer.date_zone.as_ref().unwrap_or(time_zone).clone(),
        };
        let delimiter = match &reader.data_format {
            DataFormat::Json => None,
            DataFormat::Text { delimiter } => Some(delimiter.clone()),
        };
        Ok(Self {
            cells: cells.into_values().collect(),
            route,
            members: Members::new(paths),
            rules,
            key_type: reader.key_type,
            value_type: reader.value_type,
            encoding: reader.encoding,
            header_encoding: reader.header_encoding,
            delimiter,
        })
    }

    /// The columns that no value of their source can fit, so that every row is dirty whose source is not NULL.
    pub fn misfits(&self) -> Vec<Dirty> {
        // What a source gives is of one kind, and what fits "1" of that kind fits some value of it; a text may hold anything.
        let sample = |source: &Source| {
            let of_bytes = |field_type: FieldType| match field_type {
                FieldType::ByteArray => Some(Scalar::Bytes(b"1")),
                FieldType::Double => Some(Scalar::Double(1.0)),
                FieldType::Float => Some(Scalar::Float(1.0)),
                FieldType::Integer | FieldType::Long | FieldType::Short => Some(Scalar::Long(1)),
                FieldType::String => None,
            };
            match source {
                Source::Key => of_bytes(self.key_type),
                Source::Value => of_bytes(self.value_type),
                Source::Partition | Source::Offset | Source::Timestamp => Some(Scalar::Long(1)),
                Source::Constant(_) | Source::Headers | Source::Member(_) | Source::Field(_) => None,
            }
        };
        let misfit = |cell: &Cell| {
            let scalar = match &cell.source {
                Source::Constant(text) => Scalar::Text(Cow::Borrowed(text)),
                source => sample(source)?,
            };
            let (mut rows, mut delta) = (RowEncoder::new(), Delta::default());
            let (target, type_) = (cell.target, &cell.target_type);
            let written = scalar::write(&self.rules, target, type_, scalar, self.encoding, &mut rows, &mut delta);
            written.err().map(|reason| Dirty {
                source_index: cell.source_index,
                source_name: cell.source_name.clone(),
                target_name: cell.target_name.clone(),
                target_type: cell.target_type.to_string(),
                reason,
            })
        };
        self.cells.iter().filter_map(misfit).collect()
    }

    /// Whether rows go to different partitions.
    pub const fn is_routed(&self) -> bool {
        self.route.is_some()
    }

    /// Appends the row of `record` to `rows`, or appends nothing and says why. Counts into `delta` what is not dirty but
    /// worth knowing: values that are not JSON, malformed text, values that were cut.
    ///
    /// # Errors
    /// [`Dirty`] for the first column whose value does not fit.
    pub fn convert(
        &self,
        partition: i32,
        record: &Record<'_>,
        rows: &mut RowEncoder,
        delta: &mut Delta,
    ) -> Result<(), Box<Dirty>> {
        self.convert_into(partition, record, delta, |_| Some(rows)).map(|_| ())
    }

    /// As [`Converter::convert`], for rows that go to different partitions: `pick` gives the encoder for a partition, named as
    /// Tunnel does (`pt=1,hh=2`; empty when all rows go to one place), or none to leave the record out. Says whether the row
    /// was appended.
    ///
    /// # Errors
    /// [`Dirty`] for a level or the first column whose value does not fit; for a level before `pick` is asked.
    pub fn convert_into<'e>(
        &self,
        partition: i32,
        record: &Record<'_>,
        delta: &mut Delta,
        pick: impl FnOnce(&str) -> Option<&'e mut RowEncoder>,
    ) -> Result<bool, Box<Dirty>> {
        let document = self.document(record, delta);
        let mut found = json::Found::default();
        if let Some(text) = &document
            && self.members.find_into(text, &mut found).is_err()
        {
            delta.non_json_values = delta.non_json_values.saturating_add(1);
            found = json::Found::default();
        }
        let target = match &self.route {
            Some(levels) => self.target(levels, partition, record, &found, delta)?,
            None => String::new(),
        };
        let Some(rows) = pick(&target) else { return Ok(false) };
        for cell in &self.cells {
            let scalar = match (&cell.source, &document) {
                // What the members were found in is the text that the bytes of the value come to. Only decoding that changed
                // nothing lends it.
                (Source::Value, Some(Cow::Borrowed(text)))
                    if self.value_type == FieldType::ByteArray
                        && matches!(cell.target_type, ColumnType::String)
                        && !text.is_empty() =>
                {
                    Ok(Scalar::Text(Cow::Borrowed(text)))
                }
                _ => self.scalar(&cell.source, partition, record, &found, delta),
            };
            let fits = scalar.and_then(|scalar| {
                scalar::write(&self.rules, cell.target, &cell.target_type, scalar, self.encoding, rows, delta)
            });
            if let Err(reason) = fits {
                rows.abandon_row();
                return Err(Box::new(Dirty {
                    source_index: cell.source_index,
                    source_name: cell.source_name.clone(),
                    target_name: cell.target_name.clone(),
                    target_type: cell.target_type.to_string(),
                    reason,
                }));
            }
        }
        rows.end_row();
        Ok(true)
    }

    /// The record's partition.
    fn target(
        &self,
        levels: &[route::Level],
        partition: i32,
        record: &Record<'_>,
        found: &json::Found<'_>,
        delta: &mut Delta,
    ) -> Result<String, Box<Dirty>> {
        let mut text = String::with_capacity(32);
        for level in levels {
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(&level.key);
            text.push('=');
            let start = text.len();
            let (mut of, mut name) = (0, "");
            let mut whole = Ok(());
            for piece in &level.pieces {
                let (source, format, source_format) = match piece {
                    route::Piece::Text(fixed) => {
                        text.push_str(fixed);
                        continue;
                    }
                    route::Piece::Value { source, source_index, source_name, format, source_format } => {
                        (of, name) = (*source_index, source_name.as_str());
                        (source, format.as_ref(), source_format.as_ref())
                    }
                };
                let zone = &self.rules.time_zone;
                whole = self.scalar(source, partition, record, found, delta).and_then(|scalar| {
                    route::append(&mut text, scalar, format, source_format, zone, self.encoding, delta)
                });
                if whole.is_err() {
                    break;
                }
            }
            whole = whole.and_then(|()| route::check(text.get(start..).unwrap_or_default(), &level.key_type));
            if let Err(reason) = whole {
                return Err(Box::new(Dirty {
                    source_index: of,
                    source_name: name.to_owned(),
                    target_name: format!("partition column {}", level.key),
                    target_type: level.key_type.to_string(),
                    reason,
                }));
            }
        }
        Ok(text)
    }

    /// The value as text, where a data column needs it; a missing value counts as one that is not JSON.
    fn document<'r>(&self, record: &Record<'r>, delta: &mut Delta) -> Option<Cow<'r, str>> {
        if self.members.is_empty() {
            return None;
        }
        let (text, malformed) = charset::decode(self.encoding, record.value.unwrap_or_default());
        if malformed {
            delta.malformed_text_values = delta.malformed_text_values.saturating_add(1);
        }
        Some(text)
    }

    fn scalar<'v>(
        &'v self,
        source: &'v Source,
        partition: i32,
        record: &Record<'v>,
        found: &json::Found<'v>,
        delta: &mut Delta,
    ) -> Result<Scalar<'v>, String> {
        Ok(match source {
            Source::Constant(text) => Scalar::Text(Cow::Borrowed(text)),
            Source::Partition => Scalar::Long(i64::from(partition)),
            Source::Offset => Scalar::Long(record.offset),
            Source::Timestamp if record.timestamp < 0 => Scalar::Null,
            Source::Timestamp => Scalar::Long(record.timestamp),
            Source::Key => self.field(self.key_type, record.key, delta)?,
            Source::Value => self.field(self.value_type, record.value, delta)?,
            Source::Headers => Scalar::Text(Cow::Owned(self.headers(record)?)),
            Source::Member(slot) => match found.raw(*slot).map(json::leaf) {
                None | Some(Leaf::Null) => Scalar::Null,
                Some(Leaf::Text { text, malformed }) => {
                    if malformed {
                        delta.malformed_text_values = delta.malformed_text_values.saturating_add(1);
                    }
                    Scalar::Text(text)
                }
            },
            Source::Field(index) => self.delimited(*index, record, delta),
        })
    }

    fn field<'r>(&self, kind: FieldType, bytes: Option<&'r [u8]>, delta: &mut Delta) -> Result<Scalar<'r>, String> {
        let Some(bytes) = bytes else { return Ok(Scalar::Null) };
        let wrong = |wanted: usize| {
            format!("{} bytes where {} takes {wanted}", bytes.len(), format!("{kind:?}").to_uppercase())
        };
        Ok(match kind {
            FieldType::ByteArray => Scalar::Bytes(bytes),
            FieldType::String => {
                let (text, malformed) = charset::decode(self.encoding, bytes);
                if malformed {
                    delta.malformed_text_values = delta.malformed_text_values.saturating_add(1);
                }
                Scalar::Text(text)
            }
            FieldType::Short => Scalar::Long(i16::from_be_bytes(bytes.try_into().map_err(|_| wrong(2))?).into()),
            FieldType::Integer => Scalar::Long(i32::from_be_bytes(bytes.try_into().map_err(|_| wrong(4))?).into()),
            FieldType::Long => Scalar::Long(i64::from_be_bytes(bytes.try_into().map_err(|_| wrong(8))?)),
            FieldType::Float => Scalar::Float(f32::from_be_bytes(bytes.try_into().map_err(|_| wrong(4))?)),
            FieldType::Double => Scalar::Double(f64::from_be_bytes(bytes.try_into().map_err(|_| wrong(8))?)),
        })
    }

    /// `[{"key":"k","value":"v"},…]` in record order; a null value is JSON null.
    fn headers(&self, record: &Record<'_>) -> Result<String, String> {
        let mut text = String::from("[");
        for header in record.headers.iter() {
            let header = header.map_err(|error| format!("damaged headers: {error}"))?;
            if text.len() > 1 {
                text.push(',');
            }
            text.push_str("{\"key\":");
            push_json_string(&mut text, &String::from_utf8_lossy(header.key));
            text.push_str(",\"value\":");
            match header.value {
                Some(value) => push_json_string(&mut text, &charset::decode(self.header_encoding, value).0),
                None => text.push_str("null"),
            }
            text.push('}');
        }
        text.push(']');
        Ok(text)
    }

    fn delimited<'r>(&self, index: usize, record: &Record<'r>, delta: &mut Delta) -> Scalar<'r> {
        let (Some(value), Some(delimiter)) = (record.value, &self.delimiter) else { return Scalar::Null };
        let (text, malformed) = charset::decode(self.encoding, value);
        if malformed && index == 0 {
            delta.malformed_text_values = delta.malformed_text_values.saturating_add(1);
        }
        let field = match text {
            Cow::Borrowed(text) => text.split(delimiter.as_str()).nth(index).map(Cow::Borrowed),
            Cow::Owned(text) => text.split(delimiter.as_str()).nth(index).map(|field| Cow::Owned(field.to_owned())),
        };
        field.map_or(Scalar::Null, Scalar::Text)
    }
}

fn push_json_string(out: &mut String, text: &str) {
    // Serialising a string cannot fail.
    out.push_str(&serde_json::to_string(text).unwrap_or_default());
}

/// The table columns that a job writes, by position in the schema, in the job's order; `None` for a partition column.
fn targets(columns: &WriterColumns, schema: &TableSchema) -> Result<Vec<Option<usize>>, ColumnError> {
    let WriterColumns::Named(names) = columns else { return Ok((0..schema.columns.len()).map(Some).collect()) };
    let find = |name: &String| match schema.columns.iter().position(|c| c.name.eq_ignore_ascii_case(name)) {
        Some(index) => Ok(Some(index)),
        None if schema.partition_keys.iter().any(|c| c.name.eq_ignore_ascii_case(name)) => Ok(None),
        None => Err(ColumnError::Unknown {
            column: name.clone(),
            known: schema.columns.iter().map(|c| c.name.clone()).collect(),
        }),
    };
    names.iter().map(find).collect()
}
