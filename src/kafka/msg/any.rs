//! Every API's answer by its number alone: for tests, tools and fuzzing that go over all of them.
//!
//! Both tables are exhaustive over [`ApiKey`], so an API cannot be added without them: what the client can be sent is
//! thereby walked with hostile counts, golden frames and fuzzing.

use bytes::Bytes;

use crate::wire::DecodeError;

use super::shape::Shape;
use super::{
    AddOffsetsToTxnCall, AddPartitionsToTxnCall, AlterConfigsCall, AlterScramUsersCall, ApiKey, ApiVersionsCall, Call,
    ConsumerGroupDescribeCall, ConsumerHeartbeatCall, CreateAclsCall, CreatePartitionsCall, CreateTopicCall,
    DeleteAclsCall, DeleteGroupsCall, DeleteRecordsCall, DeleteTopicCall, DescribeAclsCall, DescribeConfigsCall,
    DescribeGroupsCall, DescribeLogDirsCall, DescribeScramUsersCall, DescribeTopicPartitionsCall, EndTxnCall,
    EpochEndCall, FetchCall, FindCoordinatorCall, HeartbeatCall, IncrementalAlterConfigsCall, InitProducerIdCall,
    JoinGroupCall, LeaveGroupCall, ListGroupsCall, ListOffsetsCall, MetadataCall, OffsetCommitCall, OffsetDeleteCall,
    OffsetFetchCall, ProduceCall, SaslAuthenticateCall, SaslHandshakeCall, SyncGroupCall, TxnOffsetCommitCall, admin,
    coordinator, group, metadata, offset_fetch,
};

/// Reads the body of an answer and drops it: whether this client would take it.
///
/// # Errors
/// The [`DecodeError`] of the API's own [`Call::decode`].
pub fn decode_answer(api: ApiKey, version: i16, body: Bytes) -> Result<(), DecodeError> {
    fn read<C: Call>(version: i16, body: Bytes) -> Result<(), DecodeError> {
        C::decode(version, body).map(drop)
    }
    let read = match api {
        ApiKey::Produce => read::<ProduceCall>,
        ApiKey::Fetch => read::<FetchCall>,
        ApiKey::ListOffsets => read::<ListOffsetsCall>,
        ApiKey::Metadata => read::<MetadataCall>,
        ApiKey::OffsetCommit => read::<OffsetCommitCall>,
        ApiKey::OffsetFetch => read::<OffsetFetchCall>,
        ApiKey::FindCoordinator => read::<FindCoordinatorCall>,
        ApiKey::JoinGroup => read::<JoinGroupCall>,
        ApiKey::Heartbeat => read::<HeartbeatCall>,
        ApiKey::LeaveGroup => read::<LeaveGroupCall>,
        ApiKey::SyncGroup => read::<SyncGroupCall>,
        ApiKey::DescribeGroups => read::<DescribeGroupsCall>,
        ApiKey::ListGroups => read::<ListGroupsCall>,
        ApiKey::SaslHandshake => read::<SaslHandshakeCall>,
        ApiKey::ApiVersions => read::<ApiVersionsCall>,
        ApiKey::CreateTopics => read::<CreateTopicCall>,
        ApiKey::DeleteTopics => read::<DeleteTopicCall>,
        ApiKey::InitProducerId => read::<InitProducerIdCall>,
        ApiKey::OffsetForLeaderEpoch => read::<EpochEndCall>,
        ApiKey::AddPartitionsToTxn => read::<AddPartitionsToTxnCall>,
        ApiKey::AddOffsetsToTxn => read::<AddOffsetsToTxnCall>,
        ApiKey::EndTxn => read::<EndTxnCall>,
        ApiKey::TxnOffsetCommit => read::<TxnOffsetCommitCall>,
        ApiKey::SaslAuthenticate => read::<SaslAuthenticateCall>,
        ApiKey::ConsumerGroupHeartbeat => read::<ConsumerHeartbeatCall>,
        ApiKey::DeleteRecords => read::<DeleteRecordsCall>,
        ApiKey::DescribeAcls => read::<DescribeAclsCall>,
        ApiKey::CreateAcls => read::<CreateAclsCall>,
        ApiKey::DeleteAcls => read::<DeleteAclsCall>,
        ApiKey::DescribeConfigs => read::<DescribeConfigsCall>,
        ApiKey::AlterConfigs => read::<AlterConfigsCall>,
        ApiKey::DescribeLogDirs => read::<DescribeLogDirsCall>,
        ApiKey::CreatePartitions => read::<CreatePartitionsCall>,
        ApiKey::DeleteGroups => read::<DeleteGroupsCall>,
        ApiKey::IncrementalAlterConfigs => read::<IncrementalAlterConfigsCall>,
        ApiKey::OffsetDelete => read::<OffsetDeleteCall>,
        ApiKey::DescribeUserScramCredentials => read::<DescribeScramUsersCall>,
        ApiKey::AlterUserScramCredentials => read::<AlterScramUsersCall>,
        ApiKey::ConsumerGroupDescribe => read::<ConsumerGroupDescribeCall>,
        ApiKey::DescribeTopicPartitions => read::<DescribeTopicPartitionsCall>,
    };
    read(version, body)
}

/// The shape by which an answer is checked before `kafka-protocol` decodes it; none for the answers that are decoded here.
pub const fn answer_shape(api: ApiKey) -> Option<&'static Shape> {
    match api {
        ApiKey::Metadata => Some(&metadata::SHAPE),
        ApiKey::OffsetFetch => Some(&offset_fetch::SHAPE),
        ApiKey::FindCoordinator => Some(&coordinator::SHAPE),
        ApiKey::DescribeGroups => Some(&group::DESCRIBE_SHAPE),
        ApiKey::ListGroups => Some(&group::LIST_SHAPE),
        ApiKey::CreateTopics => Some(&admin::CREATE_SHAPE),
        ApiKey::DeleteTopics => Some(&admin::DELETE_SHAPE),
        ApiKey::Produce
        | ApiKey::Fetch
        | ApiKey::ListOffsets
        | ApiKey::OffsetCommit
        | ApiKey::JoinGroup
        | ApiKey::Heartbeat
        | ApiKey::LeaveGroup
        | ApiKey::SyncGroup
        | ApiKey::ConsumerGroupHeartbeat
        | ApiKey::SaslHandshake
        | ApiKey::ApiVersions
        | ApiKey::DeleteRecords
        | ApiKey::DescribeAcls
        | ApiKey::CreateAcls
        | ApiKey::DeleteAcls
        | ApiKey::DescribeConfigs
        | ApiKey::AlterConfigs
        | ApiKey::DescribeLogDirs
        | ApiKey::CreatePartitions
        | ApiKey::DeleteGroups
        | ApiKey::IncrementalAlterConfigs
        | ApiKey::OffsetDelete
        | ApiKey::DescribeUserScramCredentials
        | ApiKey::AlterUserScramCredentials
        | ApiKey::ConsumerGroupDescribe
        | ApiKey::DescribeTopicPartitions
        | ApiKey::InitProducerId
        | ApiKey::OffsetForLeaderEpoch
        | ApiKey::AddPartitionsToTxn
        | ApiKey::AddOffsetsToTxn
        | ApiKey::EndTxn
        | ApiKey::TxnOffsetCommit
        | ApiKey::SaslAuthenticate => None,
    }
}
