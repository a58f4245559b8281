//! One block on its way to Tunnel: encoded while it is sent, never held whole.
//!
//! The bytes go through a bounded channel into the request's body, so the server's pace is the lane's pace. What the block
//! holds is written down as ranges of offsets ([`BlockContent`]): Kafka is the retry buffer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::ledger::BlockContent;
use super::stats::Stats;
use crate::tunnel::{self, BodyError, RowEncoder, Upload};

/// Rows are handed to the request's body in pieces of about this many bytes.
pub(super) const CHUNK_BYTES: usize = 128 * 1024;

/// Pieces that may wait between the encoder and the socket.
const CHUNKS_QUEUED_MAX: usize = 2;

/// A block being filled. Its request starts with the first piece, so a block without rows sends nothing.
#[derive(Debug, Default)]
pub(super) struct OpenBlock {
    /// What has been encoded so far, sent or not.
    pub(super) content: BlockContent,
    /// The encoder; its checksum runs over the whole block.
    pub(super) rows: RowEncoder,
    /// Assigned with the first piece; kept over every repeat.
    pub(super) id: Option<u32>,
    /// Bytes handed over so far.
    pub(super) bytes: u64,
    request: Option<BlockRequest>,
}

#[derive(Debug)]
struct BlockRequest {
    body: mpsc::Sender<Result<Bytes, BodyError>>,
    answer: AbortOnDrop,
    last_sent: Instant,
}

/// A request that dies with its owner: dropping a lane must not leave a half-sent block running.
#[derive(Debug)]
struct AbortOnDrop(JoinHandle<Result<(), tunnel::Error>>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Why a block's request did not end well.
#[derive(Debug)]
pub(super) enum SendError {
    /// The service or the network, by Tunnel's own account.
    Tunnel(tunnel::Error),
    /// The server took nothing, or gave no answer, for the allowed time.
    TimedOut(Duration),
    /// The task that sends was lost.
    Lost(String),
}

impl OpenBlock {
    /// Whether a request is open, and since when it has had nothing to send.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        self.request.as_ref().map(|request| request.last_sent)
    }

    /// Starts over under the same id: same ranges, new encoder, new request.
    pub(super) fn restart(&mut self) {
        self.request = None;
        self.rows = RowEncoder::new();
        self.bytes = 0;
    }

    /// Sends the complete rows that wait in the encoder.
    pub(super) async fn send(&mut self, to: &Destination, id: u32) -> Result<(), SendError> {
        let chunk = self.rows.take();
        self.push(to, id, chunk).await
    }

    /// Sends what is left and the trailer, and waits for the server's word that it has the block.
    pub(super) async fn finish(&mut self, to: &Destination, id: u32) -> Result<(), SendError> {
        let last = std::mem::take(&mut self.rows).finish();
        self.push(to, id, last).await?;
        let Some(request) = self.request.take() else { return Ok(()) };
        drop(request.body);
        to.answer(request.answer).await
    }

    async fn push(&mut self, to: &Destination, id: u32, chunk: Bytes) -> Result<(), SendError> {
        if chunk.is_empty() {
            return Ok(());
        }
        if self.request.is_none() {
            self.request = Some(to.open(id));
        }
        let Some(request) = &mut self.request else { return Ok(()) };
        let size = chunk.len();
        let waited = Instant::now();
        let sent = tokio::time::timeout(to.timeout, request.body.send(Ok(chunk))).await;
        to.stats.add_writer_wait(waited.elapsed());
        match sent {
            Ok(Ok(())) => {
                request.last_sent = Instant::now();
                self.bytes = self.bytes.saturating_add(size as u64);
                to.stats.add_sent(size);
                Ok(())
            }
            // The request is over although its body is not: it has an answer already.
            Ok(Err(_)) => match self.request.take() {
                Some(request) => match to.answer(request.answer).await {
                    Ok(()) => Err(SendError::Lost("the server answered before the block was complete".to_owned())),
                    Err(error) => Err(error),
                },
                None => Ok(()),
            },
            Err(_) => {
                self.request = None;
                Err(SendError::TimedOut(to.timeout))
            }
        }
    }
}

/// Where a lane's blocks go.
#[derive(Clone, Debug)]
pub(super) struct Destination {
    pub(super) upload: Arc<Upload>,
    pub(super) stats: Arc<Stats>,
    /// Time allowed for one piece to be taken, and for the answer after the last.
    pub(super) timeout: Duration,
}

impl Destination {
    fn open(&self, id: u32) -> BlockRequest {
        let (body, pieces) = mpsc::channel(CHUNKS_QUEUED_MAX);
        let upload = Arc::clone(&self.upload);
        let stream = futures_util::stream::unfold(pieces, |mut pieces| async move {
            pieces.recv().await.map(|piece| (piece, pieces))
        });
        let answer = tokio::spawn(async move { upload.put_block(id, stream).await });
        BlockRequest { body, answer: AbortOnDrop(answer), last_sent: Instant::now() }
    }

    async fn answer(&self, mut request: AbortOnDrop) -> Result<(), SendError> {
        let waited = Instant::now();
        let answer = tokio::time::timeout(self.timeout, &mut request.0).await;
        self.stats.add_writer_wait(waited.elapsed());
        match answer {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(error))) => Err(SendError::Tunnel(error)),
            Ok(Err(lost)) => Err(SendError::Lost(lost.to_string())),
            Err(_) => Err(SendError::TimedOut(self.timeout)),
        }
    }
}

impl SendError {
    /// Whether the same block may be sent again.
    pub(super) fn is_retriable(&self) -> bool {
        match self {
            Self::Tunnel(error) => error.is_retriable(),
            Self::TimedOut(_) | Self::Lost(_) => true,
        }
    }

    /// The pause that the service asked for; zero if it did not.
    pub(super) fn retry_after(&self) -> Duration {
        match self {
            Self::Tunnel(error) => error.retry_after().unwrap_or_default(),
            Self::TimedOut(_) | Self::Lost(_) => Duration::ZERO,
        }
    }

    /// Whether the service asked for patience; such answers do not use up attempts.
    pub(super) fn is_throttled(&self) -> bool {
        matches!(self, Self::Tunnel(error) if error.kind() == tunnel::ErrorKind::Throttled)
    }
}

impl std::fmt::Display for SendError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tunnel(error) => error.fmt(f),
            Self::TimedOut(after) => write!(f, "the tunnel server took nothing for {} s", after.as_secs()),
            Self::Lost(why) => write!(f, "the request was lost: {why}"),
        }
    }
}
