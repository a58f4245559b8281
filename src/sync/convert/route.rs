//! Which partition a record belongs to, where that depends on the record: a pure function of the record and the job.
//!
//! Rules of "Job semantics", section 4.5. A value that cannot be a partition makes the record dirty; the wall clock has no
//! part in it, so that a record read again goes to the same partition.

use std::fmt;

use jiff::tz::TimeZone;

use super::charset;
use super::scalar::{Scalar, quoted, shown, text};
use super::time::Moment;
use crate::job::{
    Charset, DateFormat, PartitionPiece, ReaderSpec, RoutedLevel, SourceColumn, WriterColumns, WriterSpec,
};
use crate::limits::PARTITION_VALUE_BYTES_MAX;
use crate::sync::stats::Delta;
use crate::tunnel::{ColumnType, TableSchema};

/// Why a job's routing does not fit its table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteError {
    /// The table has no partitions.
    NotPartitioned,
    /// A level or a column that the table's partitions do not have.
    UnknownKey {
        /// The name in the job.
        key: String,
        /// The table's partition columns.
        known: Vec<String>,
    },
    /// Partition columns that the job leaves out although it has others.
    Missing(Vec<String>),
    /// The job names the partition columns and says `supportDynamicPartition: false`.
    SwitchedOff,
    /// The job names the partition columns, and one partition for all rows too.
    PartitionToo(String),
    /// The job asks for routing, but does not say by what.
    NoColumns,
    /// Columns are matched by position, and there are not as many on both sides.
    Counts {
        /// Reader columns.
        reader: usize,
        /// Writer columns.
        writer: usize,
    },
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPartitioned => write!(f, "the table has no partitions, but the job routes rows to some"),
            Self::UnknownKey { key, known } => {
                write!(f, "\"{key}\" is no partition column of the table; it has {}", known.join(", "))
            }
            Self::Missing(keys) => {
                write!(f, "rows are routed to partitions, but the partition column {} is not named", keys.join(", "))
            }
            Self::SwitchedOff => {
                write!(f, "column names partition columns, but supportDynamicPartition is false")
            }
            Self::PartitionToo(text) => {
                write!(f, "column names partition columns, but partition is \"{text}\"; leave it blank")
            }
            Self::NoColumns => {
                write!(f, "the job asks for rows to be routed, but column names none of the table's partition columns")
            }
            Self::Counts { reader, writer } => write!(
                f,
                "rows are routed to partitions, so reader and writer need the same number of columns: {reader} and {writer}"
            ),
        }
    }
}

impl std::error::Error for RouteError {}

/// One level, ready to be computed.
#[derive(Clone, Debug)]
pub(super) struct Level {
    pub(super) key: String,
    pub(super) key_type: ColumnType,
    pub(super) pieces: Vec<Piece>,
}

/// Part of a level's value.
#[derive(Clone, Debug)]
pub(super) enum Piece {
    Text(String),
    Value {
        source: super::Source,
        source_index: usize,
        source_name: String,
        format: Option<DateFormat>,
        source_format: Option<DateFormat>,
    },
}

/// A level, and the position of its source column where it has one.
pub(super) type PlacedLevel = (RoutedLevel, Option<usize>);

/// What the job routes by, in the table's order of levels and with positions of source columns where they have one; `None`
/// when all rows go to one place.
pub(super) fn levels(
    reader: &ReaderSpec,
    writer: &WriterSpec,
    schema: &TableSchema,
) -> Result<Option<Vec<PlacedLevel>>, RouteError> {
    let keys = &schema.partition_keys;
    let names = match &writer.columns {
        WriterColumns::Named(names) => names.as_slice(),
        WriterColumns::All => &[],
    };
    let is_key = |name: &String| keys.iter().any(|key| key.name.eq_ignore_ascii_case(name));
    let by_columns = names.iter().any(is_key);
    let routing = &writer.routing;
    if by_columns {
        if routing.wanted == Some(false) {
            return Err(RouteError::SwitchedOff);
        }
        if !writer.partition.is_empty() {
            return Err(RouteError::PartitionToo(writer.partition.clone()));
        }
        if names.len() != reader.columns.len() {
            return Err(RouteError::Counts { reader: reader.columns.len(), writer: names.len() });
        }
    } else if routing.levels.is_empty() {
        return match routing.wanted == Some(true) || !routing.mapping.is_empty() {
            true if keys.is_empty() => Err(RouteError::NotPartitioned),
            true => Err(RouteError::NoColumns),
            false => Ok(None),
        };
    } else if keys.is_empty() {
        return Err(RouteError::NotPartitioned);
    }
    let known = || keys.iter().map(|key| key.name.clone()).collect::<Vec<_>>();
    for level in &routing.levels {
        if !is_key(&level.key) {
            return Err(RouteError::UnknownKey { key: level.key.clone(), known: known() });
        }
    }
    for format in &routing.mapping {
        if !is_key(&format.name) {
            return Err(RouteError::UnknownKey { key: format.name.clone(), known: known() });
        }
    }
    let (mut found, mut missing) = (Vec::with_capacity(keys.len()), Vec::new());
    for key in keys {
        let named = |name: &str| name.eq_ignore_ascii_case(&key.name);
        let by_pattern = routing.levels.iter().find(|level| named(&level.key));
        let by_column = names.iter().position(|name| named(name));
        let source = by_column.and_then(|index| Some((index, reader.columns.get(index)?)));
        match (by_pattern, source) {
            (Some(level), _) => found.push((RoutedLevel { key: key.name.clone(), ..level.clone() }, None)),
            (None, Some((index, source))) => {
                let format = routing.mapping.iter().find(|format| named(&format.name));
                let piece = PartitionPiece::Value {
                    source: source.clone(),
                    format: format.map(|format| format.format.clone()),
                    source_format: format.and_then(|format| format.source_format.clone()),
                };
                found.push((RoutedLevel { key: key.name.clone(), pieces: vec![piece] }, Some(index)));
            }
            (None, None) => missing.push(key.name.clone()),
        }
    }
    if missing.is_empty() { Ok(Some(found)) } else { Err(RouteError::Missing(missing)) }
}

/// The source columns that the levels name, in order.
pub(super) fn sources(levels: &[PlacedLevel]) -> impl Iterator<Item = &SourceColumn> {
    levels.iter().flat_map(|(level, _)| &level.pieces).filter_map(|piece| match piece {
        PartitionPiece::Value { source, .. } => Some(source),
        PartitionPiece::Text(_) => None,
    })
}

/// Appends what one source column gives to a level's value, or says why it cannot.
pub(super) fn append(
    out: &mut String,
    scalar: Scalar<'_>,
    format: Option<&DateFormat>,
    source_format: Option<&DateFormat>,
    zone: &TimeZone,
    encoding: Charset,
    delta: &mut Delta,
) -> Result<(), String> {
    let Some(format) = format else {
        if scalar == Scalar::Null {
            return Err("NULL cannot be a partition".to_owned());
        }
        out.push_str(&text(scalar, encoding, delta));
        return Ok(());
    };
    // Bytes of a key or value are text here, as in a text column.
    let scalar = match scalar {
        Scalar::Bytes(bytes) => Scalar::Text(charset::decode(encoding, bytes).0),
        other => other,
    };
    let moment = match (&scalar, source_format) {
        (Scalar::Null, _) => return Err("NULL cannot be a partition".to_owned()),
        (Scalar::Long(millis), _) => Moment::from_millis(*millis),
        (Scalar::Text(text), Some(source)) => source.read(text).map(Moment::Civil),
        (Scalar::Text(text), None) => Moment::parse(text).or_else(|| Moment::from_millis(text.parse().ok()?)),
        _ => None,
    };
    let moment = moment.ok_or_else(|| format!("{} is no date", shown(&scalar)))?;
    format.format_into(&moment.civil(zone), out);
    Ok(())
}

/// Checks a level's whole value: what a partition's name can hold and the type of its column.
pub(super) fn check(value: &str, key_type: &ColumnType) -> Result<(), String> {
    if value.trim().is_empty() {
        return Err(format!("{} cannot be a partition", quoted(value)));
    }
    if value.len() > PARTITION_VALUE_BYTES_MAX {
        return Err(format!(
            "{} has {} bytes; a partition's value has at most {PARTITION_VALUE_BYTES_MAX}",
            quoted(value),
            value.len()
        ));
    }
    // Blanks at an end are dropped by the service's clients, so two values would meet in one partition.
    let carried = !value.contains([',', '/', '\'', '"', '=']) && !value.contains(char::is_control);
    if !carried || value.trim() != value {
        return Err(format!(
            "{} holds a character that no partition's value can have (, / ' \" = or a control character), or a blank at an end",
            quoted(value)
        ));
    }
    let number = matches!(key_type, ColumnType::TinyInt | ColumnType::SmallInt | ColumnType::Int | ColumnType::BigInt);
    if number && value.parse::<i64>().is_err() {
        return Err(format!("{} is no {key_type}", quoted(value)));
    }
    Ok(())
}
