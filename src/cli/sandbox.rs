//! `forebay sandbox`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use super::Failure;
use super::failure::code;
use super::out;
use crate::sandbox::broker::{self, BrokerConfig, KafkaVersion};

#[derive(Debug, clap::Args)]
pub(super) struct SandboxArgs {
    #[command(subcommand)]
    command: SandboxCommand,
}

#[derive(Debug, clap::Subcommand)]
enum SandboxCommand {
    /// Start an embedded Kafka cluster and a local MaxCompute, and serve both until Ctrl-C
    Up(UpArgs),
}

#[derive(Debug, clap::Args)]
struct UpArgs {
    /// Port of the first Kafka broker; the others take the ports after it; 0 takes free ones
    #[arg(long, value_name = "PORT", default_value_t = 9092)]
    kafka_port: u16,
    /// How many Kafka brokers to present
    #[arg(long, value_name = "N", default_value_t = 3)]
    brokers: u32,
    /// Kafka release to look like
    #[arg(long, value_name = "VERSION", default_value = "latest", value_parser = parse_version)]
    kafka: KafkaVersion,
    /// Topic to make at the start, with its number of partitions; may be repeated
    #[arg(long, value_name = "NAME:PARTITIONS", value_parser = parse_topic)]
    topic: Vec<(String, i32)>,
    /// Folder to keep records, offsets and tables in; without it they are gone at the end
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Start the Kafka brokers only
    #[arg(long)]
    kafka_only: bool,
}

fn parse_version(name: &str) -> Result<KafkaVersion, String> {
    KafkaVersion::parse(name).ok_or_else(|| format!("known releases: {}", KafkaVersion::NAMES.join(", ")))
}

fn parse_topic(text: &str) -> Result<(String, i32), String> {
    let (name, count) = text.rsplit_once(':').ok_or("NAME:PARTITIONS, such as testkafka:10")?;
    let count = count.parse::<i32>().ok().filter(|count| *count > 0);
    Ok((name.to_owned(), count.ok_or("the number of partitions is a number above 0")?))
}

impl SandboxArgs {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        match self.command {
            SandboxCommand::Up(args) => args.run().await,
        }
    }
}

impl UpArgs {
    async fn run(self) -> Result<ExitCode, Failure> {
        let broker = broker::start(BrokerConfig {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), self.kafka_port),
            brokers: self.brokers,
            topics: self.topic.clone(),
            version: self.kafka,
            data_dir: self.data.as_ref().map(|data| data.join("kafka")),
            ..BrokerConfig::default()
        })
        .await
        .map_err(|error| Failure::new(code::CANNOT_CREATE, format!("cannot start the Kafka brokers: {error}")))?;
        out::data(&format!("Kafka: {}\n", broker.address()));
        let stopped = tokio::signal::ctrl_c().await;
        broker.shutdown().await;
        stopped.map(|()| ExitCode::SUCCESS).map_err(|error| Failure::new(code::FAILED, error.to_string()))
    }
}
