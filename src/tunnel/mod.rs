//! MaxCompute: tables, the row stream, upload and download sessions, and SQL instances.
//!
//! Layers, from bytes to calls: the pure files ([`ColumnType`], [`TableSchema`], [`PartitionSpec`], [`Value`], [`encode`],
//! [`sign`]) never do I/O; `session` holds the sans-io machines; `http` is the only file that names an HTTP client; the
//! client on top is what the rest of forebay calls. Nothing here knows about Kafka or about jobs.

mod client;
mod column_type;
mod credentials;
mod csv;
pub mod encode;
mod endpoint;
mod error;
mod http;
mod partition;
mod schema;
pub mod session;
pub mod sign;
mod text;
mod value;
mod xml;

pub use client::{
    AnswerKind, Download, MaxCompute, MaxComputeConfig, Pack, PackReceipt, ReadOptions, RowReader, SqlInstance,
    SqlOutput, StreamOptions, StreamUpload, Table, Upload, UploadOptions, UploadState, read_answer,
};
pub use column_type::{ColumnType, DecimalShape, StructField, TypeTextError};
pub use credentials::Credentials;
pub use encode::{RowDecoder, RowEncoder};
pub use error::{Error, ErrorKind};
pub use http::BodyError;
pub use partition::{PartitionError, PartitionSpec};
pub use schema::{Column, SchemaError, TableSchema};
pub use value::{Value, ValueError};
