//! What kcat's command line, files and environment say, in the client's terms.

use super::options::Options;
use crate::cli::out;
use crate::kafka::{
    Assignor, ClientConfig, ConsumerConfig, Error, GroupConfig, GroupProtocol, Isolation, Partitioner, ProducerConfig,
};

/// What a command has to go by.
pub(super) struct Setting {
    pub(super) options: Options,
    pub(super) client: ClientConfig,
    /// How records are read, also without a group.
    pub(super) group: GroupConfig,
    pub(super) producer: ProducerConfig,
    /// Properties of the last two, as they were given.
    given: Vec<(String, String)>,
}

impl Setting {
    /// Reads property files and properties.
    ///
    /// # Errors
    /// What kcat says after `% ERROR: `.
    pub(super) fn of(options: Options) -> Result<Self, String> {
        let mut setting = Self::new(options);
        for (file, is_asked_for) in setting.files() {
            setting.read(&file, is_asked_for)?;
        }
        for (name, value) in setting.options.properties.clone() {
            setting.set(&name, &value)?;
        }
        if setting.client.client_id == "forebay" {
            "rdkafka".clone_into(&mut setting.client.client_id);
        }
        let producer = &mut setting.producer;
        if producer.transactional_id.is_none() {
            // librdkafka's default: it takes fewer permissions from brokers before 2.8.
            producer.idempotence = producer.idempotence.or(Some(false));
        }
        Ok(setting)
    }

    /// librdkafka's defaults where they are not Java's.
    fn new(options: Options) -> Self {
        let assignors = vec![Assignor::Range, Assignor::RoundRobin];
        let fetch = ConsumerConfig { isolation: Isolation::ReadCommitted, ..ConsumerConfig::default() };
        Self {
            client: ClientConfig::new::<&str>([]),
            group: GroupConfig { protocol: GroupProtocol::Classic { assignors }, fetch, ..GroupConfig::new("") },
            producer: ProducerConfig {
                partitioner: Partitioner::ConsistentRandom,
                delivery_timeout: std::time::Duration::from_secs(300),
                ..ProducerConfig::default()
            },
            given: Vec::new(),
            options,
        }
    }

    /// Talk, at kcat's level: 1 unless -q was given.
    pub(super) fn info(&self, level: i32, line: &str) {
        if self.options.verbosity >= level {
            out::talk(&format!("% {line}"));
        }
    }

    /// Property files in their order, and whether somebody asked for each.
    fn files(&self) -> Vec<(String, bool)> {
        let given = self.options.files.iter().filter(|file| *file != "-" && *file != "none");
        let mut files: Vec<(String, bool)> = given.map(|file| (file.clone(), true)).collect();
        if self.options.files.is_empty() {
            let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
            match variable("KCAT_CONFIG").or_else(|| variable("KAFKACAT_CONFIG")) {
                Some(file) => files.push((file, true)),
                None => files.extend(variable("HOME").map(|home| (format!("{home}/.config/kcat.conf"), false))),
            }
        }
        files
    }

    fn read(&mut self, file: &str, is_asked_for: bool) -> Result<(), String> {
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if is_asked_for => return Err(format!("Failed to open {file}: {error}")),
            Err(_) => return Ok(()),
        };
        if is_asked_for {
            self.info(1, &format!("Reading configuration from file {file}"));
        }
        for (at, line) in text.lines().enumerate() {
            let line = line.trim().replace("\\:", ":").replace("\\=", "=");
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let number = at.saturating_add(1);
            let pair = line.split_once('=').filter(|(name, _)| !name.is_empty());
            let (name, value) = pair.ok_or_else(|| format!("{file}:{number}: expected property=value"))?;
            self.set(name.trim(), value.trim()).map_err(|why| format!("{file}:{number}: {why}"))?;
        }
        Ok(())
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let name = name.strip_prefix("topic.").unwrap_or(name);
        if matches!(name, "bootstrap.servers" | "metadata.broker.list") {
            // Kafka's port goes without saying.
            let with_port = |host: &str| match host.rsplit_once(':') {
                Some((_, port)) if port.parse::<u16>().is_ok() => host.to_owned(),
                _ => format!("{host}:9092"),
            };
            let hosts = value.split(',').map(str::trim).filter(|host| !host.is_empty());
            self.client.bootstrap = hosts.map(with_port).collect();
            return Ok(());
        }
        let said = |error: Error| error.to_string();
        let mut is_known = self.client.set_property(name, value).map_err(said)?;
        // What a topic's own property inherits is the producer's, which is not set apart here.
        if !(name == "compression.codec" && value == "inherit") {
            let is_given = self.group.set_property(name, value).map_err(said)?;
            if is_given | self.producer.set_property(name, value).map_err(said)? {
                self.given.push((name.to_owned(), value.to_owned()));
                is_known = true;
            }
        }
        if !is_known {
            self.info(1, &format!("Configuration property {name} has no effect in forebay"));
        }
        Ok(())
    }

    /// What `-X dump` prints.
    pub(super) fn dump(&self) -> String {
        let mut text = "# Global config\n".to_owned();
        text += &format!("bootstrap.servers = {}\n", self.client.bootstrap.join(","));
        text += &format!("client.id = {}\n", self.client.client_id);
        text += &format!("socket.timeout.ms = {}\n", self.client.request_timeout.as_millis());
        text += &format!("security.protocol = {}\n", self.client.security.protocol.name().to_ascii_lowercase());
        text += "\n# Topic config\n";
        for (name, value) in &self.given {
            text += &format!("{name} = {value}\n");
        }
        text + "\n"
    }
}
