//! `forebay kafka configs`: what kafka-configs.sh does, for topics, brokers, groups, client metrics and users of SCRAM.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::{Cluster, ClusterArgs, failure, print_json};
use crate::cli::failure::code;
use crate::cli::{Failure, out};
use crate::kafka::{ConfigChange, ConfigEntry, ConfigResource, ConfigSource, ScramMechanism, Secret};

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("action").required(true).args(["describe", "alter"]))]
#[command(after_help = "\
Examples:
  forebay kafka configs --bootstrap-server h:9092 --describe --topic t
  forebay kafka configs --bootstrap-server h:9092 --alter --entity-type topics --entity-name t --add-config retention.ms=3600000
  forebay kafka configs --bootstrap-server h:9092 --alter --user alice --add-config 'SCRAM-SHA-256=[iterations=8192,password=...]'")]
pub(super) struct ConfigsArgs {
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
    /// Show the settings
    #[arg(long)]
    describe: bool,
    /// Change settings
    #[arg(long)]
    alter: bool,
    /// topics, brokers, broker-loggers, groups, client-metrics or users
    #[arg(long, value_name = "TYPE")]
    entity_type: Option<String>,
    /// Its name, or a broker's id
    #[arg(long, value_name = "NAME")]
    entity_name: Option<String>,
    /// What all brokers take unless one has its own setting
    #[arg(long)]
    entity_default: bool,
    /// As --entity-type topics --entity-name
    #[arg(long, value_name = "NAME")]
    topic: Option<String>,
    /// As --entity-type brokers --entity-name
    #[arg(long, value_name = "ID")]
    broker: Option<i32>,
    /// As --entity-type brokers --entity-default
    #[arg(long)]
    broker_defaults: bool,
    /// As --entity-type groups --entity-name
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// As --entity-type users --entity-name
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// With --describe: defaults, too
    #[arg(long)]
    all: bool,
    /// Settings to make: k1=v1,k2=[v1,v2]
    #[arg(long, value_name = "SETTINGS")]
    add_config: Option<String>,
    /// Settings to take back: k1,k2
    #[arg(long, value_name = "KEYS")]
    delete_config: Option<String>,
    /// No effect
    #[arg(long, hide = true)]
    force: bool,
}

/// Whose settings.
enum Entity {
    Resource(ConfigResource, &'static str, String),
    /// A user, or all of them.
    User(Option<String>),
}

impl ConfigsArgs {
    /// The definition of what `-o json` prints.
    pub(super) const fn schema(&self) -> &'static str {
        if self.alter { "configs-alter" } else { "configs-describe" }
    }

    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let adding = self.add_config.as_deref().map(pairs).transpose().map_err(|why| Failure::new(code::USAGE, why))?;
        let adding = adding.unwrap_or_default();
        let deleting: Vec<String> =
            self.delete_config.iter().flat_map(|keys| keys.split(',')).map(|key| key.trim().to_owned()).collect();
        if self.alter && adding.is_empty() && deleting.is_empty() {
            return Err(
                Failure::new(code::USAGE, "--alter: what?").advise("--add-config KEY=VALUE, or --delete-config KEY")
            );
        }
        let cluster = self.cluster.connect().await?;
        let entities = self.entities(&cluster).await?;
        if self.describe {
            return self.describe(&cluster, entities).await;
        }
        let mut altered = Vec::new();
        for entity in entities {
            match entity {
                Entity::User(Some(user)) => {
                    alter_user(&cluster, &user, &adding, &deleting).await?;
                    altered.push(json!({"type": "user", "name": user}));
                }
                Entity::User(None) => {
                    return Err(Failure::new(code::USAGE, "--alter: which user?").advise("--user NAME"));
                }
                Entity::Resource(resource, kind, name) => {
                    let mut changes: Vec<ConfigChange> = deleting.iter().cloned().map(ConfigChange::Delete).collect();
                    changes.extend(adding.iter().map(|(key, value)| ConfigChange::Set(key.clone(), value.clone())));
                    cluster.client.alter_configs(&resource, &changes).await.map_err(|error| failure(&error))?;
                    if !cluster.json {
                        out::data(&format!("Completed updating {}config for {kind} {name}.\n", default_word(&name)));
                    }
                    altered.push(json!({"type": kind, "name": name}));
                }
            }
        }
        if cluster.json {
            print_json(&json!({"altered": altered}));
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn entities(&self, cluster: &Cluster) -> Result<Vec<Entity>, Failure> {
        let named = |kind: &'static str, name: &String| Ok(vec![entity(kind, Some(name))?]);
        match (&self.topic, self.broker, &self.group, &self.user) {
            (Some(topic), ..) => return named("topic", topic),
            (_, Some(broker), ..) => return named("broker", &broker.to_string()),
            (_, _, Some(group), _) => return named("group", group),
            (.., Some(user)) => return named("user", user),
            _ => {}
        }
        if self.broker_defaults {
            return Ok(vec![entity("broker", None)?]);
        }
        let Some(kind) = &self.entity_type else {
            return Err(Failure::new(code::USAGE, "whose settings?")
                .advise("--topic, --broker, --group, --user, or --entity-type"));
        };
        let kind = match kind.as_str() {
            "topics" | "topic" => "topic",
            "brokers" | "broker" => "broker",
            "broker-loggers" | "broker-logger" => "broker-logger",
            "groups" | "group" => "group",
            "client-metrics" => "client-metric",
            "users" | "user" => "user",
            other => {
                let why =
                    format!("--entity-type {other}: topics, brokers, broker-loggers, groups, client-metrics or users");
                return Err(Failure::new(code::USAGE, why));
            }
        };
        if self.entity_name.is_some() || self.entity_default || kind == "user" {
            return Ok(vec![entity(kind, self.entity_name.as_ref())?]);
        }
        if self.alter {
            return Err(Failure::new(code::USAGE, "--alter: which one?").advise("--entity-name NAME"));
        }
        // All of them.
        match kind {
            "topic" => {
                let topics = cluster.client.topics().await.map_err(|error| failure(&error))?;
                topics.iter().map(|topic| entity("topic", Some(&topic.name.to_string()))).collect()
            }
            "broker" | "broker-logger" => {
                let found = cluster.client.cluster().await.map_err(|error| failure(&error))?;
                found.brokers.iter().map(|broker| entity(kind, Some(&broker.node.to_string()))).collect()
            }
            _ => Err(Failure::new(code::USAGE, "which one?").advise("--entity-name NAME")),
        }
    }

    async fn describe(&self, cluster: &Cluster, entities: Vec<Entity>) -> Result<ExitCode, Failure> {
        let mut rows = Vec::new();
        for entity in entities {
            match entity {
                Entity::User(user) => {
                    let wanted: Vec<String> = user.into_iter().collect();
                    let users = cluster.client.scram_users(&wanted).await.map_err(|error| failure(&error))?;
                    for (user, credentials) in users {
                        let shown: Vec<String> = (credentials.iter())
                            .map(|(mechanism, iterations)| format!("{}=iterations={iterations}", mechanism.name()))
                            .collect();
                        if !cluster.json {
                            out::data(&format!(
                                "SCRAM credential configs for user-principal '{user}' are {}\n",
                                shown.join(", ")
                            ));
                        }
                        let credentials: Vec<Value> = (credentials.iter())
                            .map(|(mechanism, iterations)| json!({"mechanism": mechanism.name(), "iterations": iterations}))
                            .collect();
                        rows.push(json!({"type": "user", "name": user, "credentials": credentials}));
                    }
                }
                Entity::Resource(resource, kind, name) => {
                    let entries =
                        cluster.client.describe_configs(&resource, None).await.map_err(|error| failure(&error))?;
                    let shown: Vec<&ConfigEntry> =
                        entries.iter().filter(|entry| self.all || is_dynamic(entry)).collect();
                    if !cluster.json {
                        out::data(&text(kind, &name, &shown, self.all));
                    }
                    rows.push(json!({"type": kind, "name": name, "configs": shown.iter().map(|entry| as_json(entry)).collect::<Vec<_>>()}));
                }
            }
        }
        if cluster.json {
            print_json(&json!(rows));
        }
        Ok(ExitCode::SUCCESS)
    }
}

const fn default_word(name: &str) -> &'static str {
    if name.is_empty() { "default " } else { "" }
}

fn entity(kind: &'static str, name: Option<&String>) -> Result<Entity, Failure> {
    let node = |name: &str| {
        name.parse::<i32>()
            .map_err(|_| Failure::new(code::USAGE, format!("a broker's name is its number, not {name:?}")))
    };
    let resource = match (kind, name) {
        ("user", name) => return Ok(Entity::User(name.cloned())),
        ("topic", Some(name)) => ConfigResource::Topic(name.clone()),
        ("broker", Some(name)) => ConfigResource::Broker(node(name)?),
        ("broker", None) => ConfigResource::BrokerDefaults,
        ("broker-logger", Some(name)) => ConfigResource::BrokerLogger(node(name)?),
        ("group", Some(name)) => ConfigResource::Group(name.clone()),
        ("client-metric", Some(name)) => ConfigResource::ClientMetrics(name.clone()),
        _ => return Err(Failure::new(code::USAGE, format!("{kind}s have no defaults"))),
    };
    Ok(Entity::Resource(resource, kind, name.cloned().unwrap_or_default()))
}

/// Set while the cluster runs, on this thing or on all brokers.
const fn is_dynamic(entry: &ConfigEntry) -> bool {
    match entry.source {
        Some(source) => !matches!(source, ConfigSource::Default | ConfigSource::File),
        None => !entry.is_default,
    }
}

/// As ConfigCommand prints it.
fn text(kind: &str, name: &str, entries: &[&ConfigEntry], all: bool) -> String {
    let mut text = match (name.is_empty(), all) {
        (true, _) => format!("Default configs for {kind}s in the cluster are:\n"),
        (false, true) => format!("All configs for {kind} {name} are:\n"),
        (false, false) => format!("Dynamic configs for {kind} {name} are:\n"),
    };
    for entry in entries {
        let value = entry.value.as_deref().unwrap_or("null");
        let synonyms: Vec<String> = (entry.synonyms.iter())
            .map(|(name, value, source)| format!("{}:{name}={}", source.name(), value.as_deref().unwrap_or("null")))
            .collect();
        text += &format!(
            "  {}={value} sensitive={} synonyms={{{}}}\n",
            entry.name,
            entry.is_sensitive,
            synonyms.join(", ")
        );
    }
    text
}

fn as_json(entry: &ConfigEntry) -> Value {
    json!({
        "name": entry.name, "value": entry.value, "source": entry.source.map(ConfigSource::name),
        "default": entry.is_default, "sensitive": entry.is_sensitive, "readOnly": entry.read_only,
    })
}

/// `k1=v1,k2=[v1,v2]`: commas within brackets part nothing.
fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut pairs = Vec::new();
    let (mut depth, mut start) = (0_usize, 0_usize);
    let ends = text.char_indices().map(|(at, c)| (at, Some(c))).chain([(text.len(), None)]);
    for (at, c) in ends {
        match c {
            Some('[') => depth = depth.saturating_add(1),
            Some(']') => depth = depth.saturating_sub(1),
            Some(',') | None if depth == 0 || c.is_none() => {
                let part = text.get(start..at).unwrap_or_default();
                start = at.saturating_add(1);
                if part.trim().is_empty() {
                    continue;
                }
                let (key, value) = part.split_once('=').ok_or_else(|| format!("{part:?} is not KEY=VALUE"))?;
                let value = value.trim();
                let inner = value.strip_prefix('[').and_then(|value| value.strip_suffix(']')).unwrap_or(value);
                pairs.push((key.trim().to_owned(), inner.to_owned()));
            }
            _ => {}
        }
    }
    Ok(pairs)
}

async fn alter_user(
    cluster: &Cluster,
    user: &str,
    adding: &[(String, String)],
    deleting: &[String],
) -> Result<(), Failure> {
    let mechanism = |name: &str| {
        ScramMechanism::parse(name).ok_or_else(|| {
            Failure::new(code::USAGE, format!("{name}: users have SCRAM-SHA-256 and SCRAM-SHA-512 only"))
        })
    };
    for name in deleting {
        let deleted = cluster.client.delete_scram_user(user, mechanism(name)?).await;
        deleted.map_err(|error| failure(&error))?;
    }
    for (name, value) in adding {
        let (mut iterations, mut password) = (4096_u32, None);
        // The password comes last and may hold commas.
        let (before, after) = value.split_once("password=").map_or((value.as_str(), None), |(a, b)| (a, Some(b)));
        if let Some(after) = after {
            password = Some(Secret::new(after));
        }
        for part in before.split(',').filter(|part| !part.trim().is_empty()) {
            match part.trim().split_once('=') {
                Some(("iterations", number)) if number.parse::<u32>().is_ok() => {
                    iterations = number.parse().unwrap_or(iterations);
                }
                _ => return Err(Failure::new(code::USAGE, format!("{name}: [iterations=N,password=...] expected"))),
            }
        }
        let Some(password) = password else {
            return Err(Failure::new(code::USAGE, format!("{name}: a password is needed"))
                .advise("[iterations=N,password=...]"));
        };
        let set = cluster.client.set_scram_user(user, mechanism(name)?, iterations, &password).await;
        set.map_err(|error| failure(&error))?;
    }
    if !cluster.json {
        out::data(&format!("Completed updating config for user {user}.\n"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_hold_commas_together() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(pairs("a=1,b=[x,y],c=").map(|list| list.len()), Ok(3));
        assert_eq!(pairs("a=1, b=[x,y]"), Ok(vec![pair("a", "1"), pair("b", "x,y")]));
        assert_eq!(
            pairs("SCRAM-SHA-256=[iterations=8192,password=a=b]"),
            Ok(vec![pair("SCRAM-SHA-256", "iterations=8192,password=a=b")])
        );
        assert!(pairs("a").is_err());
    }
}
