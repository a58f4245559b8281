//! TLS for the HTTP client: rustls with the graviola provider, and the certificates it trusts.
//!
//! No C, no environment variables, and no platform verifier: trust is a PEM file, named by the user or the system's bundle.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use crate::limits::CA_FILE_BYTES_MAX;
use crate::tunnel::error::{Error, ErrorKind};

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

/// What the HTTP client needs to know about TLS. Without `needed` nothing is read and nothing is trusted, so that an `http`
/// endpoint works on a machine without certificates.
///
/// # Errors
/// [`ErrorKind::Config`], as [`super::Http::new`] says.
pub(super) fn client_config(needed: bool, ca_file: Option<&Path>) -> Result<ClientConfig, Error> {
    let roots = if needed {
        let missing = missing_cpu_features();
        if !missing.is_empty() {
            let message = format!(
                "https is not possible on this CPU: the TLS library needs {}, which it lacks",
                missing.join(", ")
            );
            return Err(Error::new(ErrorKind::Config, message));
        }
        match ca_file {
            Some(file) => roots_in(file).map_err(|why| Error::new(ErrorKind::Config, why))?,
            None => system_roots()?,
        }
    } else {
        RootCertStore::empty()
    };
    let provider = Arc::new(rustls_graviola::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(ErrorKind::Config, format!("cannot set up TLS: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn system_roots() -> Result<RootCertStore, Error> {
    let mut failures = Vec::new();
    for file in SYSTEM_BUNDLES {
        match roots_in(Path::new(file)) {
            Ok(roots) => return Ok(roots),
            Err(why) => failures.push(why),
        }
    }
    let message =
        format!("no CA certificates, so https is not possible; name a CA file. Tried: {}", failures.join("; "));
    Err(Error::new(ErrorKind::Config, message))
}

/// The certificates of a PEM file; ones that cannot be used are left out, as system bundles hold a few of those.
fn roots_in(file: &Path) -> Result<RootCertStore, String> {
    let shown = file.display();
    let mut pem = Vec::new();
    let reading =
        File::open(file).and_then(|file| file.take(CA_FILE_BYTES_MAX.saturating_add(1)).read_to_end(&mut pem));
    reading.map_err(|error| format!("{shown}: {error}"))?;
    if pem.len() as u64 > CA_FILE_BYTES_MAX {
        return Err(format!("{shown}: larger than {CA_FILE_BYTES_MAX} bytes"));
    }
    let mut certificates = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        certificates.push(certificate.map_err(|error| format!("{shown}: not PEM: {error:?}"))?);
    }
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(certificates);
    if added == 0 { Err(format!("{shown}: no certificate that can be used")) } else { Ok(roots) }
}

/// The features graviola needs and this CPU lacks. It asserts them itself at the first use of a cipher; asking first turns
/// the panic into an error.
fn missing_cpu_features() -> Vec<&'static str> {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn http_needs_nothing() {
        assert!(client_config(false, Some(Path::new("/nowhere"))).is_ok());
    }

    #[test]
    fn a_ca_file_without_certificates_is_named() {
        for file in ["/nowhere/ca.pem", "/dev/null", "/"] {
            let error = client_config(true, Some(Path::new(file))).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(file), "{error}");
        }
    }

    #[test]
    fn an_endless_file_is_not_read_to_its_end() {
        let error = client_config(true, Some(Path::new("/dev/zero"))).unwrap_err();
        assert!(error.to_string().contains("larger than"), "{error}");
    }
}
