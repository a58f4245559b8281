//! One block on its way to Tunnel: encoded while it is sent, never held whole.
//!
//! The bytes go through a bounded channel into the request's body, so the server's pace is the lane's pace. What the block
//! holds is written down as ranges of offsets ([`BlockContent`]): Kafka is the retry buffer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::crash::crash_point;
use super::ledger::BlockContent;
use super::sessions::{Permit, Target};
use super::stats::Stats;
use crate::tunnel::session::{Fault, FaultClass};
use crate::tunnel::{self, BodyError, RowEncoder, Upload};

/// Pieces that may wait between the encoder and the socket.
const CHUNKS_QUEUED_MAX: usize = 2;

/// A block being filled. Its request starts with the first piece, so a block without rows sends nothing.
#[derive(Debug)]
pub(super) struct OpenBlock {
    /// Where it goes.
    pub(super) target: Arc<Target>,
    /// What has been encoded so far, sent or not.
    pub(super) content: BlockContent,
    /// The encoder; its checksum runs over the whole block.
    pub(super) rows: RowEncoder,
    /// Assigned with the first piece; kept over every repeat.
    pub(super) id: Option<u32>,
    /// Bytes handed over so far.
    pub(super) bytes: u64,
    /// When it was last given a row, by the lane's count of rows.
    pub(super) used: u64,
    /// Bytes that wait in the encoder, as of the lane's last look.
    pub(super) counted: usize,
    /// Why its request ended; it has to be sent again from its first row.
    pub(super) failed: Option<SendError>,
    /// A piece that the request has not taken yet.
    unsent: Option<Bytes>,
    request: Option<BlockRequest>,
}

#[derive(Debug)]
struct BlockRequest {
    body: mpsc::Sender<Result<Bytes, BodyError>>,
    answer: AbortOnDrop,
    last_sent: Instant,
    _permit: Permit,
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
    /// Kafka gave nothing for this long while the block was read again.
    SourceStalled(Duration),
    /// The task that sends was lost.
    Lost(String),
}

/// How far a piece has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// All of it is with the request.
    All,
    /// The server takes nothing at this moment.
    Waiting,
}

impl OpenBlock {
    pub(super) fn new(target: Arc<Target>) -> Self {
        Self {
            target,
            content: BlockContent::default(),
            rows: RowEncoder::new(),
            id: None,
            bytes: 0,
            used: 0,
            counted: 0,
            failed: None,
            unsent: None,
            request: None,
        }
    }

    /// Whether a request is open, and since when it has had nothing to send.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        self.request.as_ref().map(|request| request.last_sent)
    }

    /// For messages.
    pub(super) fn name(&self) -> String {
        let id = self.id.unwrap_or_default();
        let session = self.target.upload().map_or("", |upload| upload.id());
        match self.target.key.as_str() {
            "" => format!("block {id} of session {session}"),
            key => format!("block {id} of session {session}, partition {key}"),
        }
    }

    /// Starts over under the same id: same ranges, new encoder, new request.
    pub(super) fn restart(&mut self) {
        self.request = None;
        self.unsent = None;
        self.rows = RowEncoder::new();
        self.bytes = 0;
    }

    /// Starts the request of block `id`, which holds `permit` until it is over.
    pub(super) fn open(&mut self, upload: Upload, id: u32, permit: Permit) {
        let (body, pieces) = mpsc::channel(CHUNKS_QUEUED_MAX);
        let stream = futures_util::stream::unfold(pieces, |mut pieces| async move {
            pieces.recv().await.map(|piece| (piece, pieces))
        });
        let answer = tokio::spawn(async move { upload.put_block(id, stream).await });
        let request = BlockRequest { body, answer: AbortOnDrop(answer), last_sent: Instant::now(), _permit: permit };
        self.id = Some(id);
        self.request = Some(request);
    }

    /// Takes the complete rows out of the encoder, to be sent by [`OpenBlock::push`].
    pub(super) fn take_piece(&mut self) {
        if self.unsent.is_none() {
            self.unsent = Some(self.rows.take()).filter(|piece| !piece.is_empty());
        }
    }

    /// Hands the piece at hand to the request; waits at most `patience`. Without a request nothing happens.
    pub(super) async fn push(&mut self, stats: &Stats, patience: Duration) -> Result<Sent, SendError> {
        let Some(request) = &mut self.request else { return Ok(Sent::All) };
        if self.unsent.is_none() {
            return Ok(Sent::All);
        }
        let waited = Instant::now();
        let room = tokio::time::timeout(patience, request.body.clone().reserve_owned()).await;
        stats.add_writer_wait(waited.elapsed());
        match room {
            Ok(Ok(room)) => {
                let Some(piece) = self.unsent.take() else { return Ok(Sent::All) };
                let size = piece.len();
                // Gives the sender back, of which the request keeps its own.
                drop(room.send(Ok(piece)));
                request.last_sent = Instant::now();
                self.bytes = self.bytes.saturating_add(size as u64);
                stats.add_sent(size);
                return Ok(Sent::All);
            }
            Ok(Err(_)) => {}
            Err(_) => return Ok(Sent::Waiting),
        }
        // The request is over although its body is not: it has an answer already.
        match self.request.take() {
            Some(request) => match answer(request.answer, patience, stats).await {
                Ok(()) => Err(SendError::Lost("the server answered before the block was complete".to_owned())),
                Err(error) => Err(error),
            },
            None => Ok(Sent::All),
        }
    }

    /// Sends what is left and the trailer, and waits for the server's word that it has the block. The request must be open.
    pub(super) async fn finish(&mut self, stats: &Stats, timeout: Duration) -> Result<(), SendError> {
        for last in [false, true] {
            if last {
                crash_point("block");
                self.unsent = Some(std::mem::take(&mut self.rows).finish());
            }
            if self.push(stats, timeout).await? == Sent::Waiting {
                self.request = None;
                return Err(SendError::TimedOut(timeout));
            }
        }
        let Some(BlockRequest { body, answer: result, _permit, .. }) = self.request.take() else { return Ok(()) };
        drop(body);
        answer(result, timeout, stats).await
    }
}

async fn answer(mut request: AbortOnDrop, timeout: Duration, stats: &Stats) -> Result<(), SendError> {
    let waited = Instant::now();
    let answer = tokio::time::timeout(timeout, &mut request.0).await;
    stats.add_writer_wait(waited.elapsed());
    match answer {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(error))) => Err(SendError::Tunnel(error)),
        Ok(Err(lost)) => Err(SendError::Lost(lost.to_string())),
        Err(_) => Err(SendError::TimedOut(timeout)),
    }
}

impl SendError {
    /// How the failure is to be taken. A body that failed by itself can be made again.
    pub(super) fn fault(&self) -> Fault {
        match self {
            Self::Tunnel(error) => Fault::from(error),
            // Kafka's own patience bounds it.
            Self::SourceStalled(_) => Fault { class: FaultClass::Throttled, retry_after: None },
            Self::TimedOut(_) | Self::Lost(_) => Fault { class: FaultClass::Server, retry_after: None },
        }
    }

    /// What metrics call it.
    pub(super) fn code(&self) -> String {
        match self {
            Self::Tunnel(error) => tunnel_code(error),
            Self::TimedOut(_) => "timeout".to_owned(),
            Self::SourceStalled(_) => "source_stalled".to_owned(),
            Self::Lost(_) => "lost".to_owned(),
        }
    }

    /// Whether the service ran out of slots or patience: fewer blocks at once may help.
    pub(super) fn wants_fewer(&self) -> bool {
        matches!(self, Self::Tunnel(error) if error.kind() == tunnel::ErrorKind::Throttled || error.status() == Some(503))
    }
}

/// What metrics call a failure of the service: its own code, its status, or that there was no answer.
fn tunnel_code(error: &tunnel::Error) -> String {
    match (error.code(), error.status()) {
        (Some(code), _) if code.len() <= 64 => code.to_owned(),
        (_, Some(status)) => status.to_string(),
        (_, None) => "no_answer".to_owned(),
    }
}

impl std::fmt::Display for SendError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tunnel(error) => error.fmt(f),
            Self::TimedOut(after) => write!(f, "the tunnel server took nothing for {} s", after.as_secs()),
            Self::SourceStalled(after) => {
                write!(f, "Kafka gave nothing for {} s while the block was read again", after.as_secs())
            }
            Self::Lost(why) => write!(f, "the request was lost: {why}"),
        }
    }
}
