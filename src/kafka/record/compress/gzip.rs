//! gzip (RFC 1952): members around raw deflate streams, one after the other.

use std::io::Write;

use flate2::write::GzEncoder;
use flate2::{Compression, Decompress, FlushDecompress, Status};

use super::corrupt;
use super::output::Output;
use crate::kafka::record::codec::Codec;
use crate::wire::{DecodeError, Reader, crc32};

const MAGIC: [u8; 2] = [0x1f, 0x8b];
const DEFLATE: u8 = 8;
const FLAG_HEADER_CRC: u8 = 0x02;
const FLAG_EXTRA: u8 = 0x04;
const FLAG_NAME: u8 = 0x08;
const FLAG_COMMENT: u8 = 0x10;
const FLAGS_RESERVED: u8 = 0xe0;

/// The inflater's state, some 40 KiB, made at the first gzip batch.
pub(super) struct Gunzip {
    inflate: Option<Decompress>,
}

impl Gunzip {
    pub(super) const fn new() -> Self {
        Self { inflate: None }
    }

    /// Decompresses every member of `input`.
    pub(super) fn run(&mut self, input: &[u8], output: &mut Output) -> Result<(), DecodeError> {
        let mut reader = Reader::new(input);
        loop {
            self.member(&mut reader, output)?;
            // Java stops reading at bytes that are no further member; padding with zeros is what occurs.
            if reader.rest().iter().all(|byte| *byte == 0) {
                return Ok(());
            }
        }
    }

    fn member(&mut self, reader: &mut Reader<'_>, output: &mut Output) -> Result<(), DecodeError> {
        skip_header(reader)?;
        let start = output.filled();
        let inflate = self.inflate.get_or_insert_with(|| Decompress::new(false));
        inflate.reset(false);
        loop {
            let (read_before, written_before) = (inflate.total_in(), inflate.total_out());
            let status = inflate
                .decompress(reader.rest(), output.free(1), FlushDecompress::None)
                .map_err(|_| corrupt(Codec::Gzip, reader.position()))?;
            let read = usize::try_from(inflate.total_in().saturating_sub(read_before)).unwrap_or(usize::MAX);
            let written = usize::try_from(inflate.total_out().saturating_sub(written_before)).unwrap_or(usize::MAX);
            reader.skip(read, "gzip")?;
            output.advance(written)?;
            match status {
                Status::StreamEnd => break,
                // No input left, or input that leads nowhere: the stream has no end.
                _ if read == 0 && written == 0 => return Err(corrupt(Codec::Gzip, reader.position())),
                _ => {}
            }
        }
        let at = reader.position();
        let stored_crc = u32::from_le_bytes(reader.array("gzip trailer")?);
        let stored_size = u32::from_le_bytes(reader.array("gzip trailer")?);
        let member = output.written().get(start..).unwrap_or_default();
        let size = u32::try_from(member.len() & 0xffff_ffff).unwrap_or(u32::MAX);
        if stored_crc != crc32(member) || stored_size != size {
            return Err(corrupt(Codec::Gzip, at));
        }
        Ok(())
    }
}

/// Steps over a member's header.
fn skip_header(reader: &mut Reader<'_>) -> Result<(), DecodeError> {
    let at = reader.position();
    let magic: [u8; 2] = reader.array("gzip header")?;
    let method = reader.u8("gzip header")?;
    let flags = reader.u8("gzip header")?;
    if magic != MAGIC || method != DEFLATE || flags & FLAGS_RESERVED != 0 {
        return Err(corrupt(Codec::Gzip, at));
    }
    // Modification time, extra flags, operating system.
    reader.skip(6, "gzip header")?;
    if flags & FLAG_EXTRA != 0 {
        let len = u16::from_le_bytes(reader.array("gzip header")?);
        reader.skip(len.into(), "gzip header")?;
    }
    for flag in [FLAG_NAME, FLAG_COMMENT] {
        if flags & flag != 0 {
            while reader.u8("gzip header")? != 0 {}
        }
    }
    if flags & FLAG_HEADER_CRC != 0 {
        reader.skip(2, "gzip header")?;
    }
    Ok(())
}

/// Appends one member of level 6, Java's default.
pub(super) fn compress(input: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut encoder = GzEncoder::new(out, Compression::new(6));
    encoder.write_all(input).ok()?;
    encoder.finish().ok().map(|_| ())
}
