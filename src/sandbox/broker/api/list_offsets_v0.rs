//! ListOffsets version 0: several offsets a partition, the starts of segments. GetOffsetShell of Kafka 1.0.1 still asks so.
//!
//! By hand, since the message crate begins with version 1.

use bytes::Bytes;

use crate::sandbox::broker::cluster::Cluster;
use crate::sandbox::broker::codes;
use crate::sandbox::broker::log::{Log, Refusal};
use crate::sandbox::broker::messages::{BadRequest, Request};
use crate::sandbox::broker::server::Peer;
use crate::wire::{DecodeError, Reader, Writer};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;

pub(super) fn answer(cluster: &Cluster, peer: &Peer, request: &Request) -> Result<Bytes, BadRequest> {
    let body = write(cluster, peer, &mut Reader::new(&request.body))?;
    request.answer_bytes(body.as_slice())
}

/// Writes the answer while it reads the request. The outline of the request was checked before.
fn write(cluster: &Cluster, peer: &Peer, request: &mut Reader<'_>) -> Result<Writer, DecodeError> {
    let mut answer = Writer::new();
    request.skip(4, "replica_id")?;
    let topics = request.i32_be("topics count")?;
    answer.i32_be(topics);
    for _ in 0..topics {
        let len = request.i16_be("topic length")?;
        let len_bytes = request.checked_count(len.into(), 1, "topic length")?;
        let topic = request.bytes(len_bytes, "topic")?;
        answer.i16_be(len);
        answer.bytes(topic);
        let topic = String::from_utf8_lossy(topic);
        let partitions = request.i32_be("partitions count")?;
        answer.i32_be(partitions);
        for _ in 0..partitions {
            let index = request.i32_be("partition_index")?;
            let time = request.i64_be("timestamp")?;
            let count_max = usize::try_from(request.i32_be("max_num_offsets")?).unwrap_or(0);
            let found = cluster.led(peer.node, &topic, index).and_then(|partition| look_up(&partition.log, time));
            let (code, mut offsets) = found.map_or_else(|no| (no.code, Vec::new()), |offsets| (codes::NONE, offsets));
            offsets.truncate(count_max);
            answer.i32_be(index);
            answer.i16_be(code);
            answer.i32_be(i32::try_from(offsets.len()).unwrap_or(i32::MAX));
            for offset in offsets {
                answer.i64_be(offset);
            }
        }
    }
    Ok(answer)
}

/// Offsets at which segments begin that are not newer than `time`, latest first; the log is one segment here. The end comes
/// first when it is asked for.
fn look_up(log: &Log, time: i64) -> Result<Vec<i64>, Refusal> {
    let (start, end) = (log.start_offset(), log.end_offset());
    match time {
        LATEST if start == end => Ok(vec![end]),
        LATEST => Ok(vec![end, start]),
        EARLIEST => Ok(vec![start]),
        time => {
            let newest = log.offset_of_max_time()?;
            Ok(newest.filter(|newest| newest.timestamp <= time).map(|_| start).into_iter().collect())
        }
    }
}
