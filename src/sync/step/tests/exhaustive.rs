//! Every state of a small world: one Kafka partition, batches of one record, two agents in one group, one Tunnel service.
//!
//! Between any two steps an agent may be killed, the partition given to either agent in a new generation (the other one
//! lives on as a zombie), an offset write be applied without its acknowledgement, never be applied, or be held back in the
//! network while its sender goes on; a POST may be executed at any later time, an open session may expire, and a closed or
//! expired one be forgotten. The same world as `exactly_once_model.py` of the design, with two differences: the machine is the
//! one that ships, and a held-back offset write is a fault that the design's model does not have.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::hash::{Hash, Hasher};

use super::super::{
    CommitId, CommitOrder, CommitOutcome, Delivery, DeliveryOptions, Evidence, Order, SessionState, Stored,
    WriteFailure, Written,
};
use super::Shortcut;
use crate::sync::intent::{Intent, SealedSession};

#[derive(Clone, Copy, Debug)]
struct Bounds {
    records: usize,
    sessions: usize,
    generations: i32,
    evidence: bool,
    /// Whether offset writes may be held back in the network.
    held_writes: bool,
    /// Whether sessions expire and are forgotten.
    expiry: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Upload {
    Open,
    Closed,
    Expired,
    Forgotten,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Service {
    state: Upload,
    record: usize,
    filled: bool,
}

/// An offset write that has passed the coordinator's fence.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Pending {
    entry: (i64, String),
    /// Who waits for the answer.
    waits: Option<(usize, CommitId)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Agent {
    Down,
    Out,
    Up {
        delivery: Box<Delivery>,
        doing: Option<Order>,
        /// The session of the order to write.
        upload: Option<usize>,
        /// The order to commit is with the coordinator.
        sent: bool,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    offset: i64,
    metadata: String,
    pending: Option<Pending>,
    /// In the network: what it writes, and the generation it carries.
    held: Option<(i64, String, i32)>,
    generation: i32,
    agents: [Agent; 2],
    uploads: Vec<Service>,
    posts: BTreeSet<usize>,
    rows: Vec<u8>,
    journals: [Option<(i64, String)>; 2],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Violation {
    Duplicate,
    Lost,
}

#[derive(Debug)]
struct Explored {
    states: usize,
    transitions: usize,
    goals: usize,
    halts: usize,
    violation: Option<(Violation, Vec<String>)>,
}

struct Model {
    bounds: Bounds,
    shortcut: Option<Shortcut>,
}

impl Model {
    fn initial(&self) -> World {
        World {
            offset: 0,
            metadata: String::new(),
            pending: None,
            held: None,
            generation: 0,
            agents: [Agent::Down, Agent::Down],
            uploads: Vec::new(),
            posts: BTreeSet::new(),
            rows: vec![0; self.bounds.records],
            journals: [None, None],
        }
    }

    fn is(&self, shortcut: Shortcut) -> bool {
        self.shortcut == Some(shortcut)
    }

    fn options(&self) -> DeliveryOptions {
        DeliveryOptions {
            evidence: self.bounds.evidence,
            pause_ms_first: 0,
            refresh_ms: 0,
            ..DeliveryOptions::default()
        }
    }

    /// Takes the agent's next order, if it waits for none.
    fn drive(&self, world: &mut World, who: usize) {
        let Agent::Up { delivery, doing, upload, sent } = &mut world.agents[who] else { return };
        while delivery.poll_event().is_some() {}
        if delivery.over().is_some() {
            world.agents[who] = Agent::Out;
            return;
        }
        if doing.is_none() {
            let order = delivery.poll_order(0);
            if let Some(Order::Write(order)) = &order
                && order.from.get(&0).is_some_and(|from| *from >= self.bounds.records as i64)
            {
                // Nothing to read: the order stays out, as the production shell waits for records.
                *doing = None;
                delivery.handle_drain();
                delivery.handle_written(order.batch, Written { ends: BTreeMap::new(), sessions: Vec::new() });
            } else {
                *doing = order;
            }
            (*upload, *sent) = (None, false);
        }
    }

    fn answer(&self, world: &World, who: usize, input: impl FnOnce(&mut Delivery)) -> World {
        let mut world = world.clone();
        if let Agent::Up { delivery, doing, .. } = &mut world.agents[who] {
            *doing = None;
            input(delivery);
        }
        self.drive(&mut world, who);
        world
    }

    /// All next states with what happened.
    fn successors(&self, world: &World) -> Vec<(String, World)> {
        let mut found = Vec::new();
        self.coordinator(world, &mut found);
        self.service(world, &mut found);
        for who in 0..2 {
            self.environment(world, who, &mut found);
            self.agent(world, who, &mut found);
        }
        found
    }

    fn coordinator(&self, world: &World, found: &mut Vec<(String, World)>) {
        if let Some(Pending { entry, waits }) = &world.pending {
            let mut applied = World { pending: None, ..world.clone() };
            (applied.offset, applied.metadata) = entry.clone();
            let dropped = World { pending: None, ..world.clone() };
            let tell = |world: &World, outcome: CommitOutcome| match waits {
                Some((who, id)) => self.answer(world, *who, |delivery| delivery.handle_committed(0, *id, outcome)),
                None => world.clone(),
            };
            found.push(("offset write applied, answer lost".into(), tell(&applied, CommitOutcome::Ambiguous)));
            found.push(("offset write never takes effect".into(), tell(&dropped, CommitOutcome::Ambiguous)));
            if waits.is_some() {
                found.push(("offset write acknowledged".into(), tell(&applied, CommitOutcome::Acknowledged)));
            }
        } else if let Some((offset, metadata, generation)) = &world.held {
            let mut arrived = World { held: None, ..world.clone() };
            if *generation == world.generation || self.is(Shortcut::Unfenced) {
                arrived.pending = Some(Pending { entry: (*offset, metadata.clone()), waits: None });
            }
            found.push(("a held-back offset write arrives".into(), arrived));
        }
    }

    fn service(&self, world: &World, found: &mut Vec<(String, World)>) {
        for &at in &world.posts {
            let mut next = world.clone();
            next.posts.remove(&at);
            let upload = &mut next.uploads[at];
            if upload.state == Upload::Open && upload.filled {
                upload.state = Upload::Closed;
                let row = &mut next.rows[upload.record];
                *row = (*row + 1).min(2);
                found.push((format!("service executes commit(U{at})"), next));
            } else {
                found.push((format!("service refuses commit(U{at})"), next));
            }
        }
        for (at, upload) in world.uploads.iter().enumerate().filter(|_| self.bounds.expiry) {
            let state = match upload.state {
                Upload::Open => Upload::Expired,
                Upload::Closed | Upload::Expired => Upload::Forgotten,
                Upload::Forgotten => continue,
            };
            let mut next = world.clone();
            next.uploads[at].state = state;
            found.push((format!("U{at}: {:?} -> {state:?}", upload.state), next));
        }
    }

    fn environment(&self, world: &World, who: usize, found: &mut Vec<(String, World)>) {
        let cut = |world: &mut World| {
            if let Some(pending) = &mut world.pending
                && pending.waits.is_some_and(|(waits, _)| waits == who)
            {
                pending.waits = None;
            }
        };
        if world.generation < self.bounds.generations {
            let mut next = world.clone();
            cut(&mut next);
            next.generation += 1;
            let delivery = Delivery::new(self.options(), next.generation, [0]).with_shortcut(self.shortcut);
            next.agents[who] = Agent::Up { delivery: Box::new(delivery), doing: None, upload: None, sent: false };
            self.drive(&mut next, who);
            let generation = next.generation;
            if self.is(Shortcut::CurrentGeneration)
                && let Agent::Up { delivery, doing, .. } = &mut next.agents[1 - who]
            {
                delivery.restamp(generation);
                if let Some(Order::Commit(order)) = doing {
                    order.generation = generation;
                }
            }
            found.push((format!("partition to agent {who}, generation {generation}"), next));
        }
        if world.agents[who] != Agent::Down {
            let mut next = world.clone();
            cut(&mut next);
            next.agents[who] = Agent::Down;
            found.push((format!("kill -9 agent {who}"), next));
        }
    }

    fn agent(&self, world: &World, who: usize, found: &mut Vec<(String, World)>) {
        let Agent::Up { doing: Some(doing), upload, sent, .. } = &world.agents[who] else { return };
        match doing {
            Order::FetchOffsets => {
                if world.pending.is_some() && !self.is(Shortcut::UnstableFetch) {
                    return;
                }
                let metadata = match &world.journals[who] {
                    Some((offset, intent)) if *offset == world.offset => intent.clone(),
                    _ => world.metadata.clone(),
                };
                let stored = Stored { offset: Some(world.offset), metadata, initial: None };
                let stored = BTreeMap::from([(0, stored)]);
                let next = self.answer(world, who, |delivery| delivery.handle_offsets(0, Some(stored)));
                found.push((format!("agent {who} fetches offset {} {:?}", world.offset, world.metadata), next));
            }
            Order::Write(order) => {
                let begin = order.from[&0];
                let failed = |world: &World| {
                    let passing = WriteFailure::Passing(String::new());
                    self.answer(world, who, |delivery| delivery.handle_write_failed(0, order.batch, passing))
                };
                match upload {
                    None if world.uploads.len() >= self.bounds.sessions => {}
                    None => {
                        let mut next = world.clone();
                        let at = next.uploads.len();
                        let record = usize::try_from(begin).unwrap();
                        next.uploads.push(Service { state: Upload::Open, record, filled: false });
                        found.push((format!("agent {who} creates U{at}, answer lost"), failed(&next)));
                        if let Agent::Up { upload, .. } = &mut next.agents[who] {
                            *upload = Some(at);
                        }
                        found.push((format!("agent {who} creates U{at} for record {begin}"), next));
                    }
                    Some(at) if world.uploads[*at].state != Upload::Open => {
                        found.push((format!("agent {who}: blocks of U{at} refused"), failed(world)));
                    }
                    Some(at) => {
                        let mut next = world.clone();
                        next.uploads[*at].filled = true;
                        let session =
                            SealedSession { target: String::new(), upload_id: at.to_string(), blocks: 1, rows: 1 };
                        if self.is(Shortcut::LocalJournal) {
                            let intent = Intent {
                                cluster: String::new(),
                                topic_id: String::new(),
                                end: begin + 1,
                                sessions: vec![session.clone()],
                                hash: 0,
                            };
                            next.journals[who] = Some((begin, intent.to_metadata().unwrap()));
                        }
                        let written = Written { ends: BTreeMap::from([(0, begin + 1)]), sessions: vec![session] };
                        let next = self.answer(&next, who, |delivery| delivery.handle_written(order.batch, written));
                        found.push((format!("agent {who} writes the blocks of U{at}"), next));
                    }
                }
            }
            Order::Commit(order) if !sent => self.send(world, who, order, found),
            Order::Commit(_) => {}
            Order::Post(order) => {
                let at: usize = order.session.upload_id.parse().unwrap();
                let mut next = world.clone();
                next.posts.insert(at);
                let id = &order.session.upload_id;
                let next = self.answer(&next, who, |delivery| delivery.handle_posted(order.batch, id));
                found.push((format!("agent {who} posts commit(U{at})"), next));
            }
            Order::Ask(order) => {
                let at: usize = order.session.upload_id.parse().unwrap();
                let upload = &world.uploads[at];
                let state = match upload.state {
                    Upload::Open => SessionState::Open { age_ms: None, intact: upload.filled },
                    Upload::Closed => SessionState::Committed,
                    Upload::Expired => SessionState::NeverCommitted,
                    Upload::Forgotten => SessionState::Forgotten,
                };
                let id = &order.session.upload_id;
                let label = format!("agent {who} sees U{at}: {state:?}");
                let next = self.answer(world, who, |delivery| delivery.handle_session(0, order.batch, id, state));
                found.push((label, next));
            }
            Order::LookForRows(order) => {
                let record = usize::try_from(order.ranges[&0].begin).unwrap();
                let evidence = if world.rows[record] > 0 { Evidence::Found } else { Evidence::Absent };
                let id = &order.session.upload_id;
                let next = self.answer(world, who, |delivery| delivery.handle_evidence(0, order.batch, id, evidence));
                found.push((format!("agent {who} looks for rows: {evidence:?}"), next));
            }
        }
    }

    fn send(&self, world: &World, who: usize, order: &CommitOrder, found: &mut Vec<(String, World)>) {
        let (_, offset, metadata) = order.entries[0].clone();
        let tell = |world: &World, outcome: CommitOutcome| {
            self.answer(world, who, |delivery| delivery.handle_committed(0, order.id, outcome))
        };
        if order.generation != world.generation && !self.is(Shortcut::Unfenced) {
            found.push((format!("agent {who} is fenced"), tell(world, CommitOutcome::Fenced)));
        } else if world.pending.is_none() {
            let mut next = world.clone();
            next.pending = Some(Pending { entry: (offset, metadata.clone()), waits: Some((who, order.id)) });
            if let Agent::Up { delivery, doing, sent, .. } = &mut next.agents[who] {
                *sent = true;
                if self.is(Shortcut::NoWaitForAck) && !metadata.is_empty() {
                    // It goes on at once; the answer comes when it comes.
                    *doing = None;
                    let _ = delivery;
                }
            }
            self.drive(&mut next, who);
            found.push((format!("agent {who} commits {offset} {metadata:?}"), next));
        }
        if self.bounds.held_writes && world.held.is_none() {
            let mut next = world.clone();
            next.held = Some((offset, metadata.clone(), order.generation));
            let next = tell(&next, CommitOutcome::Ambiguous);
            found.push((format!("agent {who} commits {offset} {metadata:?}, held back"), next));
        }
    }

    fn violation(&self, world: &World) -> Option<Violation> {
        if world.rows.iter().any(|count| *count > 1) {
            return Some(Violation::Duplicate);
        }
        let below = usize::try_from(world.offset).unwrap();
        let lost = world.rows.iter().take(below).any(|count| *count == 0);
        // OffsetsFirst runs ahead on purpose: it is only wrong once nobody is left to finish the work.
        let is_final = !self.is(Shortcut::OffsetsFirst) || world.agents.iter().all(|agent| *agent == Agent::Down);
        (lost && is_final).then_some(Violation::Lost)
    }

    fn explore(&self) -> Explored {
        let start = self.initial();
        let mut before: HashMap<u128, Option<u128>> = HashMap::from([(digest(&start), None)]);
        let mut queue = VecDeque::from([start]);
        let mut explored = Explored { states: 1, transitions: 0, goals: 0, halts: 0, violation: None };
        while let Some(world) = queue.pop_front() {
            if let Some(violation) = self.violation(&world) {
                explored.violation = Some((violation, self.trace(&before, digest(&world))));
                break;
            }
            let all = i64::try_from(self.bounds.records).unwrap();
            explored.goals += usize::from(world.offset == all && world.rows.iter().all(|count| *count == 1));
            let halts =
                |agent: &Agent| matches!(agent, Agent::Up { delivery, .. } if delivery.halted().next().is_some());
            explored.halts += usize::from(world.agents.iter().any(halts));
            let from = digest(&world);
            for (_, next) in self.successors(&world) {
                explored.transitions += 1;
                let to = digest(&next);
                if let std::collections::hash_map::Entry::Vacant(entry) = before.entry(to) {
                    entry.insert(Some(from));
                    queue.push_back(next);
                }
            }
        }
        explored.states = before.len();
        explored
    }

    /// The steps that led to a state: its history is walked again from the start.
    fn trace(&self, before: &HashMap<u128, Option<u128>>, to: u128) -> Vec<String> {
        let mut path = vec![to];
        while let Some(Some(prior)) = before.get(path.last().unwrap()) {
            path.push(*prior);
        }
        path.reverse();
        let mut world = self.initial();
        let mut labels = Vec::new();
        for step in &path[1..] {
            let (label, next) = self.successors(&world).into_iter().find(|(_, next)| digest(next) == *step).unwrap();
            labels.push(label);
            world = next;
        }
        labels
    }
}

/// 128 bits of a state: a million of them collide with a chance below 1 in 10^26.
fn digest(world: &World) -> u128 {
    let half = |salt: u64| {
        let mut hasher = DefaultHasher::new();
        (salt, world).hash(&mut hasher);
        u128::from(hasher.finish())
    };
    half(1) << 64 | half(2)
}

fn explore(shortcut: Option<Shortcut>, bounds: Bounds) -> Explored {
    let explored = Model { bounds, shortcut }.explore();
    println!(
        "{:<18} {:>8} states {:>9} transitions, goals {:>6}, halts {:>6}, {:?}, {:?}",
        shortcut.map_or_else(|| "the protocol".to_owned(), |shortcut| format!("{shortcut:?}")),
        explored.states,
        explored.transitions,
        explored.goals,
        explored.halts,
        explored.violation.as_ref().map(|(violation, steps)| (*violation, steps.len())),
        bounds,
    );
    explored
}

const SMALL: Bounds =
    Bounds { records: 2, sessions: 2, generations: 2, evidence: false, held_writes: true, expiry: true };

/// The worlds of a test; with more room where `./proto-tests/run exactly-once` asks for it by a variable.
fn worlds(evidence: bool) -> Vec<Bounds> {
    let small = Bounds { evidence, ..SMALL };
    let mut worlds = vec![small];
    if std::env::var_os("FOREBAY_MODEL_LARGE").is_some() {
        worlds.push(Bounds { generations: 3, ..small });
        worlds.push(Bounds { generations: 4, held_writes: false, ..small });
        worlds.push(Bounds { generations: 3, sessions: 3, held_writes: false, ..small });
    }
    worlds
}

fn assert_holds(explored: &Explored) {
    if let Some((violation, steps)) = &explored.violation {
        panic!("{violation:?} after:\n{}", steps.join("\n"));
    }
    assert!(explored.goals > 0, "the goal is never reached");
}

#[test]
fn no_order_of_events_loses_or_doubles_a_record() {
    for bounds in worlds(false) {
        let explored = explore(None, bounds);
        assert_holds(&explored);
        assert!(explored.halts > 0, "a forgotten session stops the partition");
    }
}

#[test]
fn with_evidence_nothing_is_lost_and_nothing_stops() {
    for bounds in worlds(true) {
        let explored = explore(None, bounds);
        assert_holds(&explored);
        assert_eq!(explored.halts, 0);
    }
}

#[test]
fn every_shortcut_is_refuted() {
    for shortcut in Shortcut::ALL {
        let wanted = match shortcut {
            Shortcut::OffsetsFirst | Shortcut::GoneMeansDone => Violation::Lost,
            _ => Violation::Duplicate,
        };
        let bounds = match shortcut {
            Shortcut::WritesOnInDoubt => Bounds { sessions: 3, expiry: false, ..SMALL },
            _ => Bounds { held_writes: false, ..SMALL },
        };
        let explored = explore(Some(shortcut), bounds);
        let found = explored.violation.as_ref().map(|(violation, _)| *violation);
        assert_eq!(found, Some(wanted), "{shortcut:?}");
    }
}
