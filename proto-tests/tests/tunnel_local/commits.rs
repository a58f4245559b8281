//! Commits whose answers are lost after the effect: every block is in the table once.
//!
//! A plain run commits 100 sessions; `FOREBAY_COMMITS=1000` is what `./proto-tests/run maxcompute` sets.

#![allow(clippy::print_stdout)]

use forebay::sandbox::maxcompute::{Action, Fault, RepeatedCommit, Switches};
use forebay::tunnel::UploadOptions;

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
