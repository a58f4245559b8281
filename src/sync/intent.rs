//! The intent: what stands in a group's offset metadata between the moment a batch is sealed and the moment its offsets
//! advance ("Exactly-once from Kafka into MaxCompute", section 3).
//!
//! ```text
//! fb1;cl=<cluster>;tp=<topic id or ->;b=<end>;t=<table partition>;u=<upload id>;n=<blocks>;r=<rows>;h=<hash>
//! ```
//!
//! The committed offset beside it is the begin of the range, unchanged. `t`, `u`, `n` and `r` stand once for each session.
//! Values are percent-encoded where they would break the line apart, so that the text is ASCII whatever a partition is
//! called.

use std::fmt;

use crate::limits::{INTENT_BYTES_MAX, INTENT_SESSIONS_MAX};

const FORMAT: &str = "fb1";
/// What stands for a topic without an id, and for the upload id of a session that is known never to commit.
const NONE: &str = "-";

/// One upload session of a sealed batch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SealedSession {
    /// The table partition it writes, in the tunnel's own form (`pt=1,region=cn`); empty for an unpartitioned table.
    pub target: String,
    /// Its id. Empty once a person has said that it was never committed.
    pub upload_id: String,
    /// Blocks in it.
    pub blocks: u32,
    /// Rows in it.
    pub rows: u64,
}

/// What a member means to do with one Kafka partition's range, from the committed offset up to `end`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Intent {
    /// The cluster that the offsets are of; empty where the broker does not say.
    pub cluster: String,
    /// The topic's id; empty before Kafka 2.8.
    pub topic_id: String,
    /// The offset after the range.
    pub end: i64,
    /// The sessions that hold its rows, in the order of their targets.
    pub sessions: Vec<SealedSession>,
    /// Of all that makes the rows a function of the offsets: schema, columns, routing, conversion, dirty policy.
    pub hash: u64,
}

/// Why a metadata text is no intent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IntentError {
    /// Another tool's text, or a format of a later version.
    Foreign(String),
    /// A text of this format that is damaged.
    Damaged(String),
    /// Longer than a group's metadata may be.
    TooLong(usize),
}

impl fmt::Display for IntentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign(start) => write!(
                f,
                "the group's offset metadata is not forebay's (it begins \"{start}\"): another program commits under this group"
            ),
            Self::Damaged(what) => write!(f, "the intent in the group's offset metadata is damaged: {what}"),
            Self::TooLong(bytes) => {
                write!(f, "an intent of {bytes} bytes is over the limit of {INTENT_BYTES_MAX} for offset metadata")
            }
        }
    }
}

impl std::error::Error for IntentError {}

impl Intent {
    /// The text that is committed as metadata.
    ///
    /// # Errors
    /// [`IntentError::TooLong`] when no broker with default settings would take it (`offset.metadata.max.bytes`).
    pub fn to_metadata(&self) -> Result<String, IntentError> {
        self.to_metadata_of(1)
    }

    /// The same with `b` in at least so many digits: the intents of one batch are made equally long, so that a broker with a
    /// lower limit takes all of them or none.
    ///
    /// # Errors
    /// As [`Intent::to_metadata`].
    pub fn to_metadata_of(&self, end_digits: usize) -> Result<String, IntentError> {
        use fmt::Write;
        let mut text = String::from(FORMAT);
        let mut field = |key: &str, value: &str| {
            text.push(';');
            text.push_str(key);
            text.push('=');
            escape(value, &mut text);
        };
        field("cl", &self.cluster);
        field("tp", if self.topic_id.is_empty() { NONE } else { &self.topic_id });
        field("b", &format!("{:0end_digits$}", self.end));
        for session in &self.sessions {
            field("t", &session.target);
            field("u", if session.upload_id.is_empty() { NONE } else { &session.upload_id });
            field("n", &session.blocks.to_string());
            field("r", &session.rows.to_string());
        }
        // Writing to a string cannot fail.
        let _ = write!(text, ";h={:016x}", self.hash);
        if text.len() > INTENT_BYTES_MAX { Err(IntentError::TooLong(text.len())) } else { Ok(text) }
    }

    /// Reads metadata; none for an empty text.
    ///
    /// # Errors
    /// [`IntentError`] for any text that is not an intent of this format, whole and in order.
    pub fn parse(metadata: &str) -> Result<Option<Self>, IntentError> {
        if metadata.is_empty() {
            return Ok(None);
        }
        let damaged = |what: &str| IntentError::Damaged(what.to_owned());
        let mut fields = metadata.split(';');
        if fields.next() != Some(FORMAT) {
            return Err(IntentError::Foreign(metadata.escape_debug().take(40).collect()));
        }
        if metadata.len() > INTENT_BYTES_MAX {
            return Err(IntentError::TooLong(metadata.len()));
        }
        let mut fields = fields.peekable();
        let mut next = |key: &'static str| -> Result<String, IntentError> {
            let field = fields.next().ok_or_else(|| damaged(&format!("{key} is missing")))?;
            let value = field.strip_prefix(key).and_then(|rest| rest.strip_prefix('='));
            let value = value
                .ok_or_else(|| damaged(&format!("{key} is expected where \"{}\" stands", field.escape_debug())))?;
            unescape(value).ok_or_else(|| damaged(&format!("{key} is not percent-encoded text")))
        };
        let cluster = next("cl")?;
        let topic_id = Some(next("tp")?).filter(|id| id != NONE).unwrap_or_default();
        let end = number(&next("b")?).filter(|end| *end >= 0).ok_or_else(|| damaged("b is no offset"))?;
        let mut sessions = Vec::new();
        let hash = loop {
            let target = match next("t") {
                Ok(target) => target,
                // Not a session: then the end of the line.
                Err(_) if metadata.rsplit(';').next().is_some_and(|last| last.starts_with("h=")) => {
                    let last = metadata.rsplit(';').next().unwrap_or_default();
                    break last.strip_prefix("h=").unwrap_or_default();
                }
                Err(error) => return Err(error),
            };
            if sessions.len() >= INTENT_SESSIONS_MAX {
                return Err(damaged("it has too many sessions"));
            }
            let upload_id = Some(next("u")?).filter(|id| id != NONE).unwrap_or_default();
            let blocks = number(&next("n")?).ok_or_else(|| damaged("n is no number of blocks"))?;
            let rows = number(&next("r")?).ok_or_else(|| damaged("r is no number of rows"))?;
            sessions.push(SealedSession { target, upload_id, blocks, rows });
        };
        // The loop has taken the last field; one more would be a field of somebody else.
        if fields.next().is_some() {
            return Err(damaged("something stands between the sessions and h"));
        }
        let plain = hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        let hash = u64::from_str_radix(hash, 16).ok().filter(|_| plain).ok_or_else(|| damaged("h is no hash"))?;
        Ok(Some(Self { cluster, topic_id, end, sessions, hash }))
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    // `+5` is a number for Rust and nothing that we write.
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

/// `=` is left as it is where it stands within a value: the first one ends the key.
fn escape(value: &str, text: &mut String) {
    use fmt::Write;
    for byte in value.bytes() {
        if byte.is_ascii_graphic() && !matches!(byte, b';' | b'%') {
            text.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
}

fn unescape(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let high = char::from(rest.next()?).to_digit(16)?;
                let low = char::from(rest.next()?).to_digit(16)?;
                bytes.push(u8::try_from(high * 16 + low).ok()?);
            }
            byte if byte.is_ascii_graphic() => bytes.push(byte),
            _ => return None,
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn session(target: &str, upload_id: &str) -> SealedSession {
        SealedSession { target: target.into(), upload_id: upload_id.into(), blocks: 3, rows: 12 }
    }

    fn intent(sessions: Vec<SealedSession>) -> Intent {
        Intent { cluster: "c1".into(), topic_id: String::new(), end: 42, sessions, hash: 0xab }
    }

    #[test]
    fn the_text_is_that_of_the_design() {
        let text = intent(vec![session("pt=1,r=cn", "u1")]).to_metadata().unwrap();
        assert_eq!(text, "fb1;cl=c1;tp=-;b=42;t=pt=1,r=cn;u=u1;n=3;r=12;h=00000000000000ab");
    }

    #[test]
    fn every_intent_comes_back() {
        let odd = Intent { cluster: "a;b%c d".into(), topic_id: "tid".into(), ..intent(vec![session("pt=日;1", "")]) };
        let many = intent((0..INTENT_SESSIONS_MAX).map(|n| session(&format!("pt={n}"), "u")).collect());
        for intent in [intent(vec![session("", "u")]), odd, many, intent(Vec::new())] {
            let text = intent.to_metadata().unwrap();
            assert!(text.is_ascii());
            assert_eq!(Intent::parse(&text), Ok(Some(intent)), "{text}");
        }
        assert_eq!(Intent::parse(""), Ok(None));
    }

    #[test]
    fn what_is_not_whole_is_refused() {
        let text = intent(vec![session("pt=1", "u1"), session("pt=2", "u2")]).to_metadata().unwrap();
        // Every prefix, every dropped field, every doubled field, and every changed key.
        for cut in 1..text.len() {
            assert!(Intent::parse(&text[..cut]).is_err(), "{}", &text[..cut]);
        }
        let fields: Vec<&str> = text.split(';').collect();
        for at in 1..fields.len() {
            let mut dropped = fields.clone();
            dropped.remove(at);
            assert!(Intent::parse(&dropped.join(";")).is_err(), "{}", dropped.join(";"));
            let mut doubled = fields.clone();
            doubled.insert(at, fields[at]);
            assert!(Intent::parse(&doubled.join(";")).is_err(), "{}", doubled.join(";"));
        }
        for wrong in ["fb2;cl=c", "spark", "fb1", "fb1;", " fb1;cl=", "fb1;cl=c;tp=-;b=-1;h=00000000000000ab"] {
            assert!(Intent::parse(wrong).is_err(), "{wrong}");
        }
        assert!(matches!(Intent::parse("spark-1"), Err(IntentError::Foreign(_))));
    }

    #[test]
    fn a_text_that_no_broker_takes_is_not_written() {
        let long = intent(vec![session(&"x".repeat(INTENT_BYTES_MAX), "u")]);
        assert!(matches!(long.to_metadata(), Err(IntentError::TooLong(_))));
    }
}
