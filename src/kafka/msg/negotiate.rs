//! Which version of an API a connection uses.

use std::collections::BTreeMap;
use std::fmt;

use super::ApiKey;

/// Versions of one API, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionRange {
    /// The lowest.
    pub min: i16,
    /// The highest.
    pub max: i16,
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.min, self.max)
    }
}

/// What one broker speaks, as its `ApiVersions` answer says. Kept per connection: brokers differ during a rolling upgrade.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionTable {
    ranges: BTreeMap<i16, VersionRange>,
}

impl VersionTable {
    /// A table from (API number, range) pairs; of a repeated number the last counts.
    pub fn new(ranges: impl IntoIterator<Item = (i16, VersionRange)>) -> Self {
        Self { ranges: ranges.into_iter().collect() }
    }

    /// What the broker says about an API; none when it does not have it.
    pub fn range(&self, api: ApiKey) -> Option<VersionRange> {
        self.ranges.get(&api.code()).copied()
    }

    /// What the broker says about the API of this number, which need not be one that we speak.
    pub fn range_of(&self, code: i16) -> Option<VersionRange> {
        self.ranges.get(&code).copied()
    }

    /// The releases of Kafka that have this highest version of Fetch, which nearly every one of them has raised; none before
    /// 0.11. A broker of another make says what it likes.
    pub fn release(&self) -> Option<&'static str> {
        Some(match self.range(ApiKey::Fetch)?.max {
            ..=4 => return None,
            5 => "0.11",
            6 => "1.0",
            7 => "1.1",
            8 => "2.0",
            9 | 10 => "2.1 or 2.2",
            11 => "2.3 to 2.6",
            12 => "2.7 to 3.0",
            13 => "3.1 to 3.4",
            14 | 15 => "3.5 or 3.6",
            16 => "3.7 or 3.8",
            17 => "3.9 or 4.0",
            _ => "4.1 or later",
        })
    }

    /// The highest version of `api` that the broker has and that is not above `version_max`.
    ///
    /// # Errors
    /// [`NoCommonVersion`] with both ranges.
    pub fn pick(&self, api: ApiKey, version_max: i16) -> Result<i16, NoCommonVersion> {
        let ours = VersionRange { min: api.versions().min, max: api.versions().max.min(version_max) };
        let theirs = self.range(api);
        let version = theirs.map(|theirs| theirs.max.min(ours.max));
        match (version, theirs) {
            (Some(version), Some(theirs)) if version >= ours.min && version >= theirs.min => Ok(version),
            _ => Err(NoCommonVersion { api, ours, theirs }),
        }
    }
}

/// A broker and we have no version of an API in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoCommonVersion {
    /// The API.
    pub api: ApiKey,
    /// The versions we can use.
    pub ours: VersionRange,
    /// The broker's; none when it does not know the API.
    pub theirs: Option<VersionRange>,
}

impl fmt::Display for NoCommonVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { api, ours, theirs } = self;
        match theirs {
            Some(theirs) => write!(f, "no common version of {api}: the broker has {theirs}, forebay has {ours}"),
            None => write!(f, "the broker does not have {api}; forebay needs one of its versions {ours}"),
        }
    }
}

impl std::error::Error for NoCommonVersion {}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(min: i16, max: i16) -> VersionTable {
        VersionTable::new([(ApiKey::Fetch.code(), VersionRange { min, max })])
    }

    #[test]
    fn the_highest_common_version_wins() {
        assert_eq!(table(0, 5).pick(ApiKey::Fetch, i16::MAX), Ok(5));
        assert_eq!(table(4, 18).pick(ApiKey::Fetch, i16::MAX), Ok(ApiKey::Fetch.versions().max));
        assert_eq!(table(4, 18).pick(ApiKey::Fetch, 12), Ok(12));
    }

    #[test]
    fn no_overlap_names_the_api_and_both_ranges() {
        let text = |e: NoCommonVersion| e.to_string();
        let old = table(0, 3).pick(ApiKey::Fetch, 12).map_err(text);
        assert_eq!(old, Err("no common version of Fetch: the broker has 0 to 3, forebay has 4 to 12".to_owned()));
        assert!(table(20, 22).pick(ApiKey::Fetch, i16::MAX).is_err());
        assert!(table(13, 18).pick(ApiKey::Fetch, 12).is_err());
        let none = table(0, 5).pick(ApiKey::Metadata, i16::MAX).map_err(text);
        assert_eq!(
            none,
            Err("the broker does not have Metadata; forebay needs one of its versions 4 to 12".to_owned())
        );
        assert!(table(5, 2).pick(ApiKey::Fetch, i16::MAX).is_err());
    }
}
