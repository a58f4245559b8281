//! One request from its first byte to its answer: log, authentication, faults, dispatch.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::HeaderValue;
use axum::http::header::{DATE, HeaderName, RETRY_AFTER};
use axum::response::Response;
use bytes::Bytes;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::answer::{Answer, ByteStream, Content, Refusal, error_answer};
use super::auth::{self, Account};
use super::body::{BodyReader, Fed, feed, read_whole, stream_of};
use super::control;
use super::download::{Downloads, Selection, Snapshot, download_compression, read};
use super::fault::{Action, Fault, Faults, When};
use super::instance::{Instances, Submission};
use super::meta::{self, ProjectFacts};
use super::request::{Asked, Operation, TablePath};
use super::server::Cutter;
use super::sql::{self, SqlContext};
use super::store::Tables;
use super::store::table::Table;
use super::stream::{ExpiredStream, MovedSlot, PackAnswer, PackWanted, RepeatedPack, StreamWanted, Streams};
use super::upload::{
    CutBlock, EmptyOverwrite, EndedSession, RepeatedCommit, Upload, UploadWanted, Uploads, http_date,
    no_such_partition, no_such_table, partition_of,
};
use crate::sandbox::clock::SandboxClock;
use crate::tunnel::encode::{Compression, unpacked};

/// Behaviour of the service that is not confirmed, or that tests want to turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Switches {
    /// What committing a closed session answers.
    pub repeated_commit: RepeatedCommit,
    /// Status polls that still answer `CLOSING` after a commit.
    pub closing_polls: u32,
    /// Status polls that still answer `INITIATING` after a download session was created.
    pub initiating_polls: u32,
    /// Status polls after a commit that do not see it yet: they answer as if it had not been.
    pub stale_polls: u32,
    /// Whether a committed session can still be asked.
    pub closed_sessions: EndedSession,
    /// Whether an expired session can still be asked.
    pub expired_sessions: EndedSession,
    /// What becomes of a block whose body is cut.
    pub cut_block: CutBlock,
    /// What an overwrite without blocks does.
    pub empty_overwrite: EmptyOverwrite,
    /// What becomes of a stream's pack that came before.
    pub repeated_pack: RepeatedPack,
    /// What becomes of a pack for a slot that has moved.
    pub moved_slot: MovedSlot,
    /// What a stream session that is over answers.
    pub expired_stream: ExpiredStream,
    /// Slots of a stream session that asks for no number of them; 0 counts as 1.
    pub stream_slots: u32,
    /// Answers about a new stream session that still say `init`.
    pub stream_init_polls: u32,
    /// Stream sessions to be created before the tunnel knows a table's latest schema.
    pub schema_lag: u32,
    /// Bytes that tables and sessions may still write before the disk counts as full; `None` is no limit but its own.
    pub free_bytes: Option<u64>,
    /// Milliseconds after which a block or pack whose body brings nothing loses its connection; the service's are 120,000. 0 never
    /// cuts.
    pub idle_cut_ms: u64,
}

impl Switches {
    fn idle_max(&self) -> Option<Duration> {
        (self.idle_cut_ms > 0).then(|| Duration::from_millis(self.idle_cut_ms))
    }
}

/// One line of the request log.
#[derive(Clone, Debug, Serialize)]
pub struct LoggedRequest {
    /// Milliseconds of the sandbox's clock.
    pub at_ms: i64,
    /// The operation's name, as faults use it.
    pub operation: &'static str,
    /// The HTTP method.
    pub method: String,
    /// Path and query as on the request line.
    pub target: String,
    /// `x-odps-request-id` of the answer.
    pub request_id: String,
    /// The headers, without credentials.
    pub headers: Vec<(String, String)>,
    /// How the request says who asks: `legacy`, `v4`, `bearer` or `none`.
    pub signature: &'static str,
    /// The HTTP status of the answer; 0 while it is being worked on, and when no answer was sent.
    pub status: u16,
}

/// Everything behind the port.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) project: String,
    pub(super) owner: String,
    pub(super) created_ms: i64,
    pub(super) account: Option<Account>,
    pub(super) clock: SandboxClock,
    pub(super) time_zone: jiff::tz::TimeZone,
    pub(super) tables: Arc<Tables>,
    pub(super) uploads: Arc<Uploads>,
    pub(super) streams: Arc<Streams>,
    pub(super) downloads: Downloads,
    pub(super) instances: Arc<Instances>,
    pub(super) faults: Arc<Faults>,
    pub(super) log: Mutex<VecDeque<LoggedRequest>>,
    pub(super) switches: Mutex<Switches>,
    /// `host:port`, for clients that send no `Host`.
    pub(super) address: String,
}

impl Service {
    /// Answers one request, or cuts its connection.
    pub(super) async fn serve(self: Arc<Self>, request: Request, cutter: Cutter) -> Response {
        let (parts, body) = request.into_parts();
        let request_id = uuid::Uuid::new_v4().simple().to_string().to_uppercase();
        let asked = Asked::new(parts.method, &parts.uri, parts.headers, request_id);
        self.note(&asked);
        let request_id = asked.request_id.clone();
        // A task of its own: what a client has sent takes its course, whether the client waits for it or has died.
        let answer = {
            let (service, cutter) = (Arc::clone(&self), cutter.clone());
            tokio::spawn(async move { service.answer_with_faults(&asked, body, &cutter).await })
        };
        let Some(mut answer) = answer.await.unwrap_or_default() else {
            // Nothing can be sent on a cut connection; this answer only satisfies the server's types.
            cutter.cut();
            return Answer::empty(500).into_response();
        };
        if let Ok(value) = HeaderValue::from_str(&request_id) {
            answer.headers.insert(HeaderName::from_static("x-odps-request-id"), value);
        }
        // Of the virtual clock: clients tell a session's age by it.
        if let Ok(value) = HeaderValue::from_str(&http_date(self.clock.now_ms())) {
            answer.headers.insert(DATE, value);
        }
        self.note_status(&request_id, answer.status);
        answer.into_response()
    }

    /// The orders of tests.
    pub(super) fn switches(&self) -> Switches {
        *self.lock_switches()
    }

    fn lock_switches(&self) -> MutexGuard<'_, Switches> {
        self.switches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the orders of tests.
    pub(super) fn set_switches(&self, switches: Switches) {
        self.tables.space().set(switches.free_bytes);
        *self.lock_switches() = switches;
    }

    /// The last requests, oldest first.
    pub(super) fn requests(&self) -> Vec<LoggedRequest> {
        self.lock_log().iter().cloned().collect()
    }

    /// Empties the request log.
    pub(super) fn forget_requests(&self) {
        self.lock_log().clear();
    }

    /// `None` when no answer is to be sent.
    async fn answer_with_faults(self: &Arc<Self>, asked: &Asked, body: Body, cutter: &Cutter) -> Option<Answer> {
        if let Operation::Control(path) = &asked.operation {
            let body = match read_whole(body, CONTROL_BYTES_MAX).await {
                Ok(body) => body,
                Err(error) => return Some(Refusal::new(400, "InvalidArgument", error).answer(asked)),
            };
            let answer = control::answer(self, &asked.method, path, &body);
            return Some(answer.unwrap_or_else(|refusal| refusal.answer(asked)));
        }
        if let Some(account) = &self.account
            && let Err(refusal) = account.check(asked, self.clock.now_ms())
        {
            drain(body).await;
            return Some(refusal.answer(asked));
        }
        let fault = self.faults.take(asked.operation.name());
        let mut cut_request = None;
        if let Some(Fault { when: When::Before, action, .. }) = &fault {
            match action {
                Action::Drop => return None,
                Action::Status { .. } => {
                    drain(body).await;
                    return Some(fault_answer(action, asked));
                }
                Action::Hold { hold_ms } => tokio::time::sleep(Duration::from_millis(*hold_ms)).await,
                Action::MoveSlots { slots } => {
                    self.streams.move_slots("*", Some(*slots));
                }
                Action::CutRequest { .. } | Action::CutAnswer { .. } => {}
            }
        }
        if let Some(Fault { action: Action::CutRequest { after_bytes }, .. }) = &fault {
            cut_request = Some(*after_bytes);
        }
        let answer = match self.dispatch(asked, body, cut_request).await {
            Ok(Some(answer)) => answer,
            Ok(None) => return None,
            Err(refusal) => refusal.answer(asked),
        };
        match fault {
            Some(Fault { action: Action::CutAnswer { after_bytes }, .. }) => {
                Some(cut_answer(answer, after_bytes, cutter.clone()))
            }
            Some(Fault { when: When::After, action, .. }) => match action {
                Action::Drop => None,
                Action::Status { .. } => Some(fault_answer(&action, asked)),
                Action::Hold { hold_ms } => {
                    tokio::time::sleep(Duration::from_millis(hold_ms)).await;
                    Some(answer)
                }
                Action::MoveSlots { slots } => {
                    self.streams.move_slots("*", Some(slots));
                    Some(answer)
                }
                Action::CutRequest { .. } | Action::CutAnswer { .. } => Some(answer),
            },
            _ => Some(answer),
        }
    }

    /// Does what was asked. `Ok(None)` when the connection is to be cut.
    async fn dispatch(
        self: &Arc<Self>,
        asked: &Asked,
        body: Body,
        cut_request: Option<u64>,
    ) -> Result<Option<Answer>, Refusal> {
        match &asked.operation {
            Operation::UploadBlock(_) => return self.put_block(asked, body, cut_request).await,
            Operation::StreamWrite(_) => return self.put_pack(asked, body, cut_request).await,
            _ => {}
        }
        let Ok(body) = read_whole(body, REQUEST_BYTES_MAX).await else {
            return Err(Refusal::new(400, "IncompleteBody", "the request's body ended early or is too large"));
        };
        if cut_request.is_some() {
            return Ok(None);
        }
        self.check_project(asked)?;
        let service = Arc::clone(self);
        // The store writes files and takes locks while it does, which must not hold up other requests.
        let worked = {
            let operation = asked.operation.clone();
            match operation {
                Operation::UploadCreate(at) => {
                    let wanted = UploadWanted {
                        at,
                        partition: asked.value("partition").map(str::to_owned),
                        overwrite: asked.parameter("overwrite").is_some_and(is_true),
                        create_partition: is_set(asked, "create_partition"),
                    };
                    blocking(move || service.uploads.create(&wanted)).await?
                }
                Operation::StreamCreate(at) => {
                    let wanted = StreamWanted {
                        at,
                        partition: asked.value("partition").map(str::to_owned),
                        create_partition: is_set(asked, "create_partition"),
                        dynamic_partition: is_set(asked, "dynamic_partition"),
                        schema_version: asked.value("schema_version").and_then(|text| text.parse().ok()),
                        slots: ["odps-tunnel-slot-num", "odps-slot-num"]
                            .iter()
                            .find_map(|name| asked.header(name)?.trim().parse().ok()),
                    };
                    let (server, switches) = (self.host(asked), self.switches());
                    self.lock_switches().schema_lag = switches.schema_lag.saturating_sub(1);
                    blocking(move || service.streams.create(&wanted, &server, &switches)).await?
                }
                Operation::UploadCommit(_) => {
                    let id = asked.value("uploadid").unwrap_or_default().to_owned();
                    let switches = self.switches();
                    blocking(move || service.uploads.commit(&id, &switches)).await?
                }
                _ => return self.answer_quick(asked, &body).map(Some),
            }
        };
        Ok(Some(Answer::json(&worked)))
    }

    /// Everything that needs no file to be written and no body to be streamed in.
    fn answer_quick(self: &Arc<Self>, asked: &Asked, body: &Bytes) -> Result<Answer, Refusal> {
        let facts = ProjectFacts { name: &self.project, owner: &self.owner, created_ms: self.created_ms };
        match &asked.operation {
            Operation::LogviewHost => Ok(Answer::text(format!("http://{}", self.host(asked)))),
            Operation::Tenants => {
                Ok(Answer::json(&json!({ "TenantId": "0", "Name": "forebay-sandbox", "OwnerId": self.owner })))
            }
            Operation::Project { .. } => Ok(meta::project(&facts)),
            Operation::Discovery { .. } => Ok(Answer::text(self.host(asked))),
            Operation::Authorization { .. } => {
                Ok(Answer::xml("<Authorization><Result>sandbox</Result></Authorization>"))
            }
            Operation::SchemaList { .. } => Ok(meta::schemas(&self.tables.schemas(), &facts)),
            Operation::Schema { schema, .. } => {
                if !self.tables.schemas().contains(schema) {
                    let message = format!("ODPS-0422155: Schema not found - '{schema}'");
                    return Err(Refusal::new(404, "NoSuchObject", message));
                }
                Ok(meta::schema(schema, &facts))
            }
            Operation::TableList { schema, .. } => Ok(meta::tables(asked, &self.tables.list(schema), &facts)),
            Operation::TableGet(at) => meta::table(asked, at, self.table(at).as_deref(), &facts),
            Operation::TablePreview(at) => self.preview(asked, at),
            Operation::PartitionList(at) => meta::partitions(asked, at, self.table(at).as_deref()),
            Operation::PartitionGet(at) => meta::partition(asked, at, self.table(at).as_deref()),
            Operation::UploadStatus(_) => {
                let id = asked.value("uploadid").unwrap_or_default();
                let with_blocks = !asked.value("getblockid").is_some_and(|text| text.eq_ignore_ascii_case("false"));
                self.uploads.status(id, with_blocks, &self.switches()).map(|json| Answer::json(&json))
            }
            Operation::StreamReload(_) | Operation::StreamAbort(_) => {
                let id = asked.value("uploadid").unwrap_or_default();
                self.streams.reload(id, self.switches().expired_stream).map(|json| Answer::json(&json))
            }
            Operation::DownloadCreate(at) => {
                let snapshot = self.snapshot(at, asked.value("partition"))?;
                Ok(Answer::json(&self.downloads.create(snapshot, self.switches().initiating_polls)))
            }
            Operation::DownloadStatus(_) | Operation::InstanceDownloadStatus { .. } => {
                self.downloads.status(asked.value("downloadid").unwrap_or_default()).map(|json| Answer::json(&json))
            }
            Operation::DownloadRelease(_) => {
                self.downloads.release(asked.value("downloadid").unwrap_or_default()).map(|json| Answer::json(&json))
            }
            Operation::DownloadData(_) | Operation::InstanceDownloadData { .. } => self.download(asked),
            Operation::InstanceSubmit { .. } => self.submit(asked, body),
            Operation::InstanceList { .. } => Ok(self.instances.list_answer()),
            Operation::InstanceStatus { id, .. } => self.instances.status(id),
            Operation::InstanceTaskStatus { id, .. } => self.instances.task_status(id),
            Operation::InstanceResult { id, .. } => self.instances.result(id),
            Operation::InstanceOther { id, .. } => {
                let what = asked.query.iter().map(|(name, _)| name.as_str()).find(|name| !name.starts_with("curr_"));
                self.instances.other(id, what.unwrap_or_default())
            }
            Operation::InstanceTerminate { id, .. } => self.instances.terminate(id),
            Operation::InstanceDownloadCreate { id, .. } => {
                let limited = asked.parameter("instance_tunnel_limit_enabled").is_some();
                Ok(Answer::json(&self.downloads.create(self.instances.snapshot(id, limited)?, 0)))
            }
            Operation::UploadCreate(_)
            | Operation::UploadCommit(_)
            | Operation::UploadBlock(_)
            | Operation::StreamCreate(_)
            | Operation::StreamWrite(_)
            | Operation::Control(_)
            | Operation::Unknown => Err(Refusal::new(
                404,
                "InvalidURI",
                format!("the local MaxCompute has nothing at '{} {}'", asked.method, asked.target),
            )),
        }
    }

    async fn put_block(
        self: &Arc<Self>,
        asked: &Asked,
        body: Body,
        cut_request: Option<u64>,
    ) -> Result<Option<Answer>, Refusal> {
        let begun = self.check_project(asked).and_then(|()| self.begin_block(asked));
        let (upload, block_id, version, compression) = match begun {
            Ok(begun) => begun,
            Err(refusal) => {
                // The client reads the answer only after it has sent its body.
                drain(body).await;
                return Err(refusal);
            }
        };
        let (feeder, reader) = BodyReader::new();
        let uploads = Arc::clone(&self.uploads);
        let cut = self.switches().cut_block;
        let work = tokio::task::spawn_blocking(move || {
            let mut source = unpacked(compression, reader);
            uploads.put_block(&upload, block_id, version, &mut *source, cut)
        });
        let fed = feed(body, feeder, cut_request, self.switches().idle_max()).await;
        let put = work.await.map_err(|error| Refusal::new(500, "InternalServerError", error.to_string()))?;
        if fed != Fed::Whole {
            return Ok(None);
        }
        put.map(|_| Some(Answer::empty(200)))
    }

    async fn put_pack(
        self: &Arc<Self>,
        asked: &Asked,
        body: Body,
        cut_request: Option<u64>,
    ) -> Result<Option<Answer>, Refusal> {
        let text = |name| asked.value(name).map(str::to_owned);
        let header = |name| asked.header(name).filter(|value| !value.is_empty()).map(str::to_owned);
        let wanted = PackWanted {
            session: text("uploadid").unwrap_or_default(),
            slot: text("slotid").unwrap_or_default(),
            partition: text("partition"),
            schema_version: text("schema_version").and_then(|text| text.parse().ok()),
            check_latest_schema: asked.parameter("check_latest_schema").is_some_and(is_true),
            record_count: text("record_count").and_then(|text| text.parse().ok()),
            routed_server: header("odps-tunnel-routed-server"),
            trace: header("odps-tunnel-retry-trace-id"),
        };
        let switches = self.switches();
        let begun = self.check_project(asked).and_then(|()| {
            let compression = compression_of(asked)?;
            let service = Arc::clone(self);
            Ok((compression, blocking(move || service.streams.begin(&wanted, &switches))))
        });
        let begun = match begun {
            Ok((compression, target)) => target.await.map(|target| (compression, target)),
            Err(refusal) => Err(refusal),
        };
        let (compression, target) = match begun {
            Ok(begun) => begun,
            Err(refusal) => {
                drain(body).await;
                return Err(refusal);
            }
        };
        let (feeder, reader) = BodyReader::new();
        let streams = Arc::clone(&self.streams);
        let work = tokio::task::spawn_blocking(move || {
            let mut source = unpacked(compression, reader);
            streams.write(&target, &mut *source, switches.repeated_pack)
        });
        let fed = feed(body, feeder, cut_request, self.switches().idle_max()).await;
        let put = work.await.map_err(|error| Refusal::new(500, "InternalServerError", error.to_string()))?;
        if fed != Fed::Whole {
            return Ok(None);
        }
        let PackAnswer { slots, server, batch } = put?;
        let answer = Answer::empty(200)
            .header("odps-tunnel-slot-num", &slots.to_string())
            .header("odps-tunnel-routed-server", &server)
            .header("odps-tunnel-batch-id", &batch.to_string());
        Ok(Some(answer))
    }

    #[allow(clippy::type_complexity)]
    fn begin_block(&self, asked: &Asked) -> Result<(Arc<Upload>, u32, i64, Compression), Refusal> {
        if asked.parameter("arrow").is_some() {
            return Err(Refusal::new(501, "NotImplemented", "the local MaxCompute takes no Arrow blocks yet"));
        }
        let compression = compression_of(asked)?;
        let version = asked.value("block_version").and_then(|text| text.parse().ok()).unwrap_or(0);
        let (upload, block_id) = self.uploads.begin_block(
            asked.value("uploadid").unwrap_or_default(),
            asked.value("blockid"),
            asked.value("partition"),
        )?;
        Ok((upload, block_id, version, compression))
    }

    fn download(&self, asked: &Asked) -> Result<Answer, Refusal> {
        if asked.parameter("arrow").is_some() {
            return Err(Refusal::new(501, "NotImplemented", "the local MaxCompute gives no Arrow yet"));
        }
        let snapshot = self.downloads.snapshot(asked.value("downloadid").unwrap_or_default())?;
        let selection = Selection::parse(&snapshot, asked.value("rowrange"), asked.value("columns"))?;
        let compression = download_compression(asked.header("accept-encoding"));
        let answer = Answer::streamed(stream_of(read(snapshot, selection, compression)));
        Ok(match compression.content_encoding() {
            Some(named) => answer.header("content-encoding", named),
            None => answer,
        })
    }

    /// The first rows as CSV.
    fn preview(&self, asked: &Asked, at: &TablePath) -> Result<Answer, Refusal> {
        let snapshot = self.snapshot(at, asked.value("partition"))?;
        let rows = asked.value("linenum").and_then(|text| text.parse().ok()).unwrap_or(meta::READ_TABLE_MAX_ROW);
        let csv = sql::csv(&snapshot.schema, &snapshot.segments, rows.min(meta::READ_TABLE_MAX_ROW), &self.time_zone);
        let csv = csv.map_err(|error| Refusal::new(500, "InternalServerError", error))?;
        Ok(Answer::whole(200, "text/csv", csv))
    }

    fn submit(self: &Arc<Self>, asked: &Asked, body: &Bytes) -> Result<Answer, Refusal> {
        let submission = Submission::parse(body)?;
        let schema = asked
            .value("curr_schema")
            .or_else(|| submission.settings.get("odps.default.schema").map(String::as_str))
            .unwrap_or(super::request::DEFAULT_SCHEMA)
            .to_lowercase();
        let zone = submission.settings.get("odps.sql.timezone").and_then(|name| jiff::tz::TimeZone::get(name).ok());
        let context = SqlContext {
            tables: Arc::clone(&self.tables),
            clock: self.clock.clone(),
            project: self.project.clone(),
            owner: self.owner.clone(),
            schema,
            time_zone: zone.unwrap_or_else(|| self.time_zone.clone()),
            cancelled: Arc::default(),
        };
        let id = self.instances.submit(submission, context)?;
        let location = format!("http://{}/api/projects/{}/instances/{id}", self.host(asked), self.project);
        Ok(Answer::whole(201, "application/xml", String::new()).header("location", &location))
    }

    fn snapshot(&self, at: &TablePath, partition: Option<&str>) -> Result<Snapshot, Refusal> {
        let table = self.table(at).ok_or_else(|| no_such_table(at))?;
        let spec = partition_of(&table, partition)?;
        let found = table.partitions.get(&Table::key_of(spec.as_ref()));
        match (found, spec) {
            (Some(found), _) => Ok(Snapshot::new(Arc::clone(&table.schema), found.segments.clone())),
            (None, Some(spec)) => Err(no_such_partition(&spec)),
            (None, None) => Err(no_such_table(at)),
        }
    }

    fn table(&self, at: &TablePath) -> Option<Arc<Table>> {
        self.tables.table(&(at.schema.clone(), at.table.clone()))
    }

    fn check_project(&self, asked: &Asked) -> Result<(), Refusal> {
        match asked.operation.project() {
            Some(project) if !project.eq_ignore_ascii_case(&self.project) => {
                Err(Refusal::new(404, "NoSuchProject", format!("ODPS-0420111: Project not found - '{project}'")))
            }
            _ => Ok(()),
        }
    }

    /// `host:port` by which the client reached us: also right behind a port mapping.
    fn host(&self, asked: &Asked) -> String {
        asked.header("host").unwrap_or(&self.address).to_owned()
    }

    fn note(&self, asked: &Asked) {
        if matches!(asked.operation, Operation::Control(_)) {
            return;
        }
        let headers = asked
            .headers
            .iter()
            .filter(|(name, _)| !SECRET_HEADERS.contains(&name.as_str()))
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        let mut log = self.lock_log();
        if log.len() >= LOG_MAX {
            log.pop_front();
        }
        log.push_back(LoggedRequest {
            at_ms: self.clock.now_ms(),
            operation: asked.operation.name(),
            method: asked.method.to_string(),
            target: asked.target.clone(),
            request_id: asked.request_id.clone(),
            headers,
            signature: auth::kind(asked),
            status: 0,
        });
    }

    fn note_status(&self, request_id: &str, status: u16) {
        if let Some(entry) = self.lock_log().iter_mut().rev().find(|entry| entry.request_id == request_id) {
            entry.status = status;
        }
    }

    fn lock_log(&self) -> MutexGuard<'_, VecDeque<LoggedRequest>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs what may wait for the disk on a thread that may wait.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Refusal> + Send + 'static) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(Refusal::new(500, "InternalServerError", error.to_string())))
}

/// Reads a body nobody wants, so that the client comes to read the answer.
async fn drain(body: Body) {
    let mut stream = body.into_data_stream();
    while let Some(Ok(_)) = stream.next().await {}
}

fn fault_answer(action: &Action, asked: &Asked) -> Answer {
    let Action::Status { status, code, message, retry_after_s } = action else { return Answer::empty(500) };
    let mut answer = if code.is_empty() {
        Answer::whole(*status, "text/html", format!("<html><body><h1>{status}</h1></body></html>"))
    } else {
        error_answer(*status, code, message, asked)
    };
    if let Some(seconds) = retry_after_s {
        answer.headers.insert(RETRY_AFTER, HeaderValue::from(*seconds));
    }
    answer
}

/// The answer's body up to a point, then a closed connection. The length, where one was announced, stays the whole one.
fn cut_answer(answer: Answer, after_bytes: u64, cutter: Cutter) -> Answer {
    let Answer { status, mut headers, content } = answer;
    let body: ByteStream = match content {
        Content::Whole(bytes) => {
            headers.insert(axum::http::header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
            Box::pin(futures_util::stream::once(async move { Ok(bytes) }))
        }
        Content::Streamed(stream) => stream,
    };
    let state = (body, after_bytes, cutter);
    let cut = futures_util::stream::unfold(state, |(mut body, left, cutter)| async move {
        if left > 0
            && let Some(piece) = body.next().await
        {
            let piece = piece.map(|mut piece| {
                piece.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                piece
            });
            let sent = piece.as_ref().map_or(0, |piece| piece.len() as u64);
            return Some((piece, (body, left.saturating_sub(sent), cutter)));
        }
        // Let what was handed over leave the machine before the connection ends.
        tokio::time::sleep(CUT_DELAY).await;
        cutter.cut();
        Some((Err(std::io::Error::other("cut by the sandbox")), (body, 0, cutter)))
    });
    Answer { status, headers, content: Content::Streamed(Box::pin(cut)) }
}

fn compression_of(asked: &Asked) -> Result<Compression, Refusal> {
    let named = asked.header("content-encoding").unwrap_or_default();
    Compression::of_content_encoding(named)
        .ok_or_else(|| Refusal::new(400, "MalformedHeaderValue", format!("unknown Content-Encoding '{named}'")))
}

/// A flag that may come without a value.
fn is_set(asked: &Asked, name: &str) -> bool {
    asked.parameter(name).is_some_and(|text| text.is_empty() || is_true(text))
}

fn is_true(text: &str) -> bool {
    text.eq_ignore_ascii_case("true") || text == "1"
}

/// Credentials never reach the log.
const SECRET_HEADERS: [&str; 5] =
    ["authorization", "authorization-sts-token", "x-odps-bearer-token", "application-authentication", "sts-token"];

/// Requests that the log keeps.
const LOG_MAX: usize = 20_000;
/// Largest body of a control request, in bytes.
const CONTROL_BYTES_MAX: usize = 1024 * 1024;
/// Largest body of a request that is not a block, in bytes: a SQL text.
const REQUEST_BYTES_MAX: usize = 16 * 1024 * 1024;
const CUT_DELAY: Duration = Duration::from_millis(20);
