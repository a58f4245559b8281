//! Bytes to numbers and back: the primitives of Kafka's protocol and of Tunnel's row stream.
//!
//! No I/O, no clock, no runtime. A reader checks every length and count against the bytes at hand before anything is
//! allocated, and can fail but not panic. Kafka is big-endian, Tunnel rows are little-endian: each call names its order.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic)]

mod crc;
mod error;
mod pieces;
mod reader;
mod varint;
mod writer;

pub use crc::{Crc32c, GatheredCrc32c, crc32, crc32c};
pub use error::{DecodeError, DecodeFault};
pub(crate) use pieces::Pieces;
pub use reader::Reader;
pub(crate) use varint::short_uvarint;
pub use varint::{
    VARINT_BYTES_MAX, VARLONG_BYTES_MAX, put_uvarint, unzigzag32, unzigzag64, uvarint_len, zigzag32, zigzag64,
};
pub use writer::Writer;
