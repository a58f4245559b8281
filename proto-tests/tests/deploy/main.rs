//! What ships, where it has to run: the static program in an empty root folder, on another processor, on several hosts; what it
//! needs of memory and time; and the packages and scripts that bring it there. `./proto-tests/run deploy` makes the files of a
//! release first, and runs this as root: root folders and network namespaces are made.

mod bootstrap;
mod cpu;
mod empty_root;
mod footprint;
mod hosts;
mod manifests;
mod packages;
mod units;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use forebay_proto_tests::kafka::KafkaCluster;
use forebay_proto_tests::maxcompute::Account;
use forebay_proto_tests::process::{Output, command, run};
use forebay_proto_tests::scratch::repository_folder;
use forebay_proto_tests::table::{difference, read_with_pyodps};

/// How long a thing may take that is done within seconds.
pub(crate) const LIMIT: Duration = Duration::from_secs(180);

/// The program that ships for this processor of `./deploy/build`.
pub(crate) fn shipped(processor: &str) -> PathBuf {
    let path = repository_folder().join(format!("target/{processor}-unknown-linux-musl/dist/forebay"));
    assert!(path.exists(), "{} is missing: run `./deploy/build` first", path.display());
    path
}

/// A file of the release, by the beginning and the end of its name.
pub(crate) fn release_file(begin: &str, end: &str) -> PathBuf {
    let folder = repository_folder().join("target/release-files");
    let names = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: run `./deploy/release` first: {error}", folder.display()));
    let mut found = names.map(|entry| entry.expect("a folder can be read").path()).filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with(begin) && name.ends_with(end)
    });
    found.next().unwrap_or_else(|| panic!("no {begin}...{end} in {}: run `./deploy/release` first", folder.display()))
}

/// Runs a foreign program to its end.
pub(crate) fn ran(program: &str, arguments: &[&str]) -> Output {
    let mut command = command(program);
    command.args(arguments);
    run(command, b"", LIMIT)
}

/// A root folder that holds nothing but the program, a CA bundle, and what a host's administrator writes: names and resolver.
pub(crate) struct EmptyRoot {
    pub(crate) path: PathBuf,
}

impl EmptyRoot {
    pub(crate) fn new(path: PathBuf, program: &Path, hosts: &str) -> Self {
        let write = |name: &str, text: &[u8]| {
            let file = path.join(name);
            fs::create_dir_all(file.parent().expect("a folder")).expect("a folder can be made");
            fs::write(&file, text).expect("a file can be written");
        };
        write("etc/hosts", hosts.as_bytes());
        write("etc/resolv.conf", b"nameserver 127.0.0.1\noptions timeout:1 attempts:1\n");
        let bundle = fs::read("/etc/ssl/certs/ca-certificates.crt").expect("this machine has a CA bundle");
        write("etc/ssl/certs/ca-certificates.crt", &bundle);
        let _bytes = fs::copy(program, path.join("forebay")).expect("the program can be copied");
        Self { path }
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path.join(name), text).expect("a file can be written");
    }

    /// `/forebay` in there with `before` in front of `chroot`.
    pub(crate) fn command(&self, before: &[&str]) -> Command {
        let mut chroot = match before {
            [] => command("chroot"),
            [first, rest @ ..] => {
                let mut outer = command(first);
                outer.args(rest).arg("chroot");
                outer
            }
        };
        chroot.arg(&self.path).arg("/forebay").env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        chroot
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.command(&[]);
        command.args(arguments);
        run(command, b"", LIMIT)
    }
}

/// A job without an end from `server`'s `topic` into the table of the same name.
pub(crate) fn job(server: &str, topic: &str) -> String {
    format!(
        r#"
[source]
brokers = ["{server}"]
topic = "{topic}"
group = "group-{topic}"
start = "earliest"
config = {{ "session.timeout.ms" = "6000", "heartbeat.interval.ms" = "500", "request.timeout.ms" = "5000" }}
[target]
datasource = "odps_first"
table = "{topic}"
[[columns]]
to = "value"
from = "value"
[[columns]]
to = "p"
from = "record.partition"
[[columns]]
to = "o"
from = "record.offset"
[limits]
commit_every = {{ time = "300ms" }}
"#
    )
}

pub(crate) const JOB_TABLE: &str = "(value string, p string, o string)";

/// What ConsoleConsumer prints of `topic` is what PyODPS reads of its table, each record once.
pub(crate) fn assert_each_once(cluster: &KafkaCluster, account: &Account, topic: &str) {
    let text = |text: String| Some(text.into_bytes());
    let told = cluster.consume(topic);
    let expected: Vec<_> = (told.into_iter())
        .map(|record| vec![record.value.clone(), text(record.partition.to_string()), text(record.offset.to_string())])
        .collect();
    let table = read_with_pyodps(account, topic);
    if let Some(difference) = difference(&expected, &table.rows) {
        panic!("what PyODPS reads is not what ConsoleConsumer printed: {difference}");
    }
}
