//! One batch: which ranges it takes, and its rows on their way into upload sessions. Nothing is committed here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::Job;
use crate::kafka::{ListedOffset, OffsetAt};
use crate::limits::{FIELD_BYTES_MAX, INTENT_SESSIONS_MAX};
use crate::sync::commit_bytes::CommitBytes;
use crate::sync::connect::{budget, config, consumer_config, isolation, kafka_failure};
use crate::sync::convert::Converter;
use crate::sync::crash::crash_point;
use crate::sync::end::EndRule;
use crate::sync::error::{RunError, RunErrorKind};
use crate::sync::intent::SealedSession;
use crate::sync::lane::{IDLE_MAX, Lane, Shared, wall_clock};
use crate::sync::ledger::Ledger;
use crate::sync::plan::{PartitionRange, Target};
use crate::sync::rate::RateLimit;
use crate::sync::run::{ROUTED_REQUESTS, slice};
use crate::sync::sessions::{SESSION_LIFE, Sessions};
use crate::sync::stall::StageBoard;
use crate::sync::stats::Stats;
use crate::sync::status::{JobStatus, Reading, UnixMillis};
use crate::sync::step::{HaltCause, WriteFailure, WriteOrder, Written};
use crate::tunnel::UploadOptions;
use crate::tunnel::session::RetryPolicy;

/// How often the log's ends are asked for while there is nothing to read.
const POLL_EVERY: Duration = Duration::from_secs(1);

/// When the first of the records that wait for a batch was seen; none while there are none. It outlives a batch that comes back
/// without having read.
#[derive(Clone, Debug, Default)]
pub(super) struct FirstSeen(Arc<Mutex<Option<Instant>>>);

impl FirstSeen {
    fn or_now(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(Instant::now)
    }

    fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Carries out an order to write. The outer error ends the job.
pub(super) async fn write(
    job: &Arc<Job>,
    order: &WriteOrder,
    recall: watch::Receiver<bool>,
    first_seen: &FirstSeen,
) -> Result<Result<Written, WriteFailure>, RunError> {
    let outcome = match &order.rebuild {
        Some(rebuild) => {
            let only: BTreeSet<String> = rebuild.targets.iter().cloned().collect();
            crash_point("rebuild");
            upload(job, ranges(&order.from, &rebuild.until), Some(only)).await
        }
        None => fresh(job, &order.from, recall, first_seen).await,
    };
    match outcome {
        Ok(outcome) => Ok(outcome),
        Err(error) if error.kind == RunErrorKind::Unavailable => Ok(Err(WriteFailure::Passing(error.message))),
        // Records that are gone or damaged end their partition, and nothing else.
        Err(RunError { kind: RunErrorKind::SafetyStop, partition: Some(partition), message, .. }) => {
            Ok(Err(WriteFailure::Partition { partition, cause: HaltCause::RangeLost(message) }))
        }
        Err(error) => Err(error),
    }
}

/// Waits for records, takes as many as one commit may have, and halves that while they belong to too many targets.
async fn fresh(
    job: &Arc<Job>,
    from: &BTreeMap<i32, i64>,
    recall: watch::Receiver<bool>,
    first_seen: &FirstSeen,
) -> Result<Result<Written, WriteFailure>, RunError> {
    let found = wait_for_records(job, from, recall, first_seen).await?;
    crash_point("read");
    let mut ends = match found {
        Ok(Some(ends)) => ends,
        Ok(None) => return Ok(Ok(Written { ends: BTreeMap::new(), sessions: Vec::new() })),
        Err(failure) => return Ok(Err(failure)),
    };
    loop {
        match upload(job, ranges(from, &ends), None).await {
            Err(error) if error.kind == RunErrorKind::Failed && error.message.contains(TOO_MANY) => {
                halve(from, &mut ends);
                log::info!("job {}: a batch is cut, since its rows belong to too many partitions", job.spec.name);
            }
            outcome => return outcome,
        }
    }
}

/// What [`Sessions::target`] says when a batch has more targets than an intent holds.
const TOO_MANY: &str = "the rows belong to more than";

fn ranges(from: &BTreeMap<i32, i64>, ends: &BTreeMap<i32, i64>) -> Vec<PartitionRange> {
    let range = |(partition, end): (&i32, &i64)| {
        let begin = *from.get(partition)?;
        let target = Target::Offset(*end);
        (begin < *end).then_some(PartitionRange { partition: *partition, begin, target, log_end: *end, commits: true })
    };
    ends.iter().filter_map(range).collect()
}

fn halve(from: &BTreeMap<i32, i64>, ends: &mut BTreeMap<i32, i64>) {
    let length = |partition: &i32, end: &i64| end.saturating_sub(from.get(partition).copied().unwrap_or(*end));
    if ends.iter().any(|(partition, end)| length(partition, end) > 1) {
        for (partition, end) in ends.iter_mut() {
            *end = end.saturating_sub(length(partition, end) / 2);
        }
    } else {
        // One record each: fewer partitions.
        let keep = ends.len().div_ceil(2).max(1);
        let kept: BTreeSet<i32> = ends.keys().copied().take(keep).collect();
        ends.retain(|partition, _| kept.contains(partition));
    }
}

type Ends = Result<Option<BTreeMap<i32, i64>>, WriteFailure>;

/// Where the batch ends, once there is enough to read or the first record is old enough; none when it is called back.
async fn wait_for_records(
    job: &Job,
    from: &BTreeMap<i32, i64>,
    mut recall: watch::Receiver<bool>,
    first_seen: &FirstSeen,
) -> Result<Ends, RunError> {
    let topic = &job.spec.reader.topic;
    let isolation = isolation(&job.spec);
    let list = async |at: OffsetAt| {
        let wanted: Vec<_> = from.keys().map(|partition| (*partition, at)).collect();
        job.client.list_offsets(topic, &wanted, isolation).await.map_err(|error| kafka_failure(&error))
    };
    let earliest = list(OffsetAt::Earliest).await?;
    for (partition, begin) in from {
        let start = earliest.get(partition).and_then(|listed| listed.offset).unwrap_or(*begin);
        if start > *begin {
            let last = start.saturating_sub(1);
            let text =
                format!("offsets {begin} to {last} of partition {partition} have been deleted before they were read");
            return Ok(Err(WriteFailure::Partition { partition: *partition, cause: HaltCause::RangeLost(text) }));
        }
    }
    loop {
        if *recall.borrow_and_update() {
            return Ok(Ok(None));
        }
        let latest = list(OffsetAt::Latest).await?;
        let mut backlog = BTreeMap::new();
        for (partition, begin) in from {
            let end = latest.get(partition).and_then(|listed| listed.offset).unwrap_or(*begin);
            if end < *begin {
                let text =
                    format!("partition {partition} ends at {end}, before the group's offset {begin}: it was truncated");
                return Ok(Err(WriteFailure::Partition { partition: *partition, cause: HaltCause::RangeLost(text) }));
            }
            if end > *begin {
                backlog.insert(*partition, end.saturating_sub(*begin));
            }
        }
        let all = backlog.values().fold(0_u64, |all, length| all.saturating_add(length.unsigned_abs()));
        job.status.ends(from.keys().map(|partition| {
            let offset = |listed: &BTreeMap<i32, ListedOffset>| listed.get(partition).and_then(|listed| listed.offset);
            (*partition, offset(&earliest), offset(&latest))
        }));
        let mut wait = POLL_EVERY;
        if all == 0 {
            first_seen.clear();
            job.status.reading(Reading::CaughtUp, wall_clock());
        } else {
            let since = first_seen.or_now();
            let rows = job.rows_of_a_batch();
            if all >= rows || since.elapsed() >= job.batch_age {
                first_seen.clear();
                return Ok(Ok(Some(share(from, &backlog, rows))));
            }
            let left = job.batch_age.saturating_sub(since.elapsed());
            job.status.reading(Reading::Gathering { until: wall_after(left) }, wall_clock());
            wait = wait.min(left);
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            changed = recall.changed() => if changed.is_err() { return Ok(Ok(None)) },
        }
    }
}

/// A moment from now, to the second: the same each time it is told.
fn wall_after(left: Duration) -> UnixMillis {
    let left = i64::try_from(left.as_millis()).unwrap_or(i64::MAX);
    wall_clock().saturating_add(left) / 1000 * 1000
}

/// Divides what one commit may hold: each partition gets its share, and what one leaves goes to the others.
fn share(from: &BTreeMap<i32, i64>, backlog: &BTreeMap<i32, i64>, rows: u64) -> BTreeMap<i32, i64> {
    let mut by_length: Vec<(i32, u64)> =
        backlog.iter().map(|(partition, length)| (*partition, length.unsigned_abs())).collect();
    crate::sorting::by_key(&mut by_length, |(_, length)| *length);
    let mut left = rows;
    let mut ends = BTreeMap::new();
    let count = by_length.len();
    for (at, (partition, length)) in by_length.into_iter().enumerate() {
        let others = u64::try_from(count.saturating_sub(at)).unwrap_or(1).max(1);
        let taken = length.min(left.div_ceil(others));
        left = left.saturating_sub(taken);
        let begin = from.get(&partition).copied().unwrap_or_default();
        if taken > 0 {
            ends.insert(partition, begin.saturating_add_unsigned(taken));
        }
    }
    ends
}

/// Reads the ranges to their ends and uploads their rows, then compares what the service holds with what was sent.
async fn upload(
    job: &Arc<Job>,
    ranges: Vec<PartitionRange>,
    only: Option<BTreeSet<String>>,
) -> Result<Result<Written, WriteFailure>, RunError> {
    let (reader, writer, settings) = (&job.spec.reader, &job.spec.writer, &job.spec.settings);
    let budget = budget(&job.spec, ranges.len());
    let lanes = budget.lanes;
    // What is written again has the ends that were sealed.
    let bytes_max = if only.is_none() { job.batch_bytes } else { None };
    let commit_bytes = bytes_max.map(|max| Arc::new(CommitBytes::new(max)));
    crash_point("create");
    let sessions = Arc::new(open_sessions(job, lanes).await?);
    crash_point("created");
    let converter = Converter::new(reader, writer, &settings.time_zone, &sessions.schema, sessions.field_bytes_max)
        .map_err(|error| config(format!("table {}: {error}", writer.table)))?;
    let stats = Arc::new(Stats::default());
    let stages = Arc::new(StageBoard::new(lanes));
    let mut watched = Watched::begin(job, &stats, &stages);
    let shared = Arc::new(Shared {
        topic: reader.topic.clone(),
        stats: Arc::clone(&stats),
        end: Mutex::new(EndRule::new(&ranges, SESSION_LIFE, false, true, Instant::now())),
        end_changed: Notify::new(),
        rate: Mutex::new(RateLimit::new(settings.bytes_per_second, settings.records_per_second)),
        dirty_limit: settings.dirty_limit,
        dead_letters: job.dead_letters.clone(),
        stages,
        status: Some(Arc::clone(&job.status)),
    });
    let retry = RetryPolicy { retries_max: writer.retries_max, deadline: SESSION_LIFE, ..RetryPolicy::default() };
    let only = if job.routed { only.map(Arc::new) } else { None };
    let mut running = JoinSet::new();
    for number in 0..lanes {
        let lane = Lane {
            number,
            client: job.client.clone(),
            consumer_config: consumer_config(&job.spec, &budget),
            budget,
            commit_bytes: commit_bytes.clone(),
            converter: converter.clone(),
            write_timeout: writer.write_timeout,
            idle_max: IDLE_MAX,
            shared: Arc::clone(&shared),
            sessions: Arc::clone(&sessions),
            block_bytes: writer.block_bytes,
            retry,
            requests_max: if job.routed { (ROUTED_REQUESTS as usize / lanes).max(1) } else { 1 },
            pending_max: if job.routed { budget.pending_bytes } else { usize::MAX },
            slice_records: slice(settings.records_per_second),
            slice_bytes: slice(settings.bytes_per_second),
            only: only.clone(),
        };
        let own: Vec<PartitionRange> = ranges.iter().skip(number).step_by(lanes).copied().collect();
        running.spawn(lane.run(own));
    }
    let mut ledger = Ledger::default();
    while let Some(lane) = running.join_next().await {
        let lane = lane.map_err(|lost| RunError::new(RunErrorKind::Bug, format!("a lane was lost: {lost}")))??;
        ledger.merge(lane);
    }
    crash_point("uploaded");
    let counted = stats.snapshot();
    job.learn(counted.records_read, counted.bytes_read);
    let encoded = counted.rows_encoded;
    // Every record that was read is a row, or was refused and counted; a batch that is written again leaves the rest out.
    if only.is_none() && counted.records_read != encoded.saturating_add(counted.dirty_records) {
        let message = format!(
            "{} records were read, {encoded} became rows and {} were refused",
            counted.records_read, counted.dirty_records
        );
        return Err(RunError::new(RunErrorKind::Bug, message));
    }
    if counted.dirty_records > 0 {
        let fate = if job.spec.dead_letters.is_some() { "dead letters" } else { "dropped" };
        log::warn!(
            "job {}: of {} records {encoded} became rows and {} were dirty: {fate}",
            job.spec.name,
            counted.records_read,
            counted.dirty_records
        );
    }
    if ledger.rows() != encoded {
        let message = format!("{} rows are in blocks, {encoded} were encoded", ledger.rows());
        return Err(RunError::new(RunErrorKind::Bug, message));
    }
    let outcome = compare(job, &sessions, &ledger).await;
    if let Ok(Ok(written)) = &outcome {
        watched.sealed = written.sessions.iter().map(|session| session.upload_id.clone()).collect();
    }
    outcome
}

/// A batch in the job's status; dropped, the batch is over there too, however it ended.
struct Watched {
    status: Arc<JobStatus>,
    stages: Arc<StageBoard>,
    sealed: Vec<String>,
}

impl Watched {
    fn begin(job: &Job, stats: &Arc<Stats>, stages: &Arc<StageBoard>) -> Self {
        job.status.batch_begun(stats, stages, wall_clock());
        Self { status: Arc::clone(&job.status), stages: Arc::clone(stages), sealed: Vec::new() }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.status.batch_over(&self.stages.times(Instant::now()), &self.sealed);
    }
}

async fn open_sessions(job: &Job, lanes: usize) -> Result<Sessions, RunError> {
    let writer = &job.spec.writer;
    let create_partition = job.routed || job.partition.is_some();
    let options = UploadOptions { overwrite: false, create_partition, compression: job.compression };
    let maxcompute = job.maxcompute.clone();
    if job.routed {
        let limits = (INTENT_SESSIONS_MAX, ROUTED_REQUESTS);
        let schema = job.table.schema.clone();
        return Ok(
            Sessions::new(maxcompute, &writer.table, options, schema, FIELD_BYTES_MAX, limits).told_to(&job.status)
        );
    }
    let upload = maxcompute.create_upload(&writer.table, job.partition.as_ref(), options).await;
    let upload = upload.map_err(|error| crate::sync::connect::tunnel_failure(&error))?;
    if upload.schema().columns != job.table.schema.columns {
        let message = format!("table {} was altered while the job ran", writer.table);
        return Err(RunError::new(RunErrorKind::Config, message).advise("start the agent again"));
    }
    let (schema, field_bytes_max) = (upload.schema().clone(), upload.field_bytes_max());
    let limits = (1, u32::try_from(lanes).unwrap_or(1));
    let sessions = Sessions::new(maxcompute, &writer.table, options, schema, field_bytes_max, limits);
    let sessions = sessions.told_to(&job.status);
    sessions.adopt(job.partition.clone(), upload);
    Ok(sessions)
}

/// The service commits every block that it holds, so the sets are compared before anything is sealed.
async fn compare(job: &Job, sessions: &Sessions, ledger: &Ledger) -> Result<Result<Written, WriteFailure>, RunError> {
    let mut sealed = Vec::new();
    for target in sessions.opened() {
        let Some(upload) = target.upload() else { continue };
        let sent = ledger.blocks(&target.key);
        let rows: u64 = sent.iter().map(|(_, rows)| *rows).sum();
        // Not sealed, so never committed.
        if rows == 0 {
            continue;
        }
        let held = upload.blocks().await.map_err(|error| crate::sync::connect::tunnel_failure(&error))?;
        let mut wanted: Vec<(u32, u64)> = sent.to_vec();
        crate::sorting::sort(&mut wanted);
        let same = held.len() == wanted.len()
            && held
                .iter()
                .zip(&wanted)
                .all(|(held, (id, rows))| held.id == *id && held.records.is_none_or(|records| records == *rows));
        if !same {
            let why = format!("upload session {} does not hold the blocks that were sent", upload.id());
            return Ok(Err(WriteFailure::Passing(why)));
        }
        let own = job.partition.as_ref().map(ToString::to_string).unwrap_or_default();
        sealed.push(SealedSession {
            target: if target.key.is_empty() { own } else { target.key.clone() },
            upload_id: upload.id().to_owned(),
            blocks: u32::try_from(wanted.len()).unwrap_or(u32::MAX),
            rows,
        });
    }
    Ok(Ok(Written { ends: ledger.positions().clone(), sessions: sealed }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(i32, i64)]) -> BTreeMap<i32, i64> {
        pairs.iter().copied().collect()
    }

    #[test]
    fn a_commit_s_room_is_shared_and_none_is_wasted() {
        let from = map(&[(0, 100), (1, 0), (2, 7)]);
        assert_eq!(share(&from, &map(&[(0, 5), (1, 1000), (2, 1000)]), 105), map(&[(0, 105), (1, 50), (2, 57)]));
        assert_eq!(share(&from, &map(&[(1, 10)]), 100), map(&[(1, 10)]));
        // Less room than partitions: some have to wait.
        assert_eq!(share(&from, &map(&[(0, 5), (1, 5), (2, 5)]), 1), map(&[(0, 101)]));
    }

    #[test]
    fn a_batch_that_is_halved_often_enough_is_one_record() {
        let from = map(&[(0, 0), (1, 10)]);
        let mut ends = map(&[(0, 8), (1, 11)]);
        for wanted in [[(0, 4), (1, 11)], [(0, 2), (1, 11)], [(0, 1), (1, 11)]] {
            halve(&from, &mut ends);
            assert_eq!(ends, map(&wanted));
        }
        halve(&from, &mut ends);
        assert_eq!(ends, map(&[(0, 1)]));
    }
}
