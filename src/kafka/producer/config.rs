//! How a producer is set up.

use std::time::Duration;

use crate::kafka::config::{ClientConfig, bad_value, bytes, millis};
use crate::kafka::error::{Error, ErrorKind};
use crate::kafka::record::Codec;
use crate::kafka::state::produce::{Partitioner, ProduceOptions};

/// Who must have a batch before it counts as written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acks {
    /// Nobody says anything: fast, and nothing is known of a record but that it was handed to the connection.
    None,
    /// The leader alone.
    Leader,
    /// All replicas that are in sync.
    #[default]
    All,
}

impl Acks {
    /// The protocol's number.
    pub(super) const fn number(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Leader => 1,
            Self::All => -1,
        }
    }
}

/// A property: name and value.
pub type Property<'a> = (&'a str, &'a str);

/// How a producer writes. Start with [`ProducerConfig::default`] and change fields, or set properties by the names that Kafka's
/// own clients know with [`ProducerConfig::set_property`].
#[derive(Clone, Debug)]
pub struct ProducerConfig {
    /// Who must have a record before it counts as written. Default: all in-sync replicas.
    pub acks: Acks,
    /// Whether each record is written exactly once and in order; takes [`Acks::All`]. Without it, a record whose answer was
    /// lost is written again, and each partition has one batch on its way at a time. Default: whenever `acks` allows it.
    pub idempotence: Option<bool>,
    /// The transactional id: records are written in transactions, and a producer that comes later with the same id takes
    /// over. Takes idempotence. Default: none.
    pub transactional_id: Option<String>,
    /// How long a transaction may stay open before the coordinator aborts it. Default: 60 s.
    pub transaction_timeout: Duration,
    /// How batches are compressed. zstd takes brokers from 2.1 on. Default: not at all.
    pub codec: Codec,
    /// Bytes of records, before compression, at which a batch is full. Default: 128 KiB.
    pub batch_bytes: usize,
    /// How long a batch waits for more records. Default: 5 ms, as in Java since 4.0.
    pub linger: Duration,
    /// Bytes of records that may wait or be on their way; beyond, [`Producer::send`](super::Producer::send) waits.
    /// Default: 32 MiB.
    pub buffer_bytes_max: usize,
    /// Bytes of one request, and so of one record. Default: 1 MiB.
    pub request_bytes_max: usize,
    /// How long a record may take until it is written, retries and all. Default: 2 min.
    pub delivery_timeout: Duration,
    /// How long [`Producer::send`](super::Producer::send) waits for room or a topic's metadata, and a call of a transaction
    /// for its coordinator. Default: 60 s.
    pub max_block: Duration,
    /// Requests without an answer, per broker; at most 5 with idempotence. Default: 5.
    pub in_flight_max: usize,
    /// How often a batch is sent again. Default: until [`ProducerConfig::delivery_timeout`].
    pub retries_max: u32,
    /// Where records without a partition go. Default: as in Java.
    pub partitioner: Partitioner,
}

impl Default for ProducerConfig {
    fn default() -> Self {
        Self {
            acks: Acks::All,
            idempotence: None,
            transactional_id: None,
            transaction_timeout: Duration::from_secs(60),
            codec: Codec::None,
            batch_bytes: 128 * 1024,
            linger: Duration::from_millis(5),
            buffer_bytes_max: 32 * 1024 * 1024,
            request_bytes_max: 1024 * 1024,
            delivery_timeout: Duration::from_secs(120),
            max_block: Duration::from_secs(60),
            in_flight_max: 5,
            retries_max: u32::MAX,
            partitioner: Partitioner::default(),
        }
    }
}

impl ProducerConfig {
    /// A configuration from properties by the names that Kafka's Java client or librdkafka gives them. Returns the properties
    /// that are not the producer's: the client's ([`ClientConfig::set_property`]), and unknown ones.
    ///
    /// # Errors
    /// As [`ProducerConfig::set_property`].
    pub fn from_properties<'a>(
        properties: impl IntoIterator<Item = Property<'a>>,
    ) -> Result<(Self, Vec<Property<'a>>), Error> {
        let mut config = Self::default();
        let mut rest = Vec::new();
        for (name, value) in properties {
            if !config.set_property(name, value)? {
                rest.push((name, value));
            }
        }
        Ok((config, rest))
    }

    /// Sets a property by the name that Kafka's Java client or librdkafka gives it. Returns whether the property is one of
    /// the producer's. As in Java, `acks` other than `all` switches idempotence off, unless `enable.idempotence` asks for it.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a value that makes no sense; it names property and value.
    pub fn set_property(&mut self, name: &str, value: &str) -> Result<bool, Error> {
        let trimmed = value.trim();
        match name {
            "acks" | "request.required.acks" => {
                self.acks = match trimmed {
                    "all" | "-1" => Acks::All,
                    "1" => Acks::Leader,
                    "0" => Acks::None,
                    _ => return Err(bad_value(name, value, "all, 1 or 0")),
                };
            }
            "enable.idempotence" => self.idempotence = Some(boolean(name, trimmed)?),
            "transactional.id" => self.transactional_id = (!value.is_empty()).then(|| value.to_owned()),
            "transaction.timeout.ms" => self.transaction_timeout = millis(name, value)?,
            "compression.type" | "compression.codec" => {
                let codec = Codec::ALL.into_iter().find(|codec| codec.name() == trimmed);
                self.codec = codec.ok_or_else(|| bad_value(name, value, "none, gzip, snappy, lz4 or zstd"))?;
            }
            "batch.size" => self.batch_bytes = bytes(name, value)?,
            "linger.ms" | "queue.buffering.max.ms" => {
                // librdkafka takes fractions.
                let ms: Option<f64> = trimmed.parse().ok().filter(|ms| (0.0..1e9).contains(ms));
                let ms = ms.ok_or_else(|| bad_value(name, value, "milliseconds"))?;
                self.linger = Duration::from_secs_f64(ms / 1000.0);
            }
            "buffer.memory" => self.buffer_bytes_max = bytes(name, value)?,
            "queue.buffering.max.kbytes" => self.buffer_bytes_max = bytes(name, value)?.saturating_mul(1024),
            "max.request.size" | "message.max.bytes" => self.request_bytes_max = bytes(name, value)?,
            "delivery.timeout.ms" | "message.timeout.ms" => self.delivery_timeout = millis(name, value)?,
            "max.block.ms" => self.max_block = millis(name, value)?,
            "max.in.flight.requests.per.connection" | "max.in.flight" => self.in_flight_max = bytes(name, value)?,
            "retries" | "message.send.max.retries" => {
                self.retries_max = trimmed.parse().map_err(|_| bad_value(name, value, "a number"))?;
            }
            "partitioner" | "partitioner.class" => {
                let known = Partitioner::parse(trimmed);
                self.partitioner = known.ok_or_else(|| bad_value(name, value, PARTITIONERS))?;
            }
            "partitioner.ignore.keys" => {
                if boolean(name, trimmed)? && self.partitioner == Partitioner::Sticky {
                    self.partitioner = Partitioner::UniformSticky;
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The machine's settings.
    pub(super) fn options(&self, client: &ClientConfig, seed: u64) -> Result<ProduceOptions, Error> {
        let wrong = |text: &str| Err(Error::new(ErrorKind::Config, text));
        if !self.codec.is_available() {
            let text = format!("this build cannot write {}", self.codec);
            return Err(Error::new(ErrorKind::Unsupported, text));
        }
        let idempotent = self.idempotence.unwrap_or(self.acks == Acks::All);
        if self.transactional_id.is_some() && !idempotent {
            return wrong("transactional.id needs enable.idempotence=true and acks=all");
        }
        if idempotent && self.acks != Acks::All {
            return wrong("enable.idempotence=true needs acks=all");
        }
        if self.in_flight_max == 0 || (idempotent && self.in_flight_max > 5) {
            return wrong("max.in.flight.requests.per.connection is 1 to 5 with idempotence, and at least 1 without");
        }
        if self.request_bytes_max > crate::limits::FRAME_BYTES_MAX {
            return wrong("max.request.size is beyond what a broker reads");
        }
        Ok(ProduceOptions {
            acks: self.acks.number(),
            idempotent,
            transactional_id: self.transactional_id.as_deref().map(Into::into),
            codec: self.codec,
            batch_bytes: self.batch_bytes,
            linger: self.linger,
            buffer_bytes_max: self.buffer_bytes_max,
            request_bytes_max: self.request_bytes_max,
            delivery_timeout: self.delivery_timeout,
            request_timeout_ms: i32::try_from(client.request_timeout.as_millis()).unwrap_or(i32::MAX),
            in_flight_max: self.in_flight_max.min(crate::limits::PRODUCE_IN_FLIGHT_MAX),
            retries_max: self.retries_max,
            partitioner: self.partitioner,
            retry_backoff: client.retry_backoff,
            retry_backoff_max: client.retry_backoff_max,
            metadata_age_max: Duration::from_secs(300),
            seed,
        })
    }
}

const PARTITIONERS: &str = "a partitioner of Java's (RoundRobinPartitioner, UniformStickyPartitioner) or of librdkafka's \
                            (random, consistent, consistent_random, murmur2, murmur2_random, fnv1a, fnv1a_random)";

fn boolean(name: &str, value: &str) -> Result<bool, Error> {
    match value {
        _ if value.eq_ignore_ascii_case("true") => Ok(true),
        _ if value.eq_ignore_ascii_case("false") => Ok(false),
        _ => Err(bad_value(name, value, "true or false")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn options(properties: &[(&str, &str)]) -> Result<ProduceOptions, Error> {
        let (config, rest) = ProducerConfig::from_properties(properties.iter().copied())?;
        assert_eq!(rest, []);
        config.options(&ClientConfig::new(["a:1"]), 0)
    }

    #[test]
    fn properties_of_both_vendors_are_taken_and_others_left() {
        let java =
            [("acks", "1"), ("compression.type", "lz4"), ("max.request.size", "5"), ("delivery.timeout.ms", "7")];
        let librdkafka = [
            ("request.required.acks", "1"),
            ("compression.codec", "lz4"),
            ("message.max.bytes", "5"),
            ("message.timeout.ms", "7"),
        ];
        for properties in [java, librdkafka] {
            let options = options(&properties).unwrap();
            assert_eq!((options.acks, options.idempotent, options.codec), (1, false, Codec::Lz4));
            assert_eq!((options.request_bytes_max, options.delivery_timeout), (5, Duration::from_millis(7)));
        }
        let (_, rest) = ProducerConfig::from_properties([("linger.ms", "0.5"), ("client.id", "x")]).unwrap();
        assert_eq!(rest, [("client.id", "x")]);
    }

    #[test]
    fn what_excludes_each_other_is_refused() {
        for properties in [
            &[("acks", "1"), ("enable.idempotence", "true")][..],
            &[("enable.idempotence", "true"), ("acks", "0")],
            &[("enable.idempotence", "false"), ("transactional.id", "x")],
            &[("acks", "1"), ("transactional.id", "x")],
            &[("max.in.flight", "6")],
            &[("acks", "2")],
            &[("compression.type", "brotli")],
            &[("partitioner", "best")],
            &[("linger.ms", "-1")],
        ] {
            assert_eq!(options(properties).unwrap_err().kind(), ErrorKind::Config, "{properties:?}");
        }
        assert!(options(&[("acks", "0"), ("max.in.flight", "1000000")]).is_ok());
        assert_eq!(options(&[]).unwrap().acks, -1);
    }
}
