//! Topics: their names, settings and partitions.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::codes;
use super::log::{AppendRules, Log, Refusal};

/// Longest topic name (Apache Kafka, `Topic.java`).
const NAME_BYTES_MAX: usize = 249;
/// Kafka's default of `max.message.bytes`.
const BATCH_BYTES_MAX: usize = 1_048_588;

/// One topic.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) id: Uuid,
    /// As given when it was made; a key that is missing has its default.
    pub(super) configs: BTreeMap<String, String>,
    pub(super) partitions: Vec<Partition>,
}

/// One partition.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) leader: i32,
    pub(super) leader_epoch: i32,
    /// The preferred leader first. All are always in sync.
    pub(super) replicas: Vec<i32>,
    pub(super) log: Log,
}

/// A setting of topics that this broker knows: its name and its default.
#[derive(Debug)]
pub(super) struct KnownConfig {
    pub(super) name: &'static str,
    pub(super) default: &'static str,
    /// Kafka's number of the value's type in DescribeConfigs: 1 boolean, 2 string, 3 int, 5 long, 7 list.
    pub(super) kind: i8,
}

/// The settings of topics. `message.timestamp.type` and `max.message.bytes` have an effect; the others are kept and shown, and
/// their defaults say what this broker does: it keeps everything, as it came.
pub(super) const CONFIGS: &[KnownConfig] = &[
    KnownConfig { name: "cleanup.policy", default: "delete", kind: 7 },
    KnownConfig { name: "compression.type", default: "producer", kind: 2 },
    KnownConfig { name: "max.message.bytes", default: "1048588", kind: 3 },
    KnownConfig { name: "message.timestamp.type", default: "CreateTime", kind: 2 },
    KnownConfig { name: "min.insync.replicas", default: "1", kind: 3 },
    KnownConfig { name: "retention.bytes", default: "-1", kind: 5 },
    KnownConfig { name: "retention.ms", default: "-1", kind: 5 },
    KnownConfig { name: "segment.bytes", default: "1073741824", kind: 3 },
];

impl Topic {
    /// How batches are appended to partition `partition`.
    pub(super) fn append_rules(&self, leader_epoch: i32, zstd: bool) -> AppendRules {
        let bytes = self.configs.get("max.message.bytes").and_then(|value| value.parse().ok());
        AppendRules {
            append_time: self.configs.get("message.timestamp.type").is_some_and(|value| value == "LogAppendTime"),
            batch_bytes_max: bytes.unwrap_or(BATCH_BYTES_MAX),
            leader_epoch,
            zstd,
        }
    }

    /// Partition number `index`.
    pub(super) fn partition(&self, index: i32) -> Option<&Partition> {
        usize::try_from(index).ok().and_then(|index| self.partitions.get(index))
    }

    /// Partition number `index`, to be changed.
    pub(super) fn partition_mut(&mut self, index: i32) -> Option<&mut Partition> {
        usize::try_from(index).ok().and_then(|index| self.partitions.get_mut(index))
    }
}

impl Partition {
    /// Compares the leader epoch a client believes in with ours; -1 is "does not say" (KIP-320).
    ///
    /// # Errors
    /// `FENCED_LEADER_EPOCH` for an older one, `UNKNOWN_LEADER_EPOCH` for a newer one.
    pub(super) fn check_epoch(&self, believed: i32) -> Result<(), Refusal> {
        let why = || format!("leader epoch {believed}, it is {}", self.leader_epoch);
        match believed {
            ..0 => Ok(()),
            older if older < self.leader_epoch => Err(Refusal::new(codes::FENCED_LEADER_EPOCH, why())),
            newer if newer > self.leader_epoch => Err(Refusal::new(codes::UNKNOWN_LEADER_EPOCH, why())),
            _ => Ok(()),
        }
    }
}

/// Checks a topic's name by Kafka's rule: 1 to 249 of `a-z A-Z 0-9 . _ -`, and not `.` or `..`. The name becomes that of a
/// folder, too.
///
/// # Errors
/// `INVALID_TOPIC_EXCEPTION`.
pub(super) fn check_name(name: &str) -> Result<(), Refusal> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let fits = (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(allowed);
    if fits && name != "." && name != ".." {
        return Ok(());
    }
    let why = "a topic name has 1 to 249 of the characters a-z A-Z 0-9 . _ - and is not . or ..";
    Err(Refusal::new(codes::INVALID_TOPIC_EXCEPTION, why))
}

/// Checks one setting of a new topic.
///
/// # Errors
/// `INVALID_CONFIG` for a name this broker does not know and for a value it cannot use.
pub(super) fn check_config(name: &str, value: &str) -> Result<(), Refusal> {
    let bad = |why: String| Err(Refusal::new(codes::INVALID_CONFIG, why));
    if !CONFIGS.iter().any(|known| known.name == name) {
        let known = CONFIGS.iter().map(|known| known.name).collect::<Vec<_>>().join(", ");
        return bad(format!("unknown topic config name: {name} (known here: {known})"));
    }
    match name {
        "message.timestamp.type" if !matches!(value, "CreateTime" | "LogAppendTime") => {
            bad(format!("invalid value {value} for configuration {name}"))
        }
        "max.message.bytes" if value.parse::<u32>().is_err() => {
            bad(format!("invalid value {value} for configuration {name}"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_the_folder_are_refused() {
        for bad in ["", ".", "..", "a/b", "../x", "ä", "a b", "a\0", &"x".repeat(250)] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
        for good in ["testkafka", "_schemas", "a.b-c_D9", &"x".repeat(249)] {
            assert!(check_name(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn settings_are_checked() {
        assert!(check_config("message.timestamp.type", "LogAppendTime").is_ok());
        assert!(check_config("message.timestamp.type", "Never").is_err());
        assert!(check_config("max.message.bytes", "-1").is_err());
        assert!(check_config("no.such", "1").is_err());
    }
}
