//! The sync engine: what a bounded job reads, how a record becomes a row, when blocks close, and the order of commits.
//!
//! Pure parts: [`plan`] (ranges), [`end`] (the end of the job), [`convert`] and [`json`] (record to row), [`ledger`] (the account of
//! offsets), [`flow`] (blocks at once), [`budget`] (memory), [`stall`] (who waits), [`status`] (what a job tells about itself), [`rate`], [`dirty`], [`report`]. The shell: [`mod@run`] and,
//! inside it, sessions, lanes and blocks. A lane fetches some of the
//! partitions and fills one block after another; nothing in the table changes before the one commit, and the group's offsets
//! move only after it.

mod block;
mod blocks;
pub mod budget;
mod commit_bytes;
mod connect;
pub mod convert;
mod crash;
mod dead_letters;
pub mod deliver;
pub mod dirty;
pub mod end;
mod error;
mod finish;
pub mod flow;
pub mod intent;
pub mod json;
mod lane;
pub mod ledger;
pub mod look;
pub mod outlook;
pub mod plan;
mod prepare;
pub mod preview;
pub mod progress;
pub mod rate;
pub mod report;
pub mod run;
mod sessions;
pub mod stall;
pub mod stats;
pub mod status;
pub mod step;
mod stream;
mod summary;

pub use error::{RunError, RunErrorKind, StopCause, TargetState};
pub use summary::{OffsetsOutcome, PartitionSummary, Summary, TargetSummary};
