//! Job files: DataWorks script mode and DataX JSON, read into one checked description.

mod columns;
pub mod datasource;
mod env;
mod json;
mod partition;
mod range;
pub mod report;
pub mod secret;
mod section;
mod sets;
pub mod spec;
mod suggest;
mod toml;
pub mod vars;
mod zone;

pub use datasource::{Datasources, OdpsConfig, OdpsConnection, Sources, resolve_odps};
pub use report::{JobError, JobErrors, Note, Place, Severity};
pub use secret::Secret;
pub use spec::*;
