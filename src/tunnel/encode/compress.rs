//! `Content-Encoding` of a block's body.

use std::io::{self, Read, Write};

use bytes::{Buf as _, Bytes};
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use flate2::{Decompress, FlushDecompress, Status};

/// How a block's body is packed on its way. The CRCs inside are over the unpacked values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// As it is.
    #[default]
    None,
    /// zlib (RFC 1950), although HTTP's name for it is `deflate`; level 1, as the official SDKs choose.
    Deflate,
    /// The framing format of snappy.
    Snappy,
    /// LZ4 frames.
    Lz4,
    /// A zstd frame.
    Zstd,
}

impl Compression {
    /// The value of `Content-Encoding`; `None` when the header is left out.
    pub const fn content_encoding(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Deflate => Some("deflate"),
            Self::Snappy => Some("x-snappy-framed"),
            Self::Lz4 => Some("x-lz4-frame"),
            Self::Zstd => Some("zstd"),
        }
    }

    /// The compression that a `Content-Encoding` names; `None` for a name this build does not have.
    pub fn of_content_encoding(name: &str) -> Option<Self> {
        match name.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Some(Self::None),
            "deflate" => Some(Self::Deflate),
            "x-snappy-framed" => Some(Self::Snappy),
            "x-lz4-frame" => Some(Self::Lz4),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// Packed bytes that cannot be unpacked.
#[derive(Debug)]
#[non_exhaustive]
pub enum CompressError {
    /// Not zlib, damaged, or cut off.
    Corrupt(io::Error),
    /// More output than allowed, in bytes.
    TooLarge {
        /// The bound that was passed.
        max: usize,
    },
}

impl std::fmt::Display for CompressError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Corrupt(error) => write!(f, "corrupt compressed body: {error}"),
            Self::TooLarge { max } => write!(f, "the body unpacks to more than {max} bytes"),
        }
    }
}

impl std::error::Error for CompressError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Corrupt(error) => Some(error),
            Self::TooLarge { .. } => None,
        }
    }
}

/// Packs a body piece by piece.
#[derive(Debug)]
pub struct Deflater(ZlibEncoder<Vec<u8>>);

impl Default for Deflater {
    fn default() -> Self {
        Self::new()
    }
}

impl Deflater {
    /// An empty body.
    pub fn new() -> Self {
        Self(ZlibEncoder::new(Vec::new(), flate2::Compression::fast()))
    }

    /// Packs `bytes` and gives what is ready so far, which may be nothing.
    ///
    /// # Errors
    /// None are known: the output is memory.
    pub fn push(&mut self, bytes: &[u8]) -> io::Result<Bytes> {
        self.0.write_all(bytes)?;
        Ok(Bytes::from(std::mem::take(self.0.get_mut())))
    }

    /// Ends the body and gives the rest of it.
    ///
    /// # Errors
    /// None are known: the output is memory.
    pub fn finish(self) -> io::Result<Bytes> {
        self.0.finish().map(Bytes::from)
    }
}

/// Unpacks a body that is at hand whole, a piece at a time, so that memory does not follow what the body claims.
#[derive(Debug)]
pub struct Inflater<R: Read> {
    source: ZlibDecoder<R>,
    bytes: usize,
    bytes_max: usize,
}

impl<R: Read> Inflater<R> {
    /// Unpacks `source`, giving up after `bytes_max` bytes of output.
    pub fn new(source: R, bytes_max: usize) -> Self {
        Self { source: ZlibDecoder::new(source), bytes: 0, bytes_max }
    }

    /// The next piece of output in `buf`; 0 at the end.
    ///
    /// # Errors
    /// [`CompressError`]: the body is damaged or cut off, or the bound is passed.
    pub fn next(&mut self, buf: &mut [u8]) -> Result<usize, CompressError> {
        let read = self.source.read(buf).map_err(CompressError::Corrupt)?;
        self.bytes = self.bytes.saturating_add(read);
        if self.bytes > self.bytes_max {
            return Err(CompressError::TooLarge { max: self.bytes_max });
        }
        Ok(read)
    }

    /// All the rest.
    ///
    /// # Errors
    /// As [`Inflater::next`].
    pub fn read_all(mut self) -> Result<Vec<u8>, CompressError> {
        let mut out = Vec::new();
        let mut piece = [0; 16 * 1024];
        loop {
            let read = self.next(&mut piece)?;
            if read == 0 {
                return Ok(out);
            }
            out.extend_from_slice(piece.get(..read).unwrap_or_default());
        }
    }
}

/// Unpacks a body that arrives in pieces.
///
/// Push pieces as they come and call [`Unpacker::next_piece`] until it gives `None`. Output comes in bounded pieces, so what the
/// body claims to unpack to is never held at once.
#[derive(Debug)]
pub struct Unpacker {
    inner: UnpackerOf,
    waiting: Bytes,
}

#[derive(Debug)]
enum UnpackerOf {
    Plain,
    Zlib(Decompress),
    /// The packed body has come to its own end.
    Ended,
}

/// Largest piece of output, in bytes.
const UNPACKED_PIECE_BYTES: usize = 64 * 1024;

impl Unpacker {
    /// For a body packed with `compression`; `None` for one that can only be read by [`super::unpacked`].
    pub fn new(compression: Compression) -> Option<Self> {
        let inner = match compression {
            Compression::None => UnpackerOf::Plain,
            Compression::Deflate => UnpackerOf::Zlib(Decompress::new(true)),
            Compression::Snappy | Compression::Lz4 | Compression::Zstd => return None,
        };
        Some(Self { inner, waiting: Bytes::new() })
    }

    /// Takes the next piece. What waited from the piece before is dropped: ask for all of it first.
    pub fn push(&mut self, piece: Bytes) {
        self.waiting = piece;
    }

    /// The next output, never empty, or `None` when more input is needed.
    ///
    /// # Errors
    /// [`CompressError::Corrupt`]: the body is damaged, or goes on after its end.
    pub fn next_piece(&mut self) -> Result<Option<Bytes>, CompressError> {
        let corrupt = |why: &str| Err(CompressError::Corrupt(io::Error::new(io::ErrorKind::InvalidData, why)));
        match &mut self.inner {
            UnpackerOf::Plain if self.waiting.is_empty() => Ok(None),
            UnpackerOf::Plain => Ok(Some(std::mem::take(&mut self.waiting))),
            UnpackerOf::Ended if self.waiting.is_empty() => Ok(None),
            UnpackerOf::Ended => corrupt("bytes after the end"),
            UnpackerOf::Zlib(inflate) => {
                let mut out = Vec::with_capacity(UNPACKED_PIECE_BYTES);
                let before = inflate.total_in();
                let status = inflate.decompress_vec(&self.waiting, &mut out, FlushDecompress::None);
                let used = usize::try_from(inflate.total_in().saturating_sub(before)).unwrap_or(usize::MAX);
                let status = status.map_err(|error| CompressError::Corrupt(error.into()))?;
                self.waiting.advance(used.min(self.waiting.len()));
                if status == Status::StreamEnd {
                    self.inner = UnpackerOf::Ended;
                }
                match (out.is_empty(), self.waiting.is_empty()) {
                    (false, _) => Ok(Some(Bytes::from(out))),
                    (true, true) => Ok(None),
                    (true, false) => corrupt("it does not go on"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn what_was_packed_comes_back() {
        let mut packed = Vec::new();
        let mut deflater = Deflater::new();
        for n in 0..1000_u32 {
            packed.extend_from_slice(&deflater.push(&n.to_le_bytes()).unwrap());
        }
        packed.extend_from_slice(&deflater.finish().unwrap());
        assert_eq!(packed[0], 0x78);
        let out = Inflater::new(&packed[..], 4000).read_all().unwrap();
        assert_eq!(out.len(), 4000);
        assert_eq!(&out[3996..], 999_u32.to_le_bytes());
        assert!(matches!(Inflater::new(&packed[..], 3999).read_all(), Err(CompressError::TooLarge { max: 3999 })));
        for end in 0..packed.len() {
            assert!(Inflater::new(&packed[..end], 4000).read_all().is_err(), "{end}");
        }
    }

    #[test]
    fn a_body_unpacks_in_pieces_of_any_size() {
        let body: Vec<u8> = (0..200_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        let mut deflater = Deflater::new();
        let mut packed = deflater.push(&body).unwrap().to_vec();
        packed.extend_from_slice(&deflater.finish().unwrap());
        for size in [1, 100, packed.len()] {
            let mut unpacker = Unpacker::new(Compression::Deflate).unwrap();
            let mut out = Vec::new();
            for piece in packed.chunks(size) {
                unpacker.push(Bytes::copy_from_slice(piece));
                while let Some(bytes) = unpacker.next_piece().unwrap() {
                    out.extend_from_slice(&bytes);
                }
            }
            assert_eq!(out.len(), body.len());
            assert!(out == body);
        }
        let mut unpacker = Unpacker::new(Compression::Deflate).unwrap();
        unpacker.push(Bytes::from_static(b"not zlib at all"));
        assert!(matches!(unpacker.next_piece(), Err(CompressError::Corrupt(_))));
        packed.push(0);
        let mut unpacker = Unpacker::new(Compression::Deflate).unwrap();
        unpacker.push(packed.into());
        let end = std::iter::from_fn(|| unpacker.next_piece().transpose()).find_map(Result::err);
        assert!(matches!(end, Some(CompressError::Corrupt(_))));
    }
}
