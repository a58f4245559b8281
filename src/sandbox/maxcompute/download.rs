//! Download sessions: a snapshot of a table, a partition or a query's result, read back row by row.
//!
//! A session holds the blocks it began with, so that later commits, overwrites and drops do not show in it.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde_json::{Value as Json, json};
use tokio::sync::mpsc;

use super::answer::Refusal;
use super::body::PIECES_AHEAD;
use super::schema_json;
use super::store::rows::{RowScan, Types};
use super::store::segment::Segment;
use super::upload::{EXPIRY_MS, FORGOTTEN_MS, http_date, session_id};
use crate::sandbox::clock::SandboxClock;
use crate::tunnel::encode::{self, Compression};
use crate::tunnel::{RowEncoder, TableSchema, Value};

/// What a session reads from.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub(super) schema: Arc<TableSchema>,
    pub(super) segments: Vec<Arc<Segment>>,
    /// Rows that may be read; less than the segments hold when the caller asked for a limit.
    pub(super) rows: u64,
}

impl Snapshot {
    /// A snapshot of all rows of `segments`.
    pub(super) fn new(schema: Arc<TableSchema>, segments: Vec<Arc<Segment>>) -> Self {
        let rows = segments.iter().map(|segment| segment.rows).sum();
        Self { schema, segments, rows }
    }
}

#[derive(Debug)]
struct Download {
    snapshot: Snapshot,
    created_ms: i64,
    /// Status polls that still answer `INITIATING`.
    initiating: u32,
    released: bool,
}

/// All download sessions.
#[derive(Debug)]
pub(super) struct Downloads {
    clock: SandboxClock,
    owner: String,
    sessions: Mutex<BTreeMap<String, Download>>,
}

impl Downloads {
    pub(super) fn new(clock: SandboxClock, owner: &str) -> Self {
        Self { clock, owner: owner.to_owned(), sessions: Mutex::default() }
    }

    /// Creates a session. `initiating` status polls answer `INITIATING` before it is ready.
    pub(super) fn create(&self, snapshot: Snapshot, initiating: u32) -> Json {
        let now_ms = self.clock.now_ms();
        let id = session_id(now_ms);
        let mut sessions = self.lock();
        sessions.retain(|_, old| now_ms.saturating_sub(old.created_ms) < FORGOTTEN_MS);
        let download = Download { snapshot, created_ms: now_ms, initiating, released: false };
        let answer = self.describe(&id, &download);
        sessions.insert(id, download);
        answer
    }

    /// The session's status.
    pub(super) fn status(&self, id: &str) -> Result<Json, Refusal> {
        let mut sessions = self.lock();
        let download = sessions.get_mut(id).ok_or_else(|| no_such(id))?;
        let answer = self.describe(id, download);
        download.initiating = download.initiating.saturating_sub(1);
        Ok(answer)
    }

    /// Says that the client is done.
    pub(super) fn release(&self, id: &str) -> Result<Json, Refusal> {
        let mut sessions = self.lock();
        let download = sessions.get_mut(id).ok_or_else(|| no_such(id))?;
        download.released = true;
        download.snapshot.segments.clear();
        Ok(self.describe(id, download))
    }

    /// What to read, if the session is open.
    pub(super) fn snapshot(&self, id: &str) -> Result<Snapshot, Refusal> {
        let sessions = self.lock();
        let download = sessions.get(id).ok_or_else(|| no_such(id))?;
        match self.status_of(download) {
            "normal" | "initiating" => Ok(download.snapshot.clone()),
            status => Err(Refusal::new(
                409,
                "StatusConflict",
                format!("You cannot complete the specified operation under the current download status: {status}"),
            )),
        }
    }

    fn status_of(&self, download: &Download) -> &'static str {
        if download.released {
            "closed"
        } else if self.clock.now_ms().saturating_sub(download.created_ms) >= EXPIRY_MS {
            "expired"
        } else if download.initiating > 0 {
            "initiating"
        } else {
            "normal"
        }
    }

    fn describe(&self, id: &str, download: &Download) -> Json {
        json!({
            "DownloadID": id,
            "Status": self.status_of(download),
            "Schema": schema_json(&download.snapshot.schema),
            "RecordCount": download.snapshot.rows,
            "QuotaName": "default",
            "Owner": self.owner,
            "Initiated": http_date(download.created_ms),
            "SupportReadByRawSize": false,
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Download>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn no_such(id: &str) -> Refusal {
    Refusal::new(404, "NoSuchDownload", format!("The specified download id does not exist: {id}"))
}

/// Which rows and columns a read is about.
#[derive(Clone, Debug)]
pub(super) struct Selection {
    start: u64,
    count: u64,
    /// Places in the schema, in the order in which they are numbered on the wire.
    columns: Vec<usize>,
}

impl Selection {
    /// Reads `rowrange` = `(start,count)` and `columns` = `a,b`.
    pub(super) fn parse(snapshot: &Snapshot, rowrange: Option<&str>, columns: Option<&str>) -> Result<Self, Refusal> {
        let bad_range = || {
            let shown = rowrange.unwrap_or_default();
            Refusal::new(400, "InvalidRowRange", format!("The specified row range is not valid: '{shown}'"))
        };
        let (start, count) = match rowrange {
            None => (0, snapshot.rows),
            Some(text) => {
                let inner = text.trim().strip_prefix('(').and_then(|text| text.strip_suffix(')')).unwrap_or(text);
                let (start, count) = inner.split_once(',').ok_or_else(bad_range)?;
                let start: u64 = start.trim().parse().map_err(|_| bad_range())?;
                let count: u64 = count.trim().parse().map_err(|_| bad_range())?;
                (start, count)
            }
        };
        if start > snapshot.rows {
            return Err(bad_range());
        }
        let columns = match columns {
            None => (0..snapshot.schema.columns.len()).collect(),
            Some(text) => text
                .split(',')
                .map(|name| {
                    snapshot.schema.column_index(name.trim()).ok_or_else(|| {
                        let name = name.trim();
                        Refusal::new(400, "InvalidColumnSpec", format!("The specified columns are not valid: '{name}'"))
                    })
                })
                .collect::<Result<_, _>>()?,
        };
        Ok(Self { start, count: count.min(snapshot.rows.saturating_sub(start)), columns })
    }
}

/// Starts reading; the pieces of the body come out of the channel. An error in the middle ends the connection, so the
/// client never sees a trailer it could take for the end.
pub(super) fn read(
    snapshot: Snapshot,
    selection: Selection,
    compression: Compression,
) -> mpsc::Receiver<io::Result<Bytes>> {
    let (pieces, body) = mpsc::channel(PIECES_AHEAD);
    tokio::task::spawn_blocking(move || {
        let mut out = Packer::new(compression, pieces);
        // A client that went away is no error; one that is still there learns of a damaged block by the cut.
        if let Err(error) = write_rows(&snapshot, &selection, &mut out) {
            log::warn!("local MaxCompute cannot go on with a download: {error}");
            out.fail(error);
        }
    });
    body
}

fn write_rows(snapshot: &Snapshot, selection: &Selection, out: &mut Packer) -> io::Result<()> {
    let types: Types = snapshot.schema.columns.iter().map(|column| column.type_.clone()).collect();
    let all: Vec<bool> = (0..types.len()).map(|index| selection.columns.contains(&index)).collect();
    let none = vec![false; types.len()];
    let mut encoder = RowEncoder::new();
    let mut row: Vec<Value> = Vec::new();
    let mut skip = selection.start;
    let mut left = selection.count;
    for segment in &snapshot.segments {
        if left == 0 {
            break;
        }
        if skip >= segment.rows {
            skip -= segment.rows;
            continue;
        }
        let mut scan = RowScan::new(segment.open()?, Arc::clone(&types));
        while left > 0 {
            let wanted = if skip > 0 { &none } else { &all };
            if !scan.next_row(wanted, &mut row).map_err(|fault| io::Error::other(fault.to_string()))? {
                break;
            }
            if skip > 0 {
                skip -= 1;
                continue;
            }
            for (place, index) in selection.columns.iter().enumerate() {
                if let (Some(type_), Some(value)) = (types.get(*index), row.get(*index)) {
                    encoder.value(place, type_, value).map_err(io::Error::other)?;
                }
            }
            encoder.end_row();
            left -= 1;
            if encoder.pending_bytes() >= PIECE_BYTES && !out.push(encoder.take())? {
                return Ok(());
            }
        }
    }
    out.push(encoder.finish())?;
    out.finish()
}

/// Packs the body as the client asked and hands it on.
struct Packer {
    pieces: mpsc::Sender<io::Result<Bytes>>,
    packer: Option<encode::Packer>,
}

impl Packer {
    fn new(compression: Compression, pieces: mpsc::Sender<io::Result<Bytes>>) -> Self {
        // Without a packer nothing is sent, and the body ends before its trailer.
        Self { pieces, packer: encode::Packer::new(compression).ok() }
    }

    /// False when nobody reads any more.
    fn push(&mut self, bytes: Bytes) -> io::Result<bool> {
        let Some(packer) = &mut self.packer else { return Err(io::Error::other("no packer")) };
        let ready = packer.push(bytes)?;
        Ok(ready.is_empty() || self.pieces.blocking_send(Ok(ready)).is_ok())
    }

    fn finish(&mut self) -> io::Result<()> {
        if let Some(packer) = self.packer.take() {
            let rest = packer.finish()?;
            // The reader may be gone, which is its right.
            let _ = self.pieces.blocking_send(Ok(rest));
        }
        Ok(())
    }

    fn fail(&self, error: io::Error) {
        let _ = self.pieces.blocking_send(Err(error));
    }
}

/// The compression of a download: deflate if it is acceptable, else the first that is.
pub(super) fn download_compression(accept: Option<&str>) -> Compression {
    let names = accept.unwrap_or_default().split(',').map(|name| name.split(';').next().unwrap_or_default());
    let known: Vec<Compression> = names.filter_map(Compression::of_content_encoding).collect();
    match known.first() {
        _ if known.contains(&Compression::Deflate) => Compression::Deflate,
        first => first.copied().unwrap_or_default(),
    }
}

const PIECE_BYTES: usize = 64 * 1024;
