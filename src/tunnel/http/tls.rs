//! TLS for the HTTP client.

use std::path::Path;

use rustls::{ClientConfig, RootCertStore};

use crate::tls;
use crate::tunnel::error::{Error, ErrorKind};

/// What the HTTP client needs to know about TLS. Without `needed` nothing is read and nothing is trusted, so that an `http`
/// endpoint works on a machine without certificates.
///
/// # Errors
/// [`ErrorKind::Config`], as [`super::Http::new`] says.
pub(super) fn client_config(needed: bool, ca_file: Option<&Path>) -> Result<ClientConfig, Error> {
    let roots = if needed { trusted(ca_file).map_err(config)? } else { RootCertStore::empty() };
    tls::https(roots).map_err(config)
}

fn trusted(ca_file: Option<&Path>) -> Result<RootCertStore, String> {
    tls::check_cpu()?;
    ca_file.map_or_else(tls::system_roots, tls::roots_in)
}

fn config(message: String) -> Error {
    Error::new(ErrorKind::Config, message)
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
