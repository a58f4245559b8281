//! Words that must not stay: unfinished work, tests that do not run, and what belongs to one machine only.

use super::assert_none;
use super::source::{all_files, read, rust_files};

/// Words of unfinished work, each in two pieces so that this file does not complain about itself.
const UNFINISHED: &[(&str, &str)] =
    &[("todo", "!"), ("unimple", "mented!"), ("FIX", "ME"), ("XX", "X"), ("dbg", "!("), ("#[ig", "nore")];

/// Places of one machine, and hosts whose names are a setting of the machine that builds.
const MACHINES: &[(&str, &str)] = &[
    ("/wo", "rk/"),
    ("/ro", "ot/"),
    ("/ho", "me/"),
    ("/Us", "ers/"),
    ("repo1.mav", "en.org"),
    ("repo.mav", "en.apache.org"),
    ("py", "pi.org"),
    ("static.crat", "es.io"),
    ("index.crat", "es.io"),
    ("registry.np", "mjs.org"),
    ("deb.deb", "ian.org"),
    ("proxy.gol", "ang.org"),
];

/// Written by cargo, not by us.
const GENERATED: &[&str] = &["Cargo.lock", "proto-tests/fuzz/Cargo.lock"];

fn complaints(path: &str, text: &str, words: &[(&str, &str)]) -> Vec<String> {
    let mut complaints = Vec::new();
    for (first, second) in words {
        let word = format!("{first}{second}");
        for (at, _) in text.match_indices(&word) {
            let before = text.get(..at).unwrap_or_default();
            // A folder of that name inside a longer path is not the machine's.
            let last = before.chars().next_back().unwrap_or(' ');
            if !(last.is_alphanumeric() || ['_', '-', '.', '*', '}'].contains(&last)) {
                complaints.push(format!("{path}:{}: `{word}`", before.matches('\n').count() + 1));
            }
        }
    }
    complaints
}

#[test]
fn nothing_is_left_unfinished() {
    let complaints: Vec<String> =
        rust_files("").flat_map(|source| complaints(&source.path, &source.text, UNFINISHED)).collect();
    assert_none(&complaints);
}

#[test]
fn nothing_names_the_machine_it_was_written_on() {
    let files = all_files().into_iter().filter(|path| !GENERATED.contains(&path.as_str()));
    let complaints: Vec<String> = files.flat_map(|path| complaints(&path, &read(&path), MACHINES)).collect();
    assert_none(&complaints);
}

#[test]
fn a_forbidden_word_is_found_with_its_line() {
    let text = format!("a\n    // {}{}: later\n", "FIX", "ME");
    assert_eq!(complaints("src/a.rs", &text, UNFINISHED).len(), 1);
    assert!(complaints("src/a.rs", &text, UNFINISHED)[0].starts_with("src/a.rs:2:"));
    let path = format!("see {}{}main and a{}{}b", "/wo", "rk/", "/wo", "rk/");
    assert_eq!(complaints("README.md", &path, MACHINES).len(), 1);
    assert_eq!(complaints("README.md", &path[15..], MACHINES), [""; 0]);
}
