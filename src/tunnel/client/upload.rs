//! Batch upload sessions: rows become visible all at once, at the commit.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::MaxCompute;
use super::request::{Host, Request, Trace, random_seed};
use crate::limits::{BLOCKS_PER_SESSION_MAX, FIELD_BYTES_MAX};
use crate::tunnel::encode::{Compression, Packer};
use crate::tunnel::error::{Error, ErrorKind};
use crate::tunnel::http::{Answer, BodyError, BodyStream, Method, parse_date};
use crate::tunnel::partition::PartitionSpec;
use crate::tunnel::schema::TableSchema;
use crate::tunnel::session::{
    Commit, CommitAnswer, CommitFailure, CommitRequest, Fault, FaultClass, Next, Retry, UploadStatus, UploadedBlock,
};

/// How a session is created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UploadOptions {
    /// The commit replaces the table or partition (INSERT OVERWRITE) instead of adding to it.
    pub overwrite: bool,
    /// Create the partition if it does not exist.
    pub create_partition: bool,
    /// How the blocks are packed.
    pub compression: Compression,
}

/// What the service says of a session at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadState {
    /// Its state.
    pub status: UploadStatus,
    /// Its age by the service's own clock: `Initiated` against the answer's `Date`. None where either is missing.
    pub age: Option<Duration>,
    /// The blocks that it holds.
    pub blocks: Vec<UploadedBlock>,
}

/// An upload session. Cheap to clone; clones are the same session, so that blocks can be sent in parallel.
///
/// Dropping it does nothing: a session that is not committed leaves no trace in the table and ends by itself after 24 h.
#[derive(Clone, Debug)]
pub struct Upload(Arc<Session>);

#[derive(Debug)]
struct Session {
    client: MaxCompute,
    table: String,
    partition: Option<String>,
    id: String,
    schema: TableSchema,
    field_bytes_max: usize,
    compression: Compression,
    age: Option<Duration>,
    /// Blocks with an attempt behind them that failed, so that all attempts carry one trace id.
    traces: Mutex<BTreeMap<u32, Trace>>,
}

impl MaxCompute {
    /// Creates an upload session for `table`, and for `partition` of it with all levels in the table's order
    /// ([`PartitionSpec::order_by`]).
    ///
    /// # Errors
    /// [`ErrorKind::NoSuchTable`], [`ErrorKind::NoSuchPartition`], [`ErrorKind::OverwriteNotAllowed`],
    /// [`ErrorKind::Refused`] (a view, a missing partition), [`ErrorKind::Auth`], [`ErrorKind::Forbidden`], and as any call.
    pub async fn create_upload(
        &self,
        table: &str,
        partition: Option<&PartitionSpec>,
        options: UploadOptions,
    ) -> Result<Upload, Error> {
        match self.try_create_upload(table, partition, options).await {
            // Not every service knows `create_partition`; SQL works everywhere.
            Err(error) if error.kind() == ErrorKind::NoSuchPartition && options.create_partition => {
                let Some(spec) = partition else { return Err(error) };
                self.add_partition(table, spec).await?;
                self.try_create_upload(table, partition, options).await
            }
            other => other,
        }
    }

    async fn try_create_upload(
        &self,
        table: &str,
        partition: Option<&PartitionSpec>,
        options: UploadOptions,
    ) -> Result<Upload, Error> {
        let partition = partition.map(PartitionSpec::to_string);
        let what = format!("create an upload session for {}", self.target(table, partition.as_deref()));
        let mut request = Request::new(Host::Tunnel, Method::Post, self.table_path(table)?, what.clone());
        request = request.query("uploads", "");
        if let Some(partition) = &partition {
            request = request.query("partition", partition);
        }
        if options.overwrite {
            request = request.query("overwrite", "true");
        }
        if options.create_partition && partition.is_some() {
            request = request.query("create_partition", "true");
        }
        // Repeated even if the first attempt may have worked: that leaks a session without blocks, which does nothing.
        let answer = self.connection.send(&request).await?;
        self.upload_of(table, partition, options.compression, &answer).map_err(|error| error.during(what))
    }

    /// Takes up a session that was created before, perhaps by another process, by its id.
    ///
    /// # Errors
    /// [`ErrorKind::SessionDead`] when the service does not know it; otherwise as any call.
    pub async fn attach_upload(
        &self,
        table: &str,
        partition: Option<&PartitionSpec>,
        id: &str,
        compression: Compression,
    ) -> Result<Upload, Error> {
        let partition = partition.map(PartitionSpec::to_string);
        let what = format!("read upload session {id} of {}", self.target(table, partition.as_deref()));
        let mut request = Request::new(Host::Tunnel, Method::Get, self.table_path(table)?, what.clone());
        request = request.query("uploadid", id).query("getblockid", "false");
        if let Some(partition) = &partition {
            request = request.query("partition", partition);
        }
        let answer = self.connection.send(&request).await?;
        self.upload_of(table, partition, compression, &answer).map_err(|error| error.during(what))
    }

    /// A table or partition, for messages.
    pub(super) fn target(&self, table: &str, partition: Option<&str>) -> String {
        let table = self.full_name(table);
        match partition {
            Some(partition) => format!("table \"{table}\" partition \"{partition}\""),
            None => format!("table \"{table}\""),
        }
    }

    fn upload_of(
        &self,
        table: &str,
        partition: Option<String>,
        compression: Compression,
        answer: &Answer,
    ) -> Result<Upload, Error> {
        let fault = |why: String| Error::new(ErrorKind::Decode, why).with_request_id(answer.request_id());
        // An old server that wants DATETIME shifted by a local calendar rule; writing on would store other instants.
        if answer.header("odps-tunnel-date-transform").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Err(fault("the service asks for the legacy DATETIME transform, which forebay does not do".into()));
        }
        let raw = RawSession::parse(answer).map_err(fault)?;
        let raw_age = raw.age(answer);
        let id = raw.id.filter(|id| !id.is_empty()).ok_or_else(|| fault("the answer has no UploadID".into()))?;
        let schema = raw.schema.ok_or_else(|| fault("the answer has no Schema".into()))?;
        let schema = TableSchema::from_raw_json(&schema).map_err(|error| fault(error.to_string()))?;
        let field_bytes_max = raw.field_bytes_max.and_then(|max| usize::try_from(max).ok()).filter(|max| *max > 0);
        Ok(Upload(Arc::new(Session {
            client: self.clone(),
            table: table.to_owned(),
            partition,
            id,
            schema,
            field_bytes_max: field_bytes_max.unwrap_or(FIELD_BYTES_MAX),
            compression,
            age: raw_age,
            traces: Mutex::new(BTreeMap::new()),
        })))
    }
}

impl Upload {
    /// The session's id (`UploadID`).
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// How old the session was when it was created or taken up, by the service's own clock; none where it does not say.
    pub fn age(&self) -> Option<Duration> {
        self.0.age
    }

    /// The columns in the order that blocks must have.
    pub fn schema(&self) -> &TableSchema {
        &self.0.schema
    }

    /// Largest field that the service takes, in bytes.
    pub fn field_bytes_max(&self) -> usize {
        self.0.field_bytes_max
    }

    /// Sends one block: a whole row stream ([`crate::tunnel::RowEncoder`]), in pieces of any size, sent as they come. On success the
    /// session holds exactly this block under `id`; an earlier one with the same id is replaced.
    ///
    /// One attempt. On an error nothing of the block is in the session; if [`Error::is_retriable`] says so, encode the same
    /// rows again and send them under the same id, after [`Error::retry_after`] or a pause of the caller's. The service cuts
    /// connections that are idle for 120 s: end the block rather than let the stream wait that long.
    ///
    /// # Errors
    /// [`ErrorKind::Throttled`], [`ErrorKind::Unavailable`] and [`ErrorKind::DamagedBlock`] are worth another attempt;
    /// [`ErrorKind::Body`] is `body`'s own error, kept as the source; [`ErrorKind::StatusConflict`] and
    /// [`ErrorKind::SessionDead`] mean that the session is over; [`ErrorKind::SchemaChanged`] that it must be created anew.
    pub async fn put_block(
        &self,
        id: u32,
        body: impl Stream<Item = Result<Bytes, BodyError>> + Send + 'static,
    ) -> Result<(), Error> {
        let what = format!("send block {id} of upload session {}", self.0.id);
        if id >= BLOCKS_PER_SESSION_MAX {
            let message = format!("a session has blocks 0 to {}", BLOCKS_PER_SESSION_MAX.saturating_sub(1));
            return Err(Error::new(ErrorKind::Refused, message).during(what));
        }
        let mut request = self.request(Method::Put, what)?.query("blockid", id.to_string());
        request = request.header("Content-Type", "application/octet-stream");
        if let Some(encoding) = self.0.compression.content_encoding() {
            request = request.header("Content-Encoding", encoding);
        }
        let body: BodyStream = match self.0.compression {
            Compression::None => Box::pin(body),
            compression => match Packer::new(compression) {
                Ok(packer) => Box::pin(packed(packer, body)),
                Err(error) => return Err(Error::new(ErrorKind::Body, error.to_string()).during(request.what)),
            },
        };
        let trace = {
            let mut traces = self.0.traces.lock().unwrap_or_else(PoisonError::into_inner);
            let trace = traces.entry(id).or_insert_with(|| Trace { id: Uuid::new_v4(), index: 0 });
            let now = *trace;
            trace.index = trace.index.saturating_add(1);
            now
        };
        self.0.client.connection.send_stream(&request, trace, body).await?;
        self.0.traces.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        Ok(())
    }

    /// Sends one block that is at hand whole, as often as the client's retry policy allows, with the same bytes under the same
    /// id.
    ///
    /// # Errors
    /// As [`Upload::put_block`]; the last attempt's.
    pub async fn put_block_bytes(&self, id: u32, block: Bytes) -> Result<(), Error> {
        let connection = &self.0.client.connection;
        let mut retry = Retry::new(connection.config().retry, connection.elapsed(), random_seed());
        loop {
            let body = futures_util::stream::iter([Ok(block.clone())]);
            let Err(error) = self.put_block(id, body).await else { return Ok(()) };
            let now = connection.elapsed();
            match retry.after(now, Fault::from(&error)) {
                Next::At(at) => {
                    let pause = at.saturating_sub(now);
                    log::warn!("{error}; again in {:.1} s", pause.as_secs_f64());
                    tokio::time::sleep(pause).await;
                }
                Next::GiveUp => return Err(error.with_attempts(retry.attempts())),
            }
        }
    }

    /// The session's state.
    ///
    /// # Errors
    /// [`ErrorKind::SessionDead`] when the service does not know the session; otherwise as any call.
    pub async fn status(&self) -> Result<UploadStatus, Error> {
        let what = format!("read upload session {}", self.0.id);
        let request = self.request(Method::Get, what.clone())?.query("getblockid", "false");
        self.read(&request).await.map(|state| state.status)
    }

    /// The session's state with its age and the blocks that it holds.
    ///
    /// # Errors
    /// As [`Upload::status`].
    pub async fn state(&self) -> Result<UploadState, Error> {
        let request = self.request(Method::Get, format!("read upload session {}", self.0.id))?;
        self.read(&request).await
    }

    /// Asks for the commit of whatever blocks the session holds, as often as any call is repeated, for callers that settle the outcome
    /// themselves by [`Upload::state`]. What an error says decides nothing: the commit may have happened all the same.
    ///
    /// # Errors
    /// As any call.
    pub async fn post_commit(&self) -> Result<(), Error> {
        let request = self.request(Method::Post, format!("commit upload session {}", self.0.id))?;
        self.0.client.connection.send(&request).await.map(drop)
    }

    /// The blocks that the session holds, by id.
    ///
    /// # Errors
    /// As [`Upload::status`].
    pub async fn blocks(&self) -> Result<Vec<UploadedBlock>, Error> {
        let request = self.request(Method::Get, format!("list the blocks of upload session {}", self.0.id))?;
        let mut blocks = self.read(&request).await?.blocks;
        crate::sorting::sort(&mut blocks);
        Ok(blocks)
    }

    async fn read(&self, request: &Request<'_>) -> Result<UploadState, Error> {
        let answer = self.0.client.connection.send(request).await?;
        let raw = RawSession::parse(&answer).map_err(|why| {
            Error::new(ErrorKind::Decode, why).with_request_id(answer.request_id()).during(&request.what)
        })?;
        Ok(UploadState { status: raw.status(), age: raw.age(&answer), blocks: raw.blocks.unwrap_or_default() })
    }

    /// Commits the session if it holds exactly the blocks in `blocks`; the rows become visible together.
    ///
    /// Comes back only when the outcome is certain or cannot be found out ([`Commit`] says how); a session that an earlier
    /// attempt committed is success. No blocks at all is legal: with `overwrite` that empties the target. If the future is
    /// dropped half-way, the commit may still happen.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownOutcome`]: the only one after which rows may be visible. [`ErrorKind::BlockMismatch`],
    /// [`ErrorKind::SessionDead`] and all others: certainly not committed.
    pub async fn commit(&self, blocks: &[u32]) -> Result<(), Error> {
        self.run_commit(blocks.iter().map(|id| (*id, None))).await
    }

    /// As [`Upload::commit`], with the number of rows of each block, compared where the service tells its own.
    ///
    /// # Errors
    /// As [`Upload::commit`].
    pub async fn commit_counted(&self, blocks: &[(u32, u64)]) -> Result<(), Error> {
        self.run_commit(blocks.iter().map(|(id, rows)| (*id, Some(*rows)))).await
    }

    async fn run_commit(&self, expected: impl Iterator<Item = (u32, Option<u64>)>) -> Result<(), Error> {
        let connection = &self.0.client.connection;
        let policy = connection.config().retry;
        let mut commit = Commit::new(expected, policy, connection.elapsed(), random_seed());
        let mut last_error = None;
        let mut trace = Trace { id: Uuid::new_v4(), index: 0 };
        loop {
            if let Some(outcome) = commit.poll_outcome() {
                return outcome.map_err(|failure| self.commit_error(failure, last_error));
            }
            if let Some(request) = commit.poll_request() {
                let answer = match self.ask(request, trace).await {
                    Ok(answer) => answer,
                    Err(error) => {
                        log::warn!("{error}");
                        let answer = answer_of(&error);
                        last_error = Some(error);
                        answer
                    }
                };
                if request == CommitRequest::Commit {
                    trace.index = trace.index.saturating_add(1);
                }
                commit.handle_answer(connection.elapsed(), answer);
            } else if let Some(until) = commit.poll_timeout() {
                tokio::time::sleep(until.saturating_sub(connection.elapsed())).await;
                // Timers are coarser than the clock and may come early.
                commit.handle_timeout(connection.elapsed().max(until));
            }
        }
    }

    /// One attempt at what the commit machine asks for.
    async fn ask(&self, request: CommitRequest, trace: Trace) -> Result<CommitAnswer, Error> {
        let id = &self.0.id;
        let request = match request {
            CommitRequest::Blocks => self.request(Method::Get, format!("list the blocks of upload session {id}"))?,
            CommitRequest::Status => {
                self.request(Method::Get, format!("read upload session {id}"))?.query("getblockid", "false")
            }
            CommitRequest::Commit => self.request(Method::Post, format!("commit upload session {id}"))?,
        };
        let answer = self.0.client.connection.send_once(&request, trace).await?;
        // A success that cannot be read says nothing about the state.
        let (status, blocks) = match RawSession::parse(&answer) {
            Ok(raw) => (raw.status(), raw.blocks.unwrap_or_default()),
            Err(why) => {
                log::warn!("{}: {why}", request.what);
                (UploadStatus::Unknown, Vec::new())
            }
        };
        Ok(CommitAnswer::Session { status, blocks })
    }

    fn request(&self, method: Method, what: String) -> Result<Request<'_>, Error> {
        let path = self.0.client.table_path(&self.0.table)?;
        let mut request = Request::new(Host::Tunnel, method, path, what).query("uploadid", &self.0.id);
        if let Some(partition) = &self.0.partition {
            request = request.query("partition", partition);
        }
        Ok(request)
    }

    fn commit_error(&self, failure: CommitFailure, last_error: Option<Error>) -> Error {
        let id = &self.0.id;
        let what = format!("commit upload session {id}");
        let (kind, message) = match failure {
            CommitFailure::BlockMismatch { missing, stray, recounted } => {
                let mut parts = Vec::new();
                if !missing.is_empty() {
                    parts.push(format!("it lacks {}", listed(&missing)));
                }
                if !stray.is_empty() {
                    parts.push(format!("it also holds {}", listed(&stray)));
                }
                if let Some((block, sent, there)) = recounted.first() {
                    let others = recounted.len().saturating_sub(1);
                    parts
                        .push(format!("block {block} has {there} rows instead of {sent} (and {others} others differ)"));
                }
                let message = format!("not committed: the session does not hold what was sent: {}", parts.join("; "));
                (ErrorKind::BlockMismatch, message)
            }
            CommitFailure::Dead(status) => (ErrorKind::SessionDead, format!("not committed: the session is {status}")),
            CommitFailure::Gone => {
                (ErrorKind::SessionDead, "not committed: the service does not know the session".to_owned())
            }
            CommitFailure::NotCommitted => match last_error {
                Some(error) => return error.during(format!("{what}, not committed")),
                None => (ErrorKind::Unavailable, "not committed: no certain answer in time".to_owned()),
            },
            CommitFailure::UnknownOutcome => {
                let why = last_error.as_ref().map(|error| format!("; last: {error}")).unwrap_or_default();
                let message = format!(
                    "it is not known whether the rows are visible: a commit was sent and the session did not tell{why}"
                );
                (ErrorKind::UnknownOutcome, message)
            }
        };
        Error::new(kind, message).during(what)
    }
}

/// How the commit machine sees an error. Codes and statuses only; no wording decides.
fn answer_of(error: &Error) -> CommitAnswer {
    match error.kind() {
        ErrorKind::StatusConflict => CommitAnswer::Conflict,
        ErrorKind::SessionDead => CommitAnswer::Gone,
        // The answer was there but could not be taken in whole; the effect may be, too.
        ErrorKind::Decode => CommitAnswer::Failed(Fault { class: FaultClass::Server, retry_after: None }),
        _ => CommitAnswer::Failed(Fault::from(error)),
    }
}

fn listed(ids: &[u32]) -> String {
    let shown: Vec<String> = ids.iter().take(10).map(u32::to_string).collect();
    let more = ids.len().saturating_sub(shown.len());
    let tail = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("block{} {}{tail}", if ids.len() == 1 { "" } else { "s" }, shown.join(", "))
}

/// The same bytes, packed.
fn packed(
    packer: Packer,
    body: impl Stream<Item = Result<Bytes, BodyError>> + Send + 'static,
) -> impl Stream<Item = Result<Bytes, BodyError>> + Send + 'static {
    let start = (Box::pin(body), Some(packer));
    let packed = futures_util::stream::unfold(start, |(mut body, packer)| async move {
        let mut packer = packer?;
        Some(match body.next().await {
            Some(Ok(bytes)) => (packer.push(bytes).map_err(BodyError::from), (body, Some(packer))),
            Some(Err(error)) => (Err(error), (body, None)),
            None => (packer.finish().map_err(BodyError::from), (body, None)),
        })
    });
    // An empty piece would end a chunked body early.
    packed.filter(|piece| std::future::ready(!piece.as_ref().is_ok_and(Bytes::is_empty)))
}

/// Whether the answer is a session, schema included.
pub(super) fn is_session(answer: &Answer) -> bool {
    RawSession::parse(answer)
        .is_ok_and(|raw| raw.schema.as_ref().is_none_or(|schema| TableSchema::from_raw_json(schema).is_ok()))
}

/// The JSON of create, status and commit; any key may be missing.
#[derive(Deserialize)]
struct RawSession {
    #[serde(rename = "UploadID")]
    id: Option<String>,
    #[serde(rename = "Status")]
    status: Option<String>,
    #[serde(rename = "Schema")]
    schema: Option<Box<RawValue>>,
    #[serde(rename = "MaxFieldSize")]
    field_bytes_max: Option<u64>,
    #[serde(rename = "UploadedBlockList")]
    blocks: Option<Vec<UploadedBlock>>,
    #[serde(rename = "Initiated")]
    initiated: Option<String>,
}

impl RawSession {
    fn parse(answer: &Answer) -> Result<Self, String> {
        serde_json::from_slice(&answer.body).map_err(|error| format!("the answer is not a session: {error}"))
    }

    /// Both moments are the service's own, so that no other clock has a part in it.
    fn age(&self, answer: &Answer) -> Option<Duration> {
        let initiated = parse_date(self.initiated.as_deref()?)?;
        let seconds = parse_date(answer.header("date")?)?.duration_since(initiated).as_secs();
        Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
    }

    fn status(&self) -> UploadStatus {
        self.status.as_deref().map_or(UploadStatus::Unknown, UploadStatus::parse)
    }
}
