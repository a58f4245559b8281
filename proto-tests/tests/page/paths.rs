//! Paths and their answers, of an agent that waits for both ends.

use std::net::TcpListener;

use forebay_proto_tests::cli::{forebay, run_forebay};
use forebay_proto_tests::process::Server;
use forebay_proto_tests::scratch::Scratch;
use rustix::process::Signal;

use super::agent::{Agent, LIMIT, exchange, lonely_job, validate};

#[test]
fn an_agent_without_its_ends_is_alive_and_not_ready() {
    let mut agent = Agent::lonely("page-paths", &["--stalled-after", "2s"]);
    assert_eq!((agent.get("/livez").status, agent.get("/livez").text()), (200, "ok\n".to_owned()));
    assert_eq!(agent.get("/ping").text(), "pong\n");
    assert!(agent.get("/version").json()["version"].is_string());
    for path in ["/readyz", "/ready", "/healthz"] {
        let answer = agent.get(path);
        let told = answer.json();
        assert_eq!((answer.status, &told["ready"], &told["reasons"][0]["job"]), (503, &false.into(), &"lonely".into()));
    }
    let status = |agent: &Agent| agent.get("/api/v1/status").json();
    let port = agent.port;
    agent.server.wait_until("a stall", LIMIT, |_| {
        super::agent::get(port, "/api/v1/status").json()["jobs"][0]["health"]["word"] == "stalled"
    });
    let told = status(&agent);
    assert_eq!((&told["agent"]["word"], &told["jobs"][0]["name"]), (&"stalled".into(), &"lonely".into()), "{told}");
    let text = told["jobs"][0]["health"]["text"].as_str().expect("a sentence");
    assert!(text.starts_with("waits for Kafka and MaxCompute"), "{text}");
    assert!(agent.get("/readyz").text().contains("Kafka and MaxCompute"));
    assert_eq!(agent.get("/api/v1/jobs/lonely").json()["topic"], "t");
    assert_eq!(agent.get("/api/v1/jobs/lonely/partitions").json()["partitions"], serde_json::json!([]));
    let nobody = agent.get("/api/v1/jobs/nobody%20else");
    assert_eq!(
        (nobody.status, nobody.json()["error"].as_str().is_some_and(|e| e.contains("nobody else"))),
        (404, true)
    );
    for path in ["/nothing", "/api", "/api/v2/status", "/api/v1/jobs/lonely/more", "/livez/x"] {
        assert_eq!(agent.get(path).status, 404, "{path}");
    }
    validate(agent.port, &["lonely"]);
    // What is never shown, anywhere.
    for path in ["/", "/metrics", "/api/v1/status", "/api/v1/jobs/lonely", "/api/v1/cluster"] {
        assert!(!agent.get(path).text().contains("canary-key-9f2c"), "{path}");
    }
    agent.server.signal(Signal::TERM);
    assert!(agent.server.wait(LIMIT).success(), "{}", agent.server.log_tail());
}

#[test]
fn the_page_is_whole_and_is_not_sent_twice() {
    let agent = Agent::lonely("page-tags", &[]);
    let page = agent.get("/");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let text = page.text();
    for foreign in ["http://", "https://", "//cdn", "@import", "url("] {
        let at = text.find(foreign);
        // The name of SVG's namespace is no address.
        let is_name = at.is_some_and(|at| text[at..].starts_with("http://www.w3.org/2000/svg"));
        assert!(at.is_none() || is_name, "{foreign}: {:?}", at.map(|at| &text[at..at + 60]));
    }
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'sha256-"), "{policy}");
    // As RFC 9110 has it: "Sun, 06 Nov 1994 08:49:37 GMT".
    let date = page.header("date").expect("a date");
    assert!(date.len() == 29 && date.ends_with(" GMT") && date.split(' ').count() == 6, "{date}");
    let tag = page.header("etag").expect("a tag").to_owned();
    let ask = |method: &str, tag: &str| {
        let request = format!("{method} / HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: {tag}\r\n\r\n");
        exchange(agent.port, request.as_bytes()).expect("an answer")
    };
    let again = ask("GET", &tag);
    assert_eq!((again.status, again.body.len(), again.header("etag")), (304, 0, Some(tag.as_str())));
    let head = ask("HEAD", "\"other\"");
    let length = page.body.len().to_string();
    assert_eq!((head.status, head.body.len(), head.header("content-length")), (200, 0, Some(length.as_str())));
}

#[test]
fn an_address_in_use_is_an_error_where_it_was_asked_for() {
    let scratch = Scratch::new("page-address");
    lonely_job(&scratch);
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    let output =
        run_forebay(&scratch, &["agent", "lonely.toml", "--datasources", "sources.toml", "--http", address.as_str()]);
    assert_eq!(output.code, 78, "{}", output.describe());
    assert!(output.stderr_text().contains(&format!("--http {address}: ")), "{}", output.describe());
    // The usual address is taken: by this listener, or by whoever has it already.
    let _usual = TcpListener::bind("127.0.0.1:9180");
    let mut command = forebay(&scratch);
    command.args(["agent", "lonely.toml", "--datasources", "sources.toml"]).env_remove("FOREBAY_HTTP");
    let mut agent = Server::start("agent", command, &scratch.path().join("agent.log"));
    agent.wait_until("a warning", LIMIT, |agent| agent.log_text().contains("no status page: 127.0.0.1:9180: "));
    agent.wait_until("its work", LIMIT, |agent| agent.log_text().contains("cannot connect"));
    agent.signal(Signal::TERM);
    assert!(agent.wait(LIMIT).success(), "{}", agent.log_tail());
    let mut command = forebay(&scratch);
    command.args(["agent", "lonely.toml", "--datasources", "sources.toml"]).env("FOREBAY_HTTP", "off");
    let mut agent = Server::start("agent", command, &scratch.path().join("silent.log"));
    agent.wait_until("its work", LIMIT, |agent| agent.log_text().contains("cannot connect"));
    assert!(!agent.log_text().contains("status page"), "{}", agent.log_tail());
}
