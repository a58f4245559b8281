//! What all brokers of the sandbox know together: nodes, topics, groups, committed offsets.
//!
//! One value behind one lock. Nothing here waits, reads the clock or touches a socket; with a data folder it writes files.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use uuid::Uuid;

use super::codes;
use super::disk::Disk;
use super::group::Group;
use super::log::{Log, Refusal};
use super::offsets::Offsets;
use super::topic::{self, Partition, Topic};
use super::versions::KafkaVersion;
use crate::limits::{SANDBOX_GROUPS_MAX, SANDBOX_PARTITIONS_MAX};

/// One broker: its id and where it listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) id: i32,
    pub(super) address: SocketAddr,
}

/// A topic to be made.
#[derive(Clone, Debug, Default)]
pub(super) struct NewTopic {
    pub(super) name: String,
    /// -1 for the default.
    pub(super) partitions: i32,
    /// -1 for the default.
    pub(super) replication_factor: i16,
    /// Replicas of each partition, the leader first; empty to let the cluster choose.
    pub(super) assignments: BTreeMap<i32, Vec<i32>>,
    pub(super) configs: BTreeMap<String, String>,
}

/// Settings of the cluster.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) version: KafkaVersion,
    pub(super) auto_create: bool,
    pub(super) default_partitions: i32,
    /// Bytes of records kept in memory, all partitions together; no bound with a data folder.
    pub(super) memory_bytes_max: u64,
}

/// The state of the whole sandbox cluster.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) id: String,
    pub(super) nodes: Vec<Node>,
    pub(super) topics: BTreeMap<String, Topic>,
    pub(super) groups: BTreeMap<String, Group>,
    pub(super) offsets: Offsets,
    pub(super) settings: Settings,
    disk: Option<Disk>,
    next_producer_id: i64,
    memory_bytes: u64,
}

impl Cluster {
    /// A cluster of `nodes` (at least one), with what `disk` holds.
    ///
    /// # Errors
    /// Those of reading the data folder.
    pub(super) fn new(nodes: Vec<Node>, settings: Settings, disk: Option<Disk>) -> io::Result<Self> {
        let mut cluster = Self {
            id: String::new(),
            nodes,
            topics: BTreeMap::new(),
            groups: BTreeMap::new(),
            offsets: Offsets::default(),
            settings,
            disk: None,
            next_producer_id: 0,
            memory_bytes: 0,
        };
        match &disk {
            None => cluster.id = Uuid::new_v4().simple().to_string(),
            Some(disk) => cluster.load(disk)?,
        }
        cluster.disk = disk;
        Ok(cluster)
    }

    fn load(&mut self, disk: &Disk) -> io::Result<()> {
        let about = disk.load_cluster(|| Uuid::new_v4().simple().to_string())?;
        self.id = about.cluster_id;
        self.next_producer_id = about.next_producer_id;
        self.offsets = disk.load_offsets()?;
        for stored in disk.load_topics()? {
            let mut partitions = Vec::new();
            for (index, log) in (0_i32..).zip(stored.logs) {
                partitions.push(self.place(&stored.name, index, stored.replication_factor, None, log));
            }
            self.topics.insert(stored.name, Topic { id: stored.id, configs: stored.configs, partitions });
        }
        Ok(())
    }

    // ---- nodes ----

    /// The controller: the first node.
    pub(super) fn controller(&self) -> i32 {
        self.nodes.first().map_or(-1, |node| node.id)
    }

    /// The node that coordinates group `group`.
    pub(super) fn coordinator(&self, group: &str) -> Option<Node> {
        let sum = group.bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        self.nodes.get(sum.checked_rem(self.nodes.len())?).copied()
    }

    // ---- topics ----

    /// Makes a topic; with `validate_only` only says whether it could.
    ///
    /// # Errors
    /// Kafka's codes for a bad name, a topic that exists, impossible numbers, unknown settings, a disk that is full.
    pub(super) fn create_topic(&mut self, new: &NewTopic, validate_only: bool) -> Result<(), Refusal> {
        topic::check_name(&new.name)?;
        if self.topics.contains_key(&new.name) {
            return Err(Refusal::new(codes::TOPIC_ALREADY_EXISTS, format!("Topic '{}' already exists.", new.name)));
        }
        for (name, value) in &new.configs {
            topic::check_config(name, value)?;
        }
        let (count, factor) = self.check_numbers(new)?;
        self.check_assignments(new)?;
        if validate_only {
            return Ok(());
        }
        let id = Uuid::new_v4();
        let logs = match &self.disk {
            None => (0..count).map(|_| Log::in_memory()).collect(),
            Some(disk) => disk.create_topic(&new.name, id, count, factor, &new.configs)?,
        };
        let mut partitions = Vec::new();
        for (index, log) in (0_i32..).zip(logs) {
            partitions.push(self.place(&new.name, index, factor, new.assignments.get(&index), log));
        }
        self.topics.insert(new.name.clone(), Topic { id, configs: new.configs.clone(), partitions });
        Ok(())
    }

    fn check_numbers(&self, new: &NewTopic) -> Result<(i32, i16), Refusal> {
        let assigned = new.assignments.len();
        let default_factor = i16::try_from(self.nodes.len().min(3)).unwrap_or(1);
        let (count, factor) = match assigned {
            0 => (new.partitions, new.replication_factor),
            _ => (i32::try_from(assigned).unwrap_or(i32::MAX), -1),
        };
        let count = if count == -1 { self.settings.default_partitions } else { count };
        let factor = if factor == -1 { default_factor } else { factor };
        if count < 1 {
            return Err(Refusal::new(codes::INVALID_PARTITIONS, "Number of partitions must be larger than 0."));
        }
        let taken = self.topics.values().map(|topic| topic.partitions.len()).sum::<usize>();
        if taken + usize::try_from(count).unwrap_or(usize::MAX / 2) > SANDBOX_PARTITIONS_MAX {
            let why = format!("the sandbox holds {SANDBOX_PARTITIONS_MAX} partitions at most, {taken} are there");
            return Err(Refusal::new(codes::POLICY_VIOLATION, why));
        }
        if factor < 1 {
            return Err(Refusal::new(codes::INVALID_REPLICATION_FACTOR, "Replication factor must be larger than 0."));
        }
        if usize::try_from(factor).is_ok_and(|factor| factor > self.nodes.len()) {
            let why = format!("Replication factor: {factor} larger than available brokers: {}.", self.nodes.len());
            return Err(Refusal::new(codes::INVALID_REPLICATION_FACTOR, why));
        }
        Ok((count, factor))
    }

    fn check_assignments(&self, new: &NewTopic) -> Result<(), Refusal> {
        let bad = |why: &str| Err(Refusal::new(codes::INVALID_REPLICA_ASSIGNMENT, why));
        for (expected, (partition, replicas)) in (0_i32..).zip(&new.assignments) {
            if *partition != expected {
                return bad("partitions must be a consecutive sequence from 0");
            }
            let known = replicas.iter().all(|id| self.nodes.iter().any(|node| node.id == *id));
            if replicas.is_empty() || !known {
                return bad("replicas must be brokers that exist");
            }
        }
        Ok(())
    }

    /// Gives a partition its replicas: those asked for, or the brokers in turn.
    fn place(&self, topic: &str, index: i32, factor: i16, asked: Option<&Vec<i32>>, log: Log) -> Partition {
        let count = self.nodes.len().max(1);
        let first =
            topic.bytes().fold(0_usize, |sum, byte| sum + usize::from(byte)) + usize::try_from(index).unwrap_or(0);
        let in_turn = || {
            let factor = usize::try_from(factor).unwrap_or(1).clamp(1, count);
            (0..factor).filter_map(|step| self.nodes.get((first + step) % count)).map(|node| node.id).collect()
        };
        let replicas = asked.cloned().unwrap_or_else(in_turn);
        Partition { leader: replicas.first().copied().unwrap_or(-1), leader_epoch: 0, replicas, log }
    }

    /// Deletes a topic, its records and what groups committed for it.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION`; `KAFKA_STORAGE_ERROR` when the folder cannot be removed.
    pub(super) fn delete_topic(&mut self, name: &str) -> Result<(), Refusal> {
        if !self.topics.contains_key(name) {
            return Err(unknown_topic(name));
        }
        if let Some(disk) = &self.disk {
            disk.delete_topic(name)?;
        }
        if let Some(topic) = self.topics.remove(name) {
            let freed = topic.partitions.iter().map(|partition| partition.log.memory_bytes()).sum::<u64>();
            self.memory_bytes = self.memory_bytes.saturating_sub(freed);
        }
        self.offsets.forget_topic(name);
        self.save_offsets()?;
        Ok(())
    }

    /// The name of the topic with this id.
    pub(super) fn topic_named(&self, id: Uuid) -> Option<&str> {
        self.topics.iter().find(|(_, topic)| topic.id == id).map(|(name, _)| name.as_str())
    }

    /// Partition `index` of `topic`, if node `node` leads it.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION`, `NOT_LEADER_OR_FOLLOWER`.
    pub(super) fn led(&self, node: i32, topic: &str, index: i32) -> Result<&Partition, Refusal> {
        let found = self.topics.get(topic).and_then(|topic| topic.partition(index));
        let partition = found.ok_or_else(|| unknown_topic(topic))?;
        if partition.leader == node { Ok(partition) } else { Err(not_leader(topic, index, partition.leader)) }
    }

    /// Appends a batch that node `node` was sent for partition `index` of `topic`.
    ///
    /// # Errors
    /// As [`Cluster::led`] and [`Log::append`]; `KAFKA_STORAGE_ERROR` when memory for records is used up.
    pub(super) fn append(
        &mut self,
        node: i32,
        topic: &str,
        index: i32,
        batch: &[u8],
        zstd: bool,
        now_ms: i64,
    ) -> Result<super::log::Appended, Refusal> {
        self.led(node, topic, index)?;
        let in_memory = self.disk.is_none();
        let bytes = batch.len() as u64;
        if in_memory && self.memory_bytes.saturating_add(bytes) > self.settings.memory_bytes_max {
            let why = format!("the sandbox keeps {} bytes of records in memory", self.settings.memory_bytes_max);
            return Err(Refusal::new(codes::KAFKA_STORAGE_ERROR, why));
        }
        let topic = self.topics.get_mut(topic).ok_or_else(|| unknown_topic(topic))?;
        let leader_epoch = topic.partition(index).map_or(0, |partition| partition.leader_epoch);
        let rules = topic.append_rules(leader_epoch, zstd);
        let Some(partition) = topic.partition_mut(index) else {
            return Err(Refusal::new(codes::UNKNOWN_TOPIC_OR_PARTITION, "no such partition"));
        };
        let before = partition.log.end_offset();
        let appended = partition.log.append(batch, &rules, now_ms)?;
        if in_memory && partition.log.end_offset() != before {
            self.memory_bytes += bytes;
        }
        Ok(appended)
    }

    /// Deletes the records before `offset` and gives the new start of the log.
    ///
    /// # Errors
    /// As [`Cluster::led`] and [`Log::delete_before`].
    pub(super) fn delete_records(&mut self, node: i32, topic: &str, index: i32, offset: i64) -> Result<i64, Refusal> {
        self.led(node, topic, index)?;
        let Some(found) = self.topics.get_mut(topic).and_then(|topic| topic.partition_mut(index)) else {
            return Err(unknown_topic(topic));
        };
        let before = found.log.memory_bytes();
        let start = found.log.delete_before(offset)?;
        let freed = before.saturating_sub(found.log.memory_bytes());
        self.memory_bytes = self.memory_bytes.saturating_sub(freed);
        if let (Some(disk), Some(topic_state)) = (&self.disk, self.topics.get(topic)) {
            disk.save_starts(topic, topic_state)?;
        }
        Ok(start)
    }

    /// Makes node `node` the leader of a partition and raises its epoch.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION`; `INVALID_REPLICA_ASSIGNMENT` for a broker that is no replica.
    pub(super) fn move_leader(&mut self, topic: &str, index: i32, node: i32) -> Result<(), Refusal> {
        let found = self.topics.get_mut(topic).and_then(|topic| topic.partition_mut(index));
        let partition = found.ok_or_else(|| unknown_topic(topic))?;
        if !partition.replicas.contains(&node) {
            return Err(Refusal::new(codes::INVALID_REPLICA_ASSIGNMENT, format!("broker {node} is no replica")));
        }
        partition.leader = node;
        partition.leader_epoch += 1;
        Ok(())
    }

    // ---- groups ----

    /// The group called `name`, made when it does not exist.
    ///
    /// # Errors
    /// `INVALID_GROUP_ID` for an empty name, `POLICY_VIOLATION` when there are too many groups.
    pub(super) fn group_mut(&mut self, name: &str) -> Result<&mut Group, Refusal> {
        if name.is_empty() {
            return Err(Refusal::new(codes::INVALID_GROUP_ID, "an empty group id"));
        }
        if !self.groups.contains_key(name) && self.groups.len() >= SANDBOX_GROUPS_MAX {
            return Err(Refusal::new(codes::POLICY_VIOLATION, "too many groups"));
        }
        Ok(self.groups.entry(name.to_owned()).or_insert_with(Group::new))
    }

    /// Lets time pass for all groups; says whether anything changed.
    pub(super) fn expire_groups(&mut self, now: Instant) -> bool {
        let mut changed = false;
        for group in self.groups.values_mut() {
            changed |= group.expire(now);
        }
        // A group that nobody is in and that committed nothing is as good as none.
        let offsets = &self.offsets;
        self.groups.retain(|name, group| !group.is_idle() || offsets.has_group(name));
        changed
    }

    /// When [`Cluster::expire_groups`] has something to do, if nothing happens before.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.groups.values().filter_map(Group::next_deadline).min()
    }

    /// Names of all groups that have members or offsets.
    pub(super) fn group_names(&self) -> Vec<String> {
        let idle = |name: &&String| self.groups.get(*name).is_some_and(|group| !group.is_idle());
        let mut names = self.groups.keys().filter(idle).cloned().collect::<Vec<_>>();
        names.extend(self.offsets.groups().map(str::to_owned));
        names.sort();
        names.dedup();
        names
    }

    /// Writes the committed offsets to the data folder, if there is one.
    ///
    /// # Errors
    /// Those of writing.
    pub(super) fn save_offsets(&self) -> io::Result<()> {
        self.disk.as_ref().map_or(Ok(()), |disk| disk.save_offsets(&self.offsets))
    }

    /// A producer id nobody has.
    ///
    /// # Errors
    /// Those of writing the next one down, so that it is not given out again after a restart.
    pub(super) fn new_producer_id(&mut self) -> io::Result<i64> {
        let id = self.next_producer_id;
        self.next_producer_id += 1;
        if let Some(disk) = &self.disk {
            disk.save_cluster(&self.id, self.next_producer_id)?;
        }
        Ok(id)
    }
}

/// `UNKNOWN_TOPIC_OR_PARTITION` about `topic`.
pub(super) fn unknown_topic(topic: &str) -> Refusal {
    Refusal::new(codes::UNKNOWN_TOPIC_OR_PARTITION, format!("topic {topic:?} or its partition does not exist"))
}

fn not_leader(topic: &str, index: i32, leader: i32) -> Refusal {
    let why = format!("broker {leader} leads topic {topic:?} partition {index}");
    Refusal::new(codes::NOT_LEADER_OR_FOLLOWER, why)
}
