//! Processes that end with the test.
//!
//! A server is started by [`Server::start`] and killed when the value is dropped, which a panic does too. Should the test
//! process itself be killed, the kernel kills the server: it is started through `setpriv --pdeathsig`. That signal comes
//! when the *thread* that started a process ends, so one thread that lives as long as the test process starts them all.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};

use rustix::process::{Pid, Signal};

/// How long a panic message's piece of a log is.
const TAIL_LINES: usize = 40;

/// How often a condition is looked at while waiting for it.
const POLL: Duration = Duration::from_millis(50);

/// A process that runs beside the test; killed with its whole group when dropped.
#[derive(Debug)]
pub struct Server {
    name: String,
    group: Group,
    log: PathBuf,
}

impl Server {
    /// Starts `command`, standard output and error going to `log`.
    #[must_use]
    pub fn start(name: &str, mut command: Command, log: &Path) -> Self {
        let file = File::create(log).unwrap_or_else(|error| panic!("cannot write {}: {error}", log.display()));
        command.stdin(Stdio::null()).stderr(file.try_clone().expect("the log can be shared")).stdout(file);
        Self { name: name.to_owned(), group: Group::spawn(command), log: log.to_owned() }
    }

    /// The process's id, which is also its group's.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.group.child.id()
    }

    /// Waits until `ready` holds. Panics with the log's end when the process ends first, or after `limit`.
    pub fn wait_until(&mut self, what: &str, limit: Duration, mut ready: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + limit;
        while !ready(self) {
            if let Some(status) = self.group.status() {
                panic!("{} ended before {what}: {status}\n{}", self.name, self.log_tail());
            }
            assert!(Instant::now() < deadline, "{}: no {what} within {limit:?}\n{}", self.name, self.log_tail());
            thread::sleep(POLL);
        }
    }

    /// Sends a signal to the process alone.
    pub fn signal(&self, signal: Signal) {
        self.group.signal(signal);
    }

    /// Waits for the end of the process by itself.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        self.group
            .wait(limit)
            .unwrap_or_else(|| panic!("{} still runs after {limit:?}\n{}", self.name, self.log_tail()))
    }

    /// How the process ended, if it does within `limit`.
    pub fn ended_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        self.group.wait(limit)
    }

    /// Kills the process and all that it started, and waits for its end.
    pub fn kill(&mut self) {
        self.group.kill();
    }

    /// The last lines of the log, under a heading.
    #[must_use]
    pub fn log_tail(&self) -> String {
        format!("--- end of {}\n{}", self.log.display(), tail(&self.log_text()))
    }

    /// The whole log so far.
    #[must_use]
    pub fn log_text(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }
}

impl Drop for Server {
    #[expect(clippy::print_stderr, reason = "a failed test shows what its servers said last")]
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprintln!("{}", self.log_tail());
        }
    }
}

/// What a program that ran to its end left behind.
#[derive(Clone, Debug)]
pub struct Output {
    /// The command as typed, for messages.
    pub command: String,
    /// Exit code; a process ended by signal N has 128 + N, as in a shell.
    pub code: i32,
    /// All of standard output.
    pub stdout: Vec<u8>,
    /// All of standard error.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Standard output as text.
    #[must_use]
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    #[must_use]
    pub fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Panics with everything it printed unless it ended with 0.
    pub fn expect_success(self) -> Self {
        assert!(self.code == 0, "{}", self.describe());
        self
    }

    /// Command, exit code and both outputs.
    #[must_use]
    pub fn describe(&self) -> String {
        format!(
            "`{}` exited with {}\n--- stdout\n{}\n--- stderr\n{}",
            self.command,
            self.code,
            tail(&self.stdout_text()),
            tail(&self.stderr_text())
        )
    }
}

/// A program that was given its input and is running.
#[derive(Debug)]
pub struct Running {
    name: String,
    group: Group,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Option<JoinHandle<Vec<u8>>>,
}

impl Running {
    /// Starts `command` and feeds it `input`, then the end of input.
    #[must_use]
    pub fn start(mut command: Command, input: &[u8]) -> Self {
        let name = describe(&command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut group = Group::spawn(command);
        let mut stdin = group.child.stdin.take().expect("its input is a pipe");
        let input = input.to_owned();
        // A program may end without reading its input; that is its own affair.
        thread::spawn(move || drop(stdin.write_all(&input)));
        let stdout = group.child.stdout.take().map(read_all);
        let stderr = group.child.stderr.take().map(read_all);
        Self { name, group, stdout, stderr }
    }

    /// The process's id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.group.child.id()
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.group.status().is_some()
    }

    /// Sends a signal to the process alone.
    pub fn signal(&self, signal: Signal) {
        self.group.signal(signal);
    }

    /// Waits for its end. Panics with what it printed when that takes longer than `limit`.
    pub fn finish(mut self, limit: Duration) -> Output {
        let status = self.group.wait(limit);
        // Also ends what it may have left in its group, which would keep the pipes open.
        self.group.kill();
        let collect = |reader: Option<JoinHandle<Vec<u8>>>| {
            reader.map(|reader| reader.join().expect("a pipe reader does not panic")).unwrap_or_default()
        };
        let mut output = Output {
            command: self.name.clone(),
            code: -1,
            stdout: collect(self.stdout.take()),
            stderr: collect(self.stderr.take()),
        };
        let Some(status) = status else { panic!("still running after {limit:?}: {}", output.describe()) };
        output.code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1);
        output
    }
}

/// Runs `command` to its end with `input` on its standard input.
#[must_use]
pub fn run(command: Command, input: &[u8], limit: Duration) -> Output {
    Running::start(command, input).finish(limit)
}

/// The last lines of a text.
#[must_use]
pub fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(TAIL_LINES);
    lines.get(from..).unwrap_or_default().join("\n")
}

/// A command whose process ends when this one does, in a process group of its own.
///
/// All processes are to be made from such commands: [`Server`] and [`Running`] end the whole group.
#[must_use]
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(BOUND).arg(program).process_group(0);
    command
}

/// `setpriv`'s words before the program's own.
const BOUND: [&str; 3] = ["--pdeathsig", "KILL", "--"];

fn describe(command: &Command) -> String {
    let words: Vec<_> = command.get_args().skip(BOUND.len()).map(OsStr::to_string_lossy).collect();
    words.join(" ")
}

/// A child and the duty to end its group, once: later the number may belong to somebody else.
#[derive(Debug)]
struct Group {
    child: Child,
    ended: bool,
}

impl Group {
    /// Starts `command` from the thread that never ends.
    fn spawn(command: Command) -> Self {
        type Request = (Command, Sender<io::Result<Child>>);
        static STARTER: OnceLock<Mutex<Sender<Request>>> = OnceLock::new();
        let starter = STARTER.get_or_init(|| {
            let (sender, requests) = mpsc::channel::<Request>();
            thread::spawn(move || {
                for (mut command, answer) in requests {
                    // Nobody waits for the answer any more only when the asking test has died.
                    drop(answer.send(command.spawn()));
                }
            });
            Mutex::new(sender)
        });

        let name = describe(&command);
        let (answer, child) = mpsc::channel();
        let starter = starter.lock().unwrap_or_else(PoisonError::into_inner);
        starter.send((command, answer)).expect("the starter never ends");
        drop(starter);
        let child = child.recv().expect("the starter answers");
        Self { child: child.unwrap_or_else(|error| panic!("cannot start `{name}`: {error}")), ended: false }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child's state can be asked")
    }

    fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.pid(), signal)
            .unwrap_or_else(|error| panic!("cannot send {signal:?} to process {:?}: {error}", self.pid()));
    }

    /// `None` when it still runs at the end of `limit`.
    fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            let status = self.status();
            if status.is_some() || Instant::now() >= deadline {
                return status;
            }
            thread::sleep(POLL.min(limit));
        }
    }

    fn kill(&mut self) {
        if self.ended {
            return;
        }
        self.ended = true;
        // The group may be gone already; there is nothing else to do about either answer.
        let _gone = rustix::process::kill_process_group(self.pid(), Signal::KILL);
        drop(self.child.wait());
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

fn read_all(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What came before an error is still worth showing.
        drop(pipe.read_to_end(&mut bytes));
        bytes
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    const LIMIT: Duration = Duration::from_secs(20);

    fn shell(script: &str) -> Command {
        let mut command = command("sh");
        command.args(["-c", script]);
        command
    }

    fn is_alive(pid: &str) -> bool {
        // A zombie has no command line any more.
        fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
    }

    #[test]
    fn a_program_s_input_outputs_and_code_are_told_apart() {
        let output = run(shell("cat; echo talk >&2; exit 7"), b"data", LIMIT);
        assert_eq!((output.code, output.stdout_text().as_str(), output.stderr_text().as_str()), (7, "data", "talk\n"));
        assert_eq!(run(shell("kill -INT $$"), b"", LIMIT).code, 130);
    }

    #[test]
    fn a_panic_ends_a_server_and_what_it_started() {
        let scratch = Scratch::new("process");
        let log = scratch.path().join("log");
        let place = log.clone();
        let panicked = thread::spawn(move || {
            let mut server = Server::start("sleeper", shell("sleep 600 & echo $!; wait"), &place);
            server.wait_until("its child's id", LIMIT, |server| server.log_text().ends_with('\n'));
            panic!("as a failing test does");
        })
        .join();
        assert!(panicked.is_err());
        let child = fs::read_to_string(&log).expect("the log stays");
        let deadline = Instant::now() + LIMIT;
        while is_alive(child.trim()) {
            assert!(Instant::now() < deadline, "process {child} outlived its test");
            thread::sleep(POLL);
        }
    }

    #[test]
    fn a_server_that_dies_early_is_not_waited_for() {
        let scratch = Scratch::new("process");
        let log = scratch.path().join("log");
        let panic = thread::spawn(move || {
            let mut server = Server::start("brief", shell("echo the reason; exit 3"), &log);
            server.wait_until("readiness", LIMIT, |_| false);
        })
        .join()
        .expect_err("there is nothing to wait for");
        let message = panic.downcast_ref::<String>().expect("a formatted message");
        assert!(message.contains("brief ended before readiness: exit status: 3"), "{message}");
        assert!(message.contains("the reason"), "{message}");
    }

    #[test]
    fn the_thread_that_started_a_server_may_end() {
        let scratch = Scratch::new("process");
        let log = scratch.path().join("log");
        let server = thread::spawn(move || Server::start("sleeper", shell("exec sleep 600"), &log)).join();
        let mut server = server.expect("it starts");
        assert!(server.group.wait(Duration::from_millis(300)).is_none(), "it ended with the thread");
    }
}
