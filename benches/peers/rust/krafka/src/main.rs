//! Reads a topic with krafka.

use std::time::Duration;

use count::Task;
use krafka::Kafka;
use krafka::consumer::AutoOffsetReset;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut task = Task::from_arguments();
    let kafka = Kafka::builder(task.server.as_str()).client_id("krafka").connect().await?;
    // At its defaults (500 records a poll, and what a fetch returned beyond them fetched again) it reads everything many times.
    let reset = if task.is_idle() { AutoOffsetReset::Latest } else { AutoOffsetReset::Earliest };
    let consumer = kafka
        .consumer_without_group()
        .auto_offset_reset(reset)
        .fetch_max_bytes(count::FETCH_BYTES)
        .max_partition_fetch_bytes(count::PARTITION_BYTES)
        .fetch_max_wait(Duration::from_millis(count::WAIT_MS as u64))
        .fetch_min_bytes(1)
        .max_poll_records(20_000)
        .max_buffered_records(i32::MAX)
        .build()
        .await?;
    consumer.assign(&task.topic, (0..task.partitions).collect()).await?;
    while !task.is_done() {
        for record in consumer.poll(Duration::from_millis(500)).await? {
            task.record(record.key.as_deref(), record.value.as_deref());
        }
    }
    task.finish()
}
