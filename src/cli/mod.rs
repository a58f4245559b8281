//! The command line: an assembly of the library's parts. Standard output is data, standard error is talk.

mod args;
mod check;
mod connection;
#[cfg(feature = "sandbox")]
mod demo;
mod engine;
mod failure;
mod job;
mod kafka;
pub(crate) mod out;
mod personality;
mod run;
#[cfg(feature = "sandbox")]
mod sandbox;
mod sql;
mod tunnel;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;

pub(crate) use failure::Failure;

/// Runs the program with `arguments` (the first is the program's name) and says how it should exit.
///
/// The codes are those of `README.md`, section "Exit codes".
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match args::Args::try_parse_from(personality::resolve(arguments)) {
        Ok(args) => args,
        Err(error) => return out::usage(&error),
    };
    args.start_log();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("worker").enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return out::failure(&Failure::new(1, format!("cannot start the runtime: {error}"))),
    };
    match runtime.block_on(args.command.run()) {
        Ok(code) => code,
        Err(failure) => out::failure(&failure),
    }
}
