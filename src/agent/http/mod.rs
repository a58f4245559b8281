//! The agent's HTTP: shows, takes a few orders from those who have the token, and is out of the way of those who would hurt it.
//!
//! One request a connection; a head of 8 KiB within 5 s, no bodies, 32 connections at a time (more wait in the listener's
//! queue), 10 s to take the answer.

mod ask;
mod request;
mod response;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

pub use ask::ask;
use request::{HEAD_BYTES_MAX, Head};
pub(crate) use response::Response;

/// Connections at a time.
const CONNECTIONS_MAX: usize = 32;
/// Time to send a request's head.
const HEAD_PATIENCE: Duration = Duration::from_secs(5);
/// Time to take an answer.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);
/// Time that is left for a caller to read an answer that it did not wait for.
const LINGER: Duration = Duration::from_millis(500);
/// Pause after the system would not give a connection, as when no file is free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Answers requests.
pub(crate) trait Serve: Send + Sync + 'static {
    /// The answer to GET of a path, given as its parts.
    fn get(&self, path: &[&str]) -> impl Future<Output = Response> + Send;

    /// The answer to an order, from somebody with this token.
    fn post(&self, path: &[&str], bearer: Option<&str>) -> impl Future<Output = Response> + Send;
}

/// A server. Dropped, it is gone with its connections.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Listens at `address`.
    ///
    /// # Errors
    /// As the system has them, for an address in use and the like.
    pub(crate) async fn listen(address: &str, service: Arc<impl Serve>) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { address, task: tokio::spawn(accept(listener, service, address.ip().is_loopback())) })
    }

    /// Where it listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn accept(listener: TcpListener, service: Arc<impl Serve>, is_loopback: bool) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // Dropped with this task, and the connections with it.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let service = Arc::clone(&service);
                connections.spawn(async move {
                    converse(stream, &*service, is_loopback).await;
                    drop(slot);
                });
            }
            Err(error) => {
                log::debug!("http: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One request and its answer. What goes wrong with the connection is the caller's affair.
async fn converse(mut stream: TcpStream, service: &impl Serve, is_loopback: bool) {
    let head = match tokio::time::timeout(HEAD_PATIENCE, read_head(&mut stream)).await {
        Ok(Some(head)) => head,
        Ok(None) => return,
        Err(_) => Head::Refused(Response::problem(408, "the request did not come within 5 s")),
    };
    let (bytes, is_whole) = match head {
        Head::Partial => return,
        Head::Refused(response) => (response.encode(false, |_| false, &date()), false),
        Head::Whole(request) if is_loopback && !request.is_called_by_address() => {
            let text = "ask by an address or localhost: another name may have been given this address by somebody else";
            (Response::problem(421, text).encode(request.is_head, |_| false, &date()), true)
        }
        Head::Whole(request) => {
            let segments: Vec<&str> = request.segments.iter().map(String::as_str).collect();
            let response = match request.is_post {
                true => service.post(&segments, request.bearer.as_deref()).await,
                false => service.get(&segments).await,
            };
            (response.encode(request.is_head, |tag| request.knows(tag), &date()), true)
        }
    };
    let (head, body) = bytes;
    let answer = async {
        stream.write_all(&head).await?;
        stream.write_all(&body).await?;
        stream.shutdown().await
    };
    if !matches!(tokio::time::timeout(ANSWER_PATIENCE, answer).await, Ok(Ok(()))) {
        return;
    }
    // Bytes that were not read would reset the connection, and the answer with it.
    if !is_whole {
        let mut rest = Vec::with_capacity(1024);
        let drain = async {
            while stream.read_buf(&mut rest).await.is_ok_and(|read| read > 0) {
                rest.clear();
            }
        };
        tokio::time::timeout(LINGER, drain).await.ok();
    }
}

/// A request's head, as soon as it has come; none when the connection ends before.
async fn read_head(stream: &mut TcpStream) -> Option<Head> {
    let mut bytes = Vec::with_capacity(1024);
    loop {
        // Never more than a little beyond what a head may have.
        bytes.reserve(1024);
        stream.read_buf(&mut bytes).await.ok().filter(|read| *read > 0)?;
        match request::parse(&bytes) {
            Head::Partial if bytes.len() <= HEAD_BYTES_MAX => {}
            head => return Some(head),
        }
    }
}

fn date() -> String {
    jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}
