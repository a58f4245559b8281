//! `forebay convert` and `forebay new`.

use std::fs;
use std::path::PathBuf;

use forebay_proto_tests::cli::{forebay, run_forebay};
use forebay_proto_tests::process::{Output, run};
use forebay_proto_tests::scratch::{Scratch, repository_folder};
use serde_json::Value;

use super::{LIMIT, World};

/// Every job file of the tree that is not in forebay's own form.
fn jobs() -> Vec<PathBuf> {
    let mut jobs: Vec<PathBuf> = ["proto-tests/vectors/jobs", "deploy/examples/testkafka"]
        .into_iter()
        .flat_map(|folder| fs::read_dir(repository_folder().join(folder)).expect("in the tree"))
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
        .collect();
    jobs.sort();
    assert!(jobs.len() >= 5, "{jobs:?}");
    jobs
}

/// The plan of a job as far as the file decides it, without what differs by form.
fn plan(scratch: &Scratch, job: &str) -> Value {
    let output = run_forebay(
        scratch,
        &["plan", job, "--offline", "-o", "json", "-p", "bizdate=20240101", "-p", "cyctime=20240102030405"],
    );
    let mut plan: Value = serde_json::from_str(output.expect_success().stdout_text().trim()).expect("a JSON object");
    for key in ["job", "file", "shape", "notes"] {
        plan.as_object_mut().expect("an object").remove(key);
    }
    plan
}

#[test]
fn every_job_gives_the_same_plan_in_the_new_form() {
    for path in jobs() {
        let scratch = Scratch::new("convert");
        scratch.write("job.json", fs::read(&path).expect("in the tree"));
        let output = run_forebay(
            &scratch,
            &["convert", "job.json", "--out", "job.toml", "-p", "bizdate=20240101", "-p", "cyctime=20240102030405"],
        );
        assert_eq!(output.code, 0, "{}: {}", path.display(), output.describe());
        assert_eq!(plan(&scratch, "job.toml"), plan(&scratch, "job.json"), "{}", path.display());
        // The variables are still variables.
        let text = fs::read_to_string(scratch.path().join("job.toml")).expect("it was written");
        let old = fs::read_to_string(&path).expect("in the tree");
        assert_eq!(text.contains("${bizdate}"), old.contains("${bizdate}"), "{text}");
    }
}

#[test]
fn what_is_left_out_is_told_and_a_file_is_never_overwritten() {
    let scratch = Scratch::new("convert");
    scratch.write("job.json", super::seed());
    let output = run_forebay(&scratch, &["convert", "job.json"]).expect_success();
    let text = output.stdout_text();
    for wanted in [
        "# job.json (DataWorks script mode), converted by forebay convert.",
        "# without effect, left out: version = \"2.0\", order, setting.speed.dmu = 1",
        "# without effect, left out: compress = false",
        "start = { offset = \"0\" }",
        "const = \"123\"",
        "from = \"value.tag.desc\"",
        "truncate = true",
    ] {
        assert!(text.contains(wanted), "no {wanted:?} in\n{text}");
    }
    scratch.write("there.toml", "mine");
    let output = run_forebay(&scratch, &["convert", "job.json", "--out", "there.toml"]);
    assert_eq!(output.code, 73, "{}", output.describe());
    assert_eq!(fs::read_to_string(scratch.path().join("there.toml")).expect("a file"), "mine");
    let output = run_forebay(&scratch, &["convert", "there.toml"]);
    assert_eq!(output.code, 78, "{}", output.describe());
}

#[test]
fn secrets_do_not_go_over() {
    let scratch = Scratch::new("convert");
    let inline = r#""accessId": "i", "accessKey": "canary", "project": "p", "odpsServer": "http://127.0.0.1:1/api","#;
    scratch.write("job.json", super::seed().replace("\"emptyAsNull\"", &format!("{inline} \"emptyAsNull\"")));
    let output = run_forebay(&scratch, &["convert", "job.json"]).expect_success();
    assert!(output.stdout_text().contains("access_key = \"${FOREBAY_ACCESS_KEY}\""), "{}", output.describe());
    assert!(
        output.stderr_text().contains("note: Writer.accessKey is a secret and does not go over"),
        "{}",
        output.describe()
    );
    assert!(!output.describe().contains("canary"), "{}", output.describe());
}

fn check_of(text: &str) -> Output {
    let scratch = Scratch::new("new");
    let mut check = forebay(&scratch);
    check.args(["check", "-", "--offline", "--deny-warnings"]);
    run(check, text.as_bytes(), LIMIT)
}

#[test]
fn templates_are_jobs() {
    let scratch = Scratch::new("new");
    for (options, wanted) in [(&["new"][..], "replaces the rows"), (&["new", "--continuous"], "exactly once")] {
        let text = run_forebay(&scratch, options).expect_success().stdout_text();
        let output = check_of(&text).expect_success();
        assert!(output.stdout_text().contains(wanted), "{}", output.describe());
        // What stands there as a comment is known once it is taken in.
        let taken_in = |line: &str| match line.strip_prefix("# ") {
            Some(rest) if (rest.contains(" = ") && !rest.starts_with("format")) || rest.starts_with('[') => {
                format!("{rest}\n")
            }
            _ => format!("{line}\n"),
        };
        let all: String = text.lines().map(taken_in).collect();
        assert!(all.contains("\nmemory_max = ") && all.contains("\n[source.config]"), "{all}");
        let output = check_of(&all);
        assert!(!output.stderr_text().contains("not a known key"), "{}\n{all}", output.describe());
    }
}

#[test]
fn a_converted_job_writes_the_same_rows() {
    let world = World::start();
    world.produce("0", "{\"event_id\":\"e1\",\"tag\":{\"desc\":\"d\"}}\nx\n");
    world.produce("1", "1\n2\n3\n4\n");
    let rows = || {
        let text = world.forebay(&["tunnel", "download", "testkafka"]).expect_success().stdout_text();
        let mut rows: Vec<String> = text.lines().map(str::to_owned).collect();
        rows.sort();
        rows
    };
    world.forebay(&["run", "job.json"]).expect_success();
    let old = rows();
    world.forebay(&["convert", "job.json", "--out", "job.toml"]).expect_success();
    world.sql("truncate table testkafka");
    world.forebay(&["run", "job.toml"]).expect_success();
    assert_eq!(rows(), old);
    assert_eq!(old.len(), 1 + 5, "{old:?}");
}
