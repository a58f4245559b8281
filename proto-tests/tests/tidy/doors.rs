//! Dependencies with a single door, and names that only some folders may know.

use super::assert_none;
use super::source::{Source, rust_files};

/// A name, and the files or folders (by the start of their path) whose shipped code may use it.
struct Door {
    name: &'static str,
    open_to: &'static [&'static str],
}

const DOORS: &[Door] = &[
    Door {
        name: "tokio::net",
        open_to: &["src/kafka/net/", "src/agent/http/", "src/agent/control.rs", "src/agent/gmond.rs", "src/sandbox/"],
    },
    Door {
        name: "tokio",
        open_to: &[
            "src/kafka/",
            "src/tunnel/http",
            "src/tunnel/client",
            "src/sync/run",
            "src/sync/look/",
            "src/sync/preview.rs",
            "src/sync/lane.rs",
            "src/sync/block.rs",
            "src/sync/sessions.rs",
            "src/sync/finish.rs",
            "src/sync/stream.rs",
            "src/sync/dead_letters.rs",
            "src/sync/deliver/",
            "src/agent/",
            "src/cli/",
            "src/sandbox/",
        ],
    },
    Door { name: "reqwest", open_to: &["src/tunnel/http", "src/kafka/net/oidc.rs"] },
    Door { name: "kafka_protocol", open_to: &["src/kafka/msg/", "src/sandbox/broker/messages.rs"] },
    // What decodes with it without walking the shape first takes memory on the word of a count.
    Door { name: "Decodable", open_to: &["src/kafka/msg/foreign.rs", "src/sandbox/broker/messages.rs"] },
    Door { name: "rustls", open_to: &["src/tls.rs", "src/kafka/net/tls/", "src/tunnel/http"] },
    Door { name: "flate2", open_to: &["src/kafka/record/compress/", "src/tunnel/encode/"] },
    Door { name: "snap", open_to: &["src/kafka/record/compress/", "src/tunnel/encode/"] },
    Door { name: "lz4_flex", open_to: &["src/kafka/record/compress/", "src/tunnel/encode/"] },
    Door { name: "ruzstd", open_to: &["src/kafka/record/compress/", "src/tunnel/encode/"] },
    Door { name: "zookeeper_client", open_to: &["src/cli/kafka/zookeeper.rs"] },
    Door { name: "clap", open_to: &["src/cli/"] },
    Door { name: "httparse", open_to: &["src/agent/http/"] },
    Door { name: "rustix", open_to: &["src/agent/keys.rs", "src/agent/terminal.rs"] },
    Door { name: "comfy_table", open_to: &["src/cli/out"] },
    Door { name: "axum", open_to: &["src/sandbox/maxcompute/"] },
    Door { name: "gluesql_core", open_to: &["src/sandbox/maxcompute/"] },
    // Time is an argument of everything but the shells: that is what lets a test replay it.
    Door { name: "Instant::now", open_to: SHELLS },
    Door { name: "SystemTime::now", open_to: SHELLS },
    Door { name: "Timestamp::now", open_to: SHELLS },
    Door { name: "Zoned::now", open_to: SHELLS },
    // Crash points are orders of tests, and no part of what ships.
    Door { name: "env::var", open_to: &["src/job/env.rs", "src/cli/", "src/sync/crash.rs"] },
    Door { name: "env::vars", open_to: &["src/job/env.rs", "src/cli/"] },
];

const SHELLS: &[&str] = &[
    "src/agent/",
    "src/cli/",
    "src/kafka/net/",
    "src/tunnel/http",
    "src/sync/run",
    "src/sync/look/",
    "src/sync/prepare.rs",
    "src/sync/lane.rs",
    "src/sync/block.rs",
    "src/sync/sessions.rs",
    "src/sync/finish.rs",
    "src/sync/stream.rs",
    "src/sync/dead_letters.rs",
    "src/sync/deliver/",
    // The fake service's own clock.
    "src/sandbox/clock.rs",
    "src/sandbox/broker/clock.rs",
];

/// Layers below a shell, inside folders that are open above: no runtime, and maps whose order replays.
const SANS_IO: &[&str] =
    &["src/wire/", "src/kafka/msg/", "src/kafka/record/", "src/kafka/state/", "src/tunnel/session", "src/sync/step/"];

const NEVER_IN_SANS_IO: &[&str] = &["tokio", "HashMap", "HashSet", "async", "await"];

/// Where `name` stands as a path of its own in `code`.
fn uses(code: &str, name: &str) -> Vec<usize> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(name)
        .map(|(at, _)| at)
        .filter(|at| {
            let before = code.get(..*at).and_then(|text| text.chars().next_back()).unwrap_or(' ');
            let after = code.get(at + name.len()..).and_then(|text| text.chars().next()).unwrap_or(' ');
            !is_word(before) && !is_word(after)
        })
        .collect()
}

fn complaints_of(source: &Source) -> Vec<String> {
    let code = source.shipped();
    let open = |folders: &[&str]| folders.iter().any(|folder| source.path.starts_with(folder));
    let mut complaints = Vec::new();
    let mut complain = |name: &str, why: String| {
        complaints.extend(uses(code, name).into_iter().map(|at| format!("{}: `{name}`: {why}", source.place(at))));
    };
    for door in DOORS.iter().filter(|door| !open(door.open_to)) {
        complain(door.name, format!("only {} may name it", door.open_to.join(", ")));
    }
    if open(SANS_IO) {
        for name in NEVER_IN_SANS_IO {
            complain(name, "not in a sans-io layer: no runtime, and maps whose order replays".to_owned());
        }
    }
    complaints
}

#[test]
fn every_dependency_stays_behind_its_door() {
    assert_none(&rust_files("src/").flat_map(complaints_of).collect::<Vec<_>>());
}

#[test]
fn a_name_outside_its_door_is_found() {
    let complaints = |path: &str, text: &str| complaints_of(&Source::new(path, text)).len();
    assert_eq!(complaints("src/kafka/client.rs", "use tokio::net::TcpStream;"), 1);
    assert_eq!(complaints("src/kafka/net/dial.rs", "use tokio::net::TcpStream;"), 0);
    assert_eq!(complaints("src/kafka/state/link.rs", "use std::collections::{BTreeMap, HashMap};"), 1);
    assert_eq!(complaints("src/tunnel/client.rs", "type R = reqwest::Response; // reqwest"), 1);
    assert_eq!(complaints("src/job/spec.rs", "fn f() { my_tokio::x(); snapshot(); }"), 0);
    assert_eq!(complaints("src/sync/plan.rs", "fn f() {}\n#[cfg(test)]\nmod tests { fn g() { Instant::now(); } }"), 0);
}

#[test]
fn every_machine_says_its_inputs_and_outputs() {
    let machines = ["src/kafka/state/", "src/tunnel/session", "src/sync/step/"];
    let sources: Vec<&Source> = rust_files("src/").collect();
    let is_machine = |source: &Source| {
        let methods = ["pub fn handle_", "pub fn poll_", "pub(crate) fn handle_", "pub(crate) fn poll_"];
        methods.iter().any(|method| source.code.contains(method))
    };
    let says = |source: &Source| source.text.contains("Input") && source.text.contains("Output");
    // A machine in several files says it once, in its folder's `mod.rs`.
    let front_page_says = |source: &Source| {
        let front_page = source.path.rsplit_once('/').map(|(folder, _)| format!("{folder}/mod.rs"));
        sources.iter().any(|other| Some(&other.path) == front_page.as_ref() && says(other))
    };
    let complaints: Vec<String> = sources
        .iter()
        .filter(|source| machines.iter().any(|folder| source.path.starts_with(folder)) && is_machine(source))
        .filter(|source| !says(source) && !front_page_says(source))
        .map(|source| format!("{}:1: a machine whose docs lack an Inputs/Outputs paragraph", source.path))
        .collect();
    assert_none(&complaints);
}
