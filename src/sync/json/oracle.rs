//! The same search by serde_json, which is slow and right: what [`Members::find`] is compared with.

#![allow(clippy::unwrap_used)]

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{Found, Members, NotJson, Step};

/// As [`Members::find`].
fn find<'a>(members: &Members, document: &'a str) -> Result<Found<'a>, NotJson> {
    if !matches!(document.trim_start_matches([' ', '\t', '\r', '\n']).as_bytes().first(), Some(b'{' | b'[')) {
        return Err(NotJson);
    }
    let mut found = Found { many: vec![None; members.columns * 2], ..Found::default() };
    descend(members, document, 0, &mut found)?;
    Ok(found)
}

fn descend<'a>(members: &Members, text: &'a str, node: usize, found: &mut Found<'a>) -> Result<(), NotJson> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    Walk { members, node, found }.deserialize(&mut deserializer).map_err(|_| NotJson)?;
    deserializer.end().map_err(|_| NotJson)
}

struct Walk<'m, 'f, 'a> {
    members: &'m Members,
    node: usize,
    found: &'f mut Found<'a>,
}

impl<'a> Walk<'_, '_, 'a> {
    fn take<E: serde::de::Error>(&mut self, child: usize, raw: &'a str) -> Result<(), E> {
        self.members.forget(child, self.found);
        let node = &self.members.nodes[child];
        for capture in &node.captures {
            self.found.set(*capture, Some(raw));
        }
        let wants_members = !node.members.is_empty() && raw.starts_with('{');
        let wants_elements = !node.elements.is_empty() && raw.starts_with('[');
        if wants_members || wants_elements {
            descend(self.members, raw, child, self.found).map_err(|NotJson| E::custom("not JSON"))?;
        }
        Ok(())
    }
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

    fn visit_map<A: MapAccess<'a>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            let wanted = &self.members.nodes[self.node].members;
            match wanted.iter().find(|(name, _)| *name == key) {
                Some((_, child)) => {
                    let raw: &'a RawValue = map.next_value()?;
                    self.take::<A::Error>(*child, raw.get())?;
                }
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'a>>(mut self, mut seq: A) -> Result<(), A::Error> {
        for index in 0.. {
            let wanted = &self.members.nodes[self.node].elements;
            match wanted.iter().find(|(place, _)| *place == index) {
                Some((_, child)) => {
                    let Some(raw) = seq.next_element::<&'a RawValue>()? else { break };
                    self.take::<A::Error>(*child, raw.get())?;
                }
                None if seq.next_element::<IgnoredAny>()?.is_none() => break,
                None => {}
            }
        }
        Ok(())
    }
}

/// Columns that try every way: literal names, paths, indexes, one inside another, and more than fit in [`Found`] itself.
fn wanted() -> Members {
    let names = ["a", "b", "a.b", "b[1]", "b[0].a", "[1].a", "c.c.c", "é", "a\"", "z", "a.b.c"];
    let steps = |name: &str| -> Vec<Step> {
        let parts = name.split(['.', '[', ']']).filter(|part| !part.is_empty());
        parts.map(|part| part.parse().map_or_else(|_| Step::Member(part.to_owned()), Step::Index)).collect()
    };
    let columns: Vec<(&str, Vec<Step>)> = names.iter().map(|name| (*name, steps(name))).collect();
    Members::new(columns.iter().map(|(name, steps)| (*name, steps.as_slice())))
}

fn compare(members: &Members, document: &str) -> bool {
    let (ours, theirs) = (members.find(document), find(members, document));
    let texts = |found: &Found<'_>| (0..members.columns).map(|c| found.raw(c).map(str::to_owned)).collect::<Vec<_>>();
    assert_eq!(ours.as_ref().map(texts).map_err(|e| *e), theirs.as_ref().map(texts).map_err(|e| *e), "{document:?}");
    ours.is_ok()
}

/// What documents are put together from: every token, and what looks like one.
const PIECES: [&str; 48] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    " ",
    "\n",
    "\t",
    "\r",
    "\"a\"",
    "\"b\"",
    "\"c\"",
    "\"a.b\"",
    "\"b[1]\"",
    "\"\\u0061\"",
    "\"\\ud800\"",
    "\"\\ud83d\\ude00\"",
    "\"é\"",
    "\"\\u00e9\"",
    "\"a\\\"\"",
    "\"\"",
    "\"long text without anything, 0123456789\"",
    "\"tab\tinside\"",
    "\"\\x\"",
    "\"\\u12\"",
    "\"open",
    "\\",
    "0",
    "-0",
    "01",
    "-",
    "1.5",
    "1.",
    ".5",
    "1e5",
    "1E+",
    "1e-7",
    "true",
    "false",
    "null",
    "nul",
    "truefalse",
    "\u{feff}",
    "é",
    "\u{1}",
    "12345678901234567890",
    "\"z\"",
];

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    fn value(&mut self, depth: usize, out: &mut String) {
        let space = |random: &mut Self, out: &mut String| out.push_str(["", "", " ", "\n\t"][random.below(4)]);
        match self.below(if depth > 4 { 4 } else { 8 }) {
            0 => out.push_str(["0", "-1", "1.50", "1e5", "-0.0E-1"][self.below(5)]),
            1 => out.push_str(["true", "false", "null"][self.below(3)]),
            2 | 3 => out.push_str(PIECES[10 + self.below(13)]),
            4 | 5 => {
                out.push('[');
                for n in 0..self.below(4) {
                    out.push_str(if n > 0 { "," } else { "" });
                    space(self, out);
                    self.value(depth + 1, out);
                    space(self, out);
                }
                out.push(']');
            }
            _ => self.object(depth, out),
        }
    }

    fn object(&mut self, depth: usize, out: &mut String) {
        out.push('{');
        for n in 0..self.below(5) {
            out.push_str(if n > 0 { ", " } else { "" });
            out.push_str(PIECES[10 + self.below(13)]);
            out.push_str([":", " : "][self.below(2)]);
            self.value(depth + 1, out);
        }
        out.push('}');
    }
}

#[test]
fn whole_documents_give_what_serde_finds() {
    let (members, mut random, mut valid) = (wanted(), Random(7), 0);
    for _ in 0..4000 {
        let mut document = String::new();
        random.object(0, &mut document);
        valid += usize::from(compare(&members, &document));
        // One character less, or another one.
        let mut chars: Vec<char> = document.chars().collect();
        let at = random.below(chars.len());
        if random.below(2) == 0 {
            chars.remove(at);
        } else {
            chars[at] = ['"', '\\', '{', '}', ',', '0', 'e', '\u{7f}', '\u{1f}', 'ÿ'][random.below(10)];
        }
        compare(&members, &chars.iter().collect::<String>());
    }
    assert!(valid > 1000, "only {valid} were JSON");
}

#[test]
fn tokens_in_any_order_give_what_serde_finds() {
    let (members, mut random) = (wanted(), Random(8));
    for _ in 0..20_000 {
        let mut document = String::from(["{", "[", "{\"a\":", "{\"b\":["][random.below(4)]);
        for _ in 0..random.below(8) {
            document.push_str(PIECES[random.below(PIECES.len())]);
        }
        for _ in 0..random.below(3) {
            document.push_str(["}", "]", "}}"][random.below(3)]);
        }
        compare(&members, &document);
    }
}

#[test]
fn each_byte_of_a_string_is_found_wherever_it_stands() {
    let members = wanted();
    for character in ('\u{0}'..='\u{ff}').chain(['€', '😀']) {
        for before in 0..20 {
            let text =
                format!("{{\"a\":\"{}{character}\",\"b\":\"{character}{}\"}}", "x".repeat(before), "y".repeat(before));
            compare(&members, &text);
        }
    }
}

#[test]
fn nesting_has_no_end_but_the_text() {
    let members = wanted();
    for depth in [1, 63, 64, 65, 127, 128, 129, 1000, 100_000] {
        let (open, shut) = ("[{\"x\":".repeat(depth), "}]".repeat(depth));
        assert!(members.find(&format!("{{\"c\":{open}1{shut}}}")).is_ok(), "{depth}");
        for document in [format!("{{\"c\":{open}1{shut}]}}"), format!("[{open}"), format!("{{\"c\":{open}1}}")] {
            assert!(members.find(&document).is_err(), "{depth}");
        }
    }
}
