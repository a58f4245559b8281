//! Streams of bits that are read from their end (RFC 8878, sections 4.1 and 4.2.2).
//!
//! A stream lies within the input of a batch, where at least [`LEAD_BYTES`] bytes come before it: the frame's magic and
//! header and the block's. So eight bytes can always be loaded at once, and a stream that is read beyond its start yields
//! whatever stands there. Nothing is checked while bits are taken; who reads asks [`Bits::is_at_start`] when all are taken, and no
//! stream that was read too far is ever there again.

/// Bytes before a stream that may be loaded.
pub(super) const LEAD_BYTES: usize = 8;

/// Most bytes of a stream.
const STREAM_BYTES_MAX: u32 = 1 << 24;

/// Bits that are good in a word that [`Bits::word`] gives.
pub(super) const WORD_BITS_MIN: u32 = 57;

/// The lowest bits of a word, by how many; as many entries as a byte has values, so that none is looked for beyond.
#[allow(clippy::indexing_slicing, reason = "while compiling")]
const MASKS: [u32; 256] = {
    let mut masks = [0; 256];
    let mut n = 0_u32;
    while n < 32 {
        masks[n as usize] = (1_u32 << n).wrapping_sub(1);
        n = n.wrapping_add(1);
    }
    masks
};

/// Bits from the end: behind the highest one that is set in the last byte.
#[derive(Clone, Copy)]
pub(super) struct Bits<'a> {
    /// The stream and the bytes before it.
    bytes: &'a [u8],
    /// Bits left and seven more, so that its eighths are where a word is loaded.
    left: u32,
}

impl<'a> Bits<'a> {
    /// The stream in `input` from `start` to `end`. None when there is none, it lacks its end mark or is larger than any block.
    pub(super) fn new(input: &'a [u8], start: usize, end: usize) -> Option<Self> {
        let bytes = input.get(start.checked_sub(LEAD_BYTES)?..end)?;
        let stream_bytes = u32::try_from(end.checked_sub(start)?).ok().filter(|bytes| *bytes <= STREAM_BYTES_MAX)?;
        let mark = bytes.last()?.leading_zeros();
        // The mark itself and the zeros above it are not part of it.
        (stream_bytes > 0 && mark < 8)
            .then_some(Self { bytes, left: stream_bytes.wrapping_mul(8).wrapping_sub(mark).wrapping_add(6) })
    }

    /// The next bits from the top of a word, [`WORD_BITS_MIN`] of them at least.
    #[inline(always)]
    pub(super) fn word(&self) -> u64 {
        let at = (self.left >> 3) as usize;
        match self.bytes.get(at..at.wrapping_add(8)).and_then(|word| word.first_chunk()) {
            Some(word) => u64::from_le_bytes(*word) << (!self.left & 7),
            None => 0,
        }
    }

    /// Counts `n` bits as taken.
    #[inline(always)]
    pub(super) const fn skip(&mut self, n: u32) {
        self.left = self.left.wrapping_sub(n);
    }

    /// The next `n` bits, up to 31.
    #[inline]
    pub(super) fn take(&mut self, n: u8) -> u32 {
        let mut word = self.word();
        self.skip(n.into());
        take(&mut word, n)
    }

    /// Whether exactly all bits have been taken.
    pub(super) const fn is_at_start(&self) -> bool {
        self.left == 7
    }

    /// Whether more bits were taken than there are.
    pub(super) const fn is_beyond(&self) -> bool {
        self.left.wrapping_sub(7) > u32::MAX / 2
    }
}

/// The `n` highest bits of `word`, up to 31, which go: they come round to its lower end, where nobody looks.
#[inline(always)]
pub(super) fn take(word: &mut u64, n: u8) -> u32 {
    *word = word.rotate_left(n.into());
    let [a, b, c, d, ..] = word.to_le_bytes();
    u32::from_le_bytes([a, b, c, d]) & MASKS.get(usize::from(n)).copied().unwrap_or_default()
}
