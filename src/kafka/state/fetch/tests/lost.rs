//! Epochs, replicas and lost records: whose word counts, and what is told about what is gone (KIP-320, KIP-392).

use super::*;

/// The topic with partition 0 led by this broker in this epoch.
fn led(leader: i32, epoch: i32) -> Topic {
    let mut topic = topic(0, &[Some(leader)]);
    topic.partitions.get_mut(&0).unwrap().leader_epoch = Some(epoch);
    topic
}

/// Records of offsets from 0 in this epoch.
fn in_epoch(base_offset: i64, records: usize, epoch: i32) -> Vec<u8> {
    let mut bytes = batch(base_offset, records);
    bytes[12..16].copy_from_slice(&epoch.to_be_bytes());
    bytes
}

fn with(on_lost: OnLost) -> FetchOptions {
    FetchOptions { on_lost, ..options() }
}

/// Has read offsets 0 to 9 of epoch 3 from broker 1, then broker 2 becomes the leader of epoch 4.
fn after_an_election(on_lost: OnLost) -> World {
    let mut world = World::unknowing(with(on_lost), &[(0, 0)]);
    world.tell(&led(1, 3));
    assert!(world.state.poll_epochs(world.now).is_none(), "a start without an epoch has nothing to compare");
    world.request(1);
    world.reply(1, vec![good(0, in_epoch(0, 10, 3))]);
    assert_eq!(world.data().next, 10);
    world.tell(&led(2, 4));
    world.no_request();
    world
}

#[track_caller]
fn epochs(world: &mut World, broker: i32, epoch: i32) -> EpochOrder {
    let order = world.state.poll_epochs(world.now).expect("the log is to be compared");
    let asked = &order.call.topics[0].1[0];
    assert_eq!((order.broker, asked.partition, asked.epoch), (broker, 0, epoch));
    assert!(world.state.poll_epochs(world.now).is_none());
    order
}

fn tell_end(world: &mut World, order: &EpochOrder, end: Result<(i32, i64), ErrorCode>) {
    let end = end.map(|(epoch, end_offset)| EpochEnd { epoch, end_offset });
    let answer = EpochEndAnswer { throttle_ms: 0, partitions: vec![(TOPIC.into(), 0, end)] };
    world.state.handle_epochs(world.now, order, Ok(answer));
}

#[test]
fn a_new_leader_with_the_same_log_is_read_on() {
    let mut world = after_an_election(OnLost::Fail);
    let order = epochs(&mut world, 2, 3);
    tell_end(&mut world, &order, Ok((3, 10)));
    let order = world.state.poll_request(world.now).unwrap();
    let part = order.call.topics[0].partitions[0];
    assert_eq!((order.broker, part.offset, part.leader_epoch, part.last_epoch), (2, 10, Some(4), Some(3)));
    world.nothing();
    // Not asked again in the same epoch.
    world.tell(&led(2, 4));
    assert!(world.state.poll_epochs(world.now).is_none());
}

#[test]
fn a_log_that_was_cut_is_told_with_the_range_that_is_lost() {
    for (end, from) in [((3, 7), Some(7)), ((2, 5), Some(5)), ((2, 12), Some(10)), ((-1, -1), None)] {
        let mut world = after_an_election(OnLost::Fail);
        let order = epochs(&mut world, 2, 3);
        tell_end(&mut world, &order, Ok(end));
        assert_eq!(world.failure().cause, Cause::Truncated { position: 10, from });
    }
}

#[test]
fn a_policy_goes_on_where_the_logs_part() {
    for on_lost in [OnLost::Earliest, OnLost::Latest] {
        let mut world = after_an_election(on_lost);
        let order = epochs(&mut world, 2, 3);
        tell_end(&mut world, &order, Ok((2, 7)));
        let Some(Ready::Moved(moved)) = world.state.poll_ready() else { panic!("it has moved") };
        assert_eq!(moved.to, Position { offset: 7, leader_epoch: Some(2) });
        assert_eq!(moved.cause, Cause::Truncated { position: 10, from: Some(7) });
        assert_eq!(world.state.position(&key(0)), Some(moved.to));
        assert_eq!(world.request(2), [(0, 7)]);
    }
}

#[test]
fn where_the_leader_cannot_tell_the_policy_decides() {
    let mut world = after_an_election(OnLost::Latest);
    let order = epochs(&mut world, 2, 3);
    tell_end(&mut world, &order, Ok((-1, -1)));
    world.no_request();
    let order = world.state.poll_range().unwrap();
    let range = OffsetRange { log_start: 0, end: 30, visible_end: 25 };
    world.state.handle_range(world.now, &order.partition, order.generation, Ok(range));
    assert!(matches!(world.state.poll_ready(), Some(Ready::Moved(moved)) if moved.to.offset == 25));
}

#[test]
fn what_was_fetched_but_not_handed_out_is_no_loss() {
    let mut world = World::unknowing(options(), &[(0, 0)]);
    world.tell(&led(1, 3));
    world.request(1);
    world.reply(1, vec![good(0, in_epoch(0, 4, 3))]);
    assert_eq!(world.data().next, 4);
    world.request(1);
    world.reply(1, vec![good(0, in_epoch(4, 6, 3))]);
    world.tell(&led(2, 4));
    let order = epochs(&mut world, 2, 3);
    tell_end(&mut world, &order, Ok((3, 6)));
    world.nothing();
    assert_eq!(world.request(2), [(0, 4)]);
}

#[test]
fn a_start_with_an_epoch_is_compared_before_the_first_fetch() {
    for (end, is_lost) in [((5, 40), true), ((5, 50), false)] {
        let mut world = World::unknowing(options(), &[]);
        world.state.assign(world.now, key(0), Position { offset: 50, leader_epoch: Some(5) });
        assert!(world.state.poll_metadata(world.now).is_some());
        world.tell(&led(1, 8));
        world.no_request();
        let order = epochs(&mut world, 1, 5);
        tell_end(&mut world, &order, Ok(end));
        if is_lost {
            assert_eq!(world.failure().cause, Cause::Truncated { position: 50, from: Some(40) });
        } else {
            assert_eq!(world.request(1), [(0, 50)]);
        }
    }
}

#[test]
fn a_broker_too_old_to_compare_is_read_on_and_a_moved_leader_asked_again() {
    let mut world = after_an_election(OnLost::Fail);
    let order = epochs(&mut world, 2, 3);
    world.state.handle_epochs(world.now, &order, Err(Fault { error: "no such API", is_final: true }));
    assert_eq!(world.request(2), [(0, 10)]);

    let mut world = after_an_election(OnLost::Fail);
    let order = epochs(&mut world, 2, 3);
    tell_end(&mut world, &order, Err(ErrorCode::FENCED_LEADER_EPOCH));
    world.no_request();
    world.run_until_metadata(&led(1, 5));
    let order = epochs(&mut world, 1, 3);
    tell_end(&mut world, &order, Ok((3, 10)));
    assert_eq!(world.request(1), [(0, 10)]);
}

#[test]
fn a_fetch_answer_may_tell_where_the_logs_part() {
    let mut world = World::new(options(), &[(0, 0)], &[Some(1)]);
    world.request(1);
    world.reply(1, vec![good(0, in_epoch(0, 10, 0))]);
    assert_eq!(world.data().next, 10);
    world.request(1);
    let diverging = Some(EpochEnd { epoch: 0, end_offset: 6 });
    world.reply(1, vec![FetchPartitionAnswer { diverging, ..good(0, vec![]) }]);
    assert_eq!(world.failure().cause, Cause::Truncated { position: 10, from: Some(6) });
}

#[test]
fn a_position_out_of_range_follows_the_policy() {
    let range = OffsetRange { log_start: 20, end: 40, visible_end: 35 };
    for (on_lost, to) in [(OnLost::Earliest, 20), (OnLost::Latest, 35)] {
        for position in [5, 99] {
            let mut world = World::new(with(on_lost), &[(0, position)], &[Some(1)]);
            world.request(1);
            world.reply(1, vec![bad(0, ErrorCode::OFFSET_OUT_OF_RANGE)]);
            let order = world.state.poll_range().unwrap();
            world.state.handle_range(world.now, &order.partition, order.generation, Ok(range));
            let Some(Ready::Moved(moved)) = world.state.poll_ready() else { panic!("it has moved") };
            assert_eq!(moved.to, to.into());
            assert_eq!(moved.cause, Cause::OutOfRange { position, log_start: 20, end: 40 });
            assert_eq!(world.request(1), [(0, to)]);
        }
    }
}

#[test]
fn a_replica_that_the_leader_names_is_read_from() {
    let mut world = World::new(options(), &[(0, 3)], &[Some(1)]);
    world.request(1);
    world.reply(1, vec![FetchPartitionAnswer { preferred_read_replica: 2, ..good(0, vec![]) }]);
    world.nothing();
    assert_eq!(world.request(2), [(0, 3)]);
    world.reply(2, vec![good(0, batch(3, 1))]);
    assert_eq!(world.data().broker, 2);
    // After a while the leader is asked again whether it still is the best.
    world.wait(301_000);
    assert_eq!(world.request(1), [(0, 4)]);
}

#[test]
fn what_a_follower_calls_out_of_range_the_leader_is_asked_first() {
    let mut world = World::new(options(), &[(0, 3)], &[Some(1)]);
    world.request(1);
    world.reply(1, vec![FetchPartitionAnswer { preferred_read_replica: 2, ..good(0, vec![]) }]);
    world.request(2);
    world.reply(2, vec![bad(0, ErrorCode::OFFSET_OUT_OF_RANGE)]);
    assert!(world.state.poll_range().is_none(), "a follower's word does not count");
    world.wait(100);
    assert_eq!(world.request(1), [(0, 3)]);
    world.reply(1, vec![bad(0, ErrorCode::OFFSET_OUT_OF_RANGE)]);
    assert!(world.state.poll_range().is_some());
}

#[test]
fn a_replica_that_is_gone_is_left_for_the_leader() {
    let mut world = World::new(options(), &[(0, 3)], &[Some(1)]);
    world.request(1);
    world.reply(1, vec![FetchPartitionAnswer { preferred_read_replica: 2, ..good(0, vec![]) }]);
    world.request(2);
    world.state.handle_answer(world.now, 2, Err(Fault { error: "connection lost", is_final: false }));
    world.run_until_metadata(&topic(0, &[Some(1)]));
    world.wait(1000);
    assert_eq!(world.request(1), [(0, 3)]);
}
