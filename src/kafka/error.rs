//! What can go wrong, as callers see it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::msg::{ApiKey, ErrorCode};

/// An error of the Kafka client: final, after whatever retrying the configuration allows.
///
/// Its text names what was being done, to which topic, partition or group, at which broker, and the last cause, such as
/// `ListOffsets of topic "orders" partition 3 at broker 2 (kafka-2:9092): NOT_LEADER_OR_FOLLOWER (6); gave up after 60.0 s,
/// 34 attempts`. Cheap to clone.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    cause: String,
    api: Option<ApiKey>,
    topic: Option<Arc<str>>,
    partition: Option<i32>,
    group: Option<Arc<str>>,
    subject: Option<String>,
    broker: Option<String>,
    gave_up: Option<(Duration, u32)>,
    partitions: Vec<PartitionError>,
}

/// What kind of error it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No connection to a broker, or it ended.
    Connect,
    /// The broker refuses this user or client certificate, or asks for one.
    Auth,
    /// The cluster has no such topic.
    UnknownTopic,
    /// The topic has no such partition.
    UnknownPartition,
    /// The topic was deleted, or deleted and made anew, while it was read. Positions do not carry over.
    TopicDeleted,
    /// The position lies outside of what the partition holds.
    OffsetOutOfRange {
        /// The offset that was to be read next.
        position: i64,
        /// The first offset that exists. Above `position`: the records between were deleted by retention.
        log_start: i64,
        /// The offset after the last record, or the one from which on the log is another than the one that was read. Below
        /// `position`: the log was truncated, or the position is from another topic.
        end: i64,
    },
    /// A broker answered with this code.
    Broker(ErrorCode),
    /// Bytes from a broker that make no sense.
    Decode,
    /// No answer in time.
    Timeout,
    /// A write was sent and no answer came: it may have happened or not. Ask the cluster before doing it again.
    UnknownOutcome,
    /// Another producer with the same transactional id has taken over, or the transaction timed out: this producer can write
    /// nothing more, and its open transaction is not committed.
    Fenced,
    /// The open transaction cannot be committed any more; abort it, then begin another.
    AbortTransaction,
    /// The client, consumer or producer is of no more use.
    Closed,
    /// The configuration or an argument makes no sense, or a broker's certificate is not one that it trusts.
    Config,
    /// The broker or this build lacks something that is needed.
    Unsupported,
}

/// How one partition of a request failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionError {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The broker's code.
    pub code: ErrorCode,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, cause: impl Into<String>) -> Self {
        Self(Arc::new(Inner {
            kind,
            cause: cause.into(),
            api: None,
            topic: None,
            partition: None,
            group: None,
            subject: None,
            broker: None,
            gave_up: None,
            partitions: Vec::new(),
        }))
    }

    /// An error from a broker's code, with what the broker says about it.
    pub(crate) fn broker(code: ErrorCode, text: Option<&str>) -> Self {
        use super::msg::CodeClass;
        let kind = match code.class() {
            CodeClass::Auth => ErrorKind::Auth,
            _ if code == ErrorCode::PRODUCER_FENCED => ErrorKind::Fenced,
            _ if code == ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => ErrorKind::UnknownTopic,
            _ => ErrorKind::Broker(code),
        };
        let cause = match text.filter(|text| !text.is_empty()) {
            Some(text) => format!("{code}: {}", clip(text)),
            None => code.to_string(),
        };
        Self::new(kind, cause)
    }

    /// Something else than a topic or a group, such as `broker 3`.
    pub(crate) fn about(self, subject: &str) -> Self {
        self.with(|inner| inner.subject = Some(subject.to_owned()))
    }

    pub(crate) fn api(self, api: ApiKey) -> Self {
        self.with(|inner| inner.api = Some(api))
    }

    pub(crate) fn topic(self, topic: &Arc<str>) -> Self {
        self.with(|inner| inner.topic = Some(topic.clone()))
    }

    pub(crate) fn partition(self, partition: i32) -> Self {
        self.with(|inner| inner.partition = Some(partition))
    }

    pub(crate) fn group(self, group: &Arc<str>) -> Self {
        self.with(|inner| inner.group = Some(group.clone()))
    }

    pub(crate) fn at_broker(self, broker: impl Into<String>) -> Self {
        self.with(|inner| inner.broker = Some(broker.into()))
    }

    pub(crate) fn gave_up(self, after: Duration, attempts: u32) -> Self {
        self.with(|inner| inner.gave_up = Some((after, attempts)))
    }

    pub(crate) fn partitions(self, partitions: Vec<PartitionError>) -> Self {
        self.with(|inner| inner.partitions = partitions)
    }

    pub(crate) fn of_kind(self, kind: ErrorKind) -> Self {
        self.with(|inner| inner.kind = kind)
    }

    fn with(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// What kind of error it is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the same call may succeed later without any change. The client itself has already retried.
    pub fn is_retriable(&self) -> bool {
        match self.0.kind {
            ErrorKind::Connect | ErrorKind::Timeout => true,
            ErrorKind::Broker(code) => code.is_retriable(),
            _ => false,
        }
    }

    /// Whether it is about who we are or what we may do.
    pub fn is_auth(&self) -> bool {
        self.0.kind == ErrorKind::Auth
    }

    /// Whether a commit was refused because the generation or epoch it was made with is over: another member may own the
    /// partitions by now, and what was read in that generation must not be committed.
    pub fn is_fenced(&self) -> bool {
        let fenced = [
            ErrorCode::ILLEGAL_GENERATION,
            ErrorCode::UNKNOWN_MEMBER_ID,
            ErrorCode::FENCED_INSTANCE_ID,
            ErrorCode::STALE_MEMBER_EPOCH,
            ErrorCode::FENCED_MEMBER_EPOCH,
        ];
        matches!(self.0.kind, ErrorKind::Broker(code) if fenced.contains(&code))
    }

    /// Whether a commit came in the middle of a rebalance: it may be repeated once the group has settled, if the partition
    /// is still owned then.
    pub fn is_rebalancing(&self) -> bool {
        self.0.kind == ErrorKind::Broker(ErrorCode::REBALANCE_IN_PROGRESS)
    }

    /// Whether a broker said so, as opposed to the network, the user or this client.
    pub fn is_remote(&self) -> bool {
        use ErrorKind::{Auth, Broker, OffsetOutOfRange, TopicDeleted, UnknownPartition, UnknownTopic};
        let kind = self.0.kind;
        matches!(kind, Auth | Broker(_) | OffsetOutOfRange { .. } | TopicDeleted | UnknownPartition | UnknownTopic)
    }

    /// The topic it is about.
    pub fn topic_name(&self) -> Option<&str> {
        self.0.topic.as_deref()
    }

    /// The partition it is about.
    pub fn partition_index(&self) -> Option<i32> {
        self.0.partition
    }

    /// How single partitions failed, where the request had several; successful ones are left out.
    pub fn partition_errors(&self) -> &[PartitionError] {
        &self.0.partitions
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { api, topic, partition, group, subject, broker, cause, gave_up, .. } = &*self.0;
        let mut place = String::new();
        if let Some(api) = api {
            place.push_str(api.name());
        }
        let mut add = |text: String| {
            if !place.is_empty() {
                place.push(' ');
            }
            place.push_str(&text);
        };
        let of = if api.is_some() { "of " } else { "" };
        match (topic, group, subject) {
            (Some(topic), _, _) => add(format!("{of}topic \"{topic}\"")),
            (None, Some(group), _) => add(format!("{of}group \"{group}\"")),
            (None, None, Some(subject)) => add(format!("{of}{subject}")),
            (None, None, None) => {}
        }
        if let Some(partition) = partition {
            add(format!("partition {partition}"));
        }
        if let Some(broker) = broker {
            add(format!("at {broker}"));
        }
        if !place.is_empty() {
            write!(f, "{place}: ")?;
        }
        f.write_str(cause)?;
        if let Some((after, attempts)) = gave_up {
            let plural = if *attempts == 1 { "" } else { "s" };
            write!(f, "; gave up after {:.1} s, {attempts} attempt{plural}", after.as_secs_f64())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl std::error::Error for Error {}

/// Text from a peer, not longer than a message should be.
fn clip(text: &str) -> &str {
    let max = crate::limits::PEER_TEXT_BYTES_MAX;
    if text.len() <= max {
        return text;
    }
    let end = (0..=max).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_names_what_where_and_why() {
        let topic: Arc<str> = "orders".into();
        let error = Error::broker(ErrorCode::NOT_LEADER_OR_FOLLOWER, None)
            .api(ApiKey::ListOffsets)
            .topic(&topic)
            .partition(3)
            .at_broker("broker 2 (kafka-2:9092)")
            .gave_up(Duration::from_secs(60), 34);
        assert_eq!(
            error.to_string(),
            "ListOffsets of topic \"orders\" partition 3 at broker 2 (kafka-2:9092): NOT_LEADER_OR_FOLLOWER (6); \
             gave up after 60.0 s, 34 attempts"
        );
        assert!(error.is_retriable() && error.is_remote() && !error.is_auth());
        assert_eq!(Error::new(ErrorKind::Config, "no servers").to_string(), "no servers");
        assert_eq!(Error::new(ErrorKind::TopicDeleted, "gone").topic(&topic).to_string(), "topic \"orders\": gone");
    }

    #[test]
    fn long_text_from_a_peer_is_cut_at_a_character() {
        let text = "\u{e4}".repeat(2000);
        let error = Error::broker(ErrorCode::INVALID_REQUEST, Some(&text));
        assert!(error.to_string().len() < 1100);
    }
}
