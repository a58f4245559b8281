//! Huffman codes of literals: their tables (RFC 8878, section 4.2.1) and their streams (4.2.2).

use super::bits::{Bits, LEAD_BYTES};
use super::fse::{Counts, Entry};

/// Bits of the longest code.
const CODE_BITS_MAX: u32 = 11;
const TABLE_LEN: usize = 1 << CODE_BITS_MAX;
/// Weights that are written down; that of the last symbol follows from them.
const WEIGHTS_MAX: usize = 255;
/// Bits of the largest table of states for weights.
const WEIGHTS_LOG_MAX: u8 = 6;
/// Codes that are read from one word: what is loaded holds 56 bits at least.
const CODES_PER_WORD: usize = 5;

/// The table of the last block that had one.
pub(super) struct Huffman {
    /// By the next bits: the symbol in the upper byte, the bits of its code in the lower.
    table: Box<[u16; TABLE_LEN]>,
    is_set: bool,
}

impl Huffman {
    pub(super) fn new() -> Self {
        Self { table: Box::new([0; TABLE_LEN]), is_set: false }
    }

    /// Forgets the table: a new frame begins.
    pub(super) const fn reset(&mut self) {
        self.is_set = false;
    }

    /// Whether there is a table.
    pub(super) const fn is_set(&self) -> bool {
        self.is_set
    }

    /// Reads the table that is described in `input` from `start`, before `end`. Where the description ends.
    pub(super) fn read(&mut self, input: &[u8], start: usize, end: usize) -> Option<usize> {
        self.is_set = false;
        let head = usize::from(*input.get(start..end)?.first()?);
        let start = start.wrapping_add(1);
        let mut weights = [0_u8; SYMBOLS];
        let (len, after) = if head >= 128 {
            let len = head.wrapping_sub(127);
            let after = start.wrapping_add(len.div_ceil(2));
            let packed = input.get(start..end)?.get(..len.div_ceil(2))?;
            for ([first, second], byte) in weights.as_chunks_mut().0.iter_mut().zip(packed) {
                (*first, *second) = (byte >> 4, byte & 15);
            }
            // The last byte may hold one weight too many.
            *weights.get_mut(len)? = 0;
            (len, after)
        } else {
            let after = start.wrapping_add(head);
            (packed_weights(input.get(..end)?, start, after, &mut weights)?, after)
        };
        self.build(&mut weights, len)?;
        self.is_set = true;
        Some(after)
    }

    /// Makes the table of the first `len` weights and the one that is missing.
    fn build(&mut self, weights: &mut [u8; SYMBOLS], len: usize) -> Option<()> {
        let mut counts = [0_u32; CODE_BITS_MAX as usize + 2];
        let mut total = 0_u32;
        for weight in weights.get(..len)? {
            let count = counts.get_mut(usize::from(*weight))?;
            *count = count.wrapping_add(1);
            total = total.wrapping_add((1_u32 << (weight & 15)) >> 1);
        }
        let log = total.checked_ilog2()?.wrapping_add(1);
        if log > CODE_BITS_MAX {
            return None;
        }
        // The last symbol fills the table up to a power of two, being one itself.
        let rest = (1_u32 << log).wrapping_sub(total);
        if !rest.is_power_of_two() {
            return None;
        }
        let last = u8::try_from(rest.ilog2().wrapping_add(1)).ok()?;
        *weights.get_mut(len)? = last;
        let count = counts.get_mut(usize::from(last))?;
        *count = count.wrapping_add(1);
        let [_, ones, ..] = counts;
        if ones < 2 || ones % 2 != 0 {
            return None;
        }
        // Codes stand by rising weight, and by symbol within one; the table is as large for shorter codes, too.
        let scale = CODE_BITS_MAX.wrapping_sub(log);
        let mut starts = [0_usize; CODE_BITS_MAX as usize + 2];
        let mut at = 0_usize;
        for (weight, (start, count)) in (0_u32..).zip(starts.iter_mut().zip(counts)).skip(1) {
            *start = at;
            at = at.wrapping_add((count as usize).wrapping_shl(weight.wrapping_sub(1).wrapping_add(scale)));
        }
        for (symbol, weight) in (0_u16..).zip(weights.get(..=len)?).filter(|(_, weight)| **weight > 0) {
            let start = starts.get_mut(usize::from(*weight))?;
            let span = 1_usize.wrapping_shl(u32::from(*weight).wrapping_sub(1).wrapping_add(scale));
            let bits = log.wrapping_add(1).wrapping_sub(u32::from(*weight));
            let end = start.wrapping_add(span);
            self.table.get_mut(*start..end)?.fill(symbol << 8 | u16::try_from(bits).ok()?);
            *start = end;
        }
        Some(())
    }

    /// Decodes the stream in `input` from `start` to `end` into `out`, which it must fill exactly.
    pub(super) fn one(&self, input: &[u8], start: usize, end: usize, out: &mut [u8]) -> Option<()> {
        let bytes = input.get(start.checked_sub(LEAD_BYTES)?..end)?;
        Stream::new(bytes, 0, end.checked_sub(start)?)?.finish(bytes, &self.table, out)
    }

    /// Decodes four streams, the first of which starts at `start`, into `out`. Their first and last bytes: `ends`.
    pub(super) fn four(&self, input: &[u8], bounds: [usize; 5], out: &mut [u8]) -> Option<()> {
        let [start, second, third, fourth, end] = bounds;
        let share = out.len().div_ceil(4);
        let (a, rest) = out.split_at_mut_checked(share)?;
        let (b, rest) = rest.split_at_mut_checked(share)?;
        let (c, d) = rest.split_at_mut_checked(share)?;
        let bytes = input.get(start.checked_sub(LEAD_BYTES)?..end)?;
        let mut sa = Stream::new(bytes, 0, second.checked_sub(start)?)?;
        let mut sb = Stream::new(bytes, second.checked_sub(start)?, third.checked_sub(start)?)?;
        let mut sc = Stream::new(bytes, third.checked_sub(start)?, fourth.checked_sub(start)?)?;
        let mut sd = Stream::new(bytes, fourth.checked_sub(start)?, end.checked_sub(start)?)?;
        let table = &*self.table;
        let rounds = d.len() / CODES_PER_WORD;
        let (a, a_rest) = a.split_at_mut_checked(rounds.wrapping_mul(CODES_PER_WORD))?;
        let (b, b_rest) = b.split_at_mut_checked(rounds.wrapping_mul(CODES_PER_WORD))?;
        let (c, c_rest) = c.split_at_mut_checked(rounds.wrapping_mul(CODES_PER_WORD))?;
        let (d, d_rest) = d.split_at_mut_checked(rounds.wrapping_mul(CODES_PER_WORD))?;
        let (a, b, c, d) = (a.as_chunks_mut().0, b.as_chunks_mut().0, c.as_chunks_mut().0, d.as_chunks_mut().0);
        for (((a, b), c), d) in a.iter_mut().zip(b).zip(c).zip(d) {
            let (a, b, c, d): (&mut [u8; CODES_PER_WORD], &mut [u8; 5], &mut [u8; 5], &mut [u8; 5]) = (a, b, c, d);
            for (((a, b), c), d) in a.iter_mut().zip(b).zip(c).zip(d) {
                *a = sa.next(table);
                *b = sb.next(table);
                *c = sc.next(table);
                *d = sd.next(table);
            }
            sa.load(bytes);
            sb.load(bytes);
            sc.load(bytes);
            sd.load(bytes);
        }
        sa.finish(bytes, table, a_rest)?;
        sb.finish(bytes, table, b_rest)?;
        sc.finish(bytes, table, c_rest)?;
        sd.finish(bytes, table, d_rest)
    }
}

/// Symbols that literals can be.
const SYMBOLS: usize = WEIGHTS_MAX + 1;

/// Weights that are packed as states of a table of their own; how many they are.
fn packed_weights(input: &[u8], start: usize, end: usize, weights: &mut [u8; SYMBOLS]) -> Option<usize> {
    let (counts, used) = Counts::read(input.get(start..end)?, WEIGHTS_LOG_MAX, u8::MAX)?;
    let mut table = [Entry::default(); 1 << WEIGHTS_LOG_MAX];
    let mut values = [(0_u32, 0_u8); SYMBOLS];
    for (number, value) in (0_u32..).zip(&mut values) {
        value.0 = number;
    }
    counts.build(&mut table, &values)?;
    let mut bits = Bits::new(input, start.wrapping_add(used), end)?;
    let mut now = bits.take(counts.log);
    let mut other = bits.take(counts.log);
    if bits.is_beyond() {
        return None;
    }
    // The two states take turns. The stream ends where one lacks bits; then the other's weight is the last.
    let mut len = 0_usize;
    loop {
        let entry = table.get(now as usize)?;
        *weights.get_mut(..WEIGHTS_MAX)?.get_mut(len)? = u8::try_from(entry.base).ok()?;
        len = len.wrapping_add(1);
        now = u32::from(entry.next).wrapping_add(bits.take(entry.bits));
        std::mem::swap(&mut now, &mut other);
        if bits.is_beyond() {
            let entry = table.get(now as usize)?;
            *weights.get_mut(..WEIGHTS_MAX)?.get_mut(len)? = u8::try_from(entry.base).ok()?;
            return Some(len.wrapping_add(1));
        }
    }
}

/// One stream of several that stand in the same bytes, behind [`LEAD_BYTES`] of whatever comes before. The word holds its next bits at the
/// top; below those loaded one bit is set, so that the zeros under it tell how many were taken.
struct Stream {
    /// Where the stream starts, and where the word was loaded. As 32 bits, so that one comparison tells whether eight bytes are there.
    start: u32,
    at: u32,
    word: u64,
}

impl Stream {
    /// The stream in `bytes` from `start` to `end`, both without what comes before.
    fn new(bytes: &[u8], start: usize, end: usize) -> Option<Self> {
        let last = end.checked_sub(1).filter(|last| *last >= start)?;
        // The end mark and the zeros above it are taken.
        let taken = bytes.get(LEAD_BYTES..)?.get(last)?.leading_zeros().wrapping_add(1);
        let word = 1_u64.checked_shl(taken).filter(|_| taken <= 8)?;
        let mut stream = Self { start: u32::try_from(start).ok()?, at: u32::try_from(end).ok()?, word };
        stream.load(bytes);
        Some(stream)
    }

    /// Loads what has been taken.
    #[inline(always)]
    fn load(&mut self, bytes: &[u8]) {
        let taken = self.word.trailing_zeros();
        self.at = self.at.wrapping_sub(taken >> 3);
        let at = self.at as usize;
        let word = bytes.get(at..at.wrapping_add(8)).and_then(|word| word.first_chunk());
        self.word = (word.map_or(0, |word| u64::from_le_bytes(*word)) | 1) << (taken & 7);
    }

    #[inline(always)]
    fn next(&mut self, table: &[u16; TABLE_LEN]) -> u8 {
        let entry = table.get((self.word >> (64 - CODE_BITS_MAX)) as usize).copied().unwrap_or_default();
        self.word = self.word.wrapping_shl(entry.into());
        let [_, symbol] = entry.to_le_bytes();
        symbol
    }

    /// Fills `out`, after which nothing may be left.
    fn finish(mut self, bytes: &[u8], table: &[u16; TABLE_LEN], out: &mut [u8]) -> Option<()> {
        let (chunks, rest) = out.as_chunks_mut::<CODES_PER_WORD>();
        for chunk in chunks {
            for symbol in chunk {
                *symbol = self.next(table);
            }
            self.load(bytes);
        }
        for symbol in rest {
            *symbol = self.next(table);
        }
        self.load(bytes);
        // Whole bytes went with the load; what is left of the last one are zeros under the mark.
        let left = self.at.wrapping_sub(self.start).wrapping_mul(8);
        (left == self.word.trailing_zeros()).then_some(())
    }
}
