//! What came back, and what it means when it is an error.

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;

use crate::tls;
use crate::tunnel::error::{Error, ErrorKind};
use crate::tunnel::xml::Element;

/// An answer with its body read whole.
#[derive(Clone, Debug)]
pub(in crate::tunnel) struct Answer {
    pub(in crate::tunnel) status: u16,
    /// Names in lower case.
    pub(in crate::tunnel) headers: Vec<(String, String)>,
    pub(in crate::tunnel) body: Bytes,
}

/// The longest pause that a service may impose by `HoldClientMillis` (the Java SDK sleeps at most this long).
const HOLD_MAX: Duration = Duration::from_secs(10);

impl Answer {
    /// The first header called `name` (in lower case).
    pub(in crate::tunnel) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.trim())
    }

    /// The service's id for the request.
    pub(in crate::tunnel) fn request_id(&self) -> Option<String> {
        self.header("x-odps-request-id").filter(|id| !id.is_empty()).map(str::to_owned)
    }

    /// The body as text; bytes that are not UTF-8 become U+FFFD.
    pub(in crate::tunnel) fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    pub(in crate::tunnel) const fn is_success(&self) -> bool {
        self.status >= 200 && self.status < 300
    }

    /// The error that this answer is. JSON and XML are both tried, since either host may send either; a body that is neither,
    /// such as a gateway's page, counts by its status.
    pub(in crate::tunnel) fn into_error(self, now: jiff::Timestamp) -> Error {
        let text = self.text();
        let said = Said::in_json(&text).or_else(|| Said::in_xml(&text)).unwrap_or_default();
        let hold = said.hold.map(|hold| hold.min(HOLD_MAX));
        let retry_after = self.header("retry-after").and_then(|value| retry_after(value, now)).or(hold);
        let mut message = said.message.unwrap_or_default();
        if message.is_empty() && said.code.is_none() {
            message = page_summary(&text);
        }
        if matches!(self.status, 400 | 401 | 403)
            && let Some(skew) = self.header("date").and_then(|date| skew(date, now))
        {
            message.push_str(&skew);
        }
        Error::from_service(self.status, said.code.as_deref(), &message)
            .with_request_id(said.request_id)
            .with_request_id(self.request_id())
            .with_retry_after(retry_after)
            .with_latest_schema(self.header("odps-tunnel-latest-schema-version").map(str::to_owned))
    }
}

/// What an error's body says.
#[derive(Default)]
struct Said {
    code: Option<String>,
    message: Option<String>,
    request_id: Option<String>,
    hold: Option<Duration>,
}

impl Said {
    fn in_json(text: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Raw {
            #[serde(rename = "Code", alias = "code")]
            code: Option<String>,
            #[serde(rename = "Message", alias = "message")]
            message: Option<String>,
            #[serde(rename = "RequestId")]
            request_id: Option<String>,
            #[serde(rename = "HoldClientMillis")]
            hold: Option<serde_json::Value>,
        }
        let raw: Raw = serde_json::from_str(text).ok()?;
        let hold = raw.hold.and_then(|hold| hold.as_u64().or_else(|| hold.as_str()?.trim().parse().ok()));
        Some(Self {
            code: raw.code,
            message: raw.message,
            request_id: raw.request_id,
            hold: hold.map(Duration::from_millis),
        })
    }

    fn in_xml(text: &str) -> Option<Self> {
        let root = Element::parse(text).ok().filter(|root| root.name == "Error")?;
        let part = |name| root.child_text(name).filter(|text| !text.is_empty()).map(str::to_owned);
        Some(Self { code: part("Code"), message: part("Message"), request_id: part("RequestId"), hold: None })
    }
}

/// The first words of a page that is not an error of the service's own making, without its markup.
fn page_summary(text: &str) -> String {
    let mut words = String::new();
    let mut in_tag = false;
    for c in text.chars().take(4096) {
        match c {
            '<' => in_tag = true,
            '>' => {
                in_tag = false;
                words.push(' ');
            }
            c if !in_tag && !c.is_control() => words.push(c),
            _ if !in_tag => words.push(' '),
            _ => {}
        }
    }
    let words: Vec<&str> = words.split_whitespace().collect();
    crate::tunnel::text::cut(&words.join(" "), 200).to_owned()
}

/// The value of `Retry-After`: seconds, or a date.
fn retry_after(value: &str, now: jiff::Timestamp) -> Option<Duration> {
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = parse_date(value)?;
    Some(Duration::try_from(at.duration_since(now)).unwrap_or_default())
}

/// A moment as a header shows it.
pub(in crate::tunnel) fn parse_date(text: &str) -> Option<jiff::Timestamp> {
    jiff::fmt::rfc2822::parse(text).ok().map(|zoned| zoned.timestamp())
}

/// A hint for a refused signature: clocks that are further apart than the 15 minutes that the service allows.
fn skew(date: &str, now: jiff::Timestamp) -> Option<String> {
    let seconds = now.duration_since(parse_date(date)?).as_secs();
    (seconds.unsigned_abs() > 14 * 60)
        .then(|| format!(" (this machine's clock is {seconds} s ahead of the service's; 900 s are allowed)"))
}

/// The error of a request that brought no whole answer.
pub(super) fn transport_error(host: &str, error: reqwest::Error) -> Error {
    let mut kind = ErrorKind::Unavailable;
    if tls::is_distrust(&error) {
        kind = ErrorKind::Config;
    }
    if error.is_builder() {
        kind = ErrorKind::Config;
    }
    let unsent = error.is_connect();
    let error = error.without_url();
    let verb = if unsent { "cannot connect: " } else { "" };
    let message = format!("{host}: {verb}{}", describe(&error));
    Error::new(kind, message).with_unsent(unsent).with_source(error)
}

/// An error and its causes in one line, without repetitions and without the layers that only say that there is a cause.
pub(super) fn describe(error: &dyn std::error::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut current = Some(error);
    while let Some(error) = current {
        let words = error.to_string();
        let is_wrapper = words == "error sending request" || words.starts_with("client error (");
        let is_last = error.source().is_none();
        if (!is_wrapper || (is_last && parts.is_empty())) && !parts.iter().any(|part| part.contains(&words)) {
            parts.push(words);
        }
        current = error.source();
    }
    parts.join(": ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Error {
        let headers = headers.iter().map(|(name, value)| (String::from(*name), String::from(*value))).collect();
        let now = "2024-01-02T03:04:05Z".parse().unwrap();
        Answer { status, headers, body: Bytes::copy_from_slice(body.as_bytes()) }.into_error(now)
    }

    #[test]
    fn both_shapes_are_read() {
        let json = answer(
            429,
            &[("x-odps-request-id", "H")],
            r#"{"Code":"FlowExceeded","Message":"slow down","RequestId":"B","HoldClientMillis":"250"}"#,
        );
        assert_eq!(
            (json.kind(), json.code(), json.request_id()),
            (ErrorKind::Throttled, Some("FlowExceeded"), Some("H"))
        );
        assert_eq!(json.retry_after(), Some(Duration::from_millis(250)));
        let xml = answer(
            404,
            &[],
            "<?xml version=\"1.0\"?><Error><Code>ODPS-0130131</Code><Message><![CDATA[Table not found]]></Message>\
             <RequestId>X</RequestId><HostId>h</HostId></Error>",
        );
        assert_eq!(
            (xml.kind(), xml.code(), xml.request_id()),
            (ErrorKind::NoSuchTable, Some("ODPS-0130131"), Some("X"))
        );
        assert!(xml.to_string().contains("Table not found"), "{xml}");
    }

    #[test]
    fn a_gateways_page_counts_by_its_status() {
        let page = answer(502, &[], "<html><head><title>502 Bad Gateway</title></head><body>nginx\n</body></html>");
        assert_eq!((page.kind(), page.code()), (ErrorKind::Unavailable, None));
        assert!(page.to_string().contains("502 Bad Gateway nginx"), "{page}");
        assert_eq!(answer(404, &[], "").kind(), ErrorKind::NotFound);
        assert_eq!(answer(500, &[], "[1]").kind(), ErrorKind::Unavailable);
    }

    #[test]
    fn pauses_come_in_seconds_or_as_a_date() {
        let pause = |value| answer(503, &[("retry-after", value)], "").retry_after();
        assert_eq!(pause("7"), Some(Duration::from_secs(7)));
        assert_eq!(pause("Tue, 02 Jan 2024 03:05:05 GMT"), Some(Duration::from_secs(60)));
        assert_eq!(pause("Tue, 02 Jan 2024 03:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(pause("soon"), None);
        let hold = answer(500, &[], r#"{"Code":"x","Message":"","HoldClientMillis":99999999}"#);
        assert_eq!(hold.retry_after(), Some(HOLD_MAX));
    }

    #[test]
    fn a_wrong_clock_is_named() {
        let error =
            answer(401, &[("date", "Tue, 02 Jan 2024 02:04:05 GMT")], r#"{"Code":"Unauthorized","Message":"no"}"#);
        assert!(error.to_string().contains("3600 s ahead"), "{error}");
    }
}
