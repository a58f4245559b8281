//! Which part of the library may import which (`ARCHITECTURE.md`, "Who may import whom").
//!
//! A path is followed through re-exports to the module that defines the item, so that a part cannot reach another one
//! through a folder's front door. Unit tests at a file's end are not bound: they do not ship.

use std::collections::BTreeMap;

use super::assert_none;
use super::modules::Modules;
use super::source::Source;

/// A part of the library: its name, the modules that belong to it (the longest match decides), and the parts it may import
/// beside itself, `limits` and `sorting`.
struct Part {
    name: &'static str,
    modules: &'static [&'static str],
    may_import: &'static [&'static str],
}

const PARTS: &[Part] = &[
    Part { name: "limits", modules: &["limits"], may_import: &[] },
    Part { name: "sorting", modules: &["sorting"], may_import: &[] },
    Part { name: "wire", modules: &["wire"], may_import: &[] },
    Part { name: "tls", modules: &["tls"], may_import: &[] },
    Part { name: "timings", modules: &["timings"], may_import: &[] },
    Part { name: "kafka::msg", modules: &["kafka::msg"], may_import: &["wire"] },
    Part { name: "kafka::record", modules: &["kafka::record"], may_import: &["wire"] },
    Part { name: "kafka::state", modules: &["kafka::state"], may_import: &["wire", "kafka::msg", "kafka::record"] },
    Part { name: "kafka::net", modules: &["kafka::net"], may_import: &["wire", "tls", "kafka::msg", "kafka::state"] },
    Part {
        name: "kafka (public API)",
        modules: &["kafka"],
        may_import: &["wire", "timings", "kafka::msg", "kafka::record", "kafka::state", "kafka::net"],
    },
    Part { name: "tunnel (pure)", modules: &["tunnel"], may_import: &["wire"] },
    Part { name: "tunnel::session", modules: &["tunnel::session", "tunnel::error"], may_import: &["tunnel (pure)"] },
    Part {
        name: "tunnel (public API)",
        modules: &["tunnel::client", "tunnel::http"],
        may_import: &["wire", "tls", "timings", "tunnel (pure)", "tunnel::session"],
    },
    Part { name: "job", modules: &["job"], may_import: &[] },
    Part { name: "sync (pure)", modules: &["sync"], may_import: &["job", "kafka::record", "tunnel (pure)"] },
    Part {
        name: "sync::{run, lane, block}",
        modules: &[
            "sync::run",
            "sync::lane",
            "sync::block",
            "sync::blocks",
            "sync::sessions",
            "sync::connect",
            "sync::look",
            "sync::outlook",
            "sync::prepare",
            "sync::preview",
            "sync::finish",
            "sync::deliver",
            "sync::dead_letters",
            "sync::stream",
        ],
        may_import: &[
            "wire",
            "sync (pure)",
            "job",
            "kafka (public API)",
            "kafka::record",
            "tunnel (pure)",
            "tunnel::session",
            "tunnel (public API)",
        ],
    },
    Part {
        name: "agent",
        modules: &["agent"],
        may_import: &["timings", "sync (pure)", "sync::{run, lane, block}", "job", "kafka (public API)"],
    },
    Part {
        name: "cli",
        modules: &["cli"],
        may_import: &[
            "wire",
            "kafka (public API)",
            "kafka::record",
            "tunnel (pure)",
            "tunnel::session",
            "tunnel (public API)",
            "job",
            "sync (pure)",
            "sync::{run, lane, block}",
            "agent",
            "sandbox",
        ],
    },
    Part {
        name: "sandbox",
        modules: &["sandbox"],
        // Never the machines of the client or of the upload session: the fake would share their mistakes.
        may_import: &["wire", "kafka::msg", "kafka::record", "tunnel (pure)"],
    },
    // The crate's front page names everything, and nothing is to name it.
    Part { name: "crate root", modules: &["", "main"], may_import: &["cli"] },
];

fn part_of(module: &[String]) -> &'static Part {
    let path = module.join("::");
    let holds = |prefix: &str| path == prefix || path.starts_with(&format!("{prefix}::"));
    PARTS
        .iter()
        .flat_map(|part| part.modules.iter().map(move |prefix| (prefix, part)))
        .filter(|(prefix, _)| holds(prefix))
        .max_by_key(|(prefix, _)| prefix.len())
        .map_or_else(
            || panic!("module {path} belongs to no part: add it to the table in tidy/edges.rs"),
            |(_, part)| part,
        )
}

/// One path that a file names, from the crate's root, and where it stands.
struct Named {
    position: usize,
    path: Vec<String>,
}

/// Every `crate::`, `super::` and `self::` path of a file: in `use` trees and in the code.
fn named_paths(code: &str, module: &[String]) -> Vec<Named> {
    let mut named = Vec::new();
    let bytes = code.as_bytes();
    for start in ["crate::", "super::", "self::"].iter().flat_map(|word| code.match_indices(word)).map(|(at, _)| at) {
        let before = start.checked_sub(1).and_then(|index| bytes.get(index)).copied().unwrap_or(b' ');
        // In the middle of a path or a word: `super::super::x` is met once, `$crate::` belongs to macros.
        if before.is_ascii_alphanumeric() || [b'_', b':', b'$'].contains(&before) {
            continue;
        }
        let rest = code.get(start..).unwrap_or_default();
        for path in use_tree(rest) {
            if let Some(path) = from_root(&path, module) {
                named.push(Named { position: start, path });
            }
        }
    }
    named
}

/// The paths of a `use` tree, or the one path of an expression, that begins at the start of `text`.
fn use_tree(text: &str) -> Vec<Vec<String>> {
    fn tree(rest: &mut &str, prefix: &[String], found: &mut Vec<Vec<String>>) {
        let mut path = prefix.to_vec();
        loop {
            *rest = rest.trim_start();
            if let Some(inside) = rest.strip_prefix('{') {
                *rest = inside;
                loop {
                    *rest = rest.trim_start();
                    if let Some(after) = rest.strip_prefix('}') {
                        *rest = after;
                        return;
                    }
                    let before = rest.len();
                    tree(rest, &path, found);
                    // `name as other` and the comma between two branches.
                    *rest = rest.trim_start();
                    if let Some(alias) = rest.strip_prefix("as ") {
                        *rest = alias.trim_start().trim_start_matches(|c: char| c.is_alphanumeric() || c == '_');
                    }
                    *rest = rest.trim_start();
                    *rest = rest.strip_prefix(',').unwrap_or(rest);
                    // Not a use tree after all.
                    if rest.len() == before {
                        return;
                    }
                }
            }
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            if word.is_empty() {
                *rest = rest.strip_prefix('*').unwrap_or(rest);
                break;
            }
            path.push(word.to_owned());
            *rest = after;
            match rest.strip_prefix("::") {
                Some(after) => *rest = after,
                None => break,
            }
        }
        found.push(path);
    }
    let mut found = Vec::new();
    let mut rest = text;
    tree(&mut rest, &[], &mut found);
    found
}

/// The same path from the crate's root. Inside a file, `super` is the module above the file's own; an inline module is
/// taken for its file.
fn from_root(path: &[String], module: &[String]) -> Option<Vec<String>> {
    let mut words = path.iter().map(String::as_str).peekable();
    let mut base: Vec<String> = match words.peek()? {
        &"crate" => Vec::new(),
        _ => module.to_vec(),
    };
    while let Some(word) = words.next_if(|word| ["crate", "self", "super"].contains(word)) {
        if word == "super" {
            base.pop()?;
        }
    }
    base.extend(words.filter(|word| *word != "self").map(str::to_owned));
    Some(base)
}

/// What the `use` lines of a module bring into it under which name.
fn imports(source: &Source, module: &[String]) -> BTreeMap<String, Vec<String>> {
    let mut imports = BTreeMap::new();
    for (start, _) in source.code.match_indices("use ") {
        let rest = source.code.get(start + 4..).unwrap_or_default();
        for path in use_tree(rest) {
            let Some(name) = path.last().cloned() else { continue };
            let first = path.first().map(String::as_str).unwrap_or_default();
            let path = match first {
                "crate" | "super" | "self" => from_root(&path, module),
                // Relative to the module itself, if it has such a child; else another crate's.
                _ => Some([module, &path].concat()),
            };
            imports.extend(path.map(|path| (name, path)));
        }
    }
    imports
}

/// The module that defines what `path` names, through re-exports.
fn defining_module(path: &[String], modules: &Modules, depth: u32) -> Vec<String> {
    let mut known = 0;
    while known < path.len() && modules.contains(path.get(..=known).unwrap_or_default()) {
        known += 1;
    }
    let (module, rest) = path.split_at(known);
    let (Some(item), Some(source)) = (rest.first(), modules.files.get(module)) else { return module.to_vec() };
    match imports(source, module).get(item) {
        // A re-export of a re-export of ...: no honest chain is that long.
        Some(target) if depth < 8 && target != path => {
            let further = [target.as_slice(), rest.get(1..).unwrap_or_default()].concat();
            let leads_on = modules.contains(target.get(..=module.len()).unwrap_or_default())
                || target.first() != module.first()
                || module.is_empty();
            if leads_on { defining_module(&further, modules, depth + 1) } else { module.to_vec() }
        }
        _ => module.to_vec(),
    }
}

/// Whether the path names an item that a folder's front page offers, for a part that may import that folder's public API.
fn is_offered_to(part: &Part, path: &[String], modules: &Modules) -> bool {
    let [folder, item, ..] = path else { return false };
    let is_module = modules.contains(&[folder.clone(), item.clone()]);
    !is_module && part.may_import.contains(&format!("{folder} (public API)").as_str())
}

fn complaints_of(modules: &Modules) -> Vec<String> {
    let mut complaints = Vec::new();
    for (module, source) in &modules.files {
        let part = part_of(module);
        let is_folder = source.path.ends_with("mod.rs");
        // A folder's front page lists what its parts offer; that is what it is for.
        let is_front_page = is_folder && part.modules.contains(&module.join("::").as_str()) || module.is_empty();
        for named in named_paths(source.shipped(), module) {
            let target = part_of(&defining_module(&named.path, modules, 0));
            let allowed = target.name == part.name
                || ["limits", "sorting"].contains(&target.name)
                || part.may_import.contains(&target.name)
                || is_offered_to(part, &named.path, modules);
            if !allowed && !is_front_page {
                complaints.push(format!(
                    "{}: {} may not import {} (`{}`)",
                    source.place(named.position),
                    part.name,
                    target.name,
                    named.path.join("::")
                ));
            }
        }
    }
    complaints
}

#[test]
fn no_part_imports_what_it_may_not() {
    assert_none(&complaints_of(&Modules::of_library()));
}

fn modules(files: &[(&str, &str, &str)]) -> Modules {
    let module = |path: &str| path.split("::").filter(|word| !word.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let files = files.iter().map(|(path, file, text)| (module(path), Source::new(file, text)));
    Modules { files: files.collect() }
}

#[test]
fn a_forbidden_edge_is_found_in_every_form() {
    let found = |text: &str| {
        complaints_of(&modules(&[
            ("", "src/lib.rs", "pub mod kafka;"),
            ("limits", "src/limits.rs", ""),
            (
                "kafka",
                "src/kafka/mod.rs",
                "mod state;\npub mod record;\npub use self::state::Link;\npub use record::Batch;",
            ),
            ("kafka::state", "src/kafka/state.rs", "pub struct Link;"),
            ("kafka::record", "src/kafka/record.rs", "pub struct Batch;"),
            ("sandbox", "src/sandbox/mod.rs", "mod broker;"),
            ("sandbox::broker", "src/sandbox/broker.rs", text),
        ]))
    };
    let forbidden = [
        "use crate::kafka::state::Link;",
        "use crate::{kafka::{record::Batch, state::Link}, limits};",
        "use crate::kafka::{record::{self, Batch as B}, state};",
        "\nfn f() { let x = crate::kafka::state::Link; }",
        "use super::super::kafka::state::Link;",
        "use crate::kafka::Link;",
        "use crate::kafka::{Batch, Link};",
    ];
    for text in forbidden {
        let complaints = found(text);
        assert_eq!(complaints.len(), 1, "{text}: {complaints:?}");
        assert!(complaints[0].starts_with("src/sandbox/broker.rs:"), "{complaints:?}");
    }
    let allowed = [
        "use crate::kafka::record::Batch;",
        "use crate::kafka::Batch;",
        "// use crate::kafka::state::Link;",
        "use super::clock;",
        "fn f() {}\n#[cfg(test)]\nmod tests { use crate::kafka::state::Link; }",
    ];
    for text in allowed {
        assert_eq!(found(text), [""; 0], "{text}");
    }
}
