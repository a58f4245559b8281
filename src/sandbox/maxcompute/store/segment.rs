//! One block of rows that is kept: in memory, or as a file of the data folder.
//!
//! A segment never changes. Tables hold it by reference count, and so do readers of an older snapshot; a file that no table
//! needs any more is removed when its last holder lets go.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Encoded rows without a trailer.
#[derive(Debug)]
pub(crate) struct Segment {
    /// The name of its file inside the table's folder; unique for the table's life.
    pub(crate) name: String,
    /// How many rows it holds.
    pub(crate) rows: u64,
    /// How many bytes they take.
    pub(crate) bytes: u64,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Memory(Vec<Bytes>),
    File { path: PathBuf, obsolete: AtomicBool },
}

impl Segment {
    /// A segment whose file exists already.
    pub(crate) fn of_file(folder: &Path, name: &str, rows: u64) -> io::Result<Self> {
        let path = folder.join(name);
        let bytes = fs::metadata(&path)?.len();
        Ok(Self { name: name.to_owned(), rows, bytes, place: Place::File { path, obsolete: AtomicBool::new(false) } })
    }

    /// Opens the rows for reading from the first on.
    pub(crate) fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        match &self.place {
            Place::Memory(pieces) => Ok(Box::new(Pieces { pieces: pieces.clone().into_iter(), now: Bytes::new() })),
            Place::File { path, .. } => Ok(Box::new(File::open(path)?)),
        }
    }

    /// Says that no table needs it any more: its file goes with the last reader.
    pub(crate) fn discard(&self) {
        if let Place::File { obsolete, .. } = &self.place {
            obsolete.store(true, Ordering::SeqCst);
        }
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        if let Place::File { path, obsolete } = &self.place
            && obsolete.load(Ordering::SeqCst)
            && let Err(error) = fs::remove_file(path)
            && error.kind() != io::ErrorKind::NotFound
        {
            // What stays behind is removed at the next start.
            log::warn!("cannot remove {}: {error}", path.display());
        }
    }
}

/// Reads the pieces of a segment in memory.
struct Pieces {
    pieces: std::vec::IntoIter<Bytes>,
    now: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.now.is_empty() {
            match self.pieces.next() {
                Some(piece) => self.now = piece,
                None => return Ok(0),
            }
        }
        let take = self.now.len().min(out.len());
        let piece = self.now.split_to(take);
        if let Some(out) = out.get_mut(..take) {
            out.copy_from_slice(&piece);
        }
        Ok(take)
    }
}

/// How many bytes may still be written: how tests make the disk full.
#[derive(Debug, Default)]
pub(crate) struct Space {
    free_bytes: Mutex<Option<u64>>,
}

impl Space {
    /// Sets what is free; `None` is no limit but the disk's own.
    pub(crate) fn set(&self, free_bytes: Option<u64>) {
        *self.free_bytes.lock().unwrap_or_else(PoisonError::into_inner) = free_bytes;
    }

    /// Takes `bytes` of it, or fails as a full disk does.
    pub(crate) fn take(&self, bytes: usize) -> io::Result<()> {
        let mut free_bytes = self.free_bytes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(free) = &mut *free_bytes {
            *free = free.checked_sub(bytes as u64).ok_or_else(|| {
                io::Error::new(io::ErrorKind::StorageFull, "No space left on device (ordered by a test)")
            })?;
        }
        Ok(())
    }
}

/// Writes a segment. Until [`SegmentWriter::finish`] nothing of it can be seen; dropping it leaves no trace.
#[derive(Debug)]
pub(crate) struct SegmentWriter {
    space: Arc<Space>,
    bytes: u64,
    target: Target,
}

#[derive(Debug)]
enum Target {
    Memory { pieces: Vec<Bytes>, now: Vec<u8> },
    File { file: Option<BufWriter<File>>, part: PathBuf, folder: PathBuf },
}

impl SegmentWriter {
    /// Keeps the rows in memory.
    pub(crate) const fn in_memory(space: Arc<Space>) -> Self {
        Self { space, bytes: 0, target: Target::Memory { pieces: Vec::new(), now: Vec::new() } }
    }

    /// Writes a file of `folder`, under a name that marks it as unfinished.
    pub(crate) fn in_folder(space: Arc<Space>, folder: &Path, unique: &str) -> io::Result<Self> {
        let part = folder.join(format!("{unique}{UNFINISHED}"));
        let file = Some(BufWriter::with_capacity(WRITE_BYTES, File::create(&part)?));
        Ok(Self { space, bytes: 0, target: Target::File { file, part, folder: folder.to_owned() } })
    }

    /// Appends whole rows.
    pub(crate) fn write(&mut self, rows: &[u8]) -> io::Result<()> {
        self.space.take(rows.len())?;
        match &mut self.target {
            Target::Memory { pieces, now } => {
                now.extend_from_slice(rows);
                if now.len() >= PIECE_BYTES {
                    pieces.push(Bytes::from(std::mem::take(now)));
                }
            }
            Target::File { file, .. } => match file {
                Some(file) => file.write_all(rows)?,
                None => return Err(io::Error::other("the segment is finished")),
            },
        }
        self.bytes = self.bytes.saturating_add(rows.len() as u64);
        Ok(())
    }

    /// Makes the segment whole under its final name.
    pub(crate) fn finish(mut self, name: &str, rows: u64) -> io::Result<Arc<Segment>> {
        let bytes = self.bytes;
        let place = match &mut self.target {
            Target::Memory { pieces, now } => {
                let mut pieces = std::mem::take(pieces);
                if !now.is_empty() {
                    pieces.push(Bytes::from(std::mem::take(now)));
                }
                Place::Memory(pieces)
            }
            Target::File { file, part, folder } => {
                if let Some(mut file) = file.take() {
                    file.flush()?;
                }
                let path = folder.join(name);
                fs::rename(part, &path)?;
                Place::File { path, obsolete: AtomicBool::new(false) }
            }
        };
        Ok(Arc::new(Segment { name: name.to_owned(), rows, bytes, place }))
    }
}

impl Drop for SegmentWriter {
    fn drop(&mut self) {
        if let Target::File { part, .. } = &self.target {
            // After `finish` the part has its final name and there is nothing to remove.
            let _ = fs::remove_file(part);
        }
    }
}

/// Suffix of files that are still being written; a start removes them.
pub(crate) const UNFINISHED: &str = ".part";

const WRITE_BYTES: usize = 256 * 1024;
const PIECE_BYTES: usize = 1024 * 1024;
