//! The classic group protocol: `JoinGroup` (11, versions 0 to 9), `SyncGroup` (14, 0 to 5), `Heartbeat` (12, 0 to 4) and
//! `LeaveGroup` (13, 0 to 5). Our own codecs.
//!
//! `JoinGroup` v1 brings the rebalance timeout, v4 MEMBER_ID_REQUIRED (KIP-394), v5 static members (KIP-345), v7 the
//! protocol type in the answer, v8 a reason, v9 `skip_assignment` (KIP-814). `LeaveGroup` v3 names several members.

use std::sync::Arc;

use bytes::Bytes;

use crate::wire::{DecodeError, Reader, Writer};

use super::layout::{Layout, reserve};
use super::{ApiKey, Call, EncodeError, ErrorCode};

/// Joins a group, or joins it again. The coordinator answers when every member has, at the latest after the rebalance timeout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinGroupCall {
    /// The group.
    pub group: Arc<str>,
    /// After how long without a heartbeat the coordinator drops the member, in milliseconds.
    pub session_timeout_ms: i32,
    /// How long the coordinator waits for this member in a rebalance, in milliseconds; before v1 it is the session timeout.
    pub rebalance_timeout_ms: i32,
    /// The id from the last answer; empty the first time.
    pub member_id: Arc<str>,
    /// The static member's id (KIP-345); dropped before v5.
    pub group_instance_id: Option<Arc<str>>,
    /// `consumer` for consumers.
    pub protocol_type: &'static str,
    /// Assignors in the order of preference, each with its metadata.
    pub protocols: Vec<(Arc<str>, Bytes)>,
    /// Why it joins (KIP-800); dropped before v8.
    pub reason: Option<String>,
}

/// The answer to a [`JoinGroupCall`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinGroupAnswer {
    /// How long the broker asks us to stay quiet, in milliseconds.
    pub throttle_ms: i32,
    /// How it went. `MEMBER_ID_REQUIRED` comes with the id to join again with.
    pub error: ErrorCode,
    /// The generation; -1 with an error.
    pub generation: i32,
    /// The assignor that every member knows; empty with an error.
    pub protocol: String,
    /// The member that computes the assignment.
    pub leader: String,
    /// Whether the leader is to leave the assignment as it is (KIP-814).
    pub skip_assignment: bool,
    /// The id that the coordinator gave this member.
    pub member_id: String,
    /// All members with their metadata; only for the leader.
    pub members: Vec<JoinedMember>,
}

/// One member as the leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    /// Its id.
    pub member_id: String,
    /// Its static id; none before v5.
    pub group_instance_id: Option<String>,
    /// What it sent for the chosen assignor.
    pub metadata: Bytes,
}

/// Hands in the assignment, as the leader, or waits for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncGroupCall {
    /// The group.
    pub group: Arc<str>,
    /// The generation.
    pub generation: i32,
    /// The member's id.
    pub member_id: Arc<str>,
    /// The static member's id; dropped before v3.
    pub group_instance_id: Option<Arc<str>>,
    /// `consumer`; dropped before v5.
    pub protocol_type: &'static str,
    /// The assignor; dropped before v5.
    pub protocol: Arc<str>,
    /// Each member's assignment from the leader; empty from the others.
    pub assignments: Vec<(String, Bytes)>,
}

/// The answer to a [`SyncGroupCall`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncGroupAnswer {
    /// How long the broker asks us to stay quiet, in milliseconds.
    pub throttle_ms: i32,
    /// How it went.
    pub error: ErrorCode,
    /// This member's assignment; no bytes mean that it has none.
    pub assignment: Bytes,
}

/// Tells the coordinator that a member is alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeartbeatCall {
    /// The group.
    pub group: Arc<str>,
    /// The generation.
    pub generation: i32,
    /// The member's id.
    pub member_id: Arc<str>,
    /// The static member's id; dropped before v3.
    pub group_instance_id: Option<Arc<str>>,
}

/// The answer to a [`HeartbeatCall`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeartbeatAnswer {
    /// How long the broker asks us to stay quiet, in milliseconds.
    pub throttle_ms: i32,
    /// How it went; `REBALANCE_IN_PROGRESS` asks the member to join again.
    pub error: ErrorCode,
}

/// Leaves a group at once instead of after the session timeout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaveGroupCall {
    /// The group.
    pub group: Arc<str>,
    /// The member's id.
    pub member_id: Arc<str>,
    /// The static member's id; dropped before v3.
    pub group_instance_id: Option<Arc<str>>,
    /// Why it leaves (KIP-800); dropped before v5.
    pub reason: Option<String>,
}

/// The answer to a [`LeaveGroupCall`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaveGroupAnswer {
    /// How long the broker asks us to stay quiet, in milliseconds.
    pub throttle_ms: i32,
    /// How it went: the error of the request, or from v3 on that of the member.
    pub error: ErrorCode,
}

fn put_bytes(layout: Layout, out: &mut Writer, bytes: &[u8], field: &'static str) -> Result<(), EncodeError> {
    layout.put_count(out, bytes.len(), field)?;
    out.bytes(bytes);
    Ok(())
}

fn bytes(layout: Layout, reader: &mut Reader<'_>, body: &Bytes, field: &'static str) -> Result<Bytes, DecodeError> {
    Ok(layout.nullable_bytes(reader, field)?.map(|range| body.slice(range)).unwrap_or_default())
}

fn text(layout: Layout, reader: &mut Reader<'_>, field: &'static str) -> Result<String, DecodeError> {
    Ok(layout.nullable_string(reader, field)?.unwrap_or_default().to_owned())
}

fn throttle(reader: &mut Reader<'_>, version: i16, since: i16) -> Result<i32, DecodeError> {
    if version >= since { reader.i32_be("throttle_time_ms") } else { Ok(0) }
}

impl Call for JoinGroupCall {
    const API: ApiKey = ApiKey::JoinGroup;
    type Answer = JoinGroupAnswer;

    fn encode(&self, version: i16, out: &mut Writer) -> Result<(), EncodeError> {
        let layout = Layout::of(Self::API, version);
        layout.put_string(out, &self.group, "group_id")?;
        out.i32_be(self.session_timeout_ms);
        if version >= 1 {
            out.i32_be(self.rebalance_timeout_ms);
        }
        layout.put_string(out, &self.member_id, "member_id")?;
        if version >= 5 {
            layout.put_nullable_string(out, self.group_instance_id.as_deref(), "group_instance_id")?;
        }
        layout.put_string(out, self.protocol_type, "protocol_type")?;
        layout.put_count(out, self.protocols.len(), "protocols")?;
        for (name, metadata) in &self.protocols {
            layout.put_string(out, name, "name")?;
            put_bytes(layout, out, metadata, "metadata")?;
            layout.put_no_tags(out);
        }
        if version >= 8 {
            layout.put_nullable_string(out, self.reason.as_deref(), "reason")?;
        }
        layout.put_no_tags(out);
        Ok(())
    }

    fn decode(version: i16, body: Bytes) -> Result<JoinGroupAnswer, DecodeError> {
        let layout = Layout::of(Self::API, version);
        let reader = &mut Reader::new(&body);
        let throttle_ms = throttle(reader, version, 2)?;
        let error = ErrorCode(reader.i16_be("error_code")?);
        let generation = reader.i32_be("generation_id")?;
        if version >= 7 {
            layout.nullable_string(reader, "protocol_type")?;
        }
        let protocol = text(layout, reader, "protocol_name")?;
        let leader = text(layout, reader, "leader")?;
        let skip_assignment = version >= 9 && reader.u8("skip_assignment")? != 0;
        let member_id = text(layout, reader, "member_id")?;
        let count = layout.count(reader, 3, "members")?.unwrap_or(0);
        let mut members = Vec::new();
        reserve(&mut members, count, reader, "members")?;
        for _ in 0..count {
            let member_id = text(layout, reader, "member_id")?;
            let group_instance_id = match version {
                5.. => layout.nullable_string(reader, "group_instance_id")?.map(str::to_owned),
                _ => None,
            };
            let metadata = bytes(layout, reader, &body, "metadata")?;
            layout.skip_tags(reader)?;
            members.push(JoinedMember { member_id, group_instance_id, metadata });
        }
        layout.skip_tags(reader)?;
        Ok(JoinGroupAnswer { throttle_ms, error, generation, protocol, leader, skip_assignment, member_id, members })
    }
}

impl Call for SyncGroupCall {
    const API: ApiKey = ApiKey::SyncGroup;
    type Answer = SyncGroupAnswer;

    fn encode(&self, version: i16, out: &mut Writer) -> Result<(), EncodeError> {
        let layout = Layout::of(Self::API, version);
        layout.put_string(out, &self.group, "group_id")?;
        out.i32_be(self.generation);
        layout.put_string(out, &self.member_id, "member_id")?;
        if version >= 3 {
            layout.put_nullable_string(out, self.group_instance_id.as_deref(), "group_instance_id")?;
        }
        if version >= 5 {
            layout.put_nullable_string(out, Some(self.protocol_type), "protocol_type")?;
            layout.put_nullable_string(out, Some(&self.protocol), "protocol_name")?;
        }
        layout.put_count(out, self.assignments.len(), "assignments")?;
        for (member_id, assignment) in &self.assignments {
            layout.put_string(out, member_id, "member_id")?;
            put_bytes(layout, out, assignment, "assignment")?;
            layout.put_no_tags(out);
        }
        layout.put_no_tags(out);
        Ok(())
    }

    fn decode(version: i16, body: Bytes) -> Result<SyncGroupAnswer, DecodeError> {
        let layout = Layout::of(Self::API, version);
        let reader = &mut Reader::new(&body);
        let throttle_ms = throttle(reader, version, 1)?;
        let error = ErrorCode(reader.i16_be("error_code")?);
        if version >= 5 {
            layout.nullable_string(reader, "protocol_type")?;
            layout.nullable_string(reader, "protocol_name")?;
        }
        let assignment = bytes(layout, reader, &body, "assignment")?;
        layout.skip_tags(reader)?;
        Ok(SyncGroupAnswer { throttle_ms, error, assignment })
    }
}

impl Call for HeartbeatCall {
    const API: ApiKey = ApiKey::Heartbeat;
    type Answer = HeartbeatAnswer;

    fn encode(&self, version: i16, out: &mut Writer) -> Result<(), EncodeError> {
        let layout = Layout::of(Self::API, version);
        layout.put_string(out, &self.group, "group_id")?;
        out.i32_be(self.generation);
        layout.put_string(out, &self.member_id, "member_id")?;
        if version >= 3 {
            layout.put_nullable_string(out, self.group_instance_id.as_deref(), "group_instance_id")?;
        }
        layout.put_no_tags(out);
        Ok(())
    }

    fn decode(version: i16, body: Bytes) -> Result<HeartbeatAnswer, DecodeError> {
        let reader = &mut Reader::new(&body);
        let throttle_ms = throttle(reader, version, 1)?;
        let error = ErrorCode(reader.i16_be("error_code")?);
        Layout::of(Self::API, version).skip_tags(reader)?;
        Ok(HeartbeatAnswer { throttle_ms, error })
    }
}

impl Call for LeaveGroupCall {
    const API: ApiKey = ApiKey::LeaveGroup;
    type Answer = LeaveGroupAnswer;

    fn encode(&self, version: i16, out: &mut Writer) -> Result<(), EncodeError> {
        let layout = Layout::of(Self::API, version);
        layout.put_string(out, &self.group, "group_id")?;
        if version < 3 {
            layout.put_string(out, &self.member_id, "member_id")?;
        } else {
            layout.put_count(out, 1, "members")?;
            layout.put_string(out, &self.member_id, "member_id")?;
            layout.put_nullable_string(out, self.group_instance_id.as_deref(), "group_instance_id")?;
            if version >= 5 {
                layout.put_nullable_string(out, self.reason.as_deref(), "reason")?;
            }
            layout.put_no_tags(out);
        }
        layout.put_no_tags(out);
        Ok(())
    }

    fn decode(version: i16, body: Bytes) -> Result<LeaveGroupAnswer, DecodeError> {
        let layout = Layout::of(Self::API, version);
        let reader = &mut Reader::new(&body);
        let throttle_ms = throttle(reader, version, 1)?;
        let mut error = ErrorCode(reader.i16_be("error_code")?);
        if version >= 3 {
            let count = layout.count(reader, 5, "members")?.unwrap_or(0);
            for _ in 0..count {
                layout.nullable_string(reader, "member_id")?;
                layout.nullable_string(reader, "group_instance_id")?;
                let member = ErrorCode(reader.i16_be("error_code")?);
                layout.skip_tags(reader)?;
                if error.is_ok() {
                    error = member;
                }
            }
        }
        layout.skip_tags(reader)?;
        Ok(LeaveGroupAnswer { throttle_ms, error })
    }
}
