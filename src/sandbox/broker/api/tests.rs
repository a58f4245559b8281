//! Every API in every version: requests written by the message crate's client side, answers read by it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic, ReplicaState};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use uuid::Uuid;

use crate::sandbox::broker::cluster::{Cluster, NewTopic, Node, Settings};
use crate::sandbox::broker::log::tests::batch;
use crate::sandbox::broker::messages::{BadRequest, Request, text, topic_name};
use crate::sandbox::broker::server::{Peer, Shared};
use crate::sandbox::broker::versions::{APIS, KafkaVersion, key};
use crate::sandbox::broker::{clock, codes};

const GROUP: &str = "g";

fn address() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9092)
}

/// One broker with topic `t` of two partitions.
fn shared(version: KafkaVersion) -> Shared {
    let settings = Settings { version, auto_create: true, default_partitions: 1, memory_bytes_max: 1_000_000_000 };
    let mut cluster = Cluster::new(vec![Node { id: 1, address: address() }], settings, None).unwrap();
    let new = NewTopic { name: "t".to_owned(), partitions: 2, replication_factor: 1, ..NewTopic::default() };
    cluster.create_topic(&new, false).unwrap();
    Shared::new(cluster)
}

const fn peer() -> Peer {
    Peer { node: 1, address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 50_000) }
}

/// A frame without its size, as it reaches the broker.
fn frame(key: i16, version: i16, request: &impl Encodable) -> Bytes {
    let mut frame = BytesMut::new();
    let header = RequestHeader::default()
        .with_request_api_key(key)
        .with_request_api_version(version)
        .with_correlation_id(77)
        .with_client_id(Some(text("tester")));
    let header_version = ApiKey::try_from(key).unwrap().request_header_version(version);
    header.encode(&mut frame, header_version).unwrap();
    request.encode(&mut frame, version).unwrap();
    frame.freeze()
}

async fn ask(shared: &Shared, frame: &Bytes) -> Result<Option<Bytes>, BadRequest> {
    super::answer(shared, &peer(), &Request::read(frame)?).await
}

/// Reads an answer's header and body to its last byte.
fn read<R: Decodable>(key: i16, version: i16, answer: Bytes) -> R {
    let mut rest = answer;
    assert_eq!(rest.split_to(4), (rest.len() as i32).to_be_bytes().as_slice());
    let header_version = ApiKey::try_from(key).unwrap().response_header_version(version);
    let header = ResponseHeader::decode(&mut rest, header_version).unwrap();
    assert_eq!(header.correlation_id, 77);
    let response = R::decode(&mut rest, version).unwrap();
    assert!(rest.is_empty(), "key {key} version {version}: {} bytes left over", rest.len());
    response
}

async fn exchange<R: Decodable>(shared: &Shared, key: i16, version: i16, request: &impl Encodable) -> R {
    let answer = ask(shared, &frame(key, version, request)).await;
    let answer = answer.unwrap_or_else(|bad| panic!("key {key} version {version}: {bad}"));
    read(key, version, answer.unwrap())
}

fn versions_of(key: i16) -> std::ops::RangeInclusive<i16> {
    let api = APIS.iter().find(|api| api.key == key).unwrap();
    api.min..=api.max
}

fn produce(version: i16, id: Uuid, records: &[(i64, &str)]) -> ProduceRequest {
    let data = produce_request::PartitionProduceData::default().with_index(1).with_records(Some(batch(records).into()));
    let topic = produce_request::TopicProduceData::default().with_partition_data(vec![data]);
    let topic = if version >= 13 { topic.with_topic_id(id) } else { topic.with_name(topic_name("t")) };
    ProduceRequest::default().with_acks(-1).with_timeout_ms(1_000).with_topic_data(vec![topic])
}

fn fetch(version: i16, id: Uuid, offset: i64) -> FetchRequest {
    let partition = FetchPartition::default()
        .with_partition(1)
        .with_fetch_offset(offset)
        .with_partition_max_bytes(1_000_000)
        .with_current_leader_epoch(if version >= 9 { 0 } else { -1 });
    let partition = if version >= 17 { partition.with_replica_directory_id(Uuid::from_u128(9)) } else { partition };
    let topic = FetchTopic::default().with_partitions(vec![partition]);
    let topic = if version >= 13 { topic.with_topic_id(id) } else { topic.with_topic(topic_name("t")) };
    let request = FetchRequest::default().with_max_wait_ms(0).with_min_bytes(1).with_max_bytes(1_000_000);
    let request = request.with_topics(vec![topic]);
    let forgotten = ForgottenTopic::default().with_partitions(vec![0]);
    match version {
        ..7 => request,
        7..13 => request.with_forgotten_topics_data(vec![forgotten.with_topic(topic_name("t"))]),
        13..15 => {
            request.with_forgotten_topics_data(vec![forgotten.with_topic_id(id)]).with_cluster_id(Some(text("c")))
        }
        _ => request.with_replica_state(ReplicaState::default().with_replica_id(BrokerId(5)).with_replica_epoch(3)),
    }
}

fn topic_id(shared: &Shared) -> Uuid {
    shared.lock().topics.get("t").unwrap().id
}

#[tokio::test]
async fn records_come_back_in_every_version() {
    let shared = shared(KafkaVersion::Latest);
    let id = topic_id(&shared);
    let mut offset = 0;
    for version in versions_of(key::PRODUCE) {
        let request = produce(version, id, &[(1, "a"), (2, "b")]);
        let answer = exchange::<ProduceResponse>(&shared, key::PRODUCE, version, &request).await;
        let partition = &answer.responses[0].partition_responses[0];
        assert_eq!((partition.error_code, partition.base_offset, partition.index), (0, offset, 1));
        offset += 2;
    }
    for version in versions_of(key::FETCH) {
        let answer = exchange::<FetchResponse>(&shared, key::FETCH, version, &fetch(version, id, 3)).await;
        let partition = &answer.responses[0].partitions[0];
        assert_eq!((partition.error_code, partition.high_watermark), (0, offset), "version {version}");
        let records = partition.records.as_ref().unwrap();
        assert_eq!(records.len(), batch(&[(1, "a"), (2, "b")]).len() * (offset as usize / 2 - 1));
        assert_eq!(records[..8], 2_i64.to_be_bytes());
        let beyond = exchange::<FetchResponse>(&shared, key::FETCH, version, &fetch(version, id, offset + 1)).await;
        assert_eq!(beyond.responses[0].partitions[0].error_code, codes::OFFSET_OUT_OF_RANGE);
    }
    for version in 1..=*versions_of(key::LIST_OFFSETS).end() {
        for (time, expected) in [(-1, offset), (-2, 0), (2, 1), (3, -1)] {
            let partition =
                list_offsets_request::ListOffsetsPartition::default().with_partition_index(1).with_timestamp(time);
            let topic = list_offsets_request::ListOffsetsTopic::default()
                .with_name(topic_name("t"))
                .with_partitions(vec![partition]);
            let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic]);
            let answer = exchange::<ListOffsetsResponse>(&shared, key::LIST_OFFSETS, version, &request).await;
            let found = &answer.topics[0].partitions[0];
            assert_eq!((found.error_code, found.offset), (0, expected), "version {version} time {time}");
        }
    }
    for version in versions_of(key::OFFSET_FOR_LEADER_EPOCH) {
        let partition =
            offset_for_leader_epoch_request::OffsetForLeaderPartition::default().with_partition(1).with_leader_epoch(0);
        let topic = offset_for_leader_epoch_request::OffsetForLeaderTopic::default()
            .with_topic(topic_name("t"))
            .with_partitions(vec![partition]);
        let request = OffsetForLeaderEpochRequest::default().with_topics(vec![topic]);
        let key = key::OFFSET_FOR_LEADER_EPOCH;
        let answer = exchange::<OffsetForLeaderEpochResponse>(&shared, key, version, &request).await;
        assert_eq!(answer.topics[0].partitions[0].end_offset, offset);
    }
    for version in versions_of(key::DELETE_RECORDS) {
        let partition =
            delete_records_request::DeleteRecordsPartition::default().with_partition_index(1).with_offset(3);
        let topic = delete_records_request::DeleteRecordsTopic::default()
            .with_name(topic_name("t"))
            .with_partitions(vec![partition]);
        let request = DeleteRecordsRequest::default().with_topics(vec![topic]);
        let answer = exchange::<DeleteRecordsResponse>(&shared, key::DELETE_RECORDS, version, &request).await;
        assert_eq!(answer.topics[0].partitions[0].low_watermark, 3);
    }
}

/// The message crate knows no version 0: this request is written by hand after the protocol guide.
#[tokio::test]
async fn the_oldest_list_offsets_is_answered() {
    let shared = shared(KafkaVersion::V1_0_1);
    let batch = produce(3, Uuid::nil(), &[(1, "a"), (2, "b")]);
    exchange::<ProduceResponse>(&shared, key::PRODUCE, 3, &batch).await;
    let request = |partition: i32, time: i64, count_max: i32| {
        let mut frame = BytesMut::new();
        frame.put_slice(&[
            0, 2, 0, 0, 0, 0, 0, 77, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1,
        ]);
        frame.put_i32(partition);
        frame.put_i64(time);
        frame.put_i32(count_max);
        frame.freeze()
    };
    let answered = |partition: i32, code: i16, offsets: &[i64]| {
        let mut body = BytesMut::new();
        body.put_slice(&[0, 0, 0, 77, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1]);
        body.put_i32(partition);
        body.put_i16(code);
        body.put_i32(offsets.len() as i32);
        offsets.iter().for_each(|offset| body.put_i64(*offset));
        let mut frame = BytesMut::new();
        frame.put_i32(body.len() as i32);
        frame.put_slice(&body);
        frame.freeze()
    };
    for (partition, time, count_max, code, offsets) in [
        (1, -1, 9, 0, &[2, 0][..]),
        (1, -1, 1, 0, &[2]),
        (1, -2, 1, 0, &[0]),
        (1, 1, 9, 0, &[]),
        (1, 2, 9, 0, &[0]),
        (0, -1, 9, 0, &[0]),
        (2, -1, 9, codes::UNKNOWN_TOPIC_OR_PARTITION, &[]),
    ] {
        let frame = ask(&shared, &request(partition, time, count_max)).await.unwrap().unwrap();
        assert_eq!(frame, answered(partition, code, offsets), "partition {partition} time {time}");
    }
}

#[tokio::test]
async fn topics_come_and_go_in_every_version() {
    let shared = shared(KafkaVersion::Latest);
    for version in versions_of(key::CREATE_TOPICS) {
        let name = topic_name(&format!("c{version}"));
        let config = create_topics_request::CreatableTopicConfig::default()
            .with_name(text("max.message.bytes"))
            .with_value(Some(text("1000")));
        let topic = create_topics_request::CreatableTopic::default()
            .with_name(name)
            .with_num_partitions(4)
            .with_replication_factor(1)
            .with_configs(vec![config]);
        let request = CreateTopicsRequest::default().with_topics(vec![topic]);
        let answer = exchange::<CreateTopicsResponse>(&shared, key::CREATE_TOPICS, version, &request).await;
        assert_eq!(answer.topics[0].error_code, 0, "{:?}", answer.topics[0].error_message);
        let again = exchange::<CreateTopicsResponse>(&shared, key::CREATE_TOPICS, version, &request).await;
        assert_eq!(again.topics[0].error_code, codes::TOPIC_ALREADY_EXISTS);
    }
    for version in versions_of(key::METADATA) {
        let topic = |name: &str| metadata_request::MetadataRequestTopic::default().with_name(Some(topic_name(name)));
        let asked = vec![topic("t"), topic(&format!("made-{version}")), topic("a/b")];
        let request = MetadataRequest::default().with_topics(Some(asked)).with_allow_auto_topic_creation(true);
        let answer = exchange::<MetadataResponse>(&shared, key::METADATA, version, &request).await;
        let got = answer.topics.iter().map(|topic| (topic.error_code, topic.partitions.len())).collect::<Vec<_>>();
        assert_eq!(got, [(0, 2), (0, 1), (codes::INVALID_TOPIC_EXCEPTION, 0)], "version {version}");
        assert_eq!((answer.brokers.len(), answer.brokers[0].port), (1, 9092));
        let all = MetadataRequest::default().with_topics((version == 0).then(Vec::new));
        let answer = exchange::<MetadataResponse>(&shared, key::METADATA, version, &all).await;
        assert!(answer.topics.len() > 2);
        if version >= 10 {
            let by_id = |id: Uuid| metadata_request::MetadataRequestTopic::default().with_topic_id(id).with_name(None);
            let asked = vec![by_id(topic_id(&shared)), by_id(Uuid::from_u128(1))];
            let request = MetadataRequest::default().with_topics(Some(asked));
            let answer = exchange::<MetadataResponse>(&shared, key::METADATA, version, &request).await;
            assert_eq!(answer.topics[0].name.as_ref().unwrap().as_str(), "t");
            assert_eq!(answer.topics[1].error_code, codes::UNKNOWN_TOPIC_ID);
        }
    }
    for version in versions_of(key::DESCRIBE_CONFIGS) {
        let resource = |kind: i8, name: &str, keys: Option<Vec<StrBytes>>| {
            describe_configs_request::DescribeConfigsResource::default()
                .with_resource_type(kind)
                .with_resource_name(text(name))
                .with_configuration_keys(keys)
        };
        let one = Some(vec![text("max.message.bytes")]);
        let asked = vec![resource(2, "c2", one), resource(4, "1", None), resource(2, "none", None)];
        let request = DescribeConfigsRequest::default().with_resources(asked);
        let answer = exchange::<DescribeConfigsResponse>(&shared, key::DESCRIBE_CONFIGS, version, &request).await;
        assert_eq!(answer.results[0].configs.len(), 1);
        assert_eq!(answer.results[0].configs[0].value, Some(text("1000")));
        assert_eq!(answer.results[1].error_code, 0);
        assert_eq!(answer.results[2].error_code, codes::UNKNOWN_TOPIC_OR_PARTITION);
    }
    for version in versions_of(key::DESCRIBE_CLUSTER) {
        let request = DescribeClusterRequest::default();
        let answer = exchange::<DescribeClusterResponse>(&shared, key::DESCRIBE_CLUSTER, version, &request).await;
        assert_eq!((answer.brokers.len(), answer.controller_id), (1, BrokerId(1)));
    }
    for version in versions_of(key::DELETE_TOPICS) {
        let name = format!("c{}", version + 1);
        let request = if version >= 6 {
            let state = delete_topics_request::DeleteTopicState::default().with_name(Some(topic_name(&name)));
            DeleteTopicsRequest::default().with_topics(vec![state])
        } else {
            DeleteTopicsRequest::default().with_topic_names(vec![topic_name(&name)])
        };
        let answer = exchange::<DeleteTopicsResponse>(&shared, key::DELETE_TOPICS, version, &request).await;
        assert_eq!(answer.responses[0].error_code, 0);
        let again = exchange::<DeleteTopicsResponse>(&shared, key::DELETE_TOPICS, version, &request).await;
        assert_eq!(again.responses[0].error_code, codes::UNKNOWN_TOPIC_OR_PARTITION);
    }
}

fn commit(version: i16, offset: i64, metadata: &str) -> OffsetCommitRequest {
    let partition = offset_commit_request::OffsetCommitRequestPartition::default()
        .with_partition_index(1)
        .with_committed_offset(offset)
        .with_committed_metadata(Some(text(metadata)));
    let partition = if version >= 6 { partition.with_committed_leader_epoch(4) } else { partition };
    let topic = offset_commit_request::OffsetCommitRequestTopic::default()
        .with_name(topic_name("t"))
        .with_partitions(vec![partition]);
    OffsetCommitRequest::default()
        .with_group_id(GroupId(text(GROUP)))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic])
}

#[tokio::test]
async fn commits_come_back_in_every_version() {
    let shared = shared(KafkaVersion::Latest);
    for version in versions_of(key::OFFSET_COMMIT) {
        let request = commit(version, 40 + i64::from(version), "m");
        let answer = exchange::<OffsetCommitResponse>(&shared, key::OFFSET_COMMIT, version, &request).await;
        assert_eq!(answer.topics[0].partitions[0].error_code, 0);
        let long = commit(version, 1, &"x".repeat(5_000));
        let answer = exchange::<OffsetCommitResponse>(&shared, key::OFFSET_COMMIT, version, &long).await;
        assert_eq!(answer.topics[0].partitions[0].error_code, codes::OFFSET_METADATA_TOO_LARGE);
    }
    for version in versions_of(key::OFFSET_FETCH) {
        if version >= 8 {
            let topic = offset_fetch_request::OffsetFetchRequestTopics::default()
                .with_name(topic_name("t"))
                .with_partition_indexes(vec![0, 1]);
            let group = offset_fetch_request::OffsetFetchRequestGroup::default().with_group_id(GroupId(text(GROUP)));
            let groups = vec![group.clone().with_topics(Some(vec![topic])), group.with_topics(None)];
            let request = OffsetFetchRequest::default().with_groups(groups);
            let answer = exchange::<OffsetFetchResponse>(&shared, key::OFFSET_FETCH, version, &request).await;
            let found = &answer.groups[0].topics[0].partitions;
            assert_eq!((found[0].committed_offset, found[1].committed_offset), (-1, 49));
            assert_eq!((found[1].committed_leader_epoch, found[1].metadata.clone()), (4, Some(text("m"))));
            assert_eq!(answer.groups[1].topics[0].partitions.len(), 1);
        } else {
            let topic = offset_fetch_request::OffsetFetchRequestTopic::default()
                .with_name(topic_name("t"))
                .with_partition_indexes(vec![0, 1]);
            let request =
                OffsetFetchRequest::default().with_group_id(GroupId(text(GROUP))).with_topics(Some(vec![topic]));
            let answer = exchange::<OffsetFetchResponse>(&shared, key::OFFSET_FETCH, version, &request).await;
            let found = &answer.topics[0].partitions;
            assert_eq!((found[0].committed_offset, found[1].committed_offset), (-1, 49), "version {version}");
        }
    }
    for version in versions_of(key::LIST_GROUPS) {
        let answer =
            exchange::<ListGroupsResponse>(&shared, key::LIST_GROUPS, version, &ListGroupsRequest::default()).await;
        assert_eq!(answer.groups.iter().map(|group| group.group_id.as_str()).collect::<Vec<_>>(), [GROUP]);
    }
    for version in versions_of(key::FIND_COORDINATOR) {
        let request = if version >= 4 {
            FindCoordinatorRequest::default().with_coordinator_keys(vec![text(GROUP)])
        } else {
            FindCoordinatorRequest::default().with_key(text(GROUP))
        };
        let answer = exchange::<FindCoordinatorResponse>(&shared, key::FIND_COORDINATOR, version, &request).await;
        let port = if version >= 4 { answer.coordinators[0].port } else { answer.port };
        assert_eq!(port, 9092);
    }
}

#[tokio::test]
async fn a_member_joins_and_leaves_in_every_version() {
    let shared = shared(KafkaVersion::Latest);
    let latest = |key: i16, version: i16| version.min(*versions_of(key).end());
    for version in versions_of(key::JOIN_GROUP) {
        let protocol = join_group_request::JoinGroupRequestProtocol::default()
            .with_name(text("range"))
            .with_metadata(Bytes::from_static(b"m"));
        let mut request = JoinGroupRequest::default()
            .with_group_id(GroupId(text(GROUP)))
            .with_session_timeout_ms(10_000)
            .with_protocol_type(text("consumer"))
            .with_protocols(vec![protocol]);
        if version >= 1 {
            request = request.with_rebalance_timeout_ms(10_000);
        }
        let mut joined = exchange::<JoinGroupResponse>(&shared, key::JOIN_GROUP, version, &request).await;
        if version >= 4 {
            assert_eq!(joined.error_code, codes::MEMBER_ID_REQUIRED);
            request = request.with_member_id(joined.member_id);
            joined = exchange(&shared, key::JOIN_GROUP, version, &request).await;
        }
        assert_eq!((joined.error_code, joined.members.len()), (0, 1), "version {version}");
        assert_eq!(joined.protocol_name, Some(text("range")));
        let member = joined.member_id.clone();

        let v = latest(key::SYNC_GROUP, version);
        let assignment = sync_group_request::SyncGroupRequestAssignment::default()
            .with_member_id(member.clone())
            .with_assignment(Bytes::from_static(b"mine"));
        let mut request = SyncGroupRequest::default()
            .with_group_id(GroupId(text(GROUP)))
            .with_generation_id(joined.generation_id)
            .with_member_id(member.clone())
            .with_assignments(vec![assignment]);
        if v >= 5 {
            request = request.with_protocol_type(Some(text("consumer"))).with_protocol_name(Some(text("range")));
        }
        let synced = exchange::<SyncGroupResponse>(&shared, key::SYNC_GROUP, v, &request).await;
        assert_eq!((synced.error_code, synced.assignment), (0, Bytes::from_static(b"mine")));

        let v = latest(key::HEARTBEAT, version);
        let request = HeartbeatRequest::default()
            .with_group_id(GroupId(text(GROUP)))
            .with_generation_id(joined.generation_id)
            .with_member_id(member.clone());
        assert_eq!(exchange::<HeartbeatResponse>(&shared, key::HEARTBEAT, v, &request).await.error_code, 0);

        let v = latest(key::DESCRIBE_GROUPS, version);
        let request = DescribeGroupsRequest::default().with_groups(vec![GroupId(text(GROUP)), GroupId(text("none"))]);
        let described = exchange::<DescribeGroupsResponse>(&shared, key::DESCRIBE_GROUPS, v, &request).await;
        assert_eq!(described.groups[0].group_state, text("Stable"));
        assert_eq!(described.groups[0].members[0].member_assignment, Bytes::from_static(b"mine"));
        assert_eq!(described.groups[0].members[0].client_id, text("tester"));
        assert_eq!(described.groups[1].group_state, text("Dead"));

        let v = latest(key::LEAVE_GROUP, version);
        let request = LeaveGroupRequest::default().with_group_id(GroupId(text(GROUP)));
        let request = if v >= 3 {
            request.with_members(vec![leave_group_request::MemberIdentity::default().with_member_id(member)])
        } else {
            request.with_member_id(member)
        };
        let left = exchange::<LeaveGroupResponse>(&shared, key::LEAVE_GROUP, v, &request).await;
        assert_eq!(left.error_code, 0);
        assert!(shared.lock().groups.get(GROUP).unwrap().is_idle());
    }
}

#[tokio::test]
async fn producer_ids_differ_in_every_version() {
    let shared = shared(KafkaVersion::Latest);
    let mut seen = std::collections::BTreeSet::new();
    for version in versions_of(key::INIT_PRODUCER_ID) {
        let request = InitProducerIdRequest::default().with_transaction_timeout_ms(1).with_transactional_id(None);
        let answer = exchange::<InitProducerIdResponse>(&shared, key::INIT_PRODUCER_ID, version, &request).await;
        assert_eq!(answer.error_code, 0);
        assert!(seen.insert(answer.producer_id.0));
        let request = request.with_transactional_id(Some(TransactionalId(text("tx"))));
        let answer = exchange::<InitProducerIdResponse>(&shared, key::INIT_PRODUCER_ID, version, &request).await;
        assert_eq!(answer.error_code, codes::INVALID_REQUEST);
    }
}

#[tokio::test]
async fn versions_are_negotiated() {
    let latest = shared(KafkaVersion::Latest);
    for version in versions_of(key::API_VERSIONS) {
        let request = ApiVersionsRequest::default();
        let answer = exchange::<ApiVersionsResponse>(&latest, key::API_VERSIONS, version, &request).await;
        assert_eq!(answer.api_keys.len(), APIS.len());
    }
    let old = shared(KafkaVersion::V1_0_1);
    let answer = exchange::<ApiVersionsResponse>(&old, key::API_VERSIONS, 1, &ApiVersionsRequest::default()).await;
    let range =
        |key: i16| answer.api_keys.iter().find(|api| api.api_key == key).map(|api| (api.min_version, api.max_version));
    assert_eq!(range(key::FETCH), Some((4, 6)));
    assert_eq!(range(key::PRODUCE), Some((0, 5)));
    assert_eq!(range(key::API_VERSIONS), Some((0, 1)));
    assert_eq!(range(key::DESCRIBE_CLUSTER), None);
    // What it does not announce it does not take.
    let bad = ask(&old, &frame(key::FETCH, 7, &fetch(7, Uuid::nil(), 0))).await;
    assert!(matches!(bad, Err(BadRequest::UnknownVersion { key: key::FETCH, version: 7 })));

    // A version that is too new: the oldest layout, with the range since 2.4 and without it before.
    for (shared, version, listed) in [(&old, 3, 0), (&latest, 9, 1)] {
        let mut bytes = frame(key::API_VERSIONS, 3, &ApiVersionsRequest::default()).to_vec();
        bytes[2..4].copy_from_slice(&i16::to_be_bytes(version));
        let answer = ask(shared, &bytes.into()).await.unwrap().unwrap();
        let refused = read::<ApiVersionsResponse>(key::API_VERSIONS, 0, answer);
        assert_eq!((refused.error_code, refused.api_keys.len()), (codes::UNSUPPORTED_VERSION, listed));
    }
}

#[tokio::test]
async fn a_silent_producer_gets_no_answer() {
    let shared = shared(KafkaVersion::Latest);
    let request = produce(9, Uuid::nil(), &[(1, "a")]).with_acks(0);
    assert_eq!(ask(&shared, &frame(key::PRODUCE, 9, &request)).await.unwrap(), None);
    let mut damaged = request;
    damaged.topic_data[0].partition_data[0].records = Some(Bytes::from_static(b"junk"));
    assert!(ask(&shared, &frame(key::PRODUCE, 9, &damaged)).await.is_err());
}

/// A fetch waits for records, and no longer than for the first of them.
#[tokio::test]
async fn a_fetch_waits_for_records() {
    let shared = std::sync::Arc::new(shared(KafkaVersion::Latest));
    let waiting = std::sync::Arc::clone(&shared);
    let fetcher = tokio::spawn(async move {
        let request = fetch(12, Uuid::nil(), 0).with_max_wait_ms(60_000);
        exchange::<FetchResponse>(&waiting, key::FETCH, 12, &request).await
    });
    while shared.records_waiting() == 0 {
        tokio::task::yield_now().await;
    }
    assert!(!fetcher.is_finished());
    let request = produce(9, Uuid::nil(), &[(1, "a")]);
    exchange::<ProduceResponse>(&shared, key::PRODUCE, 9, &request).await;
    let answer = tokio::time::timeout(Duration::from_secs(10), fetcher).await.unwrap().unwrap();
    assert_eq!(answer.responses[0].partitions[0].high_watermark, 1);

    let started = clock::now();
    let request = fetch(12, Uuid::nil(), 1).with_max_wait_ms(150);
    let empty = exchange::<FetchResponse>(&shared, key::FETCH, 12, &request).await;
    assert_eq!(empty.responses[0].partitions[0].records.as_ref().unwrap().len(), 0);
    assert!(started.elapsed() >= Duration::from_millis(150));
}

/// Neither cut-off nor damaged requests get further than an error, whatever they say about lengths.
#[tokio::test]
async fn damaged_requests_end_in_errors() {
    let shared = shared(KafkaVersion::Latest);
    let id = topic_id(&shared);
    let mut frames = Vec::new();
    for version in versions_of(key::FETCH) {
        frames.push(frame(key::FETCH, version, &fetch(version, id, 0)));
    }
    for version in versions_of(key::PRODUCE) {
        frames.push(frame(key::PRODUCE, version, &produce(version, id, &[(1, "a")])));
    }
    for version in versions_of(key::OFFSET_COMMIT) {
        frames.push(frame(key::OFFSET_COMMIT, version, &commit(version, 1, "m")));
    }
    for good in frames {
        for end in 0..good.len() {
            assert!(ask(&shared, &good.slice(..end)).await.is_err(), "{end} bytes of {good:?}");
        }
        for at in 8..good.len() {
            for value in [0x00, 0x7f, 0x80, 0xff] {
                let mut bad = good.to_vec();
                bad[at] = value;
                // An answer, an error, or a fetch that was told to wait.
                drop(tokio::time::timeout(Duration::ZERO, ask(&shared, &bad.into())).await);
            }
        }
    }
    let mut header = BytesMut::new();
    header.put_i16(999);
    header.put_i16(0);
    header.put_i32(1);
    assert!(matches!(ask(&shared, &header.freeze()).await, Err(BadRequest::UnknownApi(999))));
}
