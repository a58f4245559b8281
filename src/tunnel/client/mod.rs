//! The client that the rest of forebay calls.

mod any;
mod download;
mod identity;
mod request;
mod sql;
mod stream;
mod table;
mod upload;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::tunnel::credentials::Credentials;
use crate::tunnel::endpoint::Endpoint;
use crate::tunnel::error::{Error, ErrorKind};
use crate::tunnel::session::RetryPolicy;
pub use any::{AnswerKind, read_answer};
pub use download::{Download, ReadOptions, RowReader};
use request::Connection;
pub use sql::{SqlInstance, SqlOutput};
pub use stream::{Pack, PackReceipt, StreamOptions, StreamUpload};
pub use table::Table;
pub use upload::{Upload, UploadOptions, UploadState};

/// Which MaxCompute project to talk to, as whom, and how patiently.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MaxComputeConfig {
    /// The REST endpoint, such as `https://service.cn-hangzhou.maxcompute.aliyun.com/api`.
    pub endpoint: String,
    /// The project that tables and statements belong to, and that pays for them.
    pub project: String,
    /// The schema of a three-tier project; `None` for a project without schemas.
    pub schema: Option<String>,
    /// The Tunnel endpoint. `None` asks the service, once for each client; one that is given always wins.
    pub tunnel_endpoint: Option<String>,
    /// The name of a Tunnel quota, for every Tunnel request and for discovery.
    pub quota: Option<String>,
    /// The region, such as `cn-hangzhou`. With it the REST endpoint gets V4 signatures; the Tunnel endpoint always gets
    /// legacy ones, as from the official Python client.
    pub region: Option<String>,
    /// Who asks.
    pub credentials: Credentials,
    /// What `User-Agent` says; visible ASCII.
    pub user_agent: String,
    /// PEM file of the certificates to trust. `None` takes the system's bundle.
    pub ca_file: Option<PathBuf>,
    /// How often and how long a call is repeated.
    pub retry: RetryPolicy,
    /// Longest time for connecting to a host.
    pub connect_timeout: Duration,
    /// Longest time the REST endpoint may take for an answer.
    pub answer_timeout: Duration,
    /// Longest time the Tunnel endpoint may take for an answer, or for taking the next piece of a block.
    pub tunnel_answer_timeout: Duration,
}

impl MaxComputeConfig {
    /// The configuration of a project with every other setting at its default: discovery, legacy signatures, the system's
    /// certificates, 10 s to connect, 120 s for REST answers and 300 s for Tunnel answers (as in the Java SDK).
    pub fn new(endpoint: impl Into<String>, project: impl Into<String>, credentials: Credentials) -> Self {
        Self {
            endpoint: endpoint.into(),
            project: project.into(),
            schema: None,
            tunnel_endpoint: None,
            quota: None,
            region: None,
            credentials,
            user_agent: concat!("forebay/", env!("CARGO_PKG_VERSION")).to_owned(),
            ca_file: None,
            retry: RetryPolicy::default(),
            connect_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(120),
            tunnel_answer_timeout: Duration::from_secs(300),
        }
    }
}

/// A client of one MaxCompute project. Cheap to clone; clones share connections and the discovered Tunnel endpoint.
///
/// Every method repeats what can be repeated, within [`MaxComputeConfig::retry`]; an error that comes out is final, except
/// from [`Upload::put_block`], which makes one attempt since only the caller can make the block's bytes again.
#[derive(Clone, Debug)]
pub struct MaxCompute {
    connection: Arc<Connection>,
}

impl MaxCompute {
    /// A client. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ErrorKind::Config`]: an endpoint that is not an http or https URL, an empty or unusable project or schema name, no
    /// usable CA certificates for https, or a CPU that the TLS library refuses.
    pub fn new(config: MaxComputeConfig) -> Result<Self, Error> {
        let connection = Connection::new(config).map_err(|error| error.during("set up the MaxCompute client"))?;
        Ok(Self { connection: Arc::new(connection) })
    }

    /// The configuration in force.
    pub fn config(&self) -> &MaxComputeConfig {
        self.connection.config()
    }

    /// The Tunnel endpoint in force, asking the service for it if need be; for logs.
    ///
    /// # Errors
    /// As any call: the service refuses or cannot be reached, or its answer is not a host.
    pub async fn tunnel_endpoint(&self) -> Result<String, Error> {
        self.connection.tunnel_endpoint().await.map(|endpoint| endpoint.to_string())
    }

    /// `project.table` or `project.schema.table`, for messages.
    fn full_name(&self, table: &str) -> String {
        let config = self.config();
        match &config.schema {
            Some(schema) => format!("{}.{schema}.{table}", config.project),
            None => format!("{}.{table}", config.project),
        }
    }

    /// The same, quoted for SQL.
    fn full_name_sql(&self, table: &str) -> String {
        let config = self.config();
        let parts = [Some(config.project.as_str()), config.schema.as_deref(), Some(table)];
        let quoted = parts.into_iter().flatten().map(|part| format!("`{}`", part.replace('`', "``")));
        quoted.collect::<Vec<_>>().join(".")
    }

    /// The path segments of a table, on either host.
    fn table_path<'a>(&'a self, table: &'a str) -> Result<Vec<&'a str>, Error> {
        check_name("table", table)?;
        let config = self.config();
        let mut path = vec!["projects", config.project.as_str()];
        if let Some(schema) = &config.schema {
            path.extend(["schemas", schema]);
        }
        path.extend(["tables", table]);
        Ok(path)
    }
}

/// A name must survive as one path segment.
fn check_name(what: &str, name: &str) -> Result<(), Error> {
    let unusable =
        name.is_empty() || name == "." || name == ".." || name.contains('/') || name.contains(char::is_control);
    if unusable {
        return Err(Error::new(ErrorKind::Config, format!("{what} name \"{}\" cannot be used", name.escape_debug())));
    }
    Ok(())
}

/// Reads an endpoint of the configuration; the error says which one it is.
fn configured_endpoint(what: &str, text: &str) -> Result<Endpoint, Error> {
    Endpoint::parse(text, None).map_err(|why| Error::new(ErrorKind::Config, format!("{what} {why}")))
}
