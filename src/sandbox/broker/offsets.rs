//! Offsets that groups have committed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Longest metadata of one committed offset (Kafka's `offset.metadata.max.bytes`).
pub(super) const METADATA_BYTES_MAX: usize = 4_096;

/// One committed offset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Committed {
    pub(super) offset: i64,
    /// -1 when it was not given.
    pub(super) leader_epoch: i32,
    /// Null and empty are kept apart.
    pub(super) metadata: Option<String>,
}

/// All groups' committed offsets: group, topic, partition.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Offsets(BTreeMap<String, BTreeMap<String, BTreeMap<i32, Committed>>>);

impl Offsets {
    /// Keeps `committed`, in place of what was there.
    pub(super) fn commit(&mut self, group: &str, topic: &str, partition: i32, committed: Committed) {
        let topics = self.0.entry(group.to_owned()).or_default();
        topics.entry(topic.to_owned()).or_default().insert(partition, committed);
    }

    /// What was committed last.
    pub(super) fn find(&self, group: &str, topic: &str, partition: i32) -> Option<&Committed> {
        self.0.get(group)?.get(topic)?.get(&partition)
    }

    /// The partitions of each topic that `group` has committed.
    pub(super) fn of_group(&self, group: &str) -> Vec<(String, Vec<i32>)> {
        let topics = self.0.get(group).into_iter().flatten();
        topics.map(|(topic, partitions)| (topic.clone(), partitions.keys().copied().collect())).collect()
    }

    /// Whether `group` has committed anything.
    pub(super) fn has_group(&self, group: &str) -> bool {
        self.0.contains_key(group)
    }

    /// Groups that have committed something.
    pub(super) fn groups(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Forgets what was committed for `topic`.
    pub(super) fn forget_topic(&mut self, topic: &str) {
        for topics in self.0.values_mut() {
            topics.remove(topic);
        }
        self.0.retain(|_, topics| !topics.is_empty());
    }
}
