//! Reads a topic with kacrab, pure Rust but for zstd.

use std::time::Duration;

use count::Task;
use kacrab::common::TopicPartition;
use kacrab::consumer::Consumer;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut task = Task::from_arguments();
    let mut consumer = Consumer::from_map(task.properties("kacrab")).await?;
    let partitions: Vec<_> =
        (0..task.partitions).map(|partition| TopicPartition::new(task.topic.clone(), partition)).collect();
    consumer.assign(partitions.clone())?;
    if task.is_idle() {
        consumer.seek_to_end(&partitions).await?;
    } else {
        consumer.seek_to_beginning(&partitions).await?;
    }
    while !task.is_done() {
        let records = consumer.poll(Duration::from_millis(500)).await?;
        for record in &records {
            task.record(record.key.as_deref(), record.value.as_deref());
        }
    }
    task.finish()
}
