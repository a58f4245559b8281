//! The state of an upload session, as its service tells it.

use serde::Deserialize;

/// The state of an upload session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UploadStatus {
    /// The service does not know, or said a word that we do not know.
    Unknown,
    /// Open: takes blocks and a commit.
    Normal,
    /// A commit is running.
    Closing,
    /// Committed.
    Closed,
    /// Over without a commit: too old.
    Expired,
    /// Over without a commit: cancelled.
    Canceled,
    /// Over without a commit: broken.
    Critical,
}

impl UploadStatus {
    /// Reads the service's word, in any case.
    pub fn parse(word: &str) -> Self {
        match word.trim().to_ascii_lowercase().as_str() {
            "normal" => Self::Normal,
            "closing" | "committing" => Self::Closing,
            "closed" | "committed" => Self::Closed,
            "expired" => Self::Expired,
            "canceled" | "cancelled" | "aborted" => Self::Canceled,
            "critical" => Self::Critical,
            _ => Self::Unknown,
        }
    }

    /// Whether the session can never be committed any more.
    pub const fn is_dead(self) -> bool {
        matches!(self, Self::Expired | Self::Canceled | Self::Critical)
    }
}

impl std::fmt::Display for UploadStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown",
            Self::Normal => "normal",
            Self::Closing => "closing",
            Self::Closed => "closed",
            Self::Expired => "expired",
            Self::Canceled => "canceled",
            Self::Critical => "critical",
        })
    }
}

/// One block that a session holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct UploadedBlock {
    /// The block's id, 0 to 19,999.
    #[serde(rename = "BlockID")]
    pub id: u32,
    /// Rows in the block; `None` when the service does not say.
    #[serde(rename = "RecordCount", default)]
    pub records: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_in_any_case() {
        assert_eq!(UploadStatus::parse("NORMAL"), UploadStatus::Normal);
        assert_eq!(UploadStatus::parse("Committing"), UploadStatus::Closing);
        assert_eq!(UploadStatus::parse("closed"), UploadStatus::Closed);
        assert_eq!(UploadStatus::parse("what"), UploadStatus::Unknown);
        assert!(UploadStatus::parse("EXPIRED").is_dead() && !UploadStatus::Closing.is_dead());
    }
}
