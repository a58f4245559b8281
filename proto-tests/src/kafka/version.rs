//! The broker versions that the harness can start, and in what they differ for whoever starts and asks them.

use std::fmt;

use crate::java;

/// A broker version. Older ones are smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// 0.11.0.3 over ZooKeeper 3.4.
    V0_11_0,
    /// 1.0.1 over ZooKeeper 3.4, under the chroot `/kafka-1.0.1`, as in the reference walkthrough.
    V1_0_1,
    /// 1.1.1 over ZooKeeper 3.4.
    V1_1_1,
    /// 2.0.1 over ZooKeeper 3.4.
    V2_0_1,
    /// 2.4.1 over ZooKeeper 3.5.
    V2_4_1,
    /// 2.8.2 over ZooKeeper 3.5.
    V2_8_2,
    /// 3.3.2 over ZooKeeper 3.6.
    V3_3_2,
    /// 3.9.2 in KRaft mode.
    V3_9_2,
    /// 4.0.2 in KRaft mode.
    V4_0_2,
    /// 4.4.0 in KRaft mode; its command-line tools are of 4.3.1, the newest that are published.
    V4_4_0,
}

impl Version {
    /// All of them, oldest first. Plain setups fetch only [`Version::PLAIN`].
    pub const ALL: [Self; 10] = [
        Self::V0_11_0,
        Self::V1_0_1,
        Self::V1_1_1,
        Self::V2_0_1,
        Self::V2_4_1,
        Self::V2_8_2,
        Self::V3_3_2,
        Self::V3_9_2,
        Self::V4_0_2,
        Self::V4_4_0,
    ];

    /// Those that a plain run of the tests fetches and uses.
    pub const PLAIN: [Self; 3] = [Self::V1_0_1, Self::V2_8_2, Self::V4_4_0];

    /// The versions to test: those of the environment variable `FOREBAY_BROKERS`, separated by blanks, or `all`; without
    /// it [`Version::PLAIN`].
    #[must_use]
    pub fn wanted() -> Vec<Self> {
        match std::env::var("FOREBAY_BROKERS").as_deref() {
            Err(_) => Self::PLAIN.to_vec(),
            Ok("all") => Self::ALL.to_vec(),
            Ok(names) => names
                .split_whitespace()
                .map(|name| Self::named(name).unwrap_or_else(|| panic!("FOREBAY_BROKERS: no version {name:?}")))
                .collect(),
        }
    }

    /// As Kafka writes it, such as `2.8.2`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.jars().trim_start_matches("kafka-")
    }

    /// The folder of the cache with its archives: the broker, and the Java clients of the same version.
    #[must_use]
    pub const fn jars(self) -> &'static str {
        match self {
            Self::V0_11_0 => "kafka-0.11.0.3",
            Self::V1_0_1 => java::KAFKA_1_0_1,
            Self::V1_1_1 => "kafka-1.1.1",
            Self::V2_0_1 => "kafka-2.0.1",
            Self::V2_4_1 => "kafka-2.4.1",
            Self::V2_8_2 => java::KAFKA_2_8_2,
            Self::V3_3_2 => "kafka-3.3.2",
            Self::V3_9_2 => "kafka-3.9.2",
            Self::V4_0_2 => "kafka-4.0.2",
            Self::V4_4_0 => java::KAFKA_4_4_0,
        }
    }

    /// The version of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.name() == name)
    }

    /// The folder with its command-line tools.
    #[must_use]
    pub fn tool_jars(self) -> &'static str {
        if self == Self::V4_4_0 { java::KAFKA_TOOLS } else { self.jars() }
    }

    /// Whether it is started over ZooKeeper. 3.3.2 could also run without.
    #[must_use]
    pub fn needs_zookeeper(self) -> bool {
        self <= Self::V3_3_2
    }

    /// Whether it takes records packed with zstd (KIP-110).
    #[must_use]
    pub fn has_zstd(self) -> bool {
        self >= Self::V2_4_1
    }

    /// Whether `message.format.version` still decides what lies on disk (KIP-724 ends it).
    #[must_use]
    pub fn has_message_format(self) -> bool {
        self < Self::V3_3_2
    }

    /// The chroot of its brokers in ZooKeeper.
    pub(super) fn chroot(self) -> String {
        format!("/{}", self.jars())
    }

    /// The main class of a tool: most of them moved from the broker's archive into one of their own between 3.3 and 3.9.
    pub(super) fn tool_class(self, tool: Tool) -> &'static str {
        let is_moved = self >= Self::V3_9_2;
        match tool {
            Tool::Topics if is_moved => "org.apache.kafka.tools.TopicCommand",
            Tool::Topics => "kafka.admin.TopicCommand",
            Tool::Offsets if is_moved => "org.apache.kafka.tools.GetOffsetShell",
            Tool::Offsets => "kafka.tools.GetOffsetShell",
            Tool::Consumer if is_moved => "org.apache.kafka.tools.consumer.ConsoleConsumer",
            Tool::Consumer => "kafka.tools.ConsoleConsumer",
            Tool::Groups if is_moved => "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
            Tool::Groups => "kafka.admin.ConsumerGroupCommand",
            Tool::DeleteRecords if is_moved => "org.apache.kafka.tools.DeleteRecordsCommand",
            Tool::DeleteRecords => "kafka.admin.DeleteRecordsCommand",
            Tool::Producer if self >= Self::V4_0_2 => "org.apache.kafka.tools.ConsoleProducer",
            Tool::Producer => "kafka.tools.ConsoleProducer",
        }
    }

    /// The option by which a tool takes the brokers' addresses; `--zookeeper` where it wants ZooKeeper's.
    pub(super) fn address_option(self, tool: Tool) -> &'static str {
        match tool {
            Tool::Topics if self < Self::V2_4_1 => "--zookeeper",
            Tool::Producer if self < Self::V2_8_2 => "--broker-list",
            Tool::Offsets if self < Self::V3_3_2 => "--broker-list",
            _ => "--bootstrap-server",
        }
    }

    /// The console consumer's option for what it prints.
    pub(super) fn formatter_option(self) -> &'static str {
        if self >= Self::V4_4_0 { "--formatter-property" } else { "--property" }
    }

    /// Whether the console consumer prints partitions and offsets (KIP-431).
    pub(super) fn prints_offsets(self) -> bool {
        self >= Self::V2_8_2
    }

    /// Whether users for SCRAM are made by asking a broker (KIP-554) rather than by writing to ZooKeeper.
    pub(super) fn has_user_api(self) -> bool {
        self >= Self::V2_8_2
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One of Kafka's command-line tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Tool {
    Topics,
    Producer,
    Consumer,
    Offsets,
    Groups,
    DeleteRecords,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for version in Version::ALL {
            assert_eq!(Version::named(version.name()), Some(version));
        }
        assert_eq!(Version::named("0.10.2"), None);
        assert!(Version::ALL.is_sorted());
    }
}
