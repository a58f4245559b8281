//! The Kafka client: reads partitions exactly, from brokers of 0.11 to 4.4, with versions agreed on per connection.
//!
//! | Start here | For |
//! |---|---|
//! | [`Client`] | one cluster: topics, offsets by time, committed offsets, groups, appending batches |
//! | [`Consumer`] | reading partitions of any topics from given positions: [`Consumer::next`] gives [`Fetched`], which gives [`record::Records`] |
//! | [`GroupConsumer`] | reading as a member of a consumer group: [`GroupConsumer::next`] gives records and what happens to the membership |
//! | [`Producer`] | writing records, exactly once and in order, also in transactions: [`ProducerRecord`] in, [`Delivery`] out |
//! | [`ClientConfig`], [`ConsumerConfig`], [`ProducerConfig`] | addresses, patience, sizes |
//! | [`Error`] | what went wrong, where, and whether to try again |
//! | [`record`], [`msg`], [`state`] | the parts: log formats, messages, sans-io machines; public for tools and tests |
//!
//! What it never does: skip ahead when a position is out of range, count a record as progress instead of a batch header, take
//! memory on a peer's word, or keep retrying beyond a deadline. A configuration that asks for what it cannot do is refused by
//! name.
//!
//! ```no_run
//! # async fn read() -> Result<(), Box<dyn std::error::Error>> {
//! use forebay::kafka::record::Decompressor;
//! use forebay::kafka::{Client, ClientConfig, Consumer, ConsumerConfig};
//!
//! let client = Client::connect(ClientConfig::new(["kafka-1:9092"])).await?;
//! let mut consumer = Consumer::new(&client, ConsumerConfig::default());
//! consumer.assign("orders", &[(0, 0), (1, 0)]);
//! let mut decompressor = Decompressor::new(64 * 1024 * 1024);
//! loop {
//!     let mut fetched = consumer.next().await?;
//!     while let Some(records) = fetched.next_records(&mut decompressor)? {
//!         for record in &records {
//!             let record = record?;
//!             let _ = (fetched.partition, record.offset, record.key, record.value);
//!         }
//!     }
//!     // What has been read is safe to commit as `fetched.position()`.
//! }
//! # }
//! ```
//!
//! Inside, data flows `net` (sockets) -> `state` (decisions) -> [`record`] (bytes) and never back; the machines of [`state`] know no
//! clock and no socket.

mod admin;
mod ask;
mod client;
mod config;
mod consumer;
mod error;
mod fetched;
mod group_consumer;
pub mod msg;
mod net;
mod offsets;
mod producer;
pub mod record;
mod security;
pub mod state;

pub use admin::{
    Acl, AclFilter, AclOperation, AclPattern, AclPermission, AclResource, ConfigChange, ConfigEntry, ConfigResource,
    ConfigSource, DescribedGroup, GroupMember, ListedGroup, LogDir, NewTopic, ScramMechanism,
};
pub use client::{BrokerMetadata, Client, ClusterMetadata, PartitionMetadata, TopicMetadata};
pub use config::{ClientConfig, ConsumerConfig};
pub use consumer::{Consumer, PartitionProgress};
pub use error::{Error, ErrorKind, PartitionError};
pub use fetched::Fetched;
pub use group_consumer::{AssignedPartition, GroupCommitter, GroupConfig, GroupConsumer, GroupEvent, OffsetReset};
pub use msg::{ErrorCode, Isolation, LogDirPartition, TopicId, VersionTable};
pub use offsets::{CommittedOffset, ListedOffset, OffsetAt, OffsetToCommit};
pub use producer::{
    Acks, ConsumerGroupMetadata, Delivery, Partitioner, Producer, ProducerConfig, ProducerRecord, Property,
    RecordHeader, RecordMetadata, partition_for_key,
};
pub use security::{PemSource, SecurityConfig, SecurityProtocol, TlsVersions};
pub use state::assign::Assignor;
pub use state::fetch::{OnLost, Position, TopicPartition};
pub use state::group::{Generation, GroupProtocol, Standing};
pub use state::sasl::{Mechanism, Secret};
