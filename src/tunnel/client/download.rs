//! Download sessions: a snapshot of a table, of a partition, or of a query's result.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::request::{Host, Request, Trace, random_seed};
use super::{MaxCompute, SqlInstance};
use crate::limits::FIELD_BYTES_MAX;
use crate::tunnel::encode::{Compression, RowDecoder, Unpacker};
use crate::tunnel::error::{Error, ErrorKind};
use crate::tunnel::http::{Answer, Incoming, Method};
use crate::tunnel::partition::PartitionSpec;
use crate::tunnel::schema::TableSchema;
use crate::tunnel::session::{Fault, FaultClass, Next, Reading};
use crate::tunnel::value::Value;
use crate::wire::{DecodeError, DecodeFault};

/// A download session. Cheap to clone; clones are the same session, so that ranges can be read in parallel.
///
/// What it reads is the table as it was when the session was created, for 24 h. Dropping it does nothing.
#[derive(Clone, Debug)]
pub struct Download(Arc<Session>);

#[derive(Debug)]
struct Session {
    client: MaxCompute,
    source: Source,
    id: String,
    schema: TableSchema,
    rows: u64,
}

/// What a session is a snapshot of.
#[derive(Clone, Debug)]
enum Source {
    Table { table: String, partition: Option<String> },
    Instance { id: String },
}

/// Which part of a session is read, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadOptions {
    /// The first row, counted from 0.
    pub start: u64,
    /// Rows to read at most; the session's end ends it earlier.
    pub count: u64,
    /// Columns by name, in the order in which values are wanted; `None` is all of them.
    pub columns: Option<Vec<String>>,
    /// How the rows may be packed on their way, none or deflate; the service decides.
    pub compression: Compression,
}

impl Default for ReadOptions {
    /// Every row and column, unpacked.
    fn default() -> Self {
        Self { start: 0, count: u64::MAX, columns: None, compression: Compression::None }
    }
}

const POLL_PAUSE_FIRST: Duration = Duration::from_millis(100);
const POLL_PAUSE_MAX: Duration = Duration::from_secs(5);

impl MaxCompute {
    /// Creates a download session for `table`, or for `partition` of it with all levels in the table's order, and waits
    /// until the service has prepared it.
    ///
    /// # Errors
    /// [`ErrorKind::NoSuchTable`], [`ErrorKind::NoSuchPartition`], [`ErrorKind::Refused`] (a view, a missing partition),
    /// [`ErrorKind::Auth`], [`ErrorKind::Forbidden`], and as any call.
    pub async fn create_download(&self, table: &str, partition: Option<&PartitionSpec>) -> Result<Download, Error> {
        let source = Source::table(table, partition);
        let what = format!("create a download session for {}", source.name(self));
        let request = self.download_request(&source, Method::Post, &what)?.query("downloads", "");
        self.start_download(source.clone(), request.query("asyncmode", "true")).await
    }

    /// Takes up a session that was created before by its id.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when the service does not know it; otherwise as any call.
    pub async fn attach_download(
        &self,
        table: &str,
        partition: Option<&PartitionSpec>,
        id: &str,
    ) -> Result<Download, Error> {
        let source = Source::table(table, partition);
        let what = format!("read download session {id} of {}", source.name(self));
        let request = self.download_request(&source, Method::Get, &what)?.query("downloadid", id);
        self.start_download(source.clone(), request).await
    }

    fn download_request<'a>(&'a self, source: &'a Source, method: Method, what: &str) -> Result<Request<'a>, Error> {
        Ok(match source {
            Source::Table { table, partition } => {
                let request = Request::new(Host::Tunnel, method, self.table_path(table)?, what);
                match partition {
                    Some(partition) => request.query("partition", partition),
                    None => request,
                }
            }
            Source::Instance { id } => {
                let path = vec!["projects", self.config().project.as_str(), "instances", id.as_str()];
                Request::new(Host::Tunnel, method, path, what)
            }
        })
    }

    /// Sends what creates or finds a session, and waits until it can be read.
    async fn start_download(&self, source: Source, request: Request<'_>) -> Result<Download, Error> {
        let mut answer = self.connection.send(&request).await?;
        let mut pause = POLL_PAUSE_FIRST;
        let deadline = self.connection.elapsed().saturating_add(self.config().retry.deadline);
        loop {
            let raw = RawDownload::parse(&answer).map_err(|why| unreadable(why, &answer, &request.what))?;
            let status = raw.status.as_deref().unwrap_or_default().to_ascii_lowercase();
            let fault = |kind, why: String| {
                Err(Error::new(kind, why).with_request_id(answer.request_id()).during(&request.what))
            };
            match status.as_str() {
                // A service that says nothing about it has nothing to prepare.
                "normal" | "" => {
                    return self.download_of(source, raw).map_err(|why| unreadable(why, &answer, &request.what));
                }
                "initiating" if self.connection.elapsed() < deadline => {}
                "initiating" => return fault(ErrorKind::Unavailable, "the service did not prepare it in time".into()),
                other => return fault(ErrorKind::SessionDead, format!("the session is {}", other.escape_debug())),
            }
            let Some(id) = raw.id.filter(|id| !id.is_empty()) else {
                return fault(ErrorKind::Decode, "the answer has no DownloadID".into());
            };
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2).min(POLL_PAUSE_MAX);
            let what = format!("read download session {id} of {}", source.name(self));
            let poll = self.download_request(&source, Method::Get, &what)?.query("downloadid", id);
            answer = self.connection.send(&poll).await?;
        }
    }

    fn download_of(&self, source: Source, raw: RawDownload) -> Result<Download, String> {
        let id = raw.id.filter(|id| !id.is_empty()).ok_or("the answer has no DownloadID")?;
        let schema = raw.schema.ok_or("the answer has no Schema")?;
        let schema = TableSchema::from_raw_json(&schema).map_err(|error| error.to_string())?;
        let rows = raw.rows.ok_or("the answer has no RecordCount")?;
        Ok(Download(Arc::new(Session { client: self.clone(), source, id, schema, rows })))
    }
}

impl SqlInstance {
    /// Creates a download session for the rows of a SELECT that has ended, through the instance tunnel: all of them, or,
    /// where the project does not allow that, as many as it does. The flag says whether the service capped the rows.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] when the statement gave no rows to read or has not ended; [`ErrorKind::Forbidden`] when the
    /// project allows no instance tunnel; otherwise as any call.
    pub async fn download(&self) -> Result<(Download, bool), Error> {
        let source = Source::Instance { id: self.id().to_owned() };
        let what = format!("create a download session for {}", source.name(self.client()));
        let create = || {
            let request = self.client().download_request(&source, Method::Post, &what)?;
            Ok::<_, Error>(request.query("downloads", ""))
        };
        match self.client().start_download(source.clone(), create()?).await {
            Ok(download) => Ok((download, false)),
            // A project with protection lets only the first rows out, and only to those who say that they know.
            Err(error) if error.kind() == ErrorKind::Forbidden => {
                log::warn!("{error}; asking for as many rows as the project lets out");
                let request = create()?.query("instance_tunnel_limit_enabled", "");
                Ok((self.client().start_download(source.clone(), request).await?, true))
            }
            Err(error) => Err(error),
        }
    }
}

impl Source {
    fn table(table: &str, partition: Option<&PartitionSpec>) -> Self {
        Self::Table { table: table.to_owned(), partition: partition.map(PartitionSpec::to_string) }
    }

    /// For messages.
    fn name(&self, client: &MaxCompute) -> String {
        match self {
            Self::Table { table, partition } => client.target(table, partition.as_deref()),
            Self::Instance { id } => format!("SQL instance {id}"),
        }
    }
}

impl Download {
    /// The session's id (`DownloadID`).
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// The columns, in the table's order.
    pub fn schema(&self) -> &TableSchema {
        &self.0.schema
    }

    /// Rows in the snapshot.
    pub fn rows(&self) -> u64 {
        self.0.rows
    }

    /// Starts reading. Nothing is sent before [`RowReader::next_row`].
    ///
    /// # Errors
    /// [`ErrorKind::Config`]: columns that the table does not have or that are named twice, or none at all; a
    /// compression that cannot be read while it comes.
    pub fn read(&self, options: &ReadOptions) -> Result<RowReader, Error> {
        let what = format!("read rows of {}", self.0.source.name(&self.0.client));
        if Unpacker::new(options.compression).is_none() {
            let message = "rows can be read packed with deflate, or not packed";
            return Err(Error::new(ErrorKind::Config, message).during(what));
        }
        let schema = &self.0.schema;
        let wanted = match &options.columns {
            None => (0..schema.columns.len()).collect(),
            Some(names) if names.is_empty() => {
                return Err(Error::new(ErrorKind::Config, "no columns to read").during(what));
            }
            Some(names) => schema.places(names).map_err(|why| Error::new(ErrorKind::Config, why).during(&what))?,
        };
        // The service is asked in the table's order, and the values are put in the wanted one here: what it does with
        // columns in another order is not documented.
        let mut asked = wanted.clone();
        crate::sorting::sort(&mut asked);
        let order = wanted.iter().filter_map(|place| asked.iter().position(|other| other == place)).collect();
        let pick = |places: &[usize]| TableSchema {
            columns: places.iter().filter_map(|place| schema.columns.get(*place).cloned()).collect(),
            partition_keys: Vec::new(),
        };
        let on_wire = pick(&asked);
        let columns = options.columns.is_some().then(|| {
            let names: Vec<&str> = on_wire.columns.iter().map(|column| column.name.as_str()).collect();
            names.join(",")
        });
        let start = options.start.min(self.0.rows);
        let count = options.count.min(self.0.rows.saturating_sub(start));
        let connection = &self.0.client.connection;
        let policy = connection.config().retry;
        Ok(RowReader {
            reading: Reading::new(start, count, policy, connection.elapsed(), random_seed()),
            schema: pick(&wanted),
            on_wire,
            order,
            columns,
            compression: options.compression,
            download: self.clone(),
            trace: Trace { id: Uuid::new_v4(), index: 0 },
            open: None,
            what,
        })
    }

    /// Tells the service that the session is not needed any more. Only a courtesy: it ends by itself after 24 h, and a
    /// session of the instance tunnel has no such call, so nothing is sent for one.
    ///
    /// # Errors
    /// As any call.
    pub async fn close(&self) -> Result<(), Error> {
        if matches!(self.0.source, Source::Instance { .. }) {
            return Ok(());
        }
        let what = format!("close download session {}", self.0.id);
        let request = self.0.client.download_request(&self.0.source, Method::Post, &what)?;
        self.0.client.connection.send(&request.query("downloadid", &self.0.id)).await.map(|_| ())
    }
}

/// The rows of a range, in order.
///
/// A connection that breaks costs only the rows that have not come: they are asked for again, within the client's retry
/// policy. An answer without its trailer counts as broken, however cleanly it ended.
#[derive(Debug)]
pub struct RowReader {
    download: Download,
    reading: Reading,
    /// The columns as the caller wants them.
    schema: TableSchema,
    /// The columns as they come.
    on_wire: TableSchema,
    /// For each wanted column its place among those that come.
    order: Vec<usize>,
    columns: Option<String>,
    compression: Compression,
    trace: Trace,
    open: Option<OpenAnswer>,
    what: String,
}

#[derive(Debug)]
struct OpenAnswer {
    incoming: Incoming,
    unpacker: Unpacker,
    decoder: RowDecoder,
}

impl RowReader {
    /// The columns of the rows, in the order that was asked for.
    pub const fn schema(&self) -> &TableSchema {
        &self.schema
    }

    /// The next row with one value a column, or `None` after the last.
    ///
    /// Cancel-safe: a row that was not given out comes with the next call.
    ///
    /// # Errors
    /// [`ErrorKind::Decode`]: the answer is not rows of these columns, or holds fewer or more than were asked for;
    /// otherwise as any call. Rows that were given out before are good.
    pub async fn next_row(&mut self) -> Result<Option<Vec<Value>>, Error> {
        loop {
            if self.reading.is_done() && self.open.is_none() {
                return Ok(None);
            }
            let error = match self.advance().await {
                Ok(Some(row)) => {
                    self.reading.handle_row().map_err(|_| self.decode_error("more rows came than were asked for"))?;
                    return Ok(Some(self.ordered(row)));
                }
                Ok(None) => {
                    self.open = None;
                    self.reading.handle_end().map_err(|short| {
                        self.decode_error(&format!("the answer is whole and lacks {} rows", short.missing))
                    })?;
                    continue;
                }
                Err(error) => error,
            };
            self.open = None;
            // All rows are here and good; only the trailer is not.
            if self.reading.is_done() && Fault::from(&error).class != FaultClass::Final {
                log::debug!("{error}; all rows had come");
                return Ok(None);
            }
            let connection = &self.download.0.client.connection;
            let now = connection.elapsed();
            match self.reading.handle_fault(now, Fault::from(&error)) {
                Next::At(at) => {
                    let pause = at.saturating_sub(now);
                    log::warn!("{error}; again from row {} in {:.1} s", self.reading.range().0, pause.as_secs_f64());
                    tokio::time::sleep(pause).await;
                }
                Next::GiveUp => return Err(error.with_attempts(self.reading.attempts())),
            }
        }
    }

    /// The next row of the open answer, opening one if need be; `None` at its whole end.
    async fn advance(&mut self) -> Result<Option<Vec<Value>>, Error> {
        let what = self.what.clone();
        let mut answer = match self.open.take() {
            Some(answer) => answer,
            None => self.ask().await?,
        };
        let decode = |error: DecodeError| {
            // A checksum that does not match is damage on the way, which another attempt may be spared.
            let kind = match error.fault {
                DecodeFault::Checksum { .. } | DecodeFault::Truncated { .. } => ErrorKind::Unavailable,
                _ => ErrorKind::Decode,
            };
            Error::new(kind, format!("the rows cannot be read: {error}")).during(&what)
        };
        loop {
            if let Some(row) = answer.decoder.next_row().map_err(decode)? {
                self.open = Some(answer);
                return Ok(Some(row));
            }
            let unpacked = answer.unpacker.next_piece().map_err(|error| {
                Error::new(ErrorKind::Unavailable, format!("the rows cannot be read: {error}")).during(&what)
            })?;
            if let Some(bytes) = unpacked {
                answer.decoder.push(&bytes);
                continue;
            }
            // Kept over the wait, so that dropping the future loses nothing.
            let open = self.open.insert(answer);
            let piece = open.incoming.next().await.map_err(|error| error.during(&what));
            let Some(mut taken) = self.open.take() else { return Ok(None) };
            match piece? {
                Some(piece) => taken.unpacker.push(piece),
                None if taken.decoder.is_whole() => return Ok(None),
                None => {
                    let message = "the answer ended before its trailer";
                    return Err(Error::new(ErrorKind::Unavailable, message).during(&what));
                }
            }
            answer = taken;
        }
    }

    async fn ask(&mut self) -> Result<OpenAnswer, Error> {
        let session = &self.download.0;
        let (start, count) = self.reading.range();
        let request = session.client.download_request(&session.source, Method::Get, &self.what)?;
        let mut request = request.query("data", "").query("downloadid", &session.id);
        request = request.query("rowrange", format!("({start},{count})"));
        if let Some(columns) = &self.columns {
            request = request.query("columns", columns);
        }
        if let Some(encoding) = self.compression.content_encoding() {
            request = request.header("Accept-Encoding", encoding);
        }
        let trace = self.trace;
        self.trace.index = self.trace.index.saturating_add(1);
        let incoming = session.client.connection.open_once(&request, trace).await?;
        let named = incoming.head().header("content-encoding").unwrap_or_default();
        let compression = Compression::of_content_encoding(named);
        let unpacker = compression.and_then(Unpacker::new).ok_or_else(|| {
            let message = format!("the answer is packed as \"{}\", which was not asked for", named.escape_debug());
            Error::new(ErrorKind::Decode, message).with_request_id(incoming.head().request_id()).during(&self.what)
        })?;
        // ARRAY, MAP and STRUCT have no length of their own and may be larger than one text in them.
        let decoder = RowDecoder::new(&self.on_wire).with_field_bytes_max(VALUE_BYTES_MAX).with_metrics();
        Ok(OpenAnswer { incoming, unpacker, decoder })
    }

    fn ordered(&self, mut row: Vec<Value>) -> Vec<Value> {
        if self.columns.is_none() {
            return row;
        }
        let take =
            |place: &usize| row.get_mut(*place).map_or(Value::Null, |value| std::mem::replace(value, Value::Null));
        self.order.iter().map(take).collect()
    }

    fn decode_error(&self, why: &str) -> Error {
        Error::new(ErrorKind::Decode, why).during(&self.what)
    }
}

/// Largest value taken from a download, in bytes: some fields of the largest size inside one.
const VALUE_BYTES_MAX: usize = 8 * FIELD_BYTES_MAX;

fn unreadable(why: String, answer: &Answer, what: &str) -> Error {
    Error::new(ErrorKind::Decode, why).with_request_id(answer.request_id()).during(what)
}

/// Whether the answer is a session, schema included.
pub(super) fn is_session(answer: &Answer) -> bool {
    RawDownload::parse(answer)
        .is_ok_and(|raw| raw.schema.as_ref().is_none_or(|schema| TableSchema::from_raw_json(schema).is_ok()))
}

/// The JSON of create and status; any key may be missing.
#[derive(Deserialize)]
struct RawDownload {
    #[serde(rename = "DownloadID")]
    id: Option<String>,
    #[serde(rename = "Status")]
    status: Option<String>,
    #[serde(rename = "Schema")]
    schema: Option<Box<RawValue>>,
    #[serde(rename = "RecordCount")]
    rows: Option<u64>,
}

impl RawDownload {
    fn parse(answer: &Answer) -> Result<Self, String> {
        serde_json::from_slice(&answer.body).map_err(|error| format!("the answer is not a session: {error}"))
    }
}
