//! Pieces of the path from broker to MaxCompute, each as a case that can be run on its own: timed by `cargo bench`, counted in
//! instructions by `./benches/instructions`.
//!
//! The measured code is the library's own, file for file, but only its pure parts: sockets, TLS and the command line would cost a
//! fresh clone minutes of compilation and run in no case. That this compiles is the rule of ARCHITECTURE.md at work: the
//! pure parts import nothing else.

#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    unnameable_types,
    reason = "of each file only what a case needs is called"
)]

mod cases;
#[path = "../../../src/job/mod.rs"]
mod job;
mod kafka;
#[path = "../../../src/limits.rs"]
mod limits;
#[path = "../../../src/sorting.rs"]
mod sorting;
mod sync;
mod tunnel;
#[path = "../../../src/wire/mod.rs"]
mod wire;

pub use cases::{Case, Run, cases, plain_records};
