//! What only time shows: two agents under a steady rate and steady faults, and an agent with a thousand partitions whose MaxCompute
//! is slow. `./proto-tests/run soak`; FOREBAY_SOAK_SECONDS and FOREBAY_SOAK_RATE change how long and how much.

use std::time::{Duration, Instant};

use forebay::sandbox::maxcompute::{Action, Fault};
use forebay_proto_tests::gate::{Fate, OffsetWrite};
use forebay_proto_tests::kafka::Version;
use forebay_proto_tests::lane::{Agent, Lane, Plan, Site};

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

#[expect(clippy::print_stdout, reason = "what `./proto-tests/run soak` is for")]
fn say(text: &str) {
    println!("{text}");
}

fn mib(kib: u64) -> f64 {
    f64::from(u32::try_from(kib).expect("small")) / 1024.0
}

/// What is ordered every few seconds, in turn.
fn trouble(lane: &Lane, turn: u64) -> &'static str {
    let faults = lane.service.service().faults();
    // One after the other: what piled up would be an outage.
    if !faults.waiting().is_empty() {
        return "still the last one";
    }
    match turn % 8 {
        0 => faults.push(Fault::after("upload_commit", Action::Drop)),
        1 => faults.push(Fault::before("upload_block", Action::CutRequest { after_bytes: 300 })),
        2 => drop(lane.site.gate.order(&lane.group(), OffsetWrite::Advance, Fate::LoseAnswer)),
        3 => faults.push(Fault::before("upload_commit", Action::Drop).times(2)),
        4 => drop(lane.site.gate.order(&lane.group(), OffsetWrite::Seal, Fate::LoseAnswer)),
        5 => {
            let busy =
                Action::Status { status: 503, code: String::new(), message: String::new(), retry_after_s: Some(1) };
            faults.push(Fault::before("upload_block", busy).times(3));
        }
        6 => faults.push(Fault::before("upload_create", Action::Hold { hold_ms: 3000 })),
        _ => faults.push(Fault::after("upload_status", Action::Drop).times(2)),
    }
    ["commit lost", "block cut", "advance lost", "commit refused", "seal lost", "busy", "slow", "status lost"]
        [usize::try_from(turn % 8).expect("few")]
}

/// Memory is flat, and lag returns to zero.
#[test]
fn two_agents_under_a_steady_rate_and_steady_faults() {
    let seconds = Duration::from_secs(number("FOREBAY_SOAK_SECONDS", 1200));
    let rate = number("FOREBAY_SOAK_RATE", 400);
    let site = Site::shared(Version::V4_4_0);
    let limits = "commit_every = { time = \"1s\" }\nmemory_max = \"32MiB\"";
    let mut lane = Lane::new(&site, &Plan { limits, session_ms: 6000, ..Plan::new("soak", 6) });
    lane.pad_values(200);
    let mut stays = lane.start_agent(&[]);
    let mut comes = lane.start_agent(&[]);
    say(" second   written  committed     lag   MiB now    at most   kills  trouble");
    let begun = Instant::now();
    let (mut turn, mut kills, mut lines) = (0, 0_u32, 0_u32);
    let mut samples: Vec<(Duration, u64)> = Vec::new();
    while begun.elapsed() < seconds {
        let due = u64::try_from(begun.elapsed().as_millis()).expect("not for ever") * rate / 1000;
        let missing = due.saturating_sub(lane.written());
        if missing > 0 {
            lane.produce(missing, 97);
        }
        if begun.elapsed() >= Duration::from_secs(4 * turn) {
            let what = trouble(&lane, turn);
            turn += 1;
            samples.push((begun.elapsed(), stays.memory().0));
            if begun.elapsed() >= Duration::from_secs(u64::from(lines) * 30) {
                lines += 1;
                let (now, most) = stays.memory();
                let (written, committed) = (lane.written(), lane.committed());
                say(&format!(
                    "{:>7} {written:>9} {committed:>10} {:>7} {:>9.1} {:>10.1} {kills:>7}  {what}",
                    begun.elapsed().as_secs(),
                    written.saturating_sub(committed),
                    mib(now),
                    mib(most)
                ));
            }
            // The other one dies every two minutes, and another host comes.
            if begun.elapsed() >= Duration::from_secs(u64::from(kills + 1) * 120) {
                comes.server.kill();
                kills += 1;
                comes = lane.start_agent(&[]);
            }
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    lane.service.service().faults().clear();
    lane.site.gate.forget(&lane.group());
    let healed = Instant::now();
    lane.wait_for_all("lag zero", &mut stays);
    let drained = healed.elapsed();
    let (_, most) = stays.memory();
    for agent in [&mut stays, &mut comes] {
        agent.terminate();
    }
    lane.judge();
    let (rows, misfits) = lane.counts();
    let mean = |from: f64, to: f64| {
        let within: Vec<u64> = (samples.iter())
            .filter(|(at, _)| (seconds.mul_f64(from)..seconds.mul_f64(to)).contains(at))
            .map(|(_, kib)| *kib)
            .collect();
        within.iter().sum::<u64>() / u64::try_from(within.len()).expect("few").max(1)
    };
    let (early, late) = (mean(0.25, 0.5), mean(0.75, 1.0));
    say(&format!(
        "{} s at {rate} records a second, {turn} faults, {kills} kills: {rows} rows and {misfits} dead letters, 0 lost, 0 doubled; \
         lag zero {:.1} s after the last record; memory {:.1} MiB in the second quarter, {:.1} MiB in the last, {:.1} MiB at most",
        seconds.as_secs(),
        drained.as_secs_f64(),
        mib(early),
        mib(late),
        mib(most)
    ));
    assert!(late <= early + early / 10 + 2048, "memory grows: {early} KiB, then {late} KiB");
    assert!(drained < Duration::from_secs(60), "lag is zero only after {drained:?}");
}

/// An agent at work for a while on a topic of a thousand partitions, while every block is taken a second late.
fn most_memory(lane: &mut Lane, records: u64) -> u64 {
    let slow = Fault::before("upload_block", Action::Hold { hold_ms: 1000 }).times(u32::MAX);
    lane.service.service().faults().push(slow);
    lane.produce(records, 0);
    let mut agent: Agent = lane.start_agent(&[]);
    lane.wait_for_all("all records committed", &mut agent);
    let (_, most) = agent.memory();
    agent.terminate();
    lane.judge();
    most
}

/// The budget has an effect, and holds.
#[test]
fn memory_max_holds_with_a_thousand_partitions_and_a_slow_maxcompute() {
    let site = Site::shared(Version::V4_4_0);
    let mut most = Vec::new();
    for (name, budget_mib) in [("budgetsmall", 16), ("budgetlarge", 256)] {
        let limits = format!(
            "concurrent = 8\ncommit_every = {{ rows = 100_000, time = \"3s\" }}\nmemory_max = \"{budget_mib}MiB\""
        );
        let mut lane = Lane::new(&site, &Plan { limits: &limits, session_ms: 10_000, ..Plan::new(name, 1000) });
        // One record each first: the broker opens a thousand logs, one after the other.
        lane.produce(1000, 0);
        lane.pad_values(4000);
        let kib = most_memory(&mut lane, number("FOREBAY_BUDGET_RECORDS", 30_000));
        say(&format!("1,000 partitions, slow blocks, memory_max {budget_mib} MiB: {:.1} MiB at most", mib(kib)));
        most.push(kib);
        lane.service.service().faults().clear();
        assert!(kib < (budget_mib + 48) * 1024, "{kib} KiB with a budget of {budget_mib} MiB");
    }
    assert!(most[0] + 8 * 1024 < most[1], "the budget makes no difference: {most:?} KiB");
}
