//! MaxCompute: tables, the row stream, upload sessions and SQL instances.
//!
//! Layers, from bytes to calls: the pure files ([`ColumnType`], [`TableSchema`], [`PartitionSpec`], [`Value`], [`encode`],
//! [`sign`]) never do I/O; `session` holds the sans-io machines; `http` is the only file that names an HTTP client; the
//! client on top is what the rest of forebay calls. Nothing here knows about Kafka or about jobs.

mod column_type;
pub mod encode;
mod error;
mod partition;
mod schema;
pub mod session;
pub mod sign;
mod text;
mod value;
mod xml;

pub use column_type::{ColumnType, DecimalShape, StructField, TypeTextError};
pub use encode::{RowDecoder, RowEncoder};
pub use error::{Error, ErrorKind};
pub use partition::{PartitionError, PartitionSpec};
pub use schema::{Column, SchemaError, TableSchema};
pub use value::{Value, ValueError};
