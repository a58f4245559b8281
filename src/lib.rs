//! A pure-Rust Kafka client, and a sync engine that moves Kafka topics into MaxCompute tables.
//!
//! | Module | What it is |
//! |---|---|
//! | [`kafka`] | the client: every broker from 0.11 to 4.4, record batches v2 and message sets v0/v1 |
//! | `tunnel` (feature `tunnel`) | MaxCompute: Tunnel sessions, the row stream, SQL instances |
//! | `job` (feature `sync`) | job files of DataWorks and DataX, read into one checked description |
//! | `sync` (feature `sync`) | the engine: ranges, conversion, blocks, commit order |
//! | `sandbox` (feature `sandbox`) | an embedded broker and a local MaxCompute for demos and tests |
//! | [`wire`], [`limits`] | protocol primitives, and every bound in one place |
//!
//! Features: `tls` (with `scram`), `gzip`, `snappy`, `lz4`, `zstd`, `tunnel`, `sync`, `cli`, `sandbox`; `static` is what the released agent is
//! built with. `ARCHITECTURE.md` in the repository says where to start a change.

pub mod kafka;
pub mod limits;
mod sorting;
mod timings;
#[cfg(feature = "tls")]
mod tls;
pub mod wire;

#[cfg(feature = "tunnel")]
pub mod tunnel;

#[cfg(feature = "sync")]
pub mod job;
#[cfg(feature = "sync")]
pub mod sync;

#[cfg(feature = "cli")]
pub mod agent;
#[cfg(feature = "cli")]
pub mod cli;

#[cfg(feature = "sandbox")]
pub mod sandbox;
