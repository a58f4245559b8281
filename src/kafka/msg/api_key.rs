//! The APIs: their numbers, names and the versions that are written and read here.

use super::VersionRange;

macro_rules! api_keys {
    ($($(#[$doc:meta])* $name:ident = $key:literal, versions $min:literal ..= $max:literal, flexible from $flexible:literal;)*) => {
        /// The APIs forebay speaks, with the versions it can write and read.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ApiKey {
            $($(#[$doc])* $name,)*
        }

        impl ApiKey {
            /// Every API of this table, in order of its number.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The number on the wire.
            pub const fn code(self) -> i16 {
                match self { $(Self::$name => $key,)* }
            }

            /// Kafka's name for it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// The versions our codecs handle, both ends included.
            pub const fn versions(self) -> VersionRange {
                match self { $(Self::$name => VersionRange { min: $min, max: $max },)* }
            }

            /// The first version with compact lengths and tagged fields (KIP-482), whether or not we speak it.
            pub const fn flexible_from(self) -> i16 {
                match self { $(Self::$name => $flexible,)* }
            }
        }
    };
}

// The lower ends are what 0.11.0 and 4.x both accept (KIP-896); the upper ends are what a client without newer features needs.
api_keys! {
    /// Appends record batches; v3 is the first with record batches v2, v13 has topic ids.
    Produce = 0, versions 3..=13, flexible from 9;
    /// Reads records; v4 brings the last stable offset, v13 topic ids, v16 leader hints.
    Fetch = 1, versions 4..=16, flexible from 12;
    /// Looks offsets up by time; v1 is the first with a single offset.
    ListOffsets = 2, versions 1..=9, flexible from 6;
    /// Brokers, topics, partitions and leaders; v4 can forbid auto-creation.
    Metadata = 3, versions 4..=12, flexible from 9;
    /// Stores a group's offsets.
    OffsetCommit = 8, versions 2..=9, flexible from 8;
    /// Reads a group's offsets; v2 can ask for all of them.
    OffsetFetch = 9, versions 2..=9, flexible from 6;
    /// Finds the broker that owns a group.
    FindCoordinator = 10, versions 1..=3, flexible from 3;
    /// Joins a group; the coordinator answers when all members have.
    JoinGroup = 11, versions 0..=9, flexible from 6;
    /// Keeps a member of a classic group alive.
    Heartbeat = 12, versions 0..=4, flexible from 4;
    /// Leaves a classic group.
    LeaveGroup = 13, versions 0..=5, flexible from 4;
    /// Hands out the assignment of a classic group.
    SyncGroup = 14, versions 0..=5, flexible from 4;
    /// Members and state of groups.
    DescribeGroups = 15, versions 0..=5, flexible from 5;
    /// The groups of one broker.
    ListGroups = 16, versions 0..=5, flexible from 3;
    /// Names the mechanism of a login; v1 promises that `SaslAuthenticate` follows (KIP-152), after v0 the bare messages do.
    /// Never flexible.
    SaslHandshake = 17, versions 0..=1, flexible from 32767;
    /// What a broker speaks.
    ApiVersions = 18, versions 0..=3, flexible from 3;
    /// Creates topics; sent to the controller.
    CreateTopics = 19, versions 2..=4, flexible from 5;
    /// Deletes topics; sent to the controller.
    DeleteTopics = 20, versions 1..=3, flexible from 4;
    /// Deletes records below an offset.
    DeleteRecords = 21, versions 0..=2, flexible from 2;
    /// An id for an idempotent or transactional producer; v3 can bump its epoch.
    InitProducerId = 22, versions 0..=5, flexible from 2;
    /// Where an epoch ends in a leader's log; v3 is the first that a consumer may use.
    OffsetForLeaderEpoch = 23, versions 3..=4, flexible from 4;
    /// Adds partitions to a transaction; v4 and later are for brokers.
    AddPartitionsToTxn = 24, versions 0..=3, flexible from 3;
    /// Makes a group's offsets part of a transaction.
    AddOffsetsToTxn = 25, versions 0..=4, flexible from 3;
    /// Commits or aborts a transaction; v5 gives the next epoch.
    EndTxn = 26, versions 0..=5, flexible from 3;
    /// Stores offsets within a transaction; v3 names the member.
    TxnOffsetCommit = 28, versions 0..=5, flexible from 3;
    /// Who may do what; v1 brings patterns.
    DescribeAcls = 29, versions 0..=3, flexible from 2;
    /// Adds to who may do what.
    CreateAcls = 30, versions 0..=3, flexible from 2;
    /// Takes from who may do what.
    DeleteAcls = 31, versions 0..=3, flexible from 2;
    /// Configuration of topics, brokers and groups; v1 says where a value comes from.
    DescribeConfigs = 32, versions 0..=4, flexible from 4;
    /// Replaces a whole configuration.
    AlterConfigs = 33, versions 0..=2, flexible from 2;
    /// What lies in a broker's folders.
    DescribeLogDirs = 35, versions 0..=4, flexible from 2;
    /// Carries a login; v1 says how long it holds.
    SaslAuthenticate = 36, versions 0..=2, flexible from 2;
    /// Gives topics more partitions.
    CreatePartitions = 37, versions 0..=3, flexible from 2;
    /// Deletes groups without members.
    DeleteGroups = 42, versions 0..=2, flexible from 2;
    /// Changes entries of a configuration (KIP-339).
    IncrementalAlterConfigs = 44, versions 0..=1, flexible from 1;
    /// Deletes what a group has committed (KIP-496). Never flexible.
    OffsetDelete = 47, versions 0..=0, flexible from 32767;
    /// Users of SCRAM (KIP-554).
    DescribeUserScramCredentials = 50, versions 0..=0, flexible from 0;
    /// Adds and deletes users of SCRAM.
    AlterUserScramCredentials = 51, versions 0..=0, flexible from 0;
    /// Joins, stays in and leaves a group of the new protocol (KIP-848).
    ConsumerGroupHeartbeat = 68, versions 0..=1, flexible from 0;
    /// Groups of the new protocol (KIP-848).
    ConsumerGroupDescribe = 69, versions 0..=1, flexible from 0;
    /// Partitions with their eligible leaders (KIP-966).
    DescribeTopicPartitions = 75, versions 0..=0, flexible from 0;
}

impl ApiKey {
    /// Whether a client that is over its quota waits before the next such request on the connection (KIP-219). What keeps a
    /// member in its group does not wait, and the producer has its own account.
    pub const fn waits_for_quota(self) -> bool {
        matches!(self, Self::Fetch | Self::ListOffsets | Self::Metadata | Self::OffsetForLeaderEpoch)
    }

    /// Whether `version` of this API has compact lengths and tagged fields.
    pub const fn is_flexible(self, version: i16) -> bool {
        version >= self.flexible_from()
    }
}

impl std::fmt::Display for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
