//! Tables as the engine sees them: each scan of a query is a table of its own name, read lazily from its blocks.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gluesql_core::ast::ColumnDef;
use gluesql_core::data::{CustomFunction as FunctionDefinition, Key, Schema, Value as EngineValue};
use gluesql_core::error::{Error, Result};
use gluesql_core::prelude::DataType;
use gluesql_core::store::{
    AlterTable, CustomFunction, CustomFunctionMut, Index, IndexMut, Metadata, Planner, RowIter, Store, StoreMut,
    Transaction,
};
use jiff::tz::TimeZone;

use super::super::store::rows::{RowFault, RowScan, Types};
use super::super::store::segment::Segment;
use super::super::store::table::Table;
use super::native::{Native, cast};
use super::value::to_engine;
use crate::tunnel::{ColumnType, Value};

/// One use of a table in a query.
#[derive(Clone, Debug)]
pub(super) struct ScanPlan {
    /// The name under which the engine knows it.
    pub(super) name: String,
    pub(super) table: Arc<Table>,
    /// Which columns the query mentions: data columns, then partition keys.
    pub(super) wanted: Vec<bool>,
    /// Extra columns behind them.
    pub(super) natives: Vec<Native>,
}

impl ScanPlan {
    pub(super) fn new(name: String, table: Arc<Table>) -> Self {
        let width = table.schema.columns.len() + table.schema.partition_keys.len();
        Self { name, table, wanted: vec![false; width], natives: Vec::new() }
    }

    /// Name and type of every column: data columns, then partition keys.
    pub(super) fn columns(&self) -> impl Iterator<Item = (&str, &ColumnType)> {
        let schema = &self.table.schema;
        schema.columns.iter().chain(&schema.partition_keys).map(|column| (column.name.as_str(), &column.type_))
    }

    /// The name of an extra column.
    pub(super) fn native_name(index: usize) -> String {
        format!("__native{index}")
    }

    fn schema(&self) -> Schema {
        let define = |name: String, type_: &ColumnType| ColumnDef {
            name,
            data_type: engine_type(type_),
            nullable: true,
            default: None,
            unique: None,
            comment: None,
        };
        let natives =
            self.natives.iter().enumerate().map(|(index, native)| define(Self::native_name(index), &native.type_()));
        let columns = self.columns().map(|(name, type_)| define(name.to_owned(), type_)).chain(natives).collect();
        Schema {
            table_name: self.name.clone(),
            column_defs: Some(columns),
            indexes: Vec::new(),
            engine: None,
            foreign_keys: Vec::new(),
            comment: None,
        }
    }
}

/// The engine's type for a column; what it lacks travels as text or bytes.
pub(super) fn engine_type(type_: &ColumnType) -> DataType {
    match type_ {
        ColumnType::TinyInt | ColumnType::SmallInt | ColumnType::Int | ColumnType::BigInt => DataType::Int,
        ColumnType::Float | ColumnType::Double => DataType::Float,
        ColumnType::Boolean => DataType::Boolean,
        ColumnType::Decimal(_) => DataType::Decimal,
        ColumnType::Date => DataType::Date,
        ColumnType::Datetime | ColumnType::Timestamp | ColumnType::TimestampNtz => DataType::Timestamp,
        type_ if type_.is_text() => DataType::Text,
        _ => DataType::Bytea,
    }
}

/// The store of one query.
#[derive(Debug)]
pub(super) struct QueryStore {
    scans: BTreeMap<String, Rc<ScanPlan>>,
    zone: TimeZone,
    cancelled: Arc<AtomicBool>,
}

impl QueryStore {
    pub(super) fn new(scans: Vec<ScanPlan>, zone: TimeZone, cancelled: Arc<AtomicBool>) -> Self {
        let scans = scans.into_iter().map(|scan| (scan.name.clone(), Rc::new(scan))).collect();
        Self { scans, zone, cancelled }
    }
}

impl Store for QueryStore {
    fn fetch_schema(&self, table_name: &str) -> Result<Option<Schema>> {
        Ok(self.scans.get(table_name).map(|scan| scan.schema()))
    }

    fn fetch_all_schemas(&self) -> Result<Vec<Schema>> {
        Ok(self.scans.values().map(|scan| scan.schema()).collect())
    }

    fn fetch_data(&self, _: &str, _: &Key) -> Result<Option<Vec<EngineValue>>> {
        // Only tables with primary keys are asked by key, and there are none.
        Ok(None)
    }

    fn scan_data<'a>(&'a self, table_name: &str) -> Result<RowIter<'a>> {
        let scan = self.scans.get(table_name).ok_or_else(|| Error::StorageMsg(format!("no scan '{table_name}'")))?;
        Ok(Box::new(Rows::new(Rc::clone(scan), self.zone.clone(), Arc::clone(&self.cancelled))))
    }
}

impl StoreMut for QueryStore {}
impl Index for QueryStore {}
impl IndexMut for QueryStore {}
impl AlterTable for QueryStore {}
impl Transaction for QueryStore {}
impl Metadata for QueryStore {}
impl CustomFunctionMut for QueryStore {}
impl Planner for QueryStore {}

impl CustomFunction for QueryStore {
    fn fetch_function<'a>(&'a self, _: &str) -> Result<Option<&'a FunctionDefinition>> {
        Ok(None)
    }
}

/// The rows of one block, decoded as they are asked for.
type SegmentRows = RowScan<Box<dyn std::io::Read + Send>>;

/// The rows of one scan, block after block.
struct Rows {
    scan: Rc<ScanPlan>,
    types: Types,
    zone: TimeZone,
    cancelled: Arc<AtomicBool>,
    /// The segments still to be read, each with its partition's values.
    ahead: std::vec::IntoIter<(Rc<[Value]>, Arc<Segment>)>,
    now: Option<(Rc<[Value]>, Reading)>,
    /// What to decode: the mentioned columns and those that extra columns need.
    decode: Vec<bool>,
    row: Vec<Value>,
    number: i64,
}

/// A segment being read.
enum Reading {
    Scan(SegmentRows),
    /// No column is asked for, as in `count(*)`: the number of rows that are left is all there is to know.
    Count(u64),
}

impl Reading {
    fn next_row(&mut self, decode: &[bool], row: &mut Vec<Value>) -> std::result::Result<bool, RowFault> {
        match self {
            Self::Scan(scan) => scan.next_row(decode, row),
            Self::Count(left) => {
                row.clear();
                row.resize(decode.len(), Value::Null);
                let more = *left > 0;
                *left = left.saturating_sub(1);
                Ok(more)
            }
        }
    }
}

impl Rows {
    fn new(scan: Rc<ScanPlan>, zone: TimeZone, cancelled: Arc<AtomicBool>) -> Self {
        let schema = &scan.table.schema;
        let types = scan.table.types();
        let mut ahead = Vec::new();
        for (key, partition) in &scan.table.partitions {
            let keys = schema.partition_keys.iter().zip(key);
            let values: Vec<Value> = keys
                .map(|(column, value)| {
                    let text = Value::text(value.as_str());
                    cast(&ColumnType::String, &text, &column.type_, &zone).unwrap_or(Value::Null)
                })
                .collect();
            let values: Rc<[Value]> = Rc::from(values);
            ahead.extend(partition.segments.iter().map(|segment| (Rc::clone(&values), Arc::clone(segment))));
        }
        let mut decode = scan.wanted.clone();
        for native in &scan.natives {
            native.columns(&mut |index| {
                if let Some(slot) = decode.get_mut(index) {
                    *slot = true;
                }
            });
        }
        Self { scan, types, zone, cancelled, ahead: ahead.into_iter(), now: None, decode, row: Vec::new(), number: 0 }
    }

    /// The next row as kept, with the partition keys behind the data columns; false at the end.
    fn advance(&mut self) -> Result<bool> {
        let wrong = |error: String| Error::StorageMsg(error);
        loop {
            if let Some((keys, reading)) = &mut self.now {
                if reading.next_row(&self.decode, &mut self.row).map_err(|fault| wrong(fault.to_string()))? {
                    self.row.truncate(self.types.len());
                    self.row.extend(keys.iter().cloned());
                    return Ok(true);
                }
                self.now = None;
            }
            if self.cancelled.load(Ordering::Relaxed) {
                return Err(wrong("the instance has been cancelled".to_owned()));
            }
            let Some((keys, segment)) = self.ahead.next() else { return Ok(false) };
            let reading = if self.decode.iter().take(self.types.len()).any(|decode| *decode) {
                let source = segment.open().map_err(|error| wrong(error.to_string()))?;
                Reading::Scan(RowScan::new(source, Arc::clone(&self.types)))
            } else {
                Reading::Count(segment.rows)
            };
            self.now = Some((keys, reading));
        }
    }

    fn next_values(&mut self) -> Result<Option<Vec<EngineValue>>> {
        if !self.advance()? {
            return Ok(None);
        }
        let width = self.scan.wanted.len();
        let mut values = Vec::with_capacity(width + self.scan.natives.len());
        // Extra columns look at the row before its values are given away.
        let natives: Vec<EngineValue> = self
            .scan
            .natives
            .iter()
            .map(|native| to_engine(&native.type_(), native.evaluate(&self.row, &self.zone)))
            .collect();
        for (((_, type_), wanted), value) in self.scan.columns().zip(&self.scan.wanted).zip(self.row.drain(..)) {
            values.push(if *wanted { to_engine(type_, value) } else { EngineValue::Null });
        }
        values.extend(natives);
        Ok(Some(values))
    }
}

impl Iterator for Rows {
    type Item = Result<(Key, Vec<EngineValue>)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.number += 1;
        if self.number % CANCEL_ROWS == 0 && self.cancelled.load(Ordering::Relaxed) {
            return Some(Err(Error::StorageMsg("the instance has been cancelled".to_owned())));
        }
        match self.next_values() {
            Ok(Some(values)) => Some(Ok((Key::I64(self.number), values))),
            Ok(None) => None,
            Err(error) => Some(Err(error)),
        }
    }
}

/// Rows between two looks at whether the instance was cancelled.
const CANCEL_ROWS: i64 = 4096;
