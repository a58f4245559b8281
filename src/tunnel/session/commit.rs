//! From "all blocks are sent" to a certain outcome.

use std::collections::BTreeMap;
use std::time::Duration;

use super::retry::{Fault, FaultClass, Next, Retry, RetryPolicy};
use super::status::{UploadStatus, UploadedBlock};

/// What the machine wants to be asked of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitRequest {
    /// GET the session with its block list.
    Blocks,
    /// GET the session; the block list is not needed.
    Status,
    /// POST the commit.
    Commit,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitAnswer {
    /// The session as the service describes it; a missing status is [`UploadStatus::Unknown`], a missing list is empty.
    Session {
        /// The state.
        status: UploadStatus,
        /// The blocks it holds.
        blocks: Vec<UploadedBlock>,
    },
    /// The service says that the session's state does not allow the request (`StatusConflict`).
    Conflict,
    /// The service does not know the session (`NoSuchUpload`).
    Gone,
    /// Any other failure, the missing answer included.
    Failed(Fault),
}

/// Why a commit ended without certainty of success.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommitFailure {
    /// Not committed: the session holds other blocks than were sent.
    BlockMismatch {
        /// Blocks that were sent and are not there.
        missing: Vec<u32>,
        /// Blocks that are there and were not sent.
        stray: Vec<u32>,
        /// Blocks with another number of rows: id, rows sent, rows there.
        recounted: Vec<(u32, u64, u64)>,
    },
    /// Not committed: the session is over.
    Dead(UploadStatus),
    /// Not committed: the service does not know the session.
    Gone,
    /// Not committed: the service refused, or kept failing before a commit could have had an effect. The caller's last error
    /// says why.
    NotCommitted,
    /// A commit was sent, or is running, and asking did not settle what came of it.
    UnknownOutcome,
}

/// Commits one upload session, exactly once, whatever gets lost on the way.
///
/// The order: GET the block list and compare it with what was sent, POST the commit (which carries no list, so the comparison is
/// the only protection from a stray block), and after any answer but "closed" GET the session: CLOSED is success, CLOSING
/// is polled, NORMAL is committed again, and no error text decides anything. A session that is found CLOSED at the start,
/// since an earlier process committed it, is success too.
///
/// Inputs: [`Commit::handle_answer`] for each request taken, [`Commit::handle_timeout`] when the time given by
/// [`Commit::poll_timeout`] has come. Outputs, to be drained after any input: [`Commit::poll_outcome`],
/// [`Commit::poll_request`], [`Commit::poll_timeout`]. Invariant: at most one request is in flight, and "not committed" is
/// said only if no POST can still take effect.
#[derive(Clone, Debug)]
pub struct Commit {
    /// Block ids and, where known, the rows sent.
    expected: BTreeMap<u32, Option<u64>>,
    policy: RetryPolicy,
    deadline: Duration,
    seed: u64,
    state: State,
    /// The block list was compared and found equal.
    compared: bool,
    /// Times the list was read again because blocks were missing.
    relists: u32,
    /// A POST may have taken effect, or may still.
    in_doubt: bool,
    /// No further POST will be made: refused for good, or repeated often enough.
    posts_over: bool,
    asks: Retry,
    posts: Retry,
    poll_pause: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Ready(CommitRequest),
    InFlight(CommitRequest),
    Waiting { until: Duration, then: CommitRequest },
    Done(Result<(), CommitFailure>),
}

/// Times a list that lacks blocks is read again: a block that was answered 200 is expected in it, and a listing that lags for a
/// moment must not fail a job.
const RELISTS_MAX: u32 = 2;
const RELIST_PAUSE: Duration = Duration::from_secs(1);
const POLL_PAUSE_FIRST: Duration = Duration::from_millis(500);
const POLL_PAUSE_MAX: Duration = Duration::from_secs(10);

impl Commit {
    /// A commit of exactly the blocks in `expected` (id, and the number of rows where the caller knows it), starting at `now`.
    /// No blocks at all is a legal commit: with `overwrite` it empties the target.
    pub fn new(
        expected: impl IntoIterator<Item = (u32, Option<u64>)>,
        policy: RetryPolicy,
        now: Duration,
        seed: u64,
    ) -> Self {
        Self {
            expected: expected.into_iter().collect(),
            policy,
            deadline: now.saturating_add(policy.deadline),
            seed,
            state: State::Ready(CommitRequest::Blocks),
            compared: false,
            relists: 0,
            in_doubt: false,
            posts_over: false,
            asks: Retry::new(policy, now, seed),
            posts: Retry::new(policy, now, seed.rotate_left(32)),
            poll_pause: POLL_PAUSE_FIRST,
        }
    }

    /// The result, once there is one.
    pub fn poll_outcome(&self) -> Option<Result<(), CommitFailure>> {
        match &self.state {
            State::Done(outcome) => Some(outcome.clone()),
            _ => None,
        }
    }

    /// The request to send now, if any; its answer goes to [`Commit::handle_answer`].
    pub fn poll_request(&mut self) -> Option<CommitRequest> {
        let State::Ready(request) = self.state else { return None };
        self.state = State::InFlight(request);
        Some(request)
    }

    /// When to call [`Commit::handle_timeout`], if there is something to wait for.
    pub const fn poll_timeout(&self) -> Option<Duration> {
        match self.state {
            State::Waiting { until, .. } => Some(until),
            _ => None,
        }
    }

    /// The time that [`Commit::poll_timeout`] gave has come.
    pub fn handle_timeout(&mut self, now: Duration) {
        if let State::Waiting { until, then } = self.state
            && now >= until
        {
            self.state = State::Ready(then);
        }
    }

    /// The answer to the request in flight; ignored when there is none.
    pub fn handle_answer(&mut self, now: Duration, answer: CommitAnswer) {
        let State::InFlight(request) = self.state else { return };
        match request {
            CommitRequest::Blocks | CommitRequest::Status => self.asked(now, request, answer),
            CommitRequest::Commit => self.posted(now, answer),
        }
    }

    fn asked(&mut self, now: Duration, request: CommitRequest, answer: CommitAnswer) {
        let (status, blocks) = match answer {
            CommitAnswer::Session { status: UploadStatus::Unknown, .. } | CommitAnswer::Conflict => {
                return self.ask_failed(now, request, Fault { class: FaultClass::Server, retry_after: None });
            }
            CommitAnswer::Session { status, blocks } => (status, blocks),
            CommitAnswer::Gone => return self.fail(CommitFailure::Gone),
            CommitAnswer::Failed(fault) => return self.ask_failed(now, request, fault),
        };
        self.asks = Retry::new(self.policy_left(now), now, self.next_seed());
        match status {
            UploadStatus::Closed => self.state = State::Done(Ok(())),
            UploadStatus::Closing => self.poll_later(now),
            UploadStatus::Normal if self.posts_over => self.fail(CommitFailure::NotCommitted),
            UploadStatus::Normal if self.compared => self.state = State::Ready(CommitRequest::Commit),
            UploadStatus::Normal if request == CommitRequest::Blocks => self.compare(now, &blocks),
            // Found closing at first and open again now: the list was never seen.
            UploadStatus::Normal => self.state = State::Ready(CommitRequest::Blocks),
            dead => self.state = State::Done(Err(CommitFailure::Dead(dead))),
        }
    }

    fn compare(&mut self, now: Duration, blocks: &[UploadedBlock]) {
        let found: BTreeMap<u32, Option<u64>> = blocks.iter().map(|block| (block.id, block.records)).collect();
        let missing: Vec<u32> = self.expected.keys().filter(|id| !found.contains_key(id)).copied().collect();
        let stray: Vec<u32> = found.keys().filter(|id| !self.expected.contains_key(id)).copied().collect();
        let recounted: Vec<(u32, u64, u64)> = self
            .expected
            .iter()
            .filter_map(|(id, sent)| Some((*id, (*sent)?, (*found.get(id)?)?)))
            .filter(|(_, sent, there)| sent != there)
            .collect();
        let equal = missing.is_empty() && stray.is_empty() && recounted.is_empty();
        if equal {
            self.compared = true;
            self.state = State::Ready(CommitRequest::Commit);
        } else if stray.is_empty() && recounted.is_empty() && self.relists < RELISTS_MAX {
            self.relists = self.relists.saturating_add(1);
            self.wait(now, RELIST_PAUSE, CommitRequest::Blocks);
        } else {
            self.fail(CommitFailure::BlockMismatch { missing, stray, recounted });
        }
    }

    fn posted(&mut self, now: Duration, answer: CommitAnswer) {
        let server = Fault { class: FaultClass::Server, retry_after: None };
        let fault = match answer {
            CommitAnswer::Session { status: UploadStatus::Closed, .. } => {
                self.state = State::Done(Ok(()));
                return;
            }
            CommitAnswer::Session { status: UploadStatus::Closing, .. } => {
                self.in_doubt = true;
                return self.poll_later(now);
            }
            // Accepted, but the state does not show it yet; or committed before, or dead: the GET tells.
            CommitAnswer::Session { .. } | CommitAnswer::Conflict => {
                self.in_doubt = true;
                if self.posts.after(now, server) == Next::GiveUp {
                    self.posts_over = true;
                }
                self.state = State::Ready(CommitRequest::Status);
                return;
            }
            CommitAnswer::Gone => return self.fail(CommitFailure::Gone),
            CommitAnswer::Failed(fault) => fault,
        };
        // No answer, or a failure after the effect: only the session itself can tell.
        self.in_doubt |= fault.class == FaultClass::Server;
        match self.posts.after(now, fault) {
            Next::At(at) => self.state = State::Waiting { until: at, then: CommitRequest::Status },
            Next::GiveUp => {
                self.posts_over = true;
                self.state = State::Ready(CommitRequest::Status);
            }
        }
    }

    fn ask_failed(&mut self, now: Duration, request: CommitRequest, fault: Fault) {
        match self.asks.after(now, fault) {
            Next::At(at) => self.state = State::Waiting { until: at, then: request },
            Next::GiveUp => self.fail(CommitFailure::NotCommitted),
        }
    }

    fn poll_later(&mut self, now: Duration) {
        // A commit is running, ours or an earlier process's: from here on only the session's end is certainty.
        self.in_doubt = true;
        let pause = self.poll_pause;
        self.poll_pause = pause.saturating_mul(2).min(POLL_PAUSE_MAX);
        self.wait(now, pause, CommitRequest::Status);
    }

    fn wait(&mut self, now: Duration, pause: Duration, then: CommitRequest) {
        let until = now.saturating_add(pause);
        if until >= self.deadline {
            self.fail(CommitFailure::NotCommitted);
        } else {
            self.state = State::Waiting { until, then };
        }
    }

    /// Ends without success: as `failure` if it is certain that nothing was committed, else as an unknown outcome.
    fn fail(&mut self, failure: CommitFailure) {
        self.state = State::Done(Err(if self.in_doubt { CommitFailure::UnknownOutcome } else { failure }));
    }

    fn policy_left(&self, now: Duration) -> RetryPolicy {
        RetryPolicy { deadline: self.deadline.saturating_sub(now), ..self.policy }
    }

    const fn next_seed(&mut self) -> u64 {
        self.seed = self.seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        self.seed
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// What the service does with a commit POST.
    #[derive(Clone, Copy, Debug)]
    enum OnPost {
        /// Commits and says so.
        Answer,
        /// Commits; the answer is lost.
        Lost,
        /// Commits, but GET shows CLOSING this many times; the answer is lost.
        LostThenClosing(u32),
        /// Commits, and answers with a session that still looks open.
        Stale,
        /// Does nothing; no answer.
        Dropped,
        /// Does nothing; 429.
        Throttled,
        /// Does nothing; a final error.
        Refused,
        /// Says StatusConflict; the state stays as it is.
        Conflict,
        /// Kills the session and answers 500.
        Kills(UploadStatus),
        /// Commits; the answer is lost and the session is forgotten.
        LostAndForgotten,
    }

    /// A scripted session under a virtual clock.
    struct Service {
        status: UploadStatus,
        blocks: Vec<UploadedBlock>,
        closing: u32,
        forgotten: bool,
        commits: u32,
        posts: u32,
        gets: u32,
        script: Vec<OnPost>,
        /// GETs that fail, and how.
        get_faults: Vec<FaultClass>,
    }

    impl Service {
        fn new(script: &[OnPost]) -> Self {
            let block = |id| UploadedBlock { id, records: Some(10) };
            Self {
                status: UploadStatus::Normal,
                blocks: vec![block(0), block(7)],
                closing: 0,
                forgotten: false,
                commits: 0,
                posts: 0,
                gets: 0,
                script: script.iter().rev().copied().collect(),
                get_faults: Vec::new(),
            }
        }

        fn session(&self, status: UploadStatus) -> CommitAnswer {
            CommitAnswer::Session { status, blocks: self.blocks.clone() }
        }

        fn commit(&mut self) {
            if self.status == UploadStatus::Normal {
                self.status = UploadStatus::Closed;
                self.commits += 1;
            }
        }

        fn answer(&mut self, request: CommitRequest) -> CommitAnswer {
            let failed = |class| CommitAnswer::Failed(Fault { class, retry_after: None });
            if request != CommitRequest::Commit {
                self.gets += 1;
                if let Some(class) = self.get_faults.pop() {
                    return failed(class);
                }
                if self.forgotten {
                    return CommitAnswer::Gone;
                }
                if self.status == UploadStatus::Closed && self.closing > 0 {
                    self.closing -= 1;
                    return self.session(UploadStatus::Closing);
                }
                return self.session(self.status);
            }
            self.posts += 1;
            if self.status != UploadStatus::Normal {
                return CommitAnswer::Conflict;
            }
            match self.script.pop().unwrap_or(OnPost::Answer) {
                OnPost::Answer => {
                    self.commit();
                    self.session(UploadStatus::Closed)
                }
                OnPost::Lost => {
                    self.commit();
                    failed(FaultClass::Server)
                }
                OnPost::LostThenClosing(polls) => {
                    self.commit();
                    self.closing = polls;
                    failed(FaultClass::Server)
                }
                OnPost::Stale => {
                    self.commit();
                    self.session(UploadStatus::Normal)
                }
                OnPost::Dropped => failed(FaultClass::Server),
                OnPost::Throttled => failed(FaultClass::Throttled),
                OnPost::Refused => failed(FaultClass::Final),
                OnPost::Conflict => CommitAnswer::Conflict,
                OnPost::Kills(status) => {
                    self.status = status;
                    failed(FaultClass::Server)
                }
                OnPost::LostAndForgotten => {
                    self.commit();
                    self.forgotten = true;
                    failed(FaultClass::Server)
                }
            }
        }
    }

    /// Runs a commit to its end; gives the outcome and the time it took.
    fn run_from(service: &mut Service, policy: RetryPolicy) -> (Result<(), CommitFailure>, Duration) {
        let start = 1000 * SECOND;
        let mut now = start;
        let mut commit = Commit::new([(0, Some(10)), (7, None)], policy, now, 42);
        for _ in 0..10_000 {
            if let Some(outcome) = commit.poll_outcome() {
                assert_eq!(commit.poll_request(), None);
                assert_eq!(commit.poll_timeout(), None);
                return (outcome, now - start);
            }
            if let Some(request) = commit.poll_request() {
                assert_eq!(commit.poll_request(), None, "one request in flight");
                now += SECOND / 10;
                commit.handle_answer(now, service.answer(request));
            } else {
                let until = commit.poll_timeout().unwrap();
                commit.handle_timeout(until - Duration::from_nanos(1));
                assert_eq!(commit.poll_request(), None, "not before its time");
                now = now.max(until);
                commit.handle_timeout(now);
            }
        }
        panic!("the machine does not end");
    }

    fn run(script: &[OnPost]) -> (Service, Result<(), CommitFailure>) {
        let mut service = Service::new(script);
        let (outcome, _) = run_from(&mut service, RetryPolicy::default());
        (service, outcome)
    }

    #[test]
    fn the_plain_case_is_one_get_and_one_post() {
        let (service, outcome) = run(&[OnPost::Answer]);
        assert_eq!(outcome, Ok(()));
        assert_eq!((service.gets, service.posts, service.commits), (1, 1, 1));
    }

    #[test]
    fn lost_answers_are_settled_by_the_session() {
        for script in [
            &[OnPost::Lost][..],
            &[OnPost::Stale],
            &[OnPost::LostThenClosing(5)],
            &[OnPost::Dropped, OnPost::Lost],
            &[OnPost::Dropped, OnPost::Dropped, OnPost::Answer],
            &[OnPost::Throttled, OnPost::Answer],
            &[OnPost::Conflict, OnPost::Answer],
            &[OnPost::Conflict, OnPost::Conflict, OnPost::LostThenClosing(40)],
        ] {
            let (service, outcome) = run(script);
            assert_eq!(outcome, Ok(()), "{script:?}");
            assert_eq!(service.commits, 1, "{script:?}");
        }
    }

    #[test]
    fn a_lost_answer_costs_one_get_and_no_second_post() {
        let (service, outcome) = run(&[OnPost::Lost]);
        assert_eq!(outcome, Ok(()));
        assert_eq!((service.gets, service.posts), (2, 1));
    }

    #[test]
    fn throttling_lasts_as_long_as_it_must() {
        let (service, outcome) = run(&[OnPost::Throttled; 200]);
        assert_eq!(outcome, Ok(()));
        assert_eq!((service.posts, service.commits), (201, 1));
    }

    #[test]
    fn a_refusal_is_not_repeated() {
        let (service, outcome) = run(&[OnPost::Refused]);
        assert_eq!(outcome, Err(CommitFailure::NotCommitted));
        assert_eq!((service.posts, service.commits), (1, 0));
        // Refused now, but an earlier POST may still be on its way.
        let (service, outcome) = run(&[OnPost::Dropped, OnPost::Refused]);
        assert_eq!(outcome, Err(CommitFailure::UnknownOutcome));
        assert_eq!(service.posts, 2);
    }

    #[test]
    fn posts_without_effect_are_bounded_and_end_in_doubt() {
        for what in [OnPost::Dropped, OnPost::Conflict] {
            let (service, outcome) = run(&[what; 100]);
            assert_eq!(outcome, Err(CommitFailure::UnknownOutcome), "{what:?}");
            assert_eq!(service.posts, 8);
        }
    }

    #[test]
    fn a_dead_session_is_certainly_not_committed() {
        for status in [UploadStatus::Expired, UploadStatus::Canceled, UploadStatus::Critical] {
            let (service, outcome) = run(&[OnPost::Kills(status)]);
            assert_eq!(outcome, Err(CommitFailure::Dead(status)));
            assert_eq!(service.commits, 0);
        }
    }

    #[test]
    fn a_forgotten_session_is_doubt_only_after_a_post() {
        let (_, outcome) = run(&[OnPost::LostAndForgotten]);
        assert_eq!(outcome, Err(CommitFailure::UnknownOutcome));
        let mut service = Service::new(&[]);
        service.forgotten = true;
        let (outcome, _) = run_from(&mut service, RetryPolicy::default());
        assert_eq!(outcome, Err(CommitFailure::Gone));
    }

    #[test]
    fn a_session_committed_before_is_success_without_a_post() {
        let mut service = Service::new(&[]);
        service.status = UploadStatus::Closed;
        service.closing = 3;
        let (outcome, _) = run_from(&mut service, RetryPolicy::default());
        assert_eq!(outcome, Ok(()));
        assert_eq!((service.posts, service.gets), (0, 4));
    }

    #[test]
    fn other_blocks_than_sent_are_never_committed() {
        let block = |id, records| UploadedBlock { id, records };
        for (blocks, missing, stray, recounted) in [
            (vec![block(0, None)], vec![7], vec![], vec![]),
            (vec![], vec![0, 7], vec![], vec![]),
            (vec![block(0, None), block(3, None), block(7, None)], vec![], vec![3], vec![]),
            (vec![block(0, Some(11)), block(7, Some(99))], vec![], vec![], vec![(0, 10, 11)]),
        ] {
            let mut service = Service::new(&[]);
            service.blocks = blocks;
            let (outcome, _) = run_from(&mut service, RetryPolicy::default());
            assert_eq!(outcome, Err(CommitFailure::BlockMismatch { missing, stray, recounted }));
            assert_eq!(service.posts, 0);
        }
    }

    #[test]
    fn a_list_that_lags_is_read_again() {
        let mut service = Service::new(&[]);
        let all = service.blocks.clone();
        service.blocks.pop();
        let mut commit = Commit::new([(0, Some(10)), (7, Some(10))], RetryPolicy::default(), SECOND, 1);
        assert_eq!(commit.poll_request(), Some(CommitRequest::Blocks));
        commit.handle_answer(SECOND, service.answer(CommitRequest::Blocks));
        assert_eq!(commit.poll_timeout(), Some(2 * SECOND));
        commit.handle_timeout(2 * SECOND);
        service.blocks = all;
        assert_eq!(commit.poll_request(), Some(CommitRequest::Blocks));
        commit.handle_answer(2 * SECOND, service.answer(CommitRequest::Blocks));
        assert_eq!(commit.poll_request(), Some(CommitRequest::Commit));
    }

    #[test]
    fn an_empty_commit_is_legal() {
        let mut commit = Commit::new([], RetryPolicy::default(), SECOND, 1);
        commit.poll_request().unwrap();
        commit.handle_answer(SECOND, CommitAnswer::Session { status: UploadStatus::Normal, blocks: vec![] });
        assert_eq!(commit.poll_request(), Some(CommitRequest::Commit));
    }

    #[test]
    fn failing_gets_are_bounded_and_doubt_depends_on_the_post() {
        let mut service = Service::new(&[OnPost::Answer]);
        service.get_faults = vec![FaultClass::Server; 7];
        assert_eq!(run_from(&mut service, RetryPolicy::default()).0, Ok(()));

        let mut service = Service::new(&[OnPost::Answer]);
        service.get_faults = vec![FaultClass::Server; 8];
        assert_eq!(run_from(&mut service, RetryPolicy::default()).0, Err(CommitFailure::NotCommitted));
        assert_eq!(service.posts, 0);

        // The POST was lost, and then nobody answers any more.
        let mut commit = Commit::new([], RetryPolicy::default(), Duration::ZERO, 1);
        commit.poll_request().unwrap();
        commit.handle_answer(Duration::ZERO, CommitAnswer::Session { status: UploadStatus::Normal, blocks: vec![] });
        let mut now = Duration::ZERO;
        while commit.poll_outcome().is_none() {
            if commit.poll_request().is_some() {
                let fault = Fault { class: FaultClass::Server, retry_after: None };
                commit.handle_answer(now, CommitAnswer::Failed(fault));
            } else {
                now = commit.poll_timeout().unwrap();
                commit.handle_timeout(now);
            }
        }
        assert_eq!(commit.poll_outcome(), Some(Err(CommitFailure::UnknownOutcome)));
    }

    #[test]
    fn the_deadline_ends_everything() {
        let policy = RetryPolicy { deadline: 600 * SECOND, ..RetryPolicy::default() };
        for (script, outcome) in [
            (&[OnPost::Throttled; 1000][..], Err(CommitFailure::NotCommitted)),
            (&[OnPost::LostThenClosing(100_000)], Err(CommitFailure::UnknownOutcome)),
        ] {
            let (found, took) = run_from(&mut Service::new(script), policy);
            assert_eq!(found, outcome);
            assert!(took > 500 * SECOND && took < 601 * SECOND, "{took:?}");
        }
    }

    #[test]
    fn a_closing_session_that_opens_again_is_compared_before_it_is_committed() {
        let mut commit = Commit::new([(1, None)], RetryPolicy::default(), SECOND, 1);
        let session = |status| CommitAnswer::Session { status, blocks: vec![] };
        commit.poll_request().unwrap();
        commit.handle_answer(SECOND, session(UploadStatus::Closing));
        let at = commit.poll_timeout().unwrap();
        commit.handle_timeout(at);
        assert_eq!(commit.poll_request(), Some(CommitRequest::Status));
        commit.handle_answer(at, session(UploadStatus::Normal));
        assert_eq!(commit.poll_request(), Some(CommitRequest::Blocks));
    }
}
