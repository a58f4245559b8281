//! SASL: how a user proves who they are.
//!
//! The mechanisms, as far as they are talk: what is said first, and what is said to what the broker says. How the talk is
//! carried (`SaslHandshake`, `SaslAuthenticate`) is the connection's affair ([`super::link`]); where passwords and tokens
//! come from is the configuration's. Nothing here prints a secret.

#[cfg(feature = "oidc")]
pub(crate) mod oidc;
mod plain;
#[cfg(feature = "scram")]
mod scram;
mod secret;
pub(crate) mod token;

use std::fmt;

use crate::limits::SASL_MESSAGE_BYTES_MAX;

pub use secret::Secret;

/// A SASL mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mechanism {
    /// User name and password as they are (RFC 4616).
    Plain,
    /// A proof of knowing the password, both ways, over SHA-256 (RFC 5802, RFC 7677).
    ScramSha256,
    /// The same over SHA-512.
    ScramSha512,
    /// A bearer token (RFC 7628, KIP-255).
    OauthBearer,
}

impl Mechanism {
    /// Every mechanism there is code for.
    pub const ALL: &[Self] = &[Self::Plain, Self::ScramSha256, Self::ScramSha512, Self::OauthBearer];

    /// Its registered name, such as `SCRAM-SHA-512`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
            Self::OauthBearer => "OAUTHBEARER",
        }
    }

    /// The mechanism of that name, in any case.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|mechanism| mechanism.name().eq_ignore_ascii_case(name.trim()))
    }

    /// Whether what is sent is itself the secret, so that whoever listens can log in afterwards.
    pub const fn sends_the_secret(self) -> bool {
        matches!(self, Self::Plain | Self::OauthBearer)
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a user proves their identity with.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// For [`Mechanism::Plain`] and SCRAM.
    Password {
        /// User name.
        username: String,
        /// Password.
        password: Secret,
    },
    /// For [`Mechanism::OauthBearer`].
    Token(BearerToken),
}

/// A token, and what is told to the broker beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BearerToken {
    /// The token in its compact form, such as a JWT.
    pub token: Secret,
    /// SASL extensions (KIP-342): names of letters, values of printable ASCII.
    pub extensions: Vec<(String, String)>,
}

impl BearerToken {
    /// A token without extensions.
    pub fn new(token: impl Into<String>) -> Self {
        Self { token: Secret::new(token), extensions: Vec::new() }
    }
}

/// Why there are no credentials to log in with. The texts hold no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialsFault {
    /// What is configured cannot be used: a file cannot be read, an address is wrong.
    Config(String),
    /// Who gives them cannot be reached at present; it is tried again.
    Unavailable(String),
    /// Who gives them says no.
    Refused(String),
}

impl fmt::Display for CredentialsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Config(why) | Self::Unavailable(why) | Self::Refused(why)) = self;
        f.write_str(why)
    }
}

impl std::error::Error for CredentialsFault {}

/// Why a login cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SaslFault {
    /// The credentials are of another kind than the mechanism needs, or hold what it cannot carry.
    Credentials(&'static str),
    /// The broker's message is not one of the mechanism's.
    Message(&'static str),
    /// The broker says no, in the mechanism's own words.
    Refused(String),
    /// The broker does not know the password itself: it is not the broker it seems to be.
    Impostor,
    /// The broker wants so many rounds of hashing, which is outside of what is accepted.
    Iterations(u64),
    /// This build has no code for the mechanism.
    Missing(Mechanism),
}

impl fmt::Display for SaslFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use crate::limits::{SCRAM_ITERATIONS_MAX, SCRAM_ITERATIONS_MIN};
        match self {
            Self::Credentials(why) => f.write_str(why),
            Self::Message(what) => write!(f, "the broker's message makes no sense: {what}"),
            Self::Refused(why) => write!(f, "the broker refuses it: {why}"),
            Self::Impostor => write!(f, "the broker's signature is wrong: it does not know this user's password"),
            Self::Iterations(n) => write!(
                f,
                "the broker asks for {n} iterations, {SCRAM_ITERATIONS_MIN} to {SCRAM_ITERATIONS_MAX} are accepted"
            ),
            Self::Missing(mechanism) => write!(f, "this build lacks {mechanism} (cargo feature `scram`)"),
        }
    }
}

impl std::error::Error for SaslFault {}

/// One login by one mechanism. Pure: it takes its random nonce as an argument.
///
/// Inputs: `handle_challenge`, with each message of the broker. Outputs, to be drained after `new` and after each input:
/// `poll_message`; `is_done` tells the end.
/// Invariant: it is done only when the mechanism's own last check has passed; a broker that merely says "fine" before that
/// is not believed.
#[derive(Debug)]
pub struct Exchange {
    talk: Talk,
    outgoing: Option<Vec<u8>>,
    done: bool,
}

#[derive(Debug)]
enum Talk {
    Plain,
    Token(token::Talk),
    #[cfg(feature = "scram")]
    Scram(scram::Talk),
}

impl Exchange {
    /// Begins a login. `nonce` is printable ASCII without commas, never used before and not to be guessed; only SCRAM needs
    /// it.
    ///
    /// # Errors
    /// [`SaslFault::Credentials`] when mechanism and credentials do not fit together, [`SaslFault::Missing`] for SCRAM in a
    /// build without it.
    pub fn new(mechanism: Mechanism, credentials: &Credentials, nonce: &str) -> Result<Self, SaslFault> {
        let (talk, first) = match (mechanism, credentials) {
            (Mechanism::Plain, Credentials::Password { username, password }) => {
                (Talk::Plain, plain::message(username, password)?)
            }
            (Mechanism::OauthBearer, Credentials::Token(token)) => {
                (Talk::Token(token::Talk::new()), token::first(token)?)
            }
            (Mechanism::ScramSha256 | Mechanism::ScramSha512, Credentials::Password { username, password }) => {
                scram(mechanism, username, password, nonce)?
            }
            (Mechanism::OauthBearer, _) => return Err(SaslFault::Credentials("a token is needed")),
            _ => return Err(SaslFault::Credentials("a user name and a password are needed")),
        };
        Ok(Self { talk, outgoing: Some(first), done: false })
    }

    /// Takes what the broker says.
    ///
    /// # Errors
    /// [`SaslFault`]: the login has failed and nothing more is to be said.
    pub fn handle_challenge(&mut self, challenge: &[u8]) -> Result<(), SaslFault> {
        if self.done || self.outgoing.is_some() {
            return Err(SaslFault::Message("it comes where none was due"));
        }
        if challenge.len() > SASL_MESSAGE_BYTES_MAX {
            return Err(SaslFault::Message("it is too long"));
        }
        match &mut self.talk {
            Talk::Plain => self.done = true,
            Talk::Token(talk) => match talk.handle(challenge)? {
                Some(message) => self.outgoing = Some(message),
                None => self.done = true,
            },
            #[cfg(feature = "scram")]
            Talk::Scram(talk) => match talk.handle(challenge)? {
                Some(message) => self.outgoing = Some(message),
                None => self.done = true,
            },
        }
        Ok(())
    }

    /// The next message to the broker.
    pub fn poll_message(&mut self) -> Option<Vec<u8>> {
        self.outgoing.take()
    }

    /// Whether the login has succeeded.
    pub const fn is_done(&self) -> bool {
        self.done
    }
}

#[cfg(feature = "scram")]
fn scram(mechanism: Mechanism, username: &str, password: &Secret, nonce: &str) -> Result<(Talk, Vec<u8>), SaslFault> {
    let hash = if mechanism == Mechanism::ScramSha256 { scram::Hash::Sha256 } else { scram::Hash::Sha512 };
    let (talk, first) = scram::Talk::new(hash, username, password, nonce)?;
    Ok((Talk::Scram(talk), first))
}

#[cfg(not(feature = "scram"))]
fn scram(mechanism: Mechanism, _: &str, _: &Secret, _: &str) -> Result<(Talk, Vec<u8>), SaslFault> {
    Err(SaslFault::Missing(mechanism))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    pub(super) fn password(username: &str, password: &str) -> Credentials {
        Credentials::Password { username: username.into(), password: Secret::new(password) }
    }

    #[test]
    fn mechanisms_are_known_by_name_and_kerberos_is_not() {
        for mechanism in Mechanism::ALL {
            assert_eq!(Mechanism::parse(&mechanism.name().to_lowercase()), Some(*mechanism));
        }
        assert_eq!(Mechanism::parse("GSSAPI"), None);
    }

    #[test]
    fn credentials_of_the_wrong_kind_are_refused_before_anything_is_said() {
        for mechanism in [Mechanism::Plain, Mechanism::ScramSha256] {
            let fault = Exchange::new(mechanism, &Credentials::Token(BearerToken::new("t")), "n").unwrap_err();
            assert!(fault.to_string().contains("password"), "{fault}");
        }
        let fault = Exchange::new(Mechanism::OauthBearer, &password("u", "p"), "n").unwrap_err();
        assert!(fault.to_string().contains("token"), "{fault}");
    }

    #[test]
    fn plain_is_three_parts_and_one_answer() {
        let mut exchange = Exchange::new(Mechanism::Plain, &password("alice", "s3cret"), "").unwrap();
        assert!(exchange.handle_challenge(b"").is_err(), "nothing has been said yet");
        assert_eq!(exchange.poll_message().unwrap(), b"\0alice\0s3cret");
        assert!(!exchange.is_done());
        exchange.handle_challenge(b"").unwrap();
        assert!(exchange.is_done() && exchange.poll_message().is_none());
        assert!(exchange.handle_challenge(b"").is_err());
    }

    #[test]
    fn nothing_that_is_printed_holds_a_secret() {
        for mechanism in Mechanism::ALL {
            let credentials = match mechanism {
                Mechanism::OauthBearer => Credentials::Token(BearerToken::new("canary")),
                _ => password("alice", "canary"),
            };
            let mut exchange = Exchange::new(*mechanism, &credentials, "nonce").unwrap();
            exchange.poll_message();
            let shown = format!("{credentials:?} {exchange:?}");
            assert!(!shown.contains("canary") && !shown.contains("99, 97, 110, 97, 114, 121"), "{shown}");
        }
    }
}
