//! Which records a job reads: exactly one begin and one end, and what is said about empty polls.

use jiff::tz::TimeZone;

use super::report::{Place, Report};
use super::section::{Found, Section, parse_integer, shown};
use super::spec::{Begin, End};
use super::zone::parse_moment;

/// The range of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) begin: Begin,
    pub(super) end: End,
    pub(super) old_form: bool,
    pub(super) stop_when_poll_empty: bool,
}

/// One way to say a begin or an end, as it stands in the file.
#[derive(Clone, Debug)]
struct Bound<T> {
    key: &'static str,
    /// `None` when it is there but cannot be read, which was reported; it counts as given.
    value: Option<T>,
    place: Place,
}

/// Reads the range; `None` when it cannot be used, which is reported. Date-times are read in `zone`.
pub(super) fn read(section: &Section<'_>, zone: &TimeZone, report: &Report) -> Option<Range> {
    let begin_type = type_of(
        section,
        "beginType",
        &[("specific", None), ("earliest", Some(Begin::LogStart)), ("current", Some(Begin::Group))],
    );
    let end_type = type_of(section, "endType", &[("specific", None), ("latest", Some(End::Latest))]);

    let mut begins = vec![
        offset(section, "beginOffset", begin_offset),
        moment(section, "beginDateTime", zone, Begin::Time),
        millis(section, "beginTimestampMillis", Begin::Time),
    ];
    begins.extend(begin_type.clone());
    let mut ends = vec![
        offset(section, "endOffset", end_offset),
        moment(section, "endDateTime", zone, End::Time),
        millis(section, "endTimestampMillis", End::Time),
    ];
    ends.extend(end_type.clone());

    let (old_form, stop_when_poll_empty) = stop(section, begin_type.is_some() || end_type.is_some());
    let begin = exactly_one(
        section,
        "beginOffset",
        begins,
        "give one of beginOffset, beginDateTime, beginTimestampMillis, or beginType earliest or current",
    );
    let end = exactly_one(
        section,
        "endOffset",
        ends,
        "give one of endOffset, endDateTime, endTimestampMillis, or endType latest",
    );
    let (begin, end) = (begin?, end?);
    check_order(section, &begin, &end, report)?;
    Some(Range { begin: begin.value, end: end.value, old_form, stop_when_poll_empty })
}

/// `old_form` and `stop_when_poll_empty`.
fn stop(section: &Section<'_>, has_type: bool) -> (bool, bool) {
    let written = section.boolean("stopWhenPollEmpty");
    // Written but not a boolean was reported; it must not turn the job into the old form.
    let old_form = !has_type && !section.has("stopWhenPollEmpty");
    (old_form, written.map_or(old_form, |found| found.value))
}

/// A type as a bound: absent, given as `specific` (no bound of its own), or a bound.
fn type_of<T: Copy>(
    section: &Section<'_>,
    key: &'static str,
    choices: &[(&str, Option<T>)],
) -> Option<Option<Bound<T>>> {
    if !section.has(key) {
        return None;
    }
    Some(match section.choice(key, choices) {
        Some(Found { value: None, .. }) => None,
        Some(Found { value, place }) => Some(Bound { key, value, place }),
        // Reported; counts as a bound so that no second complaint follows.
        None => Some(Bound { key, value: None, place: section.place().clone() }),
    })
}

fn begin_offset(text: &str) -> Option<Begin> {
    let keywords = [("seekToBeginning", Begin::LogStart), ("seekToLast", Begin::Group), ("seekToEnd", Begin::LogEnd)];
    let keyword = keywords.into_iter().find(|(word, _)| word.eq_ignore_ascii_case(text.trim()));
    keyword.map(|(_, begin)| begin).or_else(|| natural(text).map(Begin::Offset))
}

fn end_offset(text: &str) -> Option<End> {
    natural(text).map(End::Offset)
}

fn natural(text: &str) -> Option<i64> {
    parse_integer(text).filter(|number| *number >= 0)
}

fn offset<T>(section: &Section<'_>, key: &'static str, parse: fn(&str) -> Option<T>) -> Option<Bound<T>> {
    let advice = match key {
        "beginOffset" => "a number of 0 or more, seekToBeginning, seekToLast (the group's offset) or seekToEnd",
        _ => "a number of 0 or more, exclusive; for the log end write \"endType\": \"latest\" instead",
    };
    bound(section, key, parse, "is not an offset", advice)
}

fn moment<T>(section: &Section<'_>, key: &'static str, zone: &TimeZone, wrap: fn(i64) -> T) -> Option<Bound<T>> {
    let advice = "write yyyymmddhhmmss or yyyy-MM-dd HH:mm:ss";
    bound(section, key, |text| parse_moment(text, zone).map(wrap), "is not a date and time", advice)
}

fn millis<T>(section: &Section<'_>, key: &'static str, wrap: fn(i64) -> T) -> Option<Bound<T>> {
    let advice = "write milliseconds since 1970, such as 1514736000000";
    bound(section, key, |text| natural(text).map(wrap), "is not a timestamp", advice)
}

fn bound<T>(
    section: &Section<'_>,
    key: &'static str,
    parse: impl Fn(&str) -> Option<T>,
    wrong: &str,
    advice: &str,
) -> Option<Bound<T>> {
    if !section.has(key) {
        return None;
    }
    let Some(text) = section.text(key) else {
        return Some(Bound { key, value: None, place: section.place().clone() });
    };
    let value = parse(&text.value);
    if value.is_none() {
        section.error_with(key, &text.place, format!("{} {wrong}", shown(&text.value)), advice);
    }
    Some(Bound { key, value, place: text.place })
}

/// The only bound of a side; none or several are reported.
fn exactly_one<T>(
    section: &Section<'_>,
    key: &'static str,
    bounds: Vec<Option<Bound<T>>>,
    advice: &str,
) -> Option<Found<T>> {
    let mut given: Vec<Bound<T>> = bounds.into_iter().flatten().collect();
    match given.len() {
        0 => {
            let side = key.trim_end_matches("Offset");
            section.error_with(key, section.place(), format!("the job does not say where to {side}"), advice);
            None
        }
        1 => given.pop().and_then(|bound| bound.value.map(|value| Found { value, place: bound.place })),
        _ => {
            let keys: Vec<&str> = given.iter().map(|bound| bound.key).collect();
            let message = format!("contradicts itself: {} are given together", keys.join(" and "));
            if let Some(last) = given.last() {
                section.error_with(last.key, &last.place, message, advice);
            }
            None
        }
    }
}

/// A begin behind the end is an error, an empty range a warning; offsets and times are compared with their own kind.
fn check_order(section: &Section<'_>, begin: &Found<Begin>, end: &Found<End>, report: &Report) -> Option<()> {
    let (first, last, key) = match (begin.value, end.value) {
        (Begin::Offset(first), End::Offset(last)) => (first, last, "beginOffset"),
        (Begin::Time(first), End::Time(last)) => (first, last, "beginDateTime"),
        _ => return Some(()),
    };
    if first > last {
        let message = format!("the range begins behind its end: {} comes after {}", begin.value, end.value);
        section.error_with(key, &begin.place, message, "the begin is inclusive, the end exclusive");
        return None;
    }
    if first == last {
        report.warn(&begin.place, format!("the range begins at its end ({}): there is nothing to read", begin.value));
    }
    Some(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::json;
    use super::super::zone::default_zone;
    use super::*;

    fn range(text: &str) -> Result<(Range, usize), String> {
        let report = Report::default();
        let node = json::parse(text, &report).unwrap();
        let range = read(&Section::new("R", &node, &report), &default_zone(), &report);
        match report.finish("j") {
            Ok(notes) => Ok((range.unwrap(), notes.len())),
            Err(errors) => Err(errors.to_string()),
        }
    }

    #[test]
    fn every_begin_and_end() {
        for (text, begin, end) in [
            (r#"{"beginOffset":"0","endOffset":"3"}"#, Begin::Offset(0), End::Offset(3)),
            (r#"{"beginOffset":"seektobeginning","endOffset":3}"#, Begin::LogStart, End::Offset(3)),
            (r#"{"beginOffset":"seekToLast","endType":"LATEST"}"#, Begin::Group, End::Latest),
            (r#"{"beginOffset":"seekToEnd","endTimestampMillis":5}"#, Begin::LogEnd, End::Time(5)),
            (r#"{"beginType":"earliest","endType":"latest"}"#, Begin::LogStart, End::Latest),
            (r#"{"beginType":"current","endType":"latest"}"#, Begin::Group, End::Latest),
            (
                r#"{"beginType":"specific","beginDateTime":"20180101000000","endType":"specific","endDateTime":"2018-01-01 00:00:01"}"#,
                Begin::Time(1_514_736_000_000),
                End::Time(1_514_736_001_000),
            ),
            (r#"{"beginOffset":"","beginTimestampMillis":"7","endOffset":9}"#, Begin::Time(7), End::Offset(9)),
        ] {
            let (range, notes) = range(text).unwrap();
            assert_eq!((range.begin, range.end, notes), (begin, end, 0), "{text}");
        }
    }

    #[test]
    fn exactly_one_of_each_side() {
        for (text, wanted) in [
            (r#"{"endOffset":3}"#, "j:1:1: R.beginOffset: the job does not say where to begin"),
            (r#"{"beginOffset":3}"#, "j:1:1: R.endOffset: the job does not say where to end"),
            (r#"{"beginType":"specific","endOffset":3}"#, "the job does not say where to begin"),
            (
                r#"{"beginOffset":3,"beginDateTime":"20180101000000","endOffset":3}"#,
                "j:1:34: R.beginDateTime: contradicts itself: beginOffset and beginDateTime are given together",
            ),
            (
                r#"{"beginType":"earliest","beginOffset":3,"endOffset":3}"#,
                "beginOffset and beginType are given together",
            ),
            (r#"{"beginOffset":3,"endOffset":5,"endType":"latest"}"#, "endOffset and endType are given together"),
        ] {
            let said = range(text).unwrap_err();
            assert!(said.contains(wanted) && said.matches("j:").count() == 1, "{text}: {said}");
        }
    }

    #[test]
    fn bounds_that_cannot_be_read() {
        for (text, wanted) in [
            (r#"{"beginOffset":"-1","endOffset":3}"#, "R.beginOffset: \"-1\" is not an offset"),
            (r#"{"beginOffset":"seekToFirst","endOffset":3}"#, "\"seekToFirst\" is not an offset"),
            (r#"{"beginOffset":0,"endOffset":"seekToEnd"}"#, "R.endOffset: \"seekToEnd\" is not an offset"),
            (r#"{"beginDateTime":"yesterday","endOffset":3}"#, "R.beginDateTime: \"yesterday\" is not a date and time"),
            (r#"{"beginOffset":0,"endTimestampMillis":-5}"#, "\"-5\" is not a timestamp"),
            (r#"{"beginOffset":0,"endType":"newest"}"#, "\"newest\" is not one of specific, latest"),
            (r#"{"beginOffset":[0],"endOffset":1}"#, "R.beginOffset: must be a text, but is a list"),
        ] {
            let said = range(text).unwrap_err();
            assert!(said.contains(wanted) && said.matches("j:").count() == 1, "{text}: {said}");
        }
    }

    #[test]
    fn a_begin_behind_the_end_is_an_error_and_an_empty_range_a_warning() {
        let said = range(r#"{"beginOffset":4,"endOffset":3}"#).unwrap_err();
        assert!(said.contains("offset 4 comes after offset 3"), "{said}");
        let said = range(r#"{"beginTimestampMillis":2000,"endTimestampMillis":1000}"#).unwrap_err();
        assert!(said.contains("1970-01-01T00:00:02Z comes after"), "{said}");
        assert_eq!(range(r#"{"beginOffset":3,"endOffset":3}"#).unwrap().1, 1);
        assert!(range(r#"{"beginOffset":4,"endTimestampMillis":3}"#).is_ok());
    }

    #[test]
    fn the_old_form_stops_on_an_empty_poll() {
        for (text, old_form, stop) in [
            (r#"{"beginOffset":0,"endOffset":3}"#, true, true),
            (r#"{"beginOffset":0,"endOffset":3,"stopWhenPollEmpty":""}"#, true, true),
            (r#"{"beginOffset":0,"endOffset":3,"stopWhenPollEmpty":"TRUE"}"#, false, true),
            (r#"{"beginOffset":0,"endOffset":3,"stopWhenPollEmpty":false}"#, false, false),
            (r#"{"beginType":"earliest","endOffset":3}"#, false, false),
            (r#"{"beginOffset":0,"endType":"latest","stopWhenPollEmpty":true}"#, false, true),
        ] {
            let (range, _) = range(text).unwrap();
            assert_eq!((range.old_form, range.stop_when_poll_empty), (old_form, stop), "{text}");
        }
    }
}
