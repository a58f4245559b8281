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
    pub(super) paused: bool,
    /// Bytes to ask for; grows for a batch that an old broker cuts off.
    pub(super) bytes_max: usize,
    /// Lower is sooner.
    pub(super) turn: u64,
    /// Entries that wait for the caller.
    pub(super) queued: usize,
    pub(super) trouble: Option<Trouble<E>>,
    range: Range,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Range {
    Unasked,
    Wanted,
    Asked,
}

impl<E: Clone> Cursor<E> {
    pub(super) const fn new(
        turn: u64,
        position: Position,
        leader: Option<(i32, Option<i32>)>,
        bytes_max: usize,
    ) -> Self {
        Self {
            generation: turn,
            delivered: position,
            next: position.offset,
            next_epoch: position.leader_epoch,
            leader,
            paused: false,
            bytes_max,
            turn,
            queued: 0,
            trouble: None,
            range: Range::Unasked,
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

    /// Whether it should be part of a request to `broker` now.
    pub(super) fn is_due(&self, now: Instant, broker: i32) -> bool {
        let leads = self.leader.is_some_and(|(node, _)| node == broker);
        let waits = self.trouble.as_ref().is_some_and(|trouble| trouble.not_before > now);
        leads && !self.paused && !waits && self.failure.is_none() && self.range == Range::Unasked
    }

    /// When it will be due, if only time is missing.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        let trouble = self.trouble.as_ref()?;
        let only_time = self.leader.is_some() && !self.paused && self.failure.is_none() && self.range == Range::Unasked;
        only_time.then_some(trouble.not_before)
    }

    pub(super) fn wants_range(&self) -> bool {
        self.range == Range::Wanted && self.failure.is_none()
    }

    pub(super) const fn want_range(&mut self) {
        self.range = Range::Wanted;
    }

    pub(super) const fn ask_range(&mut self) -> u64 {
        self.range = Range::Asked;
        self.generation
    }

    pub(super) const fn range_answered(&mut self) {
        self.range = Range::Unasked;
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
