//! One connection to one broker: frames, correlation ids, the agreement on versions, and the login.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::kafka::msg::{
    ApiKey, ApiVersionsCall, Call, EncodeError, ErrorCode, NoCommonVersion, RequestHeader, SaslAuthenticateAnswer,
    SaslAuthenticateCall, SaslHandshakeCall, VersionTable, decode_response_header, encode_request,
};
use crate::limits::FRAME_BYTES_MAX;
use crate::wire::{DecodeError, Reader};

use super::login::{Login, LoginFault, Next};
use super::sasl::{Credentials, CredentialsFault, Mechanism};

/// The protocol of one connection. Pure: never reads the clock, never touches a socket.
///
/// It first agrees on versions (`ApiVersions` v3; a broker older than 2.4 refuses that and is asked again with v0 on the
/// same connection), then logs in if it is to, then carries requests. A broker answers in the order in which it was asked,
/// so an answer that does not belong to the oldest request, like a request that is not answered in time, ends the
/// connection.
///
/// A login that holds for a time only is repeated in place before that time is over (KIP-368): requests that come in
/// between are held back until it has succeeded, since the broker takes nothing else then.
///
/// Inputs: `handle_frame`, `handle_disconnect`, `handle_timeout`, and `handle_login` whenever `wants_login` holds.
/// Commands: `start`, `send`.
/// Outputs, to be drained in this order after any input: `poll_transmit`, `poll_answer`, `poll_timeout`; `ready` and
/// `fault` tell the phase.
/// Invariant: every `send` that succeeded is answered exactly once through `poll_answer`, with a body or a fault.
#[derive(Debug)]
pub struct Link {
    client_id: Arc<str>,
    /// How to log in; none on a listener without SASL.
    mechanism: Option<Mechanism>,
    phase: Phase,
    /// What the broker speaks, once that is known.
    table: Option<Arc<VersionTable>>,
    /// Set when the connection is first ready, and kept through later logins.
    opened: bool,
    /// Whether any request of a caller has been answered.
    answered: bool,
    /// When to log in again.
    login_due: Option<Instant>,
    correlation_id: i32,
    outgoing: VecDeque<Vec<u8>>,
    waiting: VecDeque<Waiting>,
    /// Requests that came during a login.
    held: VecDeque<(Waiting, Vec<u8>)>,
    answers: VecDeque<Answer>,
}

#[derive(Debug)]
enum Phase {
    Negotiating,
    /// Without a login, credentials are wanted.
    LoggingIn(Option<Box<Login>>),
    Ready,
    Failed(LinkFault),
}

#[derive(Debug)]
struct Waiting {
    correlation_id: i32,
    api: ApiKey,
    version: i16,
    deadline: Instant,
    patience: Duration,
    /// Whether it is this machine's own request, which has no caller.
    own: bool,
    /// Whether the broker will not answer it.
    silent: bool,
    /// Whether it is a bare message of a mechanism, without header on both ways.
    bare: bool,
}

/// The outcome of one request.
#[derive(Debug)]
pub struct Answer {
    /// What `send` returned.
    pub correlation_id: i32,
    /// The body, without header, as a slice of its frame; or why there is none.
    pub body: Result<Bytes, LinkFault>,
}

/// Why a connection ended. Cheap to clone: all requests in flight get the same one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum LinkFault {
    /// The broker closed the connection between frames.
    Closed,
    /// The broker closed the connection inside a frame.
    ClosedMidFrame {
        /// Bytes of the frame that had come, its size field included.
        received: usize,
        /// Bytes the frame should have had; none when the size field itself was cut.
        announced: Option<usize>,
    },
    /// The broker closed the connection at the first request, which is what one that expects a login does.
    ClosedUnasked,
    /// The login failed.
    Login(Arc<LoginFault>),
    /// TLS failed.
    Tls(TlsKind, Arc<str>),
    /// The system reported an error.
    Io(io::ErrorKind, Arc<str>),
    /// No answer in time.
    TimedOut {
        /// What was asked.
        api: ApiKey,
        /// How long we waited.
        after: Duration,
    },
    /// A size field below zero or above [`FRAME_BYTES_MAX`].
    FrameSize(i32),
    /// An answer with a correlation id that was not due.
    Correlation {
        /// The id of the oldest request; none when nothing was asked.
        due: Option<i32>,
        /// The id that came.
        received: i32,
    },
    /// A header or the `ApiVersions` answer could not be read.
    Decode(ApiKey, DecodeError),
    /// The broker refused `ApiVersions`.
    Negotiation(ErrorCode),
    /// The broker is too old or too new to agree on `ApiVersions` itself.
    NoCommonVersion(NoCommonVersion),
    /// Our own request could not be written.
    Encode(EncodeError),
    /// We closed the connection.
    Abandoned,
}

/// What kind of TLS failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsKind {
    /// The broker did not prove to be who it should be.
    Untrusted,
    /// The broker refuses our certificate, or the lack of one.
    Refused,
    /// What came is no TLS.
    NotTls,
    /// Anything else: the connection broke, or the two sides have nothing in common.
    Broken,
}

impl fmt::Display for LinkFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => write!(f, "the broker closed the connection"),
            Self::ClosedMidFrame { received, announced: Some(announced) } => {
                write!(f, "the broker closed the connection inside a frame, after {received} of {announced} bytes")
            }
            Self::ClosedMidFrame { received, announced: None } => {
                write!(f, "the broker closed the connection inside a frame's size field, after {received} bytes")
            }
            Self::ClosedUnasked => write!(
                f,
                "the broker closed the connection at the first request; does this port expect a login \
                 (security.protocol=SASL_PLAINTEXT or SASL_SSL)?"
            ),
            Self::Login(fault) => fault.fmt(f),
            Self::Tls(_, text) => f.write_str(text),
            Self::Io(_, text) => f.write_str(text),
            Self::TimedOut { api, after } => write!(f, "no answer to {api} within {} ms", after.as_millis()),
            Self::FrameSize(size) => {
                match size.to_be_bytes() {
                    // A TLS record: an alert or a handshake, major version 3.
                    [0x15 | 0x16, 0x03, _, _] => {
                        write!(f, "the broker answers in TLS; this port expects security.protocol=SSL or SASL_SSL")
                    }
                    _ => {
                        write!(
                            f,
                            "the broker announced a frame of {size} bytes, at most {FRAME_BYTES_MAX} are accepted"
                        )
                    }
                }
            }
            Self::Correlation { due: Some(due), received } => {
                write!(f, "answer with correlation id {received} where {due} was due")
            }
            Self::Correlation { due: None, received } => write!(f, "answer {received} to no request"),
            Self::Decode(api, e) => write!(f, "cannot read the answer to {api}: {e}"),
            Self::Negotiation(code) => write!(f, "the broker refused ApiVersions: {code}"),
            Self::NoCommonVersion(e) => e.fmt(f),
            Self::Encode(e) => e.fmt(f),
            Self::Abandoned => write!(f, "the connection was closed by this client"),
        }
    }
}

impl std::error::Error for LinkFault {}

impl Link {
    /// A connection that has just been made, on which to log in by `mechanism` if there is one. Call [`Link::start`] next.
    pub fn new(client_id: Arc<str>, mechanism: Option<Mechanism>) -> Self {
        Self {
            client_id,
            mechanism,
            phase: Phase::Negotiating,
            table: None,
            opened: false,
            answered: false,
            login_due: None,
            correlation_id: 0,
            outgoing: VecDeque::new(),
            waiting: VecDeque::new(),
            held: VecDeque::new(),
            answers: VecDeque::new(),
        }
    }

    /// Begins to agree on versions; the broker has `patience` to answer.
    pub fn start(&mut self, now: Instant, patience: Duration) {
        self.negotiate(now, patience, ApiKey::ApiVersions.versions().max);
    }

    /// Sends a request that [`encode_request`] has written, with any correlation id, in a version that
    /// [`VersionTable::pick`] gave for this connection. The broker has `patience` to answer, counted from the time it is
    /// written. Returns the correlation id under which the answer will come.
    pub fn send(&mut self, now: Instant, patience: Duration, api: ApiKey, version: i16, frame: Vec<u8>) -> i32 {
        let waiting = Waiting {
            correlation_id: 0,
            api,
            version,
            deadline: now,
            patience,
            own: false,
            silent: false,
            bare: false,
        };
        self.queue(now, waiting, frame)
    }

    /// Like [`Link::send`] for a request that the broker does not answer, which is `Produce` with acks=0. An empty answer
    /// comes out when it is on its way.
    pub fn send_silent(&mut self, now: Instant, api: ApiKey, version: i16, frame: Vec<u8>) -> i32 {
        let patience = Duration::ZERO;
        let waiting =
            Waiting { correlation_id: 0, api, version, deadline: now, patience, own: false, silent: true, bare: false };
        self.queue(now, waiting, frame)
    }

    fn queue(&mut self, now: Instant, mut waiting: Waiting, mut frame: Vec<u8>) -> i32 {
        let correlation_id = self.correlation_id;
        if let Phase::Failed(fault) = &self.phase {
            self.correlation_id = correlation_id.wrapping_add(1).max(0);
            self.answers.push_back(Answer { correlation_id, body: Err(fault.clone()) });
            return correlation_id;
        }
        self.correlation_id = correlation_id.wrapping_add(1).max(0);
        // Size, API and version come before it.
        if let Some(slot) = frame.get_mut(8..12) {
            slot.copy_from_slice(&correlation_id.to_be_bytes());
        }
        waiting.correlation_id = correlation_id;
        if !waiting.own && matches!(self.phase, Phase::LoggingIn(_)) {
            self.held.push_back((waiting, frame));
        } else {
            self.transmit(now, waiting, frame);
        }
        correlation_id
    }

    fn transmit(&mut self, now: Instant, mut waiting: Waiting, frame: Vec<u8>) {
        waiting.deadline = now.checked_add(waiting.patience).unwrap_or(now);
        if waiting.silent {
            self.answers.push_back(Answer { correlation_id: waiting.correlation_id, body: Ok(Bytes::new()) });
        } else {
            self.waiting.push_back(waiting);
        }
        self.outgoing.push_back(frame);
    }

    /// Sends a request of the machine's own.
    fn ask<C: Call>(&mut self, now: Instant, patience: Duration, version: i16, call: &C) -> Result<(), LinkFault> {
        let header = RequestHeader { api: C::API, version, correlation_id: 0, client_id: &self.client_id };
        let frame = encode_request(header, call).map_err(LinkFault::Encode)?;
        let waiting = Waiting {
            correlation_id: 0,
            api: C::API,
            version,
            deadline: now,
            patience,
            own: true,
            silent: false,
            bare: false,
        };
        self.queue(now, waiting, frame);
        Ok(())
    }

    /// The same in the highest version both sides have.
    fn ask_agreed<C: Call>(&mut self, now: Instant, patience: Duration, call: &C) -> Result<(), LinkFault> {
        let table = self.table.clone().unwrap_or_default();
        let version = table.pick(C::API, call.version_max()).map_err(LinkFault::NoCommonVersion)?;
        self.ask(now, patience, version, call)
    }

    fn negotiate(&mut self, now: Instant, patience: Duration, version: i16) {
        if let Err(fault) = self.ask(now, patience, version, &ApiVersionsCall) {
            self.fail(fault);
        }
    }

    /// Whether credentials are wanted: fetch them and call [`Link::handle_login`].
    pub const fn wants_login(&self) -> bool {
        matches!(self.phase, Phase::LoggingIn(None))
    }

    /// Takes credentials and a fresh nonce, or why there are none; the broker has `patience` for each answer.
    pub fn handle_login(
        &mut self,
        now: Instant,
        patience: Duration,
        found: Result<(Credentials, String), CredentialsFault>,
    ) {
        let (Phase::LoggingIn(None), Some(mechanism)) = (&self.phase, self.mechanism) else { return };
        let login = match found {
            Ok((credentials, nonce)) => Login::new(now, mechanism, &credentials, &nonce),
            Err(why) => Err(LoginFault::NoCredentials(why)),
        };
        let outcome = login.map_err(login_fault).and_then(|login| {
            let handshake = login.handshake();
            self.phase = Phase::LoggingIn(Some(Box::new(login)));
            self.ask_agreed(now, patience, &handshake)
        });
        if let Err(fault) = outcome {
            self.fail(fault);
        }
    }

    /// Takes one frame, without its size field.
    pub fn handle_frame(&mut self, now: Instant, frame: Bytes) {
        if matches!(self.phase, Phase::Failed(_)) {
            return;
        }
        if let Err(fault) = self.accept(now, &frame) {
            self.fail(fault);
        }
    }

    fn accept(&mut self, now: Instant, frame: &Bytes) -> Result<(), LinkFault> {
        if let Some(due) = self.waiting.pop_front_if(|due| due.bare) {
            let answer = SaslAuthenticateAnswer::bare(frame.clone());
            return self.go_on(now, &due, &answer);
        }
        let mut reader = Reader::new(frame);
        let Some(due) = self.waiting.front() else {
            let received = reader.i32_be("correlation_id").unwrap_or(-1);
            return Err(LinkFault::Correlation { due: None, received });
        };
        let received =
            decode_response_header(&mut reader, due.api, due.version).map_err(|e| LinkFault::Decode(due.api, e))?;
        if received != due.correlation_id {
            return Err(LinkFault::Correlation { due: Some(due.correlation_id), received });
        }
        let body = frame.slice(reader.position()..);
        let Some(due) = self.waiting.pop_front() else { return Ok(()) };
        if due.own {
            return match due.api {
                ApiKey::SaslHandshake => self.shake_hands(now, &due, body),
                ApiKey::SaslAuthenticate => self.log_in(now, &due, body),
                _ => self.agree(now, due.patience, due.version, body),
            };
        }
        self.answered = true;
        self.answers.push_back(Answer { correlation_id: received, body: Ok(body) });
        Ok(())
    }

    fn shake_hands(&mut self, now: Instant, due: &Waiting, body: Bytes) -> Result<(), LinkFault> {
        let Phase::LoggingIn(Some(login)) = &mut self.phase else { return Ok(()) };
        let answer = SaslHandshakeCall::decode(due.version, body).map_err(|e| LinkFault::Decode(due.api, e))?;
        let call = login.handle_handshake(answer).map_err(login_fault)?;
        // KIP-152: after a handshake of v0 the messages of the mechanism follow as they are.
        if due.version == 0 {
            self.say_bare(now, due.patience, &call)
        } else {
            self.ask_agreed(now, due.patience, &call)
        }
    }

    /// Sends a message of the mechanism as brokers before 1.0 expect it: its size, then itself.
    fn say_bare(&mut self, now: Instant, patience: Duration, call: &SaslAuthenticateCall) -> Result<(), LinkFault> {
        let frame = call.encode_bare().map_err(LinkFault::Encode)?;
        let (api, deadline) = (ApiKey::SaslAuthenticate, now);
        self.transmit(
            now,
            Waiting { correlation_id: 0, api, version: 0, deadline, patience, own: true, silent: false, bare: true },
            frame,
        );
        Ok(())
    }

    fn log_in(&mut self, now: Instant, due: &Waiting, body: Bytes) -> Result<(), LinkFault> {
        let answer = SaslAuthenticateCall::decode(due.version, body).map_err(|e| LinkFault::Decode(due.api, e))?;
        self.go_on(now, due, &answer)
    }

    fn go_on(&mut self, now: Instant, due: &Waiting, answer: &SaslAuthenticateAnswer) -> Result<(), LinkFault> {
        let Phase::LoggingIn(Some(login)) = &mut self.phase else { return Ok(()) };
        let started = login.started;
        match login.handle_authenticate(answer).map_err(login_fault)? {
            Next::Say(call) if due.bare => self.say_bare(now, due.patience, &call),
            Next::Say(call) => self.ask_agreed(now, due.patience, &call),
            Next::Done { lifetime_ms } => {
                // Counted from before the login, since the broker's clock ran while the answer was under way.
                let share = Duration::from_millis(lifetime_ms).saturating_mul(LOGIN_SHARE_PERCENT) / 100;
                self.login_due = (lifetime_ms > 0).then(|| started.checked_add(share)).flatten();
                self.open(now);
                Ok(())
            }
        }
    }

    /// Requests may flow from now on.
    fn open(&mut self, now: Instant) {
        self.phase = Phase::Ready;
        self.opened = true;
        for (waiting, frame) in std::mem::take(&mut self.held) {
            self.transmit(now, waiting, frame);
        }
    }

    fn agree(&mut self, now: Instant, patience: Duration, version: i16, body: Bytes) -> Result<(), LinkFault> {
        let answer = ApiVersionsCall::decode(version, body).map_err(|e| LinkFault::Decode(ApiKey::ApiVersions, e))?;
        let table = VersionTable::new(answer.apis);
        if answer.error.is_ok() {
            self.table = Some(Arc::new(table));
            match self.mechanism {
                Some(_) => self.phase = Phase::LoggingIn(None),
                None => self.open(now),
            }
            return Ok(());
        }
        if answer.error != ErrorCode::UNSUPPORTED_VERSION || version == 0 {
            return Err(LinkFault::Negotiation(answer.error));
        }
        // Since KIP-511 the refusal says which versions the broker has; before, the list is empty and v0 is safe.
        let version = match table.range(ApiKey::ApiVersions) {
            Some(_) => {
                // Below the refused version, so that this ends.
                table.pick(ApiKey::ApiVersions, version.saturating_sub(1)).map_err(LinkFault::NoCommonVersion)?
            }
            None => 0,
        };
        self.negotiate(now, patience, version);
        Ok(())
    }

    /// Takes the end of the connection.
    pub fn handle_disconnect(&mut self, fault: LinkFault) {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
        let closed =
            matches!(fault, LinkFault::Closed | LinkFault::Io(BrokenPipe | ConnectionAborted | ConnectionReset, _));
        let fault = match (&self.phase, self.mechanism) {
            (Phase::LoggingIn(_), Some(mechanism)) if closed => {
                let is_silent = self.waiting.iter().any(|waiting| waiting.bare);
                login_fault(LoginFault::Closed { mechanism, is_silent })
            }
            (Phase::Ready, None) if closed && !self.answered && !self.waiting.is_empty() => LinkFault::ClosedUnasked,
            _ => fault,
        };
        self.fail(fault);
    }

    /// Takes the passing of time.
    pub fn handle_timeout(&mut self, now: Instant) {
        let late = self.waiting.iter().find(|waiting| waiting.deadline <= now);
        if let Some(late) = late {
            let fault = LinkFault::TimedOut { api: late.api, after: late.patience };
            self.fail(fault);
        }
        if matches!(self.phase, Phase::Ready) && self.login_due.is_some_and(|due| due <= now) {
            self.login_due = None;
            self.phase = Phase::LoggingIn(None);
        }
    }

    fn fail(&mut self, fault: LinkFault) {
        if matches!(self.phase, Phase::Failed(_)) {
            return;
        }
        let held = self.held.drain(..).map(|(waiting, _)| waiting);
        for waiting in self.waiting.drain(..).chain(held).filter(|waiting| !waiting.own) {
            let body = Err(fault.clone());
            self.answers.push_back(Answer { correlation_id: waiting.correlation_id, body });
        }
        self.outgoing.clear();
        self.phase = Phase::Failed(fault);
    }

    /// The next frame to write, size field included.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.outgoing.pop_front()
    }

    /// The next outcome of a request.
    pub fn poll_answer(&mut self) -> Option<Answer> {
        self.answers.pop_front()
    }

    /// When to call [`Link::handle_timeout`] unless something happens before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let login_due = self.login_due.filter(|_| matches!(self.phase, Phase::Ready));
        self.waiting.iter().map(|waiting| waiting.deadline).chain(login_due).min()
    }

    /// What the broker speaks, once requests may be sent.
    pub const fn ready(&self) -> Option<&Arc<VersionTable>> {
        match &self.phase {
            Phase::Failed(_) => None,
            _ if self.opened => self.table.as_ref(),
            _ => None,
        }
    }

    /// Why the connection is of no more use, once it is.
    pub const fn fault(&self) -> Option<&LinkFault> {
        match &self.phase {
            Phase::Failed(fault) => Some(fault),
            _ => None,
        }
    }

    /// Whether every request has been answered.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.outgoing.is_empty() && self.held.is_empty()
    }
}

/// When to log in again, of the time that a login holds.
const LOGIN_SHARE_PERCENT: u32 = 85;

fn login_fault(fault: LoginFault) -> LinkFault {
    LinkFault::Login(Arc::new(fault))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::kafka::state::sasl::BearerToken;
    use crate::wire::Writer;

    const PATIENCE: Duration = Duration::from_secs(30);
    /// A request of a header only.
    const FRAME: [u8; 14] = [0, 0, 0, 10, 0, 3, 0, 4, 0, 0, 0, 0, 0xff, 0xff];

    /// A link that has sent its first `ApiVersions`, and the time.
    fn started() -> (Link, Instant) {
        let now = Instant::now();
        let mut link = Link::new("test".into(), None);
        link.start(now, PATIENCE);
        (link, now)
    }

    /// API, version and correlation id of the next frame.
    fn sent(link: &mut Link) -> (i16, i16, i32) {
        let frame = link.poll_transmit().unwrap();
        let mut reader = Reader::new(&frame);
        assert_eq!(usize::try_from(reader.i32_be("size").unwrap()).unwrap(), frame.len() - 4);
        let mut next = || reader.i16_be("field").unwrap();
        let (api, version) = (next(), next());
        (api, version, reader.i32_be("correlation_id").unwrap())
    }

    fn frame(correlation_id: i32, body: &[u8]) -> Bytes {
        [&correlation_id.to_be_bytes()[..], body].concat().into()
    }

    /// An answer in the layout of v0.
    fn versions(error: i16, apis: &[(i16, i16, i16)]) -> Vec<u8> {
        let mut out = Writer::new();
        out.i16_be(error);
        out.i32_be(apis.len().try_into().unwrap());
        for (api, min, max) in apis {
            out.i16_be(*api);
            out.i16_be(*min);
            out.i16_be(*max);
        }
        out.into_vec()
    }

    fn ready() -> (Link, Instant) {
        let (mut link, now) = started();
        assert_eq!(sent(&mut link), (18, 3, 0));
        // v3: one API (Fetch 4 to 11), no tags; throttle time and tags of the whole.
        link.handle_frame(now, frame(0, &[0, 0, 2, 0, 1, 0, 4, 0, 11, 0, 0, 0, 0, 0, 0]));
        assert!(link.ready().is_some());
        (link, now)
    }

    fn request(link: &mut Link, now: Instant) -> i32 {
        let id = link.send(now, PATIENCE, ApiKey::Metadata, 4, FRAME.to_vec());
        assert_eq!(sent(link).2, id);
        id
    }

    #[test]
    fn a_new_broker_is_ready_after_one_answer() {
        let (link, _) = ready();
        assert_eq!(link.ready().unwrap().pick(ApiKey::Fetch, i16::MAX), Ok(11));
        assert!(link.is_idle() && link.poll_timeout().is_none());
    }

    #[test]
    fn a_broker_before_kip_511_is_asked_again_with_v0_on_the_same_connection() {
        let (mut link, now) = started();
        assert_eq!(sent(&mut link), (18, 3, 0));
        link.handle_frame(now, frame(0, &versions(35, &[])));
        assert!(link.ready().is_none() && link.fault().is_none());
        assert_eq!(sent(&mut link), (18, 0, 1));
        link.handle_frame(now, frame(1, &versions(0, &[(1, 0, 5), (18, 0, 1)])));
        assert_eq!(link.ready().unwrap().pick(ApiKey::Fetch, i16::MAX), Ok(5));
    }

    #[test]
    fn a_broker_that_names_its_range_is_asked_with_the_highest_of_it() {
        let (mut link, now) = started();
        sent(&mut link);
        link.handle_frame(now, frame(0, &versions(35, &[(18, 0, 2)])));
        assert_eq!(sent(&mut link), (18, 2, 1));
    }

    #[test]
    fn a_broker_that_refuses_every_version_is_given_up() {
        let (mut link, now) = started();
        for id in 0..4 {
            sent(&mut link);
            link.handle_frame(now, frame(id, &versions(35, &[(18, 0, 3)])));
        }
        assert!(matches!(link.fault(), Some(LinkFault::Negotiation(ErrorCode::UNSUPPORTED_VERSION))), "{link:?}");
        let (mut link, now) = started();
        link.handle_frame(now, frame(0, &versions(35, &[(18, 7, 9)])));
        assert!(matches!(link.fault(), Some(LinkFault::NoCommonVersion(_))), "{link:?}");
    }

    #[test]
    fn answers_come_in_order_and_under_their_id() {
        let (mut link, now) = ready();
        let (first, second) = (request(&mut link, now), request(&mut link, now));
        link.handle_frame(now, frame(first, b"one"));
        link.handle_frame(now, frame(second, b"two"));
        let mut next = || link.poll_answer().map(|answer| (answer.correlation_id, answer.body.unwrap()));
        assert_eq!(next(), Some((first, Bytes::from_static(b"one"))));
        assert_eq!(next(), Some((second, Bytes::from_static(b"two"))));
        assert_eq!(next(), None);
    }

    #[test]
    fn an_answer_to_another_request_ends_the_connection_and_every_request() {
        let (mut link, now) = ready();
        let (first, second) = (request(&mut link, now), request(&mut link, now));
        link.handle_frame(now, frame(second, b"two"));
        for id in [first, second] {
            let answer = link.poll_answer().unwrap();
            assert_eq!(answer.correlation_id, id);
            assert!(matches!(answer.body, Err(LinkFault::Correlation { due: Some(_), received: 2 })), "{answer:?}");
        }
        // A request that comes too late is answered too, once.
        let late = link.send(now, PATIENCE, ApiKey::Metadata, 4, FRAME.to_vec());
        assert_eq!(link.poll_answer().unwrap().correlation_id, late);
        assert!(link.poll_answer().is_none() && link.poll_transmit().is_none());
        let (mut link, now) = ready();
        link.handle_frame(now, frame(9, b"unasked"));
        assert!(matches!(link.fault(), Some(LinkFault::Correlation { due: None, received: 9 })));
    }

    #[test]
    fn a_request_without_an_answer_in_time_ends_the_connection() {
        let (mut link, now) = ready();
        request(&mut link, now);
        assert_eq!(link.poll_timeout(), Some(now + PATIENCE));
        link.handle_timeout(now + PATIENCE - Duration::from_millis(1));
        assert!(link.fault().is_none());
        link.handle_timeout(now + PATIENCE);
        let answer = link.poll_answer().unwrap();
        assert_eq!(answer.body.unwrap_err().to_string(), "no answer to Metadata within 30000 ms");
        assert_eq!(link.poll_timeout(), None);
    }

    #[test]
    fn an_agreement_that_is_not_reached_has_no_caller_to_answer() {
        let (mut link, now) = started();
        link.handle_timeout(now + PATIENCE);
        assert!(matches!(link.fault(), Some(LinkFault::TimedOut { api: ApiKey::ApiVersions, .. })));
        assert!(link.poll_answer().is_none());
    }

    #[test]
    fn every_prefix_and_bit_flip_of_an_agreement_is_an_agreement_or_a_fault() {
        let good = frame(0, &[0, 0, 2, 0, 1, 0, 4, 0, 11, 0, 0, 0, 0, 0, 0]);
        let settle = |bytes: Bytes| {
            let (mut link, now) = started();
            sent(&mut link);
            link.handle_frame(now, bytes);
            // It asks again, has agreed, or has failed; it never hangs without a deadline.
            assert!(link.ready().is_some() || link.fault().is_some() || link.poll_timeout().is_some());
        };
        for end in 0..good.len() {
            settle(good.slice(..end));
        }
        for bit in 0..good.len() * 8 {
            let mut bytes = good.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            settle(bytes.into());
        }
    }

    /// A link that is to log in by PLAIN and has agreed on versions.
    fn agreed(lifetime_version: i16) -> (Link, Instant) {
        let now = Instant::now();
        let mut link = Link::new("test".into(), Some(Mechanism::Plain));
        link.start(now, PATIENCE);
        sent(&mut link);
        link.handle_frame(now, frame(0, &versions(35, &[])));
        sent(&mut link);
        link.handle_frame(now, frame(1, &versions(0, &[(3, 0, 5), (17, 0, 1), (36, 0, lifetime_version)])));
        assert!(link.wants_login() && link.ready().is_none());
        (link, now)
    }

    fn credentials() -> Result<(Credentials, String), CredentialsFault> {
        let password = crate::kafka::state::sasl::Secret::new("canary");
        Ok((Credentials::Password { username: "alice".into(), password }, "nonce".into()))
    }

    /// Goes through a login that holds for `lifetime_ms`; the handshake has the correlation id `id`.
    fn log_in(link: &mut Link, now: Instant, id: i32, lifetime_ms: i64) {
        link.handle_login(now, PATIENCE, credentials());
        assert!(!link.wants_login());
        assert_eq!(sent(link), (17, 1, id));
        link.handle_frame(now, frame(id, &[0, 0, 0, 0, 0, 0]));
        assert_eq!(sent(link), (36, 1, id + 1));
        let body = [&[0, 0, 0xff, 0xff, 0, 0, 0, 0][..], &lifetime_ms.to_be_bytes()].concat();
        link.handle_frame(now, frame(id + 1, &body));
    }

    #[test]
    fn a_login_comes_before_the_first_request() {
        let (mut link, now) = agreed(1);
        log_in(&mut link, now, 2, 0);
        assert!(link.ready().is_some());
        let id = request(&mut link, now);
        link.handle_frame(now, frame(id, b"body"));
        assert_eq!(link.poll_answer().unwrap().body.unwrap(), &b"body"[..]);
        assert_eq!(link.poll_timeout(), None, "a login without an end is not repeated");
    }

    #[test]
    fn a_login_is_repeated_in_place_and_requests_wait_for_it() {
        let (mut link, start) = agreed(1);
        log_in(&mut link, start, 2, 10_000);
        let mut now = start;
        for round in 1..=3 {
            let due = now + Duration::from_millis(8500);
            assert_eq!(link.poll_timeout(), Some(due), "85 % of ten seconds");
            // One request is out when the time comes, another one comes meanwhile.
            let early = request(&mut link, now);
            now = due;
            link.handle_timeout(now);
            assert!(link.wants_login() && link.ready().is_some(), "round {round}");
            let late = link.send(now, PATIENCE, ApiKey::Metadata, 4, FRAME.to_vec());
            assert!(link.poll_transmit().is_none(), "held back");
            link.handle_login(now, PATIENCE, credentials());
            let (api, _, handshake) = sent(&mut link);
            assert_eq!(api, 17);
            link.handle_frame(now, frame(early, b"early"));
            assert_eq!(link.poll_answer().unwrap().correlation_id, early);
            link.handle_frame(now, frame(handshake, &[0, 0, 0, 0, 0, 0]));
            let (api, _, authenticate) = sent(&mut link);
            assert_eq!(api, 36);
            assert!(link.poll_transmit().is_none());
            let body = [&[0, 0, 0xff, 0xff, 0, 0, 0, 0][..], &10_000_i64.to_be_bytes()].concat();
            link.handle_frame(now, frame(authenticate, &body));
            assert_eq!(sent(&mut link).2, late);
            link.handle_frame(now, frame(late, b"late"));
            assert_eq!(link.poll_answer().unwrap().correlation_id, late);
            assert!(link.is_idle());
        }
    }

    #[test]
    fn a_refused_login_says_why_and_answers_what_waited_for_it() {
        let (mut link, now) = agreed(1);
        log_in(&mut link, now, 2, 1000);
        link.handle_timeout(now + Duration::from_millis(850));
        let held = link.send(now, PATIENCE, ApiKey::Metadata, 4, FRAME.to_vec());
        link.handle_login(now, PATIENCE, credentials());
        let (_, _, handshake) = sent(&mut link);
        link.handle_frame(now, frame(handshake, &[0, 0, 0, 0, 0, 0]));
        let (_, _, authenticate) = sent(&mut link);
        let text = b"Authentication failed: Invalid username or password";
        let body = [&[0, 58, 0, 51][..], text, &[0, 0, 0, 0], &[0; 8]].concat();
        link.handle_frame(now, frame(authenticate, &body));
        let answer = link.poll_answer().unwrap();
        assert_eq!(answer.correlation_id, held);
        let said = answer.body.unwrap_err().to_string();
        assert_eq!(
            said,
            "the broker refuses the SASL PLAIN login: SASL_AUTHENTICATION_FAILED (58): \
             Authentication failed: Invalid username or password"
        );
        assert!(link.poll_answer().is_none() && link.ready().is_none());
        assert!(!format!("{link:?}").contains("canary"));
    }

    #[test]
    fn a_mechanism_the_broker_lacks_is_named_with_those_it_has() {
        let (mut link, now) = agreed(1);
        link.handle_login(now, PATIENCE, credentials());
        sent(&mut link);
        link.handle_frame(now, frame(2, &[&[0, 33, 0, 0, 0, 1, 0, 13][..], b"SCRAM-SHA-256"].concat()));
        let said = link.fault().unwrap().to_string();
        assert_eq!(said, "the broker does not offer SASL PLAIN here, only SCRAM-SHA-256");
        assert!(link.poll_transmit().is_none(), "nothing of the credentials has been sent");
    }

    #[test]
    fn an_end_of_the_connection_is_told_by_where_it_comes() {
        let (mut link, now) = agreed(1);
        link.handle_login(now, PATIENCE, credentials());
        link.handle_disconnect(LinkFault::Closed);
        assert!(link.fault().unwrap().to_string().contains("during the SASL PLAIN login"));
        let (mut link, now) = ready();
        request(&mut link, now);
        link.handle_disconnect(LinkFault::Closed);
        assert!(link.fault().unwrap().to_string().contains("does this port expect a login"));
        let (mut link, now) = ready();
        let id = request(&mut link, now);
        link.handle_frame(now, frame(id, b""));
        request(&mut link, now);
        link.handle_disconnect(LinkFault::Closed);
        assert!(matches!(link.fault(), Some(LinkFault::Closed)));
    }

    #[test]
    fn credentials_that_cannot_be_had_end_the_connection() {
        let (mut link, now) = agreed(1);
        link.handle_login(now, PATIENCE, Err(CredentialsFault::Config("token file /t: no such file".into())));
        assert_eq!(link.fault().unwrap().to_string(), "no SASL login: token file /t: no such file");
        let (mut link, now) = agreed(1);
        link.handle_login(now, PATIENCE, Ok((Credentials::Token(BearerToken::new("t")), String::new())));
        assert!(link.fault().unwrap().to_string().contains("a user name and a password are needed"));
    }

    /// A connection to a broker of 0.11, about to send the first message of a login.
    fn agreed_with_0_11() -> (Link, Instant) {
        let now = Instant::now();
        let mut link = Link::new("test".into(), Some(Mechanism::Plain));
        link.start(now, PATIENCE);
        sent(&mut link);
        link.handle_frame(now, frame(0, &versions(35, &[])));
        sent(&mut link);
        link.handle_frame(now, frame(1, &versions(0, &[(3, 0, 5), (17, 0, 0)])));
        link.handle_login(now, PATIENCE, credentials());
        assert_eq!(sent(&mut link), (17, 0, 2));
        link.handle_frame(now, frame(2, &[0, 0, 0, 0, 0, 0]));
        (link, now)
    }

    #[test]
    fn a_broker_without_saslauthenticate_gets_bare_messages() {
        let (mut link, now) = agreed_with_0_11();
        let message = link.poll_transmit().unwrap();
        let size = u32::try_from(message.len() - 4).unwrap();
        assert_eq!(message.get(..4).unwrap(), size.to_be_bytes());
        assert_eq!(message.get(4), Some(&0), "PLAIN begins with an empty authorization id");
        assert!(link.ready().is_none());
        // PLAIN's answer is empty.
        link.handle_frame(now, Bytes::new());
        assert!(link.ready().is_some());
        let id = request(&mut link, now);
        link.handle_frame(now, frame(id, b"body"));
        assert_eq!(link.poll_answer().unwrap().body.unwrap(), &b"body"[..]);
    }

    #[test]
    fn a_broker_of_0_11_refuses_a_login_by_closing_the_connection() {
        let (mut link, _) = agreed_with_0_11();
        link.handle_disconnect(LinkFault::Closed);
        let said = link.fault().unwrap().to_string();
        assert!(said.contains("during the SASL PLAIN login") && said.contains("user or password"), "{said}");
    }
}
