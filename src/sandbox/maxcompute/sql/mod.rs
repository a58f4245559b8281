//! SQL of the local MaxCompute: DDL and INSERT by a small layer of its own, SELECT by gluesql over the kept blocks.
//!
//! A script runs statement by statement on one thread; the last statement's output is the instance's. Errors read as the
//! service's own, code and place first.

mod ddl;
mod insert;
mod lower;
mod native;
mod parse;
mod scan;
mod select;
mod text;
mod value;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parse::{Place, Statement, TableName, Words};

use super::store::rows::{RowScan, Types};
use super::store::segment::{Segment, SegmentWriter};
use super::store::table::Table;
use super::store::{StoreError, TableKey, Tables};
use crate::sandbox::clock::SandboxClock;
use crate::tunnel::{RowEncoder, TableSchema, Value};

/// What a script runs against.
#[derive(Clone, Debug)]
pub(super) struct SqlContext {
    pub(super) tables: Arc<Tables>,
    pub(super) clock: SandboxClock,
    pub(super) project: String,
    pub(super) owner: String,
    /// The schema of names that name none.
    pub(super) schema: String,
    /// In which DATETIME and TIMESTAMP are read and shown.
    pub(super) time_zone: jiff::tz::TimeZone,
    /// Set when the instance is to stop.
    pub(super) cancelled: Arc<AtomicBool>,
}

/// What a script gives.
#[derive(Clone, Debug)]
pub(super) enum SqlOutput {
    /// DDL and INSERT.
    Nothing,
    /// SHOW and DESC.
    Text(String),
    /// SELECT.
    Rows(RowSet),
}

/// The rows of a SELECT, encoded as a table's are.
#[derive(Clone, Debug)]
pub(super) struct RowSet {
    pub(super) schema: Arc<TableSchema>,
    pub(super) segment: Arc<Segment>,
    pub(super) time_zone: jiff::tz::TimeZone,
}

/// Why a script failed, in the service's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SqlError {
    code: &'static str,
    at: Option<Place>,
    text: String,
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some(at) => write!(f, "{}:[{},{}] {}", self.code, at.line, at.column, self.text),
            None => write!(f, "{}: {}", self.code, self.text),
        }
    }
}

impl SqlError {
    fn parse(at: Place, text: impl Into<String>) -> Self {
        Self { code: "ODPS-0130161", at: Some(at), text: format!("Parse exception - {}", text.into()) }
    }

    fn semantic(text: impl Into<String>) -> Self {
        let at = Some(Place { line: 1, column: 1 });
        Self { code: "ODPS-0130071", at, text: format!("Semantic analysis exception - {}", text.into()) }
    }

    fn runtime(text: impl Into<String>) -> Self {
        Self { code: "ODPS-0123031", at: None, text: format!("Runtime exception - {}", text.into()) }
    }

    fn no_such_table(at: Place, project: &str, table: &str) -> Self {
        let text = format!("Table not found - table {project}.{table} cannot be resolved");
        Self { code: "ODPS-0130131", at: Some(at), text }
    }

    fn table_exists(at: Place, project: &str, table: &str) -> Self {
        let text = format!("Table or view already exists - table or view {project}.{table} is already defined");
        Self { code: "ODPS-0130211", at: Some(at), text }
    }

    fn store(error: StoreError) -> Self {
        let (code, text) = match error {
            StoreError::NoSuchTable => ("ODPS-0110061", "Failed to run ddltask - the table is gone".to_owned()),
            StoreError::TableExists => ("ODPS-0110061", "Failed to run ddltask - the table exists".to_owned()),
            StoreError::NoSuchPartition(spec) => {
                ("ODPS-0110061", format!("Failed to run ddltask - partition {spec} does not exist"))
            }
            StoreError::PartitionExists(spec) => (
                "ODPS-0110061",
                format!(
                    "Failed to run ddltask - AlreadyExistsException(message:Partition already exists, existed values: [{spec}])"
                ),
            ),
            StoreError::Io(error) => return Self::io(&error),
        };
        Self { code, at: None, text }
    }

    fn io(error: &io::Error) -> Self {
        Self { code: "ODPS-0010000", at: None, text: format!("System internal error - DataStoreError: {error}") }
    }
}

impl From<io::Error> for SqlError {
    fn from(error: io::Error) -> Self {
        Self::io(&error)
    }
}

/// Runs a script and gives the output of its last statement.
///
/// # Errors
/// The first statement that fails ends the script; what came before it stays done.
pub(super) fn run(script: &str, context: &SqlContext) -> Result<SqlOutput, SqlError> {
    let (statements, words) = parse::parse(script)?;
    if statements.is_empty() {
        return Err(SqlError::parse(Place { line: 1, column: 1 }, "the query is empty"));
    }
    let mut output = SqlOutput::Nothing;
    for statement in statements {
        if context.cancelled.load(Ordering::SeqCst) {
            return Err(SqlError::runtime("the instance has been cancelled"));
        }
        output = run_one(statement, &words, context)?;
    }
    Ok(output)
}

fn run_one(statement: Statement, words: &Words, context: &SqlContext) -> Result<SqlOutput, SqlError> {
    match statement {
        Statement::Set => Ok(SqlOutput::Nothing),
        Statement::Query(query) => select::run(*query, words, context).map(SqlOutput::Rows),
        Statement::Insert { name, overwrite, partition, columns, query } => {
            insert::run(&insert::Insert { name, overwrite, partition, columns }, *query, words, context)?;
            Ok(SqlOutput::Nothing)
        }
        ddl => ddl::run(ddl, words, context),
    }
}

impl SqlContext {
    /// Schema and name of a table as written: `t`, `schema.t` or `project.t`, `project.schema.t`.
    fn key_of(&self, name: &TableName) -> Result<TableKey, SqlError> {
        let missing = || SqlError::no_such_table(name.at, &self.project, &name.parts.join("."));
        match name.parts.as_slice() {
            [table] => Ok((self.schema.clone(), table.clone())),
            [first, table] if first.eq_ignore_ascii_case(&self.project) => Ok((self.schema.clone(), table.clone())),
            [schema, table] => Ok((schema.clone(), table.clone())),
            [project, schema, table] if project.eq_ignore_ascii_case(&self.project) => {
                Ok((schema.clone(), table.clone()))
            }
            _ => Err(missing()),
        }
    }

    fn table(&self, name: &TableName) -> Result<Arc<Table>, SqlError> {
        let key = self.key_of(name)?;
        let found = self.tables.table(&key);
        found.ok_or_else(|| {
            let shown = match name.parts.as_slice() {
                [project, rest @ ..] if !rest.is_empty() && project.eq_ignore_ascii_case(&self.project) => {
                    rest.join(".")
                }
                parts => parts.join("."),
            };
            SqlError::no_such_table(name.at, &self.project, &shown)
        })
    }
}

/// Encodes rows into a segment in memory.
fn encode_in_memory(schema: &TableSchema, rows: &[Vec<Value>]) -> Result<Arc<Segment>, SqlError> {
    let mut writer = SegmentWriter::in_memory(Arc::default());
    let mut encoder = RowEncoder::new();
    for row in rows {
        encode_row(&mut encoder, schema, row)?;
        if encoder.pending_bytes() >= ENCODE_BYTES {
            writer.write(&encoder.take())?;
        }
    }
    writer.write(&encoder.take())?;
    Ok(writer.finish("result", rows.len() as u64)?)
}

/// Encodes one row, or says which column cannot hold its value.
fn encode_row(encoder: &mut RowEncoder, schema: &TableSchema, row: &[Value]) -> Result<(), SqlError> {
    for (index, (column, value)) in schema.columns.iter().zip(row).enumerate() {
        encoder
            .value(index, &column.type_, value)
            .map_err(|error| SqlError::runtime(format!("column {}: {error}", column.name)))?;
    }
    encoder.end_row();
    Ok(())
}

impl RowSet {
    /// The rows as the service prints a SELECT; at most `rows_max` of them.
    pub(super) fn to_csv(&self, rows_max: u64) -> Result<String, String> {
        csv(&self.schema, std::slice::from_ref(&self.segment), rows_max, &self.time_zone)
    }
}

/// Rows as CSV: a header, values in quotes, `\N` for NULL.
///
/// # Errors
/// What is wrong with a kept block.
pub(super) fn csv(
    schema: &TableSchema,
    segments: &[Arc<Segment>],
    rows_max: u64,
    zone: &jiff::tz::TimeZone,
) -> Result<String, String> {
    let types: Types = schema.columns.iter().map(|column| column.type_.clone()).collect();
    let header: Vec<String> = schema.columns.iter().map(|column| text::quote(&column.name)).collect();
    let mut out = header.join(",");
    out.push('\n');
    let wanted = vec![true; types.len()];
    let mut row = Vec::new();
    let mut rows = 0_u64;
    for segment in segments {
        let mut scan = RowScan::new(segment.open().map_err(|error| error.to_string())?, Arc::clone(&types));
        while rows < rows_max && scan.next_row(&wanted, &mut row).map_err(|error| error.to_string())? {
            let cells = types.iter().zip(&row).map(|(type_, value)| text::csv_cell(type_, value, zone));
            out.push_str(&cells.collect::<Vec<_>>().join(","));
            out.push('\n');
            rows += 1;
        }
    }
    Ok(out)
}

const ENCODE_BYTES: usize = 256 * 1024;
