//! One value of a row, free of any buffer.

use super::column_type::ColumnType;

/// A value of any column type. Which variants a type takes is said at each variant.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// SQL NULL, of any type.
    Null,
    /// TINYINT, SMALLINT, INT, BIGINT.
    BigInt(i64),
    /// BOOLEAN.
    Boolean(bool),
    /// FLOAT.
    Float(f32),
    /// DOUBLE.
    Double(f64),
    /// STRING, CHAR, VARCHAR, JSON and BINARY.
    Bytes(Vec<u8>),
    /// DECIMAL as its text, the scale kept (`12.340`).
    Decimal(String),
    /// DATE, days since 1970-01-01.
    Date(i64),
    /// DATETIME, milliseconds since 1970-01-01T00:00:00Z.
    Datetime(i64),
    /// TIMESTAMP (since 1970-01-01T00:00:00Z) and TIMESTAMP_NTZ (wall-clock time counted as if it were UTC).
    Timestamp {
        /// Whole seconds, rounded down, so that `nanos` is never negative.
        seconds: i64,
        /// 0 to 999,999,999.
        nanos: i32,
    },
    /// INTERVAL_YEAR_MONTH, months.
    IntervalYearMonth(i64),
    /// INTERVAL_DAY_TIME.
    IntervalDayTime {
        /// Whole seconds.
        seconds: i64,
        /// Less than a second, either sign.
        nanos: i32,
    },
    /// ARRAY.
    Array(Vec<Self>),
    /// MAP, as pairs in wire order.
    Map(Vec<(Self, Self)>),
    /// STRUCT, one value a field in the type's order.
    Struct(Vec<Self>),
}

impl Value {
    /// A STRING, CHAR, VARCHAR or JSON value.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Bytes(text.into().into_bytes())
    }

    /// Whether this is NULL.
    pub const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The variant's name, for error messages.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::BigInt(_) => "integer",
            Self::Boolean(_) => "boolean",
            Self::Float(_) => "float",
            Self::Double(_) => "double",
            Self::Bytes(_) => "bytes",
            Self::Decimal(_) => "decimal",
            Self::Date(_) => "date",
            Self::Datetime(_) => "datetime",
            Self::Timestamp { .. } => "timestamp",
            Self::IntervalYearMonth(_) => "year-month interval",
            Self::IntervalDayTime { .. } => "day-time interval",
            Self::Array(_) => "array",
            Self::Map(_) => "map",
            Self::Struct(_) => "struct",
        }
    }
}

/// A value that the type of its column cannot hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueError {
    pub(super) type_: ColumnType,
    pub(super) found: &'static str,
    pub(super) reason: &'static str,
}

impl std::fmt::Display for ValueError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a {} value for type {}: {}", self.found, self.type_, self.reason)
    }
}

impl std::error::Error for ValueError {}

/// The range of an integer type, both ends inclusive; `None` for other types.
pub(super) const fn integer_range(type_: &ColumnType) -> Option<(i64, i64)> {
    Some(match type_ {
        ColumnType::TinyInt => (i8::MIN as i64, i8::MAX as i64),
        ColumnType::SmallInt => (i16::MIN as i64, i16::MAX as i64),
        ColumnType::Int => (i32::MIN as i64, i32::MAX as i64),
        ColumnType::BigInt => (i64::MIN, i64::MAX),
        _ => return None,
    })
}
