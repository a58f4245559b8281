//! Sorting whose code exists once. The standard library's is made anew for each type, some eight kilobytes each time, which the
//! program that ships would feel.
//!
//! For lists that are sorted now and then, not once a record. Equal items keep their order.

use std::cmp::Ordering;

/// Sorts by an order of the caller's.
pub(crate) fn by<T>(items: &mut [T], compare: impl Fn(&T, &T) -> Ordering) {
    let mut places = places(items.len(), &|a, b| match (items.get(a), items.get(b)) {
        (Some(a), Some(b)) => compare(a, b),
        _ => Ordering::Equal,
    });
    // Once around each cycle: every place takes what belongs there.
    for start in 0..items.len() {
        let mut at = start;
        while let Some(place) = places.get_mut(at) {
            let from = std::mem::replace(place, at);
            if from == start || from == at {
                break;
            }
            items.swap(at, from);
            at = from;
        }
    }
}

/// Sorts by a key, which may be made many times.
pub(crate) fn by_key<T, K: Ord>(items: &mut [T], key: impl Fn(&T) -> K) {
    by(items, |a, b| key(a).cmp(&key(b)));
}

/// Sorts by the items' own order.
pub(crate) fn sort<T: Ord>(items: &mut [T]) {
    by(items, T::cmp);
}

/// For each place the item that belongs there.
fn places(length: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut places: Vec<usize> = (0..length).collect();
    places.sort_by(|a, b| compare(*a, *b));
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_sorts_as_the_standard_library_does() {
        // Numbers that look random, with repetitions; the second of each pair shows whether equal ones keep their order.
        let mut state = 1_u64;
        for length in 0..200 {
            let mut items: Vec<(u64, usize)> = Vec::new();
            for number in 0..length {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                items.push(((state >> 33) % 40, number));
            }
            let (mut wanted, mut reversed) = (items.clone(), items.clone());
            let mut ours = items.clone();
            wanted.sort_by_key(|(key, _)| *key);
            by_key(&mut ours, |(key, _)| *key);
            assert_eq!(ours, wanted);
            reversed.sort_by(|a, b| b.cmp(a));
            by(&mut ours, |a, b| b.cmp(a));
            assert_eq!(ours, reversed);
            sort(&mut ours);
            wanted.sort();
            assert_eq!(ours, wanted);
        }
    }
}
