//! Of the Tunnel client the rows.

#[path = "../../../src/tunnel/column_type.rs"]
mod column_type;
#[path = "../../../src/tunnel/encode/mod.rs"]
pub mod encode;
#[path = "../../../src/tunnel/partition.rs"]
mod partition;
#[path = "../../../src/tunnel/schema.rs"]
mod schema;
#[path = "../../../src/tunnel/text.rs"]
mod text;
#[path = "../../../src/tunnel/value.rs"]
mod value;

pub use column_type::{ColumnType, DecimalShape, StructField, TypeTextError};
pub use encode::{RowDecoder, RowEncoder};
pub use partition::{PartitionError, PartitionSpec};
pub use schema::{Column, SchemaError, TableSchema};
pub use value::{Value, ValueError};
