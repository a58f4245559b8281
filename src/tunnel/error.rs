//! What went wrong between us and MaxCompute.

use std::fmt;
use std::time::Duration;

use super::session::{Fault, FaultClass};
use super::text::cut;
use crate::limits::PEER_TEXT_BYTES_MAX;

/// A call to MaxCompute that did not give what it should have.
///
/// Opaque: ask [`Error::kind`] what to do, [`Error::code`] and [`Error::request_id`] what to tell MaxCompute's support.
/// `Display` names the call, the object, the service's own words and the request id; it never holds a secret.
pub struct Error(Box<Details>);

struct Details {
    kind: ErrorKind,
    /// The call and its object: `create an upload session for table "p.t"`.
    what: String,
    message: String,
    code: Option<String>,
    status: Option<u16>,
    request_id: Option<String>,
    retry_after: Option<Duration>,
    /// `odps-tunnel-latest-schema-version` of the answer.
    latest_schema: Option<String>,
    /// Attempts made when a retried call was given up.
    attempts: u32,
    /// The request never left this machine.
    unsent: bool,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What kind of failure an [`Error`] is. Decided by the service's code first and by the HTTP status second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The configuration cannot work: a bad endpoint, no CA certificates, a CPU the TLS library refuses.
    Config,
    /// The key, the signature, the token or the clock is wrong.
    Auth,
    /// The key is good but may not do this.
    Forbidden,
    /// There is no such project.
    NoSuchProject,
    /// There is no such table.
    NoSuchTable,
    /// There is no such partition.
    NoSuchPartition,
    /// Something else that was asked for does not exist.
    NotFound,
    /// The table refuses INSERT OVERWRITE through an upload session.
    OverwriteNotAllowed,
    /// The service asks for fewer requests; worth repeating for as long as the caller likes.
    Throttled,
    /// The service or the way to it does not work at the moment.
    Unavailable,
    /// The service received a broken block; send the whole block again.
    DamagedBlock,
    /// The session's state does not allow the call.
    StatusConflict,
    /// The blocks of the session are not the blocks the caller sent.
    BlockMismatch,
    /// The upload session is over without a commit: expired, cancelled, or unknown to the service.
    SessionDead,
    /// The table was altered after the session was created; begin again with a new session.
    SchemaChanged,
    /// Another commit on the table won; try again with a new session.
    TransactionConflict,
    /// The service calls the request invalid.
    Refused,
    /// The SQL statement failed.
    Sql,
    /// A write may or may not have happened, and asking did not settle it.
    UnknownOutcome,
    /// The service's answer cannot be understood.
    Decode,
    /// The block's own byte stream failed; the cause is the error's source.
    Body,
}

impl Error {
    pub(super) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Details {
            kind,
            what: String::new(),
            message: message.into(),
            code: None,
            status: None,
            request_id: None,
            retry_after: None,
            latest_schema: None,
            attempts: 1,
            unsent: false,
            source: None,
        }))
    }

    /// The error of an answer with `status`, `code` as the service spells it, and its message.
    pub(super) fn from_service(status: u16, code: Option<&str>, message: &str) -> Self {
        // Some hosts put `ODPS-0420411: Invalid argument` where the bare code belongs.
        let (code, tail) = match code.map(str::trim).filter(|code| !code.is_empty()) {
            Some(code) => match code.split_once(':') {
                Some((code, tail)) => (Some(code.trim()), tail.trim()),
                None => (Some(code), ""),
            },
            None => (code_inside(message), ""),
        };
        let message = message.trim();
        let message = if tail.is_empty() || message.contains(tail) {
            message.to_owned()
        } else {
            format!("{tail} {message}").trim().to_owned()
        };
        let mut error = Self::new(classify(status, code), cut(&message, PEER_TEXT_BYTES_MAX));
        error.0.code = code.map(|code| cut(code, PEER_TEXT_BYTES_MAX).to_owned());
        error.0.status = Some(status);
        error
    }

    /// Says which call on which object failed; the outermost caller's words win.
    #[must_use]
    pub(super) fn during(mut self, what: impl Into<String>) -> Self {
        self.0.what = what.into();
        self
    }

    #[must_use]
    pub(super) fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.0.kind = kind;
        self
    }

    /// For words of the service that did not come as an answer of their own.
    #[must_use]
    pub(super) fn without_status(mut self) -> Self {
        self.0.status = None;
        self
    }

    #[must_use]
    pub(super) fn with_request_id(mut self, request_id: Option<String>) -> Self {
        self.0.request_id = request_id.or(self.0.request_id);
        self
    }

    #[must_use]
    pub(super) fn with_retry_after(mut self, retry_after: Option<Duration>) -> Self {
        self.0.retry_after = retry_after;
        self
    }

    #[must_use]
    pub(super) fn with_latest_schema(mut self, version: Option<String>) -> Self {
        self.0.latest_schema = version;
        self
    }

    #[must_use]
    pub(super) fn with_attempts(mut self, attempts: u32) -> Self {
        self.0.attempts = attempts;
        self
    }

    #[must_use]
    pub(super) fn with_unsent(mut self, unsent: bool) -> Self {
        self.0.unsent = unsent;
        self
    }

    #[must_use]
    pub(super) fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The service's code, such as `NoSuchTable` or `ODPS-0130131`.
    pub fn code(&self) -> Option<&str> {
        self.0.code.as_deref()
    }

    /// The service's id for the request, from `x-odps-request-id`.
    pub fn request_id(&self) -> Option<&str> {
        self.0.request_id.as_deref()
    }

    /// The HTTP status of the answer; `None` when there was no answer.
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// How long the service asked to wait before the next attempt.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The version of the table's present schema, when the service refused a row stream for having an older one.
    pub fn latest_schema(&self) -> Option<&str> {
        self.0.latest_schema.as_deref()
    }

    /// Whether the same call may work later without anybody changing anything.
    ///
    /// For a block this means: encode it again from its first record and send it under the same id.
    pub fn is_retriable(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Throttled | ErrorKind::Unavailable | ErrorKind::DamagedBlock)
    }

    /// Whether a person has to look at keys, tokens, clocks or grants.
    pub fn is_auth(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Auth | ErrorKind::Forbidden)
    }

    /// Whether the service cannot have seen the request.
    pub(super) fn is_unsent(&self) -> bool {
        self.0.unsent
    }
}

impl From<&Error> for Fault {
    /// How the retry machines take an error of a call.
    fn from(error: &Error) -> Self {
        let class = match error.kind() {
            ErrorKind::Throttled => FaultClass::Throttled,
            ErrorKind::Unavailable | ErrorKind::DamagedBlock => FaultClass::Server,
            _ => FaultClass::Final,
        };
        Self { class, retry_after: error.retry_after() }
    }
}

/// The `ODPS-0130131` at the front of a message that came without a code of its own.
fn code_inside(message: &str) -> Option<&str> {
    let message = message.trim_start();
    let end = message.find(|c: char| !c.is_ascii_alphanumeric() && c != '-').unwrap_or(message.len());
    let code = message.get(..end)?;
    let digits = code.strip_prefix("ODPS-")?;
    (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(code)
}

/// Codes first, since statuses are mostly inferred; lists from the service's documentation ("Tunnel error codes") and the SDKs.
fn classify(status: u16, code: Option<&str>) -> ErrorKind {
    let by_code = match code.unwrap_or_default() {
        "FlowExceeded" | "SlotExceeded" | "QPSExceeded" | "RequestQuotaExceeded" => Some(ErrorKind::Throttled),
        "InternalServerError" | "ServiceUnavailable" | "ReadMetaError" | "DataStoreError" => {
            Some(ErrorKind::Unavailable)
        }
        "ODPS-0010000" | "ODPS-0420153" | "ODPS-0430055" => Some(ErrorKind::Unavailable),
        "CorruptedDataStream" | "MalformedDataStream" | "IncompleteBody" | "RequestTimeOut" | "InvalidData" => {
            Some(ErrorKind::DamagedBlock)
        }
        "StatusConflict" | "InvalidStatusChange" | "InvalidState" => Some(ErrorKind::StatusConflict),
        "DataVersionConflict" | "DataUnderReplication" | "MetaTransactionFailed" | "MetaTransactionAborted" => {
            Some(ErrorKind::TransactionConflict)
        }
        "TableModified" | "ObjectModified" | "SchemaModified" => Some(ErrorKind::SchemaChanged),
        "Unauthorized" | "SignatureNotMatch" | "AuthorizationRequired" | "AuthenticationRequestExpired" => {
            Some(ErrorKind::Auth)
        }
        "RequestTimeTooSkewed" | "ODPS-0410031" | "ODPS-0410042" | "ODPS-0410051" => Some(ErrorKind::Auth),
        "NoPermission" | "AccessDenied" | "ODPS-0130013" | "ODPS-0420095" => Some(ErrorKind::Forbidden),
        "NoSuchProject" | "ODPS-0420111" => Some(ErrorKind::NoSuchProject),
        "NoSuchTable" | "ODPS-0130131" => Some(ErrorKind::NoSuchTable),
        "NoSuchPartition" => Some(ErrorKind::NoSuchPartition),
        "NoSuchUpload" | "StreamSessionNotFound" => Some(ErrorKind::SessionDead),
        "NoSuchObject" | "NoSuchDownload" | "NoSuchSchema" | "QuotaNotExist" => Some(ErrorKind::NotFound),
        "OverwriteModeNotAllowed" => Some(ErrorKind::OverwriteNotAllowed),
        "InConsistentBlockList" => Some(ErrorKind::BlockMismatch),
        _ => None,
    };
    by_code.unwrap_or(match status {
        308 | 429 => ErrorKind::Throttled,
        401 => ErrorKind::Auth,
        403 => ErrorKind::Forbidden,
        404 => ErrorKind::NotFound,
        408 | 500..=599 => ErrorKind::Unavailable,
        409 => ErrorKind::StatusConflict,
        412 => ErrorKind::SchemaChanged,
        _ => ErrorKind::Refused,
    })
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Details { what, message, code, status, request_id, attempts, .. } = &*self.0;
        if !what.is_empty() {
            write!(f, "{what}: ")?;
        }
        match code {
            Some(code) if !message.starts_with(code) => write!(f, "{code}: ")?,
            _ => {}
        }
        match (message.is_empty(), status) {
            (false, _) => write!(f, "{message}")?,
            (true, Some(status)) => write!(f, "answered {status} without a message")?,
            (true, None) => write!(f, "failed")?,
        }
        let mut facts = Vec::new();
        if let Some(status) = status {
            facts.push(format!("HTTP {status}"));
        }
        if let Some(request_id) = request_id {
            facts.push(format!("request {request_id}"));
        }
        if *attempts > 1 {
            facts.push(format!("{attempts} attempts"));
        }
        if facts.is_empty() { Ok(()) } else { write!(f, " ({})", facts.join(", ")) }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_win_over_statuses() {
        for (status, code, kind) in [
            (500, Some("FlowExceeded"), ErrorKind::Throttled),
            (400, Some("InternalServerError"), ErrorKind::Unavailable),
            (400, Some("Unauthorized"), ErrorKind::Auth),
            (404, Some("NoSuchUpload"), ErrorKind::SessionDead),
            (400, Some("ODPS-0130131: Table not found"), ErrorKind::NoSuchTable),
            (400, Some("SomethingNew"), ErrorKind::Refused),
            (308, None, ErrorKind::Throttled),
            (429, Some(""), ErrorKind::Throttled),
            (502, None, ErrorKind::Unavailable),
            (408, None, ErrorKind::Unavailable),
            (409, None, ErrorKind::StatusConflict),
            (412, None, ErrorKind::SchemaChanged),
        ] {
            assert_eq!(Error::from_service(status, code, "m").kind(), kind, "{status} {code:?}");
        }
    }

    #[test]
    fn the_message_names_call_code_status_and_request() {
        let error = Error::from_service(404, Some("ODPS-0130131: Table not found - p.t"), "")
            .with_request_id(Some("R1".into()))
            .with_attempts(3)
            .during("read table \"p.t\"");
        assert_eq!(
            error.to_string(),
            "read table \"p.t\": ODPS-0130131: Table not found - p.t (HTTP 404, request R1, 3 attempts)"
        );
        let bare = Error::from_service(502, None, "").during("x");
        assert_eq!(bare.to_string(), "x: answered 502 without a message (HTTP 502)");
    }

    #[test]
    fn a_code_may_hide_in_the_message() {
        let error = Error::from_service(200, None, "ODPS-0130161:[1,8] Parse exception");
        assert_eq!(error.code(), Some("ODPS-0130161"));
        assert!(error.to_string().starts_with("ODPS-0130161:[1,8]"), "{error}");
        assert_eq!(Error::from_service(200, None, "ODPS- nothing").code(), None);
    }

    #[test]
    fn long_words_of_the_service_are_cut() {
        let error = Error::from_service(500, None, &"x".repeat(1 << 20));
        assert!(error.to_string().len() < 2 * PEER_TEXT_BYTES_MAX);
    }
}
