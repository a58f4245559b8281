//! `forebay status`: what a running agent says about itself.

use std::fmt::Write as _;
use std::process::ExitCode;

use serde_json::Value;

use super::failure::code;
use super::job::Form;
use super::{Failure, out};
use crate::agent::ask;
use crate::agent::served::ADDRESS;

/// Which agent.
#[derive(Debug, clap::Args)]
pub(super) struct AgentOptions {
    /// Where the agent serves its status page
    #[arg(long, value_name = "ADDR", env = "FOREBAY_HTTP", default_value = ADDRESS)]
    http: String,
}

/// Which agent, and how it is shown.
#[derive(Debug, clap::Args)]
#[command(before_help = STATUS)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    agent: AgentOptions,

    /// What is printed: for people, or the agent's own JSON (/api/v1/status)
    #[arg(short = 'o', long, value_name = "FORM", value_enum, default_value_t = Form::Text)]
    output: Form,
}

const STATUS: &str = "\
Examples:
  forebay status
  forebay status --http 127.0.0.1:9181
  forebay status -o json";

impl AgentOptions {
    pub(super) async fn ask(&self) -> Result<(String, Value), Failure> {
        let unavailable = |why: String| {
            Failure::new(code::UNAVAILABLE, why)
                .advise("--http says where the agent is; its log names the address at its start")
        };
        let text = ask(&self.http, "/api/v1/status").await.map_err(unavailable)?;
        let value = serde_json::from_str(&text)
            .map_err(|error| Failure::new(code::FAILED, format!("{}: not an agent's status: {error}", self.http)))?;
        Ok((text, value))
    }
}

impl StatusArgs {
    /// The exit code says whether the jobs are at work: 0, or 69 where one is not.
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let (text, value) = self.agent.ask().await?;
        match self.output {
            Form::Json => out::data(&format!("{text}\n")),
            Form::Text => out::data(&shown(&value, jiff::Timestamp::now().as_millisecond())),
        }
        let jobs = value["jobs"].as_array().map_or(&[][..], Vec::as_slice);
        let all_ready = !jobs.is_empty() && jobs.iter().all(|job| job["ready"].as_bool() == Some(true));
        Ok(if all_ready { ExitCode::SUCCESS } else { ExitCode::from(code::UNAVAILABLE) })
    }
}

/// The agent on one line, and a line a job; below it what is wrong.
pub(super) fn shown(status: &Value, now_ms: i64) -> String {
    let mut text = String::new();
    let agent = &status["agent"];
    let up = now_ms.saturating_sub(agent["started_ms"].as_i64().unwrap_or(now_ms)) / 1000;
    // Writing to a String does not fail.
    let _ = writeln!(
        text,
        "forebay {} on {}: {}, {}; up {}, generation {}",
        plain(&agent["version"]),
        plain(&agent["host"]),
        plain(&agent["word"]),
        plain(&agent["text"]),
        span(up),
        agent["generation"]
    );
    let row = |cells: [&str; 8]| {
        let [job, state, rows, bytes, lag, done, dirty, eta] = cells;
        format!("{job:<20} {state:<10} {rows:>10} {bytes:>9} {lag:>12} {done:>14} {dirty:>8} {eta:>10}\n")
    };
    text.push_str(&row(["JOB", "STATE", "RECORDS/S", "MB/S", "LAG", "COMMITTED", "DIRTY", "CAUGHT UP"]));
    let jobs = status["jobs"].as_array().map_or(&[][..], Vec::as_slice);
    for job in jobs {
        let rate = &job["rates"]["now"];
        let number = |value: &Value| value.as_u64().map_or_else(|| "-".to_owned(), |number| number.to_string());
        let eta = match (job["lag"]["records"].as_u64(), job["rates"]["caught_up_in_s"].as_f64()) {
            (Some(0), _) => "yes".to_owned(),
            // Seconds of a forecast; far below what 64 bits hold.
            (_, Some(seconds)) => span(seconds.max(0.0) as i64),
            _ => "-".to_owned(),
        };
        text.push_str(&row([
            &plain(&job["name"]),
            &plain(&job["health"]["word"]),
            &rate["records"].as_f64().map_or_else(|| "-".to_owned(), |rate| format!("{rate:.0}")),
            &rate["bytes"].as_f64().map_or_else(|| "-".to_owned(), |rate| format!("{:.1}", rate / 1e6)),
            &number(&job["lag"]["records"]),
            &number(&job["totals"]["rows_committed"]),
            &number(&job["dirty"]["records"]),
            &eta,
        ]));
    }
    for job in jobs {
        let _ = writeln!(text, "{}: {}", plain(&job["name"]), plain(&job["health"]["text"]));
        if let Some(error) = job["last_error"]["text"].as_str() {
            let _ = writeln!(text, "  last error: {}", plain(&Value::from(error)));
        }
    }
    text
}

/// A text without characters that would steer a terminal.
fn plain(value: &Value) -> String {
    value.as_str().unwrap_or("-").chars().filter(|c| !c.is_control()).collect()
}

/// `45 s`, `12 min`, `3 h`, `2 d`.
fn span(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{} s", seconds.max(0)),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_a_line_and_what_it_lacks_is_a_dash() {
        let status = serde_json::json!({
            "agent": {"version": "0.1.0", "host": "emr-header-1", "word": "running", "text": "all is well", "started_ms": 0, "generation": 2},
            "jobs": [
                {"name": "orders", "health": {"word": "running", "text": "caught up"}, "lag": {"records": 0},
                 "rates": {"now": {"records": 41000.4, "bytes": 38.1e6}, "caught_up_in_s": null},
                 "totals": {"rows_committed": 12}, "dirty": {"records": 3}, "last_error": null},
                {"name": "new\u{1b}[2J", "health": {"word": "stalled", "text": "waits"}, "last_error": {"text": "no leader"}}
            ]
        });
        let text = shown(&status, 3_600_000);
        let wanted = "\
forebay 0.1.0 on emr-header-1: running, all is well; up 60 min, generation 2
JOB                  STATE       RECORDS/S      MB/S          LAG      COMMITTED    DIRTY  CAUGHT UP
orders               running         41000      38.1            0             12        3        yes
new[2J               stalled             -         -            -              -        -          -
orders: caught up
new[2J: waits
  last error: no leader
";
        assert_eq!(text, wanted);
    }
}
