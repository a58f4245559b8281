//! Brokers of a cluster, looked up in ZooKeeper. Nothing but this lookup goes there.

use std::time::Duration;

use crate::cli::Failure;
use crate::cli::failure::code;
#[cfg(not(feature = "zookeeper"))]
use crate::cli::out;
use crate::kafka::SecurityProtocol;

/// The brokers' addresses for `--zookeeper HOST:PORT,.../CHROOT`, on listeners of the given protocol.
#[cfg(feature = "zookeeper")]
pub(super) async fn brokers(
    address: &str,
    protocol: SecurityProtocol,
    limit: Duration,
) -> Result<Vec<String>, Failure> {
    let silent = || {
        let why = format!("--zookeeper {address}: no answer from ZooKeeper within {} s", limit.as_secs());
        Failure::new(code::UNAVAILABLE, why)
            .advise("is it running, and on this port? or give a broker: --bootstrap-server HOST:9092")
    };
    let found = tokio::time::timeout(limit, look_up(address, protocol)).await.map_err(|_| silent())??;
    if found.is_empty() {
        let why = format!("--zookeeper {address}: no broker is registered there");
        let advice = "is the path after the port the brokers' zookeeper.connect, and are they running?";
        return Err(Failure::new(code::UNAVAILABLE, why).advise(advice));
    }
    Ok(found)
}

#[cfg(feature = "zookeeper")]
async fn look_up(address: &str, protocol: SecurityProtocol) -> Result<Vec<String>, Failure> {
    use zookeeper_client::{Client, Error};

    let failed = |code: u8, error: &Error| {
        Failure::new(code, format!("--zookeeper {address}: {error}"))
            .advise("is ZooKeeper running there? or give a broker: --bootstrap-server HOST:9092")
    };
    let client = Client::connector().with_session_timeout(Duration::from_secs(10)).connect(address).await;
    let client = client.map_err(|error| match error {
        Error::BadArguments(why) => {
            Failure::new(code::USAGE, format!("--zookeeper {address}: {why}")).advise("HOST:PORT/CHROOT")
        }
        error => failed(code::UNAVAILABLE, &error),
    })?;
    let nodes = match client.list_children("/brokers/ids").await {
        Ok(nodes) => nodes,
        Err(Error::NoNode) => return Ok(Vec::new()),
        Err(error) => return Err(failed(code::UNAVAILABLE, &error)),
    };
    let mut found = Vec::new();
    for node in nodes {
        match client.get_data(&format!("/brokers/ids/{node}")).await {
            Ok((registration, _)) => found.extend(endpoint(&registration, protocol)),
            // It has gone in between.
            Err(Error::NoNode) => {}
            Err(error) => return Err(failed(code::UNAVAILABLE, &error)),
        }
    }
    found.sort();
    Ok(found)
}

/// Without the client for ZooKeeper: the broker that most often runs beside it.
#[cfg(not(feature = "zookeeper"))]
#[expect(clippy::unused_async, reason = "the same door as with the feature")]
pub(super) async fn brokers(
    address: &str,
    _protocol: SecurityProtocol,
    _limit: Duration,
) -> Result<Vec<String>, Failure> {
    let hosts = address.split('/').next().unwrap_or_default();
    let mut found = Vec::new();
    for host in hosts.split(',').filter(|host| !host.is_empty()) {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        found.push(format!("{name}:9092"));
    }
    if found.is_empty() {
        return Err(Failure::new(code::USAGE, format!("--zookeeper {address}: no host")).advise("HOST:PORT/CHROOT"));
    }
    out::talk(&format!(
        "Note: this build does not ask ZooKeeper for brokers; trying {} (--bootstrap-server names others).",
        found.join(",")
    ));
    Ok(found)
}

/// The address in a broker's registration (`/brokers/ids/N`): of the listener with this protocol, or, in the oldest form, the
/// plaintext one.
#[cfg(feature = "zookeeper")]
fn endpoint(registration: &[u8], protocol: SecurityProtocol) -> Option<String> {
    let registration: serde_json::Value = serde_json::from_slice(registration).ok()?;
    let wanted = protocol.name();
    let protocols = registration.get("listener_security_protocol_map");
    let endpoints = registration.get("endpoints").and_then(|list| list.as_array());
    let of_listener = endpoints.into_iter().flatten().filter_map(|endpoint| endpoint.as_str()).find_map(|endpoint| {
        let (listener, address) = endpoint.split_once("://")?;
        let protocol = protocols.and_then(|map| map.get(listener)).and_then(|name| name.as_str()).unwrap_or(listener);
        (protocol == wanted).then(|| address.to_owned())
    });
    of_listener.or_else(|| {
        let host = registration.get("host")?.as_str()?;
        let port = registration.get("port")?.as_u64().filter(|port| *port > 0)?;
        (wanted == "PLAINTEXT").then(|| format!("{host}:{port}"))
    })
}

#[cfg(all(test, feature = "zookeeper"))]
mod tests {
    use super::*;

    #[test]
    fn the_listener_of_the_protocol_is_taken() {
        // As 1.0.1 writes it.
        let registration = br#"{"listener_security_protocol_map":{"INSIDE":"PLAINTEXT","OUTSIDE":"SASL_SSL"},
            "endpoints":["INSIDE://h1:9092","OUTSIDE://h1.example:9093"],"jmx_port":-1,"host":null,"timestamp":"1","port":-1,"version":4}"#;
        assert_eq!(endpoint(registration, SecurityProtocol::Plaintext).as_deref(), Some("h1:9092"));
        assert_eq!(endpoint(registration, SecurityProtocol::SaslSsl).as_deref(), Some("h1.example:9093"));
        let old = br#"{"jmx_port":-1,"host":"h2","timestamp":"1","port":9092,"version":1}"#;
        assert_eq!(endpoint(old, SecurityProtocol::Plaintext).as_deref(), Some("h2:9092"));
        assert_eq!(endpoint(old, SecurityProtocol::Ssl), None);
        assert_eq!(endpoint(b"nonsense", SecurityProtocol::Plaintext), None);
    }
}
