//! The agent's control socket: what changes something goes over it, and over nothing else.
//!
//! A Unix socket rather than a token over TCP: the kernel says who calls, no secret has to be made, kept and sent, and nothing that
//! reaches the agent's network can pause a job. The file is for its owner alone (mode 0600), and only that user and root are heard.
//! One line is one order, `pause JOB` or `resume JOB`, `reload`, `jobs`; the answer is one line of JSON.

use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

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

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// The job of this name is drained, and does not come back by itself.
    Pause(String),
    /// A paused job goes on.
    Resume(String),
    /// The jobs are read again, as after SIGHUP.
    Reload,
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
            _ => Err("an order is: pause JOB, resume JOB, or reload".to_owned()),
        }
    }
}

/// A control socket. Dropped, it is gone, and its file with it.
#[derive(Debug)]
pub struct Control {
    path: PathBuf,
    orders: mpsc::Receiver<Asked>,
    task: JoinHandle<()>,
}

impl Drop for Control {
    fn drop(&mut self) {
        self.task.abort();
        drop(std::fs::remove_file(&self.path));
    }
}

impl Control {
    /// Listens at `path`. A socket that nobody answers at any more is replaced; any other file stays.
    ///
    /// # Errors
    /// As the system has them; an address in use when another agent answers there.
    pub fn listen(path: &Path) -> io::Result<Self> {
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
        let (sender, orders) = mpsc::channel(CALLERS_MAX);
        Ok(Self { path: path.to_owned(), orders, task: tokio::spawn(accept(listener, owner, sender)) })
    }

    /// The next order.
    pub async fn next(&mut self) -> Option<Asked> {
        self.orders.recv().await
    }
}

async fn accept(listener: UnixListener, owner: u32, orders: mpsc::Sender<Asked>) {
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

async fn hear(mut stream: UnixStream, orders: mpsc::Sender<Asked>) {
    let Ok(Some(line)) = tokio::time::timeout(PATIENCE, read_line(&mut stream)).await else { return };
    let outcome = match Order::parse(&line) {
        Err(error) => Err(error),
        Ok(order) => {
            let (answer, answered) = oneshot::channel();
            match orders.send(Asked { order, answer }).await {
                Ok(()) => answered.await.unwrap_or_else(|_| Err("the agent is stopping".to_owned())),
                Err(_) => Err("the agent is stopping".to_owned()),
            }
        }
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
        for line in ["", "pause", "pause ", "reload x", "stop x", "PAUSE x"] {
            assert!(Order::parse(line).is_err(), "{line}");
        }
    }
}
