//! `forebay demo` and `forebay sandbox up`, as somebody meets them who has nothing else yet.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use forebay_proto_tests::cli::forebay;
use forebay_proto_tests::process::{Server, run};
use forebay_proto_tests::scratch::{Scratch, repository_folder};
use rustix::process::Signal;

const LIMIT: Duration = Duration::from_secs(120);

/// `forebay` with these arguments, its temporary files in a folder that can be looked at.
fn in_folder(scratch: &Scratch, temporary: &Path, arguments: &[&str]) -> Command {
    let mut command = forebay(scratch);
    command.args(arguments).env("TMPDIR", temporary);
    command
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).expect("the folder is there").map(|entry| entry.expect("an entry").path()).collect()
}

#[test]
fn the_demo_walks_through_every_step_and_ends_with_the_table() {
    let scratch = Scratch::new("demo");
    let temporary = scratch.folder("tmp");
    let output = run(in_folder(&scratch, &temporary, &["demo"]), b"", LIMIT).expect_success();
    let text = output.stdout_text();

    let commands: Vec<&str> = text.lines().filter(|line| line.starts_with("$ forebay ")).collect();
    let wanted = [
        "--create --topic testkafka --partitions 10 --replication-factor 3",
        "kafka topics",
        "kafka produce",
        "kafka produce",
        "--from-beginning",
        "-f table.sql",
        "kafka groups",
        "--describe --group console-consumer-83505",
        "run job.json --set Reader.server=127.0.0.1:",
        "--describe --group console-consumer-83505",
        "-e 'select * from testkafka'",
    ];
    assert_eq!(commands.len(), wanted.len(), "{text}");
    for (command, wanted) in commands.iter().zip(wanted) {
        assert!(command.contains(wanted), "{command:?} is to have {wanted:?}");
    }
    assert!(text.contains("Created topic testkafka."), "{text}");

    let table: Vec<&str> = text.lines().filter(|line| line.starts_with("| ")).collect();
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>().join("|");
    assert_eq!(cells(table[0]), "|key|value|partition1|timestamp1|offset|t123|event_id|tag|");
    assert_eq!(table.len(), 1 + 9, "{text}");
    // What was typed in the walkthrough, and the last record before the exclusive end.
    for (value, rest) in [("123", "0|123|NULL|NULL"), ("abc", "0|123|NULL|NULL"), ("", "0|123|NULL|NULL")] {
        let found = table.iter().map(|line| cells(line)).filter(|row| row.starts_with(&format!("|NULL|{value}|")));
        let found: Vec<String> = found.filter(|row| row.ends_with(&format!("|{rest}|"))).collect();
        assert_eq!(found.len(), 1, "{value:?} in {text}");
    }
    let last = table.iter().map(|line| cells(line)).any(|row| row.ends_with("|2|123|p2|offset 2|"));
    assert!(last && !table.iter().any(|line| line.contains("p3")), "{text}");
    assert_eq!(entries(&temporary), Vec::<PathBuf>::new(), "nothing may stay behind");
}

#[test]
fn the_demo_runs_the_examples_as_they_stand() {
    let scratch = Scratch::new("demo");
    let temporary = scratch.folder("tmp");
    let log = scratch.path().join("log");
    let mut demo = Server::start("demo", in_folder(&scratch, &temporary, &["demo", "--keep"]), &log);
    demo.wait_until("the end of the walk", LIMIT, |demo| demo.log_text().contains("All of it keeps running"));

    let folder = entries(&temporary).pop().expect("the demo has a folder");
    for name in ["job.json", "table.sql"] {
        let example = repository_folder().join("deploy/examples/testkafka").join(name);
        let example = fs::read_to_string(example).expect("the example is in the repository");
        assert_eq!(fs::read_to_string(folder.join(name)).expect("the demo wrote it"), example);
    }
    // The commands that were shown work for whoever types them again.
    let mut again = forebay(&scratch);
    let query = [
        "sql",
        "--datasources",
        "datasources.toml",
        "-o",
        "csv",
        "-e",
        "select value from testkafka where value = 'abc'",
    ];
    again.current_dir(&folder).args(query);
    assert_eq!(run(again, b"", LIMIT).expect_success().stdout_text(), "value\nabc\n");

    demo.signal(Signal::INT);
    assert_eq!(demo.wait(LIMIT).code(), Some(0), "{}", demo.log_tail());
    assert_eq!(entries(&temporary), Vec::<PathBuf>::new());
}

#[test]
fn the_sandbox_says_how_to_reach_it_and_keeps_what_it_is_told() {
    let scratch = Scratch::new("sandbox-up");
    let up =
        ["sandbox", "up", "--kafka-port", "0", "--maxcompute-port", "0", "--topic", "testkafka:10", "--data", "data"];
    let start = |round: &str| {
        let log = scratch.path().join(round);
        let mut sandbox = Server::start("sandbox", in_folder(&scratch, scratch.path(), &up), &log);
        sandbox.wait_until("the sandbox", LIMIT, |sandbox| sandbox.log_text().contains("Ctrl-C stops it"));
        sandbox
    };
    let told = |text: &str, what: &str| {
        let line =
            text.lines().find_map(|line| line.trim().strip_prefix(what)).unwrap_or_else(|| panic!("no {what}: {text}"));
        line.trim().to_owned()
    };
    // The data source file is what stands under its name, without the indentation.
    let source = |text: &str| -> String {
        let lines = text.lines().skip_while(|line| *line != "datasources.toml").skip(1);
        lines.take_while(|line| line.starts_with("  ")).map(|line| format!("{}\n", line.trim())).collect()
    };
    let forebay = |input: &str, arguments: &[&str]| {
        let mut command = forebay(&scratch);
        command.args(arguments);
        run(command, input.as_bytes(), LIMIT).expect_success().stdout_text()
    };
    let stop = |mut sandbox: Server| {
        sandbox.signal(Signal::INT);
        assert_eq!(sandbox.wait(LIMIT).code(), Some(0), "{}", sandbox.log_tail());
    };
    let sql = ["sql", "--datasources", "datasources.toml", "-o", "csv", "-e"];

    let first = start("first");
    let server = told(&first.log_text(), "bootstrap server");
    scratch.write("datasources.toml", source(&first.log_text()));
    let at = ["--bootstrap-server", &server, "--topic", "testkafka"];
    forebay("kept\n", &[&["kafka", "produce"][..], &at].concat());
    forebay("", &[&sql[..], &["create table t (a string); insert into t values ('kept')"]].concat());
    stop(first);

    let second = start("second");
    let server = told(&second.log_text(), "bootstrap server");
    scratch.write("datasources.toml", source(&second.log_text()));
    let at = ["--bootstrap-server", &server, "--topic", "testkafka", "--from-beginning", "--max-messages", "1"];
    assert_eq!(forebay("", &[&["kafka", "consume"][..], &at].concat()), "kept\n");
    assert_eq!(forebay("", &[&sql[..], &["select a from t"]].concat()), "a\nkept\n");
    stop(second);
}

#[test]
fn a_port_that_is_taken_is_named() {
    let scratch = Scratch::new("sandbox-up");
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    for option in ["--kafka-port", "--maxcompute-port"] {
        let other = if option == "--kafka-port" { "--maxcompute-port" } else { "--kafka-port" };
        let output =
            run(in_folder(&scratch, scratch.path(), &["sandbox", "up", option, &port, other, "0"]), b"", LIMIT);
        assert_eq!(output.code, 73, "{}", output.describe());
        let said = output.stderr_text();
        assert!(said.contains(&format!("127.0.0.1:{port}")) && said.contains(option), "{}", output.describe());
    }
}
