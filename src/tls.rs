//! TLS, as far as the Kafka client and the MaxCompute client share it: the provider and the certificates that are trusted.
//!
//! rustls with the graviola provider: no C, no environment variables, and no platform verifier. Trust is PEM, named by the
//! user or the system's bundle. Other providers: one that the program has installed for its process
//! (`rustls::crypto::CryptoProvider::install_default`), and the features `ring` and `aws-lc-rs`.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::limits::CA_FILE_BYTES_MAX;

/// Where systems keep their bundle; the first that can be used is.
const SYSTEM_BUNDLES: [&str; 6] = [
    // Debian, Ubuntu, Alpine, Arch
    "/etc/ssl/certs/ca-certificates.crt",
    // Fedora, RHEL, Alibaba Cloud Linux
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    // openSUSE
    "/etc/ssl/ca-bundle.pem",
    // Alpine, macOS, the BSDs
    "/etc/ssl/cert.pem",
    "/usr/local/share/certs/ca-root-nss.crt",
];

/// The cryptography: what the program has installed for its process, else graviola where the CPU can do it, else what a feature
/// has added.
///
/// # Errors
/// A sentence, when this build has none.
pub(crate) fn provider() -> Result<Arc<CryptoProvider>, String> {
    CryptoProvider::get_default()
        .cloned()
        .or_else(|| if lacking().is_empty() { graviola() } else { None })
        .or_else(by_feature)
        .or_else(graviola)
        .ok_or_else(|| {
            "this build of forebay has no cryptography for TLS on this processor: add its feature \"ring\" or \"aws-lc-rs\"".to_owned()
        })
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn graviola() -> Option<Arc<CryptoProvider>> {
    use rustls_graviola::kx::{P256, P384, X25519};
    // Without ML-KEM, which neither brokers nor Tunnel speak: it makes a connection's first message larger than a packet.
    Some(Arc::new(CryptoProvider { kx_groups: vec![&X25519, &P256, &P384], ..rustls_graviola::default_provider() }))
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn graviola() -> Option<Arc<CryptoProvider>> {
    None
}

#[cfg(feature = "aws-lc-rs")]
fn by_feature() -> Option<Arc<CryptoProvider>> {
    Some(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
}

#[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
fn by_feature() -> Option<Arc<CryptoProvider>> {
    Some(Arc::new(rustls::crypto::ring::default_provider()))
}

#[cfg(not(any(feature = "ring", feature = "aws-lc-rs")))]
fn by_feature() -> Option<Arc<CryptoProvider>> {
    None
}

/// What an HTTP client is set up with that trusts these certificates.
///
/// # Errors
/// A sentence.
#[cfg(any(feature = "tunnel", feature = "oidc"))]
pub(crate) fn https(roots: RootCertStore) -> Result<rustls::ClientConfig, String> {
    let mut config = rustls::ClientConfig::builder_with_provider(provider()?)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("cannot set up TLS: {error}"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Whether an error of an HTTP client is TLS refusing the service's certificate, which no repetition cures.
#[cfg(any(feature = "tunnel", feature = "oidc"))]
pub(crate) fn is_distrust(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut current = Some(error);
    while let Some(error) = current {
        // An I/O error does not name what it wraps as its source.
        let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let tls = error.downcast_ref::<rustls::Error>();
        if matches!(tls, Some(rustls::Error::InvalidCertificate(_)))
            || wrapped.is_some_and(|wrapped| is_distrust(wrapped))
        {
            return true;
        }
        current = error.source();
    }
    false
}

/// Whether this CPU can do what [`provider`] gives. graviola asserts that itself at the first use of a cipher; asking first
/// turns the panic into an error.
///
/// # Errors
/// A sentence that names what the CPU lacks.
pub(crate) fn check_cpu() -> Result<(), String> {
    let missing = lacking();
    if missing.is_empty() || by_feature().is_some() || CryptoProvider::get_default().is_some() {
        return Ok(());
    }
    Err(format!(
        "TLS is not possible on this CPU: graviola, this program's cryptography, needs {}, which it lacks; a build with the \
         feature \"ring\" or \"aws-lc-rs\" does without",
        missing.join(", ")
    ))
}

/// What graviola needs and this CPU lacks.
fn lacking() -> Vec<&'static str> {
    cpu_features().into_iter().filter(|(_, there)| !there).map(|(name, _)| name).collect()
}

#[cfg(target_arch = "x86_64")]
fn cpu_features() -> Vec<(&'static str, bool)> {
    vec![
        ("aes", is_x86_feature_detected!("aes")),
        ("pclmulqdq", is_x86_feature_detected!("pclmulqdq")),
        ("bmi1", is_x86_feature_detected!("bmi1")),
        ("adx", is_x86_feature_detected!("adx")),
        ("avx", is_x86_feature_detected!("avx")),
        ("avx2", is_x86_feature_detected!("avx2")),
    ]
}

#[cfg(target_arch = "aarch64")]
fn cpu_features() -> Vec<(&'static str, bool)> {
    vec![
        ("neon", std::arch::is_aarch64_feature_detected!("neon")),
        ("aes", std::arch::is_aarch64_feature_detected!("aes")),
        ("pmull", std::arch::is_aarch64_feature_detected!("pmull")),
        ("sha2", std::arch::is_aarch64_feature_detected!("sha2")),
    ]
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn cpu_features() -> Vec<(&'static str, bool)> {
    vec![("x86_64 or aarch64", false)]
}

/// The system's certificates.
///
/// # Errors
/// A sentence with every place that was tried.
pub(crate) fn system_roots() -> Result<RootCertStore, String> {
    let mut failures = Vec::new();
    for file in SYSTEM_BUNDLES {
        match roots_in(Path::new(file)) {
            Ok(roots) => return Ok(roots),
            Err(why) => failures.push(why),
        }
    }
    Err(format!("no CA certificates, so TLS is not possible; name a CA file. Tried: {}", failures.join("; ")))
}

/// The certificates of a PEM file.
///
/// # Errors
/// A sentence that names the file.
pub(crate) fn roots_in(file: &Path) -> Result<RootCertStore, String> {
    roots_of(&read(file, CA_FILE_BYTES_MAX)?, &file.display().to_string())
}

/// The certificates of a PEM text; ones that cannot be used are left out, as system bundles hold a few of those. `shown` is
/// what messages call the text.
///
/// # Errors
/// A sentence: not PEM, or nothing usable in it.
pub(crate) fn roots_of(pem: &[u8], shown: &str) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(certificates_of(pem, shown)?);
    if added == 0 { Err(format!("{shown}: no certificate that can be used{}", store_hint(pem))) } else { Ok(roots) }
}

/// The certificates of a PEM text, in their order.
///
/// # Errors
/// A sentence, when it is not PEM.
pub(crate) fn certificates_of(pem: &[u8], shown: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_slice_iter(pem)
        .map(|certificate| certificate.map_err(|error| format!("{shown}: not PEM: {error:?}{}", store_hint(pem))))
        .collect()
}

/// Advice for what is no PEM but a key store of Java's.
pub(crate) fn store_hint(bytes: &[u8]) -> &'static str {
    match bytes {
        [0xfe, 0xed, 0xfe, 0xed, ..] => {
            "; it is a Java key store (JKS), PEM is needed: `keytool -exportcert -rfc` writes it"
        }
        // A DER sequence of more than 255 bytes.
        [0x30, 0x82, ..] => {
            "; it is a PKCS#12 store or DER, PEM is needed: `openssl pkcs12` or `openssl x509` writes it"
        }
        _ => "",
    }
}

/// Reads a file of at most `bytes_max` bytes.
///
/// # Errors
/// A sentence that names the file.
pub(crate) fn read(file: &Path, bytes_max: u64) -> Result<Vec<u8>, String> {
    let shown = file.display();
    let mut bytes = Vec::new();
    let reading = File::open(file).and_then(|file| file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes));
    reading.map_err(|error| format!("{shown}: {error}"))?;
    if bytes.len() as u64 > bytes_max { Err(format!("{shown}: larger than {bytes_max} bytes")) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_java_key_store_is_told_what_it_is() {
        let error = roots_of(&[0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2], "trust.jks").unwrap_err();
        assert!(error.starts_with("trust.jks: no certificate") && error.contains("keytool"), "{error}");
        let error = roots_of(&[0x30, 0x82, 1, 1, 0], "trust.p12").unwrap_err();
        assert!(error.contains("PKCS#12"), "{error}");
    }

    #[test]
    fn an_endless_file_is_not_read_to_its_end() {
        let error = read(Path::new("/dev/zero"), 1000).unwrap_err();
        assert_eq!(error, "/dev/zero: larger than 1000 bytes");
    }
}
