//! Configuration of topics, brokers and groups.

use crate::kafka::ask::Attempt;
use crate::kafka::client::Client;
use crate::kafka::error::{Error, ErrorKind};
use crate::kafka::msg::{
    AlterConfigsCall, ApiKey, Call, ConfigEntryAnswer, DescribeConfigsCall, IncrementalAlterConfigsCall, NamedResult,
};
use crate::kafka::net::pool::Lane;
use crate::kafka::state::cluster::Place;

/// Something that has a configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConfigResource {
    /// A topic, by name.
    Topic(String),
    /// A broker, by node id.
    Broker(i32),
    /// What all brokers take unless one has its own value; from Kafka 1.1 on.
    BrokerDefaults,
    /// The loggers of a broker (KIP-412).
    BrokerLogger(i32),
    /// A subscription of client metrics (KIP-714).
    ClientMetrics(String),
    /// A group (KIP-848).
    Group(String),
}

impl ConfigResource {
    fn code(&self) -> (i8, String) {
        match self {
            Self::Topic(name) => (2, name.clone()),
            Self::Broker(node) => (4, node.to_string()),
            Self::BrokerDefaults => (4, String::new()),
            Self::BrokerLogger(node) => (8, node.to_string()),
            Self::ClientMetrics(name) => (16, name.clone()),
            Self::Group(name) => (32, name.clone()),
        }
    }

    /// The one broker that answers for it; any for the others.
    const fn node(&self) -> Option<i32> {
        match self {
            Self::Broker(node) | Self::BrokerLogger(node) => Some(*node),
            _ => None,
        }
    }

    fn about(&self) -> String {
        match self {
            Self::Topic(name) => format!("topic {name:?}"),
            Self::Broker(node) => format!("broker {node}"),
            Self::BrokerDefaults => "the brokers' defaults".to_owned(),
            Self::BrokerLogger(node) => format!("loggers of broker {node}"),
            Self::ClientMetrics(name) => format!("client metrics {name:?}"),
            Self::Group(name) => format!("group {name:?}"),
        }
    }
}

/// Where a value comes from (KIP-226).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigSource {
    /// Set on the topic.
    Topic,
    /// Set on this broker while it runs.
    Broker,
    /// Set for all brokers while they run.
    BrokerDefaults,
    /// From the broker's properties file.
    File,
    /// Kafka's own default.
    Default,
    /// Set on the logger.
    Logger,
    /// Set on the client metrics subscription.
    ClientMetrics,
    /// Set on the group.
    Group,
    /// Something newer, by its number.
    Other(i8),
}

impl ConfigSource {
    const fn of(code: i8) -> Self {
        match code {
            1 => Self::Topic,
            2 => Self::Broker,
            3 => Self::BrokerDefaults,
            4 => Self::File,
            5 => Self::Default,
            6 => Self::Logger,
            7 => Self::ClientMetrics,
            8 => Self::Group,
            other => Self::Other(other),
        }
    }

    /// Kafka's name, such as `DYNAMIC_TOPIC_CONFIG`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Topic => "DYNAMIC_TOPIC_CONFIG",
            Self::Broker => "DYNAMIC_BROKER_CONFIG",
            Self::BrokerDefaults => "DYNAMIC_DEFAULT_BROKER_CONFIG",
            Self::File => "STATIC_BROKER_CONFIG",
            Self::Default => "DEFAULT_CONFIG",
            Self::Logger => "DYNAMIC_BROKER_LOGGER_CONFIG",
            Self::ClientMetrics => "CLIENT_METRICS_CONFIG",
            Self::Group => "GROUP_CONFIG",
            Self::Other(_) => "UNKNOWN",
        }
    }
}

/// One entry of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    /// Its name.
    pub name: String,
    /// Its value; none when it is not set, or a secret.
    pub value: Option<String>,
    /// Where the value comes from; none from brokers before 1.1.
    pub source: Option<ConfigSource>,
    /// Whether this is Kafka's own default, or, from brokers before 1.1, simply not set here.
    pub is_default: bool,
    /// Whether it is a secret.
    pub is_sensitive: bool,
    /// Whether it cannot be changed.
    pub read_only: bool,
    /// The values that stand behind it, in order: name, value, source.
    pub synonyms: Vec<(String, Option<String>, ConfigSource)>,
}

/// A change to one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigChange {
    /// Name and new value.
    Set(String, String),
    /// Back to the default.
    Delete(String),
    /// Adds a value to a list; from Kafka 2.3 on.
    Append(String, String),
    /// Takes a value from a list; from Kafka 2.3 on.
    Subtract(String, String),
}

impl Client {
    /// The configuration of one thing, in the broker's order; `keys` asks for some entries only.
    ///
    /// # Errors
    /// [`Broker`](ErrorKind::Broker) with what the broker says; [`UnknownTopic`](ErrorKind::UnknownTopic);
    /// [`Auth`](ErrorKind::Auth); or the last cause when the deadline for retries passes.
    pub async fn describe_configs(
        &self,
        resource: &ConfigResource,
        keys: Option<&[String]>,
    ) -> Result<Vec<ConfigEntry>, Error> {
        let (resource_type, resource_name) = resource.code();
        let call = DescribeConfigsCall { resource_type, resource_name, keys: keys.map(<[String]>::to_vec) };
        let mut patience = self.core.patience();
        loop {
            let attempt = match self.ask_about(resource, &call).await {
                Ok(answer) if answer.error.is_ok() => return Ok(answer.entries.into_iter().map(entry).collect()),
                Ok(answer) => Attempt::code(answer.error, answer.error_message.as_deref()),
                Err(attempt) => attempt,
            };
            patience.after(attempt.map(|e| e.api(ApiKey::DescribeConfigs).about(&resource.about()))).await?;
        }
    }

    /// Changes entries of one configuration. Brokers before 2.3 can only replace a whole configuration: there the entries
    /// that are set are read first and written again with the changes, so that two such changes at once may lose one.
    ///
    /// # Errors
    /// As [`Client::describe_configs`]; [`Unsupported`](ErrorKind::Unsupported) for lists on brokers before 2.3, and where
    /// secrets would have to be written again.
    pub async fn alter_configs(&self, resource: &ConfigResource, changes: &[ConfigChange]) -> Result<(), Error> {
        let (resource_type, resource_name) = resource.code();
        let call = IncrementalAlterConfigsCall {
            resource_type,
            resource_name,
            changes: changes.iter().map(operation).collect(),
        };
        match self.alter(resource, &call).await {
            Err(error) if error.kind() == ErrorKind::Unsupported => self.replace_configs(resource, changes).await,
            outcome => outcome,
        }
    }

    async fn replace_configs(&self, resource: &ConfigResource, changes: &[ConfigChange]) -> Result<(), Error> {
        let is_own = |entry: &ConfigEntry| match entry.source {
            None => !entry.is_default,
            Some(ConfigSource::Topic) => matches!(resource, ConfigResource::Topic(_)),
            Some(ConfigSource::Broker) => matches!(resource, ConfigResource::Broker(_)),
            Some(ConfigSource::BrokerDefaults) => matches!(resource, ConfigResource::BrokerDefaults),
            Some(_) => false,
        };
        let mut entries = self.describe_configs(resource, None).await?;
        entries.retain(|entry| is_own(entry) && !entry.read_only);
        for change in changes {
            let (ConfigChange::Set(name, _) | ConfigChange::Delete(name)) = change else {
                let text = "this broker cannot add to lists or take from them (that came with Kafka 2.3)";
                return Err(Error::new(ErrorKind::Unsupported, text).api(ApiKey::AlterConfigs));
            };
            entries.retain(|entry| entry.name != *name);
        }
        if let Some(secret) = entries.iter().find(|entry| entry.is_sensitive) {
            let text =
                format!("{} is a secret that would be lost: this broker replaces whole configurations", secret.name);
            return Err(Error::new(ErrorKind::Unsupported, text).api(ApiKey::AlterConfigs));
        }
        let mut entries: Vec<_> = entries.into_iter().map(|entry| (entry.name, entry.value)).collect();
        entries.extend(changes.iter().filter_map(|change| match change {
            ConfigChange::Set(name, value) => Some((name.clone(), Some(value.clone()))),
            _ => None,
        }));
        let (resource_type, resource_name) = resource.code();
        self.alter(resource, &AlterConfigsCall { resource_type, resource_name, entries }).await
    }

    async fn alter<C: Call<Answer = NamedResult>>(&self, resource: &ConfigResource, call: &C) -> Result<(), Error> {
        let mut patience = self.core.patience();
        loop {
            let attempt = match self.ask_about(resource, call).await {
                Ok(answer) if answer.error.is_ok() => return Ok(()),
                Ok(answer) => Attempt::code(answer.error, answer.error_message.as_deref()),
                Err(attempt) => attempt,
            };
            patience.after(attempt.map(|e| e.api(C::API).about(&resource.about()))).await?;
        }
    }

    async fn ask_about<C: Call>(&self, resource: &ConfigResource, call: &C) -> Result<C::Answer, Attempt> {
        match resource.node() {
            Some(node) => self.core.ask(Lane::Write, &Place::Node(node), call, self.core.config.request_timeout).await,
            None => self.core.ask_any(call).await.map(|(_, answer)| answer),
        }
    }
}

fn entry(answer: ConfigEntryAnswer) -> ConfigEntry {
    let ConfigEntryAnswer { name, value, read_only, source, is_default, is_sensitive, synonyms } = answer;
    let synonyms = synonyms.into_iter().map(|(name, value, source)| (name, value, ConfigSource::of(source))).collect();
    ConfigEntry { name, value, source: source.map(ConfigSource::of), is_default, is_sensitive, read_only, synonyms }
}

fn operation(change: &ConfigChange) -> (String, i8, Option<String>) {
    match change {
        ConfigChange::Set(name, value) => (name.clone(), 0, Some(value.clone())),
        ConfigChange::Delete(name) => (name.clone(), 1, None),
        ConfigChange::Append(name, value) => (name.clone(), 2, Some(value.clone())),
        ConfigChange::Subtract(name, value) => (name.clone(), 3, Some(value.clone())),
    }
}
