//! JSON members of record values: finds the few that a job names, in one pass, and skips the rest.
//!
//! Rules of "Job semantics", section 2.2: the whole name is tried as a member first, then as a dotted path with array
//! indexes; of duplicate members the last wins; numbers keep their text; objects and arrays become compact JSON.
//! Text that is not one JSON object or array has no members at all. No I/O; never panics on any input.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::job::PathStep as Step;

/// The members a job wants, arranged so that one pass over a document finds them all.
///
/// Column *i* of those given to [`Members::new`] has slot *i* in the result of [`Members::find`].
#[derive(Clone, Debug)]
pub struct Members {
    nodes: Vec<Node>,
    columns: usize,
}

#[derive(Clone, Debug, Default)]
struct Node {
    members: Vec<(String, usize)>,
    elements: Vec<(usize, usize)>,
    captures: Vec<Capture>,
}

#[derive(Clone, Copy, Debug)]
struct Capture {
    column: usize,
    way: Way,
}

/// How a column's name was matched; the literal member is preferred even when its value is null.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Literal,
    Path,
}

/// What [`Members::find`] found for each column.
#[derive(Debug, Default)]
pub struct Found<'a> {
    literal: Vec<Option<&'a str>>,
    path: Vec<Option<&'a str>>,
}

impl<'a> Found<'a> {
    /// The JSON text of column `column`; `None` when the member is missing.
    pub fn raw(&self, column: usize) -> Option<&'a str> {
        let literal = self.literal.get(column).copied().flatten();
        literal.or_else(|| self.path.get(column).copied().flatten())
    }

    fn slot(&mut self, capture: Capture) -> Option<&mut Option<&'a str>> {
        match capture.way {
            Way::Literal => self.literal.get_mut(capture.column),
            Way::Path => self.path.get_mut(capture.column),
        }
    }
}

/// The document is not one JSON object or array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotJson;

impl Members {
    /// Prepares the search. Each column has its whole name and, if the name is also a path, that path's steps.
    pub fn new<'n>(columns: impl IntoIterator<Item = (&'n str, &'n [Step])>) -> Self {
        let mut members = Self { nodes: vec![Node::default()], columns: 0 };
        for (column, (name, steps)) in columns.into_iter().enumerate() {
            members.columns = column.saturating_add(1);
            members.capture(&[Step::Member(name.to_owned())], Capture { column, way: Way::Literal });
            members.capture(steps, Capture { column, way: Way::Path });
        }
        members
    }

    /// Whether no column needs the document.
    pub const fn is_empty(&self) -> bool {
        self.columns == 0
    }

    /// Finds the wanted members of `document`, which may be any text.
    ///
    /// # Errors
    /// [`NotJson`] when it is not exactly one JSON object or array (white space around it allowed).
    pub fn find<'a>(&self, document: &'a str) -> Result<Found<'a>, NotJson> {
        if !matches!(document.trim_start_matches([' ', '\t', '\r', '\n']).as_bytes().first(), Some(b'{' | b'[')) {
            return Err(NotJson);
        }
        let mut found = Found { literal: vec![None; self.columns], path: vec![None; self.columns] };
        self.descend(document, 0, &mut found)?;
        Ok(found)
    }

    fn descend<'a>(&self, text: &'a str, node: usize, found: &mut Found<'a>) -> Result<(), NotJson> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        Walk { members: self, node, found }.deserialize(&mut deserializer).map_err(|_| NotJson)?;
        deserializer.end().map_err(|_| NotJson)
    }

    fn capture(&mut self, steps: &[Step], capture: Capture) {
        let mut at = 0;
        for step in steps {
            at = self.child(at, step);
        }
        if at != 0
            && let Some(node) = self.nodes.get_mut(at)
        {
            node.captures.push(capture);
        }
    }

    fn child(&mut self, parent: usize, step: &Step) -> usize {
        let next = self.nodes.len();
        let Some(node) = self.nodes.get_mut(parent) else { return parent };
        let known = match step {
            Step::Member(name) => node.members.iter().find(|(n, _)| n == name).map(|(_, child)| *child),
            Step::Index(index) => node.elements.iter().find(|(i, _)| i == index).map(|(_, child)| *child),
        };
        if let Some(child) = known {
            return child;
        }
        match step {
            Step::Member(name) => node.members.push((name.clone(), next)),
            Step::Index(index) => node.elements.push((*index, next)),
        }
        self.nodes.push(Node::default());
        next
    }

    /// Forgets what was captured at `node` and below: a duplicate member replaces all of its forerunner.
    fn forget(&self, node: usize, found: &mut Found<'_>) {
        let Some(node) = self.nodes.get(node) else { return };
        for capture in &node.captures {
            if let Some(slot) = found.slot(*capture) {
                *slot = None;
            }
        }
        for child in node.members.iter().map(|(_, c)| *c).chain(node.elements.iter().map(|(_, c)| *c)) {
            self.forget(child, found);
        }
    }

    /// Takes the value of a wanted member: its text, and what is wanted inside it.
    fn take<'a>(&self, child: usize, raw: &'a str, found: &mut Found<'a>) -> Result<(), NotJson> {
        self.forget(child, found);
        let Some(node) = self.nodes.get(child) else { return Ok(()) };
        for capture in &node.captures {
            if let Some(slot) = found.slot(*capture) {
                *slot = Some(raw);
            }
        }
        let wants_members = !node.members.is_empty() && raw.starts_with('{');
        let wants_elements = !node.elements.is_empty() && raw.starts_with('[');
        if wants_members || wants_elements { self.descend(raw, child, found) } else { Ok(()) }
    }
}

struct Walk<'m, 'f, 'a> {
    members: &'m Members,
    node: usize,
    found: &'f mut Found<'a>,
}

impl<'a> DeserializeSeed<'a> for Walk<'_, '_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for Walk<'_, '_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object or array")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        let Some(node) = self.members.nodes.get(self.node) else { return Err(A::Error::custom("no such node")) };
        while let Some(child) = map.next_key_seed(Key(&node.members))? {
            match child {
                Some(child) => {
                    let raw: &'a RawValue = map.next_value()?;
                    self.members.take(child, raw.get(), self.found).map_err(|_| A::Error::custom("not JSON"))?;
                }
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<(), A::Error> {
        let Some(node) = self.members.nodes.get(self.node) else { return Err(A::Error::custom("no such node")) };
        let mut index = 0_usize;
        loop {
            match node.elements.iter().find(|(wanted, _)| *wanted == index) {
                Some((_, child)) => {
                    let Some(raw) = seq.next_element::<&'a RawValue>()? else { return Ok(()) };
                    self.members.take(*child, raw.get(), self.found).map_err(|_| A::Error::custom("not JSON"))?;
                }
                None => {
                    if seq.next_element::<IgnoredAny>()?.is_none() {
                        return Ok(());
                    }
                }
            }
            index = index.saturating_add(1);
        }
    }
}

/// Looks a member's name up among the wanted ones without keeping it.
struct Key<'m>(&'m [(String, usize)]);

impl<'a> DeserializeSeed<'a> for Key<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Option<usize>, E> {
        Ok(self.0.iter().find(|(wanted, _)| wanted == name).map(|(_, child)| *child))
    }
}

/// A leaf as the text of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leaf<'a> {
    /// JSON null.
    Null,
    /// A string's text, a number's or boolean's literal, or the compact JSON of an object or array. `malformed` says that
    /// a string held a lone surrogate, which became U+FFFD.
    Text {
        /// The text.
        text: Cow<'a, str>,
        /// Whether something in it could not be decoded.
        malformed: bool,
    },
}

/// Turns the JSON text of a value, as [`Found::raw`] gives it, into the text of a column.
pub fn leaf(raw: &str) -> Leaf<'_> {
    let (text, malformed) = match raw.as_bytes().first() {
        Some(b'n') => return Leaf::Null,
        Some(b'"') => string(raw),
        Some(b'{' | b'[') => (compact(raw), false),
        _ => (Cow::Borrowed(raw), false),
    };
    Leaf::Text { text, malformed }
}

fn string(raw: &str) -> (Cow<'_, str>, bool) {
    let inner = raw.get(1..raw.len().saturating_sub(1)).unwrap_or_default();
    if !inner.contains('\\') {
        return (Cow::Borrowed(inner), false);
    }
    match serde_json::from_str::<String>(raw) {
        Ok(text) => (Cow::Owned(text), false),
        Err(_) => (Cow::Owned(unescape_lossy(inner)), true),
    }
}

/// Unescapes a JSON string that holds lone surrogates, which become U+FFFD.
fn unescape_lossy(inner: &str) -> String {
    let mut text = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some((plain, tail)) = rest.split_once('\\') {
        text.push_str(plain);
        let mut chars = tail.chars();
        match chars.next() {
            Some('n') => text.push('\n'),
            Some('t') => text.push('\t'),
            Some('r') => text.push('\r'),
            Some('b') => text.push('\u{8}'),
            Some('f') => text.push('\u{c}'),
            Some('u') => {
                let (unit, after) = code_unit(chars.as_str());
                let (character, after) = match unit {
                    Some(high @ 0xd800..=0xdbff) => pair(high, after),
                    Some(unit) => (char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER), after),
                    None => (char::REPLACEMENT_CHARACTER, after),
                };
                text.push(character);
                rest = after;
                continue;
            }
            Some(other) => text.push(other),
            None => {}
        }
        rest = chars.as_str();
    }
    text.push_str(rest);
    text
}

/// Reads four hexadecimal digits from the front of `text`.
fn code_unit(text: &str) -> (Option<u32>, &str) {
    match text.split_at_checked(4) {
        Some((digits, after)) => (u32::from_str_radix(digits, 16).ok(), after),
        None => (None, ""),
    }
}

/// Completes a surrogate pair whose high half was read; a half without its other half becomes U+FFFD.
fn pair(high: u32, after: &str) -> (char, &str) {
    if let Some(tail) = after.strip_prefix("\\u")
        && let (Some(low @ 0xdc00..=0xdfff), rest) = code_unit(tail)
    {
        let scalar = 0x1_0000_u32.saturating_add((high & 0x3ff) << 10).saturating_add(low & 0x3ff);
        return (char::from_u32(scalar).unwrap_or(char::REPLACEMENT_CHARACTER), rest);
    }
    (char::REPLACEMENT_CHARACTER, after)
}

/// Drops the white space between tokens; everything else stays as it was written.
fn compact(raw: &str) -> Cow<'_, str> {
    let mut in_string = false;
    let mut escaped = false;
    let mut keep = |character: char| {
        if in_string {
            let ends = character == '"' && !escaped;
            escaped = character == '\\' && !escaped;
            in_string = !ends;
            return true;
        }
        in_string = character == '"';
        !matches!(character, ' ' | '\t' | '\r' | '\n')
    };
    if raw.contains([' ', '\t', '\r', '\n']) {
        Cow::Owned(raw.chars().filter(|c| keep(*c)).collect())
    } else {
        Cow::Borrowed(raw)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn steps(path: &[&str]) -> Vec<Step> {
        path.iter().map(|p| p.parse().map_or_else(|_| Step::Member((*p).to_owned()), Step::Index)).collect()
    }

    /// Finds one column in a document and renders it.
    fn one(document: &str, name: &str, path: &[&str]) -> Result<Option<String>, NotJson> {
        let steps = steps(path);
        let members = Members::new([(name, steps.as_slice())]);
        let found = members.find(document)?;
        Ok(found.raw(0).and_then(|raw| match leaf(raw) {
            Leaf::Null => None,
            Leaf::Text { text, .. } => Some(text.into_owned()),
        }))
    }

    #[test]
    fn the_seed_columns() {
        let document = r#"{"event_id":"e1","tag":{"desc":"d"}}"#;
        assert_eq!(one(document, "event_id", &["event_id"]), Ok(Some("e1".into())));
        assert_eq!(one(document, "tag.desc", &["tag", "desc"]), Ok(Some("d".into())));
    }

    #[test]
    fn literal_name_comes_before_the_path() {
        let document = r#"{"tag":{"desc":"path"},"tag.desc":"literal"}"#;
        assert_eq!(one(document, "tag.desc", &["tag", "desc"]), Ok(Some("literal".into())));
        let document = r#"{"tag.desc":null,"tag":{"desc":"path"}}"#;
        assert_eq!(one(document, "tag.desc", &["tag", "desc"]), Ok(None));
    }

    #[test]
    fn text_that_is_no_object_or_array_is_not_json() {
        for document in
            ["", "123", "abc", "null", "true", "\"s\"", "{", "{}x", "{\"a\":1,}", "[1,]", "  ", "{\"a\":\"\n\"}"]
        {
            assert_eq!(one(document, "a", &["a"]), Err(NotJson), "{document}");
        }
        assert_eq!(one(" {} ", "a", &["a"]), Ok(None));
    }

    #[test]
    fn leaves_keep_their_text() {
        let document = r#"{"n":1.10,"b":true,"o":{"z": 1, "a":[ 1.0 , "x y\" z" ]},"s":"q\"\u00e9","z":null,"e":1E5}"#;
        let get = |name: &str| one(document, name, &[name]).unwrap();
        assert_eq!(get("n").as_deref(), Some("1.10"));
        assert_eq!(get("b").as_deref(), Some("true"));
        assert_eq!(get("o").as_deref(), Some(r#"{"z":1,"a":[1.0,"x y\" z"]}"#));
        assert_eq!(get("s").as_deref(), Some("q\"é"));
        assert_eq!(get("z"), None);
        assert_eq!(get("e").as_deref(), Some("1E5"));
        assert_eq!(get("missing"), None);
    }

    #[test]
    fn the_last_duplicate_wins_with_all_that_is_in_it() {
        assert_eq!(one(r#"{"a":1,"a":2}"#, "a", &["a"]), Ok(Some("2".into())));
        assert_eq!(one(r#"{"t":{"d":1},"t":{}}"#, "t.d", &["t", "d"]), Ok(None));
        assert_eq!(one(r#"{"t":{"d":1},"t":5}"#, "t.d", &["t", "d"]), Ok(None));
        assert_eq!(one(r#"{"\u0061":1}"#, "a", &["a"]), Ok(Some("1".into())));
    }

    #[test]
    fn arrays_by_index() {
        assert_eq!(one(r#"{"a":[{"b":1},{"b":2}]}"#, "a[1].b", &["a", "1", "b"]), Ok(Some("2".into())));
        assert_eq!(one(r#"[{"b":7}]"#, "[0].b", &["0", "b"]), Ok(Some("7".into())));
        assert_eq!(one(r#"{"a":[1]}"#, "a[3]", &["a", "3"]), Ok(None));
        assert_eq!(one(r#"{"a":{"0":1}}"#, "a[0]", &["a", "0"]), Ok(None));
    }

    #[test]
    fn a_member_and_its_inside_at_once() {
        let (whole, inside) = (steps(&["t"]), steps(&["t", "d"]));
        let members = Members::new([("t", whole.as_slice()), ("t.d", inside.as_slice())]);
        let found = members.find(r#"{"t": {"d" : 1}}"#).unwrap();
        assert_eq!(found.raw(0).map(leaf), Some(Leaf::Text { text: r#"{"d":1}"#.into(), malformed: false }));
        assert_eq!(found.raw(1), Some("1"));
    }

    #[test]
    fn lone_surrogates_are_replaced_and_reported() {
        let expected = |text: &str| Leaf::Text { text: text.to_owned().into(), malformed: true };
        assert_eq!(leaf(r#""a\ud800b\n""#), expected("a\u{fffd}b\n"));
        assert_eq!(leaf(r#""\ud83d\ude00\udc00""#), expected("😀\u{fffd}"));
    }
}
