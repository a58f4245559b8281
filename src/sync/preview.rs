//! The first rows of a run as it would write them: read, converted, encoded and decoded again, and dropped.

use std::time::Duration;

use super::connect::{budget, consumer_config, kafka_failure};
use super::convert::{Converter, Dirty};
use super::error::{RunError, RunErrorKind};
use super::plan::{PartitionRange, Target};
use super::prepare::{Prepared, prepare};
use super::stats::Delta;
use crate::job::JobSpec;
use crate::kafka::record::Decompressor;
use crate::kafka::{Consumer, ConsumerConfig};
use crate::limits::FIELD_BYTES_MAX;
use crate::tunnel::{RowDecoder, RowEncoder, TableSchema, Value};

/// How long no answer may bring anything before the rest is left out.
const QUIET_MAX: Duration = Duration::from_secs(10);

/// Rows that a run would write.
#[derive(Clone, Debug)]
pub struct Preview {
    /// The table's columns.
    pub schema: TableSchema,
    /// Whether each row has a partition of its own.
    pub routed: bool,
    /// The rows, by partition and offset.
    pub rows: Vec<PreviewRow>,
    /// Records that cannot become rows.
    pub dirty: Vec<DirtyRecord>,
}

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub struct PreviewRow {
    /// The Kafka partition.
    pub partition: i32,
    /// The record's offset.
    pub offset: i64,
    /// The table partition it belongs to, as `pt=1,hh=2`; empty where rows are not routed.
    pub target: String,
    /// A value for every column of the table.
    pub values: Vec<Value>,
}

/// A record that cannot become a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirtyRecord {
    /// The Kafka partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Which column, and why.
    pub why: Dirty,
}

/// Reads from the begin of the job's range until there are `rows_max` rows or dirty records. Writes and commits nothing.
///
/// # Errors
/// [`RunError`], as a run would end before its first row.
pub async fn preview(spec: &JobSpec, rows_max: usize) -> Result<Preview, RunError> {
    let prepared = prepare(spec).await?;
    let converter =
        Converter::new(&spec.reader, &spec.writer, &spec.settings.time_zone, &prepared.table.schema, FIELD_BYTES_MAX)
            .map_err(|error| RunError::new(RunErrorKind::Config, error.to_string()))?;
    let mut preview =
        Preview { schema: prepared.table.schema.clone(), routed: prepared.routed, rows: Vec::new(), dirty: Vec::new() };
    let readable = |range: &&PartitionRange| range.begin < end_of(range);
    let open: Vec<PartitionRange> = prepared.plan.ranges.iter().filter(readable).copied().collect();
    for (index, range) in open.iter().enumerate() {
        let found = preview.rows.len().saturating_add(preview.dirty.len());
        // Every partition gets its share of what is left.
        let share = rows_max.saturating_sub(found).div_ceil(open.len().saturating_sub(index));
        read(spec, &prepared, &converter, range, share, &mut preview).await?;
    }
    Ok(preview)
}

/// The offset after the last one that is there to be read.
fn end_of(range: &PartitionRange) -> i64 {
    match range.target {
        Target::Offset(end) => end.min(range.log_end),
        Target::Time(_) => range.log_end,
    }
}

async fn read(
    spec: &JobSpec,
    prepared: &Prepared,
    converter: &Converter,
    range: &PartitionRange,
    share: usize,
    preview: &mut Preview,
) -> Result<(), RunError> {
    let budget = budget(spec, 1);
    let settings = ConsumerConfig { wait_ms_max: 500, ..consumer_config(spec, &budget) };
    let start = [(range.partition, range.begin)];
    let mut consumer = Consumer::of_topic(&prepared.client, settings, &spec.reader.topic, &start);
    let mut decompressor = Decompressor::new(budget.batch_bytes);
    let mut taken: usize = 0;
    while taken < share {
        let Ok(fetched) = tokio::time::timeout(QUIET_MAX, consumer.next()).await else {
            log::warn!("partition {}: no record came within {} s", range.partition, QUIET_MAX.as_secs());
            return Ok(());
        };
        let mut fetched = fetched.map_err(|error| kafka_failure(&error))?;
        while let Some(records) = fetched.next_records(&mut decompressor).map_err(|error| kafka_failure(&error))? {
            for record in &records {
                let record = record.map_err(|error| RunError::new(RunErrorKind::SafetyStop, error.to_string()))?;
                if taken >= share || record.offset >= end_of(range) {
                    return Ok(());
                }
                taken = taken.saturating_add(1);
                let mut rows = RowEncoder::new();
                let mut target = String::new();
                let converted = converter.convert_into(range.partition, &record, &mut Delta::default(), |found| {
                    found.clone_into(&mut target);
                    Some(&mut rows)
                });
                let (partition, offset) = (range.partition, record.offset);
                match converted {
                    Ok(_) => preview.rows.push(PreviewRow {
                        partition,
                        offset,
                        target,
                        values: decoded(rows, &preview.schema)?,
                    }),
                    Err(why) => preview.dirty.push(DirtyRecord { partition, offset, why: *why }),
                }
            }
        }
        if fetched.position() >= end_of(range) {
            return Ok(());
        }
    }
    Ok(())
}

/// The row as it would arrive.
fn decoded(rows: RowEncoder, schema: &TableSchema) -> Result<Vec<Value>, RunError> {
    let bug =
        |why: String| RunError::new(RunErrorKind::Bug, format!("a row that was just encoded cannot be read: {why}"));
    let mut decoder = RowDecoder::new(schema);
    decoder.push(&rows.finish());
    decoder.next_row().map_err(|error| bug(error.to_string()))?.ok_or_else(|| bug("it is missing".to_owned()))
}
