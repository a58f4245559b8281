//! Records on their way in, and what is told of them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::kafka::error::{Error, ErrorKind};

/// A record to write. Start with [`ProducerRecord::new`]; what is not set is null, or chosen by the producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerRecord {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition; without it the partitioner says.
    pub partition: Option<i32>,
    /// The key; `None` is null, which differs from empty.
    pub key: Option<Bytes>,
    /// The value; `None` is null, which deletes on a compacted topic.
    pub value: Option<Bytes>,
    /// Headers in their order; a key may repeat.
    pub headers: Vec<RecordHeader>,
    /// In ms since 1970; without it, the time at which the producer takes the record. A topic of append-time ignores it.
    pub timestamp: Option<i64>,
}

/// One header of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// Its key.
    pub key: String,
    /// Its value; `None` is null, which differs from empty.
    pub value: Option<Bytes>,
}

impl ProducerRecord {
    /// A record with null key, null value and no headers.
    pub fn new(topic: impl Into<Arc<str>>) -> Self {
        Self { topic: topic.into(), partition: None, key: None, value: None, headers: Vec::new(), timestamp: None }
    }

    /// With this key.
    #[must_use]
    pub fn key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// With this value.
    #[must_use]
    pub fn value(mut self, value: impl Into<Bytes>) -> Self {
        self.value = Some(value.into());
        self
    }

    /// To this partition.
    #[must_use]
    pub const fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// With this timestamp, in ms since 1970.
    #[must_use]
    pub const fn timestamp(mut self, timestamp: i64) -> Self {
        self.timestamp = Some(timestamp);
        self
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, key: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.headers.push(RecordHeader { key: key.into(), value: Some(value.into()) });
        self
    }

    /// With one more header whose value is null.
    #[must_use]
    pub fn null_header(mut self, key: impl Into<String>) -> Self {
        self.headers.push(RecordHeader { key: key.into(), value: None });
        self
    }
}

/// Where a record is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordMetadata {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The offset; none with acks=0, and when the broker only knows that it has the record already.
    pub offset: Option<i64>,
    /// The record's timestamp in ms since 1970: the broker's on a topic of append-time.
    pub timestamp: i64,
}

/// What becomes of one record: a future, which need not be waited for.
#[derive(Debug)]
#[must_use = "the outcome is told here only"]
pub struct Delivery(oneshot::Receiver<Result<RecordMetadata, Error>>);

impl Delivery {
    pub(super) const fn new(outcome: oneshot::Receiver<Result<RecordMetadata, Error>>) -> Self {
        Self(outcome)
    }
}

impl Future for Delivery {
    type Output = Result<RecordMetadata, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|outcome| {
            outcome.unwrap_or_else(|_| {
                Err(Error::new(ErrorKind::Closed, "the producer was dropped before the record was written"))
            })
        })
    }
}
