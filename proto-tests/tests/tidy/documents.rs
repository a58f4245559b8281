//! Documents against the tree: the file map of `ARCHITECTURE.md`, and every relative link.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use forebay_proto_tests::scratch::repository_folder;

use super::assert_none;
use super::source::{all_files, read};

/// Root files that need no line in the map.
const OBVIOUS: &[&str] = &[".gitignore", ".editorconfig", "Cargo.lock", "Cargo.toml", "LICENSE"];

/// The first column of the map's tables: what stands between backquotes at a row's start.
fn mapped(text: &str) -> Vec<(usize, String)> {
    let map = text.split_once("## File map").map_or("", |(_, rest)| rest);
    let map = map.split_once("\n## ").map_or(map, |(map, _)| map);
    let first_line = text.len().checked_sub(map.len()).map_or(0, |_| {
        text.find("## File map").map_or(0, |at| text.get(..at).unwrap_or_default().matches('\n').count())
    });
    (first_line + 1..)
        .zip(map.lines())
        .filter_map(|(number, line)| {
            let (name, _) = line.trim_start().strip_prefix("| `")?.split_once('`')?;
            Some((number, name.trim_end_matches('/').to_owned()))
        })
        .collect()
}

#[test]
fn the_file_map_names_what_exists_and_every_folder() {
    let text = read("ARCHITECTURE.md");
    let mapped = mapped(&text);
    let mut complaints: Vec<String> = mapped
        .iter()
        .filter(|(_, name)| !repository_folder().join(name).exists())
        .map(|(line, name)| format!("ARCHITECTURE.md:{line}: {name} does not exist"))
        .collect();

    let names: BTreeSet<&str> = mapped.iter().map(|(_, name)| name.as_str()).collect();
    let mut wanted = BTreeSet::new();
    for file in all_files() {
        let parts: Vec<&str> = file.split('/').collect();
        match parts[..] {
            [name] if !OBVIOUS.contains(&name) && !name.ends_with(".md") => wanted.insert(name.to_owned()),
            [top, _, ..] if top != "src" && !top.starts_with('.') => wanted.insert(top.to_owned()),
            ["src", .., "tests", _] => false,
            // Every folder of the library.
            ["src", .., _] => wanted.insert(file.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned()),
            _ => false,
        };
    }
    for name in wanted.iter().filter(|name| !names.contains(name.as_str())) {
        complaints.push(format!("ARCHITECTURE.md: the file map lacks `{name}`"));
    }
    assert_none(&complaints);
}

/// The targets of the Markdown links of a text, with their lines; code blocks are no links.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    let mut in_code = false;
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        for (at, _) in line.match_indices("](") {
            let target = line.get(at + 2..).and_then(|rest| rest.split([')', ' ']).next()).unwrap_or_default();
            links.push((number, target.to_owned()));
        }
    }
    links
}

fn broken_links(file: &str, text: &str, exists: impl Fn(&Path) -> bool) -> Vec<String> {
    let folder = Path::new(file).parent().unwrap_or_else(|| Path::new(""));
    links(text)
        .into_iter()
        .filter(|(_, target)| !target.contains("://") && !target.starts_with('#') && !target.starts_with("mailto:"))
        .filter(|(_, target)| {
            let path = target.split('#').next().unwrap_or_default();
            !exists(&normal(&folder.join(path)))
        })
        .map(|(line, target)| format!("{file}:{line}: the link to {target} leads nowhere"))
        .collect()
}

/// `a/../b` is `b`; a path that leaves the repository stays as it is and is found nowhere.
fn normal(path: &Path) -> PathBuf {
    let mut parts: Vec<Component<'_>> = Vec::new();
    for part in path.components() {
        match (part, parts.last()) {
            (Component::CurDir, _) => {}
            (Component::ParentDir, Some(Component::Normal(_))) => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    parts.iter().collect()
}

#[test]
fn every_relative_link_leads_somewhere() {
    let exists = |path: &Path| !path.starts_with("..") && repository_folder().join(path).exists();
    let documents = all_files().into_iter().filter(|path| path.ends_with(".md"));
    let complaints: Vec<String> = documents.flat_map(|path| broken_links(&path, &read(&path), exists)).collect();
    assert_none(&complaints);
}

#[test]
fn a_broken_link_is_found() {
    let text = "[a](b.md) [c](../d.md#part)\n```\n[x](y)\n```\n[e](https://example.com) [f](#here)\n";
    let exists = |path: &Path| path == Path::new("docs/b.md");
    assert_eq!(broken_links("docs/a.md", text, exists), ["docs/a.md:1: the link to ../d.md#part leads nowhere"]);
}

#[test]
fn the_file_map_is_read_from_its_tables() {
    let text =
        "# A\n\n## File map\n\n| File | What |\n|---|---|\n| `src/wire/` | bytes |\n\n## Other\n| `gone.rs` | no |\n";
    assert_eq!(mapped(text), [(7, "src/wire".to_owned())]);
}
