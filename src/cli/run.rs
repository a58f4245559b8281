//! `forebay run`.

use std::convert::Infallible;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;

use super::engine::{self, Ended};
use super::job::JobOptions;
use super::{Failure, out};
use crate::agent::jobs::Statuses;
use crate::agent::served::Served;
use crate::agent::site::Site;
use crate::agent::{logging, terminal};
use crate::job::{JobSpec, Purpose, Severity};
use crate::sync::progress::Watcher;
use crate::sync::run::RunOptions;
use crate::sync::status::{JobStatus, SAMPLE_MS};
use crate::sync::{RunError, Summary, TargetState};

/// A job file, and how its run is watched.
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub(super) struct RunArgs {
    #[command(flatten)]
    job: JobOptions,

    /// What is printed at the end
    #[arg(help_heading = RUN, short = 'o', long, value_name = "FORM", value_enum, env = "FOREBAY_REPORT", default_value_t = Report::Text)]
    report: Report,

    /// Look at both ends and fix the ranges, but transfer nothing
    #[arg(help_heading = RUN, long)]
    dry_run: bool,

    /// Fail when the run takes longer, such as 90s, 15m or 2h
    #[arg(help_heading = RUN, long, value_name = "TIME", env = "FOREBAY_DEADLINE", value_parser = duration)]
    deadline: Option<Duration>,

    /// Time between progress lines, where standard error is no terminal, such as 10s or 1m
    #[arg(help_heading = RUN, long, value_name = "TIME", env = "FOREBAY_PROGRESS_EVERY", default_value = "10s", value_parser = duration)]
    progress_every: Duration,

    /// Time without progress after which the stage that waits is named, and whom it waits for
    #[arg(help_heading = RUN, long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    stalled_after: Duration,

    /// Where the status page, /metrics and the API of the run are served while it lasts, such as 127.0.0.1:9181; nowhere unless
    /// given
    #[arg(help_heading = RUN, long, value_name = "ADDR")]
    http: Option<String>,
}

const RUN: &str = "Run";

const EXAMPLES: &str = "\
Examples:
  forebay run job.json
  forebay run job.json --set reader.server=10.0.0.1:9092 --datasources sources.toml
  forebay run job.json -p bizdate=20240101 -o json";

/// The report at the end of a run, on standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Report {
    /// DataX's summary, and what it does not say in English
    Text,
    /// One JSON object
    Json,
    /// DataX's summary alone
    Datax,
    /// Nothing
    None,
}

/// `90`, `90s`, `15m`, `2h`, `500ms`; above zero and at most 30 days.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let millis_per_unit = match unit {
        "ms" => 1,
        "" | "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => 0,
    };
    let millis = number.parse::<u64>().ok().and_then(|number| number.checked_mul(millis_per_unit));
    match millis {
        Some(millis) if (1..=DURATION_MS_MAX).contains(&millis) => Ok(Duration::from_millis(millis)),
        _ => Err("write a number with ms, s, m or h, at most 30 days".to_owned()),
    }
}

const DURATION_MS_MAX: u64 = 30 * 24 * 3_600_000;

impl RunArgs {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let mut spec = self.job.load(Purpose::Run)?;
        spec.settings.dry_run |= self.dry_run;
        log_job(&spec, &self.job.file_name());
        let shown = self.shown(&spec).await?;
        let options = RunOptions {
            deadline: self.deadline,
            progress_every: self.progress_every,
            stalled_after: self.stalled_after,
            status: shown.as_ref().map(|shown| Arc::clone(&shown.status)),
            watched: self.watcher(&spec.name),
            ..RunOptions::default()
        };
        let turning = async {
            match &shown {
                Some(shown) => shown.turn().await,
                None => std::future::pending().await,
            }
        };
        let ended = tokio::select! {
            ended = engine::run(&spec, &options) => ended,
            never = turning => match never {},
        };
        terminal::clear();
        match ended? {
            Ok(summary) => {
                out::data(&self.report.of(&summary));
                Ok(ExitCode::SUCCESS)
            }
            Err(Ended::Dropped(code)) => {
                out::talk("error: stopped at once");
                out::talk("  table and group are unchanged, unless the log says that the session was being committed");
                Ok(ExitCode::from(code))
            }
            Err(Ended::Failed(error)) => {
                self.report.tell_failure(&spec, &error);
                Ok(ExitCode::from(engine::exit_code(error.kind)))
            }
        }
    }
}

/// A run that can be looked at.
struct Shown {
    status: Arc<JobStatus>,
    site: Arc<Site>,
    // Held until the end.
    _served: Option<Served>,
}

impl Shown {
    /// Takes its samples, for ever.
    async fn turn(&self) -> Infallible {
        let mut sample = tokio::time::interval(Duration::from_millis(SAMPLE_MS.unsigned_abs()));
        loop {
            sample.tick().await;
            self.site.turned();
            self.site.sample();
        }
    }
}

impl RunArgs {
    async fn shown(&self, spec: &JobSpec) -> Result<Option<Shown>, Failure> {
        let Some(address) = &self.http else { return Ok(None) };
        let status = Arc::new(JobStatus::new(spec, jiff::Timestamp::now().as_millisecond()));
        let site = Arc::new(Site::new(&Statuses::of(&status), self.stalled_after));
        let served = super::agent::serve(&site, Some(address)).await?;
        Ok(Some(Shown { status, site, _served: served }))
    }

    /// A line that is drawn again and again, where a person looks on and has not asked for DataX's lines.
    fn watcher(&self, job: &str) -> Option<Watcher> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let can_draw = terminal::can_draw(variable("TERM").as_deref());
        if self.report == Report::Datax || !logging::is_text(log::Level::Info) || !can_draw {
            return None;
        }
        let in_colour = variable("NO_COLOR").is_none();
        let job = job.to_owned();
        Some(Watcher::new(move |progress| {
            let (columns, _) = out::terminal_size(&std::io::stderr());
            terminal::draw(&progress.line(&job), columns, in_colour);
        }))
    }
}

/// Banner, job and notes, which open every log.
pub(super) fn log_job(spec: &JobSpec, file: &str) {
    log::info!("forebay {}", env!("CARGO_PKG_VERSION"));
    log::info!("job {}\n{}", spec.name, spec.redacted_json);
    for note in &spec.notes {
        let level = match note.severity {
            Severity::Warning => log::Level::Warn,
            Severity::Info => log::Level::Info,
        };
        log::log!(level, "{}", note.render(file));
    }
}

impl Report {
    fn of(self, summary: &Summary) -> String {
        match self {
            Self::Text => format!("{}\n{}", summary.datax(), summary.text()),
            Self::Json => format!("{}\n", summary.json()),
            Self::Datax => summary.datax(),
            Self::None => String::new(),
        }
    }

    /// What failed, and in what state it left both ends. Schedulers look for DataX's line, so that form keeps it.
    fn tell_failure(self, spec: &JobSpec, error: &RunError) {
        let state = state(&error.target);
        if self == Self::Json {
            let object = serde_json::json!({
                "job": spec.name,
                "errorMessage": error.message,
                "advice": error.advice,
                "target_state": error.target.to_string(),
            });
            out::data(&format!("{object}\n"));
        }
        if self == Self::Datax {
            out::talk("经DataX智能分析,该任务最可能的错误原因是:");
        }
        out::talk(&format!("error: {}", error.message));
        if let Some(advice) = &error.advice {
            out::talk(&format!("  next: {advice}"));
        }
        out::talk(&format!("  {state}"));
    }
}

fn state(target: &TargetState) -> String {
    match target {
        TargetState::Unchanged => "table and group are unchanged".to_owned(),
        TargetState::Committed => "the table holds this run's rows".to_owned(),
        TargetState::Streamed => {
            "the table holds the rows that were sent, the group the offsets of earlier ones".to_owned()
        }
        TargetState::Partly { .. } => format!("the group is unchanged; {target}"),
        TargetState::Unknown { session } => {
            format!("it is not known whether the table holds this run's rows: upload session {session}")
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn times_have_a_unit() {
        for (text, seconds) in [("90", 90), ("90s", 90), ("15m", 900), ("2h", 7200), ("2000ms", 2)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "s", "0", "-1", "1d", "1.5s", "99999999999999999999", "721h", "1 s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
