//! What is ours, and what the caller has been told of it.

use std::collections::{BTreeSet, VecDeque};

use crate::kafka::state::fetch::TopicPartition;

use super::{Change, Generation};

/// Partitions and the changes that are on their way to the caller.
///
/// Invariant: `told` is what the caller holds once it has dealt with the change in its hands; `told` plus the queued changes
/// is what the group has given us.
#[derive(Debug, Default)]
pub(super) struct Ownership {
    told: BTreeSet<TopicPartition>,
    queue: VecDeque<Change>,
    in_hand: Option<Change>,
}

impl Ownership {
    /// What the caller has been told is ours and has not finished giving up.
    pub(super) const fn told(&self) -> &BTreeSet<TopicPartition> {
        &self.told
    }

    /// Whether the caller has dealt with everything.
    pub(super) fn is_quiet(&self) -> bool {
        self.queue.is_empty() && self.in_hand.is_none()
    }

    pub(super) fn poll_change(&mut self) -> Option<Change> {
        if self.in_hand.is_some() {
            return None;
        }
        let change = self.queue.pop_front()?;
        match &change {
            Change::Assigned { partitions, .. } => self.told.extend(partitions.iter().cloned()),
            Change::Lost { partitions } => self.told.retain(|partition| !partitions.contains(partition)),
            Change::Revoked { .. } => {}
        }
        self.in_hand = Some(change.clone());
        Some(change)
    }

    /// The caller has dealt with the change in its hands.
    pub(super) fn acknowledge(&mut self) {
        if let Some(Change::Revoked { partitions, .. }) = self.in_hand.take() {
            self.told.retain(|partition| !partitions.contains(partition));
        }
    }

    /// Queues what has to be given up, if anything.
    pub(super) fn revoke(&mut self, generation: &Generation, partitions: Vec<TopicPartition>) {
        if !partitions.is_empty() {
            self.queue.push_back(Change::Revoked { generation: generation.clone(), partitions });
        }
    }

    pub(super) fn assign(&mut self, generation: &Generation, partitions: Vec<TopicPartition>) {
        self.queue.push_back(Change::Assigned { generation: generation.clone(), partitions });
    }

    /// Everything is gone: changes that the caller has not heard of are void, and what it has goes at once.
    pub(super) fn lose(&mut self) {
        self.queue.clear();
        let revoking: &[TopicPartition] = match &self.in_hand {
            Some(Change::Revoked { partitions, .. }) => partitions,
            _ => &[],
        };
        let partitions: Vec<TopicPartition> =
            self.told.iter().filter(|partition| !revoking.contains(partition)).cloned().collect();
        if !partitions.is_empty() {
            self.queue.push_back(Change::Lost { partitions });
        }
    }
}
