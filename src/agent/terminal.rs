//! The one line of a terminal that is drawn again and again, below the log.
//!
//! Log lines go above it: each write takes the line away, writes, and draws it again, under one lock.

use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The line as it stands there; empty when there is none.
static LINE: Mutex<String> = Mutex::new(String::new());

/// Back to the first column, and everything behind it gone.
const ERASE: &str = "\r\x1b[K";

/// Whether standard error is a terminal that can be drawn on; `kind` is what `TERM` says.
pub fn can_draw(kind: Option<&str>) -> bool {
    io::stderr().is_terminal() && kind.is_some_and(|kind| !kind.is_empty() && kind != "dumb")
}

/// Columns and rows of a terminal, as it says itself; 0 for what it does not know.
pub fn size(terminal: &impl AsFd) -> (usize, usize) {
    rustix::termios::tcgetwinsize(terminal).map_or((0, 0), |size| (size.ws_col.into(), size.ws_row.into()))
}

/// Shows `line` in place of the one before; it is cut to `columns`, since a line that wraps could not be taken away again.
pub fn draw(line: &str, columns: usize, in_colour: bool) {
    let shown = fitted(line, columns);
    let painted = match shown.split_once("  ").filter(|_| in_colour) {
        Some((name, rest)) => format!("\x1b[1m{name}\x1b[0m  {rest}"),
        None => shown,
    };
    let mut standing = standing();
    if *standing != painted {
        drop(io::stderr().lock().write_all(format!("{ERASE}{painted}").as_bytes()));
        *standing = painted;
    }
}

/// Takes the line away for good.
pub fn clear() {
    let mut standing = standing();
    if !standing.is_empty() {
        drop(io::stderr().lock().write_all(ERASE.as_bytes()));
        standing.clear();
    }
}

/// Writes a whole line of the log, above the drawn one.
pub(super) fn write(text: &str) {
    let standing = standing();
    let mut stderr = io::stderr().lock();
    // One write a line, so that lines of two threads do not mix.
    drop(match standing.is_empty() {
        true => stderr.write_all(text.as_bytes()),
        false => stderr.write_all(format!("{ERASE}{text}{standing}").as_bytes()),
    });
}

fn standing() -> MutexGuard<'static, String> {
    LINE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The part of `line` that fits, without characters that would steer the terminal. The last column stays free: some terminals wrap
/// as soon as it is written.
fn fitted(line: &str, columns: usize) -> String {
    line.chars().filter(|c| !c.is_control()).take(columns.saturating_sub(1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_never_wraps_and_never_steers() {
        assert_eq!(fitted("job  12 rows", 80), "job  12 rows");
        assert_eq!(fitted("job  12 rows", 6), "job  ");
        assert_eq!(fitted("j\x1b[2Jx\n", 80), "j[2Jx");
        assert_eq!(fitted("job", 0), "");
    }
}
