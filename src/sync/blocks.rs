//! The blocks that a lane fills at the same time: one, or one for each partition that its rows belong to.
//!
//! Bounded twice: by what waits in their encoders, and by the requests that are open. Which block to send or to end next is
//! decided here; sending is the lane's.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::block::OpenBlock;
use super::error::{RunError, RunErrorKind};
use super::sessions::{Sessions, Target};

/// Blocks by the key of their target.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    /// In the order of their keys. They are few, and most rows go where the row before went.
    held: Vec<Held>,
    /// Where the block of the last row was found.
    at: usize,
    /// Targets looked up before, so that a closed block's successor needs no lock.
    known: HashMap<String, Arc<Target>>,
    /// The target of the last row.
    current: String,
    /// Rows so far.
    rows: u64,
    /// Bytes that wait in all encoders.
    pending: usize,
}

#[derive(Debug)]
struct Held {
    key: String,
    block: OpenBlock,
}

impl Blocks {
    /// Where the block of target `key` is, or would have to be.
    fn place(&self, key: &str) -> Result<usize, usize> {
        match self.held.get(self.at) {
            Some(held) if is_same(&held.key, key) => Ok(self.at),
            _ => self.held.binary_search_by(|held| held.key.as_str().cmp(key)),
        }
    }

    /// The block that a row of target `key` goes to, made if there is none.
    pub(super) fn pick(&mut self, key: &str, sessions: &Sessions) -> Result<&mut OpenBlock, RunError> {
        if !is_same(&self.current, key) {
            key.clone_into(&mut self.current);
        }
        self.rows = self.rows.wrapping_add(1);
        self.at = match self.place(key) {
            Ok(at) => at,
            Err(at) => {
                let target = match self.known.get(key) {
                    Some(target) => Arc::clone(target),
                    None => {
                        let target = sessions.target(key)?;
                        self.known.insert(key.to_owned(), Arc::clone(&target));
                        target
                    }
                };
                self.held.insert(at, Held { key: key.to_owned(), block: OpenBlock::new(target) });
                at
            }
        };
        let Some(Held { block, .. }) = self.held.get_mut(self.at) else {
            return Err(RunError::new(RunErrorKind::Bug, format!("block of partition \"{key}\" is not held")));
        };
        block.used = self.rows;
        Ok(block)
    }

    /// The target of the last row.
    pub(super) fn current(&self) -> String {
        self.current.clone()
    }

    /// The block of target `key`.
    pub(super) fn get(&mut self, key: &str) -> Option<&mut OpenBlock> {
        let at = self.place(key).ok()?;
        self.held.get_mut(at).map(|held| &mut held.block)
    }

    /// The block of the last row.
    pub(super) fn last(&mut self) -> Option<&mut OpenBlock> {
        let at = self.place(&self.current).ok()?;
        self.held.get_mut(at).map(|held| &mut held.block)
    }

    /// Takes a block out.
    pub(super) fn remove(&mut self, key: &str) -> Option<OpenBlock> {
        let at = self.place(key).ok()?;
        let block = self.held.remove(at).block;
        self.pending = self.pending.saturating_sub(block.counted);
        Some(block)
    }

    /// Counts what waits in the encoder of `key` anew, after a row or a piece.
    pub(super) fn count(&mut self, key: &str) {
        if let Ok(at) = self.place(key) {
            self.count_at(at);
        }
    }

    /// The same for the block of the last row. Gives what waits in it.
    pub(super) fn count_last(&mut self) -> usize {
        self.place(&self.current).map_or(0, |at| self.count_at(at))
    }

    fn count_at(&mut self, at: usize) -> usize {
        let Some(Held { block, .. }) = self.held.get_mut(at) else { return 0 };
        let now = block.rows.pending_bytes();
        self.pending = self.pending.saturating_sub(block.counted).saturating_add(now);
        block.counted = now;
        now
    }

    /// Bytes that wait in all encoders.
    pub(super) const fn pending(&self) -> usize {
        self.pending
    }

    /// The key of the block with most bytes waiting.
    pub(super) fn largest(&self) -> Option<String> {
        self.held.iter().max_by_key(|held| held.block.counted).map(|held| held.key.clone())
    }

    /// All keys, in their order.
    pub(super) fn keys(&self) -> Vec<String> {
        self.held.iter().map(|held| held.key.clone()).collect()
    }

    /// How many requests are open.
    pub(super) fn requests(&self) -> usize {
        self.held.iter().filter(|held| held.block.idle_since().is_some()).count()
    }

    /// The key of the open request whose block went longest without a row; `but` is left out.
    pub(super) fn least_recent(&self, but: &str) -> Option<String> {
        let open = self.held.iter().filter(|held| held.key != but && held.block.idle_since().is_some());
        open.min_by_key(|held| held.block.used).map(|held| held.key.clone())
    }

    /// Keys of open requests that have sent nothing for `least`; `but` is left out.
    pub(super) fn idle(&self, least: Duration, but: Option<&str>) -> Vec<String> {
        let idle = |block: &OpenBlock| block.idle_since().is_some_and(|since| since.elapsed() >= least);
        let found = self.held.iter().filter(|held| Some(held.key.as_str()) != but && idle(&held.block));
        found.map(|held| held.key.clone()).collect()
    }

    /// When the next open request will have been idle for `least`.
    pub(super) fn idle_at(&self, least: Duration) -> Option<Instant> {
        self.held.iter().filter_map(|held| held.block.idle_since()).min().map(|since| since + least)
    }

    /// A block whose request failed.
    pub(super) fn failed(&self) -> Option<String> {
        self.held.iter().find(|held| held.block.failed.is_some()).map(|held| held.key.clone())
    }
}

/// Whether two keys are equal; where rows are not routed both are empty, for each row.
#[inline(always)]
fn is_same(a: &str, b: &str) -> bool {
    a.len() == b.len() && (a.is_empty() || a == b)
}
