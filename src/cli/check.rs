//! `forebay check`.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::failure::code;
use super::job::{Filling, Form, JobFile, Loaded, tell_notes, warnings};
use super::meaning::meaning;
use super::{Failure, engine, out};
use crate::job::{JobSpec, Purpose};
use crate::sync::look::{self, Finding, Level, LookOptions};

/// Job files, and how strictly they are looked at.
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub(super) struct CheckArgs {
    /// Job files: DataWorks script mode, DataX, or TOML of forebay's own; a folder stands for the .toml and .json files in it, -
    /// for standard input
    #[arg(value_name = "JOB", required = true)]
    files: Vec<PathBuf>,

    #[command(flatten)]
    filling: Filling,

    /// Contact neither Kafka nor MaxCompute
    #[arg(help_heading = "Check", long)]
    offline: bool,

    /// Fail when there are warnings
    #[arg(help_heading = "Check", long)]
    deny_warnings: bool,

    /// Open an upload session too, and leave it without rows: the one proof of the right to write
    #[arg(help_heading = "Check", long, conflicts_with = "offline")]
    session: bool,

    /// What is printed: for people, or one JSON object a job
    #[arg(help_heading = "Check", short = 'o', long, value_name = "FORM", value_enum, default_value_t = Form::Text)]
    output: Form,
}

const EXAMPLES: &str = "\
Examples:
  forebay check job.json --offline
  forebay check job.json --set reader.server=10.0.0.1:9092 --datasources sources.toml
  forebay check /etc/forebay/jobs --offline --deny-warnings -p bizdate=20240101";

/// What was wrong with the jobs so far.
#[derive(Debug, Default)]
struct Tally {
    jobs: usize,
    unusable: usize,
    /// The exit code of the first job that a run could not end well.
    code: Option<u8>,
}

impl CheckArgs {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let purpose = if self.offline { Purpose::Check } else { Purpose::Run };
        let mut tally = Tally::default();
        let files = JobFile::all(&self.files)?;
        for file in &files {
            if tally.jobs > 0 && self.output == Form::Text {
                out::data("\n");
            }
            tally.jobs = tally.jobs.saturating_add(1);
            let wrong = match file.load(&self.filling, purpose)? {
                Loaded::Job(spec) => self.one(file, &spec).await,
                Loaded::Wrong(errors) => {
                    if self.output == Form::Json {
                        let list: Vec<Value> = errors
                            .errors
                            .iter()
                            .map(|error| json!({"place": error.place.render(&file.name), "key": error.key, "message": error.message, "next": error.advice}))
                            .collect();
                        out::data(&format!(
                            "{}\n",
                            json!({"file": file.name, "ok": false, "exit_code": code::CONFIG, "errors": list})
                        ));
                    }
                    Some(super::job::unusable(&file.name, &errors))
                }
            };
            let Some(failure) = wrong else { continue };
            tally.unusable = tally.unusable.saturating_add(1);
            tally.code.get_or_insert(failure.code);
            if files.len() == 1 {
                return Err(failure);
            }
            let _code = out::failure(&failure);
        }
        match tally.code {
            None => Ok(ExitCode::SUCCESS),
            Some(code) => Err(Failure::new(code, format!("{} of {} jobs would fail", tally.unusable, tally.jobs))),
        }
    }

    /// Looks at one job; why a run of it would fail.
    async fn one(&self, file: &JobFile, spec: &JobSpec) -> Option<Failure> {
        let text = self.output == Form::Text;
        if text {
            tell_notes(&spec.notes, &file.name);
            out::data(&meaning(spec));
        }
        let found = match self.offline {
            true => Vec::new(),
            false => look::look(spec, LookOptions { open_session: self.session }).await,
        };
        if text && !found.is_empty() {
            out::data("\n");
            found.iter().for_each(tell);
        }
        let count = |level: Level| found.iter().filter(|finding| finding.level == level).count();
        let (errors, warned) =
            (count(Level::Error), count(Level::Warning).saturating_add(warnings(&spec.notes).count()));
        let first = found.iter().find(|finding| finding.level == Level::Error);
        let failure = match first {
            Some(first) => {
                let code = first.kind.map_or(code::FAILED, engine::exit_code);
                let (s, t) = (if errors == 1 { "" } else { "s" }, if warned == 1 { "" } else { "s" });
                Some(Failure::new(
                    code,
                    format!("{}: a run would fail: {errors} error{s}, {warned} warning{t}", file.name),
                ))
            }
            None if self.deny_warnings && warned > 0 => {
                let message = format!("{}: {warned} warnings, and --deny-warnings is given", file.name);
                Some(Failure::new(code::CONFIG, message))
            }
            None => None,
        };
        if text && failure.is_none() && !self.offline {
            out::data(if spec.unbounded {
                "ok         an agent can run this job\n"
            } else {
                "ok         this job can run\n"
            });
        }
        if !text {
            let object = json!({
                "job": spec.name,
                "file": file.name,
                "ok": failure.is_none(),
                "exit_code": failure.as_ref().map_or(0, |failure| failure.code),
                "notes": super::job::notes_json(&spec.notes, &file.name),
                "findings": found.iter().map(finding_json).collect::<Vec<_>>(),
            });
            out::data(&format!("{object}\n"));
        }
        failure
    }
}

fn tell(finding: &Finding) {
    let Finding { level, end, text, advice, .. } = finding;
    let word = match level {
        Level::Good => return out::data(&format!("ok         {end}: {text}\n")),
        Level::Warning => "warning",
        Level::Error => "error",
    };
    out::talk(&format!("{word}: {end}: {text}"));
    if let Some(advice) = advice {
        out::talk(&format!("  next: {advice}"));
    }
}

fn finding_json(finding: &Finding) -> Value {
    let level = match finding.level {
        Level::Good => "ok",
        Level::Warning => "warning",
        Level::Error => "error",
    };
    json!({"level": level, "end": finding.end, "text": finding.text, "next": finding.advice})
}
