//! Users who log in by SCRAM (KIP-554), from Kafka 2.7 on.

use std::collections::BTreeMap;

use crate::kafka::ask::Attempt;
use crate::kafka::client::Client;
use crate::kafka::error::Error;
use crate::kafka::msg::{ApiKey, DescribeScramUsersCall, ErrorCode};

/// How a password is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ScramMechanism {
    /// SCRAM-SHA-256.
    Sha256,
    /// SCRAM-SHA-512.
    Sha512,
    /// Something newer, by its number.
    Other(i8),
}

impl ScramMechanism {
    #[cfg(feature = "scram")]
    const fn code(self) -> i8 {
        match self {
            Self::Sha256 => 1,
            Self::Sha512 => 2,
            Self::Other(code) => code,
        }
    }

    const fn of(code: i8) -> Self {
        match code {
            1 => Self::Sha256,
            2 => Self::Sha512,
            other => Self::Other(other),
        }
    }

    /// The mechanism's name, such as `SCRAM-SHA-256`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SCRAM-SHA-256",
            Self::Sha512 => "SCRAM-SHA-512",
            Self::Other(_) => "UNKNOWN",
        }
    }

    /// By its name in any case.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Sha256, Self::Sha512].into_iter().find(|mechanism| mechanism.name().eq_ignore_ascii_case(text))
    }
}

impl Client {
    /// Users who can log in by SCRAM, each with mechanisms and iterations; all of them for an empty list. Never a password.
    ///
    /// # Errors
    /// [`Auth`](super::ErrorKind::Auth), [`Unsupported`](super::ErrorKind::Unsupported), a broker's code other than "not found",
    /// or the last cause when the deadline for retries passes.
    pub async fn scram_users(&self, users: &[String]) -> Result<BTreeMap<String, Vec<(ScramMechanism, i32)>>, Error> {
        let call = DescribeScramUsersCall { users: (!users.is_empty()).then(|| users.to_vec()) };
        let mut patience = self.core.patience();
        loop {
            let attempt = match self.core.ask_any(&call).await {
                Ok((_, answer)) if answer.error.is_ok() => {
                    let is_wrong = |code: ErrorCode| !code.is_ok() && code != ErrorCode::RESOURCE_NOT_FOUND;
                    match answer.users.iter().find(|user| is_wrong(user.error)) {
                        Some(user) => Attempt::code(user.error, user.error_message.as_deref()),
                        None => {
                            let found = answer.users.into_iter().filter(|user| user.error.is_ok());
                            let of = |(code, iterations)| (ScramMechanism::of(code), iterations);
                            return Ok(found
                                .map(|user| (user.user, user.credentials.into_iter().map(of).collect()))
                                .collect());
                        }
                    }
                }
                Ok((_, answer)) => Attempt::code(answer.error, answer.error_message.as_deref()),
                Err(attempt) => attempt,
            };
            patience.after(attempt.map(|e| e.api(ApiKey::DescribeUserScramCredentials))).await?;
        }
    }
}

#[cfg(feature = "scram")]
mod change {
    use sha2::{Sha256, Sha512};

    use super::ScramMechanism;
    use crate::kafka::ask::Attempt;
    use crate::kafka::client::Client;
    use crate::kafka::error::{Error, ErrorKind};
    use crate::kafka::msg::{AlterScramUsersCall, ApiKey, ScramUpsertion};
    use crate::kafka::state::sasl::Secret;
    use crate::limits::{SCRAM_ITERATIONS_MAX, SCRAM_ITERATIONS_MIN};

    impl Client {
        /// Gives a user a password for one mechanism; the password is hashed here and does not leave this process.
        ///
        /// # Errors
        /// [`Config`](ErrorKind::Config) for too few or too many iterations (4,096 to 1,000,000);
        /// [`Broker`](ErrorKind::Broker) with what the broker says; [`Auth`](ErrorKind::Auth);
        /// [`Unsupported`](ErrorKind::Unsupported); or the last cause when the deadline for retries passes.
        pub async fn set_scram_user(
            &self,
            user: &str,
            mechanism: ScramMechanism,
            iterations: u32,
            password: &Secret,
        ) -> Result<(), Error> {
            if !(SCRAM_ITERATIONS_MIN..=SCRAM_ITERATIONS_MAX).contains(&iterations) {
                let text =
                    format!("{iterations} iterations: {SCRAM_ITERATIONS_MIN} to {SCRAM_ITERATIONS_MAX} are possible");
                return Err(Error::new(ErrorKind::Config, text));
            }
            let mut salt = vec![0; 20];
            getrandom::fill(&mut salt).map_err(|e| Error::new(ErrorKind::Config, format!("no random numbers: {e}")))?;
            let password = password.expose().as_bytes();
            // `Hi(password, salt, iterations)` of RFC 5802.
            let salted_password = match mechanism {
                ScramMechanism::Sha256 => {
                    let mut hashed = vec![0; 32];
                    pbkdf2::pbkdf2_hmac::<Sha256>(password, &salt, iterations, &mut hashed);
                    hashed
                }
                ScramMechanism::Sha512 => {
                    let mut hashed = vec![0; 64];
                    pbkdf2::pbkdf2_hmac::<Sha512>(password, &salt, iterations, &mut hashed);
                    hashed
                }
                ScramMechanism::Other(_) => {
                    return Err(Error::new(ErrorKind::Unsupported, "forebay knows SCRAM-SHA-256 and SCRAM-SHA-512"));
                }
            };
            let upsertion = ScramUpsertion {
                user: user.to_owned(),
                mechanism: mechanism.code(),
                iterations: i32::try_from(iterations).unwrap_or(i32::MAX),
                salt,
                salted_password,
            };
            self.alter_scram(&AlterScramUsersCall { upsertions: vec![upsertion], ..AlterScramUsersCall::default() })
                .await
        }

        /// Takes a user's password for one mechanism away.
        ///
        /// # Errors
        /// [`Broker`](ErrorKind::Broker) with `RESOURCE_NOT_FOUND` for one who has none; as [`Client::set_scram_user`].
        pub async fn delete_scram_user(&self, user: &str, mechanism: ScramMechanism) -> Result<(), Error> {
            let deletions = vec![(user.to_owned(), mechanism.code())];
            self.alter_scram(&AlterScramUsersCall { deletions, ..AlterScramUsersCall::default() }).await
        }

        async fn alter_scram(&self, call: &AlterScramUsersCall) -> Result<(), Error> {
            let mut patience = self.core.patience();
            loop {
                let attempt = match self.ask_controller(call).await {
                    Ok(results) => match results.iter().find(|result| !result.error.is_ok()) {
                        None => return Ok(()),
                        Some(result) => Attempt::code(result.error, result.error_message.as_deref()),
                    },
                    Err(attempt) => attempt,
                };
                patience.after(attempt.map(|e| e.api(ApiKey::AlterUserScramCredentials))).await?;
            }
        }
    }
}
