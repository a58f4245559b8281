//! TLS under a connection to a broker.
//!
//! The certificate is always checked, and so is that it is for the very name the broker is reached by: the one it
//! advertises, or the configured one while that is all there is. There is no switch for either. Revocation is not checked.

#[cfg(feature = "tls")]
mod client;

use std::path::PathBuf;

use crate::kafka::state::sasl::Secret;

#[cfg(feature = "oidc")]
pub(crate) use client::http_client_config;
#[cfg(feature = "tls")]
pub(crate) use client::{TlsClient, fault};

/// Certificates or a key in PEM form. `Debug` shows no text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PemSource {
    /// In this file, which is read when the client connects.
    File(PathBuf),
    /// The text itself.
    Text(Secret),
}

/// Which versions of TLS may be used. TLS 1.1 and older are not there at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsVersions {
    /// TLS 1.3, or 1.2 with a broker that has nothing newer.
    #[default]
    Tls12Or13,
    /// TLS 1.2 only.
    Tls12,
    /// TLS 1.3 only.
    Tls13,
}

/// What a client does about TLS.
#[derive(Clone, Debug, Default)]
#[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "read by the feature"))]
pub(crate) struct TlsSettings {
    /// The CAs that are trusted; none: the system's.
    pub(crate) trust: Option<PemSource>,
    /// Our own certificate and the chain to its CA, the certificate first.
    pub(crate) certificate: Option<PemSource>,
    /// Its key; none: beside the certificate.
    pub(crate) key: Option<PemSource>,
    pub(crate) versions: TlsVersions,
}
