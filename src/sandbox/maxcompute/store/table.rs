//! What a table is at one moment, and how that is written down.
//!
//! A [`Table`] never changes: every change makes a new one, which replaces the old one in one step (and one rename of its
//! manifest when there is a data folder). Readers keep the one they began with.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::rows::Types;
use super::segment::Segment;
use crate::tunnel::{Column, ColumnType, PartitionSpec, TableSchema};

/// One state of a table.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    /// Unique for the life of the data folder; a table dropped and created again has another.
    pub(crate) id: String,
    pub(crate) schema_name: String,
    pub(crate) name: String,
    pub(crate) comment: String,
    /// `LIFECYCLE` in days.
    pub(crate) lifecycle: Option<u32>,
    pub(crate) schema: Arc<TableSchema>,
    /// How many data columns each version of the schema had, the first version first: columns are only ever added behind
    /// the others.
    pub(crate) column_counts: Vec<usize>,
    pub(crate) created_ms: i64,
    /// When its definition or partitions last changed.
    pub(crate) defined_ms: i64,
    /// When its data last changed.
    pub(crate) modified_ms: i64,
    /// By the values of the partition keys; a table without partitions has the single key of no values.
    pub(crate) partitions: BTreeMap<Vec<String>, Partition>,
    /// Upload sessions whose blocks are in, and when that happened. What makes a commit atomic: it is in the same write.
    pub(crate) committed: BTreeMap<String, i64>,
}

/// The data of one partition, or of a table without partitions.
#[derive(Clone, Debug)]
pub(crate) struct Partition {
    pub(crate) created_ms: i64,
    pub(crate) modified_ms: i64,
    pub(crate) segments: Vec<Arc<Segment>>,
}

impl Partition {
    /// A partition without rows.
    pub(crate) const fn new(now_ms: i64) -> Self {
        Self { created_ms: now_ms, modified_ms: now_ms, segments: Vec::new() }
    }

    pub(crate) fn rows(&self) -> u64 {
        self.segments.iter().map(|segment| segment.rows).sum()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }
}

impl Table {
    /// The types of the data columns in stream order.
    pub(crate) fn types(&self) -> Types {
        self.schema.columns.iter().map(|column| column.type_.clone()).collect()
    }

    /// The present version of the schema, counted from 1.
    pub(crate) fn schema_version(&self) -> u64 {
        self.column_counts.len() as u64
    }

    /// The schema as it was in a version; `None` for one that never was.
    pub(crate) fn schema_at(&self, version: u64) -> Option<TableSchema> {
        let place = usize::try_from(version.checked_sub(1)?).ok()?;
        let columns = self.schema.columns.get(..*self.column_counts.get(place)?)?;
        Some(TableSchema { columns: columns.to_vec(), partition_keys: self.schema.partition_keys.clone() })
    }

    /// The key in [`Table::partitions`] of a partition that [`PartitionSpec::order_by`] has put in order.
    pub(crate) fn key_of(spec: Option<&PartitionSpec>) -> Vec<String> {
        spec.map(|spec| spec.levels().iter().map(|(_, value)| value.clone()).collect()).unwrap_or_default()
    }

    /// The text of a partition: `pt=1,type=2`; empty for a table without partitions.
    pub(crate) fn text_of(&self, key: &[String]) -> String {
        let levels =
            self.schema.partition_keys.iter().zip(key).map(|(column, value)| format!("{}={value}", column.name));
        levels.collect::<Vec<_>>().join(",")
    }

    pub(crate) fn segments(&self) -> impl Iterator<Item = &Arc<Segment>> {
        self.partitions.values().flat_map(|partition| partition.segments.iter())
    }

    pub(crate) fn rows(&self) -> u64 {
        self.partitions.values().map(Partition::rows).sum()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.partitions.values().map(Partition::bytes).sum()
    }

    /// The state as the manifest's text.
    pub(crate) fn to_manifest(&self) -> Vec<u8> {
        let manifest = Manifest {
            format: FORMAT,
            id: self.id.clone(),
            schema_name: self.schema_name.clone(),
            name: self.name.clone(),
            comment: self.comment.clone(),
            lifecycle: self.lifecycle,
            columns: columns_out(&self.schema.columns),
            partition_keys: columns_out(&self.schema.partition_keys),
            column_counts: self.column_counts.clone(),
            created_ms: self.created_ms,
            defined_ms: self.defined_ms,
            modified_ms: self.modified_ms,
            partitions: self
                .partitions
                .iter()
                .map(|(key, partition)| PartitionEntry {
                    key: key.clone(),
                    created_ms: partition.created_ms,
                    modified_ms: partition.modified_ms,
                    segments: partition.segments.iter().map(|segment| (segment.name.clone(), segment.rows)).collect(),
                })
                .collect(),
            committed: self.committed.clone(),
        };
        // Every part is a text, a number or a list of them, so this cannot fail.
        serde_json::to_vec(&manifest).unwrap_or_default()
    }

    /// Reads a manifest; `open` finds the segment of a file name and row count.
    pub(crate) fn from_manifest(
        text: &[u8],
        mut open: impl FnMut(&str, u64) -> std::io::Result<Arc<Segment>>,
    ) -> Result<Self, String> {
        let manifest: Manifest = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        if manifest.format != FORMAT {
            return Err(format!("format {} is not the known {FORMAT}", manifest.format));
        }
        let mut partitions = BTreeMap::new();
        for entry in manifest.partitions {
            let segments = entry
                .segments
                .iter()
                .map(|(name, rows)| open(name, *rows).map_err(|error| format!("{name}: {error}")))
                .collect::<Result<Vec<_>, _>>()?;
            let partition = Partition { created_ms: entry.created_ms, modified_ms: entry.modified_ms, segments };
            partitions.insert(entry.key, partition);
        }
        let schema = TableSchema {
            columns: columns_in(manifest.columns)?,
            partition_keys: columns_in(manifest.partition_keys)?,
        };
        let mut column_counts = manifest.column_counts;
        if column_counts.last() != Some(&schema.columns.len()) {
            // Written before versions were kept.
            column_counts = vec![schema.columns.len()];
        }
        Ok(Self {
            id: manifest.id,
            schema_name: manifest.schema_name,
            name: manifest.name,
            comment: manifest.comment,
            lifecycle: manifest.lifecycle,
            schema: Arc::new(schema),
            column_counts,
            created_ms: manifest.created_ms,
            defined_ms: manifest.defined_ms,
            modified_ms: manifest.modified_ms,
            partitions,
            committed: manifest.committed,
        })
    }
}

/// Version of the manifest's form.
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Manifest {
    format: u32,
    id: String,
    schema_name: String,
    name: String,
    comment: String,
    lifecycle: Option<u32>,
    columns: Vec<ColumnEntry>,
    partition_keys: Vec<ColumnEntry>,
    #[serde(default)]
    column_counts: Vec<usize>,
    created_ms: i64,
    defined_ms: i64,
    modified_ms: i64,
    partitions: Vec<PartitionEntry>,
    committed: BTreeMap<String, i64>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct ColumnEntry {
    name: String,
    #[serde(rename = "type")]
    type_: String,
    nullable: bool,
    comment: String,
}

#[derive(Serialize, Deserialize)]
struct PartitionEntry {
    key: Vec<String>,
    created_ms: i64,
    modified_ms: i64,
    segments: Vec<(String, u64)>,
}

pub(crate) fn columns_out(columns: &[Column]) -> Vec<ColumnEntry> {
    columns
        .iter()
        .map(|column| ColumnEntry {
            name: column.name.clone(),
            type_: column.type_.to_string(),
            nullable: column.nullable,
            comment: column.comment.clone(),
        })
        .collect()
}

pub(crate) fn columns_in(entries: Vec<ColumnEntry>) -> Result<Vec<Column>, String> {
    entries
        .into_iter()
        .map(|entry| {
            let type_ = ColumnType::parse(&entry.type_).map_err(|error| error.to_string())?;
            Ok(Column { name: entry.name, type_, nullable: entry.nullable, comment: entry.comment })
        })
        .collect()
}
