//! The end of a run: the sessions' commits, then the group's offsets, then postSql.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Zoned;

use super::connect::{session_failure, tunnel_failure};
use super::error::{RunError, RunErrorKind, TargetState};
use super::prepare::Prepared;
use super::run::Moved;
use super::sessions::{Sessions, Target};
use super::summary::{OffsetsOutcome, PartitionSummary, Summary, TargetSummary};
use crate::job::{Begin, JobSpec};
use crate::kafka::{Client, OffsetToCommit};
use crate::tunnel;

/// Commits every session, then the group's offsets, then runs postSql.
pub(super) async fn finish(
    spec: &JobSpec,
    prepared: Prepared,
    sessions: &Sessions,
    moved: Moved,
    started: Zoned,
    transfer: Duration,
) -> Result<Summary, RunError> {
    let mut targets = Vec::new();
    let opened = sessions.opened();
    for target in &opened {
        let done = commit(target, &moved, &targets, opened.len()).await?;
        targets.extend(done);
    }
    let positions: Vec<PartitionSummary> = prepared
        .plan
        .ranges
        .iter()
        .map(|range| PartitionSummary {
            range: *range,
            position: moved.ledger.positions().get(&range.partition).copied().unwrap_or(range.begin),
        })
        .collect();
    let offsets = commit_offsets(spec, &prepared.client, &positions).await?;
    for statement in &spec.writer.post_sql {
        log::info!("postSql: {statement}");
        prepared.maxcompute.sql(statement, &[]).await.map_err(|error| {
            let failure = tunnel_failure(&error).with_target(TargetState::Committed);
            RunError { message: format!("postSql failed, the data stays: {}", failure.message), ..failure }
        })?;
    }
    let blocks = targets.iter().map(|target| target.blocks).sum();
    // A job whose rows are not routed has one session, which the summary names by itself.
    let session = targets.first().filter(|_| !prepared.routed).map(|target| target.session.clone());
    Ok(Summary {
        job: spec.name.clone(),
        topic: spec.reader.topic.clone(),
        target: prepared.target_name,
        finished: Zoned::now().with_time_zone(started.time_zone().clone()),
        started,
        transfer,
        ended: Some(moved.ended),
        partitions: positions,
        stats: moved.stats.snapshot(),
        session,
        blocks,
        rows: moved.ledger.rows(),
        targets: if prepared.routed { targets } else { Vec::new() },
        offsets,
    })
}

/// Commits one session; `done` are those before it, `of` is how many there are.
async fn commit(
    target: &Arc<Target>,
    moved: &Moved,
    done: &[TargetSummary],
    of: usize,
) -> Result<Option<TargetSummary>, RunError> {
    let Some(session) = target.upload() else { return Ok(None) };
    let blocks = moved.ledger.blocks(&target.key);
    let begin = Instant::now();
    let committing = session.commit_counted(blocks);
    tokio::pin!(committing);
    let outcome = loop {
        tokio::select! {
            outcome = &mut committing => break outcome,
            () = tokio::time::sleep(WAIT_TOLD_EVERY) => {
                log::warn!("waiting in commit for {} s: session {}", begin.elapsed().as_secs(), session.id());
            }
        }
    };
    if let Err(error) = outcome {
        let failure = commit_failure(session, &error);
        if done.is_empty() {
            return Err(failure);
        }
        let committed = done.iter().map(|target| target.partition.clone()).collect();
        let advice = "run the job again: with truncate it replaces the same rows; without, the partitions that were \
                      committed would get them twice";
        let unknown = matches!(failure.target, TargetState::Unknown { .. }).then(|| target.key.clone());
        return Err(failure.with_target(TargetState::Partly { committed, of, unknown }).advise(advice));
    }
    let rows = blocks.iter().map(|(_, rows)| *rows).sum();
    let name = if target.key.is_empty() { String::new() } else { format!(" of partition {}", target.key) };
    log::info!("upload session {}{name} committed: {} blocks, {rows} rows", session.id(), blocks.len());
    Ok(Some(TargetSummary {
        partition: target.key.clone(),
        session: session.id().to_owned(),
        blocks: u32::try_from(blocks.len()).unwrap_or(u32::MAX),
        rows,
    }))
}

/// Time between two lines about a commit that lasts.
const WAIT_TOLD_EVERY: Duration = Duration::from_secs(10);

async fn commit_offsets(
    spec: &JobSpec,
    client: &Client,
    positions: &[PartitionSummary],
) -> Result<OffsetsOutcome, RunError> {
    let reader = &spec.reader;
    let group = match &reader.group {
        Some(group) if reader.commit_offsets => group,
        Some(_) => return Ok(OffsetsOutcome::NotCommitted("the job says enable.auto.commit false".to_owned())),
        None => return Ok(OffsetsOutcome::NotCommitted("the job names no group".to_owned())),
    };
    let offsets: Vec<OffsetToCommit> = positions
        .iter()
        .filter(|partition| partition.range.commits)
        .map(|partition| OffsetToCommit {
            topic: reader.topic.as_str().into(),
            partition: partition.range.partition,
            offset: partition.position,
            leader_epoch: None,
            metadata: String::new(),
        })
        .collect();
    if offsets.is_empty() {
        return Ok(OffsetsOutcome::NotCommitted("nothing was in range".to_owned()));
    }
    match client.commit_offsets(group, &offsets).await {
        Ok(()) => {
            log::info!("offsets of group {group} committed for {} partitions", offsets.len());
            Ok(OffsetsOutcome::Committed { group: group.clone() })
        }
        Err(error) if reader.begin == Begin::Group => Err(RunError::new(
            RunErrorKind::SafetyStop,
            format!("data committed, offsets not: group \"{group}\": {error}"),
        )
        .advise("stop the group's other consumers and set its offsets to the positions in the log, or run with truncate again")
        .with_target(TargetState::Committed)),
        Err(error) => {
            log::warn!("data committed, offsets of group \"{group}\" not: {error}");
            Ok(OffsetsOutcome::NotCommitted(error.to_string()))
        }
    }
}

fn commit_failure(session: &tunnel::Upload, error: &tunnel::Error) -> RunError {
    let plain = tunnel_failure(error);
    let failure = RunError { advice: plain.advice.or_else(|| session_failure(String::new(), error).advice), ..plain };
    match error.kind() {
        tunnel::ErrorKind::UnknownOutcome => failure
            .with_target(TargetState::Unknown { session: session.id().to_owned() })
            .advise("run the job again: with truncate it replaces the same rows; without, look at the table first"),
        _ => failure,
    }
}
