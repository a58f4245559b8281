//! Stream upload sessions: slots, packs that are visible when their request returns, and schema versions.
//!
//! Sessions live in memory: after a restart the service does not know them, which clients must survive anyway. A pack is
//! kept once its whole body was read and every checksum was right. There is no commit and no abort. Source: `tunnel.md`
//! section 4, `StreamUploadSessionImpl.java`, PyODPS's `tabletunnel.py`.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::answer::Refusal;
use super::request::TablePath;
use super::schema_json;
use super::service::Switches;
use super::store::rows::{Types, verify};
use super::store::table::Table;
use super::store::{Addition, TableKey, Tables};
use super::upload::{
    EXPIRY_MS, no_such_partition, no_such_table, partition_of, refuse_store, refuse_verify, session_id,
};
use crate::limits::FIELD_BYTES_MAX;
use crate::sandbox::clock::SandboxClock;
use crate::tunnel::{PartitionSpec, TableSchema};

/// What the service may do in two ways with a pack whose trace id it has seen before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RepeatedPack {
    /// It is stored again: the rows are there twice.
    #[default]
    Stored,
    /// It is taken for the same pack, and nothing happens.
    Dropped,
}

/// What the service may do in two ways with a pack for a slot that has moved or is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MovedSlot {
    /// The pack is taken; the answer's headers tell the new route.
    #[default]
    Taken,
    /// 502 without a word, as from a gateway whose route is stale.
    BadGateway,
}

/// What the service may answer to a stream session that is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExpiredStream {
    /// 404 `StreamSessionNotFound`.
    #[default]
    NotFound,
    /// 409 `StatusConflict`.
    StatusConflict,
}

/// What a client asks for when it creates a session.
#[derive(Clone, Debug)]
pub(super) struct StreamWanted {
    pub(super) at: TablePath,
    pub(super) partition: Option<String>,
    pub(super) create_partition: bool,
    pub(super) dynamic_partition: bool,
    pub(super) schema_version: Option<u64>,
    pub(super) slots: Option<u32>,
}

/// One pack as its request announces it.
#[derive(Clone, Debug)]
pub(super) struct PackWanted {
    pub(super) session: String,
    pub(super) slot: String,
    pub(super) partition: Option<String>,
    pub(super) schema_version: Option<u64>,
    pub(super) check_latest_schema: bool,
    pub(super) record_count: Option<u64>,
    pub(super) routed_server: Option<String>,
    pub(super) trace: Option<String>,
}

/// Where a pack goes, decided before its body is read.
#[derive(Debug)]
pub(super) struct PackTarget {
    session: Arc<StreamSession>,
    slot: usize,
    partition: Vec<String>,
    types: Types,
    record_count: Option<u64>,
    trace: Option<String>,
}

/// What the headers of a pack's answer say.
#[derive(Clone, Debug)]
pub(super) struct PackAnswer {
    pub(super) slots: usize,
    pub(super) server: String,
    pub(super) batch: u64,
}

#[derive(Debug)]
struct StreamSession {
    id: String,
    key: TableKey,
    table_id: String,
    partition: Option<PartitionSpec>,
    create_partition: bool,
    dynamic: bool,
    version: u64,
    schema: TableSchema,
    created_ms: i64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The address of each slot.
    servers: Vec<String>,
    /// How often the slots have been moved.
    moves: u32,
    /// Answers that still say `init`.
    init_polls: u32,
    expired: bool,
    /// Packs by the trace id they came with.
    traces: BTreeMap<String, u64>,
    last_batch: u64,
    last_batch_ms: i64,
}

/// All stream sessions.
#[derive(Debug)]
pub(super) struct Streams {
    tables: Arc<Tables>,
    clock: SandboxClock,
    sessions: Mutex<BTreeMap<String, Arc<StreamSession>>>,
}

impl Streams {
    pub(super) fn new(tables: Arc<Tables>, clock: SandboxClock) -> Self {
        Self { tables, clock, sessions: Mutex::default() }
    }

    /// Creates a session. `server` is the address that its slots begin with.
    pub(super) fn create(&self, wanted: &StreamWanted, server: &str, switches: &Switches) -> Result<Json, Refusal> {
        let key = (wanted.at.schema.clone(), wanted.at.table.clone());
        let table = self.tables.table(&key).ok_or_else(|| no_such_table(&wanted.at))?;
        let latest = table.schema_version();
        let known = if switches.schema_lag > 0 { latest.saturating_sub(1).max(1) } else { latest };
        let version = wanted.schema_version.unwrap_or(known);
        let schema = table.schema_at(version).filter(|_| version <= known).ok_or_else(|| no_such_schema(version))?;
        let named = wanted.partition.as_deref().filter(|text| !text.trim().is_empty());
        let partition = match (named, wanted.dynamic_partition) {
            (None, true) => None,
            _ => partition_of(&table, named)?,
        };
        if let Some(spec) = &partition {
            self.ensure_partition(&table, &key, spec, wanted.create_partition)?;
        }
        let now_ms = self.clock.now_ms();
        let slots =
            wanted.slots.filter(|slots| *slots > 0).unwrap_or_else(|| switches.stream_slots.max(1)).min(SLOTS_MAX);
        let session = Arc::new(StreamSession {
            id: session_id(now_ms),
            key,
            table_id: table.id.clone(),
            partition,
            create_partition: wanted.create_partition,
            dynamic: wanted.dynamic_partition,
            version,
            schema,
            created_ms: now_ms,
            state: Mutex::new(State {
                servers: vec![server.to_owned(); slots as usize],
                moves: 0,
                init_polls: switches.stream_init_polls,
                expired: false,
                traces: BTreeMap::new(),
                last_batch: 0,
                last_batch_ms: 0,
            }),
        });
        let mut sessions = self.lock();
        sessions.retain(|_, old| now_ms.saturating_sub(old.created_ms) < EXPIRY_MS);
        sessions.insert(session.id.clone(), Arc::clone(&session));
        drop(sessions);
        Ok(session.describe())
    }

    /// The session's routes and metadata.
    pub(super) fn reload(&self, id: &str, expired: ExpiredStream) -> Result<Json, Refusal> {
        Ok(self.find(id, expired)?.describe())
    }

    /// Decides where a pack goes, before its body is read.
    pub(super) fn begin(&self, wanted: &PackWanted, switches: &Switches) -> Result<PackTarget, Refusal> {
        let session = self.find(&wanted.session, switches.expired_stream)?;
        let table = self.tables.by_id(&session.table_id).ok_or_else(|| {
            Refusal::new(404, "NoSuchTable", format!("The table '{}' of the session does not exist", session.key.1))
        })?;
        let version = wanted.schema_version.unwrap_or(session.version);
        if wanted.check_latest_schema && version != table.schema_version() {
            let message = format!("schema version {version} is not the latest");
            return Err(Refusal::new(412, "SchemaModified", message)
                .with_header("odps-tunnel-latest-schema-version", table.schema_version().to_string()));
        }
        let schema = table.schema_at(version).ok_or_else(|| no_such_schema(version))?;
        let named = wanted.partition.as_deref().filter(|text| !text.trim().is_empty());
        let spec = match (&session.partition, named, session.dynamic) {
            (None, named, true) => partition_of(&table, named)?,
            (Some(own), None, _) => Some(own.clone()),
            (own, named, _) => {
                let spec = partition_of(&table, named)?;
                if spec != *own {
                    let message = "The request names another partition than the session";
                    return Err(Refusal::new(400, "InvalidResourceSpec", message));
                }
                spec
            }
        };
        if let Some(spec) = &spec {
            self.ensure_partition(&table, &session.key, spec, session.dynamic || session.create_partition)?;
        }
        let slot = {
            let state = session.lock();
            let slot = wanted.slot.trim().parse::<usize>().ok();
            let server = slot.and_then(|slot| state.servers.get(slot));
            let stale = server.is_none()
                || wanted.routed_server.as_ref().is_some_and(|routed| server.is_some_and(|server| server != routed));
            if stale && switches.moved_slot == MovedSlot::BadGateway {
                return Err(Refusal::new(502, "", "the slot has moved"));
            }
            match (slot, server.is_some()) {
                (Some(slot), true) => slot,
                // One of the slots that are left takes it.
                (Some(slot), false) => slot % state.servers.len().max(1),
                (None, _) => {
                    let message = format!("no usable slot id: '{}'", wanted.slot);
                    return Err(Refusal::new(400, "InvalidArgument", message));
                }
            }
        };
        Ok(PackTarget {
            slot,
            partition: Table::key_of(spec.as_ref()),
            types: schema.columns.iter().map(|column| column.type_.clone()).collect(),
            record_count: wanted.record_count,
            trace: wanted.trace.clone(),
            session,
        })
    }

    /// Reads one pack to its end and makes its rows visible. Blocking: for a thread that may wait.
    pub(super) fn write(
        &self,
        target: &PackTarget,
        source: &mut dyn io::Read,
        repeated: RepeatedPack,
    ) -> Result<PackAnswer, Refusal> {
        let session = &target.session;
        let number = self.tables.next_number();
        let unique = format!("{}.s{}.{number}", session.id, target.slot);
        let store = |error: io::Error| Refusal::store("write the pack", &error);
        let mut writer = self.tables.writer(&session.table_id, &unique).map_err(store)?;
        let rows = verify(source, &target.types, FIELD_BYTES_MAX, &mut |rows| writer.write(rows))
            .map_err(|error| refuse_verify(error, "write the pack"))?;
        if let Some(announced) = target.record_count.filter(|announced| *announced != rows) {
            let message = format!("record_count says {announced}, the pack holds {rows}");
            return Err(Refusal::new(400, "InvalidArgument", message));
        }
        let segment = writer.finish(&format!("{unique}.{rows}.rows"), rows).map_err(store)?;
        // Held over the commit, so that two attempts at one pack cannot both be the first.
        let mut state = session.lock();
        let seen = target.trace.as_ref().and_then(|trace| state.traces.get(trace)).copied();
        let batch = match seen.filter(|_| repeated == RepeatedPack::Dropped) {
            Some(batch) => {
                segment.discard();
                batch
            }
            None => {
                let addition = Addition { partition: target.partition.clone(), segments: vec![Arc::clone(&segment)] };
                if let Err(error) = self.tables.commit(&session.key, vec![addition], false, false, None) {
                    segment.discard();
                    return Err(refuse_store(error, "add the pack"));
                }
                state.last_batch = state.last_batch.saturating_add(1);
                state.last_batch_ms = self.clock.now_ms();
                let batch = state.last_batch;
                if let Some(trace) = &target.trace {
                    state.traces.insert(trace.clone(), batch);
                }
                batch
            }
        };
        let server = state.servers.get(target.slot).or_else(|| state.servers.first()).cloned().unwrap_or_default();
        Ok(PackAnswer { slots: state.servers.len(), server, batch })
    }

    /// Gives a session's slots (all sessions' with `*`) new addresses, and another number of them if `slots` says one.
    /// Returns how many sessions were touched.
    pub(super) fn move_slots(&self, id: &str, slots: Option<u32>) -> usize {
        self.order(id, |state| {
            state.moves = state.moves.saturating_add(1);
            let count = slots.map_or(state.servers.len(), |slots| slots.clamp(1, SLOTS_MAX) as usize);
            let port = state.servers.first().and_then(|server| server.rsplit(':').next()).unwrap_or("80").to_owned();
            let host = 1 + state.moves % 250;
            state.servers = (0..count).map(|_| format!("127.0.1.{host}:{port}")).collect();
        })
    }

    /// Ends a session before its time (all with `*`).
    pub(super) fn expire(&self, id: &str) -> usize {
        self.order(id, |state| state.expired = true)
    }

    /// Ids of all sessions with their statuses, oldest first.
    pub(super) fn list(&self) -> Vec<(String, &'static str)> {
        let now_ms = self.clock.now_ms();
        let status = |session: &StreamSession| if session.is_over(now_ms) { "expired" } else { "normal" };
        self.lock().values().map(|session| (session.id.clone(), status(session))).collect()
    }

    fn order(&self, id: &str, mut change: impl FnMut(&mut State)) -> usize {
        let sessions: Vec<_> = self.lock().values().filter(|each| id == "*" || each.id == id).map(Arc::clone).collect();
        sessions.iter().for_each(|session| change(&mut session.lock()));
        sessions.len()
    }

    fn ensure_partition(
        &self,
        table: &Table,
        key: &TableKey,
        spec: &PartitionSpec,
        create: bool,
    ) -> Result<(), Refusal> {
        if table.partitions.contains_key(&Table::key_of(Some(spec))) {
            return Ok(());
        }
        if !create {
            return Err(no_such_partition(spec));
        }
        self.tables.add_partition(key, spec, true).map_err(|error| refuse_store(error, "create the partition"))
    }

    fn find(&self, id: &str, expired: ExpiredStream) -> Result<Arc<StreamSession>, Refusal> {
        let not_found =
            || Refusal::new(404, "StreamSessionNotFound", format!("The stream session does not exist: {id}"));
        let session = self.lock().get(id).map(Arc::clone).ok_or_else(not_found)?;
        match (session.is_over(self.clock.now_ms()), expired) {
            (false, _) => Ok(session),
            (true, ExpiredStream::NotFound) => Err(not_found()),
            (true, ExpiredStream::StatusConflict) => {
                Err(Refusal::new(409, "StatusConflict", format!("The stream session has expired: {id}")))
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<StreamSession>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StreamSession {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self, now_ms: i64) -> bool {
        now_ms.saturating_sub(self.created_ms) >= EXPIRY_MS || self.lock().expired
    }

    fn describe(&self) -> Json {
        let mut state = self.lock();
        let status = if state.init_polls > 0 { "init" } else { "normal" };
        state.init_polls = state.init_polls.saturating_sub(1);
        let slots: Vec<Json> =
            state.servers.iter().enumerate().map(|(slot, server)| json!([slot.to_string(), server])).collect();
        json!({
            "session_name": self.id,
            "status": status,
            "schema": schema_json(&self.schema),
            "schema_version": self.version.to_string(),
            "slots": slots,
            "quota_name": "default",
            "QuotaName": "default",
            "file_format": "",
            "compress_mode": "",
            "last_batch_id": state.last_batch,
            "last_batch_commit_time": state.last_batch_ms,
        })
    }
}

fn no_such_schema(version: u64) -> Refusal {
    Refusal::new(404, "NoSuchSchema", format!("the tunnel does not know schema version {version}"))
}

/// Most slots of a session.
const SLOTS_MAX: u32 = 256;
