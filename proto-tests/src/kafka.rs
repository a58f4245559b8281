//! Real Kafka clusters and Kafka's own command-line tools.
//!
//! How each version starts follows its own documentation; the settings beyond that only make it small. What is read from
//! a cluster here is read by Kafka's tools: forebay's client has no part in it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use crate::java::{self, KAFKA_1_0_1, KAFKA_4_4_0, KAFKA_TOOLS};
use crate::port;
use crate::process::{Output, Server, run};
use crate::scratch::Scratch;
use crate::zookeeper::{Zookeeper, log4j};

/// How long a cluster may take to start on a busy machine; ten seconds on an idle one.
const START_LIMIT: Duration = Duration::from_secs(180);
/// How long one of Kafka's tools may take.
const TOOL_LIMIT: Duration = Duration::from_secs(120);
/// The chroot of the reference walkthrough.
const CHROOT: &str = "/kafka-1.0.1";
/// A KRaft cluster id is 16 bytes in unpadded URL-safe base64; these say `forebay-tests-1!`.
const CLUSTER_ID: &str = "Zm9yZWJheS10ZXN0cy0xIQ";

/// A broker version the harness can start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Kafka 1.0.1 over ZooKeeper, under the chroot `/kafka-1.0.1`; its own tools of the same version.
    V1_0_1,
    /// Kafka 4.4.0 in KRaft mode; the newest published tools, 4.3.1.
    V4_4_0,
}

/// A running cluster. Dropped, it is gone, data and all.
#[derive(Debug)]
pub struct KafkaCluster {
    version: Version,
    brokers: Vec<Broker>,
    zookeeper: Option<Zookeeper>,
    // After the processes: the folder must not go before them.
    scratch: Scratch,
}

#[derive(Debug)]
struct Broker {
    port: u16,
    server: Server,
}

/// A listener beside the plaintext one.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its name, in capitals.
    pub name: &'static str,
    /// Its security protocol.
    pub protocol: &'static str,
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    /// The host that it advertises.
    pub advertised_host: &'static str,
    /// The port that it advertises.
    pub advertised_port: u16,
}

/// Ways into a cluster beside the plaintext listener.
#[derive(Clone, Copy, Debug, Default)]
pub struct Access<'a> {
    /// The listeners.
    pub listeners: &'a [Listener],
    /// Users and passwords for SCRAM, made by Kafka's own tools: ConfigCommand of 1.0.1, StorageTool of 4.4.0.
    pub scram_users: &'a [(&'a str, &'a str)],
    /// Settings of the broker's JVM, such as a JAAS file.
    pub jvm_settings: &'a [String],
}

/// One record as Kafka's console consumer printed it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Told {
    /// Partition.
    pub partition: i32,
    /// Offset within it.
    pub offset: i64,
    /// Milliseconds since the epoch.
    pub timestamp: i64,
    /// Key; `None` where the tool prints `null`.
    pub key: Option<Vec<u8>>,
    /// Value; `None` where the tool prints `null`.
    pub value: Option<Vec<u8>>,
}

/// One row of Kafka's group description.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupRow {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// The committed offset; `None` where the tool prints `-`.
    pub committed: Option<i64>,
    /// The log's end.
    pub end: Option<i64>,
}

impl KafkaCluster {
    /// Starts `brokers` brokers, each with `properties` on top of what a small cluster needs, and returns when every one
    /// of them is a process just started, listens itself, and knows all the others.
    #[must_use]
    pub fn start(version: Version, brokers: u16, properties: &[(&str, &str)]) -> Self {
        Self::launch(version, brokers, properties, &Access::default())
    }

    /// One broker with more listeners than the plaintext one that this harness and Kafka's tools use.
    #[must_use]
    pub fn start_with_access(version: Version, properties: &[(&str, &str)], access: &Access<'_>) -> Self {
        Self::launch(version, 1, properties, access)
    }

    fn launch(version: Version, brokers: u16, properties: &[(&str, &str)], access: &Access<'_>) -> Self {
        let scratch = Scratch::new(match version {
            Version::V1_0_1 => "kafka-1.0.1",
            Version::V4_4_0 => "kafka-4.4.0",
        });
        let zookeeper = (version == Version::V1_0_1).then(|| Zookeeper::start(&scratch));
        let ports: Vec<u16> = (0..brokers).map(|_| port::free()).collect();
        let controller = port::free();
        let mut started = Vec::new();
        for (id, &port) in (1..).zip(&ports) {
            let mut settings = common_settings(brokers, port, &scratch.folder(&format!("data-{id}")));
            match (&zookeeper, version) {
                (Some(zookeeper), _) => settings.extend(zookeeper_settings(id, port, zookeeper)),
                (None, _) => settings.extend(kraft_settings(id, port, controller)),
            }
            settings.extend(properties.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
            add_listeners(&mut settings, access.listeners);
            let text: String = settings.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
            let file = scratch.write(&format!("broker-{id}.properties"), text);
            if version == Version::V4_4_0 {
                let mut format = java::tool(KAFKA_4_4_0, "kafka.tools.StorageTool");
                format.args(["format", "-t", CLUSTER_ID, "-c"]).arg(&file);
                for (user, password) in access.scram_users {
                    for (mechanism, iterations) in [("SCRAM-SHA-256", 4096), ("SCRAM-SHA-512", 8192)] {
                        let user = format!("{mechanism}=[name={user},password={password},iterations={iterations}]");
                        format.args(["--add-scram", &user]);
                    }
                }
                let _output = run(format, b"", TOOL_LIMIT).expect_success();
            }
            let mut command = match version {
                Version::V1_0_1 => {
                    java::server(KAFKA_1_0_1, 384, &[&[log4j()], access.jvm_settings].concat(), "kafka.Kafka")
                }
                Version::V4_4_0 => java::server(KAFKA_4_4_0, 384, access.jvm_settings, "kafka.Kafka"),
            };
            command.arg(file);
            let log = scratch.path().join(format!("broker-{id}.log"));
            let server = Server::start(&format!("Kafka broker {id}"), command, &log);
            started.push(Broker { port, server });
        }
        for broker in &mut started {
            let port = broker.port;
            broker.server.wait_until("readiness", START_LIMIT, |server| {
                port::is_listening(server.id(), port) && known_brokers(port) == Some(u32::from(brokers))
            });
        }
        if let Some(zookeeper) = &zookeeper {
            Self::create_scram_users(zookeeper, access.scram_users);
        }
        Self { version, brokers: started, zookeeper, scratch }
    }

    /// The cluster that the tests of one test program share: three brokers of 1.0.1, one of 4.4.0. It lives as long as
    /// somebody holds it.
    #[must_use]
    pub fn shared(version: Version) -> Arc<Self> {
        static OLD: Mutex<Weak<KafkaCluster>> = Mutex::new(Weak::new());
        static NEW: Mutex<Weak<KafkaCluster>> = Mutex::new(Weak::new());
        let (slot, brokers) = match version {
            Version::V1_0_1 => (&OLD, 3),
            Version::V4_4_0 => (&NEW, 1),
        };
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        slot.upgrade().unwrap_or_else(|| {
            let cluster = Arc::new(Self::start(version, brokers, &[]));
            *slot = Arc::downgrade(&cluster);
            cluster
        })
    }

    /// The first broker's `host:port`.
    #[must_use]
    pub fn server(&self) -> String {
        self.brokers.first().map(Broker::address).unwrap_or_default()
    }

    /// Every broker's `host:port`, with commas.
    #[must_use]
    pub fn servers(&self) -> String {
        self.brokers.iter().map(Broker::address).collect::<Vec<_>>().join(",")
    }

    /// Kafka's TopicCommand with `arguments`, pointed at this cluster.
    #[must_use]
    pub fn topics(&self, arguments: &[&str]) -> Output {
        let mut command = self.tool("kafka.admin.TopicCommand", "org.apache.kafka.tools.TopicCommand");
        match &self.zookeeper {
            Some(zookeeper) => command.args(["--zookeeper", &format!("{}{CHROOT}", zookeeper.address())]),
            None => command.args(["--bootstrap-server", &self.server()]),
        };
        command.args(arguments);
        run(command, b"", TOOL_LIMIT)
    }

    /// Creates a topic with TopicCommand.
    pub fn create_topic(&self, topic: &str, partitions: u16, replication_factor: u16) {
        self.create_topic_with(topic, partitions, replication_factor, &[]);
    }

    /// The same with further arguments, such as `--config`.
    pub fn create_topic_with(&self, topic: &str, partitions: u16, replication_factor: u16, arguments: &[&str]) {
        let (partitions, replication_factor) = (partitions.to_string(), replication_factor.to_string());
        let words = ["--create", "--topic", topic, "--partitions", &partitions];
        let words = [&words[..], &["--replication-factor", &replication_factor], arguments].concat();
        let _output = self.topics(&words).expect_success();
    }

    /// Deletes a topic with TopicCommand.
    pub fn delete_topic(&self, topic: &str) {
        let _output = self.topics(&["--delete", "--topic", topic]).expect_success();
    }

    /// Deletes the records of a partition below `offset` with DeleteRecordsCommand.
    pub fn delete_records(&self, topic: &str, partition: i32, offset: i64) {
        let scratch = Scratch::new("delete-records");
        let wanted = format!(
            "{{\"version\":1,\"partitions\":[{{\"topic\":\"{topic}\",\"partition\":{partition},\"offset\":{offset}}}]}}"
        );
        let file = scratch.write("offsets.json", wanted);
        let mut command = self.tool("kafka.admin.DeleteRecordsCommand", "org.apache.kafka.tools.DeleteRecordsCommand");
        command.args(["--bootstrap-server", &self.servers(), "--offset-json-file"]).arg(file);
        let _output = run(command, b"", TOOL_LIMIT).expect_success();
        let starts = self.offsets(topic, -2);
        assert!(starts.contains(&(partition, offset)), "{topic} begins at {starts:?}");
    }

    /// Types `lines` into Kafka's ConsoleProducer, with further `arguments`.
    pub fn produce(&self, topic: &str, lines: &str, arguments: &[&str]) {
        let mut command = self.tool("kafka.tools.ConsoleProducer", "org.apache.kafka.tools.ConsoleProducer");
        match self.version {
            Version::V1_0_1 => command.arg("--broker-list"),
            Version::V4_4_0 => command.arg("--bootstrap-server"),
        };
        command.args([&self.servers(), "--topic", topic]).args(arguments);
        let output = run(command, lines.as_bytes(), TOOL_LIMIT).expect_success();
        // This tool says on standard error what it could not send, and exits with 0 all the same.
        assert!(!output.stderr_text().contains("ERROR"), "{}", output.describe());
    }

    /// All records of a topic as Kafka's ConsoleConsumer prints them, sorted by partition and offset.
    ///
    /// The tool of 1.0.1 prints no offsets, so it runs once for each partition: over a log whose ends, by GetOffsetShell,
    /// are as far apart as there are records, the n-th line is the record at the n-th offset.
    ///
    /// Records must not hold line breaks or tabs, nor be the text `null`.
    #[must_use]
    pub fn consume(&self, topic: &str) -> Vec<Told> {
        let (first, last) = (self.offsets(topic, -2), self.offsets(topic, -1));
        let mut told = Vec::new();
        match self.version {
            Version::V4_4_0 => {
                let count: i64 = first.iter().zip(&last).map(|((_, first), (_, last))| last - first).sum();
                let words =
                    ["--from-beginning", "--formatter-property", "print.partition=true", "--formatter-property"];
                let text = self.console_consumer(topic, count, &[&words[..], &["print.offset=true"]].concat());
                told.extend(text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(new_line));
            }
            Version::V1_0_1 => {
                for (&(partition, first), &(_, last)) in
                    first.iter().zip(&last).filter(|(first, last)| first.1 < last.1)
                {
                    let words = ["--partition", &partition.to_string(), "--offset", "earliest"];
                    let text = self.console_consumer(topic, last - first, &words);
                    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
                    assert_eq!(
                        i64::try_from(lines.len()),
                        Ok(last - first),
                        "partition {partition} of {topic} has gaps"
                    );
                    told.extend((first..).zip(lines).map(|(offset, line)| old_line(partition, offset, line)));
                }
            }
        }
        told.sort();
        told
    }

    fn console_consumer(&self, topic: &str, count: i64, arguments: &[&str]) -> Vec<u8> {
        let main = "org.apache.kafka.tools.consumer.ConsoleConsumer";
        let mut command = self.tool("kafka.tools.ConsoleConsumer", main);
        let property = match self.version {
            Version::V1_0_1 => "--property",
            Version::V4_4_0 => "--formatter-property",
        };
        command.args(["--bootstrap-server", &self.servers(), "--topic", topic]);
        command.args([property, "print.timestamp=true", property, "print.key=true"]);
        command.args(["--max-messages", &count.to_string(), "--timeout-ms", "60000"]).args(arguments);
        run(command, b"", TOOL_LIMIT).expect_success().stdout
    }

    /// What GetOffsetShell says of every partition at `time` (-1: the end, -2: the start), sorted by partition.
    #[must_use]
    pub fn offsets(&self, topic: &str, time: i64) -> Vec<(i32, i64)> {
        let mut command = self.tool("kafka.tools.GetOffsetShell", "org.apache.kafka.tools.GetOffsetShell");
        match self.version {
            Version::V1_0_1 => command.arg("--broker-list"),
            Version::V4_4_0 => command.arg("--bootstrap-server"),
        };
        command.args([&self.servers(), "--topic", topic, "--time", &time.to_string()]);
        let output = run(command, b"", TOOL_LIMIT).expect_success();
        let mut offsets: Vec<(i32, i64)> = (output.stdout_text().lines())
            .map(|line| {
                let mut fields = line.rsplit(':');
                let (offset, partition) = (fields.next(), fields.next());
                let number = |field: Option<&str>| field.and_then(|field| field.parse::<i64>().ok());
                let (Some(offset), Some(partition)) = (number(offset), number(partition)) else {
                    panic!("not an offset line: {line:?}\n{}", output.describe())
                };
                (i32::try_from(partition).expect("a partition number"), offset)
            })
            .collect();
        offsets.sort_unstable();
        offsets
    }

    /// ConsumerGroupCommand's description of a group, sorted. A group that the cluster does not know has no rows.
    #[must_use]
    pub fn group(&self, group: &str) -> Vec<GroupRow> {
        let main = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
        let mut command = self.tool("kafka.admin.ConsumerGroupCommand", main);
        command.args(["--bootstrap-server", &self.servers(), "--describe", "--group", group]);
        let output = run(command, b"", TOOL_LIMIT);
        let said = format!("{}{}", output.stdout_text(), output.stderr_text());
        if said.contains("does not exist") || said.contains("GroupIdNotFoundException") || said.contains("not found") {
            return Vec::new();
        }
        let output = output.expect_success();
        let mut rows = group_rows(&output.stdout_text()).unwrap_or_else(|| panic!("no table in {}", output.describe()));
        rows.sort();
        rows
    }

    /// Makes users for SCRAM-SHA-256 and -512 by 1.0.1's ConfigCommand.
    fn create_scram_users(zookeeper: &Zookeeper, users: &[(&str, &str)]) {
        for (user, password) in users {
            let mut command = java::tool(KAFKA_1_0_1, "kafka.admin.ConfigCommand");
            command.args(["--zookeeper", &format!("{}{CHROOT}", zookeeper.address())]);
            let config = format!(
                "SCRAM-SHA-256=[iterations=4096,password={password}],SCRAM-SHA-512=[iterations=8192,password={password}]"
            );
            command.args(["--alter", "--add-config", &config, "--entity-type", "users", "--entity-name", user]);
            let _output = run(command, b"", TOOL_LIMIT).expect_success();
        }
    }

    /// Kills one broker (from 0) at once.
    pub fn kill_broker(&mut self, index: usize) {
        if let Some(broker) = self.brokers.get_mut(index) {
            broker.server.kill();
        }
    }

    /// The folder with logs, settings and data.
    #[must_use]
    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    fn tool(&self, old: &str, new: &str) -> Command {
        match self.version {
            Version::V1_0_1 => java::tool(KAFKA_1_0_1, old),
            Version::V4_4_0 => java::tool(KAFKA_TOOLS, new),
        }
    }
}

impl Broker {
    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

type Settings = Vec<(String, String)>;

fn settings<const N: usize>(pairs: [(&str, String); N]) -> Settings {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// What brokers of every version are told: where the data lies, and to be small.
fn common_settings(brokers: u16, port: u16, data: &std::path::Path) -> Settings {
    let replicas = brokers.min(3).to_string();
    settings([
        ("advertised.listeners", format!("PLAINTEXT://127.0.0.1:{port}")),
        ("log.dirs", data.display().to_string()),
        ("auto.create.topics.enable", "false".to_owned()),
        ("offsets.topic.replication.factor", replicas.clone()),
        ("offsets.topic.num.partitions", "5".to_owned()),
        ("transaction.state.log.replication.factor", replicas),
        ("transaction.state.log.num.partitions", "5".to_owned()),
        ("transaction.state.log.min.isr", "1".to_owned()),
        ("group.initial.rebalance.delay.ms", "0".to_owned()),
        ("num.network.threads", "2".to_owned()),
        ("num.io.threads", "4".to_owned()),
        ("log.cleaner.dedupe.buffer.size", "8388608".to_owned()),
    ])
}

fn zookeeper_settings(id: i32, port: u16, zookeeper: &Zookeeper) -> Settings {
    settings([
        ("broker.id", id.to_string()),
        ("listeners", format!("PLAINTEXT://127.0.0.1:{port}")),
        ("zookeeper.connect", format!("{}{CHROOT}", zookeeper.address())),
        // A machine that builds at the same time must not lose brokers for it.
        ("zookeeper.connection.timeout.ms", "60000".to_owned()),
        ("zookeeper.session.timeout.ms", "60000".to_owned()),
    ])
}

/// The first node is the controller too; the others are brokers only.
fn kraft_settings(id: i32, port: u16, controller: u16) -> Settings {
    let (roles, listeners) = match id {
        1 => ("broker,controller", format!("PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}")),
        _ => ("broker", format!("PLAINTEXT://127.0.0.1:{port}")),
    };
    settings([
        ("node.id", id.to_string()),
        ("process.roles", roles.to_owned()),
        ("listeners", listeners),
        ("controller.quorum.voters", format!("1@127.0.0.1:{controller}")),
        ("controller.listener.names", "CONTROLLER".to_owned()),
        ("listener.security.protocol.map", "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT".to_owned()),
    ])
}

/// Adds listeners to the three settings that know of them.
fn add_listeners(settings: &mut Settings, listeners: &[Listener]) {
    if listeners.is_empty() {
        return;
    }
    let mut add = |key: &str, first: &str, texts: Vec<String>| {
        let known = settings.iter().rev().find(|(known, _)| known == key);
        let known = known.map_or_else(|| first.to_owned(), |(_, value)| value.clone());
        settings.push((key.to_owned(), format!("{known},{}", texts.join(","))));
    };
    let each = |text: fn(&Listener) -> String| listeners.iter().map(text).collect::<Vec<_>>();
    add("listeners", "", each(|l| format!("{}://127.0.0.1:{}", l.name, l.port)));
    let advertised = each(|l| format!("{}://{}:{}", l.name, l.advertised_host, l.advertised_port));
    add("advertised.listeners", "", advertised);
    let protocols = each(|l| format!("{}:{}", l.name, l.protocol));
    add("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT", protocols);
}

/// How many brokers the one on `port` knows, once there is a controller; `None` while it does not answer.
///
/// One Metadata request of version 1, spelled out here so that the harness does not depend on the client under test:
/// header (api key 3, version 1, correlation id, client id), body (no topics); the answer begins with correlation id and
/// brokers (node id, host, port, rack), then the controller's id.
fn known_brokers(port: u16) -> Option<u32> {
    const CORRELATION: [u8; 4] = *b"fore";
    let mut request = vec![0, 3, 0, 1];
    request.extend(CORRELATION);
    request.extend([0, 1, b'h', 0, 0, 0, 0]);
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(&u32::try_from(request.len()).ok()?.to_be_bytes()).ok()?;
    stream.write_all(&request).ok()?;
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut answer = vec![0; usize::try_from(u32::from_be_bytes(length)).ok()?.min(1 << 20)];
    stream.read_exact(&mut answer).ok()?;

    let mut rest = answer.strip_prefix(&CORRELATION)?;
    let brokers = u32::from_be_bytes(*take(&mut rest)?);
    for _ in 0..brokers {
        let _node_id: &[u8; 4] = take(&mut rest)?;
        skip_string(&mut rest)?;
        let _port: &[u8; 4] = take(&mut rest)?;
        skip_string(&mut rest)?;
    }
    let controller = i32::from_be_bytes(*take(&mut rest)?);
    (controller >= 0).then_some(brokers)
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (head, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(head)
}

/// Steps over a string with a 16-bit length, -1 for null.
fn skip_string(rest: &mut &[u8]) -> Option<()> {
    let length = i16::from_be_bytes(*take(rest)?);
    *rest = rest.get(usize::try_from(length).unwrap_or(0)..)?;
    Some(())
}

/// `CreateTime:1500000000000<tab>key<tab>value`.
fn old_line(partition: i32, offset: i64, line: &[u8]) -> Told {
    let fields: Vec<&[u8]> = line.splitn(3, |byte| *byte == b'\t').collect();
    let [time, key, value] = fields[..] else { panic!("not a record line: {:?}", String::from_utf8_lossy(line)) };
    Told { partition, offset, timestamp: after_colon(time), key: unless_null(key), value: unless_null(value) }
}

/// `CreateTime:1500000000000<tab>Partition:0<tab>Offset:0<tab>key<tab>value`.
fn new_line(line: &[u8]) -> Told {
    let fields: Vec<&[u8]> = line.splitn(5, |byte| *byte == b'\t').collect();
    let [time, partition, offset, key, value] = fields[..] else {
        panic!("not a record line: {:?}", String::from_utf8_lossy(line))
    };
    Told {
        partition: i32::try_from(after_colon(partition)).expect("a partition number"),
        offset: after_colon(offset),
        timestamp: after_colon(time),
        key: unless_null(key),
        value: unless_null(value),
    }
}

fn after_colon(field: &[u8]) -> i64 {
    let text = String::from_utf8_lossy(field);
    let number = text.split_once(':').and_then(|(_, number)| number.parse().ok());
    number.unwrap_or_else(|| panic!("no number in {text:?}"))
}

fn unless_null(field: &[u8]) -> Option<Vec<u8>> {
    (field != b"null").then(|| field.to_owned())
}

/// The rows under the header line; `None` without one.
fn group_rows(text: &str) -> Option<Vec<GroupRow>> {
    let mut lines = text.lines().skip_while(|line| !line.contains("CURRENT-OFFSET"));
    let header: Vec<&str> = lines.next()?.split_whitespace().collect();
    let column = |name| header.iter().position(|word| *word == name);
    let (topic, partition) = (column("TOPIC")?, column("PARTITION")?);
    let (committed, end) = (column("CURRENT-OFFSET")?, column("LOG-END-OFFSET")?);
    let rows = lines.filter(|line| !line.trim().is_empty()).map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let word = |index: usize| words.get(index).copied().unwrap_or_default();
        GroupRow {
            topic: word(topic).to_owned(),
            partition: word(partition).parse().unwrap_or_else(|_| panic!("no partition in {line:?}")),
            committed: word(committed).parse().ok(),
            end: word(end).parse().ok(),
        }
    });
    Some(rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_tables_of_both_versions_are_read() {
        let old = "\nTOPIC                          PARTITION  CURRENT-OFFSET  LOG-END-OFFSET  LAG        CONSUMER-ID\n\
                   testkafka                      6          0               0               0          -\n\
                   testkafka                      1          1               2               1          -\n";
        let new = "\nGROUP  TOPIC      PARTITION  CURRENT-OFFSET  LOG-END-OFFSET  LAG  CONSUMER-ID  HOST  CLIENT-ID\n\
                   g      testkafka  1          -               2               -    -            -     -\n";
        let row = |partition, committed, end| GroupRow {
            topic: "testkafka".to_owned(),
            partition,
            committed,
            end: Some(end),
        };
        assert_eq!(group_rows(old), Some(vec![row(6, Some(0), 0), row(1, Some(1), 2)]));
        assert_eq!(group_rows(new), Some(vec![row(1, None, 2)]));
        assert_eq!(group_rows("Error: nothing here"), None);
    }

    #[test]
    fn record_lines_of_both_tools_are_read() {
        let told =
            Told { partition: 3, offset: 7, timestamp: 1_500_000_000_000, key: None, value: Some(b"a\tb".to_vec()) };
        assert_eq!(old_line(3, 7, b"CreateTime:1500000000000\tnull\ta\tb"), told);
        assert_eq!(new_line(b"CreateTime:1500000000000\tPartition:3\tOffset:7\tnull\ta\tb"), told);
    }
}
