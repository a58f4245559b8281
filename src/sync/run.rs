//! Runs one bounded job from its checked description to its summary.
//!
//! The order of phases is that of "Job semantics", section 8: topic and table are looked at, ranges are fixed, then preSql, the
//! session, records, the dirty limit, the commit, the group's offsets, postSql. Nothing in the table changes before the commit.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Zoned;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::connect::{budget, compression, config, consumer_config, isolation};
use super::convert::Converter;
use super::dead_letters::DeadLetterBox;
use super::dirty;
use super::end::{EndRule, Ended};
use super::error::{RunError, RunErrorKind, StopCause};
use super::finish::finish;
use super::lane::{IDLE_MAX, Lane, Shared, wall_clock};
use super::ledger::Ledger;
use super::plan::{PartitionRange, Plan, Target};
use super::prepare::{Prepared, prepare};
use super::progress::{Pace, Progress, Watcher};
use super::rate::RateLimit;
use super::report;
use super::sessions::{SESSION_LIFE, Sessions, overwrite_advice};
use super::stall::StageBoard;
use super::stats::Stats;
use super::status::JobStatus;
use super::stream;
use super::summary::{OffsetsOutcome, PartitionSummary, Summary};
use crate::job::{End, JobSpec, Mode, OF_MEMBERS};
use crate::kafka::OffsetAt;
use crate::limits::FIELD_BYTES_MAX;
use crate::tunnel::UploadOptions;
use crate::tunnel::session::RetryPolicy;

pub(crate) use super::connect::maxcompute_config;
pub(super) use super::connect::{kafka_failure, session_failure, tunnel_failure};

/// How a run is watched and bounded.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// The run fails when it takes longer; `None` = no deadline.
    pub deadline: Option<Duration>,
    /// Time between progress lines in the log.
    pub progress_every: Duration,
    /// A lane that has waited for so long in one stage is named, with whom it waits for.
    pub stalled_after: Duration,
    /// Where the run tells how it is.
    pub status: Option<Arc<JobStatus>>,
    /// Who watches, on a terminal; the log has no progress lines then.
    pub watched: Option<Watcher>,
    /// How long a request that is open may have nothing to send before its block is ended. The service cuts idle connections
    /// after 120 s.
    pub idle_max: Duration,
}

/// What a wait in the usual course of things stays below: an answer of a broker that has nothing new, a block that Tunnel takes, a
/// commit.
pub const STALLED_AFTER: Duration = Duration::from_secs(30);

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            deadline: None,
            progress_every: Duration::from_secs(10),
            stalled_after: STALLED_AFTER,
            status: None,
            watched: None,
            idle_max: IDLE_MAX,
        }
    }
}

/// Runs the job to its end. `stop` carries the signal that should end it early.
///
/// # Errors
/// [`RunError`], which says in what state the table was left; the group's offsets move only after the table's commit.
pub async fn run(
    spec: &JobSpec,
    options: &RunOptions,
    mut stop: watch::Receiver<Option<StopCause>>,
) -> Result<Summary, RunError> {
    if let Some(error) = not_yet(spec) {
        return Err(error);
    }
    let idle: Vec<&str> =
        OF_MEMBERS.into_iter().filter(|property| spec.reader.properties.contains_key(*property)).collect();
    if !idle.is_empty() {
        log::info!("accepted without effect, since a run is no member of the group: {}", idle.join(", "));
    }
    let started = Zoned::now().with_time_zone(spec.settings.time_zone.clone());
    let deadline = options.deadline.map(|after| Instant::now() + after);
    let prepared = until_stopped(&mut stop, deadline, prepare(spec)).await?;
    if spec.settings.dry_run {
        return Ok(prepared.dry_summary(spec, started));
    }
    if spec.writer.mode == Mode::Stream {
        return stream::run(spec, options, prepared, started, deadline, stop).await;
    }
    let sessions = until_stopped(&mut stop, deadline, open_sessions(spec, options, &prepared)).await?;
    let transfer = Instant::now();
    let moved = until_stopped(&mut stop, deadline, move_records(spec, options, &prepared, &sessions)).await;
    let moved = moved.inspect_err(|_| {
        for target in sessions.opened() {
            if let Some(session) = target.upload() {
                log::warn!("upload session {} is left uncommitted", session.id());
            }
        }
    })?;
    if let Some(status) = &options.status {
        status.committing(wall_clock());
    }
    let transfer = transfer.elapsed();
    finish(spec, prepared, &sessions, moved, started, transfer).await
}

/// What a job may say that only a continuous run will do.
fn not_yet(spec: &JobSpec) -> Option<RunError> {
    let refused = |what: &str, advice: &str| Some(config(format!("{what} cannot be done by run")).advise(advice));
    if spec.unbounded && spec.writer.mode == Mode::Batch {
        return refused(
            "a batch job without an end (no stop in [source])",
            "use forebay agent; or add stop = \"latest\", or mode = \"stream\" for rows within seconds",
        );
    }
    None
}

/// What the lanes did.
pub(super) struct Moved {
    pub(super) ledger: Ledger,
    pub(super) ended: Ended,
    pub(super) stats: Arc<Stats>,
}

pub(super) async fn until_stopped<T>(
    stop: &mut watch::Receiver<Option<StopCause>>,
    deadline: Option<Instant>,
    work: impl Future<Output = Result<T, RunError>>,
) -> Result<T, RunError> {
    let late = async {
        match deadline {
            Some(at) => tokio::time::sleep_until(at.into()).await,
            None => std::future::pending().await,
        }
    };
    let stopped = async {
        match stop.wait_for(Option::is_some).await.map(|cause| *cause) {
            Ok(Some(cause)) => cause,
            // The sender is gone: nobody can stop this run any more.
            _ => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        cause = stopped => {
            let name = match cause { StopCause::Interrupt => "SIGINT", StopCause::Terminate => "SIGTERM" };
            Err(RunError::new(RunErrorKind::Stopped(cause), format!("stopped by {name} before the end")))
        }
        () = late => Err(RunError::new(RunErrorKind::Deadline, "the deadline passed before the end")),
        result = work => result,
    }
}

/// Runs preSql and makes the one session; where rows are routed each partition's is made with its first block.
async fn open_sessions(spec: &JobSpec, options: &RunOptions, prepared: &Prepared) -> Result<Arc<Sessions>, RunError> {
    let writer = &spec.writer;
    for statement in &writer.pre_sql {
        log::info!("preSql: {statement}");
        prepared.maxcompute.sql(statement, &[]).await.map_err(|error| tunnel_failure(&error))?;
    }
    let watched = |sessions: Sessions| match &options.status {
        Some(status) => sessions.told_to(status),
        None => sessions,
    };
    let upload_options = UploadOptions {
        overwrite: writer.truncate,
        create_partition: prepared.routed || prepared.partition.is_some(),
        compression: compression(spec),
    };
    let maxcompute = prepared.maxcompute.clone();
    let lanes = lanes(spec, &prepared.plan);
    let manner = if writer.truncate { "replaces the target when it commits" } else { "appends" };
    let sessions = if prepared.routed {
        let limits = (writer.routing.partitions_max as usize, ROUTED_REQUESTS.max(u32::try_from(lanes).unwrap_or(1)));
        let schema = prepared.table.schema.clone();
        log::info!("every partition has an upload session of its own, which {manner}");
        watched(Sessions::new(maxcompute, &writer.table, upload_options, schema, FIELD_BYTES_MAX, limits))
    } else {
        let upload =
            prepared.maxcompute.create_upload(&writer.table, prepared.partition.as_ref(), upload_options).await;
        let upload = upload.map_err(|error| overwrite_advice(&prepared.target_name, &error))?;
        log::info!("upload session {} created, {manner}", upload.id());
        let (schema, field_bytes_max) = (upload.schema().clone(), upload.field_bytes_max());
        let limits = (1, u32::try_from(lanes).unwrap_or(1));
        let sessions = Sessions::new(maxcompute, &writer.table, upload_options, schema, field_bytes_max, limits);
        let sessions = watched(sessions);
        sessions.adopt(prepared.partition.clone(), upload);
        sessions
    };
    if !writer.truncate {
        log::warn!(
            "truncate is false: if this process dies after MaxCompute's commit and before the group's offsets are committed, \
             the next run appends the same rows again"
        );
    }
    Ok(Arc::new(sessions))
}

/// Blocks on their way at once where rows are routed, over all lanes.
pub(super) const ROUTED_REQUESTS: u32 = 16;

pub(super) fn lanes(spec: &JobSpec, plan: &Plan) -> usize {
    budget(spec, plan.ranges.len()).lanes
}

/// Moves the records of all ranges into blocks of the sessions.
async fn move_records(
    spec: &JobSpec,
    options: &RunOptions,
    prepared: &Prepared,
    sessions: &Arc<Sessions>,
) -> Result<Moved, RunError> {
    let (reader, writer, settings) = (&spec.reader, &spec.writer, &spec.settings);
    let converter = Converter::new(reader, writer, &settings.time_zone, &sessions.schema, sessions.field_bytes_max)
        .map_err(|error| config(format!("table {}: {error}", writer.table)))?;
    let ranges = &prepared.plan.ranges;
    let budget = budget(spec, ranges.len());
    let lanes = budget.lanes;
    let stats = Arc::new(Stats::default());
    let now = Instant::now();
    let end = EndRule::new(ranges, reader.wait_time, reader.stop_when_poll_empty, reader.old_form, now);
    let shared = Arc::new(Shared {
        topic: reader.topic.clone(),
        stats: Arc::clone(&stats),
        end: Mutex::new(end),
        end_changed: Notify::new(),
        rate: Mutex::new(RateLimit::new(settings.bytes_per_second, settings.records_per_second)),
        dirty_limit: settings.dirty_limit,
        dead_letters: DeadLetterBox::of(spec, &prepared.client)?,
        stages: Arc::new(StageBoard::new(lanes)),
        status: options.status.clone(),
    });
    show_reading(options, ranges, &shared);
    // Throttling is waited for as long as the run may last, or its session lives.
    let retry = RetryPolicy {
        retries_max: writer.retries_max,
        deadline: options.deadline.unwrap_or(SESSION_LIFE).min(SESSION_LIFE),
        ..RetryPolicy::default()
    };
    let mut running = JoinSet::new();
    for number in 0..lanes {
        let lane = Lane {
            number,
            client: prepared.client.clone(),
            consumer_config: consumer_config(spec, &budget),
            budget,
            commit_bytes: None,
            converter: converter.clone(),
            write_timeout: writer.write_timeout,
            idle_max: options.idle_max,
            shared: Arc::clone(&shared),
            sessions: Arc::clone(sessions),
            block_bytes: writer.block_bytes,
            retry,
            requests_max: if prepared.routed { (ROUTED_REQUESTS as usize / lanes).max(1) } else { 1 },
            pending_max: if prepared.routed { budget.pending_bytes } else { usize::MAX },
            slice_records: slice(settings.records_per_second),
            slice_bytes: slice(settings.bytes_per_second),
            only: None,
        };
        let own: Vec<PartitionRange> = ranges.iter().skip(number).step_by(lanes).copied().collect();
        running.spawn(lane.run(own));
    }
    let in_range = ranges.iter().map(PartitionRange::offsets).try_fold(0_u64, |sum, n| Some(sum.saturating_add(n?)));
    let all = async {
        let mut ledger = Ledger::default();
        while let Some(lane) = running.join_next().await {
            let lane = lane.map_err(|lost| RunError::new(RunErrorKind::Bug, format!("a lane was lost: {lost}")))??;
            ledger.merge(lane);
        }
        Ok::<Ledger, RunError>(ledger)
    };
    let ledger = tokio::select! {
        ledger = all => ledger?,
        never = progress(&shared, options, in_range) => match never {},
        error = resolve_end_time(spec, prepared, &shared) => return Err(error),
        error = sessions_end(sessions) => return Err(error),
    };
    let counted = stats.snapshot();
    dirty::check_at_end(settings.dirty_limit, counted.dirty_records, counted.records_read)
        .map_err(|passed| RunError::new(RunErrorKind::DirtyLimit, passed.to_string()))?;
    if ledger.rows() != counted.rows_encoded {
        let message = format!("{} rows are in blocks, {} were encoded", ledger.rows(), counted.rows_encoded);
        return Err(RunError::new(RunErrorKind::Bug, message));
    }
    let ended = shared.end().ended(Instant::now()).unwrap_or(Ended::AllAtTarget);
    log::info!("reading ended: {ended}");
    Ok(Moved { ledger, ended, stats })
}

/// The run is at work from here on, for whoever looks at its status.
pub(super) fn show_reading(options: &RunOptions, ranges: &[PartitionRange], shared: &Shared) {
    if let Some(status) = &options.status {
        let now = wall_clock();
        status.ranges(ranges, now);
        status.batch_begun(&shared.stats, &shared.stages, now);
    }
}

/// What five seconds of a speed limit let through.
pub(super) fn slice(per_second: Option<u64>) -> u64 {
    per_second.map_or(u64::MAX, |limit| limit.saturating_mul(5).max(1))
}

/// Tells how far the run is, for ever: a line every ten seconds, or somebody who watches.
pub(super) async fn progress(shared: &Shared, options: &RunOptions, in_range: Option<u64>) -> std::convert::Infallible {
    let every = options.progress_every;
    if let Some(watcher) = &options.watched {
        return watch_progress(shared, watcher, options.stalled_after, in_range).await;
    }
    let mut before = shared.stats.snapshot();
    loop {
        tokio::time::sleep(every).await;
        let now = shared.stats.snapshot();
        log::info!("{}", report::progress_line(&now, &before, every, in_range));
        for line in shared.stages.stalled(Instant::now(), options.stalled_after) {
            log::warn!("{line}");
        }
        if now.records_read == before.records_read {
            let lagging: Vec<String> =
                shared.end().lagging().take(10).map(|(p, at, _)| format!("{p} at {at}")).collect();
            log::info!("no new records; waiting for partitions {}", lagging.join(", "));
        }
        before = now;
    }
}

async fn watch_progress(
    shared: &Shared,
    watcher: &Watcher,
    stalled_after: Duration,
    in_range: Option<u64>,
) -> std::convert::Infallible {
    let mut pace = Pace::default();
    // Reading begins now: however much has come by the first look, it took that long.
    pace.handle(Instant::now(), 0, 0);
    loop {
        let now = Instant::now();
        let stats = shared.stats.snapshot();
        let (records_per_second, bytes_per_second) = pace.handle(now, stats.records_read, stats.bytes_read);
        let left = shared.end().lagging().try_fold(0_u64, |sum, (_, position, target)| match target {
            Target::Offset(end) if end < i64::MAX => {
                Some(sum.saturating_add(u64::try_from(end.saturating_sub(position)).unwrap_or(0)))
            }
            _ => None,
        });
        // Positions move by whole answers, and records do not count gaps: neither says less than what is left.
        let unread = in_range.map(|all| all.saturating_sub(stats.records_read));
        let left = left.into_iter().chain(unread).min();
        let stalled = shared.stages.stalled(now, stalled_after).into_iter().next();
        watcher.tell(&Progress { stats, records_per_second, bytes_per_second, left, stalled });
        tokio::time::sleep(WATCH_EVERY).await;
    }
}

/// How often somebody who watches is told.
const WATCH_EVERY: Duration = Duration::from_millis(250);

/// Fails the run when the oldest session's life is over: its rows could not be committed any more.
async fn sessions_end(sessions: &Sessions) -> RunError {
    loop {
        let look = Instant::now() + Duration::from_secs(60);
        match sessions.over_at() {
            Some(at) if at <= Instant::now() => break,
            Some(at) => tokio::time::sleep_until(at.min(look).into()).await,
            None => tokio::time::sleep_until(look.into()).await,
        }
    }
    let message = "the job was not done within 24 hours, the life of an upload session; nothing was committed";
    RunError::new(RunErrorKind::Failed, message).advise("read a smaller range, or raise speed.concurrent")
}

/// Turns an end time in the future into offsets once the clock has passed it. Gives only an error, if it ends at all.
pub(super) async fn resolve_end_time(spec: &JobSpec, prepared: &Prepared, shared: &Shared) -> RunError {
    let End::Time(time) = spec.reader.end else { return std::future::pending().await };
    let wait = time.saturating_sub(jiff::Timestamp::now().as_millisecond()).saturating_add(1);
    tokio::time::sleep(Duration::from_millis(u64::try_from(wait).unwrap_or(0))).await;
    let open: Vec<i32> =
        shared.end().lagging().filter(|(_, _, t)| matches!(t, Target::Time(_))).map(|(p, _, _)| p).collect();
    let topic = &spec.reader.topic;
    for at in [OffsetAt::Time(time), OffsetAt::Latest] {
        let wanted: Vec<(i32, OffsetAt)> = open.iter().map(|partition| (*partition, at)).collect();
        let listed = match prepared.client.list_offsets(topic, &wanted, isolation(spec)).await {
            Ok(listed) => listed,
            Err(error) => return kafka_failure(&error),
        };
        // The second round fills in those that have no record at or after the time; it never raises a target.
        for (partition, listed) in listed {
            if let Some(offset) = listed.offset {
                shared.end().handle_target(partition, offset);
            }
        }
    }
    shared.end_changed.notify_waiters();
    std::future::pending().await
}

impl Prepared {
    fn dry_summary(self, spec: &JobSpec, started: Zoned) -> Summary {
        let unread = |range: &PartitionRange| PartitionSummary { range: *range, position: range.begin };
        Summary {
            job: spec.name.clone(),
            topic: spec.reader.topic.clone(),
            target: self.target_name,
            finished: Zoned::now().with_time_zone(started.time_zone().clone()),
            started,
            transfer: Duration::ZERO,
            ended: None,
            partitions: self.plan.ranges.iter().map(unread).collect(),
            stats: Stats::default().snapshot(),
            session: None,
            blocks: 0,
            rows: 0,
            targets: Vec::new(),
            offsets: OffsetsOutcome::NotCommitted("dry run".to_owned()),
        }
    }
}
