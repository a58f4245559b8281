//! `forebay resolve`.

use std::process::ExitCode;

use super::failure::code;
use super::job::JobOptions;
use super::{Failure, engine, out};
use crate::job::Purpose;
use crate::sync::RunError;
use crate::sync::deliver::{OpenBatch, Resolution, Verdict};
use crate::sync::step::SessionState;

/// A job, and what a person has found out about it.
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub(super) struct ResolveArgs {
    #[command(flatten)]
    job: JobOptions,

    /// The rows of the doubtful batches are in the table: go on after them
    #[arg(help_heading = "Decision", long, conflicts_with = "not_committed")]
    committed: bool,

    /// The rows of the doubtful batches are not in the table: write them again
    #[arg(help_heading = "Decision", long)]
    not_committed: bool,
}

const EXAMPLES: &str = "\
Examples:
  forebay resolve orders.toml                   what is under way, and what MaxCompute says of it
  forebay resolve orders.toml --committed       the doubtful rows were found in the table
  forebay resolve orders.toml --not-committed   they were not found";

impl ResolveArgs {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let spec = self.job.load(Purpose::Run)?;
        let resolution = Resolution::look(&spec).await.map_err(failure)?;
        out::data(&table(&resolution));
        let doubtful = resolution.batches.iter().filter(|batch| batch.is_doubtful()).count();
        let verdict = match (self.committed, self.not_committed) {
            (true, _) => Verdict::Committed,
            (_, true) => Verdict::NotCommitted,
            _ if doubtful == 0 => return Ok(ExitCode::SUCCESS),
            _ => {
                let text = format!("{doubtful} partition(s) wait for a decision");
                return Err(Failure::new(code::SAFETY_STOP, text).advise(
                    "look in the table for rows of these offsets, stop the job's agents, then add --committed or --not-committed",
                ));
            }
        };
        if doubtful == 0 {
            out::talk("nothing is doubtful, so nothing was decided");
            return Ok(ExitCode::SUCCESS);
        }
        let decided = resolution.decide(verdict).await.map_err(failure)?;
        out::talk(&format!(
            "decided for {decided} partition(s) of group {}; start the agent again",
            resolution.group()
        ));
        Ok(ExitCode::SUCCESS)
    }
}

fn failure(error: RunError) -> Failure {
    let failure = Failure::new(engine::exit_code(error.kind), error.message);
    match error.advice {
        Some(advice) => failure.advise(advice),
        None => failure,
    }
}

fn table(resolution: &Resolution) -> String {
    if resolution.batches.is_empty() {
        return format!("group {}: no batch is under way\n", resolution.group());
    }
    let mut text = format!("group {}\n", resolution.group());
    for batch in &resolution.batches {
        let OpenBatch { partition, begin, end, sessions, .. } = batch;
        text.push_str(&format!("partition {partition}: offsets {begin} to {}\n", end.saturating_sub(1)));
        for (session, state) in sessions {
            let target = if session.target.is_empty() { "the table" } else { &session.target };
            let id = if session.upload_id.is_empty() { "-" } else { &session.upload_id };
            text.push_str(&format!("  {target}: {} rows in upload session {id}: {}\n", session.rows, words(state)));
        }
    }
    text
}

const fn words(state: &SessionState) -> &'static str {
    match state {
        SessionState::Open { .. } => "can still be committed, the agent will do it",
        SessionState::Committing => "is being committed",
        SessionState::Committed => "committed",
        SessionState::NeverCommitted => "never committed, the agent will write the rows again",
        SessionState::Forgotten => "MaxCompute no longer knows it: decide",
        SessionState::Unavailable => "MaxCompute did not answer",
    }
}
