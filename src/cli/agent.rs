//! `forebay agent`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::connection::read;
use super::engine::{self, Ended};
use super::failure::code;
use super::job::Filling;
use super::run::{duration, log_job};
use super::{Failure, out};
use crate::agent::jobs::Jobs;
use crate::agent::systemd::{self, Told};
use crate::job::{JobSpec, Purpose};
use crate::sync::deliver::DeliverOptions;
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
}

const EXAMPLES: &str = "\
Examples:
  forebay agent orders.toml clicks.toml
  forebay agent /etc/forebay/jobs               every job of a folder; SIGHUP reads it again
  forebay agent job.json --set Reader.server=10.0.0.1:9092 --set Writer.truncate=false";

impl AgentArgs {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let jobs = self.load()?;
        let options = DeliverOptions { drain: self.drain };
        let outcome = engine::until_ended(|stop| self.supervise(jobs, options, stop)).await?;
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

    /// All jobs, or what is wrong with the first one that cannot be used.
    fn load(&self) -> Result<Vec<JobSpec>, Failure> {
        let mut jobs: Vec<JobSpec> = Vec::new();
        for file in self.all_files()? {
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

    /// The files, with each folder's in the order of their names.
    fn all_files(&self) -> Result<Vec<PathBuf>, Failure> {
        let mut files = Vec::new();
        for given in &self.files {
            if !given.is_dir() {
                files.push(given.clone());
                continue;
            }
            let wrong = |error: std::io::Error| Failure::new(code::CONFIG, format!("{}: {error}", given.display()));
            let mut inside = Vec::new();
            for entry in std::fs::read_dir(given).map_err(wrong)? {
                let path = entry.map_err(wrong)?.path();
                if is_job(&path) {
                    inside.push(path);
                }
            }
            if inside.is_empty() {
                let text = format!("{}: no .toml or .json file in this folder", given.display());
                return Err(Failure::new(code::CONFIG, text).advise("put a job file there, or name one"));
            }
            inside.sort();
            files.append(&mut inside);
        }
        Ok(files)
    }

    /// Runs the jobs until they are told to stop, or none is left.
    async fn supervise(
        &self,
        first: Vec<JobSpec>,
        options: DeliverOptions,
        mut stop: watch::Receiver<Option<StopCause>>,
    ) -> Result<(), RunError> {
        let mut hangup = signal(SignalKind::hangup())
            .inspect_err(|error| log::warn!("SIGHUP will not read the jobs again: {error}"))
            .ok();
        let mut jobs = Jobs::new(options);
        jobs.apply(first);
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
                match systemd::alive_every() {
                    Some(every) => tokio::time::sleep(every).await,
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
                        systemd::tell(Told::Stopping, "stopping: what is under way comes to its end");
                        jobs.stop(cause.unwrap_or(StopCause::Terminate));
                    }
                }
                true = reload, if !stopping => {
                    systemd::tell(Told::Reloading, "reading the jobs again");
                    self.reload(&mut jobs);
                    systemd::tell(Told::Ready, &status(&jobs));
                }
                () = alive => systemd::tell(Told::Alive, ""),
            }
        }
    }

    /// All or nothing: with one job that cannot be used, everything goes on as it was.
    fn reload(&self, jobs: &mut Jobs) {
        match self.load() {
            Ok(wanted) => {
                let changes = jobs.apply(wanted);
                if changes.is_empty() {
                    log::info!("read the jobs again: nothing has changed");
                } else {
                    log::info!(
                        "read the jobs again: started {:?}, changed {:?}, stopped {:?}",
                        changes.started,
                        changes.changed,
                        changes.stopped
                    );
                }
            }
            Err(failure) => {
                log::error!("the jobs go on as they were, what was read cannot be used: {}", failure.message)
            }
        }
    }
}

fn is_job(path: &Path) -> bool {
    let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
    !hidden && path.is_file() && path.extension().is_some_and(|ending| ending == "toml" || ending == "json")
}

fn status(jobs: &Jobs) -> String {
    match jobs.len() {
        1 => "1 job runs".to_owned(),
        count => format!("{count} jobs run"),
    }
}
