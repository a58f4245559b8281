//! A file of client properties, as `--command-config` of Kafka's tools takes it: `name=value` lines.

use std::path::Path;

use crate::cli::Failure;
use crate::cli::connection::read;
use crate::cli::failure::code;
use crate::kafka::{ClientConfig, ConsumerConfig, ErrorKind, ProducerConfig};

/// Sets what the file says. A property that is not the client's is named in a warning, since such files are shared with
/// Java programs.
pub(super) fn apply(file: &Path, config: &mut ClientConfig) -> Result<(), Failure> {
    for (name, value) in of_file(file)? {
        set(&name, &value, &file.display().to_string(), config)?;
    }
    Ok(())
}

/// What a file says.
pub(super) fn of_file(file: &Path) -> Result<Vec<(String, String)>, Failure> {
    Ok(parse(&read(file)?))
}

/// Sets one property; `origin` is where it comes from.
pub(super) fn set(name: &str, value: &str, origin: &str, config: &mut ClientConfig) -> Result<(), Failure> {
    let taken = config.set_property(name, value).map_err(|error| {
        let code = if error.kind() == ErrorKind::Auth { code::NO_PERMISSION } else { code::CONFIG };
        Failure::new(code, format!("{origin}: {error}"))
    })?;
    let of_consumer = ConsumerConfig::default().set_property(name, value).unwrap_or(false);
    let of_producer = ProducerConfig::default().set_property(name, value).unwrap_or(true);
    if !taken && !of_consumer && !of_producer && !OTHERS.contains(&name) {
        log::warn!("{origin}: property {name} is not known and has no effect");
    }
    Ok(())
}

/// Properties that a command reads itself.
const OTHERS: &[&str] = &["group.id", "auto.offset.reset", "enable.auto.commit", "auto.commit.interval.ms"];

/// `NAME=VALUE` of the command line.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("NAME=VALUE expected")?;
    Ok((name.trim().to_owned(), value.to_owned()))
}

/// Names and values of Java's `Properties` format: comments begin with `#` or `!`, a backslash at the end of a line joins the
/// next one to it, the first `=`, `:` or space ends the name, and `\n`, `\t`, `\r` and `\\` are what they are in Java.
fn parse(text: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let mut line = line.trim_start().to_owned();
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        while ends_open(&line) {
            line.pop();
            let Some(next) = lines.next() else { break };
            line.push_str(next.trim_start());
        }
        let end = line.find(|c: char| matches!(c, '=' | ':') || c.is_whitespace()).unwrap_or(line.len());
        let (name, rest) = line.split_at(end);
        let rest = rest.trim_start();
        let value = rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start();
        pairs.push((unescaped(name), unescaped(value)));
    }
    pairs
}

/// Whether the line ends in an odd number of backslashes.
fn ends_open(line: &str) -> bool {
    line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some('r') => out.push('\r'),
                Some(other) => out.push(other),
                None => {}
            },
            (c, false) => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn java_s_format_is_read() {
        let text = "# a comment\n! another\n\nsecurity.protocol=SASL_SSL\n sasl.mechanism : PLAIN\nclient.id x\n\
                    sasl.jaas.config=PlainLoginModule required \\\n    username=\"alice\" \\\n    password=\"p=1:2\";\n\
                    ssl.ca.pem=a\\nb\\\\c\nempty=\nlast=1\\\\\nnext=2\\";
        let pairs = parse(text);
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(
            pairs,
            [
                ("security.protocol", "SASL_SSL"),
                ("sasl.mechanism", "PLAIN"),
                ("client.id", "x"),
                ("sasl.jaas.config", "PlainLoginModule required username=\"alice\" password=\"p=1:2\";"),
                ("ssl.ca.pem", "a\nb\\c"),
                ("empty", ""),
                ("last", "1\\"),
                ("next", "2"),
            ]
        );
    }
}
