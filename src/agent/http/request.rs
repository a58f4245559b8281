//! The head of an HTTP request. Pure: bytes in, what was asked out.

use super::response::Response;

/// Bytes that a request's head may have.
pub(super) const HEAD_BYTES_MAX: usize = 8 * 1024;
/// Header lines that it may have.
const HEADERS_MAX: usize = 64;
/// Parts of a path that are looked at.
const SEGMENTS_MAX: usize = 8;

/// What was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// HEAD instead of GET.
    pub(super) is_head: bool,
    /// POST instead of GET.
    pub(super) is_post: bool,
    /// The path's parts between slashes, decoded.
    pub(super) segments: Vec<String>,
    /// The `If-None-Match` header.
    pub(super) if_none_match: Option<String>,
    /// The `Host` header.
    pub(super) host: Option<String>,
    /// The token of an `Authorization: Bearer` header.
    pub(super) bearer: Option<String>,
}

/// What bytes that have come so far mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// More has to come.
    Partial,
    /// A request.
    Whole(Request),
    /// Something that gets this answer and no other.
    Refused(Response),
}

/// Reads the head of a request.
pub(super) fn parse(bytes: &[u8]) -> Head {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_BYTES_MAX => return Head::Partial,
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return refused(431, "the head of the request is larger than 8 KiB or has more than 64 lines");
        }
        Err(error) => return refused(400, &format!("this is no HTTP/1 request: {error}")),
    }
    let (is_head, is_post) = match request.method {
        Some("GET") => (false, false),
        Some("HEAD") => (true, false),
        Some("POST") if request.path.is_some_and(is_order) => (false, true),
        _ => {
            let text = "only GET and HEAD are served here; what changes something goes over the control socket, or by POST to \
                        /api/v1/jobs/{id}/pause and /resume";
            return Head::Refused(Response::problem(405, text).with_header("Allow", "GET, HEAD"));
        }
    };
    let (mut if_none_match, mut host, mut bearer) = (None, None, None);
    for header in request.headers.iter() {
        let value = || std::str::from_utf8(header.value).ok().map(|value| value.trim().to_owned());
        match header.name.to_ascii_lowercase().as_str() {
            "if-none-match" => if_none_match = value(),
            "host" => host = Some(String::from_utf8_lossy(header.value.trim_ascii()).into_owned()),
            "authorization" => bearer = value().and_then(|value| token_of(&value)),
            "content-length" if header.value.trim_ascii() == b"0" => {}
            "content-length" | "transfer-encoding" => return refused(413, "a request has no body here"),
            _ => {}
        }
    }
    let target = request.path.unwrap_or_default();
    // The absolute form, which proxies send, names the same path.
    let target = target.strip_prefix("http://").map_or(target, |rest| rest.find('/').map_or("/", |at| &rest[at..]));
    let path = target.split(['?', '#']).next().unwrap_or_default();
    let Some(path) = path.strip_prefix('/') else { return refused(400, "the path does not begin with a slash") };
    let mut segments = Vec::new();
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        let Ok(decoded) = percent_encoding::percent_decode_str(segment).decode_utf8() else {
            return refused(400, "the path is no UTF-8");
        };
        segments.push(decoded.into_owned());
        if segments.len() > SEGMENTS_MAX {
            return refused(404, "there is nothing here");
        }
    }
    Head::Whole(Request { is_head, is_post, segments, if_none_match, host, bearer })
}

/// Whether something is ordered at this path, rather than shown.
fn is_order(path: &str) -> bool {
    path.ends_with("/pause") || path.ends_with("/resume")
}

/// The token of `Bearer TOKEN` (RFC 6750).
fn token_of(authorization: &str) -> Option<String> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}

fn refused(status: u16, text: &str) -> Head {
    Head::Refused(Response::problem(status, text))
}

impl Request {
    /// Whether the caller has the answer of this tag already.
    pub(super) fn knows(&self, tag: &str) -> bool {
        let known = self.if_none_match.as_deref().unwrap_or_default();
        known.split(',').any(|one| one.trim().trim_start_matches("W/") == tag || one.trim() == "*")
    }

    /// Whether the name by which this host was called is an address or `localhost`. Any other name may have been given our
    /// address by somebody else, so that a page of theirs could read ours.
    pub(super) fn is_called_by_address(&self) -> bool {
        let Some(host) = self.host.as_deref() else { return true };
        let name = match host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => host.rsplit_once(':').map_or(host, |(name, _)| name),
        };
        name.eq_ignore_ascii_case("localhost") || name.parse::<std::net::IpAddr>().is_ok()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn whole(text: &str) -> Request {
        match parse(text.as_bytes()) {
            Head::Whole(request) => request,
            other => panic!("{other:?}"),
        }
    }

    fn status(text: &[u8]) -> u16 {
        match parse(text) {
            Head::Refused(response) => response.status,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_request_is_taken_apart() {
        let request =
            whole("GET /api/v1//jobs/a%2Fb%20c?x=1 HTTP/1.1\r\nHost: x\r\nIf-None-Match: W/\"7\", \"8\"\r\n\r\n");
        assert_eq!(request.segments, ["api", "v1", "jobs", "a/b c"]);
        assert!(!request.is_head && request.knows("\"7\"") && request.knows("\"8\"") && !request.knows("\"9\""));
        assert!(whole("HEAD / HTTP/1.0\r\n\r\n").is_head);
        assert_eq!(whole("GET http://x:9180/ping HTTP/1.1\r\n\r\n").segments, ["ping"]);
        assert_eq!(whole("GET http://x HTTP/1.1\r\n\r\n").segments, [""; 0]);
    }

    #[test]
    fn every_prefix_is_partial_and_none_is_taken_for_whole() {
        let text = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
        for end in 0..text.len() {
            assert_eq!(parse(&text[..end]), Head::Partial, "{end}");
        }
    }

    #[test]
    fn only_orders_are_posted() {
        let request =
            whole("POST /api/v1/jobs/a/pause HTTP/1.1\r\nauthorization: bearer  x.y \r\nContent-Length: 0\r\n\r\n");
        assert!(request.is_post && request.bearer.as_deref() == Some("x.y"), "{request:?}");
        for (header, token) in
            [("Authorization: Basic eDp5", None), ("Authorization: Bearer", None), ("X: Bearer y", None)]
        {
            let request = whole(&format!("POST /api/v1/jobs/a/resume HTTP/1.1\r\n{header}\r\n\r\n"));
            assert_eq!(request.bearer, token, "{header}");
        }
        assert_eq!(status(b"POST /pause HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"), 413);
        assert_eq!(status(b"DELETE /api/v1/jobs/a/pause HTTP/1.1\r\n\r\n"), 405);
    }

    #[test]
    fn what_is_not_served_is_refused_by_its_status() {
        assert_eq!(status(b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"), 405);
        assert_eq!(status(b"GET / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"), 413);
        assert_eq!(status(b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"), 413);
        assert_eq!(status(b"GET nowhere HTTP/1.1\r\n\r\n"), 400);
        assert_eq!(status(b"GET /%ff HTTP/1.1\r\n\r\n"), 400);
        assert_eq!(status(b"\x16\x03\x01\x02\x00\x01\x00\x01"), 400, "a TLS client");
        assert_eq!(status(b"\x00\x00\x00\x17\x00\x12\x00\x00"), 400, "a Kafka client");
        assert_eq!(status(format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(HEAD_BYTES_MAX)).as_bytes()), 431);
        assert_eq!(status(format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(65)).as_bytes()), 431);
        assert_eq!(status(format!("GET {} HTTP/1.1\r\n\r\n", "/a".repeat(9)).as_bytes()), 404);
        // A length of nothing is no body.
        assert_eq!(whole("GET / HTTP/1.1\r\nContent-Length: 0\r\n\r\n").segments, [""; 0]);
    }

    #[test]
    fn other_peoples_names_are_told_from_addresses() {
        let called = |host: &str| whole(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).is_called_by_address();
        for host in ["localhost", "LocalHost:9180", "127.0.0.1:9180", "[::1]:9180", "10.1.2.3"] {
            assert!(called(host), "{host}");
        }
        for host in ["evil.example", "evil.example:9180", "localhost.evil.example", "127.0.0.1.evil.example:80", ""] {
            assert!(!called(host), "{host}");
        }
    }
}
