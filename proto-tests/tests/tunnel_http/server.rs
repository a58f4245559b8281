//! A service that does what a test's script says, byte by byte, and remembers what it was asked.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use forebay::tunnel::sign::{self, Target};

pub(crate) const ACCESS_ID: &str = "DUMMY_ACCESS_ID";
pub(crate) const ACCESS_KEY: &str = "DUMMY_ACCESS_SECRET";

/// One request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) target: String,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    }

    /// `METHOD /path?first-query-name`, which is what scripts are written by.
    pub(crate) fn line(&self) -> String {
        let end = self.target.find(['=', '&']).unwrap_or(self.target.len());
        format!("{} {}", self.method, &self.target[..end])
    }

    pub(crate) fn query(&self, name: &str) -> Option<String> {
        let query = Target::parse(&self.target, "/api").query;
        query.into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Fails unless the request is signed, the legacy way, with the dummy key.
    fn assert_signed(&self) {
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let target = Target::parse(&self.target, "/api");
        let canonical = target.canonical_string(&self.method, headers);
        let authorization = self.header("authorization");
        if !authorization.contains("aliyun_v4_request") {
            assert_eq!(authorization, sign::authorize_legacy(ACCESS_ID, ACCESS_KEY, &canonical));
        }
        assert_eq!(self.query("curr_project").as_deref(), Some("p"), "{}", self.target);
        assert!(!self.header("date").is_empty() && self.header("user-agent").starts_with("forebay/"));
        assert_eq!(self.header("x-odps-user-agent"), self.header("user-agent"));
    }
}

/// What the service does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// Reads the request and answers with a status, headers and a body.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// Reads the request and closes the connection.
    Cut,
    /// Closes the connection once this many bytes of the body have been read.
    CutInBody(usize),
    /// Answers before the body has been read, then reads it.
    Early(u16, String),
    /// Reads the request and never answers.
    Silence,
    /// Answers 200 and a body without an end.
    Endless,
    /// Announces more body than it sends.
    Short(String),
}

impl Reply {
    pub(crate) fn ok(body: impl Into<String>) -> Self {
        Self::status(200, body)
    }

    pub(crate) fn status(status: u16, body: impl Into<String>) -> Self {
        Self::Answer(status, Vec::new(), body.into())
    }

    pub(crate) fn error(status: u16, code: &str) -> Self {
        Self::status(status, format!(r#"{{"Code":"{code}","Message":"scripted"}}"#))
    }

    pub(crate) fn with(self, name: &'static str, value: impl Into<String>) -> Self {
        match self {
            Self::Answer(status, mut headers, body) => {
                headers.push((name, value.into()));
                Self::Answer(status, headers, body)
            }
            other => other,
        }
    }
}

/// A running service.
pub(crate) struct Service {
    pub(crate) address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

/// Decides by the request's head and by how often the same [`Asked::line`] came before.
pub(crate) type Script = dyn Fn(&Asked, usize) -> Reply + Send + Sync;

/// Turns a connection into what bytes are read from and written to.
type Wrap = dyn Fn(TcpStream) -> Box<dyn Stream> + Send + Sync;

pub(crate) trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

impl Service {
    pub(crate) fn start(script: impl Fn(&Asked, usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_over(Arc::new(|stream| Box::new(stream)), Arc::new(script))
    }

    pub(crate) fn start_over(wrap: Arc<Wrap>, script: Arc<Script>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (log, script, wrap) = (Arc::clone(&log), Arc::clone(&script), Arc::clone(&wrap));
                std::thread::spawn(move || {
                    let raw = stream.unwrap();
                    let mut connection = BufReader::new(wrap(raw.try_clone().unwrap()));
                    while let Some(()) = serve(&mut connection, &*script, &log) {}
                    drop(connection);
                    drop(raw.shutdown(Shutdown::Both));
                });
            }
        });
        Self { address, asked }
    }

    /// Everything asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.asked().iter().map(Asked::line).collect()
    }

    pub(crate) fn count(&self, line: &str) -> usize {
        self.lines().iter().filter(|asked| *asked == line).count()
    }
}

/// One request and its answer; `None` when the connection is over.
fn serve(connection: &mut BufReader<Box<dyn Stream>>, script: &Script, log: &Mutex<Vec<Asked>>) -> Option<()> {
    let mut asked = read_head(connection)?;
    asked.assert_signed();
    let reply = {
        let mut log = log.lock().unwrap();
        let before = log.iter().filter(|earlier| earlier.line() == asked.line()).count();
        let reply = script(&asked, before);
        log.push(asked.clone());
        reply
    };
    let at = log.lock().unwrap().len() - 1;
    let limit = if let Reply::CutInBody(bytes) = reply { bytes } else { usize::MAX };
    if let Reply::Early(status, body) = &reply {
        answer(connection, *status, &[], body);
    }
    read_body(connection, &mut asked, limit)?;
    log.lock().unwrap()[at].body = asked.body;
    match reply {
        Reply::Answer(status, headers, body) => answer(connection, status, &headers, &body),
        Reply::Early(..) | Reply::Cut | Reply::CutInBody(_) => return None,
        Reply::Silence => {
            std::thread::sleep(Duration::from_secs(60));
            return None;
        }
        Reply::Endless => {
            let piece = [b'x'; 1 << 16];
            connection.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n").ok()?;
            while connection.get_mut().write_all(&piece).is_ok() {}
            return None;
        }
        Reply::Short(body) => {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len() + 10);
            connection.get_mut().write_all(head.as_bytes()).ok()?;
            return None;
        }
    }
    Some(())
}

fn answer(connection: &mut BufReader<Box<dyn Stream>>, status: u16, headers: &[(&'static str, String)], body: &str) {
    let mut text = format!("HTTP/1.1 {status} Scripted\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text.push_str(body);
    drop(connection.get_mut().write_all(text.as_bytes()));
    drop(connection.get_mut().flush());
}

fn read_line(connection: &mut BufReader<Box<dyn Stream>>) -> Option<String> {
    let mut line = String::new();
    let read = connection.read_line(&mut line).ok()?;
    (read > 0).then(|| line.trim_end().to_owned())
}

fn read_head(connection: &mut BufReader<Box<dyn Stream>>) -> Option<Asked> {
    let first = read_line(connection)?;
    let mut words = first.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let line = read_line(connection)?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    Some(Asked { method, target, headers, body: Vec::new() })
}

fn read_body(connection: &mut BufReader<Box<dyn Stream>>, asked: &mut Asked, limit: usize) -> Option<()> {
    if asked.header("transfer-encoding") != "chunked" {
        let mut body = vec![0; asked.header("content-length").parse().unwrap_or(0)];
        connection.read_exact(&mut body).ok()?;
        asked.body = body;
        return Some(());
    }
    loop {
        let size = usize::from_str_radix(&read_line(connection)?, 16).ok()?;
        let mut chunk = vec![0; size];
        connection.read_exact(&mut chunk).ok()?;
        read_line(connection)?;
        asked.body.extend_from_slice(&chunk);
        if size == 0 || asked.body.len() >= limit {
            return Some(());
        }
    }
}
