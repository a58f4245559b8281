//! Runs each case once, in a function of its own: `./benches/instructions` has callgrind count what happens there.

use std::env;
use std::fs;
use std::hint::black_box;
use std::process::ExitCode;

use forebay_protocol_benches::{Run, cases, plain_records};

const USAGE: &str = "usage: instructions [NAME-PART]
       instructions --write-plain FOLDER

Prints the name, the items and the bytes of each case that it runs, in order. `--write-plain` writes the records of the zstd cases
as they are before they are compressed; data/README.md says what for.";

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for a person at a terminal")]
fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let part = match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => "",
        ["--write-plain", folder] => {
            for size in [100, 1024] {
                let path = format!("{folder}/records-{size}");
                if let Err(error) = fs::write(&path, plain_records(size)) {
                    eprintln!("cannot write {path}: {error}");
                    return ExitCode::FAILURE;
                }
            }
            return ExitCode::SUCCESS;
        }
        [part] if !part.starts_with('-') => part,
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    for case in cases().into_iter().filter(|case| case.name.contains(part)) {
        let mut run = (case.prepare)();
        // What is made at the first use only, buffers and what the CPU can do, does not count.
        run();
        case_done(&mut run);
        println!("{} {} {}", case.name, case.items, case.bytes);
    }
    ExitCode::SUCCESS
}

/// Callgrind writes down what it has counted when this returns.
#[inline(never)]
fn case_done(run: &mut Run) {
    measured(run);
    black_box(run);
}

/// Callgrind counts inside this alone.
#[inline(never)]
fn measured(run: &mut Run) {
    run();
    // So that the call is none that callgrind could take for a jump.
    black_box(run);
}
