//! One login over one connection: `SaslHandshake`, then `SaslAuthenticate` (before Kafka 1.0 the bare messages) until the
//! mechanism has what it wants.

use std::fmt;
use std::time::Instant;

use crate::kafka::msg::{
    ErrorCode, SaslAuthenticateAnswer, SaslAuthenticateCall, SaslHandshakeAnswer, SaslHandshakeCall,
};
use crate::limits::PEER_TEXT_BYTES_MAX;

use super::sasl::{Credentials, CredentialsFault, Exchange, Mechanism, SaslFault};

/// Why a login failed. None of it holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoginFault {
    /// The listener does not offer the mechanism.
    Mechanism {
        /// The one that was asked for.
        wanted: Mechanism,
        /// Those that it has.
        offered: Vec<String>,
    },
    /// The listener takes no logins.
    NoSasl,
    /// The broker says no.
    Refused {
        /// How we tried.
        mechanism: Mechanism,
        /// Its code, mostly `SASL_AUTHENTICATION_FAILED`.
        code: ErrorCode,
        /// What it says about it.
        text: Option<String>,
    },
    /// The mechanism itself came to no good end.
    Exchange {
        /// Which one.
        mechanism: Mechanism,
        /// How.
        fault: SaslFault,
    },
    /// There are no credentials to log in with.
    NoCredentials(CredentialsFault),
    /// The broker closed the connection instead of answering.
    Closed {
        /// How we tried.
        mechanism: Mechanism,
        /// Whether it is one before 1.0, which says no more to wrong credentials (KIP-152).
        is_silent: bool,
    },
}

impl LoginFault {
    /// Whether trying again may help without any change.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Closed { .. } => true,
            Self::Refused { code, .. } => code.is_retriable(),
            Self::NoCredentials(CredentialsFault::Unavailable(_)) => true,
            _ => false,
        }
    }

    /// Whether the broker was shown credentials and did not like them.
    pub const fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Exchange { fault: SaslFault::Refused(_), .. })
    }

    /// Whether the broker had no part in it: what is configured cannot be used.
    pub const fn is_ours(&self) -> bool {
        matches!(
            self,
            Self::NoCredentials(CredentialsFault::Config(_))
                | Self::Exchange { fault: SaslFault::Credentials(_) | SaslFault::Missing(_), .. }
        )
    }
}

impl fmt::Display for LoginFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mechanism { wanted, offered } => {
                write!(f, "the broker does not offer SASL {wanted} here, only {}", offered.join(", "))
            }
            Self::NoSasl => f.write_str("this port takes no SASL login (security.protocol should be PLAINTEXT or SSL)"),
            Self::Refused { mechanism, code, text } => {
                write!(f, "the broker refuses the SASL {mechanism} login: {code}")?;
                text.as_ref().map_or(Ok(()), |text| write!(f, ": {text}"))
            }
            Self::Exchange { mechanism, fault } => write!(f, "SASL {mechanism} login failed: {fault}"),
            Self::NoCredentials(why) => write!(f, "no SASL login: {why}"),
            Self::Closed { mechanism, is_silent } => {
                write!(f, "the broker closed the connection during the SASL {mechanism} login")?;
                let why = "; a broker before 1.0 says no more when it does not accept user or password";
                if *is_silent { f.write_str(why) } else { Ok(()) }
            }
        }
    }
}

/// What comes next in a login.
#[derive(Debug)]
pub(super) enum Next {
    /// Something is to be said.
    Say(SaslAuthenticateCall),
    /// It has succeeded and holds for so many milliseconds; 0 = as long as the connection.
    Done { lifetime_ms: u64 },
}

/// A login under way.
#[derive(Debug)]
pub(super) struct Login {
    mechanism: Mechanism,
    exchange: Exchange,
    pub(super) started: Instant,
}

impl Login {
    pub(super) fn new(
        now: Instant,
        mechanism: Mechanism,
        credentials: &Credentials,
        nonce: &str,
    ) -> Result<Self, LoginFault> {
        let exchange = Exchange::new(mechanism, credentials, nonce);
        let exchange = exchange.map_err(|fault| LoginFault::Exchange { mechanism, fault })?;
        Ok(Self { mechanism, exchange, started: now })
    }

    /// The first request.
    pub(super) const fn handshake(&self) -> SaslHandshakeCall {
        SaslHandshakeCall { mechanism: self.mechanism.name() }
    }

    pub(super) fn handle_handshake(&mut self, answer: SaslHandshakeAnswer) -> Result<SaslAuthenticateCall, LoginFault> {
        let mechanism = self.mechanism;
        match answer.error {
            ErrorCode::NONE => {}
            ErrorCode::UNSUPPORTED_SASL_MECHANISM => {
                // As many and as long as a message should be.
                let names = answer.mechanisms.into_iter().take(16);
                let offered = names.map(|name| name.chars().filter(|c| c.is_ascii_graphic()).take(32).collect());
                return Err(LoginFault::Mechanism { wanted: mechanism, offered: offered.collect() });
            }
            ErrorCode::ILLEGAL_SASL_STATE => return Err(LoginFault::NoSasl),
            code => return Err(LoginFault::Refused { mechanism, code, text: None }),
        }
        let message = self.exchange.poll_message();
        message.map(|message| SaslAuthenticateCall { message }).ok_or_else(|| self.nothing_to_say())
    }

    pub(super) fn handle_authenticate(&mut self, answer: &SaslAuthenticateAnswer) -> Result<Next, LoginFault> {
        let mechanism = self.mechanism;
        if !answer.error.is_ok() {
            let text = answer.error_message.as_deref().filter(|text| !text.is_empty());
            let text =
                text.map(|text| text.chars().filter(|c| !c.is_control()).take(PEER_TEXT_BYTES_MAX / 4).collect());
            return Err(LoginFault::Refused { mechanism, code: answer.error, text });
        }
        let outcome = self.exchange.handle_challenge(&answer.message);
        outcome.map_err(|fault| LoginFault::Exchange { mechanism, fault })?;
        if self.exchange.is_done() {
            return Ok(Next::Done { lifetime_ms: u64::try_from(answer.session_lifetime_ms).unwrap_or(0) });
        }
        let message = self.exchange.poll_message();
        message.map(|message| Next::Say(SaslAuthenticateCall { message })).ok_or_else(|| self.nothing_to_say())
    }

    const fn nothing_to_say(&self) -> LoginFault {
        LoginFault::Exchange {
            mechanism: self.mechanism,
            fault: SaslFault::Message("it asks where nothing is left to say"),
        }
    }
}
