//! Single decisions of the machine, one after another, without a world around it.

use std::collections::BTreeMap;

use super::super::{
    BatchId, CommitOutcome, Delivery, DeliveryOptions, Event, Evidence, HaltCause, Order, Over, SessionState, Stored,
    WriteFailure, Written,
};
use crate::sync::intent::{Intent, SealedSession};

fn options() -> DeliveryOptions {
    DeliveryOptions {
        cluster: "c1".into(),
        topic_id: "t1".into(),
        hash: 7,
        pause_ms_first: 100,
        ..DeliveryOptions::default()
    }
}

fn stored(offset: i64, metadata: &str) -> Stored {
    Stored { offset: Some(offset), metadata: metadata.into(), initial: None }
}

fn session(target: &str, upload_id: &str) -> SealedSession {
    SealedSession { target: target.into(), upload_id: upload_id.into(), blocks: 1, rows: 2 }
}

fn intent(end: i64, sessions: Vec<SealedSession>) -> Intent {
    Intent { cluster: "c1".into(), topic_id: "t1".into(), end, sessions, hash: 7 }
}

/// A delivery of partition 0 whose group has this.
fn joined(options: DeliveryOptions, stored: Stored) -> Delivery {
    let mut delivery = Delivery::new(options, 3, [0]);
    assert_eq!(delivery.poll_order(0), Some(Order::FetchOffsets));
    delivery.handle_offsets(0, Some(BTreeMap::from([(0, stored)])));
    delivery
}

fn write_order(delivery: &mut Delivery, now: u64) -> BatchId {
    match delivery.poll_order(now) {
        Some(Order::Write(order)) => order.batch,
        other => panic!("{other:?}"),
    }
}

fn commit_order(delivery: &mut Delivery, now: u64) -> super::super::CommitOrder {
    match delivery.poll_order(now) {
        Some(Order::Commit(order)) => order,
        other => panic!("{other:?}"),
    }
}

fn halted(delivery: &Delivery) -> Option<HaltCause> {
    delivery.halted().next().map(|(_, cause)| cause.clone())
}

#[test]
fn a_batch_is_sealed_committed_and_advanced_in_this_order() {
    let mut delivery = joined(options(), stored(5, ""));
    let batch = write_order(&mut delivery, 0);
    assert_eq!(delivery.poll_order(0), None, "one batch is written at a time");
    delivery.handle_written(batch, Written { ends: BTreeMap::from([(0, 9)]), sessions: vec![session("pt=1", "u")] });
    let seal = commit_order(&mut delivery, 0);
    let metadata = intent(9, vec![session("pt=1", "u")]).to_metadata().unwrap();
    assert_eq!((seal.generation, seal.entries), (3, vec![(0, 5, metadata)]));
    assert_eq!(delivery.poll_order(0), None, "nothing is posted before the intent is acknowledged");
    delivery.handle_committed(0, seal.id, CommitOutcome::Acknowledged);
    assert!(matches!(delivery.poll_order(0), Some(Order::Post(_))));
    delivery.handle_posted(batch, "u");
    assert!(matches!(delivery.poll_order(0), Some(Order::Ask(_))), "a POST's answer decides nothing");
    delivery.handle_session(0, batch, "u", SessionState::Committed);
    let advance = commit_order(&mut delivery, 0);
    assert_eq!(advance.entries, [(0, 9, String::new())]);
    delivery.handle_committed(0, advance.id, CommitOutcome::Acknowledged);
    assert_eq!(delivery.committed().collect::<Vec<_>>(), [(0, 9)]);
    assert!(matches!(delivery.poll_event(), Some(Event::Sealed { .. })));
    assert!(matches!(delivery.poll_event(), Some(Event::Advanced { rows: 2, .. })));
}

#[test]
fn the_intents_of_one_batch_are_equally_long() {
    let mut delivery = Delivery::new(options(), 1, [0, 1]);
    let _fetch = delivery.poll_order(0);
    delivery.handle_offsets(0, Some(BTreeMap::from([(0, stored(5, "")), (1, stored(99, ""))])));
    let batch = write_order(&mut delivery, 0);
    let ends = BTreeMap::from([(0, 9), (1, 1000)]);
    delivery.handle_written(batch, Written { ends, sessions: vec![session("", "u")] });
    let seal = commit_order(&mut delivery, 0);
    let lengths: Vec<usize> = seal.entries.iter().map(|(_, _, metadata)| metadata.len()).collect();
    assert_eq!(lengths[0], lengths[1]);
    let ends: Vec<i64> =
        seal.entries.iter().map(|(_, _, metadata)| Intent::parse(metadata).unwrap().unwrap().end).collect();
    assert_eq!(ends, [9, 1000]);
}

#[test]
fn a_range_without_rows_needs_no_session() {
    let mut delivery = joined(options(), stored(5, ""));
    let batch = write_order(&mut delivery, 0);
    delivery.handle_written(batch, Written { ends: BTreeMap::from([(0, 6)]), sessions: Vec::new() });
    assert_eq!(commit_order(&mut delivery, 0).entries, [(0, 6, String::new())]);
}

#[test]
fn an_initial_position_is_written_before_anything_is_read() {
    let nothing = Stored { offset: None, metadata: String::new(), initial: Some(40) };
    let mut delivery = joined(options(), nothing);
    let claim = commit_order(&mut delivery, 0);
    assert_eq!(claim.entries, [(0, 40, String::new())]);
    assert_eq!(delivery.poll_order(0), None);
    delivery.handle_committed(0, claim.id, CommitOutcome::TryAgain);
    assert_eq!(delivery.poll_order(0), None, "after a pause");
    let claim = commit_order(&mut delivery, 100);
    delivery.handle_committed(100, claim.id, CommitOutcome::Acknowledged);
    let _batch = write_order(&mut delivery, 100);
}

#[test]
fn offsets_that_grow_old_are_written_again_with_their_metadata() {
    let mut delivery = joined(options(), stored(5, ""));
    let batch = write_order(&mut delivery, 0);
    delivery.handle_written(batch, Written { ends: BTreeMap::new(), sessions: Vec::new() });
    let batch = write_order(&mut delivery, 0);
    let hour = 3_600_000;
    assert_eq!(delivery.poll_timeout(0), Some(3 * hour));
    // While the batch waits for records, its partition is refreshed all the same.
    let refresh = commit_order(&mut delivery, 3 * hour);
    assert_eq!(refresh.entries, [(0, 5, String::new())]);
    // Nothing overtakes it: the seal waits for its answer.
    delivery.handle_written(batch, Written { ends: BTreeMap::from([(0, 6)]), sessions: vec![session("", "u")] });
    assert_eq!(delivery.poll_order(3 * hour), None);
    delivery.handle_committed(3 * hour, refresh.id, CommitOutcome::Acknowledged);
    assert_eq!(commit_order(&mut delivery, 3 * hour).entries.len(), 1);
}

#[test]
fn what_the_group_holds_is_admitted_or_stops_the_partition() {
    let good = intent(9, vec![session("", "u")]);
    let other_cluster = Intent { cluster: "c2".into(), ..good.clone() };
    let other_topic = Intent { topic_id: "t2".into(), ..good.clone() };
    for (stored, wanted) in [
        (Stored::default(), "no committed offset"),
        (stored(5, "spark-structured-streaming"), "not forebay's"),
        (stored(5, "fb1;cl=c1"), "damaged"),
        (stored(10, &good.to_metadata().unwrap()), "ends before its offset"),
        (stored(5, &other_cluster.to_metadata().unwrap()), "cluster \"c2\""),
        (stored(5, &other_topic.to_metadata().unwrap()), "topic \"t2\""),
    ] {
        let mut delivery = joined(options(), stored);
        let cause = halted(&delivery).unwrap().to_string();
        assert!(cause.contains(wanted), "{cause}");
        assert_eq!(delivery.poll_order(0), None);
    }
}

#[test]
fn an_intent_that_is_found_is_asked_about_before_anything_is_posted() {
    let metadata = intent(9, vec![session("", "u")]).to_metadata().unwrap();
    let mut delivery = joined(options(), stored(5, &metadata));
    let Some(Order::Ask(order)) = delivery.poll_order(0) else { panic!("the session is not asked about") };
    delivery.handle_session(0, order.batch, "u", SessionState::Open { age_ms: Some(0), intact: true });
    assert_eq!(delivery.poll_order(0), None, "after a pause");
    assert!(matches!(delivery.poll_order(100), Some(Order::Post(_))));
}

#[test]
fn a_session_that_is_not_what_was_sealed_or_too_old_is_waited_for() {
    let metadata = intent(9, vec![session("", "u")]).to_metadata().unwrap();
    let day = 24 * 3_600_000;
    for state in [
        SessionState::Open { age_ms: None, intact: false },
        SessionState::Open { age_ms: Some(23 * 3_600_000), intact: true },
    ] {
        let mut delivery = joined(options(), stored(5, &metadata));
        let mut now = 0;
        for _ in 0..3 {
            let Some(Order::Ask(order)) = delivery.poll_order(now) else { panic!("only asking is allowed") };
            delivery.handle_session(now, order.batch, "u", state.clone());
            now += 60_000;
        }
        let events: Vec<Event> = std::iter::from_fn(|| delivery.poll_event()).collect();
        assert_eq!(events.iter().filter(|event| matches!(event, Event::Waiting { .. })).count(), 1);
        let Some(Order::Ask(order)) = delivery.poll_order(day) else { panic!("only asking is allowed") };
        delivery.handle_session(day, order.batch, "u", SessionState::NeverCommitted);
        assert!(matches!(delivery.poll_order(day), Some(Order::Write(order)) if order.rebuild.is_some()));
    }
}

#[test]
fn only_the_targets_of_dead_sessions_are_written_again() {
    let sessions = vec![session("pt=1", "u1"), session("pt=2", "u2")];
    let metadata = intent(9, sessions).to_metadata().unwrap();
    let mut delivery = joined(options(), stored(5, &metadata));
    for (upload, state) in [("u1", SessionState::Committed), ("u2", SessionState::NeverCommitted)] {
        let Some(Order::Ask(order)) = delivery.poll_order(0) else { panic!("not asked") };
        assert_eq!(order.session.upload_id, upload);
        delivery.handle_session(0, order.batch, upload, state);
    }
    let Some(Order::Write(order)) = delivery.poll_order(0) else { panic!("not written again") };
    let rebuild = order.rebuild.unwrap();
    assert_eq!((rebuild.until, rebuild.targets), (BTreeMap::from([(0, 9)]), vec!["pt=2".to_owned()]));
    // A rebuilt batch ends where the first one did, and is sealed like it.
    delivery.handle_write_failed(0, order.batch, WriteFailure::Passing("x".into()));
    let Some(Order::Write(order)) = delivery.poll_order(200) else { panic!("not tried again") };
    delivery
        .handle_written(order.batch, Written { ends: BTreeMap::from([(0, 9)]), sessions: vec![session("pt=2", "u3")] });
    let seal = commit_order(&mut delivery, 200);
    assert_eq!(seal.entries, [(0, 5, intent(9, vec![session("pt=2", "u3")]).to_metadata().unwrap())]);
}

#[test]
fn other_rules_write_nothing_again() {
    let sealed = Intent { hash: 8, ..intent(9, vec![session("", "u")]) }.to_metadata().unwrap();
    let mut delivery = joined(options(), stored(5, &sealed));
    let Some(Order::Ask(order)) = delivery.poll_order(0) else { panic!("not asked") };
    delivery.handle_session(0, order.batch, "u", SessionState::NeverCommitted);
    assert_eq!(halted(&delivery), Some(HaltCause::RulesChanged));
    // What was committed under other rules is committed.
    let mut delivery = joined(options(), stored(5, &sealed));
    let Some(Order::Ask(order)) = delivery.poll_order(0) else { panic!("not asked") };
    delivery.handle_session(0, order.batch, "u", SessionState::Committed);
    assert_eq!(commit_order(&mut delivery, 0).entries, [(0, 9, String::new())]);
}

#[test]
fn a_forgotten_session_is_settled_by_the_table_or_by_a_person() {
    let metadata = intent(9, vec![session("", "u")]).to_metadata().unwrap();
    let mut delivery = joined(options(), stored(5, &metadata));
    let Some(Order::Ask(order)) = delivery.poll_order(0) else { panic!("not asked") };
    delivery.handle_session(0, order.batch, "u", SessionState::Forgotten);
    assert_eq!(halted(&delivery), Some(HaltCause::SessionForgotten(session("", "u"))));

    let with_evidence = DeliveryOptions { evidence: true, ..options() };
    for (evidence, rebuilt) in [(Evidence::Found, false), (Evidence::Absent, true)] {
        let mut delivery = joined(with_evidence.clone(), stored(5, &metadata));
        let Some(Order::Ask(order)) = delivery.poll_order(0) else { panic!("not asked") };
        delivery.handle_session(0, order.batch, "u", SessionState::Forgotten);
        let Some(Order::LookForRows(look)) = delivery.poll_order(100) else { panic!("not looked for") };
        assert_eq!(look.ranges[&0].end, 9);
        delivery.handle_evidence(100, look.batch, "u", evidence);
        assert_eq!(matches!(delivery.poll_order(100), Some(Order::Write(_))), rebuilt);
    }
}

#[test]
fn a_session_that_a_person_has_called_lost_is_written_again() {
    let metadata = intent(9, vec![session("", "")]).to_metadata().unwrap();
    let mut delivery = joined(options(), stored(5, &metadata));
    assert!(matches!(delivery.poll_order(0), Some(Order::Write(order)) if order.rebuild.is_some()));
}

#[test]
fn fenced_and_unanswered_writes_end_the_generation() {
    for (outcome, over) in [(CommitOutcome::Fenced, Over::Fenced), (CommitOutcome::Ambiguous, Over::Ambiguous)] {
        let mut delivery = joined(options(), stored(5, ""));
        let batch = write_order(&mut delivery, 0);
        delivery.handle_written(batch, Written { ends: BTreeMap::from([(0, 9)]), sessions: vec![session("", "u")] });
        let seal = commit_order(&mut delivery, 0);
        delivery.handle_committed(0, seal.id, outcome);
        assert_eq!(delivery.over(), Some(over));
        assert_eq!(delivery.poll_order(1_000_000), None);
        assert!(delivery.is_quiet());
    }
}

#[test]
fn one_bad_partition_does_not_stop_the_others() {
    let mut delivery = Delivery::new(options(), 1, [0, 1]);
    let _fetch = delivery.poll_order(0);
    delivery.handle_offsets(0, Some(BTreeMap::from([(0, stored(5, "")), (1, stored(0, ""))])));
    let batch = write_order(&mut delivery, 0);
    let cause = HaltCause::Record("damaged".into());
    delivery.handle_write_failed(0, batch, WriteFailure::Partition { partition: 1, cause: cause.clone() });
    assert_eq!(halted(&delivery), Some(cause));
    let Some(Order::Write(order)) = delivery.poll_order(0) else { panic!("the other partition stands still") };
    assert_eq!(order.from, BTreeMap::from([(0, 5)]));
}

#[test]
fn a_drained_delivery_finishes_what_is_sealed_and_begins_nothing() {
    let mut delivery = joined(options(), stored(5, ""));
    let batch = write_order(&mut delivery, 0);
    assert!(!delivery.is_held_up());
    delivery.handle_drain();
    assert!(!delivery.is_quiet() && delivery.is_held_up());
    delivery.handle_written(batch, Written { ends: BTreeMap::from([(0, 9)]), sessions: Vec::new() });
    let advance = commit_order(&mut delivery, 0);
    delivery.handle_committed(0, advance.id, CommitOutcome::Acknowledged);
    assert_eq!(delivery.poll_order(0), None);
    assert!(delivery.is_quiet());
}

#[test]
fn a_batch_that_comes_back_with_other_ranges_is_refused() {
    let mut delivery = joined(options(), stored(5, ""));
    let batch = write_order(&mut delivery, 0);
    delivery.handle_written(batch, Written { ends: BTreeMap::from([(0, 4)]), sessions: vec![session("", "u")] });
    assert!(matches!(halted(&delivery), Some(HaltCause::Bug(_))));
}

#[test]
fn a_batch_without_records_is_called_back_for_what_waits_for_it() {
    let mut delivery = Delivery::new(options(), 3, [0, 1]);
    assert_eq!(delivery.poll_order(0), Some(Order::FetchOffsets));
    delivery.handle_offsets(0, Some(BTreeMap::from([(0, stored(5, "")), (1, stored(8, ""))])));
    let both = write_order(&mut delivery, 0);
    assert!(!delivery.is_held_up());
    // Only partition 0 has records; the other is taken by the next batch at once, and waits for some.
    let ends = BTreeMap::from([(0, 9), (1, 8)]);
    delivery.handle_written(both, Written { ends, sessions: Vec::new() });
    let advance = commit_order(&mut delivery, 0);
    let quiet = write_order(&mut delivery, 0);
    assert!(!delivery.is_held_up());
    delivery.handle_committed(0, advance.id, CommitOutcome::Acknowledged);
    assert_eq!(delivery.poll_order(0), None);
    assert!(delivery.is_held_up());
    delivery.handle_written(quiet, Written { ends: BTreeMap::new(), sessions: Vec::new() });
    match delivery.poll_order(0) {
        Some(Order::Write(order)) => assert_eq!(order.from, BTreeMap::from([(0, 9), (1, 8)])),
        other => panic!("{other:?}"),
    }
    assert!(!delivery.is_held_up());
}
