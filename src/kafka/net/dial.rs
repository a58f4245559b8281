//! From an address to a stream of bytes.
//!
//! Everything above takes any [`Stream`]: this one, or TLS around it ([`super::tls`]).

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use crate::kafka::state::address::HostPort;

/// What a link runs over.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for T {}

/// Why no connection was made: every address that was tried, and why it failed.
#[derive(Clone, Debug)]
pub(crate) struct DialFault {
    address: HostPort,
    failures: Arc<[(Option<SocketAddr>, String)]>,
}

impl fmt::Display for DialFault {
    /// `cannot connect to kafka-1:9092: 10.0.0.1:9092: connection refused; 10.0.0.2:9092: no answer within 10000 ms`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot connect to {}: ", self.address)?;
        for (n, (address, cause)) in self.failures.iter().enumerate() {
            if n > 0 {
                f.write_str("; ")?;
            }
            match address {
                // Repeating `127.0.0.1:9092` after itself says nothing.
                Some(address) if address.to_string() != self.address.to_string() => write!(f, "{address}: {cause}")?,
                _ => f.write_str(cause)?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for DialFault {}

/// Connects to the first address of a name that accepts, trying all of them in the resolver's order
/// (`client.dns.lookup=use_all_dns_ips` in Kafka's own clients). Each gets `patience`.
///
/// # Errors
/// [`DialFault`] with every address and its cause.
pub(crate) async fn dial(address: &HostPort, patience: Duration) -> Result<TcpStream, DialFault> {
    let fault = |failures: Vec<_>| DialFault { address: address.clone(), failures: failures.into() };
    let late = || format!("no answer within {} ms", patience.as_millis());
    let found = match timeout(patience, lookup_host((address.host(), address.port()))).await {
        Ok(Ok(found)) => found,
        Ok(Err(e)) => return Err(fault(vec![(None, format!("cannot look the name up: {}", io_text(&e)))])),
        Err(_) => return Err(fault(vec![(None, format!("cannot look the name up: {}", late()))])),
    };
    let mut failures = Vec::new();
    // A name with more addresses than that is a mistake; the first ones are as good as any.
    for address in found.take(ADDRESSES_PER_NAME_MAX) {
        match timeout(patience, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Requests are written whole: waiting to fill packets only adds delay. Where it cannot be set, slower is fine.
                stream.set_nodelay(true).ok();
                return Ok(stream);
            }
            Ok(Err(e)) => failures.push((Some(address), io_text(&e))),
            Err(_) => failures.push((Some(address), late())),
        }
    }
    if failures.is_empty() {
        failures.push((None, "the name has no address".to_owned()));
    }
    Err(fault(failures))
}

/// The system's message without its error number, in lower case: `connection refused`.
pub(crate) fn io_text(e: &io::Error) -> String {
    let text = e.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

/// Addresses of one name that are tried.
const ADDRESSES_PER_NAME_MAX: usize = 32;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_refused_connection_names_the_address_and_the_cause() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let fault = dial(&HostPort::new("127.0.0.1", port), Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(fault.to_string(), format!("cannot connect to 127.0.0.1:{port}: connection refused"));
    }

    #[tokio::test]
    async fn every_address_of_a_name_is_tried() {
        // `localhost` is 127.0.0.1 and mostly ::1 too; only one of them listens.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        dial(&HostPort::new("localhost", port), Duration::from_secs(5)).await.unwrap();
    }
}
