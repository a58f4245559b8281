//! Where one batch ends and the next begins.

use forebay_proto_tests::kafka::Version;
use forebay_proto_tests::lane::{Lane, Plan, Site};

/// No commit has more bytes than the job says, and none waits for its age while there are as many.
#[test]
fn batches_are_cut_by_bytes() {
    let site = Site::shared(Version::V4_4_0);
    let limits = "commit_every = { bytes = \"20KiB\", time = \"2s\" }";
    let mut lane = Lane::new(&site, &Plan { limits, ..Plan::new("bytes", 2) });
    // Some ten bytes of JSON come on top.
    lane.pad_values(1000);
    lane.produce(300, 0);
    let mut agent = lane.start_agent(&[]);
    lane.wait_for_all("all records committed", &mut agent);
    agent.terminate();
    let log = agent.server.log_text();
    let batches: Vec<u64> = (log.lines())
        .filter_map(|line| line.split_once(" rows committed")?.0.rsplit(' ').next()?.parse().ok())
        .collect();
    assert_eq!(batches.iter().sum::<u64>(), 300, "{log}");
    // 20 records of 1,010 bytes are below 20 KiB, and the one that passes it is the last.
    assert!(batches.iter().all(|rows| *rows <= 21), "{batches:?}");
    assert!(batches.iter().filter(|rows| **rows >= 20).count() >= 13, "{batches:?}");
    lane.judge();
}
