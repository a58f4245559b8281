//! How much a block of a Zstandard frame is about to write, before it is decoded (RFC 8878, section 3.1.1.3).
//!
//! A block may hold 128 KiB, but each of its sequences can ask for a copy of 128 KiB: a block of 90 kB that lies comes to
//! gigabytes, and `ruzstd` looks at the size only when it has written them all. So the lengths are added up here first. Most
//! blocks pass by the longest match that their table has; only the others are walked sequence by sequence.

use super::zstd::BLOCK_BYTES_MAX;

/// The sum up to which a block is let through without being walked, in bytes.
const WITHOUT_WALK_BYTES_MAX: u64 = if cfg!(test) { 1 } else { 4 * 1024 * 1024 };

/// The tables that blocks of one frame may take over from the block before.
#[derive(Default)]
pub(super) struct Blocks {
    literals: Codes,
    offsets: Codes,
    matches: Codes,
}

/// How the codes of one kind are distributed.
#[derive(Clone, Default)]
enum Codes {
    #[default]
    None,
    One(u8),
    Counts {
        log: u32,
        counts: Vec<i16>,
    },
}

/// The kinds in the order of their tables: most bits of a table's size, highest code, what holds without a table.
struct Kind {
    log_max: u32,
    code_max: u8,
    log: u32,
    counts: &'static [i16],
}

const LITERALS: Kind = Kind {
    log_max: 9,
    code_max: 35,
    log: 6,
    counts: &[
        4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1, -1, -1, -1, -1,
    ],
};
const OFFSETS: Kind = Kind {
    log_max: 8,
    code_max: 31,
    log: 5,
    counts: &[1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1],
};
const MATCHES: Kind = Kind {
    log_max: 9,
    code_max: 52,
    log: 6,
    counts: &[
        1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
        1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1,
    ],
};

impl Blocks {
    /// Looks at the block at the front of `source`. None when it cannot be read or is larger than a block may be.
    pub(super) fn check(&mut self, source: &[u8]) -> Option<()> {
        let [a, b, c] = *source.first_chunk()?;
        let head = u32::from_le_bytes([a, b, c, 0]);
        let size = head >> 3;
        // Raw and repeated blocks are as large as they say: 2 MiB at most.
        if (head >> 1) & 3 != 2 {
            return Some(());
        }
        let content = source.get(3..)?.get(..usize::try_from(size).ok()?)?;
        self.compressed(content)
    }

    fn compressed(&mut self, content: &[u8]) -> Option<()> {
        let (literals, rest) = literals_section(content)?;
        let (count, rest) = match *rest {
            [0, ..] => return (literals <= BLOCK_BYTES_MAX).then_some(()),
            [first @ 1..=127, ref rest @ ..] => (u32::from(first), rest),
            [first @ 128..=254, second, ref rest @ ..] => (u32::from_be_bytes([0, 0, first & 0x7f, second]), rest),
            [255, low, high, ref rest @ ..] => {
                (u32::from(u16::from_le_bytes([low, high])).saturating_add(0x7f00), rest)
            }
            _ => return None,
        };
        let (modes, mut rest) = rest.split_first()?;
        self.literals.update(modes >> 6, &LITERALS, &mut rest)?;
        self.offsets.update(modes >> 4 & 3, &OFFSETS, &mut rest)?;
        self.matches.update(modes >> 2 & 3, &MATCHES, &mut rest)?;
        let longest = u64::from(match_len_max(self.matches.highest()));
        if u64::from(count).saturating_mul(longest).saturating_add(literals) <= WITHOUT_WALK_BYTES_MAX {
            return Some(());
        }
        let written = literals.saturating_add(self.walk(count, rest)?);
        (written <= BLOCK_BYTES_MAX).then_some(())
    }

    /// The sum of all matches, or of the first ones that are too many already.
    fn walk(&self, count: u32, bits: &[u8]) -> Option<u64> {
        let mut bits = Bits::new(bits)?;
        let tables = [&self.literals, &self.offsets, &self.matches].map(Codes::table);
        let [literals, offsets, matches] = &tables;
        let mut literal = literals.first(&mut bits)?;
        let mut offset = offsets.first(&mut bits)?;
        let mut matched = matches.first(&mut bits)?;
        let mut sum = 0_u64;
        for left in (0..count).rev() {
            bits.take(u32::from(offset.code))?;
            let extra = bits.take(match_bits(matched.code))?;
            sum = sum.saturating_add(u64::from(match_base(matched.code).saturating_add(extra)));
            bits.take(literal_bits(literal.code))?;
            if sum > BLOCK_BYTES_MAX {
                break;
            }
            if left > 0 {
                literal = literals.next(literal, &mut bits)?;
                matched = matches.next(matched, &mut bits)?;
                offset = offsets.next(offset, &mut bits)?;
            }
        }
        Some(sum)
    }
}

/// The size of the literals, and what follows them.
fn literals_section(content: &[u8]) -> Option<(u64, &[u8])> {
    let first = *content.first()?;
    let format = first >> 2 & 3;
    let packed = first & 3 >= 2;
    let (head, bits) = match (packed, format) {
        (false, 0 | 2) => (1, 5),
        (false, 1) => (2, 12),
        (false, _) => (3, 20),
        (true, 0 | 1) => (3, 10),
        (true, 2) => (4, 14),
        (true, _) => (5, 18),
    };
    let (header, rest) = content.split_at_checked(head)?;
    let number = header.iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let number = if head == 1 { number >> 3 } else { number >> 4 };
    let size = number & (1_u64 << bits).wrapping_sub(1);
    let stored = match (packed, first & 3) {
        (true, _) => number >> bits & (1_u64 << bits).wrapping_sub(1),
        (false, 1) => 1,
        (false, _) => size,
    };
    Some((size, rest.get(usize::try_from(stored).ok()?..)?))
}

impl Codes {
    fn update(&mut self, mode: u8, kind: &Kind, rest: &mut &[u8]) -> Option<()> {
        match mode {
            0 => *self = Self::Counts { log: kind.log, counts: kind.counts.to_vec() },
            1 => {
                let (code, after) = rest.split_first()?;
                (*self, *rest) = (Self::One(*code), after);
            }
            2 => {
                let (log, counts, used) = counts(rest, kind)?;
                (*self, *rest) = (Self::Counts { log, counts }, rest.get(used..)?);
            }
            _ => {}
        }
        (self.highest() <= kind.code_max && !matches!(self, Self::None)).then_some(())
    }

    /// The highest code that can occur.
    fn highest(&self) -> u8 {
        match self {
            Self::None => 0,
            Self::One(code) => *code,
            Self::Counts { counts, .. } => {
                counts.iter().rposition(|count| *count != 0).and_then(|code| u8::try_from(code).ok()).unwrap_or(0)
            }
        }
    }

    /// One cell for each state (RFC 8878, section 4.1.1).
    fn table(&self) -> Table {
        let (log, counts) = match self {
            Self::None => return Table { log: 0, cells: Vec::new() },
            Self::One(code) => return Table { log: 0, cells: vec![Cell { code: *code, ..Cell::default() }] },
            Self::Counts { log, counts } => (*log, counts),
        };
        let size = 1_usize << log;
        let mut cells = vec![Cell::default(); size];
        let codes = || (0_u8..).zip(counts);
        // The rarest codes sit at the end and start anew each time.
        let mut end = size;
        for (code, _) in codes().filter(|(_, count)| **count < 0) {
            end = end.saturating_sub(1);
            if let Some(cell) = cells.get_mut(end) {
                *cell = Cell { code, bits: log, base: 0 };
            }
        }
        let step = (size >> 1).wrapping_add(size >> 3).wrapping_add(3);
        let mut at = 0_usize;
        for (code, count) in codes() {
            for _ in 0..(*count).max(0) {
                if let Some(cell) = cells.get_mut(at) {
                    cell.code = code;
                }
                // The step is odd, so it comes round to every cell.
                for _ in 0..=size {
                    at = at.wrapping_add(step) & size.wrapping_sub(1);
                    if at < end {
                        break;
                    }
                }
            }
        }
        let mut next: Vec<u32> = counts.iter().map(|count| u32::try_from(*count).unwrap_or(0)).collect();
        for cell in cells.iter_mut().take(end) {
            if let Some(next) = next.get_mut(usize::from(cell.code)) {
                cell.bits = log.saturating_sub(next.checked_ilog2().unwrap_or(0));
                cell.base = (*next << cell.bits).wrapping_sub(1 << log);
                *next = next.saturating_add(1);
            }
        }
        Table { log, cells }
    }
}

/// Reads a table's description: bits of its size, how often each code occurs, and the bytes that this took.
fn counts(source: &[u8], kind: &Kind) -> Option<(u32, Vec<i16>, usize)> {
    let mut at = 0_usize;
    let peek = |at: usize, n: u32| -> Option<u32> {
        let bytes = source.get(at >> 3..)?;
        let word = bytes.iter().take(4).rev().fold(0_u32, |word, byte| word << 8 | u32::from(*byte));
        (at.saturating_add(n as usize) <= source.len().saturating_mul(8))
            .then_some(word >> (at & 7) & (1_u32 << n).wrapping_sub(1))
    };
    let log = peek(at, 4)?.saturating_add(5);
    at = 4;
    if log > kind.log_max {
        return None;
    }
    let mut counts = Vec::new();
    let mut left = 1_i32 << log;
    while left > 0 {
        let most = u32::try_from(left).ok()?.saturating_add(1);
        let bits = most.ilog2().saturating_add(1);
        let short = (1_u32 << bits).wrapping_sub(1).wrapping_sub(most);
        let mask = (1_u32 << bits.saturating_sub(1)).wrapping_sub(1);
        // The last code may need a bit less than is there to read.
        let low = peek(at, bits.saturating_sub(1))?;
        let value = if low < short {
            at = at.saturating_add(bits as usize).saturating_sub(1);
            low
        } else {
            let whole = peek(at, bits)?;
            at = at.saturating_add(bits as usize);
            if whole > mask { whole.saturating_sub(short) } else { whole }
        };
        let count = i16::try_from(value).ok()?.saturating_sub(1);
        left = left.saturating_sub(i32::from(count.saturating_abs()));
        counts.push(count);
        // Behind a code that does not occur stands how many more of that kind follow.
        let mut zeros = if count == 0 { 3 } else { 0 };
        while zeros == 3 && counts.len() <= 256 {
            zeros = peek(at, 2)?;
            at = at.saturating_add(2);
            counts.resize(counts.len().saturating_add(zeros as usize), 0);
        }
        if counts.len() > usize::from(kind.code_max).saturating_add(1) {
            return None;
        }
    }
    (left == 0).then_some((log, counts, at.div_ceil(8)))
}

struct Table {
    log: u32,
    cells: Vec<Cell>,
}

#[derive(Clone, Copy, Default)]
struct Cell {
    code: u8,
    bits: u32,
    base: u32,
}

impl Table {
    fn first(&self, bits: &mut Bits<'_>) -> Option<Cell> {
        let state = bits.take(self.log)?;
        self.cells.get(usize::try_from(state).ok()?).copied()
    }

    fn next(&self, cell: Cell, bits: &mut Bits<'_>) -> Option<Cell> {
        let state = cell.base.saturating_add(bits.take(cell.bits)?);
        self.cells.get(usize::try_from(state).ok()?).copied()
    }
}

/// Bits from the end: behind the highest one that is set in the last byte.
struct Bits<'a> {
    bytes: &'a [u8],
    left: usize,
}

impl<'a> Bits<'a> {
    fn new(bytes: &'a [u8]) -> Option<Self> {
        let last = *bytes.last()?;
        let top = usize::try_from(last.checked_ilog2()?).ok()?;
        Some(Self { bytes, left: bytes.len().saturating_sub(1).saturating_mul(8).saturating_add(top) })
    }

    /// The next `n` bits, up to 31.
    fn take(&mut self, n: u32) -> Option<u32> {
        self.left = self.left.checked_sub(usize::try_from(n).ok()?)?;
        let bytes = self.bytes.get(self.left >> 3..).unwrap_or_default();
        let word = bytes.iter().take(5).rev().fold(0_u64, |word, byte| word << 8 | u64::from(*byte));
        let mask = (1_u64 << n).wrapping_sub(1);
        u32::try_from(word >> (self.left & 7) & mask).ok()
    }
}

/// Bits behind a code of a literals length.
const fn literal_bits(code: u8) -> u32 {
    match code {
        0..=15 => 0,
        16..=19 => 1,
        20..=21 => 2,
        22..=23 => 3,
        24 => 4,
        _ => (code as u32).saturating_sub(19),
    }
}

/// Bits behind a code of a match length.
const fn match_bits(code: u8) -> u32 {
    match code {
        0..=31 => 0,
        32..=35 => 1,
        36..=37 => 2,
        38..=39 => 3,
        40..=41 => 4,
        42 => 5,
        _ => (code as u32).saturating_sub(36),
    }
}

/// The least match length of a code.
const fn match_base(code: u8) -> u32 {
    match code {
        0..=31 => (code as u32).saturating_add(3),
        32..=35 => (code as u32).saturating_sub(32).saturating_mul(2).saturating_add(35),
        36 => 43,
        37 => 47,
        38 => 51,
        39 => 59,
        40 => 67,
        41 => 83,
        42 => 99,
        _ => (1_u32 << match_bits(code)).saturating_add(3),
    }
}

const fn match_len_max(code: u8) -> u32 {
    match_base(code).saturating_add((1_u32 << match_bits(code)).saturating_sub(1))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]
    use super::*;

    #[test]
    fn tables_of_the_format_itself_hold_every_code_as_often_as_they_say() {
        for kind in [&LITERALS, &OFFSETS, &MATCHES] {
            let mut codes = Codes::default();
            codes.update(0, kind, &mut &[][..]).unwrap();
            let table = codes.table();
            for (code, count) in (0_u8..).zip(kind.counts) {
                let cells: Vec<&Cell> = table.cells.iter().filter(|cell| cell.code == code).collect();
                assert_eq!(cells.len(), usize::from(count.unsigned_abs()), "code {code}");
                // The states that a code leads to are all there are, each once.
                let reached: u32 = cells.iter().map(|cell| 1_u32 << cell.bits).sum();
                assert_eq!(reached, 1 << table.log, "code {code}");
            }
        }
    }

    #[test]
    fn match_lengths_follow_one_another_without_gaps() {
        for code in 0..52 {
            assert_eq!(match_len_max(code) + 1, match_base(code + 1), "code {code}");
        }
        assert_eq!(match_len_max(52), 131_074);
    }

    #[test]
    fn no_block_makes_it_panic() {
        let block = [&[0x04, 0x01, b'x', b'y', b'z', 3, 0b1010_1000][..], &[0x5a; 40]].concat();
        for end in 0..block.len() {
            let _some_or_none = Blocks::default().compressed(&block[..end]);
        }
        for bit in 0..block.len() * 8 {
            let mut bytes = block.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let _some_or_none = Blocks::default().compressed(&bytes);
        }
    }
}
