//! A DataWorks or DataX job as TOML of forebay's own, with a comment for everything that has no effect.
//!
//! Texts go over as they are written, variables and all. Before anything is handed out, the new text is read and compared with
//! the old one: a job that would do something else is never the result.

use std::fmt::Write as _;

use super::json::{self, Member, Node, Value};
use super::own_names::{SECRET, SOURCE, TARGET, own_name};
use super::report::{JobErrors, Note, Report, Severity};
use super::secret::is_secret_key;
use super::settings::SettingNodes;
use super::spec::{JobSpec, Shape, WriterColumns};
use super::{LoadOptions, Purpose, datasource::split_servers, load, sets, shape};

/// A job in its new form.
#[derive(Clone, Debug)]
pub struct Converted {
    /// The text.
    pub toml: String,
    /// Secrets of the old file that the new one takes from these variables: the key, and the variable.
    pub secrets: Vec<(String, String)>,
    /// What reading the old file had to say.
    pub notes: Vec<Note>,
}

/// Why there is no new form.
#[derive(Clone, Debug)]
pub enum ConvertError {
    /// The old file cannot be used.
    Unusable(JobErrors),
    /// It is in the new form already.
    AlreadyOwn,
    /// The new text would not be the same job: a mistake of ours.
    Differs(String),
}

/// Keys of the reader that are properties of Kafka's consumer here.
const AS_PROPERTIES: &[(&str, &str)] = &[
    ("fetchMinBytes", "fetch.min.bytes"),
    ("fetchMaxWaitMs", "fetch.max.wait.ms"),
    ("sessionTimeoutMs", "session.timeout.ms"),
];

/// Converts the text of a file. Variables that it uses must have values (`options.params`), with which both forms are compared.
///
/// # Errors
/// [`ConvertError`].
pub fn to_toml(file_name: &str, text: &str, options: &LoadOptions) -> Result<Converted, ConvertError> {
    let options = LoadOptions { purpose: Purpose::Check, ..options.clone() };
    if super::own::is_own(file_name, text) {
        return Err(ConvertError::AlreadyOwn);
    }
    let spec = load(file_name, text, &options).map_err(ConvertError::Unusable)?;
    let report = Report::default();
    let differs = ConvertError::Differs;
    let mut document = json::parse(text, &report).map_err(|error| differs(error.message))?;
    sets::apply(&mut document, spec.shape, &options.sets, &report);
    let parts = shape::parts(&document, spec.shape, &report);
    let (Some(reader), Some(writer)) = (parts.reader, parts.writer) else {
        return Err(differs("a step of the job was not found".to_owned()));
    };
    let mut new = Toml { spec: &spec, text: String::new(), secrets: Vec::new() };
    new.head(file_name, &document, &parts.settings);
    new.source(&reader.name, reader.parameter, &parts.settings);
    new.target(&writer.name, writer.parameter);
    new.columns(reader.parameter, writer.parameter);
    new.limits();
    let Toml { text: toml, secrets, .. } = new;
    let mut params = options.params.clone();
    params.extend(secrets.iter().map(|(_, variable, value)| (variable.clone(), value.clone())));
    let again = LoadOptions { params, sets: Vec::new(), ..options };
    let read = load("converted.toml", &toml, &again).map_err(|errors| differs(errors.to_string()))?;
    same(&spec, &read).map_err(differs)?;
    let secrets = secrets.into_iter().map(|(key, variable, _)| (key, variable)).collect();
    Ok(Converted { toml, secrets, notes: spec.notes })
}

/// Whether two jobs do the same; else what differs first.
fn same(old: &JobSpec, new: &JobSpec) -> Result<(), String> {
    let mut old = old.clone();
    // What has no source is NULL whether it is named or not.
    if let WriterColumns::Named(names) = &mut old.writer.columns {
        names.truncate(old.reader.columns.len());
    }
    let mut new = new.clone();
    for spec in [&mut old, &mut new] {
        if !spec.writer.routing.levels.is_empty() {
            // Taken apart into levels, which are compared.
            spec.writer.partition.clear();
        }
    }
    let differs = |what: &str, same: bool| if same { Ok(()) } else { Err(format!("{what} would differ")) };
    differs("the reader", old.reader == new.reader)?;
    differs("the writer", old.writer == new.writer)?;
    differs("the settings", old.settings == new.settings)?;
    differs("the end", !new.unbounded && new.batch == old.batch && new.memory_max == old.memory_max)
}

/// The new text while it grows.
struct Toml<'a> {
    spec: &'a JobSpec,
    text: String,
    /// Key, variable, value.
    secrets: Vec<(String, String, String)>,
}

impl Toml<'_> {
    fn line(&mut self, line: &str) {
        // Writing to a String does not fail.
        let _ = writeln!(self.text, "{line}");
    }

    fn pair(&mut self, key: &str, value: &str) {
        self.line(&format!("{} = {value}", toml_key(key)));
    }

    /// What of an object has no effect, on one line.
    fn left_out(&mut self, keys: &[String]) {
        if !keys.is_empty() {
            self.line(&format!("# without effect, left out: {}", keys.join(", ")));
        }
    }

    fn head(&mut self, file_name: &str, document: &Node, settings: &SettingNodes<'_>) {
        let shape = if self.spec.shape == Shape::DataX { "DataX" } else { "DataWorks script mode" };
        let file: String = file_name.chars().filter(|c| !c.is_control()).collect();
        self.line(&format!("# {file} ({shape}), converted by forebay convert."));
        let known = ["type", "steps", "setting", "job", "core", "common"];
        let mut keys: Vec<String> = Vec::new();
        let mut add = |node: Option<&Node>, prefix: &str, known: &[&str]| {
            for member in node.and_then(Node::members).unwrap_or_default() {
                if !known.contains(&member.key.as_str()) {
                    keys.push(commented(&format!("{prefix}{}", member.key), &member.node));
                }
            }
        };
        add(Some(document), "", &known);
        add(document.member("job"), "job.", &["content", "setting"]);
        let own = ["errorLimit", "speed", "dryRun", "common", "common.column.timeZone", "common.column.encoding"];
        add(settings.setting, "setting.", &own);
        let speed = settings.setting.and_then(|setting| setting.member("speed"));
        add(speed, "setting.speed.", &["concurrent", "channel", "throttle", "mbps", "byte", "record"]);
        self.left_out(&keys);
        for note in self.spec.notes.iter().filter(|note| note.severity == Severity::Warning) {
            let text: String = note.text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            self.line(&format!("# warning: {text}"));
        }
        if self.spec.writer.mode == super::Mode::Stream {
            self.pair("mode", "\"stream\"");
        }
        if self.spec.settings.dry_run {
            self.pair("dry_run", "true");
        }
        if let Some(node) = super::settings::zone_node(settings).filter(|node| !is_blank(node)) {
            self.pair("time_zone", &toml_value(node));
        }
    }

    fn source(&mut self, step: &str, parameter: &Node, settings: &SettingNodes<'_>) {
        let spec = self.spec;
        self.line("\n[source]");
        let members = parameter.members().unwrap_or_default();
        let has = |key: &str| members.iter().any(|member| member.key == key && !is_blank(&member.node));
        // These go before the same properties of kafkaConfig.
        let as_property = |(name, property): &(&str, &str)| {
            let found = members.iter().find(|member| member.key == *name && !is_blank(&member.node))?;
            Some(((*property).to_owned(), toml_value(&found.node)))
        };
        let mut config: Vec<(String, String)> = AS_PROPERTIES.iter().filter_map(as_property).collect();
        let mut left: Vec<String> = Vec::new();
        for member in members.iter().filter(|member| !is_blank(&member.node)) {
            let (key, node) = (member.key.as_str(), &member.node);
            match key {
                "server" => self.pair("brokers", &brokers(node)),
                "brokerList" if !has("server") => self.pair("brokers", &brokers(node)),
                "column" => {}
                "beginOffset" | "beginDateTime" | "beginTimestampMillis" => self.pair("start", &bound(key, node)),
                "endOffset" | "endDateTime" | "endTimestampMillis" => self.pair("stop", &bound(key, node)),
                "beginType" | "endType" => self.bound_type(key, node),
                "stopWhenPollEmpty" => {}
                _ if key.eq_ignore_ascii_case("waitTime") => {
                    let seconds = spec.reader.wait_time.as_secs();
                    let value = if is_variable(node) { toml_value(node) } else { format!("\"{seconds}s\"") };
                    // Of several spellings the last one counts.
                    let is_last =
                        members.iter().rfind(|m| m.key.eq_ignore_ascii_case("waitTime")).is_some_and(|m| m == member);
                    if is_last {
                        self.pair("wait_time", &value);
                    } else {
                        left.push(commented(key, node));
                    }
                }
                // Already there.
                _ if AS_PROPERTIES.iter().any(|(name, _)| *name == key) => {}
                "kafkaConfig" => self.config(step, node, &mut config),
                "properties" if !has("kafkaConfig") => self.config(step, node, &mut config),
                _ => match SOURCE.iter().find(|(_, name)| *name == key) {
                    Some((own, _)) => self.pair(own, &toml_value(node)),
                    None => left.push(commented(key, node)),
                },
            }
        }
        if !has("encoding") && super::settings::charset(settings, &Report::default()) != super::Charset::Utf8 {
            self.pair("encoding", &format!("\"{}\"", spec.reader.encoding));
        }
        self.end_rule(members);
        self.left_out(&left);
        if !config.is_empty() {
            self.line("\n[source.config]");
            for (key, value) in config {
                self.pair(&key, &value);
            }
        }
    }

    /// `beginType` and `endType` as far as they say where: `specific` leaves that to another key.
    fn bound_type(&mut self, key: &str, node: &Node) {
        let Value::Text(text) = &node.value else { return };
        let word = match text.trim().to_ascii_lowercase().as_str() {
            "earliest" => "earliest",
            "current" => "group",
            "latest" => "latest",
            _ => return,
        };
        self.pair(if key == "beginType" { "start" } else { "stop" }, &format!("\"{word}\""));
    }

    /// When the job ends, where that is not what its begin and end would mean here.
    fn end_rule(&mut self, members: &[Member]) {
        let reader = &self.spec.reader;
        let text = |key: &str| {
            let found = members.iter().find(|member| member.key == key).map(|member| &member.node.value);
            match found {
                Some(Value::Text(text)) => text.trim().to_ascii_lowercase(),
                _ => String::new(),
            }
        };
        let by_word = matches!(text("beginOffset").as_str(), "seektobeginning" | "seektolast");
        let by_type = matches!(text("beginType").as_str(), "earliest" | "current") || text("endType") == "latest";
        let is_old_by_default = !by_word && !by_type;
        let wanted = (reader.old_form, reader.stop_when_poll_empty);
        if wanted == (is_old_by_default, is_old_by_default) {
            return;
        }
        let word = match wanted {
            (true, _) => "snapshot",
            (false, true) => "idle",
            (false, false) => "reached",
        };
        self.pair("end_rule", &format!("\"{word}\""));
    }

    fn config(&mut self, step: &str, node: &Node, config: &mut Vec<(String, String)>) {
        for member in node.members().unwrap_or_default().iter().filter(|member| member.node.value != Value::Null) {
            let key = &member.key;
            if config.iter().any(|(known, _)| known == key) || is_blank(&member.node) {
                continue;
            }
            let value = if is_secret_key(key) {
                self.secret(&format!("{step}.kafkaConfig.{key}"), key, &member.node)
            } else {
                toml_value(&member.node)
            };
            config.push((key.clone(), value));
        }
    }

    /// A secret does not go over: the new file takes it from a variable.
    fn secret(&mut self, full: &str, key: &str, node: &Node) -> String {
        let Value::Text(text) = &node.value else { return toml_value(node) };
        if is_variable(node) || text.is_empty() {
            return toml_value(node);
        }
        let spaced = key.chars().fold(String::new(), |mut name, c| {
            if c.is_ascii_uppercase() && !name.is_empty() {
                name.push('_');
            }
            name.push(if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' });
            name
        });
        let variable = format!("FOREBAY_{spaced}");
        self.secrets.push((full.to_owned(), variable.clone(), text.clone()));
        format!("\"${{{variable}}}\"")
    }

    fn target(&mut self, step: &str, parameter: &Node) {
        let spec = self.spec;
        let writer = &spec.writer;
        self.line("\n[target]");
        let mut left: Vec<String> = Vec::new();
        let mut secret: Vec<(&str, String)> = Vec::new();
        let members = parameter.members().unwrap_or_default();
        for member in members.iter().filter(|member| !is_blank(&member.node)) {
            let (key, node) = (member.key.as_str(), &member.node);
            let secret_key = SECRET.iter().find(|(_, name)| *name == key);
            match (key, secret_key) {
                ("column" | "mode" | "truncate", _) => {}
                (_, Some((own, _))) if is_secret_key(key) => {
                    let value = self.secret(&format!("{step}.{key}"), key, node);
                    secret.push((*own, value));
                }
                (_, Some((own, _))) => secret.push((*own, toml_value(node))),
                ("partition", _) => self.pair("partition", &partition(node)),
                ("blockSizeInMB", _) if !is_variable(node) => {
                    self.pair("block_size", &format!("\"{}MiB\"", writer.block_bytes >> 20));
                }
                ("writeTimeoutInMs", _) if !is_variable(node) => {
                    self.pair("write_timeout", &format!("\"{}ms\"", writer.write_timeout.as_millis()));
                }
                _ => match TARGET.iter().find(|(_, name)| *name == key) {
                    Some((own, _)) => self.pair(own, &toml_value(node)),
                    None => left.push(commented(key, node)),
                },
            }
        }
        // Another default than here, and it decides over the rows that are there.
        self.pair("truncate", if writer.truncate { "true" } else { "false" });
        if writer.columns == WriterColumns::All {
            self.pair("columns", "\"*\"");
        }
        self.left_out(&left);
        if !secret.is_empty() {
            self.line("\n[target.secret]");
            for (key, value) in secret {
                self.pair(key, &value);
            }
        }
    }

    /// Entry i of the reader feeds entry i of the writer.
    fn columns(&mut self, reader: &Node, writer: &Node) {
        let list = |node: &Node| match node.member("column").map(|node| &node.value) {
            Some(Value::Array(items)) => items.iter().map(scalar_text).collect(),
            Some(Value::Text(text)) => vec![text.clone()],
            _ => Vec::new(),
        };
        let (from, to): (Vec<String>, Vec<String>) = (list(reader), list(writer));
        let by_position = self.spec.writer.columns == WriterColumns::All;
        for (index, from) in from.iter().enumerate() {
            self.line("\n[[columns]]");
            if let Some(to) = to.get(index).filter(|_| !by_position) {
                self.pair("to", &toml_text(to));
            }
            let constant = from.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
            match constant {
                Some(text) => self.pair("const", &toml_text(text)),
                None => self.pair("from", &toml_text(&own_name(from))),
            }
        }
        let rest = to.get(from.len()..).unwrap_or_default();
        if !rest.is_empty() && !by_position {
            self.line(&format!("# nothing feeds these columns, they are NULL: {}", rest.join(", ").escape_debug()));
        }
    }

    fn limits(&mut self) {
        let settings = &self.spec.settings;
        self.line("\n[limits]");
        self.pair("concurrent", &settings.concurrent.to_string());
        if let Some(bytes) = settings.bytes_per_second {
            self.pair("bytes_per_second", &bytes.to_string());
        }
        if let Some(records) = settings.records_per_second {
            self.pair("records_per_second", &records.to_string());
        }
        match (settings.dirty_limit.records, settings.dirty_limit.percentage) {
            (Some(rows), _) => self.pair("dirty_rows", &rows.to_string()),
            (None, Some(share)) => self.pair("dirty_share", &format!("{share:?}")),
            (None, None) => self.line("# dirty_rows = 0        # without it, dirty records are skipped and counted"),
        }
    }
}

/// A broker list as a list.
fn brokers(node: &Node) -> String {
    match &node.value {
        Value::Text(text) if !is_variable(node) => {
            let list: Vec<String> = split_servers(text).iter().map(|server| toml_text(server)).collect();
            format!("[{}]", list.join(", "))
        }
        _ => toml_value(node),
    }
}

/// An offset, a keyword or a time of a range.
fn bound(key: &str, node: &Node) -> String {
    let text = scalar_text(node);
    let word = match text.trim().to_ascii_lowercase().as_str() {
        "seektobeginning" => Some("earliest"),
        "seektolast" => Some("group"),
        "seektoend" => Some("latest"),
        _ => None,
    };
    match word {
        Some(word) => format!("\"{word}\""),
        None if key.ends_with("Offset") => format!("{{ offset = {} }}", toml_value(node)),
        None if key.ends_with("Millis") => format!("{{ millis = {} }}", toml_value(node)),
        None => format!("{{ time = {} }}", toml_text(&text)),
    }
}

/// A partition; a member of the record's value in braces is called one here.
fn partition(node: &Node) -> String {
    let text = scalar_text(node);
    let (mut out, mut rest) = (String::new(), text.as_str());
    while let Some((before, after)) = rest.split_once('{') {
        let Some((inside, tail)) = after.split_once('}') else { break };
        out.push_str(before);
        let (name, pattern) = inside.split_once(':').map_or((inside, None), |(name, pattern)| (name, Some(pattern)));
        let (trimmed, is_variable) = (name.trim(), before.ends_with('$'));
        let is_attribute = trimmed.starts_with("__") || trimmed.starts_with('\'');
        let name = if is_variable || is_attribute { name.to_owned() } else { format!("value.{trimmed}") };
        let pattern = pattern.map(|pattern| format!(":{pattern}")).unwrap_or_default();
        let _ = write!(out, "{{{name}{pattern}}}");
        rest = tail;
    }
    out.push_str(rest);
    toml_text(&out)
}

fn is_variable(node: &Node) -> bool {
    matches!(&node.value, Value::Text(text) if text.contains("${") || text.contains("$["))
}

/// Counts as absent in a job.
fn is_blank(node: &Node) -> bool {
    match &node.value {
        Value::Null => true,
        Value::Text(text) => text.is_empty(),
        _ => false,
    }
}

fn scalar_text(node: &Node) -> String {
    match &node.value {
        Value::Text(text) | Value::Number(text) => text.clone(),
        Value::Bool(flag) => flag.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => String::new(),
    }
}

/// A key with its value for a comment; a secret's value is not shown.
fn commented(key: &str, node: &Node) -> String {
    let key: String = key.chars().filter(|c| !c.is_control()).collect();
    match &node.value {
        _ if is_secret_key(&key) => key,
        Value::Array(_) | Value::Object(_) => key,
        _ => format!("{key} = {}", toml_value(node)),
    }
}

fn toml_key(key: &str) -> String {
    let is_bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    if is_bare { key.to_owned() } else { toml_text(key) }
}

/// A basic string. What JSON escapes TOML escapes alike, but for DEL.
fn toml_text(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

fn toml_value(node: &Node) -> String {
    match &node.value {
        Value::Null => "\"\"".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        // TOML has no number that is larger, and a text means the same.
        Value::Number(text) => text.parse::<i64>().map_or_else(|_| toml_text(text), |number| number.to_string()),
        Value::Text(text) => toml_text(text),
        Value::Array(items) => format!("[{}]", items.iter().map(toml_value).collect::<Vec<_>>().join(", ")),
        Value::Object(members) => {
            let pair = |member: &Member| format!("{} = {}", toml_key(&member.key), toml_value(&member.node));
            format!("{{ {} }}", members.iter().map(pair).collect::<Vec<_>>().join(", "))
        }
    }
}

impl std::fmt::Display for ConvertError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unusable(errors) => errors.fmt(f),
            Self::AlreadyOwn => f.write_str("the job is in forebay's own form already"),
            Self::Differs(why) => write!(f, "the converted job would not be the same: {why}"),
        }
    }
}

impl std::error::Error for ConvertError {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn options() -> LoadOptions {
        LoadOptions::new("2024-03-01T00:00:00Z".parse().unwrap())
    }

    fn job(reader: &str, writer: &str, setting: &str) -> String {
        format!(
            r#"{{"type":"job","version":"2.0","steps":[
            {{"stepType":"kafka","name":"R","category":"reader","parameter":{{"server":"a:9092,b:9092","topic":"t",{reader}}}}},
            {{"stepType":"odps","name":"W","category":"writer","parameter":{{"datasource":"odps_first","table":"t",{writer}}}}}],
            "setting":{{{setting}}}}}"#
        )
    }

    /// What a job becomes; that it is the same job is compared before it comes out.
    fn converted(reader: &str, writer: &str, setting: &str) -> String {
        match to_toml("j.json", &job(reader, writer, setting), &options()) {
            Ok(new) => new.toml,
            Err(error) => panic!("{error}\n{reader}\n{writer}\n{setting}"),
        }
    }

    const COLUMNS: &str = r#""column":["__key__","event_id","tag.desc","'1''2'","key","__timestamp__"]"#;
    const TO: &str = r#""column":["k","e","d","c","m","ts"]"#;

    #[test]
    fn every_begin_and_end_keeps_its_meaning() {
        let begins = [
            r#""beginOffset":"0""#,
            r#""beginOffset":"seekToBeginning""#,
            r#""beginOffset":"SEEKTOLAST","groupId":"g""#,
            r#""beginOffset":"seekToEnd""#,
            r#""beginDateTime":"20240101000000""#,
            r#""beginDateTime":"2024-01-01 00:00:00","timeZone":"UTC""#,
            r#""beginDateTime":"${bizdate}000000""#,
            r#""beginDateTime":"$[yyyymmddhh24miss-1/24]""#,
            r#""beginTimestampMillis":1700000000000"#,
            r#""beginType":"earliest""#,
            r#""beginType":"current","kafkaConfig":{"group.id":"g"}"#,
            r#""beginType":"specific","beginOffset":"1""#,
        ];
        let ends = [
            r#""endOffset":3000"#,
            r#""endDateTime":"20300101000000""#,
            r#""endTimestampMillis":"1900000000000""#,
            r#""endType":"latest""#,
            r#""endType":"specific","endOffset":"3000""#,
        ];
        let stops = ["", r#","stopWhenPollEmpty":true"#, r#","stopWhenPollEmpty":"false""#];
        for begin in begins {
            for end in ends {
                for stop in stops {
                    converted(&format!("{begin},{end}{stop},{COLUMNS}"), &format!("{TO},\"truncate\":true"), "");
                }
            }
        }
    }

    #[test]
    fn every_key_of_the_writer_and_the_settings_goes_over() {
        let reader = format!(r#""beginOffset":0,"endOffset":3,{COLUMNS}"#);
        for writer in [
            r#""truncate":"false","emptyAsNull":"TRUE","blockSizeInMB":"12","maxRetryTime":3"#,
            r#""uploadCompression":"zstd","overLengthRule":"setNull","maxOdpsFieldLength":9,"maxFieldLength":8"#,
            r#""enableOverLengthOutput":false,"maxOverLengthOutputCount":"7","preSql":"select 1","postSql":["a","b"]"#,
            r#""partition":"pt='20240101',type=1","calendarTimeZone":"UTC","writeTimeoutInMs":1500,"tunnelQuota":"q","schema":"s""#,
            r#""partition":"pt={__timestamp__:yyyyMMdd}/r={event_id}/k={key}/b=${bizdate}","dynamicPartitionsMax":5"#,
            r#""supportDynamicPartition":true,"partitionColumnMapping":[{"name":"d","dateFormat":"yyyyMMdd","srcDateFormat":"yyyy-MM-dd"}]"#,
            r#""truncate":false,"mode":"stream","batchSize":3,"dmu":1,"compress":false"#,
            r#""accessId":"i","accessKey":"canary","project":"p","odpsServer":"http://h/api","tunnelServer":"http://t""#,
        ] {
            let text = converted(&reader, &format!("{TO},{writer}"), "");
            assert!(!text.contains("canary"), "{text}");
        }
        for setting in [
            r#""errorLimit":{"record":""},"speed":{"throttle":false,"concurrent":1,"dmu":1}"#,
            r#""errorLimit":{"record":"0"},"speed":{"throttle":true,"mbps":"1.5","concurrent":"4"}"#,
            r#""errorLimit":{"percentage":0.02},"speed":{"byte":1000,"record":"10"},"dryRun":true"#,
            r#""errorLimit":{"strategy":"ZeroTolerance"},"jvmOption":"-Xmx1g""#,
            r#""common":{"column":{"timeZone":"Europe/Berlin","encoding":"GBK"}}"#,
        ] {
            converted(&reader, &format!("{TO},\"truncate\":true"), setting);
        }
        let by_position = converted(&reader, r#""column":["*"],"truncate":true"#, "");
        assert!(by_position.contains("columns = \"*\"") && !by_position.contains("to = "), "{by_position}");
        let more = converted(&reader, r#""column":["k","e","d","c","m","ts","x","y"]"#, "");
        assert!(more.contains("# nothing feeds these columns, they are NULL: x, y"), "{more}");
    }

    #[test]
    fn what_has_no_effect_is_told_and_secrets_stay_behind() {
        let reader = format!(
            r#""waitTIme":"10","skipExceedRecord":false,"nonsense":5,"fetchMinBytes":"7","kafkaConfig":{{"group.id":"g",
            "security.protocol":"SASL_SSL","sasl.mechanism":"PLAIN","sasl.jaas.config":"canary","max.poll.records":"5"}},
            "beginOffset":"0","endOffset":"3",{COLUMNS}"#
        );
        let new =
            to_toml("j.json", &job(&reader, &format!("{TO},\"truncate\":true"), r#""speed":{"dmu":1}"#), &options())
                .unwrap();
        for wanted in [
            "# without effect, left out: version = \"2.0\", setting.speed.dmu = 1",
            "# without effect, left out: skipExceedRecord = false, nonsense = 5",
            "brokers = [\"a:9092\", \"b:9092\"]",
            "start = { offset = \"0\" }",
            "wait_time = \"10s\"",
            "\"fetch.min.bytes\" = \"7\"",
            "\"sasl.jaas.config\" = \"${FOREBAY_SASL_JAAS_CONFIG}\"",
            "from = \"record.time\"",
            "from = \"value.tag.desc\"",
            "const = \"1''2\"",
        ] {
            assert!(new.toml.contains(wanted), "no {wanted:?} in\n{}", new.toml);
        }
        assert!(!new.toml.contains("canary"), "{}", new.toml);
        let secret = ("R.kafkaConfig.sasl.jaas.config".to_owned(), "FOREBAY_SASL_JAAS_CONFIG".to_owned());
        assert_eq!(new.secrets, [secret]);
    }

    #[test]
    fn a_datax_job_and_what_cannot_be_converted() {
        let text = r#"{"job":{"content":[{"reader":{"name":"kafkareader","parameter":{"brokerList":"a:1","topic":"t",
            "properties":{"group.id":"g"},"column":["__value__"],"beginOffset":0,"endOffset":9}},"writer":{"name":"odpswriter",
            "parameter":{"project":"p","accessId":"i","accessKey":"k","odpsServer":"http://h/api","table":"t","column":["v"],
            "truncate":true,"partition":"pt=1"}}}],"setting":{"speed":{"channel":2},"errorLimit":{"record":0,"percentage":0.1}}},
            "core":{"transport":{"channel":{"speed":{"byte":100}}}}}"#;
        let new = to_toml("j.json", text, &options()).unwrap();
        for wanted in [
            "(DataX)",
            "concurrent = 2",
            "bytes_per_second = 200",
            "dirty_rows = 0",
            "access_key = \"${FOREBAY_ACCESS_KEY}\"",
        ] {
            assert!(new.toml.contains(wanted), "no {wanted:?} in\n{}", new.toml);
        }
        assert!(matches!(to_toml("j.toml", &new.toml, &options()), Err(ConvertError::AlreadyOwn)));
        assert!(matches!(to_toml("j.json", "{", &options()), Err(ConvertError::Unusable(_))));
    }
}
