//! Fetch sessions (KIP-227): what a request names, and what an answer says by leaving something out.

use super::super::session::Session;
use super::*;

const ID: i32 = 77;

/// The parts of a request that sessions are about: (session, named partitions with offsets, forgotten partitions).
type Asked = (FetchSessionRef, Vec<(i32, i64)>, Vec<i32>);

fn at(id: i32, epoch: i32) -> FetchSessionRef {
    FetchSessionRef { id, epoch }
}

#[track_caller]
fn asked(world: &mut World) -> Asked {
    let call = world.state.poll_request(world.now).expect("a request is due").call;
    let named = call.topics.iter().flat_map(|t| t.partitions.iter().map(|p| (p.partition, p.offset)));
    let forgotten = call.forgotten.iter().flat_map(|t| t.partitions.iter().copied());
    (call.session, named.collect(), forgotten.collect())
}

fn reply(world: &mut World, session_id: i32, partitions: Vec<FetchPartitionAnswer>) {
    let answer = answer(partitions).map(|answer| FetchAnswer { session_id, ..answer });
    world.state.handle_answer(world.now, 1, answer);
}

/// A world with an open session of three partitions at 0, all of them told to be empty.
fn open() -> World {
    let mut world = World::new(options(), &[(0, 0), (1, 0), (2, 0)], &[Some(1); 3]);
    assert_eq!(asked(&mut world), (at(0, 0), vec![(0, 0), (1, 0), (2, 0)], vec![]));
    reply(&mut world, ID, (0..3).map(|partition| good(partition, vec![])).collect());
    for _ in 0..3 {
        world.data();
    }
    world
}

#[test]
fn after_a_whole_request_only_what_changed_is_named() {
    let mut world = open();
    assert_eq!(asked(&mut world), (at(ID, 1), vec![], vec![]));
    reply(&mut world, ID, vec![good(1, batch(0, 3))]);
    assert_eq!(asked(&mut world), (at(ID, 2), vec![(1, 3)], vec![]));
    world.state.seek(world.now, &key(2), 9);
    reply(&mut world, ID, vec![]);
    assert_eq!(asked(&mut world), (at(ID, 3), vec![(2, 9)], vec![]));
}

#[test]
fn a_partition_that_is_left_out_is_well_and_is_not_told_again() {
    let mut world = open();
    world.wait(500);
    asked(&mut world);
    reply(&mut world, ID, vec![]);
    world.nothing();
    assert_eq!(world.progress(0).last_answer, Some(world.now));
    assert!(world.progress(0).trouble.is_none());
    // One that was moved is told where it is, once, although the broker says nothing.
    world.state.seek(world.now, &key(0), 100);
    assert_eq!(asked(&mut world).1, [(0, 100)]);
    reply(&mut world, ID, vec![]);
    let data = world.data();
    assert_eq!((data.position, data.next, data.high_watermark), (100, 100, 100));
    asked(&mut world);
    reply(&mut world, ID, vec![]);
    world.nothing();
}

#[test]
fn partitions_no_longer_wanted_are_forgotten_and_come_back() {
    let mut world = open();
    world.state.remove(&key(0));
    world.state.pause(&key(2));
    assert_eq!(asked(&mut world), (at(ID, 1), vec![], vec![0, 2]));
    reply(&mut world, ID, vec![good(0, batch(0, 1))]);
    world.nothing();
    world.state.resume(&key(2));
    assert_eq!(asked(&mut world), (at(ID, 2), vec![(2, 0)], vec![]));
    reply(&mut world, ID, vec![good(2, vec![])]);
    assert_eq!(asked(&mut world), (at(ID, 3), vec![], vec![]));
}

#[test]
fn a_topic_made_anew_is_forgotten_under_its_old_id() {
    let mut world = World::unknowing(options(), &[(0, 0)]);
    world.tell(&topic(1, &[Some(1)]));
    asked(&mut world);
    reply(&mut world, ID, vec![FetchPartitionAnswer { topic: TopicRef::Id(TopicId::new([1; 16])), ..good(0, vec![]) }]);
    world.tell(&topic(2, &[Some(1)]));
    world.state.remove(&key(0));
    world.state.assign(world.now, key(0), 0);
    assert!(world.state.poll_metadata(world.now).is_some());
    world.tell(&topic(2, &[Some(1)]));
    let call = world.state.poll_request(world.now).unwrap().call;
    assert_eq!(call.forgotten[0].id, TopicId::new([1; 16]));
    assert_eq!(call.topics[0].id, TopicId::new([2; 16]));
}

#[test]
fn an_evicted_session_is_opened_anew_at_once_and_costs_nothing() {
    for (code, next) in [
        (ErrorCode::FETCH_SESSION_ID_NOT_FOUND, at(0, 0)),
        (ErrorCode::INVALID_FETCH_SESSION_EPOCH, at(ID, 0)),
        (ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR, at(ID, 0)),
    ] {
        let mut world = open();
        asked(&mut world);
        world.state.handle_answer(world.now, 1, Ok(refusal(code)));
        assert!(world.progress(0).trouble.is_none());
        assert_eq!(asked(&mut world), (next, vec![(0, 0), (1, 0), (2, 0)], vec![]), "{code}");
        // Refused again, it is an error like any other.
        world.state.handle_answer(world.now, 1, Ok(refusal(code)));
        assert_eq!(world.progress(0).trouble, Some(Cause::Code { broker: 1, code }));
        world.no_request();
    }
}

#[test]
fn a_lost_answer_closes_the_session() {
    let mut world = open();
    asked(&mut world);
    world.state.handle_answer(world.now, 1, Err(Fault { error: "lost", is_final: false }));
    world.wait(100);
    assert!(world.state.poll_metadata(world.now).is_some());
    world.tell(&topic(0, &[Some(1); 3]));
    world.wait(100);
    assert_eq!(asked(&mut world), (at(ID, 0), vec![(0, 0), (1, 0), (2, 0)], vec![]));
}

#[test]
fn a_broker_without_room_for_sessions_is_asked_in_full_each_time() {
    let mut world = World::new(options(), &[(0, 0), (1, 0)], &[Some(1), Some(1)]);
    for _ in 0..3 {
        assert_eq!(asked(&mut world), (at(0, 0), vec![(0, 0), (1, 0)], vec![]));
        reply(&mut world, 0, vec![good(0, vec![]), good(1, vec![])]);
    }
    // Without a session, leaving a partition out means nothing.
    asked(&mut world);
    reply(&mut world, 0, vec![good(0, vec![])]);
    assert!(matches!(world.progress(1).trouble, Some(Cause::BadAnswer { .. })));
}

#[test]
fn the_epoch_of_a_session_skips_zero() {
    let mut session = Session::default();
    session.ask(&[], true);
    session.answered(ID);
    for epoch in [1, 2] {
        assert_eq!(session.ask(&[], true).session, at(ID, epoch));
        session.answered(ID);
    }
}
