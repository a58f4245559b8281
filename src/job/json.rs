//! JSON as people write it in job files: comments, `${name}` without quotes, and a place for every value.
//!
//! Numbers keep their text, so nothing is lost by reading them. Everything else is strict: an error names line and column.
//! The parser is sans-io, holds no more than the text's own size, and refuses deep nesting instead of recursing into it.

use std::iter::Peekable;
use std::str::Chars;

use super::report::{JobError, Place, Report};
use super::secret::{STARS, is_secret_key};
use crate::limits::JOB_DEPTH_MAX;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    /// Its first character.
    pub(super) place: Place,
    /// What it is.
    pub(super) value: Value,
}

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as written.
    Number(String),
    /// A text, unescaped.
    Text(String),
    /// Values in order.
    Array(Vec<Node>),
    /// Members in order; names do not repeat.
    Object(Vec<Member>),
}

/// One member of an object.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Member {
    /// Its name.
    pub(super) key: String,
    /// Where the name stands.
    pub(super) place: Place,
    /// Its value.
    pub(super) node: Node,
}

impl Node {
    /// A text that stands at `place`.
    pub(super) fn text(place: Place, text: impl Into<String>) -> Self {
        Self { place, value: Value::Text(text.into()) }
    }

    /// The members, when this is an object.
    pub(super) fn members(&self) -> Option<&[Member]> {
        match &self.value {
            Value::Object(members) => Some(members),
            _ => None,
        }
    }

    /// The member called `key`, when this is an object that has it.
    pub(super) fn member(&self, key: &str) -> Option<&Self> {
        self.members()?.iter().find(|member| member.key == key).map(|member| &member.node)
    }

    /// The same for writing.
    pub(super) fn member_mut(&mut self, key: &str) -> Option<&mut Self> {
        match &mut self.value {
            Value::Object(members) => members.iter_mut().find(|m| m.key == key).map(|m| &mut m.node),
            _ => None,
        }
    }

    /// What kind of value this is, for messages.
    pub(super) const fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::Text(_) => "a text",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
        }
    }

    /// Prints the value as JSON of two-space indentation, values of secret keys starred.
    pub(super) fn redacted(&self) -> String {
        let mut out = String::new();
        self.print(&mut out, 0);
        out
    }

    fn print(&self, out: &mut String, indent: usize) {
        match &self.value {
            Value::Null => out.push_str("null"),
            Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Value::Number(text) => out.push_str(text),
            Value::Text(text) => out.push_str(&quoted(text)),
            Value::Array(items) => {
                print_list(out, indent, ['[', ']'], items, |item, out, indent| item.print(out, indent));
            }
            Value::Object(members) => print_list(out, indent, ['{', '}'], members, |member, out, indent| {
                out.push_str(&quoted(&member.key));
                out.push_str(": ");
                if is_secret_key(&member.key) && !matches!(&member.node.value, Value::Null) {
                    out.push_str(&quoted(STARS));
                } else {
                    member.node.print(out, indent);
                }
            }),
        }
    }
}

/// Prints items between brackets, one a line.
fn print_list<T>(
    out: &mut String,
    indent: usize,
    [open, close]: [char; 2],
    items: &[T],
    print: impl Fn(&T, &mut String, usize),
) {
    let new_line = |out: &mut String, indent: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", indent));
    };
    out.push(open);
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        new_line(out, indent + 1);
        print(item, out, indent + 1);
    }
    if !items.is_empty() {
        new_line(out, indent);
    }
    out.push(close);
}

/// A text as a JSON string.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Reads a document. Repeated names of one object are warned about and the last one wins.
///
/// # Errors
/// The first syntax error, with its place.
pub(super) fn parse(text: &str, report: &Report) -> Result<Node, JobError> {
    let mut parser = Parser {
        chars: text.strip_prefix('\u{feff}').unwrap_or(text).chars().peekable(),
        line: 1,
        column: 1,
        depth: 0,
        report,
    };
    let node = parser.value()?;
    parser.skip_blank()?;
    match parser.peek() {
        None => Ok(node),
        Some(_) => Err(parser.unexpected("the end of the file")),
    }
}

struct Parser<'a> {
    chars: Peekable<Chars<'a>>,
    line: usize,
    column: usize,
    depth: usize,
    report: &'a Report,
}

impl Parser<'_> {
    fn peek(&mut self) -> Option<char> {
        self.chars.peek().copied()
    }

    fn bump(&mut self) -> Option<char> {
        let next = self.chars.next()?;
        if next == '\n' {
            self.line += 1;
            self.column = 1;
        } else {
            self.column += 1;
        }
        Some(next)
    }

    const fn place(&self) -> Place {
        Place::File { line: self.line, column: self.column }
    }

    fn error(&self, message: impl Into<String>) -> JobError {
        JobError::new(self.place(), "", format!("not valid JSON: {}", message.into()))
    }

    /// What stands here instead of `wanted`; a word is shown whole, never more of the line, which may hold a secret.
    fn unexpected(&mut self, wanted: &str) -> JobError {
        let at = self.error("");
        let found = match self.peek() {
            None => "the file ends".to_owned(),
            Some('"') => "a text begins".to_owned(),
            Some(c) if c.is_alphanumeric() => {
                let mut word = String::new();
                while let Some(c) = self.peek().filter(|c| c.is_alphanumeric() && word.len() < WORD_BYTES_MAX) {
                    word.push(c);
                    self.bump();
                }
                format!("there is {word}")
            }
            Some(c) => format!("there is {c:?}"),
        };
        JobError { message: format!("{}expected {wanted}, but {found}", at.message), ..at }
    }

    /// Steps over white space and comments.
    fn skip_blank(&mut self) -> Result<(), JobError> {
        while let Some(c) = self.peek() {
            if matches!(c, ' ' | '\t' | '\r' | '\n') {
                self.bump();
            } else if c == '/' {
                self.comment()?;
            } else {
                break;
            }
        }
        Ok(())
    }

    fn comment(&mut self) -> Result<(), JobError> {
        let start = self.error("a comment begins with // or /*");
        self.bump();
        match self.bump() {
            Some('/') => {
                while self.peek().is_some_and(|c| c != '\n') {
                    self.bump();
                }
                Ok(())
            }
            Some('*') => loop {
                match self.bump() {
                    Some('*') if self.peek() == Some('/') => {
                        self.bump();
                        return Ok(());
                    }
                    Some(_) => {}
                    None => {
                        return Err(JobError { message: "not valid JSON: this comment never ends".into(), ..start });
                    }
                }
            },
            _ => Err(start),
        }
    }

    fn value(&mut self) -> Result<Node, JobError> {
        self.skip_blank()?;
        let place = self.place();
        let value = match self.peek() {
            Some('{') => self.nested(Self::object)?,
            Some('[') => self.nested(Self::array)?,
            Some('"') => Value::Text(self.text()?),
            Some('-' | '0'..='9') => Value::Number(self.number()?),
            Some('$') => Value::Text(self.bare_variable()?),
            Some('a'..='z' | 'A'..='Z') => self.word()?,
            Some('\'') => return Err(self.error("texts stand in double quotes")),
            _ => return Err(self.unexpected("a value")),
        };
        Ok(Node { place, value })
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<Value, JobError>) -> Result<Value, JobError> {
        if self.depth >= JOB_DEPTH_MAX {
            return Err(self.error(format!("nested more than {JOB_DEPTH_MAX} levels deep")));
        }
        self.depth += 1;
        self.bump();
        let value = read(self);
        self.depth -= 1;
        value
    }

    fn array(&mut self) -> Result<Value, JobError> {
        let mut items = Vec::new();
        self.skip_blank()?;
        if self.peek() == Some(']') {
            self.bump();
            return Ok(Value::Array(items));
        }
        loop {
            items.push(self.value()?);
            if self.ends_with(']')? {
                return Ok(Value::Array(items));
            }
        }
    }

    fn object(&mut self) -> Result<Value, JobError> {
        let mut members = Vec::new();
        self.skip_blank()?;
        if self.peek() == Some('}') {
            self.bump();
            return Ok(Value::Object(members));
        }
        loop {
            self.skip_blank()?;
            let place = self.place();
            if self.peek() != Some('"') {
                return Err(self.unexpected("a name in double quotes"));
            }
            let key = self.text()?;
            self.skip_blank()?;
            if self.peek() != Some(':') {
                return Err(self.unexpected("\":\" after the name"));
            }
            self.bump();
            let node = self.value()?;
            self.add(&mut members, Member { key, place, node });
            if self.ends_with('}')? {
                return Ok(Value::Object(members));
            }
        }
    }

    /// Adds a member; a second one of the same name replaces the first, as in every JSON library of the vendor's.
    fn add(&self, members: &mut Vec<Member>, member: Member) {
        match members.iter_mut().find(|earlier| earlier.key == member.key) {
            None => members.push(member),
            Some(earlier) => {
                let text = format!("{:?} is given twice in one object; this one counts", member.key);
                self.report.warn(&member.place, text);
                *earlier = member;
            }
        }
    }

    /// After an item: true at the closing bracket, false after a comma that an item follows.
    fn ends_with(&mut self, close: char) -> Result<bool, JobError> {
        self.skip_blank()?;
        match self.peek() {
            Some(c) if c == close => {
                self.bump();
                Ok(true)
            }
            Some(',') => {
                let comma = self.error(format!("a comma stands before {close:?} with nothing after it"));
                self.bump();
                self.skip_blank()?;
                if self.peek() == Some(close) { Err(comma.advise("remove the comma")) } else { Ok(false) }
            }
            _ => Err(self.unexpected(&format!("\",\" or \"{close}\""))),
        }
    }

    fn text(&mut self) -> Result<String, JobError> {
        let start = self.error("this text has no closing quote on its line");
        self.bump();
        let mut out = String::new();
        loop {
            let here = self.error("this character must be escaped in a text");
            match self.bump() {
                Some('"') => return Ok(out),
                Some('\\') => out.push(self.escape()?),
                Some('\n') | None => return Err(start),
                Some(c) if c < ' ' && c != '\t' => return Err(here),
                Some(c) => out.push(c),
            }
        }
    }

    fn escape(&mut self) -> Result<char, JobError> {
        let here = self.error("no such escape");
        Ok(match self.bump() {
            Some(c @ ('"' | '\\' | '/')) => c,
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => {
                let first = self.hex4()?;
                let code = match first {
                    0xd800..=0xdbff if self.bump() == Some('\\') && self.bump() == Some('u') => match self.hex4()? {
                        second @ 0xdc00..=0xdfff => 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00),
                        _ => return Err(here),
                    },
                    _ => first,
                };
                // A lone half of a surrogate pair is not a character.
                char::from_u32(code).ok_or(here)?
            }
            _ => return Err(here),
        })
    }

    fn hex4(&mut self) -> Result<u32, JobError> {
        let mut code = 0;
        for _ in 0..4 {
            let Some(digit) = self.peek().and_then(|c| c.to_digit(16)) else {
                return Err(self.unexpected("four hexadecimal digits"));
            };
            self.bump();
            code = code * 16 + digit;
        }
        Ok(code)
    }

    fn number(&mut self) -> Result<String, JobError> {
        let start = self.error("");
        let mut out = String::new();
        while let Some(c) = self.peek().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.')) {
            out.push(c);
            self.bump();
        }
        // The grammar of numbers is serde_json's; only the text is kept.
        if serde_json::from_str::<&serde_json::value::RawValue>(&out).is_ok() {
            Ok(out)
        } else {
            let shown: String = out.chars().take(WORD_BYTES_MAX).collect();
            Err(JobError { message: format!("{}{shown} is not a number", start.message), ..start }
                .advise("put a text in double quotes"))
        }
    }

    fn word(&mut self) -> Result<Value, JobError> {
        let start = self.error("");
        let mut word = String::new();
        while let Some(c) = self.peek().filter(|c| c.is_ascii_alphanumeric() || *c == '_') {
            if word.len() < WORD_BYTES_MAX {
                word.push(c);
            }
            self.bump();
        }
        match word.to_ascii_lowercase().as_str() {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            "null" => Ok(Value::Null),
            _ => Err(JobError { message: format!("{}a bare word: {word}", start.message), ..start }.advise(
                "put texts in double quotes; without them only numbers, true, false, null and ${name} are allowed",
            )),
        }
    }

    /// `${name}` or `$[form]` in place of a number or boolean, with what touches it, as if all of it were quoted.
    fn bare_variable(&mut self) -> Result<String, JobError> {
        let start = self.error("after $ there must be {name} or [form]");
        let mut out = String::new();
        while let Some(c) = self.peek() {
            if c == '$' {
                out.push(c);
                self.bump();
                let close = match self.peek() {
                    Some('{') => '}',
                    Some('[') => ']',
                    _ => return Err(start),
                };
                loop {
                    match self.bump() {
                        Some('\n') | None => return Err(start),
                        Some(c) => out.push(c),
                    }
                    if out.ends_with(close) {
                        break;
                    }
                }
            } else if c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.') {
                out.push(c);
                self.bump();
            } else {
                break;
            }
        }
        Ok(out)
    }
}

/// Longest piece of the file that a syntax error repeats, in bytes.
const WORD_BYTES_MAX: usize = 40;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn read(text: &str) -> Result<Node, String> {
        parse(text, &Report::default()).map_err(|error| error.render("j"))
    }

    #[test]
    fn reads_values_with_comments_and_places() {
        let node = read("// head\n{ \"a\" : [1, -2.50e3, /* mid */ true, NULL],\n  \"ключ\": \"x\\n\\u00e9\\ud83d\\ude00\" } // end").unwrap();
        let members = node.members().unwrap();
        assert_eq!(members[1].place, Place::File { line: 3, column: 3 });
        assert_eq!(members[1].node, Node::text(Place::File { line: 3, column: 11 }, "x\né😀"));
        let Value::Array(items) = &members[0].node.value else { panic!("not a list") };
        assert_eq!(items[1].value, Value::Number("-2.50e3".into()));
        assert_eq!(items[2].value, Value::Bool(true));
        assert_eq!(items[3].value, Value::Null);
        assert!(read("\u{feff}{}").is_ok());
    }

    #[test]
    fn bare_variables_read_as_text() {
        let node = read("[${bizdate}, ${d}000000 , $[yyyymmdd-1]]").unwrap();
        let Value::Array(items) = &node.value else { panic!("not a list") };
        let texts: Vec<_> = items.iter().map(|item| item.value.clone()).collect();
        let wanted = ["${bizdate}", "${d}000000", "$[yyyymmdd-1]"].map(|t| Value::Text(t.into()));
        assert_eq!(texts, wanted);
        assert_eq!(read("[$x]").unwrap_err(), "j:1:2: not valid JSON: after $ there must be {name} or [form]");
        assert!(read("[${x\n}]").is_err());
    }

    #[test]
    fn syntax_errors_name_line_and_column() {
        for (text, wanted) in [
            ("{\n  \"a\": 1\n  \"b\": 2\n}", "j:3:3: not valid JSON: expected \",\" or \"}\", but a text begins"),
            (
                "{\"a\": 1,}",
                "j:1:8: not valid JSON: a comma stands before '}' with nothing after it\n  next: remove the comma",
            ),
            ("{\"a\"", "j:1:5: not valid JSON: expected \":\" after the name, but the file ends"),
            ("", "j:1:1: not valid JSON: expected a value, but the file ends"),
            ("{a:1}", "j:1:2: not valid JSON: expected a name in double quotes, but there is a"),
            ("{'a':1}", "j:1:2: not valid JSON: expected a name in double quotes, but there is '\\''"),
            ("[\"a\n\"]", "j:1:2: not valid JSON: this text has no closing quote on its line"),
            ("[01]", "j:1:2: not valid JSON: 01 is not a number\n  next: put a text in double quotes"),
            ("[\"\\x\"]", "j:1:4: not valid JSON: no such escape"),
            ("[\"\\ud800\"]", "j:1:4: not valid JSON: no such escape"),
            ("/* x", "j:1:1: not valid JSON: this comment never ends"),
            ("{} {}", "j:1:4: not valid JSON: expected the end of the file, but there is '{'"),
        ] {
            assert_eq!(read(text).unwrap_err(), wanted, "{text:?}");
        }
        assert!(read("[maybe]").unwrap_err().starts_with("j:1:2: not valid JSON: a bare word: maybe\n"));
    }

    #[test]
    fn deep_nesting_is_refused() {
        let text = "[".repeat(100_000);
        assert!(read(&text).unwrap_err().contains("nested more than"));
        let text = format!("{}{}", "[".repeat(JOB_DEPTH_MAX), "]".repeat(JOB_DEPTH_MAX));
        assert!(read(&text).is_ok());
    }

    #[test]
    fn no_prefix_of_a_document_panics_or_passes() {
        let text = "{\"a\": [1.5, \"\\u00e9\", ${x}, true, null], // c\n \"b\": {\"c\": /* d */ \"e\"}}";
        for (end, _) in text.char_indices() {
            assert!(read(&text[..end]).is_err(), "{}", &text[..end]);
        }
        assert!(read(text).is_ok());
    }

    #[test]
    fn repeated_names_warn_and_the_last_counts() {
        let report = Report::default();
        let node = parse("{\"a\": 1, \"a\": 2}", &report).unwrap();
        assert_eq!(node.member("a").unwrap().value, Value::Number("2".into()));
        assert_eq!(node.members().unwrap().len(), 1);
        let notes = report.finish("j").unwrap();
        assert_eq!(notes[0].render("j"), "j:1:10: \"a\" is given twice in one object; this one counts");
    }

    #[test]
    fn prints_with_secrets_starred() {
        let node =
            read(r#"{"a":[],"accessKey":"canary","kafkaConfig":{"sasl.jaas.config":"canary","x":[1,"\u0001"]}}"#);
        let printed = node.unwrap().redacted();
        assert!(!printed.contains("canary"));
        assert_eq!(
            printed,
            "{\n  \"a\": [],\n  \"accessKey\": \"***\",\n  \"kafkaConfig\": {\n    \"sasl.jaas.config\": \"***\",\n    \"x\": [\n      1,\n      \"\\u0001\"\n    ]\n  }\n}"
        );
    }
}
