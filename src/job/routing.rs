//! A `partition` whose values come from each record: `ds={__timestamp__:yyyyMMdd},region={region}`.
//!
//! A brace cannot stand in a partition's value, so a text with one always means this.

use super::date_format::DateFormat;
use super::spec::{PartitionPiece, RoutedLevel, SourceColumn};

/// Whether the text asks for routing.
pub(super) fn is_pattern(text: &str) -> bool {
    text.contains(['{', '}'])
}

/// Reads the levels. `source` turns what stands in braces before the colon into a source column, in the spelling of its file.
///
/// # Errors
/// What is wrong with which level.
pub(super) fn levels(
    text: &str,
    source: impl Fn(&str) -> Result<SourceColumn, String>,
) -> Result<Vec<RoutedLevel>, String> {
    let mut levels: Vec<RoutedLevel> = Vec::new();
    for piece in split(text)? {
        let wrong = || format!("{:?} is not of the form name=value", piece.trim());
        let (key, value) = piece.split_once('=').ok_or_else(wrong)?;
        let (key, value) = (unquoted(key), value.trim());
        if key.is_empty() || value.is_empty() || key.contains(['{', '}']) {
            return Err(wrong());
        }
        if levels.iter().any(|level| level.key.eq_ignore_ascii_case(&key)) {
            return Err(format!("{key:?} is given twice"));
        }
        levels.push(RoutedLevel { key, pieces: pieces(value, &source)? });
    }
    Ok(levels)
}

/// Parts the levels at `,` and `/`, but not inside braces.
fn split(text: &str) -> Result<Vec<&str>, String> {
    let (mut parts, mut start, mut inside) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        match c {
            '{' if inside => return Err("holds a { inside of braces".to_owned()),
            '{' => inside = true,
            '}' if !inside => return Err("holds a } without a { before it".to_owned()),
            '}' => inside = false,
            ',' | '/' if !inside => {
                parts.push(text.get(start..at).unwrap_or_default());
                start = at.saturating_add(1);
            }
            _ => {}
        }
    }
    if inside {
        return Err("holds a { that is not closed".to_owned());
    }
    parts.push(text.get(start..).unwrap_or_default());
    Ok(parts)
}

fn pieces(value: &str, source: impl Fn(&str) -> Result<SourceColumn, String>) -> Result<Vec<PartitionPiece>, String> {
    let (mut pieces, mut rest) = (Vec::new(), value);
    while !rest.is_empty() {
        let Some((before, after)) = rest.split_once('{') else {
            push_text(&mut pieces, rest)?;
            break;
        };
        push_text(&mut pieces, before)?;
        let (inside, tail) = after.split_once('}').unwrap_or((after, ""));
        let (name, pattern) = match inside.split_once(':') {
            Some((name, pattern)) => (name.trim(), Some(pattern)),
            None => (inside.trim(), None),
        };
        if name.is_empty() {
            return Err("holds braces without a column".to_owned());
        }
        let format = pattern.map(DateFormat::parse).transpose()?;
        let source = source(name)?;
        if format.is_none() && source == SourceColumn::Timestamp {
            return Err(format!("{{{name}}} needs a date pattern, such as {{{name}:yyyyMMdd}}"));
        }
        pieces.push(PartitionPiece::Value { source, format, source_format: None });
        rest = tail;
    }
    Ok(pieces)
}

fn push_text(pieces: &mut Vec<PartitionPiece>, text: &str) -> Result<(), String> {
    let text = unquoted(text);
    if text.contains('=') {
        return Err(format!("{text:?} holds a second ="));
    }
    if !text.is_empty() {
        pieces.push(PartitionPiece::Text(text));
    }
    Ok(())
}

/// Blanks around and quotes go, as in a partition that is written out.
fn unquoted(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, '\'' | '"')).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(text: &str) -> Result<Vec<RoutedLevel>, String> {
        levels(text, |name| match name {
            "__timestamp__" => Ok(SourceColumn::Timestamp),
            "bad" => Err("bad".to_owned()),
            other => Ok(SourceColumn::Constant(other.to_owned())),
        })
    }

    #[test]
    fn levels_with_text_and_values() {
        let found = read("pt='{__timestamp__:yyyy/MM/dd}' / region = r-{region},x=1").unwrap();
        let value = |source, format: Option<&str>| PartitionPiece::Value {
            source,
            format: format.map(|format| DateFormat::parse(format).unwrap()),
            source_format: None,
        };
        let expected = [
            ("pt", vec![value(SourceColumn::Timestamp, Some("yyyy/MM/dd"))]),
            ("region", vec![PartitionPiece::Text("r-".into()), value(SourceColumn::Constant("region".into()), None)]),
            ("x", vec![PartitionPiece::Text("1".into())]),
        ];
        let expected: Vec<RoutedLevel> =
            expected.into_iter().map(|(key, pieces)| RoutedLevel { key: key.into(), pieces }).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn malformed_patterns_are_refused() {
        for text in [
            "pt={",
            "pt=}",
            "pt={{a}}",
            "pt={}",
            "{a}",
            "pt={a},",
            "pt={a},PT={b}",
            "pt={a:day}",
            "pt={bad}",
            "={a}",
            "pt={__timestamp__}",
            "pt={a}=b",
            "{a}=b",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
