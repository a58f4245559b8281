//! SQL instances: submit a statement, wait for it, read its result.

use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use uuid::Uuid;

use super::MaxCompute;
use super::request::{Host, Repeat, Request};
use crate::tunnel::csv;
use crate::tunnel::error::{Error, ErrorKind};
use crate::tunnel::http::Method;
use crate::tunnel::xml::{Element, escape};

/// What a statement gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SqlOutput {
    /// The instance that ran the statement.
    pub instance_id: String,
    /// Column names; empty when the statement gives no table.
    pub columns: Vec<String>,
    /// Rows with one value a column; `None` is NULL.
    pub rows: Vec<Vec<Option<String>>>,
    /// The text that statements such as DESC give instead of a table.
    pub text: Option<String>,
    /// The service left rows out, since a result has a largest size (about 10,000 rows).
    pub is_truncated: bool,
}

/// A statement on its way.
#[derive(Clone, Debug)]
pub struct SqlInstance {
    client: MaxCompute,
    id: String,
}

const TASK_NAME: &str = "AnonymousSQLTask";
const POLL_PAUSE_FIRST: Duration = Duration::from_millis(50);
const POLL_PAUSE_MAX: Duration = Duration::from_secs(5);

impl MaxCompute {
    /// Runs one statement to its end and reads its result. `hints` are settings such as
    /// (`odps.sql.type.system.odps2`, `true`).
    ///
    /// If the future is dropped, the statement runs on; [`MaxCompute::submit_sql`] gives a handle that can cancel it.
    ///
    /// # Errors
    /// [`ErrorKind::Sql`] when the statement fails, with MaxCompute's own words; [`ErrorKind::NoSuchTable`] and its like where
    /// the words have such a code; [`ErrorKind::UnknownOutcome`] when a statement that must not run twice may or may not have
    /// been taken; otherwise as any call.
    pub async fn sql(&self, query: &str, hints: &[(&str, &str)]) -> Result<SqlOutput, Error> {
        self.submit_sql(query, hints).await?.wait().await
    }

    /// Hands one statement to the service.
    ///
    /// # Errors
    /// As [`MaxCompute::sql`], but for the statement's own failure.
    pub async fn submit_sql(&self, query: &str, hints: &[(&str, &str)]) -> Result<SqlInstance, Error> {
        let what = format!("submit SQL to project \"{}\"", self.config().project);
        let path = vec!["projects", self.config().project.as_str(), "instances"];
        let mut request = Request::new(Host::Odps, Method::Post, path, what.clone());
        request = request.header("Content-Type", "application/xml");
        request.body = Bytes::from(self.job_xml(query, hints));
        request.repeat = if is_repeatable(query) { Repeat::Always } else { Repeat::IfWithoutEffect };
        let answer = self.connection.send(&request).await?;
        let id = answer.header("location").and_then(|location| {
            let path = location.split(['?', '#']).next().unwrap_or_default();
            path.trim_end_matches('/').rsplit('/').next().filter(|id| !id.is_empty())
        });
        match id {
            Some(id) => Ok(SqlInstance { client: self.clone(), id: id.to_owned() }),
            None => {
                let error = Error::new(ErrorKind::Decode, "the answer names no instance (header Location)");
                Err(error.with_request_id(answer.request_id()).during(what))
            }
        }
    }

    fn job_xml(&self, query: &str, hints: &[(&str, &str)]) -> String {
        let mut settings = serde_json::Map::new();
        if let Some(schema) = &self.config().schema {
            settings.insert("odps.namespace.schema".into(), "true".into());
            settings.insert("odps.default.schema".into(), schema.as_str().into());
        }
        for (name, value) in hints {
            settings.insert((*name).to_owned(), (*value).into());
        }
        let settings = serde_json::Value::Object(settings).to_string();
        let mut query = query.trim().to_owned();
        if !query.ends_with(';') {
            query.push(';');
        }
        let property = |name: &str, value: &str| {
            format!("<Property><Name>{}</Name><Value>{}</Value></Property>", escape(name), escape(value))
        };
        format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<Instance><Job><Priority>9</Priority><Tasks><SQL>\
             <Name>{TASK_NAME}</Name><Config>{}{}</Config><Query>{}</Query></SQL></Tasks>\
             <DAG><RunMode>Sequence</RunMode></DAG></Job></Instance>",
            property("settings", &settings),
            property("uuid", &Uuid::new_v4().to_string()),
            escape(&query),
        )
    }
}

impl SqlInstance {
    /// The instance's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Waits for the end of the statement, however long it takes, and reads its result.
    ///
    /// # Errors
    /// As [`MaxCompute::sql`].
    pub async fn wait(&self) -> Result<SqlOutput, Error> {
        let mut pause = POLL_PAUSE_FIRST;
        while !self.is_terminated().await? {
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(3).checked_div(2).unwrap_or(pause).min(POLL_PAUSE_MAX);
        }
        let tasks = self.read("taskstatus").await?;
        let task = tasks.child("Tasks").and_then(|tasks| tasks.child("Task"));
        let status = task.and_then(|task| task.child_text("Status")).unwrap_or_default().to_ascii_lowercase();
        match status.as_str() {
            "success" => self.output().await,
            "failed" => Err(self.failure(&self.result_text().await?.text)),
            "cancelled" | "canceled" => Err(self.failure("the statement was cancelled")),
            other => Err(self.failure(&format!("the statement ended as \"{}\"", other.escape_debug()))),
        }
    }

    /// Asks the service to stop the statement. It may still end on its own before that.
    ///
    /// # Errors
    /// As any call.
    pub async fn cancel(&self) -> Result<(), Error> {
        let mut request = self.request(Method::Put, "cancel");
        request = request.header("Content-Type", "application/xml");
        request.body = Bytes::from_static(
            b"<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<Instance><Status>Terminated</Status></Instance>",
        );
        self.client.connection.send(&request).await.map(|_| ())
    }

    pub(super) const fn client(&self) -> &MaxCompute {
        &self.client
    }

    fn request(&self, method: Method, verb: &str) -> Request<'_> {
        let path = vec!["projects", self.client.config().project.as_str(), "instances", self.id.as_str()];
        Request::new(Host::Odps, method, path, format!("{verb} SQL instance {}", self.id))
    }

    async fn is_terminated(&self) -> Result<bool, Error> {
        let status = self.read("").await?;
        Ok(status.child_text("Status").is_some_and(|status| status.eq_ignore_ascii_case("terminated")))
    }

    /// The instance's XML, as a whole or one side of it.
    async fn read(&self, side: &'static str) -> Result<Element, Error> {
        let mut request = self.request(Method::Get, "read");
        if !side.is_empty() {
            request = request.query(side, "");
        }
        let answer = self.client.connection.send(&request).await?;
        let root = Element::parse(&answer.text()).and_then(|root| match root.name.as_str() {
            "Instance" => Ok(root),
            other => Err(format!("a <{}> instead of an <Instance>", other.escape_debug())),
        });
        root.map_err(|why| {
            let error = Error::new(ErrorKind::Decode, format!("the answer cannot be read: {why}"));
            error.with_request_id(answer.request_id()).during(&request.what)
        })
    }

    async fn result_text(&self) -> Result<TaskResult, Error> {
        let root = self.read("result").await?;
        let task = root.child("Tasks").and_then(|tasks| tasks.child("Task"));
        let Some(task) = task else { return Ok(TaskResult::default()) };
        TaskResult::of(task).map_err(|why| self.unreadable(&why))
    }

    async fn output(&self) -> Result<SqlOutput, Error> {
        let result = self.result_text().await?;
        let mut output = SqlOutput { instance_id: self.id.clone(), ..SqlOutput::default() };
        output.is_truncated = result.is_truncated;
        if result.is_csv {
            let table = csv::parse(&result.text).map_err(|why| self.unreadable(&why))?;
            (output.columns, output.rows) = (table.columns, table.rows);
        } else if !result.text.trim().is_empty() {
            output.text = Some(result.text);
        }
        Ok(output)
    }

    fn unreadable(&self, why: &str) -> Error {
        let message = format!("the result cannot be read: {why}");
        Error::new(ErrorKind::Decode, message).during(format!("read the result of SQL instance {}", self.id))
    }

    /// The error of a statement that failed with MaxCompute's words `text`.
    fn failure(&self, text: &str) -> Error {
        // 400: no status of the transport plays a part, and what has no code of its own is the statement's fault.
        let error = Error::from_service(400, None, text).without_status();
        let error = match error.kind() {
            kind @ (ErrorKind::NoSuchTable | ErrorKind::NoSuchProject | ErrorKind::Forbidden | ErrorKind::Auth) => {
                error.with_kind(kind)
            }
            _ => error.with_kind(ErrorKind::Sql),
        };
        error.during(format!("SQL instance {}", self.id))
    }
}

/// Whether an instance's answer holds a result that can be read, or none.
pub(super) fn is_result(root: &Element) -> bool {
    let task = root.child("Tasks").and_then(|tasks| tasks.child("Task"));
    task.is_none_or(|task| TaskResult::of(task).is_ok())
}

/// The result of an instance's first task.
#[derive(Default)]
struct TaskResult {
    text: String,
    is_csv: bool,
    is_truncated: bool,
}

impl TaskResult {
    fn of(task: &Element) -> Result<Self, String> {
        let Some(result) = task.child("Result") else { return Ok(Self::default()) };
        let text = match result.attribute("Transform") {
            Some(name) if name.eq_ignore_ascii_case("base64") => {
                let packed: String = result.text.split_ascii_whitespace().collect();
                let bytes = base64::engine::general_purpose::STANDARD.decode(packed);
                String::from_utf8_lossy(&bytes.map_err(|error| error.to_string())?).into_owned()
            }
            Some(other) if !other.is_empty() => return Err(format!("unknown transform \"{}\"", other.escape_debug())),
            _ => result.text.clone(),
        };
        // {"IsSelect":true,"SelectResultStatus":"Truncated",…}
        let descriptor = task.child_text("ResultDescriptor").unwrap_or_default().to_ascii_lowercase();
        let descriptor: serde_json::Value = serde_json::from_str(&descriptor).unwrap_or_default();
        let truncated = descriptor.get("selectresultstatus").and_then(serde_json::Value::as_str) == Some("truncated");
        let is_csv = result.attribute("Format").is_some_and(|format| format.eq_ignore_ascii_case("csv"));
        Ok(Self { text, is_csv, is_truncated: truncated })
    }
}

/// Whether running a statement twice is as good as running it once, so that a submission whose answer was lost may be
/// repeated: reads, and DDL that says IF [NOT] EXISTS.
fn is_repeatable(query: &str) -> bool {
    let words: Vec<String> = query.split_whitespace().take(12).map(str::to_ascii_lowercase).collect();
    match words.first().map(String::as_str) {
        Some("select" | "show" | "desc" | "describe" | "explain" | "truncate") => true,
        Some("create" | "drop" | "alter") => {
            words.windows(2).any(|pair| pair == ["if", "exists"])
                || words.windows(3).any(|three| three == ["if", "not", "exists"])
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::tunnel::{Credentials, MaxComputeConfig};

    fn client(schema: Option<&str>) -> MaxCompute {
        let mut config = MaxComputeConfig::new("http://127.0.0.1:1/api", "p", Credentials::new("id", "key"));
        config.schema = schema.map(str::to_owned);
        MaxCompute::new(config).unwrap()
    }

    #[test]
    fn the_job_carries_statement_and_settings_whole() {
        let query = "select '<&>]]>' as a\nfrom t -- \"x\"";
        let xml = client(Some("s")).job_xml(query, &[("odps.sql.type.system.odps2", "true")]);
        let root = Element::parse(&xml).unwrap();
        let sql = root.child("Job").unwrap().child("Tasks").unwrap().child("SQL").unwrap();
        assert_eq!(sql.child("Query").unwrap().text, format!("{query};"));
        let settings = sql.child("Config").unwrap().child("Property").unwrap().child_text("Value").unwrap();
        assert_eq!(
            settings,
            r#"{"odps.namespace.schema":"true","odps.default.schema":"s","odps.sql.type.system.odps2":"true"}"#
        );
    }

    #[test]
    fn results_come_plain_or_in_base64() {
        let of = |xml: &str| TaskResult::of(&Element::parse(xml).unwrap());
        let plain = of("<Task><Result Format=\"text\"><![CDATA[OK]]></Result></Task>").unwrap();
        assert_eq!((plain.text.as_str(), plain.is_csv, plain.is_truncated), ("OK", false, false));
        let packed = of("<Task><Result Transform=\"Base64\" Format=\"csv\">\nYQox\nCg==</Result>\
            <ResultDescriptor><![CDATA[{\"IsSelect\":true,\"SelectResultStatus\":\"Truncated\"}]]></ResultDescriptor></Task>")
        .unwrap();
        assert_eq!((packed.text.as_str(), packed.is_csv, packed.is_truncated), ("a\n1\n", true, true));
        assert!(of("<Task><Result Transform=\"Base64\">!</Result></Task>").is_err());
        assert!(of("<Task><Result Transform=\"Rot13\">x</Result></Task>").is_err());
        assert_eq!(of("<Task/>").unwrap().text, "");
    }

    #[test]
    fn only_harmless_statements_are_submitted_again() {
        for query in ["SELECT 1", "  drop table if exists t;", "create table IF NOT\nEXISTS t (a int)", "desc t"] {
            assert!(is_repeatable(query), "{query}");
        }
        for query in ["insert into t values (1)", "create table t (a int)", "with x as (select 1) insert into t", ""] {
            assert!(!is_repeatable(query), "{query}");
        }
    }
}
