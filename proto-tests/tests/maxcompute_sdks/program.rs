//! The local MaxCompute as a program of its own: the example of `deploy/local-maxcompute.md`, as it is written there.

use std::fs;

use forebay_proto_tests::cli::forebay;
use forebay_proto_tests::process::{Server, command, run};
use forebay_proto_tests::scratch::{Scratch, cached, repository_folder};

use super::LIMIT;

#[test]
fn the_documents_example_runs() {
    let scratch = Scratch::new("program");
    let document = fs::read_to_string(repository_folder().join("deploy/local-maxcompute.md")).expect("the document");
    let example = document.split("```python\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let mut sandbox = forebay(&scratch);
    sandbox.args(["sandbox", "up", "--maxcompute", "--maxcompute-port", "0"]);
    let mut sandbox = Server::start("forebay sandbox up", sandbox, &scratch.path().join("sandbox.log"));
    sandbox.wait_until("its settings", LIMIT, |sandbox| sandbox.log_text().contains("Ctrl-C stops it."));
    let log = sandbox.log_text();
    assert!(!log.contains("bootstrap server"), "no brokers: {log}");
    let address = log.split("tunnel endpoint   http://").nth(1).and_then(|rest| rest.split_whitespace().next());
    let address = address.unwrap_or_else(|| panic!("no tunnel endpoint in {log}"));
    assert!(example.contains("127.0.0.1:8080"), "{example}");
    let mut python = command(cached("venv").join("bin/python"));
    python.arg(scratch.write("example.py", example.replace("127.0.0.1:8080", address)));
    let output = run(python, b"", LIMIT).expect_success().stdout_text();
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines.first(), Some(&"['a', 'b']"), "{output}");
    assert_eq!(lines.len(), 2, "{output}");
}
