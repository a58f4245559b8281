//! Counts and lengths that the bytes at hand cannot hold, at every place where one can stand in any answer: an error, before
//! memory is taken for them. The allocator of this process gives no more than 64 MiB at a time.

use bytes::Bytes;
use forebay::kafka::msg::shape::{Field, Kind};
use forebay::kafka::msg::{ApiKey, answer_shape, decode_answer};

/// Two billion elements, and as many as a list of small structures could make room for by mistake.
const COUNTS: [u32; 2] = [i32::MAX as u32, 1_000_000];

/// A count or length on the wire, in fixed or compact form.
fn count(flexible: bool, count: u32) -> Vec<u8> {
    if !flexible {
        return count.to_be_bytes().to_vec();
    }
    let mut left = u64::from(count) + 1;
    let mut out = Vec::new();
    while left >= 0x80 {
        out.push((left & 0x7f) as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
    out
}

/// Writes a body by its shape, with one element in each list, and a lie at place `lie`.
struct Liar {
    version: i16,
    flexible: bool,
    lie: usize,
    places: usize,
    said: u32,
    body: Vec<u8>,
    done: bool,
}

impl Liar {
    /// Says how many follow: one, or the lie, after which nothing more is written.
    fn say(&mut self, is_text: bool) {
        let lies = self.places == self.lie;
        self.places += 1;
        let said = match (lies, is_text) {
            (true, _) => self.said,
            (false, true) => 0,
            (false, false) => 1,
        };
        if is_text && !self.flexible {
            // Two bytes: 32,767 at most.
            self.body.extend(u16::try_from(said.min(0x7fff)).expect("bounded").to_be_bytes());
        } else {
            self.body.extend(count(self.flexible, said));
        }
        self.done |= lies;
    }

    fn fields(&mut self, fields: &[Field]) {
        let version = self.version;
        for field in fields.iter().filter(|field| (field.since..=field.until).contains(&version)) {
            match field.kind {
                Kind::Fixed(bytes) => self.body.extend(vec![0; bytes]),
                Kind::Text => self.say(true),
                Kind::Data => {
                    self.say(false);
                    self.body.push(0);
                }
                Kind::FixedArray(bytes) => {
                    self.say(false);
                    self.body.extend(vec![0; bytes]);
                }
                Kind::TextArray => {
                    self.say(false);
                    if !self.done {
                        self.say(true);
                    }
                }
                Kind::Array(fields) => {
                    self.say(false);
                    if !self.done {
                        self.fields(fields);
                    }
                }
            }
            if self.done {
                return;
            }
        }
        if self.flexible {
            // Tagged fields have a count too, which is never written plus one.
            let lies = self.places == self.lie;
            self.places += 1;
            self.body.extend(if lies { count(true, self.said - 1) } else { vec![0] });
            self.done |= lies;
        }
    }
}

#[test]
fn every_count_of_every_answer_behind_a_shape_is_checked() {
    let (mut attacks, mut apis) = (0, 0);
    for api in ApiKey::ALL {
        let Some(shape) = answer_shape(*api) else { continue };
        apis += 1;
        for version in api.versions().min..=api.versions().max {
            let flexible = api.is_flexible(version);
            for said in COUNTS {
                for lie in 0.. {
                    let mut liar = Liar { version, flexible, lie, places: 0, said, body: Vec::new(), done: false };
                    liar.fields(shape.fields);
                    let read = decode_answer(*api, version, Bytes::from(liar.body));
                    if !liar.done {
                        // No lie was told: the body that the shape describes is one that the decoder takes.
                        assert_eq!(read, Ok(()), "{api} v{version}");
                        break;
                    }
                    assert!(read.is_err(), "{api} v{version}: {said} at place {lie} was believed");
                    attacks += 1;
                }
            }
        }
    }
    assert!(apis >= 7 && attacks > 300, "{attacks} attacks on {apis} APIs");
}

#[test]
fn counts_written_over_every_byte_of_every_golden_answer_stay_bounded() {
    for golden in super::golden() {
        let api = golden.api_key();
        for version in [golden.version, api.versions().min, api.versions().max] {
            // Correlation id, and one byte for the tags of a flexible header.
            let start = 4 + usize::from(api.is_flexible(golden.version) && api != ApiKey::ApiVersions);
            let body = golden.frame.slice(start..);
            for at in 0..body.len().min(2000) {
                for said in COUNTS {
                    let lie = count(api.is_flexible(version), said);
                    let rest = body.get(at + lie.len()..).unwrap_or_default();
                    let bytes = [&body[..at], &lie, rest].concat();
                    let _value_or_error = decode_answer(api, version, bytes.into());
                }
            }
        }
    }
}

#[test]
fn a_body_of_nothing_but_a_count_is_refused_by_every_api() {
    for api in ApiKey::ALL {
        for version in api.versions().min..=api.versions().max {
            let lie = count(api.is_flexible(version), COUNTS[0]);
            for before in 0..48 {
                let body = [&vec![0; before][..], &lie, &[0; 8]].concat();
                // At some places the bytes are a number and not a count; what counts is that nobody takes memory for it.
                let _value_or_error = decode_answer(*api, version, body.into());
            }
        }
    }
}
