//! Orders, over the control socket and over HTTP, and who may give them.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;

use forebay_proto_tests::cli::run_forebay;
use forebay_proto_tests::scratch::Scratch;
use rustix::process::Signal;

use super::agent::{Agent, LIMIT, exchange, get, lonely_job};

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

#[test]
fn orders_over_the_socket_reload_show_and_drain() {
    let scratch = Scratch::new("page-orders");
    let path = scratch.path().join("control");
    let socket = path.to_str().expect("UTF-8");
    let mut agent = Agent::lonely("page-ordered", &["--control", socket]);
    let order = |words: &[&str]| run_forebay(&scratch, &[&["control"], words, &["--control", socket]].concat());
    let said = |words: &[&str]| order(words).expect_success().stdout_text();

    assert_eq!(said(&["reload"]), "nothing has changed\n");
    let status = agent.get("/api/v1/status").json();
    assert_eq!((&status["agent"]["generation"], &status["agent"]["last_reload"]["ok"]), (&2.into(), &true.into()));
    // What cannot be used changes nothing.
    let job = agent.scratch.path().join("lonely.toml");
    let text = fs::read_to_string(&job).expect("the job");
    fs::write(&job, "[source]\n").expect("a broken job");
    let refused = order(&["reload"]);
    assert!(refused.code == 1 && refused.stderr_text().contains("lonely.toml"), "{}", refused.describe());
    fs::write(&job, text).expect("the job again");

    for words in [&["config"][..], &["config", "lonely"]] {
        let config = said(words);
        assert!(config.contains("job lonely\n") && config.contains("\"topic\": \"t\""), "{config}");
        assert!(!config.contains("canary"), "{config}");
    }
    assert_eq!(order(&["config", "nobody"]).code, 1);
    let told = |agent: &Agent| agent.server.log_text().matches("read the jobs again").count();
    let before = told(&agent);
    assert_eq!(said(&["log-level", "error"]), "ERROR is logged from here on\n");
    said(&["reload"]);
    assert_eq!((before, told(&agent)), (1, 1));
    said(&["log-level", "INFO"]);
    said(&["reload"]);
    agent.server.wait_until("the line", LIMIT, |agent| agent.log_text().matches("read the jobs again").count() == 2);
    for words in [&["log-level", "loud"][..], &["shutdown"], &["drain", "lonely"]] {
        assert_eq!(order(words).code, 1, "{words:?}");
    }
    assert!(said(&["drain"]).contains("the agent ends then"));
    assert_eq!(agent.server.wait(LIMIT).code(), Some(0), "{}", agent.server.log_tail());
    assert!(!agent.server.log_text().contains("canary"), "{}", agent.server.log_tail());
}

#[test]
fn a_job_is_paused_over_http_by_those_who_have_the_token() {
    let scratch = Scratch::new("page-token");
    let token = "canary-0123456789abcdef";
    let file = scratch.write("token", format!("{token}\n"));
    let mut agent = Agent::lonely("page-token-agent", &["--http-token-file", file.to_str().expect("UTF-8")]);
    let port = agent.port;
    let post = |path: &str, headers: &str| {
        let request = format!("POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{headers}\r\n");
        exchange(port, request.as_bytes()).unwrap_or_else(|| panic!("no answer to POST {path}"))
    };
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let word = |port: u16| get(port, "/api/v1/jobs/lonely").json()["health"]["word"].clone();
    let (pause, resume) = ("/api/v1/jobs/lonely/pause", "/api/v1/jobs/lonely/resume");
    // As a page of somebody else would try it, and those who guess.
    let foreign = "Origin: http://evil.example\r\nContent-Type: text/plain\r\n";
    for headers in ["", foreign, "Authorization: Basic eDp5\r\n", "Cookie: token=canary-0123456789abcdef\r\n"] {
        let refused = post(pause, headers);
        assert_eq!(
            (refused.status, refused.header("WWW-Authenticate")),
            (401, Some("Bearer realm=\"forebay\"")),
            "{headers}"
        );
        assert!(refused.text().contains("Authorization: Bearer TOKEN"), "{}", refused.text());
    }
    for guess in ["canary-0123456789abcdeF", "canary-0123456789abcde", "", "x"] {
        let refused = post(pause, &format!("Authorization: Bearer {guess}\r\n"));
        assert_eq!(refused.status, 401, "{guess}: {}", refused.text());
    }
    let asked = exchange(port, format!("OPTIONS {pause} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n").as_bytes());
    let asked = asked.expect("an answer");
    assert_eq!((asked.status, asked.header("Access-Control-Allow-Origin")), (405, None));
    assert_ne!(word(port), "paused");

    let paused = post(pause, &bearer);
    assert_eq!((paused.status, &paused.json()["ok"]), (200, &true.into()), "{}", paused.text());
    agent.server.wait_until("the pause", LIMIT, |_| word(port) == "paused");
    assert_eq!(post("/api/v1/jobs/nobody/pause", &bearer).status, 404);
    assert_eq!(post("/api/v1/status", &bearer).status, 405);
    assert_eq!(post("/x/pause", &bearer).status, 404);
    // A new token counts at once, and the old one no more.
    fs::write(&file, "canary-fedcba9876543210").expect("a new token");
    assert_eq!(post(resume, &bearer).status, 401);
    let bearer = "authorization: bearer canary-fedcba9876543210\r\nContent-Length: 0\r\n";
    assert_eq!(post(resume, bearer).status, 200);
    agent.server.wait_until("its work", LIMIT, |_| word(port) == "starting");
    assert_eq!(post(resume, bearer).status, 409);
    fs::remove_file(&file).expect("the token");
    assert_eq!(post(pause, bearer).status, 503);
    assert!(!agent.server.log_text().contains("canary"), "{}", agent.server.log_tail());

    // Without a token nothing is taken; a short one is none.
    let other = Agent::lonely("page-no-token", &[]);
    let request = format!("POST {pause} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n");
    let refused = exchange(other.port, request.as_bytes()).expect("an answer");
    assert!(refused.status == 405 && refused.text().contains("--http-token-file"), "{}", refused.text());
    lonely_job(&scratch);
    let _short = scratch.write("short", "secret\n");
    let arguments =
        ["agent", "lonely.toml", "--datasources", "sources.toml", "--http", "off", "--http-token-file", "short"];
    let refused = run_forebay(&scratch, &arguments);
    assert!(refused.code == 78 && refused.stderr_text().contains("16 characters"), "{}", refused.describe());
}
