//! `kafkaConfig`: raw consumer properties, as far as they mean something to a client that is not Java's.

use std::collections::BTreeMap;
use std::time::Duration;

use super::datasource::no_kerberos;
use super::json::{Member, Node, Value};
use super::report::{JobError, Report};
use super::secret::Secret;
use super::section::{Found, Section};
use super::spec::{Isolation, Reset};

/// What the properties say. `None` = the property is absent, or was reported.
#[derive(Debug, Default)]
pub(super) struct KafkaConfig {
    pub(super) servers: Option<Found<String>>,
    pub(super) group: Option<Found<String>>,
    pub(super) client_id: Option<String>,
    pub(super) isolation: Option<Isolation>,
    pub(super) reset: Option<Reset>,
    pub(super) auto_commit: Option<Found<bool>>,
    pub(super) fetch_min_bytes: Option<u32>,
    pub(super) fetch_wait_max: Option<Duration>,
    pub(super) fetch_bytes_max: Option<u32>,
    pub(super) partition_fetch_bytes_max: Option<u32>,
    pub(super) request_timeout: Option<Duration>,
    pub(super) connect_timeout: Option<Duration>,
    pub(super) retry_backoff: Option<Duration>,
    pub(super) session_timeout: Option<Duration>,
    pub(super) properties: BTreeMap<String, String>,
    pub(super) security: BTreeMap<String, Secret>,
}

/// The job's properties over the data source's, as one object.
pub(super) fn merged(job: Option<&Node>, source: Vec<Member>) -> Node {
    let mut members: Vec<Member> = job.and_then(Node::members).map(<[Member]>::to_vec).unwrap_or_default();
    for member in source {
        if !members.iter().any(|known| known.key == member.key) {
            members.push(member);
        }
    }
    let place = job.map_or(super::report::Place::Job, |node| node.place.clone());
    Node { place, value: Value::Object(members) }
}

/// Reads the properties; every one of them ends up as a field, a note, a warning or an error.
pub(super) fn read(section: &Section<'_>, report: &Report) -> KafkaConfig {
    let security = security(section, report);
    let millis =
        |key: &str| section.integer(key, 0..=MILLIS_MAX).map(|found| Duration::from_millis(found.value.unsigned_abs()));
    let bytes = |key: &str, least: u32| section.small(key, least..=i32::MAX.unsigned_abs()).map(|found| found.value);
    let config = KafkaConfig {
        servers: section.text("bootstrap.servers"),
        group: section.text("group.id"),
        client_id: section.text("client.id").map(|found| found.value),
        isolation: section.choice("isolation.level", ISOLATIONS).map(|found| found.value),
        reset: section.choice("auto.offset.reset", RESETS).map(|found| found.value),
        auto_commit: section.boolean("enable.auto.commit"),
        // Kafka allows 0 here, which only asks for more empty answers than 1 does.
        fetch_min_bytes: bytes("fetch.min.bytes", 0).map(|bytes| bytes.max(1)),
        fetch_wait_max: millis("fetch.max.wait.ms"),
        fetch_bytes_max: bytes("fetch.max.bytes", 1),
        partition_fetch_bytes_max: bytes("max.partition.fetch.bytes", 1),
        request_timeout: millis("request.timeout.ms").filter(|time| !time.is_zero()),
        connect_timeout: millis("socket.connection.setup.timeout.ms").filter(|time| !time.is_zero()),
        retry_backoff: millis("retry.backoff.ms"),
        session_timeout: millis("session.timeout.ms").filter(|time| !time.is_zero()),
        properties: BTreeMap::new(),
        security,
    };
    let mut properties = BTreeMap::new();
    for key in KEPT {
        if let Some(found) = section.integer(key, 0..=MILLIS_MAX) {
            properties.insert((*key).to_owned(), found.value.to_string());
        }
    }
    membership(section, report, &mut properties);
    for (key, why) in WITHOUT_EFFECT {
        if section.raw(key).is_some() {
            report.ignored(format!("{} ({why})", section.full(key)));
        }
    }
    section.warn_unknown();
    KafkaConfig { properties, ..config }
}

/// The properties that only a member of the group has: the agent is one, `forebay run` is none.
fn membership(section: &Section<'_>, report: &Report, properties: &mut BTreeMap<String, String>) {
    let protocol = section.choice("group.protocol", &[("classic", "classic"), ("consumer", "consumer")]);
    if let Some(protocol) = &protocol {
        properties.insert("group.protocol".to_owned(), protocol.value.to_owned());
    }
    if let Some(interval) = section.integer("heartbeat.interval.ms", 1..=MILLIS_MAX) {
        properties.insert("heartbeat.interval.ms".to_owned(), interval.value.to_string());
    }
    let is_new = protocol.is_some_and(|protocol| protocol.value == "consumer");
    for (key, other) in
        [("group.instance.id", None), (REMOTE_ASSIGNOR, Some(true)), ("partition.assignment.strategy", Some(false))]
    {
        let Some(found) = section.text(key) else { continue };
        // As Java's consumer: the one protocol's way of dividing says nothing in the other.
        if other.is_some_and(|is_of_new| is_of_new != is_new) {
            let text = if is_new {
                "group.protocol is consumer: the broker divides"
            } else {
                "group.protocol is not consumer"
            };
            let advice = if is_new { REMOTE_ASSIGNOR } else { "partition.assignment.strategy" };
            let error = JobError::new(found.place, section.full(key), text);
            report.error(error.advise(format!("take it out, or use {advice}")));
        } else {
            properties.insert(key.to_owned(), found.value);
        }
    }
}

/// Which of the broker's ways of dividing the new protocol takes.
const REMOTE_ASSIGNOR: &str = "group.remote.assignor";

/// The properties that [`membership`] keeps.
pub(crate) const OF_MEMBERS: [&str; 5] =
    ["group.instance.id", "group.protocol", REMOTE_ASSIGNOR, "heartbeat.interval.ms", "partition.assignment.strategy"];

/// The security properties, for the client to read; without a protocol they have no effect, as in Kafka itself.
fn security(section: &Section<'_>, report: &Report) -> BTreeMap<String, Secret> {
    let protocol = section.choice("security.protocol", PROTOCOLS).map_or("PLAINTEXT", |found| found.value);
    let mut security = BTreeMap::from([("security.protocol".to_owned(), Secret::new(protocol))]);
    for member in section.members().iter().filter(|member| is_security_key(&member.key)) {
        let Some(found) = section.text(&member.key) else { continue };
        let uses = match protocol {
            "PLAINTEXT" => false,
            "SSL" => !member.key.contains("sasl."),
            "SASL_PLAINTEXT" => !member.key.starts_with("ssl."),
            _ => true,
        };
        if uses {
            security.insert(member.key.clone(), found.value.into());
        } else if !found.value.trim().is_empty() {
            let text = format!("{} has no effect: security.protocol is {protocol}", section.full(&member.key));
            report.warn(&member.place, text);
        }
    }
    let gssapi = section.text("sasl.mechanism").filter(|found| found.value.trim().eq_ignore_ascii_case("GSSAPI"));
    if let Some(found) = gssapi.filter(|_| protocol.starts_with("SASL")) {
        report.error(no_kerberos(&found.place, section.full("sasl.mechanism")));
    }
    security
}

fn is_security_key(key: &str) -> bool {
    ["sasl.", "ssl.", "https.ca.", "forebay.sasl."].iter().any(|prefix| key.starts_with(prefix))
        || ["enable.ssl.certificate.verification", "java.security.auth.login.config"].contains(&key)
}

const PROTOCOLS: &[(&str, &str)] =
    &[("PLAINTEXT", "PLAINTEXT"), ("SSL", "SSL"), ("SASL_PLAINTEXT", "SASL_PLAINTEXT"), ("SASL_SSL", "SASL_SSL")];

pub(super) const RESETS: &[(&str, Reset)] =
    &[("none", Reset::None), ("earliest", Reset::Earliest), ("latest", Reset::Latest)];

const ISOLATIONS: &[(&str, Isolation)] =
    &[("read_uncommitted", Isolation::ReadUncommitted), ("read_committed", Isolation::ReadCommitted)];

/// Times in milliseconds that are passed on to the client under their own names.
const KEPT: &[&str] = &["default.api.timeout.ms", "retry.backoff.max.ms"];

/// Properties that Java's consumer has and this one does without.
const WITHOUT_EFFECT: &[(&str, &str)] = &[
    ("key.deserializer", "keyType says how keys are read"),
    ("value.deserializer", "valueType says how values are read"),
    ("auto.commit.interval.ms", "offsets are committed once, after MaxCompute has committed"),
    ("max.poll.records", "records are not handed out in polls"),
    ("max.poll.interval.ms", "records are not handed out in polls"),
    ("check.crcs", "checksums are always checked"),
    ("allow.auto.create.topics", "a topic that is read must exist"),
    ("exclude.internal.topics", "the topic is named"),
    ("client.rack", "the leader is read"),
    ("metadata.max.age.ms", "metadata is read again when a leader moves"),
    ("reconnect.backoff.ms", "follows retry.backoff.ms"),
    ("reconnect.backoff.max.ms", "follows retry.backoff.max.ms"),
    ("client.dns.lookup", "every address of a name is tried"),
    ("connections.max.idle.ms", "connections live as long as the job"),
    ("receive.buffer.bytes", "left to the operating system"),
    ("send.buffer.bytes", "left to the operating system"),
    ("socket.connection.setup.timeout.max.ms", "the time-out does not grow"),
    ("interceptor.classes", "Java only"),
    ("metric.reporters", "Java only"),
    ("metrics.num.samples", "Java only"),
    ("metrics.recording.level", "Java only"),
    ("metrics.sample.window.ms", "Java only"),
    ("auto.include.jmx.reporter", "Java only"),
    ("security.providers", "Java only"),
];

/// A day: longer times are slips.
const MILLIS_MAX: i64 = 86_400_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::json;
    use super::super::report::Place;
    use super::*;

    fn config(text: &str) -> Result<(KafkaConfig, Vec<String>), String> {
        let report = Report::default();
        let node = json::parse(text, &report).unwrap();
        let config = read(&Section::new("R.kafkaConfig", &node, &report), &report);
        let notes = report.finish("j").map_err(|errors| errors.to_string())?;
        Ok((config, notes.into_iter().map(|note| note.text).collect()))
    }

    #[test]
    fn known_properties_are_honoured() {
        let (config, notes) = config(
            r#"{"group.id":"g","client.id":"c","isolation.level":"READ_COMMITTED","auto.offset.reset":"latest",
            "enable.auto.commit":"false","fetch.min.bytes":"0","fetch.max.wait.ms":100,"fetch.max.bytes":"1000",
            "max.partition.fetch.bytes":500,"request.timeout.ms":3000,"session.timeout.ms":"6000","retry.backoff.ms":5,
            "bootstrap.servers":"a:1","retry.backoff.max.ms":"9","security.protocol":"plaintext"}"#,
        )
        .unwrap();
        assert_eq!(config.isolation, Some(Isolation::ReadCommitted));
        assert_eq!(config.reset, Some(Reset::Latest));
        assert!(!config.auto_commit.unwrap().value);
        assert_eq!((config.fetch_min_bytes, config.fetch_bytes_max), (Some(1), Some(1000)));
        assert_eq!(config.partition_fetch_bytes_max, Some(500));
        assert_eq!(config.request_timeout, Some(Duration::from_secs(3)));
        assert_eq!(config.properties.into_iter().collect::<Vec<_>>(), [("retry.backoff.max.ms".into(), "9".into())]);
        assert_eq!(notes, Vec::<String>::new());
    }

    #[test]
    fn java_only_properties_are_explained_in_one_line() {
        let (_, notes) = config(r#"{"key.deserializer":"x","max.poll.records":5,"goup.id":"g","zzz":1}"#).unwrap();
        assert_eq!(
            notes,
            [
                "R.kafkaConfig.goup.id is not a known key and has no effect; did you mean group.id?",
                "R.kafkaConfig.zzz is not a known key and has no effect",
                "accepted without effect: R.kafkaConfig.key.deserializer (keyType says how keys are read), \
                 R.kafkaConfig.max.poll.records (records are not handed out in polls)",
            ]
        );
    }

    #[test]
    fn what_only_members_have_is_kept_for_the_agent() {
        let (config, notes) = config(
            r#"{"group.protocol":"CONSUMER","group.remote.assignor":"range","group.instance.id":"a","heartbeat.interval.ms":"300"}"#,
        )
        .unwrap();
        assert_eq!(notes, Vec::<String>::new());
        let kept: Vec<(&str, &str)> =
            config.properties.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let wanted = [
            ("group.instance.id", "a"),
            ("group.protocol", "consumer"),
            ("group.remote.assignor", "range"),
            ("heartbeat.interval.ms", "300"),
        ];
        assert_eq!(kept, wanted);
        assert!(kept.iter().all(|(key, _)| OF_MEMBERS.contains(key)));
    }

    #[test]
    fn the_protocols_do_not_mix() {
        for (text, wanted) in [
            (r#"{"group.remote.assignor":"range"}"#, "group.protocol is not consumer"),
            (r#"{"group.protocol":"consumer","partition.assignment.strategy":"range"}"#, "the broker divides"),
            (r#"{"group.protocol":"next"}"#, "not one of classic, consumer"),
        ] {
            let said = config(text).unwrap_err();
            assert!(said.contains(wanted), "{said}");
        }
    }

    #[test]
    fn security_goes_to_the_client_and_secrets_stay_unsaid() {
        let text = r#"{"security.protocol":"sasl_ssl","sasl.mechanism":"SCRAM-SHA-512",
            "sasl.jaas.config":"x.ScramLoginModule required username=\"alice\" password=\"canary\";","ssl.ca.location":"/ca.pem"}"#;
        let (config, notes) = config(text).unwrap();
        assert_eq!(notes, Vec::<String>::new());
        assert_eq!(config.security.get("security.protocol").map(Secret::expose), Some("SASL_SSL"));
        assert!(config.security.get("sasl.jaas.config").is_some_and(|jaas| jaas.expose().contains("canary")));
        assert_eq!(config.security.len(), 4);
        assert!(!format!("{config:?}").contains("canary"));
    }

    #[test]
    fn security_keys_that_the_protocol_does_not_use_are_said_to_have_no_effect() {
        let (plain, notes) = config(r#"{"sasl.jaas.config":"canary","ssl.keystore.password":"canary"}"#).unwrap();
        assert_eq!(notes.len(), 2);
        assert!(notes.iter().all(|note| note.contains("has no effect: security.protocol is PLAINTEXT")));
        assert!(!format!("{plain:?} {notes:?}").contains("canary"));
        let (_, notes) =
            config(r#"{"security.protocol":"SSL","sasl.mechanism":"PLAIN","ssl.ca.location":"/a"}"#).unwrap();
        assert_eq!(notes, ["R.kafkaConfig.sasl.mechanism has no effect: security.protocol is SSL"]);
    }

    #[test]
    fn kerberos_and_unknown_protocols_are_refused_where_they_stand() {
        let said = config(r#"{"security.protocol":"SASL_SSL","sasl.mechanism":"GSSAPI"}"#).unwrap_err();
        assert!(said.contains("R.kafkaConfig.sasl.mechanism: GSSAPI (Kerberos) is not supported"), "{said}");
        let said = config(r#"{"security.protocol":"SASL"}"#).unwrap_err();
        assert!(said.contains("R.kafkaConfig.security.protocol") && said.contains("SASL_PLAINTEXT"), "{said}");
    }

    #[test]
    fn values_are_checked() {
        for (text, wanted) in [
            (r#"{"isolation.level":"serializable"}"#, "not one of read_uncommitted, read_committed"),
            (r#"{"auto.offset.reset":"by_duration:PT1H"}"#, "not one of none, earliest, latest"),
            (r#"{"fetch.max.bytes":-1}"#, "not a whole number from 1"),
            (r#"{"request.timeout.ms":"5s"}"#, "not a whole number from 0"),
            (r#"{"enable.auto.commit":"no"}"#, "not one of true, false"),
        ] {
            let said = config(text).unwrap_err();
            assert!(said.contains(wanted), "{said}");
        }
    }

    #[test]
    fn the_jobs_properties_go_over_the_data_sources() {
        let report = Report::default();
        let job = json::parse(r#"{"group.id":"job"}"#, &report).unwrap();
        let member =
            |key: &str, text: &str| Member { key: key.into(), place: Place::Job, node: Node::text(Place::Job, text) };
        let node = merged(Some(&job), vec![member("group.id", "source"), member("client.id", "source")]);
        let config = read(&Section::new("k", &node, &report), &report);
        assert_eq!(config.group.unwrap().value, "job");
        assert_eq!(config.client_id.as_deref(), Some("source"));
    }
}
