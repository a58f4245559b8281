//! The sequences of a block: how many literals, how far back, how long (RFC 8878, sections 3.1.1.3.2 to 3.1.1.5).

use super::bits::{Bits, WORD_BITS_MIN, take};
use super::codes::{Kind, LITERALS, MATCHES, OFFSETS};
use super::copy;
use super::fse::{Counts, Entry, STATES_MAX, SYMBOLS_MAX};
use super::literals::Literals;
use super::{Stop, Target};

/// Sequences from which on their number takes three bytes.
const LONG_COUNT_MIN: usize = 0x7f00;
/// Extra bits of one sequence that a word holds beside the bits of three next states, 26 at most.
const EXTRA_BITS_AT_ONCE: u32 = WORD_BITS_MIN - 26;

/// What sequences take over from the block before.
pub(super) struct Sequences {
    tables: Box<Tables>,
    /// The three offsets that can be named again.
    repeats: [u32; 3],
    /// A block of the frame has set all tables.
    is_set: bool,
}

struct Tables {
    literals: Table<STATES_MAX>,
    matches: Table<STATES_MAX>,
    offsets: Table<{ STATES_MAX / 2 }>,
}

struct Table<const N: usize> {
    entries: [Entry; N],
    log: u8,
    /// It is the format's own.
    is_default: bool,
}

impl<const N: usize> Table<N> {
    const fn new() -> Self {
        Self { entries: [Entry::NONE; N], log: 0, is_default: false }
    }

    /// Makes the table of `mode`, whose description is at the front of `source`; how many bytes it takes.
    fn update(&mut self, mode: u8, kind: &Kind, source: &[u8], is_set: bool) -> Option<usize> {
        match mode {
            0 if self.is_default => Some(0),
            0 => {
                let mut counts = [0; SYMBOLS_MAX];
                counts.get_mut(..kind.counts.len())?.copy_from_slice(kind.counts);
                let counts = Counts { log: kind.log, counts, symbols: kind.counts.len() };
                self.is_default = false;
                self.fill(&counts, kind)?;
                self.is_default = true;
                Some(0)
            }
            1 => {
                let (base, extra) = *kind.values.get(usize::from(*source.first()?))?;
                self.is_default = false;
                *self.entries.first_mut()? = Entry { base, next: 0, bits: 0, extra };
                self.log = 0;
                Some(1)
            }
            2 => {
                let most = u8::try_from(kind.values.len().wrapping_sub(1)).ok()?;
                let (counts, used) = Counts::read(source, kind.log_max, most)?;
                self.is_default = false;
                self.fill(&counts, kind)?;
                Some(used)
            }
            _ => is_set.then_some(0),
        }
    }

    fn fill(&mut self, counts: &Counts, kind: &Kind) -> Option<()> {
        self.log = counts.log;
        counts.build(&mut self.entries, kind.values)
    }

    /// The entry of a state, which is within the table by the way tables are made.
    #[inline(always)]
    fn at(&self, state: u32) -> &Entry {
        const { assert!(N.is_power_of_two()) };
        self.entries.get(state as usize & N.wrapping_sub(1)).unwrap_or(&Entry::NONE)
    }
}

impl Sequences {
    pub(super) fn new() -> Self {
        let tables = Tables { literals: Table::new(), matches: Table::new(), offsets: Table::new() };
        Self { tables: Box::new(tables), repeats: [1, 4, 8], is_set: false }
    }

    /// A new frame begins.
    pub(super) const fn reset(&mut self) {
        self.repeats = [1, 4, 8];
        self.is_set = false;
    }

    /// Runs the sequences in `input` from `start` to `end`, and writes what they say and the literals that they leave.
    pub(super) fn run(
        &mut self,
        input: &[u8],
        start: usize,
        end: usize,
        literals: Literals<'_>,
        target: &mut Target<'_>,
    ) -> Result<(), Stop> {
        let section = input.get(start..end).ok_or(Stop::Corrupt)?;
        let (count, head) = match *section {
            [first @ 0..=127, ..] => (usize::from(first), 1),
            [first @ 128..=254, second, ..] => (usize::from(u16::from_be_bytes([first & 0x7f, second])), 2),
            [255, low, high, ..] => (usize::from(u16::from_le_bytes([low, high])).wrapping_add(LONG_COUNT_MIN), 3),
            _ => return Err(Stop::Corrupt),
        };
        let mut used = 0;
        if count > 0 {
            let rest = section.get(head..).unwrap_or_default();
            let tables = self.tables(rest).ok_or(Stop::Corrupt)?;
            let bits = Bits::new(input, start.wrapping_add(head).wrapping_add(tables), end).ok_or(Stop::Corrupt)?;
            self.is_set = true;
            used = self.execute(bits, count, literals, target)?;
        } else if section.len() != head {
            return Err(Stop::Corrupt);
        }
        let left = literals.bytes.get(..literals.len).and_then(|all| all.get(used..)).ok_or(Stop::Corrupt)?;
        let (bytes, at) = target.room(left.len())?;
        let room = bytes.get_mut(at as usize..).and_then(|rest| rest.get_mut(..left.len())).ok_or(Stop::Corrupt)?;
        room.copy_from_slice(left);
        target.advance(left.len());
        Ok(())
    }

    /// Reads the modes and tables at the front of `rest`; the bytes that they take.
    fn tables(&mut self, rest: &[u8]) -> Option<usize> {
        let modes = *rest.first()?;
        if modes & 3 != 0 {
            return None;
        }
        let Tables { literals, matches, offsets } = &mut *self.tables;
        let mut used = 1_usize;
        used = used.wrapping_add(literals.update(modes >> 6, &LITERALS, rest.get(used..)?, self.is_set)?);
        used = used.wrapping_add(offsets.update(modes >> 4 & 3, &OFFSETS, rest.get(used..)?, self.is_set)?);
        Some(used.wrapping_add(matches.update(modes >> 2 & 3, &MATCHES, rest.get(used..)?, self.is_set)?))
    }

    /// Decodes `count` sequences, at least one, and executes each; how many literals they take.
    #[inline(never)]
    fn execute(
        &mut self,
        bits: Bits<'_>,
        count: usize,
        literals: Literals<'_>,
        target: &mut Target<'_>,
    ) -> Result<usize, Stop> {
        let Tables { literals: literal_codes, matches: match_codes, offsets: offset_codes } = &*self.tables;
        let repeats = &mut self.repeats;
        let mut bits = bits;
        let mut literal_state = bits.take(literal_codes.log);
        let mut offset_state = bits.take(offset_codes.log);
        let mut match_state = bits.take(match_codes.log);
        let mut word = bits.word();
        let mut left = count;
        // Literals and room are followed by bytes of no meaning, so that copies may go over their ends. The last ones are done exactly. One
        // that goes beyond into what has no meaning is found out at the end.
        let mut taken = 0_u32;
        let (mut bytes, mut at) = target.room(0)?;
        loop {
            let literal = literal_codes.at(literal_state);
            let matched = match_codes.at(match_state);
            let offset = offset_codes.at(offset_state);
            let extra = u32::from(literal.extra).wrapping_add(matched.extra.into()).wrapping_add(offset.extra.into());
            let (mut distance, len, literals_len);
            if extra <= EXTRA_BITS_AT_ONCE {
                distance = take(&mut word, offset.extra);
                len = take(&mut word, matched.extra);
                literals_len = take(&mut word, literal.extra);
            } else {
                [distance, len, literals_len] = one_by_one(bits, [offset.extra, matched.extra, literal.extra]);
            }
            bits.skip(extra);
            distance = distance.wrapping_add(offset.base);
            let len = len.wrapping_add(matched.base);
            let literals_len = literals_len.wrapping_add(literal.base);
            let [first, second, third] = *repeats;
            if offset.extra > 1 {
                *repeats = [distance, first, second];
            } else {
                // Without literals the most recent offset makes no sense, and one less than it comes at the end.
                match distance.wrapping_add(u32::from(literals_len == 0)) {
                    0 => {}
                    1 => *repeats = [second, first, third],
                    2 => *repeats = [third, first, second],
                    _ => *repeats = [first.wrapping_sub(1), first, second],
                }
                [distance, ..] = *repeats;
            }
            let match_at = at.wrapping_add(literals_len);
            // An offset of nothing, too, is further back than there is something.
            if distance.wrapping_sub(1) >= match_at {
                return Err(Stop::Corrupt);
            }
            let end = match_at.wrapping_add(len);
            let taken_end = taken.wrapping_add(literals_len);
            let copied = copy::literals(literals.bytes, taken, bytes, at, literals_len)
                .and_then(|()| copy::repeat(bytes, match_at, distance, len));
            if copied.is_none() {
                target.written(at);
                (bytes, at) = target.room(end.wrapping_sub(at) as usize)?;
                let part =
                    literals.bytes.get(..literals.len).and_then(|all| all.get(taken as usize..taken_end as usize));
                exactly(bytes, at, part.ok_or(Stop::Corrupt)?, distance, len).ok_or(Stop::Corrupt)?;
            }
            at = end;
            taken = taken_end;
            left = left.wrapping_sub(1);
            if left == 0 {
                break;
            }
            word = bits.word();
            literal_state = u32::from(literal.next).wrapping_add(take(&mut word, literal.bits));
            match_state = u32::from(matched.next).wrapping_add(take(&mut word, matched.bits));
            offset_state = u32::from(offset.next).wrapping_add(take(&mut word, offset.bits));
            bits.skip(u32::from(literal.bits).wrapping_add(matched.bits.into()).wrapping_add(offset.bits.into()));
        }
        target.written(at);
        if bits.is_at_start() && target.is_within() { Ok(taken as usize) } else { Err(Stop::Corrupt) }
    }
}

/// More bits than there are in a word.
#[cold]
#[inline(never)]
fn one_by_one(mut bits: Bits<'_>, counts: [u8; 3]) -> [u32; 3] {
    counts.map(|n| bits.take(n))
}

/// One sequence at the end of what there is room for.
#[cold]
#[inline(never)]
fn exactly(bytes: &mut [u8], at: u32, literals: &[u8], offset: u32, len: u32) -> Option<()> {
    let (at, offset, len) = (at as usize, offset as usize, len as usize);
    bytes.get_mut(at..)?.get_mut(..literals.len())?.copy_from_slice(literals);
    copy::repeat_exactly(bytes, at.wrapping_add(literals.len()), offset, len)
}
