//! Date and time text of job data, into the instants and days that Tunnel carries.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// What a text says about a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// A wall-clock time without a zone.
    Civil(DateTime),
    /// A moment with its offset from UTC written beside it.
    Instant(Timestamp),
}

impl Moment {
    /// Reads `yyyy-MM-dd HH:mm:ss[.fraction]`, `yyyy-MM-dd`, `yyyyMMdd`, or ISO 8601 with or without a zone. `None` for all
    /// else, a time without a date included.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.len() == 8 && text.bytes().all(|b| b.is_ascii_digit()) {
            let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<i16>().ok();
            let (month, day) = (i8::try_from(number(4..6)?).ok()?, i8::try_from(number(6..8)?).ok()?);
            return Date::new(number(0..4)?, month, day).ok().map(|date| Self::Civil(date.into()));
        }
        // A date starts with four digits and a dash; this keeps out the other forms that the parser knows.
        let bytes = text.as_bytes();
        if bytes.get(4) != Some(&b'-') || bytes.get(7) != Some(&b'-') || !bytes.iter().take(4).all(u8::is_ascii_digit) {
            return None;
        }
        if let Ok(instant) = text.parse::<Timestamp>() {
            return Some(Self::Instant(instant));
        }
        if text.contains('[') {
            return text.parse::<Zoned>().ok().map(|zoned| Self::Instant(zoned.timestamp()));
        }
        // A trailing zone that did not parse as an instant must not be dropped silently.
        let clock = text.get(10..).unwrap_or_default();
        if clock.contains(['Z', 'z', '+', '-']) {
            return None;
        }
        if let Ok(civil) = text.parse::<DateTime>() {
            return Some(Self::Civil(civil));
        }
        text.parse::<Date>().ok().map(|date| Self::Civil(date.into()))
    }

    /// A moment given in milliseconds since 1970.
    pub(super) fn from_millis(millis: i64) -> Option<Self> {
        Timestamp::from_millisecond(millis).ok().map(Self::Instant)
    }

    /// The instant; a wall-clock time is read in `zone`, the earlier one where a clock change repeats it.
    pub(super) fn instant(&self, zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Self::Instant(instant) => Some(*instant),
            Self::Civil(civil) => zone.to_ambiguous_zoned(*civil).compatible().ok().map(|zoned| zoned.timestamp()),
        }
    }

    /// The wall-clock time; an instant is shown in `zone`.
    pub(super) fn civil(&self, zone: &TimeZone) -> DateTime {
        match self {
            Self::Instant(instant) => zone.to_datetime(*instant),
            Self::Civil(civil) => *civil,
        }
    }
}

/// Days from 1970-01-01.
pub(super) fn epoch_days(date: Date) -> i64 {
    let (year, month, day) = (i64::from(date.year()), i64::from(date.month()), i64::from(date.day()));
    // Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", days_from_civil.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Seconds since 1970, floored, and the nanoseconds above them.
pub(super) fn seconds_and_nanos(instant: Timestamp) -> (i64, i32) {
    let (seconds, nanos) = (instant.as_second(), instant.subsec_nanosecond());
    if nanos < 0 { (seconds - 1, nanos + 1_000_000_000) } else { (seconds, nanos) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn beijing() -> TimeZone {
        TimeZone::fixed(jiff::tz::offset(8))
    }

    fn millis(text: &str) -> Option<i64> {
        Moment::parse(text)?.instant(&beijing()).map(Timestamp::as_millisecond)
    }

    #[test]
    fn the_forms_a_job_may_hold() {
        assert_eq!(millis("1970-01-01 08:00:00"), Some(0));
        assert_eq!(millis("1970-01-01 08:00:00.5"), Some(500));
        assert_eq!(millis("1970-01-01"), Some(-28_800_000));
        assert_eq!(millis("19700101"), Some(-28_800_000));
        assert_eq!(millis("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(millis("1970-01-01T08:00:00+08:00"), Some(0));
        assert_eq!(millis("1970-01-01T08:00:00"), Some(0));
        for text in [
            "08:00:00",
            "",
            "1970",
            "1970-13-01",
            "19700132",
            "1970-01-01 25:00:00",
            "yesterday",
            "1970-01-01 08:00:00 GMT+8",
        ] {
            assert_eq!(millis(text), None, "{text}");
        }
    }

    #[test]
    fn days_and_floored_seconds() {
        let days = |y, m, d| epoch_days(Date::new(y, m, d).unwrap());
        assert_eq!(days(1970, 1, 1), 0);
        assert_eq!(days(1900, 1, 1), -25_567);
        assert_eq!(days(2024, 2, 29), 19_782);
        assert_eq!(days(1, 1, 1), -719_162);
        let half = Timestamp::from_millisecond(-500).unwrap();
        assert_eq!(seconds_and_nanos(half), (-1, 500_000_000));
    }
}
