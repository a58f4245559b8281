//! The seeds of the fuzz targets, each through its target: what the fuzzer starts from works, also where no fuzzer runs.

#[path = "../../fuzz/src/lib.rs"]
#[allow(unreachable_pub, clippy::pedantic, reason = "a library of its own, where its items are reached")]
mod targets;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use forebay_proto_tests::process::run;
use forebay_proto_tests::scratch::Scratch;

/// Targets that hold the library against C code, which only the fuzzer's build may have.
const COMPARED: [&str; 1] = ["zstd"];

#[test]
fn every_target_takes_its_seeds_and_what_was_once_found() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let scratch = Scratch::new("fuzz-seeds");
    let mut command = Command::new("python3");
    command.arg(fuzz.join("seeds.py")).arg(scratch.path());
    let _output = run(command, b"", Duration::from_secs(60)).expect_success();
    for (name, target) in targets::TARGETS {
        let seeds = fs::read_dir(scratch.path().join(name)).unwrap_or_else(|e| panic!("no seeds of {name}: {e}"));
        let mut count = 0;
        for seed in seeds {
            let path = seed.expect("a readable folder").path();
            target(&fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())));
            count += 1;
        }
        assert!(count > 0, "no seeds of {name}");
        assert!(fuzz.join(format!("fuzz_targets/{name}.rs")).exists(), "{name} has no way in");
    }
    let ways_in = fs::read_dir(fuzz.join("fuzz_targets")).expect("a folder").count();
    assert_eq!(ways_in, targets::TARGETS.len() + COMPARED.len(), "a target is missing from the table");
    let most = targets::MEMORY_BYTES_MAX;
    assert!(most <= 128 * 1024 * 1024);
}
