//! Upload and download sessions as machines: what to ask next, when, and when to stop.
//!
//! [`Retry`] decides about one call that can be repeated; [`Commit`] brings a session from "all blocks are sent" to
//! "committed", "not committed" or "unknown"; [`Slots`] and [`PackRetry`] say where a pack of a stream goes and what follows
//! when that fails; [`Reading`] brings a range of rows here over as many requests as it
//! takes. None knows a socket or a clock: time is an argument, as the time that has passed since a moment of the caller's
//! choice.

mod commit;
mod reading;
mod retry;
mod status;
mod stream;

pub use commit::{Commit, CommitAnswer, CommitFailure, CommitRequest};
pub use reading::{Reading, ShortAnswer, SurplusRow};
pub use retry::{Fault, FaultClass, Next, Retry, RetryPolicy};
pub use status::{UploadStatus, UploadedBlock};
pub use stream::{PackFault, PackLimits, PackNext, PackRetry, Route, Slot, Slots};
