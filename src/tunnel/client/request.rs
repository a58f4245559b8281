//! One request to MaxCompute: where it goes, how it is signed, and how often it is repeated.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use super::identity::{Identities, Identity};
use super::{MaxComputeConfig, check_name, configured_endpoint};
use crate::tunnel::endpoint::Endpoint;
use crate::tunnel::error::{Error, ErrorKind};
use crate::tunnel::http::{Answer, Body, BodyStream, Call, Http, Incoming, Method};
use crate::tunnel::session::{Fault, FaultClass, Next, Retry};
use crate::tunnel::sign;

/// Which of the two hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Host {
    /// REST: metadata, SQL, discovery.
    Odps,
    /// Data.
    Tunnel,
}

/// Which failed attempts may be followed by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// All that a repetition could cure: the request has no effect, or the same effect twice.
    Always,
    /// Only those that cannot have had an effect; others end as [`ErrorKind::UnknownOutcome`].
    IfWithoutEffect,
}

/// A request before it is signed.
#[derive(Clone, Debug)]
pub(super) struct Request<'a> {
    pub(super) host: Host,
    pub(super) method: Method,
    /// Decoded path segments below the endpoint.
    pub(super) path: Vec<&'a str>,
    /// Decoded names and values; an empty value sends the name alone. `curr_project` and its like are added.
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Bytes,
    pub(super) repeat: Repeat,
    /// The call and its object, for messages.
    pub(super) what: String,
}

impl<'a> Request<'a> {
    pub(super) fn new(host: Host, method: Method, path: Vec<&'a str>, what: impl Into<String>) -> Self {
        Self {
            host,
            method,
            path,
            query: Vec::new(),
            headers: Vec::new(),
            body: Bytes::new(),
            repeat: Repeat::Always,
            what: what.into(),
        }
    }

    #[must_use]
    pub(super) fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    #[must_use]
    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// Names one logical request over all its attempts (`odps-tunnel-retry-trace-id`).
#[derive(Clone, Copy, Debug)]
pub(super) struct Trace {
    pub(super) id: Uuid,
    pub(super) index: u32,
}

/// The state that all clones of a client share.
#[derive(Debug)]
pub(super) struct Connection {
    http: Http,
    odps: Endpoint,
    config: MaxComputeConfig,
    identities: Identities,
    /// The Tunnel endpoint once it is known. Never stored elsewhere: it can change with time and network.
    tunnel: Mutex<Option<Endpoint>>,
    /// The service does not take V4 signatures for this key; legacy ones from now on.
    v4_refused: AtomicBool,
}

/// The version of the Tunnel protocol that current SDKs announce.
const TUNNEL_VERSION: &str = "6";

impl Connection {
    pub(super) fn new(config: MaxComputeConfig) -> Result<Self, Error> {
        let odps = configured_endpoint("endpoint", &config.endpoint)?;
        let tunnel = config.tunnel_endpoint.as_deref().map(|text| configured_endpoint("tunnel endpoint", text));
        let tunnel = tunnel.transpose()?;
        check_name("project", &config.project)?;
        if let Some(schema) = &config.schema {
            check_name("schema", schema)?;
        }
        if config.user_agent.bytes().any(|byte| !(b' '..=b'~').contains(&byte)) {
            return Err(Error::new(ErrorKind::Config, "the user agent is not visible ASCII"));
        }
        let mut endpoints = vec![&odps];
        endpoints.extend(tunnel.as_ref());
        let keys = Identities::endpoint(&config.credentials)?;
        endpoints.extend(keys.as_ref());
        let http = Http::new(&endpoints, config.ca_file.as_deref(), config.connect_timeout)?;
        Ok(Self {
            http,
            odps,
            tunnel: Mutex::new(tunnel),
            v4_refused: AtomicBool::new(false),
            identities: Identities::new(config.credentials.clone()),
            config,
        })
    }

    pub(super) const fn config(&self) -> &MaxComputeConfig {
        &self.config
    }

    /// The clock of retries and deadlines.
    pub(super) fn elapsed(&self) -> Duration {
        self.http.elapsed()
    }

    /// Sends `request` until it succeeds, cannot succeed, or has been repeated often enough.
    ///
    /// # Errors
    /// The last attempt's, with the number of attempts.
    pub(super) async fn send(&self, request: &Request<'_>) -> Result<Answer, Error> {
        let mut retry = Retry::new(self.config.retry, self.elapsed(), random_seed());
        let id = Uuid::new_v4();
        loop {
            let trace = Trace { id, index: retry.attempts() };
            let error = match self.send_once(request, trace).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let fault = Fault::from(&error);
            if request.repeat == Repeat::IfWithoutEffect && fault.class == FaultClass::Server && !error.is_unsent() {
                return Err(error.with_kind(ErrorKind::UnknownOutcome));
            }
            let now = self.elapsed();
            match retry.after(now, fault) {
                Next::At(at) => self.pause(&error, at.saturating_sub(now)).await,
                Next::GiveUp => return Err(error.with_attempts(retry.attempts())),
            }
        }
    }

    async fn pause(&self, error: &Error, pause: Duration) {
        log::warn!("{error}; again in {:.1} s", pause.as_secs_f64());
        tokio::time::sleep(pause).await;
    }

    /// Sends `request` once; an answer that is not a success is an error.
    ///
    /// # Errors
    /// The transport's, or the service's.
    pub(super) async fn send_once(&self, request: &Request<'_>, trace: Trace) -> Result<Answer, Error> {
        let exchange = async {
            let endpoint = self.endpoint(request.host).await?;
            let mut renewed = false;
            loop {
                let identity = self.identities.current(&self.http).await?;
                let body = if request.body.is_empty() { Body::Empty } else { Body::Whole(request.body.clone()) };
                let answer = self.http.send(self.signed(&endpoint, request, trace, &identity, body, false)).await?;
                if answer.is_success() {
                    return Ok(answer);
                }
                let error = answer.into_error(self.http.wall_clock());
                if self.refuses_v4(request.host, &error) {
                    log::warn!("{error}; signing the legacy way from now on");
                    self.v4_refused.store(true, Ordering::Relaxed);
                } else if error.kind() == ErrorKind::Auth && !renewed && self.identities.refused(&identity) {
                    log::warn!("{error}; asking for another temporary key");
                    renewed = true;
                } else {
                    return Err(self.noted(request.host, error));
                }
            }
        };
        let answer: Result<Answer, Error> = exchange.await;
        answer.map_err(|error| error.during(&request.what))
    }

    /// Sends `request` once with a body that is made while it is sent.
    ///
    /// # Errors
    /// As [`Connection::send_once`], and [`ErrorKind::Body`] for the body's own.
    pub(super) async fn send_stream(
        &self,
        request: &Request<'_>,
        trace: Trace,
        body: BodyStream,
    ) -> Result<Answer, Error> {
        let exchange = async {
            let endpoint = self.endpoint(request.host).await?;
            let identity = self.identities.current(&self.http).await?;
            let call = self.signed(&endpoint, request, trace, &identity, Body::Stream(body), true);
            let answer = self.http.send(call).await?;
            if answer.is_success() {
                return Ok(answer);
            }
            let error = answer.into_error(self.http.wall_clock());
            if error.kind() == ErrorKind::Auth && self.identities.refused(&identity) {
                // The body is spent; the caller makes it again, and then there is another key.
                return Err(error.with_kind(ErrorKind::Unavailable));
            }
            Err(self.noted(request.host, error))
        };
        let answer: Result<Answer, Error> = exchange.await;
        answer.map_err(|error| error.during(&request.what))
    }

    /// Sends `request` once and gives the answer before its body has come; one that is not a success is an error.
    ///
    /// # Errors
    /// As [`Connection::send_once`].
    pub(super) async fn open_once(&self, request: &Request<'_>, trace: Trace) -> Result<Incoming, Error> {
        let exchange = async {
            let endpoint = self.endpoint(request.host).await?;
            let identity = self.identities.current(&self.http).await?;
            let incoming =
                self.http.open(self.signed(&endpoint, request, trace, &identity, Body::Empty, false)).await?;
            if incoming.head().is_success() {
                return Ok(incoming);
            }
            let error = incoming.read_all().await?.into_error(self.http.wall_clock());
            if error.kind() == ErrorKind::Auth && self.identities.refused(&identity) {
                return Err(error.with_kind(ErrorKind::Unavailable));
            }
            Err(self.noted(request.host, error))
        };
        let incoming: Result<Incoming, Error> = exchange.await;
        incoming.map_err(|error| error.during(&request.what))
    }

    async fn endpoint(&self, host: Host) -> Result<Endpoint, Error> {
        match host {
            Host::Odps => Ok(self.odps.clone()),
            Host::Tunnel => self.tunnel_endpoint().await,
        }
    }

    /// The Tunnel endpoint: the configured one, or what the service said, asked once for each client.
    pub(super) async fn tunnel_endpoint(&self) -> Result<Endpoint, Error> {
        if let Some(endpoint) = &*self.tunnel.lock().unwrap_or_else(PoisonError::into_inner) {
            return Ok(endpoint.clone());
        }
        let path = vec!["projects", self.config.project.as_str(), "tunnel"];
        let what = format!("find the Tunnel endpoint of project \"{}\"", self.config.project);
        let mut request = Request::new(Host::Odps, Method::Get, path, what.clone()).query("service", "");
        if let Some(quota) = &self.config.quota {
            request = request.query("quotaName", quota);
        }
        // The REST host needs no Tunnel endpoint, so this does not come back here.
        let answer = Box::pin(self.send(&request)).await?;
        let found = Endpoint::parse(&answer.text(), Some(self.odps.scheme())).map_err(|why| {
            let error = Error::new(ErrorKind::Decode, format!("the answer {why}"));
            error.with_request_id(answer.request_id()).during(&what)
        })?;
        log::info!("Tunnel endpoint of project {}: {found}", self.config.project);
        *self.tunnel.lock().unwrap_or_else(PoisonError::into_inner) = Some(found.clone());
        Ok(found)
    }

    /// Forgets a discovered Tunnel endpoint when a gateway there no longer leads anywhere.
    fn noted(&self, host: Host, error: Error) -> Error {
        if host == Host::Tunnel && self.config.tunnel_endpoint.is_none() && matches!(error.status(), Some(502 | 504)) {
            *self.tunnel.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        error
    }

    fn signs_v4(&self, host: Host) -> Option<&str> {
        let region = self.config.region.as_deref().filter(|_| host == Host::Odps)?;
        (!self.v4_refused.load(Ordering::Relaxed)).then_some(region)
    }

    /// The answers after which the official Python client goes back to legacy signatures.
    fn refuses_v4(&self, host: Host, error: &Error) -> bool {
        if self.signs_v4(host).is_none() {
            return false;
        }
        let text = error.to_string().to_ascii_lowercase();
        match error.code().unwrap_or_default() {
            "InternalServerError" => text.contains("need ak v3 support") || text.contains("accesskey acl denied"),
            "InvalidParameter" => text.contains("odps-0410051"),
            "AuthorizationRequired" => text.contains("invalid or missing"),
            _ => false,
        }
    }

    fn signed(
        &self,
        endpoint: &Endpoint,
        request: &Request<'_>,
        trace: Trace,
        identity: &Identity,
        body: Body,
        is_block: bool,
    ) -> Call {
        let config = &self.config;
        let mut query = request.query.clone();
        query.push(("curr_project", config.project.clone()));
        if let Some(schema) = &config.schema {
            query.push(("curr_schema", schema.clone()));
        }
        let now = self.http.wall_clock();
        let mut headers = vec![
            ("Date", sign::http_date(now)),
            ("User-Agent", config.user_agent.clone()),
            ("x-odps-user-agent", config.user_agent.clone()),
        ];
        if !request.headers.iter().any(|(name, _)| *name == "Accept-Encoding") {
            headers.push(("Accept-Encoding", "identity".to_owned()));
        }
        if request.host == Host::Tunnel {
            if let Some(quota) = &config.quota {
                query.push(("quotaName", quota.clone()));
            }
            headers.extend([
                ("x-odps-tunnel-version", TUNNEL_VERSION.to_owned()),
                ("odps-tunnel-date-transform", "v1".to_owned()),
                ("odps-tunnel-sdk-support-schema-evolution", "true".to_owned()),
                ("odps-tunnel-retry-trace-id", trace.id.to_string()),
                ("odps-tunnel-retry-index", trace.index.to_string()),
            ]);
        }
        headers.extend(request.headers.iter().cloned());

        let path: String = request.path.iter().map(|segment| format!("/{segment}")).collect();
        let canonical = sign::canonical_string(
            request.method.name(),
            &path,
            query.iter().map(|(name, value)| (*name, value.as_str())),
            headers.iter().map(|(name, value)| (*name, value.as_str())),
        );
        match identity {
            Identity::Key(key) => {
                let authorization = match self.signs_v4(request.host) {
                    Some(region) => sign::authorize_v4(&key.id, &key.secret, &sign::v4_date(now), region, &canonical),
                    None => sign::authorize_legacy(&key.id, &key.secret, &canonical),
                };
                headers.push(("Authorization", authorization));
                if let Some(token) = &key.token {
                    headers.push(("authorization-sts-token", token.clone()));
                }
            }
            Identity::Bearer(token) => headers.push(("x-odps-bearer-token", token.clone())),
        }

        let mut url = endpoint.to_string();
        for segment in &request.path {
            url.push('/');
            url.push_str(&sign::escape(segment));
        }
        for (i, (name, value)) in query.iter().enumerate() {
            url.push(if i == 0 { '?' } else { '&' });
            url.push_str(name);
            if !value.is_empty() {
                url.push('=');
                url.push_str(&sign::escape(value));
            }
        }
        let answer_timeout = match (request.host, is_block) {
            (Host::Odps, false) => config.answer_timeout,
            _ => config.tunnel_answer_timeout,
        };
        let api = api(request, is_block);
        Call { api, method: request.method, url, headers, body, answer_timeout }
    }
}

/// What metrics call a request.
fn api(request: &Request<'_>, is_block: bool) -> &'static str {
    let asks = |name: &str| request.query.iter().any(|(known, _)| *known == name);
    match (request.host, request.method) {
        (Host::Odps, _) => "rest",
        _ if is_block => "block",
        (_, Method::Post) if asks("uploadid") => "commit",
        (_, Method::Post) => "create",
        (_, Method::Get) if asks("uploadid") => "status",
        _ => "other",
    }
}

/// A seed for the spread of pauses.
pub(super) fn random_seed() -> u64 {
    Uuid::new_v4().as_u64_pair().1
}
