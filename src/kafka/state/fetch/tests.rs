//! The fetch machine in virtual time: each test is a table of inputs and expected outputs.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod simulation;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::*;
use crate::kafka::msg::{FetchAnswer, FetchPartitionAnswer, LeaderHint, TopicRef};
use crate::kafka::record::{BatchBuilder, BatchOptions};
use crate::kafka::state::cluster::{Partition, Topic};

type State = FetchState<&'static str>;

const TOPIC: &str = "t";

fn options() -> FetchOptions {
    FetchOptions {
        isolation: Isolation::ReadUncommitted,
        fetch_bytes_max: 4000,
        partition_bytes_max: 1000,
        wait_ms_max: 500,
        bytes_min: 1,
        // More than any share, so that `fetch_bytes_max` counts unless a test says otherwise.
        buffer_bytes_max: 1 << 30,
        retry_backoff: Duration::from_millis(100),
        retry_backoff_max: Duration::from_secs(1),
        retries_deadline: Duration::from_secs(60),
        unknown_deadline: Duration::from_secs(5),
        seed: 1,
    }
}

fn key(partition: i32) -> TopicPartition {
    TopicPartition { topic: TOPIC.into(), partition }
}

/// A topic whose partitions 0, 1, … have these leaders.
fn topic(id: u8, leaders: &[Option<i32>]) -> Topic {
    let partition = |leader: &Option<i32>| Partition {
        error: ErrorCode::NONE,
        leader: *leader,
        leader_epoch: Some(0),
        replicas: vec![],
        in_sync: vec![],
        offline: vec![],
    };
    let partitions = (0..).zip(leaders.iter().map(partition)).collect();
    Topic { error: ErrorCode::NONE, id: TopicId::new([id; 16]), internal: false, partitions }
}

/// A batch of one-byte records at consecutive offsets.
fn batch(base_offset: i64, records: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for _ in 0..records {
        builder.push(0, None, Some(b"v"), &[]);
    }
    builder.finish(base_offset).unwrap()
}

fn good(partition: i32, records: Vec<u8>) -> FetchPartitionAnswer {
    FetchPartitionAnswer {
        topic: TopicRef::Name(TOPIC.into()),
        partition,
        error: ErrorCode::NONE,
        high_watermark: 100,
        last_stable_offset: 100,
        log_start_offset: 0,
        leader: None,
        aborted: vec![],
        preferred_read_replica: -1,
        records: Bytes::from(records),
    }
}

fn bad(partition: i32, error: ErrorCode) -> FetchPartitionAnswer {
    FetchPartitionAnswer { error, high_watermark: -1, ..good(partition, vec![]) }
}

fn answer(partitions: Vec<FetchPartitionAnswer>) -> Result<FetchAnswer, Fault<&'static str>> {
    Ok(FetchAnswer { throttle_ms: 0, error: ErrorCode::NONE, partitions, endpoints: vec![] })
}

/// A machine and its clock.
struct World {
    state: State,
    now: Instant,
}

impl World {
    /// Reads these (partition, position) of a topic whose partitions have these leaders.
    fn new(options: FetchOptions, start: &[(i32, i64)], leaders: &[Option<i32>]) -> Self {
        let mut world = Self::unknowing(options, start);
        world.tell(&topic(0, leaders));
        world
    }

    /// The same before anything is known about the topic.
    fn unknowing(options: FetchOptions, start: &[(i32, i64)]) -> Self {
        let mut world = Self { state: FetchState::new(options), now: Instant::now() };
        for (partition, position) in start {
            world.state.assign(world.now, key(*partition), *position);
        }
        let asked = world.state.poll_metadata(world.now);
        assert_eq!(asked.as_deref(), (!start.is_empty()).then_some(TOPIC));
        world
    }

    fn tell(&mut self, topic: &Topic) {
        self.state.handle_metadata(self.now, &TOPIC.into(), Ok(topic));
    }

    fn wait(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
    }

    /// Asserts a request to `broker` and returns (partition, offset) in its order.
    #[track_caller]
    fn request(&mut self, broker: i32) -> Vec<(i32, i64)> {
        let order = self.state.poll_request(self.now).expect("a request is due");
        assert_eq!(order.broker, broker);
        order.call.topics.iter().flat_map(|t| t.partitions.iter().map(|p| (p.partition, p.offset))).collect()
    }

    #[track_caller]
    fn no_request(&mut self) {
        let order = self.state.poll_request(self.now);
        assert!(order.is_none(), "{order:?}");
    }

    fn reply(&mut self, broker: i32, partitions: Vec<FetchPartitionAnswer>) {
        self.state.handle_answer(self.now, broker, answer(partitions));
    }

    #[track_caller]
    fn data(&mut self) -> FetchedData {
        match self.state.poll_ready() {
            Some(Ready::Data(data)) => data,
            other => panic!("data expected, not {other:?}"),
        }
    }

    #[track_caller]
    fn failure(&mut self) -> Failure<&'static str> {
        match self.state.poll_ready() {
            Some(Ready::Failed(failure)) => failure,
            other => panic!("a failure expected, not {other:?}"),
        }
    }

    #[track_caller]
    fn nothing(&mut self) {
        let ready = self.state.poll_ready();
        assert!(ready.is_none(), "{ready:?}");
    }

    fn progress(&self, partition: i32) -> Progress<&'static str> {
        self.state.progress().find(|progress| progress.partition.partition == partition).unwrap()
    }

    /// Runs the clock, answering every question about metadata with `topic`, until something is ready or a request goes
    /// out; how long that took.
    #[track_caller]
    fn run_with_metadata(&mut self, topic: &Topic) -> Duration {
        let started = self.now;
        for _ in 0..1000 {
            while self.state.poll_metadata(self.now).is_some() {
                self.tell(topic);
            }
            if !self.state.ready.is_empty() {
                return self.now - started;
            }
            self.now = self.state.poll_timeout().expect("it waits for something");
        }
        panic!("it goes round in circles");
    }
}

#[test]
fn one_request_is_out_per_broker_and_one_answer_is_fetched_ahead() {
    let mut world = World::new(options(), &[(0, 0), (1, 0)], &[Some(1), Some(1)]);
    assert_eq!(world.request(1), [(0, 0), (1, 0)]);
    world.no_request();
    let big = batch(0, 200);
    assert!(big.len() > 1000);
    world.reply(1, vec![good(0, big), good(1, batch(0, 1))]);
    // More than a quarter of the share waits for the caller.
    world.no_request();
    assert_eq!(world.data().next, 200);
    // Partition 1 is left, which is little: the next request goes from where the answer ended.
    assert_eq!(world.request(1), [(0, 200), (1, 1)]);
    world.no_request();
    assert_eq!(world.data().partition.partition, 1);
    world.nothing();
}

#[test]
fn brokers_are_asked_independently() {
    let mut world = World::new(options(), &[(0, 5), (1, 6)], &[Some(1), Some(2)]);
    assert_eq!(world.request(1), [(0, 5)]);
    assert_eq!(world.request(2), [(1, 6)]);
    world.no_request();
    world.reply(2, vec![good(1, vec![])]);
    assert_eq!(world.request(2), [(1, 6)]);
}

#[test]
fn the_position_moves_by_the_header_over_what_compaction_removed() {
    let mut world = World::new(options(), &[(0, 0)], &[Some(1)]);
    world.request(1);
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.push_at(0, 0, None, Some(b"v"), &[]);
    builder.set_last_offset_delta(41);
    world.reply(1, vec![good(0, builder.finish(0).unwrap())]);
    assert_eq!(world.request(1), [(0, 42)]);
    let data = world.data();
    assert_eq!((data.position, data.next), (0, 42));
    assert_eq!(world.progress(0).position.offset, 42);
}

#[test]
fn positions_carry_the_epoch_of_the_batch_before_them() {
    let mut world = World::new(options(), &[], &[]);
    let start = Position { offset: 7, leader_epoch: Some(2) };
    world.state.assign(world.now, key(0), start);
    assert_eq!(world.state.poll_metadata(world.now).as_deref(), Some(TOPIC));
    world.tell(&topic(0, &[Some(1)]));
    assert_eq!(world.state.position(&key(0)), Some(start));
    world.request(1);
    let mut later = batch(8, 2);
    later[12..16].copy_from_slice(&4_i32.to_be_bytes());
    world.reply(1, vec![good(0, [batch(7, 1), later].concat())]);
    assert_eq!(world.state.position(&key(0)), Some(start), "it has not been handed out");
    assert_eq!(world.data().next_epoch, Some(4));
    assert_eq!(world.state.position(&key(0)), Some(Position { offset: 10, leader_epoch: Some(4) }));
    assert_eq!(world.state.assignment().collect::<Vec<_>>(), [&key(0)]);
    assert_eq!(world.state.position(&key(1)), None);
}

#[test]
fn a_cut_off_batch_at_the_end_is_fetched_again() {
    let mut world = World::new(options(), &[(0, 0)], &[Some(1)]);
    world.request(1);
    let cut = batch(3, 5);
    world.reply(1, vec![good(0, [batch(0, 3), cut[..cut.len() - 1].to_vec()].concat())]);
    assert_eq!(world.request(1), [(0, 3)]);
    assert_eq!(world.data().next, 3);
    assert!(world.progress(0).trouble.is_none());
}

#[test]
fn a_batch_that_is_cut_off_first_makes_the_limit_grow() {
    let mut world = World::new(options(), &[(0, 0), (1, 0)], &[Some(1), Some(1)]);
    world.request(1);
    let large = batch(0, 1000);
    assert!(large.len() > options().fetch_bytes_max);
    world.reply(1, vec![good(0, vec![]), good(1, large[..500].to_vec())]);
    assert_eq!(world.data().partition.partition, 0);
    let order = world.state.poll_request(world.now).unwrap();
    let first = order.call.topics[0].partitions[0];
    assert_eq!(first.partition, 1, "the partition in need has its turn first");
    assert_eq!(first.bytes_max, i32::try_from(large.len()).unwrap());
    assert!(order.call.bytes_max >= first.bytes_max);
    world.reply(1, vec![good(1, large), good(0, vec![])]);
    assert_eq!(world.data().next, 1000);
    // Then it is as before.
    let order = world.state.poll_request(world.now).unwrap();
    assert!(order.call.topics[0].partitions.iter().all(|p| p.bytes_max == 1000));
}

#[test]
fn a_batch_beyond_what_a_frame_holds_is_a_failure() {
    let mut world = World::new(options(), &[(0, 0)], &[Some(1)]);
    world.request(1);
    let mut huge = batch(0, 1);
    huge[8..12].copy_from_slice(&0x7000_0000_i32.to_be_bytes());
    world.reply(1, vec![good(0, huge)]);
    let failure = world.failure();
    assert!(matches!(&failure.cause, Cause::BadAnswer { text, .. } if text.contains("announces")), "{failure:?}");
}

#[test]
fn a_broker_that_always_cuts_off_is_given_up_in_time() {
    let mut world = World::new(options(), &[(0, 0)], &[Some(1)]);
    let cut = batch(0, 10);
    let started = world.now;
    let failure = loop {
        if let Some(ready) = world.state.poll_ready() {
            break ready;
        }
        match world.state.poll_request(world.now) {
            Some(_) => world.reply(1, vec![good(0, cut[..cut.len() - 1].to_vec())]),
            None => world.now = world.state.poll_timeout().unwrap(),
        }
    };
    assert!(matches!(failure, Ready::Failed(Failure { cause: Cause::BadAnswer { .. }, .. })));
    assert!(world.now - started < Duration::from_secs(65));
}

#[test]
fn empty_answers_are_told_once_until_the_caller_has_seen_them() {
    let mut world = World::new(options(), &[(0, 7)], &[Some(1)]);
    for _ in 0..3 {
        world.request(1);
        world.wait(500);
        world.reply(1, vec![good(0, vec![])]);
    }
    let data = world.data();
    assert_eq!((data.position, data.next, data.high_watermark), (7, 7, 100));
    world.nothing();
    assert_eq!(world.progress(0).last_answer, Some(world.now));
    world.request(1);
    world.reply(1, vec![good(0, vec![])]);
    assert!(world.data().records.is_empty());
}

#[test]
fn the_partition_that_was_served_goes_to_the_end_of_the_line() {
    let mut world = World::new(options(), &[(0, 0), (1, 0), (2, 0)], &[Some(1); 3]);
    assert_eq!(world.request(1), [(0, 0), (1, 0), (2, 0)]);
    world.reply(1, vec![good(0, batch(0, 1)), good(1, vec![]), good(2, vec![])]);
    assert_eq!(world.request(1), [(1, 0), (2, 0), (0, 1)]);
    world.reply(1, vec![good(1, batch(0, 1)), good(2, vec![]), good(0, vec![])]);
    assert_eq!(world.request(1), [(2, 0), (0, 1), (1, 1)]);
}

#[test]
fn a_moved_leader_is_looked_up_and_asked() {
    let mut world = World::new(options(), &[(0, 3)], &[Some(1)]);
    world.request(1);
    world.reply(1, vec![bad(0, ErrorCode::NOT_LEADER_OR_FOLLOWER)]);
    world.no_request();
    assert!(matches!(world.progress(0).trouble, Some(Cause::Code { broker: 1, .. })));
    // Metadata may be asked for again after a pause, not at once: the first answer has only just come.
    assert!(world.state.poll_metadata(world.now).is_none());
    world.wait(100);
    assert!(world.state.poll_metadata(world.now).is_some());
    world.tell(&topic(0, &[Some(2)]));
    world.wait(100);
    assert_eq!(world.request(2), [(0, 3)]);
    world.reply(2, vec![good(0, batch(3, 1))]);
    assert_eq!(world.data().next, 4);
    assert!(world.progress(0).trouble.is_none());
}

#[test]
fn the_leader_that_an_answer_hints_at_is_asked_at_once() {
    let mut world = World::new(options(), &[(0, 3)], &[Some(1)]);
    world.request(1);
    let hint = LeaderHint { node: 2, epoch: 1 };
    world.reply(1, vec![FetchPartitionAnswer { leader: Some(hint), ..bad(0, ErrorCode::NOT_LEADER_OR_FOLLOWER) }]);
    assert_eq!(world.request(2), [(0, 3)]);
    // An older hint is not followed.
    world.reply(
        2,
        vec![FetchPartitionAnswer {
            leader: Some(LeaderHint { node: 1, epoch: 0 }),
            ..bad(0, ErrorCode::FENCED_LEADER_EPOCH)
        }],
    );
    world.no_request();
}

#[test]
fn failures_that_do_not_end_are_final_after_the_deadline_with_the_last_cause() {
    for code in [ErrorCode::NOT_LEADER_OR_FOLLOWER, ErrorCode::UNKNOWN_SERVER_ERROR, ErrorCode::REPLICA_NOT_AVAILABLE] {
        let mut world = World::new(options(), &[(0, 0)], &[Some(1)]);
        let started = world.now;
        let mut requests = 0;
        let failure = loop {
            if let Some(Ready::Failed(failure)) = world.state.poll_ready() {
                break failure;
            }
            if world.state.poll_metadata(world.now).is_some() {
                world.tell(&topic(0, &[Some(1)]));
            } else if world.state.poll_request(world.now).is_some() {
                requests += 1;
                world.reply(1, vec![bad(0, code)]);
            } else {
                world.now = world.state.poll_timeout().unwrap();
            }
        };
        assert_eq!(failure.cause, Cause::Code { broker: 1, code });
        let took = world.now - started;
        assert!(took >= Duration::from_secs(60) && took < Duration::from_secs(63), "{took:?}");
        assert!((60..200).contains(&requests), "{requests} requests: neither a storm nor too few");
        assert_eq!(failure.attempts, requests);
        assert!(world.state.all_failed().is_some());
    }
}

#[test]
fn partitions_of_a_lost_broker_come_back_together() {
    let start: Vec<(i32, i64)> = (0..50).map(|partition| (partition, 0)).collect();
    let mut world = World::new(options(), &start, &[Some(1); 50]);
    assert_eq!(world.request(1).len(), 50);
    world.state.handle_answer(world.now, 1, Err(Fault { error: "connection lost", is_final: false }));
    assert_eq!(world.progress(0).trouble, Some(Cause::Fault("connection lost")));
    world.wait(100);
    assert!(world.state.poll_metadata(world.now).is_some());
    world.tell(&topic(0, &[Some(2); 50]));
    world.wait(100);
    assert_eq!(world.request(2).len(), 50);
}

#[test]
fn a_final_fault_is_not_retried_and_other_brokers_go_on() {
    let mut world = World::new(options(), &[(0, 0), (1, 0)], &[Some(1), Some(2)]);
    world.request(1);
    world.request(2);
    world.state.handle_answer(world.now, 1, Err(Fault { error: "no common version", is_final: true }));
    world.reply(2, vec![good(1, batch(0, 1))]);
    assert_eq!(world.failure().cause, Cause::Fault("no common version"));
    assert_eq!(world.data().partition.partition, 1);
    assert_eq!(world.request(2), [(1, 1)]);
    assert!(world.state.all_failed().is_none());
}

#[test]
fn a_refused_partition_fails_at_once() {
    let mut world = World::new(options(), &[(0, 0), (1, 0)], &[Some(1), Some(1)]);
    world.request(1);
    world.reply(1, vec![bad(0, ErrorCode::TOPIC_AUTHORIZATION_FAILED), good(1, vec![])]);
    let failure = world.failure();
    assert_eq!(failure.cause, Cause::Code { broker: 1, code: ErrorCode::TOPIC_AUTHORIZATION_FAILED });
    assert_eq!(world.request(1), [(1, 0)]);
}

#[test]
fn a_topic_that_is_not_there_at_the_start_is_unknown_after_its_deadline() {
    let mut world = World::unknowing(options(), &[(0, 0)]);
    world.tell(&Topic::unknown());
    world.nothing();
    let took = world.run_with_metadata(&Topic::unknown());
    assert_eq!(world.failure().cause, Cause::UnknownTopic);
    assert!(took >= Duration::from_secs(5) && took < Duration::from_secs(7), "{took:?}");
}

#[test]
fn a_topic_that_was_just_created_is_waited_for() {
    let mut world = World::unknowing(options(), &[(0, 0), (1, 0)]);
    world.tell(&Topic::unknown());
    world.wait(1000);
    assert!(world.state.poll_metadata(world.now).is_some());
    world.tell(&topic(0, &[None, Some(1)]));
    world.wait(1000);
    assert_eq!(world.request(1), [(1, 0)]);
    assert!(world.state.poll_metadata(world.now).is_some());
    world.tell(&topic(0, &[Some(2), Some(1)]));
    world.wait(1000);
    assert_eq!(world.request(2), [(0, 0)]);
    world.nothing();
}

#[test]
fn a_topic_deleted_while_it_is_read_says_so() {
    let mut world = World::new(options(), &[(0, 0), (1, 0)], &[Some(1), Some(1)]);
    world.request(1);
    world.reply(1, vec![bad(0, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION), bad(1, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)]);
    let took = world.run_with_metadata(&Topic::unknown());
    assert!(took < Duration::from_secs(8), "{took:?}");
    for partition in [0, 1] {
        let failure = world.failure();
        assert_eq!(failure.partition, key(partition));
        assert_eq!(failure.cause, Cause::TopicDeleted { recreated: false });
    }
}

#[test]
fn a_topic_made_anew_is_told_by_its_id() {
    let mut world = World::unknowing(options(), &[(0, 9)]);
    world.tell(&topic(1, &[Some(1)]));
    world.request(1);
    world.reply(
        1,
        vec![FetchPartitionAnswer {
            topic: TopicRef::Id(TopicId::new([1; 16])),
            ..bad(0, ErrorCode::UNKNOWN_TOPIC_ID)
        }],
    );
    world.run_with_metadata(&topic(2, &[Some(1)]));
    assert_eq!(world.failure().cause, Cause::TopicDeleted { recreated: true });
}

#[test]
fn a_partition_the_topic_does_not_have_is_unknown_after_its_deadline() {
    let mut world = World::new(options(), &[(0, 0), (7, 0)], &[Some(1)]);
    assert_eq!(world.request(1), [(0, 0)]);
    let took = world.run_with_metadata(&topic(0, &[Some(1)]));
    let failure = world.failure();
    assert_eq!((failure.partition, failure.cause), (key(7), Cause::UnknownPartition));
    assert!(took >= Duration::from_secs(4) && took < Duration::from_secs(7), "{took:?}");
}

#[test]
fn a_partition_without_a_leader_is_waited_for_and_then_given_up() {
    let mut world = World::new(options(), &[(0, 0)], &[None]);
    assert_eq!(world.progress(0).trouble, Some(Cause::NoLeader));
    let took = world.run_with_metadata(&topic(0, &[None]));
    assert_eq!(world.failure().cause, Cause::NoLeader);
    assert!(took >= Duration::from_secs(60) && took < Duration::from_secs(63), "{took:?}");
}

#[test]
fn metadata_that_cannot_be_had_ends_in_its_cause() {
    let mut world = World::unknowing(options(), &[(0, 0)]);
    let refused = || Err(Fault { error: "connection refused", is_final: false });
    world.state.handle_metadata(world.now, &TOPIC.into(), refused());
    let failure = loop {
        match world.state.poll_ready() {
            Some(Ready::Failed(failure)) => break failure,
            Some(other) => panic!("{other:?}"),
            None => world.now = world.state.poll_timeout().unwrap(),
        }
        if world.state.poll_metadata(world.now).is_some() {
            world.state.handle_metadata(world.now, &TOPIC.into(), refused());
        }
    };
    assert_eq!(failure.cause, Cause::Fault("connection refused"));
    assert!(failure.after >= Duration::from_secs(60));
}

#[test]
fn a_position_out_of_range_names_what_was_lost() {
    for (range, lost) in [((10, 20), true), ((0, 2), true), ((0, 20), false), ((5, 20), false), ((0, 5), false)] {
        let mut world = World::new(options(), &[(0, 5)], &[Some(1)]);
        world.request(1);
        world.reply(1, vec![bad(0, ErrorCode::OFFSET_OUT_OF_RANGE)]);
        world.wait(10_000);
        world.no_request();
        let order = world.state.poll_range().unwrap();
        assert!(world.state.poll_range().is_none());
        world.state.handle_range(world.now, &order.partition, order.generation, Ok(range));
        if lost {
            let (log_start, end) = range;
            assert_eq!(world.failure().cause, Cause::OutOfRange { position: 5, log_start, end });
        } else {
            // The broker that said otherwise was behind.
            world.nothing();
            assert_eq!(world.request(1), [(0, 5)]);
        }
    }
}

#[test]
fn the_range_of_a_position_that_has_moved_does_not_matter() {
    let mut world = World::new(options(), &[(0, 5)], &[Some(1)]);
    world.request(1);
    world.reply(1, vec![bad(0, ErrorCode::OFFSET_OUT_OF_RANGE)]);
    let order = world.state.poll_range().unwrap();
    world.state.seek(world.now, &key(0), 12);
    world.state.handle_range(world.now, &order.partition, order.generation, Ok((10, 20)));
    world.nothing();
    assert_eq!(world.request(1), [(0, 12)]);
}

#[test]
fn a_seek_drops_what_was_fetched_and_what_is_on_its_way() {
    let mut world = World::new(options(), &[(0, 0)], &[Some(1)]);
    world.request(1);
    world.reply(1, vec![good(0, batch(0, 3))]);
    assert_eq!(world.request(1), [(0, 3)]);
    world.state.seek(world.now, &key(0), 50);
    world.nothing();
    // Still one request per broker.
    world.no_request();
    world.reply(1, vec![good(0, batch(3, 3))]);
    world.nothing();
    assert_eq!(world.request(1), [(0, 50)]);
    // Even to the very offset that is on its way: the answer is not trusted to be what the caller now asks for.
    world.state.seek(world.now, &key(0), 50);
    world.reply(1, vec![good(0, batch(50, 1))]);
    world.nothing();
    assert_eq!(world.progress(0).position.offset, 50);
    // A failed partition is alive again.
    world.request(1);
    world.reply(1, vec![bad(0, ErrorCode::TOPIC_AUTHORIZATION_FAILED)]);
    world.failure();
    world.state.seek(world.now, &key(0), 1);
    assert_eq!(world.request(1), [(0, 1)]);
}

#[test]
fn a_paused_partition_keeps_what_was_fetched_and_gets_no_more() {
    let mut world = World::new(options(), &[(0, 0), (1, 0)], &[Some(1), Some(1)]);
    world.request(1);
    world.reply(1, vec![good(0, batch(0, 2)), good(1, batch(0, 2))]);
    world.state.pause(&key(0));
    assert_eq!(world.data().partition.partition, 1);
    world.nothing();
    assert_eq!(world.request(1), [(1, 2)]);
    world.state.resume(&key(0));
    let data = world.data();
    assert_eq!((data.partition.partition, data.position, data.next), (0, 0, 2));
    world.reply(1, vec![good(1, vec![])]);
    assert_eq!(world.request(1), [(0, 2), (1, 2)]);
}

#[test]
fn an_answer_for_a_partition_that_was_paused_since_is_fetched_again_later() {
    let mut world = World::new(options(), &[(0, 0)], &[Some(1)]);
    world.request(1);
    world.state.pause(&key(0));
    world.reply(1, vec![good(0, batch(0, 2))]);
    world.nothing();
    world.no_request();
    world.state.resume(&key(0));
    assert_eq!(world.request(1), [(0, 0)]);
}

#[test]
fn paused_data_does_not_hold_up_the_broker_and_is_bounded() {
    let mut world = World::new(options(), &[(0, 0), (1, 0)], &[Some(1), Some(1)]);
    world.request(1);
    let big = batch(0, 300);
    assert!(big.len() > 1000 && big.len() < 4000);
    world.reply(1, vec![good(0, big), good(1, vec![])]);
    world.no_request();
    world.state.pause(&key(0));
    assert_eq!(world.request(1), [(1, 0)]);
    world.reply(1, vec![good(1, batch(0, 600))]);
    // Beyond a share, what is set aside is dropped and read again on resume.
    world.state.pause(&key(1));
    assert!(world.state.held_bytes() <= options().fetch_bytes_max, "{}", world.state.held_bytes());
    world.state.resume(&key(0));
    world.state.resume(&key(1));
    assert_eq!(world.data().next, 300);
    world.nothing();
    assert_eq!(world.request(1), [(0, 300), (1, 0)]);
}

#[test]
fn a_removed_partition_is_gone() {
    let mut world = World::new(options(), &[(0, 0), (1, 0)], &[Some(1), Some(1)]);
    world.request(1);
    world.reply(1, vec![good(0, batch(0, 1)), good(1, batch(0, 1))]);
    world.state.remove(&key(0));
    assert_eq!(world.data().partition.partition, 1);
    world.nothing();
    assert_eq!(world.request(1), [(1, 1)]);
    world.state.remove(&key(1));
    world.reply(1, vec![good(1, batch(1, 1))]);
    world.nothing();
    world.no_request();
    assert!(world.state.poll_timeout().is_none());
}

#[test]
fn two_brokers_that_both_answer_give_the_records_once() {
    let mut world = World::new(options(), &[(0, 0), (1, 0)], &[Some(1), Some(1)]);
    world.request(1);
    // While broker 1 is thinking, metadata moves partition 0 to broker 2.
    world.tell(&topic(0, &[Some(2), Some(1)]));
    assert_eq!(world.request(2), [(0, 0)]);
    world.reply(2, vec![good(0, batch(0, 4))]);
    world.reply(1, vec![good(0, batch(0, 2)), good(1, vec![])]);
    assert_eq!(world.data().next, 4);
    assert_eq!(world.data().partition.partition, 1);
    world.nothing();
}

#[test]
fn damage_comes_after_the_good_batches_before_it() {
    let mut world = World::new(options(), &[(0, 0)], &[Some(1)]);
    world.request(1);
    let mut damaged = batch(2, 1);
    damaged[16] = 9; // no such magic
    world.reply(1, vec![good(0, [batch(0, 2), damaged].concat())]);
    let data = world.data();
    assert_eq!((data.position, data.next), (0, 2));
    let failure = world.failure();
    assert!(matches!(&failure.cause, Cause::BadAnswer { text, .. } if text.contains("offset 2")), "{failure:?}");
    world.no_request();
    assert!(world.state.all_failed().is_some());
}

#[test]
fn what_was_not_asked_for_is_not_taken() {
    let mut world = World::new(options(), &[(0, 0), (1, 0)], &[Some(1), Some(2)]);
    world.request(1);
    world.reply(
        1,
        vec![
            good(1, batch(0, 1)),
            good(5, batch(0, 1)),
            FetchPartitionAnswer { topic: TopicRef::Name("other".into()), ..good(0, batch(0, 9)) },
            FetchPartitionAnswer { topic: TopicRef::Id(TopicId::new([9; 16])), ..good(0, batch(0, 9)) },
            good(0, batch(0, 1)),
            good(0, batch(1, 1)),
        ],
    );
    assert_eq!(world.data().next, 1);
    world.nothing();
}

#[test]
fn a_partition_left_out_of_the_answer_is_asked_for_again() {
    let mut world = World::new(options(), &[(0, 0), (1, 0)], &[Some(1), Some(1)]);
    world.request(1);
    world.reply(1, vec![good(0, batch(0, 1))]);
    assert!(matches!(world.progress(1).trouble, Some(Cause::BadAnswer { .. })));
    assert_eq!(world.request(1), [(0, 1)]);
}

#[test]
fn an_error_of_the_whole_answer_is_every_partitions() {
    let mut world = World::new(options(), &[(0, 0)], &[Some(1)]);
    world.request(1);
    let code = ErrorCode::FETCH_SESSION_ID_NOT_FOUND;
    let whole = FetchAnswer { throttle_ms: 0, error: code, partitions: vec![], endpoints: vec![] };
    world.state.handle_answer(world.now, 1, Ok(whole));
    assert_eq!(world.progress(0).trouble, Some(Cause::Code { broker: 1, code }));
}

#[test]
fn each_broker_gets_its_share_of_the_budget() {
    let leaders: Vec<Option<i32>> = (0..8).map(Some).collect();
    let start: Vec<(i32, i64)> = (0..8).map(|partition| (partition, 0)).collect();
    let mut small = options();
    small.fetch_bytes_max = 4 << 20;
    small.buffer_bytes_max = 8 << 20;
    let mut world = World::new(small.clone(), &start, &leaders);
    for broker in 0..8 {
        let order = world.state.poll_request(world.now).unwrap();
        assert_eq!((order.broker, order.call.bytes_max), (broker, 1 << 20));
    }
    // Never less than makes sense, never more than one fetch may have.
    small.buffer_bytes_max = 0;
    let mut world = World::new(small.clone(), &start, &leaders);
    assert_eq!(world.state.poll_request(world.now).unwrap().call.bytes_max, 64 * 1024);
    small.buffer_bytes_max = usize::MAX;
    let mut world = World::new(small, &start, &leaders);
    assert_eq!(world.state.poll_request(world.now).unwrap().call.bytes_max, 4 << 20);
}

#[test]
fn topic_ids_are_used_when_they_are_known_and_answers_found_by_them() {
    let mut world = World::unknowing(options(), &[(0, 0)]);
    world.tell(&topic(3, &[Some(1)]));
    let order = world.state.poll_request(world.now).unwrap();
    assert_eq!(order.call.topics[0].id, TopicId::new([3; 16]));
    world.reply(1, vec![FetchPartitionAnswer { topic: TopicRef::Id(TopicId::new([3; 16])), ..good(0, batch(0, 1)) }]);
    assert_eq!(world.data().partition, key(0));
}

#[test]
fn several_topics_are_read_side_by_side() {
    let mut world = World::new(options(), &[(0, 0)], &[Some(1)]);
    let other: Arc<str> = "u".into();
    let partition = TopicPartition { topic: other.clone(), partition: 0 };
    world.state.assign(world.now, partition.clone(), 4);
    assert_eq!(world.state.poll_metadata(world.now), Some(other.clone()));
    world.state.handle_metadata(world.now, &other, Ok(&topic(0, &[Some(1)])));
    let order = world.state.poll_request(world.now).unwrap();
    let asked: BTreeMap<&str, i64> =
        order.call.topics.iter().map(|topic| (&*topic.name, topic.partitions[0].offset)).collect();
    assert_eq!(asked, BTreeMap::from([("t", 0), ("u", 4)]));
    world.reply(
        1,
        vec![FetchPartitionAnswer { topic: TopicRef::Name(other), ..good(0, batch(4, 1)) }, good(0, batch(0, 1))],
    );
    assert_eq!(world.data().partition, partition);
    assert_eq!(world.data().partition, key(0));
}
