//! Where the credentials of a login come from, each time there is one.

use std::fmt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use tokio::fs::File;
use tokio::io::AsyncReadExt;

use crate::kafka::state::sasl::{BearerToken, Credentials, CredentialsFault, Mechanism};
use crate::limits::TOKEN_FILE_BYTES_MAX;

use super::dial::io_text;

/// Gives bearer tokens for OAUTHBEARER. It is asked at each login, of every connection and before a login ends, so that it should
/// keep a token for as long as that is good.
pub trait TokenProvider: fmt::Debug + Send + Sync {
    /// A token that holds now. Requests wait meanwhile.
    ///
    /// # Errors
    /// [`CredentialsFault`], of which only [`CredentialsFault::Unavailable`] is tried again.
    fn token(&self) -> TokenFuture<'_>;

    /// A broker has refused the last token: it is of no more use.
    fn refused(&self) {}
}

/// What [`TokenProvider::token`] gives: `Box::pin(async { ... })`.
pub type TokenFuture<'a> = Pin<Box<dyn Future<Output = Result<BearerToken, CredentialsFault>> + Send + 'a>>;

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
    /// A token that somebody gives.
    Provider(Arc<dyn TokenProvider>),
}

impl LoginSource {
    /// Credentials and a nonce for one login.
    ///
    /// # Errors
    /// [`CredentialsFault`], which names the file or the endpoint.
    pub(crate) async fn fetch(&self) -> Result<(Credentials, String), CredentialsFault> {
        let credentials = match &self.from {
            CredentialsFrom::Fixed(credentials) => credentials.clone(),
            CredentialsFrom::TokenFile(file) => {
                let text = token_in(file).await;
                let text =
                    text.map_err(|why| CredentialsFault::Config(format!("token file {}: {why}", file.display())))?;
                Credentials::Token(BearerToken::new(text.trim()))
            }
            CredentialsFrom::Provider(provider) => Credentials::Token(provider.token().await?),
        };
        Ok((credentials, nonce().map_err(CredentialsFault::Config)?))
    }

    /// The broker has refused what [`LoginSource::fetch`] gave.
    pub(crate) fn refused(&self) {
        if let CredentialsFrom::Provider(provider) = &self.from {
            provider.refused();
        }
    }
}

async fn token_in(file: &Path) -> Result<String, String> {
    let open = File::open(file).await.map_err(|e| io_text(&e))?;
    let mut text = String::new();
    let bound = TOKEN_FILE_BYTES_MAX as u64;
    open.take(bound.saturating_add(1)).read_to_string(&mut text).await.map_err(|e| io_text(&e))?;
    if text.len() > TOKEN_FILE_BYTES_MAX {
        return Err(format!("larger than {TOKEN_FILE_BYTES_MAX} bytes"));
    }
    Ok(text)
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
