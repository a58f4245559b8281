//! Options that say which MaxCompute project a command talks to, and as whom.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind as IoErrorKind, Read as _};
use std::path::{Path, PathBuf};

use super::Failure;
use super::failure::code;
use crate::job::{Datasources, JobErrors, OdpsConfig, OdpsConnection, Sources, resolve_odps};
use crate::limits::JOB_FILE_BYTES_MAX;
use crate::tunnel::{Error, ErrorKind};

/// Where data source names are looked up.
#[derive(Debug, clap::Args)]
pub(super) struct SourceOptions {
    /// Data sources: a TOML file with a table for each name, such as [odps_first]
    #[arg(long, value_name = "FILE", env = "FOREBAY_DATASOURCES")]
    pub(super) datasources: Option<PathBuf>,

    /// odpscmd's odps_config.ini, for the data source odps_first
    #[arg(long, value_name = "FILE", env = "FOREBAY_ODPS_CONFIG")]
    pub(super) odps_config: Option<PathBuf>,

    /// forebay's configuration, whose [datasources.NAME] tables are data sources too
    /// [default: ./forebay.toml, /etc/forebay/forebay.toml]
    #[arg(short = 'c', long, value_name = "FILE", env = "FOREBAY_CONFIG")]
    pub(super) config: Option<PathBuf>,
}

/// Where the configuration is looked for when nobody names one.
const CONFIG_FILES: [&str; 2] = ["forebay.toml", "/etc/forebay/forebay.toml"];

impl SourceOptions {
    /// Reads the files and the environment.
    pub(super) fn sources(&self) -> Result<Sources, Failure> {
        let mut sources = Sources { env: environment(), ..Sources::default() };
        if let Some(file) = &self.datasources {
            let (name, text) = (file.display().to_string(), read(file)?);
            sources.datasources = Datasources::parse(&name, &text).map_err(|errors| unusable(&errors))?;
        }
        let candidates: Vec<&Path> = match &self.config {
            Some(file) => vec![file],
            None => CONFIG_FILES.iter().map(Path::new).collect(),
        };
        for file in candidates {
            if self.config.is_none() && !file.is_file() {
                continue;
            }
            let (name, text) = (file.display().to_string(), read(file)?);
            sources.datasources.extend(Datasources::parse_config(&name, &text).map_err(|errors| unusable(&errors))?);
            break;
        }
        if let Some(file) = &self.odps_config {
            sources.odps_config = Some(OdpsConfig::parse(&file.display().to_string(), &read(file)?));
        }
        Ok(sources)
    }

    /// What stands behind the data source `name`.
    pub(super) fn odps(&self, name: &str) -> Result<OdpsConnection, Failure> {
        resolve_odps(name, &self.sources()?).map_err(|errors| unusable(&errors))
    }
}

pub(super) use crate::sync::run::maxcompute_config;

/// An error of MaxCompute as the user gets it; `source` is where the connection came from.
pub(super) fn maxcompute_failure(error: &Error, source: &str) -> Failure {
    let code = match error.kind() {
        ErrorKind::Config => code::CONFIG,
        ErrorKind::Auth | ErrorKind::Forbidden => code::NO_PERMISSION,
        ErrorKind::Throttled | ErrorKind::Unavailable => code::UNAVAILABLE,
        _ => code::FAILED,
    };
    let failure = Failure::new(code, error.to_string());
    match error.kind() {
        ErrorKind::Auth => failure.advise(format!("check access id and key of {source}, and this machine's clock")),
        ErrorKind::Forbidden => failure.advise("ask the project's owner for the missing permission"),
        ErrorKind::NoSuchProject | ErrorKind::Config => {
            failure.advise(format!("check project and endpoint of {source}"))
        }
        ErrorKind::Unavailable => failure.advise(format!("check the endpoint of {source}, and the way to it")),
        ErrorKind::UnknownOutcome => failure.advise("look whether the statement took effect before it is sent again"),
        _ => failure,
    }
}

/// Variables that are not text cannot be meant.
fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

fn unusable(errors: &JobErrors) -> Failure {
    Failure::new(code::CONFIG, errors.to_string())
}

/// Reads a file of text, bounded.
pub(super) fn read(file: &Path) -> Result<String, Failure> {
    let name = file.display();
    let wrong = |why: String| Failure::new(code::CONFIG, format!("{name}: {why}"));
    let mut bytes = Vec::new();
    let bound = JOB_FILE_BYTES_MAX as u64;
    let reading = File::open(file).and_then(|file| file.take(bound.saturating_add(1)).read_to_end(&mut bytes));
    reading.map_err(|error| match error.kind() {
        IoErrorKind::NotFound => wrong("no such file".to_owned()),
        _ => wrong(error.to_string()),
    })?;
    if bytes.len() > JOB_FILE_BYTES_MAX {
        return Err(wrong(format!("larger than {JOB_FILE_BYTES_MAX} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| wrong("not UTF-8".to_owned()))
}
