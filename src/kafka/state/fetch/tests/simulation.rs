//! Many histories of a small cluster, each replayed from a seed: whatever fails on the way, every record comes out once and
//! in order, and once the cluster is well, everything comes out.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

const PARTITIONS: i32 = 5;
const BROKERS: i32 = 3;
const END: i64 = 60;

/// A small deterministic random source (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// The cluster: who leads what, and the requests that are out.
struct Cluster {
    leaders: Vec<Option<i32>>,
    out: BTreeMap<i32, FetchOrder>,
    metadata_out: bool,
    healthy: bool,
}

impl Cluster {
    /// What the broker answers: batches of one to four records from the position on.
    fn answer(&self, order: &FetchOrder, random: &mut Random) -> Result<FetchAnswer, Fault<&'static str>> {
        if !self.healthy && random.chance(10) {
            return Err(Fault { error: "lost", is_final: false });
        }
        let mut parts = Vec::new();
        for p in &order.call.topics[0].partitions {
            let leader = self.leaders[usize::try_from(p.partition).unwrap()];
            parts.push(if leader != Some(order.broker) {
                bad(p.partition, ErrorCode::NOT_LEADER_OR_FOLLOWER)
            } else if !self.healthy && random.chance(10) {
                bad(p.partition, ErrorCode::UNKNOWN_SERVER_ERROR)
            } else {
                good(p.partition, records(p.offset, random))
            });
        }
        if !self.healthy && random.chance(10) {
            parts.pop();
        }
        answer(parts)
    }

    fn shake(&mut self, random: &mut Random) {
        let partition = usize::try_from(random.below(5)).unwrap();
        let broker = i32::try_from(random.below(4)).unwrap();
        self.leaders[partition] = (broker < BROKERS).then_some(broker);
    }

    fn heal(&mut self) {
        self.healthy = true;
        for leader in &mut self.leaders {
            leader.get_or_insert(0);
        }
    }
}

/// Batches that begin at multiples of three, as a log has them: the first may begin below the position. The last may be
/// cut off.
fn records(position: i64, random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut base = position - position % 3;
    for _ in 0..=random.below(3) {
        if base < END {
            bytes.extend(batch(base, 3));
            base += 3;
        }
    }
    if bytes.len() > 200 && random.chance(30) {
        bytes.truncate(bytes.len() - 5);
    }
    bytes
}

fn run(seed: u64) {
    let random = &mut Random(seed);
    let start: Vec<(i32, i64)> = (0..PARTITIONS).map(|p| (p, i64::from(p))).collect();
    let mut world = World::unknowing(FetchOptions { seed, ..options() }, &start);
    let mut cluster = Cluster { leaders: vec![Some(0); 5], out: BTreeMap::new(), metadata_out: true, healthy: false };
    let mut positions: BTreeMap<i32, i64> = start.into_iter().collect();
    let mut paused = BTreeSet::new();
    for step in 0..20_000 {
        if step == 300 {
            cluster.heal();
            for partition in std::mem::take(&mut paused) {
                world.state.resume(&key(partition));
            }
        }
        if positions.values().all(|position| *position >= END) {
            return;
        }
        cluster.metadata_out |= world.state.poll_metadata(world.now).is_some();
        while let Some(order) = world.state.poll_request(world.now) {
            let broker = order.broker;
            assert!(cluster.out.insert(broker, order).is_none(), "two requests are out to broker {broker}");
        }
        match random.below(if cluster.healthy { 5 } else { 7 }) {
            0 => world.wait(random.below(400)),
            1 if cluster.metadata_out => {
                cluster.metadata_out = false;
                let view = topic(0, &cluster.leaders);
                world.tell(&view);
            }
            2 | 3 => {
                let broker = cluster.out.keys().nth(usize::try_from(random.below(3)).unwrap()).copied();
                if let Some(order) = broker.and_then(|broker| cluster.out.remove(&broker)) {
                    let outcome = cluster.answer(&order, random);
                    world.state.handle_answer(world.now, order.broker, outcome);
                }
            }
            4 => match world.state.poll_ready() {
                Some(Ready::Data(data)) => {
                    let partition = data.partition.partition;
                    assert!(!paused.contains(&partition), "partition {partition} is paused");
                    assert_eq!(positions.insert(partition, data.next), Some(data.position), "a gap or a repetition");
                    assert_eq!(world.progress(partition).position.offset, data.next);
                }
                Some(Ready::Failed(failure)) => panic!("{failure:?}"),
                None => {}
            },
            5 => cluster.shake(random),
            6 => {
                let partition = i32::try_from(random.below(5)).unwrap();
                if paused.remove(&partition) {
                    world.state.resume(&key(partition));
                } else {
                    paused.insert(partition);
                    world.state.pause(&key(partition));
                }
            }
            _ => {}
        }
    }
    panic!("it does not come to an end: {positions:?}");
}

#[test]
fn every_record_comes_once_and_in_order_whatever_fails() {
    for seed in 0..300 {
        let outcome = std::panic::catch_unwind(|| run(seed));
        assert!(outcome.is_ok(), "seed {seed}");
    }
}
