//! An HTTP answer, and its bytes.

use std::fmt::Write as _;

use bytes::Bytes;
use serde::Serialize;

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(super) status: u16,
    content_type: &'static str,
    body: Bytes,
    headers: Vec<(&'static str, String)>,
    /// Whether the answer may be kept by the caller and asked for by its tag.
    is_tagged: bool,
}

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// What every answer says of itself: nothing is to be kept, framed, guessed or told to others.
const ALWAYS: &str = "Cache-Control: no-cache\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n\
                      X-Frame-Options: DENY\r\nCross-Origin-Resource-Policy: same-origin\r\nConnection: close\r\n";

impl Response {
    fn new(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self { status, content_type, body: body.into(), headers: Vec::new(), is_tagged: false }
    }

    /// Plain text.
    pub(crate) fn text(body: impl Into<Bytes>) -> Self {
        Self::new(200, TEXT, body)
    }

    /// Text of another type.
    pub(crate) fn of_type(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self::new(200, content_type, body)
    }

    /// A value as JSON.
    pub(crate) fn json<T: Serialize>(status: u16, value: &T) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self::new(status, JSON, body),
            Err(error) => Self::problem(500, &format!("cannot be written as JSON: {error}")),
        }
    }

    /// An error, as JSON: `error` and `status`.
    pub(crate) fn problem(status: u16, text: &str) -> Self {
        let body = serde_json::json!({ "error": text, "status": status });
        Self::new(status, JSON, body.to_string())
    }

    /// The same with another header.
    pub(crate) fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The same with a tag by which the caller can ask whether it has changed.
    pub(crate) const fn tagged(mut self) -> Self {
        self.is_tagged = true;
        self
    }

    fn tag(&self) -> Option<String> {
        // Two different states of one agent that have both CRCs in common are one in 2^64.
        let both = || (crc32c::crc32c(&self.body), crc32fast::hash(&self.body));
        (self.is_tagged && self.status == 200).then(|| {
            let (one, other) = both();
            format!("\"{one:08x}{other:08x}\"")
        })
    }

    /// Its bytes: head, and body unless it is not wanted or known to the caller.
    pub(super) fn encode(self, is_head: bool, knows: impl Fn(&str) -> bool, date: &str) -> (Vec<u8>, Bytes) {
        let tag = self.tag();
        let is_known = tag.as_deref().is_some_and(knows);
        let (status, body) = if is_known { (304, Bytes::new()) } else { (self.status, self.body) };
        let mut head = format!("HTTP/1.1 {status} {}\r\n", reason(status));
        // Writing to a string cannot fail.
        let _ = write!(head, "Date: {date}\r\n{ALWAYS}");
        if !is_known {
            let _ = write!(head, "Content-Type: {}\r\nContent-Length: {}\r\n", self.content_type, body.len());
        }
        if let Some(tag) = tag {
            let _ = write!(head, "ETag: {tag}\r\n");
        }
        for (name, value) in self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        head.push_str("\r\n");
        (head.into_bytes(), if is_head { Bytes::new() } else { body })
    }
}

const fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        408 => "Request Timeout",
        413 => "Content Too Large",
        421 => "Misdirected Request",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "Internal Server Error",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn bytes(response: Response, is_head: bool, known: &str) -> String {
        let (head, body) = response.encode(is_head, |tag| tag == known, "Thu, 01 Jan 1970 00:00:00 GMT");
        format!("{}{}", String::from_utf8(head).unwrap(), String::from_utf8_lossy(&body))
    }

    #[test]
    fn a_known_answer_is_not_sent_again() {
        let text = bytes(Response::text("pong").tagged(), false, "");
        assert!(text.starts_with("HTTP/1.1 200 OK\r\nDate: Thu, "), "{text}");
        assert!(text.ends_with("\r\n\r\npong") && text.contains("Content-Length: 4\r\n"), "{text}");
        let tag = text.split("ETag: ").nth(1).unwrap().lines().next().unwrap();
        let again = bytes(Response::text("pong").tagged(), false, tag);
        assert!(
            again.starts_with("HTTP/1.1 304 ") && again.ends_with("\r\n\r\n") && !again.contains("Length"),
            "{again}"
        );
        assert!(bytes(Response::text("ping").tagged(), false, tag).starts_with("HTTP/1.1 200 "));
    }

    #[test]
    fn a_head_has_the_length_and_no_body() {
        let text = bytes(Response::text("pong"), true, "");
        assert!(text.contains("Content-Length: 4\r\n") && text.ends_with("\r\n\r\n"), "{text}");
    }

    #[test]
    fn a_problem_is_json_and_never_tagged() {
        let text = bytes(Response::problem(405, "no \"POST\"").tagged().with_header("Allow", "GET"), false, "");
        assert!(text.starts_with("HTTP/1.1 405 Method Not Allowed\r\n") && text.contains("Allow: GET\r\n"), "{text}");
        assert!(text.ends_with("{\"error\":\"no \\\"POST\\\"\",\"status\":405}") && !text.contains("ETag"), "{text}");
    }
}
