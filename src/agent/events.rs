//! What has happened of late: the log's last lines from INFO on, those of one kind as one event with a count.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

/// Events kept.
const EVENTS_MAX: usize = 50;
/// Characters kept of a line.
const TEXT_CHARS_MAX: usize = 400;

/// Something that has happened, once or more often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// When first, in milliseconds since 1970.
    pub first_ms: i64,
    /// When last.
    pub last_ms: i64,
    /// How often.
    pub count: u64,
    /// `ERROR`, `WARN` or `INFO`.
    pub level: &'static str,
    /// The part that told it.
    pub source: String,
    /// The last text; a log line's first line.
    pub text: String,
    /// What tells kinds apart: the text without its numbers.
    #[serde(skip)]
    kind: String,
}

/// The last events.
#[derive(Debug)]
pub struct Events(Mutex<VecDeque<Event>>);

impl Events {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(VecDeque::new()))
    }

    fn events(&self) -> MutexGuard<'_, VecDeque<Event>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, level: &'static str, source: &str, text: &str, now: i64) {
        let mut lines = text.lines();
        let mut first = lines.next().unwrap_or_default().trim_end().to_owned();
        // A heading alone says nothing.
        if first.ends_with(':')
            && let Some(next) = lines.next()
        {
            first.push(' ');
            first.push_str(next);
        }
        let text: String = first.chars().take(TEXT_CHARS_MAX).collect();
        let kind: String = text.chars().filter(|c| !c.is_ascii_digit()).collect();
        let mut events = self.events();
        let known =
            events.iter().position(|event| event.level == level && event.kind == kind && event.source == source);
        let event = match known.and_then(|at| events.remove(at)) {
            Some(event) => Event { last_ms: now, count: event.count.saturating_add(1), text, ..event },
            None => Event { first_ms: now, last_ms: now, count: 1, level, source: source.to_owned(), text, kind },
        };
        if events.len() >= EVENTS_MAX {
            // What is worth least goes first, and of that the oldest.
            let oldest = events.iter().position(|event| event.level == "INFO").unwrap_or(0);
            events.remove(oldest);
        }
        events.push_back(event);
    }

    /// The events, the latest first.
    pub fn latest(&self) -> Vec<Event> {
        self.events().iter().rev().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_one_kind_are_counted() {
        let events = Events::new();
        events.add("INFO", "sync", "batch 1: 300 rows committed\nand more", 10);
        events.add("WARN", "sync", "batch 2 is begun again", 20);
        events.add("INFO", "sync", "batch 17: 4 rows committed", 30);
        let told: Vec<_> =
            events.latest().into_iter().map(|e| (e.first_ms, e.last_ms, e.count, e.level, e.text)).collect();
        assert_eq!(
            told,
            [
                (10, 30, 2, "INFO", "batch 17: 4 rows committed".to_owned()),
                (20, 20, 1, "WARN", "batch 2 is begun again".to_owned()),
            ]
        );
    }

    #[test]
    fn what_went_wrong_outlives_what_went_well() {
        let events = Events::new();
        events.add("ERROR", "sync", "something broke", 0);
        for n in 0..200_u8 {
            events.add("INFO", &format!("part {n}"), "well", i64::from(n));
        }
        let latest = events.latest();
        assert_eq!((latest.len(), latest[0].source.as_str(), latest[49].level), (EVENTS_MAX, "part 199", "ERROR"));
        events.add("ERROR", "sync", "dirty: \n{\"n\":1}\nmore", 9);
        assert_eq!(events.latest()[0].text, "dirty: {\"n\":1}");
        events.add("INFO", "long", &"ä".repeat(5_000), 9);
        assert_eq!(events.latest()[0].text.chars().count(), TEXT_CHARS_MAX);
    }
}
