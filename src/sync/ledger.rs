//! The account of offsets: which ranges of which partitions stand in which block, so that a failed block can be read
//! from Kafka again and sent under the same id with the same bytes.
//!
//! Contiguous by construction: a partition's segments follow one another without a hole, whatever block they are in.

use std::collections::BTreeMap;

/// Part of a block: the records of one partition from `begin` up to but not including `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The partition.
    pub partition: i32,
    /// The first offset.
    pub begin: i64,
    /// The offset after the last one dealt with; gaps and control records count.
    pub end: i64,
}

/// What one block holds, in the order in which it was encoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockContent {
    segments: Vec<Segment>,
    /// Rows encoded; dirty records are not among them.
    pub rows: u64,
}

impl BlockContent {
    /// Adds a row whose neighbours went elsewhere: `offset` of `partition`. What lies between it and the last row of the same
    /// partition is none of this block's.
    pub fn extend_sparse(&mut self, partition: i32, offset: i64) {
        let end = offset.saturating_add(1);
        match self.segments.last_mut() {
            Some(last) if last.partition == partition && last.end <= offset => last.end = end,
            _ => self.segments.push(Segment { partition, begin: offset, end }),
        }
    }

    /// The segments in order.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Extends the content: `partition` has been dealt with from `begin` up to `end`. Adjoining ranges become one segment.
    pub fn extend(&mut self, partition: i32, begin: i64, end: i64) {
        if begin >= end {
            return;
        }
        match self.segments.last_mut() {
            Some(last) if last.partition == partition && last.end == begin => last.end = end,
            _ => self.segments.push(Segment { partition, begin, end }),
        }
    }
}

/// A hole or an overlap in the account; a bug of ours, found before it can become a lost or doubled row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotContiguous {
    /// The partition.
    pub partition: i32,
    /// Where the account stands.
    pub expected: i64,
    /// Where the block begins.
    pub found: i64,
}

/// Positions per partition that are safely in blocks the server has acknowledged.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    uploaded: BTreeMap<i32, i64>,
    rows: u64,
    blocks: BTreeMap<String, Vec<(u32, u64)>>,
}

impl Ledger {
    /// Starts with each partition at the begin of its range.
    pub fn new(begins: impl IntoIterator<Item = (i32, i64)>) -> Self {
        Self { uploaded: begins.into_iter().collect(), ..Self::default() }
    }

    /// The server has acknowledged block `id` of the one session with `content`.
    ///
    /// # Errors
    /// [`NotContiguous`] when a segment does not begin where the account of its partition stands.
    pub fn handle_uploaded(&mut self, id: u32, content: &BlockContent) -> Result<(), NotContiguous> {
        self.handle_skipped(content)?;
        self.handle_block("", id, content.rows);
        Ok(())
    }

    /// The server has acknowledged block `id` of the session of `target`; positions are told apart from it, by
    /// [`Ledger::handle_skipped`], since the rows of a range are in several blocks.
    pub fn handle_block(&mut self, target: &str, id: u32, rows: u64) {
        self.rows = self.rows.saturating_add(rows);
        match self.blocks.get_mut(target) {
            Some(blocks) => blocks.push((id, rows)),
            None => {
                self.blocks.insert(target.to_owned(), vec![(id, rows)]);
            }
        }
    }

    /// Ranges without any row: nothing was sent, the positions move all the same.
    ///
    /// # Errors
    /// As [`Ledger::handle_uploaded`].
    pub fn handle_skipped(&mut self, content: &BlockContent) -> Result<(), NotContiguous> {
        for segment in &content.segments {
            let expected = self.uploaded.get(&segment.partition).copied().unwrap_or(segment.begin);
            if expected != segment.begin {
                return Err(NotContiguous { partition: segment.partition, expected, found: segment.begin });
            }
            self.uploaded.insert(segment.partition, segment.end);
        }
        Ok(())
    }

    /// Takes over another account of other partitions.
    pub fn merge(&mut self, other: Self) {
        self.uploaded.extend(other.uploaded);
        self.rows = self.rows.saturating_add(other.rows);
        for (target, blocks) in other.blocks {
            self.blocks.entry(target).or_default().extend(blocks);
        }
    }

    /// The next offset of each partition: all below it is in acknowledged blocks, or was dirty, or yields no row.
    pub const fn positions(&self) -> &BTreeMap<i32, i64> {
        &self.uploaded
    }

    /// Rows in acknowledged blocks.
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// How many blocks were acknowledged, of all targets.
    pub fn block_count(&self) -> usize {
        self.blocks.values().map(Vec::len).sum()
    }

    /// Acknowledged blocks of a target's session, by id and rows; the target is empty where rows are not routed.
    pub fn blocks(&self, target: &str) -> &[(u32, u64)] {
        self.blocks.get(target).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn content(segments: &[(i32, i64, i64)]) -> BlockContent {
        let mut content = BlockContent::default();
        for &(partition, begin, end) in segments {
            content.extend(partition, begin, end);
        }
        content.rows = 1;
        content
    }

    #[test]
    fn adjoining_ranges_become_one_segment() {
        let content = content(&[(0, 0, 5), (0, 5, 7), (1, 0, 1), (0, 7, 9), (0, 9, 9)]);
        let expected = [
            Segment { partition: 0, begin: 0, end: 7 },
            Segment { partition: 1, begin: 0, end: 1 },
            Segment { partition: 0, begin: 7, end: 9 },
        ];
        assert_eq!(content.segments(), expected);
    }

    #[test]
    fn rows_of_several_blocks_keep_their_order() {
        let mut content = BlockContent::default();
        for (partition, offset) in [(0, 3), (0, 4), (0, 9), (1, 0), (0, 10), (0, 2)] {
            content.extend_sparse(partition, offset);
        }
        let expected = [(0, 3, 10), (1, 0, 1), (0, 10, 11), (0, 2, 3)];
        let expected = expected.map(|(partition, begin, end)| Segment { partition, begin, end });
        assert_eq!(content.segments(), expected);
        let (mut ledger, mut other) = (Ledger::default(), Ledger::default());
        ledger.handle_block("pt=1", 0, 2);
        other.handle_block("pt=1", 1, 3);
        other.handle_block("pt=2", 0, 4);
        ledger.merge(other);
        assert_eq!(
            (ledger.rows(), ledger.blocks("pt=1"), ledger.blocks("")),
            (9, [(0, 2), (1, 3)].as_slice(), [].as_slice())
        );
    }

    #[test]
    fn holes_and_overlaps_are_refused() {
        let mut ledger = Ledger::new([(0, 3)]);
        ledger.handle_uploaded(0, &content(&[(0, 3, 5)])).unwrap();
        assert_eq!(
            ledger.handle_uploaded(1, &content(&[(0, 6, 7)])),
            Err(NotContiguous { partition: 0, expected: 5, found: 6 })
        );
        assert!(ledger.handle_uploaded(1, &content(&[(0, 4, 7)])).is_err());
        ledger.handle_skipped(&content(&[(0, 5, 9)])).unwrap();
        assert_eq!(ledger.positions(), &BTreeMap::from([(0, 9)]));
        assert_eq!((ledger.rows(), ledger.blocks("")), (1, [(0, 1)].as_slice()));
    }
}
