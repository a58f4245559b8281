//! Which release of Kafka's tools to print like.

use std::fmt;
use std::str::FromStr;

use crate::kafka::VersionTable;

/// A release, such as 2.3; the patch level changes no layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Release {
    major: u8,
    minor: u8,
}

impl Release {
    pub(super) const V1_0: Self = Self::new(1, 0);
    pub(super) const V1_1: Self = Self::new(1, 1);
    pub(super) const V2_0: Self = Self::new(2, 0);
    pub(super) const V2_1: Self = Self::new(2, 1);
    pub(super) const V2_2: Self = Self::new(2, 2);
    pub(super) const V2_3: Self = Self::new(2, 3);
    pub(super) const V2_4: Self = Self::new(2, 4);
    pub(super) const V2_6: Self = Self::new(2, 6);
    pub(super) const V2_7: Self = Self::new(2, 7);
    pub(super) const V2_8: Self = Self::new(2, 8);
    pub(super) const V3_0: Self = Self::new(3, 0);
    pub(super) const V3_8: Self = Self::new(3, 8);
    pub(super) const V4_0: Self = Self::new(4, 0);
    /// The newest tools.
    pub(super) const NEWEST: Self = Self::new(4, 3);

    pub(super) const fn new(major: u8, minor: u8) -> Self {
        Self { major, minor }
    }

    /// The release that speaks these requests; the lowest, where several do.
    pub(super) fn of(versions: &VersionTable) -> Self {
        let has = |code: i16| versions.range_of(code).is_some();
        let reaches = |code: i16, version: i16| versions.range_of(code).is_some_and(|range| range.max >= version);
        let newest = versions.range_of(2).is_some_and(|range| range.min >= 1);
        let marks = [
            // ListOffsets v0 went with 4.0 (Produce v0 is still announced there); later releases change no layout.
            (newest, Self::NEWEST),
            // DescribeTopicPartitions.
            (has(75), Self::V3_8),
            // DescribeTransactions, DescribeCluster, DescribeUserScramCredentials, DescribeClientQuotas.
            (has(65), Self::V3_0),
            (has(60), Self::V2_8),
            (has(50), Self::V2_7),
            (has(48), Self::V2_6),
            // OffsetDelete, IncrementalAlterConfigs, ElectLeaders.
            (has(47), Self::V2_4),
            (has(44), Self::V2_3),
            (has(43), Self::V2_2),
            // Fetch v10 and v8, DeleteGroups.
            (reaches(1, 10), Self::V2_1),
            (reaches(1, 8), Self::V2_0),
            (has(42), Self::V1_1),
        ];
        marks.iter().find(|(is_there, _)| *is_there).map_or(Self::V1_0, |(_, release)| *release)
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// What `--compat` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compat {
    /// As the brokers' own release.
    Auto,
    /// As this one.
    Like(Release),
}

impl FromStr for Compat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let mut parts = text.split('.');
        let number = |part: Option<&str>| part.map_or(Some(None), |part| part.parse::<u8>().ok().map(Some));
        match (number(parts.next()), number(parts.next()), number(parts.next()), parts.next()) {
            (Some(Some(major)), Some(minor), Some(_), None) => {
                // "4" is the newest 4.x that is known.
                let minor = minor.unwrap_or(if major == Release::NEWEST.major { Release::NEWEST.minor } else { 0 });
                Ok(Self::Like(Release::new(major, minor)))
            }
            _ => Err("auto, or a release of Kafka such as 1.0.1, 2.8 or 4".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::msg::VersionRange;

    #[test]
    fn releases_are_read_and_ordered() {
        assert_eq!("1.0.1".parse(), Ok(Compat::Like(Release::V1_0)));
        assert_eq!("4".parse(), Ok(Compat::Like(Release::NEWEST)));
        assert_eq!("3".parse(), Ok(Compat::Like(Release::V3_0)));
        assert_eq!("auto".parse(), Ok(Compat::Auto));
        assert!("1.0.1.2".parse::<Compat>().is_err() && "x".parse::<Compat>().is_err());
        assert!(Release::V1_0 < Release::V1_1 && Release::V2_8 < Release::V3_0);
    }

    #[test]
    fn a_broker_s_requests_tell_its_release() {
        let table = |apis: &[(i16, i16, i16)]| {
            VersionTable::new(apis.iter().map(|(code, min, max)| (*code, VersionRange { min: *min, max: *max })))
        };
        assert_eq!(Release::of(&table(&[(0, 0, 5), (1, 0, 6), (2, 0, 2), (36, 0, 0)])), Release::V1_0);
        assert_eq!(Release::of(&table(&[(0, 0, 5), (1, 0, 7), (42, 0, 0)])), Release::V1_1);
        assert_eq!(Release::of(&table(&[(0, 0, 9), (1, 0, 12), (60, 0, 0), (47, 0, 0)])), Release::V2_8);
        assert_eq!(Release::of(&table(&[(0, 0, 13), (1, 4, 17), (2, 1, 11), (75, 0, 0)])), Release::NEWEST);
    }
}
