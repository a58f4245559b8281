//! What the service says about a table.

use super::MaxCompute;
use super::request::{Host, Request};
use crate::tunnel::error::{Error, ErrorKind};
use crate::tunnel::http::Method;
use crate::tunnel::partition::PartitionSpec;
use crate::tunnel::schema::{Flag, TableSchema};
use crate::tunnel::xml::Element;

/// A table or view, as `GET …/tables/{name}` describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Table {
    /// The name as the service spells it.
    pub name: String,
    /// Columns and partition keys.
    pub schema: TableSchema,
    /// A view: cannot be written.
    pub is_view: bool,
    /// An external table: cannot be written through Tunnel.
    pub is_external: bool,
}

impl MaxCompute {
    /// Reads a table's columns and partition keys.
    ///
    /// # Errors
    /// [`ErrorKind::NoSuchTable`], [`ErrorKind::NoSuchProject`]; [`ErrorKind::Auth`] and [`ErrorKind::Forbidden`];
    /// [`ErrorKind::Decode`] when the answer or a column's type cannot be understood; others as they come.
    pub async fn table(&self, name: &str) -> Result<Table, Error> {
        let what = format!("read table \"{}\"", self.full_name(name));
        let request = Request::new(Host::Odps, Method::Get, self.table_path(name)?, what.clone());
        let answer = self.connection.send(&request).await.map_err(|error| match error.kind() {
            // The REST host's word for anything that does not exist.
            ErrorKind::NotFound => error.with_kind(ErrorKind::NoSuchTable),
            _ => error,
        })?;
        parse_table(name, &answer.text())
            .map_err(|why| Error::new(ErrorKind::Decode, why).with_request_id(answer.request_id()).during(what))
    }

    /// The names of tables beside this one, up to a thousand of them; in no promised order.
    ///
    /// # Errors
    /// As [`MaxCompute::table`], and [`ErrorKind::Decode`].
    pub async fn table_names(&self) -> Result<Vec<String>, Error> {
        let mut path = self.table_path("tables")?;
        path.pop();
        let what = format!("list the tables of project \"{}\"", self.config().project);
        let request = Request::new(Host::Odps, Method::Get, path, what.clone());
        let request = request.query("expectmarker", "true").query("maxitems", "1000");
        let answer = self.connection.send(&request).await?;
        let root = Element::parse(&answer.text()).map_err(|why| {
            let error = Error::new(ErrorKind::Decode, format!("the answer is not XML: {why}"));
            error.with_request_id(answer.request_id()).during(what)
        })?;
        let names = root.children.iter().filter(|child| child.name == "Table");
        Ok(names.filter_map(|table| table.child_text("Name")).map(str::to_owned).collect())
    }

    /// Creates a partition unless it exists, by SQL: there is no REST call for it.
    ///
    /// # Errors
    /// As [`MaxCompute::sql`].
    pub async fn add_partition(&self, table: &str, partition: &PartitionSpec) -> Result<(), Error> {
        let (table, partition) = (self.full_name_sql(table), partition.to_sql());
        let statement = format!("ALTER TABLE {table} ADD IF NOT EXISTS PARTITION ({partition});");
        self.sql(&statement, &[]).await.map(|_| ())
    }

    /// Empties a table without partitions, or one partition, by SQL. Takes effect at once.
    ///
    /// # Errors
    /// As [`MaxCompute::sql`].
    pub async fn truncate_table(&self, table: &str, partition: Option<&PartitionSpec>) -> Result<(), Error> {
        let table = self.full_name_sql(table);
        let partition = partition.map(|partition| format!(" PARTITION ({})", partition.to_sql())).unwrap_or_default();
        self.sql(&format!("TRUNCATE TABLE {table}{partition};"), &[]).await.map(|_| ())
    }
}

pub(super) fn parse_table(asked: &str, text: &str) -> Result<Table, String> {
    let root = Element::parse(text).map_err(|why| format!("the answer is not XML: {why}"))?;
    if root.name != "Table" {
        return Err(format!("the answer is a <{}>, not a <Table>", root.name.escape_debug()));
    }
    let json = root.child_text("Schema").ok_or("the answer has no schema")?;
    let schema = TableSchema::from_json(json).map_err(|error| error.to_string())?;
    let flags: Flags = serde_json::from_str(json).map_err(|error| error.to_string())?;
    let is_set = |flag: Option<Flag>| flag.is_some_and(|flag| flag.is_set());
    Ok(Table {
        name: root.child_text("Name").filter(|name| !name.is_empty()).unwrap_or(asked).to_owned(),
        schema,
        is_view: is_set(flags.is_virtual_view)
            || is_set(flags.is_virtual_view_of_session)
            || is_set(flags.is_materialized_view),
        is_external: is_set(flags.is_external),
    })
}

#[derive(serde::Deserialize)]
struct Flags {
    #[serde(default, rename = "isVirtualView")]
    is_virtual_view: Option<Flag>,
    /// The spelling of Tunnel sessions; a service may send both.
    #[serde(default, rename = "IsVirtualView")]
    is_virtual_view_of_session: Option<Flag>,
    #[serde(default, rename = "isMaterializedView")]
    is_materialized_view: Option<Flag>,
    #[serde(default, rename = "isExternal")]
    is_external: Option<Flag>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn reads_the_rest_answer() {
        let table = parse_table(
            "T",
            "<?xml version=\"1.0\"?>\n<Table><Name>t</Name><TableId>1</TableId><Owner>o</Owner><Schema format=\"Json\">\
             <![CDATA[{\"columns\":[{\"name\":\"a\",\"type\":\"BIGINT\",\"isNullable\":false}],\"partitionKeys\":[],\
             \"isVirtualView\":true,\"IsVirtualView\":true}]]></Schema></Table>",
        )
        .unwrap();
        assert_eq!((table.name.as_str(), table.is_view, table.is_external), ("t", true, false));
        assert!(!table.schema.columns.first().unwrap().nullable);
    }

    #[test]
    fn other_answers_are_refused() {
        for text in ["", "<html/>", "<Table/>", "<Table><Schema>x</Schema></Table>"] {
            assert!(parse_table("t", text).is_err(), "{text}");
        }
    }
}
