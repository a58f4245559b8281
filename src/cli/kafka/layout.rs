//! What Kafka 1.0.1's tools print (`core/src/main/scala/kafka/admin/TopicCommand.scala`, `ConsumerGroupCommand.scala`).

use crate::kafka::TopicMetadata;

/// What 1.0.1 says on standard error before anything about groups.
pub(super) const GROUPS_NOTE: &str = "Note: This will not show information about old Zookeeper-based consumers.\n";

/// One partition of a group's description; `None` is printed as `-`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct GroupRow {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) current: Option<i64>,
    pub(super) end: Option<i64>,
    pub(super) member: Option<GroupRowMember>,
}

/// Who is given the partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct GroupRowMember {
    pub(super) consumer_id: String,
    pub(super) host: String,
    pub(super) client_id: String,
}

/// The description of a topic: one line for itself and one for each partition, fields parted by tabs. The setting of topics
/// that 1.0.1 shows as `Configs:` is left out: it is not part of a cluster's metadata.
pub(super) fn topic(topic: &TopicMetadata) -> String {
    let factor = topic.partitions.first().map_or(0, |partition| partition.replicas.len());
    let mut text =
        format!("Topic:{}\tPartitionCount:{}\tReplicationFactor:{factor}\n", topic.name, topic.partitions.len());
    for partition in &topic.partitions {
        let leader = partition.leader.map_or_else(|| "none".to_owned(), |leader| leader.to_string());
        text += &format!(
            "\tTopic: {}\tPartition: {}\tLeader: {leader}\tReplicas: {}\tIsr: {}\n",
            topic.name,
            partition.partition,
            joined(&partition.replicas),
            joined(&partition.in_sync),
        );
    }
    text
}

fn joined(ids: &[i32]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// The table of a group, after an empty line. Between CONSUMER-ID and HOST stands no space, as in the original.
pub(super) fn group(rows: &[GroupRow]) -> String {
    let mut text = "\n".to_owned();
    let heading = ["TOPIC", "PARTITION", "CURRENT-OFFSET", "LOG-END-OFFSET", "LAG", "CONSUMER-ID", "HOST", "CLIENT-ID"];
    text += &line(heading.map(str::to_owned));
    for row in rows {
        let number = |value: Option<i64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
        let lag = row.current.zip(row.end).map(|(current, end)| end - current);
        let of =
            |field: fn(&GroupRowMember) -> &String| row.member.as_ref().map_or("-", |member| field(member).as_str());
        text += &line([
            row.topic.clone(),
            row.partition.to_string(),
            number(row.current),
            number(row.end),
            number(lag),
            of(|member| &member.consumer_id).to_owned(),
            of(|member| &member.host).to_owned(),
            of(|member| &member.client_id).to_owned(),
        ]);
    }
    text
}

fn line([topic, partition, current, end, lag, consumer, host, client]: [String; 8]) -> String {
    format!("{topic:<30} {partition:<10} {current:<15} {end:<15} {lag:<10} {consumer:<50}{host:<30} {client}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The golden case of Kafka 1.0.1.
    #[test]
    fn a_group_without_members_looks_as_in_1_0_1() {
        let row = |partition, offset| GroupRow {
            topic: "testkafka".to_owned(),
            partition,
            current: Some(offset),
            end: Some(offset),
            member: None,
        };
        let expected = "
TOPIC                          PARTITION  CURRENT-OFFSET  LOG-END-OFFSET  LAG        CONSUMER-ID                                       HOST                           CLIENT-ID
testkafka                      6          0               0               0          -                                                 -                              -
testkafka                      1          1               1               0          -                                                 -                              -
";
        assert_eq!(group(&[row(6, 0), row(1, 1)]), expected);
    }

    #[test]
    fn a_partition_nobody_committed_has_no_lag() {
        let member =
            GroupRowMember { consumer_id: "c-1".to_owned(), host: "/10.0.0.1".to_owned(), client_id: "c".to_owned() };
        let row = GroupRow { topic: "t".to_owned(), partition: 0, current: None, end: Some(5), member: Some(member) };
        let text = group(&[row]);
        let fields = text.lines().last().unwrap_or_default().split_whitespace().collect::<Vec<_>>();
        assert_eq!(fields, ["t", "0", "-", "5", "-", "c-1", "/10.0.0.1", "c"]);
    }
}
