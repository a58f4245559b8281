//! The order in which the maps of Java and Scala give their entries back. Kafka 1.0's tools print maps as they come, so who
//! wants to print the same bytes must know it.

/// `String.hashCode`.
fn text_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

/// `TopicPartition.hashCode`.
fn partition_hash(topic: &str, partition: i32) -> i32 {
    31_i32.wrapping_add(partition).wrapping_mul(31).wrapping_add(text_hash(topic))
}

/// The buckets of `java.util.HashMap`: a power of two, three quarters full at most.
fn buckets(count: usize) -> u32 {
    let mut buckets = 16_usize;
    while count.saturating_mul(4) > buckets.saturating_mul(3) {
        buckets = buckets.saturating_mul(2);
    }
    u32::try_from(buckets).unwrap_or(1 << 30)
}

const fn java_bucket(hash: i32, buckets: u32) -> u32 {
    let hash = hash.cast_unsigned();
    (hash ^ (hash >> 16)) & buckets.saturating_sub(1)
}

/// The order of a `java.util.HashMap` with text keys (and of the map within `Properties`, from Java 9 on).
pub(super) fn by_text<T>(entries: &mut [T], key: impl Fn(&T) -> &str) {
    let buckets = buckets(entries.len());
    crate::sorting::by_key(entries, |entry| java_bucket(text_hash(key(entry)), buckets));
}

/// The order in which AdminClient of Kafka 1.0 lists a group's offsets: a `HashMap` of Java, turned into an immutable map of
/// Scala 2.11. `entries` are in the order of the broker's answer.
pub(super) fn by_partition<T>(entries: &mut [T], key: impl Fn(&T) -> (&str, i32)) {
    let buckets = buckets(entries.len());
    let hash = |entry: &T| {
        let (topic, partition) = key(entry);
        partition_hash(topic, partition)
    };
    crate::sorting::by_key(entries, |entry| java_bucket(hash(entry), buckets));
    if entries.len() <= 4 {
        // `asScala.map` fills a mutable map of 16 buckets, whose iterator runs downwards and gives the latest of a bucket
        // first; maps of up to four entries then keep that order.
        entries.reverse();
        crate::sorting::by_key(entries, |entry| std::cmp::Reverse(mutable_bucket(hash(entry))));
    } else {
        crate::sorting::by_key(entries, |entry| trie_path(hash(entry)));
    }
}

/// The bucket of 16 in `scala.collection.mutable.HashTable`.
const fn mutable_bucket(hash: i32) -> u32 {
    let swapped = hash.wrapping_mul(0x9e37_75cd_u32.cast_signed()).swap_bytes();
    let swapped = swapped.wrapping_mul(0x9e37_75cd_u32.cast_signed()).cast_unsigned();
    let improved = swapped.rotate_right(4).cast_signed();
    (improved >> 28).cast_unsigned() & 15
}

/// Where an entry stands in `scala.collection.immutable.HashMap`: five bits of its hash a level, the lowest first.
fn trie_path(hash: i32) -> [u32; 7] {
    let mut improved = hash.wrapping_add(!(hash.wrapping_shl(9)));
    improved ^= improved.cast_unsigned().wrapping_shr(14).cast_signed();
    improved = improved.wrapping_add(improved.wrapping_shl(4));
    improved ^= improved.cast_unsigned().wrapping_shr(10).cast_signed();
    let bits = improved.cast_unsigned();
    std::array::from_fn(|level| (bits >> (level * 5)) & 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_java_s() {
        assert_eq!(
            text_hash("testkafka"),
            "testkafka".chars().fold(0_i32, |h, c| h.wrapping_mul(31).wrapping_add(c as i32))
        );
        assert_eq!(text_hash("Aa"), text_hash("BB"));
        // 31 * (31 + 1) + "t".
        assert_eq!(partition_hash("t", 1), 31 * 32 + 116);
    }

    #[test]
    fn maps_of_text_come_by_bucket() {
        let mut entries = ["retention.ms", "cleanup.policy"];
        by_text(&mut entries, |entry| entry);
        let first = java_bucket(text_hash(entries[0]), 16);
        assert!(first <= java_bucket(text_hash(entries[1]), 16));
        assert_eq!((buckets(12), buckets(13), buckets(25)), (16, 32, 64));
    }
}
