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
//! # Reading partitions
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
//! # Reading as a member of a group
//!
//! Records and what happens to the membership come in one order; asking for the next event says that the last one is dealt with.
//!
//! ```no_run
//! # async fn read() -> Result<(), Box<dyn std::error::Error>> {
//! use forebay::kafka::record::Decompressor;
//! use forebay::kafka::{Client, ClientConfig, GroupConfig, GroupConsumer, GroupEvent};
//!
//! let client = Client::connect(ClientConfig::new(["kafka-1:9092"])).await?;
//! let mut config = GroupConfig::new("billing");
//! config.set_property("auto.offset.reset", "earliest")?;
//! let mut consumer = GroupConsumer::new(&client, config)?;
//! consumer.subscribe(["orders"]);
//! let mut decompressor = Decompressor::default();
//! while let Ok(event) = consumer.next().await {
//!     match event {
//!         GroupEvent::Records { mut fetched, .. } => {
//!             while let Some(records) = fetched.next_records(&mut decompressor)? {
//!                 println!("{} records of {}-{}", records.iter().count(), fetched.topic, fetched.partition);
//!             }
//!         }
//!         // The last chance to commit; the partitions are given up at the next call.
//!         GroupEvent::Revoked { .. } => consumer.commit().await?,
//!         GroupEvent::Assigned { .. } | GroupEvent::Lost { .. } => {}
//!     }
//! }
//! consumer.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Writing, over TLS with a login
//!
//! ```no_run
//! # async fn write() -> Result<(), Box<dyn std::error::Error>> {
//! use forebay::kafka::{Client, ClientConfig, Producer, ProducerConfig, ProducerRecord};
//!
//! let mut config = ClientConfig::new(["kafka-1:9093"]);
//! for (name, value) in [
//!     ("security.protocol", "SASL_SSL"),
//!     ("sasl.mechanism", "SCRAM-SHA-512"),
//!     ("sasl.username", "alice"),
//!     ("sasl.password", "..."),
//!     ("ssl.ca.location", "/etc/kafka/ca.pem"),
//! ] {
//!     config.set_property(name, value)?;
//! }
//! let client = Client::connect(config).await?;
//! let producer = Producer::new(&client, ProducerConfig::default())?;
//! let delivery = producer.send(ProducerRecord::new("orders").key("42").value("paid")).await?;
//! let written = delivery.await?;
//! println!("partition {} offset {:?}", written.partition, written.offset);
//! producer.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Coming from librdkafka
//!
//! There is no object for each role with a configuration of its own and a background thread: a [`Client`] holds the connections
//! and is cheap to clone, and consumers and producers are made from it. There are no callbacks; what librdkafka calls back
//! with is the answer of an `async` call.
//!
//! | librdkafka | here |
//! |---|---|
//! | `rd_kafka_conf_set` | `set_property` of [`ClientConfig`](ClientConfig::set_property), [`ConsumerConfig`](ConsumerConfig::set_property), [`GroupConfig`](GroupConfig::set_property), [`ProducerConfig`](ProducerConfig::set_property): `Ok(false)` for a name that is another's |
//! | `rd_kafka_consumer_poll` after `rd_kafka_assign` | [`Consumer::assign`], [`Consumer::next`]: a batch of one partition instead of one record |
//! | the same after `rd_kafka_subscribe` | [`GroupConsumer::subscribe`] or [`GroupConsumer::subscribe_pattern`] (a topic that begins with `^`), [`GroupConsumer::next`] |
//! | rebalance callback | [`GroupEvent::Assigned`], [`GroupEvent::Revoked`], [`GroupEvent::Lost`], in order with the records |
//! | `rd_kafka_commit` | [`GroupConsumer::commit`], [`GroupCommitter::commit`] with an explicit [`Generation`], [`Client::commit_offsets`] without a member |
//! | `rd_kafka_produce` and the delivery report | [`Producer::send`] waits for room instead of `_QUEUE_FULL`, and gives a [`Delivery`] to await |
//! | `rd_kafka_flush`, `rd_kafka_destroy` | [`Producer::flush`], [`Producer::close`], [`GroupConsumer::close`] |
//! | transactions | [`Producer::init_transactions`] and on; [`ErrorKind::Fenced`] and [`ErrorKind::AbortTransaction`] are its fatal and its abortable error |
//! | `rd_kafka_offsets_for_times`, watermarks | [`Client::list_offsets`] |
//! | the admin API | methods of [`Client`] |
//! | token refresh callback | a [`TokenProvider`] in [`SecurityConfig::token_provider`] |
//! | `rd_kafka_error_is_retriable` | [`Error::is_retriable`]; what comes out has been retried already |
//!
//! Properties under the names of librdkafka (and of Java, where they differ):
//!
//! | For | Properties |
//! |---|---|
//! | [`ClientConfig`] | `bootstrap.servers`, `metadata.broker.list`, `client.id`, `socket.timeout.ms` (`request.timeout.ms`), `socket.connection.setup.timeout.ms`, `retry.backoff.ms`, `retry.backoff.max.ms`, `default.api.timeout.ms` |
//! | security | `security.protocol`, `ssl.ca.location`, `ssl.ca.pem`, `ssl.certificate.location`, `ssl.certificate.pem`, `ssl.key.location`, `ssl.key.pem`, `sasl.mechanism`, `sasl.mechanisms`, `sasl.username`, `sasl.password`, `sasl.jaas.config`, `sasl.oauthbearer.method`, `sasl.oauthbearer.client.id`, `sasl.oauthbearer.client.secret`, `sasl.oauthbearer.scope`, `sasl.oauthbearer.extensions`, `sasl.oauthbearer.token.endpoint.url`, `https.ca.location`, `https.ca.pem` |
//! | [`ConsumerConfig`] | `isolation.level`, `fetch.max.bytes`, `max.partition.fetch.bytes`, `fetch.message.max.bytes`, `fetch.wait.max.ms` (`fetch.max.wait.ms`), `fetch.min.bytes`, `auto.offset.reset`, `client.rack`, `check.crcs` |
//! | [`GroupConfig`] | those, and `group.id`, `group.instance.id`, `group.protocol`, `group.remote.assignor`, `partition.assignment.strategy`, `session.timeout.ms`, `heartbeat.interval.ms`, `max.poll.interval.ms`, `topic.metadata.refresh.interval.ms` (`metadata.max.age.ms`), `enable.auto.commit`, `auto.commit.interval.ms` |
//! | [`ProducerConfig`] | `acks`, `request.required.acks`, `enable.idempotence`, `transactional.id`, `transaction.timeout.ms`, `compression.type`, `compression.codec`, `batch.size`, `linger.ms`, `queue.buffering.max.ms`, `queue.buffering.max.kbytes` (`buffer.memory`), `message.max.bytes` (`max.request.size`), `message.timeout.ms` (`delivery.timeout.ms`), `max.block.ms`, `max.in.flight`, `message.send.max.retries` (`retries`), `partitioner` |
//!
//! What differs:
//!
//! - A position that is out of range is an error of a [`Consumer`] unless `auto.offset.reset` is set; librdkafka jumps to the end.
//! - The producer is idempotent unless told otherwise, and keys go where Java's client puts them. `partitioner=consistent_random`
//!   puts them where librdkafka does by default.
//! - CRCs are always checked, host names and certificates too: `enable.ssl.certificate.verification=false` is refused.
//! - PLAIN and bearer tokens over a connection without TLS need `forebay.sasl.allow.cleartext.secrets=true`.
//! - Group members begin at the end where nothing is committed, as with librdkafka, and `enable.auto.commit` is on, but only
//!   what has been handed out *and dealt with* is committed: up to the batch before the last one that was asked for.
//! - Not there: GSSAPI (Kerberos), encrypted keys and key stores other than PEM, statistics, interceptors, share groups.
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
pub use net::login::{TokenFuture, TokenProvider};
pub use offsets::{CommittedOffset, ListedOffset, OffsetAt, OffsetToCommit};
pub use producer::{
    Acks, ConsumerGroupMetadata, Delivery, Partitioner, Producer, ProducerConfig, ProducerRecord, Property,
    RecordHeader, RecordMetadata, partition_for_key,
};
pub use security::{OidcConfig, PemSource, SecurityConfig, SecurityProtocol, TlsVersions};
pub use state::assign::Assignor;
pub use state::fetch::{OnLost, Position, TopicPartition};
pub use state::group::{Generation, GroupProtocol, Standing};
pub use state::sasl::{BearerToken, CredentialsFault, Mechanism, Secret};

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_property_of_the_documentation_is_taken() {
        let (_, text) = include_str!("mod.rs").split_once("//! | For | Properties |").unwrap();
        let rows = text.lines().skip(2).take_while(|line| line.starts_with("//! |"));
        let mut count = 0;
        for name in rows.flat_map(|row| row.split('`').skip(1).step_by(2)).filter(|name| !name.contains("Config")) {
            // A value that makes no sense is refused; a name that nobody knows is not.
            let value = "canary";
            let known = [
                ClientConfig::new([""]).set_property(name, value),
                GroupConfig::new("").set_property(name, value),
                ProducerConfig::default().set_property(name, value),
            ];
            let is_taken = |taken: Result<bool, Error>| match taken {
                Ok(taken) => taken,
                Err(error) => !error.to_string().ends_with(": not supported"),
            };
            assert!(known.into_iter().any(is_taken), "{name}");
            count += 1;
        }
        assert!(count > 60, "{count}");
    }
}
