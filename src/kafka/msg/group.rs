//! `ListGroups` (16, versions 0 to 5) and `DescribeGroups` (15, versions 0 to 5). Through the crate.

use std::collections::BTreeMap;

use bytes::Bytes;
use kafka_protocol::messages::{
    DescribeGroupsRequest, DescribeGroupsResponse, GroupId, ListGroupsRequest, ListGroupsResponse,
};

use crate::wire::{DecodeError, Reader, Writer};

use super::layout::Layout;
use super::shape::{Field, Kind, Shape};
use super::{ApiKey, Call, EncodeError, ErrorCode, foreign};

/// Asks one broker for the groups it coordinates.
#[derive(Clone, Copy, Debug)]
pub struct ListGroupsCall;

/// The groups of one broker.
#[derive(Clone, Debug)]
pub struct ListGroupsAnswer {
    /// How long the broker asks us to stay quiet, in milliseconds.
    pub throttle_ms: i32,
    /// `COORDINATOR_LOAD_IN_PROGRESS` while the broker reads its groups.
    pub error: ErrorCode,
    /// The groups, in the broker's order.
    pub groups: Vec<ListedGroupAnswer>,
}

/// One group of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedGroupAnswer {
    /// Its id.
    pub group: String,
    /// `consumer`, `connect`, or empty for a group that only commits.
    pub protocol_type: String,
    /// Such as `Stable`; none before v4.
    pub state: Option<String>,
    /// `classic` or `consumer`; none before v5.
    pub group_type: Option<String>,
}

/// Asks a coordinator for members and state of groups.
#[derive(Clone, Debug)]
pub struct DescribeGroupsCall {
    /// Ids of groups that this broker coordinates.
    pub groups: Vec<String>,
}

/// One group with its members.
#[derive(Clone, Debug)]
pub struct DescribedGroupAnswer {
    /// What went wrong with it.
    pub error: ErrorCode,
    /// Its id.
    pub group: String,
    /// `Stable`, `Empty`, `Dead` (no such group), ….
    pub state: String,
    /// `consumer`, `connect`, or empty.
    pub protocol_type: String,
    /// The assignor's name, in a stable group.
    pub protocol: String,
    /// The members.
    pub members: Vec<GroupMemberAnswer>,
}

/// One member of a group.
#[derive(Clone, Debug)]
pub struct GroupMemberAnswer {
    /// The id the coordinator gave it.
    pub member_id: String,
    /// Its static id (KIP-345).
    pub group_instance_id: Option<String>,
    /// The client id it sends.
    pub client_id: String,
    /// Its address as the coordinator sees it, with a leading slash.
    pub client_host: String,
    /// Its assignment in the encoding of the group's protocol type; see [`assigned_partitions`].
    pub assignment: Bytes,
}

pub(super) const LIST_SHAPE: Shape = Shape {
    flexible_from: ApiKey::ListGroups.flexible_from(),
    fields: &[
        Field::since(1, "throttle_time_ms", Kind::Fixed(4)),
        Field::new("error_code", Kind::Fixed(2)),
        Field::new(
            "groups",
            Kind::Array(&[
                Field::new("group_id", Kind::Text),
                Field::new("protocol_type", Kind::Text),
                Field::since(4, "group_state", Kind::Text),
                Field::since(5, "group_type", Kind::Text),
            ]),
        ),
    ],
};

pub(super) const DESCRIBE_SHAPE: Shape = Shape {
    flexible_from: ApiKey::DescribeGroups.flexible_from(),
    fields: &[
        Field::since(1, "throttle_time_ms", Kind::Fixed(4)),
        Field::new(
            "groups",
            Kind::Array(&[
                Field::new("error_code", Kind::Fixed(2)),
                Field::since(6, "error_message", Kind::Text),
                Field::new("group_id", Kind::Text),
                Field::new("group_state", Kind::Text),
                Field::new("protocol_type", Kind::Text),
                Field::new("protocol_data", Kind::Text),
                Field::new("members", Kind::Array(MEMBER)),
                Field::since(3, "authorized_operations", Kind::Fixed(4)),
            ]),
        ),
    ],
};
const MEMBER: &[Field] = &[
    Field::new("member_id", Kind::Text),
    Field::since(4, "group_instance_id", Kind::Text),
    Field::new("client_id", Kind::Text),
    Field::new("client_host", Kind::Text),
    Field::new("member_metadata", Kind::Data),
    Field::new("member_assignment", Kind::Data),
];

impl Call for ListGroupsCall {
    const API: ApiKey = ApiKey::ListGroups;
    type Answer = ListGroupsAnswer;

    fn encode(&self, version: i16, out: &mut Writer) -> Result<(), EncodeError> {
        foreign::encode(&ListGroupsRequest::default(), version, "ListGroupsRequest", out)
    }

    fn decode(version: i16, body: Bytes) -> Result<ListGroupsAnswer, DecodeError> {
        let message: ListGroupsResponse = foreign::decode(&LIST_SHAPE, version, "ListGroupsResponse", body)?;
        let groups = message.groups.into_iter().map(|g| ListedGroupAnswer {
            group: g.group_id.0.to_string(),
            protocol_type: g.protocol_type.to_string(),
            state: (version >= 4).then(|| g.group_state.to_string()),
            group_type: (version >= 5).then(|| g.group_type.to_string()),
        });
        Ok(ListGroupsAnswer {
            throttle_ms: message.throttle_time_ms,
            error: ErrorCode(message.error_code),
            groups: groups.collect(),
        })
    }
}

impl Call for DescribeGroupsCall {
    const API: ApiKey = ApiKey::DescribeGroups;
    type Answer = Vec<DescribedGroupAnswer>;

    fn encode(&self, version: i16, out: &mut Writer) -> Result<(), EncodeError> {
        let groups = self.groups.iter().map(|group| GroupId(foreign::text(group))).collect();
        let message = DescribeGroupsRequest::default().with_groups(groups);
        foreign::encode(&message, version, "DescribeGroupsRequest", out)
    }

    fn decode(version: i16, body: Bytes) -> Result<Self::Answer, DecodeError> {
        let message: DescribeGroupsResponse =
            foreign::decode(&DESCRIBE_SHAPE, version, "DescribeGroupsResponse", body)?;
        let groups = message.groups.into_iter().map(|g| DescribedGroupAnswer {
            error: ErrorCode(g.error_code),
            group: g.group_id.0.to_string(),
            state: g.group_state.to_string(),
            protocol_type: g.protocol_type.to_string(),
            protocol: g.protocol_data.to_string(),
            members: g.members.into_iter().map(member).collect(),
        });
        Ok(groups.collect())
    }
}

fn member(m: kafka_protocol::messages::describe_groups_response::DescribedGroupMember) -> GroupMemberAnswer {
    GroupMemberAnswer {
        member_id: m.member_id.to_string(),
        group_instance_id: m.group_instance_id.map(|id| id.to_string()),
        client_id: m.client_id.to_string(),
        client_host: m.client_host.to_string(),
        assignment: m.member_assignment,
    }
}

/// Reads a member's assignment in the encoding of protocol type `consumer`: topics and their partitions.
/// An empty assignment, also one of no bytes at all, gives an empty map.
///
/// # Errors
/// [`DecodeError`] when the bytes are damaged. Another member wrote them; the broker does not look inside.
pub fn assigned_partitions(assignment: &[u8]) -> Result<BTreeMap<String, Vec<i32>>, DecodeError> {
    let mut topics = BTreeMap::new();
    if assignment.is_empty() {
        return Ok(topics);
    }
    let layout = Layout::new(false);
    let reader = &mut Reader::new(assignment);
    reader.skip(2, "version")?;
    let count = layout.count(reader, 6, "assigned_partitions")?.unwrap_or(0);
    for _ in 0..count {
        let topic = layout.string(reader, "topic")?.to_owned();
        let count = layout.count(reader, 4, "partitions")?.unwrap_or(0);
        let partitions = (0..count).map(|_| reader.i32_be("partition")).collect::<Result<Vec<_>, _>>()?;
        topics.insert(topic, partitions);
    }
    Ok(topics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_is_read_and_an_empty_one_is_valid() {
        assert_eq!(assigned_partitions(&[]), Ok(BTreeMap::new()));
        let bytes = [0, 0, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(assigned_partitions(&bytes), Ok(BTreeMap::from([("t".to_owned(), vec![0, 3])])));
        for end in 1..bytes.len() - 4 {
            assert!(assigned_partitions(bytes.get(..end).unwrap_or_default()).is_err(), "{end}");
        }
    }
}
