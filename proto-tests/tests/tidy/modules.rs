//! The module tree of a crate: which file a path leads to, and which files nothing leads to.

use std::collections::{BTreeMap, BTreeSet};

use super::assert_none;
use super::source::{Source, all_files, rust_files};

/// A crate's modules by their paths (`[]` is the root, `["kafka", "record"]` a nested one).
pub(crate) struct Modules {
    pub(crate) files: BTreeMap<Vec<String>, Source>,
}

impl Modules {
    /// Of the library in `src`.
    pub(crate) fn of_library() -> Self {
        Self { files: rust_files("src/").map(|source| (module_path(&source.path), source.clone())).collect() }
    }

    /// Whether there is a module at this path.
    pub(crate) fn contains(&self, path: &[String]) -> bool {
        self.files.contains_key(path)
    }
}

/// The module path of a file below `src`: `src/kafka/record/mod.rs` is `kafka::record`.
fn module_path(file: &str) -> Vec<String> {
    let stem = file.trim_start_matches("src/").trim_end_matches(".rs");
    let mut path: Vec<String> = stem.split('/').map(str::to_owned).collect();
    if path.last().is_some_and(|last| ["mod", "lib"].contains(&last.as_str())) {
        path.pop();
    }
    path
}

/// The names that `mod name;` lines of a file declare.
fn declared(source: &Source) -> Vec<String> {
    let code = source.code.replace('\n', " \n ");
    let words: Vec<&str> = code.split([' ', '\n']).filter(|word| !word.is_empty()).collect();
    let pairs = words.windows(2).filter(|pair| pair.first() == Some(&"mod"));
    pairs.filter_map(|pair| pair.last()?.strip_suffix(';')).map(str::to_owned).collect()
}

/// The files that `#[path]` attributes of a file name, from the repository's root on.
fn named(source: &Source) -> Vec<String> {
    let paths = source.text.lines().filter_map(|line| line.trim().strip_prefix("#[path = \"")?.strip_suffix("\"]"));
    let folder = source.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let whole = paths.map(|path| {
        let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
        for part in path.split('/') {
            match part {
                ".." => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        parts.join("/")
    });
    whole.collect()
}

/// The files that the crate with this root file compiles: the root, and what its `mod` lines lead to.
fn reached(root: &str, files: &BTreeMap<String, Source>) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    let mut open = vec![root.to_owned()];
    while let Some(path) = open.pop() {
        let Some(source) = files.get(&path) else { continue };
        let folder = folder_of_children(&path, root);
        for name in declared(source) {
            let file = [format!("{folder}/{name}.rs"), format!("{folder}/{name}/mod.rs")];
            open.extend(file.into_iter().filter(|file| files.contains_key(file)));
        }
        let named = named(source).into_iter().filter(|file| files.contains_key(file) && !reached.contains(file));
        open.extend(named);
        reached.insert(path);
    }
    reached
}

/// Where the children of a module lie: beside a root file or a `mod.rs`, else in a folder of the module's name.
fn folder_of_children(path: &str, root: &str) -> String {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    if path == root || name == "mod.rs" { folder.to_owned() } else { path.trim_end_matches(".rs").to_owned() }
}

/// Whether cargo takes this file for the root of a crate.
fn is_root(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    matches!(
        parts[..],
        ["src", "lib.rs" | "main.rs"]
            | [_, "src", "lib.rs" | "main.rs"]
            | ["src", "bin", _]
            | [_, "src", "bin", _]
            | ["examples", _]
            | [_, "tests" | "benches" | "examples", _]
            | [_, "tests" | "benches" | "examples", _, "main.rs"]
            | ["proto-tests", "fuzz", "fuzz_targets", _]
            | ["proto-tests", "fuzz", "src", "lib.rs"]
            | ["benches", "protocol", "src", "lib.rs" | "main.rs"]
            | ["benches", "protocol", "benches", _]
            | ["benches", "peers", .., "src", "lib.rs" | "main.rs"]
            | ["benches", "peers", .., "src", "bin", _]
    )
}

#[test]
fn every_source_file_is_compiled() {
    let files: BTreeMap<String, Source> = rust_files("").map(|source| (source.path.clone(), source.clone())).collect();
    let mut unreached: BTreeSet<String> = all_files().into_iter().filter(|path| path.ends_with(".rs")).collect();
    for root in files.keys().filter(|path| is_root(path)) {
        for path in reached(root, &files) {
            unreached.remove(&path);
        }
    }
    let complaints: Vec<String> = unreached.iter().map(|path| format!("{path}:1: no `mod` line leads here")).collect();
    assert_none(&complaints);
}

#[test]
fn a_file_without_a_mod_line_is_found() {
    let files: BTreeMap<String, Source> = [
        ("src/lib.rs", "pub mod a;\n// mod d;\n#[path = \"../other/e.rs\"]\nmod e;\n"),
        ("src/a/mod.rs", "mod b;\nmod inline { }\n"),
        ("src/a/b.rs", "mod c;"),
        ("src/a/b/c.rs", ""),
        ("src/d.rs", ""),
        ("other/e.rs", ""),
    ]
    .into_iter()
    .map(|(path, text)| (path.to_owned(), Source::new(path, text)))
    .collect();
    let reached = reached("src/lib.rs", &files);
    assert_eq!(
        reached.iter().map(String::as_str).collect::<Vec<_>>(),
        ["other/e.rs", "src/a/b.rs", "src/a/b/c.rs", "src/a/mod.rs", "src/lib.rs"]
    );
}

#[test]
fn every_module_says_what_it_is() {
    let complaints: Vec<String> = rust_files("")
        .filter(|source| !source.is_unit_test() && !source.text.starts_with("//!"))
        .map(|source| format!("{}:1: begins without a module doc (`//!`)", source.path))
        .collect();
    assert_none(&complaints);
}
