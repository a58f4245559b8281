//! The codecs of records, each behind its cargo feature: gzip, Snappy, LZ4 and zstd, all pure Rust.
//!
//! Decompression writes into one buffer that is used again for the next batch. The buffer starts small and doubles as output
//! comes, so a header that promises gigabytes costs nothing; output beyond the bound is an error. Only this module names the
//! codec crates.

#![cfg_attr(
    not(all(feature = "gzip", feature = "snappy", feature = "lz4", feature = "zstd")),
    allow(dead_code, unused_variables, reason = "parts that only the codecs use, in a build that lacks some")
)]

mod output;

#[cfg(feature = "gzip")]
mod gzip;
#[cfg(feature = "lz4")]
mod lz4;
#[cfg(feature = "snappy")]
mod snappy;
#[cfg(feature = "zstd")]
mod zstd;

use std::fmt;

use bytes::Bytes;

use self::output::Output;
use super::codec::{Codec, SnappyForm};
use crate::limits;
use crate::wire::{DecodeError, DecodeFault};

/// Largest buffer kept for the next batch, in bytes. Brokers take batches of 1 MiB unless told otherwise, which come to a few
/// times that; a rare giant is not worth its memory for ever.
const KEPT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Codec state and the output buffer, used again from batch to batch.
///
/// The buffer of one [`Batch::decode`](super::Batch::decode) comes back when its [`Records`](super::Records) have been
/// dropped; while they live, the next decode takes a new one.
pub struct Decompressor {
    output_bytes_max: usize,
    kept: Bytes,
    #[cfg(feature = "gzip")]
    gzip: gzip::Gunzip,
    #[cfg(feature = "zstd")]
    zstd: zstd::Unzstd,
}

impl Decompressor {
    /// A decompressor that gives at most `output_bytes_max` bytes for one batch and fails beyond. Nothing is allocated yet.
    pub fn new(output_bytes_max: usize) -> Self {
        Self {
            output_bytes_max,
            kept: Bytes::new(),
            #[cfg(feature = "gzip")]
            gzip: gzip::Gunzip::new(),
            #[cfg(feature = "zstd")]
            zstd: zstd::Unzstd::new(),
        }
    }

    /// The output of `input` under `codec`. `lz4_checked` tells whether the header checksum of an LZ4 frame is right, which
    /// it is not in messages (KIP-57).
    pub(super) fn decompress(&mut self, codec: Codec, input: &[u8], lz4_checked: bool) -> Result<Bytes, DecodeError> {
        let mut output = Output::new(&mut self.kept, input.len(), self.output_bytes_max);
        let result = match codec {
            Codec::None => output.extend(input),
            #[cfg(feature = "gzip")]
            Codec::Gzip => self.gzip.run(input, &mut output),
            #[cfg(feature = "snappy")]
            Codec::Snappy => snappy::decompress(input, &mut output),
            #[cfg(feature = "lz4")]
            Codec::Lz4 => lz4::decompress(input, lz4_checked, &mut output),
            #[cfg(feature = "zstd")]
            Codec::Zstd => self.zstd.run(input, &mut output),
            #[allow(unreachable_patterns, reason = "reached in builds that lack a codec")]
            _ => Err(DecodeError::new(DecodeFault::CodecMissing, codec.name(), 0)),
        };
        let (whole, plain) = output.into_bytes();
        if whole.len() <= KEPT_BYTES_MAX {
            self.kept = whole;
        }
        result.map(|()| plain)
    }
}

impl Default for Decompressor {
    /// Bounded by [`limits::DECOMPRESSED_BATCH_BYTES_MAX`].
    fn default() -> Self {
        Self::new(limits::DECOMPRESSED_BATCH_BYTES_MAX)
    }
}

impl fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decompressor")
            .field("output_bytes_max", &self.output_bytes_max)
            .field("kept_bytes", &self.kept.len())
            .finish_non_exhaustive()
    }
}

/// Compressed bytes that make no sense, at byte `at` of what the codec was given.
const fn corrupt(codec: Codec, at: usize) -> DecodeError {
    DecodeError::new(DecodeFault::Corrupt, codec.name(), at)
}

/// How a compressor writes: Snappy's framing, and LZ4's header checksum.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CompressOptions {
    pub(super) snappy: SnappyForm,
    /// Compute the LZ4 header checksum over the magic as well, as clients did before KIP-57.
    pub(super) lz4_before_kip57: bool,
}

/// Appends `input` compressed to `out`. `None` when this build lacks the codec, or the codec refuses the input.
pub(super) fn compress(codec: Codec, options: CompressOptions, input: &[u8], out: &mut Vec<u8>) -> Option<()> {
    match codec {
        Codec::None => {
            out.extend_from_slice(input);
            Some(())
        }
        #[cfg(feature = "gzip")]
        Codec::Gzip => gzip::compress(input, out),
        #[cfg(feature = "snappy")]
        Codec::Snappy => snappy::compress(options.snappy, input, out),
        #[cfg(feature = "lz4")]
        Codec::Lz4 => lz4::compress(options.lz4_before_kip57, input, out),
        #[cfg(feature = "zstd")]
        Codec::Zstd => zstd::compress(input, out),
        #[allow(unreachable_patterns, reason = "reached in builds that lack a codec")]
        _ => None,
    }
}
