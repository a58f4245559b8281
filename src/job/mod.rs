//! Job files: DataWorks script mode and DataX JSON, read into one checked description.

pub mod datasource;
mod json;
pub mod report;
pub mod secret;
mod section;
pub mod spec;
mod suggest;

pub use datasource::OdpsConnection;
pub use report::{JobError, JobErrors, Note, Place, Severity};
pub use secret::Secret;
pub use spec::*;
