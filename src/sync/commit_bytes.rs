//! How many bytes of records one commit may have, counted by all lanes that fill it.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// The bytes of a commit: those that it may have, and those that lanes have taken.
#[derive(Debug)]
pub(super) struct CommitBytes {
    max: u64,
    taken: AtomicU64,
}

impl CommitBytes {
    pub(super) const fn new(max: u64) -> Self {
        Self { max, taken: AtomicU64::new(0) }
    }

    /// Whether it has as many as it may have.
    pub(super) fn is_full(&self) -> bool {
        self.taken.load(Relaxed) >= self.max
    }

    /// Makes a record of so many bytes part of the commit, unless it is full. The record that fills it is the last, in whatever
    /// lane it is.
    pub(super) fn take(&self, bytes: u64) -> bool {
        let add = |taken| (taken < self.max).then(|| u64::saturating_add(taken, bytes));
        self.taken.fetch_update(Relaxed, Relaxed, add).is_ok()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lanes_take_no_record_more_than_one_lane_would() {
        let commit = CommitBytes::new(20 * 1024);
        let lane = || (0..5_000).filter(|_| commit.take(1_010)).count();
        let taken = std::thread::scope(|scope| {
            let lanes = [(); 4].map(|()| scope.spawn(lane));
            lanes.into_iter().map(|lane| lane.join().unwrap()).sum::<usize>()
        });
        assert_eq!(taken, 21);
    }

    #[test]
    fn a_record_larger_than_a_commit_is_one_by_itself() {
        let commit = CommitBytes::new(1);
        assert!(commit.take(u64::MAX));
        assert!(!commit.take(0));
    }
}
