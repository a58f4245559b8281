//! Who asks: signatures and the clock, checked as strictly as the service does when a key is configured.
//!
//! Clients differ in how they read `+` and in how often they decode before they sign, so a signature is right when it fits
//! any of these readings. Sources: `tunnel.md` section 2; `accounts.py` (PyODPS), `SecurityUtils.java`.

use jiff::fmt::rfc2822;
use percent_encoding::percent_decode_str;

use super::answer::Refusal;
use super::request::Asked;
use crate::tunnel::sign;

/// The one account that may ask.
#[derive(Clone)]
pub(super) struct Account {
    pub(super) access_id: String,
    pub(super) access_key: String,
    /// The STS token that must come along, if the account is a temporary one.
    pub(super) security_token: Option<String>,
    /// A bearer token that is let in beside the account.
    pub(super) bearer_token: Option<String>,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account").field("access_id", &self.access_id).finish_non_exhaustive()
    }
}

impl Account {
    /// Lets the request pass, or says why not.
    pub(super) fn check(&self, asked: &Asked, now_ms: i64) -> Result<(), Refusal> {
        if let Some(token) = asked.header("x-odps-bearer-token") {
            return match &self.bearer_token {
                Some(known) if known == token => Ok(()),
                _ => Err(invalid_credentials("the bearer token is not known")),
            };
        }
        let Some(authorization) = asked.header("authorization") else {
            return Err(missing());
        };
        let (credential, _) =
            authorization.strip_prefix("ODPS ").and_then(|rest| rest.rsplit_once(':')).ok_or_else(missing)?;
        let mut parts = credential.split('/');
        let access_id = parts.next().unwrap_or_default();
        if access_id != self.access_id {
            return Err(invalid_credentials("accessKeyId not found"));
        }
        self.check_clock(asked, now_ms)?;
        let scope: Vec<&str> = parts.collect();
        let expected = |canonical: &str| match scope.as_slice() {
            [] => Some(sign::authorize_legacy(access_id, &self.access_key, canonical)),
            [date, region, "odps", "aliyun_v4_request"] => {
                Some(sign::authorize_v4(access_id, &self.access_key, date, region, canonical))
            }
            _ => None,
        };
        let right = readings(asked).iter().any(|canonical| expected(canonical).as_deref() == Some(authorization));
        if !right {
            return Err(Refusal::new(
                401,
                BAD_SIGNATURE,
                format!("{BAD_SIGNATURE}:Invalid signature value - User signature dose not match"),
            ));
        }
        match &self.security_token {
            Some(token) if asked.header("authorization-sts-token") != Some(token) => {
                Err(invalid_credentials("the security token is missing or wrong"))
            }
            _ => Ok(()),
        }
    }

    fn check_clock(&self, asked: &Asked, now_ms: i64) -> Result<(), Refusal> {
        let date = asked.header("date").unwrap_or_default();
        let then = rfc2822::parse(date).map_err(|error| {
            Refusal::new(
                400,
                EXPIRED,
                format!("{EXPIRED}:Authentication request expired - the Date header is not usable: {error}"),
            )
        })?;
        let skew_ms = now_ms.saturating_sub(then.timestamp().as_millisecond()).saturating_abs();
        if skew_ms > SKEW_MS_MAX {
            return Err(Refusal::new(
                403,
                EXPIRED,
                format!(
                    "{EXPIRED}:Authentication request expired - the expire time has elapsed, the clocks differ by {} s",
                    skew_ms / 1000
                ),
            ));
        }
        Ok(())
    }
}

/// How a request says who asks, for the log.
pub(super) fn kind(asked: &Asked) -> &'static str {
    if asked.header("x-odps-bearer-token").is_some() {
        return "bearer";
    }
    let credential = asked.header("authorization").and_then(|text| text.strip_prefix("ODPS ")?.rsplit_once(':'));
    match credential {
        None => "none",
        Some((credential, _)) if credential.contains("/aliyun_v4_request") => "v4",
        Some(_) => "legacy",
    }
}

/// The canonical strings that the client may have signed.
fn readings(asked: &Asked) -> Vec<String> {
    let twice: Vec<(String, String)> = asked
        .query
        .iter()
        .map(|(name, value)| (name.clone(), percent_decode_str(value).decode_utf8_lossy().replace('+', " ")))
        .collect();
    [&asked.query_plus_kept, &asked.query, &twice]
        .into_iter()
        .map(|query| {
            let query = query.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            let headers = asked.headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
            sign::canonical_string(asked.method.as_str(), &asked.path, query, headers)
        })
        .collect()
}

fn missing() -> Refusal {
    Refusal::new(401, "AuthorizationRequired", "The request authorization header is invalid or missing.")
}

fn invalid_credentials(why: &str) -> Refusal {
    Refusal::new(401, BAD_CREDENTIALS, format!("{BAD_CREDENTIALS}:Invalid credentials - {why}"))
}

const EXPIRED: &str = "ODPS-0410031";
const BAD_SIGNATURE: &str = "ODPS-0410042";
const BAD_CREDENTIALS: &str = "ODPS-0410051";

/// How far the client's clock may be off, either way.
const SKEW_MS_MAX: i64 = 15 * 60_000;
