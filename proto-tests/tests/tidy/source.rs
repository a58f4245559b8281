//! The tree as text: which files there are, and a Rust file without its comments and literals.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use forebay_proto_tests::scratch::repository_folder;

/// Folders that hold nothing of ours.
const FOREIGN: [&str; 6] = [".git", "target", ".cache", "scratch", "__pycache__", "node_modules"];

/// One Rust file.
#[derive(Clone)]
pub(crate) struct Source {
    /// Relative to the repository's root.
    pub(crate) path: String,
    /// As it stands.
    pub(crate) text: String,
    /// The same lines, with comments and the insides of string and character literals blanked.
    pub(crate) code: String,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), code: blank(text) }
    }

    /// Whether the whole file is unit tests: `tests.rs`, or in a folder `tests` below `src`.
    pub(crate) fn is_unit_test(&self) -> bool {
        self.path.starts_with("src/") && (self.path.ends_with("/tests.rs") || self.path.contains("/tests/"))
    }

    /// The code before the file's unit tests, which by the house rules close the file.
    pub(crate) fn shipped(&self) -> &str {
        if self.is_unit_test() {
            return "";
        }
        let end = self.code.find("#[cfg(test)]\nmod tests").unwrap_or(self.code.len());
        self.code.get(..end).unwrap_or_default()
    }

    /// `path:line` of a byte position in `text` or `code`.
    pub(crate) fn place(&self, position: usize) -> String {
        let before = self.text.get(..position).unwrap_or(&self.text);
        format!("{}:{}", self.path, before.matches('\n').count() + 1)
    }
}

/// All Rust files whose path begins with `under`, sorted; read once for all tests.
pub(crate) fn rust_files(under: &str) -> impl Iterator<Item = &'static Source> {
    static SOURCES: OnceLock<Vec<Source>> = OnceLock::new();
    let sources = SOURCES.get_or_init(|| {
        let files = all_files().into_iter().filter(|path| path.ends_with(".rs"));
        files.map(|path| Source::new(&path, &read(&path))).collect()
    });
    let under = under.to_owned();
    sources.iter().filter(move |source| source.path.starts_with(&under))
}

/// All files of the repository, relative to its root, sorted.
pub(crate) fn all_files() -> Vec<String> {
    files(repository_folder())
}

/// A file as text; what is not UTF-8 is shown as such.
pub(crate) fn read(path: &str) -> String {
    let bytes = fs::read(repository_folder().join(path)).unwrap_or_else(|error| panic!("cannot read {path}: {error}"));
    String::from_utf8_lossy(&bytes).into_owned()
}

fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("cannot read {}: {error}", folder.display()));
        for entry in entries.flatten() {
            let path = entry.path();
            let name = entry.file_name();
            if FOREIGN.iter().any(|foreign| name == *foreign) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(relative) = path.strip_prefix(repository_folder()) {
                found.push(relative.to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    found
}

/// Replaces comments and the insides of literals by blanks; positions and line breaks stay where they are.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let at = |index: usize| bytes.get(index).copied().unwrap_or(0);
    let mut code = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        let end = match (at(index), at(index + 1)) {
            (b'/', b'/') => find(bytes, index, |rest| rest.starts_with(b"\n")),
            (b'/', b'*') => end_of_block_comment(bytes, index),
            (b'"', _) => end_of_string(bytes, index),
            (b'r', b'"' | b'#') if !is_word(at(index.wrapping_sub(1))) || at(index.wrapping_sub(1)) == b'b' => {
                end_of_raw_string(bytes, index).unwrap_or(index + 1)
            }
            (b'\'', b'\\') => end_of_character(bytes, index),
            // Neither a lifetime nor a label: those have no quote two characters on.
            (b'\'', _) if text.get(index + 1..).and_then(|rest| rest.chars().nth(1)) == Some('\'') => {
                end_of_character(bytes, index)
            }
            _ => index + 1,
        };
        if end == index + 1 {
            code.push(at(index));
        } else {
            code.extend(bytes.get(index..end).unwrap_or_default().iter().map(|byte| match byte {
                b'\n' => b'\n',
                _ => b' ',
            }));
        }
        index = end;
    }
    String::from_utf8(code).expect("whole characters were blanked or kept")
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn find(bytes: &[u8], from: usize, found: impl Fn(&[u8]) -> bool) -> usize {
    (from..bytes.len()).find(|index| bytes.get(*index..).is_some_and(&found)).unwrap_or(bytes.len())
}

fn end_of_block_comment(bytes: &[u8], start: usize) -> usize {
    let (mut depth, mut index) = (0_usize, start);
    while index < bytes.len() {
        match bytes.get(index..index + 2) {
            Some(b"/*") => (depth, index) = (depth + 1, index + 2),
            Some(b"*/") if depth == 1 => return index + 2,
            Some(b"*/") => (depth, index) = (depth - 1, index + 2),
            _ => index += 1,
        }
    }
    bytes.len()
}

fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let mut index = start + 1;
    while let Some(byte) = bytes.get(index) {
        match byte {
            b'\\' => index += 2,
            b'"' => return index + 1,
            _ => index += 1,
        }
    }
    bytes.len()
}

fn end_of_raw_string(bytes: &[u8], start: usize) -> Option<usize> {
    let hashes = bytes.get(start + 1..)?.iter().take_while(|byte| **byte == b'#').count();
    let open = start + 1 + hashes;
    (bytes.get(open) == Some(&b'"')).then_some(())?;
    let close = [b"\"".as_slice(), &vec![b'#'; hashes]].concat();
    Some((find(bytes, open + 1, |rest| rest.starts_with(&close)) + close.len()).min(bytes.len()))
}

fn end_of_character(bytes: &[u8], start: usize) -> usize {
    let from = if bytes.get(start + 1) == Some(&b'\\') { start + 3 } else { start + 1 };
    (find(bytes, from, |rest| rest.starts_with(b"'")) + 1).min(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_in_place() {
        let text =
            "let a = \"crate::x \\\" y\"; // crate::y\nlet b = 'c'; /* crate /* :: */ z */ let d: &'static str;\n";
        let code = blank(text);
        assert_eq!(code.len(), text.len());
        assert!(!code.contains("crate"), "{code}");
        assert!(code.contains("let d: &'static str;"), "{code}");
        assert_eq!(code.matches('\n').count(), 2);
    }

    #[test]
    fn raw_strings_and_escaped_quotes_end_where_rust_ends_them() {
        assert_eq!(blank("f(r#\"a \" b\"#, b'\\'', c)").replace(' ', ""), "f(,b,c)");
        assert_eq!(blank("br\"x\" for r in r\"y\" {}").replace(' ', ""), "bforrin{}");
    }
}
