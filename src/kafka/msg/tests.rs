//! Our codecs against `kafka-protocol`'s in every version: requests of ours are read, and answers are written, by the other
//! side. Then every prefix and every single-bit flip of those answers must give a value or an error.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic)]

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{self as theirs, BrokerId, GroupId, ProducerId, TopicName};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use uuid::Uuid;

use super::shape::{Shape, check};
use super::*;
use crate::wire::Writer;

pub(super) fn text(text: &'static str) -> StrBytes {
    StrBytes::from_static_str(text)
}

pub(super) fn topic(name: &'static str) -> TopicName {
    TopicName(text(name))
}

/// What the other side reads from a request of ours; nothing may be left over.
pub(super) fn read_back<M: Decodable, C: Call>(call: &C, version: i16) -> M {
    let mut out = Writer::new();
    call.encode(version, &mut out).unwrap();
    let mut bytes = Bytes::from(out.into_vec());
    let message = M::decode(&mut bytes, version).unwrap_or_else(|e| panic!("{} v{version}: {e}", C::API));
    assert!(bytes.is_empty(), "{} v{version}: {} bytes left over", C::API, bytes.len());
    message
}

pub(super) fn written<M: Encodable>(message: &M, version: i16) -> Bytes {
    let mut out = BytesMut::new();
    message.encode(&mut out, version).unwrap();
    out.freeze()
}

fn versions<C: Call>() -> std::ops::RangeInclusive<i16> {
    C::API.versions().min..=C::API.versions().max
}

/// Reads every prefix and every single-bit flip: a value or an error, and no prefix is taken for the whole.
pub(super) fn torment<C: Call>(version: i16, body: &Bytes) {
    assert!(C::decode(version, body.clone()).is_ok(), "{} v{version}", C::API);
    for end in 0..body.len() {
        let _value_or_error = C::decode(version, body.slice(..end)).is_ok();
    }
    for bit in 0..body.len() * 8 {
        let mut bytes = body.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let _value_or_error = C::decode(version, bytes.into()).is_ok();
    }
}

/// As [`torment`], for a message behind a shape: the shape ends where the message ends.
fn torment_shaped<C: Call>(shape: &Shape, version: i16, body: &Bytes) {
    assert_eq!(check(shape, version, body), Ok(body.len()), "{} v{version}", C::API);
    for end in 0..body.len() {
        assert!(check(shape, version, &body[..end]).is_err(), "{} v{version}: {end} of {}", C::API, body.len());
    }
    torment::<C>(version, body);
}

fn fetch_call(id: Option<TopicId>) -> FetchCall {
    let partition =
        FetchPartition { partition: 3, offset: 77, leader_epoch: Some(5), last_epoch: Some(4), bytes_max: 1 << 20 };
    FetchCall {
        session: FetchSessionRef { id: 8, epoch: 3 },
        wait_ms_max: 500,
        bytes_min: 1,
        bytes_max: 4 << 20,
        isolation: Isolation::ReadCommitted,
        topics: vec![FetchTopic {
            name: "t".into(),
            id,
            partitions: vec![partition, FetchPartition { partition: 4, last_epoch: None, ..partition }],
        }],
        forgotten: vec![ForgottenTopic { name: "t".into(), id, partitions: vec![1, 2] }],
        rack: "r1".into(),
        by_id: id.is_some(),
    }
}

#[test]
fn fetch_requests() {
    let id = TopicId::new([7; 16]);
    for version in versions::<FetchCall>() {
        let read: theirs::FetchRequest = read_back(&fetch_call(id), version);
        assert_eq!((read.replica_id.0, read.max_wait_ms, read.min_bytes, read.max_bytes), (-1, 500, 1, 4 << 20));
        assert_eq!(read.isolation_level, 1);
        let session = if version >= 7 { (8, 3) } else { (0, -1) };
        assert_eq!((read.session_id, read.session_epoch), session);
        assert_eq!(read.rack_id.as_str(), if version >= 11 { "r1" } else { "" });
        assert_eq!(read.forgotten_topics_data.len(), usize::from(version >= 7));
        for forgotten in &read.forgotten_topics_data {
            assert_eq!(forgotten.partitions, [1, 2]);
            assert_eq!(forgotten.topic.0.as_str(), if version >= 13 { "" } else { "t" });
            assert_eq!(forgotten.topic_id.as_bytes(), &[if version >= 13 { 7 } else { 0 }; 16]);
        }
        let topic = &read.topics[0];
        if version >= 13 {
            assert_eq!(topic.topic_id.as_bytes(), &[7; 16]);
        } else {
            assert_eq!(topic.topic.0.as_str(), "t");
        }
        let partition = &topic.partitions[0];
        assert_eq!((partition.partition, partition.fetch_offset, partition.partition_max_bytes), (3, 77, 1 << 20));
        assert_eq!(partition.current_leader_epoch, if version >= 9 { 5 } else { -1 });
        assert_eq!(partition.log_start_offset, -1);
        assert_eq!(partition.last_fetched_epoch, if version >= 12 { 4 } else { -1 });
        assert_eq!(topic.partitions[1].last_fetched_epoch, -1);
        assert_eq!(topic.partitions[1].partition, 4);
    }
}

#[test]
fn a_fetch_without_a_topic_id_stays_below_v13() {
    assert_eq!(fetch_call(None).version_max(), 12);
    assert_eq!(fetch_call(TopicId::new([7; 16])).version_max(), ApiKey::Fetch.versions().max);
    assert!(fetch_call(None).encode(13, &mut Writer::new()).is_err());
}

fn fetch_response(version: i16) -> theirs::FetchResponse {
    use theirs::fetch_response::{
        AbortedTransaction, EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint, PartitionData,
    };
    let mut whole = PartitionData::default()
        .with_partition_index(3)
        .with_high_watermark(90)
        .with_last_stable_offset(80)
        .with_aborted_transactions(Some(vec![
            AbortedTransaction::default().with_producer_id(ProducerId(11)).with_first_offset(70),
        ]))
        .with_records(Some(Bytes::from_static(b"some record bytes")));
    if version >= 5 {
        whole = whole.with_log_start_offset(7);
    }
    if version >= 11 {
        whole = whole.with_preferred_read_replica(BrokerId(2));
    }
    let mut failed = PartitionData::default()
        .with_partition_index(4)
        .with_error_code(6)
        .with_high_watermark(-1)
        .with_aborted_transactions(None)
        .with_records(None);
    if version >= 12 {
        let leader = LeaderIdAndEpoch::default().with_leader_id(BrokerId(2)).with_leader_epoch(9);
        failed = failed
            .with_diverging_epoch(EpochEndOffset::default().with_epoch(1).with_end_offset(2))
            .with_current_leader(leader);
    }
    let mut topic_answer = FetchableTopicResponse::default().with_partitions(vec![whole, failed]);
    topic_answer = if version >= 13 {
        topic_answer.with_topic_id(Uuid::from_bytes([7; 16]))
    } else {
        topic_answer.with_topic(topic("t"))
    };
    let mut message = theirs::FetchResponse::default().with_throttle_time_ms(5).with_responses(vec![topic_answer]);
    if version >= 7 {
        message = message.with_session_id(77);
    }
    if version >= 16 {
        let endpoint = NodeEndpoint::default().with_node_id(BrokerId(2)).with_host(text("h2")).with_port(9092);
        message = message.with_node_endpoints(vec![endpoint]);
    }
    message
}

#[test]
fn fetch_answers() {
    for version in versions::<FetchCall>() {
        let body = written(&fetch_response(version), version);
        let answer = FetchCall::decode(version, body.clone()).unwrap();
        assert_eq!((answer.throttle_ms, answer.error, answer.partitions.len()), (5, ErrorCode::NONE, 2));
        assert_eq!((answer.session_id, answer.bytes), (if version >= 7 { 77 } else { 0 }, body.len()));
        assert_eq!(FetchCall::quiet_ms(version, &answer), if version >= 8 { 5 } else { 0 });
        let by_id = TopicRef::Id(TopicId::new([7; 16]));
        let expected = if version >= 13 { by_id } else { TopicRef::Name("t".into()) };
        let [whole, failed] = &answer.partitions[..] else { panic!("{answer:?}") };
        assert_eq!((&whole.topic, whole.partition, whole.error), (&expected, 3, ErrorCode::NONE));
        assert_eq!((whole.high_watermark, whole.last_stable_offset), (90, 80));
        assert_eq!(whole.log_start_offset, if version >= 5 { 7 } else { -1 });
        assert_eq!(whole.aborted, [AbortedTransaction { producer_id: 11, first_offset: 70 }]);
        assert_eq!(whole.preferred_read_replica, if version >= 11 { 2 } else { -1 });
        assert_eq!(whole.records, "some record bytes");
        assert_eq!(whole.leader, None);
        assert_eq!((failed.partition, failed.error), (4, ErrorCode::NOT_LEADER_OR_FOLLOWER));
        assert!(failed.records.is_empty() && failed.aborted.is_empty());
        assert_eq!(failed.leader, (version >= 12).then_some(LeaderHint { node: 2, epoch: 9 }));
        assert_eq!(failed.diverging, (version >= 12).then_some(EpochEnd { epoch: 1, end_offset: 2 }));
        assert_eq!(whole.diverging, None);
        let endpoint = NodeEndpoint { node: 2, host: "h2".to_owned(), port: 9092 };
        assert_eq!(answer.endpoints, if version >= 16 { vec![endpoint] } else { vec![] });
        // No copy: the records are where the frame is.
        let frame = body.as_ptr_range();
        assert!(frame.contains(&whole.records.as_ptr()));
        torment::<FetchCall>(version, &body);
    }
}

#[test]
fn epoch_ends_both_ways() {
    use theirs::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
    let first = EpochEndPartition { partition: 3, current_epoch: Some(5), epoch: 4 };
    let call = EpochEndCall {
        topics: vec![("t".into(), vec![first, EpochEndPartition { partition: 4, current_epoch: None, epoch: 0 }])],
    };
    for version in versions::<EpochEndCall>() {
        let read: theirs::OffsetForLeaderEpochRequest = read_back(&call, version);
        assert_eq!((read.replica_id.0, read.topics[0].topic.0.as_str()), (-1, "t"));
        let asked = &read.topics[0].partitions;
        let asked: Vec<_> = asked.iter().map(|p| (p.partition, p.current_leader_epoch, p.leader_epoch)).collect();
        assert_eq!(asked, [(3, 5, 4), (4, -1, 0)]);
        let good = EpochEndOffset::default().with_partition(3).with_leader_epoch(2).with_end_offset(50);
        let bad = EpochEndOffset::default().with_partition(4).with_error_code(74);
        let found = OffsetForLeaderTopicResult::default().with_topic(topic("t")).with_partitions(vec![good, bad]);
        let message = theirs::OffsetForLeaderEpochResponse::default().with_throttle_time_ms(5).with_topics(vec![found]);
        let body = written(&message, version);
        let answer = EpochEndCall::decode(version, body.clone()).unwrap();
        let expected = [
            ("t".into(), 3, Ok(EpochEnd { epoch: 2, end_offset: 50 })),
            ("t".into(), 4, Err(ErrorCode::FENCED_LEADER_EPOCH)),
        ];
        assert_eq!((answer.throttle_ms, &answer.partitions[..]), (5, &expected[..]));
        torment::<EpochEndCall>(version, &body);
    }
}

#[test]
fn list_offsets_both_ways() {
    use theirs::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
    let partitions = vec![
        ListOffsetsPartition { partition: 3, leader_epoch: Some(5), timestamp: ListOffsetsPartition::EARLIEST },
        ListOffsetsPartition { partition: 4, leader_epoch: None, timestamp: 1_700_000_000_000 },
    ];
    let call = ListOffsetsCall { topic: "t".into(), isolation: Isolation::ReadCommitted, partitions };
    for version in versions::<ListOffsetsCall>() {
        let read: theirs::ListOffsetsRequest = read_back(&call, version);
        assert_eq!((read.replica_id.0, read.isolation_level), (-1, i8::from(version >= 2)));
        let asked = &read.topics[0].partitions;
        assert_eq!((asked[0].partition_index, asked[0].timestamp), (3, -2));
        assert_eq!(asked[0].current_leader_epoch, if version >= 4 { 5 } else { -1 });
        assert_eq!((asked[1].partition_index, asked[1].timestamp), (4, 1_700_000_000_000));

        let mut part =
            ListOffsetsPartitionResponse::default().with_partition_index(3).with_timestamp(12).with_offset(34);
        if version >= 4 {
            part = part.with_leader_epoch(5);
        }
        let none = ListOffsetsPartitionResponse::default().with_partition_index(4).with_timestamp(-1).with_offset(-1);
        let answer = ListOffsetsTopicResponse::default().with_name(topic("t")).with_partitions(vec![part, none]);
        let body = written(&theirs::ListOffsetsResponse::default().with_topics(vec![answer]), version);
        let answer = ListOffsetsCall::decode(version, body.clone()).unwrap();
        let leader_epoch = (version >= 4).then_some(5);
        let error = ErrorCode::NONE;
        let first = ListOffsetsPartitionAnswer { partition: 3, error, timestamp: 12, offset: 34, leader_epoch };
        let second = ListOffsetsPartitionAnswer { partition: 4, error, timestamp: -1, offset: -1, leader_epoch: None };
        assert_eq!(answer.partitions, [("t".into(), first), ("t".into(), second)]);
        torment::<ListOffsetsCall>(version, &body);
    }
}

#[test]
fn offset_commits_both_ways() {
    use theirs::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
    let partition = |partition, metadata: Option<&str>| OffsetCommitPartition {
        partition,
        offset: 34,
        leader_epoch: Some(5),
        metadata: metadata.map(str::to_owned),
    };
    let call = OffsetCommitCall {
        group: "g".into(),
        generation: -1,
        member_id: "".into(),
        group_instance_id: None,
        topics: vec![("t".into(), vec![partition(3, Some("")), partition(4, None)])],
    };
    for version in versions::<OffsetCommitCall>() {
        let read: theirs::OffsetCommitRequest = read_back(&call, version);
        assert_eq!((read.group_id.0.as_str(), read.generation_id_or_member_epoch), ("g", -1));
        assert_eq!((read.member_id.as_str(), read.group_instance_id, read.retention_time_ms), ("", None, -1));
        let parts = &read.topics[0].partitions;
        assert_eq!((parts[0].partition_index, parts[0].committed_offset), (3, 34));
        assert_eq!(parts[0].committed_leader_epoch, if version >= 6 { 5 } else { -1 });
        assert_eq!(parts[0].committed_metadata, Some(text("")), "null differs from empty");
        assert_eq!(parts[1].committed_metadata, None);

        let part = |n, code| OffsetCommitResponsePartition::default().with_partition_index(n).with_error_code(code);
        let answer =
            OffsetCommitResponseTopic::default().with_name(topic("t")).with_partitions(vec![part(3, 0), part(4, 25)]);
        let body = written(&theirs::OffsetCommitResponse::default().with_topics(vec![answer]), version);
        let answer = OffsetCommitCall::decode(version, body.clone()).unwrap();
        let expected = [("t".into(), 3, ErrorCode::NONE), ("t".into(), 4, ErrorCode::UNKNOWN_MEMBER_ID)];
        assert_eq!(answer.partitions, expected);
        torment::<OffsetCommitCall>(version, &body);
    }
}

#[test]
fn api_versions_both_ways() {
    use theirs::api_versions_response::{ApiVersion, SupportedFeatureKey};
    for version in versions::<ApiVersionsCall>() {
        let read: theirs::ApiVersionsRequest = read_back(&ApiVersionsCall, version);
        assert_eq!(read.client_software_name.as_str(), if version >= 3 { "forebay" } else { "" });
        let api = ApiVersion::default().with_api_key(1).with_min_version(4).with_max_version(17);
        let mut message = theirs::ApiVersionsResponse::default().with_api_keys(vec![api]);
        if version >= 3 {
            let feature = SupportedFeatureKey::default().with_name(text("f")).with_max_version(3);
            message = message.with_supported_features(vec![feature]).with_finalized_features_epoch(9);
        }
        let body = written(&message, version);
        let answer = ApiVersionsCall::decode(version, body.clone()).unwrap();
        assert_eq!(answer.apis, [(1, VersionRange { min: 4, max: 17 })]);
        torment::<ApiVersionsCall>(version, &body);
    }
}

#[test]
fn metadata_both_ways() {
    use theirs::metadata_response::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic};
    for version in versions::<MetadataCall>() {
        for topics in [None, Some(vec![]), Some(vec!["t".into()])] {
            let count = topics.as_ref().map(Vec::len);
            let read: theirs::MetadataRequest = read_back(&MetadataCall { topics }, version);
            assert_eq!(read.topics.map(|topics| topics.len()), count, "null asks for all, empty for none");
            assert!(!read.allow_auto_topic_creation);
        }
        let nodes = || vec![BrokerId(1), BrokerId(2)];
        let mut part = MetadataResponsePartition::default()
            .with_partition_index(3)
            .with_leader_id(BrokerId(2))
            .with_replica_nodes(nodes())
            .with_isr_nodes(nodes());
        if version >= 5 {
            part = part.with_offline_replicas(vec![BrokerId(1)]);
        }
        if version >= 7 {
            part = part.with_leader_epoch(5);
        }
        let led_by_none = MetadataResponsePartition::default()
            .with_partition_index(4)
            .with_error_code(5)
            .with_leader_id(BrokerId(-1));
        let mut found =
            MetadataResponseTopic::default().with_name(Some(topic("t"))).with_partitions(vec![part, led_by_none]);
        if version >= 10 {
            found = found.with_topic_id(Uuid::from_bytes([7; 16]));
        }
        let broker = MetadataResponseBroker::default()
            .with_node_id(BrokerId(2))
            .with_host(text("h"))
            .with_port(9092)
            .with_rack(Some(text("r")));
        let message = theirs::MetadataResponse::default()
            .with_brokers(vec![broker])
            .with_cluster_id(Some(text("c")))
            .with_controller_id(BrokerId(2))
            .with_topics(vec![found]);
        let body = written(&message, version);
        let answer = MetadataCall::decode(version, body.clone()).unwrap();
        let rack = Some("r".to_owned());
        assert_eq!(answer.brokers, [BrokerAnswer { node: 2, host: "h".to_owned(), port: 9092, rack }]);
        assert_eq!((answer.cluster_id.as_deref(), answer.controller), (Some("c"), Some(2)));
        let found = &answer.topics[0];
        assert_eq!((found.name.as_str(), found.error), ("t", ErrorCode::NONE));
        assert_eq!(found.id, if version >= 10 { TopicId::new([7; 16]) } else { None });
        let [led, unled] = &found.partitions[..] else { panic!("{found:?}") };
        assert_eq!((led.partition, led.leader, &led.replicas[..]), (3, Some(2), &[1, 2][..]));
        assert_eq!(led.leader_epoch, (version >= 7).then_some(5));
        assert_eq!((unled.leader, unled.error), (None, ErrorCode::LEADER_NOT_AVAILABLE));
        torment_shaped::<MetadataCall>(&metadata::SHAPE, version, &body);
    }
}

#[test]
fn find_coordinator_both_ways() {
    for version in versions::<FindCoordinatorCall>() {
        let read: theirs::FindCoordinatorRequest = read_back(&FindCoordinatorCall { group: "g".into() }, version);
        assert_eq!((read.key.as_str(), read.key_type), ("g", 0));
        let message = theirs::FindCoordinatorResponse::default()
            .with_error_code(15)
            .with_error_message(Some(text("not yet")))
            .with_node_id(BrokerId(-1))
            .with_host(text(""))
            .with_port(-1);
        let body = written(&message, version);
        let answer = FindCoordinatorCall::decode(version, body.clone()).unwrap();
        assert_eq!(answer.error, ErrorCode::COORDINATOR_NOT_AVAILABLE);
        assert_eq!((answer.error_message.as_deref(), answer.node), (Some("not yet"), -1));
        torment_shaped::<FindCoordinatorCall>(&coordinator::SHAPE, version, &body);
    }
}

#[test]
fn offset_fetch_both_ways() {
    use theirs::offset_fetch_response as answers;
    for version in versions::<OffsetFetchCall>() {
        for topics in [None, Some(vec![("t".into(), vec![3, 4])])] {
            let count = topics.as_ref().map(Vec::len);
            let call = OffsetFetchCall { group: "g".into(), topics, member: Some(("m".into(), 6)) };
            let read: theirs::OffsetFetchRequest = read_back(&call, version);
            assert_eq!(read.require_stable, version >= 7);
            if version >= 8 {
                let group = &read.groups[0];
                assert_eq!((group.group_id.0.as_str(), group.topics.as_ref().map(Vec::len)), ("g", count));
                let member = (group.member_id.as_deref(), group.member_epoch);
                assert_eq!(member, if version >= 9 { (Some("m"), 6) } else { (None, -1) });
            } else {
                assert_eq!(read.group_id.0.as_str(), "g");
                assert_eq!(read.topics.map(|topics| topics.len()), count, "null asks for all");
            }
        }
        let message = if version >= 8 {
            let part = answers::OffsetFetchResponsePartitions::default()
                .with_partition_index(3)
                .with_committed_offset(34)
                .with_committed_leader_epoch(5)
                .with_metadata(Some(text("")));
            let none = answers::OffsetFetchResponsePartitions::default()
                .with_partition_index(4)
                .with_committed_offset(-1)
                .with_metadata(None);
            let found =
                answers::OffsetFetchResponseTopics::default().with_name(topic("t")).with_partitions(vec![part, none]);
            let group = answers::OffsetFetchResponseGroup::default()
                .with_group_id(GroupId(text("g")))
                .with_topics(vec![found])
                .with_error_code(16);
            theirs::OffsetFetchResponse::default().with_groups(vec![group])
        } else {
            let mut part = answers::OffsetFetchResponsePartition::default()
                .with_partition_index(3)
                .with_committed_offset(34)
                .with_metadata(Some(text("")));
            if version >= 5 {
                part = part.with_committed_leader_epoch(5);
            }
            let none = answers::OffsetFetchResponsePartition::default()
                .with_partition_index(4)
                .with_committed_offset(-1)
                .with_metadata(None);
            let found =
                answers::OffsetFetchResponseTopic::default().with_name(topic("t")).with_partitions(vec![part, none]);
            theirs::OffsetFetchResponse::default().with_topics(vec![found]).with_error_code(16)
        };
        let body = written(&message, version);
        let answer = OffsetFetchCall::decode(version, body.clone()).unwrap();
        assert_eq!((answer.error, answer.is_stable), (ErrorCode::NOT_COORDINATOR, version >= 7));
        let [(_, stored), (_, none)] = &answer.partitions[..] else { panic!("{answer:?}") };
        assert_eq!((stored.offset, stored.metadata.as_deref()), (Some(34), Some("")));
        assert_eq!(stored.leader_epoch, (version >= 5).then_some(5));
        assert_eq!((none.offset, &none.metadata), (None, &None), "-1 is nothing committed");
        torment_shaped::<OffsetFetchCall>(&offset_fetch::SHAPE, version, &body);
    }
}

#[test]
fn joining_both_ways() {
    use theirs::join_group_response::JoinGroupResponseMember;
    let call = JoinGroupCall {
        group: "g".into(),
        session_timeout_ms: 45_000,
        rebalance_timeout_ms: 300_000,
        member_id: "m".into(),
        group_instance_id: Some("i".into()),
        protocol_type: "consumer",
        protocols: vec![("range".into(), Bytes::from_static(b"xy")), ("sticky".into(), Bytes::new())],
        reason: Some("why".to_owned()),
    };
    for version in versions::<JoinGroupCall>() {
        let read: theirs::JoinGroupRequest = read_back(&call, version);
        assert_eq!((read.group_id.0.as_str(), read.session_timeout_ms), ("g", 45_000));
        assert_eq!(read.rebalance_timeout_ms, if version >= 1 { 300_000 } else { -1 });
        assert_eq!((read.member_id.as_str(), read.protocol_type.as_str()), ("m", "consumer"));
        assert_eq!(read.group_instance_id, (version >= 5).then(|| text("i")));
        assert_eq!((read.protocols[0].name.as_str(), &read.protocols[0].metadata[..]), ("range", &b"xy"[..]));
        assert_eq!((read.protocols.len(), read.protocols[1].metadata.len()), (2, 0));
        assert_eq!(read.reason, (version >= 8).then(|| text("why")));
        let mut member =
            JoinGroupResponseMember::default().with_member_id(text("m")).with_metadata(Bytes::from_static(b"z"));
        if version >= 5 {
            member = member.with_group_instance_id(Some(text("i")));
        }
        let mut message = theirs::JoinGroupResponse::default()
            .with_generation_id(7)
            .with_protocol_name(Some(text("range")))
            .with_leader(text("m"))
            .with_member_id(text("m"))
            .with_members(vec![member]);
        if version >= 7 {
            message = message.with_protocol_type(Some(text("consumer")));
        }
        if version >= 9 {
            message = message.with_skip_assignment(true);
        }
        let body = written(&message, version);
        let answer = JoinGroupCall::decode(version, body.clone()).unwrap();
        assert_eq!((answer.error, answer.generation, answer.protocol.as_str()), (ErrorCode::NONE, 7, "range"));
        assert_eq!((answer.leader.as_str(), answer.member_id.as_str()), ("m", "m"));
        assert_eq!(answer.skip_assignment, version >= 9);
        assert_eq!((answer.members.len(), &answer.members[0].metadata[..]), (1, &b"z"[..]));
        assert_eq!(answer.members[0].group_instance_id.is_some(), version >= 5);
        torment::<JoinGroupCall>(version, &body);
    }
}

#[test]
fn synchronising_beating_and_leaving_both_ways() {
    let (group, member_id): (std::sync::Arc<str>, std::sync::Arc<str>) = ("g".into(), "m".into());
    let sync = SyncGroupCall {
        group: group.clone(),
        generation: 7,
        member_id: member_id.clone(),
        group_instance_id: Some("i".into()),
        protocol_type: "consumer",
        protocol: "range".into(),
        assignments: vec![("m".to_owned(), Bytes::from_static(b"xyz"))],
    };
    for version in versions::<SyncGroupCall>() {
        let read: theirs::SyncGroupRequest = read_back(&sync, version);
        assert_eq!((read.group_id.0.as_str(), read.generation_id, read.member_id.as_str()), ("g", 7, "m"));
        assert_eq!(read.group_instance_id, (version >= 3).then(|| text("i")));
        assert_eq!(read.protocol_name, (version >= 5).then(|| text("range")));
        assert_eq!(&read.assignments[0].assignment[..], b"xyz");
        let message = theirs::SyncGroupResponse::default().with_assignment(Bytes::from_static(b"abc"));
        let body = written(&message, version);
        assert_eq!(&SyncGroupCall::decode(version, body.clone()).unwrap().assignment[..], b"abc");
        torment::<SyncGroupCall>(version, &body);
    }
    let beat = HeartbeatCall { group: group.clone(), generation: 7, member_id, group_instance_id: Some("i".into()) };
    for version in versions::<HeartbeatCall>() {
        let read: theirs::HeartbeatRequest = read_back(&beat, version);
        assert_eq!((read.generation_id, read.member_id.as_str()), (7, "m"));
        assert_eq!(read.group_instance_id, (version >= 3).then(|| text("i")));
        let body = written(&theirs::HeartbeatResponse::default().with_error_code(27), version);
        assert_eq!(HeartbeatCall::decode(version, body.clone()).unwrap().error, ErrorCode::REBALANCE_IN_PROGRESS);
        torment::<HeartbeatCall>(version, &body);
    }
    let leave = LeaveGroupCall {
        group,
        member_id: "m".into(),
        group_instance_id: Some("i".into()),
        reason: Some("done".to_owned()),
    };
    for version in versions::<LeaveGroupCall>() {
        let read: theirs::LeaveGroupRequest = read_back(&leave, version);
        let mut message = theirs::LeaveGroupResponse::default();
        if version >= 3 {
            assert_eq!(
                (read.members[0].member_id.as_str(), &read.members[0].group_instance_id),
                ("m", &Some(text("i")))
            );
            let gone = theirs::leave_group_response::MemberResponse::default().with_member_id(text("m"));
            message = message.with_members(vec![gone.with_error_code(25)]);
        } else {
            assert_eq!(read.member_id.as_str(), "m");
            message = message.with_error_code(25);
        }
        let body = written(&message, version);
        assert_eq!(LeaveGroupCall::decode(version, body.clone()).unwrap().error, ErrorCode::UNKNOWN_MEMBER_ID);
        torment::<LeaveGroupCall>(version, &body);
    }
}

#[test]
fn heartbeats_of_the_new_protocol_both_ways() {
    use theirs::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
    let id = TopicId::new([7; 16]).unwrap();
    let full = ConsumerHeartbeatCall {
        group: "g".into(),
        member_id: "m".into(),
        member_epoch: 0,
        instance_id: Some("i".into()),
        rack: Some("r".into()),
        rebalance_timeout_ms: 300_000,
        topic_names: Some(vec!["a".into(), "b".into()]),
        topic_regex: None,
        server_assignor: Some("uniform".into()),
        owned: Some(IdPartitions::from([(id, vec![1, 2])])),
    };
    let brief = ConsumerHeartbeatCall {
        member_epoch: 5,
        instance_id: None,
        rack: None,
        rebalance_timeout_ms: -1,
        topic_names: None,
        server_assignor: None,
        owned: None,
        ..full.clone()
    };
    for version in versions::<ConsumerHeartbeatCall>() {
        let read: theirs::ConsumerGroupHeartbeatRequest = read_back(&full, version);
        assert_eq!((read.group_id.0.as_str(), read.member_id.as_str(), read.member_epoch), ("g", "m", 0));
        assert_eq!((read.instance_id, read.rack_id), (Some(text("i")), Some(text("r"))));
        assert_eq!(read.subscribed_topic_names.map(|names| names.len()), Some(2));
        assert_eq!((read.server_assignor, read.rebalance_timeout_ms), (Some(text("uniform")), 300_000));
        let owned = &read.topic_partitions.unwrap()[0];
        assert_eq!((owned.topic_id.as_bytes(), &owned.partitions[..]), (&[7; 16], &[1, 2][..]));
        let read: theirs::ConsumerGroupHeartbeatRequest = read_back(&brief, version);
        assert_eq!((read.member_epoch, read.rebalance_timeout_ms), (5, -1));
        assert!(read.subscribed_topic_names.is_none() && read.topic_partitions.is_none());
        let regex = ConsumerHeartbeatCall { topic_regex: Some("a.*".into()), ..brief.clone() };
        assert_eq!(regex.encode(version, &mut Writer::new()).is_ok(), version >= 1);
        for assigned in [false, true] {
            let partitions =
                TopicPartitions::default().with_topic_id(Uuid::from_bytes([7; 16])).with_partitions(vec![0, 3]);
            let assignment = Assignment::default().with_topic_partitions(vec![partitions]);
            let message = theirs::ConsumerGroupHeartbeatResponse::default()
                .with_member_id(Some(text("m")))
                .with_member_epoch(4)
                .with_heartbeat_interval_ms(5000)
                .with_assignment(assigned.then_some(assignment));
            let body = written(&message, version);
            let answer = ConsumerHeartbeatCall::decode(version, body.clone()).unwrap();
            assert_eq!((answer.member_epoch, answer.heartbeat_interval_ms), (4, 5000));
            assert_eq!(answer.assignment, assigned.then(|| IdPartitions::from([(id, vec![0, 3])])));
            torment::<ConsumerHeartbeatCall>(version, &body);
        }
    }
}

#[test]
fn groups_both_ways() {
    use theirs::describe_groups_response::{DescribedGroup, DescribedGroupMember};
    use theirs::list_groups_response::ListedGroup;
    for version in versions::<ListGroupsCall>() {
        let _read: theirs::ListGroupsRequest = read_back(&ListGroupsCall, version);
        let mut group = ListedGroup::default().with_group_id(GroupId(text("g"))).with_protocol_type(text("consumer"));
        if version >= 4 {
            group = group.with_group_state(text("Stable"));
        }
        if version >= 5 {
            group = group.with_group_type(text("classic"));
        }
        let body = written(&theirs::ListGroupsResponse::default().with_groups(vec![group]), version);
        let answer = ListGroupsCall::decode(version, body.clone()).unwrap();
        let state = (version >= 4).then(|| "Stable".to_owned());
        assert_eq!((answer.groups[0].group.as_str(), &answer.groups[0].state), ("g", &state));
        torment_shaped::<ListGroupsCall>(&group::LIST_SHAPE, version, &body);
    }
    for version in versions::<DescribeGroupsCall>() {
        let read: theirs::DescribeGroupsRequest =
            read_back(&DescribeGroupsCall { groups: vec!["g".to_owned()] }, version);
        assert_eq!(read.groups[0].0.as_str(), "g");
        let mut member = DescribedGroupMember::default()
            .with_member_id(text("m"))
            .with_client_id(text("c"))
            .with_client_host(text("/127.0.0.1"))
            .with_member_assignment(Bytes::from_static(&[0, 0, 0, 0, 0, 0]));
        if version >= 4 {
            member = member.with_group_instance_id(Some(text("i")));
        }
        let found = DescribedGroup::default()
            .with_group_id(GroupId(text("g")))
            .with_group_state(text("Stable"))
            .with_protocol_type(text("consumer"))
            .with_protocol_data(text("range"))
            .with_members(vec![member]);
        let body = written(&theirs::DescribeGroupsResponse::default().with_groups(vec![found]), version);
        let answer = DescribeGroupsCall::decode(version, body.clone()).unwrap();
        assert_eq!((answer[0].state.as_str(), answer[0].protocol.as_str()), ("Stable", "range"));
        assert_eq!(answer[0].members[0].client_host, "/127.0.0.1");
        assert_eq!(answer[0].members[0].group_instance_id, (version >= 4).then(|| "i".to_owned()));
        torment_shaped::<DescribeGroupsCall>(&group::DESCRIBE_SHAPE, version, &body);
    }
}

#[test]
fn topics_are_created_and_deleted_both_ways() {
    use theirs::create_topics_request::CreatableReplicaAssignment;
    use theirs::create_topics_response::CreatableTopicResult;
    use theirs::delete_topics_response::DeletableTopicResult;
    let call = CreateTopicCall {
        name: "t".to_owned(),
        partitions: 10,
        replication_factor: 3,
        assignments: Vec::new(),
        configs: vec![("cleanup.policy".to_owned(), "compact".to_owned())],
        timeout_ms: 30_000,
    };
    for version in versions::<CreateTopicCall>() {
        let read: theirs::CreateTopicsRequest = read_back(&call, version);
        let asked = &read.topics[0];
        assert_eq!((asked.name.0.as_str(), asked.num_partitions, asked.replication_factor), ("t", 10, 3));
        assert!(asked.assignments.is_empty());
        let assigned = CreateTopicCall { assignments: vec![vec![2, 1], vec![3]], ..call.clone() };
        let asked: theirs::CreateTopicsRequest = read_back(&assigned, version);
        let asked = &asked.topics[0];
        assert_eq!((asked.num_partitions, asked.replication_factor), (-1, -1));
        let nodes = |one: &CreatableReplicaAssignment| (one.partition_index, one.broker_ids.clone());
        let nodes: Vec<_> = asked.assignments.iter().map(nodes).collect();
        assert_eq!(nodes, [(0, vec![BrokerId(2), BrokerId(1)]), (1, vec![BrokerId(3)])]);
        assert_eq!(asked.configs[0].value, Some(text("compact")));
        let result = CreatableTopicResult::default()
            .with_name(topic("t"))
            .with_error_code(36)
            .with_error_message(Some(text("there already")));
        let body = written(&theirs::CreateTopicsResponse::default().with_topics(vec![result]), version);
        let answer = CreateTopicCall::decode(version, body.clone()).unwrap();
        assert_eq!(
            (answer.error, answer.error_message.as_deref()),
            (ErrorCode::TOPIC_ALREADY_EXISTS, Some("there already"))
        );
        torment_shaped::<CreateTopicCall>(&admin::CREATE_SHAPE, version, &body);
    }
    for version in versions::<DeleteTopicCall>() {
        let read: theirs::DeleteTopicsRequest =
            read_back(&DeleteTopicCall { name: "t".to_owned(), timeout_ms: 1 }, version);
        assert_eq!(read.topic_names[0].0.as_str(), "t");
        let result = DeletableTopicResult::default().with_name(Some(topic("t"))).with_error_code(3);
        let body = written(&theirs::DeleteTopicsResponse::default().with_responses(vec![result]), version);
        let answer = DeleteTopicCall::decode(version, body.clone()).unwrap();
        assert_eq!(answer.error, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        torment_shaped::<DeleteTopicCall>(&admin::DELETE_SHAPE, version, &body);
    }
}

#[test]
fn produce_both_ways() {
    use theirs::produce_response::{
        BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
    };
    let batch = Bytes::from_static(b"a batch");
    let call = |id| ProduceCall {
        transactional_id: Some("tx".into()),
        joins_transaction: true,
        acks: -1,
        timeout_ms: 30_000,
        topics: vec![ProduceTopic { name: "t".into(), id, partitions: vec![(3, batch.clone()), (4, batch.clone())] }],
    };
    let id = TopicId::new([7; 16]);
    for version in versions::<ProduceCall>() {
        let read: theirs::ProduceRequest = read_back(&call(id), version);
        assert_eq!((read.acks, read.timeout_ms), (-1, 30_000));
        assert_eq!(read.transactional_id.map(|id| id.0), Some(text("tx")));
        let asked = &read.topic_data[0];
        if version >= 13 {
            assert_eq!(asked.topic_id.as_bytes(), &[7; 16]);
        } else {
            assert_eq!(asked.name.0.as_str(), "t");
        }
        assert_eq!((asked.partition_data[0].index, asked.partition_data[1].index), (3, 4));
        assert_eq!(asked.partition_data[1].records, Some(batch.clone()));
        let mut good =
            PartitionProduceResponse::default().with_index(3).with_base_offset(34).with_log_append_time_ms(5);
        let mut bad = PartitionProduceResponse::default().with_index(4).with_error_code(87).with_base_offset(-1);
        if version >= 5 {
            good = good.with_log_start_offset(2);
        }
        if version >= 8 {
            let error =
                |at, why| BatchIndexAndErrorMessage::default().with_batch_index(at).with_batch_index_error_message(why);
            bad = bad.with_error_message(Some(text("bad")));
            bad = bad.with_record_errors(vec![error(1, Some(text("no key"))), error(2, None)]);
        }
        let mut whole = theirs::ProduceResponse::default().with_throttle_time_ms(9);
        if version >= 10 {
            let leader = LeaderIdAndEpoch::default().with_leader_id(BrokerId(2)).with_leader_epoch(8);
            bad = bad.with_current_leader(leader);
            let node = NodeEndpoint::default().with_node_id(BrokerId(2)).with_host(text("h")).with_port(9);
            whole = whole.with_node_endpoints(vec![node]);
        }
        let mut answer = TopicProduceResponse::default().with_partition_responses(vec![good, bad]);
        answer =
            if version >= 13 { answer.with_topic_id(Uuid::from_bytes([7; 16])) } else { answer.with_name(topic("t")) };
        let body = written(&whole.with_responses(vec![answer]), version);
        let answer = ProduceCall::decode(version, body.clone()).unwrap();
        let [good, bad] = &answer.partitions[..] else { panic!("{answer:?}") };
        let name = if version >= 13 { TopicRef::Id(id) } else { TopicRef::Name("t".into()) };
        assert_eq!((&good.topic, good.partition, good.error, good.base_offset), (&name, 3, ErrorCode::NONE, 34));
        assert_eq!((good.log_append_time_ms, good.log_start_offset), (5, if version >= 5 { 2 } else { -1 }));
        assert_eq!((bad.partition, bad.error), (4, ErrorCode::INVALID_RECORD));
        if version >= 8 {
            assert_eq!(bad.record_errors, [(1, Some("no key".to_owned())), (2, None)]);
            assert_eq!(bad.error_message.as_deref(), Some("bad"));
        }
        assert_eq!(bad.leader, (version >= 10).then_some(LeaderHint { node: 2, epoch: 8 }));
        assert_eq!((answer.throttle_ms, answer.endpoints.len()), (9, usize::from(version >= 10)));
        torment::<ProduceCall>(version, &body);
    }
}

#[test]
fn a_produce_request_stays_below_what_it_lacks() {
    let call = |id, transactional_id: Option<&str>, joins_transaction| ProduceCall {
        transactional_id: transactional_id.map(Into::into),
        joins_transaction,
        acks: 1,
        timeout_ms: 0,
        topics: vec![ProduceTopic { name: "t".into(), id, partitions: vec![] }],
    };
    let id = TopicId::new([7; 16]);
    for (call, version) in [
        (call(id, None, false), 13),
        (call(None, None, false), 12),
        (call(id, Some("x"), true), 13),
        (call(id, Some("x"), false), 11),
    ] {
        assert_eq!(call.version_max(), version);
    }
    let mut zstd = vec![0; 61];
    zstd[22] = 4;
    let mut call = call(None, None, false);
    call.topics[0].partitions.push((0, zstd.into()));
    assert!(call.encode(7, &mut Writer::new()).is_ok());
    assert!(call.encode(6, &mut Writer::new()).unwrap_err().to_string().contains("zstd needs Kafka 2.1"));
}

fn owner() -> TransactionOwner {
    TransactionOwner { transactional_id: "tx".into(), producer_id: 77, producer_epoch: 3 }
}

#[test]
fn producer_ids_both_ways() {
    for version in versions::<InitProducerIdCall>() {
        let call = InitProducerIdCall {
            transactional_id: Some("tx".into()),
            transaction_timeout_ms: 60_000,
            current: Some((77, 3)),
        };
        let read: theirs::InitProducerIdRequest = read_back(&call, version);
        assert_eq!(read.transactional_id.map(|id| id.0), Some(text("tx")));
        assert_eq!(read.transaction_timeout_ms, 60_000);
        let current = if version >= 3 { (77, 3) } else { (-1, -1) };
        assert_eq!((read.producer_id.0, read.producer_epoch), current);
        let none = InitProducerIdCall { transactional_id: None, current: None, ..call };
        let read: theirs::InitProducerIdRequest = read_back(&none, version);
        assert_eq!((read.transactional_id, read.producer_id.0, read.producer_epoch), (None, -1, -1));
        let answer = theirs::InitProducerIdResponse::default()
            .with_throttle_time_ms(1)
            .with_error_code(51)
            .with_producer_id(ProducerId(78))
            .with_producer_epoch(4);
        let body = written(&answer, version);
        let answer = InitProducerIdCall::decode(version, body.clone()).unwrap();
        assert_eq!((answer.throttle_ms, answer.error), (1, ErrorCode::CONCURRENT_TRANSACTIONS));
        assert_eq!((answer.producer_id, answer.producer_epoch), (78, 4));
        torment::<InitProducerIdCall>(version, &body);
    }
}

#[test]
fn transactions_both_ways() {
    use theirs::add_partitions_to_txn_response::{AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult};
    let find = FindTransactionCoordinatorCall { transactional_id: "tx".into() };
    for version in 1..=find.version_max() {
        let read: theirs::FindCoordinatorRequest = read_back(&find, version);
        assert_eq!((read.key, read.key_type), (text("tx"), 1));
    }
    for version in versions::<AddPartitionsToTxnCall>() {
        let call = AddPartitionsToTxnCall { owner: owner(), topics: vec![("t".into(), vec![1, 2])] };
        let read: theirs::AddPartitionsToTxnRequest = read_back(&call, version);
        assert_eq!(read.v3_and_below_transactional_id.0, text("tx"));
        assert_eq!((read.v3_and_below_producer_id.0, read.v3_and_below_producer_epoch), (77, 3));
        assert_eq!(read.v3_and_below_topics[0].partitions, [1, 2]);
        let part = AddPartitionsToTxnPartitionResult::default().with_partition_index(2).with_partition_error_code(47);
        let result =
            AddPartitionsToTxnTopicResult::default().with_name(topic("t")).with_results_by_partition(vec![part]);
        let answer = theirs::AddPartitionsToTxnResponse::default()
            .with_throttle_time_ms(4)
            .with_results_by_topic_v3_and_below(vec![result]);
        let body = written(&answer, version);
        let answer = AddPartitionsToTxnCall::decode(version, body.clone()).unwrap();
        let wanted = vec![("t".into(), 2, ErrorCode::INVALID_PRODUCER_EPOCH)];
        assert_eq!(answer, TransactionPartitionsAnswer { throttle_ms: 4, partitions: wanted });
        torment::<AddPartitionsToTxnCall>(version, &body);
    }
    for version in versions::<AddOffsetsToTxnCall>() {
        let call = AddOffsetsToTxnCall { owner: owner(), group: "g".into() };
        let read: theirs::AddOffsetsToTxnRequest = read_back(&call, version);
        assert_eq!((read.transactional_id.0, read.group_id.0), (text("tx"), text("g")));
        assert_eq!((read.producer_id.0, read.producer_epoch), (77, 3));
        let body = written(&theirs::AddOffsetsToTxnResponse::default().with_error_code(53), version);
        let answer = AddOffsetsToTxnCall::decode(version, body.clone()).unwrap();
        assert_eq!(answer.error, ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
        torment::<AddOffsetsToTxnCall>(version, &body);
    }
    for version in versions::<EndTxnCall>() {
        let call = EndTxnCall { owner: owner(), commit: true, bumps_epoch: false };
        assert_eq!(call.version_max(), 4);
        let read: theirs::EndTxnRequest = read_back(&call, version);
        assert_eq!(
            (read.transactional_id.0, read.producer_id.0, read.producer_epoch),
            (text("tx"), ProducerId(77).0, 3)
        );
        assert!(read.committed);
        let mut answer = theirs::EndTxnResponse::default().with_error_code(90);
        if version >= 5 {
            answer = answer.with_producer_id(ProducerId(77)).with_producer_epoch(4);
        }
        let body = written(&answer, version);
        let answer = EndTxnCall::decode(version, body.clone()).unwrap();
        assert_eq!((answer.error, answer.next), (ErrorCode::PRODUCER_FENCED, (version >= 5).then_some((77, 4))));
        torment::<EndTxnCall>(version, &body);
    }
}

#[test]
fn offsets_of_transactions_both_ways() {
    use theirs::txn_offset_commit_response::{TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic};
    for version in versions::<TxnOffsetCommitCall>() {
        let offset =
            OffsetCommitPartition { partition: 2, offset: 99, leader_epoch: Some(6), metadata: Some("m".to_owned()) };
        let call = TxnOffsetCommitCall {
            owner: owner(),
            group: "g".into(),
            generation: 5,
            member_id: "me".into(),
            group_instance_id: Some("i".into()),
            topics: vec![("t".into(), vec![offset])],
            joins_transaction: false,
        };
        assert_eq!(call.version_max(), 4);
        let read: theirs::TxnOffsetCommitRequest = read_back(&call, version);
        assert_eq!((read.transactional_id.0, read.group_id.0), (text("tx"), text("g")));
        assert_eq!((read.producer_id.0, read.producer_epoch), (77, 3));
        if version >= 3 {
            assert_eq!((read.generation_id, read.member_id, read.group_instance_id), (5, text("me"), Some(text("i"))));
        }
        let part = &read.topics[0].partitions[0];
        assert_eq!((part.partition_index, part.committed_offset), (2, 99));
        assert_eq!(part.committed_leader_epoch, if version >= 2 { 6 } else { -1 });
        assert_eq!(part.committed_metadata, Some(text("m")));
        let part = TxnOffsetCommitResponsePartition::default().with_partition_index(2).with_error_code(22);
        let answer = TxnOffsetCommitResponseTopic::default().with_name(topic("t")).with_partitions(vec![part]);
        let body = written(&theirs::TxnOffsetCommitResponse::default().with_topics(vec![answer]), version);
        let answer = TxnOffsetCommitCall::decode(version, body.clone()).unwrap();
        assert_eq!(answer.partitions, [("t".into(), 2, ErrorCode::ILLEGAL_GENERATION)]);
        torment::<TxnOffsetCommitCall>(version, &body);
    }
}

#[test]
fn request_headers_are_read_by_the_other_side() {
    for api in ApiKey::ALL {
        for version in api.versions().min..=api.versions().max {
            let their_key = theirs::ApiKey::try_from(api.code()).unwrap();
            let flexible = their_key.request_header_version(version) == 2;
            assert_eq!(api.is_flexible(version), flexible, "{api} v{version}");
            let response = if *api == ApiKey::ApiVersions { 0 } else { i16::from(flexible) };
            assert_eq!(their_key.response_header_version(version), response, "{api} v{version}");
        }
    }
    let header = RequestHeader { api: ApiKey::Fetch, version: 12, correlation_id: 9, client_id: "me" };
    let mut frame = Bytes::from(encode_request(header, &fetch_call(None)).unwrap());
    let size = frame.split_to(4);
    assert_eq!(u32::from_be_bytes(size[..].try_into().unwrap()) as usize, frame.len());
    let read = theirs::RequestHeader::decode(&mut frame, 2).unwrap();
    assert_eq!((read.request_api_key, read.request_api_version, read.correlation_id), (1, 12, 9));
    assert_eq!(read.client_id, Some(text("me")));
    assert!(theirs::FetchRequest::decode(&mut frame, 12).is_ok());
}

#[test]
fn names_that_do_not_fit_are_errors() {
    let long = "x".repeat(40_000);
    let call = FindCoordinatorCall { group: long.as_str().into() };
    assert!(call.encode(1, &mut Writer::new()).is_err());
    let call = ListOffsetsCall { topic: long.into(), isolation: Isolation::ReadUncommitted, partitions: vec![] };
    let error = call.encode(1, &mut Writer::new()).unwrap_err();
    assert_eq!(error.to_string(), "cannot write topic: 40000 bytes, at most 32767 fit");
}

#[test]
fn a_count_of_two_billion_is_refused_by_every_codec() {
    fn attack<C: Call>(before_the_list: impl Fn(i16) -> usize) {
        for version in versions::<C>() {
            let count: &[u8] =
                if C::API.is_flexible(version) { &[0xff, 0xff, 0xff, 0xff, 0x07] } else { &[0x7f, 0xff, 0xff, 0xff] };
            let body = [&vec![0; before_the_list(version)], count, &[0; 8]].concat();
            assert!(C::decode(version, body.into()).is_err(), "{} v{version}", C::API);
        }
    }
    let throttle_since = |first: i16| move |version: i16| if version >= first { 4 } else { 0 };
    attack::<FetchCall>(|version| if version >= 7 { 10 } else { 4 });
    attack::<ListOffsetsCall>(throttle_since(2));
    attack::<OffsetCommitCall>(throttle_since(3));
    attack::<MetadataCall>(throttle_since(3));
    attack::<OffsetFetchCall>(throttle_since(3));
    attack::<SyncGroupCall>(|version| throttle_since(1)(version) + if version >= 5 { 4 } else { 2 });
    attack::<ConsumerHeartbeatCall>(|_| 6);
    attack::<CreateTopicCall>(throttle_since(2));
    attack::<DeleteTopicCall>(throttle_since(1));
    attack::<DescribeGroupsCall>(throttle_since(1));
    attack::<ListGroupsCall>(|version| throttle_since(1)(version) + 2);
    attack::<ProduceCall>(|_| 0);
    attack::<AddPartitionsToTxnCall>(|_| 4);
    attack::<TxnOffsetCommitCall>(|_| 4);
    attack::<ApiVersionsCall>(|_| 2);
}

#[test]
fn whatever_the_crate_calls_retriable_is_retriable_here_under_the_same_number() {
    for code in -1..=133_i16 {
        let Some(theirs) = kafka_protocol::ResponseError::try_from_code(code) else { continue };
        if theirs.is_retriable() {
            assert!(ErrorCode(code).is_retriable(), "{code} {theirs:?}");
        }
    }
}
