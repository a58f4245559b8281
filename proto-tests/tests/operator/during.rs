//! Progress and reports of a run.

use std::time::Instant;

use forebay::sandbox::maxcompute::{Action, Fault};
use forebay_proto_tests::cli::{forebay, program, run_forebay};
use forebay_proto_tests::port;
use forebay_proto_tests::process::{Output, Server, command, run};
use forebay_proto_tests::scratch::{Scratch, cached, package_folder};
use rustix::process::Signal;

use super::{LIMIT, World};

/// Runs forebay on a terminal; what it prints there, standard output and error together.
pub(super) fn on_a_terminal(scratch: &Scratch, variables: &[(&str, &str)], keys: &str, arguments: &[&str]) -> Output {
    let mut python = command(cached("venv").join("bin/python"));
    python
        .current_dir(scratch.path())
        .arg(package_folder().join("python/on_a_terminal.py"))
        .arg(program())
        .args(arguments);
    python.env("TERM", "xterm").env_remove("NO_COLOR").envs(variables.iter().copied());
    run(python, keys.as_bytes(), LIMIT)
}

fn many(world: &World, lines: usize) {
    let lines: String = (0..lines).map(|n| format!("{{\"event_id\":\"{n}\"}}\n")).collect();
    world.produce("0", &lines);
}

const SLOW: [&str; 4] = ["--set", "reader.endOffset=100000", "--set", "setting.speed.record=500"];

#[test]
fn a_terminal_has_one_line_that_is_drawn_again() {
    let world = World::start();
    many(&world, 1_200);
    let quick = ["run", "job.json", "--datasources", "sources.toml", "-o", "none"];
    // The limit lets five seconds' worth through at once, 1,000, and holds the rest back for five seconds.
    let slow = ["--set", "reader.endOffset=100000", "--set", "setting.speed.record=200"];
    let run = [&quick[..], &slow].concat();
    let output = on_a_terminal(&world.scratch, &[], "", &run).expect_success();
    let text = output.stdout_text();
    // A carriage return, and the line is taken away before it is drawn again.
    let drawn: Vec<&str> = (text.split("\r\u{1b}[K").skip(1))
        .filter_map(|piece| piece.rsplit("\r\n").next())
        .filter(|piece| piece.contains(" rows  "))
        .collect();
    assert!(drawn.len() >= 3, "{text:?}");
    for piece in &drawn {
        assert!(piece.starts_with("\u{1b}[1mjob\u{1b}[0m  ") && piece.contains("/s  "), "{piece:?}");
    }
    assert!(drawn.iter().any(|piece| piece.contains("1,000 rows  ") && piece.contains("lag 200  eta ")), "{drawn:?}");
    assert!(drawn.iter().any(|piece| piece.contains("1,200 rows")), "{drawn:?}");
    assert!(!text.contains("All Task WaitWriterTime"), "the log has no progress lines then: {text}");
    assert!(text.ends_with("\r\u{1b}[K"), "the line is gone at the end: {text:?}");

    let plain = on_a_terminal(&world.scratch, &[("NO_COLOR", "1")], "", &quick).expect_success().stdout_text();
    assert!(!plain.contains("\u{1b}[1m") && plain.contains("\r\u{1b}[Kjob  "), "{plain:?}");
    let dumb = on_a_terminal(&world.scratch, &[("TERM", "dumb")], "", &quick).expect_success().stdout_text();
    assert!(!dumb.contains('\u{1b}'), "{dumb:?}");
    let narrow = on_a_terminal(&world.scratch, &[("COLUMNS", "20"), ("NO_COLOR", "1")], "", &quick)
        .expect_success()
        .stdout_text();
    let widest = narrow.split("\r\u{1b}[K").skip(1).filter(|p| p.starts_with("job  ")).map(|p| p.chars().count()).max();
    assert!(widest.is_some_and(|widest| widest <= 19), "{narrow:?}");
}

#[test]
fn without_a_terminal_there_is_a_line_now_and_then_and_datax_has_its_own() {
    let world = World::start();
    many(&world, 1_200);
    let begin = Instant::now();
    let run = [&["run", "job.json", "--report", "datax", "--progress-every", "1s"][..], &SLOW].concat();
    let output = world.forebay(&run).expect_success();
    let progress: Vec<String> = (output.stderr_text().lines())
        .filter_map(|line| line.split_once(" - Total ").map(|(_, rest)| format!("Total {rest}")))
        .collect();
    assert!(!progress.is_empty() && progress.len() as u64 <= begin.elapsed().as_secs() + 1, "{progress:?}");
    let shape = "Total # records, # bytes | Speed #B/s, # records/s | Error # records, # bytes |  All Task WaitWriterTime #s |  \
                 All Task WaitReaderTime #s | Percentage #%";
    for line in &progress {
        assert_eq!(without_numbers(line), shape);
    }
    let summary = output.stdout_text();
    let labels: Vec<&str> = summary.lines().map(|line| line.split(':').next().unwrap_or_default().trim_end()).collect();
    let wanted = [
        "",
        "任务启动时刻",
        "任务结束时刻",
        "任务总计耗时",
        "任务平均流量",
        "记录写入速度",
        "读出记录总数",
        "读写失败总数",
    ];
    assert_eq!(labels, wanted, "{summary}");
    assert!(summary.contains(&format!("{:<26}: {:>19}\n", "读出记录总数", "1200")), "{summary}");
    assert!(!output.stderr_text().contains('\u{1b}') && !summary.contains('\u{1b}'), "{}", output.describe());

    let json = world.forebay(&[&["run", "job.json", "-o", "none", "--log-format", "json"][..], &SLOW].concat());
    for line in json.expect_success().stderr_text().lines() {
        let object: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(object["ts"].is_string() && object["level"].is_string() && object["msg"].is_string(), "{line}");
    }
}

/// Each run of digits, with the points and units of sizes in it, as one sign.
fn without_numbers(line: &str) -> String {
    let mut out = String::new();
    for c in line.chars() {
        match c {
            '0'..='9' | '.' if out.ends_with('#') => {}
            '0'..='9' => out.push('#'),
            other => out.push(other),
        }
    }
    out.replace("#KB/s", "#B/s").replace("#MB/s", "#B/s")
}

#[test]
fn a_run_that_stands_still_names_the_stage_that_waits() {
    let world = World::start();
    many(&world, 10);
    world.service.service().faults().push(Fault::before("upload_commit", Action::Hold { hold_ms: 100 }));
    world.service.service().faults().push(Fault::before("upload_block", Action::Hold { hold_ms: 4_000 }));
    let patience = ["--progress-every", "1s", "--stalled-after", "1s"];
    let output = world.forebay(&[&["run", "job.json", "-o", "none"][..], &patience].concat()).expect_success();
    let text = output.stderr_text();
    let stalled: Vec<&str> = text.lines().filter(|line| line.contains(" has waited in upload for ")).collect();
    assert!(
        stalled.iter().any(|line| line.contains(" WARN ") && line.contains("lane 0 has waited in upload for ")),
        "{text}"
    );
}

#[test]
fn a_run_can_be_looked_at_while_it_lasts() {
    let world = World::start();
    many(&world, 3);
    let hold = Action::Hold { hold_ms: 600_000 };
    world.service.service().faults().push(Fault::before("upload_block", hold).times(u32::MAX));
    let address = format!("127.0.0.1:{}", port::free());
    let mut run = forebay(&world.scratch);
    run.args(["run", "job.json", "--datasources", "sources.toml", "--http", &address, "--stalled-after", "2s"]);
    let mut run = Server::start("run", run, &world.scratch.path().join("run.log"));
    let ask = |arguments: &[&str]| run_forebay(&world.scratch, &[arguments, &["--http", &address]].concat());
    run.wait_until("the stall", LIMIT, |_| ask(&["status"]).stdout_text().contains("job: waits in upload: "));
    let status = ask(&["status", "-o", "json"]).expect_success();
    let status: serde_json::Value = serde_json::from_str(&status.stdout_text()).expect("JSON");
    let job = &status["jobs"][0];
    // Nothing is in the table before the one commit at the end.
    let told = [&job["totals"]["records_read"], &job["totals"]["rows_committed"], &job["lag"]["records"]];
    assert_eq!((told, job["partitions"].as_u64()), ([&3.into(), &0.into(), &3.into()], Some(3)), "{job}");
    assert_eq!(job["sessions"].as_array().map(Vec::len), Some(1), "{job}");
    run.signal(Signal::TERM);
    assert_eq!(run.wait(LIMIT).code(), Some(143), "{}", run.log_tail());
}

#[test]
fn called_datax_it_is_datax() {
    let world = World::start();
    many(&world, 2);
    let datax = world.scratch.path().join("datax.py");
    std::os::unix::fs::symlink(program(), &datax).expect("a link");
    let call = |words: &[&str]| {
        let mut datax = command(&datax);
        datax.current_dir(world.scratch.path()).args(words);
        run(datax, b"", LIMIT)
    };
    let words = ["-j", "-Xms1g -Xmx1g", "-p-Dds=20240101", "--jobid", "7", "job.json", "--datasources", "sources.toml"];
    let output = call(&words).expect_success();
    assert!(output.stdout_text().contains(&format!("{:<26}: {:>19}\n", "读出记录总数", "2")), "{}", output.describe());
    assert!(output.stderr_text().contains("note: -j --jobid has no effect"), "{}", output.describe());
    assert_eq!([call(&[]).code, call(&["nowhere.json"]).code], [255, 1]);

    let held = Fault::before("upload_block", Action::Hold { hold_ms: 600_000 });
    world.service.service().faults().push(held.times(u32::MAX));
    for signal in [Signal::TERM, Signal::INT] {
        let blocks = world.service.requests("upload_block");
        let mut datax = command(&datax);
        datax.current_dir(world.scratch.path()).args(&words[5..]);
        let mut run = Server::start("datax.py", datax, &world.scratch.path().join("datax.log"));
        run.wait_until("a block on its way", LIMIT, |_| world.service.requests("upload_block") > blocks);
        run.signal(signal);
        assert_eq!(run.wait(LIMIT).code(), Some(143), "{}", run.log_tail());
    }
}

#[test]
fn a_failed_run_has_dataxs_line_and_no_summary() {
    let world = World::start();
    many(&world, 3);
    let sets = ["--set", "setting.errorLimit.record=0", "--set", "reader.valueType=long"];
    let output = world.forebay(&[&["run", "job.json", "--report", "datax"][..], &sets].concat());
    assert_eq!(output.code, 65, "{}", output.describe());
    assert_eq!(output.stdout_text(), "");
    let text = output.stderr_text();
    assert!(text.contains("经DataX智能分析,该任务最可能的错误原因是:\n"), "{text}");
    assert!(text.contains("脏数据: \n{"), "{text}");
}
