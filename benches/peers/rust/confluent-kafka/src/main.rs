//! Reads a topic with Confluent's client in Rust.

use std::collections::HashMap;
use std::time::Duration;

use confluent_kafka::common::TopicPartition;
use confluent_kafka::common::serialization::BytesDeserializer;
use confluent_kafka::consumer::{Consumer, ConsumerConfig, KafkaConsumer};
use count::Task;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut task = Task::from_arguments();
    let settings: HashMap<String, String> = [
        ("bootstrap.servers", task.server.clone()),
        ("client.id", "confluent-kafka".to_owned()),
        // The only kind of group that it knows, asked for even without a group.
        ("group.protocol", "consumer".to_owned()),
        ("check.crcs", "true".to_owned()),
        ("enable.auto.commit", "false".to_owned()),
        ("auto.offset.reset", "earliest".to_owned()),
        ("fetch.max.bytes", count::FETCH_BYTES.to_string()),
        ("max.partition.fetch.bytes", count::PARTITION_BYTES.to_string()),
        ("fetch.max.wait.ms", count::WAIT_MS.to_string()),
        ("fetch.min.bytes", "1".to_owned()),
        ("max.poll.records", "20000".to_owned()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect();
    let mut consumer =
        KafkaConsumer::new(ConsumerConfig::new(&settings)?, BytesDeserializer::new(), BytesDeserializer::new())?;
    let partitions: Vec<_> =
        (0..task.partitions).map(|partition| TopicPartition::new(task.topic.as_str(), partition)).collect();
    consumer.assign(partitions.clone()).await?;
    if task.is_idle() {
        consumer.seek_to_end(&partitions).await?;
    } else {
        consumer.seek_to_beginning(&partitions).await?;
    }
    while !task.is_done() {
        let records = consumer.poll(Duration::from_millis(500)).await?;
        for record in &records {
            task.record(record.key().map(AsRef::as_ref), record.value().map(AsRef::as_ref));
        }
    }
    task.finish()
}
