//! `forebay preview`.

use std::process::ExitCode;

use super::job::{Form, JobOptions};
use super::plan::failure;
use super::tunnel::values;
use super::{Failure, out};
use crate::job::{JobSpec, Purpose};
use crate::sync::preview::{self, Preview, PreviewRow};

/// A job file, and how much of it is shown.
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub(super) struct PreviewArgs {
    #[command(flatten)]
    job: JobOptions,

    /// How many records are read, 1 to 1000
    #[arg(help_heading = "Preview", short = 'n', long, value_name = "COUNT", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rows: u16,

    /// What is printed: a table, or one JSON object a row
    #[arg(help_heading = "Preview", short = 'o', long, value_name = "FORM", value_enum, default_value_t = Form::Text)]
    output: Form,
}

const EXAMPLES: &str = "\
Examples:
  forebay preview job.json -n 3 --datasources sources.toml
  forebay preview orders.toml -o json
  forebay preview job.json --set reader.beginOffset=seekToBeginning";

impl PreviewArgs {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let spec = self.job.load(Purpose::Run)?;
        let preview = preview::preview(&spec, usize::from(self.rows)).await.map_err(failure)?;
        for dirty in &preview.dirty {
            out::talk(&format!("dirty: partition {} offset {}: {}", dirty.partition, dirty.offset, dirty.why));
        }
        match self.output {
            Form::Text => out::data(&table(&preview, &spec)),
            Form::Json => preview.rows.iter().for_each(|row| out::data(&format!("{}\n", object(&preview, row, &spec)))),
        }
        out::talk(&format!(
            "{} rows, {} dirty records; nothing was written, nothing was committed",
            preview.rows.len(),
            preview.dirty.len()
        ));
        Ok(ExitCode::SUCCESS)
    }
}

fn table(preview: &Preview, spec: &JobSpec) -> String {
    let mut columns: Vec<String> = preview.schema.columns.iter().map(|column| column.name.clone()).collect();
    if preview.routed {
        columns.insert(0, "(partition)".to_owned());
    }
    let row = |row: &PreviewRow| {
        let cells = preview.schema.columns.iter().zip(&row.values).map(|(column, value)| {
            let cell = values::cell(&column.type_, value, &spec.settings.time_zone);
            cell.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        });
        preview.routed.then(|| Some(row.target.clone())).into_iter().chain(cells).collect()
    };
    let rows: Vec<Vec<Option<String>>> = preview.rows.iter().map(row).collect();
    out::table::bordered(&columns, &rows)
}

/// Where the row comes from and goes to, and its values as `forebay tunnel download -o json` writes them.
fn object(preview: &Preview, row: &PreviewRow, spec: &JobSpec) -> serde_json::Value {
    let mut is_lossy = false;
    let members = preview.schema.columns.iter().zip(&row.values).map(|(column, value)| {
        (column.name.clone(), values::json(&column.type_, value, &spec.settings.time_zone, &mut is_lossy))
    });
    let values: serde_json::Map<String, serde_json::Value> = members.collect();
    let target = preview.routed.then_some(&row.target);
    serde_json::json!({"partition": row.partition, "offset": row.offset, "table_partition": target, "row": values})
}
