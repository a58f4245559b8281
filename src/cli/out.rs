//! The only place that prints.

pub(crate) mod table;

use std::io::Write as _;
use std::process::ExitCode;

use super::Failure;

/// Columns and rows of a terminal: as `COLUMNS` and `LINES` say, else as it says itself, else 80 and 24.
pub(super) fn terminal_size(terminal: &impl std::os::fd::AsFd) -> (usize, usize) {
    let (columns, rows) = crate::agent::terminal::size(terminal);
    let chosen = |variable: &str| std::env::var(variable).ok().and_then(|value| value.parse::<usize>().ok());
    let of = |variable: &str, said: usize, usual: usize| {
        chosen(variable).into_iter().chain([said]).find(|count| *count > 0).unwrap_or(usual)
    };
    (of("COLUMNS", columns, 80), of("LINES", rows, 24))
}

/// Prints to standard output; a reader that went away is not an error.
pub(crate) fn data(text: &str) {
    let mut stdout = std::io::stdout().lock();
    drop(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()));
}

/// Prints bytes to standard output as they are; says whether there still is a reader.
pub(crate) fn bytes(bytes: &[u8]) -> bool {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).is_ok()
}

/// Prints a line to standard error.
pub(crate) fn talk(line: &str) {
    let mut stderr = std::io::stderr().lock();
    drop(writeln!(stderr, "{line}"));
}

/// Prints a failure to standard error and gives its code.
pub(crate) fn failure(failure: &Failure) -> ExitCode {
    talk(&format!("error: {}", failure.message));
    if let Some(advice) = &failure.advice {
        talk(&format!("  next: {advice}"));
    }
    ExitCode::from(failure.code)
}

/// Prints what the command-line parser has to say, as `told` puts it: help to standard output, errors to standard error with
/// code 2.
pub(crate) fn usage(error: &clap::Error, told: impl Fn(&str) -> String) -> ExitCode {
    let text = told(&error.render().to_string());
    if error.use_stderr() {
        talk(text.trim_end());
        return ExitCode::from(super::failure::code::USAGE);
    }
    data(&text);
    ExitCode::SUCCESS
}
