//! A cursor over bytes from a peer.

use super::error::{DecodeError, DecodeFault};
use super::varint::{VARINT_BYTES_MAX, VARLONG_BYTES_MAX, short_uvarint, unzigzag32, unzigzag64};

/// Reads protocol primitives from the front of a slice.
///
/// Every method takes the field's protocol name, which an error carries together with the offset. Slices that are
/// returned borrow from the input. After an error the position is unspecified; give the reader up.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    buf: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the front of `buf`.
    pub const fn new(buf: &'a [u8]) -> Self {
        Self { buf, at: 0 }
    }

    /// Bytes consumed so far.
    pub const fn position(&self) -> usize {
        self.at
    }

    /// Bytes not consumed yet.
    pub const fn remaining(&self) -> usize {
        self.buf.len().saturating_sub(self.at)
    }

    /// Whether everything has been consumed.
    pub const fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    /// What has not been consumed yet.
    pub fn rest(&self) -> &'a [u8] {
        self.buf.get(self.at..).unwrap_or_default()
    }

    /// Steps over all but the last `left` bytes, of which there are as many at least.
    #[inline]
    pub(crate) const fn skip_to_last(&mut self, left: usize) {
        self.at = self.buf.len().saturating_sub(left);
    }

    /// An error about `field` at the present position.
    pub const fn error(&self, fault: DecodeFault, field: &'static str) -> DecodeError {
        DecodeError::new(fault, field, self.at)
    }

    /// The next `len` bytes.
    ///
    /// # Errors
    /// [`DecodeFault::Truncated`] when fewer are left.
    #[inline]
    pub fn bytes(&mut self, len: usize, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let slice = self.at.checked_add(len).and_then(|end| self.buf.get(self.at..end));
        match slice {
            Some(slice) => {
                self.at = self.at.saturating_add(len);
                Ok(slice)
            }
            None => Err(self.error(DecodeFault::Truncated { wanted: len, left: self.remaining() }, field)),
        }
    }

    /// The next `N` bytes as an array.
    ///
    /// # Errors
    /// [`DecodeFault::Truncated`] when fewer are left.
    #[inline]
    pub fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        match self.buf.get(self.at..).and_then(|rest| rest.first_chunk::<N>()) {
            Some(chunk) => {
                self.at = self.at.saturating_add(N);
                Ok(*chunk)
            }
            None => Err(self.error(DecodeFault::Truncated { wanted: N, left: self.remaining() }, field)),
        }
    }

    /// Steps over `len` bytes.
    ///
    /// # Errors
    /// [`DecodeFault::Truncated`] when fewer are left.
    pub fn skip(&mut self, len: usize, field: &'static str) -> Result<(), DecodeError> {
        self.bytes(len, field).map(|_| ())
    }

    /// An unsigned byte.
    ///
    /// # Errors
    /// [`DecodeFault::Truncated`].
    #[inline]
    pub fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    /// A signed byte.
    ///
    /// # Errors
    /// [`DecodeFault::Truncated`].
    #[inline]
    pub fn i8(&mut self, field: &'static str) -> Result<i8, DecodeError> {
        self.u8(field).map(u8::cast_signed)
    }

    /// A big-endian 16-bit integer.
    ///
    /// # Errors
    /// [`DecodeFault::Truncated`].
    #[inline]
    pub fn i16_be(&mut self, field: &'static str) -> Result<i16, DecodeError> {
        self.array(field).map(i16::from_be_bytes)
    }

    /// A big-endian 32-bit integer.
    ///
    /// # Errors
    /// [`DecodeFault::Truncated`].
    #[inline]
    pub fn i32_be(&mut self, field: &'static str) -> Result<i32, DecodeError> {
        self.array(field).map(i32::from_be_bytes)
    }

    /// A big-endian unsigned 32-bit integer.
    ///
    /// # Errors
    /// [`DecodeFault::Truncated`].
    #[inline]
    pub fn u32_be(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        self.array(field).map(u32::from_be_bytes)
    }

    /// A big-endian 64-bit integer.
    ///
    /// # Errors
    /// [`DecodeFault::Truncated`].
    #[inline]
    pub fn i64_be(&mut self, field: &'static str) -> Result<i64, DecodeError> {
        self.array(field).map(i64::from_be_bytes)
    }

    /// An unsigned varint of at most 32 bits and 5 bytes.
    ///
    /// # Errors
    /// [`DecodeFault::Truncated`]; [`DecodeFault::VarintOverflow`] beyond 5 bytes or 32 bits.
    #[inline]
    pub fn uvarint32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        match self.short_uvarint() {
            Some(value) => Ok(value),
            None => self.long_uvarint32(field),
        }
    }

    /// An unsigned varint of at most 64 bits and 10 bytes.
    ///
    /// # Errors
    /// [`DecodeFault::Truncated`]; [`DecodeFault::VarintOverflow`] beyond 10 bytes or 64 bits.
    #[inline]
    pub fn uvarint64(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        match self.short_uvarint() {
            Some(value) => Ok(value.into()),
            None => self.long_uvarint(VARLONG_BYTES_MAX, field),
        }
    }

    /// As [`short_uvarint`].
    #[inline]
    fn short_uvarint(&mut self) -> Option<u32> {
        let (value, rest) = short_uvarint(self.buf.get(self.at..)?)?;
        self.at = self.buf.len().saturating_sub(rest.len());
        Some(value)
    }

    /// A zigzag varint of 32 bits (Kafka's VARINT).
    ///
    /// # Errors
    /// As [`Reader::uvarint32`].
    #[inline]
    pub fn varint32(&mut self, field: &'static str) -> Result<i32, DecodeError> {
        self.uvarint32(field).map(unzigzag32)
    }

    /// A zigzag varint of 64 bits (Kafka's VARLONG).
    ///
    /// # Errors
    /// As [`Reader::uvarint64`].
    #[inline]
    pub fn varint64(&mut self, field: &'static str) -> Result<i64, DecodeError> {
        self.uvarint64(field).map(unzigzag64)
    }

    #[inline(never)]
    fn long_uvarint32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        let wide = self.long_uvarint(VARINT_BYTES_MAX, field)?;
        u32::try_from(wide).map_err(|_| self.error(DecodeFault::VarintOverflow, field))
    }

    #[inline(never)]
    fn long_uvarint(&mut self, bytes_max: usize, field: &'static str) -> Result<u64, DecodeError> {
        let mut value = 0_u64;
        let mut shift = 0_u32;
        for _ in 0..bytes_max {
            let byte = self.u8(field)?;
            let group = u64::from(byte & 0x7f);
            let shifted = group << shift;
            if shifted >> shift != group {
                return Err(self.error(DecodeFault::VarintOverflow, field));
            }
            value |= shifted;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
            shift = shift.saturating_add(7);
        }
        Err(self.error(DecodeFault::VarintOverflow, field))
    }

    /// A count from the wire, checked against what is left: `count` elements of at least `element_bytes_min` each must fit.
    ///
    /// # Errors
    /// [`DecodeFault::BadLength`] when it is negative or cannot fit.
    pub fn checked_count(
        &self,
        count: i64,
        element_bytes_min: usize,
        field: &'static str,
    ) -> Result<usize, DecodeError> {
        let fits = usize::try_from(count)
            .ok()
            .filter(|n| n.checked_mul(element_bytes_min.max(1)).is_some_and(|bytes| bytes <= self.remaining()));
        fits.ok_or_else(|| self.error(DecodeFault::BadLength(count), field))
    }

    /// Fails unless everything has been consumed.
    ///
    /// # Errors
    /// [`DecodeFault::TrailingBytes`].
    pub const fn finish(&self, field: &'static str) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            left => Err(self.error(DecodeFault::TrailingBytes(left), field)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_checked_before_use() {
        let mut reader = Reader::new(&[0, 0, 0, 9, 1]);
        let count = reader.i32_be("count").map(i64::from);
        assert_eq!(count, Ok(9));
        assert_eq!(reader.checked_count(9, 1, "count"), Err(DecodeError::new(DecodeFault::BadLength(9), "count", 4)));
        assert!(reader.checked_count(i64::MAX, 8, "count").is_err());
        assert!(reader.checked_count(-1, 1, "count").is_err());
        assert_eq!(reader.checked_count(1, 1, "count"), Ok(1));
    }

    #[test]
    fn varints_refuse_what_does_not_fit() {
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x0f]).uvarint32("n"), Ok(u32::MAX));
        assert!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x1f]).uvarint32("n").is_err());
        assert!(Reader::new(&[0xff; 10]).uvarint64("n").is_err());
        assert!(Reader::new(&[0x80]).uvarint64("n").is_err());
        // More bytes than are needed are taken, as Java takes them; they may be one or two.
        assert_eq!(Reader::new(&[0x85, 0x00]).uvarint32("n"), Ok(5));
        assert_eq!(Reader::new(&[0xff, 0x7f, 1]).uvarint64("n"), Ok(16_383));
        assert_eq!(Reader::new(&[0xff, 0xff, 0x00]).uvarint32("n"), Ok(16_383));
        assert_eq!(Reader::new(&[]).uvarint32("n").map_err(|e| e.at), Err(0));
        let max = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(Reader::new(&max).varint64("n"), Ok(i64::MIN));
    }
}
