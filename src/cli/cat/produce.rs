//! kcat's producer mode.

use std::collections::BTreeMap;
use std::io::{Read, Write as _};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Setting;
use super::options::delimiter;
use crate::cli::out;
use crate::kafka::record::{BatchBuilder, BatchOptions, Codec, Header};
use crate::kafka::{Acks, Client};

/// Messages are gathered for at most so long before they are sent.
const LINGER: Duration = Duration::from_millis(5);
/// Messages gathered at most, in bytes and in number, for all partitions together.
const GATHERED_BYTES_MAX: usize = 512 * 1024;
const GATHERED_RECORDS_MAX: usize = 10_000;
/// Longest message of standard input, in bytes; no broker takes one of that size by default.
const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// One message to send.
struct Outgoing {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
}

pub(super) async fn run(client: &Client, setting: &Setting) -> Result<ExitCode, String> {
    let options = &setting.options;
    let topic = options.topic.clone().unwrap_or_default();
    let end = delimiter(options.delimiter.as_deref().unwrap_or(b"\\n"))?;
    if end.is_empty() {
        return Err("Message delimiter -D must not be empty when producing".to_owned());
    }
    let codec = setting.property("compression.type").or_else(|| setting.property("compression.codec"));
    let codec = match codec.unwrap_or("none") {
        "none" => Codec::None,
        "gzip" => Codec::Gzip,
        "snappy" => Codec::Snappy,
        "lz4" => Codec::Lz4,
        "zstd" => Codec::Zstd,
        other => return Err(format!("Invalid value \"{other}\" for configuration property \"compression.codec\"")),
    };
    let acks = match setting.property("acks").or_else(|| setting.property("request.required.acks")) {
        Some("1" | "0") => Acks::Leader,
        _ => Acks::All,
    };
    let found =
        client.topic(&topic).await.map_err(|error| format!("Failed to query metadata for topic {topic}: {error}"))?;
    let partitions: Vec<i32> = found.partitions.iter().map(|partition| partition.partition).collect();
    if let Some(one) = options.partition.filter(|one| !partitions.contains(one)) {
        return Err(format!("Failed to produce message: Local: Unknown partition ({one})"));
    }
    let sender = Sender { client, setting, topic, partitions, codec, acks };

    if !options.operands.is_empty() && !options.lines_of_file {
        let (mut good, mut batch) = (0_usize, Vec::new());
        for file in &options.operands {
            match std::fs::read(file) {
                Ok(bytes) => {
                    good = good.saturating_add(1);
                    if !bytes.is_empty() {
                        batch.push(Outgoing { key: options.fixed_key.clone(), value: Some(bytes) });
                    }
                }
                Err(error) => setting.info(1, &format!("Failed to open {file}: {error}")),
            }
        }
        let failed = options.operands.len().saturating_sub(good);
        if good > 0 && failed > 0 {
            setting.info(1, &format!("Failed to produce from {failed}/{} files", options.operands.len()));
        }
        sender.send(batch).await?;
        return Ok(if good == 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS });
    }
    let input: Box<dyn Read + Send> = match options.operands.first() {
        Some(file) => Box::new(std::fs::File::open(file).map_err(|error| format!("Unable to open {file}: {error}"))?),
        None => Box::new(std::io::stdin()),
    };
    let key_end = options.key_delimiter.as_deref().map(delimiter).transpose()?.filter(|end| !end.is_empty());
    let mut messages = split(input, end);
    let mut left = options.count.unwrap_or(u64::MAX);
    while left > 0 {
        let Some(first) = messages.recv().await else { break };
        let (mut batch, mut bytes) = (Vec::new(), 0_usize);
        let until = tokio::time::Instant::now() + LINGER;
        let mut next = Some(first);
        while let Some(message) = next.take() {
            let message = message?;
            bytes = bytes.saturating_add(message.len());
            if options.tee {
                let mut stdout = std::io::stdout().lock();
                stdout
                    .write_all(&message)
                    .map_err(|error| format!("Tee write error for message of {} bytes: {error}", message.len()))?;
            }
            batch.push(sender.parted(message, key_end.as_deref()));
            left = left.saturating_sub(1);
            if left > 0 && bytes < GATHERED_BYTES_MAX && batch.len() < GATHERED_RECORDS_MAX {
                next = tokio::time::timeout_at(until, messages.recv()).await.ok().flatten();
            }
        }
        sender.send(batch).await?;
    }
    if options.tee {
        out::bytes(b"");
    }
    Ok(ExitCode::SUCCESS)
}

struct Sender<'a> {
    client: &'a Client,
    setting: &'a Setting,
    topic: String,
    partitions: Vec<i32>,
    codec: Codec,
    acks: Acks,
}

impl Sender<'_> {
    /// A message with its key, if it has one before the key's delimiter.
    fn parted(&self, message: Vec<u8>, key_end: Option<&[u8]>) -> Outgoing {
        let options = &self.setting.options;
        let at = key_end.and_then(|end| message.windows(end.len()).position(|window| window == end));
        let (mut key, mut value) = match (at, key_end) {
            (Some(at), Some(end)) => {
                let (key, rest) = message.split_at(at);
                (Some(key.to_vec()), Some(rest.get(end.len()..).unwrap_or_default().to_vec()))
            }
            _ => (None, Some(message)),
        };
        if options.nulls && at.is_some() {
            key = key.filter(|key| !key.is_empty());
            value = value.filter(|value| !value.is_empty());
        }
        Outgoing { key: key.or_else(|| options.fixed_key.clone()), value }
    }

    /// librdkafka's `consistent_random`: CRC-32 of a key, and for messages without one a partition by chance, one for
    /// all that are sent together.
    fn partition(&self, message: &Outgoing, chance: usize) -> i32 {
        if let Some(one) = self.setting.options.partition {
            return one;
        }
        let count = self.partitions.len().max(1);
        let index = match message.key.as_deref().filter(|key| !key.is_empty()) {
            Some(key) => usize::try_from(crc32fast::hash(key)).unwrap_or(0) % count,
            None => chance % count,
        };
        self.partitions.get(index).copied().unwrap_or(0)
    }

    async fn send(&self, messages: Vec<Outgoing>) -> Result<(), String> {
        let mut seed = [0; 4];
        getrandom::fill(&mut seed).map_err(|error| format!("no random numbers: {error}"))?;
        let chance = usize::try_from(u32::from_be_bytes(seed)).unwrap_or(0);
        let now_ms = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        let now_ms = i64::try_from(now_ms).unwrap_or(i64::MAX);
        let headers: Vec<Header<'_>> = self
            .setting
            .options
            .headers
            .iter()
            .map(|(name, value)| Header { key: name, value: value.as_deref() })
            .collect();
        let mut dealt: BTreeMap<i32, Vec<Outgoing>> = BTreeMap::new();
        for message in messages {
            dealt.entry(self.partition(&message, chance)).or_default().push(message);
        }
        let mut sending = JoinSet::new();
        for (partition, messages) in dealt {
            let mut batch = BatchBuilder::new(BatchOptions { codec: self.codec, ..BatchOptions::default() });
            for message in &messages {
                batch.push(now_ms, message.key.as_deref(), message.value.as_deref(), &headers);
            }
            let batch = batch.finish(0).map_err(|error| error.to_string())?;
            let (client, topic, acks) = (self.client.clone(), self.topic.clone(), self.acks);
            sending.spawn(async move { client.produce(&topic, partition, Bytes::from(batch), acks).await });
        }
        while let Some(sent) = sending.join_next().await {
            let sent = sent.map_err(|error| error.to_string())?;
            sent.map_err(|error| format!("Delivery failed for message: {error}"))?;
        }
        Ok(())
    }
}

/// Messages of `input`, parted by `end`, read in a thread of its own; empty ones are stepped over.
fn split(mut input: Box<dyn Read + Send>, end: Vec<u8>) -> mpsc::Receiver<Result<Vec<u8>, String>> {
    let (sender, receiver) = mpsc::channel(1_000);
    std::thread::spawn(move || {
        let (mut held, mut chunk, mut searched) = (Vec::new(), vec![0_u8; 64 * 1024], 0_usize);
        loop {
            let read = match input.read(&mut chunk) {
                Ok(read) => read,
                Err(error) => {
                    drop(sender.blocking_send(Err(format!("Unable to read message: {error}"))));
                    return;
                }
            };
            held.extend_from_slice(chunk.get(..read).unwrap_or_default());
            let mut from = 0;
            while let Some(at) =
                held.get(searched..).and_then(|rest| rest.windows(end.len()).position(|window| window == end))
            {
                let at = searched.saturating_add(at);
                let message = held.get(from..at).unwrap_or_default().to_vec();
                from = at.saturating_add(end.len());
                searched = from;
                if !message.is_empty() && sender.blocking_send(Ok(message)).is_err() {
                    return;
                }
            }
            held.drain(..from);
            searched = held.len().saturating_sub(end.len().saturating_sub(1));
            if read == 0 {
                if !held.is_empty() {
                    drop(sender.blocking_send(Ok(held)));
                }
                return;
            }
            if held.len() > MESSAGE_BYTES_MAX {
                drop(sender.blocking_send(Err(format!("a message of more than {MESSAGE_BYTES_MAX} bytes"))));
                return;
            }
        }
    });
    receiver
}
