//! Of the Kafka client the codecs alone.

#[path = "record.rs"]
pub mod record;
