//! Where the machine's batches stand, for those who show it.

use std::collections::BTreeMap;

use super::batch::{Batch, Fate, Phase, Session};
use super::{BatchId, Delivery, Range};

/// A batch as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchState {
    /// Which.
    pub id: BatchId,
    /// What is done with it, in a word.
    pub phase: &'static str,
    /// Its rows are uploaded, and are on the way into the table.
    pub is_committing: bool,
    /// Its intent was found rather than written.
    pub recovered: bool,
    /// Its offsets.
    pub ranges: BTreeMap<i32, Range>,
    /// The upload sessions that hold its rows, once they are uploaded.
    pub sessions: Vec<SealedState>,
}

/// An upload session whose rows are whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedState {
    /// Its id.
    pub upload_id: String,
    /// The table partition; empty for none.
    pub target: String,
    /// Its blocks.
    pub blocks: u32,
    /// Its rows.
    pub rows: u64,
    /// What is done with it, in a word.
    pub fate: &'static str,
}

impl Delivery {
    /// Its batches as they stand.
    pub fn batch_states(&self) -> impl Iterator<Item = BatchState> {
        self.batches.iter().map(|(id, batch)| batch.state(*id))
    }
}

impl Batch {
    fn state(&self, id: BatchId) -> BatchState {
        BatchState {
            id,
            phase: match self.phase {
                Phase::Write | Phase::Writing if self.rebuild.is_some() => "writing again",
                Phase::Write | Phase::Writing => "writing",
                Phase::Seal | Phase::Sealing => "sealing",
                Phase::Settle => "committing",
                Phase::Advance | Phase::Advancing => "advancing",
            },
            is_committing: !matches!(self.phase, Phase::Write | Phase::Writing),
            recovered: self.recovered,
            ranges: self.ranges.clone(),
            sessions: self.sessions.iter().map(Session::state).collect(),
        }
    }
}

impl Session {
    fn state(&self) -> SealedState {
        SealedState {
            upload_id: self.sealed.upload_id.clone(),
            target: self.sealed.target.clone(),
            blocks: self.sealed.blocks,
            rows: self.sealed.rows,
            fate: match self.fate {
                Fate::Post | Fate::Posting => "committing",
                Fate::Ask | Fate::Asking => "asked for its state",
                Fate::Look | Fate::Looking => "looked for in the table",
                Fate::Committed => "committed",
                Fate::Dead => "never committed",
                Fate::Forgotten => "forgotten",
            },
        }
    }
}
