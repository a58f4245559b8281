//! Readers that go away: whatever is being printed ends at once, with success and without a word.

use forebay_proto_tests::cli::program;
use forebay_proto_tests::process::{Output, command, run};

use crate::{Cluster, LIMIT};

/// `forebay WORDS | READER`, as a shell runs it: what the reader printed, and forebay's exit code and standard error.
fn piped(cluster: &Cluster, words: &[&str], reader: &str, delay: &str) -> Output {
    let mut bash = command("bash");
    let script = format!("(sleep {delay}; exec \"$@\") | {reader}; exit ${{PIPESTATUS[0]}}");
    bash.current_dir(cluster.scratch.path()).args(["-c", &script, "bash"]).arg(program()).args(words);
    run(bash, b"", LIMIT)
}

#[test]
fn a_reader_that_goes_away_ends_the_command_quietly() {
    let cluster = Cluster::start(3);
    let lines: String = (0..50_000).map(|number| format!("{number:0>60}\n")).collect();
    let _output = cluster.forebay(&lines, &["produce", "--topic", "t", "--partition", "1"]).expect_success();
    let _group = cluster
        .forebay("", &["groups", "--reset-offsets", "--group", "g", "--topic", "t", "--to-earliest", "--execute"]);
    let server = cluster.broker.address();
    let kafka = |words: &[&'static str]| {
        let (tool, rest) = words.split_first().expect("a tool");
        [&["kafka", tool, "--bootstrap-server", &server][..], rest].concat().into_iter().map(str::to_owned).collect()
    };
    let cat = |words: &[&'static str]| {
        [&["cat", "-q", "-b", &server][..], words].concat().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    // More than a pipe holds, and without an end of their own: only the reader's end can end them.
    let first = format!("{:0>60}", 0);
    for words in [
        kafka(&["consume", "--topic", "t", "--from-beginning"]),
        kafka(&["consume", "--topic", "t", "--from-beginning", "--group", "g"]),
        kafka(&["consume", "--topic", "t", "--from-beginning", "-o", "json"]),
        cat(&["-C", "-t", "t"]),
        cat(&["-C", "-t", "t", "-J"]),
        cat(&["-G", "h", "-X", "auto.offset.reset=earliest", "t"]),
    ] {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let output = piped(&cluster, &words, "head -n 1", "0").expect_success();
        assert!(output.stdout_text().contains(&first), "{}", output.describe());
        assert_eq!((output.stdout_text().lines().count(), output.stderr_text().as_str()), (1, ""), "{words:?}");
    }
    // Little to say, and nobody there from the start.
    for words in [
        kafka(&["topics", "--list"]),
        kafka(&["topics", "--describe"]),
        kafka(&["topics", "--describe", "-o", "json"]),
        kafka(&["groups", "--list", "--compat", "3"]),
        kafka(&["groups", "--describe", "--group", "g", "-o", "json"]),
        kafka(&["offsets", "--topic", "t"]),
        cat(&["-L"]),
        cat(&["-Q", "-t", "t:0:-1"]),
        cat(&["-h"]),
        vec!["kafka".to_owned(), "topics".to_owned(), "--help".to_owned()],
        vec!["--help".to_owned()],
        vec!["completions".to_owned(), "bash".to_owned()],
    ] {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let output = piped(&cluster, &words, ":", "0.2").expect_success();
        assert_eq!((output.stdout_text(), output.stderr_text()), (String::new(), String::new()), "{words:?}");
    }
    // What is copied to a reader that has gone is still sent, up to there.
    let mut bash = command("bash");
    let script = "(sleep 0.2; printf 'a\\nb\\n' | \"$@\"; echo $? >&2) | :";
    bash.args(["-c", script, "bash"])
        .arg(program())
        .args(["cat", "-q", "-b", &server, "-P", "-T", "-t", "t", "-p", "2"]);
    assert_eq!(run(bash, b"", LIMIT).expect_success().stderr_text(), "0\n");
    assert_eq!(cluster.kcat("", &["-C", "-t", "t", "-p", "2", "-c", "1"]), "a\n");
    cluster.stop();
}
