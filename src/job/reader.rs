//! The `kafka` step: parameters into a [`ReaderSpec`].

use std::time::Duration;

use super::columns::source_columns;
use super::context::{Context, Purpose};
use super::datasource::{KafkaSource, find_kafka, split_servers};
use super::json::{Member, Node};
use super::kafka_config::{self, KafkaConfig, RESETS};
use super::range;
use super::report::{JobError, Place};
use super::section::{Found, Section, shown};
use super::servers::{self, Address};
use super::spec::{Charset, DataFormat, FieldType, Isolation, ReaderSpec, SourceColumn};
use super::zone::parse_zone;

/// A reader, and what the writer's side decides with.
#[derive(Debug)]
pub(super) struct ReaderPart {
    /// The reader; `commit_offsets` is still only "a group is named".
    pub(super) spec: ReaderSpec,
    /// `enable.auto.commit`, when given.
    pub(super) auto_commit: Option<Found<bool>>,
}

/// Reads the parameters; `None` when they cannot be used, which is reported.
pub(super) fn read(section: &Section<'_>, context: &Context<'_>) -> Option<ReaderPart> {
    let report = context.report;
    let source = data_source(section, context);
    let config = kafka_properties(section, source.properties, context);
    let servers = bootstrap(section, &config, source.servers, context);
    let topic = topic(section);
    let partitions = partitions(section, context);
    let format = data_format(section);
    let columns = format.as_ref().and_then(|format| source_columns(section, format, report));
    let time_zone = match section.text("timeZone") {
        Some(found) => parse_zone(&found.value).map_err(|why| section.error("timeZone", &found.place, why)).ok(),
        None => Some(context.zone.clone()),
    };
    tell_zone(section, context);
    // A zone that cannot be read was reported; the job's stands in so that the range is checked all the same.
    let range = range::read(section, time_zone.as_ref().unwrap_or(&context.zone), report);
    let seconds = |found: Found<i64>| Duration::from_secs(found.value.unsigned_abs());
    let millis = |found: Found<i64>| Duration::from_millis(found.value.unsigned_abs());
    let wait_time =
        section.integer(wait_time_key(section, context), 0..=WAIT_SECONDS_MAX).map_or(WAIT_DEFAULT, seconds);
    let fetch_wait_max = section.integer("fetchMaxWaitMs", 0..=FETCH_WAIT_MS_MAX).map(millis).or(config.fetch_wait_max);
    let session_timeout = section.integer("sessionTimeoutMs", 1..=i64::from(i32::MAX)).map(millis);
    let fetch_min_bytes = section.small("fetchMinBytes", 1..=i32::MAX.unsigned_abs()).map(|found| found.value);
    let encoding = charset(section, "encoding").unwrap_or(context.charset);
    let header_encoding = charset(section, "headerEncoding").unwrap_or(Charset::Utf8);
    let group = section.text("groupId").or_else(|| config.group.clone()).map(|found| found.value);
    let auto_offset_reset = section.choice("autoOffsetReset", RESETS).map(|found| found.value).or(config.reset);
    let key_type = field_type(section, "keyType");
    let value_type = field_type(section, "valueType");
    without_effect(section, context);
    section.warn_unknown();

    let (columns, range) = (columns?, range?);
    let spec = ReaderSpec {
        servers: servers?,
        topic: topic?,
        partitions,
        columns: columns.value,
        key_type,
        value_type,
        encoding,
        header_encoding,
        data_format: format?,
        commit_offsets: group.is_some(),
        group,
        properties: config.properties,
        security: config.security,
        client_id: config.client_id,
        isolation: config.isolation.unwrap_or(Isolation::ReadUncommitted),
        begin: range.begin,
        end: range.end,
        wait_time,
        old_form: range.old_form,
        stop_when_poll_empty: range.stop_when_poll_empty,
        auto_offset_reset,
        fetch_min_bytes: fetch_min_bytes.or(config.fetch_min_bytes).unwrap_or(1),
        fetch_wait_max: fetch_wait_max.unwrap_or(FETCH_WAIT_DEFAULT),
        fetch_bytes_max: config.fetch_bytes_max,
        partition_fetch_bytes_max: config.partition_fetch_bytes_max,
        request_timeout: config.request_timeout,
        connect_timeout: config.connect_timeout,
        retry_backoff: config.retry_backoff,
        session_timeout: session_timeout.or(config.session_timeout).unwrap_or(SESSION_TIMEOUT_DEFAULT),
        time_zone: time_zone?,
    };
    check_group(section, &spec)?;
    Some(ReaderPart { spec, auto_commit: config.auto_commit })
}

/// What the named data source gives; nothing when none is named or it cannot be used, which is reported.
fn data_source(section: &Section<'_>, context: &Context<'_>) -> KafkaSource {
    let Some(name) = section.text("datasource") else { return KafkaSource::default() };
    let key = section.full("datasource");
    match find_kafka(name.value.trim(), context.sources, context.report, &key, &name.place) {
        Some((source, label)) => {
            context.report.info(&name.place, format!("Kafka brokers come from {label}"));
            source
        }
        None => KafkaSource::default(),
    }
}

fn kafka_properties(section: &Section<'_>, source: Vec<(String, String, Place)>, context: &Context<'_>) -> KafkaConfig {
    let key = one_of(section, "kafkaConfig", "properties", context);
    let written = section.node(key).filter(|node| {
        if node.members().is_none() {
            section.error(
                key,
                &node.place,
                format!("must be an object of consumer properties, but is {}", node.kind()),
            );
        }
        node.members().is_some()
    });
    let member = |(key, text, place): (String, String, Place)| Member {
        key,
        place: place.clone(),
        node: Node::text(place, text),
    };
    let merged = kafka_config::merged(written, source.into_iter().map(member).collect());
    kafka_config::read(&Section::new(section.full(key), &merged, context.report), context.report)
}

/// The key that is used when a name has an alias: the first, unless only the second is there.
fn one_of(section: &Section<'_>, key: &'static str, alias: &'static str, context: &Context<'_>) -> &'static str {
    match (section.node(key), section.node(alias)) {
        (None, Some(_)) => alias,
        (Some(_), Some(node)) => {
            context.report.warn(&node.place, format!("{} has no effect beside {key}", section.full(alias)));
            key
        }
        _ => key,
    }
}

/// Addresses: the job's `server`, its `bootstrap.servers`, the data source's.
fn bootstrap(
    section: &Section<'_>,
    config: &KafkaConfig,
    source: Vec<String>,
    context: &Context<'_>,
) -> Option<Vec<String>> {
    let key = one_of(section, "server", "brokerList", context);
    let given = section.texts_or_one(key).map(|found| Found {
        value: found.value.iter().flat_map(|text| split_servers(&text.value)).collect::<Vec<_>>(),
        place: found.place,
    });
    let place_of_source = section.node("datasource").map_or_else(|| section.place(), |node| &node.place);
    let from_source = (!source.is_empty()).then(|| Found { value: source, place: place_of_source.clone() });
    let from_config =
        config.servers.as_ref().map(|found| Found { value: split_servers(&found.value), place: found.place.clone() });
    let Some(found) = given.or(from_config).or(from_source).filter(|found| !found.value.is_empty()) else {
        // A value of the wrong kind, or a data source that failed, was reported already.
        if !section.has(key) && !section.has("datasource") {
            section.error_with(key, section.place(), "no Kafka broker is named", "add \"server\": \"host:9092\"");
        }
        return None;
    };
    let mut servers = Vec::with_capacity(found.value.len());
    let mut fits = true;
    for server in &found.value {
        match servers::check(server) {
            Ok((address, Address::Usable)) => servers.push(address),
            Ok((address, Address::Masked)) => {
                fits &= masked(section, key, &found.place, &address, context);
                servers.push(address);
            }
            Err(why) => {
                fits = false;
                section.error(key, &found.place, why);
            }
        }
    }
    fits.then_some(servers)
}

/// A published address with its digits crossed out: fine to look at, useless to dial.
fn masked(section: &Section<'_>, key: &str, place: &Place, address: &str, context: &Context<'_>) -> bool {
    let message = format!("{} is a masked address", shown(address));
    let advice = "put the broker's own address there, or give it with --set reader.server=HOST:PORT";
    match context.purpose {
        Purpose::Check => {
            context.report.warn(place, format!("{}: {message}; {advice}", section.full(key)));
            true
        }
        Purpose::Run => {
            context.report.error(JobError::new(place.clone(), section.full(key), message).advise(advice));
            false
        }
    }
}

fn topic(section: &Section<'_>) -> Option<String> {
    let advice = "name one topic";
    if let Some(node) = section.node("topic").filter(|node| matches!(node.kind(), "a list" | "an object")) {
        section.error_with("topic", &node.place, format!("must be one topic, but is {}", node.kind()), advice);
        return None;
    }
    let topic = section.required_text("topic", advice)?;
    let name = topic.value.trim();
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    // The rule of Kafka's own `Topic.validate`.
    if name.len() > TOPIC_BYTES_MAX || matches!(name, "." | "..") || !name.chars().all(legal) {
        let message = format!("{} cannot be a topic: letters, digits, '.', '_' and '-', at most 249", shown(name));
        section.error_with("topic", &topic.place, message, advice);
        return None;
    }
    Some(name.to_owned())
}

fn partitions(section: &Section<'_>, context: &Context<'_>) -> Option<Vec<i32>> {
    let list = section.texts_or_one("partition")?;
    let mut partitions = Vec::with_capacity(list.value.len());
    for item in &list.value {
        match super::section::parse_integer(&item.value).and_then(|number| i32::try_from(number).ok()) {
            Some(number) if number >= 0 => partitions.push(number),
            _ => section.error_with(
                "partition",
                &item.place,
                format!("{} is not a partition's number", shown(&item.value)),
                "write a number of 0 or more, or a list of them; leave the key out to read all partitions",
            ),
        }
    }
    if list.value.is_empty() {
        section.error("partition", &list.place, "is an empty list: there is nothing to read");
    }
    let given = partitions.len();
    crate::sorting::sort(&mut partitions);
    partitions.dedup();
    if partitions.len() < given {
        context.report.warn(&list.place, format!("{} names a partition twice", section.full("partition")));
    }
    Some(partitions)
}

fn data_format(section: &Section<'_>) -> Option<DataFormat> {
    let delimiter = section.raw("fieldDelimiter").and_then(|_| blank_text(section, "fieldDelimiter"));
    let written = section.has("dataFormat");
    let is_text = match section.choice("dataFormat", &[("json", false), ("text", true)]) {
        Some(found) => found.value,
        None if written => return None,
        None => false,
    };
    if !is_text {
        return Some(DataFormat::Json);
    }
    // Without data columns the delimiter is never looked at, but then `text` was not meant either.
    let Some(delimiter) = delimiter else {
        let advice = "add the text between two fields, such as \"fieldDelimiter\": \",\"";
        section.error_with("fieldDelimiter", section.place(), "is missing, and dataFormat text needs it", advice);
        return None;
    };
    Some(DataFormat::Text { delimiter })
}

/// A text that may be blank but not empty: a tab or a space is a delimiter.
fn blank_text(section: &Section<'_>, key: &str) -> Option<String> {
    match &section.raw(key)?.value {
        super::json::Value::Text(text) => (!text.is_empty()).then(|| text.clone()),
        _ => section.text(key).map(|found| found.value),
    }
}

fn field_type(section: &Section<'_>, key: &str) -> FieldType {
    section.choice(key, FIELD_TYPES).map_or(FieldType::String, |found| found.value)
}

/// A charset by its name; `None` when absent, or unknown, which is reported.
fn charset(section: &Section<'_>, key: &str) -> Option<Charset> {
    section.choice(key, CHARSETS).map(|found| found.value)
}

/// `waitTime` as the file spells it: the documentation itself has `waitTIme`. Of several spellings the last one counts.
fn wait_time_key<'a>(section: &Section<'a>, context: &Context<'_>) -> &'a str {
    let mut spellings = section.members().iter().filter(|member| member.key.eq_ignore_ascii_case("waitTime"));
    let Some(last) = spellings.next_back() else { return "waitTime" };
    for other in spellings {
        section.raw(&other.key);
        let text = format!("{} has no effect beside {}", section.full(&other.key), last.key);
        context.report.warn(&other.place, text);
    }
    &last.key
}

/// Says in which zone date-times are read when the reader names none.
fn tell_zone(section: &Section<'_>, context: &Context<'_>) {
    let date_time = ["beginDateTime", "endDateTime"].into_iter().find_map(|key| section.node(key));
    if let Some(node) = date_time.filter(|_| !section.has("timeZone")) {
        let offset = context.zone.to_fixed_offset().map(|offset| format!("GMT{offset}"));
        let name = context.zone.iana_name().map(str::to_owned).or_else(|| offset.ok()).unwrap_or_default();
        context
            .report
            .info(&node.place, format!("{} names no timeZone: date-times are read in {name}", section.name()));
    }
}

fn without_effect(section: &Section<'_>, context: &Context<'_>) {
    // Asked for under its proper name too, so that a typing error finds it as the nearest name.
    section.raw("waitTime");
    if section.boolean("skipExceedRecord").is_some_and(|found| !found.value) {
        let place = section.node("skipExceedRecord").map_or_else(|| section.place(), |node| &node.place);
        context.report.info(place, "skipExceedRecord is false, yet rows past the end are never written");
    }
    if section.boolean("stopWhenReachEndOffset").is_some() {
        let why = "a poll counts as empty only when every partition is at its end";
        context.report.ignored(format!("{} ({why})", section.full("stopWhenReachEndOffset")));
    }
    section.ignore(&["dmu", "compress", "isCompress", "jvmOption", "jvmMemory"]);
}

/// A begin at the group's offset needs a group, and a name that a coordinator accepts.
fn check_group(section: &Section<'_>, spec: &ReaderSpec) -> Option<()> {
    if spec.begin == super::spec::Begin::Group && spec.group.is_none() {
        section.error_with(
            "groupId",
            section.place(),
            "is missing, and the job begins at the committed offset of its group",
            "add \"groupId\", or \"group.id\" in kafkaConfig",
        );
        return None;
    }
    debug_assert!(spec.columns.iter().all(|column| match spec.data_format {
        DataFormat::Json => !matches!(column, SourceColumn::Field(_)),
        DataFormat::Text { .. } => !matches!(column, SourceColumn::Data(_)),
    }));
    Some(())
}

const FIELD_TYPES: &[(&str, FieldType)] = &[
    ("BYTEARRAY", FieldType::ByteArray),
    ("DOUBLE", FieldType::Double),
    ("FLOAT", FieldType::Float),
    ("INTEGER", FieldType::Integer),
    ("LONG", FieldType::Long),
    ("SHORT", FieldType::Short),
    ("STRING", FieldType::String),
];

/// Charsets by the names that job files use.
pub(super) const CHARSETS: &[(&str, Charset)] = &[
    ("UTF-8", Charset::Utf8),
    ("UTF8", Charset::Utf8),
    ("GBK", Charset::Gbk),
    ("GB18030", Charset::Gb18030),
    ("ISO-8859-1", Charset::Iso8859_1),
    ("ISO8859-1", Charset::Iso8859_1),
    ("LATIN1", Charset::Iso8859_1),
    ("US-ASCII", Charset::UsAscii),
    ("ASCII", Charset::UsAscii),
];

/// The vendor's default of `waitTime`.
const WAIT_DEFAULT: Duration = Duration::from_secs(60);
/// A day: longer than any upload session lives.
const WAIT_SECONDS_MAX: i64 = 86_400;
const FETCH_WAIT_DEFAULT: Duration = Duration::from_millis(500);
/// An hour; a broker that holds a fetch back longer looks dead.
const FETCH_WAIT_MS_MAX: i64 = 3_600_000;
const SESSION_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
const TOPIC_BYTES_MAX: usize = 249;
