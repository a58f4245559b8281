//! Where one batch ends and the next begins.

use forebay_proto_tests::kafka::Version;
use forebay_proto_tests::lane::{LIMIT, Lane, Plan, Site};

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

/// Records that go while a batch is about to read them end their partition, and no other.
#[test]
fn a_range_that_is_lost_half_way_ends_one_partition() {
    let site = Site::shared(Version::V4_4_0);
    let mut lane = Lane::new(&site, &Plan::new("lostrange", 2));
    lane.produce(100, 0);
    // The batch has its ends, and the agent waits before it creates the session and reads.
    let mut agent = lane.start_agent(&[("FOREBAY_CRASH_AT", "create:1:1500")]);
    agent.server.wait_until("the point", LIMIT, |agent| agent.log_text().contains("crash point create"));
    lane.delete_records(0, 30);
    agent.server.wait_until("the alarm", LIMIT, |agent| {
        let log = agent.log_text();
        log.contains("partition 0 stands still until a person has looked")
            && log.contains("offset 0 is out of range: offsets 0 to 29")
    });
    lane.produce(10, 0);
    agent.server.wait_until("the other partition at its end", LIMIT, |_| lane.offsets().0.get(&1) == Some(&55));
    agent.terminate();
    assert_eq!(lane.offsets().0.get(&0), Some(&0), "the partition that lost records has moved");
    assert_eq!(lane.rows_in_table(), 55);
}

/// Partitions that have nothing to read hold up no other, batch after batch.
#[test]
fn a_quiet_partition_holds_up_no_other() {
    let site = Site::shared(Version::V4_4_0);
    let mut lane = Lane::new(&site, &Plan::new("quiet", 3));
    lane.write_only_to(1);
    let mut agent = lane.start_agent(&[]);
    for _ in 0..4 {
        lane.produce(10, 0);
        lane.wait_for_all("the records of the one partition that has any", &mut agent);
    }
    agent.terminate();
    lane.judge();
}
