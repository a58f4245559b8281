//! The types of table columns and the text MaxCompute writes them in.

use std::fmt;

use crate::limits::{PEER_TEXT_BYTES_MAX, TYPE_DEPTH_MAX};

/// The type of a column, or of an element, key, value or field inside one.
///
/// The text form is MaxCompute's own: `bigint`, `decimal(10,2)`, `array<string>`, `map<string,bigint>`,
/// `struct<a:bigint,b:string>`. [`ColumnType::parse`] takes any case and spaces between the parts; `Display` prints lower
/// case without spaces, and the two are inverse to each other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ColumnType {
    /// 8-bit signed integer.
    TinyInt,
    /// 16-bit signed integer.
    SmallInt,
    /// 32-bit signed integer.
    Int,
    /// 64-bit signed integer.
    BigInt,
    /// 32-bit IEEE 754.
    Float,
    /// 64-bit IEEE 754.
    Double,
    /// True or false.
    Boolean,
    /// Text, UTF-8 by convention; MaxCompute keeps any bytes.
    String,
    /// Bytes.
    Binary,
    /// Text of a fixed length, in characters (1 to 255).
    Char(u32),
    /// Text of at most this many characters (1 to 65,535).
    Varchar(u32),
    /// Decimal number. `None` is the legacy `decimal` without parameters (54 digits, 18 of them after the point).
    Decimal(Option<DecimalShape>),
    /// Calendar day, counted from 1970-01-01.
    Date,
    /// Instant in milliseconds.
    Datetime,
    /// Instant in nanoseconds.
    Timestamp,
    /// Wall-clock time in nanoseconds, without a zone.
    TimestampNtz,
    /// JSON text.
    Json,
    /// Months.
    IntervalYearMonth,
    /// Seconds and nanoseconds.
    IntervalDayTime,
    /// Elements of one type; an element may be NULL.
    Array(Box<Self>),
    /// Keys and values.
    Map(Box<Self>, Box<Self>),
    /// Named fields in order, at least one.
    Struct(Vec<StructField>),
}

/// Precision and scale of a `decimal(p,s)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DecimalShape {
    /// Digits in all, 1 to 54.
    pub precision: u8,
    /// Digits after the point, at most `precision`.
    pub scale: u8,
}

/// One field of a `struct<…>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StructField {
    /// The field's name, without back-quotes.
    pub name: String,
    /// The field's type.
    pub type_: ColumnType,
}

/// A type text that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeTextError {
    /// The text, cut to [`PEER_TEXT_BYTES_MAX`].
    text: String,
    /// Where reading stopped, in bytes.
    at: usize,
    /// What should stand there.
    wanted: &'static str,
}

impl fmt::Display for TypeTextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "type \"{}\" at byte {}: {}", self.text.escape_debug(), self.at, self.wanted)
    }
}

impl std::error::Error for TypeTextError {}

impl ColumnType {
    /// Reads a type text such as `map<string,array<bigint>>`, in any case.
    ///
    /// # Errors
    /// A [`TypeTextError`] that shows the text and the place: an unknown name, wrong brackets or parameters, nesting beyond
    /// [`TYPE_DEPTH_MAX`], or text after the type.
    pub fn parse(text: &str) -> Result<Self, TypeTextError> {
        let mut parser = Parser { text, at: 0 };
        let parsed = parser.type_(0).and_then(|type_| {
            parser.spaces();
            if parser.rest().is_empty() { Ok(type_) } else { Err("end of the type expected") }
        });
        parsed.map_err(|wanted| TypeTextError {
            text: crate::tunnel::text::cut(text, PEER_TEXT_BYTES_MAX).to_owned(),
            at: parser.at,
            wanted,
        })
    }

    /// Whether this is ARRAY, MAP or STRUCT.
    pub const fn is_nested(&self) -> bool {
        matches!(self, Self::Array(_) | Self::Map(..) | Self::Struct(_))
    }

    /// Whether values are instants, or hold some: DATETIME and TIMESTAMP, which show differently in another time zone.
    pub fn holds_instant(&self) -> bool {
        match self {
            Self::Datetime | Self::Timestamp => true,
            Self::Array(element) => element.holds_instant(),
            Self::Map(key, value) => key.holds_instant() || value.holds_instant(),
            Self::Struct(fields) => fields.iter().any(|field| field.type_.holds_instant()),
            _ => false,
        }
    }

    /// Whether the value is bytes on the wire that a length precedes and that SQL shows as text:
    /// STRING, CHAR, VARCHAR and JSON, but not BINARY or DECIMAL.
    pub const fn is_text(&self) -> bool {
        matches!(self, Self::String | Self::Char(_) | Self::Varchar(_) | Self::Json)
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Char(length) => write!(f, "char({length})"),
            Self::Varchar(length) => write!(f, "varchar({length})"),
            Self::Decimal(Some(shape)) => write!(f, "decimal({},{})", shape.precision, shape.scale),
            Self::Array(element) => write!(f, "array<{element}>"),
            Self::Map(key, value) => write!(f, "map<{key},{value}>"),
            Self::Struct(fields) => {
                f.write_str("struct<")?;
                for (i, field) in fields.iter().enumerate() {
                    if i > 0 {
                        f.write_str(",")?;
                    }
                    if is_plain_name(&field.name) {
                        write!(f, "{}:{}", field.name, field.type_)?;
                    } else {
                        write!(f, "`{}`:{}", field.name.replace('`', "``"), field.type_)?;
                    }
                }
                f.write_str(">")
            }
            simple => f.write_str(simple.simple_name()),
        }
    }
}

impl ColumnType {
    /// The name without parameters: `varchar` for `varchar(10)`.
    pub const fn simple_name(&self) -> &'static str {
        match self {
            Self::TinyInt => "tinyint",
            Self::SmallInt => "smallint",
            Self::Int => "int",
            Self::BigInt => "bigint",
            Self::Float => "float",
            Self::Double => "double",
            Self::Boolean => "boolean",
            Self::String => "string",
            Self::Binary => "binary",
            Self::Char(_) => "char",
            Self::Varchar(_) => "varchar",
            Self::Decimal(_) => "decimal",
            Self::Date => "date",
            Self::Datetime => "datetime",
            Self::Timestamp => "timestamp",
            Self::TimestampNtz => "timestamp_ntz",
            Self::Json => "json",
            Self::IntervalYearMonth => "interval_year_month",
            Self::IntervalDayTime => "interval_day_time",
            Self::Array(_) => "array",
            Self::Map(..) => "map",
            Self::Struct(_) => "struct",
        }
    }
}

/// Whether a field name can stand in a type text without back-quotes.
fn is_plain_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(is_name_char)
}

fn is_name_char(c: char) -> bool {
    c == '_' || c == '$' || c.is_alphanumeric()
}

/// A cursor over a type text; its errors say what should have stood at `at`.
struct Parser<'a> {
    text: &'a str,
    at: usize,
}

type Parsed<T> = Result<T, &'static str>;

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn advance(&mut self, bytes: usize) {
        self.at = self.at.saturating_add(bytes);
    }

    fn spaces(&mut self) {
        let rest = self.rest();
        self.advance(rest.len().saturating_sub(rest.trim_start().len()));
    }

    /// Steps over `c` and the spaces before it, or leaves the cursor in front of what stands there instead.
    fn take(&mut self, c: char) -> bool {
        self.spaces();
        let there = self.rest().starts_with(c);
        if there {
            self.advance(c.len_utf8());
        }
        there
    }

    fn expect(&mut self, c: char, wanted: &'static str) -> Parsed<()> {
        if self.take(c) { Ok(()) } else { Err(wanted) }
    }

    fn word(&mut self) -> &'a str {
        self.spaces();
        let rest = self.rest();
        let end = rest.find(|c: char| !is_name_char(c)).unwrap_or(rest.len());
        self.advance(end);
        rest.get(..end).unwrap_or_default()
    }

    fn type_(&mut self, depth: usize) -> Parsed<ColumnType> {
        if depth >= TYPE_DEPTH_MAX {
            return Err("nested too deep");
        }
        let inner = depth.saturating_add(1);
        self.spaces();
        let start = self.at;
        let name = self.word().to_ascii_lowercase();
        Ok(match name.as_str() {
            "tinyint" => ColumnType::TinyInt,
            "smallint" => ColumnType::SmallInt,
            "int" => ColumnType::Int,
            "bigint" => ColumnType::BigInt,
            "float" => ColumnType::Float,
            "double" => ColumnType::Double,
            "boolean" => ColumnType::Boolean,
            "string" => ColumnType::String,
            "binary" => ColumnType::Binary,
            "char" => ColumnType::Char(self.text_length(255)?),
            "varchar" => ColumnType::Varchar(self.text_length(65_535)?),
            "decimal" => ColumnType::Decimal(self.decimal_shape()?),
            "date" => ColumnType::Date,
            "datetime" => ColumnType::Datetime,
            "timestamp" => ColumnType::Timestamp,
            "timestamp_ntz" => ColumnType::TimestampNtz,
            "json" => ColumnType::Json,
            "interval_year_month" => ColumnType::IntervalYearMonth,
            "interval_day_time" => ColumnType::IntervalDayTime,
            "array" => {
                self.expect('<', "'<' expected after array")?;
                let element = self.type_(inner)?;
                self.expect('>', "'>' expected after the element type")?;
                ColumnType::Array(Box::new(element))
            }
            "map" => {
                self.expect('<', "'<' expected after map")?;
                let key = self.type_(inner)?;
                self.expect(',', "',' expected after the key type")?;
                let value = self.type_(inner)?;
                self.expect('>', "'>' expected after the value type")?;
                ColumnType::Map(Box::new(key), Box::new(value))
            }
            "struct" => self.struct_fields(inner)?,
            _ => {
                self.at = start;
                return Err("not a type that forebay knows");
            }
        })
    }

    fn struct_fields(&mut self, depth: usize) -> Parsed<ColumnType> {
        self.expect('<', "'<' expected after struct")?;
        let mut fields = Vec::new();
        loop {
            let name = self.field_name()?;
            self.expect(':', "':' expected after the field name")?;
            fields.push(StructField { name, type_: self.type_(depth)? });
            if !self.take(',') {
                break;
            }
        }
        self.expect('>', "',' or '>' expected after the field type")?;
        Ok(ColumnType::Struct(fields))
    }

    fn field_name(&mut self) -> Parsed<String> {
        if !self.take('`') {
            let word = self.word();
            return if word.is_empty() { Err("a field name expected") } else { Ok(word.to_owned()) };
        }
        let mut name = String::new();
        loop {
            let rest = self.rest();
            let end = rest.find('`').ok_or("no closing back-quote")?;
            name.push_str(rest.get(..end).unwrap_or_default());
            self.advance(end.saturating_add(1));
            // A doubled back-quote stands for itself.
            if !self.rest().starts_with('`') {
                break;
            }
            name.push('`');
            self.advance(1);
        }
        if name.is_empty() { Err("an empty field name") } else { Ok(name) }
    }

    fn number(&mut self) -> Parsed<u32> {
        self.spaces();
        let start = self.at;
        let word = self.word();
        word.parse().map_err(|_| {
            self.at = start;
            "a number expected"
        })
    }

    fn text_length(&mut self, max: u32) -> Parsed<u32> {
        self.expect('(', "'(' and a length expected")?;
        let length = self.number()?;
        if length == 0 || length > max {
            return Err("a length out of range");
        }
        self.expect(')', "')' expected after the length")?;
        Ok(length)
    }

    fn decimal_shape(&mut self) -> Parsed<Option<DecimalShape>> {
        if !self.take('(') {
            return Ok(None);
        }
        let precision = self.number()?;
        let scale = if self.take(',') { self.number()? } else { 0 };
        self.expect(')', "')' expected after the precision and scale")?;
        // 38 digits in the 2.0 type system, 54 in the legacy one.
        let shape = (u8::try_from(precision), u8::try_from(scale));
        match shape {
            (Ok(precision @ 1..=54), Ok(scale)) if scale <= precision => Ok(Some(DecimalShape { precision, scale })),
            _ => Err("precision and scale out of range"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn texts_survive_a_round_trip() {
        for text in [
            "tinyint",
            "smallint",
            "int",
            "bigint",
            "float",
            "double",
            "boolean",
            "string",
            "binary",
            "char(5)",
            "varchar(65535)",
            "decimal",
            "decimal(10,2)",
            "date",
            "datetime",
            "timestamp",
            "timestamp_ntz",
            "json",
            "interval_year_month",
            "interval_day_time",
            "array<map<string,struct<a:bigint,b:array<decimal(38,18)>>>>",
            "struct<`a b`:int,`x``y`:string,名:date>",
        ] {
            assert_eq!(ColumnType::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn case_and_spaces_do_not_matter() {
        let loose = ColumnType::parse("  MAP < String , Decimal ( 10 , 2 ) > ").unwrap();
        assert_eq!(loose.to_string(), "map<string,decimal(10,2)>");
        assert_eq!(ColumnType::parse("DECIMAL(10)").unwrap().to_string(), "decimal(10,0)");
        assert_eq!(ColumnType::parse("struct<`a`:BIGINT>").unwrap().to_string(), "struct<a:bigint>");
    }

    #[test]
    fn wrong_texts_are_refused_with_a_place() {
        for (text, at) in [
            ("", 0),
            ("blob", 0),
            ("bigint x", 7),
            ("array", 5),
            ("array<>", 6),
            ("array<bigint", 12),
            ("map<string>", 10),
            ("struct<>", 7),
            ("struct<a bigint>", 9),
            ("struct<`a:bigint>", 8),
            ("struct<``:bigint>", 9),
            ("varchar", 7),
            ("char(0)", 6),
            ("char(256)", 8),
            ("decimal(5,6)", 12),
            ("decimal(99999999999)", 8),
            ("decimal(-1)", 8),
        ] {
            let error = ColumnType::parse(text).unwrap_err();
            assert_eq!(error.at, at, "{text}: {error}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| format!("{}bigint{}", "array<".repeat(depth), ">".repeat(depth));
        assert!(ColumnType::parse(&nested(TYPE_DEPTH_MAX - 1)).is_ok());
        assert!(ColumnType::parse(&nested(TYPE_DEPTH_MAX)).is_err());
        assert!(ColumnType::parse(&"array<".repeat(100_000)).is_err());
    }

    #[test]
    fn errors_do_not_carry_a_megabyte() {
        let error = ColumnType::parse(&"é".repeat(1_000_000)).unwrap_err();
        assert!(error.to_string().len() < 2 * PEER_TEXT_BYTES_MAX);
    }
}
