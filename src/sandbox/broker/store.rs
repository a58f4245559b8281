//! Where the bytes of one partition are kept: in memory, or in a file.
//!
//! A file is opened for each call: a topic may have more partitions than a process may have files open.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};

/// An append-only run of bytes. Positions count from the first byte ever appended.
#[derive(Debug)]
pub(super) enum Store {
    /// Pieces in order of position, as they were appended.
    Memory { pieces: Vec<(u64, Bytes)>, end: u64 },
    /// One file. What a failed append left behind `end` is written over by the next one.
    File { path: PathBuf, end: u64 },
}

impl Store {
    /// Nothing, in memory.
    pub(super) const fn memory() -> Self {
        Self::Memory { pieces: Vec::new(), end: 0 }
    }

    /// The file at `path`, made when it does not exist.
    ///
    /// # Errors
    /// Those of opening it.
    pub(super) fn file(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        let end = file.and_then(|file| file.metadata()).map_err(|error| about(path, &error))?.len();
        Ok(Self::File { path: path.to_owned(), end })
    }

    /// The position after the last byte.
    pub(super) const fn end(&self) -> u64 {
        match self {
            Self::Memory { end, .. } | Self::File { end, .. } => *end,
        }
    }

    /// Bytes that are held in memory.
    pub(super) fn memory_bytes(&self) -> u64 {
        match self {
            Self::Memory { pieces, end } => end - pieces.first().map_or(*end, |(start, _)| *start),
            Self::File { .. } => 0,
        }
    }

    /// Appends `bytes` and gives their position.
    ///
    /// # Errors
    /// Those of writing; a full disk above all.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<u64> {
        match self {
            Self::Memory { pieces, end } => {
                let position = *end;
                pieces.push((position, Bytes::copy_from_slice(bytes)));
                *end += bytes.len() as u64;
                Ok(position)
            }
            Self::File { path, end } => {
                let file = OpenOptions::new().write(true).open(&*path);
                file.and_then(|file| file.write_all_at(bytes, *end)).map_err(|error| about(path, &error))?;
                let position = *end;
                *end += bytes.len() as u64;
                Ok(position)
            }
        }
    }

    /// The bytes from `position` on, `len` of them.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] past the end; those of reading a file.
    pub(super) fn read(&self, position: u64, len: usize) -> io::Result<Bytes> {
        match self {
            Self::Memory { pieces, .. } => read_pieces(pieces, position, len),
            Self::File { path, end } => {
                if position.saturating_add(len as u64) > *end {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                let mut bytes = BytesMut::zeroed(len);
                let file = File::open(path);
                file.and_then(|file| file.read_exact_at(&mut bytes, position)).map_err(|error| about(path, &error))?;
                Ok(bytes.freeze())
            }
        }
    }

    /// Cuts everything from `position` on.
    ///
    /// # Errors
    /// Those of the file.
    pub(super) fn truncate(&mut self, position: u64) -> io::Result<()> {
        match self {
            Self::Memory { pieces, end } => {
                pieces.retain(|(start, piece)| start + piece.len() as u64 <= position);
                *end = position.min(*end);
            }
            Self::File { path, end } => {
                let file = OpenOptions::new().write(true).open(&*path);
                file.and_then(|file| file.set_len(position)).map_err(|error| about(path, &error))?;
                *end = position;
            }
        }
        Ok(())
    }

    /// Gives back the memory of what lies wholly before `position`; a file keeps it.
    pub(super) fn forget_before(&mut self, position: u64) {
        if let Self::Memory { pieces, .. } = self {
            pieces.retain(|(start, piece)| start + piece.len() as u64 > position);
        }
    }
}

/// The same error, with the path in front.
fn about(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// One piece is given away as it is; several are joined.
fn read_pieces(pieces: &[(u64, Bytes)], position: u64, len: usize) -> io::Result<Bytes> {
    let first = pieces.partition_point(|(start, piece)| start + piece.len() as u64 <= position);
    let mut joined = BytesMut::new();
    let mut at = position;
    for (start, piece) in pieces.iter().skip(first) {
        let skipped = at.checked_sub(*start).and_then(|n| usize::try_from(n).ok());
        let Some(skipped) = skipped.filter(|n| *n < piece.len()) else { break };
        let wanted = (len - joined.len()).min(piece.len() - skipped);
        let part = piece.slice(skipped..skipped + wanted);
        if wanted == len {
            return Ok(part);
        }
        joined.extend_from_slice(&part);
        at += wanted as u64;
        if joined.len() == len {
            return Ok(joined.freeze());
        }
    }
    if joined.len() == len { Ok(joined.freeze()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn exercise(mut store: Store) {
        assert_eq!(store.append(b"abc").unwrap(), 0);
        assert_eq!(store.append(b"defg").unwrap(), 3);
        assert_eq!(store.append(b"h").unwrap(), 7);
        assert_eq!(store.read(0, 3).unwrap(), "abc");
        assert_eq!(store.read(1, 6).unwrap(), "bcdefg");
        assert_eq!(store.read(4, 4).unwrap(), "efgh");
        assert_eq!(store.read(8, 0).unwrap(), "");
        assert_eq!(store.read(7, 2).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        store.truncate(7).unwrap();
        assert_eq!(store.append(b"xy").unwrap(), 7);
        assert_eq!(store.read(5, 4).unwrap(), "fgxy");
        store.forget_before(3);
        assert_eq!(store.read(3, 6).unwrap(), "defgxy");
        assert_eq!(store.end(), 9);
    }

    #[test]
    fn memory_and_file_behave_alike() {
        exercise(Store::memory());
        let path = std::env::temp_dir().join(format!("forebay-store-{}", std::process::id()));
        exercise(Store::file(&path).unwrap());
        assert_eq!(Store::file(&path).unwrap().read(0, 9).unwrap(), "abcdefgxy");
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_full_disk_is_an_error_that_names_the_file() {
        let mut store = Store::file(Path::new("/dev/full")).unwrap();
        let error = store.append(b"abc").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(error.to_string().contains("/dev/full"), "{error}");
        assert_eq!(store.end(), 0);
    }
}
