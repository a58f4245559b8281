//! TOML into the same tree as JSON, so that one typed reader serves both.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::json::{Member, Node, Value};
use super::report::{JobError, Place};

/// Reads a document called `file`. Places carry the file's name, since they are mixed with those of a job file.
///
/// # Errors
/// The first syntax error. The parser's own rendering would show the line, which may hold a secret, so only its reason and
/// the position are kept.
pub(super) fn parse(file: &str, text: &str) -> Result<Node, JobError> {
    let places = Places { file, text };
    match DeTable::parse(text) {
        Ok(table) => {
            let value = Value::Object(members(table.get_ref(), &places));
            Ok(Node { place: Place::Elsewhere(file.to_owned()), value })
        }
        Err(error) => {
            let place = places.at(error.span().map_or(0, |span| span.start));
            Err(JobError::new(place, "", format!("not valid TOML: {}", error.message())))
        }
    }
}

struct Places<'a> {
    file: &'a str,
    text: &'a str,
}

impl Places<'_> {
    fn at(&self, offset: usize) -> Place {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Place::Elsewhere(format!("{}:{line}:{column}", self.file))
    }
}

fn members(table: &DeTable<'_>, places: &Places<'_>) -> Vec<Member> {
    let member = |(key, value): (&Spanned<std::borrow::Cow<'_, str>>, &Spanned<DeValue<'_>>)| Member {
        key: key.get_ref().to_string(),
        place: places.at(key.span().start),
        node: node(value, places),
    };
    table.iter().map(member).collect()
}

fn node(value: &Spanned<DeValue<'_>>, places: &Places<'_>) -> Node {
    let place = places.at(value.span().start);
    let value = match value.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => Value::Number(number.to_string()),
        DeValue::Float(number) => Value::Number(number.to_string()),
        DeValue::Boolean(value) => Value::Bool(*value),
        DeValue::Datetime(moment) => Value::Text(moment.to_string()),
        DeValue::Array(items) => Value::Array(items.iter().map(|item| node(item, places)).collect()),
        DeValue::Table(table) => Value::Object(members(table, places)),
    };
    Node { place, value }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn reads_values_with_places() {
        let node = parse("d.toml", "[a]\nb = \"x\"\nc = [1, true]\n[a.d]\n").unwrap();
        let a = node.member("a").unwrap();
        assert_eq!(a.member("b"), Some(&Node::text(Place::Elsewhere("d.toml:2:5".into()), "x")));
        let Value::Array(items) = &a.member("c").unwrap().value else { panic!("not a list") };
        assert_eq!(items.first().unwrap().value, Value::Number("1".into()));
        assert!(a.member("d").unwrap().members().unwrap().is_empty());
    }

    #[test]
    fn errors_name_the_place_and_not_the_line() {
        let error = parse("d.toml", "[a]\naccess_key = \"canary\n").unwrap_err().render("job.json");
        assert!(error.starts_with("d.toml:2:"), "{error}");
        assert!(!error.contains("canary"), "{error}");
    }
}
