//! The two encodings of strings, arrays and byte fields: fixed lengths before KIP-482, compact ones and tags after.

use std::ops::Range;

use crate::limits::ANSWER_MEMORY_BYTES_MAX;
use crate::wire::{DecodeError, DecodeFault, Reader, Writer};

use super::{ApiKey, EncodeError};

/// How one version of one message writes what has a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    flexible: bool,
}

impl Layout {
    pub(crate) const fn of(api: ApiKey, version: i16) -> Self {
        Self { flexible: api.is_flexible(version) }
    }

    pub(crate) const fn new(flexible: bool) -> Self {
        Self { flexible }
    }

    pub(crate) fn put_string(self, out: &mut Writer, text: &str, field: &'static str) -> Result<(), EncodeError> {
        let Ok(len) = i16::try_from(text.len()) else {
            return Err(EncodeError { field, reason: format!("{} bytes, at most 32767 fit", text.len()) });
        };
        if self.flexible {
            out.uvarint(u64::from(len.unsigned_abs()).saturating_add(1));
        } else {
            out.i16_be(len);
        }
        out.bytes(text.as_bytes());
        Ok(())
    }

    pub(crate) fn put_nullable_string(
        self,
        out: &mut Writer,
        text: Option<&str>,
        field: &'static str,
    ) -> Result<(), EncodeError> {
        match (text, self.flexible) {
            (Some(text), _) => self.put_string(out, text, field)?,
            (None, true) => out.uvarint(0),
            (None, false) => out.i16_be(-1),
        }
        Ok(())
    }

    pub(crate) fn put_count(self, out: &mut Writer, count: usize, field: &'static str) -> Result<(), EncodeError> {
        let Ok(small) = i32::try_from(count) else {
            return Err(EncodeError { field, reason: format!("{count} elements are too many") });
        };
        if self.flexible {
            out.uvarint(u64::from(small.unsigned_abs()).saturating_add(1));
        } else {
            out.i32_be(small);
        }
        Ok(())
    }

    /// A list that is not there, which differs from an empty one.
    pub(crate) fn put_null_list(self, out: &mut Writer) {
        if self.flexible {
            out.uvarint(0);
        } else {
            out.i32_be(-1);
        }
    }

    /// Bytes with their length.
    pub(crate) fn put_bytes(self, out: &mut Writer, bytes: &[u8], field: &'static str) -> Result<(), EncodeError> {
        self.put_count(out, bytes.len(), field)?;
        out.bytes(bytes);
        Ok(())
    }

    /// An empty list of tagged fields, in flexible versions.
    pub(crate) fn put_no_tags(self, out: &mut Writer) {
        if self.flexible {
            out.uvarint(0);
        }
    }

    /// A string's length: none for null.
    pub(crate) fn string_len(self, reader: &mut Reader<'_>, field: &'static str) -> Result<Option<usize>, DecodeError> {
        if self.flexible {
            return compact_len(reader, 1, field);
        }
        match reader.i16_be(field)? {
            -1 => Ok(None),
            len => reader.checked_count(i64::from(len), 1, field).map(Some),
        }
    }

    pub(crate) fn string<'a>(self, reader: &mut Reader<'a>, field: &'static str) -> Result<&'a str, DecodeError> {
        let at = reader.position();
        self.nullable_string(reader, field)?.ok_or_else(|| DecodeError::new(DecodeFault::UnexpectedNull, field, at))
    }

    pub(crate) fn nullable_string<'a>(
        self,
        reader: &mut Reader<'a>,
        field: &'static str,
    ) -> Result<Option<&'a str>, DecodeError> {
        let Some(len) = self.string_len(reader, field)? else { return Ok(None) };
        let at = reader.position();
        let bytes = reader.bytes(len, field)?;
        let text = std::str::from_utf8(bytes).map_err(|_| DecodeError::new(DecodeFault::NotUtf8, field, at))?;
        Ok(Some(text))
    }

    /// The count of an array whose elements take at least `element_bytes_min` bytes; none for null.
    pub(crate) fn count(
        self,
        reader: &mut Reader<'_>,
        element_bytes_min: usize,
        field: &'static str,
    ) -> Result<Option<usize>, DecodeError> {
        if self.flexible {
            return compact_len(reader, element_bytes_min, field);
        }
        match reader.i32_be(field)? {
            -1 => Ok(None),
            count => reader.checked_count(i64::from(count), element_bytes_min, field).map(Some),
        }
    }

    /// Where in the buffer a byte field stands; none for null.
    pub(crate) fn nullable_bytes(
        self,
        reader: &mut Reader<'_>,
        field: &'static str,
    ) -> Result<Option<Range<usize>>, DecodeError> {
        let Some(len) = self.count(reader, 1, field)? else { return Ok(None) };
        let start = reader.position();
        reader.skip(len, field)?;
        Ok(Some(start..reader.position()))
    }

    /// Steps over the tagged fields of a flexible version.
    pub(crate) fn skip_tags(self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        self.tags(reader, |_, _| Ok(()))
    }

    /// Hands each tagged field (tag, content) of a flexible version to `take`.
    pub(crate) fn tags<'a>(
        self,
        reader: &mut Reader<'a>,
        mut take: impl FnMut(u32, &mut Reader<'a>) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        if !self.flexible {
            return Ok(());
        }
        let count = reader.uvarint32("tagged_fields")?;
        // A tagged field takes two bytes at least: its number and its size.
        let count = reader.checked_count(i64::from(count), 2, "tagged_fields")?;
        for _ in 0..count {
            let tag = reader.uvarint32("tag")?;
            let size = reader.uvarint32("tag_size")?;
            let at = reader.position();
            let content = reader.bytes(usize::try_from(size).unwrap_or(usize::MAX), "tag")?;
            take(tag, &mut Reader::new(content)).map_err(|e| DecodeError { at: e.at.saturating_add(at), ..e })?;
        }
        Ok(())
    }
}

/// Makes room for `count` more elements, a count that has been compared with the bytes at hand. An element takes more memory
/// than bytes on the wire, so all of them together are bounded too.
///
/// # Errors
/// [`DecodeFault::TooLarge`] when the list would take more than [`ANSWER_MEMORY_BYTES_MAX`].
pub(crate) fn reserve<T>(
    list: &mut Vec<T>,
    count: usize,
    reader: &Reader<'_>,
    field: &'static str,
) -> Result<(), DecodeError> {
    let size = list.len().saturating_add(count).saturating_mul(size_of::<T>());
    if size > ANSWER_MEMORY_BYTES_MAX {
        return Err(reader.error(DecodeFault::TooLarge { size, max: ANSWER_MEMORY_BYTES_MAX }, field));
    }
    list.reserve(count);
    Ok(())
}

fn compact_len(
    reader: &mut Reader<'_>,
    element_bytes_min: usize,
    field: &'static str,
) -> Result<Option<usize>, DecodeError> {
    match reader.uvarint32(field)?.checked_sub(1) {
        None => Ok(None),
        Some(len) => reader.checked_count(i64::from(len), element_bytes_min, field).map(Some),
    }
}
