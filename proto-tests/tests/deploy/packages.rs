//! The packages, installed, upgraded and removed in a root folder of their own, and what they leave.

use std::fs;
use std::path::{Path, PathBuf};

use forebay_proto_tests::process::Output;
use forebay_proto_tests::scratch::{Scratch, cached};

use super::{ran, release_file};

/// A small Debian in a folder, without forebay.
pub(crate) struct DebianRoot {
    scratch: Scratch,
}

impl DebianRoot {
    pub(crate) fn new(name: &str) -> Self {
        let scratch = Scratch::new(name);
        let from = cached("debian-root").display().to_string();
        let _copied = ran("cp", &["-a", &from, &scratch.path().join("root").display().to_string()]).expect_success();
        Self { scratch }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join("root").join(name)
    }

    /// Puts a file into the root's `/tmp` and tells its name there.
    pub(crate) fn bring(&self, file: &Path) -> String {
        let name = file.file_name().expect("a file").to_string_lossy().into_owned();
        let _bytes = fs::copy(file, self.path("tmp").join(&name)).expect("a file can be copied");
        format!("/tmp/{name}")
    }

    pub(crate) fn shell(&self, script: &str) -> Output {
        let root = self.path("").display().to_string();
        ran("chroot", &[&root, "/usr/bin/env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "/bin/bash", "-c", script])
    }
}

/// What every package puts where.
const FILES: [&str; 8] = [
    "usr/bin/forebay",
    "usr/lib/systemd/system/forebay@.service",
    "usr/share/forebay/systemd/plain/forebay@.service",
    "usr/share/man/man1/forebay-agent.1.gz",
    "usr/share/bash-completion/completions/forebay",
    "usr/share/zsh/site-functions/_forebay",
    "usr/share/fish/vendor_completions.d/forebay.fish",
    "usr/share/doc/forebay/INSTALL.md",
];

const SETTINGS: &str = "etc/forebay/datasources.toml";

fn assert_installed(root: &DebianRoot) {
    for file in FILES {
        assert!(root.path(file).is_file(), "{file} is missing");
    }
    let output =
        root.shell("forebay --version && bash -n /usr/share/bash-completion/completions/forebay").expect_success();
    assert!(output.stdout_text().starts_with("forebay "), "{}", output.describe());
    assert_eq!(root.shell("stat -c '%a %U' /etc/forebay/datasources.toml").stdout_text(), "600 root\n");
    // Never enabled by itself.
    let enabled = root.shell("find /etc/systemd -name 'forebay*' -path '*.wants/*'").expect_success();
    assert_eq!(enabled.stdout_text(), "");
}

/// A user's change of a settings file, and that it is still there.
const CHANGED: &str = "[odps_first]\ntype = \"odps\"\n";

#[test]
fn the_deb_is_installed_upgraded_and_removed() {
    let root = DebianRoot::new("deb");
    let package = root.bring(&release_file("forebay_", "_amd64.deb"));
    let _installed = root.shell(&format!("dpkg -i {package}")).expect_success();
    assert_installed(&root);
    let depends = root.shell("dpkg-query -W -f '${Depends}${Pre-Depends}' forebay").expect_success();
    assert_eq!(depends.stdout_text(), "", "it depends on nothing");

    fs::write(root.path(SETTINGS), CHANGED).expect("a file can be written");
    // The same package of a later version: its control file is the only difference.
    let later = "cd /tmp && dpkg-deb -R forebay_*_amd64.deb later && sed -i 's/^Version: .*/Version: 99.0-1/' later/DEBIAN/control \
         && echo '# of a later version' >> later/etc/forebay/datasources.toml && dpkg-deb -b later later.deb \
         && dpkg --force-confold -i later.deb && dpkg-query -W -f '${Version}' forebay";
    let upgraded = root.shell(later).expect_success();
    assert!(upgraded.stdout_text().ends_with("99.0-1"), "{}", upgraded.describe());
    assert_installed(&root);
    assert_eq!(fs::read_to_string(root.path(SETTINGS)).expect("it is kept"), CHANGED);

    let _removed = root.shell("dpkg -r forebay").expect_success();
    assert!(FILES.iter().all(|file| !root.path(file).exists()), "something of the package stays");
    assert_eq!(fs::read_to_string(root.path(SETTINGS)).expect("settings stay until a purge"), CHANGED);
    let _purged = root.shell("dpkg -P forebay").expect_success();
    let left =
        root.shell("find / -xdev -path /tmp -prune -o -path /proc -prune -o -name '*forebay*' -print").expect_success();
    let left = left.stdout_text();
    let left: Vec<_> = left.lines().filter(|line| !line.starts_with("/var/lib/dpkg")).collect();
    assert_eq!(left, [""; 0]);
}

#[test]
fn the_rpm_is_installed_upgraded_and_removed() {
    // rpm with a root folder of Debian, where its scripts find a shell; its database is the root's own.
    let root = DebianRoot::new("rpm");
    let folder = root.path("").display().to_string();
    let package = release_file("forebay-", ".x86_64.rpm").display().to_string();
    let rpm = |arguments: &[&str]| ran("rpm", &[&["--root", &folder, "--nodeps"], arguments].concat()).expect_success();
    let _made = ran("rpm", &["--root", &folder, "--initdb"]).expect_success();
    let _installed = rpm(&["-i", &package]);
    assert_installed(&root);
    let query = |what: &str| ran("rpm", &["--root", &folder, "-q", what, "forebay"]).expect_success().stdout_text();
    let requires = query("--requires");
    let real: Vec<_> = requires
        .lines()
        .filter(|line| !line.starts_with("rpmlib(") && !line.starts_with("/bin/sh") && !line.starts_with("config("))
        .collect();
    assert_eq!(real, [""; 0], "it depends on nothing");
    assert!(query("--configfiles").contains("/etc/forebay/datasources.toml"));

    fs::write(root.path(SETTINGS), CHANGED).expect("a file can be written");
    // An upgrade to itself runs every script of an upgrade.
    let _upgraded = rpm(&["-U", "--force", &package]);
    assert_installed(&root);
    assert_eq!(fs::read_to_string(root.path(SETTINGS)).expect("it is kept"), CHANGED);

    let _removed = rpm(&["-e", "forebay"]);
    assert!(FILES.iter().all(|file| !root.path(file).exists()), "something of the package stays");
    assert_eq!(
        fs::read_to_string(root.path("etc/forebay/datasources.toml.rpmsave")).expect("settings are saved"),
        CHANGED
    );
}

#[test]
fn the_sums_and_the_bill_of_materials_fit_the_files() {
    let folder = release_file("SHA256SUMS", "").parent().expect("a folder").to_owned();
    let mut check = forebay_proto_tests::process::command("sha256sum");
    check.args(["--check", "--strict", "--quiet", "SHA256SUMS"]).current_dir(&folder);
    let _right = forebay_proto_tests::process::run(check, b"", super::LIMIT).expect_success();
    let sums = fs::read_to_string(folder.join("SHA256SUMS")).expect("readable");
    for wanted in [
        ".tar.gz",
        "_amd64.deb",
        "_arm64.deb",
        ".x86_64.rpm",
        ".aarch64.rpm",
        ".cdx.json",
        "emr-bootstrap.sh",
        "image/Dockerfile",
    ] {
        assert!(sums.lines().any(|line| line.ends_with(wanted)), "no sum of a {wanted}");
    }
    let bom = fs::read_to_string(release_file("forebay-", ".cdx.json")).expect("readable");
    let bom: serde_json::Value = serde_json::from_str(&bom).expect("JSON");
    assert_eq!(bom["bomFormat"], "CycloneDX");
    let names: Vec<_> =
        bom["components"].as_array().expect("components").iter().filter_map(|part| part["name"].as_str()).collect();
    for wanted in ["tokio", "rustls", "kafka-protocol", "graviola"] {
        assert!(names.contains(&wanted), "no {wanted} in the bill of materials");
    }
    // The sandbox does not ship.
    assert!(!names.contains(&"gluesql-core") && !names.contains(&"axum"), "{names:?}");
}
