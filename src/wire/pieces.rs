//! A buffer of many short pieces.

use super::varint::VARLONG_BYTES_MAX;

/// Bytes put together from short pieces.
///
/// A `Vec` copies a piece through the C library, whose call costs more than a short piece does: a third of a job's CPU with
/// musl, whose `memcpy` is one `rep movsq`. Here the room ahead is initialised, so that a piece of up to
/// [`PIECE_BYTES_MAX`] bytes is a few moves of known size.
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
    #[inline]
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
    #[inline]
    pub(crate) fn put(&mut self, piece: &[u8]) {
        copy(self.room(piece.len()), piece);
        self.filled = self.filled.saturating_add(piece.len());
    }

    /// As [`Pieces::put`] for a piece whose length is known to the compiler.
    #[inline]
    pub(crate) fn put_array<const N: usize>(&mut self, piece: [u8; N]) {
        if let Some(room) = self.room(N).first_chunk_mut() {
            *room = piece;
        }
        self.filled = self.filled.saturating_add(N);
    }

    /// Appends an unsigned varint of 1 to 10 bytes.
    #[inline]
    pub(crate) fn put_uvarint(&mut self, mut value: u64) {
        let mut bytes = 0_usize;
        for place in self.room(VARLONG_BYTES_MAX) {
            bytes = bytes.saturating_add(1);
            *place = (value & 0x7f) as u8 | u8::from(value >= 0x80) << 7;
            value >>= 7;
            if value == 0 {
                break;
            }
        }
        self.filled = self.filled.saturating_add(bytes);
    }

    /// Hands out the first `len` bytes; what follows them becomes the content of a buffer with as much room.
    pub(crate) fn take_front(&mut self, len: usize) -> Vec<u8> {
        let len = len.min(self.filled);
        let mut next = Self { bytes: vec![0; self.bytes.len()], filled: 0 };
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

    /// `len` bytes after the content.
    #[inline]
    fn room(&mut self, len: usize) -> &mut [u8] {
        let end = self.filled.saturating_add(len);
        if end > self.bytes.len() {
            self.grow(end);
        }
        self.bytes.get_mut(self.filled..end).unwrap_or_default()
    }

    #[cold]
    fn grow(&mut self, needed: usize) {
        let room = self.bytes.len().saturating_mul(2).max(ROOM_BYTES_MIN).max(needed);
        self.bytes.resize(room, 0);
    }
}

/// Copies a piece to where there is room for it and no more.
#[inline]
fn copy(to: &mut [u8], from: &[u8]) {
    match from.len() {
        0 => {}
        1 => ends::<1>(to, from),
        2..4 => ends::<2>(to, from),
        4..8 => ends::<4>(to, from),
        8..16 => ends::<8>(to, from),
        16..32 => ends::<16>(to, from),
        32..64 => ends::<32>(to, from),
        64..=128 => ends::<64>(to, from),
        129..=PIECE_BYTES_MAX => {
            // In two overlapping halves: more than 64 bytes at once would be a call again.
            if let (Some(to), Some(from)) = (to.first_chunk_mut::<128>(), from.first_chunk::<128>()) {
                ends::<64>(to, from);
            }
            if let (Some(to), Some(from)) = (to.last_chunk_mut::<128>(), from.last_chunk::<128>()) {
                ends::<64>(to, from);
            }
        }
        _ => to.copy_from_slice(from),
    }
}

/// Copies the first and the last `N` bytes, which may overlap.
#[inline(always)]
fn ends<const N: usize>(to: &mut [u8], from: &[u8]) {
    if let (Some(to), Some(from)) = (to.first_chunk_mut::<N>(), from.first_chunk::<N>()) {
        *to = *from;
    }
    if let (Some(to), Some(from)) = (to.last_chunk_mut::<N>(), from.last_chunk::<N>()) {
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
