//! The codecs of administration against `kafka-protocol`'s, in every version that it has.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use kafka_protocol::messages as theirs;

use super::tests::{read_back, text, topic, torment, written};
use super::*;
use crate::wire::Writer;

#[test]
fn partitions_and_records_both_ways() {
    use theirs::create_partitions_response::CreatePartitionsTopicResult;
    use theirs::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
    let call = CreatePartitionsCall { topic: "t".into(), total: 5, assignments: vec![vec![1, 2]], timeout_ms: 7 };
    for version in 0..=3 {
        let read: theirs::CreatePartitionsRequest = read_back(&call, version);
        assert_eq!((read.topics[0].count, read.timeout_ms, read.validate_only), (5, 7, false));
        assert_eq!(read.topics[0].assignments.as_ref().unwrap()[0].broker_ids[1].0, 2);
        let result = CreatePartitionsTopicResult::default().with_name(topic("t")).with_error_code(37);
        let body = written(&theirs::CreatePartitionsResponse::default().with_results(vec![result]), version);
        let answer = CreatePartitionsCall::decode(version, body.clone()).unwrap();
        assert_eq!((answer[0].name.as_str(), answer[0].error), ("t", ErrorCode::INVALID_PARTITIONS));
        torment::<CreatePartitionsCall>(version, &body);
    }
    let call = DeleteRecordsCall { topic: "t".into(), partitions: vec![(3, 99)], timeout_ms: 7 };
    for version in 0..=2 {
        let read: theirs::DeleteRecordsRequest = read_back(&call, version);
        assert_eq!((read.topics[0].partitions[0].partition_index, read.topics[0].partitions[0].offset), (3, 99));
        let part = DeleteRecordsPartitionResult::default().with_partition_index(3).with_low_watermark(99);
        let result = DeleteRecordsTopicResult::default().with_name(topic("t")).with_partitions(vec![part]);
        let body = written(&theirs::DeleteRecordsResponse::default().with_topics(vec![result]), version);
        assert_eq!(DeleteRecordsCall::decode(version, body.clone()).unwrap()[0].low_watermark, 99);
        torment::<DeleteRecordsCall>(version, &body);
    }
}

#[test]
fn configs_both_ways() {
    use theirs::describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult};
    let call = DescribeConfigsCall { resource_type: 2, resource_name: "t".into(), keys: Some(vec!["k".into()]) };
    for version in 1..=4 {
        let read: theirs::DescribeConfigsRequest = read_back(&call, version);
        assert_eq!((read.resources[0].resource_type, read.include_synonyms), (2, true));
        let entry = DescribeConfigsResourceResult::default()
            .with_name(text("k"))
            .with_value(Some(text("v")))
            .with_config_source(5)
            .with_is_sensitive(true);
        let result = DescribeConfigsResult::default().with_resource_name(text("t")).with_configs(vec![entry]);
        let body = written(&theirs::DescribeConfigsResponse::default().with_results(vec![result]), version);
        let entry = &DescribeConfigsCall::decode(version, body.clone()).unwrap().entries[0];
        assert_eq!((entry.value.as_deref(), entry.is_default, entry.is_sensitive), (Some("v"), true, true));
        torment::<DescribeConfigsCall>(version, &body);
    }
    let changes = vec![("k".to_owned(), 0, Some("v".to_owned())), ("l".to_owned(), 1, None)];
    let call = IncrementalAlterConfigsCall { resource_type: 2, resource_name: "t".into(), changes };
    for version in 0..=1 {
        let read: theirs::IncrementalAlterConfigsRequest = read_back(&call, version);
        let configs = &read.resources[0].configs;
        assert_eq!((configs[0].value.clone(), configs[1].config_operation), (Some(text("v")), 1));
    }
    let call =
        AlterConfigsCall { resource_type: 2, resource_name: "t".into(), entries: vec![("k".into(), Some("v".into()))] };
    for version in 0..=2 {
        let read: theirs::AlterConfigsRequest = read_back(&call, version);
        assert_eq!(read.resources[0].configs[0].name, text("k"));
    }
}

#[test]
fn acls_and_users_both_ways() {
    let filter = AclFilterEntry {
        resource_type: 2,
        resource_name: Some("t".into()),
        pattern_type: PATTERN_LITERAL,
        principal: None,
        host: None,
        operation: 1,
        permission: 1,
    };
    let entry = AclEntry {
        resource_type: 2,
        resource_name: "t".into(),
        pattern_type: 4,
        principal: "User:a".into(),
        host: "*".into(),
        operation: 3,
        permission: 3,
    };
    for version in 1..=3 {
        let read: theirs::DescribeAclsRequest = read_back(&DescribeAclsCall { filter: filter.clone() }, version);
        assert_eq!((read.resource_name_filter, read.pattern_type_filter), (Some(text("t")), 3));
        let read: theirs::DeleteAclsRequest = read_back(&DeleteAclsCall { filters: vec![filter.clone()] }, version);
        assert_eq!(read.filters[0].permission_type, 1);
        let read: theirs::CreateAclsRequest = read_back(&CreateAclsCall { entries: vec![entry.clone()] }, version);
        assert_eq!((read.creations[0].resource_pattern_type, read.creations[0].operation), (4, 3));
    }
    // Before patterns there are none to ask for.
    assert!(CreateAclsCall { entries: vec![entry] }.encode(0, &mut Writer::new()).is_err());
    assert!(DescribeAclsCall { filter }.encode(0, &mut Writer::new()).is_ok());
    let upsertion = ScramUpsertion {
        user: "a".into(),
        mechanism: 2,
        iterations: 4096,
        salt: vec![1, 2],
        salted_password: vec![3; 64],
    };
    let call = AlterScramUsersCall { deletions: vec![("b".into(), 1)], upsertions: vec![upsertion] };
    let read: theirs::AlterUserScramCredentialsRequest = read_back(&call, 0);
    assert_eq!((read.deletions[0].mechanism, read.upsertions[0].salted_password.len()), (1, 64));
    assert!(!format!("{call:?}").contains("[3"), "a salted password is a secret");
}

#[test]
fn groups_and_folders_both_ways() {
    use theirs::describe_log_dirs_response::{DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic};
    let call = OffsetDeleteCall { group: "g".into(), topics: vec![("t".into(), vec![4])] };
    let read: theirs::OffsetDeleteRequest = read_back(&call, 0);
    assert_eq!(read.topics[0].partitions[0].partition_index, 4);
    for version in 0..=2 {
        let read: theirs::DeleteGroupsRequest = read_back(&DeleteGroupsCall { groups: vec!["g".into()] }, version);
        assert_eq!(read.groups_names[0].0, text("g"));
    }
    for version in 1..=4 {
        let _read: theirs::DescribeLogDirsRequest = read_back(&DescribeLogDirsCall::default(), version);
        let part = DescribeLogDirsPartition::default().with_partition_index(1).with_partition_size(77);
        let of_topic = DescribeLogDirsTopic::default().with_name(topic("t")).with_partitions(vec![part]);
        let result = DescribeLogDirsResult::default().with_log_dir(text("/d")).with_topics(vec![of_topic]);
        let body = written(&theirs::DescribeLogDirsResponse::default().with_results(vec![result]), version);
        let (_, dirs) = DescribeLogDirsCall::decode(version, body.clone()).unwrap();
        assert_eq!((dirs[0].path.as_str(), dirs[0].topics[0].1[0].size), ("/d", 77));
        torment::<DescribeLogDirsCall>(version, &body);
    }
    for version in 0..=1 {
        let call = ConsumerGroupDescribeCall { groups: vec!["g".into()] };
        let read: theirs::ConsumerGroupDescribeRequest = read_back(&call, version);
        assert_eq!(read.group_ids[0].0, text("g"));
    }
    let call = DescribeTopicPartitionsCall { topics: vec!["t".into()], cursor: Some(("t".into(), 3)) };
    let read: theirs::DescribeTopicPartitionsRequest = read_back(&call, 0);
    assert_eq!(read.cursor.unwrap().partition_index, 3);
}
