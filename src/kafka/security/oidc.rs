//! Client credentials for a token endpoint (OIDC, KIP-768): what is configured, checked before anybody is asked.

use std::fmt;
use std::time::Duration;

use super::{Error, PemSource, Secret, config};
use crate::kafka::state::sasl::token::is_extension;

/// How to get bearer tokens from an OIDC provider by client credentials (RFC 6749, section 4.4). Start with the default and
/// change fields.
///
/// A token is kept, and asked for anew when four fifths of its life are over. `Debug` shows no secret.
#[derive(Clone)]
pub struct OidcConfig {
    /// The provider's token endpoint, an `https` URL. With `http` the client's secret can be read on the way, which needs
    /// [`SecurityConfig::allow_cleartext_secrets`](super::SecurityConfig::allow_cleartext_secrets).
    pub token_endpoint: String,
    /// The client's id.
    pub client_id: String,
    /// The client's secret.
    pub client_secret: Secret,
    /// What the token is to be good for; none when empty.
    pub scope: String,
    /// SASL extensions (KIP-342), told to the broker beside the token.
    pub extensions: Vec<(String, String)>,
    /// The CAs that are trusted for the endpoint, in PEM form. Default: the system's. Those of brokers do not count here.
    pub trust: Option<PemSource>,
    /// Form-encodes id and secret in the header, as RFC 6749 wants it. Default: false, as in Kafka's own clients.
    pub header_urlencode: bool,
    /// How long the endpoint may take to accept a connection. Default: 10 s.
    pub connect_timeout: Duration,
    /// How long it may take to answer. Default: 10 s.
    pub answer_timeout: Duration,
}

impl Default for OidcConfig {
    fn default() -> Self {
        Self {
            token_endpoint: String::new(),
            client_id: String::new(),
            client_secret: Secret::new(""),
            scope: String::new(),
            extensions: Vec::new(),
            trust: None,
            header_urlencode: false,
            connect_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(10),
        }
    }
}

impl fmt::Debug for OidcConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OidcConfig")
            .field("token_endpoint", &self.shown_endpoint())
            .field("client_id", &self.client_id)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

impl OidcConfig {
    /// The endpoint without what a query may hold, and without a password before its host.
    fn shown_endpoint(&self) -> String {
        let (scheme, rest) = self.token_endpoint.split_once("://").unwrap_or(("", &self.token_endpoint));
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let rest = rest.rsplit('@').next().unwrap_or_default();
        format!("{scheme}://{rest}").chars().filter(|c| !c.is_control()).take(200).collect()
    }

    /// Checks what can be checked here.
    pub(super) fn check(&self, allow_cleartext_secrets: bool) -> Result<(), Error> {
        let url = &self.token_endpoint;
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if url.is_empty() {
            return Err(config("sasl.mechanism=OAUTHBEARER needs sasl.oauthbearer.token.endpoint.url".to_owned()));
        }
        if !["http", "https"].contains(&scheme) || authority.is_empty() {
            let text = "property sasl.oauthbearer.token.endpoint.url: https://HOST/PATH or file:///PATH expected";
            return Err(config(text.to_owned()));
        }
        if authority.contains('@') {
            let text = "property sasl.oauthbearer.token.endpoint.url: user and password do not belong into it; \
                        sasl.oauthbearer.client.id and sasl.oauthbearer.client.secret hold them";
            return Err(config(text.to_owned()));
        }
        if scheme == "http" && !allow_cleartext_secrets {
            return Err(config(format!(
                "token endpoint {}: the client's secret would be sent unencrypted; use https, or say that this is meant \
                 with {}=true",
                self.shown_endpoint(),
                super::properties::ALLOW_CLEARTEXT_SECRETS
            )));
        }
        for (value, name) in [
            (self.client_id.as_str(), "sasl.oauthbearer.client.id"),
            (self.client_secret.expose(), "sasl.oauthbearer.client.secret"),
        ] {
            if value.trim().is_empty() {
                return Err(config(format!("a token endpoint needs {name}, or a sasl.jaas.config with it")));
            }
        }
        match self.extensions.iter().find(|(name, value)| !is_extension(name, value)) {
            Some((name, _)) => Err(config(format!(
                "SASL extension {}: a name of letters other than auth, and a value of printable ASCII expected",
                super::properties::shown(name)
            ))),
            None => Ok(()),
        }
    }

    /// The source of tokens.
    #[cfg(feature = "oidc")]
    pub(super) fn source(&self) -> Result<crate::kafka::net::oidc::OidcSource, Error> {
        use crate::kafka::net::oidc::{OidcSettings, OidcSource};
        use crate::kafka::state::sasl::oidc::Question;
        let settings = OidcSettings {
            url: self.token_endpoint.clone(),
            question: Question {
                endpoint: self.shown_endpoint(),
                client_id: self.client_id.trim().to_owned(),
                client_secret: self.client_secret.clone(),
                scope: Some(self.scope.trim().to_owned()),
                urlencode: self.header_urlencode,
            },
            extensions: self.extensions.clone(),
            trust: self.trust.clone(),
            connect_timeout: self.connect_timeout,
            answer_timeout: self.answer_timeout,
        };
        OidcSource::new(settings).map_err(config)
    }
}

/// `name=value` pairs, parted by commas, as librdkafka's `sasl.oauthbearer.extensions` has them.
pub(super) fn extensions(name: &str, value: &str) -> Result<Vec<(String, String)>, Error> {
    let pairs = value.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    let read = |pair: &str| pair.split_once('=').map(|(name, value)| (name.trim().to_owned(), value.to_owned()));
    let read: Option<Vec<_>> = pairs.map(read).collect();
    read.ok_or_else(|| config(format!("property {name}: name=value pairs, parted by commas, expected")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn good() -> OidcConfig {
        OidcConfig {
            token_endpoint: "https://idp.example/token?key=canary".into(),
            client_id: "alice".into(),
            client_secret: Secret::new("canary"),
            ..OidcConfig::default()
        }
    }

    #[test]
    fn what_is_wrong_is_named_and_secrets_are_not_shown() {
        good().check(false).unwrap();
        let change = |change: &dyn Fn(&mut OidcConfig)| {
            let mut config = good();
            change(&mut config);
            let said = config.check(false).unwrap_err().to_string();
            assert!(!format!("{said} {config:?}").contains("canary"), "{said}");
            said
        };
        for (said, wanted) in [
            (change(&|c| c.token_endpoint.clear()), "sasl.oauthbearer.token.endpoint.url"),
            (change(&|c| c.token_endpoint = "ftp://idp/?canary".into()), "https://HOST/PATH"),
            (change(&|c| c.token_endpoint = "https:///?canary".into()), "https://HOST/PATH"),
            (change(&|c| c.token_endpoint = "https://a:canary@idp/".into()), "do not belong into it"),
            (change(&|c| c.token_endpoint = "http://idp/token?canary".into()), "forebay.sasl.allow.cleartext.secrets"),
            (change(&|c| c.client_id = " ".into()), "sasl.oauthbearer.client.id"),
            (change(&|c| c.client_secret = Secret::new("")), "sasl.oauthbearer.client.secret"),
            (change(&|c| c.extensions = vec![("a-b".into(), "canary".into())]), "SASL extension a-b"),
        ] {
            assert!(said.contains(wanted), "{said}");
        }
        let plain = OidcConfig { token_endpoint: "http://127.0.0.1:1/".into(), ..good() };
        plain.check(true).unwrap();
    }

    #[test]
    fn extensions_are_pairs() {
        let pairs = extensions("x", "a=1, b=2=3,").unwrap();
        assert_eq!(pairs, [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2=3".to_owned())]);
        assert!(extensions("x", "a").unwrap_err().to_string().contains("property x"));
    }
}
