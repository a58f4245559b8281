//! A command of the demo: how it is shown and how it is run.

use std::fmt;
use std::io::{BufRead as _, BufReader, PipeReader, Write as _};
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::cli::failure::code;
use crate::cli::{Failure, out};

/// How often the end of a process is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A forebay command line, and what is typed into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Command {
    arguments: Vec<String>,
    input: Option<Vec<&'static str>>,
}

impl Command {
    /// `forebay` with these arguments.
    pub(super) fn new<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Self {
        Self { arguments: arguments.into_iter().map(str::to_owned).collect(), input: None }
    }

    /// The same, with lines for its standard input.
    pub(super) fn with_input(self, lines: &[&'static str]) -> Self {
        Self { input: Some(lines.to_vec()), ..self }
    }

    /// Runs it in `folder`, passes on what it prints as it comes, and gives all of it. Data and talk go through one pipe, or
    /// they could change places on the way.
    ///
    /// # Errors
    /// When it cannot be started, and when it ends with another code than 0.
    pub(super) async fn run(&self, folder: &Path) -> Result<String, Failure> {
        let failed = |why: String| Failure::new(code::FAILED, format!("forebay {}: {why}", self.arguments.join(" ")));
        let program = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
        let (reader, writer) = std::io::pipe().map_err(|error| failed(error.to_string()))?;
        let mut child = std::process::Command::new(program)
            .args(&self.arguments)
            .current_dir(folder)
            .stdin(if self.input.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(writer.try_clone().map_err(|error| failed(error.to_string()))?)
            .stderr(writer)
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        let printed = pass_on(reader);
        if let (Some(lines), Some(mut stdin)) = (&self.input, child.stdin.take()) {
            let typed = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
            // A few lines: they fit into the pipe, so nobody waits here. A process that ended early says why itself.
            drop(stdin.write_all(typed.as_bytes()));
        }
        let mut running = Running(child);
        let status = loop {
            match running.0.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) => tokio::time::sleep(LOOK_EVERY).await,
                Err(error) => return Err(failed(error.to_string())),
            }
        };
        let printed = printed.join().map_err(|_| failed("its output could not be read".to_owned()))?;
        if !status.success() {
            return Err(failed(status.to_string()));
        }
        Ok(String::from_utf8_lossy(&printed).into_owned())
    }
}

/// A process that does not outlive the demo.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Fails for a process that has ended, which is the usual case.
        if self.0.kill().is_ok() {
            drop(self.0.wait());
        }
    }
}

/// Reads lines in a thread of its own, shows each, and gives all of them at the end.
fn pass_on(pipe: PipeReader) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut all = Vec::new();
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        while pipe.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            // Nobody may be there to see it; the step is done all the same.
            out::bytes(&line);
            all.append(&mut line);
        }
        all
    })
}

/// As it would be typed into a shell.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("$ forebay")?;
        for argument in &self.arguments {
            write!(f, " {}", quoted(argument))?;
        }
        if let Some(lines) = &self.input {
            f.write_str(" <<'END'\n")?;
            for line in lines {
                writeln!(f, "{line}")?;
            }
            f.write_str("END")?;
        }
        Ok(())
    }
}

/// Single quotes around what a shell would not take as one plain word.
fn quoted(argument: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=,@%+".contains(&byte);
    if !argument.is_empty() && argument.bytes().all(plain) {
        return argument.to_owned();
    }
    format!("'{}'", argument.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_as_a_shell_takes_it() {
        let command = Command::new(["sql", "-e", "select * from t where a = 'b'"]);
        assert_eq!(command.to_string(), r"$ forebay sql -e 'select * from t where a = '\''b'\'''");
        let command = Command::new(["kafka", "produce", "--set", "a.b=1:2"]).with_input(&["1", ""]);
        assert_eq!(command.to_string(), "$ forebay kafka produce --set a.b=1:2 <<'END'\n1\n\nEND");
    }
}
