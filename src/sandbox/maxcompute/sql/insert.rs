//! INSERT INTO and INSERT OVERWRITE: rows of a query become blocks of a table, all at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use gluesql_core::sqlparser::ast::Query;

use super::super::store::Addition;
use super::super::store::segment::Segment;
use super::super::store::table::Table;
use super::native::cast;
use super::parse::{PartitionClause, TableName, Words};
use super::select::evaluate;
use super::text::show;
use super::value::settle;
use super::{SqlContext, SqlError, encode_row};
use crate::tunnel::{ColumnType, PartitionSpec, RowEncoder, Value};

/// Where the rows go.
#[derive(Debug)]
pub(super) struct Insert {
    pub(super) name: TableName,
    pub(super) overwrite: bool,
    pub(super) partition: PartitionClause,
    /// The columns that the query fills, in its order; empty for all of them.
    pub(super) columns: Vec<String>,
}

/// Runs the query and commits its rows.
pub(super) fn run(insert: &Insert, query: Query, words: &Words, context: &SqlContext) -> Result<(), SqlError> {
    let table = context.table(&insert.name)?;
    let key = context.key_of(&insert.name)?;
    let target = Target::of(insert, &table)?;
    let evaluated = evaluate(query, words, context)?;
    let given = evaluated.columns.len();
    if given != target.columns.len() + target.dynamic.len() {
        return Err(SqlError::semantic(format!(
            "wrong columns count {given} in data source, requires {} columns (includes dynamic partitions if any)",
            target.columns.len() + target.dynamic.len()
        )));
    }
    let kinds: Vec<Option<ColumnType>> = evaluated.columns.into_iter().map(|column| column.type_).collect();
    let mut parts: BTreeMap<Vec<String>, Vec<Vec<Value>>> = BTreeMap::new();
    if target.dynamic.is_empty() {
        // Also without rows: an overwrite empties its target.
        parts.insert(target.fixed(&[]), Vec::new());
    }
    for row in evaluated.rows {
        let (partition, row) = target.place(row, &kinds, &table, context)?;
        parts.entry(partition).or_default().push(row);
    }
    let mut additions = Vec::new();
    for (partition, rows) in parts {
        let segments = if rows.is_empty() { Vec::new() } else { vec![write(&table, &rows, context)?] };
        additions.push(Addition { partition, segments });
    }
    let written: Vec<Arc<Segment>> = additions.iter().flat_map(|addition| addition.segments.clone()).collect();
    let committed = context.tables.commit(&key, additions, insert.overwrite, true, None);
    if committed.is_err() {
        written.iter().for_each(|segment| segment.discard());
    }
    committed.map(|_| ()).map_err(SqlError::store)
}

/// How the columns of a query map onto a table.
struct Target {
    /// For each column of the query that is data, its place in the table.
    columns: Vec<usize>,
    /// One value a level; `None` where the query's last columns give it.
    levels: Vec<Option<String>>,
    /// The levels that are dynamic, outermost first.
    dynamic: Vec<usize>,
}

impl Target {
    fn of(insert: &Insert, table: &Table) -> Result<Self, SqlError> {
        let schema = &table.schema;
        let mut levels: Vec<Option<Option<String>>> = vec![None; schema.partition_keys.len()];
        for (name, value) in &insert.partition {
            let slot = schema.partition_key_index(name).and_then(|level| levels.get_mut(level));
            let slot = slot.ok_or_else(|| SqlError::semantic(format!("invalid partition column {name}")))?;
            *slot = Some(value.clone());
        }
        let dynamic_all = insert.partition.is_empty();
        if dynamic_all && schema.is_partitioned() && insert.columns.is_empty() && insert.overwrite {
            return Err(SqlError::semantic("the table is partitioned, but no partition is given"));
        }
        if !dynamic_all && levels.iter().any(Option::is_none) {
            return Err(SqlError::semantic("the partition does not name every partition column"));
        }
        let mut dynamic = Vec::new();
        let mut fixed = Vec::new();
        for (level, value) in levels.into_iter().enumerate() {
            let value = value.flatten();
            if value.is_none() {
                dynamic.push(level);
            }
            fixed.push(value);
        }
        let columns = if insert.columns.is_empty() {
            (0..schema.columns.len()).collect()
        } else {
            let mut columns = Vec::new();
            for name in insert.columns.iter().filter(|name| schema.partition_key_index(name).is_none()) {
                let index = schema.column_index(name);
                columns.push(index.ok_or_else(|| SqlError::semantic(format!("column {name} cannot be resolved")))?);
            }
            columns
        };
        Ok(Self { columns, levels: fixed, dynamic })
    }

    /// The key of the partition, with the dynamic levels filled in.
    fn fixed(&self, dynamic: &[String]) -> Vec<String> {
        let mut dynamic = dynamic.iter();
        self.levels
            .iter()
            .map(|level| level.clone().unwrap_or_else(|| dynamic.next().cloned().unwrap_or_default()))
            .collect()
    }

    /// A row of the query as partition and row of the table.
    fn place(
        &self,
        row: Vec<Value>,
        kinds: &[Option<ColumnType>],
        table: &Table,
        context: &SqlContext,
    ) -> Result<(Vec<String>, Vec<Value>), SqlError> {
        let mut out = vec![Value::Null; table.schema.columns.len()];
        let mut dynamic = Vec::new();
        for (nth, value) in row.into_iter().enumerate() {
            let kind = kinds.get(nth).cloned().flatten();
            match self.columns.get(nth) {
                Some(index) => {
                    let column = table.schema.columns.get(*index);
                    if let (Some(column), Some(slot)) = (column, out.get_mut(*index)) {
                        *slot = convert(value, kind, &column.type_, context).ok_or_else(|| {
                            SqlError::runtime(format!(
                                "a value does not fit column {} of type {}",
                                column.name, column.type_
                            ))
                        })?;
                        if slot.is_null() && !column.nullable {
                            return Err(SqlError::runtime(format!("column {} must not be NULL", column.name)));
                        }
                    }
                }
                None => {
                    let kind = kind.unwrap_or(ColumnType::String);
                    dynamic.push(show(&kind, &value, &context.time_zone));
                }
            }
        }
        let key = self.fixed(&dynamic);
        let names = table.schema.partition_keys.iter().map(|column| column.name.clone());
        if !key.is_empty()
            && let Err(error) = PartitionSpec::from_pairs(names.zip(key.iter().cloned()))
        {
            return Err(SqlError::runtime(format!("invalid partition value: {error}")));
        }
        Ok((key, out))
    }
}

/// A value as a column takes it; texts and numbers convert where nothing is lost but precision.
fn convert(value: Value, kind: Option<ColumnType>, type_: &ColumnType, context: &SqlContext) -> Option<Value> {
    if let Some(value) = settle(type_, value.clone()) {
        return Some(value);
    }
    let kind = kind.unwrap_or(match &value {
        Value::BigInt(_) => ColumnType::BigInt,
        Value::Double(_) => ColumnType::Double,
        Value::Boolean(_) => ColumnType::Boolean,
        Value::Decimal(_) => ColumnType::Decimal(None),
        Value::Date(_) => ColumnType::Date,
        Value::Timestamp { .. } => ColumnType::Timestamp,
        _ => ColumnType::String,
    });
    cast(&kind, &value, type_, &context.time_zone)
}

fn write(table: &Table, rows: &[Vec<Value>], context: &SqlContext) -> Result<Arc<Segment>, SqlError> {
    let number = context.tables.next_number();
    let unique = format!("sql.{}.{number}", context.clock.now_ms());
    let mut writer = context.tables.writer(&table.id, &unique)?;
    let mut encoder = RowEncoder::new();
    for row in rows {
        encode_row(&mut encoder, &table.schema, row)?;
        if encoder.pending_bytes() >= super::ENCODE_BYTES {
            writer.write(&encoder.take())?;
        }
    }
    writer.write(&encoder.take())?;
    Ok(writer.finish(&format!("{unique}.rows"), rows.len() as u64)?)
}
