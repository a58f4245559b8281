//! `forebay sandbox`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use super::Failure;
use super::failure::code;
use super::out;
use crate::sandbox::broker::{self, Broker, BrokerConfig, KafkaVersion};
use crate::sandbox::maxcompute::{self, LocalMaxCompute, MaxComputeSandboxConfig};

/// The project, account and key of a sandbox somebody starts by hand: they guard nothing, and are easy to type.
const PROJECT: &str = "sandbox";
const ACCESS_ID: &str = "sandbox";
const ACCESS_KEY: &str = "sandbox";

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
    /// Port of the local MaxCompute; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    maxcompute_port: u16,
    /// How many Kafka brokers to present
    #[arg(long, value_name = "N", default_value_t = 3)]
    brokers: u32,
    /// Kafka release to look like: latest or 1.0.1
    #[arg(long, value_name = "VERSION", default_value = "latest", value_parser = parse_version)]
    kafka: KafkaVersion,
    /// Topic to make at the start, with its number of partitions; may be repeated
    #[arg(long, value_name = "NAME:PARTITIONS", value_parser = parse_topic)]
    topic: Vec<(String, i32)>,
    /// Folder to keep records, offsets and tables in; without it they are gone at the end
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Start the local MaxCompute only
    #[arg(long, conflicts_with = "kafka_only")]
    maxcompute: bool,
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
        let kafka = if self.maxcompute { None } else { Some(self.start_kafka().await?) };
        let tables = if self.kafka_only { None } else { Some(self.start_maxcompute().await?) };
        out::data(&self.told(kafka.as_ref(), tables.as_ref()));
        let stopped = until_stopped().await;
        out::talk("stopping");
        if let Some(kafka) = kafka {
            kafka.shutdown().await;
        }
        if let Some(tables) = tables {
            tables.local.shutdown().await;
        }
        stopped.map(|()| ExitCode::SUCCESS)
    }

    async fn start_kafka(&self) -> Result<Broker, Failure> {
        start_kafka(BrokerConfig {
            listen: local(self.kafka_port),
            brokers: self.brokers,
            topics: self.topic.clone(),
            version: self.kafka,
            data_dir: self.data.as_ref().map(|data| data.join("kafka")),
            ..BrokerConfig::default()
        })
        .await
        .map_err(|failure| failure.advise("--kafka-port chooses another port, and 0 a free one"))
    }

    async fn start_maxcompute(&self) -> Result<Tables, Failure> {
        let account = Account { project: PROJECT.into(), access_id: ACCESS_ID.into(), access_key: ACCESS_KEY.into() };
        let data = self.data.as_ref().map(|data| data.join("maxcompute"));
        Tables::start(local(self.maxcompute_port), account, data)
            .await
            .map_err(|failure| failure.advise("--maxcompute-port chooses another port, and 0 a free one"))
    }

    /// How to reach what runs, and what to try.
    fn told(&self, kafka: Option<&Broker>, tables: Option<&Tables>) -> String {
        let mut text = String::new();
        if let Some(kafka) = kafka {
            let all = kafka.addresses().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            text += &format!(
                "Kafka ({})\n  bootstrap server  {}\n  brokers           {all}\n\n",
                self.kafka,
                kafka.address()
            );
        }
        if let Some(tables) = tables {
            let Account { project, access_id, access_key } = &tables.account;
            text += &format!(
                "MaxCompute\n  endpoint          {}\n  tunnel endpoint   {}\n  project           {project}\n  \
                 access id         {access_id}\n  access key        {access_key}\n\n",
                tables.local.endpoint(),
                tables.local.tunnel_endpoint(),
            );
            text += &format!("datasources.toml\n{}\n", indented(&tables.datasources_toml("odps_first")));
        }
        match &self.data {
            Some(data) => text += &format!("Everything is kept in {}.\n\n", data.display()),
            None => text += "Everything is gone at the end; --data DIR keeps it.\n\n",
        }
        text += &format!("Try\n{}\nCtrl-C stops it.\n", indented(&self.commands(kafka, tables)));
        text
    }

    fn commands(&self, kafka: Option<&Broker>, tables: Option<&Tables>) -> String {
        let mut commands = String::new();
        if let Some(kafka) = kafka {
            let server = format!("--bootstrap-server {}", kafka.address());
            let factor = self.brokers.min(3);
            let topic = self.topic.first().map_or("testkafka", |(topic, _)| topic.as_str());
            if self.topic.is_empty() {
                commands += &format!(
                    "forebay kafka topics {server} --create --topic {topic} --partitions 10 --replication-factor {factor}\n"
                );
            }
            commands += &format!(
                "echo 123 | forebay kafka produce {server} --topic {topic}\n\
                 forebay kafka consume {server} --topic {topic} --from-beginning --max-messages 1\n",
            );
        }
        if tables.is_some() {
            commands += "forebay sql --datasources datasources.toml -e 'show tables'\n";
        }
        if let (Some(kafka), Some(_)) = (kafka, tables) {
            let server = kafka.address();
            commands += &format!("forebay run job.json --set Reader.server={server} --datasources datasources.toml\n");
        }
        commands
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("  {line}\n") }).collect()
}

const fn local(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// Starts embedded brokers.
///
/// # Errors
/// A port that is taken, a folder that cannot be used, a bad topic.
pub(super) async fn start_kafka(config: BrokerConfig) -> Result<Broker, Failure> {
    let failed = |error| Failure::new(code::CANNOT_CREATE, format!("cannot start the Kafka brokers: {error}"));
    broker::start(config).await.map_err(failed)
}

/// Who may use a local MaxCompute.
#[derive(Clone, Debug)]
pub(super) struct Account {
    pub(super) project: String,
    pub(super) access_id: String,
    pub(super) access_key: String,
}

/// A local MaxCompute and its account.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) local: LocalMaxCompute,
    account: Account,
}

impl Tables {
    /// Starts a local MaxCompute that verifies signatures.
    ///
    /// # Errors
    /// A port that is taken, a folder that cannot be used.
    pub(super) async fn start(
        listen: SocketAddr,
        account: Account,
        data_dir: Option<PathBuf>,
    ) -> Result<Self, Failure> {
        let config = MaxComputeSandboxConfig {
            listen,
            project: account.project.clone(),
            access_id: account.access_id.clone(),
            access_key: Some(account.access_key.clone()),
            data_dir,
            ..MaxComputeSandboxConfig::default()
        };
        let failed = |error| Failure::new(code::CANNOT_CREATE, format!("cannot start the local MaxCompute: {error}"));
        let local = maxcompute::start(config).await.map_err(failed)?;
        Ok(Self { local, account })
    }

    /// A data source file with this project under `name`.
    pub(super) fn datasources_toml(&self, name: &str) -> String {
        let Account { project, access_id, access_key } = &self.account;
        format!(
            "[{name}]\ntype = \"odps\"\nendpoint = \"{}\"\ntunnel_endpoint = \"{}\"\nproject = \"{project}\"\n\
             access_id = \"{access_id}\"\naccess_key = \"{access_key}\"\n",
            self.local.endpoint(),
            self.local.tunnel_endpoint(),
        )
    }
}

/// Waits for Ctrl-C or SIGTERM.
///
/// # Errors
/// When signals cannot be watched.
pub(super) async fn until_stopped() -> Result<(), Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |error: std::io::Error| Failure::new(code::FAILED, format!("cannot watch signals: {error}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
