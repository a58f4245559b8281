//! `forebay pause`, `resume` and `control`: orders to a running agent over its control socket.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use super::failure::code;
use super::{Failure, out};
use crate::agent::control::ORDERS;

/// How long the agent may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of an answer.
const ANSWER_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// A job of an agent.
#[derive(Debug, clap::Args)]
pub(super) struct ControlArgs {
    /// The job, by the name that the agent gives it: its file's, without folders and ending
    job: String,

    #[command(flatten)]
    socket: Socket,
}

/// An order.
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub(super) struct OrderArgs {
    #[arg(value_name = "ORDER", required = true, help = format!("One of: {ORDERS}"))]
    words: Vec<String>,

    #[command(flatten)]
    socket: Socket,
}

const EXAMPLES: &str = "\
Examples:
  forebay control reload --control /run/forebay/control
  forebay control log-level debug --control /run/forebay/control
  forebay control config orders --control /run/forebay/control";

#[derive(Debug, clap::Args)]
struct Socket {
    /// The agent's control socket (its own --control)
    #[arg(long, value_name = "PATH", env = "FOREBAY_CONTROL")]
    control: PathBuf,
}

impl ControlArgs {
    pub(super) fn run(&self, word: &str) -> Result<ExitCode, Failure> {
        self.socket.order(&format!("{word} {}\n", self.job))
    }
}

impl OrderArgs {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        self.socket.order(&format!("{}\n", self.words.join(" ")))
    }
}

impl Socket {
    /// Gives the order to the agent, and says what has come of it.
    fn order(&self, line: &str) -> Result<ExitCode, Failure> {
        let (ok, text) = ask(&self.control, line).map_err(|error| {
            Failure::new(code::UNAVAILABLE, format!("{}: {error}", self.control.display()))
                .advise("start the agent with --control PATH, and ask as the same user")
        })?;
        if ok {
            out::data(&format!("{text}\n"));
            return Ok(ExitCode::SUCCESS);
        }
        Err(Failure::new(code::FAILED, text))
    }
}

fn ask(path: &Path, order: &str) -> std::io::Result<(bool, String)> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(order.as_bytes())?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    let answer: serde_json::Value = serde_json::from_str(&answer)?;
    let text = answer.get("text").and_then(serde_json::Value::as_str).unwrap_or_default();
    let ok = answer.get("ok").and_then(serde_json::Value::as_bool).unwrap_or(false);
    Ok((ok, text.to_owned()))
}
