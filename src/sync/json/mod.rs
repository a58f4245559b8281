//! JSON members of record values: finds the few that a job names, in one pass, and skips the rest.
//!
//! Rules of "Job semantics", section 2.2: the whole name is tried as a member first, then as a dotted path with array
//! indexes; of duplicate members the last wins; numbers keep their text; objects and arrays become compact JSON.
//! Text that is not one JSON object or array has no members at all. No I/O; never panics on any input.

#[cfg(test)]
mod oracle;
mod scan;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use self::scan::Scan;
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

/// Slots for which [`Found`] has room within itself: two for each column.
const FEW: usize = 8;

/// What [`Members::find`] found for each column.
#[derive(Debug, Default)]
pub struct Found<'a> {
    /// By twice the column, the literal member's before the path's. A record of a job with few columns takes no memory.
    few: [Option<&'a str>; FEW],
    /// The slots from [`FEW`] on.
    many: Vec<Option<&'a str>>,
    /// Which of the first 64 nodes have been taken: only a duplicate has something to forget.
    taken: u64,
}

impl<'a> Found<'a> {
    /// The JSON text of column `column`; `None` when the member is missing.
    #[inline]
    pub fn raw(&self, column: usize) -> Option<&'a str> {
        let at = |way| self.few.get(slot(column, way)).or_else(|| self.many.get(slot(column, way).saturating_sub(FEW)));
        let literal = at(Way::Literal).copied().flatten();
        literal.or_else(|| at(Way::Path).copied().flatten())
    }

    #[inline(always)]
    fn set(&mut self, capture: Capture, text: Option<&'a str>) {
        let slot = slot(capture.column, capture.way);
        if let Some(place) = self.few.get_mut(slot).or_else(|| self.many.get_mut(slot.saturating_sub(FEW))) {
            *place = text;
        }
    }
}

const fn slot(column: usize, way: Way) -> usize {
    column.saturating_mul(2).saturating_add(way as usize)
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
        let mut found = Found::default();
        self.find_into(document, &mut found)?;
        Ok(found)
    }

    /// As [`Members::find`] into a new `found`, which is not copied on the way. After an error what it holds means nothing.
    ///
    /// # Errors
    /// As [`Members::find`].
    pub fn find_into<'a>(&self, document: &'a str, found: &mut Found<'a>) -> Result<(), NotJson> {
        let many = self.columns.saturating_mul(2).saturating_sub(FEW);
        if many > 0 {
            found.many.resize(many, None);
        }
        let mut scan = Scan::new(document);
        match scan.peek() {
            Some(b'{') => self.object(&mut scan, 0, found)?,
            Some(b'[') => self.array(&mut scan, 0, found)?,
            _ => return Err(NotJson),
        }
        scan.end()
    }

    /// Reads an object, whose members `node` wants.
    fn object<'a>(&self, scan: &mut Scan<'a>, node: usize, found: &mut Found<'a>) -> Result<(), NotJson> {
        let wanted = self.nodes.get(node).map_or(&[][..], |node| &node.members);
        let mut more = scan.open(b'}')?;
        let mut next = 0_usize;
        while more {
            match scan.member(wanted, next)?.and_then(|place| Some((place, wanted.get(place)?.1))) {
                Some((place, child)) => {
                    next = place.saturating_add(1);
                    self.take(scan, child, found)?;
                }
                None => scan.skip_value()?,
            }
            more = scan.more(b'}')?;
        }
        Ok(())
    }

    /// Reads an array, whose elements `node` wants.
    fn array<'a>(&self, scan: &mut Scan<'a>, node: usize, found: &mut Found<'a>) -> Result<(), NotJson> {
        let wanted = self.nodes.get(node).map_or(&[][..], |node| &node.elements);
        let mut more = scan.open(b']')?;
        let mut index = 0_usize;
        while more {
            match wanted.iter().find(|(place, _)| *place == index) {
                Some((_, child)) => self.take(scan, *child, found)?,
                None => scan.skip_value()?,
            }
            index = index.saturating_add(1);
            more = scan.more(b']')?;
        }
        Ok(())
    }

    /// Takes a wanted value: its text, and what is wanted inside it. A duplicate replaces all of its forerunner.
    fn take<'a>(&self, scan: &mut Scan<'a>, child: usize, found: &mut Found<'a>) -> Result<(), NotJson> {
        let bit = u32::try_from(child).ok().and_then(|child| 1_u64.checked_shl(child)).unwrap_or(0);
        if bit == 0 || found.taken & bit != 0 {
            self.forget(child, found);
        }
        found.taken |= bit;
        let Some(node) = self.nodes.get(child) else { return scan.skip_value() };
        let start = scan.value_start();
        match scan.peek() {
            Some(b'{') if !node.members.is_empty() => self.object(scan, child, found)?,
            Some(b'[') if !node.elements.is_empty() => self.array(scan, child, found)?,
            _ => scan.skip_value()?,
        }
        let text = scan.since(start);
        for capture in &node.captures {
            found.set(*capture, text);
        }
        Ok(())
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

    /// Forgets what was captured at `node` and below.
    fn forget(&self, node: usize, found: &mut Found<'_>) {
        let Some(node) = self.nodes.get(node) else { return };
        for capture in &node.captures {
            found.set(*capture, None);
        }
        for child in node.members.iter().map(|(_, c)| *c).chain(node.elements.iter().map(|(_, c)| *c)) {
            self.forget(child, found);
        }
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
    if scan::is_plain(inner.as_bytes()) {
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
