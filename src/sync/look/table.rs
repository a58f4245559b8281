//! The MaxCompute end: the table, the job's columns against its own, the way to Tunnel.

use super::{Findings, LookOptions};
use crate::job::{self, JobSpec};
use crate::limits::FIELD_BYTES_MAX;
use crate::sync::connect::{compression, config, tunnel_failure};
use crate::sync::convert::{ColumnError, Converter};
use crate::sync::error::RunError;
use crate::sync::prepare::{maxcompute, target_name, target_partition};
use crate::tunnel::{ErrorKind, MaxCompute, PartitionSpec, Table, UploadOptions};

/// Attempts of a request: who looks does not want to wait as a run may.
const RETRIES_MAX: u32 = 2;
/// The id of an upload session that nobody has.
const NO_SESSION: &str = "00000000000000000000000000000000";

pub(super) async fn look(spec: &JobSpec, options: LookOptions) -> Vec<super::Finding> {
    let mut findings = Findings::of("maxcompute");
    if let Err(error) = ask(spec, options, &mut findings).await {
        findings.error(error);
    }
    findings.found
}

async fn ask(spec: &JobSpec, options: LookOptions, findings: &mut Findings) -> Result<(), RunError> {
    let writer = &spec.writer;
    let maxcompute = maxcompute(spec, writer.retries_max.min(RETRIES_MAX))?;
    let table = match maxcompute.table(&writer.table).await {
        Ok(table) => table,
        Err(error) if error.kind() == ErrorKind::NoSuchTable => {
            // Whether somebody may list tables is another right than to read one; nobody is told about it here.
            let names = maxcompute.table_names().await.unwrap_or_default();
            let near = job::nearest(&writer.table, names.iter().map(String::as_str));
            let failure = tunnel_failure(&error);
            return Err(match near {
                Some(near) => failure.advise(format!("did you mean {near}?")),
                None => failure,
            });
        }
        Err(error) => return Err(tunnel_failure(&error)),
    };
    let keys: Vec<&str> = table.schema.partition_keys.iter().map(|key| key.name.as_str()).collect();
    let parted =
        if keys.is_empty() { "not partitioned".to_owned() } else { format!("partitioned by {}", keys.join(", ")) };
    findings.good(format!(
        "table {}.{}: {} columns, {parted}",
        writer.connection.project,
        table.name,
        table.schema.columns.len()
    ));
    if table.is_view || table.is_external {
        let what = if table.is_view { "a view" } else { "an external table" };
        findings
            .error(config(format!("{} is {what}; only tables can be written", writer.table)).advise("name a table"));
    }
    let (partition, routed) = columns(spec, &table, findings);
    tunnel(spec, options, &maxcompute, partition.as_ref(), routed, findings).await;
    Ok(())
}

/// The job's columns against the table's, and where in the table rows go.
fn columns(spec: &JobSpec, table: &Table, findings: &mut Findings) -> (Option<PartitionSpec>, bool) {
    let (reader, writer) = (&spec.reader, &spec.writer);
    let converter = match Converter::new(reader, writer, &spec.settings.time_zone, &table.schema, FIELD_BYTES_MAX) {
        Ok(converter) => converter,
        Err(error) => {
            findings.error(with_suggestion(writer.table.as_str(), &error));
            return (None, false);
        }
    };
    let misfits = converter.misfits();
    for misfit in &misfits {
        findings.warn(
            format!(
                "column {} {}: no value of {} fits it, each makes its row dirty",
                misfit.target_name, misfit.target_type, misfit.source_name
            ),
            "change the column's type, or what feeds it (keyType and valueType say what __key__ and __value__ are)",
        );
    }
    if misfits.is_empty() {
        findings.good(format!("{} columns of the job fit the table's types", reader.columns.len()));
    }
    if converter.is_routed() {
        findings.good("rows go to partitions by what each record holds");
        return (None, true);
    }
    match target_partition(spec, table) {
        Ok(partition) => (partition, false),
        Err(error) => {
            findings.error(error);
            (None, false)
        }
    }
}

fn with_suggestion(table: &str, error: &ColumnError) -> RunError {
    let failure = config(format!("table {table}: {error}"));
    match error {
        ColumnError::Unknown { column, known } => match job::nearest(column, known.iter().map(String::as_str)) {
            Some(near) => failure.advise(format!("did you mean {near}?")),
            None => failure,
        },
        _ => failure,
    }
}

/// Whether Tunnel can be reached and knows this key. Asking for a session that nobody has changes nothing and proves both.
async fn tunnel(
    spec: &JobSpec,
    options: LookOptions,
    maxcompute: &MaxCompute,
    partition: Option<&PartitionSpec>,
    routed: bool,
    findings: &mut Findings,
) {
    let endpoint = match maxcompute.tunnel_endpoint().await {
        Ok(endpoint) => endpoint,
        Err(error) => return findings.error(tunnel_failure(&error)),
    };
    let table = &spec.writer.table;
    let asked = maxcompute.attach_upload(table, None, NO_SESSION, compression(spec)).await;
    match asked {
        Err(error) if is_about_the_way(error.kind()) => return findings.error(tunnel_failure(&error)),
        _ => findings.good(format!("tunnel at {endpoint} answers")),
    }
    if !options.open_session || routed {
        return;
    }
    let upload =
        UploadOptions { overwrite: spec.writer.truncate, create_partition: false, compression: compression(spec) };
    match maxcompute.create_upload(table, partition, upload).await {
        Ok(session) => findings.good(format!(
            "this key may write {}: upload session {} was opened, and is left to run out",
            target_name(spec, partition, routed),
            session.id()
        )),
        Err(error) if error.kind() == ErrorKind::NoSuchPartition => {
            findings.good(format!("partition {} does not exist yet; a run creates it", spec.writer.partition));
        }
        Err(error) => findings.error(tunnel_failure(&error)),
    }
}

/// Failures that a run would meet too, whatever session it asks for.
const fn is_about_the_way(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Config
            | ErrorKind::Auth
            | ErrorKind::Forbidden
            | ErrorKind::NoSuchProject
            | ErrorKind::NoSuchTable
            | ErrorKind::Throttled
            | ErrorKind::Unavailable
    )
}
