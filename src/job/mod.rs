//! Job files: DataWorks script mode and DataX JSON, read into one checked description.

pub mod datasource;
pub mod report;
pub mod secret;
pub mod spec;

pub use datasource::OdpsConnection;
pub use report::{JobError, JobErrors, Note, Place, Severity};
pub use secret::Secret;
pub use spec::*;
