//! The only door to the HTTP client.
//!
//! Sends one request and reads one bounded answer; it never repeats, redirects, unpacks or guesses a proxy, since the layers
//! above decide about all of that. It is also the one place of the tunnel that asks a clock.

mod answer;
mod tls;

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures_util::Stream;

use answer::describe;
pub(super) use answer::{Answer, parse_date};

use super::endpoint::{Endpoint, Scheme};
use super::error::{Error, ErrorKind};
use super::text::cut;
use crate::limits::{ANSWER_BYTES_MAX, ERROR_ANSWER_BYTES_MAX};
use crate::timings;

/// An error of the stream that a block's bytes come from.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// The bytes of a request that are made while they are sent.
pub(super) type BodyStream = Pin<Box<dyn Stream<Item = Result<Bytes, BodyError>> + Send>>;

/// The verbs that MaxCompute knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Post,
    Put,
}

impl Method {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
        }
    }
}

/// What a request carries.
pub(super) enum Body {
    Empty,
    Whole(Bytes),
    /// Sent in chunks, as they come.
    Stream(BodyStream),
}

/// A request ready to be sent: signed, with every header but `Host` and the framing of the body.
pub(super) struct Call {
    /// What metrics call it.
    pub(super) api: &'static str,
    pub(super) method: Method,
    pub(super) url: String,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Body,
    /// How long the service may take to answer, counted from the last byte of the request that was taken off our hands.
    pub(super) answer_timeout: Duration,
}

/// A pool of connections, and the clocks.
#[derive(Clone, Debug)]
pub(super) struct Http {
    client: reqwest::Client,
    started: Instant,
}

impl Http {
    /// A pool for `endpoints`: TLS is set up only if one of them needs it.
    ///
    /// # Errors
    /// [`ErrorKind::Config`]: no CA certificates, a CA file that cannot be used, or a CPU the TLS library refuses.
    pub(super) fn new(
        endpoints: &[&Endpoint],
        ca_file: Option<&std::path::Path>,
        connect_timeout: Duration,
    ) -> Result<Self, Error> {
        let needs_tls = endpoints.iter().any(|endpoint| endpoint.scheme() == Scheme::Https);
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::client_config(needs_tls, ca_file)?)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .referer(false)
            .connect_timeout(connect_timeout)
            // Below the idle time after which the service or a gateway on the way cuts a connection.
            .pool_idle_timeout(Duration::from_secs(50))
            .tcp_nodelay(true)
            .http1_only()
            .build()
            .map_err(|error| {
                Error::new(ErrorKind::Config, format!("cannot set up the HTTP client: {}", describe(&error)))
            })?;
        Ok(Self { client, started: Instant::now() })
    }

    /// Time since this pool was made; the clock of retries and deadlines.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// The wall clock, for the `Date` of signatures.
    pub(super) fn wall_clock(&self) -> jiff::Timestamp {
        jiff::Timestamp::now()
    }

    /// Sends `call` and reads the answer, whatever its status.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when there is no answer, or none in time; [`ErrorKind::Config`] when the service's certificate
    /// is not to be trusted; [`ErrorKind::Body`] when the body's own stream failed; [`ErrorKind::Decode`] when the answer is
    /// larger than [`ANSWER_BYTES_MAX`].
    pub(super) async fn send(&self, call: Call) -> Result<Answer, Error> {
        self.open(call).await?.read_all().await
    }

    /// Sends `call` and reads the head of the answer, whatever its status; the body is read piece by piece.
    ///
    /// # Errors
    /// As [`Http::send`], but for the body.
    pub(super) async fn open(&self, call: Call) -> Result<Incoming, Error> {
        let method = match call.method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
            Method::Put => reqwest::Method::PUT,
        };
        let host = call.url.split('/').nth(2).unwrap_or_default().to_owned();
        let mut request = self.client.request(method, call.url);
        for (name, value) in call.headers {
            request = request.header(name, value);
        }
        let watch = Watch::new();
        request = match call.body {
            // Some gateways refuse a POST that does not say how long it is.
            Body::Empty => request.header("Content-Length", "0"),
            Body::Whole(bytes) => request.body(bytes),
            Body::Stream(stream) => request.body(reqwest::Body::wrap_stream(watch.over(stream))),
        };
        let begin = Instant::now();
        let response = tokio::select! {
            response = request.send() => {
                response.map_err(|error| watch.cause_or(answer::transport_error(&host, error)))
            }
            () = watch.stall(call.answer_timeout) => {
                let seconds = call.answer_timeout.as_secs();
                Err(Error::new(ErrorKind::Unavailable, format!("{host}: no answer for {seconds} s")))
            }
        };
        timings::record("tunnel", call.api, begin.elapsed());
        let response = response?;
        let headers = response.headers().iter();
        let headers: Vec<(String, String)> = headers
            .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        let head = Answer { status: response.status().as_u16(), headers, body: Bytes::new() };
        Ok(Incoming { head, response, host, answer_timeout: call.answer_timeout })
    }
}

/// An answer whose body is still on its way.
#[derive(Debug)]
pub(super) struct Incoming {
    head: Answer,
    response: reqwest::Response,
    host: String,
    answer_timeout: Duration,
}

impl Incoming {
    /// Status and headers; the body is empty.
    pub(super) const fn head(&self) -> &Answer {
        &self.head
    }

    /// The next piece of the body as it came over the wire; `None` at its clean end.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`]: the connection broke, or brought nothing for too long.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        match tokio::time::timeout(self.answer_timeout, self.response.chunk()).await {
            Ok(piece) => piece.map_err(|error| answer::transport_error(&self.host, error)),
            Err(_) => {
                let message = format!("{}: the answer stopped half-way", self.host);
                Err(Error::new(ErrorKind::Unavailable, message))
            }
        }
    }

    /// The answer with all of its body, bounded in size and in the time between two pieces.
    pub(super) async fn read_all(mut self) -> Result<Answer, Error> {
        let is_success = self.head.is_success();
        let bytes_max = if is_success { ANSWER_BYTES_MAX } else { ERROR_ANSWER_BYTES_MAX };
        let mut body = BytesMut::new();
        loop {
            let piece = match self.next().await {
                Ok(Some(piece)) => piece,
                Ok(None) => break,
                // What a status of failure says counts even if its page is cut off.
                Err(_) if !is_success => break,
                Err(error) => return Err(error),
            };
            if body.len().saturating_add(piece.len()) > bytes_max {
                if is_success {
                    let message = format!("the answer is larger than {bytes_max} bytes");
                    return Err(Error::new(ErrorKind::Decode, message));
                }
                break;
            }
            body.extend_from_slice(&piece);
        }
        self.head.body = body.freeze();
        Ok(self.head)
    }
}

/// Watches a request's body go out, so that a dead connection is told from a body that is still being made.
#[derive(Clone, Debug)]
struct Watch(Arc<Watched>);

#[derive(Debug)]
struct Watched {
    started: Instant,
    /// When the body last gave a piece or its end, in milliseconds since `started`.
    moved_ms: AtomicU64,
    /// The body has been asked for a piece and has none yet.
    awaits_source: AtomicBool,
    /// What the body's own stream failed with.
    cause: Mutex<Option<BodyError>>,
}

impl Watch {
    fn new() -> Self {
        Self(Arc::new(Watched {
            started: Instant::now(),
            moved_ms: AtomicU64::new(0),
            awaits_source: AtomicBool::new(false),
            cause: Mutex::new(None),
        }))
    }

    /// The same stream, watched. Its error goes to [`Watch::cause_or`]; the HTTP client only learns that there was one.
    fn over(&self, mut stream: BodyStream) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static {
        let watched = Arc::clone(&self.0);
        futures_util::stream::poll_fn(move |context| {
            let polled = stream.as_mut().poll_next(context);
            watched.awaits_source.store(polled.is_pending(), Ordering::Relaxed);
            let moved = u64::try_from(watched.started.elapsed().as_millis()).unwrap_or(u64::MAX);
            watched.moved_ms.store(moved, Ordering::Relaxed);
            polled.map(|piece| match piece {
                Some(Err(error)) => {
                    let text = cut(&error.to_string(), 200).to_owned();
                    *watched.cause.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    Some(Err(std::io::Error::other(text)))
                }
                Some(Ok(bytes)) => Some(Ok(bytes)),
                None => None,
            })
        })
    }

    /// The body's own error if that is what ended the request, else `error`.
    fn cause_or(&self, error: Error) -> Error {
        match self.0.cause.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(cause) => {
                Error::new(ErrorKind::Body, format!("the block's source failed: {cause}")).with_source(cause)
            }
            None => error,
        }
    }

    /// Ends when nothing was taken off our hands, and nothing answered, for `timeout`. Time in which the body has nothing
    /// to give does not count: that is the source's doing.
    async fn stall(&self, timeout: Duration) {
        loop {
            let moved = Duration::from_millis(self.0.moved_ms.load(Ordering::Relaxed));
            let idle = self.0.started.elapsed().saturating_sub(moved);
            if self.0.awaits_source.load(Ordering::Relaxed) {
                tokio::time::sleep(timeout).await;
            } else if idle >= timeout {
                return;
            } else {
                tokio::time::sleep(timeout.saturating_sub(idle)).await;
            }
        }
    }
}
