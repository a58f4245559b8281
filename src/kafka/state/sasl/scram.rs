//! SCRAM-SHA-256 and SCRAM-SHA-512 (RFC 5802, RFC 7677): both sides prove that they know the password, and neither says it.
//!
//! As in Kafka's own clients, the password is taken as UTF-8 without SASLprep, and there is no channel binding.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic)]

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256, Sha512};

use super::{SaslFault, Secret};
use crate::limits::{SCRAM_ITERATIONS_MAX, SCRAM_ITERATIONS_MIN};

/// The hash function under it all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hash {
    Sha256,
    Sha512,
}

impl Hash {
    fn hmac(self, key: &[u8], message: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => mac::<Hmac<Sha256>>(key).chain_update(message).finalize().into_bytes().to_vec(),
            Self::Sha512 => mac::<Hmac<Sha512>>(key).chain_update(message).finalize().into_bytes().to_vec(),
        }
    }

    /// Whether `signature` is the HMAC, in a time that does not tell how much of it is.
    fn verify(self, key: &[u8], message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Sha256 => mac::<Hmac<Sha256>>(key).chain_update(message).verify_slice(signature).is_ok(),
            Self::Sha512 => mac::<Hmac<Sha512>>(key).chain_update(message).verify_slice(signature).is_ok(),
        }
    }

    fn digest(self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(message).to_vec(),
            Self::Sha512 => Sha512::digest(message).to_vec(),
        }
    }

    fn salted_password(self, password: &Secret, salt: &[u8], iterations: u32) -> Vec<u8> {
        let password = password.expose().as_bytes();
        match self {
            Self::Sha256 => {
                let mut salted = vec![0; 32];
                pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, iterations, &mut salted);
                salted
            }
            Self::Sha512 => {
                let mut salted = vec![0; 64];
                pbkdf2::pbkdf2_hmac::<Sha512>(password, salt, iterations, &mut salted);
                salted
            }
        }
    }
}

fn mac<M: KeyInit>(key: &[u8]) -> M {
    M::new_from_slice(key).expect("HMAC takes keys of any length")
}

/// One login.
pub(super) struct Talk {
    hash: Hash,
    password: Secret,
    nonce: String,
    /// `client-first-message-bare`.
    first: String,
    /// What the broker has to prove, once we have proved our part: its key and what it signs.
    due: Option<(Vec<u8>, String)>,
}

impl fmt::Debug for Talk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The keys are as good as the password.
        f.debug_struct("Talk").field("hash", &self.hash).field("proved", &self.due.is_some()).finish_non_exhaustive()
    }
}

/// What stands before our first message: no channel binding, no other identity.
const GS2_HEADER: &str = "n,,";

impl Talk {
    /// Begins; returns the first message too.
    pub(super) fn new(
        hash: Hash,
        username: &str,
        password: &Secret,
        nonce: &str,
    ) -> Result<(Self, Vec<u8>), SaslFault> {
        if username.is_empty() || password.expose().is_empty() {
            return Err(SaslFault::Credentials("the user name and the password must not be empty"));
        }
        if nonce.is_empty() || !nonce.bytes().all(|c| c.is_ascii_graphic() && c != b',') {
            return Err(SaslFault::Credentials("the nonce cannot be used"));
        }
        let username = username.replace('=', "=3D").replace(',', "=2C");
        let first = format!("n={username},r={nonce}");
        let message = format!("{GS2_HEADER}{first}").into_bytes();
        Ok((Self { hash, password: password.clone(), nonce: nonce.to_owned(), first, due: None }, message))
    }

    /// Takes a message of the broker; returns the next one of ours, or none when the broker has proved itself.
    pub(super) fn handle(&mut self, message: &[u8]) -> Result<Option<Vec<u8>>, SaslFault> {
        let text = std::str::from_utf8(message).map_err(|_| SaslFault::Message("it is not text"))?;
        match self.due.take() {
            None => self.prove(text).map(Some),
            Some((key, signed)) => self.check(text, &key, &signed).map(|()| None),
        }
    }

    /// `server-first-message` to `client-final-message`.
    fn prove(&mut self, text: &str) -> Result<Vec<u8>, SaslFault> {
        if let Some(error) = text.strip_prefix("e=") {
            return Err(refused(error));
        }
        let (nonce, salt, iterations) = server_first(text)?;
        // Longer than ours: else the broker added nothing, and an old answer could be played back to us.
        if !nonce.starts_with(&self.nonce) || nonce.len() <= self.nonce.len() {
            return Err(SaslFault::Message("its nonce does not begin with ours, or adds nothing to it"));
        }
        let salted = self.hash.salted_password(&self.password, &salt, iterations);
        let client_key = self.hash.hmac(&salted, b"Client Key");
        let without_proof = format!("c={},r={nonce}", BASE64.encode(GS2_HEADER));
        let signed = format!("{},{text},{without_proof}", self.first);
        let signature = self.hash.hmac(&self.hash.digest(&client_key), signed.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(&signature).map(|(key, signature)| key ^ signature).collect();
        self.due = Some((self.hash.hmac(&salted, b"Server Key"), signed));
        Ok(format!("{without_proof},p={}", BASE64.encode(proof)).into_bytes())
    }

    /// `server-final-message`.
    fn check(&self, text: &str, key: &[u8], signed: &str) -> Result<(), SaslFault> {
        if let Some(error) = text.strip_prefix("e=") {
            return Err(refused(error));
        }
        let signature = text.strip_prefix("v=").ok_or(SaslFault::Message("it lacks the broker's signature"))?;
        let signature = signature.split(',').next().unwrap_or_default();
        let signature = BASE64.decode(signature).map_err(|_| SaslFault::Message("its signature is not base64"))?;
        if self.hash.verify(key, signed.as_bytes(), &signature) { Ok(()) } else { Err(SaslFault::Impostor) }
    }
}

/// Nonce, salt and iterations, in this order; extensions after them are stepped over, one before them is mandatory and is
/// not known here.
fn server_first(text: &str) -> Result<(&str, Vec<u8>, u32), SaslFault> {
    let mut parts = text.split(',');
    let mut next = |prefix: &str| parts.next().and_then(|part| part.strip_prefix(prefix));
    let nonce = next("r=").ok_or(SaslFault::Message("it does not begin with a nonce"))?;
    let salt = next("s=").ok_or(SaslFault::Message("it lacks the salt"))?;
    let iterations = next("i=").ok_or(SaslFault::Message("it lacks the number of iterations"))?;
    let salt = BASE64.decode(salt).map_err(|_| SaslFault::Message("its salt is not base64"))?;
    if salt.is_empty() {
        return Err(SaslFault::Message("its salt is empty"));
    }
    let iterations: u64 =
        iterations.parse().map_err(|_| SaslFault::Message("its number of iterations is not a number"))?;
    match u32::try_from(iterations) {
        Ok(n) if (SCRAM_ITERATIONS_MIN..=SCRAM_ITERATIONS_MAX).contains(&n) => Ok((nonce, salt, n)),
        _ => Err(SaslFault::Iterations(iterations)),
    }
}

fn refused(error: &str) -> SaslFault {
    SaslFault::Refused(error.chars().filter(|c| !c.is_control()).take(100).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The example of RFC 7677, section 3.
    const FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const SERVER_FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                         p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

    fn begun(hash: Hash) -> Talk {
        let (talk, first) = Talk::new(hash, "user", &Secret::new("pencil"), "rOprNGfwEbeRWgbNEkqO").unwrap();
        assert_eq!(first, FIRST.as_bytes());
        talk
    }

    #[test]
    fn the_example_of_the_rfc_comes_out() {
        let mut talk = begun(Hash::Sha256);
        assert_eq!(talk.handle(SERVER_FIRST.as_bytes()).unwrap().unwrap(), FINAL.as_bytes());
        assert_eq!(talk.handle(SERVER_FINAL.as_bytes()).unwrap(), None);
    }

    #[test]
    fn a_broker_without_the_password_is_an_impostor() {
        for last in ["v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5=", "v=AAAA", "v="] {
            let mut talk = begun(Hash::Sha256);
            talk.handle(SERVER_FIRST.as_bytes()).unwrap();
            let fault = talk.handle(last.as_bytes()).unwrap_err();
            assert!(matches!(fault, SaslFault::Impostor | SaslFault::Message(_)), "{last}: {fault}");
        }
        for last in ["", "fine", "x=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", "e=invalid-proof"] {
            let mut talk = begun(Hash::Sha256);
            talk.handle(SERVER_FIRST.as_bytes()).unwrap();
            assert!(talk.handle(last.as_bytes()).is_err(), "{last}");
        }
    }

    #[test]
    fn the_same_signature_under_the_other_hash_is_wrong() {
        let mut talk = begun(Hash::Sha512);
        assert_ne!(talk.handle(SERVER_FIRST.as_bytes()).unwrap().unwrap(), FINAL.as_bytes());
        assert_eq!(talk.handle(SERVER_FINAL.as_bytes()), Err(SaslFault::Impostor));
    }

    #[test]
    fn a_nonce_that_is_not_ours_is_refused() {
        for nonce in ["", "rOprNGfwEbeRWgbNEkqO", "rOprNGfwEbeRWgbNEkqX%hvYDp", "%hvYDprOprNGfwEbeRWgbNEkqO"] {
            let message = format!("r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
            let fault = begun(Hash::Sha256).handle(message.as_bytes()).unwrap_err();
            assert!(fault.to_string().contains("nonce"), "{fault}");
        }
    }

    #[test]
    fn the_work_a_broker_may_ask_for_is_bounded() {
        let first = |i: &str| format!("r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i={i}");
        for (i, n) in [("0", 0), ("4095", 4095), ("1000001", 1_000_001), ("18446744073709551615", u64::MAX)] {
            assert_eq!(begun(Hash::Sha256).handle(first(i).as_bytes()), Err(SaslFault::Iterations(n)));
        }
        for i in ["", "-4096", "4096x", "99999999999999999999999"] {
            assert!(matches!(begun(Hash::Sha256).handle(first(i).as_bytes()), Err(SaslFault::Message(_))), "{i}");
        }
        begun(Hash::Sha256).handle(first("4096").as_bytes()).unwrap();
    }

    #[test]
    fn every_prefix_of_a_good_message_is_a_fault_or_a_proof() {
        for end in 0..SERVER_FIRST.len() {
            // Cut inside the iterations, what is left may be too few, never something else.
            let mut talk = begun(Hash::Sha256);
            assert!(talk.handle(SERVER_FIRST.get(..end).unwrap().as_bytes()).is_err(), "{end}");
        }
        assert!(begun(Hash::Sha256).handle(&[0xff, 0xfe]).is_err());
        assert!(begun(Hash::Sha256).handle(b"m=x,r=rOprNGfwEbeRWgbNEkqOx,s=AAAA,i=4096").is_err());
        assert!(begun(Hash::Sha256).handle(b"r=rOprNGfwEbeRWgbNEkqOx,s=,i=4096").is_err());
    }

    #[test]
    fn names_with_commas_and_equals_signs_are_written_so_that_they_come_back() {
        let (_, first) = Talk::new(Hash::Sha256, "a,b=c", &Secret::new("p"), "x").unwrap();
        assert_eq!(first, b"n,,n=a=2Cb=3Dc,r=x");
        for nonce in ["", "a,b", "a b", "\u{e4}"] {
            assert!(Talk::new(Hash::Sha256, "u", &Secret::new("p"), nonce).is_err());
        }
    }
}
