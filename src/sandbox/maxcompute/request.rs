//! What a client asked for: path, query, and the operation they come to.
//!
//! Both hosts of the service are one port here. A path may begin with `/api` (the ODPS endpoint's own path, which is not
//! signed) and may name a schema level or not.

use axum::http::{HeaderMap, Method, Uri};
use percent_encoding::percent_decode_str;

/// One request without its body.
#[derive(Debug)]
pub(super) struct Asked {
    /// The HTTP method.
    pub(super) method: Method,
    /// The path and query as on the request line.
    pub(super) target: String,
    /// The decoded path without the endpoint's own path, such as `/projects/p/tables/t`.
    pub(super) path: String,
    /// Decoded query parameters in the order they came; a key without a value has an empty one.
    pub(super) query: Vec<(String, String)>,
    /// The same pairs, but with `+` left alone. Clients differ in what they sign.
    pub(super) query_plus_kept: Vec<(String, String)>,
    /// The request's headers.
    pub(super) headers: HeaderMap,
    /// The id that the answer carries in `x-odps-request-id`.
    pub(super) request_id: String,
    /// What is meant.
    pub(super) operation: Operation,
}

impl Asked {
    /// Reads the request line and headers. Never fails: what cannot be understood is [`Operation::Unknown`].
    pub(super) fn new(method: Method, uri: &Uri, headers: HeaderMap, request_id: String) -> Self {
        let raw_path = uri.path();
        let bare = raw_path
            .strip_prefix(ENDPOINT_PATH)
            .filter(|rest| rest.is_empty() || rest.starts_with('/'))
            .unwrap_or(raw_path);
        let path = decode(bare);
        let segments: Vec<String> = bare.split('/').filter(|part| !part.is_empty()).map(decode).collect();
        let raw_query = uri.query().unwrap_or_default();
        let query = parse_query(raw_query, true);
        let query_plus_kept = parse_query(raw_query, false);
        let operation = Operation::of(&method, &segments, &query);
        let target = uri.path_and_query().map_or_else(|| raw_path.to_owned(), ToString::to_string);
        Self { method, target, path, query, query_plus_kept, headers, request_id, operation }
    }

    /// The value of a query parameter; an empty text when it came without one.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        parameter(&self.query, name)
    }

    /// A query parameter that has a value.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.parameter(name).filter(|value| !value.is_empty())
    }

    /// A header's text; a header that is not visible ASCII counts as absent.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// A table as a path names it. Names are lower case from here on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TablePath {
    pub(super) project: String,
    pub(super) schema: String,
    pub(super) table: String,
}

/// What a request means. The names of [`Operation::name`] are the ones that faults and the request log use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    LogviewHost,
    Tenants,
    Project { project: String },
    Discovery { project: String },
    Authorization { project: String },
    SchemaList { project: String },
    Schema { project: String, schema: String },
    TableList { project: String, schema: String },
    TableGet(TablePath),
    TablePreview(TablePath),
    PartitionList(TablePath),
    PartitionGet(TablePath),
    UploadCreate(TablePath),
    UploadStatus(TablePath),
    UploadBlock(TablePath),
    UploadCommit(TablePath),
    StreamCreate(TablePath),
    StreamReload(TablePath),
    StreamWrite(TablePath),
    StreamAbort(TablePath),
    DownloadCreate(TablePath),
    DownloadStatus(TablePath),
    DownloadData(TablePath),
    DownloadRelease(TablePath),
    InstanceSubmit { project: String },
    InstanceList { project: String },
    InstanceStatus { project: String, id: String },
    InstanceTaskStatus { project: String, id: String },
    InstanceResult { project: String, id: String },
    InstanceOther { project: String, id: String },
    InstanceTerminate { project: String, id: String },
    InstanceDownloadCreate { project: String, id: String },
    InstanceDownloadStatus { project: String, id: String },
    InstanceDownloadData { project: String, id: String },
    Control(String),
    Unknown,
}

impl Operation {
    /// The operation's name in faults and in the request log.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::LogviewHost => "logview_host",
            Self::Tenants => "tenants",
            Self::Project { .. } => "project",
            Self::Discovery { .. } => "discovery",
            Self::Authorization { .. } => "authorization",
            Self::SchemaList { .. } => "schema_list",
            Self::Schema { .. } => "schema",
            Self::TableList { .. } => "table_list",
            Self::TableGet(_) => "table_get",
            Self::TablePreview(_) => "table_preview",
            Self::PartitionList(_) => "partition_list",
            Self::PartitionGet(_) => "partition_get",
            Self::UploadCreate(_) => "upload_create",
            Self::UploadStatus(_) => "upload_status",
            Self::UploadBlock(_) => "upload_block",
            Self::UploadCommit(_) => "upload_commit",
            Self::StreamCreate(_) => "stream_create",
            Self::StreamReload(_) => "stream_reload",
            Self::StreamWrite(_) => "stream_write",
            Self::StreamAbort(_) => "stream_abort",
            Self::DownloadCreate(_) => "download_create",
            Self::DownloadStatus(_) => "download_status",
            Self::DownloadData(_) => "download_data",
            Self::DownloadRelease(_) => "download_release",
            Self::InstanceSubmit { .. } => "instance_submit",
            Self::InstanceList { .. } => "instance_list",
            Self::InstanceStatus { .. } => "instance_status",
            Self::InstanceTaskStatus { .. } => "instance_task_status",
            Self::InstanceResult { .. } => "instance_result",
            Self::InstanceOther { .. } => "instance_other",
            Self::InstanceTerminate { .. } => "instance_terminate",
            Self::InstanceDownloadCreate { .. } => "instance_download_create",
            Self::InstanceDownloadStatus { .. } => "instance_download_status",
            Self::InstanceDownloadData { .. } => "instance_download_data",
            Self::Control(_) => "control",
            Self::Unknown => "unknown",
        }
    }

    /// Whether the tunnel host answers it: errors are JSON there and XML on the ODPS host.
    pub(super) const fn is_tunnel(&self) -> bool {
        matches!(
            self,
            Self::UploadCreate(_)
                | Self::UploadStatus(_)
                | Self::UploadBlock(_)
                | Self::UploadCommit(_)
                | Self::StreamCreate(_)
                | Self::StreamReload(_)
                | Self::StreamWrite(_)
                | Self::StreamAbort(_)
                | Self::DownloadCreate(_)
                | Self::DownloadStatus(_)
                | Self::DownloadData(_)
                | Self::DownloadRelease(_)
                | Self::InstanceDownloadCreate { .. }
                | Self::InstanceDownloadStatus { .. }
                | Self::InstanceDownloadData { .. }
        )
    }

    /// The project that the request is about.
    pub(super) fn project(&self) -> Option<&str> {
        match self {
            Self::Project { project }
            | Self::Discovery { project }
            | Self::Authorization { project }
            | Self::SchemaList { project }
            | Self::Schema { project, .. }
            | Self::TableList { project, .. }
            | Self::InstanceSubmit { project }
            | Self::InstanceList { project }
            | Self::InstanceStatus { project, .. }
            | Self::InstanceTaskStatus { project, .. }
            | Self::InstanceResult { project, .. }
            | Self::InstanceOther { project, .. }
            | Self::InstanceTerminate { project, .. }
            | Self::InstanceDownloadCreate { project, .. }
            | Self::InstanceDownloadStatus { project, .. }
            | Self::InstanceDownloadData { project, .. } => Some(project),
            Self::TableGet(at)
            | Self::TablePreview(at)
            | Self::PartitionList(at)
            | Self::PartitionGet(at)
            | Self::UploadCreate(at)
            | Self::UploadStatus(at)
            | Self::UploadBlock(at)
            | Self::UploadCommit(at)
            | Self::StreamCreate(at)
            | Self::StreamReload(at)
            | Self::StreamWrite(at)
            | Self::StreamAbort(at)
            | Self::DownloadCreate(at)
            | Self::DownloadStatus(at)
            | Self::DownloadData(at)
            | Self::DownloadRelease(at) => Some(&at.project),
            Self::LogviewHost | Self::Tenants | Self::Control(_) | Self::Unknown => None,
        }
    }

    fn of(method: &Method, segments: &[String], query: &[(String, String)]) -> Self {
        let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
        match parts.as_slice() {
            [CONTROL_PATH, rest @ ..] => Self::Control(rest.join("/")),
            ["logview", "host"] => Self::LogviewHost,
            ["tenants"] => Self::Tenants,
            ["projects", project, rest @ ..] => Self::of_project(method, &project.to_lowercase(), rest, query),
            _ => Self::Unknown,
        }
    }

    fn of_project(method: &Method, project: &str, rest: &[&str], query: &[(String, String)]) -> Self {
        let project = project.to_owned();
        let schema_of_query =
            || parameter(query, "curr_schema").filter(|name| !name.is_empty()).unwrap_or(DEFAULT_SCHEMA).to_lowercase();
        match rest {
            [] => Self::Project { project },
            ["tunnel"] => Self::Discovery { project },
            ["authorization"] => Self::Authorization { project },
            ["schemas"] => Self::SchemaList { project },
            ["schemas", schema] => Self::Schema { project, schema: schema.to_lowercase() },
            ["tables"] => Self::TableList { project, schema: schema_of_query() },
            ["schemas", schema, "tables"] => Self::TableList { project, schema: schema.to_lowercase() },
            ["tables", table] => Self::of_table(
                method,
                TablePath { project, schema: schema_of_query(), table: table.to_lowercase() },
                query,
            ),
            ["schemas", schema, "tables", table] => Self::of_table(
                method,
                TablePath { project, schema: schema.to_lowercase(), table: table.to_lowercase() },
                query,
            ),
            ["tables", table, "streams"] => Self::of_stream(
                method,
                TablePath { project, schema: schema_of_query(), table: table.to_lowercase() },
                query,
            ),
            ["schemas", schema, "tables", table, "streams"] => Self::of_stream(
                method,
                TablePath { project, schema: schema.to_lowercase(), table: table.to_lowercase() },
                query,
            ),
            ["instances"] if *method == Method::POST => Self::InstanceSubmit { project },
            ["instances"] => Self::InstanceList { project },
            ["instances", id] => Self::of_instance(method, project, (*id).to_owned(), query),
            _ => Self::Unknown,
        }
    }

    fn of_table(method: &Method, table: TablePath, query: &[(String, String)]) -> Self {
        let has = |name| parameter(query, name).is_some();
        match method.as_str() {
            "GET" if has("downloadid") && has("data") => Self::DownloadData(table),
            "GET" if has("downloadid") => Self::DownloadStatus(table),
            "GET" if has("uploadid") => Self::UploadStatus(table),
            "GET" if has("data") => Self::TablePreview(table),
            "GET" if has("partitions") => Self::PartitionList(table),
            "GET" if has("partition") => Self::PartitionGet(table),
            "GET" => Self::TableGet(table),
            "POST" if has("uploads") => Self::UploadCreate(table),
            "POST" if has("downloads") => Self::DownloadCreate(table),
            "POST" if has("uploadid") => Self::UploadCommit(table),
            "POST" if has("downloadid") => Self::DownloadRelease(table),
            "PUT" if has("uploadid") => Self::UploadBlock(table),
            _ => Self::Unknown,
        }
    }

    fn of_stream(method: &Method, table: TablePath, query: &[(String, String)]) -> Self {
        let in_session = parameter(query, "uploadid").is_some();
        match method.as_str() {
            "POST" if !in_session => Self::StreamCreate(table),
            // Go reloads with POST and PyODPS aborts with it; the service gives the same answer to both.
            "POST" => Self::StreamAbort(table),
            "GET" if in_session => Self::StreamReload(table),
            "PUT" if in_session => Self::StreamWrite(table),
            _ => Self::Unknown,
        }
    }

    fn of_instance(method: &Method, project: String, id: String, query: &[(String, String)]) -> Self {
        let has = |name| parameter(query, name).is_some();
        match method.as_str() {
            "POST" if has("downloads") => Self::InstanceDownloadCreate { project, id },
            "PUT" => Self::InstanceTerminate { project, id },
            "GET" if has("data") => Self::InstanceDownloadData { project, id },
            "GET" if has("downloadid") => Self::InstanceDownloadStatus { project, id },
            "GET" if has("taskstatus") => Self::InstanceTaskStatus { project, id },
            "GET" if has("result") => Self::InstanceResult { project, id },
            "GET" if query.iter().all(|(name, _)| name.starts_with("curr_") || name == "instancestatus") => {
                Self::InstanceStatus { project, id }
            }
            "GET" => Self::InstanceOther { project, id },
            _ => Self::Unknown,
        }
    }
}

fn parameter<'a>(query: &'a [(String, String)], name: &str) -> Option<&'a str> {
    query.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

fn parse_query(raw: &str, plus_is_space: bool) -> Vec<(String, String)> {
    let text = |part: &str| if plus_is_space { decode(&part.replace('+', " ")) } else { decode(part) };
    raw.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| match pair.split_once('=') {
            Some((key, value)) => (text(key), text(value)),
            None => (text(pair), String::new()),
        })
        .collect()
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// The path of the ODPS endpoint. The service's own is the same; it is not part of what is signed.
pub(super) const ENDPOINT_PATH: &str = "/api";

/// Where tests order faults and read the log; no such path exists on the service.
pub(super) const CONTROL_PATH: &str = "__sandbox";

/// The schema of tables that name none.
pub(super) const DEFAULT_SCHEMA: &str = "default";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn operation(method: &str, target: &str) -> &'static str {
        asked(method, target).operation.name()
    }

    fn asked(method: &str, target: &str) -> Asked {
        Asked::new(method.parse().unwrap(), &target.parse().unwrap(), HeaderMap::new(), "R".to_owned())
    }

    #[test]
    fn routes_of_the_official_clients() {
        for (method, target, name) in [
            ("GET", "/api/logview/host?curr_project=p", "logview_host"),
            ("GET", "/tenants", "tenants"),
            ("GET", "/api/projects/p", "project"),
            ("GET", "/api/projects/p/tunnel?service&curr_project=p", "discovery"),
            ("GET", "/api/projects/p/tables/t?curr_project=p", "table_get"),
            ("GET", "/api/projects/p/tables/t?extended", "table_get"),
            ("GET", "/api/projects/p/tables/t?data&linenum=3&partition=pt%3D1", "table_preview"),
            ("GET", "/api/projects/p/tables/t?partitions&expectmarker=true", "partition_list"),
            ("GET", "/api/projects/p/tables/t?partition=pt%3D%27v%27", "partition_get"),
            ("POST", "/projects/p/tables/t?reload=False&partition=pt%3D1&uploads=1&curr_project=p", "upload_create"),
            ("POST", "/projects/p/schemas/s/tables/t?uploads", "upload_create"),
            ("GET", "/projects/p/tables/t?uploadid=U&partition=pt%3D1&getblockid=true", "upload_status"),
            ("PUT", "/projects/p/tables/t?blockid=0&uploadid=U1&curr_project=p", "upload_block"),
            ("POST", "/projects/p/tables/t?partition=pt%3D20240101&uploadid=U1", "upload_commit"),
            ("POST", "/projects/p/tables/t/streams?create_partition&partition=pt%3D1", "stream_create"),
            ("GET", "/projects/p/schemas/s/tables/t/streams?uploadid=S&schema_version=1", "stream_reload"),
            ("PUT", "/projects/p/tables/t/streams?uploadid=S1&slotid=0&schema_version=1", "stream_write"),
            ("POST", "/projects/p/tables/t/streams?uploadid=S1", "stream_abort"),
            ("GET", "/projects/p/tables/t/streams", "unknown"),
            ("POST", "/projects/p/tables/t?downloads&asyncmode=true", "download_create"),
            ("GET", "/projects/p/tables/t?downloadid=D", "download_status"),
            ("GET", "/projects/p/tables/t?data&downloadid=D&rowrange=%280%2C1%29", "download_data"),
            ("POST", "/api/projects/p/instances?curr_project=p", "instance_submit"),
            ("GET", "/api/projects/p/instances/I1?curr_project=p", "instance_status"),
            ("GET", "/api/projects/p/instances/I1?instancestatus", "instance_status"),
            ("GET", "/api/projects/p/instances/I1?taskstatus&curr_project=p", "instance_task_status"),
            ("GET", "/api/projects/p/instances/I1?result", "instance_result"),
            ("GET", "/api/projects/p/instances/I1?instancesummary&taskname=x", "instance_other"),
            ("PUT", "/api/projects/p/instances/I1", "instance_terminate"),
            ("POST", "/projects/p/instances/I1?downloads", "instance_download_create"),
            ("GET", "/projects/p/instances/I1?data&downloadid=D&rowrange=(0,1)", "instance_download_data"),
            ("POST", "/__sandbox/faults", "control"),
            ("DELETE", "/projects/p/tables/t", "unknown"),
            ("GET", "/apixyz", "unknown"),
        ] {
            assert_eq!(operation(method, target), name, "{method} {target}");
        }
    }

    #[test]
    fn names_are_decoded_and_lower_case() {
        let asked = asked("GET", "/api/projects/P%31/schemas/S/tables/T%20x?a=b%2Bc+d&Empty");
        assert_eq!(
            asked.operation,
            Operation::TableGet(TablePath { project: "p1".into(), schema: "s".into(), table: "t x".into() })
        );
        assert_eq!(asked.path, "/projects/P1/schemas/S/tables/T x");
        assert_eq!(asked.parameter("a"), Some("b+c d"));
        assert_eq!(asked.parameter("empty"), Some(""));
        assert_eq!(asked.query_plus_kept.first().unwrap().1, "b+c+d");
    }
}
