//! Points of the design's crash table that end in an alarm: nothing is guessed, and the table stays as it was.

use std::sync::Arc;
use std::time::Duration;

use forebay_proto_tests::cli::run_forebay;
use forebay_proto_tests::kafka::Version;
use forebay_proto_tests::lane::{LIMIT, Lane, Plan, Site};
use forebay_proto_tests::scratch::Scratch;

/// Whether the version has what the point needs: before 1.1 groups cannot be deleted.
pub(crate) fn applies(point: usize, version: Version) -> bool {
    point != 18 || version >= Version::V1_1_1
}

pub(crate) fn play(site: &Arc<Site>, point: usize, seed: u64) {
    match point {
        18 => offsets_deleted(site, seed),
        19 => truncate_is_refused(),
        20 => schema_changed(site, seed),
        _ => topic_made_anew(site, seed),
    }
}

/// A lane whose first batch is sealed by an agent that is dead now.
fn sealed(site: &Arc<Site>, name: &str, start: &str) -> Lane {
    let mut lane = Lane::new(site, &Plan { start, ..Plan::new(name, 2) });
    lane.produce(50, 0);
    if start == "group" {
        // Whoever set the job up has said where to begin.
        let group = lane.group();
        let (server, scratch) = (lane.site.cluster.server(), Scratch::new(name));
        let words = [
            "kafka",
            "groups",
            "--bootstrap-server",
            &server,
            "--group",
            &group,
            "--topic",
            name,
            "--reset-offsets",
            "--to-earliest",
            "--execute",
        ];
        let _reset = run_forebay(&scratch, &words).expect_success();
    }
    let mut agent = lane.start_agent(&[("FOREBAY_CRASH_AT", "post:1:kill")]);
    let _status = agent.server.wait(LIMIT);
    assert!(lane.offsets().1, "nothing is sealed");
    lane
}

fn stands_still(lane: &mut Lane, why: &str) {
    let rows = lane.rows_in_table();
    let mut agent = lane.start_agent(&[]);
    agent.server.wait_until("the alarm", LIMIT, |agent| {
        let log = agent.log_text();
        log.contains("stands still until a person has looked") && log.contains(why)
    });
    std::thread::sleep(Duration::from_secs(1));
    agent.terminate();
    assert_eq!(lane.rows_in_table(), rows, "{}: the table has changed", lane.name);
}

fn offsets_deleted(site: &Arc<Site>, seed: u64) {
    let name = format!("deleted{seed}x");
    let mut lane = sealed(site, &name, "group");
    let (group, server, scratch) = (lane.group(), lane.site.cluster.server(), Scratch::new("deleted"));
    // Only once the coordinator has missed the dead member.
    let mut code = 1;
    for _ in 0..20 {
        let words = ["kafka", "groups", "--bootstrap-server", &server, "--group", &group, "--delete"];
        let told = run_forebay(&scratch, &words);
        code = told.code;
        if code == 0 && !told.stdout_text().contains("rror") {
            break;
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    assert_eq!(code, 0, "the group cannot be deleted");
    assert!(lane.offsets().0.is_empty(), "the group still has offsets");
    stands_still(&mut lane, "no committed offset");
}

fn truncate_is_refused() {
    let scratch = Scratch::new("truncate");
    let _job = scratch.write(
        "job.toml",
        "[source]\nbrokers = [\"127.0.0.1:1\"]\ntopic = \"t\"\nstart = \"earliest\"\n[target]\nproject = \"p\"\nendpoint = \
         \"http://127.0.0.1:1/api\"\ntable = \"t\"\ntruncate = true\n[[columns]]\nto = \"a\"\nfrom = \"value\"\n",
    );
    let _sources = scratch.write("sources.toml", "");
    let mut command = forebay_proto_tests::cli::forebay(&scratch);
    command
        .args(["agent", "job.toml"])
        .env("ALIBABA_CLOUD_ACCESS_KEY_ID", "id")
        .env("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "key");
    let refused = forebay_proto_tests::process::run(command, b"", LIMIT);
    assert_eq!(refused.code, 78, "{}", refused.describe());
    assert!(refused.stderr_text().contains("truncate is true"), "{}", refused.describe());
}

fn schema_changed(site: &Arc<Site>, seed: u64) {
    let name = format!("schema{seed}x");
    let mut lane = sealed(site, &name, "earliest");
    lane.service.service().clock().advance(Duration::from_secs(25 * 3600));
    lane.sql(&format!("alter table {name} add columns (later string)"));
    stands_still(&mut lane, "schema");
}

fn topic_made_anew(site: &Arc<Site>, seed: u64) {
    let name = format!("anew{seed}x");
    let mut lane = sealed(site, &name, "earliest");
    lane.site.cluster.delete_topic(&name);
    // Deleting takes its time.
    let mut made = false;
    for _ in 0..30 {
        std::thread::sleep(Duration::from_secs(1));
        let told =
            lane.site.cluster.topics(&["--create", "--topic", &name, "--partitions", "2", "--replication-factor", "1"]);
        if told.code == 0
            && !told.stdout_text().contains("marked for deletion")
            && !told.stdout_text().contains("already exists")
        {
            made = true;
            break;
        }
    }
    assert!(made, "topic {name} cannot be made anew");
    if !lane.offsets().0.is_empty() {
        // Ids tell the topics apart.
        stands_still(&mut lane, "they mean other records");
        return;
    }
    // The coordinator has forgotten the topic's offsets, and the intent with them: the new one begins as the job says, and
    // what was sealed is committed by nobody.
    let mut agent = lane.start_agent(&[]);
    agent.server.wait_until("a place in the group", LIMIT, |agent| agent.log_text().contains("generation"));
    lane.site.cluster.produce(&name, "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n", &[]);
    agent.server.wait_until("the new topic's rows", LIMIT, |_| lane.rows_in_table() >= 3);
    std::thread::sleep(Duration::from_secs(1));
    agent.terminate();
    assert_eq!(lane.rows_in_table(), 3, "{name}: rows of the old topic");
}
