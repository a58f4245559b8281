//! The task that drives one connection, and the handle through which requests reach it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::kafka::msg::{ApiKey, Call, EncodeError, NoCommonVersion, RequestHeader, VersionTable, encode_request};
use crate::kafka::state::frame::FrameBuffer;
use crate::kafka::state::link::{Link, LinkFault};
use crate::limits::THROTTLE_MS_MAX;
use crate::wire::DecodeError;

use super::dial::{Stream, io_text};
use super::login::LoginSource;
use super::{now, sleep_until, wall_clock_ms};

/// A connection to a broker with which versions have been agreed on. Clones share it; when the last one is dropped, the
/// connection closes.
#[derive(Clone, Debug)]
pub(crate) struct LinkHandle {
    commands: mpsc::Sender<Command>,
    versions: Arc<VersionTable>,
    client_id: Arc<str>,
    quiet: Quiet,
    opened_ms: i64,
}

/// Until when the broker wants no more of us on a connection (KIP-219).
#[derive(Clone, Debug, Default)]
struct Quiet(Arc<Mutex<Option<Instant>>>);

impl Quiet {
    fn until(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, api: ApiKey, ms: i32) {
        let ms = u64::try_from(ms).unwrap_or(0).min(THROTTLE_MS_MAX);
        if ms > 0 {
            log::debug!("{api}: the broker asks for {ms} ms without requests (quota)");
            let until = now().checked_add(Duration::from_millis(ms));
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            *known = (*known).max(until);
        }
    }
}

#[derive(Debug)]
struct Command {
    api: ApiKey,
    version: i16,
    frame: Vec<u8>,
    /// How long the broker has to answer; none for a request that it does not answer.
    patience: Option<Duration>,
    reply: oneshot::Sender<Result<Bytes, LinkFault>>,
}

/// A request that has been handed to its connection.
#[derive(Debug)]
pub(crate) struct PendingCall {
    version: i16,
    answer: oneshot::Receiver<Result<Bytes, LinkFault>>,
    quiet: Quiet,
}

impl PendingCall {
    /// The body of the answer, and the version it is in; empty for a request without an answer.
    async fn body(self) -> Result<(i16, Bytes), CallFault> {
        let body = self.answer.await.map_err(|_| CallFault::Link { fault: LinkFault::Closed, sent: true })?;
        Ok((self.version, body.map_err(|fault| CallFault::Link { fault, sent: true })?))
    }

    /// Waits for the answer.
    pub(crate) async fn answer<C: Call>(self) -> Result<C::Answer, CallFault> {
        let quiet = self.quiet.clone();
        let (version, body) = self.body().await?;
        let answer = C::decode(version, body).map_err(CallFault::Decode)?;
        quiet.keep(C::API, C::quiet_ms(version, &answer));
        Ok(answer)
    }

    /// Waits until a request without an answer is on its way.
    pub(crate) async fn written(self) -> Result<(), CallFault> {
        self.body().await.map(|_| ())
    }
}

/// Why a request over a link has no answer.
#[derive(Clone, Debug)]
pub(crate) enum CallFault {
    /// The connection ended. `sent` tells whether the broker may have seen the request.
    Link { fault: LinkFault, sent: bool },
    /// The answer cannot be read.
    Decode(DecodeError),
    /// The request cannot be written.
    Encode(EncodeError),
    /// No version in common.
    Version(NoCommonVersion),
}

impl std::fmt::Display for CallFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Link { fault, .. } => fault.fmt(f),
            Self::Decode(e) => write!(f, "cannot read the answer: {e}"),
            Self::Encode(e) => e.fmt(f),
            Self::Version(e) => e.fmt(f),
        }
    }
}

/// Requests that may queue for one connection. Callers beyond wait; each of them has at most a few requests out.
const QUEUE_MAX: usize = 64;

/// How long to look for a last message when a connection can no longer be written to.
const LAST_WORDS: Duration = Duration::from_millis(100);

impl LinkHandle {
    /// Takes a fresh stream, agrees on versions, logs in by `login` if it is given, and starts the task. The broker has
    /// `patience` for each answer.
    ///
    /// # Errors
    /// [`LinkFault`] when the agreement or the login fails.
    pub(crate) async fn open<S: Stream>(
        stream: S,
        client_id: Arc<str>,
        patience: Duration,
        login: Option<LoginSource>,
    ) -> Result<Self, LinkFault> {
        let mut link = Link::new(client_id.clone(), login.as_ref().map(|login| login.mechanism));
        link.start(now(), patience);
        let (commands, queue) = mpsc::channel(QUEUE_MAX);
        let (ready, when_ready) = oneshot::channel();
        tokio::spawn(Driver { link, login, patience, queue, replies: BTreeMap::new(), ready: Some(ready) }.run(stream));
        let versions = when_ready.await.unwrap_or(Err(LinkFault::Abandoned))?;
        Ok(Self { commands, versions, client_id, quiet: Quiet::default(), opened_ms: wall_clock_ms() })
    }

    /// Sends one request and waits for its answer. Dropping the future abandons the answer, not the connection.
    ///
    /// # Errors
    /// [`CallFault`].
    pub(crate) async fn call<C: Call>(&self, call: &C, patience: Duration) -> Result<C::Answer, CallFault> {
        self.begin(call, Some(patience)).await?.answer::<C>().await
    }

    /// Sends one request. Requests reach the broker in the order in which this returns; without `patience`, the broker is
    /// not expected to answer.
    ///
    /// # Errors
    /// [`CallFault`], none with `sent` set.
    pub(crate) async fn begin<C: Call>(&self, call: &C, patience: Option<Duration>) -> Result<PendingCall, CallFault> {
        let version = self.versions.pick(C::API, call.version_max()).map_err(CallFault::Version)?;
        let header = RequestHeader { api: C::API, version, correlation_id: 0, client_id: &self.client_id };
        let frame = encode_request(header, call).map_err(CallFault::Encode)?;
        if let Some(until) = self.quiet.until().filter(|until| C::API.waits_for_quota() && *until > now()) {
            sleep_until(Some(until)).await;
        }
        let (reply, answer) = oneshot::channel();
        let command = Command { api: C::API, version, frame, patience, reply };
        let closed = CallFault::Link { fault: LinkFault::Closed, sent: false };
        self.commands.send(command).await.map_err(|_| closed)?;
        Ok(PendingCall { version, answer, quiet: self.quiet.clone() })
    }

    /// When it could be used first, in milliseconds since 1970.
    pub(crate) const fn opened_ms(&self) -> i64 {
        self.opened_ms
    }

    /// Whether the connection has ended.
    pub(crate) fn is_closed(&self) -> bool {
        self.commands.is_closed()
    }
}

struct Driver {
    link: Link,
    login: Option<LoginSource>,
    patience: Duration,
    queue: mpsc::Receiver<Command>,
    replies: BTreeMap<i32, oneshot::Sender<Result<Bytes, LinkFault>>>,
    ready: Option<oneshot::Sender<Result<Arc<VersionTable>, LinkFault>>>,
}

impl Driver {
    /// Runs until the connection fails or every handle is gone.
    async fn run<S: Stream>(mut self, stream: S) {
        let (mut read_half, mut write_half) = tokio::io::split(stream);
        let mut incoming = FrameBuffer::new();
        let mut outgoing = Bytes::new();
        loop {
            if outgoing.is_empty() {
                outgoing = self.link.poll_transmit().map(Bytes::from).unwrap_or_default();
            }
            self.hand_out();
            if let Some(fault) = self.link.fault() {
                if let (LinkFault::Login(fault), Some(login)) = (fault, &self.login)
                    && fault.is_refusal()
                {
                    login.refused();
                }
                return;
            }
            if let (true, Some(login)) = (self.link.wants_login(), &self.login) {
                let credentials = login.fetch().await;
                self.link.handle_login(now(), self.patience, credentials);
                continue;
            }
            let due = self.link.poll_timeout();
            // Every branch may be dropped half-way without losing bytes: `read_buf` and `write_buf` move nothing unless
            // they complete.
            tokio::select! {
                read = async { read_half.read_buf(&mut incoming.room()).await } => match read {
                    Ok(0) => self.link.handle_disconnect(incoming.end()),
                    Ok(_) => match incoming.take_frame() {
                        Ok(Some(frame)) => self.link.handle_frame(now(), frame),
                        Ok(None) => {}
                        Err(fault) => self.link.handle_disconnect(fault),
                    },
                    Err(e) => self.link.handle_disconnect(io_fault(&e)),
                },
                written = write_half.write_buf(&mut outgoing), if outgoing.has_remaining() => {
                    if let Err(e) = written {
                        // A broker that closes may have said why before: what it said has come already.
                        let last = timeout(LAST_WORDS, read_half.read_buf(&mut incoming.room())).await;
                        let said = last.ok().and_then(Result::err).map(|said| io_fault(&said));
                        let said = said.filter(|said| matches!(said, LinkFault::Tls(..)));
                        self.link.handle_disconnect(said.unwrap_or_else(|| io_fault(&e)));
                    }
                }
                command = self.queue.recv(), if self.ready.is_none() => match command {
                    Some(command) => self.take(command),
                    None => return,
                },
                () = sleep_until(due) => self.link.handle_timeout(now()),
            }
        }
    }

    fn take(&mut self, command: Command) {
        let Command { api, version, frame, patience, reply } = command;
        let id = match patience {
            Some(patience) => self.link.send(now(), patience, api, version, frame),
            None => self.link.send_silent(now(), api, version, frame),
        };
        self.replies.insert(id, reply);
    }

    /// Passes on what the machine has to say. A caller that has gone away does not want its answer.
    fn hand_out(&mut self) {
        while let Some(answer) = self.link.poll_answer() {
            if let Some(reply) = self.replies.remove(&answer.correlation_id) {
                reply.send(answer.body).ok();
            }
        }
        let outcome = match (self.link.ready(), self.link.fault()) {
            (Some(versions), _) => Ok(versions.clone()),
            (None, Some(fault)) => Err(fault.clone()),
            (None, None) => return,
        };
        if let Some(ready) = self.ready.take() {
            ready.send(outcome).ok();
        }
    }
}

fn io_fault(e: &std::io::Error) -> LinkFault {
    // In TLS 1.3 a broker that refuses our certificate says so only now.
    #[cfg(feature = "tls")]
    if let Some(fault) = super::tls::fault(e) {
        return fault;
    }
    LinkFault::Io(e.kind(), io_text(e).into())
}
