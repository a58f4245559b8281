//! `forebay kafka`: what Kafka's own scripts do, with their spelling of options and, release by release, their layouts.

mod acls;
mod compat;
mod configs;
mod consume;
mod format;
mod groups;
mod java_order;
mod layout;
mod lines;
mod log_dirs;
mod offsets;
mod produce;
mod properties;
mod records;
mod schema;
mod topics;
mod zookeeper;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use regex_lite::Regex;
use serde_json::Value;

use super::failure::code;
use super::{Failure, out};
use crate::kafka::{Client, ClientConfig, Error, ErrorKind};
use compat::{Compat, Release};

#[derive(Debug, clap::Args)]
pub(super) struct KafkaArgs {
    #[command(subcommand)]
    command: KafkaCommand,
}

#[derive(Debug, clap::Subcommand)]
#[command(infer_long_args = true)]
enum KafkaCommand {
    /// Create, list, describe, change and delete topics (kafka-topics.sh)
    #[command(infer_long_args = true)]
    Topics(topics::TopicsArgs),
    /// Write each line of standard input as a record; an empty line is an empty value (kafka-console-producer.sh)
    #[command(infer_long_args = true)]
    Produce(produce::ProduceArgs),
    /// Print the records of topics (kafka-console-consumer.sh)
    #[command(infer_long_args = true)]
    Consume(consume::ConsumeArgs),
    /// List, describe, reset and delete consumer groups (kafka-consumer-groups.sh)
    #[command(infer_long_args = true)]
    Groups(groups::GroupsArgs),
    /// Offsets of partitions: the end, the start, or at a time (kafka-get-offsets.sh)
    #[command(infer_long_args = true)]
    Offsets(offsets::OffsetsArgs),
    /// Describe and change configuration, and users of SCRAM (kafka-configs.sh)
    #[command(infer_long_args = true)]
    Configs(configs::ConfigsArgs),
    /// Who may do what (kafka-acls.sh)
    #[command(infer_long_args = true)]
    Acls(acls::AclsArgs),
    /// Delete records below an offset (kafka-delete-records.sh)
    #[command(infer_long_args = true)]
    DeleteRecords(records::DeleteRecordsArgs),
    /// What lies in the brokers' folders (kafka-log-dirs.sh)
    #[command(infer_long_args = true)]
    LogDirs(log_dirs::LogDirsArgs),
}

impl KafkaArgs {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let (cluster, schema) = self.command.output();
        if cluster.output == "schema" {
            let none = || Failure::new(code::USAGE, "-o schema: this command prints nothing on standard output");
            print_json(&schema::of(schema.ok_or_else(none)?));
            return Ok(ExitCode::SUCCESS);
        }
        match self.command {
            KafkaCommand::Topics(args) => args.run().await,
            KafkaCommand::Produce(args) => args.run().await,
            KafkaCommand::Consume(args) => args.run().await,
            KafkaCommand::Groups(args) => args.run().await,
            KafkaCommand::Offsets(args) => args.run().await,
            KafkaCommand::Configs(args) => args.run().await,
            KafkaCommand::Acls(args) => args.run().await,
            KafkaCommand::DeleteRecords(args) => args.run().await,
            KafkaCommand::LogDirs(args) => args.run().await,
        }
    }
}

impl KafkaCommand {
    /// How to print, and the definition in `schema.json` of what is printed.
    fn output(&self) -> (&ClusterArgs, Option<&'static str>) {
        match self {
            Self::Topics(args) => (&args.cluster, Some(args.schema())),
            Self::Produce(args) => (&args.cluster, None),
            Self::Consume(args) => (&args.cluster, Some("consume")),
            Self::Groups(args) => (&args.cluster, Some(args.schema())),
            Self::Offsets(args) => (&args.cluster, Some("offsets")),
            Self::Configs(args) => (&args.cluster, Some(args.schema())),
            Self::Acls(args) => (&args.cluster, Some("acls")),
            Self::DeleteRecords(args) => (&args.cluster, Some("delete-records")),
            Self::LogDirs(args) => (&args.cluster, Some("log-dirs")),
        }
    }
}

/// Which cluster, and how to print.
#[derive(Debug, clap::Args)]
struct ClusterArgs {
    /// Brokers to start from
    #[arg(
        long,
        alias = "broker-list",
        value_name = "HOST:PORT,...",
        value_delimiter = ',',
        env = "FOREBAY_BOOTSTRAP_SERVER",
        help_heading = CLUSTER
    )]
    bootstrap_server: Vec<String>,
    /// Properties of the client, such as security.protocol, sasl.jaas.config or ssl.ca.location: a file as Kafka's tools take it
    #[arg(
        long,
        aliases = ["consumer.config", "consumer-config", "producer.config", "producer-config"],
        value_name = "FILE",
        env = "FOREBAY_COMMAND_CONFIG",
        help_heading = CLUSTER
    )]
    command_config: Option<PathBuf>,
    /// One property of the client; may be repeated
    #[arg(
        long,
        aliases = ["producer-property", "command-property"],
        value_name = "NAME=VALUE",
        value_parser = properties::pair,
        help_heading = CLUSTER
    )]
    consumer_property: Vec<(String, String)>,
    /// Look the brokers up in ZooKeeper; everything else goes to the brokers
    #[arg(long, value_name = "HOST:PORT/CHROOT", help_heading = CLUSTER)]
    zookeeper: Option<String>,
    /// How long to try before giving up, in seconds (by a script's name: in milliseconds)
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400_000), help_heading = CLUSTER)]
    timeout: Option<u64>,
    /// Print as the tools of this release of Kafka do: 1.0.1, 2.8, 4, or auto for the brokers' own
    /// [default: the newest; by a script's name: auto]
    #[arg(long, value_name = "RELEASE", env = "FOREBAY_KAFKA_COMPAT", help_heading = OUTPUT)]
    compat: Option<Compat>,
    /// text, json, or schema: the JSON schema of what json prints, without asking the cluster
    #[arg(short = 'o', long, value_name = "FORMAT", default_value = "text", value_parser = ["text", "json", "schema"], help_heading = OUTPUT)]
    output: String,
    /// Called by a script's name
    #[arg(long, hide = true)]
    as_script: bool,
}

const CLUSTER: &str = "Cluster";
const OUTPUT: &str = "Output";

/// A cluster that is connected to, and how to print what it says.
#[derive(Debug)]
struct Cluster {
    client: Client,
    /// Whose layouts.
    release: Release,
    json: bool,
}

impl Cluster {
    /// Why a topic is not in the list of all: that leaves out what the user may not see, and by its name the broker says so.
    ///
    /// # Errors
    /// The user may not see it.
    async fn may_see(&self, topic: Option<&str>) -> Result<(), Failure> {
        let Some(name) = topic else { return Ok(()) };
        match self.client.topic(name).await {
            Err(error) if error.is_auth() => Err(failure(&error)),
            _ => Ok(()),
        }
    }
}

impl ClusterArgs {
    /// Properties for producers, consumers and groups: those of the file, then those of the command line, which go over them.
    ///
    /// # Errors
    /// A file that cannot be read.
    fn properties(&self) -> Result<Vec<(String, String)>, Failure> {
        let mut all = self.command_config.as_deref().map(properties::of_file).transpose()?.unwrap_or_default();
        all.extend(self.consumer_property.iter().cloned());
        Ok(all)
    }

    /// Connects.
    ///
    /// # Errors
    /// A command line that names no broker; a cluster, or a ZooKeeper, that cannot be reached.
    async fn connect(&self) -> Result<Cluster, Failure> {
        let mut config = ClientConfig::new(&self.bootstrap_server);
        if let Some(file) = &self.command_config {
            properties::apply(file, &mut config)?;
        }
        for (name, value) in &self.consumer_property {
            properties::set(name, value, "--consumer-property", &mut config)?;
        }
        let unit: fn(u64) -> Duration = if self.as_script { Duration::from_millis } else { Duration::from_secs };
        let patience = self.timeout.map_or(Duration::from_secs(30), unit);
        // The command line goes over the file.
        if !self.bootstrap_server.is_empty() {
            config.bootstrap = ClientConfig::new(&self.bootstrap_server).bootstrap;
        } else if let Some(address) = &self.zookeeper {
            config.bootstrap =
                zookeeper::brokers(address, config.security.protocol, patience.min(Duration::from_secs(10))).await?;
        } else if config.bootstrap.is_empty() {
            let why = "no broker given";
            return Err(
                Failure::new(code::USAGE, why).advise("--bootstrap-server HOST:9092, or --zookeeper HOST:2181/CHROOT")
            );
        }
        config.retries_deadline = patience;
        config.bootstrap_deadline = config.bootstrap_deadline.min(config.retries_deadline);
        let client = Client::connect(config).await.map_err(|error| failure(&error))?;
        let release = match self.compat {
            Some(Compat::Like(release)) => release,
            None if !self.as_script => Release::NEWEST,
            None | Some(Compat::Auto) => Release::of(&client.api_versions().await.map_err(|error| failure(&error))?),
        };
        Ok(Cluster { client, release, json: self.output == "json" })
    }
}

/// Prints a value as one line of JSON.
fn print_json(value: &Value) {
    out::data(&format!("{value}\n"));
}

/// A pattern of topic names as Kafka's tools take it: a regular expression that must meet the whole name; commas part several.
fn topic_pattern(text: &str) -> Result<Regex, Failure> {
    let pattern = text.trim().trim_matches('"').trim_matches('\'').replace(',', "|").replace(' ', "");
    Regex::new(&format!("^(?:{pattern})$"))
        .map_err(|error| Failure::new(code::USAGE, format!("{text:?} is no pattern of topic names: {error}")))
}

/// A client's error with its exit code, and a next step where there is one to name.
fn failure(error: &Error) -> Failure {
    let failure = |code: u8| Failure::new(code, error.to_string());
    match error.kind() {
        ErrorKind::Connect | ErrorKind::Timeout => failure(code::UNAVAILABLE)
            .advise("is the broker running, and does its advertised address resolve from this machine?"),
        ErrorKind::Auth => failure(code::NO_PERMISSION).advise(
            "is this the right login, and may it do this? an administrator grants it with 'forebay kafka acls --add'",
        ),
        ErrorKind::UnknownTopic => failure(code::FAILED).advise("'forebay kafka topics --list' shows the topics"),
        ErrorKind::OffsetOutOfRange { .. } | ErrorKind::TopicDeleted => failure(code::SAFETY_STOP),
        ErrorKind::Config => failure(code::CONFIG),
        _ => failure(code::FAILED),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn patterns_meet_whole_names() {
        let pattern = topic_pattern("a.*, b").unwrap();
        assert!(pattern.is_match("abc") && pattern.is_match("b") && !pattern.is_match("bc") && !pattern.is_match("xa"));
        assert!(topic_pattern("a(").is_err());
    }
}
