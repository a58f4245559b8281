//! Reads a topic with Confluent's client in Rust.

use std::time::Duration;

use confluent_kafka::common::TopicPartition;
use confluent_kafka::common::serialization::BytesDeserializer;
use confluent_kafka::consumer::{Consumer, ConsumerConfig, KafkaConsumer};
use count::Task;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut task = Task::from_arguments();
    let mut settings = task.properties("confluent-kafka");
    // The only kind of group that it knows, asked for even without a group.
    settings.insert("group.protocol".to_owned(), "consumer".to_owned());
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
