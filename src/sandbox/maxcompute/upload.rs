//! Batch upload sessions: create, blocks, status, commit.
//!
//! A block exists once its whole body was read and every checksum in it was right; before that there is nothing to see. A
//! session's blocks become rows of the table in one step, which also records the session in the table, so that "committed"
//! and "visible" cannot differ, not even after a crash.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::answer::Refusal;
use super::request::TablePath;
use super::schema_json;
use super::service::Switches;
use super::store::rows::{RowFault, Types, VerifyError, verify};
use super::store::segment::Segment;
use super::store::table::{ColumnEntry, Table, columns_in, columns_out};
use super::store::{Addition, StoreError, TableKey, Tables};
use crate::limits::{BLOCKS_PER_SESSION_MAX, FIELD_BYTES_MAX};
use crate::sandbox::clock::SandboxClock;
use crate::tunnel::{PartitionError, PartitionSpec, TableSchema};

/// What a client asks for when it creates a session.
#[derive(Clone, Debug)]
pub(super) struct UploadWanted {
    pub(super) at: TablePath,
    pub(super) partition: Option<String>,
    pub(super) overwrite: bool,
    pub(super) create_partition: bool,
}

/// One upload session.
#[derive(Debug)]
pub(super) struct Upload {
    id: String,
    key: TableKey,
    table_id: String,
    partition: Option<PartitionSpec>,
    overwrite: bool,
    schema: TableSchema,
    types: Types,
    created_ms: i64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    phase: Phase,
    /// Status polls after the commit that do not see it.
    stale_polls: u32,
    blocks: BTreeMap<u32, Block>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Open,
    /// Committed, but the status still says `CLOSING` for so many polls.
    Closing(u32),
    Closed,
    /// Expired by order, before its time.
    Expired,
    /// Broken by order.
    Critical,
}

#[derive(Debug)]
struct Block {
    name: String,
    rows: u64,
    created_ms: i64,
    version: i64,
    /// Let go at the commit: from then on the table decides how long the rows are kept.
    segment: Option<Arc<Segment>>,
}

impl Block {
    fn new(segment: Arc<Segment>, created_ms: i64, version: i64) -> Self {
        Self { name: segment.name.clone(), rows: segment.rows, created_ms, version, segment: Some(segment) }
    }

    fn discard(&self) {
        if let Some(segment) = &self.segment {
            segment.discard();
        }
    }
}

/// All upload sessions.
#[derive(Debug)]
pub(super) struct Uploads {
    tables: Arc<Tables>,
    clock: SandboxClock,
    owner: String,
    folder: Option<PathBuf>,
    sessions: Mutex<BTreeMap<String, Arc<Upload>>>,
}

/// What the service may do in two ways when a session that is closed is committed again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RepeatedCommit {
    /// 200 and the closed session.
    #[default]
    Ok,
    /// 409 `StatusConflict`.
    StatusConflict,
}

/// What the service may do in two ways with a block whose body is cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CutBlock {
    /// Nothing of it is kept.
    #[default]
    Refused,
    /// The whole rows that came are the block.
    Accepted,
}

/// What the service may do in two ways when a session without blocks is committed with `overwrite`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmptyOverwrite {
    /// The target is emptied.
    #[default]
    Empties,
    /// Success without an effect.
    Keeps,
    /// 400 `InvalidArgument`.
    Refused,
}

/// Whether the status of a session that is over can still be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndedSession {
    /// For as long as any session's.
    #[default]
    Shown,
    /// 404 `NoSuchUpload`.
    Forgotten,
}

impl Uploads {
    /// Sessions in memory, or those of the data folder, and removes what belongs to nobody from it.
    pub(super) fn open(tables: Arc<Tables>, clock: SandboxClock, owner: &str) -> io::Result<Self> {
        let folder = tables.folder().map(|folder| folder.join("uploads"));
        let mut sessions = BTreeMap::new();
        let mut in_use = BTreeSet::new();
        if let Some(folder) = &folder {
            fs::create_dir_all(folder)?;
            for entry in fs::read_dir(folder)? {
                let path = entry?.path();
                match read_session(&path, &tables, clock.now_ms())? {
                    Some(upload) => {
                        if let Some(blocks) = tables.folder_of(&upload.table_id) {
                            in_use.extend(upload.lock().blocks.values().map(|block| blocks.join(&block.name)));
                        }
                        sessions.insert(upload.id.clone(), Arc::new(upload));
                    }
                    None => fs::remove_file(&path)?,
                }
            }
        }
        tables.remove_strays(&in_use)?;
        Ok(Self { tables, clock, owner: owner.to_owned(), folder, sessions: Mutex::new(sessions) })
    }

    /// Creates a session.
    pub(super) fn create(&self, wanted: &UploadWanted) -> Result<Json, Refusal> {
        let key = (wanted.at.schema.clone(), wanted.at.table.clone());
        let table = self.tables.table(&key).ok_or_else(|| no_such_table(&wanted.at))?;
        let partition = partition_of(&table, wanted.partition.as_deref())?;
        if let Some(spec) = &partition
            && !table.partitions.contains_key(&Table::key_of(Some(spec)))
        {
            if !wanted.create_partition {
                return Err(no_such_partition(spec));
            }
            self.tables.add_partition(&key, spec, true).map_err(|error| refuse_store(error, "create the partition"))?;
        }
        let now_ms = self.clock.now_ms();
        let upload = Upload {
            id: session_id(now_ms),
            key,
            table_id: table.id.clone(),
            partition,
            overwrite: wanted.overwrite,
            schema: TableSchema::clone(&table.schema),
            types: table.types(),
            created_ms: now_ms,
            state: Mutex::default(),
        };
        if let Some(folder) = &self.folder {
            self.tables
                .replace_file(&folder.join(format!("{}.json", upload.id)), &upload.to_file())
                .map_err(|error| Refusal::store("write the session", &error))?;
        }
        let upload = Arc::new(upload);
        let mut sessions = self.lock();
        let folder = self.folder.clone();
        sessions.retain(|id, old| {
            let keep = now_ms.saturating_sub(old.created_ms) < FORGOTTEN_MS;
            if !keep {
                old.discard_blocks();
                if let Some(folder) = &folder {
                    // A file that stays is read and removed at the next start.
                    let _ = fs::remove_file(folder.join(format!("{id}.json")));
                }
            }
            keep
        });
        sessions.insert(upload.id.clone(), Arc::clone(&upload));
        drop(sessions);
        Ok(self.describe(&upload, Phase::Open, true))
    }

    /// The session's status, with or without its blocks.
    pub(super) fn status(&self, id: &str, with_blocks: bool, switches: &Switches) -> Result<Json, Refusal> {
        let upload = self.find(id)?;
        let shown = {
            let mut state = upload.lock();
            let mut shown = self.phase(&upload, &state);
            let gone = match shown {
                Phase::Closed => state.stale_polls == 0 && switches.closed_sessions == EndedSession::Forgotten,
                Phase::Expired => switches.expired_sessions == EndedSession::Forgotten,
                _ => false,
            };
            if gone {
                return Err(no_such_upload(id));
            }
            if state.stale_polls > 0 {
                // The read does not see the commit yet.
                state.stale_polls -= 1;
                shown = Phase::Open;
            } else if let Phase::Closing(polls) = state.phase {
                state.phase = if polls > 1 { Phase::Closing(polls - 1) } else { Phase::Closed };
            }
            shown
        };
        Ok(self.describe(&upload, shown, with_blocks))
    }

    /// Where to put a block: the session, if it takes blocks.
    pub(super) fn begin_block(
        &self,
        id: &str,
        block_id: Option<&str>,
        partition: Option<&str>,
    ) -> Result<(Arc<Upload>, u32), Refusal> {
        let upload = self.find(id)?;
        let block_id = block_id
            .and_then(|text| text.trim().parse::<u32>().ok())
            .filter(|block_id| *block_id < BLOCKS_PER_SESSION_MAX)
            .ok_or_else(|| {
                let shown = block_id.unwrap_or_default();
                Refusal::new(
                    400,
                    "InvalidBlockID",
                    format!(
                        "The specified block id is invalid: '{shown}', 0 to {} are valid",
                        BLOCKS_PER_SESSION_MAX - 1
                    ),
                )
            })?;
        upload.check_partition(partition)?;
        self.check_open(&upload, &upload.lock())?;
        Ok((upload, block_id))
    }

    /// Reads one block to its end and adds it to the session. Blocking: for a thread that may wait.
    pub(super) fn put_block(
        &self,
        upload: &Upload,
        block_id: u32,
        version: i64,
        source: &mut dyn io::Read,
        cut: CutBlock,
    ) -> Result<u64, Refusal> {
        let now_ms = self.clock.now_ms();
        let number = self.tables.next_number();
        let unique = format!("{}.{block_id}.{now_ms}.{number}", upload.id);
        let store = |error: io::Error| Refusal::store("write the block", &error);
        let mut writer = self.tables.writer(&upload.table_id, &unique).map_err(store)?;
        let mut kept = 0_u64;
        let verified = verify(source, &upload.types, FIELD_BYTES_MAX, &mut |rows| {
            kept = kept.saturating_add(1);
            writer.write(rows)
        });
        let rows = match (verified, cut) {
            (Ok(rows), _) => rows,
            (Err(VerifyError::Row(RowFault::Read(_) | RowFault::Truncated)), CutBlock::Accepted) => kept,
            (Err(error), _) => return Err(refuse_verify(error, "write the block")),
        };
        let segment = writer.finish(&format!("{unique}.{rows}.rows"), rows).map_err(store)?;
        let mut state = upload.lock();
        if let Err(refusal) = self.check_open(upload, &state) {
            segment.discard();
            return Err(refusal);
        }
        if state.blocks.get(&block_id).is_some_and(|old| old.version > version) {
            // The larger version wins, so this one has no effect.
            segment.discard();
            return Ok(rows);
        }
        if let Some(old) = state.blocks.insert(block_id, Block::new(segment, now_ms, version)) {
            old.discard();
        }
        Ok(rows)
    }

    /// Makes the session's blocks rows of the table, all of them or none.
    pub(super) fn commit(&self, id: &str, switches: &Switches) -> Result<Json, Refusal> {
        let upload = self.find(id)?;
        let shown = {
            let mut state = upload.lock();
            let phase = self.phase(&upload, &state);
            match (phase, switches.repeated_commit) {
                (Phase::Open, _) => {}
                (Phase::Closed, _) if switches.closed_sessions == EndedSession::Forgotten => {
                    return Err(no_such_upload(id));
                }
                (Phase::Expired, _) if switches.expired_sessions == EndedSession::Forgotten => {
                    return Err(no_such_upload(id));
                }
                (Phase::Closed | Phase::Closing(_), RepeatedCommit::Ok) => {
                    drop(state);
                    return Ok(self.describe(&upload, phase, true));
                }
                _ => return Err(conflict(phase)),
            }
            let partition = Table::key_of(upload.partition.as_ref());
            let segments = state.blocks.values().filter_map(|block| block.segment.clone()).collect();
            let table = self
                .tables
                .by_id(&upload.table_id)
                .filter(|table| table.schema_name == upload.key.0 && table.name == upload.key.1);
            let table = table.ok_or_else(|| {
                Refusal::new(
                    404,
                    "NoSuchTable",
                    format!("The table '{}' of the session does not exist any more", upload.key.1),
                )
            })?;
            if table.schema.columns != upload.schema.columns {
                return Err(Refusal::new(
                    400,
                    "TableModified",
                    "The specified table has been modified since the session began",
                ));
            }
            let is_empty = upload.overwrite && state.blocks.is_empty();
            if is_empty && switches.empty_overwrite == EmptyOverwrite::Refused {
                return Err(Refusal::new(400, "InvalidArgument", "The session holds no block"));
            }
            let overwrite = upload.overwrite && !(is_empty && switches.empty_overwrite == EmptyOverwrite::Keeps);
            let addition = Addition { partition, segments };
            self.tables
                .commit(&upload.key, vec![addition], overwrite, false, Some(&upload.id))
                .map_err(|error| refuse_store(error, "commit the session"))?;
            state.blocks.values_mut().for_each(|block| block.segment = None);
            state.stale_polls = switches.stale_polls;
            state.phase = match switches.closing_polls {
                0 => Phase::Closed,
                polls => Phase::Closing(polls),
            };
            state.phase
        };
        Ok(self.describe(&upload, shown, true))
    }

    /// Makes a session expire at once. False when there is no such session.
    pub(super) fn expire(&self, id: &str) -> bool {
        let Some(upload) = self.lock().get(id).map(Arc::clone) else { return false };
        upload.lock().phase = Phase::Expired;
        upload.discard_blocks();
        true
    }

    /// Makes a session's status CRITICAL, whatever it was; rows that are committed stay. False when there is no such session.
    pub(super) fn break_session(&self, id: &str) -> bool {
        let Some(upload) = self.lock().get(id).map(Arc::clone) else { return false };
        upload.lock().phase = Phase::Critical;
        true
    }

    /// Forgets a session as if it had never been. False when there is no such session.
    pub(super) fn forget(&self, id: &str) -> bool {
        let Some(upload) = self.lock().remove(id) else { return false };
        if upload.lock().phase == Phase::Open {
            upload.discard_blocks();
        }
        if let Some(folder) = &self.folder {
            let _ = fs::remove_file(folder.join(format!("{id}.json")));
        }
        true
    }

    /// The ids of all sessions with their statuses, oldest first.
    pub(super) fn list(&self) -> Vec<(String, &'static str)> {
        let sessions: Vec<Arc<Upload>> = self.lock().values().map(Arc::clone).collect();
        sessions.iter().map(|upload| (upload.id.clone(), status_name(self.phase(upload, &upload.lock())))).collect()
    }

    fn find(&self, id: &str) -> Result<Arc<Upload>, Refusal> {
        self.lock()
            .get(id)
            .filter(|upload| self.clock.now_ms().saturating_sub(upload.created_ms) < FORGOTTEN_MS)
            .map(Arc::clone)
            .ok_or_else(|| no_such_upload(id))
    }

    fn phase(&self, upload: &Upload, state: &State) -> Phase {
        let age_ms = self.clock.now_ms().saturating_sub(upload.created_ms);
        match state.phase {
            Phase::Open if age_ms >= EXPIRY_MS => Phase::Expired,
            phase => phase,
        }
    }

    fn check_open(&self, upload: &Upload, state: &State) -> Result<(), Refusal> {
        match self.phase(upload, state) {
            Phase::Open => Ok(()),
            phase => Err(conflict(phase)),
        }
    }

    fn describe(&self, upload: &Upload, phase: Phase, with_blocks: bool) -> Json {
        let mut blocks = Vec::new();
        if with_blocks {
            let state = upload.lock();
            blocks.extend(state.blocks.iter().map(|(id, block)| {
                json!({
                    "BlockID": id,
                    "CreateTime": block.created_ms,
                    "Date": http_date(block.created_ms),
                    "FileName": block.name,
                    "RecordCount": block.rows,
                    "Version": block.version,
                })
            }));
        }
        json!({
            "UploadID": upload.id,
            "Status": status_name(phase),
            "Schema": schema_json(&upload.schema),
            "MaxFieldSize": FIELD_BYTES_MAX,
            "UploadedBlockList": blocks,
            "QuotaName": "default",
            "Owner": self.owner,
            "Initiated": http_date(upload.created_ms),
            "IsOverwrite": upload.overwrite,
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Upload>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Upload {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn discard_blocks(&self) {
        let mut state = self.lock();
        for block in std::mem::take(&mut state.blocks).into_values() {
            block.discard();
        }
    }

    /// A partition that comes with a later request of the session must be the session's.
    fn check_partition(&self, text: Option<&str>) -> Result<(), Refusal> {
        let Some(text) = text else { return Ok(()) };
        let same = PartitionSpec::parse(text)
            .and_then(|spec| spec.order_by(&self.schema))
            .is_ok_and(|spec| Some(&spec) == self.partition.as_ref());
        if same {
            return Ok(());
        }
        Err(Refusal::new(
            400,
            "InvalidResourceSpec",
            "The request contains a resource specification that differs from the one the session was created with",
        ))
    }

    fn to_file(&self) -> Vec<u8> {
        let file = SessionFile {
            id: self.id.clone(),
            schema_name: self.key.0.clone(),
            table_name: self.key.1.clone(),
            table_id: self.table_id.clone(),
            partition: self.partition.as_ref().map(ToString::to_string),
            overwrite: self.overwrite,
            columns: columns_out(&self.schema.columns),
            partition_keys: columns_out(&self.schema.partition_keys),
            created_ms: self.created_ms,
        };
        // Texts, numbers and lists of them: this cannot fail.
        serde_json::to_vec(&file).unwrap_or_default()
    }
}

/// A session as the data folder keeps it. Its blocks are found by their file names.
#[derive(Serialize, Deserialize)]
struct SessionFile {
    id: String,
    schema_name: String,
    table_name: String,
    table_id: String,
    partition: Option<String>,
    overwrite: bool,
    columns: Vec<ColumnEntry>,
    partition_keys: Vec<ColumnEntry>,
    created_ms: i64,
}

/// The session of a file; `None` when it is damaged, too old, or its table is gone.
fn read_session(path: &std::path::Path, tables: &Tables, now_ms: i64) -> io::Result<Option<Upload>> {
    let Ok(file) = serde_json::from_slice::<SessionFile>(&fs::read(path)?) else { return Ok(None) };
    let (Ok(columns), Ok(partition_keys)) = (columns_in(file.columns), columns_in(file.partition_keys)) else {
        return Ok(None);
    };
    let table = tables.by_id(&file.table_id);
    let Some(table) = table.filter(|_| now_ms.saturating_sub(file.created_ms) < FORGOTTEN_MS) else { return Ok(None) };
    let mut state = State::default();
    if table.committed.contains_key(&file.id) {
        state.phase = Phase::Closed;
    } else if let Some(folder) = tables.folder_of(&table.id) {
        let mut latest: BTreeMap<u32, (i64, u64)> = BTreeMap::new();
        for entry in fs::read_dir(&folder)? {
            let name = entry?.file_name();
            let Some((block_id, created_ms, number, rows)) = name.to_str().and_then(|name| block_of(name, &file.id))
            else {
                continue;
            };
            if latest.get(&block_id).is_some_and(|seen| *seen > (created_ms, number)) {
                continue;
            }
            latest.insert(block_id, (created_ms, number));
            let segment = Segment::of_file(&folder, &name.to_string_lossy(), rows)?;
            state.blocks.insert(block_id, Block::new(Arc::new(segment), created_ms, 0));
        }
    }
    let types = columns.iter().map(|column| column.type_.clone()).collect();
    Ok(Some(Upload {
        id: file.id,
        key: (file.schema_name, file.table_name),
        table_id: file.table_id,
        partition: file.partition.and_then(|text| PartitionSpec::parse(&text).ok()),
        overwrite: file.overwrite,
        schema: TableSchema { columns, partition_keys },
        types,
        created_ms: file.created_ms,
        state: Mutex::new(state),
    }))
}

/// Block id, time, number and rows of a block's file name `{session}.{block}.{ms}.{number}.{rows}.rows`.
fn block_of(name: &str, session: &str) -> Option<(u32, i64, u64, u64)> {
    let rest = name.strip_prefix(session)?.strip_prefix('.')?.strip_suffix(".rows")?;
    let mut parts = rest.split('.');
    let found = (
        parts.next()?.parse().ok()?,
        parts.next()?.parse().ok()?,
        parts.next()?.parse().ok()?,
        parts.next()?.parse().ok()?,
    );
    parts.next().is_none().then_some(found)
}

/// The partition that a request names, in the table's order.
pub(super) fn partition_of(table: &Table, text: Option<&str>) -> Result<Option<PartitionSpec>, Refusal> {
    let invalid = |error: &PartitionError| {
        Refusal::new(400, "InvalidPartitionSpec", format!("The specified partition is invalid: {error}"))
    };
    match text.filter(|text| !text.trim().is_empty()) {
        None if table.schema.is_partitioned() => {
            Err(Refusal::new(400, "MissingPartitionSpec", "You must specify a partition for a partitioned table"))
        }
        None => Ok(None),
        Some(text) => {
            let spec = PartitionSpec::parse(text).and_then(|spec| spec.order_by(&table.schema));
            spec.map(Some).map_err(|error| invalid(&error))
        }
    }
}

fn no_such_upload(id: &str) -> Refusal {
    Refusal::new(404, "NoSuchUpload", format!("The specified upload id does not exist: {id}"))
}

pub(super) fn no_such_table(at: &TablePath) -> Refusal {
    Refusal::new(404, "NoSuchTable", format!("The specified table does not exist: {}.{}", at.project, at.table))
}

pub(super) fn no_such_partition(spec: &PartitionSpec) -> Refusal {
    Refusal::new(404, "NoSuchPartition", format!("The specified partition does not exist: {spec}"))
}

pub(super) fn refuse_store(error: StoreError, doing: &str) -> Refusal {
    match error {
        StoreError::NoSuchTable => {
            Refusal::new(404, "NoSuchTable", format!("cannot {doing}: the table does not exist"))
        }
        StoreError::NoSuchPartition(spec) => {
            Refusal::new(404, "NoSuchPartition", format!("The specified partition does not exist: {spec}"))
        }
        StoreError::TableExists | StoreError::PartitionExists(_) => {
            Refusal::new(400, "InvalidArgument", format!("cannot {doing}: it exists"))
        }
        StoreError::Io(error) => Refusal::store(doing, &error),
    }
}

pub(super) fn refuse_verify(error: VerifyError, doing: &str) -> Refusal {
    match error {
        VerifyError::Keep(error) => Refusal::store(doing, &error),
        VerifyError::Row(fault) => refuse_rows(&fault),
    }
}

fn refuse_rows(fault: &RowFault) -> Refusal {
    let (status, code) = match fault {
        RowFault::Truncated | RowFault::Malformed(_) => (400, "MalformedDataStream"),
        RowFault::Corrupt(_) => (400, "CorruptedDataStream"),
        RowFault::TooLarge(_) => (400, "MaxMessageLengthExceeded"),
        RowFault::Read(_) => (400, "IncompleteBody"),
    };
    Refusal::new(status, code, format!("The block is refused: {fault}"))
}

fn conflict(phase: Phase) -> Refusal {
    Refusal::new(
        409,
        "StatusConflict",
        format!("You cannot complete the specified operation under the current upload status: {}", status_name(phase)),
    )
}

const fn status_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Open => "normal",
        Phase::Closing(_) => "closing",
        Phase::Closed => "closed",
        Phase::Expired => "expired",
        Phase::Critical => "critical",
    }
}

/// An id in the service's style: the moment, then a random part.
pub(super) fn session_id(now_ms: i64) -> String {
    let moment = jiff::Timestamp::from_millisecond(now_ms).unwrap_or(jiff::Timestamp::MAX);
    format!("{}{}", moment.strftime("%Y%m%d%H%M%S"), uuid::Uuid::new_v4().simple())
}

/// A moment as headers show it.
pub(super) fn http_date(ms: i64) -> String {
    crate::tunnel::sign::http_date(jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::MAX))
}

/// How long a session takes blocks ("24 h", `tunnel.md` section 3).
pub(super) const EXPIRY_MS: i64 = 24 * 3_600_000;

/// How long its status can be asked.
pub(super) const FORGOTTEN_MS: i64 = 48 * 3_600_000;
