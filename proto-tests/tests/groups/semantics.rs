//! What a member owes its group, against real brokers: statements 15 and 19 of the client's semantics, commits with metadata and
//! generations, and what the caller hears when the membership changes. Kafka's own tools judge what is stored.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use forebay::kafka::record::Decompressor;
use forebay::kafka::{
    Assignor, Client, ClientConfig, ErrorCode, ErrorKind, GroupConfig, GroupConsumer, GroupEvent, GroupProtocol,
    OffsetReset, OffsetToCommit, Standing,
};
use forebay_proto_tests::kafka::{KafkaCluster, Tool, Version};
use forebay_proto_tests::process::run;

/// How long anything may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

fn on<F: Future<Output = ()>>(test: F) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async { tokio::time::timeout(LIMIT, test).await.expect("it ends in time") });
}

async fn client(cluster: &KafkaCluster) -> Client {
    Client::connect(ClientConfig::new([cluster.servers()])).await.expect("the cluster is up")
}

fn config(group: &str) -> GroupConfig {
    GroupConfig {
        reset: OffsetReset::Earliest,
        auto_commit: None,
        session_timeout: Duration::from_secs(6),
        heartbeat_interval: Duration::from_millis(500),
        ..GroupConfig::new(group)
    }
}

fn consumer(client: &Client, config: GroupConfig, topic: &str) -> GroupConsumer {
    let mut consumer = GroupConsumer::new(client, config).expect("a good configuration");
    consumer.subscribe([topic]);
    consumer
}

/// Goes on to the next assignment that `wanted` accepts; gives its generation and partitions.
async fn assigned(
    consumer: &mut GroupConsumer,
    wanted: impl Fn(usize) -> bool,
) -> (forebay::kafka::Generation, Vec<(Arc<str>, i32)>) {
    loop {
        if let GroupEvent::Assigned { generation, .. } = consumer.next().await.expect("a healthy group") {
            let owned: Vec<(Arc<str>, i32)> = consumer.owned().into_iter().map(|p| (p.topic, p.partition)).collect();
            if wanted(owned.len()) {
                return (generation, owned);
            }
        }
    }
}

fn offset(topic: &str, partition: i32, offset: i64, metadata: &str) -> OffsetToCommit {
    OffsetToCommit { topic: topic.into(), partition, offset, leader_epoch: Some(0), metadata: metadata.to_owned() }
}

#[test]
fn statement_19_heartbeats_do_not_wait_behind_a_long_fetch() {
    let cluster = KafkaCluster::shared(Version::V4_4_0);
    cluster.create_topic("quiet", 1, 1);
    on(async {
        let client = client(&cluster).await;
        let mut config = config("quiet");
        // The broker holds every fetch for half a minute, and drops a member after six seconds of silence.
        config.fetch.wait_ms_max = 30_000;
        config.fetch.bytes_min = 1 << 20;
        let mut consumer = consumer(&client, config, "quiet");
        let (generation, owned) = assigned(&mut consumer, |count| count == 1).await;
        assert_eq!(owned, [("quiet".into(), 0)]);
        let quiet = tokio::time::timeout(Duration::from_secs(14), consumer.next()).await;
        assert!(quiet.is_err(), "nothing happens: {quiet:?}");
        assert_eq!(consumer.generation(), Some(generation.clone()));
        // The coordinator still takes commits of that generation.
        consumer.committer().commit(&generation, &[offset("quiet", 0, 0, "still here")]).await.expect("a live member");
        consumer.close().await.expect("a goodbye");
    });
}

#[test]
fn statement_15_a_static_member_whose_id_is_taken_is_fenced_for_good() {
    let cluster = KafkaCluster::shared(Version::V2_8_2);
    cluster.create_topic("static", 2, 1);
    on(async {
        let client = client(&cluster).await;
        let fixed = || GroupConfig { group_instance_id: Some("one".to_owned()), ..config("static") };
        let mut old = consumer(&client, fixed(), "static");
        let (generation, _) = assigned(&mut old, |count| count == 2).await;
        let mut new = consumer(&client, fixed(), "static");
        assigned(&mut new, |count| count == 2).await;
        let error = old.committer().commit(&generation, &[offset("static", 0, 0, "")]).await.expect_err("it is fenced");
        assert!(error.is_fenced(), "{error}");
        let error = loop {
            if let Err(error) = old.next().await {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::Broker(ErrorCode::FENCED_INSTANCE_ID), "{error}");
        assert!(error.to_string().contains("group \"static\""), "{error}");
        assert!(old.next().await.is_err() && old.owned().is_empty());
    });
}

#[test]
fn a_commit_carries_metadata_and_epoch_and_an_old_generation_is_refused() {
    for (version, protocol) in [
        (Version::V1_0_1, config("").protocol),
        (Version::V4_4_0, config("").protocol),
        (Version::V4_4_0, GroupProtocol::Consumer { server_assignor: None }),
    ] {
        let cluster = KafkaCluster::shared(version);
        let name = format!("meta-{}-{}", version.name(), matches!(protocol, GroupProtocol::Consumer { .. }));
        cluster.create_topic(&name, 2, 1);
        cluster.produce(&name, "a\nb\nc\n", &[]);
        on(async {
            let client = client(&cluster).await;
            let own = GroupConfig { protocol: protocol.clone(), ..config(&name) };
            let mut first = consumer(&client, own.clone(), &name);
            let (generation, _) = assigned(&mut first, |count| count == 2).await;
            let committer = first.committer();
            committer.commit(&generation, &[offset(&name, 0, 1, "fb1;b=2")]).await.expect("a member's commit");
            let stored = client.stable_committed_offsets(&name, &[(name.clone(), vec![0, 1])]).await.expect("stored");
            assert_eq!((stored[0].offset, stored[0].metadata.as_deref()), (Some(1), Some("fb1;b=2")), "{version:?}");
            assert_eq!(stored[0].leader_epoch, if version > Version::V2_0_1 { Some(0) } else { None });
            assert_eq!(stored[1].offset, None);
            // A second member begins another generation: the first one's is over, whatever it still owns.
            let mut second = consumer(&client, own, &name);
            let mut settled = BTreeSet::new();
            while settled.len() < 2 {
                let (who, event) = tokio::select! {
                    event = first.next() => (1, event),
                    event = second.next() => (2, event),
                };
                if let GroupEvent::Assigned { partitions, .. } = event.expect("healthy")
                    && partitions.len() == 1
                {
                    settled.insert(who);
                    // What was stored comes with the partition, metadata and all.
                    for found in partitions.iter().filter(|found| found.partition == 0) {
                        let committed = found.committed.as_ref().expect("it was committed");
                        assert_eq!((committed.offset, committed.metadata.as_deref()), (Some(1), Some("fb1;b=2")));
                        assert_eq!(found.position.map(|position| position.offset), Some(1));
                    }
                }
                // A kept partition is not assigned again.
                if first.generation().is_some_and(|now| now != generation) && first.owned().len() == 1 {
                    settled.insert(1);
                }
            }
            // Of a partition that stayed, brokers from 4.3 on take an older epoch in the new protocol (KIP-1251).
            let kept = first.owned()[0].partition;
            let moved = offset(&name, 1 - kept, 2, "");
            let error = committer.commit(&generation, &[moved]).await.expect_err("it is over");
            assert!(error.is_fenced(), "{version:?}: {error}");
            let rows = cluster.group(&name);
            assert!(
                rows.iter().any(|row| row.partition == 0 && row.committed == Some(1)),
                "as Kafka's tool says: {rows:?}"
            );
        });
    }
}

#[test]
fn a_caller_that_is_away_for_too_long_loses_what_it_has_and_comes_back() {
    let cluster = KafkaCluster::shared(Version::V2_8_2);
    cluster.create_topic("away", 2, 1);
    on(async {
        let client = client(&cluster).await;
        let short = GroupConfig { poll_interval_max: Duration::from_secs(2), ..config("away") };
        let mut consumer = consumer(&client, short, "away");
        let (generation, _) = assigned(&mut consumer, |count| count == 2).await;
        // The caller works; its member leaves without it.
        while consumer.standing() != Standing::Out {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let error =
            consumer.committer().commit(&generation, &[offset("away", 0, 0, "")]).await.expect_err("it has left");
        assert!(error.is_fenced(), "{error}");
        let event = consumer.next().await.expect("a loss");
        assert!(matches!(&event, GroupEvent::Lost { partitions } if partitions.len() == 2), "{event:?}");
        let (next, _) = assigned(&mut consumer, |count| count == 2).await;
        assert_ne!(next.member_id, generation.member_id);
    });
}

#[test]
fn topics_that_come_and_grow_are_read() {
    let cluster = KafkaCluster::shared(Version::V2_8_2);
    cluster.create_topic("grow-a", 1, 1);
    on(async {
        let client = client(&cluster).await;
        let strategy = GroupProtocol::Classic { assignors: vec![Assignor::CooperativeSticky] };
        let quick = GroupConfig { metadata_age_max: Duration::from_millis(500), protocol: strategy, ..config("grow") };
        let mut consumer = GroupConsumer::new(&client, quick).expect("a good configuration");
        consumer.subscribe_pattern("grow-[a-z]").expect("a pattern");
        assigned(&mut consumer, |count| count == 1).await;
        cluster.create_topic("grow-b", 2, 1);
        cluster.create_topic("grow-zz", 2, 1);
        let (_, owned) = assigned(&mut consumer, |count| count == 3).await;
        assert!(owned.iter().all(|(topic, _)| &**topic != "grow-zz"), "the whole name has to match");
        let _output = cluster.topics(&["--alter", "--topic", "grow-b", "--partitions", "3"]).expect_success();
        assigned(&mut consumer, |count| count == 4).await;
        assert!(consumer.subscribe_pattern("(").is_err());
    });
}

/// More members than partitions: who gets none is told so, stays in the group, and takes over when the other one leaves.
#[test]
fn a_member_without_a_partition_waits_for_one() {
    for (version, protocol) in [
        (Version::V1_0_1, config("").protocol),
        (Version::V4_4_0, config("").protocol),
        (Version::V4_4_0, GroupProtocol::Consumer { server_assignor: None }),
    ] {
        let cluster = KafkaCluster::shared(version);
        let name = format!("none-{}-{}", version.name(), matches!(protocol, GroupProtocol::Consumer { .. }));
        cluster.create_topic(&name, 1, 1);
        on(async {
            let client = client(&cluster).await;
            let own = GroupConfig { protocol: protocol.clone(), ..config(&name) };
            // One after the other: a member that nobody asks would hold the first one up.
            let mut first = consumer(&client, own.clone(), &name);
            assigned(&mut first, |count| count == 1).await;
            let mut members = [first, consumer(&client, own, &name)];
            let mut is_told = [false; 2];
            let both = |told: [bool; 2], members: &[GroupConsumer; 2]| {
                let owned = members.iter().map(|member| member.owned().len()).sum::<usize>();
                told[1] && owned == 1 && members.iter().all(|member| member.generation().is_some())
            };
            while !both(is_told, &members) {
                let [first, second] = &mut members;
                let (who, event) = tokio::select! {
                    event = first.next() => (0, event),
                    event = second.next() => (1, event),
                };
                is_told[who] |= matches!(event.expect("healthy"), GroupEvent::Assigned { .. });
            }
            // As Kafka's tool sees it: two members, one of them with nothing.
            let mut tool = cluster.tool(Tool::Groups);
            tool.args(["--describe", "--members", "--group", &name]);
            if version > Version::V1_0_1 {
                let told = tokio::task::spawn_blocking(move || run(tool, b"", LIMIT).expect_success().stdout_text());
                let told = told.await.expect("the tool ran");
                let mut counts: Vec<&str> = told
                    .lines()
                    .filter(|line| line.starts_with(&name))
                    .filter_map(|line| line.split_whitespace().last())
                    .collect();
                counts.sort_unstable();
                assert_eq!(counts, ["0", "1"], "{told}");
            }
            let idle = usize::from(members[1].owned().is_empty());
            let [first, second] = members;
            let (waiting, leaving) = if idle == 1 { (second, first) } else { (first, second) };
            let mut waiting = waiting;
            leaving.close().await.expect("a goodbye");
            assigned(&mut waiting, |count| count == 1).await;
            waiting.close().await.expect("a goodbye");
        });
    }
}

#[test]
fn commits_are_automatic_if_asked_for_and_the_last_one_comes_with_the_goodbye() {
    let cluster = KafkaCluster::shared(Version::V1_0_1);
    cluster.create_topic("auto", 1, 1);
    cluster.produce("auto", "a\nb\nc\n", &[]);
    on(async {
        let client = client(&cluster).await;
        let auto = GroupConfig { auto_commit: Some(Duration::from_secs(3600)), ..config("auto") };
        let mut consumer = consumer(&client, auto, "auto");
        let mut decompressor = Decompressor::new(1 << 20);
        let mut count = 0;
        while count < 3 {
            if let GroupEvent::Records { mut fetched, .. } = consumer.next().await.expect("healthy") {
                while let Some(records) = fetched.next_records(&mut decompressor).expect("readable") {
                    count += records.into_iter().count();
                }
            }
        }
        consumer.close().await.expect("a commit and a goodbye");
    });
    let rows = cluster.group("auto");
    assert_eq!(rows.iter().map(|row| (row.partition, row.committed)).collect::<Vec<_>>(), [(0, Some(3))]);
}

#[test]
fn the_new_protocol_on_a_broker_without_it_is_refused_by_name() {
    let cluster = KafkaCluster::shared(Version::V2_8_2);
    cluster.create_topic("too-old", 1, 1);
    on(async {
        let client = client(&cluster).await;
        let own = GroupConfig { protocol: GroupProtocol::Consumer { server_assignor: None }, ..config("too-old") };
        let mut consumer = consumer(&client, own, "too-old");
        let error = consumer.next().await.expect_err("the broker has no such API");
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.to_string().contains("ConsumerGroupHeartbeat"), "{error}");
    });
}
