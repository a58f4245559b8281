//! Reads a topic from its start to its present end and prints every record.
//!
//! `cargo run --example consume -- HOST:PORT TOPIC [read_committed]`

use std::collections::BTreeMap;
use std::io::Write;

use forebay::kafka::record::Decompressor;
use forebay::kafka::{Client, ClientConfig, Consumer, ConsumerConfig, Isolation, OffsetAt};
use forebay::limits::DECOMPRESSED_BATCH_BYTES_MAX;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(server), Some(topic)) = (arguments.next(), arguments.next()) else {
        return Err("usage: consume HOST:PORT TOPIC [read_committed]".into());
    };
    let isolation = match arguments.next().as_deref() {
        Some("read_committed") => Isolation::ReadCommitted,
        _ => Isolation::ReadUncommitted,
    };

    let client = Client::connect(ClientConfig::new([server])).await?;
    let partitions: Vec<i32> = client.topic(&topic).await?.partitions.iter().map(|p| p.partition).collect();
    let at = |at: OffsetAt| partitions.iter().map(|partition| (*partition, at)).collect::<Vec<_>>();
    let starts = client.list_offsets(&topic, &at(OffsetAt::Earliest), isolation).await?;
    let ends = client.list_offsets(&topic, &at(OffsetAt::Latest), isolation).await?;

    let start: Vec<(i32, i64)> =
        starts.iter().map(|(partition, listed)| (*partition, listed.offset.unwrap_or(0))).collect();
    // A partition is done when its position has reached the end, not when its last record has been seen: the last
    // offsets may belong to markers or to records that compaction removed.
    let mut open: BTreeMap<i32, i64> =
        ends.iter().filter_map(|(partition, listed)| Some((*partition, listed.offset?))).collect();
    open.retain(|partition, end| starts.get(partition).and_then(|listed| listed.offset) < Some(*end));

    let config = ConsumerConfig { isolation, ..ConsumerConfig::default() };
    let mut consumer = Consumer::of_topic(&client, config, &topic, &start);
    let mut decompressor = Decompressor::new(DECOMPRESSED_BATCH_BYTES_MAX);
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut count = 0_u64;
    while !open.is_empty() {
        let mut fetched = consumer.next().await?;
        let end = open.get(&fetched.partition).copied().unwrap_or(0);
        while let Some(records) = fetched.next_records(&mut decompressor)? {
            for record in &records {
                let record = record?;
                if record.offset >= end {
                    break;
                }
                count += 1;
                let text = |bytes: Option<&[u8]>| {
                    bytes.map_or_else(|| "null".to_owned(), |b| String::from_utf8_lossy(b).into_owned())
                };
                write!(
                    out,
                    "{}\t{}\t{}\t{}\t{}",
                    fetched.partition,
                    record.offset,
                    record.timestamp,
                    text(record.key),
                    text(record.value)
                )?;
                for header in record.headers.iter() {
                    let header = header?;
                    write!(out, "\t{}={}", String::from_utf8_lossy(header.key), text(header.value))?;
                }
                writeln!(out)?;
            }
        }
        if fetched.position() >= end && open.remove(&fetched.partition).is_some() {
            consumer.remove(&topic, &[fetched.partition]);
        }
    }
    out.flush()?;
    log::info!("{count} records");
    Ok(())
}
