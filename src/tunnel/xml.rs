//! XML answers of MaxCompute as a small tree.

use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

/// One element: its name without a prefix, its attributes, its children in order, and all text directly inside it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) name: String,
    attributes: Vec<(String, String)>,
    pub(super) children: Vec<Self>,
    pub(super) text: String,
}

/// Nesting that no answer of the service comes near.
const DEPTH_MAX: usize = 64;

impl Element {
    /// Reads a document. The caller has bounded its size.
    ///
    /// # Errors
    /// What is wrong with it: not well-formed, an unknown entity, or nested too deep.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut reader = Reader::from_str(text);
        let mut root = None;
        let mut open: Vec<Self> = Vec::new();
        loop {
            let event = reader.read_event().map_err(|error| error.to_string())?;
            match event {
                Event::Start(start) => {
                    if open.len() >= DEPTH_MAX {
                        return Err("nested too deep".into());
                    }
                    open.push(Self::begin(&start)?);
                }
                Event::Empty(start) => close(Self::begin(&start)?, &mut open, &mut root)?,
                Event::End(_) => {
                    let element = open.pop().ok_or("an end without a start")?;
                    close(element, &mut open, &mut root)?;
                }
                Event::Text(piece) => push_text(&mut open, &piece.xml10_content())?,
                // Kept byte for byte: SQL results live here.
                Event::CData(piece) => push_text(&mut open, &piece.into_inner())?,
                Event::GeneralRef(reference) => {
                    let character = reference.resolve_char_ref().map_err(|error| error.to_string())?;
                    let character = character.or_else(|| predefined_entity(&reference.xml10_content()));
                    let character = character.ok_or("an unknown entity")?;
                    push_text(&mut open, character.encode_utf8(&mut [0; 4]))?;
                }
                Event::Eof if open.is_empty() => return root.ok_or_else(|| "no element".into()),
                Event::Eof => return Err("ends too early".into()),
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
            }
        }
    }

    fn begin(start: &BytesStart<'_>) -> Result<Self, String> {
        let mut attributes = Vec::new();
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|error| error.to_string())?;
            let value =
                attribute.normalized_value(quick_xml::XmlVersion::Implicit1_0).map_err(|error| error.to_string())?;
            attributes.push((attribute.key.local_name().as_ref().to_owned(), value.into_owned()));
        }
        let name = start.local_name().as_ref().to_owned();
        Ok(Self { name, attributes, ..Self::default() })
    }

    /// The first child called `name`.
    pub(super) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The trimmed text of the first child called `name`; `None` when there is no such child.
    pub(super) fn child_text(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.trim())
    }

    /// The attribute called `name`.
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

fn close(element: Element, open: &mut [Element], root: &mut Option<Element>) -> Result<(), String> {
    match (open.last_mut(), &root) {
        (Some(parent), _) => parent.children.push(element),
        (None, None) => *root = Some(element),
        (None, Some(_)) => return Err("two elements at the top".into()),
    }
    Ok(())
}

fn push_text(open: &mut [Element], text: &str) -> Result<(), String> {
    match open.last_mut() {
        Some(element) => element.text.push_str(text),
        None if text.trim_matches(['\u{feff}', ' ', '\t', '\r', '\n']).is_empty() => {}
        None => return Err("text outside the document".into()),
    }
    Ok(())
}

fn predefined_entity(name: &str) -> Option<char> {
    Some(match name {
        "lt" => '<',
        "gt" => '>',
        "amp" => '&',
        "quot" => '"',
        "apos" => '\'',
        _ => return None,
    })
}

/// Writes `text` as character data.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\r' => out.push_str("&#13;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn reads_elements_attributes_text_and_cdata() {
        let root = Element::parse(
            "<?xml version=\"1.0\"?>\n<Instance>\n<Tasks><Task Type=\"SQL\"><Name>a &amp; b&#33;</Name>\
             <Result Format='csv'><![CDATA[x<y\r\n]]></Result></Task><Task/></Tasks></Instance>\n",
        )
        .unwrap();
        assert_eq!(root.name, "Instance");
        let tasks = root.child("Tasks").unwrap();
        assert_eq!(tasks.children.len(), 2);
        let task = tasks.child("Task").unwrap();
        assert_eq!((task.attribute("Type"), task.child_text("Name")), (Some("SQL"), Some("a & b!")));
        let result = task.child("Result").unwrap();
        assert_eq!((result.attribute("Format"), result.text.as_str()), (Some("csv"), "x<y\r\n"));
    }

    #[test]
    fn refuses_what_is_not_xml() {
        for text in ["", "no xml", "<a>", "<a></b>", "<a/><b/>", "<a>&nope;</a>", "{\"Code\":1}", "<a b='1' b='2'/>"] {
            assert!(Element::parse(text).is_err(), "{text}");
        }
        assert!(Element::parse(&"<a>".repeat(100_000)).is_err());
    }

    #[test]
    fn entities_do_not_expand() {
        let bomb = "<!DOCTYPE a [<!ENTITY b \"xxxx\">]><a>&b;</a>";
        assert!(Element::parse(bomb).is_err());
    }

    #[test]
    fn escaped_text_comes_back() {
        let text = "select '<a>' & \"]]>\" \r\n from t;";
        let root = Element::parse(&format!("<q>{}</q>", escape(text))).unwrap();
        assert_eq!(root.text, text);
    }
}
