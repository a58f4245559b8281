//! Bodies on their way in and out: from the async side to code that simply reads, and back.

use std::io::{self, Read};
use std::time::Duration;

use axum::body::Body;
use bytes::{Buf, Bytes};
use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;

use super::answer::ByteStream;

/// A body as a blocking reader. Its other end is fed by [`feed`].
#[derive(Debug)]
pub(super) struct BodyReader {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    now: Bytes,
}

/// The feeding end of a [`BodyReader`].
pub(super) type BodyFeed = mpsc::Sender<io::Result<Bytes>>;

impl BodyReader {
    /// A reader and its feeding end. The reader must not be used on an async thread.
    pub(super) fn new() -> (BodyFeed, Self) {
        let (feed, pieces) = mpsc::channel(PIECES_AHEAD);
        (feed, Self { pieces, now: Bytes::new() })
    }
}

impl Read for BodyReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.now.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.now = piece?,
                None => return Ok(0),
            }
        }
        let take = self.now.len().min(out.len());
        if let Some(out) = out.get_mut(..take) {
            self.now.copy_to_slice(out);
        }
        Ok(take)
    }
}

/// How [`feed`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fed {
    /// The body came to its end.
    Whole,
    /// The client went away in the middle.
    Broken,
    /// A fault ended it after the ordered number of bytes, or it brought nothing for too long.
    Cut,
}

/// Passes a request's body on as it arrives. A reader that gave up early does not stop it: the client must be able to send
/// its body to the end before it reads why that was refused. A body that brings nothing for `idle_max` is cut.
pub(super) async fn feed(body: Body, feed: BodyFeed, cut_after: Option<u64>, idle_max: Option<Duration>) -> Fed {
    let mut stream = body.into_data_stream();
    let mut left = cut_after;
    let mut wanted = true;
    loop {
        let next = tokio::time::timeout(idle_max.unwrap_or(Duration::MAX), stream.next()).await;
        let Ok(next) = next else {
            let _ = feed.send(Err(io::Error::new(io::ErrorKind::UnexpectedEof, "idle for too long"))).await;
            return Fed::Cut;
        };
        let Some(piece) = next else { return Fed::Whole };
        let mut piece = match piece {
            Ok(piece) => piece,
            Err(error) => {
                // The reader may have given up already; then nobody needs to know.
                let _ = feed.send(Err(io::Error::new(io::ErrorKind::UnexpectedEof, error.to_string()))).await;
                return Fed::Broken;
            }
        };
        let mut cut = false;
        if let Some(left) = &mut left {
            let length = piece.len() as u64;
            if length >= *left {
                piece.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                cut = true;
            }
            *left = left.saturating_sub(length);
        }
        if wanted {
            wanted = feed.send(Ok(piece)).await.is_ok();
        }
        if cut {
            let _ = feed.send(Err(io::Error::new(io::ErrorKind::UnexpectedEof, "cut by the sandbox"))).await;
            return Fed::Cut;
        }
    }
}

/// Reads a body whole, as long as it stays below `bytes_max`.
pub(super) async fn read_whole(body: Body, bytes_max: usize) -> Result<Bytes, String> {
    axum::body::to_bytes(body, bytes_max).await.map_err(|error| error.to_string())
}

/// The pieces of a channel as a body.
pub(super) fn stream_of(pieces: mpsc::Receiver<io::Result<Bytes>>) -> ByteStream {
    Box::pin(stream::unfold(pieces, |mut pieces| async move { pieces.recv().await.map(|piece| (piece, pieces)) }))
}

/// Pieces that may wait between the two sides: enough to keep both busy, small enough not to hold a block.
pub(super) const PIECES_AHEAD: usize = 8;
