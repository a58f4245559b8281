//! The command line: an assembly of the library's parts. Standard output is data, standard error is talk.

mod agent;
mod args;
mod cat;
mod check;
mod connection;
mod control;
mod convert;
mod datax;
#[cfg(feature = "sandbox")]
mod demo;
mod engine;
mod failure;
mod job;
mod kafka;
mod manual;
mod meaning;
pub(crate) mod out;
mod personality;
mod plan;
mod preview;
mod resolve;
mod run;
#[cfg(feature = "sandbox")]
mod sandbox;
mod sql;
mod status;
mod top;
mod tunnel;

use std::ffi::OsString;
use std::pin::Pin;
use std::process::ExitCode;

use clap::Parser as _;

pub(crate) use failure::Failure;

use crate::agent::logging;

/// Runs the program with `arguments` (the first is the program's name) and says how it should exit.
///
/// The codes are those of `README.md`, section "Exit codes".
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let typed: Vec<OsString> = arguments.into_iter().collect();
    let is_datax = personality::is_datax(&typed);
    let arguments = match is_datax {
        true => match datax::translate(typed.iter().skip(1).cloned()) {
            Some(translated) => {
                if !translated.ignored.is_empty() {
                    out::talk(&format!("note: {} has no effect: there is no JVM", translated.ignored.join(" ")));
                }
                translated.arguments
            }
            None => {
                out::talk(datax::USAGE);
                return ExitCode::from(255);
            }
        },
        false => personality::resolve(typed.clone()),
    };
    // kcat's letters mean other things than ours, so its command line is read by rules of its own.
    let command: Pin<Box<dyn Future<Output = Result<ExitCode, Failure>>>> = match arguments.as_slice() {
        [_, word, rest @ ..] if word == "cat" => {
            logging::start(log::LevelFilter::Error, logging::LogFormat::Text);
            let rest = rest.to_vec();
            Box::pin(async move { Ok(cat::main(rest).await) })
        }
        _ => match args::Args::try_parse_from(arguments) {
            Ok(args) => {
                args.start_log();
                Box::pin(args.command.run())
            }
            Err(error) => return out::usage(&error, |text| personality::speak(&typed, text)),
        },
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("worker").enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return out::failure(&Failure::new(1, format!("cannot start the runtime: {error}"))),
    };
    let code = runtime.block_on(command).unwrap_or_else(|failure| out::failure(&failure));
    if is_datax { datax::exit_code(code) } else { code }
}
