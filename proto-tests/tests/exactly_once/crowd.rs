//! Many agents on one topic: some are killed, some are restarted, and every record is in the table once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use forebay_proto_tests::kafka::Version;
use forebay_proto_tests::lane::{LIMIT, Lane, Plan, Site};

use crate::points::say;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

/// The middle and the last of some times, in seconds.
fn middle_and_longest(times: &mut [Duration]) -> String {
    times.sort();
    let at = |index: usize| times.get(index).map_or(0.0, Duration::as_secs_f64);
    format!("{:.1} s in the middle, {:.1} s at most", at(times.len() / 2), at(times.len().saturating_sub(1)))
}

/// Three agents, ten partitions; every few seconds one of the agents is killed and another one started.
#[test]
fn three_agents_of_which_one_is_killed_every_few_seconds() {
    three_agents("classic");
}

/// The same with KIP-848, where partitions move one by one.
#[test]
fn three_agents_of_the_new_group_protocol_of_which_one_is_killed_every_few_seconds() {
    three_agents("consumer");
}

fn three_agents(protocol: &str) {
    let records = number("FOREBAY_CROWD_RECORDS", 6_000);
    let mut random = Random(number("FOREBAY_SEED", 1));
    let site = Site::shared(Version::V4_4_0);
    let rows = (records / 50).clamp(200, 20_000);
    let limits = format!("commit_every = {{ rows = {rows}, time = \"500ms\" }}");
    let name = format!("crowd_{protocol}");
    let mut lane = Lane::new(&site, &Plan { limits: &limits, protocol, ..Plan::new(&name, 10) });
    let mut agents: Vec<_> = (0..3).map(|_| lane.start_agent(&[])).collect();
    let begun = Instant::now();
    let mut next_kill = Duration::from_secs(3);
    let (mut kills, mut takeovers) = (0_u32, Vec::new());
    // Since when, and what was committed of each partition then.
    let mut watched: Option<(Instant, BTreeMap<i32, i64>)> = None;
    let chunk = (records / 40).clamp(100, 25_000);
    let wanted_kills = 2;
    loop {
        if lane.written() < records {
            lane.produce(chunk.min(records - lane.written()), 0);
        }
        let (offsets, _) = lane.offsets();
        if let Some((since, before)) = &watched
            && before.iter().all(|(partition, offset)| offsets.get(partition).is_some_and(|now| now > offset))
        {
            takeovers.push(since.elapsed());
            watched = None;
        }
        let is_done =
            lane.written() == records && offsets.values().map(|offset| offset.unsigned_abs()).sum::<u64>() >= records;
        if is_done && kills >= wanted_kills {
            break;
        }
        if begun.elapsed() >= next_kill && !is_done {
            let index = usize::try_from(random.below(3)).expect("few");
            agents[index].server.kill();
            kills += 1;
            if watched.is_none() && offsets.len() == 10 {
                watched = Some((Instant::now(), offsets));
            }
            agents[index] = lane.start_agent(&[]);
            next_kill = begun.elapsed() + Duration::from_millis(3000 + random.below(5000));
        } else if is_done {
            // A quick machine: there is more to be killed at.
            lane.produce(chunk, 0);
            break;
        }
        assert!(begun.elapsed() < LIMIT * 5, "{} of {records} committed after {:?}", lane.committed(), begun.elapsed());
        std::thread::sleep(Duration::from_millis(100));
    }
    lane.wait_for_all("all records committed", &mut agents[0]);
    assert_eq!(lane.group_type().as_deref(), Some(protocol));
    let seconds = begun.elapsed().as_secs_f64();
    agents.iter_mut().for_each(forebay_proto_tests::lane::Agent::terminate);
    lane.judge();
    say(&format!(
        "3 agents, group protocol {protocol}, 10 partitions, {} records in {seconds:.0} s, {kills} kills: 0 lost, 0 doubled, the table equals the ledger; \
         all partitions went on again after {} (session timeout {} s)",
        lane.written(),
        middle_and_longest(&mut takeovers),
        forebay_proto_tests::lane::SESSION.as_secs(),
    ));
}

/// A third of the session timeout of 6 s.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// Agents that are restarted one after the other: what stays where it is hardly stops.
#[test]
fn a_rolling_restart_stops_only_what_moves() {
    let site = Site::shared(Version::V4_4_0);
    let mut lane = Lane::new(&site, &Plan { session_ms: 6000, ..Plan::new("rolling", 4) });
    let mut agents = vec![lane.start_agent(&[]), lane.start_agent(&[])];
    lane.produce(40, 0);
    for agent in &mut agents {
        agent.server.wait_until("its partitions", LIMIT, |agent| agent.log_text().contains("partitions ["));
    }
    lane.wait_for_all("all records committed", &mut agents[0]);
    // Nobody has just come.
    std::thread::sleep(Duration::from_secs(1));
    let mut pauses: BTreeMap<&str, Duration> = BTreeMap::new();
    for phase in ["undisturbed", "restart of the first", "restart of the second"] {
        let stays = match phase {
            "restart of the first" => agents[1].partitions(),
            "restart of the second" => agents[0].partitions(),
            _ => (0..4).collect(),
        };
        let mut seen: BTreeMap<i32, (i64, Instant)> = BTreeMap::new();
        let mut longest = Duration::ZERO;
        let begun = Instant::now();
        let mut restarted = false;
        while begun.elapsed() < Duration::from_secs(6) {
            lane.produce(8, 0);
            let offsets = lane.offsets().0;
            let now = Instant::now();
            for (partition, offset) in offsets.into_iter().filter(|(partition, _)| stays.contains(partition)) {
                let (known, since) = *seen.entry(partition).or_insert((offset, now));
                if offset > known {
                    longest = longest.max(now - since);
                    seen.insert(partition, (offset, now));
                }
            }
            if !restarted && begun.elapsed() > Duration::from_secs(2) && phase != "undisturbed" {
                restarted = true;
                let index = usize::from(phase == "restart of the second");
                agents[index].terminate();
                agents[index] = lane.start_agent(&[]);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        // One that never went on again has no end to measure.
        longest = seen.values().map(|(_, since)| since.elapsed()).max().unwrap_or_default().max(longest);
        pauses.insert(phase, longest);
    }
    lane.wait_for_all("all records committed", &mut agents[0]);
    agents.iter_mut().for_each(forebay_proto_tests::lane::Agent::terminate);
    if let Err(difference) = lane.audit() {
        panic!("{difference}");
    }
    let told: Vec<String> = pauses.iter().map(|(phase, pause)| format!("{phase} {} ms", pause.as_millis())).collect();
    say(&format!(
        "longest time between two commits of a partition that stays (commit_every 200 ms): {}",
        told.join(", ")
    ));
    let undisturbed = pauses["undisturbed"];
    for (phase, pause) in &pauses {
        // A member hears of a rebalance by its next heartbeat, and needs a moment for what it begins again.
        let allowed = undisturbed + HEARTBEAT + Duration::from_secs(1);
        assert!(*pause < allowed, "{phase}: {pause:?}, undisturbed {undisturbed:?}");
    }
}
