//! Typed reading of one object of a file, with the leniency that job files need and a memory of what was asked for.
//!
//! Numbers and booleans may be texts; names of choices take any case; `null` and `""` count as absent. A value that does not
//! fit is reported with its place and reads as absent, so that one pass finds every mistake. Keys nobody asked for are
//! reported at the end, with the nearest name that was asked for.

use std::cell::RefCell;
use std::ops::RangeInclusive;

use super::json::{Member, Node, Value};
use super::report::{JobError, Place, Report};
use super::secret::is_secret_key;
use super::suggest::nearest;

/// One object, under the name that messages use for it.
#[derive(Debug)]
pub(super) struct Section<'a> {
    name: String,
    place: Place,
    members: &'a [Member],
    report: &'a Report,
    asked: RefCell<Vec<String>>,
}

/// A value and where it was found.
#[derive(Clone, Debug)]
pub(super) struct Found<T> {
    /// The value.
    pub(super) value: T,
    /// Where it stands.
    pub(super) place: Place,
}

impl<'a> Section<'a> {
    /// The object at `node`; anything else is reported and reads as an empty object.
    pub(super) fn new(name: impl Into<String>, node: &'a Node, report: &'a Report) -> Self {
        let name = name.into();
        if node.members().is_none() {
            report.error(JobError::new(
                node.place.clone(),
                &*name,
                format!("must be an object, but is {}", node.kind()),
            ));
        }
        let members = node.members().unwrap_or_default();
        Self { name, place: node.place.clone(), members, report, asked: RefCell::default() }
    }

    /// The name that messages use for it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Where the object begins.
    pub(super) const fn place(&self) -> &Place {
        &self.place
    }

    /// Its members, all of them.
    pub(super) const fn members(&self) -> &'a [Member] {
        self.members
    }

    /// The full name of a key, for messages.
    pub(super) fn full(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    /// Reports an error about a key.
    pub(super) fn error(&self, key: &str, place: &Place, message: impl Into<String>) {
        self.report.error(JobError::new(place.clone(), self.full(key), message));
    }

    /// The same, with the next step.
    pub(super) fn error_with(&self, key: &str, place: &Place, message: impl Into<String>, advice: &str) {
        self.report.error(JobError::new(place.clone(), self.full(key), message).advise(advice));
    }

    /// The value of a key, whatever it is; `null` is absent, `""` is not.
    pub(super) fn raw(&self, key: &str) -> Option<&'a Node> {
        self.asked.borrow_mut().push(key.to_owned());
        let member = self.members.iter().find(|member| member.key == key)?;
        (member.node.value != Value::Null).then_some(&member.node)
    }

    /// The value of a key; `null` and `""` are absent.
    pub(super) fn node(&self, key: &str) -> Option<&'a Node> {
        self.raw(key).filter(|node| !is_blank(node))
    }

    /// Whether a key has a value.
    pub(super) fn has(&self, key: &str) -> bool {
        self.node(key).is_some()
    }

    /// A text; numbers and booleans give theirs.
    pub(super) fn text(&self, key: &str) -> Option<Found<String>> {
        let node = self.node(key)?;
        match scalar(node) {
            Some(value) => Some(Found { value: value.to_owned(), place: node.place.clone() }),
            None => {
                self.error(key, &node.place, format!("must be a text, but is {}", node.kind()));
                None
            }
        }
    }

    /// A text that must be there.
    pub(super) fn required_text(&self, key: &str, advice: &str) -> Option<Found<String>> {
        if !self.has(key) {
            self.error_with(key, self.value_place(key), "is missing", advice);
            return None;
        }
        self.text(key)
    }

    /// A whole number within `range`.
    pub(super) fn integer(&self, key: &str, range: RangeInclusive<i64>) -> Option<Found<i64>> {
        let text = self.text(key)?;
        let number = parse_integer(&text.value);
        match number {
            Some(value) if range.contains(&value) => Some(Found { value, place: text.place }),
            _ => {
                let wanted = describe(&range);
                self.error(key, &text.place, format!("{} is not {wanted}", self.shown(key, &text.value)));
                None
            }
        }
    }

    /// A whole number within `range` that fits 32 bits.
    pub(super) fn small(&self, key: &str, range: RangeInclusive<u32>) -> Option<Found<u32>> {
        let found = self.integer(key, i64::from(*range.start())..=i64::from(*range.end()))?;
        let value = u32::try_from(found.value).ok()?;
        Some(Found { value, place: found.place })
    }

    /// A decimal number within `range`.
    pub(super) fn decimal(&self, key: &str, range: RangeInclusive<f64>) -> Option<Found<f64>> {
        let text = self.text(key)?;
        match text.value.trim().parse::<f64>() {
            Ok(value) if range.contains(&value) => Some(Found { value, place: text.place }),
            _ => {
                let message = format!(
                    "{} is not a number from {} to {}",
                    self.shown(key, &text.value),
                    range.start(),
                    range.end()
                );
                self.error(key, &text.place, message);
                None
            }
        }
    }

    /// A boolean, also as text in any case.
    pub(super) fn boolean(&self, key: &str) -> Option<Found<bool>> {
        self.choice(key, &[("true", true), ("false", false)])
    }

    /// One of the named choices, in any case.
    pub(super) fn choice<T: Copy>(&self, key: &str, choices: &[(&str, T)]) -> Option<Found<T>> {
        let text = self.text(key)?;
        let wanted = text.value.trim();
        if let Some((_, value)) = choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)) {
            return Some(Found { value: *value, place: text.place });
        }
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let message = format!("{} is not one of {}", self.shown(key, wanted), names.join(", "));
        let mut error = JobError::new(text.place, self.full(key), message);
        if let Some(near) = nearest(wanted, names.iter().copied()) {
            error = error.advise(format!("did you mean {near}?"));
        }
        self.report.error(error);
        None
    }

    /// A list of texts (numbers and booleans give theirs), or a single text as a list of one.
    pub(super) fn texts_or_one(&self, key: &str) -> Option<Found<Vec<Found<String>>>> {
        let node = self.node(key)?;
        if let Some(value) = scalar(node) {
            let only = Found { value: value.to_owned(), place: node.place.clone() };
            return Some(Found { value: vec![only], place: node.place.clone() });
        }
        self.texts(key)
    }

    /// A list of texts; numbers and booleans give theirs. Absent when one of them is something else.
    pub(super) fn texts(&self, key: &str) -> Option<Found<Vec<Found<String>>>> {
        let node = self.node(key)?;
        let Value::Array(items) = &node.value else {
            self.error(key, &node.place, format!("must be a list, but is {}", node.kind()));
            return None;
        };
        let mut texts = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            match scalar(item) {
                Some(value) => texts.push(Found { value: value.to_owned(), place: item.place.clone() }),
                None => {
                    let key = format!("{key}[{index}]");
                    self.error(&key, &item.place, format!("must be a text, but is {}", item.kind()));
                }
            }
        }
        (texts.len() == items.len()).then(|| Found { value: texts, place: node.place.clone() })
    }

    /// The object under a key.
    pub(super) fn section(&self, key: &str) -> Option<Self> {
        let node = self.node(key)?;
        Some(Self::new(self.full(key), node, self.report))
    }

    /// An object inside a list of this one, under a name such as `address[0]`.
    pub(super) fn entry(&self, name: &str, node: &'a Node) -> Self {
        Self::new(self.full(name), node, self.report)
    }

    /// Accepts keys that have no effect, and remembers those that are there.
    pub(super) fn ignore(&self, keys: &[&str]) {
        for key in keys {
            if self.raw(key).is_some() {
                self.report.ignored(self.full(key));
            }
        }
    }

    /// Warns about every key that nobody asked for.
    pub(super) fn warn_unknown(&self) {
        let asked = self.asked.borrow();
        for member in self.members.iter().filter(|member| !asked.contains(&member.key)) {
            let mut text = format!("{} is not a known key and has no effect", self.full(&member.key));
            if let Some(near) = nearest(&member.key, asked.iter().map(String::as_str)) {
                text.push_str(&format!("; did you mean {near}?"));
            }
            self.report.warn(&member.place, text);
        }
    }

    /// A value as it may be repeated in a message: cut, and not at all under a secret key.
    pub(super) fn shown(&self, key: &str, value: &str) -> String {
        if is_secret_key(key) { "the value".to_owned() } else { shown(value) }
    }

    fn value_place(&self, key: &str) -> &Place {
        self.members.iter().find(|member| member.key == key).map_or(&self.place, |member| &member.node.place)
    }
}

/// A value as it may be repeated in a message: quoted, and cut at 60 characters.
pub(super) fn shown(value: &str) -> String {
    let mut chars = value.chars();
    let head: String = chars.by_ref().take(60).collect();
    if chars.next().is_none() { format!("{head:?}") } else { format!("{head:?}…") }
}

/// A whole number as people write it: blanks around it, a plus sign, and a fraction of zeros are allowed.
pub(super) fn parse_integer(text: &str) -> Option<i64> {
    let text = text.trim();
    let whole = match text.split_once('.') {
        Some((whole, zeros)) if !zeros.is_empty() && zeros.bytes().all(|b| b == b'0') => whole,
        _ => text,
    };
    whole.parse().ok()
}

fn scalar(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Text(text) | Value::Number(text) => Some(text),
        Value::Bool(true) => Some("true"),
        Value::Bool(false) => Some("false"),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn is_blank(node: &Node) -> bool {
    matches!(&node.value, Value::Text(text) if text.trim().is_empty())
}

fn describe(range: &RangeInclusive<i64>) -> String {
    match (*range.start(), *range.end()) {
        (i64::MIN, i64::MAX) => "a whole number".to_owned(),
        (start, i64::MAX) => format!("a whole number of {start} or more"),
        (start, end) => format!("a whole number from {start} to {end}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::super::json;
    use super::*;

    /// Reads `text` as an object, lets `ask` take from it, and gives what was reported.
    fn asked(text: &str, ask: impl FnOnce(&Section<'_>)) -> Vec<String> {
        let report = Report::default();
        let node = json::parse(text, &report).unwrap();
        let section = Section::new("R", &node, &report);
        ask(&section);
        section.warn_unknown();
        match report.finish("j") {
            Ok(notes) => notes.iter().map(|note| note.render("j")).collect(),
            Err(errors) => errors.errors.iter().map(|error| error.render("j")).collect(),
        }
    }

    #[test]
    fn numbers_and_booleans_may_be_texts() {
        let said = asked(r#"{"a":"10","b":10,"c":" -3 ","d":"TRUE","e":false,"f":10.0,"g":"1.5"}"#, |s| {
            assert_eq!(s.integer("a", 0..=99).unwrap().value, 10);
            assert_eq!(s.integer("b", 0..=99).unwrap().value, 10);
            assert_eq!(s.integer("c", i64::MIN..=i64::MAX).unwrap().value, -3);
            assert!(s.boolean("d").unwrap().value);
            assert!(!s.boolean("e").unwrap().value);
            assert_eq!(s.small("f", 0..=10).unwrap().value, 10);
            assert!((s.decimal("g", 0.0..=2.0).unwrap().value - 1.5).abs() < 1e-9);
        });
        assert_eq!(said, Vec::<String>::new());
    }

    #[test]
    fn blank_and_null_are_absent() {
        let said = asked(r#"{"a":"","b":null,"c":"  "}"#, |s| {
            assert!(s.text("a").is_none());
            assert!(s.integer("b", 0..=1).is_none());
            assert!(s.boolean("c").is_none());
            assert!(s.raw("a").is_some());
        });
        assert_eq!(said, Vec::<String>::new());
    }

    #[test]
    fn what_does_not_fit_is_reported_with_its_place() {
        let said = asked(
            "{\"a\":\"ten\",\n\"b\":-1,\"c\":[],\"d\":\"Strng\",\"e\":\"yes\",\"f\":[1,[2]],\"accessKey\":\"canary\"}",
            |s| {
                assert!(s.integer("a", 0..=99).is_none());
                assert!(s.integer("b", 0..=i64::MAX).is_none());
                assert!(s.text("c").is_none());
                assert!(s.choice("d", &[("STRING", 1), ("LONG", 2)]).is_none());
                assert!(s.boolean("e").is_none());
                assert!(s.texts("f").is_none());
                assert!(s.integer("accessKey", 0..=1).is_none());
                assert!(s.required_text("z", "add it").is_none());
            },
        );
        assert_eq!(
            said,
            [
                "j:1:1: R.z: is missing\n  next: add it",
                "j:1:6: R.a: \"ten\" is not a whole number from 0 to 99",
                "j:2:5: R.b: \"-1\" is not a whole number of 0 or more",
                "j:2:12: R.c: must be a text, but is a list",
                "j:2:19: R.d: \"Strng\" is not one of STRING, LONG\n  next: did you mean STRING?",
                "j:2:31: R.e: \"yes\" is not one of true, false",
                "j:2:44: R.f[1]: must be a text, but is a list",
                "j:2:61: R.accessKey: the value is not a whole number from 0 to 1",
            ]
        );
    }

    #[test]
    fn unknown_keys_warn_with_the_nearest_name() {
        let said = asked(r#"{"Topic":"t","wait":1,"zzzzzz":2,"dmu":1}"#, |s| {
            assert!(s.text("topic").is_none());
            assert!(s.text("waitTime").is_none());
            s.ignore(&["dmu", "compress"]);
        });
        assert_eq!(
            said,
            [
                "j:1:2: R.Topic is not a known key and has no effect; did you mean topic?",
                "j:1:14: R.wait is not a known key and has no effect; did you mean waitTime?",
                "j:1:23: R.zzzzzz is not a known key and has no effect",
                "j: accepted without effect: R.dmu",
            ]
        );
    }
}
