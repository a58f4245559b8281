//! The units, judged by systemd.

use forebay_proto_tests::process::Output;
use forebay_proto_tests::scratch::{Scratch, repository_folder};

use super::{ran, shipped};

/// `systemd-analyze` over a root folder with the program and both units.
fn analyze(unit: &str, arguments: &[&str]) -> Output {
    let scratch = Scratch::new("units");
    let root = scratch.folder("root");
    for folder in ["usr/bin", "etc/systemd/system", "etc/forebay"] {
        std::fs::create_dir_all(root.join(folder)).expect("a folder can be made");
    }
    std::fs::copy(shipped("x86_64"), root.join("usr/bin/forebay")).expect("the program can be copied");
    // The targets that it is ordered by are this machine's.
    let folder = root.join("usr/lib/systemd");
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    let _copied = ran("cp", &["-a", "/usr/lib/systemd/system", &folder.display().to_string()]).expect_success();
    let unit_file = repository_folder().join("deploy/systemd").join(unit);
    std::fs::copy(unit_file, root.join("etc/systemd/system/forebay@.service")).expect("the unit can be copied");
    let root_option = format!("--root={}", root.display());
    ran("systemd-analyze", &[&[root_option.as_str()], arguments].concat())
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    for (unit, expected) in [
        ("forebay@.service", 0),
        // It says what old hosts understand; new ones have another name for that, and say so.
        ("plain/forebay@.service", 1),
    ] {
        let output = analyze(unit, &["--man=no", "--recursive-errors=no", "verify", "forebay@orders.service"]);
        let said = output.stderr_text();
        let (known, other): (Vec<&str>, Vec<&str>) =
            said.lines().filter(|line| line.contains("forebay")).partition(|line| line.contains("MemoryLimit="));
        assert!(other.is_empty() && known.len() <= expected && output.code <= 1, "{}", output.describe());
        assert!(output.code == 0 || !known.is_empty(), "{}", output.describe());
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "the figure is the point")]
fn the_hardened_unit_is_hardened() {
    let output =
        analyze("forebay@.service", &["--offline=yes", "--threshold=20", "security", "forebay@orders.service"]);
    let text = output.stdout_text();
    let line =
        text.lines().find(|line| line.contains("Overall exposure")).unwrap_or_else(|| panic!("{}", output.describe()));
    println!("{line}");
    let _below = output.expect_success();
}
