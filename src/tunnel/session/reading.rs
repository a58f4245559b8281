//! Reading a range of rows over as many requests as it takes.

use std::time::Duration;

use super::retry::{Fault, Next, Retry, RetryPolicy};

/// Follows the reading of one range of rows of a download session.
///
/// Every row carries its own checksum, so rows that came before a connection broke are good: the next request asks for the
/// rest only. Times are durations since any fixed moment.
///
/// Inputs: [`Reading::handle_row`] for each row, [`Reading::handle_fault`] when a request failed or its answer broke,
/// [`Reading::handle_end`] when an answer came to its clean end. Outputs: [`Reading::range`], what the next request asks for,
/// and the [`Next`] of [`Reading::handle_fault`], when it may be sent.
///
/// Invariant: rows delivered and rows still asked for always make up the whole range, and a request that brought at least
/// one row starts the count of failures anew, so that a large table survives any number of breaks that are apart.
#[derive(Clone, Debug)]
pub struct Reading {
    position: u64,
    left: u64,
    progressed: bool,
    policy: RetryPolicy,
    seed: u64,
    retry: Retry,
}

/// An answer that ended cleanly but does not hold what was asked for: how many rows are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShortAnswer {
    /// Rows that were asked for and did not come.
    pub missing: u64,
}

/// A row beyond those asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SurplusRow;

impl Reading {
    /// A range of `count` rows from row `start` on; `seed` spreads the pauses.
    pub fn new(start: u64, count: u64, policy: RetryPolicy, now: Duration, seed: u64) -> Self {
        let retry = Retry::new(policy, now, seed);
        Self { position: start, left: count, progressed: false, policy, seed, retry }
    }

    /// What the next request asks for: the first row and the number of rows.
    pub const fn range(&self) -> (u64, u64) {
        (self.position, self.left)
    }

    /// Failed attempts since the last row.
    pub const fn attempts(&self) -> u32 {
        self.retry.attempts()
    }

    /// Whether all rows have come.
    pub const fn is_done(&self) -> bool {
        self.left == 0
    }

    /// Takes a row.
    ///
    /// # Errors
    /// [`SurplusRow`]: the answer holds more than was asked for.
    pub fn handle_row(&mut self) -> Result<(), SurplusRow> {
        self.left = self.left.checked_sub(1).ok_or(SurplusRow)?;
        self.position = self.position.saturating_add(1);
        self.progressed = true;
        Ok(())
    }

    /// Takes the clean end of an answer.
    ///
    /// # Errors
    /// [`ShortAnswer`]: the service says that this is all, and it is not.
    pub const fn handle_end(&self) -> Result<(), ShortAnswer> {
        if self.left == 0 { Ok(()) } else { Err(ShortAnswer { missing: self.left }) }
    }

    /// Takes a failed or broken request and decides about the next one.
    pub fn handle_fault(&mut self, now: Duration, fault: Fault) -> Next {
        if std::mem::take(&mut self.progressed) {
            // The deadline of the whole range stays where it was.
            let deadline = self.retry.deadline().saturating_sub(now);
            self.retry = Retry::new(RetryPolicy { deadline, ..self.policy }, now, self.seed);
        }
        self.retry.after(now, fault)
    }
}

#[cfg(test)]
mod tests {
    use super::super::FaultClass;
    use super::*;

    const BROKEN: Fault = Fault { class: FaultClass::Server, retry_after: None };

    fn policy() -> RetryPolicy {
        RetryPolicy { retries_max: 2, deadline: Duration::from_secs(100), ..RetryPolicy::default() }
    }

    #[test]
    fn a_break_asks_for_the_rest_only() {
        let mut reading = Reading::new(10, 5, policy(), Duration::ZERO, 1);
        assert_eq!(reading.range(), (10, 5));
        for _ in 0..3 {
            assert_eq!(reading.handle_row(), Ok(()));
        }
        assert!(matches!(reading.handle_fault(Duration::ZERO, BROKEN), Next::At(_)));
        assert_eq!(reading.range(), (13, 2));
        assert_eq!(reading.handle_end(), Err(ShortAnswer { missing: 2 }));
        assert_eq!((reading.handle_row(), reading.handle_row()), (Ok(()), Ok(())));
        assert!(reading.is_done());
        assert_eq!(reading.handle_end(), Ok(()));
        assert_eq!(reading.handle_row(), Err(SurplusRow));
    }

    #[test]
    fn breaks_with_rows_between_them_do_not_add_up_and_the_deadline_stays() {
        let mut reading = Reading::new(0, 1000, policy(), Duration::ZERO, 2);
        for _ in 0..50 {
            assert_eq!(reading.handle_row(), Ok(()));
            assert!(matches!(reading.handle_fault(Duration::from_secs(50), BROKEN), Next::At(_)));
        }
        // Without a row between them they do.
        assert!(matches!(reading.handle_fault(Duration::from_secs(50), BROKEN), Next::At(_)));
        assert_eq!(reading.handle_fault(Duration::from_secs(50), BROKEN), Next::GiveUp);
        assert_eq!(reading.handle_row(), Ok(()));
        assert_eq!(reading.handle_fault(Duration::from_secs(100), BROKEN), Next::GiveUp);
    }

    #[test]
    fn a_final_fault_is_final() {
        let mut reading = Reading::new(0, 1, policy(), Duration::ZERO, 3);
        let fault = Fault { class: FaultClass::Final, retry_after: None };
        assert_eq!(reading.handle_fault(Duration::ZERO, fault), Next::GiveUp);
    }
}
