//! What the client knows about the cluster: brokers, topics, leaders, coordinators.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::kafka::msg::{ErrorCode, MetadataAnswer, TopicAnswer, TopicId};

use super::address::HostPort;

/// The cluster as metadata answers have described it so far. Pure.
///
/// Inputs: `handle_metadata`, `handle_coordinator`. Commands: `forget_coordinator`.
/// Outputs: `topic`, `leader`, `address`, `coordinator`, `candidates`, `controller`.
/// Invariant: the leader epoch of a partition never goes back while the topic keeps its id; an answer with an older epoch
/// comes from a broker that lags behind, and its leader is not taken over (KIP-320).
#[derive(Debug)]
pub struct Cluster {
    bootstrap: Vec<HostPort>,
    brokers: BTreeMap<i32, Broker>,
    cluster_id: Option<String>,
    controller: Option<i32>,
    topics: BTreeMap<Arc<str>, Topic>,
    coordinators: BTreeMap<Arc<str>, i32>,
    turn: usize,
}

/// One broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Where it says it listens; a sentence when that cannot be used.
    pub address: Result<HostPort, String>,
    /// Its rack.
    pub rack: Option<String>,
}

/// One topic.
#[derive(Clone, Debug)]
pub struct Topic {
    /// What the last answer said about it.
    pub error: ErrorCode,
    /// Its id, if the brokers have ids.
    pub id: Option<TopicId>,
    /// Whether the cluster keeps it for itself.
    pub internal: bool,
    /// Its partitions; empty with an error.
    pub partitions: BTreeMap<i32, Partition>,
}

impl Topic {
    /// A topic that no broker has said anything about.
    pub const fn unknown() -> Self {
        let error = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
        Self { error, id: None, internal: false, partitions: BTreeMap::new() }
    }
}

/// One partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// What the last answer said about it.
    pub error: ErrorCode,
    /// The node that leads it; none during an election.
    pub leader: Option<i32>,
    /// The leader's epoch, if the brokers say.
    pub leader_epoch: Option<i32>,
    /// Nodes that hold it.
    pub replicas: Vec<i32>,
    /// Nodes that have all of it.
    pub in_sync: Vec<i32>,
    /// Nodes that should hold it and are down.
    pub offline: Vec<i32>,
}

/// A place where a request for any broker may go.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A broker by its id.
    Node(i32),
    /// An address from the configuration.
    Bootstrap(HostPort),
}

impl Cluster {
    /// Nothing known but the configured addresses. `turn` decides which of them is tried first.
    pub const fn new(bootstrap: Vec<HostPort>, turn: usize) -> Self {
        Self {
            bootstrap,
            brokers: BTreeMap::new(),
            cluster_id: None,
            controller: None,
            topics: BTreeMap::new(),
            coordinators: BTreeMap::new(),
            turn,
        }
    }

    /// Takes an answer. Topics it does not mention stay as they are.
    pub fn handle_metadata(&mut self, answer: &MetadataAnswer) {
        // An answer without brokers comes from one that is starting or leaving; what is known serves better.
        if !answer.brokers.is_empty() {
            let broker = |b: &crate::kafka::msg::BrokerAnswer| {
                (b.node, Broker { address: HostPort::advertised(&b.host, b.port), rack: b.rack.clone() })
            };
            self.brokers = answer.brokers.iter().map(broker).collect();
        }
        if answer.cluster_id.is_some() {
            self.cluster_id.clone_from(&answer.cluster_id);
        }
        self.controller = answer.controller;
        for topic in &answer.topics {
            self.handle_topic(topic);
        }
    }

    fn handle_topic(&mut self, answer: &TopicAnswer) {
        let name: Arc<str> = answer.name.as_str().into();
        let old = self.topics.get(&name).filter(|old| old.id == answer.id);
        let partitions = answer.partitions.iter().map(|p| {
            let new = Partition {
                error: p.error,
                leader: p.leader,
                leader_epoch: p.leader_epoch,
                replicas: p.replicas.clone(),
                in_sync: p.in_sync.clone(),
                offline: p.offline.clone(),
            };
            let known = old.and_then(|old| old.partitions.get(&p.partition));
            let stale = known.filter(|known| known.leader_epoch > new.leader_epoch && new.leader_epoch.is_some());
            (p.partition, stale.cloned().unwrap_or(new))
        });
        // A topic with an error has no partitions: epochs of a deleted topic must not outlive it.
        let partitions = partitions.collect();
        self.topics.insert(name, Topic { error: answer.error, id: answer.id, internal: answer.internal, partitions });
    }

    /// Takes the coordinator of a group, with its address.
    pub fn handle_coordinator(&mut self, group: &Arc<str>, node: i32, host: &str, port: i32) {
        self.coordinators.insert(group.clone(), node);
        // A coordinator may be newer than the last metadata.
        let address = HostPort::advertised(host, port);
        self.brokers.entry(node).or_insert(Broker { address, rack: None });
    }

    /// Takes the address of a leader that a fetch answer hinted at (KIP-951).
    pub fn handle_endpoint(&mut self, node: i32, host: &str, port: i32) {
        let address = HostPort::advertised(host, port);
        self.brokers.entry(node).or_insert(Broker { address, rack: None });
    }

    /// Drops what is known about a group's coordinator.
    pub fn forget_coordinator(&mut self, group: &str) {
        self.coordinators.remove(group);
    }

    /// What is known about a topic.
    pub fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.get(name)
    }

    /// The leader of a partition, with its epoch.
    pub fn leader(&self, topic: &str, partition: i32) -> Option<(i32, Option<i32>)> {
        let partition = self.topics.get(topic)?.partitions.get(&partition)?;
        partition.leader.map(|leader| (leader, partition.leader_epoch))
    }

    /// The coordinator of a group, if known.
    pub fn coordinator(&self, group: &str) -> Option<i32> {
        self.coordinators.get(group).copied()
    }

    /// The broker that takes controller requests.
    pub const fn controller(&self) -> Option<i32> {
        self.controller
    }

    /// The cluster's id.
    pub fn cluster_id(&self) -> Option<&str> {
        self.cluster_id.as_deref()
    }

    /// All known brokers by node id.
    pub const fn brokers(&self) -> &BTreeMap<i32, Broker> {
        &self.brokers
    }

    /// The configured addresses.
    pub fn bootstrap(&self) -> &[HostPort] {
        &self.bootstrap
    }

    /// Where a request for any broker may go, in the order to try: known brokers, then the configured addresses, for when
    /// every known broker is gone (KIP-899). Each call starts with another broker.
    pub fn candidates(&mut self) -> Vec<Place> {
        let turn = self.turn;
        self.turn = self.turn.wrapping_add(1);
        let mut nodes: Vec<Place> = self.brokers.keys().map(|node| Place::Node(*node)).collect();
        let mut bootstrap: Vec<Place> = self.bootstrap.iter().cloned().map(Place::Bootstrap).collect();
        for list in [&mut nodes, &mut bootstrap] {
            let len = list.len().max(1);
            list.rotate_left(turn.checked_rem(len).unwrap_or(0));
        }
        nodes.append(&mut bootstrap);
        nodes
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::kafka::msg::{BrokerAnswer, PartitionAnswer};

    fn answer(topics: Vec<TopicAnswer>) -> MetadataAnswer {
        let broker = |node| BrokerAnswer { node, host: format!("h{node}"), port: 9092, rack: None };
        MetadataAnswer {
            throttle_ms: 0,
            brokers: vec![broker(1), broker(2)],
            cluster_id: Some("c".to_owned()),
            controller: Some(1),
            topics,
        }
    }

    fn topic(id: u8, leader: Option<i32>, epoch: Option<i32>) -> TopicAnswer {
        let partition = PartitionAnswer {
            error: ErrorCode::NONE,
            partition: 0,
            leader,
            leader_epoch: epoch,
            replicas: vec![1, 2],
            in_sync: vec![1, 2],
            offline: vec![],
        };
        let id = TopicId::new([id; 16]);
        TopicAnswer { error: ErrorCode::NONE, name: "t".to_owned(), id, internal: false, partitions: vec![partition] }
    }

    fn cluster() -> Cluster {
        Cluster::new(vec![HostPort::new("b1", 1), HostPort::new("b2", 2)], 0)
    }

    #[test]
    fn metadata_with_an_older_epoch_is_ignored() {
        let mut cluster = cluster();
        cluster.handle_metadata(&answer(vec![topic(1, Some(1), Some(5))]));
        cluster.handle_metadata(&answer(vec![topic(1, Some(2), Some(4))]));
        assert_eq!(cluster.leader("t", 0), Some((1, Some(5))));
        cluster.handle_metadata(&answer(vec![topic(1, Some(2), Some(6))]));
        assert_eq!(cluster.leader("t", 0), Some((2, Some(6))));
    }

    #[test]
    fn brokers_without_epochs_are_believed() {
        let mut cluster = cluster();
        cluster.handle_metadata(&answer(vec![topic(0, Some(1), None)]));
        cluster.handle_metadata(&answer(vec![topic(0, Some(2), None)]));
        assert_eq!(cluster.leader("t", 0), Some((2, None)));
        cluster.handle_metadata(&answer(vec![topic(0, None, None)]));
        assert_eq!(cluster.leader("t", 0), None);
    }

    #[test]
    fn a_topic_made_anew_starts_with_new_epochs() {
        let mut cluster = cluster();
        cluster.handle_metadata(&answer(vec![topic(1, Some(1), Some(5))]));
        cluster.handle_metadata(&answer(vec![topic(2, Some(2), Some(0))]));
        assert_eq!(cluster.leader("t", 0), Some((2, Some(0))));
        // Without ids: gone in between.
        let mut cluster = self::cluster();
        cluster.handle_metadata(&answer(vec![topic(0, Some(1), Some(5))]));
        let mut gone = topic(0, None, None);
        gone.error = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
        gone.partitions.clear();
        cluster.handle_metadata(&answer(vec![gone]));
        cluster.handle_metadata(&answer(vec![topic(0, Some(2), Some(0))]));
        assert_eq!(cluster.leader("t", 0), Some((2, Some(0))));
    }

    #[test]
    fn candidates_rotate_and_end_with_the_configured_addresses() {
        let mut cluster = cluster();
        assert_eq!(cluster.candidates().len(), 2);
        cluster.handle_metadata(&answer(vec![]));
        let (first, second) = (cluster.candidates(), cluster.candidates());
        assert_eq!(first.len(), 4);
        assert_ne!(first[0], second[0]);
        assert!(first[2..].iter().all(|place| matches!(place, Place::Bootstrap(_))));
    }

    #[test]
    fn an_advertised_address_that_cannot_be_used_is_kept_as_such() {
        let mut cluster = cluster();
        let mut bad = answer(vec![]);
        bad.brokers[0].port = 0;
        cluster.handle_metadata(&bad);
        assert!(cluster.brokers()[&1].address.is_err());
        assert_eq!(cluster.brokers()[&2].address, Ok(HostPort::new("h2", 9092)));
    }
}
