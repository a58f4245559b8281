//! The pace of a job: its own speed limit, a service that cuts who is idle, one that has few slots, one that fails by chance.

use std::time::{Duration, Instant};

use forebay::sandbox::maxcompute::{Action, Fault, Switches};
use forebay::sync::run::{RunOptions, run};
use forebay_proto_tests::cli::run_forebay;
use forebay_proto_tests::scratch::Scratch;
use tokio::sync::watch;

use super::{RECORDS, World};

/// A speed limit makes records wait for minutes; the service cuts connections that are idle for two. Here both clocks run a
/// hundred times as fast: cut after 1.2 s instead of 120, ended by the job after 0.6 s instead of 60. No block is ever cut, and
/// each holds what was sent before it was ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_job_ends_its_blocks_before_the_service_cuts_them() {
    let world = World::new().await;
    world.service.set_switches(Switches { idle_cut_ms: 1_200, ..Switches::default() });
    // 90 a second are charged 450 at a time, with pauses of five seconds in the middle of a batch of 1,000; a chunk of 128 KiB
    // has some 540 rows.
    let mut spec = world.spec(r#""truncate": true, "blockSizeInMB": 8"#);
    spec.settings.records_per_second = Some(90);
    spec.reader.partitions = Some(vec![0]);
    spec.reader.end = forebay::job::End::Offset(1_000);
    let options = RunOptions { idle_max: Duration::from_millis(600), ..RunOptions::default() };
    let begin = Instant::now();
    let (_stop, stopped) = watch::channel(None);
    let summary = run(&spec, &options, stopped).await.unwrap();
    assert!(begin.elapsed() > Duration::from_secs(10), "the limit holds: {:?}", begin.elapsed());
    assert_eq!((summary.rows, summary.stats.blocks_resent), (1_000, 0), "{summary:?}");
    assert!(summary.blocks >= 2, "blocks are ended while the job waits: {summary:?}");
    let rows = world.ask("select count(*), count(distinct n) from t").await;
    assert_eq!(rows, [vec![Some("1000".to_owned()), Some("1000".to_owned())]]);
    let cut = world.service.requests().iter().filter(|request| request.status == 0).count();
    assert_eq!(cut, 0, "requests without an answer");
}

/// Without its care for idle requests the same job is cut: the test above can fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_leaves_its_requests_idle_is_cut() {
    let world = World::new().await;
    world.service.set_switches(Switches { idle_cut_ms: 300, ..Switches::default() });
    let mut spec = world.spec(r#""truncate": true, "blockSizeInMB": 8"#);
    spec.settings.records_per_second = Some(600);
    spec.reader.end = forebay::job::End::Offset(500);
    let (_stop, stopped) = watch::channel(None);
    let summary = run(&spec, &RunOptions::default(), stopped).await.unwrap();
    assert!(summary.stats.blocks_resent > 0, "{summary:?}");
    let rows = world.ask("select count(*), count(distinct n) from t").await;
    assert_eq!(rows, [vec![Some("2000".to_owned()), Some("2000".to_owned())]], "what was cut is sent again, once");
}

/// Rows of a stream job do not wait for the end of a pause.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_stream_job_sends_its_rows_while_it_pauses() {
    let world = World::new().await;
    let mut spec = world.spec(r#""truncate": false, "mode": "stream""#);
    spec.settings.records_per_second = Some(50);
    spec.settings.concurrent = 1;
    spec.reader.partitions = Some(vec![0]);
    spec.reader.end = forebay::job::End::Offset(300);
    let (_stop, stopped) = watch::channel(None);
    let options = RunOptions::default();
    let watching = async {
        // 250 records are five seconds of the limit; they are there after little more than the age of a pack.
        tokio::time::sleep(Duration::from_millis(3_500)).await;
        world.ask("select count(*) from t").await
    };
    let (summary, seen) = tokio::join!(run(&spec, &options, stopped), watching);
    assert_eq!(summary.unwrap().rows, 300);
    assert_eq!(seen, [vec![Some("250".to_owned())]]);
}

/// Fewer blocks at once when slots run out, more again when they do not. The log tells both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fewer_blocks_at_once_while_slots_are_out_and_more_again() {
    let world = World::new().await;
    let busy =
        Action::Status { status: 429, code: "SlotExceeded".into(), message: "slots".into(), retry_after_s: Some(0) };
    world.service.faults().push(Fault::before("upload_block", busy).times(2));
    let scratch = Scratch::new("slots");
    let (job, sources) = world.texts(r#""truncate": true, "blockSizeInMB": 8"#, 4);
    scratch.write("job.json", job);
    scratch.write("sources.toml", sources);
    let output = tokio::task::spawn_blocking(move || {
        run_forebay(&scratch, &["run", "job.json", "--datasources", "sources.toml"]).expect_success()
    });
    let log = output.await.unwrap().stderr_text();
    world.assert_complete().await;
    let fell = log.find("the service asks for fewer requests: at most 2 blocks at once from now on");
    let rose = log.find("up to 3 blocks at once again");
    assert!(fell.is_some() && fell < rose, "{log}");
}

/// Every kind of failure, by chance, on every request of the upload.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_by_chance_lose_and_repeat_nothing() {
    let world = World::new().await;
    let faults = world.service.faults();
    let status = |status, code: &str| Action::Status {
        status,
        code: code.into(),
        message: String::new(),
        retry_after_s: Some(0),
    };
    for fault in [
        Fault::before("upload_block", Action::CutRequest { after_bytes: 300_000 }).one_in(4).times(6),
        Fault::after("upload_block", Action::Drop).one_in(3).times(3),
        Fault::before("upload_block", status(500, "InternalServerError")).one_in(3).times(3),
        Fault::before("upload_status", status(502, "")).one_in(2).times(2),
        Fault::after("upload_commit", Action::Drop).one_in(2).times(2),
        Fault::after("upload_create", status(503, "ServiceUnavailable")).one_in(2).times(1),
    ] {
        faults.push(fault);
    }
    let mut resent = 0;
    for truncate in [true, true, true] {
        let summary = world.run(&world.spec(&format!(r#""truncate": {truncate}, "blockSizeInMB": 8"#))).await.unwrap();
        assert_eq!(summary.rows, u64::try_from(RECORDS).unwrap());
        resent += summary.stats.blocks_resent;
        world.assert_complete().await;
    }
    assert!(resent >= 3, "{resent}");
}
