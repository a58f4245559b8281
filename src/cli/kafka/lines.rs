//! Lines of standard input, as they come.

use std::io::{BufRead, Read as _};

use tokio::sync::mpsc;

/// Longest line, in bytes; no broker takes a record of that size by default.
const LINE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Lines read ahead.
const AHEAD: usize = 1_000;

/// Reads lines from `input` in a thread of its own, since standard input can only be read by blocking. The line's end
/// (`\n` or `\r\n`) is taken off; a last line without one counts; an error is the last thing that comes.
pub(super) fn read(input: impl BufRead + Send + 'static) -> mpsc::Receiver<Result<Vec<u8>, String>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    std::thread::spawn(move || {
        let mut input = input;
        while let Some(line) = next(&mut input).transpose() {
            let failed = line.is_err();
            if sender.blocking_send(line).is_err() || failed {
                return;
            }
        }
    });
    receiver
}

fn next(input: &mut impl BufRead) -> Result<Option<Vec<u8>>, String> {
    let mut line = Vec::new();
    let limit = LINE_BYTES_MAX as u64 + 2;
    let read = input.take(limit).read_until(b'\n', &mut line).map_err(|error| format!("standard input: {error}"))?;
    if read == 0 {
        return Ok(None);
    }
    if line.pop_if(|byte| *byte == b'\n').is_some() {
        let _ = line.pop_if(|byte| *byte == b'\r');
    }
    if line.len() > LINE_BYTES_MAX {
        return Err(format!("standard input: a line of more than {LINE_BYTES_MAX} bytes"));
    }
    Ok(Some(line))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn empty_lines_count_and_ends_are_taken_off() {
        let mut lines = read(&b"123\n\nabc\r\n\xff\x00\nlast"[..]);
        let mut got = Vec::new();
        while let Some(line) = lines.recv().await {
            got.push(line.unwrap());
        }
        assert_eq!(got, [&b"123"[..], b"", b"abc", b"\xff\x00", b"last"]);
    }

    #[tokio::test]
    async fn no_input_is_no_line() {
        assert!(read(&b""[..]).recv().await.is_none());
    }
}
