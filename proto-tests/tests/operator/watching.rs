//! `forebay status` and `forebay top`: a running agent is asked.

use forebay_proto_tests::cli::{forebay, run_forebay};
use forebay_proto_tests::port;
use forebay_proto_tests::process::Server;
use rustix::process::Signal;

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

    agent.signal(Signal::TERM);
    assert_eq!(agent.wait(LIMIT).code(), Some(0), "{}", agent.log_tail());
}
