//! Commits whose answers are lost after the effect: every block is in the table once.
//!
//! A plain run commits 100 sessions; `FOREBAY_COMMITS=1000` is what `./proto-tests/run maxcompute` sets.

#![allow(clippy::print_stdout)]

use std::time::Duration;

use forebay::sandbox::maxcompute::{
    self, Action, EndedSession, Fault, MaxComputeSandboxConfig, RepeatedCommit, Switches,
};
use forebay::tunnel::{ErrorKind, UploadOptions};

use super::{ask, body, client, numbers, row, service};

/// Sessions at a time.
const BATCH: usize = 25;

fn commits() -> i64 {
    std::env::var("FOREBAY_COMMITS").ok().and_then(|text| text.parse().ok()).unwrap_or(100)
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_neither_loses_nor_repeats_a_block() {
    let service = service().await;
    let client = client(&service);
    client.sql("create table t (n bigint, s string)", &[]).await.unwrap();
    let commits = commits();
    for (round, first) in (0..commits).step_by(BATCH).enumerate() {
        let batch = (commits - first).min(BATCH as i64);
        // Every way in which the service may then answer the question whether it was done.
        service.set_switches(Switches {
            repeated_commit: if round % 2 == 0 { RepeatedCommit::Ok } else { RepeatedCommit::StatusConflict },
            closing_polls: u32::try_from(round % 3).unwrap(),
            stale_polls: u32::from(round % 4 == 3),
            ..Switches::default()
        });
        service.faults().push(Fault::after("upload_commit", Action::Drop).times(u32::try_from(batch).unwrap()));
        let mut tasks = tokio::task::JoinSet::new();
        for session in first..first + batch {
            let client = client.clone();
            tasks.spawn(async move {
                let upload = client.create_upload("t", None, UploadOptions::default()).await.unwrap();
                for block in 0..2_i64 {
                    let first = (2 * session + block) * 3;
                    let rows = numbers(first..first + 3);
                    upload.put_block(u32::try_from(block).unwrap(), body(upload.schema(), &rows)).await.unwrap();
                }
                upload.commit_counted(&[(0, 3), (1, 3)]).await.unwrap();
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
        assert!(service.faults().waiting().is_empty(), "every answer of the batch was dropped");
    }
    let rows = commits * 6;
    let sum = rows * (rows - 1) / 2;
    let wanted = [rows.to_string(), rows.to_string(), sum.to_string()];
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    assert_eq!(ask(&client, "select count(*), count(distinct n), sum(n) from t").await, [row(&wanted)]);
    println!("{commits} commits with the answer dropped after the effect: {rows} rows, each once");
}

/// A session's 24 hours end while its commit is on its way. Whatever the service still says of it, the client never claims a
/// commit that did not happen, nor denies one that did.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_races_with_the_sessions_end_is_told_as_it_was() {
    use EndedSession::{Forgotten, Shown};
    #[derive(Debug, PartialEq)]
    enum Told {
        Committed,
        Not,
        Unknown,
    }
    let lost = |after: bool| {
        if after { Fault::after("upload_commit", Action::Drop) } else { Fault::before("upload_commit", Action::Drop) }
    };
    let late = Fault::before("upload_commit", Action::Hold { hold_ms: 300 });
    // The fault that the commit meets, what the service remembers of ended sessions, what is told, rows in the table.
    let cases = [
        ("lost after its effect", lost(true), Shown, Told::Committed, "1"),
        ("lost after its effect, forgotten", lost(true), Forgotten, Told::Unknown, "1"),
        ("lost on its way", lost(false), Shown, Told::Not, "0"),
        ("lost on its way, forgotten", lost(false), Forgotten, Told::Unknown, "0"),
        ("later than the session", late.clone(), Shown, Told::Not, "0"),
        ("later than the session, forgotten", late, Forgotten, Told::Not, "0"),
    ];
    for (what, fault, ended, told, rows) in cases {
        // One that takes any request: a client's clock that is a day behind would be refused otherwise.
        let service = maxcompute::start(MaxComputeSandboxConfig::default()).await.unwrap();
        let client = client(&service);
        client.sql("create table t (n bigint, v string)", &[]).await.unwrap();
        service.set_switches(Switches { closed_sessions: ended, expired_sessions: ended, ..Switches::default() });
        let upload = client.create_upload("t", None, UploadOptions::default()).await.unwrap();
        upload.put_block(0, body(upload.schema(), &numbers(0..1))).await.unwrap();
        service.faults().push(fault);
        // Every question after the commit waits until the day is over.
        service.faults().push(Fault::before("upload_status", Action::Hold { hold_ms: 300 }).skip(1));
        let day_ends = async {
            while !service.requests().iter().any(|request| request.operation == "upload_commit") {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            service.clock().advance(Duration::from_secs(25 * 60 * 60));
        };
        let commit = async {
            let limit = Duration::from_secs(60);
            tokio::time::timeout(limit, upload.commit_counted(&[(0, 1)])).await.expect("an outcome")
        };
        let (outcome, ()) = tokio::join!(commit, day_ends);
        let found = match &outcome {
            Ok(()) => Told::Committed,
            Err(error) if error.kind() == ErrorKind::UnknownOutcome => Told::Unknown,
            Err(_) => Told::Not,
        };
        assert_eq!(found, told, "{what}: {outcome:?}");
        assert_eq!(ask(&client, "select count(*) from t").await, [row(&[rows])], "{what}");
    }
}
