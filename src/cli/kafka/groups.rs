//! `forebay kafka groups`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use super::layout::{GROUPS_NOTE, GroupRow, GroupRowMember};
use super::{ClusterArgs, failure, layout};
use crate::cli::failure::code;
use crate::cli::{Failure, out};
use crate::kafka::{Client, DescribedGroup, ErrorKind, Isolation, OffsetAt};

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("action").required(true).args(["list", "describe"]))]
pub(super) struct GroupsArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// List all groups
    #[arg(long)]
    list: bool,
    /// Describe one group: offsets, ends, lags and members
    #[arg(long, requires = "group")]
    describe: bool,
    /// The group
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
}

impl GroupsArgs {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let client = self.cluster.connect().await?;
        out::talk(GROUPS_NOTE);
        if self.list {
            let groups = client.list_groups().await.map_err(|error| failure(&error))?;
            // Groups of other kinds, such as Connect's workers, are not consumers. Those that only committed have no kind.
            let consumers = groups.iter().filter(|group| matches!(group.protocol_type.as_str(), "consumer" | ""));
            out::data(&consumers.map(|group| format!("{}\n", group.group)).collect::<String>());
            return Ok(ExitCode::SUCCESS);
        }
        // clap has seen to it that --describe comes with a group.
        describe(&client, &self.group.unwrap_or_default()).await
    }
}

async fn describe(client: &Client, name: &str) -> Result<ExitCode, Failure> {
    let described = client.describe_groups(&[name.to_owned()]).await.map_err(|error| failure(&error))?;
    let dead = || DescribedGroup { state: "Dead".to_owned(), ..empty(name) };
    let group = described.into_iter().next().unwrap_or_else(dead);
    let mut rows = rows(client, &group).await?;
    match group.state.as_str() {
        "Dead" | "" if rows.is_empty() => {
            let why = format!("Consumer group '{name}' does not exist.");
            return Err(Failure::new(code::FAILED, why).advise("--list shows the groups"));
        }
        "Empty" | "Dead" | "" => out::talk(&format!("Consumer group '{name}' has no active members.")),
        "PreparingRebalance" | "AwaitingSync" | "CompletingRebalance" => {
            out::talk(&format!("Warning: Consumer group '{name}' is rebalancing."));
        }
        _ => {}
    }
    rows.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
    out::data(&layout::group(&rows));
    Ok(ExitCode::SUCCESS)
}

fn empty(name: &str) -> DescribedGroup {
    DescribedGroup {
        group: name.to_owned(),
        state: String::new(),
        protocol_type: String::new(),
        assignor: String::new(),
        coordinator: -1,
        members: Vec::new(),
    }
}

/// A row for each partition that the group has committed or that a member is given.
async fn rows(client: &Client, group: &DescribedGroup) -> Result<Vec<GroupRow>, Failure> {
    let committed = client.all_committed_offsets(&group.group).await.map_err(|error| failure(&error))?;
    let mut rows = BTreeMap::<(String, i32), GroupRow>::new();
    for one in committed.iter().filter(|one| one.offset.is_some()) {
        let row = rows.entry((one.topic.to_string(), one.partition)).or_default();
        row.current = one.offset;
    }
    for member in &group.members {
        for (topic, partitions) in &member.assignment {
            for partition in partitions {
                rows.entry((topic.clone(), *partition)).or_default().member = Some(GroupRowMember {
                    consumer_id: member.member_id.clone(),
                    host: member.host.clone(),
                    client_id: member.client_id.clone(),
                });
            }
        }
    }
    let mut topics = BTreeMap::<String, Vec<(i32, OffsetAt)>>::new();
    for (topic, partition) in rows.keys() {
        topics.entry(topic.clone()).or_default().push((*partition, OffsetAt::Latest));
    }
    for (topic, wanted) in topics {
        match client.list_offsets(&topic, &wanted, Isolation::ReadUncommitted).await {
            Ok(listed) => {
                for (partition, found) in listed {
                    rows.entry((topic.clone(), partition)).or_default().end = found.offset;
                }
            }
            // Offsets outlive a topic for a while; its end is then unknown.
            Err(error) if matches!(error.kind(), ErrorKind::UnknownTopic | ErrorKind::UnknownPartition) => {}
            Err(error) => return Err(failure(&error)),
        }
    }
    let finish = |((topic, partition), row)| GroupRow { topic, partition, ..row };
    Ok(rows.into_iter().map(finish).collect())
}
