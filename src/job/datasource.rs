//! Data sources: the names a job uses for "where and as whom", and what stands behind them.
//!
//! A name is looked up in the data source tables, then, for [`DEFAULT_NAME`] only, in odpscmd's `odps_config.ini` and in the
//! environment. The first of them that knows the name is taken whole: keys of two sources are never mixed, so that a job
//! cannot land in the wrong project by accident. Keys written in the job itself go over it.

use std::collections::BTreeMap;

use super::env;
use super::json::{Node, Value};
use super::report::{JobError, JobErrors, Place, Report};
use super::secret::Secret;
use super::section::Section;
use super::suggest::nearest;
use super::toml;

/// The name that DataWorks gives to a workspace's own MaxCompute project.
pub const DEFAULT_NAME: &str = "odps_first";

/// A MaxCompute project with everything needed to call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OdpsConnection {
    /// The project's name.
    pub project: String,
    /// The REST endpoint, with `http://` or `https://`.
    pub endpoint: String,
    /// The Tunnel endpoint; `None` = ask the service (discovery).
    pub tunnel_endpoint: Option<String>,
    /// AccessKey id.
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
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Tables of `--datasources` and of forebay's configuration.
    pub datasources: Datasources,
    /// odpscmd's configuration, when one was given.
    pub odps_config: Option<OdpsConfig>,
    /// The environment: for [`DEFAULT_NAME`], and for `${NAME}` inside data source tables.
    pub env: BTreeMap<String, String>,
}

/// Named tables of a TOML file. `${…}` inside them is filled in when a table is used, so that an unused one may refer to
/// what does not exist here.
#[derive(Clone, Debug, Default)]
pub struct Datasources {
    tables: Vec<(String, Node)>,
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

    fn keys(&self) -> OdpsKeys {
        let secret = |key: &str| self.values.get(key).filter(|value| !value.expose().is_empty()).cloned();
        let text = |key: &str| secret(key).map(|value| value.expose().to_owned());
        OdpsKeys {
            project: text("project_name"),
            endpoint: text("end_point"),
            tunnel_endpoint: text("tunnel_endpoint"),
            access_id: text("access_id"),
            access_key: secret("access_key"),
            security_token: secret("security_token").or_else(|| secret("sts_token")),
            schema: text("schema_name"),
            quota: text("quota_name"),
            region: text("region_id"),
        }
    }
}

/// What one source says about a MaxCompute project; anything may be absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OdpsKeys {
    pub(super) project: Option<String>,
    pub(super) endpoint: Option<String>,
    pub(super) tunnel_endpoint: Option<String>,
    pub(super) access_id: Option<String>,
    pub(super) access_key: Option<Secret>,
    pub(super) security_token: Option<Secret>,
    pub(super) schema: Option<String>,
    pub(super) quota: Option<String>,
    pub(super) region: Option<String>,
}

impl OdpsKeys {
    /// These keys with those of `other` where they are silent. Id, key and token belong together and come from one side.
    pub(super) fn over(self, other: Self) -> Self {
        let own = self.access_id.is_some() || self.access_key.is_some();
        let (access_id, access_key, security_token) = if own {
            (self.access_id, self.access_key, self.security_token)
        } else {
            (other.access_id, other.access_key, self.security_token.or(other.security_token))
        };
        Self {
            project: self.project.or(other.project),
            endpoint: self.endpoint.or(other.endpoint),
            tunnel_endpoint: self.tunnel_endpoint.or(other.tunnel_endpoint),
            access_id,
            access_key,
            security_token,
            schema: self.schema.or(other.schema),
            quota: self.quota.or(other.quota),
            region: self.region.or(other.region),
        }
    }

    /// Whether nothing that a connection needs is missing.
    pub(super) const fn is_complete(&self) -> bool {
        self.project.is_some() && self.endpoint.is_some() && self.access_id.is_some() && self.access_key.is_some()
    }
}

/// Where keys came from: a label for the log, and what the keys are called there.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    /// Such as `data source odps_first of ds.toml`.
    pub(super) label: String,
    /// Names of project, endpoint, access id and access key.
    pub(super) names: [&'static str; 4],
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
        let keys = odps_table(name, &table, report);
        return keys.map_or(Lookup::Failed, |keys| Lookup::Found(keys, Origin { label, names: TABLE_NAMES }));
    }
    if name != DEFAULT_NAME {
        report.error(unknown_name(name, sources, key, place));
        return Lookup::Failed;
    }
    if let Some(config) = &sources.odps_config {
        return Lookup::Found(config.keys(), Origin { label: config.file.clone(), names: INI_NAMES });
    }
    let keys = env_keys(&sources.env);
    if keys.project.is_none() && keys.endpoint.is_none() && keys.access_id.is_none() {
        return Lookup::NotConfigured;
    }
    Lookup::Found(keys, Origin { label: "the environment".to_owned(), names: ENV_NAMES })
}

/// A connection of keys that must be complete by now; what is missing or malformed is reported.
pub(super) fn complete(
    keys: OdpsKeys,
    origin: &Origin,
    report: &Report,
    key: &str,
    place: &Place,
) -> Option<OdpsConnection> {
    let present =
        [keys.project.is_some(), keys.endpoint.is_some(), keys.access_id.is_some(), keys.access_key.is_some()];
    let missing: Vec<&str> =
        origin.names.iter().zip(present).filter(|(_, there)| !there).map(|(name, _)| *name).collect();
    if !missing.is_empty() {
        let message = format!("{} does not give {}", origin.label, missing.join(", "));
        report.error(
            JobError::new(place.clone(), key, message).advise("add what is missing there, or name another data source"),
        );
    }
    let addresses = [("endpoint", keys.endpoint.as_deref()), ("tunnel endpoint", keys.tunnel_endpoint.as_deref())];
    let mut addresses_fit = true;
    for (what, address) in addresses {
        if let Some(why) = address.and_then(address_fault) {
            addresses_fit = false;
            report.error(JobError::new(place.clone(), key, format!("{} gives an {what} that {why}", origin.label)));
        }
    }
    if !addresses_fit {
        return None;
    }
    Some(OdpsConnection {
        project: keys.project?,
        endpoint: keys.endpoint?,
        tunnel_endpoint: keys.tunnel_endpoint,
        access_id: keys.access_id?,
        access_key: keys.access_key?,
        security_token: keys.security_token,
        schema: keys.schema,
        quota: keys.quota,
        region: keys.region,
        source: origin.label.clone(),
    })
}

/// The error for a default data source that nothing configures.
pub(super) fn not_configured(name: &str, key: &str, place: &Place) -> JobError {
    JobError::new(place.clone(), key, format!("data source {name} is not configured")).advise(
        "give --datasources FILE with a table [odps_first] (project, endpoint, access_id, access_key), \
         --odps-config odps_config.ini, or set ODPS_PROJECT_NAME, ODPS_ENDPOINT, ALIBABA_CLOUD_ACCESS_KEY_ID and \
         ALIBABA_CLOUD_ACCESS_KEY_SECRET",
    )
}

/// A Kafka cluster as a data source describes it.
#[derive(Clone, Debug, Default)]
pub(super) struct KafkaSource {
    /// Bootstrap addresses.
    pub(super) servers: Vec<String>,
    /// Consumer properties and where they stand.
    pub(super) properties: Vec<(String, String, Place)>,
}

/// Finds the Kafka cluster behind `name`; `None` when it cannot be used, which is reported.
pub(super) fn find_kafka(
    name: &str,
    sources: &Sources,
    report: &Report,
    key: &str,
    place: &Place,
) -> Option<(KafkaSource, String)> {
    let Some(table) = sources.datasources.table(name) else {
        report.error(unknown_name(name, sources, key, place));
        return None;
    };
    let table = filled(name, table, sources, report)?;
    let label = format!("data source {name} ({})", table.place.render(""));
    Some((kafka_table(name, &table, report)?, label))
}

fn kafka_table(name: &str, table: &Node, report: &Report) -> Option<KafkaSource> {
    let section = Section::new(name, table, report);
    expect_type(&section, "kafka")?;
    let mut source = KafkaSource::default();
    let address = if section.has("address") { "address" } else { "server" };
    for item in address_items(&section, address) {
        source.servers.extend(item);
    }
    if let Some(protocol) = section.text("securityProtocol").filter(|p| !p.value.eq_ignore_ascii_case("authTypeNone")) {
        unsupported_security(report, &protocol.place, &section.full("securityProtocol"), &protocol.value);
    }
    for key in ["saslMechanism", "username", "password"] {
        section.raw(key);
    }
    if let Some(config) = section.node("kafkaConfig") {
        let config = Section::new(section.full("kafkaConfig"), config, report);
        for member in config.members() {
            if let Some(text) = config.text(&member.key) {
                source.properties.push((member.key.clone(), text.value, text.place));
            }
        }
    }
    section.warn_unknown();
    Some(source)
}

/// `address` as a text, a list of texts, or DataWorks' list of `{host, port}`; what is wrong is reported.
fn address_items(section: &Section<'_>, key: &str) -> Vec<Vec<String>> {
    match section.node(key) {
        Some(Node { value: Value::Array(items), .. }) if items.iter().any(|item| item.members().is_some()) => {
            let host_port = |(index, item): (usize, &Node)| {
                let entry = section.entry(&format!("{key}[{index}]"), item);
                let host = entry.required_text("host", "write { host = \"10.0.0.1\", port = 9092 }");
                let port = entry.integer("port", 1..=65_535).map_or(9092, |port| port.value);
                host.map(|host| vec![format!("{}:{port}", host.value)])
            };
            items.iter().enumerate().filter_map(host_port).collect()
        }
        Some(_) => {
            let texts = section.texts_or_one(key).map(|texts| texts.value).unwrap_or_default();
            texts.iter().map(|text| split_servers(&text.value)).collect()
        }
        None => Vec::new(),
    }
}

/// The addresses of a comma list.
pub(super) fn split_servers(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|server| !server.is_empty()).map(str::to_owned).collect()
}

/// Reports a security setting that this version has no code for.
pub(super) fn unsupported_security(report: &Report, place: &Place, key: &str, value: &str) {
    let message = format!("{value:?} is not supported: forebay speaks to Kafka without TLS and SASL so far");
    let error = JobError::new(place.clone(), key, message);
    report.error(error.advise("use a PLAINTEXT listener of the brokers, and remove this key"));
}

fn odps_table(name: &str, table: &Node, report: &Report) -> Option<OdpsKeys> {
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

fn env_keys(env: &BTreeMap<String, String>) -> OdpsKeys {
    let first = |names: &[&str]| {
        let set = |name: &&str| env.get(*name).map(|value| value.trim()).filter(|value| !value.is_empty());
        names.iter().find_map(set).map(str::to_owned)
    };
    // Id, key and token of one family: a key of another would only give a confusing refusal.
    let family = CREDENTIAL_NAMES.iter().find(|[id, ..]| first(&[id]).is_some());
    let credential = |index: usize| family.and_then(|names| names.get(index)).and_then(|name| first(&[name]));
    OdpsKeys {
        project: first(&["ODPS_PROJECT_NAME", "ODPS_CFG_PROJECTNAME"]),
        endpoint: first(&["ODPS_ENDPOINT", "ODPS_CFG_ENDPOINT"]),
        tunnel_endpoint: first(&["ODPS_TUNNEL_ENDPOINT"]),
        access_id: credential(0),
        access_key: credential(1).map(Secret::from),
        security_token: credential(2).map(Secret::from),
        schema: None,
        quota: first(&["QUOTA_NAME"]),
        region: first(&["ODPS_REGION_NAME"]),
    }
}

/// Families of credential variables: the Alibaba Cloud libraries', PyODPS's for temporary keys, odpscmd's.
const CREDENTIAL_NAMES: [[&str; 3]; 3] = [
    ["ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET", "ALIBABA_CLOUD_SECURITY_TOKEN"],
    ["ODPS_STS_ACCESS_KEY_ID", "ODPS_STS_ACCESS_KEY_SECRET", "ODPS_STS_TOKEN"],
    ["ACCESS_KEY_ID", "ACCESS_KEY_SECRET", "SECURITY_TOKEN"],
];

fn unknown_name(name: &str, sources: &Sources, key: &str, place: &Place) -> JobError {
    let mut known: Vec<&str> = sources.datasources.names().collect();
    known.sort_unstable();
    let error = JobError::new(place.clone(), key, format!("data source {name:?} is not configured"));
    if let Some(near) = nearest(name, known.iter().copied()) {
        return error.advise(format!("did you mean {near}? Known names: {}", known.join(", ")));
    }
    if known.is_empty() {
        return error.advise(format!("no data sources are known; give --datasources FILE with a table [{name}]"));
    }
    error.advise(format!("known names: {}", known.join(", ")))
}

/// What is wrong with an endpoint, if anything. The address itself is not repeated: it may carry a password.
fn address_fault(address: &str) -> Option<&'static str> {
    let rest = ["http://", "https://"].iter().find_map(|scheme| address.strip_prefix(scheme));
    let Some(rest) = rest else { return Some("does not begin with http:// or https://") };
    let host = rest.split('/').next().unwrap_or_default();
    if host.contains('@') {
        return Some("carries a user name; credentials have their own keys");
    }
    if host.is_empty() || rest.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '?' | '#')) {
        return Some("is not an address such as https://host/api");
    }
    None
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
