//! A job's last quarter of an hour, a sample every few seconds: rates, the course of the lag, and where the time went.

use std::collections::VecDeque;

use serde::Serialize;

use super::UnixMillis;
use crate::sync::stall::Stage;

/// Time between two samples that the rates are made for, in milliseconds.
pub const SAMPLE_MS: i64 = 5_000;
/// Samples kept: a quarter of an hour and the one before.
const SAMPLES_MAX: usize = 181;
/// What "now" is a mean over, in milliseconds.
const NOW_MS: i64 = 10_000;
const MINUTE_MS: i64 = 60_000;
const QUARTER_MS: i64 = 900_000;
/// The course of the lag is judged over so long: a few commits.
const COURSE_MS: i64 = 180_000;

/// The counters of a job at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) at: UnixMillis,
    pub(super) records: u64,
    pub(super) bytes: u64,
    pub(super) committed: u64,
    pub(super) lag: Option<u64>,
    pub(super) stage_ms: [u64; 5],
}

/// The samples.
#[derive(Clone, Debug, Default)]
pub(super) struct History(VecDeque<Sample>);

/// Records, bytes and committed rows a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct RateView {
    /// Records read.
    pub records: f64,
    /// Bytes of their keys and values.
    pub bytes: f64,
    /// Rows committed.
    pub committed: f64,
}

/// How fast a job is, and where it goes to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RatesView {
    /// Over the last ten seconds.
    pub now: RateView,
    /// Over the last minute.
    pub minute: RateView,
    /// Over the last quarter of an hour.
    pub quarter: RateView,
    /// By how many records the lag grows a second; negative where it shrinks. None before it is known.
    pub lag_growth: Option<f64>,
    /// Seconds until the lag is gone at this pace; none where it does not shrink.
    pub caught_up_in_s: Option<f64>,
    /// The stage that most of the last minute went to.
    pub busiest: Option<BusiestView>,
    /// Milliseconds between two points of the two series.
    pub step_ms: i64,
    /// When the last point was.
    pub until_ms: Option<UnixMillis>,
    /// Records read a second, oldest first.
    pub records_series: Vec<u64>,
    /// The lag, oldest first; 0 where it was not known.
    pub lag_series: Vec<u64>,
}

/// The stage that most time went to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct BusiestView {
    /// The stage.
    pub stage: &'static str,
    /// Its share of the time of all stages, 0 to 1.
    pub share: f64,
    /// Whether it is work of this process; else somebody is waited for.
    pub is_work: bool,
}

fn per_second(count: u64, ms: i64) -> f64 {
    if ms <= 0 { 0.0 } else { round(count as f64 * 1000.0 / ms as f64) }
}

/// To three decimals, which is more than anyone reads.
fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

impl History {
    pub(super) fn push(&mut self, sample: Sample) {
        // A clock that was set back begins a new account.
        if self.0.back().is_some_and(|last| last.at >= sample.at) {
            self.0.clear();
        }
        while self.0.len() >= SAMPLES_MAX {
            self.0.pop_front();
        }
        self.0.push_back(sample);
    }

    /// The oldest sample that is not older than this before the last one, and the last one.
    fn over(&self, ms: i64) -> Option<(&Sample, &Sample)> {
        let last = self.0.back()?;
        // Samples come a little late; half a step is let pass.
        let since = last.at.saturating_sub(ms).saturating_sub(SAMPLE_MS / 2);
        let first = self.0.iter().find(|sample| sample.at >= since)?;
        (first.at < last.at).then_some((first, last))
    }

    fn rate(&self, ms: i64) -> RateView {
        let Some((first, last)) = self.over(ms) else { return RateView::default() };
        let took = last.at.saturating_sub(first.at);
        let rate = |of: fn(&Sample) -> u64| per_second(of(last).saturating_sub(of(first)), took);
        RateView {
            records: rate(|sample| sample.records),
            bytes: rate(|sample| sample.bytes),
            committed: rate(|sample| sample.committed),
        }
    }

    fn lag_growth(&self) -> Option<f64> {
        let (first, last) = self.over(COURSE_MS)?;
        let seconds = last.at.saturating_sub(first.at) as f64 / 1000.0;
        let (before, after) = (first.lag? as f64, last.lag? as f64);
        Some(round((after - before) / seconds))
    }

    fn busiest(&self) -> Option<BusiestView> {
        let (first, last) = self.over(MINUTE_MS)?;
        let took = |stage: &Stage| {
            let of = |sample: &Sample| sample.stage_ms.get(*stage as usize).copied().unwrap_or(0);
            of(last).saturating_sub(of(first))
        };
        let all: u64 = Stage::ALL.iter().map(took).sum();
        let stage = Stage::ALL.into_iter().max_by_key(took)?;
        let share = round(took(&stage) as f64 / all.max(1) as f64);
        (all > 0).then_some(BusiestView { stage: stage.label(), share, is_work: stage.is_work() })
    }

    pub(super) fn view(&self) -> RatesView {
        let lag = self.0.back().and_then(|last| last.lag);
        let lag_growth = self.lag_growth();
        let pairs = self.0.iter().zip(self.0.iter().skip(1));
        RatesView {
            now: self.rate(NOW_MS),
            minute: self.rate(MINUTE_MS),
            quarter: self.rate(QUARTER_MS),
            lag_growth,
            caught_up_in_s: match (lag, lag_growth) {
                (Some(0), _) => Some(0.0),
                (Some(lag), Some(growth)) if growth < 0.0 => Some(round(lag as f64 / -growth)),
                _ => None,
            },
            busiest: self.busiest(),
            step_ms: SAMPLE_MS,
            until_ms: self.0.back().map(|last| last.at),
            records_series: pairs
                .map(|(one, next)| {
                    let ms = u64::try_from(next.at.saturating_sub(one.at)).unwrap_or(0).max(1);
                    next.records.saturating_sub(one.records).saturating_mul(1000) / ms
                })
                .collect(),
            lag_series: self.0.iter().skip(1).map(|sample| sample.lag.unwrap_or(0)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(samples: &[(i64, u64, Option<u64>)]) -> History {
        let mut history = History::default();
        for (at, records, lag) in samples {
            history.push(Sample { at: *at, records: *records, lag: *lag, ..Sample::default() });
        }
        history
    }

    #[test]
    fn rates_are_means_over_what_there_is() {
        let view =
            history(&[(0, 0, None), (5_000, 500, Some(900)), (10_000, 1_000, Some(800)), (15_010, 3_000, Some(600))]);
        let view = view.view();
        assert_eq!(view.now.records, per_second(2_500, 10_010));
        assert_eq!(view.minute.records, per_second(3_000, 15_010));
        assert_eq!(view.quarter, view.minute);
        assert_eq!(view.records_series, [100, 100, 399]);
        assert_eq!(view.lag_series, [900, 800, 600]);
        assert_eq!((view.lag_growth, view.caught_up_in_s), (None, None), "where it began is not known");
    }

    #[test]
    fn a_lag_that_shrinks_has_an_end() {
        let view = history(&[(0, 0, Some(1_000)), (10_000, 0, Some(600))]).view();
        assert_eq!((view.lag_growth, view.caught_up_in_s), (Some(-40.0), Some(15.0)));
        let view = history(&[(0, 0, Some(600)), (10_000, 0, Some(1_000))]).view();
        assert_eq!((view.lag_growth, view.caught_up_in_s), (Some(40.0), None));
        let view = history(&[(0, 0, Some(0)), (10_000, 0, Some(0))]).view();
        assert_eq!(view.caught_up_in_s, Some(0.0));
    }

    #[test]
    fn no_sample_no_rate_and_a_clock_set_back_begins_anew() {
        assert_eq!(History::default().view().now, RateView::default());
        let view = history(&[(50_000, 10_000, Some(1)), (20_000, 10_000, Some(1))]).view();
        assert_eq!((view.now, view.records_series.len()), (RateView::default(), 0));
        let many: Vec<_> = (0..500).map(|n| (n * SAMPLE_MS, 10 * n.unsigned_abs(), Some(0))).collect();
        let view = history(&many).view();
        assert_eq!((view.records_series.len(), view.quarter.records), (SAMPLES_MAX - 1, 2.0));
    }

    #[test]
    fn the_busiest_stage_is_that_of_the_last_minute() {
        let mut history = History::default();
        history.push(Sample { at: 0, stage_ms: [90_000, 0, 0, 0, 0], ..Sample::default() });
        history.push(Sample { at: 60_000, stage_ms: [100_000, 0, 5_000, 45_000, 0], ..Sample::default() });
        let busiest = history.view().busiest;
        assert_eq!(busiest, Some(BusiestView { stage: "upload", share: 0.75, is_work: false }));
    }
}
