//! zstd frames, packed while the bytes come.
//!
//! The pure-Rust encoder pulls its input to the end in one call. So that bytes can be pushed, each frame has a thread of its
//! own that sleeps between two pieces; it never works while the caller does not wait for it.

use std::fmt;
use std::io::{self, Cursor, Read, Write};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

use bytes::{Buf as _, Bytes};
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};
use ruzstd::encoding::{CompressionLevel, FrameCompressor};

use crate::limits::BODY_WINDOW_BYTES_MAX;

/// Packs one frame.
pub(super) struct Zstd {
    /// Gone when the frame ends.
    input: Option<SyncSender<Bytes>>,
    events: Receiver<Event>,
    worker: Option<JoinHandle<()>>,
    /// The encoder has nothing left and waits.
    is_hungry: bool,
}

enum Event {
    Output(Vec<u8>),
    Hungry,
    Done,
}

impl fmt::Debug for Zstd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Zstd").field("is_hungry", &self.is_hungry).finish_non_exhaustive()
    }
}

impl Zstd {
    /// An empty frame.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(super) fn new() -> io::Result<Self> {
        let (input, source) = sync_channel(1);
        let (sender, events) = channel();
        let worker = std::thread::Builder::new().name("zstd".to_owned()).spawn(move || {
            let mut compressor = FrameCompressor::new(CompressionLevel::Fastest);
            compressor.set_source(Source { input: source, now: Bytes::new(), events: sender.clone() });
            compressor.set_drain(Drain(sender.clone()));
            compressor.compress();
            // A caller that is gone needs no answer.
            let _ = sender.send(Event::Done);
        })?;
        Ok(Self { input: Some(input), events, worker: Some(worker), is_hungry: false })
    }

    /// Packs `bytes`; what is ready so far, which may be nothing.
    pub(super) fn push(&mut self, bytes: Bytes) -> io::Result<Bytes> {
        let mut out = Vec::new();
        if bytes.is_empty() {
            return Ok(Bytes::new());
        }
        self.wait(&mut out)?;
        self.input.as_ref().and_then(|input| input.send(bytes).ok()).ok_or_else(lost)?;
        self.is_hungry = false;
        self.wait(&mut out)?;
        Ok(Bytes::from(out))
    }

    /// Ends the frame and gives the rest of it.
    pub(super) fn finish(mut self) -> io::Result<Bytes> {
        let mut out = Vec::new();
        self.input = None;
        loop {
            match self.events.recv().map_err(|_| lost())? {
                Event::Output(bytes) => out.extend_from_slice(&bytes),
                Event::Hungry => {}
                Event::Done => break,
            }
        }
        if let Some(worker) = self.worker.take() {
            worker.join().map_err(|_| lost())?;
        }
        Ok(Bytes::from(out))
    }

    /// Gathers output until the encoder waits.
    fn wait(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        while !self.is_hungry {
            match self.events.recv().map_err(|_| lost())? {
                Event::Output(bytes) => out.extend_from_slice(&bytes),
                Event::Hungry => self.is_hungry = true,
                Event::Done => return Err(lost()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
impl Zstd {
    /// Drops all but the thread.
    pub(super) fn end_without_finish(mut self) -> Option<JoinHandle<()>> {
        self.worker.take()
    }
}

fn lost() -> io::Error {
    io::Error::other("the zstd encoder ended early")
}

struct Source {
    input: Receiver<Bytes>,
    now: Bytes,
    events: Sender<Event>,
}

impl Read for Source {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.now.is_empty() {
            // The end of the input, or of the one who wanted the frame.
            if self.events.send(Event::Hungry).is_err() {
                return Ok(0);
            }
            match self.input.recv() {
                Ok(bytes) => self.now = bytes,
                Err(_) => return Ok(0),
            }
        }
        let take = self.now.len().min(buf.len());
        if let Some(buf) = buf.get_mut(..take) {
            self.now.copy_to_slice(buf);
        }
        Ok(take)
    }
}

/// Never fails, since the encoder would panic.
struct Drain(Sender<Event>);

impl Write for Drain {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let _ = self.0.send(Event::Output(buf.to_vec()));
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

type Input = Box<dyn Read + Send>;

/// Unpacks frames, one after another, to the end of the input.
///
/// The decoder takes a window as large as the frame's header says, so larger ones than [`BODY_WINDOW_BYTES_MAX`] are refused. Blocks
/// that write more than a block may are refused by the decoder as soon as they do.
pub(super) enum Unzstd {
    Start(Input),
    Frame(Box<StreamingDecoder<Input, FrameDecoder>>),
    End,
}

impl Unzstd {
    pub(super) fn new(source: impl Read + Send + 'static) -> Self {
        Self::Start(Box::new(source))
    }
}

impl Read for Unzstd {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let corrupt = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
        loop {
            match std::mem::replace(self, Self::End) {
                Self::End => return Ok(0),
                Self::Start(source) => {
                    let decoder = StreamingDecoder::new_with_max_window_size(source, BODY_WINDOW_BYTES_MAX);
                    *self = Self::Frame(Box::new(decoder.map_err(|error| corrupt(error.to_string()))?));
                }
                Self::Frame(mut decoder) => {
                    let read = decoder.read(buf).map_err(|error| corrupt(error.to_string()))?;
                    if read > 0 || buf.is_empty() {
                        *self = Self::Frame(decoder);
                        return Ok(read);
                    }
                    let (mut source, frame) = decoder.into_parts();
                    let (told, found) = (frame.get_checksum_from_data(), frame.get_calculated_checksum());
                    if told.is_some() && told != found {
                        return Err(corrupt("the checksum of the zstd frame is wrong".to_owned()));
                    }
                    let mut next = [0];
                    if source.read(&mut next)? == 0 {
                        return Ok(0);
                    }
                    *self = Self::Start(Box::new(Read::chain(Cursor::new(next), source)));
                }
            }
        }
    }
}
