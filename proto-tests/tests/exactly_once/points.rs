//! The 22 points of the design's crash table, each met by an agent that is killed, one that is stopped until the group has gone on
//! without it, and one that lives on while an answer is lost.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use forebay::sandbox::maxcompute::{Action, Fault, Switches};
use forebay_proto_tests::gate::{Fate, OffsetWrite};
use forebay_proto_tests::kafka::Version;
use forebay_proto_tests::lane::{LIMIT, Lane, Plan, SESSION, Site};
use rustix::process::Signal;

use crate::special;

/// What happens to the agent at the point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum How {
    Kill,
    Stop,
    Lost,
}

impl How {
    const ALL: [Self; 3] = [Self::Kill, Self::Stop, Self::Lost];
}

/// A row of the design's table. Rows 18 to 21 end in an alarm, and have worlds of their own.
const POINTS: [&str; 22] = [
    "before the session is created",
    "session created",
    "inside a block",
    "blocks done, before the seal",
    "seal sent, answer not there",
    "sealed, before the commit",
    "commit done, answer lost",
    "commit held, lands late",
    "session closing for long",
    "closed, before the advance",
    "advance sent, answer not there",
    "session expired",
    "session forgotten",
    "another member joins",
    "the stopped one comes back",
    "seal late, successor reads before",
    "the agent's folder is gone",
    "offsets deleted",
    "truncate in a continuous job",
    "schema changed under a seal",
    "topic made anew",
    "records that fit no row",
];

/// Every place on the way of a batch where an agent can be made to die.
const WAY: [&str; 16] = [
    "joined", "offsets", "stored", "read", "create", "created", "block", "uploaded", "seal", "sealed", "post",
    "posted", "ask", "asked", "advance", "advanced",
];

/// One run: a point, what happens there, and a seed for everything that is left open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Cell {
    point: usize,
    how: How,
    seed: u64,
}

/// How a cell is staged.
#[derive(Default)]
struct Stage {
    /// The crash point, and what the agent does there.
    crash: Option<(&'static str, Crash)>,
    faults: Vec<Fault>,
    gate: Option<(OffsetWrite, Fate)>,
    /// The point has come with the first request of this kind.
    request: Option<&'static str>,
    switches: Switches,
    /// Hours by which the service's clock is moved once the point has come.
    hours: f64,
    forgets: bool,
    loses_disk: bool,
    /// A peer is a member before the point comes.
    peer: bool,
    /// A peer joins while the agent is held at the point.
    joins: bool,
    /// Every so many records one does not fit.
    misfit: u64,
    /// How long something may still be on its way after the end.
    late: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Crash {
    Kill,
    Stop,
    Wait(u32),
}

impl Stage {
    fn of(cell: Cell) -> Self {
        let Cell { point, how, seed } = cell;
        let at = |name: &'static str| match how {
            How::Kill => Some((name, Crash::Kill)),
            How::Stop => Some((name, Crash::Stop)),
            How::Lost => None,
        };
        let lost = |fault: Fault| if how == How::Lost { vec![fault] } else { Vec::new() };
        let either = |one: &'static str, other: &'static str| if seed.is_multiple_of(2) { one } else { other };
        let way = |step: u64| WAY[usize::try_from((seed + step) % WAY.len() as u64).expect("few")];
        let commit_lost = || Fault::after("upload_commit", Action::Drop);
        let base = Self { misfit: 11, peer: how != How::Lost && seed % 3 == 1, ..Self::default() };
        match point {
            1 => Self { crash: at("create"), faults: lost(Fault::before("upload_create", Action::Drop)), ..base },
            2 => Self { crash: at("created"), faults: lost(Fault::after("upload_create", Action::Drop)), ..base },
            3 => {
                let cut = Action::CutRequest { after_bytes: 20 + seed * 31 };
                let fault = if seed.is_multiple_of(2) {
                    Fault::before("upload_block", cut)
                } else {
                    Fault::after("upload_block", Action::Drop)
                };
                Self { crash: at("block"), faults: lost(fault), ..base }
            }
            4 => Self {
                crash: at(either("uploaded", "seal")),
                faults: lost(Fault::after("upload_status", Action::Drop)),
                ..base
            },
            5 | 11 => {
                let write = if point == 5 { OffsetWrite::Seal } else { OffsetWrite::Advance };
                let fate = if how == How::Lost { Fate::LoseAnswer } else { Fate::KeepAnswer };
                Self { gate: Some((write, fate)), ..base }
            }
            6 => Self {
                crash: at(either("sealed", "post")),
                faults: lost(Fault::before("upload_commit", Action::Drop)),
                ..base
            },
            7 => Self { crash: at("posted"), faults: vec![commit_lost()], peer: false, ..base },
            8 => Self {
                faults: vec![Fault::before("upload_commit", Action::Hold { hold_ms: 8000 })],
                request: Some("upload_commit"),
                peer: false,
                late: Duration::from_secs(9),
                ..base
            },
            9 => Self {
                crash: at("asked"),
                faults: lost(Fault::after("upload_status", Action::Drop).skip(4)),
                switches: Switches { closing_polls: 6, ..Switches::default() },
                ..base
            },
            10 => {
                Self { crash: at("advance"), faults: lost(Fault::after("upload_status", Action::Drop).skip(3)), ..base }
            }
            12 => Self {
                crash: if how == How::Lost { Some(("post", Crash::Wait(1500))) } else { at("post") },
                // Near its end a session is not committed any more, but waited for.
                hours: if seed.is_multiple_of(2) { 24.5 } else { 23.5 },
                peer: false,
                ..base
            },
            13 => Self {
                crash: if how == How::Lost {
                    Some(("posted", Crash::Wait(1500)))
                } else {
                    at(either("post", "posted"))
                },
                faults: lost(commit_lost()),
                forgets: true,
                peer: false,
                ..base
            },
            14 => Self {
                crash: Some((way(4), Crash::Wait(4000))),
                faults: lost(commit_lost()),
                joins: true,
                peer: false,
                ..base
            },
            15 => Self { crash: Some((way(7), Crash::Stop)), faults: lost(commit_lost()), peer: false, ..base },
            16 => Self {
                gate: Some((OffsetWrite::Seal, Fate::Delay(Duration::from_secs(6)))),
                peer: false,
                late: Duration::from_secs(7),
                ..base
            },
            17 => Self {
                crash: if how == How::Lost { Some((way(2), Crash::Wait(300))) } else { at(way(9)) },
                faults: lost(commit_lost()),
                loses_disk: true,
                ..base
            },
            22 => Self { crash: at(either("uploaded", "sealed")), faults: lost(commit_lost()), misfit: 2, ..base },
            _ => unreachable!("point {point} has a world of its own"),
        }
    }
}

fn play(lane: &mut Lane, cell: Cell) {
    let Cell { how, seed, .. } = cell;
    let stage = Stage::of(cell);
    let service = lane.service.service();
    service.set_switches(stage.switches);
    stage.faults.iter().for_each(|fault| service.faults().push(fault.clone()));
    let met = stage.gate.map(|(write, fate)| lane.site.gate.order(&lane.group(), write, fate));
    let asked = stage.request.map(|operation| (operation, lane.service.requests(operation)));
    let begun = Instant::now();

    lane.produce(20 + seed * 7 % 30, stage.misfit);
    let order = stage.crash.map(|(point, crash)| {
        let action = match crash {
            Crash::Kill => "kill".to_owned(),
            Crash::Stop => "stop".to_owned(),
            Crash::Wait(millis) => millis.to_string(),
        };
        // The first time that an agent comes to where it joins is the only one for sure.
        let hit = if point == "joined" || point == "offsets" || point == "stored" { 1 } else { 1 + seed % 2 };
        format!("{point}:{hit}:{action}")
    });
    let variables: Vec<(&str, &str)> = order.iter().map(|order| ("FOREBAY_CRASH_AT", order.as_str())).collect();
    let mut first = lane.start_agent(&variables);
    let mut peer = stage.peer.then(|| lane.start_agent(&[]));

    // Records keep coming, so that every agent comes to every point.
    let mut bursts = 0;
    loop {
        let has_come = match (&met, asked) {
            (Some(met), _) => met.load(Ordering::SeqCst),
            (None, Some((operation, before))) => lane.service.requests(operation) > before,
            (None, None) => match stage.crash {
                Some((_, Crash::Kill)) => first.has_ended(),
                Some((_, Crash::Stop)) => first.is_stopped(),
                Some((_, Crash::Wait(_))) => first.server.log_text().contains("crash point"),
                None => lane.service.service().faults().waiting().is_empty(),
            },
        };
        if has_come {
            break;
        }
        assert!(begun.elapsed() < LIMIT, "{cell:?} does not come to its point\n{}", first.server.log_tail());
        if bursts < 60 {
            lane.produce(3 + bursts % 4, stage.misfit);
            bursts += 1;
        }
        thread::sleep(Duration::from_millis(150));
    }

    // What the harness does where the agent does not do it by itself.
    if stage.joins {
        peer = Some(lane.start_agent(&[]));
        let joined = peer.as_mut().expect("it was started");
        joined.server.wait_until("a place in the group", LIMIT, |agent| agent.log_text().contains("generation"));
    }
    match how {
        How::Kill if !first.has_ended() => first.server.kill(),
        How::Stop if !first.is_stopped() => first.signal(Signal::STOP),
        _ => {}
    }
    if stage.loses_disk {
        first.lose_disk();
    }
    if stage.forgets {
        lane.forget_sessions();
    }
    if stage.hours > 0.0 {
        lane.service.service().clock().advance(Duration::from_secs_f64(stage.hours * 3600.0));
    }
    let is_alone = how == How::Lost && peer.is_none();
    if how == How::Lost && first.is_stopped() {
        thread::sleep(SESSION + Duration::from_secs(2));
        first.signal(Signal::CONT);
    }
    if peer.is_none() && !is_alone {
        peer = Some(lane.start_agent(&[]));
    }
    lane.produce(5 + seed % 9, stage.misfit);
    if stage.hours > 0.0 && stage.hours < 24.0 {
        let worker = peer.as_mut().unwrap_or(&mut first);
        worker.server.wait_until("that it waits for the session's end", LIMIT, |agent| {
            agent.log_text().contains("too old to be committed; waiting until it has expired")
        });
        let posts = lane.service.requests("upload_commit");
        thread::sleep(Duration::from_secs(2));
        assert_eq!(lane.service.requests("upload_commit"), posts, "{cell:?}: posted at the end of the session's life");
        lane.service.service().clock().advance(Duration::from_secs(3600));
    }
    let worker = peer.as_mut().unwrap_or(&mut first);
    lane.wait_for_all(&format!("all records committed after {cell:?}"), worker);
    if how == How::Stop {
        // The zombie wakes up, ends what it was about to do, and becomes a member like any other.
        first.signal(Signal::CONT);
        thread::sleep(Duration::from_millis(500));
        lane.produce(4, stage.misfit);
        let worker = peer.as_mut().unwrap_or(&mut first);
        lane.wait_for_all(&format!("all records committed after the return in {cell:?}"), worker);
    }
    if let Some(left) = stage.late.checked_sub(begun.elapsed()) {
        thread::sleep(left);
    }
    if let Err(difference) = lane.audit() {
        panic!(
            "{cell:?}: {difference}\n{}\n{}",
            first.server.log_text(),
            peer.map_or_else(String::new, |peer| peer.server.log_text())
        );
    }
    lane.service.service().faults().clear();
    lane.service.service().set_switches(Switches::default());
    lane.site.gate.forget(&lane.group());
    if how != How::Kill {
        first.terminate();
    }
    if let Some(mut peer) = peer {
        peer.terminate();
    }
}

/// What came of the cells: how often each was run, and how long that took.
#[derive(Default)]
struct Outcome {
    runs: u32,
    seconds: f64,
}

/// Plays every cell of `cells` on one broker version with one protocol of groups, in `lanes` lanes at a time, and prints them as a table.
fn play_all(version: Version, protocol: &str, mut cells: Vec<Cell>, lanes: usize) {
    let site = Site::shared(version);
    // Longest first would be better still; what waits for sessions to expire is spread by this, too.
    cells.sort_by_key(|cell| (cell.seed, cell.point, cell.how));
    let queue = Mutex::new(cells.into_iter().collect::<std::collections::VecDeque<_>>());
    let outcomes: Mutex<BTreeMap<(usize, How), Outcome>> = Mutex::default();
    let totals = Arc::new(Mutex::new((0_usize, 0_usize)));
    thread::scope(|scope| {
        for number in 0..lanes {
            let (site, queue, outcomes, totals) = (&site, &queue, &outcomes, totals.clone());
            scope.spawn(move || {
                let name = format!("{protocol}{number}x");
                let mut lane = Lane::new(site, &Plan { protocol, ..Plan::new(&name, 3) });
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some(cell) = next else { break };
                    let begun = Instant::now();
                    if (18..=21).contains(&cell.point) {
                        special::play(site, cell.point, cell.seed);
                    } else {
                        play(&mut lane, cell);
                    }
                    let seconds = begun.elapsed().as_secs_f64();
                    say(&format!("{version:?} {cell:?}: {seconds:.1} s"));
                    let mut outcomes = outcomes.lock().unwrap_or_else(PoisonError::into_inner);
                    let outcome = outcomes.entry((cell.point, cell.how)).or_default();
                    outcome.runs += 1;
                    outcome.seconds += seconds;
                }
                lane.judge();
                let (rows, misfits) = lane.counts();
                let mut totals = totals.lock().unwrap_or_else(PoisonError::into_inner);
                totals.0 += rows;
                totals.1 += misfits;
            });
        }
    });
    let outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut table = format!("{} {:35}{:>12}{:>12}{:>12}\n", version.name(), "point", "kill", "stop", "answer lost");
    for (index, name) in POINTS.iter().enumerate() {
        let cell = |how| match outcomes.get(&(index + 1, how)) {
            Some(Outcome { runs, seconds }) => format!("{runs} ({:.0} s)", seconds / f64::from(*runs)),
            None => "-".to_owned(),
        };
        let (kill, stop, lost) = (cell(How::Kill), cell(How::Stop), cell(How::Lost));
        let _ = writeln!(table, "{:>3}   {name:35}{kill:>12}{stop:>12}{lost:>12}", index + 1);
    }
    let runs: u32 = outcomes.values().map(|outcome| outcome.runs).sum();
    let (rows, misfits) = *totals.lock().unwrap_or_else(PoisonError::into_inner);
    say(&format!(
        "{table}{runs} runs, {rows} rows and {misfits} dead letters: 0 lost, 0 doubled, tables equal ledgers"
    ));
}

#[expect(clippy::print_stdout, reason = "what `./proto-tests/run exactly-once` is for")]
pub(crate) fn say(text: &str) {
    println!("{text}");
}

/// The cells of a run: a few, without order; all of them, for so many seeds, with `FOREBAY_POINT_SEEDS`; one, to see it again,
/// with `FOREBAY_POINT="5 kill 1"`.
fn cells(version: Version) -> Vec<Cell> {
    if let Ok(one) = std::env::var("FOREBAY_POINT") {
        let words: Vec<&str> = one.split_whitespace().collect();
        let [point, how, seed] = words[..] else { panic!("FOREBAY_POINT is \"POINT kill|stop|lost SEED\"") };
        let how = How::ALL.into_iter().find(|known| format!("{known:?}").eq_ignore_ascii_case(how)).expect("a way");
        return vec![Cell { point: point.parse().expect("a point"), how, seed: seed.parse().expect("a seed") }];
    }
    let Ok(seeds) = std::env::var("FOREBAY_POINT_SEEDS") else {
        let few = [(3, How::Kill), (5, How::Kill), (6, How::Stop), (11, How::Lost)];
        return few.into_iter().map(|(point, how)| Cell { point, how, seed: 0 }).collect();
    };
    let seeds: u64 = seeds.parse().expect("FOREBAY_POINT_SEEDS is a number");
    let all = (1..=POINTS.len()).flat_map(|point| How::ALL.into_iter().map(move |how| (point, how)));
    all.filter(|(point, how)| *how == How::Kill || !(18..=21).contains(point))
        .filter(|(point, _)| special::applies(*point, version))
        .flat_map(|(point, how)| {
            (0..if (18..=21).contains(&point) { 1 } else { seeds }).map(move |seed| Cell { point, how, seed })
        })
        .collect()
}

fn play_version(version: Version, protocol: &str) {
    let cells = cells(version);
    let lanes = cells.len().div_ceil(2).min(3);
    play_all(version, protocol, cells, lanes);
}

#[test]
fn an_agent_may_die_at_any_point_on_4_4_0() {
    play_version(Version::V4_4_0, "classic");
}

/// KIP-848: the broker divides, and what fences is a member's epoch.
#[test]
fn an_agent_may_die_at_any_point_with_the_new_group_protocol() {
    play_version(Version::V4_4_0, "consumer");
}

/// The old coordinator has no stable reads. A plain run leaves it to `agent`.
#[test]
fn an_agent_may_die_at_any_point_on_1_0_1() {
    if std::env::var_os("FOREBAY_POINT_SEEDS").is_some() || std::env::var_os("FOREBAY_POINT").is_some() {
        play_version(Version::V1_0_1, "classic");
    } else {
        // The table that a long run would play is complete.
        let points: std::collections::BTreeSet<usize> =
            (1..=POINTS.len()).filter(|point| special::applies(*point, Version::V1_0_1)).collect();
        assert!(points.len() >= 21, "{points:?}");
    }
}
