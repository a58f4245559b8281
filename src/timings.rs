//! How long requests took, by peer and kind, over the whole process. Costs a lock and an addition for each request.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Upper ends of the buckets, in milliseconds.
pub(crate) const BUCKETS_MS: [u64; 12] = [1, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 10_000, 60_000];

/// Requests of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Histogram {
    /// Requests in each bucket and in none below it.
    pub(crate) buckets: [u64; 12],
    /// Requests.
    pub(crate) count: u64,
    /// Time of all of them.
    pub(crate) sum: Duration,
}

impl Histogram {
    fn add(&mut self, took: Duration) {
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        // A request of 5.2 ms is above the end at 5.
        let is_within = |end: &u64| ms < *end || (ms == *end && took.subsec_nanos().is_multiple_of(1_000_000));
        if let Some(bucket) = BUCKETS_MS.iter().position(is_within).and_then(|at| self.buckets.get_mut(at)) {
            *bucket = bucket.saturating_add(1);
        }
        self.count = self.count.saturating_add(1);
        self.sum = self.sum.saturating_add(took);
    }
}

type Kind = (&'static str, &'static str);

static TIMINGS: Mutex<BTreeMap<Kind, Histogram>> = Mutex::new(BTreeMap::new());

/// A request to `peer` was answered, or was given up.
pub(crate) fn record(peer: &'static str, api: &'static str, took: Duration) {
    TIMINGS.lock().unwrap_or_else(PoisonError::into_inner).entry((peer, api)).or_default().add(took);
}

/// All kinds, by peer and name.
#[cfg(feature = "cli")]
pub(crate) fn all() -> Vec<(Kind, Histogram)> {
    let timings = TIMINGS.lock().unwrap_or_else(PoisonError::into_inner);
    timings.iter().map(|(kind, histogram)| (*kind, *histogram)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_in_one_bucket() {
        let mut histogram = Histogram::default();
        for micros in [400, 1_000, 1_001, 5_200, 59_999_000, 61_000_000] {
            histogram.add(Duration::from_micros(micros));
        }
        assert_eq!(histogram.buckets, [2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!((histogram.count, histogram.sum), (6, Duration::from_micros(121_006_601)));
    }
}
