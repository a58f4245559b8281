//! The token by which orders may come over HTTP, where no socket reaches the agent.
//!
//! It is read from its file each time, so that a new one counts at once. A page of somebody else cannot send it: a browser adds no
//! such header by itself, and asks before it lets a page do so, which is not granted here.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// Characters that a token has at least: 16 of 64 are 96 bits.
const LENGTH_MIN: usize = 16;
/// Bytes that its file may have.
const FILE_BYTES_MAX: u64 = 4096;

/// A token in a file.
#[derive(Clone, Debug)]
pub struct TokenFile(PathBuf);

impl TokenFile {
    /// The token in this file.
    ///
    /// # Errors
    /// In words, where there is no usable one.
    pub fn new(file: &Path) -> Result<Self, String> {
        let found = Self(file.to_owned());
        found.read()?;
        Ok(found)
    }

    fn read(&self) -> Result<String, String> {
        let (mut text, shown) = (String::new(), self.0.display());
        let file = std::fs::File::open(&self.0).map_err(|error| format!("{shown}: {error}"))?;
        file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(|error| format!("{shown}: {error}"))?;
        match text.trim() {
            token if token.len() < LENGTH_MIN => Err(format!("{shown}: a token has {LENGTH_MIN} characters or more")),
            token if token.contains(|c: char| !c.is_ascii_graphic()) => Err(format!("{shown}: a token is one word")),
            token => Ok(token.to_owned()),
        }
    }

    /// Whether this is the token. How long that takes says nothing about either.
    pub(super) fn is(&self, given: &str) -> Result<bool, String> {
        let (token, given) = (Sha256::digest(self.read()?), Sha256::digest(given));
        Ok(token.iter().zip(&given).fold(0, |all, (a, b)| all | (a ^ b)) == 0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_token_is_one_long_word_and_only_itself() {
        let file = std::env::temp_dir().join(format!("forebay-token-{}", std::process::id()));
        for text in ["", "\n", "short\n", "sixteen chars or so\n", "\u{e4}bcdefghijklmnopq"] {
            std::fs::write(&file, text).unwrap();
            assert!(TokenFile::new(&file).is_err(), "{text:?}");
        }
        std::fs::write(&file, " 0123456789abcdef\n").unwrap();
        let token = TokenFile::new(&file).unwrap();
        assert_eq!(token.is("0123456789abcdef"), Ok(true));
        for given in ["", "0123456789abcdeF", "0123456789abcde", "0123456789abcdef "] {
            assert_eq!(token.is(given), Ok(false), "{given:?}");
        }
        // A new one counts at once.
        std::fs::write(&file, "fedcba9876543210").unwrap();
        assert_eq!((token.is("0123456789abcdef"), token.is("fedcba9876543210")), (Ok(false), Ok(true)));
        std::fs::remove_file(&file).unwrap();
        assert!(token.is("fedcba9876543210").is_err());
    }
}
