//! The upload sessions of a run: one for all rows, or one for each partition that rows are routed to, made when the first
//! block of it is sent.
//!
//! A session is committed once, at the end, so all of them stay open until then; how many there may be is bounded by the job
//! (`dynamicPartitionsMax`). How many blocks are on their way at once is bounded over all of them ([`Flow`]).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OnceCell};

use super::error::{RunError, RunErrorKind};
use super::flow::Flow;
use super::run::tunnel_failure;
use super::status::JobStatus;
use crate::limits::BLOCKS_PER_SESSION_MAX;
use crate::tunnel::{self, MaxCompute, PartitionSpec, TableSchema, Upload, UploadOptions};

/// How long a session may be used ("Tunnel SDK", limits).
pub(super) const SESSION_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// Where rows of one partition, or of an unpartitioned table, go.
#[derive(Debug)]
pub(super) struct Target {
    /// As [`super::convert::Converter::convert_into`] names it; empty where rows are not routed.
    pub(super) key: String,
    partition: Option<PartitionSpec>,
    upload: OnceCell<(Upload, Instant)>,
    next_block: AtomicU32,
}

impl Target {
    /// The session, once it is there.
    pub(super) fn upload(&self) -> Option<&Upload> {
        self.upload.get().map(|(upload, _)| upload)
    }

    /// The next block's id.
    pub(super) fn block_id(&self) -> Result<u32, RunError> {
        let id = self.next_block.fetch_add(1, Ordering::Relaxed);
        if id < BLOCKS_PER_SESSION_MAX {
            return Ok(id);
        }
        let of = if self.key.is_empty() { String::new() } else { format!(" for partition {}", self.key) };
        let message =
            format!("the job needs more than {BLOCKS_PER_SESSION_MAX} blocks{of}, the most one upload session has");
        Err(RunError::new(RunErrorKind::Failed, message).advise("raise blockSizeInMB, or split the range"))
    }
}

/// All sessions of a run.
#[derive(Debug)]
pub(super) struct Sessions {
    pub(super) maxcompute: MaxCompute,
    pub(super) table: String,
    pub(super) options: UploadOptions,
    /// What the rows are encoded for; a session must have the same columns.
    pub(super) schema: TableSchema,
    pub(super) field_bytes_max: usize,
    pub(super) targets_max: usize,
    targets: Mutex<BTreeMap<String, Arc<Target>>>,
    flow: Mutex<Flow>,
    freed: Notify,
    /// Where a continuous job tells how it is.
    status: Option<Arc<JobStatus>>,
}

/// The right to have one block on its way; given back when dropped.
#[derive(Debug)]
pub(super) struct Permit(Arc<Sessions>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.flow().handle_released();
        self.0.freed.notify_one();
    }
}

impl Sessions {
    pub(super) fn new(
        maxcompute: MaxCompute,
        table: &str,
        options: UploadOptions,
        schema: TableSchema,
        field_bytes_max: usize,
        (targets_max, requests_max): (usize, u32),
    ) -> Self {
        Self {
            maxcompute,
            table: table.to_owned(),
            options,
            schema,
            field_bytes_max,
            targets_max,
            targets: Mutex::default(),
            flow: Mutex::new(Flow::new(requests_max)),
            freed: Notify::new(),
            status: None,
        }
    }

    /// The same, telling `status` of each session that is opened.
    pub(super) fn told_to(mut self, status: &Arc<JobStatus>) -> Self {
        self.status = Some(Arc::clone(status));
        self
    }

    fn tell(&self, upload: &Upload, target: &str) {
        if let Some(status) = &self.status {
            status.session(upload.id(), target, jiff::Timestamp::now().as_millisecond());
        }
    }

    /// A target that has its session already.
    pub(super) fn adopt(&self, partition: Option<PartitionSpec>, upload: Upload) {
        self.tell(&upload, &partition.as_ref().map(ToString::to_string).unwrap_or_default());
        let target = Target {
            key: String::new(),
            partition,
            upload: OnceCell::new_with(Some((upload, Instant::now()))),
            next_block: AtomicU32::new(0),
        };
        self.targets().insert(String::new(), Arc::new(target));
    }

    fn targets(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Target>>> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn flow(&self) -> MutexGuard<'_, Flow> {
        self.flow.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The target called `key`, a new one if there is none yet.
    pub(super) fn target(&self, key: &str) -> Result<Arc<Target>, RunError> {
        let mut targets = self.targets();
        if let Some(target) = targets.get(key) {
            return Ok(Arc::clone(target));
        }
        if targets.len() >= self.targets_max {
            let message = format!(
                "the rows belong to more than {} partitions of table {} (the next one is {key})",
                self.targets_max, self.table
            );
            return Err(RunError::new(RunErrorKind::Failed, message)
                .advise("check what the partition is made of; raise dynamicPartitionsMax, or read a smaller range"));
        }
        let partition = PartitionSpec::parse(key)
            .map_err(|error| RunError::new(RunErrorKind::Bug, format!("partition \"{key}\": {error}")))?;
        let target = Arc::new(Target {
            key: key.to_owned(),
            partition: Some(partition),
            upload: OnceCell::new(),
            next_block: AtomicU32::new(0),
        });
        targets.insert(key.to_owned(), Arc::clone(&target));
        Ok(target)
    }

    /// The targets that have a session, by key.
    pub(super) fn opened(&self) -> Vec<Arc<Target>> {
        self.targets().values().filter(|target| target.upload.initialized()).cloned().collect()
    }

    /// When the oldest session is over.
    pub(super) fn over_at(&self) -> Option<Instant> {
        let created = |target: &Arc<Target>| target.upload.get().map(|(_, created)| *created);
        self.targets().values().filter_map(created).min().map(|created| created + SESSION_LIFE)
    }

    /// The target's session, created now if this is its first block.
    pub(super) async fn upload(&self, target: &Target) -> Result<Upload, RunError> {
        let create = async || {
            let partition = target.partition.as_ref();
            let upload = self.maxcompute.create_upload(&self.table, partition, self.options).await;
            let upload = upload.map_err(|error| self.creation_failure(target, &error))?;
            if upload.schema().columns != self.schema.columns {
                let message = format!("table {} was altered while the job ran", self.table);
                return Err(RunError::new(RunErrorKind::Failed, message).advise("run the job again"));
            }
            if upload.field_bytes_max() < self.field_bytes_max {
                let bytes = upload.field_bytes_max();
                let message = format!("the service takes fields of at most {bytes} bytes for partition {}", target.key);
                let advice = format!("set maxOdpsFieldLength to {bytes}");
                return Err(RunError::new(RunErrorKind::Config, message).advise(&advice));
            }
            log::info!("upload session {} created for partition {}", upload.id(), target.key);
            self.tell(&upload, &target.key);
            Ok((upload, Instant::now()))
        };
        target.upload.get_or_try_init(create).await.map(|(upload, _)| upload.clone())
    }

    pub(super) fn creation_failure(&self, target: &Target, error: &tunnel::Error) -> RunError {
        let of = if target.key.is_empty() { String::new() } else { format!(" partition {}", target.key) };
        overwrite_advice(&format!("{}{of}", self.table), error)
    }

    /// A slot if one is free at this moment.
    pub(super) fn try_permit(self: &Arc<Self>) -> Option<Permit> {
        self.flow().try_take().then(|| Permit(Arc::clone(self)))
    }

    /// A slot, once one is free.
    pub(super) async fn permit(self: &Arc<Self>) -> Permit {
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            // Registered before the look, so that a slot freed in between is not missed.
            freed.as_mut().enable();
            if let Some(permit) = self.try_permit() {
                return permit;
            }
            freed.await;
        }
    }

    /// A block was refused for want of slots.
    pub(super) fn handle_throttled(&self) {
        let fell = self.flow().handle_throttled(Instant::now());
        if let Some(limit) = fell {
            log::warn!("the service asks for fewer requests: at most {limit} blocks at once from now on");
        }
    }

    /// A block arrived.
    pub(super) fn handle_success(&self) {
        let rose = self.flow().handle_success();
        if let Some(limit) = rose {
            log::info!("up to {limit} blocks at once again");
            self.freed.notify_one();
        }
    }
}

/// A session that could not be created.
pub(super) fn overwrite_advice(what: &str, error: &tunnel::Error) -> RunError {
    match error.kind() {
        tunnel::ErrorKind::OverwriteNotAllowed => RunError::new(RunErrorKind::Config, format!("{what}: {error}"))
            .advise("the table does not allow INSERT OVERWRITE; set truncate to false and empty it by preSql"),
        _ => tunnel_failure(error),
    }
}
