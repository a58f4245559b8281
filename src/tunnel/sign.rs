//! Request signatures of MaxCompute: the legacy one and V4.
//!
//! Both sign the same canonical string; they differ in the key and in the shape of the `Authorization` header. Pure: dates
//! and keys are arguments.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha1::Sha1;
use sha2::Sha256;

/// What stays as it is in a path segment or a query value: the unreserved characters of RFC 3986.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Percent-encodes a path segment, a query name or a query value; a space becomes `%20`.
pub fn escape(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

/// The string that is signed.
///
/// `path` is decoded and without the endpoint's own path (`/api`); `query` holds decoded names and values, an empty value for a
/// name alone, in any order; `headers` holds all headers of the request in any order and case, those that are not signed
/// included. Rules: `SecurityUtils.java` and `accounts.py` of the official SDKs.
pub fn canonical_string<'a>(
    method: &str,
    path: &str,
    query: impl IntoIterator<Item = (&'a str, &'a str)>,
    headers: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> String {
    let mut query: Vec<(&str, &str)> = query.into_iter().collect();
    crate::sorting::sort(&mut query);
    // The three standard headers are signed even when absent.
    let mut signed = vec![
        (Cow::Borrowed("content-md5"), None),
        (Cow::Borrowed("content-type"), None),
        (Cow::Borrowed("date"), None),
    ];
    for (name, value) in headers {
        let name = name.to_ascii_lowercase();
        match signed.iter_mut().take(3).find(|(standard, _)| *standard == name) {
            Some((_, slot)) => *slot = Some(value.trim()),
            None if name.starts_with("x-odps-") => signed.push((Cow::Owned(name), Some(value.trim()))),
            None => {}
        }
    }
    for (name, value) in &query {
        if name.to_ascii_lowercase().starts_with("x-odps-") {
            signed.push((Cow::Borrowed(name), Some(value)));
        }
    }
    crate::sorting::by(&mut signed, |a, b| a.0.cmp(&b.0));

    let mut out = method.to_ascii_uppercase();
    for (name, value) in &signed {
        out.push('\n');
        if name.starts_with("x-odps-") {
            out.push_str(name);
            out.push(':');
        }
        out.push_str(value.unwrap_or_default());
    }
    out.push('\n');
    out.push_str(path);
    for (i, (name, value)) in query.iter().enumerate() {
        out.push(if i == 0 { '?' } else { '&' });
        out.push_str(name);
        if !value.is_empty() {
            out.push('=');
            out.push_str(value);
        }
    }
    out
}

/// A request target as it stands on the request line, taken apart and decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The decoded path without the endpoint's own path.
    pub path: String,
    /// Decoded names and values in the order sent; an empty value for a name alone.
    pub query: Vec<(String, String)>,
}

impl Target {
    /// Takes `target` (`/api/projects/p?uploads&partition=pt%3D1`) apart; `endpoint_path` (`/api`, or empty) is removed from
    /// the front of the path when it is there. A `+` stands for itself. Bytes that are not UTF-8 become U+FFFD.
    pub fn parse(target: &str, endpoint_path: &str) -> Self {
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let endpoint_path = endpoint_path.trim_end_matches('/');
        let path = match path.strip_prefix(endpoint_path) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => rest,
            _ => path,
        };
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        Self { path: decode(path), query: pairs.map(|(name, value)| (decode(name), decode(value))).collect() }
    }

    /// The string that is signed for this target.
    pub fn canonical_string<'a>(
        &'a self,
        method: &str,
        headers: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> String {
        let query = self.query.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        canonical_string(method, &self.path, query, headers)
    }
}

/// The `Authorization` value of the legacy signature: `ODPS {id}:{base64(HMAC-SHA1(secret, canonical))}`.
pub fn authorize_legacy(access_id: &str, access_key: &str, canonical: &str) -> String {
    let signature = BASE64.encode(hmac_sha1(access_key.as_bytes(), canonical));
    format!("ODPS {access_id}:{signature}")
}

/// The `Authorization` value of signature V4 for a `date` of the form `yyyyMMdd` in UTC and a region such as `cn-hangzhou`.
///
/// The key is derived with HMAC-SHA256, the canonical string is signed with HMAC-SHA1.
pub fn authorize_v4(access_id: &str, access_key: &str, date: &str, region: &str, canonical: &str) -> String {
    let signature = BASE64.encode(hmac_sha1(&v4_key(access_key, date, region), canonical));
    format!("ODPS {access_id}/{date}/{region}/{V4_SERVICE}/{V4_REQUEST}:{signature}")
}

/// The `application-authentication` value of an application account, made over a finished `Authorization` value.
pub fn authenticate_application(app_id: &str, app_secret: &str, authorization: &str) -> String {
    let signature = BASE64.encode(hmac_sha1(app_secret.as_bytes(), authorization));
    format!("account_provider:aliyun,signature_method:hmac-sha1,access_id:{app_id},signature:{signature}")
}

/// The service name inside a V4 credential.
const V4_SERVICE: &str = "odps";
/// The end of a V4 credential.
const V4_REQUEST: &str = "aliyun_v4_request";

fn v4_key(access_key: &str, date: &str, region: &str) -> [u8; 32] {
    let parts = [date, region, V4_SERVICE, V4_REQUEST];
    let first = format!("aliyun_v4{access_key}").into_bytes();
    let key = parts.iter().fold(first, |key, part| hmac_sha256(&key, part).to_vec());
    key.try_into().unwrap_or_default()
}

fn hmac_sha1(key: &[u8], message: &str) -> [u8; 20] {
    let mut mac = Hmac::<Sha1>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(message.as_bytes());
    mac.finalize().into_bytes().into()
}

fn hmac_sha256(key: &[u8], message: &str) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(message.as_bytes());
    mac.finalize().into_bytes().into()
}

/// A moment as the `Date` header wants it: `Tue, 02 Jan 2024 03:04:05 GMT`.
pub fn http_date(at: jiff::Timestamp) -> String {
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// A moment as a V4 credential wants it: `20240102`, in UTC.
pub fn v4_date(at: jiff::Timestamp) -> String {
    at.strftime("%Y%m%d").to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn dates_are_in_gmt() {
        let at: jiff::Timestamp = "2024-01-02T03:04:05Z".parse().unwrap();
        assert_eq!(http_date(at), "Tue, 02 Jan 2024 03:04:05 GMT");
        assert_eq!(v4_date(at), "20240102");
    }

    #[test]
    fn the_canonical_string_of_a_discovery() {
        let target = Target::parse("/api/projects/p/tunnel?service&curr_project=p", "/api");
        let headers = [("Date", "Tue, 02 Jan 2024 03:04:05 GMT"), ("x-odps-user-agent", "mytool/1.0"), ("Host", "h")];
        let canonical = target.canonical_string("get", headers);
        assert_eq!(
            canonical,
            "GET\n\n\nTue, 02 Jan 2024 03:04:05 GMT\nx-odps-user-agent:mytool/1.0\n/projects/p/tunnel?curr_project=p&service"
        );
        assert_eq!(
            authorize_legacy("DUMMY_ACCESS_ID", "DUMMY_ACCESS_SECRET", &canonical),
            "ODPS DUMMY_ACCESS_ID:Zjqf1x+OMrMGlvBG2N0gRrm643o="
        );
    }

    #[test]
    fn only_the_endpoints_own_path_is_removed() {
        assert_eq!(Target::parse("/apiary/x", "/api").path, "/apiary/x");
        assert_eq!(Target::parse("/api/projects/a%2Fb", "/api/").path, "/projects/a/b");
        assert_eq!(Target::parse("/projects/p", "").path, "/projects/p");
    }

    #[test]
    fn escapes_leave_only_unreserved_characters() {
        assert_eq!(escape("pt=a b,c+~é"), "pt%3Da%20b%2Cc%2B~%C3%A9");
    }
}
