//! Job files: DataWorks script mode and DataX JSON, read into one checked description.

pub mod datasource;
mod env;
mod json;
pub mod report;
pub mod secret;
mod section;
pub mod spec;
mod suggest;
mod toml;

pub use datasource::{Datasources, OdpsConfig, OdpsConnection, Sources, resolve_odps};
pub use report::{JobError, JobErrors, Note, Place, Severity};
pub use secret::Secret;
pub use spec::*;
