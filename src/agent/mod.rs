//! Process concerns of a long-running forebay: its jobs, its log, what systemd hears, and what it shows over HTTP and hears over its control socket.

pub mod control;
pub mod events;
pub mod gmond;
mod http;
pub mod jobs;
pub mod keys;
pub mod logging;
mod metrics;
pub mod process;
pub mod served;
pub mod site;
pub mod systemd;
pub mod terminal;
pub mod token;

pub use http::ask;
