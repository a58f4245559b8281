//! What a person decides when nobody else can: sealed batches whose upload session the service has forgotten.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::settle::ask;
use super::{Job, prepare};
use crate::job::JobSpec;
use crate::kafka::OffsetToCommit;
use crate::sync::connect::{config, kafka_failure};
use crate::sync::error::{RunError, RunErrorKind};
use crate::sync::intent::{Intent, SealedSession};
use crate::sync::lane::wall_clock;
use crate::sync::status::JobStatus;
use crate::sync::step::SessionState;

/// What a person says about the forgotten sessions of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Their rows are in the table.
    Committed,
    /// Their rows are not in the table.
    NotCommitted,
}

/// A batch that is sealed and not advanced, of one Kafka partition.
#[derive(Clone, Debug)]
pub struct OpenBatch {
    /// The Kafka partition.
    pub partition: i32,
    /// Its first offset.
    pub begin: i64,
    /// The offset after its last one.
    pub end: i64,
    /// Its upload sessions, with what the service says of each.
    pub sessions: Vec<(SealedSession, SessionState)>,
    intent: Intent,
}

impl OpenBatch {
    /// Whether the service cannot say what became of it.
    pub fn is_doubtful(&self) -> bool {
        self.sessions.iter().any(|(_, state)| *state == SessionState::Forgotten)
    }
}

/// The sealed batches of a job's group, and what has been decided about the doubtful ones.
#[derive(Debug)]
pub struct Resolution {
    job: Job,
    /// One for each partition that has an open batch.
    pub batches: Vec<OpenBatch>,
}

impl Resolution {
    /// Looks the job's group up, and its upload sessions. Changes nothing.
    ///
    /// # Errors
    /// [`RunError`] when the job, Kafka or MaxCompute cannot be used, and for metadata that is not forebay's.
    pub async fn look(spec: &JobSpec) -> Result<Self, RunError> {
        let job = prepare(spec, &Arc::new(JobStatus::new(spec, wall_clock()))).await?;
        let topic = &spec.reader.topic;
        let metadata = job.client.topic(topic).await.map_err(|error| kafka_failure(&error))?;
        let partitions: Vec<i32> = metadata.partitions.iter().map(|partition| partition.partition).collect();
        let wanted = [(topic.clone(), partitions)];
        let stored = job.client.stable_committed_offsets(&job.group, &wanted).await;
        let mut batches = Vec::new();
        let mut states: BTreeMap<String, SessionState> = BTreeMap::new();
        for found in stored.map_err(|error| kafka_failure(&error))? {
            let Some(begin) = found.offset else { continue };
            let intent = Intent::parse(found.metadata.as_deref().unwrap_or_default())
                .map_err(|error| config(format!("group {}, partition {}: {error}", job.group, found.partition)))?;
            let Some(intent) = intent else { continue };
            let mut sessions = Vec::new();
            for session in &intent.sessions {
                let state = match states.get(&session.upload_id) {
                    _ if session.upload_id.is_empty() => SessionState::NeverCommitted,
                    Some(state) => state.clone(),
                    None => ask(&job, session).await,
                };
                states.insert(session.upload_id.clone(), state.clone());
                sessions.push((session.clone(), state));
            }
            batches.push(OpenBatch { partition: found.partition, begin, end: intent.end, sessions, intent });
        }
        Ok(Self { job, batches })
    }

    /// The consumer group.
    pub fn group(&self) -> &str {
        &self.job.group
    }

    /// Writes the verdict on every doubtful batch into the group; how many partitions it was.
    ///
    /// # Errors
    /// [`RunError`] when the group has members (they would not take part in the decision), or does not take the write; and when a
    /// session has not answered.
    pub async fn decide(&self, verdict: Verdict) -> Result<usize, RunError> {
        let mut offsets = Vec::new();
        for batch in self.batches.iter().filter(|batch| batch.is_doubtful()) {
            if batch.sessions.iter().any(|(_, state)| *state == SessionState::Unavailable) {
                let text = format!("partition {}: an upload session of the batch has not answered", batch.partition);
                return Err(RunError::new(RunErrorKind::Unavailable, text).advise("try again"));
            }
            let others_are_in = batch
                .sessions
                .iter()
                .all(|(_, state)| matches!(state, SessionState::Forgotten | SessionState::Committed));
            let (offset, metadata) = if verdict == Verdict::Committed && others_are_in {
                (batch.end, String::new())
            } else {
                (batch.begin, self.told(batch, verdict)?)
            };
            offsets.push(OffsetToCommit {
                topic: Arc::from(self.job.spec.reader.topic.as_str()),
                partition: batch.partition,
                offset,
                leader_epoch: None,
                metadata,
            });
        }
        let written = self.job.client.commit_offsets(&self.job.group, &offsets).await;
        written
            .map_err(|error| kafka_failure(&error).advise("stop every agent of this job first, then decide again"))?;
        Ok(offsets.len())
    }

    /// The intent with the verdict in it: what is in the table is left out, what is not has no session any more.
    fn told(&self, batch: &OpenBatch, verdict: Verdict) -> Result<String, RunError> {
        let mut intent = batch.intent.clone();
        intent.sessions = (batch.sessions.iter())
            .filter(|(_, state)| verdict != Verdict::Committed || *state != SessionState::Forgotten)
            .map(|(session, state)| {
                let upload_id =
                    if *state == SessionState::Forgotten { String::new() } else { session.upload_id.clone() };
                SealedSession { upload_id, ..session.clone() }
            })
            .collect();
        intent.to_metadata().map_err(|error| config(format!("partition {}: {error}", batch.partition)))
    }
}
