//! Who asks.

use std::fmt;

/// An access key, and the token of a temporary one. `Debug` prints `***` for what is secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    access_id: String,
    access_key: String,
    security_token: Option<String>,
}

impl Credentials {
    /// A long-lived key. Spaces around both parts, such as the line end of a secret file, are dropped.
    pub fn new(access_id: impl AsRef<str>, access_key: impl AsRef<str>) -> Self {
        Self {
            access_id: access_id.as_ref().trim().to_owned(),
            access_key: access_key.as_ref().trim().to_owned(),
            security_token: None,
        }
    }

    /// The same as a temporary key with its STS token.
    #[must_use]
    pub fn with_security_token(mut self, token: impl AsRef<str>) -> Self {
        self.security_token = Some(token.as_ref().trim().to_owned());
        self
    }

    /// The public part.
    pub fn access_id(&self) -> &str {
        &self.access_id
    }

    pub(super) fn access_key(&self) -> &str {
        &self.access_key
    }

    pub(super) fn security_token(&self) -> Option<&str> {
        self.security_token.as_deref()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("access_id", &self.access_id)
            .field("access_key", &"***")
            .field("security_token", &self.security_token.as_ref().map(|_| "***"))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_secret() {
        let credentials = Credentials::new(" id ", "k3y\n").with_security_token("t0ken");
        let shown = format!("{credentials:?} {credentials:#?}");
        assert!(shown.contains("id") && !shown.contains("k3y") && !shown.contains("t0ken"), "{shown}");
        assert_eq!((credentials.access_id(), credentials.access_key()), ("id", "k3y"));
    }
}
