//! The row stream of Tunnel: rows to bytes and back.
//!
//! Protobuf-like, but no protobuf library reads it: numbers, arrays and timestamps carry no length, so the stream cannot be
//! understood, or even skipped, without the table's schema. A row is `(tag value)*` for its non-NULL columns, an end tag
//! and a CRC-32C; the stream ends with the number of rows and a CRC over the rows' CRCs. Field numbers are column places
//! counted from 1. Source of the format: the constants and writers of the official SDKs
//! (`ProtoWireConstant.java`, `wireconstants.py`).
//!
//! Never does I/O and never looks at a clock. Everything is little-endian.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic)]

mod compress;
mod decimal;
mod decoder;
mod encoder;
mod pack;
mod zstd;

pub use compress::{CompressError, Compression, Deflater, Inflater, Unpacker};
pub use decoder::RowDecoder;
pub use encoder::RowEncoder;
pub use pack::{Packer, unpacked};

/// Ends a row; its CRC follows.
const END_RECORD: u32 = 33_553_408;
/// The number of rows, in the trailer.
const META_COUNT: u32 = 33_554_430;
/// The CRC over the rows' CRCs, in the trailer.
const META_CHECKSUM: u32 = 33_554_431;

/// Ends the metrics that the trailer of a download may hold.
const METRICS_END: u32 = 33_554_176;

/// Wire type of varints.
const WIRE_VARINT: u32 = 0;
/// Wire type of 8 bytes.
const WIRE_FIXED64: u32 = 1;
/// Wire type of everything else; only text, bytes and decimals carry a length.
const WIRE_DELIMITED: u32 = 2;
/// Wire type of 4 bytes.
const WIRE_FIXED32: u32 = 5;

/// Nanoseconds in a second.
const NANOS_PER_SECOND: i32 = 1_000_000_000;

/// The wire type of a column's values.
const fn wire_type(type_: &super::ColumnType) -> u32 {
    use super::ColumnType as T;
    match type_ {
        T::TinyInt | T::SmallInt | T::Int | T::BigInt => WIRE_VARINT,
        T::Boolean | T::Datetime | T::Date | T::IntervalYearMonth => WIRE_VARINT,
        T::Float => WIRE_FIXED32,
        T::Double => WIRE_FIXED64,
        T::String | T::Binary | T::Char(_) | T::Varchar(_) | T::Json | T::Decimal(_) => WIRE_DELIMITED,
        T::Timestamp | T::TimestampNtz | T::IntervalDayTime => WIRE_DELIMITED,
        T::Array(_) | T::Map(..) | T::Struct(_) => WIRE_DELIMITED,
    }
}
