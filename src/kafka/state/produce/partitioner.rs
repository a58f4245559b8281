//! To which partition a record goes.

use crate::wire::crc32;

/// How a record without a partition of its own gets one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Partitioner {
    /// Java's default: murmur2 of the key; records without one stay with a partition for a batch's worth of bytes, then move
    /// on to another (KIP-480, KIP-794).
    #[default]
    Sticky,
    /// Every record to the next partition, key or not (Java's `RoundRobinPartitioner`).
    RoundRobin,
    /// Every record as if it had no key (Java's `partitioner.ignore.keys`).
    UniformSticky,
    /// librdkafka's `random`: any partition, key or not.
    Random,
    /// librdkafka's `consistent`: CRC-32 of the key, a missing one counting as empty.
    Consistent,
    /// librdkafka's default, `consistent_random`: CRC-32 of the key, any partition without one or with an empty one.
    ConsistentRandom,
    /// librdkafka's `murmur2`: as Java for keys, a missing one counting as empty.
    Murmur2,
    /// librdkafka's `murmur2_random`: as Java for keys, any partition without one.
    Murmur2Random,
    /// librdkafka's `fnv1a`: FNV-1a of the key, a missing one counting as empty.
    Fnv1a,
    /// librdkafka's `fnv1a_random`: FNV-1a of the key, any partition without one.
    Fnv1aRandom,
}

impl Partitioner {
    /// By librdkafka's name (`partitioner`), or the class that Java names (`partitioner.class`), with or without package.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name.trim().rsplit('.').next().unwrap_or_default() {
            "" | "DefaultPartitioner" => Self::Sticky,
            "RoundRobinPartitioner" => Self::RoundRobin,
            "UniformStickyPartitioner" => Self::UniformSticky,
            "random" => Self::Random,
            "consistent" => Self::Consistent,
            "consistent_random" => Self::ConsistentRandom,
            "murmur2" => Self::Murmur2,
            "murmur2_random" => Self::Murmur2Random,
            "fnv1a" => Self::Fnv1a,
            "fnv1a_random" => Self::Fnv1aRandom,
            _ => return None,
        })
    }

    /// What decides for a record with this key.
    pub(super) fn choose(self, key: Option<&[u8]>) -> Choice {
        let bytes = key.unwrap_or_default();
        match self {
            Self::Sticky => key.map_or(Choice::Stick, |key| Choice::Hash(positive(murmur2(key)))),
            Self::UniformSticky => Choice::Stick,
            Self::RoundRobin => Choice::Next,
            Self::Random => Choice::Any,
            Self::ConsistentRandom if bytes.is_empty() => Choice::Any,
            Self::Consistent | Self::ConsistentRandom => Choice::Hash(crc32(bytes)),
            Self::Murmur2Random | Self::Fnv1aRandom if key.is_none() => Choice::Any,
            Self::Murmur2 | Self::Murmur2Random => Choice::Hash(positive(murmur2(bytes))),
            Self::Fnv1a | Self::Fnv1aRandom => Choice::Hash(fnv1a(bytes).cast_signed().unsigned_abs()),
        }
    }
}

/// What decides about one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// This hash, modulo the number of partitions.
    Hash(u32),
    /// The partition whose turn it is for a batch's worth of bytes.
    Stick,
    /// The next one.
    Next,
    /// Any.
    Any,
}

/// The partition that Java's producer and its default partitioner give to a key among `partitions` of them.
///
/// None for no partitions at all.
pub fn partition_for_key(key: &[u8], partitions: u32) -> Option<u32> {
    positive(murmur2(key)).checked_rem(partitions)
}

/// Java's `Utils.toPositive`: the sign bit is dropped.
const fn positive(hash: u32) -> u32 {
    hash & 0x7fff_ffff
}

/// Austin Appleby's MurmurHash2 of 32 bits, with the seed of Kafka's Java client (`Utils.murmur2`).
fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    // Only the lower 32 bits of the length count.
    let mut hash = SEED ^ u32::try_from(data.len() & 0xffff_ffff).unwrap_or(0);
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        for (at, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte).wrapping_shl(u32::try_from(at).unwrap_or(0).wrapping_mul(8));
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

/// FNV-1a of 32 bits as librdkafka has it, offset basis included.
fn fnv1a(data: &[u8]) -> u32 {
    data.iter().fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_of_the_java_client_s_own_tests() {
        // Kafka's `UtilsTest.testMurmur2`.
        for (text, hash) in [
            ("21", -973_932_308_i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(text.as_bytes()).cast_signed(), hash, "{text}");
        }
    }

    #[test]
    fn hashes_that_librdkafka_has_too() {
        // FNV's own test values; the CRC-32 of this text is in every description of it.
        assert_eq!(fnv1a(b"a"), 0xe40c_292c);
        assert_eq!(fnv1a(b"foobar"), 0xbf9c_f968);
        assert_eq!(fnv1a(b""), 0x811c_9dc5);
        assert_eq!(Partitioner::Consistent.choose(Some(b"123456789")), Choice::Hash(0xcbf4_3926));
        assert_eq!(Partitioner::Consistent.choose(None), Choice::Hash(0));
        assert_eq!(Partitioner::Murmur2.choose(None), Partitioner::Murmur2.choose(Some(b"")));
    }

    #[test]
    fn records_without_a_key_are_spread_as_each_vendor_does() {
        for (name, none, empty_is_hashed) in [
            ("consistent_random", Choice::Any, false),
            ("murmur2_random", Choice::Any, true),
            ("fnv1a_random", Choice::Any, true),
            ("org.apache.kafka.clients.producer.internals.DefaultPartitioner", Choice::Stick, true),
            ("org.apache.kafka.clients.producer.RoundRobinPartitioner", Choice::Next, false),
        ] {
            let partitioner = Partitioner::parse(name).unwrap_or_default();
            assert_eq!(partitioner.choose(None), none, "{name}");
            assert_eq!(matches!(partitioner.choose(Some(b"")), Choice::Hash(_)), empty_is_hashed, "{name}");
        }
        assert_eq!(Partitioner::parse("nonsense"), None);
    }
}
