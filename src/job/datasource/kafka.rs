//! Kafka clusters as data sources.

use super::{Sources, expect_type, filled, unknown_name};
use crate::job::json::{Node, Value};
use crate::job::report::{JobError, Place, Report};
use crate::job::section::Section;

/// A Kafka cluster as a data source describes it.
#[derive(Clone, Debug, Default)]
pub(in crate::job) struct KafkaSource {
    /// Bootstrap addresses.
    pub(in crate::job) servers: Vec<String>,
    /// Consumer properties and where they stand.
    pub(in crate::job) properties: Vec<(String, String, Place)>,
}

/// Finds the Kafka cluster behind `name`; `None` when it cannot be used, which is reported.
pub(in crate::job) fn find_kafka(
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
pub(in crate::job) fn split_servers(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|server| !server.is_empty()).map(str::to_owned).collect()
}

/// Reports a security setting that this version has no code for.
pub(in crate::job) fn unsupported_security(report: &Report, place: &Place, key: &str, value: &str) {
    let message = format!("{value:?} is not supported: forebay speaks to Kafka without TLS and SASL so far");
    let error = JobError::new(place.clone(), key, message);
    report.error(error.advise("use a PLAINTEXT listener of the brokers, and remove this key"));
}
