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
