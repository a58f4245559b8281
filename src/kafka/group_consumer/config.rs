//! How a member of a group is set up.

use std::sync::Arc;
use std::time::Duration;

use crate::kafka::config::ConsumerConfig;
use crate::kafka::error::{Error, ErrorKind};
use crate::kafka::state::assign::Assignor;
use crate::kafka::state::group::GroupProtocol;

/// How to be a member of a group. Start with [`GroupConfig::new`] and change fields.
#[derive(Clone, Debug)]
pub struct GroupConfig {
    /// The group's id.
    pub group: String,
    /// A name of this member that survives restarts (`group.instance.id`, KIP-345): within the session timeout it comes back to
    /// its partitions without a rebalance. Default: none.
    pub group_instance_id: Option<String>,
    /// Where this member runs (`client.rack`). Assignors prefer partitions with a replica there (KIP-881). Default: none.
    pub rack: Option<String>,
    /// Who divides the partitions. Default: the classic protocol with `range`, then `cooperative-sticky`, as in Java.
    pub protocol: GroupProtocol,
    /// After how long without a heartbeat the coordinator drops the member; classic protocol. Default: 45 s.
    pub session_timeout: Duration,
    /// How often heartbeats go out; classic protocol, the new one is told by the broker. Default: 3 s.
    pub heartbeat_interval: Duration,
    /// How long the caller may take between two calls of [`GroupConsumer::next`](super::GroupConsumer::next): then the member
    /// leaves, so that others can go on, and loses its partitions. Also how long a rebalance waits for this member.
    /// Default: 5 minutes.
    pub poll_interval_max: Duration,
    /// How often subscribed topics are looked at for new partitions, and a pattern for new topics. Default: 5 minutes.
    pub metadata_age_max: Duration,
    /// Where to begin when nothing is committed, or when what is committed does not exist any more. Default: at the end.
    pub reset: OffsetReset,
    /// How often what has been handed out is committed, at the next call of [`GroupConsumer::next`](super::GroupConsumer::next).
    /// None: only [`GroupConsumer::commit`](super::GroupConsumer::commit) commits. Default: 5 s, as in Java.
    pub auto_commit: Option<Duration>,
    /// Whether to begin only with offsets that no pending commit of an earlier owner can change. Brokers before 2.5 cannot
    /// tell, so there it takes a request timeout longer ([`Client::stable_committed_offsets`](crate::kafka::Client::stable_committed_offsets)).
    /// Default: no; brokers from 2.5 on do it in any case.
    pub stable_offsets: bool,
    /// How records are fetched.
    pub fetch: ConsumerConfig,
}

/// Where to begin without a committed offset (`auto.offset.reset`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetReset {
    /// At the first offset that exists.
    Earliest,
    /// At the end: only what comes from now on.
    Latest,
    /// Nowhere: the partition is not read until [`GroupConsumer::seek`](super::GroupConsumer::seek), and an offset out of range
    /// is an error.
    Never,
}

impl GroupConfig {
    /// The defaults, for this group.
    pub fn new(group: impl Into<String>) -> Self {
        Self {
            group: group.into(),
            group_instance_id: None,
            rack: None,
            protocol: GroupProtocol::Classic { assignors: vec![Assignor::Range, Assignor::CooperativeSticky] },
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(3),
            poll_interval_max: Duration::from_secs(300),
            metadata_age_max: Duration::from_secs(300),
            reset: OffsetReset::Latest,
            auto_commit: Some(Duration::from_secs(5)),
            stable_offsets: false,
            fetch: ConsumerConfig::default(),
        }
    }

    /// Sets a property by the name that Kafka's Java client or librdkafka gives it: `group.id`, `group.instance.id`, `client.rack`,
    /// `group.protocol`, `group.remote.assignor`, `partition.assignment.strategy` (names or Java's classes),
    /// `session.timeout.ms`, `heartbeat.interval.ms`, `max.poll.interval.ms`, `metadata.max.age.ms` or
    /// `topic.metadata.refresh.interval.ms`, `auto.offset.reset`, `enable.auto.commit`, `auto.commit.interval.ms`, and those
    /// of [`ConsumerConfig::set_property`]. Returns whether the property is one of these.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a value that makes no sense; it names property and value.
    pub fn set_property(&mut self, name: &str, value: &str) -> Result<bool, Error> {
        let value = value.trim();
        match name {
            "group.id" => value.clone_into(&mut self.group),
            "group.instance.id" => self.group_instance_id = Some(value.to_owned()).filter(|id| !id.is_empty()),
            "client.rack" => self.rack = Some(value.to_owned()).filter(|rack| !rack.is_empty()),
            "session.timeout.ms" => self.session_timeout = millis(name, value)?,
            "heartbeat.interval.ms" => self.heartbeat_interval = millis(name, value)?,
            "max.poll.interval.ms" => self.poll_interval_max = millis(name, value)?,
            "metadata.max.age.ms" | "topic.metadata.refresh.interval.ms" => {
                self.metadata_age_max = millis(name, value)?;
            }
            "auto.offset.reset" => {
                self.reset = match value.to_ascii_lowercase().as_str() {
                    "earliest" | "smallest" | "beginning" => OffsetReset::Earliest,
                    "latest" | "largest" | "end" => OffsetReset::Latest,
                    "none" | "error" => OffsetReset::Never,
                    _ => return Err(bad(name, value, "earliest, latest or none")),
                }
            }
            "enable.auto.commit" => {
                self.auto_commit = match value.to_ascii_lowercase().as_str() {
                    "true" => Some(self.auto_commit.unwrap_or(Duration::from_secs(5))),
                    "false" => None,
                    _ => return Err(bad(name, value, "true or false")),
                }
            }
            "auto.commit.interval.ms" => {
                let interval = millis(name, value)?;
                self.auto_commit = self.auto_commit.map(|_| interval);
            }
            "group.protocol" => match value.to_ascii_lowercase().as_str() {
                "classic" if matches!(self.protocol, GroupProtocol::Classic { .. }) => {}
                "classic" => self.protocol = Self::new("").protocol,
                "consumer" if matches!(self.protocol, GroupProtocol::Consumer { .. }) => {}
                "consumer" => self.protocol = GroupProtocol::Consumer { server_assignor: None },
                _ => return Err(bad(name, value, "classic or consumer")),
            },
            "group.remote.assignor" => {
                self.protocol = GroupProtocol::Consumer { server_assignor: Some(Arc::from(value)) };
            }
            "partition.assignment.strategy" => {
                let words = value.split(',').map(str::trim).filter(|word| !word.is_empty());
                let assignors: Option<Vec<Assignor>> = words.map(Assignor::named).collect();
                let assignors = assignors.filter(|assignors| !assignors.is_empty());
                let wanted = "some of range, roundrobin, sticky, cooperative-sticky";
                let assignors = assignors.ok_or_else(|| bad(name, value, wanted))?;
                self.protocol = GroupProtocol::Classic { assignors };
            }
            _ => return self.fetch.set_property(name, value),
        }
        Ok(true)
    }

    /// What no broker would take.
    pub(super) fn check(&self) -> Result<(), Error> {
        let wrong = |text: &str| Err(Error::new(ErrorKind::Config, text));
        match &self.protocol {
            _ if self.group.is_empty() => wrong("the group's id is empty (group.id)"),
            GroupProtocol::Classic { assignors } if assignors.is_empty() => {
                wrong("no assignor is configured (partition.assignment.strategy)")
            }
            GroupProtocol::Classic { .. } if self.heartbeat_interval >= self.session_timeout => {
                wrong("heartbeat.interval.ms must be below session.timeout.ms; a third of it is usual")
            }
            _ => Ok(()),
        }
    }
}

fn millis(name: &str, value: &str) -> Result<Duration, Error> {
    let number: Option<u32> = value.parse().ok().filter(|n| *n > 0 && i32::try_from(*n).is_ok());
    number.map(|n| Duration::from_millis(n.into())).ok_or_else(|| bad(name, value, "milliseconds"))
}

fn bad(name: &str, value: &str, wanted: &str) -> Error {
    Error::new(ErrorKind::Config, format!("property {name}={value}: {wanted} expected"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn properties_of_both_vendors_are_taken() {
        let mut config = GroupConfig::new("g");
        for (name, value) in [
            ("partition.assignment.strategy", "org.apache.kafka.clients.consumer.StickyAssignor, roundrobin"),
            ("session.timeout.ms", "6000"),
            ("auto.offset.reset", "smallest"),
            ("enable.auto.commit", "false"),
            ("group.instance.id", "i"),
            ("isolation.level", "read_committed"),
        ] {
            assert!(config.set_property(name, value).unwrap(), "{name}");
        }
        let assignors = vec![Assignor::Sticky, Assignor::RoundRobin];
        assert_eq!(config.protocol, GroupProtocol::Classic { assignors });
        assert_eq!((config.session_timeout, config.auto_commit), (Duration::from_secs(6), None));
        assert_eq!(config.reset, OffsetReset::Earliest);
        assert!(config.set_property("group.protocol", "consumer").unwrap());
        assert_eq!(config.protocol, GroupProtocol::Consumer { server_assignor: None });
        assert!(!config.set_property("linger.ms", "5").unwrap());
        let error = config.set_property("partition.assignment.strategy", "uniform").unwrap_err();
        assert!(error.to_string().contains("cooperative-sticky expected"), "{error}");
        config.check().unwrap();
        config.group.clear();
        assert_eq!(config.check().unwrap_err().kind(), ErrorKind::Config);
    }
}
