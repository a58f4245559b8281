//! Topics and groups, for those who look after them.

mod acls;
mod configs;
mod group_offsets;
mod log_dirs;
mod partitions;
mod scram_users;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use acls::{Acl, AclFilter, AclOperation, AclPattern, AclPermission, AclResource};
pub use configs::{ConfigChange, ConfigEntry, ConfigResource, ConfigSource};
pub use log_dirs::LogDir;
pub use scram_users::ScramMechanism;

use super::ask::Attempt;
use super::client::Client;
use super::error::{Error, ErrorKind};
use super::msg::{
    ApiKey, ApiVersionsCall, Call, CodeClass, ConsumerGroupAnswer, ConsumerGroupDescribeCall, CreateTopicCall,
    DeleteTopicCall, DescribeGroupsCall, DescribedGroupAnswer, ErrorCode, ListGroupsCall, VersionTable,
    assigned_partitions,
};
use super::net::pool::Lane;
use super::state::cluster::Place;

/// A topic to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions; -1 for the broker's default, from Kafka 2.4 on.
    pub partitions: i32,
    /// How many replicas of each; -1 for the broker's default, from Kafka 2.4 on.
    pub replication_factor: i16,
    /// The nodes that are to hold each partition, the preferred leader first, in place of both numbers; empty lets the
    /// controller decide.
    pub assignments: Vec<Vec<i32>>,
    /// Topic configuration, such as (`cleanup.policy`, `compact`).
    pub configs: Vec<(String, String)>,
}

/// A group of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedGroup {
    /// Its id.
    pub group: String,
    /// `consumer`, `connect`, or empty for a group that only commits.
    pub protocol_type: String,
    /// Such as `Stable` or `Empty`; none before Kafka 2.6.
    pub state: Option<String>,
    /// `classic`, `consumer` (KIP-848), `share` or `streams`; none before Kafka 3.8.
    pub group_type: Option<String>,
    /// The node that coordinates it.
    pub coordinator: i32,
}

/// A group with its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedGroup {
    /// Its id.
    pub group: String,
    /// `Stable`, `Empty`, `PreparingRebalance`, `CompletingRebalance` (`AwaitingSync` before Kafka 2.0), of the new protocol
    /// `Assigning` and `Reconciling`; `Dead` for a group that does not exist.
    pub state: String,
    /// `consumer`, `connect`, or empty.
    pub protocol_type: String,
    /// The assignor's name, in a stable group.
    pub assignor: String,
    /// The node that coordinates it.
    pub coordinator: i32,
    /// How often its subscriptions have changed; none for the classic protocol.
    pub epoch: Option<i32>,
    /// The epoch that the members' target assignments are for; none for the classic protocol.
    pub target_epoch: Option<i32>,
    /// Its members, in the broker's order.
    pub members: Vec<GroupMember>,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMember {
    /// The id the coordinator gave it.
    pub member_id: String,
    /// Its static id (KIP-345).
    pub group_instance_id: Option<String>,
    /// The client id it sends.
    pub client_id: String,
    /// Its address as the coordinator sees it, with a leading slash.
    pub host: String,
    /// Topics and partitions assigned to it; empty when the group is not of type `consumer` or nothing is assigned.
    pub assignment: BTreeMap<String, Vec<i32>>,
    /// What it is to read, in a group of the new protocol.
    pub target: Option<BTreeMap<String, Vec<i32>>>,
    /// The assignment that it has reached, in a group of the new protocol.
    pub epoch: Option<i32>,
    /// Whether it speaks the new protocol; none in classic groups, and before Kafka 4.0.
    pub upgraded: Option<bool>,
}

impl Client {
    /// What a broker of the cluster speaks: which requests, in which versions.
    ///
    /// # Errors
    /// As for every request.
    pub async fn api_versions(&self) -> Result<VersionTable, Error> {
        let mut patience = self.core.patience();
        loop {
            let attempt = match self.core.ask_any(&ApiVersionsCall).await {
                Ok((_, answer)) if answer.error.is_ok() => return Ok(VersionTable::new(answer.apis)),
                Ok((_, answer)) => Attempt::code(answer.error, None).map(|e| e.api(ApiKey::ApiVersions)),
                Err(attempt) => attempt,
            };
            patience.after(attempt).await?;
        }
    }

    /// What one broker speaks, asked once: how long the answer takes is the way there and back.
    ///
    /// # Errors
    /// Of the one attempt.
    pub async fn broker_api_versions(&self, node: i32) -> Result<VersionTable, Error> {
        let place = Place::Node(node);
        let asked = self.core.ask(Lane::Control, &place, &ApiVersionsCall, self.core.config.request_timeout).await;
        let answer = asked.map_err(|attempt| attempt.error)?;
        if !answer.error.is_ok() {
            let error = Error::broker(answer.error, None).api(ApiKey::ApiVersions);
            return Err(error.at_broker(self.core.place_name(&place)));
        }
        Ok(VersionTable::new(answer.apis))
    }

    /// When the oldest of this client's connections to a broker was opened, in milliseconds since 1970; none while there is none.
    pub fn connected_ms(&self, node: i32) -> Option<i64> {
        self.core.connected_ms(&Place::Node(node))
    }

    /// Creates a topic and returns once the controller has it. Other brokers may take a moment longer.
    ///
    /// # Errors
    /// [`Broker`](ErrorKind::Broker) with `TOPIC_ALREADY_EXISTS`, `INVALID_REPLICATION_FACTOR` and the like, with what the
    /// broker says about it; [`Auth`](ErrorKind::Auth); or the last cause when the deadline for retries passes. After an
    /// answer was lost, `TOPIC_ALREADY_EXISTS` may be about the topic this call has made.
    pub async fn create_topic(&self, topic: NewTopic) -> Result<(), Error> {
        let name: Arc<str> = topic.name.as_str().into();
        let call = CreateTopicCall {
            name: topic.name,
            partitions: topic.partitions,
            replication_factor: topic.replication_factor,
            assignments: topic.assignments,
            configs: topic.configs,
            timeout_ms: self.timeout_ms(),
        };
        let mut patience = self.core.patience();
        loop {
            let outcome = match self.ask_controller(&call).await {
                Ok(answer) if answer.error.is_ok() => Ok(()),
                Ok(answer) => Err(Attempt::code(answer.error, answer.error_message.as_deref())),
                Err(attempt) => Err(attempt),
            };
            match outcome {
                Ok(()) => return Ok(()),
                Err(attempt) => patience.after(attempt.map(|e| e.api(ApiKey::CreateTopics).topic(&name))).await?,
            }
        }
    }

    /// Deletes a topic and returns once the controller has marked it. Its records are gone a little later.
    ///
    /// # Errors
    /// [`UnknownTopic`](ErrorKind::UnknownTopic); [`Broker`](ErrorKind::Broker) with `TOPIC_DELETION_DISABLED` and the like;
    /// [`Auth`](ErrorKind::Auth); or the last cause when the deadline for retries passes.
    pub async fn delete_topic(&self, topic: &str) -> Result<(), Error> {
        let name: Arc<str> = topic.into();
        let call = DeleteTopicCall { name: topic.to_owned(), timeout_ms: self.timeout_ms() };
        let mut patience = self.core.patience();
        loop {
            let outcome = match self.ask_controller(&call).await {
                Ok(answer) if answer.error.is_ok() => Ok(()),
                Ok(answer) => Err(Attempt::code(answer.error, None)),
                Err(attempt) => Err(attempt),
            };
            match outcome {
                Ok(()) => return Ok(()),
                Err(attempt) => patience.after(attempt.map(|e| e.api(ApiKey::DeleteTopics).topic(&name))).await?,
            }
        }
    }

    /// The groups of the whole cluster, by id; asks every broker for the ones it coordinates.
    ///
    /// # Errors
    /// [`Auth`](ErrorKind::Auth), or the last cause when some broker does not answer before the deadline for retries.
    pub async fn list_groups(&self) -> Result<Vec<ListedGroup>, Error> {
        let mut patience = self.core.patience();
        let mut groups: BTreeMap<String, ListedGroup> = BTreeMap::new();
        let mut answered = BTreeSet::new();
        loop {
            match self.list_groups_round(&mut groups, &mut answered).await {
                Ok(()) => return Ok(groups.into_values().collect()),
                Err(attempt) => patience.after(attempt).await?,
            }
        }
    }

    async fn list_groups_round(
        &self,
        groups: &mut BTreeMap<String, ListedGroup>,
        answered: &mut BTreeSet<i32>,
    ) -> Result<(), Attempt> {
        self.core.metadata(Some(Vec::new())).await?;
        let nodes: Vec<i32> = self.core.cluster().brokers().keys().copied().collect();
        for node in nodes {
            if answered.contains(&node) {
                continue;
            }
            let place = Place::Node(node);
            let answer =
                self.core.ask(Lane::Control, &place, &ListGroupsCall, self.core.config.request_timeout).await?;
            if !answer.error.is_ok() {
                let name = self.core.place_name(&place);
                return Err(Attempt::code(answer.error, None).map(|e| e.api(ApiKey::ListGroups).at_broker(name)));
            }
            for g in answer.groups {
                let (protocol_type, state, group_type) = (g.protocol_type, g.state, g.group_type);
                let group = ListedGroup { group: g.group.clone(), protocol_type, state, group_type, coordinator: node };
                groups.insert(g.group, group);
            }
            answered.insert(node);
        }
        Ok(())
    }

    /// Members and state of groups, in the order asked. A group that does not exist has the state `Dead`.
    ///
    /// # Errors
    /// [`Auth`](ErrorKind::Auth), a broker's code, or the last cause when the deadline for retries passes.
    pub async fn describe_groups(&self, groups: &[String]) -> Result<Vec<DescribedGroup>, Error> {
        let mut described = Vec::with_capacity(groups.len());
        for group in groups {
            let mut patience = self.core.patience();
            let group: Arc<str> = group.as_str().into();
            let one = loop {
                match self.describe_group(&group).await {
                    Ok(one) => break one,
                    Err(attempt) => patience.after(attempt).await?,
                }
            };
            described.push(one);
        }
        Ok(described)
    }

    async fn describe_group(&self, group: &Arc<str>) -> Result<DescribedGroup, Attempt> {
        let call = DescribeGroupsCall { groups: vec![group.to_string()] };
        let (place, answer) = self.core.ask_coordinator(group, &call).await?;
        let Some(found) = answer.into_iter().find(|found| *found.group == **group) else {
            let error = Error::new(ErrorKind::Decode, "the broker left the group out of its answer");
            let error = error.api(ApiKey::DescribeGroups).group(group).at_broker(self.core.place_name(&place));
            return Err(Attempt::retry(error));
        };
        if !found.error.is_ok() {
            return Err(self.core.coordinator_code(group, &place, ApiKey::DescribeGroups, found.error));
        }
        let coordinator = if let Place::Node(node) = place { node } else { -1 };
        if found.state == "Dead" {
            // Perhaps it is of the new protocol, which brokers before 3.7 do not have.
            match self.describe_consumer_group(group, coordinator).await {
                Ok(Some(found)) => return Ok(found),
                Err(attempt) if attempt.error.kind() != ErrorKind::Unsupported => return Err(attempt),
                Ok(None) | Err(_) => {}
            }
        }
        Ok(described(found, coordinator))
    }

    async fn describe_consumer_group(
        &self,
        group: &Arc<str>,
        coordinator: i32,
    ) -> Result<Option<DescribedGroup>, Attempt> {
        let call = ConsumerGroupDescribeCall { groups: vec![group.to_string()] };
        let (place, answer) = self.core.ask_coordinator(group, &call).await?;
        match answer.into_iter().find(|found| *found.group == **group) {
            Some(found) if found.error.is_ok() => Ok(Some(described_new(found, coordinator))),
            Some(found) if found.error == ErrorCode::GROUP_ID_NOT_FOUND => Ok(None),
            // A broker that has the API, in a cluster that has not switched it on.
            Some(found) if found.error == ErrorCode::UNSUPPORTED_VERSION => Ok(None),
            Some(found) => Err(self.core.coordinator_code(group, &place, ApiKey::ConsumerGroupDescribe, found.error)),
            None => Ok(None),
        }
    }

    /// One request to the controller; in a cluster without ZooKeeper, any broker passes it on.
    async fn ask_controller<C: Call<Answer: HasError>>(&self, call: &C) -> Result<C::Answer, Attempt> {
        if self.core.cluster().controller().is_none() {
            self.core.metadata(Some(Vec::new())).await?;
        }
        let Some(controller) = self.core.cluster().controller() else {
            return Err(Attempt::retry(Error::new(ErrorKind::Connect, "the cluster has no controller at present")));
        };
        let place = Place::Node(controller);
        // The broker itself waits up to `timeout_ms`.
        let patience = self.core.config.request_timeout.saturating_mul(2);
        let outcome = self.core.ask(Lane::Write, &place, call, patience).await;
        let moved = match &outcome {
            Ok(answer) => answer.error().class() == CodeClass::Refresh,
            Err(_) => true,
        };
        if moved {
            // The next attempt goes by fresh metadata. Should this fail too, the attempt's own cause is the better one.
            self.core.metadata(Some(Vec::new())).await.ok();
        }
        outcome
    }

    fn timeout_ms(&self) -> i32 {
        i32::try_from(self.core.config.request_timeout.as_millis()).unwrap_or(i32::MAX)
    }
}

/// Answers with one error code for everything.
trait HasError {
    fn error(&self) -> ErrorCode;
}

impl HasError for super::msg::CreateTopicAnswer {
    fn error(&self) -> ErrorCode {
        self.error
    }
}

impl HasError for super::msg::DeleteTopicAnswer {
    fn error(&self) -> ErrorCode {
        self.error
    }
}

fn described(found: DescribedGroupAnswer, coordinator: i32) -> DescribedGroup {
    let is_consumer = found.protocol_type == "consumer";
    let members = found.members.into_iter().map(|m| GroupMember {
        member_id: m.member_id,
        group_instance_id: m.group_instance_id,
        client_id: m.client_id,
        host: m.client_host,
        // Another client wrote these bytes; damage there does not make the group undescribable.
        assignment: if is_consumer { assigned_partitions(&m.assignment).unwrap_or_default() } else { BTreeMap::new() },
        target: None,
        epoch: None,
        upgraded: None,
    });
    DescribedGroup {
        group: found.group,
        state: found.state,
        protocol_type: found.protocol_type,
        assignor: found.protocol,
        coordinator,
        epoch: None,
        target_epoch: None,
        members: members.collect(),
    }
}

fn described_new(found: ConsumerGroupAnswer, coordinator: i32) -> DescribedGroup {
    let members = found.members.into_iter().map(|m| GroupMember {
        member_id: m.member_id,
        group_instance_id: m.group_instance_id,
        client_id: m.client_id,
        host: m.client_host,
        assignment: m.assignment,
        target: Some(m.target),
        epoch: Some(m.epoch),
        upgraded: m.is_consumer,
    });
    DescribedGroup {
        group: found.group,
        state: found.state,
        protocol_type: "consumer".to_owned(),
        assignor: found.assignor,
        coordinator,
        epoch: Some(found.epoch),
        target_epoch: Some(found.assignment_epoch),
        members: members.collect(),
    }
}
