//! `forebay agent`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;

use super::connection::read;
use super::engine::{self, Ended};
use super::failure::code;
use super::job::{Filling, all_files};
use super::run::{duration, log_job};
use super::{Failure, out};
use crate::agent::control::{Asked, Control, Order, Orders};
use crate::agent::gmond::Gmond;
use crate::agent::jobs::{Changes, Jobs};
use crate::agent::served::{ADDRESS, Served};
use crate::agent::site::Site;
use crate::agent::systemd::{self, Told};
use crate::agent::token::TokenFile;
use crate::job::{JobSpec, Purpose};
use crate::sync::deliver::DeliverOptions;
use crate::sync::status::SAMPLE_MS;
use crate::sync::{RunError, StopCause};

/// Jobs, and how they are stopped.
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub(super) struct AgentArgs {
    /// Job files: TOML of forebay's own, DataWorks script mode, or DataX; a folder stands for the .toml and .json files in it
    #[arg(value_name = "JOB", required = true)]
    files: Vec<PathBuf>,

    #[command(flatten)]
    filling: Filling,

    /// Time that SIGTERM leaves for what is under way, such as 10s or 2m
    #[arg(help_heading = "Agent", long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    drain: Duration,

    #[arg(help_heading = "Agent", long, value_name = "ADDR", env = "FOREBAY_HTTP", help = http_help())]
    http: Option<String>,

    /// Lets jobs be paused and resumed over HTTP too, by POST to /api/v1/jobs/NAME/pause and /resume with the token that is in
    /// this file (Authorization: Bearer TOKEN)
    #[arg(help_heading = "Agent", long, value_name = "FILE", env = "FOREBAY_HTTP_TOKEN_FILE")]
    http_token_file: Option<PathBuf>,

    /// Names that /metrics has beside forebay's own: those of kafka_exporter for the lag of groups
    #[arg(help_heading = "Agent", long, value_name = "OF", env = "FOREBAY_METRICS_COMPAT", value_enum)]
    metrics_compat: Option<MetricsCompat>,

    /// Unix socket for `forebay pause`, `resume` and `control`, which only this user and root may use
    #[arg(help_heading = "Agent", long, value_name = "PATH", env = "FOREBAY_CONTROL")]
    control: Option<PathBuf>,

    /// A gmond of Ganglia that is told of each job over UDP, such as 127.0.0.1:8649
    #[arg(help_heading = "Agent", long, value_name = "HOST:PORT", env = "FOREBAY_GMOND")]
    gmond: Option<String>,

    /// Time without progress after which a job is shown as stalled
    #[arg(help_heading = "Agent", long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    stalled_after: Duration,
}

/// Whose names the metrics have too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum MetricsCompat {
    /// danielqsj/kafka_exporter
    KafkaExporter,
}

fn http_help() -> String {
    format!("Where the status page, /metrics and the API are served [default: {ADDRESS}]; \"off\" for nowhere")
}

const EXAMPLES: &str = "\
Examples:
  forebay agent orders.toml clicks.toml
  forebay agent /etc/forebay/jobs               every job of a folder; SIGHUP reads it again
  forebay agent job.json --set Reader.server=10.0.0.1:9092 --set Writer.truncate=false";

impl AgentArgs {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let jobs = self.load()?;
        let running = Jobs::new(DeliverOptions { drain: self.drain });
        let (orders, ordered) = Orders::new();
        let site = Arc::new(self.site(&running, &orders)?);
        // Held until the end.
        let _served = serve(&site, self.http.as_deref()).await?;
        let _gmond = self.tell_gmond(&site).await?;
        let _control = self.listen(orders)?;
        let outcome = engine::until_ended(|stop| self.supervise(running, jobs, &site, ordered, stop)).await?;
        match outcome {
            Ok(()) => Ok(ExitCode::SUCCESS),
            Err(Ended::Dropped(code)) => {
                out::talk("error: stopped at once");
                out::talk("  what was sealed is carried on by the next agent; what was not is read again");
                Ok(ExitCode::from(code))
            }
            Err(Ended::Failed(error)) => {
                out::talk(&format!("error: {}", error.message));
                if let Some(advice) = &error.advice {
                    out::talk(&format!("  next: {advice}"));
                }
                Ok(ExitCode::from(engine::exit_code(error.kind)))
            }
        }
    }

    /// What is shown, and who may give orders there.
    fn site(&self, jobs: &Jobs, orders: &Orders) -> Result<Site, Failure> {
        let mut site = Site::new(jobs.statuses(), self.stalled_after);
        if let Some(file) = &self.http_token_file {
            let token = TokenFile::new(file).map_err(|why| {
                Failure::new(code::CONFIG, format!("--http-token-file {why}"))
                    .advise("make one that only this user can read: (umask 077; openssl rand -hex 32 > FILE)")
            })?;
            site = site.ordered_by(token, orders.clone());
        }
        if self.metrics_compat.is_some() {
            site = site.with_exporter_names();
        }
        Ok(site)
    }

    async fn tell_gmond(&self, site: &Arc<Site>) -> Result<Option<Gmond>, Failure> {
        let Some(address) = &self.gmond else { return Ok(None) };
        let gmond = Gmond::start(site, address).await.map_err(|error| {
            Failure::new(code::CONFIG, format!("--gmond {address}: {error}"))
                .advise("give HOST:PORT of a udp_recv_channel of gmond.conf; its usual port is 8649")
        })?;
        Ok(Some(gmond))
    }

    fn listen(&self, orders: Orders) -> Result<Option<Control>, Failure> {
        let Some(path) = &self.control else { return Ok(None) };
        let control = Control::listen(path, orders).map_err(|error| {
            Failure::new(code::CONFIG, format!("--control {}: {error}", path.display()))
                .advise("give a path in a folder of this user that no other agent has")
        })?;
        Ok(Some(control))
    }

    /// All jobs, or what is wrong with the first one that cannot be used.
    fn load(&self) -> Result<Vec<JobSpec>, Failure> {
        let mut jobs: Vec<JobSpec> = Vec::new();
        for file in all_files(&self.files)? {
            let name = file.display().to_string();
            let spec = self.filling.load(&name, &read(&file)?, Purpose::Run)?;
            if jobs.iter().any(|other| other.name == spec.name) {
                let text = format!("{name}: another job is called \"{}\" too", spec.name);
                return Err(Failure::new(code::CONFIG, text).advise("give each job a name of its own"));
            }
            log_job(&spec, &name);
            jobs.push(spec);
        }
        Ok(jobs)
    }

    /// Runs the jobs until they are told to stop, or none is left.
    async fn supervise(
        &self,
        mut jobs: Jobs,
        first: Vec<JobSpec>,
        site: &Site,
        mut ordered: mpsc::Receiver<Asked>,
        mut stop: watch::Receiver<Option<StopCause>>,
    ) -> Result<(), RunError> {
        let mut hangup = signal(SignalKind::hangup())
            .inspect_err(|error| log::warn!("SIGHUP will not read the jobs again: {error}"))
            .ok();
        jobs.apply(first);
        let mut alive = systemd::alive_every().map(tokio::time::interval);
        let mut turn = tokio::time::interval(TURN_EVERY);
        turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut sample = tokio::time::interval(Duration::from_millis(SAMPLE_MS.unsigned_abs()));
        sample.set_missed_tick_behavior(MissedTickBehavior::Delay);
        systemd::tell(Told::Ready, &status(&jobs));
        let mut failure = None;
        let mut stopping = false;
        loop {
            let reload = async {
                match &mut hangup {
                    Some(hangup) => hangup.recv().await.is_some(),
                    None => std::future::pending().await,
                }
            };
            let alive = async {
                match &mut alive {
                    Some(alive) => {
                        alive.tick().await;
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                ended = jobs.next_ended() => match ended {
                    Some((name, Ok(()))) => log::info!("job {name}: stopped"),
                    Some((name, Err(error))) => {
                        // The others go on; the agent's exit code is the first failure's.
                        log::error!("job {name} has ended: {}", error.message);
                        failure.get_or_insert(error);
                    }
                    None => return failure.map_or(Ok(()), Err),
                },
                changed = stop.changed(), if !stopping => {
                    let cause = *stop.borrow_and_update();
                    if changed.is_err() || cause.is_some() {
                        stopping = true;
                        stop_all(&mut jobs, site, cause.unwrap_or(StopCause::Terminate));
                    }
                }
                true = reload, if !stopping => {
                    drop(self.reload_and_tell(&mut jobs, site));
                }
                Some(Asked { order, answer }) = ordered.recv(), if !stopping => {
                    let outcome = match order {
                        Order::Pause(job) => jobs.pause(&job),
                        Order::Resume(job) => jobs.resume(&job),
                        Order::Reload => self.reload_and_tell(&mut jobs, site),
                        Order::LogLevel(level) => {
                            log::set_max_level(level);
                            Ok(format!("{level} is logged from here on"))
                        }
                        Order::Config(job) => jobs.config(job.as_deref()),
                        Order::Drain => {
                            stopping = true;
                            stop_all(&mut jobs, site, StopCause::Terminate);
                            Ok("what is under way comes to its end, and the agent ends then".to_owned())
                        }
                    };
                    log::info!("control: {}", outcome.as_ref().map_or_else(String::as_str, String::as_str));
                    // Whoever asked may be gone.
                    answer.send(outcome).ok();
                }
                () = alive => systemd::tell(Told::Alive, ""),
                _ = turn.tick() => site.turned(),
                _ = sample.tick() => site.sample(),
            }
        }
    }

    fn reload_and_tell(&self, jobs: &mut Jobs, site: &Site) -> Result<String, String> {
        systemd::tell(Told::Reloading, "reading the jobs again");
        let outcome = self.reload(jobs);
        site.reloaded(outcome.clone());
        systemd::tell(Told::Ready, &status(jobs));
        outcome
    }

    /// All or nothing: with one job that cannot be used, everything goes on as it was. Gives what has come of it.
    fn reload(&self, jobs: &mut Jobs) -> Result<String, String> {
        match self.load() {
            Ok(wanted) => {
                let changes = jobs.apply(wanted);
                let text = if changes.is_empty() {
                    "nothing has changed".to_owned()
                } else {
                    let Changes { started, changed, stopped } = changes;
                    format!("started {started:?}, changed {changed:?}, stopped {stopped:?}")
                };
                log::info!("read the jobs again: {text}");
                Ok(text)
            }
            Err(failure) => {
                log::error!("the jobs go on as they were, what was read cannot be used: {}", failure.message);
                Err(failure.message)
            }
        }
    }
}

/// Puts the site on its address. One that was asked for must be free; the usual one may be another agent's.
pub(super) async fn serve(site: &Arc<Site>, http: Option<&str>) -> Result<Option<Served>, Failure> {
    if http.is_some_and(|address| address.eq_ignore_ascii_case("off")) {
        return Ok(None);
    }
    let address = http.unwrap_or(ADDRESS);
    match Served::start(site, address).await {
        Ok(served) => {
            log::info!("status page at http://{}/", served.address());
            Ok(Some(served))
        }
        Err(error) if http.is_none() => {
            log::warn!("no status page: {address}: {error}; another agent of this host may have it (see --http)");
            Ok(None)
        }
        Err(error) => {
            let failure = Failure::new(code::CONFIG, format!("--http {address}: {error}"));
            Err(failure.advise("give a free address such as 127.0.0.1:9181, or \"off\""))
        }
    }
}

/// Brings all jobs to their end, and says so.
fn stop_all(jobs: &mut Jobs, site: &Site, cause: StopCause) {
    systemd::tell(Told::Stopping, "stopping: what is under way comes to its end");
    site.draining();
    jobs.stop(cause);
}

/// How often the loop shows that it turns.
const TURN_EVERY: Duration = Duration::from_secs(1);

fn status(jobs: &Jobs) -> String {
    match jobs.len() {
        1 => "1 job runs".to_owned(),
        count => format!("{count} jobs run"),
    }
}
