//! SQL instances: submitted, running, terminated; their tasks and results.
//!
//! An instance runs its one task on a thread of its own. The status only ever moves forward, and a result is there exactly
//! when the status says so.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::answer::{Answer, Refusal, escape};
use super::download::Snapshot;
use super::meta::{READ_TABLE_MAX_ROW, cdata};
use super::sql::{self, SqlContext, SqlOutput};
use super::upload::{FORGOTTEN_MS, http_date};
use super::xml::Element;
use crate::sandbox::clock::SandboxClock;

/// All instances.
#[derive(Debug)]
pub(super) struct Instances {
    clock: SandboxClock,
    owner: String,
    instances: Mutex<BTreeMap<String, Arc<Instance>>>,
}

/// One instance with its one task.
#[derive(Debug)]
pub(super) struct Instance {
    id: String,
    task: String,
    query: String,
    guid: String,
    created_ms: i64,
    cancelled: Arc<AtomicBool>,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Running,
    Ended { at_ms: i64, outcome: Outcome },
}

#[derive(Clone, Debug)]
enum Outcome {
    Success(SqlOutput),
    Failed(String),
    Cancelled,
}

/// What a client submits.
#[derive(Debug)]
pub(super) struct Submission {
    pub(super) task: String,
    pub(super) query: String,
    pub(super) guid: String,
    /// The `settings` of the task, such as `odps.sql.timezone`.
    pub(super) settings: BTreeMap<String, String>,
}

impl Submission {
    /// Reads the XML of a job with one SQL task.
    pub(super) fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let malformed =
            |why: String| Refusal::new(400, "MalformedXML", format!("The XML you provided was not well-formed: {why}"));
        let text = std::str::from_utf8(body).map_err(|error| malformed(error.to_string()))?;
        let root = Element::parse(text).map_err(malformed)?;
        let job = root.child("Job").ok_or_else(|| malformed("no Job".to_owned()))?;
        let tasks = job.child("Tasks").ok_or_else(|| malformed("no Tasks".to_owned()))?;
        let [task] = tasks.children.as_slice() else {
            return Err(Refusal::new(501, "NotImplemented", "the local MaxCompute takes one task an instance"));
        };
        if task.name != "SQL" {
            return Err(Refusal::new(
                501,
                "NotImplemented",
                format!("the local MaxCompute runs SQL tasks, not {}", task.name),
            ));
        }
        if task.text_of("Query").len() > SQL_BYTES_MAX {
            let text = format!("ODPS-0130161:[1,1] Parse exception - the SQL has more than {SQL_BYTES_MAX} bytes");
            return Err(Refusal::new(400, "InvalidArgument", text));
        }
        let properties = task.child("Config").map(|config| config.children.as_slice()).unwrap_or_default();
        let settings = properties.iter().find(|property| property.text_of("Name") == "settings");
        let settings = settings.map(|property| property.text_of("Value")).unwrap_or_default();
        // Values are texts in every SDK; anything else is not a setting this service knows.
        let settings: BTreeMap<String, serde_json::Value> = serde_json::from_str(settings).unwrap_or_default();
        let settings =
            settings.into_iter().filter_map(|(name, value)| Some((name, value.as_str()?.to_owned()))).collect();
        Ok(Self {
            task: task.text_of("Name").to_owned(),
            query: task.text_of("Query").to_owned(),
            guid: job.text_of("Guid").to_owned(),
            settings,
        })
    }
}

impl Instances {
    pub(super) fn new(clock: SandboxClock, owner: &str) -> Self {
        Self { clock, owner: owner.to_owned(), instances: Mutex::default() }
    }

    /// Starts an instance and returns its id. A `Guid` that was used before gives the instance it began.
    pub(super) fn submit(self: &Arc<Self>, submission: Submission, mut context: SqlContext) -> Result<String, Refusal> {
        let now_ms = self.clock.now_ms();
        let cancelled = Arc::new(AtomicBool::new(false));
        context.cancelled = Arc::clone(&cancelled);
        let instance = {
            let mut instances = self.lock();
            let known = instances.values().find(|known| !submission.guid.is_empty() && known.guid == submission.guid);
            if let Some(known) = known {
                return Ok(known.id.clone());
            }
            instances.retain(|_, old| now_ms.saturating_sub(old.created_ms) < FORGOTTEN_MS);
            let moment = jiff::Timestamp::from_millisecond(now_ms).unwrap_or(jiff::Timestamp::MAX);
            let random = uuid::Uuid::new_v4().simple().to_string();
            // Listings are in the order of ids: those of one millisecond are in the order they began in.
            let nth = instances.len();
            let random = random.get(..8).unwrap_or_default();
            let instance = Arc::new(Instance {
                id: format!("{}g{nth:04x}{random}", moment.strftime("%Y%m%d%H%M%S%3f")),
                task: submission.task,
                query: submission.query,
                guid: submission.guid,
                created_ms: now_ms,
                cancelled,
                state: Mutex::new(State::Running),
            });
            instances.insert(instance.id.clone(), Arc::clone(&instance));
            instance
        };
        let id = instance.id.clone();
        let clock = self.clock.clone();
        let stack_bytes =
            SQL_STACK_BYTES.saturating_add(instance.query.len().saturating_mul(SQL_STACK_BYTES_A_CHARACTER));
        let worker = std::thread::Builder::new().name("sandbox-sql".to_owned()).stack_size(stack_bytes);
        let spawned = worker.spawn(move || {
            // The engine may have a bug that a query finds; its instance must still come to an end.
            let ran = catch_unwind(AssertUnwindSafe(|| sql::run(&instance.query, &context)));
            let outcome = match ran {
                _ if instance.cancelled.load(Ordering::SeqCst) => Outcome::Cancelled,
                Ok(Ok(output)) => Outcome::Success(output),
                Ok(Err(error)) => Outcome::Failed(error.to_string()),
                Err(_) => Outcome::Failed("ODPS-0010000: System internal error - the engine broke down".to_owned()),
            };
            instance.end(clock.now_ms(), outcome);
        });
        match spawned {
            Ok(_) => Ok(id),
            Err(error) => {
                self.lock().remove(&id);
                Err(Refusal::new(503, "ServiceUnavailable", format!("no thread for the instance: {error}")))
            }
        }
    }

    /// `GET …/instances/{id}`.
    pub(super) fn status(&self, id: &str) -> Result<Answer, Refusal> {
        let instance = self.find(id)?;
        let state = instance.lock();
        let status = match *state {
            State::Running => "Running",
            State::Ended { .. } => "Terminated",
        };
        drop(state);
        Ok(self.with_times(&instance, Answer::xml(&format!("<Instance><Status>{status}</Status></Instance>"))))
    }

    /// `GET …/instances/{id}?taskstatus`.
    pub(super) fn task_status(&self, id: &str) -> Result<Answer, Refusal> {
        let instance = self.find(id)?;
        let (status, task_status, end) = match &*instance.lock() {
            State::Running => ("Running", "Running", String::new()),
            State::Ended { at_ms, outcome } => {
                let task_status = match outcome {
                    Outcome::Success(_) => "Success",
                    Outcome::Failed(_) => "Failed",
                    Outcome::Cancelled => "Cancelled",
                };
                ("Terminated", task_status, format!("<EndTime>{}</EndTime>", http_date(*at_ms)))
            }
        };
        let body = format!(
            "<Instance><Status>{status}</Status><Tasks><Task Type=\"SQL\"><Name>{}</Name><StartTime>{}</StartTime>{end}\
             <Status>{task_status}</Status><Histories/></Task></Tasks></Instance>",
            escape(&instance.task),
            http_date(instance.created_ms),
        );
        Ok(self.with_times(&instance, Answer::xml(&body)))
    }

    /// `GET …/instances/{id}?result`: CSV of a SELECT's first rows, the text of anything else, or why it failed.
    pub(super) fn result(&self, id: &str) -> Result<Answer, Refusal> {
        let instance = self.find(id)?;
        let outcome = instance.outcome();
        let left_out =
            matches!(&outcome, Some(Outcome::Success(SqlOutput::Rows(rows))) if rows.segment.rows > READ_TABLE_MAX_ROW);
        let (status, format, text) = match outcome {
            None => ("Running", "text", String::new()),
            Some(Outcome::Cancelled) => ("Cancelled", "text", "ODPS-0420061: Instance has been cancelled".to_owned()),
            Some(Outcome::Failed(text)) => ("Failed", "text", text),
            Some(Outcome::Success(SqlOutput::Nothing)) => ("Success", "text", String::new()),
            Some(Outcome::Success(SqlOutput::Text(text))) => ("Success", "text", text),
            Some(Outcome::Success(SqlOutput::Rows(rows))) => {
                let csv = rows.to_csv(READ_TABLE_MAX_ROW).map_err(|error| {
                    Refusal::new(500, "InternalServerError", format!("the result cannot be read: {error}"))
                })?;
                ("Success", "csv", csv)
            }
        };
        let body = format!(
            "<Instance><Tasks><Task Type=\"SQL\"><Name>{}</Name>{}{}<Status>{status}</Status></Task></Tasks></Instance>",
            escape(&instance.task),
            result_element(format, &text),
            if left_out { TRUNCATED } else { "" },
        );
        Ok(self.with_times(&instance, Answer::xml(&body)))
    }

    /// Other questions about an instance: what can be answered with nothing is, the source of the job too.
    pub(super) fn other(&self, id: &str, asked_for: &str) -> Result<Answer, Refusal> {
        let instance = self.find(id)?;
        let answer = match asked_for {
            "source" => Answer::xml(&format!(
                "<Job><Name></Name><Comment></Comment><Priority>9</Priority><Tasks><SQL><Name>{}</Name><Comment></Comment><Config/>\
                 <Query><![CDATA[{}]]></Query></SQL></Tasks><DAG><RunMode>Sequence</RunMode></DAG></Job>",
                escape(&instance.task),
                cdata(&instance.query),
            )),
            "instancesummary" | "summary" | "detail" | "instancedetail" | "cached" => Answer::text("{}"),
            "instanceprogress" | "progress" => Answer::xml("<Progress></Progress>"),
            _ => {
                return Err(Refusal::new(
                    501,
                    "NotImplemented",
                    format!("the local MaxCompute has no '{asked_for}' of an instance"),
                ));
            }
        };
        Ok(self.with_times(&instance, answer))
    }

    /// `PUT …/instances/{id}` with the status `Terminated`.
    pub(super) fn terminate(&self, id: &str) -> Result<Answer, Refusal> {
        let instance = self.find(id)?;
        if matches!(*instance.lock(), State::Ended { .. }) {
            return Err(Refusal::new(
                409,
                "InvalidStateSetting",
                "ODPS-0420071: Invalid state setting - the instance has terminated already",
            ));
        }
        instance.cancelled.store(true, Ordering::SeqCst);
        instance.end(self.clock.now_ms(), Outcome::Cancelled);
        Ok(self.with_times(&instance, Answer::empty(200)))
    }

    /// The rows of a SELECT, for the instance tunnel.
    pub(super) fn snapshot(&self, id: &str, limited: bool) -> Result<Snapshot, Refusal> {
        let instance = self.find(id)?;
        match instance.outcome() {
            None => Err(Refusal::new(400, "InstanceNotTerminate", "The instance has not terminated yet")),
            Some(Outcome::Failed(text)) => Err(Refusal::new(400, "TaskFailed", text)),
            Some(Outcome::Cancelled) => Err(Refusal::new(400, "TaskFailed", "The instance has been cancelled")),
            Some(Outcome::Success(SqlOutput::Rows(rows))) => {
                let mut snapshot = Snapshot::new(Arc::clone(&rows.schema), vec![Arc::clone(&rows.segment)]);
                if limited {
                    snapshot.rows = snapshot.rows.min(READ_TABLE_MAX_ROW);
                }
                Ok(snapshot)
            }
            Some(Outcome::Success(_)) => {
                Err(Refusal::new(400, "InstanceTypeNotSupported", "The instance is not a SELECT"))
            }
        }
    }

    /// The ids of all instances with their queries, oldest first.
    pub(super) fn list(&self) -> Vec<Arc<Instance>> {
        self.lock().values().map(Arc::clone).collect()
    }

    /// `GET …/instances`.
    pub(super) fn list_answer(&self) -> Answer {
        let mut body = String::from("<Instances><Marker></Marker><MaxItems>1000</MaxItems>");
        for instance in self.list() {
            let (status, end) = match &*instance.lock() {
                State::Running => ("Running", String::new()),
                State::Ended { at_ms, .. } => ("Terminated", format!("<EndTime>{}</EndTime>", http_date(*at_ms))),
            };
            body.push_str(&format!(
                "<Instance><Name>{}</Name><Owner>{}</Owner><StartTime>{}</StartTime>{end}<Status>{status}</Status></Instance>",
                instance.id,
                escape(&self.owner),
                http_date(instance.created_ms)
            ));
        }
        body.push_str("</Instances>");
        Answer::xml(&body)
    }

    fn find(&self, id: &str) -> Result<Arc<Instance>, Refusal> {
        self.lock().get(id).map(Arc::clone).ok_or_else(|| {
            Refusal::new(
                404,
                "NoSuchInstance",
                format!("ODPS-0420095: Access Denied - the instance '{id}' does not exist"),
            )
        })
    }

    /// Java reads both times from headers and takes the absence of either for a bug of its own; an empty end is fine.
    fn with_times(&self, instance: &Instance, answer: Answer) -> Answer {
        let answer =
            answer.header("x-odps-owner", &self.owner).header("x-odps-start-time", &http_date(instance.created_ms));
        match &*instance.lock() {
            State::Running => answer.header("x-odps-end-time", ""),
            State::Ended { at_ms, .. } => answer.header("x-odps-end-time", &http_date(*at_ms)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Instance>>> {
        self.instances.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Instance {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn outcome(&self) -> Option<Outcome> {
        match &*self.lock() {
            State::Running => None,
            State::Ended { outcome, .. } => Some(outcome.clone()),
        }
    }

    /// The first end counts: a statement that comes through after it was cancelled stays cancelled.
    fn end(&self, at_ms: i64, outcome: Outcome) {
        let mut state = self.lock();
        if matches!(*state, State::Running) {
            *state = State::Ended { at_ms, outcome };
        }
    }
}

/// What stands beside a result that does not hold every row.
const TRUNCATED: &str =
    "<ResultDescriptor><![CDATA[{\"IsSelect\":true,\"SelectResultStatus\":\"Truncated\"}]]></ResultDescriptor>";

/// The `Result` element. Text that XML would change or cannot hold goes as Base64.
fn result_element(format: &str, text: &str) -> String {
    let plain =
        text.chars().all(|c| matches!(c, '\t' | '\n' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..));
    if plain {
        format!("<Result Format=\"{format}\"><![CDATA[{}]]></Result>", cdata(text))
    } else {
        format!("<Result Transform=\"Base64\" Format=\"{format}\"><![CDATA[{}]]></Result>", BASE64.encode(text))
    }
}

/// The engine walks expressions by recursion. The parser bounds how deep they nest, but not how long a chain of operators
/// is, and each of its links is a level: hence the part that grows with the text. Only what is used is ever taken.
const SQL_STACK_BYTES: usize = 16 * 1024 * 1024;
const SQL_STACK_BYTES_A_CHARACTER: usize = 4 * 1024;

/// Longest SQL text, the service's own limit.
const SQL_BYTES_MAX: usize = 2 * 1024 * 1024;
