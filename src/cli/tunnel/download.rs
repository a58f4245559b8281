//! `forebay tunnel download`.

use std::process::ExitCode;

use jiff::tz::TimeZone;

use super::values::{cell, json};
use super::{Format, ServiceArgs, Target, time_zone};
use crate::cli::{Failure, out};
use crate::tunnel::encode::Compression;
use crate::tunnel::{ReadOptions, RowReader, TableSchema, Value};

#[derive(Debug, clap::Args)]
pub(super) struct DownloadArgs {
    /// The table, and the partition if it has any
    #[arg(value_name = "TABLE[/PARTITION]", value_parser = Target::parse)]
    target: Target,

    /// How rows are printed
    #[arg(short = 'o', long, value_name = "FORMAT", value_enum, default_value_t = Format::Csv)]
    output: Format,

    /// Only these columns, in this order
    #[arg(long, value_name = "A,B,...", value_delimiter = ',')]
    columns: Option<Vec<String>>,

    /// Rows to print at most
    #[arg(long, value_name = "N", default_value_t = u64::MAX, hide_default_value = true)]
    limit: u64,

    /// Rows to leave out at the start
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    skip: u64,

    /// Let the service pack the rows on their way (deflate)
    #[arg(long)]
    compress: bool,

    /// The zone in which DATETIME and TIMESTAMP are shown
    #[arg(long, value_name = "ZONE", default_value = "UTC", value_parser = time_zone)]
    time_zone: TimeZone,

    #[command(flatten)]
    service: ServiceArgs,
}

impl DownloadArgs {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let service = self.service.connect()?;
        let table = service.client.table(&self.target.table).await.map_err(|error| service.failure(&error))?;
        let partition = self.target.partition_in(&table.schema)?;
        let session = service.client.create_download(&self.target.table, partition.as_ref()).await;
        let session = session.map_err(|error| service.failure(&error))?;
        log::info!("download session {} of {} rows", session.id(), session.rows());
        let mut options = ReadOptions::default();
        (options.start, options.count) = (self.skip, self.limit);
        options.columns.clone_from(&self.columns);
        options.compression = if self.compress { Compression::Deflate } else { Compression::None };
        let mut reader = session.read(&options).map_err(|error| service.failure(&error))?;
        let mut printer = Printer::new(self.output, reader.schema().clone(), self.time_zone);
        let rows = printer.print_all(&mut reader).await.map_err(|error| service.failure(&error))?;
        out::talk(&format!("{rows} row{} of {}", if rows == 1 { "" } else { "s" }, session.rows()));
        if printer.is_lossy {
            out::talk("warning: some texts are not UTF-8, and JSON cannot hold them: -o csv keeps their bytes");
        }
        // A courtesy; the session ends by itself.
        if let Err(error) = session.close().await {
            log::debug!("{error}");
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Prints rows as they come.
pub(in crate::cli) struct Printer {
    format: Format,
    schema: TableSchema,
    zone: TimeZone,
    buffer: Vec<u8>,
    /// A text could not be printed as it is.
    is_lossy: bool,
}

/// Output is handed on in pieces of this size.
const PIECE_BYTES: usize = 64 * 1024;

impl Printer {
    pub(in crate::cli) fn new(format: Format, schema: TableSchema, zone: TimeZone) -> Self {
        let mut buffer = Vec::new();
        if format == Format::Csv {
            let names = schema.columns.iter().map(|column| Some(column.name.as_bytes().into()));
            out::table::csv_row(&mut buffer, names);
        }
        Self { format, schema, zone, buffer, is_lossy: false }
    }

    /// Prints what `reader` gives until it ends or nobody reads standard output any more; the number of rows.
    pub(in crate::cli) async fn print_all(&mut self, reader: &mut RowReader) -> Result<u64, crate::tunnel::Error> {
        let mut rows = 0_u64;
        loop {
            let row = match reader.next_row().await {
                Ok(row) => row,
                Err(error) => {
                    // What came before is good.
                    out::bytes(&self.buffer);
                    return Err(error);
                }
            };
            let Some(row) = row else { break };
            self.add(&row);
            rows = rows.saturating_add(1);
            if self.buffer.len() >= PIECE_BYTES {
                if !out::bytes(&self.buffer) {
                    return Ok(rows);
                }
                self.buffer.clear();
            }
        }
        out::bytes(&self.buffer);
        self.buffer.clear();
        Ok(rows)
    }

    fn add(&mut self, row: &[Value]) {
        let cells = self.schema.columns.iter().zip(row);
        match self.format {
            Format::Csv => {
                let cells = cells.map(|(column, value)| cell(&column.type_, value, &self.zone));
                out::table::csv_row(&mut self.buffer, cells);
            }
            Format::Json => {
                let mut object = serde_json::Map::new();
                for (column, value) in cells {
                    let value = json(&column.type_, value, &self.zone, &mut self.is_lossy);
                    object.insert(column.name.clone(), value);
                }
                self.buffer.extend_from_slice(serde_json::Value::Object(object).to_string().as_bytes());
                self.buffer.push(b'\n');
            }
        }
    }
}
