//! Statements about tables and partitions, and the ones that show them.

use std::fmt::Write as _;

use gluesql_core::sqlparser::ast::Query;

use super::super::store::table::{Partition, Table};
use super::super::store::{NewTable, StoreError};
use super::parse::{PartitionClause, Place, Statement, TableName, Words};
use super::{SqlContext, SqlError, SqlOutput, insert, select};
use crate::tunnel::{Column, PartitionSpec, TableSchema};

/// Runs a statement that is neither a query nor an INSERT.
pub(super) fn run(statement: Statement, words: &Words, context: &SqlContext) -> Result<SqlOutput, SqlError> {
    match statement {
        Statement::CreateTable { name, if_not_exists, columns, partition_keys, comment, lifecycle, like, query } => {
            let schema = TableSchema { columns, partition_keys };
            let wanted = Wanted { name, if_not_exists, schema, comment, lifecycle };
            create(wanted, like.as_ref(), query, words, context)?;
        }
        Statement::CreateSchema(name) => {
            let schema = name.parts.last().cloned().unwrap_or_default();
            context.tables.create_schema(&schema);
        }
        Statement::DropTable { name, if_exists } => {
            let key = context.key_of(&name)?;
            match context.tables.drop_table(&key) {
                Ok(()) => {}
                Err(StoreError::NoSuchTable) if if_exists => {}
                Err(StoreError::NoSuchTable) => return Err(missing(&name, context)),
                Err(error) => return Err(SqlError::store(error)),
            }
        }
        Statement::Truncate { name, partitions } => truncate(&name, &partitions, context)?,
        Statement::AddPartition { name, if_not_exists, partitions } => {
            let (table, key) = (context.table(&name)?, context.key_of(&name)?);
            for clause in &partitions {
                let spec = full_spec(clause, &table)?;
                context.tables.add_partition(&key, &spec, if_not_exists).map_err(SqlError::store)?;
            }
        }
        Statement::DropPartition { name, if_exists, partitions } => {
            drop_partitions(&name, if_exists, &partitions, context)?
        }
        Statement::AddColumns { name, columns } => add_columns(&name, columns, context)?,
        Statement::SetLifecycle { name, days } => {
            change(&name, context, |table| table.lifecycle = Some(days))?;
        }
        Statement::SetComment { name, comment } => change(&name, context, |table| table.comment = comment)?,
        Statement::ShowTables { like } => return Ok(SqlOutput::Text(show_tables(like.as_deref(), context))),
        Statement::ShowPartitions(name) => {
            let table = context.table(&name)?;
            let lines: Vec<String> = table.partitions.keys().map(|key| table.text_of(key).replace(',', "/")).collect();
            return Ok(SqlOutput::Text(lines.join("\n")));
        }
        Statement::ShowCreateTable(name) => return Ok(SqlOutput::Text(show_create(&*context.table(&name)?, context))),
        Statement::Describe(name) => return Ok(SqlOutput::Text(describe(&*context.table(&name)?, context))),
        Statement::Set | Statement::Query(_) | Statement::Insert { .. } => {
            return Err(SqlError::runtime("not a statement about tables"));
        }
    }
    Ok(SqlOutput::Nothing)
}

struct Wanted {
    name: TableName,
    if_not_exists: bool,
    schema: TableSchema,
    comment: String,
    lifecycle: Option<u32>,
}

fn create(
    mut wanted: Wanted,
    like: Option<&TableName>,
    query: Option<Box<Query>>,
    words: &Words,
    context: &SqlContext,
) -> Result<(), SqlError> {
    let key = context.key_of(&wanted.name)?;
    if let Some(like) = like {
        wanted.schema = TableSchema::clone(&context.table(like)?.schema);
    }
    if let Some(query) = &query
        && wanted.schema.columns.is_empty()
    {
        let shape = select::run((**query).clone(), words, context)?;
        wanted.schema.columns.clone_from(&shape.schema.columns);
    }
    check_names(&wanted.schema)?;
    let new = NewTable {
        schema_name: key.0.clone(),
        name: key.1.clone(),
        comment: wanted.comment,
        lifecycle: wanted.lifecycle,
        schema: wanted.schema,
    };
    match context.tables.create(new) {
        Ok(_) => {}
        Err(StoreError::TableExists) if wanted.if_not_exists => return Ok(()),
        Err(StoreError::TableExists) => return Err(SqlError::table_exists(wanted.name.at, &context.project, &key.1)),
        Err(error) => return Err(SqlError::store(error)),
    }
    let Some(query) = query else { return Ok(()) };
    let target =
        insert::Insert { name: wanted.name, overwrite: false, partition: PartitionClause::new(), columns: Vec::new() };
    let filled = insert::run(&target, *query, words, context);
    if filled.is_err() {
        // A table that could not be filled is not left behind; the error of the query is the one to tell.
        let _ = context.tables.drop_table(&key);
    }
    filled
}

fn check_names(schema: &TableSchema) -> Result<(), SqlError> {
    let mut seen = std::collections::BTreeSet::new();
    for column in schema.columns.iter().chain(&schema.partition_keys) {
        if !seen.insert(column.name.to_lowercase()) {
            return Err(SqlError::semantic(format!("column {} is defined twice", column.name)));
        }
    }
    if let Some(key) = schema.partition_keys.iter().find(|key| key.type_.is_nested()) {
        return Err(SqlError::semantic(format!("partition column {} cannot have type {}", key.name, key.type_)));
    }
    Ok(())
}

fn truncate(name: &TableName, partitions: &[PartitionClause], context: &SqlContext) -> Result<(), SqlError> {
    let (table, key) = (context.table(name)?, context.key_of(name)?);
    let specs = partitions.iter().map(|clause| full_spec(clause, &table)).collect::<Result<Vec<_>, _>>()?;
    if specs.is_empty() && table.schema.is_partitioned() {
        return Err(SqlError::semantic("TRUNCATE of a partitioned table needs a partition"));
    }
    let changed = context.tables.change(&key, |table, now_ms| {
        let targets: Vec<Vec<String>> = if specs.is_empty() {
            vec![Vec::new()]
        } else {
            specs.iter().map(|spec| Table::key_of(Some(spec))).collect()
        };
        for target in targets {
            let missing = StoreError::NoSuchPartition(table.text_of(&target));
            let partition: &mut Partition = table.partitions.get_mut(&target).ok_or(missing)?;
            partition.segments.clear();
            partition.modified_ms = now_ms;
        }
        table.modified_ms = now_ms;
        Ok(())
    });
    changed.map(|_| ()).map_err(SqlError::store)
}

fn drop_partitions(
    name: &TableName,
    if_exists: bool,
    partitions: &[PartitionClause],
    context: &SqlContext,
) -> Result<(), SqlError> {
    let (table, key) = (context.table(name)?, context.key_of(name)?);
    let specs = partitions.iter().map(|clause| full_spec(clause, &table)).collect::<Result<Vec<_>, _>>()?;
    let changed = context.tables.change(&key, |table, now_ms| {
        for spec in &specs {
            if table.partitions.remove(&Table::key_of(Some(spec))).is_none() && !if_exists {
                return Err(StoreError::NoSuchPartition(spec.to_string()));
            }
        }
        table.defined_ms = now_ms;
        Ok(())
    });
    changed.map(|_| ()).map_err(SqlError::store)
}

/// New columns go behind the others; rows kept so far have NULL there.
fn add_columns(name: &TableName, columns: Vec<Column>, context: &SqlContext) -> Result<(), SqlError> {
    let (table, key) = (context.table(name)?, context.key_of(name)?);
    let mut schema = TableSchema::clone(&table.schema);
    schema.columns.extend(columns);
    check_names(&schema)?;
    let changed = context.tables.change(&key, |table, now_ms| {
        table.column_counts.push(schema.columns.len());
        table.schema = std::sync::Arc::new(schema);
        table.defined_ms = now_ms;
        Ok(())
    });
    changed.map(|_| ()).map_err(SqlError::store)
}

fn change(name: &TableName, context: &SqlContext, edit: impl FnOnce(&mut Table)) -> Result<(), SqlError> {
    let key = context.key_of(name)?;
    let changed = context.tables.change(&key, |table, now_ms| {
        edit(table);
        table.defined_ms = now_ms;
        Ok(())
    });
    match changed {
        Ok(_) => Ok(()),
        Err(StoreError::NoSuchTable) => Err(missing(name, context)),
        Err(error) => Err(SqlError::store(error)),
    }
}

/// A clause that names every level with a value, in the table's order.
fn full_spec(clause: &PartitionClause, table: &Table) -> Result<PartitionSpec, SqlError> {
    let invalid = |why: String| SqlError::semantic(format!("invalid partition: {why}"));
    let pairs = clause
        .iter()
        .map(|(name, value)| {
            let value = value.clone().ok_or_else(|| invalid(format!("no value for {name}")))?;
            Ok((name.clone(), value))
        })
        .collect::<Result<Vec<_>, SqlError>>()?;
    let spec = PartitionSpec::from_pairs(pairs).and_then(|spec| spec.order_by(&table.schema));
    spec.map_err(|error| invalid(error.to_string()))
}

fn missing(name: &TableName, context: &SqlContext) -> SqlError {
    let at = if name.at == Place::default() { Place { line: 1, column: 1 } } else { name.at };
    SqlError::no_such_table(at, &context.project, name.parts.last().map(String::as_str).unwrap_or_default())
}

fn show_tables(like: Option<&str>, context: &SqlContext) -> String {
    let fits = |name: &str| like.is_none_or(|pattern| wildcard(&pattern.to_lowercase(), name));
    let tables = context.tables.list(&context.schema);
    let lines =
        tables.iter().filter(|table| fits(&table.name)).map(|table| format!("{}:{}", context.owner, table.name));
    lines.collect::<Vec<_>>().join("\n")
}

/// `*` and `%` stand for any text.
fn wildcard(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split(['*', '%']);
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    true
}

fn show_create(table: &Table, context: &SqlContext) -> String {
    let column = |column: &Column| {
        let not_null = if column.nullable { "" } else { " NOT NULL" };
        let comment = if column.comment.is_empty() { String::new() } else { format!(" COMMENT '{}'", column.comment) };
        format!("`{}` {}{not_null}{comment}", column.name, column.type_.to_string().to_uppercase())
    };
    let list = |columns: &[Column]| columns.iter().map(column).collect::<Vec<_>>().join(", ");
    let mut out =
        format!("CREATE TABLE IF NOT EXISTS {}.`{}`({})", context.project, table.name, list(&table.schema.columns));
    if !table.comment.is_empty() {
        // Writing to a String cannot fail.
        let _ = write!(out, " COMMENT '{}'", table.comment);
    }
    if table.schema.is_partitioned() {
        let _ = write!(out, " PARTITIONED BY ({})", list(&table.schema.partition_keys));
    }
    if let Some(days) = table.lifecycle {
        let _ = write!(out, " LIFECYCLE {days}");
    }
    out.push(';');
    out
}

/// The table that odpscmd shows.
fn describe(table: &Table, context: &SqlContext) -> String {
    const RULE: &str = "+------------------------------------------------------------------------------------+\n";
    let moment = |ms: i64| {
        let at = jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::MAX);
        at.to_zoned(context.time_zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string()
    };
    let mut out = String::new();
    let line = |out: &mut String, text: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "| {text:<82} |");
    };
    out.push_str(RULE);
    line(&mut out, format!("Owner: {} | Project: {}", context.owner, context.project));
    line(&mut out, format!("TableComment: {}", table.comment));
    out.push_str(RULE);
    line(&mut out, format!("CreateTime:               {}", moment(table.created_ms)));
    line(&mut out, format!("LastDDLTime:              {}", moment(table.defined_ms)));
    line(&mut out, format!("LastModifiedTime:         {}", moment(table.modified_ms)));
    out.push_str(RULE);
    line(&mut out, format!("InternalTable: YES      | Size: {}", table.bytes()));
    out.push_str(RULE);
    line(&mut out, "Native Columns:".to_owned());
    out.push_str(RULE);
    line(&mut out, "Field           | Type       | Label | Comment".to_owned());
    out.push_str(RULE);
    let field = |column: &Column| format!("{:<15} | {:<10} |       | {}", column.name, column.type_, column.comment);
    for column in &table.schema.columns {
        line(&mut out, field(column));
    }
    out.push_str(RULE);
    if table.schema.is_partitioned() {
        line(&mut out, "Partition Columns:".to_owned());
        out.push_str(RULE);
        for column in &table.schema.partition_keys {
            line(&mut out, field(column));
        }
        out.push_str(RULE);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards() {
        for (pattern, text, fits) in [
            ("t*", "table", true),
            ("*", "", true),
            ("a*c", "abc", true),
            ("a*c", "ab", false),
            ("ab", "abc", false),
            ("%b%", "abc", true),
        ] {
            assert_eq!(wildcard(pattern, text), fits, "{pattern} {text}");
        }
    }
}
