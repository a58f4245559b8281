//! Keys of a terminal, one by one, while something is drawn on it.

use std::io::{self, IsTerminal as _, Read as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use tokio::sync::mpsc;

/// A key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A character, Enter and Backspace included.
    Char(char),
    /// Escape alone.
    Escape,
    /// An arrow.
    Up,
    /// An arrow.
    Down,
    /// An arrow.
    Left,
    /// An arrow.
    Right,
}

/// The keys of standard input, which gives them one by one and does not show them meanwhile; and a screen of its own. Dropped, the
/// terminal is as it was.
#[derive(Debug)]
pub struct Keys {
    before: Termios,
    pressed: mpsc::Receiver<Key>,
}

/// Keys that wait while something is asked.
const KEYS_MAX: usize = 64;
/// Another screen, without a cursor.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l";
/// The first one again.
const LEAVE: &[u8] = b"\x1b[?25h\x1b[?1049l";

impl Keys {
    /// Takes the terminal over; none where standard input is no terminal.
    pub fn start() -> Option<Self> {
        let input = io::stdin();
        if !input.is_terminal() {
            return None;
        }
        let before = tcgetattr(&input).ok()?;
        let mut one_by_one = before.clone();
        // Ctrl-C stays a signal.
        one_by_one.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        one_by_one.special_codes[SpecialCodeIndex::VMIN] = 1;
        one_by_one.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(&input, OptionalActions::Now, &one_by_one).ok()?;
        drop(io::stdout().write_all(ENTER));
        let (sender, pressed) = mpsc::channel(KEYS_MAX);
        // It ends with the process: nothing wakes a read of a terminal.
        std::thread::spawn(move || {
            let mut bytes = [0; 64];
            while let Ok(count @ 1..) = io::stdin().read(&mut bytes) {
                for key in parse(bytes.get(..count).unwrap_or_default()) {
                    if sender.blocking_send(key).is_err() {
                        return;
                    }
                }
            }
        });
        Some(Self { before, pressed })
    }

    /// The next key; never, once the terminal is gone.
    pub async fn next(&mut self) -> Key {
        match self.pressed.recv().await {
            Some(key) => key,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        let mut stdout = io::stdout().lock();
        drop(stdout.write_all(LEAVE).and_then(|()| stdout.flush()));
        tcsetattr(io::stdin(), OptionalActions::Now, &self.before).ok();
    }
}

/// The keys of what came at once. An arrow comes whole.
fn parse(bytes: &[u8]) -> Vec<Key> {
    let text = String::from_utf8_lossy(bytes);
    let (mut keys, mut rest) = (Vec::new(), &*text);
    while let Some(first) = rest.chars().next() {
        let arrow =
            match rest.strip_prefix("\x1b[").or_else(|| rest.strip_prefix("\x1bO")).and_then(|r| r.chars().next()) {
                Some('A') => Some(Key::Up),
                Some('B') => Some(Key::Down),
                Some('C') => Some(Key::Right),
                Some('D') => Some(Key::Left),
                // Another key of this kind, however long, means nothing here.
                Some(_) => return keys,
                None => None,
            };
        let (key, length) = match (arrow, first) {
            (Some(arrow), _) => (arrow, 3),
            (None, '\x1b') => (Key::Escape, 1),
            (None, other) => (Key::Char(other), other.len_utf8()),
        };
        keys.push(key);
        rest = rest.get(length..).unwrap_or_default();
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_keys() {
        use Key::{Char, Down, Escape, Left, Right, Up};
        for (bytes, keys) in [
            (&b"q"[..], &[Char('q')][..]),
            (b"\x1b", &[Escape]),
            (b"\x1b[A\x1b[Bx\x1bOC\x1b[D", &[Up, Down, Char('x'), Right, Left]),
            (b"\x1b[15~", &[]),
            ("ä\r".as_bytes(), &[Char('ä'), Char('\r')]),
            (b"\xff", &[Char('\u{fffd}')]),
            (b"", &[]),
        ] {
            assert_eq!(parse(bytes), keys, "{}", bytes.escape_ascii());
        }
    }
}
