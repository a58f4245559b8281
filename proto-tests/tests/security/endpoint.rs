//! A token endpoint on loopback that answers as it is told, and remembers what it was asked.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use forebay_proto_tests::scratch::Scratch;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) line: String,
    /// `Authorization`.
    pub(crate) authorization: String,
    pub(crate) body: String,
}

/// Status and body, by how many requests came before.
type Script = dyn Fn(usize) -> (u16, String) + Send + Sync;

/// It ends with the test's process.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    port: u16,
    scheme: &'static str,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Endpoint {
    /// Over plain HTTP.
    pub(crate) fn http(script: impl Fn(usize) -> (u16, String) + Send + Sync + 'static) -> Self {
        Self::start(None, Arc::new(script))
    }

    /// Over TLS, with the certificate for `localhost` in `files`.
    pub(crate) fn https(files: &Scratch, script: impl Fn(usize) -> (u16, String) + Send + Sync + 'static) -> Self {
        let chain = vec![CertificateDer::from_pem_file(files.path().join("server.pem")).expect("a certificate")];
        let key = PrivateKeyDer::from_pem_file(files.path().join("server.key")).expect("a key");
        let tls = rustls::ServerConfig::builder_with_provider(Arc::new(rustls_graviola::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("they fit together");
        Self::start(Some(Arc::new(tls)), Arc::new(script))
    }

    fn start(tls: Option<Arc<rustls::ServerConfig>>, script: Arc<Script>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let endpoint = Self { port, scheme, asked: Arc::default() };
        let asked = endpoint.asked.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let (tls, script, asked) = (tls.clone(), script.clone(), asked.clone());
                thread::spawn(move || match tls {
                    None => serve(stream, &*script, &asked),
                    Some(tls) => {
                        let session = rustls::ServerConnection::new(tls).expect("a session");
                        serve(rustls::StreamOwned::new(session, stream), &*script, &asked)
                    }
                });
            }
        });
        endpoint
    }

    /// Its address.
    pub(crate) fn url(&self) -> String {
        format!("{}://localhost:{}/oauth2/token", self.scheme, self.port)
    }

    /// What it was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// One request, if that is what comes: a client that does not trust the certificate ends before.
fn serve(stream: impl Read + Write, script: &Script, asked: &Mutex<Vec<Asked>>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).ok().filter(|count| *count > 0)?;
    let (mut authorization, mut length) = (String::new(), 0);
    loop {
        let mut header = String::new();
        stream.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim_end().split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => value.trim().clone_into(&mut authorization),
            "content-length" => length = value.trim().parse().ok()?,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    let body = String::from_utf8_lossy(&body).into_owned();
    let before = {
        let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.push(Asked { line: line.trim_end().to_owned(), authorization, body });
        asked.len() - 1
    };
    let (status, body) = script(before);
    let head = format!("HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nConnection: close\r\n");
    let answer = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    let stream = stream.get_mut();
    stream.write_all(answer.as_bytes()).ok()?;
    stream.flush().ok()
}

/// A port where nobody listens any more.
pub(crate) fn closed_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it is bound").port()
}
