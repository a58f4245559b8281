//! A job without an end: a member of the job's consumer group carries the records of its partitions into the table, exactly once.
//!
//! [`Delivery`](super::step::Delivery) decides; this is its shell. Any number of processes may run the same job, on any hosts: the
//! group divides the partitions, and nothing is kept on disk. A batch is the records from the group's offset up to the end that
//! the log had at one moment, so that it can be read again from Kafka, by whoever.

mod cluster;
mod evidence;
mod observe;
mod resolve;
mod settle;
mod work;
mod write;

use std::collections::BTreeMap;
use std::hash::Hasher as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::connect::{budget, client_config, compression, config, kafka_failure};
use super::crash::crash_point;
use super::dead_letters::DeadLetterBox;
use super::error::{RunError, RunErrorKind, StopCause};
use super::lane::wall_clock;
use super::prepare::{TargetSide, target_side};
use super::status::{JobStatus, Life, RebalanceView};
use super::step::DeliveryOptions;
use crate::job::{Begin, JobSpec, Mode, Reset};
use crate::kafka::{self, Assignor, Client, GroupConfig, GroupConsumer, GroupEvent, GroupProtocol, OffsetReset};
use crate::tunnel::encode::Compression;
use crate::tunnel::{MaxCompute, PartitionSpec, Table};
use evidence::EvidenceColumns;
use observe::Observer;
pub use resolve::{OpenBatch, Resolution, Verdict};
use work::{Ended, Work};

/// How a job without an end is run.
#[derive(Clone, Copy, Debug)]
pub struct DeliverOptions {
    /// Time that a stop leaves for what is under way.
    pub drain: Duration,
}

impl Default for DeliverOptions {
    fn default() -> Self {
        Self { drain: Duration::from_secs(30) }
    }
}

/// Rows of one commit, unless the job says.
const BATCH_ROWS: u64 = 1_000_000;
/// Age of the first record of a commit, unless the job says.
const BATCH_AGE: Duration = Duration::from_secs(60);
/// Pause between two tries to reach what is not up yet.
const CONNECT_PAUSE: Duration = Duration::from_secs(5);
/// Time between two heartbeats; a third of a session timeout that is short. What a rebalance stops, it stops for so long.
const HEARTBEAT_MAX: Duration = Duration::from_secs(3);
/// How often a group that has moved on without an event is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Why a group rebalances that this member was in already; the members before and after it say more.
const REBALANCED: &str = "the group rebalanced: a member joined or left, or the topic changed";

/// What the batches of a job have in common.
#[derive(Debug)]
struct Job {
    spec: JobSpec,
    group: String,
    client: Client,
    maxcompute: MaxCompute,
    table: Table,
    /// None where rows are routed, and for an unpartitioned table.
    partition: Option<PartitionSpec>,
    routed: bool,
    compression: Compression,
    delivery: DeliveryOptions,
    evidence: Option<EvidenceColumns>,
    dead_letters: Option<Arc<DeadLetterBox>>,
    batch_rows: u64,
    batch_bytes: Option<u64>,
    batch_age: Duration,
    /// Where it tells how it is.
    status: Arc<JobStatus>,
    /// Mean size of the records of the last batch, in bytes; 0 before it.
    record_bytes: AtomicU64,
}

impl Job {
    /// How many records make a commit: as the job says, and where it says bytes, about as many of the last batch's size. The
    /// bytes themselves are counted while they are read.
    fn rows_of_a_batch(&self) -> u64 {
        let mean = self.record_bytes.load(Ordering::Relaxed);
        let by_bytes = self.batch_bytes.filter(|_| mean > 0).map(|bytes| (bytes / mean).max(1));
        by_bytes.map_or(self.batch_rows, |rows| rows.min(self.batch_rows))
    }

    fn learn(&self, records: u64, bytes: u64) {
        if let Some(mean) = bytes.checked_div(records) {
            self.record_bytes.store(mean.max(1), Ordering::Relaxed);
        }
    }
}

/// Runs the job until `stop` says otherwise: the first signal lets what is under way come to its end within
/// [`DeliverOptions::drain`]. Brokers and MaxCompute that are not up yet are waited for.
///
/// # Errors
/// [`RunError`] for what waiting does not mend: a job that does not fit, credentials, a table that was altered. What was sealed
/// is carried on by the next run or by another member. What happens meanwhile is told to `status`.
pub async fn deliver(
    spec: &JobSpec,
    options: DeliverOptions,
    status: &Arc<JobStatus>,
    stop: watch::Receiver<Option<StopCause>>,
) -> Result<(), RunError> {
    let outcome = until_over(spec, options, status, stop).await;
    let error = outcome.as_ref().err().map(|error| error.message.clone());
    status.live(Life::Ended(error), wall_clock());
    outcome
}

async fn until_over(
    spec: &JobSpec,
    options: DeliverOptions,
    status: &Arc<JobStatus>,
    mut stop: watch::Receiver<Option<StopCause>>,
) -> Result<(), RunError> {
    admit(spec)?;
    let Some(job) = connect(spec, status, &mut stop).await? else { return Ok(()) };
    let job = Arc::new(job);
    // Dropped, it looks no more.
    let _observer = Observer::start(&job);
    let mut cause = "joined the group";
    loop {
        match member(&job, options, cause, &mut stop).await? {
            Left::ToJoinAgain => {
                cause = "joined the group again, since an offset commit got no answer";
                log::info!("group {}: joining again", job.group);
            }
            Left::ForGood => return Ok(()),
        }
    }
}

/// What a job without an end cannot be.
fn admit(spec: &JobSpec) -> Result<(), RunError> {
    if spec.writer.truncate {
        return Err(config("truncate is true: every commit would replace what the one before has written".to_owned())
            .advise("set truncate to false; forebay run replaces a table by a bounded range"));
    }
    if spec.writer.mode == Mode::Stream {
        return Err(config("mode is \"stream\", which the agent does not do yet".to_owned())
            .advise("use mode \"batch\" here, or forebay run for mode \"stream\""));
    }
    if spec.reader.partitions.is_some() {
        return Err(config("partitions are named, but the group divides them".to_owned())
            .advise("take partition out of the reader"));
    }
    Ok(())
}

/// Both ends, as soon as they are there; none when the stop comes first.
async fn connect(
    spec: &JobSpec,
    status: &Arc<JobStatus>,
    stop: &mut watch::Receiver<Option<StopCause>>,
) -> Result<Option<Job>, RunError> {
    let mut told: Option<Instant> = None;
    loop {
        if stop.borrow_and_update().is_some() {
            return Ok(None);
        }
        // Nothing has been begun, so a stop need not wait for ends that do not answer.
        let prepared = tokio::select! {
            prepared = prepare(spec, status) => prepared,
            _ = stop.wait_for(Option::is_some) => return Ok(None),
        };
        let error = match prepared {
            Ok(job) => return Ok(Some(job)),
            Err(error) if error.kind == RunErrorKind::Unavailable => error,
            Err(error) => return Err(error),
        };
        status.live(Life::Connecting(Some(error.message.clone())), wall_clock());
        if told.is_none_or(|at| at.elapsed() >= Duration::from_secs(60)) {
            log::warn!("waiting for both ends: {}", error.message);
            told = Some(Instant::now());
        }
        tokio::select! {
            () = tokio::time::sleep(CONNECT_PAUSE) => {}
            changed = stop.changed() => if changed.is_err() { tokio::time::sleep(CONNECT_PAUSE).await },
        }
    }
}

async fn prepare(spec: &JobSpec, status: &Arc<JobStatus>) -> Result<Job, RunError> {
    let (reader, writer) = (&spec.reader, &spec.writer);
    let TargetSide { maxcompute, table, partition, routed } = target_side(spec).await?;
    let client = Client::connect(client_config(spec)?).await.map_err(|error| kafka_failure(&error))?;
    let topic = client.topic(&reader.topic).await.map_err(|error| kafka_failure(&error))?;
    let cluster = client.cluster().await.map_err(|error| kafka_failure(&error))?;
    let group = reader.group.clone().unwrap_or_else(|| format!("forebay-{}", spec.name));
    log::info!("source: topic {} at {}, group {group}", reader.topic, reader.servers.join(","));
    log::info!("target: {}.{} ({})", writer.connection.project, writer.table, writer.connection.source);
    let evidence = EvidenceColumns::of(spec, &table.schema);
    let delivery = DeliveryOptions {
        evidence: evidence.is_some(),
        cluster: cluster.cluster_id.unwrap_or_default(),
        topic_id: topic.id.map(|id| format!("{id:?}")).unwrap_or_default(),
        hash: rules_hash(spec, &table),
        ..DeliveryOptions::default()
    };
    Ok(Job {
        batch_rows: spec.batch.rows.unwrap_or(BATCH_ROWS).max(1),
        batch_bytes: spec.batch.bytes,
        batch_age: spec.batch.age.unwrap_or(BATCH_AGE),
        status: Arc::clone(status),
        record_bytes: AtomicU64::new(0),
        compression: compression(spec),
        spec: spec.clone(),
        dead_letters: DeadLetterBox::of(spec, &client)?,
        group,
        client,
        maxcompute,
        table,
        partition,
        routed,
        delivery,
        evidence,
    })
}

/// Of all that makes rows a function of records (FNV-1a): if it differs, what was sealed before is not written again.
fn rules_hash(spec: &JobSpec, table: &Table) -> u64 {
    struct Fnv(u64);
    impl std::hash::Hasher for Fnv {
        fn finish(&self) -> u64 {
            self.0
        }
        fn write(&mut self, bytes: &[u8]) {
            for byte in bytes {
                self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
    }
    let (reader, writer) = (&spec.reader, &spec.writer);
    let rules = format!(
        "{:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
        reader.topic,
        reader.columns,
        reader.key_type,
        reader.value_type,
        reader.encoding,
        reader.header_encoding,
        reader.data_format,
        writer.table,
        writer.columns,
        writer.partition,
        writer.empty_as_null,
        spec.settings.time_zone,
        table.schema,
    );
    let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
    hash.write(rules.as_bytes());
    hash.finish()
}

/// Why a membership has ended.
enum Left {
    ToJoinAgain,
    ForGood,
}

/// One membership, from joining to leaving.
async fn member(
    job: &Arc<Job>,
    options: DeliverOptions,
    mut cause: &'static str,
    stop: &mut watch::Receiver<Option<StopCause>>,
) -> Result<Left, RunError> {
    job.status.live(Life::Joining, wall_clock());
    let config = group_config(job)?;
    // Its epochs are less than generations: see `Work::settle`.
    let has_epochs = matches!(config.protocol, GroupProtocol::Consumer { .. });
    let mut group = GroupConsumer::new(&job.client, config).map_err(|error| kafka_failure(&error))?;
    let topic = job.spec.reader.topic.as_str();
    group.subscribe([topic]);
    let committer = group.committer();
    let mut work: Option<Work> = None;
    let mut fenced = None;
    let mut deadline = None;
    loop {
        if stop.borrow_and_update().is_some() && deadline.is_none() {
            log::info!("stopping: what is under way has {} s", options.drain.as_secs());
            deadline = Some(Instant::now() + options.drain);
            job.status.live(Life::Draining, wall_clock());
        }
        if let Some(at) = deadline {
            let quiet = work.as_mut().is_none_or(|work| {
                work.drain();
                work.is_quiet()
            });
            if quiet || at <= Instant::now() {
                if !quiet {
                    log::warn!("what is under way did not end in time; the next run carries on what was sealed");
                }
                drop(work);
                leave(group).await;
                return Ok(Left::ForGood);
            }
        }
        if let Some(now) = &mut work {
            match now.drive()? {
                None => {}
                Some(Ended::Fenced) => {
                    fenced = Some(now.generation().number);
                    if !over(&mut work, has_epochs).await {
                        return leave_for_certainty(job, group).await;
                    }
                }
                Some(Ended::Ambiguous) => {
                    drop(work);
                    return leave_for_certainty(job, group).await;
                }
            }
        }
        // The new protocol moves its epoch on without an event.
        if work.is_none()
            && deadline.is_none()
            && let Some(old) = fenced
            && let Some(generation) = committer.generation()
            && generation.number != old
            && !group.owned().is_empty()
        {
            fenced = None;
            work = Some(Work::new(job, &committer, generation, owned(&group)));
            continue;
        }
        let wake = Instant::now() + LOOK_EVERY;
        tokio::select! {
            event = group.next() => match event {
                Ok(GroupEvent::Records { .. }) => {}
                Ok(GroupEvent::Assigned { generation, partitions }) => {
                    let new: Vec<i32> = partitions.iter().map(|found| found.partition).collect();
                    // Reading is the batches' own business.
                    group.pause(topic, &new);
                    crash_point("joined");
                    let all = owned(&group);
                    log::info!("group {}: generation {}, partitions {all:?}", job.group, generation.number);
                    if deadline.is_none() {
                        job.status.live(Life::Running, wall_clock());
                    }
                    job.status.rebalanced(RebalanceView {
                        at_ms: wall_clock(),
                        cause: std::mem::replace(&mut cause, REBALANCED).to_owned(),
                        generation: generation.number,
                        is_leader: group.is_leader(),
                        partitions: all.clone(),
                    });
                    job.status.assign(&all, wall_clock());
                    fenced = None;
                    if !over(&mut work, has_epochs).await {
                        return leave_for_certainty(job, group).await;
                    }
                    if deadline.is_none() {
                        work = Some(Work::new(job, &committer, generation, all));
                    }
                }
                Ok(event @ (GroupEvent::Revoked { .. } | GroupEvent::Lost { .. })) => {
                    if let GroupEvent::Lost { .. } = event {
                        cause = "the coordinator had given this member up: no heartbeat reached it in time";
                        job.status.fail("group", "lost", cause, wall_clock());
                    }
                    let (GroupEvent::Revoked { partitions, .. } | GroupEvent::Lost { partitions }) = event else {
                        continue;
                    };
                    let gone: Vec<i32> = partitions.iter().map(|gone| gone.partition).collect();
                    log::info!("group {}: gives up partitions {gone:?}", job.group);
                    if !over(&mut work, has_epochs).await {
                        return leave_for_certainty(job, group).await;
                    }
                }
                Err(error) => membership_failure(job, &error).await?,
            },
            () = Work::progress(&mut work) => {}
            () = tokio::time::sleep_until(wake.into()) => {}
            changed = stop.changed() => if changed.is_err() { tokio::time::sleep(LOOK_EVERY).await },
        }
    }
}

/// Ends the work of a generation, if there is any; false when an offset commit of it may still come late.
async fn over(work: &mut Option<Work>, has_epochs: bool) -> bool {
    match work.take() {
        Some(work) if has_epochs => work.settle().await,
        _ => true,
    }
}

/// After this no commit of the member is taken any more, however late it comes.
async fn leave_for_certainty(job: &Job, group: GroupConsumer) -> Result<Left, RunError> {
    log::warn!("group {}: an offset commit got no answer; leaving, so that it cannot come late", job.group);
    leave(group).await;
    Ok(Left::ToJoinAgain)
}

fn owned(group: &GroupConsumer) -> Vec<i32> {
    group.owned().into_iter().map(|owned| owned.partition).collect()
}

async fn leave(group: GroupConsumer) {
    if let Err(error) = group.close().await {
        log::warn!("leaving the group: {error}");
    }
}

/// What a member's own trouble means. That a position does not exist is found by the batch that needs it.
async fn membership_failure(job: &Job, error: &kafka::Error) -> Result<(), RunError> {
    use kafka::ErrorKind::{Auth, Config, OffsetOutOfRange, Unsupported};
    match error.kind() {
        OffsetOutOfRange { .. } => {}
        Auth | Config | Unsupported => return Err(kafka_failure(error)),
        _ if error.is_fenced() => return Err(kafka_failure(error)),
        _ => {
            log::warn!("group {}: {error}", job.group);
            job.status.fail("group", "unavailable", &error.to_string(), wall_clock());
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
    Ok(())
}

fn group_config(job: &Job) -> Result<GroupConfig, RunError> {
    let mut group = GroupConfig {
        auto_commit: None,
        reset: OffsetReset::Never,
        protocol: GroupProtocol::Classic { assignors: vec![Assignor::CooperativeSticky] },
        session_timeout: job.spec.reader.session_timeout,
        heartbeat_interval: (job.spec.reader.session_timeout / 3).min(HEARTBEAT_MAX),
        ..GroupConfig::new(job.group.as_str())
    };
    for (name, value) in &job.spec.reader.properties {
        // What a member never does by itself stays as it is.
        if !["group.id", "enable.auto.commit", "auto.offset.reset"].contains(&name.as_str()) {
            group.set_property(name, value).map_err(|error| kafka_failure(&error))?;
        }
    }
    group.fetch = super::connect::consumer_config(&job.spec, &budget(&job.spec, 1));
    Ok(group)
}

/// Where partitions without a committed offset begin, as far as the job says.
async fn initial(job: &Job, partitions: &[i32]) -> Result<BTreeMap<i32, i64>, kafka::Error> {
    let reader = &job.spec.reader;
    let at = match reader.begin {
        Begin::Offset(offset) => return Ok(partitions.iter().map(|partition| (*partition, offset)).collect()),
        Begin::LogStart => kafka::OffsetAt::Earliest,
        Begin::LogEnd => kafka::OffsetAt::Latest,
        Begin::Time(time) => kafka::OffsetAt::Time(time),
        Begin::Group => match reader.auto_offset_reset {
            Some(Reset::Earliest) => kafka::OffsetAt::Earliest,
            Some(Reset::Latest) => kafka::OffsetAt::Latest,
            Some(Reset::None) | None => return Ok(BTreeMap::new()),
        },
    };
    let list = async |at| {
        let wanted: Vec<_> = partitions.iter().map(|partition| (*partition, at)).collect();
        job.client.list_offsets(&reader.topic, &wanted, super::connect::isolation(&job.spec)).await
    };
    let found = list(at).await?;
    let mut initial: BTreeMap<i32, i64> =
        found.iter().filter_map(|(partition, listed)| Some((*partition, listed.offset?))).collect();
    // A time after the last record: the end.
    if initial.len() < partitions.len() {
        for (partition, listed) in &list(kafka::OffsetAt::Latest).await? {
            if let Some(offset) = listed.offset {
                initial.entry(*partition).or_insert(offset);
            }
        }
    }
    Ok(initial)
}
