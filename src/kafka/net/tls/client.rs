//! The client side of TLS: set up once for a cluster, then wrapped around each connection.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustls::client::ResolvesClientCert;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{PemSource, TlsSettings, TlsVersions};
use crate::kafka::net::dial::io_text;
use crate::kafka::state::address::HostPort;
use crate::kafka::state::link::{LinkFault, TlsKind};
use crate::limits::{CA_FILE_BYTES_MAX, KEY_FILE_BYTES_MAX};
use crate::tls;

/// TLS, ready to be used.
#[derive(Clone)]
pub(crate) struct TlsClient {
    connector: TlsConnector,
    asked: Arc<AtomicBool>,
}

impl std::fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsClient").finish_non_exhaustive()
    }
}

impl TlsClient {
    /// Reads certificates and keys.
    ///
    /// # Errors
    /// A sentence that names the file or property that cannot be used, and never shows what is in it.
    pub(crate) fn new(settings: &TlsSettings) -> Result<Self, String> {
        tls::check_cpu()?;
        let versions: &[_] = match settings.versions {
            TlsVersions::Tls12Or13 => &[&TLS13, &TLS12],
            TlsVersions::Tls12 => &[&TLS12],
            TlsVersions::Tls13 => &[&TLS13],
        };
        let builder = ClientConfig::builder_with_provider(tls::provider()?)
            .with_protocol_versions(versions)
            .map_err(|error| format!("cannot set up TLS: {error}"))?
            .with_root_certificates(roots(settings.trust.as_ref())?);
        let mut config = match &settings.certificate {
            None if settings.key.is_some() => {
                return Err("a private key is configured for TLS, but no certificate".to_owned());
            }
            None => builder.with_no_client_auth(),
            Some(certificate) => {
                let (pem, shown) = pem_of(certificate, "the client certificate", KEY_FILE_BYTES_MAX)?;
                let chain = tls::certificates_of(&pem, &shown)?;
                if chain.is_empty() {
                    return Err(format!("{shown}: no certificate in it{}", tls::store_hint(&pem)));
                }
                let key = match &settings.key {
                    Some(key) => {
                        let (pem, shown) = pem_of(key, "the private key", KEY_FILE_BYTES_MAX)?;
                        private_key(&pem, &shown)?
                    }
                    None => private_key(&pem, &shown)?,
                };
                let with = builder.with_client_auth_cert(chain, key);
                with.map_err(|error| format!("{shown}: certificate and key cannot be used: {error}"))?
            }
        };
        let asked = Arc::<AtomicBool>::default();
        let inner = config.client_auth_cert_resolver;
        config.client_auth_cert_resolver = Arc::new(Noticing { inner, asked: asked.clone() });
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), asked })
    }

    /// Agrees on TLS with the broker at `address`, whose certificate must be for that name. It has `patience` for all of it.
    ///
    /// # Errors
    /// [`LinkFault::Tls`].
    pub(crate) async fn wrap(
        &self,
        address: &HostPort,
        stream: TcpStream,
        patience: Duration,
    ) -> Result<TlsStream<TcpStream>, LinkFault> {
        let name = ServerName::try_from(address.host().to_owned()).map_err(|_| {
            LinkFault::Tls(
                TlsKind::Untrusted,
                format!("\"{}\" is no name a certificate can be for", address.host()).into(),
            )
        })?;
        match timeout(patience, self.connector.connect(name, stream)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(self.handshake_fault(&error)),
            Err(_) => {
                let text = format!("no TLS handshake within {} ms; is this a plaintext port?", patience.as_millis());
                Err(LinkFault::Tls(TlsKind::Broken, text.into()))
            }
        }
    }
}

impl TlsClient {
    fn handshake_fault(&self, error: &io::Error) -> LinkFault {
        let closed = matches!(
            error.kind(),
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
        );
        let asked = self.asked.load(Ordering::Relaxed);
        match fault(error) {
            // Brokers before 2.0 send a mangled answer in place of an alert.
            Some(LinkFault::Tls(TlsKind::Broken, text)) if asked => {
                let text = format!("{text}; the broker asked for a client certificate, and {REFUSED}");
                LinkFault::Tls(TlsKind::Refused, text.into())
            }
            Some(fault) => fault,
            None if closed && asked => {
                let text = "the broker asked for a client certificate and closed the connection";
                LinkFault::Tls(TlsKind::Broken, format!("{text}; it {REFUSED}").into())
            }
            None if closed => {
                let text = "the broker closed the connection during the TLS handshake; \
                            is this a plaintext port (security.protocol=PLAINTEXT or SASL_PLAINTEXT)?";
                LinkFault::Tls(TlsKind::Broken, text.into())
            }
            None => LinkFault::Tls(TlsKind::Broken, format!("TLS handshake: {}", io_text(error)).into()),
        }
    }
}

/// What is said when a broker does not like what it got for a certificate.
const REFUSED: &str = "refuses the client certificate, or the lack of one; ssl.certificate.location and ssl.key.location, \
                       or a PEM key store, name it";

/// Notices that a broker asks for a certificate, since not every broker says clearly that this is why it ends the talk.
#[derive(Debug)]
struct Noticing {
    inner: Arc<dyn ResolvesClientCert>,
    asked: Arc<AtomicBool>,
}

impl ResolvesClientCert for Noticing {
    fn resolve(&self, issuers: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        self.inner.resolve(issuers, schemes)
    }

    fn has_certs(&self) -> bool {
        self.inner.has_certs()
    }
}

/// TLS for an HTTP client. Without `needed` nothing is read and nothing is trusted.
///
/// # Errors
/// A sentence, as [`TlsClient::new`].
#[cfg(feature = "oidc")]
pub(crate) fn http_client_config(needed: bool, trust: Option<&PemSource>) -> Result<ClientConfig, String> {
    if !needed {
        return tls::https(RootCertStore::empty());
    }
    tls::check_cpu()?;
    tls::https(roots(trust)?)
}

fn roots(trust: Option<&PemSource>) -> Result<RootCertStore, String> {
    let Some(trust) = trust else { return tls::system_roots() };
    let (pem, shown) = pem_of(trust, "the trusted certificates", CA_FILE_BYTES_MAX)?;
    tls::roots_of(&pem, &shown)
}

/// The PEM text, and what messages call it.
fn pem_of(source: &PemSource, what: &str, bytes_max: u64) -> Result<(Vec<u8>, String), String> {
    match source {
        PemSource::File(file) => Ok((tls::read(file, bytes_max)?, file.display().to_string())),
        PemSource::Text(text) => Ok((lines(text.expose()).into_bytes(), what.to_owned())),
    }
}

/// PEM as a property holds it may have lost its line ends, or have them written as `\n`: the markers get lines of their own
/// again.
fn lines(text: &str) -> String {
    let text = text.replace("\\n", "\n").replace("\\r", "");
    let mut out = String::new();
    // Markers and what is between them alternate: text, ` BEGIN X`, text, `END X`, text.
    for (n, part) in text.split("-----").enumerate() {
        if n % 2 == 1 {
            out.push_str("\n-----");
            out.push_str(part.trim());
            out.push_str("-----\n");
        } else {
            out.extend(part.split_whitespace().flat_map(|word| [word, "\n"]));
        }
    }
    out
}

fn private_key(pem: &[u8], shown: &str) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| {
        let is_encrypted = pem.windows(b"ENCRYPTED".len()).any(|window| window == b"ENCRYPTED");
        let why = if is_encrypted {
            "its private key is encrypted, which is not supported; `openssl pkey` writes it without a password"
        } else {
            "no private key in PEM form in it"
        };
        format!("{shown}: {why}{}", tls::store_hint(pem))
    })
}

/// What a TLS stream's error says, if TLS is what failed.
pub(crate) fn fault(error: &io::Error) -> Option<LinkFault> {
    use rustls::Error as E;
    let cause = error.get_ref()?.downcast_ref::<E>()?;
    let (kind, text) = match cause {
        E::InvalidCertificate(why) => (TlsKind::Untrusted, untrusted(why)),
        E::AlertReceived(alert) if is_about_us(*alert) => {
            (TlsKind::Refused, format!("the broker {REFUSED} (TLS alert {alert:?})"))
        }
        E::InvalidMessage(_) => {
            (TlsKind::NotTls, "what the broker answers is not TLS; is this a plaintext port?".to_owned())
        }
        other => (TlsKind::Broken, format!("TLS failed: {other}")),
    };
    Some(LinkFault::Tls(kind, text.into()))
}

const fn is_about_us(alert: AlertDescription) -> bool {
    use AlertDescription as A;
    matches!(
        alert,
        A::CertificateRequired
            | A::BadCertificate
            | A::UnsupportedCertificate
            | A::CertificateRevoked
            | A::CertificateExpired
            | A::CertificateUnknown
            | A::UnknownCA
            | A::AccessDenied
    )
}

fn untrusted(why: &CertificateError) -> String {
    match why {
        CertificateError::UnknownIssuer => {
            "the broker's certificate is signed by no CA that is trusted here; ssl.ca.location names the right one"
                .to_owned()
        }
        CertificateError::NotValidForName => "the broker's certificate is for another host name".to_owned(),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let shown = if presented.is_empty() { "no name".to_owned() } else { presented.join(", ") };
            format!("the broker's certificate is not for {} but for {shown}", expected.to_str())
        }
        other => format!("the broker's certificate is not to be trusted: {other}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::kafka::state::sasl::Secret;

    fn text(text: &str) -> Option<PemSource> {
        Some(PemSource::Text(Secret::new(text)))
    }

    #[test]
    fn what_cannot_be_used_is_named_and_not_shown() {
        let ca = include_str!("../../../../proto-tests/vectors/tls/ca.pem");
        let trust = text(ca);
        let settings =
            |certificate, key| TlsSettings { trust: trust.clone(), certificate, key, ..TlsSettings::default() };
        assert!(TlsClient::new(&settings(None, None)).is_ok());
        for (settings, wanted) in [
            (settings(None, text("canary")), "no certificate"),
            (settings(text("canary"), None), "no certificate in it"),
            (settings(text(ca), None), "no private key"),
            (settings(text(ca), text("-----BEGIN ENCRYPTED PRIVATE KEY-----\ncanary\n")), "encrypted"),
            (TlsSettings { trust: text("canary"), ..TlsSettings::default() }, "no certificate that can be used"),
            (TlsSettings { trust: Some(PemSource::File("/nowhere".into())), ..TlsSettings::default() }, "/nowhere"),
        ] {
            let error = TlsClient::new(&settings).unwrap_err();
            assert!(error.contains(wanted) && !error.contains("canary"), "{error}");
            assert!(!format!("{settings:?}").contains("canary"));
        }
    }

    #[test]
    fn pem_on_one_line_is_read() {
        let ca = include_str!("../../../../proto-tests/vectors/tls/ca.pem");
        for text in [ca.replace('\n', " "), ca.replace('\n', "\\n"), ca.replace('\n', "")] {
            assert_eq!(tls::certificates_of(lines(&text).as_bytes(), "x").unwrap().len(), 1, "{text}");
        }
    }
}
