//! Security properties by the names that Kafka's Java client or librdkafka gives them.

use super::super::config::millis;
use super::super::error::{Error, ErrorKind};
use super::{
    OidcConfig, PemSource, Secret, SecurityConfig, SecurityProtocol, TlsVersions, config, jaas, mechanism_names, oidc,
};
use crate::kafka::state::sasl::Mechanism;

/// The property of ours that lets a password or token be sent over an unencrypted connection.
pub(super) const ALLOW_CLEARTEXT_SECRETS: &str = "forebay.sasl.allow.cleartext.secrets";

impl SecurityConfig {
    /// Sets a property. Returns whether it is about security. An empty value unsets what is optional, as in Java.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a value that makes no sense, [`ErrorKind::Unsupported`] for one that asks for what there is
    /// no code for. The value is told only where it is no secret.
    pub(in crate::kafka) fn set_property(&mut self, name: &str, value: &str) -> Result<bool, Error> {
        let trimmed = value.trim();
        match name {
            "security.protocol" => self.protocol = protocol(name, trimmed)?,
            "sasl.mechanism" | "sasl.mechanisms" => self.mechanism = Some(mechanism(name, trimmed)?),
            "sasl.username" => self.username = Some(value.to_owned()),
            "sasl.password" => self.password = Some(Secret::new(value)),
            "sasl.jaas.config" => self.set_jaas(name, value)?,
            "sasl.oauthbearer.token.endpoint.url" => self.set_endpoint(name, trimmed)?,
            "sasl.oauthbearer.method" => match trimmed.to_ascii_lowercase().as_str() {
                "oidc" => drop(self.oidc()),
                "default" => {}
                _ => return Err(config(format!("property {name}={}: default or oidc expected", shown(value)))),
            },
            "sasl.oauthbearer.grant.type" if trimmed == "client_credentials" => {}
            "sasl.oauthbearer.grant.type" => {
                return Err(unsupported(name, "client_credentials is supported"));
            }
            "sasl.oauthbearer.client.id" | "sasl.oauthbearer.client.credentials.client.id" => {
                trimmed.clone_into(&mut self.oidc().client_id);
            }
            "sasl.oauthbearer.client.secret" | "sasl.oauthbearer.client.credentials.client.secret" => {
                self.oidc().client_secret = Secret::new(value);
            }
            "sasl.oauthbearer.scope" => trimmed.clone_into(&mut self.oidc().scope),
            "sasl.oauthbearer.extensions" => self.oidc().extensions = oidc::extensions(name, value)?,
            "sasl.oauthbearer.header.urlencode" => self.oidc().header_urlencode = boolean(name, trimmed)?,
            "sasl.login.connect.timeout.ms" => self.oidc().connect_timeout = millis(name, value)?,
            "sasl.login.read.timeout.ms" => self.oidc().answer_timeout = millis(name, value)?,
            "https.ca.location" => self.oidc().trust = file(trimmed),
            "https.ca.pem" => self.oidc().trust = text(value),
            ALLOW_CLEARTEXT_SECRETS => self.allow_cleartext_secrets = boolean(name, trimmed)?,
            "ssl.ca.location" | "ssl.truststore.location" => self.trust = file(trimmed),
            "ssl.ca.pem" | "ssl.truststore.certificates" => self.trust = text(value),
            "ssl.certificate.location" | "ssl.keystore.location" => self.certificate = file(trimmed),
            "ssl.certificate.pem" | "ssl.keystore.certificate.chain" => self.certificate = text(value),
            "ssl.key.location" => self.key = file(trimmed),
            "ssl.key.pem" | "ssl.keystore.key" => self.key = text(value),
            "ssl.truststore.type" | "ssl.keystore.type" => store_type(name, trimmed)?,
            "ssl.endpoint.identification.algorithm" if trimmed.eq_ignore_ascii_case("https") => {}
            "ssl.endpoint.identification.algorithm" => {
                return Err(unsupported(name, "the broker's host name is always checked; remove the property"));
            }
            "enable.ssl.certificate.verification" if boolean(name, trimmed)? => {}
            "enable.ssl.certificate.verification" => {
                return Err(unsupported(name, "the broker's certificate is always checked; remove the property"));
            }
            "ssl.enabled.protocols" => self.tls_versions = versions(name, trimmed)?,
            "ssl.protocol" => {
                versions(name, if trimmed == "TLS" { "TLSv1.2,TLSv1.3" } else { trimmed })?;
            }
            "sasl.login.callback.handler.class" if trimmed.ends_with(".OAuthBearerLoginCallbackHandler") => {}
            "sasl.oauthbearer.jwt.retriever.class"
                if ["DefaultJwtRetriever", "ClientCredentialsJwtRetriever", "FileJwtRetriever"]
                    .contains(&trimmed.rsplit('.').next().unwrap_or_default()) => {}
            _ if trimmed.is_empty() && (name.starts_with("sasl.") || name.starts_with("ssl.")) => {}
            _ if WITHOUT_EFFECT.contains(&name) || name.starts_with("sasl.kerberos.") => {}
            _ if name.starts_with("sasl.") || name.starts_with("ssl.") => {
                return Err(unsupported(name, "not supported"));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn set_jaas(&mut self, name: &str, value: &str) -> Result<(), Error> {
        let jaas = jaas::parse(value).map_err(|why| config(format!("property {name}: {why}")))?;
        match jaas.module.as_str() {
            "PlainLoginModule" | "ScramLoginModule" => {
                for (option, _) in &jaas.options {
                    if !["username", "password"].contains(&option.as_str()) {
                        let text = format!("option {} of {} is not supported", shown(option), jaas.module);
                        return Err(unsupported(name, &text));
                    }
                }
                self.username = jaas.option("username").map(str::to_owned).or_else(|| self.username.take());
                self.password = jaas.option("password").map(Secret::new).or_else(|| self.password.take());
                Ok(())
            }
            "OAuthBearerLoginModule" => self.set_oauth(name, &jaas.options),
            "Krb5LoginModule" => Err(unsupported(name, GSSAPI)),
            _ => Err(unsupported(name, "PlainLoginModule, ScramLoginModule and OAuthBearerLoginModule are supported")),
        }
    }
}

impl SecurityConfig {
    fn oidc(&mut self) -> &mut OidcConfig {
        self.oidc.get_or_insert_default()
    }

    /// Java reads a token from a `file:` URL, and asks an OIDC provider behind any other.
    fn set_endpoint(&mut self, name: &str, value: &str) -> Result<(), Error> {
        if value.starts_with("file:") {
            self.token_file = Some(token_file(name, value)?);
        } else {
            self.token_file = None;
            value.clone_into(&mut self.oidc().token_endpoint);
        }
        Ok(())
    }

    /// Options of Java's OAuthBearerLoginModule. What it could make by itself is for tests of Java's.
    fn set_oauth(&mut self, name: &str, options: &[(String, String)]) -> Result<(), Error> {
        for (option, value) in options.iter().filter(|(option, _)| !option.starts_with("unsecuredLogin")) {
            match option.as_str() {
                "clientId" => value.clone_into(&mut self.oidc().client_id),
                "clientSecret" => self.oidc().client_secret = Secret::new(value),
                "scope" => value.clone_into(&mut self.oidc().scope),
                "ssl.truststore.type" => store_type(option, value)?,
                "ssl.truststore.location" => self.oidc().trust = file(value),
                "ssl.truststore.certificates" => self.oidc().trust = text(value),
                _ => match option.strip_prefix("extension_") {
                    Some(extension) => {
                        let extensions = &mut self.oidc().extensions;
                        extensions.retain(|(known, _)| known != extension);
                        extensions.push((extension.to_owned(), value.clone()));
                    }
                    None => {
                        let text = format!("option {} of OAuthBearerLoginModule is not supported", shown(option));
                        return Err(unsupported(name, &text));
                    }
                },
            }
        }
        Ok(())
    }
}

/// Settings of Java's and OpenSSL's machinery, of which there is nothing here.
const WITHOUT_EFFECT: &[&str] = &[
    // Only an encrypted key would need it, and that is refused when it is read.
    "ssl.key.password",
    "ssl.keystore.password",
    "ssl.truststore.password",
    "ssl.provider",
    "ssl.secure.random.implementation",
    "ssl.keymanager.algorithm",
    "ssl.trustmanager.algorithm",
    // A login is repeated when 85 % of its time are over.
    "sasl.login.refresh.window.factor",
    "sasl.login.refresh.window.jitter",
    "sasl.login.refresh.min.period.seconds",
    "sasl.login.refresh.buffer.seconds",
    // A token endpoint is asked again as often as a broker is.
    "sasl.login.retry.backoff.ms",
    "sasl.login.retry.backoff.max.ms",
    // Which claims of a token Java's client looks at before it sends it; the broker judges them.
    "sasl.oauthbearer.scope.claim.name",
    "sasl.oauthbearer.sub.claim.name",
];

const GSSAPI: &str = "GSSAPI (Kerberos) is not supported; ask for a SCRAM user on the cluster";

fn protocol(name: &str, value: &str) -> Result<SecurityProtocol, Error> {
    let known = SecurityProtocol::ALL.iter().copied().find(|protocol| protocol.name().eq_ignore_ascii_case(value));
    known.ok_or_else(|| {
        config(format!("property {name}={}: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL expected", shown(value)))
    })
}

fn mechanism(name: &str, value: &str) -> Result<Mechanism, Error> {
    if value.eq_ignore_ascii_case("GSSAPI") {
        return Err(unsupported(name, GSSAPI));
    }
    Mechanism::parse(value)
        .ok_or_else(|| config(format!("property {name}={}: one of {} expected", shown(value), mechanism_names())))
}

fn boolean(name: &str, value: &str) -> Result<bool, Error> {
    match value.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(config(format!("property {name}={}: true or false expected", shown(value)))),
    }
}

fn file(value: &str) -> Option<PemSource> {
    (!value.is_empty()).then(|| PemSource::File(value.into()))
}

fn text(value: &str) -> Option<PemSource> {
    (!value.trim().is_empty()).then(|| PemSource::Text(Secret::new(value)))
}

fn store_type(name: &str, value: &str) -> Result<(), Error> {
    if value.eq_ignore_ascii_case("PEM") {
        return Ok(());
    }
    let advice =
        "only PEM is supported; `keytool -importkeystore` and `openssl pkcs12` turn a JKS or PKCS12 store into it";
    Err(unsupported(&format!("{name}={}", shown(value)), advice))
}

fn token_file(name: &str, value: &str) -> Result<std::path::PathBuf, Error> {
    let rest = value.strip_prefix("file://").or_else(|| value.strip_prefix("file:"));
    match rest {
        Some(path) if path.starts_with('/') => Ok(path.into()),
        _ => Err(config(format!("property {name}: an absolute path is expected, as in file:///path/token"))),
    }
}

fn versions(name: &str, value: &str) -> Result<TlsVersions, Error> {
    let names: Vec<&str> = value.split(',').map(str::trim).collect();
    match (names.contains(&"TLSv1.2"), names.contains(&"TLSv1.3")) {
        (true, true) => Ok(TlsVersions::Tls12Or13),
        (true, false) => Ok(TlsVersions::Tls12),
        (false, true) => Ok(TlsVersions::Tls13),
        (false, false) => Err(unsupported(&format!("{name}={}", shown(value)), "TLSv1.2 and TLSv1.3 are supported")),
    }
}

/// A value that is no secret, not longer than a message should be.
pub(super) fn shown(value: &str) -> String {
    value.chars().filter(|c| !c.is_control()).take(60).collect()
}

fn unsupported(what: &str, why: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("property {what}: {why}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn set(pairs: &[(&str, &str)]) -> Result<SecurityConfig, Error> {
        let mut security = SecurityConfig::default();
        for (name, value) in pairs {
            assert!(security.set_property(name, value)?, "{name}");
        }
        Ok(security)
    }

    #[test]
    fn java_and_librdkafka_say_the_same_in_their_words() {
        let java = set(&[
            ("security.protocol", "SASL_SSL"),
            ("sasl.mechanism", "SCRAM-SHA-512"),
            ("sasl.jaas.config", "x.ScramLoginModule required username=\"alice\" password=\"canary\";"),
            ("ssl.truststore.type", "PEM"),
            ("ssl.truststore.location", "/ca.pem"),
            ("ssl.keystore.type", "PEM"),
            ("ssl.keystore.location", "/client.pem"),
            ("ssl.endpoint.identification.algorithm", "https"),
        ])
        .unwrap();
        let librdkafka = set(&[
            ("security.protocol", "sasl_ssl"),
            ("sasl.mechanisms", "SCRAM-SHA-512"),
            ("sasl.username", "alice"),
            ("sasl.password", "canary"),
            ("ssl.ca.location", "/ca.pem"),
            ("ssl.certificate.location", "/client.pem"),
            ("enable.ssl.certificate.verification", "true"),
        ])
        .unwrap();
        for security in [&java, &librdkafka] {
            assert_eq!(security.protocol, SecurityProtocol::SaslSsl);
            assert_eq!(security.mechanism, Some(Mechanism::ScramSha512));
            assert_eq!(security.username.as_deref(), Some("alice"));
            assert_eq!(security.password.as_ref().map(Secret::expose), Some("canary"));
            assert_eq!(security.trust, Some(PemSource::File("/ca.pem".into())));
            assert_eq!(security.certificate, Some(PemSource::File("/client.pem".into())));
            assert!(!format!("{security:?}").contains("canary"));
        }
    }

    #[test]
    fn both_say_where_tokens_come_from() {
        let librdkafka = set(&[
            ("sasl.oauthbearer.method", "oidc"),
            ("sasl.oauthbearer.client.id", "alice"),
            ("sasl.oauthbearer.client.secret", "canary"),
            ("sasl.oauthbearer.scope", "kafka"),
            ("sasl.oauthbearer.extensions", "cluster=lkc,pool=p"),
            ("sasl.oauthbearer.token.endpoint.url", "https://idp/token"),
            ("https.ca.location", "/idp.pem"),
        ])
        .unwrap();
        let java = "x.OAuthBearerLoginModule required clientId=\"alice\" clientSecret='canary' scope=kafka \
                    extension_cluster=lkc extension_pool=p ssl.truststore.type=PEM ssl.truststore.location=\"/idp.pem\";";
        let java = set(&[
            ("sasl.login.callback.handler.class", "x.secured.OAuthBearerLoginCallbackHandler"),
            ("sasl.jaas.config", java),
            ("sasl.oauthbearer.token.endpoint.url", "https://idp/token"),
        ])
        .unwrap();
        let newer = set(&[
            ("sasl.oauthbearer.jwt.retriever.class", "x.ClientCredentialsJwtRetriever"),
            ("sasl.oauthbearer.client.credentials.client.id", "alice"),
            ("sasl.oauthbearer.client.credentials.client.secret", "canary"),
            ("sasl.oauthbearer.scope", "kafka"),
            ("sasl.jaas.config", "x.OAuthBearerLoginModule required extension_cluster=lkc extension_pool=p;"),
            ("sasl.oauthbearer.token.endpoint.url", "https://idp/token"),
            ("https.ca.location", "/idp.pem"),
        ])
        .unwrap();
        for security in [librdkafka, java, newer] {
            let oidc = security.oidc.as_ref().unwrap();
            assert_eq!((oidc.client_id.as_str(), oidc.client_secret.expose()), ("alice", "canary"));
            assert_eq!((oidc.scope.as_str(), oidc.token_endpoint.as_str()), ("kafka", "https://idp/token"));
            assert_eq!(oidc.trust, Some(PemSource::File("/idp.pem".into())));
            assert_eq!(oidc.extensions, [("cluster", "lkc"), ("pool", "p")].map(|(n, v)| (n.to_owned(), v.to_owned())));
            assert!(!format!("{security:?}").contains("canary"));
        }
        // The last one counts.
        let file = set(&[
            ("sasl.oauthbearer.token.endpoint.url", "https://idp/token"),
            ("sasl.oauthbearer.token.endpoint.url", "file:///token"),
        ]);
        assert_eq!(file.unwrap().token_file, Some("/token".into()));
    }

    #[test]
    fn texts_in_pem_form_are_taken_too() {
        let security = set(&[
            ("ssl.truststore.certificates", "canary-1"),
            ("ssl.keystore.certificate.chain", "canary-2"),
            ("ssl.keystore.key", "canary-3"),
        ])
        .unwrap();
        assert!(matches!(security.trust, Some(PemSource::Text(_))));
        assert!(security.certificate.is_some() && security.key.is_some());
        assert!(!format!("{security:?}").contains("canary"));
    }

    #[test]
    fn what_cannot_be_done_is_refused_by_name_and_secrets_are_not_shown() {
        for (name, value, wanted) in [
            ("security.protocol", "SSL_SASL", "security.protocol=SSL_SASL"),
            ("sasl.mechanism", "GSSAPI", "Kerberos"),
            ("sasl.mechanism", "CRAM-MD5", "SCRAM-SHA-256"),
            ("sasl.jaas.config", "x.Krb5LoginModule required keyTab=\"canary\";", "Kerberos"),
            ("sasl.jaas.config", "x.PlainLoginModule required password=\"canary;", "quote"),
            ("sasl.jaas.config", "x.ScramLoginModule required tokenauth=\"canary\";", "tokenauth"),
            ("ssl.truststore.type", "JKS", "PEM"),
            ("ssl.keystore.type", "PKCS12", "openssl pkcs12"),
            ("ssl.endpoint.identification.algorithm", "", "always checked"),
            ("ssl.endpoint.identification.algorithm", "none", "always checked"),
            ("enable.ssl.certificate.verification", "false", "always checked"),
            ("ssl.enabled.protocols", "TLSv1.1", "TLSv1.2"),
            ("ssl.cipher.suites", "canary", "ssl.cipher.suites"),
            ("sasl.oauthbearer.token.endpoint.url", "file:canary", "absolute path"),
            ("sasl.oauthbearer.grant.type", "canary", "client_credentials"),
            ("sasl.oauthbearer.extensions", "canary", "name=value pairs"),
            ("sasl.oauthbearer.assertion.file", "canary", "sasl.oauthbearer.assertion.file"),
            ("sasl.jaas.config", "x.OAuthBearerLoginModule required refreshToken=\"canary\";", "refreshToken"),
            ("sasl.client.callback.handler.class", "canary", "sasl.client.callback.handler.class"),
            (ALLOW_CLEARTEXT_SECRETS, "maybe", "true or false"),
        ] {
            let error = set(&[(name, value)]).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Config | ErrorKind::Unsupported), "{error:?}");
            let said = error.to_string();
            assert!(said.contains(wanted) && said.contains(name) && !said.contains("canary"), "{said}");
        }
    }

    #[test]
    fn versions_of_tls_are_kept_to() {
        for (value, wanted) in [
            ("TLSv1.2", TlsVersions::Tls12),
            ("TLSv1.3", TlsVersions::Tls13),
            ("TLSv1.2, TLSv1.3", TlsVersions::Tls12Or13),
            ("TLSv1.1,TLSv1.3", TlsVersions::Tls13),
        ] {
            assert_eq!(set(&[("ssl.enabled.protocols", value)]).unwrap().tls_versions, wanted);
        }
    }

    #[test]
    fn properties_of_others_are_left_alone() {
        let mut security = SecurityConfig::default();
        for name in ["group.id", "sasl", "client.id"] {
            assert!(!security.set_property(name, "x").unwrap());
        }
        assert!(security.set_property("ssl.key.password", "canary").unwrap());
        assert!(security.set_property("sasl.kerberos.service.name", "kafka").unwrap());
    }
}
