//! SELECT: lowered, planned and run by the engine, its rows given the types they are known or seen to have.

use std::sync::Arc;

use gluesql_core::error::Error as EngineError;
use gluesql_core::executor::{Payload, execute};
use gluesql_core::sqlparser::ast::{Query, SetExpr, SetOperator, SetQuantifier, Statement as SqlStatement};
use gluesql_core::store::Planner;
use gluesql_core::translate::translate;

use super::lower::{Lowering, OutputColumn};
use super::parse::Words;
use super::scan::QueryStore;
use super::value::{from_engine, settle};
use super::{RowSet, SqlContext, SqlError, encode_in_memory};
use crate::tunnel::{Column, ColumnType, DecimalShape, TableSchema, Value};

/// The rows of a query in their natural kinds, see [`from_engine`].
#[derive(Debug)]
pub(super) struct Evaluated {
    pub(super) columns: Vec<OutputColumn>,
    pub(super) rows: Vec<Vec<Value>>,
}

/// Runs a SELECT to its end.
pub(super) fn run(query: Query, words: &Words, context: &SqlContext) -> Result<RowSet, SqlError> {
    let (columns, rows) = settled(evaluate(query, words, context)?);
    let schema = TableSchema { columns, partition_keys: Vec::new() };
    let segment = encode_in_memory(&schema, &rows)?;
    Ok(RowSet { schema: Arc::new(schema), segment, time_zone: context.time_zone.clone() })
}

/// Runs a query and gives its rows as they come.
pub(super) fn evaluate(mut query: Query, words: &Words, context: &SqlContext) -> Result<Evaluated, SqlError> {
    if let SetExpr::SetOperation { op: SetOperator::Union, set_quantifier: SetQuantifier::All, left, right } =
        &*query.body
        && query.order_by.is_none()
        && query.limit.is_none()
    {
        let part = |body: &SetExpr| Query { body: Box::new(body.clone()), ..query.clone() };
        let (left, right) = (part(left), part(right));
        let mut first = evaluate(left, words, context)?;
        let second = evaluate(right, words, context)?;
        if first.columns.len() != second.columns.len() {
            return Err(SqlError::semantic("the two sides of UNION ALL have different numbers of columns"));
        }
        for (column, other) in first.columns.iter_mut().zip(&second.columns) {
            if column.type_ != other.type_ {
                column.type_ = None;
            }
        }
        first.rows.extend(second.rows);
        return Ok(first);
    }
    let mut lowering = Lowering::new(context, words);
    let columns = lowering.query(&mut query)?;
    let mut store = QueryStore::new(lowering.into_scans(), context.time_zone.clone(), Arc::clone(&context.cancelled));
    let statement = translate(&SqlStatement::Query(Box::new(query))).map_err(|error| refuse(&error))?;
    let plan = store.plan(statement.into()).map_err(|error| refuse(&error))?;
    match execute(&mut store, &plan).map_err(|error| refuse(&error))? {
        Payload::Select { rows, .. } => {
            let rows = rows.into_iter().map(|row| row.into_iter().map(from_engine).collect()).collect();
            Ok(Evaluated { columns, rows })
        }
        other => Err(SqlError::runtime(format!("the engine answered {other:?} to a query"))),
    }
}

/// Gives every column one type and every value that type: the known one if all values have it, else what the values say.
fn settled(evaluated: Evaluated) -> (Vec<Column>, Vec<Vec<Value>>) {
    let Evaluated { columns, mut rows } = evaluated;
    let mut out = Vec::new();
    for (index, column) in columns.into_iter().enumerate() {
        let known = column.type_.filter(|type_| {
            rows.iter().all(|row| row.get(index).is_some_and(|value| settle(type_, value.clone()).is_some()))
        });
        let type_ = known.unwrap_or_else(|| seen_type(rows.iter().filter_map(|row| row.get(index))));
        for row in &mut rows {
            if let Some(slot) = row.get_mut(index) {
                let value = std::mem::replace(slot, Value::Null);
                *slot = match (settle(&type_, value.clone()), value, &type_) {
                    (Some(value), ..) => value,
                    #[allow(clippy::cast_precision_loss, reason = "integers among doubles are shown as doubles")]
                    (None, Value::BigInt(number), ColumnType::Double) => Value::Double(number as f64),
                    (None, value, _) => {
                        Value::text(super::text::show(&ColumnType::String, &value, &jiff::tz::TimeZone::UTC))
                    }
                };
            }
        }
        out.push(Column::new(column.name, type_));
    }
    (out, rows)
}

/// The type that fits all of some natural values.
fn seen_type<'a>(values: impl Iterator<Item = &'a Value>) -> ColumnType {
    let mut seen = None;
    for value in values {
        let type_ = match value {
            Value::Null => continue,
            Value::BigInt(_) => ColumnType::BigInt,
            Value::Boolean(_) => ColumnType::Boolean,
            Value::Double(_) => ColumnType::Double,
            Value::Decimal(_) => ColumnType::Decimal(Some(DecimalShape { precision: 38, scale: 18 })),
            Value::Date(_) => ColumnType::Date,
            Value::Timestamp { .. } => ColumnType::Timestamp,
            _ => return ColumnType::String,
        };
        seen = match seen {
            None => Some(type_),
            Some(before) if before == type_ => Some(before),
            Some(ColumnType::BigInt) if type_ == ColumnType::Double => Some(ColumnType::Double),
            Some(ColumnType::Double) if type_ == ColumnType::BigInt => Some(ColumnType::Double),
            Some(_) => return ColumnType::String,
        };
    }
    seen.unwrap_or(ColumnType::String)
}

fn refuse(error: &EngineError) -> SqlError {
    match error {
        EngineError::Translate(_) | EngineError::Planner(_) => SqlError::semantic(error.to_string()),
        other => SqlError::runtime(other.to_string()),
    }
}
