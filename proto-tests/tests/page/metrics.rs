//! `/metrics` against the guide, against Prometheus's own parser, and against what `deploy/monitoring` asks of it.

use std::collections::{BTreeMap, BTreeSet};

use forebay_proto_tests::process::{command, run};
use forebay_proto_tests::scratch::{cached, package_folder, repository_folder};
use serde_json::Value;

use super::agent::{Agent, LIMIT};

/// Families of the operator's guide, section 11, each with its type and labels.
const GUIDE: &[(&str, &str, &[&str])] = &[
    ("forebay_build_info", "gauge", &["version", "commit", "target"]),
    ("forebay_records_received", "counter", &["job", "topic", "partition"]),
    ("forebay_received_bytes", "counter", &["job", "topic", "partition"]),
    ("forebay_rows_sent", "counter", &["job", "table"]),
    ("forebay_sent_bytes", "counter", &["job", "table"]),
    ("forebay_rows_committed", "counter", &["job", "table"]),
    ("forebay_dirty_records", "counter", &["job", "reason"]),
    ("forebay_errors", "counter", &["job", "stage", "code"]),
    ("forebay_retries", "counter", &["job", "stage", "code"]),
    ("forebay_lag_records", "gauge", &["job", "topic", "partition"]),
    ("forebay_delay_seconds", "gauge", &["job", "topic", "partition"]),
    ("forebay_offset", "gauge", &["job", "topic", "partition", "kind"]),
    ("forebay_up_to_date", "gauge", &["job"]),
    ("forebay_stage_busy_seconds", "counter", &["job", "stage"]),
    ("forebay_stage_wait_seconds", "counter", &["job", "stage"]),
    ("forebay_request_duration_seconds", "histogram", &["peer", "api", "le"]),
    ("forebay_buffer_bytes", "gauge", &["stage"]),
    ("forebay_memory_limit_bytes", "gauge", &["stage"]),
    ("forebay_sessions_open", "gauge", &["job"]),
    ("forebay_session_age_seconds", "gauge", &["job"]),
    ("forebay_intents_open", "gauge", &["job"]),
    ("forebay_intent_age_seconds", "gauge", &["job"]),
    ("forebay_halted_partitions", "gauge", &["job"]),
    ("forebay_rebalances", "counter", &["job"]),
    ("forebay_reloads", "counter", &["result"]),
    ("forebay_config_reload_success", "gauge", &[]),
    ("forebay_config_reload_timestamp_seconds", "gauge", &[]),
    ("forebay_config_generation", "gauge", &[]),
    ("process_cpu_seconds", "counter", &[]),
    ("process_resident_memory_bytes", "gauge", &[]),
    ("process_virtual_memory_bytes", "gauge", &[]),
    ("process_open_fds", "gauge", &[]),
    ("process_max_fds", "gauge", &[]),
    ("process_threads", "gauge", &[]),
    ("process_start_time_seconds", "gauge", &[]),
];

/// Families and the labels of their samples, as Prometheus's Python client reads the text.
pub(crate) fn parsed(text: &str) -> BTreeMap<String, (String, BTreeSet<String>, Vec<Value>)> {
    let mut python = command(cached("venv").join("bin/python"));
    python.arg(package_folder().join("python/read_metrics.py"));
    let output = run(python, text.as_bytes(), LIMIT);
    assert!(output.code == 0, "{}\n{text}", output.describe());
    let families: Vec<Value> = serde_json::from_slice(&output.stdout).expect("JSON");
    let family = |family: Value| {
        let samples = family["samples"].as_array().expect("samples").clone();
        let labels = samples.iter().flat_map(|sample| sample["labels"].as_object().expect("labels").keys().cloned());
        let (name, kind) = (family["name"].as_str().expect("a name"), family["type"].as_str().expect("a type"));
        (name.to_owned(), (kind.to_owned(), labels.collect(), samples))
    };
    families.into_iter().map(family).collect()
}

/// Every family of the guide is there by name and type, and no label is used that the guide does not have.
pub(crate) fn matches_guide(text: &str) {
    let families = parsed(text);
    for (name, kind, labels) in GUIDE {
        let Some((told, used, _)) = families.get(*name) else { panic!("{name} is missing") };
        assert_eq!(told, kind, "{name}");
        for label in used {
            assert!(labels.contains(&label.as_str()), "{name} has the label {label}");
        }
    }
    for name in families.keys() {
        assert!(GUIDE.iter().any(|(known, ..)| known == name), "{name} is not in the guide");
    }
}

#[test]
fn metrics_are_those_of_the_guide() {
    let agent = Agent::lonely("page-metrics", &[]);
    let answer = agent.get("/metrics");
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    matches_guide(&answer.text());
}

/// Names that look like metrics of ours, or of the standard set.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let ours = |word: &&str| (word.starts_with("forebay_") || word.starts_with("process_")) && !word.ends_with('_');
    words.filter(ours).map(str::to_owned).collect()
}

#[test]
fn dashboard_and_alerts_ask_for_what_there_is() {
    let agent = Agent::lonely("page-dashboard", &[]);
    let families: BTreeSet<String> = (agent.get("/metrics").text().lines())
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .map(|line| line.split(' ').next().expect("a name").to_owned())
        .collect();
    let exists = |name: &String| {
        let histogram = ["_bucket", "_sum", "_count"].iter().find_map(|ending| name.strip_suffix(ending));
        families.contains(name) || histogram.is_some_and(|name| families.contains(name))
    };
    for file in ["dashboard.json", "alerts.yml"] {
        let text = std::fs::read_to_string(repository_folder().join("deploy/monitoring").join(file)).expect("the file");
        let used = names(&text);
        assert!(used.len() >= 6, "{file} asks for {used:?}");
        for name in used {
            assert!(exists(&name), "{file} asks for {name}, which the agent does not have");
        }
    }
    let text = std::fs::read_to_string(repository_folder().join("deploy/monitoring/dashboard.json")).expect("the file");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    assert!(dashboard["panels"].as_array().is_some_and(|panels| panels.len() >= 8));
}
