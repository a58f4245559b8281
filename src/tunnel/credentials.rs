//! Who asks.

use std::fmt;

use serde::Deserialize;

/// Who asks: an access key, the token of a temporary one, a bearer token, or where to get a temporary key from. `Debug` prints
/// `***` for what is secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials(pub(super) Kind);

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Key(AccessKey),
    Bearer(String),
    EcsRole(EcsRole),
    Uri(String),
}

/// A key that signs.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct AccessKey {
    pub(super) id: String,
    pub(super) secret: String,
    pub(super) token: Option<String>,
}

/// The RAM role of an ECS instance, as its metadata service tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EcsRole {
    /// The role's name; `None` asks for it.
    pub(super) role: Option<String>,
    /// Such as `http://100.100.100.200`.
    pub(super) endpoint: String,
    /// Ask without a token when the service gives none.
    pub(super) allow_v1: bool,
}

impl Credentials {
    /// A long-lived key. Spaces around both parts, such as the line end of a secret file, are dropped.
    pub fn new(access_id: impl AsRef<str>, access_key: impl AsRef<str>) -> Self {
        Self(Kind::Key(AccessKey {
            id: access_id.as_ref().trim().to_owned(),
            secret: access_key.as_ref().trim().to_owned(),
            token: None,
        }))
    }

    /// The same as a temporary key with its STS token; no effect on other kinds.
    #[must_use]
    pub fn with_security_token(mut self, token: impl AsRef<str>) -> Self {
        if let Kind::Key(key) = &mut self.0 {
            key.token = Some(token.as_ref().trim().to_owned());
        }
        self
    }

    /// A bearer token: requests carry it and are not signed.
    pub fn bearer(token: impl AsRef<str>) -> Self {
        Self(Kind::Bearer(token.as_ref().trim().to_owned()))
    }

    /// The RAM role of the ECS instance that this runs on, by name or, with `None`, whichever it has. The temporary key comes
    /// from the metadata service (with a token, as its hardened mode wants, and without one where it gives none) and is
    /// renewed before it expires.
    pub fn ecs_role(role: Option<&str>) -> Self {
        Self::ecs_role_at(Self::ECS_METADATA, role, true)
    }

    /// Where ECS instances find their metadata service.
    pub const ECS_METADATA: &str = "http://100.100.100.200";

    /// As [`Credentials::ecs_role`] with the metadata service at `endpoint`, an http address without a path; `allow_v1`
    /// says whether it may be asked without a token.
    pub fn ecs_role_at(endpoint: &str, role: Option<&str>, allow_v1: bool) -> Self {
        let role = role.map(str::trim).filter(|role| !role.is_empty()).map(str::to_owned);
        let endpoint = endpoint.trim().trim_end_matches('/').to_owned();
        Self(Kind::EcsRole(EcsRole { role, endpoint, allow_v1 }))
    }

    /// Temporary keys from a local service that answers a GET of `uri` with JSON as the metadata service does
    /// (`ALIBABA_CLOUD_CREDENTIALS_URI`); renewed before they expire.
    pub fn from_uri(uri: impl AsRef<str>) -> Self {
        Self(Kind::Uri(uri.as_ref().trim().to_owned()))
    }

    /// The public part of a key; empty for other kinds.
    pub fn access_id(&self) -> &str {
        match &self.0 {
            Kind::Key(key) => &key.id,
            _ => "",
        }
    }

    /// Whether keys come from a service and expire.
    pub(super) const fn is_fetched(&self) -> bool {
        matches!(self.0, Kind::EcsRole(_) | Kind::Uri(_))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Key(key) => f
                .debug_struct("Credentials")
                .field("access_id", &key.id)
                .field("access_key", &"***")
                .field("security_token", &key.token.as_ref().map(|_| "***"))
                .finish(),
            Kind::Bearer(_) => f.write_str("Credentials { bearer: *** }"),
            Kind::EcsRole(role) => role.fmt(f),
            // Who knows the path and the query may ask for the keys, too.
            Kind::Uri(uri) => {
                let (scheme, rest) = uri.split_once("://").unwrap_or(("", uri));
                let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
                let host = host.rsplit('@').next().unwrap_or_default();
                write!(f, "Credentials {{ uri: \"{scheme}://{host}/***\" }}")
            }
        }
    }
}

/// A temporary key as the metadata service and its like tell it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Temporary {
    pub(super) key: AccessKey,
    /// When it ends; `None` when the service does not say.
    pub(super) expires: Option<jiff::Timestamp>,
}

impl Temporary {
    /// Reads the JSON of an answer.
    ///
    /// # Errors
    /// What is wrong, without the text itself: it may hold a secret.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Raw {
            #[serde(rename = "Code")]
            code: Option<String>,
            #[serde(rename = "AccessKeyId")]
            id: Option<String>,
            #[serde(rename = "AccessKeySecret")]
            secret: Option<String>,
            #[serde(rename = "SecurityToken")]
            token: Option<String>,
            #[serde(rename = "Expiration")]
            expires: Option<String>,
        }
        let raw: Raw =
            serde_json::from_slice(text).map_err(|_| "the answer is not JSON of a temporary key".to_owned())?;
        if let Some(code) = raw.code.filter(|code| !code.eq_ignore_ascii_case("success")) {
            return Err(format!("the answer's code is {:?}", super::text::cut(&code, 100)));
        }
        let part = |name: &str, value: Option<String>| {
            value.filter(|value| !value.trim().is_empty()).ok_or_else(|| format!("the answer has no {name}"))
        };
        let key = AccessKey {
            id: part("AccessKeyId", raw.id)?,
            secret: part("AccessKeySecret", raw.secret)?,
            token: raw.token.filter(|token| !token.is_empty()),
        };
        let expires = match raw.expires.filter(|text| !text.is_empty()) {
            Some(text) => Some(text.parse().map_err(|_| "the answer's Expiration is not a moment".to_owned())?),
            None => None,
        };
        Ok(Self { key, expires })
    }

    /// When to ask for the next one: five minutes before the end, or half-way of what is left if that is less than ten.
    pub(super) fn renew_at(&self, fetched: jiff::Timestamp) -> Option<jiff::Timestamp> {
        let expires = self.expires?;
        let left = expires.duration_since(fetched).as_secs().max(0);
        let early = RENEW_EARLY_S.min(left / 2);
        expires.checked_sub(jiff::SignedDuration::from_secs(early)).ok()
    }
}

const RENEW_EARLY_S: i64 = 300;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn debug_shows_no_secret() {
        let key = Credentials::new(" id ", "k3y\n").with_security_token("t0ken");
        let shown = format!("{key:?} {key:#?} {:?}", Credentials::bearer("b3arer"));
        let shown = format!("{shown} {:?}", Credentials::from_uri("http://u5er@h/p4th?token=s3cret"));
        assert!(shown.contains("id") && shown.contains("http://h/***"), "{shown}");
        assert!(
            ["k3y", "t0ken", "b3arer", "u5er", "p4th", "s3cret"].iter().all(|secret| !shown.contains(secret)),
            "{shown}"
        );
        assert_eq!(key.access_id(), "id");
    }

    #[test]
    fn temporary_keys_are_read_and_renewed_early() {
        let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
        let text =
            br#"{"AccessKeyId":"STS.x","AccessKeySecret":"s","SecurityToken":"t","Expiration":"2024-01-02T09:00:00Z",
            "LastUpdated":"2024-01-02T03:00:00Z","Code":"Success"}"#;
        let read = Temporary::parse(text).unwrap_or_else(|why| panic!("{why}"));
        assert_eq!((&*read.key.id, read.key.token.as_deref()), ("STS.x", Some("t")));
        assert_eq!(read.renew_at(at("2024-01-02T03:00:00Z")), Some(at("2024-01-02T08:55:00Z")));
        assert_eq!(read.renew_at(at("2024-01-02T08:58:00Z")), Some(at("2024-01-02T08:59:00Z")));
        assert_eq!(read.renew_at(at("2024-01-02T10:00:00Z")), Some(at("2024-01-02T09:00:00Z")));
        for (text, why) in [
            ("<html>s3cret</html>", "not JSON"),
            (r#"{"Code":"Failed"}"#, "code is"),
            (r#"{"AccessKeyId":"x","AccessKeySecret":""}"#, "no AccessKeySecret"),
            (r#"{"AccessKeyId":"x","AccessKeySecret":"s3cret","Expiration":"soon"}"#, "Expiration"),
        ] {
            let error = Temporary::parse(text.as_bytes()).err().unwrap();
            assert!(error.contains(why) && !error.contains("s3cret"), "{error}");
        }
    }
}
