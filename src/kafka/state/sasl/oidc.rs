//! Client credentials of OAuth (RFC 6749, section 4.4; KIP-768): what a token endpoint is asked, what its answer means, and how
//! long a token is used.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::Deserialize;

use super::{BearerToken, CredentialsFault, Secret};
use crate::limits::TOKEN_LIFE_SECONDS_MAX;

/// The longest part of a refusal that is repeated to the user, in characters.
const REFUSAL_CHARS_MAX: usize = 300;

/// Who asks a token endpoint, and for what.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    /// What messages call the endpoint.
    pub(crate) endpoint: String,
    pub(crate) client_id: String,
    pub(crate) client_secret: Secret,
    pub(crate) scope: Option<String>,
    /// Whether id and secret are form-encoded in the header, as RFC 6749 has it and few providers do.
    pub(crate) urlencode: bool,
}

/// A token as the endpoint gave it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) token: Secret,
    /// How long it holds from now on; none when nobody says.
    pub(crate) life: Option<Duration>,
}

impl Question {
    /// The header `Authorization` (RFC 7617).
    pub(crate) fn authorization(&self) -> Secret {
        let (id, secret) = (self.client_id.as_str(), self.client_secret.expose());
        let pair = if self.urlencode { format!("{}:{}", encode(id), encode(secret)) } else { format!("{id}:{secret}") };
        Secret::new(format!("Basic {}", STANDARD.encode(pair)))
    }

    /// The form that is sent.
    pub(crate) fn body(&self) -> String {
        match self.scope.as_deref().filter(|scope| !scope.is_empty()) {
            Some(scope) => format!("grant_type=client_credentials&scope={}", encode(scope)),
            None => "grant_type=client_credentials".to_owned(),
        }
    }

    /// What an answer means; `now` is the wall clock in seconds since 1970.
    ///
    /// # Errors
    /// Refused by the endpoint; unavailable for the moment; or not what a token endpoint answers, so that the configuration is
    /// wrong.
    pub(crate) fn read(&self, status: u16, body: &[u8], now: u64) -> Result<Given, CredentialsFault> {
        let said: Said = serde_json::from_slice(body).unwrap_or_default();
        let endpoint = &self.endpoint;
        match status {
            200 => {
                let token = said.access_token.or(said.id_token).filter(|token| !token.is_empty()).ok_or_else(|| {
                    let why = "there is no token in its answer; is it the address of tokens?";
                    CredentialsFault::Config(format!("token endpoint {endpoint}: {why}"))
                })?;
                let told = said.expires_in.and_then(seconds);
                let life = told.or_else(|| Some(expiry(&token)?.saturating_sub(now)));
                let life = life.map(|seconds| Duration::from_secs(seconds.min(TOKEN_LIFE_SECONDS_MAX)));
                Ok(Given { token: Secret::new(token), life })
            }
            408 | 429 | 500.. => {
                Err(CredentialsFault::Unavailable(format!("token endpoint {endpoint}: status {status}")))
            }
            400 | 401 | 403 => {
                let why = self.clean(said.error.as_deref(), said.error_description.as_deref());
                let text =
                    format!("token endpoint {endpoint} refuses client \"{}\": {why} (status {status})", self.client_id);
                // What is asked in the wrong way is no matter of who asks.
                match said.error.as_deref() {
                    Some("invalid_request" | "invalid_scope" | "unsupported_grant_type") => {
                        Err(CredentialsFault::Config(text))
                    }
                    _ => Err(CredentialsFault::Refused(text)),
                }
            }
            _ => {
                let why = "no answer of a token endpoint; is it the address of tokens?";
                Err(CredentialsFault::Config(format!("token endpoint {endpoint}: status {status} is {why}")))
            }
        }
    }

    /// What the endpoint says, in one line, bounded, and without our secret should it be repeated.
    fn clean(&self, error: Option<&str>, description: Option<&str>) -> String {
        let parts: Vec<&str> = [error, description].into_iter().flatten().filter(|part| !part.is_empty()).collect();
        if parts.is_empty() {
            return "it does not say why".to_owned();
        }
        let mut text = parts.join(": ");
        for secret in [self.client_secret.expose(), self.authorization().expose().trim_start_matches("Basic ")] {
            if !secret.is_empty() {
                text = text.replace(secret, "***");
            }
        }
        text.chars().filter(|c| !c.is_control()).take(REFUSAL_CHARS_MAX).collect()
    }
}

/// The members of an answer that count.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Said {
    access_token: Option<String>,
    id_token: Option<String>,
    expires_in: Option<serde_json::Value>,
    error: Option<String>,
    error_description: Option<String>,
}

/// A number, which some providers write as a text.
fn seconds(value: serde_json::Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())
}

/// When a JWT says that it ends, in seconds since 1970. What it says is not proven, and only decides when to ask again.
fn expiry(token: &str) -> Option<u64> {
    #[derive(Deserialize)]
    struct Claims {
        exp: f64,
    }
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?.trim_end_matches('=')).ok()?;
    let claims: Claims = serde_json::from_slice(&claims).ok()?;
    Duration::try_from_secs_f64(claims.exp).ok().map(|exp| exp.as_secs())
}

/// Form encoding (`application/x-www-form-urlencoded`), as Java's `URLEncoder` does it.
fn encode(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b' ' => out.push('+'),
            c if c.is_ascii_alphanumeric() || b"-._*".contains(&c) => out.push(char::from(c)),
            c => out.push_str(&format!("%{c:02X}")),
        }
    }
    out
}

/// The token in use. It is stale when four fifths of its life are over: then a new one is asked for, while this one still holds.
#[derive(Debug, Default)]
pub(crate) struct Kept(Option<(BearerToken, Instant, Instant)>);

impl Kept {
    /// The token, unless it is time for another one.
    pub(crate) fn fresh(&self, now: Instant) -> Option<&BearerToken> {
        self.0.as_ref().filter(|(_, stale, _)| now < *stale).map(|(token, ..)| token)
    }

    /// The token, unless it has ended: better than none while the endpoint cannot be reached.
    pub(crate) fn valid(&self, now: Instant) -> Option<&BearerToken> {
        self.0.as_ref().filter(|(.., end)| now < *end).map(|(token, ..)| token)
    }

    /// Keeps a token that was given at `now`; one that nobody gives a life is used once.
    pub(crate) fn keep(&mut self, now: Instant, token: &BearerToken, life: Option<Duration>) {
        let end = |life: Duration| now.checked_add(life).unwrap_or(now);
        self.0 = life.map(|life| (token.clone(), end(life.mul_f64(0.8)), end(life)));
    }

    /// Forgets it: a broker has refused it.
    pub(crate) fn forget(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn question(id: &str, secret: &str, urlencode: bool) -> Question {
        let client_secret = Secret::new(secret);
        Question { endpoint: "https://idp/token".into(), client_id: id.into(), client_secret, scope: None, urlencode }
    }

    /// Header, payload `{"sub":"a","exp":1000}`, no signature.
    const JWT: &str = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIiwiZXhwIjoxMDAwfQ.";

    #[test]
    fn the_header_is_what_kafkas_own_client_sends() {
        // The values of Kafka's own tests.
        for (id, secret, urlencode, wanted) in [
            (
                "SOME_RANDOM_LONG_USER_01234",
                "9Q|0`8i~ute-n9ksjLWb\\50\"AX@UUED5E",
                false,
                "Basic U09NRV9SQU5ET01fTE9OR19VU0VSXzAxMjM0OjlRfDBgOGl+dXRlLW45a3NqTFdiXDUwIkFYQFVVRUQ1RQ==",
            ),
            ("user!@~'", "secret-(*)!", true, "Basic dXNlciUyMSU0MCU3RSUyNzpzZWNyZXQtJTI4KiUyOSUyMQ=="),
        ] {
            assert_eq!(question(id, secret, urlencode).authorization().expose(), wanted);
        }
    }

    #[test]
    fn the_scope_is_encoded() {
        let mut question = question("a", "b", false);
        assert_eq!(question.body(), "grant_type=client_credentials");
        question.scope = Some("api://x/.default read&write".into());
        assert_eq!(question.body(), "grant_type=client_credentials&scope=api%3A%2F%2Fx%2F.default+read%26write");
    }

    #[test]
    fn a_token_and_its_life_are_read() {
        for (body, token, life) in [
            (r#"{"access_token":"abc","expires_in":300,"token_type":"Bearer"}"#.to_owned(), "abc", Some(300)),
            (r#"{"access_token":"abc","expires_in":"300"}"#.to_owned(), "abc", Some(300)),
            (r#"{"id_token":"abc"}"#.to_owned(), "abc", None),
            (format!(r#"{{"access_token":"{JWT}"}}"#), JWT, Some(100)),
            (format!(r#"{{"access_token":"{JWT}","expires_in":7}}"#), JWT, Some(7)),
            (r#"{"access_token":"abc","expires_in":99999999999}"#.to_owned(), "abc", Some(TOKEN_LIFE_SECONDS_MAX)),
        ] {
            let given = question("a", "b", false).read(200, body.as_bytes(), 900).unwrap();
            assert_eq!((given.token.expose(), given.life.map(|life| life.as_secs())), (token, life), "{body}");
        }
        // Over already: used once, and not kept.
        let body = format!(r#"{{"access_token":"{JWT}"}}"#);
        assert_eq!(question("a", "b", false).read(200, body.as_bytes(), 5000).unwrap().life, Some(Duration::ZERO));
    }

    #[test]
    fn what_an_endpoint_says_decides_who_has_to_act() {
        enum Who {
            Config,
            Unavailable,
            Refused,
        }
        for (status, body, who, wanted) in [
            (
                401,
                r#"{"error":"invalid_client","error_description":"bad\ncanary"}"#,
                Who::Refused,
                "invalid_client: bad***",
            ),
            (400, r#"{"error":"unauthorized_client"}"#, Who::Refused, "unauthorized_client (status 400)"),
            (403, "<html>", Who::Refused, "does not say why"),
            (400, r#"{"error":"invalid_scope"}"#, Who::Config, "invalid_scope"),
            (404, "", Who::Config, "status 404"),
            (302, "", Who::Config, "status 302"),
            (200, "<html>canary</html>", Who::Config, "no token"),
            (200, r#"{"access_token":""}"#, Who::Config, "no token"),
            (200, r#"{"access_token":["canary"]}"#, Who::Config, "no token"),
            (503, "canary", Who::Unavailable, "status 503"),
            (429, "", Who::Unavailable, "status 429"),
        ] {
            let fault = question("alice", "canary", false).read(status, body.as_bytes(), 0).unwrap_err();
            let fits = match who {
                Who::Config => matches!(fault, CredentialsFault::Config(_)),
                Who::Unavailable => matches!(fault, CredentialsFault::Unavailable(_)),
                Who::Refused => matches!(fault, CredentialsFault::Refused(_)),
            };
            let said = fault.to_string();
            assert!(fits && said.contains(wanted) && said.contains("https://idp/token"), "{fault:?}");
            assert!(!said.contains("canary") && !said.contains('\n'), "{said}");
        }
    }

    #[test]
    fn no_answer_makes_it_panic() {
        for end in 0..JWT.len() {
            let body = format!(r#"{{"access_token":"{}"}}"#, &JWT[..end]);
            let _given_or_not = question("a", "b", false).read(200, body.as_bytes(), 0);
        }
        for claims in ["{}", r#"{"exp":-1}"#, r#"{"exp":1e300}"#, r#"{"exp":"x"}"#, "["] {
            assert_eq!(expiry(&format!("a.{}.", URL_SAFE_NO_PAD.encode(claims))), None, "{claims}");
        }
    }

    #[test]
    fn a_token_is_stale_at_four_fifths_of_its_life() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let token = BearerToken::new("abc");
        let mut kept = Kept::default();
        assert_eq!(kept.valid(start), None);
        kept.keep(start, &token, Some(Duration::from_secs(100)));
        for (seconds, fresh, valid) in [(0, true, true), (79, true, true), (80, false, true), (99, false, true)] {
            assert_eq!(
                (kept.fresh(at(seconds)).is_some(), kept.valid(at(seconds)).is_some()),
                (fresh, valid),
                "{seconds}"
            );
        }
        assert_eq!(kept.valid(at(100)), None);
        kept.keep(start, &token, None);
        assert_eq!(kept.valid(start), None);
        kept.keep(start, &token, Some(Duration::from_secs(100)));
        kept.forget();
        assert_eq!(kept.fresh(start), None);
    }
}
