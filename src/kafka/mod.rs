//! The Kafka client.

pub mod record;
