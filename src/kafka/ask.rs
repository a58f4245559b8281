//! Requests to the right broker: one attempt at a time, and how long to go on.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::config::ClientConfig;
use super::error::{Error, ErrorKind};
use super::msg::{ApiKey, Call, CodeClass, ErrorCode, FindCoordinatorCall, MetadataCall};
use super::net::link_task::{CallFault, LinkHandle, PendingCall};
use super::net::now;
use super::net::pool::{ConnectFault, Lane, Pool};
use super::state::address::HostPort;
use super::state::backoff::Backoff;
use super::state::cluster::{Cluster, Place, Topic};
use super::state::link::{LinkFault, TlsKind};
use super::state::login::LoginFault;
use super::state::sasl::CredentialsFault;
use crate::timings;

/// What a client and its consumers share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) config: ClientConfig,
    pool: Pool,
    cluster: Mutex<Cluster>,
    /// Lets one refresh of metadata run at a time; holds when each topic was last asked about.
    refreshed: tokio::sync::Mutex<BTreeMap<Arc<str>, Instant>>,
    /// Numbers consumers and seeds back-off.
    serial: AtomicU64,
}

/// A failed attempt: the error it would be if it were the last one, and whether it need be.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) error: Error,
    pub(crate) again: Again,
}

/// How long one broker is waited for when any other would do.
const ANY_BROKER_PATIENCE_MAX: Duration = Duration::from_secs(10);

/// Whether another attempt makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    /// No.
    No,
    /// Yes, until the deadline for retries.
    Yes,
    /// Yes, but a topic that stays unknown will not come.
    Unknown,
}

impl Attempt {
    pub(crate) const fn last(error: Error) -> Self {
        Self { error, again: Again::No }
    }

    pub(crate) const fn retry(error: Error) -> Self {
        Self { error, again: Again::Yes }
    }

    /// By a broker's code.
    pub(crate) fn code(code: ErrorCode, text: Option<&str>) -> Self {
        let again = match code.class() {
            _ if code == ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => Again::Unknown,
            CodeClass::Retry | CodeClass::Refresh | CodeClass::Coordinator => Again::Yes,
            _ => Again::No,
        };
        Self { error: Error::broker(code, text), again }
    }

    pub(crate) fn map(self, change: impl FnOnce(Error) -> Error) -> Self {
        Self { error: change(self.error), again: self.again }
    }
}

/// How long to go on with one operation.
#[derive(Debug)]
pub(crate) struct Patience {
    started: Instant,
    deadline: Duration,
    unknown_deadline: Duration,
    unknown_since: Option<Instant>,
    attempts: u32,
    backoff: Backoff,
}

impl Patience {
    /// Waits before the next attempt.
    ///
    /// # Errors
    /// The attempt's error, when it is final or time is up.
    pub(crate) async fn after(&mut self, attempt: Attempt) -> Result<(), Error> {
        self.attempts = self.attempts.saturating_add(1);
        let at = now();
        let pause = self.backoff.next_pause();
        let (since, deadline) = match attempt.again {
            Again::No => return Err(attempt.error),
            Again::Yes => {
                self.unknown_since = None;
                (self.started, self.deadline)
            }
            Again::Unknown => (*self.unknown_since.get_or_insert(at), self.unknown_deadline),
        };
        let elapsed = at.saturating_duration_since(since);
        if elapsed.saturating_add(pause) > deadline {
            let elapsed = at.saturating_duration_since(self.started);
            return Err(attempt.error.gave_up(elapsed, self.attempts));
        }
        log::debug!("{}; trying again in {} ms", attempt.error, pause.as_millis());
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

impl Core {
    pub(crate) fn new(config: ClientConfig) -> Result<Self, Error> {
        let bootstrap = config.addresses()?;
        let client_id: Arc<str> = config.client_id.as_str().into();
        let security = config.security.prepare()?;
        let pool = Pool::new(client_id, security, config.connect_timeout, config.request_timeout);
        // Clients that start together should not all begin at the first address. The process id differs between them.
        let seed = u64::from(std::process::id());
        let turn = usize::try_from(seed).unwrap_or(0);
        Ok(Self {
            config,
            pool,
            cluster: Mutex::new(Cluster::new(bootstrap, turn)),
            refreshed: tokio::sync::Mutex::default(),
            serial: AtomicU64::new(seed << 32),
        })
    }

    /// A number no other part of this client has had.
    pub(crate) fn next_serial(&self) -> u64 {
        self.serial.fetch_add(1, Ordering::Relaxed)
    }

    /// Patience for one operation, by the configuration.
    pub(crate) fn patience(&self) -> Patience {
        self.patience_of(self.config.retries_deadline)
    }

    pub(crate) fn patience_of(&self, deadline: Duration) -> Patience {
        let ClientConfig { retry_backoff, retry_backoff_max, unknown_topic_deadline, .. } = self.config;
        Patience {
            started: now(),
            deadline,
            unknown_deadline: unknown_topic_deadline.min(deadline),
            unknown_since: None,
            attempts: 0,
            backoff: Backoff::new(retry_backoff, retry_backoff_max, self.next_serial()),
        }
    }

    /// What is known about the cluster. Never held across an await.
    pub(crate) fn cluster(&self) -> MutexGuard<'_, Cluster> {
        // The machine is consistent after each call; a panic elsewhere does not change that.
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the oldest connection to a place was opened.
    pub(crate) fn connected_ms(&self, place: &Place) -> Option<i64> {
        self.pool.opened_ms(place)
    }

    pub(crate) fn close_lane(&self, lane: Lane) {
        self.pool.close_lane(lane);
    }

    /// How messages name a place: `broker 2 (kafka-2:9092)`, or the configured address.
    pub(crate) fn place_name(&self, place: &Place) -> String {
        match place {
            Place::Bootstrap(address) => address.to_string(),
            Place::Node(node) => match self.cluster().brokers().get(node).map(|b| b.address.clone()) {
                Some(Ok(address)) => format!("broker {node} ({address})"),
                _ => format!("broker {node}"),
            },
        }
    }

    fn address(&self, place: &Place) -> Result<HostPort, String> {
        match place {
            Place::Bootstrap(address) => Ok(address.clone()),
            Place::Node(node) => match self.cluster().brokers().get(node) {
                Some(broker) => broker.address.clone(),
                None => Err(format!("broker {node} is not among the live brokers of the cluster")),
            },
        }
    }

    /// One request to one broker, over its connection for `lane`.
    pub(crate) async fn ask<C: Call>(
        &self,
        lane: Lane,
        place: &Place,
        call: &C,
        patience: Duration,
    ) -> Result<C::Answer, Attempt> {
        let name = self.place_name(place);
        let link = self.link(lane, place, C::API, &name).await?;
        match timed(&link, call, patience).await {
            Ok(answer) => Ok(answer),
            Err(fault) => Err(call_attempt(&fault).map(|e| e.api(C::API).at_broker(name))),
        }
    }

    /// Like [`Core::ask`] for a request that must not be sent twice: once it may have reached the broker, losing the answer
    /// is final and of the kind [`ErrorKind::UnknownOutcome`].
    pub(crate) async fn ask_once<C: Call>(
        &self,
        lane: Lane,
        place: &Place,
        call: &C,
        patience: Duration,
    ) -> Result<C::Answer, Attempt> {
        let name = self.place_name(place);
        let link = self.link(lane, place, C::API, &name).await?;
        match timed(&link, call, patience).await {
            Ok(answer) => Ok(answer),
            Err(fault) => {
                let unknown = matches!(fault, CallFault::Link { sent: true, .. } | CallFault::Decode(_));
                let attempt = call_attempt(&fault).map(|e| e.api(C::API).at_broker(name));
                Err(if unknown { Attempt::last(attempt.error.of_kind(ErrorKind::UnknownOutcome)) } else { attempt })
            }
        }
    }

    /// Hands one request to a broker's connection, without waiting for the answer: requests of one lane and broker that are
    /// begun one after the other reach it in that order. Without `patience`, no answer is expected.
    pub(crate) async fn begin<C: Call>(
        &self,
        lane: Lane,
        place: &Place,
        call: &C,
        patience: Option<Duration>,
    ) -> Result<PendingCall, Attempt> {
        let name = self.place_name(place);
        let link = self.link(lane, place, C::API, &name).await?;
        link.begin(call, patience).await.map_err(|fault| call_attempt(&fault).map(|e| e.api(C::API).at_broker(name)))
    }

    /// The attempt that a fault of a request makes which was begun at `place`.
    pub(crate) fn fault_attempt(&self, place: &Place, api: ApiKey, fault: &CallFault) -> Attempt {
        call_attempt(fault).map(|e| e.api(api).at_broker(self.place_name(place)))
    }

    async fn link(&self, lane: Lane, place: &Place, api: ApiKey, name: &str) -> Result<LinkHandle, Attempt> {
        let outcome = match self.address(place) {
            Ok(address) => self.pool.link(lane, place.clone(), &address).await,
            Err(text) => Err(ConnectFault::Address(text)),
        };
        outcome.map_err(|fault| connect_attempt(place, &fault).map(|e| e.api(api).at_broker(name)))
    }

    /// One request that any broker can answer: known brokers first, then the configured addresses, until one answers.
    /// The error names every place that was tried.
    pub(crate) async fn ask_any<C: Call>(&self, call: &C) -> Result<(Place, C::Answer), Attempt> {
        let candidates = self.cluster().candidates();
        // Brokers answer these from memory. One that hangs must not use up the time that the others need.
        let patience = self.config.request_timeout.min(ANY_BROKER_PATIENCE_MAX);
        let mut failures: Vec<Attempt> = Vec::new();
        let mut causes = Vec::new();
        for place in candidates {
            match self.ask(Lane::Control, &place, call, patience).await {
                Ok(answer) => return Ok((place, answer)),
                Err(attempt) => {
                    causes.push(attempt.error.to_string());
                    failures.push(attempt);
                }
            }
        }
        Err(no_broker(C::API, failures, &causes))
    }

    /// Asks the cluster about `topic` now, unless someone else has since `since`.
    pub(crate) async fn refresh(&self, topic: &Arc<str>, since: Instant) -> Result<(), Attempt> {
        let mut refreshed = self.refreshed.lock().await;
        if refreshed.get(topic).is_some_and(|at| *at >= since) {
            return Ok(());
        }
        let asked = now();
        self.metadata(Some(vec![topic.clone()])).await?;
        refreshed.insert(topic.clone(), asked);
        Ok(())
    }

    /// Asks the cluster about topics, or all of them.
    pub(crate) async fn metadata(&self, topics: Option<Vec<Arc<str>>>) -> Result<super::msg::MetadataAnswer, Attempt> {
        let (_, answer) = self.ask_any(&MetadataCall { topics }).await?;
        self.cluster().handle_metadata(&answer);
        Ok(answer)
    }

    /// What is known about a topic; asks if nothing is, or if `since` is given.
    pub(crate) async fn topic(&self, name: &Arc<str>, since: Option<Instant>) -> Result<Topic, Attempt> {
        let known = self.cluster().topic(name).filter(|topic| topic.error.is_ok()).cloned();
        if let (Some(topic), None) = (known, since) {
            return Ok(topic);
        }
        self.refresh(name, since.unwrap_or_else(now)).await?;
        let known = self.cluster().topic(name).cloned();
        let Some(topic) = known else {
            let error = Error::new(ErrorKind::UnknownTopic, "the broker left it out of its answer");
            return Err(Attempt { error: error.api(ApiKey::Metadata).topic(name), again: Again::Unknown });
        };
        match topic.error {
            ErrorCode::NONE => Ok(topic),
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => {
                let error = Error::new(ErrorKind::UnknownTopic, "the cluster has no such topic").topic(name);
                Err(Attempt { error, again: Again::Unknown })
            }
            code => Err(Attempt::code(code, None).map(|e| e.api(ApiKey::Metadata).topic(name))),
        }
    }

    /// The coordinator of a group; asks if it is not known.
    pub(crate) async fn coordinator(&self, group: &Arc<str>) -> Result<Place, Attempt> {
        if let Some(node) = self.cluster().coordinator(group) {
            return Ok(Place::Node(node));
        }
        let (place, answer) = self.ask_any(&FindCoordinatorCall { group: group.clone() }).await?;
        if !answer.error.is_ok() {
            let name = self.place_name(&place);
            let attempt = Attempt::code(answer.error, answer.error_message.as_deref());
            return Err(attempt.map(|e| e.api(ApiKey::FindCoordinator).group(group).at_broker(name)));
        }
        self.cluster().handle_coordinator(group, answer.node, &answer.host, answer.port);
        Ok(Place::Node(answer.node))
    }

    /// One request to the coordinator of a group. A connection that fails makes the next attempt look for it again.
    pub(crate) async fn ask_coordinator<C: Call>(
        &self,
        group: &Arc<str>,
        call: &C,
    ) -> Result<(Place, C::Answer), Attempt> {
        let place = self.coordinator(group).await?;
        match self.ask(Lane::Group, &place, call, self.config.request_timeout).await {
            Ok(answer) => Ok((place, answer)),
            Err(attempt) => {
                self.cluster().forget_coordinator(group);
                Err(attempt.map(|e| e.group(group)))
            }
        }
    }

    /// The attempt that a code from a coordinator makes; forgets the coordinator when it has moved.
    pub(crate) fn coordinator_code(&self, group: &Arc<str>, place: &Place, api: ApiKey, code: ErrorCode) -> Attempt {
        if code.class() == CodeClass::Coordinator {
            self.cluster().forget_coordinator(group);
        }
        let name = self.place_name(place);
        Attempt::code(code, None).map(|e| e.api(api).group(group).at_broker(name))
    }
}

/// One request, whose time is taken.
async fn timed<C: Call>(link: &LinkHandle, call: &C, patience: Duration) -> Result<C::Answer, CallFault> {
    let begin = now();
    let outcome = link.call(call, patience).await;
    timings::record("kafka", C::API.name(), now().saturating_duration_since(begin));
    outcome
}

fn connect_attempt(place: &Place, fault: &ConnectFault) -> Attempt {
    // An advertised listener that cannot be reached is the most frequent mistake in a cluster's set-up.
    let text = match (place, fault) {
        (Place::Node(_), ConnectFault::Dial(_)) => format!("{fault} (the address that the broker advertises)"),
        _ => fault.to_string(),
    };
    match fault {
        ConnectFault::Handshake(fault @ (LinkFault::NoCommonVersion(_) | LinkFault::Negotiation(_))) => {
            Attempt::last(Error::new(ErrorKind::Unsupported, fault.to_string()))
        }
        ConnectFault::Handshake(LinkFault::TimedOut { .. }) => Attempt::retry(Error::new(ErrorKind::Connect, text)),
        ConnectFault::Handshake(fault) => link_attempt(fault, text),
        _ => Attempt::retry(Error::new(ErrorKind::Connect, text)),
    }
}

fn call_attempt(fault: &CallFault) -> Attempt {
    let text = fault.to_string();
    match fault {
        CallFault::Link { fault, .. } => link_attempt(fault, text),
        CallFault::Decode(_) => Attempt::last(Error::new(ErrorKind::Decode, text)),
        CallFault::Encode(_) => Attempt::last(Error::new(ErrorKind::Config, text)),
        CallFault::Version(_) => Attempt::last(Error::new(ErrorKind::Unsupported, text)),
    }
}

/// What the end of a connection means: who we are and whom we trust does not change by trying again.
fn link_attempt(fault: &LinkFault, text: String) -> Attempt {
    match fault {
        LinkFault::TimedOut { .. } => Attempt::retry(Error::new(ErrorKind::Timeout, text)),
        LinkFault::Login(fault) if matches!(**fault, LoginFault::NoCredentials(CredentialsFault::Unavailable(_))) => {
            Attempt::retry(Error::new(ErrorKind::Connect, text))
        }
        LinkFault::Login(fault) if fault.is_passing() => Attempt::retry(Error::new(ErrorKind::Auth, text)),
        LinkFault::Login(fault) if fault.is_ours() => Attempt::last(Error::new(ErrorKind::Config, text)),
        LinkFault::Login(_) | LinkFault::Tls(TlsKind::Refused, _) => Attempt::last(Error::new(ErrorKind::Auth, text)),
        LinkFault::Tls(TlsKind::Untrusted | TlsKind::NotTls, _) => Attempt::last(Error::new(ErrorKind::Config, text)),
        // Damage of the framing ends a connection like a cable does; a new one may be better.
        _ => Attempt::retry(Error::new(ErrorKind::Connect, text)),
    }
}

/// Nobody answered: one error that names every place.
fn no_broker(api: ApiKey, failures: Vec<Attempt>, causes: &[String]) -> Attempt {
    let again = if failures.iter().any(|attempt| attempt.again != Again::No) { Again::Yes } else { Again::No };
    let mut failures = failures;
    match (failures.pop(), causes) {
        (Some(only), [_]) => only,
        (Some(last), _) => {
            let text = format!("no broker answered: {}", causes.join("; "));
            Attempt { error: Error::new(last.error.kind(), text).api(api), again }
        }
        (None, _) => Attempt::last(Error::new(ErrorKind::Config, "no broker address is configured").api(api)),
    }
}
