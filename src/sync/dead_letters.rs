//! Where records go that cannot become rows (`[dirty] topic` or `file`): whole, with the reason, before anything of their batch is
//! committed. A batch that is read again writes its dead letters again, so that they are there at least once; topic, partition
//! and offset tell which are the same.

use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use bytes::Bytes;
use serde_json::{Value, json};

use super::convert::Dirty;
use super::error::{RunError, RunErrorKind};
use crate::job::{DeadLetters, JobSpec};
use crate::kafka::record::Record;
use crate::kafka::{Client, ErrorKind, Producer, ProducerConfig, ProducerRecord, RecordHeader};

/// The header names of a dead letter in a topic, after those that the record had.
const HEADERS: [&str; 5] =
    ["forebay.topic", "forebay.partition", "forebay.offset", "forebay.timestamp", "forebay.reason"];

/// Takes dead letters from lanes and writes them when a lane next accounts for itself.
#[derive(Debug)]
pub(super) struct DeadLetterBox {
    source: String,
    place: Place,
    waiting: Mutex<Vec<ProducerRecord>>,
}

#[derive(Debug)]
enum Place {
    Topic(String, Producer),
    File(String),
}

impl DeadLetterBox {
    /// The box of a job; none where it names no place.
    ///
    /// # Errors
    /// [`RunErrorKind::Config`] for the topic that is read itself, and a file that cannot be written.
    pub(super) fn of(spec: &JobSpec, client: &Client) -> Result<Option<Arc<Self>>, RunError> {
        let place = match &spec.dead_letters {
            None => return Ok(None),
            Some(DeadLetters::Topic(topic)) if *topic == spec.reader.topic => {
                let text = format!("[dirty] topic is \"{topic}\", which the job reads itself");
                return Err(super::connect::config(text).advise("name another topic"));
            }
            Some(DeadLetters::Topic(topic)) => {
                let producer = Producer::new(client, ProducerConfig::default());
                Place::Topic(topic.clone(), producer.map_err(|error| super::connect::kafka_failure(&error))?)
            }
            Some(DeadLetters::File(file)) => {
                append(file, &[]).map_err(|error| {
                    super::connect::config(format!("[dirty] file {file}: {error}"))
                        .advise("name a file that can be written")
                })?;
                Place::File(file.clone())
            }
        };
        Ok(Some(Arc::new(Self { source: spec.reader.topic.clone(), place, waiting: Mutex::default() })))
    }

    /// Keeps a copy of a record until [`DeadLetterBox::write`].
    pub(super) fn put(&self, partition: i32, record: &Record<'_>, dirty: &Dirty) {
        let copy = |bytes: Option<&[u8]>| bytes.map(Bytes::copy_from_slice);
        // A header that cannot be read ends the list; the record as such was read.
        let own = record.headers.iter().map_while(Result::ok).map(|header| RecordHeader {
            key: String::from_utf8_lossy(header.key).into_owned(),
            value: copy(header.value),
        });
        let mut headers: Vec<RecordHeader> = own.collect();
        let told = [
            self.source.clone(),
            partition.to_string(),
            record.offset.to_string(),
            record.timestamp.to_string(),
            dirty.to_string(),
        ];
        headers.extend(
            HEADERS
                .iter()
                .zip(told)
                .map(|(key, value)| RecordHeader { key: (*key).to_owned(), value: Some(value.into()) }),
        );
        let topic = match &self.place {
            Place::Topic(topic, _) => topic.as_str(),
            Place::File(_) => "",
        };
        let timestamp = Some(record.timestamp).filter(|at| *at >= 0);
        let letter = ProducerRecord {
            topic: topic.into(),
            partition: None,
            key: copy(record.key),
            value: copy(record.value),
            headers,
            timestamp,
        };
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(letter);
    }

    /// Writes what waits; comes back when it is stored.
    ///
    /// # Errors
    /// [`RunErrorKind::Unavailable`] where the place takes nothing: the batch must not be committed without them.
    pub(super) async fn write(&self) -> Result<(), RunError> {
        let letters = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        if letters.is_empty() {
            return Ok(());
        }
        match &self.place {
            Place::Topic(topic, producer) => {
                let failed = |error: crate::kafka::Error| {
                    let kind = match error.kind() {
                        ErrorKind::Auth => RunErrorKind::Auth,
                        _ => RunErrorKind::Unavailable,
                    };
                    RunError::new(kind, format!("dead letters to topic {topic}: {error}"))
                };
                let mut deliveries = Vec::with_capacity(letters.len());
                for letter in letters {
                    deliveries.push(producer.send(letter).await.map_err(failed)?);
                }
                for delivery in deliveries {
                    delivery.await.map_err(failed)?;
                }
                Ok(())
            }
            Place::File(file) => {
                let lines: Vec<u8> = letters.iter().flat_map(line).collect();
                let path = file.clone();
                let appended = tokio::task::spawn_blocking(move || append(&path, &lines)).await;
                let appended = appended.unwrap_or_else(|lost| Err(std::io::Error::other(lost)));
                appended.map_err(|error| {
                    RunError::new(RunErrorKind::Unavailable, format!("dead letters to {file}: {error}"))
                })
            }
        }
    }
}

/// Appends whole lines and has them on the disk before it comes back.
fn append(file: &str, lines: &[u8]) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(file)?;
    if !lines.is_empty() {
        file.write_all(lines)?;
        file.sync_data()?;
    }
    Ok(())
}

/// One letter as a line of JSON. Bytes that are no text stand as `{"base64": …}`.
fn line(letter: &ProducerRecord) -> Vec<u8> {
    let bytes = |bytes: &Option<Bytes>| match bytes {
        None => Value::Null,
        Some(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => json!(text),
            Err(_) => json!({ "base64": base64::engine::general_purpose::STANDARD.encode(bytes) }),
        },
    };
    let own = letter.headers.len().saturating_sub(HEADERS.len());
    let told = letter.headers.iter().skip(own).map(|header| {
        let value = bytes(&header.value);
        let number = value.as_str().and_then(|text| text.parse::<i64>().ok());
        let name = header.key.trim_start_matches("forebay.").to_owned();
        let is_text = name == "topic" || name == "reason";
        (name, if is_text { value } else { number.map_or(value, |number| json!(number)) })
    });
    let mut object: serde_json::Map<String, Value> = told.collect();
    object.insert("key".to_owned(), bytes(&letter.key));
    object.insert("value".to_owned(), bytes(&letter.value));
    let headers: Vec<Value> = (letter.headers.iter().take(own))
        .map(|header| json!({ "key": header.key, "value": bytes(&header.value) }))
        .collect();
    object.insert("headers".to_owned(), headers.into());
    let mut text = Value::Object(object).to_string().into_bytes();
    text.push(b'\n');
    text
}
