//! Reads a topic with rust-rdkafka over the librdkafka that it builds.

use std::time::Duration;

use count::Task;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut task = Task::from_arguments();
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &task.server)
        .set("client.id", "rdkafka")
        .set("group.id", "none")
        .set("check.crcs", "true")
        .set("enable.auto.commit", "false")
        .set("fetch.max.bytes", count::FETCH_BYTES.to_string())
        .set("fetch.message.max.bytes", count::PARTITION_BYTES.to_string())
        .set("fetch.wait.max.ms", count::WAIT_MS.to_string())
        .set("fetch.min.bytes", "1")
        .create()?;
    let mut partitions = TopicPartitionList::new();
    let from = if task.is_idle() { Offset::End } else { Offset::Beginning };
    for partition in 0..task.partitions {
        partitions.add_partition_offset(&task.topic, partition, from)?;
    }
    consumer.assign(&partitions)?;
    while !task.is_done() {
        if let Some(message) = consumer.poll(Duration::from_millis(500)) {
            let message = message?;
            task.record(message.key(), message.payload());
        }
    }
    task.finish()
}
