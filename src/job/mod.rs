//! Job files: DataWorks script mode and DataX JSON, read into one checked description.
//!
//! [`load`] is a function of its arguments: it opens no connection and asks neither clock nor environment; only a data source
//! that says `${file:/path}` makes it read a file. It reports every error it can find, each with its place, and never repeats
//! a secret.
//!
//! The way of a file: [`json`](self) keeps a place for every value; overrides (`sets`) and variables ([`vars`]) are filled in;
//! `shape` finds reader, writer and settings; `reader`, `writer` and `settings` turn them into the types of [`spec`] with the
//! leniency of `section`.

mod columns;
mod context;
mod convert;
pub mod datasource;
mod date_format;
mod env;
mod json;
mod kafka_config;
mod own;
mod own_names;
mod partition;
mod range;
mod reader;
pub mod report;
mod routing;
pub mod secret;
mod section;
mod servers;
mod sets;
mod settings;
mod shape;
pub mod spec;
mod suggest;
mod toml;
pub mod vars;
mod writer;
mod zone;

use std::fmt;
use std::path::Path;

use jiff::Timestamp;

pub use context::Purpose;
pub use convert::{ConvertError, Converted, to_toml};
pub use datasource::{Datasources, Identity, OdpsConfig, OdpsConnection, Sources, resolve_odps};
pub use date_format::DateFormat;
pub(crate) use kafka_config::OF_MEMBERS;
pub use report::{JobError, JobErrors, Note, Place, Severity};
pub use secret::Secret;
pub use spec::*;
pub(crate) use suggest::nearest;

use context::Context;
use json::Value;
use reader::ReaderPart;
use report::Report;
use section::Section;
use settings::SettingNodes;
use vars::Vars;
use writer::WriterPart;

/// What a job file is read with.
#[derive(Clone)]
pub struct LoadOptions {
    /// Variables of the command line, name and value; a later one of the same name wins.
    pub params: Vec<(String, String)>,
    /// Overrides: `STEP.KEY` and value, in order.
    pub sets: Vec<(String, String)>,
    /// What data source names are looked up in.
    pub sources: Sources,
    /// The start of the job, from which dates are counted.
    pub now: Timestamp,
    /// Whether the job is to run or only to be looked at.
    pub purpose: Purpose,
}

/// Of variables and overrides the names alone: `--set Reader.kafkaConfig.sasl.password=…` is one.
impl fmt::Debug for LoadOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |pairs: &[(String, String)]| pairs.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        let Self { params, sets, sources, now, purpose } = self;
        let mut shown = f.debug_struct("LoadOptions");
        shown.field("params", &names(params)).field("sets", &names(sets)).field("sources", sources);
        shown.field("now", now).field("purpose", purpose).finish()
    }
}

impl LoadOptions {
    /// Options without variables, overrides and data sources, for a run at `now`.
    pub fn new(now: Timestamp) -> Self {
        Self { params: Vec::new(), sets: Vec::new(), sources: Sources::default(), now, purpose: Purpose::Run }
    }
}

/// Reads a job from the text of a file; `file_name` is used for messages and for the job's name.
///
/// # Errors
/// All reasons why the job cannot run, with places; a syntax error alone, since nothing can be read behind it.
pub fn load(file_name: &str, text: &str, options: &LoadOptions) -> Result<JobSpec, JobErrors> {
    let report = Report::default();
    match read(file_name, text, options, &report) {
        Ok(Some(mut spec)) => {
            spec.notes = report.finish(file_name)?;
            Ok(spec)
        }
        Ok(None) => Err(failed(report, file_name)),
        Err(error) => {
            report.error(error);
            Err(failed(report, file_name))
        }
    }
}

/// The errors of a job that could not be read: every way there reports one.
fn failed(report: Report, file_name: &str) -> JobErrors {
    if !report.has_errors() {
        report.error(JobError::new(Place::Job, "", "the job cannot be read"));
    }
    match report.finish(file_name) {
        Err(errors) => errors,
        Ok(notes) => JobErrors { file: file_name.to_owned(), errors: Vec::new(), notes },
    }
}

fn read(file_name: &str, text: &str, options: &LoadOptions, report: &Report) -> Result<Option<JobSpec>, JobError> {
    let (mut document, shape, own) = if own::is_own(file_name, text) {
        let filled_with = (&options.sources.env, options.params.as_slice(), options.now);
        let (document, own) = own::read(file_name, text, filled_with, report)?;
        (document, Shape::Forebay, own)
    } else {
        let document = json::parse(text, report)?;
        let shape = shape::shape_of(&document)?;
        (document, shape, own::Own::default())
    };
    let sets = options.sets.iter().map(|(name, value)| match shape {
        Shape::Forebay => (own_names::renamed(name), value.clone()),
        _ => (name.clone(), value.clone()),
    });
    sets::apply(&mut document, shape, &sets.collect::<Vec<_>>(), report);

    let zone = job_zone(&shape::setting_nodes(&document, shape), options, report);
    let vars = Vars::new(&options.params, options.now, &zone);
    // Texts of the own shape were filled in when it was read.
    if shape != Shape::Forebay {
        vars.fill(&mut document, "", report);
        vars.tell(report);
    }

    let parts = shape::parts(&document, shape, report);
    let charset = settings::charset(&parts.settings, report);
    let context = Context { purpose: options.purpose, shape, sources: &options.sources, report, zone, charset };
    let settings = settings::read(&parts.settings, &context);
    let reader = parts.reader.and_then(|step| reader::read(&Section::new(step.name, step.parameter, report), &context));
    let format = reader.as_ref().map_or(DataFormat::Json, |reader| reader.spec.data_format.clone());
    let writer =
        parts.writer.and_then(|step| writer::read(&Section::new(step.name, step.parameter, report), &format, &context));
    let (Some(settings), Some(reader), Some(writer)) = (settings, reader, writer) else { return Ok(None) };
    compare_columns(&reader, &writer, report);
    check_routing(&reader, &writer, report);
    let commit_offsets = commits(&reader, &writer, report);
    Ok(Some(JobSpec {
        name: name_of(file_name),
        shape,
        reader: ReaderSpec { commit_offsets, ..reader.spec },
        writer: writer.spec,
        settings,
        unbounded: own.unbounded,
        batch: own.batch,
        memory_max: own.memory_max,
        dead_letters: own.dead_letters,
        notes: Vec::new(),
        redacted_json: document.redacted(),
    }))
}

/// The job's zone, which variables need before they are filled in: only those of the command line may stand in its name.
fn job_zone(nodes: &SettingNodes<'_>, options: &LoadOptions, report: &Report) -> jiff::tz::TimeZone {
    let Some(node) = settings::zone_node(nodes) else { return zone::default_zone() };
    let Value::Text(text) = &node.value else {
        let message = format!("must be a text, but is {}", node.kind());
        if node.value != Value::Null {
            report.error(JobError::new(node.place.clone(), "common.column.timeZone", message));
        }
        return zone::default_zone();
    };
    let vars = Vars::new(&options.params, options.now, &zone::default_zone());
    match vars.replace(text) {
        Ok(text) => settings::zone(Some((node, &text)), report),
        // The same text is filled in with the rest of the file, and reported there.
        Err(_) => zone::default_zone(),
    }
}

/// More source columns than table columns cannot be placed; fewer leave NULLs.
fn compare_columns(reader: &ReaderPart, writer: &WriterPart, report: &Report) {
    let WriterColumns::Named(names) = &writer.spec.columns else { return };
    let (from, to) = (reader.spec.columns.len(), names.len());
    if from > to {
        let message = format!("the reader has {from} columns, but the writer only {to}");
        let error = JobError::new(writer.columns_place.clone(), format!("{}.column", writer.name), message);
        report.error(
            error.advise("entry i of the reader feeds entry i of the writer: add the missing ones or take some out"),
        );
    } else if from < to {
        let rest = names.get(from..).unwrap_or_default().join(", ");
        let text = format!("the writer has {to} columns, but the reader only {from}; NULL goes into {rest}");
        report.warn(&writer.columns_place, text);
    }
}

/// What can be said of routing before the table is known: that the job does not ask for two things at once.
fn check_routing(reader: &ReaderPart, writer: &WriterPart, report: &Report) {
    let (spec, routing) = (&writer.spec, &writer.spec.routing);
    let error = |key: &str, message: &str, advice: &str| {
        let key = format!("{}.{key}", writer.name);
        report.error(JobError::new(writer.columns_place.clone(), key, message).advise(advice));
    };
    let by_columns = "name all partition columns of the table in \"column\", and leave \"partition\" blank";
    if !routing.levels.is_empty() {
        if routing.wanted == Some(false) {
            error(
                "supportDynamicPartition",
                "is false, but the partition has values in braces",
                "take one of them out",
            );
        }
        if !routing.mapping.is_empty() {
            let advice = "write the format into the braces, such as {__timestamp__:yyyyMMdd}";
            error("partitionColumnMapping", "has no place beside a partition with values in braces", advice);
        }
        return;
    }
    let asked = routing.wanted == Some(true) || !routing.mapping.is_empty();
    if !asked {
        return;
    }
    let key = if routing.mapping.is_empty() { "supportDynamicPartition" } else { "partitionColumnMapping" };
    match &spec.columns {
        WriterColumns::All => error(key, "asks for rows to be routed, but column is [\"*\"]", by_columns),
        _ if !spec.partition.is_empty() => {
            error(key, "asks for rows to be routed, but partition names one for all of them", by_columns);
        }
        _ if routing.wanted == Some(false) => {
            error("supportDynamicPartition", "is false, but partitionColumnMapping is given", "take one of them out");
        }
        WriterColumns::Named(names) if names.len() != reader.spec.columns.len() => {
            error(
                key,
                "asks for rows to be routed, but reader and writer have different numbers of columns",
                by_columns,
            );
        }
        WriterColumns::Named(names) => {
            for format in &routing.mapping {
                if !names.iter().any(|name| name.eq_ignore_ascii_case(&format.name)) {
                    let message = format!("formats {:?}, which column does not name", format.name);
                    error("partitionColumnMapping", &message, by_columns);
                }
            }
        }
    }
}

/// Whether offsets are committed. An append needs them to know what it has loaded, so it does not let itself be switched off.
fn commits(reader: &ReaderPart, writer: &WriterPart, report: &Report) -> bool {
    let has_group = reader.spec.group.is_some();
    let Some(off) = reader.auto_commit.as_ref().filter(|found| !found.value) else { return has_group };
    if writer.spec.truncate {
        return false;
    }
    if has_group {
        report
            .info(&off.place, "enable.auto.commit is false, yet a job that appends commits its offsets with its rows");
    }
    has_group
}

/// The file's name without folders and extension.
fn name_of(file_name: &str) -> String {
    let stem = Path::new(file_name).file_stem().map(|stem| stem.to_string_lossy().into_owned());
    match stem {
        Some(stem) if file_name != "-" && file_name != "<stdin>" => stem,
        _ => "stdin".to_owned(),
    }
}

#[cfg(test)]
mod tests;
