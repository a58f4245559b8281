//! kcat's command line (`kcat.c`, `argparse`).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Produce,
    Consume,
    Group,
    List,
    Query,
}

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    Beginning,
    End,
    Stored,
    At(i64),
    Tail(i64),
}

/// The command line, read.
#[derive(Clone, Debug, Default)]
pub(super) struct Options {
    pub(super) mode: Option<Mode>,
    pub(super) group: String,
    pub(super) topic: Option<String>,
    /// Topic, partition, timestamp.
    pub(super) queries: Vec<(String, i32, i64)>,
    pub(super) partition: Option<i32>,
    pub(super) start: Option<Start>,
    pub(super) start_time: Option<i64>,
    pub(super) stop_time: Option<i64>,
    pub(super) exit_at_end: bool,
    pub(super) goes_on: bool,
    pub(super) format: Option<Vec<u8>>,
    pub(super) delimiter: Option<Vec<u8>>,
    pub(super) key_delimiter: Option<Vec<u8>>,
    pub(super) fixed_key: Option<Vec<u8>>,
    pub(super) headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    pub(super) json: bool,
    pub(super) nulls: bool,
    pub(super) tee: bool,
    pub(super) lines_of_file: bool,
    pub(super) count: Option<u64>,
    pub(super) timeout_s: Option<u64>,
    pub(super) key_pack: Option<Vec<u8>>,
    pub(super) value_pack: Option<Vec<u8>>,
    /// 1 by default, 0 with -q, more with -v.
    pub(super) verbosity: i32,
    /// Properties in the order given: of files, of -b and -z, of -X.
    pub(super) properties: Vec<(String, String)>,
    pub(super) files: Vec<String>,
    pub(super) dump: bool,
    pub(super) has_brokers: bool,
    pub(super) operands: Vec<String>,
}

/// What parsing came to.
pub(super) enum Parsed {
    Run(Box<Options>),
    Help,
    Version,
    PropertyList,
}

/// The options that take an argument, and those that do not.
const WITH: &str = "GMtpbzoDKkHdFXcfsrm";
const WITHOUT: &str = "PCLQeEOqvTuZlVhJU";

/// Reads the arguments after the program's name; options and operands may be mixed, as GNU's getopt allows.
///
/// # Errors
/// What kcat says before its usage or after `% ERROR: `.
pub(super) fn parse(arguments: Vec<OsString>) -> Result<Parsed, String> {
    let mut options = Options { verbosity: 1, ..Options::default() };
    let mut rest = arguments.into_iter().map(OsString::into_vec);
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    while let Some(word) = rest.next() {
        if word == b"--" {
            options.operands.extend(rest.by_ref().map(text));
            break;
        }
        let Some(mut letters) = word.strip_prefix(b"-").filter(|letters| !letters.is_empty()) else {
            options.operands.push(text(word));
            continue;
        };
        while let Some((letter, after)) = letters.split_first() {
            letters = after;
            let letter = char::from(*letter);
            if WITH.contains(letter) {
                let value = if after.is_empty() { rest.next() } else { Some(after.to_vec()) };
                let Some(value) = value else { return Err("unknown argument".to_owned()) };
                options.take(letter, value)?;
                break;
            }
            match letter {
                'V' => return Ok(Parsed::Version),
                'h' => return Ok(Parsed::Help),
                _ if WITHOUT.contains(letter) => options.flag(letter),
                _ => return Err("unknown argument".to_owned()),
            }
        }
    }
    if options.properties.iter().any(|(name, _)| name == "list" || name == "help") {
        return Ok(Parsed::PropertyList);
    }
    Ok(Parsed::Run(Box::new(options)))
}

impl Options {
    fn flag(&mut self, letter: char) {
        match letter {
            'P' => self.mode = Some(Mode::Produce),
            'C' => self.mode = Some(Mode::Consume),
            'L' => self.mode = Some(Mode::List),
            'Q' => self.mode = Some(Mode::Query),
            'e' => self.exit_at_end = true,
            'E' => self.goes_on = true,
            'q' => self.verbosity = 0,
            'v' => self.verbosity = self.verbosity.saturating_add(1),
            'T' => self.tee = true,
            'Z' => self.nulls = true,
            'l' => self.lines_of_file = true,
            'J' => self.json = true,
            // Offsets (-O) are not in the default format of this release either; output is always written at once (-u).
            _ => {}
        }
    }

    fn take(&mut self, letter: char, value: Vec<u8>) -> Result<(), String> {
        let text = String::from_utf8_lossy(&value).into_owned();
        match letter {
            'G' => {
                self.mode = Some(Mode::Group);
                self.group = text;
            }
            'M' => {
                return Err("-M: there is no mock cluster in forebay; 'forebay sandbox up' starts an embedded broker"
                    .to_owned());
            }
            't' if self.mode == Some(Mode::Query) => self.queries.push(query(&text)?),
            't' => self.topic = Some(text),
            'p' => {
                self.partition =
                    Some(leading_number(&text)).filter(|number| *number >= 0).and_then(|n| i32::try_from(n).ok())
            }
            'b' => {
                self.has_brokers = true;
                self.properties.push(("bootstrap.servers".to_owned(), text));
            }
            'z' => self.properties.push(("compression.codec".to_owned(), text)),
            'o' => self.set_start(&text),
            'f' => self.format = Some(value),
            'D' => self.delimiter = Some(value),
            'K' => self.key_delimiter = Some(value),
            'k' => self.fixed_key = Some(value),
            'H' => {
                let at = value.iter().position(|byte| *byte == b'=');
                if value.is_empty() || at == Some(0) {
                    return Err("Expected -H \"name=value..\" or -H \"name\"".to_owned());
                }
                let (name, rest) = value.split_at(at.unwrap_or(value.len()));
                self.headers.push((name.to_vec(), at.map(|_| rest.get(1..).unwrap_or_default().to_vec())));
            }
            'c' => self.count = u64::try_from(leading_number(&text)).ok().filter(|count| *count > 0),
            'm' => self.timeout_s = u64::try_from(leading_number(&text)).ok(),
            's' => {
                let (field, pack) = match text.split_once('=') {
                    Some((field @ ("key" | "value"), pack)) => (Some(field), pack),
                    _ => (None, text.as_str()),
                };
                if let Some(wrong) = pack.chars().find(|c| !" <>bBhHiIqQcs$".contains(*c)) {
                    return Err(match pack {
                        "avro" => "This build of kcat lacks Avro/Schema-Registry support".to_owned(),
                        _ => {
                            format!("Invalid token '{wrong}' in {} pack-format, see -s usage.", field.unwrap_or("key"))
                        }
                    });
                }
                if pack.is_empty() {
                    return Err(format!("{} pack-format must not be empty", field.unwrap_or("key")));
                }
                if field != Some("value") {
                    self.key_pack = Some(pack.as_bytes().to_vec());
                }
                if field != Some("key") {
                    self.value_pack = Some(pack.as_bytes().to_vec());
                }
            }
            'r' => return Err("This build of kcat lacks Avro/Schema-Registry support".to_owned()),
            'F' => self.files.push(text),
            'X' if text == "dump" => self.dump = true,
            'X' if text == "list" || text == "help" => self.properties.push((text, String::new())),
            'X' => {
                let Some((name, value)) = text.split_once('=') else {
                    return Err(format!(
                        "Expected -X property=value, not {text}, use -X list to display available properties"
                    ));
                };
                if matches!(name, "metadata.broker.list" | "bootstrap.servers") {
                    self.has_brokers = true;
                }
                self.properties.push((name.to_owned(), value.to_owned()));
            }
            _ => {}
        }
        Ok(())
    }

    fn set_start(&mut self, text: &str) {
        match text {
            "end" => self.start = Some(Start::End),
            "beginning" => self.start = Some(Start::Beginning),
            "stored" => self.start = Some(Start::Stored),
            _ => {
                if let Some(ms) = text.strip_prefix("s@") {
                    self.start_time = Some(leading_number(ms));
                } else if let Some(ms) = text.strip_prefix("e@") {
                    self.stop_time = Some(leading_number(ms));
                } else {
                    let number = leading_number(text);
                    let tail = || Start::Tail(number.saturating_neg());
                    self.start = Some(if number < 0 { tail() } else { Start::At(number) });
                }
            }
        }
    }
}

/// C's `strtoll`: the number that the text begins with, or 0.
fn leading_number(text: &str) -> i64 {
    let text = text.trim_start();
    let sign = usize::from(text.starts_with(['-', '+']));
    let digits = text.get(sign..).unwrap_or_default();
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let number = text.get(..sign.saturating_add(end)).unwrap_or_default();
    number.strip_prefix('+').unwrap_or(number).parse().unwrap_or(0)
}

fn query(text: &str) -> Result<(String, i32, i64), String> {
    let mut parts = text.splitn(3, ':');
    let (topic, partition, time) = (parts.next(), parts.next(), parts.next());
    let wrong = || "-t: expected \"topic:partition:offset_or_timestamp\"".to_owned();
    let (Some(topic), Some(partition), Some(time)) = (topic, partition, time) else { return Err(wrong()) };
    Ok((topic.to_owned(), partition.parse().map_err(|_| wrong())?, time.parse().map_err(|_| wrong())?))
}

/// A delimiter as -D and -K take it: `\n`, `\t` and `\xNN` anywhere.
///
/// # Errors
/// `\x` without a number.
pub(super) fn delimiter(text: &[u8]) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        match (first, after.first()) {
            (b'\\', Some(b'n')) => out.push(b'\n'),
            (b'\\', Some(b't')) => out.push(b'\t'),
            (b'\\', Some(b'x')) => {
                let digits = after.get(1..).unwrap_or_default();
                let count = digits.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
                if count == 0 {
                    return Err(format!("Delimiter {} expects hex number", String::from_utf8_lossy(rest)));
                }
                let number = digits.iter().take(count).fold(0_u8, |number, digit| {
                    let digit = char::from(*digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).unwrap_or(0);
                    number.wrapping_mul(16).wrapping_add(digit)
                });
                out.push(number);
                rest = digits.get(count..).unwrap_or_default();
                continue;
            }
            _ => {
                out.push(*first);
                rest = after;
                continue;
            }
        }
        rest = after.get(1..).unwrap_or_default();
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn read(line: &str) -> Options {
        match parse(line.split(' ').map(OsString::from).collect()).unwrap() {
            Parsed::Run(options) => *options,
            _ => panic!("not a command"),
        }
    }

    #[test]
    fn letters_stand_together_and_operands_anywhere() {
        let options = read("-Cet t file -o-5 -p 3 -qc10 -b h:1 -H a=b=c -H n");
        assert_eq!(
            (options.mode, options.exit_at_end, options.topic.as_deref()),
            (Some(Mode::Consume), true, Some("t"))
        );
        assert_eq!((options.start, options.partition, options.count), (Some(Start::Tail(5)), Some(3), Some(10)));
        assert_eq!((options.operands.as_slice(), options.verbosity), (&["file".to_owned()][..], 0));
        assert_eq!(options.headers, [(b"a".to_vec(), Some(b"b=c".to_vec())), (b"n".to_vec(), None)]);
        assert_eq!(read("-C -P").mode, Some(Mode::Produce), "the last one counts");
        assert!(parse(vec!["-y".into()]).is_err());
        assert_eq!(read("-Q -t t:0:-1").queries, [("t".to_owned(), 0, -1)]);
    }

    #[test]
    fn delimiters_are_kcat_s() {
        // kcat's own cases.
        for (text, wanted) in
            [("", ""), ("\\n", "\n"), ("\\t\\n\\n", "\t\n\n"), ("\\x54!\\x45\\x53T", "T!EST"), ("\\x30", "0")]
        {
            assert_eq!(delimiter(text.as_bytes()).unwrap(), wanted.as_bytes());
        }
        assert!(delimiter(b"\\xg").is_err());
    }
}
