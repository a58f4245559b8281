//! Orders to a running agent, and its control socket, over which they come.
//!
//! A Unix socket: the kernel says who calls, no secret has to be made, kept and sent, and nothing that reaches the agent's network can
//! pause a job. The file is for its owner alone (mode 0600), and only that user and root are heard. One line is one order
//! ([`ORDERS`]); the answer is one line of JSON. Where only HTTP gets through, `token.rs` lets two of the orders in.

use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use log::LevelFilter;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};

/// Bytes of an order.
const ORDER_BYTES_MAX: usize = 1024;
/// Time for an order to come, and for its answer to be taken.
const PATIENCE: Duration = Duration::from_secs(5);
/// Callers at a time.
const CALLERS_MAX: usize = 8;

/// What an order may be.
pub const ORDERS: &str = "pause JOB, resume JOB, reload, drain, log-level LEVEL, config [JOB]";

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// The job of this name is drained, and does not come back by itself.
    Pause(String),
    /// A paused job goes on.
    Resume(String),
    /// The jobs are read again, as after SIGHUP.
    Reload,
    /// All jobs are drained, and the agent ends, as after SIGTERM.
    Drain,
    /// So much is logged from here on.
    LogLevel(LevelFilter),
    /// What a job is made of, or all of them, without secrets.
    Config(Option<String>),
}

/// Where orders are given. Clones give them to the same agent.
#[derive(Clone, Debug)]
pub struct Orders(mpsc::Sender<Asked>);

impl Orders {
    /// For whoever gives orders, and for the agent.
    pub fn new() -> (Self, mpsc::Receiver<Asked>) {
        let (sender, orders) = mpsc::channel(CALLERS_MAX);
        (Self(sender), orders)
    }

    /// Gives an order, and waits for what has come of it, in words.
    pub(super) async fn give(&self, order: Order) -> Result<String, String> {
        let (answer, answered) = oneshot::channel();
        match self.0.send(Asked { order, answer }).await {
            Ok(()) => answered.await.unwrap_or_else(|_| Err("the agent is stopping".to_owned())),
            Err(_) => Err("the agent is stopping".to_owned()),
        }
    }
}

/// An order and where its answer goes.
#[derive(Debug)]
pub struct Asked {
    /// The order.
    pub order: Order,
    /// What came of it.
    pub answer: oneshot::Sender<Result<String, String>>,
}

impl Order {
    /// Reads a line.
    fn parse(line: &str) -> Result<Self, String> {
        let line = line.trim();
        let (word, job) = line.split_once(' ').unwrap_or((line, ""));
        match (word, job.trim()) {
            ("pause", job) if !job.is_empty() => Ok(Self::Pause(job.to_owned())),
            ("resume", job) if !job.is_empty() => Ok(Self::Resume(job.to_owned())),
            ("reload", "") => Ok(Self::Reload),
            ("drain", "") => Ok(Self::Drain),
            ("log-level", level) => match level.parse() {
                Ok(level) => Ok(Self::LogLevel(level)),
                Err(_) => Err("a level is off, error, warn, info, debug or trace".to_owned()),
            },
            ("config", job) => Ok(Self::Config((!job.is_empty()).then(|| job.to_owned()))),
            _ => Err(format!("an order is one of: {ORDERS}")),
        }
    }
}

/// A control socket. Dropped, it is gone, and its file with it.
#[derive(Debug)]
pub struct Control {
    path: PathBuf,
    task: JoinHandle<()>,
}

impl Drop for Control {
    fn drop(&mut self) {
        self.task.abort();
        drop(std::fs::remove_file(&self.path));
    }
}

impl Control {
    /// Listens at `path`, and gives on what is ordered there. A socket that nobody answers at any more is replaced; any other file stays.
    ///
    /// # Errors
    /// As the system has them; an address in use when another agent answers there.
    pub fn listen(path: &Path, orders: Orders) -> io::Result<Self> {
        if let Ok(known) = std::fs::symlink_metadata(path) {
            let is_left = known.file_type().is_socket() && std::os::unix::net::UnixStream::connect(path).is_err();
            if !is_left {
                return Err(io::Error::new(
                    io::ErrorKind::AddrInUse,
                    "another agent answers there, or it is no socket",
                ));
            }
            std::fs::remove_file(path)?;
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        let owner = std::fs::metadata(path)?.uid();
        Ok(Self { path: path.to_owned(), task: tokio::spawn(accept(listener, owner, orders)) })
    }
}

async fn accept(listener: UnixListener, owner: u32, orders: Orders) {
    let mut callers = JoinSet::new();
    loop {
        while callers.len() >= CALLERS_MAX {
            callers.join_next().await;
        }
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(200)).await;
            continue;
        };
        // The file's mode is set a moment after the file is there.
        if stream.peer_cred().is_ok_and(|peer| peer.uid() == owner || peer.uid() == 0) {
            callers.spawn(hear(stream, orders.clone()));
        }
    }
}

async fn hear(mut stream: UnixStream, orders: Orders) {
    let Ok(Some(line)) = tokio::time::timeout(PATIENCE, read_line(&mut stream)).await else { return };
    let outcome = match Order::parse(&line) {
        Err(error) => Err(error),
        Ok(order) => orders.give(order).await,
    };
    let (ok, text) = match outcome {
        Ok(text) => (true, text),
        Err(text) => (false, text),
    };
    let line = format!("{}\n", serde_json::json!({ "ok": ok, "text": text }));
    drop(tokio::time::timeout(PATIENCE, stream.write_all(line.as_bytes())).await);
}

async fn read_line(stream: &mut UnixStream) -> Option<String> {
    let mut bytes = Vec::with_capacity(128);
    loop {
        stream.read_buf(&mut bytes).await.ok().filter(|read| *read > 0)?;
        if let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            bytes.truncate(end);
            return String::from_utf8(bytes).ok();
        }
        if bytes.len() > ORDER_BYTES_MAX {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_a_word_and_a_job() {
        assert_eq!(Order::parse("pause orders to go\r"), Ok(Order::Pause("orders to go".to_owned())));
        assert_eq!(Order::parse(" resume  x "), Ok(Order::Resume("x".to_owned())));
        assert_eq!(Order::parse("reload"), Ok(Order::Reload));
        assert_eq!(Order::parse("drain"), Ok(Order::Drain));
        assert_eq!(Order::parse("log-level Debug"), Ok(Order::LogLevel(LevelFilter::Debug)));
        assert_eq!(Order::parse("config"), Ok(Order::Config(None)));
        assert_eq!(Order::parse("config a b"), Ok(Order::Config(Some("a b".to_owned()))));
        for line in ["", "pause", "pause ", "reload x", "stop x", "PAUSE x", "drain x", "log-level", "log-level loud"] {
            assert!(Order::parse(line).is_err(), "{line}");
        }
    }
}
