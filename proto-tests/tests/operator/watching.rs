//! `forebay status` and `forebay top`: a running agent is asked.

use forebay::agent::ask as ask_agent;
use forebay_proto_tests::cli::{forebay, run_forebay};
use forebay_proto_tests::port;
use forebay_proto_tests::process::Server;
use rustix::process::Signal;
use tokio::runtime::Runtime;

use super::during::on_a_terminal;
use super::{LIMIT, World};

#[test]
fn an_agent_says_how_its_jobs_are_and_the_exit_code_too() {
    let world = World::start();
    world.produce("0", "a\nb\nc\n");
    world.scratch.write("orders.toml", world.endless_job("[limits]\ncommit_every = { time = \"1s\" }\n"));
    let address = format!("127.0.0.1:{}", port::free());
    let ask = |arguments: &[&str]| run_forebay(&world.scratch, &[arguments, &["--http", &address]].concat());
    let nobody = ask(&["status"]);
    assert_eq!(nobody.code, 69, "{}", nobody.describe());
    assert!(nobody.stderr_text().contains(&format!("no agent at {address}")), "{}", nobody.describe());

    let mut agent = forebay(&world.scratch);
    agent.args(["agent", "orders.toml", "--datasources", "sources.toml", "--http", &address]);
    agent.args(["--metrics-compat", "kafka-exporter"]);
    let mut agent = Server::start("agent", agent, &world.scratch.path().join("agent.log"));
    // What it says is what the table holds.
    agent.wait_until("three rows", LIMIT, |_| {
        let said = ask(&["status", "-o", "json"]);
        said.code == 0 && said.stdout_text().contains("\"rows_committed\":3,")
    });
    let text = ask(&["top", "-n", "1"]).expect_success().stdout_text();
    let line = text.lines().find(|line| line.starts_with("orders ")).unwrap_or_else(|| panic!("no job in {text}"));
    let cells: Vec<&str> = line.split_whitespace().collect();
    assert_eq!((cells[4], cells[5], cells[6], cells[7]), ("0", "3", "0", "yes"), "{text}");
    assert!(text.starts_with("forebay ") && !text.contains('\u{1b}'), "{text}");
    assert_eq!(world.sql("select count(*) from testkafka").lines().last(), Some("3"));

    // Keys on a terminal: sorted the other way round, then the end.
    let keys = ["top", "--http", &address];
    let top = on_a_terminal(&world.scratch, &[("COLUMNS", "70"), ("LINES", "12")], "srq", &keys).expect_success();
    let drawn = top.stdout_text();
    assert!(drawn.starts_with("\u{1b}[?1049h") && drawn.trim_end().ends_with("\u{1b}[?1049l"), "{drawn:?}");
    assert!(drawn.contains("s sort: name") && drawn.contains("s sort: state (reversed)"), "{drawn:?}");
    assert!(
        drawn.split("\u{1b}[K").all(|line| line.chars().count() <= 70 + "\r\n\u{1b}[?1049h\u{1b}[?25l\u{1b}[H".len()),
        "{drawn:?}"
    );

    // What dashboards of kafka_exporter look for.
    let metrics = Runtime::new().expect("a runtime").block_on(ask_agent(&address, "/metrics")).expect("metrics");
    for sample in [
        "kafka_consumergroup_lag{consumergroup=\"forebay-orders\",partition=\"0\",topic=\"testkafka\"} 0",
        "kafka_consumergroup_current_offset{consumergroup=\"forebay-orders\",partition=\"0\",topic=\"testkafka\"} 3",
        "kafka_topic_partition_current_offset{partition=\"0\",topic=\"testkafka\"} 3",
        "kafka_topic_partition_oldest_offset{partition=\"0\",topic=\"testkafka\"} 0",
    ] {
        assert!(metrics.lines().any(|line| line == sample), "no {sample} in\n{metrics}");
    }

    agent.signal(Signal::TERM);
    assert_eq!(agent.wait(LIMIT).code(), Some(0), "{}", agent.log_tail());
}
