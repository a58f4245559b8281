//! How far a run is, for somebody who watches it: numbers, and the one line that a terminal shows.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::stats::Snapshot;

/// A run at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// The counters.
    pub stats: Snapshot,
    /// Records read a second, of late.
    pub records_per_second: f64,
    /// Bytes read a second, of late.
    pub bytes_per_second: f64,
    /// Offsets that are left to read, where that is known.
    pub left: Option<u64>,
    /// Who waits, and on whom, once that takes long.
    pub stalled: Option<String>,
}

/// Is told how far a run is, a few times a second.
#[derive(Clone)]
pub struct Watcher(Arc<dyn Fn(&Progress) + Send + Sync>);

impl Watcher {
    /// Calls `told`, which must not wait.
    pub fn new(told: impl Fn(&Progress) + Send + Sync + 'static) -> Self {
        Self(Arc::new(told))
    }

    pub(super) fn tell(&self, progress: &Progress) {
        (self.0)(progress);
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watcher")
    }
}

/// Speed over the last seconds.
#[derive(Debug, Default)]
pub(super) struct Pace(VecDeque<(Instant, u64, u64)>);

impl Pace {
    /// How much of the past counts.
    const SPAN: Duration = Duration::from_secs(5);

    /// Takes the counters of `now`; gives records and bytes a second.
    pub(super) fn handle(&mut self, now: Instant, records: u64, bytes: u64) -> (f64, f64) {
        self.0.push_back((now, records, bytes));
        while self.0.len() > 2
            && self.0.get(1).is_some_and(|(at, _, _)| now.saturating_duration_since(*at) >= Self::SPAN)
        {
            self.0.pop_front();
        }
        let Some((at, old_records, old_bytes)) = self.0.front() else { return (0.0, 0.0) };
        let seconds = now.saturating_duration_since(*at).as_secs_f64();
        if seconds <= 0.0 {
            return (0.0, 0.0);
        }
        let rate = |new: u64, old: u64| new.saturating_sub(old) as f64 / seconds;
        (rate(records, *old_records), rate(bytes, *old_bytes))
    }
}

impl Progress {
    /// The line: `orders  12.4M rows  41,000/s  38.1 MB/s  lag 1,204  eta 3m`, or who waits.
    pub fn line(&self, job: &str) -> String {
        let rows = count(self.stats.rows_encoded);
        let mut line = format!("{job}  {rows} rows");
        let rate = self.records_per_second.round();
        // A rate is far below what 64 bits hold, and never negative.
        line.push_str(&format!("  {}/s  {:.1} MB/s", count(rate as u64), self.bytes_per_second / 1e6));
        if let Some(left) = self.left {
            line.push_str(&format!("  lag {}", count(left)));
            if left > 0 && rate >= 1.0 {
                line.push_str(&format!("  eta {}", short((left as f64 / rate).ceil() as u64)));
            }
        }
        if self.stats.dirty_records > 0 {
            line.push_str(&format!("  {} dirty", count(self.stats.dirty_records)));
        }
        if let Some(stalled) = &self.stalled {
            line.push_str(&format!("  {stalled}"));
        }
        line
    }
}

/// `999`, `12,345`, `12.4M`, `3.1G`.
fn count(number: u64) -> String {
    match number {
        1_000_000_000.. => format!("{}.{}G", number / 1_000_000_000, number / 100_000_000 % 10),
        1_000_000.. => format!("{}.{}M", number / 1_000_000, number / 100_000 % 10),
        1_000.. => format!("{},{:03}", number / 1_000, number % 1_000),
        _ => number.to_string(),
    }
}

/// `12s`, `3m`, `2h`, `4d`, rounded up.
fn short(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds.div_ceil(60)),
        3_600..172_800 => format!("{}h", seconds.div_ceil(3_600)),
        _ => format!("{}d", seconds.div_ceil(86_400)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_and_how_long() {
        let stats = Snapshot { rows_encoded: 12_400_000, dirty_records: 3, ..Snapshot::default() };
        let progress = Progress {
            stats,
            records_per_second: 41_000.4,
            bytes_per_second: 38_100_000.0,
            left: Some(1_204_000),
            stalled: None,
        };
        assert_eq!(progress.line("orders"), "orders  12.4M rows  41,000/s  38.1 MB/s  lag 1.2M  eta 30s  3 dirty");
        let still =
            Progress { stalled: Some("lane 0 has waited in upload for 40 s: block 2".into()), ..Progress::default() };
        assert_eq!(still.line("j"), "j  0 rows  0/s  0.0 MB/s  lane 0 has waited in upload for 40 s: block 2");
        let unknown = Progress { left: Some(12_345), ..Progress::default() };
        assert_eq!(unknown.line("j"), "j  0 rows  0/s  0.0 MB/s  lag 12,345");
    }

    #[test]
    fn the_pace_is_that_of_the_last_seconds() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut pace = Pace::default();
        assert_eq!(pace.handle(start, 0, 0), (0.0, 0.0));
        assert_eq!(pace.handle(start + second, 100, 1_000), (100.0, 1_000.0));
        for n in 2..20 {
            pace.handle(start + n * second, 100, 1_000);
        }
        assert_eq!(pace.handle(start + 20 * second, 100, 1_000), (0.0, 0.0));
    }

    #[test]
    fn times_are_short() {
        for (seconds, wanted) in [(0, "0s"), (59, "59s"), (61, "2m"), (3_601, "2h"), (200_000, "3d")] {
            assert_eq!(short(seconds), wanted);
        }
    }
}
