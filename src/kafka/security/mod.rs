//! How connections to brokers are protected: TLS, and who logs in.

mod jaas;
mod oidc;
mod properties;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::error::{Error, ErrorKind};
use super::net::login::{CredentialsFrom, LoginSource, TokenProvider};
use super::net::pool::Security;
use super::net::tls::TlsSettings;
use super::state::sasl::{Credentials, Mechanism, Secret};

pub use self::oidc::OidcConfig;
pub use super::net::tls::{PemSource, TlsVersions};

/// Kafka's `security.protocol`: whether a listener is encrypted, and whether it wants a login.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SecurityProtocol {
    /// Neither.
    #[default]
    Plaintext,
    /// TLS.
    Ssl,
    /// A SASL login over an unencrypted connection.
    SaslPlaintext,
    /// A SASL login over TLS.
    SaslSsl,
}

impl SecurityProtocol {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Plaintext, Self::Ssl, Self::SaslPlaintext, Self::SaslSsl];

    /// Kafka's name for it, such as `SASL_SSL`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Ssl => "SSL",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslSsl => "SASL_SSL",
        }
    }

    /// Whether connections are encrypted.
    pub const fn has_tls(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }

    /// Whether there is a login.
    pub const fn has_sasl(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }
}

impl fmt::Display for SecurityProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How connections to brokers are protected. Start with the default, which is [`SecurityProtocol::Plaintext`], and change
/// fields, or set properties by their names with [`ClientConfig::set_property`](super::ClientConfig::set_property).
///
/// With TLS, the broker's certificate must come from a trusted CA and be for the name by which the broker is reached; no
/// switch changes that. `Debug` shows no secret.
#[derive(Clone, Debug, Default)]
pub struct SecurityConfig {
    /// What the listener is.
    pub protocol: SecurityProtocol,
    /// The CAs that are trusted, in PEM form. Default: the system's.
    pub trust: Option<PemSource>,
    /// Our certificate for brokers that want one, the certificate first, then its chain. Default: none.
    pub certificate: Option<PemSource>,
    /// Its private key, unencrypted. Default: it stands beside the certificate.
    pub key: Option<PemSource>,
    /// Versions of TLS. Default: 1.3 and 1.2.
    pub tls_versions: TlsVersions,
    /// How to log in; needed with SASL.
    pub mechanism: Option<Mechanism>,
    /// User name, for PLAIN and SCRAM.
    pub username: Option<String>,
    /// Password, for PLAIN and SCRAM.
    pub password: Option<Secret>,
    /// File with a bearer token, for OAUTHBEARER; read at each login, so that another program can renew it.
    pub token_file: Option<PathBuf>,
    /// Where OAUTHBEARER gets tokens by client credentials, unless there is a token file.
    pub oidc: Option<OidcConfig>,
    /// Gives tokens for OAUTHBEARER, in place of a file and a token endpoint.
    pub token_provider: Option<Arc<dyn TokenProvider>>,
    /// Lets PLAIN and OAUTHBEARER send password or token over an unencrypted connection, where anybody on the way can read
    /// it, and lets a token endpoint be asked over plain HTTP. Default: false, which makes such a configuration an error. SCRAM
    /// never sends its password.
    pub allow_cleartext_secrets: bool,
}

impl SecurityConfig {
    /// Reads certificates and keys, and checks that everything needed is there.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], which names the property to set; [`ErrorKind::Unsupported`] for what this build lacks.
    pub(super) fn prepare(&self) -> Result<Security, Error> {
        let login = if self.protocol.has_sasl() { Some(self.login()?) } else { None };
        #[cfg(feature = "tls")]
        let security = Security { tls: if self.protocol.has_tls() { Some(self.tls()?) } else { None }, login };
        #[cfg(not(feature = "tls"))]
        let security = {
            let _unused: fn(&Self) -> TlsSettings = Self::tls_settings;
            if self.protocol.has_tls() {
                let text = format!("security.protocol={}: this build lacks TLS (cargo feature `tls`)", self.protocol);
                return Err(Error::new(ErrorKind::Unsupported, text));
            }
            Security { login }
        };
        Ok(security)
    }

    fn tls_settings(&self) -> TlsSettings {
        TlsSettings {
            trust: self.trust.clone(),
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            versions: self.tls_versions,
        }
    }

    #[cfg(feature = "tls")]
    fn tls(&self) -> Result<super::net::tls::TlsClient, Error> {
        super::net::tls::TlsClient::new(&self.tls_settings()).map_err(config)
    }

    fn login(&self) -> Result<LoginSource, Error> {
        let protocol = self.protocol;
        let Some(mechanism) = self.mechanism else {
            return Err(config(format!(
                "security.protocol={protocol} needs sasl.mechanism: one of {} (Kafka's own default, GSSAPI, is not supported)",
                mechanism_names()
            )));
        };
        if mechanism.sends_the_secret() && !protocol.has_tls() && !self.allow_cleartext_secrets {
            let secret = if mechanism == Mechanism::Plain { "the password" } else { "the token" };
            return Err(config(format!(
                "security.protocol={protocol} with sasl.mechanism={mechanism} would send {secret} unencrypted; use SASL_SSL \
                 or SCRAM, or say that this is meant with {}=true",
                properties::ALLOW_CLEARTEXT_SECRETS
            )));
        }
        let missing = |what: &str| config(format!("sasl.mechanism={mechanism} needs {what}"));
        let from = match (mechanism, &self.username, &self.password) {
            (Mechanism::OauthBearer, ..) => self.tokens()?,
            (_, Some(username), Some(password)) if !username.is_empty() && !password.expose().is_empty() => {
                CredentialsFrom::Fixed(Credentials::Password { username: username.clone(), password: password.clone() })
            }
            _ => return Err(missing("sasl.username and sasl.password, or a sasl.jaas.config with both")),
        };
        Ok(LoginSource { mechanism, from })
    }
}

impl SecurityConfig {
    fn tokens(&self) -> Result<CredentialsFrom, Error> {
        match (&self.token_provider, &self.token_file, &self.oidc) {
            (Some(provider), ..) => Ok(CredentialsFrom::Provider(Arc::clone(provider))),
            (_, Some(file), _) => Ok(CredentialsFrom::TokenFile(file.clone())),
            (.., Some(oidc)) => {
                oidc.check(self.allow_cleartext_secrets)?;
                #[cfg(feature = "oidc")]
                let from = Ok(CredentialsFrom::Provider(Arc::new(oidc.source()?)));
                #[cfg(not(feature = "oidc"))]
                let from = {
                    let text = "this build asks no token endpoint (cargo feature `oidc`); a token file is read";
                    Err(Error::new(ErrorKind::Unsupported, text))
                };
                from
            }
            (None, None, None) => Err(config(
                "sasl.mechanism=OAUTHBEARER needs tokens: sasl.oauthbearer.token.endpoint.url=https://HOST/PATH with \
                 sasl.oauthbearer.client.id and sasl.oauthbearer.client.secret, or a token file with file:///PATH"
                    .to_owned(),
            )),
        }
    }
}

fn mechanism_names() -> String {
    Mechanism::ALL.iter().map(|mechanism| mechanism.name()).collect::<Vec<_>>().join(", ")
}

fn config(text: String) -> Error {
    Error::new(ErrorKind::Config, text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn sasl(protocol: SecurityProtocol, mechanism: Option<Mechanism>) -> SecurityConfig {
        SecurityConfig {
            protocol,
            mechanism,
            username: Some("alice".into()),
            password: Some(Secret::new("canary")),
            ..SecurityConfig::default()
        }
    }

    fn refusal(security: &SecurityConfig) -> String {
        let error = security.prepare().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(!format!("{error} {error:?} {security:?}").contains("canary"));
        error.to_string()
    }

    #[test]
    fn a_secret_in_cleartext_needs_its_switch() {
        for mechanism in Mechanism::ALL {
            let mut security = sasl(SecurityProtocol::SaslPlaintext, Some(*mechanism));
            security.token_file = Some("/nowhere".into());
            if mechanism.sends_the_secret() {
                let said = refusal(&security);
                assert!(said.contains("forebay.sasl.allow.cleartext.secrets=true"), "{said}");
                security.allow_cleartext_secrets = true;
            }
            assert_eq!(security.prepare().unwrap().login.unwrap().mechanism, *mechanism);
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let mut security = sasl(SecurityProtocol::SaslPlaintext, None);
        assert!(refusal(&security).contains("needs sasl.mechanism"));
        security.mechanism = Some(Mechanism::ScramSha256);
        security.password = None;
        assert!(refusal(&security).contains("sasl.password"));
        security.mechanism = Some(Mechanism::OauthBearer);
        security.allow_cleartext_secrets = true;
        assert!(refusal(&security).contains("sasl.oauthbearer.token.endpoint.url"));
    }

    #[test]
    fn without_sasl_there_is_no_login() {
        assert!(sasl(SecurityProtocol::Plaintext, Some(Mechanism::Plain)).prepare().unwrap().login.is_none());
    }
}
