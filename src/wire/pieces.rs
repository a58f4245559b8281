//! A buffer of many short pieces.

use super::varint::{VARLONG_BYTES_MAX, uvarint_bytes, uvarint_len};

/// Bytes put together from short pieces.
///
/// A `Vec` copies a piece through the C library, whose call costs more than a short piece does: a third of a job's CPU with
/// musl, whose `memcpy` is one `rep movsq`. Here the room ahead is initialised, so that a piece of up to
/// [`PIECE_BYTES_MAX`] bytes is a few moves of known size. Inlining is told where it pays: what ships is built for size.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pieces {
    /// Every byte is initialised; the first `filled` are content.
    bytes: Vec<u8>,
    filled: usize,
}

/// The longest piece that is copied here rather than by the C library.
const PIECE_BYTES_MAX: usize = 256;

/// Room that a buffer gets at first, in bytes.
const ROOM_BYTES_MIN: usize = 256;

impl Pieces {
    /// Bytes of content.
    #[inline(always)]
    pub(crate) const fn len(&self) -> usize {
        self.filled
    }

    /// The content.
    #[inline]
    pub(crate) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.filled).unwrap_or_default()
    }

    /// Forgets the content; the room stays.
    #[inline]
    pub(crate) const fn clear(&mut self) {
        self.filled = 0;
    }

    /// Forgets what comes after the first `len` bytes.
    #[inline]
    pub(crate) fn truncate(&mut self, len: usize) {
        self.filled = self.filled.min(len);
    }

    /// Appends a piece.
    #[inline(never)]
    pub(crate) fn put(&mut self, piece: &[u8]) {
        self.put_headed([], piece);
    }

    /// As [`Pieces::put`] for a piece whose length is known to the compiler.
    #[inline(always)]
    pub(crate) fn put_array<const N: usize>(&mut self, piece: [u8; N]) {
        if let Some(room) = self.room(N).and_then(|room| room.first_chunk_mut()) {
            *room = piece;
        }
        self.filled = self.filled.wrapping_add(N);
    }

    /// Appends an array and then a piece.
    #[inline(always)]
    pub(crate) fn put_headed<const N: usize>(&mut self, head: [u8; N], piece: &[u8]) {
        let bytes = piece.len().saturating_add(N);
        if let Some((room, rest)) = self.room(bytes).and_then(|room| room.split_first_chunk_mut()) {
            *room = head;
            copy(rest, piece);
        }
        self.filled = self.filled.wrapping_add(bytes);
    }

    /// Appends an unsigned varint of 1 to 10 bytes.
    #[inline(always)]
    pub(crate) fn put_uvarint(&mut self, value: u64) {
        if value < 0x80 {
            self.put_array([value as u8]);
        } else {
            self.put_long_uvarint(value);
        }
    }

    #[inline(never)]
    fn put_long_uvarint(&mut self, value: u64) {
        if let Some(room) = self.room(VARLONG_BYTES_MAX).and_then(|room| room.first_chunk_mut()) {
            *room = uvarint_bytes(value);
        }
        self.filled = self.filled.wrapping_add(uvarint_len(value));
    }

    /// Appends the tag of a field and a value with its length before it, as Protocol Buffers do.
    #[inline(never)]
    pub(crate) fn put_delimited(&mut self, tag: u32, value: &[u8]) {
        let len = value.len();
        match (tag, len) {
            (..0x80, ..0x80) => self.put_headed([tag as u8, len as u8], value),
            (..0x80, 0x80..0x4000) => self.put_headed([tag as u8, (len & 0x7f) as u8 | 0x80, (len >> 7) as u8], value),
            _ => {
                self.put_uvarint(tag.into());
                self.put_uvarint(len as u64);
                self.put(value);
            }
        }
    }

    /// Hands out the first `len` bytes; what follows them becomes the content of a buffer with room for as much and an eighth more.
    pub(crate) fn take_front(&mut self, len: usize) -> Vec<u8> {
        let len = len.min(self.filled);
        let room = self.filled.saturating_add(self.filled / 8);
        let mut next = Self { bytes: vec![0; room], filled: 0 };
        next.put(self.as_slice().get(len..).unwrap_or_default());
        let mut front = std::mem::replace(self, next).bytes;
        front.truncate(len);
        front
    }

    /// Removes the first `len` bytes.
    pub(crate) fn drop_front(&mut self, len: usize) {
        let len = len.min(self.filled);
        self.bytes.copy_within(len..self.filled, 0);
        self.filled = self.filled.saturating_sub(len);
    }

    /// The content as a `Vec`.
    pub(crate) fn into_vec(mut self) -> Vec<u8> {
        self.bytes.truncate(self.filled);
        self.bytes
    }

    /// `len` bytes after the content. There are always some.
    #[inline(always)]
    fn room(&mut self, len: usize) -> Option<&mut [u8]> {
        if len > self.bytes.len().wrapping_sub(self.filled) {
            self.grow(len);
        }
        self.bytes.get_mut(self.filled..)?.get_mut(..len)
    }

    #[cold]
    fn grow(&mut self, len: usize) {
        let needed = self.filled.saturating_add(len);
        let room = self.bytes.len().saturating_mul(2).max(ROOM_BYTES_MIN).max(needed);
        self.bytes.resize(room, 0);
    }
}

/// Copies a piece to where there is room for it and no more.
#[inline(always)]
fn copy(to: &mut [u8], from: &[u8]) {
    // Says once that the lengths are equal.
    let Some(to) = to.get_mut(..from.len()) else { return };
    let len = from.len();
    if len > PIECE_BYTES_MAX {
        to.copy_from_slice(from);
    } else if len > 128 {
        // In two overlapping halves: more than 64 bytes at once would be a call again.
        let last = len.wrapping_sub(128);
        if let (Some(to), Some(from)) = (to.get_mut(..128), from.get(..128)) {
            ends::<64>(to, from);
        }
        if let (Some(to), Some(from)) = (to.get_mut(last..), from.get(last..)) {
            ends::<64>(to, from);
        }
    } else if len > 64 {
        ends::<64>(to, from);
    } else if len > 32 {
        ends::<32>(to, from);
    } else if len >= 16 {
        ends::<16>(to, from);
    } else if len >= 8 {
        ends::<8>(to, from);
    } else if len >= 4 {
        ends::<4>(to, from);
    } else if len >= 2 {
        ends::<2>(to, from);
    } else {
        ends::<1>(to, from);
    }
}

/// Copies the first and the last `N` bytes, which may overlap.
#[inline(always)]
fn ends<const N: usize>(to: &mut [u8], from: &[u8]) {
    if let (Some(to), Some(from)) = (to.first_chunk_mut::<N>(), from.first_chunk::<N>()) {
        *to = *from;
    }
    // Not `last_chunk`, which is a call where the compiler saves space.
    let last = from.len().wrapping_sub(N);
    if let (Some(to), Some(from)) = (to.get_mut(last..), from.get(last..))
        && let (Some(to), Some(from)) = (to.first_chunk_mut::<N>(), from.first_chunk::<N>())
    {
        *to = *from;
    }
}

#[cfg(test)]
mod tests {
    use super::super::put_uvarint;
    use super::*;

    fn text(len: usize) -> Vec<u8> {
        (0..len).map(|at| (at % 251) as u8).collect()
    }

    #[test]
    fn pieces_of_any_length_come_out_as_they_went_in() {
        let (mut pieces, mut wanted) = (Pieces::default(), Vec::new());
        for len in (0..600).chain([1000, 4096, 70_000]) {
            pieces.put(&text(len));
            pieces.put_array([0xff; 3]);
            wanted.extend(text(len));
            wanted.extend([0xff; 3]);
            assert_eq!(pieces.len(), wanted.len());
        }
        assert_eq!(pieces.as_slice(), wanted);
        assert_eq!(pieces.into_vec(), wanted);
    }

    #[test]
    fn varints_are_those_of_a_vec() {
        let (mut pieces, mut wanted) = (Pieces::default(), Vec::new());
        for bits in 0..64 {
            for value in [1_u64 << bits, (1 << bits) - 1, u64::MAX >> bits] {
                pieces.put_uvarint(value);
                put_uvarint(&mut wanted, value);
            }
        }
        assert_eq!(pieces.as_slice(), wanted);
    }

    #[test]
    fn delimited_values_have_their_tag_and_length_before_them() {
        let (mut pieces, mut wanted) = (Pieces::default(), Vec::new());
        for tag in [0, 0x0a, 0x7f, 0x80, u32::MAX] {
            for len in [0, 1, 127, 128, 300, 16_383, 16_384, 70_000] {
                pieces.put_delimited(tag, &text(len));
                put_uvarint(&mut wanted, tag.into());
                put_uvarint(&mut wanted, len as u64);
                wanted.extend(text(len));
            }
        }
        assert_eq!(pieces.as_slice(), wanted);
    }

    #[test]
    fn the_front_goes_and_the_rest_stays() {
        let mut pieces = Pieces::default();
        pieces.put(&text(1000));
        assert_eq!(pieces.take_front(990), text(990));
        assert_eq!(pieces.as_slice(), text(1000).get(990..).unwrap_or_default());
        pieces.put(b"more");
        pieces.drop_front(10);
        assert_eq!(pieces.as_slice(), b"more");
        pieces.truncate(2);
        assert_eq!(pieces.as_slice(), b"mo");
        pieces.clear();
        assert_eq!((pieces.len(), pieces.take_front(5)), (0, Vec::new()));
    }
}
