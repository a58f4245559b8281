//! Many runs against a broker that keeps a log by Kafka's rules, and that loses requests, answers and its leadership.

use std::collections::VecDeque;

use super::*;
use crate::kafka::record::Decompressor;

/// One partition's log, and the last number of the one producer.
#[derive(Default)]
struct Log {
    values: Vec<u32>,
    /// (epoch, next number), none before the first batch, and the last batches with their offsets, as brokers keep them.
    next: Option<(i16, i32)>,
    recent: VecDeque<(i16, i32, i32, i64)>,
}

impl Log {
    fn append(&mut self, epoch: i16, sequence: i32, values: &[u32]) -> (ErrorCode, i64) {
        let count = i32::try_from(values.len()).unwrap();
        if let Some(known) = self.recent.iter().find(|known| (known.0, known.1, known.2) == (epoch, sequence, count)) {
            return (ErrorCode::NONE, known.3);
        }
        // Of a producer that it does not know a broker takes any number.
        let (known, next) = self.next.unwrap_or((epoch, sequence));
        let expected = if epoch > known { 0 } else { next };
        if epoch < known {
            return (ErrorCode::INVALID_PRODUCER_EPOCH, -1);
        }
        if sequence != expected {
            return (ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1);
        }
        let offset = i64::try_from(self.values.len()).unwrap();
        self.values.extend_from_slice(values);
        self.next = Some((epoch, sequence + count));
        self.recent.push_back((epoch, sequence, count, offset));
        if self.recent.len() > 5 {
            self.recent.pop_front();
        }
        (ErrorCode::NONE, offset)
    }
}

fn values(bytes: &Bytes) -> (i16, i32, Vec<u32>) {
    let batch = RecordSet::new(bytes.clone()).batches().next().unwrap().unwrap();
    let records = batch.decode(&mut Decompressor::default()).unwrap();
    let value =
        |record: crate::kafka::record::Record<'_>| u32::from_be_bytes(record.value.unwrap().try_into().unwrap());
    (batch.producer_epoch(), batch.base_sequence(), records.iter().map(|record| value(record.unwrap())).collect())
}

fn run(seed: u64) {
    let mut random = seed;
    let mut draw = move |below: u64| topic::draw(&mut random) % below;
    let options =
        ProduceOptions { batch_bytes: 200, delivery_timeout: Duration::from_secs(100_000), seed, ..options() };
    let (mut state, mut now, name) = (State::new(options), Instant::now(), Arc::from("t"));
    // The first word about the leader may be wrong.
    let mut leader = if draw(2) == 0 { 1 } else { 2 };
    state.handle_metadata(now, &name, Ok(&topic(&[Some(1)])));
    state.handle_identity(now, Ok(Owner { id: 7, epoch: 0 }));
    let (mut log, mut wire, mut sent) = (Log::default(), Vec::<ProduceOrder>::new(), 0_u32);
    let mut done: Vec<(u32, i64)> = Vec::new();
    let total = 300;
    for step in 0.. {
        assert!(step < 100_000, "seed {seed}: no end");
        now += Duration::from_millis(draw(20));
        if sent < total && draw(2) == 0 {
            let value = sent.to_be_bytes();
            let record = NewRecord { partition: Some(0), timestamp: 1, key: None, value: Some(&value), headers: &[] };
            if state.append(now, &name, &record, sent).is_ok() {
                sent += 1;
            }
        }
        if draw(40) == 0 {
            leader = 3 - leader;
        }
        state.poll_expired(now);
        if state.poll_metadata(now).is_some() {
            // It may be late with the news.
            let told = if draw(4) == 0 { 3 - leader } else { leader };
            state.handle_metadata(now, &name, Ok(&topic(&[Some(told)])));
        }
        while let Some(order) = state.poll_seal(now) {
            state.handle_sealed(now, order.seal());
        }
        wire.extend(std::iter::from_fn(|| state.poll_request(now)));
        if !wire.is_empty() && draw(3) > 0 {
            let order = wire.remove(0);
            let (partition, bytes) = &order.call.topics[0].partitions[0];
            let fault = |was_sent| Err(SendFault { error: "lost", is_final: false, was_sent });
            let outcome = match draw(10) {
                0 => fault(false),
                // The request is lost, and nobody knows.
                1 => fault(true),
                _ => {
                    let (epoch, sequence, values) = values(bytes);
                    let (error, base_offset) = if order.broker == leader {
                        log.append(epoch, sequence, &values)
                    } else {
                        (ErrorCode::NOT_LEADER_OR_FOLLOWER, -1)
                    };
                    let answer = ProducePartitionAnswer {
                        topic: TopicRef::Name(name.clone()),
                        partition: *partition,
                        error,
                        error_message: None,
                        base_offset,
                        log_append_time_ms: -1,
                        log_start_offset: 0,
                        record_errors: vec![],
                        leader: None,
                    };
                    // The answer is lost.
                    if draw(10) == 0 {
                        fault(true)
                    } else {
                        Ok(Some(ProduceAnswer { throttle_ms: 0, partitions: vec![answer], endpoints: vec![] }))
                    }
                }
            };
            // With the connection, all that was on it is lost: some of it after it was written.
            let is_broken = outcome.is_err();
            state.handle_answer(now, order.id, outcome);
            if is_broken {
                for order in std::mem::take(&mut wire) {
                    if draw(2) == 0 && order.broker == leader {
                        let (epoch, sequence, values) = values(&order.call.topics[0].partitions[0].1);
                        log.append(epoch, sequence, &values);
                    }
                    state.handle_answer(now, order.id, fault(true));
                }
            }
        }
        while let Some(one) = state.poll_done() {
            done.push((one.handle, one.outcome.unwrap().offset.unwrap()));
        }
        if sent == total && done.len() == total as usize {
            break;
        }
    }
    assert!(log.values.iter().copied().eq(0..total), "seed {seed}: {:?}", log.values);
    done.sort_unstable();
    assert!(done.iter().all(|(number, offset)| i64::from(*number) == *offset), "seed {seed}: {done:?}");
    assert_eq!(state.buffered_bytes(), 0);
    assert_eq!(state.identity(), Some(Owner { id: 7, epoch: 0 }), "seed {seed}: no epoch was needed");
}

#[test]
fn every_record_is_written_once_and_in_order_whatever_fails() {
    for seed in 0..200 {
        run(seed);
    }
}
