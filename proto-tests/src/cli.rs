//! The `forebay` program as a user calls it.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crate::process::{Output, command, run};
use crate::scratch::{Scratch, repository_folder};

/// How long a command may take that has little to do; the reference job waits ten seconds by itself.
const LIMIT: Duration = Duration::from_secs(180);

/// Names the program to try instead of the one of this work tree.
const PROGRAM_VARIABLE: &str = "FOREBAY_PROGRAM";

/// Variables of the machine that would reach into a job.
const FOREIGN: [&str; 16] = [
    "ODPS_PROJECT_NAME",
    "ODPS_ENDPOINT",
    "ODPS_TUNNEL_ENDPOINT",
    "ODPS_REGION_NAME",
    "ALIBABA_CLOUD_ACCESS_KEY_ID",
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
    "ALIBABA_CLOUD_SECURITY_TOKEN",
    "FOREBAY_CONFIG",
    "FOREBAY_BROKERS",
    "FOREBAY_DATASOURCES",
    "FOREBAY_ODPS_CONFIG",
    "FOREBAY_HTTP",
    "FOREBAY_CONTROL",
    "FOREBAY_GMOND",
    "FOREBAY_HTTP_TOKEN_FILE",
    "FOREBAY_METRICS_COMPAT",
];

/// A `forebay` command line without its arguments, in the folder of `scratch` and without variables that would reach into
/// a job.
#[must_use]
pub fn forebay(scratch: &Scratch) -> Command {
    let mut forebay = command(program());
    forebay.current_dir(scratch.path());
    for name in FOREIGN {
        forebay.env_remove(name);
    }
    forebay
}

/// Runs `forebay` with these arguments to its end.
#[must_use]
pub fn run_forebay(scratch: &Scratch, arguments: &[&str]) -> Output {
    let mut forebay = forebay(scratch);
    forebay.args(arguments);
    run(forebay, b"", LIMIT)
}

/// The program of this work tree, built as the tests were.
///
/// The variable `FOREBAY_PROGRAM` names another one: `./proto-tests/run deploy` tries what ships.
///
/// Cargo builds a program only for the tests of its own package, so it is asked here: what is tested is never older than
/// the source, whoever called `cargo test` and how.
#[must_use]
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        env::var_os(PROGRAM_VARIABLE).map_or_else(|| build(["--bin", "forebay"], "forebay"), PathBuf::from)
    })
}

/// A program of `examples/`, built likewise.
#[must_use]
pub fn example(name: &'static str) -> PathBuf {
    static EXAMPLES: Mutex<BTreeMap<&str, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut built = EXAMPLES.lock().unwrap_or_else(PoisonError::into_inner);
    built.entry(name).or_insert_with(|| build(["--example", name], &format!("examples/{name}"))).clone()
}

fn build(what: [&str; 2], file: &str) -> PathBuf {
    // A test lies in `<target>/<profile>/deps`.
    let test = env::current_exe().expect("a process knows its file");
    let profile_folder = test.parent().and_then(Path::parent).expect("cargo's layout");
    let target_folder = profile_folder.parent().expect("cargo's layout");
    let mut cargo = command(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(repository_folder()).args(["build", "--locked"]).args(what).arg("--target-dir");
    cargo.arg(target_folder);
    if profile_folder.ends_with("release") {
        cargo.arg("--release");
    }
    let _output = run(cargo, b"", Duration::from_secs(1800)).expect_success();
    let program = profile_folder.join(file);
    assert!(program.exists(), "cargo built no {}", program.display());
    program
}
