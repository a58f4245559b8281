//! What the table itself says about a batch whose upload session the service has forgotten ("Exactly-once from Kafka into
//! MaxCompute", S8): rows that carry the partition and the offset they came from.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Job;
use crate::job::{JobSpec, SourceColumn, WriterColumns};
use crate::sync::intent::SealedSession;
use crate::sync::step::{Evidence, EvidenceOrder, Range};
use crate::tunnel::{ColumnType, ErrorKind, PartitionSpec, TableSchema};

/// Columns of the table by which a row can be told to be of a given record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EvidenceColumns {
    partition: String,
    offset: String,
    /// Text columns that hold the same in every row of this job: they tell its rows from those of another topic.
    constants: Vec<(String, String)>,
}

impl EvidenceColumns {
    /// The columns that the job maps to a record's partition and offset; none unless there are both, of types that keep the
    /// numbers whole.
    pub(super) fn of(spec: &JobSpec, schema: &TableSchema) -> Option<Self> {
        let names: Vec<&str> = match &spec.writer.columns {
            WriterColumns::All => schema.columns.iter().map(|column| column.name.as_str()).collect(),
            WriterColumns::Named(names) => names.iter().map(String::as_str).collect(),
        };
        let (mut partition, mut offset, mut constants) = (None, None, Vec::new());
        for (source, name) in spec.reader.columns.iter().zip(names) {
            let Some(column) = schema.columns.iter().find(|column| column.name.eq_ignore_ascii_case(name)) else {
                continue;
            };
            let text = column.type_ == ColumnType::String;
            match source {
                SourceColumn::Partition if text || matches!(column.type_, ColumnType::Int | ColumnType::BigInt) => {
                    partition.get_or_insert_with(|| column.name.clone());
                }
                SourceColumn::Offset if text || column.type_ == ColumnType::BigInt => {
                    offset.get_or_insert_with(|| column.name.clone());
                }
                SourceColumn::Constant(value) if text && !value.is_empty() => {
                    constants.push((column.name.clone(), value.clone()));
                }
                _ => {}
            }
        }
        Some(Self { partition: partition?, offset: offset?, constants })
    }

    /// A statement that counts rows of these ranges in one target.
    fn query(&self, table: &str, target: Option<&PartitionSpec>, ranges: &BTreeMap<i32, Range>) -> String {
        let mut query = format!("select count(*) from {} where ", name(table));
        for (key, value) in target.map(PartitionSpec::levels).unwrap_or_default() {
            // Writing to a string cannot fail.
            let _ = write!(query, "{} = {} and ", name(key), literal(value));
        }
        for (column, value) in &self.constants {
            let _ = write!(query, "{} = {} and ", name(column), literal(value));
        }
        let any = ranges.iter().map(|(partition, Range { begin, end })| {
            let (p, o) = (name(&self.partition), name(&self.offset));
            format!(
                "(cast({p} as bigint) = {partition} and cast({o} as bigint) >= {begin} and cast({o} as bigint) < {end})"
            )
        });
        let _ = write!(query, "({})", any.collect::<Vec<_>>().join(" or "));
        query
    }
}

/// A column or table name as SQL takes any.
fn name(text: &str) -> String {
    format!("`{}`", text.replace('`', "``"))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// Looks for rows of the order's ranges in its session's target.
pub(super) async fn look(job: &Job, order: &EvidenceOrder) -> Evidence {
    let Some(columns) = &job.evidence else { return Evidence::Silent };
    let EvidenceOrder { session: SealedSession { target, upload_id, .. }, ranges, .. } = order;
    let partition = PartitionSpec::parse(target).ok();
    let table = &job.spec.writer.table;
    if let Some(partition) = &partition {
        // A partition that was dropped held the rows, or never existed: it says nothing.
        match job.maxcompute.create_download(table, Some(partition)).await {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NoSuchPartition => return Evidence::Silent,
            Err(error) => {
                log::warn!("looking for rows of upload session {upload_id} in {partition}: {error}");
                return Evidence::Unavailable;
            }
        }
    }
    let found = match job.maxcompute.sql(&columns.query(table, partition.as_ref(), ranges), &[]).await {
        Ok(output) => output.rows.first().and_then(|row| row.first()?.as_deref()?.parse::<u64>().ok()),
        Err(error) => {
            log::warn!("looking for rows of upload session {upload_id}: {error}");
            None
        }
    };
    let evidence = match found {
        None => Evidence::Unavailable,
        Some(0) => Evidence::Absent,
        Some(_) => Evidence::Found,
    };
    if let Some(rows) = found {
        log::warn!(
            "job {}: MaxCompute has forgotten upload session {upload_id}; the table holds {rows} of its rows{}",
            job.spec.name,
            if rows == 0 { ", so they are written again" } else { ", so it was committed" },
        );
    }
    evidence
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statement_names_the_target_the_constants_and_the_ranges() {
        let columns = EvidenceColumns {
            partition: "p".into(),
            offset: "o`x".into(),
            constants: vec![("topic".into(), "it's".into())],
        };
        let target = PartitionSpec::parse("d=1/h='2'").expect("a partition");
        let ranges = BTreeMap::from([(3, Range { begin: 5, end: 9 })]);
        assert_eq!(
            columns.query("t", Some(&target), &ranges),
            "select count(*) from `t` where `d` = '1' and `h` = '2' and `topic` = 'it\\'s' and ((cast(`p` as bigint) = 3 \
             and cast(`o``x` as bigint) >= 5 and cast(`o``x` as bigint) < 9))"
        );
    }
}
