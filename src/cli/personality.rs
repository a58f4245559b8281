//! Called by another tool's name (through a link), the program behaves as that tool.

use std::ffi::{OsStr, OsString};
use std::path::Path;

/// What a name stands for: the words of our own command line.
const NAMES: &[(&str, &[&str])] = &[
    ("kafka-topics", &["kafka", "topics"]),
    ("kafka-consumer-groups", &["kafka", "groups"]),
    ("kafka-console-consumer", &["kafka", "consume"]),
    ("kafka-console-producer", &["kafka", "produce"]),
    ("kafka-get-offsets", &["kafka", "offsets"]),
    ("kafka-configs", &["kafka", "configs"]),
    ("kafka-acls", &["kafka", "acls"]),
    ("kafka-delete-records", &["kafka", "delete-records"]),
    ("kafka-log-dirs", &["kafka", "log-dirs"]),
    ("kcat", &["cat"]),
    ("kafkacat", &["cat"]),
];

/// The name by which the program was called, and the words that it stands for; none when it is our own.
fn called(arguments: &[OsString]) -> Option<(&str, &'static [&'static str])> {
    let name = arguments.first().map(Path::new).and_then(Path::file_name).and_then(OsStr::to_str)?;
    let plain = name.strip_suffix(".sh").unwrap_or(name);
    NAMES.iter().find(|(known, _)| *known == plain).map(|(_, words)| (name, *words))
}

/// Whether it was called `datax`, or `datax.py`.
pub(super) fn is_datax(arguments: &[OsString]) -> bool {
    let name = arguments.first().map(Path::new).and_then(Path::file_name);
    name.is_some_and(|name| name == "datax" || name == "datax.py")
}

/// Help and complaints in the words of the name by which the program was called: `kafka-topics.sh` for `forebay kafka topics`.
pub(super) fn speak(arguments: &[OsString], text: &str) -> String {
    match called(arguments) {
        Some((name, words)) => text.replace(&format!("forebay {}", words.join(" ")), name),
        None => text.to_owned(),
    }
}

/// The command line that `arguments` (the first is the program's name) mean.
pub(super) fn resolve(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let Some((_, words)) = called(&arguments) else { return arguments };
    let mut resolved = vec![OsString::from("forebay")];
    resolved.extend(words.iter().map(OsString::from));
    if words.first() == Some(&"kafka") {
        resolved.push("--as-script".into());
    }
    resolved.extend(arguments.into_iter().skip(1));
    resolved
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(line: &str) -> String {
        let words = resolve(line.split(' ').map(OsString::from));
        words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn names_with_and_without_sh_stand_for_the_tool() {
        for (line, wanted) in [
            ("forebay kafka topics --list", "forebay kafka topics --list"),
            ("/usr/bin/kafka-topics.sh --list", "forebay kafka topics --as-script --list"),
            ("kafka-consumer-groups --list", "forebay kafka groups --as-script --list"),
            ("./kcat -L -b h", "forebay cat -L -b h"),
            ("kafka-nothing.sh", "kafka-nothing.sh"),
        ] {
            assert_eq!(resolved(line), wanted);
        }
    }

    #[test]
    fn a_tool_speaks_of_itself() {
        let usage = "Usage: forebay kafka topics [OPTIONS]";
        assert_eq!(speak(&["/bin/kafka-topics.sh".into(), "--help".into()], usage), "Usage: kafka-topics.sh [OPTIONS]");
        assert_eq!(speak(&["forebay".into()], usage), usage);
    }
}
