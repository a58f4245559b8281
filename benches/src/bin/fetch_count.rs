//! Reads a topic from its start to its end with the public consumer at its default settings, and says in one line of JSON how
//! many records and bytes there were and how long it took. Prepared to be measured: it does nothing else.

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use forebay::kafka::record::Decompressor;
use forebay::kafka::{Client, ClientConfig, Consumer, ConsumerConfig, Isolation, ListedOffset, OffsetAt};

const USAGE: &str = "usage: fetch_count --bootstrap-server HOST:PORT --topic TOPIC [--partitions N,N...] [--crc on]

All partitions are read unless some are named. Checksums are always compared: `--crc on` is taken, `off` is not.";

/// What was read.
struct Count {
    records: u64,
    /// Of keys and values.
    bytes: u64,
    /// From the start of the program; none when there are no records.
    first: Option<Duration>,
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for a person at a terminal")]
fn main() -> ExitCode {
    let begin = Instant::now();
    let (mut server, mut topic, mut partitions) = (String::new(), String::new(), Some(Vec::new()));
    let mut words = env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().unwrap_or_default();
        match (word.as_str(), value.as_str()) {
            ("--bootstrap-server", _) => server = value,
            ("--topic", _) => topic = value,
            ("--partitions", _) => partitions = value.split(',').map(|number| number.trim().parse().ok()).collect(),
            ("--crc", "on") => {}
            _ => partitions = None,
        }
    }
    let (false, false, Some(partitions)) = (server.is_empty(), topic.is_empty(), partitions) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    // Who only reads and counts is fastest on one thread: nothing is handed from core to core.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Into::into);
    match runtime.and_then(|runtime| runtime.block_on(count(begin, server, &topic, partitions))) {
        Ok(Count { records, bytes, first }) => {
            let first = first.map_or_else(|| "null".to_owned(), |first| format!("{:.6}", first.as_secs_f64()));
            let seconds = begin.elapsed().as_secs_f64();
            println!(
                "{{\"records\":{records},\"bytes\":{bytes},\"first_record_seconds\":{first},\"seconds\":{seconds:.6}}}"
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("fetch_count: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn count(begin: Instant, server: String, topic: &str, wanted: Vec<i32>) -> Result<Count, Box<dyn Error>> {
    let client = Client::connect(ClientConfig::new([server])).await?;
    let partitions = match wanted.as_slice() {
        [] => client.topic(topic).await?.partitions.iter().map(|partition| partition.partition).collect(),
        _ => wanted,
    };
    let at = |at: OffsetAt| partitions.iter().map(|partition| (*partition, at)).collect::<Vec<_>>();
    let starts = client.list_offsets(topic, &at(OffsetAt::Earliest), Isolation::ReadUncommitted).await?;
    let ends = client.list_offsets(topic, &at(OffsetAt::Latest), Isolation::ReadUncommitted).await?;
    let (mut start, mut open) = (Vec::new(), BTreeMap::new());
    for partition in partitions {
        let offset_in = |listed: &BTreeMap<i32, ListedOffset>| listed.get(&partition)?.offset;
        let (first, end) = (offset_in(&starts).unwrap_or(0), offset_in(&ends).unwrap_or(0));
        if first < end {
            start.push((partition, first));
            open.insert(partition, end);
        }
    }
    let mut consumer = Consumer::of_topic(&client, ConsumerConfig::default(), topic, &start);
    let mut decompressor = Decompressor::default();
    let mut count = Count { records: 0, bytes: 0, first: None };
    while !open.is_empty() {
        let mut fetched = consumer.next().await?;
        let Some(end) = open.get(&fetched.partition).copied() else { continue };
        while let Some(records) = fetched.next_records(&mut decompressor)? {
            for record in &records {
                let record = record?;
                if record.offset >= end {
                    break;
                }
                if count.records == 0 {
                    count.first = Some(begin.elapsed());
                }
                count.records += 1;
                count.bytes +=
                    [record.key, record.value].into_iter().flatten().map(|part| part.len() as u64).sum::<u64>();
            }
        }
        if fetched.position() >= end {
            open.remove(&fetched.partition);
            consumer.remove(topic, &[fetched.partition]);
        }
    }
    Ok(count)
}
