//! `forebay kafka`: what kafka-topics.sh, kafka-console-producer.sh, kafka-console-consumer.sh and kafka-consumer-groups.sh do,
//! with their spelling of options, and the layouts of Kafka 1.0.1.

mod consume;
mod groups;
mod layout;
mod lines;
mod produce;
mod properties;
mod topics;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use super::Failure;
use super::failure::code;
use crate::kafka::{Client, ClientConfig, Error, ErrorKind};

#[derive(Debug, clap::Args)]
pub(super) struct KafkaArgs {
    #[command(subcommand)]
    command: KafkaCommand,
}

#[derive(Debug, clap::Subcommand)]
enum KafkaCommand {
    /// Create, list, describe and delete topics
    Topics(topics::TopicsArgs),
    /// Write each line of standard input as a record; an empty line is an empty value
    Produce(produce::ProduceArgs),
    /// Print the values of a topic's records
    Consume(consume::ConsumeArgs),
    /// List and describe consumer groups
    Groups(groups::GroupsArgs),
}

impl KafkaArgs {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        match self.command {
            KafkaCommand::Topics(args) => args.run().await,
            KafkaCommand::Produce(args) => args.run().await,
            KafkaCommand::Consume(args) => args.run().await,
            KafkaCommand::Groups(args) => args.run().await,
        }
    }
}

/// Which cluster.
#[derive(Debug, clap::Args)]
struct ClusterArgs {
    /// Brokers to start from
    #[arg(
        long,
        alias = "broker-list",
        value_name = "HOST:PORT,...",
        value_delimiter = ',',
        env = "FOREBAY_BOOTSTRAP_SERVER"
    )]
    bootstrap_server: Vec<String>,
    /// Properties of the client, such as security.protocol, sasl.jaas.config or ssl.ca.location: a file as Kafka's tools take it
    #[arg(
        long,
        aliases = ["consumer.config", "consumer-config", "producer.config", "producer-config"],
        value_name = "FILE",
        env = "FOREBAY_COMMAND_CONFIG"
    )]
    command_config: Option<PathBuf>,
    /// Not supported
    #[arg(long, value_name = "HOST:PORT/CHROOT", hide = true)]
    zookeeper: Option<String>,
    /// How long to try before giving up, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
}

impl ClusterArgs {
    /// Connects.
    ///
    /// # Errors
    /// A command line that names no broker, or ZooKeeper; a cluster that cannot be reached.
    async fn connect(&self) -> Result<Client, Failure> {
        if let Some(zookeeper) = &self.zookeeper {
            let why = format!("--zookeeper {zookeeper}: forebay speaks to the brokers and not to ZooKeeper");
            let advice = "give a broker instead: --bootstrap-server HOST:9092";
            return Err(Failure::new(code::USAGE, why).advise(advice));
        }
        if self.bootstrap_server.is_empty() {
            let why = "no broker given";
            return Err(Failure::new(code::USAGE, why).advise("--bootstrap-server HOST:9092"));
        }
        let mut config = ClientConfig::new(&self.bootstrap_server);
        if let Some(file) = &self.command_config {
            properties::apply(file, &mut config)?;
        }
        // The command line goes over the file.
        config.bootstrap = ClientConfig::new(&self.bootstrap_server).bootstrap;
        config.retries_deadline = Duration::from_secs(self.timeout);
        config.bootstrap_deadline = config.bootstrap_deadline.min(config.retries_deadline);
        Client::connect(config).await.map_err(|error| failure(&error))
    }
}

/// A client's error with its exit code, and a next step where there is one to name.
fn failure(error: &Error) -> Failure {
    let failure = |code: u8| Failure::new(code, error.to_string());
    match error.kind() {
        ErrorKind::Connect | ErrorKind::Timeout => failure(code::UNAVAILABLE)
            .advise("is the broker running, and does its advertised address resolve from this machine?"),
        ErrorKind::Auth => failure(code::NO_PERMISSION),
        ErrorKind::UnknownTopic => failure(code::FAILED).advise("'forebay kafka topics --list' shows the topics"),
        ErrorKind::OffsetOutOfRange { .. } | ErrorKind::TopicDeleted => failure(code::SAFETY_STOP),
        ErrorKind::Config => failure(code::CONFIG),
        _ => failure(code::FAILED),
    }
}
