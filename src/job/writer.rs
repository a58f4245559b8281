//! The `odps` step: parameters into a [`WriterSpec`].

use std::time::Duration;

use super::columns::{source_column, writer_columns};
use super::context::{Context, Purpose};
use super::datasource::{
    DEFAULT_NAME, Identity, JOB_NAMES, Lookup, OdpsConnection, OdpsKeys, Origin, complete, find_odps, not_configured,
};
use super::date_format::DateFormat;
use super::partition;
use super::report::Place;
use super::routing as routed;
use super::secret::Secret;
use super::section::{Found, Section};
use super::spec::{
    DataFormat, Mode, OverLength, OverLengthLog, PartitionFormat, RoutedLevel, Routing, Shape, UploadCompression,
    WriterSpec,
};
use super::zone::parse_zone;
use crate::limits::{FIELD_BYTES_MAX, ROUTED_PARTITIONS_DEFAULT, ROUTED_PARTITIONS_MAX};

/// A writer, and what is compared with the reader.
#[derive(Debug)]
pub(super) struct WriterPart {
    pub(super) spec: WriterSpec,
    /// The step's name in messages.
    pub(super) name: String,
    /// Where `column` stands.
    pub(super) columns_place: Place,
}

/// Reads the parameters; `None` when they cannot be used, which is reported.
pub(super) fn read(section: &Section<'_>, format: &DataFormat, context: &Context<'_>) -> Option<WriterPart> {
    let connection = connection(section, context);
    let table = table(section);
    let partition = partition_text(section, format);
    let columns = writer_columns(section);
    let mode = section
        .choice("mode", &[("batch", Mode::Batch), ("stream", Mode::Stream)])
        .map_or(Mode::Batch, |found| found.value);
    let truncate = truncate(section, context).filter(|truncate| {
        let fits = mode == Mode::Batch || !*truncate;
        if !fits {
            let message = "is true (or left out), but mode stream only adds rows";
            section.error_with("truncate", section.place(), message, "write \"truncate\": false");
        }
        fits
    });
    let empty_as_null = section.boolean("emptyAsNull").is_some_and(|found| found.value);
    let block_bytes = block_bytes(section);
    let upload_compression = section.choice("uploadCompression", UPLOAD_COMPRESSION);
    let retries_max = section.small("maxRetryTime", 1..=10).map_or(RETRIES_DEFAULT, |found| found.value);
    let over_length = section.choice("overLengthRule", OVER_LENGTH).map_or(OverLength::KeepOn, |found| found.value);
    let length = |key: &str| {
        let found = section.small(key, 1..=i32::MAX.unsigned_abs());
        found.and_then(|found| usize::try_from(found.value).ok()).unwrap_or(FIELD_BYTES_MAX)
    };
    let (odps_field_bytes_max, field_bytes_max) = (length("maxOdpsFieldLength"), length("maxFieldLength"));
    let count_max = section.integer("maxOverLengthOutputCount", 0..=i64::MAX).map(|found| found.value.unsigned_abs());
    let over_length_log =
        OverLengthLog { enabled: section.boolean("enableOverLengthOutput").is_none_or(|found| found.value), count_max };
    let pre_sql = statements(section, "preSql");
    let post_sql = statements(section, "postSql");
    let write_timeout = section.integer("writeTimeoutInMs", 1..=WRITE_TIMEOUT_MS_MAX);
    let routing = routing(section);
    let date_zone = match section.text("calendarTimeZone") {
        Some(found) => {
            parse_zone(&found.value).map(Some).map_err(|why| section.error("calendarTimeZone", &found.place, why)).ok()
        }
        None => Some(None),
    };
    without_effect(section, context);
    section.warn_unknown();

    let (columns, (partition, levels)) = (columns?, partition?);
    let spec = WriterSpec {
        connection: connection?,
        table: table?,
        partition,
        columns: columns.value,
        mode,
        truncate: truncate?,
        empty_as_null,
        block_bytes: block_bytes?,
        upload_compression: upload_compression.map_or(UploadCompression::None, |found| found.value),
        retries_max,
        over_length,
        odps_field_bytes_max,
        field_bytes_max,
        over_length_log,
        pre_sql,
        post_sql,
        write_timeout: write_timeout
            .map_or(WRITE_TIMEOUT_DEFAULT, |found| Duration::from_millis(found.value.unsigned_abs())),
        routing: Routing { levels, ..routing? },
        date_zone: date_zone?,
    };
    Some(WriterPart { spec, name: section.name().to_owned(), columns_place: columns.place })
}

/// Where and as whom: the job's own keys, over what the data source gives.
fn connection(section: &Section<'_>, context: &Context<'_>) -> Option<OdpsConnection> {
    let text = |key: &str| section.text(key).map(|found| found.value.trim().to_owned());
    let own = OdpsKeys {
        project: text("project"),
        endpoint: text("odpsServer"),
        tunnel_endpoint: text("tunnelServer"),
        access_id: text("accessId"),
        access_key: text("accessKey").map(Secret::from),
        security_token: text("securityToken").map(Secret::from),
        identity: Identity::AccessKey,
        schema: text("schema"),
        quota: text("tunnelQuota"),
        region: None,
    };
    let named = section.text("datasource");
    let (name, place) = match &named {
        Some(found) => (found.value.trim(), &found.place),
        None => (DEFAULT_NAME, section.place()),
    };
    let report = context.report;
    let key = section.full("datasource");
    let from_job = Origin { label: "the job file".to_owned(), names: JOB_NAMES };
    let has_own = own != OdpsKeys { schema: own.schema.clone(), quota: own.quota.clone(), ..OdpsKeys::default() };
    if own.is_complete() && named.is_none() {
        return complete(own, &from_job, report, &section.full("odpsServer"), place);
    }
    match find_odps(name, context.sources, report, &key, place) {
        Lookup::Found(keys, origin) => {
            let connection = complete(own.over(keys), &origin, report, &key, place)?;
            let over = if has_own { ", under the keys of the job" } else { "" };
            report.info(place, format!("MaxCompute project {} comes from {}{over}", connection.project, origin.label));
            Some(connection)
        }
        Lookup::NotConfigured if has_own => complete(own, &from_job, report, &key, place),
        Lookup::NotConfigured if context.purpose == Purpose::Check => {
            report.info(place, format!("data source {name} is not configured here; a run needs it"));
            Some(unconfigured(name, own))
        }
        Lookup::NotConfigured => {
            report.error(not_configured(name, &key, place));
            None
        }
        Lookup::Failed => None,
    }
}

/// Stands in for a data source when the job is only looked at.
fn unconfigured(name: &str, own: OdpsKeys) -> OdpsConnection {
    OdpsConnection {
        project: String::new(),
        endpoint: String::new(),
        tunnel_endpoint: None,
        identity: Identity::AccessKey,
        access_id: String::new(),
        access_key: Secret::new(""),
        security_token: None,
        schema: own.schema,
        quota: own.quota,
        region: None,
        source: format!("{name}, not configured"),
    }
}

fn table(section: &Section<'_>) -> Option<String> {
    let advice = "name one table of the project";
    let found = section.required_text("table", advice)?;
    let name = found.value.trim();
    let legal = |c: char| c.is_alphanumeric() || c == '_';
    if name.chars().all(legal) {
        return Some(name.to_owned());
    }
    let message = format!("{:?} is not a table's name: letters, digits and '_'", found.value);
    let advice = if name.contains('.') { "the project and the schema have keys of their own" } else { advice };
    section.error_with("table", &found.place, message, advice);
    None
}

/// The partition's text, and its levels where they come from each record.
fn partition_text(section: &Section<'_>, format: &DataFormat) -> Option<(String, Vec<RoutedLevel>)> {
    if !section.has("partition") {
        return Some((String::new(), Vec::new()));
    }
    let found = section.text("partition")?;
    if routed::is_pattern(&found.value) {
        let source = |name: &str| source_column(name, format).map(|(column, _)| column);
        let advice = "write partition={column} or partition={__timestamp__:yyyyMMdd} for every level";
        return routed::levels(&found.value, source)
            .map_err(|why| section.error_with("partition", &found.place, why, advice))
            .map(|levels| (found.value.trim().to_owned(), levels))
            .ok();
    }
    let advice = "write partition=value for every level, such as pt=20240101/type=1";
    let text = partition::normalise(&found.value);
    text.map_err(|why| section.error_with("partition", &found.place, why, advice)).map(|text| (text, Vec::new())).ok()
}

/// `truncate` decides over the table's old rows, so a blank is no answer.
fn truncate(section: &Section<'_>, context: &Context<'_>) -> Option<bool> {
    let advice = "write true to replace what the table or partition holds, false to add to it";
    match section.raw("truncate") {
        Some(node) if !section.has("truncate") => {
            section.error_with("truncate", &node.place, "is blank", advice);
            None
        }
        Some(_) => section.boolean("truncate").map(|found| found.value),
        None => match context.shape {
            Shape::DataX => {
                section.error_with("truncate", section.place(), "is missing", advice);
                None
            }
            Shape::DataWorks | Shape::Forebay => {
                context.report.info(section.place(), "truncate is not given: true, the run replaces the old rows");
                Some(true)
            }
        },
    }
}

fn block_bytes(section: &Section<'_>) -> Option<u64> {
    let given = section.has("blockSizeInMB");
    let found = section.integer("blockSizeInMB", i64::MIN..=BLOCK_MB_MAX);
    match found {
        Some(found) => Some(found.value.max(BLOCK_MB_MIN).unsigned_abs() * MIB),
        None if given => None,
        None => Some(BLOCK_MB_DEFAULT * MIB),
    }
}

/// Statements of a list or a single text; blank ones are dropped.
fn statements(section: &Section<'_>, key: &str) -> Vec<String> {
    let texts = section.texts_or_one(key).map(|found| found.value).unwrap_or_default();
    texts.into_iter().map(|text| text.value.trim().to_owned()).filter(|text| !text.is_empty()).collect()
}

/// What the job says about routing rows by their content; the table decides whether it happens.
fn routing(section: &Section<'_>) -> Option<Routing> {
    let mut fits = true;
    for key in ["customPartitionColumns", "customPartitionFunctions"] {
        if let Some(node) = section.node(key).filter(|node| !is_empty(node)) {
            fits = false;
            section.error_with(key, &node.place, "is not supported: it runs the vendor's own code", CUSTOM_ADVICE);
        }
    }
    if let Some(found) = section.text("partitionFormatType").filter(|f| f.value.trim().eq_ignore_ascii_case("custom")) {
        fits = false;
        let message = "\"custom\" is not supported: it runs the vendor's own code";
        section.error_with("partitionFormatType", &found.place, message, CUSTOM_ADVICE);
    }
    let wanted = section.boolean("supportDynamicPartition").map(|found| found.value);
    let partitions_max = section.small("dynamicPartitionsMax", 1..=ROUTED_PARTITIONS_MAX);
    let mapping = partition_mapping(section)?;
    let partitions_max = partitions_max.map_or(ROUTED_PARTITIONS_DEFAULT, |found| found.value);
    fits.then_some(Routing { wanted, mapping, levels: Vec::new(), partitions_max })
}

fn partition_mapping(section: &Section<'_>) -> Option<Vec<PartitionFormat>> {
    let Some(node) = section.node("partitionColumnMapping") else { return Some(Vec::new()) };
    let super::json::Value::Array(items) = &node.value else {
        let message = format!("must be a list of {{name, dateFormat}}, but is {}", node.kind());
        section.error("partitionColumnMapping", &node.place, message);
        return None;
    };
    let format = |(index, item)| {
        let entry = section.entry(&format!("partitionColumnMapping[{index}]"), item);
        let name = entry.required_text("name", "name the partition column");
        let pattern = entry.required_text("dateFormat", "write a date pattern such as yyyyMMdd");
        let source_format = entry.text("srcDateFormat");
        entry.warn_unknown();
        let date_format = |key: &str, found: Found<String>| {
            DateFormat::parse(&found.value).map_err(|why| entry.error(key, &found.place, why)).ok()
        };
        let source_format = match source_format {
            Some(found) => Some(date_format("srcDateFormat", found)?),
            None => None,
        };
        Some(PartitionFormat { name: name?.value, source_format, format: date_format("dateFormat", pattern?)? })
    };
    items.iter().enumerate().map(format).collect()
}

fn is_empty(node: &super::json::Node) -> bool {
    match &node.value {
        super::json::Value::Array(items) => items.is_empty(),
        super::json::Value::Object(members) => members.is_empty(),
        _ => false,
    }
}

fn without_effect(section: &Section<'_>, context: &Context<'_>) {
    if section.boolean("consistencyCommit").is_some_and(|found| !found.value) {
        let why = "a job always commits once";
        context.report.ignored(format!("{} ({why})", section.full("consistencyCommit")));
    }
    section.ignore(&[
        "compress",
        "isCompress",
        "dynamicPartitionMemUsageFlushIntervalInMinute",
        "checkWithGetSize",
        "useDateWithCalendar",
        "calendarType",
        "calendarLenient",
        "dmu",
        "jvmOption",
        "jvmMemory",
    ]);
}

const UPLOAD_COMPRESSION: &[(&str, UploadCompression)] = &[
    ("none", UploadCompression::None),
    ("deflate", UploadCompression::Deflate),
    ("snappy", UploadCompression::Snappy),
    ("lz4", UploadCompression::Lz4),
    ("zstd", UploadCompression::Zstd),
];

const OVER_LENGTH: &[(&str, OverLength)] =
    &[("keepOn", OverLength::KeepOn), ("truncate", OverLength::Truncate), ("setNull", OverLength::SetNull)];

const CUSTOM_ADVICE: &str = "name the partition columns in column, and format them with partitionColumnMapping";

/// Limits of odpswriter's block size: less is raised, more is refused.
const BLOCK_MB_MIN: i64 = 8;
const BLOCK_MB_MAX: i64 = 512;
const BLOCK_MB_DEFAULT: u64 = 64;
const MIB: u64 = 1024 * 1024;
const RETRIES_DEFAULT: u32 = 10;
const WRITE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(600);
/// A day, the life of an upload session.
const WRITE_TIMEOUT_MS_MAX: i64 = 86_400_000;
