//! `setting`, and what is read of DataX's `core` and `common`.

use super::context::Context;
use super::json::{Node, Value};
use super::reader::CHARSETS;
use super::report::{JobError, Report};
use super::section::{Section, shown};
use super::spec::{Charset, DirtyLimit, Settings};
use super::zone::{default_zone, parse_zone};

/// Sections of a file that hold settings; any may be absent.
#[derive(Debug, Default)]
pub(super) struct SettingNodes<'a> {
    /// `setting`.
    pub(super) setting: Option<&'a Node>,
    /// Places where `common` may stand: the file's top, and inside `setting`.
    pub(super) common: [Option<&'a Node>; 2],
    /// DataX's `core`.
    pub(super) core: Option<&'a Node>,
}

/// The node behind dotted steps, each of which may also be part of a dotted name.
fn deep<'a>(node: Option<&'a Node>, path: &[&str]) -> Option<&'a Node> {
    let node = node?;
    if path.is_empty() {
        return Some(node);
    }
    (1..=path.len()).find_map(|taken| {
        let (head, tail) = path.split_at_checked(taken)?;
        deep(node.member(&head.join(".")), tail)
    })
}

/// The text of the job's zone as written, before variables are filled in: they need the zone themselves.
pub(super) fn zone_node<'a>(nodes: &SettingNodes<'a>) -> Option<&'a Node> {
    common(nodes, "timeZone")
}

fn common<'a>(nodes: &SettingNodes<'a>, key: &str) -> Option<&'a Node> {
    let [top, inner] = nodes.common;
    let whole = [deep(top, &["column", key]), deep(inner, &["column", key])];
    whole.into_iter().flatten().next().or_else(|| deep(nodes.setting, &["common", "column", key]))
}

/// The job's zone: `common.column.timeZone`, else GMT+8. A zone that cannot be read is reported.
pub(super) fn zone(text: Option<(&Node, &str)>, report: &Report) -> jiff::tz::TimeZone {
    let Some((node, text)) = text.filter(|(_, text)| !text.trim().is_empty()) else { return default_zone() };
    parse_zone(text).unwrap_or_else(|why| {
        report.error(JobError::new(node.place.clone(), "common.column.timeZone", why));
        default_zone()
    })
}

/// `common.column.encoding`, else UTF-8. A charset that is not known is reported.
pub(super) fn charset(nodes: &SettingNodes<'_>, report: &Report) -> Charset {
    let Some(Node { value: Value::Text(text), place }) = common(nodes, "encoding") else { return Charset::Utf8 };
    if text.trim().is_empty() {
        return Charset::Utf8;
    }
    let found = CHARSETS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text.trim()));
    found.map_or_else(
        || {
            let message = format!("{} is not a charset that is known here", shown(text));
            report.error(JobError::new(place.clone(), "common.column.encoding", message));
            Charset::Utf8
        },
        |(_, charset)| *charset,
    )
}

/// Reads the settings; `None` when they cannot be used, which is reported.
pub(super) fn read(nodes: &SettingNodes<'_>, context: &Context<'_>) -> Option<Settings> {
    let report = context.report;
    let per_channel = channel_limits(nodes, report);
    let mut settings = Settings {
        dirty_limit: DirtyLimit::default(),
        concurrent: CONCURRENT_DEFAULT,
        bytes_per_second: None,
        records_per_second: None,
        dry_run: false,
        time_zone: context.zone.clone(),
    };
    let Some(node) = nodes.setting else {
        per_channel.apply(&mut settings);
        return Some(settings);
    };
    let section = Section::new("setting", node, report);
    settings.dirty_limit = match section.section("errorLimit") {
        Some(limit) => dirty_limit(&limit, report)?,
        None => DirtyLimit::default(),
    };
    if let Some(speed) = section.section("speed") {
        read_speed(&speed, &mut settings, context);
    }
    per_channel.apply(&mut settings);
    settings.dry_run = section.boolean("dryRun").is_some_and(|found| found.value);
    if let Some(found) = section.choice("executeMode", &[("distribute", true), ("standalone", false), ("null", false)])
        && found.value
    {
        report.warn(&found.place, "executeMode is distribute, but the job runs on this one host");
    }
    if section.boolean("failoverEnable").is_some_and(|found| found.value) {
        report.ignored("setting.failoverEnable (running the job again is safe)");
    }
    // Read above, wherever it stands.
    for key in ["common", "common.column", "common.column.timeZone", "common.column.encoding"] {
        section.raw(key);
    }
    section.ignore(&["jvmOption", "jvmMemory"]);
    section.warn_unknown();
    Some(settings)
}

/// `errorLimit`: blank or absent = unlimited.
fn dirty_limit(section: &Section<'_>, report: &Report) -> Option<DirtyLimit> {
    let strategy = section.choice(
        "strategy",
        &[("Ignore", Strategy::Ignore), ("Tolerance", Strategy::Tolerance), ("ZeroTolerance", Strategy::Zero)],
    );
    let record_given = section.has("record");
    let record = section.integer("record", 0..=i64::MAX);
    let percentage = section.decimal("percentage", 0.0..=1.0).map(|found| found.value);
    section.warn_unknown();
    if record_given && record.is_none() {
        return None;
    }
    let records = record.as_ref().map(|found| found.value.unsigned_abs());
    let Some(strategy) = strategy else {
        return Some(DirtyLimit { records, percentage: percentage.filter(|_| records.is_none()) });
    };
    let conflict = |limit: &str| {
        if let Some(found) = &record {
            let text = format!("{} has no effect: the strategy sets the limit to {limit}", section.full("record"));
            report.warn(&found.place, text);
        }
    };
    match strategy.value {
        Strategy::Ignore => {
            conflict("none");
            Some(DirtyLimit::default())
        }
        Strategy::Zero => {
            if records != Some(0) {
                conflict("0");
            }
            Some(DirtyLimit { records: Some(0), percentage: None })
        }
        Strategy::Tolerance if records.is_none() => {
            let advice = "add \"record\", the number of dirty rows that are tolerated";
            section.error_with("record", &strategy.place, "is missing, and the strategy Tolerance needs it", advice);
            None
        }
        Strategy::Tolerance => Some(DirtyLimit { records, percentage: None }),
    }
}

#[derive(Clone, Copy, Debug)]
enum Strategy {
    Ignore,
    Tolerance,
    Zero,
}

fn read_speed(section: &Section<'_>, settings: &mut Settings, context: &Context<'_>) {
    let report = context.report;
    for key in ["channel", "concurrent"] {
        if let Some(found) = section.small(key, 1..=u32::MAX) {
            if found.value > CONCURRENT_MAX {
                let text = format!("{} is lowered from {} to {CONCURRENT_MAX}", section.full(key), found.value);
                report.warn(&found.place, text);
            }
            settings.concurrent = found.value.min(CONCURRENT_MAX);
        }
    }
    let throttle = section.boolean("throttle");
    let mbps = section.decimal("mbps", MBPS_MIN..=MBPS_MAX);
    match (throttle, mbps) {
        // A rate of at most a million MB/s fits 64 bits many times over.
        (Some(throttle), Some(mbps)) if throttle.value => {
            settings.bytes_per_second = Some((mbps.value * BYTES_PER_MB).round() as u64);
        }
        (Some(throttle), None) if throttle.value && !section.has("mbps") => {
            let advice = "add \"mbps\", the limit in megabytes a second, or set throttle to false";
            section.error_with("mbps", &throttle.place, "is missing, and throttle is true", advice);
        }
        (_, Some(mbps)) => report.info(&mbps.place, "setting.speed.mbps has no effect: throttle is not true"),
        _ => {}
    }
    // DataX writes -1 for "no limit".
    let limit = |key: &str| section.integer(key, -1..=i64::MAX).filter(|found| found.value > 0);
    if let Some(found) = limit("byte") {
        settings.bytes_per_second = Some(found.value.unsigned_abs());
    }
    if let Some(found) = limit("record") {
        settings.records_per_second = Some(found.value.unsigned_abs());
    }
    section.ignore(&["dmu"]);
    section.warn_unknown();
}

/// `core.transport.channel.speed`: limits of one channel.
#[derive(Debug, Default)]
struct ChannelLimits {
    bytes: Option<u64>,
    records: Option<u64>,
}

impl ChannelLimits {
    /// A total that is not written is the channel's limit times the channels; with both, as many channels as the total needs.
    fn apply(&self, settings: &mut Settings) {
        let channels = |total: Option<u64>, one: Option<u64>| Some((total? / one?).clamp(1, u64::from(CONCURRENT_MAX)));
        let wanted =
            [channels(settings.bytes_per_second, self.bytes), channels(settings.records_per_second, self.records)];
        if let Some(fewest) = wanted.into_iter().flatten().min().and_then(|fewest| u32::try_from(fewest).ok()) {
            settings.concurrent = fewest;
        }
        let times = |one: u64| one.saturating_mul(u64::from(settings.concurrent));
        settings.bytes_per_second = settings.bytes_per_second.or_else(|| self.bytes.map(times));
        settings.records_per_second = settings.records_per_second.or_else(|| self.records.map(times));
    }
}

fn channel_limits(nodes: &SettingNodes<'_>, report: &Report) -> ChannelLimits {
    let Some(node) = deep(nodes.core, &["transport", "channel", "speed"]) else { return ChannelLimits::default() };
    let section = Section::new("core.transport.channel.speed", node, report);
    let limit = |key: &str| {
        let found = section.integer(key, -1..=i64::MAX).filter(|found| found.value > 0);
        found.map(|found| found.value.unsigned_abs())
    };
    ChannelLimits { bytes: limit("byte"), records: limit("record") }
}

/// The vendor's range of `concurrent`, and its default.
const CONCURRENT_MAX: u32 = 32;
const CONCURRENT_DEFAULT: u32 = 3;
const MBPS_MIN: f64 = 0.001;
const MBPS_MAX: f64 = 1_000_000.0;
const BYTES_PER_MB: f64 = 1_048_576.0;
