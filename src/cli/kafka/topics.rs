//! `forebay kafka topics`: what kafka-topics.sh does.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use serde_json::{Value, json};

use super::compat::Release;
use super::layout::topics as layout;
use super::{Cluster, ClusterArgs, failure, java_order, print_json, topic_pattern};
use crate::cli::failure::code;
use crate::cli::{Failure, out};
use crate::kafka::{
    ConfigChange, ConfigEntry, ConfigResource, ConfigSource, ErrorCode, ErrorKind, NewTopic, PartitionMetadata,
    TopicMetadata,
};

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("action").required(true).args(["create", "list", "describe", "delete", "alter"]))]
#[command(after_help = "\
Examples:
  forebay kafka topics --bootstrap-server h:9092 --create --topic t --partitions 10 --replication-factor 3
  forebay kafka topics --zookeeper h:2181/kafka --list
  forebay kafka topics --bootstrap-server h:9092 --describe --topic 'orders.*' -o json")]
pub(super) struct TopicsArgs {
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
    /// Create a topic
    #[arg(long, requires = "topic")]
    create: bool,
    /// List topics
    #[arg(long)]
    list: bool,
    /// Describe topics
    #[arg(long)]
    describe: bool,
    /// Delete topics
    #[arg(long, requires = "topic")]
    delete: bool,
    /// Add partitions; before Kafka 2.3 also change settings
    #[arg(long, requires = "topic")]
    alter: bool,
    /// The topic; but for --create, a pattern
    #[arg(long, value_name = "NAME")]
    topic: Option<String>,
    /// With --describe: the topic with this id
    #[arg(long, value_name = "ID")]
    topic_id: Option<String>,
    /// Number of partitions; the cluster's default without it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// Number of replicas; the cluster's default without it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i16).range(1..))]
    replication_factor: Option<i16>,
    /// Which brokers hold each partition, in place of both numbers: partitions parted by commas, brokers by colons
    #[arg(long, value_name = "1:2,2:3", value_parser = parse_assignment, conflicts_with_all = ["replication_factor"])]
    replica_assignment: Option<Assignment>,
    /// A setting of the topic; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_config)]
    config: Vec<(String, String)>,
    /// With --alter: a setting to take back; may be repeated
    #[arg(long, value_name = "KEY")]
    delete_config: Vec<String>,
    /// With --create: a topic that exists is no error
    #[arg(long)]
    if_not_exists: bool,
    /// With --describe, --alter, --delete: a topic that does not exist is no error
    #[arg(long)]
    if_exists: bool,
    /// Without the cluster's own topics
    #[arg(long)]
    exclude_internal: bool,
    /// With --describe: only partitions some of whose replicas are not in sync
    #[arg(long, help_heading = "Describe only")]
    under_replicated_partitions: bool,
    /// With --describe: only partitions without a live leader
    #[arg(long, help_heading = "Describe only")]
    unavailable_partitions: bool,
    /// With --describe: only partitions with fewer replicas in sync than min.insync.replicas
    #[arg(long, help_heading = "Describe only")]
    under_min_isr_partitions: bool,
    /// With --describe: only partitions with just as many replicas in sync as min.insync.replicas
    #[arg(long, help_heading = "Describe only")]
    at_min_isr_partitions: bool,
    /// With --describe: only topics with settings of their own, without partitions
    #[arg(long, help_heading = "Describe only")]
    topics_with_overrides: bool,
    /// No effect: nothing is asked on the terminal
    #[arg(long, hide = true)]
    force: bool,
    /// No effect: the controller decides
    #[arg(long, hide = true)]
    disable_rack_aware: bool,
    /// No effect: what a broker leaves out of one answer is asked for again
    #[arg(long, hide = true)]
    partition_size_limit_per_response: Option<u32>,
}

/// The brokers of each partition.
#[derive(Clone, Debug)]
struct Assignment(Vec<Vec<i32>>);

fn parse_assignment(text: &str) -> Result<Assignment, String> {
    let nodes = |part: &str| part.split(':').map(|node| node.trim().parse::<i32>().ok()).collect::<Option<Vec<i32>>>();
    let assignment =
        text.split(',').map(nodes).collect::<Option<Vec<_>>>().ok_or("brokers' numbers, such as 1:2,2:3")?;
    let factor = assignment.first().map_or(0, Vec::len);
    match assignment.iter().all(|nodes| nodes.len() == factor) {
        true => Ok(Assignment(assignment)),
        false => Err("every partition needs as many brokers".to_owned()),
    }
}

fn parse_config(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("KEY=VALUE, such as message.timestamp.type=LogAppendTime")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

const COLLISION: &str = "WARNING: Due to limitations in metric names, topics with a period ('.') or underscore ('_') could \
                         collide. To avoid issues it is best to use either, but not both.\n";

impl TopicsArgs {
    /// The definition of what `-o json` prints.
    pub(super) const fn schema(&self) -> &'static str {
        match self {
            Self { list: true, .. } => "topics-list",
            Self { describe: true, .. } => "topics-describe",
            Self { create: true, .. } => "topics-create",
            Self { alter: true, .. } => "topics-alter",
            _ => "topics-delete",
        }
    }

    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let cluster = self.cluster.connect().await?;
        if self.create {
            return self.create(&cluster, self.topic.clone().unwrap_or_default()).await;
        }
        let mut topics = self.found(&cluster).await?;
        if self.list {
            self.print_list(&cluster, &topics);
            return Ok(ExitCode::SUCCESS);
        }
        let named = self.topic.as_deref().or(self.topic_id.as_deref());
        if let Some(name) = named.filter(|_| topics.is_empty() && !self.if_exists) {
            cluster.may_see(self.topic.as_deref()).await?;
            let why = format!("topic {name:?} does not exist as expected");
            return Err(Failure::new(code::FAILED, why).advise("--list shows the topics"));
        }
        if self.describe {
            return self.describe(&cluster, &topics).await;
        }
        if self.alter {
            return self.alter(&cluster, &topics).await;
        }
        topics.retain(|topic| !topic.internal);
        let mut deleted = Vec::new();
        for topic in &topics {
            cluster.client.delete_topic(&topic.name).await.map_err(|error| failure(&error))?;
            deleted.push(topic.name.to_string());
            if cluster.release < Release::V2_2 && !cluster.json {
                out::data(&format!(
                    "Topic {} is marked for deletion.\nNote: This will have no impact if delete.topic.enable is not set to true.\n",
                    topic.name
                ));
            }
        }
        if cluster.json {
            print_json(&json!({"deleted": deleted}));
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The topics that the command line means, by name.
    async fn found(&self, cluster: &Cluster) -> Result<Vec<TopicMetadata>, Failure> {
        let mut topics = cluster.client.topics().await.map_err(|error| failure(&error))?;
        if let Some(id) = &self.topic_id {
            topics.retain(|topic| topic.id.as_ref().is_some_and(|known| layout::topic_id(known) == *id));
        } else if let Some(pattern) = &self.topic {
            let regex = topic_pattern(pattern)?;
            // A name is taken as it stands, too, whatever its dots mean.
            topics.retain(|topic| *topic.name == **pattern || regex.is_match(&topic.name));
        }
        topics.retain(|topic| !(self.exclude_internal && topic.internal));
        Ok(topics)
    }

    fn print_list(&self, cluster: &Cluster, topics: &[TopicMetadata]) {
        if cluster.json {
            let rows: Vec<Value> = (topics.iter())
                .map(|topic| {
                    json!({
                        "topic": &*topic.name, "topicId": topic.id.as_ref().map(layout::topic_id),
                        "internal": topic.internal, "partitions": topic.partitions.len(),
                    })
                })
                .collect();
            return print_json(&json!(rows));
        }
        let mut text: String = topics.iter().map(|topic| format!("{}\n", topic.name)).collect();
        // From 2.2 on the tool prints the names as one text, and its line even when there is none.
        if topics.is_empty() && cluster.release >= Release::V2_2 {
            text.push('\n');
        }
        out::data(&text);
    }

    async fn create(&self, cluster: &Cluster, name: String) -> Result<ExitCode, Failure> {
        let new = NewTopic {
            name: name.clone(),
            partitions: self.partitions.unwrap_or(-1),
            replication_factor: self.replication_factor.unwrap_or(-1),
            assignments: self.replica_assignment.as_ref().map(|one| one.0.clone()).unwrap_or_default(),
            configs: self.config.clone(),
        };
        if name.contains(['.', '_']) && !cluster.json {
            out::data(COLLISION);
        }
        let created = match cluster.client.create_topic(new).await {
            Ok(()) => {
                // The controller has it; other brokers hear of it a moment later. Who types the next command should find
                // it, but a cluster that takes its time has made the topic all the same.
                drop(cluster.client.topic(&name).await);
                true
            }
            Err(error) if error.kind() == ErrorKind::Broker(ErrorCode::TOPIC_ALREADY_EXISTS) => {
                if !self.if_not_exists {
                    return Err(failure(&error).advise("--if-not-exists makes this no error"));
                }
                false
            }
            Err(error) => return Err(failure(&error)),
        };
        if cluster.json {
            print_json(&json!({"topic": name, "created": created}));
        } else if created {
            let quote = if cluster.release < Release::V2_2 { "\"" } else { "" };
            out::data(&format!("Created topic {quote}{name}{quote}.\n"));
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn alter(&self, cluster: &Cluster, topics: &[TopicMetadata]) -> Result<ExitCode, Failure> {
        let old = cluster.release < Release::V2_2 && !cluster.json;
        let mut changes: Vec<ConfigChange> =
            self.config.iter().map(|(name, value)| ConfigChange::Set(name.clone(), value.clone())).collect();
        changes.extend(self.delete_config.iter().cloned().map(ConfigChange::Delete));
        if changes.is_empty() && self.partitions.is_none() {
            return Err(Failure::new(code::USAGE, "--alter: what?").advise("--partitions N"));
        }
        for topic in topics {
            if !changes.is_empty() {
                if old {
                    out::data(
                        "WARNING: Altering topic configuration from this script has been deprecated and may be removed in future releases.\n\
                         \x20        Going forward, please use kafka-configs.sh for this functionality\n",
                    );
                }
                let resource = ConfigResource::Topic(topic.name.to_string());
                cluster.client.alter_configs(&resource, &changes).await.map_err(|error| failure(&error))?;
                if old {
                    out::data(&format!("Updated config for topic \"{}\".\n", topic.name));
                }
            }
            if let Some(total) = self.partitions {
                if old {
                    out::data(
                        "WARNING: If partitions are increased for a topic that has a key, the partition logic or ordering of the messages will be affected\n",
                    );
                }
                // As the tool takes it: those that are there already come first.
                let new = self.replica_assignment.as_ref().map(|one| one.0.get(topic.partitions.len()..));
                let new = new.map(Option::unwrap_or_default).unwrap_or_default();
                cluster.client.create_partitions(&topic.name, total, new).await.map_err(|error| failure(&error))?;
                if old {
                    out::data("Adding partitions succeeded!\n");
                }
            }
        }
        if cluster.json {
            let names: Vec<&str> = topics.iter().map(|topic| &*topic.name).collect();
            print_json(&json!({"altered": names}));
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn describe(&self, cluster: &Cluster, topics: &[TopicMetadata]) -> Result<ExitCode, Failure> {
        let live: BTreeSet<i32> = {
            let found = cluster.client.cluster().await.map_err(|error| failure(&error))?;
            found.brokers.iter().map(|broker| broker.node).collect()
        };
        let elr = self.eligible(cluster, topics).await?;
        let only_some = self.under_replicated_partitions
            || self.unavailable_partitions
            || self.under_min_isr_partitions
            || self.at_min_isr_partitions;
        let (mut text, mut rows) = (String::new(), Vec::new());
        for topic in topics {
            let resource = ConfigResource::Topic(topic.name.to_string());
            let entries = match cluster.client.describe_configs(&resource, None).await {
                Ok(entries) => entries,
                // Settings came with Kafka 0.11; what else there is to say needs none.
                Err(error) if error.kind() == ErrorKind::Unsupported => Vec::new(),
                Err(error) => return Err(failure(&error)),
            };
            let own = own_configs(&entries, cluster.release);
            let min_isr = entries.iter().find(|entry| entry.name == "min.insync.replicas");
            let min_isr: usize = min_isr.and_then(|entry| entry.value.as_ref()?.parse().ok()).unwrap_or(1);
            let shown = |partition: &&PartitionMetadata| {
                let (in_sync, has_leader) = (partition.in_sync.len(), partition.leader.is_some());
                let is_live = partition.leader.is_some_and(|leader| live.contains(&leader));
                !only_some
                    || (self.under_replicated_partitions && in_sync < partition.replicas.len())
                    || (self.unavailable_partitions && !is_live)
                    || (self.under_min_isr_partitions && (!has_leader || in_sync < min_isr))
                    || (self.at_min_isr_partitions && in_sync == min_isr)
            };
            if self.topics_with_overrides && own.is_empty() {
                continue;
            }
            let partitions: Vec<&PartitionMetadata> = topic.partitions.iter().filter(shown).collect();
            if cluster.json {
                rows.push(as_json(topic, &own, &partitions));
                continue;
            }
            if !only_some {
                text += &layout::topic(topic, &own, cluster.release);
            }
            if !self.topics_with_overrides {
                for partition in partitions {
                    let elr = elr.get(&(topic.name.to_string(), partition.partition));
                    text += &layout::partition(&topic.name, partition, elr, cluster.release);
                }
            }
        }
        match cluster.json {
            true => print_json(&json!(rows)),
            false => out::data(&text),
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Eligible leaders, which only the newest layout shows.
    async fn eligible(
        &self,
        cluster: &Cluster,
        topics: &[TopicMetadata],
    ) -> Result<BTreeMap<(String, i32), (Vec<i32>, Vec<i32>)>, Failure> {
        if cluster.release < Release::V3_8 || cluster.json || topics.is_empty() {
            return Ok(BTreeMap::new());
        }
        let names: Vec<String> = topics.iter().map(|topic| topic.name.to_string()).collect();
        match cluster.client.eligible_leaders(&names).await {
            Ok(found) => Ok(found),
            Err(error) if error.kind() == ErrorKind::Unsupported => Ok(BTreeMap::new()),
            Err(error) => Err(failure(&error)),
        }
    }
}

/// What is set on the topic itself, in the order of the release's tool.
fn own_configs(entries: &[ConfigEntry], release: Release) -> Vec<(String, String)> {
    let is_own = |entry: &&ConfigEntry| match entry.source {
        // 2.2 and later tools print whatever is not Kafka's own default.
        Some(source) if release >= Release::V2_2 => source != ConfigSource::Default,
        Some(source) => source == ConfigSource::Topic,
        None => !entry.is_default,
    };
    let value = |entry: &ConfigEntry| entry.value.clone().unwrap_or_else(|| "null".to_owned());
    let mut own: Vec<(String, String)> =
        entries.iter().filter(is_own).map(|entry| (entry.name.clone(), value(entry))).collect();
    if release < Release::V2_2 {
        crate::sorting::sort(&mut own);
        java_order::by_text(&mut own, |(name, _)| name);
    }
    own
}

/// A topic as `-o json` prints it: `deploy/kafka-json.md`.
fn as_json(topic: &TopicMetadata, configs: &[(String, String)], partitions: &[&PartitionMetadata]) -> Value {
    let configs: serde_json::Map<String, Value> =
        configs.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    let factor = topic.partitions.first().map_or(0, |partition| partition.replicas.len());
    let partitions: Vec<Value> = (partitions.iter())
        .map(|partition| {
            json!({
                "partition": partition.partition, "leader": partition.leader, "leaderEpoch": partition.leader_epoch,
                "replicas": partition.replicas, "isr": partition.in_sync, "offline": partition.offline,
            })
        })
        .collect();
    json!({
        "topic": &*topic.name, "topicId": topic.id.as_ref().map(layout::topic_id), "internal": topic.internal,
        "partitionCount": topic.partitions.len(), "replicationFactor": factor, "configs": configs,
        "partitions": partitions,
    })
}
