//! Where the credentials of a login come from, each time there is one.

use std::path::PathBuf;

use tokio::fs::File;
use tokio::io::AsyncReadExt;

use crate::kafka::state::sasl::{Credentials, Mechanism, Secret};
use crate::limits::TOKEN_FILE_BYTES_MAX;

use super::dial::io_text;

/// How to log in. `Debug` shows no secret.
#[derive(Clone, Debug)]
pub(crate) struct LoginSource {
    pub(crate) mechanism: Mechanism,
    pub(crate) from: CredentialsFrom,
}

/// Where the credentials are.
#[derive(Clone, Debug)]
pub(crate) enum CredentialsFrom {
    /// Here.
    Fixed(Credentials),
    /// A token in this file, read for each login, since something else renews it.
    TokenFile(PathBuf),
}

impl LoginSource {
    /// Credentials and a nonce for one login.
    ///
    /// # Errors
    /// A sentence that names the file.
    pub(crate) async fn fetch(&self) -> Result<(Credentials, String), String> {
        let credentials = match &self.from {
            CredentialsFrom::Fixed(credentials) => credentials.clone(),
            CredentialsFrom::TokenFile(file) => {
                let wrong = |why: String| format!("token file {}: {why}", file.display());
                let open = File::open(file).await.map_err(|e| wrong(io_text(&e)))?;
                let mut text = String::new();
                let bound = TOKEN_FILE_BYTES_MAX as u64;
                let reading = open.take(bound.saturating_add(1)).read_to_string(&mut text).await;
                reading.map_err(|e| wrong(io_text(&e)))?;
                if text.len() > TOKEN_FILE_BYTES_MAX {
                    return Err(wrong(format!("larger than {TOKEN_FILE_BYTES_MAX} bytes")));
                }
                Credentials::Token(Secret::new(text.trim()))
            }
        };
        Ok((credentials, nonce()?))
    }
}

/// 192 random bits, printable.
#[cfg(feature = "scram")]
fn nonce() -> Result<String, String> {
    use base64::Engine as _;
    let mut bytes = [0; 24];
    getrandom::fill(&mut bytes).map_err(|error| format!("the system gives no random numbers: {error}"))?;
    Ok(base64::engine::general_purpose::STANDARD.encode(bytes))
}

/// Only SCRAM needs one.
#[cfg(not(feature = "scram"))]
#[expect(clippy::unnecessary_wraps, reason = "the other form can fail")]
fn nonce() -> Result<String, String> {
    Ok(String::new())
}
