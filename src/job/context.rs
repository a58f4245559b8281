//! What reading a job depends on besides the file.

use jiff::tz::TimeZone;

use super::datasource::Sources;
use super::report::Report;
use super::spec::{Charset, Shape};

/// What the job is read for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Purpose {
    /// To run it: names must resolve and addresses must be real.
    #[default]
    Run,
    /// To look at it: a masked address and a default data source that is not configured here are only told.
    Check,
}

/// What every part of a job is read with.
#[derive(Debug)]
pub(super) struct Context<'a> {
    pub(super) purpose: Purpose,
    pub(super) shape: Shape,
    pub(super) sources: &'a Sources,
    pub(super) report: &'a Report,
    /// The job's zone.
    pub(super) zone: TimeZone,
    /// Charset of texts that name none (`common.column.encoding`).
    pub(super) charset: Charset,
}
