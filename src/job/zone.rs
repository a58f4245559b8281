//! Time zones and date-times as job files write them.

use jiff::civil::{Date, DateTime};
use jiff::tz::{Offset, TimeZone};

/// The zone of a job that names none: GMT+8, as DataX's `core.json` has it.
pub(super) fn default_zone() -> TimeZone {
    Offset::from_hours(8).map_or(TimeZone::UTC, TimeZone::fixed)
}

/// A zone by its name: `Asia/Shanghai`, `UTC`, or a distance such as `GMT+8`, `UTC+08:00`, `+0800`.
///
/// # Errors
/// What is wrong with the name.
pub(super) fn parse_zone(text: &str) -> Result<TimeZone, String> {
    let name = text.trim();
    let upper = name.to_ascii_uppercase();
    let distance = ["GMT", "UTC", "Z"].iter().find_map(|prefix| upper.strip_prefix(prefix)).unwrap_or(&upper);
    if distance.is_empty() {
        return Ok(TimeZone::UTC);
    }
    if distance.starts_with(['+', '-']) {
        return parse_offset(distance).map(TimeZone::fixed).ok_or_else(|| format!("{name:?} is not a time zone"));
    }
    if upper == "CST" {
        // Java reads it as US Central time, people in China mean China Standard Time.
        return Err("\"CST\" means several zones; write Asia/Shanghai or America/Chicago".to_owned());
    }
    TimeZone::get(name).map_err(|_| format!("{name:?} is not a time zone; write Asia/Shanghai or GMT+8"))
}

/// `+8`, `+08`, `+8:30`, `+0830`, up to 18 hours.
fn parse_offset(text: &str) -> Option<Offset> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+')?),
    };
    let (hours, minutes) = match digits.split_once(':') {
        Some((hours, minutes)) if minutes.len() == 2 => (hours, minutes),
        Some(_) => return None,
        None if digits.len() > 2 => digits.split_at_checked(digits.len() - 2)?,
        None => (digits, "0"),
    };
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<i32>().ok()).flatten();
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    if hours > 18 || minutes > 59 {
        return None;
    }
    Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok()
}

/// A date-time of a range: `yyyymmddhhmmss` or `yyyy-MM-dd HH:mm:ss`, read in `zone`; milliseconds since 1970.
pub(super) fn parse_moment(text: &str, zone: &TimeZone) -> Option<i64> {
    let text = text.trim();
    let civil = if text.len() == 14 && text.bytes().all(|b| b.is_ascii_digit()) {
        parse_compact(text)?
    } else {
        let (date, time) = text.split_once(' ')?;
        let shape_fits = date.len() == 10 && time.len() == 8 && text.is_ascii();
        shape_fits.then(|| format!("{date}T{time}").parse().ok()).flatten()?
    };
    // A time that a change of clocks skips or repeats is read as jiff's "compatible" rule has it, as in Java.
    civil.to_zoned(zone.clone()).ok().map(|zoned| zoned.timestamp().as_millisecond())
}

/// `yyyymmddhhmmss`.
pub(super) fn parse_compact(text: &str) -> Option<DateTime> {
    let date = parse_compact_date(text.get(..8)?)?;
    let number = |range: std::ops::Range<usize>| digits(text.get(range)?);
    if text.len() != 14 {
        return None;
    }
    let (hour, minute, second) = (number(8..10)?, number(10..12)?, number(12..14)?);
    let time =
        jiff::civil::Time::new(i8::try_from(hour).ok()?, i8::try_from(minute).ok()?, i8::try_from(second).ok()?, 0);
    Some(date.to_datetime(time.ok()?))
}

/// `yyyymmdd`.
pub(super) fn parse_compact_date(text: &str) -> Option<Date> {
    if text.len() != 8 {
        return None;
    }
    let (year, month, day) = (digits(text.get(..4)?)?, digits(text.get(4..6)?)?, digits(text.get(6..8)?)?);
    Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
}

fn digits(text: &str) -> Option<i16> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn zones_are_read_in_all_their_spellings() {
        for name in ["GMT+8", "gmt+08", "GMT+08:00", "UTC+8", "+0800", "+8:00", "Asia/Shanghai", "asia/shanghai"] {
            assert_eq!(parse_moment("20180101000000", &parse_zone(name).unwrap()), Some(1_514_736_000_000), "{name}");
        }
        for name in ["UTC", "GMT", "Z", "+0", "UTC-00:00", "Etc/UTC"] {
            assert_eq!(parse_moment("19700101000000", &parse_zone(name).unwrap()), Some(0), "{name}");
        }
        assert_eq!(parse_moment("1970-01-01 00:00:00", &parse_zone("-5:30").unwrap()), Some(19_800_000));
        assert_eq!(default_zone(), parse_zone("GMT+8").unwrap());
        for name in ["GMT+25", "Mars/Phobos", "CST", "+8:5", "GMT+", "+é8", "+-8", "8"] {
            assert!(parse_zone(name).is_err(), "{name}");
        }
    }

    #[test]
    fn only_two_forms_are_moments() {
        let zone = TimeZone::UTC;
        assert_eq!(parse_moment(" 2018-01-02 03:04:05 ", &zone), Some(1_514_862_245_000));
        for text in
            ["20180101", "2018-01-01", "20181301000000", "2018010100000x", "2018-1-1 0:0:0", "20180101250000", "é"]
        {
            assert_eq!(parse_moment(text, &zone), None, "{text}");
        }
    }

    #[test]
    fn a_skipped_hour_is_still_a_moment() {
        let zone = parse_zone("Europe/Berlin").unwrap();
        assert_eq!(parse_moment("20240331023000", &zone), Some(1_711_848_600_000));
    }
}
