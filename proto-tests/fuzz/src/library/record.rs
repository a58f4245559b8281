//! Codecs without batches around them.

#[path = "../../../../src/kafka/record/codec.rs"]
mod codec;
#[path = "../../../../src/kafka/record/compress/mod.rs"]
mod compress;

use bytes::Bytes;

pub use self::codec::Codec;
pub use self::compress::Decompressor;
use crate::wire::DecodeError;

/// Unpacks `input` by the library's own files.
pub fn unzstd(decompressor: &mut Decompressor, input: &[u8]) -> Result<Bytes, DecodeError> {
    decompressor.decompress(Codec::Zstd, input, true)
}
