//! `DeleteGroups` (42, versions 0 to 2), `OffsetDelete` (47, version 0) and `ConsumerGroupDescribe` (69, versions 0 and 1). Our
//! own codecs.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::wire::{DecodeError, Writer};

use super::fields::Fields;
use super::layout::Layout;
use super::{ApiKey, Call, EncodeError, ErrorCode};

/// Deletes groups without members, at their coordinator.
#[derive(Clone, Debug)]
pub struct DeleteGroupsCall {
    /// Ids of groups that this broker coordinates.
    pub groups: Vec<String>,
}

/// Deletes what a group has committed for some partitions.
#[derive(Clone, Debug)]
pub struct OffsetDeleteCall {
    /// The group.
    pub group: Arc<str>,
    /// Topics and partitions.
    pub topics: Vec<(Arc<str>, Vec<i32>)>,
}

/// The answer to an [`OffsetDeleteCall`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetDeleteAnswer {
    /// `GROUP_ID_NOT_FOUND`, `NON_EMPTY_GROUP` and the like.
    pub error: ErrorCode,
    /// Topic, partition and how it went: `GROUP_SUBSCRIBED_TO_TOPIC` for a topic that is being read.
    pub partitions: Vec<(Arc<str>, i32, ErrorCode)>,
}

/// Asks a coordinator for groups of the new protocol (KIP-848).
#[derive(Clone, Debug)]
pub struct ConsumerGroupDescribeCall {
    /// Ids of groups that this broker coordinates.
    pub groups: Vec<String>,
}

/// A group of the new protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerGroupAnswer {
    /// `GROUP_ID_NOT_FOUND` for one that does not exist or is of the classic protocol.
    pub error: ErrorCode,
    /// Its id.
    pub group: String,
    /// `Empty`, `Assigning`, `Reconciling`, `Stable`, `Dead`.
    pub state: String,
    /// How often its subscriptions have changed.
    pub epoch: i32,
    /// The epoch that the target assignment is for.
    pub assignment_epoch: i32,
    /// The assignor on the broker.
    pub assignor: String,
    /// The members.
    pub members: Vec<ConsumerGroupMemberAnswer>,
}

/// A member of a group of the new protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerGroupMemberAnswer {
    /// Its id.
    pub member_id: String,
    /// Its static id (KIP-345).
    pub group_instance_id: Option<String>,
    /// The assignment that it has reached.
    pub epoch: i32,
    /// The client id it sends.
    pub client_id: String,
    /// Its address as the coordinator sees it, with a leading slash.
    pub client_host: String,
    /// What it reads now.
    pub assignment: BTreeMap<String, Vec<i32>>,
    /// What it is to read.
    pub target: BTreeMap<String, Vec<i32>>,
    /// Whether it speaks the new protocol; none in v0.
    pub is_consumer: Option<bool>,
}

impl Call for DeleteGroupsCall {
    const API: ApiKey = ApiKey::DeleteGroups;
    type Answer = Vec<(String, ErrorCode)>;

    fn encode(&self, version: i16, out: &mut Writer) -> Result<(), EncodeError> {
        let layout = Layout::of(Self::API, version);
        layout.put_count(out, self.groups.len(), "groups_names")?;
        for group in &self.groups {
            layout.put_string(out, group, "groups_names")?;
        }
        layout.put_no_tags(out);
        Ok(())
    }

    fn decode(version: i16, body: Bytes) -> Result<Self::Answer, DecodeError> {
        let fields = &mut Fields::new(Self::API, version, &body);
        fields.skip(4, "throttle_time_ms")?;
        let results = fields.list(3, "results", |fields| {
            let result = (fields.text("group_id")?, fields.code()?);
            fields.end()?;
            Ok(result)
        })?;
        fields.end()?;
        Ok(results)
    }
}

impl Call for OffsetDeleteCall {
    const API: ApiKey = ApiKey::OffsetDelete;
    type Answer = OffsetDeleteAnswer;

    fn encode(&self, version: i16, out: &mut Writer) -> Result<(), EncodeError> {
        let layout = Layout::of(Self::API, version);
        layout.put_string(out, &self.group, "group_id")?;
        layout.put_count(out, self.topics.len(), "topics")?;
        for (topic, partitions) in &self.topics {
            layout.put_string(out, topic, "topic")?;
            layout.put_count(out, partitions.len(), "partitions")?;
            partitions.iter().for_each(|partition| out.i32_be(*partition));
        }
        Ok(())
    }

    fn decode(version: i16, body: Bytes) -> Result<Self::Answer, DecodeError> {
        let fields = &mut Fields::new(Self::API, version, &body);
        let error = fields.code()?;
        fields.skip(4, "throttle_time_ms")?;
        let topics = fields.list(6, "topics", |fields| {
            let topic: Arc<str> = fields.text("name")?.into();
            fields.list(6, "partitions", |fields| Ok((topic.clone(), fields.i32("partition_index")?, fields.code()?)))
        })?;
        Ok(OffsetDeleteAnswer { error, partitions: topics.into_iter().flatten().collect() })
    }
}

impl Call for ConsumerGroupDescribeCall {
    const API: ApiKey = ApiKey::ConsumerGroupDescribe;
    type Answer = Vec<ConsumerGroupAnswer>;

    fn encode(&self, version: i16, out: &mut Writer) -> Result<(), EncodeError> {
        let layout = Layout::of(Self::API, version);
        layout.put_count(out, self.groups.len(), "group_ids")?;
        for group in &self.groups {
            layout.put_string(out, group, "group_ids")?;
        }
        out.i8(0); // without authorised operations
        layout.put_no_tags(out);
        Ok(())
    }

    fn decode(version: i16, body: Bytes) -> Result<Self::Answer, DecodeError> {
        let fields = &mut Fields::new(Self::API, version, &body);
        fields.skip(4, "throttle_time_ms")?;
        let groups = fields.list(20, "groups", |fields| {
            let error = fields.code()?;
            fields.text_or_null("error_message")?;
            let (group, state) = (fields.text("group_id")?, fields.text("group_state")?);
            let (epoch, assignment_epoch) = (fields.i32("group_epoch")?, fields.i32("assignment_epoch")?);
            let assignor = fields.text("assignor_name")?;
            let members = fields.list(16, "members", |fields| member(version, fields))?;
            fields.skip(4, "authorized_operations")?;
            fields.end()?;
            Ok(ConsumerGroupAnswer { error, group, state, epoch, assignment_epoch, assignor, members })
        })?;
        fields.end()?;
        Ok(groups)
    }
}

fn member(version: i16, fields: &mut Fields<'_>) -> Result<ConsumerGroupMemberAnswer, DecodeError> {
    let (member_id, group_instance_id) = (fields.text("member_id")?, fields.text_or_null("instance_id")?);
    fields.text_or_null("rack_id")?;
    let epoch = fields.i32("member_epoch")?;
    let (client_id, client_host) = (fields.text("client_id")?, fields.text("client_host")?);
    fields.list(1, "subscribed_topic_names", |fields| fields.text("subscribed_topic_names"))?;
    fields.text_or_null("subscribed_topic_regex")?;
    let (assignment, target) = (assignment(fields)?, assignment(fields)?);
    let is_consumer = if version >= 1 { Some(fields.i8("member_type")? == 1) } else { None };
    fields.end()?;
    Ok(ConsumerGroupMemberAnswer {
        member_id,
        group_instance_id,
        epoch,
        client_id,
        client_host,
        assignment,
        target,
        is_consumer,
    })
}

fn assignment(fields: &mut Fields<'_>) -> Result<BTreeMap<String, Vec<i32>>, DecodeError> {
    let topics = fields.list(18, "topic_partitions", |fields| {
        fields.skip(16, "topic_id")?;
        let topic = fields.text("topic_name")?;
        let partitions = fields.list(4, "partitions", |fields| fields.i32("partitions"))?;
        fields.end()?;
        Ok((topic, partitions))
    })?;
    fields.end()?;
    Ok(topics.into_iter().collect())
}
