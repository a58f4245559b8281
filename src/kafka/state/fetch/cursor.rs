//! Where one partition stands, and what is known about one topic.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::kafka::msg::TopicId;

use super::{Cause, Failure, Position, Progress, TopicPartition};

/// One partition that is read.
#[derive(Debug)]
pub(super) struct Cursor<E> {
    /// Changes with every command that makes answers on their way worthless. Never repeats within a machine.
    pub(super) generation: u64,
    /// The offset after what the caller has been given.
    pub(super) delivered: Position,
    /// The offset to ask for next: the end of what has been fetched.
    pub(super) next: i64,
    /// The leader epoch of the batch before `next`.
    pub(super) next_epoch: Option<i32>,
    pub(super) leader: Option<(i32, Option<i32>)>,
    /// A replica closer to us, and until when the leader's word for it holds (KIP-392).
    replica: Option<(i32, Instant)>,
    /// The leader epoch in which the position is known to be part of the log.
    checked_epoch: Option<i32>,
    check: Question,
    pub(super) paused: bool,
    /// Bytes to ask for; grows for a batch that an old broker cuts off.
    pub(super) bytes_max: usize,
    /// Lower is sooner.
    pub(super) turn: u64,
    /// Entries that wait for the caller.
    pub(super) queued: usize,
    pub(super) trouble: Option<Trouble<E>>,
    range: Question,
    /// Whether to leave the position even if the partition holds it.
    is_lost: bool,
    /// Whether the caller has not been told of a good answer since it was assigned or in trouble.
    pub(super) untold: bool,
    pub(super) failure: Option<Failure<E>>,
    pub(super) high_watermark: i64,
    pub(super) last_stable_offset: i64,
    pub(super) log_start_offset: i64,
    pub(super) last_answer: Option<Instant>,
}

/// Failures in a row.
#[derive(Clone, Debug)]
pub(super) struct Trouble<E> {
    pub(super) since: Instant,
    pub(super) attempts: u32,
    pub(super) not_before: Instant,
    pub(super) cause: Cause<E>,
    /// Since when the partition has been unknown, if that is the trouble.
    pub(super) unknown_since: Option<Instant>,
}

/// Something to be asked before fetching can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    None,
    Wanted,
    Asked,
}

impl<E: Clone> Cursor<E> {
    pub(super) const fn new(turn: u64, position: Position, bytes_max: usize) -> Self {
        Self {
            generation: turn,
            delivered: position,
            next: position.offset,
            next_epoch: position.leader_epoch,
            leader: None,
            replica: None,
            checked_epoch: None,
            check: Question::None,
            paused: false,
            bytes_max,
            turn,
            queued: 0,
            trouble: None,
            range: Question::None,
            is_lost: false,
            untold: true,
            failure: None,
            high_watermark: -1,
            last_stable_offset: -1,
            log_start_offset: -1,
            last_answer: None,
        }
    }

    /// Takes over what a move to another position does not change.
    pub(super) const fn inherit(&mut self, old: &Self) {
        self.paused = old.paused;
        self.high_watermark = old.high_watermark;
        self.last_stable_offset = old.last_stable_offset;
        self.log_start_offset = old.log_start_offset;
        self.last_answer = old.last_answer;
    }

    /// Goes back to what the caller has been given; the entries that wait must be dropped too.
    pub(super) const fn rewind(&mut self) {
        self.next = self.delivered.offset;
        self.next_epoch = self.delivered.leader_epoch;
        self.queued = 0;
    }

    /// Goes on at `to`; entries that wait stay.
    pub(super) fn move_to(&mut self, generation: u64, to: Position) {
        self.generation = generation;
        self.next = to.offset;
        self.next_epoch = to.leader_epoch;
        self.trouble = None;
        self.untold = true;
        self.queued = self.queued.saturating_add(1);
    }

    /// Takes a leader. In a newer epoch the log may have been cut below the position.
    pub(super) fn set_leader(&mut self, leader: (i32, Option<i32>)) {
        self.leader = Some(leader);
        if leader.1 > self.checked_epoch {
            match self.next_epoch {
                Some(_) if self.check == Question::None => self.check = Question::Wanted,
                Some(_) => {}
                None => self.checked_epoch = leader.1,
            }
        }
    }

    /// The leader has to be looked up anew.
    pub(super) const fn forget_leader(&mut self) {
        self.leader = None;
        self.replica = None;
    }

    /// Reads from a replica until `until`.
    pub(super) const fn prefer(&mut self, node: i32, until: Instant) {
        self.replica = Some((node, until));
    }

    /// Reads from the leader again; whether it did not before.
    pub(super) const fn leave_replica(&mut self) -> bool {
        self.replica.take().is_some()
    }

    /// The brokers that it may be read from at some time.
    pub(super) fn nodes(&self) -> impl Iterator<Item = i32> {
        let leader = self.leader.map(|(node, _)| node);
        let replica = self.replica.map(|(node, _)| node).filter(|node| leader != Some(*node));
        leader.into_iter().chain(replica)
    }

    /// The broker that it is read from.
    fn node(&self, now: Instant) -> Option<i32> {
        let (leader, _) = self.leader?;
        Some(self.replica.filter(|(_, until)| *until > now).map_or(leader, |(node, _)| node))
    }

    /// Whether only the pause after a failure can keep it from being fetched.
    fn is_open(&self) -> bool {
        self.leader.is_some() && !self.paused && self.failure.is_none() && self.range == Question::None
    }

    fn pauses(&self, now: Instant) -> bool {
        self.trouble.as_ref().is_some_and(|trouble| trouble.not_before > now)
    }

    /// Whether it should be part of a request to `broker` now.
    pub(super) fn is_due(&self, now: Instant, broker: i32) -> bool {
        self.is_open() && self.check == Question::None && !self.pauses(now) && self.node(now) == Some(broker)
    }

    /// When it will be due, if only time is missing.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        let trouble = self.trouble.as_ref()?;
        (self.is_open() && self.check != Question::Asked).then_some(trouble.not_before)
    }

    /// The leader to ask where the epoch of the position ends.
    pub(super) fn wants_check(&self, now: Instant) -> Option<i32> {
        let wants = self.check == Question::Wanted && self.is_open() && !self.pauses(now);
        self.leader.filter(|_| wants).map(|(node, _)| node)
    }

    pub(super) const fn want_check(&mut self) {
        self.check = Question::Wanted;
    }

    pub(super) const fn ask_check(&mut self) -> u64 {
        self.check = Question::Asked;
        self.generation
    }

    /// The position is part of the log of this leader epoch, or it cannot be told.
    pub(super) fn checked(&mut self, epoch: Option<i32>) {
        self.check = Question::None;
        self.checked_epoch = self.checked_epoch.max(epoch);
        // There may be a newer leader by now.
        if let Some(leader) = self.leader {
            self.set_leader(leader);
        }
    }

    pub(super) fn wants_range(&self) -> bool {
        self.range == Question::Wanted && self.failure.is_none()
    }

    pub(super) const fn want_range(&mut self, is_lost: bool) {
        self.range = Question::Wanted;
        self.is_lost = is_lost;
    }

    pub(super) const fn ask_range(&mut self) -> u64 {
        self.range = Question::Asked;
        self.generation
    }

    /// Whether the position is to be left in any case.
    pub(super) const fn range_answered(&mut self) -> bool {
        self.range = Question::None;
        std::mem::replace(&mut self.is_lost, false)
    }

    pub(super) fn progress(&self, partition: &TopicPartition) -> Progress<E> {
        let failed = self.failure.as_ref().map(|failure| failure.cause.clone());
        let trouble = self.trouble.as_ref().map(|trouble| trouble.cause.clone());
        Progress {
            partition: partition.clone(),
            position: self.delivered,
            high_watermark: self.high_watermark,
            last_stable_offset: self.last_stable_offset,
            log_start_offset: self.log_start_offset,
            last_answer: self.last_answer,
            failed: failed.is_some(),
            trouble: failed.or(trouble),
            paused: self.paused,
        }
    }
}

/// One topic, as far as reading it goes.
#[derive(Debug)]
pub(super) struct TopicState {
    /// Its id, for requests that name topics by id and to notice a topic made anew.
    pub(super) id: Option<TopicId>,
    /// Whether the cluster has ever known it.
    pub(super) seen: bool,
    /// Since when the cluster has not known it.
    pub(super) unknown_since: Option<Instant>,
    leaders: BTreeMap<i32, (i32, Option<i32>)>,
    wanted: bool,
    in_flight: bool,
    not_before: Instant,
    pub(super) asks: u32,
}

impl TopicState {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            id: None,
            seen: false,
            unknown_since: None,
            leaders: BTreeMap::new(),
            wanted: false,
            in_flight: false,
            not_before: now,
            asks: 0,
        }
    }

    pub(super) fn leader(&self, partition: i32) -> Option<(i32, Option<i32>)> {
        self.leaders.get(&partition).copied()
    }

    pub(super) fn set_leaders(&mut self, leaders: BTreeMap<i32, (i32, Option<i32>)>) {
        self.leaders = leaders;
    }

    /// Metadata is needed, as soon as the pause since the last answer allows.
    pub(super) fn want(&mut self, now: Instant) {
        if !self.wanted {
            self.wanted = true;
            self.not_before = self.not_before.max(now);
        }
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.due().is_some_and(|due| due <= now)
    }

    pub(super) fn due(&self) -> Option<Instant> {
        (self.wanted && !self.in_flight).then_some(self.not_before)
    }

    pub(super) const fn asked(&mut self) {
        self.wanted = false;
        self.in_flight = true;
    }

    /// An answer has come; the next question waits for `pause`.
    pub(super) fn answered(&mut self, now: Instant, pause: Duration) {
        self.in_flight = false;
        self.not_before = now.checked_add(pause).unwrap_or(now);
    }
}
