//! The EMR script: twice in a row, with a broken download, with a wrong sum, and on hosts of other roles.

use std::fs;
use std::path::Path;

use forebay_proto_tests::process::Output;

use super::packages::DebianRoot;
use super::{ran, release_file};

fn sum(file: &Path) -> String {
    let output = ran("sha256sum", &[&file.display().to_string()]).expect_success().stdout_text();
    output.split_whitespace().next().expect("a sum").to_owned()
}

/// Every file below some folders with size, link and time of change: what a run has changed.
fn state(root: &DebianRoot) -> String {
    let script =
        "find /opt /etc/forebay /etc/systemd/system /usr/bin/forebay -printf '%p %y %s %l %T@\\n' 2>/dev/null | sort";
    root.shell(script).stdout_text()
}

struct Host {
    root: DebianRoot,
    script: String,
    url: String,
    sum: String,
}

impl Host {
    fn new() -> Self {
        let root = DebianRoot::new("bootstrap");
        let tarball = release_file("forebay-", "-x86_64.tar.gz");
        let script = root.bring(&release_file("emr-bootstrap.sh", ""));
        let url = format!("file://{}", root.bring(&tarball));
        let job = "[source]\nbrokers = [\"emr-header-1:9092\"]\n";
        fs::write(root.path("tmp/orders.toml"), job).expect("a file can be written");
        Self { root, script, url, sum: sum(&tarball) }
    }

    fn run(&self, host: &str, url: &str, sum: &str, more: &str) -> Output {
        let Self { root, script, .. } = self;
        root.shell(&format!(
            "FOREBAY_HOSTNAME={host} bash {script} --url {url} --sha256 {sum} --job /tmp/orders.toml {more}"
        ))
    }
}

#[test]
fn it_installs_once_and_then_has_nothing_to_do() {
    let host = Host::new();
    let first = host.run("emr-header-1", &host.url, &host.sum, "").expect_success();
    assert!(first.stdout_text().contains("done: forebay "), "{}", first.describe());
    let _version =
        host.root.shell("/usr/bin/forebay --version && /opt/forebay/current/forebay --version").expect_success();
    assert!(host.root.path("etc/forebay/orders.toml").is_file());
    assert!(host.root.path("etc/systemd/system/forebay@.service").is_file());
    let before = state(&host.root);
    assert!(before.contains("/opt/forebay/current l"), "{before}");

    let second = host.run("emr-header-1", &host.url, &host.sum, "").expect_success();
    assert!(second.stdout_text().contains("is installed already"), "{}", second.describe());
    assert_eq!(state(&host.root), before, "the second run changed something");

    // What a person changed is kept, and said.
    fs::write(host.root.path("etc/forebay/orders.toml"), "[source]\n# by hand\n").expect("a file can be written");
    let third = host.run("emr-header-1", &host.url, &host.sum, "").expect_success();
    assert!(third.stdout_text().contains("kept /etc/forebay/orders.toml"), "{}", third.describe());
    assert!(fs::read_to_string(host.root.path("etc/forebay/orders.toml")).expect("there").contains("by hand"));
}

#[test]
fn a_broken_download_changes_nothing() {
    let host = Host::new();
    let whole = fs::read(release_file("forebay-", "-x86_64.tar.gz")).expect("readable");
    let broken = host.root.path("tmp/broken.tar.gz");
    fs::write(&broken, &whole[..whole.len() / 2]).expect("a file can be written");
    let nothing = state(&host.root);
    let refuse = |what: &str, url: &str, sum: &str| {
        let output = host.run("emr-header-1", url, sum, "");
        assert_eq!(output.code, 1, "{what}: {}", output.describe());
        assert!(output.stderr_text().contains("FAILED"), "{what}: {}", output.describe());
        assert!(!output.stdout_text().contains("done"), "{what}: {}", output.describe());
    };
    refuse("half a tarball", "file:///tmp/broken.tar.gz", &host.sum);
    refuse("no tarball", "file:///tmp/nothing.tar.gz", &host.sum);
    refuse("no sum", &host.url, "abc");
    assert_eq!(state(&host.root), nothing, "a refused run changed something");

    // The same over an installation that works: it goes on working.
    let _first = host.run("emr-header-1", &host.url, &host.sum, "").expect_success();
    let before = state(&host.root);
    let other_sum = sum(&broken);
    let wrong = format!("{}{}", &other_sum[1..], "0");
    refuse("half a tarball over a whole one", "file:///tmp/broken.tar.gz", &wrong);
    // Its sum is right and it is broken all the same: it is unpacked elsewhere first.
    let output = host.run("emr-header-1", "file:///tmp/broken.tar.gz", &other_sum, "");
    assert_ne!(output.code, 0, "{}", output.describe());
    assert_eq!(state(&host.root), before, "a refused run changed something");
    let _version = host.root.shell("/usr/bin/forebay --version").expect_success();
}

#[test]
fn it_installs_where_the_role_says() {
    let host = Host::new();
    let nothing = state(&host.root);
    for (name, role) in [("emr-worker-2", "--role master"), ("emr-gateway-1", ""), ("emr-header-1", "--role gateway")] {
        let output = host.run(name, &host.url, &host.sum, role).expect_success();
        assert!(output.stdout_text().contains("nothing to do"), "{name}: {}", output.describe());
    }
    assert_eq!(state(&host.root), nothing);
    // AWS says the role in a file.
    fs::create_dir_all(host.root.path("mnt/var/lib/info")).expect("a folder can be made");
    fs::write(host.root.path("mnt/var/lib/info/instance.json"), "{\"isMaster\": false}")
        .expect("a file can be written");
    let output = host.run("ip-10-0-0-1", &host.url, &host.sum, "").expect_success();
    assert!(output.stdout_text().contains("nothing to do"), "{}", output.describe());
    fs::write(host.root.path("mnt/var/lib/info/instance.json"), "{\"isMaster\": true}").expect("a file can be written");
    let _installed = host.run("ip-10-0-0-1", &host.url, &host.sum, "").expect_success();
    let _version = host.root.shell("/usr/bin/forebay --version").expect_success();
}
