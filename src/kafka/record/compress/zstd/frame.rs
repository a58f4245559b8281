//! The header of a frame (RFC 8878, section 3.1.1.1).

use super::super::corrupt;
use super::BLOCK_BYTES_MAX;
use crate::kafka::record::codec::Codec;
use crate::wire::{DecodeError, Reader};

const DESCRIPTOR_SINGLE_SEGMENT: u8 = 0x20;
const DESCRIPTOR_RESERVED: u8 = 0x08;
const DESCRIPTOR_CHECKSUM: u8 = 0x04;
const DESCRIPTOR_DICTIONARY_MASK: u8 = 0x03;

/// Largest window taken, in bytes: window log 27, zstd's own limit for a decoder that was not told otherwise. The output is the
/// window, so none costs memory.
const WINDOW_BYTES_MAX: u64 = 1 << 27;

/// What a frame's header says.
pub(super) struct Header {
    /// Most output of one block.
    pub(super) block_bytes_max: usize,
    pub(super) content_bytes: Option<u64>,
    pub(super) checksum: bool,
}

impl Header {
    /// Reads what follows the magic.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let at = reader.position();
        let descriptor = reader.u8("zstd header")?;
        let single_segment = descriptor & DESCRIPTOR_SINGLE_SEGMENT != 0;
        if descriptor & DESCRIPTOR_RESERVED != 0 {
            return Err(corrupt(Codec::Zstd, at));
        }
        let window = if single_segment { None } else { Some(reader.u8("zstd header")?) };
        let dictionary = match descriptor & DESCRIPTOR_DICTIONARY_MASK {
            0 => 0,
            1 => u32::from(reader.u8("zstd header")?),
            2 => u32::from(u16::from_le_bytes(reader.array("zstd header")?)),
            _ => u32::from_le_bytes(reader.array("zstd header")?),
        };
        // Kafka's batches use no dictionaries; 0 says that there is none.
        if dictionary != 0 {
            return Err(corrupt(Codec::Zstd, at));
        }
        let content_bytes = match descriptor >> 6 {
            0 if single_segment => Some(u64::from(reader.u8("zstd header")?)),
            0 => None,
            1 => Some(u64::from(u16::from_le_bytes(reader.array("zstd header")?)).saturating_add(256)),
            2 => Some(u64::from(u32::from_le_bytes(reader.array("zstd header")?))),
            _ => Some(u64::from_le_bytes(reader.array("zstd header")?)),
        };
        let window_bytes = window.map_or_else(|| content_bytes.unwrap_or(0), window_bytes);
        if window.is_some() && window_bytes > WINDOW_BYTES_MAX {
            return Err(corrupt(Codec::Zstd, at));
        }
        let block_bytes_max = usize::try_from(window_bytes).unwrap_or(usize::MAX).min(BLOCK_BYTES_MAX);
        Ok(Self { block_bytes_max, content_bytes, checksum: descriptor & DESCRIPTOR_CHECKSUM != 0 })
    }
}

/// The window of a window descriptor: an exponent of 5 bits and eighths in 3 (RFC 8878, 3.1.1.1.2).
fn window_bytes(descriptor: u8) -> u64 {
    let base = 1_u64.checked_shl(u32::from(descriptor >> 3).saturating_add(10)).unwrap_or(u64::MAX);
    base.saturating_add((base / 8).saturating_mul(u64::from(descriptor & 0x07)))
}
