//! Process concerns of a long-running forebay.

pub mod jobs;
pub mod logging;
pub mod systemd;
pub mod terminal;
