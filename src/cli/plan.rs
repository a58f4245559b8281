//! `forebay plan`.

use std::fmt::Write as _;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::job::{Form, JobOptions, notes_json, tell_notes};
use super::meaning::{effect, end_rule, meaning, shape};
use super::{Failure, engine, out};
use crate::job::{JobSpec, Mode, Purpose, WriterColumns};
use crate::sync::RunError;
use crate::sync::outlook::{self, Outlook, PartitionOutlook};
use crate::sync::plan::Target;

/// A job file, and how its plan is printed.
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    job: JobOptions,

    /// Contact neither Kafka nor MaxCompute: only what the file decides
    #[arg(help_heading = "Plan", long)]
    offline: bool,

    /// What is printed: for people, or one JSON object
    #[arg(help_heading = "Plan", short = 'o', long, value_name = "FORM", value_enum, default_value_t = Form::Text)]
    output: Form,
}

const EXAMPLES: &str = "\
Examples:
  forebay plan job.json --datasources sources.toml
  forebay plan orders.toml -o json
  forebay plan job.json --offline -p bizdate=20240101";

impl PlanArgs {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let spec = self.job.load(if self.offline { Purpose::Check } else { Purpose::Run })?;
        let outlook = match self.offline {
            true => None,
            false => Some(outlook::outlook(&spec).await.map_err(failure)?),
        };
        match self.output {
            Form::Text => {
                tell_notes(&spec.notes, &self.job.file_name());
                out::data(&meaning(&spec));
                if let Some(outlook) = &outlook {
                    out::data(&format!("\n{}", text(outlook)));
                }
            }
            Form::Json => {
                let object = object(&spec, outlook.as_ref(), &self.job.file_name());
                out::data(&format!("{object}\n"));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Why both ends could not be asked.
pub(super) fn failure(error: RunError) -> Failure {
    let failure = Failure::new(engine::exit_code(error.kind), error.message);
    match error.advice {
        Some(advice) => failure.advise(advice),
        None => failure,
    }
}

fn text(outlook: &Outlook) -> String {
    let mut out = String::new();
    // Writing to a String does not fail.
    let mut line = |label: &str, value: &str| {
        let _ = writeln!(out, "{label:<10} {value}");
    };
    line("target", &format!("{}, through {}", outlook.target, outlook.tunnel_endpoint));
    for (index, column) in outlook.columns.iter().enumerate() {
        line(if index == 0 { "types" } else { "" }, &format!("{} {} <- {}", column.to, column.type_, column.from));
    }
    if !outlook.unfed.is_empty() {
        line("NULL", &outlook.unfed.join(", "));
    }
    let budget = &outlook.budget;
    line(
        "memory",
        &format!(
            "{} lane{}; of each: {} fetched at a time, {} held, {} in a piece of rows; largest batch {}",
            budget.lanes,
            if budget.lanes == 1 { "" } else { "s" },
            size(budget.fetch_bytes),
            size(budget.buffer_bytes),
            size(budget.chunk_bytes),
            size(budget.batch_bytes)
        ),
    );
    out.push('\n');
    let header = ["partition", "leader", "begin", "end", "records", "begin is"];
    let row = |cells: [&str; 6]| {
        let [partition, leader, begin, end, records, why] = cells;
        format!("{partition:>9} {leader:>7} {begin:>15} {end:>15} {records:>12}  {why}\n")
    };
    out.push_str(&row(header));
    let mut sum = 0_u64;
    for partition in &outlook.partitions {
        let (end, records) = end_and_records(partition, outlook.continuous);
        sum = sum.saturating_add(records.unwrap_or(0));
        let leader = partition.leader.map_or_else(|| "none".to_owned(), |leader| leader.to_string());
        out.push_str(&row([
            &partition.range.partition.to_string(),
            &leader,
            &partition.range.begin.to_string(),
            &end,
            &records.map_or_else(|| "-".to_owned(), |records| records.to_string()),
            &reason(partition),
        ]));
    }
    let _ = writeln!(out, "{:>9} {:>7} {:>15} {:>15} {sum:>12}", "all", "", "", "");
    out
}

/// Why a range begins where it does.
fn reason(partition: &PartitionOutlook) -> String {
    match partition.sealed_to {
        Some(end) => format!("{}; a batch up to {end} is sealed, and settled first", partition.reason),
        None => partition.reason.to_string(),
    }
}

/// The end as text, and the offsets up to it; of a range without an end those that are there now.
fn end_and_records(partition: &PartitionOutlook, continuous: bool) -> (String, Option<u64>) {
    let range = &partition.range;
    let now = u64::try_from(range.log_end.saturating_sub(range.begin)).ok().or(Some(0));
    match range.target {
        Target::Offset(i64::MAX) => ("none".to_owned(), now),
        Target::Offset(_) if continuous => ("none".to_owned(), now),
        Target::Offset(end) => (end.to_string(), range.offsets()),
        Target::Time(_) => ("a time to come".to_owned(), now),
    }
}

fn size(bytes: usize) -> String {
    const MIB: usize = 1 << 20;
    match bytes {
        MIB.. if bytes.is_multiple_of(MIB) => format!("{} MiB", bytes / MIB),
        MIB.. => format!("{}.{} MiB", bytes / MIB, (bytes % MIB) * 10 / MIB),
        _ => format!("{} KiB", bytes / 1024),
    }
}

/// The plan as one object; what only the ends can say is absent offline.
fn object(spec: &JobSpec, outlook: Option<&Outlook>, file: &str) -> Value {
    let (reader, writer, settings) = (&spec.reader, &spec.writer, &spec.settings);
    let names = match &writer.columns {
        WriterColumns::All => None,
        WriterColumns::Named(names) => Some(names),
    };
    let columns: Vec<Value> = match outlook {
        Some(outlook) => {
            let column = |c: &outlook::ColumnOutlook| json!({"to": c.to, "type": c.type_, "from": c.from});
            outlook.columns.iter().map(column).collect()
        }
        None => (reader.columns.iter().enumerate())
            .map(|(index, from)| {
                let to = names.and_then(|names| names.get(index));
                json!({"to": to, "position": index.saturating_add(1), "from": from.to_string()})
            })
            .collect(),
    };
    let mut object = json!({
        "job": spec.name,
        "file": file,
        "shape": shape(spec),
        "source": {
            "brokers": reader.servers,
            "topic": reader.topic,
            "partitions": reader.partitions,
            "group": outlook.map_or_else(|| reader.group.clone(), |outlook| outlook.group.clone()),
            "commits_offsets": reader.commit_offsets,
            "begin": reader.begin.to_string(),
            "end": if spec.unbounded { "none".to_owned() } else { reader.end.to_string() },
            "ends": end_rule(spec),
        },
        "target": {
            "project": writer.connection.project,
            "endpoint": writer.connection.endpoint,
            "data_source": writer.connection.source,
            "table": writer.table,
            "partition": writer.partition,
            "mode": if writer.mode == Mode::Stream { "stream" } else { "batch" },
            "truncate": writer.truncate,
            "effect": effect(spec),
        },
        "columns": columns,
        "limits": {
            "concurrent": settings.concurrent,
            "bytes_per_second": settings.bytes_per_second,
            "records_per_second": settings.records_per_second,
            "dirty_rows": settings.dirty_limit.records,
            "dirty_share": settings.dirty_limit.percentage,
            "block_bytes": writer.block_bytes,
            "memory_max": spec.memory_max,
            "commit_every": {
                "rows": spec.batch.rows,
                "bytes": spec.batch.bytes,
                "seconds": spec.batch.age.map(|age| age.as_secs_f64()),
            },
        },
        "notes": notes_json(&spec.notes, file),
    });
    if let (Some(outlook), Some(members)) = (outlook, object.as_object_mut()) {
        let budget = &outlook.budget;
        members.insert("resolved_target".to_owned(), json!(outlook.target));
        members.insert("tunnel_endpoint".to_owned(), json!(outlook.tunnel_endpoint));
        members.insert("routed".to_owned(), json!(outlook.routed));
        members.insert("null_columns".to_owned(), json!(outlook.unfed));
        members.insert(
            "memory".to_owned(),
            json!({
                "lanes": budget.lanes,
                "fetch_bytes": budget.fetch_bytes,
                "buffer_bytes": budget.buffer_bytes,
                "batch_bytes": budget.batch_bytes,
                "chunk_bytes": budget.chunk_bytes,
            }),
        );
        let ranges: Vec<Value> =
            outlook.partitions.iter().map(|partition| range(partition, outlook.continuous)).collect();
        members.insert("ranges".to_owned(), Value::Array(ranges));
    }
    object
}

fn range(partition: &PartitionOutlook, continuous: bool) -> Value {
    let range = &partition.range;
    let end = match range.target {
        Target::Offset(end) if end < i64::MAX && !continuous => Some(end),
        _ => None,
    };
    json!({
        "partition": range.partition,
        "leader": partition.leader,
        "begin": range.begin,
        "begin_from": if partition.sealed_to.is_some() { "intent" } else { partition.reason.code() },
        "why": reason(partition),
        "sealed_to": partition.sealed_to,
        "end": end,
        "log_start": partition.log_start,
        "log_end": range.log_end,
        "offsets": end_and_records(partition, continuous).1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        for (bytes, wanted) in [(131_072, "128 KiB"), (8 << 20, "8 MiB"), ((8 << 20) + (1 << 19), "8.5 MiB")] {
            assert_eq!(size(bytes), wanted);
        }
    }
}
