//! A local MaxCompute: the REST interface, the Tunnel and a little SQL on one port, for demos and tests.
//!
//! The official SDKs (PyODPS, odps-sdk-java) work against it unmodified. Both hosts of the service are one port: the ODPS
//! endpoint is `http://host:port/api`, the tunnel endpoint `http://host:port`. Paths are taken with and without `/api` and
//! with and without a schema level. Tables, partitions and upload sessions are kept in a folder if one is given, else in
//! memory.
//!
//! What it never does: import the client's sessions or HTTP code, so that the two cannot share a mistake.
//! The invariant: rows are visible exactly when a commit has succeeded, all of them at once, also after a crash.
//!
//! # Faults and other orders
//!
//! Tests order misbehaviour in the process ([`LocalMaxCompute::faults`], [`LocalMaxCompute::set_switches`],
//! [`LocalMaxCompute::clock`]) or from outside, under `/__sandbox` (JSON, no signature):
//!
//! | Request | Body | Effect |
//! |---|---|---|
//! | `POST /__sandbox/faults` | one fault, or `{"faults": […]}` | orders them |
//! | `GET /__sandbox/faults` | | `{"faults": […]}`, those still waiting |
//! | `DELETE /__sandbox/faults` | | forgets them |
//! | `GET /__sandbox/requests` | | `{"requests": […]}`: at_ms, operation, method, target, request_id, headers (no credentials), signature (`legacy`, `v4`, `bearer`, `none`), status |
//! | `DELETE /__sandbox/requests` | | empties the log |
//! | `GET`, `POST /__sandbox/switches` | any of the switches below | answers that the real service leaves open; a full disk |
//! | `POST /__sandbox/clock` | `{"advance_s": n}` | moves the clock |
//! | `GET /__sandbox/sessions` | | `{"uploads": [{"id", "status"}], "streams": [{"id", "status"}]}` |
//! | `POST /__sandbox/sessions` | `{"expire": id}`, `{"forget": id}` or `{"critical": id}` | ends an upload session |
//! | `POST /__sandbox/streams` | `{"move_slots": id, "slots": n}` or `{"expire": id}`; `*` for every session | moves the slots of stream sessions (`slots` changes their number), or ends them |
//!
//! The switches, each with its default first:
//!
//! | Switch | Values |
//! |---|---|
//! | `repeated_commit` | `ok`, `status_conflict`: what committing a closed session answers |
//! | `closed_sessions`, `expired_sessions` | `shown`, `forgotten` (404 `NoSuchUpload`) |
//! | `cut_block` | `refused`, `accepted`: a block whose body is cut, whole rows being kept |
//! | `empty_overwrite` | `empties`, `keeps`, `refused`: an overwrite without blocks |
//! | `closing_polls`, `stale_polls`, `initiating_polls` | 0: status polls after a commit that say `closing`, that do not see it yet; polls of a new download that say `INITIATING` |
//! | `repeated_pack` | `stored`, `dropped`: a stream's pack that comes again under its trace id |
//! | `moved_slot` | `taken`, `bad_gateway`: a pack for a slot that has moved |
//! | `expired_stream` | `not_found`, `status_conflict` |
//! | `stream_slots`, `stream_init_polls` | 0: slots of a session that asks for no number; answers of a new session that say `init` |
//! | `schema_lag` | 0: stream sessions created before the tunnel knows a table's latest schema |
//! | `idle_cut_ms` | 0: never; else a block or pack whose body brings nothing for so long loses its connection (the service: 120,000) |
//! | `free_bytes` | null: bytes that may still be written before the disk counts as full |
//!
//! A fault is `{"operation": name, "when": "before"|"after", "action": …, "skip": n, "times": n, "one_in": n}`; `when` is
//! `before` (no effect) unless given, `skip` requests of the operation pass first, `times` (1) meet it. `one_in` makes it a matter
//! of chance: of the requests after those, one in so many meets it, until `times` have; the dice are the same in every process.
//! Actions and their members:
//!
//! | `action` | Members | What the client sees |
//! |---|---|---|
//! | `drop` | | the connection closes without an answer |
//! | `status` | `status`, `code`, `message`, `retry_after_s` | that answer; an empty `code` gives a proxy's HTML page |
//! | `hold` | `hold_ms` | the answer late |
//! | `move_slots` | `slots` | nothing; the slots of every stream session are others, so many of them |
//! | `cut_request` | `after_bytes` | the connection closes after so many bytes of its body |
//! | `cut_answer` | `after_bytes` | the connection closes after so many bytes of the answer's body |
//!
//! Operations: `discovery`, `project`, `tenants`, `logview_host`, `authorization`, `schema_list`, `schema`, `table_list`, `table_get`, `table_preview`,
//! `partition_list`, `partition_get`, `upload_create`, `upload_status`, `upload_block`, `upload_commit`, `stream_create`, `stream_reload`, `stream_write`, `stream_abort`, `download_create`,
//! `download_status`, `download_data`, `download_release`, `instance_submit`, `instance_list`, `instance_status`,
//! `instance_task_status`, `instance_result`, `instance_other`, `instance_terminate`, `instance_download_create`,
//! `instance_download_status`, `instance_download_data`, and `*` for any.

mod answer;
mod auth;
mod body;
mod control;
mod download;
mod fault;
mod instance;
mod meta;
mod request;
mod server;
mod service;
mod sql;
mod store;
mod stream;
#[cfg(test)]
mod tests;
mod upload;
mod xml;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;
use tokio::net::TcpListener;

use auth::Account;
use download::Downloads;
use instance::Instances;
use server::Server;
use service::Service;
use store::Tables;
use stream::Streams;
use upload::Uploads;

pub use fault::{Action, Fault, Faults, When};
pub use service::{LoggedRequest, Switches};
pub use stream::{ExpiredStream, MovedSlot, RepeatedPack};
pub use upload::{CutBlock, EmptyOverwrite, EndedSession, RepeatedCommit};

use super::clock::SandboxClock;
use crate::tunnel::{Column, TableSchema};

/// What a local MaxCompute is to be.
#[derive(Clone)]
#[non_exhaustive]
pub struct MaxComputeSandboxConfig {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The name of its one project; case does not matter.
    pub project: String,
    /// The folder that keeps tables and sessions, created if need be; `None` keeps everything in memory.
    pub data_dir: Option<PathBuf>,
    /// The id of its one account.
    pub access_id: String,
    /// The account's key. `None` accepts any request, signed or not; with a key, signatures and clocks are verified.
    pub access_key: Option<String>,
    /// The STS token that requests must carry, when the account is a temporary one.
    pub security_token: Option<String>,
    /// A bearer token that is let in beside the account, without a signature.
    pub bearer_token: Option<String>,
    /// The zone in which SQL reads and shows DATETIME and TIMESTAMP, unless a statement sets `odps.sql.timezone`.
    pub time_zone: jiff::tz::TimeZone,
    /// The clock; give a clone of your own to move it.
    pub clock: SandboxClock,
}

impl std::fmt::Debug for MaxComputeSandboxConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MaxComputeSandboxConfig")
            .field("listen", &self.listen)
            .field("project", &self.project)
            .field("data_dir", &self.data_dir)
            .field("access_id", &self.access_id)
            .field("checks_signatures", &self.access_key.is_some())
            .finish_non_exhaustive()
    }
}

impl Default for MaxComputeSandboxConfig {
    /// Project `sandbox` on a free port of 127.0.0.1, in memory, any request accepted, UTC.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            project: "sandbox".to_owned(),
            data_dir: None,
            access_id: "sandbox".to_owned(),
            access_key: None,
            security_token: None,
            bearer_token: None,
            time_zone: jiff::tz::TimeZone::UTC,
            clock: SandboxClock::new(),
        }
    }
}

/// A running local MaxCompute. Dropping it stops it in the background; [`LocalMaxCompute::shutdown`] waits for that.
#[derive(Debug)]
pub struct LocalMaxCompute {
    server: Server,
    service: Arc<Service>,
}

/// Starts a local MaxCompute on the present tokio runtime.
///
/// # Errors
/// When the address cannot be bound or the data folder cannot be used; the message says which.
pub async fn start(config: MaxComputeSandboxConfig) -> io::Result<LocalMaxCompute> {
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {}: {error}", config.listen)))?;
    let address = listener.local_addr()?;
    let service = Arc::new(service(config, address)?);
    let server = Server::start(listener, Arc::clone(&service))?;
    Ok(LocalMaxCompute { server, service })
}

fn service(config: MaxComputeSandboxConfig, address: SocketAddr) -> io::Result<Service> {
    let clock = config.clock;
    let tables = Tables::open(config.data_dir.as_deref(), clock.clone()).map_err(|error| {
        let folder = config.data_dir.as_ref().map(|folder| folder.display().to_string()).unwrap_or_default();
        io::Error::new(error.kind(), format!("cannot use the data folder {folder}: {error}"))
    })?;
    let tables = Arc::new(tables);
    let owner = format!("ALIYUN${}", config.access_id);
    Ok(Service {
        project: config.project.to_lowercase(),
        created_ms: clock.now_ms(),
        account: config.access_key.map(|access_key| Account {
            access_id: config.access_id,
            access_key,
            security_token: config.security_token,
            bearer_token: config.bearer_token,
        }),
        time_zone: config.time_zone,
        uploads: Arc::new(Uploads::open(Arc::clone(&tables), clock.clone(), &owner)?),
        streams: Arc::new(Streams::new(Arc::clone(&tables), clock.clone())),
        downloads: Downloads::new(clock.clone(), &owner),
        instances: Arc::new(Instances::new(clock.clone(), &owner)),
        tables,
        owner,
        clock,
        faults: Arc::default(),
        log: std::sync::Mutex::default(),
        switches: std::sync::Mutex::default(),
        address: address.to_string(),
    })
}

impl LocalMaxCompute {
    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The ODPS endpoint, such as `http://127.0.0.1:8080/api`.
    pub fn endpoint(&self) -> String {
        format!("http://{}{}", self.address(), request::ENDPOINT_PATH)
    }

    /// The tunnel endpoint, such as `http://127.0.0.1:8080`.
    pub fn tunnel_endpoint(&self) -> String {
        format!("http://{}", self.address())
    }

    /// The project's name.
    pub fn project(&self) -> &str {
        &self.service.project
    }

    /// Where to order faults.
    pub fn faults(&self) -> &Faults {
        &self.service.faults
    }

    /// The last requests, oldest first.
    pub fn requests(&self) -> Vec<LoggedRequest> {
        self.service.requests()
    }

    /// How the points behave that the real service leaves open.
    pub fn switches(&self) -> Switches {
        self.service.switches()
    }

    /// Turns the switches.
    pub fn set_switches(&self, switches: Switches) {
        self.service.set_switches(switches);
    }

    /// The ids of all upload sessions, oldest first.
    pub fn upload_sessions(&self) -> Vec<String> {
        self.service.uploads.list().into_iter().map(|(id, _)| id).collect()
    }

    /// Forgets an upload session as if it had never been; what it committed stays. False when there is no such session.
    pub fn forget_upload(&self, id: &str) -> bool {
        self.service.uploads.forget(id)
    }

    /// Its clock.
    pub fn clock(&self) -> &SandboxClock {
        &self.service.clock
    }

    /// Cuts every connection and waits for the end of the server.
    pub async fn shutdown(self) {
        self.server.shutdown().await;
    }
}

/// A schema as sessions and table answers show it. Lists are never null: Java would not take that.
fn schema_json(schema: &TableSchema) -> serde_json::Value {
    let list = |columns: &[Column]| -> Vec<serde_json::Value> {
        columns
            .iter()
            .enumerate()
            .map(|(index, column)| {
                json!({
                    "name": column.name,
                    "type": column.type_.to_string(),
                    "comment": column.comment,
                    "nullable": column.nullable,
                    "isNullable": column.nullable,
                    "column_id": index.to_string(),
                    "label": "",
                })
            })
            .collect()
    };
    json!({
        "columns": list(&schema.columns),
        "partitionKeys": list(&schema.partition_keys),
        "IsVirtualView": false,
    })
}
