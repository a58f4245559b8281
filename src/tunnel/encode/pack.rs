//! Packing a body while it is made, and unpacking one while it is read, in every compression of Tunnel.

use std::fmt;
use std::io::{self, Read, Write};

use bytes::Bytes;

use super::compress::{Compression, Deflater, Inflater};
use super::zstd::{Unzstd, Zstd};

/// Packs a body piece by piece.
pub struct Packer(PackerOf);

enum PackerOf {
    Plain,
    Zlib(Deflater),
    Snappy(Box<snap::write::FrameEncoder<Vec<u8>>>),
    Lz4(Box<lz4_flex::frame::FrameEncoder<Vec<u8>>>),
    Zstd(Zstd),
}

impl fmt::Debug for Packer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            PackerOf::Plain => "Packer(plain)",
            PackerOf::Zlib(_) => "Packer(zlib)",
            PackerOf::Snappy(_) => "Packer(snappy)",
            PackerOf::Lz4(_) => "Packer(lz4)",
            PackerOf::Zstd(_) => "Packer(zstd)",
        })
    }
}

impl Packer {
    /// An empty body.
    ///
    /// # Errors
    /// zstd: there is no thread to be had.
    pub fn new(compression: Compression) -> io::Result<Self> {
        Ok(Self(match compression {
            Compression::None => PackerOf::Plain,
            Compression::Deflate => PackerOf::Zlib(Deflater::new()),
            Compression::Snappy => PackerOf::Snappy(Box::new(snap::write::FrameEncoder::new(Vec::new()))),
            Compression::Lz4 => PackerOf::Lz4(Box::new(lz4_flex::frame::FrameEncoder::new(Vec::new()))),
            Compression::Zstd => PackerOf::Zstd(Zstd::new()?),
        }))
    }

    /// Packs `bytes` and gives what is ready so far, which may be nothing.
    ///
    /// # Errors
    /// None are known but the loss of zstd's thread: the output is memory.
    pub fn push(&mut self, bytes: Bytes) -> io::Result<Bytes> {
        match &mut self.0 {
            PackerOf::Plain => Ok(bytes),
            PackerOf::Zlib(deflater) => deflater.push(&bytes),
            PackerOf::Snappy(encoder) => {
                encoder.write_all(&bytes)?;
                Ok(Bytes::from(std::mem::take(encoder.get_mut())))
            }
            PackerOf::Lz4(encoder) => {
                encoder.write_all(&bytes)?;
                Ok(Bytes::from(std::mem::take(encoder.get_mut())))
            }
            PackerOf::Zstd(zstd) => zstd.push(bytes),
        }
    }

    /// Ends the body and gives the rest of it.
    ///
    /// # Errors
    /// As [`Packer::push`].
    pub fn finish(self) -> io::Result<Bytes> {
        match self.0 {
            PackerOf::Plain => Ok(Bytes::new()),
            PackerOf::Zlib(deflater) => deflater.finish(),
            PackerOf::Snappy(mut encoder) => {
                encoder.flush()?;
                Ok(Bytes::from(std::mem::take(encoder.get_mut())))
            }
            PackerOf::Lz4(encoder) => encoder.finish().map(Bytes::from).map_err(io::Error::other),
            PackerOf::Zstd(zstd) => zstd.finish(),
        }
    }
}

/// Unpacks what `source` gives while it is read. Memory stays at a few of the compression's blocks, and for zstd at
/// twice its window of at most 8 MiB. A body that is damaged ends in an error of kind [`io::ErrorKind::InvalidData`] or
/// [`io::ErrorKind::UnexpectedEof`], or in a row stream that is not whole.
pub fn unpacked(compression: Compression, source: impl Read + Send + 'static) -> Box<dyn Read + Send> {
    match compression {
        Compression::None => Box::new(source),
        Compression::Deflate => Box::new(Inflated(Inflater::new(source, usize::MAX))),
        Compression::Snappy => Box::new(snap::read::FrameDecoder::new(source)),
        Compression::Lz4 => Box::new(lz4_flex::frame::FrameDecoder::new(source)),
        Compression::Zstd => Box::new(Unzstd::new(source)),
    }
}

struct Inflated<R: Read>(Inflater<R>);

impl<R: Read> Read for Inflated<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.next(out).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    const ALL: [Compression; 5] =
        [Compression::None, Compression::Deflate, Compression::Snappy, Compression::Lz4, Compression::Zstd];

    fn packed(compression: Compression, body: &[u8], piece: usize) -> Vec<u8> {
        let mut packer = Packer::new(compression).unwrap();
        let mut out = Vec::new();
        for piece in body.chunks(piece) {
            out.extend_from_slice(&packer.push(Bytes::copy_from_slice(piece)).unwrap());
        }
        out.extend_from_slice(&packer.finish().unwrap());
        out
    }

    fn read(compression: Compression, packed: Vec<u8>) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        unpacked(compression, io::Cursor::new(packed)).read_to_end(&mut out).map(|_| out)
    }

    #[test]
    fn what_was_packed_comes_back_and_is_smaller() {
        let body: Vec<u8> = (0..150_000_u32).flat_map(|n| (n / 11).to_le_bytes()).collect();
        for compression in ALL {
            for (length, piece) in
                [(0, 1), (1, 1), (1000, 3), (128 * 1024, 4096), (body.len(), 7777), (body.len(), usize::MAX)]
            {
                let body = &body[..length];
                let packed = packed(compression, body, piece);
                assert!(
                    length < 10_000 || compression == Compression::None || packed.len() < length,
                    "{compression:?}"
                );
                assert!(read(compression, packed).unwrap() == body, "{compression:?} {length} {piece}");
            }
        }
    }

    #[test]
    fn names_are_those_of_tunnel() {
        let starts: [(Compression, &str, &[u8]); 4] = [
            (Compression::Deflate, "deflate", b"\x78"),
            (Compression::Snappy, "x-snappy-framed", b"\xff\x06\x00\x00sNaPpY"),
            (Compression::Lz4, "x-lz4-frame", b"\x04\x22\x4d\x18"),
            (Compression::Zstd, "zstd", b"\x28\xb5\x2f\xfd"),
        ];
        for (compression, name, start) in starts {
            assert_eq!(compression.content_encoding(), Some(name));
            assert_eq!(Compression::of_content_encoding(name), Some(compression));
            assert!(packed(compression, &[7; 100], 10).starts_with(start), "{name}");
        }
        assert_eq!(Compression::of_content_encoding("br"), None);
    }

    #[test]
    fn damage_is_an_error_or_at_least_never_the_same_bytes() {
        let body: Vec<u8> = (0..20_000_u32).flat_map(|n| (n / 5).to_le_bytes()).collect();
        for compression in ALL.into_iter().skip(1) {
            let whole = packed(compression, &body, 5000);
            for cut in [0, 1, 5, whole.len() / 2, whole.len() - 5] {
                assert!(
                    !read(compression, whole[..cut].to_vec()).is_ok_and(|out| out == body),
                    "{compression:?} {cut}"
                );
            }
            assert!(read(compression, b"neither of them".to_vec()).is_err(), "{compression:?}");
        }
        let mut twice = packed(Compression::Zstd, b"one ", 9);
        twice.extend(packed(Compression::Zstd, b"two", 9));
        assert_eq!(read(Compression::Zstd, twice).unwrap(), b"one two");
    }

    #[test]
    fn a_frame_that_nobody_ends_leaves_no_thread_waiting() {
        let mut zstd = Zstd::new().unwrap();
        zstd.push(Bytes::from_static(b"x")).unwrap();
        zstd.end_without_finish().unwrap().join().unwrap();
    }
}
