//! The outline of a request, checked before anything is decoded.
//!
//! The message decoders of `kafka-protocol` reserve memory from the counts they read. A request from a stranger is
//! therefore walked first: every length and count must fit into the bytes that are there, the elements of all its arrays
//! together stay below a bound, and nothing may be left over. Only then is it decoded.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic)]

use crate::limits::REQUEST_ELEMENTS_MAX;
use crate::wire::{DecodeError, DecodeFault, Reader};

/// The outline of one API's request over all its versions.
#[derive(Debug)]
pub(super) struct Shape {
    /// First version with compact lengths and tagged fields (KIP-482).
    pub(super) flexible_from: i16,
    /// The fields in the order of the wire.
    pub(super) fields: &'static [Field],
}

/// One field, and the versions that have it.
#[derive(Debug)]
pub(super) struct Field {
    from: i16,
    until: i16,
    /// Set for a field that is sent under this tag, if at all.
    tag: Option<u32>,
    kind: Kind,
}

/// What a field is made of, as far as its length goes.
#[derive(Debug)]
pub(super) enum Kind {
    /// So many bytes: numbers, flags, UUIDs.
    Fixed(usize),
    /// A string, perhaps null.
    Text,
    /// Bytes with a 32-bit or compact length, perhaps null.
    Blob,
    /// An array of values of so many bytes each, perhaps null.
    Values(usize),
    /// An array of strings, perhaps null.
    Texts,
    /// An array of structs, perhaps null.
    Structs(&'static [Field]),
    /// One struct.
    Struct(&'static [Field]),
}

impl Field {
    /// A field that every version has.
    pub(super) const fn always(kind: Kind) -> Self {
        Self { from: 0, until: i16::MAX, tag: None, kind }
    }

    /// A field that came with version `from`.
    pub(super) const fn since(from: i16, kind: Kind) -> Self {
        Self { from, until: i16::MAX, tag: None, kind }
    }

    /// A field of the versions `from` to `until`, both inclusive.
    pub(super) const fn between(from: i16, until: i16, kind: Kind) -> Self {
        Self { from, until, tag: None, kind }
    }

    /// A field sent under `tag`. Its outline must be known like any other's: a decoder that knows the tag reads the field
    /// by its type and not by the size beside the tag.
    pub(super) const fn tagged(tag: u32, kind: Kind) -> Self {
        Self { from: 0, until: i16::MAX, tag: Some(tag), kind }
    }
}

impl Shape {
    /// Walks `body`, the bytes after the request header, as version `version` of this request.
    ///
    /// # Errors
    /// The first length that does not fit, too many elements, or bytes left over.
    pub(super) fn check(&self, version: i16, body: &[u8]) -> Result<(), DecodeError> {
        let flexible = version >= self.flexible_from;
        let mut walk = Walk { reader: Reader::new(body), version, flexible, elements_left: REQUEST_ELEMENTS_MAX };
        walk.fields(self.fields)?;
        walk.reader.finish("request")
    }
}

struct Walk<'a> {
    reader: Reader<'a>,
    version: i16,
    flexible: bool,
    elements_left: usize,
}

impl Walk<'_> {
    /// The depth of the recursion is that of the static tables.
    fn fields(&mut self, fields: &'static [Field]) -> Result<(), DecodeError> {
        for field in fields {
            if field.tag.is_none() && (field.from..=field.until).contains(&self.version) {
                self.field(&field.kind)?;
            }
        }
        if self.flexible { self.tags(fields) } else { Ok(()) }
    }

    fn tags(&mut self, fields: &'static [Field]) -> Result<(), DecodeError> {
        let count = self.reader.uvarint32("tag count")?;
        // A tagged field is a tag and a size at least.
        let count = self.reader.checked_count(count.into(), 2, "tag count")?;
        self.spend(count)?;
        for _ in 0..count {
            let tag = self.reader.uvarint32("tag")?;
            let size = self.reader.uvarint32("tag size")?;
            let size = self.reader.checked_count(size.into(), 1, "tag size")?;
            let end = self.reader.remaining().saturating_sub(size);
            match fields.iter().find(|field| field.tag == Some(tag)) {
                Some(field) => self.field(&field.kind)?,
                None => self.reader.skip(size, "tagged field")?,
            }
            if self.reader.remaining() != end {
                return Err(self.reader.error(DecodeFault::BadLength(size as i64), "tag size"));
            }
        }
        Ok(())
    }

    fn field(&mut self, kind: &'static Kind) -> Result<(), DecodeError> {
        match *kind {
            Kind::Fixed(bytes) => self.reader.skip(bytes, "fixed field"),
            Kind::Text => self.text(),
            Kind::Blob => {
                let len = if self.flexible { self.compact("bytes length")? } else { self.wide("bytes length")? };
                self.reader.skip(len, "bytes")
            }
            Kind::Values(bytes) => {
                let count = self.count(bytes)?;
                self.reader.skip(count.saturating_mul(bytes), "array")
            }
            Kind::Texts => {
                for _ in 0..self.count(1)? {
                    self.text()?;
                }
                Ok(())
            }
            Kind::Structs(fields) => {
                for _ in 0..self.count(1)? {
                    self.fields(fields)?;
                }
                Ok(())
            }
            Kind::Struct(fields) => self.fields(fields),
        }
    }

    fn text(&mut self) -> Result<(), DecodeError> {
        let len = if self.flexible {
            self.compact("string length")?
        } else {
            match self.reader.i16_be("string length")? {
                -1 => 0,
                len => self.reader.checked_count(len.into(), 1, "string length")?,
            }
        };
        let text = self.reader.bytes(len, "string")?;
        match std::str::from_utf8(text) {
            Ok(_) => Ok(()),
            Err(_) => Err(self.reader.error(DecodeFault::NotUtf8, "string")),
        }
    }

    fn count(&mut self, element_bytes_min: usize) -> Result<usize, DecodeError> {
        let count = if self.flexible { self.compact("array count")? } else { self.wide("array count")? };
        let count = self.reader.checked_count(count as i64, element_bytes_min, "array count")?;
        self.spend(count)?;
        Ok(count)
    }

    /// Takes `count` elements from what the whole request may hold.
    fn spend(&mut self, count: usize) -> Result<(), DecodeError> {
        match self.elements_left.checked_sub(count) {
            Some(left) => {
                self.elements_left = left;
                Ok(())
            }
            None => {
                Err(self.reader.error(DecodeFault::TooLarge { size: count, max: self.elements_left }, "array count"))
            }
        }
    }

    /// An unsigned varint that is one more than the length; 0 is null, which takes no bytes either.
    fn compact(&mut self, field: &'static str) -> Result<usize, DecodeError> {
        let len = self.reader.uvarint32(field)?.saturating_sub(1);
        self.reader.checked_count(len.into(), 1, field)
    }

    /// A 32-bit length; -1 is null, which takes no bytes either.
    fn wide(&mut self, field: &'static str) -> Result<usize, DecodeError> {
        match self.reader.i32_be(field)? {
            -1 => Ok(0),
            len => self.reader.checked_count(len.into(), 1, field),
        }
    }
}

/// Walks the tagged fields at the end of a request header; none of them is known.
///
/// # Errors
/// As [`Shape::check`].
pub(super) fn skip_tags(reader: Reader<'_>) -> Result<Reader<'_>, DecodeError> {
    let mut walk = Walk { reader, version: 0, flexible: true, elements_left: REQUEST_ELEMENTS_MAX };
    walk.tags(&[])?;
    Ok(walk.reader)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: Shape = Shape {
        flexible_from: 1,
        fields: &[
            Field::always(Kind::Structs(&[Field::always(Kind::Text), Field::since(1, Kind::Fixed(2))])),
            Field::between(0, 0, Kind::Fixed(1)),
        ],
    };

    #[test]
    fn accepts_what_fits_exactly() {
        assert_eq!(LIST.check(0, &[0, 0, 0, 1, 0, 2, b'a', b'b', 9]), Ok(()));
        assert_eq!(LIST.check(1, &[2, 3, b'a', b'b', 0, 7, 0, 0]), Ok(()));
        assert_eq!(LIST.check(0, &[0xff, 0xff, 0xff, 0xff, 9]), Ok(()));
    }

    #[test]
    fn refuses_every_prefix_and_every_surplus() {
        let good = [2, 3, b'a', b'b', 0, 7, 0, 0];
        for end in 0..good.len() {
            assert!(LIST.check(1, good.get(..end).unwrap_or_default()).is_err(), "{end}");
        }
        assert!(LIST.check(1, &[2, 3, b'a', b'b', 0, 7, 0, 0, 0]).is_err());
    }

    #[test]
    fn refuses_counts_of_two_billion() {
        assert!(LIST.check(0, &[0x7f, 0xff, 0xff, 0xff, 0]).is_err());
        assert!(LIST.check(1, &[0xff, 0xff, 0xff, 0xff, 0x0f]).is_err());
        assert!(LIST.check(0, &[0x80, 0, 0, 0, 0]).is_err());
    }

    #[test]
    fn a_known_tag_is_as_long_as_its_type() {
        const TAGGED: Shape = Shape { flexible_from: 0, fields: &[Field::tagged(1, Kind::Fixed(2))] };
        assert_eq!(TAGGED.check(0, &[1, 1, 2, 8, 8]), Ok(()));
        assert_eq!(TAGGED.check(0, &[1, 5, 3, 8, 8, 8]), Ok(()));
        assert!(TAGGED.check(0, &[1, 1, 1, 8]).is_err());
        assert!(TAGGED.check(0, &[1, 1, 3, 8, 8, 8]).is_err());
    }

    #[test]
    fn bounds_the_elements_of_a_whole_request() {
        let mut body = vec![0x80, 0x89, 0x7a];
        body.resize(4_000_000, 0);
        assert!(matches!(LIST.check(1, &body), Err(DecodeError { fault: DecodeFault::TooLarge { .. }, .. })));
    }
}
