//! `--describe` of groups: offsets, members and states; `--list` with states and types.

use super::{fill, joined, width};
use crate::cli::kafka::compat::Release;
use crate::cli::kafka::groups::describe::{GroupRow, GroupRows};
use crate::kafka::{DescribedGroup, GroupMember, ListedGroup};

/// What the tools of 1.0 and 1.1 say on standard error before anything about groups.
pub(in crate::cli::kafka) const NOTE: &str =
    "Note: This will not show information about old Zookeeper-based consumers.\n";

const MISSING: &str = "-";

fn number<N: ToString>(value: Option<N>) -> String {
    value.map_or_else(|| MISSING.to_owned(), |value| value.to_string())
}

/// Lines as the tools make them: each cell but the last filled up to its width, with single spaces between.
fn line(cells: &[String], widths: &[usize]) -> String {
    let last = cells.len().saturating_sub(1);
    let cell = |(at, cell): (usize, &String)| match widths.get(at) {
        Some(width) if at < last || widths.len() > last => fill(cell, *width),
        _ => cell.clone(),
    };
    cells.iter().enumerate().map(cell).collect::<Vec<_>>().join(" ")
}

fn lag(row: &GroupRow) -> Option<i64> {
    row.current.zip(row.end).map(|(current, end)| end.saturating_sub(current))
}

/// The offsets of one group. Between CONSUMER-ID and HOST of 1.0 stands no space.
pub(in crate::cli::kafka) fn offsets(group: &GroupRows, release: Release, verbose: bool) -> String {
    let of = |text: &Option<String>| text.clone().unwrap_or_else(|| MISSING.to_owned());
    if release < Release::V1_1 {
        let mut text = "\n".to_owned();
        let old = |cells: [String; 8]| {
            let [topic, partition, current, end, lag, consumer, host, client] = cells;
            format!("{topic:<30} {partition:<10} {current:<15} {end:<15} {lag:<10} {consumer:<50}{host:<30} {client}\n")
        };
        let heading =
            ["TOPIC", "PARTITION", "CURRENT-OFFSET", "LOG-END-OFFSET", "LAG", "CONSUMER-ID", "HOST", "CLIENT-ID"];
        text += &old(heading.map(str::to_owned));
        for row in &group.rows {
            text += &old([
                of(&row.topic),
                number(row.partition),
                number(row.current),
                number(row.end),
                number(lag(row)),
                of(&row.consumer_id),
                of(&row.host),
                of(&row.client_id),
            ]);
        }
        return text;
    }
    let rows = &group.rows;
    let of_rows = |field: fn(&GroupRow) -> &Option<String>| {
        width(15, rows.iter().map(|row| field(row).as_deref().unwrap_or(MISSING)))
    };
    let mut headings =
        vec!["TOPIC", "PARTITION", "CURRENT-OFFSET", "LOG-END-OFFSET", "LAG", "CONSUMER-ID", "HOST", "CLIENT-ID"];
    let mut widths =
        vec![of_rows(|row| &row.topic), 10, 15, 15, 15, of_rows(|row| &row.consumer_id), of_rows(|row| &row.host)];
    let with_epoch = verbose && release >= Release::V4_0;
    if with_epoch {
        headings.insert(2, "LEADER-EPOCH");
        widths.insert(2, 15);
    }
    let with_group = release >= Release::V2_3;
    if with_group {
        headings.insert(0, "GROUP");
        widths.insert(0, width(15, std::iter::once(group.group.as_str())));
    }
    let mut text = String::new();
    let headings: Vec<String> = headings.into_iter().map(str::to_owned).collect();
    text += &format!("\n{}", line(&headings, &widths));
    for row in rows {
        let mut cells = Vec::new();
        if with_group {
            cells.push(group.group.clone());
        }
        cells.extend([of(&row.topic), number(row.partition)]);
        if with_epoch {
            cells.push(number(row.leader_epoch));
        }
        cells.extend([
            number(row.current),
            number(row.end),
            number(lag(row)),
            of(&row.consumer_id),
            of(&row.host),
            of(&row.client_id),
        ]);
        text += &format!("\n{}", line(&cells, &widths));
    }
    text + "\n"
}

/// The members of one group.
pub(in crate::cli::kafka) fn members(group: &DescribedGroup, release: Release, verbose: bool) -> String {
    let members = &group.members;
    let of = |field: fn(&GroupMember) -> &str| width(15, members.iter().map(field));
    let mut headings = vec!["CONSUMER-ID", "HOST", "CLIENT-ID", "#PARTITIONS"];
    let mut widths = vec![of(|m| &m.member_id), of(|m| &m.host), of(|m| &m.client_id), 15];
    let instance = |member: &GroupMember| member.group_instance_id.clone().unwrap_or_default();
    let with_instance = release >= Release::V2_4 && members.iter().any(|member| !instance(member).is_empty());
    if with_instance {
        headings.insert(1, "GROUP-INSTANCE-ID");
        let ids: Vec<String> = members.iter().map(instance).collect();
        widths.insert(1, width(17, ids.iter().map(String::as_str)));
    }
    let with_group = release >= Release::V2_3;
    if with_group {
        headings.insert(0, "GROUP");
        widths.insert(0, width(15, std::iter::once(group.group.as_str())));
    }
    let modern = release >= Release::V4_0;
    let current: Vec<String> = members.iter().map(|member| assignment(&member.assignment, release)).collect();
    let target: Vec<String> =
        members.iter().map(|member| assignment(&member.target.clone().unwrap_or_default(), release)).collect();
    let migrating =
        members.iter().any(|m| m.upgraded == Some(true)) && members.iter().any(|m| m.upgraded == Some(false));
    let tail = |cells: &[String]| {
        let widths =
            [15, width(20, current.iter().map(String::as_str)), 15, width(20, target.iter().map(String::as_str))];
        line(cells, &widths)
    };
    let mut text = "\n".to_owned();
    let head: Vec<String> = headings.iter().map(|heading| (*heading).to_owned()).collect();
    text += &(line(&head, &widths) + " ");
    if verbose && modern {
        let mut cells =
            ["CURRENT-EPOCH", "CURRENT-ASSIGNMENT", "TARGET-EPOCH", "TARGET-ASSIGNMENT"].map(str::to_owned).to_vec();
        if migrating {
            cells.push("UPGRADED".to_owned());
        }
        text += &tail(&cells);
    } else if verbose {
        text += "ASSIGNMENT";
    }
    text.push('\n');
    for (at, member) in members.iter().enumerate() {
        let mut cells = Vec::new();
        if with_group {
            cells.push(group.group.clone());
        }
        cells.push(member.member_id.clone());
        if with_instance {
            cells.push(instance(member));
        }
        let count: usize = member.assignment.values().map(Vec::len).sum();
        cells.extend([member.host.clone(), member.client_id.clone(), count.to_string()]);
        text += &(line(&cells, &widths) + " ");
        let current = current.get(at).cloned().unwrap_or_default();
        if verbose && modern {
            let target = target.get(at).cloned().unwrap_or_default();
            let mut cells = vec![number(member.epoch), current, number(group.target_epoch), target];
            if migrating {
                cells.push(number(member.upgraded));
            }
            text += &tail(&cells);
        } else if verbose {
            text += &current;
        }
        text.push('\n');
    }
    text
}

fn assignment(topics: &std::collections::BTreeMap<String, Vec<i32>>, release: Release) -> String {
    let mut parts = Vec::new();
    for (topic, partitions) in topics.iter().filter(|(_, partitions)| !partitions.is_empty()) {
        let mut partitions = partitions.clone();
        crate::sorting::sort(&mut partitions);
        parts.push(if release >= Release::V4_0 {
            format!("{topic}:{}", joined(&partitions))
        } else if release >= Release::V3_8 {
            format!("({})", joined(&partitions))
        } else {
            format!("{topic}({})", joined(&partitions))
        });
    }
    match parts.is_empty() {
        true => MISSING.to_owned(),
        false => parts.join(if release >= Release::V4_0 { ";" } else { ", " }),
    }
}

/// The state of one group. `coordinator` is `host:port  (id)`.
pub(in crate::cli::kafka) fn state(
    group: &DescribedGroup,
    coordinator: &str,
    release: Release,
    verbose: bool,
) -> String {
    let assignor = if group.assignor.is_empty() { MISSING.to_owned() } else { group.assignor.clone() };
    let (mut headings, mut cells, mut widths) = (Vec::new(), Vec::new(), Vec::new());
    let coordinator_width = width(25, std::iter::once(coordinator));
    let mut column = |heading: &str, cell: String, width: usize| {
        headings.push(heading.to_owned());
        cells.push(cell);
        widths.push(width);
    };
    let (assignor_width, state_width) = if release < Release::V2_3 {
        (25, 20)
    } else if release < Release::V4_0 {
        // The group stands in the coordinator's width, and the other way round.
        column("GROUP", group.group.clone(), coordinator_width);
        (20, 15)
    } else {
        column("GROUP", group.group.clone(), width(15, std::iter::once(group.group.as_str())));
        (20, 20)
    };
    let shown_width = if (Release::V2_3..Release::V4_0).contains(&release) { 25 } else { coordinator_width };
    column("COORDINATOR (ID)", coordinator.to_owned(), shown_width);
    column("ASSIGNMENT-STRATEGY", assignor, assignor_width);
    column("STATE", group.state.clone(), state_width);
    if verbose && release >= Release::V4_0 {
        column("GROUP-EPOCH", number(group.epoch), 15);
        column("TARGET-ASSIGNMENT-EPOCH", number(group.target_epoch), 25);
    }
    headings.push("#MEMBERS".to_owned());
    cells.push(group.members.len().to_string());
    format!("\n{}\n{}\n", line(&headings, &widths), line(&cells, &widths))
}

/// `--list` with `--state` or `--type`.
pub(in crate::cli::kafka) fn list(
    groups: &[ListedGroup],
    with_type: bool,
    with_state: bool,
    release: Release,
) -> String {
    let ids = width(15, groups.iter().map(|group| group.group.as_str()));
    let java = release >= Release::V3_8;
    let ids = if java { ids.saturating_add(10) } else { ids };
    let mut text = String::new();
    let mut add = |group: &str, kind: &str, state: &str| {
        let mut parts = vec![fill(group, ids)];
        if with_type {
            parts.push(fill(kind, 20));
        }
        if with_state {
            parts.push(if java { fill(state, 20) } else { state.to_owned() });
        }
        text += &(parts.join(" ") + "\n");
    };
    add("GROUP", "TYPE", "STATE");
    for group in groups {
        let kind = group.group_type.as_deref().unwrap_or("Unknown");
        let mut letters = kind.chars();
        let kind: String = letters.next().map(|c| c.to_ascii_uppercase()).into_iter().chain(letters).collect();
        add(&group.group, &kind, group.state.as_deref().unwrap_or("Unknown"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(partition: i32, offset: i64) -> GroupRow {
        GroupRow {
            topic: Some("testkafka".to_owned()),
            partition: Some(partition),
            current: Some(offset),
            end: Some(offset),
            ..GroupRow::default()
        }
    }

    /// The golden case of Kafka 1.0.1.
    #[test]
    fn a_group_without_members_looks_as_in_1_0_1() {
        let group = GroupRows { group: "g".to_owned(), rows: vec![row(6, 0), row(1, 1)] };
        let expected = "
TOPIC                          PARTITION  CURRENT-OFFSET  LOG-END-OFFSET  LAG        CONSUMER-ID                                       HOST                           CLIENT-ID
testkafka                      6          0               0               0          -                                                 -                              -
testkafka                      1          1               1               0          -                                                 -                              -
";
        assert_eq!(offsets(&group, Release::V1_0, false), expected);
    }

    /// The golden case of 4.x with `--verbose`.
    #[test]
    fn a_group_without_members_looks_as_in_4() {
        let group = GroupRows {
            group: "console-consumer-83".to_owned(),
            rows: vec![GroupRow { leader_epoch: Some(0), ..row(0, 1) }],
        };
        let expected = "
GROUP               TOPIC           PARTITION  LEADER-EPOCH    CURRENT-OFFSET  LOG-END-OFFSET  LAG             CONSUMER-ID     HOST            CLIENT-ID
console-consumer-83 testkafka       0          0               1               1               0               -               -               -
";
        assert_eq!(offsets(&group, Release::NEWEST, true), expected);
    }

    #[test]
    fn a_partition_nobody_committed_has_no_lag() {
        let group = GroupRows { group: "g".to_owned(), rows: vec![GroupRow { current: None, ..row(0, 5) }] };
        let text = offsets(&group, Release::V1_0, false);
        let fields = text.lines().last().unwrap_or_default().split_whitespace().collect::<Vec<_>>();
        assert_eq!(fields, ["testkafka", "0", "-", "5", "-", "-", "-", "-"]);
    }
}
