//! The cryptography that the tests of this process use: forebay's own, or with a feature of this package another one, which the
//! process installs as programs do.

use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::crypto::{CryptoProvider, GetRandomFailed, SecureRandom};

/// How many times the installed provider was asked for random bytes, which each handshake needs.
static ASKED: AtomicU64 = AtomicU64::new(0);

#[derive(Debug)]
struct Counted(&'static dyn SecureRandom);

impl SecureRandom for Counted {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
        ASKED.fetch_add(1, Ordering::Relaxed);
        self.0.fill(bytes)
    }
}

#[cfg(feature = "aws-lc-rs")]
fn other() -> Option<CryptoProvider> {
    Some(rustls::crypto::aws_lc_rs::default_provider())
}

#[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
fn other() -> Option<CryptoProvider> {
    Some(rustls::crypto::ring::default_provider())
}

#[cfg(not(any(feature = "ring", feature = "aws-lc-rs")))]
fn other() -> Option<CryptoProvider> {
    None
}

/// Makes the other cryptography, if this build has one, that of the process.
pub(crate) fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        if let Some(provider) = other() {
            let random = Box::leak(Box::new(Counted(provider.secure_random)));
            CryptoProvider { secure_random: random, ..provider }.install_default().unwrap();
        }
    });
}

/// That it was used, if there is one.
pub(crate) fn assert_used() {
    assert_eq!(ASKED.load(Ordering::Relaxed) > 0, other().is_some());
}
