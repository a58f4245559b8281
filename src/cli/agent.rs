//! `forebay agent`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use tokio::task::JoinSet;

use super::connection::read;
use super::engine::{self, Ended};
use super::failure::code;
use super::job::Filling;
use super::run::{duration, log_job};
use super::{Failure, out};
use crate::job::{JobSpec, Purpose};
use crate::sync::deliver::{DeliverOptions, deliver};
use crate::sync::{RunError, RunErrorKind};

/// Jobs, and how they are stopped.
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub(super) struct AgentArgs {
    /// Job files: TOML of forebay's own, DataWorks script mode, or DataX
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
  forebay agent job.json --set Reader.server=10.0.0.1:9092 --set Writer.truncate=false";

impl AgentArgs {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let mut jobs: Vec<JobSpec> = Vec::new();
        for file in &self.files {
            let name = file.display().to_string();
            let spec = self.filling.load(&name, &read(file)?, Purpose::Run)?;
            if jobs.iter().any(|other| other.name == spec.name) {
                let text = format!("{name}: another job is called \"{}\" too", spec.name);
                return Err(Failure::new(code::CONFIG, text).advise("give each job a name of its own"));
            }
            log_job(&spec, &name);
            jobs.push(spec);
        }
        let options = DeliverOptions { drain: self.drain };
        let outcome = engine::until_ended(|stop| async move {
            let mut running = JoinSet::new();
            for spec in jobs {
                let stop = stop.clone();
                running.spawn(async move {
                    let outcome = deliver(&spec, options, stop).await;
                    (spec.name, outcome)
                });
            }
            let mut first = None;
            while let Some(job) = running.join_next().await {
                let (name, outcome) =
                    job.map_err(|lost| RunError::new(RunErrorKind::Bug, format!("a job was lost: {lost}")))?;
                match outcome {
                    Ok(()) => log::info!("job {name}: stopped"),
                    Err(error) => {
                        // The others go on; the agent's exit code is the first failure's.
                        log::error!("job {name} has ended: {}", error.message);
                        first.get_or_insert(error);
                    }
                }
            }
            first.map_or(Ok(()), Err)
        });
        match outcome.await? {
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
}
