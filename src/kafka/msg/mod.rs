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
mod api_key;
mod api_versions;
mod call;
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

pub use acls::{
    AclEntry, AclFilterEntry, CreateAclsCall, DeleteAclsAnswer, DeleteAclsCall, DescribeAclsAnswer, DescribeAclsCall,
    PATTERN_LITERAL,
};
pub use admin::{CreateTopicAnswer, CreateTopicCall, DeleteTopicAnswer, DeleteTopicCall};
pub use any::{answer_shape, decode_answer};
pub use api_key::ApiKey;
pub use api_versions::{ApiVersionsAnswer, ApiVersionsCall};
pub use call::{Call, EncodeError, Isolation, TopicId};
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
