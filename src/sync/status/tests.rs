//! When a job is called well, and when not.

use std::time::{Duration, Instant};

use super::*;
use crate::sync::step::{BatchId, SealedState};

const PATIENCE: Duration = Duration::from_secs(30);

fn job() -> JobStatus {
    let facts = JobFacts {
        name: "orders".to_owned(),
        bootstrap: vec!["kafka:9092".to_owned()],
        topic: "orders".to_owned(),
        group: "g".to_owned(),
        project: "p".to_owned(),
        table: "t".to_owned(),
        partition: String::new(),
        memory_max: None,
        dirty_max: None,
        dirty_share_max: None,
    };
    JobStatus::of_facts(facts, 0)
}

fn at(wall: UnixMillis) -> Now {
    Now { wall, instant: Instant::now() }
}

fn word(job: &JobStatus, wall: UnixMillis) -> HealthWord {
    job.health(at(wall), PATIENCE).word
}

/// A job at work on two partitions, each with 10 records that are not committed.
fn at_work() -> JobStatus {
    let job = job();
    job.live(Life::Running, 1_000);
    job.assign(&[0, 1], 1_000);
    job.delivery(vec![(0, 5), (1, 5)], vec![batch(false)], 1_000);
    job.ends([(0, Some(0), Some(15)), (1, Some(0), Some(15))]);
    job
}

fn batch(is_committing: bool) -> BatchState {
    let session =
        SealedState { upload_id: "s1".to_owned(), target: String::new(), blocks: 1, rows: 20, fate: "committing" };
    BatchState {
        id: BatchId(0),
        phase: if is_committing { "committing" } else { "writing" },
        is_committing,
        recovered: false,
        ranges: BTreeMap::from([(0, Range { begin: 5, end: 15 }), (1, Range { begin: 5, end: 15 })]),
        sessions: if is_committing { vec![session] } else { Vec::new() },
    }
}

#[test]
fn a_job_that_waits_for_its_ends_is_late_after_a_while() {
    let job = job();
    assert_eq!((word(&job, 29_000), word(&job, 30_000)), (HealthWord::Starting, HealthWord::Stalled));
    job.live(Life::Connecting(Some("kafka:9092: refused".to_owned())), 31_000);
    let health = job.health(at(31_000), PATIENCE);
    assert_eq!(health.text, "waits for Kafka and MaxCompute: kafka:9092: refused");
    assert!(job.unready().is_some_and(|why| why.contains("refused")));
    job.live(Life::Joining, 40_000);
    assert_eq!((word(&job, 41_000), word(&job, 70_000)), (HealthWord::Starting, HealthWord::Stalled));
}

#[test]
fn silence_is_a_stall_only_where_something_should_come() {
    let job = at_work();
    assert_eq!(job.unready(), None);
    job.reading(Reading::CaughtUp, 2_000);
    job.ends([(0, None, Some(5)), (1, None, Some(5))]);
    assert_eq!(word(&job, 10_000_000), HealthWord::CaughtUp);
    // Records that wait for their commit to be due.
    job.ends([(0, None, Some(9))]);
    job.reading(Reading::Gathering { until: 20_000_000 }, 10_000_000);
    assert_eq!(word(&job, 20_020_000), HealthWord::Running);
    assert_eq!(word(&job, 20_040_000), HealthWord::Stalled, "the commit is overdue");
    // A block that nobody takes.
    let (stats, stages) = (Arc::new(Stats::default()), Arc::new(StageBoard::new(1)));
    job.batch_begun(&stats, &stages, 30_000_000);
    stages.enter(0, Stage::Upload, Instant::now(), "block 0 of session s: the tunnel server takes nothing");
    assert_eq!(word(&job, 30_020_000), HealthWord::Running);
    let health = job.health(at(30_040_000), PATIENCE);
    assert_eq!((health.word, health.stage, health.since_ms), (HealthWord::Stalled, Some("upload"), 30_000_000));
    assert_eq!(health.text, "waits in upload: block 0 of session s: the tunnel server takes nothing");
    // What is read once more is no progress; what is read anew is.
    let read = Read { records: 1, bytes: 9, position: 6, high_watermark: 15, log_start: 0, end: 15, newest_ms: 7 };
    job.read(0, &read, 30_041_000);
    job.read(0, &read, 30_060_000);
    assert_eq!((word(&job, 30_070_000), word(&job, 30_072_000)), (HealthWord::Running, HealthWord::Stalled));
}

#[test]
fn what_fails_again_and_again_is_a_stall_however_busy_it_is() {
    let job = at_work();
    for second in 2..60 {
        let now = second * 1_000;
        job.fail("write", "passing", "MaxCompute answers 500", now);
        let read = Read { position: second, ..Read::default() };
        job.read(0, &read, now);
    }
    let health = job.health(at(60_000), PATIENCE);
    assert_eq!((health.word, health.since_ms, health.stage), (HealthWord::Stalled, 2_000, Some("write")));
    assert!(health.text.ends_with("MaxCompute answers 500"), "{}", health.text);
    job.advanced(20, &batch(true).ranges, 60_500);
    assert_eq!(word(&job, 61_000), HealthWord::Running);
    let faults = job.view(at(61_000), PATIENCE).faults;
    assert_eq!(
        faults.iter().map(|fault| (fault.kind, fault.stage, fault.count)).collect::<Vec<_>>(),
        [("error", "write", 58)]
    );
}

#[test]
fn a_commit_that_hangs_names_its_session_until_it_is_over() {
    let job = at_work();
    job.session("s1", "ds=1", 1_500);
    job.delivery(vec![(0, 5), (1, 5)], vec![batch(true)], 2_000);
    let health = job.health(at(40_000), PATIENCE);
    assert_eq!((health.word, health.stage), (HealthWord::Stalled, Some("commit")));
    assert_eq!(health.text, "waits in commit: upload session s1, which is committing");
    let view = job.view(at(40_000), PATIENCE);
    assert_eq!((view.sessions.len(), view.sessions[0].opened_ms, view.lag.in_flight), (1, Some(1_500), 20));
    let commit = view.stages.iter().find(|stage| stage.stage == "commit").map(|stage| stage.ms);
    assert_eq!((commit, job.partitions()[0].sealed), (Some(38_000), Some(15)));
    job.advanced(20, &batch(true).ranges, 41_000);
    job.delivery(vec![(0, 15), (1, 15)], Vec::new(), 41_000);
    job.reading(Reading::CaughtUp, 41_000);
    let view = job.view(at(42_000), PATIENCE);
    assert_eq!((view.sessions.len(), view.totals.rows_committed, view.lag.records), (0, 20, Some(0)));
    assert_eq!((view.health.word, view.totals.commits), (HealthWord::CaughtUp, 1));
}

#[test]
fn a_partition_that_stands_still_is_told_before_all_else() {
    let job = at_work();
    job.halted(1, "offsets 5 to 9 have been deleted".to_owned(), 2_000);
    let health = job.health(at(900_000), PATIENCE);
    assert_eq!(health.word, HealthWord::Degraded);
    let text = "1 of 2 partitions stand still until a person has looked; partition 1: offsets 5 to 9 have been deleted";
    assert_eq!(health.text, text);
    assert_eq!((job.view(at(2_000), PATIENCE).halted, job.partitions()[1].state), (1, "halted"));
    job.live(Life::Ended(Some("no table".to_owned())), 950_000);
    assert_eq!(word(&job, 950_000), HealthWord::Failed);
    assert!(HealthWord::Failed > HealthWord::Stalled && HealthWord::Stalled > HealthWord::Degraded);
}

#[test]
fn a_paused_job_is_as_somebody_wants_it() {
    let job = at_work();
    job.pause();
    assert_eq!(word(&job, 2_000), HealthWord::Running, "it comes to its end first");
    job.live(Life::Ended(None), 3_000);
    assert_eq!((word(&job, 9_000_000), job.unready()), (HealthWord::Paused, None));
}

#[test]
fn dirty_reasons_stay_few() {
    let job = job();
    for n in 0..200 {
        job.dirty(&format!("column {n}"));
    }
    let reasons = job.view(at(0), PATIENCE).dirty.reasons;
    let other = reasons.iter().find(|reason| reason.reason == "other").map(|reason| reason.count);
    assert_eq!((reasons.len(), other), (REASONS_MAX + 1, Some(150)));
}
