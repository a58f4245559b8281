//! The client: one cluster, shared connections, requests that are retried until they succeed or time is up.

use std::sync::Arc;

use super::ask::Core;
use super::config::ClientConfig;
use super::error::Error;
use super::msg::{ErrorCode, TopicId};
use super::net::now;
use super::state::address::HostPort;
use super::state::cluster::Topic;

/// A connection to a cluster. Clones share everything and are cheap; connections close when the last one is dropped.
///
/// Leader changes, lost connections and passing faults of brokers are retried with growing pauses until
/// [`ClientConfig::retries_deadline`]; an error that comes out is final. Needs a tokio runtime with time and network.
#[derive(Clone, Debug)]
pub struct Client {
    pub(super) core: Arc<Core>,
}

/// The cluster as metadata describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterMetadata {
    /// The cluster's id; none when the broker does not say.
    pub cluster_id: Option<String>,
    /// The broker that takes controller requests; none while there is none.
    pub controller: Option<i32>,
    /// Live brokers by node id.
    pub brokers: Vec<BrokerMetadata>,
}

/// One broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerMetadata {
    /// Node id.
    pub node: i32,
    /// Where it says it listens; none when what it says cannot be used.
    pub address: Option<HostPort>,
    /// Its rack.
    pub rack: Option<String>,
}

/// One topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicMetadata {
    /// Its name.
    pub name: Arc<str>,
    /// Its id; none before Kafka 2.8.
    pub id: Option<TopicId>,
    /// Whether the cluster keeps it for itself, such as `__consumer_offsets`.
    pub internal: bool,
    /// Its partitions by number.
    pub partitions: Vec<PartitionMetadata>,
}

/// One partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionMetadata {
    /// The partition.
    pub partition: i32,
    /// The node that leads it; none during an election.
    pub leader: Option<i32>,
    /// The leader's epoch; none before Kafka 2.1.
    pub leader_epoch: Option<i32>,
    /// Nodes that hold it.
    pub replicas: Vec<i32>,
    /// Nodes that have all of it.
    pub in_sync: Vec<i32>,
    /// Nodes that should hold it and are down.
    pub offline: Vec<i32>,
    /// What the broker says about it, such as `LEADER_NOT_AVAILABLE`; `NONE` is well.
    pub error: ErrorCode,
}

impl Client {
    /// Connects to one of the configured addresses and learns the cluster's brokers.
    ///
    /// # Errors
    /// [`Config`](super::ErrorKind::Config) for an address that cannot be read;
    /// [`Connect`](super::ErrorKind::Connect) when no address answers within [`ClientConfig::bootstrap_deadline`], naming
    /// each one and why; [`Unsupported`](super::ErrorKind::Unsupported) when the broker is too old.
    pub async fn connect(config: ClientConfig) -> Result<Self, Error> {
        let core = Core::new(config)?;
        let mut patience = core.patience_of(core.config.bootstrap_deadline);
        // An empty list of topics asks for the brokers only.
        while let Err(attempt) = core.metadata(Some(Vec::new())).await {
            patience.after(attempt).await?;
        }
        Ok(Self { core: Arc::new(core) })
    }

    /// What the cluster says about a topic now. One that was just created may take a moment to be known, so an unknown one
    /// is asked for until [`ClientConfig::unknown_topic_deadline`]. Never creates a topic.
    ///
    /// # Errors
    /// [`UnknownTopic`](super::ErrorKind::UnknownTopic); [`Auth`](super::ErrorKind::Auth); otherwise as for every request.
    pub async fn topic(&self, topic: &str) -> Result<TopicMetadata, Error> {
        let name: Arc<str> = topic.into();
        let mut patience = self.core.patience();
        loop {
            match self.core.topic(&name, Some(now())).await {
                Ok(topic) => return Ok(describe(name, &topic)),
                Err(attempt) => patience.after(attempt).await?,
            }
        }
    }

    /// All topics the user may see, internal ones included, by name. Topics with an error are left out.
    ///
    /// # Errors
    /// As for every request.
    pub async fn topics(&self) -> Result<Vec<TopicMetadata>, Error> {
        let mut patience = self.core.patience();
        let answer = loop {
            match self.core.metadata(None).await {
                Ok(answer) => break answer,
                Err(attempt) => patience.after(attempt).await?,
            }
        };
        let cluster = self.core.cluster();
        let mut names: Vec<Arc<str>> = answer.topics.iter().map(|topic| topic.name.as_str().into()).collect();
        crate::sorting::sort(&mut names);
        let known = names.into_iter().filter_map(|name| {
            let topic = cluster.topic(&name).filter(|topic| topic.error.is_ok())?;
            Some(describe(name, topic))
        });
        Ok(known.collect())
    }

    /// The cluster's id, controller and live brokers, asked for now.
    ///
    /// # Errors
    /// As for every request.
    pub async fn cluster(&self) -> Result<ClusterMetadata, Error> {
        let mut patience = self.core.patience();
        while let Err(attempt) = self.core.metadata(Some(Vec::new())).await {
            patience.after(attempt).await?;
        }
        let cluster = self.core.cluster();
        let brokers = cluster.brokers().iter().map(|(node, broker)| BrokerMetadata {
            node: *node,
            address: broker.address.clone().ok(),
            rack: broker.rack.clone(),
        });
        Ok(ClusterMetadata {
            cluster_id: cluster.cluster_id().map(str::to_owned),
            controller: cluster.controller(),
            brokers: brokers.collect(),
        })
    }
}

fn describe(name: Arc<str>, topic: &Topic) -> TopicMetadata {
    let partitions = topic.partitions.iter().map(|(partition, p)| PartitionMetadata {
        partition: *partition,
        leader: p.leader,
        leader_epoch: p.leader_epoch,
        replicas: p.replicas.clone(),
        in_sync: p.in_sync.clone(),
        offline: p.offline.clone(),
        error: p.error,
    });
    TopicMetadata { name, id: topic.id, internal: topic.internal, partitions: partitions.collect() }
}
