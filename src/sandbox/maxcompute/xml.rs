//! A small reader of request bodies in XML: elements, their text and nothing else.

use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::Event;

/// One element with its own text and its children in order. Attributes are not kept; no request needs them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) name: String,
    pub(super) text: String,
    pub(super) children: Vec<Self>,
}

impl Element {
    /// Reads a document and returns its root.
    ///
    /// # Errors
    /// What is wrong with the XML, with the byte where.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut reader = Reader::from_str(text);
        // The last entry is the element being read; the first stands for the document.
        let mut open = vec![Self::default()];
        loop {
            let at = reader.buffer_position();
            let wrong = |what: &str| format!("{what} at byte {at}");
            let event = reader.read_event().map_err(|error| format!("{error} at byte {}", reader.error_position()))?;
            match event {
                Event::Start(start) => {
                    if open.len() > DEPTH_MAX {
                        return Err(wrong("elements nested too deep"));
                    }
                    open.push(Self { name: name_of(start.local_name().as_ref()), ..Self::default() });
                }
                Event::Empty(start) => {
                    let element = Self { name: name_of(start.local_name().as_ref()), ..Self::default() };
                    open.last_mut().ok_or_else(|| wrong("an element out of place"))?.children.push(element);
                }
                Event::End(_) => {
                    let element = open.pop().ok_or_else(|| wrong("an end tag without a start"))?;
                    open.last_mut().ok_or_else(|| wrong("an end tag without a start"))?.children.push(element);
                }
                Event::Text(text) => append(&mut open, &text.xml10_content()),
                Event::CData(data) => append(&mut open, &data.xml10_content()),
                Event::GeneralRef(reference) => {
                    let name: &str = &reference;
                    let character = reference.resolve_char_ref().map_err(|error| wrong(&error.to_string()))?;
                    match (character, resolve_predefined_entity(name)) {
                        (Some(character), _) => append(&mut open, character.encode_utf8(&mut [0; 4])),
                        (None, Some(text)) => append(&mut open, text),
                        (None, None) => return Err(wrong("an unknown entity")),
                    }
                }
                Event::Eof => break,
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
            }
        }
        match (open.pop(), open.is_empty()) {
            (Some(document), true) => {
                document.children.into_iter().next().ok_or_else(|| "no element in the document".to_owned())
            }
            _ => Err("the document ends inside an element".to_owned()),
        }
    }

    /// The first child called `name`.
    pub(super) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The trimmed text of the first child called `name`; empty when there is none.
    pub(super) fn text_of(&self, name: &str) -> &str {
        self.child(name).map_or("", |child| child.text.trim())
    }
}

fn append(open: &mut [Element], text: &str) {
    if let Some(element) = open.last_mut() {
        element.text.push_str(text);
    }
}

fn name_of(name: &str) -> String {
    name.to_owned()
}

const DEPTH_MAX: usize = 32;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn reads_both_spellings_of_a_query() {
        let cdata =
            "<?xml version=\"1.0\"?><Instance><Job><Query><![CDATA[select 'a<b' & 1;]]></Query></Job></Instance>";
        let plain = "<Instance>\n<Job><Query>select &apos;a&lt;b&#39; &amp; 1;</Query></Job></Instance>";
        for text in [cdata, plain] {
            let root = Element::parse(text).unwrap();
            assert_eq!(root.name, "Instance");
            assert_eq!(root.child("Job").unwrap().text_of("Query"), "select 'a<b' & 1;");
        }
    }

    #[test]
    fn refuses_what_is_not_xml() {
        for text in ["", "x", "<a>", "<a></b>", "<a>&nosuch;</a>"] {
            assert!(Element::parse(text).is_err(), "{text}");
        }
    }
}
