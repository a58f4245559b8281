//! The Kafka client.

mod admin;
mod ask;
mod client;
mod config;
mod consumer;
mod error;
mod fetched;
pub mod msg;
mod net;
mod offsets;
mod producer;
pub mod record;
mod security;
pub mod state;

pub use admin::{DescribedGroup, GroupMember, ListedGroup, NewTopic};
pub use client::{BrokerMetadata, Client, ClusterMetadata, PartitionMetadata, TopicMetadata};
pub use config::{ClientConfig, ConsumerConfig};
pub use consumer::{Consumer, PartitionProgress};
pub use error::{Error, ErrorKind, PartitionError};
pub use fetched::Fetched;
pub use msg::{ErrorCode, Isolation, TopicId};
pub use offsets::{CommittedOffset, ListedOffset, OffsetAt, OffsetToCommit};
pub use producer::Acks;
pub use security::{PemSource, SecurityConfig, SecurityProtocol, TlsVersions};
pub use state::sasl::{Mechanism, Secret};
