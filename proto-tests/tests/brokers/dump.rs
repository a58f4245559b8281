//! The questions that both sides answer, and forebay's answers in the form of `java/BrokerDump.java`.

use std::fmt::Write as _;

use forebay::kafka::record::{Decompressor, Record};
use forebay::kafka::{Client, ClientConfig, Consumer, ConsumerConfig, Error, Isolation, OffsetAt};

/// One question about partition 0 of a topic.
#[derive(Clone, Debug)]
pub(crate) enum Question {
    /// All records from an offset on, and where that ends.
    Read(&'static str, i64, Isolation),
    /// The first record that is not older, in milliseconds.
    Time(&'static str, i64),
    /// Where the partition begins and ends.
    Range(&'static str, Isolation),
}

impl Question {
    /// As BrokerDump takes it.
    pub(crate) fn line(&self) -> String {
        match self {
            Self::Read(topic, from, isolation) => format!("read {topic} {from} {}\n", isolation_name(*isolation)),
            Self::Time(topic, ms) => format!("time {topic} {ms}\n"),
            Self::Range(topic, isolation) => format!("range {topic} {}\n", isolation_name(*isolation)),
        }
    }
}

fn isolation_name(isolation: Isolation) -> &'static str {
    match isolation {
        Isolation::ReadCommitted => "read_committed",
        Isolation::ReadUncommitted => "read_uncommitted",
    }
}

/// forebay's answer, line by line.
pub(crate) async fn answer(client: &Client, question: &Question) -> Result<Vec<String>, Error> {
    match *question {
        Question::Read(topic, from, isolation) => read(client, topic, from, isolation).await,
        Question::Time(topic, ms) => {
            let found = client.list_offsets(topic, &[(0, OffsetAt::Time(ms))], Isolation::ReadUncommitted).await?[&0];
            let none = || "none".to_owned();
            Ok(vec![found.offset.map_or_else(none, |offset| format!("found {offset} {}", found.timestamp))])
        }
        Question::Range(topic, isolation) => {
            let (first, end) = range(client, topic, isolation).await?;
            Ok(vec![format!("range {first} {end}")])
        }
    }
}

pub(crate) async fn range(client: &Client, topic: &str, isolation: Isolation) -> Result<(i64, i64), Error> {
    let at = |at| async move {
        let found = client.list_offsets(topic, &[(0, at)], isolation).await?;
        Ok::<_, Error>(found[&0].offset.unwrap())
    };
    Ok((at(OffsetAt::Earliest).await?, at(OffsetAt::Latest).await?))
}

async fn read(client: &Client, topic: &str, from: i64, isolation: Isolation) -> Result<Vec<String>, Error> {
    let (_, end) = range(client, topic, isolation).await?;
    let mut lines = Vec::new();
    // Small enough that a topic takes several fetches.
    let config = ConsumerConfig { isolation, partition_bytes_max: 4096, ..ConsumerConfig::default() };
    let mut consumer = Consumer::of_topic(client, config, topic, &[(0, from)]);
    let mut decompressor = Decompressor::new(1 << 24);
    let mut position = from;
    while position < end {
        let mut fetched = consumer.next().await?;
        while let Some(records) = fetched.next_records(&mut decompressor)? {
            for record in &records {
                lines.push(shown(&record.unwrap()));
            }
        }
        position = fetched.position();
    }
    lines.push(format!("end {position}"));
    Ok(lines)
}

fn shown(record: &Record<'_>) -> String {
    let Record { offset, timestamp, timestamp_type, .. } = record;
    let mut line = format!("record {offset} {timestamp_type} {timestamp} ");
    let (key, value) = (shown_bytes(record.key), shown_bytes(record.value));
    write!(line, "{key} {value}").unwrap();
    for header in record.headers {
        let header = header.unwrap();
        write!(line, " {}={}", shown_bytes(Some(header.key)), shown_bytes(header.value)).unwrap();
    }
    line
}

fn shown_bytes(bytes: Option<&[u8]>) -> String {
    let Some(bytes) = bytes else { return "-".to_owned() };
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("[{digits}]")
}

/// A client with the patience of a loaded machine.
pub(crate) async fn connect(server: &str) -> Client {
    Client::connect(ClientConfig::new([server])).await.unwrap()
}
