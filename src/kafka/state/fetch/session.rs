//! A fetch session with one broker (KIP-227): what the broker remembers of our requests, so that they name only what changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::kafka::msg::{ErrorCode, FetchPartition, FetchPartitionAnswer, FetchSessionRef, ForgottenTopic, TopicId};

use super::TopicPartition;

/// What both sides know of the session. Pure.
///
/// Inputs: `ask` with what is wanted now, then `answered` or `broken`. Outputs: the difference that `ask` returns.
/// Invariant: `held` is what the broker holds as of the last good answer; after any doubt the next request is whole.
#[derive(Debug, Default)]
pub(super) struct Session {
    at: FetchSessionRef,
    by_id: bool,
    held: BTreeMap<TopicPartition, Held>,
    /// Whether the request that is out names everything.
    whole: bool,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    part: FetchPartition,
    id: Option<TopicId>,
    marks: Option<Marks>,
}

/// What a broker says about a partition besides records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marks {
    pub(super) high_watermark: i64,
    pub(super) last_stable_offset: i64,
    pub(super) log_start_offset: i64,
}

impl Marks {
    pub(super) const fn of(answer: &FetchPartitionAnswer) -> Self {
        Self {
            high_watermark: answer.high_watermark,
            last_stable_offset: answer.last_stable_offset,
            log_start_offset: answer.log_start_offset,
        }
    }
}

/// One request within a session.
#[derive(Debug)]
pub(super) struct Difference {
    pub(super) session: FetchSessionRef,
    /// Whether each wanted partition is to be named, in order.
    pub(super) named: Vec<bool>,
    pub(super) forgotten: Vec<ForgottenTopic>,
}

impl Session {
    /// The request for `wanted`: partitions with their topic's id, all of whose topics have one if `by_id`.
    pub(super) fn ask(
        &mut self,
        wanted: &[(&TopicPartition, Option<TopicId>, FetchPartition)],
        by_id: bool,
    ) -> Difference {
        self.whole = self.at.id == 0 || self.at.epoch == 0 || self.by_id != by_id;
        if self.whole {
            self.at.epoch = 0;
            self.by_id = by_id;
            self.held = wanted
                .iter()
                .map(|(partition, id, part)| ((*partition).clone(), Held { part: *part, id: *id, marks: None }))
                .collect();
            return Difference { session: self.at, named: vec![true; wanted.len()], forgotten: Vec::new() };
        }
        let mut old = std::mem::take(&mut self.held);
        let mut forgotten: BTreeMap<(Arc<str>, Option<TopicId>), Vec<i32>> = BTreeMap::new();
        let mut forget = |partition: TopicPartition, id| {
            forgotten.entry((partition.topic, id)).or_default().push(partition.partition);
        };
        let mut named = Vec::with_capacity(wanted.len());
        for (partition, id, part) in wanted {
            let known = old.remove(*partition);
            let same = known.filter(|known| known.id == *id);
            if let (Some(known), None) = (known, same) {
                // The topic was made anew.
                forget((*partition).clone(), known.id);
            }
            named.push(same.is_none_or(|same| same.part != *part));
            let marks = same.and_then(|same| same.marks);
            self.held.insert((*partition).clone(), Held { part: *part, id: *id, marks });
        }
        for (partition, held) in old {
            forget(partition, held.id);
        }
        let forgotten = forgotten.into_iter().map(|((name, id), partitions)| ForgottenTopic { name, id, partitions });
        Difference { session: self.at, named, forgotten: forgotten.collect() }
    }

    /// A good answer has come. A broker without room for a session says 0.
    pub(super) const fn answered(&mut self, id: i32) {
        self.at = match (id, self.whole) {
            (0, _) => FetchSessionRef { id: 0, epoch: 0 },
            (id, true) => FetchSessionRef { id, epoch: 1 },
            (id, false) if id == self.at.id => {
                // Zero would ask for a new session.
                FetchSessionRef {
                    id,
                    epoch: if self.at.epoch == i32::MAX { 1 } else { self.at.epoch.saturating_add(1) },
                }
            }
            (_, false) => FetchSessionRef { id: self.at.id, epoch: 0 },
        };
    }

    /// The next request is whole, and closes the session if there is one.
    pub(super) const fn broken(&mut self) {
        self.at.epoch = 0;
    }

    /// Takes an error of the whole answer; whether asking again at once, in full, may help.
    pub(super) fn refused(&mut self, code: ErrorCode) -> bool {
        let is_ours = matches!(
            code,
            ErrorCode::FETCH_SESSION_ID_NOT_FOUND
                | ErrorCode::INVALID_FETCH_SESSION_EPOCH
                | ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR
        );
        self.at = match code {
            ErrorCode::FETCH_SESSION_ID_NOT_FOUND => FetchSessionRef::default(),
            _ => FetchSessionRef { id: self.at.id, epoch: 0 },
        };
        is_ours && !self.whole
    }

    /// Notes what the broker says about a partition; in the session it will not say it again until it changes.
    pub(super) fn mark(&mut self, partition: &TopicPartition, marks: Marks) {
        if let Some(held) = self.held.get_mut(partition) {
            held.marks = Some(marks);
        }
    }

    /// What the broker has said about a partition that it now leaves out; none where leaving it out says nothing.
    pub(super) fn unchanged(&self, partition: &TopicPartition) -> Option<Marks> {
        if self.whole { None } else { self.held.get(partition)?.marks }
    }
}
