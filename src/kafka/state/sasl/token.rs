//! OAUTHBEARER (RFC 7628, KIP-255): a bearer token.

use super::{BearerToken, SaslFault};

/// The talk after the token has been sent.
#[derive(Debug)]
pub(super) struct Talk {
    /// What the broker said against the token, once it has.
    refusal: Option<String>,
}

/// The longest part of a refusal that is repeated to the user, in characters.
const REFUSAL_CHARS_MAX: usize = 300;

impl Talk {
    pub(super) const fn new() -> Self {
        Self { refusal: None }
    }

    /// Takes the broker's answer: nothing when it takes the token; else a JSON object with the reason, which RFC 7628 wants
    /// confirmed with a single control-A before the broker fails the login.
    pub(super) fn handle(&mut self, challenge: &[u8]) -> Result<Option<Vec<u8>>, SaslFault> {
        if let Some(refusal) = self.refusal.take() {
            return Err(SaslFault::Refused(refusal));
        }
        if challenge.is_empty() {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(challenge);
        self.refusal = Some(text.chars().filter(|c| !c.is_control()).take(REFUSAL_CHARS_MAX).collect());
        Ok(Some(vec![0x01]))
    }
}

/// The first message: no channel binding, the token, extensions, and the end.
pub(super) fn first(bearer: &BearerToken) -> Result<Vec<u8>, SaslFault> {
    let token = bearer.token.expose();
    // RFC 6750: b64token. A line end or a quote in it is a mistake, and a control-A would end the field.
    let fits = |c: u8| c.is_ascii_alphanumeric() || b"-._~+/=".contains(&c);
    if token.is_empty() || !token.bytes().all(fits) {
        return Err(SaslFault::Credentials(
            "the token is empty or not a bearer token (letters, digits and -._~+/= only)",
        ));
    }
    let mut message = format!("n,,\x01auth=Bearer {token}\x01");
    for (name, value) in &bearer.extensions {
        if !is_extension(name, value) {
            return Err(SaslFault::Credentials(
                "an extension's name is not of letters only, or is auth, or its value is empty or not printable",
            ));
        }
        message.push_str(&format!("{name}={value}\x01"));
    }
    message.push('\x01');
    Ok(message.into_bytes())
}

/// What Kafka's brokers take for an extension (KIP-342).
pub(crate) fn is_extension(name: &str, value: &str) -> bool {
    let printable = |c: u8| matches!(c, 0x21..=0x7e | b' ' | b'\t' | b'\r' | b'\n');
    !name.is_empty()
        && name != "auth"
        && name.bytes().all(|c| c.is_ascii_alphabetic())
        && !value.is_empty()
        && value.bytes().all(printable)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{Credentials, Exchange, Mechanism};
    use super::*;

    fn sent(token: &str) -> (Exchange, Vec<u8>) {
        let credentials = Credentials::Token(BearerToken::new(token));
        let mut exchange = Exchange::new(Mechanism::OauthBearer, &credentials, "").unwrap();
        let first = exchange.poll_message().unwrap();
        (exchange, first)
    }

    #[test]
    fn a_token_that_is_taken_needs_one_message() {
        let (mut exchange, first) = sent("abc.def.");
        assert_eq!(first, b"n,,\x01auth=Bearer abc.def.\x01\x01");
        exchange.handle_challenge(b"").unwrap();
        assert!(exchange.is_done());
    }

    #[test]
    fn a_refusal_is_confirmed_and_then_told() {
        let (mut exchange, _) = sent("abc");
        exchange.handle_challenge(b"{\"status\":\"invalid_token\"}").unwrap();
        assert!(!exchange.is_done());
        assert_eq!(exchange.poll_message().unwrap(), [1]);
        // Even if the broker then says nothing bad, the login has failed.
        let fault = exchange.handle_challenge(b"").unwrap_err();
        assert!(fault.to_string().contains("invalid_token"), "{fault}");
        assert!(!exchange.is_done());
    }

    #[test]
    fn extensions_follow_the_token() {
        let extensions =
            [("logicalCluster", "lkc-1"), ("pool", "a b")].map(|(name, value)| (name.into(), value.into()));
        let bearer = BearerToken { extensions: extensions.into(), ..BearerToken::new("abc") };
        assert_eq!(first(&bearer).unwrap(), b"n,,\x01auth=Bearer abc\x01logicalCluster=lkc-1\x01pool=a b\x01\x01");
        for (name, value) in [("auth", "x"), ("", "x"), ("a-b", "x"), ("a", ""), ("a", "x\x01auth=y"), ("a", "\u{e4}")]
        {
            let bearer = BearerToken { extensions: vec![(name.into(), value.into())], ..BearerToken::new("abc") };
            assert!(first(&bearer).is_err(), "{name}={value:?}");
        }
    }

    #[test]
    fn what_is_no_token_is_not_sent() {
        for token in ["", "a b", "abc\n", "a\x01host=x", "\"abc\""] {
            assert!(first(&BearerToken::new(token)).is_err(), "{token:?}");
        }
    }
}
