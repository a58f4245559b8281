//! `--describe`: what a group has committed, who is in it, and how it is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::cli::Failure;
use crate::cli::kafka::compat::Release;
use crate::cli::kafka::{failure, java_order};
use crate::kafka::{Client, CommittedOffset, DescribedGroup, ErrorKind, GroupMember, Isolation, OffsetAt};

/// One line of a group's description.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::cli::kafka) struct GroupRow {
    pub(in crate::cli::kafka) topic: Option<String>,
    pub(in crate::cli::kafka) partition: Option<i32>,
    pub(in crate::cli::kafka) leader_epoch: Option<i32>,
    pub(in crate::cli::kafka) current: Option<i64>,
    pub(in crate::cli::kafka) end: Option<i64>,
    pub(in crate::cli::kafka) consumer_id: Option<String>,
    pub(in crate::cli::kafka) host: Option<String>,
    pub(in crate::cli::kafka) client_id: Option<String>,
}

/// A group's lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli::kafka) struct GroupRows {
    pub(in crate::cli::kafka) group: String,
    pub(in crate::cli::kafka) rows: Vec<GroupRow>,
}

/// A line for each partition that the group has committed or that a member is given, in the order of the release's tool.
pub(super) async fn rows(client: &Client, group: &DescribedGroup, release: Release) -> Result<GroupRows, Failure> {
    let committed = client.all_committed_offsets(&group.group).await.map_err(|error| failure(&error))?;
    let committed: Vec<CommittedOffset> = committed.into_iter().filter(|one| one.offset.is_some()).collect();
    let mut rows = arrange(&committed, &group.members, release);
    let mut topics = BTreeMap::<String, Vec<(i32, OffsetAt)>>::new();
    for row in &rows {
        if let (Some(topic), Some(partition)) = (&row.topic, row.partition) {
            topics.entry(topic.clone()).or_default().push((partition, OffsetAt::Latest));
        }
    }
    let mut ends = BTreeMap::new();
    for (topic, wanted) in topics {
        match client.list_offsets(&topic, &wanted, Isolation::ReadUncommitted).await {
            Ok(listed) => {
                ends.extend(listed.into_iter().map(|(partition, found)| ((topic.clone(), partition), found.offset)));
            }
            // Offsets outlive a topic for a while; its end is then unknown.
            Err(error) if matches!(error.kind(), ErrorKind::UnknownTopic | ErrorKind::UnknownPartition) => {}
            Err(error) => return Err(failure(&error)),
        }
    }
    for row in &mut rows {
        let key = row.topic.clone().zip(row.partition);
        row.end = key.and_then(|key| ends.get(&key).copied().flatten());
    }
    Ok(GroupRows { group: group.group.clone(), rows })
}

/// First what members read, the one with the most partitions first, then what only has been committed.
fn arrange(committed: &[CommittedOffset], members: &[GroupMember], release: Release) -> Vec<GroupRow> {
    let old = release < Release::V2_0;
    let offsets: BTreeMap<(&str, i32), &CommittedOffset> =
        committed.iter().map(|one| ((&*one.topic, one.partition), one)).collect();
    let count = |member: &GroupMember| member.assignment.values().map(Vec::len).sum::<usize>();
    let mut members: Vec<&GroupMember> = members.iter().collect();
    crate::sorting::by_key(&mut members, |member| std::cmp::Reverse(count(member)));
    // Before 2.0 members are only shown once something has been committed, but then also those without partitions.
    if old && committed.is_empty() {
        members.clear();
    }
    let (mut rows, mut taken) = (Vec::new(), BTreeSet::new());
    for member in members {
        let of_member = GroupRow {
            consumer_id: Some(member.member_id.clone()),
            host: Some(member.host.clone()),
            client_id: Some(member.client_id.clone()),
            ..GroupRow::default()
        };
        let mut partitions: Vec<(&str, i32)> = (member.assignment.iter())
            .flat_map(|(topic, partitions)| partitions.iter().map(move |partition| (topic.as_str(), *partition)))
            .collect();
        if partitions.is_empty() && old {
            rows.push(of_member);
            continue;
        }
        if old {
            crate::sorting::by_key(&mut partitions, |(_, partition)| *partition);
        } else {
            crate::sorting::sort(&mut partitions);
        }
        for (topic, partition) in partitions {
            taken.insert((topic, partition));
            let offset = offsets.get(&(topic, partition));
            rows.push(GroupRow {
                topic: Some(topic.to_owned()),
                partition: Some(partition),
                leader_epoch: offset.and_then(|one| one.leader_epoch),
                current: offset.and_then(|one| one.offset),
                ..of_member.clone()
            });
        }
    }
    let mut rest: Vec<&CommittedOffset> = committed.iter().collect();
    if release < Release::V1_1 {
        java_order::by_partition(&mut rest, |one| (&one.topic, one.partition));
    } else {
        crate::sorting::by_key(&mut rest, |one| (one.topic.clone(), one.partition));
    }
    rest.retain(|one| !taken.contains(&(&*one.topic, one.partition)));
    rows.extend(rest.into_iter().map(|one| GroupRow {
        topic: Some(one.topic.to_string()),
        partition: Some(one.partition),
        leader_epoch: one.leader_epoch,
        current: one.offset,
        ..GroupRow::default()
    }));
    rows
}

/// A group as `-o json` prints it: `deploy/kafka-json.md`.
pub(super) fn as_json(group: &DescribedGroup, rows: &GroupRows, coordinator: Option<&str>) -> Value {
    let assignment = |topics: &BTreeMap<String, Vec<i32>>| {
        topics.iter().map(|(topic, partitions)| json!({"topic": topic, "partitions": partitions})).collect::<Vec<_>>()
    };
    let members: Vec<Value> = (group.members.iter())
        .map(|member| {
            json!({
                "consumerId": member.member_id, "instanceId": member.group_instance_id, "clientId": member.client_id,
                "host": member.host, "epoch": member.epoch, "assignment": assignment(&member.assignment),
                "target": member.target.as_ref().map(assignment),
            })
        })
        .collect();
    let offsets: Vec<Value> = (rows.rows.iter().filter(|row| row.topic.is_some()))
        .map(|row| {
            let lag = row.current.zip(row.end).map(|(current, end)| end.saturating_sub(current));
            json!({
                "topic": row.topic, "partition": row.partition, "currentOffset": row.current,
                "leaderEpoch": row.leader_epoch, "logEndOffset": row.end, "lag": lag, "consumerId": row.consumer_id,
                "host": row.host, "clientId": row.client_id,
            })
        })
        .collect();
    json!({
        "group": group.group, "state": group.state, "protocolType": group.protocol_type, "assignor": group.assignor,
        "coordinator": {"node": group.coordinator, "address": coordinator}, "epoch": group.epoch,
        "targetEpoch": group.target_epoch, "members": members, "offsets": offsets,
    })
}

/// Names of topics that something has been committed for or that members read.
pub(super) fn partitions(rows: &GroupRows) -> Vec<(Arc<str>, i32)> {
    rows.rows.iter().filter_map(|row| Some((row.topic.as_deref()?.into(), row.partition?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn committed(topic: &str, partition: i32) -> CommittedOffset {
        CommittedOffset { topic: topic.into(), partition, offset: Some(3), leader_epoch: None, metadata: None }
    }

    fn member(id: &str, assignment: &[(&str, &[i32])]) -> GroupMember {
        GroupMember {
            member_id: id.to_owned(),
            group_instance_id: None,
            client_id: "c".to_owned(),
            host: "/h".to_owned(),
            assignment: assignment.iter().map(|(topic, list)| ((*topic).to_owned(), list.to_vec())).collect(),
            target: None,
            epoch: None,
            upgraded: None,
        }
    }

    #[test]
    fn members_come_first_the_busiest_before_the_others() {
        let members = [member("idle", &[]), member("one", &[("t", &[1])]), member("two", &[("t", &[3, 2])])];
        let offsets = [committed("u", 9), committed("t", 1), committed("a", 0)];
        let shown = |release| {
            let rows = arrange(&offsets, &members, release);
            let cell = |row: &GroupRow| {
                format!(
                    "{}{}{}",
                    row.topic.as_deref().unwrap_or("-"),
                    row.partition.map_or_else(|| "-".to_owned(), |partition| partition.to_string()),
                    row.consumer_id.as_deref().unwrap_or("")
                )
            };
            rows.iter().map(cell).collect::<Vec<_>>()
        };
        assert_eq!(shown(Release::NEWEST), ["t2two", "t3two", "t1one", "a0", "u9"]);
        assert_eq!(shown(Release::V1_1), ["t2two", "t3two", "t1one", "--idle", "a0", "u9"]);
        assert_eq!(arrange(&[], &members, Release::V1_0), []);
    }
}
