//! `forebay cat`: kcat's flags, offsets, formats and words (`kcat.c`).

mod consume;
mod format;
mod group;
mod options;
mod produce;
mod setting;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::failure::code;
use super::{Failure, out};
use crate::kafka::{Client, ErrorCode, ErrorKind, Isolation, OffsetAt, TopicMetadata};
use options::{Mode, Parsed};
use setting::Setting;

/// `forebay cat`, as the help lists it; what follows the word is read by [`main`].
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(super) struct CatArgs {
    /// kcat's options; -h lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTIONS")]
    arguments: Vec<OsString>,
}

impl CatArgs {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        Ok(main(self.arguments).await)
    }
}

const HELP: &str = "\
Usage: kcat <options> [file1 file2 .. | topic1 topic2 ..]]

Mode:
  -P                 Producer
  -C                 Consumer
  -G <group-id>      Member of a consumer group, which shares the topics given as operands among its members
  -L                 Metadata List
  -Q                 Query mode

General options for most modes:
  -t <topic>         Topic to consume from, produce to, or list
  -p <partition>     Partition
  -b <brokers,..>    Bootstrap broker(s) (host[:port])
  -D <delim>         Message delimiter string: a-z | \\r | \\n | \\t | \\xNN ..   Default: \\n
  -K <delim>         Key delimiter (same format as -D)
  -c <cnt>           Limit message count
  -m <seconds>       Metadata (et.al.) request timeout. Default: 5 seconds.
  -F <config-file>   Read configuration properties from file, \"property=value\" (also: KCAT_CONFIG, ~/.config/kcat.conf)
  -X prop=val        Set a configuration property, by librdkafka's or Java's name; -X dump, -X list
  -q                 Be quiet (verbosity set to 0)
  -v                 Increase verbosity
  -E                 Do not exit on non-fatal error
  -V                 Print version
  -h                 Print usage help

Producer options:
  -z snappy|gzip|lz4|zstd  Message compression. Default: none
  -p -1              Use random partitioner
  -k <str>           Use a fixed key for all messages; per-message keys of -K take precedence
  -H <header=value>  Add Message Headers (may be specified multiple times)
  -l                 Send messages from a file separated by delimiter, as with stdin
  -T                 Output sent messages to stdout, acting like tee
  -Z                 Send empty messages as NULL messages
  file1 file2..      Read messages from files, each one message

Consumer options:
  -o <offset>        beginning | end | stored | <value> | -<value> (from the end) | s@<ms> (start at) | e@<ms> (stop at)
  -e                 Exit successfully when last message received
  -f <fmt..>         Output formatting string, see below
  -J                 Output with JSON envelope
  -s key=|value=<pack-str>  Deserialize: < > b B h H i I q Q c s $
  -Z                 Print NULL values and keys as \"NULL\" instead of empty
  -u                 Unbuffered output

Query options (-Q):
  -t <t>:<p>:<ts>    Get offset for topic <t>, partition <p>, timestamp <ts>; may be given several times

Format string tokens:
  %s payload, %S its length or -1, %R its length as 32-bit big-endian, %k key, %K its length, %T timestamp in ms,
  %h headers (n=v CSV), %t topic, %p partition, %o offset, \\n \\r \\t \\xXX
 Example:
  -f 'Topic %t [%p] at offset %o: key %k: %s\\n'
";

/// Ctrl-C and SIGTERM.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    fn watch() -> Result<Self, String> {
        let on = |kind| signal(kind).map_err(|error| format!("cannot watch signals: {error}"));
        Ok(Self { interrupt: on(SignalKind::interrupt())?, terminate: on(SignalKind::terminate())? })
    }

    /// Waits for the next one.
    async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Runs kcat's command line; every error goes to standard error as kcat says it, with exit code 1.
pub(super) async fn main(arguments: Vec<OsString>) -> ExitCode {
    let mut arguments = arguments;
    // As in images whose entry point is the tool already.
    if arguments.first().is_some_and(|word| word == "kcat" || word == "kafkacat") {
        arguments.remove(0);
    }
    match run(arguments).await {
        Ok(code) => code,
        Err(why) => {
            out::talk(&format!("% ERROR: {why}"));
            ExitCode::from(code::FAILED)
        }
    }
}

fn usage(reason: &str) -> ExitCode {
    out::talk(&format!("Error: {reason}\n\n{HELP}"));
    ExitCode::from(code::FAILED)
}

async fn run(arguments: Vec<OsString>) -> Result<ExitCode, String> {
    let options = match options::parse(arguments) {
        Ok(Parsed::Run(options)) => *options,
        Ok(Parsed::Help) => {
            out::data(HELP);
            return Ok(ExitCode::SUCCESS);
        }
        Ok(Parsed::Version) => {
            out::data(&format!("kcat of forebay\nVersion {}\n", env!("CARGO_PKG_VERSION")));
            return Ok(ExitCode::SUCCESS);
        }
        Ok(Parsed::PropertyList) => {
            out::data(
                "Properties are those of Kafka's clients and of librdkafka; 'forebay help kafka consume' names some.\n",
            );
            return Ok(ExitCode::SUCCESS);
        }
        Err(why) if why == "unknown argument" => return Ok(usage(&why)),
        Err(why) => return Err(why),
    };
    let mut setting = Setting::of(options)?;
    if setting.options.dump {
        out::data(&setting.dump());
        return Ok(ExitCode::SUCCESS);
    }
    if setting.client.bootstrap.is_empty() {
        return Ok(usage("-b <broker,..> missing"));
    }
    let mode = setting.options.mode.unwrap_or_else(|| {
        use std::io::IsTerminal as _;
        let mode = if std::io::stdin().is_terminal() { Mode::Consume } else { Mode::Produce };
        let name = if mode == Mode::Consume { "Consumer" } else { "Producer" };
        setting.info(1, &format!("Auto-selecting {name} mode (use -P or -C to override)"));
        mode
    });
    match mode {
        Mode::Produce | Mode::Consume if setting.options.topic.is_none() => return Ok(usage("-t <topic> missing")),
        Mode::Query if setting.options.queries.is_empty() => {
            return Ok(usage("-t <topic>:<partition>:<offset_or_timestamp> missing"));
        }
        Mode::Group if setting.options.operands.is_empty() => {
            return Err("Failed to subscribe to 0 topics: they stand behind the options: -G GROUP TOPIC...".to_owned());
        }
        Mode::Produce | Mode::Group => {}
        _ if !setting.options.operands.is_empty() => {
            return Ok(usage("file/topic list only allowed in producer(-P)/kafkaconsumer(-G) mode"));
        }
        _ => {}
    }
    let patience = Duration::from_secs(setting.options.timeout_s.unwrap_or(5));
    setting.client.bootstrap_deadline = patience;
    if mode != Mode::Produce {
        setting.client.retries_deadline = patience.max(Duration::from_secs(5));
    }
    let client = Client::connect(setting.client.clone()).await;
    let client = client.map_err(|error| {
        format!(
            "Failed to acquire metadata: {error} (Are the brokers reachable? \
             Also try increasing the metadata timeout with -m <timeout>?)"
        )
    })?;
    match mode {
        Mode::List => list(&client, &setting).await,
        Mode::Query => query(&client, &setting).await,
        Mode::Consume => consume::run(&client, &setting).await,
        Mode::Group => group::run(&client, &setting).await,
        Mode::Produce => produce::run(&client, &setting).await,
    }
}

/// What librdkafka says of a code.
fn described(code: ErrorCode) -> String {
    match code {
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => "Broker: Unknown topic or partition".to_owned(),
        ErrorCode::LEADER_NOT_AVAILABLE => "Broker: Leader not available".to_owned(),
        ErrorCode::REPLICA_NOT_AVAILABLE => "Broker: Replica not available".to_owned(),
        ErrorCode::TOPIC_AUTHORIZATION_FAILED => "Broker: Topic authorization failed".to_owned(),
        ErrorCode::INVALID_TOPIC_EXCEPTION => "Broker: Invalid topic".to_owned(),
        code => format!("Broker: {code}"),
    }
}

async fn list(client: &Client, setting: &Setting) -> Result<ExitCode, String> {
    let failed = |error: crate::kafka::Error| format!("Failed to acquire metadata: {error}");
    let cluster = client.cluster().await.map_err(failed)?;
    let wanted = setting.options.topic.as_deref();
    let (mut topics, mut unknown) = (Vec::new(), None);
    match wanted {
        None => topics = client.topics().await.map_err(failed)?,
        Some(name) => match client.topic(name).await {
            Ok(topic) => topics.push(topic),
            Err(error) if error.kind() == ErrorKind::UnknownTopic => {
                unknown = Some((name, described(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)));
            }
            Err(error) => return Err(failed(error)),
        },
    }
    let address = |node: i32| {
        let broker = cluster.brokers.iter().find(|broker| broker.node == node)?;
        broker.address.as_ref().map(ToString::to_string)
    };
    let origin = cluster.brokers.first().map_or(-1, |broker| broker.node);
    let origin_name = format!("{}/{origin}", address(origin).unwrap_or_default());
    if setting.options.json {
        let nodes = |ids: &[i32]| ids.iter().map(|id| json!({"id": id})).collect::<Vec<_>>();
        let topic = |topic: &TopicMetadata| {
            let partitions = topic.partitions.iter().map(|partition| {
                let mut object = serde_json::Map::new();
                object.insert("partition".to_owned(), json!(partition.partition));
                if !partition.error.is_ok() {
                    object.insert("error".to_owned(), json!(described(partition.error)));
                }
                object.insert("leader".to_owned(), json!(partition.leader.unwrap_or(-1)));
                object.insert("replicas".to_owned(), json!(nodes(&partition.replicas)));
                object.insert("isrs".to_owned(), json!(nodes(&partition.in_sync)));
                Value::Object(object)
            });
            json!({"topic": &*topic.name, "partitions": partitions.collect::<Vec<_>>()})
        };
        let mut listed: Vec<Value> = topics.iter().map(topic).collect();
        listed.extend(unknown.map(|(name, error)| json!({"topic": name, "error": error, "partitions": []})));
        let brokers: Vec<Value> = (cluster.brokers.iter())
            .map(|broker| json!({"id": broker.node, "name": address(broker.node).unwrap_or_default()}))
            .collect();
        let report = json!({
            "originating_broker": {"id": origin, "name": origin_name}, "query": {"topic": wanted.unwrap_or("*")},
            "controllerid": cluster.controller.unwrap_or(-1), "brokers": brokers, "topics": listed,
        });
        out::data(&report.to_string());
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = format!("Metadata for {} (from broker {origin}: {origin_name}):\n", wanted.unwrap_or("all topics"));
    text += &format!(" {} brokers:\n", cluster.brokers.len());
    for broker in &cluster.brokers {
        let controller = if cluster.controller == Some(broker.node) { " (controller)" } else { "" };
        text += &format!("  broker {} at {}{controller}\n", broker.node, address(broker.node).unwrap_or_default());
    }
    text += &format!(" {} topics:\n", topics.len().saturating_add(usize::from(unknown.is_some())));
    for topic in &topics {
        text += &format!("  topic \"{}\" with {} partitions:\n", topic.name, topic.partitions.len());
        for partition in &topic.partitions {
            let joined = |ids: &[i32]| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            let error =
                if partition.error.is_ok() { String::new() } else { format!(", {}", described(partition.error)) };
            text += &format!(
                "    partition {}, leader {}, replicas: {}, isrs: {}{error}\n",
                partition.partition,
                partition.leader.unwrap_or(-1),
                joined(&partition.replicas),
                joined(&partition.in_sync),
            );
        }
    }
    if let Some((name, error)) = unknown {
        text += &format!("  topic \"{name}\" with 0 partitions: {error}\n");
    }
    out::data(&text);
    Ok(ExitCode::SUCCESS)
}

async fn query(client: &Client, setting: &Setting) -> Result<ExitCode, String> {
    let mut text = String::new();
    let mut object = serde_json::Map::new();
    for (topic, partition, time) in &setting.options.queries {
        let at = match time {
            -1 => OffsetAt::Latest,
            -2 => OffsetAt::Earliest,
            ms => OffsetAt::Time(*ms),
        };
        let found = client.list_offsets(topic, &[(*partition, at)], Isolation::ReadUncommitted).await;
        let found = found.map_err(|error| format!("offsets_for_times failed: {error}"))?;
        // Nothing from then on is the end, which librdkafka writes as -1.
        let offset = found.get(partition).and_then(|found| found.offset).unwrap_or(-1);
        text += &format!("{topic} [{partition}] offset {offset}\n");
        let of_topic = object.entry(topic.clone()).or_insert_with(|| json!({"topic": topic}));
        if let Some(of_topic) = of_topic.as_object_mut() {
            of_topic.insert(partition.to_string(), json!({"partition": partition, "offset": offset}));
        }
    }
    match setting.options.json {
        true => out::data(&Value::Object(object).to_string()),
        false => out::data(&text),
    }
    Ok(ExitCode::SUCCESS)
}
