//! Copies in chunks of 16 bytes, which may write over what comes behind.

/// Bytes behind a copy that may be written over, and behind its source that may be read.
pub(super) const SLACK_BYTES: usize = 32;

const CHUNK: usize = 16;
const TWO_CHUNKS: usize = 2 * CHUNK;

/// Copies `len` bytes of `from` at `from_at` to `to` at `at`. None, and nothing of use written, where either may end too early for
/// whole chunks.
#[inline(always)]
pub(super) fn literals(from: &[u8], from_at: u32, to: &mut [u8], at: u32, len: u32) -> Option<()> {
    *part_mut::<CHUNK>(to, at)? = *part(from, from_at)?;
    if len as usize > CHUNK {
        let (from_at, at, len) = (from_at as usize, at as usize, len as usize);
        to.get_mut(at..)?.get_mut(..len)?.copy_from_slice(from.get(from_at..)?.get(..len)?);
    }
    Some(())
}

/// Copies `len` bytes that stand `offset` before `at` to `at`, those that this writes among them. `offset` is from 1 to `at`.
#[inline(always)]
pub(super) fn repeat(bytes: &mut [u8], at: u32, offset: u32, len: u32) -> Option<()> {
    let from = at.wrapping_sub(offset);
    if len as usize <= CHUNK && offset as usize >= CHUNK {
        let chunk: [u8; CHUNK] = *part(bytes, from)?;
        *part_mut(bytes, at)? = chunk;
    } else if len as usize <= TWO_CHUNKS && offset as usize >= TWO_CHUNKS {
        let chunk: [u8; TWO_CHUNKS] = *part(bytes, from)?;
        *part_mut(bytes, at)? = chunk;
    } else if offset >= len {
        let (before, to) = bytes.split_at_mut_checked(at as usize)?;
        to.get_mut(..len as usize)?.copy_from_slice(before.get(from as usize..)?.get(..len as usize)?);
    } else {
        overlapping(bytes, at, offset, len)?;
    }
    Some(())
}

/// As [`repeat`], where source and target overlap: each chunk makes the repeated part longer, until it is one.
#[inline(never)]
fn overlapping(bytes: &mut [u8], at: u32, offset: u32, len: u32) -> Option<()> {
    let from = at.wrapping_sub(offset);
    let end = at.wrapping_add(len);
    let mut to = at;
    let mut distance = offset;
    while (distance as usize) < CHUNK && to < end {
        let chunk: [u8; CHUNK] = *part(bytes, from)?;
        *part_mut(bytes, to)? = chunk;
        to = to.wrapping_add(distance);
        distance = distance.wrapping_mul(2);
    }
    while to < end {
        let chunk: [u8; CHUNK] = *part(bytes, to.wrapping_sub(distance))?;
        *part_mut(bytes, to)? = chunk;
        to = to.wrapping_add(CHUNK as u32);
    }
    Some(())
}

/// `N` bytes at `at`. That is 32 bits, so that the end cannot be beyond what a length can be, and one comparison is enough.
#[inline(always)]
fn part<const N: usize>(bytes: &[u8], at: u32) -> Option<&[u8; N]> {
    let at = at as usize;
    bytes.get(at..at.wrapping_add(N))?.first_chunk()
}

#[inline(always)]
fn part_mut<const N: usize>(bytes: &mut [u8], at: u32) -> Option<&mut [u8; N]> {
    let at = at as usize;
    bytes.get_mut(at..at.wrapping_add(N))?.first_chunk_mut()
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
