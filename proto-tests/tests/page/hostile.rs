//! Callers that are slow, rude or confused.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::agent::{Agent, answer, exchange};

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("the agent listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a time limit");
    stream
}

/// The number of open files and the memory of the agent.
fn size(agent: &Agent) -> (usize, u64) {
    let id = agent.server.id();
    let files = fs::read_dir(format!("/proc/{id}/fd")).expect("the agent runs").count();
    let status = fs::read_to_string(format!("/proc/{id}/status")).expect("the agent runs");
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
    (files, rss.trim().trim_end_matches(" kB").parse().expect("a number"))
}

#[test]
fn what_is_no_request_is_refused_by_its_status() {
    let agent = Agent::lonely("page-rude", &[]);
    let status = |request: &[u8]| exchange(agent.port, request).map(|answer| answer.status);
    let long = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "a".repeat(9_000));
    let many = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "X: y\r\n".repeat(200));
    for (request, wanted) in [
        (&b"POST /api/v1/status HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody"[..], 405),
        (b"DELETE / HTTP/1.1\r\n\r\n", 405),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello", 413),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 413),
        (b"\x16\x03\x01\x00\xf4\x01\x00\x00\xf0\x03\x03", 400),
        (b"\x00\x00\x00\x17\x00\x12\x00\x00\x00\x00\x00\x01", 400),
        (b"hello\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: rebound.example\r\n\r\n", 421),
        (b"GET /livez HTTP/1.1\r\nHost: rebound.example:9180\r\n\r\n", 421),
        (b"GET /livez HTTP/1.1\r\nHost: [::1]:9180\r\n\r\n", 200),
        (b"GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"GET /%2e%2e/%00 HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (long.as_bytes(), 431),
        (many.as_bytes(), 431),
    ] {
        assert_eq!(status(request), Some(wanted), "{}", request.escape_ascii());
    }
    // Every one-byte change of a good request is answered or dropped, and the agent lives on.
    let good = b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for at in 0..good.len() - 4 {
        let mut request = good.to_vec();
        request[at] ^= 0x80;
        let told = status(&request);
        assert!(told.is_none_or(|status| [200, 400, 404, 405, 421].contains(&status)), "{at}: {told:?}");
    }
    assert_eq!(agent.get("/livez").status, 200);
}

#[test]
fn slow_callers_cost_others_nothing() {
    let agent = Agent::lonely("page-slow", &[]);
    let before = size(&agent);
    // One less than the agent talks to at a time, each with a head that never ends.
    let mut slow: Vec<TcpStream> = (0..31).map(|_| connect(agent.port)).collect();
    let begin = Instant::now();
    for stream in &mut slow {
        stream.write_all(b"GET /livez HT").expect("it is read");
    }
    for _ in 0..10 {
        let asked = Instant::now();
        assert_eq!(agent.get("/livez").status, 200);
        assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    }
    // And more than that: whoever comes then waits until one of them is given up, and is served.
    let mut more: Vec<TcpStream> = (0..40).map(|_| connect(agent.port)).collect();
    for stream in &mut more {
        drop(stream.write_all(b"G"));
    }
    assert_eq!(agent.get("/livez").status, 200, "after {:?}", begin.elapsed());
    for mut stream in slow {
        let mut bytes = Vec::new();
        let _read = stream.read_to_end(&mut bytes).expect("an answer");
        assert_eq!(answer(&bytes).map(|answer| answer.status), Some(408));
    }
    assert!(begin.elapsed() < Duration::from_secs(25), "{:?}", begin.elapsed());
    drop(more);
    // Readers that do not read, and callers that go away half-way.
    for round in 0..200 {
        let mut stream = connect(agent.port);
        let request: &[u8] = if round % 2 == 0 { b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" } else { b"GET / HT" };
        stream.write_all(request).expect("it is read");
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        assert_eq!(agent.get("/livez").status, 200);
        let after = size(&agent);
        if after.0 <= before.0 + 2 {
            assert!(after.1 <= before.1 + 8 * 1024, "{before:?} kB before, {after:?} after");
            break;
        }
        assert!(Instant::now() < deadline, "{before:?} files and kB before, {after:?} after");
        std::thread::sleep(Duration::from_millis(200));
    }
}
