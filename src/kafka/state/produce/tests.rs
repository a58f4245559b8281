//! The machine against brokers that are tables, and against one that keeps a log as Kafka does.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic)]

mod simulation;

use std::time::{Duration, Instant};

use crate::kafka::msg::{ErrorCode, ProduceAnswer, ProducePartitionAnswer, TopicRef};
use crate::kafka::record::RecordSet;
use crate::kafka::state::cluster::{Partition, Topic};

use super::*;

pub(super) type State = ProduceState<u32, &'static str>;

pub(super) fn options() -> ProduceOptions {
    ProduceOptions {
        acks: -1,
        idempotent: true,
        transactional_id: None,
        codec: Codec::None,
        batch_bytes: 1000,
        linger: Duration::from_millis(5),
        buffer_bytes_max: 100_000,
        request_bytes_max: 100_000,
        delivery_timeout: Duration::from_secs(60),
        request_timeout_ms: 1000,
        in_flight_max: 5,
        retries_max: u32::MAX,
        partitioner: Partitioner::Sticky,
        retry_backoff: Duration::from_millis(10),
        retry_backoff_max: Duration::from_millis(100),
        metadata_age_max: Duration::from_secs(300),
        seed: 1,
    }
}

/// A topic whose partitions have these leaders.
pub(super) fn topic(leaders: &[Option<i32>]) -> Topic {
    let partition = |leader: &Option<i32>| Partition {
        error: ErrorCode::NONE,
        leader: *leader,
        leader_epoch: Some(1),
        replicas: vec![],
        in_sync: vec![],
        offline: vec![],
    };
    let partitions = (0..).zip(leaders.iter().map(partition)).collect();
    Topic { error: ErrorCode::NONE, id: None, internal: false, partitions }
}

/// A record's offset, or why it has none.
type Outcome = Result<Option<i64>, Failed<&'static str>>;

struct Bench {
    state: State,
    now: Instant,
    name: Arc<str>,
    next: u32,
}

impl Bench {
    fn new(options: ProduceOptions, leaders: &[Option<i32>]) -> Self {
        let (mut state, now, name) = (State::new(options), Instant::now(), Arc::from("t"));
        state.handle_metadata(now, &name, Ok(&topic(leaders)));
        if state.options.idempotent {
            state.handle_identity(now, Ok(Owner { id: 7, epoch: 0 }));
        }
        Self { state, now, name, next: 0 }
    }

    /// A broker has confirmed a record of every partition, number 0; handles begin at 0 behind it.
    fn known(options: ProduceOptions, leaders: &[Option<i32>]) -> Self {
        let mut bench = Self::new(options, leaders);
        for partition in (0..).take(leaders.len()) {
            bench.append(partition, 990).unwrap();
            bench.later(5);
            let order = bench.request();
            bench.answer(&order, ErrorCode::NONE, 0);
        }
        assert_eq!(bench.done().len(), leaders.len());
        bench.next = 0;
        bench
    }

    fn later(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
    }

    /// Takes a record of `bytes` bytes for `partition`; its handle is its number.
    fn append(&mut self, partition: i32, bytes: usize) -> Result<bool, Refusal<&'static str>> {
        let value = vec![0; bytes];
        let record =
            NewRecord { partition: Some(partition), timestamp: 1, key: None, value: Some(&value), headers: &[] };
        let number = self.next;
        self.next += 1;
        self.state.append(self.now, &self.name, &record, number).map_err(|(_, refusal)| refusal)
    }

    /// All requests that are due.
    fn requests(&mut self) -> Vec<ProduceOrder> {
        self.state.poll_expired(self.now);
        let mut requests = Vec::new();
        loop {
            let before = requests.len();
            let mut sealed = false;
            while let Some(order) = self.state.poll_seal(self.now) {
                sealed = true;
                self.state.handle_sealed(self.now, order.seal());
            }
            requests.extend(std::iter::from_fn(|| self.state.poll_request(self.now)));
            if requests.len() == before && !sealed {
                return requests;
            }
        }
    }

    /// The only request that is due.
    fn request(&mut self) -> ProduceOrder {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests.remove(0)
    }

    /// The broker answers for the only partition of a request.
    fn answer(&mut self, order: &ProduceOrder, error: ErrorCode, base_offset: i64) {
        let answer = self.about(order, error, base_offset);
        self.state.handle_answer(self.now, order.id, Ok(Some(answer)));
    }

    fn about(&self, order: &ProduceOrder, error: ErrorCode, base_offset: i64) -> ProduceAnswer {
        let partition = ProducePartitionAnswer {
            topic: TopicRef::Name(self.name.clone()),
            partition: order.call.topics[0].partitions[0].0,
            error,
            error_message: None,
            base_offset,
            log_append_time_ms: -1,
            log_start_offset: 0,
            record_errors: vec![],
            leader: None,
        };
        ProduceAnswer { throttle_ms: 0, partitions: vec![partition], endpoints: vec![] }
    }

    fn lose(&mut self, order: &ProduceOrder, was_sent: bool) {
        let fault = SendFault { error: "lost", is_final: false, was_sent };
        self.state.handle_answer(self.now, order.id, Err(fault));
    }

    /// What has become of records: number, and offset or cause.
    fn done(&mut self) -> Vec<(u32, Outcome)> {
        std::iter::from_fn(|| self.state.poll_done())
            .map(|done| (done.handle, done.outcome.map(|written| written.offset)))
            .collect()
    }
}

/// Producer id, epoch, first sequence number and count of each batch of a request.
fn stamps(order: &ProduceOrder) -> Vec<(i64, i16, i32, u32)> {
    let batches = order.call.topics.iter().flat_map(|topic| &topic.partitions);
    batches
        .map(|(_, bytes)| {
            let batch = RecordSet::new(bytes.clone()).batches().next().unwrap().unwrap();
            (batch.producer_id(), batch.producer_epoch(), batch.base_sequence(), batch.record_count().unwrap())
        })
        .collect()
}

#[test]
fn records_linger_until_the_time_is_over_or_the_batch_is_full() {
    let mut bench = Bench::new(options(), &[Some(1)]);
    assert_eq!(bench.append(0, 10), Ok(true));
    assert_eq!(bench.append(0, 10), Ok(false));
    assert!(bench.requests().is_empty());
    assert_eq!(bench.state.poll_timeout(bench.now), Some(bench.now + Duration::from_millis(5)));
    bench.later(5);
    let order = bench.request();
    assert_eq!((order.broker, stamps(&order)), (1, vec![(7, 0, 0, 2)]));
    bench.answer(&order, ErrorCode::NONE, 40);
    assert_eq!(bench.done(), [(0, Ok(Some(40))), (1, Ok(Some(41)))]);
    for _ in 0..3 {
        bench.append(0, 600).unwrap();
    }
    // Two are full, since a third does not fit to them; the last one waits.
    assert_eq!(bench.requests().iter().flat_map(stamps).collect::<Vec<_>>(), [(7, 0, 2, 1), (7, 0, 3, 1)]);
    let mark = bench.state.flush();
    assert_eq!(bench.request().call.topics.len(), 1);
    assert!(!bench.state.is_flushed(mark));
}

#[test]
fn a_batch_that_comes_back_goes_before_all_that_came_after_it() {
    let mut bench = Bench::known(options(), &[Some(1)]);
    for _ in 0..3 {
        bench.append(0, 990).unwrap();
    }
    bench.later(5);
    let sent = bench.requests();
    assert_eq!(sent.iter().flat_map(stamps).collect::<Vec<_>>(), [(7, 0, 1, 1), (7, 0, 2, 1), (7, 0, 3, 1)]);
    bench.answer(&sent[0], ErrorCode::NOT_ENOUGH_REPLICAS, -1);
    bench.answer(&sent[1], ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1);
    bench.append(0, 990).unwrap();
    bench.later(200);
    // The third is still out; the first goes again, and nothing else.
    let again = bench.request();
    assert_eq!(stamps(&again), [(7, 0, 1, 1)]);
    bench.answer(&sent[2], ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1);
    bench.later(200);
    assert!(bench.requests().is_empty());
    bench.answer(&again, ErrorCode::NONE, 0);
    let second = bench.request();
    assert_eq!(stamps(&second), [(7, 0, 2, 1)], "again means alone");
    bench.answer(&second, ErrorCode::NONE, 1);
    // What has never been sent follows on the heels of what goes again.
    let rest = bench.requests();
    assert_eq!(rest.iter().flat_map(stamps).collect::<Vec<_>>(), [(7, 0, 3, 1), (7, 0, 4, 1)]);
    bench.answer(&rest[0], ErrorCode::NONE, 2);
    bench.answer(&rest[1], ErrorCode::NONE, 3);
    assert_eq!(bench.done().len(), 4);
}

/// A broker takes any number from a producer that it does not know: a second batch must not overtake a first that is refused.
#[test]
fn the_first_batch_of_a_partition_goes_alone() {
    let mut bench = Bench::new(options(), &[Some(1)]);
    for _ in 0..3 {
        bench.append(0, 990).unwrap();
    }
    bench.later(5);
    let first = bench.request();
    assert_eq!(stamps(&first), [(7, 0, 0, 1)]);
    bench.answer(&first, ErrorCode::NOT_LEADER_OR_FOLLOWER, -1);
    bench.later(200);
    let again = bench.request();
    assert_eq!(stamps(&again), [(7, 0, 0, 1)]);
    bench.answer(&again, ErrorCode::NONE, 0);
    assert_eq!(bench.requests().iter().flat_map(stamps).collect::<Vec<_>>(), [(7, 0, 1, 1), (7, 0, 2, 1)]);
}

#[test]
fn without_numbers_one_batch_of_a_partition_is_out() {
    let mut bench = Bench::new(ProduceOptions { idempotent: false, ..options() }, &[Some(1), Some(1)]);
    for partition in [0, 0, 1] {
        bench.append(partition, 990).unwrap();
    }
    bench.later(5);
    let order = bench.request();
    assert_eq!(stamps(&order), [(-1, -1, -1, 1), (-1, -1, -1, 1)]);
    assert!(bench.requests().is_empty());
    bench.lose(&order, true);
    bench.later(200);
    assert_eq!(stamps(&bench.request()).len(), 2);
}

#[test]
fn a_new_leader_waits_for_the_last_word_of_the_old_one() {
    let mut bench = Bench::known(options(), &[Some(1)]);
    bench.append(0, 990).unwrap();
    bench.later(5);
    let old = bench.request();
    let name = bench.name.clone();
    bench.state.handle_metadata(bench.now, &name, Ok(&topic(&[Some(2)])));
    bench.append(0, 990).unwrap();
    bench.later(5);
    assert!(bench.requests().is_empty());
    bench.answer(&old, ErrorCode::NOT_LEADER_OR_FOLLOWER, -1);
    assert_eq!(bench.state.poll_metadata(bench.now + Duration::from_secs(1)), Some(name));
    bench.later(200);
    let orders = bench.requests();
    assert!(orders.iter().all(|order| order.broker == 2));
    assert_eq!(orders.iter().flat_map(stamps).collect::<Vec<_>>(), [(7, 0, 1, 1), (7, 0, 2, 1)]);
}

#[test]
fn a_leader_that_an_answer_names_is_asked_at_once() {
    let mut bench = Bench::new(options(), &[Some(1)]);
    bench.append(0, 10).unwrap();
    bench.later(5);
    let order = bench.request();
    let mut answer = bench.about(&order, ErrorCode::NOT_LEADER_OR_FOLLOWER, -1);
    answer.partitions[0].leader = Some(crate::kafka::msg::LeaderHint { node: 3, epoch: 2 });
    bench.state.handle_answer(bench.now, order.id, Ok(Some(answer)));
    assert_eq!(bench.request().broker, 3);
}

#[test]
fn what_the_broker_has_already_counts_as_written() {
    let mut bench = Bench::new(options(), &[Some(1)]);
    bench.append(0, 10).unwrap();
    bench.later(5);
    let order = bench.request();
    bench.lose(&order, true);
    bench.later(200);
    let again = bench.request();
    assert_eq!(stamps(&again), stamps(&order));
    bench.answer(&again, ErrorCode::DUPLICATE_SEQUENCE_NUMBER, -1);
    assert_eq!(bench.done(), [(0, Ok(None))]);
}

#[test]
fn numbers_move_up_after_a_batch_that_is_certainly_not_written() {
    let mut bench = Bench::known(options(), &[Some(1)]);
    for _ in 0..2 {
        bench.append(0, 990).unwrap();
    }
    bench.later(5);
    let sent = bench.requests();
    bench.answer(&sent[0], ErrorCode::INVALID_RECORD, -1);
    bench.answer(&sent[1], ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1);
    bench.later(200);
    let again = bench.request();
    assert_eq!(stamps(&again), [(7, 0, 1, 1)], "it takes the other's number");
    bench.answer(&again, ErrorCode::NONE, 0);
    let done = bench.done();
    assert!(done[0].1.is_err() && done[1] == (1, Ok(Some(0))), "{done:?}");
}

#[test]
fn a_broker_that_has_lost_track_gets_a_new_epoch() {
    for (code, log_start) in [(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, 0), (ErrorCode::UNKNOWN_PRODUCER_ID, 9)] {
        let mut bench = Bench::known(options(), &[Some(1), Some(1)]);
        for _ in 0..2 {
            bench.append(0, 990).unwrap();
        }
        bench.later(5);
        let sent = bench.requests();
        let mut answer = bench.about(&sent[0], code, -1);
        answer.partitions[0].log_start_offset = log_start;
        bench.state.handle_answer(bench.now, sent[0].id, Ok(Some(answer)));
        bench.later(200);
        assert!(bench.requests().is_empty(), "the second one is out under the old epoch");
        bench.answer(&sent[1], code, -1);
        bench.later(200);
        let first = bench.request();
        assert_eq!(stamps(&first), [(7, 1, 0, 1)], "{code}");
        bench.answer(&first, ErrorCode::NONE, 0);
        let second = bench.request();
        assert_eq!(stamps(&second), [(7, 1, 1, 1)]);
    }
}

#[test]
fn a_batch_of_unknown_fate_that_is_given_up_leads_to_a_new_epoch_only_when_needed() {
    for is_written in [true, false] {
        let mut bench = Bench::known(options(), &[Some(1)]);
        bench.append(0, 990).unwrap();
        bench.later(59_000);
        bench.append(0, 990).unwrap();
        bench.later(5);
        let sent = bench.requests();
        bench.lose(&sent[0], true);
        bench.lose(&sent[1], true);
        bench.later(1000);
        // The first is too old by now.
        let again = bench.request();
        let done = bench.done();
        assert!(matches!(&done[0], (0, Err(failed)) if failed.maybe_written), "{done:?}");
        assert_eq!(stamps(&again), [(7, 0, 2, 1)], "the second keeps its number, or it could be there twice");
        if is_written {
            bench.answer(&again, ErrorCode::NONE, 1);
            bench.append(0, 990).unwrap();
            bench.later(5);
            assert_eq!(stamps(&bench.request()), [(7, 0, 3, 1)]);
        } else {
            bench.answer(&again, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1);
            bench.later(200);
            assert_eq!(stamps(&bench.request()), [(7, 1, 0, 1)]);
        }
    }
}

#[test]
fn a_batch_that_is_too_large_is_parted() {
    let mut bench = Bench::new(options(), &[Some(1)]);
    for _ in 0..3 {
        bench.append(0, 10).unwrap();
    }
    bench.later(5);
    let order = bench.request();
    bench.answer(&order, ErrorCode::MESSAGE_TOO_LARGE, -1);
    let halves = bench.requests();
    assert_eq!(halves.iter().flat_map(stamps).collect::<Vec<_>>(), [(7, 0, 0, 1)], "again means one at a time");
    bench.answer(&halves[0], ErrorCode::NONE, 5);
    let second = bench.request();
    assert_eq!(stamps(&second), [(7, 0, 1, 2)]);
    bench.answer(&second, ErrorCode::NONE, 6);
    assert_eq!(bench.done(), [(0, Ok(Some(5))), (1, Ok(Some(6))), (2, Ok(Some(7)))]);
    assert_eq!(bench.state.buffered_bytes(), 0);
}

#[test]
fn each_record_of_a_refused_batch_is_told_its_own_reason() {
    let mut bench = Bench::new(options(), &[Some(1)]);
    for _ in 0..2 {
        bench.append(0, 10).unwrap();
    }
    bench.later(5);
    let order = bench.request();
    let mut answer = bench.about(&order, ErrorCode::INVALID_RECORD, -1);
    answer.partitions[0].record_errors = vec![(1, Some("no key".to_owned()))];
    bench.state.handle_answer(bench.now, order.id, Ok(Some(answer)));
    let causes: Vec<_> = bench.done().into_iter().map(|(_, outcome)| outcome.unwrap_err().cause).collect();
    let (broker, code) = (1, ErrorCode::INVALID_RECORD);
    assert_eq!(
        causes,
        [Cause::Companion { broker, code }, Cause::Code { broker, code, text: Some("no key".to_owned()) }]
    );
}

#[test]
fn the_buffer_is_bounded_and_whoever_waits_makes_haste() {
    let mut bench = Bench::new(ProduceOptions { buffer_bytes_max: 500, ..options() }, &[Some(1)]);
    bench.append(0, 300).unwrap();
    assert_eq!(bench.append(0, 300), Err(Refusal::Full));
    assert!(bench.requests().is_empty());
    bench.state.wait_for_room(true);
    let order = bench.request();
    bench.answer(&order, ErrorCode::NONE, 0);
    bench.state.wait_for_room(false);
    assert_eq!(bench.append(0, 300), Ok(true));
    assert!(matches!(bench.append(0, 200_000), Err(Refusal::TooLarge(_))));
    assert_eq!(bench.append(5, 1), Err(Refusal::NoSuchPartition(1)));
}

#[test]
fn a_broker_that_asks_for_quiet_gets_it() {
    let mut bench = Bench::new(options(), &[Some(1)]);
    bench.append(0, 10).unwrap();
    bench.later(5);
    let order = bench.request();
    let mut answer = bench.about(&order, ErrorCode::NONE, 0);
    answer.throttle_ms = 1000;
    bench.state.handle_answer(bench.now, order.id, Ok(Some(answer)));
    bench.append(0, 10).unwrap();
    bench.later(900);
    assert!(bench.requests().is_empty());
    bench.later(100);
    assert_eq!(bench.requests().len(), 1);
}

#[test]
fn a_partition_without_a_leader_is_given_up_in_time() {
    let mut bench = Bench::new(options(), &[None]);
    bench.append(0, 10).unwrap();
    bench.later(59_999);
    assert!(bench.requests().is_empty() && bench.done().is_empty());
    bench.later(1);
    bench.requests();
    let done = bench.done();
    assert!(matches!(&done[0].1, Err(failed) if failed.cause == Cause::NoLeader && !failed.maybe_written), "{done:?}");
}

#[test]
fn a_partition_is_added_to_a_transaction_before_it_is_written_to() {
    let options = ProduceOptions { transactional_id: Some("x".into()), ..options() };
    let mut bench = Bench::new(options, &[Some(1)]);
    assert_eq!(bench.append(0, 10), Err(Refusal::NoTransaction));
    bench.state.init_transactions(Owner { id: 7, epoch: 3 }, false);
    bench.state.begin_transaction().unwrap();
    bench.append(0, 10).unwrap();
    bench.later(5);
    assert!(bench.requests().is_empty());
    assert_eq!(bench.state.poll_partitions_to_add(), Some(vec![("t".into(), vec![0])]));
    bench.state.handle_partitions_added(bench.now, Ok(()));
    let order = bench.request();
    assert_eq!(stamps(&order), [(7, 3, 0, 1)]);
    assert_eq!(order.call.transactional_id.as_deref(), Some("x"));
    bench.answer(&order, ErrorCode::INVALID_PRODUCER_EPOCH, -1);
    assert!(matches!(bench.append(0, 10), Err(Refusal::Failed { is_fatal: true, .. })));
}
