//! Runs one bounded job from its checked description to its summary.
//!
//! The order of phases is that of "Job semantics", section 8: topic and table are looked at, ranges are fixed, then preSql, the
//! session, records, the dirty limit, the commit, the group's offsets, postSql. Nothing in the table changes before the commit.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Zoned;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::block::Destination;
use super::convert::Converter;
use super::dirty;
use super::end::{EndRule, Ended};
use super::error::{RunError, RunErrorKind, StopCause, TargetState};
use super::lane::{Lane, Shared};
use super::ledger::Ledger;
use super::plan::{self, PartitionFacts, PartitionRange, Plan, RangeRules, Target};
use super::rate::RateLimit;
use super::report;
use super::stats::Stats;
use super::summary::{OffsetsOutcome, PartitionSummary, Summary};
use crate::job::{self, Begin, End, JobSpec, OdpsConnection, Reset, UploadCompression};
use crate::kafka::{self, Client, ClientConfig, ConsumerConfig, Isolation, OffsetAt, OffsetToCommit, TopicMetadata};
use crate::limits::FIELD_BYTES_MAX;
use crate::tunnel::encode::Compression;
use crate::tunnel::{self, Credentials, MaxCompute, MaxComputeConfig, PartitionSpec, Table, Upload, UploadOptions};

/// How a run is watched and bounded.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// The run fails when it takes longer; `None` = no deadline.
    pub deadline: Option<Duration>,
    /// Time between progress lines.
    pub progress_every: Duration,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self { deadline: None, progress_every: Duration::from_secs(10) }
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
    let started = Zoned::now().with_time_zone(spec.settings.time_zone.clone());
    let deadline = options.deadline.map(|after| Instant::now() + after);
    let prepared = until_stopped(&mut stop, deadline, prepare(spec)).await?;
    if spec.settings.dry_run {
        return Ok(prepared.dry_summary(spec, started));
    }
    let session = until_stopped(&mut stop, deadline, open_session(spec, &prepared)).await?;
    let transfer = Instant::now();
    let moved = until_stopped(&mut stop, deadline, move_records(spec, options, &prepared, &session)).await;
    let moved = moved.inspect_err(|_| log::warn!("upload session {} is left uncommitted", session.id()))?;
    let transfer = transfer.elapsed();
    finish(spec, prepared, &session, moved, started, transfer).await
}

/// What is known before anything is written.
struct Prepared {
    client: Client,
    maxcompute: MaxCompute,
    partition: Option<PartitionSpec>,
    plan: Plan,
    target_name: String,
}

/// What the lanes did.
struct Moved {
    ledger: Ledger,
    ended: Ended,
    stats: Arc<Stats>,
}

async fn until_stopped<T>(
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

async fn prepare(spec: &JobSpec) -> Result<Prepared, RunError> {
    let (reader, writer) = (&spec.reader, &spec.writer);
    let connection = &writer.connection;
    log::info!("source: topic {} at {}", reader.topic, reader.servers.join(","));
    log::info!("target: {}.{} ({})", connection.project, writer.table, connection.source);
    let mut maxcompute = maxcompute_config(connection);
    maxcompute.retry.retries_max = writer.retries_max;
    let maxcompute = MaxCompute::new(maxcompute).map_err(|error| tunnel_failure(&error))?;
    let table = maxcompute.table(&writer.table).await.map_err(|error| tunnel_failure(&error))?;
    let partition = target_partition(spec, &table)?;
    // The columns are checked before anything is created; the session may still lower the field limit.
    Converter::new(reader, writer, &spec.settings.time_zone, &table.schema, FIELD_BYTES_MAX)
        .map_err(|error| config(format!("table {}: {error}", writer.table)))?;
    // Named columns are counted when the job is read; those of "*" are known only now.
    if writer.columns == job::WriterColumns::All && reader.columns.len() < table.schema.columns.len() {
        log::warn!("the table has more columns than the reader: the remaining ones are NULL");
    }
    let client = Client::connect(client_config(spec)?).await.map_err(|error| kafka_failure(&error))?;
    let topic = client.topic(&reader.topic).await.map_err(|error| kafka_failure(&error))?;
    let facts = facts(spec, &client, &partitions(spec, &topic)?).await?;
    let reset = reader.auto_offset_reset.unwrap_or(Reset::None);
    let rules = RangeRules {
        topic: &reader.topic,
        group: reader.group.as_deref(),
        begin: reader.begin,
        end: reader.end,
        reset,
        old_form: reader.old_form,
    };
    let plan = plan::plan(&rules, &facts).map_err(|error| {
        RunError::new(RunErrorKind::SafetyStop, error.to_string()).advise(
            "set beginOffset to an existing offset or to seekToBeginning, or autoOffsetReset to earliest or latest",
        )
    })?;
    for note in &plan.notes {
        log::info!("{note}");
    }
    for range in &plan.ranges {
        let end = match range.target {
            Target::Offset(offset) => offset.to_string(),
            Target::Time(time) => format!("time {time}"),
        };
        log::info!(
            "partition {}: from offset {} up to {end}, the log ends at {}",
            range.partition,
            range.begin,
            range.log_end
        );
    }
    let target_name = match &partition {
        Some(partition) => format!("{}.{} partition {partition}", connection.project, writer.table),
        None => format!("{}.{}", connection.project, writer.table),
    };
    Ok(Prepared { client, maxcompute, partition, plan, target_name })
}

/// The partition that is written, in the table's order; none for an unpartitioned table.
fn target_partition(spec: &JobSpec, table: &Table) -> Result<Option<PartitionSpec>, RunError> {
    let (name, text) = (&spec.writer.table, spec.writer.partition.as_str());
    if table.is_view {
        return Err(config(format!("{name} is a view; only tables can be written")));
    }
    match (table.schema.is_partitioned(), text.is_empty()) {
        (false, true) => Ok(None),
        (false, false) => {
            Err(config(format!("table {name} is not partitioned, but the job names partition \"{text}\""))
                .advise("set partition to \"\""))
        }
        (true, true) => {
            let keys: Vec<&str> = table.schema.partition_keys.iter().map(|key| key.name.as_str()).collect();
            Err(config(format!("table {name} is partitioned by {}, but the job names no partition", keys.join(", ")))
                .advise("set partition, for example \"pt=20240101\""))
        }
        (true, false) => {
            let spec = PartitionSpec::parse(text).and_then(|spec| spec.order_by(&table.schema));
            spec.map(Some).map_err(|error| config(format!("partition \"{text}\" of table {name}: {error}")))
        }
    }
}

/// The partitions the job reads.
fn partitions(spec: &JobSpec, topic: &TopicMetadata) -> Result<Vec<i32>, RunError> {
    let known: Vec<i32> = topic.partitions.iter().map(|partition| partition.partition).collect();
    let Some(wanted) = &spec.reader.partitions else { return Ok(known) };
    match wanted.iter().find(|partition| !known.contains(partition)) {
        None => Ok(wanted.clone()),
        Some(missing) => Err(config(format!(
            "topic \"{}\" has no partition {missing}; it has {} partitions",
            spec.reader.topic,
            known.len()
        ))),
    }
}

/// Asks the brokers for everything the ranges depend on.
async fn facts(spec: &JobSpec, client: &Client, partitions: &[i32]) -> Result<BTreeMap<i32, PartitionFacts>, RunError> {
    let reader = &spec.reader;
    let isolation = isolation(spec);
    let list = async |at: OffsetAt| {
        let wanted: Vec<(i32, OffsetAt)> = partitions.iter().map(|partition| (*partition, at)).collect();
        client.list_offsets(&reader.topic, &wanted, isolation).await.map_err(|error| kafka_failure(&error))
    };
    let mut facts: BTreeMap<i32, PartitionFacts> =
        partitions.iter().map(|partition| (*partition, PartitionFacts::default())).collect();
    let earliest = list(OffsetAt::Earliest).await?;
    let latest = list(OffsetAt::Latest).await?;
    let begin = match reader.begin {
        Begin::Time(time) => Some(list(OffsetAt::Time(time)).await?),
        _ => None,
    };
    let now = jiff::Timestamp::now().as_millisecond();
    let end = match reader.end {
        End::Time(time) if time <= now => Some(list(OffsetAt::Time(time)).await?),
        _ => None,
    };
    let committed = match (reader.begin, &reader.group) {
        (Begin::Group, Some(group)) => {
            let wanted = [(reader.topic.clone(), partitions.to_vec())];
            client.committed_offsets(group, &wanted).await.map_err(|error| kafka_failure(&error))?
        }
        _ => Vec::new(),
    };
    for (partition, fact) in &mut facts {
        let missing = || {
            let message = format!("topic \"{}\" partition {partition}: the brokers gave no offset", reader.topic);
            RunError::new(RunErrorKind::Unavailable, message)
        };
        fact.log_start = earliest.get(partition).and_then(|listed| listed.offset).ok_or_else(missing)?;
        fact.log_end = latest.get(partition).and_then(|listed| listed.offset).ok_or_else(missing)?;
        fact.begin_time_offset = begin.as_ref().and_then(|begin| begin.get(partition)).and_then(|listed| listed.offset);
        // An end time that has passed and has no record at or after it means the end of the log.
        fact.end_time_offset =
            end.as_ref().map(|end| end.get(partition).and_then(|listed| listed.offset).unwrap_or(fact.log_end));
        fact.committed =
            committed.iter().find(|offset| offset.partition == *partition).and_then(|offset| offset.offset);
    }
    Ok(facts)
}

async fn open_session(spec: &JobSpec, prepared: &Prepared) -> Result<Arc<Upload>, RunError> {
    for statement in &spec.writer.pre_sql {
        log::info!("preSql: {statement}");
        prepared.maxcompute.sql(statement, &[]).await.map_err(|error| tunnel_failure(&error))?;
    }
    let options = UploadOptions {
        overwrite: spec.writer.truncate,
        create_partition: prepared.partition.is_some(),
        compression: match spec.writer.upload_compression {
            UploadCompression::None => Compression::None,
            UploadCompression::Deflate => Compression::Deflate,
            UploadCompression::Snappy => Compression::Snappy,
            UploadCompression::Lz4 => Compression::Lz4,
            UploadCompression::Zstd => Compression::Zstd,
        },
    };
    let created = prepared.maxcompute.create_upload(&spec.writer.table, prepared.partition.as_ref(), options).await;
    let upload = created.map_err(|error| match error.kind() {
        tunnel::ErrorKind::OverwriteNotAllowed => config(format!("{}: {error}", prepared.target_name))
            .advise("the table does not allow INSERT OVERWRITE; set truncate to false and empty it by preSql"),
        _ => tunnel_failure(&error),
    })?;
    let manner = if spec.writer.truncate { "replaces the target when it commits" } else { "appends" };
    log::info!("upload session {} created, {manner}", upload.id());
    if !spec.writer.truncate {
        log::warn!(
            "truncate is false: if this process dies after MaxCompute's commit and before the group's offsets are committed, \
             the next run appends the same rows again"
        );
    }
    Ok(Arc::new(upload))
}

/// Moves the records of all ranges into blocks of the session.
async fn move_records(
    spec: &JobSpec,
    options: &RunOptions,
    prepared: &Prepared,
    session: &Arc<Upload>,
) -> Result<Moved, RunError> {
    let (reader, writer, settings) = (&spec.reader, &spec.writer, &spec.settings);
    let converter = Converter::new(reader, writer, &settings.time_zone, session.schema(), session.field_bytes_max())
        .map_err(|error| config(format!("table {}: {error}", writer.table)))?;
    let stats = Arc::new(Stats::default());
    let ranges = &prepared.plan.ranges;
    let now = Instant::now();
    let end = EndRule::new(ranges, reader.wait_time, reader.stop_when_poll_empty, reader.old_form, now);
    let shared = Arc::new(Shared {
        topic: reader.topic.clone(),
        stats: Arc::clone(&stats),
        end: Mutex::new(end),
        end_changed: Notify::new(),
        rate: Mutex::new(RateLimit::new(settings.bytes_per_second, settings.records_per_second)),
        dirty_limit: settings.dirty_limit,
        next_block: AtomicU32::new(0),
    });
    let lanes = usize::try_from(settings.concurrent).unwrap_or(1).clamp(1, ranges.len().max(1));
    let mut running = JoinSet::new();
    for number in 0..lanes {
        let lane = Lane {
            client: prepared.client.clone(),
            consumer_config: consumer_config(spec),
            converter: converter.clone(),
            destination: Destination {
                upload: Arc::clone(session),
                stats: Arc::clone(&stats),
                timeout: writer.write_timeout,
            },
            shared: Arc::clone(&shared),
            block_bytes: writer.block_bytes,
            attempts_max: writer.retries_max.max(1),
            slice_records: slice(settings.records_per_second),
            slice_bytes: slice(settings.bytes_per_second),
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
        never = progress(&shared, options.progress_every, in_range) => match never {},
        error = resolve_end_time(spec, prepared, &shared) => return Err(error),
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

/// What five seconds of a speed limit let through.
fn slice(per_second: Option<u64>) -> u64 {
    per_second.map_or(u64::MAX, |limit| limit.saturating_mul(5).max(1))
}

/// Prints a line every ten seconds, for ever.
async fn progress(shared: &Shared, every: Duration, in_range: Option<u64>) -> std::convert::Infallible {
    let mut before = shared.stats.snapshot();
    loop {
        tokio::time::sleep(every).await;
        let now = shared.stats.snapshot();
        log::info!("{}", report::progress_line(&now, &before, every, in_range));
        if now.records_read == before.records_read {
            let lagging: Vec<String> =
                shared.end().lagging().take(10).map(|(p, at, _)| format!("{p} at {at}")).collect();
            log::info!("no new records; waiting for partitions {}", lagging.join(", "));
        }
        before = now;
    }
}

/// Turns an end time in the future into offsets once the clock has passed it. Gives only an error, if it ends at all.
async fn resolve_end_time(spec: &JobSpec, prepared: &Prepared, shared: &Shared) -> RunError {
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

/// Commits the session, then the group's offsets, then runs postSql.
async fn finish(
    spec: &JobSpec,
    prepared: Prepared,
    session: &Upload,
    moved: Moved,
    started: Zoned,
    transfer: Duration,
) -> Result<Summary, RunError> {
    let blocks: Vec<u32> = moved.ledger.blocks().iter().map(|(id, _)| *id).collect();
    session.commit_counted(moved.ledger.blocks()).await.map_err(|error| commit_failure(session, &error))?;
    log::info!("upload session {} committed: {} blocks, {} rows", session.id(), blocks.len(), moved.ledger.rows());
    let positions: Vec<PartitionSummary> = prepared
        .plan
        .ranges
        .iter()
        .map(|range| PartitionSummary {
            range: *range,
            position: moved.ledger.positions().get(&range.partition).copied().unwrap_or(range.begin),
        })
        .collect();
    let offsets = commit_offsets(spec, &prepared.client, &positions).await?;
    for statement in &spec.writer.post_sql {
        log::info!("postSql: {statement}");
        prepared.maxcompute.sql(statement, &[]).await.map_err(|error| {
            let failure = tunnel_failure(&error).with_target(TargetState::Committed);
            RunError { message: format!("postSql failed, the data stays: {}", failure.message), ..failure }
        })?;
    }
    Ok(Summary {
        job: spec.name.clone(),
        topic: spec.reader.topic.clone(),
        target: prepared.target_name,
        finished: Zoned::now().with_time_zone(started.time_zone().clone()),
        started,
        transfer,
        ended: Some(moved.ended),
        partitions: positions,
        stats: moved.stats.snapshot(),
        session: Some(session.id().to_owned()),
        blocks: u32::try_from(blocks.len()).unwrap_or(u32::MAX),
        rows: moved.ledger.rows(),
        offsets,
    })
}

async fn commit_offsets(
    spec: &JobSpec,
    client: &Client,
    positions: &[PartitionSummary],
) -> Result<OffsetsOutcome, RunError> {
    let reader = &spec.reader;
    let group = match &reader.group {
        Some(group) if reader.commit_offsets => group,
        Some(_) => return Ok(OffsetsOutcome::NotCommitted("the job says enable.auto.commit false".to_owned())),
        None => return Ok(OffsetsOutcome::NotCommitted("the job names no group".to_owned())),
    };
    let offsets: Vec<OffsetToCommit> = positions
        .iter()
        .filter(|partition| partition.range.commits)
        .map(|partition| OffsetToCommit {
            topic: reader.topic.as_str().into(),
            partition: partition.range.partition,
            offset: partition.position,
            leader_epoch: None,
            metadata: String::new(),
        })
        .collect();
    if offsets.is_empty() {
        return Ok(OffsetsOutcome::NotCommitted("nothing was in range".to_owned()));
    }
    match client.commit_offsets(group, &offsets).await {
        Ok(()) => {
            log::info!("offsets of group {group} committed for {} partitions", offsets.len());
            Ok(OffsetsOutcome::Committed { group: group.clone() })
        }
        Err(error) if reader.begin == Begin::Group => Err(RunError::new(
            RunErrorKind::SafetyStop,
            format!("data committed, offsets not: group \"{group}\": {error}"),
        )
        .advise("stop the group's other consumers and set its offsets to the positions in the log, or run with truncate again")
        .with_target(TargetState::Committed)),
        Err(error) => {
            log::warn!("data committed, offsets of group \"{group}\" not: {error}");
            Ok(OffsetsOutcome::NotCommitted(error.to_string()))
        }
    }
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
            offsets: OffsetsOutcome::NotCommitted("dry run".to_owned()),
        }
    }
}

fn config(message: String) -> RunError {
    RunError::new(RunErrorKind::Config, message)
}

fn isolation(spec: &JobSpec) -> Isolation {
    match spec.reader.isolation {
        job::Isolation::ReadUncommitted => Isolation::ReadUncommitted,
        job::Isolation::ReadCommitted => Isolation::ReadCommitted,
    }
}

fn client_config(spec: &JobSpec) -> Result<ClientConfig, RunError> {
    let reader = &spec.reader;
    let mut config = ClientConfig::new(&reader.servers);
    if let Some(id) = &reader.client_id {
        config.client_id.clone_from(id);
    }
    if let Some(timeout) = reader.request_timeout {
        config.request_timeout = timeout;
    }
    if let Some(timeout) = reader.connect_timeout {
        config.connect_timeout = timeout;
    }
    if let Some(backoff) = reader.retry_backoff {
        config.retry_backoff = backoff;
    }
    for (name, value) in &reader.properties {
        config.set_property(name, value).map_err(|error| kafka_failure(&error))?;
    }
    for (name, value) in &reader.security {
        config.set_property(name, value.expose()).map_err(|error| kafka_failure(&error))?;
    }
    Ok(config)
}

fn consumer_config(spec: &JobSpec) -> ConsumerConfig {
    let reader = &spec.reader;
    let mut config = ConsumerConfig { isolation: isolation(spec), ..ConsumerConfig::default() };
    let size = |bytes: u32| usize::try_from(bytes).unwrap_or(usize::MAX);
    config.bytes_min = size(reader.fetch_min_bytes);
    config.wait_ms_max = u32::try_from(reader.fetch_wait_max.as_millis()).unwrap_or(u32::MAX);
    if let Some(bytes) = reader.fetch_bytes_max {
        config.fetch_bytes_max = size(bytes);
    }
    if let Some(bytes) = reader.partition_fetch_bytes_max {
        config.partition_bytes_max = size(bytes);
    }
    config
}

/// The client's configuration for a resolved connection; everything else stays at its default.
pub(crate) fn maxcompute_config(connection: &OdpsConnection) -> MaxComputeConfig {
    let credentials = match &connection.identity {
        job::Identity::AccessKey => {
            let key = Credentials::new(&connection.access_id, connection.access_key.expose());
            match &connection.security_token {
                Some(token) => key.with_security_token(token.expose()),
                None => key,
            }
        }
        job::Identity::Bearer(token) => Credentials::bearer(token.expose()),
        job::Identity::EcsRole { role, endpoint, allow_v1 } => {
            let endpoint = endpoint.as_deref().unwrap_or(Credentials::ECS_METADATA);
            Credentials::ecs_role_at(endpoint, role.as_deref(), *allow_v1)
        }
        job::Identity::Uri(uri) => Credentials::from_uri(uri.expose()),
    };
    let mut config = MaxComputeConfig::new(&connection.endpoint, &connection.project, credentials);
    config.tunnel_endpoint.clone_from(&connection.tunnel_endpoint);
    config.schema.clone_from(&connection.schema);
    config.quota.clone_from(&connection.quota);
    config.region.clone_from(&connection.region);
    config
}

fn commit_failure(session: &Upload, error: &tunnel::Error) -> RunError {
    let failure = tunnel_failure(error);
    match error.kind() {
        tunnel::ErrorKind::UnknownOutcome => failure
            .with_target(TargetState::Unknown { session: session.id().to_owned() })
            .advise("run the job again: with truncate it replaces the same rows; without, look at the table first"),
        _ => failure,
    }
}

/// What a Tunnel error means for a run.
pub(super) fn tunnel_error_kind(error: &tunnel::Error) -> RunErrorKind {
    use tunnel::ErrorKind as Kind;
    match error.kind() {
        Kind::Config | Kind::NoSuchTable | Kind::NoSuchProject | Kind::NoSuchPartition | Kind::OverwriteNotAllowed => {
            RunErrorKind::Config
        }
        Kind::Auth | Kind::Forbidden => RunErrorKind::Auth,
        Kind::Throttled | Kind::Unavailable | Kind::UnknownOutcome | Kind::TransactionConflict => {
            RunErrorKind::Unavailable
        }
        _ => RunErrorKind::Failed,
    }
}

fn tunnel_failure(error: &tunnel::Error) -> RunError {
    use tunnel::ErrorKind as Kind;
    let failure = RunError::new(tunnel_error_kind(error), error.to_string());
    match error.kind() {
        Kind::NoSuchTable => failure.advise("create the table first, for example with: forebay sql -f table.sql"),
        Kind::NoSuchProject => failure.advise("check project and endpoint of the data source"),
        Kind::Auth => failure.advise("check access_id and access_key of the data source, and this host's clock"),
        Kind::Forbidden => failure.advise("ask the project's owner for the missing permission"),
        Kind::Unavailable => failure.advise("check endpoint and tunnel_endpoint of the data source"),
        _ => failure,
    }
}

/// What a Kafka error means for a run.
pub(super) fn kafka_failure(error: &kafka::Error) -> RunError {
    use kafka::ErrorKind as Kind;
    let kind = match error.kind() {
        Kind::Config | Kind::UnknownTopic | Kind::UnknownPartition | Kind::Unsupported => RunErrorKind::Config,
        Kind::Auth => RunErrorKind::Auth,
        Kind::OffsetOutOfRange { .. } | Kind::TopicDeleted | Kind::Decode => RunErrorKind::SafetyStop,
        Kind::Connect | Kind::Timeout | Kind::UnknownOutcome | Kind::Closed => RunErrorKind::Unavailable,
        _ => RunErrorKind::Failed,
    };
    let failure = RunError::new(kind, error.to_string());
    match error.kind() {
        Kind::Connect => failure
            .advise("check the reader's server, and that the broker's advertised listeners can be reached from here"),
        Kind::UnknownTopic => {
            failure.advise("list the topics with: forebay kafka topics --list --bootstrap-server HOST:PORT")
        }
        _ => failure,
    }
}
