//! `forebay kafka topics`.

use std::process::ExitCode;

use super::{ClusterArgs, failure, layout};
use crate::cli::failure::code;
use crate::cli::{Failure, out};
use crate::kafka::{Client, ErrorCode, ErrorKind, NewTopic, TopicMetadata};

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("action").required(true).args(["create", "list", "describe", "delete"]))]
pub(super) struct TopicsArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Create a topic
    #[arg(long, requires = "topic")]
    create: bool,
    /// List all topics
    #[arg(long)]
    list: bool,
    /// Describe one topic, or all
    #[arg(long)]
    describe: bool,
    /// Delete a topic
    #[arg(long, requires = "topic")]
    delete: bool,
    /// The topic
    #[arg(long, value_name = "NAME")]
    topic: Option<String>,
    /// Number of partitions; the cluster's default without it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// Number of replicas; the cluster's default without it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i16).range(1..))]
    replication_factor: Option<i16>,
    /// A setting of the new topic; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_config)]
    config: Vec<(String, String)>,
    /// With --create: a topic that exists is no error
    #[arg(long)]
    if_not_exists: bool,
}

fn parse_config(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("KEY=VALUE, such as message.timestamp.type=LogAppendTime")?;
    Ok((key.to_owned(), value.to_owned()))
}

impl TopicsArgs {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let client = self.cluster.connect().await?;
        if self.list {
            let topics = client.topics().await.map_err(|error| failure(&error))?;
            out::data(&topics.iter().map(|topic| format!("{}\n", topic.name)).collect::<String>());
            return Ok(ExitCode::SUCCESS);
        }
        if self.describe {
            return self.describe(&client).await;
        }
        // clap has seen to it that --create and --delete come with a topic.
        let topic = self.topic.clone().unwrap_or_default();
        if self.delete {
            client.delete_topic(&topic).await.map_err(|error| failure(&error))?;
            out::data(&format!("Topic {topic} is marked for deletion.\n"));
            return Ok(ExitCode::SUCCESS);
        }
        self.create(&client, topic).await
    }

    async fn create(&self, client: &Client, name: String) -> Result<ExitCode, Failure> {
        let new = NewTopic {
            name: name.clone(),
            partitions: self.partitions.unwrap_or(-1),
            replication_factor: self.replication_factor.unwrap_or(-1),
            configs: self.config.clone(),
        };
        match client.create_topic(new).await {
            Ok(()) => {
                // The controller has it; other brokers hear of it a moment later. Who types the next command should find
                // it, but a cluster that takes its time has made the topic all the same.
                drop(client.topic(&name).await);
                out::data(&format!("Created topic \"{name}\".\n"));
            }
            Err(error) if error.kind() == ErrorKind::Broker(ErrorCode::TOPIC_ALREADY_EXISTS) => {
                if !self.if_not_exists {
                    return Err(failure(&error).advise("--if-not-exists makes this no error"));
                }
            }
            Err(error) => return Err(failure(&error)),
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn describe(&self, client: &Client) -> Result<ExitCode, Failure> {
        let mut topics: Vec<TopicMetadata> = client.topics().await.map_err(|error| failure(&error))?;
        if let Some(name) = &self.topic {
            topics.retain(|topic| *topic.name == **name);
            if topics.is_empty() {
                let why = format!("topic {name:?} does not exist");
                return Err(Failure::new(code::FAILED, why).advise("--list shows the topics"));
            }
        }
        out::data(&topics.iter().map(layout::topic).collect::<String>());
        Ok(ExitCode::SUCCESS)
    }
}
