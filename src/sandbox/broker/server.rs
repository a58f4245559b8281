//! Sockets, frames and the clock.
//!
//! Each connection is served one request at a time, in order, as Kafka does; a fetch that waits for records holds up what
//! comes after it on the same connection. Bytes that are no request end the connection and nothing else.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::cluster::{Cluster, Node};
use super::messages::Request;
use super::{api, clock};
use crate::limits::{FRAME_BYTES_MAX, SANDBOX_CONNECTIONS_MAX};

/// A connection that has been silent for so long is closed (Kafka's `connections.max.idle.ms`).
const IDLE_MAX: Duration = Duration::from_secs(600);
/// A client that does not take its answer for so long is given up.
const WRITE_MAX: Duration = Duration::from_secs(60);
/// Memory taken for a frame at a time: what is announced counts only as it arrives.
const FRAME_CHUNK_BYTES: usize = 256 * 1024;

/// The cluster, and how those who wait hear of changes.
#[derive(Debug)]
pub(super) struct Shared {
    cluster: Mutex<Cluster>,
    records: watch::Sender<u64>,
    groups: watch::Sender<u64>,
}

impl Shared {
    /// `cluster`, with nobody waiting.
    pub(super) fn new(cluster: Cluster) -> Self {
        Self { cluster: Mutex::new(cluster), records: watch::Sender::new(0), groups: watch::Sender::new(0) }
    }

    /// How many fetches listen for records.
    #[cfg(test)]
    pub(super) fn records_waiting(&self) -> usize {
        self.records.receiver_count()
    }

    /// The cluster, for as long as the guard lives; never hold it over an `await`.
    pub(super) fn lock(&self) -> MutexGuard<'_, Cluster> {
        // A panic under the lock is our bug in one request; the others go on with what there is.
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells those who wait for records, for leaders, or for topics to go.
    pub(super) fn records_changed(&self) {
        self.records.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Tells those who wait for a group.
    pub(super) fn groups_changed(&self) {
        self.groups.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Hears of [`Shared::records_changed`].
    pub(super) fn watch_records(&self) -> watch::Receiver<u64> {
        self.records.subscribe()
    }

    /// Hears of [`Shared::groups_changed`].
    pub(super) fn watch_groups(&self) -> watch::Receiver<u64> {
        self.groups.subscribe()
    }
}

/// What a handler may know about the connection a request came on.
#[derive(Debug)]
pub(super) struct Peer {
    /// The broker that was asked.
    pub(super) node: i32,
    pub(super) address: SocketAddr,
}

/// The running tasks.
#[derive(Debug)]
pub(super) struct Server {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

impl Server {
    /// Serves `listeners`, one task each, and lets time pass for groups in another.
    pub(super) fn start(cluster: Cluster, listeners: Vec<(Node, TcpListener)>) -> Self {
        let shared = Arc::new(Shared::new(cluster));
        let mut tasks = vec![tokio::spawn(expire_groups(Arc::clone(&shared)))];
        for (node, listener) in listeners {
            tasks.push(tokio::spawn(accept(Arc::clone(&shared), node.id, listener)));
        }
        Self { shared, tasks }
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Ends all tasks and waits for them. The tasks of connections end with the one that accepted them.
    pub(super) async fn stop(mut self) {
        for task in std::mem::take(&mut self.tasks) {
            task.abort();
            // Ends with "cancelled", which is what was asked for.
            drop(task.await);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Opens the ports of `count` brokers with ids from 1 on.
///
/// # Errors
/// Those of binding; the text names the address.
pub(super) async fn listen(first: SocketAddr, count: u32) -> io::Result<Vec<(Node, TcpListener)>> {
    let mut listeners = Vec::new();
    for index in 0..count {
        let mut address = first;
        if first.port() != 0 {
            let port = u16::try_from(index).ok().and_then(|index| first.port().checked_add(index));
            let beyond = || io::Error::new(io::ErrorKind::InvalidInput, "broker ports would go beyond 65535");
            address.set_port(port.ok_or_else(beyond)?);
        }
        let failed = |error: io::Error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"));
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let id = i32::try_from(index).unwrap_or(i32::MAX - 1) + 1;
        listeners.push((Node { id, address: listener.local_addr()? }, listener));
    }
    Ok(listeners)
}

async fn accept(shared: Arc<Shared>, node: i32, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < SANDBOX_CONNECTIONS_MAX => match accepted {
                Ok((stream, address)) => {
                    let shared = Arc::clone(&shared);
                    connections.spawn(serve(shared, Peer { node, address }, stream));
                }
                Err(error) => {
                    // Out of file descriptors, most likely: wait for connections to end instead of spinning.
                    log::warn!("sandbox broker {node}: accept: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(shared: Arc<Shared>, peer: Peer, mut stream: TcpStream) {
    // Without it small answers wait for the peer's delayed acknowledgement.
    drop(stream.set_nodelay(true));
    if let Err(why) = converse(&shared, &peer, &mut stream).await {
        log::debug!("sandbox broker {}: connection from {} closed: {why}", peer.node, peer.address);
    }
}

/// Answers requests until the peer goes away or sends something that is no request.
async fn converse(shared: &Shared, peer: &Peer, stream: &mut TcpStream) -> Result<(), String> {
    loop {
        let frame = match tokio::time::timeout(IDLE_MAX, read_frame(stream)).await {
            Ok(Ok(Some(frame))) => frame,
            Ok(Ok(None)) => return Ok(()),
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err("idle for too long".to_owned()),
        };
        let request = Request::read(&frame).map_err(|bad| bad.to_string())?;
        let answer = api::answer(shared, peer, &request).await.map_err(|bad| bad.to_string())?;
        if let Some(answer) = answer {
            match tokio::time::timeout(WRITE_MAX, stream.write_all(&answer)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(error.to_string()),
                Err(_) => return Err("the peer does not read".to_owned()),
            }
        }
    }
}

/// One frame without its size; `None` when the peer closed between frames.
async fn read_frame(stream: &mut TcpStream) -> io::Result<Option<Bytes>> {
    let mut size = [0; 4];
    if let Err(error) = stream.read_exact(&mut size).await {
        return if error.kind() == io::ErrorKind::UnexpectedEof { Ok(None) } else { Err(error) };
    }
    let announced = i32::from_be_bytes(size);
    let wanted = usize::try_from(announced).ok().filter(|size| *size <= FRAME_BYTES_MAX);
    let Some(wanted) = wanted else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a frame of {announced} bytes")));
    };
    let mut frame = BytesMut::new();
    while frame.len() < wanted {
        let start = frame.len();
        let chunk = (wanted - start).min(FRAME_CHUNK_BYTES);
        frame.resize(start + chunk, 0);
        if let Some(slot) = frame.get_mut(start..) {
            stream.read_exact(slot).await?;
        }
    }
    Ok(Some(frame.freeze()))
}

/// Removes members that are not heard of any more, when their time comes.
async fn expire_groups(shared: Arc<Shared>) {
    let mut changes = shared.watch_groups();
    loop {
        let deadline = {
            let mut cluster = shared.lock();
            let changed = cluster.expire_groups(clock::now());
            let deadline = cluster.next_deadline();
            drop(cluster);
            if changed {
                shared.groups_changed();
            }
            deadline
        };
        changes.mark_unchanged();
        // With nothing to wait for, only a change can bring something.
        let wake = deadline.unwrap_or_else(|| clock::now() + IDLE_MAX);
        drop(tokio::time::timeout_at(wake.into(), changes.changed()).await);
    }
}
