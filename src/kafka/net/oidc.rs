//! Tokens from an OIDC provider by client credentials, over HTTP: one request for each token, which all connections share.
//!
//! It never follows a redirect, which could carry the client's secret elsewhere, and takes no proxy from the environment.

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::kafka::state::sasl::oidc::{Given, Kept, Question};
use crate::kafka::state::sasl::{BearerToken, CredentialsFault};
use crate::limits::TOKEN_ANSWER_BYTES_MAX;
use crate::tls;

use super::login::{TokenFuture, TokenProvider};
use super::now;
use super::tls::{PemSource, http_client_config};

/// What a source of tokens is made of.
#[derive(Debug)]
pub(crate) struct OidcSettings {
    pub(crate) url: String,
    pub(crate) question: Question,
    pub(crate) extensions: Vec<(String, String)>,
    /// The CAs that are trusted; none: the system's.
    pub(crate) trust: Option<PemSource>,
    pub(crate) connect_timeout: Duration,
    /// From the request to the end of the answer.
    pub(crate) answer_timeout: Duration,
}

/// A token endpoint, and the token that it gave last.
#[derive(Debug)]
pub(crate) struct OidcSource {
    settings: OidcSettings,
    client: reqwest::Client,
    /// Held while asking, so that connections which want a token at the same time wait for one request.
    kept: Mutex<Kept>,
    refused: AtomicBool,
}

impl OidcSource {
    /// Sets up TLS if the address needs it.
    ///
    /// # Errors
    /// A sentence: certificates or CPU.
    pub(crate) fn new(settings: OidcSettings) -> Result<Self, String> {
        let needs_tls = settings.url.starts_with("https:");
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(http_client_config(needs_tls, settings.trust.as_ref())?)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .referer(false)
            .connect_timeout(settings.connect_timeout)
            .http1_only()
            .build()
            .map_err(|error| format!("cannot set up the HTTP client: {}", innermost(&error)))?;
        Ok(Self { settings, client, kept: Mutex::default(), refused: AtomicBool::new(false) })
    }

    async fn current(&self) -> Result<BearerToken, CredentialsFault> {
        let mut kept = self.kept.lock().await;
        if self.refused.swap(false, Ordering::Relaxed) {
            kept.forget();
        }
        if let Some(token) = kept.fresh(now()) {
            return Ok(token.clone());
        }
        // A token's life counts from before it was given.
        let asked = now();
        match self.ask().await {
            Ok(Given { token, life }) => {
                let token = BearerToken { token, extensions: self.settings.extensions.clone() };
                kept.keep(asked, &token, life);
                Ok(token)
            }
            Err(CredentialsFault::Unavailable(why)) => match kept.valid(now()) {
                Some(token) => {
                    log::warn!("no new token, the one in use still holds: {why}");
                    Ok(token.clone())
                }
                None => Err(CredentialsFault::Unavailable(why)),
            },
            Err(fault) => Err(fault),
        }
    }

    async fn ask(&self) -> Result<Given, CredentialsFault> {
        let patience = self.settings.connect_timeout.saturating_add(self.settings.answer_timeout);
        let (status, body) = timeout(patience, self.exchange()).await.unwrap_or_else(|_| {
            let why = format!("no answer within {} ms", patience.as_millis());
            Err(CredentialsFault::Unavailable(self.at_endpoint(&why)))
        })?;
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.settings.question.read(status, &body, since.as_secs())
    }

    /// One request; status and body of its answer.
    async fn exchange(&self) -> Result<(u16, Vec<u8>), CredentialsFault> {
        let question = &self.settings.question;
        let mut authorization = HeaderValue::from_str(question.authorization().expose())
            .map_err(|_| CredentialsFault::Config(self.at_endpoint("client id and secret fit in no header")))?;
        authorization.set_sensitive(true);
        let request = (self.client.post(&self.settings.url))
            .header(AUTHORIZATION, authorization)
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(question.body());
        let mut response = request.send().await.map_err(|error| self.fault(&error))?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| self.fault(&error))? {
            if body.len().saturating_add(piece.len()) > TOKEN_ANSWER_BYTES_MAX {
                let why =
                    format!("its answer is larger than {TOKEN_ANSWER_BYTES_MAX} bytes; is it the address of tokens?");
                return Err(CredentialsFault::Config(self.at_endpoint(&why)));
            }
            body.extend_from_slice(&piece);
        }
        Ok((status, body))
    }

    fn fault(&self, error: &reqwest::Error) -> CredentialsFault {
        let text = self.at_endpoint(&innermost(error));
        if tls::is_distrust(error) || error.is_builder() {
            CredentialsFault::Config(text)
        } else {
            CredentialsFault::Unavailable(text)
        }
    }

    fn at_endpoint(&self, why: &str) -> String {
        format!("token endpoint {}: {why}", self.settings.question.endpoint)
    }
}

impl TokenProvider for OidcSource {
    fn token(&self) -> TokenFuture<'_> {
        Box::pin(self.current())
    }

    fn refused(&self) {
        self.refused.store(true, Ordering::Relaxed);
    }
}

/// What the error at the bottom says, without its number; the layers above only say that there is one.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut last = error;
    while let Some(next) = last.source() {
        last = next;
    }
    let text = last.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}
