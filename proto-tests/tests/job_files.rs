//! Job files as a user meets them: `forebay check` and the errors of `forebay run`, by the program itself.
#![allow(clippy::unwrap_used)]

use forebay_proto_tests::cli::{forebay, run_forebay};
use forebay_proto_tests::process::{self, Server, run};
use forebay_proto_tests::scratch::{Scratch, repository_folder};

use std::time::Duration;

use rustix::process::Signal;

fn seed() -> String {
    std::fs::read_to_string(repository_folder().join("proto-tests/vectors/jobs/seed.json")).unwrap()
}

/// The reference job with a broker's address that is one.
fn usable_seed() -> String {
    seed().replace("47.xxx.xxx.xxx", "127.0.0.1")
}

const SOURCES: &str = "[odps_first]\ntype = 'odps'\nproject = 'p'\nendpoint = 'http://127.0.0.1:1/api'\n\
                       access_id = 'i'\naccess_key = '${file:key.txt}'\n";

/// What a command said and how it ended.
struct Output {
    code: i32,
    stdout: String,
    stderr: String,
}

impl From<process::Output> for Output {
    fn from(output: process::Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { code: output.code, stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// Checks or runs `job` in a folder with a data source file.
fn with_job(job: &str, arguments: &[&str]) -> Output {
    let scratch = Scratch::new("job-files");
    scratch.write("job.json", job);
    scratch.write("sources.toml", SOURCES);
    scratch.write("key.txt", "canary\n");
    run_forebay(&scratch, arguments).into()
}

fn lines_with<'a>(output: &'a Output, word: &str) -> Vec<&'a str> {
    output.stderr.lines().filter(|line| line.contains(word)).collect()
}

#[test]
fn the_reference_job_checks_with_no_warning_but_the_masked_address() {
    let output = with_job(&seed(), &["check", "job.json", "--offline"]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    let warnings = lines_with(&output, "warning: ");
    assert_eq!(warnings.len(), 1, "{}", output.stderr);
    assert!(warnings[0].contains("job.json:8:23: Reader.server: \"47.xxx.xxx.xxx:9092\" is a masked address"));
    for wanted in [
        "topic testkafka at 47.xxx.xxx.xxx:9092, all partitions",
        "group      console-consumer-83505; offsets are committed after the rows",
        "from offset 0 (inclusive) to offset 3 (exclusive)",
        "when every partition is at its end or at its last record, or when 10 s bring no record",
        "key BYTEARRAY, value BYTEARRAY, UTF-8, JSON members",
        "replaces the rows that are there",
        "t123 <- '123'",
        "tag <- tag.desc",
    ] {
        assert!(output.stdout.contains(wanted), "{wanted}\n{}", output.stdout);
    }

    let output = with_job(&usable_seed(), &["check", "job.json", "--offline", "--deny-warnings"]);
    assert_eq!((output.code, lines_with(&output, "warning: ").len()), (0, 0), "{}", output.stderr);
    let output = with_job(&seed(), &["check", "job.json", "--offline", "--deny-warnings"]);
    assert_eq!(output.code, 78);
}

#[test]
fn a_masked_address_stops_a_run_with_the_way_out() {
    let output = with_job(&seed(), &["run", "job.json", "--datasources", "sources.toml"]);
    assert_eq!(output.code, 78);
    assert!(output.stderr.contains("error: job.json:8:23: Reader.server: "), "{}", output.stderr);
    assert!(output.stderr.contains("next: ") && output.stderr.contains("--set reader.server="), "{}", output.stderr);
}

#[test]
fn every_mistake_of_a_file_is_shown_with_line_and_column() {
    let job = usable_seed()
        .replace(r#""topic": "testkafka""#, r#""Topic": "testkafka""#)
        .replace(r#""beginOffset": "0""#, r#""beginOffset": "5""#)
        .replace(r#""truncate": true"#, r#""truncate": """#);
    let output = with_job(&job, &["run", "job.json", "--datasources", "sources.toml"]);
    assert_eq!(output.code, 78);
    for wanted in [
        "warning: job.json:23:13: Reader.Topic is not a known key and has no effect; did you mean topic?",
        "error: job.json:7:22: Reader.topic: is missing",
        "error: job.json:26:28: Reader.beginOffset: the range begins behind its end: offset 5 comes after offset 3",
        "error: job.json:36:25: Writer.truncate: is blank",
        "error: job.json cannot be used: 3 errors",
    ] {
        assert!(output.stderr.contains(wanted), "{wanted}\n{}", output.stderr);
    }
}

#[test]
fn broken_json_names_line_and_column() {
    let job = usable_seed().replace(r#""keyType": "ByteArray","#, r#""keyType": "ByteArray""#);
    let output = with_job(&job, &["run", "job.json"]);
    assert_eq!(output.code, 78);
    assert_eq!(
        output.stderr.trim(),
        "error: job.json:25:13: not valid JSON: expected \",\" or \"}\", but a text begins"
    );
}

#[test]
fn jobs_that_cannot_be_say_so() {
    let seed = usable_seed();
    for (job, wanted) in [
        (
            seed.replace(r#""stepType": "kafka""#, r#""stepType": "mysql""#),
            "steps[0].stepType: \"mysql\" is not supported",
        ),
        (
            seed.replace("                \"tag\"\n", "")
                .replace("\"event_id\",\n            ],", "\"event_id\"\n            ],"),
            "the reader has 8 columns, but the writer only 7",
        ),
        (seed.replace("testkafka\"", "${table}\""), "variable ${table} has no value"),
        (seed.replace("odps_first", "odps_second"), "data source \"odps_second\" is not configured"),
        (String::new(), "job.json:1:1: not valid JSON: expected a value, but the file ends"),
    ] {
        let output = with_job(&job, &["run", "job.json", "--datasources", "sources.toml"]);
        assert_eq!(output.code, 78, "{wanted}\n{}", output.stderr);
        assert!(output.stderr.contains(wanted), "{wanted}\n{}", output.stderr);
    }
    let output = with_job("", &["run", "nowhere.json"]);
    assert_eq!((output.code, output.stderr.trim()), (78, "error: nowhere.json: no such file"));
}

#[test]
fn variables_and_overrides_reach_the_job() {
    let job = usable_seed().replace("\"topic\": \"testkafka\"", "\"topic\": \"${topic}\"");
    let output = with_job(
        &job,
        &[
            "check",
            "job.json",
            "--offline",
            "-p",
            "-Dtopic=orders",
            "--set",
            "Reader.server=10.0.0.1:1,10.0.0.2:2",
            "--set",
            "reader.kafkaConfig.group.id=g",
            "--set",
            "Writer.partition=pt=${bizdate}",
            "-p",
            "bizdate=20240101",
        ],
    );
    assert_eq!(output.code, 0, "{}", output.stderr);
    for wanted in ["topic orders at 10.0.0.1:1, 10.0.0.2:2", "group      g;", "partition pt=20240101"] {
        assert!(output.stdout.contains(wanted), "{wanted}\n{}", output.stdout);
    }
    let wrong = with_job(&job, &["run", "job.json", "--set", "Reader.server"]);
    assert_eq!(wrong.code, 2, "{}", wrong.stderr);
    let wrong = with_job(&job, &["run", "job.json", "-p", "topic=t", "--set", "Nobody.server=a:1"]);
    assert_eq!(wrong.code, 78);
    assert!(wrong.stderr.contains("--set Nobody.server: the job has no step \"Nobody\""), "{}", wrong.stderr);
}

#[test]
fn a_job_may_come_from_standard_input() {
    let scratch = Scratch::new("job-stdin");
    let mut command = forebay(&scratch);
    command.args(["check", "-", "--offline"]);
    let output = Output::from(run(command, usable_seed().as_bytes(), Duration::from_secs(60)));
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(output.stdout.starts_with("job        stdin (DataWorks script mode)\n"), "{}", output.stdout);
}

/// A secret in every place that takes one shows up nowhere, whatever happens and however much is logged.
#[test]
fn no_secret_is_ever_printed() {
    let inline = r#""datasource": "odps_first", "accessId": "i", "accessKey": "canary", "securityToken": "canary","#;
    let config =
        r#""group.id": "console-consumer-83505", "ssl.keystore.password": "canary", "sasl.jaas.config": "canary""#;
    let job = usable_seed()
        .replace(r#""datasource": "odps_first","#, inline)
        .replace(r#""group.id": "console-consumer-83505""#, config);
    for arguments in [
        vec!["check", "job.json", "--offline", "--datasources", "sources.toml"],
        vec!["run", "job.json", "--datasources", "sources.toml", "--deadline", "300ms", "-vvv"],
        vec!["run", "job.json", "--datasources", "sources.toml", "--deadline", "300ms", "-vvv", "--log-format", "json"],
        vec!["run", "job.json", "--datasources", "sources.toml", "--set", "writer.maxRetryTime=x"],
        vec!["run", "job.json", "--datasources", "key.txt"],
    ] {
        let output = with_job(&job, &arguments);
        let said = format!("{}{}", output.stdout, output.stderr);
        assert!(!said.is_empty() && !said.contains("canary"), "{arguments:?}\n{said}");
    }
    let output =
        with_job(&usable_seed(), &["run", "job.json", "--datasources", "sources.toml", "--deadline", "300ms", "-vvv"]);
    assert_eq!(output.code, 1, "{}", output.stderr);
    assert!(output.stderr.contains("the deadline passed before the end"), "{}", output.stderr);
    assert!(output.stderr.contains("table and group are unchanged"), "{}", output.stderr);
    assert!(!output.stderr.contains("canary"));
}

#[test]
fn the_log_has_datax_lines_or_json_objects() {
    let arguments = ["run", "job.json", "--datasources", "sources.toml", "--deadline", "100ms"];
    let text = with_job(&usable_seed(), &arguments);
    let first = text.stderr.lines().next().unwrap();
    let (time, rest) = first.split_once(" [").unwrap();
    assert_eq!(time.len(), "2024-01-02 03:04:05.678".len(), "{first}");
    assert!(rest.starts_with("main] INFO  cli::run - forebay "), "{first}");
    let json = with_job(&usable_seed(), &[&arguments[..], &["--log-format", "json"]].concat());
    let objects: Vec<serde_json::Value> = json
        .stderr
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(objects.len() >= 3, "{}", json.stderr);
    assert!(objects.iter().all(|object| object.get("ts").is_some() && object.get("msg").is_some()));
    let quiet = with_job(&usable_seed(), &[&arguments[..], &["-qqq"]].concat());
    assert!(quiet.stderr.starts_with("error: the deadline passed"), "{}", quiet.stderr);
}

#[test]
fn help_begins_with_three_examples() {
    for arguments in [vec!["--help"], vec!["run", "--help"], vec!["check", "--help"]] {
        let output = with_job("", &arguments);
        assert_eq!(output.code, 0);
        let mut lines = output.stdout.lines();
        assert_eq!(lines.next(), Some("Examples:"), "{arguments:?}");
        assert!(lines.take(3).all(|line| line.starts_with("  forebay ")), "{}", output.stdout);
    }
    assert_eq!(with_job("", &["run"]).code, 2);
}

/// A run that waits for a service that does not answer ends at a signal, with the signal's code.
#[test]
fn a_signal_ends_a_run_in_order() {
    for (signal, code, wanted) in [
        (Signal::INT, 130, "stopped by SIGINT before the end"),
        (Signal::TERM, 143, "stopped by SIGTERM before the end"),
        (Signal::QUIT, 143, "stopped at once"),
    ] {
        let scratch = Scratch::new("job-signal");
        scratch.write("job.json", usable_seed());
        scratch.write("sources.toml", SOURCES);
        scratch.write("key.txt", "canary");
        let mut command = forebay(&scratch);
        command.args(["run", "job.json", "--datasources", "sources.toml"]);
        let mut run = Server::start("forebay run", command, &scratch.path().join("run.log"));
        run.wait_until("first attempt", Duration::from_secs(60), |run| run.log_text().contains("again in"));
        run.signal(signal);
        let status = run.wait(Duration::from_secs(20));
        let log = run.log_text();
        assert_eq!(status.code(), Some(code), "{log}");
        assert!(log.contains(wanted) && log.contains("table and group are unchanged"), "{log}");
    }
}
