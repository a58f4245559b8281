//! Text that must not be printed.

use std::fmt;

/// A secret: it prints as `***` and is reached only by [`expose`](Self::expose).
///
/// Compares in ordinary time, so it is for configuration, not for checking what a stranger sends.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for the one place that signs or sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(STARS)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(STARS)
    }
}

/// Whether the value of a key must not be printed: names that end in `password`, `accessKey`, `secret` or `token` whatever
/// their case and separators, JAAS texts, and private keys.
pub fn is_secret_key(key: &str) -> bool {
    let name: String = key.chars().filter(|c| c.is_ascii_alphanumeric()).map(|c| c.to_ascii_lowercase()).collect();
    const ENDINGS: [&str; 6] = ["password", "accesskey", "secret", "token", "jaasconfig", "keystorekey"];
    ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// What stands in place of a secret.
pub(crate) const STARS: &str = "***";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_prints_itself() {
        let secret = Secret::new("canary");
        assert_eq!(format!("{secret} {secret:?} {:?}", Some(&secret)), "*** *** Some(***)");
        assert_eq!(secret.expose(), "canary");
    }

    #[test]
    fn knows_keys_by_their_ending() {
        for key in
            ["accessKey", "ACCESS_KEY", "ssl.truststore.password", "securityToken", "client_secret", "sasl.jaas.config"]
        {
            assert!(is_secret_key(key), "{key}");
        }
        for key in ["accessId", "access_id", "tokenizer", "group.id", "key", "keyType"] {
            assert!(!is_secret_key(key), "{key}");
        }
    }
}
