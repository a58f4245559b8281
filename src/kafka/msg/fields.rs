//! Reads an answer field by field, and adds up the memory its lists take.

use bytes::Bytes;

use crate::limits::ANSWER_MEMORY_BYTES_MAX;
use crate::wire::{DecodeError, DecodeFault, Reader};

use super::layout::Layout;
use super::{ApiKey, ErrorCode};

/// The reader of one answer in one version. Lists of all depths together are bounded by [`ANSWER_MEMORY_BYTES_MAX`].
pub(super) struct Fields<'a> {
    reader: Reader<'a>,
    layout: Layout,
    memory: usize,
}

impl<'a> Fields<'a> {
    pub(super) fn new(api: ApiKey, version: i16, body: &'a Bytes) -> Self {
        Self { reader: Reader::new(body), layout: Layout::of(api, version), memory: 0 }
    }

    pub(super) fn i8(&mut self, field: &'static str) -> Result<i8, DecodeError> {
        self.reader.i8(field)
    }

    pub(super) fn flag(&mut self, field: &'static str) -> Result<bool, DecodeError> {
        Ok(self.reader.i8(field)? != 0)
    }

    pub(super) fn i32(&mut self, field: &'static str) -> Result<i32, DecodeError> {
        self.reader.i32_be(field)
    }

    pub(super) fn i64(&mut self, field: &'static str) -> Result<i64, DecodeError> {
        self.reader.i64_be(field)
    }

    pub(super) fn code(&mut self) -> Result<ErrorCode, DecodeError> {
        self.reader.i16_be("error_code").map(ErrorCode)
    }

    /// Steps over so many bytes.
    pub(super) fn skip(&mut self, bytes: usize, field: &'static str) -> Result<(), DecodeError> {
        self.reader.skip(bytes, field)
    }

    pub(super) fn text(&mut self, field: &'static str) -> Result<String, DecodeError> {
        self.layout.string(&mut self.reader, field).map(str::to_owned)
    }

    pub(super) fn text_or_null(&mut self, field: &'static str) -> Result<Option<String>, DecodeError> {
        self.layout.nullable_string(&mut self.reader, field).map(|text| text.map(str::to_owned))
    }

    /// A list whose elements take at least `bytes_min` bytes each on the wire; a null list is an empty one.
    pub(super) fn list<T>(
        &mut self,
        bytes_min: usize,
        field: &'static str,
        mut element: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let count = self.layout.count(&mut self.reader, bytes_min, field)?.unwrap_or(0);
        self.memory = self.memory.saturating_add(count.saturating_mul(size_of::<T>()));
        if self.memory > ANSWER_MEMORY_BYTES_MAX {
            let fault = DecodeFault::TooLarge { size: self.memory, max: ANSWER_MEMORY_BYTES_MAX };
            return Err(self.reader.error(fault, field));
        }
        let mut elements = Vec::with_capacity(count);
        for _ in 0..count {
            elements.push(element(self)?);
        }
        Ok(elements)
    }

    /// The end of a structure: its tagged fields.
    pub(super) fn end(&mut self) -> Result<(), DecodeError> {
        self.layout.skip_tags(&mut self.reader)
    }
}
