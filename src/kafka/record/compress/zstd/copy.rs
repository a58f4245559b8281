//! Copies in chunks of 16 bytes, which may write over what comes behind.

/// Bytes behind a copy that may be written over, and behind its source that may be read.
pub(super) const SLACK_BYTES: usize = 32;

const CHUNK: usize = 16;
/// From here on a copy is left to the system's own.
const LONG: usize = 64;

/// Copies `len` bytes of `from` at `from_at` to `to` at `at`. None, and nothing of use written, where either lacks [`SLACK_BYTES`] behind.
#[inline(always)]
pub(super) fn literals(from: &[u8], from_at: usize, to: &mut [u8], at: usize, len: usize) -> Option<()> {
    *to.get_mut(at..)?.first_chunk_mut::<CHUNK>()? = *from.get(from_at..)?.first_chunk()?;
    if len > CHUNK {
        more_literals(from, from_at, to, at, len)?;
    }
    Some(())
}

#[inline(always)]
fn more_literals(from: &[u8], from_at: usize, to: &mut [u8], at: usize, len: usize) -> Option<()> {
    let to = to.get_mut(at..)?.get_mut(..len)?;
    to.copy_from_slice(from.get(from_at..)?.get(..len)?);
    Some(())
}

/// Copies `len` bytes that stand `offset` before `at` to `at`, those that this writes among them. `offset` is from 1 to `at`.
#[inline(always)]
pub(super) fn repeat(bytes: &mut [u8], at: usize, offset: usize, len: usize) -> Option<()> {
    let mut from = at.wrapping_sub(offset);
    if offset >= CHUNK {
        chunk(bytes, from, at)?;
        if len > CHUNK {
            if len >= LONG && offset >= len {
                let (before, to) = bytes.split_at_mut_checked(at)?;
                to.get_mut(..len)?.copy_from_slice(before.get(from..)?.get(..len)?);
                return Some(());
            }
            let end = at.wrapping_add(len);
            let mut to = at;
            loop {
                to = to.wrapping_add(CHUNK);
                from = from.wrapping_add(CHUNK);
                if to >= end {
                    break;
                }
                chunk(bytes, from, to)?;
            }
        }
        return Some(());
    }
    near(bytes, at, offset, len)
}

/// As [`repeat`], where source and target are less than a chunk apart: each chunk makes the repeated part longer.
fn near(bytes: &mut [u8], at: usize, offset: usize, len: usize) -> Option<()> {
    let from = at.wrapping_sub(offset);
    let end = at.wrapping_add(len);
    let mut to = at;
    let mut distance = offset;
    while distance < CHUNK && to < end {
        chunk(bytes, from, to)?;
        to = to.wrapping_add(distance);
        distance = distance.wrapping_mul(2);
    }
    while to < end {
        chunk(bytes, to.wrapping_sub(distance), to)?;
        to = to.wrapping_add(CHUNK);
    }
    Some(())
}

#[inline(always)]
fn chunk(bytes: &mut [u8], from: usize, to: usize) -> Option<()> {
    let chunk: [u8; CHUNK] = *bytes.get(from..)?.first_chunk()?;
    *bytes.get_mut(to..)?.first_chunk_mut()? = chunk;
    Some(())
}

/// As [`repeat`], and not a byte beyond.
pub(super) fn repeat_exactly(bytes: &mut [u8], at: usize, offset: usize, len: usize) -> Option<()> {
    let mut at = at;
    let from = at.wrapping_sub(offset);
    let end = at.wrapping_add(len);
    while at < end {
        // What is there already, from the first byte of the repeated part on.
        let (before, to) = bytes.split_at_mut_checked(at)?;
        let part = before.len().wrapping_sub(from).min(end.wrapping_sub(at));
        to.get_mut(..part)?.copy_from_slice(before.get(from..)?.get(..part)?);
        at = at.wrapping_add(part);
    }
    Some(())
}
