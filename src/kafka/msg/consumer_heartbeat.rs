//! `ConsumerGroupHeartbeat` (68, versions 0 and 1): the one request of the new group protocol (KIP-848). Our own codec.
//!
//! v1 lets the client choose its member id (KIP-1082) and subscribe by a regular expression that the broker evaluates.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::wire::{DecodeError, DecodeFault, Reader, Writer};

use super::layout::Layout;
use super::{ApiKey, Call, EncodeError, ErrorCode, TopicId};

/// Partitions by topic id.
pub type IdPartitions = BTreeMap<TopicId, Vec<i32>>;

/// Joins, stays in, or leaves a group. Fields that are none have not changed since the last heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerHeartbeatCall {
    /// The group.
    pub group: Arc<str>,
    /// The id that the member chose for its lifetime.
    pub member_id: Arc<str>,
    /// The member's epoch; 0 joins, -1 leaves, -2 leaves for a while as a static member.
    pub member_epoch: i32,
    /// The static member's id.
    pub instance_id: Option<Arc<str>>,
    /// The member's rack.
    pub rack: Option<Arc<str>>,
    /// How long the member may take to give partitions up, in milliseconds; -1: unchanged.
    pub rebalance_timeout_ms: i32,
    /// Topics by name.
    pub topic_names: Option<Vec<Arc<str>>>,
    /// Topics by a regular expression in the broker's syntax (RE2J); needs v1. Empty takes an earlier one back.
    pub topic_regex: Option<Arc<str>>,
    /// The broker's assignor; none: the broker's choice.
    pub server_assignor: Option<Arc<str>>,
    /// The partitions that the member owns now.
    pub owned: Option<IdPartitions>,
}

/// The answer to a [`ConsumerHeartbeatCall`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerHeartbeatAnswer {
    /// How long the broker asks us to stay quiet, in milliseconds.
    pub throttle_ms: i32,
    /// How it went.
    pub error: ErrorCode,
    /// What the broker says about the error.
    pub error_message: Option<String>,
    /// The member's id; none when the broker leaves it out.
    pub member_id: Option<String>,
    /// The member's epoch.
    pub member_epoch: i32,
    /// How often to send heartbeats, in milliseconds.
    pub heartbeat_interval_ms: i32,
    /// The partitions that the member is to own; none: unchanged.
    pub assignment: Option<IdPartitions>,
}

impl Call for ConsumerHeartbeatCall {
    const API: ApiKey = ApiKey::ConsumerGroupHeartbeat;
    type Answer = ConsumerHeartbeatAnswer;

    fn encode(&self, version: i16, out: &mut Writer) -> Result<(), EncodeError> {
        let layout = Layout::of(Self::API, version);
        layout.put_string(out, &self.group, "group_id")?;
        layout.put_string(out, &self.member_id, "member_id")?;
        out.i32_be(self.member_epoch);
        layout.put_nullable_string(out, self.instance_id.as_deref(), "instance_id")?;
        layout.put_nullable_string(out, self.rack.as_deref(), "rack_id")?;
        out.i32_be(self.rebalance_timeout_ms);
        match &self.topic_names {
            Some(names) => {
                layout.put_count(out, names.len(), "subscribed_topic_names")?;
                for name in names {
                    layout.put_string(out, name, "subscribed_topic_names")?;
                }
            }
            None => out.uvarint(0),
        }
        if version >= 1 {
            layout.put_nullable_string(out, self.topic_regex.as_deref(), "subscribed_topic_regex")?;
        } else if self.topic_regex.as_ref().is_some_and(|regex| !regex.is_empty()) {
            let reason = "the broker takes regular expressions from version 1 on".to_owned();
            return Err(EncodeError { field: "subscribed_topic_regex", reason });
        }
        layout.put_nullable_string(out, self.server_assignor.as_deref(), "server_assignor")?;
        match &self.owned {
            Some(owned) => {
                layout.put_count(out, owned.len(), "topic_partitions")?;
                for (id, partitions) in owned {
                    out.bytes(id.bytes());
                    layout.put_count(out, partitions.len(), "partitions")?;
                    for partition in partitions {
                        out.i32_be(*partition);
                    }
                    layout.put_no_tags(out);
                }
            }
            None => out.uvarint(0),
        }
        layout.put_no_tags(out);
        Ok(())
    }

    fn decode(version: i16, body: Bytes) -> Result<ConsumerHeartbeatAnswer, DecodeError> {
        let layout = Layout::of(Self::API, version);
        let reader = &mut Reader::new(&body);
        let throttle_ms = reader.i32_be("throttle_time_ms")?;
        let error = ErrorCode(reader.i16_be("error_code")?);
        let error_message = layout.nullable_string(reader, "error_message")?.map(str::to_owned);
        let member_id = layout.nullable_string(reader, "member_id")?.map(str::to_owned);
        let member_epoch = reader.i32_be("member_epoch")?;
        let heartbeat_interval_ms = reader.i32_be("heartbeat_interval_ms")?;
        // A nullable structure begins with a byte of its own.
        let assignment = match reader.i8("assignment")? {
            -1 => None,
            1 => {
                let assignment = id_partitions(layout, reader)?;
                layout.skip_tags(reader)?;
                Some(assignment)
            }
            other => return Err(reader.error(DecodeFault::BadValue(other.into()), "assignment")),
        };
        layout.skip_tags(reader)?;
        Ok(ConsumerHeartbeatAnswer {
            throttle_ms,
            error,
            error_message,
            member_id,
            member_epoch,
            heartbeat_interval_ms,
            assignment,
        })
    }
}

fn id_partitions(layout: Layout, reader: &mut Reader<'_>) -> Result<IdPartitions, DecodeError> {
    let mut found = IdPartitions::new();
    let count = layout.count(reader, 18, "topic_partitions")?.unwrap_or(0);
    for _ in 0..count {
        let id = reader.array::<16>("topic_id")?;
        let count = layout.count(reader, 4, "partitions")?.unwrap_or(0);
        let partitions = (0..count).map(|_| reader.i32_be("partition")).collect::<Result<Vec<_>, _>>()?;
        layout.skip_tags(reader)?;
        let Some(id) = TopicId::new(id) else {
            return Err(reader.error(DecodeFault::BadValue(0), "topic_id"));
        };
        found.entry(id).or_default().extend(partitions);
    }
    Ok(found)
}
