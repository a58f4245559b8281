//! The two checksums of Kafka's log formats, and the one of Tunnel rows.

use super::Pieces;

/// CRC-32C (Castagnoli) of `bytes`: record batches v2, Tunnel rows and blocks. Empty input gives 0.
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
}

/// CRC-32 (IEEE) of `bytes`: message sets v0 and v1.
pub fn crc32(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

/// A running CRC-32C of many short pieces. They are gathered and hashed together: to start on a piece costs as much as a
/// hundred bytes of it.
#[derive(Clone, Debug, Default)]
pub struct GatheredCrc32c {
    crc: Crc32c,
    gathered: Pieces,
}

/// Bytes that are gathered at most; a row of some short columns.
const GATHERED_BYTES_MAX: usize = 1024;
/// A piece from here on is hashed where it stands.
const PIECE_BYTES_MAX: usize = 256;

impl GatheredCrc32c {
    /// Hashes `bytes` after what came before.
    pub fn update(&mut self, bytes: &[u8]) {
        self.update_headed([], bytes);
    }

    /// Hashes a number and then `bytes`.
    #[inline(always)]
    pub fn update_headed<const N: usize>(&mut self, number: [u8; N], bytes: &[u8]) {
        if bytes.len() < PIECE_BYTES_MAX {
            if self.gathered.len().saturating_add(bytes.len()) > GATHERED_BYTES_MAX {
                self.settle();
            }
            self.gathered.put_headed(number, bytes);
        } else {
            self.update_number(number);
            self.settle();
            self.crc.update(bytes);
        }
    }

    /// As [`GatheredCrc32c::update`] for a number: shorter, since its size is known.
    #[inline(always)]
    pub fn update_number<const N: usize>(&mut self, bytes: [u8; N]) {
        if self.gathered.len() > GATHERED_BYTES_MAX {
            self.settle();
        }
        self.gathered.put_array(bytes);
    }

    /// The checksum of everything hashed since `new` or `reset`.
    pub fn value(&mut self) -> u32 {
        self.settle();
        self.crc.value()
    }

    /// Forgets everything.
    #[inline]
    pub fn reset(&mut self) {
        self.crc.reset();
        self.gathered.clear();
    }

    /// The state, to go back to.
    pub fn mark(&mut self) -> Crc32c {
        self.settle();
        self.crc
    }

    /// Forgets everything that came after the mark was taken.
    pub fn go_back(&mut self, mark: Crc32c) {
        self.gathered.clear();
        self.crc = mark;
    }

    #[inline(never)]
    fn settle(&mut self) {
        if self.gathered.len() > 0 {
            self.crc.update(self.gathered.as_slice());
            self.gathered.clear();
        }
    }
}

/// A running CRC-32C.
#[derive(Clone, Copy, Debug, Default)]
pub struct Crc32c(u32);

impl Crc32c {
    /// Nothing hashed yet; the value is 0.
    pub const fn new() -> Self {
        Self(0)
    }

    /// Hashes `bytes` after what came before.
    #[inline]
    pub fn update(&mut self, bytes: &[u8]) {
        self.0 = crc32c::crc32c_append(self.0, bytes);
    }

    /// The checksum of everything hashed since `new` or `reset`.
    pub const fn value(self) -> u32 {
        self.0
    }

    /// Forgets everything.
    pub const fn reset(&mut self) {
        self.0 = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        let mut crc = Crc32c::new();
        crc.update(b"1234");
        crc.update(b"56789");
        assert_eq!(crc.value(), 0xe306_9283);
    }

    #[test]
    fn pieces_of_any_size_come_to_the_checksum_of_the_whole() {
        let bytes: Vec<u8> = (0..10_000_u32).map(|n| (n * 7 % 251) as u8).collect();
        for size in [1, 3, 8, 255, 256, 257, 1023, 1024, 1025, 10_000] {
            let mut crc = GatheredCrc32c::default();
            let mut mark = None;
            for (n, piece) in bytes.chunks(size).enumerate() {
                match piece.split_first_chunk::<8>() {
                    Some((number, [])) => crc.update_number(*number),
                    Some((number, rest)) if n % 2 == 0 => crc.update_headed(*number, rest),
                    _ => crc.update(piece),
                }
                if n == 1 {
                    mark = Some((crc.mark(), size * 2));
                }
            }
            assert_eq!(crc.value(), crc32c(&bytes), "{size}");
            if let Some((mark, end)) = mark {
                crc.update(b"what is taken back");
                crc.go_back(mark);
                assert_eq!(crc.value(), crc32c(bytes.get(..end).unwrap_or(&bytes)), "{size}");
            }
            crc.reset();
            assert_eq!(crc.value(), 0);
        }
    }
}
