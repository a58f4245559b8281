//! Options that name a job file and fill it in, and how what is wrong with it is shown.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use jiff::Timestamp;

use super::connection::{SourceOptions, read};
use super::failure::code;
use super::{Failure, out};
use crate::job::{self, JobErrors, JobSpec, LoadOptions, Note, Purpose, Severity, vars};
use crate::limits::JOB_FILE_BYTES_MAX;

/// The job, and what it is filled in with.
#[derive(Debug, clap::Args)]
pub(super) struct JobOptions {
    /// The job: a DataWorks script-mode or DataX JSON file; - is standard input
    #[arg(value_name = "JOB")]
    file: PathBuf,

    #[command(flatten)]
    filling: Filling,
}

/// What a job file is filled in with.
#[derive(Debug, clap::Args)]
pub(super) struct Filling {
    /// A variable of the job: fills in ${NAME}. DataX's -p "-Dname=value" works too
    #[arg(short = 'p', long = "param", value_name = "NAME=VALUE", allow_hyphen_values = true, value_parser = params)]
    params: Vec<Params>,

    /// Another value for one key of the job, such as reader.server=host:9092 or setting.speed.concurrent=4
    #[arg(short = 's', long = "set", value_name = "STEP.KEY=VALUE", value_parser = set)]
    sets: Vec<(String, String)>,

    #[command(flatten, next_help_heading = "Data sources")]
    sources: SourceOptions,
}

/// The variables of one `-p`.
#[derive(Clone, Debug)]
struct Params(Vec<(String, String)>);

fn params(text: &str) -> Result<Params, String> {
    vars::parse_params(text).map(Params)
}

fn set(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if name.contains('.') => Ok((name.trim().to_owned(), value.to_owned())),
        _ => Err("write STEP.KEY=VALUE, such as reader.server=host:9092".to_owned()),
    }
}

impl JobOptions {
    /// The file's name as messages show it.
    pub(super) fn file_name(&self) -> String {
        if is_stdin(&self.file) { "<stdin>".to_owned() } else { self.file.display().to_string() }
    }

    /// Reads the job. What is wrong with it is printed, all of it; the failure says how much that was.
    pub(super) fn load(&self, purpose: Purpose) -> Result<JobSpec, Failure> {
        let file = self.file_name();
        self.filling.load(&file, &text_of(&self.file)?, purpose)
    }

    /// The job's text, variables and all.
    pub(super) fn text(&self) -> Result<String, Failure> {
        text_of(&self.file)
    }

    /// What the job is filled in with.
    pub(super) fn options(&self, purpose: Purpose) -> Result<LoadOptions, Failure> {
        self.filling.options(purpose)
    }
}

fn is_stdin(file: &Path) -> bool {
    file == Path::new("-")
}

/// The text of a file, or of standard input.
fn text_of(file: &Path) -> Result<String, Failure> {
    if is_stdin(file) { read_stdin() } else { read(file) }
}

/// One job file of several.
#[derive(Debug)]
pub(super) struct JobFile {
    /// The name as messages show it.
    pub(super) name: String,
    path: PathBuf,
}

/// A job, or all that is wrong with it.
#[derive(Debug)]
pub(super) enum Loaded {
    Job(Box<JobSpec>),
    Wrong(JobErrors),
}

impl JobFile {
    /// The files that are named, with each folder's in the order of their names.
    pub(super) fn all(given: &[PathBuf]) -> Result<Vec<Self>, Failure> {
        let named = |path: PathBuf| Self {
            name: if is_stdin(&path) { "<stdin>".to_owned() } else { path.display().to_string() },
            path,
        };
        Ok(all_files(given)?.into_iter().map(named).collect())
    }

    pub(super) fn load(&self, filling: &Filling, purpose: Purpose) -> Result<Loaded, Failure> {
        let options = filling.options(purpose)?;
        let loaded = job::load(&self.name, &text_of(&self.path)?, &options);
        Ok(loaded.map_or_else(Loaded::Wrong, |spec| Loaded::Job(Box::new(spec))))
    }
}

/// The files that are named, with each folder's in the order of their names.
pub(super) fn all_files(given: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for given in given {
        if !given.is_dir() {
            files.push(given.clone());
            continue;
        }
        let wrong = |error: std::io::Error| Failure::new(code::CONFIG, format!("{}: {error}", given.display()));
        let mut inside = Vec::new();
        for entry in std::fs::read_dir(given).map_err(wrong)? {
            let path = entry.map_err(wrong)?.path();
            if is_job(&path) {
                inside.push(path);
            }
        }
        if inside.is_empty() {
            let text = format!("{}: no .toml or .json file in this folder", given.display());
            return Err(Failure::new(code::CONFIG, text).advise("put a job file there, or name one"));
        }
        crate::sorting::sort(&mut inside);
        files.append(&mut inside);
    }
    Ok(files)
}

fn is_job(path: &Path) -> bool {
    let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
    !hidden && path.is_file() && path.extension().is_some_and(|ending| ending == "toml" || ending == "json")
}

/// What a command prints about a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Form {
    /// For people
    Text,
    /// JSON
    Json,
}

impl Filling {
    /// Reads a job's text. What is wrong with it is printed, all of it; the failure says how much that was.
    pub(super) fn load(&self, file: &str, text: &str, purpose: Purpose) -> Result<JobSpec, Failure> {
        job::load(file, text, &self.options(purpose)?).map_err(|errors| unusable(file, &errors))
    }

    /// What a job is read with.
    pub(super) fn options(&self, purpose: Purpose) -> Result<LoadOptions, Failure> {
        Ok(LoadOptions {
            params: self.params.iter().flat_map(|params| params.0.clone()).collect(),
            sets: self.sets.clone(),
            sources: self.sources.sources()?,
            now: Timestamp::now(),
            purpose,
        })
    }
}

fn read_stdin() -> Result<String, Failure> {
    let wrong = |why: String| Failure::new(code::CONFIG, format!("<stdin>: {why}"));
    let mut bytes = Vec::new();
    let most = (JOB_FILE_BYTES_MAX as u64).saturating_add(1);
    std::io::stdin().lock().take(most).read_to_end(&mut bytes).map_err(|error| wrong(error.to_string()))?;
    if bytes.len() > JOB_FILE_BYTES_MAX {
        return Err(wrong(format!("larger than {JOB_FILE_BYTES_MAX} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| wrong("not UTF-8".to_owned()))
}

/// Prints the warnings and all errors but a single one, which becomes the failure itself.
pub(super) fn unusable(file: &str, errors: &JobErrors) -> Failure {
    for note in warnings(&errors.notes) {
        out::talk(&format!("warning: {}", note.render(file)));
    }
    if let [only] = errors.errors.as_slice() {
        let failure = Failure::new(code::CONFIG, only.headline(file));
        return match &only.advice {
            Some(advice) => failure.advise(advice),
            None => failure,
        };
    }
    for error in &errors.errors {
        out::talk(&format!("error: {}", error.render(file)));
    }
    Failure::new(code::CONFIG, format!("{file} cannot be used: {} errors", errors.errors.len()))
}

/// Prints the notes of a job.
pub(super) fn tell_notes(notes: &[Note], file: &str) {
    for note in notes {
        let label = match note.severity {
            Severity::Warning => "warning",
            Severity::Info => "note",
        };
        out::talk(&format!("{label}: {}", note.render(file)));
    }
}

/// The notes of a job as JSON.
pub(super) fn notes_json(notes: &[Note], file: &str) -> Vec<serde_json::Value> {
    let note = |note: &Note| {
        let level = if note.severity == Severity::Warning { "warning" } else { "note" };
        serde_json::json!({"level": level, "place": note.place.render(file), "text": note.text})
    };
    notes.iter().map(note).collect()
}

/// The notes that may be mistakes.
pub(super) fn warnings(notes: &[Note]) -> impl Iterator<Item = &Note> {
    notes.iter().filter(|note| note.severity == Severity::Warning)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use clap::Parser as _;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        job: JobOptions,
    }

    fn parse(words: &[&str]) -> Result<JobOptions, clap::Error> {
        Line::try_parse_from([&["x"], words].concat()).map(|line| line.job)
    }

    #[test]
    fn variables_come_in_the_spellings_of_datax() {
        for words in [
            vec!["j.json", "-p", "-Da=1 -Db=2"],
            vec!["j.json", "-p-Da=1", "-p", "b=2"],
            vec!["-p", "-Da=1", "--param", "b=2", "j.json"],
        ] {
            let job = parse(&words).unwrap();
            let params: Vec<_> = job.filling.params.into_iter().flat_map(|params| params.0).collect();
            assert_eq!(params, [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())], "{words:?}");
        }
        assert!(parse(&["j.json", "-p", "nothing"]).is_err());
    }

    #[test]
    fn overrides_need_a_step_and_a_value() {
        let job = parse(&["-", "--set", "Reader.kafkaConfig.group.id=a=b", "-s", "writer.partition="]).unwrap();
        assert_eq!(job.file_name(), "<stdin>");
        let set = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(job.filling.sets, [set("Reader.kafkaConfig.group.id", "a=b"), set("writer.partition", "")]);
        for wrong in ["Reader.server", "server=a", "=a.b"] {
            assert!(parse(&["j.json", "--set", wrong]).is_err(), "{wrong}");
        }
    }
}
