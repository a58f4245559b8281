//! Variable-length integers: base-128, least significant group first, signed ones zigzag-coded.

/// Longest varint of 32 bits, in bytes.
pub const VARINT_BYTES_MAX: usize = 5;
/// Longest varint of 64 bits, in bytes.
pub const VARLONG_BYTES_MAX: usize = 10;

/// Maps 0, -1, 1, -2 … to 0, 1, 2, 3 ….
pub const fn zigzag32(value: i32) -> u32 {
    ((value << 1) ^ (value >> 31)).cast_unsigned()
}

/// Maps 0, -1, 1, -2 … to 0, 1, 2, 3 ….
pub const fn zigzag64(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

/// The inverse of [`zigzag32`].
pub const fn unzigzag32(value: u32) -> i32 {
    (value >> 1).cast_signed() ^ (value & 1).cast_signed().wrapping_neg()
}

/// The inverse of [`zigzag64`].
pub const fn unzigzag64(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ (value & 1).cast_signed().wrapping_neg()
}

/// A varint of one to four bytes, as nearly all are, and what follows it; none for a longer one and for one that is cut off, which
/// [`Reader`](super::Reader) tells apart. Slices come and go by value: through a reference they would live in memory.
#[inline(always)]
pub(crate) fn short_uvarint(bytes: &[u8]) -> Option<(u32, &[u8])> {
    match bytes {
        [a @ 0..=0x7f, rest @ ..] => Some((u32::from(*a), rest)),
        [a, b @ 0..=0x7f, rest @ ..] => Some((u32::from(a & 0x7f) | u32::from(*b) << 7, rest)),
        _ => middle_uvarint(bytes),
    }
}

/// One of three or four bytes.
#[inline(never)]
fn middle_uvarint(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let low = |byte: u8| u32::from(byte & 0x7f);
    match bytes {
        [a, b, c @ 0..=0x7f, rest @ ..] => Some((low(*a) | low(*b) << 7 | low(*c) << 14, rest)),
        [a, b, c, d @ 0..=0x7f, rest @ ..] => Some((low(*a) | low(*b) << 7 | low(*c) << 14 | low(*d) << 21, rest)),
        _ => None,
    }
}

/// Appends `value` to `out` as an unsigned varint of 1 to 10 bytes.
#[inline]
pub fn put_uvarint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Bytes that [`put_uvarint`] writes for `value`.
#[inline(always)]
pub const fn uvarint_len(value: u64) -> usize {
    let bits = (64_u32).saturating_sub((value | 1).leading_zeros());
    bits.div_ceil(7) as usize
}

/// The bytes that [`put_uvarint`] writes for `value`, all at once; those behind them mean nothing.
#[inline(always)]
pub(super) const fn uvarint_bytes(value: u64) -> [u8; VARLONG_BYTES_MAX] {
    let (low, high) = (value & ((1 << 56) - 1), value >> 56);
    // More follows each byte but the last.
    let more = 0x8080_8080_8080_8080_u64 & low_bytes(uvarint_len(value).saturating_sub(1));
    let [a, b, c, d, e, f, g, h] = (sevens(low) | more).to_le_bytes();
    [a, b, c, d, e, f, g, h, (high & 0x7f) as u8 | ((high >= 0x80) as u8) << 7, (high >> 7) as u8]
}

/// The seven lowest bits in the lowest byte, the next seven in the next, of 56 bits.
#[inline(always)]
const fn sevens(bits: u64) -> u64 {
    let bits = bits & 0x0fff_ffff | (bits & 0x00ff_ffff_f000_0000) << 4;
    let bits = bits & 0x0000_3fff_0000_3fff | (bits & 0x0fff_c000_0fff_c000) << 2;
    bits & 0x007f_007f_007f_007f | (bits & 0x3f80_3f80_3f80_3f80) << 1
}

/// All bits of so many low bytes of a word.
#[inline(always)]
const fn low_bytes(bytes: usize) -> u64 {
    if bytes >= 8 { u64::MAX } else { !(u64::MAX << (bytes << 3)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zigzag_is_its_own_inverse_at_the_edges() {
        for v in [0, 1, -1, 2, i64::MAX, i64::MIN] {
            assert_eq!(unzigzag64(zigzag64(v)), v);
        }
        for v in [0, 1, -1, 2, i32::MAX, i32::MIN] {
            assert_eq!(unzigzag32(zigzag32(v)), v);
        }
        assert_eq!(zigzag64(i64::MIN), u64::MAX);
    }

    #[test]
    fn short_ones_come_out_as_they_went_in() {
        for v in [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, 268_435_455] {
            let mut out = Vec::new();
            put_uvarint(&mut out, u64::from(v));
            for end in 0..out.len() {
                assert_eq!(short_uvarint(out.get(..end).unwrap_or_default()), None, "{v}");
            }
            out.push(9);
            assert_eq!(short_uvarint(&out), Some((v, &[9][..])), "{v}");
        }
        assert_eq!(short_uvarint(&[0xff, 0xff, 0xff, 0xff, 0x01]), None);
    }

    #[test]
    fn length_is_what_is_written() {
        for v in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX] {
            let mut out = Vec::new();
            put_uvarint(&mut out, v);
            assert_eq!(out.len(), uvarint_len(v), "{v}");
        }
    }
}
