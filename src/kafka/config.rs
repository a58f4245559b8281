//! How a client and a consumer are set up.

use std::time::Duration;

use super::error::{Error, ErrorKind};
use super::msg::Isolation;
use super::security::SecurityConfig;
use super::state::address::HostPort;
use super::state::fetch::OnLost;

/// How to reach a cluster, and how patient to be with it. Start with [`ClientConfig::new`] and change fields.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Some brokers of the cluster as `host:port`; the rest is learnt from them. IPv6 addresses in brackets.
    pub bootstrap: Vec<String>,
    /// Shows up in the brokers' logs, quotas and group listings. Default: `forebay`.
    pub client_id: String,
    /// How long one address may take to accept a connection. Default: 10 s.
    pub connect_timeout: Duration,
    /// How long a broker may take to answer a request. A fetch gets its own waiting time on top. Default: 30 s.
    pub request_timeout: Duration,
    /// The pause after a first failure; it doubles from there. Default: 100 ms.
    pub retry_backoff: Duration,
    /// The longest pause between attempts. Default: 1 s.
    pub retry_backoff_max: Duration,
    /// How long leader changes, lost connections and other passing faults are retried. Default: 60 s.
    pub retries_deadline: Duration,
    /// How long [`Client::connect`](super::Client::connect) keeps trying the addresses. Default: 10 s.
    pub bootstrap_deadline: Duration,
    /// How long a topic or partition may be unknown: one that was just created takes a moment to be known everywhere.
    /// Default: 5 s.
    pub unknown_topic_deadline: Duration,
    /// TLS and login. Default: neither.
    pub security: SecurityConfig,
}

impl ClientConfig {
    /// The defaults, with these addresses. A text with commas is several addresses, as in Kafka's `bootstrap.servers`.
    pub fn new<S: AsRef<str>>(bootstrap: impl IntoIterator<Item = S>) -> Self {
        let mut addresses = Vec::new();
        for text in bootstrap {
            let parts = text.as_ref().split(',').map(str::trim).filter(|part| !part.is_empty());
            addresses.extend(parts.map(str::to_owned));
        }
        Self {
            bootstrap: addresses,
            client_id: "forebay".to_owned(),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            retry_backoff: Duration::from_millis(100),
            retry_backoff_max: Duration::from_secs(1),
            retries_deadline: Duration::from_secs(60),
            bootstrap_deadline: Duration::from_secs(10),
            unknown_topic_deadline: Duration::from_secs(5),
            security: SecurityConfig::default(),
        }
    }

    /// Sets a property by the name that Kafka's Java client or librdkafka gives it. Returns whether the property is one of
    /// the client's; those of [`ConsumerConfig::set_property`] and unknown ones are left alone.
    ///
    /// Security: `security.protocol`, `sasl.mechanism`, `sasl.jaas.config` or `sasl.username` and `sasl.password`,
    /// `sasl.oauthbearer.token.endpoint.url` with a `file:` URL, or with an `https:` one and `sasl.oauthbearer.client.id`,
    /// `sasl.oauthbearer.client.secret`, `sasl.oauthbearer.scope` ([`OidcConfig`](super::OidcConfig)); `ssl.ca.location`, `ssl.certificate.location` and
    /// `ssl.key.location`, or Java's `ssl.truststore.*` and `ssl.keystore.*` with PEM stores; and one of our own,
    /// `forebay.sasl.allow.cleartext.secrets` ([`SecurityConfig::allow_cleartext_secrets`]).
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a value that makes no sense; [`ErrorKind::Unsupported`] for a value that asks for what this
    /// version cannot do, such as `sasl.mechanism=GSSAPI`. Both name property and value, except for secrets.
    pub fn set_property(&mut self, name: &str, value: &str) -> Result<bool, Error> {
        match name {
            "client.id" => value.clone_into(&mut self.client_id),
            "bootstrap.servers" | "metadata.broker.list" => self.bootstrap = Self::new([value]).bootstrap,
            "request.timeout.ms" | "socket.timeout.ms" => self.request_timeout = millis(name, value)?,
            "socket.connection.setup.timeout.ms" => self.connect_timeout = millis(name, value)?,
            "retry.backoff.ms" => self.retry_backoff = millis(name, value)?,
            "retry.backoff.max.ms" => self.retry_backoff_max = millis(name, value)?,
            "default.api.timeout.ms" => self.retries_deadline = millis(name, value)?,
            _ => return self.security.set_property(name, value),
        }
        Ok(true)
    }

    /// The addresses, read.
    pub(crate) fn addresses(&self) -> Result<Vec<HostPort>, Error> {
        if self.bootstrap.is_empty() {
            return Err(Error::new(
                ErrorKind::Config,
                "no broker address is configured; at least one host:port is needed",
            ));
        }
        let parse = |text: &String| {
            HostPort::parse(text).map_err(|e| Error::new(ErrorKind::Config, format!("broker address {e}")))
        };
        self.bootstrap.iter().map(parse).collect()
    }
}

/// How a consumer fetches. Start with [`ConsumerConfig::default`] and change fields.
#[derive(Clone, Debug)]
pub struct ConsumerConfig {
    /// Whether records of open and aborted transactions are wanted. Default: read_uncommitted, as in Kafka.
    pub isolation: Isolation,
    /// Bytes of records in one answer of one broker. A single batch that is larger still comes. Default: 4 MiB.
    pub fetch_bytes_max: usize,
    /// Bytes of records of one partition in one answer. Default: 1 MiB.
    pub partition_bytes_max: usize,
    /// How long a broker may wait for `bytes_min`. Default: 500 ms.
    pub wait_ms_max: u32,
    /// A broker answers as soon as it has this many bytes. Default: 1.
    pub bytes_min: usize,
    /// Bytes that may be held at a time, over all brokers and partitions: answers that are asked for, that wait, or that the
    /// caller has not dropped yet, and the records that are decompressed from them. A single batch beyond it still comes.
    /// Each broker is asked for an equal share (three eighths over the number of brokers), at most `fetch_bytes_max`.
    /// Default: 16 MiB.
    pub buffer_bytes_max: usize,
    /// The rack we are in; brokers from 2.4 on then name a replica in it, if they are set up to (KIP-392). Default: none.
    pub rack: String,
    /// What to do when records at the position are gone. Default: fail, naming the range that is lost.
    pub on_lost: OnLost,
}

impl Default for ConsumerConfig {
    fn default() -> Self {
        Self {
            isolation: Isolation::ReadUncommitted,
            fetch_bytes_max: 4 * 1024 * 1024,
            partition_bytes_max: 1024 * 1024,
            wait_ms_max: 500,
            bytes_min: 1,
            buffer_bytes_max: 16 * 1024 * 1024,
            rack: String::new(),
            on_lost: OnLost::Fail,
        }
    }
}

impl ConsumerConfig {
    /// Sets a property by the name that Kafka's Java client or librdkafka gives it. Returns whether the property is one of
    /// the consumer's.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a value that makes no sense; it names property and value.
    pub fn set_property(&mut self, name: &str, value: &str) -> Result<bool, Error> {
        match name {
            "isolation.level" => {
                self.isolation = match value.to_ascii_lowercase().as_str() {
                    "read_uncommitted" => Isolation::ReadUncommitted,
                    "read_committed" => Isolation::ReadCommitted,
                    _ => return Err(bad_value(name, value, "read_uncommitted or read_committed")),
                }
            }
            "fetch.max.bytes" => self.fetch_bytes_max = bytes(name, value)?,
            "max.partition.fetch.bytes" | "fetch.message.max.bytes" => self.partition_bytes_max = bytes(name, value)?,
            "fetch.max.wait.ms" | "fetch.wait.max.ms" => {
                self.wait_ms_max = value.trim().parse().map_err(|_| bad_value(name, value, "milliseconds"))?;
            }
            "fetch.min.bytes" => self.bytes_min = bytes(name, value)?,
            "auto.offset.reset" => {
                self.on_lost = match value.to_ascii_lowercase().as_str() {
                    "none" | "error" => OnLost::Fail,
                    "earliest" | "smallest" | "beginning" => OnLost::Earliest,
                    "latest" | "largest" | "end" => OnLost::Latest,
                    _ => return Err(bad_value(name, value, "none, earliest or latest")),
                }
            }
            "client.rack" => value.clone_into(&mut self.rack),
            // CRCs are always checked.
            "check.crcs" => {}
            _ => return Ok(false),
        }
        Ok(true)
    }
}

pub(super) fn millis(name: &str, value: &str) -> Result<Duration, Error> {
    value.trim().parse().map(Duration::from_millis).map_err(|_| bad_value(name, value, "milliseconds"))
}

pub(super) fn bytes(name: &str, value: &str) -> Result<usize, Error> {
    let number: Option<i32> = value.trim().parse().ok();
    number.and_then(|n| usize::try_from(n).ok()).ok_or_else(|| bad_value(name, value, "a number of bytes"))
}

pub(super) fn bad_value(name: &str, value: &str, wanted: &str) -> Error {
    Error::new(ErrorKind::Config, format!("property {name}={value}: {wanted} expected"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn addresses_may_come_in_one_text() {
        let config = ClientConfig::new(["a:1, b:2", "c:3"]);
        assert_eq!(config.bootstrap, ["a:1", "b:2", "c:3"]);
        assert!(ClientConfig::new([""]).addresses().unwrap_err().to_string().contains("no broker address"));
        assert_eq!(ClientConfig::new(["a"]).addresses().unwrap_err().kind(), ErrorKind::Config);
    }

    #[test]
    fn properties_of_both_vendors_are_taken_and_others_left() {
        let mut client = ClientConfig::new(["a:1"]);
        assert!(client.set_property("request.timeout.ms", "1234").unwrap());
        assert_eq!(client.request_timeout, Duration::from_millis(1234));
        assert!(!client.set_property("fetch.min.bytes", "1").unwrap());
        assert!(client.set_property("security.protocol", "plaintext").unwrap());
        let mut consumer = ConsumerConfig::default();
        assert!(consumer.set_property("isolation.level", "read_committed").unwrap());
        assert_eq!(consumer.isolation, Isolation::ReadCommitted);
        assert!(consumer.set_property("auto.offset.reset", "largest").unwrap());
        assert_eq!(consumer.on_lost, OnLost::Latest);
        assert!(consumer.set_property("client.rack", "r1").unwrap());
        assert_eq!(consumer.rack, "r1");
        assert!(consumer.set_property("fetch.min.bytes", "-1").unwrap_err().to_string().contains("fetch.min.bytes=-1"));
        assert!(!consumer.set_property("no.such.property", "1").unwrap());
    }
}
