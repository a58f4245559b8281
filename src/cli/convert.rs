//! `forebay convert` and `forebay new`: job files of forebay's own.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;

use super::failure::code;
use super::job::{JobOptions, unusable, warnings};
use super::{Failure, out};
use crate::job::{ConvertError, Purpose, to_toml};

/// A job file of another shape, and where the new one goes.
#[derive(Debug, clap::Args)]
#[command(before_help = CONVERT)]
pub(super) struct ConvertArgs {
    #[command(flatten)]
    job: JobOptions,

    /// A new file for the TOML; without it, it is printed
    #[arg(help_heading = "Convert", long, value_name = "FILE")]
    out: Option<PathBuf>,
}

const CONVERT: &str = "\
Examples:
  forebay convert job.json --out job.toml
  forebay convert job.json -p bizdate=20240101
  forebay convert job.json --set reader.server=emr-header-1:9092 | forebay check - --offline";

impl ConvertArgs {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let file = self.job.file_name();
        let converted = match to_toml(&file, &self.job.text()?, &self.job.options(Purpose::Check)?) {
            Ok(converted) => converted,
            Err(ConvertError::Unusable(errors)) => return Err(unusable(&file, &errors)),
            Err(error @ ConvertError::AlreadyOwn) => {
                return Err(Failure::new(code::CONFIG, format!("{file}: {error}")));
            }
            Err(error @ ConvertError::Differs(_)) => {
                return Err(Failure::new(code::BUG, format!("{file}: {error}"))
                    .advise("run the job as it is; it needs no conversion"));
            }
        };
        for note in warnings(&converted.notes) {
            out::talk(&format!("warning: {}", note.render(&file)));
        }
        for (key, variable) in &converted.secrets {
            out::talk(&format!("note: {key} is a secret and does not go over: set the variable {variable}"));
        }
        deliver(self.out.as_deref(), &converted.toml)
    }
}

/// Where from, where to, and for how long.
#[derive(Debug, clap::Args)]
#[command(before_help = NEW)]
pub(super) struct NewArgs {
    /// Where records come from
    #[arg(long, value_enum, default_value_t = Origin::Kafka)]
    from: Origin,

    /// Where rows go
    #[arg(long, value_enum, default_value_t = Destination::Maxcompute)]
    to: Destination,

    /// A job without an end, for forebay agent
    #[arg(long)]
    continuous: bool,

    /// A new file for the template; without it, it is printed
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

const NEW: &str = "\
Examples:
  forebay new --out job.toml
  forebay new --continuous --out orders.toml
  forebay new --from kafka --to maxcompute | forebay check - --offline";

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Origin {
    Kafka,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Destination {
    Maxcompute,
}

impl NewArgs {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let (Origin::Kafka, Destination::Maxcompute) = (self.from, self.to);
        let template = include_str!("template.toml");
        let text = match self.continuous {
            false => template.to_owned(),
            // An end and a replaced table are what such a job does not have.
            true => template
                .replace("stop = \"latest\" ", "# stop = \"latest\" ")
                .replace("truncate = true ", "truncate = false "),
        };
        deliver(self.out.as_deref(), &text)
    }
}

/// Prints a text, or writes it into a new file: one that is there is never written over.
fn deliver(file: Option<&Path>, text: &str) -> Result<ExitCode, Failure> {
    let Some(file) = file else {
        out::data(text);
        return Ok(ExitCode::SUCCESS);
    };
    File::create_new(file).and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| {
        Failure::new(code::CANNOT_CREATE, format!("{}: {error}", file.display()))
            .advise("name a file that does not exist yet")
    })?;
    Ok(ExitCode::SUCCESS)
}
