//! The two checksums of Kafka's log formats, and the one of Tunnel rows.

/// CRC-32C (Castagnoli) of `bytes`: record batches v2, Tunnel rows and blocks. Empty input gives 0.
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
}

/// CRC-32 (IEEE) of `bytes`: message sets v0 and v1.
pub fn crc32(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
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
}
