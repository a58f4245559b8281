//! Asking a running agent, from another process.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Most bytes of an answer: thousands of partitions take less.
const ANSWER_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Time for all of it.
const PATIENCE: Duration = Duration::from_secs(10);

/// What an agent at `address` answers to GET of `path`, when it is a success.
///
/// # Errors
/// A sentence: nobody listens there, it takes too long, or what came instead.
pub async fn ask(address: &str, path: &str) -> Result<String, String> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer = match tokio::time::timeout(PATIENCE, exchange).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Err(format!("no agent at {address}: {error}")),
        Err(_) => return Err(format!("no answer from {address} within {} s", PATIENCE.as_secs())),
    };
    let text = String::from_utf8(answer).map_err(|_| format!("what {address} answers is not text"))?;
    body(&text).map_err(|why| format!("{address}: {why}"))
}

/// The body of a whole answer.
fn body(answer: &str) -> Result<String, String> {
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("what it answers is not HTTP")?;
    let mut lines = head.lines();
    let status = lines.next().unwrap_or_default();
    let code = status.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).unwrap_or_default();
    if code != "200" {
        let said: String = body.chars().filter(|c| !c.is_control()).take(200).collect();
        return Err(format!("it answers {code:?}: {said}"));
    }
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok()).flatten()
    });
    match length {
        Some(length) if length != body.len() => Err("its answer breaks off".to_owned()),
        _ => Ok(body.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_a_whole_success_is_an_answer() {
        let good = "HTTP/1.1 200 OK\r\ncontent-LENGTH: 2\r\n\r\n{}";
        assert_eq!(body(good), Ok("{}".to_owned()));
        for (answer, wanted) in [
            ("", "not HTTP"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}", "breaks off"),
            ("HTTP/1.1 404 Not Found\r\n\r\nno job\u{1b}[2J", "\"404\": no job[2J"),
            ("SSH-2.0\r\n\r\n", "it answers \"\""),
        ] {
            let said = body(answer).unwrap_err();
            assert!(said.contains(wanted), "{answer:?}: {said}");
        }
    }
}
