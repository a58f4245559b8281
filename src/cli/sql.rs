//! `forebay sql`.

mod split;

use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use jiff::tz::TimeZone;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::connection::{SourceOptions, maxcompute_config, maxcompute_failure, read};
use super::failure::code;
use super::tunnel::{self, Printer, values::cell};
use super::{Failure, out};
use crate::limits::JOB_FILE_BYTES_MAX;
use crate::tunnel::{Error, MaxCompute, ReadOptions, SqlInstance, SqlOutput};
use split::Statement;

/// A result's own text holds no more rows than this on most projects (READ_TABLE_MAX_ROW), and not every service says that it
/// left some out.
const RESULT_ROWS_MAX: usize = 10_000;

/// Statements come from -e, from the command line, from -f, or from standard input; `;` parts them. `set KEY=VALUE;` is a
/// setting for the statements after it.
#[derive(Debug, clap::Args)]
pub(super) struct SqlArgs {
    /// Statements
    #[arg(value_name = "STATEMENT", conflicts_with_all = ["execute", "file"])]
    statement: Option<String>,

    /// Statements
    #[arg(short = 'e', long, value_name = "STATEMENT", conflicts_with = "file")]
    execute: Option<String>,

    /// A file with statements; - is standard input
    #[arg(short = 'f', long, value_name = "FILE")]
    file: Option<PathBuf>,

    /// How results are printed; NULL is NULL in a table, \N in CSV and null in JSON
    #[arg(short = 'o', long, value_name = "FORMAT", value_enum, default_value_t = Format::Table)]
    output: Format,

    /// The data source
    #[arg(long, value_name = "NAME", default_value = crate::job::datasource::DEFAULT_NAME)]
    datasource: String,

    /// A setting for all statements, such as odps.sql.type.system.odps2=true; may be repeated
    #[arg(long = "hint", value_name = "KEY=VALUE", value_parser = key_value)]
    hints: Vec<(String, String)>,

    /// How often a call is repeated after errors of the service or the network
    #[arg(long, value_name = "N", default_value_t = 3)]
    retries: u32,

    #[command(flatten)]
    sources: SourceOptions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Borders and columns
    Table,
    /// Comma-separated, with a header line
    Csv,
    /// An array of objects, one a line
    Json,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
        _ => Err("not KEY=VALUE".to_owned()),
    }
}

impl SqlArgs {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let statements = split::statements(&self.text()?).map_err(|why| Failure::new(code::USAGE, why))?;
        if statements.is_empty() {
            return Err(Failure::new(code::USAGE, "no statement").advise("forebay sql -e 'select 1'"));
        }
        let connection = self.sources.odps(&self.datasource)?;
        let mut config = maxcompute_config(&connection);
        config.retry.retries_max = self.retries;
        let failure = |error: Error| maxcompute_failure(&error, &connection.source);
        let client = MaxCompute::new(config).map_err(failure)?;
        let mut stop = Stop::new()?;
        let mut hints = self.hints.clone();
        for statement in statements {
            match statement {
                Statement::Set(key, value) => hints.push((key, value)),
                Statement::Query(query) => {
                    let hints: Vec<(&str, &str)> = hints.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
                    let instance = tokio::select! {
                        instance = client.submit_sql(&query, &hints) => instance.map_err(failure)?,
                        code = stop.asked() => return Ok(ExitCode::from(code)),
                    };
                    let result = tokio::select! {
                        result = instance.wait() => result.map_err(failure)?,
                        code = stop.asked() => return Ok(cancelled(&instance, code).await),
                    };
                    if result.is_truncated || result.rows.len() >= RESULT_ROWS_MAX {
                        let printed = tokio::select! {
                            printed = self.print_whole(&instance, &result, &hints) => printed.map_err(failure)?,
                            code = stop.asked() => return Ok(ExitCode::from(code)),
                        };
                        if printed {
                            continue;
                        }
                    }
                    self.print(&result);
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The statements' text, from wherever it comes.
    fn text(&self) -> Result<String, Failure> {
        if let Some(text) = self.execute.as_ref().or(self.statement.as_ref()) {
            return Ok(text.clone());
        }
        match &self.file {
            Some(file) if file.as_os_str() != "-" => read(file),
            _ => {
                let wrong = |why: String| Failure::new(code::FAILED, format!("standard input: {why}"));
                let mut text = String::new();
                let bound = JOB_FILE_BYTES_MAX as u64;
                let reading = std::io::stdin().lock().take(bound).read_to_string(&mut text);
                reading.map_err(|error| wrong(error.to_string()))?;
                if text.len() >= JOB_FILE_BYTES_MAX {
                    return Err(wrong(format!("larger than {JOB_FILE_BYTES_MAX} bytes")));
                }
                Ok(text)
            }
        }
    }

    /// Prints all rows of a result that is too large for the service's own text of it, through the instance tunnel. False
    /// when that is not to be had, or when the text holds every row; nothing has been printed then.
    async fn print_whole(
        &self,
        instance: &SqlInstance,
        result: &SqlOutput,
        hints: &[(&str, &str)],
    ) -> Result<bool, Error> {
        let (download, is_capped) = match instance.download().await {
            Ok(found) => found,
            // The rows that are here are still worth printing; `print` says that there are more.
            Err(error) => {
                out::talk(&format!("warning: {error}"));
                return Ok(false);
            }
        };
        let have = u64::try_from(result.rows.len()).unwrap_or(u64::MAX);
        if download.rows() <= have {
            return Ok(false);
        }
        let zone = hints.iter().rev().find(|(name, _)| *name == "odps.sql.timezone");
        let zone = zone.and_then(|(_, name)| TimeZone::get(name).ok()).unwrap_or(TimeZone::UTC);
        let has_moments = download.schema().columns.iter().any(|column| column.type_.holds_instant());
        if has_moments {
            let name = zone.iana_name().unwrap_or("UTC");
            out::talk(&format!("DATETIME and TIMESTAMP are in {name}; set odps.sql.timezone for another zone"));
        }
        let mut reader = download.read(&ReadOptions::default())?;
        let columns: Vec<String> = download.schema().columns.iter().map(|column| column.name.clone()).collect();
        let count = match self.output {
            Format::Csv => {
                let mut printer = Printer::new(tunnel::Format::Csv, download.schema().clone(), zone);
                printer.print_all(&mut reader).await?
            }
            Format::Table | Format::Json => {
                let mut rows = Vec::new();
                while let Some(row) = reader.next_row().await? {
                    let cells = download.schema().columns.iter().zip(&row);
                    let cells = cells.map(|(column, value)| {
                        cell(&column.type_, value, &zone).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
                    });
                    rows.push(cells.collect::<Vec<Option<String>>>());
                }
                out::data(&match self.output {
                    Format::Table => out::table::bordered(&columns, &rows),
                    _ => out::table::json(&columns, &rows),
                });
                rows.len() as u64
            }
        };
        if self.output == Format::Table {
            out::talk(&format!("({count} rows)"));
        }
        if is_capped {
            out::talk("warning: the project lets out no more rows than these");
        }
        Ok(true)
    }

    fn print(&self, result: &SqlOutput) {
        let (columns, rows) = (&result.columns, &result.rows);
        if let Some(text) = &result.text {
            out::data(&format!("{}\n", text.trim_end()));
        } else if columns.is_empty() {
            out::talk("OK");
        } else {
            out::data(&match self.output {
                Format::Table => out::table::bordered(columns, rows),
                Format::Csv => out::table::csv(columns, rows),
                Format::Json => out::table::json(columns, rows),
            });
            if self.output == Format::Table {
                out::talk(&format!("({} row{})", rows.len(), if rows.len() == 1 { "" } else { "s" }));
            }
        }
        if result.is_truncated {
            out::talk(
                "warning: the service left rows out, since results have a largest size; use limit, or download the table",
            );
        }
    }
}

/// Asks the service to stop the statement, and says how that went.
async fn cancelled(instance: &SqlInstance, code: u8) -> ExitCode {
    match instance.cancel().await {
        Ok(()) => out::talk(&format!("stopped; SQL instance {} was asked to end", instance.id())),
        Err(error) => out::talk(&format!("stopped; SQL instance {} may run on: {error}", instance.id())),
    }
    ExitCode::from(code)
}

/// The signals that end a command early.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    fn new() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| Failure::new(code::FAILED, format!("cannot listen to signals: {error}")))
        };
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    /// Ends at the first signal, with the exit code it stands for.
    async fn asked(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => code::INTERRUPTED,
            _ = self.terminate.recv() => code::TERMINATED,
        }
    }
}
