//! Java programs: servers, Kafka's own tools, and single files compiled here.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::process::{command, run};
use crate::scratch::{Scratch, cached, package_folder};

/// Kafka 1.0.1 with Scala 2.11, and ZooKeeper 3.4.12: the versions of the reference walkthrough.
pub const KAFKA_1_0_1: &str = "kafka-1.0.1";
/// Kafka 2.8.2 with Scala 2.12, and ZooKeeper 3.5.
pub const KAFKA_2_8_2: &str = "kafka-2.8.2";
/// Kafka 4.4.0, the broker.
pub const KAFKA_4_4_0: &str = "kafka-4.4.0";
/// The newest command-line tools that are published; they talk to 4.4.0.
pub const KAFKA_TOOLS: &str = "kafka-tools-4.3.1";
/// odps-sdk-core.
pub const ODPS_SDK: &str = "odps-sdk-0.53.2";

/// A JVM that serves: `main_class` out of the archives `jars`, with a heap of at most `heap_mb` MiB.
#[must_use]
pub fn server(jars: &str, heap_mb: u32, settings: &[String], main_class: &str) -> Command {
    let mut java = command("java");
    // A server of a test does not live long enough for the optimizing compiler to pay: a broker starts with half the CPU.
    java.arg(format!("-Xmx{heap_mb}m")).args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]).args(settings);
    java.arg("-cp").arg(class_path(jars)).arg(main_class);
    java
}

/// A JVM that runs `main_class` once and ends: quick to start rather than quick to run.
#[must_use]
pub fn tool(jars: &str, main_class: &str) -> Command {
    tool_on(jars, &class_path(jars), main_class)
}

fn tool_on(jars: &str, class_path: &str, main_class: &str) -> Command {
    let mut java = command("java");
    // Classes of these archives as the JVM keeps them in memory, if `./proto-tests/run setup` could make that file: a tool starts
    // with two thirds of the CPU. Its class path has to begin as that of the file does; a file that does not fit is left aside.
    let classes = cached(jars).join("classes.jsa");
    if classes.exists() {
        java.arg("-Xlog:cds*=off").arg(format!("-XX:SharedArchiveFile={}", classes.display()));
    }
    // Not every tool has its options in common with log4j 1; the others do not read this one.
    let log4j = package_folder().join("java/log4j-tools.properties");
    java.args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]);
    // What is typed and printed is UTF-8, whatever the locale of the machine.
    java.arg("-Dfile.encoding=UTF-8");
    java.arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn");
    java.arg(format!("-Dlog4j.configuration=file:{}", log4j.display()));
    java.arg("-cp").arg(class_path).arg(main_class);
    java
}

/// A program of ours, `proto-tests/java/<name>.java` and what it uses beside it, compiled against the archives `jars`.
///
/// The classes are kept in the cache under a name made of everything they depend on, so that a change of the source is
/// seen and an unchanged one is compiled once.
#[must_use]
pub fn program(jars: &str, name: &str) -> Command {
    let source = package_folder().join("java").join(format!("{name}.java"));
    let text: Vec<(PathBuf, Vec<u8>)> = sources();
    let coordinates = fs::read(cached(jars).join("coordinates")).expect("the setup wrote it");
    let mut hasher = DefaultHasher::new();
    (&text, &coordinates).hash(&mut hasher);
    let classes = package_folder().join(".cache/classes").join(format!("{name}-{:016x}", hasher.finish()));
    if !classes.exists() {
        compile(jars, &source, &classes);
    }
    tool_on(jars, &format!("{}:{}", class_path(jars), classes.display()), name)
}

/// Every program of ours with its text: one may use another.
fn sources() -> Vec<(PathBuf, Vec<u8>)> {
    let folder = package_folder().join("java");
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("cannot read {}: {error}", folder.display()));
    let mut sources: Vec<_> = files
        .map(|file| file.expect("an entry of the folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "java"))
        .map(|path| {
            let text = fs::read(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
            (path, text)
        })
        .collect();
    sources.sort();
    sources
}

/// Compiles into a folder of its own and renames it, so that a half-written one is never found.
fn compile(jars: &str, source: &Path, classes: &Path) {
    let scratch = Scratch::new("javac");
    let building = scratch.folder("classes");
    let mut javac = command("javac");
    javac.args(["-J-Xmx256m", "-proc:none", "-cp"]).arg(class_path(jars));
    javac.arg("-sourcepath").arg(package_folder().join("java")).arg("-d").arg(&building).arg(source);
    let _output = run(javac, b"", Duration::from_secs(120)).expect_success();
    fs::create_dir_all(classes.parent().expect("it lies in the cache")).expect("the cache can be written");
    // Another test may have been faster; its classes are the same.
    if let Err(error) = fs::rename(&building, classes) {
        assert!(classes.exists(), "cannot make {}: {error}", classes.display());
    }
}

fn class_path(jars: &str) -> String {
    let lib: PathBuf = cached(jars).join("lib");
    format!("{}/*", lib.display())
}
