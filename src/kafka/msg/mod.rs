//! Kafka messages: bytes to values and back, for one request or answer at a time.
//!
//! No I/O, no clock. The hot path and the APIs that carry the user's data (`Fetch`, `Produce`, `ListOffsets`,
//! `OffsetCommit`), transactions, `ApiVersions` and the login are our own codecs over [`crate::wire`]; the remaining ones go through the `kafka-protocol`
//! crate, for which this folder is the only door. That crate reserves memory from counts found on the wire, so [`shape`]
//! walks every such answer first and refuses counts that the bytes at hand cannot hold.
//!
//! Invariant: a decoder returns a value or an error for any input, and takes memory in proportion to the input only.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic)]

mod acls;
mod admin;
mod any;
mod api_versions;
mod code;
mod configs;
mod consumer_heartbeat;
mod consumer_protocol;
mod coordinator;
mod epoch_end;
mod fetch;
mod fields;
mod foreign;
mod group;
mod group_admin;
mod header;
mod init_producer_id;
mod layout;
mod list_offsets;
mod log_dirs;
mod membership;
mod metadata;
mod negotiate;
mod offset_commit;
mod offset_fetch;
mod partitions;
mod produce;
mod sasl;
mod scram_users;
pub mod shape;
mod topic_partitions;
mod transaction;

// The crate's broker half, which comes with the sandbox, is the judge of ours.
#[cfg(all(test, feature = "sandbox"))]
mod tests;
#[cfg(all(test, feature = "sandbox"))]
mod tests_admin;

use bytes::Bytes;

use crate::wire::{DecodeError, Writer};

pub use acls::{
    AclEntry, AclFilterEntry, CreateAclsCall, DeleteAclsAnswer, DeleteAclsCall, DescribeAclsAnswer, DescribeAclsCall,
    PATTERN_LITERAL,
};
pub use admin::{CreateTopicAnswer, CreateTopicCall, DeleteTopicAnswer, DeleteTopicCall};
pub use any::{answer_shape, decode_answer};
pub use api_versions::{ApiVersionsAnswer, ApiVersionsCall};
pub use code::{CodeClass, ErrorCode};
pub use configs::{
    AlterConfigsCall, ConfigEntryAnswer, DescribeConfigsAnswer, DescribeConfigsCall, IncrementalAlterConfigsCall,
};
pub use consumer_heartbeat::{ConsumerHeartbeatAnswer, ConsumerHeartbeatCall, IdPartitions};
pub use consumer_protocol::{
    AssignmentData, CONSUMER_PROTOCOL_VERSION, NamedPartitions, SubscriptionData, decode_cooperative_data,
    decode_sticky_data, encode_cooperative_data, encode_sticky_data,
};
pub use coordinator::{FindCoordinatorAnswer, FindCoordinatorCall};
pub use epoch_end::{EpochEndAnswer, EpochEndCall, EpochEndPartition};
pub use fetch::{
    AbortedTransaction, EpochEnd, FetchAnswer, FetchCall, FetchPartition, FetchPartitionAnswer, FetchSessionRef,
    FetchTopic, ForgottenTopic, LeaderHint, NodeEndpoint, TopicRef,
};
pub use group::{
    DescribeGroupsCall, DescribedGroupAnswer, GroupMemberAnswer, ListGroupsAnswer, ListGroupsCall, ListedGroupAnswer,
    assigned_partitions,
};
pub use group_admin::{
    ConsumerGroupAnswer, ConsumerGroupDescribeCall, ConsumerGroupMemberAnswer, DeleteGroupsCall, OffsetDeleteAnswer,
    OffsetDeleteCall,
};
pub use header::{RequestHeader, decode_response_header, encode_request};
pub use init_producer_id::{InitProducerIdAnswer, InitProducerIdCall};
pub use list_offsets::{ListOffsetsAnswer, ListOffsetsCall, ListOffsetsPartition, ListOffsetsPartitionAnswer};
pub use log_dirs::{DescribeLogDirsCall, LogDirAnswer, LogDirPartition};
pub use membership::{
    HeartbeatAnswer, HeartbeatCall, JoinGroupAnswer, JoinGroupCall, JoinedMember, LeaveGroupAnswer, LeaveGroupCall,
    SyncGroupAnswer, SyncGroupCall,
};
pub use metadata::{BrokerAnswer, MetadataAnswer, MetadataCall, PartitionAnswer, TopicAnswer};
pub use negotiate::{NoCommonVersion, VersionRange, VersionTable};
pub use offset_commit::{OffsetCommitAnswer, OffsetCommitCall, OffsetCommitPartition};
pub use offset_fetch::{OffsetFetchAnswer, OffsetFetchCall, OffsetFetchPartition};
pub use partitions::{CreatePartitionsCall, DeleteRecordsCall, DeletedRecords, NamedResult};
pub use produce::{ProduceAnswer, ProduceCall, ProducePartitionAnswer, ProduceTopic};
pub use sasl::{SaslAuthenticateAnswer, SaslAuthenticateCall, SaslHandshakeAnswer, SaslHandshakeCall};
pub use scram_users::{
    AlterScramUsersCall, DescribeScramUsersAnswer, DescribeScramUsersCall, ScramUpsertion, ScramUserAnswer,
};
pub use topic_partitions::{DescribeTopicPartitionsAnswer, DescribeTopicPartitionsCall, EligibleLeaders};
pub use transaction::{
    AddOffsetsToTxnCall, AddPartitionsToTxnCall, EndTxnCall, FindTransactionCoordinatorCall, TransactionAnswer,
    TransactionOwner, TransactionPartitionsAnswer, TxnOffsetCommitCall,
};

/// One request: what it asks, how it is written and how its answer is read.
///
/// `version` is always one that [`VersionTable::pick`] chose for this connection.
pub trait Call: Send + Sync {
    /// Which API this is.
    const API: ApiKey;
    /// What the broker answers.
    type Answer: Send;

    /// The highest version in which this very request can be written; the API's own maximum unless the request lacks
    /// something that newer versions need, such as topic ids.
    fn version_max(&self) -> i16 {
        Self::API.versions().max
    }

    /// Appends the body, without any header.
    ///
    /// # Errors
    /// [`EncodeError`] when a value cannot be written, such as a name of more than 32,767 bytes.
    fn encode(&self, version: i16, out: &mut Writer) -> Result<(), EncodeError>;

    /// How long the answer asks us to stay quiet on this connection, in milliseconds; 0 where the broker has waited itself, as
    /// all did before Kafka 2.0 (KIP-219).
    fn quiet_ms(_version: i16, _answer: &Self::Answer) -> i32 {
        0
    }

    /// Reads the body of the answer, without its header. Byte fields are slices of `body`.
    ///
    /// # Errors
    /// [`DecodeError`] with the field and its place in `body`.
    fn decode(version: i16, body: Bytes) -> Result<Self::Answer, DecodeError>;
}

/// A request that cannot be written: a value that the protocol has no room for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot write {field}: {reason}")]
pub struct EncodeError {
    /// The field, or the message when the field is not known.
    pub field: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

/// A 16-byte topic id (KIP-516); never all zeros, which on the wire means "none".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId([u8; 16]);

impl TopicId {
    /// The id with these bytes; none for sixteen zeros.
    pub fn new(bytes: [u8; 16]) -> Option<Self> {
        (bytes != [0; 16]).then_some(Self(bytes))
    }

    /// The bytes as they stand on the wire.
    pub const fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl std::fmt::Debug for TopicId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// The isolation level of a read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// Everything up to the high watermark, records of open and aborted transactions included.
    #[default]
    ReadUncommitted,
    /// Only what is outside transactions or in committed ones, up to the last stable offset.
    ReadCommitted,
}

impl Isolation {
    /// The protocol's number.
    pub const fn level(self) -> i8 {
        match self {
            Self::ReadUncommitted => 0,
            Self::ReadCommitted => 1,
        }
    }
}

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
