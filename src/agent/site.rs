//! What the agent shows: its paths and their answers.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::control::{Order, Orders};
use super::events::Event;
use super::gmond::Gauge;
use super::http::{Response, Serve};
use super::jobs::Statuses;
use super::logging;
use super::metrics::{self, Sources};
use super::process::ProcessView;
use super::token::TokenFile;
use crate::sync::status::{ClusterView, HealthWord, JobView, Now, PartitionView};

/// How old the loop's last turn may be; it turns every second.
const LOOP_PATIENCE_MS: i64 = 15_000;

/// The commit it was built from, where the build says so.
const COMMIT: &str = match option_env!("FOREBAY_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// The status page.
const PAGE: &str = include_str!("page.html");

/// The JSON schema of the answers.
const SCHEMA: &str = include_str!("schema.json");

/// What a reload came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReloadView {
    /// When.
    pub at_ms: i64,
    /// Whether the jobs that were read are those that run.
    pub ok: bool,
    /// What has changed, or why nothing has.
    pub text: String,
}

/// The agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct AgentView {
    version: &'static str,
    commit: &'static str,
    target: String,
    host: String,
    pid: u32,
    started_ms: i64,
    /// As [`HealthWord`]: that of the job that is worst off, unless the agent drains.
    word: HealthWord,
    text: String,
    /// Raised with every set of jobs that was taken.
    generation: u64,
    reloads_ok: u64,
    reloads_failed: u64,
    last_reload: Option<ReloadView>,
    stalled_after_ms: u64,
    process: ProcessView,
    memory_limit_bytes: u64,
}

#[derive(Debug, Serialize)]
struct StatusView {
    agent: AgentView,
    jobs: Vec<JobView>,
    events: Vec<Event>,
}

#[derive(Debug, Serialize)]
struct PartitionsView {
    job: String,
    topic: String,
    partitions: Vec<PartitionView>,
}

/// The clusters that jobs read from.
#[derive(Debug, Serialize)]
struct ClustersView {
    clusters: Vec<ClusterEntry>,
}

/// A cluster.
#[derive(Debug, Serialize)]
struct ClusterEntry {
    bootstrap: Vec<String>,
    /// None until it has been looked at, a second or two after the first request.
    cluster: Option<ClusterView>,
}

#[derive(Debug, Serialize)]
struct Readiness {
    ready: bool,
    reasons: Vec<Unready>,
}

#[derive(Debug, Serialize)]
struct Unready {
    job: String,
    reason: String,
}

/// The agent as it is shown.
#[derive(Debug)]
pub struct Site {
    statuses: Statuses,
    stalled_after: Duration,
    started_ms: i64,
    host: String,
    page_policy: String,
    /// Who may give orders, and where they go.
    ordered_by: Option<(TokenFile, Orders)>,
    /// Whether the metrics have the names of kafka_exporter too.
    has_exporter_names: bool,
    /// When the loop that runs the jobs turned last.
    turned_ms: AtomicI64,
    course: Mutex<Course>,
}

#[derive(Debug, Default)]
struct Course {
    is_draining: bool,
    generation: u64,
    reloads_ok: u64,
    reloads_failed: u64,
    last_reload: Option<ReloadView>,
}

fn now() -> Now {
    Now { wall: jiff::Timestamp::now().as_millisecond(), instant: Instant::now() }
}

impl Site {
    /// Shows these jobs, of which one stalls that has not got on for so long.
    pub fn new(statuses: &Statuses, stalled_after: Duration) -> Self {
        let wall = now().wall;
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Self {
            statuses: statuses.clone(),
            stalled_after,
            started_ms: wall,
            host: host.trim().to_owned(),
            page_policy: page_policy(),
            ordered_by: None,
            has_exporter_names: false,
            turned_ms: AtomicI64::new(wall),
            course: Mutex::new(Course { generation: 1, ..Course::default() }),
        }
    }

    /// Takes orders from those who have this token.
    #[must_use]
    pub fn ordered_by(mut self, token: TokenFile, orders: Orders) -> Self {
        self.ordered_by = Some((token, orders));
        self
    }

    /// Gives the metrics that dashboards of kafka_exporter look for, too.
    #[must_use]
    pub const fn with_exporter_names(mut self) -> Self {
        self.has_exporter_names = true;
        self
    }

    fn course<T>(&self, look: impl FnOnce(&mut Course) -> T) -> T {
        look(&mut self.course.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The loop that runs the jobs has turned.
    pub fn turned(&self) {
        self.turned_ms.store(now().wall, Ordering::Relaxed);
    }

    /// Takes a sample of each job: to be called every [`crate::sync::status::SAMPLE_MS`].
    pub fn sample(&self) {
        for status in self.statuses.all() {
            status.sample(now());
        }
    }

    /// The agent brings everything to its end.
    pub fn draining(&self) {
        self.course(|course| course.is_draining = true);
    }

    /// The jobs were read again.
    pub fn reloaded(&self, outcome: Result<String, String>) {
        self.course(|course| {
            let ok = outcome.is_ok();
            if ok {
                course.generation = course.generation.saturating_add(1);
                course.reloads_ok = course.reloads_ok.saturating_add(1);
            } else {
                course.reloads_failed = course.reloads_failed.saturating_add(1);
            }
            let text = outcome.unwrap_or_else(|error| error);
            course.last_reload = Some(ReloadView { at_ms: now().wall, ok, text });
        });
    }

    fn jobs(&self) -> Vec<JobView> {
        let now = now();
        self.statuses.all().iter().map(|status| status.view(now, self.stalled_after)).collect()
    }

    fn agent(&self, jobs: &[JobView]) -> AgentView {
        let worst = jobs.iter().map(|job| job.health.word).max().unwrap_or(HealthWord::Stopped);
        let of = |word| jobs.iter().filter(move |job| job.health.word == word).map(|job| job.name.as_str());
        let (word, text) = self.course(|course| {
            if course.is_draining {
                return (HealthWord::Draining, "what is under way comes to its end".to_owned());
            }
            let names: Vec<&str> = of(worst).take(3).collect();
            let (names, count) = (names.join(", "), of(worst).count());
            let names = if count > 3 { format!("{names} and {} more", count.saturating_sub(3)) } else { names };
            let text = match worst {
                HealthWord::Stopped => "no job runs".to_owned(),
                HealthWord::CaughtUp => "all records are in their tables".to_owned(),
                HealthWord::Running => format!("{count} of {} with records to move", jobs_text(jobs.len())),
                HealthWord::Paused => format!("{names}: paused by a person"),
                HealthWord::Starting => format!("{names}: not at work yet"),
                HealthWord::Draining => format!("{names}: coming to the end"),
                HealthWord::Degraded => format!("{names}: partitions stand still until a person has looked"),
                HealthWord::Stalled => format!("{names}: no progress"),
                HealthWord::Failed => format!("{names}: ended by an error"),
            };
            (worst, text)
        });
        let (generation, reloads_ok, reloads_failed, last_reload) = self
            .course(|course| (course.generation, course.reloads_ok, course.reloads_failed, course.last_reload.clone()));
        AgentView {
            version: env!("CARGO_PKG_VERSION"),
            commit: COMMIT,
            target: target(),
            host: self.host.clone(),
            pid: std::process::id(),
            started_ms: self.started_ms,
            word,
            text,
            generation,
            reloads_ok,
            reloads_failed,
            last_reload,
            stalled_after_ms: u64::try_from(self.stalled_after.as_millis()).unwrap_or(u64::MAX),
            process: ProcessView::read(),
            memory_limit_bytes: jobs.iter().map(|job| job.memory.limit_bytes).sum(),
        }
    }

    /// The name of this host.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// What gmond is told of each job.
    pub(super) fn gauges(&self) -> Vec<Gauge> {
        let now_ms = now().wall;
        let mut gauges = Vec::new();
        for job in self.jobs() {
            let mut add = |name: &'static str, value: Option<f64>, units: &'static str, is_counter: bool| {
                gauges.extend(value.map(|value| Gauge { job: job.name.clone(), name, value, units, is_counter }));
            };
            let number = |count: u64| Some(count as f64);
            let flag = |is: bool| Some(f64::from(u8::from(is)));
            let delay = match (job.lag.records, job.lag.newest_committed_ms) {
                (Some(0), _) => Some(0.0),
                (_, Some(newest)) => Some(now_ms.saturating_sub(newest).max(0) as f64 / 1000.0),
                (_, None) => None,
            };
            add("ready", flag(job.ready), "", false);
            add("stalled", flag(job.health.word == HealthWord::Stalled), "", false);
            add("lag_records", job.lag.records.map(|lag| lag as f64), "records", false);
            add("delay_seconds", delay, "s", false);
            add("records_per_second", Some(job.rates.minute.records), "records/s", false);
            add("bytes_per_second", Some(job.rates.minute.bytes), "bytes/s", false);
            add("rows_committed", number(job.totals.rows_committed), "rows", true);
            add("dirty_records", number(job.dirty.records), "records", true);
            add("halted_partitions", number(u64::try_from(job.halted).unwrap_or(u64::MAX)), "partitions", false);
        }
        gauges
    }

    fn status(&self) -> Response {
        let jobs = self.jobs();
        let agent = self.agent(&jobs);
        Response::json(200, &StatusView { agent, jobs, events: logging::events().latest() }).tagged()
    }

    fn job(&self, name: &str, part: &[&str]) -> Response {
        let Some(status) = self.statuses.get(name) else {
            let names: Vec<String> = self.statuses.all().iter().map(|status| status.facts().name.clone()).collect();
            return Response::problem(404, &format!("there is no job \"{name}\"; there are: {}", names.join(", ")));
        };
        match part {
            [] => Response::json(200, &status.view(now(), self.stalled_after)).tagged(),
            ["partitions"] => {
                let facts = status.facts();
                let (job, topic) = (facts.name.clone(), facts.topic.clone());
                Response::json(200, &PartitionsView { job, topic, partitions: status.partitions() }).tagged()
            }
            _ => nothing(),
        }
    }

    /// Each cluster that a job reads from, once: as it was looked at last. A look follows each request.
    fn clusters(&self) -> Response {
        let mut clusters: Vec<ClusterEntry> = Vec::new();
        for status in self.statuses.all() {
            let facts = status.facts();
            if clusters.iter().all(|known| known.bootstrap != facts.bootstrap) {
                let cluster = status.want_cluster(now().wall);
                clusters.push(ClusterEntry { bootstrap: facts.bootstrap.clone(), cluster });
            }
        }
        Response::json(200, &ClustersView { clusters }).tagged()
    }

    fn metrics(&self) -> Response {
        let now = now();
        let jobs: Vec<(JobView, Vec<PartitionView>)> = (self.statuses.all().iter())
            .map(|status| (status.view(now, self.stalled_after), status.partitions()))
            .collect();
        let target = target();
        let text = self.course(|course| {
            metrics::render(&Sources {
                version: env!("CARGO_PKG_VERSION"),
                commit: COMMIT,
                target: &target,
                generation: course.generation,
                reloads_ok: course.reloads_ok,
                reloads_failed: course.reloads_failed,
                last_reload: course.last_reload.as_ref().map(|reload| (reload.ok, reload.at_ms)),
                started_ms: self.started_ms,
                now_ms: now.wall,
                process: ProcessView::read(),
                jobs: &jobs,
            })
        });
        let exporter = if self.has_exporter_names { metrics::as_kafka_exporter(&jobs) } else { String::new() };
        Response::of_type("text/plain; version=0.0.4; charset=utf-8", text + &exporter)
    }

    /// Pauses or resumes a job, for those who have the token.
    async fn order(&self, path: &[&str], bearer: Option<&str>) -> Response {
        let ["api", "v1", "jobs", name, word] = path else { return nothing() };
        let Some((token, orders)) = &self.ordered_by else {
            let text =
                "orders are not taken here; start the agent with --http-token-file FILE, or use its control socket";
            return Response::problem(405, text).with_header("Allow", "GET, HEAD");
        };
        let refused = |text: &str, challenge: &str| {
            Response::problem(401, text).with_header("WWW-Authenticate", format!("Bearer realm=\"forebay\"{challenge}"))
        };
        match bearer.map(|bearer| token.is(bearer)) {
            None => {
                return refused(
                    "give the token: Authorization: Bearer TOKEN (the agent's --http-token-file has it)",
                    "",
                );
            }
            Some(Ok(true)) => {}
            Some(Ok(false)) => return refused("this is not the token of this agent", ", error=\"invalid_token\""),
            Some(Err(error)) => {
                log::error!("--http-token-file {error}");
                return Response::problem(503, "the agent cannot read its token; its log says why");
            }
        }
        let name = (*name).to_owned();
        if self.statuses.get(&name).is_none() {
            return self.job(&name, &[]);
        }
        let order = if *word == "pause" { Order::Pause(name) } else { Order::Resume(name) };
        match orders.give(order).await {
            Ok(text) => Response::json(200, &serde_json::json!({ "ok": true, "text": text })),
            Err(text) => Response::problem(409, &text),
        }
    }

    /// 200 while the loop that runs the jobs turns, whatever Kafka and MaxCompute do.
    fn livez(&self) -> Response {
        let age = now().wall.saturating_sub(self.turned_ms.load(Ordering::Relaxed));
        if age <= LOOP_PATIENCE_MS {
            return Response::text("ok\n");
        }
        Response::problem(503, &format!("the loop that runs the jobs has not turned for {} s", age / 1000))
    }

    /// 200 once every job is at work.
    fn readyz(&self) -> Response {
        let all = self.statuses.all();
        let mut reasons: Vec<Unready> = (all.iter())
            .filter_map(|status| Some(Unready { job: status.facts().name.clone(), reason: status.unready()? }))
            .collect();
        if self.course(|course| course.is_draining) {
            reasons.push(Unready { job: String::new(), reason: "the agent is stopping".to_owned() });
        } else if all.is_empty() {
            reasons.push(Unready { job: String::new(), reason: "no job runs".to_owned() });
        }
        let ready = reasons.is_empty();
        Response::json(if ready { 200 } else { 503 }, &Readiness { ready, reasons })
    }
}

fn nothing() -> Response {
    let text = "there is nothing here; see / /livez /readyz /metrics /ping /version /api/v1/status /api/v1/jobs/{id} \
                /api/v1/jobs/{id}/partitions /api/v1/cluster /api/v1/schema";
    Response::problem(404, text)
}

/// What the page may do: run its own script and no other, and ask nobody but the agent.
fn page_policy() -> String {
    let script =
        PAGE.split_once("<script>").and_then(|(_, rest)| rest.split_once("</script>")).map_or("", |(code, _)| code);
    let hash = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, Sha256::digest(script.as_bytes()));
    format!(
        "default-src 'none'; script-src 'sha256-{hash}'; style-src 'unsafe-inline'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

fn jobs_text(count: usize) -> String {
    if count == 1 { "1 job".to_owned() } else { format!("{count} jobs") }
}

/// What it was built for.
fn target() -> String {
    let libc = if cfg!(target_env = "musl") { "-musl" } else { "" };
    format!("{}-{}{libc}", std::env::consts::ARCH, std::env::consts::OS)
}

impl Serve for Site {
    async fn get(&self, path: &[&str]) -> Response {
        match path {
            [] => {
                let policy = self.page_policy.clone();
                Response::of_type("text/html; charset=utf-8", PAGE)
                    .tagged()
                    .with_header("Content-Security-Policy", policy)
            }
            ["livez"] => self.livez(),
            ["readyz" | "ready" | "healthz"] => self.readyz(),
            ["metrics"] => self.metrics(),
            ["ping"] => Response::text("pong\n"),
            ["version"] => {
                let version =
                    serde_json::json!({ "version": env!("CARGO_PKG_VERSION"), "commit": COMMIT, "target": target() });
                Response::json(200, &version)
            }
            ["api", "v1", "status"] => self.status(),
            ["api", "v1", "cluster"] => self.clusters(),
            ["api", "v1", "schema"] => Response::of_type("application/schema+json", SCHEMA).tagged(),
            ["api", "v1", "jobs", name, part @ ..] => self.job(name, part),
            _ => nothing(),
        }
    }

    async fn post(&self, path: &[&str], bearer: Option<&str>) -> Response {
        self.order(path, bearer).await
    }
}
