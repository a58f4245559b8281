//! Values from outside a file: `${NAME}`, `${NAME:-default}`, `${NAME:?message}`, `${file:/path}` inside texts.
//!
//! Replaced after parsing, so that a value cannot inject structure. `$${` is a literal `${`. Job files do not come here:
//! their `${name}` are scheduling parameters ([`super::vars`]).

use std::collections::BTreeMap;
use std::io::Read as _;

use super::json::{Node, Value};
use super::report::JobError;
use crate::limits::SECRET_FILE_BYTES_MAX;

/// Fills in every text below `node`; `name` is how messages call it. The first failure of each text is added to `errors`.
pub(super) fn fill(node: &mut Node, name: &str, env: &BTreeMap<String, String>, errors: &mut Vec<JobError>) {
    match &mut node.value {
        Value::Text(text) => match interpolate(text, env) {
            Ok(filled) => *text = filled,
            Err(message) => errors.push(JobError::new(node.place.clone(), name, message)),
        },
        Value::Array(items) => items.iter_mut().for_each(|item| fill(item, name, env, errors)),
        Value::Object(members) => {
            for member in members {
                fill(&mut member.node, &format!("{name}.{}", member.key), env, errors);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Fills in one text.
///
/// # Errors
/// A sentence that names the variable or file that is missing, or the reference that never ends.
pub(super) fn interpolate(text: &str, env: &BTreeMap<String, String>) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(literal) = before.strip_suffix('$') {
            out.push_str(literal);
            out.push_str("${");
            rest = after;
            continue;
        }
        out.push_str(before);
        let Some((reference, after)) = after.split_once('}') else {
            return Err("a ${ has no closing }".to_owned());
        };
        out.push_str(&value_of(reference, env)?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// What stands for `NAME`, `NAME:-default`, `NAME:?message` or `file:/path`.
pub(super) fn value_of(reference: &str, env: &BTreeMap<String, String>) -> Result<String, String> {
    if let Some(path) = reference.strip_prefix("file:") {
        return secret_file(path);
    }
    let set = |name: &str| env.get(name).filter(|value| !value.is_empty()).cloned();
    if let Some((name, default)) = reference.split_once(":-") {
        return Ok(set(name).unwrap_or_else(|| default.to_owned()));
    }
    let (name, message) = match reference.split_once(":?") {
        Some((name, message)) => (name, Some(message)),
        None => (reference, None),
    };
    let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !name.is_empty();
    if !is_name {
        return Err("a ${…} is not NAME, NAME:-default, NAME:?message or file:/path".to_owned());
    }
    match (env.get(name), message) {
        (Some(value), None) => Ok(value.clone()),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value.clone()),
        (_, Some(message)) => Err(format!("environment variable {name}: {message}")),
        (None, None) => Err(format!("environment variable {name} is not set")),
    }
}

/// The text of a file without the line ends after it, which editors and `echo` leave there.
fn secret_file(path: &str) -> Result<String, String> {
    let failed = |why: &dyn std::fmt::Display| format!("cannot read {path}: {why}");
    let file = std::fs::File::open(path).map_err(|error| failed(&error))?;
    let mut text = String::new();
    let most = SECRET_FILE_BYTES_MAX as u64 + 1;
    file.take(most).read_to_string(&mut text).map_err(|error| failed(&error))?;
    if text.len() > SECRET_FILE_BYTES_MAX {
        return Err(failed(&format!("longer than {SECRET_FILE_BYTES_MAX} bytes")));
    }
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn env() -> BTreeMap<String, String> {
        [("ID", "abc"), ("EMPTY", "")].map(|(k, v)| (k.to_owned(), v.to_owned())).into()
    }

    #[test]
    fn fills_in_variables_and_defaults() {
        for (text, wanted) in [
            ("${ID}", "abc"),
            ("a${ID}b${ID}", "aabcbabc"),
            ("${NONE:-x}${EMPTY:-y}${ID:-z}", "xyabc"),
            ("${EMPTY}", ""),
            ("$${ID} $ID $", "${ID} $ID $"),
            ("${ID:?needed}", "abc"),
            ("{}", "{}"),
        ] {
            assert_eq!(interpolate(text, &env()).as_deref(), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        for (text, wanted) in [
            ("${NONE}", "environment variable NONE is not set"),
            ("${EMPTY:?set it}", "environment variable EMPTY: set it"),
            ("${ID", "a ${ has no closing }"),
            ("${a b}", "a ${…} is not NAME, NAME:-default, NAME:?message or file:/path"),
        ] {
            assert_eq!(interpolate(text, &env()).unwrap_err(), wanted, "{text}");
        }
        assert!(interpolate("${file:/no/such/file}", &env()).unwrap_err().starts_with("cannot read /no/such/file: "));
    }

    #[test]
    fn a_value_is_not_read_again() {
        let env = [("A".to_owned(), "${B}".to_owned())].into();
        assert_eq!(interpolate("${A}", &env).as_deref(), Ok("${B}"));
    }

    #[test]
    fn secret_files_lose_their_line_end_and_are_bounded() {
        let path = std::env::temp_dir().join(format!("forebay-secret-{}", std::process::id()));
        std::fs::write(&path, "key \r\n\n").unwrap();
        assert_eq!(secret_file(path.to_str().unwrap()).unwrap(), "key ");
        std::fs::write(&path, "x".repeat(SECRET_FILE_BYTES_MAX + 1)).unwrap();
        assert!(secret_file(path.to_str().unwrap()).unwrap_err().contains("longer than"));
        std::fs::remove_file(&path).unwrap();
    }
}
