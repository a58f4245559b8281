//! Which partition of a table: `pt=20150101,type=1`.

use std::fmt;

use super::schema::TableSchema;

/// The values of partition keys, outermost first once [`PartitionSpec::order_by`] has ordered them.
///
/// `Display` gives the form of the tunnel host: no quotes, commas between the levels. [`PartitionSpec::to_sql`] gives the
/// quoted one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionSpec {
    levels: Vec<(String, String)>,
}

/// A partition text that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PartitionError {
    /// No level at all.
    Empty,
    /// A piece that is not `key=value` with exactly one `=` and neither side empty.
    Piece(String),
    /// The same key twice.
    Repeated(String),
    /// A value with a character that no request can carry: `,` `/` `'` `"` or `=`.
    Character(String),
    /// The table has no partitions.
    NotPartitioned,
    /// The table has no such partition key.
    UnknownKey {
        /// The key that was given.
        key: String,
        /// The keys the table has.
        known: Vec<String>,
    },
    /// Levels of the table that were not given.
    Missing(Vec<String>),
}

impl fmt::Display for PartitionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "the partition is empty"),
            Self::Piece(piece) => write!(f, "partition piece \"{}\" is not key=value", piece.escape_debug()),
            Self::Repeated(key) => write!(f, "partition key \"{}\" is given twice", key.escape_debug()),
            Self::Character(value) => {
                write!(f, "partition value \"{}\" has one of , / ' \" = in it", value.escape_debug())
            }
            Self::NotPartitioned => write!(f, "the table has no partitions"),
            Self::UnknownKey { key, known } => {
                write!(f, "the table has no partition key \"{}\"; it has {}", key.escape_debug(), known.join(", "))
            }
            Self::Missing(keys) => write!(f, "the partition lacks {}", keys.join(", ")),
        }
    }
}

impl std::error::Error for PartitionError {}

impl PartitionSpec {
    /// Reads `pt='20150101' / type=1`: levels apart by `,` or `/`, spaces around every part and quotes dropped.
    /// The levels stay in the order given.
    ///
    /// # Errors
    /// [`PartitionError`] for a blank text, a piece without exactly one `=`, an empty key or value, or a repeated key.
    pub fn parse(text: &str) -> Result<Self, PartitionError> {
        if text.trim().is_empty() {
            return Err(PartitionError::Empty);
        }
        let mut levels: Vec<(String, String)> = Vec::new();
        for piece in text.split([',', '/']) {
            let bad = || PartitionError::Piece(piece.trim().to_owned());
            let (key, value) = piece.split_once('=').ok_or_else(bad)?;
            let (key, value) = (bare(key), bare(value));
            if key.is_empty() || value.is_empty() || value.contains('=') {
                return Err(bad());
            }
            push_level(&mut levels, key, value)?;
        }
        Ok(Self { levels })
    }

    /// A partition from keys and values as they are, such as the ones a row's own columns give.
    ///
    /// # Errors
    /// [`PartitionError::Character`] for a value that a request could not carry; [`PartitionError::Piece`] for an empty key
    /// or value; [`PartitionError::Repeated`]; [`PartitionError::Empty`] for no pair.
    pub fn from_pairs<K: Into<String>, V: Into<String>>(
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, PartitionError> {
        let mut levels = Vec::new();
        for (key, value) in pairs {
            let (key, value) = (key.into(), value.into());
            if value.contains([',', '/', '\'', '"', '=']) {
                return Err(PartitionError::Character(value));
            }
            if key.is_empty() || value.is_empty() {
                return Err(PartitionError::Piece(format!("{key}={value}")));
            }
            push_level(&mut levels, key, value)?;
        }
        if levels.is_empty() { Err(PartitionError::Empty) } else { Ok(Self { levels }) }
    }

    /// The keys and values, in order.
    pub fn levels(&self) -> &[(String, String)] {
        &self.levels
    }

    /// The same partition with the levels in the order of the table's partition keys and the keys in the table's spelling.
    ///
    /// # Errors
    /// [`PartitionError::NotPartitioned`], [`PartitionError::UnknownKey`], or [`PartitionError::Missing`]: an upload needs
    /// every level.
    pub fn order_by(&self, schema: &TableSchema) -> Result<Self, PartitionError> {
        if !schema.is_partitioned() {
            return Err(PartitionError::NotPartitioned);
        }
        let mut found: Vec<Option<&str>> = vec![None; schema.partition_keys.len()];
        for (key, value) in &self.levels {
            match schema.partition_key_index(key).and_then(|level| found.get_mut(level)) {
                Some(slot) => *slot = Some(value),
                None => {
                    let known = schema.partition_keys.iter().map(|column| column.name.clone()).collect();
                    return Err(PartitionError::UnknownKey { key: key.clone(), known });
                }
            }
        }
        let mut levels = Vec::new();
        let mut missing = Vec::new();
        for (column, value) in schema.partition_keys.iter().zip(found) {
            match value {
                Some(value) => levels.push((column.name.clone(), value.to_owned())),
                None => missing.push(column.name.clone()),
            }
        }
        if missing.is_empty() { Ok(Self { levels }) } else { Err(PartitionError::Missing(missing)) }
    }

    /// The form SQL takes: `pt='20150101',type='1'`, with back-quoted keys and escaped values.
    pub fn to_sql(&self) -> String {
        let quoted = self.levels.iter().map(|(key, value)| {
            let value = value.replace('\\', "\\\\").replace('\'', "\\'");
            format!("`{}`='{value}'", key.replace('`', "``"))
        });
        quoted.collect::<Vec<_>>().join(",")
    }
}

impl fmt::Display for PartitionSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (key, value)) in self.levels.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            write!(f, "{comma}{key}={value}")?;
        }
        Ok(())
    }
}

/// Trims spaces and drops every quote, as the SDKs do.
fn bare(text: &str) -> String {
    text.replace(['\'', '"'], "").trim().to_owned()
}

fn push_level(levels: &mut Vec<(String, String)>, key: String, value: String) -> Result<(), PartitionError> {
    if levels.iter().any(|(known, _)| known.eq_ignore_ascii_case(&key)) {
        return Err(PartitionError::Repeated(key));
    }
    levels.push((key, value));
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::tunnel::{Column, ColumnType};

    fn keys(names: &[&str]) -> TableSchema {
        let partition_keys = names.iter().map(|name| Column::new(*name, ColumnType::String)).collect();
        TableSchema { columns: Vec::new(), partition_keys }
    }

    #[test]
    fn spellings_of_one_partition_are_equal() {
        let plain = PartitionSpec::parse("pt=20150101,type=1").unwrap();
        for text in ["pt='20150101' / type=1", "pt=20150101/type='1'", " pt = \"20150101\" , type = ' 1 ' "] {
            assert_eq!(PartitionSpec::parse(text).unwrap(), plain, "{text}");
        }
        assert_eq!(plain.to_string(), "pt=20150101,type=1");
        assert_eq!(plain.to_sql(), "`pt`='20150101',`type`='1'");
    }

    #[test]
    fn wrong_texts_are_refused() {
        assert_eq!(PartitionSpec::parse("  "), Err(PartitionError::Empty));
        for text in ["pt", "pt=", "=1", "pt=1,", "pt=a=b", "pt=1,,x=2", "pt=''"] {
            assert!(matches!(PartitionSpec::parse(text), Err(PartitionError::Piece(_))), "{text}");
        }
        assert_eq!(PartitionSpec::parse("a=1,A=2"), Err(PartitionError::Repeated("A".into())));
        assert_eq!(PartitionSpec::from_pairs([("a", "x,y")]), Err(PartitionError::Character("x,y".into())));
        assert_eq!(PartitionSpec::from_pairs::<&str, &str>([]), Err(PartitionError::Empty));
    }

    #[test]
    fn the_table_decides_order_and_spelling() {
        let spec = PartitionSpec::parse("TYPE=1,pt=2").unwrap();
        assert_eq!(spec.order_by(&keys(&["pt", "type"])).unwrap().to_string(), "pt=2,type=1");
        assert_eq!(spec.order_by(&keys(&[])), Err(PartitionError::NotPartitioned));
        let missing = spec.order_by(&keys(&["pt", "type", "hh"]));
        assert_eq!(missing, Err(PartitionError::Missing(vec!["hh".into()])));
        assert!(matches!(spec.order_by(&keys(&["pt"])), Err(PartitionError::UnknownKey { .. })));
    }
}
