//! An agent to ask, and a caller.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use forebay_proto_tests::cli::forebay;
use forebay_proto_tests::port;
use forebay_proto_tests::process::{Server, command, run};
use forebay_proto_tests::scratch::{Scratch, cached, package_folder};
use serde_json::Value;

pub(crate) const LIMIT: Duration = Duration::from_secs(90);

/// An agent with one job, `lonely`, whose Kafka and MaxCompute do not exist.
pub(crate) struct Agent {
    pub(crate) server: Server,
    pub(crate) port: u16,
    pub(crate) scratch: Scratch,
}

/// The files of the job `lonely`.
pub(crate) fn lonely_job(scratch: &Scratch) {
    let (kafka, maxcompute) = (port::free(), port::free());
    let _sources = scratch.write(
        "sources.toml",
        format!(
            "[odps_first]\ntype = \"odps\"\nproject = \"p\"\nendpoint = \"http://127.0.0.1:{maxcompute}/api\"\n\
             tunnel_endpoint = \"http://127.0.0.1:{maxcompute}\"\naccess_id = \"id\"\naccess_key = \"canary-key-9f2c\"\n"
        ),
    );
    let _job = scratch.write(
        "lonely.toml",
        format!(
            "[source]\nbrokers = [\"127.0.0.1:{kafka}\"]\ntopic = \"t\"\ngroup = \"g\"\nstart = \"earliest\"\n\
             [target]\ndatasource = \"odps_first\"\ntable = \"t\"\n[[columns]]\nto = \"value\"\nfrom = \"value\"\n"
        ),
    );
}

impl Agent {
    /// Starts it and waits until it listens.
    pub(crate) fn lonely(name: &str, more: &[&str]) -> Self {
        let scratch = Scratch::new(name);
        lonely_job(&scratch);
        let port = port::free();
        let mut command = forebay(&scratch);
        command.args(["agent", "lonely.toml", "--datasources", "sources.toml", "--http"]);
        command.arg(format!("127.0.0.1:{port}")).args(more);
        let mut server = Server::start("agent", command, &scratch.path().join("agent.log"));
        server.wait_until("an address to ask", LIMIT, |_| TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { server, port, scratch }
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        get(self.port, path)
    }
}

/// An answer, taken apart by this test's own reading of RFC 9112.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("UTF-8")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

/// Sends bytes and reads to the end of the connection; none where it ends without a word.
pub(crate) fn exchange(port: u16, request: &[u8]) -> Option<Answer> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the agent listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a time limit");
    // It may have answered and closed before all was sent.
    drop(stream.write_all(request));
    let mut bytes = Vec::new();
    drop(stream.read_to_end(&mut bytes));
    answer(&bytes)
}

pub(crate) fn answer(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).expect("a head is ASCII");
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().expect("a status");
    let headers = lines.map(|line| line.split_once(": ").expect("a header")).map(|(n, v)| (n.to_owned(), v.to_owned()));
    Some(Answer { status, headers: headers.collect(), body: bytes[end + 4..].to_vec() })
}

pub(crate) fn get(port: u16, path: &str) -> Answer {
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n");
    exchange(port, request.as_bytes()).unwrap_or_else(|| panic!("no answer to GET {path}"))
}

/// The documents that the schema describes, against it, by the reference implementation for Python.
pub(crate) fn validate(port: u16, jobs: &[&str]) {
    let schema = get(port, "/api/v1/schema").json();
    let mut documents = Vec::new();
    for (path, kind) in schema["x-paths"].as_object().expect("x-paths") {
        let kind = kind.as_str().expect("a name");
        for path in jobs.iter().map(|job| path.replace("{id}", job)) {
            let mut of_kind = schema.clone();
            of_kind["$ref"] = Value::String(format!("#/$defs/{kind}"));
            documents.push(serde_json::json!([path, of_kind, get(port, &path).json()]));
        }
    }
    assert!(documents.len() >= 5, "{documents:?}");
    let mut python = command(cached("venv").join("bin/python"));
    python.arg(package_folder().join("python/validate_json.py"));
    let documents = serde_json::to_vec(&documents).expect("JSON");
    let output = run(python, &documents, LIMIT);
    assert!(output.code == 0, "{}", output.describe());
}
