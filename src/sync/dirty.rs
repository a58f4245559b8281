//! Records that cannot become rows: counted, the first ten shown, and a limit that stops the job before it commits.
//!
//! Rules of "Job semantics", sections 5.2 and 7.1; the log form is DataX's.

use serde_json::json;

use super::convert::Dirty;
use crate::job::DirtyLimit;
use crate::kafka::record::Record;

/// Records shown in the log; the rest is counted only.
pub const SHOWN_MAX: u64 = 10;

/// Bytes of a value that the log shows.
const RAW_BYTES_SHOWN_MAX: usize = 1024;

/// The limit was passed: nothing may be committed.
#[derive(Clone, Debug, PartialEq)]
pub struct LimitPassed {
    /// Dirty records so far.
    pub dirty: u64,
    /// Records read so far.
    pub read: u64,
    /// The limit.
    pub limit: DirtyLimit,
}

impl std::fmt::Display for LimitPassed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.limit.records, self.limit.percentage) {
            (Some(limit), _) => write!(
                f,
                "脏数据条数检查不通过，限制是[{limit}]条，但实际上捕获了[{}]条. (dirty records: the limit is {limit}, found {})",
                self.dirty, self.dirty
            ),
            (None, share) => write!(
                f,
                "脏数据百分比检查不通过，限制是[{}]，但实际上捕获到[{}]. (dirty records: {} of {} read, the limit is a share of {})",
                share.unwrap_or_default(),
                share_of(self.dirty, self.read),
                self.dirty,
                self.read,
                share.unwrap_or_default()
            ),
        }
    }
}

/// Checks the limit by count after each dirty record.
///
/// # Errors
/// [`LimitPassed`] when more than the allowed number are dirty.
pub const fn check_count(limit: DirtyLimit, dirty: u64, read: u64) -> Result<(), LimitPassed> {
    match limit.records {
        Some(allowed) if dirty > allowed => Err(LimitPassed { dirty, read, limit }),
        _ => Ok(()),
    }
}

/// Checks both limits once everything has been read. The share counts only where no number is given.
///
/// # Errors
/// [`LimitPassed`].
pub fn check_at_end(limit: DirtyLimit, dirty: u64, read: u64) -> Result<(), LimitPassed> {
    check_count(limit, dirty, read)?;
    match (limit.records, limit.percentage) {
        (None, Some(share)) if share_of(dirty, read) > share => Err(LimitPassed { dirty, read, limit }),
        _ => Ok(()),
    }
}

fn share_of(dirty: u64, read: u64) -> f64 {
    // Counts far below 2^53.
    if read == 0 { 0.0 } else { dirty as f64 / read as f64 }
}

/// One dirty record as DataX logs it, with its place in the topic.
pub fn log_text(topic: &str, partition: i32, record: &Record<'_>, dirty: &Dirty) -> String {
    let raw = record.value.unwrap_or_default();
    let shown = raw.get(..RAW_BYTES_SHOWN_MAX).unwrap_or(raw);
    let text = json!({
        "type": "WRITER",
        "message": format!("topic \"{topic}\" partition {partition} offset {}: {dirty}", record.offset),
        "record": [{
            "byteSize": raw.len(),
            "index": dirty.source_index,
            "rawData": String::from_utf8_lossy(shown),
            "type": dirty.target_type.to_uppercase(),
        }],
    });
    format!("脏数据: \n{text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_more_than_the_number() {
        let limit = |records, percentage| DirtyLimit { records, percentage };
        assert!(check_count(limit(Some(0), None), 0, 9).is_ok());
        assert!(check_count(limit(Some(0), None), 1, 9).is_err());
        assert!(check_count(limit(Some(2), None), 2, 9).is_ok());
        assert!(check_count(limit(None, None), 1_000, 1_000).is_ok());
        assert!(check_at_end(limit(None, Some(0.5)), 5, 10).is_ok());
        assert!(check_at_end(limit(None, Some(0.5)), 6, 10).is_err());
        assert!(check_at_end(limit(Some(9), Some(0.0)), 9, 10).is_ok(), "the share counts only without a number");
        assert!(check_at_end(limit(None, Some(0.0)), 0, 0).is_ok());
    }

    #[test]
    fn the_message_is_the_one_people_search_for() {
        let error = check_count(DirtyLimit { records: Some(1), percentage: None }, 2, 9).unwrap_err_text();
        assert!(error.starts_with("脏数据条数检查不通过，限制是[1]条，但实际上捕获了[2]条."), "{error}");
    }

    trait ErrText {
        fn unwrap_err_text(self) -> String;
    }

    impl ErrText for Result<(), LimitPassed> {
        fn unwrap_err_text(self) -> String {
            self.err().map(|e| e.to_string()).unwrap_or_default()
        }
    }
}
