//! How much is fetched ahead: one account for all that is held, whoever holds it.

use super::*;

fn tight(buffer_bytes_max: usize) -> FetchOptions {
    FetchOptions { buffer_bytes_max, fetch_bytes_max: 4 << 20, partition_bytes_max: 1 << 20, ..options() }
}

/// One batch of about this many bytes.
fn large(base_offset: i64, bytes: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.push(0, None, Some(&vec![b'v'; bytes]), &[]);
    builder.finish(base_offset).unwrap()
}

#[test]
fn what_the_caller_still_holds_counts_and_its_drop_makes_room() {
    let budget = 400 * 1024;
    let mut world = World::new(tight(budget), &[(0, 0), (1, 0)], &[Some(1), Some(2)]);
    let share = usize::try_from(world.state.poll_request(world.now).unwrap().call.bytes_max).unwrap();
    assert_eq!(share, budget / 8 * 3 / 2);
    assert_eq!(world.request(2), [(1, 0)]);
    world.reply(1, vec![good(0, large(0, share - 200))]);
    assert_eq!(world.request(1), [(0, 1)]);
    let (first, before) = (world.data(), world.state.budget().releases());
    world.reply(1, vec![good(0, large(1, share - 200))]);
    let second = world.data();
    // Two answers of broker 1 are at the caller's: it is not asked for a third, and broker 2 has its part.
    world.no_request();
    assert!(world.state.budget().used() + share <= budget);
    drop(first);
    assert!(world.state.budget().releases() > before);
    assert_eq!(world.request(1), [(0, 2)]);
    drop(second);
}

#[test]
fn the_sum_of_what_is_held_and_asked_for_stays_within_the_budget() {
    // So many brokers that the smallest share is more than an equal one.
    let leaders: Vec<Option<i32>> = (0..40).map(Some).collect();
    let start: Vec<(i32, i64)> = (0..40).map(|partition| (partition, 0)).collect();
    let budget = 1 << 20;
    let mut world = World::new(tight(budget), &start, &leaders);
    let (mut held, mut out, mut seen) = (VecDeque::new(), VecDeque::new(), std::collections::BTreeSet::new());
    let mut position = vec![0_i64; 40];
    for _ in 0..2000 {
        while let Some(order) = world.state.poll_request(world.now) {
            out.push_back(order);
        }
        let asked: usize = out.iter().map(|order| usize::try_from(order.call.bytes_max).unwrap()).sum();
        assert!(asked + world.state.budget().used() <= budget);
        if let Some(order) = out.pop_front() {
            let partition = order.call.topics[0].partitions[0];
            let records = large(partition.offset, 60_000);
            world.reply(order.broker, vec![good(partition.partition, records)]);
        }
        if let Some(Ready::Data(data)) = world.state.poll_ready() {
            let at = usize::try_from(data.partition.partition).unwrap();
            position[at] = data.next;
            seen.insert(at);
            held.push_back(data);
        }
        if held.len() > 8 || (out.is_empty() && world.state.ready.is_empty()) {
            held.pop_front();
        }
    }
    assert_eq!(seen.len(), 40, "every broker has its turn");
    let (least, most) = (position.iter().min().unwrap(), position.iter().max().unwrap());
    assert!(most - least <= 2, "brokers take turns: {position:?}");
}

#[test]
fn a_batch_beyond_the_budget_still_comes() {
    let mut world = World::new(tight(100 * 1024), &[(0, 0)], &[Some(1)]);
    world.request(1);
    world.reply(1, vec![good(0, large(0, 900_000))]);
    world.no_request();
    assert!(world.state.wants_room());
    let data = world.data();
    world.no_request();
    drop(data);
    assert_eq!(world.request(1), [(0, 1)]);
}

#[test]
fn what_is_decompressed_counts_too() {
    let mut world = World::new(tight(300 * 1024), &[(0, 0)], &[Some(1)]);
    world.request(1);
    world.reply(1, vec![good(0, batch(0, 1))]);
    let data = world.data();
    let copy = data.hold.as_ref().unwrap().budget().hold(&Arc::default(), 290 * 1024);
    world.no_request();
    assert!(world.state.wants_room());
    drop(copy);
    assert_eq!(world.request(1), [(0, 1)]);
}

#[test]
fn partitions_of_one_broker_have_their_turns_whatever_fits() {
    let start: Vec<(i32, i64)> = (0..100).map(|partition| (partition, 0)).collect();
    let mut world = World::new(options(), &start, &[Some(1); 100]);
    let mut served = vec![0_u32; 100];
    for _ in 0..100 {
        // The broker fills an answer with the first ten of the request, and the others come empty.
        let parts = world.request(1);
        let answer = parts
            .iter()
            .enumerate()
            .map(|(n, (partition, offset))| good(*partition, if n < 10 { batch(*offset, 1) } else { vec![] }));
        world.reply(1, answer.collect());
        while let Some(Ready::Data(data)) = world.state.poll_ready() {
            served[usize::try_from(data.partition.partition).unwrap()] += u32::from(!data.records.is_empty());
        }
    }
    assert!(served.iter().all(|count| *count == 10), "{served:?}");
}
