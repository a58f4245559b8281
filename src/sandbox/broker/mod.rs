//! An embedded Kafka broker, or a few of them that look like one cluster.
//!
//! For demos and tests. It speaks Kafka's protocol on TCP ports to any client: topics, record batches v2, offsets by time,
//! groups of the classic protocol, idempotent producers. It keeps records in memory, or in a data folder. It has no
//! replication (all replicas are one), no retention, no transactions, no message sets v0/v1, no authentication.
//!
//! It never shares the client's state machines: what both take from one place is the wire primitives, the record reader
//! for looking into batches by time, and the message definitions of the `kafka-protocol` crate. The proof that it is a
//! broker are foreign clients: kcat, librdkafka, Kafka's own tools.
//!
//! | File | What it is |
//! |---|---|
//! | `server.rs` | sockets, frames, the clock: the only asynchronous part besides waiting fetches and joins |
//! | `versions.rs`, `shape.rs`, `messages.rs` | which requests there are, their outline checked, decoded |
//! | `api/` | one file an API key: a request in, a response out |
//! | `cluster.rs`, `topic.rs`, `log.rs`, `batch.rs`, `producers.rs` | topics and records |
//! | `group.rs`, `offsets.rs` | consumer groups |
//! | `store.rs`, `disk.rs` | bytes in memory and in files |

mod api;
mod batch;
mod clock;
mod cluster;
mod codes;
mod disk;
mod group;
mod log;
mod messages;
mod offsets;
mod producers;
mod server;
mod shape;
mod store;
mod topic;
mod versions;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

pub use versions::KafkaVersion;

use cluster::{Cluster, NewTopic, Node, Settings};
use disk::Disk;

/// What the broker is to be.
#[derive(Clone, Debug)]
pub struct BrokerConfig {
    /// Address of the first broker, which clients are told to connect to; port 0 takes a free one.
    pub listen: SocketAddr,
    /// How many brokers to present, 1 to 100. With a port given, the others take the ports after it.
    pub brokers: u32,
    /// Topics to make at the start, name and number of partitions; those that a data folder already has are left alone.
    pub topics: Vec<(String, i32)>,
    /// Whether a topic that is asked for or written to is made.
    pub auto_create: bool,
    /// Partitions of a topic made without saying how many.
    pub default_partitions: i32,
    /// Which Kafka release to look like.
    pub version: KafkaVersion,
    /// Where to keep everything; `None` keeps it in memory until the end.
    pub data_dir: Option<PathBuf>,
    /// Without a data folder: bytes of records kept, all topics together. Producing beyond it fails with
    /// `KAFKA_STORAGE_ERROR`.
    pub memory_bytes_max: u64,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            brokers: 1,
            topics: Vec::new(),
            auto_create: true,
            default_partitions: 1,
            version: KafkaVersion::Latest,
            data_dir: None,
            memory_bytes_max: 2 * 1024 * 1024 * 1024,
        }
    }
}

/// Most brokers that one sandbox presents.
const BROKERS_MAX: u32 = 100;

/// A running cluster of embedded brokers. Dropping it stops them too.
pub struct Broker {
    server: server::Server,
    addresses: Vec<SocketAddr>,
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

/// Starts the brokers and serves them until [`Broker::shutdown`] or the drop of the value. Needs a tokio runtime.
///
/// # Errors
/// A port that is taken, a data folder that cannot be used, a topic name that Kafka does not allow; the text names it.
pub async fn start(config: BrokerConfig) -> io::Result<Broker> {
    if !(1..=BROKERS_MAX).contains(&config.brokers) {
        let why = format!("{} brokers: 1 to {BROKERS_MAX} are possible", config.brokers);
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    if config.listen.ip().is_unspecified() {
        let why = format!("{} is no address that clients could be told", config.listen.ip());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    let listeners = server::listen(config.listen, config.brokers).await?;
    let nodes = listeners.iter().map(|(node, _)| *node).collect::<Vec<Node>>();
    let addresses = nodes.iter().map(|node| node.address).collect();
    let settings = Settings {
        version: config.version,
        auto_create: config.auto_create,
        default_partitions: config.default_partitions.max(1),
        memory_bytes_max: config.memory_bytes_max,
    };
    let disk = match &config.data_dir {
        Some(folder) => Some(open_disk(folder).await?),
        None => None,
    };
    let mut cluster = Cluster::new(nodes, settings, disk)?;
    for (name, partitions) in config.topics {
        if cluster.topics.contains_key(&name) {
            continue;
        }
        let new =
            NewTopic { name, partitions, replication_factor: -1, assignments: BTreeMap::new(), ..NewTopic::default() };
        let failed = |refusal: log::Refusal| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("topic {:?}: {}", new.name, refusal.why))
        };
        cluster.create_topic(&new, false).map_err(failed)?;
    }
    Ok(Broker { server: server::Server::start(cluster, listeners), addresses })
}

/// Opens the data folder. It may stay locked a moment after its last user has gone, by a child process that was between
/// its fork and its exec; only a lock that lasts is another sandbox's.
async fn open_disk(folder: &std::path::Path) -> io::Result<Disk> {
    const TRIES: u32 = 50;
    for _ in 1..TRIES {
        match Disk::open(folder) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            opened => return opened,
        }
    }
    Disk::open(folder)
}

impl Broker {
    /// The first broker's `host:port`, the bootstrap address.
    pub fn address(&self) -> String {
        self.addresses.first().map(ToString::to_string).unwrap_or_default()
    }

    /// All brokers' addresses, in the order of their ids, which start at 1.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Makes broker `node` the leader of a partition and raises the leader epoch, as after an election.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] for a partition that does not exist and for a broker that is no replica of it.
    pub fn move_leader(&self, topic: &str, partition: i32, node: i32) -> io::Result<()> {
        let moved = self.server.shared().lock().move_leader(topic, partition, node);
        self.server.shared().records_changed();
        moved.map_err(|refusal| io::Error::new(io::ErrorKind::InvalidInput, refusal.why))
    }

    /// Stops listening, closes all connections and waits for the end of both.
    pub async fn shutdown(self) {
        self.server.stop().await;
    }
}
