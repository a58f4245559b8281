//! Date patterns of partition values: Java's (`yyyyMMdd`) and those of strftime (`%Y%m%d`), written and read.

use jiff::civil::{Date, DateTime, Time};

/// A date pattern, checked: fixed-width numbers and the text between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DateFormat(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Field(Field),
    Text(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
    Millis,
}

impl Field {
    const fn width(self) -> usize {
        match self {
            Self::Year => 4,
            Self::Millis => 3,
            _ => 2,
        }
    }

    fn of(self, moment: &DateTime) -> i16 {
        match self {
            Self::Year => moment.year(),
            Self::Month => moment.month().into(),
            Self::Day => moment.day().into(),
            Self::Hour => moment.hour().into(),
            Self::Minute => moment.minute().into(),
            Self::Second => moment.second().into(),
            Self::Millis => moment.millisecond(),
        }
    }
}

const JAVA: &[(&str, Field)] = &[
    ("yyyy", Field::Year),
    ("MM", Field::Month),
    ("dd", Field::Day),
    ("HH", Field::Hour),
    ("mm", Field::Minute),
    ("ss", Field::Second),
    ("SSS", Field::Millis),
];

const STRFTIME: &[(char, Field)] = &[
    ('Y', Field::Year),
    ('m', Field::Month),
    ('d', Field::Day),
    ('H', Field::Hour),
    ('M', Field::Minute),
    ('S', Field::Second),
];

impl DateFormat {
    /// Reads a pattern: with a `%` in it strftime's, else Java's.
    ///
    /// # Errors
    /// What is wrong with it: a letter that is none of the known ones, or no date field at all.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        if text.contains('%') {
            strftime(text, &mut parts)?
        } else {
            java(text, &mut parts)?
        }
        if !parts.iter().any(|part| matches!(part, Part::Field(_))) {
            return Err(format!("{text:?} is not a date pattern: it has neither year, month, day nor time"));
        }
        Ok(Self(parts))
    }

    /// The text of a moment.
    pub fn format(&self, moment: &DateTime) -> String {
        let mut out = String::with_capacity(16);
        self.format_into(moment, &mut out);
        out
    }

    /// Appends the text of a moment.
    pub fn format_into(&self, moment: &DateTime, out: &mut String) {
        use std::fmt::Write as _;
        for part in &self.0 {
            match part {
                // Writing to a String cannot fail.
                Part::Field(field) => {
                    let _ = write!(out, "{:0width$}", field.of(moment), width = field.width());
                }
                Part::Text(text) => out.push_str(text),
            }
        }
    }

    /// Reads a text of exactly this form. Fields that the pattern lacks are the first of January, and midnight; a year must
    /// be there. `None` for anything else, days that do not exist included.
    pub fn read(&self, text: &str) -> Option<DateTime> {
        let (mut rest, mut found) = (text, [None::<i16>, Some(1), Some(1), Some(0), Some(0), Some(0), Some(0)]);
        for part in &self.0 {
            match part {
                Part::Text(text) => rest = rest.strip_prefix(text.as_str())?,
                Part::Field(field) => {
                    let (digits, tail) = rest.split_at_checked(field.width())?;
                    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                        return None;
                    }
                    *found.get_mut(*field as usize)? = Some(digits.parse().ok()?);
                    rest = tail;
                }
            }
        }
        let [year, month, day, hour, minute, second, millis] = found;
        let small = |number: Option<i16>| i8::try_from(number?).ok();
        let date = Date::new(year?, small(month)?, small(day)?).ok()?;
        let time = Time::new(small(hour)?, small(minute)?, small(second)?, i32::from(millis?) * 1_000_000).ok()?;
        rest.is_empty().then(|| date.to_datetime(time))
    }
}

fn java(text: &str, parts: &mut Vec<Part>) -> Result<(), String> {
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if first == '\'' {
            let quoted = rest.get(1..).unwrap_or_default();
            let Some((inside, tail)) = quoted.split_once('\'') else {
                return Err(format!("{text:?} is not a date pattern: a quote is not closed"));
            };
            push_text(parts, if inside.is_empty() { "'" } else { inside });
            rest = tail;
        } else if first.is_ascii_alphabetic() {
            let run = rest.find(|c| c != first).unwrap_or(rest.len());
            let (letters, tail) = rest.split_at(run);
            let Some((_, field)) = JAVA.iter().find(|(name, _)| *name == letters) else {
                return Err(format!(
                    "{text:?} is not a date pattern: {letters:?} is none of yyyy, MM, dd, HH, mm, ss, SSS"
                ));
            };
            parts.push(Part::Field(*field));
            rest = tail;
        } else {
            push_text(parts, rest.get(..first.len_utf8()).unwrap_or_default());
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
        }
    }
    Ok(())
}

fn strftime(text: &str, parts: &mut Vec<Part>) -> Result<(), String> {
    let mut chars = text.chars();
    let mut buffer = [0; 4];
    while let Some(c) = chars.next() {
        if c != '%' {
            push_text(parts, c.encode_utf8(&mut buffer));
            continue;
        }
        match chars.next() {
            Some('%') => push_text(parts, "%"),
            Some('F') => {
                parts.push(Part::Field(Field::Year));
                push_text(parts, "-");
                parts.push(Part::Field(Field::Month));
                push_text(parts, "-");
                parts.push(Part::Field(Field::Day));
            }
            other => match STRFTIME.iter().find(|(letter, _)| Some(*letter) == other) {
                Some((_, field)) => parts.push(Part::Field(*field)),
                None => {
                    let letter = other.map(String::from).unwrap_or_default();
                    return Err(format!(
                        "{text:?} is not a date pattern: %{letter} is none of %Y, %m, %d, %H, %M, %S, %F"
                    ));
                }
            },
        }
    }
    Ok(())
}

fn push_text(parts: &mut Vec<Part>, text: &str) {
    match parts.last_mut() {
        Some(Part::Text(last)) => last.push_str(text),
        _ => parts.push(Part::Text(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn moment() -> DateTime {
        Date::new(2024, 2, 9).unwrap().to_datetime(Time::new(3, 4, 5, 6_000_000).unwrap())
    }

    #[test]
    fn both_languages_write_the_same() {
        for (pattern, text) in [
            ("yyyyMMdd", "20240209"),
            ("%Y%m%d", "20240209"),
            ("yyyy-MM-dd HH:mm:ss.SSS", "2024-02-09 03:04:05.006"),
            ("%F %H:%M:%S", "2024-02-09 03:04:05"),
            ("yyyy'y'MM''", "2024y02'"),
            ("100%%%Y", "100%2024"),
            ("HH", "03"),
        ] {
            assert_eq!(DateFormat::parse(pattern).unwrap().format(&moment()), text, "{pattern}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for pattern in ["", "day", "yyyyMMDD", "yyMMdd", "%Y%j", "%", "----", "yyyy'x", "YYYY"] {
            assert!(DateFormat::parse(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn a_text_is_read_exactly_or_not_at_all() {
        let format = DateFormat::parse("yyyy/MM/dd HH:mm").unwrap();
        assert_eq!(
            format.read("2024/02/09 03:04").map(|moment| moment.to_string()),
            Some("2024-02-09T03:04:00".into())
        );
        for text in ["2024/02/30 03:04", "2024/02/09", "2024/02/09 03:04 ", "2024/2/9 03:04", "", "2024/02/09 03:0x"] {
            assert_eq!(format.read(text), None, "{text}");
        }
        assert_eq!(DateFormat::parse("HH").unwrap().read("03"), None, "no year, no moment");
        assert_eq!(DateFormat::parse("yyyy").unwrap().read("2024").unwrap().to_string(), "2024-01-01T00:00:00");
    }
}
