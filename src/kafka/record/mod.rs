//! What a topic partition is made of: record batches (magic 2) and the message sets before them (magic 0 and 1).
//!
//! [`RecordSet`] is the records field of one partition of a fetch answer. Iterating it gives [`Batch`]es from their headers
//! alone; [`Batch::decode`] checks the checksum, decompresses and gives [`Records`], which lend each record as slices of one
//! buffer. [`BatchBuilder`] and [`LegacyBuilder`] write what the readers read.
//!
//! Never: I/O, a clock, an allocation or a reference count per record, a length believed before it is compared with the
//! bytes at hand, output of a codec beyond the bound given to [`Decompressor::new`].
//!
//! The invariant that matters: a consumer's progress is [`Batch::next_offset`], taken from the header. It is not the number
//! of records, nor the last record's offset plus one, because compaction removes records and keeps the batch's last offset.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic)]

mod batch;
mod build;
mod codec;
mod compress;
mod legacy;
mod legacy_build;
mod set;
mod view;

#[cfg(test)]
mod tests;

pub use batch::{Batch, ControlType};
pub use build::{BatchBuilder, BatchOptions, BuildError, end_marker, stamp_batch, stamp_producer};
pub use codec::{Codec, SnappyForm, TimestampType};
pub use compress::Decompressor;
pub use legacy_build::{LegacyBuilder, LegacyMagic, LegacyOptions};
pub use set::{Batches, RecordSet};
pub use view::{Header, HeaderIter, Headers, Record, RecordIter, Records};
