//! Every command of the documentation: those of a page in one folder, in their order, against a sandbox of their own.
//!
//! A block marked `sh` is run as it stands, but for the ports. One marked `sh suite` needs hosts or clusters: what forebay is
//! asked there must be options that it knows. A job in a `toml` block must be one.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use forebay::kafka::{ClientConfig, ConsumerConfig, GroupConfig, ProducerConfig};
use forebay_proto_tests::cli::{forebay, program};
use forebay_proto_tests::process::{Output, Server, command, run};
use forebay_proto_tests::scratch::{Scratch, repository_folder};

use super::LIMIT;

/// The pages whose commands are run.
fn pages() -> Vec<PathBuf> {
    let root = repository_folder();
    let guide = fs::read_dir(root.join("deploy/guide/src")).expect("in the tree");
    let mut pages: Vec<PathBuf> =
        guide.map(|entry| entry.expect("an entry").path()).filter(|path| is_page(path)).collect();
    pages.extend(["README.md", "deploy/README.md", "deploy/local-maxcompute.md"].map(|page| root.join(page)));
    pages.sort();
    pages
}

/// Beside the pages of the guide lie its pictures.
fn is_page(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "md")
}

fn name(page: &Path) -> String {
    page.strip_prefix(repository_folder()).unwrap_or(page).display().to_string()
}

/// The blocks of a page: what stands behind their marks, and their lines.
fn blocks(text: &str) -> Vec<(String, String)> {
    let mut blocks: Vec<(String, String)> = Vec::new();
    let mut open = false;
    for line in text.lines() {
        match line.strip_prefix("```") {
            Some(_) if open => open = false,
            Some(kind) => {
                open = true;
                blocks.push((kind.trim().to_owned(), String::new()));
            }
            None if open => {
                if let Some((_, block)) = blocks.last_mut() {
                    block.push_str(line);
                    block.push('\n');
                }
            }
            None => {}
        }
    }
    blocks
}

/// The sandbox that a page asks for, on free ports.
fn sandbox(scratch: &Scratch, line: &str) -> (Server, String, String) {
    let mut up = forebay(scratch);
    up.args(line.split_whitespace().skip(1)).args(["--kafka-port", "0", "--maxcompute-port", "0"]);
    let mut sandbox = Server::start("sandbox", up, &scratch.path().join("sandbox.log"));
    sandbox.wait_until("the sandbox", LIMIT, |sandbox| sandbox.log_text().contains("Ctrl-C stops it"));
    let log = sandbox.log_text();
    let value = |label: &str| {
        let line = log
            .lines()
            .find_map(|line| line.trim().strip_prefix(label))
            .unwrap_or_else(|| panic!("no {label} in {log}"));
        line.trim().to_owned()
    };
    let (server, endpoint) = (value("bootstrap server"), value("tunnel endpoint"));
    (sandbox, server, endpoint)
}

/// Runs the commands of a page, in a folder that has the examples as a work tree has them.
fn run_page(page: &Path) {
    let text = fs::read_to_string(page).expect("in the tree");
    let mut script: String =
        blocks(&text).into_iter().filter(|(kind, _)| kind == "sh").map(|(_, block)| block).collect();
    if script.is_empty() {
        return;
    }
    let scratch = Scratch::new("documentation");
    for example in ["job.json", "table.sql"] {
        let path = format!("deploy/examples/testkafka/{example}");
        scratch.folder("deploy/examples/testkafka");
        scratch.write(&path, fs::read(repository_folder().join(&path)).expect("in the tree"));
    }
    let up: Vec<String> =
        script.lines().filter(|line| line.starts_with("forebay sandbox up")).map(str::to_owned).collect();
    let mut running = None;
    if let Some(line) = up.first() {
        let (server, kafka, tunnel) = sandbox(&scratch, line);
        script = script
            .lines()
            .filter(|line| !line.starts_with("forebay sandbox up"))
            .map(|line| format!("{line}\n"))
            .collect();
        script = script.replace("localhost:9092", &kafka).replace("http://127.0.0.1:8080", &tunnel);
        // The template names the usual port.
        script = script.replace(
            "forebay new --out job.toml\n",
            &format!("forebay new --out job.toml\nsed -i 's/localhost:9092/{kafka}/' job.toml\n"),
        );
        running = Some(server);
    }
    let folder = program().parent().expect("a folder");
    let path = std::env::var("PATH").unwrap_or_default();
    // The same program under its own name, and no variable of the machine that reaches into a job.
    let mut bash = command("bash");
    bash.current_dir(scratch.path()).args(["-euo", "pipefail", "-c", &script]);
    bash.env("PATH", format!("{}:{path}", folder.display()));
    for (variable, _) in
        std::env::vars().filter(|(name, _)| ["ODPS_", "ALIBABA_", "FOREBAY_"].iter().any(|p| name.starts_with(p)))
    {
        bash.env_remove(variable);
    }
    let output = run(bash, b"", LIMIT);
    assert_eq!(output.code, 0, "{}: {}\n{script}", name(page), output.describe());
    expected(page, &output);
    drop(running);
}

/// What a reader is promised to see at the end of a page.
fn expected(page: &Path, output: &Output) {
    let text = output.stdout_text();
    let wanted: &[&str] = match name(page).as_str() {
        "README.md" => {
            &["ok         this job can run", "| {\"event_id\":\"e2\"} | e2       | 123  |", "| no json", "NULL"]
        }
        "deploy/guide/src/from-datax.md" => &["任务启动时刻", "| e1       | d    |"],
        "deploy/guide/src/operations.md" => &["\"ok\":true", "upload session", "\"rows_written\":1"],
        "deploy/guide/src/sandbox.md" => {
            &["PartitionCount: 3", "topic \"testkafka\" with 3 partitions", "\"name\":\"a\""]
        }
        _ => &[],
    };
    for wanted in wanted {
        assert!(text.contains(wanted), "{}: no {wanted:?} in\n{text}", name(page));
    }
}

#[test]
fn the_readme_leads_a_newcomer_to_a_synced_table() {
    run_page(&repository_folder().join("README.md"));
}

#[test]
fn every_command_of_the_guide_works() {
    for page in pages().iter().filter(|page| name(page) != "README.md") {
        run_page(page);
    }
}

#[test]
fn every_option_in_blocks_for_other_hosts_is_known() {
    let mut tried = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).expect("in the tree");
        for (kind, block) in blocks(&text) {
            assert!(
                ["sh", "sh suite", "toml", "yaml", "python", "text", "rust,ignore"].contains(&kind.as_str())
                    || kind.is_empty() && name(&page) == "README.md",
                "{}: a block is marked {kind:?}",
                name(&page)
            );
            if kind != "sh suite" {
                continue;
            }
            for line in block.replace("\\\n", " ").lines() {
                let line = line.split(['#', '|', '>', '<']).next().unwrap_or_default();
                let Some((word, rest)) = line.split_once(' ') else { continue };
                if !["forebay", "./forebay", "target/release/forebay"].contains(&word) {
                    continue;
                }
                let scratch = Scratch::new("documentation");
                // A shell takes the words apart; what comes before --help must be known.
                let mut known = command("bash");
                known.current_dir(scratch.path()).args(["-c", &format!("exec \"$0\" {rest} --help")]).arg(program());
                let output = run(known, b"", LIMIT);
                assert_eq!(output.code, 0, "{}: {line}: {}", name(&page), output.describe());
                tried += 1;
            }
        }
    }
    assert!(tried >= 8, "{tried} commands");
}

#[test]
fn every_job_in_the_documentation_is_one() {
    let mut jobs = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).expect("in the tree");
        for (kind, block) in blocks(&text) {
            if kind != "toml" || !block.contains("[source]") {
                continue;
            }
            jobs += 1;
            let scratch = Scratch::new("documentation");
            let mut check = forebay(&scratch);
            check.args(["check", "-", "--offline", "--deny-warnings"]);
            let output = run(check, block.as_bytes(), LIMIT);
            assert_eq!(output.code, 0, "{}: {}\n{block}", name(&page), output.describe());
        }
    }
    assert!(jobs >= 3, "{jobs} jobs");
}

#[test]
fn the_summary_names_every_chapter() {
    let folder = repository_folder().join("deploy/guide/src");
    let summary = fs::read_to_string(folder.join("SUMMARY.md")).expect("in the tree");
    let named: BTreeSet<String> =
        summary.lines().filter_map(|line| Some(line.split_once("](")?.1.trim_end_matches(')').to_owned())).collect();
    let there: BTreeSet<String> = fs::read_dir(&folder)
        .expect("in the tree")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| is_page(path) && !path.ends_with("SUMMARY.md"))
        .filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
        .collect();
    assert_eq!(named, there);
}

/// A book made of the guide (by mdBook) holds the chapters and their pictures, and nothing beside them.
#[test]
fn every_link_of_the_guide_stays_in_it() {
    let folder = repository_folder().join("deploy/guide/src");
    let chapters = fs::read_dir(&folder).expect("in the tree").map(|entry| entry.expect("an entry").path());
    let mut followed = 0;
    for chapter in chapters.filter(|path| is_page(path)) {
        for link in fs::read_to_string(&chapter).expect("in the tree").split("](").skip(1) {
            let link = link.split([')', '#']).next().unwrap_or_default();
            let is_inside =
                link.is_empty() || link.starts_with("https://") || !link.contains('/') && folder.join(link).is_file();
            assert!(is_inside, "{}: {link}", name(&chapter));
            followed += 1;
        }
    }
    assert!(followed >= 10, "{followed} links");
}

/// Each property of the first table of the page on librdkafka is one that the library takes with its example.
#[test]
fn every_property_of_the_table_is_taken() {
    let page = repository_folder().join("deploy/guide/src/from-librdkafka.md");
    let text = fs::read_to_string(page).expect("in the tree");
    let table = text.split("## What differs").next().unwrap_or_default();
    let mut set = 0;
    for line in table.lines().filter(|line| line.starts_with("| `")) {
        let mut cells = line.trim_matches('|').split('|').map(str::trim);
        let (names, example) = (cells.next().unwrap_or_default(), cells.next().unwrap_or_default().trim_matches('`'));
        for property in names.split(',').map(|name| name.trim().trim_matches('`')) {
            let taken = [
                ClientConfig::new(["a:1"]).set_property(property, example),
                ConsumerConfig::default().set_property(property, example),
                GroupConfig::new("g").set_property(property, example),
                ProducerConfig::default().set_property(property, example),
            ];
            assert!(taken.iter().any(|taken| matches!(taken, Ok(true))), "{property}={example}: {taken:?}");
            set += 1;
        }
    }
    assert!(set >= 60, "{set} properties");
}
