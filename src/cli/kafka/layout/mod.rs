//! What Kafka's own tools print, release by release (`ConsumerGroupCommand` and `TopicCommand` of `core` and, from 3.8 on, of
//! `tools`).

pub(super) mod groups;
pub(super) mod topics;

/// `text`, filled up with spaces to `width` characters.
fn fill(text: &str, width: usize) -> String {
    format!("{text:<width$}")
}

fn joined(ids: &[i32]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// The longest of `texts`, in characters, and at least `min`.
fn width<'a>(min: usize, texts: impl Iterator<Item = &'a str>) -> usize {
    texts.map(|text| text.chars().count()).max().unwrap_or(0).max(min)
}
