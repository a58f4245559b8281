//! "Pure Rust" as a check: no crate in the agent's graph compiles, generates or links C.
//!
//! `deny.toml` says the same to cargo-deny; this test holds it wherever the tests run.

use std::collections::BTreeSet;
use std::time::Duration;

use forebay_proto_tests::process::{command, run};
use forebay_proto_tests::scratch::repository_folder;

/// Crates that build C code or look for C libraries.
const BUILDERS_OF_C: &[&str] = &["cc", "cmake", "bindgen", "pkg-config", "vcpkg", "nasm-rs", "autotools", "ring"];

/// Crates whose name says `-sys` and that are Rust all the same, each with the reason.
const HARMLESS_SYS: &[(&str, &str)] = &[("linux-raw-sys", "constants and types of the kernel's interface, in Rust")];

/// The targets that are released.
const TARGETS: [&str; 2] = ["x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl"];

/// The names of all crates that a build of the root package with `features` compiles for `target`: what it links, what
/// its build scripts use, and its procedural macros.
fn graph(features: &str, target: &str) -> BTreeSet<String> {
    let mut cargo = command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(repository_folder()).args([
        "tree",
        "--locked",
        "--package",
        "forebay",
        "--edges",
        "normal,build",
    ]);
    cargo.args(["--no-default-features", "--features", features, "--target", target, "--prefix", "none"]);
    let output = run(cargo, b"", Duration::from_secs(120)).expect_success();
    output.stdout_text().lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// What in a graph is against the rule, with the reason.
fn offenders(graph: &BTreeSet<String>) -> Vec<String> {
    let is_harmless = |name: &str| HARMLESS_SYS.iter().any(|(harmless, _)| *harmless == name);
    let offends =
        |name: &&String| BUILDERS_OF_C.contains(&name.as_str()) || (name.ends_with("-sys") && !is_harmless(name));
    graph.iter().filter(offends).cloned().collect()
}

#[test]
fn the_agent_holds_no_c() {
    for target in TARGETS {
        let graph = graph("static", target);
        assert!(graph.contains("forebay") && graph.contains("kafka-protocol"), "not the agent's graph: {graph:?}");
        assert_eq!(offenders(&graph), [""; 0], "in the agent for {target}");
        let of_icu: Vec<&String> = graph.iter().filter(|name| name.starts_with("icu_")).collect();
        assert!(of_icu.is_empty(), "{of_icu:?}: cargo update -p idna_adapter --precise 1.0.0 (CONTRIBUTING.md)");
    }
}

#[test]
fn the_sandbox_holds_no_c() {
    assert_eq!(offenders(&graph("static,sandbox", TARGETS[0])), [""; 0]);
}

#[test]
fn an_offender_is_found() {
    let graph = ["forebay", "zstd-sys", "linux-raw-sys", "cc", "syscall"].map(str::to_owned).into();
    assert_eq!(offenders(&graph), ["cc", "zstd-sys"]);
}
