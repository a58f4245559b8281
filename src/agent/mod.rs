//! Process concerns of a long-running forebay.

pub mod logging;
