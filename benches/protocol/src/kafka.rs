//! Of the Kafka client the records, and of its messages those that carry them.

pub mod msg;
#[path = "../../../src/kafka/record/mod.rs"]
pub mod record;
