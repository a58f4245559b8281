//! Data sources: the names a job uses for "where and as whom", and what stands behind them.
//!
//! A name is looked up in the data source tables, then, for [`DEFAULT_NAME`] only, in odpscmd's `odps_config.ini` and in the
//! environment. The first of them that knows the name is taken whole: keys of two sources are never mixed, so that a job
//! cannot land in the wrong project by accident. Keys written in the job itself go over it.

mod kafka;
mod keys;
mod profile;

use std::collections::BTreeMap;
use std::fmt;

use super::env;
use super::json::Node;
use super::report::{JobError, JobErrors, Place, Report};
use super::secret::Secret;
use super::section::Section;
use super::suggest::nearest;
use super::toml;
pub(super) use kafka::{KafkaSource, find_kafka, no_kerberos, split_servers};
use keys::env_keys;
pub(super) use keys::{OdpsKeys, Origin, complete};

/// The name that DataWorks gives to a workspace's own MaxCompute project.
pub const DEFAULT_NAME: &str = "odps_first";

/// How a connection proves who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Identity {
    /// By the access key of the connection.
    #[default]
    AccessKey,
    /// By a bearer token.
    Bearer(Secret),
    /// By the RAM role of the ECS instance.
    EcsRole {
        /// The role's name; `None` = whichever the instance has.
        role: Option<String>,
        /// Another metadata service than the instance's own.
        endpoint: Option<String>,
        /// Ask the metadata service without a token if it gives none.
        allow_v1: bool,
    },
    /// By temporary keys from this address. It may hold a secret.
    Uri(Secret),
}

/// A MaxCompute project with everything needed to call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OdpsConnection {
    /// The project's name.
    pub project: String,
    /// The REST endpoint, with `http://` or `https://`.
    pub endpoint: String,
    /// The Tunnel endpoint; `None` = ask the service (discovery).
    pub tunnel_endpoint: Option<String>,
    /// How it proves who asks.
    pub identity: Identity,
    /// AccessKey id; empty unless the identity is an access key. So are the next two.
    pub access_id: String,
    /// AccessKey secret.
    pub access_key: Secret,
    /// Token of a temporary (STS) key.
    pub security_token: Option<Secret>,
    /// Schema of a three-tier project.
    pub schema: Option<String>,
    /// Tunnel quota name.
    pub quota: Option<String>,
    /// Region, for signatures of version 4.
    pub region: Option<String>,
    /// Where all this came from, for the log; never a secret.
    pub source: String,
}

/// Everything a data source name may be looked up in.
#[derive(Clone, Default)]
pub struct Sources {
    /// Tables of `--datasources` and of forebay's configuration.
    pub datasources: Datasources,
    /// odpscmd's configuration, when one was given.
    pub odps_config: Option<OdpsConfig>,
    /// The environment: for [`DEFAULT_NAME`], and for `${NAME}` inside data source tables.
    pub env: BTreeMap<String, String>,
}

/// Of the environment the names alone: any value may be a secret.
impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { datasources, odps_config, env } = self;
        let env: Vec<&String> = env.keys().collect();
        let mut shown = f.debug_struct("Sources");
        shown.field("datasources", datasources).field("odps_config", odps_config).field("env", &env).finish()
    }
}

/// Named tables of a TOML file. `${…}` inside them is filled in when a table is used, so that an unused one may refer to
/// what does not exist here.
#[derive(Clone, Default)]
pub struct Datasources {
    tables: Vec<(String, Node)>,
}

/// The names alone: any value may be a secret.
impl fmt::Debug for Datasources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Datasources").field("names", &self.names().collect::<Vec<_>>()).finish_non_exhaustive()
    }
}

/// odpscmd's `odps_config.ini`: flat `key=value` lines.
#[derive(Clone, Debug)]
pub struct OdpsConfig {
    file: String,
    values: BTreeMap<String, Secret>,
}

/// Finds out what stands behind `name`; `""` means [`DEFAULT_NAME`].
///
/// # Errors
/// The name is not configured (the known ones are listed), a key is missing, a `${…}` cannot be filled in, or an endpoint is
/// not an address.
pub fn resolve_odps(name: &str, sources: &Sources) -> Result<OdpsConnection, JobErrors> {
    let name = if name.is_empty() { DEFAULT_NAME } else { name };
    let report = Report::default();
    let place = Place::Elsewhere(format!("data source {name}"));
    let connection = match find_odps(name, sources, &report, "", &place) {
        Lookup::Found(keys, origin) => complete(keys, &origin, &report, "", &place),
        Lookup::NotConfigured => {
            report.error(not_configured(name, "", &place));
            None
        }
        Lookup::Failed => None,
    };
    report.finish(name).map(|_notes| ())?;
    // Without an error there is a connection: every way to `None` above reports one.
    connection.ok_or_else(|| JobErrors {
        file: name.to_owned(),
        errors: vec![not_configured(name, "", &place)],
        notes: Vec::new(),
    })
}

impl Datasources {
    /// Reads the text of a data source file: top-level tables are names, and so are the tables under `datasources`.
    ///
    /// # Errors
    /// A syntax error, or an entry that is not a table.
    pub fn parse(file: &str, text: &str) -> Result<Self, JobErrors> {
        let document = toml::parse(file, text).map_err(|error| one_error(file, error))?;
        let mut tables = Vec::new();
        let mut errors = Vec::new();
        for member in document.members().unwrap_or_default() {
            if member.key == "datasources" {
                tables.extend(named_tables(&member.node, &mut errors));
            } else {
                add_table(&mut tables, &mut errors, &member.key, &member.node);
            }
        }
        if errors.is_empty() {
            Ok(Self { tables })
        } else {
            Err(JobErrors { file: file.into(), errors, notes: vec![] })
        }
    }

    /// Reads the text of forebay's configuration: only the tables under `datasources` are names.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_config(file: &str, text: &str) -> Result<Self, JobErrors> {
        let document = toml::parse(file, text).map_err(|error| one_error(file, error))?;
        let mut errors = Vec::new();
        let tables = document.member("datasources").map(|node| named_tables(node, &mut errors)).unwrap_or_default();
        if errors.is_empty() {
            Ok(Self { tables })
        } else {
            Err(JobErrors { file: file.into(), errors, notes: vec![] })
        }
    }

    /// Adds the tables of `other` whose names are not here yet.
    pub fn extend(&mut self, other: Self) {
        for (name, node) in other.tables {
            if self.table(&name).is_none() {
                self.tables.push((name, node));
            }
        }
    }

    /// The configured names, in no particular order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tables.iter().map(|(name, _)| name.as_str())
    }

    fn table(&self, name: &str) -> Option<&Node> {
        self.tables.iter().find(|(known, _)| known == name).map(|(_, node)| node)
    }
}

impl OdpsConfig {
    /// Reads the text of an `odps_config.ini`. Lines without `=`, comments and sections are stepped over, as odpscmd does;
    /// so this never fails.
    pub fn parse(file: &str, text: &str) -> Self {
        let lines = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';', '[']));
        let pairs = lines.filter_map(|line| line.split_once('='));
        let values = pairs.map(|(key, value)| (key.trim().to_ascii_lowercase(), Secret::new(value.trim()))).collect();
        Self { file: file.to_owned(), values }
    }

    fn keys(&self, env: &BTreeMap<String, String>) -> OdpsKeys {
        let secret = |key: &str| self.values.get(key).filter(|value| !value.expose().is_empty()).cloned();
        let text = |key: &str| secret(key).map(|value| value.expose().to_owned());
        OdpsKeys {
            project: text("project_name"),
            endpoint: text("end_point"),
            tunnel_endpoint: text("tunnel_endpoint"),
            access_id: text("access_id"),
            access_key: secret("access_key"),
            security_token: secret("security_token").or_else(|| secret("sts_token")),
            identity: match text("account_provider").map(|name| name.to_ascii_lowercase()).as_deref() {
                Some("ecs_ram_role") => {
                    profile::ecs_role(text("ecs_ram_role").or_else(|| text("role_name")).as_deref(), env)
                }
                Some("bearer" | "bearer_token") => secret("bearer_token").map_or(Identity::AccessKey, Identity::Bearer),
                _ => Identity::AccessKey,
            },
            schema: text("schema_name"),
            quota: text("quota_name"),
            region: text("region_id"),
        }
    }
}

/// The result of looking a name up.
#[derive(Debug)]
pub(super) enum Lookup<T> {
    /// Something stands behind it.
    Found(T, Origin),
    /// It is [`DEFAULT_NAME`], and nothing configures it.
    NotConfigured,
    /// It cannot be used; why is in the report.
    Failed,
}

/// Names of the four required keys in each kind of source.
pub(super) const JOB_NAMES: [&str; 4] = ["project", "odpsServer", "accessId", "accessKey"];
const TABLE_NAMES: [&str; 4] = ["project", "endpoint", "access_id", "access_key"];
const INI_NAMES: [&str; 4] = ["project_name", "end_point", "access_id", "access_key"];
const ENV_NAMES: [&str; 4] =
    ["ODPS_PROJECT_NAME", "ODPS_ENDPOINT", "ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET"];

/// Finds the keys behind `name`. `key` and `place` say where the name was used, for messages.
pub(super) fn find_odps(name: &str, sources: &Sources, report: &Report, key: &str, place: &Place) -> Lookup<OdpsKeys> {
    if let Some(table) = sources.datasources.table(name) {
        let Some(table) = filled(name, table, sources, report) else { return Lookup::Failed };
        let label = format!("data source {name} ({})", table.place.render(""));
        let keys = odps_table(name, &table, &sources.env, report);
        return keys.map_or(Lookup::Failed, |keys| Lookup::Found(keys, Origin { label, names: TABLE_NAMES }));
    }
    if name != DEFAULT_NAME {
        report.error(unknown_name(name, sources, key, place));
        return Lookup::Failed;
    }
    if let Some(config) = &sources.odps_config {
        return Lookup::Found(config.keys(&sources.env), Origin { label: config.file.clone(), names: INI_NAMES });
    }
    let mut keys = env_keys(&sources.env);
    if keys.project.is_none() && keys.endpoint.is_none() && keys.access_id.is_none() {
        return Lookup::NotConfigured;
    }
    let mut label = "the environment".to_owned();
    if keys.access_id.is_none()
        && keys.identity == Identity::AccessKey
        && let Some(found) = profile::find(&sources.env)
    {
        keys.access_id = found.access_id;
        keys.access_key = found.access_key;
        keys.security_token = found.security_token;
        keys.identity = found.identity;
        if let Some(file) = found.source {
            label = format!("the environment and {file}");
        }
    }
    Lookup::Found(keys, Origin { label, names: ENV_NAMES })
}

/// The error for a default data source that nothing configures.
pub(super) fn not_configured(name: &str, key: &str, place: &Place) -> JobError {
    JobError::new(place.clone(), key, format!("data source {name} is not configured")).advise(
        "give --datasources FILE with a table [odps_first] (project, endpoint, access_id, access_key), \
         --odps-config odps_config.ini, or set ODPS_PROJECT_NAME, ODPS_ENDPOINT, ALIBABA_CLOUD_ACCESS_KEY_ID and \
         ALIBABA_CLOUD_ACCESS_KEY_SECRET",
    )
}

fn odps_table(name: &str, table: &Node, env: &BTreeMap<String, String>, report: &Report) -> Option<OdpsKeys> {
    let section = Section::new(name, table, report);
    expect_type(&section, "odps")?;
    let text = |key: &str| section.text(key).map(|found| found.value.trim().to_owned());
    let keys = OdpsKeys {
        project: text("project"),
        endpoint: text("endpoint"),
        tunnel_endpoint: text("tunnel_endpoint"),
        access_id: text("access_id"),
        access_key: text("access_key").map(Secret::from),
        security_token: text("security_token").map(Secret::from),
        identity: match (text("bearer_token"), text("ecs_ram_role"), text("credentials_uri")) {
            (Some(token), ..) => Identity::Bearer(Secret::from(token)),
            (None, Some(role), _) => {
                profile::ecs_role(Some(&role).filter(|role| *role != "*").map(String::as_str), env)
            }
            (None, None, Some(uri)) => Identity::Uri(Secret::from(uri)),
            (None, None, None) => Identity::AccessKey,
        },
        schema: text("schema"),
        quota: text("quota"),
        region: text("region"),
    };
    section.warn_unknown();
    Some(keys)
}

/// Checks `type`, which may be absent; `None` when it is another one, which is reported.
fn expect_type(section: &Section<'_>, wanted: &str) -> Option<()> {
    match section.text("type") {
        Some(found) if !found.value.trim().eq_ignore_ascii_case(wanted) => {
            section.error(
                "type",
                &found.place,
                format!("is {:?}, but the job needs one of type {wanted:?}", found.value),
            );
            None
        }
        _ => Some(()),
    }
}

/// A table with its `${…}` filled in; `None` when one cannot be, which is reported.
fn filled(name: &str, table: &Node, sources: &Sources, report: &Report) -> Option<Node> {
    let mut table = table.clone();
    let mut errors = Vec::new();
    env::fill(&mut table, name, &sources.env, &mut errors);
    let fits = errors.is_empty();
    report.errors(errors);
    fits.then_some(table)
}

fn unknown_name(name: &str, sources: &Sources, key: &str, place: &Place) -> JobError {
    let mut known: Vec<&str> = sources.datasources.names().collect();
    crate::sorting::sort(&mut known);
    let error = JobError::new(place.clone(), key, format!("data source {name:?} is not configured"));
    if let Some(near) = nearest(name, known.iter().copied()) {
        return error.advise(format!("did you mean {near}? Known names: {}", known.join(", ")));
    }
    if known.is_empty() {
        return error.advise(format!("no data sources are known; give --datasources FILE with a table [{name}]"));
    }
    error.advise(format!("known names: {}", known.join(", ")))
}

fn named_tables(node: &Node, errors: &mut Vec<JobError>) -> Vec<(String, Node)> {
    let mut tables = Vec::new();
    match node.members() {
        Some(members) => members.iter().for_each(|m| add_table(&mut tables, errors, &m.key, &m.node)),
        None => errors.push(JobError::new(node.place.clone(), "datasources", "must be a table of data sources")),
    }
    tables
}

fn add_table(tables: &mut Vec<(String, Node)>, errors: &mut Vec<JobError>, name: &str, node: &Node) {
    if node.members().is_some() {
        tables.push((name.to_owned(), node.clone()));
    } else {
        let error =
            JobError::new(node.place.clone(), name, format!("must be a table [{name}], but is {}", node.kind()));
        errors.push(error);
    }
}

fn one_error(file: &str, error: JobError) -> JobErrors {
    JobErrors { file: file.to_owned(), errors: vec![error], notes: Vec::new() }
}

#[cfg(test)]
mod tests;
