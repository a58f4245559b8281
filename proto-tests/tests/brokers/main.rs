//! Every broker version, read record by record: what forebay reads is what the Java consumer of that version reads.
//!
//! A plain run takes the versions of `Version::PLAIN`; `./proto-tests/run brokers` takes all of them.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod cuts;
mod dump;
mod errors;
mod logins;
mod matrix;
