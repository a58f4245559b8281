//! What the service says: bodies, headers, and errors in the two shapes of the two hosts.

use std::io;
use std::pin::Pin;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use futures_util::Stream;

use super::request::Asked;

/// A body that is produced while it is sent.
pub(super) type ByteStream = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// An answer before it becomes HTTP.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) content: Content,
}

/// The body of an [`Answer`].
pub(super) enum Content {
    /// All of it.
    Whole(Bytes),
    /// Piece by piece; an error ends the connection.
    Streamed(ByteStream),
}

impl Answer {
    /// 200 with JSON.
    pub(super) fn json(value: &serde_json::Value) -> Self {
        Self::whole(200, "application/json", value.to_string())
    }

    /// 200 with XML; `body` comes without the declaration.
    pub(super) fn xml(body: &str) -> Self {
        Self::whole(200, "application/xml", format!("{XML_DECLARATION}{body}"))
    }

    /// 200 with plain text.
    pub(super) fn text(body: impl Into<String>) -> Self {
        Self::whole(200, "text/plain", body.into())
    }

    /// A status without a body.
    pub(super) fn empty(status: u16) -> Self {
        Self { status, headers: HeaderMap::new(), content: Content::Whole(Bytes::new()) }
    }

    /// A status with a whole body.
    pub(super) fn whole(status: u16, content_type: &'static str, body: String) -> Self {
        let mut answer = Self { status, headers: HeaderMap::new(), content: Content::Whole(Bytes::from(body)) };
        answer.headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        answer
    }

    /// 200 with a body that is produced while it is sent.
    pub(super) fn streamed(stream: ByteStream) -> Self {
        let mut answer = Self { status: 200, headers: HeaderMap::new(), content: Content::Streamed(stream) };
        answer.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        answer
    }

    /// Adds a header; a value that HTTP cannot carry is left out.
    #[must_use]
    pub(super) fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(HeaderName::from_static(name), value);
        }
        self
    }

    /// The answer as HTTP. Header names leave in lower case.
    pub(super) fn into_response(self) -> Response {
        let body = match self.content {
            Content::Whole(bytes) => Body::from(bytes),
            Content::Streamed(stream) => Body::from_stream(stream),
        };
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        *response.headers_mut() = self.headers;
        response
    }
}

/// A request that the service turns down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The HTTP status.
    pub(super) status: u16,
    /// The service's `Code`, such as `NoSuchTable`.
    pub(super) code: &'static str,
    /// The service's `Message`.
    pub(super) message: String,
    /// A header that the answer carries.
    pub(super) header: Option<(&'static str, String)>,
}

impl Refusal {
    /// A refusal with its HTTP status.
    pub(super) fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), header: None }
    }

    /// The same with a header.
    #[must_use]
    pub(super) fn with_header(mut self, name: &'static str, value: String) -> Self {
        self.header = Some((name, value));
        self
    }

    /// Storage that failed: a full disk, a folder that is gone. Nothing has changed.
    pub(super) fn store(what: &str, error: &io::Error) -> Self {
        Self::new(500, "DataStoreError", format!("{what}: {error}"))
    }

    /// The refusal in the shape of the host that `asked` was sent to: JSON on the tunnel host, XML on the ODPS host.
    pub(super) fn answer(&self, asked: &Asked) -> Answer {
        let answer = match self.code {
            // A gateway's page.
            "" => {
                Answer::whole(self.status, "text/html", format!("<html><body><h1>{}</h1></body></html>", self.status))
            }
            code => error_answer(self.status, code, &self.message, asked),
        };
        match &self.header {
            Some((name, value)) => answer.header(name, value),
            None => answer,
        }
    }
}

/// An error answer in the shape of the host that `asked` was sent to.
pub(super) fn error_answer(status: u16, code: &str, message: &str, asked: &Asked) -> Answer {
    if asked.operation.is_tunnel() {
        let body = serde_json::json!({
            "Code": code, "Message": message, "RequestId": asked.request_id, "HostId": HOST_ID,
        });
        return Answer::whole(status, "application/json", body.to_string());
    }
    let body = format!(
        "{XML_DECLARATION}<Error><Code>{}</Code><Message>{}</Message><RequestId>{}</RequestId><HostId>{HOST_ID}</HostId></Error>",
        escape(code),
        escape(message),
        escape(&asked.request_id),
    );
    Answer::whole(status, "application/xml", body)
}

/// Text for an XML element or attribute. Characters that XML 1.0 cannot hold become the replacement character.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\r' => out.push_str("&#13;"),
            '\t' | '\n' => out.push(character),
            '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            _ => out.push(character),
        }
    }
    out
}

const XML_DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

/// `HostId` of every error.
const HOST_ID: &str = "forebay-sandbox";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use axum::http::Method;

    use super::*;

    fn body(answer: &Answer) -> String {
        match &answer.content {
            Content::Whole(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            Content::Streamed(_) => String::new(),
        }
    }

    #[test]
    fn each_host_has_its_own_error_shape() {
        let refusal = Refusal::new(404, "NoSuchTable", "table <t> is not there");
        let ask = |method: Method, target: &str| {
            Asked::new(method, &target.parse().unwrap(), HeaderMap::new(), "R1".to_owned())
        };
        let tunnel = refusal.answer(&ask(Method::POST, "/projects/p/tables/t?uploads"));
        let json: serde_json::Value = serde_json::from_str(&body(&tunnel)).unwrap();
        assert_eq!(json["Code"], "NoSuchTable");
        assert_eq!(json["RequestId"], "R1");
        let odps = refusal.answer(&ask(Method::GET, "/api/projects/p/tables/t"));
        assert!(body(&odps).contains("<Message>table &lt;t&gt; is not there</Message>"), "{}", body(&odps));
        assert_eq!(odps.status, 404);
    }

    #[test]
    fn xml_cannot_be_broken_by_control_characters() {
        assert_eq!(escape("a\u{1}\0b\t\n\r"), "a\u{fffd}\u{fffd}b\t\n&#13;");
    }
}
