//! `forebay kafka produce`: what kafka-console-producer.sh does.

use std::collections::VecDeque;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use bytes::Bytes;

use super::compat::Release;
use super::{Cluster, ClusterArgs, failure, lines, properties};
use crate::cli::failure::code;
use crate::cli::{Failure, out};
use crate::kafka::record::Codec;
use crate::kafka::{Delivery, Producer, ProducerConfig, ProducerRecord, RecordHeader};

/// Records whose outcome has not been looked at.
const WAITING_MAX: usize = 10_000;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forebay kafka produce --bootstrap-server h:9092 --topic t < lines.txt
  forebay kafka produce --bootstrap-server h:9092 --topic t --property parse.key=true --property key.separator=:
  forebay kafka produce --bootstrap-server h:9092 --topic t --producer-property linger.ms=50 --compression-codec zstd")]
pub(super) struct ProduceArgs {
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
    /// The topic
    #[arg(long, value_name = "NAME")]
    topic: String,
    /// Write to this partition only; without it, by key, and what has no key to all in turn
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// Compression: none, gzip, snappy, lz4 or zstd; gzip when none is named
    #[arg(long, value_name = "CODEC", num_args = 0..=1, default_missing_value = "gzip", value_parser = parse_codec)]
    compression_codec: Option<Codec>,
    /// How lines are read: parse.key, key.separator, parse.headers, headers.delimiter, headers.separator, headers.key.separator,
    /// null.marker, ignore.error; may be repeated
    #[arg(long, alias = "reader-property", value_name = "NAME=VALUE", value_parser = properties::pair)]
    property: Vec<(String, String)>,
    /// Who must have a record: all, 1 or 0
    #[arg(long, value_name = "ACKS", allow_negative_numbers = true)]
    request_required_acks: Option<String>,
    /// Wait for each record before the next is sent
    #[arg(long)]
    sync: bool,
    /// Properties of how lines are read from a file; --property goes over them
    #[arg(long, value_name = "FILE")]
    reader_config: Option<PathBuf>,
    #[command(flatten)]
    tuning: Tuning,
}

/// The console producer's own options for what has a property, too.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "As properties of the producer")]
struct Tuning {
    /// batch.size
    #[arg(long, value_name = "BYTES", alias = "max-partition-memory-bytes")]
    batch_size: Option<String>,
    /// buffer.memory
    #[arg(long, value_name = "BYTES")]
    max_memory_bytes: Option<String>,
    /// max.block.ms
    #[arg(long, value_name = "MS")]
    max_block_ms: Option<String>,
    /// retries
    #[arg(long, value_name = "N")]
    message_send_max_retries: Option<String>,
    /// metadata.max.age.ms
    #[arg(long, value_name = "MS")]
    metadata_expiry_ms: Option<String>,
    /// request.timeout.ms
    #[arg(long, value_name = "MS")]
    request_timeout_ms: Option<String>,
    /// retry.backoff.ms
    #[arg(long, value_name = "MS")]
    retry_backoff_ms: Option<String>,
    /// Kafka's class of lines: LineMessageReader
    #[arg(long, value_name = "CLASS", value_parser = parse_reader)]
    line_reader: Option<String>,
    /// No effect: the system decides
    #[arg(long, hide = true)]
    socket_buffer_size: Option<u32>,
    /// No effect: of the producer that went with Kafka 2.0
    #[arg(long, hide = true)]
    old_producer: bool,
    /// No effect: likewise
    #[arg(long, hide = true)]
    queue_size: Option<u32>,
    /// No effect: likewise
    #[arg(long, hide = true)]
    queue_enqueuetimeout_ms: Option<u32>,
    /// No effect: likewise, lines are bytes
    #[arg(long, hide = true)]
    key_serializer: Option<String>,
    /// No effect: likewise
    #[arg(long, hide = true)]
    value_serializer: Option<String>,
}

impl Tuning {
    fn properties(&self) -> impl Iterator<Item = (String, String)> {
        let pairs = [
            ("batch.size", &self.batch_size),
            ("buffer.memory", &self.max_memory_bytes),
            ("max.block.ms", &self.max_block_ms),
            ("retries", &self.message_send_max_retries),
            ("metadata.max.age.ms", &self.metadata_expiry_ms),
            ("request.timeout.ms", &self.request_timeout_ms),
            ("retry.backoff.ms", &self.retry_backoff_ms),
        ];
        pairs.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?)))
    }
}

fn parse_reader(class: &str) -> Result<String, String> {
    match class.rsplit(['.', '$']).next() {
        Some("LineMessageReader") => Ok(class.to_owned()),
        _ => Err("only LineMessageReader; a class of your own needs Kafka's own tool".to_owned()),
    }
}

fn parse_codec(name: &str) -> Result<Codec, String> {
    Codec::ALL
        .into_iter()
        .find(|codec| codec.name() == name)
        .ok_or_else(|| "one of none, gzip, snappy, lz4, zstd".to_owned())
}

impl ProduceArgs {
    pub(super) async fn run(mut self) -> Result<ExitCode, Failure> {
        if let Some(file) = &self.reader_config {
            self.property.splice(0..0, properties::of_file(file)?);
        }
        self.cluster.consumer_property.extend(self.tuning.properties());
        if self.cluster.as_script
            && let Some(ms) = self.cluster.timeout.take()
        {
            // Of this script alone it is how long records are gathered.
            self.cluster.consumer_property.push(("linger.ms".to_owned(), ms.to_string()));
        }
        let Cluster { client, release, .. } = self.cluster.connect().await?;
        let topic = client.topic(&self.topic).await.map_err(|error| failure(&error))?;
        if let Some(one) = self.partition
            && !topic.partitions.iter().any(|partition| partition.partition == one)
        {
            let last = topic.partitions.len().saturating_sub(1);
            return Err(Failure::new(
                code::USAGE,
                format!("topic {:?} has no partition {one}, but 0 to {last}", self.topic),
            ));
        }
        let producer = Producer::new(&client, self.config(release)?).map_err(|error| failure(&error))?;
        let format = LineFormat::new(&self.property);
        let mut turn = Turn::over(topic.partitions.iter().map(|partition| partition.partition).collect());
        let prompt = || {
            if std::io::stdin().is_terminal() {
                out::data(">");
            }
        };
        let mut input = lines::read(std::io::BufReader::new(std::io::stdin()));
        let mut waiting: VecDeque<Delivery> = VecDeque::new();
        let mut number = 0_u64;
        prompt();
        while let Some(line) = input.recv().await {
            number = number.saturating_add(1);
            let failed = |why: String| Failure::new(code::FAILED, why);
            let mut record = format.part(&self.topic, number, line.map_err(failed)?).map_err(failed)?;
            record.partition = self.partition;
            if record.partition.is_none() && record.key.is_none() {
                record.partition = turn.take();
            }
            if self.sync {
                producer.send_and_wait(record).await.map_err(|error| failure(&error))?;
            } else {
                waiting.push_back(producer.send(record).await.map_err(|error| failure(&error))?);
            }
            while waiting.len() > WAITING_MAX {
                if let Some(delivery) = waiting.pop_front() {
                    delivery.await.map_err(|error| failure(&error))?;
                }
            }
            prompt();
        }
        producer.flush().await;
        for delivery in waiting {
            delivery.await.map_err(|error| failure(&error))?;
        }
        producer.close().await.map_err(|error| failure(&error))?;
        Ok(ExitCode::SUCCESS)
    }

    /// What the options and the properties of the command line say.
    fn config(&self, release: Release) -> Result<ProducerConfig, Failure> {
        let mut config = ProducerConfig::default();
        let acks = self.request_required_acks.iter().map(|acks| ("acks", acks.as_str()));
        let given = self.cluster.properties()?;
        let given = given.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in given.chain(acks) {
            config.set_property(name, value).map_err(|error| Failure::new(code::CONFIG, error.to_string()))?;
        }
        config.codec = self.compression_codec.unwrap_or(config.codec);
        if release < Release::V3_0 && config.transactional_id.is_none() {
            // As its own tool: to write is all that the user must be allowed.
            config.idempotence = config.idempotence.or(Some(false));
        }
        Ok(config)
    }
}

/// How a line becomes a record (`LineMessageReader`).
#[derive(Clone, Debug)]
struct LineFormat {
    key: bool,
    headers: bool,
    lenient: bool,
    key_separator: Vec<u8>,
    headers_delimiter: Vec<u8>,
    headers_separator: String,
    header_key_separator: String,
    null: Option<Vec<u8>>,
}

impl LineFormat {
    fn new(properties: &[(String, String)]) -> Self {
        let find =
            |name: &str| properties.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        let flag = |name: &str| find(name).is_some_and(|value| value.trim().eq_ignore_ascii_case("true"));
        let text = |name: &str, default: &str| find(name).unwrap_or_else(|| default.to_owned());
        Self {
            key: flag("parse.key"),
            headers: flag("parse.headers"),
            lenient: flag("ignore.error"),
            key_separator: text("key.separator", "\t").into_bytes(),
            headers_delimiter: text("headers.delimiter", "\t").into_bytes(),
            headers_separator: text("headers.separator", ","),
            header_key_separator: text("headers.key.separator", ":"),
            null: find("null.marker").map(String::into_bytes),
        }
    }

    /// # Errors
    /// A line without the separator that it is to have.
    fn part(&self, topic: &str, number: u64, line: Vec<u8>) -> Result<ProducerRecord, String> {
        let mut record = ProducerRecord::new(topic);
        let mut rest = Bytes::from(line);
        if self.headers {
            let headers = self.split(&mut rest, &self.headers_delimiter, "headers", number)?;
            let headers =
                headers.filter(|headers| Some(headers.as_ref()) != self.null.as_deref() && !headers.is_empty());
            if let Some(headers) = headers {
                let text = String::from_utf8_lossy(&headers).into_owned();
                for pair in text.split(self.headers_separator.as_str()) {
                    let (key, value) = match pair.split_once(self.header_key_separator.as_str()) {
                        Some((key, value)) => (key, Some(value)),
                        None if self.lenient => (pair, None),
                        None => return Err(format!("line {number}: no header key separator in {pair:?}")),
                    };
                    let value = value.map(|value| Bytes::copy_from_slice(value.as_bytes()));
                    record.headers.push(RecordHeader { key: key.to_owned(), value });
                }
            }
        }
        if self.key {
            record.key = self.split(&mut rest, &self.key_separator, "key", number)?;
            record.key = record.key.filter(|key| Some(key.as_ref()) != self.null.as_deref());
        }
        record.value = Some(rest).filter(|value| Some(value.as_ref()) != self.null.as_deref());
        Ok(record)
    }

    /// What stands before the separator, which is taken off; none in a line without it, if that is no error.
    fn split(&self, rest: &mut Bytes, separator: &[u8], what: &str, number: u64) -> Result<Option<Bytes>, String> {
        let at = rest.windows(separator.len().max(1)).position(|window| window == separator);
        match at {
            Some(at) => {
                let before = rest.split_to(at);
                drop(rest.split_to(separator.len()));
                Ok(Some(before))
            }
            None if self.lenient => Ok(None),
            None => Err(format!("no {what} separator found on line {number}")),
        }
    }
}

/// Whose turn it is: values without a key go to the partitions one after the other.
#[derive(Debug)]
struct Turn {
    partitions: Vec<i32>,
    next: usize,
}

impl Turn {
    const fn over(partitions: Vec<i32>) -> Self {
        Self { partitions, next: 0 }
    }

    fn take(&mut self) -> Option<i32> {
        let index = self.next.checked_rem(self.partitions.len())?;
        self.next = index.wrapping_add(1);
        self.partitions.get(index).copied()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn lines(properties: &[(&str, &str)]) -> LineFormat {
        let properties: Vec<_> =
            properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        LineFormat::new(&properties)
    }

    fn parted(format: &LineFormat, line: &str) -> Result<(Option<String>, Option<String>, usize), String> {
        let text = |bytes: Option<Bytes>| bytes.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap());
        format
            .part("t", 1, line.as_bytes().to_vec())
            .map(|record| (text(record.key), text(record.value), record.headers.len()))
    }

    #[test]
    fn partitions_take_turns() {
        let mut turn = Turn::over(vec![0, 1, 2]);
        assert_eq!([turn.take(), turn.take(), turn.take(), turn.take()], [Some(0), Some(1), Some(2), Some(0)]);
        assert_eq!(Turn::over(Vec::new()).take(), None);
    }

    #[test]
    fn lines_are_parted_as_the_console_producer_does() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(parted(&lines(&[]), "a\tb"), Ok((None, some("a\tb"), 0)));
        let keyed = lines(&[("parse.key", "true")]);
        assert_eq!(parted(&keyed, "a\tb\tc"), Ok((some("a"), some("b\tc"), 0)));
        assert!(parted(&keyed, "ab").unwrap_err().contains("line 1"));
        let lenient = lines(&[("parse.key", "true"), ("key.separator", "="), ("ignore.error", "true")]);
        assert_eq!(
            (parted(&lenient, "ab"), parted(&lenient, "k=")),
            (Ok((None, some("ab"), 0)), Ok((some("k"), some(""), 0)))
        );
        let all = lines(&[("parse.key", "true"), ("parse.headers", "true"), ("null.marker", "NULL")]);
        assert_eq!(parted(&all, "h1:v1,h2:v2\tk\tNULL"), Ok((some("k"), None, 2)));
        assert_eq!(parted(&all, "NULL\tNULL\tv"), Ok((None, some("v"), 0)));
    }
}
