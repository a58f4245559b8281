//! Real Kafka clusters and Kafka's own command-line tools.
//!
//! How each version starts follows its own documentation; the settings beyond that only make it small. What is read from
//! a cluster here is read by Kafka's tools: forebay's client has no part in it.

mod restart;
mod settings;
mod tools;
mod version;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use crate::process::{Server, run};
use crate::scratch::Scratch;
use crate::zookeeper::{Zookeeper, log4j};
use crate::{java, port};

use settings::{add_listeners, common_settings, kraft_settings, zookeeper_settings};

pub use tools::{GroupRow, Told};
pub use version::{Tool, Version};

/// How long a cluster may take to start on a busy machine; ten seconds on an idle one.
const START_LIMIT: Duration = Duration::from_secs(180);
/// How long one of Kafka's tools may take.
const TOOL_LIMIT: Duration = Duration::from_secs(120);
/// A KRaft cluster id is 16 bytes in unpadded URL-safe base64; these say `forebay-tests-1!`.
const CLUSTER_ID: &str = "Zm9yZWJheS10ZXN0cy0xIQ";

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
    /// Its settings, and those of its JVM, to start it again.
    settings: std::path::PathBuf,
    jvm_settings: Vec<String>,
}

/// A listener beside the plaintext one.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its name, in capitals.
    pub name: &'static str,
    /// Its security protocol.
    pub protocol: &'static str,
    /// Where it listens: on 127.0.0.1, or on the address that it advertises if that is `[::1]`.
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
    /// Users and passwords for SCRAM, made by Kafka's own tools: ConfigCommand over ZooKeeper, StorageTool in KRaft mode.
    pub scram_users: &'a [(&'a str, &'a str)],
    /// Settings of the broker's JVM, such as a JAAS file.
    pub jvm_settings: &'a [String],
}

impl KafkaCluster {
    /// Starts `brokers` brokers, each with `properties` on top of what a small cluster needs (`{id}` in a value is the broker's
    /// number), and returns when every one of them is a process just started, listens itself, and knows all the others.
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
        let scratch = Scratch::new(version.jars());
        let zookeeper = version.needs_zookeeper().then(|| Zookeeper::start(version.jars(), &scratch));
        let ports: Vec<u16> = (0..brokers).map(|_| port::free()).collect();
        let controller = port::free();
        let mut started = Vec::new();
        for (id, &port) in (1..).zip(&ports) {
            let mut settings = common_settings(brokers, port, &scratch.folder(&format!("data-{id}")));
            settings.extend(match &zookeeper {
                Some(zookeeper) => zookeeper_settings(id, port, zookeeper, &version.chroot()),
                None => kraft_settings(id, port, controller),
            });
            let own = |value: &str| value.replace("{id}", &id.to_string());
            settings.extend(properties.iter().map(|(key, value)| ((*key).to_owned(), own(value))));
            add_listeners(&mut settings, access.listeners);
            let text: String = settings.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
            let file = scratch.write(&format!("broker-{id}.properties"), text);
            if zookeeper.is_none() {
                format_storage(version, &file, access.scram_users);
            }
            let jvm_settings = [&[log4j()], access.jvm_settings].concat();
            let mut command = java::server(version.jars(), 384, &jvm_settings, "kafka.Kafka");
            command.arg(&file);
            let log = scratch.path().join(format!("broker-{id}.log"));
            let server = Server::start(&format!("Kafka broker {id}"), command, &log);
            started.push(Broker { port, server, settings: file, jvm_settings });
        }
        for broker in &mut started {
            let port = broker.port;
            broker.server.wait_until("readiness", START_LIMIT, |server| {
                port::is_listening(server.id(), port) && known_brokers(port) == Some(u32::from(brokers))
            });
        }
        let cluster = Self { version, brokers: started, zookeeper, scratch };
        if cluster.zookeeper.is_some() {
            cluster.create_scram_users(access.scram_users);
        }
        cluster
    }

    /// The cluster that the tests of one test program share: three brokers of 1.0.1, one of every other version. It lives
    /// as long as somebody holds it.
    #[must_use]
    pub fn shared(version: Version) -> Arc<Self> {
        static SLOTS: [Mutex<Weak<KafkaCluster>>; Version::ALL.len()] =
            [const { Mutex::new(Weak::new()) }; Version::ALL.len()];
        let brokers = if version == Version::V1_0_1 { 3 } else { 1 };
        let slot = Version::ALL.iter().position(|known| *known == version).and_then(|index| SLOTS.get(index));
        let mut slot = slot.expect("every version has a slot").lock().unwrap_or_else(PoisonError::into_inner);
        slot.upgrade().unwrap_or_else(|| {
            let cluster = Arc::new(Self::start(version, brokers, &[]));
            *slot = Arc::downgrade(&cluster);
            cluster
        })
    }

    /// Which version it runs.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
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

    /// Makes users for SCRAM-SHA-256 and -512 by ConfigCommand.
    fn create_scram_users(&self, users: &[(&str, &str)]) {
        for (user, password) in users {
            let mut command = java::tool(self.version.tool_jars(), "kafka.admin.ConfigCommand");
            match self.zookeeper_address() {
                Some(address) if !self.version.has_user_api() => command.args(["--zookeeper", &address]),
                _ => command.args(["--bootstrap-server", &self.server()]),
            };
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

    /// A tool of this version, pointed at this cluster.
    #[must_use]
    pub fn tool(&self, tool: Tool) -> Command {
        let mut command = java::tool(self.version.tool_jars(), self.version.tool_class(tool));
        let option = self.version.address_option(tool);
        let address = match (option, self.zookeeper_address()) {
            ("--zookeeper", Some(address)) => address,
            _ => self.servers(),
        };
        command.args([option, &address]);
        command
    }

    /// ZooKeeper's `host:port/chroot`; none in KRaft mode.
    #[must_use]
    pub fn zookeeper_address(&self) -> Option<String> {
        let zookeeper = self.zookeeper.as_ref()?;
        Some(format!("{}{}", zookeeper.address(), self.version.chroot()))
    }
}

/// Prepares a broker's data folder for KRaft mode, with users for SCRAM-SHA-256 and -512.
fn format_storage(version: Version, settings: &Path, users: &[(&str, &str)]) {
    let mut format = java::tool(version.jars(), "kafka.tools.StorageTool");
    format.args(["format", "-t", CLUSTER_ID, "-c"]).arg(settings);
    for (user, password) in users {
        for (mechanism, iterations) in [("SCRAM-SHA-256", 4096), ("SCRAM-SHA-512", 8192)] {
            let user = format!("{mechanism}=[name={user},password={password},iterations={iterations}]");
            format.args(["--add-scram", &user]);
        }
    }
    let _output = run(format, b"", TOOL_LIMIT).expect_success();
}

impl Broker {
    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
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
