//! `forebay tunnel`: rows of tables out and in, without SQL.

mod download;
mod rows;
mod show;
mod upload;
pub(in crate::cli) mod values;

use std::process::ExitCode;

pub(super) use download::Printer;

use clap::ValueEnum;
use jiff::tz::TimeZone;

use super::Failure;
use super::connection::{SourceOptions, maxcompute_config, maxcompute_failure};
use super::failure::code;
use crate::job::OdpsConnection;
use crate::tunnel::{Error, MaxCompute, PartitionSpec, TableSchema};

#[derive(Debug, clap::Args)]
pub(super) struct TunnelArgs {
    #[command(subcommand)]
    command: TunnelCommand,
}

#[derive(Debug, clap::Subcommand)]
enum TunnelCommand {
    /// Print a table, or one partition of it
    ///
    /// Reads a snapshot: rows that are committed meanwhile do not show. A connection that breaks costs only the rows that had
    /// not come.
    Download(download::DownloadArgs),
    /// Add the rows of a file to a table, or to one partition of it
    ///
    /// Sends block after block and commits once at the end: a file with a mistake in it, or an upload that fails, leaves the
    /// table as it was.
    Upload(upload::UploadArgs),
    /// Say what state an upload or download session is in
    Show(show::ShowArgs),
    /// Say how to find a session
    Sessions,
}

impl TunnelArgs {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        match self.command {
            TunnelCommand::Download(args) => args.run().await,
            TunnelCommand::Upload(args) => args.run().await,
            TunnelCommand::Show(args) => args.run().await,
            TunnelCommand::Sessions => Err(Failure::new(
                code::FAILED,
                "MaxCompute has no call that lists the sessions of a table or a project",
            )
            .advise(
                "take the id from the log of the run or the upload, and ask for it: forebay tunnel show TABLE[/PARTITION] ID",
            )),
        }
    }
}

/// How rows are written in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Comma-separated with a header line; NULL is \N, bytes are hexadecimal
    Csv,
    /// One JSON object a line
    Json,
}

/// Which project, and how patiently.
#[derive(Debug, clap::Args)]
struct ServiceArgs {
    /// The data source
    #[arg(long, value_name = "NAME", default_value = crate::job::datasource::DEFAULT_NAME)]
    datasource: String,

    /// How often a call is repeated after errors of the service or the network
    #[arg(long, value_name = "N", default_value_t = 7)]
    retries: u32,

    #[command(flatten)]
    sources: SourceOptions,
}

impl ServiceArgs {
    fn connect(&self) -> Result<Service, Failure> {
        let connection = self.sources.odps(&self.datasource)?;
        let mut config = maxcompute_config(&connection);
        config.retry.retries_max = self.retries;
        let client = MaxCompute::new(config).map_err(|error| maxcompute_failure(&error, &connection.source))?;
        Ok(Service { client, connection })
    }
}

struct Service {
    client: MaxCompute,
    connection: OdpsConnection,
}

impl Service {
    fn failure(&self, error: &Error) -> Failure {
        maxcompute_failure(error, &self.connection.source)
    }
}

/// `TABLE` or `TABLE/pt=20240101/type=1`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    table: String,
    partition: Option<PartitionSpec>,
}

impl Target {
    fn parse(text: &str) -> Result<Self, String> {
        let (table, partition) = match text.split_once('/') {
            None => (text, None),
            Some((table, partition)) => {
                (table, Some(PartitionSpec::parse(partition).map_err(|error| error.to_string())?))
            }
        };
        if table.is_empty() || table.contains('=') {
            return Err("not TABLE or TABLE/partition=value".to_owned());
        }
        Ok(Self { table: table.to_owned(), partition })
    }

    /// The partition with every level in the table's order.
    fn partition_in(&self, schema: &TableSchema) -> Result<Option<PartitionSpec>, Failure> {
        let usage = |why: String| Failure::new(code::USAGE, format!("table \"{}\": {why}", self.table));
        match &self.partition {
            Some(partition) => partition.order_by(schema).map(Some).map_err(|error| usage(error.to_string())),
            None if schema.is_partitioned() => {
                let keys: Vec<String> = schema.partition_keys.iter().map(|key| format!("{}=…", key.name)).collect();
                Err(usage("it has partitions, and Tunnel takes one at a time".to_owned()).advise(format!(
                    "name it: {}/{}",
                    self.table,
                    keys.join("/")
                )))
            }
            None => Ok(None),
        }
    }
}

fn time_zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_target_is_a_table_and_perhaps_a_partition() {
        assert_eq!(Target::parse("t").unwrap(), Target { table: "t".into(), partition: None });
        let target = Target::parse("t/pt='1',hh=2").unwrap();
        assert_eq!(target.partition.unwrap().to_string(), "pt=1,hh=2");
        for text in ["", "pt=1", "t/", "t/pt", "/pt=1"] {
            assert!(Target::parse(text).is_err(), "{text}");
        }
    }
}
