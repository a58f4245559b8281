//! PLAIN (RFC 4616): user name and password, as they are.

use super::{SaslFault, Secret};

/// The only message: authorisation identity (none), user name, password, with zero bytes between.
pub(super) fn message(username: &str, password: &Secret) -> Result<Vec<u8>, SaslFault> {
    if username.is_empty() || password.expose().is_empty() {
        return Err(SaslFault::Credentials("the user name and the password must not be empty"));
    }
    if username.contains('\0') || password.expose().contains('\0') {
        return Err(SaslFault::Credentials("the user name and the password must not hold a zero byte"));
    }
    Ok([b"\0", username.as_bytes(), b"\0", password.expose().as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_carried_is_refused() {
        for (username, password) in [("", "p"), ("u", ""), ("u\0x", "p"), ("u", "p\0")] {
            assert!(matches!(message(username, &Secret::new(password)), Err(SaslFault::Credentials(_))));
        }
    }
}
