//! The control socket: pausing and resuming, and who may.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;

use forebay_proto_tests::cli::run_forebay;
use forebay_proto_tests::scratch::Scratch;
use rustix::process::Signal;

use super::agent::{Agent, LIMIT, get, lonely_job};

#[test]
fn a_job_is_paused_and_resumed_over_the_socket() {
    let scratch = Scratch::new("page-control");
    let path = scratch.path().join("control");
    let socket = path.to_str().expect("UTF-8");
    // What an agent that was killed has left.
    drop(std::os::unix::net::UnixListener::bind(&path).expect("a new file"));
    let mut agent = Agent::lonely("page-paused", &["--control", socket]);
    agent.server.wait_until("its socket", LIMIT, |_| UnixStream::connect(&path).is_ok());
    assert_eq!(fs::metadata(&path).expect("the socket").permissions().mode() & 0o777, 0o600);
    let word = |port: u16| get(port, "/api/v1/jobs/lonely").json()["health"]["word"].clone();
    let order = |words: [&str; 2]| run_forebay(&scratch, &[words[0], words[1], "--control", socket]);

    let paused = order(["pause", "lonely"]).expect_success();
    assert!(paused.stdout_text().contains("pauses"), "{}", paused.describe());
    let port = agent.port;
    agent.server.wait_until("the pause", LIMIT, |_| word(port) == "paused");
    assert_eq!((agent.get("/livez").status, agent.get("/readyz").status), (200, 200));
    // SIGHUP does not wake it.
    agent.server.signal(Signal::HUP);
    agent.server.wait_until("the reload", LIMIT, |agent| agent.log_text().contains("read the jobs again"));
    assert_eq!(word(port), "paused");
    let resumed = order(["resume", "lonely"]).expect_success();
    assert!(resumed.stdout_text().contains("goes on"), "{}", resumed.describe());
    agent.server.wait_until("its work", LIMIT, |_| word(port) == "starting");

    for (words, said) in
        [(["pause", "nobody"], "no job \"nobody\" runs here"), (["resume", "lonely"], "is paused here")]
    {
        let refused = order(words);
        assert!(refused.code == 1 && refused.stderr_text().contains(said), "{}", refused.describe());
    }
    // Whatever else comes over it.
    for line in [&b"\n"[..], b"pause\n", b"shutdown\n", b"\xff\xfe\n", &[b'a'; 5_000], b"\0\0\0\0\n"] {
        let mut stream = UnixStream::connect(&path).expect("it listens");
        drop(stream.write_all(line));
        drop(stream.shutdown(std::net::Shutdown::Write));
        let mut answer = String::new();
        drop(stream.read_to_string(&mut answer));
        assert!(answer.is_empty() || answer.contains("\"ok\":false"), "{}: {answer}", line.escape_ascii());
    }
    // Two agents cannot have one.
    let second = Scratch::new("page-control-second");
    lonely_job(&second);
    let arguments = ["agent", "lonely.toml", "--datasources", "sources.toml", "--http", "off", "--control", socket];
    let refused = run_forebay(&second, &arguments);
    assert_eq!(refused.code, 78, "{}", refused.describe());
    agent.server.signal(Signal::TERM);
    assert!(agent.server.wait(LIMIT).success(), "{}", agent.server.log_tail());
    assert!(!path.exists());
}

#[test]
fn an_agent_whose_only_job_is_paused_can_be_stopped() {
    let scratch = Scratch::new("page-control-stop");
    let path = scratch.path().join("control");
    let socket = path.to_str().expect("UTF-8");
    let mut agent = Agent::lonely("page-paused-stop", &["--control", socket]);
    let _paused = run_forebay(&scratch, &["pause", "lonely", "--control", socket]).expect_success();
    let port = agent.port;
    agent.server.wait_until("the pause", LIMIT, |_| get(port, "/readyz").status == 200);
    agent.server.signal(Signal::TERM);
    assert!(agent.server.wait(LIMIT).success(), "{}", agent.server.log_tail());
}
