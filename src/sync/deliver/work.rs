//! The work of one generation: the machine, and the tasks that carry out its orders.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::evidence::look;
use super::settle::{ask, commit, post};
use super::write::{FirstSeen, write};
use super::{Job, initial};
use crate::kafka::{Generation, GroupCommitter};
use crate::sync::crash::crash_point;
use crate::sync::error::RunError;
use crate::sync::lane::wall_clock;
use crate::sync::step::{
    BatchId, CommitId, CommitOutcome, Delivery, Event, Evidence, HaltCause, Millis, Order, Over, SessionState, Step,
    Stored, WriteFailure, Written,
};

/// Why the work of a generation has ended.
pub(super) enum Ended {
    Fenced,
    Ambiguous,
}

/// What a task comes back with.
#[derive(Debug)]
enum Done {
    Offsets(Option<BTreeMap<i32, Stored>>),
    Written(BatchId, Result<Written, WriteFailure>),
    Committed(CommitId, CommitOutcome),
    Posted(BatchId, String),
    Session(BatchId, String, SessionState),
    Evidence(BatchId, String, Evidence),
    Fatal(RunError),
}

/// The delivery of one generation. Dropped, its tasks are over.
#[derive(Debug)]
pub(super) struct Work {
    job: Arc<Job>,
    committer: GroupCommitter,
    generation: Generation,
    delivery: Delivery,
    tasks: JoinSet<Done>,
    arrived: Vec<Done>,
    started: Instant,
    /// Set while a batch that still waits for records is to come back.
    recall: watch::Sender<bool>,
    /// When the first of the records that no batch has taken yet was seen.
    first_seen: FirstSeen,
}

impl Work {
    pub(super) fn new(
        job: &Arc<Job>,
        committer: &GroupCommitter,
        generation: Generation,
        partitions: Vec<i32>,
    ) -> Self {
        Self {
            delivery: Delivery::new(job.delivery.clone(), generation.number, partitions),
            job: Arc::clone(job),
            committer: committer.clone(),
            generation,
            tasks: JoinSet::new(),
            arrived: Vec::new(),
            started: Instant::now(),
            recall: watch::Sender::new(false),
            first_seen: FirstSeen::default(),
        }
    }

    pub(super) const fn generation(&self) -> &Generation {
        &self.generation
    }

    /// Begins nothing more.
    pub(super) const fn drain(&mut self) {
        self.delivery.handle_drain();
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.delivery.is_quiet()
    }

    fn now(&self) -> Millis {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(Millis::MAX)
    }

    /// Ends it, and waits for the answers of the offset commits that are under way: whether each of them came.
    ///
    /// A generation of the classic protocol refuses what was sent before it. An epoch of the new one (KIP-848) may outlive a change
    /// of the assignment, and from KIP-1251 on a commit of an older epoch is taken while the partition has stayed with its member: a
    /// commit that comes after its successor has read the offsets would undo what the successor does.
    pub(super) async fn settle(mut self) -> bool {
        let now = self.now();
        let mut is_certain = true;
        let mut arrived = std::mem::take(&mut self.arrived).into_iter();
        loop {
            let done = match arrived.next() {
                Some(done) => done,
                None if !self.delivery.is_committing() => return is_certain,
                None => match self.tasks.join_next().await {
                    Some(Ok(done)) => done,
                    Some(Err(_)) | None => return false,
                },
            };
            if let Done::Committed(id, outcome) = done {
                is_certain &= !matches!(outcome, CommitOutcome::Ambiguous);
                self.committed(now, id, outcome);
            }
        }
    }

    fn committed(&mut self, now: Millis, id: CommitId, outcome: CommitOutcome) {
        tell_commit(&self.job, &outcome);
        self.delivery.handle_committed(now, id, outcome);
    }

    /// Hands in what has arrived and carries out what is due.
    pub(super) fn drive(&mut self) -> Result<Option<Ended>, RunError> {
        let now = self.now();
        for done in std::mem::take(&mut self.arrived) {
            self.take(now, done)?;
        }
        while let Some(order) = self.delivery.poll_order(now) {
            self.carry_out(order);
        }
        let recall = self.delivery.is_held_up();
        self.recall.send_if_modified(|now| std::mem::replace(now, recall) != recall);
        while let Some(event) = self.delivery.poll_event() {
            tell(&self.job, &event);
        }
        let (committed, batches) = (self.delivery.committed().collect(), self.delivery.batch_states().collect());
        self.job.status.delivery(committed, batches, wall_clock());
        Ok(self.delivery.over().map(|over| match over {
            Over::Fenced => Ended::Fenced,
            Over::Ambiguous => Ended::Ambiguous,
        }))
    }

    /// Waits until there is something to drive; for ever without work. Safe to drop half-way.
    pub(super) async fn progress(work: &mut Option<Self>) {
        let Some(work) = work else { return std::future::pending().await };
        let now = work.now();
        let due = work.delivery.poll_timeout(now).map(|at| Duration::from_millis(at.saturating_sub(now)));
        let timer = async {
            match due {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(done) = work.tasks.join_next() => match done {
                Ok(done) => work.arrived.push(done),
                Err(lost) => {
                    let message = format!("a task of the delivery was lost: {lost}");
                    work.arrived.push(Done::Fatal(RunError::new(crate::sync::RunErrorKind::Bug, message)));
                }
            },
            () = timer => {}
        }
    }

    fn take(&mut self, now: Millis, done: Done) -> Result<(), RunError> {
        match done {
            Done::Offsets(stored) => self.delivery.handle_offsets(now, stored),
            Done::Written(batch, Ok(written)) => self.delivery.handle_written(batch, written),
            Done::Written(batch, Err(failure)) => {
                if let WriteFailure::Passing(why) = &failure {
                    self.job.status.fail("write", "passing", why, wall_clock());
                    log::warn!("job {}: a batch is begun again: {why}", self.job.spec.name);
                }
                self.delivery.handle_write_failed(now, batch, failure);
            }
            Done::Committed(id, outcome) => self.committed(now, id, outcome),
            Done::Posted(batch, upload) => self.delivery.handle_posted(batch, &upload),
            Done::Session(batch, upload, state) => {
                tell_session(&self.job, &upload, &state);
                self.delivery.handle_session(now, batch, &upload, state);
            }
            Done::Evidence(batch, upload, evidence) => self.delivery.handle_evidence(now, batch, &upload, evidence),
            Done::Fatal(error) => return Err(error),
        }
        Ok(())
    }

    fn carry_out(&mut self, order: Order) {
        let job = Arc::clone(&self.job);
        match order {
            Order::FetchOffsets => {
                let partitions: Vec<i32> = self.delivery.partitions().collect();
                self.tasks.spawn(async move {
                    crash_point("offsets");
                    let stored = offsets(&job, &partitions).await;
                    crash_point("stored");
                    Done::Offsets(stored)
                });
            }
            Order::Write(order) => {
                // It takes all that is idle, so nothing waits for it yet.
                self.recall.send_replace(false);
                let (batch, recall, first_seen) = (order.batch, self.recall.subscribe(), self.first_seen.clone());
                self.tasks.spawn(async move {
                    match write(&job, &order, recall, &first_seen).await {
                        Ok(outcome) => Done::Written(batch, outcome),
                        Err(error) => Done::Fatal(error),
                    }
                });
            }
            Order::Commit(order) => {
                let (committer, generation) = (self.committer.clone(), self.generation.clone());
                let (before, after) = match self.delivery.step_of(order.id) {
                    Some(Step::Seal) => ("seal", "sealed"),
                    Some(Step::Advance) => ("advance", "advanced"),
                    Some(Step::Refresh) | None => ("refresh", "refreshed"),
                };
                self.tasks.spawn(async move {
                    crash_point(before);
                    let outcome = commit(&committer, &generation, &job.spec.reader.topic, &order).await;
                    crash_point(after);
                    Done::Committed(order.id, outcome)
                });
            }
            Order::Post(order) => {
                self.tasks.spawn(async move {
                    crash_point("post");
                    post(&job, &order.session).await;
                    crash_point("posted");
                    Done::Posted(order.batch, order.session.upload_id)
                });
            }
            Order::Ask(order) => {
                self.tasks.spawn(async move {
                    crash_point("ask");
                    let state = ask(&job, &order.session).await;
                    crash_point("asked");
                    Done::Session(order.batch, order.session.upload_id, state)
                });
            }
            Order::LookForRows(order) => {
                self.tasks.spawn(async move {
                    crash_point("look");
                    let evidence = look(&job, &order).await;
                    crash_point("looked");
                    Done::Evidence(order.batch, order.session.upload_id, evidence)
                });
            }
        }
    }
}

/// What the group has stored, and where the rest begins.
async fn offsets(job: &Job, partitions: &[i32]) -> Option<BTreeMap<i32, Stored>> {
    let wanted = [(job.spec.reader.topic.clone(), partitions.to_vec())];
    let fetched = async {
        let committed = job.client.stable_committed_offsets(&job.group, &wanted).await?;
        let mut stored: BTreeMap<i32, Stored> = BTreeMap::new();
        for found in committed {
            let metadata = found.metadata.unwrap_or_default();
            stored.insert(found.partition, Stored { offset: found.offset, metadata, initial: None });
        }
        let new: Vec<i32> = (partitions.iter().copied())
            .filter(|partition| stored.get(partition).is_none_or(|stored| stored.offset.is_none()))
            .collect();
        if !new.is_empty() {
            for (partition, offset) in initial(job, &new).await? {
                stored.entry(partition).or_default().initial = Some(offset);
            }
        }
        Ok::<_, crate::kafka::Error>(stored)
    };
    let failed = |error: &crate::kafka::Error| {
        log::warn!("group {}: {error}", job.group);
        job.status.fail("offsets", "unavailable", &error.to_string(), wall_clock());
    };
    fetched.await.inspect_err(failed).ok()
}

/// An offset commit that was not taken, in the job's status.
fn tell_commit(job: &Job, outcome: &CommitOutcome) {
    let (code, text) = match outcome {
        CommitOutcome::Acknowledged => return,
        CommitOutcome::TryAgain => ("try_again", "the coordinator did not take an offset commit; it is tried again"),
        CommitOutcome::Fenced => ("fenced", "the group has moved on; an offset commit was refused"),
        CommitOutcome::Ambiguous => ("ambiguous", "an offset commit got no answer"),
        CommitOutcome::Refused(text) => ("refused", text.as_str()),
    };
    job.status.fail("offsets", code, text, wall_clock());
}

/// What the service says of a session, in the job's status.
fn tell_session(job: &Job, upload: &str, state: &SessionState) {
    match state {
        // Of a session that an earlier generation has made, this is the first word on its age.
        SessionState::Open { age_ms: Some(age), .. } => {
            let age = i64::try_from(*age).unwrap_or(i64::MAX);
            job.status.session(upload, "", wall_clock().saturating_sub(age));
        }
        SessionState::Unavailable => {
            let text = format!("the state of upload session {upload} cannot be had");
            job.status.fail("commit", "unavailable", &text, wall_clock());
        }
        SessionState::Forgotten => {
            let text = format!("MaxCompute does not know upload session {upload}");
            job.status.fail("commit", "forgotten", &text, wall_clock());
        }
        _ => {}
    }
}

fn tell(job: &Job, event: &Event) {
    let name = &job.spec.name;
    match event {
        Event::Halted { partition, cause } => {
            job.status.halted(*partition, cause.to_string(), wall_clock());
            log::error!("job {name}: partition {partition} stands still until a person has looked: {cause}");
            if let HaltCause::SessionForgotten(_) = cause {
                log::error!("job {name}: next: look into the table, stop the job's agents, then forebay resolve JOB");
            }
        }
        Event::Recovered { batch, ranges } => {
            log::info!("job {name}: batch {}: carries on what was sealed before, {}", batch.0, ranges_text(ranges));
        }
        Event::Sealed { batch } => log::debug!("job {name}: batch {}: sealed", batch.0),
        Event::Advanced { batch, rows, ranges } => {
            job.status.advanced(*rows, ranges, wall_clock());
            log::info!("job {name}: batch {}: {rows} rows committed, {}", batch.0, ranges_text(ranges));
        }
        Event::Rebuilding { batch, targets } => {
            log::warn!("job {name}: batch {}: {} upload session(s) expired; written again", batch.0, targets.len());
        }
        Event::Waiting { batch, why } => log::error!("job {name}: batch {}: {why}", batch.0),
    }
}

fn ranges_text(ranges: &BTreeMap<i32, crate::sync::step::Range>) -> String {
    let all = ranges.iter().map(|(partition, range)| format!("{partition}: {}..{}", range.begin, range.end));
    all.collect::<Vec<_>>().join(", ")
}
