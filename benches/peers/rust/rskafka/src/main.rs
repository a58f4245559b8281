//! Reads a topic with rskafka, a partition at a time.

use std::sync::Arc;
use std::time::Duration;

use count::Task;
use rskafka::client::ClientBuilder;
use rskafka::client::partition::{OffsetAt, PartitionClient, UnknownTopicHandling};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut task = Task::from_arguments();
    let client = ClientBuilder::new(vec![task.server.clone()]).client_id("rskafka").build().await?;
    let mut partitions = Vec::new();
    for partition in 0..task.partitions {
        let partition = client.partition_client(task.topic.clone(), partition, UnknownTopicHandling::Error).await?;
        partitions.push(Arc::new(partition));
    }
    if task.is_idle() {
        for partition in partitions {
            tokio::spawn(wait_at_the_end(partition));
        }
        while !task.is_done() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        task.finish();
    }
    // It fetches one partition a request.
    for partition in partitions {
        let end = partition.get_offset(OffsetAt::Latest).await?;
        let mut offset = partition.get_offset(OffsetAt::Earliest).await?;
        while offset < end {
            let (records, _) = partition.fetch_records(offset, 1..count::PARTITION_BYTES, count::WAIT_MS).await?;
            for record in &records {
                task.record(record.record.key.as_deref(), record.record.value.as_deref());
            }
            if let Some(last) = records.last() {
                offset = last.offset + 1;
            }
        }
    }
    task.finish()
}

async fn wait_at_the_end(partition: Arc<PartitionClient>) {
    let offset = partition.get_offset(OffsetAt::Latest).await.expect("an end offset");
    loop {
        partition.fetch_records(offset, 1..count::PARTITION_BYTES, count::WAIT_MS).await.expect("an empty answer");
    }
}
