//! Stream upload sessions: rows are visible when the request that brings them returns. At least once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::MaxCompute;
use super::request::{Host, Request, Trace, random_seed};
use crate::tunnel::encode::{Compression, Packer, RowEncoder};
use crate::tunnel::error::{Error, ErrorKind};
use crate::tunnel::http::{Answer, Method};
use crate::tunnel::partition::PartitionSpec;
use crate::tunnel::schema::TableSchema;
use crate::tunnel::session::{
    Fault, FaultClass, Next, PackFault, PackLimits, PackNext, PackRetry, Retry, Route, Slot, Slots,
};

/// How a stream session is created, and when its packs are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamOptions {
    /// The partition that all rows go to, with all levels in the table's order; `None` for a table without partitions, and
    /// with [`StreamOptions::dynamic_partition`].
    pub partition: Option<PartitionSpec>,
    /// Create the partition if it does not exist.
    pub create_partition: bool,
    /// Every pack names its own partition, which is created if need be.
    pub dynamic_partition: bool,
    /// Slots to ask for; 0 leaves that to the service. Packs in flight at the same time are worth one slot each.
    pub slots: u32,
    /// Refuse packs that were encoded by a schema which is no longer the table's ([`ErrorKind::SchemaChanged`]). Otherwise
    /// the service takes them, and columns that are newer are NULL.
    pub check_latest_schema: bool,
    /// How packs are packed on their way.
    pub compression: Compression,
    /// When a pack is to be sent.
    pub limits: PackLimits,
}

impl Default for StreamOptions {
    /// No partition, the service's number of slots, old schemas taken, no compression; packs of 8 MiB or 2 s.
    fn default() -> Self {
        Self {
            partition: None,
            create_partition: false,
            dynamic_partition: false,
            slots: 0,
            check_latest_schema: false,
            compression: Compression::None,
            limits: PackLimits { bytes: 8 * 1024 * 1024, age: Duration::from_secs(2) },
        }
    }
}

/// A stream upload session. Cheap to clone; clones are the same session, and packs may be sent in parallel.
///
/// **At least once**: a pack whose answer was lost is sent again under the same trace id
/// (`odps-tunnel-retry-trace-id`), and whether the service stores it twice then is its own affair. Rows of one pack become
/// visible together; between packs there is no order. There is no commit and nothing to abort. Rows that must be there
/// exactly once go through [`MaxCompute::create_upload`].
///
/// Slots, their moves and sessions that end (after 24 h) are dealt with inside. What the caller meets is a changed schema,
/// and only with [`StreamOptions::check_latest_schema`]: call [`StreamUpload::renew`] and encode the rows again.
#[derive(Clone, Debug)]
pub struct StreamUpload(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: MaxCompute,
    table: String,
    options: StreamOptions,
    live: Mutex<Live>,
    /// Held while the session is reloaded or created anew, so that parallel packs do that once.
    renewing: tokio::sync::Mutex<()>,
}

/// What changes in the life of a session.
#[derive(Clone, Debug)]
struct Live {
    id: String,
    schema: Arc<TableSchema>,
    version: Option<String>,
    slots: Slots,
    /// Counts reloads and new sessions.
    epoch: u64,
}

/// Rows on their way into one pack.
///
/// Set the columns of a row through [`Pack::row`], then end it with [`Pack::end_row`]. The rows follow the schema that the
/// session had when the pack was made.
#[derive(Debug)]
pub struct Pack {
    rows: RowEncoder,
    schema: Arc<TableSchema>,
    version: Option<String>,
    partition: Option<String>,
    limits: PackLimits,
    opened: Option<Duration>,
}

impl Pack {
    /// The columns that rows must have, in order.
    pub fn schema(&self) -> &TableSchema {
        &self.schema
    }

    /// Where to set the columns of a row; end it with [`Pack::end_row`], or drop it by [`RowEncoder::abandon_row`].
    pub fn row(&mut self) -> &mut RowEncoder {
        &mut self.rows
    }

    /// Ends a row. `now` is [`StreamUpload::elapsed`]. True when the pack is to be sent.
    pub fn end_row(&mut self, now: Duration) -> bool {
        self.rows.end_row();
        self.opened.get_or_insert(now);
        self.is_due(now)
    }

    /// Whether the pack has come to one of its limits.
    pub fn is_due(&self, now: Duration) -> bool {
        self.limits.is_due(self.rows.pending_bytes(), self.opened, now)
    }

    /// When the pack is due by its age; `None` while it has no row.
    pub fn due_at(&self) -> Option<Duration> {
        self.opened.map(|opened| opened.saturating_add(self.limits.age))
    }

    /// Rows so far.
    pub const fn rows(&self) -> u64 {
        self.rows.rows()
    }

    /// Bytes so far, before compression.
    pub const fn bytes(&self) -> usize {
        self.rows.pending_bytes()
    }
}

/// What the service said to a pack.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PackReceipt {
    /// The service's id for the request, which its support asks for.
    pub request_id: Option<String>,
    /// The service's number for the pack; not every service tells one.
    pub batch_id: Option<u64>,
    /// Attempts it took; above 1, an earlier attempt may have been stored as well.
    pub attempts: u32,
}

impl MaxCompute {
    /// Creates a stream upload session for `table`.
    ///
    /// # Errors
    /// As [`MaxCompute::create_upload`]; [`ErrorKind::Unavailable`] when the session does not become ready.
    pub async fn create_stream(&self, table: &str, options: StreamOptions) -> Result<StreamUpload, Error> {
        let live = match self.open_stream(table, &options, None).await {
            // Not every service knows `create_partition`; SQL works everywhere.
            Err(error) if error.kind() == ErrorKind::NoSuchPartition && options.create_partition => {
                let Some(spec) = &options.partition else { return Err(error) };
                self.add_partition(table, spec).await?;
                self.open_stream(table, &options, None).await?
            }
            other => other?,
        };
        Ok(StreamUpload(Arc::new(Inner {
            client: self.clone(),
            table: table.to_owned(),
            options,
            live: Mutex::new(live),
            renewing: tokio::sync::Mutex::default(),
        })))
    }

    /// Creates a session, for a version of the schema if one is named, and waits until it is ready.
    async fn open_stream(&self, table: &str, options: &StreamOptions, version: Option<&str>) -> Result<Live, Error> {
        let partition = options.partition.as_ref().map(PartitionSpec::to_string);
        let what = format!("create a stream session for {}", self.target(table, partition.as_deref()));
        let mut request = self.stream_request(table, Method::Post, what.clone())?;
        if let Some(partition) = partition {
            request = request.query("partition", partition);
        }
        if options.create_partition && options.partition.is_some() {
            request = request.query("create_partition", "true");
        }
        if options.dynamic_partition {
            request = request.query("dynamic_partition", "true");
        }
        if let Some(version) = version {
            request = request.query("schema_version", version);
        }
        request = request.query("check_latest_schema", options.check_latest_schema.to_string());
        if options.slots > 0 {
            request = request.header("odps-tunnel-slot-num", options.slots.to_string());
        }
        // A session that nobody uses does no harm, so creating may be repeated.
        let answer = self.connection.send(&request).await?;
        let mut live = live_of(&answer).map_err(|error| error.during(&what))?;
        let mut retry = Retry::new(self.config().retry, self.connection.elapsed(), random_seed());
        while !live.ready {
            let fault = Fault { class: FaultClass::Server, retry_after: None };
            let now = self.connection.elapsed();
            match retry.after(now, fault) {
                Next::At(at) => tokio::time::sleep(at.saturating_sub(now)).await,
                Next::GiveUp => {
                    let message = "the session does not become ready";
                    return Err(Error::new(ErrorKind::Unavailable, message)
                        .with_attempts(retry.attempts())
                        .during(what));
                }
            }
            let id = live.live.id.clone();
            let answer = self.connection.send(&self.stream_reload(table, &id, live.live.version.as_deref())?).await?;
            live = live_of(&answer).map_err(|error| error.during(&what))?;
        }
        Ok(live.live)
    }

    fn stream_request<'a>(&'a self, table: &'a str, method: Method, what: String) -> Result<Request<'a>, Error> {
        let mut path = self.table_path(table)?;
        path.push("streams");
        Ok(Request::new(Host::Tunnel, method, path, what))
    }

    fn stream_reload<'a>(&'a self, table: &'a str, id: &str, version: Option<&str>) -> Result<Request<'a>, Error> {
        let what = format!("read the slots of stream session {id}");
        let mut request = self.stream_request(table, Method::Get, what)?.query("uploadid", id);
        if let Some(version) = version {
            request = request.query("schema_version", version);
        }
        Ok(request)
    }
}

impl StreamUpload {
    /// The session's id (`session_name`). It changes when the session has to be created anew.
    pub fn id(&self) -> String {
        self.live().id.clone()
    }

    /// The columns in the order that rows must have.
    pub fn schema(&self) -> Arc<TableSchema> {
        Arc::clone(&self.live().schema)
    }

    /// The version of the schema, as far as the service tells it.
    pub fn schema_version(&self) -> Option<String> {
        self.live().version.clone()
    }

    /// How many slots the session has: more packs than that at a time gain nothing.
    pub fn slots(&self) -> usize {
        self.live().slots.count()
    }

    /// The clock of packs: time since the client was made.
    pub fn elapsed(&self) -> Duration {
        self.0.client.connection.elapsed()
    }

    /// An empty pack. `partition` (all levels, in the table's order) is for sessions with
    /// [`StreamOptions::dynamic_partition`]; others have the session's own.
    pub fn pack(&self, partition: Option<&PartitionSpec>) -> Pack {
        let live = self.live();
        Pack {
            rows: RowEncoder::new(),
            schema: Arc::clone(&live.schema),
            version: live.version.clone(),
            partition: partition.or(self.0.options.partition.as_ref()).map(PartitionSpec::to_string),
            limits: self.0.options.limits,
            opened: None,
        }
    }

    /// Sends a pack; when this returns, its rows are visible. An empty pack is not sent.
    ///
    /// Throttling is waited out until the retry policy's deadline, errors of the server and the network are repeated a bounded
    /// number of times with the same bytes under the same trace id, on the next slot each time. At least once: see
    /// [`StreamUpload`].
    ///
    /// # Errors
    /// [`ErrorKind::SchemaChanged`]: nothing was stored; [`StreamUpload::renew`], then encode the rows again. After any
    /// other error the pack may have been stored; the service's words and the number of attempts are in the error.
    pub async fn send(&self, pack: Pack) -> Result<PackReceipt, Error> {
        let rows = pack.rows();
        if rows == 0 {
            return Ok(PackReceipt { request_id: None, batch_id: None, attempts: 0 });
        }
        let Pack { rows: encoder, version, partition, .. } = pack;
        let body = packed(self.0.options.compression, encoder.finish())?;
        let connection = &self.0.client.connection;
        let mut retry = PackRetry::new(connection.config().retry, connection.elapsed(), random_seed());
        let trace = Uuid::new_v4();
        loop {
            let (session, epoch, slot, count) = {
                let mut live = self.live();
                (live.id.clone(), live.epoch, live.slots.take(), live.slots.count())
            };
            let what = format!("send {rows} rows to stream session {session}");
            let Some(slot) = slot else {
                return Err(Error::new(ErrorKind::Decode, "the session has no slots").during(what));
            };
            let request =
                self.pack_request(&session, &slot, count, version.as_deref(), partition.as_deref(), rows, what)?;
            let request = Request { body: body.clone(), ..request };
            let index = retry.attempts();
            let error = match connection.send_once(&request, Trace { id: trace, index }).await {
                Ok(answer) => {
                    self.follow(&slot, epoch, &answer).await;
                    return Ok(PackReceipt {
                        request_id: answer.request_id(),
                        batch_id: answer.header("odps-tunnel-batch-id").and_then(|id| id.parse().ok()),
                        attempts: index.saturating_add(1),
                    });
                }
                Err(error) => error,
            };
            let now = connection.elapsed();
            match retry.after(now, fault_of(&error)) {
                PackNext::SendAt(at) => pause(&error, at.saturating_sub(now)).await,
                PackNext::ReloadAndSendAt(at) => {
                    pause(&error, at.saturating_sub(now)).await;
                    self.reload(epoch).await;
                }
                PackNext::Recreate => {
                    log::warn!("{error}; creating a new stream session");
                    self.recreate(epoch, version.as_deref()).await?;
                }
                PackNext::GiveUp => return Err(error.with_attempts(retry.attempts())),
            }
        }
    }

    /// Creates the session anew with the table's present schema: after [`ErrorKind::SchemaChanged`], whose
    /// [`Error::latest_schema`] says which that is. The service may learn of a new schema later than the table; that is waited for,
    /// five minutes at most.
    ///
    /// # Errors
    /// As [`MaxCompute::create_stream`].
    pub async fn renew(&self, latest_schema: Option<&str>) -> Result<(), Error> {
        let _renewing = self.0.renewing.lock().await;
        if latest_schema.is_some() && self.live().version.as_deref() == latest_schema {
            // Another pack's error has led here before.
            return Ok(());
        }
        let pause_each = self.0.client.config().retry.pause_first.saturating_mul(5);
        let mut tries = 1;
        loop {
            match self.0.client.open_stream(&self.0.table, &self.0.options, latest_schema).await {
                Ok(live) => {
                    self.replace(live);
                    return Ok(());
                }
                Err(error) if error.code() == Some("NoSuchSchema") && tries < SCHEMA_TRIES_MAX => {
                    tries += 1;
                    pause(&error, pause_each).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn pack_request(
        &self,
        session: &str,
        slot: &Slot,
        slots: usize,
        version: Option<&str>,
        partition: Option<&str>,
        rows: u64,
        what: String,
    ) -> Result<Request<'_>, Error> {
        let options = &self.0.options;
        let mut request = self.0.client.stream_request(&self.0.table, Method::Put, what)?;
        request = request.query("uploadid", session).query("slotid", &*slot.id);
        if let Some(version) = version {
            request = request.query("schema_version", version);
        }
        request = request.query("check_latest_schema", options.check_latest_schema.to_string());
        request = request.query("record_count", rows.to_string());
        if let Some(partition) = partition {
            request = request.query("partition", partition);
        }
        if options.dynamic_partition {
            request = request.query("dynamic_partition", "true");
        }
        request = request.header("Content-Type", "application/octet-stream");
        request = request.header("odps-tunnel-slot-num", slots.to_string());
        request = request.header("odps-tunnel-routed-server", &*slot.server);
        if let Some(encoding) = options.compression.content_encoding() {
            request = request.header("Content-Encoding", encoding);
        }
        Ok(request)
    }

    /// Takes the routing headers of a success. The rows are stored, so nothing here is an error.
    async fn follow(&self, slot: &Slot, epoch: u64, answer: &Answer) {
        let count = answer.header("odps-tunnel-slot-num").and_then(|text| text.parse().ok());
        let route = {
            let mut live = self.live();
            if live.epoch != epoch {
                return;
            }
            live.slots.answered(slot, count, answer.header("odps-tunnel-routed-server"))
        };
        if route == Route::Reload {
            self.reload(epoch).await;
        }
    }

    /// Reads the slots again, unless somebody has since `epoch`. One attempt: the present slots are good enough to go on with,
    /// and the next answer leads here again.
    async fn reload(&self, epoch: u64) {
        let _renewing = self.0.renewing.lock().await;
        let (id, version) = {
            let live = self.live();
            if live.epoch != epoch {
                return;
            }
            (live.id.clone(), live.version.clone())
        };
        let client = &self.0.client;
        let read = async {
            let request = client.stream_reload(&self.0.table, &id, version.as_deref())?;
            let answer = client.connection.send_once(&request, Trace { id: Uuid::new_v4(), index: 0 }).await?;
            live_of(&answer).map_err(|error| error.during(&request.what))
        };
        match read.await {
            Ok(read) if read.ready => {
                let mut live = self.live();
                live.slots.replace(read.slots);
                live.epoch = live.epoch.wrapping_add(1);
            }
            Ok(_) => log::warn!("stream session {id} is being prepared; going on with the slots it had"),
            Err(error) => log::warn!("{error}; going on with the slots it had"),
        }
    }

    /// Creates the session anew for packs of `version`, unless somebody has since `epoch`.
    async fn recreate(&self, epoch: u64, version: Option<&str>) -> Result<(), Error> {
        let _renewing = self.0.renewing.lock().await;
        if self.live().epoch != epoch {
            return Ok(());
        }
        let live = self.0.client.open_stream(&self.0.table, &self.0.options, version).await?;
        self.replace(live);
        Ok(())
    }

    fn replace(&self, new: Live) {
        let mut live = self.live();
        let epoch = live.epoch.wrapping_add(1);
        *live = Live { epoch, ..new };
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.0.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn pause(error: &Error, pause: Duration) {
    log::warn!("{error}; again in {:.1} s", pause.as_secs_f64());
    tokio::time::sleep(pause).await;
}

fn fault_of(error: &Error) -> PackFault {
    match (error.kind(), error.status()) {
        (ErrorKind::SessionDead | ErrorKind::StatusConflict, _) => PackFault::SessionGone,
        (_, Some(502 | 504)) => PackFault::Gateway(Fault::from(error)),
        _ => PackFault::Other(Fault::from(error)),
    }
}

/// The pack's bytes as they go out, the same for every attempt.
fn packed(compression: Compression, rows: Bytes) -> Result<Bytes, Error> {
    if compression == Compression::None {
        return Ok(rows);
    }
    let failed = |error: std::io::Error| Error::new(ErrorKind::Body, format!("cannot pack the rows: {error}"));
    let mut packer = Packer::new(compression).map_err(failed)?;
    let mut out = BytesMut::from(&*packer.push(rows).map_err(failed)?);
    out.extend_from_slice(&packer.finish().map_err(failed)?);
    Ok(out.freeze())
}

/// A session's JSON, read.
struct Described {
    live: Live,
    slots: Vec<Slot>,
    ready: bool,
}

fn live_of(answer: &Answer) -> Result<Described, Error> {
    let fault = |why: String| Error::new(ErrorKind::Decode, why).with_request_id(answer.request_id());
    let raw: RawStream = serde_json::from_slice(&answer.body)
        .map_err(|error| fault(format!("the answer is not a stream session: {error}")))?;
    let id = raw.id.filter(|id| !id.is_empty()).ok_or_else(|| fault("the answer has no session_name".into()))?;
    let schema = raw.schema.ok_or_else(|| fault("the answer has no schema".into()))?;
    let schema = TableSchema::from_raw_json(&schema).map_err(|error| fault(error.to_string()))?;
    let ready = !raw.status.is_some_and(|status| status.eq_ignore_ascii_case("init"));
    let slots: Vec<Slot> =
        raw.slots.unwrap_or_default().into_iter().map(|(id, server)| Slot { id: id.text(), server }).collect();
    if ready && slots.is_empty() {
        return Err(fault("the session has no slots".into()));
    }
    let live = Live {
        id,
        schema: Arc::new(schema),
        version: raw.version.map(Word::text).filter(|version| !version.is_empty()),
        slots: Slots::new(slots.clone(), random_seed()),
        epoch: 0,
    };
    Ok(Described { live, slots, ready })
}

#[derive(Deserialize)]
struct RawStream {
    #[serde(rename = "session_name")]
    id: Option<String>,
    status: Option<String>,
    schema: Option<Box<RawValue>>,
    #[serde(rename = "schema_version")]
    version: Option<Word>,
    slots: Option<Vec<(Word, String)>>,
}

/// A text, or a number that stands for one.
#[derive(Deserialize)]
#[serde(untagged)]
enum Word {
    Text(String),
    Number(i64),
}

impl Word {
    fn text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Number(number) => number.to_string(),
        }
    }
}

/// How often a schema that the service does not know yet is asked for: 60 times, 5 s apart by default.
const SCHEMA_TRIES_MAX: u32 = 60;
