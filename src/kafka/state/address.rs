//! A host and a port, as users write them and brokers advertise them.

use std::fmt;

/// Where a broker listens: a host name or IP address, and a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    host: String,
    port: u16,
}

impl HostPort {
    /// A host, without brackets around an IPv6 address, and a port.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self { host: host.into(), port }
    }

    /// An address as a broker advertises it.
    ///
    /// # Errors
    /// A sentence when the host is empty or the port is none.
    pub fn advertised(host: &str, port: i32) -> Result<Self, String> {
        match u16::try_from(port) {
            Ok(port) if port != 0 && !host.is_empty() => Ok(Self::new(host, port)),
            _ => Err(format!("advertised address \"{host}\" port {port} cannot be used")),
        }
    }

    /// Reads `host:port`, `1.2.3.4:port`, `[::1]:port`, each also with a listener name before it (`PLAINTEXT://host:port`).
    ///
    /// # Errors
    /// A sentence that names the text and what is missing. There is no default port: Kafka has none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bare = text.trim();
        let bare = bare.split_once("://").map_or(bare, |(_, rest)| rest);
        let Some((host, port)) = bare.rsplit_once(':') else {
            return Err(format!("\"{text}\" has no port; write host:port"));
        };
        let host = match host.strip_prefix('[') {
            Some(inner) => inner.strip_suffix(']').ok_or_else(|| format!("\"{text}\" lacks a closing bracket"))?,
            None if host.contains(':') => {
                return Err(format!("\"{text}\" looks like an IPv6 address; write [address]:port"));
            }
            None => host,
        };
        if host.is_empty() {
            return Err(format!("\"{text}\" has no host; write host:port"));
        }
        match port.parse() {
            Ok(port) if port != 0 => Ok(Self::new(host, port)),
            _ => Err(format!("\"{text}\": \"{port}\" is not a port (1 to 65535)")),
        }
    }

    /// The host, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for HostPort {
    /// `host:port`, with brackets around an IPv6 address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn addresses_are_read_as_users_write_them() {
        assert_eq!(HostPort::parse("kafka-1:9092"), Ok(HostPort::new("kafka-1", 9092)));
        assert_eq!(HostPort::parse(" 10.0.0.1:9092 "), Ok(HostPort::new("10.0.0.1", 9092)));
        assert_eq!(HostPort::parse("[::1]:9092"), Ok(HostPort::new("::1", 9092)));
        assert_eq!(HostPort::parse("PLAINTEXT://h:1"), Ok(HostPort::new("h", 1)));
        assert_eq!(HostPort::parse("[::1]:9092").unwrap().to_string(), "[::1]:9092");
    }

    #[test]
    fn what_is_missing_is_named() {
        for (text, part) in [
            ("kafka", "no port"),
            (":9092", "no host"),
            ("h:0", "not a port"),
            ("h:70000", "not a port"),
            ("::1:9092", "IPv6"),
            ("[::1:9092", "bracket"),
        ] {
            let error = HostPort::parse(text).unwrap_err();
            assert!(error.contains(part) && error.contains(text), "{text}: {error}");
        }
        assert!(HostPort::advertised("", 9092).is_err());
        assert!(HostPort::advertised("h", -1).is_err());
    }
}
