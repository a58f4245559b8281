//! Single effects on the group and on upload sessions, and what their answers mean to the machine.

use std::sync::Arc;
use std::time::Duration;

use super::Job;
use crate::kafka::{self, ErrorCode, Generation, GroupCommitter, OffsetToCommit};
use crate::sync::intent::SealedSession;
use crate::sync::step::{CommitOrder, CommitOutcome, Millis, SessionState};
use crate::tunnel::session::UploadStatus;
use crate::tunnel::{self, PartitionSpec, Upload, UploadState};

/// Writes offsets once. A lost answer is told as such: a repetition could be overtaken by the first one.
pub(super) async fn commit(
    committer: &GroupCommitter,
    generation: &Generation,
    topic: &str,
    order: &CommitOrder,
) -> CommitOutcome {
    let topic: Arc<str> = topic.into();
    let offsets: Vec<OffsetToCommit> = (order.entries.iter())
        .map(|(partition, offset, metadata)| OffsetToCommit {
            topic: Arc::clone(&topic),
            partition: *partition,
            offset: *offset,
            leader_epoch: None,
            metadata: metadata.clone(),
        })
        .collect();
    match committer.commit_once(generation, &offsets).await {
        Ok(()) => CommitOutcome::Acknowledged,
        Err(error) => {
            log::debug!("offset commit: {error}");
            outcome_of(&error)
        }
    }
}

fn outcome_of(error: &kafka::Error) -> CommitOutcome {
    use kafka::ErrorKind::{Auth, Broker, Connect, Timeout, UnknownOutcome, UnknownPartition, UnknownTopic};
    match error.kind() {
        _ if error.is_fenced() => CommitOutcome::Fenced,
        UnknownOutcome | Timeout => CommitOutcome::Ambiguous,
        Connect | UnknownTopic | UnknownPartition => CommitOutcome::TryAgain,
        // A rebalance is under way: either the generation holds after it, or the next try is fenced.
        Broker(code) if code == ErrorCode::REBALANCE_IN_PROGRESS || code.is_retriable() => CommitOutcome::TryAgain,
        Broker(_) | Auth => CommitOutcome::Refused(error.to_string()),
        _ => CommitOutcome::Ambiguous,
    }
}

async fn attach(job: &Job, session: &SealedSession) -> Result<Upload, tunnel::Error> {
    let partition = PartitionSpec::parse(&session.target).ok();
    let table = &job.spec.writer.table;
    job.maxcompute.attach_upload(table, partition.as_ref(), &session.upload_id, job.compression).await
}

/// POSTs a commit. Whatever comes of it, the session is asked afterwards.
pub(super) async fn post(job: &Job, session: &SealedSession) {
    let posted = async {
        let upload = attach(job, session).await?;
        // Whoever was stopped for a day may come here: a commit at the end of a session's life has no certain outcome.
        if upload.age().map(millis).is_some_and(|age| age >= job.delivery.post_age_ms_max) {
            log::warn!("upload session {} is too old to be committed", session.upload_id);
            return Ok(());
        }
        upload.post_commit().await
    };
    if let Err(error) = posted.await {
        log::info!("commit of upload session {}: {error}; its state decides", session.upload_id);
    }
}

fn millis(age: Duration) -> Millis {
    Millis::try_from(age.as_millis()).unwrap_or(Millis::MAX)
}

/// GETs a session with its blocks.
pub(super) async fn ask(job: &Job, session: &SealedSession) -> SessionState {
    let asked = async { attach(job, session).await?.state().await };
    let UploadState { status, age, blocks } = match asked.await {
        Ok(state) => state,
        Err(error) if error.kind() == tunnel::ErrorKind::SessionDead => return SessionState::Forgotten,
        Err(error) => {
            log::warn!("upload session {}: {error}", session.upload_id);
            return SessionState::Unavailable;
        }
    };
    match status {
        UploadStatus::Normal => {
            let told: Option<u64> = blocks.iter().map(|block| block.records).sum();
            let whole = blocks.len() == usize::try_from(session.blocks).unwrap_or(usize::MAX);
            SessionState::Open {
                age_ms: age.map(millis),
                intact: whole && told.is_none_or(|rows| rows == session.rows),
            }
        }
        UploadStatus::Closing => SessionState::Committing,
        UploadStatus::Closed => SessionState::Committed,
        UploadStatus::Expired | UploadStatus::Canceled => SessionState::NeverCommitted,
        UploadStatus::Critical => SessionState::Forgotten,
        _ => SessionState::Unavailable,
    }
}
