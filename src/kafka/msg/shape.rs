//! Walks an answer by the shape of its message before `kafka-protocol` decodes it.
//!
//! That crate reserves memory for as many elements as a count on the wire says (kafka-protocol-rs#161), and reads a varint
//! of six bytes as one of five. A [`Shape`] lists the fields of a message with the versions that have them; [`check`]
//! steps over each with our own reader, so that every length and count has been compared with the bytes at hand, and the
//! memory that the decoded values will take has been added up and bounded, before the crate sees the first byte.
//!
//! It never decodes a value, and it takes no memory of its own beyond the stack.

use crate::limits::ANSWER_MEMORY_BYTES_MAX;
use crate::wire::{DecodeError, DecodeFault, Reader};

use super::layout::Layout;

/// The shape of one message: its fields in wire order.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// The first version with compact lengths and tagged fields.
    pub flexible_from: i16,
    /// The fields.
    pub fields: &'static [Field],
}

/// One field of a message.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name in the protocol, for errors.
    pub name: &'static str,
    /// The first version that has it.
    pub since: i16,
    /// The last version that has it.
    pub until: i16,
    /// What it is.
    pub kind: Kind,
}

/// What a field is.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// So many bytes.
    Fixed(usize),
    /// A string, null or not, of UTF-8.
    Text,
    /// Bytes with a length, null or not.
    Data,
    /// Elements of so many bytes each.
    FixedArray(usize),
    /// Strings.
    TextArray,
    /// Structures, each with its own tagged fields.
    Array(&'static [Field]),
}

impl Field {
    /// A field of all versions.
    pub const fn new(name: &'static str, kind: Kind) -> Self {
        Self { name, since: 0, until: i16::MAX, kind }
    }

    /// A field of `since` and later versions.
    pub const fn since(since: i16, name: &'static str, kind: Kind) -> Self {
        Self { name, since, until: i16::MAX, kind }
    }

    /// A field of the versions `since` to `until`.
    pub const fn between(since: i16, until: i16, name: &'static str, kind: Kind) -> Self {
        Self { name, since, until, kind }
    }
}

/// What one decoded structure takes in memory, besides its fields' own buffers: an upper bound over the messages of this
/// folder, whose largest structure is a topic of a metadata answer.
const STRUCT_BYTES: usize = 256;
/// What one decoded string or byte field takes besides the frame it points into.
const SLICE_BYTES: usize = 32;
/// What one unknown tagged field takes in the crate's map.
const TAG_BYTES: usize = 64;

/// Steps over `body` by `shape` as of `version`. Returns where the message ends; what follows is not looked at.
///
/// # Errors
/// [`DecodeError`] naming the first field whose length or count the bytes cannot hold, that is cut off or not UTF-8;
/// [`DecodeFault::TooLarge`] when the decoded values would take more than [`ANSWER_MEMORY_BYTES_MAX`].
pub fn check(shape: &Shape, version: i16, body: &[u8]) -> Result<usize, DecodeError> {
    let mut walk =
        Walk { reader: Reader::new(body), layout: Layout::new(version >= shape.flexible_from), version, memory: 0 };
    walk.structure(shape.fields)?;
    Ok(walk.reader.position())
}

struct Walk<'a> {
    reader: Reader<'a>,
    layout: Layout,
    version: i16,
    memory: usize,
}

impl Walk<'_> {
    /// Recursion is as deep as the tables nest, not as the input says.
    fn structure(&mut self, fields: &'static [Field]) -> Result<(), DecodeError> {
        for field in fields {
            if (field.since..=field.until).contains(&self.version) {
                self.field(field)?;
            }
        }
        self.tags()
    }

    fn field(&mut self, field: &Field) -> Result<(), DecodeError> {
        let Self { reader, layout, .. } = self;
        match field.kind {
            Kind::Fixed(bytes) => reader.skip(bytes, field.name),
            Kind::Text => self.text(field.name),
            Kind::Data => {
                layout.nullable_bytes(reader, field.name)?;
                self.take(SLICE_BYTES, field.name)
            }
            Kind::FixedArray(bytes) => {
                let count = layout.count(reader, bytes, field.name)?.unwrap_or(0);
                // `count` has been compared with the bytes at hand, so this product cannot be larger than they are.
                let bytes = count.saturating_mul(bytes);
                reader.skip(bytes, field.name)?;
                self.take(bytes, field.name)
            }
            Kind::TextArray => {
                let count = layout.count(reader, 1, field.name)?.unwrap_or(0);
                (0..count).try_for_each(|_| self.text(field.name))
            }
            Kind::Array(fields) => {
                let count = layout.count(reader, 1, field.name)?.unwrap_or(0);
                self.take(count.saturating_mul(STRUCT_BYTES), field.name)?;
                (0..count).try_for_each(|_| self.structure(fields))
            }
        }
    }

    fn text(&mut self, name: &'static str) -> Result<(), DecodeError> {
        self.layout.nullable_string(&mut self.reader, name)?;
        self.take(SLICE_BYTES, name)
    }

    fn tags(&mut self) -> Result<(), DecodeError> {
        let mut count = 0_usize;
        self.layout.tags(&mut self.reader, |_, _| {
            count = count.saturating_add(1);
            Ok(())
        })?;
        self.take(count.saturating_mul(TAG_BYTES), "tagged_fields")
    }

    /// Accounts for memory that decoding will take.
    fn take(&mut self, bytes: usize, name: &'static str) -> Result<(), DecodeError> {
        self.memory = self.memory.saturating_add(bytes);
        if self.memory > ANSWER_MEMORY_BYTES_MAX {
            let fault = DecodeFault::TooLarge { size: self.memory, max: ANSWER_MEMORY_BYTES_MAX };
            return Err(self.reader.error(fault, name));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape {
        flexible_from: 2,
        fields: &[
            Field::new("head", Kind::Fixed(2)),
            Field::since(
                1,
                "items",
                Kind::Array(&[Field::new("name", Kind::Text), Field::new("ids", Kind::FixedArray(4))]),
            ),
        ],
    };

    #[test]
    fn fields_of_other_versions_are_not_expected() {
        assert_eq!(check(&SHAPE, 0, &[0, 0]), Ok(2));
        assert!(check(&SHAPE, 1, &[0, 0]).is_err());
        assert_eq!(check(&SHAPE, 1, &[0, 0, 0, 0, 0, 1, 0, 1, b'a', 0, 0, 0, 1, 0, 0, 0, 9]), Ok(17));
        assert_eq!(check(&SHAPE, 2, &[0, 0, 2, 2, b'a', 2, 0, 0, 0, 9, 0, 0]), Ok(12));
    }

    #[test]
    fn two_billion_elements_in_a_few_bytes_are_refused() {
        let err = check(&SHAPE, 1, &[0, 0, 0x7f, 0xff, 0xff, 0xff]);
        assert_eq!(err, Err(DecodeError::new(DecodeFault::BadLength(i64::from(i32::MAX)), "items", 6)));
        assert!(check(&SHAPE, 2, &[0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0]).is_err());
        let inner = [0, 0, 0, 0, 0, 1, 0, 1, b'a', 0x7f, 0xff, 0xff, 0xff];
        assert!(check(&SHAPE, 1, &inner).is_err());
    }

    #[test]
    fn many_small_elements_are_bounded_by_the_memory_they_will_take() {
        // A null name and an empty list: 6 bytes on the wire, some 300 in memory.
        let count = ANSWER_MEMORY_BYTES_MAX / STRUCT_BYTES + 1;
        let mut body = vec![0, 0];
        body.extend_from_slice(&i32::try_from(count).unwrap_or(0).to_be_bytes());
        for _ in 0..count {
            body.extend_from_slice(&[0xff, 0xff, 0, 0, 0, 0]);
        }
        let fault = check(&SHAPE, 1, &body).map_err(|e| e.fault);
        assert!(matches!(fault, Err(DecodeFault::TooLarge { .. })), "{fault:?}");
    }
}
