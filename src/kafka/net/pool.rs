//! Connections to brokers, made when they are first needed and shared until they end.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::TcpStream;

use crate::kafka::state::address::HostPort;
use crate::kafka::state::cluster::Place;
use crate::kafka::state::link::LinkFault;

use super::dial::{DialFault, dial};
use super::link_task::LinkHandle;
use super::login::LoginSource;
#[cfg(feature = "tls")]
use super::tls::TlsClient;

/// What a connection is for. A broker serves the requests of one connection one after the other, so what may wait long
/// (a fetch) has a connection of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// Short requests.
    Control,
    /// Requests to the coordinator of a group, which wait for its offsets topic.
    Group,
    /// Joining and heartbeats of one member of a group: a join waits for all other members.
    Member(u64),
    /// Records to append and topics to create, which wait for replicas.
    Write,
    /// The fetches of one consumer.
    Fetch(u64),
    /// The records of one producer.
    Produce(u64),
}

/// Why there is no connection.
#[derive(Clone, Debug)]
pub(crate) enum ConnectFault {
    /// Nothing answered at the address.
    Dial(DialFault),
    /// Something answered, but TLS, the agreement on versions or the login failed.
    Handshake(LinkFault),
    /// The broker advertises an address that cannot be used.
    Address(String),
}

impl fmt::Display for ConnectFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
        match self {
            Self::Dial(fault) => fault.fmt(f),
            // What a TLS port does with a plaintext client, and the other way round.
            Self::Handshake(LinkFault::Closed | LinkFault::Io(ConnectionReset | ConnectionAborted | BrokenPipe, _)) => {
                write!(
                    f,
                    "connected, but the broker closed the connection at the first request; \
                     does this port expect TLS, or is it not a Kafka broker?"
                )
            }
            Self::Handshake(fault) => write!(f, "connected, but {fault}"),
            Self::Address(text) => f.write_str(text),
        }
    }
}

/// What protects the connections of one client.
#[derive(Clone, Debug, Default)]
pub(crate) struct Security {
    /// None: the connection is not encrypted.
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<TlsClient>,
    /// None: no login.
    pub(crate) login: Option<LoginSource>,
}

/// The connections of one client.
#[derive(Debug)]
pub(crate) struct Pool {
    client_id: Arc<str>,
    security: Security,
    connect_patience: Duration,
    request_patience: Duration,
    slots: Mutex<BTreeMap<(Lane, Place), Arc<Slot>>>,
}

/// One connection, or the place for it. The lock is held while connecting, so that callers who want the same connection
/// wait for one attempt instead of each making their own.
#[derive(Debug, Default)]
struct Slot {
    link: tokio::sync::Mutex<Option<(HostPort, LinkHandle)>>,
}

impl Pool {
    pub(crate) const fn new(
        client_id: Arc<str>,
        security: Security,
        connect_patience: Duration,
        request_patience: Duration,
    ) -> Self {
        Self { client_id, security, connect_patience, request_patience, slots: Mutex::new(BTreeMap::new()) }
    }

    /// The connection to `place` for `lane`, made if there is none or if the broker now has another address. Several brokers
    /// may share an address, so connections are kept by broker and not by address.
    ///
    /// # Errors
    /// [`ConnectFault`] of the one attempt that is made.
    pub(crate) async fn link(&self, lane: Lane, place: Place, address: &HostPort) -> Result<LinkHandle, ConnectFault> {
        let slot = self.slots().entry((lane, place)).or_default().clone();
        let mut held = slot.link.lock().await;
        if let Some((known, link)) = held.as_ref()
            && known == address
            && !link.is_closed()
        {
            return Ok(link.clone());
        }
        *held = None;
        let stream = dial(address, self.connect_patience).await.map_err(ConnectFault::Dial)?;
        let link = self.secure(address, stream).await.map_err(ConnectFault::Handshake)?;
        log::debug!("connected to {address}");
        *held = Some((address.clone(), link.clone()));
        Ok(link)
    }

    /// TLS if it is configured, versions, login.
    async fn secure(&self, address: &HostPort, stream: TcpStream) -> Result<LinkHandle, LinkFault> {
        let (client_id, login) = (self.client_id.clone(), self.security.login.clone());
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.security.tls {
            let stream = tls.wrap(address, stream, self.connect_patience).await?;
            return LinkHandle::open(stream, client_id, self.request_patience, login).await;
        }
        log::trace!("{address} is reached without TLS");
        LinkHandle::open(stream, client_id, self.request_patience, login).await
    }

    /// When the oldest connection to a place that stands was opened, in milliseconds since 1970. One that is being made is passed over.
    pub(crate) fn opened_ms(&self, place: &Place) -> Option<i64> {
        let opened = |slot: &Slot| {
            let held = slot.link.try_lock().ok()?;
            held.as_ref().filter(|(_, link)| !link.is_closed()).map(|(_, link)| link.opened_ms())
        };
        self.slots().iter().filter(|((_, at), _)| at == place).filter_map(|(_, slot)| opened(slot)).min()
    }

    /// Closes every connection of a lane, once the requests that hold it are done.
    pub(crate) fn close_lane(&self, lane: Lane) {
        self.slots().retain(|(other, _), _| *other != lane);
    }

    fn slots(&self) -> std::sync::MutexGuard<'_, BTreeMap<(Lane, Place), Arc<Slot>>> {
        // A panic while the map was locked cannot have left it half-changed.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
