//! Tables of finite state entropy codes (RFC 8878, section 4.1.1).

/// Largest table, in states and in bits of their number.
pub(super) const STATES_MAX: usize = 1 << 9;
/// Most symbols that a table can tell apart.
pub(super) const SYMBOLS_MAX: usize = 256;

/// One state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    /// What the state's symbol stands for, before its extra bits are added.
    pub(super) base: u32,
    /// The next state, before bits are added.
    pub(super) next: u16,
    /// Bits to add to the next state.
    pub(super) bits: u8,
    /// Bits to add to the base.
    pub(super) extra: u8,
}

impl Entry {
    /// A state of a table that is not there.
    pub(super) const NONE: Self = Self { base: 0, next: 0, bits: 0, extra: 0 };
}

/// How often each symbol occurs among the states. -1: once, with all bits read anew.
pub(super) struct Counts {
    pub(super) log: u8,
    pub(super) counts: [i16; SYMBOLS_MAX],
    /// Symbols up to the last one that occurs.
    pub(super) symbols: usize,
}

impl Counts {
    /// Reads the description of a table at the front of `source`, and how many bytes it takes. None when it is none, is of more
    /// than `log_max` bits or has symbols above `symbol_max`.
    pub(super) fn read(source: &[u8], log_max: u8, symbol_max: u8) -> Option<(Self, usize)> {
        let mut bits = Forward { source, at: 0 };
        let log = u8::try_from(bits.peek(4)).ok()?.wrapping_add(5);
        bits.at = 4;
        if log > log_max {
            return None;
        }
        let mut counts = [0_i16; SYMBOLS_MAX];
        let mut symbols = 0_usize;
        let mut left = 1_i32.wrapping_shl(log.into());
        while left > 0 {
            if symbols > usize::from(symbol_max) {
                return None;
            }
            let most = left.unsigned_abs().wrapping_add(1);
            let wide = most.checked_ilog2()?.wrapping_add(1);
            // So many values are a bit shorter than the others.
            let short = (1_u32.wrapping_shl(wide)).wrapping_sub(1).wrapping_sub(most);
            let whole = bits.peek(wide);
            let low = whole & (1_u32.wrapping_shl(wide.wrapping_sub(1))).wrapping_sub(1);
            let value = if low < short {
                bits.skip(wide.wrapping_sub(1));
                low
            } else {
                bits.skip(wide);
                if whole == low { whole } else { whole.wrapping_sub(short) }
            };
            let count = i16::try_from(value).ok()?.wrapping_sub(1);
            left = left.wrapping_sub(i32::from(count.wrapping_abs()));
            *counts.get_mut(symbols)? = count;
            symbols = symbols.wrapping_add(1);
            // Behind a symbol that does not occur stands how many more of that kind follow.
            let mut zeros = if count == 0 { 3 } else { 0 };
            while zeros == 3 && symbols <= SYMBOLS_MAX {
                zeros = bits.peek(2);
                bits.skip(2);
                symbols = symbols.wrapping_add(zeros as usize);
            }
        }
        let used = bits.at.div_ceil(8);
        (left == 0 && used <= source.len()).then_some((Self { log, counts, symbols }, used))
    }

    /// Fills `table`, one entry for each state. What a symbol stands for, and its extra bits, are in `values`.
    pub(super) fn build(&self, table: &mut [Entry], values: &[(u32, u8)]) -> Option<()> {
        let log = u32::from(self.log);
        let size = 1_usize.wrapping_shl(log);
        let table = table.get_mut(..size)?;
        let counts = self.counts.get(..self.symbols)?;
        let mut next = [0_u16; SYMBOLS_MAX];
        let mut spread = [0_u8; STATES_MAX];
        // The rarest symbols sit at the end and start anew each time.
        let mut end = size;
        for ((symbol, count), next) in (0_u8..=u8::MAX).zip(counts).zip(&mut next) {
            *next = count.unsigned_abs();
            if *count < 0 {
                end = end.checked_sub(1)?;
                *spread.get_mut(end)? = symbol;
            }
        }
        let step = (size >> 1).wrapping_add(size >> 3).wrapping_add(3);
        let mask = size.wrapping_sub(1) & (STATES_MAX - 1);
        let mut at = 0_usize;
        for (symbol, count) in (0_u8..=u8::MAX).zip(counts) {
            for _ in 0..(*count).max(0) {
                *spread.get_mut(at)? = symbol;
                // The step is odd, so it comes round to every state; the first is free until all are taken.
                at = at.wrapping_add(step) & mask;
                while at >= end && at != 0 {
                    at = at.wrapping_add(step) & mask;
                }
            }
        }
        for (entry, symbol) in table.iter_mut().zip(spread) {
            let next = next.get_mut(usize::from(symbol))?;
            let bits = log.wrapping_sub(next.checked_ilog2()?);
            let (base, extra) = *values.get(usize::from(symbol))?;
            let first = (u32::from(*next)).wrapping_shl(bits).wrapping_sub(1_u32.wrapping_shl(log));
            *entry = Entry { base, next: u16::try_from(first).ok()?, bits: u8::try_from(bits).ok()?, extra };
            *next = next.wrapping_add(1);
        }
        Some(())
    }
}

/// Bits from the front.
struct Forward<'a> {
    source: &'a [u8],
    at: usize,
}

impl Forward<'_> {
    /// The next `n` bits, up to 16; zeros behind the end.
    fn peek(&self, n: u32) -> u32 {
        let rest = self.source.get(self.at >> 3..).unwrap_or_default();
        let word = match rest.first_chunk() {
            Some(chunk) => u32::from_le_bytes(*chunk),
            None => rest.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte)),
        };
        word >> (self.at & 7) & (1_u32.wrapping_shl(n)).wrapping_sub(1)
    }

    const fn skip(&mut self, n: u32) {
        self.at = self.at.wrapping_add(n as usize);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::super::codes::{Kind, LITERALS, MATCHES, OFFSETS};
    use super::*;

    fn table(kind: &Kind) -> Vec<Entry> {
        let mut counts = [0; SYMBOLS_MAX];
        counts[..kind.counts.len()].copy_from_slice(kind.counts);
        let counts = Counts { log: kind.log, counts, symbols: kind.counts.len() };
        let mut table = [Entry::NONE; STATES_MAX];
        counts.build(&mut table, kind.values).unwrap();
        table[..1 << kind.log].to_vec()
    }

    #[test]
    fn tables_of_the_format_itself_hold_every_code_as_often_as_they_say() {
        for kind in [&LITERALS, &OFFSETS, &MATCHES] {
            let table = table(kind);
            for ((base, extra), count) in kind.values.iter().zip(kind.counts) {
                let is_code = |entry: &&Entry| (entry.base, entry.extra) == (*base, *extra);
                let states: Vec<&Entry> = table.iter().filter(is_code).collect();
                assert_eq!(states.len(), usize::from(count.unsigned_abs()), "base {base}");
                // The states that a code leads to are all there are, each once.
                let mut reached: Vec<u16> =
                    states.iter().flat_map(|entry| (0..1_u16 << entry.bits).map(|bits| entry.next | bits)).collect();
                reached.sort_unstable();
                assert!(reached.iter().copied().eq(0..1 << kind.log), "base {base}");
            }
        }
    }

    /// The first states of the table that RFC 8878 prints in its appendix A: symbol, bits, baseline.
    #[test]
    fn the_standard_s_own_table() {
        let first = table(&LITERALS).into_iter().map(|entry| (entry.base, entry.bits, entry.next)).take(4);
        assert!(first.eq([(0, 4, 0), (0, 4, 16), (1, 5, 32), (3, 5, 0)]));
    }

    #[test]
    fn no_description_makes_it_panic() {
        let whole = [0x21_u8, 0x9d, 0x51, 0xcc, 0x18, 0x42, 0x44, 0x81, 0x8c, 0x94, 0xb4, 0x50, 0x1e];
        for bit in 0..whole.len() << 3 {
            let mut damaged = whole;
            damaged[bit >> 3] ^= 1 << (bit & 7);
            for len in 0..=damaged.len() {
                if let Some((counts, used)) = Counts::read(&damaged[..len], 9, 52) {
                    assert!(used <= len);
                    let _table_or_none = counts.build(&mut [Entry::NONE; STATES_MAX], MATCHES.values);
                }
            }
        }
    }
}
