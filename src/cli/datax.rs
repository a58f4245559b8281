//! `datax`, and `datax.py`: DataX's command line, read as `forebay run` with DataX's report, and DataX's exit codes.
//!
//! 0 done, 1 failed, 143 stopped, 255 without a job. What is about the JVM has no effect here.

use std::ffi::OsString;
use std::process::ExitCode;

/// What DataX says when it is not given one job; ours says what is different.
pub(super) const USAGE: &str = "\
usage: datax [options] job-url-or-path

  -p, --params   parameters of the job, as in -p\"-Dtable=orders -Dds=20240101\"
  --loglevel     such as info or debug
  -r, -w         print a job template
  -j, --jvm, -m, --mode, --jobid, -d, --debug have no effect here
  any option of forebay run, such as --datasources or --set reader.server=host:9092";

/// A command line of DataX in words of ours.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Translated {
    pub(super) arguments: Vec<OsString>,
    /// Options that have no effect.
    pub(super) ignored: Vec<String>,
}

/// Options that are ours and take a word; all others of ours are given as `--option=value` or take none.
const OURS: [&str; 8] =
    ["--datasources", "--odps-config", "--config", "-c", "--set", "-s", "--deadline", "--log-format"];

/// Reads the words behind the program's name; none where there is not one job.
pub(super) fn translate(words: impl IntoIterator<Item = OsString>) -> Option<Translated> {
    let mut words = words.into_iter();
    let mut arguments: Vec<OsString> = ["forebay", "run", "--report", "datax"].map(OsString::from).to_vec();
    let (mut ignored, mut jobs, mut has_template) = (Vec::new(), 0_usize, false);
    while let Some(word) = words.next() {
        let Some(text) = word.to_str().filter(|text| text.starts_with('-') && text.len() > 1) else {
            jobs = jobs.saturating_add(1);
            arguments.push(word);
            continue;
        };
        // `-pVALUE`, `--params=VALUE`, or the value is the next word.
        let (name, attached) = match text.split_once('=') {
            Some((name, value)) if text.starts_with("--") => (name, Some(value)),
            _ if text.starts_with("--") => (text, None),
            _ => {
                let (name, value) = text.split_at_checked(2).unwrap_or((text, ""));
                (name, Some(value).filter(|value| !value.is_empty()))
            }
        };
        let mut value = || attached.map(OsString::from).or_else(|| words.next()).unwrap_or_default();
        match name {
            "-j" | "--jvm" | "-m" | "--mode" | "--jobid" => {
                ignored.push(name.to_owned());
                value();
            }
            "-d" | "--debug" => ignored.push(name.to_owned()),
            "-r" | "--reader" | "-w" | "--writer" => {
                has_template = true;
                value();
            }
            "-p" | "--params" => arguments.extend(["-p".into(), value()]),
            "--loglevel" => {
                let level = value().to_string_lossy().to_ascii_lowercase();
                arguments.extend(["--log-level".into(), if level == "all" { "trace" } else { &level }.into()]);
            }
            "-h" | "--help" => return None,
            name if OURS.contains(&name) => {
                let value = value();
                arguments.extend([name.into(), value]);
            }
            _ => arguments.push(word),
        }
    }
    if has_template {
        return Some(Translated { arguments: ["forebay", "new"].map(OsString::from).to_vec(), ignored });
    }
    (jobs == 1).then_some(Translated { arguments, ignored })
}

/// The exit code that DataX would have for ours.
pub(super) fn exit_code(ours: ExitCode) -> ExitCode {
    let is = |code: u8| ours == ExitCode::from(code);
    match () {
        () if is(0) => ExitCode::SUCCESS,
        () if is(130) || is(143) => ExitCode::from(143),
        () => ExitCode::from(1),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn translated(line: &[&str]) -> Option<(String, Vec<String>)> {
        let translated = translate(line.iter().map(OsString::from))?;
        let words: Vec<_> = translated.arguments.iter().map(|word| word.to_string_lossy()).collect();
        Some((words.join(" "), translated.ignored))
    }

    #[test]
    fn dataxs_words_are_those_of_run() {
        for (line, wanted, ignored) in [
            (&["job.json"][..], "forebay run --report datax job.json", &[][..]),
            (&["-p-Da=1 -Db=2", "j"], "forebay run --report datax -p -Da=1 -Db=2 j", &[]),
            (&["-p", "-Da=1", "j"], "forebay run --report datax -p -Da=1 j", &[]),
            (&["--params=-Da=1", "j"], "forebay run --report datax -p -Da=1 j", &[]),
            (
                &["-j", "-Xms1g -Xmx1g", "j", "--mode=local", "-d"],
                "forebay run --report datax j",
                &["-j", "--mode", "-d"],
            ),
            (&["j", "--loglevel", "ALL"], "forebay run --report datax j --log-level trace", &[]),
            (&["j", "--datasources", "s.toml"], "forebay run --report datax j --datasources s.toml", &[]),
            (&["-r", "kafkareader", "-w", "odpswriter"], "forebay new", &[]),
        ] {
            let ignored: Vec<String> = ignored.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(translated(line), Some((wanted.to_owned(), ignored)), "{line:?}");
        }
        for line in [&[][..], &["a", "b"], &["-p"], &["--help"]] {
            assert_eq!(translated(line), None, "{line:?}");
        }
    }

    #[test]
    fn codes_are_dataxs() {
        for (ours, wanted) in [(0, 0), (1, 1), (65, 1), (78, 1), (130, 143), (143, 143)] {
            assert_eq!(exit_code(ExitCode::from(ours)), ExitCode::from(wanted), "{ours}");
        }
    }
}
