//! What a job may hold at a time, split over what holds it.

use crate::limits::{DECOMPRESSED_BATCH_BYTES_MAX, JOB_FETCH_BYTES, LANE_FETCH_BYTES_MIN};

/// Bytes that wait in encoders where rows are routed, over all lanes; a buffer may have twice the room.
const ROUTED_PENDING_BYTES: usize = 6 * 1024 * 1024;
/// Rows are handed to a block's request in pieces of about this many bytes.
const CHUNK_BYTES: usize = 128 * 1024;
/// Smallest piece, however small the budget.
const CHUNK_BYTES_MIN: usize = 16 * 1024;
/// Pieces of one block that exist at a time: in the encoder, taken out of it, queued twice, and with the socket.
const CHUNKS: usize = 5;
/// Smallest bound on one decompressed batch: brokers take batches of 1 MiB by default, and they may be packed well.
const BATCH_BYTES_MIN: usize = 4 * 1024 * 1024;

/// The shares of one job's memory (`[limits] memory_max`): an eighth stays for what is not counted here, half is for
/// records that are fetched and decompressed, a quarter bounds one decompressed batch, an eighth is for rows on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Lanes that work at the same time.
    pub lanes: usize,
    /// Bytes of records in one answer for one lane.
    pub fetch_bytes: usize,
    /// Bytes that one lane may hold of answers and of what is decompressed from them.
    pub buffer_bytes: usize,
    /// Largest decompressed batch.
    pub batch_bytes: usize,
    /// Size of the pieces in which rows leave an encoder.
    pub chunk_bytes: usize,
    /// Bytes that may wait in all encoders of one lane where rows are routed.
    pub pending_bytes: usize,
}

impl Budget {
    /// What a job without a limit of its own takes, about.
    pub const UNLIMITED_TAKES: u64 = 20 * 1024 * 1024;

    /// The shares of `memory` bytes for at most `lanes` lanes; without a limit of its own a job takes some 20 MiB.
    pub fn new(memory: Option<u64>, lanes: usize) -> Self {
        let lanes = lanes.max(1);
        let Some(memory) = memory.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX)) else {
            // One answer is worked on while the next is on its way.
            let fetch_bytes = (JOB_FETCH_BYTES / lanes.saturating_mul(2)).max(LANE_FETCH_BYTES_MIN);
            return Self {
                lanes,
                fetch_bytes,
                buffer_bytes: fetch_bytes,
                batch_bytes: DECOMPRESSED_BATCH_BYTES_MAX,
                chunk_bytes: CHUNK_BYTES,
                pending_bytes: ROUTED_PENDING_BYTES / lanes,
            };
        };
        // A lane below its least share would not hold to it: fewer lanes then.
        let lanes = lanes.min((memory / 2 / LANE_FETCH_BYTES_MIN.saturating_mul(2)).max(1));
        let buffer_bytes = (memory / 2 / lanes).max(LANE_FETCH_BYTES_MIN);
        let rows = memory / 8;
        Self {
            lanes,
            fetch_bytes: (buffer_bytes / 2).max(LANE_FETCH_BYTES_MIN),
            buffer_bytes,
            batch_bytes: (memory / 4).clamp(BATCH_BYTES_MIN, DECOMPRESSED_BATCH_BYTES_MAX),
            chunk_bytes: (rows / lanes / CHUNKS).clamp(CHUNK_BYTES_MIN, CHUNK_BYTES),
            // An encoder's buffer may have twice the room that its rows take.
            pending_bytes: (rows / 2 / lanes).clamp(CHUNK_BYTES_MIN, ROUTED_PENDING_BYTES),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn the_shares_of_a_budget_are_within_it() {
        for memory in [16 * MIB, 32 * MIB, 64 * MIB, 256 * MIB, 1024 * MIB] {
            for lanes in [1, 3, 32] {
                let budget = Budget::new(Some(memory), lanes);
                let rows = (budget.chunk_bytes * CHUNKS).max(2 * budget.pending_bytes);
                let all = budget.batch_bytes + budget.lanes * (budget.buffer_bytes + rows);
                assert!(all as u64 <= memory, "{memory} for {lanes}: {budget:?} is {all}");
                assert!(budget.lanes >= 1 && budget.lanes <= lanes, "{budget:?}");
                assert!(budget.fetch_bytes <= budget.buffer_bytes, "{budget:?}");
            }
        }
    }

    #[test]
    fn a_small_budget_has_fewer_lanes() {
        assert_eq!(Budget::new(Some(4 * MIB), 32).lanes, 4);
        assert_eq!(Budget::new(Some(1), 32).lanes, 1);
        assert_eq!(Budget::new(None, 32).lanes, 32);
    }
}
