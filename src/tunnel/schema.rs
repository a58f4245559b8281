//! What a table looks like: its columns in order and its partition keys.

use std::fmt;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::column_type::{ColumnType, TypeTextError};

/// One column of a table, or one of its partition keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// The name as the service spells it; names compare without case.
    pub name: String,
    /// The type.
    pub type_: ColumnType,
    /// Whether the column may be NULL; true when the service does not say.
    pub nullable: bool,
    /// The comment, empty when there is none.
    pub comment: String,
}

impl Column {
    /// A nullable column without a comment.
    pub fn new(name: impl Into<String>, type_: ColumnType) -> Self {
        Self { name: name.into(), type_, nullable: true, comment: String::new() }
    }
}

/// The columns of a table in session order (their place is their number in the row stream), and its partition keys from
/// the outermost to the innermost level. Partition keys never appear in the row stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableSchema {
    /// Columns that hold data.
    pub columns: Vec<Column>,
    /// Partition keys; empty for a table without partitions.
    pub partition_keys: Vec<Column>,
}

/// A schema that cannot be read.
#[derive(Debug)]
#[non_exhaustive]
pub enum SchemaError {
    /// Not JSON of the expected shape.
    Json(serde_json::Error),
    /// A column whose type cannot be read.
    Type {
        /// The column's name.
        column: String,
        /// What is wrong with the type.
        error: TypeTextError,
    },
}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(error) => write!(f, "schema is not the expected JSON: {error}"),
            Self::Type { column, error } => write!(f, "column \"{}\": {error}", column.escape_debug()),
        }
    }
}

impl std::error::Error for SchemaError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Json(error) => Some(error),
            Self::Type { error, .. } => Some(error),
        }
    }
}

impl TableSchema {
    /// Reads the JSON object of a schema: the `Schema` member of a Tunnel session, or the text of `<Schema format="Json">`
    /// in the REST answer about a table. Both spell the lists `columns` and `partitionKeys`; missing or null lists are
    /// empty, unknown members are ignored, `nullable` and `isNullable` may be a boolean or its text.
    ///
    /// # Errors
    /// [`SchemaError`] for anything else; it names the column when a type is at fault.
    pub fn from_json(text: &str) -> Result<Self, SchemaError> {
        let raw: RawSchema = serde_json::from_str(text).map_err(SchemaError::Json)?;
        Ok(Self { columns: columns_of(raw.columns)?, partition_keys: columns_of(raw.partition_keys)? })
    }

    /// As [`TableSchema::from_json`], for a member of a larger document that has not been parsed yet.
    ///
    /// # Errors
    /// As [`TableSchema::from_json`].
    pub fn from_raw_json(raw: &RawValue) -> Result<Self, SchemaError> {
        Self::from_json(raw.get())
    }

    /// The place of the column called `name`, compared without case; partition keys are not looked at.
    pub fn column_index(&self, name: &str) -> Option<usize> {
        index_of(&self.columns, name)
    }

    /// The level of the partition key called `name`, compared without case; 0 is the outermost.
    pub fn partition_key_index(&self, name: &str) -> Option<usize> {
        index_of(&self.partition_keys, name)
    }

    /// The places of the columns called `names`, in the order of `names`.
    ///
    /// # Errors
    /// What to tell a person: a name that no column has (partition keys are named as such), or one that is given twice.
    pub fn places(&self, names: &[impl AsRef<str>]) -> Result<Vec<usize>, String> {
        let mut places = Vec::new();
        for name in names.iter().map(AsRef::as_ref) {
            let shown = name.escape_debug();
            match self.column_index(name) {
                Some(place) if places.contains(&place) => return Err(format!("column \"{shown}\" is named twice")),
                Some(place) => places.push(place),
                None if self.partition_key_index(name).is_some() => {
                    return Err(format!("\"{shown}\" is a partition key: its value is the partition's, not a row's"));
                }
                None => {
                    let known: Vec<&str> = self.columns.iter().map(|column| column.name.as_str()).collect();
                    return Err(format!("no column \"{shown}\"; there are {}", known.join(", ")));
                }
            }
        }
        Ok(places)
    }

    /// Whether the table has partitions.
    pub const fn is_partitioned(&self) -> bool {
        !self.partition_keys.is_empty()
    }
}

fn index_of(columns: &[Column], name: &str) -> Option<usize> {
    let folded = name.to_lowercase();
    columns.iter().position(|column| column.name.eq_ignore_ascii_case(name) || column.name.to_lowercase() == folded)
}

#[derive(Deserialize)]
struct RawSchema {
    #[serde(default)]
    columns: Option<Vec<RawColumn>>,
    #[serde(default, rename = "partitionKeys")]
    partition_keys: Option<Vec<RawColumn>>,
}

#[derive(Deserialize)]
struct RawColumn {
    name: String,
    #[serde(rename = "type")]
    type_: String,
    #[serde(default)]
    nullable: Option<Flag>,
    /// The spelling of the REST interface; a service may send both.
    #[serde(default, rename = "isNullable")]
    is_nullable: Option<Flag>,
    #[serde(default)]
    comment: Option<String>,
}

/// A boolean that some answers write as text.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Flag {
    Bool(bool),
    Text(String),
}

impl Flag {
    /// What it says; text other than `true` in any case is false.
    pub(super) fn is_set(&self) -> bool {
        match self {
            Self::Bool(value) => *value,
            Self::Text(text) => text.trim().eq_ignore_ascii_case("true"),
        }
    }
}

fn columns_of(raw: Option<Vec<RawColumn>>) -> Result<Vec<Column>, SchemaError> {
    let convert = |raw: RawColumn| match ColumnType::parse(&raw.type_) {
        Ok(type_) => Ok(Column {
            name: raw.name,
            type_,
            nullable: raw.nullable.or(raw.is_nullable).is_none_or(|flag| flag.is_set()),
            comment: raw.comment.unwrap_or_default(),
        }),
        Err(error) => Err(SchemaError::Type { column: raw.name, error }),
    };
    raw.unwrap_or_default().into_iter().map(convert).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn reads_a_session_schema() {
        let schema = TableSchema::from_json(
            r#"{"columns":[{"column_id":"","comment":"c1","name":"__Key__","nullable":"true","type":"string"},
                {"name":"n","nullable":false,"isNullable":true,"type":"BIGINT"},{"name":"t","type":"array<string>","comment":null}],
                "partitionKeys":[{"name":"pt","type":"string"}],"IsVirtualView":false}"#,
        )
        .unwrap();
        assert_eq!(schema.columns.len(), 3);
        assert_eq!(schema.columns[0].comment, "c1");
        assert!(schema.columns[0].nullable && !schema.columns[1].nullable && schema.columns[2].nullable);
        assert_eq!(schema.column_index("__key__"), Some(0));
        assert_eq!(schema.column_index("N"), Some(1));
        assert_eq!(schema.column_index("pt"), None);
        assert_eq!(schema.partition_key_index("PT"), Some(0));
        assert!(schema.is_partitioned());
    }

    #[test]
    fn columns_are_found_by_name_once() {
        let schema = TableSchema::from_json(
            r#"{"columns":[{"name":"a","type":"bigint"},{"name":"b","type":"string"}],"partitionKeys":[{"name":"pt","type":"string"}]}"#,
        )
        .unwrap();
        assert_eq!(schema.places(&["B", "a"]), Ok(vec![1, 0]));
        assert!(schema.places(&["c"]).unwrap_err().contains("there are a, b"));
        assert!(schema.places(&["a", "A"]).unwrap_err().contains("twice"));
        assert!(schema.places(&["pt"]).unwrap_err().contains("partition key"));
    }

    #[test]
    fn missing_lists_are_empty() {
        assert_eq!(TableSchema::from_json(r#"{"columns":null}"#).unwrap(), TableSchema::default());
    }

    #[test]
    fn an_unknown_type_names_the_column() {
        let error = TableSchema::from_json(r#"{"columns":[{"name":"b","type":"blob"}]}"#).unwrap_err();
        assert!(error.to_string().contains("column \"b\"") && error.to_string().contains("\"blob\""), "{error}");
        assert!(TableSchema::from_json("3").is_err());
    }
}
