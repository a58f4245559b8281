//! What the ODPS host tells about projects, schemas, tables and partitions, as XML and headers.

use std::fmt::Write as _;

use serde_json::json;

use super::answer::{Answer, Refusal, escape};
use super::request::{Asked, TablePath};
use super::schema_json;
use super::store::table::{Partition, Table};
use super::upload::{http_date, no_such_partition, no_such_table, partition_of};
use crate::tunnel::PartitionSpec;

/// The project, its owner and when it began.
#[derive(Clone, Debug)]
pub(super) struct ProjectFacts<'a> {
    pub(super) name: &'a str,
    pub(super) owner: &'a str,
    pub(super) created_ms: i64,
}

/// `GET /projects/{p}`.
pub(super) fn project(facts: &ProjectFacts<'_>) -> Answer {
    let body = format!(
        "<Project><Name>{name}</Name><Type>managed</Type><Comment>local MaxCompute of forebay</Comment><Owner>{owner}</Owner>\
         <State>AVAILABLE</State><ProjectGroupName>default</ProjectGroupName><CreationTime>{created}</CreationTime>\
         <LastModifiedTime>{created}</LastModifiedTime>\
         <Properties><Property><Name>odps.table.lifecycle</Name><Value>optional</Value></Property>\
         <Property><Name>READ_TABLE_MAX_ROW</Name><Value>{READ_TABLE_MAX_ROW}</Value></Property>\
         <Property><Name>odps.sql.type.system.odps2</Name><Value>true</Value></Property></Properties>\
         <ExtendedProperties></ExtendedProperties><Clusters></Clusters></Project>",
        name = escape(facts.name),
        owner = escape(facts.owner),
        created = http_date(facts.created_ms),
    );
    Answer::xml(&body)
        .header("x-odps-owner", facts.owner)
        .header("x-odps-creation-time", &http_date(facts.created_ms))
        .header("last-modified", &http_date(facts.created_ms))
}

/// `GET /projects/{p}/schemas`.
pub(super) fn schemas(names: &[String], facts: &ProjectFacts<'_>) -> Answer {
    let mut body = String::from("<Schemas><Marker></Marker>");
    body.push_str(&format!("<MaxItems>{}</MaxItems>", names.len()));
    for name in names {
        body.push_str(&schema_element(name, facts));
    }
    body.push_str("</Schemas>");
    Answer::xml(&body)
}

/// `GET /projects/{p}/schemas/{s}`.
pub(super) fn schema(name: &str, facts: &ProjectFacts<'_>) -> Answer {
    Answer::xml(&schema_element(name, facts))
        .header("x-odps-owner", facts.owner)
        .header("x-odps-creation-time", &http_date(facts.created_ms))
        .header("last-modified", &http_date(facts.created_ms))
}

fn schema_element(name: &str, facts: &ProjectFacts<'_>) -> String {
    let created = http_date(facts.created_ms);
    format!(
        "<Schema><Name>{}</Name><Project>{}</Project><Type>managed</Type><Owner>{}</Owner>\
         <CreateTime>{created}</CreateTime><ModifyTime>{created}</ModifyTime></Schema>",
        escape(name),
        escape(facts.name),
        escape(facts.owner)
    )
}

/// `GET /projects/{p}/tables`: one page, filtered by `name` as a prefix.
pub(super) fn tables(asked: &Asked, tables: &[std::sync::Arc<Table>], facts: &ProjectFacts<'_>) -> Answer {
    let prefix = asked.value("name").unwrap_or_default().to_lowercase();
    let page = Page::of(asked);
    let names = tables.iter().filter(|table| table.name.starts_with(&prefix));
    let (shown, marker) = page.cut(names);
    let mut body = format!("<Tables><Marker>{marker}</Marker><MaxItems>{}</MaxItems>", page.max_items);
    for table in shown {
        // Writing to a String cannot fail.
        let _ = write!(
            body,
            "<Table><Name>{}</Name><TableId>{}</TableId><Owner>{}</Owner><Comment>{}</Comment><Type>MANAGED_TABLE</Type>\
             <CreationTime>{}</CreationTime></Table>",
            escape(&table.name),
            table.id,
            escape(facts.owner),
            escape(&table.comment),
            http_date(table.created_ms),
        );
    }
    body.push_str("</Tables>");
    Answer::xml(&body)
}

/// `GET …/tables/{t}` and `?extended`.
pub(super) fn table(
    asked: &Asked,
    at: &TablePath,
    table: Option<&Table>,
    facts: &ProjectFacts<'_>,
) -> Result<Answer, Refusal> {
    let table = table.ok_or_else(|| no_such_table_odps(at))?;
    let mut schema = schema_json(&table.schema);
    let details = json!({
        "tableName": table.name,
        "comment": table.comment,
        "owner": facts.owner,
        "createTime": table.created_ms / 1000,
        "lastModifiedTime": table.modified_ms / 1000,
        "lastDDLTime": table.defined_ms / 1000,
        "lastAccessTime": 0,
        "isVirtualView": false,
        "isMaterializedView": false,
        "isExternal": false,
        "tableLabel": "",
        "hubLifecycle": -1,
        "lifecycle": table.lifecycle.map_or(-1, i64::from),
        "recordNum": table.rows(),
        "size": table.bytes(),
        "shardExist": false,
        "shardInfo": "",
    });
    merge(&mut schema, details);
    if asked.parameter("extended").is_some() {
        let files = table.segments().count();
        let reserved = json!({ "schema_version": table.schema_version().to_string(), "Transactional": "false", "IsArchived": false });
        let extended = json!({
            "IsArchived": false,
            "PhysicalSize": table.bytes(),
            "FileNum": files,
            "Reserved": reserved.to_string(),
        });
        merge(&mut schema, extended);
    }
    let body = format!(
        "<Table><Name>{}</Name><Project>{}</Project><SchemaName>{}</SchemaName><TableId>{}</TableId><Owner>{}</Owner><Comment>{}</Comment>\
         <Type>MANAGED_TABLE</Type><Schema format=\"Json\"><![CDATA[{}]]></Schema><CreationTime>{}</CreationTime>\
         <LastModifiedTime>{}</LastModifiedTime><LastAccessTime>{}</LastAccessTime><TableLabel></TableLabel></Table>",
        escape(&table.name),
        escape(facts.name),
        escape(&table.schema_name),
        table.id,
        escape(facts.owner),
        escape(&table.comment),
        cdata(&schema.to_string()),
        http_date(table.created_ms),
        http_date(table.modified_ms),
        http_date(table.modified_ms),
    );
    Ok(Answer::xml(&body))
}

/// `GET …/tables/{t}?partitions`: one page of partitions, filtered by the first levels in `partition`.
pub(super) fn partitions(asked: &Asked, at: &TablePath, table: Option<&Table>) -> Result<Answer, Refusal> {
    let table = table.ok_or_else(|| no_such_table_odps(at))?;
    if !table.schema.is_partitioned() {
        return Err(Refusal::new(
            400,
            "ODPS-0110031",
            format!("ODPS-0110031:Invalid object type - {}.{} is not a partitioned table", at.project, at.table),
        ));
    }
    let prefix = match asked.value("partition") {
        Some(text) => prefix_levels(table, text)?,
        None => Vec::new(),
    };
    let fits = |key: &[String]| prefix.iter().all(|(level, value)| key.get(*level) == Some(value));
    let mut all: Vec<_> = table.partitions.iter().filter(|(key, _)| fits(key)).collect();
    if asked.parameter("reverse").is_some() {
        all.reverse();
    }
    let page = Page::of(asked);
    let (shown, marker) = page.cut(all.into_iter());
    let mut body = format!("<Partitions><Marker>{marker}</Marker><MaxItems>{}</MaxItems>", page.max_items);
    for (key, partition) in shown {
        body.push_str("<Partition>");
        for (column, value) in table.schema.partition_keys.iter().zip(key) {
            let _ = write!(body, "<Column Name=\"{}\" Value=\"{}\"/>", escape(&column.name), escape(value));
        }
        let _ = write!(
            body,
            "<CreationTime>{}</CreationTime><LastDDLTime>{}</LastDDLTime><LastModifiedTime>{}</LastModifiedTime>\
             <PartitionSize>{}</PartitionSize><PartitionRecordCount>{}</PartitionRecordCount></Partition>",
            partition.created_ms / 1000,
            partition.created_ms / 1000,
            partition.modified_ms / 1000,
            partition.bytes(),
            partition.rows(),
        );
    }
    body.push_str("</Partitions>");
    Ok(Answer::xml(&body))
}

/// `GET …/tables/{t}?partition=pt='v'` and with `extended`.
pub(super) fn partition(asked: &Asked, at: &TablePath, table: Option<&Table>) -> Result<Answer, Refusal> {
    let table = table.ok_or_else(|| no_such_table_odps(at))?;
    let spec = partition_of(table, asked.value("partition"))?;
    let found = table.partitions.get(&Table::key_of(spec.as_ref()));
    let (Some(spec), Some(partition)) = (&spec, found) else {
        return Err(match &spec {
            Some(spec) => Refusal { code: "NoSuchObject", ..no_such_partition(spec) },
            None => Refusal::new(400, "ODPS-0110031", "ODPS-0110031:Invalid object type - not a partitioned table"),
        });
    };
    let mut details = json!({
        "createTime": partition.created_ms / 1000,
        "lastDDLTime": partition.created_ms / 1000,
        "lastModifiedTime": partition.modified_ms / 1000,
        "partitionSize": partition.bytes(),
        "partitionRecordNum": partition.rows(),
    });
    if asked.parameter("extended").is_some() {
        merge(&mut details, extended_of(partition));
    }
    let mut body = String::from("<Partition>");
    for (name, value) in spec.levels() {
        let _ = write!(body, "<Column Name=\"{}\" Value=\"{}\"/>", escape(name), escape(value));
    }
    let _ = write!(body, "<Schema format=\"Json\"><![CDATA[{}]]></Schema></Partition>", cdata(&details.to_string()));
    Ok(Answer::xml(&body))
}

fn extended_of(partition: &Partition) -> serde_json::Value {
    json!({
        "IsArchived": false,
        "IsExstore": false,
        "LifeCycle": -1,
        "PhysicalSize": partition.bytes(),
        "FileNum": partition.segments.len(),
        "Reserved": "{}",
    })
}

/// The levels that a partial partition names, as places and values.
fn prefix_levels(table: &Table, text: &str) -> Result<Vec<(usize, String)>, Refusal> {
    let invalid =
        |why: String| Refusal::new(400, "InvalidPartitionSpec", format!("The specified partition is invalid: {why}"));
    let spec = PartitionSpec::parse(text).map_err(|error| invalid(error.to_string()))?;
    spec.levels()
        .iter()
        .map(|(name, value)| {
            let level = table.schema.partition_key_index(name);
            level.map(|level| (level, value.clone())).ok_or_else(|| invalid(format!("no partition key \"{name}\"")))
        })
        .collect()
}

/// The ODPS host's own words for a missing table.
fn no_such_table_odps(at: &TablePath) -> Refusal {
    Refusal {
        code: "NoSuchObject",
        message: format!("ODPS-0130131:Table not found - table {}.{} cannot be resolved", at.project, at.table),
        ..no_such_table(at)
    }
}

/// One page of a listing: the marker is the number of entries already shown.
struct Page {
    start: usize,
    max_items: usize,
}

impl Page {
    fn of(asked: &Asked) -> Self {
        let number = |name| asked.value(name).and_then(|text| text.parse::<usize>().ok());
        Self {
            start: number("marker").unwrap_or(0),
            max_items: number("maxitems").filter(|items| *items > 0).unwrap_or(ITEMS_A_PAGE).min(ITEMS_A_PAGE),
        }
    }

    /// The entries of the page, and the marker of the next one: empty at the last.
    fn cut<T>(&self, entries: impl Iterator<Item = T>) -> (Vec<T>, String) {
        let mut rest = entries.skip(self.start).peekable();
        let shown: Vec<T> = rest.by_ref().take(self.max_items).collect();
        let marker = if rest.peek().is_some() { (self.start + shown.len()).to_string() } else { String::new() };
        (shown, marker)
    }
}

fn merge(into: &mut serde_json::Value, more: serde_json::Value) {
    if let (Some(into), serde_json::Value::Object(more)) = (into.as_object_mut(), more) {
        into.extend(more);
    }
}

/// Text inside a CDATA section.
pub(super) fn cdata(text: &str) -> String {
    text.replace("]]>", "]]]]><![CDATA[>")
}

/// Rows that an instance tunnel with a limit gives, and the REST result of a SELECT.
pub(super) const READ_TABLE_MAX_ROW: u64 = 10_000;

const ITEMS_A_PAGE: usize = 1000;
