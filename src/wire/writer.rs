//! Appends protocol primitives to a buffer.

use super::varint::{put_uvarint, zigzag32, zigzag64};

/// Writes protocol primitives to the end of a `Vec<u8>` that it owns.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    buf: Vec<u8>,
}

impl Writer {
    /// An empty buffer.
    pub const fn new() -> Self {
        Self { buf: Vec::new() }
    }

    /// Bytes written so far.
    pub const fn len(&self) -> usize {
        self.buf.len()
    }

    /// Whether nothing has been written.
    pub const fn is_empty(&self) -> bool {
        self.buf.is_empty()
    }

    /// What has been written.
    pub fn as_slice(&self) -> &[u8] {
        &self.buf
    }

    /// The buffer itself, for encoders that append to a `Vec<u8>`.
    pub const fn buffer_mut(&mut self) -> &mut Vec<u8> {
        &mut self.buf
    }

    /// Gives the buffer away.
    pub fn into_vec(self) -> Vec<u8> {
        self.buf
    }

    /// Raw bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.buf.extend_from_slice(bytes);
    }

    /// An unsigned byte.
    pub fn u8(&mut self, value: u8) {
        self.buf.push(value);
    }

    /// A signed byte.
    pub fn i8(&mut self, value: i8) {
        self.buf.push(value.cast_unsigned());
    }

    /// A big-endian 16-bit integer.
    pub fn i16_be(&mut self, value: i16) {
        self.bytes(&value.to_be_bytes());
    }

    /// A big-endian 32-bit integer.
    pub fn i32_be(&mut self, value: i32) {
        self.bytes(&value.to_be_bytes());
    }

    /// A big-endian unsigned 32-bit integer.
    pub fn u32_be(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }

    /// A big-endian 64-bit integer.
    pub fn i64_be(&mut self, value: i64) {
        self.bytes(&value.to_be_bytes());
    }

    /// An unsigned varint.
    pub fn uvarint(&mut self, value: u64) {
        put_uvarint(&mut self.buf, value);
    }

    /// A zigzag varint of 32 bits (Kafka's VARINT).
    pub fn varint32(&mut self, value: i32) {
        self.uvarint(u64::from(zigzag32(value)));
    }

    /// A zigzag varint of 64 bits (Kafka's VARLONG).
    pub fn varint64(&mut self, value: i64) {
        self.uvarint(zigzag64(value));
    }

    /// Overwrites the four bytes at `at` with a big-endian integer; does nothing when they do not exist.
    pub fn patch_i32_be(&mut self, at: usize, value: i32) {
        if let Some(slot) = at.checked_add(4).and_then(|end| self.buf.get_mut(at..end)) {
            slot.copy_from_slice(&value.to_be_bytes());
        }
    }
}
