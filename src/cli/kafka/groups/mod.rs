//! `forebay kafka groups`: what kafka-consumer-groups.sh does.

pub(super) mod describe;
mod reset;

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::compat::Release;
use super::layout::groups as layout;
use super::{Cluster, ClusterArgs, failure};
use crate::cli::failure::code;
use crate::cli::{Failure, out};
use crate::kafka::{Client, DescribedGroup, ErrorCode, ErrorKind, ListedGroup};

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("action").required(true).args(["list", "describe", "delete", "reset_offsets", "delete_offsets"]))]
#[command(group = clap::ArgGroup::new("target").args([
    "to_earliest", "to_latest", "to_current", "to_offset", "shift_by", "to_datetime", "by_duration", "from_file",
]))]
#[command(after_help = "\
Examples:
  forebay kafka groups --bootstrap-server h:9092 --list
  forebay kafka groups --bootstrap-server h:9092 --describe --group g --members
  forebay kafka groups --bootstrap-server h:9092 --reset-offsets --group g --topic t:0,1 --to-earliest --execute")]
pub(super) struct GroupsArgs {
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
    /// List all groups
    #[arg(long)]
    list: bool,
    /// Describe groups: offsets, ends, lags and members
    #[arg(long)]
    describe: bool,
    /// Delete groups that have no members
    #[arg(long)]
    delete: bool,
    /// Say where a group's offsets would be set to; with --execute, set them
    #[arg(long)]
    reset_offsets: bool,
    /// Delete what a group has committed for topics
    #[arg(long)]
    delete_offsets: bool,
    /// The group; may be repeated
    #[arg(long, value_name = "GROUP")]
    group: Vec<String>,
    /// All groups
    #[arg(long)]
    all_groups: bool,
    /// The topic, or some of its partitions; may be repeated
    #[arg(long, value_name = "TOPIC[:0,1]")]
    topic: Vec<String>,
    /// All topics that the group has committed
    #[arg(long)]
    all_topics: bool,
    /// With --describe: the members
    #[arg(long)]
    members: bool,
    /// With --describe: the offsets (the default)
    #[arg(long)]
    offsets: bool,
    /// With --describe: the state; with --list: with states, or those in some states only
    #[arg(long, value_name = "STATES", num_args = 0..=1, default_missing_value = "")]
    state: Option<String>,
    /// With --list: with types, or those of some types only
    #[arg(long = "type", value_name = "TYPES", num_args = 0..=1, default_missing_value = "")]
    kind: Option<String>,
    /// With --describe: more columns
    #[arg(id = "verbose", short = 'v', long = "verbose", action = clap::ArgAction::Count)]
    verbose: u8,
    /// To the first offset that exists
    #[arg(long, help_heading = "Where to")]
    to_earliest: bool,
    /// To the end
    #[arg(long, help_heading = "Where to")]
    to_latest: bool,
    /// To where it is
    #[arg(long, help_heading = "Where to")]
    to_current: bool,
    /// To this offset
    #[arg(long, value_name = "OFFSET", help_heading = "Where to")]
    to_offset: Option<i64>,
    /// By so many records, forwards or backwards
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Where to")]
    shift_by: Option<i64>,
    /// To the first record from this time on, in UTC unless it says otherwise
    #[arg(long, value_name = "YYYY-MM-DDTHH:mm:SS.sss", help_heading = "Where to")]
    to_datetime: Option<String>,
    /// To the first record of the last so many days, hours, minutes
    #[arg(long, value_name = "PnDTnHnMnS", help_heading = "Where to")]
    by_duration: Option<String>,
    /// To the offsets of a file that --export has written
    #[arg(long, value_name = "FILE", help_heading = "Where to")]
    from_file: Option<PathBuf>,
    /// Only say what would be set (the default)
    #[arg(long, conflicts_with = "execute")]
    dry_run: bool,
    /// Set the offsets
    #[arg(long)]
    execute: bool,
    /// Print the plan as CSV
    #[arg(long)]
    export: bool,
    /// No effect: groups are always on the brokers
    #[arg(long, hide = true)]
    new_consumer: bool,
}

impl GroupsArgs {
    /// The definition of what `-o json` prints.
    pub(super) const fn schema(&self) -> &'static str {
        match self {
            Self { list: true, .. } => "groups-list",
            Self { describe: true, .. } => "groups-describe",
            Self { reset_offsets: true, .. } => "groups-reset-offsets",
            Self { delete_offsets: true, .. } => "groups-delete-offsets",
            _ => "groups-delete",
        }
    }

    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let needs_group = self.describe || self.delete || self.reset_offsets || self.delete_offsets;
        if needs_group && self.group.is_empty() && !self.all_groups {
            return Err(Failure::new(code::USAGE, "which group?").advise("--group GROUP, or --all-groups"));
        }
        if self.delete_offsets && self.topic.is_empty() {
            return Err(Failure::new(code::USAGE, "--delete-offsets: of which topic?").advise("--topic TOPIC"));
        }
        if self.reset_offsets && self.topic.is_empty() && !self.all_topics && self.from_file.is_none() {
            return Err(
                Failure::new(code::USAGE, "--reset-offsets: of which topics?").advise("--topic TOPIC, or --all-topics")
            );
        }
        let target = if self.reset_offsets { Some(self.target()?) } else { None };
        let cluster = self.cluster.connect().await?;
        if cluster.release < Release::V2_0 && !cluster.json {
            out::talk(layout::NOTE);
        }
        if self.list {
            return self.list(&cluster).await;
        }
        let mut groups = self.group.clone();
        if self.all_groups {
            groups = self.listed(&cluster).await?.into_iter().map(|group| group.group).collect();
        }
        match target {
            Some(target) => self.reset(&cluster, &groups, &target).await,
            None if self.delete => delete(&cluster, &groups).await,
            None if self.delete_offsets => self.delete_offsets(&cluster, &groups).await,
            None => self.describe(&cluster, &groups).await,
        }
    }

    /// Consumers' groups: those of other kinds, such as Connect's workers, are left out. Those that only committed have no
    /// kind, and count.
    async fn listed(&self, cluster: &Cluster) -> Result<Vec<ListedGroup>, Failure> {
        let groups = cluster.client.list_groups().await.map_err(|error| failure(&error))?;
        let wanted = |list: &Option<String>, value: Option<&String>| {
            let list = list.as_deref().unwrap_or_default();
            list.is_empty()
                || list.split(',').any(|one| value.is_some_and(|value| one.trim().eq_ignore_ascii_case(value)))
        };
        let is_consumer = |group: &ListedGroup| matches!(group.protocol_type.as_str(), "consumer" | "");
        let is_kind = |group: &ListedGroup| !matches!(group.group_type.as_deref(), Some("share" | "streams"));
        let is_wanted = |group: &ListedGroup| {
            is_consumer(group)
                && is_kind(group)
                && wanted(&self.state, group.state.as_ref())
                && wanted(&self.kind, group.group_type.as_ref())
        };
        Ok(groups.into_iter().filter(is_wanted).collect())
    }

    async fn list(&self, cluster: &Cluster) -> Result<ExitCode, Failure> {
        let groups = self.listed(cluster).await?;
        if cluster.json {
            let rows: Vec<Value> = (groups.iter())
                .map(|group| {
                    json!({
                        "group": group.group, "protocolType": group.protocol_type, "state": group.state,
                        "type": group.group_type, "coordinator": group.coordinator,
                    })
                })
                .collect();
            super::print_json(&json!(rows));
        } else if self.state.is_some() || self.kind.is_some() {
            out::data(&layout::list(&groups, self.kind.is_some(), self.state.is_some(), cluster.release));
        } else {
            out::data(&groups.iter().map(|group| format!("{}\n", group.group)).collect::<String>());
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn describe(&self, cluster: &Cluster, groups: &[String]) -> Result<ExitCode, Failure> {
        let mut groups = groups.to_vec();
        crate::sorting::sort(&mut groups);
        groups.dedup();
        let mut missing = Vec::new();
        let mut all = Vec::new();
        for name in &groups {
            let group = described(&cluster.client, name).await?;
            let coordinator = coordinator(&cluster.client, group.coordinator).await?;
            let rows = describe::rows(&cluster.client, &group, cluster.release).await?;
            let is_gone = matches!(group.state.as_str(), "Dead" | "") && rows.rows.is_empty();
            if is_gone {
                missing.push(name.clone());
                continue;
            }
            if cluster.json {
                all.push(describe::as_json(&group, &rows, coordinator.as_deref()));
                continue;
            }
            let newline = if cluster.release >= Release::V2_3 { "\n" } else { "" };
            match group.state.as_str() {
                "Empty" | "Dead" | "" => out::talk(&format!("{newline}Consumer group '{name}' has no active members.")),
                "PreparingRebalance" | "AwaitingSync" | "CompletingRebalance" | "Assigning" | "Reconciling" => {
                    out::talk(&format!("{newline}Warning: Consumer group '{name}' is rebalancing."));
                }
                _ => {}
            }
            let verbose = self.verbose > 0;
            let text = if self.members {
                layout::members(&group, cluster.release, verbose)
            } else if self.state.is_some() && !self.offsets {
                let gap = if cluster.release < Release::V4_0 { " " } else { "  " };
                let coordinator = format!("{}{gap}({})", coordinator.unwrap_or_default(), group.coordinator);
                layout::state(&group, &coordinator, cluster.release, verbose)
            } else if rows.rows.is_empty() && cluster.release >= Release::V1_1 {
                String::new()
            } else {
                layout::offsets(&rows, cluster.release, verbose)
            };
            out::data(&text);
        }
        if cluster.json {
            super::print_json(&json!(all));
        }
        match missing.first() {
            None => Ok(ExitCode::SUCCESS),
            Some(name) => {
                let why = match cluster.release < Release::V4_0 {
                    true => format!("Consumer group '{name}' does not exist."),
                    false => format!(
                        "Executing consumer group command failed due to \
                         org.apache.kafka.common.errors.GroupIdNotFoundException: Group {name} not found. \
                         Consumer group '{name}' does not exist."
                    ),
                };
                Err(Failure::new(code::FAILED, why).advise("--list shows the groups"))
            }
        }
    }

    async fn reset(&self, cluster: &Cluster, groups: &[String], target: &reset::Target) -> Result<ExitCode, Failure> {
        let mut plans = Vec::new();
        for name in groups {
            let group = described(&cluster.client, name).await?;
            if !matches!(group.state.as_str(), "Empty" | "Dead" | "") {
                let why = format!(
                    "Assignments can only be reset if the group '{name}' is inactive, but the current state is {}.",
                    group.state
                );
                return Err(Failure::new(code::FAILED, why).advise("stop its members first"));
            }
            let rows = describe::rows(&cluster.client, &group, Release::NEWEST).await?;
            let topics = if self.all_topics { &[][..] } else { &self.topic };
            let plan = reset::plan(&cluster.client, name, &rows, topics, target).await?;
            plans.push((name.clone(), plan));
        }
        if self.execute {
            for (name, plan) in &plans {
                reset::execute(&cluster.client, name, plan).await?;
            }
        }
        if cluster.json {
            let rows: Vec<Value> = (plans.iter())
                .flat_map(|(group, plan)| {
                    plan.iter().map(move |((topic, partition), offset)| {
                        json!({"group": group, "topic": &**topic, "partition": partition, "newOffset": offset})
                    })
                })
                .collect();
            super::print_json(&json!({"executed": self.execute, "offsets": rows}));
        } else if self.export {
            let text = reset::export(&plans, plans.len() > 1);
            out::data(&(text + "\n"));
        } else {
            out::data(&reset::table(&plans, cluster.release));
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn delete_offsets(&self, cluster: &Cluster, groups: &[String]) -> Result<ExitCode, Failure> {
        let group = groups.first().map(String::as_str).unwrap_or_default();
        let partitions = reset::named_partitions(&cluster.client, &self.topic).await?;
        let refused = cluster.client.delete_offsets(group, &partitions).await.map_err(|error| failure(&error))?;
        let status = |topic: &str, partition: i32| {
            refused.iter().find(|one| *one.topic == *topic && one.partition == partition).map(|one| one.code)
        };
        if cluster.json {
            let rows: Vec<Value> = (partitions.iter())
                .map(|(topic, partition)| {
                    let error = status(topic, *partition).and_then(ErrorCode::name);
                    json!({"group": group, "topic": &**topic, "partition": partition, "error": error})
                })
                .collect();
            super::print_json(&json!(rows));
        } else {
            let modern = cluster.release >= Release::V4_0;
            let mut text = match (refused.is_empty(), modern) {
                (true, true) => format!("Request succeeded for deleting offsets from group {group}.\n"),
                (true, false) => {
                    format!("Request succeed for deleting offsets with topic {} group {group}\n", self.topic.join(","))
                }
                (false, _) => String::new(),
            };
            let topics = if modern {
                partitions.iter().map(|(topic, _)| topic.chars().count()).max().unwrap_or(0).max(15)
            } else {
                30
            };
            let width = if modern { 10 } else { 15 };
            text += &format!("\n{:<topics$} {:<width$} {:<15}\n", "TOPIC", "PARTITION", "STATUS");
            for (topic, partition) in &partitions {
                let status =
                    status(topic, *partition).map_or_else(|| "Successful".to_owned(), |code| format!("Error: {code}"));
                text += &format!("{topic:<topics$} {partition:<width$} {status:<15}\n");
            }
            out::data(&text);
        }
        match refused.first() {
            None => Ok(ExitCode::SUCCESS),
            Some(one) => {
                let why = format!("topic {:?} partition {} was refused: {}", one.topic, one.partition, one.code);
                Err(Failure::new(code::FAILED, why).advise("stop the members that read the topic first"))
            }
        }
    }
}

async fn delete(cluster: &Cluster, groups: &[String]) -> Result<ExitCode, Failure> {
    let (mut gone, mut kept) = (Vec::new(), Vec::new());
    for group in groups {
        match cluster.client.delete_group(group).await {
            Ok(()) => gone.push(format!("'{group}'")),
            Err(error) => kept.push((group, error)),
        }
    }
    if cluster.json {
        let gone: Vec<&str> = gone.iter().map(|name| name.trim_matches('\'')).collect();
        let kept: Vec<Value> =
            kept.iter().map(|(group, error)| json!({"group": group, "error": error.to_string()})).collect();
        super::print_json(&json!({"deleted": gone, "failed": kept}));
    } else if kept.is_empty() {
        out::data(&format!("Deletion of requested consumer groups ({}) was successful.\n", gone.join(", ")));
    } else if !gone.is_empty() {
        out::data(&format!("\nThese consumer groups were deleted successfully: {}\n", gone.join(", ")));
    }
    let Some((_, first)) = kept.first() else { return Ok(ExitCode::SUCCESS) };
    let lines: Vec<String> =
        kept.iter().map(|(group, error)| format!("* Group '{group}' could not be deleted due to: {error}")).collect();
    let why = format!("Deletion of some consumer groups failed:\n{}", lines.join("\n"));
    Err(match first.kind() {
        ErrorKind::Broker(ErrorCode::NON_EMPTY_GROUP) => {
            Failure::new(code::FAILED, why).advise("stop its members first")
        }
        _ => Failure { message: why, ..failure(first) },
    })
}

async fn described(client: &Client, name: &str) -> Result<DescribedGroup, Failure> {
    let described = client.describe_groups(&[name.to_owned()]).await.map_err(|error| failure(&error))?;
    described.into_iter().next().ok_or_else(|| Failure::new(code::BUG, "no group was described"))
}

/// The address of a node.
async fn coordinator(client: &Client, node: i32) -> Result<Option<String>, Failure> {
    let cluster = client.cluster().await.map_err(|error| failure(&error))?;
    let broker = cluster.brokers.into_iter().find(|broker| broker.node == node);
    Ok(broker.and_then(|broker| broker.address).map(|address| address.to_string()))
}
