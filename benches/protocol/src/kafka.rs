//! Of the Kafka client the records alone.

#[path = "../../../src/kafka/record/mod.rs"]
pub mod record;
