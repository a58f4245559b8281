//! Plain records, lent one at a time from one buffer.

use bytes::Bytes;

use super::codec::TimestampType;
use super::legacy;
use crate::limits;
use crate::wire::{DecodeError, DecodeFault, Reader, short_uvarint, unzigzag32};

/// The decoded records of one batch: one buffer, and what its header says about offsets and timestamps.
///
/// Cloning counts one reference; records borrow from `self`.
#[derive(Clone, Debug)]
pub struct Records {
    bytes: Bytes,
    layout: Layout,
    count: u32,
    first_offset: i64,
    last_offset: i64,
}

/// How the buffer of [`Records`] is laid out.
#[derive(Clone, Copy, Debug)]
pub(super) enum Layout {
    /// Records of a batch, magic 2.
    Batch { base_offset: i64, base_timestamp: i64, append_time: Option<i64> },
    /// Messages of magic 0 or 1, offsets counted from `base_offset`; `append_time` is the wrapper's.
    Messages { base_offset: i64, append_time: Option<i64> },
}

/// One record. Slices borrow from the [`Records`] it came from; a null key or value is `None`, an empty one is not.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Position in the partition.
    pub offset: i64,
    /// ms since 1970, -1 for none.
    pub timestamp: i64,
    /// What the timestamp means.
    pub timestamp_type: TimestampType,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone on compacted topics.
    pub value: Option<&'a [u8]>,
    /// The headers, still encoded; messages of magic 0 and 1 have none.
    pub headers: Headers<'a>,
}

impl Records {
    pub(super) const fn new(bytes: Bytes, layout: Layout, count: u32, last_offset: i64) -> Self {
        Self { bytes, layout, count, first_offset: i64::MIN, last_offset }
    }

    /// Makes the iterators step over records below `offset`: a fetch answers with the whole batch that holds the position.
    #[must_use]
    pub const fn starting_at(mut self, offset: i64) -> Self {
        self.first_offset = offset;
        self
    }

    /// Records in the batch, those stepped over included. Of a batch of magic 2 it is the header's word.
    pub const fn record_count(&self) -> u32 {
        self.count
    }

    /// Bytes of the decompressed records.
    pub const fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Walks the records in the order they are stored. The first error ends the walk.
    pub fn iter(&self) -> RecordIter<'_> {
        RecordIter {
            reader: Reader::new(&self.bytes),
            left: self.count,
            ended: false,
            layout: self.layout,
            first_offset: self.first_offset,
            last_offset: self.last_offset,
        }
    }
}

impl<'a> IntoIterator for &'a Records {
    type Item = Result<Record<'a>, DecodeError>;
    type IntoIter = RecordIter<'a>;

    fn into_iter(self) -> RecordIter<'a> {
        self.iter()
    }
}

/// The records of [`Records::iter`].
///
/// Yields as many records as the header announced; then an error if bytes are left over. Errors of a record, such as
/// [`DecodeFault::Truncated`] or an offset outside the batch ([`DecodeFault::BadValue`]), end the walk.
#[derive(Clone, Debug)]
pub struct RecordIter<'a> {
    reader: Reader<'a>,
    left: u32,
    ended: bool,
    layout: Layout,
    first_offset: i64,
    last_offset: i64,
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<Record<'a>, DecodeError>;

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        match self.read_plain() {
            Some(record) => Some(Ok(record)),
            None => self.next_of_any_kind(),
        }
    }
}

impl<'a> RecordIter<'a> {
    /// The next record if it is of the common kind: of a batch, wanted, without headers, every number of at most four bytes. None, and
    /// nothing consumed, for any other, damage included.
    #[inline(always)]
    fn read_plain(&mut self) -> Option<Record<'a>> {
        let Layout::Batch { base_offset, base_timestamp, append_time } = self.layout else { return None };
        let left = self.left.checked_sub(1)?;
        let (len, rest) = length(self.reader.rest())?;
        let (body, rest) = rest.split_at_checked(len?)?;
        // Behind the attributes, of which no bit is in use.
        let (timestamp_delta, body) = short_uvarint(body.get(1..)?)?;
        let timestamp_delta = unzigzag32(timestamp_delta);
        let (offset_delta, body) = short_uvarint(body)?;
        let offset_delta = unzigzag32(offset_delta);
        let (key, body) = content(body)?;
        let (value, body) = content(body)?;
        let offset = base_offset.checked_add(offset_delta.into())?;
        if body != [0] || offset_delta < 0 || offset > self.last_offset || offset < self.first_offset {
            return None;
        }
        self.left = left;
        self.reader.skip_to_last(rest.len());
        let (timestamp, timestamp_type) = match append_time {
            Some(time) => (time, TimestampType::LogAppendTime),
            None => (base_timestamp.wrapping_add(timestamp_delta.into()), TimestampType::CreateTime),
        };
        Some(Record { offset, timestamp, timestamp_type, key, value, headers: Headers::default() })
    }

    #[inline(never)]
    fn next_of_any_kind(&mut self) -> Option<Result<Record<'a>, DecodeError>> {
        while self.left > 0 {
            self.left = self.left.saturating_sub(1);
            match self.read() {
                Ok(Some(record)) => return Some(Ok(record)),
                Ok(None) => {}
                Err(error) => {
                    self.left = 0;
                    self.ended = true;
                    return Some(Err(error));
                }
            }
        }
        if self.ended {
            return None;
        }
        self.ended = true;
        self.reader.finish("records").err().map(Err)
    }

    /// The next record, or `None` when it lies before the wanted offset.
    #[inline]
    fn read(&mut self) -> Result<Option<Record<'a>>, DecodeError> {
        match self.layout {
            Layout::Batch { base_offset, base_timestamp, append_time } => {
                let len = self.reader.varint32("record_length")?;
                let len = usize::try_from(len)
                    .map_err(|_| self.reader.error(DecodeFault::BadLength(len.into()), "record_length"))?;
                let at = self.reader.position();
                let body = self.reader.bytes(len, "record")?;
                self.read_body(body, base_offset, base_timestamp, append_time)
                    .map_err(|error| DecodeError { at: at.saturating_add(error.at), ..error })
            }
            Layout::Messages { base_offset, append_time } => self.read_message(base_offset, append_time),
        }
    }

    /// A record of magic 2: `attributes i8 | timestamp_delta varlong | offset_delta varint | key | value | headers`.
    #[inline]
    fn read_body(
        &self,
        body: &'a [u8],
        base_offset: i64,
        base_timestamp: i64,
        append_time: Option<i64>,
    ) -> Result<Option<Record<'a>>, DecodeError> {
        let mut reader = Reader::new(body);
        reader.skip(1, "attributes")?;
        let timestamp_delta = reader.varint64("timestamp_delta")?;
        let offset_delta = reader.varint32("offset_delta")?;
        let offset = self.checked_offset(base_offset, offset_delta.into(), &reader)?;
        if offset < self.first_offset {
            return Ok(None);
        }
        let key = nullable(&mut reader, "key")?;
        let value = nullable(&mut reader, "value")?;
        let headers = Headers::read(&mut reader)?;
        let (timestamp, timestamp_type) = match append_time {
            Some(time) => (time, TimestampType::LogAppendTime),
            // Producers may set any 64-bit time; Java's addition wraps as well.
            None => (base_timestamp.wrapping_add(timestamp_delta), TimestampType::CreateTime),
        };
        Ok(Some(Record { offset, timestamp, timestamp_type, key, value, headers }))
    }

    fn read_message(&mut self, base_offset: i64, append_time: Option<i64>) -> Result<Option<Record<'a>>, DecodeError> {
        // Checksums were compared when the set was decoded.
        let message = legacy::read_message(&mut self.reader, false)?;
        let offset = self.checked_offset(base_offset, message.offset, &self.reader)?;
        if offset < self.first_offset {
            return Ok(None);
        }
        let (timestamp, timestamp_type) = match append_time {
            Some(time) if message.magic > 0 => (time, TimestampType::LogAppendTime),
            _ => (message.timestamp, message.timestamp_type()),
        };
        let headers = Headers::default();
        Ok(Some(Record { offset, timestamp, timestamp_type, key: message.key, value: message.value, headers }))
    }

    /// `base + delta`, which must not leave the batch: a consumer's position would otherwise pass a record twice or never.
    #[inline]
    fn checked_offset(&self, base: i64, delta: i64, reader: &Reader<'_>) -> Result<i64, DecodeError> {
        base.checked_add(delta)
            .filter(|offset| delta >= 0 && *offset <= self.last_offset)
            .ok_or_else(|| reader.error(DecodeFault::BadValue(delta), "offset_delta"))
    }
}

/// A length of at most four bytes, none for null, and what follows; none in all for any other.
#[inline(always)]
fn length(bytes: &[u8]) -> Option<(Option<usize>, &[u8])> {
    let (coded, rest) = short_uvarint(bytes)?;
    // Zigzag: even numbers are twice the length, and 1 is -1.
    match coded {
        1 => Some((None, rest)),
        _ if coded & 1 == 0 => Some((Some((coded >> 1) as usize), rest)),
        _ => None,
    }
}

/// A key or a value as [`nullable`] reads it, and what follows; none in all where that would fail or the length is long.
#[inline(always)]
fn content(bytes: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    match length(bytes)? {
        (None, rest) => Some((None, rest)),
        (Some(len), rest) => rest.split_at_checked(len).map(|(content, rest)| (Some(content), rest)),
    }
}

#[inline]
fn nullable<'a>(reader: &mut Reader<'a>, field: &'static str) -> Result<Option<&'a [u8]>, DecodeError> {
    let len = reader.varint32(field)?;
    match usize::try_from(len) {
        Ok(len) => reader.bytes(len, field).map(Some),
        Err(_) if len == -1 => Ok(None),
        Err(_) => Err(reader.error(DecodeFault::BadLength(len.into()), field)),
    }
}

/// The headers of one record, in order, duplicates and nulls included; read when they are walked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Headers<'a> {
    bytes: &'a [u8],
    count: usize,
}

/// One header. Keys need not be UTF-8 and may repeat; a null value is `None`, an empty one is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The value.
    pub value: Option<&'a [u8]>,
}

impl<'a> Headers<'a> {
    #[inline]
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let count = reader.varint32("headers_count")?;
        if count == 0 {
            reader.finish("record")?;
            return Ok(Self::default());
        }
        // A header takes two bytes at least: the lengths of its key and its value.
        let count = reader.checked_count(count.into(), 2, "headers_count")?;
        if count > limits::RECORD_HEADERS_MAX {
            let fault = DecodeFault::TooLarge { size: count, max: limits::RECORD_HEADERS_MAX };
            return Err(reader.error(fault, "headers_count"));
        }
        Ok(Self { bytes: reader.rest(), count })
    }

    /// Headers of the record.
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether the record has no headers.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Walks the headers in order. The first error ends the walk.
    pub const fn iter(&self) -> HeaderIter<'a> {
        HeaderIter { reader: Reader::new(self.bytes), left: self.count, ended: false }
    }
}

impl<'a> IntoIterator for Headers<'a> {
    type Item = Result<Header<'a>, DecodeError>;
    type IntoIter = HeaderIter<'a>;

    fn into_iter(self) -> HeaderIter<'a> {
        self.iter()
    }
}

/// The headers of [`Headers::iter`]; after the last one an error if bytes are left over.
#[derive(Clone, Debug)]
pub struct HeaderIter<'a> {
    reader: Reader<'a>,
    left: usize,
    ended: bool,
}

impl<'a> Iterator for HeaderIter<'a> {
    type Item = Result<Header<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        if self.left == 0 {
            self.ended = true;
            return self.reader.finish("headers").err().map(Err);
        }
        self.left = self.left.saturating_sub(1);
        let header = read_header(&mut self.reader);
        self.ended = header.is_err();
        Some(header)
    }
}

fn read_header<'a>(reader: &mut Reader<'a>) -> Result<Header<'a>, DecodeError> {
    let key = nullable(reader, "header_key")?;
    let key = key.ok_or_else(|| reader.error(DecodeFault::UnexpectedNull, "header_key"))?;
    let value = nullable(reader, "header_value")?;
    Ok(Header { key, value })
}
