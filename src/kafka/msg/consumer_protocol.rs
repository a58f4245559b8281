//! What consumers of a classic group tell each other through the coordinator: subscriptions and assignments, in the layout of
//! Java's `ConsumerProtocolSubscription` and `ConsumerProtocolAssignment`, and the user data of its sticky assignors.
//!
//! Both begin with a version. A reader takes newer versions as the newest it knows: fields are only ever added at the end.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::wire::{DecodeError, DecodeFault, Reader, Writer};

use super::EncodeError;
use super::layout::Layout;

/// The version of subscriptions and assignments that we write: Java's newest.
pub const CONSUMER_PROTOCOL_VERSION: i16 = 3;

/// Partitions by topic.
pub type NamedPartitions = BTreeMap<Arc<str>, Vec<i32>>;

/// What a member wants and has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubscriptionData {
    /// The topics it wants.
    pub topics: Vec<Arc<str>>,
    /// Bytes for the assignor; null differs from empty.
    pub user_data: Option<Bytes>,
    /// v1: partitions that it keeps while it joins (KIP-429).
    pub owned: NamedPartitions,
    /// v2: the generation in which it got them; none before or without one.
    pub generation: Option<i32>,
    /// v3: its rack.
    pub rack: Option<Arc<str>>,
}

/// What a member is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AssignmentData {
    /// Its partitions.
    pub partitions: NamedPartitions,
    /// Bytes from the assignor.
    pub user_data: Option<Bytes>,
}

/// Inside these blobs every length is fixed.
const LAYOUT: Layout = Layout::new(false);

impl SubscriptionData {
    /// The bytes, in version [`CONSUMER_PROTOCOL_VERSION`]. Topics and partitions are written in order.
    ///
    /// # Errors
    /// [`EncodeError`] for a name that does not fit.
    pub fn encode(&self) -> Result<Bytes, EncodeError> {
        let mut out = Writer::new();
        out.i16_be(CONSUMER_PROTOCOL_VERSION);
        let mut topics = self.topics.clone();
        crate::sorting::sort(&mut topics);
        LAYOUT.put_count(&mut out, topics.len(), "topics")?;
        for topic in &topics {
            LAYOUT.put_string(&mut out, topic, "topics")?;
        }
        put_nullable_bytes(&mut out, self.user_data.as_ref())?;
        put_partitions(&mut out, &self.owned)?;
        out.i32_be(self.generation.unwrap_or(-1));
        LAYOUT.put_nullable_string(&mut out, self.rack.as_deref(), "rack_id")?;
        Ok(Bytes::from(out.into_vec()))
    }

    /// Reads the bytes of any version.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        let reader = &mut Reader::new(bytes);
        let version = version(reader)?;
        let count = LAYOUT.count(reader, 2, "topics")?.unwrap_or(0);
        let topics =
            (0..count).map(|_| LAYOUT.string(reader, "topics").map(Arc::from)).collect::<Result<Vec<_>, _>>()?;
        let user_data = LAYOUT.nullable_bytes(reader, "user_data")?.map(|range| bytes.slice(range));
        let owned = if version >= 1 { partitions(reader)? } else { NamedPartitions::new() };
        let generation = if version >= 2 { Some(reader.i32_be("generation_id")?).filter(|g| *g >= 0) } else { None };
        let rack = if version >= 3 { LAYOUT.nullable_string(reader, "rack_id")?.map(Arc::from) } else { None };
        Ok(Self { topics, user_data, owned, generation, rack })
    }
}

impl AssignmentData {
    /// The bytes, in version [`CONSUMER_PROTOCOL_VERSION`].
    ///
    /// # Errors
    /// [`EncodeError`] for a name that does not fit.
    pub fn encode(&self) -> Result<Bytes, EncodeError> {
        let mut out = Writer::new();
        out.i16_be(CONSUMER_PROTOCOL_VERSION);
        put_partitions(&mut out, &self.partitions)?;
        put_nullable_bytes(&mut out, self.user_data.as_ref())?;
        Ok(Bytes::from(out.into_vec()))
    }

    /// Reads the bytes of any version. No bytes at all are an empty assignment.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let reader = &mut Reader::new(bytes);
        version(reader)?;
        let partitions = partitions(reader)?;
        // Some clients leave out what they do not use.
        let user_data = match reader.is_empty() {
            true => None,
            false => LAYOUT.nullable_bytes(reader, "user_data")?.map(|range| bytes.slice(range)),
        };
        Ok(Self { partitions, user_data })
    }
}

/// The user data of Java's `StickyAssignor`: what a member had before it gave everything up, and in which generation.
///
/// # Errors
/// [`EncodeError`] for a name that does not fit.
pub fn encode_sticky_data(previous: &NamedPartitions, generation: i32) -> Result<Bytes, EncodeError> {
    let mut out = Writer::new();
    put_partitions(&mut out, previous)?;
    out.i32_be(generation);
    Ok(Bytes::from(out.into_vec()))
}

/// Reads the user data of Java's `StickyAssignor`; the generation is missing before Kafka 2.3.
///
/// # Errors
/// [`DecodeError`].
pub fn decode_sticky_data(bytes: &[u8]) -> Result<(NamedPartitions, Option<i32>), DecodeError> {
    let reader = &mut Reader::new(bytes);
    let previous = partitions(reader)?;
    let generation = if reader.is_empty() { None } else { Some(reader.i32_be("generation")?) };
    Ok((previous, generation))
}

/// The user data of Java's `CooperativeStickyAssignor`: the generation, for readers of subscriptions before v2.
pub fn encode_cooperative_data(generation: i32) -> Bytes {
    Bytes::copy_from_slice(&generation.to_be_bytes())
}

/// Reads the user data of Java's `CooperativeStickyAssignor`.
///
/// # Errors
/// [`DecodeError`].
pub fn decode_cooperative_data(bytes: &[u8]) -> Result<i32, DecodeError> {
    Reader::new(bytes).i32_be("generation")
}

fn version(reader: &mut Reader<'_>) -> Result<i16, DecodeError> {
    let version = reader.i16_be("version")?;
    if version < 0 {
        return Err(reader.error(DecodeFault::BadValue(version.into()), "version"));
    }
    Ok(version)
}

fn put_nullable_bytes(out: &mut Writer, bytes: Option<&Bytes>) -> Result<(), EncodeError> {
    match bytes {
        Some(bytes) => {
            LAYOUT.put_count(out, bytes.len(), "user_data")?;
            out.bytes(bytes);
        }
        None => out.i32_be(-1),
    }
    Ok(())
}

fn put_partitions(out: &mut Writer, topics: &NamedPartitions) -> Result<(), EncodeError> {
    let filled = || topics.iter().filter(|(_, partitions)| !partitions.is_empty());
    LAYOUT.put_count(out, filled().count(), "topics")?;
    for (topic, partitions) in filled() {
        LAYOUT.put_string(out, topic, "topic")?;
        LAYOUT.put_count(out, partitions.len(), "partitions")?;
        for partition in partitions {
            out.i32_be(*partition);
        }
    }
    Ok(())
}

fn partitions(reader: &mut Reader<'_>) -> Result<NamedPartitions, DecodeError> {
    let mut topics = NamedPartitions::new();
    let count = LAYOUT.count(reader, 6, "topics")?.unwrap_or(0);
    for _ in 0..count {
        let topic: Arc<str> = LAYOUT.string(reader, "topic")?.into();
        let count = LAYOUT.count(reader, 4, "partitions")?.unwrap_or(0);
        let partitions = (0..count).map(|_| reader.i32_be("partition")).collect::<Result<Vec<_>, _>>()?;
        topics.entry(topic).or_default().extend(partitions);
    }
    Ok(topics)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]
    use super::*;

    fn owned() -> NamedPartitions {
        NamedPartitions::from([("a".into(), vec![0, 2]), ("b".into(), vec![1])])
    }

    #[test]
    fn every_older_version_of_a_subscription_is_read() {
        let full = SubscriptionData {
            topics: vec!["a".into(), "b".into()],
            user_data: Some(Bytes::from_static(b"xy")),
            owned: owned(),
            generation: Some(7),
            rack: Some("r1".into()),
        };
        let bytes = full.encode().unwrap();
        assert_eq!(SubscriptionData::decode(&bytes), Ok(full.clone()));
        // Each version ends where the next one's field begins: rack 4 bytes, generation 4, owned 4 + 15 + 11.
        let ends = [bytes.len() - 4 - 4 - 30, bytes.len() - 4 - 4, bytes.len() - 4, bytes.len()];
        for (version, end) in (0_u8..).zip(ends) {
            let mut old = bytes[..end].to_vec();
            old[1] = version;
            let read = SubscriptionData::decode(&old.clone().into()).unwrap();
            assert_eq!(read.topics, full.topics, "v{version}");
            assert_eq!(read.owned, if version >= 1 { owned() } else { NamedPartitions::new() });
            assert_eq!(read.generation, (version >= 2).then_some(7));
            assert_eq!(read.rack.is_some(), version >= 3);
            for short in 0..end {
                assert!(SubscriptionData::decode(&old[..short].to_vec().into()).is_err(), "v{version} {short}");
            }
        }
        // A version of the future has more at its end.
        let mut new = bytes.to_vec();
        new[1] = 9;
        new.extend([1, 2, 3]);
        assert_eq!(SubscriptionData::decode(&new.into()), Ok(full));
        assert!(SubscriptionData::decode(&vec![0xff, 0xff, 0, 0, 0, 0].into()).is_err(), "a version below 0");
    }

    #[test]
    fn an_assignment_without_bytes_is_an_empty_one() {
        assert_eq!(AssignmentData::decode(&Bytes::new()), Ok(AssignmentData::default()));
        let some = AssignmentData { partitions: owned(), user_data: None };
        assert_eq!(AssignmentData::decode(&some.encode().unwrap()), Ok(some.clone()));
        let none = AssignmentData::default().encode().unwrap();
        assert_eq!(AssignmentData::decode(&none), Ok(AssignmentData::default()));
    }

    #[test]
    fn counts_that_the_bytes_cannot_hold_are_refused() {
        let mut bytes = vec![0, 3, 0x7f, 0xff, 0xff, 0xff];
        bytes.extend([0; 8]);
        assert!(SubscriptionData::decode(&bytes.clone().into()).is_err());
        assert!(AssignmentData::decode(&bytes.into()).is_err());
        assert!(decode_sticky_data(&[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]).is_err());
    }

    #[test]
    fn sticky_data_of_both_ages_is_read() {
        let bytes = encode_sticky_data(&owned(), 4).unwrap();
        assert_eq!(decode_sticky_data(&bytes), Ok((owned(), Some(4))));
        assert_eq!(decode_sticky_data(&bytes[..bytes.len() - 4]), Ok((owned(), None)));
        assert_eq!(decode_cooperative_data(&encode_cooperative_data(-1)), Ok(-1));
    }
}
