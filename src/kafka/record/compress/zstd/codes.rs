//! What the codes of sequences stand for (RFC 8878, section 3.1.1.3.2.1), and how they are distributed in a block that does not say
//! (section 3.1.1.3.2.2).

/// A kind of code.
pub(super) struct Kind {
    /// Most bits of a table's size.
    pub(super) log_max: u8,
    /// By code: the least value, and bits to add.
    pub(super) values: &'static [(u32, u8)],
    /// The table without a description: bits of its size, how often each code occurs.
    pub(super) log: u8,
    pub(super) counts: &'static [i16],
}

/// How many literals come before a match.
pub(super) const LITERALS: Kind = Kind {
    log_max: 9,
    values: &values(
        0,
        [
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14,
            15, 16,
        ],
    ),
    log: 6,
    counts: &[
        4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1, -1, -1, -1, -1,
    ],
};

/// How far back a match is: three less than the standard's value. The first two codes are those of repeated offsets.
pub(super) const OFFSETS: Kind = Kind {
    log_max: 8,
    values: &offsets(),
    log: 5,
    counts: &[1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1],
};

/// How long a match is.
pub(super) const MATCHES: Kind = Kind {
    log_max: 9,
    values: &values(
        3,
        [
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1,
            2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
        ],
    ),
    log: 6,
    counts: &[
        1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
        1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1,
    ],
};

/// Each code begins where the values of the one before end.
#[allow(clippy::indexing_slicing, reason = "while compiling")]
const fn values<const N: usize>(first: u32, extra: [u8; N]) -> [(u32, u8); N] {
    let mut values = [(0, 0); N];
    let mut base = first;
    let mut code = 0;
    while code < N {
        values[code] = (base, extra[code]);
        base = base.wrapping_add(1 << extra[code]);
        code = code.wrapping_add(1);
    }
    values
}

#[allow(clippy::indexing_slicing, reason = "while compiling")]
const fn offsets() -> [(u32, u8); 32] {
    let mut values = [(0, 0); 32];
    let mut code = 0_u8;
    while code < 32 {
        let base = if code < 2 { code as u32 } else { (1_u32 << code).wrapping_sub(3) };
        values[code as usize] = (base, code);
        code = code.wrapping_add(1);
    }
    values
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]
    use super::*;

    /// Rows of the tables in RFC 8878: code, least value, extra bits.
    #[test]
    fn codes_stand_for_what_the_standard_says() {
        let rows =
            [(0, 0, 0), (15, 15, 0), (16, 16, 1), (19, 22, 1), (20, 24, 2), (22, 32, 3), (24, 48, 4), (25, 64, 6)];
        for (code, base, extra) in rows.into_iter().chain([(26, 128, 7), (35, 65_536, 16)]) {
            assert_eq!(LITERALS.values[code], (base, extra), "literals {code}");
        }
        let rows =
            [(0, 3, 0), (31, 34, 0), (32, 35, 1), (36, 43, 2), (38, 51, 3), (40, 67, 4), (42, 99, 5), (43, 131, 7)];
        for (code, base, extra) in rows.into_iter().chain([(44, 259, 8), (52, 65_539, 16)]) {
            assert_eq!(MATCHES.values[code], (base, extra), "matches {code}");
        }
        for code in 2..32_u8 {
            let value = (1_u32 << code).wrapping_sub(3);
            assert_eq!(OFFSETS.values[usize::from(code)], (value, code), "offsets {code}");
        }
    }
}
