//! What reading a job has to say: errors that stop it, and notes that do not.

use std::cell::RefCell;
use std::fmt;

/// Where in the input something stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A position in the job file, both counted from 1; columns count characters.
    File {
        /// Line.
        line: usize,
        /// Column.
        column: usize,
    },
    /// An override of the command line, with the name as typed.
    Set(String),
    /// A position outside the job file, such as `datasources.toml:3:1`.
    Elsewhere(String),
    /// The job as a whole.
    Job,
}

/// How much a note weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Probably not what was meant.
    Warning,
}

/// Something to tell about a job that can run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// How much it weighs.
    pub severity: Severity,
    /// Where it stands.
    pub place: Place,
    /// The message: lower case, no full stop.
    pub text: String,
}

/// One reason why a job cannot run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobError {
    /// Where it stands.
    pub place: Place,
    /// The key it is about, such as `Reader.beginOffset`; empty when it is about the file.
    pub key: String,
    /// What is wrong: lower case, no full stop.
    pub message: String,
    /// The next step, where there is one to name.
    pub advice: Option<String>,
}

/// All reasons found why a job cannot run, never empty, in file order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobErrors {
    /// The file's name, as it was given.
    pub file: String,
    /// The reasons.
    pub errors: Vec<JobError>,
    /// What else was noticed; an unknown key often explains a missing one.
    pub notes: Vec<Note>,
}

impl JobError {
    /// An error without advice.
    pub fn new(place: Place, key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { place, key: key.into(), message: message.into(), advice: None }
    }

    /// The same, with the next step.
    #[must_use]
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// One line: `file:line:column: key: message`.
    pub fn headline(&self, file: &str) -> String {
        let key = if self.key.is_empty() { String::new() } else { format!("{}: ", self.key) };
        format!("{}: {key}{}", self.place.render(file), self.message)
    }

    /// The headline, and the next step on a line of its own where there is one.
    pub fn render(&self, file: &str) -> String {
        let next = self.advice.as_ref().map(|advice| format!("\n  next: {advice}")).unwrap_or_default();
        format!("{}{next}", self.headline(file))
    }
}

impl Note {
    /// One line: `file:line:column: message`.
    pub fn render(&self, file: &str) -> String {
        format!("{}: {}", self.place.render(file), self.text)
    }
}

impl Place {
    /// The place as `file:line:column`, `--set NAME`, or the file's name.
    pub fn render(&self, file: &str) -> String {
        match self {
            Self::File { line, column } => format!("{file}:{line}:{column}"),
            Self::Set(name) => format!("--set {name}"),
            Self::Elsewhere(place) => place.clone(),
            Self::Job => file.to_owned(),
        }
    }

    /// Sorts the file's places in order, with everything else after them.
    fn rank(&self) -> (usize, usize) {
        match self {
            Self::File { line, column } => (*line, *column),
            Self::Set(_) | Self::Elsewhere(_) | Self::Job => (usize::MAX, 0),
        }
    }
}

impl fmt::Display for JobErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&error.render(&self.file))?;
        }
        Ok(())
    }
}

impl std::error::Error for JobErrors {}

/// Collects errors and notes while a job is read, so that all of them can be shown at once.
#[derive(Debug, Default)]
pub(super) struct Report {
    // Sections of one document report side by side; one thread, short borrows that never overlap.
    inner: RefCell<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    errors: Vec<JobError>,
    notes: Vec<Note>,
    ignored: Vec<String>,
}

impl Report {
    /// Adds an error.
    pub(super) fn error(&self, error: JobError) {
        self.inner.borrow_mut().errors.push(error);
    }

    /// Adds several errors.
    pub(super) fn errors(&self, errors: Vec<JobError>) {
        self.inner.borrow_mut().errors.extend(errors);
    }

    /// Adds a warning.
    pub(super) fn warn(&self, place: &Place, text: impl Into<String>) {
        self.note(Severity::Warning, place, text.into());
    }

    /// Adds an info line.
    pub(super) fn info(&self, place: &Place, text: impl Into<String>) {
        self.note(Severity::Info, place, text.into());
    }

    /// Remembers a key that is accepted without effect; all of them make one info line together.
    pub(super) fn ignored(&self, key: impl Into<String>) {
        self.inner.borrow_mut().ignored.push(key.into());
    }

    /// Whether an error was reported.
    pub(super) fn has_errors(&self) -> bool {
        !self.inner.borrow().errors.is_empty()
    }

    /// Ends the collection: the notes when there is no error, everything otherwise.
    pub(super) fn finish(self, file: &str) -> Result<Vec<Note>, JobErrors> {
        let Inner { mut errors, mut notes, ignored } = self.inner.into_inner();
        if !ignored.is_empty() {
            let text = format!("accepted without effect: {}", ignored.join(", "));
            notes.push(Note { severity: Severity::Info, place: Place::Job, text });
        }
        crate::sorting::by_key(&mut notes, |note| note.place.rank());
        if errors.is_empty() {
            return Ok(notes);
        }
        crate::sorting::by_key(&mut errors, |error| error.place.rank());
        Err(JobErrors { file: file.to_owned(), errors, notes })
    }

    fn note(&self, severity: Severity, place: &Place, text: String) {
        self.inner.borrow_mut().notes.push(Note { severity, place: place.clone(), text });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn errors_come_in_file_order_with_their_place() {
        let report = Report::default();
        report.error(JobError::new(Place::Job, "", "no reader"));
        report.error(JobError::new(Place::File { line: 9, column: 2 }, "Reader.topic", "missing").advise("name one"));
        report.error(JobError::new(Place::File { line: 3, column: 4 }, "type", "wrong"));
        report.ignored("dmu");
        report.ignored("compress");
        let errors = report.finish("a.json").unwrap_err();
        assert_eq!(
            errors.to_string(),
            "a.json:3:4: type: wrong\na.json:9:2: Reader.topic: missing\n  next: name one\na.json: no reader"
        );
        assert_eq!(errors.notes[0].render("a.json"), "a.json: accepted without effect: dmu, compress");
    }
}
