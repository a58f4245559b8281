//! Job files of forebay's own shape, in TOML: `[source]`, `[target]`, `[[columns]]`, `[limits]`, `[dirty]`.
//!
//! The tables are brought into the shape of a DataWorks job, place by place, so that one set of rules reads both; what only
//! this shape can say ([`Own`]) is kept beside it. `${NAME}`, `${NAME:-default}` and `${file:/path}` are filled in as in data
//! source files, with the variables of the command line first; then the dates that DataWorks jobs know.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::json::{Member, Node, Value};
use super::own_names::{SECRET, SOURCE, TARGET, source_name};
use super::report::{JobError, Place, Report};
use super::section::Section;
use super::spec::{BatchLimits, DeadLetters, Mode};
use super::toml;
use super::vars::Vars;
use super::zone::{default_zone, parse_moment, parse_zone};

/// Least `memory_max` in bytes: below it the shares of fetching, conversion and blocks would not hold.
const MEMORY_MIN: u64 = 16 * 1024 * 1024;

/// What only a job of forebay's own says.
#[derive(Clone, Debug, Default)]
pub(super) struct Own {
    pub(super) mode: Mode,
    pub(super) unbounded: bool,
    pub(super) batch: BatchLimits,
    pub(super) memory_max: Option<u64>,
    pub(super) dead_letters: Option<DeadLetters>,
}

/// Whether a text is a job of this shape: the other two begin with a brace, after their comments.
pub(super) fn is_own(file: &str, text: &str) -> bool {
    let has_extension = std::path::Path::new(file).extension().is_some_and(|e| e.eq_ignore_ascii_case("toml"));
    let heads = || text.lines().map(str::trim).any(|line| matches!(line, "[source]" | "[target]"));
    has_extension || (!text.trim_start().starts_with(['{', '/']) && heads())
}

/// Reads a job and brings it into the shape of a DataWorks job.
///
/// # Errors
/// The first syntax error; everything else is reported.
pub(super) fn read(
    file: &str,
    text: &str,
    (env, params, now): (&BTreeMap<String, String>, &[(String, String)], Timestamp),
    report: &Report,
) -> Result<(Node, Own), JobError> {
    let mut document = toml::parse(file, text)?;
    let zone = document.member("time_zone").and_then(|node| match &node.value {
        Value::Text(text) => {
            let filled = Vars::new(params, now, &default_zone()).with_env(env).replace(text).ok()?;
            parse_zone(&filled).ok()
        }
        _ => None,
    });
    let vars = Vars::new(params, now, &zone.unwrap_or_else(default_zone)).with_env(env);
    vars.fill(&mut document, "", report);
    vars.tell(report);
    let top = Section::new("", &document, report);
    let mut own = Own::default();
    if let Some(found) = top.choice("mode", &[("batch", Mode::Batch), ("stream", Mode::Stream)]) {
        own.mode = found.value;
    }
    let (mut reader, mut writer) = (Vec::new(), Vec::new());
    let table = |key: &str| {
        if !top.has(key) {
            top.error_with(key, top.place(), "is missing", &format!("add a table [{key}]"));
        }
        top.section(key)
    };
    if let Some(source) = table("source") {
        rename(&source, SOURCE, &mut reader);
        range(&source, &mut reader, &mut own);
        if let Some(wait) = seconds(&source, "wait_time") {
            reader.push(member("waitTime", source.place(), Value::Number(wait.as_secs().to_string())));
        }
        source.warn_unknown();
    }
    let place = top.place().clone();
    let mut by_position = false;
    if let Some(target) = table("target") {
        rename(&target, TARGET, &mut writer);
        self::target(&target, &mut writer);
        by_position = target.choice("columns", &[("*", true)]).is_some();
        target.warn_unknown();
        if !target.has("truncate") {
            writer.push(member("truncate", target.place(), Value::Bool(false)));
        }
    }
    columns(&top, by_position, &mut reader, &mut writer);
    let mut setting = Vec::new();
    limits(&top, &mut setting, &mut own);
    dirty(&top, &mut setting, &mut own);
    if let Some(dry_run) = top.node("dry_run") {
        setting.push(moved("dryRun", dry_run));
    }
    if own.mode == Mode::Stream {
        writer.push(member("mode", &place, Value::Text("stream".into())));
    }
    if let Some(zone) = top.node("time_zone") {
        let named = vec![Member { key: "timeZone".into(), place: zone.place.clone(), node: zone.clone() }];
        let column = vec![member("column", &place, Value::Object(named))];
        setting.push(member("common", &place, Value::Object(column)));
    }
    top.warn_unknown();
    let step = |name: &str, category: &str, kind: &str, parameter: Vec<Member>| Node {
        place: place.clone(),
        value: Value::Object(vec![
            member("stepType", &place, Value::Text(kind.to_owned())),
            member("name", &place, Value::Text(name.to_owned())),
            member("category", &place, Value::Text(category.to_owned())),
            member("parameter", &place, Value::Object(parameter)),
        ]),
    };
    let steps = vec![step("source", "reader", "kafka", reader), step("target", "writer", "odps", writer)];
    let job = Value::Object(vec![
        member("type", &place, Value::Text("job".into())),
        member("version", &place, Value::Text("2.0".into())),
        member("steps", &place, Value::Array(steps)),
        member("setting", &place, Value::Object(setting)),
    ]);
    Ok((Node { place: place.clone(), value: job }, own))
}

fn member(key: &str, place: &Place, value: Value) -> Member {
    Member { key: key.to_owned(), place: place.clone(), node: Node { place: place.clone(), value } }
}

fn moved(key: &str, node: &Node) -> Member {
    Member { key: key.to_owned(), place: node.place.clone(), node: node.clone() }
}

fn rename(section: &Section<'_>, names: &[(&str, &str)], out: &mut Vec<Member>) {
    for (own, name) in names {
        if let Some(node) = section.node(own) {
            out.push(moved(name, node));
        }
    }
}

/// What `end_rule` says of a job with an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EndWord {
    /// Never past the log's end of the start, or when a while brings no record: the old form of a DataWorks job.
    Snapshot,
    /// When every partition is at its end, or a while brings no record.
    Idle,
    /// When every partition is at its end.
    Reached,
}

/// `start` and `stop`: a word, or a table with `time`, `millis` or `offset`; `end_rule`: when the job ends.
fn range(source: &Section<'_>, out: &mut Vec<Member>, own: &mut Own) {
    let end_rule = source
        .choice("end_rule", &[("snapshot", EndWord::Snapshot), ("idle", EndWord::Idle), ("reached", EndWord::Reached)])
        .map(|found| found.value);
    // A begin that is not called a type leaves the job in the old form.
    let starts = match end_rule {
        Some(EndWord::Snapshot) => [
            ("group", "beginOffset", "seekToLast"),
            ("earliest", "beginOffset", "seekToBeginning"),
            ("latest", "beginOffset", "seekToEnd"),
        ],
        _ => [
            ("group", "beginType", "current"),
            ("earliest", "beginType", "earliest"),
            ("latest", "beginOffset", "seekToEnd"),
        ],
    };
    if bound(source, "start", &starts, out).is_none() {
        let [(_, key, word), ..] = starts;
        out.push(member(key, source.place(), Value::Text(word.into())));
    }
    // Without a stop the job goes on for ever; the range still needs an end to be read by the common rules.
    let stop = bound(source, "stop", &[("latest", "endType", "latest"), ("never", "", "")], out);
    let is_latest = out.iter().any(|member| member.key == "endType");
    if stop.unwrap_or(true) {
        own.unbounded = true;
        out.push(member("endType", source.place(), Value::Text("latest".into())));
    }
    let on_idle = match end_rule {
        // The log's end is the end by itself then.
        Some(EndWord::Snapshot) if is_latest => Some(true),
        Some(EndWord::Idle) => Some(true),
        Some(EndWord::Reached) => Some(false),
        Some(EndWord::Snapshot) | None => None,
    };
    if let Some(on_idle) = on_idle {
        out.push(member("stopWhenPollEmpty", source.place(), Value::Bool(on_idle)));
    }
    if own.unbounded && end_rule.is_some() {
        source.error_with(
            "end_rule",
            source.place(),
            "says when a job ends that has no stop",
            "add stop, or take end_rule out",
        );
    }
}

/// One side of the range: absent, a word without a key (true), or something that was pushed (false).
fn bound(source: &Section<'_>, key: &str, words: &[(&str, &str, &str)], out: &mut Vec<Member>) -> Option<bool> {
    let node = source.node(key)?;
    if node.members().is_some() {
        let inner = source.section(key)?;
        let side = if key == "start" { "begin" } else { "end" };
        if let Some(offset) = inner.node("offset") {
            out.push(moved(&format!("{side}Offset"), offset));
        } else if let Some(millis) = inner.node("millis") {
            out.push(moved(&format!("{side}TimestampMillis"), millis));
        } else if let Some(time) = inner.text("time") {
            if let Ok(at) = time.value.trim().parse::<Timestamp>() {
                let millis = Value::Number(at.as_millisecond().to_string());
                out.push(member(&format!("{side}TimestampMillis"), &time.place, millis));
            } else if parse_moment(&time.value, &default_zone()).is_some() {
                out.push(member(&format!("{side}DateTime"), &time.place, Value::Text(time.value)));
            } else {
                inner.error_with(
                    "time",
                    &time.place,
                    "is not a time with its distance from UTC",
                    "write it as 2024-01-01T00:00:00+08:00, or without the distance as 20240101000000 in the job's zone",
                );
            }
        } else {
            inner.error_with(
                key,
                &node.place,
                "has neither time nor offset",
                "write { offset = 0 } or { time = \"…\" }",
            );
        }
        inner.warn_unknown();
        return Some(false);
    }
    let text = source.text(key)?;
    match words.iter().find(|(word, _, _)| word.eq_ignore_ascii_case(text.value.trim())) {
        Some((_, "", _)) => Some(true),
        Some((_, name, value)) => {
            out.push(member(name, &text.place, Value::Text((*value).to_owned())));
            Some(false)
        }
        None => {
            let names: Vec<&str> = words.iter().map(|(word, _, _)| *word).collect();
            let message = format!("{:?} is not one of {}, {{ time }}, {{ offset }}", text.value, names.join(", "));
            source.error(key, &text.place, message);
            Some(false)
        }
    }
}

fn target(target: &Section<'_>, out: &mut Vec<Member>) {
    if let Some(node) = target.node("partition") {
        let mut node = node.clone();
        if let Value::Text(text) = &mut node.value {
            *text = in_braces(text);
        }
        out.push(moved("partition", &node));
    }
    if let Some(bytes) = bytes(target, "block_size") {
        let mib = bytes.div_ceil(1 << 20);
        out.push(member("blockSizeInMB", target.place(), Value::Number(mib.to_string())));
    }
    if let Some(timeout) = seconds(target, "write_timeout") {
        out.push(member("writeTimeoutInMs", target.place(), Value::Number(timeout.as_millis().to_string())));
    }
    if let Some(secret) = target.section("secret") {
        rename(&secret, SECRET, out);
        secret.warn_unknown();
    }
}

/// The columns in braces of a partition, in the spelling of a DataWorks job.
fn in_braces(text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once('{') {
        let (inside, tail) = after.split_once('}').map_or((after, None), |(inside, tail)| (inside, Some(tail)));
        let (name, pattern) = inside.split_once(':').map_or((inside, None), |(name, pattern)| (name, Some(pattern)));
        out.push_str(before);
        out.push('{');
        out.push_str(&source_name(name.trim()));
        if let Some(pattern) = pattern {
            out.push(':');
            out.push_str(pattern);
        }
        let Some(tail) = tail else { return out };
        out.push('}');
        rest = tail;
    }
    out.push_str(rest);
    out
}

/// `[[columns]]`: `to` a table column, `from` a source or `const` a text. By position no column is named: the first feeds the
/// table's first.
fn columns(top: &Section<'_>, by_position: bool, reader: &mut Vec<Member>, writer: &mut Vec<Member>) {
    let Some(node) = top.node("columns") else {
        top.error_with("columns", top.place(), "is missing", "add [[columns]] with to = \"…\" and from = \"value.…\"");
        return;
    };
    let Value::Array(items) = &node.value else {
        top.error("columns", &node.place, format!("must be a list of tables, but is {}", node.kind()));
        return;
    };
    let (mut from, mut to) = (Vec::new(), Vec::new());
    for (index, item) in items.iter().enumerate() {
        let column = top.entry(&format!("columns[{index}]"), item);
        if by_position {
            if let Some(node) = column.node("to") {
                column.error_with(
                    "to",
                    &node.place,
                    "names a column, but columns is \"*\": by position",
                    "take one of them out",
                );
            }
        } else if let Some(name) = column.required_text("to", "name a column of the table") {
            to.push(Node::text(name.place, name.value));
        }
        let fixed = column.raw("const").map(|node| match &node.value {
            Value::Text(text) | Value::Number(text) => Node::text(node.place.clone(), format!("'{text}'")),
            _ => node.clone(),
        });
        if let Some(node) = fixed {
            from.push(node);
        } else if let Some(name) = column.required_text("from", "write value.member, key, record.time or record.offset")
        {
            from.push(Node::text(name.place, source_name(name.value.trim())));
        }
        column.warn_unknown();
    }
    if by_position {
        to.push(Node::text(node.place.clone(), "*"));
    }
    reader.push(member("column", &node.place, Value::Array(from)));
    writer.push(member("column", &node.place, Value::Array(to)));
}

fn limits(top: &Section<'_>, setting: &mut Vec<Member>, own: &mut Own) {
    let Some(limits) = top.section("limits") else { return };
    let mut speed = Vec::new();
    rename(&limits, &[("concurrent", "concurrent"), ("records_per_second", "record")], &mut speed);
    if let Some(rate) = bytes(&limits, "bytes_per_second") {
        speed.push(member("byte", limits.place(), Value::Number(rate.to_string())));
    }
    setting.push(member("speed", limits.place(), Value::Object(speed)));
    let mut dirty = Vec::new();
    rename(&limits, &[("dirty_rows", "record"), ("dirty_share", "percentage")], &mut dirty);
    if !dirty.is_empty() {
        setting.push(member("errorLimit", limits.place(), Value::Object(dirty)));
    }
    if let Some(every) = limits.section("commit_every") {
        own.batch.rows = every.integer("rows", 1..=i64::MAX).map(|found| found.value.unsigned_abs());
        own.batch.bytes = bytes(&every, "bytes");
        own.batch.age = seconds(&every, "time");
        every.warn_unknown();
    }
    own.memory_max = bytes(&limits, "memory_max");
    if let (Some(given), Some(node)) = (own.memory_max, limits.node("memory_max"))
        && given < MEMORY_MIN
    {
        limits.error("memory_max", &node.place, format!("is {given} bytes, and a job needs {MEMORY_MIN}"));
    }
    limits.warn_unknown();
}

fn dirty(top: &Section<'_>, setting: &mut Vec<Member>, own: &mut Own) {
    let Some(dirty) = top.section("dirty") else { return };
    let fail = dirty.choice("policy", &[("skip", false), ("fail", true)]).is_some_and(|found| found.value);
    if fail && !setting.iter().any(|member| member.key == "errorLimit") {
        let record = member("record", dirty.place(), Value::Number("0".into()));
        setting.push(member("errorLimit", dirty.place(), Value::Object(vec![record])));
    }
    let text = |key: &str| dirty.text(key).map(|found| found.value);
    own.dead_letters = match (text("topic"), text("file")) {
        (Some(topic), None) => Some(DeadLetters::Topic(topic)),
        (None, Some(file)) => Some(DeadLetters::File(file)),
        (Some(_), Some(_)) => {
            dirty.error_with("file", dirty.place(), "stands beside topic", "keep one of them");
            None
        }
        (None, None) => None,
    };
    dirty.warn_unknown();
}

/// A time: seconds, or a number with ms, s, m or h.
fn seconds(section: &Section<'_>, key: &str) -> Option<Duration> {
    let found = section.text(key)?;
    let text = found.value.trim();
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let millis = match unit.trim() {
        "ms" => Some(1),
        "" | "s" => Some(1000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        _ => None,
    };
    let time = number.parse::<u64>().ok().and_then(|number| number.checked_mul(millis?)).map(Duration::from_millis);
    if time.is_none() {
        section.error_with(key, &found.place, "is not a time", "write a number with ms, s, m or h, such as \"60s\"");
    }
    time
}

/// A size: bytes, or a number with KiB, MiB or GiB.
fn bytes(section: &Section<'_>, key: &str) -> Option<u64> {
    let found = section.text(key)?;
    let text = found.value.trim();
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let factor = match unit.trim() {
        "" | "B" => Some(1),
        "KiB" => Some(1 << 10),
        "MiB" => Some(1 << 20),
        "GiB" => Some(1 << 30),
        _ => None,
    };
    let size = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor?)).filter(|size| *size > 0);
    if size.is_none() {
        section.error_with(
            key,
            &found.place,
            "is not a size",
            "write a number with KiB, MiB or GiB, such as \"64MiB\"",
        );
    }
    size
}
