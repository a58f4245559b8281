//! Kubernetes manifests and the Helm chart: made by kustomize and Helm, judged by Kubernetes' own schemas.

use std::path::{Path, PathBuf};
use std::process::Command;

use forebay_proto_tests::process::{Output, command, run};
use forebay_proto_tests::scratch::{Scratch, repository_folder};

use super::LIMIT;

/// A program that `./proto-tests/run deploy` has put into the cache.
fn tool(place: &str) -> Command {
    let path = repository_folder().join("proto-tests/.cache").join(place);
    assert!(path.exists(), "{} is missing: `./proto-tests/run deploy` makes it", path.display());
    command(path)
}

fn ran(mut tool: Command, arguments: &[&str]) -> Output {
    tool.args(arguments);
    run(tool, b"", LIMIT)
}

/// A Helm that was built from its module takes itself for one of an old Kubernetes.
const KUBERNETES: [&str; 2] = ["--kube-version", "1.33.0"];

fn helm(arguments: &[&str]) -> Output {
    ran(tool("go-tools/helm"), &[arguments, &KUBERNETES].concat())
}

/// What kubernetes-validate says of these manifests: unknown members are wrong, too.
fn validate(file: &Path) -> Output {
    ran(tool("venv/bin/kubernetes-validate"), &["--strict", &file.display().to_string()])
}

fn kinds(manifests: &str) -> Vec<&str> {
    manifests.lines().filter_map(|line| line.strip_prefix("kind: ")).collect()
}

fn deploy_folder(name: &str) -> PathBuf {
    repository_folder().join("deploy").join(name)
}

#[test]
fn kubernetes_takes_what_kustomize_makes_of_the_manifests() {
    let scratch = Scratch::new("kustomize");
    let base = deploy_folder("kubernetes/base");
    let made = ran(tool("go-tools/kustomize"), &["build", &base.display().to_string()]).expect_success().stdout_text();
    assert_eq!(kinds(&made), ["ConfigMap", "Deployment", "PodDisruptionBudget", "NetworkPolicy"], "{made}");
    let _valid = validate(&scratch.write("base.yaml", &made)).expect_success();
    let _valid = validate(&deploy_folder("kubernetes/backfill-job.yaml")).expect_success();
    // The judge sees a wrong member.
    let wrong = made.replace("replicas: 2", "replicas: 2\n  replica: 3");
    assert_ne!(validate(&scratch.write("wrong.yaml", wrong)).code, 0);
}

#[test]
fn kubernetes_takes_what_helm_makes_of_the_chart() {
    let scratch = Scratch::new("helm");
    let chart = deploy_folder("helm/forebay");
    let chart = chart.to_str().expect("a readable path");
    let values = scratch.write(
        "values.yaml",
        "jobs:\n  orders.toml: |\n    [source]\n    topic = \"orders\"\n  clicks.json: |\n    {\"type\": \"job\"}\nreplicas: 3\n\
         env:\n  - {name: KAFKA_PASSWORD, valueFrom: {secretKeyRef: {name: kafka, key: password}}}\n",
    );
    let values = values.to_str().expect("a readable path");
    let _clean = helm(&["lint", "--strict", chart, "--values", values]).expect_success();
    let made = helm(&["template", "sync", chart, "--values", values]).expect_success().stdout_text();
    let each = ["ConfigMap", "Deployment", "PodDisruptionBudget"];
    let mut found = kinds(&made);
    found.sort_unstable();
    assert_eq!(found, each.map(|kind| [kind; 2]).concat(), "{made}");
    assert!(made.contains("name: sync-orders") && made.contains("replicas: 3"), "{made}");
    let _valid = validate(&scratch.write("chart.yaml", &made)).expect_success();
    // Misspelt values are refused by the chart's schema, and named.
    let refused = helm(&["template", "sync", chart, "--values", values, "--set", "replica=3"]);
    assert!(refused.code != 0 && refused.stderr_text().contains("replica"), "{}", refused.describe());
}
