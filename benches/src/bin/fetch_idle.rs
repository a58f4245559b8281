//! Waits at the end of every partition of a topic for so many seconds, for what an idle consumer costs.
//!
//! `fetch_idle --bootstrap-server HOST:PORT --topic TOPIC --idle SECONDS`

use std::env;
use std::error::Error;
use std::time::Duration;

use forebay::kafka::{Client, ClientConfig, Consumer, ConsumerConfig, Isolation, OffsetAt};
use tokio::time::{Instant, timeout_at};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = env::args().skip(1).collect();
    let value = |name: &str| words.iter().position(|word| word == name).and_then(|at| words.get(at + 1));
    let (Some(server), Some(topic), Some(seconds)) = (value("--bootstrap-server"), value("--topic"), value("--idle"))
    else {
        return Err("usage: fetch_idle --bootstrap-server HOST:PORT --topic TOPIC --idle SECONDS".into());
    };
    let limit = Instant::now() + Duration::from_secs(seconds.parse()?);

    let client = Client::connect(ClientConfig::new([server])).await?;
    let partitions: Vec<(i32, OffsetAt)> =
        client.topic(topic).await?.partitions.iter().map(|p| (p.partition, OffsetAt::Latest)).collect();
    let ends = client.list_offsets(topic, &partitions, Isolation::ReadUncommitted).await?;
    let start: Vec<(i32, i64)> =
        ends.iter().map(|(partition, listed)| (*partition, listed.offset.unwrap_or(0))).collect();
    let mut consumer = Consumer::of_topic(&client, ConsumerConfig::default(), topic, &start);
    while let Ok(fetched) = timeout_at(limit, consumer.next()).await {
        let _nothing = fetched?;
    }
    Ok(())
}
