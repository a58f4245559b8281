//! kcat's producer mode.

use std::io::{Read, Write as _};
use std::process::ExitCode;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::options::delimiter;
use super::{Setting, Stop};
use crate::cli::out;
use crate::kafka::{Client, Delivery, Producer, ProducerRecord, RecordHeader};

/// Messages whose outcome has not been looked at.
const WAITING_MAX: usize = 10_000;
/// Longest message of standard input, in bytes; no broker takes one of that size by default.
const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

pub(super) async fn run(client: &Client, setting: &Setting) -> Result<ExitCode, String> {
    let options = &setting.options;
    let topic = options.topic.clone().unwrap_or_default();
    let end = delimiter(options.delimiter.as_deref().unwrap_or(b"\\n"))?;
    if end.is_empty() {
        return Err("Message delimiter -D must not be empty when producing".to_owned());
    }
    let key_end = options.key_delimiter.as_deref().map(delimiter).transpose()?.filter(|end| !end.is_empty());
    let headers = headers(setting)?;
    let producer = Producer::new(client, setting.producer.clone());
    let producer = producer.map_err(|error| format!("Failed to create producer: {error}"))?;
    let is_transaction = setting.producer.transactional_id.is_some();
    if is_transaction {
        setting.info(1, "Using transactional producer");
        producer.init_transactions().await.map_err(|error| format!("init_transactions(): {error}"))?;
        producer.begin_transaction().map_err(|error| format!("begin_transaction(): {error}"))?;
    }
    let found = client.topic(&topic).await;
    let found = found.map_err(|error| format!("Failed to query metadata for topic {topic}: {error}"))?;
    if let Some(one) = options.partition.filter(|one| found.partitions.iter().all(|known| known.partition != *one)) {
        return Err(format!("Failed to produce message: Local: Unknown partition ({one})"));
    }
    let new = ProducerRecord { partition: options.partition, headers, ..ProducerRecord::new(topic) };
    let (deliveries, judge) = watch(setting.options.verbosity);
    let mut stop = Stop::watch()?;
    let sending = Sending { setting, producer, new, deliveries };
    let outcome = match !options.operands.is_empty() && !options.lines_of_file {
        true => sending.files().await,
        false => sending.lines(&mut stop, end, key_end.as_deref()).await,
    };
    let Sending { producer, deliveries, .. } = sending;
    drop(deliveries);
    let finish = async {
        let end = match outcome {
            Ok(end) => end,
            Err(why) => {
                // What was taken before is written, as if it had come alone; a transaction is aborted.
                drop(producer.close().await);
                return Err(why);
            }
        };
        if is_transaction && end == End::Stopped {
            setting.info(0, "Aborting transaction due to termination signal");
            producer.abort_transaction().await.map_err(|error| format!("abort_transaction(): {error}"))?;
        } else if is_transaction {
            setting.info(1, "Committing transaction");
            producer.commit_transaction().await.map_err(|error| format!("commit_transaction(): {error}"))?;
            setting.info(1, "Transaction successfully committed");
        }
        producer.close().await.map_err(|error| error.to_string())?;
        let failed = judge.await.map_err(|error| error.to_string())?;
        Ok(if failed > 0 || end == End::NoFile { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    };
    tokio::select! {
        outcome = finish => outcome,
        () = stop.asked() => Err("Program terminated while producing".to_owned()),
    }
}

/// Why there are no more messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// All have been taken.
    Done,
    /// Not one of the files could be read.
    NoFile,
    /// By a signal.
    Stopped,
}

fn headers(setting: &Setting) -> Result<Vec<RecordHeader>, String> {
    let header = |(name, value): &(Vec<u8>, Option<Vec<u8>>)| {
        let key = String::from_utf8(name.clone()).map_err(|_| "-H: a header's name must be UTF-8".to_owned())?;
        Ok(RecordHeader { key, value: value.clone().map(Bytes::from) })
    };
    setting.options.headers.iter().map(header).collect()
}

/// Tells what becomes of messages while others are sent; ends with the number of those that were not written.
fn watch(verbosity: i32) -> (mpsc::Sender<Delivery>, JoinHandle<u64>) {
    let (deliveries, mut waiting) = mpsc::channel::<Delivery>(WAITING_MAX);
    let judge = tokio::spawn(async move {
        let mut failed = 0_u64;
        while let Some(delivery) = waiting.recv().await {
            match delivery.await {
                Ok(written) if verbosity >= 3 => {
                    let offset = written.offset.unwrap_or(-1);
                    out::talk(&format!("% Message delivered to partition {} (offset {offset})", written.partition));
                }
                Ok(_) => {}
                Err(error) => {
                    failed = failed.saturating_add(1);
                    if verbosity >= 1 {
                        out::talk(&format!("% Delivery failed for message: {error}"));
                    }
                }
            }
        }
        failed
    });
    (deliveries, judge)
}

struct Sending<'a> {
    setting: &'a Setting,
    producer: Producer,
    /// What every message has.
    new: ProducerRecord,
    deliveries: mpsc::Sender<Delivery>,
}

impl Sending<'_> {
    /// Each file is a message.
    async fn files(&self) -> Result<End, String> {
        let files = &self.setting.options.operands;
        let mut good = 0_usize;
        for file in files {
            match std::fs::read(file) {
                Ok(bytes) => {
                    good = good.saturating_add(1);
                    if !bytes.is_empty() {
                        self.send(None, Some(bytes)).await?;
                    }
                }
                Err(error) => {
                    let why = error.to_string();
                    // As C says it.
                    let why = why.split(" (os error").next().unwrap_or_default();
                    self.setting.info(1, &format!("Failed to open {file}: {why}"));
                }
            }
        }
        let failed = files.len().saturating_sub(good);
        if good > 0 && failed > 0 {
            self.setting.info(1, &format!("Failed to produce from {failed}/{} files", files.len()));
        }
        Ok(if good == 0 { End::NoFile } else { End::Done })
    }

    /// Each part of the input is a message.
    async fn lines(&self, stop: &mut Stop, end: Vec<u8>, key_end: Option<&[u8]>) -> Result<End, String> {
        let options = &self.setting.options;
        let input: Box<dyn Read + Send> = match options.operands.first() {
            Some(file) => {
                Box::new(std::fs::File::open(file).map_err(|error| format!("Unable to open {file}: {error}"))?)
            }
            None => Box::new(std::io::stdin()),
        };
        let mut messages = split(input, end);
        let mut left = options.count.unwrap_or(u64::MAX);
        while left > 0 {
            let message = tokio::select! {
                message = messages.recv() => message,
                () = stop.asked() => return Ok(End::Stopped),
            };
            let Some(message) = message else { break };
            let message = message?;
            let tee = options.tee.then(|| message.clone());
            let (key, value) = self.parted(message, key_end);
            self.send(key, value).await?;
            left = left.saturating_sub(1);
            if let Some(message) = tee {
                let mut stdout = std::io::stdout().lock();
                if let Err(error) = stdout.write_all(&message) {
                    if error.kind() == std::io::ErrorKind::BrokenPipe {
                        return Ok(End::Done);
                    }
                    return Err(format!("Tee write error for message of {} bytes: {error}", message.len()));
                }
            }
        }
        if options.tee {
            out::bytes(b"");
        }
        Ok(End::Done)
    }

    /// A message with its key, if it has one before the key's delimiter.
    fn parted(&self, message: Vec<u8>, key_end: Option<&[u8]>) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
        let at = key_end.and_then(|end| message.windows(end.len()).position(|window| window == end));
        let (mut key, mut value) = match (at, key_end) {
            (Some(at), Some(end)) => {
                let (key, rest) = message.split_at(at);
                (Some(key.to_vec()), Some(rest.get(end.len()..).unwrap_or_default().to_vec()))
            }
            _ => (None, Some(message)),
        };
        if self.setting.options.nulls && at.is_some() {
            key = key.filter(|key| !key.is_empty());
            value = value.filter(|value| !value.is_empty());
        }
        (key, value)
    }

    async fn send(&self, key: Option<Vec<u8>>, value: Option<Vec<u8>>) -> Result<(), String> {
        let key = key.or_else(|| self.setting.options.fixed_key.clone());
        let bytes = value.as_ref().map_or(0, Vec::len);
        let record = ProducerRecord { key: key.map(Bytes::from), value: value.map(Bytes::from), ..self.new.clone() };
        let delivery = self.producer.send(record).await;
        let delivery = delivery.map_err(|error| format!("Failed to produce message ({bytes} bytes): {error}"))?;
        self.deliveries.send(delivery).await.map_err(|error| error.to_string())
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
