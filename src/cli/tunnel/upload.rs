//! `forebay tunnel upload`.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::ExitCode;

use jiff::tz::TimeZone;

use super::rows::Rows;
use super::{Format, Service, ServiceArgs, Target, time_zone};
use crate::cli::failure::code;
use crate::cli::{Failure, out};
use crate::tunnel::encode::Compression;
use crate::tunnel::{ErrorKind, RowEncoder, Upload, UploadOptions};

#[derive(Debug, clap::Args)]
pub(super) struct UploadArgs {
    /// A file with rows; - is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// The table, and the partition if it has any
    #[arg(value_name = "TABLE[/PARTITION]", value_parser = Target::parse)]
    target: Target,

    /// How rows are written in the file [default: by its extension, .csv or .json, .jsonl, .ndjson]
    #[arg(short = 'o', long, value_name = "FORMAT", value_enum)]
    output: Option<Format>,

    /// The CSV file has no header line: values come in the table's order
    #[arg(long)]
    no_header: bool,

    /// Replace the rows that the table or partition holds
    #[arg(long)]
    overwrite: bool,

    /// Create the partition if it does not exist; also spelt -acp
    #[arg(long)]
    create_partition: bool,

    /// odpscmd's spelling of --create-partition
    #[arg(short = 'a', value_name = "cp", value_parser = ["cp"], hide = true)]
    acp: Option<String>,

    /// Size of a block before it is packed, in MiB; one is held in memory
    #[arg(long, value_name = "MIB", default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..=512))]
    block_size: u64,

    /// How blocks are packed on their way: none, deflate, snappy, lz4 or zstd
    #[arg(long, value_name = "NAME", default_value = "none", value_parser = compression)]
    compression: Compression,

    /// The zone of DATETIME and TIMESTAMP without an offset
    #[arg(long, value_name = "ZONE", default_value = "UTC", value_parser = time_zone)]
    time_zone: TimeZone,

    #[command(flatten)]
    service: ServiceArgs,
}

fn compression(name: &str) -> Result<Compression, String> {
    match name {
        "none" => Ok(Compression::None),
        "deflate" => Ok(Compression::Deflate),
        "snappy" => Ok(Compression::Snappy),
        "lz4" => Ok(Compression::Lz4),
        "zstd" => Ok(Compression::Zstd),
        _ => Err("not one of none, deflate, snappy, lz4, zstd".to_owned()),
    }
}

impl UploadArgs {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let format = self.format()?;
        let input = self.open()?;
        let service = self.service.connect()?;
        let table = service.client.table(&self.target.table).await.map_err(|error| service.failure(&error))?;
        let partition = self.target.partition_in(&table.schema)?;
        let mut options =
            UploadOptions { overwrite: self.overwrite, compression: self.compression, ..UploadOptions::default() };
        options.create_partition = self.create_partition || self.acp.is_some();
        let upload = service.client.create_upload(&self.target.table, partition.as_ref(), options).await;
        let upload = upload.map_err(|error| match error.kind() {
            ErrorKind::NoSuchPartition => service.failure(&error).advise("--create-partition creates it"),
            _ => service.failure(&error),
        })?;
        out::talk(&format!("upload session {}", upload.id()));
        let blocks = self.send(&service, &upload, format, input).await.map_err(|failure| {
            let message = format!("{}\nnothing was committed: the table is as it was", failure.message);
            Failure { message, ..failure }
        })?;
        upload.commit_counted(&blocks).await.map_err(|error| service.failure(&error))?;
        let rows: u64 = blocks.iter().map(|(_, rows)| rows).sum();
        let plural = |count: u64| if count == 1 { "" } else { "s" };
        let sent = blocks.len() as u64;
        out::talk(&format!("committed {rows} row{} in {sent} block{}", plural(rows), plural(sent)));
        Ok(ExitCode::SUCCESS)
    }

    fn format(&self) -> Result<Format, Failure> {
        if let Some(format) = self.output {
            return Ok(format);
        }
        let extension = self.file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        match extension.to_ascii_lowercase().as_str() {
            "csv" => Ok(Format::Csv),
            "json" | "jsonl" | "ndjson" => Ok(Format::Json),
            _ => {
                let message = format!("{}: its name does not say how rows are written", self.file.display());
                Err(Failure::new(code::USAGE, message).advise("-o csv or -o json"))
            }
        }
    }

    fn open(&self) -> Result<Box<dyn BufRead + Send>, Failure> {
        if self.file.as_os_str() == "-" {
            return Ok(Box::new(BufReader::new(std::io::stdin())));
        }
        let file = File::open(&self.file)
            .map_err(|error| Failure::new(code::CONFIG, format!("{}: {error}", self.file.display())))?;
        Ok(Box::new(BufReader::with_capacity(256 * 1024, file)))
    }

    /// Sends every row; the blocks with their numbers of rows.
    async fn send(
        &self,
        service: &Service,
        upload: &Upload,
        format: Format,
        input: Box<dyn BufRead + Send>,
    ) -> Result<Vec<(u32, u64)>, Failure> {
        let wrong = |why: String| Failure::new(code::FAILED, format!("{}: {why}", self.file.display()));
        let schema = upload.schema();
        let rows = Rows::new(input, format, schema, self.time_zone.clone(), !self.no_header);
        let mut rows = rows.map_err(wrong)?;
        let block_bytes = usize::try_from(self.block_size.saturating_mul(1 << 20)).unwrap_or(usize::MAX);
        let mut encoder = RowEncoder::new();
        let mut blocks = Vec::new();
        loop {
            let row = rows.next_row().map_err(wrong)?;
            let is_end = row.is_none();
            for (place, (column, value)) in schema.columns.iter().zip(row.unwrap_or_default()).enumerate() {
                let at = |why: String| wrong(format!("line {}, column \"{}\": {why}", rows.line(), column.name));
                let before = encoder.row_bytes();
                encoder.value(place, &column.type_, &value).map_err(|error| at(error.to_string()))?;
                // Tag and length included, which is near enough: the service decides about what comes close.
                let bytes = encoder.row_bytes().saturating_sub(before);
                if bytes > upload.field_bytes_max().saturating_add(16) {
                    return Err(at(format!("{bytes} bytes; the largest field has {}", upload.field_bytes_max())));
                }
            }
            if !is_end {
                encoder.end_row();
            }
            // No block for no rows.
            if encoder.rows() > 0 && (is_end || encoder.pending_bytes() >= block_bytes) {
                let count = encoder.rows();
                let id = u32::try_from(blocks.len()).unwrap_or(u32::MAX);
                let body = std::mem::take(&mut encoder).finish();
                let put = upload.put_block_bytes(id, body).await;
                put.map_err(|error| service.failure(&error))?;
                log::info!("block {id} with {count} rows is in the session");
                blocks.push((id, count));
            }
            if is_end {
                return Ok(blocks);
            }
        }
    }
}
