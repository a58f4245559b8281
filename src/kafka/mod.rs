//! The Kafka client.

pub mod msg;
