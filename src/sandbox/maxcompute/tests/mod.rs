//! The local MaxCompute over its port, spoken to byte by byte: no client of forebay's takes part.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod auth;
mod download;
mod faults;
mod folder;
mod sql;
mod stream;
mod upload;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{LocalMaxCompute, MaxComputeSandboxConfig, start};
use crate::tunnel::RowEncoder;

/// An answer as it came.
#[derive(Debug)]
struct Reply {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Reply {
    fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    fn json(&self) -> Json {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Status and `Code` of an error.
    fn refusal(&self) -> (u16, String) {
        let code = match serde_json::from_slice::<Json>(&self.body) {
            Ok(json) => json["Code"].as_str().unwrap_or_default().to_owned(),
            Err(_) => {
                let text = self.text();
                let inner = text.split("<Code>").nth(1).and_then(|rest| rest.split("</Code>").next());
                inner.unwrap_or_default().to_owned()
            }
        };
        (self.status, code)
    }
}

/// A local MaxCompute and what tests do with it.
struct Local {
    local: LocalMaxCompute,
}

impl Local {
    async fn new() -> Self {
        Self { local: start(MaxComputeSandboxConfig::default()).await.unwrap() }
    }

    async fn in_folder(folder: &Path) -> Self {
        let config = MaxComputeSandboxConfig { data_dir: Some(folder.to_owned()), ..Default::default() };
        Self { local: start(config).await.unwrap() }
    }

    async fn get(&self, target: &str) -> Reply {
        send(self.local.address(), "GET", target, &[], None).await.unwrap()
    }

    async fn post(&self, target: &str) -> Reply {
        send(self.local.address(), "POST", target, &[], Some(b"")).await.unwrap()
    }

    async fn put(&self, target: &str, body: &[u8]) -> Reply {
        send(self.local.address(), "PUT", target, &[], Some(body)).await.unwrap()
    }

    async fn try_send(&self, method: &str, target: &str, body: Option<&[u8]>) -> std::io::Result<Reply> {
        send(self.local.address(), method, target, &[], body).await
    }

    /// Runs SQL and gives the task's status and its result.
    async fn sql(&self, query: &str) -> (String, String) {
        let query = super::answer::escape(query);
        let body =
            format!("<Instance><Job><Tasks><SQL><Name>T</Name><Query>{query}</Query></SQL></Tasks></Job></Instance>");
        let target = "/api/projects/sandbox/instances?curr_project=sandbox";
        let reply = send(self.local.address(), "POST", target, &[], Some(body.as_bytes())).await.unwrap();
        assert_eq!(reply.status, 201, "{reply:?}");
        let id = reply.headers["location"].rsplit('/').next().unwrap().to_owned();
        loop {
            let reply = self.get(&format!("/api/projects/sandbox/instances/{id}?taskstatus")).await;
            assert!(reply.headers.contains_key("x-odps-start-time"));
            let text = reply.text();
            if text.contains("<Instance><Status>Terminated") {
                let status = text.rsplit("<Status>").next().unwrap().split('<').next().unwrap().to_owned();
                let result = self.get(&format!("/api/projects/sandbox/instances/{id}?result")).await.text();
                let result = result.split("<![CDATA[").nth(1).unwrap().split("]]>").next().unwrap().to_owned();
                return (status, result);
            }
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    }

    /// Runs SQL that must succeed.
    async fn ok(&self, query: &str) -> String {
        let (status, result) = self.sql(query).await;
        assert_eq!(status, "Success", "{query}: {result}");
        result
    }

    /// The rows of a SELECT without the header.
    async fn rows(&self, query: &str) -> Vec<String> {
        self.ok(query).await.lines().skip(1).map(str::to_owned).collect()
    }

    /// Creates an upload session and gives its id.
    async fn upload(&self, table: &str, more: &str) -> String {
        let reply = self.post(&format!("/projects/sandbox/tables/{table}?uploads{more}")).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let json = reply.json();
        assert_eq!(json["Status"], "normal");
        json["UploadID"].as_str().unwrap().to_owned()
    }

    async fn block(&self, table: &str, id: &str, block: u32, body: &[u8]) -> Reply {
        self.put(&format!("/projects/sandbox/tables/{table}?uploadid={id}&blockid={block}"), body).await
    }

    async fn commit(&self, table: &str, id: &str) -> Reply {
        self.post(&format!("/projects/sandbox/tables/{table}?uploadid={id}")).await
    }

    async fn status(&self, table: &str, id: &str) -> Json {
        self.get(&format!("/projects/sandbox/tables/{table}?uploadid={id}")).await.json()
    }

    async fn control(&self, method: &str, path: &str, body: &Json) -> Reply {
        let body = body.to_string();
        let target = format!("/__sandbox/{path}");
        send(self.local.address(), method, &target, &[], Some(body.as_bytes())).await.unwrap()
    }
}

/// Sends one request on a connection of its own and reads the answer to the connection's end.
async fn send(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: Option<&[u8]>,
) -> std::io::Result<Reply> {
    let mut stream = TcpStream::connect(address).await?;
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if let Some(body) = body {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await?;
    // A server that cuts the connection makes this fail, which the reading side tells as well.
    let _ = stream.write_all(body.unwrap_or_default()).await;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await?;
    parse_reply(&bytes)
}

fn parse_reply(bytes: &[u8]) -> std::io::Result<Reply> {
    let cut = || std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "no whole answer");
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").ok_or_else(cut)?;
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: BTreeMap<String, String> = lines
        .map(|line| line.split_once(": ").unwrap_or_else(|| (line.trim_end_matches(':'), "")))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let rest = &bytes[end + 4..];
    let body = if headers.get("transfer-encoding").is_some_and(|value| value == "chunked") {
        unchunk(rest).ok_or_else(cut)?
    } else {
        match headers.get("content-length").map(|length| length.parse::<usize>().unwrap()) {
            Some(length) if rest.len() < length => return Err(cut()),
            _ => rest.to_vec(),
        }
    };
    Ok(Reply { status, headers, body })
}

fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    loop {
        let line = rest.windows(2).position(|window| window == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).ok()?, 16).ok()?;
        rest = rest.get(line + 2..)?;
        if size == 0 {
            return Some(out);
        }
        out.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
}

/// A block of rows with one STRING column each.
fn texts(values: &[&str]) -> Vec<u8> {
    let mut encoder = RowEncoder::new();
    for value in values {
        encoder.string(0, value.as_bytes());
        encoder.end_row();
    }
    encoder.finish().to_vec()
}

/// A folder that goes when the test is over, also when it fails.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("forebay-maxcompute-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// All files below it, as paths relative to it.
    fn files(&self) -> Vec<String> {
        let mut out = Vec::new();
        let mut folders = vec![self.0.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    out.push(path.strip_prefix(&self.0).unwrap().display().to_string());
                }
            }
        }
        out.sort();
        out
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
